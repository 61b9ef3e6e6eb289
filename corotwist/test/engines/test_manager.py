"""
Tests of the service manager: who gets what, in which order, and what one
engine's trouble does to the others.
"""

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import verify

from corotwist.engines import compact
from corotwist.engines.compact import Announcement, Feature, Kind
from corotwist.engines.executive import SERVICES_GROUP, SYNC_GROUP, address, header
from corotwist.engines.manager import CALLBACKS_PER_PASS, ServiceManager
from corotwist.engines.place import FAILURES_TOLERATED
from corotwist.engines.roster import SHUTDOWN_SECONDS
from corotwist.errors import (
    BadCount,
    BadHandle,
    ConfigurationError,
    NotExist,
    NotSupported,
    PluginClash,
    TryAgain,
)
from corotwist.interfaces import (
    IServiceEngine,
    ISynchronized,
    ITotemListener,
)
from corotwist.test.engines.orderednet import (
    OURS,
    SHIPPED,
    Maker,
    MemoryTotem,
    OrderedNet,
    formed,
    nodeSettings,
)
from corotwist.test.engines.probes import FakeClient, Probe, ProbeNet, makers, probed
from corotwist.totem.membership import Guarantee, RingId


def managerOf(*offered: Maker, clock: Clock | None = None) -> ServiceManager:
    totem = MemoryTotem(1)
    manager = ServiceManager(clock or Clock(), totem, nodeSettings(), offered)
    totem.listener = manager
    return manager


