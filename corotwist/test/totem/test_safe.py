"""
Tests of what a window hands up when frames are to be safe.
"""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.totem.membership import RingId
from corotwist.totem.sequence import MASK
from corotwist.totem.window import Window
from corotwist.totem.wire import Regular, makeRegular

RING = RingId(4, 1)
MOST_FRAMES = 12


def frame(sequence: int, *, safe: bool = False) -> Regular:
    """
    An empty frame at a place.
    """
    return makeRegular(1, sequence & MASK, 1, RING, int(safe), b"")


def sequences(frames: list[Regular]) -> list[int]:
    """
    Where frames are.
    """
    return [frame.sequence for frame in frames]


class SafeWindowTests(SynchronousTestCase):
    def test_waits(self) -> None:
        """
        A safe frame waits until it is stable, and whatever is behind it.
        """
        window = Window(RING)
        for sequence in range(1, 6):
            window.add(frame(sequence, safe=sequence == 3))
        self.assertEqual(sequences(window.inOrder()), [1, 2])
        self.assertEqual(sequences(window.inOrder()), [])
        window.stableUpTo(2)
        self.assertEqual(sequences(window.inOrder()), [])
        window.stableUpTo(3)
        self.assertEqual(sequences(window.inOrder()), [3, 4, 5])

    def test_neverBack(self) -> None:
        """
        What was stable stays so.
        """
        window = Window(RING)
        window.stableUpTo(5)
        window.stableUpTo(4)
        self.assertEqual(window.stable, 5)

    def test_withoutGap(self) -> None:
        """
        At the end of a ring all that has no gap is handed up, safe or not.
        """
        window = Window(RING)
        for sequence in (1, 2, 4):
            window.add(frame(sequence, safe=True))
        self.assertEqual(sequences(window.withoutGap()), [1, 2])

    @given(
        st.integers(0, MASK),
        st.lists(st.booleans(), max_size=MOST_FRAMES),
        st.lists(st.tuples(st.integers(0, MOST_FRAMES), st.booleans())),
        st.randoms(use_true_random=False),
    )
    def test_model(
        self,
        start: int,
        safe: list[bool],
        steps: list[tuple[int, bool]],
        random: Random,
    ) -> None:
        """
        Whatever the order of arrival and the numbers, also where they wrap:
        each frame is handed up once, in order, and as soon as all before it
        are and it is agreed or stable.
        """
        window = Window(RING, start)
        arriving = [*enumerate(safe, 1)]
        random.shuffle(arriving)
        here: dict[int, bool] = {}
        handedUp = stable = 0
        for upTo, arrives in steps:
            if arrives and arriving:
                place, isSafe = arriving.pop()
                here[place] = isSafe
                window.add(frame(start + place, safe=isSafe))
            else:
                stable = max(stable, upTo)
                window.stableUpTo((start + upTo) & MASK)
            expected = []
            while handedUp + 1 in here and (
                not here[handedUp + 1] or handedUp < stable
            ):
                handedUp += 1
                expected.append((start + handedUp) & MASK)
            self.assertEqual(sequences(window.inOrder()), expected)
