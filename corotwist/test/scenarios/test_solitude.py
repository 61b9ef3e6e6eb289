"""
Stories about processors that cannot receive.
"""

from math import inf
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator import Cluster, timingFor
from corotwist.totem.states import In

TIMING: Final = timingFor(failReceive=300)
TEN: Final = 10 * TIMING.consensus


class SolitudeTests(SynchronousTestCase):
    """
    Node 3 gets tokens and joins, but no data.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(3, seed=11, timing=TIMING)
        self.cluster.settle()

    def deaf(self) -> None:
        """
        From now on, and it has been noticed.
        """
        self.cluster.drop("data", target=3, count=inf)
        self.cluster.load(5.0, 200.0, nodeids=[1])
        node = self.cluster.nodes[3]
        self.assertTrue(self.cluster.runUntil(lambda: node.members == (3,), 10.0))

    def test_doesNotFlap(self) -> None:
        """
        In the long run the others see at most one change in ten consensus
        times. [pitfall A13] [EVS L7]
        """
        self.deaf()
        self.cluster.run(60.0)  # Of longer and longer solitudes.
        before = len(self.cluster.nodes[1].configurations)
        self.cluster.run(10 * TEN)
        regular = [
            c
            for c in self.cluster.nodes[1].configurations[before:]
            if not c.transitional
        ]
        self.assertTrue(regular, "it never tries again")
        self.assertTrue(len(regular) <= 10, regular)

    def test_keepsToItself(self) -> None:
        """
        Meanwhile it sends nothing, however much its own clients do, and they
        are served.
        """
        self.deaf()
        count = self.cluster.network.counts
        self.cluster.nodes[3].log.clear()
        self.cluster.run(0.05)
        sent = self.cluster.running(3).port.counts["multicast"]
        self.cluster.multicast(3, b"alone")
        self.cluster.run(0.3)
        self.assertIn(b"alone", self.cluster.nodes[3].log)
        self.assertEqual(self.cluster.running(3).port.counts["multicast"], sent)
        self.assertEqual(self.cluster.nodes[1].members, (1, 2))
        self.assertTrue(count["scripted"], "nothing was lost")

    def test_comesBack(self) -> None:
        """
        As soon as it hears everything again, it is back, however long it
        would have kept to itself.
        """
        self.deaf()
        node = self.cluster.nodes[3]
        for _ in range(3):
            self.cluster.runUntil(lambda: len(node.members) == 3, 60.0)
            self.cluster.runUntil(lambda: node.members == (3,), 60.0)
        self.cluster.run(0.1)
        self.cluster.forget()
        self.cluster.load(500.0, 2.0, nodeids=[2])
        self.assertTrue(self.cluster.runUntil(lambda: len(node.members) == 3, 1.0))
        self.cluster.run(3.0)
        self.assertIs(node.state, In.OPERATIONAL)
        self.assertEqual(len(node.members), 3)

    def test_reenabled(self) -> None:
        """
        And at once when somebody says that it can receive again, without any
        traffic that shows it. (A102)
        """
        self.deaf()
        node = self.cluster.nodes[3]
        for _ in range(3):
            self.cluster.runUntil(lambda: len(node.members) == 3, 60.0)
            self.cluster.runUntil(lambda: node.members == (3,), 60.0)
        self.cluster.run(6.0)  # The load is over.
        self.cluster.forget()
        self.assertEqual(node.members, (3,))
        self.assertGreater(node.solitude, 1.0)
        self.cluster.running(3).service.reenable()
        self.assertTrue(self.cluster.runUntil(lambda: len(node.members) == 3, 1.0))
