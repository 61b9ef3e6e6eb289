"""
What the network does in a run, as drawn.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from corotwist.simulator.faults import Faults

LOSSES: Final = (0.005, 0.02, 0.08, 0.3)
# A copy comes no later than the aftermath of the faults lasts.
REPLAY_SECONDS: Final = 3.0
KINDS_LOST: Final[Mapping[str, Sequence[float]]] = {
    "commit": (0.1, 0.4),
    "token": (0.02, 0.1),
    "join": (0.2, 0.5),
    "data": (0.05, 0.3),
}


def drawFaults(random: Random, *, damage: bool = False) -> Faults:
    """
    What the network does; each kind of fault is there or not.

    @param damage: bits may flip and ends be missing: only seals notice.
    """
    kinds = {
        kind: random.choice(values)
        for kind, values in KINDS_LOST.items()
        if random.random() < 0.25  # noqa: PLR2004
    }
    return Faults(
        loss=random.choice(LOSSES) if coin(random) else 0.0,
        lossOf=kinds,
        duplication=random.choice((0.01, 0.1)) if coin(random) else 0.0,
        duplicateAfter=random.choice((0.001, 0.05, 2.0)),
        reorder=random.choice((0.01, 0.1)) if coin(random) else 0.0,
        reorderBy=random.choice((0.001, 0.02, 0.3)),
        delay=random.choice((0.00005, 0.0002, 0.001)),
        spread=random.choice((0.0, 0.00002, 0.0005, 0.005)),
        tail=random.choice((0.01, 0.05)) if coin(random) else 0.0,
        replay=random.choice((0.002, 0.02)) if coin(random) else 0.0,
        replayAfter=REPLAY_SECONDS,
        burst=random.choice((0.05, 0.5)) if coin(random) else 0.0,
        burstLoss=random.choice((0.3, 1.0)),
        clog=random.choice((0.02, 0.2)) if coin(random) else 0.0,
        oversize=random.choice((0.0001, 0.01)) if damage and coin(random) else 0.0,
        corruption=random.choice((0.0001, 0.01)) if damage and coin(random) else 0.0,
        truncation=random.choice((0.0001, 0.01)) if damage and coin(random) else 0.0,
    )


def coin(random: Random) -> bool:
    """
    Heads?
    """
    return random.random() < 0.5  # noqa: PLR2004
