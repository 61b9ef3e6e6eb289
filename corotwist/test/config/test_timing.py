"""
Times that follow from one another, compared with what corosync 3.1.7 reports.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.timing import Derived, derive


class DeriveTests(SynchronousTestCase):
    def test_oneNode(self) -> None:
        """
        The numbers of a node alone.
        """
        self.assertEqual(derive(1), Derived(3000, 714, 561, 3600))

    def test_twoNodes(self) -> None:
        """
        Two nodes have the same.
        """
        self.assertEqual(derive(2), Derived(3000, 714, 561, 3600))

    def test_threeNodes(self) -> None:
        """
        The third node adds the coefficient.
        """
        self.assertEqual(derive(3), Derived(3650, 869, 685, 4380))

    def test_coefficient(self) -> None:
        """
        C{token: 5} with three nodes and the default coefficient is 655 ms.
        """
        self.assertEqual(derive(3, token=5).token, 655)
        self.assertEqual(derive(3, token=1000, coefficient=0).token, 1000)

    def test_explicit(self) -> None:
        """
        What is given is taken, and what follows from it follows.
        """
        self.assertEqual(derive(1, tokenRetransmit=100), Derived(3000, 100, 70, 3600))
        self.assertEqual(
            derive(1, hold=20, consensus=4000), Derived(3000, 714, 20, 4000)
        )

    @given(st.integers(1, 384), st.integers(300, 100_000), st.integers(0, 1000))
    def test_order(self, nodes: int, token: int, coefficient: int) -> None:
        """
        The token is repeated before it is lost, and held for less than that;
        consensus takes longer than the loss of a token.
        """
        times = derive(nodes, token=token, coefficient=coefficient)
        self.assertTrue(times.hold < times.tokenRetransmit < times.token)
        self.assertLess(times.token, times.consensus)
