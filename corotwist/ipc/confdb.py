"""
The object database for local clients: the commands, the answers, the
notifications.
"""

from collections.abc import Callable, Iterable
from os import geteuid
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.engines.entries import packEntry
from corotwist.engines.keyspace import IObjectDatabase
from corotwist.engines.operations import operations, packHandles, packResults
from corotwist.errors import (
    InvalidParameter,
)
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.cmap import Name
from corotwist.ipc.underway import UnderWay
from corotwist.ipc.wire import ERRORS, Unsigned

# From the client.


class Look(amp.Command):
    """
    An object, by its handle or its dotted name; with neither, the root.
    """

    commandName = b"confdb.look"
    arguments = [
        (b"object", Unsigned(64, optional=True)),
        (b"path", Name(optional=True)),
    ]
    response = [
        (b"object", Unsigned(64)),
        (b"parent", Unsigned(64, optional=True)),
        (b"name", Name()),
        (b"index", Unsigned(32, optional=True)),
        (b"path", Name()),
    ]
    errors = ERRORS


class Search(amp.Command):
    """
    Begin to list the objects in another one: all, or those of a name.
    """

    commandName = b"confdb.search"
    arguments = [
        (b"object", Unsigned(64)),
        (b"name", Name(optional=True)),
        (b"search", Unsigned(32)),
    ]
    response = [(b"found", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Keys(amp.Command):
    """
    Begin to list the keys of an object, with their values.
    """

    commandName = b"confdb.keys"
    arguments = [(b"object", Unsigned(64)), (b"search", Unsigned(32))]
    response = [(b"found", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Next(amp.Command):
    """
    Go on with either list.
    """

    commandName = b"confdb.next"
    arguments = [(b"search", Unsigned(32))]
    response = [(b"found", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class End(amp.Command):
    """
    List no more.
    """

    commandName = b"confdb.end"
    arguments = [(b"search", Unsigned(32))]
    errors = ERRORS


class Get(amp.Command):
    """
    Read a key of an object.
    """

    commandName = b"confdb.get"
    arguments = [(b"object", Unsigned(64)), (b"name", Name())]
    response = [(b"type", Unsigned(8)), (b"value", amp.String())]
    errors = ERRORS


class Perform(amp.Command):
    """
    Do several things as one.
    """

    commandName = b"confdb.perform"
    arguments = [(b"operations", amp.String())]
    response = [(b"results", amp.String())]
    errors = ERRORS


class Write(amp.Command):
    """
    Write the configuration to its file.
    """

    commandName = b"confdb.write"
    response = [(b"path", amp.Unicode())]
    errors = ERRORS


class Track(amp.Command):
    """
    Be told of changes: of an object, or of a key by its whole name.
    """

    commandName = b"confdb.track"
    arguments = [
        (b"object", Unsigned(64, optional=True)),
        (b"name", Name(optional=True)),
        (b"kinds", Unsigned(8)),
        (b"tracker", Unsigned(32)),
    ]
    errors = ERRORS


class Untrack(amp.Command):
    """
    Be told no more.
    """

    commandName = b"confdb.untrack"
    arguments = [(b"tracker", Unsigned(32))]
    errors = ERRORS


# To the client.


class Changed(amp.Command):
    """
    Changes that belong together, or, with C{more}, a part of them.
    """

    commandName = b"confdb.changed"
    arguments = [
        (b"tracker", Unsigned(32)),
        (b"changes", amp.String()),
        (b"more", amp.Boolean()),
    ]
    requiresAnswer = False


Answer = dict[str, Any]


class ObjectDatabaseLocator(amp.CommandLocator):
    """
    What one client may ask of the object database.
    """

    def __init__(
        self,
        database: IObjectDatabase,
        connection: Any,
        ours: Callable[[], int] = geteuid,
    ) -> None:
        """
        @param ours: the daemon's user, who may change objects and have the
            file written.
        """
        super().__init__()
        self._database = database
        self._connection = connection
        self._ours = ours
        self._underWay = UnderWay(connection, "confdb", Changed)

    # Objects and keys.

    @Look.responder
    def _look(self, object: int | None = None, path: str | None = None) -> Answer:  # noqa: A002
        tree = self._database.objects()
        handle = tree.at(path or "") if object is None else object
        answer = {
            "object": handle,
            "name": tree.name(handle),
            "index": tree.index(handle),
            "path": tree.path(handle),
        }
        if handle != tree.root:
            answer["parent"] = tree.parent(handle)
        return answer

    @Get.responder
    def _get(self, object: int, name: str) -> Answer:  # noqa: A002
        value = self._database.objects().keyGet(object, name)
        return {"type": int(value.kind), "value": value.raw()}

    @Perform.responder
    def _perform(self, **arguments: bytes) -> Answer:
        checkAdministrator(self._connection, self._ours)
        done = self._database.perform(operations(arguments["operations"]))
        return {"results": packResults(done)}

    # Lists.

    @Search.responder
    def _search(self, object: int, search: int, name: str | None = None) -> Answer:  # noqa: A002
        tree = self._database.objects()
        found = tree.children(object) if name is None else tree.find(object, name)
        return self._begin(search, packHandles(found))

    @Keys.responder
    def _keys(self, object: int, search: int) -> Answer:  # noqa: A002
        tree = self._database.objects()
        found = [(key, tree.keyGet(object, key)) for key in tree.keys(object)]
        return self._begin(search, (packEntry(*entry) for entry in found))

    def _begin(self, search: int, pieces: Iterable[bytes]) -> Answer:
        return _list(self._underWay.begin(search, pieces))

    @Next.responder
    def _next(self, search: int) -> Answer:
        return _list(self._underWay.next(search))

    @End.responder
    def _end(self, search: int) -> Answer:
        self._underWay.end(search)
        return {}

    # Files.

    @Write.responder
    def _write(self) -> Deferred[Answer]:
        checkAdministrator(self._connection, self._ours)
        return self._database.write().addCallback(lambda path: {"path": path})

    # Tracking.

    @Track.responder
    def _track(
        self,
        kinds: int,
        tracker: int,
        object: int | None = None,  # noqa: A002
        name: str | None = None,
    ) -> Answer:
        target = name if object is None else object
        if target is None or (object is not None and name is not None):
            raise InvalidParameter("follow an object, or a key by its name")
        self._underWay.follow(tracker, kinds, self._database.track, target)
        return {}

    @Untrack.responder
    def _untrack(self, tracker: int) -> Answer:
        self._underWay.unfollow(tracker)
        return {}


def _list(found: tuple[bytes, bool]) -> Answer:
    entries, more = found
    return {"found": entries, "more": more}
