"""
What an ordinary message costs on its way through a node and a client, per batch:
part of C{corotwist bench --core}.

Two nodes share a total order in memory, so that what is measured is what we do
above it: the service manager, the process groups, the queue to a client, and a
client's library.  Processor time is counted, not time, so that it matters less
what else the machine does.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from struct import Struct
from time import process_time
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.protocols import amp

from corotwist.config.settings import (
    IpcSettings,
    NodeEntry,
    NodeSettings,
    TotemSettings,
)
from corotwist.engines import batch as batches
from corotwist.engines.interfaces import IProcessGroups, Member
from corotwist.engines.manager import ServiceManager
from corotwist.ipc.client import NodeClient, embed
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.cpg import Deliver
from corotwist.ipc.events import Message
from corotwist.ipc.group import ProcessGroup
from corotwist.plugin import EngineMaker
from corotwist.tools.corebench import Cost
from corotwist.totem.membership import Configuration, Guarantee, RingId

NODES: Final = (1, 2)
RING: Final = RingId(4, 1)
GROUP: Final = b"bench"
PAYLOAD: Final = b"x" * 64
# Of one round: so many are under way at a time, of so many.
BURST: Final = 32
BATCHES: Final = 256
ROUNDS: Final = 60
# In a large batch.
MESSAGES: Final = 256
_ROOM: Final = 8 << 20
# An answer that has not come after so many rounds will not come.
_PATIENCE: Final = 100


class Order:
    """
    The total order of L{NODES}: everybody gets everything at once.

    @ivar held: what was sent and is not ordered.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.managers: dict[int, ServiceManager] = {}
        self.held: deque[tuple[int, bytes]] = deque()
        for nodeid in NODES:
            # Of a ring it has what is used between its changes.
            totem: Any = _Totem(nodeid, self)
            settings = _settings(nodeid)
            manager = ServiceManager(self.clock, totem, settings, _MAKERS)
            manager.start()
            self.managers[nodeid] = manager
        for transitional in (True, False):
            for nodeid, manager in self.managers.items():
                members = (nodeid,) if transitional else NODES
                manager.configurationChanged(
                    Configuration(RING, members, transitional=transitional)
                )
        self.settle()

    def settle(self) -> None:
        """
        Until nobody has anything to say.
        """
        for _ in range(_PATIENCE):
            for manager in self.managers.values():
                manager.tokenPassed()
            self.deliver()
            self.clock.advance(0)

    def deliver(self) -> None:
        """
        Order what was sent.
        """
        while self.held:
            nodeid, message = self.held.popleft()
            for manager in self.managers.values():
                manager.messageDelivered(nodeid, message, "<")

    def groups(self, nodeid: int) -> IProcessGroups:
        """
        The engine of a node.
        """
        groups: IProcessGroups = self.managers[nodeid].engines["cpg"]
        return groups


