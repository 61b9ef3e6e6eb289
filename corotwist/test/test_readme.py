"""
What README.md shows is what happens.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import IO, Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import corotwist

ROOT: Final = Path(corotwist.__file__).parents[1]
DAEMON: Final = ("-c", "from twisted.scripts.twistd import run; run()")
SECONDS: Final = 30.0
LONGEST_PROGRAM: Final = 10  # Lines: it is there to show how little it takes.
FENCE: Final = "```"


def shown(text: str, mark: str) -> str:
    """
    The code between C{<!-- mark -->} and C{<!-- end of mark -->}.
    """
    opening, closing = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    between = text.partition(opening)[2].partition(closing)[0]
    return between.partition(FENCE)[2].partition("\n")[2].rpartition(FENCE)[0]


class ReadmeTests(SynchronousTestCase):
    """
    In a checkout; an installed package has no README beside it.
    """

    def setUp(self) -> None:
        if not (ROOT / "README.md").exists():
            raise SkipTest("not a checkout: there is no README.md")
        self.text = (ROOT / "README.md").read_text()

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """
        Run this Python until the test ends, or is given up.
        """
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory(),
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        guard = Timer(SECONDS, process.kill)
        guard.start()
        self.addCleanup(_end, process, guard)
        return process

    def directory(self) -> str:
        """
        A directory to be in.
        """
        path: str = self.mktemp()
        Path(path).mkdir(parents=True)
        return path

    def find(self, stream: IO[str] | None, pattern: str) -> str:
        """
        Read lines until one fits.
        """
        assert stream is not None, "it was made with a pipe"
        read = []
        for line in stream:
            read.append(line)
            if match := re.search(pattern, line):
                return match.group(1)
        text = "".join(read)
        raise self.failureException(f"no line fits {pattern!r}:\n{text}")

    def test_program(self) -> None:
        """
        The program joins a group on a node that was started as shown, and
        prints its own view and its own message.
        """
        program = shown(self.text, "program")
        lines = [line for line in program.splitlines() if line]
        self.assertLessEqual(len(lines), LONGEST_PROGRAM)
        node = self.start(*DAEMON, "-n", "--pidfile=", "corosync")
        path = self.find(node.stdout, r"Clients meet us at (\S+)")
        client = self.start("-c", program, path)
        self.assertIn("joined", self.find(client.stdout, r"^(GroupView.*)"))
        self.assertIn("hello from node 1", self.find(client.stdout, r"^(Message.*)"))

    def test_commands(self) -> None:
        """
        The test command runs what is checked out, from a new environment; and
        continuous integration finds it where it looks for it.
        """
        command = shown(self.text, "tests")
        self.assertEqual(len(command.splitlines()), 1)
        self.assertTrue(command.startswith("python3 -m venv .venv && "))
        self.assertIn("-m twisted.trial -j2 corotwist\n", command)
        runner = (ROOT / ".ci" / "run").read_text()
        self.assertIn("<!-- tests -->/,/<!-- end of tests -->", runner)

    def test_links(self) -> None:
        """
        What a page of ours points to, in this project, is there.
        """
        pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        missing = [
            f"{page.name} -> {target}"
            for page in pages
            for target in re.findall(r"\]\(([^):#]+)[^)]*\)", page.read_text())
            if not (page.parent / target).exists()
        ]
        self.assertGreater(len(pages), 5)
        self.assertEqual(missing, [])


def _end(process: "subprocess.Popen[str]", guard: Timer) -> None:
    guard.cancel()
    process.terminate()
    process.wait(SECONDS)
    if process.stdout is not None:
        process.stdout.close()
