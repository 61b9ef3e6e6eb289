"""
Stories about large messages, small ones, and half ones.  [pitfalls G]
"""

from itertools import product

from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.test.scenarios.story import FOREVER, A, B, C, Story, ring

# A frame's worth of message is about this much.
FRAME = 1360


class PackingTests(Story):
    """
    Messages of every size.
    """

    def test_joiningInTheMiddle(self) -> None:
        """
        G1, G2: one who joins while others send large messages gets all that
        begin after it, and nothing broken.
        """
        cluster = Cluster(3, boot=False, seed=1)
        cluster.boot(A, C)
        cluster.settle()
        for number in range(25):
            self.send(cluster, A, b"a%02d" % number * 10_000)
            self.send(cluster, C, b"c%02d" % number * 10_000)
            if number == 10:
                cluster.boot(B)
        cluster.settle()
        self.assertSame(cluster, (A, C))
        self.assertEndsLike(cluster, B, A)
        self.assertTrue(len(cluster.nodes[B].log) >= 20)

    def test_boundaries(self) -> None:
        """
        G3: sizes round the ends of one and two frames, in all orders, arrive
        as they were sent.
        """
        frame = self.formed(1).running(A).service._frameBytes
        around = [n * frame - 15 + d for n in (1, 2) for d in range(-14, 6)]
        cluster = self.formed(2)
        sent = []
        for first, second in product((0, 1, 7), around):
            sent += [bytes([first]) * first, bytes([second % 256]) * second]
        self.send(cluster, A, *sent)
        cluster.settle()
        self.assertEqual(cluster.nodes[B].log, sent)

    def test_largestThenMore(self) -> None:
        """
        G4: the largest message, and others right behind it.
        """
        cluster = self.formed(2, timing=timingFor(windowSize=200, maxMessages=100))
        sent = [b"x" * ((1 << 20) - 1024 - 64), b"y" * 300_000, b"z" * 10]
        self.send(cluster, A, *sent)
        cluster.settle()
        self.assertTrue(cluster.nodes[B].log == sent)

    def test_twoLivesOfASender(self) -> None:
        """
        G5: half a message of a node that died is not glued to one of its next
        process.
        """
        for moment in (0.002, 0.003, 0.004):
            cluster = self.formed(seed=1)
            self.send(cluster, A, b"1" * 200_000)
            cluster.run(moment)
            self.assertEqual(cluster.nodes[B].log, [])
            cluster.kill(A)
            cluster.run(0.1)
            cluster.boot(A)
            cluster.settle(stay=False)
            self.send(cluster, A, b"2" * 200_000)
            cluster.settle()
            self.assertEqual(cluster.nodes[B].log, [b"2" * 200_000])
            self.assertSame(cluster)

    def test_restartsWhileSending(self) -> None:
        """
        G6: one node restarts again and again while another sends large
        messages on a lossy network; all are whole, and services always get in
        step.
        """
        cluster = self.formed(seed=2, timing=timingFor(0.3))
        cluster.faults = Faults(loss=0.02, delay=0.001)
        cluster.load(rate=10, seconds=10, sizes=(100_000,), nodeids=(A,))
        for _ in range(4):
            cluster.run(1.2)
            cluster.kill(B)
            cluster.run(0.8)
            cluster.boot(B)
        cluster.run(3)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster, (A, C))
        self.assertTrue(len(cluster.nodes[A].log) > 50)

    def test_manyBreaks(self) -> None:
        """
        G7: break numbers wrap; a receiver that loses its ring in between has
        whole messages only.
        """
        cluster = self.formed(seed=3)
        sent = [bytes([n % 256]) * 2_500 for n in range(700)]
        for number, message in enumerate(sent):
            self.send(cluster, A, message)
            if number == 350:
                cluster.partition({A, C}, {B})
                cluster.run(3)
                cluster.heal()
        cluster.settle()
        self.assertEqual(cluster.nodes[C].log, sent)
        self.assertTrue(set(cluster.nodes[B].log) <= set(sent))
        self.assertEqual(cluster.nodes[B].log[-1], sent[-1])

    def test_noRoom(self) -> None:
        """
        G8: a message is queued whole or not at all.
        """
        cluster = self.formed()
        accepted = []
        for number in range(100_000):
            if not cluster.multicast(A, b"%d" % number * 1000):
                break
            accepted.append(number)
        else:
            self.fail("there is always room")
        self.assertEqual(len(cluster.nodes[A].log), 0)
        cluster.settle(stay=False)
        self.assertEqual(len(cluster.nodes[B].log), len(accepted))
        self.send(cluster, A, b"again")
        cluster.settle()
        self.assertEqual(cluster.nodes[B].log[-1], b"again")

    def test_synchronizationHasItsOwnRoom(self) -> None:
        """
        G9: with a full queue, services synchronize all the same.
        """
        cluster = self.formed()
        cluster.drop("token", count=FOREVER)
        while cluster.multicast(A, b"x" * 1000):
            pass
        cluster.run(1.5)
        cluster.forget()
        cluster.kill(C)
        cluster.settle(within=5)
        self.assertEqual(ring(cluster, A).outbox, ring(cluster, A).ordinary)
        self.assertSame(cluster, (A, B))

    def test_empty(self) -> None:
        """
        G10: empty messages are delivered as such.
        """
        cluster = self.formed()
        self.send(cluster, A, b"", b"1", b"", b"", b"2" * 3000, b"")
        cluster.settle()
        self.assertEqual(cluster.nodes[C].log, [b"", b"1", b"", b"", b"2" * 3000, b""])

    def test_chainAcrossRings(self) -> None:
        """
        G11: a message that a change of the ring cuts in two is delivered
        whole, once, by all who go on, the newcomer included if it is sent
        again.
        """
        for moment in range(1, 8):
            cluster = self.formed(seed=moment)
            self.send(cluster, A, b"1" * 150_000, b"2" * 150_000, b"3" * 10)
            cluster.run(moment * 0.0015)
            cluster.kill(C)
            cluster.boot(C)
            cluster.settle()
            self.assertEqual(
                [len(m) for m in cluster.nodes[B].log], [150_000, 150_000, 10]
            )
            self.assertSame(cluster, (A, B))
            self.assertEndsLike(cluster, C, A)

    def test_lostPieces(self) -> None:
        """
        Pieces lost, doubled and out of order make whole messages.
        """
        cluster = self.formed(seed=5)
        cluster.faults = Faults(loss=0.05, duplication=0.05, reorder=0.05)
        cluster.load(rate=20, seconds=2, sizes=(1, 500, FRAME, 2 * FRAME, 50_000))
        cluster.run(4)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster)

    def test_sealed(self) -> None:
        """
        With a key, datagrams that were damaged, copied or cut short change
        nothing.
        """
        cluster = self.formed(seed=6, key=bytes(range(32)))
        cluster.faults = Faults(
            corruption=0.05, truncation=0.05, duplication=0.1, reorder=0.05
        )
        cluster.load(rate=50, seconds=1, sizes=(10, 3000))
        cluster.run(3)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster)
        statistics = cluster.running(A).service.statistics()
        dropped = [k for k in statistics if k.startswith("dropped.")]
        self.assertTrue(dropped, statistics)
