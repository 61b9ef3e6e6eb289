"""
Tests of one processor among others: inputs and what comes of them.
"""

from collections.abc import Iterator
from random import Random

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.factories import (
    FRAME_BYTES,
    LATENCY,
    TIMING,
    Harness,
    formed,
    makeRing,
    of,
)
from corotwist.totem import ordering, window
from corotwist.totem.effects import (
    ConfigurationChanged,
    Dropped,
    Multicast,
    StateChanged,
    StoreRingId,
    Unicast,
    Warned,
)
from corotwist.totem.fragments import NOTHING
from corotwist.totem.gather import MOST_WAITS
from corotwist.totem.joining import FRESH_SEQUENCES, HIGHEST_SEQUENCE
from corotwist.totem.membership import (
    NO_EVIDENCE,
    Configuration,
    Evidence,
    Guarantee,
    RingId,
)
from corotwist.totem.ordering import HEARTBEAT, SETTLING, TOKEN_LOSS, TOKEN_WARNING
from corotwist.totem.ring import Ring
from corotwist.totem.sequence import MASK
from corotwist.totem.states import Because, In
from corotwist.totem.wire import (
    MOST_MEMBERS,
    CommitToken,
    HoldCancel,
    Join,
    MergeDetect,
    Regular,
    Token,
    decode,
    makeRegular,
)

STARTS = (0, 0x7FFFFF00, 0xFFFFFE00, 0xFFFFFFFE)


def tokenOf(harness: Harness, receiver: int = 2) -> Token:
    """
    A token that C{receiver} would accept now.
    """
    ring = harness.rings[receiver]
    return Token(
        sender=1,
        sequence=ring.window.high,
        tokenSequence=(ring.lastTokenSequence + 1) & MASK,
        allReceivedUpTo=ring.window.aru,
        aruSetter=0,
        ringId=ring.ringId,
    )


class StartTests(SynchronousTestCase):
    """
    A processor alone.
    """

    def test_firstEffects(self) -> None:
        """
        The first thing is to ask who is there; being alone in our own sets we
        agree with ourselves, and store the ring's name before using it.
        """
        ring = makeRing(1)
        effects = ring.start(40, 0.0)
        (join,) = of(Multicast, effects)
        self.assertEqual(decode(join.frames[0]), Join(1, 1, (1,), (), 41))
        self.assertEqual(of(StoreRingId, effects), [StoreRingId(45)])
        self.assertEqual(of(Unicast, effects), [])
        self.assertEqual(ring.state, In.COMMIT)
        (unicast,) = of(Unicast, ring.ringIdStored(0.0))
        self.assertIsInstance(decode(unicast.frame), CommitToken)

    def test_noStorage(self) -> None:
        """
        Without a stored sequence the first is drawn, so that a ring that was
        forgotten is not named again.
        """
        drawn = {Ring(1, TIMING, FRAME_BYTES, Random(seed)) for seed in range(5)}
        for ring in drawn:
            ring.start(None, 0.0)
        sequences = {ring.ringId.sequence for ring in drawn}
        self.assertEqual(len(sequences), 5)
        self.assertTrue(all(s <= 2 * FRESH_SEQUENCES for s in sequences))

    def test_lostDisk(self) -> None:
        """
        A processor that lost its disk and hears of the last ring it named
        does not name the next like one that it may have named after that.
        [pitfall E7]
        """
        names = set()
        for seed in range(5):
            ring = Ring(1, TIMING, FRAME_BYTES, Random(seed))
            ring.start(None, 0.0)
            ring.ringIdRefused("for the test", 0.0)
            ring.advance(TIMING.consensus)
            ring.framesReceived([], TIMING.consensus)
            ring.highestSequence = 1 << 40  # As heard of others.
            effects = ring.ringIdStored(TIMING.consensus)
            names |= {effect.sequence for effect in of(StoreRingId, effects)}
        self.assertEqual(len(names), 5)

    def test_storageRefused(self) -> None:
        """
        A ring whose name is not stored is given up: silence, until the disk
        takes a name again.
        """
        ring = makeRing(1)
        ring.start(40, 0.0)
        effects = ring.ringIdRefused("disk full", 0.0)
        self.assertEqual(len(of(Warned, effects)), 1)
        self.assertEqual(ring.state, In.MUTE)
        join = Join(2, 2, (1, 2), (), 900).encode()
        self.assertEqual(ring.framesReceived([join], 0.1), [])
        now = 0.0
        for _ in range(3):
            now += TIMING.consensus
            self.assertEqual(of(StoreRingId, ring.advance(now)), [StoreRingId(45)])
            self.assertEqual(ring.ringIdRefused("disk full", now), [])
        ring.advance(now + TIMING.consensus)
        effects = ring.ringIdStored(now + TIMING.consensus)
        self.assertEqual(of(StoreRingId, effects), [StoreRingId(49)])

    def test_alone(self) -> None:
        """
        A ring of one installs one regular configuration, orders, and idles.
        """
        harness = formed(1)
        (only,) = harness.configurations[1]
        self.assertEqual((only.members, only.joined), ((1,), (1,)))
        self.assertFalse(only.transitional)
        harness.multicast(1, b"hello")
        harness.run(1.0)
        self.assertEqual(harness.delivered[1], [b"hello"])
        sent = len(harness.sent)
        harness.run(10.0)
        self.assertLess(len(harness.sent) - sent, 130)


