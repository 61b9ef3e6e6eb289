"""
Real daemons under torture, for some seconds; C{corotwist torture} goes on for
as long as it is told.
"""

import sys
from io import StringIO
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.tools.lab import missing
from corotwist.tools.torture import run

SEED: Final = "11"


class TortureTests(SynchronousTestCase):
    def torture(self, minutes: str, *argv: str) -> str:
        """
        Have it done from a fixed schedule; a failure shows the verdict, the
        records around it, where the rest is, and how to do it again.
        """
        output = StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", output)
        self.report = Path(self.mktemp()).absolute()
        report = str(self.report)
        status = run(["--minutes", minutes, "--seed", SEED, "--report", report, *argv])
        self.assertEqual(status, 0, output.getvalue())
        return output.getvalue()

    def test_withCorosync(self) -> None:
        """
        Three nodes of ours and a real one come through some storms with all
        promises kept.
        """
        if problems := missing():
            raise SkipTest(f"no rings with real corosync: {', '.join(problems)}")
        said = self.torture("0.1", "--nodes", "4", "--corosync", "1")
        self.assertIn("3 corotwist nodes, 1 corosync; namespaces", said)
        self.assertIn("VERDICT: every promise was kept.", said)
        self.falsified("client1.1.jsonl", '"event": "message"')
        self.falsified("node2.jsonl", '"ev":"deliver"')

    def falsified(self, name: str, mark: str) -> None:
        """
        Let two lines of a file change places, in the middle of many of their
        kind: the judges see it, and say where.
        """
        path = self.report / name
        truth = path.read_text()
        lines = truth.splitlines(keepends=True)
        pairs = [
            place
            for place in range(len(lines) - 1)
            if mark in lines[place] and mark in lines[place + 1]
        ]
        place = pairs[len(pairs) // 2]
        lines[place : place + 2] = lines[place + 1], lines[place]
        path.write_text("".join(lines))
        output = StringIO()
        self.patch(sys, "stdout", output)
        self.assertEqual(run(["--judge", str(self.report)]), 1)
        self.assertIn("VERDICT: not kept: ", output.getvalue())
        path.write_text(truth)

    def test_loopback(self) -> None:
        """
        So do three of ours behind relays, where nobody needs to be root.
        """
        said = self.torture("0.05", "--nodes", "3", "--loopback")
        self.assertIn("3 corotwist nodes; loopback", said)
        self.assertIn("VERDICT: every promise was kept.", said)
