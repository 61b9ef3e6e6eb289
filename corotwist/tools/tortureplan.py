"""
What C{corotwist torture} does to a cluster: drawn from one seed.

Times are in token timeouts, so that a plan means the same on slow machines.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from random import Random
from typing import Final

from attrs import frozen

# Every kind of fault, in words.
FAULTS: Final = {
    "kill": "SIGKILL to a daemon, which comes back",
    "stop": "SIGTERM to a daemon, which comes back",
    "fresh": "SIGKILL to a daemon, which comes back without its disk",
    "pause": "SIGSTOP to a daemon, and SIGCONT",
    "partition": "the network falls into two or three parts",
    "cut": "some nodes do not hear some others",
    "loss": "packets get lost",
    "client": "a client is killed, or leaves",
}

MOST_DEEDS: Final = 6
STORM_TOKENS: Final = 1.5, 5.0
CALM_TOKENS: Final = 0.5, 3.0
# Around the moments when others give a node up: at once, before the token is
# lost, between that and a new ring, long after.
SPANS: Final = (0.0, 0.3, 0.7, 0.95, 1.2, 2.0, 3.5, 6.0)
LOSSES: Final = (1.0, 5.0, 15.0, 30.0)
MOST_CUTS: Final = 4
MOST_PARTS: Final = 3


@frozen
class Deed:
    """
    One fault.

    @ivar at: when, from the beginning of the storm.
    @ivar until: when it is undone, at the latest with the storm's end.
    @ivar node: the victim, if it is one.
    @ivar parts: of the network, for a partition.
    @ivar pairs: source and target of links, for cuts.
    @ivar percent: for losses.
    @ivar orderly: of a client: does it leave?
    """

    kind: str
    at: float
    until: float
    node: int = 0
    parts: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    percent: float = 0.0
    orderly: bool = False

    def __str__(self) -> str:
        what = {
            "partition": "|".join(",".join(map(str, part)) for part in self.parts),
            "cut": " ".join(f"{source}>{target}" for source, target in self.pairs),
            "loss": f"{self.percent:g} %",
        }.get(self.kind, f"node {self.node}")
        return f"{self.kind} {what}"


@frozen
class Storm:
    """
    Faults that overlap, and the calm afterwards.
    """

    number: int
    deeds: tuple[Deed, ...]
    length: float
    calm: float


def storms(
    seed: int, nodes: Sequence[int], diskless: Collection[int], faults: Collection[str]
) -> Iterator[Storm]:
    """
    One storm after the other, without end.

    @param diskless: the nodes that may lose their disks.
    @param faults: the kinds of L{FAULTS} to choose from.
    """
    kinds = [kind for kind in FAULTS if kind in faults]
    if not diskless:
        kinds = [kind for kind in kinds if kind != "fresh"]
    # The network cannot be parted when there is one node.
    if len(nodes) == 1:
        kinds = [kind for kind in kinds if kind not in {"partition", "cut", "loss"}]
    for number in count(1):
        random = Random(f"{seed}.{number}")
        length = random.uniform(*STORM_TOKENS)
        amount = random.randint(1, MOST_DEEDS) if kinds else 0
        deeds = [_deed(random, kinds, nodes, diskless, length) for _ in range(amount)]
        deeds.sort(key=lambda deed: deed.at)
        yield Storm(number, tuple(deeds), length, random.uniform(*CALM_TOKENS))


def _deed(
    random: Random,
    kinds: Sequence[str],
    nodes: Sequence[int],
    diskless: Collection[int],
    length: float,
) -> Deed:
    kind = random.choice(kinds)
    at = random.uniform(0.0, length * 0.8)
    until = min(length, at + random.choice(SPANS))
    match kind:
        case "partition":
            return Deed(kind, at, length, parts=_parts(random, nodes))
        case "cut":
            return Deed(kind, at, until, pairs=_pairs(random, nodes))
        case "loss":
            return Deed(kind, at, until, percent=random.choice(LOSSES))
        case "fresh":
            return Deed(kind, at, until, random.choice(sorted(diskless)))
    orderly = random.random() < 0.5  # noqa: PLR2004  A fair coin.
    return Deed(kind, at, until, random.choice(nodes), orderly=orderly)


def _parts(random: Random, nodes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """
    Two or three, with at least one node in each.
    """
    number = random.randint(2, min(MOST_PARTS, len(nodes)))
    shuffled = random.sample(nodes, len(nodes))
    parts = [[node] for node in shuffled[:number]]
    for node in shuffled[number:]:
        random.choice(parts).append(node)
    return tuple(sorted(tuple(sorted(part)) for part in parts))


def _pairs(random: Random, nodes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    links = [(source, target) for source in nodes for target in nodes]
    links = [link for link in links if link[0] != link[1]]
    number = random.randint(1, min(MOST_CUTS, len(links)))
    return tuple(sorted(random.sample(links, number)))
