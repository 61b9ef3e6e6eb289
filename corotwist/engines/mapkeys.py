"""
The keys of a node, for clients: reading, writing and following, and whom writing
concerns.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import implementer

from corotwist.config.tracking import ChangeKind
from corotwist.config.values import Value, u8
from corotwist.engines.holdings import AllHoldings, Holdings
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
from corotwist.errors import InvalidParameter, NotExist, NotSupported
from corotwist.interfaces import ICluster, IConnection

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


@implementer(IConfigurationMap)
class MapKeys:
    """
    Writing goes to whom it concerns: keys that all nodes have alike are ordered
    first, those that change what the node does are checked and applied by it,
    all others are just kept.

    @ivar cluster: what is asked of the node.
    """

    name: ClassVar[str] = "cmap"
    cluster: ICluster

    def openMaps(self) -> None:
        """
        Be ready for clients.
        """
        database = self.cluster.database
        self._maps = {
            ICMAP: database.map.forClients(),
            STATS: database.statistics.forClients(),
        }
        self.interest = Interest(self.refreshLater)
        self.holdings = AllHoldings()
        self._refreshing: Any = None

    def closeMaps(self) -> None:
        """
        Do nothing more by ourselves, and nothing for clients that are ours.
        """
        self.holdings.release()
        self.cluster.cancel(self._refreshing)

    def privateData(self, connection: IConnection) -> Holdings:
        return self.holdings.opened()

    def connectionClosed(self, connection: IConnection) -> None:
        self.holdings.closed(connection.private[self.name])

    # From local clients: reading.

    def _map(self, mapName: str) -> Any:
        try:
            return self._maps[mapName]
        except KeyError:
            raise NotExist(
                f"no map {mapName[:40]!r}; there are {ICMAP}, {STATS}"
            ) from None

    def get(self, mapName: str, name: str) -> tuple[Value, int]:
        version = self._version(name) if mapName == ICMAP else 0
        return self._map(mapName).get(name), version

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
        if not self.interest.counts[mapName]:
            # What is computed is compared with what it was when somebody asked.
            keys.refresh()
        track = keys.track(name, kinds, told, prefix=prefix)
        self.interest.add(mapName, 1)
        return Following(self.interest, mapName, track)

    def refreshLater(self) -> None:
        """
        Compare what is computed, in a while.
        """
        self.cluster.cancel(self._refreshing)
        self._refreshing = self.cluster.callAfter(REFRESH_NS, self._refresh)

    def _refresh(self) -> None:
        for mapName, count in self.interest.counts.items():
            if count:
                self._maps[mapName].refresh()
        if any(self.interest.counts.values()):
            self.refreshLater()

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
            condition.check(name, present(keys, name))
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


def present(keys: Any, name: str) -> Value | None:
    """
    What a key has, if it is there.
    """
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