class LoadingTests(SynchronousTestCase):
    """
    Which engines run, and how they start and stop.
    """

    def test_interfaces(self) -> None:
        """
        The manager listens to the total order; every shipped engine is one.
        """
        verify.verifyObject(ITotemListener, managerOf())
        for maker in SHIPPED:
            engine = maker.load()
            verify.verifyObject(IServiceEngine, engine)
            verify.verifyObject(ISynchronized, engine)

    def test_highestVersion(self) -> None:
        """
        Of two makers with one name the higher version is loaded, whichever
        was found first. (A58)
        """
        old, new = Probe(7, [], "x"), Probe(7, [], "x")
        for offered in (
            (Maker("x", lambda: old, 1), Maker("x", lambda: new, 2)),
            (Maker("x", lambda: new, 2), Maker("x", lambda: old, 1)),
        ):
            manager = managerOf(*offered)
            self.successResultOf(manager.start())
            self.assertIs(manager.engines["x"], new)
            self.assertEqual(manager.makers["x"].version, 2)

    def test_clashOfNames(self) -> None:
        """
        Two makers with one name and one version are an error that names it.
        """
        manager = managerOf(Maker("x", lambda: None), Maker("x", lambda: None))
        failure = self.failureResultOf(manager.start(), PluginClash)
        self.assertIn("'x'", str(failure.value))

    def test_clashOfNumbers(self) -> None:
        """
        Two engines with one service id are an error that names both. (A59)
        """
        manager = managerOf(*makers(Probe(7, [], "x"), Probe(7, [], "y")))
        failure = self.failureResultOf(manager.start(), PluginClash)
        self.assertIn("'x' and 'y' both have service id 7", str(failure.value))

    def test_notWanted(self) -> None:
        """
        A maker that does not want this node is not asked for an engine.
        """
        manager = managerOf(Maker("x", lambda: self.fail("loaded"), 1, lambda s: False))
        self.successResultOf(manager.start())
        self.assertEqual(manager.engines, {})

    def test_order(self) -> None:
        """
        Engines start by ascending priority, then service id, each when the
        one before has started; they stop the other way round. (A62, A73)
        """
        calls: list[Any] = []
        late: Deferred[None] = Deferred()
        probes = (
            Probe(3, calls, "c", priority=2),
            Probe(2, calls, "b", priority=1, starting=late),
            Probe(1, calls, "a", priority=1),
        )
        manager = managerOf(*makers(*probes))
        started = manager.start()
        self.assertEqual(calls, [(1, "initialize"), (2, "initialize")])
        late.callback(None)
        self.successResultOf(started)
        self.assertEqual(calls[-1], (3, "initialize"))
        self.successResultOf(manager.stop())
        self.assertEqual(calls[3:], [(3, "shutdown"), (2, "shutdown"), (1, "shutdown")])

    def test_badConfiguration(self) -> None:
        """
        Every engine looks at the configuration before one starts, and the
        operator hears of all that is wrong with it. (A69)
        """
        calls: list[Any] = []
        manager = managerOf(
            *makers(
                Probe(1, calls, "a", raising={"configure"}),
                Probe(2, calls, "b"),
                Probe(3, calls, "c", raising={"configure"}),
            )
        )
        failure = self.failureResultOf(manager.start(), ConfigurationError)
        self.assertEqual([p.key for p in failure.value.problems], ["a", "c"])
        self.assertEqual(calls, [])

    def test_failingStart(self) -> None:
        """
        When an engine cannot start the node does not: the others are stopped,
        and the reason comes out. (A62)
        """
        calls: list[Any] = []
        manager = managerOf(
            *makers(
                Probe(1, calls, "a"),
                Probe(2, calls, "b", raising={"initialize"}),
                Probe(3, calls, "c"),
            )
        )
        self.failureResultOf(manager.start(), RuntimeError)
        self.assertEqual(calls, [(1, "initialize"), (2, "initialize"), (1, "shutdown")])

    def test_busyEngineIsAskedAgain(self) -> None:
        """
        An engine that is busy is asked again to stop, before the next one.
        (A63)
        """
        calls: list[Any] = []
        clock = Clock()
        probe = Probe(2, calls, "b", priority=2, busy=[True, True])
        manager = managerOf(*makers(Probe(1, calls, "a"), probe), clock=clock)
        self.successResultOf(manager.start())
        stopped = manager.stop()
        self.assertNoResult(stopped)
        clock.pump([0.01] * 2)
        self.successResultOf(stopped)
        self.assertEqual(calls[2:], [(2, "shutdown")] * 3 + [(1, "shutdown")])

    def test_stoppedWhileStarting(self) -> None:
        """
        A node that is stopped while an engine takes its time to start stops
        that one too, and starts no other.
        """
        calls: list[Any] = []
        late: Deferred[None] = Deferred()
        manager = managerOf(
            *makers(
                Probe(1, calls, "a"),
                Probe(2, calls, "b", starting=late),
                Probe(3, calls, "c"),
            )
        )
        started = manager.start()
        self.successResultOf(manager.stop())
        late.callback(None)
        self.successResultOf(started)
        self.assertEqual(
            calls,
            [(1, "initialize"), (2, "initialize"), (1, "shutdown"), (2, "shutdown")],
        )

    def test_stoppedTwice(self) -> None:
        """
        M7: who asks again to stop waits for the same end.
        """
        calls: list[Any] = []
        clock = Clock()
        manager = managerOf(*makers(Probe(1, calls, "a", busy=[True])), clock=clock)
        self.successResultOf(manager.start())
        ends = [manager.stop(), manager.stop()]
        self.assertNoResult(ends[1])
        clock.advance(0.01)
        for end in ends:
            self.successResultOf(end)
        self.assertEqual(calls[1:], [(1, "shutdown")] * 2)

    def test_afterTheEnd(self) -> None:
        """
        The ring may go on for a moment: the services do not, no timer is
        left, and who waited for them hears that they stopped.
        """
        net = probed(1)
        manager = net.nodes[1].manager
        waits = manager.whenSynchronized()
        net.form(1)
        self.successResultOf(manager.stop())
        self.failureResultOf(waits, BadHandle)
        net.calls[1].clear()
        net.form(1)
        net.rotate()
        self.assertEqual(net.calls[1], [])
        self.assertEqual(net.clock.getDelayedCalls(), [])

    def test_stubbornEngine(self) -> None:
        """
        An engine that never stops is given up after a while. (A63)
        """
        clock = Clock()
        probe = Probe(1, [], "a", busy=[True] * 10_000)
        manager = managerOf(*makers(probe), clock=clock)
        self.successResultOf(manager.start())
        stopped = manager.stop()
        clock.pump([0.01] * round(SHUTDOWN_SECONDS / 0.01 + 2))
        self.successResultOf(stopped)


