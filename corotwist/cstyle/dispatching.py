"""
What the handles of all libraries have in common: events that wait for a
dispatch call.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.protocols import amp

from corotwist.cstyle.connection import ServiceConnection
from corotwist.cstyle.types import (
    CS_DISPATCH_ALL,
    CS_DISPATCH_BLOCKING,
    CS_DISPATCH_ONE_NONBLOCKING,
    Dispatch,
)
from corotwist.errors import BadHandle, InvalidParameter, TryAgain
from corotwist.ipc.wire import NOTIFICATION_COST


@frozen
class Call:
    """
    A callback with its arguments.
    """

    function: Callable[..., object]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        self.function(*self.arguments)


@define(eq=False)
class ServiceHandle:
    """
    One connection of the process.

    @ivar context: whatever the program keeps there.
    """

    connection: ServiceConnection
    context: object = None
    _waiting: deque[tuple[Call, int]] = field(factory=deque, init=False)
    _pieces: bytearray = field(factory=bytearray, init=False)

    def dispatch(self, flags: int) -> None:
        """
        Call callbacks: one (waiting for it), all that are pending, all until
        the handle is finalized, or one without waiting.

        @raise TryAgain: one without waiting, and nothing is pending.
        @raise InvalidParameter: there is no such flag.
        """
        self.connection.checkOpen()
        try:
            how = Dispatch(flags)
        except ValueError:
            raise InvalidParameter(f"there is no dispatch flag {flags}") from None
        wait = how not in {CS_DISPATCH_ALL, CS_DISPATCH_ONE_NONBLOCKING}
        many = how in {CS_DISPATCH_ALL, CS_DISPATCH_BLOCKING}
        called = self._dispatchOne(wait=wait)
        if not called and how is CS_DISPATCH_ONE_NONBLOCKING:
            raise TryAgain("nothing is pending")
        while called and many and not self.connection.closed:
            called = self._dispatchOne(wait=wait)

    def _dispatchOne(self, *, wait: bool) -> bool:
        """
        @return: was there an event?
        """
        while not self._waiting:
            try:
                box = self.connection.dispatch_recv(None if wait else 0)
            except BadHandle:
                return False  # Finalized by a callback, or another thread.
            if box is None:
                return False
            self.received(box[amp.COMMAND], box)
        call, cost = self._waiting.popleft()
        self.connection.more(bool(self._waiting))
        call()
        if not self.connection.closed:
            self.connection.consumed(cost)
        return True

    # For libraries.

    def received(self, name: bytes, box: amp.AmpBox) -> None:
        """
        An event came; a library takes apart what it knows.
        """
        self.connection.consumed(NOTIFICATION_COST)

    def whole(
        self, data: bytes, more: bool | None, cost: int = NOTIFICATION_COST
    ) -> bytes | None:
        """
        Put the parts of an event together, which come without anything else in
        between.

        @param cost: of this part, which is dealt with when more are to come.
        @return: all of it, with the last part.
        """
        self._pieces += data
        if more:
            self.connection.consumed(cost)
            return None
        whole = bytes(self._pieces)
        self._pieces.clear()
        return whole

    def expect(
        self,
        function: Callable[..., object] | None,
        *arguments: Any,
        cost: int = NOTIFICATION_COST,
    ) -> None:
        """
        Have the program called by the next dispatch.  What it has no callback
        for is dealt with.
        """
        if function is None:
            self.connection.consumed(cost)
        else:
            self._waiting.append((Call(function, arguments), cost))


def finalize(handle: ServiceHandle) -> None:
    """
    Close a handle; ends a dispatch that waits.

    @raise BadHandle: it was closed.
    """
    handle.connection.checkOpen()
    handle.connection.close()
