"""
What clients and nodes say to each other in AMP, whatever the service: limits,
argument types, errors, parts of large values, and the commands that set up a
client's two connections.  docs/ipc.md tells the same to other languages.
"""

from collections.abc import Iterator
from functools import partial
from struct import Struct
from sys import maxsize
from typing import Any, Final

from attrs import define, field, frozen
from twisted.protocols import amp

from corotwist.budget import Budget
from corotwist.engines.interfaces import LARGEST_MESSAGE_BYTES, ViewId
from corotwist.errors import InvalidParameter, ServiceError, TooBig
from corotwist.totem.membership import RingId

VERSION: Final = 1

# Of one AMP value, when there is more to say; AMP itself ends at 65,535.
PART_BYTES: Final = 60 << 10
# Sent to a client and not yet acknowledged by it; one part may go beyond.
DISPATCH_WINDOW_BYTES: Final = 512 << 10
# What a notification other than a delivery costs of the window.
NOTIFICATION_COST: Final = 256
# Waiting for a client besides that; a client that lets more wait is cut off.
DISPATCH_QUEUE_BYTES: Final = 32 << 20
DISPATCH_QUEUE_MESSAGES: Final = 1 << 18
# Of one batch: each is looked at when it comes, and more than these at once
# would be a burden on whoever reads.
BATCH_MESSAGES: Final = 1 << 14
# Batches of one client that wait for room in the send queue of the ring.
PENDING_SENDS: Final = 64
PENDING_BYTES: Final = LARGEST_MESSAGE_BYTES + (1 << 20)
# Values in parts that one client may have begun and not finished.
PARTIAL_STREAMS: Final = 8
PARTIAL_BYTES: Final = LARGEST_MESSAGE_BYTES + (1 << 20)

REQUESTS: Final = b"request"
DISPATCH: Final = b"dispatch"


