"""
Keys with values, and changes of them, as bytes: what nodes and clients send
each other.

All numbers are little endian.  A value::

    u8 type (0: no value, and nothing follows), u32 length, so many bytes

An entry is a u8 length, so many bytes of name, and a value.  A change of a key is
a u8 kind, then an entry with the new value, then the old value.  Of an object it is
a u8 kind and 128, its name, and its u64 handle.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from corotwist.config.tracking import Change, ChangeKind, ObjectChange
from corotwist.config.values import LARGEST_VALUE, Value, ValueType
from corotwist.errors import InvalidParameter

Entry = tuple[str, Value]

_VALUE: Final = Struct("<BI")
_NOTHING: Final = b"\0"
_HANDLE: Final = Struct("<Q")
# In the kind of a change: it is of an object.
_OBJECT: Final = 128


def packValue(value: Value | None) -> bytes:
    """
    A value, or none.
    """
    if value is None:
        return _NOTHING
    raw = value.raw()
    return _VALUE.pack(value.kind, len(raw)) + raw


def packName(name: str) -> bytes:
    """
    A name of a key, of at most 255 bytes.
    """
    raw = name.encode(errors="surrogateescape")
    return bytes((len(raw),)) + raw


def packEntry(name: str, value: Value | None) -> bytes:
    """
    A key and its value.
    """
    return packName(name) + packValue(value)


def packChange(change: Change | ObjectChange) -> bytes:
    """
    What happened to a key, or an object.
    """
    if isinstance(change, ObjectChange):
        kind = bytes((change.kind | _OBJECT,))
        return kind + packName(change.name) + _HANDLE.pack(change.handle)
    return (
        bytes((change.kind,))
        + packEntry(change.name, change.new)
        + packValue(change.old)
    )


class Reader:
    """
    Takes bytes apart, from front to end.

    Every method raises L{InvalidParameter} for bytes that are something else.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def ended(self) -> bool:
        """
        Is nothing left?
        """
        return self._offset == len(self._data)

    def take(self, size: int) -> bytes:
        """
        The next bytes.
        """
        end = self._offset + size
        if end > len(self._data):
            raise InvalidParameter(f"{len(self._data)} bytes end inside an entry")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def number(self, layout: Struct) -> int:
        """
        The next number.
        """
        (number,) = layout.unpack(self.take(layout.size))
        return int(number)

    def name(self) -> str:
        """
        The next name.
        """
        (size,) = self.take(1)
        return self.take(size).decode(errors="surrogateescape")

    def value(self) -> Value | None:
        """
        The next value.
        """
        if self.take(1) == _NOTHING:
            return None
        self._offset -= 1
        number, size = _VALUE.unpack(self.take(_VALUE.size))
        return typedValue(number, self.take(size))

    def change(self) -> Change | ObjectChange:
        """
        The next change.
        """
        (number,) = self.take(1)
        if number - _OBJECT in _KINDS:
            kind = ChangeKind(number - _OBJECT)
            return ObjectChange(kind, self.name(), self.number(_HANDLE))
        if number not in _KINDS:
            raise InvalidParameter(f"{number} is no kind of change")
        name, new = self.name(), self.value()
        return Change(ChangeKind(number), name, self.value(), new)


_KINDS: Final = frozenset(kind.value for kind in ChangeKind)


def typedValue(number: int, raw: bytes) -> Value:
    """
    A value by the number of its type.

    @raise InvalidParameter: no such type; or the bytes do not fit it.
    """
    try:
        kind = ValueType(number)
    except ValueError:
        raise InvalidParameter(f"{number} is no type of a value") from None
    if len(raw) > LARGEST_VALUE:
        raise InvalidParameter(f"{len(raw)} bytes; a value has {LARGEST_VALUE} at most")
    return Value.fromRaw(kind, raw)


def entries(data: bytes) -> Iterator[Entry]:
    """
    Entries one after the other, each with a value.

    @raise InvalidParameter: it is something else.
    """
    reader = Reader(data)
    while not reader.ended():
        name, value = reader.name(), reader.value()
        if value is None:
            raise InvalidParameter(f"{name!r} has no value")
        yield name, value


def changes(data: bytes) -> tuple[Change | ObjectChange, ...]:
    """
    Changes one after the other.

    @raise InvalidParameter: it is something else.
    """
    reader = Reader(data)
    found = []
    while not reader.ended():
        found.append(reader.change())
    return tuple(found)


def chunks(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """
    Put pieces together, as many as fit; none is cut.
    """
    chunk: list[bytes] = []
    size = 0
    for piece in pieces:
        if chunk and size + len(piece) > limit:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(piece)
        size += len(piece)
    if chunk:
        yield b"".join(chunk)
