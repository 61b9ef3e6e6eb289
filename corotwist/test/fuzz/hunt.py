"""
Looking for an input that does harm, and making it small.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from attrs import frozen

import corotwist
from corotwist.test.fuzz import parts
from corotwist.test.fuzz.corpus import kept
from corotwist.test.fuzz.target import Target

# Inputs tried to make one smaller.
MOST_TRIES: Final = 3000
_HOME: Final = str(Path(corotwist.__file__).parent)


@frozen
class Crash:
    """
    An input that does harm.

    @ivar case: the number of the input among those of its seed; 0 when that
        says nothing.
    """

    target: Target
    data: bytes
    error: Exception
    seed: str = ""
    case: int = 0

    def __str__(self) -> str:
        what = "".join(traceback.format_exception(self.error)).rstrip()
        found = f", seed {self.seed!r}, case {self.case}" if self.seed else ""
        return (
            f"{what}\n\ntarget {self.target.name}{found}: {self.target.about}\n"
            f"input of {len(self.data)} bytes: {self.data.hex()}\n"
            f"again: echo {self.data.hex()} |"
            f" python -m corotwist.test.fuzz {self.target.name} --replay -"
        )


def starting(target: Target) -> list[bytes]:
    """
    What a hunt begins with.
    """
    return [*target.seeds(), *kept(target.name)]


def inputs(target: Target, seeds: Sequence[bytes], seed: str) -> Iterator[bytes]:
    """
    The damaged inputs of one seed, without end.
    """
    return iter(target.mutator(seeds, seed))


def hunt(target: Target, cases: int, seed: str) -> Crash | None:
    """
    Try the inputs to begin with, then so many damaged ones.

    @return: the first that does harm, made small.
    """
    seeds = starting(target)
    damaged = islice(inputs(target, seeds, seed), cases)
    for case, data in enumerate((*seeds, *damaged), 1 - len(seeds)):
        error = target.tried(data)
        if error is not None:
            return smallest(Crash(target, data, error, seed, case))
    return None


def smallest(crash: Crash) -> Crash:
    """
    The same harm from less.
    """
    found = [crash]
    place = _place(crash.error)
    tries = iter(range(MOST_TRIES))

    def harms(data: bytes) -> bool:
        if next(tries, None) is None or data == found[-1].data:
            return False
        error = crash.target.tried(data)
        if error is None or _place(error) != place:
            return False
        found.append(Crash(crash.target, data, error, crash.seed, crash.case))
        return True

    if crash.target.session:
        _shortenRun(crash.data, harms)
    else:
        _shorten(crash.data, harms)
    return found[-1]


def _place(error: Exception) -> tuple[type, str, int]:
    """
    The kind of an error, and the last line of ours that it came through.
    """
    last = ("", 0)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(_HOME):
            last = (frame.filename, frame.lineno or 0)
    return type(error), *last


def _shortenRun(data: bytes, harms: Callable[[bytes], bool]) -> None:
    run = parts.split(data)
    at = len(run)
    while at > 0:
        at -= 1
        without = run[:at] + run[at + 1 :]
        if harms(parts.join(without)):
            run = without
    for at, (tag, part) in enumerate(run):

        def harmful(data: bytes, at: int = at, tag: int = tag) -> bool:
            return harms(parts.join([*run[:at], (tag, data), *run[at + 1 :]]))

        run[at] = (tag, _shorten(part, harmful))
        if tag and harms(parts.join([*run[:at], (0, run[at][1]), *run[at + 1 :]])):
            run[at] = (0, run[at][1])


def _shorten(data: bytes, harms: Callable[[bytes], bool]) -> bytes:
    """
    Without pieces, large ones first; then with zeros.
    """
    size = len(data)
    while size:
        at = 0
        while at < len(data):
            without = data[:at] + data[at + size :]
            if harms(without):
                data = without
            else:
                at += size
        size //= 2
    for at, byte in enumerate(data):
        zeroed = data[:at] + b"\0" + data[at + 1 :]
        if byte and harms(zeroed):
            data = zeroed
    return data
