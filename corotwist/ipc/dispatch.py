"""
Events on their way to one client, in their order.
"""

from collections import deque
from functools import partial
from sys import maxsize
from typing import Final

from attrs import define, field
from twisted.protocols import amp

from corotwist.budget import Budget
from corotwist.engines.interfaces import NOWHERE, Member, Position
from corotwist.ipc.channel import Box
from corotwist.ipc.cpg import PLACE, Deliver
from corotwist.ipc.wire import NOTIFICATION_COST, PART_BYTES
from corotwist.totem.membership import Guarantee

# In one box, so that they fit into one value.
MOST_PLACES: Final = PART_BYTES // PLACE.size
# Once for each box: enums are slow to look up.
_AGREED: Final = Guarantee.AGREED


def _held(box: Box) -> int:
    """
    What a notification takes while it waits; a view may be large.
    """
    return NOTIFICATION_COST + sum(map(len, box.values()))


@define(eq=False)
class _Run:
    """
    Batches of one sender to one group, one after the other.

    @ivar places: of each batch, as the client is told.
    """

    group: bytes
    sender: Member
    batches: list[bytes]
    places: list[bytes]
    guarantee: Guarantee
    count: int
    size: int
    part: int = 0


@define(eq=False)
class DispatchQueue:
    """
    Events for one client in their order.  Small batches of one sender that
    wait behind each other become one.

    @ivar heldBytes: of waiting batches, and of notifications, each with
        L{NOTIFICATION_COST} on top.
    @ivar heldMessages: that wait, notifications included.
    """

    _partBytes: int = PART_BYTES
    _budget: Budget = field(factory=partial(Budget, "queue", maxsize))
    heldBytes: int = field(default=0, init=False)
    heldMessages: int = field(default=0, init=False)
    _entries: deque[_Run | Box] = field(factory=deque, init=False)

    def deliver(
        self,
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
        position: Position = NOWHERE,
    ) -> None:
        """
        Append messages.
        """
        size = len(batch)
        place, guarantee = PLACE.pack(position.sequence, count), position.guarantee
        self.heldBytes += size
        self._budget.charge(size)
        self.heldMessages += count
        last = self._entries[-1] if self._entries else None
        if (
            isinstance(last, _Run)
            and last.group == group
            and (last.sender is sender or last.sender == sender)
            and last.guarantee is guarantee
            and last.size + size <= PART_BYTES
            and last.size + size <= self._partBytes
            and len(last.places) < MOST_PLACES
        ):
            last.batches.append(batch)
            last.places.append(place)
            last.count += count
            last.size += size
        else:
            self._entries.append(
                _Run(group, sender, [batch], [place], guarantee, count, size)
            )

    def notify(self, box: Box) -> None:
        """
        Append anything else.
        """
        size = _held(box)
        self.heldBytes += size
        self._budget.charge(size)
        self.heldMessages += 1
        self._entries.append(box)

    def next(self) -> tuple[Box, int] | None:
        """
        Take the next box.

        @return: with what it costs of the window; L{None} when nothing waits.
        """
        if not self._entries:
            return None
        first = self._entries[0]
        if not isinstance(first, _Run):
            self._entries.popleft()
            size = _held(first)
            self.heldBytes -= size
            self._budget.give(size)
            self.heldMessages -= 1
            return first, NOTIFICATION_COST
        return self._nextOf(first)

    def _nextOf(self, run: _Run) -> tuple[Box, int]:
        box = {
            amp.COMMAND: Deliver.commandName,
            b"group": run.group,
            b"nodeid": b"%d" % run.sender.nodeid,
            b"pid": b"%d" % run.sender.pid,
            b"count": b"%d" % run.count,
        }
        if not run.part:
            box[b"places"] = b"".join(run.places)
            if run.guarantee is not _AGREED:
                box[b"guarantee"] = b"%d" % run.guarantee
        if run.size <= self._partBytes:
            data = run.batches[0] if len(run.batches) == 1 else b"".join(run.batches)
            more = False
        else:  # Only ever a single batch.
            start = run.part * self._partBytes
            data = run.batches[0][start : start + self._partBytes]
            more = start + self._partBytes < run.size
            box[b"part"] = b"%d" % run.part
            box[b"more"] = b"True" if more else b"False"
            run.part += 1
        box[b"batch"] = data
        self.heldBytes -= len(data)
        self._budget.give(len(data))
        if not more:
            self._entries.popleft()
            self.heldMessages -= run.count
        return box, len(data)

    def clear(self) -> None:
        """
        Drop everything.
        """
        self._entries.clear()
        self._budget.give(self.heldBytes)
        self.heldBytes = self.heldMessages = 0
