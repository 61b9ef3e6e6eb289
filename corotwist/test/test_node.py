"""
One whole node, on a network, a disk and a clock that a test holds.
"""

import json
import stat
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

from attrs import Factory, define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from corotwist.components import Components
from corotwist.config.settings import (
    IpcSettings,
    NodeEntry,
    NodeSettings,
    TotemSettings,
)
from corotwist.config.values import u32
from corotwist.ending import End, Ending
from corotwist.engines.interfaces import IProcessGroups
from corotwist.engines.manager import PATIENCE_TOKENS
from corotwist.errors import StorageRefused
from corotwist.interfaces import (
    ICluster,
    IDatagramReceiver,
    IEngineMaker,
    IServiceEngine,
    ITransport,
)
from corotwist.node import Node, makeStorage, makeTransport
from corotwist.plugin import TRANSPORTS, TransportMaker, discover
from corotwist.test.config.factories import built, conf
from corotwist.totem.membership import Configuration
from corotwist.totem.storage import FileRingStorage, MemoryRingStorage
from corotwist.totem.udp import UdpTransport
from corotwist.totem.udpu import UdpuTransport

ADDRESS = ip_address("127.0.0.1")


def settings(transport: str = "udpu", directory: str = "/nonexistent") -> NodeSettings:
    """
    A node alone.
    """
    totem = TotemSettings(
        1,
        (NodeEntry(1, "one", (ADDRESS,)),),
        ADDRESS,
        directory,
        transport=transport,
    )
    return NodeSettings(totem, IpcSettings("/nonexistent/socket"))


@implementer(ITransport)
@define
class FakeTransport:
    """
    A network without anybody else.

    @ivar told: what happened, in order; shared with other fakes.
    @ivar refusal: raised instead of starting.
    """

    told: list[str]
    refusal: OSError | None = None
    multicasts: int = 0

    def start(self, receiver: IDatagramReceiver) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.told.append("network opened")

    def stop(self) -> Deferred[None]:
        self.told.append("network closed")
        return succeed(None)

    def unicast(self, nodeid: int, datagram: bytes) -> None:
        """
        Nobody is there.
        """

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        self.multicasts += len(datagrams)

    def drain(self) -> None:
        """
        Nothing waits.
        """

    def statistics(self) -> dict[str, int]:
        return {}


@implementer(IServiceEngine)
@define
class FakeEngine:
    """
    Tells when it is started and stopped.

    @ivar starting: what C{initialize} returns.
    @ivar busy: how often it is not ready to stop.
    """

    told: list[str]
    starting: Deferred[None] | None = None
    busy: int = 0
    name: str = "fake"
    serviceId: int = 99
    version: int = 1
    priority: int = 1
    flowControl: bool = True
    allowInquorate: bool = True
    requires: tuple[str, ...] = ()
    cluster: Any = None
    configurations: list[Configuration] = Factory(list)
    messages: list[bytes] = Factory(list)

    def configure(self, settings: NodeSettings) -> None:
        """
        Whatever it is.
        """

    def initialize(
        self, cluster: ICluster, settings: NodeSettings
    ) -> Deferred[None] | None:
        self.told.append("service started")
        self.cluster = cluster
        return self.starting

    def shutdown(self) -> bool:
        self.busy -= 1
        if self.busy >= 0:
            return False
        self.told.append("service stopped")
        return True

    def dump(self) -> dict[str, Any]:
        return {}

    def privateData(self, connection: object) -> None:
        """
        Nothing is kept.
        """

    def connectionClosed(self, connection: object) -> None:
        """
        Nothing was kept.
        """

    def configurationChanged(self, configuration: Configuration) -> None:
        self.configurations.append(configuration)

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        self.messages.append(body)

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        self.messages.append(body)

    def compactMissed(self, body: bytes) -> None:
        """
        Never sent.
        """


@implementer(IEngineMaker)
@define
class FakeMaker:
    """
    Gives the engine that a test has made.
    """

    engine: FakeEngine
    name: str = "fake"
    version: int = 1

    def wanted(self, settings: NodeSettings) -> bool:
        return True

    def load(self) -> FakeEngine:
        return self.engine

    def responders(self) -> None:
        return None


