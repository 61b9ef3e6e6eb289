"""
What corotwist nodes say to each other about votes, in the short form: real
corosync nodes see nothing of it.

Each begins with a byte that says what it is::

    1 memory   what the sender remembers: L{Memory<corotwist.engines.basis.Memory>},
               once in each round of synchronization
    2 shrink   the window of C{last_man_standing} is over
    3 accept   epoch (8 bytes) and digest (8 bytes) of a basis that the sender
               wrote down
    4 rules    from here on what the sender's configuration says now
"""

from struct import Struct
from typing import Final

from attrs import frozen

from corotwist.engines.basis import Memory
from corotwist.errors import TruncatedFrame, UnknownFrame

_ACCEPTED: Final = Struct("<Q8s")
_MEMORY, _SHRINK, _ACCEPT, _RULES = range(1, 5)


@frozen
class Remembered:
    """
    What a node remembers.
    """

    memory: Memory


@frozen
class Shrink:
    """
    Expect those who are here, and nobody else.
    """


@frozen
class Accept:
    """
    The sender wrote down a basis.
    """

    epoch: int
    digest: bytes


@frozen
class NewRules:
    """
    The sender's configuration changed, and counts from here on.
    """


Message = Remembered | Shrink | Accept | NewRules


def encode(message: Message) -> bytes:
    """
    What follows the common header.
    """
    match message:
        case Remembered(memory):
            return bytes([_MEMORY]) + memory.encode()
        case Shrink():
            return bytes([_SHRINK])
        case Accept(epoch, digest):
            return bytes([_ACCEPT]) + _ACCEPTED.pack(epoch, digest)
        case NewRules():
            return bytes([_RULES])


def decode(body: bytes) -> Message:
    """
    @raise WireError: it is none of these.
    """
    kind = body[0] if body else 0
    if kind == _MEMORY:
        return Remembered(Memory.decode(body[1:]))
    if kind == _SHRINK:
        return Shrink()
    if kind == _ACCEPT:
        if len(body) < 1 + _ACCEPTED.size:
            raise TruncatedFrame("what is accepted ends early")
        return Accept(*_ACCEPTED.unpack_from(body, 1))
    if kind == _RULES:
        return NewRules()
    raise UnknownFrame(f"{len(body)} bytes about votes, of kind {kind}")
