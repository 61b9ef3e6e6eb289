"""
The engines of a node: which are loaded, and how they start and stop.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from corotwist.config.settings import NodeSettings
from corotwist.engines.context import Cluster
from corotwist.engines.place import Place
from corotwist.errors import ConfigurationError, NotExist, PluginClash, Problem
from corotwist.interfaces import IEngineMaker
from corotwist.plugin import newest

# An engine that is busy is asked again to stop, so often and for so long.
SHUTDOWN_RETRY_SECONDS: Final = 0.01
SHUTDOWN_SECONDS: Final = 0.5

MakeContext = Callable[[Place], Cluster]


class Roster:
    """
    The engines of one node, each in its place.

    @ivar engines: by name.
    @ivar makers: those of the loaded engines, by name.
    @ivar places: by service id, ascending: the order of configurations and of
        synchronization.
    @ivar stopped: nothing of it runs any more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: NodeSettings,
        makers: Iterable[IEngineMaker],
        context: MakeContext,
    ) -> None:
        """
        @param makers: the engines to choose from.
        @param context: makes what an engine may ask of its node.
        """
        self._log = Logger()
        self._clock = clock
        self._settings = settings
        self._offered = list(makers)
        self._context = context
        self.makers: dict[str, IEngineMaker] = {}
        self.engines: dict[str, Any] = {}
        self.places: dict[int, Place] = {}
        self.stopped = False
        self._started: list[Place] = []
        self._ending: list[Deferred[None]] = []

    def named(self, name: str) -> Any:
        """
        @raise NotExist: when it is not loaded.
        """
        try:
            return self.engines[name]
        except KeyError:
            raise NotExist(f"no engine {name!r} on this node") from None

    # Starting.

    def load(self) -> None:
        """
        Import and construct every wanted engine.

        @raise PluginClash: two have the same number, or name and version.
        """
        wanted = [m for m in self._offered if m.wanted(self._settings)]
        for name, maker in newest(wanted).items():
            engine = maker.load()
            other = self.places.get(engine.serviceId)
            if other is not None:
                raise PluginClash(
                    f"engines {other.name!r} and {name!r} "
                    f"both have service id {engine.serviceId}"
                )
            self.places[engine.serviceId] = Place(engine, self._log)
            self.makers[name] = maker
            self.engines[name] = engine
        self.places = dict(sorted(self.places.items()))

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
        places = sorted(
            self.places.values(), key=lambda p: (p.engine.priority, p.serviceId)
        )
        self._configure(places)
        for place in places:
            try:
                yield maybeDeferred(
                    place.engine.initialize, self._context(place), self._settings
                )
            except Exception:
                yield self.stop()
                raise
            self._started.append(place)
            if self.stopped:  # While this one took its time.
                yield self.stop()
                return
        self._log.info(
            "Services {names}", names=", ".join(place.name for place in places)
        )

    def _configure(self, places: Iterable[Place]) -> None:
        problems: list[Problem] = []
        for place in places:
            try:
                place.engine.configure(self._settings)
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
            yield self._stopEngine(self._started.pop())
        self.stopped = True

    @inlineCallbacks
    def _stopEngine(self, place: Place) -> Generator[Any, Any, None]:
        patience = self._clock.seconds() + SHUTDOWN_SECONDS
        while place.call(place.engine.shutdown) is False:
            if self._clock.seconds() >= patience:
                self._log.warn("Service {name} does not stop", name=place.name)
                return
            pause: Deferred[None] = Deferred()
            self._clock.callLater(SHUTDOWN_RETRY_SECONDS, pause.callback, None)
            yield pause

    # For people.

    def dump(self) -> Mapping[str, Any]:
        """
        The state of every engine, as JSON values.
        """
        return {
            place.name: {**place.status(), "state": place.call(place.engine.dump)}
            for place in self.places.values()
        }
