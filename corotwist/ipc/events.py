"""
What a client is told, and who takes it.
"""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final, Protocol

from attrs import define, evolve, field, frozen

from corotwist.engines import batch as batches
from corotwist.engines.interfaces import (
    NO_VIEW,
    GroupView,
    Member,
    ViewId,
)
from corotwist.ipc.cpg import PLACE
from corotwist.ipc.remote import Remote
from corotwist.ipc.views import NodeView
from corotwist.ipc.wire import DISPATCH_WINDOW_BYTES
from corotwist.totem.membership import Guarantee


@frozen
class Origin:
    """
    What the messages that came together have in common.

    @ivar viewId: of the view that they were ordered in.
    """

    viewId: ViewId = NO_VIEW.viewId
    guarantee: Guarantee = Guarantee.AGREED


_UNKNOWN: Final = Origin()


# Made for each message, and not frozen, which would cost twice as much.
@define(unsafe_hash=True)
class Message:
    """
    An ordered message: a value, which nobody changes.

    @ivar sequence: its place, the same for all who get it: of two messages of a
        ring the later one has the larger; 0 when the node does not say.
    """

    group: bytes
    sender: Member
    payload: bytes
    sequence: int = field(default=0, eq=False)
    _origin: Origin = field(default=_UNKNOWN, eq=False, repr=False)

    def without(self, front: int) -> "Message":
        """
        The same, but for the first bytes.
        """
        return evolve(self, payload=self.payload[front:])

    @property
    def view(self) -> ViewId:
        """
        The view that it was ordered in.
        """
        return self._origin.viewId

    @property
    def guarantee(self) -> Guarantee:
        """
        What it was delivered with: agreed, or safe.
        """
        return self._origin.guarantee


@frozen
class Gap:
    """
    The connection to the node was lost: messages and views are missing from
    here to the next view.

    @ivar group: L{None} when it is of all groups, and of the nodes.
    """

    group: bytes | None
    reason: str


Shown = GroupView | NodeView
Event = Message | Shown | Gap


@define(eq=False)
class Delivery:
    """
    Messages of one sender to one group, as they came.

    @ivar cost: what is to be acknowledged for them.
    @ivar places: where each of their batches stands in the order.
    """

    group: bytes
    sender: Member
    batch: bytes
    cost: int
    places: bytes = b""
    origin: Origin = _UNKNOWN

    def payloads(self) -> list[bytes]:
        """
        Only what was sent.

        @raise InvalidParameter: a batch that is none.
        """
        return batches.unpack(self.batch)

    def messages(self) -> Iterator[Message]:
        """
        With all that is known of each.

        @raise InvalidParameter: a batch that is none.
        """
        return map(
            Message,
            repeat(self.group),
            repeat(self.sender),
            self.payloads(),
            chain(self._sequences(), repeat(0)),
            repeat(self.origin),
        )

    def _sequences(self) -> Iterator[int]:
        if len(self.places) % PLACE.size:
            return iter(())
        places = PLACE.iter_unpack(self.places)
        return chain.from_iterable(range(first, first + n) for first, n in places)


class Account(Protocol):
    """
    Where what came is acknowledged when it is dealt with.
    """

    def kept(self, size: int) -> None:
        """
        Somebody will look at so many bytes later.
        """

    def released(self, cost: int, size: int = 0) -> None:
        """
        An event of that cost is dealt with.

        @param size: as it was kept.
        """


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
        See L{Account}.
        """
        self._keptBytes += size

    def released(self, cost: int, size: int = 0) -> None:
        """
        See L{Account}.
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
class Shared:
    """
    One event for several, acknowledged when the slowest of them dealt with it.
    """

    _account: Account
    _several: int

    def kept(self, size: int) -> None:
        """
        See L{Account}; what is for several has no size.
        """

    def released(self, cost: int, size: int = 0) -> None:
        """
        See L{Account}.
        """
        self._several -= 1
        if self._several == 0:
            self._account.released(cost)


@define(eq=False)
class Settled:
    """
    For what was acknowledged before.
    """

    def kept(self, size: int) -> None:
        """
        See L{Account}.
        """

    def released(self, cost: int, size: int = 0) -> None:
        """
        See L{Account}.
        """


class Audience(Protocol):
    """
    Who takes what happens in one group, or in several.
    """

    def delivered(self, delivery: Delivery, account: Account) -> None:
        """
        The next messages of one sender.
        """

    def shown(self, event: Shown, account: Account) -> None:
        """
        A view.
        """

    def interrupted(self, gap: Gap) -> None:
        """
        Events are missing from here on.
        """

    def leaving(self, group: bytes) -> None:
        """
        We are on our way out of a group.
        """

    def left(self, group: bytes) -> None:
        """
        Nothing more of it will come.
        """

    def end(self) -> None:
        """
        Nothing more will come at all.
        """
