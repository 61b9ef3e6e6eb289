"""
Whose log it is: twistd's or ours.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, frozen

from corotwist.config.settings import LogPart, LogSettings, NodeSettings
from corotwist.logs.datagrams import JOURNAL_SOCKET, SYSLOG_SOCKET
from corotwist.logs.system import LogSystem

# Options of twistd that say where log lines go: they are stronger than the
# configuration.
TWISTD: Final = ("logger", "logfile", "syslog")


@frozen
class Choice:
    """
    @ivar observing: are we the log?  If not, twistd writes what it was told to,
        and we have the flight recorder only.
    """

    logs: LogSystem
    observing: bool


def choose(settings: NodeSettings, twistd: Mapping[str, Any]) -> Choice:
    """
    Unless twistd was told otherwise, log lines go where the configuration says.
    A daemon in the background for which it says nothing has twistd's file.

    @param twistd: the options of its command line.
    @raise OSError: when a log file cannot be opened.
    """
    foreground = bool(twistd["nodaemon"])
    told = any(twistd.get(name) for name in TWISTD)
    observing = not told and (foreground or _hasTarget(settings.log))
    quiet = evolve(settings.log, rest=LogPart(toStderr=False), parts=())
    logs = LogSystem(
        settings.log if observing else quiet,
        terminal=_terminal() if foreground and observing else None,
        nodeid=settings.totem.nodeid,
        directory=settings.totem.stateDirectory,
        held=True,
    )
    return Choice(logs, observing)


def _hasTarget(settings: LogSettings) -> bool:
    """
    Is there a target for a process without a terminal?
    """
    return any(
        part.file is not None
        or (part.toSyslog and os.path.exists(SYSLOG_SOCKET))  # noqa: PTH110
        or (part.toJournal and os.path.exists(JOURNAL_SOCKET))  # noqa: PTH110
        for part in (settings.rest, *(part for _, part in settings.parts))
    )


def _terminal() -> int | None:
    """
    The descriptor of standard error, if there is one.
    """
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return None
