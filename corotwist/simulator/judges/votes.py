"""
The judge of quorum: who may act, and that no two parts may at once.
"""

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.config.settings import QuorumSettings
from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import RingId

# Rings whose verdicts are remembered.
RINGS_REMEMBERED: Final = 64
_TWO: Final = 2


@frozen
class Tally:
    """
    What a node says of the votes.
    """

    votes: int
    expected: int
    quorum: int
    quorate: bool

    @classmethod
    def of(cls, explanation: Mapping[str, Any]) -> "Tally":
        """
        From what the engine of votes explains.
        """
        return cls(
            *(explanation[n] for n in ("votes", "expected", "quorum", "quorate"))
        )


@define(eq=False)
class Voter:
    """
    One process, as one that counts votes.

    @ivar members: of the ring it counts in; nobody while it is in none.
    @ivar counts: how many verdicts it has given on this ring.
    @ivar highest: the highest quorum that it ever asked for.
    @ivar met: it saw all expected votes at once, or was taken in by somebody
        who had.
    @ivar staleSince: since when it has called itself quorate although a newer
        quorate ring excludes it.
    """

    rules: QuorumSettings
    members: frozenset[int] = frozenset()
    ringId: RingId | None = None
    counts: int = 0
    tally: Tally | None = None
    highest: int = 0
    met: bool = False
    staleSince: float | None = None

    @property
    def quorate(self) -> bool:
        """
        Does it say that it may act, now?
        """
        return self.tally is not None and self.tally.quorate


