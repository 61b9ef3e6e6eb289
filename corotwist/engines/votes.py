"""
The arithmetic of votes: majorities, two nodes, waiting for all, ties, devices.

Votes are integers of any size, and always votes, never a number of nodes.
Source: votequorum of corosync 3.1.7, which real members of a ring compute with.
"""

from collections.abc import Sequence
from enum import StrEnum
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


class Tie(StrEnum):
    """
    Which node decides between two halves.
    """

    NONE = ""
    LOWEST = "lowest"
    HIGHEST = "highest"
    LIST = "list"


@frozen
class Rules:
    """
    How this node is configured to judge.

    @ivar tieNodes: with L{Tie.LIST}, the first that is there decides.
    """

    twoNode: bool = False
    waitForAll: bool = False
    lastManStanding: bool = False
    tie: Tie = Tie.NONE
    tieNodes: tuple[int, ...] = ()
    allowDownscale: bool = False
    tracking: bool = False

    @property
    def dynamic(self) -> bool:
        """
        Does what suffices today depend on what was yesterday?
        """
        return self.lastManStanding or self.allowDownscale or self.tie is not Tie.NONE

    def decider(self, nodes: Sequence[int]) -> int:
        """
        Whose half wins, of these nodes; 0 for nobody's.
        """
        if self.tie is Tie.LIST:
            return next((n for n in self.tieNodes if n in nodes), 0)
        if self.tie is Tie.NONE or not nodes:
            return 0
        return min(nodes) if self.tie is Tie.LOWEST else max(nodes)


@frozen
class Device:
    """
    What a quorum device adds.

    @ivar votes: what it has, if it votes for us; else 0.
    @ivar wins: it votes for us, and that is enough.
    """

    votes: int = 0
    wins: bool = False


NO_DEVICE: Final = Device()


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
    exactly: int | None = None,
    device: Device = NO_DEVICE,
    half: bool = False,
    floor: int = 0,
) -> Verdict:
    """
    Judge the members that are here.

    @param ownExpected: the votes that we expect ourselves.
    @param previousQuorum: never undercut unless C{allowDecrease}.
    @param waiting: did we wait for all until now?
    @param exactly: expect so many from now on, whatever anybody expected; but
        no fewer than are here.
    @param half: is the node here that decides between two halves?
    @param floor: so many votes have a say, however few are expected.
    """
    total = sum(member.votes for member in members) + device.votes
    if exactly is None:
        own = max(ownExpected, total)
        expected = max([own, *(m.expected for m in members)])
    else:
        own = expected = max(exactly, total)
    quorum = majority(max(expected, floor), total)
    if not allowDecrease:
        quorum = max(quorum, previousQuorum)
    if rules.twoNode and len(members) <= _TWO_NODES:
        quorum = 1
    if waiting and total != own:
        rule = "waiting until all nodes were here once"
        return Verdict(total, expected, own, quorum, False, True, rule)
    rule = _rule(total, expected, quorum, rules, device, half=half)
    quorate = bool(rule)
    waits = rules.waitForAll and not quorate
    if rules.tie and not quorate and 2 * total == expected:
        rule = "half of the expected votes, without the node that breaks ties"
    return Verdict(total, expected, own, quorum, quorate, waits, rule or _MAJORITY)


_MAJORITY: Final = "majority of the expected votes"


def _rule(
    total: int, expected: int, quorum: int, rules: Rules, device: Device, *, half: bool
) -> str:
    """
    Why these may act; nothing if they may not.
    """
    if quorum <= total:
        single = rules.twoNode and quorum == 1
        return "one of two nodes suffices" if single else _MAJORITY
    if half and total and 2 * total == expected:
        return "half of the expected votes, with the node that breaks ties"
    if device.wins and 2 * total >= expected:
        # Without that, the nodes on the other side could be a majority.
        return "the quorum device votes for us, and its master wins"
    return ""
