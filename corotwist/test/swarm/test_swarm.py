"""
Runs drawn from seeds: clusters of 1 to 8 nodes, with any faults.

C{COROTWIST_SEEDS} says how many, C{COROTWIST_FIRST_SEED} from where on.
"""

import os
import sys
from collections import Counter
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.swarm.run import Swarm

SEEDS: Final = "COROTWIST_SEEDS"
FIRST_SEED: Final = "COROTWIST_FIRST_SEED"
# What a run of the whole test suite can afford.
DEFAULT_SEEDS: Final = 60
DEFAULT_SERVICE_SEEDS: Final = 30
# What must have happened somewhere in so many runs, or they test too little.
SOMETIMES: Final = (
    "operational to gather: the token was lost",
    "operational to gather: another ring was heard",
    "operational to gather: a processor asks for a new ring",
    "operational to gather: a processor left",
    "gather to gather: silent processors were given up",
    "commit to gather: the token was lost",
    "commit to gather: a member gave the new ring up",
    "recovery to gather: the token was lost",
    "recovery to gather: a member gave the new ring up",
    "recovery to operational: the old ring's messages are recovered",
)


def replay(seed: int) -> str:
    """
    The command that repeats one run.
    """
    test = "corotwist.test.swarm"
    return f"{SEEDS}=1 {FIRST_SEED}={seed} {sys.executable} -m twisted.trial {test}"


class SwarmTests(SynchronousTestCase):
    """
    Every promise is kept in every run.
    """

    def test_services(self) -> None:
        """
        So it is with whole nodes and clients of process groups on them.
        """
        first = int(os.environ.get(FIRST_SEED, "0"))
        count = int(os.environ.get(SEEDS, DEFAULT_SERVICE_SEEDS))
        for seed in range(first, first + count):
            Swarm(seed, replay=replay(seed), services=True).run()

    def test_seeds(self) -> None:
        """
        Faults of all kinds break no promise of safety; when they end the
        cluster forms and orders what was accepted.
        """
        first = int(os.environ.get(FIRST_SEED, "0"))
        count = int(os.environ.get(SEEDS, DEFAULT_SEEDS))
        seen: Counter[str] = Counter()
        for seed in range(first, first + count):
            seen += Swarm(seed, replay=replay(seed)).run().sometimes
        if count >= DEFAULT_SEEDS:
            self.assertEqual([what for what in SOMETIMES if not seen[what]], [])
