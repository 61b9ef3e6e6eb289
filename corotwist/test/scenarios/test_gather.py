"""
Stories about finding out who is here.  [pitfalls B]
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from random import Random
from typing import Any

from attrs import evolve

from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.test.scenarios.story import (
    FOREVER,
    LONG,
    ROTATION,
    A,
    B,
    C,
    D,
    E,
    Story,
    capture,
    changes,
    effects,
    installs,
    ring,
)
from corotwist.totem.effects import Warned
from corotwist.totem.gather import LASTING_GATHERS
from corotwist.totem.membership import RingId
from corotwist.totem.ring import Ring
from corotwist.totem.states import Because, In
from corotwist.totem.wire import MOST_MEMBERS, Join, MergeDetect, decode

CONSENSUS = 1.2
SEEDS = 100 if LONG else 9
SHATTERED = 40 if LONG else 3
# Every set of one-way cuts between three nodes.
LINKS = [(a, b) for a in (A, B, C) for b in (A, B, C) if a != b]
PATTERNS = [
    [link for link, cut in zip(LINKS, cuts, strict=True) if cut]
    for cuts in product((False, True), repeat=len(LINKS))
]


class Measure:
    """
    How much a processor knows, at each change of its state.

    @ivar stalled: gathers that were begun again for a join or a foreign frame,
        though nobody new was heard of or given up.
    @ivar again: gathers that were begun again for such a reason.
    """

    def __init__(self, ring: Ring) -> None:
        self.stalled: list[tuple[float, Because, int]] = []
        self.again = 0
        self._known = 0
        self._ring = ring
        self._become = ring.become
        ring.become = self._changed  # type: ignore[method-assign]

    def _changed(self, cause: Because) -> None:
        ring = self._ring
        known = len(ring.processors) + len(ring.failed)
        if ring.state is In.GATHER and cause in (
            Because.SETS_GREW,
            Because.FOREIGN_RING,
            Because.LEAVE_HEARD,
        ):
            self.again += 1
            if known <= self._known:
                self.stalled.append((ring.now, cause, known))
        self._known = known
        self._become(cause)


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
        Two who gave each other up at the same time find each other again.
        [pitfall B1]
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

    def test_staleJoins(self) -> None:
        """
        Joins of a gather that is over do not start another.
        [pitfalls B2, B14]
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

    def test_lateJoin(self) -> None:
        """
        Nor does any one of them that is half a second late.  [pitfall B2]
        """
        for skip in range(6):
            cluster = self.formed()
            join = self.join(cluster, C, (A, B, C))
            rule = cluster.delay("join", by=0.5, skip=skip)
            cluster.inject(C, A, join)
            cluster.run(0.4)
            self.assertTrue(cluster.formed())
            self.assertEqual(rule.met, 1)
            self.assertQuiet(cluster, 2)

    def test_sameSets(self) -> None:
        """
        A member that gathers with the very sets of the ring is followed at
        once, not when the token is lost.  [pitfall B3]
        """
        cluster = self.formed()
        join = self.join(cluster, C, (A, B, C))
        before = cluster.nodes[A].configuration
        cluster.inject(C, A, join)
        self.assertIs(cluster.nodes[A].state, In.GATHER)
        cluster.settle(within=CONSENSUS / 2)
        self.assertNotEqual(cluster.nodes[A].configuration, before)

    def test_tokenLostAtOne(self) -> None:
        """
        So it is when only one of them takes the token for lost.
        [pitfall B3]
        """
        cluster = self.formed()
        cluster.run(1)
        impatient, patient = ring(cluster, C), cluster.timing
        impatient.timing = evolve(patient, token=patient.hold / 2)
        before = cluster.nodes[A].configuration
        self.assertTrue(
            cluster.runUntil(lambda: impatient.statistics.tokensLost == 1, within=1)
        )
        impatient.timing = patient
        cluster.settle(within=CONSENSUS)
        self.assertNotEqual(cluster.nodes[A].configuration, before)
        self.assertEqual(ring(cluster, A).statistics.tokensLost, 0)

    def test_everybodyFailed(self) -> None:
        """
        A join that calls everybody failed, ourselves included, harms nobody
        for long.  [pitfall B4]
        """
        cluster = self.formed()
        cluster.jury.lease.forged = True
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

    def test_allFailedAndNobodyThere(self) -> None:
        """
        One who hears of nothing else is alone in the end.  [pitfall B4]
        """
        cluster = self.formed()
        cluster.jury.lease.forged = True
        sequence = ring(cluster, A).ringId.sequence
        joins = [
            (source, self.join(cluster, source, (A, B, C), (A, B, C), sequence + 4))
            for source in (A, C)
        ]
        cluster.partition({A, C}, {B})
        for _ in range(80):
            for source, join in joins:
                cluster.inject(source, B, join)
            cluster.run(0.05)
            self.assertNotIn(B, ring(cluster, B).failed)
        self.assertEqual(cluster.nodes[B].members, (B,))
        cluster.heal()
        cluster.settle()

    def test_oldConflict(self) -> None:
        """
        What a stranger thinks of our members is not taken over, neither when
        two rings meet nor while they merge.  [pitfall B5]
        """
        cluster = self.formed(4)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        join = self.join(cluster, C, (A, B, C, D), failed=(B,))
        cluster.inject(C, A, join)
        self.assertNotIn(B, ring(cluster, A).failed)
        cluster.heal()
        for _ in range(3):
            cluster.inject(C, A, join)
            cluster.inject(C, B, join)
            cluster.run(0.01)
            self.assertNotIn(B, ring(cluster, A).failed | ring(cluster, B).failed)
        cluster.settle()
        self.assertEqual(cluster.nodes[B].members, (A, B, C, D))

    def test_twoBusyRings(self) -> None:
        """
        Two rings under load that meet become one, and do not exclude each
        other for ever.  [pitfall B6]
        """
        for seed in range(SEEDS // 3):
            cluster = self.formed(7, seed=seed)
            cluster.partition({1, 4, 5, 6}, {2, 3, 7})
            cluster.load(rate=20, seconds=12)
            cluster.settle(stay=False)
            cluster.run(0.1)
            cluster.heal()
            cluster.settle(within=3, stay=False)
            self.assertTrue(max(changes(cluster)) <= 14, changes(cluster))

    def test_incomparable(self) -> None:
        """
        Of two who gather for ever with different opinions about who failed,
        neither begins anew because of what the other says, but only when more
        are heard of or given up.  [pitfall B6]
        """
        for cuts in (
            [(D, A), (C, B)],
            [(D, A), (A, D), (C, B), (B, C)],
            [(A, B), (B, C), (C, D), (D, A)],
        ):
            cluster = self.formed(4)
            for source, target in cuts:
                cluster.cut(source, target)
            measures = [Measure(ring(cluster, n)) for n in (A, B, C, D)]
            cluster.load(rate=10, seconds=15)
            cluster.run(15)
            self.assertEqual([m.stalled for m in measures], [[]] * 4)
            self.assertTrue(sum(m.again for m in measures) > 4)
            cluster.heal()
            cluster.settle()

    def test_restartsThenLeave(self) -> None:
        """
        After two restarts and a leave the other two are a ring.  [pitfall B7]
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
        A clean leave costs no timeout, and is known as one.  [pitfall B8]
        """
        for leaver in (A, B, C):
            cluster = self.formed()
            others = tuple(n for n in (A, B, C) if n != leaver)
            cluster.stop(leaver)
            self.assertTrue(
                cluster.runUntil(cluster.formed, within=10 * ROTATION + 0.01)
            )
            node = cluster.nodes[others[0]]
            transitional, regular = node.configurations[-2:]
            self.assertEqual((transitional.left, regular.members), ((leaver,), others))
            self.assertIn(f"{leaver} left", regular.cause)

    def test_everybodyLeaves(self) -> None:
        """
        The last who leaves leaves quietly.  [pitfall B8]
        """
        cluster = self.formed()
        cluster.stop(A, B, C)
        cluster.run(5)
        self.assertEqual(cluster.live, [])
        cluster.boot(A, B, C)
        cluster.settle()

    def test_leaveInTheMiddle(self) -> None:
        """
        A leave is effective whatever the others are doing, and messages of
        the leaver's last moments are the same for all.  [pitfall B9]
        """
        for moment in range(1, 12):
            cluster = self.formed(seed=moment)
            cluster.load(rate=200, seconds=0.05)
            cluster.run(0.01 + moment * 0.0003)
            cluster.stop(C)
            cluster.settle(within=0.3, stay=False)
            self.assertSame(cluster, (A, B))

    def test_leaveBehindTheToken(self) -> None:
        """
        One that waits in the socket with the token is handled after it, and
        not in the middle of anything.  [pitfall B9]
        """
        for seed in range(8):
            cluster = self.formed(seed=seed)
            depths = self.depths(ring(cluster, A))
            cluster.load(rate=300, seconds=0.1)
            cluster.run(0.02)
            cluster.pause(A, 0.02)
            cluster.run(0.01)
            cluster.stop(C)
            cluster.run(0.0101)
            cluster.settle(within=0.1, stay=False)
            self.assertEqual(cluster.nodes[A].members, (A, B))
            self.assertIn("3 left", cluster.nodes[A].configurations[-1].cause)
            self.assertEqual(depths, {1})

    def depths(self, core: Ring) -> set[int]:
        """
        How deeply inputs of a processor are nested from now on.
        """
        depth = 0
        depths = set()

        def counted(given: Callable[..., Any], *args: Any, **named: Any) -> Any:
            nonlocal depth
            depth += 1
            depths.add(depth)
            try:
                return given(*args, **named)
            finally:
                depth -= 1

        for name in ("framesReceived", "advance", "submit", "synchronized"):
            setattr(core, name, partial(counted, getattr(core, name)))
        return depths

    def test_representativeDies(self) -> None:
        """
        The one who was to propose the ring dies when all had agreed: the
        others wait for it once, and go on.  [pitfall B10]
        """
        cluster = self.formed(4)
        cluster.kill(D)
        died: list[float] = []

        def die() -> None:
            died.append(cluster.seconds())
            cluster.kill(A)

        tokens = capture(cluster, "commit")
        cluster.whenState(In.COMMIT, die, A)
        self.assertTrue(cluster.runUntil(lambda: bool(died), within=4))
        self.assertEqual(tokens, [])
        cluster.settle(within=cluster.timing.token + CONSENSUS + 0.3)
        self.assertEqual(cluster.nodes[B].members, (B, C))

    def test_idleRingsMerge(self) -> None:
        """
        Idle rings find each other within a merge and a consensus time.
        [pitfall B11]
        """
        cluster = self.formed(4)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        cluster.run(30)
        cluster.heal()
        cluster.settle(within=cluster.timing.merge + CONSENSUS)

    def test_busyRingsMerge(self) -> None:
        """
        Rings so busy that they do not look for others do so too, by what they
        send.  [pitfall B11]
        """
        cluster = self.formed(4, seed=5)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        cluster.load(rate=400, seconds=1, sizes=(1000, 3000))
        cluster.run(0.2)
        looked = [ring(cluster, n).statistics.mergeDetectsSent for n in (A, C)]
        cluster.run(0.5)
        self.assertEqual(
            [ring(cluster, n).statistics.mergeDetectsSent for n in (A, C)], looked
        )
        cluster.heal()
        cluster.settle(within=2)
        self.assertEqual(cluster.nodes[A].members, (A, B, C, D))

    def test_lateMessagesOfOldRing(self) -> None:
        """
        What members sent on an older ring, and on no ring of others, starts
        no gather.  [pitfall B12]
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
        A dead node that others still talk of costs one consensus time.
        [pitfall B13]
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
        While a ring is being formed, one who is not to be in it, or who
        speaks of the past, does not disturb it.  [pitfall B14]
        """
        for state in (In.COMMIT, In.RECOVERY):
            cluster = self.formed()
            cluster.kill(C)
            old = self.join(cluster, A, (A, B), sequence=1)
            outside = Join(C, C, (A, B, C), (), 1 << 40).encode()
            cluster.whenState(
                state,
                partial(
                    cluster.clock.callLater, 0, self.tell, cluster, B, old, outside
                ),
                B,
            )
            cluster.settle(within=3)
            self.assertEqual(ring(cluster, B).statistics.commitsEntered, 3)

    def tell(self, cluster: Cluster, target: int, old: bytes, outside: bytes) -> None:
        state = cluster.nodes[target].state
        self.assertIn(state, (In.COMMIT, In.RECOVERY))
        cluster.inject(A, target, old)
        cluster.inject(C, target, outside)
        self.assertIs(cluster.nodes[target].state, state)

    def test_memberGivesUp(self) -> None:
        """
        When one who is to be in the ring gives it up, the others do at once,
        and nobody waits for the token timeout.  [pitfall B14]
        """
        for state in (In.COMMIT, In.RECOVERY):
            cluster = self.formed()
            cluster.kill(C)
            gaveUp: list[float] = []

            def giveUp(
                cluster: Cluster = cluster, gaveUp: list[float] = gaveUp
            ) -> None:
                gaveUp.append(cluster.seconds())
                cluster.inject(A, B, self.join(cluster, A, (A, B, C), (C,)))
                self.assertIs(cluster.nodes[B].state, In.GATHER)

            cluster.whenState(state, partial(cluster.clock.callLater, 0, giveUp), B)
            self.assertTrue(
                cluster.runUntil(lambda c=cluster: c.nodes[B].members == (A, B), 3)  # type: ignore[misc]
            )
            self.assertTrue(cluster.seconds() - gaveUp[0] < 0.5)
            cluster.settle()

    def test_singletonsMerge(self) -> None:
        """
        Five who were alone become one ring, with few steps between.
        [pitfall B15]
        """
        self.merge({A}, {B}, {C}, {D}, {E})

    def test_threeRingsMerge(self) -> None:
        """
        The same for rings of two, two and one.  [pitfall B15]
        """
        self.merge({A, D}, {B, C}, {E})

    def merge(self, *sides: Iterable[int]) -> None:
        for seed in range(SEEDS):
            cluster = self.formed(5, seed=seed)
            cluster.partition(*sides)
            cluster.settle(stay=False)
            before = changes(cluster)
            cluster.heal()
            cluster.settle()
            self.assertTrue(installs(cluster, before) <= 3)

    def test_shatteredRingsMerge(self) -> None:
        """
        Twelve whose network fell apart again and again, each in the middle of
        another gather when it is whole, are one ring soon: they do not give
        each other up in turn.  [pitfall B15]
        """
        longest = 0.0
        for seed in range(SHATTERED):
            cluster = self.cluster(12, seed=seed, timing=timingFor(sendJoin=0.02))
            random = Random(seed)
            for _ in range(12):
                sides: list[set[int]] = [set() for _ in range(4)]
                for nodeid in cluster.nodes:
                    random.choice(sides).add(nodeid)
                cluster.partition(*filter(None, sides))
                cluster.run(random.uniform(0.3, 1.5))
            cluster.heal()
            healed = cluster.seconds()
            cluster.settle(stay=False)
            longest = max(longest, cluster.seconds() - healed)
        self.assertTrue(longest < 3 * CONSENSUS, longest)

    def test_largeSets(self) -> None:
        """
        Of as many as a ring can have, of whom nearly all are imagined, those
        who are there form one; more are refused in one piece.
        [pitfall B16]
        """
        for count in (120, MOST_MEMBERS, MOST_MEMBERS + 1):
            cluster = self.formed()
            joins = capture(cluster, "join")
            join = self.join(cluster, C, tuple(range(1, count + 1)))
            dropped = ring(cluster, A).statistics.framesDropped
            cluster.inject(C, A, join)
            refused = ring(cluster, A).statistics.framesDropped - dropped
            self.assertEqual(refused, int(count > MOST_MEMBERS))
            cluster.settle()
            self.assertEqual(cluster.nodes[A].members, (A, B, C))
            sizes = {len(join.processors) for join in map(decode, dict(joins).values())}  # type: ignore[union-attr]
            self.assertEqual(sizes, set() if refused else {count})

    def test_largeRing(self) -> None:
        """
        And where they are all there, they form one.  [pitfall B16]
        """
        cluster = self.cluster(120 if LONG else 16)
        cluster.settle()
        self.send(cluster, A, b"to all")
        cluster.settle()
        self.assertSame(cluster)
        cluster.kill(*range(1, len(cluster.nodes), 4))
        cluster.settle()

    def test_nothingComesBack(self) -> None:
        """
        One who hears nothing from the network, not even itself, is a ring of
        its own: nothing of what it sends to itself goes that way.
        [pitfall B17]
        """
        cluster = self.cluster(3, faults=Faults(loss=1.0))
        cluster.run(5)
        self.send(cluster, A, b"to myself")
        cluster.run(1)
        self.assertEqual(cluster.nodes[A].members, (A,))
        self.assertEqual(cluster.nodes[A].log, [b"to myself"])
        self.assertEqual(cluster.running(A).port.counts["received"], 0)

    def test_firewall(self) -> None:
        """
        Where all agree and no ring ever comes of it, the operator is told, and
        the nodes do not try harder and harder.  [pitfall B17]
        """
        cluster = self.formed()
        cluster.drop("commit", count=FOREVER)
        told = effects(cluster, C, Warned)
        cluster.kill(A)
        cluster.run(5)
        joins = ring(cluster, B).statistics.joinsSent
        cluster.run(LASTING_GATHERS * 2 * (CONSENSUS + 1))
        self.assertTrue(any("firewall" in warned.text for warned in told), told)
        self.assertNotIn(A, ring(cluster, B).processors - ring(cluster, B).failed)
        sent = ring(cluster, B).statistics.joinsSent - joins
        seconds = LASTING_GATHERS * 2 * (CONSENSUS + 1)
        self.assertTrue(sent <= 1.5 * seconds / cluster.timing.join, sent)
        cluster.forget()
        cluster.settle()

    def test_oneWayLinks(self) -> None:
        """
        Whoever cannot hear whom among three, the ring changes no more than
        once in a consensus time; with the links whole it is one again.
        [pitfall B18]
        """
        for cuts in PATTERNS if LONG else PATTERNS[::3]:
            self.flap(3, cuts, 0)
        for cuts in PATTERNS if LONG else [[(C, B)]]:
            self.flap(3, cuts, 5)

    def test_oneWayLinksOfSix(self) -> None:
        """
        The same where one of six does not reach two of them.  [pitfall B18]
        """
        self.flap(6, [(A, C), (A, D)], 0)
        self.flap(6, [(A, C), (A, D)], 1)

    def flap(self, size: int, cuts: Iterable[tuple[int, int]], rate: float) -> None:
        cluster = self.formed(size)
        for source, target in cuts:
            cluster.cut(source, target)
        if rate:
            cluster.load(rate=rate, seconds=10 * CONSENSUS)
        before = changes(cluster)
        cluster.run(10 * CONSENSUS)
        self.assertTrue(installs(cluster, before) <= 10, cuts)
        cluster.heal()
        cluster.settle()

    def test_callsOverOneWayLinks(self) -> None:
        """
        Meanwhile every call of every client is answered: nobody is told to
        wait, or waits, for ever.  [pitfall B18]
        """
        longest = 0.0
        some = [*PATTERNS[1::9], [(C, A)], [(B, A)]]
        for cuts in PATTERNS if LONG else some:
            cluster = self.formed(services=True)
            clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
            for client in clients:
                client.join(b"group")
            cluster.run(0.1)
            for source, target in cuts:
                cluster.cut(source, target)
            asked: list[float] = []
            waited: list[float] = []
            for number in range(20):
                for client in clients:
                    asked.append(cluster.seconds())
                    client.send(b"group", b"%d" % number).addBoth(
                        self.answered, cluster, cluster.seconds(), waited
                    )
                cluster.run(0.3)
            cluster.run(6)
            self.assertEqual(len(waited), len(asked), cuts)
            longest = max(longest, *waited)
        self.assertTrue(longest < 6, longest)

    def answered(
        self, result: object, cluster: Cluster, asked: float, waited: list[float]
    ) -> None:
        waited.append(cluster.seconds() - asked)

    def test_delayedJoins(self) -> None:
        """
        Joins that are sent after a random delay form a ring of forty all the
        same, and no timer waits for them.  [pitfall B19]
        """

        def sleep(seconds: float) -> None:
            self.fail(f"slept for {seconds} s")

        self.patch(time, "sleep", sleep)
        size = 40 if LONG else 16
        cluster = self.cluster(size, timing=timingFor(sendJoin=0.08))
        late: list[float] = []
        for node in cluster.nodes:
            clock = cluster.running(node).clock
            for number in range(50):
                due = number * 0.01
                clock.callLater(
                    due, lambda due=due, clock=clock: late.append(clock.seconds() - due)
                )
        cluster.settle(within=1.5)
        self.assertEqual(len(late), 50 * size)
        self.assertTrue(max(late) < 0.001, max(late))

    def test_receivesAgain(self) -> None:
        """
        One who failed to receive, and can again, is a member like any other.
        [pitfall B20]
        """
        cluster = self.formed()
        cluster.drop("data", target=C, count=FOREVER)
        self.send(cluster, A, b"m1")
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[C].members == (C,), within=5)
        )
        self.assertFalse(ring(cluster, C).failedToReceive)
        cluster.forget()
        cluster.settle()
        self.send(cluster, C, b"m2")
        cluster.settle()
        self.assertEqual(cluster.nodes[A].members, (A, B, C))
        self.assertEqual(cluster.nodes[C].log[-1], b"m2")
        cluster.kill(B)
        cluster.settle()
        self.assertEqual(cluster.nodes[C].members, (A, C))

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
