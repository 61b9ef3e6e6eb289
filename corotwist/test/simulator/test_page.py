"""
docs/testing-your-service.md: what it shows is what happens.
"""

import re
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from unittest import TestResult, defaultTestLoader

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import corotwist
from corotwist.simulator import Cluster
from corotwist.simulator.swarm.plan import Plan
from corotwist.simulator.swarm.run import DEMAND, Outcome, outcome

PAGE: Final = Path(corotwist.__file__).parents[1] / "docs" / "testing-your-service.md"
# The modules of the page, by a word that only they contain; the line that is
# wrong, and the one that is right.
MODULES: Final = {
    "tally": "class TallyEngine",
    "test_tally": "class TallyTests",
    "test_fixture": "def test_everywhere(makeCluster)",
    "tally_runs": "class TallyRuns",
    "test_small": "def test_parted",
    "some_seeds": "in seeds(5)",
}
WRONG: Final = "self.counts.update(self._heard)"
RIGHT: Final = "self.counts = self._heard"
# The page finds the error within forty; so many are tried with it mended.
SEEDS: Final = 40
MENDED_SEEDS: Final = 8


def blocks(language: str) -> list[str]:
    """
    What the page shows in a language.
    """
    if not PAGE.exists():
        raise SkipTest("docs are not installed with the package")
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


class PageTests(SynchronousTestCase):
    """
    The files of the page, in a directory of their own.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.patch(sys, "path", [str(self.directory), *sys.path])
        self.addCleanup(self.forget)
        self.python = blocks("python")
        for name, word in MODULES.items():
            (text,) = (each for each in self.python if word in each)
            if name == "some_seeds":
                text = f"from test_tally import TALLY, Cluster\n{text}"
            self.write(f"{name}.py", text)
        (small,) = blocks("json")
        self.write("small.json", small)

    def write(self, name: str, text: str) -> None:
        """
        A file there.
        """
        (self.directory / name).write_text(text, "utf-8")

    def forget(self) -> None:
        """
        What was imported from there.
        """
        for name in MODULES:
            sys.modules.pop(name, None)

    def mend(self) -> None:
        """
        Put the right line where the wrong one is.
        """
        text = (self.directory / "tally.py").read_text("utf-8")
        self.assertEqual(text.count(WRONG), 1)
        (mended,) = (each for each in self.python if RIGHT in each)
        wrong = text[text.index("    def synchronizationCompleted") :]
        self.write("tally.py", text.replace(wrong, mended))

    def again(self, seed: int, plan: Plan | None = None) -> Outcome:
        """
        One of the runs.
        """
        runs: Any = import_module("tally_runs").TallyRuns
        return outcome(runs(seed, services=True, plan=plan))

    def small(self) -> Outcome:
        """
        The one that the page makes small.
        """
        plan = Plan.fromJson((self.directory / "small.json").read_text("utf-8"))
        return self.again(plan.seed, plan)

    def stories(self) -> list[str]:
        """
        What is wrong with the stories of the page.
        """
        case = import_module("test_tally").TallyTests
        suite = defaultTestLoader.loadTestsFromTestCase(case)
        result = TestResult()
        suite.run(result)
        self.assertEqual(result.testsRun, 2)
        import_module("test_fixture").test_everywhere(partial(Cluster, seed=3))
        self.assertIn("FIRST_SEED=4", import_module("some_seeds").again)
        return [text for _, text in (*result.failures, *result.errors)]

    def test_stories(self) -> None:
        """
        The stories see nothing of the error, and nothing of its absence.
        """
        self.assertEqual(self.stories(), [])
        self.forget()
        self.mend()
        self.assertEqual(self.stories(), [])

    def test_found(self) -> None:
        """
        Within the seeds of the page the swarm finds the error.
        """
        tried = map(self.again, range(SEEDS))
        came = next(came for came in tried if came.promise)
        self.assertEqual(came.promise, DEMAND)
        self.assertIn("--plan tally_runs:TallyRuns", came.text)
        self.assertIn("{*engine.counts} == {*here}", came.text)

    def test_small(self) -> None:
        """
        The small run of the page is one deed, fails as shown there, and is a
        test.
        """
        came = self.small()
        self.assertEqual((came.promise, came.done.total()), (DEMAND, 1))
        self.assertIn(came.text.splitlines()[0], PAGE.read_text("utf-8"))
        test: Any = import_module("test_small")
        self.assertRaises(AssertionError, test.test_parted)
        self.forget()
        self.mend()
        import_module("test_small").test_parted()

    def test_fixed(self) -> None:
        """
        With the line mended nothing is found.
        """
        self.mend()
        self.assertEqual(self.small().promise, "")
        texts = [self.again(seed).text for seed in range(MENDED_SEEDS)]
        self.assertEqual(texts, [""] * MENDED_SEEDS)
