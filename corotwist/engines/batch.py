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


def check(batch: bytes, count: int) -> int:
    """
    Is it C{count} messages, and nothing else?

    @return: the size of the largest one.
    @raise InvalidParameter: when it is not, or is no message at all.
    """
    unpackLength = _LENGTH.unpack_from
    offset, end, found, largest = 0, len(batch), 0, 0
    last = end - OVERHEAD
    while offset <= last:  # Once for each message sent: no calls to spare.
        size = unpackLength(batch, offset)[0]
        offset += OVERHEAD + size
        found += 1
        if size > largest:  # noqa: PLR1730 - A call for each message.
            largest = size
    if offset != end or found != count or not found:
        raise InvalidParameter(f"{end} bytes that are not {count} messages")
    return largest


def first(batch: bytes, offset: int) -> tuple[int, int]:
    """
    Where the message whose length is at C{offset} begins and ends.
    """
    (size,) = _LENGTH.unpack_from(batch, offset)
    start = offset + OVERHEAD
    return start, start + size


def cut(batch: bytes, offset: int, limitBytes: int, largest: int) -> tuple[int, int]:
    """
    As many whole messages from C{offset} on as make at most C{limitBytes},
    overhead included; but one at least.

    @param largest: stop before a message above this size, unless it is the
        first.
    @return: where they end, and how many they are.
    """
    _, end = first(batch, offset)
    count = 1
    while end < len(batch):
        start, after = first(batch, end)
        if after - offset > limitBytes or after - start > largest:
            break
        end = after
        count += 1
    return end, count
