"""
The record of a node's last run.
"""

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist import lastrun
from corotwist.ending import End, Ending
from corotwist.lastrun import LONGEST_REASON, Run, RunRecord, find, read, write


class RecordTests(SynchronousTestCase):
    """
    Writing and reading.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_thereAndBack(self) -> None:
        """
        What was written is read; the end of a run takes the place of its
        beginning.
        """
        begun = Run(3, 77, "/run/s", 1000.5)
        write(str(self.directory), begun)
        self.assertEqual(read(str(self.directory)), [begun])
        ended = Run(3, 77, "/run/s", 1000.5, 2000.0, "killed", "by node 1", 255)
        write(str(self.directory), ended)
        self.assertEqual(read(str(self.directory)), [ended])
        self.assertEqual([p.name for p in self.directory.iterdir()], ["run_3.json"])

    def test_bounded(self) -> None:
        """
        A very long reason is cut.
        """
        write(str(self.directory), Run(1, 2, "s", 1.0, 2.0, "failed", "x" * 9999))
        (run,) = read(str(self.directory))
        self.assertEqual(run.reason, "x" * LONGEST_REASON)

    def test_ownRun(self) -> None:
        """
        A process keeps the record of its own run: of several reasons for its
        end the first counts.
        """
        record = RunRecord(str(self.directory), 3, "s", iter([5.0, 6.0]).__next__)
        record.begun()
        (run,) = read(str(self.directory))
        self.assertEqual((run.started, run.stopped), (5.0, None))
        record.ended(End(Ending.FAILED, "no memory"))
        record.ended(End(Ending.STOPPED, "a signal"))
        (run,) = read(str(self.directory))
        told = (run.stopped, run.cause, run.reason, run.status)
        self.assertEqual(told, (6.0, "failed", "no memory", 1))

    def test_another(self) -> None:
        """
        Who could not start says nothing about a node that runs; about one that
        is gone, it does.
        """
        failed = End(Ending.FAILED, "it belongs to a node that runs")
        for pid, cause in ((os.getppid(), ""), (1 << 22, "failed")):
            write(str(self.directory), Run(3, pid, "s", 1.0))
            RunRecord(str(self.directory), 3, "s", lambda: 2.0).ended(failed)
            (run,) = read(str(self.directory))
            self.assertEqual(run.cause, cause)

    def test_noDirectory(self) -> None:
        """
        What cannot be written does not keep a node from running, nor from
        ending.
        """
        record = RunRecord(str(self.directory / "missing"), 3, "s", lambda: 2.0)
        record.begun()
        record.ended(End(Ending.STOPPED, "why"))
        self.assertEqual(read(str(self.directory)), [])

    def test_find(self) -> None:
        """
        Of several nodes it is the one that listened there; of others, the one
        that ran last.
        """
        for nodeid, socket, started in ((1, "a", 5.0), (2, "b", 9.0), (3, "b", 7.0)):
            write(str(self.directory), Run(nodeid, 10, socket, started))
        found = [find(str(self.directory), name) for name in ("a", "b", "c")]
        self.assertEqual([run and run.nodeid for run in found], [1, 2, 2])
        self.assertIsNone(find(str(self.directory / "nowhere"), "a"))

    def test_damaged(self) -> None:
        """
        Records that make no sense are as if they were not there.
        """
        good = {"schema": lastrun.SCHEMA, "nodeid": 1, "pid": 2, "socket": "s"}
        for number, content in enumerate(
            (
                "",
                "[]",
                "[" * 9999,
                json.dumps(good),  # It says nothing of a beginning.
                json.dumps({**good, "started": "yesterday"}),
                json.dumps({**good, "started": 1.0, "schema": "corotwist/run/2"}),
            )
        ):
            (self.directory / f"run_{number}.json").write_text(content)
        self.assertEqual(read(str(self.directory)), [])
        later = {**good, "started": 1.0, "mood": "good"}
        (self.directory / "run_9.json").write_text(json.dumps(later))
        self.assertEqual(read(str(self.directory)), [Run(1, 2, "s", 1.0)])

    def test_unwritable(self) -> None:
        """
        Who cannot write is told.
        """
        nowhere = str(self.directory / "nowhere")
        self.assertRaises(OSError, write, nowhere, Run(1, 2, "s", 1.0))
