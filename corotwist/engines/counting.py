"""
One node's count: who brings how many votes, and what follows from it.

What is heard is counted at once, so that what we say next is up to date; whose
verdict that is, and when it holds, is for the engine.
"""

from typing import Any, Final

from attrs import define, evolve, field

from corotwist.config.settings import QuorumSettings
from corotwist.engines.agreement import Agreement
from corotwist.engines.basis import Basis
from corotwist.engines.executive import NodeFlag
from corotwist.engines.voters import Standing, Voter, Voters
from corotwist.engines.votes import NO_DEVICE, Device, Rules, Tie, Verdict, judge

NO_VERDICT: Final = Verdict(0, 0, 0, 0, False, False, "not on a ring yet")
# What a message about a node holds.
MOST_SAID: Final = 0xFFFFFFFF
ELSEWHERE: Final = "others may act: not enough of those who could last are here"


def rulesOf(settings: QuorumSettings) -> Rules:
    """
    What a configuration says of judging.
    """
    return Rules(
        twoNode=settings.twoNode,
        waitForAll=settings.waitForAll,
        lastManStanding=settings.lastManStanding,
        tie=Tie(settings.tieBreaker),
        tieNodes=settings.tieBreakerNodes,
        allowDownscale=settings.allowDownscale,
        tracking=settings.tracking,
    )


