"""
How urgent an event is, and the eight trace levels below all urgency.
"""

import re
from enum import IntEnum
from typing import Final


class Priority(IntEnum):
    """
    Syslog's, with its numbers, and one for trace points.
    """

    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7
    TRACE = 8

    @property
    def label(self) -> str:
        """
        As configurations and log lines have it.
        """
        return self.name.lower()

    @classmethod
    def labelled(cls, label: str) -> "Priority":
        """
        The priority of a label.

        @raise ValueError: when there is none.
        """
        try:
            return cls[label.upper()]
        except KeyError:
            known = ", ".join(priority.label for priority in cls)
            raise ValueError(f"{label!r} is none of {known}") from None


class TraceLevel(IntEnum):
    """
    What a trace point tells of.  The first four happen with a change, the last
    four with every message.
    """

    STATE = 1
    MEMBERSHIP = 2
    SYNC = 3
    CLIENT = 4
    REQUEST = 5
    MESSAGE = 6
    FRAME = 7
    TIMER = 8

    @property
    def label(self) -> str:
        """
        As configurations have it.
        """
        return self.name.lower()


ALL_TRACES: Final = frozenset(TraceLevel)
# What the flight recorder keeps without being asked: it costs nothing per message.
RARE_TRACES: Final = frozenset(
    (TraceLevel.STATE, TraceLevel.MEMBERSHIP, TraceLevel.SYNC, TraceLevel.CLIENT)
)

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp"),
    *("cron", "authpriv", "ftp", "local0", "local1", "local2", "local3", "local4"),
    *("local5", "local6", "local7"),
)

_SEPARATOR: Final = re.compile(r"[\s,]+")


def parseTraces(text: str) -> frozenset[int]:
    """
    A set of trace levels, by numbers and names: C{"1, sync"}, C{all}, C{none}.

    @raise ValueError: with a sentence that says what would be right.
    """
    found: set[int] = set()
    for word in filter(None, _SEPARATOR.split(text)):
        if word == "all":
            found |= ALL_TRACES
        elif word != "none":
            found.add(_traceLevel(word))
    return frozenset(found)


def _traceLevel(word: str) -> TraceLevel:
    if word in {str(level.value) for level in TraceLevel}:
        return TraceLevel(int(word))
    for level in TraceLevel:
        if word == level.label:
            return level
    names = ", ".join(f"{level.value} {level.label}" for level in TraceLevel)
    raise ValueError(f"{word!r} is no trace level: all, none, or of {names}")
