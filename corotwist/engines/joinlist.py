"""
Who is in which process group: a table that is the same on every node of a ring,
and the arithmetic that makes it the same again after a change.
"""

from collections.abc import Iterable, Iterator

from corotwist.engines.interfaces import Member, Reason

Entry = tuple[bytes, Member]
ByGroup = dict[bytes, tuple[Member, ...]]


class GroupTable:
    """
    Groups and their members.  A group without members does not exist.
    """

    def __init__(self) -> None:
        self._groups: dict[bytes, dict[tuple[int, int], Member]] = {}

    def add(self, group: bytes, member: Member) -> bool:
        """
        @return: L{False} when it was there already.
        """
        members = self._groups.setdefault(group, {})
        key = (member.nodeid, member.pid)
        if key in members:
            return False
        members[key] = member
        return True

    def remove(self, group: bytes, member: Member) -> bool:
        """
        @return: L{False} when it was not there.
        """
        members = self._groups.get(group, {})
        if members.pop((member.nodeid, member.pid), None) is None:
            return False
        if not members:
            del self._groups[group]
        return True

    def find(self, group: bytes, nodeid: int, pid: int) -> Member | None:
        """
        The member, when that process is in the group.
        """
        members = self._groups.get(group)
        return None if members is None else members.get((nodeid, pid))

    def members(self, group: bytes) -> tuple[Member, ...]:
        """
        Ascending.
        """
        return tuple(sorted(self._groups.get(group, {}).values()))

    def groups(self) -> tuple[bytes, ...]:
        """
        In byte order.
        """
        return tuple(sorted(self._groups))

    def entries(self) -> Iterator[Entry]:
        """
        Everybody, by group, then by member.
        """
        for group in self.groups():
            for member in self.members(group):
                yield group, member


class Round:
    """
    What the nodes of a ring say about their own processes while they
    synchronize.

    A process may come or go between its node's list and the end of the round;
    what the total order says last holds.
    """

    def __init__(self) -> None:
        self._listed: set[Entry] = set()
        self._since: dict[Entry, bool] = {}
        self._fresh: set[Entry] = set()

    def listed(self, nodeid: int, entries: Iterable[tuple[int, bytes]]) -> None:
        """
        A node's list, or a part of it: pids and groups.
        """
        self._listed.update((group, Member(nodeid, pid)) for pid, group in entries)

    def joined(self, group: bytes, member: Member, *, known: bool) -> None:
        """
        A join in the middle of the round.

        @param known: the table had it already, from before the change.
        """
        self._since[group, member] = True
        if not known:
            self._fresh.add((group, member))

    def left(self, group: bytes, member: Member) -> None:
        """
        A leave in the middle of the round.
        """
        self._since[group, member] = False
        self._fresh.discard((group, member))

    def isFresh(self, entry: Entry) -> bool:
        """
        Did it join in this round, as somebody we did not know?
        """
        return entry in self._fresh

    def present(self) -> set[Entry]:
        """
        Everybody who is there, by the word of his own node.
        """
        present = {entry for entry in self._listed if self._since.get(entry, True)}
        return present | {entry for entry, there in self._since.items() if there}


def reconcile(
    table: GroupTable, here: int, transitional: Iterable[int], heard: Round
) -> list[tuple[Reason, ByGroup]]:
    """
    What has to change, in order: who is lost with his node (also when a process
    with the same number is back: it is another one), who is gained with
    another node, and who went while we could not hear it.  Our own processes
    are never touched.

    @param here: our nodeid.
    @param transitional: the nodes that came along with us through every change
        since the table was last reconciled.
    """
    staying = {here, *transitional}
    remote = [entry for entry in table.entries() if entry[1].nodeid != here]
    lost = [e for e in remote if e[1].nodeid not in staying and not heard.isFresh(e)]
    kept = set(remote).difference(lost)
    present = {entry for entry in heard.present() if entry[1].nodeid != here}
    steps = (
        (Reason.NODEDOWN, _byGroup(lost)),
        (Reason.NODEUP, _byGroup(present - kept)),
        (Reason.PROCDOWN, _byGroup(kept - present)),
    )
    return [(reason, changes) for reason, changes in steps if changes]


def _byGroup(entries: Iterable[Entry]) -> ByGroup:
    """
    One change for each group, groups and members ascending.
    """
    groups: dict[bytes, list[Member]] = {}
    for group, member in sorted(entries):
        groups.setdefault(group, []).append(member)
    return {group: tuple(members) for group, members in groups.items()}
