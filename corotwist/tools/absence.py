"""
Nobody answers at a node's socket: what can be found out about it all the same.
"""

import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from corotwist import lastrun
from corotwist.lastrun import Run, isAlive

ADVICE: Final = {
    "running": "see its log; is it another socket that clients are to use?",
    "vanished": "see its log, or: corotwist blackbox --latest",
    "ended": "start it with: twistd -n corosync --config FILE",
    "unknown": "start it with: twistd -n corosync --config FILE; a node elsewhere"
    " is found with --socket PATH or COROTWIST_SOCKET",
}


@frozen
class Absence:
    """
    What is known about a node that does not answer.

    @ivar path: of its socket.
    @ivar socket: C{'missing'}, C{'socket'}, or C{'other'} when there is something
        that is none.
    @ivar directory: where records of runs are.
    @ivar run: the last one.
    @ivar alive: is there still a process with the number of that run's?
    """

    path: str
    socket: str
    directory: str
    run: Run | None
    alive: bool

    @property
    def state(self) -> str:
        """
        C{'unknown'}, C{'ended'}, C{'running'} or C{'vanished'}.  What became of
        a node at another socket says nothing of the one that is meant.
        """
        if self.run is None or self.run.socket != self.path:
            return "unknown"
        if self.run.stopped is not None:
            return "ended"
        return "running" if self.alive else "vanished"

    def sentences(self) -> Iterator[str]:
        """
        For people.
        """
        if self.socket != "socket":
            what = "nothing" if self.socket == "missing" else "no socket"
            yield f"there is {what} at {self.path}"
        yield self._history()
        yield ADVICE[self.state]

    def _history(self) -> str:
        run = self.run
        if run is None:
            return f"no run of a node is on record in {self.directory}"
        node = f"node {run.nodeid} (process {run.pid}, at {run.socket})"
        if run.stopped is not None:
            said = run.reason.removeprefix(f"{run.cause} ")
            how = f"{run.cause}: {said}" if said else run.cause
            status = "" if run.status is None else f", exit status {run.status}"
            return f"{node} ended on {moment(run.stopped)}{status}: {how}"
        if self.alive:
            return f"{node} has been running since {moment(run.started)}"
        return f"{node} ran since {moment(run.started)} and ended without saying why"

    def report(self) -> dict[str, Any]:
        """
        For programs.
        """
        return {
            "path": self.path,
            "socket": self.socket,
            "state": self.state,
            "stateDirectory": self.directory,
            "lastRun": None if self.run is None else asdict(self.run),
            "advice": ADVICE[self.state],
        }


def moment(when: float) -> str:
    """
    A time of day where we are.
    """
    try:
        return datetime.fromtimestamp(when).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return f"an unknown date ({when})"


def explore(path: str, directory: str) -> Absence:
    """
    Find out.

    @param directory: the node's state directory.
    """
    run = lastrun.find(directory, path)
    alive = run is not None and isAlive(run.pid)
    return Absence(path, _kind(path), directory, run, alive)


def _kind(path: str) -> str:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return "missing"
    return "socket" if stat.S_ISSOCK(mode) else "other"
