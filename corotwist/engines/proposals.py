"""
What this node wants to have applied everywhere, and who waits for the outcome.
"""

from collections import deque
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from corotwist.errors import TooBig, TryAgain

# Bytes of one command, with room for headers in one totem message.
LARGEST_COMMAND_BYTES: Final = (1 << 20) - 1024
# Of this node, proposed and not applied.
MOST_PROPOSALS: Final = 4096
MOST_PROPOSED_BYTES: Final = 16 << 20


@define(eq=False)
class Proposal:
    """
    A command on its way.

    @ivar applied: fires with the outcome.
    """

    command: bytes
    applied: Deferred[Any]


@define(eq=False)
class Proposals:
    """
    The proposals of one node: those that wait, in their order, and those that
    were sent, by serial number.
    """

    waiting: deque[Proposal] = field(factory=deque)
    _sent: dict[int, Proposal] = field(factory=dict)
    _bytes: int = 0
    _serial: int = 0

    def add(self, command: bytes) -> Deferred[Any]:
        """
        @raise TooBig: it cannot be sent.
        @raise TryAgain: too many are on their way.
        """
        size = len(command)
        if size > LARGEST_COMMAND_BYTES:
            raise TooBig(f"a command of {size} bytes, {LARGEST_COMMAND_BYTES} at most")
        if (
            len(self.waiting) + len(self._sent) >= MOST_PROPOSALS
            or self._bytes + size > MOST_PROPOSED_BYTES
        ):
            raise TryAgain("too many commands are on their way")
        applied: Deferred[Any] = Deferred(self._cancelled)
        self._bytes += size
        self.waiting.append(Proposal(command, applied))
        return applied

    def _cancelled(self, applied: Deferred[Any]) -> None:
        """
        What has not been sent is not sent any more.
        """
        for proposal in list(self.waiting):
            if proposal.applied is applied:
                self.waiting.remove(proposal)
                self._bytes -= len(proposal.command)

    def next(self) -> tuple[int, bytes]:
        """
        The serial number and the command to send next.
        """
        return self._serial + 1, self.waiting[0].command

    def sent(self) -> None:
        """
        That one is in the send queue.
        """
        self._serial += 1
        self._sent[self._serial] = self.waiting.popleft()

    def delivered(self, serial: int) -> Deferred[Any] | None:
        """
        One of ours came back.

        @return: who waits for the outcome; L{None} when nobody does.
        """
        proposal = self._sent.pop(serial, None)
        if proposal is None:
            return None
        self._bytes -= len(proposal.command)
        return proposal.applied

    def fail(self, error: Exception) -> None:
        """
        Nothing will come of any of them.
        """
        proposals = [*self.waiting, *self._sent.values()]
        self.waiting.clear()
        self._sent.clear()
        self._bytes = 0
        for proposal in proposals:
            proposal.applied.errback(Failure(error))
