"""
Several service managers on one total order in memory, scripted: who sends
when, who has received how much, and when the ring breaks.

The order obeys extended virtual synchrony: nodes that go from one ring to the
next together have delivered the same before, whatever each had received.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from math import inf
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from corotwist.config.settings import (
    ComponentSettings,
    FencingSettings,
    IpcSettings,
    NodeEntry,
    NodeSettings,
    QuorumSettings,
    TotemSettings,
)
from corotwist.engines import batch, compact
from corotwist.engines.cmap import ConfigurationMapEngine
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.executive import address
from corotwist.engines.interfaces import (
    ORDINARY,
    GroupView,
    IGroupSubscriber,
    Member,
    Position,
    Receipt,
    SlowReader,
    Terms,
)
from corotwist.engines.manager import ServiceManager
from corotwist.engines.quorum import QuorumEngine
from corotwist.engines.sync import Phase
from corotwist.engines.votequorum import VoteQuorumEngine
from corotwist.errors import NotExist
from corotwist.interfaces import IEngineMaker, IFlowGroup, ITotem
from corotwist.totem.membership import Configuration, Guarantee, NodeStatus, RingId

_NO_FENCING = FencingSettings()
OURS = address(compact.GROUP, b"")


@implementer(IEngineMaker)
@frozen
class Maker:
    """
    Makes one engine, from a class or any callable.
    """

    name: str
    make: Callable[[], Any]
    version: int = 1
    wish: Callable[[Any], bool] = lambda settings: True

    def wanted(self, settings: Any) -> bool:
        return self.wish(settings)

    def load(self) -> Any:
        return self.make()

    def responders(self) -> None:
        return None


SHIPPED = (
    Maker("cmap", ConfigurationMapEngine),
    Maker("cpg", GroupsEngine),
    Maker("quorum", QuorumEngine),
    Maker("votequorum", VoteQuorumEngine, 1, lambda s: bool(s.quorum.provider)),
)


def nodeSettings(
    nodeid: int = 1,
    count: int = 3,
    configVersion: int = 0,
    quorum: QuorumSettings | None = None,
    components: ComponentSettings | None = None,
    *,
    fencing: FencingSettings = _NO_FENCING,
) -> NodeSettings:
    """
    A node among C{count}.
    """
    nodes = tuple(
        NodeEntry(n, f"node{n}", (ip_address(f"127.0.0.{n}"),))
        for n in range(1, count + 1)
    )
    totem = TotemSettings(nodeid, nodes, ip_address(f"127.0.0.{nodeid}"), "/nowhere")
    return NodeSettings(
        totem,
        IpcSettings("/nowhere/socket"),
        QuorumSettings("corosync_votequorum", count) if quorum is None else quorum,
        configVersion=configVersion,
        components=components or ComponentSettings(),
        fencing=fencing,
    )


@define(eq=False)
class Ring:
    """
    A ring and everything that was ordered on it.

    @ivar incarnations: the very nodes that are in it.
    @ivar safe: places of messages that were to be safe.
    """

    ringId: RingId
    members: tuple[int, ...]
    incarnations: dict[int, "Node"]
    order: list[tuple[int, bytes]] = field(factory=list)
    safe: set[int] = field(factory=set)

    def add(self, nodeid: int, message: bytes, guarantee: Guarantee) -> None:
        """
        The next message.
        """
        if guarantee is Guarantee.SAFE:
            self.safe.add(len(self.order))
        self.order.append((nodeid, message))


@implementer(ITotem)
@define(eq=False)
class MemoryTotem:
    """
    The total order, as one node's manager sees it.

    @ivar foreign: behave like a node of real corosync: know nothing of our
        own group.
    @ivar capacity: bytes that fit into each of the two queues.
    @ivar ordinary: bytes that fit into the one for ordinary messages, if less.
    @ivar position: how much of the ring's order was delivered here.
    @ivar together: between a transitional configuration and the regular one,
        who is in it.
    @ivar watcher: called after each call of the listener, and told whether it
        was for a message.
    """

    nodeid: int
    foreign: bool = False
    capacity: int = 8 << 20
    ordinary: int = 8 << 20
    listener: Any = None
    ring: Ring | None = None
    position: int = 0
    together: tuple[int, ...] = ()
    changing: bool = True
    alive: bool = True
    queue: deque[tuple[bytes, Guarantee]] = field(factory=deque)
    syncQueue: deque[tuple[bytes, Guarantee]] = field(factory=deque)
    delivering: bool = False
    refused: int = 0
    reforms: int = 0
    reenabled: int = 0
    watcher: Callable[[bool], None] | None = None
    unstable: deque[tuple[Callable[..., None], tuple[int, ...], int]] = field(
        factory=deque
    )
    lease: float = -inf
    statuses: dict[int, NodeStatus] = field(factory=dict)
    keys: list[str] = field(factory=list)

    def multicast(
        self, message: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        if self.foreign and message.startswith(OURS):
            return True
        if len(message) > self.room():
            self.refused += 1
            return False
        self._inUse().append((message, guarantee))
        return True

    def room(self) -> int:
        limit = self.capacity if self.changing else min(self.capacity, self.ordinary)
        return limit - sum(len(message) for message, _ in self._inUse())

    def reenable(self) -> None:
        self.reenabled += 1

    def whenStable(self, callback: Callable[[tuple[int, ...]], None]) -> None:
        assert self.ring is not None, "there is no ring yet"
        members = self.together or self.ring.members
        place = 0 if self.together else self.position
        self.unstable.append((callback, members, place))

    def activateKey(self) -> None:
        self.keys.append("activated")

    def dropOldKeys(self) -> None:
        self.keys.append("dropped")

    def nodeStatus(self, nodeid: int) -> NodeStatus:
        if nodeid not in self.statuses:
            raise NotExist(f"no node {nodeid} in the node list")
        return self.statuses[nodeid]

    def leaseEnds(self) -> float:
        return self.lease

    def _stable(self) -> None:
        """
        Answer those who wait for what everybody has by now.
        """
        assert self.ring is not None
        all_ = min(node.totem.position for node in self.ring.incarnations.values())
        while self.unstable and self.unstable[0][2] <= all_:
            callback, members, _ = self.unstable.popleft()
            self.call(callback, members)

    def narrow(self, together: tuple[int, ...]) -> None:
        """
        The ring is over, and these come along.
        """
        self.unstable = deque(
            (callback, tuple(n for n in members if n in together), 0)
            for callback, members, _ in self.unstable
        )

    def synchronized(self) -> None:
        self.changing = False

    def reform(self) -> None:
        """
        The script forms rings; it sees that it was asked.
        """
        self.reforms += 1

    def _inUse(self) -> deque[tuple[bytes, Guarantee]]:
        return self.syncQueue if self.changing else self.queue

    def waiting(self) -> bool:
        """
        Is there something that could be sent now?
        """
        return bool(self.syncQueue or (self.queue and not self.changing))

    def visit(self, most: int) -> None:
        """
        The token is here: order up to C{most} messages.
        """
        assert self.ring is not None
        self._stable()
        for _ in range(most):
            if self.syncQueue:
                self.ring.add(self.nodeid, *self.syncQueue.popleft())
            elif self.queue and not self.changing:
                self.ring.add(self.nodeid, *self.queue.popleft())
        self.call(self.listener.tokenPassed)

    def deliver(self, upTo: int, skip: Iterable[int] = ()) -> None:
        """
        Deliver the order up to a position, without those of some senders.
        """
        assert self.ring is not None
        while self.position < upTo:
            sender, message = self.ring.order[self.position]
            safe = self.position in self.ring.safe
            guarantee = Guarantee.SAFE if safe else Guarantee.AGREED
            self.position += 1
            if sender in skip:
                continue
            if self.foreign and message.startswith(OURS):
                self._watched(True)
                continue
            delivered = self.listener.messageDelivered
            self.call(delivered, sender, message, "<", guarantee)

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """
        Calls never overlap.
        """
        assert not self.delivering, "called from within a call"
        self.delivering = True
        try:
            function(*arguments)
        finally:
            self.delivering = False
        self._watched(function == self.listener.messageDelivered)

    def _watched(self, isMessage: bool) -> None:
        if self.watcher is not None:
            self.watcher(isMessage)


@define(eq=False)
class Node:
    """
    One node of the net.
    """

    totem: MemoryTotem
    manager: ServiceManager
    configurations: list[Configuration] = field(factory=list)

    @property
    def nodeid(self) -> int:
        return self.totem.nodeid

    @property
    def cpg(self) -> GroupsEngine:
        engine = self.manager.engines["cpg"]
        assert isinstance(engine, GroupsEngine)
        return engine

    def engine(self, name: str) -> Any:
        return self.manager.engines[name]


class OrderedNet:
    """
    Nodes on rings.

    @ivar nodes: those that live, by nodeid.
    @ivar clock: everybody's.
    """

    def __init__(self, makers: Sequence[Any] = SHIPPED, count: int = 3) -> None:
        self.clock = Clock()
        self.nodes: dict[int, Node] = {}
        self.makers = makers
        self.count = count
        self._sequence = 0

    # Life.

    def boot(self, *nodeids: int, foreign: bool = False, **settings: Any) -> list[Node]:
        """
        Start nodes; they are on no ring yet.
        """
        booted = []
        for nodeid in nodeids:
            totem = MemoryTotem(nodeid, foreign)
            manager = ServiceManager(
                self.clock,
                totem,
                nodeSettings(nodeid, self.count, **settings),
                self.makers,
            )
            totem.listener = manager
            started: list[Any] = []
            manager.start().addBoth(started.append)
            assert started == [None], started
            self.nodes[nodeid] = Node(totem, manager)
            booted.append(self.nodes[nodeid])
        return booted

    def kill(self, *nodeids: int) -> None:
        """
        Nodes vanish with everything they had not sent.
        """
        for nodeid in nodeids:
            self.nodes.pop(nodeid).totem.alive = False

    # Rings.

    def form(self, *members: int, together: Iterable[Sequence[int]] = ()) -> Ring:
        """
        A new ring.  Nodes that come from the same ring come together, unless
        they are told apart.

        @param together: who comes together, where it is not everybody of an
            old ring.
        """
        self._sequence += 4
        incarnations = {nodeid: self.nodes[nodeid] for nodeid in members}
        ringId = RingId(self._sequence, min(members))
        ring = Ring(ringId, tuple(sorted(members)), incarnations)
        for group in self._groups(members, [tuple(g) for g in together]):
            self._move(group, ring)
        return ring

    def end(self, *group: int) -> None:
        """
        The ring of these nodes ends, and everything that they had not delivered
        comes in the transitional configuration: before it is a safe message
        which others may lack.
        """
        for nodeid in group:
            totem = self.nodes[nodeid].totem
            ring = totem.ring
            assert ring is not None
            totem.changing = True
            totem.together = group
            left = tuple(n for n in ring.members if n not in group)
            self._configure(totem, ring, group, True, left=left)
            totem.deliver(len(ring.order))

    def _groups(
        self, members: Sequence[int], apart: list[tuple[int, ...]]
    ) -> list[tuple[int, ...]]:
        told = {n for group in apart for n in group}
        rest: dict[int, list[int]] = {}
        for nodeid in sorted(set(members) - told):
            old = self.nodes[nodeid].totem.ring
            rest.setdefault(-nodeid if old is None else id(old), []).append(nodeid)
        return [*apart, *map(tuple, rest.values())]

    def _move(self, group: Sequence[int], ring: Ring) -> None:
        """
        Bring nodes of one old ring over.
        """
        totems = [self.nodes[n].totem for n in group]
        old = totems[0].ring
        if old is not None:
            reached = max(totem.position for totem in totems)
            for totem in totems:
                totem.deliver(reached)
            strangers = [n for n in old.members if n not in group]
            for totem in totems:
                left = tuple(n for n in old.members if n not in group)
                totem.changing = True
                totem.together = tuple(sorted(group))
                totem.narrow(totem.together)
                self._configure(totem, ring, tuple(sorted(group)), True, left=left)
                totem.deliver(len(old.order), skip=strangers)
        for totem in totems:
            totem.ring = ring
            totem.position = 0
            totem.together = ()
            totem.changing = True
            joined = tuple(n for n in ring.members if n not in group)
            self._configure(totem, ring, ring.members, False, joined=joined)

    def _configure(
        self,
        totem: MemoryTotem,
        ring: Ring,
        members: tuple[int, ...],
        transitional: bool,
        **changes: Any,
    ) -> None:
        configuration = Configuration(ring.ringId, members, transitional, **changes)
        self.nodes[totem.nodeid].configurations.append(configuration)
        totem.call(totem.listener.configurationChanged, configuration)

    # Progress.

    def visit(self, nodeid: int, most: int = 17) -> None:
        """
        The token comes to a node.
        """
        self.nodes[nodeid].totem.visit(most)

    def receive(self, nodeid: int, count: int = 1) -> None:
        """
        A node gets its next messages.
        """
        totem = self.nodes[nodeid].totem
        assert totem.ring is not None
        totem.deliver(min(totem.position + count, len(totem.ring.order)))

    def rotate(self, most: int = 17) -> None:
        """
        The token comes to everybody once, and everybody gets everything.
        """
        for nodeid in sorted(self.nodes):
            if self.nodes[nodeid].totem.ring is not None:
                self.visit(nodeid, most)
        for node in self._onRings():
            assert node.totem.ring is not None
            node.totem.deliver(len(node.totem.ring.order))

    def run(self, rotations: int = 400) -> None:
        """
        Until nothing is left to send.
        """
        for _ in range(rotations):
            self.rotate()
            if not any(self._busy(node) for node in self._onRings()):
                self.clock.advance(0)
                return
        raise AssertionError(f"not quiet after {rotations} rotations")

    def _onRings(self) -> list[Node]:
        return [n for _, n in sorted(self.nodes.items()) if n.totem.ring is not None]

    def _busy(self, node: Node) -> bool:
        totem = node.totem
        assert totem.ring is not None
        asked = node.manager.synchronization.phase is Phase.PROCESSING
        return asked or totem.waiting() or totem.position < len(totem.ring.order)


def formed(
    *nodeids: int, count: int = 3, makers: Sequence[Any] = SHIPPED
) -> OrderedNet:
    """
    A net whose nodes are on one ring, synchronized.
    """
    net = OrderedNet(makers, count)
    net.boot(*nodeids)
    net.form(*nodeids)
    net.run()
    return net


@implementer(IGroupSubscriber)
@define(eq=False, slots=False)
class Listener:
    """
    A local client that writes down what it is told.

    @ivar events: C{("message", group, member, bytes)}, C{("view", view)},
        C{("ring", ringId, members)}.
    @ivar pauses: groups, and whether their senders wait.
    @ivar flows: those it counts itself into while it is behind.
    @ivar places: the sequences of all messages.
    @ivar guarantees: what each of them got.
    """

    pid: int
    events: list[tuple[Any, ...]] = field(factory=list)
    failing: bool = False
    pauses: list[tuple[bytes, bool]] = field(factory=list)
    flows: list[IFlowGroup] = field(factory=list)
    behind: bool = False
    places: list[int] = field(factory=list)
    guarantees: list[Guarantee] = field(factory=list)

    def messagesDelivered(
        self,
        group: bytes,
        sender: Member,
        data: bytes,
        count: int,
        position: Position,
    ) -> None:
        if self.failing:
            raise RuntimeError("a client's own trouble")
        messages = batch.unpack(data)
        assert len(messages) == count
        self.events += [("message", group, sender, message) for message in messages]
        first = position.sequence
        self.places += range(first, first + count)
        self.guarantees += [position.guarantee] * count

    def viewChanged(self, view: GroupView) -> None:
        self.events.append(("view", view))

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self.events.append(("ring", ringId, members))

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        self.flows.append(flow)
        if self.behind:
            flow.increment()

    def detach(self, flow: IFlowGroup) -> None:
        self.flows.remove(flow)
        if self.behind:
            flow.decrement()

    def flowChanged(self, group: bytes, paused: bool) -> None:
        self.pauses.append((group, paused))

    def fallBehind(self) -> None:
        """
        Read too slowly from here on.
        """
        self.behind = True
        for flow in self.flows:
            flow.increment()

    def catchUp(self) -> None:
        """
        Have read everything.
        """
        self.behind = False
        for flow in self.flows:
            flow.decrement()

    def views(self, group: bytes | None = None) -> list[GroupView]:
        return [
            event[1]
            for event in self.events
            if event[0] == "view" and group in (None, event[1].group)
        ]

    def messages(self) -> list[bytes]:
        return [event[3] for event in self.events if event[0] == "message"]

    def rings(self) -> list[tuple[int, ...]]:
        return [event[2] for event in self.events if event[0] == "ring"]


def send(
    node: Node,
    listener: Listener,
    group: bytes,
    *messages: bytes,
    guarantee: Guarantee = Guarantee.AGREED,
    terms: Terms = ORDINARY,
) -> Deferred[Receipt]:
    """
    Send a batch.
    """
    data = batch.pack(messages)
    return node.cpg.send(listener, group, data, len(messages), guarantee, terms=terms)