@define(eq=False)
class Count:
    """
    The votes as one node knows them.

    @ivar own: what we say of ourselves, the next time that we do.
    @ivar waiting: for all nodes.
    @ivar verdict: of what is known now.
    @ivar device: as it counted for that.
    @ivar said: in this round, what each expects, and whether it may act.
    @ivar quorateMembers: who could act without a tie breaker last, in rings
        with real corosync nodes: these break ties by that.
    """

    nodeid: int
    settings: QuorumSettings
    agreement: Agreement
    rules: Rules = field(init=False)
    own: Voter = field(init=False)
    voters: Voters = field(init=False)
    waiting: bool = field(init=False)
    verdict: Verdict = NO_VERDICT
    device: Device = NO_DEVICE
    said: dict[int, tuple[int, bool]] = field(factory=dict)
    quorateMembers: tuple[int, ...] = ()

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self.rules = rulesOf(settings)
        self.own = Voter(settings.votes, settings.expectedVotes, NodeFlag.FIRST)
        self.voters = Voters({self.nodeid: self.own})
        self.waiting = settings.waitForAll
        self.quorateMembers = tuple(nodeid for nodeid, _ in settings.voters)

    @property
    def mixed(self) -> bool:
        """
        Are there members that count as corosync does, and in no other way?
        """
        return bool(self.agreement.mixed)

    # Judging.

    def judge(
        self,
        *,
        allowDecrease: bool = False,
        exactly: int | None = None,
        middle: bool = False,
    ) -> Verdict:
        """
        Count.

        @param exactly: expect so many, on all members.
        @param middle: of a round: not everybody has spoken.
        """
        self.device = self.voters.device()
        verdict = judge(
            self.voters.ballots(),
            self.own.expected,
            self.rules,
            previousQuorum=self.verdict.quorum,
            waiting=self.waiting,
            allowDecrease=allowDecrease,
            exactly=exactly,
            device=self.device,
            half=self._decides(),
            floor=self._floor() if allowDecrease else 0,
        )
        if verdict.quorate and not self._permitted(middle=middle):
            waits = self.rules.waitForAll
            verdict = evolve(verdict, quorate=False, waiting=waits, rule=ELSEWHERE)
        self.verdict = verdict
        self.own.expected = verdict.own
        if exactly is not None:
            self.voters.expect(verdict.own)
        return verdict

    def _floor(self) -> int:
        """
        Corosync's allow_downscale lowers what is expected, and yet asks for a
        majority of what the file says.
        """
        lowers = self.mixed and self.rules.allowDownscale
        return self.settings.expectedVotes if lowers else 0

    def agreed(self) -> int | None:
        """
        What all members expect at the end of a round: what those do who could
        act, else the largest number.  Real corosync nodes go by their own.
        """
        members = self.voters.present()
        said = [said for nodeid, said in self.said.items() if nodeid in members]
        if self.mixed or not said:
            return None
        acting = [expected for expected, quorate in said if quorate]
        most = max(acting or [expected for expected, _ in said])
        # More does not fit the field: then our own number is as good as any.
        return max(most, self.own.expected) if most == MOST_SAID else most

    def _permitted(self, *, middle: bool) -> bool:
        if self.mixed:
            return True
        agreement = self.agreement
        memory = agreement.known() if middle else agreement.memory
        present = self.voters.present()
        return memory.permits(present)

    def _decides(self) -> bool:
        """
        Is the node here that breaks ties?
        """
        return self._decider() in self.voters.present()

    def _decider(self) -> int:
        if self.rules.tie is Tie.NONE:
            return 0
        if self.mixed:
            return self.rules.decider(self.quorateMembers)
        formed = self.agreement.memory.formed
        if formed is not None:
            return formed.tie
        return self.rules.decider([nodeid for nodeid, _ in self.settings.voters])

    def noteQuorate(self, members: tuple[int, ...]) -> None:
        """
        A verdict holds.
        """
        if self.verdict.quorum <= self.verdict.total and self.verdict.quorate:
            self.quorateMembers = members

    # Another basis.

    def desired(self) -> Basis | None:
        """
        The basis that those who are here should decide on next; L{None} when it
        is the one they have.
        """
        agreement = self.agreement
        dynamic = self.rules.dynamic or agreement.memory.formed is not None
        if self.mixed or not self.verdict.quorate or not dynamic:
            return None
        basis = self._basis(self.verdict.expected)
        formed = agreement.memory.formed
        settled = formed is not None and formed.likens(basis)
        if settled and not agreement.memory.attempts:
            return None
        return basis

    def shrunk(self) -> Basis | None:
        """
        The basis of exactly those who are here; L{None} where that may not be.
        """
        if self.mixed or not self.verdict.quorate or not self.shrinks():
            return None
        return self._basis(self.verdict.total)

    def shrinks(self) -> bool:
        """
        Would last_man_standing expect fewer?
        """
        single = all(votes <= 1 for votes in self.voters.present().values())
        on = self.rules.lastManStanding and single
        return on and self.verdict.total < self.verdict.expected

    def without(self, nodeid: int) -> Basis | None:
        """
        The basis after a clean leave; L{None} where it changes nothing.
        """
        leaver = self.voters.get(nodeid)
        if self.mixed or not self.verdict.quorate or leaver is None:
            return None
        rest = {n: v for n, v in self.voters.present().items() if n != nodeid}
        if not rest:
            return None
        expected = max(
            self.settings.barrier,
            self.verdict.expected - leaver.votes,
            sum(rest.values()),
        )
        return self._basis(expected, leaver=nodeid)

    def forced(self, expected: int) -> Basis:
        """
        The basis that an operator wants.
        """
        return self._basis(expected)

    def _basis(self, expected: int, leaver: int = 0) -> Basis:
        """
        @param expected: votes, all told.
        """
        agreement = self.agreement
        present = {n: v for n, v in self.voters.present().items() if n != leaver}
        total = sum(present.values())
        voters = present
        if total < expected:
            formed = agreement.memory.formed
            known = self.settings.voters if formed is None else formed.voters
            others = {n: v for n, v in known if n != leaver}
            voters = {**others, **present}
        tie = self._decider()
        if 2 * total > expected or tie not in voters:
            tie = self.rules.decider(sorted(present))
        epoch = agreement.memory.epoch + 1
        return Basis(epoch, expected, tuple(sorted(voters.items())), tie)

    # For people, and for another version.

    def inputs(self) -> dict[str, Any]:
        """
        What the last verdict was made of, as JSON values.
        """
        verdict, rules = self.verdict, self.rules
        options = {
            "two_node": rules.twoNode,
            "wait_for_all": rules.waitForAll,
            "last_man_standing": rules.lastManStanding,
            "auto_tie_breaker": rules.tie is not Tie.NONE,
            "allow_downscale": rules.allowDownscale,
            "expected_votes_tracking": rules.tracking,
        }
        return {
            "votes": verdict.total,
            "expected": verdict.expected,
            "quorum": verdict.quorum,
            "waitingForAll": verdict.waiting,
            "members": {str(n): v for n, v in self.voters.present().items()},
            "options": [name for name, on in options.items() if on],
            "device": self.device.votes,
            "decider": self._decider(),
            **self.agreement.dump(),
        }

    def handOver(self) -> dict[int, tuple[int, int, int, str, int, int]]:
        """
        What each said last.
        """
        return {
            nodeid: (
                *(v.votes, v.expected, int(v.flags), v.standing.value),
                *(v.heard, v.deviceVotes),
            )
            for nodeid, v in self.voters.items()
        }

    def takeOver(self, said: dict[int, tuple[Any, ...]]) -> None:
        """
        Go on; older versions say less.
        """
        self.voters = Voters(
            {
                nodeid: Voter(votes, expected, flags, Standing(standing), *device)
                for nodeid, (votes, expected, flags, standing, *device) in said.items()
            }
        )
        self.own = self.voters[self.nodeid]
