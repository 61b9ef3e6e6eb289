"""
Partitions that want the vote of a quorum device, and which of them is better.
"""

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from corotwist.errors import InvalidParameter
from corotwist.totem.membership import RingId

LOWEST: Final = "lowest"
HIGHEST: Final = "highest"
# Of one cluster; what a datagram of the ring can name is more.
MOST_NODES: Final = 1024


@frozen
class Party:
    """
    The members of a ring, as far as a device hears of them.

    @ivar present: members that the device hears, and that say they are in it.
    @ivar health: passes of heuristics, less failures.
    @ivar holder: it has the vote already.
    """

    ringId: RingId
    members: tuple[int, ...]
    present: tuple[int, ...]
    health: int = 0
    holder: bool = False


Score = tuple[int, ...]


@frozen
class Rule:
    """
    How a device decides between partitions.

    @ivar name: C{"ffsplit"}: of two halves exactly one; a partition that is
        smaller never.  C{"lms"}: the last man standing; any partition, of
        several the one with the most nodes that the device hears.
    @ivar tieBreaker: C{"lowest"}, C{"highest"}, or a nodeid, of which the
        partition with that node wins.
    """

    name: str = "ffsplit"
    tieBreaker: str = LOWEST

    def __attrs_post_init__(self) -> None:
        if self.name not in ("ffsplit", "lms"):
            raise InvalidParameter(f"no algorithm {self.name!r}: ffsplit or lms")
        fixed = self.tieBreaker in (LOWEST, HIGHEST)
        if not fixed and not self.tieBreaker.isdecimal():
            wrong = f"no tie breaker {self.tieBreaker!r}"
            raise InvalidParameter(f"{wrong}: lowest, highest or a nodeid")

    def best(self, parties: Iterable[Party], nodes: int) -> Party | None:
        """
        Who shall have the vote; whoever has it keeps it, unless his heuristics
        fail and those of another one do not.

        @param nodes: how many there are in the node list.
        """
        wanted = [party for party in parties if self._eligible(party, nodes)]
        return max(wanted, key=self.score, default=None)

    def _eligible(self, party: Party, nodes: int) -> bool:
        return self.name == "lms" or 2 * len(party.members) >= nodes

    def score(self, party: Party) -> Score:
        """
        The largest wins; two partitions without a common member never have the
        same.
        """
        size = (len(party.members), len(party.present))
        ordered = size if self.name == "ffsplit" else size[::-1]
        healthy = int(party.health >= 0)
        return healthy, int(party.holder), *ordered, party.health, *self._tie(party)

    def _tie(self, party: Party) -> Score:
        lowest, highest = min(party.members), max(party.members)
        if self.tieBreaker == LOWEST:
            return (-lowest,)
        if self.tieBreaker == HIGHEST:
            return (highest,)
        return int(int(self.tieBreaker) in party.members), -lowest
