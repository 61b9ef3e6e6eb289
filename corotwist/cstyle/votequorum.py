"""
Votes under the names of C{corosync/votequorum.h}.

Where the C call fills in pointers, the call here returns a tuple that begins with
the number; lists are tuples.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.protocols import amp

from corotwist.cstyle.connection import service_connect
from corotwist.cstyle.dispatching import ServiceHandle, finalize
from corotwist.cstyle.types import CsError, results, status
from corotwist.engines.quoruminterfaces import NodeState, VoteFlag
from corotwist.errors import NameTooLong, ServiceError
from corotwist.ipc import votequorum as commands
from corotwist.totem.membership import RingId

VOTEQUORUM_INFO_TWONODE: Final = VoteFlag(1)
VOTEQUORUM_INFO_QUORATE: Final = VoteFlag(2)
VOTEQUORUM_INFO_WAIT_FOR_ALL: Final = VoteFlag(4)
VOTEQUORUM_INFO_LAST_MAN_STANDING: Final = VoteFlag(8)
VOTEQUORUM_INFO_AUTO_TIE_BREAKER: Final = VoteFlag(16)
VOTEQUORUM_INFO_ALLOW_DOWNSCALE: Final = VoteFlag(32)
VOTEQUORUM_INFO_QDEVICE_REGISTERED: Final = VoteFlag(64)
VOTEQUORUM_INFO_QDEVICE_ALIVE: Final = VoteFlag(128)
VOTEQUORUM_INFO_QDEVICE_CAST_VOTE: Final = VoteFlag(256)
VOTEQUORUM_INFO_QDEVICE_MASTER_WINS: Final = VoteFlag(512)
VOTEQUORUM_QDEVICE_NODEID: Final = 0
VOTEQUORUM_QDEVICE_MAX_NAME_LEN: Final = 255
VOTEQUORUM_QDEVICE_DEFAULT_TIMEOUT: Final = 10000
VOTEQUORUM_QDEVICE_DEFAULT_SYNC_TIMEOUT: Final = 30000
VOTEQUORUM_NODESTATE_MEMBER: Final = NodeState(1)
VOTEQUORUM_NODESTATE_DEAD: Final = NodeState(2)
VOTEQUORUM_NODESTATE_LEAVING: Final = NodeState(3)


@frozen
class VotequorumInfo:
    """
    C{struct votequorum_info}.
    """

    node_id: int
    node_state: NodeState
    node_votes: int
    node_expected_votes: int
    highest_expected: int
    total_votes: int
    quorum: int
    flags: VoteFlag
    qdevice_votes: int
    qdevice_name: str


@frozen
class VotequorumNode:
    """
    C{votequorum_node_t}.
    """

    nodeid: int
    state: NodeState


@frozen
class VotequorumRingId:
    """
    C{votequorum_ring_id_t}.
    """

    nodeid: int
    seq: int


QuorumNotification = Callable[
    ["VotequorumHandle", int, bool, Sequence[VotequorumNode]], object
]
NodelistNotification = Callable[
    ["VotequorumHandle", int, VotequorumRingId, Sequence[int]], object
]
ExpectedVotesNotification = Callable[["VotequorumHandle", int, int], object]


@frozen
class VotequorumCallbacks:
    """
    C{votequorum_callbacks_t}; each gets the handle, and the context that was
    given when tracking began.
    """

    votequorum_quorum_notify_fn: QuorumNotification | None = None
    votequorum_expectedvotes_notify_fn: ExpectedVotesNotification | None = None
    votequorum_nodelist_notify_fn: NodelistNotification | None = None


@define(eq=False)
class VotequorumHandle(ServiceHandle):
    """
    One connection of the process.

    @ivar tracked: the context of tracking.
    """

    callbacks: VotequorumCallbacks = field(kw_only=True)
    tracked: int = field(default=0, init=False)

    def ask(self, command: type[amp.Command], **arguments: Any) -> Any:
        """
        Ask the node.
        """
        return self.connection.send_recv(command, **arguments)

    def received(self, name: bytes, box: amp.AmpBox) -> None:
        tell = self.callbacks
        if name == commands.NodesChanged.commandName:
            told = commands.NodesChanged.parseArguments(box, None)
            ringId = VotequorumRingId(told["representative"], told["sequence"])
            members = told["members"]
            self._expect(tell.votequorum_nodelist_notify_fn, ringId, members)
        elif name == commands.QuorumChanged.commandName:
            told = commands.QuorumChanged.parseArguments(box, None)
            nodes = tuple(
                VotequorumNode(node.nodeid, node.state)
                for node in commands.unpackNodes(told["nodes"])
            )
            self._expect(tell.votequorum_quorum_notify_fn, told["quorate"], nodes)
        elif name == commands.ExpectedChanged.commandName:
            told = commands.ExpectedChanged.parseArguments(box, None)
            expected = told["expected"]
            self._expect(tell.votequorum_expectedvotes_notify_fn, expected)
        else:
            super().received(name, box)

    def _expect(self, callback: Callable[..., object] | None, *news: Any) -> None:
        self.expect(callback, self, self.tracked, *news)


# The calls.


def votequorum_initialize(
    callbacks: VotequorumCallbacks | None = None, path: str | None = None
) -> tuple[CsError, VotequorumHandle | None]:
    """
    Connect to the node of this machine; C{CS_ERR_NOT_SUPPORTED} of later calls:
    nobody counts votes there.

    @param path: of its socket: see L{service_connect}.
    """
    try:
        connection = service_connect(path)
    except ServiceError as error:
        return CsError(error.code), None
    callbacks = callbacks or VotequorumCallbacks()
    return CsError.CS_OK, VotequorumHandle(connection, callbacks=callbacks)


@status
def votequorum_finalize(handle: VotequorumHandle) -> None:
    """
    Close.
    """
    finalize(handle)


@status
def votequorum_dispatch(handle: VotequorumHandle, dispatch_types: int) -> None:
    """
    Be told what is tracked: see L{ServiceHandle.dispatch}.
    """
    handle.dispatch(dispatch_types)


@results(1)
def votequorum_fd_get(handle: VotequorumHandle) -> tuple[int]:
    """
    A descriptor to poll for something to dispatch.
    """
    return (handle.connection.fd_get(),)


@results(1)
def votequorum_getinfo(handle: VotequorumHandle, nodeid: int) -> tuple[VotequorumInfo]:
    """
    What is known of a node, 0 for this one, and of the votes.
    """
    info = commands.unpackInfo(**handle.ask(commands.Info, nodeid=nodeid))
    return (
        VotequorumInfo(
            node_id=info.nodeid,
            node_state=info.state,
            node_votes=info.votes,
            node_expected_votes=info.expected,
            highest_expected=info.highestExpected,
            total_votes=info.totalVotes,
            quorum=info.quorum,
            flags=info.flags,
            qdevice_votes=info.deviceVotes,
            qdevice_name=info.deviceName,
        ),
    )


@status
def votequorum_setexpected(handle: VotequorumHandle, expected_votes: int) -> None:
    """
    Expect so many votes, on all members.
    """
    handle.ask(commands.SetExpected, expected=expected_votes)


@status
def votequorum_setvotes(handle: VotequorumHandle, nodeid: int, votes: int) -> None:
    """
    Give a node, 0 for this one, so many votes.
    """
    handle.ask(commands.SetVotes, nodeid=nodeid, votes=votes)


@status
def votequorum_trackstart(handle: VotequorumHandle, context: int, flags: int) -> None:
    """
    Be told: with C{CS_TRACK_CURRENT} or C{CS_TRACK_CHANGES} how it is now, with
    C{CS_TRACK_CHANGES} or C{CS_TRACK_CHANGES_ONLY} each change.
    C{CS_ERR_EXIST}, when it is tracked already; how it is now is told anew.
    """
    handle.tracked = context
    handle.ask(commands.Track, wishes=flags)


@status
def votequorum_trackstop(handle: VotequorumHandle) -> None:
    """
    Be told no more; C{CS_ERR_NOT_EXIST}: it was not tracked.
    """
    handle.ask(commands.Untrack)


@results(1)
def votequorum_context_get(handle: VotequorumHandle) -> tuple[object]:
    """
    What was kept at the handle.
    """
    handle.connection.checkOpen()
    return (handle.context,)


@status
def votequorum_context_set(handle: VotequorumHandle, context: object) -> None:
    """
    Keep something at the handle.
    """
    handle.connection.checkOpen()
    handle.context = context


# Of a quorum device.


def _named(*names: str) -> None:
    """
    @raise NameTooLong: it does not fit the arrays of C.
    """
    for name in names:
        if len(name.encode()) >= VOTEQUORUM_QDEVICE_MAX_NAME_LEN:
            raise NameTooLong(
                f"a name has less than {VOTEQUORUM_QDEVICE_MAX_NAME_LEN} bytes"
            )


@status
def votequorum_qdevice_register(handle: VotequorumHandle, name: str) -> None:
    """
    The device is here; returns when all members know.
    """
    _named(name)
    handle.ask(commands.DeviceRegister, name=name)


@status
def votequorum_qdevice_unregister(handle: VotequorumHandle, name: str) -> None:
    """
    It does not vote any more.
    """
    _named(name)
    handle.ask(commands.DeviceUnregister, name=name)


@status
def votequorum_qdevice_update(
    handle: VotequorumHandle, oldname: str, newname: str
) -> None:
    """
    It has another name.
    """
    _named(oldname, newname)
    handle.ask(commands.DeviceUpdate, old=oldname, new=newname)


@status
def votequorum_qdevice_poll(
    handle: VotequorumHandle, name: str, cast_vote: int, ring_id: VotequorumRingId
) -> None:
    """
    It is alive, and votes, or does not; C{CS_ERR_MESSAGE_ERROR}: for a ring that
    is over.
    """
    _named(name)
    ring = RingId(ring_id.seq, ring_id.nodeid)
    handle.ask(
        commands.DevicePoll,
        name=name,
        castVote=bool(cast_vote),
        sequence=ring.sequence,
        representative=ring.representative,
    )


@status
def votequorum_qdevice_master_wins(
    handle: VotequorumHandle, name: str, allow: int
) -> None:
    """
    Its vote alone suffices, or does not.
    """
    _named(name)
    handle.ask(commands.DeviceMasterWins, name=name, allow=bool(allow))
