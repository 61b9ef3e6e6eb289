"""
The judges are awake.
"""

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.test.mutants import killers
from corotwist.test.mutants.catalogue import MUTANTS
from corotwist.test.mutants.mutant import Edit, Mutant, install, mutant

ROOT = Path(corotwist.__file__).parent.parent


class MutantTests(SynchronousTestCase):
    """
    Deliberate errors, and who sees them.
    """

    def test_found(self) -> None:
        """
        Each error is found again as it was found last.  A run that is drawn
        in another way may miss it: C{--record} looks for a new one.
        """
        # Of its own: this process has imported the code without errors.
        command = [sys.executable, "-m", "corotwist.test.mutants", "--check"]
        result = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.returncode, 0, result.stderr[-2000:])

    def test_recorded(self) -> None:
        """
        For each it is known who finds it, unless nobody could.
        """
        known = killers.load()
        expected = {name for name, one in MUTANTS.items() if not one.harmless}
        self.assertEqual(expected - set(known), set())
        self.assertEqual(set(known) - expected, set())

    def test_applies(self) -> None:
        """
        Each error is in the place that it names, and still a program.
        """
        for one in MUTANTS.values():
            for module in {edit.module for edit in one.edits}:
                compile(_changed(one, module), module, "exec")


class EditTests(SynchronousTestCase):
    """
    Changing a module.
    """

    def test_missing(self) -> None:
        """
        An error whose place is gone says so.
        """
        edit = Edit("corotwist.totem.ring", "not there", "")
        self.assertRaises(ValueError, edit.applied, "something else")

    def test_ambiguous(self) -> None:
        """
        So does one that could be in two places.
        """
        edit = Edit("corotwist.totem.ring", "a", "b")
        self.assertRaises(ValueError, edit.applied, "a a")

    def test_late(self) -> None:
        """
        A module that was imported cannot be changed any more.
        """
        late = mutant("is late", "test.mutants.mutant", "a", "b")
        self.assertRaises(RuntimeError, install, late.edits)


def _changed(one: Mutant, module: str) -> str:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    text = path.read_text()
    for edit in one.edits:
        if edit.module == module:
            text = edit.applied(text)
    return text
