"""
One run, in two phases.

In the first anything may happen, and only safety is judged.  In the second
the faults end for the core, and it must make progress.
"""

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from time import process_time
from traceback import StackSummary, format_exc, walk_tb
from typing import Any, Final

from attrs import define, evolve, field, frozen

from corotwist.config.settings import NodeSettings, QuorumSettings
from corotwist.errors import CorotwistError
from corotwist.simulator.cluster import Cluster
from corotwist.simulator.judges.judge import Violation
from corotwist.simulator.jury import PromiseBroken
from corotwist.simulator.node import timingFor
from corotwist.simulator.swarm.crowd import Crowd
from corotwist.simulator.swarm.deeds import Deeds
from corotwist.simulator.swarm.draw import GROUPS, MOST_SIZE, draw
from corotwist.simulator.swarm.plan import BROKEN, DOWN, Plan
from corotwist.simulator.swarm.sometimes import (
    ALL_HAD,
    ALL_HAVE,
    INSTALLED,
    LEFT_BEHIND,
    Sometimes,
)
from corotwist.simulator.trace import DIGEST_BYTES
from corotwist.totem.membership import RingId

# After the faults, so many token times for a ring: what was in flight and the
# gathers under way may each cost a token and a consensus timeout.
PATIENCE_TOKENS: Final = 12
# What was on its way when the faults ended may still do harm for so long, in
# seconds: the longest delay, and a token that is lost to it.
AFTERMATH: Final = 3.5
# More events than this within one token time are a storm; for each node more
# of them, as many hear what one says.
STORM_EVENTS: Final = 100_000
STORM_EVENTS_PER_PAIR: Final = 4_000
# What is broken when a run of one's own asserts something that is not so.
DEMAND: Final = "the test's own demand"
# Where asserts are not the test's.
OURS: Final = ("corotwist.simulator.", "corotwist.totem.", "corotwist.engines.")
# Seals of runs whose datagrams are sealed.
KEY: Final = bytes(range(32))


def replayOf(
    seed: int, mostNodes: int = MOST_SIZE, factory: str = "", *, services: bool
) -> str:
    """
    The command that repeats a run that was drawn.

    @param factory: which kind of L{Swarm} it was, as C{module:name}.
    """
    kind = "--services" if services else "--rings"
    nodes = "" if mostNodes == MOST_SIZE else f" --nodes {mostNodes}"
    own = f" --plan {factory}" if factory else ""
    return f"corotwist sim {kind} --seed {seed}{nodes}{own}"


