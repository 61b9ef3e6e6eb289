"""
Tools that ask a node, and what they say when nobody answers.
"""

import json
import os
import socket
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist import lastrun
from corotwist.config.settings import IpcSettings
from corotwist.errors import NotExist
from corotwist.ipc import path
from corotwist.ipc.client import NodeClient
from corotwist.ipc.server import IpcServer
from corotwist.lastrun import Run, isAlive
from corotwist.test.directories import shortDirectory
from corotwist.test.ipc.fakes import NODEID, FakeManager
from corotwist.test.ipc.pipes import FakeReactor, endCredentials
from corotwist.tools import absence, asking
from corotwist.tools.absence import explore, moment
from corotwist.tools.asking import FAILED, NodeOptions, Tool, run, session

# No process has it: it is above the largest that Linux gives.
NOBODY = 1 << 30


async def whoIsIt(client: NodeClient, options: Any) -> int:
    """
    A tool that knows little.
    """
    asking.printJson("who", nodeid=client.nodeid)
    return 4


async def refused(client: NodeClient, options: Any) -> int:
    """
    A tool whose question has no answer.
    """
    raise NotExist("there is no such thing")


class AskingTestCase(SynchronousTestCase):
    """
    A place for a node, and what is printed.
    """

    def setUp(self) -> None:
        self.output, self.errors = StringIO(), StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        self.directory = shortDirectory(self)
        self.path = str(self.directory / "s")
        self.reactor = FakeReactor()
        self.places = ("--socket", self.path, "--state-dir", str(self.directory))

    def ask(self, perform: Any = whoIsIt, *arguments: str) -> Deferred[int]:
        options = NodeOptions()
        options.parseOptions([*self.places, *arguments])
        tool = Tool("who", NodeOptions, perform)
        asked = Deferred.fromCoroutine(session(self.reactor, tool, options))
        self.reactor.settle()
        return asked

    def printed(self) -> Any:
        return json.loads(self.output.getvalue())


