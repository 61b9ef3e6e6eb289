"""
What an engine may ask of its node.  [ARCH Figure 9]
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from corotwist.budget import Budget
from corotwist.config.settings import NodeSettings
from corotwist.engines import compact
from corotwist.engines.children import Child, Program
from corotwist.engines.connections import Source
from corotwist.engines.executive import SERVICES_GROUP, SHORT_FORM, address, header
from corotwist.engines.facilities import Facilities, Follower
from corotwist.engines.flow import FlowControl
from corotwist.engines.holds import Hold
from corotwist.engines.interfaces import Cause, View
from corotwist.engines.timers import Timers, nanoseconds
from corotwist.engines.views import Views
from corotwist.engines.visits import Work
from corotwist.errors import (
    BadHandle,
    InvalidParameter,
    NotExist,
    TooBig,
    TryAgain,
)
from corotwist.interfaces import ICluster, IConnection, IFlowGroup, ITotem
from corotwist.totem.membership import (
    NO_RING,
    Configuration,
    Guarantee,
    NodeStatus,
    RingId,
)

# Real corosync nodes look the service of each message up in a table, and do not
# look whether it is in it: what has a higher number goes where they do not look.
LAST_SHARED: Final = 63
# One message in the total order; real corosync nodes abort above it.
LARGEST_TOTEM_MESSAGE: Final = 1 << 20
# What one engine may hold for those who wait, beside the whole node's budget.
ENGINE_BYTES: Final = 256 << 20
NO_LEASE: Final = -1


class Home(Protocol):
    """
    The service manager, as the contexts of its engines see it.
    """

    clock: IReactorTime
    timeOfDay: Callable[[], int]
    totem: ITotem
    configuration: Configuration
    guarantee: Guarantee
    flow: FlowControl
    budget: Budget
    database: Any
    operations: Any
    notes: Any
    settings: NodeSettings
    facilities: Facilities
    views: Views

    def dump(self) -> Mapping[str, Any]: ...
    def compactAllowed(self) -> bool: ...
    def everybodyHas(self, feature: int) -> bool: ...
    def synchronizing(self) -> bool: ...
    def engineNamed(self, name: str) -> Any: ...
    def whenRoom(self, callback: Callable[[], None]) -> None: ...
    def shutdownRequested(self, who: str, reason: str) -> None: ...
    def stopRequested(self, reason: str, *, hasty: bool) -> None: ...
    def nodeKilled(self, nodeid: int, by: int, reason: str) -> None: ...


class Guard(Protocol):
    """
    The place of an engine at its node, which contains what it raises.
    """

    waiting: bool
    sent: Counter[int]

    def counted(self, function: int) -> int: ...
    @property
    def over(self) -> bool: ...
    def checkSending(self) -> None: ...
    def call(self, function: Callable[..., Any], *arguments: Any) -> Any: ...


@implementer(ICluster)
class Cluster:
    """
    One engine's view of its node.
    """

    def __init__(self, home: Home, guard: Guard, name: str, serviceId: int) -> None:
        self._home = home
        self._guard = guard
        self._name = name
        self._serviceId = serviceId
        self._facilities = home.facilities
        self.timers = Timers(home.clock, home.timeOfDay, guard.call)
        self._prefixRing = NO_RING
        self._prefix = b""
        self.nodeid: int = home.totem.nodeid
        self.database = home.database
        self.budget = Budget(name, ENGINE_BYTES, home.budget)
        self.operations = home.operations
        self.notes = home.notes

    def close(self) -> None:
        """
        The engine is over: whatever it held, it does not any more.
        """
        self.timers.cancelAll()
        self.budget.give(self.budget.used)
        self.budget.whole = None

    # The total order.

    def multicast(
        self, function: int, body: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> None:
        self._send(self._whole(function, body), _kept(guarantee))
        self._guard.sent[self._guard.counted(function)] += 1

    def _whole(self, function: int, body: bytes) -> bytes:
        if self._serviceId <= LAST_SHARED:
            whole = header(self._serviceId, function, body)
            return address(SERVICES_GROUP, whole)
        ours = compact.serviceHeader(self._serviceId, function)
        return address(compact.GROUP, ours + body)

    def multicastCompact(
        self, body: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> None:
        self._send(self._compactPrefix() + body, _kept(guarantee))
        self._guard.sent[SHORT_FORM] += 1

    def _compactPrefix(self) -> bytes:
        """
        What goes before the engine's bytes, on this ring.
        """
        ringId = self.ringId()
        if ringId is not self._prefixRing:
            self._prefixRing = ringId
            self._prefix = address(
                compact.GROUP, compact.engineHeader(self._serviceId, ringId)
            )
        return self._prefix

    def _send(self, message: bytes, guarantee: Guarantee) -> None:
        self._guard.checkSending()
        if len(message) > LARGEST_TOTEM_MESSAGE:
            raise TooBig(f"{len(message)} bytes in one message")
        if not self._home.totem.multicast(message, guarantee):
            raise TryAgain("the send queue has no room")

    def compact(self) -> bool:
        return self._home.compactAllowed()

    def everybody(self, feature: int) -> bool:
        return self._home.everybodyHas(feature)

    def guarantee(self) -> Guarantee:
        return self._home.guarantee

    def synchronizing(self) -> bool:
        return self._guard.waiting or self._home.synchronizing()

    def whenRoom(self, callback: Callable[[], None]) -> None:
        self._home.whenRoom(lambda: self._guard.call(callback))

    def whenStable(self, callback: Callable[[tuple[int, ...]], None]) -> None:
        self._home.totem.whenStable(partial(self._guard.call, callback))

    def leaseEnds(self) -> int:
        ends = self._home.totem.leaseEnds()
        return NO_LEASE if ends == -inf else nanoseconds(ends)

    def flowCreate(self, name: bytes, changed: Callable[[bool], None]) -> IFlowGroup:
        return self._home.flow.create(self._serviceId, name, changed, self._guard)

    def members(self) -> tuple[int, ...]:
        return self._home.configuration.members

    def ringId(self) -> RingId:
        return self._home.configuration.ringId

    def view(self) -> View:
        return self._home.views.current

    def position(self) -> int:
        return self._home.views.position

    # Time.

    def now(self) -> int:
        return self.timers.now()

    def timeOfDay(self) -> int:
        return self._home.timeOfDay()

    def callAfter(self, delayNs: int, callback: Callable[[], None]) -> Any:
        return self.timers.after(delayNs, callback)

    def callAt(self, timeNs: int, callback: Callable[[], None]) -> Any:
        return self.timers.at(timeNs, callback)

    def cancel(self, timer: Any) -> None:
        self.timers.cancel(timer)

    def expiresAt(self, timer: Any) -> int:
        return self.timers.expiresAt(timer)

    def misses(self) -> Sequence[tuple[int, int]]:
        return tuple(self._facilities.schedule.misses)

    # At the visits of the token.

    def onToken(self, callback: Callable[[], object]) -> Work:
        return self._facilities.visits.each(callback, self._guard)

    def schedule(self, step: Callable[[], bool]) -> Deferred[None]:
        return self._facilities.visits.until(step, self._guard)

    # Clients.

    def source(self, connection: IConnection) -> Source:
        return Source(self.nodeid, self._facilities.connections.number(connection))

    def isLocal(self, source: Source) -> bool:
        return source.nodeid == self.nodeid

    def connection(self, source: Source) -> IConnection:
        if not self.isLocal(source):
            raise BadHandle(f"a client of node {source.nodeid}")
        return self._facilities.connections.connection(source.connection)

    def private(self, connection: IConnection) -> Any:
        return connection.private[self._name]

    def retain(self, connection: IConnection) -> None:
        self._facilities.connections.retain(self._name, connection)

    def release(self, connection: IConnection) -> None:
        self._facilities.connections.release(self._name, connection)

    def request(self, connection: IConnection) -> Deferred[Any]:
        return self._facilities.connections.request(self._name, connection)

    def respond(self, connection: IConnection, answer: Any) -> bool:
        self._facilities.connections.respond(self._name, connection, answer)
        return bool(connection.behind)

    def dispatch(self, connection: IConnection, event: Any, **arguments: Any) -> bool:
        use = self._facilities.connections.use(self._name, connection)
        if use is not None:
            use.dispatches += 1
        connection.tell(event, **arguments)
        return bool(connection.behind)

    # Quorum.

    def quorate(self) -> bool:
        return self._facilities.quorate()

    def quorumKnown(self) -> bool:
        return self._facilities.quorumKnown()

    def followQuorum(self, changed: Callable[[bool], None]) -> Follower:
        return self._facilities.follow(changed, self._guard)

    def quorumChanged(self) -> None:
        self._home.views.verdictChanged()
        self._facilities.quorumChanged()

    # The node.

    def engine(self, name: str) -> Any:
        return self._home.engineNamed(name)

    def shutdownRequested(self, reason: str) -> None:
        if not self._guard.over:
            self._home.shutdownRequested(self._name, reason)

    def stopRequested(self, reason: str, *, hasty: bool = False) -> None:
        if not self._guard.over:
            self._home.stopRequested(reason, hasty=hasty)

    def nodeKilled(self, nodeid: int, by: int, reason: str) -> None:
        self._home.nodeKilled(nodeid, by, reason)

    def nodeStops(self, nodeid: int) -> None:
        self._home.views.departing(nodeid, Cause.STOPPED, "")

    def holdShutdown(self, reason: str) -> Hold:
        return self._facilities.holds.take(self._name, reason)

    def spawn(self, program: Program) -> Child:
        return self._facilities.children.spawn(self._name, program, self._guard.call)

    def children(self) -> Sequence[Child]:
        return tuple(self._facilities.children.of(self._name))

    def make(self, interface: Any, name: str, *given: Any) -> Any:
        return self._facilities.make(interface, name, *given)

    def addresses(self, nodeid: int) -> Sequence[Any]:
        entries = self._home.settings.totem.nodes
        found = [e.addresses for e in entries if e.nodeid == nodeid]
        if not found:
            raise NotExist(f"no node {nodeid} in the node list")
        return found[0]

    def nodeStatus(self, nodeid: int) -> NodeStatus:
        return self._home.totem.nodeStatus(nodeid)

    def activateKey(self) -> None:
        self._home.totem.activateKey()

    def dropOldKeys(self) -> None:
        self._home.totem.dropOldKeys()

    def reenableLinks(self) -> None:
        self._home.totem.reenable()

    def dumpState(self) -> Mapping[str, Any]:
        return self._home.dump()

    def memoryFailed(self, what: str) -> None:
        self._facilities.memoryFailed(self._name, what)


def _kept(guarantee: Guarantee) -> Guarantee:
    """
    What a message gets that asks for C{guarantee}: there is nothing weaker
    than L{Guarantee.AGREED}.

    @raise InvalidParameter: there is no such guarantee.
    """
    kept = _KEPT.get(guarantee)
    if kept is None:
        raise InvalidParameter(f"there is no guarantee {guarantee!r}")
    return kept


_KEPT: Final[Mapping[Guarantee, Guarantee]] = {
    asked: max(asked, Guarantee.AGREED) for asked in Guarantee
}
