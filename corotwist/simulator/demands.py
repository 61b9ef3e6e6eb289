"""
What is demanded of a cluster in quiet: one ring, that lasts, and everything
accepted delivered.
"""

from collections.abc import Callable, Collection, Mapping
from math import ceil
from typing import Final

from attrs import define

from corotwist.config.settings import Timing
from corotwist.simulator.judges.groups import Tables
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.jury import Jury
from corotwist.simulator.network import Network
from corotwist.simulator.node import SimulatedNode
from corotwist.simulator.services import Services
from corotwist.totem.membership import Configuration
from corotwist.totem.states import In

# After a heal the ring has so many token times to form.  [EVS L1]
FORMING_TOKENS: Final = 6
# And what was accepted so many more to be ordered, once it has formed.
ORDERING_TOKENS: Final = 4
# A crash or a partition has become a new ring after so many token and
# consensus times.  [EVS L4]
REFORMING: Final = 3
# Rings of one node in so many consensus times, in a network that stays as bad
# as it is, and when a node cannot receive: coming back and going again, once in
# twenty.  [EVS L7, L8]
STEADY_CONSENSUSES: Final = 10
CHANGES_OF_BAD_LINKS: Final = 10
CHANGES_OF_THE_DEAF: Final = 2
# In a token time an idle ring's token comes as often as it takes to see that
# it is idle, and then once in a hold time.  [EVS L6]
HOLD_SLACK: Final = 8
HOLD_FACTOR: Final = 2
# Rotations that the services of a new ring may take, if one has room for a frame
# of every member: in each step of a round everybody says something.  [EVS L9]
SYNC_ROTATIONS: Final = 20


