"""
Typed values, as corosync's configuration map has them.
"""

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from math import isnan
from struct import Struct, error, pack
from typing import Final

from attrs import field, frozen

from corotwist.errors import InvalidParameter

# Of the raw form, in bytes.
LARGEST_VALUE: Final = 16384

Content = int | float | str | bytes


class ValueType(IntEnum):
    """
    What a value is; the numbers are corosync's.
    """

    INT8 = 1
    UINT8 = 2
    INT16 = 3
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    INT64 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    STRING = 11
    BINARY = 12

    @property
    def label(self) -> str:
        """
        The short name that tools print and take: C{u32}.
        """
        return _LABELS[self]

    @classmethod
    def labelled(cls, label: str) -> "ValueType":
        """
        The type of that short name.

        @raise InvalidParameter: there is none.
        """
        try:
            return _LABELLED[label]
        except KeyError:
            known = ", ".join(_LABELLED)
            raise InvalidParameter(f"{label!r} is no type; types are {known}") from None

    @property
    def bits(self) -> int:
        """
        How wide a whole number is; 0 for what is none.
        """
        return 0 if self > ValueType.UINT64 else 8 << (self - 1) // 2

    @property
    def signed(self) -> bool:
        """
        May a whole number be negative?
        """
        return self < ValueType.FLOAT and self % 2 == 1


_LABELS: Final = {
    ValueType.INT8: "i8",
    ValueType.UINT8: "u8",
    ValueType.INT16: "i16",
    ValueType.UINT16: "u16",
    ValueType.INT32: "i32",
    ValueType.UINT32: "u32",
    ValueType.INT64: "i64",
    ValueType.UINT64: "u64",
    ValueType.FLOAT: "flt",
    ValueType.DOUBLE: "dbl",
    ValueType.STRING: "str",
    ValueType.BINARY: "bin",
}
_LABELLED: Final = {label: kind for kind, label in _LABELS.items()}
_RANGES: Final = {
    kind: (
        range(-1 << kind.bits - 1, 1 << kind.bits - 1)
        if kind.signed
        else range(1 << kind.bits)
    )
    for kind in ValueType
    if kind.bits
}
_REALS: Final = {ValueType.FLOAT: Struct("<f"), ValueType.DOUBLE: Struct("<d")}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,24}")


def _exactly(content: Content) -> Content:
    """
    What makes two contents the same: for reals every bit, so that the two zeros
    differ; and whatever is not a number is the same as any other that is none.
    """
    if not isinstance(content, float):
        return content
    return b"nan" if isnan(content) else pack("<d", content)


