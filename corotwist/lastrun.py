"""
The record of a node's last run: when it began, whether and why it ended.

A node writes it when it starts and again when it stops; tools read it when no node
answers.  A record that says nothing of an end, of a process that is gone, is of a
run that ended without a word.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import asdict, evolve, frozen
from twisted.logger import Logger

from corotwist.ending import End

SCHEMA: Final = "corotwist/run/1"
NAME: Final = "run_{}.json"
# Nothing that a node wrote is longer; of other files no more is read.
LARGEST_BYTES: Final = 64 << 10
LONGEST_REASON: Final = 4096
# Of one directory: there is one for each nodeid that ever ran here.
MOST_RECORDS: Final = 256
# Readable by everybody: it holds no secret, and tools of admitted users want it.
_MODE: Final = 0o644


@frozen
class Run:
    """
    One run of a node.

    @ivar socket: where it listened for clients.
    @ivar started: in seconds since 1970.
    @ivar stopped: likewise; L{None} while it runs.
    @ivar cause: in a word, as C{'stopped'}, C{'killed'} or C{'failed'}; empty
        while it runs.
    @ivar reason: for people.
    @ivar status: with which the process ended; L{None} while it runs.
    """

    nodeid: int
    pid: int
    socket: str
    started: float
    stopped: float | None = None
    cause: str = ""
    reason: str = ""
    status: int | None = None


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "nodeid": (int,),
    "pid": (int,),
    "socket": (str,),
    "started": (int, float),
    "stopped": (int, float, type(None)),
    "cause": (str,),
    "reason": (str,),
    "status": (int, type(None)),
}


def write(directory: str, run: Run) -> None:
    """
    Put a run on record, in place of the one before it.

    @param directory: the state directory of the node.
    @raise OSError: the record is as it was.
    """
    path = Path(directory) / NAME.format(run.nodeid)
    content = {"schema": SCHEMA, **asdict(run), "reason": run.reason[:LONGEST_REASON]}
    beside = path.with_suffix(".new")
    descriptor = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE
    )
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(content) + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """
    Have the names in a directory survive a crash.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RunRecord:
    """
    The record of the run of this process.  It must not keep a node from running
    or from ending: what cannot be written is logged.
    """

    _log = Logger()

    def __init__(
        self, directory: str, nodeid: int, socket: str, now: Callable[[], float]
    ) -> None:
        """
        @param directory: the state directory of the node.
        @param now: seconds since 1970.
        """
        self._directory = directory
        self._now = now
        self._run = Run(nodeid, os.getpid(), socket, now())
        self._begun = False

    def begun(self) -> None:
        """
        The node runs.
        """
        self._begun = True
        self._write()

    def ended(self, end: End) -> None:
        """
        It does not any more; of several reasons the first counts.  Who never
        ran says nothing about a node that does.
        """
        if self._run.stopped is None and (self._begun or not self._taken()):
            self._run = evolve(
                self._run,
                stopped=self._now(),
                cause=end.how.value,
                reason=end.reason,
                status=end.status,
            )
            self._write()

    def _taken(self) -> bool:
        """
        Does another process run the node?
        """
        return any(
            run.nodeid == self._run.nodeid
            and run.stopped is None
            and run.pid != self._run.pid
            and isAlive(run.pid)
            for run in read(self._directory)
        )

    def _write(self) -> None:
        try:
            write(self._directory, self._run)
        except OSError as error:
            self._log.warn("This run is not on record: {error}", error=error)


def isAlive(pid: int) -> bool:
    """
    Is there a process of that number, whoever's it is?
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def find(directory: str, socket: str) -> Run | None:
    """
    The last run of the node that clients reach there; of any node when none of
    those that ran here listened there.
    """
    runs = read(directory)
    there = [run for run in runs if run.socket == socket] or runs
    return max(there, key=lambda run: run.started, default=None)


def read(directory: str) -> list[Run]:
    """
    All records that can be read, of all nodes that ran here.
    """
    paths = sorted(Path(directory).glob(NAME.format("*")))[:MOST_RECORDS]
    return [run for run in map(_read, paths) if run is not None]


def _read(path: Path) -> Run | None:
    try:
        with path.open("rb") as file:
            content: Any = json.loads(file.read(LARGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        return None
    known = {name: content[name] for name in _TYPES if name in content}
    if not all(isinstance(value, _TYPES[name]) for name, value in known.items()):
        return None
    try:
        return Run(**known)
    except TypeError:  # Something is missing.
        return None
