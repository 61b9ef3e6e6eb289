"""
Tests of flow control.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.totem.flow import Flow
from corotwist.totem.membership import RingId
from corotwist.totem.sequence import MASK
from corotwist.totem.wire import Token


def token(backlog: int = 0, flowCount: int = 0) -> Token:
    return Token(1, 0, 0, 0, 0, RingId(9, 1), backlog, flowCount)


class FlowTests(SynchronousTestCase):
    """
    L{Flow}.
    """

    def test_idle(self) -> None:
        """
        With no backlog anywhere one may send as much as a visit allows.
        """
        self.assertEqual(Flow(50, 17).allowance(token(), 0), 17)

    def test_window(self) -> None:
        """
        What the others sent in this rotation is not ours to send.
        """
        self.assertEqual(Flow(50, 17).allowance(token(flowCount=45), 9), 5)
        self.assertEqual(Flow(50, 17).allowance(token(flowCount=60), 9), 0)

    def test_share(self) -> None:
        """
        Under load the window is shared by the lengths of the queues.
        """
        flow = Flow(50, 50, sentLast=0, reported=10)
        self.assertEqual(flow.allowance(token(backlog=100), 10), 5)

    def test_drifted(self) -> None:
        """
        A count that went below zero does not stop the ring.
        """
        self.assertEqual(Flow(50, 17).allowance(token(flowCount=MASK), 9), 17)

    @given(st.lists(st.lists(st.integers(0, 60), min_size=3, max_size=3), max_size=30))
    def test_sums(self, rotations: list[list[int]]) -> None:
        """
        The token's counts are the sums of what the members last told.
        """
        members = [Flow(50, 17) for _ in range(3)]
        carrier = token()
        sent = [0, 0, 0]
        for queues in rotations:
            for i, (flow, queued) in enumerate(zip(members, queues, strict=True)):
                sent[i] = min(queued, flow.allowance(carrier, queued))
                flow.account(carrier, sent[i], queued - sent[i])
                self.assertEqual(carrier.flowCount, sum(f.sentLast for f in members))
                self.assertEqual(carrier.backlog, sum(f.reported for f in members))
                self.assertLessEqual(carrier.flowCount, 50)
