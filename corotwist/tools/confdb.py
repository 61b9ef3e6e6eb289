"""
C{corotwist confdb}: the tree of objects that the configuration is, of a node or
of files.
"""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from getopt import GetoptError, gnu_getopt
from typing import Any, ClassVar, Final, TextIO

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react
from twisted.python.failure import Failure

from corotwist.config.values import Value
from corotwist.errors import CorotwistError
from corotwist.ipc.client import NodeClient
from corotwist.ipc.objects import Found
from corotwist.tools.asking import PATIENCE_SECONDS, envelope
from corotwist.tools.cfgreload import told
from corotwist.tools.cmapctl import opened
from corotwist.tools.keyprinter import asJson, shown, shownBytes
from corotwist.tools.keywishes import NODE_OPTIONS, WrongUse, patience, typed

FAILED: Final = 1
WRONG_USE: Final = 2

USAGE: Final = """\
Usage: corotwist confdb [options] [print [PATH]]          the objects and their keys
       corotwist confdb [options] find PATH NAME          objects of that name in it
       corotwist confdb [options] get PATH KEY
       corotwist confdb [options] set PATH KEY TYPE VALUE the object is made, if need be
       corotwist confdb [options] create PATH NAME        one more object in it
       corotwist confdb [options] delete PATH KEY
       corotwist confdb [options] destroy PATH            with everything in it
       corotwist confdb [options] write                   to the file of the node
       corotwist confdb [options] reload                  from the files of the nodes

  PATH is dotted, as nodelist.node.0; / is the object that all others are in

  --file FILE        work on this configuration file instead of a node, and write
                     what was changed; may be given several times to read
  --json             JSON
  --socket PATH      the node's UNIX socket
  --state-dir DIR    where the node keeps its state
  --timeout SECONDS  for it to let us in
"""
ROOT: Final = "/"
SHORT_OPTIONS: Final = "h"
LONG_OPTIONS: Final = ("help", "json", "file=", *NODE_OPTIONS)
NAME: Final = "confdb"


@frozen
class Typed:
    """
    What was typed.
    """

    words: tuple[str, ...]
    files: tuple[str, ...]
    json: bool
    socket: str | None
    stateDir: str | None
    timeout: float
    help: bool


def parse(argv: Sequence[str]) -> Typed:
    """
    The command line.

    @raise WrongUse: it is none.
    """
    try:
        options, words = gnu_getopt(argv, SHORT_OPTIONS, LONG_OPTIONS)
    except GetoptError as error:
        raise WrongUse(str(error)) from error
    named = dict(options)
    wish = Typed(
        tuple(words) or ("print",),
        tuple(value for name, value in options if name == "--file"),
        "--json" in named,
        named.get("--socket"),
        named.get("--state-dir"),
        patience(named.get("--timeout", str(PATIENCE_SECONDS))),
        bool(named.keys() & {"-h", "--help"}),
    )
    if not wish.help:
        _checkWords(wish.words)
    return wish


