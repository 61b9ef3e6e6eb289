"""
The judge of flow control.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator import Cluster, PromiseBroken
from corotwist.simulator.judges.flow import RINGS_REMEMBERED, FlowJudge
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.totem.flow import Flow
from corotwist.totem.membership import RingId
from corotwist.totem.wire import Token, makeRegular

R1 = RingId(8, 1)


def token(number: int, count: int, ringId: RingId = R1) -> bytes:
    return Token(1, 0, number, 0, 0, ringId, flowCount=count).encode()


class FlowTests(SynchronousTestCase):
    """
    Two processors of a ring with a window of ten frames.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = FlowJudge(self.violations.append, 10)
        self.a, self.b = Life(1), Life(2)

    def sends(self, life: Life, count: int, ringId: RingId = R1) -> None:
        frame = makeRegular(life.nodeid, 1, 1, ringId, 0, b"").frame
        self.judge.multicast(life, [frame] * count)

    def test_counts(self) -> None:
        """
        Each visit takes the place of the one before; a copy of a token is no
        visit, and each ring has an account of its own.
        """
        self.sends(self.a, 4)
        self.judge.unicast(self.a, token(1, 4))
        self.sends(self.b, 3)
        self.judge.unicast(self.b, token(2, 7))
        self.judge.unicast(self.b, token(2, 7))
        self.sends(self.a, 1)
        self.judge.unicast(self.a, token(3, 4))
        self.judge.unicast(self.a, token(1, 0, RingId(12, 1)))
        self.judge.unicast(self.b, token(4, 1))
        self.assertEqual(self.violations, [])

    def test_drift(self) -> None:
        """
        I9: a count that is not what was sent is told.  [pitfall A9]
        """
        self.sends(self.a, 4)
        self.judge.unicast(self.a, token(1, 4))
        self.judge.unicast(self.a, token(2, 4))
        self.assertEqual([v.promise for v in self.violations], ["I9"])

    def test_window(self) -> None:
        """
        I9: more than a window in one rotation is told, however well counted.
        """
        self.sends(self.a, 11)
        self.judge.unicast(self.a, token(1, 11))
        self.assertEqual([v.promise for v in self.violations], ["I9"])

    def test_bounded(self) -> None:
        """
        Rings of the past are forgotten.
        """
        for number in range(3 * RINGS_REMEMBERED):
            self.judge.unicast(self.a, token(1, 0, RingId(number, 1)))
        self.assertEqual(len(self.judge._rings), RINGS_REMEMBERED)

    def test_awake(self) -> None:
        """
        A processor that adds its frames to those of its last visit is seen.
        """

        def account(flow: Flow, token: Token, sent: int, queued: int) -> None:
            token.flowCount += sent

        self.patch(Flow, "account", account)
        cluster = Cluster(3, seed=4)
        cluster.load(50, 2)
        broken = self.assertRaises(PromiseBroken, cluster.run, 2.0)
        self.assertEqual(broken.violation.promise, "I9")
