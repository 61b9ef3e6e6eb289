"""
The flight recorder: the latest events, in memory, whatever the thresholds are;
and the files it is written to when they matter.
"""

import os
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, Final

from attrs import frozen
from twisted.python.reflect import safe_repr

from corotwist.logs.layout import described, encoded
from corotwist.logs.record import Record

# As much as corosync's.
RECORDER_BYTES: Final = 8 << 20
# Dumps in the directory; the oldest goes first.
MOST_DUMPS: Final = 8
PREFIX: Final = "flight-"
SUFFIX: Final = ".jsonl"
FORMAT: Final = "corotwist flight recorder"
VERSION: Final = 1
FILE_MODE: Final = 0o600
# Python runs one thread at a time: who saves rests after so many lines.
TURN: Final = 16
REST_SECONDS: Final = 0.0005
_OURS: Final = re.compile(rf"{PREFIX}\d{{8}}T\d{{12}}Z-\d+{re.escape(SUFFIX)}")


@frozen
class Flight:
    """
    What the recorder held at one moment.

    @ivar time: of the dump; seconds since 1970.
    @ivar reason: why it was taken.
    @ivar forgotten: records that had made room for later ones.
    @ivar state: of the node, as its engines tell it.
    """

    time: float
    reason: str
    records: tuple[Record, ...]
    forgotten: int
    common: Mapping[str, Any]
    state: Mapping[str, Any]

    def lines(self) -> Iterable[bytes]:
        """
        One JSON object each: what it is, then the events, then the state.
        """
        yield encoded(
            {
                "format": FORMAT,
                "version": VERSION,
                "time": round(self.time, 6),
                "reason": self.reason,
                "events": len(self.records),
                "forgotten": self.forgotten,
                **self.common,
            }
        )
        for record in self.records:
            yield encoded(described(record))
        for name, value in self.state.items():
            yield _stateLine(name, value)


def _stateLine(name: str, value: Any) -> bytes:
    """
    An engine, maybe not one of ours, may tell what JSON cannot hold.
    """
    try:
        return encoded({"state": name, "value": value})
    except (TypeError, ValueError):
        return encoded({"state": name, "value": safe_repr(value)})


class Recorder:
    """
    A ring of records, bounded in bytes.
    """

    def __init__(self, size: int = RECORDER_BYTES) -> None:
        self._records: deque[Record] = deque()
        self._most = size
        self.bytes = 0
        self.forgotten = 0
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> None:
        """
        Keep it, and forget the oldest when there is no room.
        """
        with self._lock:
            self._records.append(record)
            self.bytes += record.size
            while self.bytes > self._most:
                self.bytes -= self._records.popleft().size
                self.forgotten += 1

    def clear(self) -> None:
        """
        Forget everything.
        """
        with self._lock:
            self._records.clear()
            self.bytes = 0

    def forked(self) -> None:
        """
        Nobody holds our lock in a child.
        """
        self._lock = RLock()

    def flight(
        self,
        moment: float,
        reason: str,
        common: Mapping[str, Any],
        state: Mapping[str, Any],
    ) -> Flight:
        """
        What is there now.
        """
        with self._lock:
            records = tuple(self._records)
        return Flight(moment, reason, records, self.forgotten, common, state)


def save(flight: Flight, directory: Path) -> Path:
    """
    A file of its own for each dump; the oldest of many go.  Under its name there
    is a whole one or none.

    @raise OSError: when it cannot be written.
    """
    moment = datetime.fromtimestamp(flight.time, UTC)
    name = f"{PREFIX}{moment:%Y%m%dT%H%M%S%f}Z-{os.getpid()}{SUFFIX}"
    path, beginning = directory / name, directory / f"{name}.new"
    handle = os.open(beginning, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            for number, line in enumerate(flight.lines()):
                file.write(line)
                if number % TURN == 0:
                    time.sleep(REST_SECONDS)
        beginning.rename(path)
    except OSError:
        beginning.unlink(missing_ok=True)
        raise
    for old in dumps(directory)[:-MOST_DUMPS]:
        old.unlink(missing_ok=True)
    return path


def dumps(directory: Path) -> list[Path]:
    """
    The dumps in a directory, oldest first.
    """
    return sorted(p for p in directory.glob(f"{PREFIX}*") if _OURS.fullmatch(p.name))
