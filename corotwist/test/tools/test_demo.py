"""
The demonstration shows what it says, and fails where it should.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.tools import demo
from corotwist.tools.demo import DemoOptions, run

CHECKOUT = str(Path(corotwist.__file__).parents[1])
PATIENCE = 120.0


class OptionsTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """
        Three nodes, unless told otherwise.
        """
        options = DemoOptions()
        options.parseOptions([])
        self.assertEqual(
            (options["nodes"], options["messages"], options["seconds"]), (3, 500, 30.0)
        )

    def test_wrong(self) -> None:
        """
        What makes no sense is refused before anything runs.
        """
        errors = StringIO()
        self.patch(sys, "stderr", errors)
        self.patch(demo, "react", self.fail)
        for wrong in (["--nodes", "1"], ["-m", "x"], ["--seconds", "0"], ["--what"]):
            self.assertEqual(run(wrong), 2)
        for said in (
            "--nodes is 2 to 16",
            "--messages is 1 to 100000",
            "--seconds is 1.0 to 600.0",
        ):
            self.assertIn(f"corotwist demo: {said}\n", errors.getvalue())

    def test_directory(self) -> None:
        """
        Sockets need a short path, wherever temporary files are.
        """
        deep = Path(self.mktemp()).absolute() / ("d" * 80)
        deep.mkdir(parents=True)
        self.patch(tempfile, "tempdir", str(deep))
        made = demo._makeDirectory()
        self.addCleanup(made.rmdir)
        self.assertLessEqual(len(str(made)), demo.LONGEST_DIRECTORY)
        self.assertEqual(list(deep.iterdir()), [])


class StoryTests(SynchronousTestCase):
    """
    The real thing: processes, sockets and signals.
    """

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """
        Run C{corotwist demo}.
        """
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "corotwist", "demo", *arguments],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self._end, process)
        return process

    def _end(self, process: "subprocess.Popen[str]") -> None:
        process.kill()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()

    def assertAllGone(self, output: str) -> None:
        """
        No process of the demonstration is left.
        """
        pids = re.findall(r"starts at .*, process (\d+)", output)
        self.assertTrue(pids, output)
        for pid in map(int, pids):
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    def test_wholeStory(self) -> None:
        """
        Formation, order, loss, return and end are told, all agree, and nothing
        is left.
        """
        process = self.start("--messages", "50")
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        told = [
            r"ring 1\.[0-9a-f]+; a client of each node joined",
            r"150 messages, sent by all nodes at once, were delivered on every node",
            r"SIGKILL to node 3",
            r"node 1: new view after \d\.\d+ s, nodes 1, 2 \(node 3 left, NODEDOWN\)",
            r"because the token was lost",
            r"node 3 comes back",
            r"everybody has a new view",
            r"nodes 1, 2 delivered one and the same sequence",
            r"SIGTERM to node 3: it leaves in order; new view after",
            r"All agree\.",
        ]
        for words in told:
            self.assertRegex(output, words)
        self.assertAllGone(output)

    def test_interrupted(self) -> None:
        """
        Ctrl-C ends it, and all its processes; the status is a bad one.
        """
        process = self.start("--nodes", "2")
        assert process.stdout is not None
        output = ""
        while "node 2 starts" not in output:
            line = process.stdout.readline()
            self.assertTrue(line, output)
            output += line
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, output + rest)
        self.assertAllGone(output)

    def test_childDies(self) -> None:
        """
        A node that ends without being asked fails the demonstration, which
        shows its last words.
        """
        process = self.start("--nodes", "2")
        assert process.stdout is not None
        output = ""
        while "joined the group" not in output:
            line = process.stdout.readline()
            self.assertTrue(line, output)
            output += line
        found = re.search(r"node 1 starts at .*, process (\d+)", output)
        assert found is not None, output
        os.kill(int(found[1]), signal.SIGKILL)
        began = time.monotonic()
        rest, _ = process.communicate(timeout=PATIENCE)
        self.assertLess(time.monotonic() - began, PATIENCE)
        self.assertEqual(process.returncode, 1, rest)
        self.assertIn("FAILED: node 1 was ended by SIGKILL, unasked", rest)
        self.assertIn("    node 1| ", rest)
        self.assertAllGone(output)
