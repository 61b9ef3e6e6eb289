"""
The highest number of votes that was ever expected: C{expected_votes_tracking}.
"""

from struct import Struct
from typing import Any, Final

from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure

# As corosync calls the file, and has it: 4 bytes.
NOTE: Final = "ev_tracking"

_VOTES: Final = Struct("<I")
_MOST: Final = 0xFFFFFFFF


@define(eq=False)
class Tracking:
    """
    Remembers it, beyond a restart.

    @ivar on: is that configured?
    @ivar notes: keeps it, where something is kept.
    """

    on: bool
    notes: Any
    highest: int = 0
    _log: Logger = field(factory=Logger, init=False)

    @classmethod
    def of(cls, on: bool, notes: Any) -> "Tracking":
        """
        What was written down before.
        """
        note = notes.loadNote(NOTE) if on and notes is not None else None
        if not note or len(note) != _VOTES.size:
            return cls(on, notes)
        return cls(on, notes, _VOTES.unpack(note)[0])

    def atLeast(self, expected: int) -> int:
        """
        Never fewer than ever before.
        """
        return max(expected, self.highest)

    def saw(self, expected: int) -> None:
        """
        So many are expected now.
        """
        if not self.on or expected <= self.highest:
            return
        self.highest = min(expected, _MOST)
        if self.notes is not None:
            stored = self.notes.storeNote(NOTE, _VOTES.pack(self.highest))
            stored.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.error(
            "The highest number of expected votes is not written down: {reason}",
            reason=failure.getErrorMessage(),
        )
