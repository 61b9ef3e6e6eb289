"""
The engine of a third party, installed into a virtual environment of its own and
run there by real daemons.
"""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path
from random import Random, SystemRandom
from tempfile import mkdtemp

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

import corotwist
from corotwist.errors import ServiceError
from corotwist.ipc.client import connect
from corotwist.tools.daemons import Daemon, Plan, addressOf, freePort, killAll
from corotwist.tools.keygen import DEFAULT_BYTES, writeKey

CHECKOUT = Path(corotwist.__file__).parents[1]
EXAMPLE = CHECKOUT / "examples" / "counter"
SOURCES = (
    "corotwist",
    "twisted",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
NODES = (1, 2, 3)
TOKEN_MS = 400
SECONDS = 120
POLL_SECONDS = 0.1
OPTIONS = "service {\n    name: counter\n    most: 2\n}\n"


class Environment:
    """
    A virtual environment with corotwist and the example in it.  What they
    depend on is taken from where the tests run.
    """

    def __init__(self, directory: Path) -> None:
        self.python = str(directory / "venv" / "bin" / "python")
        venv.create(directory / "venv", symlinks=True)
        packages = next((directory / "venv" / "lib").glob("python*/site-packages"))
        (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
        self._install(self._copied(CHECKOUT, directory / "corotwist", SOURCES))
        self._install(self._copied(EXAMPLE, directory / "counter"))

    def _copied(self, source: Path, target: Path, names: tuple[str, ...] = ()) -> Path:
        """
        Building leaves things behind.
        """
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        for name in names or [path.name for path in source.iterdir()]:
            whole = source / name
            if whole.is_dir():
                shutil.copytree(whole, target / name, ignore=ignored)
            else:
                target.mkdir(exist_ok=True)
                shutil.copy(whole, target)
        return target

    def _install(self, source: Path) -> None:
        command = [sys.executable, "-m", "pip", "--python", self.python, "install"]
        quietly = ["-q", "--no-deps", "--disable-pip-version-check", str(source)]
        done = subprocess.run(
            [*command, *quietly], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str, cwd: Path) -> Deferred[tuple[bytes, bytes, int]]:
        """
        Python, with nothing else on its path.
        """
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        ran: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
            self.python, arguments, environment, str(cwd), reactor
        )
        return ran


class CounterPlan(Plan):
    """
    Configurations that say something to the engine.
    """

    def configuration(self, nodeid: int) -> str:
        return super().configuration(nodeid) + OPTIONS


class ThirdPartyTests(TestCase):
    timeout = SECONDS

    def setUp(self) -> None:
        if not EXAMPLE.is_dir():
            raise SkipTest("not a checkout: there is no example")
        self.directory = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)

    def test_counter(self) -> Deferred[None]:
        """
        The package installs into a clean environment; daemons there find its
        engine, and it its options; a program counts on one node and reads on
        another; a node that joins later gets the counters (A7, A43, A66, A83).
        """
        return Deferred.fromCoroutine(self.story())

    async def story(self) -> None:
        self.environment = await deferToThread(Environment, self.directory)
        out, _, status = await self.environment.run(
            "-m", "twisted.trial", "corotwist_counter", cwd=self.directory
        )
        self.assertEqual((status, b"PASSED" in out), (0, True), out.decode())
        self.start()
        await self.boot(1)
        await self.boot(2)
        self.assertEqual(await self.counter(1, "add", "jobs", "5"), "5")
        self.assertEqual(await self.counter(2, "add", "jobs"), "6")
        await self.boot(3)
        self.assertEqual(await self.counter(3, "value", "jobs"), "6")
        self.assertIn("NotExist", await self.counter(3, "value", "none"))
        self.assertEqual(await self.counter(1, "add", "people"), "1")
        self.assertIn("2 counters already", await self.counter(2, "add", "more"))
        await self.kill(1)
        self.assertEqual(await self.counter(3, "add", "jobs"), "7")
        await self.boot(1)
        self.assertEqual(await self.counter(1, "value", "jobs"), "7")

    def start(self) -> None:
        writeKey(self.directory / "authkey", SystemRandom().randbytes(DEFAULT_BYTES))
        port = freePort([addressOf(node) for node in NODES], Random())
        plan = CounterPlan(self.directory, NODES, port, TOKEN_MS)
        self.daemons = {
            node: Daemon(plan, node, self.environment.python) for node in NODES
        }
        self.addCleanup(killAll, self.daemons.values())

    async def boot(self, node: int) -> None:
        """
        Start a daemon, and wait until those that run are one ring in step.
        """
        self.daemons[node].start(reactor)
        await self.allTogether()

    async def kill(self, node: int) -> None:
        self.daemons[node].send("KILL")
        await self.daemons[node].end()
        await self.allTogether()

    async def allTogether(self) -> None:
        """
        The test's own time limit is the bound.
        """
        running = tuple(n for n, d in self.daemons.items() if d.pid is not None)
        for node in running:
            while not await self.together(node, running):
                await deferLater(reactor, POLL_SECONDS)

    async def together(self, node: int, nodes: tuple[int, ...]) -> bool:
        try:
            client = await connect(reactor, self.daemons[node].socket)
        except ServiceError:
            return False
        status = await client.node.status()
        await client.stopService()
        return status.members == nodes and status.state == "running"

    async def counter(self, node: int, *words: str) -> str:
        """
        The program of the example.
        """
        out, err, _ = await self.environment.run(
            *("-m", "corotwist_counter", self.daemons[node].socket, *words),
            cwd=self.directory,
        )
        return (out or err).decode().strip()
