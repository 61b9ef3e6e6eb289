"""
What is known of the other nodes below the ring: where they are, and when
something came from there.
"""

from collections.abc import Collection, Mapping
from math import inf

from corotwist.config.settings import NodeEntry, TotemSettings
from corotwist.errors import NotExist
from corotwist.totem.membership import LinkStatus, NodeStatus


class Neighbours:
    """
    The nodes of the list, and when each was heard.

    Not everybody on a ring is heard: on an idle one there is nothing but the
    token, and it comes from one of them only.  A member that is not heard is
    there all the same, or the token would not have come.

    @ivar heard: when a datagram came last from each address, as sockets spell
        them; of the addresses of other nodes, and of no more.
    """

    def __init__(self, settings: TotemSettings, hosts: Mapping[str, int]) -> None:
        """
        @param hosts: the nodes by their addresses.
        """
        self.heard = {
            host: -inf for host, nodeid in hosts.items() if nodeid != settings.nodeid
        }
        self._settings = settings
        self._hosts = {nodeid: host for host, nodeid in hosts.items()}

    def status(
        self, nodeid: int, members: Collection[int], now: float, patience: float
    ) -> NodeStatus:
        """
        That of one node.

        @param members: of the ring that we are operational on.
        @param patience: who was not heard for so many seconds, and is no
            member, is not there.
        @raise NotExist: it is not in the node list.
        """
        entry = self._entry(nodeid)
        link = self._link(entry, members, now, patience)
        return NodeStatus(nodeid, link.connected, (link,), link.lastHeard)

    def _entry(self, nodeid: int) -> NodeEntry:
        for entry in self._settings.nodes:
            if entry.nodeid == nodeid:
                return entry
        raise NotExist(f"no node {nodeid} in the node list")

    def _link(
        self, entry: NodeEntry, members: Collection[int], now: float, patience: float
    ) -> LinkStatus:
        settings = self._settings
        ours = entry.nodeid == settings.nodeid
        at = self.heard.get(self._hosts.get(entry.nodeid, ""), -inf)
        ago = None if at == -inf else max(0.0, now - at)
        return LinkStatus(
            number=0,
            enabled=True,
            connected=ours
            or entry.nodeid in members
            or (ago is not None and ago <= patience),
            mtu=settings.netmtu,
            source=str(settings.bindAddress),
            destination=str(entry.addresses[0]),
            lastHeard=0.0 if ours else ago,
        )
