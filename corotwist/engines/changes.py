"""
What changes about the engines of a node while it runs: one is replaced by
another version of itself, loaded, unloaded, or started again after it failed.
[ARCH Live Component Replacement]

A replacement goes like this::

    the new version is found, imported and constructed
    it sees the configuration, and initializes itself   the old one serves
    the services are in step, and nothing is delivered
      in one turn of the reactor:
        the old engine hands over
        the new engine takes over                       or the old one again
    the new engine serves

Until the last step nothing has happened to the old engine, and whatever goes
wrong before leaves it as it is.  Nothing is ever held back for an engine that
is not there yet: what is delivered meanwhile the old one gets.
"""

from collections.abc import Callable, Generator
from typing import Any, Final, Protocol

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    fail,
    inlineCallbacks,
)
from twisted.internet.defer import TimeoutError as TooLate
from twisted.logger import Logger
from twisted.python.failure import Failure

from corotwist.components import Component
from corotwist.engines.comings import Comings
from corotwist.engines.flow import FlowControl
from corotwist.engines.interfaces import EngineNews, News
from corotwist.engines.place import Place
from corotwist.engines.precedence import dependents
from corotwist.engines.roster import Roster
from corotwist.engines.successor import Successor, prepare
from corotwist.errors import BadHandle, Busy, ComponentFailed, Exists, ServiceError

# For the services to be in step.
QUIET_SECONDS: Final = 30.0
# Before an engine that failed is started again the first time; then twice as
# long each time.
RESTART_SECONDS: Final = 1.0


class Home(Protocol):
    """
    The service manager.
    """

    roster: Roster
    comings: Comings
    flow: FlowControl

    def synchronizing(self) -> bool: ...
    def whenSynchronized(self) -> Deferred[None]: ...