class FormationTests(SynchronousTestCase):
    """
    Several processors become one ring.
    """

    def test_eightFromEveryStart(self) -> None:
        """
        Eight processors form one ring and deliver in one order, also when
        message and token sequences wrap.
        """
        for start in STARTS:
            harness = formed(8, firstSequence=start, firstTokenSequence=start)
            for number in range(300):
                harness.multicast(
                    1 + number % 8, b"%d" % number * (1 + number % 9 * 50)
                )
            harness.run(3.0)
            logs = list(harness.delivered.values())
            self.assertEqual(sorted(map(len, logs)), [300] * 8)
            self.assertEqual([log for log in logs if log != logs[0]], [])
            last = {c[-1].members for c in harness.configurations.values()}
            self.assertEqual(last, {(1, 2, 3, 4, 5, 6, 7, 8)})

    def test_idleIsQuiet(self) -> None:
        """
        On an idle ring the token comes once in a hold time. [SRP 6.1]
        """
        harness = formed(3)
        before = harness.rings[2].statistics.tokens
        harness.run(18.0)
        self.assertLessEqual(harness.rings[2].statistics.tokens - before, 101)
        self.assertTrue(harness.rings[1].holding)

    def test_workEndsTheHold(self) -> None:
        """
        A message on an idle ring is delivered everywhere within milliseconds.
        [pitfall A11]
        """
        harness = formed(3)
        harness.multicast(2, b"now")
        harness.run(0.02)
        self.assertEqual(set(map(tuple, harness.delivered.values())), {(b"now",)})

    def test_lostHoldCancel(self) -> None:
        """
        When the plea to end the hold is lost, the hold time ends it.
        """
        harness = formed(3)
        harness.lost = lambda a, b, frame: isinstance(decode(frame), HoldCancel)
        harness.multicast(2, b"now")
        harness.run(TIMING.hold + 0.02)
        self.assertEqual(harness.delivered[3], [b"now"])

    def test_transitionalFirst(self) -> None:
        """
        A change is told as a transitional and then a regular configuration,
        with who left in the one and who joined in the other. [EVS P2.10]
        """
        harness = formed(3)
        harness.silent.add(3)
        harness.run(6.0)
        transitional, regular = harness.configurations[1][-2:]
        self.assertTrue(transitional.transitional)
        self.assertEqual((transitional.members, transitional.left), ((1, 2), (3,)))
        self.assertFalse(regular.transitional)
        self.assertEqual((regular.members, regular.joined), ((1, 2), ()))
        self.assertEqual(transitional.ringId, regular.ringId)
        causes = [c[-1].cause for n, c in harness.configurations.items() if n != 3]
        self.assertIn("the token was lost; 3 did not answer", causes)
        self.assertTrue(all("; 3 " in cause for cause in causes), causes)

    def test_restartedLeavesAndJoins(self) -> None:
        """
        A processor that restarts before anybody noticed has not come along:
        it is in both left and joined. [pitfalls D8, F4]
        """
        harness = formed(3)
        harness.add(makeRing(3), stored=harness.rings[3].ringId.sequence)
        harness.run(6.0)
        transitional, regular = harness.configurations[1][-2:]
        self.assertEqual(regular.members, (1, 2, 3))
        self.assertIn(3, transitional.left)
        self.assertIn(3, regular.joined)

    def test_leave(self) -> None:
        """
        A clean leave costs no token loss, and is told as such. [pitfall B8]
        """
        harness = formed(3)
        harness.perform(3, harness.rings[3].leave(harness.now))
        harness.silent.add(3)
        harness.run(40 * LATENCY)
        transitional, regular = harness.configurations[1][-2:]
        self.assertEqual((transitional.left, regular.members), ((3,), (1, 2)))
        self.assertIn("3 left", regular.cause)
        self.assertEqual(harness.rings[3].leave(harness.now), [])

    def test_merge(self) -> None:
        """
        Two idle rings find each other through merge detection. [pitfall B11]
        """
        harness = formed(4)
        harness.lost = lambda a, b, frame: (a < 3) != (b < 3)
        harness.run(6.0)
        self.assertEqual(harness.configurations[4][-1].members, (3, 4))
        harness.lost = lambda a, b, frame: False
        harness.run(TIMING.merge + TIMING.consensus)
        transitional, regular = harness.configurations[4][-2:]
        self.assertEqual(transitional.members, (3, 4))
        self.assertEqual(transitional.left, ())
        self.assertEqual((regular.members, regular.joined), ((1, 2, 3, 4), (1, 2)))

    def test_namesRise(self) -> None:
        """
        No ring has the name of an earlier one. [EVS P2.6]
        """
        harness = formed(3)
        for _ in range(3):
            harness.lost = lambda a, b, frame: (a == 1) != (b == 1)
            harness.run(4.0)
            harness.lost = lambda a, b, frame: False
            harness.run(4.0)
        for configurations in harness.configurations.values():
            names = [c.ringId.sequence for c in configurations if not c.transitional]
            self.assertEqual(names, sorted(set(names)))
            self.assertGreater(len(names), 5)


