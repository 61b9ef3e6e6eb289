"""
Recovery: on the new ring, exchanging what is left of the old ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import Factory, define

from corotwist.errors import WireError
from corotwist.totem.effects import ConfigurationChanged, Unicast
from corotwist.totem.joining import hear, rejoin
from corotwist.totem.membership import Configuration, Evidence
from corotwist.totem.onring import OnRing
from corotwist.totem.ordering import (
    watchToken,
)
from corotwist.totem.sequence import MASK, after, earlier
from corotwist.totem.states import Because
from corotwist.totem.window import Window
from corotwist.totem.wire import (
    CommitToken,
    Join,
    Regular,
    Token,
    decode,
    makeRegular,
)

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring

# Token visits without anything to re-send until the set of recovered frames
# counts as complete, and then is known to be; as in corosync.  [SRP 9.2]
VISITS_TO_COMPLETE: Final = 2
VISITS_TO_CONFIRM: Final = 3
ROTATIONS_TO_INSTALL: Final = 2


@define
class Recovering:
    """
    What a processor keeps in mind from the commit token until the new ring is
    operational.

    @ivar installSequence: the last frame of the recovery.
    @ivar transitional: who comes along with us from our old ring.
    @ivar queue: old frames still to be re-sent, the last one first.
    @ivar flagOurs: did we set the token's retransmit flag?
    @ivar clear: token visits in a row that found the flag clear.
    @ivar rotations: visits in a row that found everybody complete.
    @ivar originated: did we, the representative, start the token?
    """

    installSequence: int
    transitional: tuple[int, ...] = ()
    queue: list[bytes] = Factory(list)
    flagOurs: bool = False
    clear: int = 0
    rotations: int = 0
    originated: bool = False


class Recovery(OnRing):
    """
    The token of the new ring circulates, and carries only frames of the old
    rings, wrapped.  Merge detection waits until there is a ring to merge.
    """

    def entered(self, ring: Ring) -> None:
        ring.statistics.recoveriesEntered += 1
        assert ring.proposed is not None, "recovering to nothing"
        start = ring.firstSequence
        ring.forming = Window(ring.ringId, start)
        ring.flow.reset()
        ring.lastTokenSequence = (ring.firstTokenSequence - 1) & MASK
        ring.lastSequence = ring.lastAru = start
        ring.aruUnchanged = ring.sequenceUnchanged = 0
        ring.progressAt = ring.now
        ring.idle = ring.holding = False
        transitional = fellows(ring, ring.proposed)
        ring.recovering = Recovering(
            start, transitional, unfinished(ring, ring.proposed, transitional)
        )
        self._forward(ring, ring.proposed)

    def _forward(self, ring: Ring, token: CommitToken) -> None:
        token.sender, token.target, token.byteOrder = ring.nodeid, 0, "<"
        token.tokenSequence = (token.tokenSequence + 1) & MASK
        ring.tokenFrame = token.encode()
        ring.statistics.commitTokensSent += 1
        ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))
        watchToken(ring)

    def waiting(self, ring: Ring) -> int:
        return len(ring.recovering.queue)

    def take(self, ring: Ring, sequence: int) -> Regular:
        ring.senderSequence = (ring.senderSequence + 1) & 0x7FFFFFFF
        ring.statistics.framesRecovered += 1
        return makeRegular(
            ring.nodeid,
            sequence,
            ring.senderSequence,
            ring.ringId,
            0,
            ring.recovering.queue.pop(),
            encapsulated=True,
        )

    def commitTokenReceived(self, ring: Ring, token: CommitToken) -> None:
        """
        Back at the representative after its second round: begin.  Once, since
        a copy of it may come too; and a copy from the first round, sent again
        by one who waits for the second, is none.  [pitfalls C2, C4]
        """
        proposed = ring.proposed
        if (
            token.ringId != ring.ringId
            or ring.nodeid != ring.ringId.representative
            or token.index != len(token.members)
            or ring.recovering.originated
            or proposed is None
            or after(proposed.tokenSequence, token.tokenSequence)
        ):
            return
        ring.recovering.originated = True
        start = ring.firstSequence
        ring.recovering.flagOurs = bool(ring.recovering.queue)
        first = Token(
            sender=ring.nodeid,
            sequence=start,
            tokenSequence=ring.firstTokenSequence,
            allReceivedUpTo=(start - 1) & MASK,
            aruSetter=ring.nodeid,
            ringId=ring.ringId,
            retransmitFlag=int(ring.recovering.flagOurs),
        )
        ring.tokenFrame = first.encode()
        ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))
        watchToken(ring)

    def visited(self, ring: Ring, token: Token) -> None:
        if complete(ring, token):
            install(ring)

    def regularReceived(self, ring: Ring, frame: Regular) -> None:
        if frame.ringId == ring.ringId:
            ring.statistics.framesReceived += 1
            if not ring.forming.add(frame):
                ring.statistics.framesDuplicate += 1

    def joinReceived(self, ring: Ring, join: Join) -> None:
        hear(ring, join)
        rejoin(ring, join)


def fellows(ring: Ring, token: CommitToken) -> tuple[int, ...]:
    """
    Who comes along with us: members of our configuration, now too, whose old
    ring was ours.  Having been a member is not enough: a processor that
    restarted has not.  [pitfall D8]
    """
    old = ring.window.ringId
    return tuple(
        nodeid
        for nodeid, entry in zip(token.members, token.entries, strict=True)
        if nodeid in ring.members and entry.ringId == old
    )


def unfinished(
    ring: Ring, token: CommitToken, transitional: tuple[int, ...]
) -> list[bytes]:
    """
    Frames of the old ring that some fellow may lack, last one first.
    """
    window = ring.window
    entries = [entry for entry in token.entries if entry.ringId == window.ringId]
    if not transitional or all(entry.received for entry in entries):
        return []
    low = entries[0].aru
    for entry in entries:
        low = earlier(low, entry.aru)
    return [frame.frame for frame in window.above(low)][::-1]


def complete(ring: Ring, token: Token) -> bool:
    """
    Does everybody have all that anybody re-sent?  [SRP 9.2]
    """
    recovering = ring.recovering
    if recovering.queue:
        if not token.retransmitFlag:
            token.retransmitFlag = 1
            recovering.flagOurs = True
    elif token.retransmitFlag and (recovering.flagOurs or ring.idle):
        # On a ring that has been idle for long, the flag is nobody's.
        token.retransmitFlag = 0
        recovering.flagOurs = False
    recovering.clear = 0 if token.retransmitFlag else recovering.clear + 1
    if recovering.clear == VISITS_TO_COMPLETE:
        recovering.installSequence = token.sequence
    everybody = not after(recovering.installSequence, token.allReceivedUpTo)
    if recovering.clear >= VISITS_TO_CONFIRM and everybody:
        recovering.rotations += 1
    else:
        recovering.rotations = 0
    return recovering.rotations == ROTATIONS_TO_INSTALL


def install(ring: Ring) -> None:
    """
    The old ring ends and the new one begins, for the services above too.
    [SRP 9.3], [EVS]
    """
    assert ring.proposed is not None, "installing nothing"
    old, new = ring.window, ring.forming
    unwrap(ring, old, new)
    old.stableUpTo(highestDelivered(ring))
    ring.deliverFrames(old, old.inOrder())
    members = ring.proposed.members
    transitional, before = ring.recovering.transitional, ring.members
    evidence = gathered(ring)
    cause = explain(ring.cause, evidence)
    if ring.configuration is not None:
        ring.emit(
            ConfigurationChanged(
                Configuration(
                    ring.ringId,
                    transitional,
                    transitional=True,
                    left=tuple(n for n in before if n not in transitional),
                    cause=cause,
                    evidence=evidence,
                )
            )
        )
    ring.outbox = ring.synchronization
    ring.ordinary.restart()
    ring.synchronization.restart()
    # Of what was not safe on the old ring all who come along know by now that
    # they have it: here it is safe.  [EVS P7.3]
    ring.deliverFrames(old, old.withoutGap())
    ring.deliverFrames(
        old, [frame for frame in old.acrossGaps() if frame.origin in transitional]
    )
    ring.configuration = Configuration(
        ring.ringId,
        members,
        transitional=False,
        joined=tuple(n for n in members if n not in transitional),
        cause=cause,
        evidence=evidence,
    )
    ring.emit(ConfigurationChanged(ring.configuration))
    new.startAfter(ring.recovering.installSequence)
    ring.window = new
    ring.members = members
    ring.processors = set(members)
    ring.failed = set()
    ring.failedToReceive = False
    ring.lastingGathers = 0
    ring.waits.clear()
    ring.departures = {}
    ring.noticed = None
    ring.become(Because.RECOVERED)


def highestDelivered(ring: Ring) -> int:
    """
    The highest frame of our old ring that anybody delivered who comes along:
    who was first to know that a frame was safe delivered it on the old ring,
    and so do all the others.  [EVS P4, P7.1]
    """
    assert ring.proposed is not None, "installing nothing"
    highest = ring.window.delivered
    for nodeid, entry in zip(ring.proposed.members, ring.proposed.entries, strict=True):
        if nodeid in ring.recovering.transitional and after(
            entry.highDelivered, highest
        ):
            highest = entry.highDelivered
    return highest


def unwrap(ring: Ring, old: Window, new: Window) -> None:
    """
    Take the frames of our old ring out of their wrappers; those of other
    rings are for others.  [pitfall D12]
    """
    for wrapper in new.above(ring.firstSequence):
        if not wrapper.encapsulated:
            continue
        try:
            inner = decode(wrapper.payload)
        except WireError:
            ring.statistics.framesDropped += 1
            continue
        if isinstance(inner, Regular) and inner.ringId == old.ringId:
            old.add(inner)


def gathered(ring: Ring) -> Evidence:
    """
    What we know of the end of the old ring.
    """
    noticedBy, accused = ring.noticed or (0, ())
    missing = tuple(
        (nodeid, why)
        for nodeid, why in sorted(ring.departures.items())
        if nodeid in ring.members and nodeid not in ring.recovering.transitional
    )
    return Evidence(noticedBy, accused, missing)


def explain(cause: Because, evidence: Evidence) -> str:
    """
    Why the old ring ended, with what is known of those who are missing.
    """
    return "; ".join([cause.value, *(f"{n} {why}" for n, why in evidence.missing)])
