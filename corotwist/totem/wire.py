"""
The messages of the ring, one class each, in corosync 3's layout.

A datagram is one message.  Every message starts with the same 13 bytes::

    offset  size  field
         0     2  magic, 0xC070; its order tells the sender's byte order
         2     1  version, 3
         3     1  type
         4     1  in Regular 2, or 1 when it carries an old ring's message;
                  0 in all other types
         5     4  nodeid of the sender; 0 in the Join of one who leaves
         9     4  target: steers routing in knet, rubbish elsewhere

Nothing is aligned or padded.  A ring id is a nodeid (4), the representative,
and a sequence (8).

L{decode} gives back a whole valid message, or raises a
L{WireError<corotwist.errors.WireError>}; C{encode} of what was decoded gives
the same bytes again.  Source: [SRP 4, 5], and rings of corosync 3.1.7.
"""

from collections.abc import Mapping
from itertools import pairwise
from struct import Struct, pack, unpack, unpack_from
from typing import ClassVar, Final, Self

from attrs import Factory, define, frozen

from corotwist.errors import (
    BadCount,
    OversizedFrame,
    TruncatedFrame,
    UnknownFrame,
    WireError,
)
from corotwist.totem.membership import NO_RING, RingId
from corotwist.totem.sequence import distance

LITTLE: Final = "<"
BIG: Final = ">"
MAGIC: Final = 0xC070
VERSION: Final = 3
# Retransmission requests in one token.
MOST_REQUESTS: Final = 30
# Processors in one ring, and entries in each list of them.
MOST_MEMBERS: Final = 384
# Messages that may be on their way on one ring.
MOST_AHEAD: Final = 16384
# The largest datagram corosync reads.
MOST_FRAME_BYTES: Final = 65536

_NODEID_BYTES: Final = 4
_NOT_REGULAR: Final = 0
_ENCAPSULATED: Final = 1
_ORDINARY: Final = 2


def _layouts(fields: str) -> Mapping[str, Struct]:
    """
    The common header and C{fields}, in both byte orders.
    """
    return {order: Struct(f"{order}HBBBII{fields}") for order in (LITTLE, BIG)}


def decode(data: bytes, near: RingId = NO_RING) -> "Message":
    """
    Parse one datagram.

    @param near: the ring that the message is most likely of: its name need
        not be made again.
    @raise WireError: when it is not exactly one message.
    """
    found = _DECODERS.get(data[:4])
    if found is None:
        raise _strange(data)
    kind, byteOrder = found
    if kind is Regular or kind is Token:
        return kind.decode(data, byteOrder, near)
    return kind.decode(data, byteOrder)


@define
class Regular:
    """
    A message in the total order::

        offset  size  field
            13     4  nodeid of the originator
            17     4  sequence on its ring
            21     4  the originator's own count of messages, signed
            25    12  ring id
            37     4  unused
            41     4  guarantee, signed
            45        packed chunks, or one whole old Regular

    @ivar frame: the datagram.  Whoever retransmits it sends these bytes.
    @ivar unused: 0 from everyone so far.
    """

    TYPE: ClassVar[int] = 1
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IIiIQIi")
    FIXED_BYTES: ClassVar[int] = 45

    sender: int
    target: int
    origin: int
    sequence: int
    senderSequence: int
    ringId: RingId
    unused: int
    guarantee: int
    encapsulated: bool
    byteOrder: str
    frame: bytes

    @property
    def payload(self) -> bytes:
        """
        What the originator sent; cut out of C{frame} at each reading.
        """
        return self.frame[self.FIXED_BYTES :]

    def encode(self) -> bytes:
        """
        The datagram.
        """
        return self.frame

    @classmethod
    def decode(cls, data: bytes, byteOrder: str, near: RingId = NO_RING) -> Self:
        """
        Parse a datagram of this type.
        """
        size = len(data)
        if size < cls.FIXED_BYTES:
            raise TruncatedFrame(f"regular message of {size} bytes")
        if size > MOST_FRAME_BYTES:
            raise OversizedFrame(f"regular message of {size} bytes")
        (
            _,
            _,
            _,
            mark,
            sender,
            target,
            origin,
            sequence,
            senderSequence,
            representative,
            ringSequence,
            unused,
            guarantee,
        ) = cls.LAYOUTS[byteOrder].unpack_from(data)
        if mark != _ORDINARY:
            _checkEncapsulated(mark, data)
        return cls(
            sender,
            target,
            origin,
            sequence,
            senderSequence,
            near
            if ringSequence == near.sequence and representative == near.representative
            else RingId(ringSequence, representative),
            unused,
            guarantee,
            mark == _ENCAPSULATED,
            byteOrder,
            data,
        )


