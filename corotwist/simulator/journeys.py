"""
Every datagram's way through the network, for those who look at a run later.

Written only when somebody wants it, and never asked: a run goes the same way
with and without.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define, field, frozen

# So many of the newest journeys are kept.
MOST_JOURNEYS: Final = 200_000

# Why a datagram is not heard.
CUT: Final = "the link is cut"
LOST: Final = "lost on the way"
DROPPED: Final = "dropped by the story"
ORPHANED: Final = "lost with its sender"
UNHEARD: Final = "nobody listens"
OVERFLOWN: Final = "the socket is full"
# What else happens to one.
ON_TIME: Final = ""
COPY: Final = "a copy"
LATE: Final = "overtaken"
DAMAGED: Final = "damaged"
SCRIPTED: Final = "treated by the story"
FORGED: Final = "forged"

LOSSES: Final = (CUT, LOST, DROPPED, ORPHANED, UNHEARD, OVERFLOWN)
REMARKS: Final = (ON_TIME, COPY, LATE, DAMAGED, SCRIPTED, FORGED)

_End = tuple[int, int, float, bytes]


@frozen
class Journey:
    """
    One datagram on its way to one node.

    @ivar sent: when it left, in seconds.
    @ivar arrives: when it comes, or would have; L{None} when it was lost at
        once.
    @ivar datagram: as it was sent.
    @ivar fate: one of L{LOSSES} or L{REMARKS}.
    """

    source: int
    target: int
    sent: float
    arrives: float | None
    datagram: bytes
    fate: str


@define(eq=False)
class Journeys:
    """
    The newest journeys of a run.

    @ivar key: what datagrams are sealed with, if they are.
    @ivar count: how many there were.
    """

    key: bytes | None = field(default=None, repr=False)
    keep: int = MOST_JOURNEYS
    count: int = 0
    _journeys: deque[Journey] = field(init=False)
    _ends: deque[tuple[_End, str]] = field(init=False)

    @_journeys.default
    def _noJourneys(self) -> deque[Journey]:
        return deque(maxlen=self.keep)

    @_ends.default
    def _noEnds(self) -> deque[tuple[_End, str]]:
        return deque(maxlen=self.keep)

    def left(
        self,
        link: tuple[int, int],
        now: float,
        arrives: float | None,
        datagrams: Sequence[bytes],
        fate: str = ON_TIME,
    ) -> None:
        """
        Datagrams are on their way, or lost at once.

        @param link: source and target.
        """
        self.count += len(datagrams)
        for datagram in datagrams:
            self._journeys.append(Journey(*link, now, arrives, datagram, fate))

    def ended(
        self,
        link: tuple[int, int],
        now: float,
        datagrams: Sequence[bytes],
        fate: str,
    ) -> None:
        """
        Datagrams came to the end of their way, and nobody heard them.
        """
        for datagram in datagrams:
            self._ends.append(((*link, now, datagram), fate))

    @property
    def forgotten(self) -> int:
        """
        How many of the oldest are not kept.
        """
        return self.count - len(self._journeys)

    def __iter__(self) -> Iterator[Journey]:
        """
        Those that are kept, in the order in which they left.
        """
        ends = dict(self._ends)
        for journey in self._journeys:
            yield _withEnd(journey, ends)


def _withEnd(journey: Journey, ends: dict[_End, str]) -> Journey:
    if not ends or journey.arrives is None:
        return journey
    end = (journey.source, journey.target, journey.arrives, journey.datagram)
    fate = ends.get(end)
    if fate is None:
        return journey
    return Journey(
        journey.source,
        journey.target,
        journey.sent,
        journey.arrives,
        journey.datagram,
        fate,
    )
