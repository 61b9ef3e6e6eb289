"""
L{corotwist.tools.pathbench}.
"""

import json
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from corotwist.tools import bench, corebench, pathbench


class MeasureTests(SynchronousTestCase):
    def test_table(self) -> None:
        """
        C{bench --core} prints what each step of the path of a message costs,
        below what the protocol's core costs.
        """
        self.patch(pathbench, "ROUNDS", 1)
        self.patch(corebench, "_CASES", {"decode": lambda: 1.0})
        output = StringIO()
        self.patch(sys, "stdout", output)
        self.assertEqual(bench.run(["--core"]), 0)
        figures = [json.loads(line) for line in output.getvalue().splitlines()]
        self.assertEqual(
            [figure["what"] for figure in figures], ["decode", *pathbench.CASES]
        )
        for figure in figures:
            self.assertGreater(figure["us"], 0.0)

    def test_everythingComes(self) -> None:
        """
        What is measured is a message's whole way: what one client sent came to
        the application, however it listens.
        """
        asked = pathbench._Client(3)
        asked.around()
        asked.received()
        iterating = pathbench._Client(3, iterated=True)
        iterating.iterated()
        self.assertEqual((asked.came, iterating.came), (6, 3))

    def test_nothingStays(self) -> None:
        """
        After each step nothing is left that would make the next one dearer.
        """
        node = pathbench._Node()
        node.sent()
        node.ordered(1, node.own)
        node.ordered(2, node.other)
        node.clear()
        self.assertFalse(node.order.held)
        self.assertEqual([one.waitingBytes for one in (node.own, node.other)], [0, 0])