def makeRegular(  # noqa: PLR0917 - as many as the wire has.
    sender: int,
    sequence: int,
    senderSequence: int,
    ringId: RingId,
    guarantee: int,
    payload: bytes,
    encapsulated: bool = False,
    byteOrder: str = LITTLE,
) -> Regular:
    """
    A message of our own.

    @param payload: packed chunks; when C{encapsulated}, a frame of a Regular
        of an old ring.
    """
    mark = _ENCAPSULATED if encapsulated else _ORDINARY
    fixed = Regular.LAYOUTS[byteOrder].pack(
        MAGIC,
        VERSION,
        Regular.TYPE,
        mark,
        sender,
        0,
        sender,
        sequence,
        senderSequence,
        ringId.representative,
        ringId.sequence,
        0,
        guarantee,
    )
    return Regular(
        sender,
        0,
        sender,
        sequence,
        senderSequence,
        ringId,
        0,
        guarantee,
        encapsulated,
        byteOrder,
        fixed + payload,
    )


def _checkEncapsulated(mark: int, data: bytes) -> None:
    """
    Is there exactly one ordinary Regular inside?
    """
    if mark != _ENCAPSULATED:
        raise UnknownFrame(f"regular message marked {mark}")
    start = Regular.FIXED_BYTES
    inner = data[start : start + 5]
    if len(data) - start < Regular.FIXED_BYTES:
        raise TruncatedFrame("the encapsulated message is too short")
    kind, _ = _DECODERS.get(inner[:4], (None, LITTLE))
    if kind is not Regular or inner[4] != _ORDINARY:
        raise UnknownFrame("encapsulated is something else than a regular message")


@define
class Token:
    """
    The right to multicast, circulating::

        offset  size  field
            13     4  sequence: the highest given out on this ring
            17     4  token sequence: rises at each hop
            21     4  all received up to
            25     4  nodeid of who lowered that; 0: nobody is behind
            29    12  ring id
            41     4  backlog: messages that wait at all members
            45     4  flow count: messages sent in the last rotation
            49     4  retransmit flag, signed: old messages remain to be sent
            53     4  number of requests, signed
          57 + 16 n   requests: ring id (12), sequence (4)
    """

    TYPE: ClassVar[int] = 0
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IIIIIQIIii")
    REQUESTS: ClassVar[Mapping[str, Struct]] = {
        order: Struct(f"{order}IQI") for order in (LITTLE, BIG)
    }

    sender: int
    sequence: int
    tokenSequence: int
    allReceivedUpTo: int
    aruSetter: int
    ringId: RingId
    backlog: int = 0
    flowCount: int = 0
    retransmitFlag: int = 0
    requests: list[tuple[RingId, int]] = Factory(list)
    target: int = 0
    byteOrder: str = LITTLE

    def encode(self) -> bytes:
        """
        The datagram.
        """
        ringId = self.ringId
        fixed = _encodeFixed(
            self,
            self.sequence,
            self.tokenSequence,
            self.allReceivedUpTo,
            self.aruSetter,
            ringId.representative,
            ringId.sequence,
            self.backlog,
            self.flowCount,
            self.retransmitFlag,
            len(self.requests),
        )
        if not self.requests:
            return fixed
        pack = self.REQUESTS[self.byteOrder].pack
        return fixed + b"".join(
            pack(ringId.representative, ringId.sequence, sequence)
            for ringId, sequence in self.requests
        )

    @classmethod
    def decode(cls, data: bytes, byteOrder: str, near: RingId = NO_RING) -> Self:
        """
        Parse a datagram of this type.
        """
        (
            sender,
            target,
            sequence,
            tokenSequence,
            allReceivedUpTo,
            aruSetter,
            representative,
            ringSequence,
            backlog,
            flowCount,
            retransmitFlag,
            count,
        ) = _decodeFixed(cls, data, byteOrder)
        _checkCount("requests", count, 0, MOST_REQUESTS)
        request = cls.REQUESTS[byteOrder]
        rest = _tail(cls, data, count * request.size)
        ahead = distance(allReceivedUpTo, sequence)
        if ahead > MOST_AHEAD:
            raise BadCount(f"the token is {ahead} messages ahead of the ring")
        return cls(
            sender,
            sequence,
            tokenSequence,
            allReceivedUpTo,
            aruSetter,
            _nearOrNew(near, ringSequence, representative),
            backlog,
            flowCount,
            retransmitFlag,
            [
                (_nearOrNew(near, number, owner), wanted)
                for owner, number, wanted in request.iter_unpack(rest)
            ]
            if count
            else [],
            target,
            byteOrder,
        )


