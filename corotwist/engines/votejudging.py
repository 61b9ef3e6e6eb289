"""
What one who counts votes does with a verdict, and what it says to the others.
"""

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from corotwist.engines.counting import Count
from corotwist.engines.decisions import Decisions
from corotwist.engines.executive import (
    Executive,
    NodeFlag,
    NodeInfo,
    QdeviceRegistration,
)
from corotwist.engines.quorumdevice import LocalDevice
from corotwist.engines.quoruminterfaces import IVoteSubscriber, NodeVotes
from corotwist.engines.tracking import Tracking
from corotwist.engines.voteclients import MOST_VOTES
from corotwist.engines.votemessages import Message, encode
from corotwist.engines.votes import Verdict
from corotwist.errors import TryAgain
from corotwist.interfaces import ICluster

# In NodeInfo: the quorum device.
DEVICE: Final = 0


class Judging:
    """
    The verdict, and whoever hears of it.

    @ivar count: all that is known of the votes.
    @ivar published: the verdict that holds.
    @ivar decisions: the last verdicts, with what they were made of.
    """

    cluster: ICluster
    count: Count
    published: Verdict
    decisions: Decisions
    device: LocalDevice
    subscribers: list[IVoteSubscriber]
    _log: Logger
    _tracking: Tracking
    _followers: list[Callable[[], object]]
    _seenMembers: bool
    _synchronizing: bool
    # A verdict at the end of a round is told behind all others, in any case.
    _ending: bool
    # What the others have not heard yet; in a round, what it has to say.
    _untold: list[Callable[[], None]]
    _steps: list[Callable[[], None]]

    def nodes(self) -> tuple[NodeVotes, ...]:
        """
        Everybody who was heard of.
        """
        return self.count.voters.shown()

    def _advance(self) -> None:
        """
        The verdict is there: what follows from it?
        """

    # Judging.

    def _judge(
        self, cause: str, *, allowDecrease: bool = False, exactly: int | None = None
    ) -> None:
        count = self.count
        verdict = count.judge(
            allowDecrease=allowDecrease, exactly=exactly, middle=self._synchronizing
        )
        self._tracking.saw(verdict.own)
        if not self._synchronizing:
            count.waiting = verdict.waiting
            self._flag(NodeFlag.QUORATE, on=verdict.quorate)
            self._flag(NodeFlag.WAIT_FOR_ALL, on=verdict.waiting)
            self._publish(cause)
            self._advance()
        elif verdict.quorate:
            self._flag(NodeFlag.QUORATE, on=True)

    def _judgeDevice(self) -> None:
        """
        Its votes count only where it votes; else nothing is new.
        """
        if self.count.voters.device() != self.count.device:
            self._judge("the quorum device")

    def _flag(self, flag: NodeFlag, *, on: bool) -> None:
        own = self.count.own
        own.flags = own.flags | flag if on else own.flags & ~flag

    def _publish(self, cause: str) -> None:
        """
        The verdict holds from here on.
        """
        if not self._seenMembers:
            return  # Nobody acts before the first ring.
        verdict = self.count.verdict
        before, self.published = self.published, verdict
        members = self.cluster.members()
        self.count.noteQuorate(members)
        self.decisions.add(
            *(self.cluster.ringId(), members, cause, verdict.rule),
            self.count.inputs(),
            quorate=verdict.quorate,
        )
        if before != verdict:
            self._log.info(
                "This partition is {word}: {votes} of {expected} votes, "
                "{quorum} needed ({rule}); because: {cause}",
                word="quorate" if verdict.quorate else "NOT quorate",
                votes=verdict.total,
                expected=verdict.expected,
                quorum=verdict.quorum,
                rule=verdict.rule,
                cause=cause,
            )
            for changed in list(self._followers):
                changed()
            self.cluster.quorumChanged()
            self._tellSubscribers(before)

    def _tellSubscribers(self, before: Verdict) -> None:
        verdict = self.published
        for subscriber in list(self.subscribers):
            if not self._ending:
                subscriber.quorumChanged(verdict.quorate, self.nodes())
            if before.expected != verdict.expected:
                subscriber.expectedChanged(verdict.expected)

    # To the others.

    def _ownInfo(self) -> NodeInfo:
        own = self.count.own
        return self._info(own.votes, own.expected)

    def _info(self, votes: int, expected: int) -> NodeInfo:
        flags = self.count.own.flags | self.device.flags
        return NodeInfo(self.cluster.nodeid, votes, min(expected, MOST_VOTES), flags)

    def _sayOwn(self) -> None:
        self._multicast(self._ownInfo())

    def _sayNext(self, votes: int, expected: int) -> None:
        """
        What our configuration says now.
        """
        self._multicast(self._info(votes, expected))

    def _sayDevice(self) -> None:
        device = self.device
        votes = device.settings.votes if device.settings and device.name else 0
        self._multicast(NodeInfo(DEVICE, votes, 0, 0))

    def _sayRegistration(self) -> None:
        self._multicast(QdeviceRegistration(True, self.device.name.encode()))

    def _deviceChanged(self) -> None:
        """
        Everybody hears of it, and counts then: in this round, if one runs.
        """
        told = [self._sayOwn, self._sayDevice]
        if self._synchronizing:
            self._steps += told
        else:
            self._untold += told
            self._tell()

    def _multicast(self, message: Executive) -> None:
        self.cluster.multicast(message.FUNCTION, message.encode())

    def _say(self, message: Message) -> None:
        """
        To corotwist nodes only.
        """
        self.cluster.multicastCompact(encode(message))

    def _tell(self) -> None:
        """
        As soon as there is room, and no round runs.
        """
        try:
            while self._untold and not self.cluster.synchronizing():
                self._untold[0]()
                self._untold.pop(0)
        except TryAgain:
            pass
        if self._untold:
            self.cluster.whenRoom(self._tell)
