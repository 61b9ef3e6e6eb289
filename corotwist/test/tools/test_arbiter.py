"""
Tests of C{corotwist arbiter} and C{corotwist fence}, as far as they run nothing.
"""

import sys
from io import StringIO

from twisted.internet.task import Clock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from corotwist.quorumdevice.arbiter import Arbiter
from corotwist.quorumdevice.arbitration import Arbitration, Terms, Wish
from corotwist.quorumdevice.parties import Rule
from corotwist.test.engines.test_fencing import FencingCase
from corotwist.test.tools import schemas
from corotwist.tools import arbiter, fence
from corotwist.tools.asking import envelope
from corotwist.totem.membership import RingId


class ArbiterTests(SynchronousTestCase):
    """
    Options, and what is shown.
    """

    def test_options(self) -> None:
        """
        TLS is the rule, and its absence is said.  (F18)
        """
        options = arbiter.ArbiterOptions()
        options.parseOptions(["--cert", "c", "--key", "k", "--ca", "a", "-p", "7"])
        assert options.identity is not None
        self.assertEqual((options["port"], options.identity.key), (7, "k"))
        for wrong in ([], ["--no-tls", "--cert", "c"], ["--no-tls", "-p", "65536"]):
            self.assertRaises(UsageError, arbiter.ArbiterOptions().parseOptions, wrong)

    def test_wrongUse(self) -> None:
        """
        Wrong use is a line and status 2.
        """
        error = StringIO()
        self.patch(sys, "stderr", error)
        self.assertEqual(arbiter.run(["--port", "x"]), 2)
        self.assertIn("corotwist arbiter: ", error.getvalue())

    def served(self) -> Arbiter:
        """
        An arbiter that gave a vote.
        """
        served = Arbiter(Clock(), 10.0)
        served.came("hall", 1, 1, self, Terms((1, 2), Rule(), 1.0, 1.0))
        found = served._clusters["hall"]
        self.assertIsInstance(found, Arbitration)
        found.asked(1, Wish(RingId(8, 1), (1, 2), casting=True), 1.0)
        return served

    def test_json(self) -> None:
        """
        The same for programs, as documented.  (F21)
        """
        document = envelope("arbiter", **self.served().status())
        self.assertEqual(schemas.differences(document), [])
        (cluster,) = document["clusters"].values()
        self.assertTrue(cluster["connected"]["1"]["vote"])

    def test_lines(self) -> None:
        """
        Whoever looks sees who is there, and who has the vote.  (F18)
        """
        self.assertEqual(
            arbiter.lines(self.served().status()),
            [
                "Up for 0 s, 0 connections, 10 s a vote",
                "",
                "Cluster hall",
                "    Nodes:       1, 2",
                "    Algorithm:   ffsplit, tie breaker lowest",
                "    Quiet for:   10 s",
                "    Node 1: ring 1.8 of 1, 2, heuristics unknown, has the vote",
                "    Given to:    ring 1.8 of 1, 2, for 3 s more",
            ],
        )


class FenceTests(SynchronousTestCase):
    """
    The same of lost nodes.
    """

    def test_options(self) -> None:
        """
        A nodeid goes with confirm, and with nothing else.
        """
        options = fence.FenceOptions()
        options.parseOptions(["confirm", "3", "-r", "unplugged"])
        self.assertEqual((options["nodeid"], options["reason"]), (3, "unplugged"))
        for wrong in (["confirm"], ["status", "3"], ["off", "3"], ["confirm", "x"]):
            self.assertRaises(UsageError, fence.FenceOptions().parseOptions, wrong)

    def test_lines(self) -> None:
        """
        Each lost node has a line.  (A108)
        """
        case = {"off": False, "attempts": 2, "text": "attempt 2 failed: no answer"}
        status = {"agent": "command", "armed": [1, 2], "cases": {"3": case}}
        agent = "Agent command; nodes with an agent: 1, 2"
        lost = "Node 3: not confirmed off, 2 tries: attempt 2 failed: no answer"
        self.assertEqual(fence.lines(status), [agent, lost])
        status["cases"] = {}
        self.assertEqual(fence.lines(status), [agent, "No node is lost"])


class FenceStatusTests(FencingCase):
    """
    What a real engine says.
    """

    def test_json(self) -> None:
        """
        Lost nodes for programs, as documented; and for people, in a line.
        (A108, F21)
        """
        self.answer("unknown")
        self.lose(5)
        status = self.engine(1).status()
        document = envelope("fence-status", **status)
        self.assertEqual(schemas.differences(document), [])
        self.assertFalse(document["cases"]["5"]["off"])
        self.assertIn("Node 5: not confirmed off", fence.lines(status)[1])
