"""
What a client does to the tree of objects, several things at a time, as bytes.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from struct import Struct
from typing import Final, Self

from attrs import frozen

from corotwist.config.values import Value
from corotwist.engines.entries import Reader, packName, packValue
from corotwist.errors import InvalidParameter

# In one transaction.
MOST_OPERATIONS: Final = 1024

_HEAD: Final = Struct("<BBQ")
_STEP: Final = Struct("<q")
_HANDLE: Final = Struct("<Q")

# In a result: what follows.
_NOTHING, _OBJECT, _VALUE = b"\0", b"\1", b"\2"

Result = int | Value | None


class Deed(IntEnum):
    """
    What is done.

    @cvar CREATE: an object in another one.
    @cvar DESTROY: an object, with everything in it.
    @cvar KEY_CREATE: a key that the object does not have.
    @cvar KEY_REPLACE: the value of a key that it has.
    @cvar KEY_DELETE: a key that it has.
    @cvar KEY_ADJUST: add to a whole number.
    """

    CREATE = 1
    DESTROY = 2
    KEY_CREATE = 3
    KEY_REPLACE = 4
    KEY_DELETE = 5
    KEY_ADJUST = 6


@frozen
class Operation:
    """
    One thing to do::

        u8 deed, u8 made, u64 object, name, value, value expected, i64 step

    @ivar target: the handle of an object; or, if C{made}, the number of the
        operation of this transaction, from 0 on, that creates it.
    @ivar name: of the object, or the key.
    @ivar expected: only if the key has this value now; L{None} for any.
    """

    deed: Deed
    target: int
    name: str = ""
    value: Value | None = None
    expected: Value | None = None
    step: int = 0
    made: bool = False

    def encode(self) -> bytes:
        """
        To bytes.
        """
        return b"".join(
            (
                _HEAD.pack(self.deed, self.made, self.target),
                packName(self.name),
                packValue(self.value),
                packValue(self.expected),
                _STEP.pack(self.step),
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """
        The next one.

        @raise InvalidParameter: it is none.
        """
        number, made, target = _HEAD.unpack(reader.take(_HEAD.size))
        try:
            deed = Deed(number)
        except ValueError:
            raise InvalidParameter(f"{number} is no deed") from None
        name, value, expected = reader.name(), reader.value(), reader.value()
        step = reader.number(_STEP)
        return cls(deed, target, name, value, expected, step, bool(made))


def operations(data: bytes) -> list[Operation]:
    """
    Operations one after the other.

    @raise InvalidParameter: they are something else, or too many.
    """
    reader = Reader(data)
    found: list[Operation] = []
    while not reader.ended():
        if len(found) == MOST_OPERATIONS:
            raise InvalidParameter(f"over {MOST_OPERATIONS} operations at once")
        found.append(Operation.read(reader))
    return found


def packResults(results: Iterable[Result]) -> bytes:
    """
    What each operation brought: u8 0 for nothing, 1 and the u64 handle of an
    object, or 2 and a value.
    """
    return b"".join(map(_packResult, results))


def _packResult(result: Result) -> bytes:
    if result is None:
        return _NOTHING
    if isinstance(result, Value):
        return _VALUE + packValue(result)
    return _OBJECT + _HANDLE.pack(result)


def results(data: bytes) -> Sequence[Result]:
    """
    What L{packResults} made.

    @raise InvalidParameter: it is something else.
    """
    reader = Reader(data)
    found: list[Result] = []
    while not reader.ended():
        kind = reader.take(1)
        if kind == _OBJECT:
            found.append(reader.number(_HANDLE))
        elif kind == _VALUE:
            found.append(reader.value())
        elif kind == _NOTHING:
            found.append(None)
        else:
            raise InvalidParameter(f"{kind!r} is no kind of result")
    return found


def packHandles(handles: Iterable[int]) -> list[bytes]:
    """
    Handles of objects, each u64.
    """
    return [_HANDLE.pack(handle) for handle in handles]


def handles(data: bytes) -> Sequence[int]:
    """
    What L{packHandles} made, joined.

    @raise InvalidParameter: it is something else.
    """
    if len(data) % _HANDLE.size:
        raise InvalidParameter("a list of handles ends inside a handle")
    return [handle for (handle,) in _HANDLE.iter_unpack(data)]
