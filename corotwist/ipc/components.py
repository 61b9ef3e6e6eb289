"""
The components of a node, for operators: what there is, and replacing, loading
and unloading engines while the node runs.
"""

from collections.abc import Callable
from os import geteuid
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.engines.interfaces import EngineNews, News
from corotwist.interfaces import IConnection
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.channel import Box
from corotwist.ipc.jsonparts import Ask, Taken, wholeJson
from corotwist.ipc.wire import ERRORS, Unsigned

_NEWS = [
    (b"name", amp.Unicode()),
    (b"version", Unsigned(32)),
    (b"what", amp.Unicode()),
    (b"reason", amp.Unicode()),
]


class List(amp.Command):
    """
    All components that there are, as a part of some JSON.
    """

    commandName = b"components.list"
    arguments = [(b"part", Unsigned(32, optional=True))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Replace(amp.Command):
    """
    Let another version of an engine take over; the newest, if none is named.
    Answered when it serves, or when it failed and the old one goes on.
    """

    commandName = b"components.replace"
    arguments = [(b"name", amp.Unicode()), (b"version", Unsigned(32, optional=True))]
    response = _NEWS
    errors = ERRORS


class Load(amp.Command):
    """
    Start an engine that is not loaded.
    """

    commandName = b"components.load"
    arguments = [(b"name", amp.Unicode()), (b"version", Unsigned(32, optional=True))]
    response = _NEWS
    errors = ERRORS


class Unload(amp.Command):
    """
    Stop an engine.
    """

    commandName = b"components.unload"
    arguments = [(b"name", amp.Unicode())]
    response = _NEWS
    errors = ERRORS


class Changed(amp.Command):
    """
    To every client: something happened to an engine.
    """

    commandName = b"components.changed"
    arguments = _NEWS
    requiresAnswer = False


def newsBox(news: EngineNews) -> Box:
    """
    News as notification.
    """
    box = Changed.makeArguments(_fields(news), None)
    return {amp.COMMAND: Changed.commandName, **box}


def _fields(news: EngineNews) -> dict[str, Any]:
    return {
        "name": news.name,
        "version": news.version,
        "what": news.what.value,
        "reason": news.reason,
    }


def _news(name: str, version: int, what: str, reason: str) -> EngineNews:
    return EngineNews(name, version, News(what), reason)


class ComponentsLocator(amp.CommandLocator):
    """
    What one client may ask about components.  Only root and the user of the
    daemon may change anything.
    """

    def __init__(self, manager: Any, connection: IConnection) -> None:
        super().__init__()
        self._manager = manager
        self._connection = connection
        self._taken = Taken()

    @List.responder
    def _list(self, part: int | None = None) -> dict[str, Any]:
        return self._taken.part(part, self._described)

    def _described(self) -> dict[str, Any]:
        roster = self._manager.roster
        serving = {id(roster.component(name)): name for name in roster.engines}
        return {
            "components": [
                {
                    "kind": one.kind,
                    "name": one.name,
                    "version": one.version,
                    "origin": one.origin,
                    "references": one.references,
                    "state": (
                        roster.place(serving[id(one)]).state
                        if id(one) in serving
                        else ""
                    ),
                }
                for one in roster.components.known()
            ],
            "problems": list(roster.components.problems()),
        }

    @Replace.responder
    def _replace(self, name: str, version: int | None = None) -> Deferred[Any]:
        return self._answer(self._changes().replace(name, version))

    @Load.responder
    def _load(self, name: str, version: int | None = None) -> Deferred[Any]:
        return self._answer(self._changes().load(name, version))

    @Unload.responder
    def _unload(self, name: str) -> Deferred[Any]:
        return self._answer(self._changes().unload(name))

    def _answer(self, changed: Deferred[EngineNews]) -> Deferred[Any]:
        return changed.addCallback(_fields)

    def _changes(self) -> Any:
        """
        @raise AccessDenied: not for this client.
        """
        checkAdministrator(self._connection, geteuid)
        return self._manager.changes


# In the client.


@frozen
class ComponentInfo:
    """
    A component that there is.

    @ivar kind: C{'engine'}, C{'configuration'} or C{'transport'}.
    @ivar origin: where it was found.
    @ivar references: how often it is used.
    @ivar state: of a loaded engine, in words; empty for all others.
    """

    kind: str
    name: str
    version: int
    origin: str
    references: int
    state: str


@frozen
class ComponentList:
    """
    All there are.

    @ivar problems: what could not be looked at, in sentences.
    """

    components: tuple[ComponentInfo, ...]
    problems: tuple[str, ...]


class NodeComponents:
    """
    The components of a node, for a client.

    @ivar changed: called with L{EngineNews} when something happened to an
        engine of the node; may be set.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.changed: Callable[[EngineNews], object] | None = None

    def known(self) -> Deferred[ComponentList]:
        """
        What there is.

        @return: fires with all; fails with L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._known())

    async def _known(self) -> ComponentList:
        found = await wholeJson(self._ask, List)
        return ComponentList(
            tuple(ComponentInfo(**one) for one in found["components"]),
            tuple(found["problems"]),
        )

    def replace(self, name: str, version: int | None = None) -> Deferred[EngineNews]:
        """
        Let another version of an engine take over its work.

        @param version: by default the newest.
        @return: fires when it serves.  Fails, and the old one goes on, with
            L{AccessDenied}, L{NotExist}, L{Exists}, L{NotSupported}, L{Busy},
            L{ComponentFailed}, L{BadHandle} (the node stops) or
            L{Disconnected}.
        """
        return self._asked(Replace, name=name, version=version)

    def load(self, name: str, version: int | None = None) -> Deferred[EngineNews]:
        """
        Start an engine that is not loaded.

        @return: fires when it is there, fails like L{replace}.
        """
        return self._asked(Load, name=name, version=version)

    def unload(self, name: str) -> Deferred[EngineNews]:
        """
        Stop an engine.

        @return: fires when it is gone, fails like L{replace}.
        """
        return self._asked(Unload, name=name)

    def _asked(
        self, command: type[amp.Command], **arguments: Any
    ) -> Deferred[EngineNews]:
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._ask(command, **given).addCallback(lambda answer: _news(**answer))

    def heard(self, name: str, version: int, what: str, reason: str) -> None:
        """
        From the node: see L{Changed}.
        """
        if self.changed is not None:
            self.changed(_news(name, version, what, reason))
