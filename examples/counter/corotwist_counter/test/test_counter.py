"""
Stories of counters: three nodes, a newcomer, a partition, clients.
"""

from twisted.plugins.corotwist_counter_plugin import counter
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import NotExist, TooBig
from corotwist.simulator import Cluster
from corotwist_counter.ipc import Counters


class CounterStories(SynchronousTestCase):
    def begin(self, *nodes: int) -> Cluster:
        cluster = Cluster(3, 1, services=True, engines=[counter], boot=False)
        cluster.boot(*nodes)
        cluster.settle()
        return cluster

    def values(self, cluster: Cluster, name: str, *nodes: int) -> list[int]:
        return [cluster.engine(node, "counter").value(name) for node in nodes]

    def test_everywhere(self) -> None:
        """
        Additions on any node are counted on all, and each adder learns the
        value at its place in the order.
        """
        cluster = self.begin(1, 2, 3)
        adding = [cluster.engine(node, "counter").add("jobs", node) for node in (1, 3)]
        told = {cluster.wait(added) for added in adding}
        self.assertIn(told, ({1, 4}, {3, 4}))
        cluster.settle()
        self.assertEqual(self.values(cluster, "jobs", 1, 2, 3), [4, 4, 4])

    def test_newcomer(self) -> None:
        """
        A node that joins gets the counters from the others.
        """
        cluster = self.begin(1, 2)
        cluster.wait(cluster.engine(1, "counter").add("jobs", 7))
        cluster.boot(3)
        cluster.settle()
        self.assertEqual(self.values(cluster, "jobs", 1, 2, 3), [7, 7, 7])

    def test_partition(self) -> None:
        """
        After a partition the counters of the larger side count.
        """
        cluster = self.begin(1, 2, 3)
        cluster.wait(cluster.engine(1, "counter").add("jobs", 1))
        cluster.partition({1, 2}, {3})
        cluster.run(seconds=3.0)
        cluster.wait(cluster.engine(2, "counter").add("jobs", 10))
        cluster.wait(cluster.engine(3, "counter").add("jobs", 100))
        cluster.heal()
        cluster.settle()
        self.assertEqual(self.values(cluster, "jobs", 1, 2, 3), [11, 11, 11])

    def test_clients(self) -> None:
        """
        A program adds, reads, and is told of what others add.
        """
        cluster = self.begin(1, 2, 3)
        heard: list[tuple[str, int]] = []
        first, second = (Counters(cluster.connect(node)) for node in (1, 2))
        cluster.wait(second.watch(lambda name, value: heard.append((name, value))))
        self.assertEqual(cluster.wait(first.add("jobs")), 1)
        self.assertEqual(cluster.wait(first.add("jobs", -3)), -2)
        cluster.settle()
        self.assertEqual(cluster.wait(second.value("jobs")), -2)
        self.assertEqual(heard, [("jobs", 1), ("jobs", -2)])
        with self.assertRaises(NotExist):
            cluster.wait(second.value("other"))

    def test_refused(self) -> None:
        """
        What would not fit 64 bits changes nothing, anywhere.
        """
        cluster = self.begin(1, 2, 3)
        most = (1 << 63) - 1
        cluster.wait(cluster.engine(1, "counter").add("jobs", most))
        added = cluster.engine(2, "counter").add("jobs", 1)
        cluster.settle()
        self.failureResultOf(added, TooBig)
        self.assertEqual(self.values(cluster, "jobs", 1, 2, 3), [most] * 3)
