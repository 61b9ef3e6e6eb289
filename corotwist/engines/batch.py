"""
Several messages as one run of bytes: what clients pack and open, and daemons
carry unopened::

    per message:  u32 little endian length, then so many bytes
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from corotwist.errors import InvalidParameter

_LENGTH: Final = Struct("<I")
OVERHEAD: Final = _LENGTH.size


def pack(messages: Iterable[bytes]) -> bytes:
    """
    Messages to a batch.
    """
    length = _LENGTH.pack
    return b"".join([part for m in messages for part in (length(len(m)), m)])


def unpack(batch: bytes) -> list[bytes]:
    """
    A batch to its messages.

    @raise InvalidParameter: when the lengths do not fit the bytes.
    """
    messages = []
    unpackLength = _LENGTH.unpack_from
    offset, end = 0, len(batch)
    while offset < end:
        if end - offset < OVERHEAD:
            raise InvalidParameter("a batch ends inside a length")
        (size,) = unpackLength(batch, offset)
        offset += OVERHEAD
        if size > end - offset:
            raise InvalidParameter("a batch ends inside a message")
        messages.append(batch[offset : offset + size])
        offset += size
    return messages