class TokenTests(SynchronousTestCase):
    """
    One processor of an operational ring and the token.
    """

    def test_copy(self) -> None:
        """
        A copy of the token has no effect at all. [pitfall A1]
        """
        harness = formed(3)
        ring = harness.rings[2]
        data = tokenOf(harness).encode()
        effects = ring.framesReceived([data], harness.now)
        self.assertEqual(len(of(Unicast, effects)), 1)
        before = (ring.sequenceUnchanged, ring.lastAru, dict(ring._deadlines))
        self.assertEqual(ring.framesReceived([data], harness.now + 0.1), [])
        after = (ring.sequenceUnchanged, ring.lastAru, dict(ring._deadlines))
        self.assertEqual(after, before)

    def test_later(self) -> None:
        """
        While the services synchronize, what they send goes ahead; what is to
        be sent later waits, and follows when they are in step.
        """
        harness = formed(3)
        ring = harness.rings[2]
        ring.outbox = ring.synchronization
        waits = ring.submit(b"join", Guarantee.AGREED, harness.now, later=True)
        self.assertIsNotNone(waits)
        harness.multicast(2, b"service list")
        harness.run(1.0)
        self.assertEqual(harness.delivered[1][-1], b"service list")
        harness.perform(2, ring.synchronized(harness.now))
        harness.run(1.0)
        self.assertEqual(harness.delivered[1][-2:], [b"service list", b"join"])

    def test_foreignToken(self) -> None:
        """
        The token of another ring is not ours.
        """
        harness = formed(3)
        token = tokenOf(harness)
        token.ringId = RingId(token.ringId.sequence - 4, 1)
        effects = harness.rings[2].framesReceived([token.encode()], harness.now)
        self.assertEqual(effects, [])

    def test_absurdSequence(self) -> None:
        """
        A token further ahead than the window is dropped; nobody aborts.
        [pitfall A8]
        """
        harness = formed(3)
        token = tokenOf(harness)
        token.sequence = token.allReceivedUpTo = (token.sequence + 20_000) & MASK
        ring = harness.rings[2]
        self.assertEqual(ring.framesReceived([token.encode()], harness.now), [])
        self.assertEqual(ring.statistics.tokensDropped, 1)
        self.assertEqual(ring.state, In.OPERATIONAL)

    def test_aruOfAStranger(self) -> None:
        """
        An aru lowered by somebody outside, which nobody could raise again,
        makes a token that is none.
        """
        harness = formed(3)
        token = tokenOf(harness)
        token.aruSetter = 77
        ring = harness.rings[2]
        self.assertEqual(ring.framesReceived([token.encode()], harness.now), [])
        self.assertEqual(ring.statistics.tokensDropped, 1)

    def test_tokenOfFarAway(self) -> None:
        """
        A token that made more hops than one rotation has is not this ring's:
        with half of all numbers between them, two could both go on.
        """
        harness = formed(3)
        token = tokenOf(harness)
        token.tokenSequence = (token.tokenSequence + (1 << 31) - 2) & MASK
        ring = harness.rings[2]
        self.assertEqual(ring.framesReceived([token.encode()], harness.now), [])

    def test_wrongFlowCount(self) -> None:
        """
        A flow count that is wrong keeps nobody from sending for ever.
        """
        harness = formed(3)
        token = tokenOf(harness)
        token.flowCount = 5000
        token.tokenSequence = (token.tokenSequence + 100) & MASK
        harness.perform(2, harness.rings[2].framesReceived([token.encode()], 3.0))
        harness.run(0.1)
        harness.multicast(1, b"after all")
        harness.run(4.0)
        self.assertEqual(harness.delivered[3], [b"after all"])

    def test_lossGathers(self) -> None:
        """
        When the token does not come back in time we look for processors, and
        copies of the old one do not put that off. [pitfall A2]
        """
        harness = formed(2)
        ring = harness.rings[2]
        data = tokenOf(harness).encode()
        ring.framesReceived([data], harness.now)
        for step in range(9):
            ring.framesReceived([data], harness.now + step * 0.1)
        effects = ring.advance(harness.now + TIMING.token)
        self.assertEqual(ring.state, In.GATHER)
        changed = of(StateChanged, effects)[-1]
        self.assertEqual(changed.cause, Because.TOKEN_LOST.value)
        (join,) = of(Multicast, effects)[-1:]
        heard = decode(join.frames[0])
        assert isinstance(heard, Join)
        self.assertEqual(heard.processors, (1, 2))

    def test_retransmitted(self) -> None:
        """
        A token that got lost is sent again, unchanged.
        """
        harness = formed(2)
        ring = harness.rings[2]
        (first,) = of(Unicast, ring.framesReceived([tokenOf(harness).encode()], 9.0))
        effects = ring.advance(9.0 + TIMING.tokenRetransmit)
        self.assertEqual(of(Unicast, effects), [first])

    def test_requestsTheLast(self) -> None:
        """
        The last frame of a burst is asked for although nothing came after it,
        at the fifth visit and not before. [pitfalls A5, A6]
        """
        harness = formed(2)
        ring = harness.rings[2]
        for visit in range(1, 6):
            token = tokenOf(harness)
            token.sequence = (ring.window.high + 1) & MASK
            (out,) = of(Unicast, ring.framesReceived([token.encode()], harness.now))
            passed = decode(out.frame)
            assert isinstance(passed, Token)
            wanted = [(ring.ringId, token.sequence)] if visit == 5 else []
            self.assertEqual(passed.requests, wanted)
            self.assertEqual(passed.aruSetter, 2)

    def test_servesRequests(self) -> None:
        """
        What we hold and another asks for leaves again, byte for byte, and the
        request is done.  Other requests stay, but for what nobody can lack.
        """
        harness = formed(2)
        ring = harness.rings[2]
        sequence = (ring.window.high + 1) & MASK
        frame = makeRegular(1, sequence, 7, ring.ringId, 0, b"payload").frame
        token = tokenOf(harness)
        token.sequence, token.allReceivedUpTo = sequence + 1, sequence
        token.requests = [
            (ring.ringId, sequence),
            (ring.ringId, sequence + 1),
            (ring.ringId, sequence + 2),
            (RingId(5, 1), sequence + 1),
        ]
        effects = ring.framesReceived([frame, token.encode()], harness.now)
        self.assertEqual(of(Multicast, effects)[0].frames, [frame])
        passed = decode(of(Unicast, effects)[0].frame)
        assert isinstance(passed, Token)
        self.assertEqual(passed.requests, [(ring.ringId, sequence + 1)])

    def test_allowance(self) -> None:
        """
        Not more frames leave at one visit than the options allow.
        """
        harness = formed(2)
        ring = harness.rings[2]
        ring.submit(b"x" * 100_000, Guarantee.AGREED, harness.now)
        effects = ring.framesReceived([tokenOf(harness).encode()], harness.now)
        frames = [f for effect in of(Multicast, effects) for f in effect.frames]
        self.assertEqual(len(frames), TIMING.maxMessages)

    def test_retimed(self) -> None:
        """
        Other timers and counters hold from the next visit of the token on; a
        deadline that is set already stays. (A28)
        """
        harness = formed(2)
        ring = harness.rings[2]
        ring.framesReceived([tokenOf(harness).encode()], harness.now)
        ring.retime(evolve(TIMING, token=3.0, maxMessages=2, windowSize=5))
        ring.submit(b"x" * 100_000, Guarantee.AGREED, harness.now)
        effects = ring.framesReceived([tokenOf(harness).encode()], harness.now)
        frames = [f for effect in of(Multicast, effects) for f in effect.frames]
        self.assertEqual(len(frames), 2)
        self.assertEqual(ring.queueFrames, 10)
        ring.advance(harness.now + TIMING.token)
        self.assertEqual(ring.state, In.OPERATIONAL)
        ring.advance(harness.now + 3.0)
        self.assertEqual(ring.state, In.GATHER)

    def test_retimedTooLate(self) -> None:
        """
        The token that is awaited by the old timers is lost by them. (A28)
        """
        harness = formed(2)
        ring = harness.rings[2]
        ring.framesReceived([tokenOf(harness).encode()], harness.now)
        ring.retime(evolve(TIMING, token=3.0))
        ring.advance(harness.now + TIMING.token)
        self.assertEqual(ring.state, In.GATHER)

    def test_watchesEnd(self) -> None:
        """
        Heartbeats and warnings that are turned off while the ring runs are
        missed by nobody. (A28)
        """
        harness = formed(2)
        before = harness.rings[1].ringId
        watching = evolve(TIMING, heartbeatFailuresAllowed=3)
        for timing in (watching, evolve(TIMING, tokenWarning=0.0)):
            for ring in harness.rings.values():
                ring.retime(timing)
            harness.run(1.0)
        for ring in harness.rings.values():
            self.assertFalse(ring.armed(HEARTBEAT) or ring.armed(TOKEN_WARNING))
            self.assertEqual(ring.ringId, before)

    def test_retimedTogether(self) -> None:
        """
        Rings that are given other timers one after the other stay together,
        and lose a member as fast as the new ones say. (A28)
        """
        harness = formed(3)
        before = harness.rings[1].ringId
        faster = evolve(
            TIMING, token=0.3, tokenRetransmit=0.07, hold=0.05, consensus=0.4
        )
        for ring in harness.rings.values():
            ring.retime(faster)
            harness.run(0.3)
        harness.run(5.0)
        self.assertEqual({ring.ringId for ring in harness.rings.values()}, {before})
        harness.silent.add(3)
        harness.run(0.31)
        self.assertEqual(harness.rings[1].state, In.GATHER)

    def test_shortQueue(self) -> None:
        """
        A message is taken while fewer than two rotations of frames wait, and
        no longer; it may be large.
        """
        ring = formed(1).rings[1]
        taken = 0
        while ring.submit(b"x" * FRAME_BYTES, Guarantee.AGREED, 9.0) is not None:
            taken += 1
        self.assertLessEqual(abs(taken - 2 * TIMING.windowSize), 1)
        self.assertEqual(ring.room(), 0)
        ring = formed(1).rings[1]
        self.assertIsNotNone(ring.submit(b"x" * 1_047_552, Guarantee.AGREED, 9.0))
        self.assertIsNone(ring.submit(b"x", Guarantee.AGREED, 9.0))

    def test_laggardStopsSenders(self) -> None:
        """
        Nobody sends further ahead than a processor that lags can follow.
        [pitfall A8]
        """
        small = 1024
        self.patch(ordering, "WINDOW", small)
        self.patch(window, "WINDOW", small)
        patient = evolve(TIMING, missCount=1 << 30, failReceive=1 << 30)
        harness = formed(2, patient)
        harness.lost = lambda a, b, frame: b == 2 and isinstance(decode(frame), Regular)
        ring = harness.rings[1]
        for _ in range(100):
            ring.submit(b"x" * 60_000, Guarantee.AGREED, harness.now)
            harness.run(0.01)
        self.assertLessEqual(len(ring.window), small)
        self.assertGreater(len(ring.window), small - 100)

    def test_deafOnAnIdleRing(self) -> None:
        """
        A ring is not idle while somebody lacks a frame: who never gets it is
        out after so many rotations, not so many hold times. [pitfall A12]
        """
        harness = formed(3, evolve(TIMING, failReceive=500))
        harness.lost = lambda a, b, frame: b == 3 and isinstance(decode(frame), Regular)
        harness.multicast(1, b"deaf?")
        harness.run(2.0)
        self.assertIn((1, 2), [c.members for c in harness.configurations[1]])

    def test_failsToReceive(self) -> None:
        """
        Who holds the ring back for too long leaves it by itself; both sides
        go on. [pitfall A13]
        """
        timing = evolve(TIMING, failReceive=40, sequenceUnchanged=1000)
        harness = formed(3, timing)
        harness.lost = lambda a, b, frame: b == 3 and isinstance(decode(frame), Regular)
        harness.multicast(1, b"deaf?")
        harness.run(2.5)
        self.assertEqual(harness.delivered[2], [b"deaf?"])
        two = [c.members for c in harness.configurations[2]]
        three = [c.members for c in harness.configurations[3]]
        self.assertIn((1, 2), two)
        self.assertIn((3,), three)
        self.assertFalse(harness.rings[3].failedToReceive)


