"""
What local processes want to send, waiting for its turn.

Each client has a queue, first in first out; clients take turns, one entry
each, so that one who floods does not keep the others waiting.
"""

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred

from corotwist.budget import Budget
from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    ORDINARY,
    IGroupSubscriber,
    Level,
    Reason,
    Receipt,
    SlowReader,
    Terms,
)
from corotwist.engines.quorate import isQuorate, shown
from corotwist.errors import ServiceError, TooBig, TryAgain
from corotwist.totem.membership import NO_RING, Guarantee, RingId

# Of one client, waiting; beyond it is told to try again.
WAITING_ENTRIES: Final = 1024
WAITING_BYTES: Final = LARGEST_MESSAGE_BYTES + (1 << 20)
# What an entry costs beside its bytes.
ENTRY_BYTES: Final = 64


class Membership(Enum):
    """
    Where a local process is on its way into and out of a group.
    """

    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"


# Asked for each message: enums are slow to look up.
_JOINING: Final = Membership.JOINING


@define(eq=False)
class LocalMember:
    """
    A local process in a group.

    @ivar group: as it is called on the wire.
    @ivar name: as the client calls it.
    @ivar discardOwn: it does not want to see what it sends.
    @ivar quorate: is it a quorate group?
    @ivar subscriber: L{None} when the client is gone and the others do not
        know it yet.
    @ivar slow: what is to happen when it reads too slowly, if it said so.
    @ivar ahead: its compact messages that are in the ring's queue.
    @ivar large: its message in pieces whose last piece has not come back.
    """

    group: bytes
    pid: int
    client: "Client"
    subscriber: IGroupSubscriber | None
    slow: SlowReader | None = None
    state: Membership = Membership.JOINING
    ahead: int = 0
    large: "Batch | None" = None
    discardOwn: bool = False
    quorate: bool = field(init=False)
    name: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.quorate = isQuorate(self.group)
        self.name = shown(self.group)

    @property
    def inside(self) -> bool:
        """
        Does the client get messages and views?
        """
        return self.subscriber is not None and self.state is not _JOINING


@define(eq=False)
class Join:
    """
    To be multicast: a process wants to be in a group.
    """

    member: LocalMember
    size: int = 0


@define(eq=False)
class Leave:
    """
    To be multicast: a process leaves, or is gone.
    """

    member: LocalMember
    reason: Reason
    size: int = 0


@define(eq=False)
class Acceptance:
    """
    Somebody waits until a batch is as far as he wants.  It outlives the engine
    that made it.

    @ivar cancelled: he lost interest; what has not begun is not sent.
    """

    deferred: Deferred[Receipt] = field(init=False)
    cancelled: bool = field(default=False, init=False)

    @deferred.default
    def _new(self) -> Deferred[Receipt]:
        return Deferred(self._cancel)

    def _cancel(self, deferred: Deferred[Receipt]) -> None:
        self.cancelled = True

    @property
    def answered(self) -> bool:
        """
        Does he know already?
        """
        return bool(self.deferred.called)

    def answer(self, receipt: Receipt) -> None:
        """
        It is as far.
        """
        if not self.deferred.called:
            self.deferred.callback(receipt)

    def refuse(self, error: ServiceError) -> None:
        """
        It will never be.
        """
        if not self.deferred.called:
            self.deferred.errback(error)


@define(eq=False)
class Batch:
    """
    Messages to be multicast, and how far we are.

    @ivar offset: of the next message.
    @ivar remaining: messages from there on.
    @ivar atomic: none of them is too long to travel in one piece.
    @ivar accepted: fires when all are as far as C{terms} say; L{None} when it
        fired already, and the batch is here to be sent again.
    @ivar sent: bytes of the next message that went already, in pieces.
    @ivar ringId: the ring that the pieces went to.
    @ivar interrupted: that ring is gone, or the pieces came out on another.
    @ivar serial: its place among what is sent again.
    @ivar terms: groups in them are called as on the wire.
    @ivar final: is its end the end of what C{accepted} waits for?
    """

    member: LocalMember
    data: bytes
    remaining: int
    guarantee: Guarantee
    atomic: bool
    accepted: Acceptance | None
    offset: int = 0
    sent: int = 0
    ringId: RingId = NO_RING
    interrupted: bool = False
    serial: int | None = None
    terms: Terms = ORDINARY
    final: bool = True

    @property
    def groups(self) -> tuple[bytes, ...]:
        """
        All that it is for.
        """
        return (self.member.group, *self.terms.groups)

    @property
    def awaited(self) -> Acceptance | None:
        """
        Who wants to know where it was ordered.
        """
        return None if self.terms.level is Level.QUEUED else self.accepted

    @property
    def size(self) -> int:
        """
        What it counts for while it waits.
        """
        return len(self.data)

    @property
    def begun(self) -> bool:
        """
        Has some of it been sent?
        """
        return self.offset > 0 or self.sent > 0

    @property
    def cancelled(self) -> bool:
        """
        Did the caller lose interest?
        """
        return self.accepted is not None and self.accepted.cancelled


