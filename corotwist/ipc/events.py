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
from corotwist.ipc.wire import NOTIFICATION_COST


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
class Opened:
    """
    The messages of a batch that are not yet iterated over.
    """

    sender: Member
    payloads: Iterator[bytes]
    cost: int
    remote: Remote


@define(eq=False)
class Shown:
    """
    A view that is not yet iterated over.
    """

    event: GroupView | Gap
    remote: Remote | None
    cost: int = NOTIFICATION_COST


@define(eq=False)
class Events:
    """
    Events until somebody iterates over them.  What is not iterated over is
    not acknowledged to the node, and after a while the node sends no more.
    """

    _group: bytes
    _waiting: deque[Opened | Shown] = field(factory=deque, init=False)
    _consumer: Deferred[None] | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)

    def opened(self, opened: Opened) -> None:
        """
        Append messages.
        """
        self._waiting.append(opened)
        self._wake()

    def shown(self, event: GroupView, remote: Remote) -> None:
        """
        Append a view.
        """
        self._waiting.append(Shown(event, remote))
        self._wake()

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
        self._waiting.append(Shown(gap, None))
        self._wake()

    def end(self) -> None:
        """
        Nothing more will come.
        """
        self._ended = True
        self._wake()

    def discard(self) -> None:
        """
        Nobody wants to see what waits.
        """
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            if entry.remote is not None:
                entry.remote.consumed(entry.cost)

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
        if isinstance(first, Shown):
            self._waiting.popleft()
            if first.remote is not None:
                first.remote.consumed(first.cost)
            return first.event
        for payload in first.payloads:
            return Message(self._group, first.sender, payload)
        self._waiting.popleft()
        first.remote.consumed(first.cost)
        return None


def _isGap(entry: Opened | Shown) -> bool:
    return isinstance(entry, Shown) and isinstance(entry.event, Gap)
