"""
An event as it is kept: taken in the moment of the call, turned into words later,
by the writer.

Most arguments cannot change any more, and are kept as they are.  An event with
any other is turned into words at once: its list may have changed a moment later.
"""

from collections.abc import Mapping
from enum import Enum
from inspect import currentframe
from ipaddress import IPv4Address, IPv6Address
from types import CodeType, FrameType
from typing import Any, Final

from attrs import define
from twisted.logger import LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

from corotwist.logs.levels import Priority
from corotwist.logs.tags import Tags
from corotwist.logs.tracing import TAG_KEY, TRACE_KEY

# One event may say so much; its traceback, so much again.
LONGEST_TEXT: Final = 16384
# One argument is kept up to here.
LONGEST_FIELD: Final = 4096
MOST_FIELDS: Final = 64
# A tuple is kept as it is with so many items of so many bytes.
MOST_ITEMS: Final = 64
LONGEST_ITEM: Final = 64
LONGEST_TUPLE: Final = MOST_ITEMS * 32
# What a record takes in memory beside its texts: the object, its dictionary and
# numbers, as measured, rounded up.
RECORD_BYTES: Final = 640
# For the event's own priority, where Twisted's levels have none for it.
PRIORITY_KEY: Final = "corotwist_priority"

_PRIORITIES: Final = {
    LogLevel.debug: Priority.DEBUG,
    LogLevel.info: Priority.INFO,
    LogLevel.warn: Priority.WARNING,
    LogLevel.error: Priority.ERR,
    LogLevel.critical: Priority.CRIT,
}
_PLAIN: Final = frozenset((int, float, bool, type(None), IPv4Address, IPv6Address))
_TEXTS: Final = frozenset((str, bytes))
_OWN_KEYS: Final = frozenset((TAG_KEY, TRACE_KEY, PRIORITY_KEY))
_IN_BETWEEN: Final = ("twisted.logger", "twisted.python.log", "corotwist.logs")
# From the call to here, through the layers of twisted.logger.
_DEEPEST: Final = 16


@define(eq=False)
class Record:
    """
    One event.

    @ivar time: seconds since 1970.
    @ivar trace: the trace level, 0 for what is no trace point.
    @ivar fields: the arguments, none of which can change.
    @ivar words: what it says, where that had to be found out at once.
    @ivar traceback: of a failure, or nothing.
    @ivar code: whose line C{line} it is.
    @ivar size: bytes in memory, about.
    """

    time: float
    priority: Priority
    trace: int
    tag: str
    namespace: str
    format: str
    fields: Mapping[str, object]
    words: str | None = None
    traceback: str = ""
    code: CodeType | None = None
    line: int = 0
    size: int = RECORD_BYTES

    def text(self) -> str:
        """
        What it says.
        """
        if self.words is not None:
            return self.words
        return cut(formatEvent({**self.fields, "log_format": self.format}))


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """
    The beginning of a text that is too long.
    """
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} more)"


def priorityOf(event: LogEvent) -> Priority:
    """
    How urgent an event is.
    """
    chosen = event.get(PRIORITY_KEY)
    if isinstance(chosen, Priority):
        return chosen
    if TRACE_KEY in event:
        return Priority.TRACE
    return _PRIORITIES.get(event.get("log_level"), Priority.INFO)


def tagOf(event: LogEvent, tags: Tags) -> str:
    """
    Whose event it is.
    """
    chosen = event.get(TAG_KEY)
    if isinstance(chosen, str):
        return chosen
    return tags.of(event.get("log_namespace") or "")


def take(event: LogEvent, priority: Priority, tag: str) -> Record:
    """
    Keep an event.  Nothing of what it holds is kept but what cannot change.
    """
    text = event.get("log_format") or ""
    fields, size, settled = _fields(event)
    if not settled or not text or "{log_" in text:
        words = cut(formatEvent(event))
        size += len(words)
    else:
        words = None
    failure = event.get("log_failure")
    traceback = cut(_traceback(failure)) if isinstance(failure, Failure) else ""
    code, line = _caller(currentframe())
    return Record(
        event.get("log_time") or 0.0,
        priority,
        event.get(TRACE_KEY, 0),
        tag,
        event.get("log_namespace") or "",
        text,
        fields,
        words,
        traceback,
        code,
        line,
        RECORD_BYTES + size + len(traceback),
    )


def _fields(event: LogEvent) -> tuple[dict[str, object], int, bool]:
    """
    The arguments; their bytes; and whether these are all, as they were given.
    """
    fields: dict[str, object] = {}
    size, settled = 0, True
    for name, value in event.items():
        if name[:4] == "log_" or name in _OWN_KEYS:
            continue
        if len(fields) == MOST_FIELDS:
            return fields, size, False
        kind = type(value)
        if kind not in _PLAIN:
            kept = _kept(value)
            settled = settled and kept is value
            value = kept  # noqa: PLW2901 - one name for what is kept.
            size += len(kept) if isinstance(kept, (str, bytes)) else LONGEST_TUPLE
        fields[name] = value
    return fields, size, settled


def _kept(value: Any) -> object:
    """
    The value itself when it is short and cannot change, or words for it.
    """
    if type(value) in _TEXTS:
        return value if len(value) <= LONGEST_FIELD else value[:LONGEST_FIELD]
    if isinstance(value, Enum) or (isinstance(value, tuple) and _isSimple(value)):
        return value
    return cut(safe_str(value), LONGEST_FIELD)


def _isSimple(items: tuple[Any, ...]) -> bool:
    return len(items) <= MOST_ITEMS and all(
        type(item) in _PLAIN or (type(item) in _TEXTS and len(item) <= LONGEST_ITEM)
        for item in items
    )


def _caller(frame: FrameType | None) -> tuple[CodeType | None, int]:
    """
    The line that said it, above the logger and us.
    """
    for _ in range(_DEEPEST):
        if frame is None:
            break
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(_IN_BETWEEN):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back
    return None, 0


def _traceback(failure: Failure) -> str:
    try:
        return str(failure.getTraceback())
    except Exception:  # noqa: BLE001 - a failure that cannot be told is no second one.
        return safe_str(failure.value)
