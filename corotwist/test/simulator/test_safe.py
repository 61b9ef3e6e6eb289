"""
The judge of safe delivery.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.judges.safe import RINGS_REMEMBERED, SafeJudge
from corotwist.totem.membership import Configuration, RingId

R1, R2 = RingId(4, 1), RingId(8, 1)


class SafeTests(SynchronousTestCase):
    """
    Three processes on a ring with an agreed frame, 1, and safe ones, 2 and 3.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = SafeJudge(self.violations.append)
        self.lives = [Life(n) for n in (1, 2, 3)]
        for life in self.lives:
            self.judge.booted(life)

    def install(self, ringId: RingId, *lives: Life, members: tuple[int, ...]) -> None:
        for life in lives:
            self.judge.configured(
                life, Configuration(ringId, members, transitional=False)
            )

    def begin(self, *lives: Life) -> None:
        self.install(R1, *lives, members=(1, 2, 3))
        for sequence in (1, 2, 3):
            self.judge.sent(R1, sequence, safe=sequence > 1)

    def transition(self, *lives: Life, members: tuple[int, ...] = (1, 2)) -> None:
        for life in lives:
            self.judge.configured(life, Configuration(R2, members, transitional=True))

    def deliver(self, life: Life, *sequences: int) -> None:
        for sequence in sequences:
            self.judge.delivered(life, R1, sequence)

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def test_good(self) -> None:
        """
        Two go on with all that is safe; the third fails.
        """
        a, b, c = self.lives
        self.begin(a, b, c)
        self.deliver(a, 1, 2)
        self.deliver(c, 1)
        self.judge.ended(c)
        self.deliver(b, 1)
        self.transition(a, b)
        self.deliver(b, 2, 3)
        self.deliver(a, 3)
        self.install(R2, a, b, members=(1, 2))
        self.judge.agreement([a, b])
        self.assertFound()

    def test_lost(self) -> None:
        """
        P7.1: one delivers a safe frame in the regular configuration, another
        goes on without it; whoever is first.
        """
        a, b, c = self.lives
        self.begin(a, b, c)
        self.deliver(a, 1, 2)
        self.deliver(b, 1)
        self.transition(b)
        self.install(R2, b, members=(1, 2))
        self.assertFound("P7.1")
        self.deliver(a, 3)
        self.assertFound("P7.1", "P7.1")

    def test_agreedOnly(self) -> None:
        """
        An agreed frame is not promised to all.
        """
        a, b, c = self.lives
        self.begin(a, b, c)
        self.deliver(a, 1)
        self.transition(b)
        self.install(R2, b, members=(1, 2))
        self.assertFound()

    def test_neverInstalled(self) -> None:
        """
        P7.2: a member goes on to a later ring and never was in the one in
        which a safe frame was delivered; but a new process may.
        """
        a, b, c = self.lives
        self.begin(a, b)
        self.deliver(a, 1, 2)
        self.deliver(b, 1, 2)
        again = Life(3, 2)
        self.judge.booted(again)
        self.install(R2, again, members=(3,))
        self.assertFound()
        self.install(R2, c, members=(3,))
        self.assertFound("P7.2")

    def test_neverInstalledBefore(self) -> None:
        """
        P7.2: so it is when the frame is delivered only then.
        """
        a, b, c = self.lives
        self.begin(a, b)
        self.install(R2, c, members=(3,))
        self.assertFound()
        self.deliver(a, 1, 2)
        self.assertFound("P7.2")

    def test_transition(self) -> None:
        """
        P7.3: what is delivered as safe in a transitional configuration, all of
        that deliver.
        """
        a, b, c = self.lives
        self.begin(a, b, c)
        self.transition(a, b)
        self.deliver(a, 1, 2)
        self.deliver(b, 1)
        self.install(R2, b, members=(1, 2))
        self.assertFound("P7.3")
        self.deliver(a, 3)
        self.assertFound("P7.3", "P7.3")

    def test_quiet(self) -> None:
        """
        P7.1: in quiet, everybody has it.
        """
        a, b, c = self.lives
        self.begin(a, b, c)
        self.deliver(a, 1, 2)
        self.judge.agreement([a, b])
        self.assertFound("P7.1")

    def test_bounded(self) -> None:
        """
        Old rings are forgotten.
        """
        a = self.lives[0]
        for number in range(2 * RINGS_REMEMBERED):
            self.transition(a)
            self.install(RingId(number, 1), a, members=(1,))
        self.assertEqual(len(self.judge._rings), RINGS_REMEMBERED)
        self.assertLessEqual(len(self.judge._transitions), RINGS_REMEMBERED)
