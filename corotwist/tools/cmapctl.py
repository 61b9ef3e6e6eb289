"""
C{corotwist cmapctl}: the configuration map, with the options and the output of
corosync-cmapctl.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from corotwist.config import loader
from corotwist.config.export import documentOf
from corotwist.config.formats import registry
from corotwist.config.values import Value, ValueType
from corotwist.engines.keyspace import STATS
from corotwist.errors import CorotwistError, ServiceError
from corotwist.ipc.client import NodeClient
from corotwist.ipc.keys import KeyMap
from corotwist.offline import offline
from corotwist.tools import asking
from corotwist.tools.asking import FAILED, connected
from corotwist.tools.cpg import readKeyboard
from corotwist.tools.keyprinter import Printer, errorName
from corotwist.tools.keyscript import LineRefused, Script, readScript
from corotwist.tools.keywishes import (
    STDIN,
    USAGE,
    Action,
    Wishes,
    WrongUse,
    parse,
    typed,
)


def _scriptText(name: str) -> str:
    return sys.stdin.read() if name == STDIN else Path(name).read_text("utf-8")


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status: 0, or 1 for whatever went wrong, as the original.
    """
    try:
        wishes = parse(argv)
    except WrongUse as error:
        sys.stderr.write(f"corotwist cmapctl: {error}\n")
        return FAILED
    if wishes.help:
        sys.stdout.write(USAGE)
        return 0
    try:
        react(_main, (wishes,))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _main(reactor: IReactorCore, wishes: Wishes) -> Deferred[None]:
    running = Deferred.fromCoroutine(_session(reactor, wishes))
    return running.addErrback(_told, asJson=wishes.json)


def _told(failure: Failure, *, asJson: bool) -> None:
    error: Any = failure.value
    failure.trap(CorotwistError, WrongUse, OSError)
    if isinstance(error, OSError) and error.filename is not None:
        error = WrongUse(f"{error.filename}: {error.strerror}")
    asking.complain("cmapctl", error, asJson=asJson)
    raise SystemExit(FAILED)


async def _session(reactor: Any, wishes: Wishes) -> None:
    where = wishes.socket, wishes.stateDir, wishes.timeout
    client = await opened(reactor, wishes.files, *where)
    try:
        status = await Work(client, wishes, Printer.of(wishes)).perform()
    finally:
        await client.stopService()
    raise SystemExit(status)


def opened(
    reactor: Any,
    files: Sequence[str],
    socket: str | None,
    stateDir: str | None,
    timeout: float,
) -> Deferred[NodeClient]:
    """
    A node, or files.
    """
    if files:
        return offline(reactor, *files)
    return connected(reactor, socket, stateDir, timeout)


class Lines(LineOnlyReceiver):
    """
    What is typed while keys are followed: a q ends it.  The end of the input does
    not: under a supervisor there is none.
    """

    delimiter = b"\n"

    def __init__(self, ended: Deferred[None]) -> None:
        self._ended = ended

    def lineReceived(self, line: bytes) -> None:
        if line.startswith(b"q") and not self._ended.called:
            self._ended.callback(None)


