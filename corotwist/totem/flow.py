"""
How many frames a processor may send while it holds the token.
"""

from attrs import define

from corotwist.totem.sequence import HALF, MASK
from corotwist.totem.wire import Token


@define
class Flow:
    """
    One processor's part in the flow control of a ring.  [SRP 7]

    All sums are of 32 bits and wrap, on every processor alike.

    @ivar sentLast: frames we sent at the previous visit.
    @ivar reported: our queue's length as it is counted in the token's backlog.
    """

    windowSize: int
    maxMessages: int
    sentLast: int = 0
    reported: int = 0

    def reset(self) -> None:
        """
        A new ring begins with empty accounts.
        """
        self.sentLast = self.reported = 0

    def allowance(self, token: Token, queued: int) -> int:
        """
        How many frames may leave at this visit.

        @param queued: frames waiting in the queue in use.
        """
        used = token.flowCount
        free = self.windowSize - (used if used < HALF else 0)
        allowed = max(0, min(self.maxMessages, free))
        total = (token.backlog + queued - self.reported) & MASK
        if total:
            share = self.windowSize * self.reported // total
            if share:
                allowed = min(allowed, share)
        return allowed

    def account(self, token: Token, sent: int, queued: int) -> None:
        """
        Write this visit into the token.

        @param sent: frames multicast, retransmissions included.
        @param queued: frames that still wait.
        """
        token.flowCount = (token.flowCount + sent - self.sentLast) & MASK
        token.backlog = (token.backlog + queued - self.reported) & MASK
        self.sentLast, self.reported = sent, queued
