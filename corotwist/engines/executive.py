"""
The executive messages: what the services of one node send to those of the
others, in corosync 3's layout.

A message of the total order begins with the groups it is for::

    offset  size  field
         0     2  number of groups
         2   2 n  length of each group's name
     2 + 2 n      the names, back to back

and goes on with its body, for the groups C{a} (services) and C{sync}
(synchronization) with this header::

    offset  size  field
         0     4  service * 65536 + function, signed
         8     4  size of the body, this header included, signed

Numbers are in the sender's byte order, nearly all of them aligned to 8.  Gaps
are rubbish: ignored when read, zero when written.

Each class here has C{decode(body, byteOrder)} and C{encode(byteOrder)} for
what follows the 16-byte header; C{decode} raises
L{WireError<corotwist.errors.WireError>} for anything that is not exactly one
such message.  Offsets in their tables count from behind the header.
Source: rings of corosync 3.1.7.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum, IntFlag
from struct import Struct, pack, unpack_from
from typing import Any, ClassVar, Final, Protocol, Self

from attrs import AttrsInstance, define

from corotwist.errors import BadCount, OversizedFrame, TruncatedFrame, UnknownFrame
from corotwist.totem.membership import RingId

SERVICES_GROUP: Final = b"a"
SYNC_GROUP: Final = b"sync"
CMAP, CFG, CPG, QUORUM, PLOAD, VOTEQUORUM, MON, WD = range(8)
SERVICE_NAMES: Final = (
    "cmap",
    "cfg",
    "cpg",
    "quorum",
    "pload",
    "votequorum",
    "mon",
    "wd",
)

MOST_GROUPS: Final = 255
MOST_SERVICES: Final = 64
MOST_MEMBERS: Final = 384
LONGEST_NAME: Final = 128
LONGEST_REASON: Final = 256
LONGEST_DEVICE_NAME: Final = 255
LONGEST_KEY: Final = 256
HEADER_BYTES: Final = 16

_BYTE_ORDERS: Final = ("<", ">")
_SERVICES_ON_WIRE: Final = 128
_ALIGNMENT: Final = 8


def _layouts(fields: str) -> Mapping[str, Struct]:
    """
    C{fields} in both byte orders.
    """
    return {order: Struct(order + fields) for order in _BYTE_ORDERS}


# Groups and header.

_HEADERS: Final = _layouts("i4xi4x")
# A service's number is this many apart from the next one's.
FUNCTIONS: Final = 1 << 16
# Functions whose messages are counted each for itself, as many as corosync's
# engines may have.
FUNCTIONS_COUNTED: Final = 64
# Where messages in the short form are counted: behind those.
SHORT_FORM: Final = FUNCTIONS_COUNTED + 1


def address(group: bytes, body: bytes) -> bytes:
    """
    A message for one group, little endian.
    """
    return pack("<HH", 1, len(group)) + group + body


def addressed(message: bytes, byteOrder: str) -> tuple[tuple[bytes, ...], bytes]:
    """
    The groups a message is for, and its body.
    """
    if len(message) < 2:  # noqa: PLR2004 - the number of groups.
        raise TruncatedFrame(f"message of {len(message)} bytes")
    (count,) = unpack_from(f"{byteOrder}H", message)
    _checkCount("groups", count, 1, MOST_GROUPS)
    end = 2 + 2 * count
    _checkLength("group lengths", len(message), end)
    lengths = unpack_from(f"{byteOrder}{count}H", message, 2)
    _checkLength("group names", len(message), end + sum(lengths))
    groups = []
    for length in lengths:
        groups.append(message[end : end + length])
        end += length
    return tuple(groups), message[end:]


def header(service: int, function: int, body: bytes, byteOrder: str = "<") -> bytes:
    """
    The body of a message with its 16-byte header in front.
    """
    number = service * FUNCTIONS + function
    size = HEADER_BYTES + len(body)
    return _HEADERS[byteOrder].pack(number, size) + body


def split(body: bytes, byteOrder: str) -> tuple[int, int, bytes]:
    """
    Service, function, and what follows the 16-byte header.

    Messages of the group C{sync} count as service 0.
    """
    _checkLength("header", len(body), HEADER_BYTES)
    number, size = _HEADERS[byteOrder].unpack_from(body)
    if number < 0:
        raise UnknownFrame(f"executive message with number {number}")
    _checkSize("executive message", len(body), size)
    service, function = divmod(number, FUNCTIONS)
    return service, function, body[HEADER_BYTES:]


class Executive(AttrsInstance, Protocol):
    """
    Any message here.
    """

    SERVICE: ClassVar[int]
    FUNCTION: ClassVar[int]
    NAME: ClassVar[str]

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """


