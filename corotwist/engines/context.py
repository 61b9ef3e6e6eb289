"""
What an engine may ask of its node.  [ARCH Figure 9]
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from corotwist.budget import Budget
from corotwist.engines import compact
from corotwist.engines.executive import SERVICES_GROUP, address, header
from corotwist.engines.flow import FlowControl
from corotwist.engines.place import SHORT_FORM
from corotwist.errors import TooBig, TryAgain
from corotwist.interfaces import ICluster, IFlowGroup, ITotem
from corotwist.totem.membership import NO_RING, Configuration, Guarantee, RingId

# One message in the total order; real corosync nodes abort above it.
LARGEST_TOTEM_MESSAGE: Final = 1 << 20
# A timer by time of day looks again at least so often, so that it follows a
# clock that is set.
TIME_OF_DAY_SECONDS: Final = 1.0

# What one engine may hold for those who wait, beside the whole node's budget.
ENGINE_BYTES: Final = 256 << 20

_BILLION: Final = 1_000_000_000


class Home(Protocol):
    """
    The service manager, as the contexts of its engines see it.
    """

    clock: IReactorTime
    timeOfDay: Callable[[], int]
    totem: ITotem
    configuration: Configuration
    flow: FlowControl
    budget: Budget
    database: Any
    operations: Any

    def compactAllowed(self) -> bool: ...
    def synchronizing(self) -> bool: ...
    def engineNamed(self, name: str) -> Any: ...
    def whenRoom(self, callback: Callable[[], None]) -> None: ...
    def shutdownRequested(self, who: str, reason: str) -> None: ...
    def memoryFailed(self, who: str, what: str) -> None: ...


class Guard(Protocol):
    """
    The place of an engine at its node, which contains what it raises.
    """

    waiting: bool
    sent: Counter[int]

    def counted(self, function: int) -> int: ...
    @property
    def over(self) -> bool: ...
    def checkSending(self) -> None: ...
    def call(self, function: Callable[[], Any]) -> Any: ...


@define(eq=False)
class Timer:
    """
    A handle: the call that is due next, and for a timer by time of day when it
    is really meant.
    """

    delayed: IDelayedCall | None = None
    timeNs: int | None = None

    def active(self) -> bool:
        """
        Will it fire?
        """
        return self.delayed is not None and bool(self.delayed.active())


@implementer(ICluster)
class Cluster:
    """
    One engine's view of its node.
    """

    def __init__(self, home: Home, guard: Guard, name: str, serviceId: int) -> None:
        self._home = home
        self._guard = guard
        self._name = name
        self._serviceId = serviceId
        self._latest = 0
        self._prefixRing = NO_RING
        self._prefix = b""
        self.nodeid: int = home.totem.nodeid
        self.database = home.database
        self.budget = Budget(name, ENGINE_BYTES, home.budget)
        self.operations = home.operations

    # The total order.

    def multicast(
        self, function: int, body: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> None:
        whole = header(self._serviceId, function, body)
        self._send(address(SERVICES_GROUP, whole), guarantee)
        self._guard.sent[self._guard.counted(function)] += 1

    def multicastCompact(
        self, body: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> None:
        self._send(self._compactPrefix() + body, guarantee)
        self._guard.sent[SHORT_FORM] += 1

    def _compactPrefix(self) -> bytes:
        """
        What goes before the engine's bytes, on this ring.
        """
        ringId = self.ringId()
        if ringId != self._prefixRing:
            self._prefixRing = ringId
            self._prefix = address(
                compact.GROUP, compact.engineHeader(self._serviceId, ringId)
            )
        return self._prefix

    def _send(self, message: bytes, guarantee: Guarantee) -> None:
        self._guard.checkSending()
        if len(message) > LARGEST_TOTEM_MESSAGE:
            raise TooBig(f"{len(message)} bytes in one message")
        if not self._home.totem.multicast(message, guarantee):
            raise TryAgain("the send queue has no room")

    def compact(self) -> bool:
        return self._home.compactAllowed()

    def synchronizing(self) -> bool:
        return self._guard.waiting or self._home.synchronizing()

    def whenRoom(self, callback: Callable[[], None]) -> None:
        self._home.whenRoom(lambda: self._guard.call(callback))

    def flowCreate(self, name: bytes, changed: Callable[[bool], None]) -> IFlowGroup:
        def guarded(paused: bool) -> None:
            self._guard.call(lambda: changed(paused))

        return self._home.flow.create(self._serviceId, name, guarded)

    def members(self) -> tuple[int, ...]:
        return self._home.configuration.members

    def ringId(self) -> RingId:
        return self._home.configuration.ringId

    # Time.

    def now(self) -> int:
        self._latest = max(self._latest, int(self._home.clock.seconds() * _BILLION))
        return self._latest

    def timeOfDay(self) -> int:
        return self._home.timeOfDay()

    def callAfter(self, delayNs: int, callback: Callable[[], None]) -> Any:
        seconds = max(0, delayNs) / _BILLION
        return Timer(
            self._home.clock.callLater(seconds, self._guard.call, callback),
        )

    def callAt(self, timeNs: int, callback: Callable[[], None]) -> Any:
        timer = Timer(timeNs=timeNs)
        self._await(timer, timeNs, callback)
        return timer

    def _await(self, timer: Timer, timeNs: int, callback: Callable[[], None]) -> None:
        """
        Sleep towards the time of day, in steps.
        """
        seconds = max(0, timeNs - self.timeOfDay()) / _BILLION
        timer.delayed = self._home.clock.callLater(
            min(seconds, TIME_OF_DAY_SECONDS), self._look, timer, timeNs, callback
        )

    def _look(self, timer: Timer, timeNs: int, callback: Callable[[], None]) -> None:
        if self.timeOfDay() < timeNs:
            self._await(timer, timeNs, callback)
        else:
            self._guard.call(callback)

    def cancel(self, timer: Any) -> None:
        if timer is not None and timer.active():
            timer.delayed.cancel()

    def expiresAt(self, timer: Any) -> int:
        assert isinstance(timer, Timer), "a handle is what callAfter or callAt gave"
        if timer.delayed is None or not timer.delayed.active():
            return 0
        if timer.timeNs is not None:
            return self.now() + max(0, timer.timeNs - self.timeOfDay())
        return int(timer.delayed.getTime() * _BILLION)

    # The node.

    def engine(self, name: str) -> Any:
        return self._home.engineNamed(name)

    def shutdownRequested(self, reason: str) -> None:
        if not self._guard.over:
            self._home.shutdownRequested(self._name, reason)

    def memoryFailed(self, what: str) -> None:
        self._home.memoryFailed(self._name, what)
