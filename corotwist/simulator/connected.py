"""
Clients of process groups as applications have them, before the judge.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from corotwist.engines import batch
from corotwist.engines.interfaces import GroupView, Member
from corotwist.errors import NotJoined, ServiceError
from corotwist.ipc.client import NodeClient
from corotwist.ipc.events import Gap
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.groups import Ring
from corotwist.simulator.clients import Writer
from corotwist.simulator.judges.groups import GroupsJudge
from corotwist.simulator.judges.judge import Life
from corotwist.totem.membership import Guarantee


@define(eq=False)
class ConnectedClient(Writer):
    """
    One process that uses groups through the production client.

    To the judge it is another client after each connection it lost.

    @ivar identity: unlike that of any other client of the run.
    @ivar life: the process of the node it is connected to, or was.
    @ivar lifeNow: the one that it is connected to now.
    @ivar stall: let it do nothing, nor read, for so many seconds.
    @ivar node: the production client, once it was connected.
    @ivar open: is it connected, as far as the judge knows?
    @ivar log: what was delivered: group, sender and payload.
    @ivar views: the groups it is in, and how it sees them.
    @ivar history: all views, in order.
    """

    identity: int
    pid: int
    life: Life
    judge: GroupsJudge
    lifeNow: Callable[[], Life | None]
    nextIdentity: Callable[[], int]
    _end: Callable[[], None]
    stall: Callable[[float], None]
    node: NodeClient | None = None
    log: list[tuple[bytes, Member, bytes]] = field(factory=list)
    views: dict[bytes, GroupView] = field(factory=dict)
    history: list[GroupView] = field(factory=list)
    open: bool = True
    _wanted: list[bytes] = field(factory=list)
    _groups: dict[bytes, ProcessGroup] = field(factory=dict)
    _number: int = 0
    _ended: bool = False

    def connected(self, node: NodeClient) -> None:
        """
        It can begin.
        """
        self.node = node
        node.groups.ringChanged = self._ringChanged
        wanted, self._wanted = self._wanted, []
        for group in wanted:
            self.join(group)

    def notConnected(self, failure: Failure) -> None:
        """
        It cannot: the node is gone, or does not answer.
        """
        failure.trap(ServiceError)
        self.close()

    # For the story.

    def join(self, group: bytes) -> None:
        """
        Be a member from some time on, unless it is one already.
        """
        if self.node is None:
            self._wanted.append(group)
            return
        joining = self.node.groups.join(
            group,
            batchDelivered=partial(self._delivered, group),
            viewChanged=self._viewed,
            interrupted=self._interrupted,
        )
        joining.addCallback(self._joined).addErrback(_refused)

    def _joined(self, joined: ProcessGroup) -> None:
        self._groups[joined.name] = joined

    def leave(self, group: bytes) -> None:
        """
        Ask to be out.

        @raise NotJoined: it is not in.
        """
        joined = self._groups.pop(group, None)
        if joined is None:
            raise NotJoined(f"not a member of {group!r}")
        self.judge.leaveAsked(self, group)
        joined.leave().addErrback(_refused)

    def send(
        self,
        group: bytes,
        *payloads: bytes,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> Deferred[None]:
        """
        Send messages, all together.

        @return: as L{ProcessGroup.sendAll}.
        """
        joined = self._groups.get(group)
        if joined is None:
            return fail(NotJoined(f"not a member of {group!r}"))
        numbers, messages = self._numbered(payloads)
        self.judge.sent(self, group, numbers, payloads)
        result = joined.sendAll(messages, guarantee)
        accepted = partial(self._accepted, self.identity, group, numbers)
        return result.addCallback(accepted)

    def _accepted(
        self, identity: int, group: bytes, numbers: range, result: None
    ) -> None:
        if self.open and identity == self.identity:
            self.judge.accepted(self, group, numbers)

    def close(self) -> None:
        """
        Die.
        """
        self._ended = True
        self._lost()
        self._end()

    # From the production client.

    def _delivered(
        self, group: bytes, sender: Member, payloads: Sequence[bytes]
    ) -> None:
        if self._heard():
            packed = batch.pack(payloads)
            self.judge.batchDelivered(self, group, sender, packed, len(payloads))

    def _viewed(self, view: GroupView) -> None:
        if not self.open and not self._ended:
            self._reborn()
        if not self._heard():
            return
        self.history.append(view)
        self.judge.viewed(self, view)
        self._keep(view)

    def _ringChanged(self, ring: Ring) -> None:
        if self._heard():
            self.judge.ringHeard(self, ring.ringId)

    def _heard(self) -> bool:
        """
        Does it count?  What a node said before it died is on its way for a
        moment longer.
        """
        return self.open and self.life.alive

    def _interrupted(self, gap: Gap) -> None:
        self._lost()

    def _lost(self) -> None:
        if self.open:
            self.open = False
            self.judge.closed(self)
        self.views.clear()

    def _reborn(self) -> None:
        life = self.lifeNow()
        if life is not None:
            self.identity = self.nextIdentity()
            self._number = 0
            self.life = life
            self.open = True
            self.judge.opened(self)


def _refused(failure: Failure) -> Any:
    """
    The node said no, or is gone; who wanted it finds out.
    """
    failure.trap(ServiceError)
