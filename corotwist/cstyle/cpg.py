"""
Closed process groups under the names of C{corosync/cpg.h}.

Where the C call returns a number and fills in pointers, the call here returns a
tuple that begins with the number; a C{struct iovec} is a list of bytes.  A
handle is an object; callbacks get it first, as in C.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from attrs import define

from corotwist.cstyle.connection import service_connect
from corotwist.cstyle.cpghandle import CpgHandle
from corotwist.cstyle.cpgtypes import (
    CPG_FLOW_CONTROL_DISABLED,
    CPG_FLOW_CONTROL_ENABLED,
    CPG_ITERATION_ALL,
    CPG_ITERATION_NAME_ONLY,
    CPG_ITERATION_ONE_GROUP,
    CPG_MAX_NAME_LENGTH,
    CPG_MEMBERS_MAX,
    CPG_MODEL_V1,
    CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
    CPG_REASON_JOIN,
    CPG_REASON_LEAVE,
    CPG_REASON_NODEDOWN,
    CPG_REASON_NODEUP,
    CPG_REASON_PROCDOWN,
    CPG_REASON_UNDEFINED,
    CPG_TYPE_AGREED,
    CPG_TYPE_FIFO,
    CPG_TYPE_SAFE,
    CPG_TYPE_UNORDERED,
    CpgAddress,
    CpgCallbacks,
    CpgConfchgFn,
    CpgDeliverFn,
    CpgIterationDescription,
    CpgIterationType,
    CpgModelV1Data,
    CpgRingId,
    CpgTotemConfchgFn,
)
from corotwist.cstyle.dispatching import finalize
from corotwist.cstyle.types import (
    CsError,
    results,
    status,
)
from corotwist.engines.interfaces import (
    ATOMIC_MESSAGE_BYTES,
    LARGEST_MESSAGE_BYTES,
)
from corotwist.errors import (
    BadHandle,
    InvalidParameter,
    ServiceError,
)

# What C{cpg.h} has: C{from corotwist.cstyle.cpg import *} is its C{#include}.
__all__ = (
    "CPG_FLOW_CONTROL_DISABLED",
    "CPG_FLOW_CONTROL_ENABLED",
    "CPG_ITERATION_ALL",
    "CPG_ITERATION_NAME_ONLY",
    "CPG_ITERATION_ONE_GROUP",
    "CPG_MAX_NAME_LENGTH",
    "CPG_MEMBERS_MAX",
    "CPG_MODEL_V1",
    "CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF",
    "CPG_REASON_JOIN",
    "CPG_REASON_LEAVE",
    "CPG_REASON_NODEDOWN",
    "CPG_REASON_NODEUP",
    "CPG_REASON_PROCDOWN",
    "CPG_REASON_UNDEFINED",
    "CPG_TYPE_AGREED",
    "CPG_TYPE_FIFO",
    "CPG_TYPE_SAFE",
    "CPG_TYPE_UNORDERED",
    "CpgAddress",
    "CpgCallbacks",
    "CpgConfchgFn",
    "CpgDeliverFn",
    "CpgHandle",
    "CpgIterationDescription",
    "CpgIterationType",
    "CpgModelV1Data",
    "CpgRingId",
    "CpgTotemConfchgFn",
    "cpg_context_get",
    "cpg_context_set",
    "cpg_dispatch",
    "cpg_fd_get",
    "cpg_finalize",
    "cpg_flow_control_state_get",
    "cpg_initialize",
    "cpg_iteration_finalize",
    "cpg_iteration_initialize",
    "cpg_iteration_next",
    "cpg_join",
    "cpg_leave",
    "cpg_local_get",
    "cpg_max_atomic_msgsize_get",
    "cpg_mcast_joined",
    "cpg_membership_get",
    "cpg_model_initialize",
    "cpg_zcb_alloc",
    "cpg_zcb_free",
    "cpg_zcb_mcast_joined",
)

# The calls.


def cpg_initialize(
    callbacks: CpgCallbacks, path: str | None = None
) -> tuple[CsError, CpgHandle | None]:
    """
    Connect to the node of this machine.

    @param path: of its socket: see L{service_connect}.
    """
    data = CpgModelV1Data(callbacks.cpg_deliver_fn, callbacks.cpg_confchg_fn)
    return cpg_model_initialize(CPG_MODEL_V1, data, None, path)


def cpg_model_initialize(
    model: int,
    model_data: CpgModelV1Data,
    context: object = None,
    path: str | None = None,
) -> tuple[CsError, CpgHandle | None]:
    """
    Connect, and have rings told as well; model 1 is all there is.  With
    L{CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF} in the flags the ring is told
    behind the first change of a group, too, and not only when it changes.
    """
    if model != CPG_MODEL_V1 or model_data.model != CPG_MODEL_V1:
        return CsError.CS_ERR_INVALID_PARAM, None
    if model_data.flags & ~CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF:
        return CsError.CS_ERR_INVALID_PARAM, None
    try:
        connection = service_connect(path)
        handle = CpgHandle(connection, context, data=model_data)
        if model_data.flags & CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF:
            handle.expectInitialRing()
    except ServiceError as error:
        return CsError(error.code), None
    return CsError.CS_OK, handle


@status
def cpg_finalize(handle: CpgHandle) -> None:
    """
    Close: the process is out of its group.  Ends a L{cpg_dispatch} that waits.
    """
    finalize(handle)


@results(1)
def cpg_fd_get(handle: CpgHandle) -> tuple[int]:
    """
    A descriptor for C{select} and C{poll}: readable when there is something to
    dispatch.
    """
    return (handle.connection.fd_get(),)


@results(1)
def cpg_context_get(handle: CpgHandle) -> tuple[object]:
    """
    What was kept at the handle.
    """
    return (handle.context,)


@status
def cpg_context_set(handle: CpgHandle, context: object) -> None:
    """
    Keep something at the handle.
    """
    handle.context = context


@status
def cpg_dispatch(handle: CpgHandle, dispatch_flags: int) -> None:
    """
    Call callbacks: one (waiting for it), all that are pending, all until the
    handle is finalized, or one without waiting, which gives
    C{CS_ERR_TRY_AGAIN} when nothing is pending.
    """
    handle.dispatch(dispatch_flags)


@status
def cpg_join(handle: CpgHandle, group: bytes) -> None:
    """
    Ask to be a member; a configuration change with us in it follows.  A second
    group on one handle is C{CS_ERR_EXIST}.
    """
    handle.join(group)


@status
def cpg_leave(handle: CpgHandle, group: bytes) -> None:
    """
    Ask to be out.
    """
    handle.leave(group)


@status
def cpg_mcast_joined(handle: CpgHandle, guarantee: int, iovec: Sequence[bytes]) -> None:
    """
    Send one message to the group; returns when it is in the node's queue.
    C{CS_ERR_TRY_AGAIN}: dispatch first; C{CS_ERR_NOT_EXIST}: not in a group.
    """
    handle.multicast(guarantee, b"".join(iovec))


@results(1)
def cpg_membership_get(handle: CpgHandle, group: bytes) -> tuple[list[CpgAddress]]:
    """
    Who is in a group: L{CPG_MEMBERS_MAX} of them at most, the lowest, for so long
    are the arrays of programs in C.  C{cpg_iteration_next} gives all.
    """
    return ([*islice(handle.members(group), CPG_MEMBERS_MAX)],)


@results(1)
def cpg_local_get(handle: CpgHandle) -> tuple[int]:
    """
    The nodeid of this node.
    """
    handle.connection.checkOpen()
    return (handle.connection.welcome.nodeid,)


@results(1)
def cpg_max_atomic_msgsize_get(handle: CpgHandle) -> tuple[int]:
    """
    The longest message that travels in one piece; longer ones work as well.
    """
    handle.connection.checkOpen()
    return (ATOMIC_MESSAGE_BYTES,)


@results(1)
def cpg_flow_control_state_get(handle: CpgHandle) -> tuple[int]:
    """
    C{CPG_FLOW_CONTROL_ENABLED} while some member of the group, on whatever
    node, is behind and those who send wait for it; as far as we dispatched.
    """
    handle.connection.checkOpen()
    return (CPG_FLOW_CONTROL_ENABLED if handle.paused else CPG_FLOW_CONTROL_DISABLED,)


# Without copying: in Python as in the newest corosync, ordinary buffers.


@results(1)
def cpg_zcb_alloc(handle: CpgHandle, size: int) -> tuple[bytearray]:
    """
    A buffer for one message.
    """
    if not 0 <= size <= LARGEST_MESSAGE_BYTES:
        raise InvalidParameter(f"{size} bytes, at most {LARGEST_MESSAGE_BYTES}")
    return (bytearray(size),)


@status
def cpg_zcb_free(handle: CpgHandle, buffer: bytearray) -> None:
    """
    The buffer is not needed any more.
    """
    buffer.clear()


@status
def cpg_zcb_mcast_joined(
    handle: CpgHandle, guarantee: int, buffer: bytearray, length: int
) -> None:
    """
    Send what is in a buffer.
    """
    if not 0 <= length <= len(buffer):
        raise InvalidParameter(f"{length} bytes of {len(buffer)}")
    handle.multicast(guarantee, bytes(buffer[:length]))


# Looking around.


@define(eq=False)
class CpgIterationHandle:
    """
    Where an iteration is.
    """

    _rest: Iterator[CpgIterationDescription] | None

    def next(self) -> CpgIterationDescription:
        """
        See L{cpg_iteration_next}.
        """
        if self._rest is None:
            raise BadHandle("the iteration is finalized")
        return next(self._rest)

    def end(self) -> None:
        """
        See L{cpg_iteration_finalize}.
        """
        if self._rest is None:
            raise BadHandle("the iteration is finalized")
        self._rest = None


@results(1)
def cpg_iteration_initialize(
    handle: CpgHandle, iteration_type: int, group: bytes | None = None
) -> tuple[CpgIterationHandle]:
    """
    Look at groups: their names, the members of one, or all members of all.
    """
    if iteration_type not in {*CpgIterationType}:
        raise InvalidParameter(f"there is no iteration type {iteration_type}")
    if (iteration_type == CPG_ITERATION_ONE_GROUP) is (group is None):
        raise InvalidParameter("a group is named for CPG_ITERATION_ONE_GROUP only")
    if iteration_type == CPG_ITERATION_NAME_ONLY:
        found = [CpgIterationDescription(name) for name in handle.groups()]
    else:
        names = [*handle.groups()] if group is None else [group]
        found = [
            CpgIterationDescription(name, member.nodeid, member.pid)
            for name in names
            for member in handle.members(name)
        ]
    return (CpgIterationHandle(iter(found)),)


def cpg_iteration_next(
    handle: CpgIterationHandle,
) -> tuple[CsError, CpgIterationDescription | None]:
    """
    The next description; C{CS_ERR_NO_SECTIONS} behind the last.
    """
    try:
        return CsError.CS_OK, handle.next()
    except StopIteration:
        return CsError.CS_ERR_NO_SECTIONS, None
    except BadHandle as error:
        return CsError(error.code), None


@status
def cpg_iteration_finalize(handle: CpgIterationHandle) -> None:
    """
    Forget an iteration.
    """
    handle.end()