def _checkWords(words: Sequence[str]) -> None:
    name, *arguments = words
    if name not in Work.COMMANDS:
        raise WrongUse(f"no command {name!r}; there are {', '.join(Work.COMMANDS)}")
    least, most, _ = Work.COMMANDS[name]
    if not least <= len(arguments) <= most:
        raise WrongUse(f"{name} takes {most} arguments")


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status: 2 for wrong use, 1 when it cannot be done.
    """
    try:
        wish = parse(argv)
    except WrongUse as error:
        sys.stderr.write(f"corotwist confdb: {error}\n{USAGE}")
        return WRONG_USE
    if wish.help:
        sys.stdout.write(USAGE)
        return 0
    try:
        react(_main, (wish,))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _main(reactor: IReactorCore, wish: Typed) -> Deferred[None]:
    return Deferred.fromCoroutine(_session(reactor, wish)).addErrback(_told)


def _told(failure: Failure) -> None:
    failure.trap(CorotwistError, WrongUse)
    sys.stderr.write(f"corotwist confdb: {failure.value}\n")
    raise SystemExit(FAILED)


async def _session(reactor: Any, wish: Typed) -> None:
    where = wish.socket, wish.stateDir, wish.timeout
    client = await opened(reactor, wish.files, *where)
    try:
        status = await Work(client, wish).perform()
    finally:
        await client.stopService()
    raise SystemExit(status)


@define(eq=False)
class Work:
    """
    What one command line asks for.
    """

    client: NodeClient
    wish: Typed
    output: TextIO = field(factory=lambda: sys.stdout)

    async def perform(self) -> int:
        """
        Do it.

        @return: the exit status.
        """
        name, *arguments = self.wish.words
        _, _, perform = self.COMMANDS[name]
        status = await perform(self, *arguments)
        if self.wish.files and name in self.CHANGING:
            await self.client.confdb.write()
        return status

    async def _at(self, path: str) -> Found:
        return await self.client.confdb.at("" if path == ROOT else path)

    def _line(self, text: str) -> None:
        self.output.write(text + "\n")

    # Showing.

    async def _print(self, path: str = ROOT) -> int:
        tree = await self._tree(await self._at(path))
        if self.wish.json:
            self._line(json.dumps(envelope(NAME, object=tree)))
        else:
            self._show(tree, "")
        return 0

    async def _tree(self, found: Found) -> dict[str, Any]:
        """
        An object and everything in it, as JSON values.
        """
        confdb = self.client.confdb
        inner = [
            await self._tree(await confdb.look(child))
            for child in await confdb.children(found.handle)
        ]
        keys = {key: asJson(value) for key, value in await confdb.keys(found.handle)}
        return {
            "name": found.name,
            "index": found.index,
            "path": found.path,
            "keys": keys,
            "objects": inner,
        }

    def _show(self, tree: Mapping[str, Any], margin: str) -> None:
        deeper = margin
        if tree["path"]:
            index = "" if tree["index"] is None else f" [{tree['index']}]"
            self._line(f"{margin}{tree['name']}{index} {{")
            deeper = f"{margin}    "
        for key, value in tree["keys"].items():
            self._line(f"{deeper}{key} ({value['type']}) = {value['value']}")
        for inner in tree["objects"]:
            self._show(inner, deeper)
        if tree["path"]:
            self._line(f"{margin}}}")

    async def _find(self, path: str, name: str) -> int:
        confdb = self.client.confdb
        handles = await confdb.find((await self._at(path)).handle, name)
        found = [(await confdb.look(handle)).path for handle in handles]
        if self.wish.json:
            self._line(json.dumps(envelope(NAME, objects=found)))
        else:
            self.output.writelines(f"{path}\n" for path in found)
        return 0 if found else FAILED

    async def _get(self, path: str, key: str) -> int:
        value = await self.client.confdb.getKey((await self._at(path)).handle, key)
        if self.wish.json:
            self._line(json.dumps(envelope(NAME, key=key, **asJson(value))))
        else:
            self._line(_shown(value))
        return 0

    # Changing.

    async def _set(self, path: str, key: str, label: str, text: str) -> int:
        prefix = "" if path == ROOT else f"{path}."
        await self.client.cmap.set(prefix + key, typed(label, text))
        return 0

    async def _create(self, path: str, name: str) -> int:
        confdb = self.client.confdb
        handle = await confdb.create((await self._at(path)).handle, name)
        made = (await confdb.look(handle)).path
        shown = json.dumps(envelope(NAME, object=made))
        self._line(shown if self.wish.json else made)
        return 0

    async def _delete(self, path: str, key: str) -> int:
        await self.client.confdb.deleteKey((await self._at(path)).handle, key)
        return 0

    async def _destroy(self, path: str) -> int:
        await self.client.confdb.destroy((await self._at(path)).handle)
        return 0

    # Files.

    async def _write(self) -> int:
        file = await self.client.confdb.write()
        shown = json.dumps(envelope(NAME, file=file))
        self._line(shown if self.wish.json else file)
        return 0

    async def _reload(self) -> int:
        report = await self.client.confdb.reload()
        shown = json.dumps(report, indent=2, sort_keys=True)
        # Of files there is one short report, with no nodes in it.
        asJson = self.wish.json or self.wish.files
        self._line(shown if asJson else told(report))
        refused = report.get("refused") or report.get("status") == "refused"
        return FAILED if refused else 0

    # How many arguments each takes at least and at most.
    COMMANDS: ClassVar[Mapping[str, tuple[int, int, Callable[..., Awaitable[int]]]]] = {
        "print": (0, 1, _print),
        "find": (2, 2, _find),
        "get": (2, 2, _get),
        "set": (4, 4, _set),
        "create": (2, 2, _create),
        "delete": (2, 2, _delete),
        "destroy": (1, 1, _destroy),
        "write": (0, 0, _write),
        "reload": (0, 0, _reload),
    }
    CHANGING: ClassVar[tuple[str, ...]] = ("set", "create", "delete", "destroy")


def _shown(value: Value) -> str:
    if isinstance(value.content, bytes):
        return shownBytes(value.content)
    return shown(value)
