"""
Finding out who is here, agreeing on it, and proposing a ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from corotwist.totem.effects import Multicast, StoreRingId
from corotwist.totem.membership import NO_RING, RingId
from corotwist.totem.ordering import TOKEN_LOSS
from corotwist.totem.sequence import MASK, after
from corotwist.totem.states import Because
from corotwist.totem.wire import MOST_MEMBERS, CommitEntry, CommitToken, Join

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring

JOIN: Final = "join"
JOIN_DELAY: Final = "joinDelay"
CONSENSUS: Final = "consensus"

# A creator takes the highest ring sequence it has heard of plus this.
RING_STEP: Final = 4

# A processor without a stored ring sequence draws from so many: rings that it
# has forgotten must not get the same name again.
FRESH_SEQUENCES: Final = 1 << 28
# And at each ring that it proposes until its next start, up to so many.
FORGETFUL_STEP: Final = 1 << 20
# A ring sequence beyond this is nobody's honest one, until somebody claimed it
# falsely: after that, ring sequences are followed in steps of so much.
HIGHEST_SEQUENCE: Final = (1 << 63) - 1
SEQUENCE_LEAP: Final = 1 << 24
# Beyond this the 64 bits would soon be used up, and nobody is followed.
LAST_SEQUENCE: Final = HIGHEST_SEQUENCE + (1 << 62)

_UNFILLED: Final = CommitEntry(NO_RING, 0, 0, 0)


def sendJoin(ring: Ring) -> None:
    """
    Tell everybody whom we have heard of, and whom we gave up.
    """
    if ring.timing.sendJoin:
        ring.arm(JOIN_DELAY, ring.random.uniform(0.0, ring.timing.sendJoin))
    else:
        sendJoinNow(ring)


def sendJoinNow(ring: Ring) -> None:
    """
    The same, when the random delay is over.
    """
    ring.statistics.joinsSent += 1
    join = Join(
        ring.nodeid,
        ring.nodeid,
        tuple(sorted(ring.processors)),
        tuple(sorted(ring.failed)),
        ring.ringId.sequence,
    )
    ring.emit(Multicast([join.encode()]))


def hear(ring: Ring, join: Join) -> None:
    """
    Remember the highest ring that anybody knows.
    """
    if join.ringSequence <= LAST_SEQUENCE:
        credible = min(join.ringSequence, highestCredible(ring))
        ring.highestSequence = max(ring.highestSequence, credible)


def highestCredible(ring: Ring) -> int:
    """
    The highest ring sequence that we take from another.

    However high somebody claimed it to be, there must be a next one, that the
    others follow too: else there is never a ring again.
    """
    return max(HIGHEST_SEQUENCE, ring.highestSequence + SEQUENCE_LEAP)


def absorb(ring: Ring, join: Join) -> bool:
    """
    Take what is new in a join into our own sets.  [SRP 5.3]

    The opinion of a processor that is not of our ring about who failed is
    not taken over: it may be of an old conflict.  [pitfall B5]  Nor is it
    answered: where each gives up whom it hears calling it failed, he who comes
    back with an open mind is infected by those who are about to, and many
    rings give each other up in turn, for ever.  [pitfall B15]

    @return: whether our sets grew; only then is there something to gather
        again for.  [pitfall B6]
    """
    hear(ring, join)
    processors, failed = set(join.processors), set(join.failed)
    origin = join.origin
    if (processors <= ring.processors and failed <= ring.failed) or (
        origin in ring.failed
    ):
        return False
    before = len(ring.processors) + len(ring.failed)
    # What a member said before it came to this ring is old as well.
    fellow = origin in ring.members and join.ringSequence >= ring.window.ringId.sequence
    if len(ring.processors | processors) <= MOST_MEMBERS:
        ring.processors |= processors
    if ring.nodeid in failed:
        if origin != ring.nodeid and fellow:
            ring.failed.add(origin)
    elif fellow:
        for nodeid in sorted(failed & ring.processors - ring.failed):
            ring.departures.setdefault(nodeid, f"was given up by {origin}")
            ring.failed.add(nodeid)
    if join.leave:
        ring.departures[origin] = "left"
    return len(ring.processors) + len(ring.failed) > before


def discover(ring: Ring, nodeid: int) -> None:
    """
    Somebody is there; but more than a ring can have, nobody can agree on.
    """
    if len(ring.processors) < MOST_MEMBERS:
        ring.processors.add(nodeid)


def candidates(ring: Ring) -> list[int]:
    """
    Whom the ring would consist of, ascending: the order of the ring.
    """
    return sorted(ring.processors - ring.failed)


def agreed(ring: Ring) -> bool:
    """
    Do all candidates hold the same sets as we do?
    """
    return ring.processors - ring.failed <= ring.consensus


def propose(ring: Ring) -> None:
    """
    All agree.  The lowest of us creates the commit token; the others wait
    for it.  [SRP 5.5]
    """
    if ring.failedToReceive:
        # The others exclude us as we exclude ourselves; we come back by
        # merging.  [SRP 10]
        ring.failedToReceive = False
        ring.solitude.begin(ring.now, ring.timing.consensus)
        ring.processors = {ring.nodeid}
        ring.failed = set()
    members = tuple(candidates(ring))
    if members[0] != ring.nodeid:
        return
    ring.highestSequence += RING_STEP
    if ring.forgetful:
        # Somebody may still be on a ring that we named before we lost our
        # disk, and tell us nearly that number.  [pitfall E7]
        ring.highestSequence += ring.random.randrange(FORGETFUL_STEP)
    ring.proposed = CommitToken(
        sender=ring.nodeid,
        tokenSequence=0,
        ringId=RingId(ring.highestSequence, ring.nodeid),
        retransmitFlag=0,
        index=0,
        members=members,
        entries=(_UNFILLED,) * len(members),
    )
    ring.become(Because.AGREED)


def sign(ring: Ring, token: CommitToken) -> CommitToken:
    """
    Fill in our entry: what we have of the old ring.  [SRP 5.5]

    Of the members that come from one old ring, only those who have all that
    any of them has are marked as having received everything.
    """
    window, at = ring.window, token.index
    received = int(window.aru == window.high)
    entries = list(token.entries)
    entries[at] = CommitEntry(window.ringId, window.aru, window.delivered, received)
    fellows = [i for i in range(at + 1) if entries[i].ringId == window.ringId]
    for i in fellows:
        entry = entries[i]
        if any(after(entries[j].aru, entry.aru) for j in fellows):
            entries[i] = evolve(entry, received=0)
    return CommitToken(
        sender=ring.nodeid,
        tokenSequence=(token.tokenSequence + 1) & MASK,
        ringId=token.ringId,
        retransmitFlag=token.retransmitFlag,
        index=at + 1,
        members=token.members,
        entries=tuple(entries),
    )


def adopt(ring: Ring, token: CommitToken) -> None:
    """
    Commit to a proposed ring; its name is durable before anybody hears it
    from us.
    """
    ring.proposed = token
    ring.ringId = token.ringId
    ring.highestSequence = max(ring.highestSequence, token.ringId.sequence)
    at = token.members.index(ring.nodeid)
    ring.tokenTo = token.members[(at + 1) % len(token.members)]
    ring.storesPending += 1
    ring.arm(TOKEN_LOSS, ring.timing.token)
    ring.emit(StoreRingId(token.ringId.sequence))


def rejoin(ring: Ring, join: Join) -> None:
    """
    A join while a ring is being formed: end that when one of its members has
    given it up, and only then.  [SRP 5.2]
    """
    ring.statistics.joinsReceived += 1
    proposed = ring.proposed
    if (
        proposed is None
        or join.origin not in proposed.members
        or join.ringSequence < ring.ringId.sequence
        or ring.joinIsStale(join)
    ):
        return
    # Our failed set is of the agreement that made this ring.  A member that
    # was operational on it already has forgotten that one, and may have heard
    # those whom it excluded: hold on to it, and both rings go on excluding
    # each other for ever.
    ring.failed &= set(join.failed)
    absorb(ring, join)
    ring.become(Because.MEMBER_GAVE_UP)
    ring.dispatch(join)
