"""
An engine that is about to serve: found, constructed, configured and
initialized, while nobody else notices.
"""

from collections.abc import Generator
from typing import Any, Final

from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.defer import inlineCallbacks

from corotwist.components import Component
from corotwist.engines.place import Duty, Place
from corotwist.engines.precedence import startOrder
from corotwist.engines.roster import Roster
from corotwist.errors import ComponentFailed, Exists, NotSupported, TryAgain
from corotwist.interfaces import IEngineMaker, IReplaceable, IServiceEngine

# For a new engine to initialize itself.
PREPARATION_SECONDS: Final = 10.0


class Successor:
    """
    From its construction on until it serves, or is discarded.

    @ivar component: referenced until then; afterwards by who uses it.
    """

    def __init__(self, roster: Roster, component: Component) -> None:
        self.component = component
        self._roster = roster
        self._settings = roster.settings
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        """
        Where it will serve.
        """
        assert self._place is not None, "constructed"
        return self._place

    def construct(self, old: Place | None) -> None:
        """
        Import it, and look at it.

        @param old: in whose place it is to serve.
        @raise ServiceError: it is not what is needed.
        @raise PluginClash: another engine has its number, or requires what is
            not there.
        """
        place = self._place = self._roster.construct(self.component)
        place.duty = Duty.PREPARING
        _mustFit(place, self.component, old)
        others = [p for p in self._roster.places.values() if p is not old]
        startOrder([place, *others])

    @inlineCallbacks
    def initialize(self) -> Generator[Any, Any, None]:
        """
        Show it the configuration, and let it begin.

        @return: fails with L{ComponentFailed} when it takes too long, and with
            whatever it raises.
        """
        self.place.engine.configure(self._settings)
        starting = self._roster.initialize(self.place)
        try:
            yield starting.addTimeout(PREPARATION_SECONDS, self._roster.clock)
        except TooLate:
            raise ComponentFailed(
                f"{self.component} was not ready within {PREPARATION_SECONDS:g} s"
            ) from None

    def check(self) -> None:
        """
        Can it serve?

        @raise ComponentFailed: it raised too often already.
        @raise TryAgain: it does not know the configuration in force.
        """
        if self.place.duty is not Duty.PREPARING:
            raise ComponentFailed(f"{self.component} raised before it served")
        if self._roster.settings is not self._settings:
            raise TryAgain("the configuration changed meanwhile")

    def discard(self) -> None:
        """
        It will never serve.
        """
        if self._place is not None:
            self._roster.discarded(self._place)
        self._roster.components.release(self.component)


@inlineCallbacks
def prepare(
    roster: Roster, name: str, version: int | None, old: Place | None
) -> Generator[Any, Any, Successor]:
    """
    Find an engine and make it ready.

    @param version: L{None} for the newest.
    @param old: in whose place it is to serve; L{None} for a new one.
    @return: fires with a L{Successor}; when it fails, nothing of it is left.
    """
    component = roster.components.reference(IEngineMaker, name, version)
    new = Successor(roster, component)
    try:
        if not component.provider.wanted(roster.settings):
            _unwanted(component)
        if old is not None and not old.failed:
            _mustDiffer(old, component)
        new.construct(old)
        yield new.initialize()
    except Exception:
        new.discard()
        raise
    return new


def _unwanted(component: Component) -> None:
    raise NotSupported(f"the configuration has no use for {component}")


def _mustDiffer(old: Place, component: Component) -> None:
    if old.engine.version == component.version:
        raise Exists(f"{component} serves already")
    if not IReplaceable.providedBy(old.engine):
        raise NotSupported(
            f"engine {old.name!r} version {old.engine.version} cannot hand over"
        )


def _mustFit(new: Place, component: Component, old: Place | None) -> None:
    """
    @raise ComponentFailed: it is not what its maker says, or not what is needed.
    """
    engine = new.engine
    if not IServiceEngine.providedBy(engine):
        raise ComponentFailed(f"{component} is no service engine")
    if (engine.name, engine.version) != (component.name, component.version):
        raise ComponentFailed(
            f"{component} calls itself {engine.name!r} version {engine.version}"
        )
    if old is None:
        return
    if engine.serviceId != old.serviceId:
        raise ComponentFailed(
            f"{component} has service id {engine.serviceId}, not {old.serviceId}"
        )
    if not old.failed and not IReplaceable.providedBy(engine):
        raise NotSupported(f"{component} cannot take over")
