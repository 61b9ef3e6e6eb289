"""
The command C{corotwist}.
"""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.tools.main import COMMANDS, WRONG_USE, run

CHECKOUT = str(Path(corotwist.__file__).parents[1])


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.output, self.errors = StringIO(), StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)

    def test_nothing(self) -> None:
        """
        Without a command there is help, and a bad status.
        """
        self.assertEqual(run([]), WRONG_USE)
        self.assertIn("Usage: corotwist COMMAND", self.errors.getvalue())

    def test_help(self) -> None:
        """
        Help names every command; who asked for it did nothing wrong.
        """
        for word in ("--help", "-h", "help"):
            self.assertEqual(run([word]), 0)
        for name in COMMANDS:
            self.assertIn(f"\n  {name} ", self.output.getvalue())
        self.assertEqual(self.errors.getvalue(), "")

    def test_version(self) -> None:
        """
        The version is that of the package.
        """
        self.assertEqual(run(["--version"]), 0)
        self.assertEqual(self.output.getvalue(), f"corotwist {corotwist.__version__}\n")

    def test_unknown(self) -> None:
        """
        A command that is none gets the closest one.
        """
        self.assertEqual(run(["dmeo"]), WRONG_USE)
        self.assertTrue(
            self.errors.getvalue().startswith(
                "corotwist: no command 'dmeo'; did you mean demo?\n"
            )
        )

    def test_nothingLike(self) -> None:
        """
        Or none, when none is close.
        """
        self.assertEqual(run(["xyz"]), WRONG_USE)
        self.assertTrue(
            self.errors.getvalue().startswith("corotwist: no command 'xyz'\n")
        )

    def test_command(self) -> None:
        """
        A command gets the rest of the line, and its status is ours.
        """
        seen: list[str] = []
        fake = ModuleType("corotwist.tools.demo")

        def runFake(argv: list[str]) -> int:
            seen.extend(argv)
            return 7

        fake.run = runFake  # type: ignore[attr-defined]
        modules = {**sys.modules, "corotwist.tools.demo": fake}
        self.patch(sys, "modules", modules)
        self.assertEqual(run(["demo", "--nodes", "2"]), 7)
        self.assertEqual(seen, ["--nodes", "2"])


class ModuleTests(SynchronousTestCase):
    """
    C{python -m corotwist}.
    """

    def test_status(self) -> None:
        """
        The exit status is the command's.
        """
        for argument, status in (("--version", 0), ("nonsense", WRONG_USE)):
            ended = subprocess.run(
                [sys.executable, "-m", "corotwist", argument],
                cwd=CHECKOUT,
                capture_output=True,
                check=False,
            )
            self.assertEqual(ended.returncode, status, ended.stderr)

    def test_everyCommand(self) -> None:
        """
        Every command explains itself.
        """
        for name in COMMANDS:
            ended = subprocess.run(
                [sys.executable, "-m", "corotwist", name, "--help"],
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertIn(f"corotwist {name}", ended.stdout)


class PipeTests(SynchronousTestCase):
    """
    Output that nobody wants to the end.
    """

    def test_closedPipe(self) -> None:
        """
        A reader that goes away ends the command without a complaint.
        """
        reader, writer = os.pipe()
        os.close(reader)
        root = str(Path(corotwist.__file__).parents[1])
        try:
            result = subprocess.run(
                [sys.executable, "-m", "corotwist", "--help"],
                stdout=writer,
                stderr=subprocess.PIPE,
                check=False,
                env={**os.environ, "PYTHONPATH": root},
            )
        finally:
            os.close(writer)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