class RoutingTests(SynchronousTestCase):
    """
    Messages find their engine, and only theirs.
    """

    def setUp(self) -> None:
        self.net = probed(1)
        self.net.form(1)
        self.net.run()
        self.manager = self.net.nodes[1].manager
        self.calls = self.net.calls[1]
        self.calls.clear()
        # Others are there, of whom nothing else matters here.
        self.manager.configuration = evolve(self.manager.configuration, members=(1, 5))

    def _deliver(self, message: bytes, byteOrder: str = "<") -> None:
        self.manager.messageDelivered(5, message, byteOrder)

    def test_byServiceId(self) -> None:
        """
        The header's service id chooses the engine; the rest is the engine's.
        (A59, A67)
        """
        self._deliver(address(SERVICES_GROUP, header(2, 9, b"body")))
        self.assertEqual(self.calls, [(2, "message", 5, 9, b"body")])

    def test_otherByteOrder(self) -> None:
        """
        A big-endian sender's headers are read in its order.
        """
        group = b"\0\1\0\1a"
        self._deliver(group + header(2, 9, b"body", ">"), ">")
        self.assertEqual(self.calls, [(2, "message", 5, 9, b"body")])

    def test_severalGroups(self) -> None:
        """
        G12: among several groups each name counts, and only whole names.
        """
        body = header(1, 0, b"")
        self._deliver(b"\2\0\2\0\1\0aba" + body)
        self.assertEqual(self.calls, [(1, "message", 5, 0, b"")])
        self._deliver(b"\2\0\2\0\3\0abcor" + body)
        self.assertEqual(len(self.calls), 1)
        self.assertEqual(self.manager.dump()["counters"]["unknownGroup"], 1)

    def test_unknownService(self) -> None:
        """
        A message for a service that we do not have is counted.
        """
        self._deliver(address(SERVICES_GROUP, header(77, 0, b"")))
        self.assertEqual(self.calls, [])
        self.assertEqual(self.manager.dump()["counters"]["unknownService"], 1)

    def test_strangers(self) -> None:
        """
        What names a sender who is not on the ring is nobody's: services keep
        something for each node that they hear.
        """
        message = address(SERVICES_GROUP, header(2, 9, b"body"))
        for stranger in (0, 7, 2**32 - 1):
            self.manager.messageDelivered(stranger, message, "<")
        self.assertEqual(self.calls, [])
        self.assertEqual(self.manager.dump()["counters"]["stranger"], 3)

    def test_rubbish(self) -> None:
        """
        No message, however broken, does more than raise a counter.
        """
        whole = address(SERVICES_GROUP, header(2, 9, b"body"))
        ours = address(compact.GROUP, Announcement(RingId(1, 1), 1).encode())
        sync = address(SYNC_GROUP, header(0, 0, b""))
        broken = [whole[:n] for n in range(len(whole))]
        broken += [ours[:n] for n in range(13, len(ours))]
        broken += [whole + b"x", b"\0\0", b"\xff\xff", sync, sync + b"x"]
        broken += [address(compact.GROUP, b"\1\0" + bytes(30))]
        for message in broken:
            self._deliver(message)
        self.assertEqual(self.calls, [])
        self.assertEqual(self.manager.dump()["counters"]["malformed"], len(broken))

    def test_configurationsInOrder(self) -> None:
        """
        Every engine hears of a configuration, by ascending service id,
        before its round starts. (A70, A74)
        """
        self.net.form(1)
        self.assertEqual(
            [call for call in self.calls if call[1] in ("configuration", "started")],
            [
                (1, "configuration", True),
                (2, "configuration", True),
                (1, "configuration", False),
                (2, "configuration", False),
                (1, "started", (1,), (1,)),
                (2, "started", (1,), (1,)),
            ],
        )

    def test_compactForm(self) -> None:
        """
        A message in the short form reaches its engine on the ring it names;
        on another one nobody gets it, but its sender hears that it missed.
        """
        cluster = self.net.probes[1, 2].cluster
        cluster.multicastCompact(b"short")
        self.net.run()
        self.assertEqual(self.calls, [(2, "compact", 1, b"short")])
        cluster.multicastCompact(b"late")
        self.calls.clear()
        self.net.form(1)
        self.net.run()
        self.assertEqual(
            [call for call in self.calls if call[1] in ("compact", "missed")],
            [(2, "missed", b"late")],
        )

    def test_compactOfOthersMissed(self) -> None:
        """
        What others sent to another ring is theirs to send again.
        """
        body = compact.engineHeader(2, RingId(999, 9)) + b"late"
        self._deliver(address(compact.GROUP, body))
        self.assertEqual(self.calls, [])
        self.assertEqual(self.manager.dump()["counters"]["missed"], 1)


