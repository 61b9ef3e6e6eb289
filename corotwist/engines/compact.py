"""
What corotwist nodes say to each other in a group of their own, C{corotwist},
which real corosync nodes ignore.  C{docs/protocol-compact.md} is the contract.

Every number is little endian, and nothing is padded.  Each message begins with
a kind and a version::

    offset  size  field
         0     1  kind: 1 announcement, 2 engine message, 3 flow control,
                  4 names of services, 5 service message, 6 farewell, 7 standing
         1     1  version, 1
         2     2  announcement, names, farewell, standing: 0; others: service id
         4     4  ring id: representative; 0 in a service message
         8     8  ring id: sequence; 0 in a service message
        16        announcement: features, 8 bytes; engine message: its own;
                  flow control: L{FlowStates}; names:
                  L{ServiceNames<corotwist.engines.clashes.ServiceNames>};
                  service message: function, 4 bytes, and its body;
                  farewell: L{Farewell<corotwist.engines.parting.Farewell>};
                  standing: L{Standing<corotwist.engines.standing.Standing>}

Later versions only append, so the fields named here can be read from any of
them.
"""

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final, Self

from attrs import define, frozen

from corotwist.engines.batch import OVERHEAD
from corotwist.engines.interfaces import LONGEST_GROUP_NAME, Terms
from corotwist.engines.termswire import decodeTerms, encodeTerms
from corotwist.errors import BadCount, TruncatedFrame, UnknownFrame
from corotwist.totem.membership import NO_RING, RingId

GROUP: Final = b"corotwist"
VERSION: Final = 1

_HEADER: Final = Struct("<BBHIQ")
HEADER_BYTES: Final = _HEADER.size
_FEATURES: Final = Struct("<Q")
_FUNCTION: Final = Struct("<I")


class Kind:
    """
    What a message in our group is.
    """

    ANNOUNCEMENT: Final = 1
    ENGINE: Final = 2
    FLOW: Final = 3
    NAMES: Final = 4
    SERVICE: Final = 5
    FAREWELL: Final = 6
    STANDING: Final = 7


class Feature(IntFlag):
    """
    What a node understands.

    @cvar COMPACT_CPG: process group messages in batches.
    @cvar FLOW: flow-control groups, and senders that wait for them.
    @cvar TERMS: process group messages for some members, for several groups,
        or for one view.
    """

    COMPACT_CPG = 1
    FLOW = 2
    TERMS = 4


@define
class Header:
    """
    What every message begins with.
    """

    kind: int
    version: int
    service: int
    ringId: RingId

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """
        Parse the header; what follows it is the kind's business.

        @raise TruncatedFrame: when C{body} is shorter.
        @raise UnknownFrame: for version 0, which there never was.
        """
        if len(body) < HEADER_BYTES:
            raise TruncatedFrame(f"{len(body)} bytes of corotwist message")
        kind, version, service, representative, sequence = _HEADER.unpack_from(body)
        if version == 0:
            raise UnknownFrame("corotwist message of version 0")
        return cls(kind, version, service, RingId(sequence, representative))


def header(kind: int, service: int, ringId: RingId) -> bytes:
    """
    What every message begins with.
    """
    return _HEADER.pack(kind, VERSION, service, ringId.representative, ringId.sequence)


def engineHeader(service: int, ringId: RingId) -> bytes:
    """
    What goes before an engine's own bytes.
    """
    return header(Kind.ENGINE, service, ringId)


def serviceHeader(service: int, function: int) -> bytes:
    """
    What goes before the body of a message that real corosync nodes must not
    see.
    """
    return header(Kind.SERVICE, service, NO_RING) + _FUNCTION.pack(function)


def splitService(body: bytes) -> tuple[int, bytes]:
    """
    The function and the body of a service message.

    @raise TruncatedFrame: there is no function.
    """
    if len(body) < HEADER_BYTES + _FUNCTION.size:
        raise TruncatedFrame("service message without a function")
    (function,) = _FUNCTION.unpack_from(body, HEADER_BYTES)
    return function, body[HEADER_BYTES + _FUNCTION.size :]


@frozen
class Announcement:
    """
    What a node understands, said once on each ring.

    @ivar features: bits of L{Feature}; unknown bits are kept and ignored.
    """

    ringId: RingId
    features: int

    def encode(self) -> bytes:
        """
        The whole body.
        """
        return _HEADER.pack(
            Kind.ANNOUNCEMENT,
            VERSION,
            0,
            self.ringId.representative,
            self.ringId.sequence,
        ) + _FEATURES.pack(self.features)

    @classmethod
    def decode(cls, header: Header, body: bytes) -> Self:
        """
        Parse; bytes after what is known here are a later version's.

        @raise TruncatedFrame: when the features are missing.
        """
        if len(body) < HEADER_BYTES + _FEATURES.size:
            raise TruncatedFrame("announcement without features")
        (features,) = _FEATURES.unpack_from(body, HEADER_BYTES)
        return cls(header.ringId, features)


_STATE: Final = Struct("<BB")
_HELD: Final = 1


