"""
One run, in two phases.

In the first anything may happen, and only safety is judged.  In the second
the faults end, and the cluster must make progress.
"""

from collections.abc import Callable
from typing import Final

from attrs import define, field

from corotwist.simulator.chance import source
from corotwist.simulator.cluster import Cluster
from corotwist.simulator.node import timingFor
from corotwist.simulator.swarm.crowd import GROUPS, Crowd
from corotwist.simulator.swarm.deeds import Deeds
from corotwist.simulator.swarm.plan import MOST_SIZE, Plan, draw

# After the faults, so many token times for a ring: what was in flight and the
# gathers under way may each cost a token and a consensus timeout.
PATIENCE_TOKENS: Final = 12
# What was on its way when the faults ended may still do harm for so long, in
# seconds: the longest delay, and a token that is lost to it.
AFTERMATH: Final = 3.5


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
