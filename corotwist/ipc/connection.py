"""
One local client, as the engines see it: who it is, and what waits for it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.protocols import amp
from zope.interface import implementer

from corotwist.engines.interfaces import GroupView, Member
from corotwist.interfaces import IConnection
from corotwist.ipc.channel import Box
from corotwist.ipc.cpg import DispatchQueue, Subscriber, ringBox, viewBoxes
from corotwist.ipc.wire import (
    DISPATCH_QUEUE_BYTES,
    DISPATCH_QUEUE_MESSAGES,
    DISPATCH_WINDOW_BYTES,
)
from corotwist.totem.membership import RingId


@frozen
class Credentials:
    """
    Who a client is, as the kernel says.

    @ivar groups: group ids, C{gid} included.
    """

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


class Outlet(Protocol):
    """
    Where events leave to the client.
    """

    congested: bool

    def sendBox(self, box: Box) -> None:
        """
        Take one event.
        """


@implementer(IConnection, Subscriber)
@define(eq=False)
class Connection:
    """
    A client between pairing and its end.

    Events are queued while an engine is at work and leave on the next turn of
    the reactor, so that those of one turn travel together.  At most
    L{DISPATCH_WINDOW_BYTES} and one part are on their way unacknowledged;
    when more than L{DISPATCH_QUEUE_BYTES} or L{DISPATCH_QUEUE_MESSAGES} wait
    behind these, the client is too slow and is cut off.

    @ivar cut: called, once and on a turn of its own, with this connection and
        the reason when the client must go.
    @ivar private: belongs to the service manager.
    """

    credentials: Credentials
    _clock: IReactorTime
    _outlet: Outlet
    cut: Callable[["Connection", str], None]
    private: Any = None
    _queue: DispatchQueue = field(factory=DispatchQueue)
    _unacknowledged: int = field(default=0, init=False)
    _flushing: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _endings: list[Callable[[], object]] = field(factory=list, init=False)

    @property
    def pid(self) -> int:
        """
        The client's process id.
        """
        return self.credentials.pid

    @property
    def uid(self) -> int:
        """
        The client's user id.
        """
        return self.credentials.uid

    @property
    def gid(self) -> int:
        """
        The client's group id.
        """
        return self.credentials.gid

    # From the engines.

    def messagesDelivered(
        self, group: bytes, sender: Member, batch: bytes, count: int
    ) -> None:
        if not self._ended:
            self._queue.deliver(group, sender, batch, count)
            self._queued()

    def viewChanged(self, view: GroupView) -> None:
        for box in viewBoxes(view):
            self.notify(box)

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self.notify(ringBox(ringId, members))

    def tell(self, command: type[amp.Command], **arguments: Any) -> None:
        """
        Notify the client with a command of any service; for engines of third
        parties.
        """
        box = command.makeArguments(arguments, None)
        self.notify({amp.COMMAND: command.commandName, **box})

    def notify(self, box: Box) -> None:
        """
        Queue an event that is a box already.
        """
        if not self._ended:
            self._queue.notify(box)
            self._queued()

    def _queued(self) -> None:
        queue = self._queue
        if (
            queue.heldBytes > DISPATCH_QUEUE_BYTES
            or queue.heldMessages > DISPATCH_QUEUE_MESSAGES
        ):
            self._overflowed()
        elif not self._flushing:
            self._flushing = True
            self._clock.callLater(0, self._flush)

    def _overflowed(self) -> None:
        reason = (
            f"too slow: {self._queue.heldMessages} messages, "
            f"{self._queue.heldBytes} bytes were waiting"
        )
        self.end()
        # An engine is in the middle of delivering to several clients.
        self._clock.callLater(0, self.cut, self, reason)

    # To the client.

    def _flush(self) -> None:
        self._flushing = False
        self.flush()

    def flush(self) -> None:
        """
        Send what the window and the outlet allow.
        """
        while (
            self._unacknowledged < DISPATCH_WINDOW_BYTES and not self._outlet.congested
        ):
            event = self._queue.next()
            if event is None:
                return
            box, cost = event
            self._unacknowledged += cost
            self._outlet.sendBox(box)

    def creditReceived(self, credit: int) -> None:
        """
        The client dealt with so many bytes of events.
        """
        self._unacknowledged = max(0, self._unacknowledged - credit)
        self.flush()

    def atEnd(self, callback: Callable[[], object]) -> None:
        """
        Call when the client is gone; for responder locators.
        """
        self._endings.append(callback)

    def end(self) -> None:
        """
        Nothing is sent or taken any more.
        """
        self._ended = True
        self._queue.clear()

    def closed(self) -> None:
        """
        The client is gone.
        """
        self.end()
        endings, self._endings = self._endings, []
        for callback in endings:
            callback()

    def waiting(self) -> Mapping[str, int]:
        """
        How far behind the client is, for people.
        """
        return {
            "pid": self.pid,
            "uid": self.uid,
            "queuedBytes": self._queue.heldBytes,
            "queuedMessages": self._queue.heldMessages,
            "unacknowledgedBytes": self._unacknowledged,
        }


def locators(manager: Any, connection: Connection) -> Iterator[Any]:
    """
    The responder locators that the makers of the loaded engines bring.
    """
    for name, maker in manager.makers.items():
        responders = maker.responders()
        engine = manager.engines.get(name)
        if responders is not None and engine is not None:
            yield responders(engine, connection)