class EvidenceTests(SynchronousTestCase):
    """
    Who noticed the end of a ring.
    """

    def evidence(self, harness: Harness, nodeid: int) -> Evidence:
        """
        Of the last configuration; the transitional one before says the same.
        """
        transitional, regular = harness.configurations[nodeid][-2:]
        self.assertEqual(transitional.evidence, regular.evidence)
        return regular.evidence

    def test_first(self) -> None:
        """
        Before the first ring there was none to end.
        """
        harness = formed(1)
        (only,) = harness.configurations[1]
        self.assertEqual(only.evidence, NO_EVIDENCE)

    def test_tokenLost(self) -> None:
        """
        Who lost the token noticed it; the others heard it from there. Both tell
        who did not answer.
        """
        harness = formed(3)
        harness.silent.add(3)
        harness.run(5.0)
        missing = ((3, "did not answer"),)
        seen = [self.evidence(harness, nodeid) for nodeid in (1, 2)]
        self.assertEqual([each.missing for each in seen], [missing] * 2)
        first = seen[0].noticedBy
        self.assertIn(first, {1, 2})
        self.assertEqual(seen, [Evidence(first, (), missing)] * 2)

    def test_left(self) -> None:
        """
        Who leaves says so itself, and calls itself failed.
        """
        harness = formed(3)
        harness.perform(3, harness.rings[3].leave(harness.now))
        harness.run(1.0)
        told = Evidence(3, (3,), ((3, "left"),))
        self.assertEqual(self.evidence(harness, 1), told)
        self.assertEqual(self.evidence(harness, 2), told)

    def test_joined(self) -> None:
        """
        Who comes is the one that noticed, and nobody is missing.
        """
        harness = formed(2)
        harness.add(makeRing(3))
        harness.run(1.0)
        self.assertEqual(self.evidence(harness, 1), Evidence(3, (), ()))

    def test_order(self) -> None:
        """
        Configurations are compared by what all agree on, not by what each of
        them saw.
        """
        one = Configuration(RingId(8, 1), (1, 2), transitional=False)
        self.assertEqual(one, evolve(one, evidence=Evidence(2, (3,), ())))