@define(eq=False)
class Swarm:
    """
    One run.  To test services of your own, make a subclass: L{options} gives
    the cluster its engines, L{begin} brings clients, L{finish} demands what
    must be true in the end.

    @ivar seed: the plan follows from it, unless there is one.
    @ivar replay: the command that repeats it; by default C{corotwist sim}.
    @ivar deeds: does what is planned, and counts it.
    @ivar calmSince: when the faults ended, if they did.
    """

    seed: int
    replay: str = ""
    mostNodes: int = MOST_SIZE
    keepTrace: bool = False
    services: bool = False
    seconds: float | None = None
    plan: Plan = field(default=None)
    cluster: Cluster = field(init=False)
    deeds: Deeds = field(init=False)
    crowd: Crowd = field(init=False)
    calmSince: float | None = field(default=None, init=False)
    _sometimes: Sometimes = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.plan is None:
            self.plan = draw(
                self.seed, self.mostNodes, services=self.services, seconds=self.seconds
            )
        plan = self.plan
        self.replay = self.replay or replayOf(
            plan.seed, self.mostNodes, self.factory, services=plan.services
        )
        self.cluster = Cluster(plan.size, plan.seed, plan.faults, **self.options())
        self._sometimes = Sometimes(self.cluster)
        self._sometimes.begin()
        self.deeds = Deeds(self.cluster, plan.faults)
        self.crowd = Crowd(self.cluster)

    @property
    def factory(self) -> str:
        """
        Which kind of runs of one's own this is, as C{corotwist sim --plan}
        takes it.
        """
        own = type(self)
        return "" if own is Swarm else f"{own.__module__}:{own.__qualname__}"

    def options(self) -> dict[str, Any]:
        """
        Of the cluster.
        """
        plan = self.plan
        return {
            "timing": timingFor(**plan.timing),
            "key": KEY if plan.sealed else None,
            "permute": plan.permute,
            "drift": plan.drift,
            "firstSequence": plan.firstSequence,
            "firstTokenSequence": plan.firstTokenSequence,
            "replay": self.replay,
            "keepTrace": self.keepTrace,
            "services": plan.services,
            "configure": self.configure,
            "boot": False,
        }

    def configure(self, settings: NodeSettings) -> NodeSettings:
        """
        What whole nodes are told.
        """
        if not self.plan.quorum:
            return settings
        quorum = QuorumSettings(**self.plan.quorum)
        voters = tuple((n, quorum.votes) for n in range(1, self.plan.size + 1))
        return evolve(settings, quorum=evolve(quorum, voters=voters))

    def begin(self) -> None:
        """
        The cluster has booted; its faults are about to begin.
        """

    def finish(self) -> None:
        """
        The core is in quiet, and has delivered everything.
        """

    def run(self) -> Cluster:
        """
        Both phases.

        @raise PromiseBroken: when something was wrong.
        """
        cluster, plan = self.cluster, self.plan
        for node in cluster.nodes.values():
            node.disk.syncSeconds = plan.syncSeconds
        cluster.boot(*cluster.nodes)
        if plan.fair:
            cluster.runUntil(cluster.formed, PATIENCE_TOKENS * cluster.timing.token)
        rings = self._rings()
        self.deeds.arm(plan.deeds)
        self.crowd.arm(plan.work)
        self.crowd.arm(plan.gated)
        cluster.jury.gated.honest = bool(plan.gated)
        self.begin()
        self._storm()
        if plan.fair and self._rings() != rings:
            # [EVS], loss on a link: up to 5 % changes no configuration.
            self._complain("weather", "a ring changed though nothing happened")
        self._recover()
        self.finish()
        self._count()
        return cluster

    def _rings(self) -> list[RingId]:
        nodes = self.cluster.nodes.values()
        return [n.configuration.ringId for n in nodes if n.configuration]

    def _count(self) -> None:
        """
        What else was there sometimes.
        """
        counts, plan = self.cluster.sometimes, self.plan
        self._sometimes.end()
        counts["a minority went on"] += 0 < len(plan.core) * 2 <= plan.size
        core = len(plan.core) or plan.size
        counts["others stayed broken"] += plan.outside == BROKEN and core < plan.size
        jury = self.cluster.jury
        counts[LEFT_BEHIND] += jury.lease.leftBehind
        counts[ALL_HAVE] += jury.stability.answers
        counts[ALL_HAD] += jury.stability.lateAnswers
        if any(reason.endswith("TryAgain") for reason in self.crowd.counts):
            counts["a client was told to try again"] += 1

    def _storm(self) -> None:
        cluster, plan = self.cluster, self.plan
        end = cluster.seconds() + plan.seconds
        most = STORM_EVENTS + STORM_EVENTS_PER_PAIR * plan.size**2
        while cluster.seconds() < end:
            before = cluster.clock.events
            cluster.run(min(cluster.timing.token, end - cluster.seconds()))
            events = cluster.clock.events - before
            if events > most:
                self._complain("L5", "a storm of events", events=events)

    def _complain(self, promise: str, text: str, **details: Any) -> None:
        lives = tuple(
            node.process.life
            for node in self.cluster.nodes.values()
            if node.process is not None
        )
        self.cluster.jury.violated(Violation(promise, text, lives, details))
        self.cluster.jury.sentence()

    def _recover(self) -> None:
        cluster, plan = self.cluster, self.plan
        self.deeds.over = self.crowd.over = True
        self.calmSince = cluster.seconds()
        cluster.forget()
        core = plan.core or tuple(cluster.nodes)
        outside = [n for n in cluster.nodes if n not in core]
        self._calm(core, outside)
        for nodeid, node in cluster.nodes.items():
            if node.leaving:
                cluster.kill(nodeid)
            if nodeid in core and not node.up:
                self._bootAnyway(nodeid)
        among = core if plan.outside == BROKEN else None
        cluster.run(AFTERMATH)
        cluster.settle(PATIENCE_TOKENS * cluster.timing.token, among=among)
        self._stillHere(core)
        cluster.settle(stay=False, among=among)

    def _bootAnyway(self, nodeid: int) -> None:
        """
        If its disk is unusable, it gets another.
        """
        try:
            self.cluster.boot(nodeid)
        except CorotwistError:
            self.cluster.boot(nodeid, fresh=True)

    def _calm(self, core: tuple[int, ...], outside: list[int]) -> None:
        """
        End the faults of the core, and see to it that the others stay away.
        """
        cluster = self.cluster
        if not outside:
            self._calmAll()
            return
        if self.plan.outside == DOWN:
            cluster.kill(*(n for n in outside if not cluster.nodes[n].down))
        broken = [*map(self._brokenness, outside)]
        self._calmAll()
        if self.plan.outside == BROKEN:
            for breakAgain in broken:
                breakAgain()
        for a in core:
            for b in outside:
                cluster.link(a, b).cut = cluster.link(b, a).cut = True

    def _calmAll(self) -> None:
        self.cluster.calm()
        for node in self.cluster.nodes.values():
            node.disk.syncSeconds = self.plan.syncSeconds

    def _brokenness(self, nodeid: int) -> Callable[[], None]:
        """
        What is wrong with a node and its links, to break it again after all
        was repaired.
        """
        cluster = self.cluster
        disk = cluster.nodes[nodeid].disk
        failure = disk.failure
        links = [cluster.link(nodeid, n) for n in cluster.nodes if n != nodeid]
        were = [(link, link.cut, link.faults or cluster.faults) for link in links]

        def breakAgain() -> None:
            disk.failure = failure
            for link, cut, faults in were:
                link.cut, link.faults = cut, faults

        return breakAgain

    def _stillHere(self, core: tuple[int, ...]) -> None:
        for nodeid in core:
            if self.plan.services:
                self.cluster.client(nodeid).join(GROUPS[0].encode())
            else:
                self.cluster.multicast(nodeid, b"still here")


