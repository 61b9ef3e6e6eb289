"""
The judge of what is on the wire.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import Timing
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.judges.traffic import (
    RINGS_REMEMBERED,
    TOKENS_REMEMBERED,
    TrafficJudge,
)
from corotwist.totem.membership import RingId
from corotwist.totem.wire import HoldCancel, Join, MergeDetect, Token, makeRegular

R1 = RingId(8, 1)


def token(number: int, sequence: int = 0, ringId: RingId = R1) -> bytes:
    return Token(1, sequence, number, 0, 0, ringId).encode()


class TrafficTests(SynchronousTestCase):
    """
    Two processes, the first of which has stored ring sequence 8.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        timing = Timing(consensus=1.0, join=0.1)
        self.judge = TrafficJudge(self.violations.append, timing, 2)
        self.a, self.b = Life(1), Life(2)
        self.durable: int | None = 8
        for life in (self.a, self.b):
            self.judge.booted(life, lambda: self.durable)

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def test_joins(self) -> None:
        """
        L5: only so many joins within one consensus time; more over a longer
        time are nothing special.
        """
        join = Join(1, 1, (1,), (), 1).encode()
        for number in range(500):
            self.judge.sent(self.a, join, number / 40)
        self.assertFound()
        self.assertEqual(self.judge.joinBound, 48)
        for _ in range(20):
            self.judge.sent(self.a, join, 12.5)
        self.assertEqual(self.violations[0].promise, "L5")

    def test_notStored(self) -> None:
        """
        I5: no datagram names a ring in use before that name is on disk.
        """
        later = RingId(9, 1)
        for message in (
            Token(1, 0, 0, 0, 0, later).encode(),
            makeRegular(1, 1, 1, RingId(10, 1), 0, b"").encode(),
            MergeDetect(1, 1, RingId(11, 1)).encode(),
            HoldCancel(1, RingId(12, 1)).encode(),
        ):
            self.judge.sent(self.a, message, 0.0)
        self.assertFound("I5", "I5", "I5", "I5")

    def test_neverStored(self) -> None:
        """
        I5: nor while nothing is on disk at all.
        """
        self.durable = None
        self.judge.sent(self.a, token(1), 0.0)
        self.assertFound("I5")

    def test_namedAgain(self) -> None:
        """
        P2.6: a process names no ring as an earlier one of its node did, though
        nobody ever was on that ring; unless the disk is lost.
        """
        self.judge.sent(self.a, token(1), 0.0)
        self.judge.ended(self.a)
        again = Life(1, 2, fresh=False)
        self.judge.booted(again, lambda: self.durable)
        self.judge.sent(again, token(1, ringId=RingId(8, 2)), 1.0)
        self.assertFound()
        self.judge.sent(again, token(1), 1.0)
        self.assertFound("P2.6")
        fresh = Life(1, 3, fresh=True)
        self.judge.booted(fresh, lambda: self.durable)
        self.judge.sent(fresh, token(1), 2.0)
        self.assertFound("P2.6")

    def test_stored(self) -> None:
        """
        What is on disk may be named; joins name no ring in use, and sealed
        datagrams are not read.
        """
        self.judge.sent(self.a, token(1), 0.0)
        self.judge.sent(self.a, Join(1, 1, (1,), (), 99).encode(), 0.0)
        self.judge.sent(self.a, b"sealed" * 20, 0.0)
        self.assertFound()

    def test_twoTokens(self) -> None:
        """
        I1: two different tokens with one number in one ring; copies are none.
        """
        self.judge.sent(self.a, token(1), 0.0)
        self.judge.sent(self.a, token(1), 0.1)
        self.judge.sent(self.a, token(1, ringId=RingId(4, 1)), 0.1)
        self.assertFound()
        self.judge.sent(self.b, token(1, sequence=5), 0.2)
        self.assertFound("I1")

    def test_bounded(self) -> None:
        """
        Old tokens and old rings are forgotten.
        """
        for number in range(2 * TOKENS_REMEMBERED):
            self.judge.sent(self.a, token(number), 0.0)
        self.durable = 10**6
        for number in range(2 * RINGS_REMEMBERED):
            self.judge.sent(self.a, token(1, ringId=RingId(9 + number, 1)), 0.0)
        self.assertFound()
        self.assertEqual(len(self.judge._tokens), RINGS_REMEMBERED)

    def test_dead(self) -> None:
        """
        What the dead seem to send is not judged.
        """
        self.judge.ended(self.a)
        self.judge.sent(self.a, token(1, ringId=RingId(99, 1)), 0.0)
        self.assertFound()