class Changes:
    """
    One change after the other; a second one is refused while one is on its
    way.
    """

    def __init__(self, home: Home) -> None:
        self._log = Logger()
        self._home = home
        self._comings = home.comings
        self._roster = home.roster
        self._clock = home.roster.clock
        self._doing = ""
        self._running: Deferred[EngineNews] | None = None
        self._restarts: dict[str, int] = {}

    # For operators.

    def replace(self, name: str, version: int | None = None) -> Deferred[EngineNews]:
        """
        Let another version of an engine, newer or older, take over its work.
        One that is out of service is started anew, in any version.

        @param version: by default the newest.
        @return: fires when the new one serves.  Fails, and the old one serves
            on, with L{NotExist}, L{Exists} (that version serves already),
            L{NotSupported} (one of the two cannot hand over), L{Busy} (another
            change is on its way), L{ComponentFailed} with the reason, or
            L{BadHandle} when the node stops.
        """
        return self._alone(f"replacing {name}", self._replace, name, version)

    def load(self, name: str, version: int | None = None) -> Deferred[EngineNews]:
        """
        Start an engine that is not loaded.  If it synchronizes, it begins with
        a round of its own.

        @return: fires when it is there.  Fails with L{Exists} when it was, and
            else like L{replace}.
        """
        return self._alone(f"loading {name}", self._load, name, version)

    def unload(self, name: str) -> Deferred[EngineNews]:
        """
        Stop an engine.  Its clients stay connected; what they ask of it is
        answered with an error.

        @return: fires when it is gone.  Fails with L{NotExist}, and with L{Busy}
            when other engines require it.
        """
        return self._alone(f"unloading {name}", self._unload, name)

    def stop(self) -> None:
        """
        The node stops: what is on its way is given up.
        """
        if self._running is not None:
            self._running.cancel()

    # One at a time.

    def _alone(
        self, doing: str, change: Callable[..., Any], *arguments: Any
    ) -> Deferred[EngineNews]:
        if self._doing:
            return fail(Busy(f"the node is {self._doing}"))
        self._doing = doing
        running = self._running = self._inTurn(change, *arguments)
        result: Deferred[EngineNews] = Deferred()  # Cancelled, it goes on.
        running.addBoth(self._done).addErrback(self._named).chainDeferred(result)
        return result

    def _done(self, result: Any) -> Any:
        self._doing = ""
        self._running = None
        return result

    def _named(self, failure: Failure) -> Failure:
        """
        Whatever went wrong, as clients can be told.
        """
        error = failure.value
        if isinstance(error, ServiceError):
            return failure
        if isinstance(error, CancelledError) and self._roster.stopping:
            raise BadHandle("the node stops")
        self._log.failure("A component cannot be used", failure=failure)
        raise ComponentFailed(f"{type(error).__name__}: {error}")

    @inlineCallbacks
    def _inTurn(
        self, change: Callable[..., Any], *arguments: Any
    ) -> Generator[Any, Any, EngineNews]:
        yield self._turn()
        news: EngineNews = yield change(*arguments)
        self._log.info("{news}", news=str(news))
        self._comings.tellClients(news)
        return news

    def _turn(self) -> Deferred[None]:
        """
        A turn of the reactor: whoever asks may be in the middle of a delivery.
        """
        turn: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._clock.callLater(0, turn.callback, None)
        return turn

    @inlineCallbacks
    def _quiet(self) -> Generator[Any, Any, None]:
        """
        Wait until the services are in step and nothing is delivered.
        """
        patience = self._clock.seconds() + QUIET_SECONDS
        while True:
            yield self._turn()
            if self._roster.stopping:
                raise BadHandle("the node stops")
            if not self._home.synchronizing():
                return
            left = max(0.0, patience - self._clock.seconds())
            try:
                yield self._home.whenSynchronized().addTimeout(left, self._clock)
            except TooLate:
                raise ComponentFailed(
                    f"the services were not in step for {QUIET_SECONDS:g} s"
                ) from None

    # Replacing.

    @inlineCallbacks
    def _replace(
        self, name: str, version: int | None
    ) -> Generator[Any, Any, EngineNews]:
        old = self._roster.place(name)
        new = yield prepare(self._roster, name, version, old)
        try:
            yield self._quiet()
            new.check()
            what = self._started(old, new) if old.failed else self._switched(old, new)
        except Exception:
            new.discard()
            raise
        return _news(new.component, what)

    def _switched(self, old: Place, new: Successor) -> News:
        """
        Between two deliveries, and outside of any round.
        """
        state = old.engine.handOver()
        try:
            new.place.engine.takeOver(state, old.engine.version)
        except Exception:
            new.place.retire()  # Who knows what it would do at its end.
            self._giveBack(old, state)
            raise
        self._succeed(old, new)
        return News.REPLACED

    def _giveBack(self, old: Place, state: Any) -> None:
        try:
            old.engine.takeOver(state, old.engine.version)
        except Exception:  # noqa: BLE001 - It is a stranger's.
            self._log.failure("Service {name} lost its state", name=old.name)
            old.fail()

    def _succeed(self, old: Place, new: Successor) -> None:
        before = self._roster.component(old.name)
        old.retire()
        new.place.serve()
        self._comings.replaced(old, new.place)
        self._roster.install(new.place, new.component)
        self._release(before)

    def _started(self, old: Place, new: Successor) -> News:
        """
        The old one failed: begin without a past.
        """
        self._comings.left(old)
        self._succeed(old, new)
        self._comings.joined(new.place)
        return News.RESTARTED

    # Loading and unloading.

    @inlineCallbacks
    def _load(self, name: str, version: int | None) -> Generator[Any, Any, EngineNews]:
        if name in self._roster.engines:
            there = self._roster.component(name)
            raise Exists(f"{there} is loaded; replace it to have another version")
        new = yield prepare(self._roster, name, version, None)
        try:
            yield self._quiet()
            new.check()
        except Exception:
            new.discard()
            raise
        new.place.serve()
        self._roster.install(new.place, new.component)
        self._roster.started(new.place)
        self._comings.joined(new.place)
        return _news(new.component, News.LOADED)

    @inlineCallbacks
    def _unload(self, name: str) -> Generator[Any, Any, EngineNews]:
        place = self._roster.place(name)
        needed = dependents(name, self._roster.places.values())
        if needed:
            raise Busy(f"engine {name!r} is required by {', '.join(needed)}")
        yield self._quiet()
        if not place.over:
            yield self._roster.stopEngine(place)
        yield self._turn()  # It may have ended in the middle of a delivery.
        if self._roster.stopping:
            raise BadHandle("the node stops")
        place.retire()
        component = self._roster.remove(place)
        self._comings.left(place)
        self._release(component)
        return _news(component, News.UNLOADED)

    def _release(self, component: Component) -> None:
        """
        Forget its code, unless somebody else uses it.
        """
        self._roster.components.release(component)
        if not component.references:
            self._roster.components.unload(component)

    # After a failure.

    def failed(self, place: Place) -> None:
        """
        An engine is out of service: tell its clients, and start it again if
        that is wanted.
        """
        news = EngineNews(
            place.name,
            place.engine.version,
            News.FAILED,
            f"it failed {place.failures} times",
        )
        # Later: somebody is in the middle of a delivery.
        self._clock.callLater(0, self._home.flow.forget, place.serviceId)
        self._clock.callLater(0, self._comings.tellClients, news)
        count = self._restarts.get(place.name, 0)
        if count < self._roster.settings.components.restarts:
            self._restarts[place.name] = count + 1
            delay = RESTART_SECONDS * 2**count
            self._clock.callLater(delay, self._restart, place)

    def _restart(self, place: Place) -> None:
        """
        Unless somebody else did it.
        """
        if self._roster.stopping or place not in self._roster.places.values():
            return
        if self._doing:
            self._clock.callLater(RESTART_SECONDS, self._restart, place)
            return
        version = place.engine.version
        self.replace(place.name, version).addErrback(
            lambda failure: self._log.error(
                "Service {name} cannot be started again: {reason}",
                name=place.name,
                reason=failure.getErrorMessage(),
            )
        )


def _news(component: Component, what: News) -> EngineNews:
    return EngineNews(component.name, component.version, what, str(component))
