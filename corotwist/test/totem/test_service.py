"""
Processors from start to stop.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from random import Random
from typing import Any

from attrs import Factory, define, evolve
from twisted.application.service import IService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.config.settings import (
    IpcSettings,
    NodeEntry,
    NodeSettings,
    Timing,
    TotemSettings,
)
from corotwist.errors import ConfigurationError, StorageRefused
from corotwist.interfaces import (
    IDatagramReceiver,
    IReconfigurable,
    IRingStorage,
    ITotem,
    ITotemListener,
    ITransport,
)
from corotwist.test.factories import LATENCY, TIMING
from corotwist.totem.effects import Effect, StateChanged
from corotwist.totem.frame import MAGIC, deriveKey
from corotwist.totem.membership import Configuration, Guarantee
from corotwist.totem.service import TotemService
from corotwist.totem.storage import MemoryRingStorage

KEY = deriveKey(b"k" * 128, "storage")
# Long enough to form a ring, and to notice that a node is gone.
FORM = 4.0


@define
class Network:
    """
    Carries datagrams between ports in a moment, and keeps them.
    """

    clock: Clock
    ports: dict[int, "Port"] = Factory(dict)
    carried: list[tuple[int, int, bytes]] = Factory(list)

    def send(self, sender: int, to: int, datagrams: Sequence[bytes]) -> None:
        self.carried += [(sender, to, datagram) for datagram in datagrams]
        self.clock.callLater(LATENCY, self.arrive, sender, to, list(datagrams))

    def arrive(self, sender: int, to: int, datagrams: list[bytes]) -> None:
        port = self.ports[to]
        if port.receiver is not None:
            port.receiver.datagramsReceived(datagrams, (f"127.0.0.{sender}", 5405))


@implementer(ITransport)
@define
class Port:
    """
    One node's end of the network.
    """

    nodeid: int
    network: Network
    receiver: IDatagramReceiver | None = None

    def start(self, receiver: IDatagramReceiver) -> None:
        self.receiver = receiver

    def stop(self) -> Deferred[None]:
        self.receiver = None
        return succeed(None)

    def unicast(self, nodeid: int, datagram: bytes) -> None:
        self.network.send(self.nodeid, nodeid, [datagram])

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        for nodeid in self.network.ports:
            if nodeid != self.nodeid:
                self.network.send(self.nodeid, nodeid, datagrams)

    def drain(self) -> None:
        """
        Nothing waits: what arrives is handed up at once.
        """

    def statistics(self) -> Mapping[str, int]:
        return {"datagramsSent": len(self.network.carried)}


@implementer(ITotemListener)
@define
class Application:
    """
    Keeps what it hears; synchronizes at once.
    """

    synchronize: Callable[[], None] = lambda: None
    configurations: list[Configuration] = Factory(list)
    messages: list[tuple[int, bytes]] = Factory(list)
    tokens: int = 0

    def configurationChanged(self, configuration: Configuration) -> None:
        self.configurations.append(configuration)
        if not configuration.transitional:
            self.synchronize()

    def messageDelivered(
        self,
        nodeid: int,
        message: bytes,
        byteOrder: str,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> None:
        self.messages.append((nodeid, message))

    def tokenPassed(self) -> None:
        self.tokens += 1

    def members(self) -> tuple[int, ...]:
        return self.configurations[-1].members if self.configurations else ()


def settings(nodeid: int, count: int, **changes: Any) -> TotemSettings:
    nodes = tuple(
        NodeEntry(number, "", (IPv4Address(f"127.0.0.{number}"),))
        for number in range(1, count + 1)
    )
    address = nodes[nodeid - 1].addresses[0]
    return TotemSettings(nodeid, nodes, address, "/nowhere", timing=TIMING, **changes)


@define
class Cluster:
    """
    Services of our own on one network.
    """

    clock: Clock
    network: Network
    services: dict[int, TotemService]
    applications: dict[int, Application]

    @classmethod
    def make(cls, count: int, **changes: Any) -> "Cluster":
        clock = Clock()
        network = Network(clock)
        cluster = cls(clock, network, {}, {})
        for nodeid in range(1, count + 1):
            cluster.add(nodeid, settings(nodeid, count, **changes))
        return cluster

    def add(self, nodeid: int, totem: TotemSettings) -> None:
        """
        A node, or its next life.
        """
        port = self.network.ports[nodeid] = Port(nodeid, self.network)
        service = TotemService(
            self.clock,
            totem,
            port,
            MemoryRingStorage(0),
            Random(nodeid),
            timeOfDay=lambda: 1000 + int(self.clock.seconds() * 1e9),
        )
        application = Application(service.synchronized)
        service.listener = application
        self.services[nodeid] = service
        self.applications[nodeid] = application

    def start(self) -> None:
        for service in self.services.values():
            service.startService()

    def run(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        while True:
            calls = self.clock.getDelayedCalls()
            if not calls or calls[0].getTime() > end:
                break
            self.clock.advance(max(0.0, calls[0].getTime() - self.clock.seconds()))
        self.clock.rightNow = end

    def members(self) -> list[tuple[int, ...]]:
        return [each.members() for each in self.applications.values()]


class TogetherTests(SynchronousTestCase):
    def checkTraffic(self, cluster: Cluster) -> None:
        """
        Everybody sends, small and large; all deliver the same in one order.
        """
        sent = []
        for number in range(30):
            for nodeid, service in cluster.services.items():
                message = b"%d of %d " % (number, nodeid) + b"x" * (number * 300)
                self.assertTrue(service.multicast(message))
                sent.append((nodeid, message))
        cluster.run(2.0)
        first, *others = (each.messages for each in cluster.applications.values())
        self.assertEqual(sorted(first), sorted(sent))
        self.assertEqual(others, [first] * len(others))

    def test_threeNodes(self) -> None:
        """
        Three services form one ring and keep one order.
        """
        cluster = Cluster.make(3)
        cluster.start()
        cluster.run(FORM)
        self.assertEqual(cluster.members(), [(1, 2, 3)] * 3)
        self.checkTraffic(cluster)

    def test_sealed(self) -> None:
        """
        With a key they do so too, nothing is dropped, and nothing that travels
        is in the clear.
        """
        cluster = Cluster.make(3, key=KEY)
        cluster.start()
        cluster.run(FORM)
        self.checkTraffic(cluster)
        self.assertEqual({each[2][:2] for each in cluster.network.carried}, {MAGIC})
        for service in cluster.services.values():
            dropped = [each for each in service.statistics() if "dropped." in each]
            self.assertEqual(dropped, [])

    def test_nodeStatus(self) -> None:
        """
        Members are there; a node that is cut off is not, soon after the ring
        has noticed; nor is anybody when we do not run ourselves.
        """
        cluster = Cluster.make(3)
        cluster.start()
        cluster.run(FORM)
        service = cluster.services[1]
        statuses = [service.nodeStatus(nodeid) for nodeid in (1, 2, 3)]
        self.assertEqual([each.reachable for each in statuses], [True] * 3)
        ago = statuses[2].lastHeard
        assert ago is not None, "the token comes from there"
        self.assertLess(ago, 1.0)
        self.successResultOf(cluster.services[3].stopService())
        cluster.run(FORM)
        self.assertFalse(service.nodeStatus(3).reachable)
        self.assertTrue(service.nodeStatus(2).reachable)
        self.successResultOf(service.stopService())
        cluster.run(FORM)
        self.assertTrue(service.nodeStatus(1).reachable)

    def test_recordingsReplayed(self) -> None:
        """
        Whoever replays to everybody all that was ever sent changes nothing:
        it was here before, or was meant for another node.
        """
        cluster = Cluster.make(3, key=KEY)
        cluster.start()
        cluster.run(FORM)
        self.checkTraffic(cluster)
        before = [len(each.configurations) for each in cluster.applications.values()]
        delivered = [len(each.messages) for each in cluster.applications.values()]
        recorded = list(cluster.network.carried)
        for sender, _, datagram in recorded:
            for to in cluster.services:
                cluster.network.arrive(sender, to, [datagram])
        cluster.run(FORM)
        self.assertEqual(
            [len(each.configurations) for each in cluster.applications.values()],
            before,
        )
        self.assertEqual(
            [len(each.messages) for each in cluster.applications.values()], delivered
        )
        replays = len(recorded) * len(cluster.services)
        counted = [
            service.statistics()[name]
            for service in cluster.services.values()
            for name in ("dropped.ReplayedFrame", "dropped.ForgedFrame")
        ]
        self.assertEqual(sum(counted), replays)

    def test_otherKey(self) -> None:
        """
        A node with another key is not a member, and hears nothing.
        """
        cluster = Cluster.make(2, key=KEY)
        cluster.add(3, settings(3, 3, key=deriveKey(b"k" * 128, "backup")))
        cluster.start()
        cluster.run(FORM)
        self.assertEqual(cluster.members(), [(1, 2), (1, 2), (3,)])

    def test_leave(self) -> None:
        """
        A service that stops says so: the others form a ring without it at
        once, and not only when they miss the token.
        """
        cluster = Cluster.make(3)
        cluster.start()
        cluster.run(FORM)
        self.successResultOf(cluster.services[3].stopService())
        cluster.run(TIMING.token / 2)
        self.assertEqual(cluster.members()[:2], [(1, 2), (1, 2)])

    def test_restart(self) -> None:
        """
        A service that was stopped can be started again, and comes back.
        """
        cluster = Cluster.make(2, key=KEY)
        cluster.start()
        cluster.run(FORM)
        cluster.services[2].stopService()
        cluster.run(FORM)
        self.assertEqual(cluster.members()[0], (1,))
        cluster.services[2].startService()
        cluster.run(FORM)
        self.assertEqual(cluster.members(), [(1, 2), (1, 2)])
        del cluster.applications[1].messages[:], cluster.applications[2].messages[:]
        self.checkTraffic(cluster)

    def test_alone(self) -> None:
        """
        A node without any others delivers to itself, and hands the token to
        itself.
        """
        cluster = Cluster.make(1)
        cluster.start()
        cluster.run(FORM)
        self.checkTraffic(cluster)
        self.assertEqual(cluster.network.carried, [])
        self.assertGreater(cluster.applications[1].tokens, 10)


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster.make(1)
        self.service = self.cluster.services[1]

    def test_interfaces(self) -> None:
        """
        It is the total order, and a service.
        """
        verifyObject(ITotem, self.service)
        verifyObject(IService, self.service)
        self.assertEqual(self.service.nodeid, 1)

    def test_reconfigured(self) -> None:
        """
        Other timers reach the ring that runs, and every later one. (A44)
        """
        verifyObject(IReconfigurable, self.service)
        changed = evolve(settings(1, 1), timing=evolve(TIMING, merge=0.5))
        node = NodeSettings(changed, IpcSettings("/tmp/c.sock"))
        self.service.startService()
        self.service.reconfigurationProposed(node)
        self.service.reconfigured(node)
        self.assertEqual(self._timing().merge, 0.5)
        self.successResultOf(self.service.stopService())
        self.service.startService()
        self.assertEqual(self._timing().merge, 0.5)

    def _timing(self) -> Timing:
        assert self.service.protocol is not None, "it was started"
        return self.service.protocol.ring.timing

    def test_stopped(self) -> None:
        """
        Before the start there is no room; a multicast is refused.
        """
        self.assertFalse(self.service.multicast(b"m"))
        self.assertEqual(self.service.room(), 0)
        self.service.synchronized()
        self.successResultOf(self.service.stopService())

    def test_room(self) -> None:
        """
        What has room is taken, what has none is not, and room shrinks.
        """
        self.service.startService()
        room = self.service.room()
        self.assertTrue(self.service.multicast(b"m" * 1000, Guarantee.SAFE))
        self.assertLessEqual(self.service.room(), room - 1000)
        self.assertFalse(self.service.multicast(bytes(self.service.room() + 1)))
        self.assertTrue(self.service.multicast(bytes(self.service.room())))

    def test_nothingLeft(self) -> None:
        """
        After the stop no timer is left, in whatever state it came.
        """
        for step in range(40):
            self.service.startService()
            self.cluster.run(0.05 * step)
            self.service.multicast(b"m")
            self.successResultOf(self.service.stopService())
            self.assertEqual(self.cluster.clock.getDelayedCalls(), [])
            self.assertIsNone(self.cluster.network.ports[1].receiver)
            self.assertEqual(self.service.room(), 0)

    def test_statistics(self) -> None:
        """
        The ring's, the network's and the dropped are told in one.
        """
        self.service.startService()
        self.cluster.run(FORM)
        self.cluster.network.arrive(2, 1, [b"junk"])
        counters = self.service.statistics()
        self.assertGreater(counters["tokens"], 0)
        self.assertEqual(counters["datagramsSent"], 0)
        self.assertEqual(counters["dropped.UnknownFrame"], 1)

    def test_storageRefused(self) -> None:
        """
        Without its storage a node does not start, and binds nothing.
        """

        @implementer(IRingStorage)
        class NoStorage:
            def load(self) -> int | None:
                raise StorageRefused("read-only")

            def store(self, sequence: int) -> Deferred[None]:
                raise AssertionError("never loaded")

            def stamp(self, now: int) -> int:
                raise AssertionError("never loaded")

        self.service._storage = NoStorage()
        self.assertRaises(StorageRefused, self.service.startService)
        self.assertFalse(self.service.running)
        self.assertIsNone(self.cluster.network.ports[1].receiver)

    def test_resumes(self) -> None:
        """
        The ring sequence goes on from the one that was stored.
        """
        self.service._storage = MemoryRingStorage(4000)
        self.service.startService()
        self.cluster.run(FORM)
        application = self.cluster.applications[1]
        self.assertGreater(application.configurations[-1].ringId.sequence, 4000)
        self.assertEqual(
            self.service._storage.load(),
            application.configurations[-1].ringId.sequence,
        )

    def test_cannotBind(self) -> None:
        """
        Without its address a node does not start.
        """

        def taken(receiver: IDatagramReceiver) -> None:
            raise OSError(98, "Address already in use")

        self.patch(self.service, "_transport", self.cluster.network.ports[1])
        self.patch(Port, "start", lambda port, receiver: taken(receiver))
        self.assertRaises(OSError, self.service.startService)
        self.assertFalse(self.service.running)
        self.assertIsNone(self.service.protocol)

    def test_noRoomForFrames(self) -> None:
        """
        A netmtu that leaves nothing is refused when the node is built.
        """
        with self.assertRaises(ConfigurationError):
            Cluster.make(1, netmtu=100)

    def test_broken(self) -> None:
        """
        Who built the service learns that its ring broke.
        """
        failures: list[Failure] = []
        self.service.onBroken = failures.append
        self.service.startService()
        protocol = self.service.protocol
        assert protocol is not None

        def bug(frames: object, now: float) -> list[Effect]:
            raise AssertionError("broken")

        self.patch(protocol.ring, "framesReceived", bug)
        self.cluster.network.arrive(2, 1, [b"x"])
        self.assertEqual([failure.type for failure in failures], [AssertionError])

    def test_observer(self) -> None:
        """
        A tracer sees the ring's effects from the first on.
        """
        seen: list[Effect] = []
        self.service.observer = seen.append
        self.service.startService()
        states = [each.after for each in seen if isinstance(each, StateChanged)]
        self.assertEqual(states[0], "gather")

    def test_saltDiffers(self) -> None:
        """
        No two starts seal with one nonce, not even at the same time of day.
        """
        cluster = Cluster.make(2, key=KEY)
        for _ in range(2):
            cluster.services[1].startService()
            cluster.services[1].stopService()
        nonces = [datagram[8:32] for _, _, datagram in cluster.network.carried]
        self.assertGreater(len(nonces), 2)
        self.assertEqual(len(set(nonces)), len(nonces))