class SessionTests(AskingTestCase):
    """
    A node that is there.
    """

    def setUp(self) -> None:
        super().setUp()
        self.manager = FakeManager(self.reactor)
        self.patch(path, "admit", lambda *arguments: None)
        settings = IpcSettings(self.path)
        self.server = IpcServer(
            self.reactor, settings, self.manager, credentials=endCredentials
        )
        self.server.startService()

    def test_answered(self) -> None:
        """
        The tool has a client, its status is the status, and its output names
        the schema. (F21)
        """
        self.assertEqual(self.successResultOf(self.ask()), 4)
        self.assertEqual(
            self.printed(), {"schema": "corotwist/who/1", "nodeid": NODEID}
        )
        self.reactor.settle()
        self.assertEqual(self.manager.connections, [])

    def test_refused(self) -> None:
        """
        A refusal is a line for people, and for programs a document with
        corosync's number.
        """
        self.assertEqual(self.successResultOf(self.ask(refused)), FAILED)
        self.assertEqual(
            self.errors.getvalue(), "corotwist who: there is no such thing\n"
        )
        self.assertEqual(self.successResultOf(self.ask(refused, "--json")), FAILED)
        self.assertEqual(
            self.printed(),
            {
                "schema": "corotwist/who/1",
                "error": "NotExist",
                "code": 12,
                "text": "there is no such thing",
            },
        )

    def test_silent(self) -> None:
        """
        A node that does not let us in is waited for as long as was said.
        """
        self.reactor.silent = True
        asked = self.ask(whoIsIt, "--timeout", "2.5")
        self.reactor.advance(2.4)
        self.assertNoResult(asked)
        self.reactor.advance(0.2)
        self.assertEqual(self.successResultOf(asked), FAILED)
        first = self.errors.getvalue().splitlines()[0]
        self.assertEqual(
            first,
            f"corotwist who: the node at {self.path} did not answer for 2.5 s",
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class AbsenceTests(AskingTestCase):
    """
    A node that is not there.
    """

    def told(self, *arguments: str) -> list[str]:
        self.assertEqual(self.successResultOf(self.ask(whoIsIt, *arguments)), FAILED)
        return self.errors.getvalue().splitlines()

    def record(self, *end: Any, pid: int = NOBODY) -> None:
        lastrun.write(str(self.directory), Run(3, pid, self.path, 1000.0, *end))

    def test_unknown(self) -> None:
        """
        Nothing is known of a node: where it was looked for, and what to do.
        (F22)
        """
        first, *others = self.told()
        self.assertTrue(first.startswith(f"corotwist who: no node at {self.path}: "))
        self.assertEqual(
            others,
            [
                f"  there is nothing at {self.path}",
                f"  no run of a node is on record in {self.directory}",
                f"  {absence.ADVICE['unknown']}",
            ],
        )

    def test_ended(self) -> None:
        """
        A node that stopped: when, how, and why. (F22)
        """
        self.record(2000.0, "killed", "by node 1: it is slow", 255)
        who = f"node 3 (process {NOBODY}, at {self.path}) ended on {moment(2000.0)}"
        end = f"  {who}, exit status 255: killed: by node 1: it is slow"
        self.assertEqual(self.told()[-2:], [end, f"  {absence.ADVICE['ended']}"])

    def test_amount(self) -> None:
        """
        How many: a number above 0.
        """
        self.assertEqual(asking.amount("3"), 3)
        for text in ("0", "-1", "x", "1.5"):
            self.assertRaises(ValueError, asking.amount, text)

    def test_killed(self) -> None:
        """
        A cause that its reason begins with is not said twice. (F22)
        """
        self.record(2000.0, "killed", "killed by node 1: it is slow", 255)
        self.assertTrue(self.told()[-2].endswith(" 255: killed: by node 1: it is slow"))

    def test_vanished(self) -> None:
        """
        A node whose process is gone and that did not say so. (F22)
        """
        self.record()
        told = self.told()
        self.assertTrue(told[-2].endswith("and ended without saying why"))
        self.assertIn("blackbox", told[-1])

    def test_running(self) -> None:
        """
        A node whose process is there and that does not listen. (F22)
        """
        self.record(pid=os.getpid())
        self.assertIn(f"has been running since {moment(1000.0)}", self.told()[-2])

    def test_another(self) -> None:
        """
        Of a node that listened elsewhere it is told, and nothing concluded.
        """
        run = Run(4, NOBODY, "/run/other", 1000.0)
        lastrun.write(str(self.directory), run)
        told = self.told()
        self.assertIn("node 4 (process 1073741824, at /run/other) ran", told[-2])
        self.assertEqual(told[-1], f"  {absence.ADVICE['unknown']}")

    def test_programs(self) -> None:
        """
        Programs learn the same. (F22)
        """
        self.record(2000.0, "stopped", "", 0)
        self.told("--json")
        report = self.printed()
        self.assertEqual(report["schema"], "corotwist/who/1")
        self.assertEqual((report["error"], report["code"]), ("Disconnected", 2))
        node = report["node"]
        self.assertEqual((node["socket"], node["state"]), ("missing", "ended"))
        self.assertEqual(node["lastRun"]["stopped"], 2000.0)
        self.assertEqual(self.errors.getvalue(), "")

    def test_whatIsThere(self) -> None:
        """
        What is at the path is told apart: nothing, a socket, something else.
        """
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.path)
            self.assertEqual(explore(self.path, "/nowhere").socket, "socket")
        other = str(self.directory / "other")
        Path(other).write_text("")
        self.assertEqual(explore(other, "/nowhere").socket, "other")
        gone = explore(self.path + "x", "/nowhere")
        self.assertEqual(gone.socket, "missing")
        self.assertIsNone(gone.run)

    def test_alive(self) -> None:
        """
        Any process counts, and numbers that no process has do not.
        """
        alive = [isAlive(pid) for pid in (os.getpid(), 1, NOBODY, 0, -1, 1 << 99)]
        self.assertEqual(alive, [True, True, False, False, False, False])

    def test_absurd(self) -> None:
        """
        A time that no calendar has is told as it is.
        """
        for when in (1e300, float("nan"), float("inf")):
            self.assertEqual(moment(when), f"an unknown date ({when})")


class RunTests(AskingTestCase):
    """
    The command line.
    """

    def test_wrongUse(self) -> None:
        """
        Wrong use is status 1 with the usage, as with corosync's tools.
        """
        tool = Tool("who", NodeOptions, whoIsIt)
        for wrong in (["--nonsense"], ["--timeout", "0"], ["--timeout", "nan"], ["x"]):
            self.assertEqual(run(tool, wrong), FAILED, wrong)
        self.assertIn("corotwist who: ", self.errors.getvalue())
        self.assertIn("--state-dir", self.errors.getvalue())

    def test_help(self) -> None:
        """
        Help is status 0.
        """
        self.assertEqual(run(Tool("who", NodeOptions, whoIsIt), ["--help"]), 0)
        self.assertIn("--socket", self.output.getvalue())
