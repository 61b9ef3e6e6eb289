"""
The process groups' part in synchronization: the nodes of a new ring tell each
other who is in which group, and come to the same table.  What that changes
is shown when all services are in step, each group once.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from corotwist.engines.executive import MOST_MEMBERS, Downlist, Executive, JoinList
from corotwist.engines.interfaces import Change, Member, Reason
from corotwist.engines.joinlist import ByGroup, GroupTable, Round, reconcile
from corotwist.totem.membership import NO_RING, RingId

# Processes in one joinlist; a node with more sends several.
LISTED_PROCESSES: Final = 1024


class Unshown:
    """
    Changes of the table that no view has shown yet.

    Members come and go in several rounds until one is completed, and only the
    difference to the last view is shown: of one who came and went again
    nothing, of one who went and came again both, for he is another one.
    """

    def __init__(self) -> None:
        self._left: dict[bytes, dict[Member, Reason]] = {}
        self._joined: dict[bytes, dict[Member, Reason]] = {}

    def left(self, group: bytes, changes: Iterable[Change]) -> None:
        """
        They are not in the table any more.
        """
        left = self._left.setdefault(group, {})
        joined = self._joined.setdefault(group, {})
        for change in changes:
            if joined.pop(change.member, None) is None:
                left[change.member] = change.reason

    def joined(self, group: bytes, changes: Iterable[Change]) -> None:
        """
        They are in the table now.
        """
        joined = self._joined.setdefault(group, {})
        self._left.setdefault(group, {})
        joined.update((change.member, change.reason) for change in changes)

    def taken(self) -> list[tuple[bytes, tuple[Change, ...], tuple[Change, ...]]]:
        """
        Each changed group, who left and who joined, all ascending; they count
        as shown.
        """
        everyLeft, everyJoined = self._left, self._joined
        self._left, self._joined = {}, {}
        return [
            (group, _changes(everyLeft[group]), _changes(everyJoined[group]))
            for group in sorted(everyLeft)
            if everyLeft[group] or everyJoined[group]
        ]


def _changes(reasons: Mapping[Member, Reason]) -> tuple[Change, ...]:
    return tuple(Change(member, reason) for member, reason in sorted(reasons.items()))


class GroupsSynchronization:
    """
    One round after the other, with the time in between.

    @ivar ringId: the ring of the last round that began.
    @ivar knownNodes: the members of the last ring that was reconciled.
    """

    def __init__(self) -> None:
        self.ringId = NO_RING
        self.knownNodes: tuple[int, ...] = ()
        self._cameAlong: tuple[int, ...] = ()
        self._members: tuple[int, ...] = ()
        self._round: Round | None = None
        self._steps: list[Executive] = []

    # We say who is here.

    def started(
        self,
        table: GroupTable,
        here: int,
        transitional: tuple[int, ...],
        members: tuple[int, ...],
        ringId: RingId,
    ) -> None:
        """
        A round begins.

        @param here: our nodeid.
        """
        self._round = Round(table.most)
        self._cameAlong = transitional
        self._members = members
        self.ringId = ringId
        self._steps = [self._downList(), *_joinLists(table, here)]

    def _downList(self) -> Downlist:
        lost = [n for n in self.knownNodes if n not in self._cameAlong]
        return Downlist(len(self.knownNodes), tuple(lost[:MOST_MEMBERS]))

    def goOn(self, send: Callable[[Executive], bool]) -> bool:
        """
        Say as much as there is room for.

        @param send: tells whether there was.
        @return: is that all?
        """
        while self._steps:
            if not send(self._steps[0]):
                return False
            self._steps.pop(0)
        return True

    # The others say who is there.

    def listed(self, nodeid: int, entries: Iterable[tuple[int, bytes]]) -> None:
        """
        A node's list, or a part of it: pids and groups.
        """
        if self._round is not None:
            self._round.listed(nodeid, entries)

    def joined(self, group: bytes, member: Member, *, known: bool) -> bool:
        """
        A join, in a round or between two.

        @param known: it was in the table already.
        @return: does it count?
        """
        return self._round is None or self._round.joined(group, member, known=known)

    def left(self, group: bytes, member: Member) -> bool:
        """
        A leave, in a round or between two.

        @return: does it count?
        """
        return self._round is None or self._round.left(group, member)

    # The end.

    def completed(self, table: GroupTable, here: int) -> list[tuple[Reason, ByGroup]]:
        """
        Everybody said everything.

        @param here: our nodeid.
        @return: what has to change, in order.
        """
        assert self._round is not None, "a round is completed that was started"
        heard, self._round = self._round, None
        self.knownNodes = self._members
        return reconcile(table, here, self._cameAlong, heard)

    def aborted(self) -> None:
        """
        The ring changed: another round will begin.
        """
        self._round = None
        self._steps = []


def _joinLists(table: GroupTable, here: int) -> list[JoinList]:
    mine = [
        (member.pid, group)
        for group, member in table.entries()
        if member.nodeid == here
    ]
    mine.sort()
    return [
        JoinList(tuple(mine[start : start + LISTED_PROCESSES]))
        for start in range(0, len(mine), LISTED_PROCESSES)
    ]
