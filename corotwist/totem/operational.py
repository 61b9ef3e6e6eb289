"""
Operational: passing the token and ordering messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corotwist.totem.effects import Multicast, Stable, Warned
from corotwist.totem.joining import absorb, discover, hear
from corotwist.totem.onring import OnRing
from corotwist.totem.ordering import (
    HEARTBEAT,
    MERGE,
    SETTLING,
    TOKEN_WARNING,
)
from corotwist.totem.states import Because
from corotwist.totem.wire import (
    Join,
    MergeDetect,
    Regular,
    Token,
    makeRegular,
)

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring


class Operational(OnRing):
    """
    On a ring that everybody in it agreed to.  Commit tokens are ignored: one
    for this ring has done its work, one for another was not agreed with us.
    """

    def entered(self, ring: Ring) -> None:
        ring.statistics.operationalEntered += 1
        ring.lease.begin(ring.now, ring.timing.consensus)
        ring.allOperational = False
        # Strangers can wait until the services are in step, a token time at
        # most: over a one-way link they would end each new ring at its first
        # frame, and no client ever got an answer.  [pitfall B18]
        ring.arm(SETTLING, ring.timing.token)
        self._heard(ring)

    def waiting(self, ring: Ring) -> int:
        return ring.outbox.frames()

    def take(self, ring: Ring, sequence: int) -> Regular:
        payload, guarantee = ring.outbox.take()
        ring.senderSequence = (ring.senderSequence + 1) & 0x7FFFFFFF
        return makeRegular(
            ring.nodeid,
            sequence,
            ring.senderSequence,
            ring.ringId,
            guarantee,
            payload,
        )

    def visited(self, ring: Ring, token: Token) -> None:
        # Who passed it on after we became operational is that too: each sees
        # at its visit what we saw a visit before.
        ring.allOperational = True
        ring.lease.renew(ring.now, progress=not ring.aruUnchanged)
        if ring.stabilityWanted:
            ring.emit(Stable(ring.ringId, ring.window.stable))
        self._heard(ring)

    def regularReceived(self, ring: Ring, frame: Regular) -> None:
        if frame.ringId == ring.ringId:
            ring.statistics.framesReceived += 1
            if not ring.window.add(frame):
                ring.statistics.framesDuplicate += 1
            if ring.timing.heartbeatFailuresAllowed:
                self._heard(ring)
        else:
            self._foreign(ring, frame)

    def mergeDetectReceived(self, ring: Ring, message: MergeDetect) -> None:
        if message.ringId != ring.ringId:
            self._foreign(ring, message)

    def _foreign(self, ring: Ring, message: Regular | MergeDetect) -> None:
        """
        Somebody lives on another ring.  What a member of ours sent on an
        older ring was only slow.  Strangers repeat what they say.
        [pitfall B12]
        """
        ring.statistics.framesForeign += 1
        origin = message.origin
        if origin in ring.members:
            news = message.ringId.sequence >= ring.ringId.sequence
        else:
            news = not ring.armed(SETTLING)
        if not news:
            return
        ring.noticed = origin, ()
        discover(ring, origin)
        ring.become(Because.FOREIGN_RING)

    def joinReceived(self, ring: Ring, join: Join) -> None:
        """
        A join that calls us failed is an answer to a question we have not
        asked; one from a member with an older ring was sent before we met;
        and a stranger that calls itself failed is on its way out.
        [SRP 5.2], [pitfalls B1, B2, B18]
        """
        hear(ring, join)
        ring.statistics.joinsReceived += 1
        if ring.nodeid in join.failed or ring.joinIsStale(join):
            return
        if join.origin in ring.members:
            said = join.ringSequence >= ring.ringId.sequence
        else:
            said = join.origin not in join.failed and not ring.armed(SETTLING)
        if not said:
            return
        absorb(ring, join)
        ring.noticed = join.origin, join.failed
        ring.become(Because.LEAVE_HEARD if join.leave else Because.JOIN_HEARD)
        ring.dispatch(join)

    def timeoutExpired(self, ring: Ring, name: str) -> None:
        if name == HEARTBEAT:
            ring.become(Because.HEARTBEAT_LOST)
        elif name == MERGE:
            self._detectMerge(ring)
        elif name == TOKEN_WARNING:
            ring.emit(
                Warned(f"No token for {ring.timing.tokenWarning:.0%} of its time")
            )
        else:
            super().timeoutExpired(ring, name)

    def _detectMerge(self, ring: Ring) -> None:
        if ring.nodeid == ring.ringId.representative:
            ring.statistics.mergeDetectsSent += 1
            message = MergeDetect(ring.nodeid, ring.nodeid, ring.ringId)
            ring.emit(Multicast([message.encode()]))

    def _heard(self, ring: Ring) -> None:
        timing = ring.timing
        if timing.heartbeatFailuresAllowed:
            ring.arm(
                HEARTBEAT,
                timing.heartbeatFailuresAllowed * timing.tokenRetransmit
                + timing.maxNetworkDelay,
            )
        else:
            ring.disarm(HEARTBEAT)
