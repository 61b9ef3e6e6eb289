"""
What every node last said about its votes.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from attrs import define, field

from corotwist.engines.executive import NodeFlag
from corotwist.engines.quoruminterfaces import NodeState, NodeVotes
from corotwist.engines.votes import NO_DEVICE, Ballot, Device

# Nodes that are gone and still shown: the oldest nodeids are forgotten first.
MOST_KNOWN: Final = 1024

_VOTES: Final = (
    NodeFlag.QDEVICE_REGISTERED | NodeFlag.QDEVICE_ALIVE | NodeFlag.QDEVICE_CAST_VOTE
)
_WINS: Final = _VOTES | NodeFlag.QDEVICE_MASTER_WINS


class Standing(Enum):
    """
    Whether a node's votes count.
    """

    MEMBER = "member"
    LEAVING = "leaving"
    DEAD = "dead"


_STATES: Final[Mapping[Standing, NodeState]] = {
    Standing.MEMBER: NodeState.MEMBER,
    Standing.LEAVING: NodeState.LEAVING,
    Standing.DEAD: NodeState.DEAD,
}


@define
class Voter:
    """
    What a node last said about itself.

    @ivar flags: as it says them now; of our own, as we will say them next.
    @ivar heard: as they were delivered last.
    @ivar deviceVotes: what it says that a quorum device has.
    """

    votes: int
    expected: int
    flags: int
    standing: Standing = Standing.MEMBER
    heard: int = 0
    deviceVotes: int = 0

    @property
    def state(self) -> NodeState:
        """
        The same, in corosync's numbers.
        """
        return _STATES[self.standing]


@define(eq=False)
class Voters:
    """
    Everybody who was heard of, by nodeid.
    """

    _known: dict[int, Voter] = field(factory=dict)

    def __getitem__(self, nodeid: int) -> Voter:
        return self._known[nodeid]

    def __setitem__(self, nodeid: int, voter: Voter) -> None:
        self._known[nodeid] = voter
        if len(self._known) > MOST_KNOWN:
            dead = (n for n, v in self._known.items() if v.standing is Standing.DEAD)
            self._known.pop(next(dead, nodeid))

    def get(self, nodeid: int) -> Voter | None:
        """
        What one said, if it ever did.
        """
        return self._known.get(nodeid)

    def items(self) -> Iterator[tuple[int, Voter]]:
        """
        Ascending by nodeid.
        """
        return iter(sorted(self._known.items()))

    def members(self) -> list[tuple[int, Voter]]:
        """
        Those whose votes count.
        """
        return [item for item in self.items() if item[1].standing is Standing.MEMBER]

    def present(self) -> dict[int, int]:
        """
        Their votes, by nodeid.
        """
        return {nodeid: voter.votes for nodeid, voter in self.members()}

    def ballots(self) -> list[Ballot]:
        """
        What they bring.
        """
        return [Ballot(voter.votes, voter.expected) for _, voter in self.members()]

    def device(self) -> Device:
        """
        The quorum device, as the members hear it: one of them is enough, for a
        device votes for a partition.
        """
        voters = [voter for _, voter in self.members()]
        casting = [voter for voter in voters if voter.heard & _VOTES == _VOTES]
        if not casting:
            return NO_DEVICE
        votes = max(voter.deviceVotes for voter in voters)
        return Device(votes, any(voter.heard & _WINS == _WINS for voter in casting))

    def expect(self, expected: int) -> None:
        """
        All members expect that now.
        """
        for _, voter in self.members():
            voter.expected = expected

    def gone(self, members: Iterable[int]) -> None:
        """
        Whoever is not in this ring is dead, and takes the device along.
        """
        there = set(members)
        for nodeid, voter in self._known.items():
            if nodeid not in there:
                voter.standing, voter.heard, voter.deviceVotes = Standing.DEAD, 0, 0

    def shown(self) -> tuple[NodeVotes, ...]:
        """
        For clients.
        """
        return tuple(NodeVotes(n, v.state, v.votes) for n, v in self.items())

    def dump(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            str(nodeid): {
                "votes": voter.votes,
                "expected": voter.expected,
                "flags": int(voter.flags),
                "standing": voter.standing.value,
            }
            for nodeid, voter in self.items()
        }
