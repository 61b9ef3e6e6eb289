"""
May this partition act?  Asked here, answered by the provider of quorum.
"""

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.executive import QUORUM
from corotwist.engines.interfaces import IQuorum
from corotwist.errors import NotExist
from corotwist.interfaces import ICluster, IReplaceable


@implementer(IQuorum, IReplaceable)
class QuorumEngine(SynchronizedEngine):
    """
    Has nothing to say to other nodes, but takes its place when they
    synchronize.  Without a provider every partition is quorate.
    """

    name = "quorum"
    serviceId = QUORUM

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._provider = settings.quorum.provider

    def dump(self) -> Mapping[str, Any]:
        return {"provider": self._provider or "", **self.explanation()}

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        All that we know is in the configuration, or asked for.
        """
        return {"format": 1}

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        """
        There is nothing to take over.
        """

    # For everybody on this node.

    def quorate(self) -> bool:
        voting = self._voting()
        return not self._provider if voting is None else voting.quorate()

    def counting(self) -> bool:
        voting = self._voting()
        return not self._provider if voting is None else voting.counting()

    def explanation(self) -> dict[str, int | bool | str]:
        voting = self._voting()
        if voting is None and self._provider:
            return {"quorate": False, "rule": "the quorum provider is not there"}
        if voting is None:
            return {"quorate": True, "rule": "no quorum provider is configured"}
        return voting.explanation()

    def _voting(self) -> IQuorum | None:
        try:
            voting: IQuorum = IQuorum(self.cluster.engine("votequorum"))
        except NotExist:
            return None
        return voting