def whole(message: Executive, byteOrder: str = "<") -> bytes:
    """
    A message of ours with its header in front, to address to its group.
    """
    return header(
        message.SERVICE, message.FUNCTION, message.encode(byteOrder), byteOrder
    )


# Synchronization, group sync.


@define
class Barrier:
    """
    The sender finished the current service: ring id (12), gap (4).
    """

    SERVICE: ClassVar[int] = 0
    FUNCTION: ClassVar[int] = 0
    NAME: ClassVar[str] = "sync.barrier"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IQ4x")

    ringId: RingId

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(
            self.ringId.representative, self.ringId.sequence
        )

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        representative, sequence = _fields(cls, body, byteOrder)
        return cls(RingId(sequence, representative))


@define
class ServiceList:
    """
    Which services of the sender take part in synchronization::

        offset  size  field
             0    12  ring id
            16     4  number of services, signed, at most 64
            24   512  service ids, signed; those beyond the number are rubbish
    """

    SERVICE: ClassVar[int] = 0
    FUNCTION: ClassVar[int] = 1
    NAME: ClassVar[str] = "sync.service_build"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"IQ4xi4x{_SERVICES_ON_WIRE}i")

    ringId: RingId
    services: tuple[int, ...]

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        count = len(self.services)
        return self.LAYOUTS[byteOrder].pack(
            self.ringId.representative,
            self.ringId.sequence,
            count,
            *self.services,
            *[0] * (_SERVICES_ON_WIRE - count),
        )

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        representative, sequence, count, *services = _fields(cls, body, byteOrder)
        _checkCount("services", count, 0, MOST_SERVICES)
        return cls(RingId(sequence, representative), tuple(services[:count]))


# cmap.


class CmapReason(IntEnum):
    """
    Why keys are sent.
    """

    SYNC = 0
    NEW_VERSION = 1


CMAP_ABSENT: Final = 0
CMAP_U64: Final = 8


@define
class CmapItem:
    """
    One key::

        offset  size  field
             0     2  length of the key's name
             8   256  name
           264     1  type of the value; 0: the key is absent
           272     8  length of the value
           280        value, then a gap up to a multiple of 8

    @ivar value: in the sender's byte order; L{number} reads one of 64 bits.
    """

    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"H6x{LONGEST_KEY}sB7xQ")

    key: bytes
    valueType: int
    value: bytes

    def number(self, byteOrder: str) -> int:
        """
        The value as a number; an absent key counts as 0.
        """
        if self.valueType == CMAP_ABSENT:
            return 0
        if self.valueType != CMAP_U64 or len(self.value) != _ALIGNMENT:
            raise UnknownFrame(f"value of type {self.valueType}, not 64 bits")
        (number,) = unpack_from(f"{byteOrder}Q", self.value)
        assert isinstance(number, int)
        return number


@define
class CmapMcast:
    """
    Keys of the sender's configuration that concern others::

        offset  size  field
             0     1  reason
             8     1  number of keys
            16     1  reserved
            24     1  reserved
            32        the keys
    """

    SERVICE: ClassVar[int] = CMAP
    FUNCTION: ClassVar[int] = 0
    NAME: ClassVar[str] = "cmap.mcast"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("B7xB23x")

    reason: int
    items: tuple[CmapItem, ...]

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        parts = [self.LAYOUTS[byteOrder].pack(self.reason, len(self.items))]
        for item in self.items:
            length = len(item.value)
            parts += [
                item.LAYOUTS[byteOrder].pack(
                    len(item.key), item.key, item.valueType, length
                ),
                item.value,
                bytes(-length % _ALIGNMENT),
            ]
        return b"".join(parts)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        layout = cls.LAYOUTS[byteOrder]
        _checkLength(cls.NAME, len(body), layout.size)
        reason, count = layout.unpack_from(body)
        offset = layout.size
        items = []
        for _ in range(count):
            item, offset = _cmapItem(body, offset, byteOrder)
            items.append(item)
        _checkSize(cls.NAME, len(body), offset)
        return cls(reason, tuple(items))


