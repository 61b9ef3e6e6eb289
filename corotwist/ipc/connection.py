"""
One local client, as the engines see it: who it is, and what waits for it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.protocols import amp
from zope.interface import implementer

from corotwist.budget import Budget
from corotwist.engines.interfaces import (
    NOWHERE,
    EngineNews,
    GroupView,
    Member,
    Position,
    SlowReader,
)
from corotwist.errors import ServiceError
from corotwist.interfaces import IConnection, IFlowGroup
from corotwist.ipc.backlog import Backlog, Limits, MakeStore
from corotwist.ipc.channel import Box
from corotwist.ipc.components import newsBox
from corotwist.ipc.cpg import Subscriber, flowBox, ringBox, viewBoxes
from corotwist.ipc.dispatch import DispatchQueue
from corotwist.ipc.locators import Locators
from corotwist.ipc.usage import Usage
from corotwist.ipc.wire import (
    DISPATCH_WINDOW_BYTES,
    PART_BYTES,
    PARTIAL_BYTES,
    Stopping,
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
class Connection:
    """
    A client between pairing and its end.

    Events are queued while an engine is at work and leave on the next turn of
    the reactor, so that those of one turn travel together.  At most
    L{DISPATCH_WINDOW_BYTES} and one part are on their way unacknowledged; what
    is behind these is the L{Backlog}.

    @ivar cut: called, once and on a turn of its own, with this connection and
        the reason when the client must go.
    @ivar private: belongs to the service manager.
    @ivar locators: who answers what the client asks; set by who made them.
    """

    locators: Locators | None = None

    def __init__(
        self,
        credentials: Credentials,
        clock: IReactorTime,
        outlet: Outlet,
        cut: Callable[["Connection", str], None],
        *,
        limits: Limits | None = None,
        whole: Budget | None = None,
        shed: Callable[[], None] | None = None,
        store: MakeStore | None = None,
        partBytes: int = PART_BYTES,
    ) -> None:
        """
        @param whole: of the node, for what waits from and for all clients.
        @param shed: called when it is exceeded; by default we go ourselves.
        @param store: makes a file for what the client does not read; without
            it the client does not spill, but is cut off.
        """
        self.credentials = credentials
        self.cut = cut
        self.private: Any = None
        self._clock = clock
        self._outlet = outlet
        self._shed = shed
        limits = limits or Limits()
        self._budget = Budget(f"client {credentials.pid}", limits.bytes, whole)
        self.inbound = Budget(f"client {credentials.pid}", PARTIAL_BYTES, whole)
        self._queue = DispatchQueue(partBytes, self._budget)
        self._backlog = Backlog(
            self._queue,
            self.overflowed,
            self._flushSoon,
            clock,
            limits,
            self._budget,
            store,
        )
        self.usage = Usage(self.waiting)
        self._unacknowledged = 0
        self._flushing = False
        self._ended = False
        self._endings: list[Callable[[], object]] = []

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

    @property
    def behind(self) -> bool:
        """
        Is as much on its way to the client as may be unacknowledged?
        """
        return self._unacknowledged >= DISPATCH_WINDOW_BYTES

    # From the engines.

    def messagesDelivered(
        self,
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
        position: Position = NOWHERE,
    ) -> None:
        if not self._ended:
            self._backlog.intake.deliver(group, sender, batch, count, position)
            self._queued()

    def viewChanged(self, view: GroupView) -> None:
        for box in viewBoxes(view):
            self.notify(box)

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self.notify(ringBox(ringId, members))

    def engineChanged(self, news: EngineNews) -> None:
        if self.locators is not None and not self._ended:
            self.locators.engineChanged(news)
        self.notify(newsBox(news))

    def shutdownAhead(self, reason: str, holding: Sequence[str]) -> None:
        self.tell(Stopping, reason=reason, holding="\n".join(holding))

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
            self._backlog.intake.notify(box)
            self._queued()

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        if not self._ended:
            self._backlog.attach(flow, slow)

    def detach(self, flow: IFlowGroup) -> None:
        self._backlog.detach(flow)

    def flowChanged(self, group: bytes, paused: bool) -> None:
        self.notify(flowBox(group, paused=paused))

    def _queued(self) -> None:
        queue, backlog = self._queue, self._backlog
        if backlog.spill is not None:
            backlog.spill.grown()
        elif (
            queue.heldBytes > backlog.markBytes
            or queue.heldMessages > backlog.markMessages
        ):
            backlog.grown()
        whole = self._budget.whole
        if whole is not None and whole.used > whole.limit:
            self._shedLoad(whole)
        self._flushSoon()

    def _flushSoon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._clock.callLater(0, self._flush)

    def _shedLoad(self, whole: Budget) -> None:
        if self._shed is not None:
            self._shed()
        else:
            self.overflowed(f"too slow: the node's {whole.limit} bytes are used up")

    def overflowed(self, reason: str) -> None:
        """
        Too much waits: give it up, and then the client.
        """
        if not self._ended:
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
                break
            box, cost = event
            self._unacknowledged += cost
            self.usage.dispatched += 1
            self._outlet.sendBox(box)
        if self._backlog.behind:
            self._backlog.shrunk()

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
        self._backlog.clear()

    def closed(self) -> None:
        """
        The client is gone.
        """
        self.end()
        endings, self._endings = self._endings, []
        for callback in endings:
            with suppress(ServiceError):  # The engine is out of service.
                callback()

    @property
    def waitingBytes(self) -> int:
        """
        How much waits here.
        """
        return self._queue.heldBytes

    def waiting(self) -> Mapping[str, int | bool]:
        """
        How far behind the client is, for people.
        """
        return {
            "pid": self.pid,
            "uid": self.uid,
            "queuedBytes": self._queue.heldBytes,
            "queuedMessages": self._queue.heldMessages,
            "unacknowledgedBytes": self._unacknowledged,
            "behind": self._backlog.behind,
            "pauses": self._backlog.pauses,
            "spilledBytes": self._backlog.spilledBytes(),
        }
