"""
L{corotwist.tools.dbbench}.
"""

import json
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from corotwist.tools import bench, dbbench


class MeasureTests(SynchronousTestCase):
    def test_flat(self) -> None:
        """
        Finding an object by its handle takes as long among a million as among
        ten.  (A1)
        """
        few, many = dbbench.lookup(10), dbbench.lookup(1_000_000)
        self.assertLess(many / few, 4.0, f"{few} and {many} microseconds")

    def test_table(self) -> None:
        """
        C{bench --database} prints a figure for each thing that is done to keys,
        and for handles among few and many.
        """
        self.patch(dbbench, "ROUNDS", 1)
        self.patch(dbbench, "HANDLES", (10, 1000))
        self.patch(dbbench, "TRACKERS", 100)
        self.patch(dbbench.measure, "__defaults__", (200,))
        output = StringIO()
        self.patch(sys, "stdout", output)
        self.assertEqual(bench.run(["--database"]), 0)
        figures = [json.loads(line) for line in output.getvalue().splitlines()]
        said = "\n".join(figure["what"] for figure in figures)
        for word in ("set", "get", "count", "delete", "iterate", "tracks", "handle"):
            self.assertIn(word, said)
        self.assertIn("among 1000", said)
        for figure in figures:
            self.assertGreaterEqual(figure["us"], 0.0)
