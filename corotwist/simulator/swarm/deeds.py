"""
The events of a run, as drawn.
"""

from random import Random
from typing import ClassVar

from attrs import define

from corotwist.simulator.cluster import Cluster
from corotwist.simulator.faults import Faults
from corotwist.simulator.swarm.network import drawFaults
from corotwist.totem.states import In


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
