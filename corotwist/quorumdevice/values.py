"""
What a quorum device and who asks it tell each other.
"""

from collections.abc import Mapping
from enum import IntEnum

from attrs import field, frozen

from corotwist.totem.membership import RingId


class Health(IntEnum):
    """
    What the heuristics of a node say.
    """

    FAILED = -1
    UNKNOWN = 0
    PASSED = 1


@frozen
class DeviceContext:
    """
    What a device is told about its node.

    @ivar incarnation: of the node: another one after each start.
    @ivar nodes: of the node list, ascending.
    @ivar castSeconds: for so long a vote that was given may be cast, from when
        the device was asked.
    @ivar graceSeconds: for so long some members of a ring may take it for cast
        although it is not any more.
    @ivar options: what the configuration says to this model, without its name:
        C{"path"} of C{quorum.device.disk.path}.
    """

    nodeid: int
    incarnation: int
    nodes: tuple[int, ...]
    cluster: str
    castSeconds: float
    graceSeconds: float
    options: Mapping[str, str] = field(factory=dict)


@frozen
class DeviceAnswer:
    """
    What a device says.

    @ivar until: seconds, on the clock of the reactor: when a vote for us ends,
        unless the device says so again.
    @ivar why: for people.
    """

    ringId: RingId
    vote: bool
    until: float
    why: str
