"""
What the network does to datagrams: how likely, and to which.
"""

from collections.abc import Callable, Mapping
from math import inf, log
from random import Random
from typing import Final

from attrs import define, field, fields, frozen

# What a datagram is, from its first four bytes; anything else, sealed
# datagrams included, is C{OTHER}.
KINDS: Final = ("token", "data", "merge", "join", "commit", "cancel")
OTHER: Final = "other"
KIND_AT: Final = 3
MAGIC: Final = (b"\x70\xc0", b"\xc0\x70")
# By the first four bytes, of any version: the question comes with every
# datagram.
_KIND_OF: Final = {
    bytes((*magic, version, number)): kind
    for magic in MAGIC
    for version in range(256)
    for number, kind in enumerate(KINDS)
}


def kindOf(datagram: bytes) -> str:
    """
    The name of a datagram's type.
    """
    return _KIND_OF.get(datagram[: KIND_AT + 1], OTHER)


# At least and at most.
BURST_SECONDS: Final = (0.05, 1.0)
CLOG_SECONDS: Final = (0.1, 1.5)
MOST_APPENDED: Final = 64


@define
class Spells:
    """
    Times at which something is so, at random.
    """

    _until: float = 0.0
    _next: float = -1.0

    def lasts(
        self, now: float, rate: float, seconds: tuple[float, float], random: Random
    ) -> float:
        """
        Until when it is so; 0 when it is not.

        @param rate: how often it begins, in a second.
        @param seconds: how long it is so, at least and at most.
        """
        if self._until > now:
            return self._until
        if self._next < 0:
            self._next = now + random.expovariate(rate)
        if now < self._next:
            return 0.0
        self._until = now + random.uniform(*seconds)
        self._next = self._until + random.expovariate(rate)
        return self._until


@frozen
class Faults:
    """
    What a link does to the datagrams it carries.  Probabilities are per
    datagram and receiver; times are in seconds.

    @ivar loss: probability that it does not arrive.
    @ivar lossOf: the same by kind of datagram, on top of C{loss}.
    @ivar duplication: probability that it arrives again, up to
        C{duplicateAfter} later.
    @ivar reorder: probability that it is overtaken: it comes up to
        C{reorderBy} later than it would have.  All others stay in order.
    @ivar delay: the least a datagram takes.
    @ivar spread: mean of what is added to that, exponentially distributed.
    @ivar tail: probability of up to C{tailDelay} more.
    @ivar corruption: probability that one to eight bits are flipped.
    @ivar truncation: probability that its end is missing.
    @ivar largest: datagrams of more bytes do not get through.
    @ivar replay: probability that it arrives again much later, up to
        C{replayAfter}.
    @ivar oversize: probability that something is appended to it.
    @ivar burst: how often, in a second, loss becomes C{burstLoss} for
        L{BURST_SECONDS}.
    @ivar clog: how often, in a second, the link stops for L{CLOG_SECONDS};
        all that is on it then arrives afterwards.
    """

    loss: float = 0.0
    lossOf: Mapping[str, float] = field(factory=dict)
    duplication: float = 0.0
    duplicateAfter: float = 0.01
    reorder: float = 0.0
    reorderBy: float = 0.01
    delay: float = 0.0002
    spread: float = 0.00002
    tail: float = 0.0
    tailDelay: float = 0.05
    corruption: float = 0.0
    truncation: float = 0.0
    largest: float = inf
    replay: float = 0.0
    replayAfter: float = 10.0
    oversize: float = 0.0
    burst: float = 0.0
    burstLoss: float = 1.0
    clog: float = 0.0

    @property
    def harmless(self) -> bool:
        """
        Does everything arrive once, whole, in time and in order?
        """
        return (
            not (self.loss or self.lossOf or self.duplication or self.reorder)
            and not (self.corruption or self.truncation or self.oversize)
            and not (self.replay or self.burst or self.clog)
            and self.largest == inf
        )

    @property
    def words(self) -> str:
        """
        What is not as it is by default, for people.
        """
        given = [
            f"{f.name} {_words(getattr(self, f.name))}"
            for f in fields(type(self))
            if getattr(self, f.name) != getattr(CALM, f.name)
        ]
        return ", ".join(given) or "calm"

    def draw(self, random: Random) -> float:
        """
        How long one journey takes.
        """
        time = self.delay
        if self.spread:
            # As C{expovariate} has it, but this is asked for every datagram.
            time -= log(1.0 - random.random()) * self.spread
        if self.tail and random.random() < self.tail:
            time += random.random() * self.tailDelay
        return time

    def lost(self, datagram: bytes, random: Random) -> bool:
        """
        Does the link lose this one?
        """
        if len(datagram) > self.largest:
            return True
        if self.loss and random.random() < self.loss:
            return True
        chance = self.lossOf.get(kindOf(datagram), 0.0) if self.lossOf else 0.0
        return chance > 0.0 and random.random() < chance

    def damaged(self, datagram: bytes, random: Random) -> bytes:
        """
        What is left of it on arrival.
        """
        if self.corruption and random.random() < self.corruption:
            datagram = _flipped(datagram, random)
        if self.truncation and random.random() < self.truncation:
            datagram = datagram[: random.randrange(len(datagram))]
        if self.oversize and random.random() < self.oversize:
            datagram += random.randbytes(random.randint(1, MOST_APPENDED))
        return datagram


def _words(value: float | Mapping[str, float]) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{kind} {chance:.3g}" for kind, chance in value.items())
    return f"{value:.3g}"


def _flipped(datagram: bytes, random: Random) -> bytes:
    damaged = bytearray(datagram)
    for _ in range(random.randint(1, 8)):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


CALM: Final = Faults()


@define
class Rule:
    """
    Something scripted: what happens to the next C{count} datagrams that match.

    @ivar fate: given the datagram, what arrives and how much later than
        usual.  Nothing at all is a loss.
    @ivar kind: one of L{KINDS}, or L{None} for all.
    @ivar source: a nodeid, or L{None} for all.
    @ivar target: likewise.
    @ivar skip: so many that match are let through before.
    @ivar containing: only datagrams in which these bytes are found.
    @ivar met: how many have been treated.
    """

    fate: Callable[[bytes], list[tuple[float, bytes]]]
    kind: str | None = None
    source: int | None = None
    target: int | None = None
    count: float = 1
    skip: int = 0
    containing: bytes = b""
    met: int = 0

    def applies(self, source: int, target: int, datagram: bytes) -> bool:
        """
        Is this one meant?  Counts it if so.
        """
        if (
            self.count <= 0
            or self.source not in (None, source)
            or self.target not in (None, target)
            or (self.kind is not None and kindOf(datagram) != self.kind)
            or self.containing not in datagram
        ):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        self.met += 1
        return True
