"""
Every target, with damage from one seed, and with what once was trouble.
"""

import os
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.fuzz.corpus import MOST_FILE_BYTES, entries, kept
from corotwist.test.fuzz.hunt import Crash, hunt
from corotwist.test.fuzz.measure import memory, seconds
from corotwist.test.fuzz.target import Target
from corotwist.test.fuzz.targets import targets

# Damaged inputs for a parser of bytes; worlds get their share of it.
CASES: Final = int(os.environ.get("COROTWIST_FUZZ_CASES", "200000"))
LEAST_CASES: Final = 100
# Targets that are quick enough to try every prefix of every seed.
PREFIXED: Final = 0.1
SEED: Final = os.environ.get("COROTWIST_FUZZ_SEED", "1")
# Seeds, and as many damaged inputs, whose memory is measured.
MEASURED: Final = 10
# An input, and one that is so many times as large.
SIZE: Final = 8 << 10
GROWTH: Final = 8
# Their times may be so many times apart; with the square they would be 64.
MOST_RATIO: Final = 3 * GROWTH
# The quickest of so many counts.
ATTEMPTS: Final = 7
# What takes less time is taken for this: it is too little to compare.
LEAST_SECONDS: Final = 0.0002


class TargetTestCase(SynchronousTestCase):
    """
    The same for each.
    """

    def targets(self) -> list[Target]:
        return list(targets().values())


class HuntTests(TargetTestCase):
    """
    Damage without end, or nearly.
    """

    def hunted(self, name: str) -> None:
        target = targets()[name]
        crash = hunt(target, max(LEAST_CASES, int(CASES * target.share)), SEED)
        if crash is not None:
            self.fail(str(crash))


def _hunting(name: str) -> None:
    """
    A test of its own for each target, so that each tells of itself.
    """

    def test(self: HuntTests) -> None:
        self.hunted(name)

    test.__doc__ = f"C{{{name}}} takes damaged input, or refuses it, and no more."
    setattr(HuntTests, f"test_{name.replace('.', '_')}", test)


for _name in targets():
    _hunting(_name)


class SeedTests(TargetTestCase):
    """
    What all begins with.
    """

    def test_seeds(self) -> None:
        """
        Every target has some, they do no harm, and are the same each time.
        """
        for target in self.targets():
            seeds = target.seeds()
            self.assertTrue(seeds, target.name)
            self.assertEqual(list(target.seeds()), list(seeds), target.name)
            for data in seeds:
                error = target.tried(data)
                if error is not None:
                    self.fail(str(Crash(target, data, error)))

    def test_taken(self) -> None:
        """
        Not everything is refused: at least one seed of each target is taken.
        """
        for target in self.targets():
            self.assertTrue(any(self.isTaken(target, s) for s in target.seeds()))

    def isTaken(self, target: Target, data: bytes) -> bool:
        run = target.begin()
        try:
            run(data)
        except target.refusals:
            return False
        return True

    def test_prefixes(self) -> None:
        """
        What is cut anywhere is taken or refused.
        """
        for target in self.targets():
            if target.share < PREFIXED:
                continue
            for seed in target.seeds():
                for size in range(len(seed)):
                    error = target.tried(seed[:size])
                    if error is not None:
                        self.fail(str(Crash(target, seed[:size], error)))

    def test_corpus(self) -> None:
        """
        Inputs that were kept do no harm, are few, and belong to a target.
        """
        for target in self.targets():
            found = entries(target.name)
            self.assertLess(sum(2 * len(data) for data, _ in found), MOST_FILE_BYTES)
            for data in kept(target.name):
                error = target.tried(data)
                if error is not None:
                    self.fail(str(Crash(target, data, error)))


class CostTests(TargetTestCase):
    """
    What an input costs follows its size.
    """

    def test_time(self) -> None:
        """
        Eight times as much takes about eight times as long.
        """
        for target in self.targets():
            pairs = zip(
                target.growing(SIZE), target.growing(SIZE * GROWTH), strict=True
            )
            for number, (small, large) in enumerate(pairs):
                ratio = self.ratio(target, small, large, 1)
                if ratio > MOST_RATIO:  # Something else was running, perhaps.
                    ratio = self.ratio(target, small, large, ATTEMPTS)
                at = f"{target.name} {number}: {len(small)} to {len(large)} bytes"
                self.assertLess(ratio, MOST_RATIO, at)

    def ratio(self, target: Target, small: bytes, large: bytes, attempts: int) -> float:
        least = max(LEAST_SECONDS, seconds(target, small, attempts))
        return seconds(target, large, attempts) / least

    def test_memory(self) -> None:
        """
        No input needs more than its share of memory.
        """
        for target in self.targets():
            mutator = iter(target.mutator(target.seeds(), SEED))
            damaged = [next(mutator) for _ in range(MEASURED)]
            large = target.growing(2 * SIZE)
            for data in (*target.seeds()[:MEASURED], *large, *damaged):
                found = memory(target, data)
                at = f"{target.name}: {found.peakBytes} for {data[:200].hex()}"
                self.assertLessEqual(found.swell, target.swell, at)
