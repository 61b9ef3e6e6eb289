"""
What the tools that ask a running node have in common: where it is, how long to
wait, what to print and to return, and what to say when nobody answers.
"""

import json
import math
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from corotwist.config.places import socketPath, stateDirectory
from corotwist.errors import (
    AccessDenied,
    CorotwistError,
    Disconnected,
    ServiceError,
    TimedOut,
)
from corotwist.ipc.client import NodeClient, connect
from corotwist.options import Options
from corotwist.tools.absence import Absence, explore

DONE: Final = 0
FAILED: Final = 1
# For a node to let us in.
PATIENCE_SECONDS: Final = 10.0
# Of every schema here; another number is another layout.
SCHEMA_VERSION: Final = 1


def seconds(text: str) -> float:
    """
    A time on the command line.

    @raise ValueError: it is none.
    """
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise ValueError("it is a number of seconds above 0")
    return number


def amount(text: str) -> int:
    """
    How many, on the command line.

    @raise ValueError: it is no number above 0.
    """
    number = int(text)
    if number < 1:
        raise ValueError("a number above 0")
    return number


class NodeOptions(Options):
    """
    What every tool that asks a node understands.

    @ivar clock: C{IReactorTime}, when it runs.
    """

    clock: Any = None
    optFlags = [["json", None, "print JSON"]]
    optParameters = [
        ["socket", None, None, "the node's UNIX socket"],
        ["state-dir", None, None, "where the node keeps its state"],
        ["timeout", None, PATIENCE_SECONDS, "seconds for it to let us in", seconds],
    ]

    opt_h = Options.opt_help


class NoNode(CorotwistError):
    """
    No node can be asked; C{absence} says what is known about it.
    """

    def __init__(self, error: ServiceError, absence: Absence) -> None:
        super().__init__("\n  ".join([str(error), *absence.sentences()]))
        self.error = error
        self.absence = absence

    def report(self) -> dict[str, Any]:
        """
        The same for programs.
        """
        return {**problem(self.error), "node": self.absence.report()}


def problem(error: Exception) -> dict[str, Any]:
    """
    An error for programs: its name, corosync's number and a sentence.
    """
    code = error.code if isinstance(error, ServiceError) else None
    return {"error": type(error).__name__, "code": code, "text": str(error)}


# Reaching it.


def connected(
    reactor: Any,
    socket: str | None = None,
    stateDir: str | None = None,
    timeout: float = PATIENCE_SECONDS,
) -> Deferred[NodeClient]:
    """
    Be a client of the node that is meant.

    @return: fires with a connected client.  Fails with L{NoNode}.
    """
    path = socketPath(os.environ, os.geteuid(), socket)
    connecting = connect(reactor, path)
    connecting.addTimeout(timeout, reactor, partial(_tooLate, path))
    return connecting.addErrback(_absent, path, stateDir)


def _tooLate(path: str, result: Any, timeout: float) -> Any:
    if isinstance(result, Failure):
        raise TimedOut(f"the node at {path} did not answer for {timeout:g} s")
    return result


def _absent(failure: Failure, path: str, stateDir: str | None) -> Any:
    failure.trap(Disconnected, TimedOut, AccessDenied)
    error: Any = failure.value
    directory = stateDirectory(os.environ, os.geteuid(), stateDir)
    raise NoNode(error, explore(path, directory)) from error


# Answering.


def envelope(name: str, **content: Any) -> dict[str, Any]:
    """
    What a tool prints as JSON: its schema by name and version, then the rest.
    """
    return {"schema": f"corotwist/{name}/{SCHEMA_VERSION}", **content}


def printJson(name: str, **content: Any) -> None:
    """
    On one line of standard output.
    """
    sys.stdout.write(json.dumps(envelope(name, **content)) + "\n")
    sys.stdout.flush()


def complain(name: str, error: Exception, *, asJson: bool = False) -> None:
    """
    Tell what went wrong: on standard error; with C{asJson} on standard output.
    """
    if not asJson:
        sys.stderr.write(f"corotwist {name}: {error}\n")
    elif isinstance(error, NoNode):
        printJson(name, **error.report())
    else:
        printJson(name, **problem(error))


# A whole tool.


@frozen
class Tool:
    """
    A command line that asks a node.

    @ivar name: what follows C{corotwist}.
    @ivar perform: called with a connected client and the options; prints, and
        gives the exit status.
    """

    name: str
    options: type[NodeOptions]
    perform: Callable[[NodeClient, Any], Awaitable[int]]


def run(tool: Tool, argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status: what the tool says, or 1 for wrong use and for
        whatever else went wrong, as corosync's tools.
    """
    options = tool.options()
    try:
        options.parseOptions(list(argv))
    except UsageError as error:
        sys.stderr.write(f"corotwist {tool.name}: {error}\n{options.getUsage()}\n")
        return FAILED
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    try:
        react(_main, (tool, options))
    except SystemExit as end:
        return int(end.code or 0)
    return DONE


def _main(reactor: Any, tool: Tool, options: NodeOptions) -> Deferred[None]:
    return Deferred.fromCoroutine(_session(reactor, tool, options))


async def _session(reactor: Any, tool: Tool, options: NodeOptions) -> None:
    raise SystemExit(await session(reactor, tool, options))


async def session(reactor: Any, tool: Tool, options: NodeOptions) -> int:
    """
    Connect, have it done, and tell what went wrong.

    @return: the exit status.
    """
    options.clock = reactor
    asJson = bool(options["json"])
    where = options["socket"], options["state-dir"], options["timeout"]
    try:
        client = await connected(reactor, *where)
        try:
            return await tool.perform(client, options)
        finally:
            await client.stopService()
    except CorotwistError as error:
        complain(tool.name, error, asJson=asJson)
        return FAILED
    except BrokenPipeError:
        return DONE  # Who reads us has seen enough.
