"""
Clients of process groups inside the simulated nodes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.engines import batch
from corotwist.engines.interfaces import (
    NOWHERE,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    Member,
    Position,
    Receipt,
    SlowReader,
)
from corotwist.errors import ServiceError
from corotwist.interfaces import IFlowGroup
from corotwist.simulator.judges.groups import HEADER, GroupsJudge
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.judges.views import ViewsJudge
from corotwist.totem.membership import Guarantee, RingId


class Writer:
    """
    What the judge of groups needs of any client: a name, and messages that
    say whose they are and its how manieth.
    """

    identity: int
    pid: int
    life: Life
    views: dict[bytes, GroupView]
    _number: int

    def __str__(self) -> str:
        return f"{self.pid}@{self.life}"

    @property
    def member(self) -> Member:
        """
        How others see it.
        """
        return Member(self.life.nodeid, self.pid)

    def _numbered(self, payloads: Sequence[bytes]) -> tuple[range, list[bytes]]:
        """
        The messages that carry these payloads, and their numbers.
        """
        first = self._number + 1
        self._number += len(payloads)
        numbers = range(first, first + len(payloads))
        messages = [
            HEADER.pack(self.identity, number) + payload
            for number, payload in zip(numbers, payloads, strict=True)
        ]
        return numbers, messages

    def _keep(self, view: GroupView) -> None:
        """
        How it sees the group from now on; not at all, once it is out.
        """
        if self.member in view.members:
            self.views[view.group] = view
        else:
            self.views.pop(view.group, None)


@implementer(IGroupSubscriber)
@define(eq=False)
class Client(Writer):
    """
    One process that uses groups.

    @ivar identity: unlike that of any other client of the run.
    @ivar sights: the judge of views.
    @ivar log: what was delivered: group, sender and payload.
    @ivar views: the groups it is in, and how it sees them.
    @ivar history: all views, in order.
    @ivar paused: groups whose senders wait, or waited.
    """

    identity: int
    pid: int
    life: Life
    engine: IProcessGroups
    judge: GroupsJudge
    sights: ViewsJudge | None = None
    log: list[tuple[bytes, Member, bytes]] = field(factory=list)
    views: dict[bytes, GroupView] = field(factory=dict)
    history: list[GroupView] = field(factory=list)
    paused: dict[bytes, bool] = field(factory=dict)
    open: bool = True
    _number: int = 0

    def join(self, group: bytes) -> None:
        """
        Ask to be a member.

        @raise ServiceError: as the engine says.
        """
        with self._answered("join", group):
            self.engine.join(self, group)

    def leave(self, group: bytes) -> None:
        """
        Ask to be out.

        @raise ServiceError: as the engine says.
        """
        with self._answered("leave", group):
            self.engine.leave(self, group)
        self.judge.leaveAsked(self, group)

    @contextmanager
    def _answered(self, asked: str, group: bytes) -> Iterator[None]:
        """
        Show the judge what the engine answers.
        """
        try:
            yield
        except ServiceError as error:
            self.judge.answered(self, asked, group, error)
            raise
        self.judge.answered(self, asked, group, None)

    def send(
        self,
        group: bytes,
        *payloads: bytes,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> Deferred[Receipt]:
        """
        Send messages, all in one batch.

        @return: as the engine says.
        """
        numbers, messages = self._numbered(payloads)
        self.judge.sent(self, group, numbers, payloads)
        packed = batch.pack(messages)
        result = self.engine.send(self, group, packed, len(payloads), guarantee)
        refused = getattr(result, "result", None)
        error = refused.value if isinstance(refused, Failure) else None
        self.judge.answered(self, "send", group, error)
        result.addCallbacks(
            self._accepted,
            self._refused,
            callbackArgs=(group, numbers),
            errbackArgs=(group, numbers),
        )
        return result

    def _accepted(self, result: Receipt, group: bytes, numbers: range) -> Receipt:
        self.judge.accepted(self, group, numbers)
        return result

    def _refused(self, failure: Failure, group: bytes, numbers: range) -> Failure:
        if failure.value is not None:
            self.judge.refused(self, group, numbers, failure.value)
        return failure

    def close(self) -> None:
        """
        Die.
        """
        self.open = False
        self.judge.closed(self)
        self.engine.closed(self)

    def messagesDelivered(
        self,
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
        position: Position = NOWHERE,
    ) -> None:
        if self.life.alive:
            if self.sights is not None:
                self.sights.messageShown(self.life)
            self.judge.batchDelivered(self, group, sender, batch, count)

    def viewChanged(self, view: GroupView) -> None:
        if self.life.alive:
            self.history.append(view)
            if self.sights is not None:
                self.sights.groupViewed(self.life, view)
            self.judge.viewed(self, view)
            self._keep(view)

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        if self.life.alive:
            self.judge.ringChanged(self, ringId)

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        """
        It is never behind.
        """

    def detach(self, flow: IFlowGroup) -> None:
        """
        Nor was it.
        """

    def flowChanged(self, group: bytes, paused: bool) -> None:
        if self.life.alive:
            self.paused[group] = paused
