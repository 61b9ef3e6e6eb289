"""
C{corotwist cfg}: what operators ask of a running node.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from corotwist.errors import CorotwistError
from corotwist.ipc.client import NodeClient
from corotwist.options import Options
from corotwist.tools import cfglog, cfgreload, components
from corotwist.tools.asking import FAILED, PATIENCE_SECONDS, connected, seconds
from corotwist.tools.main import unknown

WRONG_USE: Final = 2


@frozen
class Command:
    """
    A sub-command.

    @ivar options: those of its own; where the node is is added.
    @ivar perform: called with a connected client and the options; prints, and
        gives the exit status.
    """

    summary: str
    options: type[Options]
    perform: Callable[[NodeClient, Options], Awaitable[int]]


COMMANDS: Final[Mapping[str, Command]] = {
    "reload": Command(
        "read the configuration again, on every node",
        cfgreload.ReloadOptions,
        cfgreload.reload,
    ),
    "reopen": Command(
        "open the log files anew", cfgreload.PlainOptions, cfgreload.reopen
    ),
    "dump": Command(
        "write the flight recorder to a file", cfgreload.PlainOptions, cfgreload.dump
    ),
    "log": Command("show and change what is logged", cfglog.LogOptions, cfglog.log),
    "components": Command(
        "list engines, formats and transports in all versions",
        components.ListOptions,
        components.components,
    ),
    "replace": Command(
        "let another version of an engine take over its work",
        components.EngineOptions,
        components.replace,
    ),
    "load": Command("start an engine", components.EngineOptions, components.load),
    "unload": Command("stop an engine", components.UnloadOptions, components.unload),
}


def usage() -> str:
    """
    What to type.
    """
    commands = "\n".join(f"  {n:10} {one.summary}" for n, one in COMMANDS.items())
    return (
        "Usage: corotwist cfg COMMAND [options]\n"
        "       corotwist cfg COMMAND --help\n\n"
        f"Commands:\n{commands}\n"
    )


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status: 2 for wrong use, 1 when the node cannot be had or
        refuses; else what the sub-command says.
    """
    name, *rest = argv or [""]
    if name in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0
    if name not in COMMANDS:
        problem = f"corotwist cfg: {unknown(name, COMMANDS)}\n\n" if name else ""
        sys.stderr.write(problem + usage())
        return WRONG_USE
    command = COMMANDS[name]
    options = completed(command.options, name)()
    try:
        options.parseOptions(rest)
    except UsageError as error:
        sys.stderr.write(f"corotwist cfg {name}: {error}\n{options.getSynopsis()}\n")
        return WRONG_USE
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    try:
        react(_main, (command, options))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def completed(options: type[Options], name: str) -> type[Options]:
    """
    The options, and where the node is.
    """
    arguments = getattr(options, "arguments", "")

    class Completed(options):  # type: ignore[misc, valid-type]
        synopsis = f"Usage: corotwist cfg {name} [options] {arguments}".rstrip()
        optParameters = [
            ["socket", "s", None, "the node's UNIX socket"],
            ["state-dir", None, None, "where the node keeps its state"],
            ["timeout", None, PATIENCE_SECONDS, "seconds for it to let us in", seconds],
        ]

    return Completed


def _main(reactor: IReactorCore, command: Command, options: Options) -> Deferred[None]:
    return Deferred.fromCoroutine(session(reactor, command, options)).addErrback(_told)


async def session(reactor: Any, command: Command, options: Options) -> None:
    """
    Connect, have it done, and end with its status.
    """
    where = options["socket"], options["state-dir"], options["timeout"]
    client = await connected(reactor, *where)
    try:
        status = await command.perform(client, options)
    finally:
        await client.stopService()
    raise SystemExit(status)


def _told(failure: Failure) -> None:
    failure.trap(CorotwistError)
    sys.stderr.write(f"corotwist cfg: {failure.value}\n")
    raise SystemExit(FAILED)
