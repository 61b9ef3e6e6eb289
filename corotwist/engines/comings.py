"""
What a node does around an engine that comes or goes while it runs.
"""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from corotwist.engines.facilities import Facilities
from corotwist.engines.flow import FlowControl
from corotwist.engines.interfaces import EngineNews
from corotwist.engines.place import Place
from corotwist.engines.sync import Synchronization
from corotwist.interfaces import ITotem
from corotwist.totem.membership import Configuration


class Home(Protocol):
    """
    The service manager.
    """

    totem: ITotem
    configuration: Configuration
    synchronization: Synchronization
    facilities: Facilities
    flow: FlowControl


class Comings:
    """
    Of all engines of a node.
    """

    def __init__(self, home: Home, watch: Callable[[Place], None]) -> None:
        """
        @param watch: sees to it that the failures of an engine are noticed.
        """
        self._log = Logger()
        self._home = home
        self._watch = watch

    def joined(self, place: Place) -> None:
        """
        An engine was loaded, and knows nothing of the ring yet: tell it where
        we are, and have a round for it if it needs one.
        """
        home = self._home
        self._watch(place)
        for connection in self.clients():
            connection.private[place.name] = place.call(
                place.engine.privateData, connection
            )
        place.waiting = place.synchronized
        if place.waiting:
            home.synchronization.begins(place.serviceId, home.totem.nodeid)
        if home.configuration.members:
            place.call(place.engine.configurationChanged, home.configuration)
            if place.waiting:
                home.totem.reform()

    def replaced(self, old: Place, new: Place) -> None:
        """
        A new engine serves in the place of another: what is outside of engines
        belongs to it.
        """
        self._watch(new)
        new.waiting = old.waiting
        self._home.facilities.children.passOn(old.call, new.call)

    def discarded(self, place: Place) -> None:
        """
        An engine has initialized itself and will never serve.
        """
        self._home.facilities.children.discard(place.call)
        self._home.flow.discarded(place)
        if not place.over:
            place.discard()

    def left(self, place: Place) -> None:
        """
        An engine is not there any more, and nobody keeps anything of it.
        """
        self._home.flow.forget(place.serviceId)
        for connection in self.clients():
            connection.private.pop(place.name, None)

    def tellClients(self, news: EngineNews) -> None:
        """
        Every local client hears what happened to an engine.
        """
        for connection in self.clients():
            try:
                connection.engineChanged(news)
            except Exception:  # noqa: BLE001 - The others hear it anyway.
                self._log.failure("A client was not told: {news}", news=str(news))

    def clients(self) -> list[Any]:
        """
        The connections of those who are there.
        """
        return [v.connection for v in self._home.facilities.connections if not v.gone]
