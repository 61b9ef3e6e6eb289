"""
Who counts votes, without a cluster.
"""

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from corotwist.engines.quoruminterfaces import (
    Decision,
    IVoteQuorum,
    IVoteSubscriber,
    NodeState,
    NodeVotes,
    VoteFlag,
    VoteInfo,
)
from corotwist.errors import (
    AccessDenied,
    Exists,
    InvalidParameter,
    NameNotFound,
    NotExist,
    OldRing,
)
from corotwist.totem.membership import RingId

RING = RingId(26, 1)


def threeNodes() -> dict[int, VoteInfo]:
    """
    Nodes 1 and 2 are here, 3 is gone.
    """
    states = {1: NodeState.MEMBER, 2: NodeState.MEMBER, 3: NodeState.DEAD}
    return {
        nodeid: VoteInfo(nodeid, state, nodeid, 6, 6, 3, 2, VoteFlag.QUORATE)
        for nodeid, state in states.items()
    }


@implementer(IVoteQuorum)
@define(eq=False)
class FakeVotes:
    """
    Believes everything, within the rules of the interface.

    @ivar asked: what was changed, by name and arguments.
    """

    infos: dict[int, VoteInfo] = field(factory=threeNodes)
    own: int = 1
    here: bool = True
    device: str = ""
    usable: bool = True
    ring: RingId = RING
    asked: list[tuple[Any, ...]] = field(factory=list)
    subscribers: list[IVoteSubscriber] = field(factory=list)
    decisions: list[Decision] = field(factory=list)

    def info(self, nodeid: int = 0) -> VoteInfo:
        if (nodeid or self.own) not in self.infos:
            raise NotExist(f"nobody heard of node {nodeid}")
        return self.infos[nodeid or self.own]

    def nodes(self) -> tuple[NodeVotes, ...]:
        infos = self.infos.values()
        return tuple(NodeVotes(i.nodeid, i.state, i.votes) for i in infos)

    def quorate(self) -> bool:
        return self.here

    def counting(self) -> bool:
        return True

    def explanation(self) -> dict[str, int | bool | str]:
        return {"quorate": self.here, "votes": 3, "expected": 6, "quorum": 2}

    def setExpected(self, expected: int) -> Deferred[None]:
        if expected < self.info().totalVotes:
            return fail(InvalidParameter("more votes are here"))
        self.asked.append(("expected", expected))
        for subscriber in self.subscribers:
            subscriber.expectedChanged(expected)
        return succeed(None)

    def setVotes(self, nodeid: int, votes: int) -> Deferred[None]:
        number = nodeid or self.own
        if number not in self.infos:
            return fail(NameNotFound(f"nobody heard of node {nodeid}"))
        self.asked.append(("votes", number, votes))
        self.infos[number] = evolve(self.infos[number], votes=votes)
        return succeed(None)

    def cancelWaiting(self) -> None:
        self.asked.append(("cancel",))

    def follow(self, changed: Callable[[], object]) -> Callable[[], None]:
        changed()
        return lambda: None

    def subscribe(self, subscriber: IVoteSubscriber) -> Callable[[], None]:
        self.subscribers.append(subscriber)
        return lambda: self.subscribers.remove(subscriber)

    def history(self) -> tuple[Decision, ...]:
        return tuple(self.decisions)

    def deviceRegister(self, name: str) -> Deferred[None]:
        if not self.usable:
            return fail(AccessDenied("no device is configured"))
        if self.device not in ("", name):
            return fail(Exists(f"{self.device} is registered"))
        self.device = name
        return succeed(None)

    def _checkDevice(self, name: str) -> None:
        if not self.device:
            raise NotExist("no device is registered")
        if self.device != name:
            raise InvalidParameter(f"the device is {self.device}")

    def deviceUnregister(self, name: str) -> Deferred[None]:
        self._checkDevice(name)
        self.device = ""
        return succeed(None)

    def deviceUpdate(self, old: str, new: str) -> Deferred[None]:
        self._checkDevice(old)
        self.device = new
        return succeed(None)

    def devicePoll(self, name: str, castVote: bool, ringId: RingId) -> None:
        self._checkDevice(name)
        if ringId != self.ring:
            raise OldRing("that ring is over")
        self.asked.append(("poll", castVote))

    def deviceMasterWins(self, name: str, allow: bool) -> None:
        self._checkDevice(name)
        self.asked.append(("master wins", allow))

    # What happens.

    def reformed(self, ring: RingId, *members: int) -> None:
        """
        A new ring, whose members are quorate.
        """
        self.ring = ring
        for nodeid, info in self.infos.items():
            state = NodeState.MEMBER if nodeid in members else NodeState.DEAD
            self.infos[nodeid] = evolve(info, state=state)
        for subscriber in self.subscribers:
            subscriber.nodesChanged(ring, members)
        number = len(self.decisions) + 1
        decision = Decision(number, 7, ring, members, self.here, "reformed", "by votes")
        self.decisions.append(decision)
        for subscriber in self.subscribers:
            subscriber.quorumChanged(self.here, self.nodes())

    def dump(self) -> dict[str, Any]:
        """
        For statistics.
        """
        return {}
