"""
Gather: finding out who is here, until all agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from corotwist.totem.effects import Warned
from corotwist.totem.joining import (
    CONSENSUS,
    JOIN,
    JOIN_DELAY,
    absorb,
    agreed,
    candidates,
    discover,
    hear,
    highestCredible,
    propose,
    sendJoin,
    sendJoinNow,
)
from corotwist.totem.ordering import TOKEN_LOSS
from corotwist.totem.states import Because, State
from corotwist.totem.wire import CommitToken, Join, MergeDetect, Regular

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring

# So many rounds more, from one ring to the next, for each who does not agree and
# can be heard.
MOST_WAITS: Final = 3
# So many rounds in which all agreed and no ring came, and the operator hears.
LASTING_GATHERS: Final = 3


class Gather(State):
    """
    Telling everybody whom we have heard of, until all candidates say the
    same.  Tokens are those of rings that are over.
    """

    def entered(self, ring: Ring) -> None:
        ring.statistics.gathersEntered += 1
        ring.proposed = None
        ring.holding = ring.idle = False
        ring.processors.add(ring.nodeid)
        ring.consensus = {ring.nodeid}
        ring.audible = set()
        ring.arm(JOIN, ring.timing.join)
        ring.arm(CONSENSUS, ring.timing.consensus)
        sendJoin(ring)
        if agreed(ring):
            propose(ring)

    def joinReceived(self, ring: Ring, join: Join) -> None:
        ring.statistics.joinsReceived += 1
        if ring.joinIsStale(join):
            return
        hear(ring, join)
        if join.origin in ring.processors:
            ring.audible.add(join.origin)
        if absorb(ring, join):
            ring.become(Because.LEAVE_HEARD if join.leave else Because.SETS_GREW)
            ring.dispatch(join)
        elif self._same(ring, join):
            ring.consensus.add(join.origin)
            if agreed(ring):
                propose(ring)

    def _same(self, ring: Ring, join: Join) -> bool:
        return (
            not join.leave
            and set(join.processors) == ring.processors
            and set(join.failed) == ring.failed
        )

    def commitTokenReceived(self, ring: Ring, token: CommitToken) -> None:
        """
        Accepted when it is a ring of exactly those whom we agreed on, newer
        than ours, and comes to us in our turn.
        """
        if (
            list(token.members) == candidates(ring)
            and ring.ringId.sequence < token.ringId.sequence <= highestCredible(ring)
            and token.index < len(token.members)
            and token.members[token.index] == ring.nodeid
        ):
            ring.proposed = token
            ring.become(Because.RING_PROPOSED)

    def regularReceived(self, ring: Ring, frame: Regular) -> None:
        if frame.ringId == ring.window.ringId:
            ring.window.add(frame)
        else:
            self._foreign(ring, frame)

    def mergeDetectReceived(self, ring: Ring, message: MergeDetect) -> None:
        if message.ringId != ring.ringId:
            self._foreign(ring, message)

    def _foreign(self, ring: Ring, message: Regular | MergeDetect) -> None:
        ring.statistics.framesForeign += 1
        if message.origin not in ring.processors:
            discover(ring, message.origin)
            if message.origin in ring.processors:
                ring.become(Because.FOREIGN_RING)

    def timeoutExpired(self, ring: Ring, name: str) -> None:
        if name == JOIN:
            ring.arm(JOIN, ring.timing.join)
            sendJoin(ring)
        elif name == JOIN_DELAY:
            sendJoinNow(ring)
        elif name == CONSENSUS:
            self._consensusExpired(ring)
        elif name == TOKEN_LOSS:
            self._roundFailed(ring)

    def _consensusExpired(self, ring: Ring) -> None:
        """
        Who has not agreed by now is given up, or waited for.  If all did,
        somebody should have proposed a ring: agree once more within a token
        time.  [SRP 5.4]
        """
        ring.statistics.consensusTimeouts += 1
        late = ring.processors - ring.failed - ring.consensus
        if self._giveUp(ring, late):
            ring.become(Because.NO_CONSENSUS)
            return
        ring.audible = set()
        if late:
            ring.arm(CONSENSUS, ring.timing.consensus)
        else:
            ring.consensus = {ring.nodeid}
            ring.arm(TOKEN_LOSS, ring.timing.token)

    def _giveUp(self, ring: Ring, late: set[int]) -> bool:
        """
        Give up those who do not agree: at once the silent ones, and those whom
        we hear a few rounds later, as long as we hear nobody whom we gave up.

        They may be at the end of a quarrel with others, and agree with us when
        it is over; if we quarrel too, we are what others wait for.
        [pitfall B15]

        This ends: nobody is waited for in more than L{MOST_WAITS} rounds from
        one ring to the next, and only our own ears count, not what is said of
        the dead.  [pitfall B13]  But each has rounds of its own: where gathers
        are out of step it is another's turn to be late in each, and who has
        no patience left for the last of them begins the quarrel anew.

        @return: whether anybody was given up.
        """
        silent = late
        if not ring.failed & ring.audible:
            spared = {n for n in late & ring.audible if ring.waits[n] < MOST_WAITS}
            ring.waits.update(spared)
            silent = late - spared
        for nodeid in sorted(silent):
            ring.departures[nodeid] = "did not answer"
        ring.failed |= silent
        return bool(silent)

    def _roundFailed(self, ring: Ring) -> None:
        ring.lastingGathers += 1
        if ring.lastingGathers > LASTING_GATHERS:
            ring.emit(
                Warned(
                    f"{ring.lastingGathers} times all agreed and no ring was formed: "
                    "is a firewall in the way?"
                )
            )
        late = ring.processors - ring.failed - ring.consensus
        gaveUp = self._giveUp(ring, late)
        ring.become(Because.NO_CONSENSUS if gaveUp else Because.ROUND_FAILED)
