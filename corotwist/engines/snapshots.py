"""
A whole state on its way to nodes that lack it, in bounded pieces.
"""

from struct import Struct
from typing import Final, Self
from zlib import crc32

from attrs import define, field, frozen

from corotwist.engines.lineage import MARK_BYTES, Mark
from corotwist.errors import BadCount, TruncatedFrame

PIECE_BYTES: Final = 32 << 10
# Pieces that were sent and did not come back yet.
PIECES_AHEAD: Final = 4
# A state that is larger than this is refused by those who should take it.
LARGEST_STATE_BYTES: Final = 1 << 30
# Commands that came after the snapshot, waiting for the rest of it.
LARGEST_DELTA_BYTES: Final = 64 << 20
# What a waiting command costs beside its bytes.
COMMAND_BYTES: Final = 128

_PIECE: Final = Struct(f"<{MARK_BYTES}sQQI")


@frozen
class Piece:
    """
    A part of a snapshot::

        offset  size  field
             0    24  mark of the state
            24     8  size of the whole
            32     8  where this part begins
            40     4  CRC-32 of the whole
            44        the part
    """

    base: Mark
    total: int
    offset: int
    checksum: int
    part: bytes

    def encode(self) -> bytes:
        """
        As in messages.
        """
        return (
            _PIECE.pack(self.base.encode(), self.total, self.offset, self.checksum)
            + self.part
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        @raise WireError: not a piece.
        """
        if len(data) < _PIECE.size:
            raise TruncatedFrame(f"a piece of {len(data)} bytes")
        base, total, offset, checksum = _PIECE.unpack_from(data)
        part = data[_PIECE.size :]
        if total > LARGEST_STATE_BYTES or offset + len(part) > total:
            raise BadCount(f"{len(part)} bytes at {offset} of {total}")
        return cls(Mark.decode(base), total, offset, checksum, part)


@define(eq=False)
class Kept:
    """
    A snapshot, kept by everybody who made it until those who lack it have it:
    any of them can go on sending.

    @ivar sent: how much of it this node has sent.
    """

    base: Mark
    state: bytes
    sent: int = 0
    complete: bool = False
    checksum: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.checksum = crc32(self.state)

    def seek(self, offset: int) -> None:
        """
        Go on from there; somebody else has sent what is before it.
        """
        self.sent = offset
        self.complete = False

    def next(self, acknowledged: int) -> Piece | None:
        """
        What to send next.

        @param acknowledged: how much came back.
        @return: L{None} when all is sent, or enough is on its way.
        """
        if self.complete or self.sent - acknowledged >= PIECES_AHEAD * PIECE_BYTES:
            return None
        part = self.state[self.sent : self.sent + PIECE_BYTES]
        return Piece(self.base, len(self.state), self.sent, self.checksum, part)

    def sentOne(self, piece: Piece) -> None:
        """
        It is in the send queue.
        """
        self.sent += len(piece.part)
        self.complete = self.sent >= piece.total


@define(eq=False)
class Incoming:
    """
    The part of a snapshot that is here, and the commands that came after it.
    """

    base: Mark
    data: bytearray = field(factory=bytearray)
    delta: list[tuple[int, int, bytes]] = field(factory=list)
    deltaBytes: int = 0

    def add(self, piece: Piece) -> None:
        """
        A piece came; what is here already changes nothing.
        """
        have = len(self.data)
        if piece.offset <= have:
            self.data += piece.part[have - piece.offset :]

    def collect(self, nodeid: int, serial: int, command: bytes) -> bool:
        """
        Keep a command for later.

        @return: C{False} when there are too many of them.
        """
        self.delta.append((nodeid, serial, command))
        self.deltaBytes += len(command) + COMMAND_BYTES
        return self.deltaBytes <= LARGEST_DELTA_BYTES

    def whole(self, piece: Piece) -> bytes | None:
        """
        The state, after its last piece; L{None} when it is not what was sent.
        """
        good = len(self.data) == piece.total and crc32(self.data) == piece.checksum
        return bytes(self.data) if good else None


@define(eq=False)
class Transfer:
    """
    What every node knows of the transfer that is on its way.

    @ivar holders: who keeps the snapshot; the first one sends.
    @ivar receivers: who gets it.
    @ivar offset: how much was delivered.
    @ivar total: of how much; L{None} before the first piece.
    """

    base: Mark
    holders: list[int]
    receivers: list[int]
    offset: int = 0
    total: int | None = None

    def pieceDelivered(self, piece: Piece) -> bool:
        """
        @return: was it the last one?
        """
        self.total = piece.total
        if piece.offset <= self.offset:
            self.offset = max(self.offset, piece.offset + len(piece.part))
        return self.offset == piece.total
