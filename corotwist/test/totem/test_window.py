"""
Tests of the window of received frames.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.totem.membership import RingId
from corotwist.totem.sequence import MASK, after, distance, earlier
from corotwist.totem.window import WINDOW, Window
from corotwist.totem.wire import Regular, makeRegular

RING = RingId(9, 1)
STARTS = (0, 0x7FFFF000, 0xFFFFFE00, 0xFFFFFFFE)


def frame(sequence: int) -> Regular:
    return makeRegular(1, sequence & MASK, 0, RING, 0, b"x")


def sequences(frames: list[Regular]) -> list[int]:
    return [f.sequence for f in frames]


class SequenceTests(SynchronousTestCase):
    """
    Numbers that wrap.
    """

    @given(st.integers(0, MASK), st.integers(-(1 << 31) + 1, (1 << 31) - 1))
    def test_distance(self, start: int, by: int) -> None:
        """
        Distance undoes addition, across the wrap too, and agrees with order.
        """
        end = (start + by) & MASK
        self.assertEqual(distance(start, end), by)
        self.assertEqual(after(end, start), by > 0)
        self.assertEqual(earlier(start, end), end if by < 0 else start)


class WindowTests(SynchronousTestCase):
    """
    L{Window}, from every interesting start.
    """

    @given(st.sampled_from(STARTS), st.permutations(range(1, 40)))
    def test_anyOrder(self, start: int, order: list[int]) -> None:
        """
        Frames come out once, in order, whatever order they came in.
        """
        window = Window(RING, start)
        out: list[int] = []
        for offset in order:
            self.assertTrue(window.add(frame(start + offset)))
            self.assertFalse(window.add(frame(start + offset)))
            out += sequences(window.inOrder())
        self.assertEqual(out, [(start + i) & MASK for i in range(1, 40)])
        self.assertEqual(window.aru, window.high)

    def test_jump(self) -> None:
        """
        One late frame moves aru over everything that waited behind it.
        """
        window = Window(RING)
        for sequence in range(2, 1102):
            window.add(frame(sequence))
        self.assertEqual(window.aru, 0)
        window.add(frame(1))
        self.assertEqual(window.aru, 1101)

    def test_released(self) -> None:
        """
        A duplicate of a frame that was released is not taken again.
        """
        window = Window(RING)
        for sequence in range(1, 11):
            window.add(frame(sequence))
        window.inOrder()
        window.release(7)
        self.assertEqual(len(window), 3)
        self.assertFalse(window.add(frame(3)))
        self.assertIsNone(window.get(3))
        self.assertIsNotNone(window.get(8))

    def test_bound(self) -> None:
        """
        Nothing is kept that is further ahead than a ring can be.
        """
        window = Window(RING, 0xFFFFFFF0)
        self.assertTrue(window.add(frame(0xFFFFFFF0 + WINDOW)))
        self.assertFalse(window.add(frame(0xFFFFFFF0 + WINDOW + 1)))
        self.assertFalse(window.add(frame(0xFFFFFFF0)))

    def test_missing(self) -> None:
        """
        A frame is asked for when it was missed so often, and only while it
        is missing.
        """
        window = Window(RING, 0xFFFFFFFE)
        window.add(frame(0xFFFFFFFF))
        window.add(frame(1))
        for _ in range(4):
            self.assertEqual(window.missing(3, 5, 30), [])
        self.assertEqual(window.missing(3, 5, 30), [0, 2, 3])
        self.assertEqual(window.missing(3, 5, 2), [0, 2])
        window.add(frame(0))
        self.assertEqual(window.missing(3, 5, 30), [2, 3])

    def test_acrossGaps(self) -> None:
        """
        What lies behind a gap comes out in order when the ring is over.
        """
        window = Window(RING)
        for sequence in (1, 2, 5, 4, 9):
            window.add(frame(sequence))
        self.assertEqual(sequences(window.inOrder()), [1, 2])
        self.assertEqual(sequences(window.acrossGaps()), [4, 5, 9])
        self.assertEqual(window.acrossGaps(), [])

    def test_aboveAnything(self) -> None:
        """
        However far back somebody wants to begin, one looks no further than to
        the first frame held.
        """
        window = Window(RING, 7)
        window.add(frame(8))
        for start in (7, (7 - (1 << 31) + 2) & MASK):
            self.assertEqual(sequences(list(window.above(start))), [8])
