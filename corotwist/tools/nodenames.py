"""
What the nodes of a cluster are called, and where they are: as a node knows them
from its configuration and from those it met.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, field

from corotwist.config.values import Value
from corotwist.ipc.client import NodeClient

_NODE: Final = re.compile(r"nodelist\.node\.(\d+)\.(\w+)")
_LINK: Final = re.compile(r"ring(\d+)_addr")
_MET: Final = re.compile(r"runtime\.members\.(\d+)\.ip")
# In "r(0) ip(10.0.0.1) r(1) ip(10.0.1.1) ".
_ADDRESS: Final = re.compile(r"ip\(([^)]*)\)")


@define
class Known:
    """
    One node.

    @ivar given: its addresses as they were configured, by link.
    @ivar met: those that it was met with.
    """

    name: str = ""
    given: dict[int, str] = field(factory=dict)
    met: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """
        As numbers, where it was met.
        """
        return self.met or tuple(self.given[link] for link in sorted(self.given))


class NodeNames:
    """
    Those of a cluster.
    """

    def __init__(self, items: Iterable[tuple[str, Value]]) -> None:
        """
        @param items: keys of a node, C{nodelist.} and C{runtime.members.} among
            them.
        """
        entries: dict[str, dict[str, str]] = {}
        met: dict[int, tuple[str, ...]] = {}
        for key, value in items:
            if entry := _NODE.fullmatch(key):
                entries.setdefault(entry[1], {})[entry[2]] = str(value.content)
            elif member := _MET.fullmatch(key):
                met[int(member[1])] = tuple(_ADDRESS.findall(str(value.content)))
        self._known = {
            nodeid: Known(met=addresses) for nodeid, addresses in met.items()
        }
        for options in entries.values():
            self._configured(options)

    def _configured(self, options: Mapping[str, str]) -> None:
        nodeid = options.get("nodeid", "")
        if nodeid.isdecimal():
            known = self._known.setdefault(int(nodeid), Known())
            known.name = options.get("name", "")
            for option, address in options.items():
                if link := _LINK.fullmatch(option):
                    known.given[int(link[1])] = address

    def name(self, nodeid: int) -> str:
        """
        What people call a node: its name, or else its first address as it was
        configured, which may be a name, too.
        """
        known = self._known.get(nodeid, Known())
        first = known.given[min(known.given)] if known.given else ""
        return known.name or first or " ".join(known.met[:1])

    def addresses(self, nodeid: int) -> tuple[str, ...]:
        """
        Where a node is, by link; nowhere when nobody knows.
        """
        return self._known.get(nodeid, Known()).addresses


async def nodeNames(client: NodeClient) -> NodeNames:
    """
    As a node knows them.
    """
    items = [*await client.cmap.items("nodelist.node.")]
    return NodeNames([*items, *await client.cmap.items("runtime.members.")])
