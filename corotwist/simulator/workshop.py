"""
Where the processes of a cluster are made: production code, from what its
machine's configuration says, on simulated sockets, clocks and disks.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, evolve, field

from corotwist.config.build import Built
from corotwist.config.settings import NodeEntry, NodeSettings
from corotwist.interfaces import IEngineMaker
from corotwist.simulator.chance import source
from corotwist.simulator.clock import Clock
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.judges.views import Sight
from corotwist.simulator.jury import Jury
from corotwist.simulator.local import makeDoor
from corotwist.simulator.machine import Blueprint
from corotwist.simulator.network import Network
from corotwist.simulator.node import SimulatedNode
from corotwist.simulator.process import Application, Process
from corotwist.simulator.reactor import Reactor, makeTransport
from corotwist.simulator.rounds import Rounds
from corotwist.simulator.services import Configure, Services, makeServices
from corotwist.simulator.sockets import Port
from corotwist.simulator.storage import Disk, Storage
from corotwist.simulator.trace import NANOSECONDS
from corotwist.totem.effects import Effect
from corotwist.totem.ring import Ring
from corotwist.totem.service import TotemService

# When every run starts, in nanoseconds since 1970.
STARTED_NS: Final = 1_700_000_000 * NANOSECONDS

Observer = Callable[[Process, Effect], None]


@define(eq=False)
class Workshop:
    """
    All that the processes of one cluster have in common.

    @ivar blueprint: the configuration, as a node reads it when it starts.
    @ivar entries: the node list in it, by nodeid.
    @ivar drift: how much faster or slower than the cluster's a node's clock
        may go.
    @ivar services: are they whole nodes?
    @ivar configure: changes what whole nodes are told.
    @ivar makers: the engines that whole nodes choose from.
    @ivar makeRing: makes the ring of a node without services.
    @ivar files: the texts of those machines that have another file than the
        blueprint's.
    @ivar keys: likewise, what is in their key files.
    @ivar observed: called with every effect that a process is about to
        perform.
    """

    seed: int
    clock: Clock
    network: Network
    jury: Jury
    blueprint: Blueprint
    observed: Observer
    drift: float
    services: bool
    configure: Configure
    makers: Sequence[IEngineMaker]
    makeRing: Callable[..., Ring]
    files: dict[int, str] = field(factory=dict)
    keys: dict[int, bytes] = field(factory=dict)
    entries: Mapping[int, NodeEntry] = field(init=False)

    @entries.default
    def _listed(self) -> Mapping[int, NodeEntry]:
        return {entry.nodeid: entry for entry in self.blueprint.anybody().totem.nodes}

    def rewrite(self, text: str) -> None:
        """
        Give nodes that start from now on another configuration to read, and
        others' addresses with it.
        """
        self.blueprint.text = text
        self.entries = self._listed()
        self.network.hosts = {
            str(entry.addresses[0]): nodeid for nodeid, entry in self.entries.items()
        }

    def settings(self, nodeid: int) -> NodeSettings:
        """
        What a node understands of the configuration when it starts.
        """
        return self.configure(self._blueprint(nodeid).settings(self.entries[nodeid]))

    def _read(self, nodeid: int) -> Built:
        """
        What it reads while it runs: the file of now.
        """
        return self._blueprint(nodeid).read(self.entries[nodeid])

    def _blueprint(self, nodeid: int) -> Blueprint:
        """
        With the files of that node's machine.
        """
        blueprint = self.blueprint
        return evolve(
            blueprint,
            text=self.files.get(nodeid, blueprint.text),
            key=self.keys.get(nodeid, blueprint.key),
        )

    def make(
        self, node: SimulatedNode, life: Life, disk: Disk | None = None
    ) -> Process:
        """
        A process that has not started yet.

        @param disk: its own; by default that of the node.
        """
        name = (node.nodeid, life.number)
        host = str(self.entries[node.nodeid].addresses[0])
        port = Port(node.nodeid, self.network, (host,))
        clock = Reactor(
            self.clock,
            self._rate(name),
            port=port,
            paths=node.paths,
            programs=node.programs,
        )
        storage = Storage(
            clock,
            disk or node.disk,
            lambda sequence, ok: self.jury.record(life, "store", ring=sequence, ok=ok),
            node.nodeid,
        )
        settings = self.settings(node.nodeid)
        transport = makeTransport(clock, settings.totem, port, self.network)
        make = self._services if self.services else self._application
        application = make(
            life,
            settings,
            clock,
            partial(self._timeOfDay, node),
            transport=transport,
            storage=storage,
            random=source(self.seed, "node", *name),
        )
        chance = source(self.seed, "schedule", *name)
        process = Process(life, clock, port, storage, application, chance)
        self._watch(process)
        return process

    def _rate(self, name: tuple[int, int]) -> float:
        draw = source(self.seed, "drift", *name)
        return 1.0 + self.drift * draw.uniform(-1.0, 1.0)

    def _services(
        self,
        life: Life,
        settings: NodeSettings,
        clock: Reactor,
        timeOfDay: Callable[[], int],
        **others: Any,
    ) -> Services:
        secrets = source(self.seed, "secrets", life.nodeid, life.number)
        services = makeServices(
            life,
            settings,
            clock,
            timeOfDay,
            makers=self.makers,
            ipc=partial(makeDoor, secrets),
            read=partial(self._read, life.nodeid),
            **others,
        )
        jury = self.jury
        services.inStep = jury.inStep
        manager = services.manager
        services.sight = Sight(
            life, jury.views, manager.views, manager.facilities.quorate
        )
        manager.views.follow(services.sight)
        services.rounds = Rounds(
            life, services.manager, self.clock, jury.sync, jury.votes
        )
        return services

    def _application(
        self,
        life: Life,
        settings: NodeSettings,
        clock: Reactor,
        timeOfDay: Callable[[], int],
        **others: Any,
    ) -> Application:
        service = TotemService(
            clock,
            settings.totem,
            timeOfDay=timeOfDay,
            makeRing=self.makeRing,
            **others,
        )
        service.listener = application = Application(life, self.jury, service)
        return application

    def _watch(self, process: Process) -> None:
        life, application = process.life, process.application
        process.service.observer = partial(self.observed, process)
        process.service.onBroken = partial(self.jury.broken, life)
        manager = application.manager if isinstance(application, Services) else None
        self.jury.inside.booted(life, process.service, manager)
        self.jury.lease.booted(life, process.service, process.clock)
        self.jury.stability.booted(life, process.service)
        process.clock.worked = process.port.worked = process.worked

    def _timeOfDay(self, node: SimulatedNode) -> int:
        seconds = self.clock.seconds() + node.stepSeconds
        return STARTED_NS + round(seconds * NANOSECONDS)
