"""
Events that go to an application as they come.
"""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define
from twisted.logger import Logger

from corotwist.engines.interfaces import GroupView, Member
from corotwist.errors import InvalidParameter
from corotwist.ipc.events import Account, Delivery, Event, Gap, Shown
from corotwist.ipc.wire import NOTIFICATION_COST


@define(eq=False)
class Callbacks:
    """
    An audience that is called, each time with what it asked for.  One that
    raises is logged, and gets the next event all the same.

    @ivar message: called with sender and payload.
    @ivar batch: called with a sender and the messages of it that came together.
    @ivar groupView: called with each view of a group.
    @ivar gap: called with each gap.
    @ivar heard: called with every event, of whatever kind.
    """

    message: Callable[[Member, bytes], object] | None = None
    batch: Callable[[Member, list[bytes]], object] | None = None
    groupView: Callable[[GroupView], object] | None = None
    gap: Callable[[Gap], object] | None = None
    heard: Callable[[Event], object] | None = None
    _log = Logger()

    def wanted(self) -> bool:
        """
        Is there anything to call?
        """
        return any((self.message, self.batch, self.groupView, self.gap, self.heard))

    def delivered(self, delivery: Delivery, account: Account) -> None:
        """
        See L{Audience<corotwist.ipc.events.Audience>}.
        """
        try:
            self._tell(delivery)
        except InvalidParameter as error:
            # The same everywhere: daemons carry batches unopened.
            sender = delivery.sender
            self._log.warn("Garbage from {sender}: {error}", sender=sender, error=error)
        account.released(delivery.cost)

    def _tell(self, delivery: Delivery) -> None:
        payloads = delivery.payloads()
        if payloads:
            self._call(self.batch, delivery.sender, payloads)
        if self.message is not None:
            self._tellEach(self.message, delivery.sender, payloads)
        if self.heard is not None:
            for message in delivery.messages():
                self._call(self.heard, message)

    def _tellEach(
        self,
        callback: Callable[[Member, bytes], object],
        sender: Member,
        payloads: Iterable[bytes],
    ) -> None:
        # Once for each message: no calls to spare.
        for payload in payloads:
            try:
                callback(sender, payload)
            except Exception:  # noqa: BLE001
                self._log.failure("An application failed at a message")

    def _call(self, callback: Callable[..., object] | None, *arguments: Any) -> None:
        if callback is not None:
            try:
                callback(*arguments)
            except Exception:  # noqa: BLE001
                self._log.failure("An application failed at an event")

    def shown(self, event: Shown, account: Account) -> None:
        """
        See L{Audience<corotwist.ipc.events.Audience>}.
        """
        if isinstance(event, GroupView):
            self._call(self.groupView, event)
        self._call(self.heard, event)
        account.released(NOTIFICATION_COST)

    def interrupted(self, gap: Gap) -> None:
        """
        See L{Audience<corotwist.ipc.events.Audience>}.
        """
        self._call(self.gap, gap)
        self._call(self.heard, gap)

    def leaving(self, group: bytes) -> None:
        """
        Nothing is kept here.
        """

    def left(self, group: bytes) -> None:
        """
        Nor was it.
        """

    def end(self) -> None:
        """
        Nothing waits to be told.
        """
