"""
Other versions of shipped engines, for tests of replacing them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.interfaces import Member
from corotwist.engines.joinlist import MOST_MEMBERSHIPS, Entry, GroupTable
from corotwist.interfaces import ICluster, IEngineMaker
from corotwist.ipc.cpg import GroupsLocator
from corotwist.plugin import EngineMaker


class NodeTable(GroupTable):
    """
    The members of groups by their nodes.
    """

    def __init__(self, most: int = MOST_MEMBERSHIPS) -> None:
        super().__init__(most)
        self._nodes: dict[int, dict[Entry, None]] = {}

    def add(self, group: bytes, member: Member) -> bool:
        here = self._nodes.setdefault(member.nodeid, {})
        if (group, member) in here:
            return False
        here[group, member] = None
        return True

    def remove(self, group: bytes, member: Member) -> bool:
        here = self._nodes.get(member.nodeid, {})
        if (group, member) not in here:
            return False
        del here[group, member]
        return True

    def isFull(self, nodeid: int) -> bool:
        return len(self._nodes.get(nodeid, ())) >= self.most

    def largestNode(self) -> int:
        return max(map(len, self._nodes.values()), default=0)

    def find(self, group: bytes, nodeid: int, pid: int) -> Member | None:
        member = Member(nodeid, pid)
        return member if (group, member) in self._nodes.get(nodeid, {}) else None

    def members(self, group: bytes) -> tuple[Member, ...]:
        return tuple(sorted(m for name, m in self._entries() if name == group))

    def groups(self) -> tuple[bytes, ...]:
        return tuple(sorted({name for name, _ in self._entries()}))

    def _entries(self) -> Iterator[Entry]:
        for here in self._nodes.values():
            yield from here


class NewerGroups(GroupsEngine):
    """
    Version 2 of the process groups keeps its table in another shape, and hands
    over a key more, of which version 1 knows nothing.
    """

    version = 2

    def __init__(self) -> None:
        super().__init__()
        self._table = NodeTable()
        self.replaced = 0

    def handOver(self) -> Mapping[str, Any]:
        state = super().handOver()
        self._table = NodeTable()
        return {**state, "replaced": self.replaced}

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        super().takeOver(state, version)
        table = NodeTable()
        for group, member in self._table.entries():
            table.add(group, member)
        self._table = table
        self.replaced = state.get("replaced", 0) + 1


class Failing(GroupsEngine):
    """
    Cannot be used.
    """

    version = 3

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        super().takeOver(state, version)
        raise RuntimeError("a mistake of a programmer")


class Slow(GroupsEngine):
    """
    Takes its time to start.
    """

    version = 4

    def __init__(self, ready: Deferred[None]) -> None:
        super().__init__()
        self._ready = ready

    def initialize(self, cluster: ICluster, settings: Any) -> Any:
        super().initialize(cluster, settings)
        return self._ready


def groups(version: int, make: Callable[[], Any]) -> IEngineMaker:
    """
    A maker of process groups.
    """
    return EngineMaker("cpg", version, make, GroupsLocator)


NEWER = groups(2, NewerGroups)
FAILING = groups(3, Failing)
