"""
Recorded datagrams from files: JSON lines, pcap and pcapng, each also gzipped.

Of packets, UDP in IPv4 and IPv6 is taken and all else is left out.  Fragments
are put together.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from gzip import BadGzipFile, GzipFile
from io import BufferedReader
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from struct import Struct, error, unpack_from
from typing import IO, Final

from attrs import Factory, define, field, frozen

from corotwist.errors import Unreadable

MOST_PACKET_BYTES: Final = 1 << 18
MOST_BLOCK_BYTES: Final = 1 << 20
MOST_LINE_BYTES: Final = 1 << 18
# Datagrams that wait for fragments at once, and the fragments of one.
MOST_OPEN: Final = 64
MOST_FRAGMENTS: Final = 128
MOST_DATAGRAM_BYTES: Final = 1 << 16
MOST_INTERFACES: Final = 1024

_GZIP: Final = b"\x1f\x8b"
_UDP: Final = 17
_UDP_HEADER: Final = Struct(">HHHH")


@frozen
class Datagram:
    """
    One UDP payload on its way.

    @ivar time: seconds, of whatever clock the recorder used.
    @ivar chosen: was it recorded as a ring's, and not as any UDP?
    """

    time: float
    source: str
    destination: str
    sourcePort: int
    destinationPort: int
    payload: bytes
    chosen: bool


def read(path: Path) -> Iterator[Datagram]:
    """
    The datagrams of one file, in its order.

    @raise Unreadable: when it is not what it seems; what comes before the
        damage is given back first.
    """
    try:
        with path.open("rb") as raw:
            file: IO[bytes] = raw
            if raw.peek(len(_GZIP)).startswith(_GZIP):
                file = BufferedReader(GzipFile(fileobj=raw))
            yield from _datagrams(file)
    except (EOFError, BadGzipFile, zlib.error) as problem:
        raise Unreadable(f"{path}: damaged gzip data") from problem
    except OSError as problem:
        raise Unreadable(f"{path}: {problem.strerror or problem}") from problem
    except Unreadable as problem:
        raise Unreadable(f"{path}: {problem}") from problem


def _datagrams(file: IO[bytes]) -> Iterator[Datagram]:
    start = file.read(_START_BYTES)
    if start == _PCAPNG:
        yield from _inPackets(_pcapng(file))
    elif start in _PCAP:
        yield from _inPackets(_pcap(file, *_PCAP[start]))
    else:
        yield from _jsonLines(file, start)


# JSON lines.


def _jsonLines(file: IO[bytes], start: bytes) -> Iterator[Datagram]:
    """
    One object a line: t, src, dst, sport, dport, and the payload as hex.
    """
    number = 0
    while line := start + file.readline(MOST_LINE_BYTES - len(start)):
        start = b""
        number += 1
        if not line.isspace():
            yield _jsonLine(line, number)


# JSON has numbers that no integer can be.
_NO_RECORD: Final = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


def _jsonLine(line: bytes, number: int) -> Datagram:
    try:
        record = json.loads(line)
        return Datagram(
            float(record["t"]),
            str(record["src"]),
            str(record["dst"]),
            int(record["sport"]),
            int(record["dport"]),
            bytes.fromhex(record["hex"]),
            chosen=True,
        )
    except _NO_RECORD as problem:
        what = "neither a capture nor" if number == 1 else "not"
        raise Unreadable(f"line {number}: {what} a JSON datagram") from problem


# Files of packets.


@frozen
class _Packet:
    """
    What was on the wire, as far as it was recorded.
    """

    time: float
    linkType: int
    content: bytes


_START_BYTES: Final = 4
_PCAPNG: Final = bytes.fromhex("0a0d0d0a")
# Byte order, and units in a second.
_PCAP: Final[Mapping[bytes, tuple[str, int]]] = {
    bytes.fromhex("a1b2c3d4"): (">", 10**6),
    bytes.fromhex("d4c3b2a1"): ("<", 10**6),
    bytes.fromhex("a1b23c4d"): (">", 10**9),
    bytes.fromhex("4d3cb2a1"): ("<", 10**9),
}
# The upper bits of the field say whether a checksum follows each packet.
_LINK_TYPE: Final = (1 << 16) - 1


def _exactly(file: IO[bytes], size: int) -> bytes:
    """
    The next bytes of a file that must have them.
    """
    content = file.read(size)
    if len(content) < size:
        raise Unreadable("it ends in the middle of a packet")
    return content


def _pcap(file: IO[bytes], byteOrder: str, units: int) -> Iterator[_Packet]:
    """
    After the magic number: version, zone, accuracy, snap length, link type;
    then a header before each packet.
    """
    (linkType,) = unpack_from(f"{byteOrder}16xI", _exactly(file, 20))
    header = Struct(f"{byteOrder}IIII")
    while start := file.read(header.size):
        rest = _exactly(file, header.size - len(start))
        seconds, fraction, size, _ = header.unpack(start + rest)
        if size > MOST_PACKET_BYTES:
            raise Unreadable(f"a packet of {size} bytes")
        time = seconds + fraction / units
        yield _Packet(time, linkType & _LINK_TYPE, _exactly(file, size))


_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_SECTION_MAGIC: Final = 0x1A2B3C4D


@define
class _Interface:
    """
    Where packets of a pcapng file were recorded.
    """

    linkType: int
    snapLength: int
    units: int = 10**6


def _pcapng(file: IO[bytes]) -> Iterator[_Packet]:
    """
    Blocks: type, length, content, length again.  A section starts anew, with
    a byte order of its own.
    """
    byteOrder, interfaces = "<", list[_Interface]()
    kind: int = _SECTION
    while True:
        if kind == _SECTION:
            byteOrder, content = _section(file)
            interfaces = []
        else:
            content = _block(file, byteOrder)
        try:
            if kind == _INTERFACE:
                interfaces.append(_interface(content, byteOrder))
            elif kind in {_SIMPLE, _ENHANCED}:
                yield _packet(kind, content, byteOrder, interfaces)
        except (error, IndexError) as problem:
            raise Unreadable("a block is shorter than it must be") from problem
        if len(interfaces) > MOST_INTERFACES:
            raise Unreadable(f"more than {MOST_INTERFACES} interfaces")
        start = file.read(_START_BYTES)
        if not start:
            return
        start += _exactly(file, _START_BYTES - len(start))
        (kind,) = unpack_from(f"{byteOrder}I", start)


def _section(file: IO[bytes]) -> tuple[str, bytes]:
    """
    The byte order of a section, and the rest of its first block.
    """
    start = _exactly(file, 8)
    for byteOrder in ("<", ">"):
        length, magic = unpack_from(f"{byteOrder}II", start)
        if magic == _SECTION_MAGIC:
            return byteOrder, _rest(file, length, 12)
    raise Unreadable("a section without its magic number")


def _block(file: IO[bytes], byteOrder: str) -> bytes:
    (length,) = unpack_from(f"{byteOrder}I", _exactly(file, 4))
    return _rest(file, length, 8)


def _rest(file: IO[bytes], length: int, known: int) -> bytes:
    """
    What a block of C{length} bytes holds after the first C{known}.
    """
    trailer = 4
    if not known + trailer <= length <= MOST_BLOCK_BYTES or length % 4:
        raise Unreadable(f"a block of {length} bytes")
    return _exactly(file, length - known)[:-trailer]


def _interface(content: bytes, byteOrder: str) -> _Interface:
    linkType, snapLength = unpack_from(f"{byteOrder}H2xI", content)
    found = _Interface(linkType, snapLength)
    offset = 8
    resolution = 9
    while offset + 4 <= len(content):
        code, length = unpack_from(f"{byteOrder}HH", content, offset)
        if code == resolution:
            exponent = content[offset + 4]
            base = 2 if exponent & 0x80 else 10
            found.units = base ** (exponent & 0x7F)
        offset += 4 + length + -length % 4
    return found


def _packet(
    kind: int, content: bytes, byteOrder: str, interfaces: list[_Interface]
) -> _Packet:
    """
    An enhanced packet block names its interface and time; a simple one is
    from the first interface and has no time.
    """
    if kind == _SIMPLE:
        interface = interfaces[0]
        (size,) = unpack_from(f"{byteOrder}I", content)
        if interface.snapLength:
            size = min(size, interface.snapLength)
        return _Packet(0.0, interface.linkType, content[4 : 4 + size])
    number, high, low, size = unpack_from(f"{byteOrder}IIII", content)
    interface = interfaces[number]
    time = ((high << 32) + low) / interface.units
    return _Packet(time, interface.linkType, content[20 : 20 + size])


# Packets.

_ETHERNET, _RAW, _COOKED, _IPV4, _IPV6, _COOKED_2 = 1, 101, 113, 228, 229, 276
_TYPE_IPV4, _TYPE_IPV6 = 0x0800, 0x86DD
_VLANS: Final = {0x8100, 0x88A8}
# Where the type of what follows is, and where that begins.
_LINK_LAYOUTS: Final[Mapping[int, tuple[int, int]]] = {
    _ETHERNET: (12, 14),
    _COOKED: (14, 16),
    _COOKED_2: (0, 20),
}
# Hop by hop, routing, destination options: passed over.
_IPV6_EXTENSIONS: Final = {0, 43, 60}
_IPV6_FRAGMENT: Final = 44


def _inPackets(packets: Iterator[_Packet]) -> Iterator[Datagram]:
    fragments = _Fragments()
    for packet in packets:
        try:
            found = _datagram(packet, fragments)
        except (error, IndexError):
            continue  # Shorter than its headers: not UDP we could show.
        if found is not None:
            yield found


def _datagram(packet: _Packet, fragments: "_Fragments") -> Datagram | None:
    """
    The datagram that a packet is or completes, if it does.
    """
    internet = _internet(packet)
    if not internet:
        return None
    version = internet[0] >> 4
    part = {4: _ipv4, 6: _ipv6}.get(version, _nothing)(internet)
    if part is None:
        return None
    content = fragments.received(part)
    if content is None:
        return None
    sourcePort, destinationPort, size, _ = _UDP_HEADER.unpack_from(content)
    return Datagram(
        packet.time,
        part.source,
        part.destination,
        sourcePort,
        destinationPort,
        content[_UDP_HEADER.size : size or None],
        chosen=False,
    )


def _internet(packet: _Packet) -> bytes:
    """
    The IP packet inside; nothing when there is another protocol.
    """
    content = packet.content
    if packet.linkType in {_RAW, _IPV4, _IPV6}:
        return content
    if packet.linkType not in _LINK_LAYOUTS:
        raise Unreadable(f"link type {packet.linkType} is none we know")
    at, start = _LINK_LAYOUTS[packet.linkType]
    (kind,) = unpack_from(">H", content, at)
    while kind in _VLANS:
        (kind,) = unpack_from(">H", content, start + 2)
        start += 4
    return content[start:] if kind in {_TYPE_IPV4, _TYPE_IPV6} else b""


@frozen
class _Part:
    """
    A piece of what a UDP datagram and its header are.

    @ivar identity: the same in all pieces of one, and in no other now.
    """

    source: str
    destination: str
    identity: int
    offset: int
    more: bool
    content: bytes


def _nothing(internet: bytes) -> None:
    return None


def _ipv4(internet: bytes) -> _Part | None:
    size, identity, place, protocol, source, destination = unpack_from(
        ">2xHHHxB2x4s4s", internet
    )
    if protocol != _UDP:
        return None
    start = (internet[0] & 0x0F) * 4
    return _Part(
        str(IPv4Address(source)),
        str(IPv4Address(destination)),
        identity,
        (place & 0x1FFF) * 8,
        bool(place & 0x2000),
        internet[start : size or None],
    )


def _ipv6(internet: bytes) -> _Part | None:
    size, following, source, destination = unpack_from(">4xHBx16s16s", internet)
    start, end = 40, 40 + size if size else None
    identity = place = 0
    while following in _IPV6_EXTENSIONS or following == _IPV6_FRAGMENT:
        if following == _IPV6_FRAGMENT:
            place, identity = unpack_from(">2xHI", internet, start)
            length = 8
        else:
            length = internet[start + 1] * 8 + 8
        following = internet[start]
        start += length
    if following != _UDP:
        return None
    return _Part(
        str(IPv6Address(source)),
        str(IPv6Address(destination)),
        identity,
        place & ~7,
        bool(place & 1),
        internet[start:end],
    )


@define
class _Pieces:
    """
    What came of one datagram.
    """

    size: int = 0
    contents: dict[int, bytes] = Factory(dict)

    def received(self) -> int:
        """
        How many bytes there are.
        """
        return sum(map(len, self.contents.values()))

    def tooMany(self) -> bool:
        """
        Is this no datagram any more?
        """
        many = len(self.contents) > MOST_FRAGMENTS
        return many or self.received() > MOST_DATAGRAM_BYTES


@define
class _Fragments:
    """
    Datagrams put together; the oldest is given up for a new one when there
    are too many.
    """

    _open: dict[tuple[str, str, int], _Pieces] = field(init=False, factory=dict)

    def received(self, part: _Part) -> bytes | None:
        """
        The whole that a piece is or completes, if it does.
        """
        if not part.offset and not part.more:
            return part.content
        key = (part.source, part.destination, part.identity)
        pieces = self._open.setdefault(key, _Pieces())
        pieces.contents[part.offset] = part.content
        if not part.more:
            pieces.size = part.offset + len(part.content)
        whole = _joined(pieces)
        if whole is not None or pieces.tooMany():
            del self._open[key]
        if len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]
        return whole


def _joined(pieces: _Pieces) -> bytes | None:
    """
    The contents, if they follow each other without a gap up to the end.
    """
    if pieces.received() < pieces.size or not pieces.size:
        return None
    whole = b""
    for offset, content in sorted(pieces.contents.items()):
        if offset != len(whole):
            return None
        whole += content
    return whole
