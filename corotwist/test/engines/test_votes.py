"""
Tests of the arithmetic of votes.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.votes import Ballot, Rules, Verdict, judge, majority

votes = st.integers(0, 1 << 40)


def here(*ballots: int, expected: int = 0) -> list[Ballot]:
    return [Ballot(n, expected) for n in ballots]


def simple(present: list[int], whole: int, **options: object) -> Verdict:
    """
    A verdict of nodes that all expect the same.
    """
    rules = options.pop("rules", Rules())
    return judge(here(*present, expected=whole), whole, rules, **options)  # type: ignore[arg-type]


class MajorityTests(SynchronousTestCase):
    """
    More than half.
    """

    def test_examples(self) -> None:
        """
        Half is not enough.
        """
        cases = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 255: 128, 256: 129, 65536: 32769}
        for expected, needed in cases.items():
            self.assertEqual(majority(expected, 0), needed)
            self.assertEqual(majority(0, expected), needed)

    @given(st.lists(votes, min_size=1, max_size=6), st.data())
    def test_neverTwo(self, everybody: list[int], data: st.DataObject) -> None:
        """
        VQ0, VQ1: of two disjoint partitions at most one is quorate, with votes
        of any size.
        """
        side = data.draw(st.sets(st.integers(0, len(everybody) - 1)))
        one = [v for n, v in enumerate(everybody) if n in side]
        other = [v for n, v in enumerate(everybody) if n not in side]
        whole = sum(everybody)
        verdicts = [simple(part, whole).quorate for part in (one, other)]
        self.assertLessEqual(sum(verdicts), 1)

    @given(st.lists(votes, min_size=1, max_size=6))
    def test_everybody(self, everybody: list[int]) -> None:
        """
        All together are quorate, unless nobody has a vote.
        """
        verdict = simple(everybody, sum(everybody))
        self.assertEqual(verdict.quorate, sum(everybody) > 0)


class JudgeTests(SynchronousTestCase):
    """
    The rules around the majority.
    """

    def test_moreThanExpected(self) -> None:
        """
        Whoever has more votes than he expected expects them from now on.
        """
        verdict = simple([3, 3], 4)
        self.assertEqual((verdict.own, verdict.expected, verdict.quorum), (6, 6, 4))

    def test_largestExpectation(self) -> None:
        """
        The member who expects most counts.
        """
        verdict = judge([Ballot(1, 3), Ballot(1, 9)], 3, Rules())
        self.assertEqual((verdict.expected, verdict.own), (9, 3))
        self.assertEqual((verdict.quorum, verdict.quorate), (5, False))

    def test_noDecrease(self) -> None:
        """
        The quorum does not sink by itself.
        """
        self.assertEqual(simple([1, 1], 3, previousQuorum=4).quorum, 4)
        lower = simple([1, 1], 3, previousQuorum=4, allowDecrease=True)
        self.assertEqual((lower.quorum, lower.quorate), (2, True))

    def test_exactly(self) -> None:
        """
        After an announced leave exactly those who are here are expected.
        """
        verdict = simple([1, 1], 3, previousQuorum=2, allowDecrease=True, exactly=2)
        self.assertEqual((verdict.own, verdict.expected, verdict.quorum), (2, 2, 2))

    def test_twoNodes(self) -> None:
        """
        VQ3: one of two suffices; with more than two it does not.
        """
        rules = Rules(twoNode=True)
        alone = simple([1], 2, rules=rules)
        self.assertEqual((alone.quorum, alone.quorate), (1, True))
        self.assertIn("two", alone.rule)
        self.assertEqual(simple([1, 1], 2, rules=rules).quorum, 1)
        self.assertEqual(simple([1, 1, 1], 5, rules=rules).quorum, 3)

    def test_waitForAll(self) -> None:
        """
        VQ4: waiting ends when all votes are there at once; a quorate
        partition does not wait; an inquorate one waits again.
        """
        rules = Rules(waitForAll=True)
        some = simple([1, 1], 3, rules=rules, waiting=True)
        self.assertEqual((some.quorate, some.waiting), (False, True))
        self.assertIn("all", some.rule)
        everybody = simple([1, 1, 1], 3, rules=rules, waiting=True)
        self.assertEqual((everybody.quorate, everybody.waiting), (True, False))
        fewer = simple([1, 1], 3, rules=rules)
        self.assertEqual((fewer.quorate, fewer.waiting), (True, False))
        minority = simple([1], 3, rules=rules)
        self.assertEqual((minority.quorate, minority.waiting), (False, True))

    def test_waitForAllWithTwoNodes(self) -> None:
        """
        VQ3: a node that starts alone waits for the other one; after that it
        goes on alone.
        """
        rules = Rules(twoNode=True, waitForAll=True)
        self.assertFalse(simple([1], 2, rules=rules, waiting=True).quorate)
        self.assertTrue(simple([1, 1], 2, rules=rules, waiting=True).quorate)
        self.assertTrue(simple([1], 2, rules=rules).quorate)

    def test_nobody(self) -> None:
        """
        Without any member there is no quorum.
        """
        self.assertFalse(judge([], 0, Rules()).quorate)
