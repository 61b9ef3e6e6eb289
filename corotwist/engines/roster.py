"""
The engines of a node: which are loaded, and how they start and stop.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from corotwist.components import Component, Components
from corotwist.config.settings import NodeSettings
from corotwist.engines.context import Cluster
from corotwist.engines.place import Place
from corotwist.engines.precedence import startOrder
from corotwist.errors import (
    ConfigurationError,
    NotExist,
    NotSupported,
    PluginClash,
    Problem,
)
from corotwist.interfaces import IEngineMaker, IReconfigurable

# Service ids have 16 bits in messages.
SERVICE_IDS: Final = range(1 << 16)
# An engine that is busy is asked again to stop, so often and for so long.
SHUTDOWN_RETRY_SECONDS: Final = 0.01
SHUTDOWN_SECONDS: Final = 0.5
# And one that returned a Deferred instead.
SLOW_SHUTDOWN_SECONDS: Final = 10.0

MakeContext = Callable[[Place], Cluster]


class OnDuty:
    """
    The engine of a name, whichever version of it is on duty: for those who
    keep it over turns of the reactor.

    Whatever is asked of it raises L{NotSupported} while no engine of that name
    is in service.
    """

    def __init__(self, roster: "Roster", name: str) -> None:
        self._roster = roster
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._roster.inService(self._name), attribute)


class Roster:
    """
    The engines of one node, each in its place.

    @ivar components: the engines to choose from.
    @ivar settings: the configuration in force.
    @ivar engines: by name.
    @ivar makers: those of the loaded engines, by name.
    @ivar places: by service id, ascending: the order of configurations and of
        synchronization.
    @ivar stopped: nothing of it runs any more.
    @ivar onStopped: called with the name of an engine that has stopped; what
        it returns fires when all that it had here has ended.
    @ivar discarded: called with the place of an engine that was to serve later
        and never will.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: NodeSettings,
        makers: "Components | Iterable[IEngineMaker]",
        context: MakeContext,
    ) -> None:
        """
        @param makers: the engines to choose from.
        @param context: makes what an engine may ask of its node.
        """
        self.log = Logger()
        self.clock = clock
        self.settings = settings
        self.components = Components.of(makers)
        self._context = context
        self.makers: dict[str, IEngineMaker] = {}
        self.engines: dict[str, Any] = {}
        self.places: dict[int, Place] = {}
        self.stopped = False
        self.onStopped: Callable[[str], Deferred[Any]] | None = None
        self.discarded: Callable[[Place], None] = Place.discard
        self._used: dict[str, Component] = {}
        self._started: list[Place] = []
        self._ending: list[Deferred[None]] = []

    @property
    def stopping(self) -> bool:
        """
        Has the end begun?
        """
        return self.stopped or bool(self._ending)

    def named(self, name: str) -> Any:
        """
        @raise NotExist: when it is not loaded.
        """
        try:
            return self.engines[name]
        except KeyError:
            raise NotExist(f"no engine {name!r} on this node") from None

    def place(self, name: str) -> Place:
        """
        @raise NotExist: when it is not loaded.
        """
        return self.places[self.named(name).serviceId]

    def component(self, name: str) -> Component:
        """
        What a loaded engine was made from.
        """
        return self._used[name]

    def inService(self, name: str) -> Any:
        """
        @raise NotSupported: there is no such engine at the moment.
        """
        engine = self.engines.get(name)
        if engine is None:
            raise NotSupported(f"engine {name!r} is not loaded on this node")
        if self.places[engine.serviceId].over:
            raise NotSupported(f"engine {name!r} is out of service on this node")
        return engine

    def onDuty(self, name: str) -> Any:
        """
        A stand-in that is that engine, also after it was replaced.
        """
        return OnDuty(self, name)

    # Who is there.

    def load(self) -> None:
        """
        Import and construct every wanted engine.

        @raise ConfigurationError: one that is asked for is not there.
        @raise PluginClash: two have the same number, or name and version, or
            one requires what is not there.
        """
        for component in self._wanted():
            component.references += 1
            self.install(self.construct(component), component)
        for problem in self.components.problems():
            self.log.warn("Not a component: {problem}", problem=problem)
        startOrder(self.places.values())

    def _wanted(self) -> list[Component]:
        chosen = self.settings.components.engines
        if not chosen:
            known = self.components.known(IEngineMaker)
            wanted = [c for c in known if c.provider.wanted(self.settings)]
            return list({c.name: c for c in wanted}.values())  # The newest of each.
        found, problems = [], []
        for name, version in chosen:
            try:
                found.append(self.components.find(IEngineMaker, name, version))
            except NotExist as error:
                file = ", ".join(self.settings.sources) or "configuration"
                problems.append(Problem(file, 0, "corotwist.engines", str(error)))
        if problems:
            raise ConfigurationError(*problems)
        return found

    def construct(self, component: Component) -> Place:
        """
        Import and construct an engine.

        @raise PluginClash: another one has its number, or it is none.
        """
        engine = component.provider.load()
        if engine.serviceId not in SERVICE_IDS:
            raise PluginClash(
                f"engine {component.name!r} has service id {engine.serviceId}, "
                "which is no number of 16 bits"
            )
        other = self.places.get(engine.serviceId)
        if other is not None and other.name != component.name:
            raise PluginClash(
                f"engines {other.name!r} and {component.name!r} "
                f"both have service id {engine.serviceId}"
            )
        return Place(engine, self.log)

    def initialize(self, place: Place) -> Deferred[None]:
        """
        Let an engine initialize itself.
        """
        place.cluster = self._context(place)
        return maybeDeferred(place.engine.initialize, place.cluster, self.settings)

    def install(self, place: Place, component: Component) -> None:
        """
        From now on this is the engine of its name.
        """
        name = place.name
        before = self.places.get(place.serviceId)
        if before in self._started:
            self._started[self._started.index(before)] = place
        self.places[place.serviceId] = place
        self.places = dict(sorted(self.places.items()))
        self._used[name] = component
        self.makers[name] = component.provider
        self.engines[name] = place.engine

    def started(self, place: Place) -> None:
        """
        One that was loaded later is stopped with the others.
        """
        self._started = startOrder([*self._started, place])

    def remove(self, place: Place) -> Component:
        """
        There is no engine of that name any more.

        @return: what it was made from.
        """
        if place in self._started:
            self._started.remove(place)
        del self.places[place.serviceId]
        del self.engines[place.name], self.makers[place.name]
        return self._used.pop(place.name)

    # Starting.

    @inlineCallbacks
    def start(self) -> Generator[Any, Any, None]:
        """
        Show the engines the configuration, and initialize them by ascending
        priority.

        @return: fires when all have started.  Fails with a
            L{ConfigurationError} of all that is wrong for any of them, before
            one has started; later with what the first failing engine raised,
            after those before it were stopped.
        """
        places = startOrder(self.places.values())
        self._configure(places)
        for place in places:
            try:
                yield self.initialize(place)
            except Exception:
                yield self.stop()
                raise
            self._started.append(place)
            if self.stopped:  # While this one took its time.
                yield self.stop()
                return
        self.log.info(
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

    # Stopping.

    def stop(self) -> Deferred[None]:
        """
        Shut the engines down by descending priority.

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
            yield self.stopEngine(self._started.pop())
        self.stopped = True

    @inlineCallbacks
    def stopEngine(self, place: Place) -> Generator[Any, Any, None]:
        """
        Shut one engine down, then what it had at this node.

        @return: fires when it has stopped, or had L{SHUTDOWN_SECONDS}; if it
            said that it takes longer, L{SLOW_SHUTDOWN_SECONDS}.
        """
        yield self._shutDown(place)
        if self.onStopped is not None:
            yield self.onStopped(place.name)

    @inlineCallbacks
    def _shutDown(self, place: Place) -> Generator[Any, Any, None]:
        patience = self.clock.seconds() + SHUTDOWN_SECONDS
        while True:
            answer = place.call(place.engine.shutdown)
            if isinstance(answer, Deferred):
                yield self._ends(place, answer)
                return
            if answer is not False:
                return
            if self.clock.seconds() >= patience:
                self.log.warn("Service {name} does not stop", name=place.name)
                return
            pause: Deferred[None] = Deferred()
            self.clock.callLater(SHUTDOWN_RETRY_SECONDS, pause.callback, None)
            yield pause

    @inlineCallbacks
    def _ends(self, place: Place, ending: Deferred[Any]) -> Generator[Any, Any, None]:
        try:
            yield ending.addTimeout(SLOW_SHUTDOWN_SECONDS, self.clock)
        except TooLate:
            self.log.warn("Service {name} does not stop", name=place.name)
        except Exception:  # noqa: BLE001 - It ends all the same.
            self.log.failure("Service {name} stops badly", name=place.name)

    # Other settings.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        Ask every engine that follows settings.

        @raise ConfigurationError: what is wrong for any of them.
        """
        problems: list[Problem] = []
        for place in self._following():
            try:
                place.engine.reconfigurationProposed(settings)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(*problems)

    def reconfigured(self, settings: NodeSettings) -> None:
        """
        These are in force; engines that are loaded later get them too.
        """
        self.settings = settings
        for place in self._following():
            place.call(place.engine.reconfigured, settings)

    def _following(self) -> list[Place]:
        return [
            place
            for place in self.places.values()
            if IReconfigurable.providedBy(place.engine) and not place.over
        ]

    # For people.

    def dump(self) -> Mapping[str, Any]:
        """
        The state of every engine, as JSON values.
        """
        return {
            place.name: {**place.status(), "state": place.call(place.engine.dump)}
            for place in self.places.values()
        }
