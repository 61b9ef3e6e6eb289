"""
Who waits to hear where his messages were ordered, and what is decided about
those of quorate groups.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define, evolve, field, frozen

from corotwist.engines.interfaces import SEQUENCE_BITS, Level, Member, Receipt
from corotwist.engines.outgoing import Acceptance, Batch
from corotwist.errors import BadHandle, NotQuorate, ServiceError, TryAgain
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Configuration, Guarantee

LEFT_OVER: Final = "ordered when its ring was over, and what followed is not quorate"


@define(eq=False)
class Held:
    """
    What a ring that is over leaves for quorate groups, until the next view of
    nodes is decided: shown before that when it is quorate, and else dropped by
    all who come along.  Changes of membership keep their places among the
    messages, and are shown in any case.
    """

    _events: list[tuple[bool, Callable[[], None]]] = field(factory=list)
    _waiting: list[tuple[Acceptance, Receipt]] = field(factory=list)

    def message(self, show: Callable[[], None]) -> None:
        """
        It depends on the verdict.
        """
        self._events.append((True, show))

    def change(self, show: Callable[[], None]) -> None:
        """
        It comes in its place.
        """
        self._events.append((False, show))

    def expect(self, acceptance: Acceptance, receipt: Receipt) -> None:
        """
        Somebody waits for the verdict.
        """
        self._waiting.append((acceptance, receipt))

    def decide(self, *, quorate: bool) -> int:
        """
        The next view is known.

        @return: how many messages are dropped.
        """
        dropped = 0
        for isMessage, show in self._events:
            if quorate or not isMessage:
                show()
            else:
                dropped += 1
        for acceptance, receipt in self._waiting:
            if quorate:
                acceptance.answer(receipt)
            else:
                acceptance.refuse(NotQuorate(LEFT_OVER))
        return dropped


# Of a message in its place: delivered, refused by all alike, or not decided yet.
Fate = ServiceError | Held | None


@frozen
class Expected:
    """
    Somebody waits for a message of ours that is in the ring's queue.

    @ivar last: is it the last one of his batch?
    """

    acceptance: Acceptance
    level: Level
    last: bool


class Receipts:
    """
    Those who wait, by the numbers of their messages: compact ones have serials;
    those in corosync's form, which come back in the order in which they went,
    are counted.

    @ivar members: who has what is delivered now, if it is safe.
    @ivar compact: by serial.
    @ivar plain: by number.
    @ivar sent: messages of clients in corosync's form that went into the queue.
    @ivar back: and those of them that have come back.
    @ivar unsafe: those who wait until everybody has what was delivered here, in
        this order, each with a number.
    """

    def __init__(self) -> None:
        self.members: tuple[int, ...] = ()
        self.compact: dict[int, Expected] = {}
        self.plain: dict[int, Expected] = {}
        self.sent = 0
        self.back = 0
        self.unsafe: deque[tuple[int, Acceptance, Receipt]] = deque()
        self._asked = 0
        self._asksAgain = False

    def begin(self, cluster: ICluster) -> None:
        """
        The engine is initialized, or has taken over from another one.
        """
        self._cluster = cluster
        self.members = cluster.members()
        if self.unsafe:
            self._asked = self.unsafe[-1][0]
            self._askStable()

    def configured(self, configuration: Configuration) -> None:
        """
        Another configuration: who does not come along is not waited for.
        """
        members = self.members = configuration.members
        if configuration.transitional and self.unsafe:
            self.unsafe = deque(
                (number, acceptance, _within(receipt, members))
                for number, acceptance, receipt in self.unsafe
            )

    def compactSent(self, serial: int, batch: Batch, *, last: bool) -> None:
        """
        A message of a batch is in the queue.

        @param last: is nothing of the batch left?
        """
        expected = _expected(batch, last=last)
        if expected is not None:
            self.compact[serial] = expected

    def plainSent(self, batch: Batch, *, last: bool) -> None:
        """
        The same in corosync's form.
        """
        self.sent += 1
        expected = _expected(batch, last=last)
        if expected is not None:
            self.plain[self.sent] = expected

    def compactBack(self, serial: int) -> Expected | None:
        """
        It came back.

        @return: who waits for it.
        """
        return self.compact.pop(serial, None) if self.compact else None

    def plainBack(self) -> Expected | None:
        """
        The next in corosync's form came back.

        @return: who waits for it.
        """
        if self.back < self.sent:  # Else in our name, but not from us.
            self.back += 1
        return self.plain.pop(self.back, None) if self.plain else None

    def ordered(
        self, expected: Expected, fate: Fate, count: int, targets: tuple[Member, ...]
    ) -> None:
        """
        What somebody waits for is being delivered.

        @param count: of messages at this place.
        @param targets: to whom it was shown, if not to everybody.
        """
        acceptance = expected.acceptance
        if isinstance(fate, ServiceError):
            acceptance.refuse(fate)
        elif expected.last:
            cluster = self._cluster
            sequence = (cluster.position() << SEQUENCE_BITS) + count - 1
            viewId = cluster.view().viewId
            receipt = Receipt(sequence, viewId, self.members, targets)
            if fate is not None:
                fate.expect(acceptance, receipt)
            elif expected.level is Level.SAFE:
                self._whenSafe(acceptance, receipt)
            else:
                acceptance.answer(receipt)

    def _whenSafe(self, acceptance: Acceptance, receipt: Receipt) -> None:
        if self._cluster.guarantee() is Guarantee.SAFE:
            acceptance.answer(receipt)
            return

        self._asked += 1
        self.unsafe.append((self._asked, acceptance, receipt))
        self._askStable()

    def _askStable(self) -> None:
        """
        To be called when everybody has all of it; later, if too many wait for
        such a thing: that it was delivered is certain already.
        """
        try:
            self._cluster.whenStable(partial(self._stable, self._asked))
        except TryAgain:
            if not self._asksAgain:
                self._asksAgain = True
                self._cluster.whenRoom(self._askOnceMore)

    def _askOnceMore(self) -> None:
        self._asksAgain = False
        if self.unsafe:
            self._askStable()

    def _stable(self, upTo: int, members: tuple[int, ...]) -> None:
        while self.unsafe and self.unsafe[0][0] <= upTo:
            _, acceptance, receipt = self.unsafe.popleft()
            acceptance.answer(_within(receipt, members))

    def abandoned(self) -> None:
        """
        Nothing comes back any more.
        """
        expected = (*self.compact.values(), *self.plain.values())
        unsafe = [acceptance for _, acceptance, _ in self.unsafe]
        for acceptance in (*(one.acceptance for one in expected), *unsafe):
            acceptance.refuse(BadHandle("the node is stopping"))
        self.compact.clear()
        self.plain.clear()
        self.unsafe.clear()

    def dump(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            "awaited": len(self.compact) + len(self.plain),
            "unsafe": len(self.unsafe),
        }


def _expected(batch: Batch, *, last: bool) -> Expected | None:
    acceptance = batch.awaited
    if acceptance is None:
        return None
    return Expected(acceptance, batch.terms.level, last and batch.final)


def _within(receipt: Receipt, members: tuple[int, ...]) -> Receipt:
    """
    Of these nodes only.
    """
    return evolve(receipt, members=tuple(n for n in receipt.members if n in members))
