"""
Who uses the services of a story's nodes: clients of process groups, and
applications on the machines of nodes.
"""

from functools import partial
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred

from corotwist.engines.interfaces import EngineNews
from corotwist.ipc import client
from corotwist.ipc.client import NodeClient
from corotwist.simulator.clients import Client
from corotwist.simulator.connected import ConnectedClient
from corotwist.simulator.gated import GatedClient
from corotwist.simulator.judges.groups import FIRST_APPLICATION, Path
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.local import Applications, LocalProcess
from corotwist.simulator.services import Services
from corotwist.simulator.story.stage import Stage

# How long an answer may take that a story waits for.
WAIT_SECONDS: Final = 60.0

T = TypeVar("T")


class Clients(Stage):
    """
    A part of L{Cluster<corotwist.simulator.cluster.Cluster>}, for clusters
    with services.

    @ivar applications: the processes on the machines of nodes.
    """

    applications: Applications
    _clients: int = 0

    # Process groups.

    def member(self, nodeid: int) -> ConnectedClient:
        """
        The same over a UNIX socket, in a process of its own, by the production
        client; it connects, and joins what it is told to, by and by, and again
        when its node was away.
        """
        identity = self._nextClient()
        process = self.applications.process(nodeid, pid=identity)
        client = ConnectedClient(
            identity,
            identity,
            self.services(nodeid).life,
            self.jury.groups,
            partial(self._lifeAt, nodeid, process),
            self._nextClient,
            process.kill,
            process.stall,
        )
        self.jury.groups.opened(client)
        process.connect().addCallbacks(client.connected, client.notConnected)
        return client

    def _nextClient(self) -> int:
        self._clients += 1
        return self._clients

    def _lifeAt(self, nodeid: int, process: LocalProcess) -> Life | None:
        """
        The running process of a node, if another one is connected to it.
        """
        running = self.nodes[nodeid].process
        if running is None or not process.connectedTo(running.clock):
            return None
        return running.life

    def client(self, nodeid: int, pid: int | None = None) -> Client:
        """
        A new client of process groups on a node that is up, in a cluster with
        services.

        @param pid: what others see; by default one that no other has.
        """
        services = self.services(nodeid)
        identity = self._nextClient()
        client = Client(
            identity,
            pid or identity,
            services.life,
            services.manager.onDuty("cpg"),
            self.jury.groups,
            self.jury.views,
        )
        self.jury.groups.opened(client)
        return client

    def gatedClient(self, nodeid: int, group: bytes = b"gated") -> GatedClient:
        """
        A new client on a node that is up, to be in a quorate group.
        """
        services = self.services(nodeid)
        identity = self._nextClient()
        return GatedClient(
            identity,
            FIRST_APPLICATION + identity,
            services.life,
            services.manager.onDuty("cpg"),
            services.manager.views,
            self.jury.gated,
            group,
            [],
        )

    # Applications on the machines of nodes.

    def process(self, nodeid: int, uid: int = 0) -> LocalProcess:
        """
        A process that can C{connect} to the node of its machine, C{dial} it,
        C{stall} and be killed.

        @param uid: of the user whose it is.
        """
        return self.applications.process(nodeid, uid)

    def connect(self, nodeid: int, uid: int = 0) -> NodeClient:
        """
        A client of a node as applications have it, over a UNIX socket; time
        goes by until it is connected.  What it returns as L{Deferred}, L{wait}
        waits for.

        @raise ServiceError: when it cannot connect.
        """
        return self.applications.connect(nodeid, uid)

    def embed(self, nodeid: int, pid: int | None = None) -> NodeClient:
        """
        A client inside the process of a node.

        @param pid: what others see; by default one that no other has.
        """
        running = self.running(nodeid)
        pid = pid or self.process(nodeid).pid
        manager = self.services(nodeid).manager
        return self.wait(client.embed(running.clock, manager, pid))

    def wait(self, deferred: Deferred[T], within: float = WAIT_SECONDS) -> T:
        """
        Let time go by until a L{Deferred} has fired.

        @return: with what.
        @raise Exception: with which failure.
        @raise TimeoutError: it has not, within so many seconds.
        """
        return self.applications.wait(deferred, within)

    def stall(self, connected: NodeClient, seconds: float) -> None:
        """
        Let the process of a client do nothing, nor read, for a while.
        """
        self.applications.processOf(connected).stall(seconds)

    def crash(self, connected: NodeClient) -> None:
        """
        End the process of a client at once.
        """
        self.applications.processOf(connected).kill()

    def services(self, nodeid: int) -> Services:
        """
        Of a node that is up.
        """
        services = self.running(nodeid).application
        assert isinstance(services, Services), "a cluster without services"
        return services

    def engine(self, nodeid: int, name: str) -> Any:
        """
        The service engine of that name on a node that is up.

        @raise KeyError: there is none.
        """
        return self.services(nodeid).manager.engines[name]

    def replace(
        self, nodeid: int, name: str, version: int | None = None
    ) -> Deferred[EngineNews]:
        """
        Let another version of an engine take over on a node that is up.

        @return: see L{Changes.replace<corotwist.engines.changes.Changes>}.
        """
        services = self.services(nodeid)
        self.jury.record(services.life, "replace", engine=name, version=version)
        return services.manager.changes.replace(name, version)

    def _pathOf(self, life: Life) -> Path:
        node = self.nodes[life.nodeid]
        process = node.process or node.leaving
        assert process is not None, f"{life} is over"
        assert isinstance(process.application, Services), "nobody has clients"
        return process.application.takePath()
