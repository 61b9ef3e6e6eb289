"""
Quorum under the names of C{corosync/quorum.h}.

Where the C call fills in pointers, the call here returns a tuple that begins with
the number; lists are tuples.
"""

import json
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final

from attrs import define, field, frozen
from twisted.protocols import amp

from corotwist.cstyle.connection import ServiceConnection, service_connect
from corotwist.cstyle.dispatching import ServiceHandle, finalize
from corotwist.cstyle.types import (
    CS_TRACK_CHANGES,
    CS_TRACK_CHANGES_ONLY,
    CS_TRACK_CURRENT,
    CsError,
    results,
    status,
)
from corotwist.engines.interfaces import NO_VIEW, NodeChange, View
from corotwist.errors import Exists, InvalidParameter, NotExist, ServiceError
from corotwist.ipc.status import Statistics
from corotwist.ipc.views import (
    Arriving,
    Follow,
    Installed,
    Now,
    Transition,
    Unfollow,
    viewOf,
)
from corotwist.ipc.wire import NOTIFICATION_COST

_NOW: Final = CS_TRACK_CURRENT | CS_TRACK_CHANGES
_LATER: Final = CS_TRACK_CHANGES | CS_TRACK_CHANGES_ONLY
QUORUM_FREE: Final = 0
QUORUM_SET: Final = 1


class QuorumModel(IntEnum):
    """
    C{quorum_model_t}.
    """

    QUORUM_MODEL_V0 = 0
    QUORUM_MODEL_V1 = 1


QUORUM_MODEL_V0: Final = QuorumModel.QUORUM_MODEL_V0
QUORUM_MODEL_V1: Final = QuorumModel.QUORUM_MODEL_V1


@frozen
class QuorumRingId:
    """
    C{struct quorum_ring_id}.
    """

    nodeid: int
    seq: int


Nodeids = Sequence[int]
QuorumNotification = Callable[["QuorumHandle", bool, int, Nodeids], object]
QuorumV1Notification = Callable[["QuorumHandle", bool, QuorumRingId, Nodeids], object]
NodelistNotification = Callable[
    ["QuorumHandle", QuorumRingId, Nodeids, Nodeids, Nodeids], object
]


@frozen
class QuorumCallbacks:
    """
    C{quorum_callbacks_t}.
    """

    quorum_notify_fn: QuorumNotification | None = None


@frozen
class QuorumModelV0Data:
    """
    C{quorum_model_v0_data_t}.
    """

    quorum_notify_fn: QuorumNotification | None = None
    model: int = QUORUM_MODEL_V0


@frozen
class QuorumModelV1Data:
    """
    C{quorum_model_v1_data_t}.
    """

    quorum_notify_fn: QuorumV1Notification | None = None
    nodelist_notify_fn: NodelistNotification | None = None
    model: int = QUORUM_MODEL_V1


ModelData = QuorumModelV0Data | QuorumModelV1Data


@define(eq=False)
class QuorumHandle(ServiceHandle):
    """
    One connection of the process.
    """

    data: ModelData = field(kw_only=True)
    _arriving: Arriving = field(factory=Arriving, init=False)
    _tracking: bool = field(default=False, init=False)
    # The last view that the program was told of, or knows.
    _told: View = field(default=NO_VIEW, init=False)

    def now(self) -> View:
        """
        The view of the node.
        """
        return viewOf(_whole(self.connection, Now))

    def track(self, flags: int) -> None:
        """
        See L{quorum_trackstart}.
        """
        if not flags or flags & ~(_NOW | _LATER):
            raise InvalidParameter(f"there are no flags {flags}")
        view = self.now()
        if flags & _NOW:
            self._tellNodes(view, (), (), cost=0)
            self._tellQuorum(view, cost=0)
            self.connection.more(bool(self._waiting))
        if self._tracking:
            raise Exists("it is tracked already")
        if flags & _LATER:
            self._tracking, self._told = True, view
            self.connection.send_recv(Follow)

    def untrack(self) -> None:
        """
        See L{quorum_trackstop}.
        """
        self._tracking = False
        self.connection.send_recv(Unfollow)

    def received(self, name: bytes, box: amp.AmpBox) -> None:
        if name not in {Installed.commandName, Transition.commandName}:
            super().received(name, box)
            return
        view = self._arriving.received(box)
        if (
            not isinstance(view, View)
            or not self._tracking
            or view.viewId <= self._told.viewId
        ):
            self.connection.consumed(NOTIFICATION_COST)
            return
        before, self._told = self._told, view
        if before.viewId.ringId != view.viewId.ringId:
            self._tellNodes(view, _nodeids(view.joined), _nodeids(view.left), cost=0)
        self._tellQuorum(view, cost=NOTIFICATION_COST)

    def _tellNodes(
        self, view: View, joined: Nodeids, left: Nodeids, *, cost: int
    ) -> None:
        data = self.data
        if isinstance(data, QuorumModelV1Data):
            function = data.nodelist_notify_fn
            ring = _ring(view)
            self.expect(function, self, ring, view.members, joined, left, cost=cost)

    def _tellQuorum(self, view: View, *, cost: int) -> None:
        told: Any = _ring(view)
        if not isinstance(self.data, QuorumModelV1Data):
            told = told.seq
        function = self.data.quorum_notify_fn
        self.expect(function, self, view.quorate, told, view.members, cost=cost)