@frozen
class FlowStates:
    """
    How some flow-control groups of a service are at the sender, after the
    common header, one behind the other up to the end::

        offset  size  field
             0     1  bits: 1 held, senders wait; the others are kept for later
             1     1  length of the group's name
             2        name

    Of a group that was held and is not named, nothing changed.

    @ivar states: names, and whether they are held.
    """

    service: int
    ringId: RingId
    states: tuple[tuple[bytes, bool], ...]

    def encode(self) -> bytes:
        """
        The whole body.
        """
        ringId = self.ringId
        pieces = [
            _HEADER.pack(
                Kind.FLOW,
                VERSION,
                self.service,
                ringId.representative,
                ringId.sequence,
            )
        ]
        for name, held in self.states:
            pieces += (_STATE.pack(_HELD if held else 0, len(name)), name)
        return b"".join(pieces)

    @classmethod
    def decode(cls, header: Header, body: bytes) -> Self:
        """
        Parse.

        @raise TruncatedFrame: when it ends inside a state.
        """
        states = []
        offset, end = HEADER_BYTES, len(body)
        while offset < end:
            if end - offset < _STATE.size:
                raise TruncatedFrame("flow control ends inside a state")
            bits, length = _STATE.unpack_from(body, offset)
            offset += _STATE.size + length
            if offset > end:
                raise TruncatedFrame("flow control ends inside a name")
            states.append((body[offset - length : offset], bool(bits & _HELD)))
        return cls(header.service, header.ringId, tuple(states))


class Piece(IntEnum):
    """
    What a process group message carries: a batch, or a piece of one message
    that is too long for a batch.
    """

    BATCH = 0
    FIRST = 1
    MIDDLE = 2
    LAST = 3


_BATCH: Final = Struct("<IIBB")
_BATCH_BYTES: Final = _BATCH.size
# Added to the kind: terms stand between the name and the payload.
_WITH_TERMS: Final = 16


@define
class CompactMcast:
    """
    Messages of one process to one group, after the common header::

        offset  size  field
             0     4  pid
             4     4  number of messages; of a piece: bytes of its whole message
             8     1  0 a batch; 1 first, 2 middle, 3 last piece of a message;
                      16 more with terms
             9     1  length of the group's name
            10        name, then the terms, if there are any, then the batch
                      (C{corotwist.engines.batch}), unopened, or the piece

    @ivar terms: see L{corotwist.engines.termswire}; L{None} without.
    """

    pid: int
    count: int
    piece: Piece
    group: bytes
    payload: bytes
    terms: Terms | None = None

    @property
    def groups(self) -> tuple[bytes, ...]:
        """
        All that it is for.
        """
        further = () if self.terms is None else self.terms.groups
        return (self.group, *further)

    def encode(self) -> bytes:
        """
        What follows the common header.
        """
        if self.terms is None:
            return plainMcast(
                self.pid, self.count, self.piece, self.group, self.payload
            )
        kind, terms = self.piece + _WITH_TERMS, encodeTerms(self.terms)
        fixed = _BATCH.pack(self.pid, self.count, kind, len(self.group))
        return fixed + self.group + terms + self.payload

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """
        Parse what follows the common header.

        @raise TruncatedFrame: when a part is missing.
        @raise BadCount: for an unknown kind, too long a name, or a number of messages
            that cannot be.
        """
        # Once for each batch, on every node: enums are slow to look up.
        size = len(body)
        if size < _BATCH_BYTES:
            raise TruncatedFrame(f"{size} bytes of compact message")
        pid, count, kind, length = _BATCH.unpack_from(body)
        end = _BATCH_BYTES + length
        if size < end:
            raise TruncatedFrame("compact message ends inside the group's name")
        group = body[_BATCH_BYTES:end]
        terms = None
        if kind >= _WITH_TERMS:
            kind -= _WITH_TERMS
            terms, end = decodeTerms(body, end)
            if group in terms.groups:
                raise BadCount("compact message: its group is named twice")
        if length > LONGEST_GROUP_NAME or kind > _LAST or not count:
            raise BadCount(f"compact message: name {length}, kind {kind}, {count}")
        if kind == _WHOLE and count * OVERHEAD > size - end:
            # Clients count what waits for them, and are not cut off for a lie.
            raise BadCount(f"{size - end} bytes cannot be {count} messages")
        return cls(pid, count, _PIECES[kind], group, body[end:], terms)


def plainMcast(
    pid: int, count: int, piece: Piece, group: bytes, payload: bytes
) -> bytes:
    """
    An encoded L{CompactMcast} without terms, as nearly all are.
    """
    return _BATCH.pack(pid, count, piece, len(group)) + group + payload


_PIECES: Final = tuple(Piece)
_WHOLE: Final = int(Piece.BATCH)
_LAST: Final = int(Piece.LAST)


class Announced:
    """
    Who understands what, on one ring.
    """

    def __init__(self) -> None:
        self._features: dict[int, int] = {}

    def forget(self) -> None:
        """
        Another ring: everybody has to say it again.
        """
        self._features.clear()

    def heard(self, nodeid: int, features: int) -> None:
        """
        A member of this ring announced itself.
        """
        self._features[nodeid] = features

    def everybody(self, members: tuple[int, ...], feature: Feature) -> bool:
        """
        Did all of C{members} announce C{feature}?
        """
        return bool(self.common(members) & feature)

    def common(self, members: tuple[int, ...]) -> int:
        """
        What all of C{members} announced.
        """
        heard, common = self._features, -1
        for nodeid in members:
            common &= heard.get(nodeid, 0)
        return common
