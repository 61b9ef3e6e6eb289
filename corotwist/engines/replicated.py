"""
Keys that are the same on all nodes: C{cluster.} in the configuration map.

A write is a safe message in the total order and takes effect on delivery, so
that all members of a ring have the same keys after the same message; who asked
for it hears then what came of it.  A partition without quorum takes no writes.

Where partitions meet, the state of the one that had quorum goes on; where
nothing tells that, the one with more writes.  What the others wrote alone is
undone, and their trackers see it.

Nodes of real corosync ignore all of this: they have no such service.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any, ClassVar, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.config.values import Value
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.interfaces import IQuorum
from corotwist.engines.keyspace import (
    ANYWAY,
    REPLICATED,
    Condition,
    IReplicatedKeys,
)
from corotwist.engines.replica import (
    Deed,
    Operation,
    Replica,
    States,
    difference,
    pieces,
)
from corotwist.errors import (
    BadHandle,
    Interrupted,
    NotExist,
    NotQuorate,
    ServiceError,
    TruncatedFrame,
    TryAgain,
    UnknownFrame,
)
from corotwist.interfaces import ICluster, IReplaceable
from corotwist.totem.membership import (
    NO_RING,
    Configuration,
    Guarantee,
    RingId,
)

# Above corosync's own, below those of third parties; and below the 64 services
# that real corosync nodes have room for.
REPLICATED_SERVICE: Final = 33
# Writes of this node that are not ordered yet.
PENDING_WRITES: Final = 1024
PIECE_BYTES: Final = 60 << 10

# Our executive functions.
WRITE, STATE, COMPLETED = range(3)

_RING: Final = Struct("<QI")
_MORE: Final = Struct("<B")


@define(eq=False)
class _Pending:
    """
    A write that its client waits for.
    """

    operation: Operation
    done: Deferred[Any] = field(factory=Deferred)

    def succeed(self, result: Any) -> None:
        """
        It is done.
        """
        if not self.done.called:
            self.done.callback(result)

    def fail(self, error: Exception) -> None:
        """
        It is not.
        """
        if not self.done.called:
            self.done.errback(error)


@implementer(IReplicatedKeys, IReplaceable)
class ReplicatedKeysEngine(SynchronizedEngine):
    """
    Orders writes, and tells newcomers what was written before they came.

    A member's state is ours when we both completed the last round of
    synchronization and have been together since: only the lowest of those tells
    it.  Who completed the round says so afterwards; members without this engine,
    as nodes of real corosync, do not, and nobody relies on them.
    """

    name = "replicated"
    serviceId = REPLICATED_SERVICE
    priority = 2

    def __init__(self) -> None:
        self._log = Logger()
        self._replica = Replica()
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[int] = deque()
        self._sending = False
        self._requests = 0
        # The ring whose round we completed, and who said that it did, too.
        self._ring = NO_RING
        self._agreeing: set[int] = set()
        self._between = False
        self._states = States()
        self._telling: list[bytes] = []

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        cluster.database.map.protect(REPLICATED, prefix=True)

    def shutdown(self) -> bool:
        """
        Nothing more is ordered for us.
        """
        pending, self._pending = self._pending, {}
        for waits in pending.values():
            waits.fail(BadHandle("the node stops"))
        return True

    def dump(self) -> Mapping[str, Any]:
        return {
            "epoch": self._replica.epoch,
            "revision": self._replica.revision,
            "keys": len(self._replica.keys),
            "bytes": self._replica.size,
            "pending": len(self._pending),
            "agreeing": sorted(self._agreeing),
        }

    # From local clients.

    def versionOf(self, name: str) -> int:
        return self._replica.version(name)

    def set(
        self, name: str, value: Value | None, condition: Condition = ANYWAY
    ) -> Deferred[int]:
        deed = Deed.DELETE if value is None else Deed.SET
        return self._ask(deed, name, value, condition=condition).addCallback(
            lambda _: self.versionOf(name)
        )

    def adjust(self, name: str, step: int) -> Deferred[Value]:
        return self._ask(Deed.ADJUST, name, step=step)

    def _ask(
        self,
        deed: Deed,
        name: str,
        value: Value | None = None,
        *,
        step: int = 0,
        condition: Condition = ANYWAY,
    ) -> Deferred[Any]:
        if len(self._pending) >= PENDING_WRITES:
            return fail(TryAgain(f"{PENDING_WRITES} writes wait already"))
        if not self.cluster.synchronizing() and not self._quorate():
            return fail(_notQuorate())
        self._requests += 1
        operation = Operation(self._requests, deed, name, value, step, condition)
        pending = self._pending[self._requests] = _Pending(operation)
        self._send(self._requests)
        return pending.done

    def _quorate(self) -> bool:
        quorum = self._quorum()
        return quorum is None or quorum.quorate()

    def _quorum(self) -> Any:
        """
        Who tells which partition may act; L{None} when nobody does.
        """
        try:
            return IQuorum(self.cluster.engine("votequorum"))
        except NotExist:
            return None

    # To the ring.

    def _send(self, request: int) -> None:
        self._unsent.append(request)
        if not self._sending:
            self._flush()

    def _flush(self) -> None:
        """
        Send what waits, as far as there is room.
        """
        self._sending = False
        while self._unsent:
            if self.cluster.synchronizing() or not self._sent(self._unsent[0]):
                self._sending = True
                self.cluster.whenRoom(self._flush)
                return
            self._unsent.popleft()

    def _sent(self, request: int) -> bool:
        pending = self._pending.get(request)
        if pending is None:
            return True  # Nobody waits for it any more.
        body = self._onThisRing() + pending.operation.encode()
        try:
            self.cluster.multicast(WRITE, body, Guarantee.SAFE)
        except TryAgain:
            return False
        return True

    def _onThisRing(self) -> bytes:
        ringId = self.cluster.ringId()
        return _RING.pack(ringId.sequence, ringId.representative)

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        Between the transitional and the regular configuration, nobody knows who
        else has what is delivered.
        """
        self._between = configuration.transitional

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if function not in self._EXECUTIVE:
            raise UnknownFrame(f"replicated keys have no function {function}")
        if len(body) < _RING.size:
            raise TruncatedFrame(f"{len(body)} bytes of replicated keys")
        ringId = RingId(*_RING.unpack_from(body))
        self._EXECUTIVE[function](self, nodeid, ringId, body[_RING.size :])

    def _writeDelivered(self, nodeid: int, ringId: RingId, body: bytes) -> None:
        own = nodeid == self.cluster.nodeid
        try:
            operation = Operation.decode(body)
        except ServiceError as error:
            raise UnknownFrame(f"a write of a replicated key: {error}") from error
        if ringId != self._ring:
            # Nobody in step takes it; it waited in the queue while we changed.
            if own and operation.request in self._pending:
                self._send(operation.request)
            return
        outcome = self._outcome(operation)
        pending = self._pending.pop(operation.request, None) if own else None
        if pending is None:
            return
        if isinstance(outcome, ServiceError):
            pending.fail(outcome)
        elif self._between and self._quorum() is not None:
            pending.fail(
                Interrupted(
                    f"the ring changed while {operation.name}"
                    " was written; it may be undone"
                )
            )
        else:
            pending.succeed(outcome)

    def _outcome(self, operation: Operation) -> Value | ServiceError | None:
        """
        Do it here, as everybody does.
        """
        quorum = self._quorum()
        if quorum is not None:
            if not quorum.quorate():
                return _notQuorate()
            self._replica.epoch = self._ring.sequence
        try:
            value = self._replica.apply(operation)
        except ServiceError as error:
            return error
        self._publish([(operation.name, value)])
        return value

    def _publish(self, changes: list[tuple[str, Value | None]]) -> None:
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

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._states = States()
        own = self.cluster.nodeid
        alike = {own, *(self._agreeing & {*transitional})}
        self._telling = []
        if own == min(alike) and alike != {*members}:
            self._telling = list(self._told(ringId))

    def _told(self, ringId: RingId) -> Iterator[bytes]:
        ring = _RING.pack(ringId.sequence, ringId.representative)
        for piece, more in pieces(self._replica.encode(), PIECE_BYTES):
            yield ring + _MORE.pack(more) + piece

    def synchronize(self) -> bool:
        while self._telling:
            try:
                self.cluster.multicast(STATE, self._telling[0])
            except TryAgain:
                return False
            self._telling.pop(0)
        return True

    def _stateDelivered(self, nodeid: int, ringId: RingId, body: bytes) -> None:
        if ringId == self.cluster.ringId() and body:
            self._states.heard(nodeid, body[1:], more=bool(body[0]))

    def synchronizationCompleted(self) -> None:
        self._between = False
        self._ring = self.cluster.ringId()
        self._agreeing = set()
        best, self._states = self._states.best(), States()
        if best is not None:
            self._adopt(*best)
        self._tellCompleted()

    def synchronizationAborted(self) -> None:
        self._states = States()
        self._telling = []

    def _adopt(self, nodeid: int, replica: Replica) -> None:
        """
        Go on with the state of a member.
        """
        changes = list(difference(self._replica.values(), replica.values()))
        if self._replica.revision and changes:
            self._log.warn(
                "Of the keys below {prefix}, {count} change to what node {nodeid} has",
                prefix=REPLICATED,
                count=len(changes),
                nodeid=nodeid,
            )
        self._replica = replica
        if changes:
            self._publish(changes)

    def _tellCompleted(self) -> None:
        if self.cluster.ringId() != self._ring:
            return  # Asked for room, and found another ring.
        body = _RING.pack(self._ring.sequence, self._ring.representative)
        try:
            self.cluster.multicast(COMPLETED, body)
        except TryAgain:
            self.cluster.whenRoom(self._tellCompleted)

    def _completedDelivered(self, nodeid: int, ringId: RingId, body: bytes) -> None:
        if ringId == self._ring:
            self._agreeing.add(nodeid)
        else:
            self._agreeing.discard(nodeid)

    _EXECUTIVE: ClassVar[Mapping[int, Any]] = {
        WRITE: _writeDelivered,
        STATE: _stateDelivered,
        COMPLETED: _completedDelivered,
    }

    # To another version of us.

    def handOver(self) -> Any:
        """
        The keys as C{state}, a L{Replica} in bytes; C{ring}, sequence and
        representative of the one we are in step with, and the nodes C{agreeing}
        that are, too; the number of C{requests} so far; of those that are not
        ordered, by number, what is C{pending}: an L{Operation} in bytes, and
        the L{Deferred} of who waits for it; and the numbers C{unsent}.
        """
        pending, self._pending = self._pending, {}
        unsent, self._unsent = list(self._unsent), deque()
        return {
            "state": self._replica.encode(),
            "ring": (self._ring.sequence, self._ring.representative),
            "agreeing": sorted(self._agreeing),
            "requests": self._requests,
            "pending": {
                request: (waits.operation.encode(), waits.done)
                for request, waits in pending.items()
            },
            "unsent": unsent,
        }

    def takeOver(self, state: Any, version: int) -> None:
        replica = Replica.decode(state["state"])
        pending = {
            request: _Pending(Operation.decode(operation), done)
            for request, (operation, done) in state["pending"].items()
        }
        self._replica, self._pending = replica, pending
        self._ring = RingId(*state["ring"])
        self._agreeing = set(state["agreeing"])
        self._requests = state["requests"]
        self._unsent = deque(state["unsent"])
        self._flush()


def _notQuorate() -> NotQuorate:
    return NotQuorate(f"{REPLICATED} is written only where there is quorum")
