"""
Runs drawn from a seed: which faults there are at all, how strong, and when.

A run has two phases.  In the first anything may happen, and only safety is
judged.  In the second the faults end, and the cluster must make progress.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any, ClassVar, Final

from attrs import define, field, frozen
from twisted.python.failure import Failure

from corotwist.errors import ServiceError
from corotwist.simulator.chance import source
from corotwist.simulator.cluster import Cluster, drawPayload, timingFor
from corotwist.simulator.faults import Faults
from corotwist.simulator.groups import Client
from corotwist.totem.states import In

# After the faults, so many token times for a ring: what was in flight and the
# gathers under way may each cost a token and a consensus timeout.
PATIENCE_TOKENS: Final = 12
# What was on its way when the faults ended may still do harm for so long, in
# seconds: the longest delay, and a token that is lost to it.
AFTERMATH: Final = 3.5
MOST_SIZE: Final = 8
# Sequences begin at 0, or soon wrap.
FIRST_SEQUENCES: Final = (0, 0x7FFFFFF0, 0xFFFFFF00, 0xFFFFFFF8)
GROUPS: Final = (b"red", b"green", b"blue")
MOST_CLIENTS: Final = 20
SENT_SIZES: Final = (0, 10, 10, 100, 1000, 3000, 50_000)
CORE_CHANCE: Final = 0.2
MESSAGE_SIZES: Final = ((1, 10, 100), (100, 1000), (10, 1390, 1400, 5000), (20_000,))
LOSSES: Final = (0.005, 0.02, 0.08, 0.3)
KINDS_LOST: Final[Mapping[str, Sequence[float]]] = {
    "commit": (0.1, 0.4),
    "token": (0.02, 0.1),
    "join": (0.2, 0.5),
    "data": (0.05, 0.3),
}


@frozen
class Plan:
    """
    What was drawn for one run.

    @ivar seconds: how long the faults last.
    @ivar pace: mean seconds between two events of the story.
    @ivar deeds: which kinds of event may happen.
    @ivar core: who comes through; the others stay away when the faults end.
    """

    size: int
    faults: Faults
    timing: Mapping[str, Any]
    permute: bool
    drift: float
    syncSeconds: float
    rate: float
    sizes: Sequence[int]
    seconds: float
    pace: float
    deeds: tuple[str, ...]
    core: tuple[int, ...]
    firstSequence: int
    firstTokenSequence: int


def draw(seed: int, mostNodes: int = MOST_SIZE) -> Plan:
    """
    A plan for a seed.
    """
    random = source(seed, "plan")
    size = random.randint(1, mostNodes)
    deeds = tuple(deed for deed in Deeds.NAMES if random.random() < 0.5)  # noqa: PLR2004
    nodeids = range(1, size + 1)
    core = tuple(nodeids)
    if random.random() < CORE_CHANCE:
        core = tuple(sorted(random.sample(nodeids, random.randint(1, size))))
    rate = random.choice((0.0, 2.0, 20.0, 100.0)) / size
    return Plan(
        size=size,
        faults=drawFaults(random),
        timing=_drawTiming(random),
        permute=_coin(random),
        drift=random.choice((0.0, 0.001, 0.05)),
        syncSeconds=random.choice((0.0, 0.0005, 0.02)),
        rate=rate,
        sizes=random.choice(MESSAGE_SIZES),
        seconds=random.uniform(2.0, 12.0),
        pace=random.choice((0.1, 0.5, 2.0)),
        deeds=deeds,
        core=core,
        firstSequence=random.choice(FIRST_SEQUENCES),
        firstTokenSequence=random.choice(FIRST_SEQUENCES),
    )


def drawFaults(random: Random) -> Faults:
    """
    What the network does; each kind of fault is there or not.
    """
    kinds = {
        kind: random.choice(values)
        for kind, values in KINDS_LOST.items()
        if random.random() < 0.25  # noqa: PLR2004
    }
    return Faults(
        loss=random.choice(LOSSES) if _coin(random) else 0.0,
        lossOf=kinds,
        duplication=random.choice((0.01, 0.1)) if _coin(random) else 0.0,
        duplicateAfter=random.choice((0.001, 0.05, 2.0)),
        reorder=random.choice((0.01, 0.1)) if _coin(random) else 0.0,
        reorderBy=random.choice((0.001, 0.02, 0.3)),
        delay=random.choice((0.00005, 0.0002, 0.001)),
        spread=random.choice((0.0, 0.00002, 0.0005, 0.005)),
        tail=random.choice((0.01, 0.05)) if _coin(random) else 0.0,
    )


def _drawTiming(random: Random) -> dict[str, Any]:
    timing: dict[str, Any] = {"token": random.choice((0.3, 1.0))}
    if _coin(random):
        timing |= {"windowSize": random.choice((4, 50, 300))}
        timing |= {"maxMessages": random.choice((1, 3, 17, 100))}
        timing |= {"missCount": random.choice((1, 5))}
        timing |= {"failReceive": random.choice((50, 2500))}
        timing |= {"sendJoin": random.choice((0.0, 0.02))}
    return timing


def _coin(random: Random) -> bool:
    return random.random() < 0.5  # noqa: PLR2004


@define(eq=False)
class Deeds:
    """
    The events of a story, as drawn.

    @ivar faults: of the network, when nothing worse happens.
    @ivar over: the faults have ended.
    """

    cluster: Cluster
    random: Random
    faults: Faults
    over: bool = False

    def partition(self) -> None:
        """
        Two or three sides.
        """
        sides: list[set[int]] = [set() for _ in range(self.random.randint(2, 3))]
        for nodeid in self.cluster.nodes:
            self.random.choice(sides).add(nodeid)
        self.cluster.partition(*sides)

    def heal(self) -> None:
        """
        All links whole.
        """
        self.cluster.heal()

    def cut(self) -> None:
        """
        One direction of one link.
        """
        if len(self.cluster.nodes) > 1:
            self.cluster.cut(*self.random.sample([*self.cluster.nodes], 2))

    def kill(self) -> None:
        """
        One process, at once.
        """
        if self.cluster.live:
            self.cluster.kill(self.random.choice(self.cluster.live))

    def killInState(self) -> None:
        """
        Whoever next enters a state, at that moment.
        """
        state = self.random.choice((In.GATHER, In.COMMIT, In.RECOVERY, In.OPERATIONAL))
        nodeid = self.random.choice([*self.cluster.nodes])

        def kill() -> None:
            if self.cluster.nodes[nodeid].up:
                self.cluster.kill(nodeid)

        self.cluster.whenState(state, kill, nodeid, self.random.randint(0, 2))

    def killSending(self) -> None:
        """
        Whoever next sends a datagram of some kind, in the middle of that.
        """
        nodeid = self.random.choice([*self.cluster.nodes])

        def kill() -> None:
            if self.cluster.nodes[nodeid].up:
                self.cluster.kill(nodeid)

        kind = self.random.choice(("token", "data", "join", "commit"))
        skip = self.random.randint(0, 3)
        self.cluster.whenSent(kill, kind, source=nodeid, skip=skip)

    def boot(self) -> None:
        """
        A node that is down.
        """
        if self.cluster.down:
            self.cluster.boot(self.random.choice(self.cluster.down))

    def bootFresh(self) -> None:
        """
        A node that is down, without its disk.
        """
        if self.cluster.down:
            self.cluster.boot(self.random.choice(self.cluster.down), fresh=True)

    def restart(self) -> None:
        """
        Faster than others may notice.
        """
        if self.cluster.live:
            nodeid = self.random.choice(self.cluster.live)
            self.cluster.kill(nodeid)
            later = self.random.choice((0.001, 0.01, 0.1, 1.2))
            self.cluster.clock.callLater(later, self._bootIfDown, nodeid)

    def _bootIfDown(self, nodeid: int) -> None:
        if not self.over and nodeid in self.cluster.down:
            self.cluster.boot(nodeid)

    def stop(self) -> None:
        """
        One process leaves.
        """
        if self.cluster.live:
            self.cluster.stop(self.random.choice(self.cluster.live))

    def pause(self) -> None:
        """
        One process is not scheduled, for less or more than a token time.
        """
        if self.cluster.live:
            seconds = self.random.choice((0.01, 0.2, 0.9, 1.5, 4.0))
            self.cluster.pause(self.random.choice(self.cluster.live), seconds)

    def slow(self) -> None:
        """
        One process takes its time.
        """
        if self.cluster.live:
            seconds = self.random.choice((0.0, 0.0005, 0.005))
            self.cluster.slow(self.random.choice(self.cluster.live), seconds)

    def disk(self) -> None:
        """
        One disk is full, or takes writes again.
        """
        node = self.cluster.nodes[self.random.choice([*self.cluster.nodes])]
        node.disk.refusing = not node.disk.refusing

    def badLink(self) -> None:
        """
        One direction loses or delays much.
        """
        if len(self.cluster.nodes) > 1:
            pair = self.random.sample([*self.cluster.nodes], 2)
            self.cluster.link(*pair).faults = drawFaults(self.random)

    def burst(self) -> None:
        """
        The whole network is bad for a moment.
        """
        self.cluster.faults = Faults(loss=self.random.uniform(0.3, 1.0))
        self.cluster.clock.callLater(self.random.uniform(0.05, 1.0), self._burstEnds)

    def _burstEnds(self) -> None:
        if not self.over:
            self.cluster.faults = self.faults

    NAMES: ClassVar[tuple[str, ...]] = (
        *("partition", "heal", "cut", "kill", "killInState", "killSending", "boot"),
        *("bootFresh", "restart", "stop", "pause", "slow", "disk", "badLink", "burst"),
    )


@define(eq=False)
class Crowd:
    """
    Clients of process groups who come, talk, and go.

    @ivar rate: what they do in a second, all together.
    """

    cluster: Cluster
    random: Random
    rate: float
    until: float
    clients: list[Client] = field(factory=list)

    def begin(self) -> None:
        """
        Be busy from now on.
        """
        time = self.cluster.seconds() + self.random.expovariate(self.rate)
        if time < self.until:
            self.cluster.clock.place(time, self._act)

    def _act(self) -> None:
        self.clients = [client for client in self.clients if client.open]
        deed = self.random.choice(self._DEEDS)
        with suppress(ServiceError):
            deed(self)
        self.begin()

    def _open(self) -> None:
        if self.cluster.live and len(self.clients) < MOST_CLIENTS:
            nodeid = self.random.choice(self.cluster.live)
            client = self.cluster.client(nodeid)
            self.clients.append(client)
            client.join(self.random.choice(GROUPS))

    def _join(self) -> None:
        if self.clients:
            self.random.choice(self.clients).join(self.random.choice(GROUPS))

    def _leave(self) -> None:
        if self.clients:
            self.random.choice(self.clients).leave(self.random.choice(GROUPS))

    def _send(self) -> None:
        if self.clients:
            client = self.random.choice(self.clients)
            group = self.random.choice([*client.views, *GROUPS[:1]])
            sizes = self.random.choices(SENT_SIZES, k=self.random.randint(1, 5))
            payloads = [drawPayload(self.random, size) for size in sizes]
            client.send(group, *payloads).addErrback(_refused)

    def _close(self) -> None:
        if self.clients:
            self.random.choice(self.clients).close()

    _DEEDS: ClassVar[tuple[Callable[["Crowd"], None], ...]] = (
        *(_open, _open, _join, _leave, _close),
        *([_send] * 8),
    )


def _refused(failure: Failure) -> None:
    failure.trap(ServiceError)


@define(eq=False)
class Swarm:
    """
    One run.

    @ivar services: of whole nodes, with clients of process groups, instead of
        a small application on the ring.

    @ivar replay: the command that repeats it.
    """

    seed: int
    replay: str = ""
    mostNodes: int = MOST_SIZE
    keepTrace: bool = False
    services: bool = False
    plan: Plan = field(init=False)
    cluster: Cluster = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.plan = plan = draw(self.seed, self.mostNodes)
        self.cluster = Cluster(
            plan.size,
            self.seed,
            plan.faults,
            timing=timingFor(**plan.timing),
            permute=plan.permute,
            drift=plan.drift,
            firstSequence=plan.firstSequence,
            firstTokenSequence=plan.firstTokenSequence,
            replay=self.replay,
            keepTrace=self.keepTrace,
            services=self.services,
            boot=False,
        )

    def run(self) -> Cluster:
        """
        Both phases.

        @raise PromiseBroken: when something was wrong.
        """
        cluster, plan = self.cluster, self.plan
        for node in cluster.nodes.values():
            node.disk.syncSeconds = plan.syncSeconds
        cluster.boot(*cluster.nodes)
        if self.services:
            random = source(self.seed, "crowd")
            Crowd(cluster, random, plan.rate * plan.size + 5.0, plan.seconds).begin()
        elif plan.rate:
            cluster.load(plan.rate, plan.seconds, plan.sizes)
        self._storm()
        self._recover()
        return cluster

    def _storm(self) -> None:
        cluster, plan = self.cluster, self.plan
        deeds = Deeds(cluster, source(self.seed, "deeds"), plan.faults)
        random = deeds.random
        end = cluster.seconds() + plan.seconds
        while cluster.seconds() < end:
            cluster.run(min(random.expovariate(1 / plan.pace), end - cluster.seconds()))
            if plan.deeds:
                deed: Callable[[], None] = getattr(deeds, random.choice(plan.deeds))
                deed()
        deeds.over = True

    def _recover(self) -> None:
        cluster, plan = self.cluster, self.plan
        cluster.forget()
        cluster.calm()
        if len(plan.core) < plan.size:
            cluster.partition(plan.core)
        for nodeid, node in cluster.nodes.items():
            if node.leaving:
                cluster.kill(nodeid)
            if nodeid in plan.core and not node.up:
                cluster.boot(nodeid)
        outside = [n for n in cluster.live if n not in plan.core]
        if outside:
            cluster.kill(*outside)
        cluster.run(AFTERMATH)
        cluster.settle(PATIENCE_TOKENS * cluster.timing.token)
        self._stillHere()
        cluster.settle(stay=False)

    def _stillHere(self) -> None:
        for nodeid in self.plan.core:
            if self.services:
                self.cluster.client(nodeid).join(GROUPS[0])
            else:
                self.cluster.multicast(nodeid, b"still here")
