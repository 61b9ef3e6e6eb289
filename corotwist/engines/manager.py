"""
The service manager: engines in their places, everything in one order.

Messages and configurations come in here from the total order and go to one
engine after the other, each contained: what an engine raises is its own
trouble, not the node's.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines import compact
from corotwist.engines.compact import Announced, Announcement, Feature, Kind
from corotwist.engines.context import Cluster
from corotwist.engines.executive import (
    CPG,
    SERVICES_GROUP,
    SYNC_GROUP,
    Barrier,
    ServiceList,
    address,
    addressed,
    decode,
    split,
)
from corotwist.engines.sync import Synchronization
from corotwist.errors import (
    BadHandle,
    ConfigurationError,
    NotExist,
    PluginClash,
    Problem,
    TryAgain,
    WireError,
)
from corotwist.interfaces import (
    IConnection,
    IEngineMaker,
    ISynchronized,
    ITotem,
    ITotemListener,
)
from corotwist.plugin import newest
from corotwist.totem.membership import NO_RING, Configuration, Guarantee, RingId

# Exceptions of one engine before it is taken out of service.
FAILURES_TOLERATED: Final = 10
# Callbacks for room at one passing of the token.
CALLBACKS_PER_PASS: Final = 128
# An engine that is busy is asked again to stop, so often and for so long.
SHUTDOWN_RETRY_SECONDS: Final = 0.01
SHUTDOWN_SECONDS: Final = 0.5
# A stage of synchronization is reported after so many token timeouts.
PATIENCE_TOKENS: Final = 10
# The service in whose stage of synchronization features are announced.
ANNOUNCED_WITH: Final = CPG

FEATURES: Final = Feature.COMPACT_CPG

# How messages begin that are for one group only: nearly all.
_COMPACT: Final = address(compact.GROUP, b"")
_SERVICES: Final = address(SERVICES_GROUP, b"")
_KNOWN: Final = frozenset({compact.GROUP, SERVICES_GROUP, SYNC_GROUP})


class Place:
    """
    An engine's place at the node: who it is, and how it has behaved.

    As a participant of synchronization it does nothing for an engine that has
    failed, so that the others go on.

    @ivar failures: exceptions so far.
    @ivar failed: out of service.
    """

    def __init__(self, engine: Any, log: Logger) -> None:
        self.engine = engine
        self.name: str = engine.name
        self.serviceId: int = engine.serviceId
        self.synchronized = ISynchronized.providedBy(engine)
        self.failures = 0
        self.failed = False
        self.malformed = 0
        self.prepare: Callable[[], bool] | None = None
        self._log = log

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """
        Call into the engine.

        @return: what it returned; L{None} when it failed.
        """
        if self.failed:
            return None
        try:
            return function(*arguments)
        except WireError as error:
            self.malformed += 1
            self._log.warn(
                "Service {name}: message refused: {error}", name=self.name, error=error
            )
        except Exception:  # noqa: BLE001 - Whatever it is, it stays here.
            self._blame()
        return None

    def _blame(self) -> None:
        self.failures += 1
        self.failed = self.failures >= FAILURES_TOLERATED
        self._log.failure(
            "Service {name} raised (number {failures} of {tolerated})",
            name=self.name,
            failures=self.failures,
            tolerated=FAILURES_TOLERATED,
        )
        if self.failed:
            self._retire()

    def _retire(self) -> None:
        """
        Out of service, and its clients are told if it still can.
        """
        self._log.critical("Service {name} is out of service", name=self.name)
        try:
            self.engine.shutdown()
        except Exception:  # noqa: BLE001 - It is out of service already.
            self._log.failure("Service {name} does not even stop", name=self.name)

    # In a round of synchronization.

    def started(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self.call(self.engine.synchronizationStarted, transitional, members, ringId)

    def process(self) -> bool:
        """
        Is everything sent?  A failure counts as done.
        """
        if self.prepare is not None and not self.prepare():
            return False
        return self.call(self._process) is not False

    def _process(self) -> bool:
        try:
            return bool(self.engine.synchronize())
        except TryAgain:
            return False

    def completed(self) -> None:
        self.call(self.engine.synchronizationCompleted)

    def aborted(self) -> None:
        self.call(self.engine.synchronizationAborted)

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            "serviceId": self.serviceId,
            "version": self.engine.version,
            "failed": self.failed,
            "failures": self.failures,
            "malformed": self.malformed,
        }


@implementer(ITotemListener)
class ServiceManager:
    """
    All engines of one node.

    @ivar engines: by name.
    @ivar makers: those of the loaded engines, by name.
    @ivar configuration: the regular configuration in force.
    @ivar shutdown: fires with the reason when an engine asks the node to stop;
        the node replaces it or adds callbacks.
    """

    def __init__(
        self,
        clock: IReactorTime,
        totem: ITotem,
        settings: NodeSettings,
        makers: Iterable[IEngineMaker],
        timeOfDay: Callable[[], int] | None = None,
    ) -> None:
        """
        @param timeOfDay: nanoseconds since 1970; by default the clock is
            asked, which suits a real reactor and a simulated one.
        """
        self._log = Logger()
        self.clock = clock
        self.totem = totem
        self.settings = settings
        self.timeOfDay = timeOfDay or (lambda: int(clock.seconds() * 1_000_000_000))
        self.makers: dict[str, IEngineMaker] = {}
        self.engines: dict[str, Any] = {}
        self.configuration = Configuration(NO_RING, (), transitional=False)
        self.shutdown: Deferred[str] = Deferred()
        self.synchronization = Synchronization(
            self, clock, PATIENCE_TOKENS * settings.totem.timing.token
        )
        self._offered = list(makers)
        self._byId: dict[int, Place] = {}
        self._started: list[Place] = []
        self._stopped = False
        self._ending: list[Deferred[None]] = []
        self._announced = Announced()
        self._announcementSent = False
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
        Load every wanted engine, show them the configuration, and initialize
        them by ascending priority.

        @return: fires when all have started.  Fails with a
            L{ConfigurationError} of all that is wrong for any of them, before
            one has started; later with what the first
            failing engine raised, after those before it were stopped.
        """
        self._load()
        places = sorted(
            self._byId.values(), key=lambda p: (p.engine.priority, p.serviceId)
        )
        self._configure(places)
        for place in places:
            cluster = Cluster(self, place, place.name, place.serviceId)
            try:
                yield maybeDeferred(place.engine.initialize, cluster, self.settings)
            except Exception:
                yield self.stop()
                raise
            self._started.append(place)
            if self._stopped:  # While this one took its time.
                yield self.stop()
                return
        self._log.info(
            "Services {names}", names=", ".join(place.name for place in places)
        )

    def _configure(self, places: Iterable[Place]) -> None:
        problems: list[Problem] = []
        for place in places:
            try:
                place.engine.configure(self.settings)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(*problems)

    def _load(self) -> None:
        wanted = [m for m in self._offered if m.wanted(self.settings)]
        for name, maker in newest(wanted).items():
            engine = maker.load()
            place = Place(engine, self._log)
            other = self._byId.get(engine.serviceId)
            if other is not None:
                raise PluginClash(
                    f"engines {other.name!r} and {name!r} "
                    f"both have service id {engine.serviceId}"
                )
            self._byId[engine.serviceId] = place
            self.makers[name] = maker
            self.engines[name] = engine
        # The order of configurations and of synchronization.
        self._byId = dict(sorted(self._byId.items()))
        announcer = self._byId.get(ANNOUNCED_WITH)
        if announcer is not None:
            announcer.prepare = self._announce

    def stop(self) -> Deferred[None]:
        """
        Shut the engines down by descending priority, while the ring still
        runs: they have things to say.

        @return: fires when all have stopped, or had L{SHUTDOWN_SECONDS} each.
        """
        ends: Deferred[None] = Deferred()
        self._ending.append(ends)
        if len(self._ending) == 1:
            self._stopEngines().addCallback(self._enginesStopped)
        return ends

    def _enginesStopped(self, _: None) -> None:
        """
        Tell everybody who asked.
        """
        ending, self._ending = self._ending, []
        for ends in ending:
            ends.callback(None)

    @inlineCallbacks
    def _stopEngines(self) -> Generator[Any, Any, None]:
        while self._started:
            yield self._stopEngine(self._started.pop())
        self._stopped = True
        self.synchronization.stop()
        self._waiting.clear()
        self._answerWaiting(lambda waits: waits.errback(BadHandle("the node stops")))

    @inlineCallbacks
    def _stopEngine(self, place: Place) -> Generator[Any, Any, None]:
        patience = self.clock.seconds() + SHUTDOWN_SECONDS
        while place.call(place.engine.shutdown) is False:
            if self.clock.seconds() >= patience:
                self._log.warn("Service {name} does not stop", name=place.name)
                return
            pause: Deferred[None] = Deferred()
            self.clock.callLater(SHUTDOWN_RETRY_SECONDS, pause.callback, None)
            yield pause

    # From the total order.

    def configurationChanged(self, configuration: Configuration) -> None:
        if self._stopped:
            return  # The ring goes on a little longer than its services.
        self._compact = False
        if not configuration.transitional:
            self.configuration = configuration
            self._announced.forget()
            self._announcementSent = False
        else:
            self.synchronization.configurationChanged(configuration)
        for place in self._byId.values():
            place.call(place.engine.configurationChanged, configuration)
        if not configuration.transitional:
            self.synchronization.configurationChanged(configuration)

    def messageDelivered(self, nodeid: int, message: bytes, byteOrder: str) -> None:
        if self._stopped:
            return
        if nodeid not in self.configuration.members:
            # Frames name their senders: somebody lies.
            self._counters["stranger"] += 1
            return
        self._counters["delivered"] += 1
        try:
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
        if self._stopped:
            return
        self.synchronization.tokenPassed()
        self._runWaiting()

    # Routing.

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
        place = self._byId.get(service)
        if place is None:
            self._counters["unknownService"] += 1
        else:
            place.call(place.engine.messageDelivered, nodeid, function, rest, byteOrder)

    def _compactDelivered(self, nodeid: int, body: bytes) -> None:
        header = compact.Header.decode(body)
        if header.kind == Kind.ANNOUNCEMENT:
            self._announcementDelivered(nodeid, Announcement.decode(header, body))
            return
        place = self._byId.get(header.service)
        if header.kind != Kind.ENGINE or place is None:
            self._counters["unknownService"] += 1
        elif header.ringId == self.configuration.ringId:
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
        Say what we understand, once on each ring.

        @return: L{False} to be called again: no room.
        """
        if not self._announcementSent:
            body = Announcement(self.configuration.ringId, FEATURES).encode()
            self._announcementSent = self.totem.multicast(
                address(compact.GROUP, body), Guarantee.AGREED
            )
        return self._announcementSent

    def _announcementDelivered(self, nodeid: int, message: Announcement) -> None:
        if message.ringId == self.configuration.ringId:
            self._announced.heard(nodeid, message.features)

    def compactAllowed(self) -> bool:
        """
        Did every member of this ring announce the short form, and is the round
        complete in which they did?
        """
        return self._compact

    # For synchronization.

    def participants(self) -> Sequence[Place]:
        """
        The engines that take part and work.
        """
        return [
            place
            for place in self._byId.values()
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
        self._compact = self._announced.everybody(
            self.configuration.members, Feature.COMPACT_CPG
        )
        self.totem.synchronized()
        self._log.info(
            "Services synchronized on ring {ringId}: nodes {members}, {form} form",
            ringId=str(self.configuration.ringId),
            members=self.configuration.members,
            form="compact" if self._compact else "corosync's",
        )
        self._runWaiting()
        self._answerWaiting(lambda waits: waits.callback(None))

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
        try:
            return self.engines[name]
        except KeyError:
            raise NotExist(f"no engine {name!r} on this node") from None

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
        self.clock.callLater(0, self._requestShutdown, reason)

    def _requestShutdown(self, reason: str) -> None:
        if not self.shutdown.called:
            self.shutdown.callback(reason)

    def memoryFailed(self, who: str, what: str) -> None:
        """
        Counted, and shown.
        """
        self._counters["memoryFailed"] = self._counters.get("memoryFailed", 0) + 1
        self._log.critical("Service {who}: no memory for {what}", who=who, what=what)

    # For local clients.

    def connectionOpened(self, connection: IConnection) -> None:
        """
        Every engine makes its private data for the connection.
        """
        connection.private = {
            place.name: place.call(place.engine.privateData, connection)
            for place in self._byId.values()
        }

    def connectionClosed(self, connection: IConnection) -> None:
        """
        Every engine hears that the client is gone.
        """
        for place in self._byId.values():
            place.call(place.engine.connectionClosed, connection)

    # For people.

    def dump(self) -> Mapping[str, Any]:
        """
        The state of every engine, and of the manager, as JSON values.
        """
        return {
            "synchronization": self.synchronization.progress(),
            "compact": self._compact,
            "waiting": len(self._waiting),
            "counters": dict(self._counters),
            "engines": {
                place.name: {
                    **place.status(),
                    "state": place.call(place.engine.dump),
                }
                for place in self._byId.values()
            },
        }
