"""
What an application sends, on its way to the node: many messages to a batch.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from corotwist.engines.batch import OVERHEAD
from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    ORDINARY,
    Level,
    Terms,
)
from corotwist.errors import TooBig, TryAgain
from corotwist.ipc.wire import DISPATCH_QUEUE_MESSAGES, PART_BYTES, PENDING_SENDS
from corotwist.totem.membership import Guarantee

# Of one client, queued and not yet answered; there is always room for one
# message of the largest size.
SEND_QUEUE_BYTES: Final = LARGEST_MESSAGE_BYTES + (64 << 10)
# Batches that wait for their answers.  While they do, those behind them grow.
SENDS_IN_FLIGHT: Final = 4
# Batches that are not full leave only while fewer than so many do.
SMALL_IN_FLIGHT: Final = 2

# Batches whose answer waits for more than the node's own queue: for those to be
# ordered, or safe.  With the others, no more than a node lets a client have.
PROMISES_IN_FLIGHT: Final = PENDING_SENDS // 2

# Of one client, sent and not yet come back to it as a member; beyond that it
# sends no more.  So a process that sends faster than it reads slows itself and
# is not cut off for it; and under full load a message is old by no more than
# these of every sender.
UNDERWAY_BYTES: Final = 1 << 20
UNDERWAY_MESSAGES: Final = DISPATCH_QUEUE_MESSAGES // 64

Owner = TypeVar("Owner")


@define(eq=False)
class Batch(Generic[Owner]):
    """
    Messages of one client to one group, in order.

    @ivar promises: is it answered later than when the node has queued it?
    @ivar size: of the batch when it is packed.
    @ivar waiting: fire when the node answered.
    """

    owner: Owner
    guarantee: Guarantee
    terms: Terms = ORDINARY
    promises: bool = False
    payloads: list[bytes] = field(factory=list)
    waiting: list[Deferred[Any]] = field(factory=list)
    size: int = 0

    def oneMore(self) -> Deferred[Any]:
        """
        Another that waits.
        """
        done: Deferred[Any] = Deferred()
        self.waiting.append(done)
        return done


@define(eq=False)
class Outbox(Generic[Owner]):
    """
    Batches in the order of their messages, across all groups of a client: so
    what it sent first to one group is ordered before what it then sent to
    another.

    @ivar heldBytes: of batches not yet L{done}.
    """

    heldBytes: int = field(default=0, init=False)
    _underway: dict[Owner, list[int]] = field(factory=dict, init=False)
    _underwayBytes: int = field(default=0, init=False)
    _underwayMessages: int = field(default=0, init=False)
    _inFlight: int = field(default=0, init=False)
    _promises: int = field(default=0, init=False)
    _batches: deque[Batch[Owner]] = field(factory=deque, init=False)
    _open: Batch[Owner] | None = field(default=None, init=False)

    def add(
        self,
        owner: Owner,
        guarantee: Guarantee,
        payload: bytes,
        terms: Terms = ORDINARY,
    ) -> Deferred[Any]:
        """
        Append a message.  One with terms of its own travels alone, so that the
        answer is about it alone.

        @return: what L{Batch.waiting} holds for it.
        @raise TryAgain: no room.
        @raise TooBig: there never will be.
        """
        size = len(payload) + OVERHEAD
        if self.heldBytes + size > SEND_QUEUE_BYTES:
            raise self._noRoom(size)
        batch = self._open
        if (
            batch is None
            or batch.owner is not owner
            or batch.guarantee is not guarantee
            or batch.terms is not terms
            or batch.size + size > PART_BYTES
        ):
            batch = self._begin(owner, guarantee, terms)
        batch.payloads.append(payload)
        batch.size += size
        self.heldBytes += size
        return batch.oneMore()

    def addAll(
        self,
        owner: Owner,
        guarantee: Guarantee,
        payloads: Iterable[bytes],
        terms: Terms = ORDINARY,
    ) -> list[Deferred[Any]]:
        """
        Append messages, all or none.

        @return: one L{Deferred} for each batch that they are in.
        @raise TryAgain: no room for all of them.
        """
        payloads = list(payloads)
        if not payloads:
            return []
        sizes = [len(payload) + OVERHEAD for payload in payloads]
        total = sum(sizes)
        if self.heldBytes + total > SEND_QUEUE_BYTES:
            raise self._noRoom(total)
        self.heldBytes += total
        dones: list[Deferred[Any]] = []
        batch = self._open
        if batch is None or (batch.owner, batch.guarantee, batch.terms) != (
            owner,
            guarantee,
            terms,
        ):
            batch = self._begin(owner, guarantee, terms)
        for payload, size in zip(payloads, sizes, strict=True):
            if batch.size + size > PART_BYTES and batch.payloads:
                dones.append(batch.oneMore())
                batch = self._begin(owner, guarantee, terms)
            batch.payloads.append(payload)
            batch.size += size
        return [*dones, batch.oneMore()]

    def _noRoom(self, size: int) -> TryAgain | TooBig:
        if size > SEND_QUEUE_BYTES:
            return TooBig(f"{size} bytes; the limit is {SEND_QUEUE_BYTES}")
        return TryAgain(f"{self.heldBytes} bytes wait for the node already")

    def _begin(self, owner: Owner, guarantee: Guarantee, terms: Terms) -> Batch[Owner]:
        promises = terms is not ORDINARY and (
            terms.level is not Level.QUEUED or terms.special
        )
        batch = Batch(owner, guarantee, terms, promises)
        self._open = None if promises else batch
        self._batches.append(batch)
        return batch

    def take(self) -> Batch[Owner] | None:
        """
        The next batch to send; L{None} when there is none, or for now.
        """
        if (
            not self._batches
            or self._inFlight >= SENDS_IN_FLIGHT
            or self._underwayBytes >= UNDERWAY_BYTES
            or self._underwayMessages >= UNDERWAY_MESSAGES
        ):
            return None
        batch = self._batches[0]
        if batch.promises:
            if self._promises >= PROMISES_IN_FLIGHT:
                return None
            self._promises += 1
        elif batch is self._open:
            if self._inFlight >= SMALL_IN_FLIGHT:
                return None
            self._open = None
            self._inFlight += 1
        else:
            self._inFlight += 1
        self._departed(batch.owner, batch.size, len(batch.payloads))
        return self._batches.popleft()

    def _departed(self, owner: Owner, size: int, count: int) -> None:
        self._underwayBytes += size
        self._underwayMessages += count
        of = self._underway.setdefault(owner, [0, 0])
        of[0] += size
        of[1] += count

    def returned(self, owner: Owner, size: int, count: int) -> None:
        """
        Messages of ours came back, or never will.
        """
        of = self._underway.get(owner)
        if of is not None:
            size, count = min(size, of[0]), min(count, of[1])
            of[0] -= size
            of[1] -= count
            self._underwayBytes -= size
            self._underwayMessages -= count

    def forget(self, owner: Owner) -> None:
        """
        None of theirs will come back any more.
        """
        of = self._underway.pop(owner, (0, 0))
        self._underwayBytes -= of[0]
        self._underwayMessages -= of[1]

    def done(self, batch: Batch[Owner]) -> None:
        """
        The node answered.
        """
        if batch.promises:
            self._promises -= 1
        else:
            self._inFlight -= 1
        self.heldBytes -= batch.size

    def holds(self, owner: Owner) -> bool:
        """
        Is there anything of theirs that was not taken?
        """
        return any(batch.owner is owner for batch in self._batches)

    def clear(self) -> list[Batch[Owner]]:
        """
        Forget what was not taken.

        @return: just that.
        """
        batches = list(self._batches)
        self._batches.clear()
        self._open = None
        self.heldBytes -= sum(batch.size for batch in batches)
        return batches
