"""
One node without a ring, behind a real socket; all else as in a daemon.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from corotwist.config.settings import IpcSettings
from corotwist.engines.manager import ServiceManager
from corotwist.ipc.server import IpcServer
from corotwist.plugin import discover
from corotwist.test.engines.orderednet import nodeSettings
from corotwist.test.ipc.fakes import NODEID, LoneTotem


class RealNodeCase(TestCase):
    """
    Tests that begin with C{await self.start()}.

    @ivar directory: of the socket.
    @ivar path: of the socket.
    """

    async def start(self) -> None:
        """
        The node, until the end of the test.
        """
        # Short, which the path of a socket must be.
        self.directory = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = str(self.directory / "s")
        totem = LoneTotem(reactor)
        self.manager = ServiceManager(
            reactor, totem, nodeSettings(NODEID, NODEID), discover()
        )
        totem.listener = self.manager
        await self.manager.start()
        totem.start()
        self.server = IpcServer(reactor, IpcSettings(self.path), self.manager)
        self.server.startService()
        self.addCleanup(self.manager.stop)
        self.addCleanup(self.server.stopService)

    def story(self, told: Callable[[], None]) -> Deferred[None]:
        """
        Start a node and run a program in a thread.
        """

        async def run() -> None:
            await self.start()
            await deferToThread(told)

        return Deferred.fromCoroutine(run())
