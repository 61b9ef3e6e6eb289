"""
Inputs that are runs of parts: what comes in one after the other.

Each part is a tag of one byte, what is done with it, its length in two, little
endian, and its bytes; the last one may be cut short.  Any bytes are such a run.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

_HEAD: Final = Struct("<BH")
LONGEST: Final = (1 << 16) - 1

Part = tuple[int, bytes]


def join(parts: Iterable[Part]) -> bytes:
    """
    Parts to an input.
    """
    pack = _HEAD.pack
    return b"".join([pack(tag, len(data)) + data for tag, data in parts])


def split(data: bytes) -> list[Part]:
    """
    An input to its parts.
    """
    parts = []
    offset, last = 0, len(data) - _HEAD.size
    while offset <= last:
        tag, size = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        parts.append((tag, data[offset : offset + size]))
        offset += size
    return parts
