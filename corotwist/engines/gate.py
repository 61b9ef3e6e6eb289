"""
What clients ask of a service, before the service sees it: is this the time?
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from corotwist.engines.connections import Connections
from corotwist.errors import BadHandle, NotQuorate, TryAgain
from corotwist.interfaces import IConnection, ITotem

# What a request that is let in finds in the send queue: enough for all that a
# single AMP box can bring, and its headers.
ROOM_BYTES: Final = (64 << 10) + 1024
# Requests that wait for room, of all clients.
MOST_WAITING: Final = 4096
# For so long after memory failed, what could wait is refused.
SHEDDING_SECONDS: Final = 5.0


class Home(Protocol):
    """
    The service manager.
    """

    clock: IReactorTime
    totem: ITotem
    connections: Connections

    def quorate(self) -> bool: ...
    def synchronizing(self) -> bool: ...
    def whenRoom(self, callback: Callable[[], None]) -> None: ...


@define(eq=False)
class _Request:
    allowed: Deferred[None]


class Gate:
    """
    Lets requests through to the engines.

    An engine that does not allow it is not asked without quorum.  Requests of
    an engine with flow control wait while the send queue has no room or the
    services synchronize, and go on in the order in which they came.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._waiting: deque[_Request] = deque()
        self._shedUntil = 0.0

    def admit(
        self, engine: Any, command: str, connection: IConnection
    ) -> Deferred[None] | None:
        """
        May it be asked?

        @return: L{None} for now, or what fires when it may.
        @raise NotQuorate: not in this partition.
        @raise TryAgain: too many wait, or memory is short.
        """
        use = self._home.connections.use(engine.name, connection)
        if use is not None:
            use.requests += 1
        try:
            waits = self._admitted(engine, command)
        except TryAgain:
            if use is not None:
                use.refused += 1
            raise
        if waits is not None and use is not None:
            use.waited += 1
        return waits

    def _admitted(self, engine: Any, command: str) -> Deferred[None] | None:
        if not engine.allowInquorate and not self._home.quorate():
            raise NotQuorate(
                f"service {engine.name} needs quorum, and this partition has none"
            )
        controlled = engine.flowControl
        if controlled is not True and (not controlled or command not in controlled):
            return None
        if self._home.clock.seconds() < self._shedUntil:
            raise TryAgain("this node is short of memory")
        if not self._waiting and self._open():
            return None
        return self._wait()

    def _open(self) -> bool:
        home = self._home
        return not home.synchronizing() and home.totem.room() >= ROOM_BYTES

    def _wait(self) -> Deferred[None]:
        if len(self._waiting) >= MOST_WAITING:
            raise TryAgain(f"{MOST_WAITING} requests wait for room")

        def cancelled(_: Deferred[None]) -> None:
            self._waiting.remove(request)

        request = _Request(Deferred(cancelled))
        self._waiting.append(request)
        if len(self._waiting) == 1:
            self._home.whenRoom(self._roomCame)
        return request.allowed

    def _roomCame(self) -> None:
        """
        As many as there is room for, each after the one before has used it.
        """
        while self._waiting and self._open():
            self._waiting.popleft().allowed.callback(None)
        if self._waiting:
            self._home.whenRoom(self._roomCame)

    def shed(self) -> None:
        """
        Memory failed: take no more work for a while.
        """
        self._shedUntil = self._home.clock.seconds() + SHEDDING_SECONDS

    def stop(self) -> None:
        """
        Nobody gets through any more.
        """
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.allowed.errback(BadHandle("the node stops"))

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            "waiting": len(self._waiting),
            "shedding": self._home.clock.seconds() < self._shedUntil,
        }
