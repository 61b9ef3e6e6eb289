"""
The constants and structures of C{corosync/cpg.h}.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from attrs import frozen

from corotwist.engines.interfaces import LONGEST_GROUP_NAME, Reason
from corotwist.totem.membership import Guarantee

if TYPE_CHECKING:
    from corotwist.cstyle.cpghandle import CpgHandle

CPG_MAX_NAME_LENGTH: Final = LONGEST_GROUP_NAME
CPG_MEMBERS_MAX: Final = 128
CPG_TYPE_UNORDERED: Final = Guarantee.UNORDERED
CPG_TYPE_FIFO: Final = Guarantee.FIFO
CPG_TYPE_AGREED: Final = Guarantee.AGREED
CPG_TYPE_SAFE: Final = Guarantee.SAFE
CPG_REASON_UNDEFINED: Final = 0
CPG_REASON_JOIN: Final = Reason.JOIN
CPG_REASON_LEAVE: Final = Reason.LEAVE
CPG_REASON_NODEDOWN: Final = Reason.NODEDOWN
CPG_REASON_NODEUP: Final = Reason.NODEUP
CPG_REASON_PROCDOWN: Final = Reason.PROCDOWN
CPG_MODEL_V1: Final = 1
CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF: Final = 0x01
CPG_FLOW_CONTROL_DISABLED: Final = 0
CPG_FLOW_CONTROL_ENABLED: Final = 1


class CpgIterationType(IntEnum):
    """
    C{cpg_iteration_type_t}.
    """

    CPG_ITERATION_NAME_ONLY = 1
    CPG_ITERATION_ONE_GROUP = 2
    CPG_ITERATION_ALL = 3


CPG_ITERATION_NAME_ONLY: Final = CpgIterationType.CPG_ITERATION_NAME_ONLY
CPG_ITERATION_ONE_GROUP: Final = CpgIterationType.CPG_ITERATION_ONE_GROUP
CPG_ITERATION_ALL: Final = CpgIterationType.CPG_ITERATION_ALL


@frozen
class CpgAddress:
    """
    C{struct cpg_address}.

    @ivar reason: L{CPG_REASON_UNDEFINED} in lists of members.
    """

    nodeid: int
    pid: int
    reason: int = CPG_REASON_UNDEFINED


@frozen
class CpgRingId:
    """
    C{struct cpg_ring_id}.
    """

    nodeid: int
    seq: int


@frozen
class CpgIterationDescription:
    """
    C{struct cpg_iteration_description_t}; nobody (0, 0) where only names were
    asked for.
    """

    group: bytes
    nodeid: int = 0
    pid: int = 0


CpgDeliverFn = Callable[["CpgHandle", bytes, int, int, bytes], object]
CpgConfchgFn = Callable[
    [
        "CpgHandle",
        bytes,
        Sequence[CpgAddress],
        Sequence[CpgAddress],
        Sequence[CpgAddress],
    ],
    object,
]
CpgTotemConfchgFn = Callable[["CpgHandle", CpgRingId, Sequence[int]], object]


@frozen
class CpgCallbacks:
    """
    C{cpg_callbacks_t}.
    """

    cpg_deliver_fn: CpgDeliverFn | None = None
    cpg_confchg_fn: CpgConfchgFn | None = None


@frozen
class CpgModelV1Data:
    """
    C{cpg_model_v1_data_t}.
    """

    cpg_deliver_fn: CpgDeliverFn | None = None
    cpg_confchg_fn: CpgConfchgFn | None = None
    cpg_totem_confchg_fn: CpgTotemConfchgFn | None = None
    flags: int = 0
    model: int = CPG_MODEL_V1
