"""
Messages to the payloads of ring messages and back: packing, splitting, and
reassembly per sender.

The payload of a regular message is a packed frame::

    offset  size  field
         0     4  version and type, 0
         4     1  fragmented: 0, or the number of the break at the end: the
                  last chunk goes on in the sender's next frame
         5     1  continuation: 0, or the number of the break that the first
                  chunk continues
         6     2  number of chunks, at least 1
         8   2 n  their lengths
     8 + 2 n      the chunks, back to back

in the sender's byte order.  Source: rings of corosync 3.1.7.
"""

from collections import deque
from collections.abc import Iterable
from struct import Struct, pack, unpack_from
from typing import Final, Self

from attrs import Factory, define, field, setters

from corotwist.errors import (
    BadCount,
    OversizedFrame,
    TruncatedFrame,
    UnknownFrame,
    WireError,
)
from corotwist.totem.membership import Guarantee
from corotwist.totem.wire import BIG, LITTLE, MOST_FRAME_BYTES, MOST_MEMBERS

# The open message of one sender, the last frame included; a corosync node ends
# itself when a sender exceeds it.
REASSEMBLY_BYTES: Final = (1 << 20) + (64 << 10)
# Breaks are numbered 1 to this, and again from 1; 0 means no break.
LAST_BREAK: Final = 255
# A message to a group nobody is in.  It gets receivers in step again.
NOTHING: Final = pack("<HH", 1, 7) + b"in-step"

_HEADERS: Final = {order: Struct(f"{order}hhBBH") for order in (LITTLE, BIG)}
# Header and the length of a single chunk.
_SINGLE: Final = Struct("<hhBBHH")
_HEADER_BYTES: Final = 8
_LENGTH_BYTES: Final = 2
_WIRE_AGREED: Final = 0
_WIRE_SAFE: Final = 1


@define
class Packed:
    """
    A packed frame.

    @ivar fragmented: the number of the break at its end, or 0.
    @ivar continuation: the number of the break at its start, or 0.
    """

    chunks: list[bytes]
    fragmented: int = 0
    continuation: int = 0
    byteOrder: str = LITTLE

    def encode(self) -> bytes:
        """
        The bytes of the frame.
        """
        return _pack(self.chunks, self.fragmented, self.continuation, self.byteOrder)

    @classmethod
    def decode(cls, payload: bytes, byteOrder: str) -> Self:
        """
        Parse a packed frame.

        @raise WireError: when it is not exactly one.
        """
        fragmented, continuation, lengths = _head(payload, byteOrder)
        start = _HEADER_BYTES + _LENGTH_BYTES * len(lengths)
        _checkSize(len(payload), start + sum(lengths))
        chunks = []
        for length in lengths:
            end = start + length
            chunks.append(payload[start:end])
            start = end
        return cls(chunks, fragmented, continuation, byteOrder)

    @staticmethod
    def announced(payload: bytes, byteOrder: str) -> int:
        """
        How long the packed frame at the start of C{payload} says it is.

        @raise WireError: when none starts there.
        """
        _, _, lengths = _head(payload, byteOrder)
        return _HEADER_BYTES + _LENGTH_BYTES * len(lengths) + sum(lengths)


def _head(payload: bytes, byteOrder: str) -> tuple[int, int, tuple[int, ...]]:
    """
    Fragmented, continuation, and the lengths of the chunks.
    """
    size = len(payload)
    if size < _HEADER_BYTES:
        raise TruncatedFrame(f"packed frame of {size} bytes")
    version, kind, fragmented, continuation, count = _HEADERS[byteOrder].unpack_from(
        payload
    )
    if version or kind:
        raise UnknownFrame(f"packed frame of version {version}, type {kind}")
    if not count:
        raise BadCount("packed frame without a chunk")
    if size < _HEADER_BYTES + _LENGTH_BYTES * count:
        raise TruncatedFrame(f"packed frame of {count} chunks in {size} bytes")
    lengths = unpack_from(f"{byteOrder}{count}H", payload, _HEADER_BYTES)
    return fragmented, continuation, lengths


