"""
What a processor does while it holds the token, step by step.  [SRP 6]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from corotwist.totem.effects import Multicast, Unicast
from corotwist.totem.sequence import MASK, after, distance, earlier
from corotwist.totem.window import WINDOW
from corotwist.totem.wire import LITTLE, MOST_MEMBERS, MOST_REQUESTS, HoldCancel, Token

if TYPE_CHECKING:
    from corotwist.totem.onring import OnRing
    from corotwist.totem.ring import Ring

# Deadlines of a processor on a ring.
TOKEN_LOSS: Final = "tokenLoss"
TOKEN_WARNING: Final = "tokenWarning"
TOKEN_RETRANSMIT: Final = "tokenRetransmit"
HOLD: Final = "hold"
MERGE: Final = "merge"
HEARTBEAT: Final = "heartbeat"
SETTLING: Final = "settling"

# Visits in a row of an idle ring's token that counts what nobody sent.
MISCOUNTS: Final = 3
# Visits in a row at which we answer a request, before we leave it to the next
# who has the frame.
ANSWERS: Final = 2


def acceptable(ring: Ring, token: Token) -> bool:
    """
    Is it this ring's token, one that we have not had, and sane?
    """
    window = ring.forming
    # It comes to us once in each rotation.  Of two tokens that are half of all
    # numbers apart, each would come after the other, and both go on for ever.
    hops = (token.tokenSequence - ring.lastTokenSequence) & MASK
    if token.ringId != ring.ringId or not 0 < hops <= MOST_MEMBERS:
        return False
    if (
        not 0 <= distance(window.released, token.sequence) <= WINDOW
        or after(ring.lastSequence, token.sequence)
        or (token.aruSetter and not _isMember(ring, token.aruSetter))
    ):
        ring.statistics.tokensDropped += 1
        return False
    return True


def _isMember(ring: Ring, nodeid: int) -> bool:
    """
    Is it on this ring?  Nobody else lowers the token's aru, and nobody could
    raise it again.
    """
    return ring.proposed is not None and nodeid in ring.proposed.members


def holdToken(ring: Ring, token: Token, state: OnRing) -> None:
    """
    One visit up to the point where the token could be passed on.
    """
    ring.statistics.tokens += 1
    window = ring.forming
    watchIdleness(ring, token)
    # Seen at two visits: whoever lacks one had a visit between, and told.
    everybody = earlier(token.allReceivedUpTo, ring.lastAru)
    window.stableUpTo(everybody)
    window.release(earlier(everybody, window.delivered))
    lastAru, ring.lastAru = ring.lastAru, token.allReceivedUpTo
    waiting = state.waiting(ring)
    allowance = ring.flow.allowance(token, waiting)
    frames = retransmissions(ring, token, allowance)
    requestMissing(ring, token)
    if ring.timing.cancelTokenHoldOnRetransmit and (token.requests or frames):
        ring.idle = False
    resent = len(frames)
    if waiting:
        multicastNew(ring, token, state, allowance - resent, frames)
        waiting = state.waiting(ring)
    if frames:
        ring.statistics.framesSent += len(frames)
        ring.emit(Multicast(frames))
    ring.flow.account(token, len(frames), waiting)
    updateAru(ring, token, lastAru)
    ring.lastTokenSequence = token.tokenSequence
    token.tokenSequence = (token.tokenSequence + 1) & MASK


def watchIdleness(ring: Ring, token: Token) -> None:
    """
    Count rotations without a new frame: an idle ring slows down, and its
    representative looks for other rings.
    """
    if token.sequence != ring.lastSequence:
        ring.lastSequence = token.sequence
        ring.sequenceUnchanged = 0
        ring.disarm(MERGE)
    else:
        ring.sequenceUnchanged += 1
        if not ring.armed(MERGE):
            ring.arm(MERGE, ring.timing.merge)
    # While somebody lacks a frame there is work: slowed down, a processor that
    # cannot receive would hold everybody up for minutes.  [pitfall A12]  And
    # when the last of them has it, who waits for that should hear it at once.
    threshold = ring.timing.sequenceUnchanged
    if token.aruSetter or ring.forming.stable != token.sequence:
        ring.idle = False
    elif ring.nodeid == ring.ringId.representative:
        ring.idle = ring.sequenceUnchanged > threshold
    else:
        ring.idle = ring.sequenceUnchanged >= threshold
    if not ring.idle or token.flowCount == ring.flow.sentLast:
        ring.miscounts = 0
        return
    # On an idle ring a frame that was sent again counts for one rotation.  A
    # count that stays is wrong, and would keep us from sending for ever.
    ring.miscounts += 1
    if ring.miscounts == MISCOUNTS:
        token.flowCount = ring.flow.sentLast


def retransmissions(ring: Ring, token: Token, allowance: int) -> list[bytes]:
    """
    Frames that others asked for and we have; their requests are done.

    Where the path from us to him who asks is broken, all our answers are in
    vain, and another's would arrive: now and then it is his turn.
    """
    answered, ring.answered = ring.answered, {}
    if not token.requests:
        return []
    frames: list[bytes] = []
    unserved = []
    released = ring.forming.released
    ahead = distance(released, token.sequence)
    for request in token.requests:
        ringId, sequence = request
        if ringId != ring.ringId or not 0 < distance(released, sequence) <= ahead:
            # Nobody lacks it; kept, such would take the room of true ones.
            continue
        frame = ring.forming.get(sequence)
        times = answered.get(sequence, 0)
        if frame is None or len(frames) >= allowance or times == ANSWERS:
            unserved.append(request)
        else:
            frames.append(frame.frame)
            ring.answered[sequence] = times + 1
    token.requests = unserved
    ring.statistics.framesRetransmitted += len(frames)
    return frames


def requestMissing(ring: Ring, token: Token) -> None:
    """
    Ask for what we lack, up to the token's sequence and not only up to what
    we have seen: the last frame of a burst can be the lost one.
    """
    window = ring.forming
    room = MOST_REQUESTS - len(token.requests)
    if window.aru == token.sequence or room <= 0:
        return
    for sequence in window.missing(token.sequence, ring.timing.missCount, room):
        request = (ring.ringId, sequence)
        if request not in token.requests:
            token.requests.append(request)
            ring.statistics.framesRequested += 1


def multicastNew(
    ring: Ring, token: Token, state: OnRing, allowance: int, frames: list[bytes]
) -> None:
    """
    Give new frames their places; what we send counts as received.
    """
    window = ring.forming
    waiting = state.waiting(ring)
    if not waiting or allowance <= 0:
        return
    # A processor that lags holds the release of frames back; so far the
    # windows of all can stretch, and no further.
    ahead = distance(window.released, token.sequence)
    if ahead > WINDOW - allowance - ring.timing.windowSize:
        return
    sequence = token.sequence
    while waiting and allowance:
        sequence = (sequence + 1) & MASK
        frame = state.take(ring, sequence)
        window.add(frame)
        frames.append(frame.frame)
        allowance -= 1
        waiting = state.waiting(ring)
    token.sequence = sequence


def updateAru(ring: Ring, token: Token, lastAru: int) -> None:
    """
    Lower the token's aru to ours; only who lowered it may raise it again.
    """
    aru = ring.forming.aru
    setter = token.aruSetter
    if setter in (0, ring.nodeid) or after(token.allReceivedUpTo, aru):
        token.allReceivedUpTo = aru
        token.aruSetter = 0 if aru == token.sequence else ring.nodeid
    if token.allReceivedUpTo == lastAru and token.aruSetter:
        ring.aruUnchanged += 1
    else:
        ring.aruUnchanged = 0
        ring.progressAt = ring.now


def receivesNothing(ring: Ring, token: Token) -> bool:
    """
    Have we held the ring back for so many rotations that we must give up?  Not
    before all leases have ended that say we cannot: see
    L{corotwist.totem.lease}.
    """
    return (
        ring.aruUnchanged > ring.timing.failReceive
        and token.aruSetter == ring.nodeid
        and ring.now >= ring.progressAt + ring.timing.consensus
    )


def passToken(ring: Ring, token: Token) -> None:
    """
    Send it on, or keep it for a while when the ring is idle and we represent
    it.
    """
    token.sender, token.target, token.byteOrder = ring.nodeid, 0, LITTLE
    ring.tokenFrame = token.encode()
    timing = ring.timing
    if ring.idle and ring.nodeid == ring.ringId.representative:
        ring.holding = True
        ring.arm(HOLD, timing.hold)
    else:
        ring.holding = False
        ring.disarm(HOLD)
        ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))
    watchToken(ring)


def watchToken(ring: Ring) -> None:
    """
    From now on we wait for the token to come back.
    """
    timing = ring.timing
    ring.arm(TOKEN_LOSS, timing.token)
    ring.arm(TOKEN_RETRANSMIT, timing.tokenRetransmit)
    if timing.tokenWarning:
        ring.arm(TOKEN_WARNING, timing.token * timing.tokenWarning)
    else:
        ring.disarm(TOKEN_WARNING)


def sendTokenAgain(ring: Ring) -> None:
    """
    The token, or a commit token, may have been lost on its way.
    """
    ring.statistics.tokensRetransmitted += 1
    ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))
    ring.arm(TOKEN_RETRANSMIT, ring.timing.tokenRetransmit)


def endHold(ring: Ring) -> None:
    """
    The representative lets an idle ring's token go.
    """
    ring.holding = False
    ring.disarm(HOLD)
    ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))
    ring.arm(TOKEN_RETRANSMIT, ring.timing.tokenRetransmit)


def cancelHold(ring: Ring) -> None:
    """
    We have work: ask the representative not to hold the token.
    """
    ring.idle = False
    ring.sequenceUnchanged = 0
    ring.statistics.holdsCancelled += 1
    ring.emit(Multicast([HoldCancel(ring.nodeid, ring.ringId).encode()]))
    if ring.holding:
        endHold(ring)
