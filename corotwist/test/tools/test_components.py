"""
C{corotwist cfg components}, C{replace}, C{load} and C{unload}; and three real
daemons whose process groups are replaced under load.
"""

import io
import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

import corotwist
from corotwist.engines.interfaces import EngineNews, Member, News
from corotwist.errors import NotExist, TryAgain
from corotwist.ipc.client import NodeClient, connect
from corotwist.ipc.components import ComponentInfo, ComponentList
from corotwist.ipc.group import ProcessGroup
from corotwist.test.directories import shortDirectory
from corotwist.test.tools.schemas import differences
from corotwist.tools import components as tool
from corotwist.tools.daemons import Daemon, Plan, addressOf, freePort, killAll

CHECKOUT = str(Path(corotwist.__file__).parents[1])

CPG = ComponentInfo("engine", "cpg", 1, "built in", 1, "serving")
UDP = ComponentInfo("transport", "udp", 1, "built in", 0, "")
FOUND = ComponentList((CPG, UDP), ())

# What an administrator puts into the directory of components.
VERSION_2 = """
from corotwist.test.engines.newer import NEWER
"""
BROKEN = """
from corotwist.engines.cpg import GroupsEngine
from corotwist.plugin import EngineMaker

class Broken(GroupsEngine):
    version = 3

    def takeOver(self, state, version):
        raise RuntimeError("a mistake of a programmer")

cpg = EngineMaker("cpg", 3, Broken, "corotwist.ipc.cpg.GroupsLocator")
"""
GROUP = b"load"
# Messages of each node on their way before it sends more.
AHEAD = 5
PAUSE = 0.01
# So long that a busy machine does not lose the token.
TOKEN_MS = 2000


@define
class FakeComponents:
    """
    A node's answers.
    """

    found: ComponentList = FOUND
    asked: list[Any] = field(factory=list)

    def known(self) -> Deferred[ComponentList]:
        return succeed(self.found)

    def replace(self, *what: Any) -> Deferred[EngineNews]:
        self.asked.append(what)
        return succeed(EngineNews("cpg", 2, News.REPLACED, ""))

    def load(self, *what: Any) -> Deferred[EngineNews]:
        self.asked.append(what)
        return fail(NotExist("no engine 'cgp': did you mean 'cpg'?"))

    def unload(self, *what: Any) -> Deferred[EngineNews]:
        self.asked.append(what)
        return succeed(EngineNews("cpg", 2, News.UNLOADED, ""))


@define
class FakeClient:
    """
    Connected to it.
    """

    components: FakeComponents = field(factory=FakeComponents)


class CommandTests(SynchronousTestCase):
    """
    What is asked and printed, and with which status it ends.
    """

    def setUp(self) -> None:
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        self.client: Any = FakeClient()

    def perform(self, command: Any, options: Any, *arguments: str) -> Deferred[int]:
        options.parseOptions(list(arguments))
        return Deferred.fromCoroutine(command(self.client, options))

    def test_list(self) -> None:
        """
        A table for people, or JSON.  (A7)
        """
        done = self.perform(tool.components, tool.ListOptions())
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual(
            self.output.getvalue(),
            "KIND       NAME  VERSION  STATE    ORIGIN\n"
            "engine     cpg   1        serving  built in\n"
            "transport  udp   1        -        built in\n",
        )
        self.output.truncate(0)
        self.output.seek(0)
        self.perform(tool.components, tool.ListOptions(), "--json")
        self.assertEqual(differences(json.loads(self.output.getvalue())), [])
        listed = json.loads(self.output.getvalue())["components"]
        self.assertEqual([one["name"] for one in listed], ["cpg", "udp"])

    def test_problems(self) -> None:
        """
        What could not be looked at is told, and the status tells, too.
        """
        self.client.components.found = ComponentList((), ("x.py: SyntaxError",))
        done = self.perform(tool.components, tool.ListOptions())
        self.assertEqual(self.successResultOf(done), 1)
        self.assertIn("x.py: SyntaxError", self.errors.getvalue())

    def test_replace(self) -> None:
        """
        With a version, or without.
        """
        done = self.perform(tool.replace, tool.EngineOptions(), "cpg", "2")
        self.assertEqual(self.successResultOf(done), 0)
        self.perform(tool.replace, tool.EngineOptions(), "cpg")
        self.assertEqual(self.client.components.asked, [("cpg", 2), ("cpg", None)])
        self.assertIn(
            "Engine cpg is replaced: version 2 serves\n", self.output.getvalue()
        )

    def test_load(self) -> None:
        """
        What the node refuses is an error, for the command that has them all.
        """
        done = self.perform(tool.load, tool.EngineOptions(), "cgp")
        self.failureResultOf(done, NotExist)

    def test_unload(self) -> None:
        """
        By its name.
        """
        done = self.perform(tool.unload, tool.UnloadOptions(), "cpg")
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual(self.client.components.asked, [("cpg",)])

    def test_wrongUse(self) -> None:
        """
        A version is a number.
        """
        options = tool.EngineOptions()
        self.assertRaises(UsageError, options.parseOptions, ["cpg", "two"])
        self.assertRaises(UsageError, options.parseOptions, [])