@define
class MergeDetect:
    """
    A ring without work makes itself heard::

        offset  size  field
            13     4  nodeid of the originator
            17    12  ring id
    """

    TYPE: ClassVar[int] = 2
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IIQ")

    sender: int
    origin: int
    ringId: RingId
    target: int = 0
    byteOrder: str = LITTLE

    def encode(self) -> bytes:
        """
        The datagram.
        """
        return _encodeFixed(
            self, self.origin, self.ringId.representative, self.ringId.sequence
        )

    @classmethod
    def decode(cls, data: bytes, byteOrder: str) -> Self:
        """
        Parse a datagram of this type.
        """
        sender, target, origin, representative, sequence = _decodeFixed(
            cls, data, byteOrder
        )
        _tail(cls, data, 0)
        return cls(sender, origin, RingId(sequence, representative), target, byteOrder)


@define
class Join:
    """
    Whom I can hear, whom I gave up, and the newest ring I know of::

        offset  size  field
            13     4  nodeid of the originator
            17     4  number of processors
            21     4  number of failed ones among them
            25     8  ring sequence
        33 + 4 p      nodeids of the processors, in no order
                4 f   nodeids of the failed, likewise
    """

    TYPE: ClassVar[int] = 3
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IIIQ")

    sender: int
    origin: int
    processors: tuple[int, ...]
    failed: tuple[int, ...]
    ringSequence: int
    target: int = 0
    byteOrder: str = LITTLE

    @property
    def leave(self) -> bool:
        """
        Is this the farewell of C{origin}?
        """
        return self.sender == 0

    def encode(self) -> bytes:
        """
        The datagram.
        """
        fixed = _encodeFixed(
            self,
            self.origin,
            len(self.processors),
            len(self.failed),
            self.ringSequence,
        )
        return fixed + _packNodeids(self.byteOrder, self.processors + self.failed)

    @classmethod
    def decode(cls, data: bytes, byteOrder: str) -> Self:
        """
        Parse a datagram of this type.
        """
        sender, target, origin, processors, failed, ringSequence = _decodeFixed(
            cls, data, byteOrder
        )
        _checkCount("processors", processors, 0, MOST_MEMBERS)
        _checkCount("failed processors", failed, 0, MOST_MEMBERS)
        rest = _tail(cls, data, _NODEID_BYTES * (processors + failed))
        nodeids = unpack(f"{byteOrder}{processors + failed}I", rest)
        return cls(
            sender,
            origin,
            nodeids[:processors],
            nodeids[processors:],
            ringSequence,
            target,
            byteOrder,
        )


@frozen
class CommitEntry:
    """
    What one member brings from its old ring.

    @ivar received: the flag, 0 or 1: has it all messages it knows of?
    """

    ringId: RingId
    aru: int
    highDelivered: int
    received: int


UNFILLED: Final = CommitEntry(NO_RING, 0, 0, 0)


@define
class CommitToken:
    """
    Carrier of a proposed ring::

        offset  size  field
            13     4  token sequence
            17    12  id of the proposed ring
            29     4  retransmit flag, 0 so far
            33     4  index: how many members filled in their entry, signed
            37     4  number of members, signed
        41 + 4 n      nodeids of the members, ascending
               24 n   entries in the same order: old ring id (12), aru (4),
                      high delivered (4), received flag (4)
    """

    TYPE: ClassVar[int] = 4
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IIQIii")
    ENTRIES: ClassVar[Mapping[str, Struct]] = {
        order: Struct(f"{order}IQIII") for order in (LITTLE, BIG)
    }

    sender: int
    tokenSequence: int
    ringId: RingId
    members: tuple[int, ...]
    entries: tuple[CommitEntry, ...]
    index: int = 0
    retransmitFlag: int = 0
    target: int = 0
    byteOrder: str = LITTLE

    def encode(self) -> bytes:
        """
        The datagram.
        """
        fixed = _encodeFixed(
            self,
            self.tokenSequence,
            self.ringId.representative,
            self.ringId.sequence,
            self.retransmitFlag,
            self.index,
            len(self.members),
        )
        pack = self.ENTRIES[self.byteOrder].pack
        entries = (
            pack(
                entry.ringId.representative,
                entry.ringId.sequence,
                entry.aru,
                entry.highDelivered,
                entry.received,
            )
            for entry in self.entries
        )
        nodeids = _packNodeids(self.byteOrder, self.members)
        return b"".join([fixed, nodeids, *entries])

    @classmethod
    def decode(cls, data: bytes, byteOrder: str) -> Self:
        """
        Parse a datagram of this type.
        """
        (
            sender,
            target,
            tokenSequence,
            representative,
            ringSequence,
            retransmitFlag,
            index,
            count,
        ) = _decodeFixed(cls, data, byteOrder)
        _checkCount("members", count, 1, MOST_MEMBERS)
        _checkCount("filled entries", index, 0, count)
        entry = cls.ENTRIES[byteOrder]
        rest = _tail(cls, data, count * (_NODEID_BYTES + entry.size))
        members = unpack_from(f"{byteOrder}{count}I", rest)
        if any(a >= b for a, b in pairwise(members)):
            raise BadCount("the members of a commit token do not ascend")
        entries = tuple(
            CommitEntry(RingId(number, owner), *state)
            for owner, number, *state in entry.iter_unpack(
                rest[count * _NODEID_BYTES :]
            )
        )
        return cls(
            sender,
            tokenSequence,
            RingId(ringSequence, representative),
            members,
            entries,
            index,
            retransmitFlag,
            target,
            byteOrder,
        )