@frozen
class Outcome:
    """
    What came of a run, for the statistics of many.

    @ivar promise: the one that was broken, or the empty string.
    @ivar text: how.
    @ivar at: when, in virtual time.
    @ivar faultSeconds: how long there were faults.
    @ivar busySeconds: of a core.
    @ivar events: of the scheduler.
    @ivar records: of the trace.
    @ivar installs: configurations, of all nodes.
    @ivar done: how often each deed was done; others were to be, and could not.
    @ivar digest: of the whole trace, if it was kept.
    """

    seed: int
    services: bool
    size: int
    promise: str
    text: str
    at: float
    faultSeconds: float
    busySeconds: float
    events: int
    records: int
    installs: int
    done: Counter[str]
    sometimes: Counter[str]
    digest: str


def outcome(swarm: Swarm) -> Outcome:
    """
    Run, and tell what came of it.  Whatever is raised is a broken promise.
    """
    began = process_time()
    promise, text = _verdict(swarm)
    cluster, plan = swarm.cluster, swarm.plan
    now = cluster.seconds()
    return Outcome(
        seed=plan.seed,
        services=plan.services,
        size=plan.size,
        promise=promise,
        text=text,
        at=now,
        faultSeconds=min(now, plan.seconds),
        busySeconds=process_time() - began,
        events=cluster.clock.events,
        records=cluster.trace.count,
        installs=cluster.sometimes[INSTALLED],
        done=swarm.deeds.done,
        sometimes=cluster.sometimes,
        digest=_digest(cluster) if swarm.keepTrace else "",
    )


def _verdict(swarm: Swarm) -> tuple[str, str]:
    try:
        swarm.run()
    except PromiseBroken as broken:
        return broken.violation.promise, str(broken)
    except Exception as error:  # noqa: BLE001 - Whatever it is, it is reported.
        name, text = type(error).__name__, format_exc()
        if isinstance(error, AssertionError) and (demand := _demand(swarm, error)):
            name, text = DEMAND, demand
        return name, f"{text}{swarm.plan}\nreplay: {swarm.replay}"
    return "", ""


def _demand(swarm: Swarm, error: AssertionError) -> str:
    """
    What the run's own class asserts, and where; the empty string when it is
    something of ours that it called.
    """
    own = type(swarm).__module__
    steps = [*walk_tb(error.__traceback__)]
    modules = [frame.f_globals.get("__name__", "") for frame, _ in steps]
    if not swarm.factory or own not in modules:
        return ""
    last = max(at for at, module in enumerate(modules) if module == own)
    if any(module.startswith(OURS) for module in modules[last + 1 :]):
        return ""
    place = StackSummary.extract(iter(steps))[last]
    where = f"{Path(place.filename).name}, line {place.lineno}, in {place.name}"
    return f"{DEMAND} was not met: {error}\n  {where}: {place.line}\n"


def _digest(cluster: Cluster) -> str:
    digest = blake2b(digest_size=DIGEST_BYTES)
    for line in cluster.trace.lines():
        digest.update(line.encode())
    return digest.hexdigest()
