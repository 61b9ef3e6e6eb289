"""
Who waits to hear where his messages were ordered, and what is decided about
those of quorate groups.
"""

from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.engines.interfaces import SEQUENCE_BITS, Level, Member, Receipt
from corotwist.engines.outgoing import Acceptance, Batch
from corotwist.errors import BadHandle, NotQuorate, ServiceError, TryAgain
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Guarantee

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
    """

    def __init__(self) -> None:
        self.members: tuple[int, ...] = ()
        self.compact: dict[int, Expected] = {}
        self.plain: dict[int, Expected] = {}
        self.sent = 0
        self.back = 0

    def begin(self, cluster: ICluster) -> None:
        """
        The engine is initialized.
        """
        self._cluster = cluster
        self.members = cluster.members()

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

        def stable(members: tuple[int, ...]) -> None:
            acceptance.answer(
                Receipt(receipt.sequence, receipt.viewId, members, receipt.targets)
            )

        try:
            self._cluster.whenStable(stable)
        except TryAgain as error:
            acceptance.refuse(error)

    def abandoned(self) -> None:
        """
        Nothing comes back any more.
        """
        for expected in (*self.compact.values(), *self.plain.values()):
            expected.acceptance.refuse(BadHandle("the node is stopping"))
        self.compact.clear()
        self.plain.clear()

    def dump(self) -> dict[str, Any]:
        """
        For people.
        """
        return {"awaited": len(self.compact) + len(self.plain)}


def _expected(batch: Batch, *, last: bool) -> Expected | None:
    acceptance = batch.awaited
    if acceptance is None:
        return None
    return Expected(acceptance, batch.terms.level, last and batch.final)
