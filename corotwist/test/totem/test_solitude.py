"""
Tests of keeping to oneself.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.totem.membership import RingId
from corotwist.totem.solitude import (
    FORGOTTEN_AFTER,
    FRAMES_HEARD,
    MOST_CONSENSUS_TIMES,
    Solitude,
)
from corotwist.totem.wire import Regular, makeRegular

RING = RingId(8, 1)


def frame(sequence: int, ringId: RingId = RING) -> Regular:
    """
    One of somebody else's.
    """
    return makeRegular(1, sequence, sequence, ringId, 0, b"")


class SolitudeTests(SynchronousTestCase):
    """
    How long it lasts.
    """

    def test_longer(self) -> None:
        """
        Each time twice as long, up to a bound. [EVS L7]
        """
        solitude = Solitude()
        now, lasted = 0.0, []
        for _ in range(8):
            solitude.begin(now, 1.0)
            lasted.append(solitude.until - now)
            now = solitude.until + 1.0
        most = float(MOST_CONSENSUS_TIMES)
        self.assertEqual(lasted, [1.0, 2.0, 4.0, 8.0, 16.0, most, most, most])

    def test_forgotten(self) -> None:
        """
        What was long ago does not count.
        """
        solitude = Solitude()
        solitude.begin(0.0, 1.0)
        solitude.begin(2.0, 1.0)
        later = solitude.until + FORGOTTEN_AFTER * MOST_CONSENSUS_TIMES + 0.1
        solitude.begin(later, 1.0)
        self.assertEqual(solitude.until, later + 1.0)

    def test_ended(self) -> None:
        """
        Somebody may know that it is over; the next one is short again, and
        nothing happens when there was none. (A102)
        """
        solitude = Solitude()
        solitude.begin(0.0, 1.0)
        solitude.begin(2.0, 1.0)
        solitude.end(2.5)
        self.assertEqual(solitude.until, 2.5)
        solitude.begin(3.0, 1.0)
        self.assertEqual(solitude.until, 4.0)
        solitude.end(9.0)
        self.assertEqual(solitude.until, 4.0)

    def test_hears(self) -> None:
        """
        It ends when so many frames were heard and none missed between them.
        """
        solitude = Solitude()
        solitude.begin(10.0, 1.0)
        for sequence in range(FRAMES_HEARD - 1):
            solitude.heard(frame(sequence), 10.5)
        self.assertEqual(solitude.until, 11.0)
        solitude.heard(frame(FRAMES_HEARD - 1), 10.5)
        self.assertEqual(solitude.until, 10.5)

    def test_gaps(self) -> None:
        """
        A path that loses some of them is no good: the count begins anew, as
        it does with another ring.
        """
        solitude = Solitude()
        solitude.begin(10.0, 1.0)
        for sequence in range(4 * FRAMES_HEARD):
            if sequence % (FRAMES_HEARD - 1):
                solitude.heard(frame(sequence), 10.5)
        for number in range(2 * FRAMES_HEARD):
            solitude.heard(frame(number, RingId(8 + number % 2, 1)), 10.5)
        self.assertEqual(solitude.until, 11.0)