@define(eq=False)
class Talker:
    """
    One client, which numbers what it says, and keeps what it hears.
    """

    client: NodeClient
    nodeid: int
    group: ProcessGroup | None = None
    heard: list[tuple[int, int]] = field(factory=list)
    views: int = 0
    gaps: int = 0
    said: int = 0
    returned: int = 0
    talking: bool = True

    async def join(self) -> None:
        self.group = await self.client.groups.join(
            GROUP,
            delivered=self._delivered,
            viewChanged=self._viewed,
            interrupted=self._interrupted,
        )

    def _delivered(self, sender: Member, payload: bytes) -> None:
        nodeid, number = map(int, payload.split()[:2])
        assert nodeid == sender.nodeid, "the sender says who he is"
        self.returned += nodeid == self.nodeid
        self.heard.append((nodeid, number))

    def _viewed(self, view: Any) -> None:
        self.views += 1

    def _interrupted(self, gap: Any) -> None:
        self.gaps += 1

    async def talk(self) -> None:
        """
        Until told to be silent, and all has come back.
        """
        assert self.group is not None, "joined"
        while self.talking or self.returned < self.said:
            if self.talking and self.said - self.returned < AHEAD:
                await self._say(self.group)
            else:
                await pause()

    async def _say(self, group: ProcessGroup) -> None:
        size = 70_000 if self.said % 50 == 7 else 20
        text = b"%d %d " % (self.nodeid, self.said)
        try:
            await group.send(text + bytes(size))
        except TryAgain:
            await pause()
        else:
            self.said += 1
            await deferLater(reactor, 0)  # type: ignore[arg-type]


def pause() -> Deferred[None]:
    return deferLater(reactor, PAUSE)  # type: ignore[arg-type]