def _pack(
    chunks: list[bytes], fragmented: int, continuation: int, byteOrder: str = LITTLE
) -> bytes:
    """
    The bytes of a packed frame.
    """
    count = len(chunks)
    return b"".join(
        [
            _HEADERS[byteOrder].pack(0, 0, fragmented, continuation, count),
            pack(f"{byteOrder}{count}H", *map(len, chunks)),
            *chunks,
        ]
    )


def _checkSize(size: int, announced: int) -> None:
    """
    Do the chunks fill the frame, no less and no more?
    """
    if size < announced:
        raise TruncatedFrame(f"packed frame of {size} bytes, {announced} announced")
    if size > announced:
        raise OversizedFrame(f"packed frame of {size} bytes, {announced} announced")


@define(on_setattr=setters.NO_OP)  # A check at each step would double the cost.
class Outbox:
    """
    Whole messages that wait to be sent; packed only when a frame is wanted,
    so that frames are as full as they can be.

    Breaks are numbered on across messages: two breaks one after the other
    never have the same number.

    @ivar frameBytes: the largest packed frame.
    @ivar limitBytes: how many bytes may wait, their lengths included.
    """

    frameBytes: int = field()
    limitBytes: int
    _queue: deque[tuple[bytes, int]] = field(init=False, factory=deque)
    # Bytes on the wire of what waits, without frame headers.
    _waiting: int = field(init=False, default=0)
    # Of the front message, what was taken already, and its last break.
    _taken: int = field(init=False, default=0)
    _break: int = field(init=False, default=0)
    _lastBreak: int = field(init=False, default=0)
    _outOfStep: bool = field(init=False, default=False)

    @frameBytes.validator
    def _checkFrameBytes(self, attribute: object, value: int) -> None:
        least = _HEADER_BYTES + _LENGTH_BYTES + len(NOTHING)
        if not least <= value <= MOST_FRAME_BYTES:
            raise ValueError(f"frames of {value} bytes, not {least} to 65536")

    def add(self, message: bytes, guarantee: Guarantee) -> bool:
        """
        Queue a message.

        @return: C{False} when there is no room for all of it.
        """
        cost = _LENGTH_BYTES + len(message)
        if self._waiting + cost > self.limitBytes:
            return False
        self._waiting += cost
        wire = _WIRE_SAFE if guarantee is Guarantee.SAFE else _WIRE_AGREED
        self._queue.append((message, wire))
        return True

    def room(self) -> int:
        """
        How many bytes a message may have now; negative when not even an
        empty one is taken.
        """
        return self.limitBytes - self._waiting - _LENGTH_BYTES

    def frames(self) -> int:
        """
        About how many frames wait; 0 only when there is nothing.
        """
        if not self._waiting:
            return int(self._outOfStep)
        full = self.frameBytes - _HEADER_BYTES
        return (self._waiting + full - 1) // full + self._outOfStep

    def take(self) -> tuple[bytes, int]:
        """
        The next packed frame, and the guarantee to write on the wire.

        @raise LookupError: when nothing waits.
        """
        if self._outOfStep:
            self._outOfStep = False
            return _pack([NOTHING], 0, 0), _WIRE_AGREED
        if not self._queue:
            raise LookupError("no message waits")
        continuation = self._break
        message, wire = self._queue[0]
        most = self.frameBytes - _HEADER_BYTES - _LENGTH_BYTES
        if len(message) - self._taken > most:
            piece = self._takePiece(message, most)
            head = _SINGLE.pack(0, 0, self._break, continuation, 1, most)
            return head + piece, wire
        chunks, guarantee = self._fill(most)
        return _pack(chunks, self._break, continuation), guarantee

    def _fill(self, most: int) -> tuple[list[bytes], int]:
        """
        Take whole messages while they fit, then as much of the next as fits.
        """
        queue, taken, room = self._queue, self._taken, most
        chunks: list[bytes] = []
        guarantee = _WIRE_AGREED
        while queue and room >= 0:
            message, wire = queue[0]
            rest = len(message) - taken
            if rest > room:
                break
            chunks.append(message[taken:] if taken else message)
            queue.popleft()
            taken = 0
            guarantee |= wire
            room -= rest + _LENGTH_BYTES
        self._waiting -= most - room
        self._taken = self._break = 0
        if queue and room > 0:
            message, wire = queue[0]
            chunks.append(self._takePiece(message, room))
            guarantee |= wire
        return chunks, guarantee

    def _takePiece(self, message: bytes, size: int) -> bytes:
        """
        Break the front message after C{size} more bytes.
        """
        start = self._taken
        self._taken = end = start + size
        self._waiting -= size
        self._break = self._lastBreak = self._lastBreak % LAST_BREAK + 1
        return message[start:end]

    def restart(self) -> None:
        """
        The ring changed: a message that was taken in part is sent again from
        its start.

        One frame goes before it that continues nothing and breaks nothing.
        Corosync nodes that wait for the rest throw that frame away, and the
        rest with it, and are in step from then on.
        """
        if self._taken:
            self._waiting += self._taken
            self._taken = self._break = 0
            self._outOfStep = True


