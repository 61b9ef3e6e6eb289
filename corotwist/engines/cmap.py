"""
The configuration map, as far as other nodes see it: each node's configuration
version.
"""

from collections.abc import Mapping
from struct import pack
from typing import Any, Final

from corotwist.config.settings import NodeSettings
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.executive import (
    CMAP,
    CMAP_ABSENT,
    CMAP_U64,
    CmapItem,
    CmapMcast,
    CmapReason,
)
from corotwist.errors import TryAgain
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Configuration, RingId

CONFIG_VERSION: Final = b"totem.config_version"


class ConfigurationMapEngine(SynchronizedEngine):
    """
    Tells the others our C{totem.config_version}, and learns theirs.

    A node that comes to a cluster with an older configuration than another
    member's stops, before it does harm.  A version of 0 takes no part in that.
    """

    name = "cmap"
    serviceId = CMAP

    def __init__(self) -> None:
        self._own = 0
        self._versions: dict[int, int] = {}
        self._highest = 0
        self._mayJudge = True
        self._judging = False

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._own = settings.configVersion

    def dump(self) -> Mapping[str, Any]:
        return {
            "configVersion": self._own,
            "members": {str(n): v for n, v in sorted(self._versions.items())},
        }

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        A node that is gone takes its version with it.
        """
        for nodeid in configuration.left:
            self._versions.pop(nodeid, None)

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if function != CmapMcast.FUNCTION:
            return
        for item in CmapMcast.decode(body, byteOrder).items:
            if item.key == CONFIG_VERSION:
                self._versionHeard(nodeid, item.number(byteOrder))

    def _versionHeard(self, nodeid: int, version: int) -> None:
        self._versions[nodeid] = version
        if nodeid != self.cluster.nodeid:
            self._highest = max(self._highest, version)

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._highest = self._own
        self._judging = self._mayJudge and bool(transitional)

    def synchronize(self) -> bool:
        try:
            self.cluster.multicast(
                CmapMcast.FUNCTION, CmapMcast(CmapReason.SYNC, (self._item(),)).encode()
            )
        except TryAgain:
            return False
        return True

    def synchronizationCompleted(self) -> None:
        if not self._judging:
            return
        self._mayJudge = self._judging = False
        if self._own and self._highest != self._own:
            self.cluster.shutdownRequested(
                f"our configuration is version {self._own}, "
                f"another member's is version {self._highest}"
            )

    def synchronizationAborted(self) -> None:
        self._judging = False

    def _item(self) -> CmapItem:
        if not self._own:
            return CmapItem(CONFIG_VERSION, CMAP_ABSENT, b"")
        return CmapItem(CONFIG_VERSION, CMAP_U64, pack("<Q", self._own))
