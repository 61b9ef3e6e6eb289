"""
Runs drawn from seeds: clusters of 1 to 16 nodes, with any faults.

C{COROTWIST_SEEDS} says how many of each kind, C{COROTWIST_FIRST_SEED} from
where on.  C{corotwist sim} does the same, on all cores, for as long as one
likes.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.seeds import seeds
from corotwist.simulator.swarm.run import Swarm
from corotwist.simulator.swarm.sometimes import RINGS, SERVICES

# What a run of the whole test suite can afford.
DEFAULT_SEEDS: Final = 120
DEFAULT_SERVICE_SEEDS: Final = 80


class SwarmTests(SynchronousTestCase):
    """
    Every promise is kept in every run.  Two tests, so that two processes can
    run them at the same time.
    """

    def test_services(self) -> None:
        """
        Whole nodes, and clients of process groups on them, keep every promise
        whatever is done to them, and make progress when it ends.
        """
        self._swarm(DEFAULT_SERVICE_SEEDS, SERVICES, services=True)

    def test_rings(self) -> None:
        """
        Faults of all kinds break no promise of safety; when they end the
        core forms a ring and orders what was accepted.
        """
        self._swarm(DEFAULT_SEEDS, RINGS, services=False)

    def _swarm(self, usual: int, sometimes: Sequence[str], *, services: bool) -> None:
        """
        So many runs; and what is interesting happened in some of them.
        """
        seen: Counter[str] = Counter()
        drawn = [*seeds(usual)]
        for seed in drawn:
            seen += Swarm(seed.number, services=services).run().sometimes
        if len(drawn) >= usual:
            self.assertEqual([what for what in sometimes if not seen[what]], [])
