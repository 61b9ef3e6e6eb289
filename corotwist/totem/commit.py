"""
Commit: signing the proposed ring and waiting for everybody else's signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corotwist.totem.effects import Unicast, Warned
from corotwist.totem.joining import absorb, adopt, hear, rejoin, sign
from corotwist.totem.ordering import TOKEN_LOSS, TOKEN_RETRANSMIT, sendTokenAgain
from corotwist.totem.states import Because, State
from corotwist.totem.wire import CommitToken, Join

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring


class Commit(State):
    """
    The commit token goes round once to be signed.  Data, merge detections and
    tokens are of rings that are over, or not begun.
    """

    def entered(self, ring: Ring) -> None:
        ring.statistics.commitsEntered += 1
        assert ring.proposed is not None, "committed to nothing"
        ring.tokenFrame = b""
        adopt(ring, sign(ring, ring.proposed))

    def ringIdStored(self, ring: Ring) -> None:
        """
        Now the name may leave us.
        """
        assert ring.proposed is not None, "committed to nothing"
        ring.tokenFrame = ring.proposed.encode()
        ring.statistics.commitTokensSent += 1
        ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))
        ring.arm(TOKEN_RETRANSMIT, ring.timing.tokenRetransmit)

    def ringIdRefused(self, ring: Ring) -> None:
        """
        A ring whose name could come again is no ring.
        """
        ring.emit(Warned("The ring id could not be stored: silent until it can"))
        ring.become(Because.STORAGE_REFUSED)

    def commitTokenReceived(self, ring: Ring, token: CommitToken) -> None:
        """
        The second round: everybody has signed.
        """
        if (
            token.ringId == ring.ringId
            and token.index == len(token.members)
            and ring.proposed is not None
            and token.members == ring.proposed.members
            and ring.tokenFrame
        ):
            ring.proposed = token
            ring.become(Because.RING_COMMITTED)

    def joinReceived(self, ring: Ring, join: Join) -> None:
        """
        Only a member that has given this ring up ends it early: an older
        join, or one from outside, can wait.  [pitfalls B14, C9]

        But a member that has heard of somebody whom we have not, or has given
        up one of those who are to be in it, will not sign what we propose, and
        we need not lose a token time to find out.  Each of its sets only
        grows: it can say so, and then agree with us again, only after another
        ring of its own.  [pitfall B15]
        """
        hear(ring, join)
        proposed = ring.proposed
        if (
            proposed is not None
            and join.origin in proposed.members
            and (
                set(join.processors) - ring.processors
                or set(join.failed) & set(proposed.members)
            )
            and not ring.joinIsStale(join)
        ):
            absorb(ring, join)
            ring.become(Because.SETS_GREW)
            ring.dispatch(join)
        else:
            rejoin(ring, join)

    def timeoutExpired(self, ring: Ring, name: str) -> None:
        if name == TOKEN_LOSS:
            ring.become(Because.TOKEN_LOST)
        elif name == TOKEN_RETRANSMIT:
            sendTokenAgain(ring)
