"""
Two real daemons and a real arbiter, over TLS on loopback.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

import corotwist
from corotwist.errors import ServiceError
from corotwist.ipc.client import NodeClient, connect
from corotwist.ipc.qdevice import deviceStatus
from corotwist.ipc.status import Status
from corotwist.quorumdevice.slots import SECTOR_BYTES
from corotwist.test.directories import shortDirectory
from corotwist.test.quorumdevice.certificates import Authority
from corotwist.tools.daemons import Daemon, Plan, freePort, killAll

PATIENCE_SECONDS: Final = 30.0
TICK_SECONDS: Final = 0.1
MOST: Final = "3"
_QUORUM: Final = """
quorum {{
    provider: corosync_votequorum
    device {{
        model: net
        timeout: 1000
        net {{
            host: localhost
            port: {port}
            algorithm: ffsplit
            cert: {cert}
            key: {key}
            ca: {ca}
            name: arbiter
        }}
        heuristics {{
            mode: sync
            exec_true: /bin/true
        }}
    }}
}}
"""


_DISK: Final = """
quorum {{
    provider: corosync_votequorum
    device {{
        model: disk
        timeout: 1000
        disk {{
            path: {path}
            interval: 100
        }}
    }}
}}
"""


class ArbiterProcess(ProcessProtocol):
    """
    One that runs.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.listens: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.printed = b""
        process: Any = reactor
        command = [sys.executable, "-m", "corotwist", "arbiter", *arguments]
        process.spawnProcess(self, command[0], command, _environment())

    def outReceived(self, data: bytes) -> None:
        self.printed += data
        if b"Arbiter at" in self.printed and not self.listens.called:
            self.listens.callback(None)

    def errReceived(self, data: bytes) -> None:
        self.printed += data

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(None)

    def kill(self) -> Deferred[None]:
        transport: Any = self.transport
        try:
            transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
        return self.ended


def _environment() -> dict[str, str]:
    root = str(Path(corotwist.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root}


def _tcpPort() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RealCase(TestCase):
    """
    Two daemons, the quorum section of which a test writes.
    """

    timeout = 90.0

    def setUp(self) -> None:
        self.directory = shortDirectory(self)  # type: ignore[arg-type]
        port = freePort(["127.0.0.1", "127.0.0.2"], SystemRandom())
        self.plan = Plan(self.directory, (1, 2), port, tokenMs=500, sealed=False)
        self.daemons = [Daemon(self.plan, nodeid) for nodeid in self.plan.nodes]
        self.clients: dict[int, NodeClient] = {}

    async def startDaemons(self, quorum: str) -> None:
        """
        Both, until both may act.
        """
        for nodeid in self.plan.nodes:
            with (self.directory / f"node{nodeid}.conf").open("a") as file:
                file.write(quorum)
        for daemon in self.daemons:
            daemon.start(reactor)
        self.addCleanup(killAll, self.daemons)
        await self.until(lambda: self.quorate(1), True)
        await self.until(lambda: self.quorate(2), True)

    async def kill(self, nodeid: int) -> None:
        self.daemons[nodeid - 1].send("KILL")
        await self.daemons[nodeid - 1].end()

    async def quorate(self, nodeid: int) -> bool | None:
        try:
            if nodeid not in self.clients:
                path = str(self.directory / f"node{nodeid}.sock")
                self.clients[nodeid] = await connect(reactor, path)
                self.addCleanup(self.clients[nodeid].stopService)
            return bool((await self.clients[nodeid].ask(Status))["quorate"])
        except ServiceError:
            return None

    async def vote(self, nodeid: int) -> bool:
        """
        Does a node have the vote while it is alone?
        """
        status = await deviceStatus(self.clients[nodeid].ask)
        return bool(status["vote"]) and status["members"] == [nodeid]

    async def until(self, what: Callable[[], Any], wanted: Any) -> None:
        process: Any = reactor
        end = process.seconds() + PATIENCE_SECONDS
        while (found := await what()) != wanted:
            if process.seconds() > end:
                last = self.daemons[0].lastWords()
                self.fail(f"{found}, not {wanted}; node 1 said:\n{last}")
            await deferLater(process, TICK_SECONDS)


class RealDiskTests(RealCase):
    """
    A file that both share.
    """

    def test_disk(self) -> Deferred[None]:
        """
        A node whose other half is killed acts with the vote of the disk, as
        soon as that of the other must have ended.  (C14)
        """
        return Deferred.fromCoroutine(self._disk())

    async def _disk(self) -> None:
        path = self.directory / "disk"
        await self.startDaemons(_DISK.format(path=path))
        await self.kill(1)
        await self.until(lambda: self.vote(2), True)
        await self.until(lambda: self.quorate(2), True)
        status = (await deviceStatus(self.clients[2].ask))["device"]
        self.assertEqual((status["state"], status["errors"]), ("holding", 0))
        self.assertEqual(path.stat().st_size, 3 * SECTOR_BYTES)


class RealArbiterTests(RealCase):
    """
    Processes, certificates, and time as it is.
    """

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.directory)
        self.port = _tcpPort()
        cert, key = self.authority.issue("demo")
        self.files = ["--cert", cert, "--key", key, "--ca", self.authority.path]
        self.quorum = _QUORUM.format(
            port=self.port, cert=cert, key=key, ca=self.authority.path
        )

    async def startArbiter(self) -> ArbiterProcess:
        cert, key = self.authority.issue("arbiter")
        arbiter = ArbiterProcess(
            [
                *("--address", "127.0.0.1", "--port", str(self.port)),
                *("--cert", cert, "--key", key, "--ca", self.authority.path),
                *("--most", MOST, "--verbose"),
            ]
        )
        self.addCleanup(arbiter.kill)
        await arbiter.listens
        return arbiter

    def test_arbiter(self) -> Deferred[None]:
        """
        A node whose other half is killed acts with the vote of the arbiter, not
        without, and again when the arbiter is back.  (C14, F18)
        """
        return Deferred.fromCoroutine(self._arbiter())

    async def _arbiter(self) -> None:
        arbiter = await self.startArbiter()
        await self.startDaemons(self.quorum)
        await self.kill(2)
        await self.until(lambda: self.vote(1), True)
        await self.until(lambda: self.quorate(1), True)
        await self.showsIt()
        await arbiter.kill()
        await self.until(lambda: self.quorate(1), False)
        await self.startArbiter()
        await self.until(lambda: self.quorate(1), True)

    async def showsIt(self) -> None:
        """
        C{--status} is for whoever has a certificate.
        """
        asked = [
            "-m",
            "corotwist",
            "arbiter",
            "--status",
            "--json",
            "--name",
            "arbiter",
        ]
        where = [
            "--address",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--name",
            "arbiter",
        ]
        out, err, code = await getProcessOutputAndValue(
            sys.executable, [*asked, *where, *self.files], env=_environment()
        )
        self.assertEqual((code, err), (0, b""))
        (cluster,) = json.loads(out)["clusters"].values()
        self.assertTrue(cluster["connected"]["1"]["vote"])
