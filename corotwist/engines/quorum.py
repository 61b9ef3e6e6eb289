"""
May this partition act?  Asked here, answered by the provider of quorum.
"""

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.executive import QUORUM
from corotwist.engines.interfaces import IQuorum
from corotwist.errors import NotExist
from corotwist.interfaces import (
    ICluster,
    IConnection,
    IServiceEngine,
    ISynchronized,
)
from corotwist.totem.membership import Configuration, RingId


@implementer(IServiceEngine, ISynchronized, IQuorum)
class QuorumEngine:
    """
    Has nothing to say to other nodes, but takes its place when they
    synchronize.  Without a provider every partition is quorate.
    """

    name = "quorum"
    serviceId = QUORUM
    version = 1
    priority = 1
    flowControl = False
    allowInquorate = True

    def __init__(self) -> None:
        self._cluster: ICluster

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        self._cluster = cluster
        self._provider = settings.quorum.provider

    def shutdown(self) -> bool:
        return True

    def dump(self) -> Mapping[str, Any]:
        return {"provider": self._provider or "", **self.explanation()}

    def privateData(self, connection: IConnection) -> None:
        return None

    def connectionClosed(self, connection: IConnection) -> None:
        """
        Clients have nothing here yet.
        """

    # For everybody on this node.

    def quorate(self) -> bool:
        voting = self._voting()
        return True if voting is None else voting.quorate()

    def explanation(self) -> dict[str, int | bool | str]:
        voting = self._voting()
        if voting is None:
            return {"quorate": True, "rule": "no quorum provider is configured"}
        return voting.explanation()

    def _voting(self) -> IQuorum | None:
        try:
            voting: IQuorum = IQuorum(self._cluster.engine("votequorum"))
        except NotExist:
            return None
        return voting

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        The provider judges.
        """

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        """
        Nobody sends anything.
        """

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        """
        Nor in short.
        """

    def compactMissed(self, body: bytes) -> None:
        """
        Never sent.
        """

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        """
        Nothing to prepare.
        """

    def synchronize(self) -> bool:
        return True

    def synchronizationCompleted(self) -> None:
        """
        The provider knows.
        """

    def synchronizationAborted(self) -> None:
        """
        Nothing to forget.
        """