class CompactTests(SynchronousTestCase):
    """
    The short form is used when everybody said so, on this ring.
    """

    def _allowed(self, net: OrderedNet) -> list[bool]:
        return [n.manager.compactAllowed() for _, n in sorted(net.nodes.items())]

    def test_everybody(self) -> None:
        """
        Of our own kind, everybody announces it in every round.
        """
        self.assertEqual(self._allowed(formed(1, 2, 3)), [True] * 3)

    def test_notBeforeTheRoundIsOver(self) -> None:
        """
        From a configuration on, also a transitional one, the short form is
        not used until the next round is complete.
        """
        net = formed(1, 2)
        net.form(1)
        self.assertFalse(net.nodes[1].manager.compactAllowed())
        net.run()
        self.assertTrue(net.nodes[1].manager.compactAllowed())

    def test_announcedWhenThereIsRoom(self) -> None:
        """
        An announcement that does not fit goes with a later token, once, and
        the names of the services and where we come from after it.
        """
        net = OrderedNet()
        net.boot(1)
        totem = net.nodes[1].totem
        multicast, tries = totem.multicast, []

        def narrow(message: bytes, guarantee: Guarantee = Guarantee.AGREED) -> bool:
            if message.startswith(OURS):
                tries.append(message)
                if len(tries) < 3:
                    return False
            return multicast(message, guarantee)

        self.patch(MemoryTotem, "multicast", lambda _, *details: narrow(*details))
        ring = net.form(1)
        net.run()
        self.assertTrue(net.nodes[1].manager.compactAllowed())
        announced = [m[len(OURS)] for _, m in ring.order if m.startswith(OURS)]
        self.assertEqual(announced[:3], [Kind.ANNOUNCEMENT, Kind.NAMES, Kind.STANDING])
        self.assertEqual(len(tries), len(announced) + 2)

    def test_aRealCorosyncNode(self) -> None:
        """
        One member that does not announce it is enough; without it the short
        form comes back.
        """
        net = OrderedNet()
        net.boot(1, 2)
        net.boot(3, foreign=True)
        net.form(1, 2, 3)
        net.run()
        self.assertEqual(self._allowed(net)[:2], [False, False])
        net.kill(3)
        net.form(1, 2)
        net.run()
        self.assertEqual(self._allowed(net), [True, True])

    def test_anotherKindUnderTheSameNumber(self) -> None:
        """
        A node that restarts as a real corosync node is not taken for what it
        was.
        """
        net = formed(1, 2)
        net.kill(2)
        net.boot(2, foreign=True)
        net.form(1, 2)
        net.run()
        self.assertFalse(net.nodes[1].manager.compactAllowed())

    def test_announcementOfAnotherRing(self) -> None:
        """
        An announcement left over from another ring counts for nothing.
        """
        net = OrderedNet()
        net.boot(1)
        net.boot(2, foreign=True)
        ring = net.form(1, 2)
        late = Announcement(RingId(1, 1), Feature.COMPACT_CPG).encode()
        ring.order.append((2, address(compact.GROUP, late)))
        net.run()
        self.assertFalse(net.nodes[1].manager.compactAllowed())

    def test_laterVersion(self) -> None:
        """
        A later version's announcement, longer and with more features, is
        understood as far as we go.
        """
        net = OrderedNet()
        net.boot(1)
        net.boot(2, foreign=True)
        ring = net.form(1, 2)
        body = bytearray(Announcement(ring.ringId, 1 | 1 << 40).encode() + b"more")
        body[1] = 9
        ring.order.append((2, address(compact.GROUP, bytes(body))))
        net.run()
        self.assertTrue(net.nodes[1].manager.compactAllowed())

    def test_announcedWithoutTheFeature(self) -> None:
        """
        Announcing something else is not announcing the short form.
        """
        net = OrderedNet()
        net.boot(1)
        net.boot(2, foreign=True)
        ring = net.form(1, 2)
        body = Announcement(ring.ringId, 1 << 40).encode()
        ring.order.append((2, address(compact.GROUP, body)))
        net.run()
        self.assertFalse(net.nodes[1].manager.compactAllowed())


