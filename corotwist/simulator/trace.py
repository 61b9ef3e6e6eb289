"""
What happened: one record per event, and the same bytes for the same seed.
"""

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from json import dumps
from typing import Any, Final

from attrs import define, field

# What a failure shows of the past, unless told to keep everything.
LAST_RECORDS: Final = 400
DIGEST_BYTES: Final = 8
NANOSECONDS: Final = 1_000_000_000

Record = tuple[int, float, int, int, str, dict[str, Any]]


def readable(value: object) -> str:
    """
    What a record says of contents: bytes by their digest, the rest by name.
    """
    if isinstance(value, bytes):
        return blake2b(value, digest_size=DIGEST_BYTES).hexdigest()
    return str(value)


@define(eq=False)
class Trace:
    """
    Records, each with a number, the time, the node, its incarnation, and what
    happened.

    @ivar keep: how many of the newest are kept; L{None} for all.
    """

    keep: int | None = LAST_RECORDS
    count: int = 0
    _records: deque[Record] = field(init=False)

    @_records.default
    def _empty(self) -> deque[Record]:
        return deque(maxlen=self.keep)

    def record(
        self, time: float, node: int, incarnation: int, event: str, **fields: Any
    ) -> None:
        """
        Something happened.
        """
        self.add(time, node, incarnation, event, fields)

    def add(
        self,
        time: float,
        node: int,
        incarnation: int,
        event: str,
        fields: dict[str, Any],
    ) -> None:
        """
        The same.
        """
        self.count = count = self.count + 1
        self._records.append((count, time, node, incarnation, event, fields))

    def __iter__(self) -> Iterator[Record]:
        """
        The records that are kept: number, time, node, incarnation, event and
        what belongs to it.
        """
        return iter(self._records)

    def lines(self, *nodes: int) -> Iterator[str]:
        """
        The records that are kept, of these nodes or of all, as JSON.
        """
        for count, time, node, incarnation, event, fields in self:
            if not nodes or node in nodes:
                record = {
                    "n": count,
                    "t": round(time * NANOSECONDS),
                    "node": node,
                    "inc": incarnation,
                    "ev": event,
                    **fields,
                }
                yield dumps(record, separators=(",", ":"), default=readable)
