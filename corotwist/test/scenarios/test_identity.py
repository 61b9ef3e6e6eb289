"""
Stories about numbers, names and disks.  [pitfalls E]
"""

from functools import partial

from corotwist.errors import StorageRefused
from corotwist.simulator import Cluster, Faults
from corotwist.test.scenarios.story import FOREVER, A, B, C, Story, ring
from corotwist.totem.states import In

WRAPS = (0, 0x7FFFF000, 0x7FFFFFFE, 0xFFFFFE00, 0xFFFFFFFE)


class IdentityTests(Story):
    """
    Rings whose names and numbers are put to the test.
    """

    def test_sequenceWraps(self) -> None:
        """
        E1, E3: message sequences that wrap, in operation and in recovery,
        change nothing.
        """
        logs = []
        for first in WRAPS:
            cluster = self.formed(seed=3, firstSequence=first)
            cluster.faults = Faults(loss=0.05)
            for number in range(300):
                self.send(cluster, 1 + number % 3, b"%d" % number * 200)
            cluster.run(0.05)
            cluster.kill(A)
            cluster.run(4)
            cluster.calm()
            cluster.settle()
            self.assertSame(cluster, (B, C))
            logs.append(len(cluster.nodes[B].log))
        self.assertTrue(all(count > 200 for count in logs), logs)

    def test_sequenceWrapsInSilence(self) -> None:
        """
        E1: without faults the wrap makes no difference at all.
        """
        logs = []
        for first in WRAPS:
            cluster = self.formed(seed=3, firstSequence=first)
            for number in range(600):
                self.send(cluster, 1 + number % 3, b"%d" % number * 200)
            cluster.settle(stay=False)
            logs.append(cluster.nodes[A].log)
        self.assertEqual(len(logs[0]), 600)
        self.assertEqual(logs, [logs[0]] * len(WRAPS))

    def test_tokenWraps(self) -> None:
        """
        E2: so do token sequences.
        """
        for first in (0xFFFFFFF0, 0xFFFFFFFF, 0x7FFFFFF0):
            cluster = self.formed(seed=3, firstTokenSequence=first)
            cluster.load(rate=100, seconds=0.3)
            cluster.duplicate("token", count=FOREVER, after=0.001)
            self.assertQuiet(cluster, 0.3)
            cluster.settle()
            self.assertSame(cluster)

    def test_largeRingSequence(self) -> None:
        """
        E4: ring sequences have 64 bits, everywhere.
        """
        cluster = Cluster(3, boot=False)
        cluster.nodes[A].disk.wrote((1 << 32) - 4)
        cluster.boot(A, B, C)
        cluster.settle()
        cluster.kill(C)
        cluster.settle()
        configuration = cluster.nodes[B].configuration
        assert configuration is not None
        self.assertTrue(configuration.ringId.sequence > 1 << 32)
        self.assertEqual(cluster.nodes[B].disk.durable, configuration.ringId.sequence)

    def test_fastRestart(self) -> None:
        """
        E5: one who is back before anybody noticed is a stranger to its ring.
        """
        for later in (0.0, 0.0001, 0.001, 0.05, 0.5):
            cluster = self.formed(seed=4)
            cluster.load(rate=100, seconds=0.2)
            cluster.run(0.1)
            cluster.kill(A)
            cluster.run(later)
            cluster.boot(A)
            cluster.settle(within=2.5)
            transitional, regular = cluster.nodes[B].configurations[-2:]
            self.assertIn(A, transitional.left)
            self.assertIn(A, regular.joined)
            self.assertSame(cluster, (B, C))

    def test_damagedDisk(self) -> None:
        """
        E6: a stored sequence that is gone is none: the node starts, and uses
        no name again.
        """
        cluster = self.formed()
        for nodeid in (A, B, C):
            cluster.kill(nodeid)
            cluster.boot(nodeid, fresh=True)
            cluster.settle()

    def test_unusableDisk(self) -> None:
        """
        E6: a state directory that cannot be used is a reason not to start.
        """
        cluster = Cluster(2, boot=False)
        cluster.nodes[A].disk.unusable = True
        self.assertRaises(StorageRefused, cluster.boot, A)
        self.assertFalse(cluster.nodes[A].up)
        cluster.boot(B)
        cluster.settle()
        cluster.nodes[A].disk.unusable = False
        cluster.boot(A)
        cluster.settle()

    def test_fullDisk(self) -> None:
        """
        E6: one whose disk is full is in no new ring, and keeps the others
        from none; when there is room again it is back.
        """
        cluster = self.formed()
        cluster.nodes[B].disk.refusing = True
        cluster.kill(C)
        cluster.run(10)
        self.assertEqual(cluster.nodes[B].members, (A, B, C))
        self.assertIsNot(cluster.nodes[B].state, In.OPERATIONAL)
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[A].members == (A,), within=10)
        )
        cluster.nodes[B].disk.refusing = False
        cluster.settle(within=12)
        self.assertEqual(cluster.nodes[A].members, (A, B))

    def test_representativeForgets(self) -> None:
        """
        E7: a representative that loses its disk again and again, with the
        others coming and going, names no two rings alike.
        """
        cluster = self.formed()
        for other in (B, C, B, C, B):
            cluster.kill(A)
            cluster.run(0.02)
            cluster.kill(other)
            cluster.boot(A, fresh=True)
            cluster.settle()
            cluster.boot(other)
            cluster.settle()
        names = [node.disk.history for node in cluster.nodes.values()]
        for history in names[1:]:
            self.assertEqual(history, sorted(set(history)))

    def test_heardOfHigher(self) -> None:
        """
        E8: a ring sequence heard from another counts, even if no ring came
        of it.
        """
        cluster = self.formed(2)
        cluster.kill(B)
        cluster.settle()
        cluster.nodes[B].disk.wrote(1 << 40)
        cluster.drop("commit", count=FOREVER)
        cluster.boot(B)
        cluster.run(0.5)
        cluster.kill(B)
        cluster.forget()
        cluster.settle(within=10)
        self.assertTrue(ring(cluster, A).ringId.sequence > 1 << 40)

    def test_crashWhileStoring(self) -> None:
        """
        E11: a crash between write and fsync leaves the old sequence or the
        new; no ring whose name is not stored was ever spoken of.
        """
        kept = set()
        for seed in range(12):
            cluster = self.formed(seed=seed)
            before = cluster.nodes[B].disk.durable
            cluster.whenState(
                In.COMMIT,
                partial(cluster.clock.callLater, 0.0001, cluster.kill, B),
                B,
            )
            cluster.kill(C)
            cluster.run(3)
            self.assertFalse(cluster.nodes[B].up)
            kept.add(cluster.nodes[B].disk.durable == before)
            cluster.boot(B)
            cluster.settle(within=8)
        self.assertEqual(kept, {True, False})
