"""
Events, and logs of a program in a wanted state.
"""

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic, sleep
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import LogPart, LogSettings
from corotwist.logs.levels import Priority
from corotwist.logs.record import Record
from corotwist.logs.system import LogSystem
from corotwist.logs.tracing import SWITCHES, Switches

# Threads of others take what they take.
PATIENCE = 20.0
NOON = 1_785_585_600.25


def event(text: str = "text", **fields: Any) -> dict[str, Any]:
    """
    As a logger makes it.
    """
    return {
        "log_level": LogLevel.info,
        "log_namespace": "corotwist.engines.cpg",
        "log_format": text,
        "log_time": NOON,
        **fields,
    }


def record(text: str = "text", tag: str = "CPG", **changes: Any) -> Record:
    """
    As it is kept.
    """
    changes.setdefault("priority", Priority.INFO)
    changes.setdefault("trace", 0)
    changes.setdefault("fields", {})
    return Record(
        time=NOON, tag=tag, namespace="corotwist.engines.cpg", format=text, **changes
    )


def waitFor(condition: Callable[[], object]) -> None:
    """
    Until another thread, or another process, has done something.
    """
    until = monotonic() + PATIENCE
    while not condition():
        if monotonic() > until:
            raise AssertionError("it never happened")
        sleep(0.002)


class LogCase(SynchronousTestCase):
    """
    A directory, and logs that are over with the test.
    """

    def setUp(self) -> None:
        # Short, which the path of a socket must be.
        self.directory = Path(mkdtemp())
        self.addCleanup(rmtree, self.directory, ignore_errors=True)
        self.path = self.directory / "log"
        self.switches = Switches()
        self.addCleanup(SWITCHES.choose, frozenset(), {})

    def system(self, part: LogPart | None = None, **options: Any) -> LogSystem:
        """
        A log to C{self.path}.
        """
        settings = {
            name: options.pop(name)
            for name in ("parts", "timestamp", "fileline", "functionName", "recorder")
            if name in options
        }
        logs = LogSystem(
            LogSettings(part or self.part(), **settings),
            switches=options.pop("switches", self.switches),
            **options,
        )
        self.addCleanup(logs.stop)
        return logs

    def part(self, **changes: Any) -> LogPart:
        """
        To the file.
        """
        changes.setdefault("file", str(self.path))
        return LogPart(toStderr=False, **changes)

    def logger(
        self, logs: LogSystem, namespace: str = "corotwist.engines.cpg"
    ) -> Logger:
        """
        For a module of this name.
        """
        return Logger(namespace, observer=logs)

    def lines(self, path: Path | None = None) -> list[str]:
        """
        What is in the file.
        """
        return (path or self.path).read_text().splitlines()
