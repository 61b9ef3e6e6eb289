"""
Damage: valid inputs changed in a few places, from one seed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from struct import pack
from typing import Final, Literal

from corotwist.test.fuzz import parts
from corotwist.test.fuzz.parts import Part

# What has hurt parsers: limits of ours and their neighbours.
_NUMBERS: Final = (
    *(0, 1, 2, 3, 29, 30, 31, 32, 63, 64, 65, 127, 128, 129, 255, 256, 257),
    *(383, 384, 385, 16383, 16384, 16385, 65534, 65535, 65536),
    *(2**31 - 1, 2**31, 2**31 + 1, 2**32 - 4, 2**32 - 1, 2**32, 2**63 - 1, 2**63),
)
WIDTHS: Final = (1, 2, 4, 8)
ORDERS: Final[tuple[Literal["little", "big"], ...]] = ("little", "big")
# How many changes one input gets: mostly one.
_CHANGES: Final = (1, 1, 1, 1, 2, 2, 3, 6)
# Of one session.
MOST_PARTS: Final = 32
# A piece that is moved, removed or repeated.
_PIECE_BYTES: Final = 24
_MOST_INPUT_BYTES: Final = 1 << 17


def edges(width: int) -> tuple[int, ...]:
    """
    The values that are tried in every field of so many bytes.
    """
    limit = 1 << 8 * width
    half = limit >> 1
    own = (half - 1, half, half + 1, limit - 2, limit - 1)
    return tuple(sorted({n for n in (*_NUMBERS, *own) if n < limit}))


_FIELDS: Final = tuple(
    value.to_bytes(width, order)
    for width in WIDTHS
    for value in edges(width)
    for order in ORDERS
)


class Mutator:
    """
    Damaged inputs without end.

    @ivar chance: the next number from 0 to 1.
    """

    def __init__(
        self,
        seeds: Sequence[bytes],
        seed: str,
        damages: "tuple[Damage, ...]",
        *,
        words: tuple[bytes, ...] = (),
        session: bool = False,
    ) -> None:
        self.chance = Random(seed).random
        self.words = words
        self._damages = damages
        self._session = session
        self._seeds = [*seeds] or [b""]
        self._runs = [parts.split(seed) for seed in self._seeds] if session else []

    def learned(self, data: bytes) -> None:
        """
        One more input to begin with.
        """
        self._seeds.append(data)
        if self._session:
            self._runs.append(parts.split(data))

    def below(self, limit: int) -> int:
        """
        A number from 0 on.
        """
        return int(self.chance() * limit)

    def seed(self) -> bytes:
        """
        One of the inputs that all begins with, or a part of one.
        """
        if self._session:
            run = self._runs[self.below(len(self._runs))]
            return run[self.below(len(run))][1] if run else b""
        return self._seeds[self.below(len(self._seeds))]

    def __iter__(self) -> Iterator[bytes]:
        following = self._nextSession if self._session else self._next
        while True:
            yield following()

    def changed(self, data: bytes) -> bytes:
        """
        C{data} with some more damage.
        """
        if self._session:
            return self._changedRun(parts.split(data))
        changing = bytearray(data)
        self.damage(changing)
        return bytes(changing[:_MOST_INPUT_BYTES])

    def damage(self, data: bytearray) -> None:
        """
        Change C{data} in a few places.
        """
        damages = self._damages
        for _ in range(_CHANGES[self.below(len(_CHANGES))]):
            damages[self.below(len(damages))](data, self)

    def _next(self) -> bytes:
        data = bytearray(self._seeds[self.below(len(self._seeds))])
        self.damage(data)
        return bytes(data)

    def _nextSession(self) -> bytes:
        """
        Pieces of some sessions, some of their parts changed: to build a world
        costs more than to say a little more in it.
        """
        run: list[Part] = []
        wanted = 1 + self.below(MOST_PARTS)
        while len(run) < wanted and self.chance() < 0.9:
            other = self._runs[self.below(len(self._runs))]
            run += other[self.below(len(other) + 1) // 2 :]
        return self._changedRun(run)

    def _changedRun(self, run: list[Part]) -> bytes:
        changes = _CHANGES[self.below(len(_CHANGES))] + self.below(len(run) + 1)
        for _ in range(changes):
            self._changeRun(run)
        return parts.join(
            [(tag, data[: parts.LONGEST]) for tag, data in run[:MOST_PARTS]]
        )

    def _changeRun(self, run: list[Part]) -> None:
        at = self.below(len(run) + 1)
        what = self.chance()
        if at == len(run) or what < 0.15:
            run.insert(at, (self.below(256), self.seed()))
            return
        tag, data = run[at]
        if what < 0.20:
            del run[at]
        elif what < 0.25:
            run.insert(self.below(len(run)), run[at])
        elif what < 0.35:
            run[at] = (tag ^ 1 << self.below(8), data)
        else:
            changing = bytearray(data)
            self.damage(changing)
            run[at] = (tag, bytes(changing))


Damage = Callable[[bytearray, Mutator], None]


# Of bytes.


def flip(data: bytearray, mutator: Mutator) -> None:
    """
    One bit.
    """
    if data:
        data[mutator.below(len(data))] ^= 1 << mutator.below(8)


def number(data: bytearray, mutator: Mutator) -> None:
    """
    A value that has hurt somebody, in any field.
    """
    field = _FIELDS[mutator.below(len(_FIELDS))]
    at = mutator.below(len(data) + 1)
    data[at : at + len(field)] = field


def neighbour(data: bytearray, mutator: Mutator) -> None:
    """
    What is in a field, and a little more or less.
    """
    width = WIDTHS[mutator.below(4)]
    if len(data) < width:
        return
    order = ORDERS[mutator.below(2)]
    at = mutator.below(len(data) - width + 1)
    value = int.from_bytes(data[at : at + width], order)
    value += (1, -1, 2, -2, 4, -4, 8, 16)[mutator.below(8)]
    data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, order)


def length(data: bytearray, mutator: Mutator) -> None:
    """
    A field that says how much follows it, or is there at all.
    """
    width = (2, 4)[mutator.below(2)]
    if len(data) < width:
        return
    at = mutator.below(len(data) - width + 1)
    value = len(data) - (0, at, at + width)[mutator.below(3)]
    value = (value + (0, 0, 0, 1, -1)[mutator.below(5)]) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, ORDERS[mutator.below(2)])


def cut(data: bytearray, mutator: Mutator) -> None:
    """
    The end is gone.
    """
    del data[mutator.below(len(data) + 1) :]


def remove(data: bytearray, mutator: Mutator) -> None:
    """
    A piece is gone.
    """
    at = mutator.below(len(data) + 1)
    del data[at : at + 1 + mutator.below(_PIECE_BYTES)]


def extend(data: bytearray, mutator: Mutator) -> None:
    """
    Something follows.
    """
    data += pack("<d", mutator.chance())[: 1 + mutator.below(8)]


def repeat(data: bytearray, mutator: Mutator) -> None:
    """
    A piece twice.
    """
    at = mutator.below(len(data) + 1)
    data[at:at] = data[at : at + 1 + mutator.below(_PIECE_BYTES)]


def splice(data: bytearray, mutator: Mutator) -> None:
    """
    From some place on, another input.
    """
    other = mutator.seed()
    at = mutator.below(min(len(data), len(other)) + 1)
    data[at:] = other[at:]


def word(data: bytearray, mutator: Mutator) -> None:
    """
    A piece of text that means something.
    """
    if mutator.words:
        at = mutator.below(len(data) + 1)
        said = mutator.words[mutator.below(len(mutator.words))]
        data[at : at + (0, len(said))[mutator.below(2)]] = said


BYTES: Final[tuple[Damage, ...]] = (
    *(flip, number, number, neighbour, length),
    *(cut, remove, extend, repeat, splice),
)


# Of text.


def line(data: bytearray, mutator: Mutator) -> None:
    """
    A line twice, elsewhere, gone, or one of another text.
    """
    lines = bytes(data).split(b"\n")
    at, to = mutator.below(len(lines)), mutator.below(len(lines))
    match mutator.below(4):
        case 0:
            lines.insert(to, lines[at])
        case 1:
            lines.insert(to, lines.pop(at))
        case 2:
            del lines[at]
        case _:
            others = mutator.seed().split(b"\n")
            lines[at] = others[mutator.below(len(others))]
    data[:] = b"\n".join(lines)


def option(data: bytearray, mutator: Mutator) -> None:
    """
    A word for what a line says behind its colon.
    """
    lines = bytes(data).split(b"\n")
    at = mutator.below(len(lines))
    name, colon, _ = lines[at].partition(b":")
    if colon and mutator.words:
        said = mutator.words[mutator.below(len(mutator.words))]
        lines[at] = name + b": " + said
        data[:] = b"\n".join(lines)


_DIGITS: Final = re.compile(rb"[0-9]+")


def numeral(data: bytearray, mutator: Mutator) -> None:
    """
    A word for a number in digits.
    """
    found = [place.span() for place in _DIGITS.finditer(data)]
    if found and mutator.words:
        start, end = found[mutator.below(len(found))]
        data[start:end] = mutator.words[mutator.below(len(mutator.words))]


TEXT: Final[tuple[Damage, ...]] = (
    *(line, line, line, option, option, option, word),
    *(flip, cut, remove, repeat, splice),
)