def _leavesFirst(root: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for kind in root.__subclasses__():
        yield from _leavesFirst(kind)
    yield root


# Subclasses before their bases: AMP takes the first that fits.
ERRORS: Final[dict[type[Exception], bytes]] = {
    kind: kind.ampCode for kind in _leavesFirst(ServiceError)
}


class Unsigned(amp.Argument):
    """
    A whole number from 0 on, in decimal digits and nothing else.
    """

    def __init__(self, bits: int, *, optional: bool = False) -> None:
        super().__init__(optional)
        self._bits = bits

    def fromString(self, inString: bytes) -> int:
        return unsigned(inString, self._bits)

    def toString(self, inObject: int) -> bytes:
        return b"%d" % inObject


def unsigned(digits: bytes, bits: int) -> int:
    """
    Decimal digits to a number of at most so many bits.

    @raise InvalidParameter: when they are something else.
    """
    # 20 digits hold 64 bits; int() itself takes blanks, signs and underscores.
    if digits.isdigit() and len(digits) <= 20:  # noqa: PLR2004
        number = int(digits)
        if number >> bits == 0:
            return number
    raise InvalidParameter(f"{digits[:24]!r} is no number of {bits} bits")


class Numbers(amp.Argument):
    """
    A tuple of numbers, 32 bits little endian each.
    """

    def fromString(self, inString: bytes) -> tuple[int, ...]:
        if len(inString) % 4:
            raise InvalidParameter("a list of numbers ends inside a number")
        return Struct(f"<{len(inString) // 4}I").unpack(inString)

    def toString(self, inObject: tuple[int, ...]) -> bytes:
        return Struct(f"<{len(inObject)}I").pack(*inObject)


class ViewIdentity(amp.Argument):
    """
    A L{ViewId}, little endian: u64 sequence and u32 representative of the ring,
    u32 number of the verdict.
    """

    _LAYOUT: Final = Struct("<QII")

    def fromString(self, inString: bytes) -> ViewId:
        if len(inString) != self._LAYOUT.size:
            raise InvalidParameter(f"{len(inString)} bytes are no view's id")
        sequence, representative, number = self._LAYOUT.unpack(inString)
        return ViewId(RingId(sequence, representative), number)

    def toString(self, inObject: ViewId) -> bytes:
        ringId = inObject.ringId
        return self._LAYOUT.pack(
            ringId.sequence, ringId.representative, inObject.number
        )


class Hello(amp.Command):
    """
    The first command on each connection.  On the one for requests it is
    answered with a secret; the one for dispatch is opened with that.
    """

    commandName = b"hello"
    arguments = [
        (b"version", Unsigned(32)),
        (b"role", amp.String()),
        (b"secret", amp.String(optional=True)),
    ]
    response = [
        (b"version", Unsigned(32)),
        (b"nodeid", Unsigned(32)),
        (b"pid", Unsigned(32)),
        (b"secret", amp.String(optional=True)),
        (b"window", Unsigned(32)),
        (b"part", Unsigned(32)),
        (b"largest", Unsigned(32)),
    ]
    errors = ERRORS


class Credit(amp.Command):
    """
    From the client, on dispatch: so many bytes of events are dealt with.
    """

    commandName = b"credit"
    arguments = [(b"bytes", Unsigned(32))]
    requiresAnswer = False


class Stopping(amp.Command):
    """
    To every client, on dispatch: the node is to stop as soon as what holds it
    has moved away; again every ten seconds.
    """

    commandName = b"node.stopping"
    arguments = [(b"reason", amp.Unicode()), (b"holding", amp.Unicode())]
    requiresAnswer = False


class Closing(amp.Command):
    """
    From the node, on the connection for requests: why it closes both.
    """

    commandName = b"closing"
    arguments = [(b"reason", amp.Unicode())]
    requiresAnswer = False


@frozen
class Welcome:
    """
    What a node tells a client that it lets in.

    @ivar pid: the client's own, as the kernel of the node sees it.
    @ivar window: bytes of events the node sends ahead of C{credit}.
    """

    nodeid: int
    pid: int
    window: int = DISPATCH_WINDOW_BYTES


def parts(data: bytes, limit: int = PART_BYTES) -> Iterator[tuple[int, bool, bytes]]:
    """
    Cut what is too long for one AMP value.

    @return: for each part its number from 0 on, whether more follow, and its
        bytes; one empty part for no bytes.
    """
    for number, start in enumerate(range(0, len(data) or 1, limit)):
        yield number, start + limit < len(data), data[start : start + limit]


@define(eq=False)
class Partials:
    """
    Values in parts on their way in, a few at a time and not too many bytes.
    """

    _limitStreams: int = PARTIAL_STREAMS
    _limitBytes: int = PARTIAL_BYTES
    _budget: Budget = field(factory=partial(Budget, "parts", maxsize))
    # Of each stream the number of its next part, and its bytes so far: in one
    # piece, because there may be very many parts of very few bytes.
    _streams: dict[Any, tuple[int, bytearray]] = field(factory=dict, init=False)
    _bytes: int = field(default=0, init=False)

    def partReceived(
        self, stream: Any, number: int, data: bytes, *, more: bool
    ) -> bytes | None:
        """
        Take the next part of a stream.

        @return: the whole with its last part; L{None} until then.
        @raise InvalidParameter: a part out of turn, or too many streams.
        @raise TooBig: more bytes than are kept.
        @raise TryAgain: others keep too much.  In each case the stream is
            forgotten.
        """
        try:
            have = self._expect(stream, number, len(data))
            self._budget.take(len(data))
        except ServiceError:
            self.forget(stream)
            raise
        have += data
        self._bytes += len(data)
        if more:
            self._streams[stream] = (number + 1, have)
            return None
        self.forget(stream)
        return bytes(have)

    def _expect(self, stream: Any, number: int, size: int) -> bytearray:
        if number == 0 and stream not in self._streams:
            if len(self._streams) >= self._limitStreams:
                raise InvalidParameter(f"over {self._limitStreams} values in parts")
            self._streams[stream] = (0, bytearray())
        expected, have = self._streams.get(stream, (None, bytearray()))
        if expected != number:
            raise InvalidParameter(f"part {number} of a value is out of turn")
        if self._bytes + size > self._limitBytes:
            raise TooBig(f"over {self._limitBytes} bytes in parts")
        return have

    def forget(self, stream: Any) -> None:
        """
        Drop what came of a stream.
        """
        _, have = self._streams.pop(stream, (0, b""))
        self._bytes -= len(have)
        self._budget.give(len(have))

    def clear(self) -> None:
        """
        Drop everything.
        """
        self._streams.clear()
        self._budget.give(self._bytes)
        self._bytes = 0
