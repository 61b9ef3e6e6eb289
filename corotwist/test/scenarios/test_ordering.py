"""
Stories about the token and the order of messages.  [pitfalls A]
"""

from functools import partial

from corotwist.simulator import Faults, timingFor
from corotwist.test.scenarios.story import (
    FOREVER,
    ROTATION,
    A,
    B,
    C,
    Story,
    changes,
    ring,
    watchTokens,
)
from corotwist.totem.sequence import distance
from corotwist.totem.states import In
from corotwist.totem.wire import Token


class OrderingTests(Story):
    """
    Three nodes in one ring.
    """

    def test_copiedTokens(self) -> None:
        """
        A1: a copy of the token, at once or later, changes nothing.
        """
        for after in (0.0, 0.001, 0.03):
            cluster = self.formed(seed=1)
            cluster.duplicate("token", B, C, count=FOREVER, after=after)
            cluster.load(rate=100, seconds=0.5)
            before = changes(cluster)
            cluster.run(0.5)
            self.assertEqual(changes(cluster), before)
            cluster.settle()
            self.assertSame(cluster)
            self.assertTrue(len(cluster.nodes[A].log) > 100)

    def test_retransmittedTokenIsNoSignOfLife(self) -> None:
        """
        A2: while the token goes no further, copies of it do not keep anybody
        from seeing its loss.
        """
        cluster = self.formed()
        cluster.cut(C, A)
        cluster.run(1.1)
        for nodeid in (A, B, C):
            self.assertTrue(ring(cluster, nodeid).statistics.gathersEntered > 1)

    def test_releasedOnlyWhenAllHaveIt(self) -> None:
        """
        A3: with different gaps at two nodes, nobody forgets a message before
        everybody has it.
        """
        cluster = self.formed()
        cluster.drop("data", target=C, count=3, containing=b"m5")
        cluster.drop("data", target=B, count=1, containing=b"m3")
        checked: list[bool] = []

        def check(nodeid: int, token: Token) -> None:
            windows = [ring(cluster, n).window for n in (A, B, C)]
            checked.extend(
                distance(window.released, other.aru) >= 0
                for window in windows
                for other in windows
            )

        watchTokens(cluster, check)
        # One message to a frame.
        self.send(cluster, A, *(b"m%d" % n * 600 for n in range(10)))
        cluster.settle(stay=False)
        self.assertTrue(all(checked))
        self.assertSame(cluster)
        self.assertEqual(len(cluster.nodes[C].log), 10)

    def test_originatorDies(self) -> None:
        """
        A4: the only other node that has a message still has it when its
        sender dies.
        """
        cluster = self.formed()
        rule = cluster.drop("data", target=C, count=FOREVER, containing=b"m5")
        self.send(cluster, A, b"m5")
        cluster.run(0.1)
        self.assertEqual(cluster.nodes[B].log, [b"m5"])
        self.assertEqual(cluster.nodes[C].log, [])
        cluster.kill(A)
        rule.count = 0
        cluster.settle()
        self.assertEqual(cluster.nodes[C].log, [b"m5"])

    def test_lastMessageLost(self) -> None:
        """
        A5: the last message of a burst is missed though nothing follows it.
        """
        cluster = self.formed()
        cluster.drop("data", target=C, containing=b"m9")
        self.send(cluster, A, *(b"m%d" % n * 600 for n in range(10)))
        missCount = cluster.timing.missCount
        cluster.run((missCount + 2) * ROTATION + 0.005)
        self.assertEqual(len(cluster.nodes[C].log), 10)

    def test_slowMulticasts(self) -> None:
        """
        A6: messages slower than the token are waited for before they are
        asked for; asked for in vain, they come twice and are delivered once.
        """
        for late, each in ((2, 0), (10, 1)):
            cluster = self.formed()
            rule = cluster.delay("data", A, count=FOREVER, by=late * 0.0007)
            self.send(cluster, A, *(b"m%02d" % n * 400 for n in range(20)))
            cluster.run(0.002)
            rule.count = 0
            slow = rule.met / 2
            self.assertTrue(slow >= 17, slow)
            cluster.settle(stay=False)
            total = sum(
                ring(cluster, n).statistics.framesRetransmitted for n in (A, B, C)
            )
            self.assertEqual(total, each * slow, late)
            self.assertSame(cluster)

    def test_longGap(self) -> None:
        """
        A7: when the one missing message comes, all that waited for it is
        delivered at once, however much it is.
        """
        timing = timingFor(windowSize=300, maxMessages=100)
        cluster = self.formed(timing=timing)
        rule = cluster.drop("data", target=C, count=FOREVER, containing=b"first")
        self.send(cluster, A, b"first" * 200, *[b"x" * 1000] * 1100)
        self.assertTrue(
            cluster.runUntil(lambda: len(cluster.nodes[B].log) == 1101, within=2)
        )
        self.assertEqual(cluster.nodes[C].log, [])
        rule.count = 0
        cluster.settle(stay=False)
        self.assertEqual(len(cluster.nodes[C].log), 1101)
        self.assertSame(cluster)

    def test_deafNodeStopsTheWindow(self) -> None:
        """
        A8: one who gets tokens but no data stops the senders at the end of
        the window, and is out when it notices.
        """
        timing = timingFor(windowSize=1000, maxMessages=500, failReceive=900)
        cluster = self.formed(timing=timing)
        cluster.drop("data", target=C, count=FOREVER)
        ahead = []
        watchTokens(
            cluster,
            lambda nodeid, token: ahead.append(
                distance(token.allReceivedUpTo, token.sequence)
            ),
        )
        cluster.load(rate=20_000, seconds=0.6, sizes=(1300,), nodeids=(A, B))
        cluster.run(0.6)
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[A].members == (A, B), within=5)
        )
        self.assertTrue(15000 < max(ahead) <= 16384, max(ahead))
        cluster.forget()
        cluster.settle()
        self.assertSame(cluster, (A, B))

    def test_flowCount(self) -> None:
        """
        A9: through many changes of the ring under load, with copied tokens,
        the flow count stays what the members sent in a rotation.
        """
        cluster = self.formed(seed=3, timing=timingFor(0.2))
        most = cluster.timing.windowSize + cluster.timing.maxMessages
        counts = []
        watchTokens(cluster, lambda nodeid, token: counts.append(token.flowCount))
        cluster.duplicate("token", count=FOREVER, after=0.0003)
        cluster.load(rate=200, seconds=8, sizes=(10, 1000, 5000), nodeids=(A, B))
        for _ in range(10):
            cluster.kill(C)
            cluster.run(0.4)
            cluster.boot(C)
            cluster.run(0.4)
        cluster.settle()
        self.assertTrue(max(counts) > 5, max(counts))
        self.assertTrue(max(counts) <= most, max(counts))
        self.assertEqual(counts[-1], 0)

    def test_workEndsTheHold(self) -> None:
        """
        A11: on a ring that was idle for a minute a message is everywhere
        within 20 ms.
        """
        cluster = self.formed()
        cluster.run(60)
        tokens: list[int] = []
        watchTokens(cluster, lambda nodeid, token: tokens.append(nodeid))
        cluster.run(10)
        self.assertTrue(len(tokens) < 10 * 3 / cluster.timing.hold + 3, len(tokens))
        self.send(cluster, B, b"work")
        cluster.run(0.02)
        self.assertEqual([n.log for n in cluster.nodes.values()], [[b"work"]] * 3)

    def test_lostHoldCancel(self) -> None:
        """
        A11: when nobody hears that there is work, it waits for the held
        token, and no longer.
        """
        cluster = self.formed()
        cluster.run(60)
        rule = cluster.drop("cancel", count=FOREVER)
        self.send(cluster, B, b"work")
        cluster.run(cluster.timing.hold + 0.02)
        self.assertEqual([n.log for n in cluster.nodes.values()], [[b"work"]] * 3)
        self.assertTrue(rule.met > 0)

    def test_failureToReceive(self) -> None:
        """
        A13, B20: one who never receives data leaves the others alone, and
        when it can receive again it is back among them.
        """
        cluster = self.formed(timing=timingFor(failReceive=100))
        cluster.drop("data", target=C, count=FOREVER)
        self.send(cluster, A, b"m1")
        cluster.load(rate=50, seconds=5, nodeids=(A,))
        self.assertTrue(
            cluster.runUntil(
                lambda: (
                    cluster.nodes[A].members == cluster.nodes[B].members == (A, B)
                    and cluster.nodes[C].members == (C,)
                ),
                within=5,
            )
        )
        self.assertEqual(cluster.nodes[B].log[0], b"m1")
        cluster.forget()
        cluster.settle()
        self.assertFalse(ring(cluster, C).failedToReceive)

    def test_notIdleWhileSomebodyIsBehind(self) -> None:
        """
        A12: on a ring without other work, one message that a node can never
        receive costs it its place soon, and not after so many held tokens.
        """
        cluster = self.formed()
        cluster.run(10)
        cluster.drop("data", target=C, count=FOREVER)
        self.send(cluster, A, b"m1")
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[A].members == (A, B), within=10)
        )
        self.assertEqual(cluster.nodes[B].log, [b"m1"])

    def test_lateCopies(self) -> None:
        """
        A14: copies of messages that everybody has had for long are ignored.
        """
        cluster = self.formed(seed=2)
        cluster.duplicate("data", count=FOREVER, after=0.5)
        cluster.load(rate=500, seconds=1.0)
        cluster.run(2)
        cluster.settle()
        self.assertSame(cluster)
        duplicates = ring(cluster, B).statistics.framesDuplicate
        self.assertTrue(duplicates > 100, duplicates)

    def test_tokenLostAfterSending(self) -> None:
        """
        A15: the token lost by one who has just sent is sent again with the
        places it gave away.
        """
        cluster = self.formed()
        self.send(cluster, A, b"m0")
        cluster.run(0.05)
        rule = cluster.drop("token", C, A, skip=3)
        self.send(cluster, C, b"m7" * 400, b"m8" * 400)
        self.send(cluster, A, *(b"a%d" % n * 400 for n in range(9)))
        before = changes(cluster)
        cluster.run(0.5)
        self.assertEqual((rule.met, changes(cluster)), (1, before))
        cluster.settle()
        self.assertSame(cluster)
        self.assertEqual(len(cluster.nodes[B].log), 12)

    def test_tokenLostWithItsHolder(self) -> None:
        """
        A15: the token lost with one who has just sent: the others agree on
        what they got of it.
        """
        for skip in range(6):
            cluster = self.formed(seed=skip)
            self.send(cluster, C, *(b"c%d" % n * 400 for n in range(40)))
            self.send(cluster, A, *(b"a%d" % n * 400 for n in range(40)))
            cluster.whenSent(partial(cluster.kill, C), "data", C, skip=2 * skip)
            cluster.run(0.1)
            self.assertFalse(cluster.nodes[C].up)
            cluster.settle()
            self.assertSame(cluster, (A, B))

    def test_alone(self) -> None:
        """
        A16: a node alone orders all it has, and its timers are punctual.
        """
        cluster = self.formed(1)
        fired = []
        clock = cluster.running(A).clock
        for number in range(100):
            clock.callLater(0.01 * number, lambda: fired.append(clock.seconds()))
        start = clock.seconds()
        for number in range(10_000):
            self.send(cluster, A, b"%d" % number)
        cluster.settle(stay=False)
        cluster.run(1)
        self.assertEqual(cluster.nodes[A].log, [b"%d" % n for n in range(10_000)])
        late = max(t - (start + 0.01 * n) for n, t in enumerate(fired))
        self.assertEqual(len(fired), 100)
        self.assertTrue(late < 0.01, late)

    def test_lossyNetwork(self) -> None:
        """
        One datagram in ten lost changes when messages are delivered, not
        which, nor in what order.
        """
        cluster = self.formed(seed=7)
        cluster.faults = Faults(loss=0.1)
        for number in range(60):
            self.send(cluster, 1 + number % 3, b"%d" % number)
        cluster.run(5)
        self.assertSame(cluster)
        self.assertEqual(len(cluster.nodes[A].log), 60)

    def test_reordered(self) -> None:
        """
        Datagrams that overtake each other and come twice make no difference
        either.
        """
        cluster = self.formed(seed=8)
        cluster.faults = Faults(reorder=0.2, reorderBy=0.005, duplication=0.2)
        cluster.load(rate=100, seconds=1, sizes=(10, 1000, 4000))
        cluster.run(3)
        self.assertSame(cluster)
        self.assertTrue(len(cluster.nodes[A].log) > 200)

    def test_slowNode(self) -> None:
        """
        A node that takes 2 ms for everything slows the others down, and
        breaks nothing.
        """
        cluster = self.formed(seed=9)
        cluster.slow(B, 0.002)
        cluster.load(rate=30, seconds=1)
        self.assertQuiet(cluster, 1)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster)

    def test_eightNodes(self) -> None:
        """
        Rings of every size from 1 to 8 order what all of them send.
        """
        for size in range(1, 9):
            cluster = self.formed(size, seed=size)
            cluster.load(rate=20, seconds=0.5)
            cluster.run(0.5)
            cluster.settle(stay=False)
            self.assertSame(cluster)
            self.assertTrue(len(cluster.nodes[A].log) >= 3 * size)
            self.assertEqual(
                {node.state for node in cluster.nodes.values()}, {In.OPERATIONAL}
            )
