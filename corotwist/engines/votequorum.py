"""
Quorum by votes: every node brings some, and a partition with the majority of
the expected votes may act.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Final

from attrs import asdict, define
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings, QuorumSettings
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.executive import (
    VOTEQUORUM,
    Executive,
    NodeFlag,
    NodeInfo,
    Reconfigure,
    Reconfigured,
)
from corotwist.engines.keyspace import IVoting
from corotwist.engines.quoruminterfaces import IQuorumProvider
from corotwist.engines.votes import Ballot, Rules, Verdict, judge
from corotwist.errors import TryAgain
from corotwist.interfaces import ICluster, IReconfigurable, IReplaceable
from corotwist.totem.membership import RingId

# In NodeInfo: the quorum device, which this release does not have.
DEVICE: Final = 0
# What the field holds; the sum of what the others claim may be above it.
MOST_VOTES: Final = 0xFFFFFFFF


class Standing(Enum):
    """
    Whether a node's votes count.
    """

    MEMBER = "member"
    LEAVING = "leaving"
    DEAD = "dead"


@define
class Voter:
    """
    What a node last said about itself.
    """

    votes: int
    expected: int
    flags: int
    standing: Standing = Standing.MEMBER


_NO_VERDICT: Final = Verdict(0, 0, 0, 0, False, False, "not on a ring yet")


@implementer(IQuorumProvider, IVoting, IReconfigurable, IReplaceable)
class VoteQuorumEngine(SynchronizedEngine):
    """
    Counts the votes of this ring, as every member of it does.

    What is said is counted at once, so that what we say next is up to date;
    a verdict holds, for whoever asks, from the end of the synchronization on.
    Until then nobody loses anything by it: a sum of those who spoke so far
    depends on the order in which they are heard, and a member that lost its
    quorum by it would wait for all again where another does not.

    A quorum device of other nodes is not counted: we do not see it, and its
    votes could be on the other side.
    """

    name = "votequorum"
    serviceId = VOTEQUORUM
    priority = 2

    def __init__(self) -> None:
        self._log = Logger()
        self._rules = Rules()
        self._voters: dict[int, Voter] = {}
        self._own = Voter(1, 1, NodeFlag.FIRST)
        self._waiting = False
        self._takenIn = False
        self._verdict = _NO_VERDICT
        self._published = _NO_VERDICT
        self._synchronizing = False
        self._seenMembers = False
        self._steps: list[Callable[[], NodeInfo]] = []
        self._configured = QuorumSettings()
        self._untold: list[Executive] = []
        self._followers: list[Callable[[], object]] = []

    def shutdown(self) -> bool:
        """
        Whoever asks when nobody counts any more may not act.
        """
        self._published = _NO_VERDICT
        return True

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        quorum = self._configured = settings.quorum
        self._rules = Rules(quorum.twoNode, quorum.waitForAll)
        self._waiting = quorum.waitForAll
        self._own = Voter(quorum.votes, quorum.expectedVotes, NodeFlag.FIRST)
        self._voters = {cluster.nodeid: self._own}
        self._judge()
        try:
            self._multicast(self._ownInfo())
        except TryAgain:
            self._log.debug("No room for our votes yet; synchronization sends them")

    def dump(self) -> Mapping[str, Any]:
        return {
            **self.explanation(),
            "nodes": {
                str(nodeid): {
                    "votes": voter.votes,
                    "expected": voter.expected,
                    "flags": int(voter.flags),
                    "standing": voter.standing.value,
                }
                for nodeid, voter in sorted(self._voters.items())
            },
        }

    # Other settings.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        Whatever is expected, nobody acts with fewer votes than are there.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        """
        Count anew, and tell the others what has changed of ours.
        """
        before, now = self._configured, settings.quorum
        if before == now:
            return
        self._configured = now
        self._rules = Rules(now.twoNode, now.waitForAll)
        nodeid = self.cluster.nodeid
        self._untold = []
        if now.votes != before.votes:
            self._own.votes = now.votes
            self._untold.append(Reconfigure(nodeid, now.votes, Reconfigured.NODE_VOTES))
        if now.expectedVotes != before.expectedVotes:
            self._own.expected = now.expectedVotes
            self._untold.append(
                Reconfigure(nodeid, now.expectedVotes, Reconfigured.EXPECTED_VOTES)
            )
        self._judge(allowDecrease=True)
        self._untold.insert(0, self._ownInfo())
        self._tell()

    def _tell(self) -> None:
        """
        As soon as there is room, and no round runs.
        """
        try:
            while self._untold and not self.cluster.synchronizing():
                self._multicast(self._untold[0])
                self._untold.pop(0)
        except TryAgain:
            pass
        if self._untold:
            self.cluster.whenRoom(self._tell)

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        What was heard and decided::

            format       1
            voters       by nodeid: votes, expected, flags, standing; our own
                         among them
            waiting      for all nodes
            takenIn      one who may act was heard in this round
            verdict      of now, and
            published    of the last round, by the names of their fields
            seenMembers  we were on a ring
            followers    who is told of a verdict: the list they take
                         themselves off

        @raise TryAgain: the others do not know yet what changed of ours.
        """
        if self._untold:
            raise TryAgain("votes changed, and the others do not know yet")
        return {
            "format": 1,
            "voters": {
                nodeid: (v.votes, v.expected, int(v.flags), v.standing.value)
                for nodeid, v in self._voters.items()
            },
            "waiting": self._waiting,
            "takenIn": self._takenIn,
            "verdict": asdict(self._verdict),
            "published": asdict(self._published),
            "seenMembers": self._seenMembers,
            "followers": self._followers,
        }

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        voters = {
            nodeid: Voter(votes, expected, flags, Standing(standing))
            for nodeid, (votes, expected, flags, standing) in state["voters"].items()
        }
        own = voters[self.cluster.nodeid]
        verdict, published = Verdict(**state["verdict"]), Verdict(**state["published"])
        self._voters, self._own = voters, own
        self._verdict, self._published = verdict, published
        self._waiting = state["waiting"]
        self._takenIn = state["takenIn"]
        self._seenMembers = state["seenMembers"]
        self._followers = state["followers"]

    # For everybody on this node.

    def counting(self) -> bool:
        return self._published is not _NO_VERDICT

    def quorate(self) -> bool:
        return self._published.quorate

    def explanation(self) -> dict[str, int | bool | str]:
        verdict = self._published
        return {
            "quorate": verdict.quorate,
            "votes": verdict.total,
            "expected": verdict.expected,
            "quorum": verdict.quorum,
            "waitingForAll": verdict.waiting,
            "rule": verdict.rule,
        }

    def follow(self, changed: Callable[[], object]) -> Callable[[], None]:
        self._followers.append(changed)
        changed()
        return partial(self._unfollow, changed)

    def _unfollow(self, changed: Callable[[], object]) -> None:
        if changed in self._followers:
            self._followers.remove(changed)

    def cancelWaiting(self) -> None:
        self._multicast(
            Reconfigure(self.cluster.nodeid, 0, Reconfigured.CANCEL_WAIT_FOR_ALL)
        )

    # From the ring.

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if nodeid not in self.cluster.members():
            return  # It speaks of a ring that is over.
        handler = self._EXECUTIVE.get(function)
        if handler is not None:
            handler(self, nodeid, body, byteOrder)

    def _nodeInfoDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = NodeInfo.decode(body, byteOrder)
        if message.nodeid != nodeid:
            return  # Of the quorum device, or hearsay.
        before = self._voters.get(message.nodeid)
        quorate = bool(message.flags & NodeFlag.QUORATE)
        leaving = bool(message.flags & NodeFlag.LEAVING)
        behind = quorate and not self._own.flags & NodeFlag.QUORATE
        if behind:
            self._own.expected = message.expectedVotes
        expected = message.expectedVotes if quorate else self._own.expected
        standing = Standing.LEAVING if leaving else Standing.MEMBER
        if message.nodeid == self.cluster.nodeid:
            self._own.standing = standing
        else:
            self._voters[message.nodeid] = Voter(
                message.votes, expected, message.flags, standing
            )
        if quorate and not message.flags & NodeFlag.WAIT_FOR_ALL:
            self._takeIn()
        if self._matters(message, before):
            self._judge(allowDecrease=behind or leaving, byNodes=leaving)

    def _takeIn(self) -> None:
        """
        One who may act does not wait: neither do we, if the ring stays.
        """
        if self._synchronizing:
            self._takenIn = True
        else:
            self._waiting = False

    def _matters(self, message: NodeInfo, before: Voter | None) -> bool:
        return (
            before is None
            or message.nodeid == self.cluster.nodeid
            or bool(message.flags & NodeFlag.FIRST)
            or before != self._voters[message.nodeid]
        )

    def _reconfigureDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        """
        An operator on some node changed a number, and that node checked it.
        """
        message = Reconfigure.decode(body, byteOrder)
        if message.what == Reconfigured.EXPECTED_VOTES:
            for voter in self._members():
                voter.expected = message.value
        elif message.what == Reconfigured.NODE_VOTES:
            named = self._voters.get(message.nodeid)
            if named is not None:
                named.votes = message.value
        else:
            self._waiting = False
        self._judge(allowDecrease=True)

    _EXECUTIVE: ClassVar[Mapping[int, Callable[..., None]]] = {
        NodeInfo.FUNCTION: _nodeInfoDelivered,
        Reconfigure.FUNCTION: _reconfigureDelivered,
    }

    # Judging.

    def _members(self) -> list[Voter]:
        return [v for v in self._voters.values() if v.standing is Standing.MEMBER]

    def _judge(self, *, allowDecrease: bool = False, byNodes: bool = False) -> None:
        verdict = judge(
            [Ballot(voter.votes, voter.expected) for voter in self._members()],
            self._own.expected,
            self._rules,
            previousQuorum=self._verdict.quorum,
            waiting=self._waiting,
            allowDecrease=allowDecrease,
            byNodes=byNodes,
        )
        self._verdict = verdict
        self._own.expected = verdict.own
        if byNodes:
            for voter in self._members():
                voter.expected = verdict.own
        if not self._synchronizing:
            self._waiting = verdict.waiting
            self._flag(NodeFlag.QUORATE, on=verdict.quorate)
            self._flag(NodeFlag.WAIT_FOR_ALL, on=verdict.waiting)
            self._publish()
        elif verdict.quorate:
            self._flag(NodeFlag.QUORATE, on=True)

    def _flag(self, flag: NodeFlag, *, on: bool) -> None:
        self._own.flags = self._own.flags | flag if on else self._own.flags & ~flag

    def _publish(self) -> None:
        """
        The verdict holds from here on.
        """
        if not self._seenMembers:
            return  # Nobody acts before the first ring.
        before, self._published = self._published, self._verdict
        if before != self._verdict:
            self._log.info(
                "This partition is {word}: {votes} of {expected} votes, "
                "{quorum} needed ({rule})",
                word="quorate" if self._verdict.quorate else "NOT quorate",
                votes=self._verdict.total,
                expected=self._verdict.expected,
                quorum=self._verdict.quorum,
                rule=self._verdict.rule,
            )
            for changed in self._followers:
                changed()
            self.cluster.quorumChanged()

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._synchronizing = True
        self._takenIn = False
        if self._seenMembers and len(members) > 1:
            self._flag(NodeFlag.FIRST, on=False)
        for nodeid, voter in self._voters.items():
            if nodeid not in members:
                voter.standing = Standing.DEAD
        self._steps = [self._ownInfo, self._deviceInfo]

    def synchronize(self) -> bool:
        while self._steps:
            try:
                self._multicast(self._steps[0]())
            except TryAgain:
                return False
            self._steps.pop(0)
        return True

    def synchronizationCompleted(self) -> None:
        self._synchronizing = False
        self._seenMembers = True
        if len(self.cluster.members()) > 1:
            self._flag(NodeFlag.FIRST, on=False)
        if self._takenIn:
            self._waiting = False
        self._judge()

    def synchronizationAborted(self) -> None:
        """
        Another round follows; nothing is published in between.
        """
        self._steps = []

    # To the others.

    def _ownInfo(self) -> NodeInfo:
        own = self._own
        expected = min(own.expected, MOST_VOTES)
        return NodeInfo(self.cluster.nodeid, own.votes, expected, own.flags)

    def _deviceInfo(self) -> NodeInfo:
        return NodeInfo(DEVICE, 0, 0, 0)

    def _multicast(self, message: Executive) -> None:
        self.cluster.multicast(message.FUNCTION, message.encode())
