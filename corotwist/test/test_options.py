"""
Command lines.
"""

import sys
from io import StringIO

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist import tap
from corotwist.options import Options
from corotwist.tools.main import COMMANDS, run


class CookOptions(Options):
    optFlags = [["warm", "w", "as it should be"]]
    optParameters = [
        ["time", "t", "1", "minutes"],
        ["eggs", "e", 1, "how many", int],
        ["salt", None, 0.0, "grams", float],
    ]

    def parseArgs(self, *words: str) -> None:
        self["words"] = words


class InnerOptions(Options):
    subCommands = [["cook", None, CookOptions, "heat things"]]


def cooked(*words: str) -> CookOptions:
    options = CookOptions()
    options.parseOptions(words)
    return options


class OrderTests(SynchronousTestCase):
    def test_anywhere(self) -> None:
        """
        Options stand before, between and behind arguments, long and short, with
        their values attached or apart.
        """
        for words in (
            ("--warm", "--time", "5", "egg", "ham"),
            ("egg", "-w", "ham", "-t5"),
            ("egg", "ham", "--time=5", "-wt", "5"),
            ("egg", "--ti", "5", "--", "ham"),
        ):
            options = cooked(*words)
            self.assertEqual(options["words"], ("egg", "ham"))
            self.assertEqual(options["time"], "5")

    def test_noValue(self) -> None:
        """
        A value that makes no sense is told with its option.
        """
        for words in (("-e", "x"), ("--eggs=x",), ("--salt", "x"), ("--sal=x",)):
            error = self.assertRaises(UsageError, cooked, *words)
            name = words[0].split("=")[0].replace("--sal", "--salt")[:6]
            self.assertTrue(str(error).startswith(f"{name} x: "), str(error))
        self.assertEqual(cooked("-e", "2")["eggs"], 2)

    def test_afterTheEnd(self) -> None:
        """
        Behind -- there are arguments only.
        """
        options = cooked("egg", "--", "--warm")
        self.assertEqual(options["words"], ("egg", "--warm"))
        self.assertEqual(options["warm"], 0)

    def test_belowZero(self) -> None:
        """
        A number below zero is an argument.
        """
        self.assertEqual(cooked("-w", "egg", "-5")["words"], ("egg", "-5"))

    def test_unknown(self) -> None:
        """
        An option that is none is told wherever it stands.
        """
        for words in (("--cold", "egg"), ("egg", "--cold")):
            error = self.assertRaises(UsageError, cooked, *words)
            self.assertEqual(str(error), "option --cold not recognized")

    def test_subCommand(self) -> None:
        """
        What stands behind a command belongs to the command.
        """
        options = InnerOptions()
        options.parseOptions(["cook", "egg", "--warm"])
        self.assertEqual(options.subOptions["words"], ("egg",))
        self.assertEqual(options.subOptions["warm"], 1)


class VersionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.output = StringIO()
        self.patch(sys, "stdout", self.output)

    def told(self) -> None:
        self.assertEqual(self.output.getvalue(), f"corotwist {corotwist.__version__}\n")
        self.output.truncate(0)
        self.output.seek(0)

    def test_commands(self) -> None:
        """
        Every command has the version of the package, not of Twisted.
        """
        for words in (*((name,) for name in COMMANDS), ("cfg", "reload")):
            self.assertEqual(run([*words, "--version"]), 0)
            self.told()

    def test_inside(self) -> None:
        """
        So have commands of commands, and the node.
        """
        self.assertRaises(SystemExit, tap.Options().parseOptions, ["--version"])
        self.told()
        self.assertEqual(run(["config", "check", "--version"]), 0)
        self.told()
