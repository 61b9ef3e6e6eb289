"""
Clients of several nodes, on one scripted total order.
"""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.cpg import GroupsEngine
from corotwist.ipc.client import NodeClient
from corotwist.ipc.connection import Credentials
from corotwist.ipc.cpg import GroupsLocator
from corotwist.ipc.remote import connectLocal
from corotwist.plugin import EngineMaker
from corotwist.test.engines.orderednet import SHIPPED, formed

# Before a client looks for its node again.
RETRY_SECONDS = 0.5
GROUPS = EngineMaker("cpg", 1, GroupsEngine, GroupsLocator)


class ClusterCase(SynchronousTestCase):
    """
    Three nodes on a ring.

    @ivar net: they.
    """

    nodeids = (1, 2, 3)

    def setUp(self) -> None:
        others = [maker for maker in SHIPPED if maker.name != GROUPS.name]
        self.net = formed(*self.nodeids, makers=[*others, GROUPS])

    def client(self, nodeid: int, pid: int = 100) -> NodeClient:
        """
        A process on a node.
        """
        manager = self.net.nodes[nodeid].manager
        who = Credentials(pid, 0, 0)
        clock = self.net.clock
        connecting = partial(connectLocal, clock, manager, who)
        client = NodeClient(clock, connecting, lambda failures: RETRY_SECONDS)
        client.startService()
        self.turn()
        return client

    def turn(self) -> None:
        """
        Until nothing happens without time.
        """
        for _ in range(4):
            self.net.clock.advance(0)
            self.net.run()

    def pass_(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.net.clock.advance(seconds)
        self.turn()

    def result(self, asked: Deferred[Any]) -> Any:
        """
        What comes of it without time.
        """
        self.turn()
        return self.successResultOf(asked)