class RealTests(TestCase):
    """
    Three daemons on this machine, and the command in a process of its own.
    """

    timeout = 120

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.plugins = self.directory / "plugins"
        self.plugins.mkdir(0o755)
        addresses = [addressOf(n) for n in (1, 2, 3)]
        port = freePort(addresses, Random(os.getpid()))
        options = (("plugin_dir", str(self.plugins)),)
        plan = Plan(
            self.directory,
            (1, 2, 3),
            port,
            tokenMs=TOKEN_MS,
            cluster="replace",
            options=options,
        )
        keyed = self.directory / "authkey"
        keyed.write_bytes(bytes(range(128)))
        keyed.chmod(0o600)
        self.daemons = [Daemon(plan, nodeid) for nodeid in plan.nodes]
        self.clients: list[NodeClient] = []
        self.addCleanup(killAll, self.daemons)
        self.addCleanup(self.disconnect)

    def disconnect(self) -> Deferred[Any]:
        return gatherResults([client.stopService() for client in self.clients])

    async def connected(self, daemon: Daemon) -> NodeClient:
        while True:
            try:
                client = await connect(reactor, daemon.socket)
            except Exception:  # noqa: BLE001 - It is not there yet.
                self.assertIsNotNone(daemon.pid, daemon.lastWords())
                await pause()
            else:
                self.clients.append(client)
                return client

    async def cfg(
        self, daemon: Daemon, command: str, *arguments: str
    ) -> tuple[int, str]:
        """
        The command's exit status, and what it says.
        """
        output, errors, status = await getProcessOutputAndValue(
            sys.executable,
            [
                *("-m", "corotwist", "cfg", command),
                *("--socket", daemon.socket, *arguments),
            ],
            env={**os.environ, "PYTHONPATH": CHECKOUT},
        )
        return status, (output + errors).decode()

    async def meet(self) -> list[Talker]:
        for daemon in self.daemons:
            daemon.start(reactor)
        talkers = [
            Talker(await self.connected(daemon), daemon.nodeid)
            for daemon in self.daemons
        ]
        for talker in talkers:
            await talker.join()
        for talker in talkers:
            assert talker.group is not None, "joined"
            while len(talker.group.members) < len(talkers):
                await pause()
        return talkers

    async def replaceAll(self) -> None:
        talkers = await self.meet()
        before = await talkers[0].client.node.status()
        talking = gatherResults([Deferred.fromCoroutine(t.talk()) for t in talkers])
        news: list[EngineNews] = []
        talkers[0].client.components.changed = news.append
        (self.plugins / "second.py").write_text(VERSION_2)
        (self.plugins / "third.py").write_text(BROKEN)
        views = [talker.views for talker in talkers]
        self.assertEqual(
            await self.cfg(self.daemons[0], "replace", "cpg", "2"),
            (0, "Engine cpg is replaced: version 2 serves\n"),
        )
        for talker in talkers[1:]:
            self.assertEqual(
                (await talker.client.components.replace("cpg", 2)).version, 2
            )
        status, text = await self.cfg(self.daemons[0], "replace", "cpg", "3")
        self.assertEqual(status, 1)
        self.assertIn("RuntimeError: a mistake of a programmer", text)
        status, text = await self.cfg(self.daemons[0], "components")
        self.assertEqual(status, 0)
        self.assertRegex(text, r"engine +cpg +2 +serving +.*second.py\n")
        for talker in talkers:
            self.assertEqual(
                (await talker.client.components.replace("cpg", 1)).version, 1
            )
        for talker in talkers:
            talker.talking = False
        await talking
        await pause()
        after = await talkers[0].client.node.status()
        self.assertEqual(after.ringId, before.ringId)
        self.assertEqual([n.version for n in news], [2, 1])
        self.assertEqual([t.views for t in talkers], views)
        self.assertEqual([t.gaps for t in talkers], [0, 0, 0])
        await self.same(talkers)

    async def same(self, talkers: list[Talker]) -> None:
        """
        In one order, nothing missing and nothing twice.
        """
        whole = sum(talker.said for talker in talkers)
        while any(len(talker.heard) < whole for talker in talkers):
            await pause()
        first, *others = [talker.heard for talker in talkers]
        for other in others:
            self.assertEqual(other, first)
        for talker in talkers:
            self.assertGreater(talker.said, 50)
            mine = [number for nodeid, number in first if nodeid == talker.nodeid]
            self.assertEqual(mine, list(range(talker.said)))

    def test_underLoad(self) -> None:
        """
        Version 2 is put into the directory of a running cluster under load, and
        takes over on one node after the other; a version that fails does not;
        version 1 takes over again.  No message is lost, doubled or reordered,
        no view changes, the ring stays.  (A8, A9, A11)
        """
        return Deferred.fromCoroutine(self.replaceAll())  # type: ignore[return-value]
