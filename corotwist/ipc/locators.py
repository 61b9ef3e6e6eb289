"""
The responder locators of one client: who answers what it asks.

Each engine that clients can talk to has one, made by its maker.  It stays when
the engine is replaced, for what it knows of the engine is a stand-in for
whichever version is on duty; only a version that brings another locator gets a
new one.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from attrs import define
from twisted.logger import Logger

from corotwist.engines.interfaces import EngineNews
from corotwist.interfaces import IReplaceable
from corotwist.ipc.channel import Responder, firstResponder
from corotwist.ipc.gated import Gated


@define(eq=False)
class _Made:
    """
    A locator, and what made it.

    @ivar gated: the same behind the gate of the node.
    """

    factory: Any
    version: int
    locator: Any
    gated: Gated


class Locators:
    """
    Those of one client, the node's own first.
    """

    def __init__(
        self,
        manager: Any,
        connection: Any,
        *own: Any,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param own: locators that are no engine's.
        @param changed: called when L{locate} may answer otherwise.
        """
        self._log = Logger()
        self._manager = manager
        self._connection = connection
        self._own = own
        self._changed = changed
        self._made: dict[str, _Made] = {}
        for name in manager.engines:
            self._make(name)

    def __iter__(self) -> Iterator[Any]:
        yield from self._own
        for made in self._made.values():
            yield made.gated

    def locate(self, name: bytes) -> Responder | None:
        """
        Who answers a command.
        """
        responder = firstResponder(self, name)
        if responder is None:
            return None
        counting: Responder = self._connection.usage.counting(name, responder)
        return counting

    def engineChanged(self, news: EngineNews) -> None:
        """
        An engine was loaded or replaced, or is not there any more; then its
        locator stays and answers with errors.
        """
        if news.name in self._manager.engines:
            self._make(news.name)
            self._changed()

    def _make(self, name: str) -> None:
        maker = self._manager.makers.get(name)
        factory = maker.responders() if maker else None
        before = self._made.get(name)
        if factory is None:
            self._made.pop(name, None)
        elif before is None or before.factory is not factory:
            engine = self._manager.onDuty(name)
            try:
                locator = factory(engine, self._connection)
                if before is not None:
                    _pass(before, locator)
            except Exception:  # noqa: BLE001 - It is a stranger's.
                self._log.failure("Clients cannot reach {name}", name=name)
                return
            admit = partial(self._manager.admit, engine, self._connection)
            gated = Gated(locator, admit)
            self._made[name] = _Made(factory, maker.version, locator, gated)


def _pass(before: _Made, locator: Any) -> None:
    """
    Let a locator know what the one before it knew, if both can.
    """
    if IReplaceable.providedBy(before.locator) and IReplaceable.providedBy(locator):
        locator.takeOver(before.locator.handOver(), before.version)