class FakeDoor(Service):
    """
    Tells when clients could come.
    """

    def __init__(self, told: list[str], refusal: Exception | None) -> None:
        self._told = told
        self._refusal = refusal

    def startService(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        super().startService()
        self._told.append("door opened")

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._told.append("door closed")
        return succeed(None)


class NodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[str] = []
        self.clock = Clock()
        self.transport = FakeTransport(self.told)
        self.engine = FakeEngine(self.told)
        self.doorRefuses: Exception | None = None

    def node(self) -> Node:
        """
        A node made of fakes round a real ring and a real service manager.
        """
        return Node(
            settings(),
            self.clock,
            transport=self.transport,
            storage=MemoryRingStorage(),
            random=Random(1),
            ipc=lambda clock, ipc, manager: FakeDoor(self.told, self.doorRefuses),
            makers=[FakeMaker(self.engine)],
            timeOfDay=lambda: 0,
        )

    def stop(self, node: Node) -> None:
        """
        Stop a node that is on a ring: it waits for its farewell to come back.
        """
        stopped = node.stopService()
        self.letPass(0.5)
        self.successResultOf(stopped)

    def letPass(self, seconds: float) -> None:
        """
        Let time pass.
        """
        for _ in range(int(seconds / 0.01)):
            self.clock.advance(0.01)

    def test_order(self) -> None:
        """
        Services are ready before the network speaks, and clients come last;
        at the end it is the other way round, so that services can say farewell
        on a ring that runs.
        """
        node = self.node()
        node.startService()
        self.successResultOf(node.started)
        self.assertEqual(
            self.told, ["service started", "network opened", "door opened"]
        )
        self.told.clear()
        self.successResultOf(node.stopService())
        self.assertEqual(
            self.told, ["door closed", "service stopped", "network closed"]
        )

    def test_nothingIsLeft(self) -> None:
        """
        A stopped node leaves no timer behind.
        """
        node = self.node()
        node.startService()
        self.letPass(1.0)
        self.assertTrue(self.clock.getDelayedCalls())
        self.stop(node)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_alone(self) -> None:
        """
        A node alone forms a ring of one, and what a service multicasts comes
        back in order.
        """
        node = self.node()
        node.startService()
        self.letPass(1.0)
        last = self.engine.configurations[-1]
        self.assertEqual((last.members, last.transitional), ((1,), False))
        self.assertFalse(node.manager.synchronizing())
        for body in (b"one", b"two"):
            self.engine.cluster.multicast(0, body)
        self.letPass(1.0)
        self.assertEqual(self.engine.messages, [b"one", b"two"])

    def test_reloads(self) -> None:
        """
        What the file says is in the node's database, for its engines too; read
        again, it reaches the ring that runs, and who counts on its timers.
        (A44)
        """
        texts = [conf("  token: 2000\n", nodes=1), conf("  token: 4000\n", nodes=1)]
        node = Node(
            built(texts[0]).usable(),
            self.clock,
            transport=self.transport,
            storage=MemoryRingStorage(),
            random=Random(1),
            ipc=None,
            makers=[FakeMaker(self.engine)],
            timeOfDay=lambda: 0,
            read=lambda: built(texts[1]),
        )
        node.startService()
        self.letPass(1.0)
        self.assertEqual(node.database.map.get("totem.token"), u32(2000))
        self.assertIs(self.engine.cluster.database, node.database)
        report = self.successResultOf(self.engine.cluster.operations.reload())
        self.assertFalse(report["refused"])
        self.assertEqual(node.database.map.get("totem.token"), u32(4000))
        assert node.totem.protocol is not None, "it runs"
        self.assertEqual(node.totem.protocol.ring.timing.token, 4.0)
        self.assertEqual(node.settings.totem.timing.token, 4.0)
        self.assertIs(node.manager.settings, node.settings)
        self.assertEqual(node.manager.synchronization.patience, PATIENCE_TOKENS * 4.0)
        self.stop(node)

    def test_dump(self) -> None:
        """
        Everything that a node and its engines know of themselves can be shown,
        as JSON. (A64)
        """
        node = self.node()
        node.startService()
        self.letPass(1.0)
        state = json.loads(json.dumps(node.dump()))
        self.assertEqual((state["node"]["nodeid"], state["node"]["members"]), (1, [1]))
        self.assertIn("fake", state["services"]["engines"])
        self.assertIn("misses", state["services"]["schedule"])

    def test_heldShutdown(self) -> None:
        """
        A node that is asked to stop waits for what holds that, with everything
        still there; asked again it does not. (A63)
        """
        node = self.node()
        node.startService()
        self.letPass(1.0)
        self.engine.cluster.holdShutdown("a job runs here")
        self.told.clear()
        stopped = node.stopService()
        self.letPass(1.0)
        self.assertNoResult(stopped)
        self.assertEqual(self.told, [])
        node.manager.prepareStop("now")
        self.letPass(0.1)
        self.successResultOf(stopped)
        self.assertEqual(
            self.told, ["door closed", "service stopped", "network closed"]
        )

    def test_leaves(self) -> None:
        """
        A node that stops tells the others why, and that it goes.
        """
        node = self.node()
        node.startService()
        self.letPass(1.0)
        before = self.transport.multicasts
        self.stop(node)
        # The reason, whatever services have to say, and the leave.
        self.assertGreaterEqual(self.transport.multicasts, before + 2)

    def test_busyService(self) -> None:
        """
        A service that is busy delays the end.
        """
        self.engine.busy = 3
        node = self.node()
        node.startService()
        stopped = node.stopService()
        self.assertNoResult(stopped)
        self.assertNotIn("network closed", self.told)
        self.letPass(0.1)
        self.successResultOf(stopped)
        self.assertEqual(self.told[-2:], ["service stopped", "network closed"])

    def test_slowService(self) -> None:
        """
        The network waits for a service that takes its time to start.
        """
        self.engine.starting = Deferred()
        node = self.node()
        node.startService()
        self.assertEqual(self.told, ["service started"])
        self.engine.starting.callback(None)
        self.successResultOf(node.started)
        self.assertEqual(self.told[-1], "door opened")

    def test_stoppedWhileStarting(self) -> None:
        """
        A node that is stopped before it was up opens nothing any more.
        """
        self.engine.starting = Deferred()
        node = self.node()
        node.startService()
        self.successResultOf(node.stopService())
        self.engine.starting.callback(None)
        self.assertNotIn("network opened", self.told)

    def test_serviceFails(self) -> None:
        """
        A service that cannot start keeps the node from starting.
        """
        self.engine.starting = fail(RuntimeError("no"))
        node = self.node()
        node.startService()
        self.failureResultOf(node.started, RuntimeError)
        self.assertNotIn("network opened", self.told)

    def test_networkFails(self) -> None:
        """
        When an address cannot be bound the services are stopped again.
        """
        self.transport.refusal = OSError(98, "Address already in use")
        node = self.node()
        node.startService()
        self.failureResultOf(node.started, OSError)
        self.assertEqual(self.told, ["service started", "service stopped"])
        self.assertFalse(node.running)

    def test_doorFails(self) -> None:
        """
        When clients cannot come the ring is left again.
        """
        self.doorRefuses = OSError(13, "Permission denied")
        node = self.node()
        node.startService()
        self.failureResultOf(node.started, OSError)
        self.assertEqual(self.told[-2:], ["service stopped", "network closed"])

    def test_serviceStopsNode(self) -> None:
        """
        A service may ask the node to stop; whoever runs it is told, once.
        """
        node = self.node()
        node.startService()
        self.assertNoResult(node.ended)
        self.engine.cluster.shutdownRequested("no memory")
        self.engine.cluster.shutdownRequested("and again")
        self.clock.advance(0)
        end = self.successResultOf(node.ended)
        self.assertEqual(end, End(Ending.FAILED, "no memory"))
        self.assertEqual((str(end), end.status), ("no memory", 1))

    def test_operatorStopsNode(self) -> None:
        """
        When an operator wants the node to stop, whoever runs it is told that
        this is no failure; and when nothing may hold it, nothing does. (F4)
        """
        node = self.node()
        node.startService()
        cluster = self.engine.cluster
        cluster.holdShutdown("work")
        cluster.stopRequested("asked for")
        self.clock.advance(0)
        end = self.successResultOf(node.ended)
        self.assertEqual(end, End(Ending.STOPPED, "asked for"))
        self.assertEqual(end.status, 0)
        stopped = node.stopService()
        self.assertNoResult(stopped)
        cluster.stopRequested("at once", hasty=True)
        self.clock.pump([0.0] * 3)
        self.successResultOf(stopped)

    def test_killed(self) -> None:
        """
        A node that is killed falls silent at once, and whoever runs it is told
        before anything else happens. (F3)
        """
        node = self.node()
        told: list[str] = []
        node.onKilled = told.append
        node.startService()
        self.engine.cluster.nodeKilled(node.totem.nodeid + 1, 2, "another one")
        self.assertEqual(told, [])
        self.engine.cluster.nodeKilled(node.totem.nodeid, 2, "why")
        self.assertEqual(told, ["killed by node 2: why"])
        self.assertIn("network closed", self.told)
        end = self.successResultOf(node.ended)
        self.assertEqual((end.how, end.status), (Ending.KILLED, 255))
        self.assertFalse(node.totem.multicast(b"anything"))

    def test_ringBreaks(self) -> None:
        """
        An error of our own in the ring ends the node, and is logged.
        """
        node = self.node()
        node.startService()
        assert node.totem.onBroken is not None
        node.totem.onBroken(Failure(ZeroDivisionError("oops")))
        end = self.successResultOf(node.ended)
        self.assertEqual(end, End(Ending.FAILED, "the ring broke: oops", hasty=True))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_withoutDoor(self) -> None:
        """
        A node may be without clients of other processes.
        """
        node = Node(
            settings(),
            self.clock,
            transport=self.transport,
            storage=MemoryRingStorage(),
            ipc=None,
            makers=[],
        )
        node.startService()
        self.successResultOf(node.started)
        self.assertIsNone(node.ipc)
        self.successResultOf(node.stopService())

    def test_names(self) -> None:
        """
        The parts can be found by name, as Twisted's services are.
        """
        node = self.node()
        self.assertIs(node.getServiceNamed("totem"), node.totem)

    def test_installedEngines(self) -> None:
        """
        With the engines that are installed a node offers process groups.
        """
        node = Node(
            settings(),
            self.clock,
            transport=self.transport,
            storage=MemoryRingStorage(),
            ipc=None,
            makers=discover(),
        )
        node.startService()
        self.successResultOf(node.started)
        self.assertTrue(IProcessGroups.providedBy(node.manager.engines["cpg"]))
        self.letPass(1.0)
        self.assertFalse(node.manager.synchronizing())
        self.stop(node)


class MakingTests(SynchronousTestCase):
    """
    What a node gets when nobody gives it anything else.
    """

    def test_transports(self) -> None:
        """
        The configuration names the transport; of several versions it is the
        newest.  (A7, A8)
        """
        components = Components.of(TRANSPORTS)
        made = makeTransport(settings("udpu").totem, Clock(), components)
        self.assertIsInstance(made, UdpuTransport)
        made = makeTransport(settings("udp").totem, Clock(), components)
        self.assertIsInstance(made, UdpTransport)
        newer = TransportMaker("udp", 2, lambda reactor, settings: "the newer one")
        components = Components.of([*TRANSPORTS, newer])
        made = makeTransport(settings("udp").totem, Clock(), components)
        self.assertEqual(made, "the newer one")

    def test_storage(self) -> None:
        """
        The state directory is made, for us alone.
        """
        directory = Path(self.mktemp()) / "state"
        storage = makeStorage(settings(directory=str(directory)).totem, Clock())
        self.assertIsInstance(storage, FileRingStorage)
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)

    def test_noDirectory(self) -> None:
        """
        A state directory that cannot be is refused with the reason.
        """
        file = Path(self.mktemp())
        file.write_text("")
        error = self.assertRaises(
            StorageRefused,
            makeStorage,
            settings(directory=str(file / "state")).totem,
            Clock(),
        )
        self.assertIn(f"{file}/state cannot be made: Not a directory", str(error))
