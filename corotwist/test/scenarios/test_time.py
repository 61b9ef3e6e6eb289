"""
Stories about clocks, pauses and restarts.  [pitfalls F]
"""

from corotwist.simulator import timingFor
from corotwist.test.scenarios.story import (
    A,
    B,
    C,
    Story,
    changes,
    installs,
    ring,
)


class TimeTests(Story):
    """
    Nodes that are not always there.
    """

    def test_longPause(self) -> None:
        """
        F1: after a pause of five seconds there is one departure and one
        merge, not one gather for each message that waited.
        """
        for seed in range(6):
            cluster = self.formed(seed=seed)
            before = changes(cluster)
            gathers = ring(cluster, A).statistics.gathersEntered
            cluster.pause(A, 5)
            cluster.run(5)
            self.assertEqual(cluster.nodes[B].members, (B, C))
            cluster.settle(within=3)
            self.assertTrue(installs(cluster, before) <= 3, changes(cluster))
            entered = ring(cluster, A).statistics.gathersEntered - gathers
            self.assertTrue(entered <= 12, entered)

    def test_shortPause(self) -> None:
        """
        F2: after a pause that leaves time for the token, which waits in the
        socket, no loss is declared.
        """
        for seed in range(12):
            cluster = self.formed(seed=seed)
            cluster.run(0.5 + seed * 0.013)
            before = changes(cluster)
            cluster.pause(B, 0.75)
            cluster.run(3)
            self.assertEqual(changes(cluster), before)

    def test_pauseUnderLoad(self) -> None:
        """
        F2: the same with messages on their way.
        """
        for seed in range(4):
            cluster = self.formed(seed=seed)
            cluster.load(rate=100, seconds=2)
            cluster.run(0.2)
            cluster.pause(C, 0.4)
            self.assertQuiet(cluster, 1.8)
            cluster.settle()
            self.assertSame(cluster)

    def test_mediumPause(self) -> None:
        """
        A pause of a little more than the token timeout costs one new ring, of
        the same members.
        """
        cluster = self.formed()
        cluster.run(1)
        before = changes(cluster)
        cluster.pause(B, 1.3)
        cluster.run(1.3)
        cluster.settle()
        self.assertTrue(installs(cluster, before) <= 2, changes(cluster))
        self.assertEqual(cluster.nodes[B].members, (A, B, C))

    def test_timers(self) -> None:
        """
        F3: the token is given up after the token timeout, and the silent
        after the consensus timeout, to the millisecond.
        """
        cluster = self.formed(2)
        cluster.run(10)
        lost = cluster.timing.token
        cluster.kill(B)
        start = cluster.seconds()
        gathers = ring(cluster, A).statistics.gathersEntered
        cluster.runUntil(
            lambda: ring(cluster, A).statistics.gathersEntered > gathers, within=2
        )
        gave = cluster.seconds()
        self.assertTrue(lost - cluster.timing.hold - 0.01 < gave - start < lost + 0.01)
        cluster.runUntil(lambda: cluster.nodes[A].members == (A,), within=2)
        self.assertTrue(
            abs(cluster.seconds() - gave - cluster.timing.consensus) < 0.015,
            cluster.seconds() - gave,
        )

    def test_restartBeforeAnybodyNoticed(self) -> None:
        """
        F4: one that restarts within 200 ms left and joined.
        """
        cluster = self.formed()
        cluster.kill(C)
        cluster.run(0.2)
        cluster.boot(C)
        cluster.settle(within=0.1)
        transitional, regular = cluster.nodes[A].configurations[-2:]
        self.assertEqual((transitional.members, transitional.left), ((A, B), (C,)))
        self.assertEqual((regular.members, regular.joined), ((A, B, C), (C,)))

    def test_drift(self) -> None:
        """
        Clocks that run up to a tenth too fast or too slow make no difference.
        """
        cluster = self.formed(5, seed=1, drift=0.1)
        cluster.load(rate=50, seconds=2)
        cluster.run(2)
        cluster.kill(A)
        cluster.settle()
        self.assertSame(cluster, (2, 3, 4, 5))

    def test_shortTimeout(self) -> None:
        """
        F6: a token timeout of 30 ms works, and so does one of an hour.
        """
        for token in (0.03, 3600.0):
            cluster = self.formed(timing=timingFor(token))
            cluster.load(rate=100, seconds=0.2)
            cluster.run(0.2)
            cluster.settle(stay=False)
            self.assertSame(cluster)
            cluster.stop(C)
            cluster.settle(within=1, stay=False)

    def test_permuted(self) -> None:
        """
        Whatever the order of simultaneous events, all goes well.
        """
        for seed in range(5):
            cluster = self.formed(4, seed=seed, permute=True)
            cluster.load(rate=50, seconds=1)
            cluster.run(0.5)
            cluster.kill(B)
            cluster.settle()
            self.assertSame(cluster, (1, 3, 4))
