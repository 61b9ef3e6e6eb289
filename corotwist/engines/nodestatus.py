"""
How nodes and links are, as corosync's cfg service tells it.
"""

from typing import Final

from corotwist.engines.operatorinterfaces import LinkStatus, NodeStatus, RingStatus
from corotwist.interfaces import ICluster

# What a transport with one link to everybody says of it.
FINE: Final = "OK"
# Of the wire of C{udpu} and C{udp} there is one version, without a number.
_WIRE: Final = 0


class Statuses:
    """
    Answers from what is known below the services.
    """

    def __init__(self, cluster: ICluster) -> None:
        self._cluster = cluster

    def node(self, nodeid: int) -> NodeStatus:
        """
        See L{corotwist.engines.operatorinterfaces.IOperator.nodeStatus}.
        """
        below = self._cluster.nodeStatus(nodeid or self._cluster.nodeid)
        links = [
            LinkStatus(
                enabled=link.enabled,
                connected=link.connected,
                dynconnected=False,
                mtu=link.mtu,
                source=link.source,
                destination=link.destination,
            )
            for link in below.links
        ]
        return NodeStatus(
            nodeid=below.nodeid,
            reachable=below.reachable,
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
        ours = self._cluster.addresses(self._cluster.nodeid)
        return tuple(
            RingStatus(f"{link} {address}", FINE) for link, address in enumerate(ours)
        )

    def addresses(self, nodeid: int) -> tuple[str, ...]:
        """
        See L{corotwist.engines.operatorinterfaces.IOperator.nodeAddresses}.
        """
        found = self._cluster.addresses(nodeid or self._cluster.nodeid)
        return tuple(map(str, found))
