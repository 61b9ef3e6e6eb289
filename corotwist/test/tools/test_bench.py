"""
C{corotwist bench}: what it refuses, and how it says that it failed.
"""

import json
import os
import sys
from io import StringIO

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.tools import schemas
from corotwist.test.tools.processes import together
from corotwist.tools import bench
from corotwist.tools.bench import Case, run
from corotwist.tools.daemons import Daemon


class RunTests(SynchronousTestCase):
    """
    L{run}.
    """

    def setUp(self) -> None:
        self.errors = StringIO()
        self.patch(sys, "stderr", self.errors)

    def test_wrong(self) -> None:
        """
        What makes no sense is refused before anything runs.
        """
        self.patch(bench, "react", self.fail)
        for wrong, said in (
            (["--nodes", "0"], "--nodes is 1 to 16"),
            (["--sizes", "64,63"], "--sizes are 64 to 16777216"),
            (["--sizes", "16777217"], "--sizes are 64 to 16777216"),
            (["--senders", "4"], "--senders is all, or 1 to 3"),
            (["--seconds", "0"], "--seconds is up to 600"),
        ):
            self.assertEqual(run(wrong), 2)
            self.assertIn(f"corotwist bench: {said}\n", self.errors.getvalue())

    def test_failed(self) -> None:
        """
        What goes wrong later is a sentence, and status 1.
        """

        def react(main: object) -> None:
            raise SystemExit("corotwist bench: the daemons do not start")

        self.patch(bench, "react", react)
        self.assertEqual(run([]), 1)
        self.assertEqual(
            self.errors.getvalue(), "corotwist bench: the daemons do not start\n"
        )

    def test_measured(self) -> None:
        """
        A real daemon orders what a client at it sends: so many messages, none of
        them out of order, with their latency and what they cost, as documented.
        (F26, F21)
        """
        wishes = ("-n", "1", "-s", "256", "-t", "0.1")
        command = (sys.executable, "-m", "corotwist", "bench", *wishes)
        ((status, output),) = together(command, environ=os.environ)
        self.assertEqual(status, 0)
        report = json.loads(output)
        self.assertEqual(schemas.differences(report), [])
        (measured,) = report["runs"]
        self.assertGreater(measured["delivered"], 0)
        self.assertEqual(measured["out_of_order"], 0)
        latency = measured["latency_us"]
        self.assertTrue(0 < latency["p50"] <= latency["p99"])


class CaseTests(SynchronousTestCase):
    def test_clientEnds(self) -> None:
        """
        A client that fails is what the measurement fails with.
        """

        def client(*whatever: object) -> "Deferred[None]":
            return fail(SystemExit("a client ended with 1"))

        self.patch(Case, "_client", client)
        self.patch(bench, "processorTime", lambda pid: 0.0)
        daemons: list[Daemon] = [self] * 2  # type: ignore[list-item]
        self.pid = 1
        measuring = Deferred.fromCoroutine(Case(64, 1, 1.0).measure(Clock(), daemons))
        error = self.failureResultOf(measuring, SystemExit).value
        self.assertEqual(error.code, "a client ended with 1")
