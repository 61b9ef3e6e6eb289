"""
Keys over real sockets.
"""

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.trial.unittest import TestCase

from corotwist.config.settings import IpcSettings
from corotwist.config.values import binary, string, u8, u32
from corotwist.engines.manager import ServiceManager
from corotwist.errors import Conflict
from corotwist.ipc.client import NodeClient, connect
from corotwist.ipc.server import IpcServer
from corotwist.plugin import discover
from corotwist.test.directories import shortDirectory
from corotwist.test.engines.orderednet import nodeSettings
from corotwist.test.ipc.fakes import NODEID, LoneTotem

SECONDS = 30


class RealKeyTests(TestCase):
    """
    One node without a ring, all else as in a daemon, and two clients.
    """

    timeout = SECONDS

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._setUp())

    async def _setUp(self) -> None:
        clock: Any = reactor
        totem = LoneTotem(clock)
        self.manager = ServiceManager(clock, totem, nodeSettings(NODEID, 1), discover())
        totem.listener = self.manager
        await self.manager.start()
        totem.start()
        await self.manager.whenSynchronized()
        self.path = str(Path(shortDirectory(self)) / "sock")
        server = IpcServer(clock, IpcSettings(self.path), self.manager)
        server.startService()
        self.addCleanup(self.manager.stop)
        self.addCleanup(server.stopService)

    async def connect(self) -> NodeClient:
        client = await connect(reactor, self.path)
        self.addCleanup(client.stopService)
        return client

    def test_keys(self) -> Deferred[None]:
        """
        What one process writes another reads, iterates over in many boxes,
        and follows; so with the keys of all nodes, and with objects (E1, E7).
        """
        return Deferred.fromCoroutine(self._keys())

    async def _keys(self) -> None:
        one, other = await self.connect(), await self.connect()
        seen: DeferredQueue[Any] = DeferredQueue()
        await other.cmap.track("my.", seen.put, prefix=True)
        large = binary(bytes(16384))
        for number in range(20):
            await one.cmap.set(f"my.{number:02}", large)
            (change,) = await seen.get()
            self.assertEqual(change.new, large)
        found = await other.cmap.items("my.")
        self.assertEqual(len(found), 20)
        version = await one.cmap.set("cluster.who", string("one"))
        await other.cmap.set("cluster.who", string("other"), version=version)
        try:
            await one.cmap.set("cluster.who", u8(1), version=version)
        except Conflict:
            pass
        else:
            self.fail("it was not the first")
        await self._objects(one, other)

    async def _objects(self, one: NodeClient, other: NodeClient) -> None:
        work = one.confdb.transaction()
        part = work.create(await one.confdb.root(), "mine")
        work.createKey(part, "key", u32(5))
        handle, _ = await work.commit()
        assert isinstance(handle, int), "of an object"
        self.assertEqual(await other.confdb.getKey(handle, "key"), u32(5))
        requests = [
            value.content
            for name, value in await one.cmap.statistics.items("stats.ipcs.service32.")
            if name.endswith(".requests")
        ]
        self.assertEqual(requests, [2, 1])
