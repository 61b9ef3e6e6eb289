"""
The service manager: engines in their places, everything in one order.

Messages and configurations come in here from the total order and go to one
engine after the other, each contained: what an engine raises is its own
trouble, not the node's.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.budget import Budget
from corotwist.components import Components
from corotwist.config.database import Database
from corotwist.config.settings import NodeSettings
from corotwist.ending import End, Ending
from corotwist.engines import compact
from corotwist.engines.changes import Changes
from corotwist.engines.clashes import Clashes, ServiceNames
from corotwist.engines.comings import Comings
from corotwist.engines.compact import (
    Announced,
    Announcement,
    Feature,
    FlowStates,
    Kind,
)
from corotwist.engines.context import Cluster
from corotwist.engines.executive import (
    CPG,
    SERVICES_GROUP,
    SHORT_FORM,
    SYNC_GROUP,
    Barrier,
    ServiceList,
    address,
    addressed,
    decode,
    split,
)
from corotwist.engines.facilities import Facilities
from corotwist.engines.figures import Figures
from corotwist.engines.flow import FlowControl
from corotwist.engines.interfaces import Cause, IRoundAware
from corotwist.engines.parting import FAREWELL_TOKENS, Farewell, Parting
from corotwist.engines.place import Place
from corotwist.engines.roster import Roster
from corotwist.engines.standing import Standing
from corotwist.engines.sync import Synchronization
from corotwist.engines.views import Views
from corotwist.errors import (
    BadHandle,
    WireError,
)
from corotwist.interfaces import (
    IConnection,
    IEngineMaker,
    IReconfigurable,
    ITotem,
    ITotemListener,
)
from corotwist.totem.membership import NO_RING, Configuration, Guarantee, RingId

# Callbacks for room at one passing of the token.
CALLBACKS_PER_PASS: Final = 128
# A stage of synchronization is reported after so many token timeouts.
PATIENCE_TOKENS: Final = 10
# The service in whose stage of synchronization features are announced.
ANNOUNCED_WITH: Final = CPG

FEATURES: Final = Feature.COMPACT_CPG | Feature.FLOW | Feature.TERMS

# How messages begin that are for one group only: nearly all.
_COMPACT: Final = address(compact.GROUP, b"")
_SERVICES: Final = address(SERVICES_GROUP, b"")
_KNOWN: Final = frozenset({compact.GROUP, SERVICES_GROUP, SYNC_GROUP})


@implementer(ITotemListener, IReconfigurable)
class ServiceManager:
    """
    All engines of one node.

    @ivar roster: the engines, each in its place.
    @ivar comings: what happens around an engine that comes or goes.
    @ivar changes: replaces, loads and unloads engines.
    @ivar database: the node's configuration and statistics.
    @ivar operations: what operators may ask of the node.
    @ivar configuration: the regular configuration in force.
    @ivar guarantee: that of the message that is being delivered.
    @ivar views: who is here and why, and may they act.
    @ivar parting: says farewell to the others.
    @ivar flow: the flow-control groups.
    @ivar budget: what waits in this node, from clients and for them.
    @ivar facilities: what the node has for its engines besides all that.
    @ivar shutdown: fires with an L{End} when an engine asks the node to stop;
        the node replaces it or adds callbacks.
    @ivar onKilled: called with the reason, in the middle of everything, when
        this node has to end at once.
    """

    def __init__(
        self,
        clock: IReactorTime,
        totem: ITotem,
        settings: NodeSettings,
        makers: Components | Iterable[IEngineMaker],
        timeOfDay: Callable[[], int] | None = None,
        *,
        database: Any = None,
        operations: Any = None,
        processes: Any = None,
        notes: Any = None,
    ) -> None:
        """
        @param database: the node's, for its engines; by default one of its own.
        @param operations: what operators may ask of the node.
        @param notes: what engines keep beyond a restart: an C{INotes}; L{None}
            when nothing is kept.
        @param processes: starts processes for engines: an C{IReactorProcess};
            L{None} when there shall be none.
        @param timeOfDay: nanoseconds since 1970; by default the clock is
            asked, which suits a real reactor and a simulated one.
        """
        self._log = Logger()
        self.clock = clock
        self.totem = totem
        self.settings = settings
        self.database = Database.of(settings.keys) if database is None else database
        self.operations = operations
        self.notes = notes
        self.timeOfDay = timeOfDay or (lambda: int(clock.seconds() * 1_000_000_000))
        self.configuration = Configuration(NO_RING, (), transitional=False)
        self._shortForm = _shortForm(NO_RING)
        self.guarantee = Guarantee.AGREED
        self.shutdown: Deferred[End] = Deferred()
        self.onKilled: Callable[[str], None] = lambda reason: None
        self._killed = False
        self.synchronization = Synchronization(
            self, clock, PATIENCE_TOKENS * settings.totem.timing.token
        )
        self.flow = FlowControl(self)
        self.budget = Budget("node", settings.ipc.memoryBytes)
        self.roster = Roster(clock, settings, makers, self._context)
        self.facilities = Facilities(self, processes)
        self.views = Views(self.timeOfDay, self.facilities.verdict)
        self.parting = Parting(self, self._farewellSeconds)
        self.facilities.holds.observers.append(self.shutdownAhead)
        self.comings = Comings(self, self._watch)
        self.roster.discarded = self.comings.discarded
        self.changes = Changes(self)
        self._figures = Figures(self)
        self._figures.provide()
        self._announced = Announced()
        self._unsaid = self._announcements()
        self._clashes = Clashes()
        # Features of everybody on this ring, since the round is complete in
        # which they said so.
        self._common = 0
        self._compact = False
        self._waiting: deque[Callable[[], None]] = deque()
        self._awaiting: list[Deferred[None]] = []
        self._counters = dict.fromkeys(
            (
                "unknownGroup",
                "unknownService",
                "malformed",
                "missed",
                "stranger",
                "delivered",
            ),
            0,
        )

    # Starting and stopping.

    @inlineCallbacks
    def start(self) -> Generator[Any, Any, None]:
        """
        Load every wanted engine, and start all: see L{Roster.start}.
        """
        self.roster.load()
        for place in self.roster.places.values():
            self._watch(place)
        self.roster.onStopped = self.facilities.engineGone
        self.facilities.start()
        try:
            yield self.roster.start()
        except Exception:
            self._enginesStopped(None)
            raise

    def stop(self) -> Deferred[None]:
        """
        Shut the engines down by descending priority, while the ring still
        runs: they have things to say.

        @return: fires when all have stopped: see L{Roster.stop}.
        """
        return self.roster.stop().addCallback(self._enginesStopped)

    def prepareStop(self, reason: str) -> Deferred[None]:
        """
        The node is to stop, and everything still works.

        @return: fires when nothing holds that, at the second call at the
            latest: see L{Facilities.prepareStop}.
        """
        return self.facilities.prepareStop(reason)

    def _watch(self, place: Place) -> None:
        place.onFailed = self._engineFailed
        place.onMemoryError = self.facilities.memoryFailed
        if place.serviceId == ANNOUNCED_WITH:
            place.prepare = self._announce

    def _engineFailed(self, place: Place) -> None:
        self.facilities.engineGone(place.name)
        self.changes.failed(place)

    def _enginesStopped(self, _: None) -> None:
        self.changes.stop()
        self.synchronization.stop()
        self.views.stop()
        self.facilities.stop()
        self._waiting.clear()
        self._answerWaiting(lambda waits: waits.errback(BadHandle("the node stops")))

    # Other settings.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        self.roster.reconfigurationProposed(settings)

    def reconfigured(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.synchronization.patience = PATIENCE_TOKENS * settings.totem.timing.token
        self.roster.reconfigured(settings)

    def _context(self, place: Place) -> Cluster:
        return Cluster(self, place, place.name, place.serviceId)

    @property
    def engines(self) -> Mapping[str, Any]:
        """
        The loaded engines, by name.
        """
        return self.roster.engines

    @property
    def makers(self) -> Mapping[str, IEngineMaker]:
        """
        Those of the loaded engines, by name.
        """
        return self.roster.makers

    def onDuty(self, name: str) -> Any:
        """
        A stand-in for an engine, whichever version of it serves.
        """
        return self.roster.onDuty(name)

    # From the total order.

    def configurationChanged(self, configuration: Configuration) -> None:
        if self.roster.stopped:
            return  # The ring goes on a little longer than its services.
        self._common = 0
        self._compact = False
        self.views.configurationChanged(configuration)
        self.flow.configurationChanged(configuration)
        if not configuration.transitional:
            self.configuration = configuration
            self._shortForm = _shortForm(configuration.ringId)
            self._announced.forget()
            self._clashes.forget()
            self._unsaid = self._announcements()
        else:
            self.synchronization.configurationChanged(configuration)
        for place in self.roster.places.values():
            place.call(place.engine.configurationChanged, configuration)
        if not configuration.transitional:
            self.synchronization.configurationChanged(configuration)

    def messageDelivered(
        self,
        nodeid: int,
        message: bytes,
        byteOrder: str,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> None:
        if self.roster.stopped or self._killed:
            return
        if nodeid not in self.configuration.members:
            # Frames name their senders: somebody lies.
            self._counters["stranger"] += 1
            return
        self._counters["delivered"] += 1
        self.views.position += 1
        self.guarantee = guarantee
        try:
            if message.startswith(self._shortForm) and self._shortDelivered(
                nodeid, message
            ):
                return
            if message.startswith(_COMPACT):
                self._compactDelivered(nodeid, message[len(_COMPACT) :])
            elif message.startswith(_SERVICES) and byteOrder == "<":
                self._serviceDelivered(nodeid, message[len(_SERVICES) :], byteOrder)
            else:
                self._anyDelivered(nodeid, message, byteOrder)
        except WireError as error:
            self._counters["malformed"] += 1
            self._log.warn(
                "Message of node {nodeid} refused: {error}", nodeid=nodeid, error=error
            )

    def tokenPassed(self) -> None:
        if self.roster.stopped:
            return
        self.synchronization.tokenPassed()
        self.parting.tokenPassed()
        self.flow.say()
        self.facilities.visits.tokenPassed()
        self._runWaiting()

    # Routing.

    def _shortDelivered(self, nodeid: int, message: bytes) -> bool:
        """
        Nearly all messages: of process groups, in the short form, of this ring.

        @return: L{False} when there is nobody to take it.
        """
        place = self._addressee(CPG)
        if place is None:
            return False
        place.received[SHORT_FORM] += 1
        body = message[len(self._shortForm) :]
        place.call(place.engine.compactDelivered, nodeid, body)
        return True

    def _anyDelivered(self, nodeid: int, message: bytes, byteOrder: str) -> None:
        """
        For synchronization, for several groups at once, or for nobody here.
        """
        groups, body = addressed(message, byteOrder)
        if SERVICES_GROUP in groups:
            self._serviceDelivered(nodeid, body, byteOrder)
        if SYNC_GROUP in groups:
            self._syncDelivered(nodeid, body, byteOrder)
        if compact.GROUP in groups:
            self._compactDelivered(nodeid, body)
        if _KNOWN.isdisjoint(groups):
            self._counters["unknownGroup"] += 1

    def _serviceDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        service, function, rest = split(body, byteOrder)
        place = self._addressee(service)
        if place is None:
            self._counters["unknownService"] += 1
        else:
            place.received[place.counted(function)] += 1
            place.deliver(nodeid, function, rest, byteOrder)

    def _addressee(self, service: int) -> Place | None:
        """
        The engine with that number, if it takes part already.
        """
        place = self.roster.places.get(service)
        return None if place is None or place.waiting else place

    def _compactDelivered(self, nodeid: int, body: bytes) -> None:
        header = compact.Header.decode(body)
        if header.kind == Kind.ANNOUNCEMENT:
            self._announcementDelivered(nodeid, Announcement.decode(header, body))
            return
        if header.kind == Kind.NAMES:
            if header.ringId == self.configuration.ringId:
                names = ServiceNames.decode(header, body).names
                self._clashes.heard(nodeid, names, self._names())
            return
        if header.kind == Kind.FLOW:
            self.flow.statesDelivered(nodeid, FlowStates.decode(header, body))
            return
        if header.kind == Kind.STANDING:
            if header.ringId == self.configuration.ringId:
                self.views.announced(nodeid, Standing.decode(header, body))
            return
        if header.kind == Kind.FAREWELL:
            self._farewellDelivered(nodeid, Farewell.decode(header, body))
            return
        place = self._addressee(header.service)
        if header.kind not in {Kind.ENGINE, Kind.SERVICE} or place is None:
            self._counters["unknownService"] += 1
        elif header.kind == Kind.SERVICE:
            function, rest = compact.splitService(body)
            place.received[place.counted(function)] += 1
            place.deliver(nodeid, function, rest, "<")
        elif header.ringId == self.configuration.ringId:
            place.received[SHORT_FORM] += 1
            place.call(
                place.engine.compactDelivered, nodeid, body[compact.HEADER_BYTES :]
            )
        else:
            self._counters["missed"] += 1
            if nodeid == self.totem.nodeid:
                place.call(place.engine.compactMissed, body[compact.HEADER_BYTES :])

    def _syncDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = decode(SYNC_GROUP, body, byteOrder)
        if isinstance(message, Barrier):
            self.synchronization.barrierDelivered(nodeid, message)
        elif isinstance(message, ServiceList):
            self.synchronization.serviceListDelivered(nodeid, message)

    # What everybody understands.

    def _announce(self) -> bool:
        """
        Say what we understand and whom we hold up, once on each ring.

        @return: L{False} to be called again: no room.
        """
        while self._unsaid:
            body = self._unsaid[0]()
            if not self.totem.multicast(address(compact.GROUP, body), Guarantee.AGREED):
                return False
            self._unsaid.popleft()
        return self.flow.announce()

    def _announcements(self) -> deque[Callable[[], bytes]]:
        """
        What is to be said once on a ring, in this order, as it is by then.
        """
        ringId = self.configuration.ringId
        return deque(
            (
                Announcement(ringId, FEATURES).encode,
                lambda: ServiceNames(ringId, self._names()).encode(),
                lambda: self.views.standing().encode(),
            )
        )

    def _names(self) -> tuple[tuple[int, str], ...]:
        return tuple((n, place.name) for n, place in self.roster.places.items())

    def _announcementDelivered(self, nodeid: int, message: Announcement) -> None:
        if message.ringId == self.configuration.ringId:
            self._announced.heard(nodeid, message.features)

    def _farewellDelivered(self, nodeid: int, message: Farewell) -> None:
        self.views.departing(nodeid, Cause.STOPPED, message.reason)
        self.parting.delivered(nodeid)

    def _farewellSeconds(self) -> float:
        return FAREWELL_TOKENS * self.settings.totem.timing.token

    def compactAllowed(self) -> bool:
        """
        May messages go in the short form?
        """
        return self._compact

    def everybodyHas(self, feature: int) -> bool:
        """
        Did every member of this ring announce it, and is the round complete in
        which they did?
        """
        return bool(self._common & feature)

    # For synchronization.

    def participants(self) -> Sequence[Place]:
        """
        The engines that take part and work.
        """
        return [
            place
            for place in self.roster.places.values()
            if place.synchronized and not place.failed
        ]

    def sendSync(self, body: bytes) -> bool:
        """
        Multicast in the group of synchronization; C{False} without room.
        """
        return self.totem.multicast(address(SYNC_GROUP, body), Guarantee.AGREED)

    def roundCompleted(self) -> None:
        """
        Use the ordinary queue again, and let everybody go on who waits.
        """
        self._common = self._announced.common(self.configuration.members)
        self._compact = self.everybodyHas(Feature.COMPACT_CPG)
        self.totem.synchronized()
        self.views.roundCompleted(partial(self._tellAware, "viewAhead"))
        self._tellAware("roundCompleted")
        self.parting.roundCompleted()
        self.flow.roundCompleted()
        self._log.info(
            "Services synchronized on ring {ringId}: nodes {members}, {form} form",
            ringId=str(self.configuration.ringId),
            members=self.configuration.members,
            form="compact" if self.compactAllowed() else "corosync's",
        )
        self._runWaiting()
        self._answerWaiting(lambda waits: waits.callback(None))

    def _tellAware(self, what: str, *arguments: Any) -> None:
        for place in self.roster.places.values():
            if IRoundAware.providedBy(place.engine) and not place.waiting:
                place.call(getattr(place.engine, what), *arguments)

    def _answerWaiting(self, answer: Callable[[Deferred[None]], None]) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for waits in awaiting:
            answer(waits)

    def roundStalled(self, what: str, missing: tuple[int, ...]) -> None:
        """
        Nobody waits in silence.
        """
        self._log.warn(
            "Synchronization does not go on: {what}; nodes {missing} have not reported",
            what=what,
            missing=missing,
        )

    def synchronizing(self) -> bool:
        """
        Is the cluster between a change and the end of its synchronization?
        """
        return self.synchronization.synchronizing()

    def whenSynchronized(self) -> Deferred[None]:
        """
        @return: fires as soon as the services are in step; at once when they
            are.  Fails with L{BadHandle} when the node stops first.
        """
        if not self.synchronizing():
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._awaiting.remove)
        self._awaiting.append(deferred)
        return deferred

    # For engines.

    def engineNamed(self, name: str) -> Any:
        """
        @raise NotExist: when it is not loaded.
        """
        return self.roster.named(name)

    def whenRoom(self, callback: Callable[[], None]) -> None:
        """
        Call once, when there may be room and no round runs.
        """
        self._waiting.append(callback)

    def _runWaiting(self) -> None:
        if self.synchronizing():
            return
        waiting = self._waiting
        for _ in range(min(len(waiting), CALLBACKS_PER_PASS)):
            if self.totem.room() <= 0:
                return
            waiting.popleft()()

    def shutdownRequested(self, who: str, reason: str) -> None:
        """
        Tell the node, outside of whatever runs now, once.
        """
        self._log.critical(
            "Service {who} stops the node: {reason}", who=who, reason=reason
        )
        self.clock.callLater(0, self._requestShutdown, End(Ending.FAILED, reason))

    def stopRequested(self, reason: str, *, hasty: bool) -> None:
        """
        Likewise, because an operator wants it.
        """
        end = End(Ending.STOPPED, reason, hasty)
        self.clock.callLater(0, self._requestShutdown, end)

    def _requestShutdown(self, end: End) -> None:
        if not self.shutdown.called:
            self.shutdown.callback(end)
        elif end.hasty:
            self.prepareStop(end.reason)

    def nodeKilled(self, nodeid: int, by: int, reason: str) -> None:
        """
        Here, in the order, a node has to end.
        """
        told = f"killed by node {by}" + f": {reason}" * bool(reason)
        self.views.killed(nodeid, told)
        if nodeid == self.totem.nodeid:
            self._killed = True
            self.onKilled(told)

    # For local clients.

    def connectionOpened(self, connection: IConnection) -> None:
        """
        Every engine makes its private data for the connection.
        """
        self.facilities.connections.opened(connection)
        self._figures.connectionOpened(connection)
        connection.private = {
            place.name: place.call(place.engine.privateData, connection)
            for place in self.roster.places.values()
        }

    def connectionClosed(self, connection: IConnection) -> None:
        """
        Every engine hears that the client is gone, at once or when it has
        answered it.
        """
        self._figures.connectionClosed(connection)
        self.facilities.connectionClosed(connection)

    def admit(
        self, engine: Any, connection: IConnection, command: str
    ) -> Deferred[None] | None:
        """
        A client asks something of an engine: see L{Gate.admit
        <corotwist.engines.gate.Gate.admit>}.
        """
        return self.facilities.gate.admit(engine, command, connection)

    def shutdownAhead(self, reason: str, holding: Sequence[str]) -> None:
        """
        Every local client hears that the node is to stop, and what it waits
        for.
        """
        for connection in self.comings.clients():
            connection.shutdownAhead(reason, holding)

    # For people.

    def dump(self) -> Mapping[str, Any]:
        """
        The state of every engine, and of the manager, as JSON values.
        """
        return {
            "synchronization": self.synchronization.progress(),
            "compact": self.compactAllowed(),
            "waiting": len(self._waiting),
            "flow": {
                "everywhere": self._announced.everybody(
                    self.configuration.members, Feature.FLOW
                ),
                **self.flow.dump(),
            },
            "memory": self.budget.dump(),
            "counters": dict(self._counters),
            "clashes": self._clashes.status(),
            **self.facilities.status(),
            "engines": self.roster.dump(),
        }


def _shortForm(ringId: RingId) -> bytes:
    """
    How messages of process groups begin, on one ring.
    """
    return _COMPACT + compact.engineHeader(CPG, ringId)
