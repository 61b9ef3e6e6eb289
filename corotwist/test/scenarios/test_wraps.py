"""
Stories once more, on rings whose numbers are about to wrap.

C{COROTWIST_FIRST_SEQUENCE=0xfffffe00} tells all of them so.
"""

from corotwist.test.scenarios import test_commit, test_recovery
from corotwist.test.scenarios.story import A, ring

FIRST = 0xFFFFFFFE


class WrappingCommitTests(test_commit.CommitTests):
    firstSequence = firstTokenSequence = FIRST

    def test_numbers(self) -> None:
        """
        These rings do wrap, in their first messages and tokens.
        [pitfalls E1, E2]
        """
        cluster = self.formed()
        core = ring(cluster, A)
        self.assertTrue(0 < core.window.high < 100, core.window.high)
        self.assertTrue(0 < core.lastTokenSequence < 1000, core.lastTokenSequence)


class WrappingRecoveryTests(test_recovery.RecoveryTests):
    firstSequence = firstTokenSequence = FIRST
