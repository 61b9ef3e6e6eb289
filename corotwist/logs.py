"""
Where log lines go, and which.
"""

from pathlib import Path
from typing import Any, TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    textFileLogObserver,
)
from zope.interface import implementer

from corotwist.config.settings import LogSettings


@implementer(ILogObserver)
class Nowhere:
    """
    Forgets every line.
    """

    def __call__(self, event: Any) -> None:
        """
        What is logged while both targets are off.
        """


def observer(settings: LogSettings, terminal: TextIO | None) -> ILogObserver:
    """
    All configured targets as one observer.

    @param terminal: where C{to_stderr} writes; L{None} for nowhere.
    @raise OSError: when the log file cannot be opened.
    """
    targets: list[ILogObserver] = []
    if settings.toStderr and terminal is not None:
        targets.append(textFileLogObserver(terminal))
    if settings.file is not None:
        targets.append(fileObserver(settings.file))
    chosen = LogPublisher(*targets) if targets else Nowhere()
    level = LogLevel.debug if settings.debug else LogLevel.info
    return FilteringLogObserver(chosen, [LogLevelFilterPredicate(level)])


def fileObserver(path: str) -> ILogObserver:
    """
    Lines appended to a file, each at once.
    """
    return textFileLogObserver(Path(path).open("a", encoding="utf-8", buffering=1))
