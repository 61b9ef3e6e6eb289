"""
Keys that are the same on all nodes: C{cluster.} in the configuration map.

A write is a safe command: it takes effect on delivery, so that all members of a
ring have the same keys after the same message; who asked for it hears then what
came of it.  A partition without quorum takes no writes.  Who joins gets all keys
L{in pieces<corotwist.engines.transfer>}.

Where partitions meet, the state of the one that had quorum goes on; where
nothing tells that, the one with more writes.  What the others wrote alone is
undone, and their trackers see it.

Nodes of real corosync ignore all of this: they have no such service.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.config.values import Value
from corotwist.engines import lineage
from corotwist.engines.keyspace import (
    ANYWAY,
    REPLICATED,
    Condition,
    IReplicatedKeys,
)
from corotwist.engines.lineage import Side
from corotwist.engines.replica import Deed, Operation, Replica, difference
from corotwist.engines.transfer import ReplicatedEngine
from corotwist.errors import ServiceError, TryAgain
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Guarantee

# Above corosync's own, below those of third parties; and below the 64 services
# that real corosync nodes have room for.
REPLICATED_SERVICE: Final = 33


@implementer(IReplicatedKeys)
class ReplicatedKeysEngine(ReplicatedEngine):
    """
    Proposes writes for local clients, and shows the keys in the map.
    """

    name = "replicated"
    serviceId = REPLICATED_SERVICE
    priority = 2
    guarantee = Guarantee.SAFE
    allowInquorate = False

    def __init__(self) -> None:
        super().__init__()
        self._log = Logger()
        self._replica = Replica()
        self._votes = False

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._votes = bool(settings.quorum.provider)
        cluster.database.map.protect(REPLICATED, prefix=True)

    def dump(self) -> Mapping[str, Any]:
        return {
            **super().dump(),
            "revision": self._replica.revision,
            "keys": len(self._replica.keys),
            "bytes": self._replica.size,
        }

    # From local clients.

    def versionOf(self, name: str) -> int:
        if not self.current:
            raise TryAgain(f"the keys below {REPLICATED} are on their way here")
        return self._replica.version(name)

    def set(
        self, name: str, value: Value | None, condition: Condition = ANYWAY
    ) -> Deferred[int]:
        deed = Deed.DELETE if value is None else Deed.SET
        operation = Operation(deed, name, value, condition=condition)
        written: Deferred[Any] = self.propose(operation.encode())
        return written.addCallback(lambda _: self._replica.version(name))

    def adjust(self, name: str, step: int) -> Deferred[Value]:
        return self.propose(Operation(Deed.ADJUST, name, step=step).encode())

    # The state.

    def snapshot(self) -> bytes:
        return self._replica.encode()

    def restore(self, state: bytes) -> None:
        replica = Replica.decode(state)
        shown = dict(self.cluster.database.map.items(REPLICATED))
        changes = list(difference(shown, replica.values()))
        if self._replica.revision and changes:
            self._log.warn(
                "Of the keys below {prefix}, {count} change to what others have",
                prefix=REPLICATED,
                count=len(changes),
            )
        self._replica = replica
        self._publish(changes)

    def apply(self, nodeid: int, command: bytes) -> Value | None:
        operation = Operation.decode(command)
        value = self._replica.apply(operation)
        self._publish([(operation.name, value)])
        return value

    def choose(self, sides: Sequence[Side]) -> Side:
        return super().choose(sides) if self._votes else lineage.longest(sides)

    def _publish(self, changes: Iterable[tuple[str, Value | None]]) -> None:
        """
        Show it in the map, all at once.
        """
        keys = self.cluster.database.map
        try:
            with keys.transaction():
                for name, value in changes:
                    if value is not None:
                        keys.set(name, value)
                    else:
                        keys.delete(name)
        except ServiceError:
            self._log.failure("Replicated keys are not all shown in the map")