class JoinTests(SynchronousTestCase):
    """
    Joins in every state. [SRP 5.2, 5.3]
    """

    def join(self, harness: Harness, nodeid: int, join: Join) -> Ring:
        """
        Let one processor hear one join.
        """
        ring = harness.rings[nodeid]
        harness.perform(nodeid, ring.framesReceived([join.encode()], harness.now))
        return ring

    def test_callsUsFailed(self) -> None:
        """
        In an operational ring a join that calls us failed is ignored.
        [pitfall B1]
        """
        harness = formed(2)
        ring = self.join(harness, 1, Join(9, 9, (1, 9), (1,), 900))
        self.assertEqual(ring.state, In.OPERATIONAL)
        self.assertEqual(ring.highestSequence, 900)

    def test_strangersWait(self) -> None:
        """
        A new ring hears strangers when its services are in step, or after a
        token time: else they could end each ring before.  [pitfall B18]
        """
        stranger = MergeDetect(9, 9, RingId(1 << 20, 9)).encode()
        asks = Join(9, 9, (9,), (), 1 << 20).encode()
        for message in (stranger, asks):
            for inStep in (True, False):
                harness = formed(2)
                ring = harness.rings[2]
                now = harness.now
                ring.arm(SETTLING, TIMING.token)
                ring.framesReceived([message], now)
                self.assertEqual(ring.state, In.OPERATIONAL)
                if inStep:
                    ring.synchronized(now)
                else:
                    ring.disarm(TOKEN_LOSS)
                    for _ in range(4):  # Not all at once: that were a pause.
                        now += TIMING.token / 4
                        ring.advance(now)
                ring.framesReceived([message], now)
                self.assertEqual(ring.state, In.GATHER)

    def test_strangerOnItsWayOut(self) -> None:
        """
        A stranger that calls itself failed, as one that fails to receive
        does, and stays in nobody's ring, gets none from us. [pitfall B18]
        """
        harness = formed(2)
        ring = self.join(harness, 1, Join(9, 9, (1, 2, 9), (9,), 900))
        self.assertEqual(ring.state, In.OPERATIONAL)
        sequence = ring.ringId.sequence
        self.join(harness, 1, Join(2, 2, (1, 2), (2,), sequence))
        self.assertNotEqual(ring.state, In.OPERATIONAL)

    def test_staleMember(self) -> None:
        """
        A member's join of before this ring is ignored. [pitfall B2]
        """
        harness = formed(2)
        ring = self.join(harness, 1, Join(2, 2, (1, 2), (), 1))
        self.assertEqual(ring.state, In.OPERATIONAL)

    def test_sameSets(self) -> None:
        """
        A join with the sets of the ring itself starts a gather too: its sender
        has lost the ring. [pitfall B3]
        """
        harness = formed(2)
        sequence = harness.rings[1].ringId.sequence
        ring = self.join(harness, 1, Join(2, 2, (1, 2), (), sequence))
        self.assertNotEqual(ring.state, In.OPERATIONAL)

    def test_opinionOfAStranger(self) -> None:
        """
        Whom a stranger gave up is not given up by us. [pitfall B5]
        """
        harness = formed(2)
        ring = self.join(harness, 1, Join(9, 9, (1, 2, 9), (2,), 900))
        self.assertEqual(ring.state, In.GATHER)
        self.assertEqual((ring.processors, ring.failed), ({1, 2, 9}, set()))

    def test_strangerGaveUsUp(self) -> None:
        """
        A stranger that calls us failed is not given up for it: we may be of
        one opinion when its quarrel is over. [pitfall B15]
        """
        harness = formed(2)
        self.join(harness, 1, Join(9, 9, (1, 2, 9), (), 900))
        ring = self.join(harness, 1, Join(9, 9, (1, 2, 9), (1, 2), 900))
        self.assertEqual((ring.processors, ring.failed), ({1, 2, 9}, set()))
        sequence = ring.ringId.sequence
        self.join(harness, 1, Join(2, 2, (1, 2, 9), (1,), sequence))
        self.assertEqual(ring.failed, {2})

    def test_whatMembersOnceSaid(self) -> None:
        """
        Whom a member gave up before this ring was formed, is not given up
        when the join comes late. [pitfall B15]
        """
        harness = formed(3)
        ring = self.join(harness, 1, Join(9, 9, (1, 2, 3, 9), (), 900))
        before = ring.window.ringId.sequence - 1
        for failed in ((2,), (1,)):
            self.join(harness, 1, Join(3, 3, (1, 2, 3, 9), failed, before))
            self.assertEqual((ring.state, ring.failed), (In.GATHER, set()))
        self.join(harness, 1, Join(3, 3, (1, 2, 3, 9), (2,), before + 1))
        self.assertEqual(ring.failed, {2})

    def disagreeing(self, silent: tuple[int, ...] = ()) -> tuple[Harness, Ring]:
        """
        A processor of a ring of two, gathering, where the other is silent
        and a stranger calls it failed again and again.
        """
        harness = formed(2)
        harness.lost = lambda a, b, frame: True
        everybody = (1, 2, 9, *silent)
        return harness, self.join(harness, 1, Join(9, 9, everybody, (2,), 900))

    def rounds(self, harness: Harness, ring: Ring, seconds: float) -> set[int]:
        """
        Let time pass; who is given up at its end?
        """
        end = harness.now + seconds
        while harness.now < end:
            again = Join(9, 9, tuple(sorted(ring.processors)), (1,), 900)
            self.join(harness, 1, again)
            harness.run(TIMING.join)
        return set(ring.failed)

    def test_waitsForTheAudible(self) -> None:
        """
        Who is silent is given up when the consensus time is over; who can be
        heard and disagrees, so many consensus times later, and not one more.
        [pitfalls B13, B15]
        """
        harness, ring = self.disagreeing(silent=(8,))
        slack = 3 * TIMING.join
        self.assertEqual(self.rounds(harness, ring, TIMING.consensus + slack), {2, 8})
        rest = (MOST_WAITS - 1) * TIMING.consensus
        self.assertEqual(self.rounds(harness, ring, rest), {2, 8})
        self.assertEqual(ring.waits, {9: MOST_WAITS})
        self.rounds(harness, ring, TIMING.consensus + slack)
        self.assertEqual(ring.members, (1,))

    def test_roundsOfItsOwn(self) -> None:
        """
        Who comes and disagrees when there is no patience left for another is
        waited for all the same. [pitfall B15]
        """
        harness, ring = self.disagreeing()
        slack = 3 * TIMING.join
        self.rounds(harness, ring, MOST_WAITS * TIMING.consensus + slack)
        self.assertEqual((ring.waits, ring.failed), ({9: MOST_WAITS}, {2}))
        end = harness.now + TIMING.consensus + slack
        while harness.now < end:
            self.join(harness, 1, Join(7, 7, (1, 2, 7, 9), (), 900))
            self.rounds(harness, ring, TIMING.join)
        self.assertEqual(ring.waits, {7: 1, 9: MOST_WAITS})
        self.assertEqual(ring.failed, {2, 9})

    def test_quarrelIsShort(self) -> None:
        """
        Who hears somebody whom he gave up does not wait for anybody: others
        wait for him. [pitfall B15]
        """
        harness, ring = self.disagreeing()
        ring.processors.add(7)
        ring.failed.add(7)
        self.join(harness, 1, Join(7, 7, (1, 2, 7, 9), (), 900))
        self.assertEqual(ring.audible & ring.failed, {7})
        self.rounds(harness, ring, TIMING.consensus + 3 * TIMING.join)
        self.assertEqual((ring.waits, ring.members), ({}, (1,)))

    def test_growthOnly(self) -> None:
        """
        A join that tells us nothing new neither restarts the consensus timer
        nor makes us send one. [pitfall B6]
        """
        harness = formed(2)
        ring = self.join(harness, 1, Join(9, 9, (1, 2, 9), (2,), 900))
        deadlines = dict(ring._deadlines)
        for _ in range(50):
            again = Join(9, 9, (1, 2, 9), (2,), 900).encode()
            self.assertEqual(ring.framesReceived([again], harness.now), [])
        self.assertEqual(ring._deadlines, deadlines)

    def test_everybodyFailed(self) -> None:
        """
        Whatever is reported of us, we do not give ourselves up. [pitfall B4]
        """
        harness = formed(3)
        sequence = harness.rings[1].ringId.sequence
        harness.lost = lambda a, b, frame: True
        self.join(harness, 1, Join(2, 2, (1, 2, 3), (), sequence))
        self.join(harness, 1, Join(2, 2, (1, 2, 3), (1, 2, 3), sequence))
        ring = self.join(harness, 1, Join(3, 3, (1, 2, 3), (1, 2, 3), sequence))
        harness.run(4.0)
        self.assertEqual(ring.state, In.OPERATIONAL)
        self.assertEqual(ring.members, (1,))

    def test_ringSequenceOfTheMiddle(self) -> None:
        """
        The highest ring sequence that is believed leaves room for rings that
        all follow to, who heard of it and who did not.
        """
        harness = formed(3)
        self.join(harness, 1, Join(2, 2, (1, 2, 3), (), HIGHEST_SEQUENCE))
        harness.run(8.0)
        harness.add(makeRing(1))
        harness.run(8.0)
        for ring in harness.rings.values():
            self.assertEqual(ring.members, (1, 2, 3))
            self.assertEqual(ring.state, In.OPERATIONAL)
            self.assertGreater(ring.ringId.sequence, HIGHEST_SEQUENCE)

    def test_crowd(self) -> None:
        """
        More processors than a ring can have are not taken up, nor given up
        on somebody's word.
        """
        harness = formed(2)
        ring = harness.rings[1]
        for nodeid in range(1000, 1500):
            message = MergeDetect(nodeid, nodeid, RingId(77, nodeid))
            ring.framesReceived([message.encode()], harness.now)
            self.join(harness, 1, Join(nodeid, nodeid, (1, nodeid), (1,), 77))
        self.assertLessEqual(len(ring.processors), MOST_MEMBERS)
        self.assertLessEqual(ring.failed, ring.processors)
        harness.run(8.0)
        self.assertEqual(ring.members, (1, 2))

    def test_ringSequenceOfTheEnd(self) -> None:
        """
        A ring sequence that leaves no room for another is not believed.
        """
        harness = formed(1)
        ring = self.join(harness, 1, Join(9, 9, (1, 9), (), (1 << 64) - 1))
        self.assertLess(ring.highestSequence, 1 << 32)

    def test_afterAPause(self) -> None:
        """
        Joins that waited in the socket while we were not scheduled speak of
        the past. [pitfall F1]
        """
        harness = formed(3)
        ring = harness.rings[1]
        sequence = ring.ringId.sequence
        stale = [Join(2, 2, (1, 2, 3), (), sequence).encode()] * 20
        late = harness.now + 5.0
        self.assertEqual(ring.framesReceived(stale, late), [])
        self.assertEqual(ring.statistics.joinsStale, 20)
        ring.advance(late)
        self.assertEqual(ring.state, In.GATHER)
        self.assertEqual(ring.statistics.pauses, 1)

    def test_mergeDetect(self) -> None:
        """
        Merge detection of our own ring is nothing new, and of an older ring of
        a member neither; of a stranger it starts a gather. [pitfall B12]
        """
        harness = formed(2)
        ring = harness.rings[1]
        own = MergeDetect(1, 1, ring.ringId).encode()
        older = MergeDetect(2, 2, RingId(ring.ringId.sequence - 4, 2)).encode()
        self.assertEqual(ring.framesReceived([own, older], harness.now), [])
        stranger = MergeDetect(7, 7, RingId(5, 7)).encode()
        ring.framesReceived([stranger], harness.now)
        self.assertEqual((ring.state, ring.processors), (In.GATHER, {1, 2, 7}))

    def test_followsWhoGaveUp(self) -> None:
        """
        While a ring is formed, a member that has it already and has heard
        more makes us forget whom we gave up for it.
        """
        harness = formed(3)
        harness.lost = lambda a, b, frame: (
            3 in (a, b) or isinstance(decode(frame), Token)
        )
        harness.run(TIMING.token + TIMING.consensus + 0.1)
        ring = harness.rings[2]
        self.assertEqual(ring.state, In.RECOVERY)
        self.assertEqual(ring.failed, {3})
        heard = Join(1, 1, (1, 2, 3), (), ring.ringId.sequence)
        self.join(harness, 2, heard)
        self.assertEqual((ring.state, ring.failed), (In.GATHER, set()))

    def test_stormBound(self) -> None:
        """
        Two processors that cannot agree send no more joins than the bound.
        [EVS L5]
        """
        harness = formed(3)
        harness.lost = lambda a, b, frame: (a, b) == (1, 2)
        before = {n: r.statistics.joinsSent for n, r in harness.rings.items()}
        harness.run(60.0)
        windows = 60.0 / TIMING.consensus
        bound = 4 * TIMING.consensus / TIMING.join + 4 * 3
        for nodeid, ring in harness.rings.items():
            joins = ring.statistics.joinsSent - before[nodeid]
            self.assertLess(joins / windows, bound)


