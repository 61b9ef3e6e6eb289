"""
Which seeds a test runs: as many as it says, or what the environment says.

C{COROTWIST_SEEDS} is how many, C{COROTWIST_FIRST_SEED} the first of them.
"""

import os
from collections.abc import Iterator
from typing import Final

from attrs import frozen

SEEDS: Final = "COROTWIST_SEEDS"
FIRST_SEED: Final = "COROTWIST_FIRST_SEED"


@frozen
class Seed:
    """
    One of them, and how to have only this one again.

    @ivar number: for L{corotwist.simulator.Cluster}.
    """

    number: int

    def replay(self, command: str) -> str:
        """
        A command line that runs a test with this seed alone.

        @param command: the one that runs the test: C{trial myservice.test}.
        """
        return f"{SEEDS}=1 {FIRST_SEED}={self.number} {command}"


def seeds(count: int) -> Iterator[Seed]:
    """
    Seeds for a test that draws its runs.

    @param count: how many, unless the environment says so.
    @raise ValueError: what the environment says is no number.
    """
    first = _number(FIRST_SEED, 0)
    for number in range(first, first + _number(SEEDS, count)):
        yield Seed(number)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r}, not a number of seeds")
    return int(text)
