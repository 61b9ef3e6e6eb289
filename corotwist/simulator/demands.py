"""
What is demanded of a cluster in quiet: one ring, that lasts, and everything
accepted delivered.
"""

from collections.abc import Callable, Collection, Mapping
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
        if not self._runUntil(self.formed, within):
            self._complain("L1", "no common ring formed", within)
        patience = ORDERING_TOKENS * self.timing.token
        while not self._runUntil(self._quiet, patience):
            before = self._outstanding()
            self._run(patience)
            if self._outstanding() >= before:
                break
        lives = self._livesUp()
        self.jury.evs.agreement(lives)
        self.jury.messages.agreement(lives)
        self.jury.groups.agreement(*self._tables(), lives)
        self.jury.sentence()
        if stay:
            rings = self._rings()
            self._run(self.timing.token)
            if self._rings() != rings:
                self._complain("L1", "the ring did not last", self.timing.token)

    def formed(self) -> bool:
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
