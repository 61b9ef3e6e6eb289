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
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from struct import Struct
from typing import Any, Final

from attrs import define
from twisted.python.failure import Failure

from corotwist.config.settings import Timing
from corotwist.errors import CorotwistError
from corotwist.simulator.chance import source
from corotwist.simulator.checkers import Life, Violation
from corotwist.simulator.clock import Clock, NodeClock
from corotwist.simulator.evs import EvsJudge
from corotwist.simulator.faults import CALM, KINDS, Faults, Rule
from corotwist.simulator.groups import Client, GroupsJudge, Path, Tables
from corotwist.simulator.messages import MessageJudge
from corotwist.simulator.network import Link, Network, Port
from corotwist.simulator.process import (
    Application,
    Delivered,
    Process,
    settingsOf,
)
from corotwist.simulator.services import Services, makeServices
from corotwist.simulator.storage import Disk, Storage
from corotwist.simulator.trace import NANOSECONDS, Trace
from corotwist.simulator.traffic import TrafficJudge
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Effect,
    Multicast,
    StateChanged,
)
from corotwist.totem.membership import Configuration, Guarantee, RingId
from corotwist.totem.ring import Ring
from corotwist.totem.service import TotemService
from corotwist.totem.states import In

# How often a condition is looked at, in virtual seconds.
LOOK: Final = 0.005
# After a heal the ring has so many token times to form.  [EVS L1]
FORMING_TOKENS: Final = 6
# And what was accepted so many more to be ordered, once it has formed.
ORDERING_TOKENS: Final = 4
# The last records that a failure shows.
RECORDS_SHOWN: Final = 60

# When every run starts, in nanoseconds since 1970.
STARTED_NS: Final = 1_700_000_000 * NANOSECONDS

_DATA: Final = bytes((KINDS.index("data"), 2))
_REGULAR: Final = Struct("<IIiIQ")
_REGULAR_AT: Final = 13
_PAYLOAD_AT: Final = 45


class PromiseBroken(AssertionError):
    """
    A run violated the specification.

    @ivar violation: what, and by whom.
    """

    def __init__(self, violation: Violation, story: str) -> None:
        super().__init__(story)
        self.violation = violation


def timingFor(token: float = 1.0, **others: Any) -> Timing:
    """
    Timers that follow from a token timeout as corosync derives them.
    """
    retransmit = token / 4.2
    derived: dict[str, Any] = {
        "token": token,
        "tokenRetransmit": retransmit,
        "hold": max(retransmit * 0.8 - 0.01, retransmit / 2),
        "consensus": token * 1.2,
    }
    return Timing(**(derived | others))


@define(eq=False)
class SimulatedNode:
    """
    One node, whatever happens to it.

    @ivar disk: what survives its restarts.
    @ivar process: what runs there now, if anything.
    @ivar leaving: what was asked to stop and has not ended yet.
    @ivar lives: how many processes it has had.
    """

    nodeid: int
    disk: Disk
    process: Process | None = None
    leaving: Process | None = None
    lives: int = 0
    _last: Application | Services | None = None

    @property
    def up(self) -> bool:
        """
        Does a process run that was not asked to stop?
        """
        return self.process is not None

    @property
    def down(self) -> bool:
        """
        Is there no process at all?
        """
        return self.process is None and self.leaving is None

    @property
    def application(self) -> Application | Services:
        """
        Of the running process, or the last one.
        """
        assert self._last is not None, "never booted"
        return self._last

    @property
    def log(self) -> list[bytes]:
        """
        Payloads that the process delivered, in order.
        """
        return self.application.log

    @property
    def events(self) -> list[Delivered | Configuration]:
        """
        Messages and configurations, in order.
        """
        return self.application.events

    @property
    def configurations(self) -> list[Configuration]:
        """
        All it installed, transitional ones too.
        """
        return [e for e in self.events if isinstance(e, Configuration)]

    @property
    def configuration(self) -> Configuration | None:
        """
        The regular configuration in force.
        """
        return self.application.configuration

    @property
    def members(self) -> tuple[int, ...]:
        """
        Of that configuration.
        """
        return self.configuration.members if self.configuration else ()

    @property
    def state(self) -> In:
        """
        The membership state.
        """
        protocol = self.process.service.protocol if self.process else None
        return protocol.ring.state if protocol else In.STOPPED

    @property
    def statistics(self) -> Any:
        """
        The ring's counters.
        """
        assert self.process is not None, "not running"
        assert self.process.service.protocol is not None, "not started"
        return self.process.service.protocol.ring.statistics

    def started(self, process: Process) -> None:
        """
        A new process runs.
        """
        self.process = process
        self._last = process.application


