"""
What is demanded in quiet, and of networks that stay bad.
"""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import sync
from corotwist.engines.cpg import GroupsEngine
from corotwist.simulator import Cluster, Faults, PromiseBroken, timingFor
from corotwist.simulator.demands import CHANGES_OF_THE_DEAF
from corotwist.totem import ordering
from corotwist.totem.gather import Gather
from corotwist.totem.ring import Ring
from corotwist.totem.wire import Token


class DemandTests(SynchronousTestCase):
    """
    Kept by the ring as it is.
    """

    def test_reform(self) -> None:
        """
        L4: crashes and partitions become new rings soon, though some
        datagrams are lost.
        """
        for seed in range(3):
            cluster = Cluster(5, seed, Faults(loss=0.05))
            cluster.settle()
            cluster.kill(1)
            cluster.reform()
            cluster.partition({2, 3}, {4, 5})
            cluster.reform()

    def test_oneWay(self) -> None:
        """
        L8: standing links of one direction change the ring at a bounded rate.
        """
        for source, target in ((1, 2), (2, 1), (3, 1)):
            cluster = Cluster(3, 1)
            cluster.settle()
            cluster.cut(source, target)
            cluster.run(5.0)
            cluster.steady()

    def test_deaf(self) -> None:
        """
        L7: a member that gets no data of the others excludes itself, and stays
        away the longer the more often.
        """
        cluster = Cluster(3, 1, timing=timingFor(failReceive=50))
        cluster.settle()
        for source in (1, 2):
            cluster.link(source, 3).faults = Faults(lossOf={"data": 1.0})
        cluster.load(5.0, 80.0, nodeids=(1, 2))
        cluster.run(50.0)
        self.assertEqual(cluster.nodes[1].members, (1, 2))
        cluster.steady("L7", CHANGES_OF_THE_DEAF)

    def test_oneWayAgain(self) -> None:
        """
        L8: so is a node that hears nobody, though all hear it.
        """
        cluster = Cluster(3, 1)
        cluster.settle()
        for source in (1, 2):
            cluster.cut(source, 3)
        cluster.run(5.0)
        cluster.steady()

    def test_idle(self) -> None:
        """
        L6, L9: in quiet the token is held, and services are in step soon.
        """
        for services in (False, True):
            cluster = Cluster(4, 1, services=services)
            cluster.settle()
            cluster.kill(2)
            cluster.settle()


class AwakeTests(SynchronousTestCase):
    """
    Deliberate errors.
    """

    def assertBroken(self, promise: str, cluster: Cluster, *events: Any) -> None:
        with self.assertRaises(PromiseBroken) as raised:
            for event in events:
                event()
        self.assertEqual(raised.exception.violation.promise, promise)

    def test_neverHolds(self) -> None:
        """
        L6: a ring that never holds its token.
        """
        watch = ordering.watchIdleness

        def busy(ring: Ring, token: Token) -> None:
            watch(ring, token)
            ring.idle = ring.idle and ring.tokenTo == ring.nodeid

        self.patch(ordering, "watchIdleness", busy)
        cluster = Cluster(2, 1)
        self.assertBroken("L6", cluster, cluster.settle)

    def test_neverInStep(self) -> None:
        """
        S9: a service that never finishes is not a ring that never forms.
        """
        self.patch(GroupsEngine, "synchronize", lambda engine: False)
        cluster = Cluster(2, 1, services=True)
        self.assertBroken("S9", cluster, cluster.settle)

    def test_slowStep(self) -> None:
        """
        L9: a service that finishes after many rotations.
        """
        asked = {"times": 0}
        process = sync.Synchronization._process

        def slow(self: sync.Synchronization) -> None:
            asked["times"] += 1
            if not asked["times"] % 30:
                process(self)

        self.patch(sync.Synchronization, "_process", slow)
        cluster = Cluster(2, 1, services=True)
        self.assertBroken("L9", cluster, cluster.settle)

    def test_slowToReform(self) -> None:
        """
        L4: a ring that takes its time.
        """
        expired = Gather.timeoutExpired

        def late(state: Gather, ring: Ring, name: str) -> None:
            if name == "consensus" and ring.now < 9.0:
                ring.arm(name, ring.timing.consensus)
            else:
                expired(state, ring, name)

        self.patch(Gather, "timeoutExpired", late)
        cluster = Cluster(3, 1)
        cluster.settle()
        cluster.kill(3)
        self.assertBroken("L4", cluster, cluster.reform)

    def test_unsteady(self) -> None:
        """
        L8: a ring that changes all the time.
        """
        cluster = Cluster(3, 1)
        cluster.settle()

        def again() -> None:
            both = cluster.link(1, 3), cluster.link(3, 1)
            others = cluster.link(2, 3), cluster.link(3, 2)
            for link in both + others:
                link.cut = not link.cut
            cluster.clock.callLater(1.6, again)

        again()
        self.assertBroken("L7", cluster, lambda: cluster.steady("L7", 1))
