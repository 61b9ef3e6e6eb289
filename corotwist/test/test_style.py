"""
Format, lint and types of the whole checkout, by the tools that are configured in
C{pyproject.toml}.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import corotwist

CHECKOUT: Final = Path(corotwist.__file__).parents[1]
SECONDS: Final = 600.0


class StyleTests(SynchronousTestCase):
    """
    An installed package has no C{pyproject.toml} beside it, and nothing to
    check; in a checkout a tool that is missing is a failure.
    """

    def setUp(self) -> None:
        if not (CHECKOUT / "pyproject.toml").exists():
            raise SkipTest("not a checkout: there is no pyproject.toml")

    def check(self, *arguments: str) -> None:
        """
        Run a tool of this Python's environment; its output is the failure.
        """
        result = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(result.returncode, 0, f"{arguments}:\n{result.stdout}")

    def test_format(self) -> None:
        """
        Every file is as C{ruff format} writes it.
        """
        self.check("ruff", "format", "--check", ".")

    def test_lint(self) -> None:
        """
        C{ruff check} has nothing to say.
        """
        self.check("ruff", "check", ".")

    def test_types(self) -> None:
        """
        C{mypy}, strict as configured, finds every type right.
        """
        self.check("mypy")
