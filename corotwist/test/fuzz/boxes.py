"""
AMP boxes that are wrong inside, and well formed outside.
"""

from struct import pack
from typing import Final

from corotwist.test.fuzz.mutate import Mutator

_VALUES: Final = (
    *(b"", b"True", b"False", b"x" * 129, b"request", b"dispatch", b"-1", b" 1", b"\0"),
    *(
        b"%d" % (edge + change)
        for edge in (1, 30, 128, 384, 65535, 2**31, 2**32, 2**63, 2**64)
        for change in (-1, 0)
    ),
    *(b"9" * 5000, b"\xff" * 8, b"\0" * 12, b"[" * 3000, b"1e999", b"\xf0\x9f"),
)


def boxField(data: bytearray, mutator: Mutator) -> None:
    """
    One field of a box: another value, gone, or twice, under the right lengths.
    """
    fields = _fields(data)
    if not fields:
        return
    start, valueAt, end = fields[mutator.below(len(fields))]
    match mutator.below(6):
        case 0:
            del data[start:end]
        case 1:
            data[start:start] = data[start:end]
        case 2:
            value = bytearray(data[valueAt:end])
            mutator.damage(value)
            _replace(data, valueAt, end, bytes(value[:65535]))
        case 3 if mutator.words:
            said = mutator.words[mutator.below(len(mutator.words))]
            _replace(data, valueAt, end, said)
        case _:
            _replace(data, valueAt, end, _VALUES[mutator.below(len(_VALUES))])


def _replace(data: bytearray, valueAt: int, end: int, value: bytes) -> None:
    data[valueAt - 2 : end] = pack(">H", len(value)) + value


def _fields(data: bytearray) -> list[tuple[int, int, int]]:
    """
    Where each field that is whole begins, its value begins, and it ends.
    """
    found = []
    offset, size = 0, len(data)
    while offset + 2 <= size:
        key = data[offset] << 8 | data[offset + 1]
        if not key:
            offset += 2
            continue
        valueAt = offset + 4 + key
        if valueAt > size:
            break
        end = valueAt + (data[valueAt - 2] << 8 | data[valueAt - 1])
        if end > size:
            break
        found.append((offset, valueAt, end))
        offset = end
    return found