class _Totem:
    """
    What a service manager sees of the order.
    """

    def __init__(self, nodeid: int, order: Order) -> None:
        self.nodeid = nodeid
        self._held = order.held

    def multicast(
        self, message: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        self._held.append((self.nodeid, message))
        return True

    def room(self) -> int:
        return _ROOM

    def synchronized(self) -> None:
        pass

    def reform(self) -> None:
        pass


class _Sink:
    """
    Where a client is connected that takes everything.
    """

    congested = False

    def sendBox(self, box: object) -> None:
        pass


def _settings(nodeid: int) -> NodeSettings:
    nodes = tuple(
        NodeEntry(n, f"node{n}", (ip_address(f"127.0.0.{n}"),)) for n in NODES
    )
    address = nodes[nodeid - 1].addresses[0]
    totem = TotemSettings(nodeid, nodes, address, "/nowhere")
    return NodeSettings(totem, IpcSettings("/nowhere/socket"))


_MAKERS: Final = (
    EngineMaker(
        "cpg",
        1,
        "corotwist.engines.cpg.GroupsEngine",
        "corotwist.ipc.cpg.GroupsLocator",
    ),
)


class _Node:
    """
    The first node, with a member of the group at each.
    """

    def __init__(self) -> None:
        self.order = order = Order()
        self.own, self.other = (self._member(n) for n in NODES)
        order.settle()

    def _member(self, nodeid: int) -> Connection:
        who = Credentials(nodeid, 0, 0)
        member = Connection(who, self.order.clock, _Sink(), lambda *_: None)
        self.order.groups(nodeid).join(member, GROUP)
        return member

    def send(self, nodeid: int, member: Connection) -> None:
        groups = self.order.groups(nodeid)
        packed = batches.pack([PAYLOAD])
        for _ in range(BURST):
            groups.send(member, GROUP, packed, 1, Guarantee.AGREED)

    def sent(self) -> float:
        """
        A local client's batches, until they are handed to the ring.
        """
        spent = _spent(self.send, 1, self.own)
        self.order.deliver()
        return spent

    def ordered(self, nodeid: int, member: Connection) -> float:
        """
        Batches, from the ring to the connection of a local client.
        """
        self.send(nodeid, member)
        messages = [message for _, message in self.order.held]
        assert len(messages) == BURST, "the compact form, and one message each"
        first, second = self.order.managers.values()

        def deliver() -> None:
            for message in messages:
                first.messageDelivered(nodeid, message, "<")
            self.own.flush()

        spent = _spent(deliver)
        for message in messages:
            second.messageDelivered(nodeid, message, "<")
        self.order.held.clear()
        return spent

    def clear(self) -> None:
        """
        The clients have read what came.
        """
        self.order.clock.advance(0)
        for member in (self.own, self.other):
            member.creditReceived(_ROOM)


class _Client:
    """
    A client's library and the node it is connected to, without sockets.

    @ivar came: messages.
    """

    def __init__(self, payloads: int, *, iterated: bool = False) -> None:
        self.order = Order()
        self._payloads = [PAYLOAD] * payloads
        self.came = 0
        client = self._wait(embed(self.order.clock, self.order.managers[1], NODES[0]))
        assert isinstance(client, NodeClient)
        called = None if iterated else self._came
        joined = self._wait(client.groups.join(GROUP, batchDelivered=called))
        assert isinstance(joined, ProcessGroup)
        self._group = joined
        self._deliver = client.locate(Deliver.commandName)
        self._box = amp.AmpBox(
            {
                amp.COMMAND: Deliver.commandName,
                b"group": GROUP,
                b"nodeid": b"2",
                b"pid": b"2",
                b"count": b"%d" % payloads,
                b"batch": batches.pack(self._payloads),
                b"places": Struct("<QI").pack(1 << 20, payloads),
            }
        )

    def _wait(self, deferred: Any) -> object:
        results: list[object] = []
        deferred.addCallback(results.append)
        self.order.settle()
        return results[0]

    def _came(self, sender: Member, payloads: list[bytes]) -> None:
        self.came += len(payloads)

    def around(self) -> float:
        """
        Messages, from the application to itself.
        """
        send, clock = self._group.send, self.order.clock
        expected = self.came + len(self._payloads)

        def act() -> None:
            for payload in self._payloads:
                send(payload)
            while self.came < expected:
                clock.advance(0)
                self.order.deliver()

        return _spent(act)

    def received(self) -> float:
        """
        From the node's notification to the application.
        """
        spent = _spent(self._deliver, self._box)
        self.order.clock.advance(0)
        return spent

    def iterated(self) -> float:
        """
        The same, when the application iterates.
        """

        def act() -> None:
            self._deliver(self._box)
            Deferred.fromCoroutine(self._iterate())

        spent = _spent(act)
        self.order.clock.advance(0)
        return spent

    async def _iterate(self) -> None:
        expected = self.came + len(self._payloads)
        while self.came < expected:
            self.came += isinstance(await anext(self._group), Message)


def _spent(act: Callable[..., None], *arguments: Any) -> float:
    started = process_time()
    act(*arguments)
    return process_time() - started


def _best(measure: Callable[[], float], acts: int, things: int) -> float:
    """
    @param acts: calls of C{measure} in one round.
    @param things: of which each call measures so many.
    @return: the least microseconds for a thing.
    """
    gc.collect()
    rounds = [sum(measure() for _ in range(acts)) for _ in range(ROUNDS)]
    return min(rounds) / (acts * things) * 1e6


def _inNode(measure: Callable[[_Node], float]) -> Callable[[], float]:
    def prepared() -> float:
        node = _Node()

        def act() -> float:
            spent = measure(node)
            node.clear()
            return spent

        return _best(act, BATCHES // BURST, BURST)

    return prepared


def _inClient(
    measure: Callable[[_Client], float], payloads: int, *, iterated: bool = False
) -> Callable[[], float]:
    def prepared() -> float:
        client = _Client(payloads, iterated=iterated)
        return _best(lambda: measure(client), BATCHES // payloads, payloads)

    return prepared


CASES: Final[dict[str, Callable[[], float]]] = {
    "send a batch of a client: from the request into the ring": _inNode(_Node.sent),
    "deliver another's batch: from the ring to a client's queue": _inNode(
        lambda node: node.ordered(2, node.other)
    ),
    "deliver a batch of our own, and let its sender go on": _inNode(
        lambda node: node.ordered(1, node.own)
    ),
    "client library and node, there and back, a message alone": _inClient(
        _Client.around, 1
    ),
    f"the same for each of {MESSAGES} at once": _inClient(_Client.around, MESSAGES),
    "client library, receive a message alone": _inClient(_Client.received, 1),
    f"the same for each of {MESSAGES} at once, iterated over": _inClient(
        _Client.iterated, MESSAGES, iterated=True
    ),
}


def measure() -> Iterator[Cost]:
    """
    The table, line by line.
    """
    for what, prepared in CASES.items():
        yield Cost(what, prepared())
