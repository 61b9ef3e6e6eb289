"""
The frames received on one ring: gaps, what is contiguous, delivery, release.
"""

from collections.abc import Iterator
from typing import Final

from corotwist.totem.membership import RingId
from corotwist.totem.sequence import HALF, MASK, after, distance
from corotwist.totem.wire import Regular

# How far ahead of the last released frame a ring may run; as in corosync, since
# a ring is no stronger than its smallest window.
WINDOW: Final = 16384


class Window:
    """
    Frames of one ring by sequence, from the last released one on.

    @ivar aru: all frames up to here were received.
    @ivar high: the highest frame received.
    @ivar stable: everybody has all frames up to here, as far as we know.
    @ivar delivered: the highest frame handed up.
    @ivar released: frames up to here are forgotten; everybody has them.
    """

    __slots__ = (
        "_frames",
        "_misses",
        "_unsafe",
        "aru",
        "delivered",
        "high",
        "released",
        "ringId",
        "stable",
    )

    def __init__(self, ringId: RingId, start: int = 0) -> None:
        self.ringId = ringId
        self.aru = self.high = self.delivered = self.released = start
        self.stable = start
        self._frames: dict[int, Regular] = {}
        self._misses: dict[int, int] = {}
        # Of the frames held and not delivered, how many are to be safe.
        self._unsafe = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Regular) -> bool:
        """
        Keep a frame.

        @return: C{False} for one that we have or had, or that is further
            ahead than a ring can be.
        """
        sequence = frame.sequence
        frames = self._frames
        ahead = (sequence - self.released) & MASK
        if sequence in frames or not 0 < ahead <= WINDOW:
            return False
        frames[sequence] = frame
        if frame.guarantee:
            self._unsafe += 1
        if 0 < ((sequence - self.high) & MASK) < HALF:
            self.high = sequence
        if self._misses:
            self._misses.pop(sequence, None)
        if sequence == (self.aru + 1) & MASK:
            self.aru = sequence
            if self.high != sequence:
                self._closeGap()
        return True

    def _closeGap(self) -> None:
        frames, aru = self._frames, self.aru
        following = (aru + 1) & MASK
        while following in frames:
            aru = following
            following = (aru + 1) & MASK
        self.aru = aru

    def get(self, sequence: int) -> Regular | None:
        """
        A frame that we still hold.
        """
        return self._frames.get(sequence)

    def inOrder(self) -> list[Regular]:
        """
        What can be delivered now without a gap, up to the first frame that is
        to be safe and is not yet stable; it counts as delivered.
        """
        if self._unsafe:
            return self._upToUnsafe()
        return self.withoutGap()

    def _upToUnsafe(self) -> list[Regular]:
        frames, ready = self._frames, []
        for i in range(1, distance(self.delivered, self.aru) + 1):
            frame = frames[(self.delivered + i) & MASK]
            if frame.guarantee:
                if after(frame.sequence, self.stable):
                    break
                self._unsafe -= 1
            ready.append(frame)
        self.delivered = (self.delivered + len(ready)) & MASK
        return ready

    def withoutGap(self) -> list[Regular]:
        """
        What can be delivered without a gap, safe or not; it counts as
        delivered.
        """
        count = (self.aru - self.delivered) & MASK
        if not count or count >= HALF:
            return []
        start, frames = self.delivered, self._frames
        self.delivered = self.aru
        return [frames[(start + i) & MASK] for i in range(1, count + 1)]

    def acrossGaps(self) -> list[Regular]:
        """
        Everything held beyond the last delivered frame; it counts as delivered.
        """
        frames = list(self.above(self.delivered))
        self.delivered = self.high
        return frames

    def stableUpTo(self, sequence: int) -> None:
        """
        Everybody has the frames up to here.
        """
        if after(sequence, self.stable):
            self.stable = sequence

    def above(self, sequence: int) -> Iterator[Regular]:
        """
        The frames held after C{sequence}, in order.
        """
        # Others say from where on; nothing is held before the released ones.
        if after(self.released, sequence):
            sequence = self.released
        for i in range(1, distance(sequence, self.high) + 1):
            frame = self._frames.get((sequence + i) & MASK)
            if frame is not None:
                yield frame

    def missing(self, last: int, threshold: int, most: int) -> list[int]:
        """
        Notice, once for each token visit, what is missing up to C{last}.

        @param threshold: how often a frame must have been noticed before it is
            worth asking for; multicasts may just be slower than the token.
        @param most: how many to name.
        """
        wanted: list[int] = []
        misses, frames = self._misses, self._frames
        for i in range(1, distance(self.aru, last) + 1):
            sequence = (self.aru + i) & MASK
            if sequence in frames:
                continue
            count = misses[sequence] = misses.get(sequence, 0) + 1
            if count >= threshold:
                wanted.append(sequence)
                if len(wanted) == most:
                    break
        return wanted

    def release(self, upTo: int) -> None:
        """
        Forget the frames up to C{upTo}: everybody has them.
        """
        count = distance(self.released, upTo)
        if count <= 0:
            return
        frames, start = self._frames, self.released
        for i in range(1, count + 1):
            frames.pop((start + i) & MASK, None)
        self.released = upTo

    def startAfter(self, sequence: int) -> None:
        """
        Count everything up to C{sequence} as delivered and released.

        The frames of a recovery are wrappers round frames of the old ring:
        used up when the ring becomes operational.
        """
        self.release(sequence)
        if after(sequence, self.delivered):
            self.delivered = sequence
