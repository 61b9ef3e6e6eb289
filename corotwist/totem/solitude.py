"""
Solitude: what a processor does that could not receive.

It left the others to a ring of its own, and would merge again at once, fail
again, and take them along each time.  So it keeps to itself for a while, and
for longer each time, unless it hears that it can receive again.
[EVS L7], [pitfall A13]
"""

from typing import Final

from attrs import define

from corotwist.totem.membership import NO_RING, RingId
from corotwist.totem.sequence import MASK
from corotwist.totem.wire import Regular

# Consensus times: of the first solitude, and of the longest.  Coming back and
# going again are two changes for the others: one in ten consensus times.
FIRST_CONSENSUS_TIMES: Final = 1
MOST_CONSENSUS_TIMES: Final = 20
# Solitudes as far apart as so many of the longest have nothing to do with each
# other.
FORGOTTEN_AFTER: Final = 2
# So many frames of another ring, and none missing between them: it can be
# heard.  Fewer could be the small ones of a path that loses the large ones.
FRAMES_HEARD: Final = 64


@define
class Solitude:
    """
    Whether we keep to ourselves now, and what we hear of another ring
    meanwhile.

    @ivar until: when it ends by itself; in the past when we do not.
    @ivar times: how often we failed to receive, lately.
    """

    until: float = 0.0
    times: int = 0
    _ringId: RingId = NO_RING
    _next: int = 0
    _heard: int = 0

    def begin(self, now: float, consensus: float) -> None:
        """
        We failed to receive.

        @param consensus: the consensus time in seconds.
        """
        longest = consensus * MOST_CONSENSUS_TIMES
        if now > self.until + FORGOTTEN_AFTER * longest:
            self.times = 0
        lasts = consensus * FIRST_CONSENSUS_TIMES * (1 << self.times)
        self.until = now + min(lasts, longest)
        if lasts < longest:
            self.times += 1
        self._ringId, self._heard = NO_RING, 0

    def heard(self, frame: Regular, now: float) -> None:
        """
        A frame of a ring that we are not on.
        """
        if frame.ringId != self._ringId or frame.sequence != self._next:
            self._ringId, self._heard = frame.ringId, 0
        self._next = (frame.sequence + 1) & MASK
        self._heard += 1
        if self._heard >= FRAMES_HEARD:
            self.until = now

    def end(self, now: float) -> None:
        """
        Somebody knows that it is over; the next one will be a short one.
        """
        self.until = min(self.until, now)
        self.times = 0
