"""
Who is in which process group: a table that is the same on every node of a ring,
and the arithmetic that makes it the same again after a change.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from corotwist.engines.interfaces import Member, Reason

Entry = tuple[bytes, Member]
ByGroup = dict[bytes, tuple[Member, ...]]

# Memberships of the processes of one node, in all groups together.  What is
# beyond them everybody ignores alike; a node never gets there by itself, for
# it refuses the join before it is sent.
MOST_MEMBERSHIPS: Final = 65_536


class GroupTable:
    """
    Groups and their members.  A group without members does not exist.

    @ivar most: memberships of one node.
    """

    def __init__(self, most: int = MOST_MEMBERSHIPS) -> None:
        self.most = most
        self._groups: dict[bytes, dict[tuple[int, int], Member]] = {}
        self._counts: dict[int, int] = {}

    def add(self, group: bytes, member: Member) -> bool:
        """
        @return: L{False} when it was there already.
        """
        members = self._groups.setdefault(group, {})
        key = (member.nodeid, member.pid)
        if key in members:
            return False
        members[key] = member
        self._counts[member.nodeid] = self._counts.get(member.nodeid, 0) + 1
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
        self._counts[member.nodeid] -= 1
        if not self._counts[member.nodeid]:
            del self._counts[member.nodeid]
        return True

    def isFull(self, nodeid: int) -> bool:
        """
        Has this node as many memberships as one may have?
        """
        return self._counts.get(nodeid, 0) >= self.most

    def largestNode(self) -> int:
        """
        The most memberships that one node has.
        """
        return max(self._counts.values(), default=0)

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

    Nodes that did not come along together hold different tables until the
    end, and have to come to the same one: what counts of a node that says too
    much follows from the order of this round alone.

    @param most: memberships of one node; it lists no more, changes no more of
        them in one round, and has no more in the end.
    """

    def __init__(self, most: int = MOST_MEMBERSHIPS) -> None:
        self._most = most
        self._listed = defaultdict[int, set[Entry]](set)
        self._since = defaultdict[int, dict[Entry, bool]](dict)
        self._fresh: set[Entry] = set()

    def listed(self, nodeid: int, entries: Iterable[tuple[int, bytes]]) -> None:
        """
        A node's list, or a part of it: pids and groups.
        """
        listed = self._listed[nodeid]
        for pid, group in entries:
            if len(listed) < self._most:
                listed.add((group, Member(nodeid, pid)))

    def joined(self, group: bytes, member: Member, *, known: bool) -> bool:
        """
        A join in the middle of the round.

        @param known: the table had it already, from before the change.
        @return: L{False} when it does not count.
        """
        if not self._changed((group, member), there=True):
            return False
        if not known:
            self._fresh.add((group, member))
        return True

    def left(self, group: bytes, member: Member) -> bool:
        """
        A leave in the middle of the round.

        @return: L{False} when it does not count.
        """
        if not self._changed((group, member), there=False):
            return False
        self._fresh.discard((group, member))
        return True

    def _changed(self, entry: Entry, *, there: bool) -> bool:
        since = self._since[entry[1].nodeid]
        if entry not in since and len(since) >= self._most:
            return False
        since[entry] = there
        return True

    def isFresh(self, entry: Entry) -> bool:
        """
        Did it join in this round, as somebody we did not know?
        """
        return entry in self._fresh

    def present(self) -> set[Entry]:
        """
        Everybody who is there, by the word of his own node.
        """
        present = set[Entry]()
        for nodeid in {**self._listed, **self._since}:
            present |= self._presentOf(nodeid)
        return present

    def _presentOf(self, nodeid: int) -> set[Entry]:
        since = self._since[nodeid]
        present = {entry for entry in self._listed[nodeid] if since.get(entry, True)}
        present |= {entry for entry, there in since.items() if there}
        if len(present) > self._most:
            return set(sorted(present)[: self._most])
        return present


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
