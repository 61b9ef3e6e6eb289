"""
Who waits until everybody has what was delivered here.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from attrs import define, field

from corotwist.errors import TryAgain
from corotwist.totem.membership import NO_RING, Configuration, RingId
from corotwist.totem.sequence import after

# Callbacks that wait at one time.
MOST_WAITING: Final = 4096

WhenStable = Callable[[tuple[int, ...]], None]


@define
class _Waiting:
    """
    One callback.

    @ivar members: who has to have it.
    @ivar ringId: where it was delivered; L{NO_RING} when that ring is over.
    @ivar place: up to where, on that ring.
    """

    callback: WhenStable
    members: tuple[int, ...]
    ringId: RingId
    place: int


@define
class Stability:
    """
    Knows, from the ring, what all have; and from the configurations, who all
    are.

    When a ring ends, those who come along to the next one deliver the same of
    the old one.  They have done so when the token of the new ring has come
    round once after that became operational here: by then it is everywhere.
    If it ends before, those have who come along once more.
    """

    _configuration: Configuration | None = None
    _waiting: deque[_Waiting] = field(init=False, factory=deque)

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, callback: WhenStable, place: int) -> None:
        """
        Wait for what was delivered on the ring in force, up to C{place}.

        @raise TryAgain: too many wait, or there is no ring yet.
        """
        now = self._configuration
        if now is None:
            raise TryAgain("there is no ring yet")
        if len(self._waiting) >= MOST_WAITING:
            raise TryAgain(f"{MOST_WAITING} wait for stability already")
        ringId = NO_RING if now.transitional else now.ringId
        self._waiting.append(_Waiting(callback, now.members, ringId, place))

    def configured(self, configuration: Configuration) -> None:
        """
        The listener is about to hear of a configuration.
        """
        self._configuration = configuration
        if configuration.transitional:
            for waiting in self._waiting:
                waiting.ringId = NO_RING
                waiting.members = tuple(
                    n for n in waiting.members if n in configuration.members
                )

    def stable(
        self, ringId: RingId, sequence: int
    ) -> list[tuple[WhenStable, tuple[int, ...]]]:
        """
        Everybody is on the ring C{ringId}, and has its frames up to
        C{sequence}.

        @return: what to call, and with whom.
        """
        waiting, ready = self._waiting, []
        while waiting:
            first = waiting[0]
            if first.ringId not in {NO_RING, ringId} or (
                first.ringId == ringId and after(first.place, sequence)
            ):
                break
            ready.append((first.callback, first.members))
            waiting.popleft()
        return ready
