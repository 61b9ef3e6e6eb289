"""
Dumps of the flight recorder, read again.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from corotwist.logs.layout import readable
from corotwist.logs.levels import Priority, TraceLevel
from corotwist.logs.recorder import FORMAT, VERSION

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Entry = dict[str, Any]


class NotFlight(ValueError):
    """
    The file is not a dump that we can read.
    """


@frozen
class Dump:
    """
    One file.

    @ivar header: who, when and why.
    @ivar state: of the node at that time, by name.
    @ivar damaged: lines that nobody can read.
    """

    header: Entry
    events: tuple[Entry, ...]
    state: Entry
    damaged: int


def read(lines: Iterable[bytes]) -> Dump:
    """
    Read a dump.

    @raise NotFlight: when it is something else.
    """
    source = iter(lines)
    header = _parsed(next(source, b"")) or {}
    if header.get("format") != FORMAT:
        raise NotFlight("this is no dump of a flight recorder")
    if header.get("version") != VERSION:
        raise NotFlight(f"it has format {header.get('version')}; we know {VERSION}")
    events, state, damaged = [], {}, 0
    for line in source:
        entry = _parsed(line)
        if entry is not None and "state" in entry:
            state[str(entry["state"])] = entry.get("value")
        elif entry is not None and isinstance(entry.get("time"), int | float):
            events.append(entry)
        else:
            damaged += 1
    return Dump(header, tuple(events), state, damaged)


def _parsed(line: bytes) -> Entry | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@frozen
class Filter:
    """
    Which events are wanted.

    @ivar since: seconds since 1970; so is C{until}.
    @ivar subsystems: nothing for all.
    @ivar priority: the least urgent that is wanted.
    @ivar traces: of trace points, the levels that are.
    """

    since: float | None = None
    until: float | None = None
    subsystems: frozenset[str] = frozenset()
    priority: Priority = Priority.TRACE
    traces: frozenset[int] = frozenset(TraceLevel)

    def wants(self, entry: Entry) -> bool:
        """
        Is it one of them?
        """
        moment = entry["time"]
        return (
            (self.since is None or moment >= self.since)
            and (self.until is None or moment <= self.until)
            and (not self.subsystems or entry.get("subsystem") in self.subsystems)
            and self._isUrgent(entry)
        )

    def _isUrgent(self, entry: Entry) -> bool:
        try:
            priority = Priority.labelled(str(entry.get("priority")))
            trace = entry.get("trace")
            level = None if trace is None else TraceLevel[str(trace).upper()]
        except (ValueError, KeyError):
            return True  # Of a later release: better shown than not.
        return priority <= self.priority and (level is None or level in self.traces)

    def chosen(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """
        Those of them.
        """
        return (entry for entry in entries if self.wants(entry))


def shown(entry: Entry) -> str:
    """
    An event for people.
    """
    moment = datetime.fromtimestamp(entry["time"], UTC).astimezone()
    trace = entry.get("trace")
    level = entry.get("priority", "") if trace is None else f"trace:{trace}"
    text = str(entry.get("text", ""))
    if "traceback" in entry:
        text = f"{text}\n{entry['traceback']}"
    place = f"{entry['file']}:{entry.get('line', 0)}" if "file" in entry else ""
    return " ".join(
        part
        for part in (
            moment.isoformat(timespec="milliseconds"),
            f"[{readable(str(entry.get('subsystem', ''))):6}]",
            f"{readable(str(level)):7}",
            readable(place),
            readable(text),
        )
        if part
    )


def parseMoment(text: str, now: float) -> float:
    """
    A time of day, or so long ago: C{2026-08-01T12:00:00}, C{12:00}, C{90s},
    C{10m}, C{2h}, C{1d}.

    @return: seconds since 1970.
    @raise ValueError: with a sentence that says what would be right.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - float(ago[1]) * _SECONDS[ago[2]]
    today = datetime.fromtimestamp(now, UTC).astimezone()
    for candidate in (text, f"{today:%Y-%m-%d}T{text}"):
        try:
            moment = datetime.fromisoformat(candidate)
        except ValueError:
            continue
        return moment.astimezone().timestamp()
    raise ValueError(
        f"{text!r} is no time: write 2026-08-01T12:00:00, 12:00, or 10m for ten"
        " minutes ago"
    )
