"""
A node of one, without a ring: what one client asks, all see a turn later.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from corotwist.budget import Budget
from corotwist.engines.interfaces import (
    LONGEST_GROUP_NAME,
    NO_RECEIPT,
    ORDINARY,
    Change,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    IQuorum,
    Member,
    Position,
    Reason,
    Receipt,
    SlowReader,
    Terms,
    View,
    ViewId,
)
from corotwist.engines.views import Views
from corotwist.errors import Exists, NameTooLong, NotExist, NotJoined, TryAgain
from corotwist.interfaces import IEngineMaker, ITotem
from corotwist.ipc.cpg import GroupsLocator
from corotwist.test.engines.orderednet import nodeSettings
from corotwist.totem.membership import Configuration, Guarantee, NodeStatus, RingId

NODEID = 7
VIEW = View(ViewId(RingId(8, NODEID), 0), (NODEID,), (), (), True, "alone")
FIRST = Position(1 << 20, Guarantee.AGREED)


@implementer(IProcessGroups)
@define(eq=False)
class FakeGroups:
    """
    Process groups of one node.

    @ivar asked: every call, by name and arguments.
    @ivar busy: while set, nobody may join or leave, and sends wait.
    @ivar blind: while set, the end of a client is not noticed.
    """

    clock: IReactorTime
    busy: bool = False
    blind: bool = False
    asked: list[tuple[Any, ...]] = field(factory=list)
    held: list[tuple[Deferred[Receipt], Callable[[], None]]] = field(factory=list)
    processes: dict[bytes, dict[int, IGroupSubscriber]] = field(factory=dict)

    def join(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        slow: SlowReader | None = None,
        *,
        quorate: bool = False,
        discardOwn: bool = False,
    ) -> None:
        self.asked.append(("join", subscriber.pid, group))
        if len(group) > LONGEST_GROUP_NAME:
            raise NameTooLong("too long")
        if self.busy:
            raise TryAgain("synchronizing")
        if subscriber.pid in self.processes.get(group, {}):
            raise Exists("in it already")
        self.processes.setdefault(group, {})[subscriber.pid] = subscriber
        self.clock.callLater(0, self._show, group, subscriber.pid, Reason.JOIN)

    def leave(self, subscriber: IGroupSubscriber, group: bytes) -> None:
        self.asked.append(("leave", subscriber.pid, group))
        if self.busy:
            raise TryAgain("synchronizing")
        if subscriber.pid not in self.processes.get(group, {}):
            raise NotJoined("not in it")
        self.clock.callLater(0, self._out, group, subscriber, Reason.LEAVE)

    def send(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        batch: bytes,
        count: int,
        guarantee: Guarantee,
        *,
        terms: Terms = ORDINARY,
    ) -> Deferred[Receipt]:
        self.asked.append(("send", subscriber.pid, group, count, guarantee))
        if subscriber.pid not in self.processes.get(group, {}):
            raise NotJoined("not in it")
        sent: Deferred[Receipt] = Deferred()
        sender = Member(NODEID, subscriber.pid)

        def deliver() -> None:
            for process in list(self.processes.get(group, {}).values()):
                process.messagesDelivered(group, sender, batch, count, FIRST)

        self.held.append((sent, deliver))
        self.clock.callLater(0, self._release)
        return sent

    def _release(self) -> None:
        if not self.busy:
            held, self.held = self.held, []
            for sent, deliver in held:
                sent.callback(NO_RECEIPT)
                deliver()

    def released(self) -> None:
        """
        Not busy any more.
        """
        self.busy = False
        self._release()

    def members(self, group: bytes) -> tuple[Member, ...]:
        return tuple(Member(NODEID, p) for p in sorted(self.processes.get(group, {})))

    def groups(self) -> tuple[bytes, ...]:
        return tuple(sorted(self.processes))

    def closed(self, subscriber: IGroupSubscriber) -> None:
        for group, processes in list(self.processes.items()):
            if self.blind:
                return
            if processes.get(subscriber.pid) is subscriber:
                self._out(group, subscriber, Reason.PROCDOWN)

    def _out(self, group: bytes, subscriber: IGroupSubscriber, reason: Reason) -> None:
        remaining = self.processes[group]
        del remaining[subscriber.pid]
        if not remaining:
            del self.processes[group]
        change = Change(Member(NODEID, subscriber.pid), reason)
        view = GroupView(group, self.members(group), (change,), (), VIEW)
        for process in (subscriber, *remaining.values()):
            process.viewChanged(view)

    def _show(self, group: bytes, pid: int, reason: Reason) -> None:
        change = Change(Member(NODEID, pid), reason)
        view = GroupView(group, self.members(group), (), (change,), VIEW)
        for process in list(self.processes.get(group, {}).values()):
            process.viewChanged(view)

    def dump(self) -> dict[str, Any]:
        """
        For statistics.
        """
        return {"groups": len(self.processes)}


@implementer(IQuorum)
class FakeQuorum:
    """
    Never quorate.
    """

    def quorate(self) -> bool:
        return False

    def counting(self) -> bool:
        return True

    def explanation(self) -> dict[str, int | bool | str]:
        return {"votes": 1, "expected": 3}

    def dump(self) -> dict[str, Any]:
        """
        Long enough to need parts.
        """
        return {"history": "x" * 100_000}


@implementer(ITotem)
@define(eq=False)
class LoneTotem:
    """
    The total order of a ring of one: what is multicast is delivered a turn
    later.

    @ivar listener: the service manager.
    """

    clock: IReactorTime
    nodeid: int = NODEID
    listener: Any = None
    _queue: deque[tuple[bytes, Guarantee]] = field(factory=deque)
    _turning: bool = False
    _sequence: int = 0
    statuses: dict[int, NodeStatus] = field(factory=dict)
    keys: list[str] = field(factory=list)

    def start(self) -> None:
        """
        Form the ring; to the next one we come along with ourselves.
        """
        members = (self.nodeid,)
        again = self._sequence > 0
        self._sequence += 4
        ring = RingId(self._sequence, self.nodeid)
        if again:
            together = Configuration(ring, members, transitional=True)
            self.listener.configurationChanged(together)
        joined = () if again else members
        self.listener.configurationChanged(
            Configuration(ring, members, transitional=False, joined=joined)
        )
        self._turnSoon()

    def reform(self) -> None:
        """
        Form it anew, a turn later.
        """
        self.clock.callLater(0, self.start)

    def reenable(self) -> None:
        """
        Nothing was given up.
        """

    def multicast(
        self, message: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        if len(message) > self.room():
            return False
        self._queue.append((message, guarantee))
        self._turnSoon()
        return True

    def room(self) -> int:
        return (2 << 20) - sum(len(message) for message, _ in self._queue)

    def whenStable(self, callback: Callable[[tuple[int, ...]], None]) -> None:
        self.clock.callLater(0, callback, (self.nodeid,))

    def activateKey(self) -> None:
        self.keys.append("activated")

    def dropOldKeys(self) -> None:
        self.keys.append("dropped")

    def nodeStatus(self, nodeid: int) -> NodeStatus:
        if nodeid not in self.statuses:
            raise NotExist(f"no node {nodeid} in the node list")
        return self.statuses[nodeid]

    def leaseEnds(self) -> float:
        return -inf

    def synchronized(self) -> None:
        self._turnSoon()

    def statistics(self) -> dict[str, int]:
        """
        What waits.
        """
        return {"queued": len(self._queue)}

    def _turnSoon(self) -> None:
        if not self._turning:
            self._turning = True
            self.clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._turning = False
        for _ in range(len(self._queue)):
            message, guarantee = self._queue.popleft()
            self.listener.messageDelivered(self.nodeid, message, "<", guarantee)
        self.listener.tokenPassed()


@implementer(IEngineMaker)
@frozen
class FakeMaker:
    """
    Names a fake engine, with the locator of production.
    """

    name: str
    locator: Any
    version: int = 1

    def wanted(self, settings: Any) -> bool:
        return True

    def load(self) -> Any:
        raise AssertionError("loaded already")

    def responders(self) -> Any:
        return self.locator


class FakeTotem:
    """
    As much of the total order as clients hear of.
    """

    nodeid = NODEID

    def statistics(self) -> dict[str, int]:
        """
        A counter.
        """
        return {"tokens": 5}


class FakeManager:
    """
    A service manager with one engine.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.totem = FakeTotem()
        self.groups = FakeGroups(clock)
        self.engines: dict[str, Any] = {"cpg": self.groups, "quorum": FakeQuorum()}
        self.makers = {"cpg": FakeMaker("cpg", GroupsLocator)}
        self.configuration = Configuration(RingId(26, NODEID), (NODEID,), False)
        self.connections: list[Any] = []
        self.settings = nodeSettings(NODEID, NODEID)
        self.budget = Budget("node", self.settings.ipc.memoryBytes)
        self.views = Views(lambda: 0, lambda: (True, {"rule": "alone"}))
        self.views.configurationChanged(self.configuration)
        self.views.roundCompleted(lambda view: None)

    def synchronizing(self) -> bool:
        """
        As the groups are.
        """
        return self.groups.busy

    def onDuty(self, name: str) -> Any:
        """
        Nobody replaces it.
        """
        return self.engines[name]

    def admit(self, engine: Any, connection: Any, command: str) -> None:
        """
        Everything is let through.
        """

    def dump(self) -> dict[str, Any]:
        """
        Of the engines.
        """
        return {"engines": len(self.engines)}

    def connectionOpened(self, connection: Any) -> None:
        """
        A client.
        """
        self.connections.append(connection)

    def connectionClosed(self, connection: Any) -> None:
        """
        A client no more.
        """
        self.connections.remove(connection)
