"""
What is drawn for a run: which faults there are at all, and how strong.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from attrs import frozen

from corotwist.simulator.chance import source
from corotwist.simulator.faults import Faults
from corotwist.simulator.swarm.deeds import Deeds
from corotwist.simulator.swarm.network import coin, drawFaults

MOST_SIZE: Final = 8
# Sequences begin at 0, or soon wrap.
FIRST_SEQUENCES: Final = (0, 0x7FFFFFF0, 0xFFFFFF00, 0xFFFFFFF8)
CORE_CHANCE: Final = 0.2
MESSAGE_SIZES: Final = ((1, 10, 100), (100, 1000), (10, 1390, 1400, 5000), (20_000,))


@frozen
class Plan:
    """
    What was drawn for one run.

    @ivar seconds: how long the faults last.
    @ivar pace: mean seconds between two events of the story.
    @ivar deeds: which kinds of event may happen.
    @ivar core: who comes through; the others stay away when the faults end.
    """

    size: int
    faults: Faults
    timing: Mapping[str, Any]
    permute: bool
    drift: float
    syncSeconds: float
    rate: float
    sizes: Sequence[int]
    seconds: float
    pace: float
    deeds: tuple[str, ...]
    core: tuple[int, ...]
    firstSequence: int
    firstTokenSequence: int


def draw(seed: int, mostNodes: int = MOST_SIZE) -> Plan:
    """
    A plan for a seed.
    """
    random = source(seed, "plan")
    size = random.randint(1, mostNodes)
    deeds = tuple(deed for deed in Deeds.NAMES if random.random() < 0.5)  # noqa: PLR2004
    nodeids = range(1, size + 1)
    core = tuple(nodeids)
    if random.random() < CORE_CHANCE:
        core = tuple(sorted(random.sample(nodeids, random.randint(1, size))))
    rate = random.choice((0.0, 2.0, 20.0, 100.0)) / size
    return Plan(
        size=size,
        faults=drawFaults(random),
        timing=_drawTiming(random),
        permute=coin(random),
        drift=random.choice((0.0, 0.001, 0.05)),
        syncSeconds=random.choice((0.0, 0.0005, 0.02)),
        rate=rate,
        sizes=random.choice(MESSAGE_SIZES),
        seconds=random.uniform(2.0, 12.0),
        pace=random.choice((0.1, 0.5, 2.0)),
        deeds=deeds,
        core=core,
        firstSequence=random.choice(FIRST_SEQUENCES),
        firstTokenSequence=random.choice(FIRST_SEQUENCES),
    )


def _drawTiming(random: Random) -> dict[str, Any]:
    timing: dict[str, Any] = {"token": random.choice((0.3, 1.0))}
    if coin(random):
        timing |= {"windowSize": random.choice((4, 50, 300))}
        timing |= {"maxMessages": random.choice((1, 3, 17, 100))}
        timing |= {"missCount": random.choice((1, 5))}
        timing |= {"failReceive": random.choice((50, 2500))}
        timing |= {"sendJoin": random.choice((0.0, 0.02))}
    return timing
