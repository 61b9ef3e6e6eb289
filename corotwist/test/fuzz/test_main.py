"""
C{python -m corotwist.test.fuzz}.
"""

import sys
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.test.fuzz import __main__ as command
from corotwist.test.fuzz import corpus
from corotwist.test.fuzz.target import Target
from corotwist.test.fuzz.targets import targets
from corotwist.test.fuzz.test_hunt import fragile


class CommandTests(SynchronousTestCase):
    """
    What it does, and says.
    """

    def setUp(self) -> None:
        self.directory = self.mktemp()

    def run_(self, *argv: str) -> tuple[int, str]:
        said: list[str] = []
        status = command.run([*argv], said.append)
        return status, "\n".join(said)

    def replaced(self, target: Target) -> None:
        self.patch(command, "targets", lambda: {target.name: target})

    def test_lists(self) -> None:
        """
        Without a target, all are listed.
        """
        status, text = self.run_()
        self.assertEqual(status, 0)
        for target in targets().values():
            self.assertIn(target.about, text)

    def test_usage(self) -> None:
        """
        A wrong command line says what would be right.
        """
        for argv in (["nonsense"], ["wire", "--seconds", "x"], ["wire", "--none"]):
            status, text = self.run_(*argv)
            self.assertEqual(status, 2)
            self.assertIn("Usage: python -m corotwist.test.fuzz TARGET", text)

    def test_drawn(self) -> None:
        """
        Without atheris damage is drawn, says so, and keeps what leads on.
        """
        wire = targets()["wire"]
        self.replaced(
            Target(
                "few", "a test", wire.begin, lambda: [b"\x70\xc0\3\0"], wire.refusals
            )
        )
        self.patch(command, "find_spec", lambda name: None)
        status, text = self.run_(
            *("few", "--seconds", "0", "--seed", "1", "--corpus", self.directory)
        )
        self.assertEqual(status, 0)
        self.assertIn("atheris is not installed", text)
        self.assertIn("inputs of seed 1", text)
        self.assertTrue(list(Path(self.directory, "few").iterdir()))

    def test_harm(self) -> None:
        """
        What does harm is told with how to see it again.
        """
        self.replaced(fragile())
        status, text = self.run_(
            *("wire", "--own", "--seconds", "60", "--corpus", self.directory)
        )
        self.assertEqual(status, 1)
        self.assertIn("again: echo 676f6f64ffff0000 |", text)

    def test_replay(self) -> None:
        """
        An input from a file, or from whoever writes to us.
        """
        self.replaced(fragile())
        Path(self.directory).mkdir()
        path = Path(self.directory, "hex")
        path.write_text("676f6f64 00000000\n")
        status, text = self.run_("wire", "--replay", str(path))
        self.assertEqual((status, text), (0, "wire: 8 bytes do no harm"))
        self.patch(sys, "stdin", StringIO("676f6f64ffff0000\n"))
        status, text = self.run_("wire", "--replay", "-")
        self.assertEqual(status, 1)
        self.assertIn("IndexError", text)

    def test_merge(self) -> None:
        """
        Merging goes through every target when it is told so.
        """
        merged: list[str] = []

        def merge(target: Target, others: object) -> tuple[int, int]:
            merged.append(target.name)
            return 1, 2

        self.patch(corpus, "merge", merge)
        status, text = self.run_("all", "--merge", "--corpus", self.directory)
        self.assertEqual((status, merged), (0, list(targets())))
        self.assertIn("wire: 1 inputs were kept, 2 are", text)

    def test_guided(self) -> None:
        """
        With atheris, coverage leads.
        """
        if find_spec("atheris") is None:
            raise SkipTest("atheris is not installed")
        status, text = self.run_("wire", "--seconds", "1", "--corpus", self.directory)
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"wire: [0-9]+ inputs, nothing found")