class CommitTests(SynchronousTestCase):
    """
    Commit tokens, at the right and the wrong time.
    """

    def gathering(self) -> tuple[Harness, Ring, CommitToken]:
        """
        Processor 2 of a ring of two, gathering, and a token it would sign.
        """
        harness = formed(2)
        ring = harness.rings[2]
        harness.lost = lambda a, b, frame: True
        harness.run(TIMING.token + 0.1)
        assert ring.state is In.GATHER
        harness.silent = {1, 2}
        proposer = makeRing(1)
        proposer.start(ring.ringId.sequence, 0.0)
        proposer.processors = {1, 2}
        token = proposer.proposed
        assert token is not None
        entry = token.entries[0]
        token = CommitToken(
            1,
            1,
            RingId(ring.ringId.sequence + 4, 1),
            (1, 2),
            (entry, type(entry)(RingId(0, 0), 0, 0, 0)),
            index=1,
        )
        return harness, ring, token

    def test_signed(self) -> None:
        """
        In gather, a ring of whom we agreed on is signed in our turn.
        """
        harness, ring, token = self.gathering()
        effects = ring.framesReceived([token.encode()], harness.now)
        self.assertEqual(of(StoreRingId, effects), [StoreRingId(token.ringId.sequence)])
        (out,) = of(Unicast, ring.ringIdStored(harness.now))
        signed = decode(out.frame)
        assert isinstance(signed, CommitToken)
        self.assertEqual((signed.index, out.nodeid), (2, 1))
        self.assertEqual(signed.entries[1].ringId, ring.window.ringId)

    def test_wrongTurn(self) -> None:
        """
        A commit token of another hop, other members or an older ring is not
        signed. [pitfalls C3, C6]
        """
        harness, ring, token = self.gathering()
        three = ((1, 2, 3), (*token.entries, token.entries[1]))
        for wrong in (
            evolve(token, index=0),
            evolve(token, index=2),
            evolve(token, members=three[0], entries=three[1]),
            evolve(token, ringId=ring.ringId),
        ):
            data = wrong.encode()
            effects = ring.framesReceived([data], harness.now)
            self.assertEqual(of(StoreRingId, effects), [])
            self.assertEqual(ring.state, In.GATHER)

    def test_notBeforeStored(self) -> None:
        """
        Nothing of the new ring leaves before its name is stored. [EVS I5]
        """
        harness, ring, token = self.gathering()
        effects = ring.framesReceived([token.encode()], harness.now)
        self.assertEqual(of(Unicast, effects) + of(Multicast, effects), [])
        second = CommitToken(
            1, 3, token.ringId, token.members, token.entries, index=2
        ).encode()
        self.assertEqual(ring.framesReceived([second], harness.now), [])
        self.assertEqual(ring.state, In.COMMIT)