Entry = Join | Leave | Batch


@define(eq=False)
class Client:
    """
    One local client: its memberships and what it wants to send.

    @ivar budget: of all clients together: what waits is taken from it.
    @ivar parked: its first entry waits for something of its own, or for a
        group whose senders are paused.
    """

    subscriber: IGroupSubscriber
    pid: int
    budget: Budget
    memberships: dict[bytes, LocalMember] = field(factory=dict)
    queue: deque[Entry] = field(factory=deque)
    waitingBytes: int = 0
    parked: bool = False
    inTurn: bool = False

    def admit(self, size: int) -> None:
        """
        Is there a place in the queue?

        @raise TryAgain: not now: too much waits of this client, or of all.
        @raise TooBig: never.
        """
        if size > WAITING_BYTES:
            raise TooBig(f"{size} bytes at once, at most {WAITING_BYTES}")
        if (
            len(self.queue) >= WAITING_ENTRIES
            or self.waitingBytes + size > WAITING_BYTES
        ):
            raise TryAgain(
                f"{len(self.queue)} entries and {self.waitingBytes} bytes wait"
            )
        if not self.budget.fits(size):
            self.budget.refused += 1
            raise TryAgain(f"{self.budget.used} bytes of all clients wait")

    def append(self, entry: Entry) -> None:
        """
        Queue an entry.
        """
        size = entry.size + ENTRY_BYTES
        self.queue.append(entry)
        self.waitingBytes += size
        self.budget.charge(size)

    def restore(self, entry: Entry) -> None:
        """
        Queue an entry of a client that another engine had; what it takes of
        the budget is charged with all the others.
        """
        self.queue.append(entry)
        self.waitingBytes += entry.size + ENTRY_BYTES

    def remove(self, entry: Entry) -> None:
        """
        An entry is through, nearly always the first.
        """
        if self.queue[0] is entry:
            self.queue.popleft()
        else:
            self.queue.remove(entry)
        size = entry.size + ENTRY_BYTES
        self.waitingBytes -= size
        self.budget.give(size)

    def ahead(self) -> Entry | None:
        """
        What need not wait behind messages to a group whose senders are paused:
        a join, or the leave of a group that none of the messages are for.
        """
        speaking = set[bytes]()
        for entry in self.queue:
            if isinstance(entry, Batch):
                speaking.update(entry.groups)
            elif isinstance(entry, Join) or entry.member.group not in speaking:
                return entry
        return None

    def replaceQueue(self, entries: list[Entry]) -> list[Entry]:
        """
        Wait for something else.

        @return: what waited so far.
        """
        before = list(self.queue)
        self.queue.clear()
        self.budget.give(self.waitingBytes)
        self.waitingBytes = 0
        for entry in entries:
            self.append(entry)
        return before


class Turns:
    """
    Clients with something to send, in the order of their turns.
    """

    def __init__(self) -> None:
        self._clients: deque[Client] = deque()

    def __bool__(self) -> bool:
        return bool(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients)

    def add(self, client: Client) -> None:
        """
        The client has something to send, and nothing of its own to wait for.
        """
        if client.queue and not client.inTurn and not client.parked:
            client.inTurn = True
            self._clients.append(client)

    def first(self) -> Client:
        """
        Whose turn it is.
        """
        return self._clients[0]

    def done(self) -> None:
        """
        The first had its turn; it goes to the end if it has more.
        """
        client = self._clients.popleft()
        client.inTurn = False
        self.add(client)

    def park(self) -> None:
        """
        The first waits for something of its own.
        """
        self._clients.popleft().inTurn = False