@define
class HoldCancel:
    """
    There is work: the representative must not hold the token::

        offset  size  field
            13    12  ring id
    """

    TYPE: ClassVar[int] = 5
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IQ")

    sender: int
    ringId: RingId
    target: int = 0
    byteOrder: str = LITTLE

    def encode(self) -> bytes:
        """
        The datagram.
        """
        return _encodeFixed(self, self.ringId.representative, self.ringId.sequence)

    @classmethod
    def decode(cls, data: bytes, byteOrder: str) -> Self:
        """
        Parse a datagram of this type.
        """
        sender, target, representative, sequence = _decodeFixed(cls, data, byteOrder)
        _tail(cls, data, 0)
        return cls(sender, RingId(sequence, representative), target, byteOrder)


Plain = Token | MergeDetect | Join | CommitToken | HoldCancel
Message = Regular | Plain


def _nearOrNew(near: RingId, sequence: int, representative: int) -> RingId:
    """
    A ring's name, made only when it is another than the one expected.
    """
    if sequence == near.sequence and representative == near.representative:
        return near
    return RingId(sequence, representative)


def _encodeFixed(message: Plain, *fields: int) -> bytes:
    """
    The common header and the fixed part behind it.
    """
    return message.LAYOUTS[message.byteOrder].pack(
        MAGIC,
        VERSION,
        message.TYPE,
        _NOT_REGULAR,
        message.sender,
        message.target,
        *fields,
    )


def _decodeFixed(kind: type[Plain], data: bytes, byteOrder: str) -> tuple[int, ...]:
    """
    Sender, target, and the fixed part of this kind of message.
    """
    layout = kind.LAYOUTS[byteOrder]
    if len(data) < layout.size:
        raise TruncatedFrame(f"{kind.__name__} of {len(data)} bytes")
    fields = layout.unpack_from(data)
    if fields[3] != _NOT_REGULAR:
        raise UnknownFrame(f"{kind.__name__} marked {fields[3]}")
    return fields[4:]


def _tail(kind: type[Plain], data: bytes, size: int) -> bytes:
    """
    What follows the fixed part, which must be exactly C{size} bytes.
    """
    start = kind.LAYOUTS[LITTLE].size
    excess = len(data) - start - size
    if excess < 0:
        raise TruncatedFrame(f"{kind.__name__} lacks {-excess} announced bytes")
    if excess > 0:
        raise OversizedFrame(f"{kind.__name__} with {excess} bytes too many")
    return data[start:]


def _checkCount(what: str, count: int, least: int, most: int) -> None:
    """
    Is a count from the wire within its bounds?
    """
    if not least <= count <= most:
        raise BadCount(f"{count} {what}, not {least} to {most}")


def _packNodeids(byteOrder: str, nodeids: tuple[int, ...]) -> bytes:
    """
    A list of nodeids.
    """
    return pack(f"{byteOrder}{len(nodeids)}I", *nodeids)


def _strange(data: bytes) -> WireError:
    """
    Why C{data} does not begin as any message does.
    """
    if len(data) < _START_BYTES:
        return TruncatedFrame(f"a datagram of {len(data)} bytes")
    return UnknownFrame(f"a datagram that begins with {data[:_START_BYTES].hex()}")


_START_BYTES: Final = 4
_DECODERS: Final[Mapping[bytes, tuple[type[Message], str]]] = {
    pack(f"{order}HBB", MAGIC, VERSION, kind.TYPE): (kind, order)
    for kind in (Token, Regular, MergeDetect, Join, CommitToken, HoldCancel)
    for order in (LITTLE, BIG)
}