def _cmapItem(body: bytes, offset: int, byteOrder: str) -> tuple[CmapItem, int]:
    """
    The key at C{offset}, and where the next one begins.
    """
    layout = CmapItem.LAYOUTS[byteOrder]
    start = offset + layout.size
    _checkLength(CmapMcast.NAME, len(body), start)
    keyBytes, key, valueType, valueBytes = layout.unpack_from(body, offset)
    _checkCount("bytes of key", keyBytes, 0, LONGEST_KEY)
    after = start + valueBytes + -valueBytes % _ALIGNMENT
    _checkLength(CmapMcast.NAME, len(body), after)
    value = body[start : start + valueBytes]
    return CmapItem(key[:keyBytes], valueType, value), after


# cpg.

# A name: length (4), gap (4), 128 bytes of which that many count.
_NAME: Final = f"I4x{LONGEST_NAME}s"
# A source: nodeid (4), gap (4), the sender's own number for a client (8).
_SOURCE: Final = "I4xQ"


@define
class ProcJoin:
    """
    A process wants to be in a group::

        offset  size  field
             0   136  name of the group
           136     4  pid
           144     4  reason
    """

    SERVICE: ClassVar[int] = CPG
    FUNCTION: ClassVar[int] = 0
    NAME: ClassVar[str] = "cpg.procjoin"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"{_NAME}I4xI4x")

    group: bytes
    pid: int
    reason: int

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(
            len(self.group), self.group, self.pid, self.reason
        )

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        length, name, pid, reason = _fields(cls, body, byteOrder)
        return cls(_name(length, name), pid, reason)


@define
class ProcLeave(ProcJoin):
    """
    A process left a group, or ended; laid out as C{ProcJoin}.
    """

    FUNCTION: ClassVar[int] = 1
    NAME: ClassVar[str] = "cpg.procleave"


@define
class JoinList:
    """
    All processes of the sender::

        offset  size  field
             0     4  result, signed; always 0
             8 144 n  pid (4), gap (4), name of its group (136)
    """

    SERVICE: ClassVar[int] = CPG
    FUNCTION: ClassVar[int] = 2
    NAME: ClassVar[str] = "cpg.joinlist"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("i4x")
    ENTRIES: ClassVar[Mapping[str, Struct]] = _layouts(f"I4x{_NAME}")

    entries: tuple[tuple[int, bytes], ...]
    result: int = 0

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        entry = self.ENTRIES[byteOrder].pack
        return self.LAYOUTS[byteOrder].pack(self.result) + b"".join(
            [entry(pid, len(group), group) for pid, group in self.entries]
        )

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        layout, entry = cls.LAYOUTS[byteOrder], cls.ENTRIES[byteOrder]
        _checkLength(cls.NAME, len(body), layout.size)
        (result,) = layout.unpack_from(body)
        if (len(body) - layout.size) % entry.size:
            raise TruncatedFrame("cpg.joinlist ends inside an entry")
        entries = tuple(
            (pid, _name(length, name))
            for pid, length, name in entry.iter_unpack(body[layout.size :])
        )
        return cls(entries, result)


@define
class Mcast:
    """
    One message to a group::

        offset  size  field
             0   136  name of the group
           136     4  length of the payload
           144     4  pid
           152    16  source
           168        payload
    """

    SERVICE: ClassVar[int] = CPG
    FUNCTION: ClassVar[int] = 3
    NAME: ClassVar[str] = "cpg.mcast"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"{_NAME}I4xI4x{_SOURCE}")

    group: bytes
    pid: int
    nodeid: int
    connection: int
    payload: bytes

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        fixed = self.LAYOUTS[byteOrder].pack(
            len(self.group),
            self.group,
            len(self.payload),
            self.pid,
            self.nodeid,
            self.connection,
        )
        return fixed + self.payload

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        layout = cls.LAYOUTS[byteOrder]
        _checkLength(cls.NAME, len(body), layout.size)
        length, name, size, pid, nodeid, connection = layout.unpack_from(body)
        payload = body[layout.size :]
        _checkSize(cls.NAME, len(payload), size)
        return cls(_name(length, name), pid, nodeid, connection, payload)


