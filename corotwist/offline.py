"""
A configuration without a node: files, opened with the same services and the same
client that a running node has.  [ARCH Object Database]
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

from attrs import define, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from corotwist.budget import Budget
from corotwist.config import loader
from corotwist.config.check import check
from corotwist.config.database import Database
from corotwist.config.export import RUN_TIME
from corotwist.config.flat import FlatMap
from corotwist.config.host import Machine
from corotwist.config.keypaths import documentOf
from corotwist.config.keys import keysOf
from corotwist.config.localnode import IHost
from corotwist.config.settings import IpcSettings
from corotwist.engines.confdb import ObjectDatabaseEngine
from corotwist.engines.mapkeys import MapKeys
from corotwist.engines.views import Views
from corotwist.errors import (
    ConfigurationError,
    InvalidParameter,
    NotExist,
    Problem,
)
from corotwist.interfaces import IConnection
from corotwist.ipc.cfg import OperatorLocator
from corotwist.ipc.client import NodeClient, embed
from corotwist.ipc.cmap import ConfigurationMapLocator
from corotwist.ipc.confdb import ObjectDatabaseLocator

NODEID: Final = 0


class Unguarded(Database):
    """
    Whoever may write the file may write every key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.map = FlatMap(self.tree)


class Files:
    """
    The configuration files, as a database and back.
    """

    def __init__(self, sources: Sequence[str], host: IHost) -> None:
        """
        @raise ConfigurationError: they cannot be read.
        """
        self.sources = tuple(sources)
        self.database = Unguarded()
        self._host = host
        self.read()

    def read(self) -> None:
        """
        Have in the database what the files say, and nothing else.

        @raise ConfigurationError: they cannot be read; nothing changes.
        """
        reading = loader.read(*self.sources)
        if reading.problems:
            raise ConfigurationError(*reading.problems)
        keys = dict(keysOf(reading.document, self._host))
        tree = self.database.tree
        with tree.transaction():
            for name in tree.names():
                if name not in keys:
                    tree.erase(name)
            for name, value in keys.items():
                tree.write(name, value)
        self._problems = self._wrong()

    def save(self) -> str:
        """
        Write to the file what has changed.

        @raise InvalidParameter: there would be something wrong with it that was
            not before.
        """
        new = [text for text in self._wrong() if text not in self._problems]
        if new:
            raise InvalidParameter("; ".join(new))
        try:
            return loader.save(self.sources, self.database.map.items(), self._host)
        except ConfigurationError as error:
            raise InvalidParameter(str(error)) from error

    def _wrong(self) -> list[str]:
        items = self.database.map.items()
        kept = [item for item in items if not item[0].startswith(RUN_TIME)]
        document = documentOf(kept)
        return [f"{one.key}: {one.text}" for one in check(document).problems]


class FileOperations:
    """
    What an operator may ask, where there is only a file.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def follows(self, name: str) -> bool:
        """
        Nobody acts on keys.
        """
        return False

    def dump(self) -> dict[str, Any]:
        """
        For people: nothing happens here.
        """
        return {}

    def save(self) -> Deferred[str]:
        """
        Write the file.
        """
        return maybeDeferred(self._files.save)

    def reload(self, **wishes: bool) -> Deferred[dict[str, Any]]:
        """
        Read the files again; what was not saved is lost.
        """
        return maybeDeferred(self._reload)

    def _reload(self) -> dict[str, Any]:
        problems: tuple[Problem, ...] = ()
        try:
            self._files.read()
        except ConfigurationError as error:
            problems = error.problems
        return {
            "refused": bool(problems),
            "restart": False,
            "problems": [str(problem) for problem in problems],
            "keys": [],
            "more": 0,
        }


class FileMap(MapKeys):
    """
    The configuration map of files.
    """

    def dump(self) -> dict[str, Any]:
        """
        For people: nothing happens here.
        """
        return {}


@frozen
class Maker:
    """
    Names what answers clients.
    """

    locator: Any
    version: int = 1

    def responders(self) -> Any:
        """
        The factory of it.
        """
        return self.locator


@define(eq=False)
class Desk:
    """
    What the services may ask, where there is no node.
    """

    clock: IReactorTime
    database: Database
    operations: FileOperations

    def engine(self, name: str) -> Any:
        """
        @raise NotExist: there is none.
        """
        raise NotExist(f"no service {name} without a node")

    def callAfter(self, delayNs: int, callback: Callable[[], None]) -> IDelayedCall:
        """
        A timer.
        """
        return self.clock.callLater(delayNs / 1_000_000_000, callback)

    def cancel(self, timer: IDelayedCall | None) -> None:
        """
        No timer.
        """
        if timer is not None and timer.active():
            timer.cancel()


class OfflineNode:
    """
    As much of a node as clients of keys notice.
    """

    def __init__(self, clock: IReactorTime, files: Files) -> None:
        self.totem = SimpleNamespace(nodeid=NODEID)
        self.settings = SimpleNamespace(ipc=IpcSettings(""))
        self.budget = Budget("files", self.settings.ipc.memoryBytes)
        # Of nobody, and none of them ever comes.
        self.views = Views(lambda: 0, lambda: (False, {}))
        operations = FileOperations(files)
        desk: Any = Desk(clock, files.database, operations)
        keys, objects = FileMap(), ObjectDatabaseEngine()
        keys.cluster = desk
        keys.openMaps()
        objects.initialize(desk, None)
        self._keys = keys
        self.engines: dict[str, Any] = {
            "cmap": keys,
            "confdb": objects,
            "cfg": operations,
        }
        self.makers = {
            "cmap": Maker(ConfigurationMapLocator),
            "confdb": Maker(ObjectDatabaseLocator),
            "cfg": Maker(OperatorLocator),
        }

    def dump(self) -> dict[str, Any]:
        """
        For people: there is no ring, and nothing happens.
        """
        return {}

    def onDuty(self, name: str) -> Any:
        """
        The service of that name, which is always the same.
        """
        return self.engines[name]

    def admit(self, engine: Any, connection: IConnection, command: str) -> None:
        """
        Nothing has to wait.
        """

    def connectionOpened(self, connection: IConnection) -> None:
        """
        A client.
        """
        connection.private = {
            name: engine.privateData(connection)
            for name, engine in self.engines.items()
            if name != "cfg"
        }

    def connectionClosed(self, connection: IConnection) -> None:
        """
        A client no more.
        """
        for name in connection.private:
            self.engines[name].connectionClosed(connection)
        self._keys.closeMaps()


def offline(
    clock: IReactorTime, *sources: str, host: IHost | None = None
) -> Deferred[NodeClient]:
    """
    Open configuration files as if they were a node's: C{cmap} and C{confdb} of
    the client read and write them.  What is written is kept until
    C{confdb.write()}; of several files nothing can be written back.

    @param sources: C{PATH}, or C{FORMAT:PATH}; later ones override earlier ones.
    @param host: knows the numbers of users and groups.
    @return: fires with a client.  Fails with L{ConfigurationError} when the
        files cannot be read.
    """
    return maybeDeferred(Files, sources, host or Machine()).addCallback(
        lambda files: embed(clock, OfflineNode(clock, files))
    )