@frozen
class Value:
    """
    A content of a type; it fits the type, or cannot be made.

    @ivar content: a whole number, a real one (of type FLOAT rounded to what 32
        bits hold), text, or bytes.
    """

    kind: ValueType
    content: Content = field(eq=_exactly)

    def __attrs_post_init__(self) -> None:
        content = _CHECKS[self.kind](self.kind, self.content)
        if content is not self.content:
            object.__setattr__(self, "content", content)

    @classmethod
    def fromRaw(cls, kind: ValueType, raw: bytes) -> "Value":
        """
        From the bytes that libraries exchange; a string ends at its first NUL.

        @raise InvalidParameter: the length is not that of the type.
        """
        if kind.bits:
            _measured(kind, raw, kind.bits // 8)
            return cls(kind, int.from_bytes(raw, "little", signed=kind.signed))
        if kind in _REALS:
            _measured(kind, raw, _REALS[kind].size)
            return cls(kind, _REALS[kind].unpack(raw)[0])
        if kind is ValueType.STRING:
            return cls(kind, raw.partition(b"\0")[0].decode(errors="surrogateescape"))
        return cls(kind, raw)

    @classmethod
    def parse(cls, kind: ValueType, text: str) -> "Value":
        """
        From what a person wrote; bytes are written in hexadecimal.

        @raise InvalidParameter: it is not of the type.
        """
        try:
            return cls(kind, _READERS[kind](text))
        except ValueError:
            raise InvalidParameter(f"{_shown(text)} is no {kind.label}") from None

    def raw(self) -> bytes:
        """
        Little endian; text in UTF-8, without the NUL at its end.
        """
        content = self.content
        if isinstance(content, bytes):
            return content
        if isinstance(content, str):
            return content.encode(errors="surrogateescape")
        if isinstance(content, int):
            kind = self.kind
            return content.to_bytes(kind.bits // 8, "little", signed=kind.signed)
        return _REALS[self.kind].pack(content)

    def text(self) -> str:
        """
        What L{parse} reads.
        """
        content = self.content
        return content.hex() if isinstance(content, bytes) else str(content)

    def adjusted(self, step: int) -> "Value":
        """
        So much more; beyond the end of the type it begins again at the other, as
        in C.

        @raise InvalidParameter: not a whole number.
        """
        if not isinstance(self.content, int):
            raise InvalidParameter(f"a {self.kind.label} cannot be counted up or down")
        numbers = _RANGES[self.kind]
        offset = (self.content + step - numbers.start) % (1 << self.kind.bits)
        return Value(self.kind, numbers.start + offset)


def _shown(content: object) -> str:
    """
    A content in a message about it, not longer than a message should be.
    """
    return repr(content)[:40]


def _measured(kind: ValueType, raw: bytes, size: int) -> None:
    if len(raw) != size:
        raise InvalidParameter(f"a {kind.label} is {size} bytes, not {len(raw)}")


def _whole(kind: ValueType, content: object) -> int:
    if not isinstance(content, int):
        raise InvalidParameter(f"{_shown(content)} is no {kind.label}")
    numbers = _RANGES[kind]
    if content not in numbers:
        raise InvalidParameter(
            f"{_shown(content)} is no {kind.label}: {numbers[0]} to {numbers[-1]}"
        )
    # Of a subclass, such as bool, too.
    return content if type(content) is int else int(content)


def _real(kind: ValueType, content: object) -> float:
    if not isinstance(content, int | float):
        raise InvalidParameter(f"{_shown(content)} is no {kind.label}")
    layout = _REALS[kind]
    try:
        rounded: float = layout.unpack(layout.pack(content))[0]
    except (OverflowError, error):
        raise InvalidParameter(f"{_shown(content)} is beyond a {kind.label}") from None
    return rounded


def _string(kind: ValueType, content: object) -> str:
    if not isinstance(content, str):
        raise InvalidParameter(f"{_shown(content)} is no {kind.label}")
    if "\0" in content:
        raise InvalidParameter(f"{_shown(content)} is no {kind.label}: it has a NUL")
    try:
        _fitting(len(content.encode(errors="surrogateescape")))
    except UnicodeEncodeError:
        raise InvalidParameter(f"{_shown(content)} is no text") from None
    return content


def _binary(kind: ValueType, content: object) -> bytes:
    if not isinstance(content, bytes):
        raise InvalidParameter(f"{_shown(content)} is no {kind.label}")
    _fitting(len(content))
    return content


def _fitting(size: int) -> None:
    if size > LARGEST_VALUE:
        raise InvalidParameter(f"a value of {size} bytes; {LARGEST_VALUE} may be")


def _wholeRead(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


_READERS: Final[Mapping[ValueType, Callable[[str], Content]]] = {
    **dict.fromkeys(_RANGES, _wholeRead),
    **dict.fromkeys(_REALS, float),
    ValueType.STRING: str,
    ValueType.BINARY: bytes.fromhex,
}
_CHECKS: Final[Mapping[ValueType, Callable[[ValueType, object], Content]]] = {
    **dict.fromkeys(_RANGES, _whole),
    **dict.fromkeys(_REALS, _real),
    ValueType.STRING: _string,
    ValueType.BINARY: _binary,
}


# What services and tests write.


def i32(number: int) -> Value:
    """
    A whole number of 32 bits that may be negative.
    """
    return Value(ValueType.INT32, number)


def u8(number: int) -> Value:
    """
    A whole number of 8 bits; also yes and no.
    """
    return Value(ValueType.UINT8, number)


def u16(number: int) -> Value:
    """
    A whole number of 16 bits.
    """
    return Value(ValueType.UINT16, number)


def u32(number: int) -> Value:
    """
    A whole number of 32 bits.
    """
    return Value(ValueType.UINT32, number)


def u64(number: int) -> Value:
    """
    A whole number of 64 bits.
    """
    return Value(ValueType.UINT64, number)


def flt(number: float) -> Value:
    """
    A real number of 32 bits.
    """
    return Value(ValueType.FLOAT, number)


def dbl(number: float) -> Value:
    """
    A real number of 64 bits.
    """
    return Value(ValueType.DOUBLE, number)


def string(text: str) -> Value:
    """
    Text.
    """
    return Value(ValueType.STRING, text)


def binary(content: bytes) -> Value:
    """
    Bytes.
    """
    return Value(ValueType.BINARY, content)
