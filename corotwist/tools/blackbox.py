"""
C{corotwist blackbox}: what the flight recorder of a node holds.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.usage import UsageError

from corotwist.config.places import stateDirectory
from corotwist.errors import CorotwistError
from corotwist.logs.flight import Dump, Filter, NotFlight, parseMoment, read, shown
from corotwist.logs.levels import Priority, parseTraces
from corotwist.logs.recorder import dumps
from corotwist.options import Options
from corotwist.tools.asking import connected, envelope

WRONG_USE: Final = 2
FAILED: Final = 1
NAME: Final = "blackbox"
REASON: Final = "corotwist blackbox"


class BlackboxOptions(Options):
    """
    Which dump, and what of it.
    """

    synopsis = "Usage: corotwist blackbox [FILE] [options]"
    longdesc = (
        "Prints a dump of the flight recorder.  Without FILE the node is asked to"
        " write one now.  Times are like 2026-08-01T12:00:00, 12:00, or 10m for ten"
        " minutes ago."
    )
    optFlags = [
        ["json", "j", "print a JSON document for each event"],
        ["latest", "l", "do not ask the node: read the newest dump there is"],
        ["state", None, "print the state of the node as well"],
    ]
    optParameters = [
        ["socket", None, None, "the node's UNIX socket"],
        ["state-dir", "d", None, "where the node keeps its state, and dumps"],
        ["since", "s", None, "nothing that was before"],
        ["until", "u", None, "nothing that was after"],
        ["priority", "p", "trace", "nothing that is less urgent: err, info, debug"],
        ["trace", "t", "all", "of trace points only these: 1,3 or state,sync"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["subsystems"] = []

    def opt_subsystem(self, name: str) -> None:
        """
        Only of this subsystem, CPG or TOTEM; may be given several times.
        """
        self["subsystems"].append(name.upper())

    def parseArgs(self, file: str | None = None) -> None:  # type: ignore[override]
        """
        The one argument.
        """
        self["file"] = file

    def postOptions(self) -> None:
        """
        Check, and put the filter together.
        """
        if self["file"] is not None and self["latest"]:
            raise UsageError("--latest or FILE, not both")
        now = time.time()
        since, until = self["since"], self["until"]
        try:
            self["filter"] = Filter(
                since=None if since is None else parseMoment(since, now),
                until=None if until is None else parseMoment(until, now),
                subsystems=frozenset(self["subsystems"]),
                priority=Priority.labelled(self["priority"]),
                traces=parseTraces(self["trace"]),
            )
        except ValueError as error:
            raise UsageError(str(error)) from error

    opt_S = opt_subsystem


def run(argv: Sequence[str]) -> int:
    """
    Print a dump.

    @return: the exit status: 1 when there is none.
    """
    options = BlackboxOptions()
    try:
        options.parseOptions(argv)
    except UsageError as error:
        sys.stderr.write(f"corotwist blackbox: {error}\n{options.getSynopsis()}\n")
        return WRONG_USE
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    try:
        path = find(options)
        with path.open("rb") as file:
            dump = read(file)
    except (CorotwistError, OSError, NotFlight) as error:
        sys.stderr.write(f"corotwist blackbox: {error}\n")
        return FAILED
    show(dump, options)
    return 0


def find(options: BlackboxOptions) -> Path:
    """
    The file that is meant.

    @raise CorotwistError: when the node cannot write one.
    @raise OSError: when there is none.
    """
    if options["file"] is not None:
        return Path(options["file"])
    if options["latest"]:
        directory = options["state-dir"] or stateDirectory(os.environ, os.geteuid())
        found = dumps(Path(directory))
        if not found:
            raise FileNotFoundError(f"there is no dump in {directory}")
        return found[-1]
    return Path(_asked(options["socket"], options["state-dir"]))


def _asked(socket: str | None, stateDir: str | None) -> str:
    """
    Have the node write its recorder to a file.
    """
    outcome: list[Any] = []

    async def ask(reactor: Any) -> None:
        try:
            client = await connected(reactor, socket, stateDir)
            outcome.append(await client.cfg.dump(REASON))
            await client.stopService()
        except CorotwistError as error:
            outcome.append(error)

    with suppress(SystemExit):  # So it always ends.
        react(lambda reactor: Deferred.fromCoroutine(ask(reactor)))
    (answer,) = outcome
    if isinstance(answer, CorotwistError):
        raise answer
    return str(answer)


def show(dump: Dump, options: BlackboxOptions) -> None:
    """
    To standard output; what the file is, to standard error.
    """
    chosen = options["filter"].chosen(dump.events)
    if options["json"]:
        for entry in chosen:
            print(json.dumps(envelope(NAME, **entry)))
    else:
        for entry in chosen:
            print(shown(entry))
    if options["state"]:
        for name, value in dump.state.items():
            print(json.dumps(envelope(NAME, state=name, value=value)))
    _tell(dump)


def _tell(dump: Dump) -> None:
    header = dump.header
    sys.stderr.write(
        f"# node {header.get('nodeid', '?')}, process {header.get('pid', '?')}:"
        f" {header.get('reason')}; {len(dump.events)} events,"
        f" {header.get('forgotten', 0)} older ones forgotten\n"
    )
    if dump.damaged:
        sys.stderr.write(f"# {dump.damaged} lines cannot be read\n")
