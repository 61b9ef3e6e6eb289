"""
The judge of whole messages.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.judges import messages
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.judges.messages import MessageJudge
from corotwist.totem.membership import Configuration, RingId

R1, R2 = RingId(4, 1), RingId(8, 1)


class MessageTests(SynchronousTestCase):
    """
    Two processes in one ring.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = MessageJudge(self.violations.append)
        self.a, self.b = self.both = Life(1), Life(2)
        for life in self.both:
            self.judge.booted(life)
            self.ring(life, R1)

    def ring(self, life: Life, ringId: RingId) -> None:
        self.judge.configured(life, Configuration(ringId, (1, 2), transitional=False))

    def transition(self, life: Life, ringId: RingId) -> None:
        self.judge.configured(life, Configuration(ringId, (1, 2), transitional=True))

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.judge.submitted(self.a, number, b"%d" % number)

    def deliver(self, life: Life, *numbers: int) -> None:
        for number in numbers:
            self.judge.delivered(life, 1, 1, number, b"%d" % number)

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def test_good(self) -> None:
        """
        All deliver everything in the order it was sent, across a change.
        """
        self.send(1, 2, 3)
        for life in self.both:
            self.deliver(life, 1)
            self.transition(life, R2)
            self.deliver(life, 2)
            self.ring(life, R2)
            self.deliver(life, 3)
        self.judge.agreement([*self.both])
        self.assertEqual(self.judge.outstanding([*self.both]), 0)
        self.assertFound()

    def test_invented(self) -> None:
        """
        P1.2: a message that nobody sent, or that an earlier process sent.
        """
        self.send(1)
        self.judge.delivered(self.b, 1, 1, 2, b"2")
        self.judge.delivered(self.b, 1, 2, 1, b"1")
        self.assertFound("P1.2", "P1.2")

    def test_changed(self) -> None:
        """
        P1.5: other bytes than were sent.
        """
        self.send(1)
        self.judge.delivered(self.b, 1, 1, 1, b"1 and more")
        self.assertFound("P1.5")

    def test_twice(self) -> None:
        """
        P1.4: a message again.
        """
        self.send(1)
        self.deliver(self.b, 1, 1)
        self.assertFound("P1.4")

    def test_order(self) -> None:
        """
        P5: two messages of one sender in the wrong order.
        """
        self.send(1, 2)
        self.deliver(self.b, 2, 1)
        self.assertFound("P5")

    def test_overtaking(self) -> None:
        """
        S8: a message before the services are in step.
        """
        self.judge.overtook(self.b, 1)
        self.assertFound("S8")

    def test_before(self) -> None:
        """
        P4: going on together, with different messages before.
        """
        self.send(1)
        self.deliver(self.a, 1)
        for life in self.both:
            self.transition(life, R2)
        self.assertFound("P4")

    def test_across(self) -> None:
        """
        P4: going on together, with different messages in transition.
        """
        self.send(1)
        for life in self.both:
            self.transition(life, R2)
        self.deliver(self.a, 1)
        for life in self.both:
            self.ring(life, R2)
        self.assertFound("P4")

    def test_lost(self) -> None:
        """
        L3: a message that was accepted and never came back.
        """
        self.send(1)
        self.assertEqual(self.judge.outstanding([self.a]), 1)
        self.judge.agreement([*self.both])
        self.assertFound("L3")

    def test_disagreement(self) -> None:
        """
        L2: in one ring, in quiet, but not everybody has everything.
        """
        self.send(1)
        self.deliver(self.a, 1)
        self.judge.agreement([*self.both])
        self.assertFound("L2")

    def test_unbounded(self) -> None:
        """
        I8: messages accepted without end.
        """
        self.patch(messages, "MOST_OUTSTANDING", 3)
        self.send(1, 2, 3)
        self.assertFound()
        self.send(4)
        self.assertFound("I8")

    def test_dead(self) -> None:
        """
        Who is dead owes nothing, and its messages still count.
        """
        self.send(1)
        self.judge.ended(self.a)
        self.deliver(self.b, 1)
        self.deliver(self.a, 7)
        self.judge.agreement([self.b])
        self.assertFound()
