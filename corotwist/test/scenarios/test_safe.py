"""
Stories of safe messages: nobody delivers what somebody lacks.
"""

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator import Cluster
from corotwist.totem.membership import Guarantee


class SafeStories(SynchronousTestCase):
    def begin(self) -> Cluster:
        cluster = Cluster(3, 1, boot=False)
        cluster.boot(1, 2, 3)
        cluster.settle()
        return cluster

    def test_waitsForAll(self) -> None:
        """
        A safe message is not delivered before everybody has it, nor is what
        comes behind it; then all of it is, in order (A103, D31).
        """
        cluster = self.begin()
        cluster.drop("data", target=3, count=inf)
        cluster.multicast(1, b"safe", Guarantee.SAFE)
        cluster.run(0.01)
        cluster.multicast(2, b"behind")
        cluster.run(0.01)
        self.assertEqual([self.heard(cluster, n) for n in (1, 2, 3)], [[], [], []])
        cluster.forget()
        cluster.settle()
        for nodeid in (1, 2, 3):
            self.assertEqual(self.heard(cluster, nodeid), [b"safe", b"behind"])

    def test_agreedDoesNotWait(self) -> None:
        """
        An agreed message is delivered where it is received.
        """
        cluster = self.begin()
        cluster.drop("data", target=3, count=inf)
        cluster.multicast(1, b"agreed")
        cluster.run(0.02)
        self.assertEqual(self.heard(cluster, 1), [b"agreed"])
        self.assertEqual(self.heard(cluster, 2), [b"agreed"])
        self.assertEqual(self.heard(cluster, 3), [])

    def test_partition(self) -> None:
        """
        What nobody else received is delivered when its sender is alone: in the
        transitional configuration, where it is safe.
        """
        cluster = self.begin()
        cluster.drop("data", source=1, target=2, count=inf)
        cluster.drop("data", source=1, target=3, count=inf)
        cluster.multicast(1, b"safe?", Guarantee.SAFE)
        cluster.run(0.05)
        self.assertEqual(self.heard(cluster, 1), [])
        cluster.partition({1}, {2, 3})
        cluster.run(6.0)
        self.assertEqual(self.heard(cluster, 1), [b"safe?"])
        self.assertEqual(self.heard(cluster, 2), [])

    def test_crash(self) -> None:
        """
        Whoever sent it and dies before everybody has it has not delivered it;
        those who go on have it if one of them does, all of them.  (D31)
        """
        for missing, left in (({2}, [b"safe"]), ({2, 3}, [])):
            cluster = self.begin()
            for nodeid in missing:
                cluster.drop("data", target=nodeid, count=inf)
            cluster.multicast(1, b"safe", Guarantee.SAFE)
            cluster.run(0.05)
            self.assertEqual(self.heard(cluster, 1), [])
            cluster.kill(1)
            cluster.forget()
            cluster.settle(among={2, 3})
            self.assertEqual([self.heard(cluster, n) for n in (2, 3)], [left, left])

    def test_otherGuarantees(self) -> None:
        """
        What is asked to be unordered, FIFO or agreed comes in one order, also
        among each other and when datagrams are lost: nothing is weaker than it
        was asked to be.  (D28, D29, D30)
        """
        cluster = self.begin()
        cluster.drop("data", target=2, count=5)
        cluster.drop("data", target=3, count=3)
        sent: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
        for number in range(4):
            for guarantee in Guarantee:
                for nodeid, texts in sent.items():
                    texts.append(
                        b"%d %s %d" % (nodeid, guarantee.name.encode(), number)
                    )
                    cluster.multicast(nodeid, texts[-1], guarantee)
            cluster.run(0.003)
        cluster.settle()
        order = self.heard(cluster, 1)
        for nodeid, texts in sent.items():
            self.assertEqual(self.heard(cluster, nodeid), order)
            own = [text for text in order if text.startswith(b"%d " % nodeid)]
            self.assertEqual(own, texts)

    def heard(self, cluster: Cluster, nodeid: int) -> list[bytes]:
        return [*cluster.running(nodeid).application.log]
