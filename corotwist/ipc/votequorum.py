"""
Quorum by votes for local clients: the commands, the answers, the notifications.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.protocols import amp
from zope.interface import implementer

from corotwist.engines.quoruminterfaces import (
    IVoteQuorum,
    IVoteSubscriber,
    NodeState,
    NodeVotes,
    VoteFlag,
    VoteInfo,
)
from corotwist.errors import Exists, InvalidParameter, NotExist
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.jsonparts import Json, Taken
from corotwist.ipc.wire import ERRORS, Numbers, Unsigned
from corotwist.totem.membership import NO_RING, RingId

# What a client may wish when it begins to track; corosync's CS_TRACK_.
TRACK_CURRENT: Final = 1
TRACK_CHANGES: Final = 2
TRACK_CHANGES_ONLY: Final = 4
_WISHES: Final = TRACK_CURRENT | TRACK_CHANGES | TRACK_CHANGES_ONLY

Answer = dict[str, Any]

_RING: Final[list[tuple[bytes, amp.Argument]]] = [
    (b"sequence", Unsigned(64)),
    (b"representative", Unsigned(32)),
]
_NAME: Final[list[tuple[bytes, amp.Argument]]] = [(b"name", amp.Unicode())]


# From the client.


class Info(amp.Command):
    """
    What is known of a node and of the votes.
    """

    commandName = b"votequorum.info"
    arguments = [(b"nodeid", Unsigned(32, optional=True))]
    response = [
        (b"nodeid", Unsigned(32)),
        (b"state", Unsigned(8)),
        (b"votes", Unsigned(32)),
        (b"expected", Unsigned(32)),
        (b"highestExpected", Unsigned(32)),
        (b"totalVotes", Unsigned(32)),
        (b"quorum", Unsigned(32)),
        (b"flags", Unsigned(32)),
        (b"deviceVotes", Unsigned(32)),
        (b"deviceName", amp.Unicode()),
    ]
    errors = ERRORS


class Nodes(amp.Command):
    """
    Everybody who was heard of.
    """

    commandName = b"votequorum.nodes"
    response = [(b"nodes", Numbers())]
    errors = ERRORS


class SetExpected(amp.Command):
    """
    Expect so many votes; answered when all members do.
    """

    commandName = b"votequorum.setExpected"
    arguments = [(b"expected", Unsigned(32))]
    errors = ERRORS


class SetVotes(amp.Command):
    """
    Give a node so many votes; answered when all members do.
    """

    commandName = b"votequorum.setVotes"
    arguments = [(b"nodeid", Unsigned(32, optional=True)), (b"votes", Unsigned(32))]
    errors = ERRORS


class CancelWaiting(amp.Command):
    """
    Wait no more for all nodes.
    """

    commandName = b"votequorum.cancelWaiting"
    errors = ERRORS


class History(amp.Command):
    """
    The last decisions, as a part of some JSON; the first part takes them.
    """

    commandName = b"votequorum.history"
    arguments = [(b"part", Unsigned(32, optional=True))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Track(amp.Command):
    """
    Be told of nodes, of the verdict, and of expected votes.
    """

    commandName = b"votequorum.track"
    arguments = [(b"wishes", Unsigned(8))]
    errors = ERRORS


class Untrack(amp.Command):
    """
    Be told no more.
    """

    commandName = b"votequorum.untrack"
    errors = ERRORS


class DeviceRegister(amp.Command):
    """
    A quorum device is here; answered when all members know.
    """

    commandName = b"votequorum.deviceRegister"
    arguments = _NAME
    errors = ERRORS


class DeviceUnregister(amp.Command):
    """
    It does not vote any more; answered when all members know.
    """

    commandName = b"votequorum.deviceUnregister"
    arguments = _NAME
    errors = ERRORS


class DeviceUpdate(amp.Command):
    """
    It has another name; answered when all members know.
    """

    commandName = b"votequorum.deviceUpdate"
    arguments = [(b"old", amp.Unicode()), (b"new", amp.Unicode())]
    errors = ERRORS


class DevicePoll(amp.Command):
    """
    It is alive, and votes, or does not.
    """

    commandName = b"votequorum.devicePoll"
    arguments = [*_NAME, (b"castVote", amp.Boolean()), *_RING]
    errors = ERRORS


class DeviceMasterWins(amp.Command):
    """
    Its vote alone suffices, or does not.
    """

    commandName = b"votequorum.deviceMasterWins"
    arguments = [*_NAME, (b"allow", amp.Boolean())]
    errors = ERRORS


# To the client.


class NodesChanged(amp.Command):
    """
    Others are there; nothing is said of quorum yet.
    """

    commandName = b"votequorum.nodesChanged"
    arguments = [*_RING, (b"members", Numbers())]
    requiresAnswer = False


class QuorumChanged(amp.Command):
    """
    There is a verdict.
    """

    commandName = b"votequorum.quorumChanged"
    arguments = [(b"quorate", amp.Boolean()), (b"nodes", Numbers())]
    requiresAnswer = False


class ExpectedChanged(amp.Command):
    """
    Another number of votes is expected.
    """

    commandName = b"votequorum.expectedChanged"
    arguments = [(b"expected", Unsigned(32))]
    requiresAnswer = False


# Values as numbers, and back.


def packNodes(nodes: tuple[NodeVotes, ...]) -> tuple[int, ...]:
    """
    Three numbers of each.
    """
    return tuple(number for n in nodes for number in (n.nodeid, n.state, n.votes))


def unpackNodes(numbers: tuple[int, ...]) -> tuple[NodeVotes, ...]:
    """
    The way back.

    @raise InvalidParameter: these are none.
    """
    return tuple(_nodes(numbers))


def _nodes(numbers: tuple[int, ...]) -> Iterator[NodeVotes]:
    try:
        for nodeid, state, votes in zip(*[iter(numbers)] * 3, strict=True):
            yield NodeVotes(nodeid, NodeState(state), votes)
    except ValueError as error:
        raise InvalidParameter(f"no nodes with their votes: {error}") from error


def unpackInfo(**answer: Any) -> VoteInfo:
    """
    What was answered to L{Info}.
    """
    state, flags = NodeState(answer.pop("state")), VoteFlag(answer.pop("flags"))
    return VoteInfo(state=state, flags=flags, **answer)


@implementer(IVoteSubscriber)
class _Teller:
    """
    Tells a client what the engine says.
    """

    def __init__(self, connection: Any) -> None:
        self._tell = connection.tell

    def nodesChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self._tell(
            NodesChanged,
            sequence=ringId.sequence,
            representative=ringId.representative,
            members=members,
        )

    def quorumChanged(self, quorate: bool, nodes: tuple[NodeVotes, ...]) -> None:
        self._tell(QuorumChanged, quorate=quorate, nodes=packNodes(nodes))

    def expectedChanged(self, expected: int) -> None:
        self._tell(ExpectedChanged, expected=expected)


class VoteQuorumLocator(amp.CommandLocator):
    """
    What one client may ask of who counts votes.  Only those who administer the
    node change anything; a quorum device is one of them.
    """

    def __init__(self, voting: IVoteQuorum, connection: Any) -> None:
        super().__init__()
        self._voting = voting
        self._connection = connection
        self._stop: Callable[[], object] | None = None
        self._taken = Taken()
        connection.atEnd(self._ended)

    def _administered(self) -> IVoteQuorum:
        """
        @raise AccessDenied: the client may not change anything.
        """
        checkAdministrator(self._connection)
        return self._voting

    # Asking.

    @Info.responder
    def _info(self, nodeid: int | None = None) -> Answer:
        info = self._voting.info(nodeid or 0)
        return {
            name.decode(): getattr(info, name.decode()) for name, _ in Info.response
        }

    @Nodes.responder
    def _nodes(self) -> Answer:
        return {"nodes": packNodes(self._voting.nodes())}

    @History.responder
    def _history(self, part: int | None = None) -> Answer:
        return self._taken.part(part, self._decisions)

    def _decisions(self) -> Json:
        return [decision.json() for decision in self._voting.history()]

    # Changing.

    @SetExpected.responder
    def _setExpected(self, expected: int) -> Deferred[Answer]:
        return _answered(self._administered().setExpected(expected))

    @SetVotes.responder
    def _setVotes(self, votes: int, nodeid: int | None = None) -> Deferred[Answer]:
        return _answered(self._administered().setVotes(nodeid or 0, votes))

    @CancelWaiting.responder
    def _cancelWaiting(self) -> Answer:
        self._administered().cancelWaiting()
        return {}

    # Tracking.

    @Track.responder
    def _track(self, wishes: int) -> Answer:
        """
        A second time tells what is now, too, and is refused, as in corosync.
        """
        if not wishes or wishes & ~_WISHES:
            raise InvalidParameter("wishes are the sum of 1, 2 and 4")
        teller = _Teller(self._connection)
        if wishes & (TRACK_CURRENT | TRACK_CHANGES):
            self._tellNow(teller)
        if self._stop is not None:
            raise Exists("this client tracks the votes already")
        if wishes & (TRACK_CHANGES | TRACK_CHANGES_ONLY):
            self._stop = self._voting.subscribe(teller)
        return {}

    def _tellNow(self, teller: _Teller) -> None:
        decisions = self._voting.history()
        if decisions:
            teller.nodesChanged(decisions[-1].ringId, decisions[-1].members)
        else:
            teller.nodesChanged(NO_RING, ())
        teller.quorumChanged(self._voting.quorate(), self._voting.nodes())

    @Untrack.responder
    def _untrack(self) -> Answer:
        if self._stop is None:
            raise NotExist("this client does not track the votes")
        self._ended()
        return {}

    def _ended(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    # For a quorum device.

    @DeviceRegister.responder
    def _register(self, name: str) -> Deferred[Answer]:
        return _answered(self._administered().deviceRegister(name))

    @DeviceUnregister.responder
    def _unregister(self, name: str) -> Deferred[Answer]:
        return _answered(self._administered().deviceUnregister(name))

    @DeviceUpdate.responder
    def _update(self, old: str, new: str) -> Deferred[Answer]:
        return _answered(self._administered().deviceUpdate(old, new))

    @DevicePoll.responder
    def _poll(
        self, name: str, castVote: bool, sequence: int, representative: int
    ) -> Answer:
        ringId = RingId(sequence, representative)
        self._administered().devicePoll(name, castVote, ringId)
        return {}

    @DeviceMasterWins.responder
    def _masterWins(self, name: str, allow: bool) -> Answer:
        self._administered().deviceMasterWins(name, allow)
        return {}


def _answered(done: Deferred[None]) -> Deferred[Answer]:
    return done.addCallback(lambda _: {})