def _ring(view: View) -> QuorumRingId:
    ringId = view.viewId.ringId
    return QuorumRingId(ringId.representative, ringId.sequence)


def _nodeids(changes: tuple[NodeChange, ...]) -> Nodeids:
    return tuple(change.nodeid for change in changes)


# The calls.


def quorum_initialize(
    callbacks: QuorumCallbacks | None = None, path: str | None = None
) -> tuple[CsError, QuorumHandle | None, int | None]:
    """
    Connect to the node of this machine.

    @param path: of its socket: see L{service_connect}.
    @return: with L{QUORUM_SET}, when somebody decides, or L{QUORUM_FREE}.
    """
    notify = None if callbacks is None else callbacks.quorum_notify_fn
    return quorum_model_initialize(
        QUORUM_MODEL_V0, QuorumModelV0Data(notify), None, path
    )


def quorum_model_initialize(
    model: int,
    model_data: ModelData,
    context: object = None,
    path: str | None = None,
) -> tuple[CsError, QuorumHandle | None, int | None]:
    """
    Connect; with model 1 nodes are told, too.
    """
    if model not in {*QuorumModel} or model_data.model != model:
        return CsError.CS_ERR_INVALID_PARAM, None, None
    try:
        connection = service_connect(path)
        kind = _kind(connection)
    except ServiceError as error:
        return CsError(error.code), None, None
    return CsError.CS_OK, QuorumHandle(connection, context, data=model_data), kind


def _kind(connection: ServiceConnection) -> int:
    try:
        section = _whole(connection, Statistics, section="quorum")
    except NotExist:
        return QUORUM_FREE
    return QUORUM_SET if section["provider"] else QUORUM_FREE


def _whole(
    connection: ServiceConnection, command: type[amp.Command], **arguments: Any
) -> Any:
    """
    What is answered in parts.
    """
    text, part, more = b"", 0, True
    while more:
        answer = connection.send_recv(command, **arguments, part=part)
        text += answer["json"]
        part, more = part + 1, answer["more"]
    return json.loads(text)


@status
def quorum_finalize(handle: QuorumHandle) -> None:
    """
    Close.
    """
    finalize(handle)


@results(1)
def quorum_fd_get(handle: QuorumHandle) -> tuple[int]:
    """
    A descriptor to poll for something to dispatch.
    """
    return (handle.connection.fd_get(),)


@status
def quorum_dispatch(handle: QuorumHandle, dispatch_types: int) -> None:
    """
    Be told what is tracked: see L{ServiceHandle.dispatch}.
    """
    handle.dispatch(dispatch_types)


@results(1)
def quorum_getquorate(handle: QuorumHandle) -> tuple[bool]:
    """
    May the partition of this node act?
    """
    return (handle.now().quorate,)


@status
def quorum_trackstart(handle: QuorumHandle, flags: int) -> None:
    """
    Be told: with L{CS_TRACK_CURRENT} or L{CS_TRACK_CHANGES} how it is now, with
    L{CS_TRACK_CHANGES} or L{CS_TRACK_CHANGES_ONLY} of each ring, and each other
    verdict.  C{CS_ERR_EXIST}, when it is tracked already; how it is now is told
    anew.
    """
    handle.track(flags)


@status
def quorum_trackstop(handle: QuorumHandle) -> None:
    """
    Be told no more; no error, when it was not tracked.
    """
    handle.untrack()


@status
def quorum_context_set(handle: QuorumHandle, context: object) -> None:
    """
    Keep something at the handle.
    """
    handle.connection.checkOpen()
    handle.context = context


@results(1)
def quorum_context_get(handle: QuorumHandle) -> tuple[object]:
    """
    What was kept at the handle.
    """
    handle.connection.checkOpen()
    return (handle.context,)