class IsolationTests(SynchronousTestCase):
    """
    A75: an engine that misbehaves harms itself.
    """

    def setUp(self) -> None:
        self.net = probed(1)
        self.net.form(1)
        self.net.run()
        self.manager = self.net.nodes[1].manager
        self.probe = self.net.probes[1, 1]

    def _deliver(self, service: int) -> None:
        message = address(SERVICES_GROUP, header(service, 0, b""))
        self.manager.messageDelivered(1, message, "<")

    def test_loggedAndCounted(self) -> None:
        """
        An exception is logged with its traceback, and the engine goes on. (A75)
        """
        self.probe.raising.add("message")
        self._deliver(1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        status = self.manager.dump()["engines"]["probe1"]
        self.assertEqual((status["failures"], status["failed"]), (1, False))
        self._deliver(2)
        self.assertEqual(self.probe.calls[-1], (2, "message", 1, 0, b""))

    def test_outOfService(self) -> None:
        """
        After a named number of exceptions it is not called any more, cannot
        multicast any more, and the others go on, through synchronization too.
        (A75)
        """
        self.probe.raising.add("message")
        for _ in range(FAILURES_TOLERATED + 3):
            self._deliver(1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), FAILURES_TOLERATED)
        self.assertIn((1, "shutdown"), self.probe.calls)
        self.assertRaises(NotSupported, self.probe.cluster.multicast, 0, b"")
        self.probe.calls.clear()
        self.net.form(1)
        self.net.run()
        self.assertEqual({call[0] for call in self.probe.calls}, {2})
        self.assertFalse(self.manager.synchronizing())

    def test_evenShutdownRaises(self) -> None:
        """
        An engine out of service that cannot stop either changes nothing.
        """
        self.probe.raising |= {"message", "shutdown"}
        for _ in range(FAILURES_TOLERATED):
            self._deliver(1)
        self.flushLoggedErrors(RuntimeError)
        self.assertTrue(self.manager.dump()["engines"]["probe1"]["failed"])
        self.successResultOf(self.manager.stop())

    def test_malformedIsThePeersFault(self) -> None:
        """
        A message that the engine refuses is counted, not held against it.
        """

        def refuse(self: Probe, *details: Any) -> None:
            raise BadCount("too many")

        self.patch(Probe, "messageDelivered", refuse)
        for _ in range(FAILURES_TOLERATED * 2):
            self._deliver(1)
        status = self.manager.dump()["engines"]["probe1"]
        self.assertEqual((status["failed"], status["failures"]), (False, 0))
        self.assertEqual(status["malformed"], FAILURES_TOLERATED * 2)

    def test_timersAndRoom(self) -> None:
        """
        What an engine asked to be called back with is contained as well.
        """
        cluster = self.probe.cluster

        def fail() -> None:
            raise RuntimeError("late")

        cluster.callAfter(10**9, fail)
        cluster.whenRoom(fail)
        self.net.clock.advance(1)
        self.net.rotate()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


