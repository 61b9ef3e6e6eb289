"""
What happens in a group, kept until the application looks at it.
"""

from collections import deque
from collections.abc import Iterator

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from corotwist.engines.interfaces import GroupView, Member
from corotwist.errors import Busy
from corotwist.ipc.remote import Remote
from corotwist.ipc.wire import DISPATCH_WINDOW_BYTES, NOTIFICATION_COST


@frozen
class Message:
    """
    An ordered message.
    """

    group: bytes
    sender: Member
    payload: bytes


@frozen
class Gap:
    """
    The connection to the node was lost: messages and views are missing from
    here to the next view.
    """

    group: bytes
    reason: str


Event = Message | GroupView | Gap


@define(eq=False)
class Ledger:
    """
    What came from one remote, and is acknowledged to it when it is dealt with.

    Parts of a message too large for the window have to be acknowledged before
    the message is whole; they are not while a window of others is kept.
    """

    _remote: Remote
    _keptBytes: int = 0
    _owed: int = 0

    def kept(self, size: int) -> None:
        """
        Somebody will look at so many bytes later.
        """
        self._keptBytes += size

    def released(self, cost: int, size: int = 0) -> None:
        """
        An event of that cost is dealt with.

        @param size: as it was kept.
        """
        self._keptBytes -= size
        if self._owed and self._keptBytes < DISPATCH_WINDOW_BYTES:
            cost += self._owed
            self._owed = 0
        self._remote.consumed(cost)

    def partReceived(self, cost: int) -> None:
        """
        More is to come before anybody can look at it.
        """
        if self._keptBytes < DISPATCH_WINDOW_BYTES:
            self._remote.consumed(cost)
        else:
            self._owed += cost


@define(eq=False)
class _Entry:
    """
    What is not yet iterated over.

    @ivar ledger: L{None} when it is acknowledged already.
    """

    cost: int
    size: int
    ledger: Ledger | None

    def release(self) -> None:
        """
        Acknowledge it.
        """
        ledger, self.ledger = self.ledger, None
        if ledger is not None:
            ledger.released(self.cost, self.size)


@define(eq=False)
class _Opened(_Entry):
    """
    The messages of a batch.
    """

    sender: Member
    payloads: Iterator[bytes]


@define(eq=False)
class _Shown(_Entry):
    """
    Anything else.
    """

    event: GroupView | Gap


@define(eq=False)
class Events:
    """
    Events until somebody iterates over them.  What is not iterated over is
    not acknowledged to the node, and after a while the node sends no more.
    """

    _group: bytes
    _waiting: deque[_Opened | _Shown] = field(factory=deque, init=False)
    _consumer: Deferred[None] | None = field(default=None, init=False)
    _leavingBytes: int | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)

    def opened(
        self,
        sender: Member,
        payloads: list[bytes],
        cost: int,
        size: int,
        ledger: Ledger,
    ) -> None:
        """
        Append messages.
        """
        ledger.kept(size)
        self._append(_Opened(cost, size, ledger, sender, iter(payloads)))

    def shown(self, event: GroupView, ledger: Ledger) -> None:
        """
        Append a view.
        """
        self._append(_Shown(NOTIFICATION_COST, 0, ledger, event))

    def interrupted(self, gap: Gap) -> None:
        """
        Append a gap.  If nobody saw the last one, what came between is lost
        in it: an application that stalls keeps at most two windows full.
        """
        earlier = next(
            (n for n, w in enumerate(self._waiting) if _isGap(w)), len(self._waiting)
        )
        while len(self._waiting) > earlier:
            self._waiting.pop()
        self._append(_Shown(0, 0, None, gap))

    def leaving(self) -> None:
        """
        From now on acknowledge at once: the last view must come though nobody
        iterates any more.  What is then kept is bounded, too.
        """
        self._leavingBytes = 0
        for entry in self._waiting:
            entry.release()

    def end(self) -> None:
        """
        Nothing more will come.
        """
        self._ended = True
        self._wake()

    def _append(self, entry: _Opened | _Shown) -> None:
        if self._leavingBytes is None or self._keptLeaving(entry):
            self._waiting.append(entry)
            self._wake()

    def _keptLeaving(self, entry: _Opened | _Shown) -> bool:
        entry.release()
        assert self._leavingBytes is not None, "only while leaving"
        # Of what nobody waits for, a window of messages, and another of views.
        windows = 1 if isinstance(entry, _Opened) else 2
        size = self._leavingBytes + entry.size + NOTIFICATION_COST
        if size > windows * DISPATCH_WINDOW_BYTES and self._consumer is None:
            return False
        self._leavingBytes = size
        return True

    def _wake(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.callback(None)

    async def next(self) -> Event:
        """
        Wait for the next event.

        @raise StopAsyncIteration: there is none.
        """
        while True:
            event = self._take()
            if event is not None:
                return event
            if self._waiting:
                continue
            if self._ended:
                raise StopAsyncIteration
            if self._consumer is not None:
                raise Busy("somebody else iterates over this group")
            self._consumer = Deferred(self._abandoned)
            await self._consumer

    def _abandoned(self, consumer: Deferred[None]) -> None:
        self._consumer = None

    def _take(self) -> Event | None:
        if not self._waiting:
            return None
        first = self._waiting[0]
        if isinstance(first, _Shown):
            self._waiting.popleft()
            first.release()
            return first.event
        for payload in first.payloads:
            return Message(self._group, first.sender, payload)
        self._waiting.popleft()
        first.release()
        return None


def _isGap(entry: _Opened | _Shown) -> bool:
    return isinstance(entry, _Shown) and isinstance(entry.event, Gap)
