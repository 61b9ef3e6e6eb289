"""
The judge of stability: when a process is told that all have something, they
have it.
"""

from collections.abc import Callable

from attrs import define, field

from corotwist.errors import TryAgain
from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import Configuration, RingId
from corotwist.totem.sequence import after
from corotwist.totem.service import TotemService

# Places that a process reached on its rings, remembered for others to compare.
RINGS_REMEMBERED = 64


@define(eq=False)
class Holdings:
    """
    What one process has.

    @ivar reached: the last frame that it delivered, of each ring.
    @ivar ringId: the ring whose frames it delivers now.
    @ivar since: when it asked and was not answered, L{None} when it was.
    """

    service: TotemService
    reached: dict[RingId, int] = field(factory=dict)
    ringId: RingId | None = None
    since: float | None = None

    def holds(self, ringId: RingId, sequence: int) -> bool:
        """
        Did it deliver a frame, or can it, whatever happens to the others?
        """
        reached = self.reached.get(ringId)
        if reached is not None and not after(sequence, reached):
            return True
        protocol = self.service.protocol
        if protocol is None:
            return False
        window = protocol.ring.window
        return window.ringId == ringId and not after(sequence, window.aru)


@define(eq=False)
class StabilityJudge(Judge):
    """
    Asks at any moment, and compares each answer with what all really have.

    @ivar now: tells the time.
    @ivar patience: an answer takes no longer than this, in quiet.
    @ivar answers: how many there were; of a ring that had ended meanwhile, too.
    """

    now: Callable[[], float]
    patience: float
    answers: int = 0
    lateAnswers: int = 0
    _holdings: dict[Life, Holdings] = field(factory=dict)

    def booted(self, life: Life, service: TotemService) -> None:
        """
        A process is about to start.
        """
        self._holdings[life] = Holdings(service)

    def ended(self, life: Life) -> None:
        """
        It runs no more: what it had does not matter.
        """
        self._holdings.pop(life, None)

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        A configuration was installed.
        """
        holdings = self._holdings.get(life)
        if holdings is None or configuration.transitional:
            return
        holdings.ringId = configuration.ringId
        reached = holdings.reached
        if len(reached) > RINGS_REMEMBERED:
            del reached[next(iter(reached))]

    def delivered(self, life: Life, ringId: RingId, sequence: int) -> None:
        """
        A frame was handed up.
        """
        holdings = self._holdings.get(life)
        if holdings is not None:
            holdings.reached[ringId] = sequence

    def wondered(self, life: Life) -> None:
        """
        A process is at a point where it may want to know: once at a time.
        """
        holdings = self._holdings.get(life)
        if holdings is None or holdings.since is not None or not holdings.reached:
            return
        ringId = next(reversed(holdings.reached))
        place = holdings.reached[ringId]
        lives = {other.nodeid: other for other in self._holdings}

        def stable(members: tuple[int, ...]) -> None:
            holdings.since = None
            self.answers += 1
            self.lateAnswers += holdings.ringId != ringId
            for nodeid in members:
                if nodeid in lives:
                    self._compare(life, lives[nodeid], ringId, place)

        try:
            holdings.service.whenStable(stable)
        except TryAgain:
            return
        holdings.since = self.now()

    def _compare(self, life: Life, other: Life, ringId: RingId, place: int) -> None:
        holdings = self._holdings.get(other)
        if holdings is not None and not holdings.holds(ringId, place):
            self.blame(
                "STABLE",
                "was told that another has what it has not",
                life,
                other,
                ring=ringId,
                place=place,
                reached=holdings.reached.get(ringId),
            )

    def agreement(self, lives: list[Life]) -> None:
        """
        In quiet, all answers have come.
        """
        for life in lives:
            holdings = self._holdings.get(life)
            since = None if holdings is None else holdings.since
            if since is not None and self.now() > since + self.patience:
                self.blame(
                    "STABLE-L",
                    "was not told that all have something",
                    life,
                    asked=since,
                )
