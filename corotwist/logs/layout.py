"""
A record as a line: for people, and as JSON for programs.
"""

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from corotwist import __file__ as _package
from corotwist.logs.levels import TraceLevel
from corotwist.logs.record import Record

_ROOT: Final = os.path.dirname(os.path.dirname(_package)) + os.sep  # noqa: PTH120
# What would end a line, or move a terminal's cursor: names of groups come from
# anybody.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FAINT: Final = re.compile(r"[\ud800-\udfff]")


def readable(text: str) -> str:
    """
    Text without control characters; further lines begin with a tab, so that
    nobody can make up a line of the log.
    """
    if text.isprintable():
        return text
    text = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    text = _FAINT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.rstrip("\n").replace("\n", "\n\t")


def whole(record: Record) -> str:
    """
    What it says, with the traceback.
    """
    text = record.text()
    return f"{text}\n{record.traceback}" if record.traceback else text


def label(record: Record) -> str:
    """
    The priority, or the trace level.
    """
    if record.trace:
        return f"trace{record.trace}"
    return record.priority.label


def source(record: Record) -> str:
    """
    The file, from the directory of our package on.
    """
    return "" if record.code is None else record.code.co_filename.removeprefix(_ROOT)


@frozen
class TextLayout:
    """
    Lines for people::

        2026-08-01T12:00:00.000+0200 [TOTEM ] notice  A new ring
    """

    timestamp: str = "hires"
    fileline: bool = False
    functionName: bool = False

    def line(self, record: Record) -> bytes:
        """
        One line, or several of which all but the first begin with a tab.
        """
        parts = [
            *self._time(record),
            f"[{record.tag:6}]",
            f"{label(record):7}",
            *self._place(record),
            readable(whole(record)),
        ]
        return " ".join(parts).encode(errors="backslashreplace") + b"\n"

    def _time(self, record: Record) -> list[str]:
        if self.timestamp == "off":
            return []
        moment = datetime.fromtimestamp(record.time, UTC).astimezone()
        spec = "milliseconds" if self.timestamp == "hires" else "seconds"
        return [moment.isoformat(timespec=spec)]

    def _place(self, record: Record) -> list[str]:
        if record.code is None:
            return []
        words = []
        if self.fileline:
            words.append(f"{source(record)}:{record.line}")
        if self.functionName:
            words.append(f"{record.code.co_qualname}()")
        return words


@frozen
class JsonLayout:
    """
    One JSON object a line.

    @ivar common: what stands in each: who we are.
    """

    common: Mapping[str, Any]

    def line(self, record: Record) -> bytes:
        """
        One line, always.
        """
        return encoded({**self.common, **described(record)})


def described(record: Record) -> dict[str, Any]:
    """
    A record as what JSON can hold.  Times are seconds since 1970.
    """
    found: dict[str, Any] = {
        "time": round(record.time, 6),
        "priority": record.priority.label,
        "subsystem": record.tag,
        "text": record.text(),
    }
    if record.trace:
        found["trace"] = TraceLevel(record.trace).label
    if record.fields:
        found["fields"] = record.fields
    if record.traceback:
        found["traceback"] = record.traceback
    if record.code is not None:
        found["file"] = source(record)
        found["line"] = record.line
        found["function"] = record.code.co_qualname
    return found


def encoded(value: Mapping[str, Any]) -> bytes:
    """
    JSON on one line, whatever is in it.
    """
    return json.dumps(value, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)