class CommittedTests(SynchronousTestCase):
    """
    Joins while a ring is proposed.
    """

    def proposing(self) -> Ring:
        """
        Processor 1, which has just proposed a ring to itself and 2.
        """
        ring = formed(1).rings[1]
        ring.framesReceived([Join(2, 2, (1, 2), (), 1).encode()], 3.01)
        self.assertEqual(ring.state, In.COMMIT)
        self.assertEqual(ring.processors, {1, 2})
        return ring

    def test_refusedWhileBusy(self) -> None:
        """
        A disk that refuses our newest name at once, and then finishes older
        ones, has not stored it.
        """
        ring = makeRing(1)
        ring.start(40, 0.0)
        for turn in (1, 2):
            ring.advance(turn * TIMING.token)  # It gives up, and asks again.
        self.assertEqual(ring.storesPending, 3)
        self.assertEqual(ring.ringIdRefused("busy", 2.1), [])
        self.assertEqual(ring.ringIdStored(2.1), [])
        self.assertEqual(of(Unicast, ring.ringIdStored(2.1)), [])
        self.assertEqual(ring.state, In.MUTE)
        self.assertFalse(ring.storeRefused)

    def test_memberHeardMore(self) -> None:
        """
        A member that knows of one more will not sign: start over at once.
        """
        ring = self.proposing()
        ring.framesReceived([Join(2, 2, (1, 2, 3), (), 1).encode()], 3.03)
        self.assertEqual((ring.state, ring.processors), (In.GATHER, {1, 2, 3}))

    def test_memberGaveUpAnother(self) -> None:
        """
        Nor will one that gave up another member, or us; whom else it gave up
        is its own affair. [pitfall B15]
        """
        for failed, state in (((3,), In.COMMIT), ((1,), In.GATHER)):
            ring = self.proposing()
            ring.failed.add(3)
            ring.processors.add(3)
            ring.framesReceived([Join(2, 2, (1, 2, 3), failed, 1).encode()], 3.03)
            self.assertEqual((ring.state, ring.failed), (state, {3}))

    def test_nothingNew(self) -> None:
        """
        The joins that led here, and those of strangers, do not lead back.
        [pitfalls B14, C9]
        """
        ring = self.proposing()
        for join in (Join(2, 2, (1, 2), (), 1), Join(7, 7, (1, 2, 7), (), 900)):
            self.assertEqual(ring.framesReceived([join.encode()], 3.03), [])
        self.assertEqual(ring.state, In.COMMIT)