@define(eq=False)
class Work:
    """
    What one command line asks for.

    @ivar ended: fires when nobody wants to follow any more.
    """

    client: NodeClient
    wishes: Wishes
    printer: Printer
    ended: Deferred[None] = field(factory=Deferred)

    @property
    def keys(self) -> KeyMap:
        """
        The map that was chosen.
        """
        cmap = self.client.cmap
        return cmap.statistics if self.wishes.mapName == STATS else cmap

    async def perform(self) -> int:
        """
        Do it.

        @return: the exit status.
        """
        wishes = self.wishes
        if wishes.export is not None:
            return await self._export(wishes.export)
        if wishes.clear is not None:
            return await self._clear(wishes.clear)
        if wishes.script is not None:
            status = await self._script(wishes.script)
        else:
            status = await self._ACTIONS[wishes.action](self)
        if wishes.files and status == 0 and self._writes():
            await self.client.confdb.write()
        return status

    def _writes(self) -> bool:
        changing = (Action.SET, Action.DELETE, Action.DELETE_PREFIX)
        return self.wishes.script is not None or self.wishes.action in changing

    # Showing.

    async def _show(self) -> int:
        found = 0
        with self.printer.together():
            for prefix in self.wishes.arguments or [""]:
                for name, value in await self.keys.items(prefix):
                    self.printer.key(name, value)
                    found += 1
        return 0 if found else FAILED

    async def _get(self) -> int:
        with self.printer.together():
            for name in self.wishes.arguments:
                try:
                    value = await self.keys.get(name)
                except ServiceError as error:
                    self.printer.abandon()
                    return self._failed(f"Can't get key {name}", error)
                self.printer.key(name, value)
        return 0

    def _failed(self, what: str, error: ServiceError) -> int:
        text = f"{what}. Error {errorName(error)}: {error}"
        if self.wishes.json:
            asking.printJson("cmapctl", **{**asking.problem(error), "text": text})
        else:
            sys.stderr.write(f"{text}\n")
        return FAILED

    # Writing.

    async def _set(self) -> int:
        name, label, text = self.wishes.arguments
        return await self._write(name, typed(label, text))

    async def _write(self, name: str, value: Value) -> int:
        try:
            await self.keys.set(name, value, **self.wishes.conditions)
        except ServiceError as error:
            return self._failed(f"Failed to set key {name}", error)
        return 0

    async def _delete(self) -> int:
        for name in self.wishes.arguments:
            try:
                await self.keys.delete(name, **self.wishes.conditions)
            except ServiceError as error:
                return self._failed(f"Can't delete key {name}", error)
        return 0

    async def _deletePrefix(self) -> int:
        return max([await self._deleteAll(prefix) for prefix in self.wishes.arguments])

    async def _deleteAll(self, prefix: str) -> int:
        status = 0
        for name, _ in await self.keys.items(prefix):
            try:
                await self.keys.delete(name)
            except ServiceError as error:
                status = self._failed(f"Can't delete key {name}", error)
        return status

    async def _script(self, path: str) -> int:
        """
        All lines or none: they are understood before the first is done, and
        undone when one is refused.  A key to delete that is not there is told,
        and no failure, as in the original.
        """
        work = Script(self.keys)
        status = 0
        try:
            await work.perform(readScript(_scriptText(path)))
        except LineRefused as refused:
            status = self._failed(str(refused), refused.error)
        for what, error in work.complaints:
            self._failed(what, error)
        return status

    async def _clear(self, part: str) -> int:
        name = f"stats.clear.{part}"
        try:
            await self.client.cmap.statistics.set(name, Value(ValueType.UINT32, 1))
        except ServiceError as error:
            return self._failed(f"Can't set cmap stats clear key {name}", error)
        return 0

    async def _export(self, target: str) -> int:
        document = documentOf(await self.client.cmap.items())
        engine, path = registry.choose(target, registry.discover())
        if path == STDIN:
            sys.stdout.write(engine.write(document).text)
        else:
            loader.write(target, document)
        return 0

    # Following.

    async def _track(self, *, prefix: bool = False) -> int:
        for name in self.wishes.arguments:
            await self.keys.track(
                name,
                self.printer.changes,
                prefix=prefix,
                interrupted=self.printer.gap,
            )
        self.printer.tracking()
        keyboard = readKeyboard(Lines(self.ended))
        try:
            await self.ended
        finally:
            keyboard.loseConnection()
        return 0

    async def _trackPrefix(self) -> int:
        return await self._track(prefix=True)

    _ACTIONS: ClassVar[Mapping[Action, Callable[["Work"], Awaitable[int]]]] = {
        Action.SHOW: _show,
        Action.GET: _get,
        Action.SET: _set,
        Action.DELETE: _delete,
        Action.DELETE_PREFIX: _deletePrefix,
        Action.TRACK: _track,
        Action.TRACK_PREFIX: _trackPrefix,
    }
