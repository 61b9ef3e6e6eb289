"""
Stories about finding out who is here.  [pitfalls B]
"""

from corotwist.simulator import Cluster, timingFor
from corotwist.test.scenarios.story import (
    FOREVER,
    ROTATION,
    A,
    B,
    C,
    D,
    E,
    Story,
    capture,
    changes,
    installs,
    ring,
)
from corotwist.totem.membership import RingId
from corotwist.totem.states import In
from corotwist.totem.wire import Join, MergeDetect, decode

CONSENSUS = 1.2


class GatherTests(Story):
    """
    Rings that lose and find each other.
    """

    def join(
        self,
        cluster: Cluster,
        source: int,
        processors: tuple[int, ...],
        failed: tuple[int, ...] = (),
        sequence: int | None = None,
    ) -> bytes:
        if sequence is None:
            sequence = ring(cluster, source).ringId.sequence
        return Join(source, source, processors, failed, sequence).encode()

    def test_mutuallyFailed(self) -> None:
        """
        B1: two who gave each other up at the same time find each other again.
        """
        cluster = self.formed()
        cluster.kill(C)
        cluster.partition({A}, {B})
        self.assertTrue(
            cluster.runUntil(
                lambda: (
                    cluster.nodes[A].members == (A,)
                    and cluster.nodes[B].members == (B,)
                ),
                within=4,
            )
        )
        cluster.heal()
        cluster.settle(within=3 * CONSENSUS)
        self.assertEqual(cluster.nodes[A].members, (A, B))

    def test_staleJoin(self) -> None:
        """
        B2, B14: joins of a gather that is over do not start another.
        """
        cluster = self.formed(2)
        cluster.duplicate("join", count=FOREVER, after=0.5)
        cluster.kill(B)
        cluster.run(0.01)
        cluster.boot(B)
        cluster.run(0.4)
        self.assertTrue(cluster.formed())
        cluster.forget()
        self.assertQuiet(cluster, 2)
        self.assertTrue(cluster.network.counts["scripted"] > 3)

    def test_sameSets(self) -> None:
        """
        B3: a member that gathers with the very sets of the ring is followed
        at once, not when the token is lost.
        """
        cluster = self.formed()
        join = self.join(cluster, C, (A, B, C))
        before = cluster.nodes[A].configuration
        cluster.inject(C, A, join)
        self.assertIs(cluster.nodes[A].state, In.GATHER)
        cluster.settle(within=CONSENSUS / 2)
        self.assertNotEqual(cluster.nodes[A].configuration, before)

    def test_everybodyFailed(self) -> None:
        """
        B4: a join that calls everybody failed, ourselves included, harms
        nobody for long.
        """
        cluster = self.formed()
        sequence = ring(cluster, A).ringId.sequence
        for source in (A, C):
            for failed in ((A, B, C), (B,), (A, C), (A, B, C, D)):
                join = self.join(cluster, source, (A, B, C), failed, sequence + 4)
                cluster.inject(source, B, join)
                cluster.run(0.003)
                cluster.inject(source, A, join)
                self.assertNotIn(B, ring(cluster, B).failed)
        cluster.settle()
        self.assertEqual(cluster.nodes[B].members, (A, B, C))

    def test_oldConflict(self) -> None:
        """
        B5: what a stranger thinks of our members is not taken over.
        """
        cluster = self.formed(4)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        join = self.join(cluster, C, (A, B, C, D), failed=(B,))
        cluster.inject(C, A, join)
        self.assertNotIn(B, ring(cluster, A).failed)
        cluster.heal()
        cluster.settle()
        self.assertEqual(cluster.nodes[B].members, (A, B, C, D))

    def test_twoBusyRings(self) -> None:
        """
        B6: two rings under load that meet become one, and do not exclude each
        other for ever.
        """
        for seed in range(10):
            cluster = self.formed(7, seed=seed)
            cluster.partition({1, 4, 5, 6}, {2, 3, 7})
            cluster.load(rate=20, seconds=12)
            cluster.settle(stay=False)
            cluster.run(0.1)
            cluster.heal()
            cluster.settle(within=3, stay=False)
            self.assertTrue(max(changes(cluster)) <= 14, changes(cluster))

    def test_restartsThenLeave(self) -> None:
        """
        B7: after two restarts and a leave the other two are a ring.
        """
        cluster = self.formed()
        for nodeid in (C, B):
            cluster.stop(nodeid)
            cluster.run(0.1)
            cluster.boot(nodeid)
            cluster.settle()
        cluster.stop(A)
        cluster.settle(within=0.1)
        self.assertEqual(cluster.nodes[B].members, (B, C))

    def test_leave(self) -> None:
        """
        B8: a clean leave costs no timeout, and is known as one.
        """
        cluster = self.formed()
        cluster.stop(C)
        self.assertTrue(cluster.runUntil(cluster.formed, within=10 * ROTATION + 0.01))
        transitional, regular = cluster.nodes[A].configurations[-2:]
        self.assertEqual((transitional.left, regular.members), ((C,), (A, B)))
        self.assertIn("left", regular.cause)

    def test_everybodyLeaves(self) -> None:
        """
        B8: the last who leaves leaves quietly.
        """
        cluster = self.formed()
        cluster.stop(A, B, C)
        cluster.run(5)
        self.assertEqual(cluster.live, [])
        cluster.boot(A, B, C)
        cluster.settle()

    def test_leaveInTheMiddle(self) -> None:
        """
        B9: a leave is effective whatever the others are doing, and messages
        of the leaver's last moments are the same for all.
        """
        for moment in range(1, 12):
            cluster = self.formed(seed=moment)
            cluster.load(rate=200, seconds=0.05)
            cluster.run(0.01 + moment * 0.0003)
            cluster.stop(C)
            cluster.settle(within=0.3, stay=False)
            self.assertSame(cluster, (A, B))

    def test_representativeDies(self) -> None:
        """
        B10: the one who was to propose the ring dies when all had agreed.
        """
        cluster = self.formed()
        cluster.kill(C)
        cluster.whenState(In.COMMIT, lambda: cluster.kill(A), A)
        cluster.run(4)
        self.assertFalse(cluster.nodes[A].up)
        cluster.settle()
        self.assertEqual(cluster.nodes[B].members, (B,))

    def test_idleRingsMerge(self) -> None:
        """
        B11: idle rings find each other within a merge and a consensus time.
        """
        cluster = self.formed(4)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        cluster.run(30)
        cluster.heal()
        cluster.settle(within=cluster.timing.merge + CONSENSUS)

    def test_busyRingsMerge(self) -> None:
        """
        B11: rings under full load do so too.
        """
        cluster = self.formed(4, seed=5)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        cluster.load(rate=300, seconds=2, sizes=(1000, 3000))
        cluster.run(0.2)
        cluster.heal()
        cluster.settle(within=2)
        self.assertEqual(cluster.nodes[A].members, (A, B, C, D))

    def test_lateMessagesOfOldRing(self) -> None:
        """
        B12: what members sent on an older ring, and on no ring of others,
        starts no gather.
        """
        cluster = self.formed(seed=4)
        cluster.duplicate("data", count=FOREVER, after=0.3)
        cluster.load(rate=50, seconds=0.2)
        cluster.run(0.2)
        cluster.inject(C, A, self.join(cluster, C, (A, B, C)))
        cluster.forget()
        cluster.run(0.05)
        self.assertTrue(cluster.formed())
        foreign = ring(cluster, B).statistics.framesForeign
        self.assertQuiet(cluster, 1)
        self.assertTrue(ring(cluster, B).statistics.framesForeign > foreign)

    def test_rumoursOfTheDead(self) -> None:
        """
        B13: a dead node that others still talk of costs one consensus time.
        """
        cluster = self.formed(4)
        cluster.kill(D)
        cluster.settle()
        before = changes(cluster)
        cluster.inject(C, A, self.join(cluster, C, (A, B, C, D)))
        cluster.settle(within=CONSENSUS + 0.1)
        cluster.run(10)
        self.assertEqual(changes(cluster)[:3], [n + 2 for n in before[:3]])
        self.assertEqual(cluster.nodes[A].members, (A, B, C))

    def test_outsiderDuringCommit(self) -> None:
        """
        B14: while a ring is being formed, one who is not to be in it, or who
        speaks of the past, does not disturb it.
        """
        for state in (In.COMMIT, In.RECOVERY):
            cluster = self.formed()
            cluster.kill(C)
            old = self.join(cluster, A, (A, B), sequence=1)
            outside = self.join(cluster, A, (A, B, C, E), sequence=1 << 40)
            outsider = Join(E, E, (E,), (), 1 << 40).encode()

            def disturb(
                cluster: Cluster = cluster,
                old: bytes = old,
                outside: bytes = outside,
                outsider: bytes = outsider,
            ) -> None:
                cluster.clock.callLater(0, cluster.inject, A, B, old)
                cluster.clock.callLater(0, cluster.inject, E, B, outsider)

            cluster.whenState(state, disturb, B)
            cluster.settle(within=3)
            self.assertEqual(ring(cluster, B).statistics.commitsEntered, 3)

    def test_memberGivesUp(self) -> None:
        """
        B14: when one who is to be in the ring gives it up, nobody waits for
        the token timeout.
        """
        cluster = self.formed()
        cluster.kill(C)
        joins = []

        def giveUp() -> None:
            joins.append(cluster.seconds())
            cluster.clock.callLater(
                0,
                lambda: cluster.inject(A, B, self.join(cluster, A, (A, B, C), (C,))),
            )

        cluster.whenState(In.RECOVERY, giveUp, B)
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[B].members == (A, B), within=3)
        )
        self.assertTrue(cluster.seconds() - joins[0] < 0.5)
        cluster.settle()

    def test_singletonsMerge(self) -> None:
        """
        B15: five who were alone become one ring, with few steps between.
        """
        for seed in range(20):
            cluster = self.formed(5, seed=seed)
            cluster.partition({A}, {B}, {C}, {D}, {E})
            cluster.settle(stay=False)
            before = changes(cluster)
            cluster.heal()
            cluster.settle()
            self.assertTrue(installs(cluster, before) <= 3)

    def test_threeRingsMerge(self) -> None:
        """
        B15: the same for rings of two, two and one.
        """
        for seed in range(20):
            cluster = self.formed(5, seed=seed)
            cluster.partition({A, D}, {B, C}, {E})
            cluster.settle(stay=False)
            before = changes(cluster)
            cluster.heal()
            cluster.settle()
            self.assertTrue(installs(cluster, before) <= 3)

    def test_oneWayLink(self) -> None:
        """
        B18: while one cannot hear another, whom a third hears, the ring
        changes at a bounded rate; with the link whole it is one again.
        """
        for size, cuts in ((3, [(A, B)]), (3, [(C, A)]), (6, [(A, C), (A, D)])):
            cluster = self.formed(size)
            for source, target in cuts:
                cluster.cut(source, target)
            before = changes(cluster)
            cluster.run(10 * CONSENSUS)
            self.assertTrue(installs(cluster, before) <= 20)
            cluster.heal()
            cluster.settle()

    def test_delayedJoins(self) -> None:
        """
        B19: joins that are sent after a random delay form a ring all the
        same, and delay nothing else.
        """
        cluster = Cluster(8, timing=timingFor(sendJoin=0.08))
        cluster.settle(within=1)

    def test_foreignCluster(self) -> None:
        """
        A merge detection of a node that is in no list costs one gather.
        """
        cluster = self.formed()
        message = MergeDetect(99, 99, RingId(1 << 30, 99)).encode()
        cluster.inject(99, A, message)
        cluster.settle(within=CONSENSUS + 0.2)
        self.assertEqual(cluster.nodes[A].members, (A, B, C))

    def test_joinsAreFew(self) -> None:
        """
        L5: whoever dies or returns, nobody sends more joins than a few.
        """
        cluster = self.formed(8)
        joins = capture(cluster, "join")
        cluster.kill(1, 2, 3)
        cluster.settle()
        cluster.boot(1, 2, 3)
        cluster.settle()
        self.assertTrue(
            cluster.jury.traffic.mostJoins <= 24 + 3 * 8, cluster.jury.traffic.mostJoins
        )
        for nodeid, datagram in joins:
            join = decode(datagram)
            assert isinstance(join, Join)
            self.assertIn(nodeid, join.processors)
            self.assertNotIn(nodeid, join.failed)
