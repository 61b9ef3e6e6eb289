"""
Nodes and links as a node sees them, in the words of corosync-cfgtool.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import asdict, frozen

from corotwist.engines.operatorinterfaces import NodeStatus
from corotwist.errors import NotExist, ServiceError
from corotwist.ipc.client import NodeClient

# Of a node whose configuration does not name one.
DEFAULT_TRANSPORT: Final = "udpu"
# The one with several links, each with a protocol of its own.
KNET: Final = "knet"
NO_NODELIST: Final = "No nodes found in nodelist"

_NODES: Final = "nodelist.node."
_ENABLED: Final = 1
_CONNECTED: Final = 2
_DYNCONNECTED: Final = 4


class NoNodelist(ServiceError):
    """
    There is nothing to be shown.
    """

    def __str__(self) -> str:
        return NO_NODELIST


@frozen
class LinkFacts:
    """
    All of it.

    @ivar local: the nodeid of the node that was asked.
    @ivar addresses: of that node, by link.
    @ivar protocols: of links, by number, as far as they have any.
    @ivar nodes: by nodeid; L{None} where the node does not know.
    """

    local: int
    transport: str
    addresses: tuple[str, ...]
    protocols: Mapping[int, str]
    nodes: Mapping[int, NodeStatus | None]

    # How it is altogether.

    def others(self) -> Iterator[NodeStatus]:
        """
        The nodes besides the one that was asked, as far as they are known.
        """
        for nodeid, status in self.nodes.items():
            if nodeid != self.local and status is not None:
                yield status

    def unreachable(self) -> list[int]:
        """
        Nodes that are not there.
        """
        known = {status.nodeid for status in self.others() if status.reachable}
        return [n for n in self.nodes if n != self.local and n not in known]

    def linkDown(self) -> bool:
        """
        Is there a link that nothing is heard on?
        """
        return any(
            link.enabled and not link.connected
            for status in self.others()
            for link in status.links
        )

    # As text.

    def header(self) -> str:
        """
        The first line of everything.
        """
        return f"Local node ID {self.local}, transport {self.transport}\n"

    def links(self, *, brief: bool = False, which: str | None = None) -> str:
        """
        The links of the node.

        @param which: the number or our address of one of them.
        """
        chosen = list(enumerate(self.addresses))
        chosen = [one for one in chosen if str(which) in map(str, one)] or chosen
        return self.header() + "".join(
            f"LINK ID {link} {self.protocols.get(link, '')}\n"
            f"\taddr\t= {address}\n" + self._onLink(link, brief=brief)
            for link, address in chosen
        )

    def _onLink(self, link: int, *, brief: bool) -> str:
        if brief:
            marks = "".join(self._mark(nodeid, link) for nodeid in self.nodes)
            return f"\tstatus\t= {marks}\n"
        lines = [
            f"\t\tnodeid: {nodeid:>10}:\t{self._word(nodeid, link)}\n"
            for nodeid in self.nodes
        ]
        return "\tstatus:\n" + "".join(lines)

    def _mark(self, nodeid: int, link: int) -> str:
        status = self.nodes[nodeid]
        if nodeid == self.local:
            return "n"
        if status is None or link >= len(status.links):
            return "?"
        there = status.links[link]
        return str(
            _ENABLED * there.enabled
            + _CONNECTED * there.connected
            + _DYNCONNECTED * there.dynconnected
        )

    def _word(self, nodeid: int, link: int) -> str:
        if nodeid == self.local:
            return "localhost"
        status = self.nodes[nodeid]
        known = status is not None and link < len(status.links)
        connected = known and status is not None and status.links[link].connected
        return "connected" if connected else "disconnected"

    def reachable(self) -> str:
        """
        The other nodes that are there.
        """
        there = [status for status in self.others() if status.reachable]
        return self.header() + "".join(map(self._node, there))

    def _node(self, status: NodeStatus) -> str:
        kinds = f"{' remote' * status.remote}{' external' * status.external}"
        lines = [
            self._link(number, status)
            for number, link in enumerate(status.links)
            if link.enabled
        ]
        return f"nodeid: {status.nodeid} reachable{kinds}\n{''.join(lines)}\n"

    def _link(self, number: int, status: NodeStatus) -> str:
        link = status.links[number]
        way = link.destination
        if self.transport == KNET:
            way = f"{link.source}->{way}"
        return (
            f"   LINK: {number} {self.protocols.get(number, '')} ({way}) enabled"
            f"{' connected' * link.connected}{' dynconnected' * link.dynconnected}"
            f" mtu: {link.mtu}\n"
        )

    # For programs.

    def json(self) -> dict[str, Any]:
        """
        As JSON values.
        """
        return {
            "nodeid": self.local,
            "transport": self.transport,
            "links": [
                {"link": link, "address": address}
                for link, address in enumerate(self.addresses)
            ],
            "nodes": [
                {"nodeid": nodeid, "local": nodeid == self.local, "known": False}
                if status is None
                else {**asdict(status), "local": nodeid == self.local, "known": True}
                for nodeid, status in self.nodes.items()
            ],
        }


async def gather(client: NodeClient) -> LinkFacts:
    """
    Ask a node.

    @raise NoNodelist: it has no list of nodes.
    """
    nodeids = [
        int(value.content)
        async for name, value in client.cmap.iterate(_NODES)
        if name.endswith(".nodeid")
    ]
    if not nodeids:
        raise NoNodelist
    local = await client.cfg.localGet()
    transport = await _text(client, "totem.transport") or DEFAULT_TRANSPORT
    addresses = await client.cfg.nodeAddresses(local)
    protocols = {}
    if transport == KNET:
        for link in range(len(addresses)):
            named = await _text(client, f"totem.interface.{link}.knet_transport")
            protocols[link] = named or "udp"
    nodes = {nodeid: await _status(client, nodeid) for nodeid in sorted({*nodeids})}
    return LinkFacts(local, transport, addresses, protocols, nodes)


async def _text(client: NodeClient, key: str) -> str | None:
    try:
        value = await client.cmap.get(key)
    except NotExist:
        return None
    return str(value.content)


async def _status(client: NodeClient, nodeid: int) -> NodeStatus | None:
    try:
        return await client.cfg.nodeStatus(nodeid)
    except NotExist:
        return None