@define
class OldDownlist:
    """
    Who left, as older releases say it; received and ignored::

        offset  size  field
             0     4  number of nodes that left
             8  1536  their nodeids; those beyond the number are rubbish
    """

    SERVICE: ClassVar[int] = CPG
    FUNCTION: ClassVar[int] = 4
    NAME: ClassVar[str] = "cpg.downlist_old"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"I4x{MOST_MEMBERS}I")

    left: tuple[int, ...]

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        count = len(self.left)
        rest = [0] * (MOST_MEMBERS - count)
        return self.LAYOUTS[byteOrder].pack(count, *self.left, *rest)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        count, *nodeids = _fields(cls, body, byteOrder)
        _checkCount("nodes that left", count, 0, MOST_MEMBERS)
        return cls(tuple(nodeids[:count]))


@define
class Downlist:
    """
    Who left::

        offset  size  field
             0     4  number of members before
             8     4  number of nodes that left
            16  1536  their nodeids; those beyond the number are rubbish
    """

    SERVICE: ClassVar[int] = CPG
    FUNCTION: ClassVar[int] = 5
    NAME: ClassVar[str] = "cpg.downlist"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"I4xI4x{MOST_MEMBERS}I")

    oldMembers: int
    left: tuple[int, ...]

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        count = len(self.left)
        rest = [0] * (MOST_MEMBERS - count)
        return self.LAYOUTS[byteOrder].pack(self.oldMembers, count, *self.left, *rest)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        oldMembers, count, *nodeids = _fields(cls, body, byteOrder)
        _checkCount("nodes that left", count, 0, MOST_MEMBERS)
        return cls(oldMembers, tuple(nodeids[:count]))


class Part(IntEnum):
    """
    Which piece of a long message this is.
    """

    FIRST = 1
    MIDDLE = 2
    LAST = 3


@define
class PartialMcast:
    """
    A piece of a message too long for one::

        offset  size  field
             0   136  name of the group
           136     4  length of the whole payload
           144     4  length of this piece
           152     4  pid
           160     4  kind: 1 first, 2 middle, 3 last piece
           168    16  source
           184        piece
    """

    SERVICE: ClassVar[int] = CPG
    FUNCTION: ClassVar[int] = 6
    NAME: ClassVar[str] = "cpg.partial_mcast"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"{_NAME}I4xI4xI4xI4x{_SOURCE}")

    group: bytes
    pid: int
    nodeid: int
    connection: int
    total: int
    part: Part
    payload: bytes

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        fixed = self.LAYOUTS[byteOrder].pack(
            len(self.group),
            self.group,
            self.total,
            len(self.payload),
            self.pid,
            self.part,
            self.nodeid,
            self.connection,
        )
        return fixed + self.payload

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        layout = cls.LAYOUTS[byteOrder]
        _checkLength(cls.NAME, len(body), layout.size)
        length, name, total, size, pid, part, nodeid, connection = layout.unpack_from(
            body
        )
        _checkCount("as kind of a piece", part, Part.FIRST, Part.LAST)
        payload = body[layout.size :]
        _checkSize(cls.NAME, len(payload), size)
        group = _name(length, name)
        return cls(group, pid, nodeid, connection, total, Part(part), payload)


# votequorum.


class NodeFlag(IntFlag):
    """
    What a node says about itself in L{NodeInfo}.
    """

    QUORATE = 1
    LEAVING = 2
    WAIT_FOR_ALL = 4
    FIRST = 8
    QDEVICE_REGISTERED = 16
    QDEVICE_ALIVE = 32
    QDEVICE_CAST_VOTE = 64
    QDEVICE_MASTER_WINS = 128


@define
class NodeInfo:
    """
    Votes of a node, or of the quorum device: nodeid (4; 0 for the device),
    votes (4), expected votes (4), flags (4).
    """

    SERVICE: ClassVar[int] = VOTEQUORUM
    FUNCTION: ClassVar[int] = 0
    NAME: ClassVar[str] = "votequorum.nodeinfo"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IIII")

    nodeid: int
    votes: int
    expectedVotes: int
    flags: int

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(
            self.nodeid, self.votes, self.expectedVotes, self.flags
        )

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        return cls(*_fields(cls, body, byteOrder))


class Reconfigured(IntEnum):
    """
    What a L{Reconfigure} changes.
    """

    EXPECTED_VOTES = 1
    NODE_VOTES = 2
    CANCEL_WAIT_FOR_ALL = 3


