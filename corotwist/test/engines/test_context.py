"""
Tests of what an engine may ask of its node: time, and the total order.
"""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.engines import compact
from corotwist.engines.context import LARGEST_TOTEM_MESSAGE, LAST_SHARED
from corotwist.engines.executive import SERVICES_GROUP, address, header
from corotwist.engines.manager import ServiceManager
from corotwist.errors import NotExist, TooBig
from corotwist.interfaces import ICluster
from corotwist.test.engines.orderednet import MemoryTotem, nodeSettings
from corotwist.test.engines.probes import Probe, makers, probed
from corotwist.totem.membership import Guarantee, NodeStatus

SECOND = 10**9


class TimeTests(SynchronousTestCase):
    """
    A33 to A37: integer nanoseconds, on a clock that is handed in.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.wall = 1_700_000_000 * SECOND
        probe = Probe(1, [], "probe")
        manager = ServiceManager(
            self.clock, MemoryTotem(1), nodeSettings(), makers(probe), self._time
        )
        self.successResultOf(manager.start())
        self.cluster: Any = probe.cluster
        self.fired: list[int] = []

    def _time(self) -> int:
        return self.wall + int(self.clock.seconds() * SECOND)

    def _fire(self) -> None:
        self.fired.append(self.cluster.now())

    def test_interface(self) -> None:
        """
        An engine's view of its node is a cluster.
        """
        verifyObject(ICluster, self.cluster)

    def test_now(self) -> None:
        """
        The clock is in integers, and never goes back. (A33, A94)
        """
        self.clock.advance(1.5)
        self.assertEqual(self.cluster.now(), 1_500_000_000)
        self.assertIsInstance(self.cluster.now(), int)
        self.clock.rightNow = 1.0
        self.assertEqual(self.cluster.now(), 1_500_000_000)

    def test_duration(self) -> None:
        """
        A timer by duration fires once, then. (A34, A37, A94)
        """
        timer = self.cluster.callAfter(250_000_000, self._fire)
        self.assertEqual(self.cluster.expiresAt(timer), 250_000_000)
        self.clock.advance(0.25)
        self.clock.advance(5)
        self.assertEqual(self.fired, [250_000_000])
        self.assertEqual(self.cluster.expiresAt(timer), 0)

    def test_durationIgnoresTheWallClock(self) -> None:
        """
        F5: setting the time of day does not move a timer by duration. (A34)
        """
        self.cluster.callAfter(SECOND, self._fire)
        self.wall += 3600 * SECOND
        self.clock.advance(0.9)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.1)
        self.assertEqual(self.fired, [SECOND])

    def test_timeOfDay(self) -> None:
        """
        A timer by time of day fires at that time, also when the clock is
        set meanwhile. (A34, A94)
        """
        timer = self.cluster.callAt(self.cluster.timeOfDay() + 10 * SECOND, self._fire)
        self.assertEqual(self.cluster.expiresAt(timer), 10 * SECOND)
        self.clock.advance(2)
        self.wall += 5 * SECOND
        self.assertEqual(self.cluster.expiresAt(timer), 5 * SECOND)
        self.clock.pump([0.5] * 5)
        self.assertEqual(self.fired, [])
        self.clock.pump([0.5])
        self.assertEqual(self.fired, [5 * SECOND])

    def test_past(self) -> None:
        """
        What is due already fires on the next turn, not from within the call.
        """
        self.cluster.callAt(0, self._fire)
        self.cluster.callAfter(-5, self._fire)
        self.assertEqual(self.fired, [])
        self.clock.advance(0)
        self.assertEqual(self.fired, [0, 0])

    def test_cancel(self) -> None:
        """
        F7: a cancelled timer does not fire; cancelling again, or one that
        fired, or from its own callback, is harmless. (A35, A94)
        """
        first = self.cluster.callAfter(1, self._fire)
        second = self.cluster.callAt(0, self._fire)
        for timer in (first, first, second, None):
            self.cluster.cancel(timer)
        self.clock.advance(1)
        self.assertEqual(self.fired, [])
        own: list[Any] = []
        own.append(self.cluster.callAfter(1, lambda: self.cluster.cancel(own[0])))
        self.clock.advance(1)
        self.assertEqual(self.cluster.expiresAt(own[0]), 0)

    def test_defaultTimeOfDay(self) -> None:
        """
        Without a source of its own the time of day is the clock's.
        """
        net = probed(1)
        net.clock.advance(3)
        cluster = net.probes[1, 1].cluster
        self.assertEqual(cluster.timeOfDay(), 3 * SECOND)


class OrderTests(SynchronousTestCase):
    """
    What an engine multicasts.
    """

    def setUp(self) -> None:
        self.net = probed(1)
        self.ring = self.net.form(1)
        self.net.run()
        self.cluster = self.net.probes[1, 2].cluster

    def test_header(self) -> None:
        """
        Function and body get the group and the header of the engine.
        """
        self.cluster.multicast(3, b"body")
        self.net.run()
        expected = address(SERVICES_GROUP, header(2, 3, b"body"))
        self.assertEqual(self.ring.order[-1], (1, expected))

    def test_tooBig(self) -> None:
        """
        What real corosync nodes could not receive is never sent.
        """
        overhead = len(address(SERVICES_GROUP, header(2, 3, b"")))
        self.cluster.multicast(3, bytes(LARGEST_TOTEM_MESSAGE - overhead))
        self.assertRaises(
            TooBig,
            self.cluster.multicast,
            3,
            bytes(LARGEST_TOTEM_MESSAGE - overhead + 1),
        )

    def test_ring(self) -> None:
        """
        An engine knows the ring in force and its members. (A101)
        """
        self.assertEqual(self.cluster.ringId(), self.ring.ringId)
        self.assertEqual(self.cluster.members(), (1,))
        self.assertEqual(self.cluster.nodeid, 1)
        self.assertFalse(self.cluster.synchronizing())

    def test_guarantee(self) -> None:
        """
        While a message is delivered an engine can ask whether it came as a
        safe one.
        """
        probe, heard = self.net.probes[1, 2], []
        self.patch(
            type(probe),
            "messageDelivered",
            lambda *_: heard.append(self.cluster.guarantee()),
        )
        for guarantee in (Guarantee.SAFE, Guarantee.FIFO, Guarantee.SAFE):
            self.cluster.multicast(3, b"body", guarantee)
        self.net.run()
        self.assertEqual(heard, [Guarantee.SAFE, Guarantee.AGREED, Guarantee.SAFE])

    def test_whenStable(self) -> None:
        """
        An engine is told when all members have what it has got so far.
        """
        net = probed(1, 2)
        net.form(1, 2)
        net.run()
        heard: list[tuple[int, ...]] = []
        cluster = net.probes[1, 2].cluster
        net.probes[2, 2].cluster.multicast(3, b"body")
        net.visit(2)
        net.receive(1)
        cluster.whenStable(heard.append)
        net.visit(1)
        self.assertEqual(heard, [])
        net.receive(2)
        net.visit(1)
        self.assertEqual(heard, [(1, 2)])

    def test_lease(self) -> None:
        """
        The lease is told on the clock of C{now}; -1 stands for none.  (C22)
        """
        self.assertEqual(self.cluster.leaseEnds(), -1)
        self.net.nodes[1].totem.lease = 2.5
        self.assertEqual(self.cluster.leaseEnds(), 2_500_000_000)

    def test_nodeStatus(self) -> None:
        """
        What is known of a node below the ring is handed on.
        """
        status = NodeStatus(1, True, (), 0.0)
        self.net.nodes[1].totem.statuses[1] = status
        self.assertIs(self.cluster.nodeStatus(1), status)
        self.assertRaises(NotExist, self.cluster.nodeStatus, 2)

    def test_higherNumber(self) -> None:
        """
        What a service says whose number real corosync nodes have no place for
        travels where they do not look, and arrives all the same.
        """
        net = probed(1, serviceIds=(LAST_SHARED, LAST_SHARED + 1))
        ring = net.form(1)
        net.run()
        for service in (LAST_SHARED, LAST_SHARED + 1):
            net.probes[1, service].cluster.multicast(3, b"body")
        net.run()
        shared, own = (message for _, message in ring.order[-2:])
        self.assertEqual(
            shared, address(SERVICES_GROUP, header(LAST_SHARED, 3, b"body"))
        )
        self.assertTrue(own.startswith(address(compact.GROUP, b"")))
        for service in (LAST_SHARED, LAST_SHARED + 1):
            probe = net.probes[1, service]
            self.assertIn((service, "message", 1, 3, b"body"), probe.calls)
