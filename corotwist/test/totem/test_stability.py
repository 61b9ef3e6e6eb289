"""
Who waits until everybody has what was delivered here.
"""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import TryAgain
from corotwist.test.factories import Harness, formed, of
from corotwist.totem.effects import Multicast, Stable
from corotwist.totem.membership import Configuration, RingId
from corotwist.totem.sequence import MASK
from corotwist.totem.stability import MOST_WAITING, Stability
from corotwist.totem.wire import Regular, Token, decode

OLD, NEW, NEWER = RingId(8, 1), RingId(12, 1), RingId(16, 2)


class StabilityTests(SynchronousTestCase):
    """
    Which callbacks are called, and with whom.
    """

    def setUp(self) -> None:
        self.stability = Stability()
        self.heard: list[tuple[str, tuple[int, ...]]] = []

    def regular(self, ringId: RingId, *members: int) -> None:
        self.stability.configured(Configuration(ringId, members, transitional=False))

    def transitional(self, ringId: RingId, *members: int) -> None:
        self.stability.configured(Configuration(ringId, members, transitional=True))

    def ask(self, name: str, place: int = 0) -> None:
        def told(members: tuple[int, ...]) -> None:
            self.heard.append((name, members))

        self.stability.ask(told, place)

    def stable(self, ringId: RingId, sequence: int) -> None:
        for callback, members in self.stability.stable(ringId, sequence):
            callback(members)

    def test_places(self) -> None:
        """
        Each is called once, when all have what was delivered before it asked.
        """
        self.regular(OLD, 1, 2, 3)
        self.ask("first", 4)
        self.ask("second", 6)
        self.stable(OLD, 3)
        self.assertEqual(self.heard, [])
        self.stable(OLD, 5)
        self.assertEqual(self.heard, [("first", (1, 2, 3))])
        self.stable(OLD, 6)
        self.stable(OLD, 7)
        self.assertEqual(self.heard[1:], [("second", (1, 2, 3))])

    def test_wraps(self) -> None:
        """
        Sequences wrap.
        """
        self.regular(OLD, 1, 2)
        self.ask("across", 2)
        self.stable(OLD, MASK)
        self.assertEqual(self.heard, [])
        self.stable(OLD, 2)
        self.assertEqual(self.heard, [("across", (1, 2))])

    def test_ringChanged(self) -> None:
        """
        Of a ring that is over those have it who came along, as soon as the
        new one has gone round.
        """
        self.regular(OLD, 1, 2, 3)
        self.ask("before", 9)
        self.transitional(NEW, 1, 3)
        self.ask("between", 9)
        self.regular(NEW, 1, 3, 4)
        self.ask("after", 2)
        self.stable(NEW, 1)
        self.assertEqual(self.heard, [("before", (1, 3)), ("between", (1, 3))])
        self.stable(NEW, 2)
        self.assertEqual(self.heard[2:], [("after", (1, 3, 4))])

    def test_ringChangedTwice(self) -> None:
        """
        If the new ring ends before that, it is those who come along again.
        """
        self.regular(OLD, 1, 2, 3)
        self.ask("before", 9)
        self.transitional(NEW, 1, 3)
        self.regular(NEW, 1, 3, 4)
        self.transitional(NEWER, 3, 4)
        self.regular(NEWER, 2, 3, 4)
        self.stable(NEWER, 0)
        self.assertEqual(self.heard, [("before", (3,))])

    def test_bounded(self) -> None:
        """
        So many may wait, and no more; without a ring nobody.
        """
        self.assertRaises(TryAgain, self.ask, "too early")
        self.regular(OLD, 1, 2)
        for _ in range(MOST_WAITING):
            self.ask("one of many", 1)
        self.assertRaises(TryAgain, self.ask, "one too many")
        self.stable(OLD, 1)
        self.ask("the next")
        self.assertEqual(len(self.stability), 1)


class RingTests(SynchronousTestCase):
    """
    What a ring tells of what all have.
    """

    def watched(self, harness: Harness) -> list[Stable]:
        """
        What processor 1 tells.
        """
        told: list[Stable] = []
        perform: Callable[..., None] = harness.perform

        def watching(_: Harness, nodeid: int, effects: list) -> None:  # type: ignore[type-arg]
            if nodeid == 1:
                told.extend(of(Stable, effects))
            perform(nodeid, effects)

        self.patch(Harness, "perform", watching)
        return told

    def test_unasked(self) -> None:
        """
        Nothing is told that nobody wants to know.
        """
        harness = formed(2)
        told = self.watched(harness)
        harness.multicast(2, b"x")
        harness.run(1.0)
        self.assertEqual(told, [])

    def test_lacking(self) -> None:
        """
        What one lacks is not stable, though its sender and others have it.
        """
        harness = formed(3)
        told = self.watched(harness)
        deaf = True

        def lost(a: int, b: int, frame: bytes) -> bool:
            return deaf and b == 3 and isinstance(decode(frame), Regular)

        harness.lost = lost
        harness.multicast(2, b"x")
        harness.run(0.1)
        ring = harness.rings[1]
        self.assertEqual(harness.delivered[1], [b"x"])
        harness.perform(1, ring.wantStability(harness.now))
        harness.run(0.1)
        place = ring.window.delivered
        self.assertNotIn(Stable(ring.ringId, place), told)
        deaf = False
        harness.run(0.1)
        self.assertEqual(told[-1], Stable(ring.ringId, place))

    def test_idle(self) -> None:
        """
        On an idle ring the answer is there at once, and the token stays where
        it is.
        """
        harness = formed(3)
        harness.multicast(2, b"x")
        harness.run(2.0)
        ring = harness.rings[1]
        self.assertTrue(ring.idle)
        effects = ring.wantStability(harness.now)
        self.assertEqual(effects, [Stable(ring.ringId, ring.window.delivered)])

    def test_held(self) -> None:
        """
        When the token is held although somebody still waits, it is asked for.
        """
        harness = formed(3)
        harness.run(2.0)
        for ring in harness.rings.values():
            self.assertTrue(ring.idle)
        ring = harness.rings[1]
        ring.allOperational = False
        sent = of(Multicast, ring.wantStability(harness.now))
        self.assertEqual(len(sent), 1)
        self.assertFalse(ring.idle)

    def test_oneRotation(self) -> None:
        """
        A new ring tells nothing before its token has come round: a member may
        still be recovering.
        """
        harness = formed(2)
        harness.perform(1, harness.rings[1].reform(harness.now))
        told = self.watched(harness)
        ring = harness.rings[1]
        before = ring.ringId
        harness.perform(1, ring.wantStability(harness.now))
        while ring.configuration is None or ring.configuration.ringId == before:
            harness.run(0.0002)
        self.assertEqual(told, [])
        self.assertFalse(ring.allOperational)
        tokens = [f for a, f in harness.sent if a == 1 and isinstance(decode(f), Token)]
        harness.run(0.01)
        self.assertTrue(ring.allOperational)
        self.assertGreater(len(tokens), 0)
        self.assertEqual(told[0].ringId, ring.ringId)
