"""
What a story can do to the links between nodes.
"""

from collections.abc import Iterable

from corotwist.simulator.faults import Faults
from corotwist.simulator.network import Link
from corotwist.simulator.story.stage import Stage


class Links(Stage):
    """
    A part of L{Cluster<corotwist.simulator.cluster.Cluster>}.
    """

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
