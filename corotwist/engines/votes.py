"""
The arithmetic of votes: majorities, two nodes, waiting for all.

Votes are integers of any size, and always votes, never a number of nodes.
Source: votequorum of corosync 3.1.7, which real members of a ring compute with.
"""

from collections.abc import Sequence
from typing import Final

from attrs import frozen

# Two nodes may decide with a single vote only while there are at most two.
_TWO_NODES: Final = 2


@frozen
class Ballot:
    """
    What one member of the ring brings.
    """

    votes: int
    expected: int


@frozen
class Rules:
    """
    How this node is configured to judge.
    """

    twoNode: bool = False
    waitForAll: bool = False


@frozen
class Verdict:
    """
    May we act, and what follows from it for the next time.

    @ivar total: votes of the members that are here.
    @ivar expected: votes of a whole cluster, the largest that a member knows.
    @ivar own: what we expect ourselves from now on.
    @ivar quorum: votes that are needed.
    @ivar waiting: still waiting for all.
    @ivar rule: what decided, for people.
    """

    total: int
    expected: int
    own: int
    quorum: int
    quorate: bool
    waiting: bool
    rule: str


def majority(expected: int, total: int) -> int:
    """
    More than half of whichever is larger.
    """
    return max((expected + 2) // 2, (total + 2) // 2)


def judge(
    members: Sequence[Ballot],
    ownExpected: int,
    rules: Rules,
    *,
    previousQuorum: int = 0,
    waiting: bool = False,
    allowDecrease: bool = False,
    byNodes: bool = False,
) -> Verdict:
    """
    Judge the members that are here.

    @param ownExpected: the votes that we expect ourselves.
    @param previousQuorum: never undercut unless C{allowDecrease}.
    @param waiting: did we wait for all until now?
    @param byNodes: expect exactly the members that are here, as many as there
        are: after one of them announced that it leaves for good.
    """
    total = sum(member.votes for member in members)
    own = len(members) if byNodes else max(ownExpected, total)
    expected = own if byNodes else max([own, *(m.expected for m in members)])
    quorum = majority(expected, total)
    if not allowDecrease:
        quorum = max(quorum, previousQuorum)
    if rules.twoNode and len(members) <= _TWO_NODES:
        quorum = 1
    if waiting and total != own:
        rule = "waiting until all nodes were here once"
        return Verdict(total, expected, own, quorum, False, True, rule)
    quorate = quorum <= total
    waits = rules.waitForAll and not quorate
    return Verdict(total, expected, own, quorum, quorate, waits, _rule(rules, quorum))


def _rule(rules: Rules, quorum: int) -> str:
    if rules.twoNode and quorum == 1:
        return "one of two nodes suffices"
    return "majority of the expected votes"
