"""
Clients of quorate groups inside the simulated nodes.
"""

from struct import Struct
from typing import Final

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.engines import batch as batches
from corotwist.engines.interfaces import (
    NOWHERE,
    SEQUENCE_BITS,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    Member,
    Position,
    SlowReader,
)
from corotwist.engines.views import Views
from corotwist.interfaces import IFlowGroup
from corotwist.simulator.judges.gated import GatedJudge
from corotwist.simulator.judges.judge import Life
from corotwist.totem.membership import Guarantee, RingId

_NAME: Final = Struct("<QQ")


@implementer(IGroupSubscriber)
@define(eq=False)
class GatedClient:
    """
    One process in a quorate group.

    @ivar identity: unlike that of any other client of the run.
    @ivar log: payloads, as they came.
    """

    identity: int
    pid: int
    life: Life
    engine: IProcessGroups
    views: Views
    judge: GatedJudge
    group: bytes
    log: list[bytes]
    open: bool = True
    inside: bool = False
    _number: int = 0

    def join(self) -> None:
        """
        Ask to be in.

        @raise ServiceError: as the engine says.
        """
        self.engine.join(self, self.group, quorate=True)

    def send(self, *payloads: bytes) -> list[Deferred[object]]:
        """
        Send messages, each by itself.

        @return: of each, what fires when it is answered, whatever the answer.
        """
        return [self._send(payload) for payload in payloads]

    def _send(self, payload: bytes) -> Deferred[object]:
        self._number += 1
        name = self.identity, self._number
        self.judge.sent(name)
        batch = batches.pack([_NAME.pack(*name) + payload])
        sent = self.engine.send(self, self.group, batch, 1, Guarantee.AGREED)
        return sent.addBoth(self._answered, name)

    def _answered(self, answer: object, name: tuple[int, int]) -> object:
        if isinstance(answer, Failure):
            answer = answer.value
        if self.life.alive:
            self.judge.answered(self, name, answer)
        return answer

    def close(self) -> None:
        """
        Die.
        """
        self.open = False
        self.judge.left(self)
        self.engine.closed(self)

    # From the engine.

    def messagesDelivered(
        self,
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
        position: Position = NOWHERE,
    ) -> None:
        if not self.life.alive:
            return
        for number, message in enumerate(batches.unpack(batch)):
            who, which = _NAME.unpack_from(message)
            self.judge.delivered(self, position.sequence + number, (who, which))
            self.log.append(message[_NAME.size :])

    def viewChanged(self, view: GroupView) -> None:
        inside = Member(self.life.nodeid, self.pid) in view.members
        if self.life.alive and inside != self.inside:
            self.inside = inside
            if inside:
                # What a ring left is shown when we are on another.
                place = self.views.position << SEQUENCE_BITS
                self.judge.joined(self, place if self.views.settled else None)
            else:
                self.judge.left(self)

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        """
        Views tell more.
        """

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        """
        It is never behind.
        """

    def detach(self, flow: IFlowGroup) -> None:
        """
        Nor was it.
        """

    def flowChanged(self, group: bytes, paused: bool) -> None:
        """
        The engine sees to it.
        """