@define(eq=False)
class Demands:
    """
    Progress, demanded of the nodes that are up.
    """

    nodes: Mapping[int, SimulatedNode]
    network: Network
    timing: Timing
    jury: Jury
    _run: Callable[[float], None]
    _runUntil: Callable[[Callable[[], bool], float], bool]
    _among: frozenset[int] = frozenset()

    def __attrs_post_init__(self) -> None:
        self._among = frozenset(self.nodes)

    def settle(
        self,
        within: float | None = None,
        *,
        stay: bool = True,
        among: Collection[int] | None = None,
    ) -> None:
        """
        In quiet, demand progress: the nodes of each part of the network that
        is whole form one ring and stay there, and everything accepted is
        delivered by all of them.  [EVS L1, L2, L3]

        @param within: seconds until the ring must have formed.
        @param among: of these nodes only it is demanded, who must be cut off
            from all others; by default of all.
        """
        if within is None:
            within = FORMING_TOKENS * self.timing.token
        self._among = frozenset(self.nodes if among is None else among)
        # Who could not receive keeps to himself for a while.  [EVS L7]
        within += max(0.0, *(node.solitude for node in self.nodes.values()))
        began = self.jury.clock.seconds()
        if not self._runUntil(self.formed, within):
            self._complain(*self._whatFailed("L1"), within)
        patience = ORDERING_TOKENS * self.timing.token
        while not self._runUntil(self._quiet, patience):
            before = self._outstanding()
            self._run(patience)
            if self._outstanding() >= before:
                break
        lives = self._livesUp()
        self.jury.evs.agreement(lives)
        self.jury.messages.agreement(lives)
        self.jury.stability.agreement(lives)
        self.jury.groups.agreement(*self._tables(), lives)
        self.jury.gated.agreement()
        self.jury.sentence()
        if stay:
            rings, visits = self._rings(), self._visits()
            self._run(self.timing.token)
            if self._rings() != rings:
                self._complain("L1", "the ring did not last", self.timing.token)
            if self._calm():
                self._idle(visits)
                self._inStep(began)
            self.jury.sentence()

    def reform(self) -> None:
        """
        Demand that what has just happened, a crash or a partition, has become
        new configurations within a few token and consensus times; also while
        up to a twentieth of all datagrams are lost.  [EVS L4]
        """
        within = REFORMING * (self.timing.token + self.timing.consensus)
        self._among = frozenset(self.nodes)
        if not self._runUntil(self.formed, within):
            self._complain(*self._whatFailed("L4"), within)

    def steady(self, promise: str = "L8", most: int = CHANGES_OF_BAD_LINKS) -> None:
        """
        Whatever the network is like, as long as it stays so: demand that no
        node installs more than so many rings within ten consensus times.
        [EVS L7, L8]

        @param promise: L7 for a node that cannot receive, L8 for links that
            carry one direction only.
        """
        before = {n: self._installs(n) for n in self.nodes}
        seconds = STEADY_CONSENSUSES * self.timing.consensus
        self._run(seconds)
        for nodeid, node in self.nodes.items():
            installs = self._installs(nodeid) - before[nodeid]
            if node.process is not None and installs > most:
                text = f"node {nodeid} installed {installs} rings, at most {most}"
                self._complain(promise, text, seconds)

    def _installs(self, nodeid: int) -> int:
        node = self.nodes[nodeid]
        if not node.lives:
            return 0
        return sum(not c.transitional for c in node.configurations)

    def _whatFailed(self, promise: str) -> tuple[str, str]:
        """
        A ring whose services do not come into step is another promise.
        """
        if not self.formed(inStep=False):
            return promise, "no common ring formed"
        return "S9", "the services of a ring do not come into step"

    def _calm(self) -> bool:
        """
        Does the network carry everything, and nobody take his time?
        """
        network = self.network
        return (
            network.faults.harmless
            and not network.rules
            and all(link.faults is None for link in network.links())
            and all(
                not node.process.slowness
                for node in self._meant()
                if node.process is not None
            )
        )

    def _visits(self) -> dict[Life, tuple[int, int, int]]:
        """
        Of each process: how often it had the token, how far its ring is, and
        how often somebody asked for a token that was held.
        """
        visits = {}
        for node in self._meant():
            protocol = node.process and node.process.service.protocol
            if node.process is not None and protocol:
                ring = protocol.ring
                done = ring.statistics
                marks = done.tokens, ring.window.high, done.holdsCancelled
                visits[node.process.life] = marks
        return visits

    def _idle(self, before: dict[Life, tuple[int, int, int]]) -> None:
        """
        A ring with nothing to do keeps its token.  [EVS L6]
        """
        timing = self.timing
        most = (
            timing.sequenceUnchanged
            + HOLD_SLACK
            + HOLD_FACTOR * ceil(timing.token / timing.hold)
        )
        after = self._visits()
        busy = [life for life in after if after[life][1:] != before[life][1:]]
        if busy:
            return
        for life, (tokens, *_) in after.items():
            rotations = tokens - before[life][0]
            if rotations > most:
                text = f"the token of an idle ring came {rotations} times"
                details = {"most": most, "seconds": timing.token}
                self.jury.violated(Violation("L6", text, (life,), details))

    def _inStep(self, began: float) -> None:
        """
        Services come into step within a few rotations; where the window is
        smaller than the ring, each step takes as many as windows.  [EVS L9]
        """
        for life in self._livesUp():
            at, rotations = self.jury.sync.lastRound(life)
            members = len(self.nodes[life.nodeid].members)
            most = SYNC_ROTATIONS * ceil(members / self.timing.windowSize)
            if at > began and rotations > most:
                text = f"the services took {rotations} rotations to come into step"
                details = {"most": most}
                self.jury.violated(Violation("L9", text, (life,), details))

    def formed(self, *, inStep: bool = True) -> bool:
        """
        Is every part of the network one ring of those who are up there, with
        its services in step?
        """
        for part in self.parts():
            meant = part & self._among
            here = tuple(sorted(n for n in meant if self.nodes[n].up))
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
                    or (inStep and application.synchronizing)
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
            and self.jury.evs.caughtUp(self._livesUp())
            and self.jury.groups.agreed(*self._tables())
        )

    def _outstanding(self) -> int:
        """
        Messages that were accepted somewhere and have not come back.
        """
        held = sum(node.application.held for node in self._meant() if node.up)
        messages = self.jury.messages.outstanding(self._livesUp())
        return held + messages + self.jury.groups.outstanding(self._livesUp())

    def _tables(self) -> tuple[Tables, list[set[Life]]]:
        """
        The engines of process groups, and who can hear each other.
        """
        tables = {
            node.process.life: node.process.application.groups
            for node in self._meant()
            if node.process and isinstance(node.process.application, Services)
        }
        parts = [{life for life in tables if life.nodeid in p} for p in self.parts()]
        return tables, parts

    def _livesUp(self) -> list[Life]:
        return [n.process.life for n in self._meant() if n.process is not None]

    def _rings(self) -> list[Configuration | None]:
        return [node.configuration for node in self._meant() if node.up]

    def _meant(self) -> list[SimulatedNode]:
        """
        The nodes of which progress is demanded.
        """
        return [node for n, node in self.nodes.items() if n in self._among]

    def _complain(self, promise: str, text: str, within: float) -> None:
        states = {
            n: f"{node.state.value} {node.members}" for n, node in self.nodes.items()
        }
        lives = tuple(self._livesUp())
        self.jury.violated(
            Violation(promise, text, lives, {"within": within, "states": states})
        )
        self.jury.sentence()