class RoomTests(SynchronousTestCase):
    """
    Waiting for room in the send queue.
    """

    def setUp(self) -> None:
        self.net = probed(1)
        self.net.form(1)
        self.net.run()
        self.cluster = self.net.probes[1, 1].cluster
        self.called: list[int] = []

    def _ask(self, number: int) -> None:
        self.cluster.whenRoom(lambda: self.called.append(number))

    def test_inOrder(self) -> None:
        """
        Callbacks are called once, when the token has passed, in the order in
        which they were asked for.
        """
        for number in range(3):
            self._ask(number)
        self.assertEqual(self.called, [])
        self.net.rotate()
        self.net.rotate()
        self.assertEqual(self.called, [0, 1, 2])

    def test_bounded(self) -> None:
        """
        A token passes on after a bounded number of callbacks; a callback that
        asks again waits for the next token.
        """
        for number in range(CALLBACKS_PER_PASS + 5):
            self._ask(number)
        self.cluster.whenRoom(lambda: self._ask(-1))
        self.net.visit(1)
        self.assertEqual(len(self.called), CALLBACKS_PER_PASS)
        self.net.visit(1)
        self.assertEqual(len(self.called), CALLBACKS_PER_PASS + 5)
        self.net.visit(1)
        self.assertEqual(self.called[-1], -1)

    def test_noRoom(self) -> None:
        """
        Nobody is called while there is no room.
        """
        self.net.nodes[1].totem.capacity = 0
        self._ask(1)
        self.net.visit(1)
        self.assertEqual(self.called, [])
        self.net.nodes[1].totem.capacity = 100
        self.net.visit(1)
        self.assertEqual(self.called, [1])

    def test_notInARound(self) -> None:
        """
        Nobody is called while the services synchronize, everybody when they
        have finished.
        """
        self._ask(1)
        self.net.form(1)
        self.net.visit(1, 0)
        self.assertEqual(self.called, [])
        self.net.run()
        self.assertEqual(self.called, [1])

    def test_tryAgain(self) -> None:
        """
        A multicast without room is an error, and nothing is queued.
        """
        totem = self.net.nodes[1].totem
        totem.capacity = 10
        self.assertRaises(TryAgain, self.cluster.multicast, 0, b"x")
        self.assertEqual(len(totem.queue), 0)


class NodeTests(SynchronousTestCase):
    """
    What engines and clients ask of the node.
    """

    def test_shutdownRequested(self) -> None:
        """
        The node hears once, and not from within the engine's call. (A105)
        """
        net = probed(1)
        manager = net.nodes[1].manager
        cluster = net.probes[1, 1].cluster
        cluster.shutdownRequested("no more")
        cluster.shutdownRequested("really")
        self.assertNoResult(manager.shutdown)
        net.clock.advance(0)
        self.assertEqual(str(self.successResultOf(manager.shutdown)), "no more")

    def test_otherEngines(self) -> None:
        """
        Engines find each other by name.
        """
        net = probed(1)
        cluster = net.probes[1, 1].cluster
        self.assertIs(cluster.engine("probe2"), net.probes[1, 2])
        self.assertRaises(NotExist, cluster.engine, "nobody")

    def test_memoryFailed(self) -> None:
        """
        Memory trouble is counted, for each engine. (A104)
        """
        net = probed(1)
        net.probes[1, 1].cluster.memoryFailed("a table")
        failures = net.nodes[1].manager.dump()["memoryFailures"]
        self.assertEqual(failures, {"probe1": 1})

    def test_connections(self) -> None:
        """
        Every engine has its own private data at a connection, and hears when
        the connection is gone. (A47, A60, A65)
        """
        net = probed(1)
        manager = net.nodes[1].manager
        connection = FakeClient()
        manager.connectionOpened(connection)
        self.assertEqual(
            connection.private,
            {"probe1": "data of probe1", "probe2": "data of probe2"},
        )
        manager.connectionClosed(connection)
        self.assertEqual(
            net.calls[1][-2:],
            [(1, "connectionClosed", connection), (2, "connectionClosed", connection)],
        )

    def test_dump(self) -> None:
        """
        The dump shows the round and every engine's state. (A58, A64)
        """
        net = ProbeNet(1)
        net.start(1)
        dump = net.nodes[1].manager.dump()
        self.assertEqual(dump["synchronization"]["phase"], "waiting for a ring")
        self.assertEqual(dump["engines"]["probe1"]["state"], {"calls": 1})
