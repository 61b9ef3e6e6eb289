"""
What is delivered about votes: corosync's messages, and our own.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from corotwist.config.settings import NodeSettings
from corotwist.engines.counting import rulesOf
from corotwist.engines.executive import (
    NodeFlag,
    NodeInfo,
    QdeviceRegistration,
    QdeviceRename,
    Reconfigure,
    Reconfigured,
)
from corotwist.engines.votechanges import Changing
from corotwist.engines.voteclients import VoteClients
from corotwist.engines.votejudging import DEVICE
from corotwist.engines.votemessages import (
    Accept,
    NewRules,
    Remembered,
    Shrink,
    decode,
)
from corotwist.engines.voters import Standing, Voter


class Delivered(VoteClients, Changing):
    """
    Every member hears the same in the same order, and counts the same.

    @ivar overrides: what operators changed at run time, by what it is.
    """

    overrides: dict[str, int]
    _notes: tuple[str, ...]
    _pending: NodeSettings | None
    _takenIn: bool

    # From the ring.

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if nodeid not in self.cluster.members():
            return  # It speaks of a ring that is over.
        known = self._EXECUTIVE.get(function)
        if known is None:
            return
        kind, handler = known
        message = kind.decode(body, byteOrder)
        handler(self, nodeid, message)
        if nodeid == self.cluster.nodeid:
            self.requestDelivered(message)

    def _nodeInfoDelivered(self, nodeid: int, message: NodeInfo) -> None:
        voters, own = self.count.voters, self.count.own
        before = voters.get(nodeid)
        if message.nodeid == DEVICE and before is not None:
            before.deviceVotes = message.votes
            self._judgeDevice()
        if message.nodeid != nodeid:
            return  # Hearsay.
        quorate = bool(message.flags & NodeFlag.QUORATE)
        self.count.said[nodeid] = message.expectedVotes, quorate
        behind = quorate and not own.flags & NodeFlag.QUORATE
        if behind:
            own.expected = message.expectedVotes
        tells = quorate or self.count.rules.tracking
        expected = message.expectedVotes if tells else own.expected
        if nodeid == self.cluster.nodeid:
            own.votes, own.heard = message.votes, message.flags
            own.standing = Standing.MEMBER
            if not self._synchronizing:
                own.expected = expected  # As the others take it, here.
        else:
            voters[nodeid] = Voter(
                *(message.votes, expected, message.flags, Standing.MEMBER),
                *(message.flags, 0 if before is None else before.deviceVotes),
            )
        if quorate and not message.flags & NodeFlag.WAIT_FOR_ALL:
            self._takeIn()
        if message.flags & NodeFlag.LEAVING:
            self._leaveDelivered(nodeid)
        elif self._matters(message, before):
            self._judge(f"what node {nodeid} says", allowDecrease=behind)

    def _takeIn(self) -> None:
        """
        One who may act does not wait: neither do we, if the ring stays.
        """
        if self._synchronizing:
            self._takenIn = True
        else:
            self.count.waiting = False

    def _matters(self, message: NodeInfo, before: Voter | None) -> bool:
        return (
            before is None
            or message.nodeid == self.cluster.nodeid
            or bool(message.flags & NodeFlag.FIRST)
            or before != self.count.voters[message.nodeid]
        )

    def _reconfigureDelivered(self, nodeid: int, message: Reconfigure) -> None:
        """
        An operator on some node changed a number, and that node checked it.
        """
        if message.what == Reconfigured.EXPECTED_VOTES:
            self._expect(message.value)
            self.overrides["expected_votes"] = message.value
            cause = f"node {nodeid} was told to expect {message.value} votes"
        elif message.what == Reconfigured.NODE_VOTES:
            named = self.count.voters.get(message.nodeid)
            if named is not None:
                named.votes = message.value
                self.overrides[f"votes of node {message.nodeid}"] = message.value
            cause = f"node {message.nodeid} was given {message.value} votes"
        else:
            self.count.waiting = False
            cause = f"node {nodeid} was told not to wait for all"
        self._judge(cause, allowDecrease=True)

    def _expect(self, expected: int) -> None:
        """
        An operator who says so in a partition that may not act knows that
        nobody else does.
        """
        count = self.count
        count.voters.expect(expected)
        count.own.expected = self._tracking.atLeast(expected)
        if count.agreement.memory.formed is None or count.mixed:
            return
        if self._synchronizing:
            return  # Some may act, and some may not: what counts stays.
        if not self.published.quorate:
            count.agreement.force(count.forced(count.own.expected))

    def _registrationDelivered(self, nodeid: int, message: QdeviceRegistration) -> None:
        name = message.device.decode(errors="replace")
        if message.registered:
            self.deviceNames[nodeid] = name
        else:
            self.deviceNames.pop(nodeid, None)
        if nodeid != self.cluster.nodeid or self.device.settings is None:
            return
        if message.registered:
            self.device.registered(name)
        else:
            self.device.unregistered()

    def _renameDelivered(self, nodeid: int, message: QdeviceRename) -> None:
        name = message.after.decode(errors="replace")
        if nodeid in self.deviceNames:
            self.deviceNames[nodeid] = name
        if nodeid == self.cluster.nodeid and self.device.name:
            self.device.renamed(name)

    _EXECUTIVE: ClassVar[Mapping[int, tuple[Any, Callable[..., None]]]] = {
        NodeInfo.FUNCTION: (NodeInfo, _nodeInfoDelivered),
        Reconfigure.FUNCTION: (Reconfigure, _reconfigureDelivered),
        QdeviceRegistration.FUNCTION: (QdeviceRegistration, _registrationDelivered),
        QdeviceRename.FUNCTION: (QdeviceRename, _renameDelivered),
    }

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        match decode(body):
            case Remembered(memory):
                self.count.agreement.heard(nodeid, memory)
            case Accept(epoch, digest):
                self.count.agreement.accepted(nodeid, epoch, digest)
            case NewRules():
                self._rulesDelivered()
            case Shrink():
                self._shrinkDelivered(nodeid)

    def compactMissed(self, body: bytes) -> None:
        """
        Only new rules do not depend on the ring.
        """
        if isinstance(decode(body), NewRules):
            self._untold.insert(0, partial(self._say, NewRules()))
            self._tell()

    def _rulesDelivered(self) -> None:
        """
        Somebody counts by other rules from here on: so do we, if we were told
        to.
        """
        settings, self._pending = self._pending, None
        if settings is None:
            return
        self.count.settings, self._notes = settings.quorum, settings.quorum.notes
        self.count.rules = rulesOf(settings.quorum)
        self.device.settings = settings.quorum.device
        self._judge("another configuration", allowDecrease=True)