Trigger = Callable[[], object]


@define(eq=False)
class _StateTrigger:
    nodeid: int | None
    state: str
    skip: int
    action: Trigger


class Cluster:
    """
    Nodes 1 to C{size}, all booted unless told otherwise.

    @ivar nodes: by nodeid.
    @ivar clock: virtual time.
    @ivar network: the links.
    @ivar trace: the newest records, or all with C{keepTrace}.
    @ivar sometimes: how often interesting things happened.
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
    ) -> None:
        """
        @param timing: of every node; by default the token timeout is 1 s.
        @param key: seals all datagrams; rules by kind do not see them then.
        @param services: whole nodes with service manager and engines, instead
            of a small application on the ring; see L{client}.
        @param permute: draw the order of simultaneous events.
        @param drift: how much faster or slower than the cluster's a node's
            clock may go.
        @param firstSequence: where the message sequences of rings start, to
            see them wrap.
        @param firstTokenSequence: likewise, of tokens.
        """
        self.seed = seed
        self.replay = replay
        self.timing = timing or timingFor()
        self.clock = Clock(source(seed, "order") if permute else None)
        nodeids = tuple(range(1, size + 1))
        self.network = Network(self.clock, source(seed, "network"), nodeids, faults)
        self.network.watchers.append(self._sending)
        self.trace = Trace(None) if keepTrace else Trace()
        self.sometimes: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.nodes = {
            n: SimulatedNode(n, Disk(source(seed, "disk", n))) for n in nodeids
        }
        self._key = key
        self._drift = drift
        self._services = services
        self._makeRing = partial(
            Ring, firstSequence=firstSequence, firstTokenSequence=firstTokenSequence
        )
        self._workload = source(seed, "workload")
        self._triggers: list[_StateTrigger] = []
        self._lastSent: dict[Life, int] = {}
        self._lives: dict[Port, Life] = {}
        self.evs = EvsJudge(self._violated)
        self.messages = MessageJudge(self._violated)
        self.traffic = TrafficJudge(self._violated, self.timing, size)
        self.groups = GroupsJudge(self._violated, self._pathOf)
        self._clients = 0
        if boot:
            self.boot(*nodeids)

    # Time.

    def run(self, seconds: float) -> None:
        """
        Let virtual time go by.

        @raise PromiseBroken: when a judge saw something.
        """
        end = self.clock.seconds() + seconds
        self.clock.runUntil(end)
        while self.clock.stopped and not self.violations:
            self.clock.runUntil(end)
        self._raiseViolation()

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
        self._lives[process.port] = life
        self.record(life, "boot", stored=node.disk.durable)
        self.evs.booted(life)
        self.messages.booted(life)
        self.traffic.booted(life, lambda: node.disk.durable)
        node.started(process)
        try:
            process.application.start()
        except CorotwistError:
            node.process = None
            process.kill()
            self._ended(life)
            raise

    def _makeProcess(self, node: SimulatedNode, life: Life) -> Process:
        nodeid = node.nodeid
        name = (nodeid, life.number)
        draw = source(self.seed, "drift", *name)
        clock = NodeClock(self.clock, 1.0 + self._drift * draw.uniform(-1.0, 1.0))
        port = Port(nodeid, self.network)
        storage = Storage(
            clock,
            node.disk,
            lambda sequence, ok: self.record(life, "store", ring=sequence, ok=ok),
        )
        settings = settingsOf(nodeid, tuple(self.nodes), self.timing, self._key)
        random = source(self.seed, "node", *name)
        application: Application | Services
        if self._services:
            application = makeServices(
                life,
                settings,
                clock,
                self._timeOfDay,
                transport=port,
                storage=storage,
                random=random,
            )
        else:
            service = TotemService(
                clock,
                settings,
                port,
                storage,
                random,
                timeOfDay=self._timeOfDay,
                makeRing=self._makeRing,
            )
            application = Application(life, self, service)
            service.listener = application
        chance = source(self.seed, "schedule", *name)
        process = Process(life, clock, port, storage, application, chance)
        service = process.service
        service.observer = lambda effect: self._observed(life, effect)
        service.onBroken = lambda failure: self._broken(life, failure)
        clock.worked = port.worked = process.worked
        return process

    def kill(self, *nodeids: int) -> None:
        """
        End processes at once, in whatever they are doing.
        """
        for nodeid in nodeids:
            node = self.nodes[nodeid]
            process = node.leaving or self._take(nodeid)
            node.leaving = None
            self.record(process.life, "fail")
            process.kill()
            self._ended(process.life)

    def stop(self, *nodeids: int) -> None:
        """
        Let processes leave in order.
        """
        for nodeid in nodeids:
            process = self._take(nodeid)
            self.record(process.life, "stop")
            self.nodes[nodeid].leaving = process
            process.application.stop().addBoth(self._stopped, process)

    def _stopped(self, result: object, process: Process) -> object:
        node = self.nodes[process.life.nodeid]
        if node.leaving is process:
            node.leaving = None
            process.stopped()
            self._ended(process.life)
        return result

    def _take(self, nodeid: int) -> Process:
        node = self.nodes[nodeid]
        assert node.process is not None, f"node {nodeid} is not up"
        process, node.process = node.process, None
        return process

    def _ended(self, life: Life) -> None:
        self.evs.ended(life)
        self.messages.ended(life)
        self.groups.ended(life)
        self.traffic.ended(life)
        self._lastSent.pop(life, None)

    def pause(self, nodeid: int, seconds: float) -> None:
        """
        Do not schedule a process for a while.
        """
        process = self.running(nodeid)
        self.record(process.life, "pause", seconds=seconds)
        process.pause(seconds)

    def slow(self, nodeid: int, seconds: float) -> None:
        """
        Let every piece of work take a process so long; 0 for no time.
        """
        self.running(nodeid).slowness = seconds

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
        self._note("partition", sides=[sorted(s) for s in sides])

    def cut(self, source: int, target: int) -> None:
        """
        Cut one direction between two nodes.
        """
        self.network.link(source, target).cut = True
        self._note("cut", source=source, target=target)

    def heal(self) -> None:
        """
        Make all links whole; what loses datagrams goes on losing them.
        """
        for link in self.network.links():
            link.cut = False
        self._note("heal")

    def calm(self) -> None:
        """
        End every fault of networks and disks, slowness, and pauses.
        """
        self.heal()
        self.faults = CALM
        self.network.rules.clear()
        for link in self.network.links():
            link.faults = None
        for node in self.nodes.values():
            node.disk.refusing = node.disk.unusable = False
            if node.process is not None:
                node.process.slowness = 0.0
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

    def client(self, nodeid: int, pid: int | None = None) -> Client:
        """
        A new client of process groups on a node that is up, in a cluster with
        services.

        @param pid: what others see; by default one that no other has.
        """
        services = self.services(nodeid)
        self._clients += 1
        identity = self._clients
        client = Client(
            identity, pid or identity, services.life, services.groups, self.groups
        )
        self.groups.opened(client)
        return client

    def services(self, nodeid: int) -> Services:
        """
        Of a node that is up.
        """
        services = self.running(nodeid).application
        assert isinstance(services, Services), "a cluster without services"
        return services

    def _pathOf(self, life: Life) -> Path:
        return self.services(life.nodeid).takePath()

    # Demands.

    def settle(self, within: float | None = None, *, stay: bool = True) -> None:
        """
        In quiet, demand progress: the nodes of each part of the network that
        is whole form one ring and stay there, and everything accepted is
        delivered by all of them.  [EVS L1, L2, L3]

        @param within: seconds until the ring must have formed.
        """
        if within is None:
            within = FORMING_TOKENS * self.timing.token
        if not self.runUntil(self.formed, within):
            self._complain("L1", "no common ring formed", within)
        patience = ORDERING_TOKENS * self.timing.token
        while not self.runUntil(self._quiet, patience):
            before = self._outstanding()
            self.run(patience)
            if self._outstanding() >= before:
                break
        lives = self._livesUp()
        self.evs.agreement(lives)
        self.messages.agreement(lives)
        self.groups.agreement(*self._tables())
        self._raiseViolation()
        if stay:
            rings = self._rings()
            self.run(self.timing.token)
            if self._rings() != rings:
                self._complain("L1", "the ring did not last", self.timing.token)

    def formed(self) -> bool:
        """
        Is every part of the network one ring of those who are up there, with
        its services in step?
        """
        for part in self.parts():
            here = tuple(sorted(n for n in part if self.nodes[n].up))
            first = None
            for nodeid in here:
                application = self.nodes[nodeid].application
                ring = application.configuration
                first = first or ring
                if (
                    ring is None
                    or ring.members != here
                    or first is None
                    or ring.ringId != first.ringId
                    or application.synchronizing
                    or self.nodes[nodeid].state is not In.OPERATIONAL
                ):
                    return False
        return True

    def parts(self) -> list[set[int]]:
        """
        The nodes, by which of them are connected in both directions.
        """
        parts: list[set[int]] = []
        rest = list(self.nodes)
        while rest:
            part, fringe = set[int](), {rest[0]}
            while fringe:
                nodeid = fringe.pop()
                part.add(nodeid)
                fringe |= {n for n in rest if n not in part and self._both(nodeid, n)}
            parts.append(part)
            rest = [n for n in rest if n not in part]
        return parts

    def _both(self, a: int, b: int) -> bool:
        return not (self.network.link(a, b).cut or self.network.link(b, a).cut)

    def _quiet(self) -> bool:
        return (
            not self._outstanding()
            and self.evs.caughtUp(self._livesUp())
            and self.groups.agreed(*self._tables())
        )

    def _outstanding(self) -> int:
        """
        Messages that were accepted somewhere and have not come back.
        """
        held = sum(node.application.held for node in self.nodes.values() if node.up)
        messages = self.messages.outstanding(self._livesUp())
        return held + messages + self.groups.outstanding()

    def _tables(self) -> tuple[Tables, list[set[Life]]]:
        """
        The engines of process groups, and who can hear each other.
        """
        tables = {
            node.process.life: node.process.application.groups
            for node in self.nodes.values()
            if node.process and isinstance(node.process.application, Services)
        }
        parts = [{life for life in tables if life.nodeid in p} for p in self.parts()]
        return tables, parts

    def _livesUp(self) -> list[Life]:
        return [n.process.life for n in self.nodes.values() if n.process is not None]

    def _rings(self) -> list[Configuration | None]:
        return [node.configuration for node in self.nodes.values() if node.up]

    def _complain(self, promise: str, text: str, within: float) -> None:
        states = {
            n: f"{node.state.value} {node.members}" for n, node in self.nodes.items()
        }
        lives = tuple(self._livesUp())
        self._violated(
            Violation(promise, text, lives, {"within": within, "states": states})
        )
        self._raiseViolation()

    # What the judges and the trace are told.

    def record(self, life: Life, event: str, **fields: Any) -> None:
        """
        Note something in the trace.
        """
        self.trace.record(
            self.clock.seconds(), life.nodeid, life.number, event, **fields
        )

    def _note(self, event: str, **fields: Any) -> None:
        self.trace.record(self.clock.seconds(), 0, 0, event, **fields)

    def _sending(
        self, port: Port, targets: Iterable[int], datagrams: Sequence[bytes]
    ) -> None:
        life = self._lives[port]
        now = self.clock.seconds()
        for datagram in datagrams:
            self.traffic.sent(life, datagram, now)

    def _observed(self, life: Life, effect: Effect) -> None:
        if not life.alive:
            return
        handler = _HANDLERS.get(type(effect))
        if handler is not None:
            handler(self, life, effect)

    def _multicast(self, life: Life, effect: Multicast) -> None:
        """
        The first transmission of a frame of its own is when a processor gives
        it its place.
        """
        last = self._lastSent.get(life, 0)
        for frame in effect.frames:
            if frame[3:5] != _DATA:
                continue
            origin, sequence, number, representative, ring = _REGULAR.unpack_from(
                frame, _REGULAR_AT
            )
            if origin != life.nodeid or number <= last:
                continue
            self._lastSent[life] = last = number
            payload = frame[_PAYLOAD_AT:]
            ringId = RingId(ring, representative)
            self.record(life, "send", ring=ringId, seq=sequence, digest=payload)
            self.evs.sent(life, ringId, sequence, number, payload)

    def _deliver(self, life: Life, effect: Deliver) -> None:
        self.record(
            life,
            "deliver",
            ring=effect.ringId,
            seq=effect.sequence,
            sender=effect.nodeid,
            digest=effect.payload,
        )
        self.evs.delivered(
            life, effect.ringId, effect.sequence, effect.nodeid, effect.payload
        )

    def _configured(self, life: Life, effect: ConfigurationChanged) -> None:
        configuration = effect.configuration
        self.record(
            life,
            "conf",
            kind="T" if configuration.transitional else "R",
            ring=configuration.ringId,
            members=configuration.members,
            left=configuration.left,
            joined=configuration.joined,
            cause=configuration.cause,
        )
        self.evs.configured(life, configuration)

    def _stateChanged(self, life: Life, effect: StateChanged) -> None:
        self.sometimes[f"{effect.before} to {effect.after}: {effect.cause}"] += 1
        self.record(
            life, "state", before=effect.before, after=effect.after, cause=effect.cause
        )
        for trigger in [*self._triggers]:
            if trigger.state != effect.after or trigger.nodeid not in (
                None,
                life.nodeid,
            ):
                continue
            if trigger.skip:
                trigger.skip -= 1
            else:
                self._triggers.remove(trigger)
                trigger.action()

    def submitted(self, life: Life, number: int, message: bytes) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.record(life, "submit", mid=number, size=len(message))
        self.messages.submitted(life, number, message)

    def delivered(
        self, life: Life, sender: int, incarnation: int, number: int, message: bytes
    ) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.record(
            life,
            "message",
            sender=sender,
            of=incarnation,
            mid=number,
            digest=message,
        )
        self.messages.delivered(life, sender, incarnation, number, message)

    def overtook(self, life: Life, sender: int) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.messages.overtook(life, sender)

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.messages.configured(life, configuration)

    def _broken(self, life: Life, failure: Failure) -> None:
        self._violated(
            Violation(
                "I4",
                f"raised {failure.getTraceback()}",
                (life,),
                {"at": self.seconds()},
            )
        )

    def _timeOfDay(self) -> int:
        return STARTED_NS + round(self.clock.seconds() * NANOSECONDS)

    # Verdicts.

    def _violated(self, violation: Violation) -> None:
        self.violations.append(violation)
        self.clock.stopped = True

    def _raiseViolation(self) -> None:
        if self.violations:
            first = self.violations[0]
            raise PromiseBroken(first, self._story(first))

    def _story(self, violation: Violation) -> str:
        nodes = {life.nodeid for life in violation.lives}
        records = [*self.trace.lines(*nodes, 0)][-RECORDS_SHOWN:]
        where = f"{len(self.nodes)} nodes, seed {self.seed}"
        return "\n".join(
            [
                str(violation),
                f"at {self.clock.seconds():.6f} s, {where}",
                f"replay: {self.replay}" if self.replay else "",
                "the last records of the nodes involved:",
                *records,
            ]
        )


def drawPayload(random: Random, size: int) -> bytes:
    """
    Contents that are hardly ever the same twice.
    """
    start = random.getrandbits(64).to_bytes(8, "big")
    return (start * (size // len(start) + 1))[:size]


_HANDLERS: Final[dict[type, Callable[[Cluster, Life, Any], None]]] = {
    Multicast: Cluster._multicast,  # noqa: SLF001
    Deliver: Cluster._deliver,  # noqa: SLF001
    ConfigurationChanged: Cluster._configured,  # noqa: SLF001
    StateChanged: Cluster._stateChanged,  # noqa: SLF001
}
