"""
The configuration map: typed keys that clients read, write and follow, and each
node's configuration version, which the others know.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import pack
from typing import Any, Final

from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.config.tracking import ALL
from corotwist.config.values import ValueType
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.executive import (
    CMAP,
    CMAP_ABSENT,
    CMAP_U64,
    CmapItem,
    CmapMcast,
    CmapReason,
)
from corotwist.engines.keyspace import IVoting
from corotwist.engines.mapkeys import MapKeys, present
from corotwist.engines.published import Published
from corotwist.engines.versions import Versions
from corotwist.errors import NotExist, TryAgain
from corotwist.interfaces import ICluster, IReconfigurable, IReplaceable
from corotwist.totem.membership import Configuration, RingId

CONFIG_VERSION: Final = "totem.config_version"


@implementer(IReconfigurable, IReplaceable)
class ConfigurationMapEngine(MapKeys, SynchronizedEngine):
    """
    Shows in the map what happens to the node, and tells the others the version
    of its configuration.
    """

    name = "cmap"
    serviceId = CMAP

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self.openMaps()
        self._database = cluster.database
        own = self._configured() or settings.configVersion
        self._versions = Versions(cluster.nodeid, own)
        self._published = Published(self._database, settings)
        self._published.reconfigured(settings)
        self._watch()

    def shutdown(self) -> bool:
        self._stopWatching()
        return True

    def _watch(self) -> None:
        """
        See what concerns us, as long as we serve.
        """
        keys = self._database.map
        self._track = keys.track(CONFIG_VERSION, ALL, self._versionWritten)
        self._voting = self._watchVotes()

    def _stopWatching(self) -> None:
        self._track.stop()
        self._voting()
        self.closeMaps()

    def dump(self) -> Mapping[str, Any]:
        return {
            "configVersion": self._versions.own,
            "members": {str(n): v for n, v in sorted(self._versions.members.items())},
            "followed": dict(self.interest.counts),
        }

    # Votes.

    def _watchVotes(self) -> Callable[[], None]:
        """
        @return: stops it.
        """
        try:
            voting = IVoting(self.cluster.engine("votequorum"))
        except NotExist:
            return _nothing
        self._database.protectVotes()

        def changed() -> None:
            # Another version of it may count by now.
            serving = IVoting(self.cluster.engine("votequorum"))
            self._published.votesChanged(self.cluster.nodeid, serving.explanation())

        stop: Callable[[], None] = voting.follow(changed)
        return stop

    # The node's own.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        Any will do.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        """
        Show what is in force now.
        """
        self._published.reconfigured(settings)

    def _configured(self) -> int:
        """
        The version that the map has.
        """
        value = present(self._database.map, CONFIG_VERSION)
        if value is None or value.kind is not ValueType.UINT64:
            return 0
        assert isinstance(value.content, int), "of that type"
        return value.content

    def _versionWritten(self, changes: Sequence[Any]) -> None:
        self._versions.own = self._configured()
        self._tellVersion()

    def _tellVersion(self) -> None:
        if self.cluster.synchronizing():
            return  # Which tells it.
        try:
            self._multicast(CmapReason.NEW_VERSION)
        except TryAgain:
            self.cluster.whenRoom(self._tellVersion)

    def _multicast(self, reason: CmapReason) -> None:
        own = self._versions.own
        name = CONFIG_VERSION.encode()
        item = CmapItem(name, CMAP_U64, pack("<Q", own))
        if not own:
            item = CmapItem(name, CMAP_ABSENT, b"")
        self.cluster.multicast(CmapMcast.FUNCTION, CmapMcast(reason, (item,)).encode())

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        for nodeid in configuration.left:
            self._versions.left(nodeid)
        self._published.configurationChanged(configuration)

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if function != CmapMcast.FUNCTION:
            return
        for item in CmapMcast.decode(body, byteOrder).items:
            if item.key == CONFIG_VERSION.encode():
                version = item.number(byteOrder)
                self._versions.heard(nodeid, version)
                self._published.versionHeard(nodeid, version)

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._versions.meeting(others=bool(transitional))

    def synchronize(self) -> bool:
        try:
            self._multicast(CmapReason.SYNC)
        except TryAgain:
            return False
        return True

    def synchronizationCompleted(self) -> None:
        reason = self._versions.met()
        if reason is not None:
            self.cluster.shutdownRequested(reason)

    def synchronizationAborted(self) -> None:
        self._versions.interrupted()

    # To another version of us.

    def handOver(self) -> Any:
        """
        C{versions} of the configuration, C{joins} of each node so far, and of
        clients, whose trackers go on, the C{interest} and the C{holdings}.
        """
        holdings = self.holdings.handOver()
        self._stopWatching()
        return {
            "holdings": holdings,
            "versions": self._versions,
            "joins": self._published.handOver(),
            "interest": self.interest,
        }

    def takeOver(self, state: Any, version: int) -> None:
        self._stopWatching()
        self._watch()
        self._versions = state["versions"]
        self._published.takeOver(state["joins"])
        self.interest = state["interest"]
        self.holdings = state["holdings"]
        self.interest.begun = self.refreshLater
        self.refreshLater()


def _nothing() -> None:
    """
    What has to be done to stop nothing.
    """
