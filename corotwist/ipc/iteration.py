"""
Events kept until somebody iterates over them.
"""

from collections import deque
from collections.abc import Iterator

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from corotwist.engines.interfaces import GroupView
from corotwist.errors import Busy, InvalidParameter
from corotwist.ipc.events import Account, Delivery, Event, Gap, Message, Shown
from corotwist.ipc.wire import DISPATCH_WINDOW_BYTES, NOTIFICATION_COST


@define(eq=False)
class _Entry:
    """
    What is not yet iterated over.

    @ivar group: of which it is; L{None} when of none alone.
    @ivar account: L{None} when it is acknowledged already.
    """

    group: bytes | None
    cost: int
    size: int
    account: Account | None

    def release(self) -> None:
        """
        Acknowledge it.
        """
        account, self.account = self.account, None
        if account is not None:
            account.released(self.cost, self.size)


@define(eq=False)
class _Several(_Entry):
    """
    The messages of a batch.
    """

    messages: Iterator[Message]


@define(eq=False)
class _Single(_Entry):
    """
    Anything else.
    """

    event: Shown | Gap


@define(eq=False)
class Events:
    """
    An audience that may come late.  What is not iterated over is not
    acknowledged to the node, and after a while the node sends no more.
    """

    _waiting: deque[_Several | _Single] = field(factory=deque, init=False)
    _consumer: Deferred[None] | None = field(default=None, init=False)
    # Of groups that we are leaving, what is kept though acknowledged.
    _leaving: dict[bytes, int] = field(factory=dict, init=False)
    _ended: bool = field(default=False, init=False)
    _log = Logger()

    # As an audience.

    def delivered(self, delivery: Delivery, account: Account) -> None:
        """
        Append messages.
        """
        try:
            messages = delivery.messages()
        except InvalidParameter as error:
            # The same everywhere: daemons carry batches unopened.
            self._log.warn(
                "Garbage from {sender}: {error}", sender=delivery.sender, error=error
            )
            messages = iter(())
        size = len(delivery.batch)
        account.kept(size)
        self._append(_Several(delivery.group, delivery.cost, size, account, messages))

    def shown(self, event: Shown, account: Account) -> None:
        """
        Append a view.
        """
        group = event.group if isinstance(event, GroupView) else None
        self._append(_Single(group, NOTIFICATION_COST, 0, account, event))

    def interrupted(self, gap: Gap) -> None:
        """
        Append a gap.  If nobody saw the last one, what came between is lost
        in it: an application that stalls keeps at most two windows full.
        """
        earlier = next(
            (n for n, w in enumerate(self._waiting) if _isGap(w)), len(self._waiting)
        )
        while len(self._waiting) > earlier:
            self._waiting.pop().release()
        self._append(_Single(None, 0, 0, None, gap))

    def leaving(self, group: bytes) -> None:
        """
        From now on acknowledge at once: the last view must come though nobody
        iterates any more.  What is then kept is bounded, too.
        """
        self._leaving[group] = 0
        for entry in self._waiting:
            if entry.group == group:
                entry.release()

    def left(self, group: bytes) -> None:
        """
        The next time that we leave it nothing is kept yet.
        """
        self._leaving.pop(group, None)

    def end(self) -> None:
        """
        Nothing more will come.
        """
        self._ended = True
        for entry in self._waiting:
            entry.release()
        self._wake()

    def _append(self, entry: _Several | _Single) -> None:
        if self._ended:
            entry.release()
        elif entry.group not in self._leaving or self._keptLeaving(entry):
            self._waiting.append(entry)
            self._wake()

    def _keptLeaving(self, entry: _Several | _Single) -> bool:
        entry.release()
        assert entry.group is not None, "only groups are left"
        # Of what nobody waits for, a window of messages, and another of views.
        windows = 1 if isinstance(entry, _Several) else 2
        size = self._leaving[entry.group] + entry.size + NOTIFICATION_COST
        if size > windows * DISPATCH_WINDOW_BYTES and self._consumer is None:
            return False
        self._leaving[entry.group] = size
        return True

    def _wake(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.callback(None)

    # For whoever iterates.

    async def next(self) -> Event:
        """
        Wait for the next event.

        @raise StopAsyncIteration: there is none.
        @raise Busy: somebody else waits for it.
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
                raise Busy("somebody else iterates over these events")
            self._consumer = Deferred(self._abandoned)
            await self._consumer

    def _abandoned(self, consumer: Deferred[None]) -> None:
        self._consumer = None

    def _take(self) -> Event | None:
        if not self._waiting:
            return None
        first = self._waiting[0]
        if isinstance(first, _Single):
            self._waiting.popleft()
            first.release()
            return first.event
        for message in first.messages:
            return message
        self._waiting.popleft()
        first.release()
        return None


def _isGap(entry: _Several | _Single) -> bool:
    return isinstance(entry, _Single) and isinstance(entry.event, Gap)
