"""
A whole cluster in one process, on virtual time: production code from the
socket up, a network and disks that fail as told, and judges who watch.

A test reads like a story::

    cluster = Cluster(size=5, seed=7, faults=Faults(loss=0.1))
    cluster.run(seconds=1.0)
    cluster.partition({1, 2}, {3, 4, 5})
    cluster.multicast(1, b"x")
    cluster.run(seconds=5.0)
    cluster.heal()
    cluster.settle()
    assert cluster.nodes[2].log == [b"x"]
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Final, TypeVar

from attrs import define
from twisted.internet.defer import Deferred

from corotwist.config.settings import Address, NodeSettings, Timing
from corotwist.errors import CorotwistError
from corotwist.interfaces import IEngineMaker
from corotwist.ipc import client
from corotwist.ipc.client import NodeClient
from corotwist.plugin import discover
from corotwist.simulator.attacker import Attacker
from corotwist.simulator.chance import source
from corotwist.simulator.clients import Client
from corotwist.simulator.clock import Clock
from corotwist.simulator.connected import ConnectedClient
from corotwist.simulator.demands import CHANGES_OF_BAD_LINKS, Demands
from corotwist.simulator.faults import CALM, KINDS, Faults, Rule
from corotwist.simulator.journeys import Journeys
from corotwist.simulator.judges.groups import Path
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.jury import Jury
from corotwist.simulator.local import Applications, LocalProcess, makeDoor
from corotwist.simulator.machine import Blueprint, Options, Wishes
from corotwist.simulator.mischief import Mischief
from corotwist.simulator.network import Link, Network
from corotwist.simulator.node import SimulatedNode
from corotwist.simulator.process import Application, Process
from corotwist.simulator.reactor import Reactor, makeTransport
from corotwist.simulator.rounds import Rounds
from corotwist.simulator.services import (
    Configure,
    Services,
    makeServices,
    unchanged,
)
from corotwist.simulator.sockets import Port
from corotwist.simulator.storage import Disk, Storage
from corotwist.simulator.trace import LAST_RECORDS, NANOSECONDS, Trace
from corotwist.totem.effects import Effect
from corotwist.totem.membership import Guarantee
from corotwist.totem.ring import Ring
from corotwist.totem.service import TotemService
from corotwist.totem.states import In

# How often a condition is looked at, in virtual seconds.
LOOK: Final = 0.005
# When every run starts, in nanoseconds since 1970.
STARTED_NS: Final = 1_700_000_000 * NANOSECONDS

# What is overheard of another cluster, for an attacker.
FOREIGN_RATE: Final = 20.0
FOREIGN_SECONDS: Final = 0.5
FOREIGN_NODES: Final = 4
# How long an answer may take that a story waits for.
WAIT_SECONDS: Final = 60.0

T = TypeVar("T")
Trigger = Callable[[], object]


@define(eq=False)
class _StateTrigger:
    nodeid: int | None
    state: str
    skip: int
    action: Trigger


class Cluster(Mischief):
    """
    Nodes 1 to C{size}, all booted unless told otherwise.

    @ivar nodes: by nodeid.
    @ivar clock: virtual time.
    @ivar network: the links.
    @ivar jury: the judges.
    @ivar replay: the command that repeats this run, for failures.
    """

    def __init__(
        self,
        size: int = 3,
        seed: int = 0,
        faults: Faults = CALM,
        *,
        timing: Timing | None = None,
        key: bytes | None = None,
        boot: bool = True,
        services: bool = False,
        permute: bool = False,
        drift: float = 0.0,
        firstSequence: int = 0,
        firstTokenSequence: int = 0,
        keepTrace: bool = False,
        replay: str = "",
        configure: Configure = unchanged,
        makers: Sequence[IEngineMaker] | None = None,
        engines: Sequence[IEngineMaker] = (),
        config: str | None = None,
        hosts: Mapping[str, Address] | None = None,
        totem: Options | None = None,
        quorum: Options | None = None,
        nodelist: Mapping[int, Options] | None = None,
    ) -> None:
        """
        @param timing: of every node, instead of what the configuration says;
            when that says nothing, the token timeout is 1 s.
        @param key: seals all datagrams; rules by kind do not see them then.
        @param services: whole nodes with service manager and engines, instead
            of a small application on the ring; see L{client}.
        @param permute: draw the order of simultaneous events.
        @param drift: how much faster or slower than the cluster's a node's
            clock may go.
        @param firstSequence: where the message sequences of rings start, to
            see them wrap.
        @param firstTokenSequence: likewise, of tokens.
        @param keepTrace: keep all records, and the ways of datagrams.
        @param configure: changes what whole nodes are told: quorum, versions.
        @param makers: the engines that whole nodes choose from, those of a
            service under test among them; by default all that are installed.
        @param engines: makers of engines besides those.
        @param config: the text of a corosync.conf, which every node reads;
            C{size} counts for nothing then.
        @param hosts: names in it that resolve.
        @param totem: without C{config}: options of its section C{totem}, as
            they are written there: C{{"transport": "udp"}}.
        @param quorum: likewise, of section C{quorum}.
        @param nodelist: likewise, of entries of the node list, by nodeid.
        """
        self.seed = seed
        self.replay = replay
        if config is None:
            wishes = Wishes(totem or {}, quorum or {}, nodelist or {})
            config = wishes.text(range(1, size + 1), key is not None)
        self._blueprint = Blueprint(config, key, timing, hosts or {})
        read = self._blueprint.anybody().totem
        self.timing = read.timing
        self.clock = Clock(source(seed, "order") if permute else None)
        self._entries = {entry.nodeid: entry for entry in read.nodes}
        nodeids = tuple(sorted(self._entries))
        nodeidOf = {str(entry.addresses[0]): entry.nodeid for entry in read.nodes}
        self.network = Network(
            self.clock, source(seed, "network"), nodeids, faults, hosts=nodeidOf
        )
        self.nodes = {
            n: SimulatedNode(n, Disk(source(seed, "disk", n), name=f"ringid_{n}"))
            for n in nodeids
        }
        self._drift = drift
        self._services = services
        self._configure = configure
        if makers is None:
            makers = discover() if services else ()
        self._makers = [*makers, *engines]
        self._makeRing = partial(
            Ring, firstSequence=firstSequence, firstTokenSequence=firstTokenSequence
        )
        self._workload = source(seed, "workload")
        self._triggers: list[_StateTrigger] = []
        self.jury = Jury(
            self.clock,
            self.timing,
            len(nodeids),
            f"{len(nodeids)} nodes, seed {seed}",
            replay,
            self._pathOf,
            self._entered,
            Trace(None if keepTrace else LAST_RECORDS),
        )
        self.network.watchers.append(self.jury.sending)
        self.whim = source(seed, "whim")
        self.attacker = Attacker(
            self.network,
            source(seed, "attacker"),
            self._foreignTraffic,
            sealed=read.key is not None,
        )
        if keepTrace:
            self.network.journeys = Journeys(key)
        if faults != CALM:
            self.jury.note("faults", of=faults.words)
        self._demands = Demands(
            self.nodes, self.network, self.timing, self.jury, self.run, self.runUntil
        )
        self._clients = 0
        self.applications = Applications(
            seed,
            self.clock,
            {n: node.paths for n, node in self.nodes.items()},
            lambda nodeid: self.settings(nodeid).ipc.path,
            self.runUntil,
        )
        if boot:
            self.boot(*nodeids)

    # Time.

    def run(self, seconds: float) -> None:
        """
        Let virtual time go by.

        @raise PromiseBroken: when a judge saw something.
        """
        self.jury.sentence()  # What was broken since the last run.
        end = self.clock.seconds() + seconds
        self.clock.runUntil(end)
        while self.clock.stopped and not self.jury.violations:
            self.clock.runUntil(end)
        self.jury.rested()
        self.jury.sentence()

    def runUntil(self, condition: Callable[[], bool], within: float) -> bool:
        """
        Let time go by until a condition holds.

        @return: whether it did, within so many seconds.
        """
        end = self.clock.seconds() + within
        while not condition():
            if self.clock.seconds() >= end:
                return False
            self.run(LOOK)
        return True

    def seconds(self) -> float:
        """
        The time.
        """
        return self.clock.seconds()

    # Nodes.

    def boot(self, *nodeids: int, fresh: bool = False) -> None:
        """
        Start processes on nodes that have none.

        @param fresh: their disks are lost.
        """
        for nodeid in nodeids:
            self._boot(self.nodes[nodeid], fresh)

    def _boot(self, node: SimulatedNode, fresh: bool) -> None:
        assert node.down, f"node {node.nodeid} is up"
        if fresh:
            node.disk.erase()
        node.lives += 1
        life = Life(node.nodeid, node.lives, node.disk.durable is None)
        process = self._makeProcess(node, life)
        self.jury.booted(life, process.port, lambda: node.disk.durable)
        node.started(process)
        try:
            process.application.start()
        except CorotwistError:
            node.process = None
            process.kill()
            self.jury.ended(life)
            raise

    def double(self, nodeid: int, *, ownDisk: bool = False) -> None:
        """
        Try to start a second process on the machine of a node that is up.

        @param ownDisk: with a state directory of its own.
        @raise CorotwistError: what it says before it ends.
        @raise OSError: likewise.
        """
        node = self.nodes[nodeid]
        self.running(nodeid)
        node.lives += 1
        disk = Disk(source(self.seed, "disk", nodeid, node.lives)) if ownDisk else None
        process = self._makeProcess(node, Life(nodeid, node.lives, ownDisk), disk)
        try:
            process.application.start()
        finally:
            process.stopped()

    def _makeProcess(
        self, node: SimulatedNode, life: Life, disk: Disk | None = None
    ) -> Process:
        nodeid = node.nodeid
        name = (nodeid, life.number)
        draw = source(self.seed, "drift", *name)
        host = str(self._entries[nodeid].addresses[0])
        port = Port(nodeid, self.network, (host,))
        rate = 1.0 + self._drift * draw.uniform(-1.0, 1.0)
        clock = Reactor(self.clock, rate, port=port, paths=node.paths)
        storage = Storage(
            clock,
            disk or node.disk,
            lambda sequence, ok: self.jury.record(life, "store", ring=sequence, ok=ok),
            nodeid,
        )
        settings = self.settings(nodeid)
        transport = makeTransport(clock, settings.totem, port, self.network)
        random = source(self.seed, "node", *name)
        application: Application | Services
        if self._services:
            application = makeServices(
                life,
                settings,
                clock,
                partial(self._timeOfDay, node),
                makers=self._makers,
                ipc=partial(makeDoor, source(self.seed, "secrets", *name)),
                transport=transport,
                storage=storage,
                random=random,
            )
            application.inStep = self.jury.groups.inStep
            application.rounds = Rounds(
                life,
                application.manager,
                self.clock,
                self.jury.sync,
                self.jury.votes,
            )
        else:
            service = TotemService(
                clock,
                settings.totem,
                transport,
                storage,
                random,
                timeOfDay=partial(self._timeOfDay, node),
                makeRing=self._makeRing,
            )
            application = Application(life, self.jury, service)
            service.listener = application
        chance = source(self.seed, "schedule", *name)
        process = Process(life, clock, port, storage, application, chance)
        service = process.service
        service.observer = partial(self._observed, process)
        service.onBroken = lambda failure: self.jury.broken(life, failure)
        manager = application.manager if isinstance(application, Services) else None
        self.jury.inside.booted(life, service, manager)
        clock.worked = port.worked = process.worked
        return process

    def _observed(self, process: Process, effect: Effect) -> None:
        fuse = process.fuse
        if fuse is not None and process.life.alive and fuse.burns(effect):
            self.kill(process.life.nodeid)
        else:
            self.jury.observed(process.life, effect)

    def settings(self, nodeid: int) -> NodeSettings:
        """
        What a node understands of the configuration when it starts.
        """
        return self._configure(self._blueprint.settings(self._entries[nodeid]))

    def kill(self, *nodeids: int) -> None:
        """
        End processes at once, in whatever they are doing.
        """
        for nodeid in nodeids:
            node = self.nodes[nodeid]
            process = node.leaving or self._take(nodeid)
            node.leaving = None
            self.jury.record(process.life, "fail")
            process.kill()
            self.jury.ended(process.life)

    def stop(self, *nodeids: int) -> None:
        """
        Let processes leave in order.
        """
        for nodeid in nodeids:
            process = self._take(nodeid)
            self.jury.record(process.life, "stop")
            self.nodes[nodeid].leaving = process
            process.application.stop().addBoth(self._stopped, process)

    def _stopped(self, result: object, process: Process) -> object:
        node = self.nodes[process.life.nodeid]
        if node.leaving is process:
            node.leaving = None
            process.stopped()
            self.jury.ended(process.life)
        return result

    def _take(self, nodeid: int) -> Process:
        node = self.nodes[nodeid]
        assert node.process is not None, f"node {nodeid} is not up"
        process, node.process = node.process, None
        return process

    def pause(self, nodeid: int, seconds: float) -> None:
        """
        Do not schedule a process for a while.
        """
        process = self.running(nodeid)
        self.jury.record(process.life, "pause", seconds=seconds)
        process.pause(seconds)

    def slow(self, nodeid: int, seconds: float) -> None:
        """
        Let every piece of work take a process so long; 0 for no time.
        """
        process = self.running(nodeid)
        self.jury.record(process.life, "slow", seconds=seconds)
        process.slowness = seconds

    def running(self, nodeid: int) -> Process:
        """
        The process of a node that is up.
        """
        process = self.nodes[nodeid].process
        assert process is not None, f"node {nodeid} is not up"
        return process

    @property
    def down(self) -> list[int]:
        """
        The nodes on which nothing runs.
        """
        return [n for n, node in self.nodes.items() if node.down]

    @property
    def live(self) -> list[int]:
        """
        The nodes that are up.
        """
        return [n for n, node in self.nodes.items() if node.up]

    # The network.

    def partition(self, *sides: Iterable[int]) -> None:
        """
        Cut all links between nodes of different sides; a node that is named
        in none is alone.  Links within a side are whole.
        """
        side = {nodeid: i for i, nodeids in enumerate(sides) for nodeid in nodeids}
        for a in self.nodes:
            for b in self.nodes:
                if a != b:
                    together = a in side and side.get(a) == side.get(b)
                    self.network.link(a, b).cut = not together
        self.jury.note("partition", sides=[sorted(s) for s in sides])

    def cut(self, source: int, target: int) -> None:
        """
        Cut one direction between two nodes.
        """
        self.network.link(source, target).cut = True
        self.jury.note("cut", source=source, target=target)

    def heal(self) -> None:
        """
        Make all links whole; what loses datagrams goes on losing them.
        """
        for link in self.network.links():
            link.cut = False
        self.jury.note("heal")

    def calm(self) -> None:
        """
        End every fault of networks and disks, slowness, and pauses.
        """
        self.heal()
        self.faults = CALM
        self.attacker.stop()
        self.network.rules.clear()
        for link in self.network.links():
            link.faults = None
            link.cloggedUntil = 0.0
        for node in self.nodes.values():
            node.disk.refusing = node.disk.unusable = False
            if node.process is not None:
                node.process.slowness = 0.0
                self.repair(node.nodeid)
                node.process.resume()

    @property
    def faults(self) -> Faults:
        """
        What links do to datagrams, where they have no faults of their own.
        """
        return self.network.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.network.faults = faults
        self.jury.note("faults", of=faults.words)

    def link(self, source: int, target: int) -> Link:
        """
        One direction between two nodes.
        """
        return self.network.link(source, target)

    def drop(
        self,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        count: float = 1,
        **others: Any,
    ) -> Rule:
        """
        Lose the next datagrams that match; L{Rule} tells what can be asked.
        """
        return self._rule(lambda data: [], kind, source, target, count, **others)

    def duplicate(
        self,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        count: float = 1,
        after: float = 0.0,
        **others: Any,
    ) -> Rule:
        """
        Let the next datagrams that match arrive twice.
        """
        return self._rule(
            lambda data: [(0.0, data), (after, data)],
            kind,
            source,
            target,
            count,
            **others,
        )

    def delay(
        self,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        count: float = 1,
        by: float = 0.0,
        **others: Any,
    ) -> Rule:
        """
        Let the next datagrams that match arrive later.
        """
        return self._rule(
            lambda data: [(by, data)], kind, source, target, count, **others
        )

    def inject(self, source: int, target: int, datagram: bytes) -> None:
        """
        Let a datagram arrive now that the node it names never sent.
        """
        self.network.inject(source, target, datagram)

    def whenSent(
        self,
        action: Trigger,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        **others: Any,
    ) -> Rule:
        """
        Do something as soon as a datagram that matches was sent; it arrives.
        """

        def fate(data: bytes) -> list[tuple[float, bytes]]:
            action()
            return [(0.0, data)]

        return self._rule(fate, kind, source, target, 1, **others)

    def _rule(
        self,
        fate: Callable[[bytes], list[tuple[float, bytes]]],
        kind: str | None,
        source: int | None,
        target: int | None,
        count: float,
        **others: Any,
    ) -> Rule:
        assert kind is None or kind in KINDS, f"no kind of datagram: {kind}"
        rule = Rule(fate, kind, source, target, count, **others)
        self.network.rules.append(rule)
        return rule

    def whenState(
        self, state: In, action: Trigger, nodeid: int | None = None, skip: int = 0
    ) -> None:
        """
        Do something, once, when a node is about to tell that it entered a
        state.
        """
        self._triggers.append(_StateTrigger(nodeid, state.value, skip, action))

    def forget(self) -> None:
        """
        Nothing scripted happens any more.
        """
        self.network.rules.clear()
        self._triggers.clear()

    def _entered(self, life: Life, state: str) -> None:
        for trigger in [*self._triggers]:
            if trigger.state != state or trigger.nodeid not in (None, life.nodeid):
                continue
            if trigger not in self._triggers:
                continue  # What another one did made it happen already.
            if trigger.skip:
                trigger.skip -= 1
            else:
                self._triggers.remove(trigger)
                trigger.action()

    # Messages.

    def multicast(
        self, nodeid: int, payload: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        """
        Send a message from a node that is up.

        @return: C{False} when it has no room.
        """
        return self.running(nodeid).application.multicast(payload, guarantee)

    def load(
        self,
        rate: float,
        seconds: float,
        sizes: Sequence[int] = (100,),
        nodeids: Iterable[int] | None = None,
    ) -> None:
        """
        Let nodes send messages for so long, at random times.

        @param rate: messages in a second, of each node.
        @param sizes: one is drawn for each message.
        """
        end = self.clock.seconds() + seconds
        for nodeid in nodeids or tuple(self.nodes):
            self._nextLoad(nodeid, rate, end, sizes)

    def _nextLoad(
        self, nodeid: int, rate: float, end: float, sizes: Sequence[int]
    ) -> None:
        time = self.clock.seconds() + self._workload.expovariate(rate)
        if time < end:
            self.clock.place(time, self._loadDue, nodeid, rate, end, sizes)

    def _loadDue(
        self, nodeid: int, rate: float, end: float, sizes: Sequence[int]
    ) -> None:
        if self.nodes[nodeid].up:
            payload = drawPayload(self._workload, self._workload.choice(sizes))
            self.multicast(nodeid, payload)
        self._nextLoad(nodeid, rate, end, sizes)

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
            identity, pid or identity, services.life, services.groups, self.jury.groups
        )
        self.jury.groups.opened(client)
        return client

    # Applications on the machines of nodes, in a cluster with services.

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

    def _pathOf(self, life: Life) -> Path:
        node = self.nodes[life.nodeid]
        process = node.process or node.leaving
        assert process is not None, f"{life} is over"
        assert isinstance(process.application, Services), "nobody has clients"
        return process.application.takePath()

    # Demands, and what was seen.

    def settle(
        self,
        within: float | None = None,
        *,
        stay: bool = True,
        among: Collection[int] | None = None,
    ) -> None:
        """
        Demand progress in quiet; see L{Demands.settle}.
        """
        self._demands.settle(within, stay=stay, among=among)

    def reform(self) -> None:
        """
        Demand new rings soon after a crash or a partition; see
        L{Demands.reform}.
        """
        self._demands.reform()

    def steady(self, promise: str = "L8", most: int = CHANGES_OF_BAD_LINKS) -> None:
        """
        Demand few rings in a bad network; see L{Demands.steady}.
        """
        self._demands.steady(promise, most)

    def formed(self) -> bool:
        """
        See L{Demands.formed}.
        """
        return self._demands.formed()

    def parts(self) -> list[set[int]]:
        """
        See L{Demands.parts}.
        """
        return self._demands.parts()

    @property
    def trace(self) -> Trace:
        """
        The newest records, or all with C{keepTrace}.
        """
        return self.jury.trace

    @property
    def sometimes(self) -> Counter[str]:
        """
        How often interesting things happened.
        """
        return self.jury.sometimes

    def _timeOfDay(self, node: SimulatedNode) -> int:
        seconds = self.clock.seconds() + node.stepSeconds
        return STARTED_NS + round(seconds * NANOSECONDS)

    def _foreignTraffic(self) -> list[bytes]:
        """
        What nodes of another cluster say to each other, with a key of theirs
        if we have one.
        """
        key = self._blueprint.key and bytes(len(self._blueprint.key))
        size = min(len(self.nodes) + 1, FOREIGN_NODES)
        other = Cluster(size, ~self.seed, key=key)
        heard: list[bytes] = []
        other.network.watchers.append(lambda port, targets, data: heard.extend(data))
        other.load(FOREIGN_RATE, FOREIGN_SECONDS)
        other.run(FOREIGN_SECONDS)
        return heard


def drawPayload(random: Random, size: int) -> bytes:
    """
    Contents that are hardly ever the same twice.
    """
    start = random.getrandbits(64).to_bytes(8, "big")
    return (start * (size // len(start) + 1))[:size]