@define
class Reconfigure:
    """
    An operator changed a number: nodeid (4), value (4), what (1), gap (7).
    """

    SERVICE: ClassVar[int] = VOTEQUORUM
    FUNCTION: ClassVar[int] = 1
    NAME: ClassVar[str] = "votequorum.reconfigure"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("IIB7x")

    nodeid: int
    value: int
    what: Reconfigured

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(self.nodeid, self.value, self.what)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        nodeid, value, what = _fields(cls, body, byteOrder)
        _checkCount(
            "as what to reconfigure",
            what,
            Reconfigured.EXPECTED_VOTES,
            Reconfigured.CANCEL_WAIT_FOR_ALL,
        )
        return cls(nodeid, value, Reconfigured(what))


@define
class QdeviceRegistration:
    """
    A quorum device came or went: 1 or 0 (4), its name with a zero byte at
    the end (255), gap (5).
    """

    SERVICE: ClassVar[int] = VOTEQUORUM
    FUNCTION: ClassVar[int] = 2
    NAME: ClassVar[str] = "votequorum.qdevice_reg"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"I{LONGEST_DEVICE_NAME}s5x")

    registered: bool
    device: bytes

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(self.registered, self.device)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        operation, device = _fields(cls, body, byteOrder)
        _checkCount("as operation of a device", operation, 0, 1)
        return cls(bool(operation), _terminated(device))


@define
class QdeviceRename:
    """
    A quorum device has another name: old (255), new (255), gap (2).
    """

    SERVICE: ClassVar[int] = VOTEQUORUM
    FUNCTION: ClassVar[int] = 3
    NAME: ClassVar[str] = "votequorum.qdevice_reconfigure"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(
        f"{LONGEST_DEVICE_NAME}s{LONGEST_DEVICE_NAME}s2x"
    )

    before: bytes
    after: bytes

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(self.before, self.after)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        before, after = _fields(cls, body, byteOrder)
        return cls(_terminated(before), _terminated(after))


@define
class QdeviceExtra:
    """
    More about a quorum device, from releases after 3.1.10: nodeid (4),
    length (4), so many bytes.
    """

    SERVICE: ClassVar[int] = VOTEQUORUM
    FUNCTION: ClassVar[int] = 4
    NAME: ClassVar[str] = "votequorum.qdevice_extra"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("II")

    nodeid: int
    extra: bytes

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        fixed = self.LAYOUTS[byteOrder].pack(self.nodeid, len(self.extra))
        return fixed + self.extra

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        layout = cls.LAYOUTS[byteOrder]
        _checkLength(cls.NAME, len(body), layout.size)
        nodeid, size = layout.unpack_from(body)
        extra = body[layout.size :]
        _checkSize(cls.NAME, len(extra), size)
        return cls(nodeid, extra)


# cfg.


@define
class RingReenable:
    """
    Nothing, today: source (16).
    """

    SERVICE: ClassVar[int] = CFG
    FUNCTION: ClassVar[int] = 0
    NAME: ClassVar[str] = "cfg.ringreenable"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(_SOURCE)

    nodeid: int
    connection: int

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(self.nodeid, self.connection)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        return cls(*_fields(cls, body, byteOrder))


@define
class KillNode:
    """
    One node has to end at once::

        offset  size  field
             0     4  its nodeid
             8     2  length of the reason, the zero byte at its end included
            16   256  reason
    """

    SERVICE: ClassVar[int] = CFG
    FUNCTION: ClassVar[int] = 1
    NAME: ClassVar[str] = "cfg.killnode"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts(f"I4xH6x{LONGEST_REASON}s")

    nodeid: int
    reason: bytes

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(
            self.nodeid, len(self.reason) + 1, self.reason
        )

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        nodeid, length, reason = _fields(cls, body, byteOrder)
        _checkCount("bytes of reason", length, 1, LONGEST_REASON)
        if reason[length - 1]:
            raise BadCount("a reason without a zero byte at its end")
        return cls(nodeid, reason[: length - 1])


@define
class Shutdown:
    """
    The sender is going to stop; nothing follows the header.
    """

    SERVICE: ClassVar[int] = CFG
    FUNCTION: ClassVar[int] = 2
    NAME: ClassVar[str] = "cfg.shutdown"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("")

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return b""

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        _fields(cls, body, byteOrder)
        return cls()


