"""
What using the token has in common, whether the ring is recovering or
operational.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corotwist.totem.effects import TokenPassed
from corotwist.totem.ordering import (
    HOLD,
    TOKEN_LOSS,
    TOKEN_RETRANSMIT,
    acceptable,
    endHold,
    holdToken,
    passToken,
    receivesNothing,
    sendTokenAgain,
)
from corotwist.totem.states import Because, State
from corotwist.totem.wire import HoldCancel, Regular, Token

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring


class OnRing(State):
    """
    A state in which the token is used.
    """

    def waiting(self, ring: Ring) -> int:
        """
        How many new frames this processor has to send.
        """
        raise NotImplementedError

    def take(self, ring: Ring, sequence: int) -> Regular:
        """
        The next of them, in its place on the ring.
        """
        raise NotImplementedError

    def visited(self, ring: Ring, token: Token) -> None:
        """
        The token is here, its work is done, and it is about to be passed on.
        """

    def tokenReceived(self, ring: Ring, token: Token) -> None:
        if not acceptable(ring, token):
            return
        holdToken(ring, token, self)
        if receivesNothing(ring, token):
            ring.failedToReceive = True
            ring.failed.add(ring.nodeid)
            ring.become(Because.FAILED_TO_RECEIVE)
            return
        self.visited(ring, token)
        passToken(ring, token)
        ring.emit(TokenPassed())

    def holdCancelReceived(self, ring: Ring, message: HoldCancel) -> None:
        if message.ringId == ring.ringId:
            ring.sequenceUnchanged = 0
            ring.idle = False
            if ring.holding:
                endHold(ring)

    def timeoutExpired(self, ring: Ring, name: str) -> None:
        if name == TOKEN_LOSS:
            ring.become(Because.TOKEN_LOST)
        elif name == TOKEN_RETRANSMIT:
            sendTokenAgain(ring)
        elif name == HOLD:
            endHold(ring)
