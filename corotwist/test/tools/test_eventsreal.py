"""
C{corotwist events}, C{why} and C{watch} at three real daemons, one of which is killed.
"""

import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

import corotwist
from corotwist.ipc.client import NodeClient, connect
from corotwist.test.directories import shortDirectory
from corotwist.tools.daemons import Daemon, Plan, addressOf, freePort, killAll

CHECKOUT = str(Path(corotwist.__file__).parents[1])
PAUSE = 0.02
# More than there is between two looks of a node at its statistics.
COMING = 2.0
NODES = (1, 2, 3)


def pause() -> Deferred[None]:
    return deferLater(reactor, PAUSE)  # type: ignore[arg-type]


class Lines(ProcessProtocol):  # type: ignore[misc]
    """
    A command that goes on, and what it said so far.
    """

    def __init__(self) -> None:
        self.text = b""
        self.ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.text += data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)

    def told(self) -> list[dict[str, Any]]:
        whole, _, _ = self.text.rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    async def until(self, *what: tuple[str, str]) -> None:
        """
        Wait until all of that is told: subjects and states.
        """
        while not set(what) <= {(t["subject"], t["state"]) for t in self.told()}:
            assert not self.ended.called, self.text
            await pause()


class RealTests(TestCase):
    """
    Commands in processes of their own.
    """

    timeout = 120

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        port = freePort([addressOf(n) for n in NODES], Random(os.getpid()))
        plan = Plan(self.directory, NODES, port, sealed=False, cluster="events")
        self.daemons = [Daemon(plan, nodeid) for nodeid in NODES]
        self.addCleanup(killAll, self.daemons)

    async def connected(self, daemon: Daemon) -> NodeClient:
        while True:
            try:
                return await connect(reactor, daemon.socket)
            except Exception:  # noqa: BLE001 - It is not there yet.
                self.assertIsNotNone(daemon.pid, daemon.lastWords())
                await pause()

    async def run_(self, *arguments: str) -> tuple[int, str]:
        """
        A command, to its end.
        """
        output, errors, status = await getProcessOutputAndValue(
            sys.executable, self._command(*arguments), env=self._environment()
        )
        return status, (output + errors).decode()

    def _command(self, name: str, *arguments: str) -> list[str]:
        socket = self.daemons[0].socket
        return ["-m", "corotwist", name, "--socket", socket, *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": CHECKOUT}

    def listening(self) -> Lines:
        lines = Lines()
        command = [sys.executable, *self._command("events", "--json")]
        process = reactor.spawnProcess(  # type: ignore[attr-defined]
            lines, sys.executable, command, self._environment()
        )
        self.addCleanup(self._end, process, lines)
        return lines

    async def _end(self, process: Any, lines: Lines) -> None:
        if not lines.ended.called:
            process.signalProcess("KILL")
            await lines.ended

    async def comeAndGo(self, listening: Lines) -> None:
        """
        A program uses a service, and another one while the first was too early
        for the command to see it come.
        """
        number = 0
        while not any(told["state"] == "connected" for told in listening.told()):
            program = await self.connected(self.daemons[0])
            await program.groups.join(b"work%d" % number)
            await deferLater(reactor, COMING)  # type: ignore[arg-type]
            await program.stopService()
            number += 1
        await listening.until(("application", "disconnected"))

    async def test_killedNode(self) -> None:
        """
        When a daemon is killed, the others' tools tell: C{events} that it left,
        that its link is down, and who connects; C{why} that it was lost, and what
        that was seen from; C{watch} that it is not there.  (F15, F23, F24)
        """
        for daemon in self.daemons:
            daemon.start(reactor)
        client = await self.connected(self.daemons[0])
        self.addCleanup(client.stopService)
        while len(client.views.current.members) < len(NODES):
            await pause()
        listening = self.listening()
        await self.comeAndGo(listening)
        self.daemons[2].send("KILL")
        await listening.until(("node", "left"), ("link", "disconnected"))
        (left,) = [told for told in listening.told() if told["state"] == "left"]
        self.assertEqual((left["node"], left["cause"]), (3, "lost"))
        self.assertEqual(left["detail"], addressOf(3))
        status, text = await self.run_("why", "3")
        self.assertEqual(status, 0, text)
        self.assertIn("node 3 was lost", text)
        self.assertIn("because: ", text)
        self.assertIn("quorum: ", text)
        self.assertIn("node 3 is not in view", text)
        status, text = await self.run_("watch", "--count", "1")
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"\n     3 .*  not here\n")
        status, text = await self.run_("watch", "--json", "--count=2", "--interval=0.1")
        frames = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([frame["members"] for frame in frames], [[1, 2], [1, 2]])
        self.assertTrue(frames[0]["quorate"])
