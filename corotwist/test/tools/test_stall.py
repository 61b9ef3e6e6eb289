"""
A reader that stalls, on a real daemon: what it costs in memory.
"""

import os
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

import corotwist
from corotwist.engines.interfaces import GroupView
from corotwist.ipc.client import NodeClient, connect
from corotwist.ipc.group import ProcessGroup
from corotwist.test.directories import shortDirectory
from corotwist.tools.daemons import Daemon, Plan, addressOf, freePort, killAll

GROUP = b"stall"
QUEUE_BYTES = 8 << 20
# For the ring, the interpreter's own pools, and what is on its way.
SLACK_BYTES = 24 << 20
FLOOD_SECONDS = 1.5
PAYLOAD = bytes(16 << 10)
PATIENCE_SECONDS = 30.0
STEP_SECONDS = 0.05


def residentBytes(pid: int) -> int:
    """
    How much memory a process has.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Reader(ProcessProtocol):
    """
    A process that joins the group and reads.
    """

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class StallTests(TestCase):
    """
    One daemon; this process sends, another one reads, until it is stopped.
    """

    timeout = 60

    def setUp(self) -> None:
        self.views: list[GroupView] = []
        self.pauses: list[bool] = []
        self.received = 0

    async def startDaemon(self, **options: str) -> Daemon:
        directory = shortDirectory(self)
        port = freePort([addressOf(1)], Random(os.getpid()))
        plan = Plan(directory, (1,), port, sealed=False, options=(*options.items(),))
        daemon = Daemon(plan, 1)
        daemon.start(reactor)

        self.addCleanup(killAll, [daemon])
        await self.until(daemon.listens)
        return daemon

    async def until(self, true: Any) -> None:
        """
        Wait for something that takes a moment.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while not true():
            self.assertLess(time.monotonic(), end, "it does not happen")
            await deferLater(reactor, STEP_SECONDS)  # type: ignore[arg-type]

    def startReader(self, daemon: Daemon) -> int:
        root = str(Path(corotwist.__file__).parent.parent)
        protocol = Reader()
        process = reactor.spawnProcess(  # type: ignore[attr-defined]
            protocol,
            sys.executable,
            [
                *(sys.executable, "-m", "corotwist.tools.load", "--role", "recv"),
                *("--socket", daemon.socket, "--group", GROUP.decode()),
                *("--members", "2"),
            ],
            env={**os.environ, "PYTHONPATH": root},
        )

        def stop() -> Deferred[None]:
            if not protocol.ended.called:
                process.signalProcess("KILL")
            return protocol.ended

        self.addCleanup(stop)
        pid: int = process.pid
        return pid

    async def join(self, daemon: Daemon) -> ProcessGroup:
        client: NodeClient = await connect(reactor, daemon.socket)
        self.addCleanup(client.stopService)

        def delivered(*message: object) -> None:
            self.received += 1

        group = await client.groups.join(GROUP, delivered, self.views.append)
        group.flowChanged = self.pauses.append
        return group

    async def flood(
        self, group: ProcessGroup, pid: int, seconds: float
    ) -> tuple[list[Deferred[None]], int]:
        """
        Send as much as is taken.

        @return: the answers, and the most memory that the daemon had.
        """
        answers: list[Deferred[None]] = []
        most = residentBytes(pid)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while sum(not a.called for a in answers[-64:]) < 64:
                answers.append(group.send(PAYLOAD))
            await deferLater(reactor, 0.005)  # type: ignore[arg-type]
            most = max(most, residentBytes(pid))
        return answers, most

    def told(self, story: Coroutine[Any, Any, None]) -> Deferred[None]:
        return Deferred.fromCoroutine(story)

    async def scene(self, **options: str) -> tuple[Daemon, ProcessGroup, int]:
        """
        A daemon that has warmed up, a group, and the pid of the reader.
        """
        daemon = await self.startDaemon(client_queue=str(QUEUE_BYTES), **options)
        group = await self.join(daemon)
        reader = self.startReader(daemon)
        await self.until(lambda: len(group.members) == 2)
        assert daemon.pid is not None
        answers, _ = await self.flood(group, daemon.pid, 0.3)
        await self.until(lambda: self.received == len(answers))
        return daemon, group, reader

    def test_pause(self) -> Deferred[None]:
        """
        A reader is stopped while another process floods its group: the daemon
        does not grow by more than the client's bound; the sender waits, and
        knows why.  When the reader goes on, so does the sender, and nothing
        is lost.  (A50, A51, A52, D12)
        """

        async def story() -> None:
            daemon, group, reader = await self.scene()
            assert daemon.pid is not None
            before, already = residentBytes(daemon.pid), self.received
            os.kill(reader, signal.SIGSTOP)
            answers, most = await self.flood(group, daemon.pid, FLOOD_SECONDS)
            self.assertLess(most - before, QUEUE_BYTES + SLACK_BYTES)
            self.assertTrue(group.flowControlState)
            waiting = [answer for answer in answers if not answer.called]
            self.assertTrue(waiting)
            os.kill(reader, signal.SIGCONT)
            for answer in waiting:
                await answer
            await self.until(lambda: self.received - already == len(answers))
            await self.until(lambda: not group.flowControlState)
            self.assertEqual(self.pauses[:2], [True, False])
            self.assertEqual(len(group.members), 2)

        return self.told(story())

    def test_spill(self) -> Deferred[None]:
        """
        What a reader that spills has not read waits in a file, with the same
        bound on memory; when it goes on it reads all of it, and nobody has
        waited.  (A52)
        """

        async def story() -> None:
            daemon, group, reader = await self.scene(slow_reader="spill")
            assert daemon.pid is not None
            before, already = residentBytes(daemon.pid), self.received
            os.kill(reader, signal.SIGSTOP)
            answers, most = await self.flood(group, daemon.pid, FLOOD_SECONDS / 2)
            self.assertLess(most - before, QUEUE_BYTES + SLACK_BYTES)
            await self.until(lambda: self.received - already == len(answers))
            spilled = await self.spilled(daemon)
            self.assertGreater(spilled, len(answers) * len(PAYLOAD) - QUEUE_BYTES)
            os.kill(reader, signal.SIGCONT)
            while await self.spilled(daemon):
                await deferLater(reactor, STEP_SECONDS)  # type: ignore[arg-type]
            self.assertEqual((self.pauses, len(group.members)), ([], 2))

        return self.told(story())

    async def spilled(self, daemon: Daemon) -> int:
        """
        How much waits in files.
        """
        client = await connect(reactor, daemon.socket)
        statistics: Any = await client.node.statistics("ipc")
        await client.stopService()
        return sum(waiting["spilledBytes"] for waiting in statistics["waiting"])

    def test_cut(self) -> Deferred[None]:
        """
        A reader that would rather be cut off is, at its bound; the sender goes
        on at once, and the daemon has not grown by more either.  (A52)
        """

        async def story() -> None:
            daemon, group, reader = await self.scene(slow_reader="disconnect")
            assert daemon.pid is not None
            before, already = residentBytes(daemon.pid), self.received
            os.kill(reader, signal.SIGSTOP)
            answers, most = await self.flood(group, daemon.pid, FLOOD_SECONDS)
            self.assertLess(most - before, QUEUE_BYTES + SLACK_BYTES)
            await self.until(lambda: self.received - already == len(answers))
            self.assertGreater(len(answers) * len(PAYLOAD), 2 * QUEUE_BYTES)
            self.assertEqual((self.pauses, len(group.members)), ([], 1))

        return self.told(story())