class RecoveryTests(SynchronousTestCase):
    """
    What is left of an old ring.
    """

    def test_unequalEnds(self) -> None:
        """
        Somebody lacks the last messages of one who died, and gets them from
        another before the transitional configuration. [pitfalls A4, D1]
        """
        harness = formed(3)
        harness.lost = lambda a, b, frame: b == 3 and isinstance(decode(frame), Regular)
        for number in range(20):
            harness.multicast(1, b"%d" % number * 100)
        harness.run(0.01)
        self.assertEqual(len(harness.delivered[2]), 20)
        self.assertEqual(harness.delivered[3], [])
        harness.silent.add(1)
        harness.lost = lambda a, b, frame: False
        harness.run(6.0)
        self.assertEqual(harness.delivered[3], harness.delivered[2])
        self.assertGreater(harness.rings[2].statistics.framesRecovered, 0)
        harness.multicast(3, b"after")
        harness.run(0.1)
        self.assertEqual(harness.delivered[2][-1], b"after")

    def test_holeNobodyFills(self) -> None:
        """
        A gap that its dead sender took along is stepped over by all alike.
        [pitfall D5]
        """
        harness = formed(3)

        def lost(a: int, b: int, data: bytes) -> bool:
            frame = decode(data)
            return isinstance(frame, Regular) and frame.origin == 1

        harness.lost = lost
        harness.multicast(1, b"never")
        harness.run(3 * LATENCY)
        harness.multicast(2, b"kept")
        harness.run(0.005)
        self.assertEqual(harness.delivered[3], [])
        harness.silent.add(1)
        harness.run(6.0)
        self.assertEqual(harness.delivered[2], [b"kept"])
        self.assertEqual(harness.delivered[3], [b"kept"])

    def test_manyOutstanding(self) -> None:
        """
        A thousand outstanding frames are recovered. [pitfall D4]
        """
        harness = formed(3, evolve(TIMING, missCount=1 << 30))
        harness.lost = lambda a, b, frame: b == 3 and isinstance(decode(frame), Regular)
        for _ in range(20):
            harness.multicast(1, b"x" * 69_000)
            harness.run(0.05)
        self.assertGreaterEqual(len(harness.delivered[2]), 19)
        harness.silent.add(1)
        harness.lost = lambda a, b, frame: False
        harness.run(10.0)
        self.assertEqual(harness.delivered[3], harness.delivered[2])
        self.assertGreater(harness.rings[2].statistics.framesRecovered, 950)

    def test_interrupted(self) -> None:
        """
        A recovery that fails at any of its datagrams leaves the old ring's
        frames as they were for the next. [pitfalls D7, C5]
        """
        for cut in range(1, 40, 2):
            harness = formed(3)
            harness.lost = lambda a, b, f: b == 3 and isinstance(decode(f), Regular)
            for number in range(5):
                harness.multicast(1, b"%d" % number)
            harness.run(0.01)
            harness.silent.add(1)
            count = iter(range(cut))

            def late(a: int, b: int, f: bytes, count: Iterator[int] = count) -> bool:
                counted = isinstance(decode(f), CommitToken | Token | Regular)
                return counted and next(count, None) is None

            harness.lost = late
            harness.run(3.5)
            harness.lost = lambda a, b, frame: False
            harness.run(8.0)
            self.assertEqual(harness.rings[3].members, (2, 3))
            self.assertEqual(harness.delivered[3], harness.delivered[2], cut)
            self.assertEqual(len(harness.delivered[3]), 5)

    def test_partlySentMessage(self) -> None:
        """
        A message that was half sent when the ring changed is delivered whole,
        once, in the new ring. [pitfall G11]
        """
        harness = formed(3)
        harness.multicast(1, b"y" * 200_000)
        harness.run(4 * LATENCY)
        self.assertEqual(harness.delivered[2], [])
        harness.silent.add(3)
        harness.run(6.0)
        for nodeid in (1, 2):
            inStep, message = harness.delivered[nodeid]
            self.assertEqual(inStep, NOTHING)
            self.assertTrue(message == b"y" * 200_000)


class BadInputTests(SynchronousTestCase):
    """
    Nothing from the network can harm a processor.
    """

    @given(st.binary(max_size=200))
    def test_rubbish(self, data: bytes) -> None:
        """
        Rubbish is dropped, counted, and changes nothing.
        """
        ring = makeRing(1)
        ring.start(0, 0.0)
        state = ring.state
        (effect,) = ring.framesReceived([data], 0.1)
        self.assertIsInstance(effect, Dropped)
        self.assertEqual(ring.state, state)
        self.assertEqual(ring.statistics.framesDropped, 1)

    def test_stopped(self) -> None:
        """
        After the leave nothing is heard and nothing is due.
        """
        harness = formed(2)
        ring = harness.rings[1]
        data = tokenOf(harness, 1).encode()
        ring.leave(harness.now)
        self.assertEqual(ring.framesReceived([data], harness.now), [])
        self.assertIsNone(ring.deadline)
        self.assertEqual(of(ConfigurationChanged, ring.advance(harness.now + 9)), [])
