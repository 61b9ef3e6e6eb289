"""
Tests of what pytest and trial users get.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.simulator.seeds import FIRST_SEED, SEEDS, seeds

ROOT: Final = Path(corotwist.__file__).parent.parent

CONFTEST: Final = 'pytest_plugins = ["corotwist.simulator.fixtures"]\n'
STORY: Final = """
def test_together(makeCluster):
    cluster = makeCluster(size=2)
    cluster.settle()
    assert cluster.nodes[1].members == (1, 2)


def test_lonely(makeCluster, corotwistSeed):
    cluster = makeCluster(size=2)
    cluster.settle()
    assert corotwistSeed != 1 or cluster.nodes[1].members == (1,)
"""


class PytestTests(SynchronousTestCase):
    """
    The optional module for pytest.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "conftest.py").write_text(CONFTEST)
        (self.directory / "test_story.py").write_text(STORY)

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """
        Run the two tests.
        """
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-qp", "no:cacheprovider", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_failure(self) -> None:
        """
        Each test runs with several seeds; the one that fails tells its seed,
        what happened last, how to repeat it, and where to look at it.
        """
        result = self.pytest("--corotwist-seeds=3", "--corotwist-diagrams=pages")
        self.assertIn("1 failed, 5 passed", result.stdout, result.stderr)
        self.assertIn("test_lonely[seed1]", result.stdout)
        self.assertIn('"ev":"conf"', result.stdout)
        replay = "test_lonely --corotwist-seeds 1 --corotwist-first-seed 1"
        self.assertIn(replay, result.stdout)
        (made,) = (self.directory / "pages").iterdir()
        self.assertIn(f"as a page: pages/{made.name}", result.stdout)

    def test_replay(self) -> None:
        """
        What a failure prints runs that seed alone.
        """
        first = ("--corotwist-seeds", "1", "--corotwist-first-seed", "1")
        result = self.pytest("test_story.py::test_lonely", *first)
        self.assertIn("1 failed", result.stdout, result.stderr)
        self.assertNotIn("passed", result.stdout)


class SeedTests(SynchronousTestCase):
    """
    How many runs, for trial.
    """

    def setUp(self) -> None:
        for name in (SEEDS, FIRST_SEED):
            self.patch(
                os, "environ", {k: v for k, v in os.environ.items() if k != name}
            )

    def test_default(self) -> None:
        """
        As many as the test asks for.
        """
        self.assertEqual([seed.number for seed in seeds(3)], [0, 1, 2])

    def test_environment(self) -> None:
        """
        The environment has the last word; a seed tells how to have it alone.
        """
        os.environ.update({SEEDS: "2", FIRST_SEED: "40"})
        drawn = [*seeds(9)]
        self.assertEqual([seed.number for seed in drawn], [40, 41])
        self.assertEqual(
            drawn[1].replay("trial my.test"),
            "COROTWIST_SEEDS=1 COROTWIST_FIRST_SEED=41 trial my.test",
        )

    def test_nonsense(self) -> None:
        """
        What is no number is told, and not taken for the default.
        """
        os.environ[SEEDS] = "many"
        error = self.assertRaises(ValueError, list, seeds(1))
        self.assertIn("COROTWIST_SEEDS is 'many'", str(error))
