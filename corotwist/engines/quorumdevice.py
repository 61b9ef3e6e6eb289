"""
The quorum device of this node, as far as the votes go: is it there, is it
alive, does it vote for us?
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define

from corotwist.config.settings import DeviceSettings
from corotwist.engines.executive import NodeFlag
from corotwist.engines.quoruminterfaces import LONGEST_DEVICE_NAME
from corotwist.errors import (
    AccessDenied,
    Exists,
    InvalidParameter,
    NameTooLong,
    NotExist,
    OldRing,
)
from corotwist.interfaces import ICluster
from corotwist.totem.membership import RingId

_NONE: Final = NodeFlag(0)
_SECOND: Final = 1_000_000_000
_VOTING: Final = NodeFlag.QDEVICE_ALIVE | NodeFlag.QDEVICE_CAST_VOTE
_ALL: Final = _VOTING | NodeFlag.QDEVICE_REGISTERED | NodeFlag.QDEVICE_MASTER_WINS


@define(eq=False)
class LocalDevice:
    """
    What the device told this node.  It says so to the others at once, and
    counts for us when they hear it.

    @ivar settings: L{None}: the configuration has none.
    @ivar changed: called when C{flags} are others.
    @ivar name: nothing while none is registered.
    @ivar flags: for L{NodeInfo<corotwist.engines.executive.NodeInfo>}.
    """

    cluster: ICluster
    settings: DeviceSettings | None
    changed: Callable[[], None]
    name: str = ""
    flags: NodeFlag = _NONE
    _timer: Any = None
    _awaited: RingId | None = None

    # From the device.

    def checkRegister(self, name: str) -> None:
        """
        @raise ServiceError: it cannot be registered.
        """
        self.checkNew(name)
        if self.settings is None:
            raise AccessDenied("the configuration has no quorum.device")
        if self.name and self.name != name:
            raise Exists(f"{self.name!r} is registered")

    def checkNew(self, name: str) -> None:
        """
        @raise ServiceError: no device may be called that.
        """
        if not name or "\0" in name:
            raise InvalidParameter(f"{name!r} is no name of a quorum device")
        if len(name.encode()) > LONGEST_DEVICE_NAME:
            raise NameTooLong(f"over {LONGEST_DEVICE_NAME} bytes")

    def checkName(self, name: str) -> None:
        """
        @raise ServiceError: it is not the one that is registered.
        """
        if not self.name:
            raise NotExist("no quorum device is registered")
        if self.name != name:
            raise InvalidParameter(f"{self.name!r} is registered, not {name!r}")

    def registered(self, name: str) -> None:
        """
        All have heard it.
        """
        self.name = name
        self._set(self.flags | NodeFlag.QDEVICE_REGISTERED)

    def unregistered(self) -> None:
        """
        It does not vote any more.
        """
        self.name = ""
        self._cancel()
        self._awaited = None
        self._set(_NONE)

    def renamed(self, name: str) -> None:
        """
        It has another name.
        """
        self.name = name

    def polled(self, name: str, castVote: bool, ringId: RingId) -> None:
        """
        It is alive.
        """
        self.checkName(name)
        if ringId != self.cluster.ringId():
            now = self.cluster.ringId()
            raise OldRing(f"the device voted for ring {ringId}, and this is {now}")
        if self.settings is None:
            raise AccessDenied("the configuration has no quorum.device")
        self._awaited = None
        flags = self.flags | NodeFlag.QDEVICE_ALIVE
        cast = NodeFlag.QDEVICE_CAST_VOTE
        self._rearm(self.settings.timeout)
        self._set(flags | cast if castVote else flags & ~cast)

    def masterWins(self, name: str, allow: bool) -> None:
        """
        Is its vote enough?
        """
        self.checkName(name)
        wins = NodeFlag.QDEVICE_MASTER_WINS
        self._set(self.flags | wins if allow else self.flags & ~wins)

    # A round.

    def ringChanged(self, ringId: RingId) -> None:
        """
        What it said of another ring counts for nothing: it is to vote anew.
        """
        if not self.flags & NodeFlag.QDEVICE_ALIVE or self.settings is None:
            return
        self.flags &= ~NodeFlag.QDEVICE_CAST_VOTE
        self._awaited = ringId
        self._rearm(self.settings.syncTimeout)

    @property
    def awaited(self) -> bool:
        """
        Has a round to wait for it?
        """
        return self._awaited is not None

    # Time.

    def _rearm(self, seconds: float) -> None:
        self._cancel()
        self._timer = self.cluster.callAfter(int(seconds * _SECOND), self._silent)

    def _cancel(self) -> None:
        if self._timer is not None:
            self.cluster.cancel(self._timer)
        self._timer = None

    def _silent(self) -> None:
        """
        It has not been heard for too long.
        """
        self._timer = None
        self._awaited = None
        self._set(self.flags & ~_VOTING)

    def stop(self) -> None:
        """
        No more timers.
        """
        self._cancel()

    def _set(self, flags: NodeFlag) -> None:
        before, self.flags = self.flags, flags & _ALL
        if before != self.flags:
            self.changed()

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        What it said.
        """
        return {"name": self.name, "flags": int(self.flags)}

    def takeOver(self, state: Mapping[str, Any]) -> None:
        """
        Go on, with a whole timeout.
        """
        self.name, self.flags = state["name"], NodeFlag(state["flags"])
        if self.flags & NodeFlag.QDEVICE_ALIVE and self.settings is not None:
            self._rearm(self.settings.timeout)