@define
class Reload(RingReenable):
    """
    Every node has to read its configuration again: source (16).
    """

    FUNCTION: ClassVar[int] = 3
    NAME: ClassVar[str] = "cfg.reload_config"


class CryptoPhase(IntEnum):
    """
    Steps of changing keys.
    """

    ACTIVATE = 1
    CLEANUP = 2


@define
class CryptoReconfigure:
    """
    The sender's next step in changing its keys: phase (4), gap (4).
    """

    SERVICE: ClassVar[int] = CFG
    FUNCTION: ClassVar[int] = 4
    NAME: ClassVar[str] = "cfg.crypto_reconfig"
    LAYOUTS: ClassVar[Mapping[str, Struct]] = _layouts("I4x")

    phase: CryptoPhase

    def encode(self, byteOrder: str = "<") -> bytes:
        """
        What follows the header.
        """
        return self.LAYOUTS[byteOrder].pack(self.phase)

    @classmethod
    def decode(cls, body: bytes, byteOrder: str) -> Self:
        """
        Parse what follows the header.
        """
        (phase,) = _fields(cls, body, byteOrder)
        _checkCount("as phase", phase, CryptoPhase.ACTIVATE, CryptoPhase.CLEANUP)
        return cls(CryptoPhase(phase))


# Which class a message is of.


def _byNumber(
    kinds: Iterable[type[Executive]],
) -> Mapping[tuple[int, int], type[Executive]]:
    """
    Classes by service and function.
    """
    return {(kind.SERVICE, kind.FUNCTION): kind for kind in kinds}


SYNC_MESSAGES: Final = _byNumber((Barrier, ServiceList))
SERVICE_MESSAGES: Final = _byNumber(
    (
        CmapMcast,
        RingReenable,
        KillNode,
        Shutdown,
        Reload,
        CryptoReconfigure,
        ProcJoin,
        ProcLeave,
        JoinList,
        Mcast,
        OldDownlist,
        Downlist,
        PartialMcast,
        NodeInfo,
        Reconfigure,
        QdeviceRegistration,
        QdeviceRename,
        QdeviceExtra,
    )
)


def kindOf(group: bytes, service: int, function: int) -> type[Executive] | None:
    """
    The class of a message for the group C{a} or C{sync}; L{None} when there
    is no such function.
    """
    kinds = SYNC_MESSAGES if group == SYNC_GROUP else SERVICE_MESSAGES
    return kinds.get((service, function))


def decode(group: bytes, body: bytes, byteOrder: str) -> Executive:
    """
    Parse a whole body for the group C{a} or C{sync}.
    """
    service, function, rest = split(body, byteOrder)
    kind = kindOf(group, service, function)
    if kind is None:
        raise UnknownFrame(f"service {service} has no function {function}")
    return kind.decode(rest, byteOrder)


# Checks.


class _Fixed(Protocol):
    NAME: ClassVar[str]
    LAYOUTS: ClassVar[Mapping[str, Struct]]


def _fields(kind: type[_Fixed], body: bytes, byteOrder: str) -> tuple[Any, ...]:
    """
    The fields of a message whose length is fixed.
    """
    layout = kind.LAYOUTS[byteOrder]
    _checkSize(kind.NAME, len(body), layout.size)
    return layout.unpack(body)


def _name(length: int, name: bytes) -> bytes:
    """
    The part of a cpg name that counts.
    """
    _checkCount("bytes of group name", length, 0, LONGEST_NAME)
    return name[:length]


def _terminated(name: bytes) -> bytes:
    """
    The part of a name before its zero byte.
    """
    end = name.find(b"\0")
    if end < 0:
        raise BadCount("a device name without a zero byte at its end")
    return name[:end]


def _checkLength(what: str, size: int, least: int) -> None:
    """
    Are there enough bytes?
    """
    if size < least:
        raise TruncatedFrame(f"{what}: {size} bytes of {least}")


def _checkSize(what: str, size: int, announced: int) -> None:
    """
    Are there exactly as many bytes as there should be?
    """
    _checkLength(what, size, announced)
    if size > announced:
        raise OversizedFrame(f"{what}: {size} bytes of {announced}")


def _checkCount(what: str, count: int, least: int, most: int) -> None:
    """
    Is a number from the wire within its bounds?
    """
    if not least <= count <= most:
        raise BadCount(f"{count} {what}, not {least} to {most}")
