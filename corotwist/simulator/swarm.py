"""
Runs drawn from a seed: which faults there are at all, how strong, and when.

A run has two phases.  In the first anything may happen, and only safety is
judged.  In the second the faults end, and the cluster must make progress.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Final

from attrs import define, field, frozen

from corotwist.simulator.chance import source
from corotwist.simulator.cluster import Cluster, timingFor
from corotwist.simulator.faults import Faults
from corotwist.totem.states import In

# After the faults, so many token times for a ring: what was in flight and the
# gathers under way may each cost a token and a consensus timeout.
PATIENCE_TOKENS: Final = 12
# What was on its way when the faults ended may still do harm for so long, in
# seconds: the longest delay, and a token that is lost to it.
AFTERMATH: Final = 3.5
MOST_SIZE: Final = 8
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
        down = [n for n, node in self.cluster.nodes.items() if not node.up]
        if down:
            self.cluster.boot(self.random.choice(down))

    def bootFresh(self) -> None:
        """
        A node that is down, without its disk.
        """
        down = [n for n, node in self.cluster.nodes.items() if not node.up]
        if down:
            self.cluster.boot(self.random.choice(down), fresh=True)

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
        if not self.over and not self.cluster.nodes[nodeid].up:
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
class Swarm:
    """
    One run.

    @ivar replay: the command that repeats it.
    """

    seed: int
    replay: str = ""
    mostNodes: int = MOST_SIZE
    keepTrace: bool = False
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
            replay=self.replay,
            keepTrace=self.keepTrace,
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
        if plan.rate:
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
        for nodeid in plan.core:
            if not cluster.nodes[nodeid].up:
                cluster.boot(nodeid)
        outside = [n for n in cluster.live if n not in plan.core]
        if outside:
            cluster.kill(*outside)
        cluster.run(AFTERMATH)
        cluster.settle(PATIENCE_TOKENS * cluster.timing.token)
        for nodeid in plan.core:
            cluster.multicast(nodeid, b"still here")
        cluster.settle(stay=False)
