"""
What local clients and the quorum device ask of who counts votes: it is checked
here, and done when it is delivered.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from corotwist.engines.counting import Count
from corotwist.engines.executive import (
    Executive,
    NodeFlag,
    QdeviceRegistration,
    QdeviceRename,
    Reconfigure,
    Reconfigured,
)
from corotwist.engines.quorumdevice import LocalDevice
from corotwist.engines.quoruminterfaces import (
    IVoteSubscriber,
    NodeVotes,
    VoteFlag,
    VoteInfo,
)
from corotwist.engines.votes import Tie, Verdict, majority
from corotwist.errors import (
    BadHandle,
    InvalidParameter,
    NameNotFound,
    NotExist,
    ServiceError,
    TryAgain,
)
from corotwist.interfaces import ICluster
from corotwist.totem.membership import RingId

# Requests of clients that are on their way; and what the field holds.
MOST_REQUESTS: Final = 64
MOST_VOTES: Final = 0xFFFFFFFF
MOST_SUBSCRIBERS: Final = 4096

_HEARD: Final = (
    (NodeFlag.QUORATE, VoteFlag.QUORATE),
    (NodeFlag.QDEVICE_REGISTERED, VoteFlag.DEVICE_REGISTERED),
    (NodeFlag.QDEVICE_ALIVE, VoteFlag.DEVICE_ALIVE),
    (NodeFlag.QDEVICE_CAST_VOTE, VoteFlag.DEVICE_CAST_VOTE),
    (NodeFlag.QDEVICE_MASTER_WINS, VoteFlag.DEVICE_MASTER_WINS),
)


@define(eq=False)
class Request:
    """
    Something that a client of this node waits for to be delivered.
    """

    message: Executive
    done: Deferred[None] = field(factory=Deferred)


class VoteClients:
    """
    The calls.

    @ivar published: the verdict that holds.
    @ivar requests: what was sent for clients, in this order.
    @ivar deviceNames: of the devices of all nodes.
    """

    cluster: ICluster
    count: Count
    published: Verdict
    device: LocalDevice
    requests: deque[Request]
    subscribers: list[IVoteSubscriber]
    deviceNames: dict[int, str]

    # Questions.

    def info(self, nodeid: int = 0) -> VoteInfo:
        who = nodeid or self.cluster.nodeid
        voter = self.count.voters.get(who)
        if voter is None:
            raise NotExist(f"nobody has heard of node {who}")
        verdict = self.published
        flags = self._options()
        for heard, shown in _HEARD:
            if self._flagsOf(who) & heard:
                flags |= shown
        return VoteInfo(
            *(who, voter.state, voter.votes, voter.expected),
            *(verdict.expected, verdict.total, verdict.quorum, flags),
            deviceVotes=voter.deviceVotes if voter.heard & _REGISTERED else 0,
            deviceName=self.deviceNames.get(who, ""),
        )

    def _flagsOf(self, nodeid: int) -> int:
        """
        As they are shown: our own quorum is what holds now.
        """
        heard = self.count.voters[nodeid].heard
        if nodeid != self.cluster.nodeid:
            return heard
        quorate = NodeFlag.QUORATE
        return heard | quorate if self.published.quorate else heard & ~quorate

    def _options(self) -> VoteFlag:
        rules = self.count.rules
        options = (
            (rules.twoNode, VoteFlag.TWO_NODE),
            (rules.waitForAll, VoteFlag.WAIT_FOR_ALL),
            (rules.lastManStanding, VoteFlag.LAST_MAN_STANDING),
            (rules.tie is not Tie.NONE, VoteFlag.AUTO_TIE_BREAKER),
            (rules.allowDownscale, VoteFlag.ALLOW_DOWNSCALE),
        )
        flags = VoteFlag(0)
        for on, flag in options:
            flags |= flag if on else VoteFlag(0)
        return flags

    def nodes(self) -> tuple[NodeVotes, ...]:
        return self.count.voters.shown()

    def subscribe(self, subscriber: IVoteSubscriber) -> Callable[[], None]:
        if len(self.subscribers) >= MOST_SUBSCRIBERS:
            raise TryAgain(f"{MOST_SUBSCRIBERS} follow the votes already")
        self.subscribers.append(subscriber)
        return partial(self._unsubscribe, subscriber)

    def _unsubscribe(self, subscriber: IVoteSubscriber) -> None:
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)

    # Other numbers.

    def setExpected(self, expected: int) -> Deferred[None]:
        try:
            self._checkExpected(expected)
        except ServiceError:
            return fail()
        return self._request(Reconfigure(0, expected, Reconfigured.EXPECTED_VOTES))

    def _checkExpected(self, expected: int) -> None:
        if self.cluster.synchronizing():
            raise TryAgain("the ring changes, and the members tell what they expect")
        verdict = self.published
        if not max(verdict.total, 1) <= expected <= MOST_VOTES:
            text = f"{expected} votes cannot be expected: {verdict.total} are here"
            raise InvalidParameter(text)
        if verdict.quorate and majority(expected, verdict.total) > verdict.total:
            text = f"{verdict.total} votes were no quorum any more of {expected}"
            raise InvalidParameter(text)

    def setVotes(self, nodeid: int, votes: int) -> Deferred[None]:
        who = nodeid or self.cluster.nodeid
        try:
            self._checkVotes(who, votes)
        except ServiceError:
            return fail()
        return self._request(Reconfigure(who, votes, Reconfigured.NODE_VOTES))

    def _checkVotes(self, nodeid: int, votes: int) -> None:
        voter = self.count.voters.get(nodeid)
        if voter is None:
            raise NameNotFound(f"nobody has heard of node {nodeid}")
        if not 0 <= votes <= MOST_VOTES:
            raise InvalidParameter(f"{votes} votes")
        present = self.count.voters.present()
        total = self.published.total
        if nodeid in present:
            total += votes - voter.votes
        quorum = majority(self.published.expected, total)
        if not total // 2 <= quorum <= max(total, 1):
            text = f"with {votes} votes of node {nodeid}, {total} were here,"
            raise InvalidParameter(f"{text} and {quorum} needed")

    def cancelWaiting(self) -> None:
        message = Reconfigure(self.cluster.nodeid, 0, Reconfigured.CANCEL_WAIT_FOR_ALL)
        self.cluster.multicast(message.FUNCTION, message.encode())

    def _request(self, message: Executive) -> Deferred[None]:
        if len(self.requests) >= MOST_REQUESTS:
            return fail(TryAgain(f"{MOST_REQUESTS} requests are on their way"))
        try:
            self.cluster.multicast(message.FUNCTION, message.encode())
        except TryAgain:
            return fail()
        request = Request(message)
        self.requests.append(request)
        return request.done

    def requestDelivered(self, message: Any) -> None:
        """
        Something of ours came back, and was done.
        """
        for request in self.requests:
            if request.message == message:
                self.requests.remove(request)
                request.done.callback(None)
                return

    def abandonRequests(self) -> None:
        """
        Nobody counts here any more.
        """
        requests = tuple(self.requests)
        self.requests.clear()
        for request in requests:
            request.done.errback(BadHandle("nobody counts votes here any more"))

    # The quorum device.

    def deviceRegister(self, name: str) -> Deferred[None]:
        try:
            self.device.checkRegister(name)
        except ServiceError:
            return fail()
        if self.device.name == name:
            return succeed(None)
        return self._request(QdeviceRegistration(True, name.encode()))

    def deviceUnregister(self, name: str) -> Deferred[None]:
        try:
            self.device.checkName(name)
        except ServiceError:
            return fail()
        return self._request(QdeviceRegistration(False, name.encode()))

    def deviceUpdate(self, old: str, new: str) -> Deferred[None]:
        try:
            self.device.checkName(old)
            self.device.checkNew(new)
        except ServiceError:
            return fail()
        return self._request(QdeviceRename(old.encode(), new.encode()))

    def devicePoll(self, name: str, castVote: bool, ringId: RingId) -> None:
        self.device.polled(name, castVote, ringId)

    def deviceMasterWins(self, name: str, allow: bool) -> None:
        self.device.masterWins(name, allow)


_REGISTERED: Final = NodeFlag.QDEVICE_REGISTERED