@define
class _Chain:
    """
    The open message of one sender.

    @ivar expected: the number of its last break.
    """

    pieces: list[bytes]
    size: int
    expected: int


@define
class Assembly:
    """
    Messages from packed frames, each sender's apart from the others'.

    There are two sets of open messages: one for the time between a change of
    configuration and the end of synchronization, and one for all other time.

    @ivar dropped: open messages given up because the rest did not follow.
    @ivar discarded: chunks thrown away because their start never came.
    """

    dropped: int = field(init=False, default=0)
    discarded: int = field(init=False, default=0)
    _ordinary: dict[int, _Chain] = field(init=False, factory=dict)
    _transitional: dict[int, _Chain] = field(init=False, factory=dict)
    _open: dict[int, _Chain] = field(
        init=False, default=Factory(lambda self: self._ordinary, takes_self=True)
    )

    def frameDelivered(
        self, nodeid: int, payload: bytes, byteOrder: str
    ) -> list[bytes]:
        """
        The next frame of a sender, in the total order.

        @return: the messages it completes.
        @raise WireError: when the frame is malformed, or its sender's open
            message exceeds L{REASSEMBLY_BYTES}; that message is given up.
        """
        chain = self._open.pop(nodeid, None)
        try:
            frame = Packed.decode(payload, byteOrder)
        except WireError:
            self.dropped += chain is not None
            raise
        chunks = frame.chunks
        if chain is None:
            if frame.continuation:
                self._discardStart(chunks)
        elif chain.expected != frame.continuation:
            self.dropped += 1
            if frame.continuation:
                self._discardStart(chunks)
        elif self._goesOn(chain, frame):
            self._open[nodeid] = chain
            return []
        if frame.fragmented and chunks:
            piece = chunks.pop()
            self._open[nodeid] = _Chain([piece], len(piece), frame.fragmented)
            self._checkSenders()
        return chunks

    def _checkSenders(self) -> None:
        """
        No ring has more.  Frames name their senders, and one who lies could
        name any number: the oldest is given up then.
        """
        if len(self._open) > MOST_MEMBERS:
            del self._open[next(iter(self._open))]
            self.dropped += 1

    def _discardStart(self, chunks: list[bytes]) -> None:
        """
        The first chunk continues what we have not.
        """
        self.discarded += 1
        del chunks[0]

    def _goesOn(self, chain: _Chain, frame: Packed) -> bool:
        """
        Append the first chunk; when it is the last piece of its message, put
        the whole message in its place.

        @return: C{True} when the message is still open after this frame.
        """
        chunks = frame.chunks
        chain.pieces.append(chunks[0])
        chain.size += len(chunks[0])
        if chain.size > REASSEMBLY_BYTES:
            self.dropped += 1
            raise OversizedFrame(f"message of more than {REASSEMBLY_BYTES} bytes")
        if frame.fragmented and len(chunks) == 1:
            chain.expected = frame.fragmented
            return True
        chunks[0] = b"".join(chain.pieces)
        return False

    def departed(self, nodeids: Iterable[int]) -> None:
        """
        These left: forget what they began, in both sets.
        """
        for nodeid in nodeids:
            for chains in (self._ordinary, self._transitional):
                self.dropped += chains.pop(nodeid, None) is not None

    def useTransitional(self, use: bool) -> None:
        """
        Use the set for the time of synchronization, or the ordinary one.
        """
        self._open = self._transitional if use else self._ordinary
