"""
The flight recorder from a terminal.
"""

import json
import os
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.levels import Priority
from corotwist.logs.recorder import Recorder, save
from corotwist.test.directories import shortDirectory
from corotwist.test.logs.factories import NOON, record
from corotwist.test.tools.schemas import differences
from corotwist.tools.blackbox import run


class BlackboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.output, self.errors = StringIO(), StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        recorder = Recorder()
        recorder.add(record("one", tag="CPG", priority=Priority.ERR))
        recorder.add(record("two", tag="TOTEM", priority=Priority.DEBUG))
        recorder.add(record("three", tag="SYNC", priority=Priority.TRACE, trace=3))
        state = {"engines": {"cpg": 5}}
        flight = recorder.flight(NOON, "test", {"nodeid": 2, "pid": 9}, state)
        self.path = str(save(flight, self.directory))

    def texts(self, *arguments: str) -> list[str]:
        """
        Of the events that are printed.
        """
        self.output.truncate(0)
        self.output.seek(0)
        self.assertEqual(run([*arguments, "--json"]), 0, self.errors.getvalue())
        lines = self.output.getvalue().splitlines()
        found = [json.loads(line) for line in lines]
        self.assertEqual([differences(one) for one in found], [[]] * len(found))
        return [one["text"] for one in found]

    def test_people(self) -> None:
        """
        A dump as lines for people; what it is, besides.
        """
        self.assertEqual(run([self.path]), 0)
        lines = self.output.getvalue().splitlines()
        self.assertRegex(lines[0], r"^2026-08-0\S+ \[CPG   \] err     one$")
        self.assertIn("[SYNC  ] trace:sync three", lines[2])
        self.assertIn("# node 2, process 9: test; 3 events", self.errors.getvalue())

    def test_filters(self) -> None:
        """
        By time, subsystem, priority and trace level, as JSON, as documented.
        (A32, F14, F21)
        """
        self.assertEqual(self.texts(self.path), ["one", "two", "three"])
        self.assertEqual(self.texts(self.path, "--subsystem", "cpg"), ["one"])
        self.assertEqual(
            self.texts(self.path, "-S", "CPG", "-S", "SYNC"), ["one", "three"]
        )
        self.assertEqual(self.texts(self.path, "--priority", "debug"), ["one", "two"])
        self.assertEqual(self.texts(self.path, "--trace", "1"), ["one", "two"])
        self.assertEqual(self.texts(self.path, "--since", "2026-08-03T00:00"), [])
        self.assertEqual(self.texts(self.path, "--until", "2026-07-01T00:00"), [])

    def test_state(self) -> None:
        """
        The state of the node, on request.
        """
        run([self.path, "--state", "-S", "NONE"])
        self.assertEqual(
            json.loads(self.output.getvalue()),
            {
                "schema": "corotwist/blackbox/1",
                "state": "engines",
                "value": {"cpg": 5},
            },
        )

    def test_latest(self) -> None:
        """
        The newest dump there is, without a node.
        """
        self.assertEqual(
            self.texts("--latest", "--state-dir", str(self.directory), "-p", "err"),
            ["one"],
        )
        self.patch(os, "environ", {"STATE_DIRECTORY": str(self.directory)})
        self.assertEqual(len(self.texts("--latest")), 3)

    def test_none(self) -> None:
        """
        No dump, no file, or a file of something else: a sentence, and status 1.
        """
        empty = self.directory / "empty"
        empty.mkdir()
        (empty / "text").write_text("text")
        for arguments, words in (
            (["--latest", "-d", str(empty)], "there is no dump in"),
            ([str(empty / "absent")], "No such file"),
            ([str(empty / "text")], "this is no dump"),
        ):
            self.assertEqual(run(arguments), 1)
            self.assertIn(words, self.errors.getvalue().splitlines()[-1])

    def test_damaged(self) -> None:
        """
        Lines that nobody can read are counted.
        """
        with Path(self.path).open("a") as file:
            file.write("{\n")
        self.assertEqual(len(self.texts(self.path)), 3)
        self.assertIn("# 1 lines cannot be read", self.errors.getvalue())

    def test_wrongUse(self) -> None:
        """
        A wrong command line is told what would be right, with status 2.
        """
        for arguments, words in (
            (["--since", "soon"], "10m for ten minutes ago"),
            (["--priority", "loud"], "none of emerg"),
            (["--trace", "9"], "no trace level"),
            ([self.path, "--latest"], "not both"),
            (["--nonsense"], "not recognized"),
        ):
            self.assertEqual(run(arguments), 2)
            self.assertIn(words, self.errors.getvalue())
