"""
What all parts of a story act upon.
"""

from random import Random

from corotwist.simulator.attacker import Attacker
from corotwist.simulator.clock import Clock
from corotwist.simulator.jury import Jury
from corotwist.simulator.network import Network
from corotwist.simulator.node import SimulatedNode
from corotwist.simulator.process import Process
from corotwist.simulator.workshop import Workshop


class Stage:
    """
    The things of one run.

    @ivar seed: everything that is drawn follows from it.
    @ivar nodes: by nodeid.
    @ivar clock: virtual time.
    @ivar network: the links.
    @ivar jury: the judges.
    @ivar attacker: a stranger without a key.
    @ivar whim: draws what is not said.
    """

    seed: int
    nodes: dict[int, SimulatedNode]
    clock: Clock
    network: Network
    jury: Jury
    attacker: Attacker
    whim: Random
    _workshop: Workshop

    def running(self, nodeid: int) -> Process:
        """
        The process of a node that is up.
        """
        process = self.nodes[nodeid].process
        assert process is not None, f"node {nodeid} is not up"
        return process
