"""
How nodes and links are, as corosync's cfg service tells it.
"""

from collections.abc import Sequence
from typing import Final

from corotwist.config.settings import Address, NodeSettings
from corotwist.engines.operatorinterfaces import LinkStatus, NodeStatus, RingStatus
from corotwist.errors import NotExist
from corotwist.interfaces import ICluster

# What a transport with one link to everybody says of it.
FINE: Final = "OK"
# Of the wire of C{udpu} and C{udp} there is one version, without a number.
_WIRE: Final = 0


class Statuses:
    """
    Answers from the membership and the node list.
    """

    def __init__(self, cluster: ICluster, settings: NodeSettings) -> None:
        self._cluster = cluster
        self._totem = settings.totem

    def node(self, nodeid: int) -> NodeStatus:
        """
        See L{corotwist.engines.operatorinterfaces.IOperator.nodeStatus}.
        """
        nodeid = nodeid or self._cluster.nodeid
        here = nodeid in self._cluster.members()
        there = self._configured(nodeid)
        if there is None and not here:
            raise NotExist(f"node {nodeid} is neither configured nor here")
        ours = self._configured(self._cluster.nodeid) or ()
        links = [
            LinkStatus(
                enabled=True,
                connected=here,
                dynconnected=False,
                mtu=self._totem.netmtu,
                source=str(source),
                destination=str(destination),
            )
            for source, destination in zip(ours, there or (), strict=False)
        ]
        return NodeStatus(
            nodeid=nodeid,
            reachable=here,
            remote=False,
            external=False,
            wireMin=_WIRE,
            wireMax=_WIRE,
            wireVersion=_WIRE,
            links=tuple(links),
        )

    def ring(self) -> tuple[RingStatus, ...]:
        """
        See L{corotwist.engines.operatorinterfaces.IOperator.ringStatus}.
        """
        ours = self._configured(self._cluster.nodeid) or ()
        return tuple(
            RingStatus(f"{link} {address}", FINE) for link, address in enumerate(ours)
        )

    def addresses(self, nodeid: int) -> tuple[str, ...]:
        """
        See L{corotwist.engines.operatorinterfaces.IOperator.nodeAddresses}.
        """
        found = self._configured(nodeid or self._cluster.nodeid)
        if found is None:
            raise NotExist(f"no node {nodeid} in the node list")
        return tuple(map(str, found))

    def _configured(self, nodeid: int) -> Sequence[Address] | None:
        try:
            return self._cluster.addresses(nodeid)
        except NotExist:
            return None
