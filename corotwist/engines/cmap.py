"""
The configuration map: typed keys that clients read, write and follow, and each
node's configuration version, which the others know.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import pack
from typing import Any, ClassVar, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.config.tracking import ALL, ChangeKind
from corotwist.config.values import Value, ValueType, u8
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.executive import (
    CMAP,
    CMAP_ABSENT,
    CMAP_U64,
    CmapItem,
    CmapMcast,
    CmapReason,
)
from corotwist.engines.holdings import Holdings
from corotwist.engines.keyspace import (
    ANYWAY,
    ICMAP,
    REPLICATED,
    STATS,
    Condition,
    IConfigurationMap,
    IVoting,
    Stoppable,
    Told,
)
from corotwist.engines.published import Published
from corotwist.engines.versions import Versions
from corotwist.errors import InvalidParameter, NotExist, NotSupported, TryAgain
from corotwist.interfaces import (
    ICluster,
    IConnection,
    IReconfigurable,
    IReplaceable,
)
from corotwist.totem.membership import Configuration, RingId

CONFIG_VERSION: Final = "totem.config_version"
CANCEL_WAITING: Final = "quorum.cancel_wait_for_all"
# While somebody follows keys that are computed when they are read, these are
# compared with what they were so often.
REFRESH_NS: Final = 1_000_000_000

# Written in corosync to set off something that this node does not have.
_WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "pload.": "this node has no load test; use corotwist bench",
    "resources.": "this node watches no resources",
}


@define(eq=False)
class Interest:
    """
    Who follows which map: outlives the engine.

    @ivar begun: called when there is some where there was none.
    """

    begun: Callable[[], None]
    counts: dict[str, int] = field(factory=lambda: {ICMAP: 0, STATS: 0})

    def add(self, mapName: str, step: int) -> None:
        """
        One more, or less.
        """
        idle = not any(self.counts.values())
        self.counts[mapName] += step
        if idle:
            self.begun()


@define(eq=False)
class Following:
    """
    A tracker of a client.
    """

    _interest: Interest
    _mapName: str
    _track: Stoppable
    _stopped: bool = False

    def stop(self) -> None:
        """
        See L{Stoppable}.
        """
        if not self._stopped:
            self._stopped = True
            self._track.stop()
            self._interest.add(self._mapName, -1)


@implementer(IConfigurationMap, IReconfigurable, IReplaceable)
class ConfigurationMapEngine(SynchronizedEngine):
    """
    The keys of one node.

    Writing goes to whom it concerns: keys that all nodes have alike are ordered
    first, those that change what the node does are checked and applied by it,
    all others are just kept.
    """

    name = "cmap"
    serviceId = CMAP
    requires: ClassVar[tuple[str, ...]] = ()

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._database = cluster.database
        self._maps = {
            ICMAP: self._database.map.forClients(),
            STATS: self._database.statistics.forClients(),
        }
        self._interest = Interest(self._refreshLater)
        self._refreshing: Any = None
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
        self.cluster.cancel(self._refreshing)

    def dump(self) -> Mapping[str, Any]:
        return {
            "configVersion": self._versions.own,
            "members": {str(n): v for n, v in sorted(self._versions.members.items())},
            "followed": dict(self._interest.counts),
        }

    def privateData(self, connection: IConnection) -> Holdings:
        return Holdings()

    def connectionClosed(self, connection: IConnection) -> None:
        connection.private[self.name].release()

    # From local clients: reading.

    def _map(self, mapName: str) -> Any:
        try:
            return self._maps[mapName]
        except KeyError:
            raise NotExist(
                f"no map {mapName[:40]!r}; there are {ICMAP}, {STATS}"
            ) from None

    def get(self, mapName: str, name: str) -> tuple[Value, int]:
        value = self._map(mapName).get(name)
        return value, self._version(name) if mapName == ICMAP else 0

    def _version(self, name: str) -> int:
        if not name.startswith(REPLICATED):
            return 0
        version: int = self._replicated().versionOf(name)
        return version

    def items(self, mapName: str, prefix: str) -> tuple[tuple[str, Value], ...]:
        found: tuple[tuple[str, Value], ...] = self._map(mapName).items(prefix)
        return found

    def track(
        self,
        mapName: str,
        name: str,
        kinds: ChangeKind,
        told: Told,
        *,
        prefix: bool = False,
    ) -> Following:
        keys = self._map(mapName)
        # What is computed is compared with what it was when somebody asked.
        keys.refresh()
        track = keys.track(name, kinds, told, prefix=prefix)
        self._interest.add(mapName, 1)
        return Following(self._interest, mapName, track)

    def _refreshLater(self) -> None:
        self.cluster.cancel(self._refreshing)
        self._refreshing = self.cluster.callAfter(REFRESH_NS, self._refresh)

    def _refresh(self) -> None:
        for mapName, count in self._interest.counts.items():
            if count:
                self._maps[mapName].refresh()
        if any(self._interest.counts.values()):
            self._refreshLater()

    # From local clients: writing.

    def set(
        self,
        mapName: str,
        name: str,
        value: Value | None,
        condition: Condition = ANYWAY,
    ) -> Deferred[int]:
        if mapName == ICMAP and name.startswith(REPLICATED):
            return self._ordered("set", name, value, condition)
        return maybeDeferred(self._write, mapName, name, value, condition)

    def adjust(self, mapName: str, name: str, step: int) -> Deferred[Value]:
        if mapName == ICMAP and name.startswith(REPLICATED):
            return self._ordered("adjust", name, step)
        return maybeDeferred(self._adjust, mapName, name, step)

    def _ordered(self, call: str, *arguments: Any) -> Deferred[Any]:
        try:
            done: Deferred[Any] = getattr(self._replicated(), call)(*arguments)
        except NotSupported as error:
            return fail(error)
        return done

    def _replicated(self) -> Any:
        try:
            return self.cluster.engine("replicated")
        except NotExist:
            raise NotSupported(f"nothing replicates {REPLICATED} here") from None

    def _adjust(self, mapName: str, name: str, step: int) -> Value:
        value: Value = self._map(mapName).get(name).adjusted(step)
        self._write(mapName, name, value)
        return value

    def _write(
        self,
        mapName: str,
        name: str,
        value: Value | None,
        condition: Condition = ANYWAY,
    ) -> int:
        keys = self._map(mapName)
        if condition is not ANYWAY:
            condition.check(name, _present(keys, name))
        if mapName == ICMAP:
            self._writeMap(keys, name, value)
        else:
            _put(keys, name, value)
        return 0

    def _writeMap(self, keys: Any, name: str, value: Value | None) -> None:
        for prefix, reason in _WITHOUT_EFFECT.items():
            if name.startswith(prefix):
                raise NotSupported(f"{name}: {reason}")
        operations = self.cluster.operations
        if name == CANCEL_WAITING:
            self._cancelWaiting(value)
        elif operations is not None and operations.follows(name):
            keys.checkWritable(name)
            operations.changed({name: value})
        else:
            _put(keys, name, value)

    def _cancelWaiting(self, value: Value | None) -> None:
        """
        Act without those who are not there: everybody is told.
        """
        if value != u8(1):
            raise InvalidParameter(f"{CANCEL_WAITING} takes a u8 of 1")
        try:
            voting = IVoting(self.cluster.engine("votequorum"))
        except NotExist:
            raise NotSupported("nobody counts votes here") from None
        voting.cancelWaiting()

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
            self._published.votesChanged(self.cluster.nodeid, voting.explanation())

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
        value = _present(self._database.map, CONFIG_VERSION)
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
        C{versions} of the configuration, C{joins} of each node so far, and the
        C{interest} of clients, whose trackers go on.
        """
        self._stopWatching()
        return {
            "versions": self._versions,
            "joins": self._published.handOver(),
            "interest": self._interest,
        }

    def takeOver(self, state: Any, version: int) -> None:
        self._stopWatching()
        self._watch()
        self._versions = state["versions"]
        self._published.takeOver(state["joins"])
        self._interest = state["interest"]
        self._interest.begun = self._refreshLater
        self._refreshLater()


def _nothing() -> None:
    """
    What has to be done to stop nothing.
    """


def _present(keys: Any, name: str) -> Value | None:
    try:
        value: Value = keys.get(name)
    except NotExist:
        return None
    return value


def _put(keys: Any, name: str, value: Value | None) -> None:
    if value is None:
        keys.delete(name)
    else:
        keys.set(name, value)