@define(eq=False)
class VotesJudge(Judge):
    """
    VQ0 to VQ8, P8.

    What an operator says at run time ends the promises that rest on the
    configuration: VQ0, VQ1, P8 and VQ8 are not judged from then on.

    @ivar stalest: the longest time for which a process called itself quorate
        in an old ring while a newer quorate ring excluded it.
    """

    stalest: float = 0.0
    overridden: bool = False
    _voters: dict[Life, Voter] = field(factory=dict)
    _votes: dict[int, int] = field(factory=dict)
    _expected: dict[int, int] = field(factory=dict)
    _verdicts: dict[RingId, dict[int, tuple[Life, Tally]]] = field(factory=dict)
    _last: frozenset[int] = frozenset()

    def booted(self, life: Life, rules: QuorumSettings) -> None:
        """
        A process that counts votes started.
        """
        self._voters[life] = Voter(rules)
        self._votes[life.nodeid] = rules.votes
        self._expected[life.nodeid] = rules.expectedVotes

    def ended(self, life: Life, now: float) -> None:
        """
        It acts no more.
        """
        self.left(life, now)
        self._voters.pop(life, None)

    def left(self, life: Life, now: float) -> None:
        """
        A process knows that its ring is over.
        """
        voter = self._voters.get(life)
        if voter is None:
            return
        if voter.staleSince is not None:
            self.stalest = max(self.stalest, now - voter.staleSince)
            voter.staleSince = None
        voter.members = frozenset()
        voter.tally = None

    def operator(self) -> None:
        """
        Somebody changed numbers by hand.
        """
        self.overridden = True

    def met(self, life: Life, tally: Tally) -> None:
        """
        A process has seen these votes at once, whatever comes of the round.
        """
        voter = self._voters.get(life)
        if voter is not None and tally.votes >= voter.rules.expectedVotes:
            voter.met = True

    def counted(
        self,
        life: Life,
        ringId: RingId,
        members: tuple[int, ...],
        tally: Tally,
        now: float,
    ) -> None:
        """
        A process gave its verdict: at the end of a round, or at a later
        message about votes.
        """
        voter = self._voters.get(life)
        if voter is None:
            return
        if voter.ringId != ringId:
            voter.ringId, voter.counts = ringId, 0
        voter.members, voter.tally = frozenset(members), tally
        voter.counts += 1
        self._agrees(life, voter, ringId, tally)
        self._shrinks(life, voter, tally)
        self._adds(life, voter, tally)
        self._rises(life, voter, tally)
        self._meets(life, voter, tally)
        if tally.quorate:
            self._isAlone(life, voter, now)

    def _agrees(self, life: Life, voter: Voter, ringId: RingId, tally: Tally) -> None:
        """
        The verdicts of a ring are the same on all members, one by one.
        """
        verdicts = self._verdicts.get(ringId)
        if verdicts is None or not any(who.alive for who, _ in verdicts.values()):
            verdicts = self._verdicts[ringId] = {}
            if len(self._verdicts) > RINGS_REMEMBERED:
                del self._verdicts[next(iter(self._verdicts))]
        other, there = verdicts.setdefault(voter.counts, (life, tally))
        if there != tally:
            self.blame(
                "VQ2",
                "two members of a ring count differently",
                life,
                other,
                ring=ringId,
                here=tally,
                there=there,
            )

    def _adds(self, life: Life, voter: Voter, tally: Tally) -> None:
        """
        Votes are counted, all of them, and a majority is one.
        """
        if self.overridden:
            return
        rules = voter.rules
        right = sum(self._votes.get(nodeid, 0) for nodeid in voter.members)
        device = 0 if rules.device is None else rules.device.votes
        # Who leaves for good does not count while it is still there; a device
        # counts while it votes for us.
        fewer = rules.allowDownscale and tally.votes < right
        if tally.votes not in (right, right + device) and not fewer:
            self.blame("VQ0", "miscounted", life, counted=tally.votes, right=right)
        most = max(tally.expected, tally.votes)
        single = rules.twoNode and len(voter.members) <= _TWO
        if tally.quorate and tally.quorum * 2 <= most and not single:
            self.blame("VQ0", "acts without a majority", life, tally=tally)
        half = rules.tieBreaker and 2 * tally.votes == tally.expected
        if tally.quorate and tally.votes < tally.quorum and not half:
            self.blame("VQ0", "acts with fewer votes than it needs", life, tally=tally)

    def _rises(self, life: Life, voter: Voter, tally: Tally) -> None:
        rules = voter.rules
        shrinks = rules.lastManStanding or rules.allowDownscale
        exempt = self.overridden or rules.twoNode or shrinks
        if tally.quorum < voter.highest and not exempt:
            self.blame(
                "VQ8",
                "needs fewer votes than before",
                life,
                quorum=tally.quorum,
                before=voter.highest,
            )
        voter.highest = max(voter.highest, tally.quorum)

    def _shrinks(self, life: Life, voter: Voter, tally: Tally) -> None:
        """
        What is expected is fewer than configured only where an option says
        so, and never fewer than are here.
        """
        rules = voter.rules
        if self.overridden or rules.lastManStanding:
            return
        least = rules.barrier if rules.allowDownscale else rules.expectedVotes
        if tally.expected < least:
            promise = "VQ7" if rules.allowDownscale else "VQ6"
            self.blame(promise, "expects too few votes", life, tally=tally, least=least)

    def _meets(self, life: Life, voter: Voter, tally: Tally) -> None:
        """
        One who waits for all may act only after it saw all, or was taken in by
        somebody who had.
        """
        voter.met = voter.met or tally.votes >= voter.rules.expectedVotes
        fellows = [
            other
            for who, other in self._voters.items()
            if who.nodeid in voter.members and who.alive
        ]
        if not voter.met:
            voter.met = any(f.met or not f.rules.waitForAll for f in fellows)
        if tally.quorate and voter.rules.waitForAll and not voter.met:
            promise = "VQ3" if voter.rules.twoNode else "VQ4"
            text = "acts without ever having seen all"
            self.blame(promise, text, life, tally=tally)

    def _isAlone(self, life: Life, voter: Voter, now: float) -> None:
        """
        Nobody else may act at the same time.
        """
        members = voter.members
        for who, other in self._voters.items():
            if other.members == members or not other.quorate:
                continue
            if not other.members & members and self._honest(voter, other):
                self.blame(
                    "VQ1",
                    "two parts may act at once",
                    life,
                    who,
                    here=sorted(members),
                    there=sorted(other.members),
                )
            elif who.nodeid not in members and other.staleSince is None:
                other.staleSince = now
        if self._last and not self._last & members and self._honest(voter):
            self.blame(
                "P8",
                "a part may act that shares nobody with the last one that could",
                life,
                here=sorted(members),
                before=sorted(self._last),
            )
        self._last = members

    def _honest(self, *voters: Voter) -> bool:
        """
        Does a majority mean anything?  It does not with two nodes, either of
        which suffices, nor where more votes came than are expected.
        """
        total = sum(self._votes.values())
        return not self.overridden and all(
            not voter.rules.twoNode
            and min(self._expected.values()) >= total
            and voter.tally is not None
            for voter in voters
        )
