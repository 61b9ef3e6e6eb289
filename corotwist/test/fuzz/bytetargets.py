"""
Parsers of bytes: nothing but what they are given matters.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from struct import pack
from typing import Final

from twisted.protocols import amp

from corotwist.engines import batch, compact, executive
from corotwist.engines.compact import Announcement, CompactMcast, Piece
from corotwist.engines.executive import SERVICES_GROUP, SYNC_GROUP
from corotwist.engines.reloadwire import Kind, ReloadMessage
from corotwist.errors import InvalidParameter, WireError
from corotwist.ipc import cpg
from corotwist.ipc.channel import BOX_BYTES, BoxReader, encode
from corotwist.test.fuzz import examples, parts
from corotwist.test.fuzz.boxes import boxField
from corotwist.test.fuzz.examples import Example
from corotwist.test.fuzz.mutate import BYTES
from corotwist.test.fuzz.target import Run, Target, Wrong
from corotwist.totem import wire
from corotwist.totem.fragments import REASSEMBLY_BYTES, Assembly, Packed
from corotwist.totem.frame import Opener, Sealer, checkSender
from corotwist.totem.knet import packet as knet

KEY: Final = bytes(range(32))
# Of a stream, when it comes in pieces.
MOST_PIECES: Final = 16
STAMP: Final = 1_700_000_000_000_000_000


def targets() -> Iterator[Target]:
    """
    All of them.
    """
    yield Target(
        "wire",
        "messages of the ring, and the same bytes again",
        lambda: _wire,
        _data(examples.ringMessages, "udpu-3node-recovery-encapsulated"),
        (WireError,),
        alone=lambda data: _ignore(wire.decode(data)),
        growing=_growingRing,
    )
    yield Target(
        "packed",
        "packed frames",
        lambda: _packed,
        _packedSeeds,
        (WireError,),
        # An empty message is two bytes, and two places in lists.
        swell=12,
        alone=lambda data: _ignore(Packed.decode(data, "<")),
        growing=_growingPacked,
    )
    yield Target(
        "assembly",
        "frames of several senders, put together",
        _assembly,
        _assemblySeeds,
        session=True,
        share=0.05,
        # Likewise.
        swell=8,
        growing=lambda size: [_runOf(size, _packedSeeds()[0])],
    )
    yield Target(
        "executive",
        "groups, header and body of what services say",
        lambda: _executive,
        _data(examples.executiveMessages),
        (WireError,),
        alone=_bodyAlone,
        growing=_growingExecutive,
    )
    yield Target(
        "compact",
        "what corotwist nodes say in short",
        lambda: _compact,
        _compactSeeds,
        (WireError,),
    )
    yield Target(
        "batch",
        "several messages in one run of bytes",
        lambda: _batch,
        lambda: [batch.pack(run) for run in ([b"one", b"", b"3" * 300], [b""], [])],
        (InvalidParameter,),
        alone=lambda data: _ignore(batch.unpack(data)),
        growing=lambda size: [bytes(size // 4 * 4), batch.pack([bytes(size)])],
    )
    yield Target(
        "view",
        "members of a group, as clients are told",
        lambda: _view,
        lambda: [pack("<3I", 2, 1, 1) + pack("<10I", 1, 5, 2, 6, 1, 4, 2, 2, 6, 1)],
        (InvalidParameter,),
        # A member is eight bytes, and an object with two numbers.
        swell=20,
        alone=lambda data: _ignore(cpg.decodeView(b"g", data)),
        growing=lambda size: [pack("<3I", size // 8, 0, 0) + b"\1\2\3\4" * (size // 4)],
    )
    yield Target(
        "sealed",
        "sealed datagrams",
        lambda: _sealed,
        lambda: (
            [_SEAL_AS_IT_IS + seal(e.data) for e in examples.ringMessages()]
            + [b"\0" + e.data for e in examples.ringMessages()]
        ),
        (WireError,),
        growing=lambda size: [_SEAL_AS_IT_IS + seal(bytes(size))],
    )
    yield Target(
        "knet",
        "packets of kronosnet",
        lambda: _knet,
        _data(examples.knetPackets, "knet-2node-form-cpg"),
        (WireError,),
    )
    yield Target(
        "knet.fragments",
        "packets of kronosnet, put together",
        _defragmenting,
        _fragmentSeeds,
        (WireError,),
        session=True,
        share=0.05,
        growing=lambda size: [_runOf(size, next(examples.knetPackets()).data)],
    )
    yield Target(
        "knet.sealed",
        "encrypted packets of kronosnet",
        lambda: _knetSealed,
        lambda: (
            [b"\0" + e.data for e in examples.knetPackets()]
            + [
                b"\1" + KNET_KEYS.seal(e.data, bytes(16))
                for e in examples.knetPackets()
            ]
        ),
        (WireError,),
        share=0.1,
    )
    yield Target(
        "boxes",
        "AMP boxes, however they are cut",
        lambda: _boxes,
        _boxSeeds,
        (amp.MalformedAmpBox,),
        damages=(*BYTES, boxField, boxField, boxField, boxField),
        # The smallest box is seven bytes, and a dictionary with two objects.
        swell=40,
        alone=lambda data: _ignore(BoxReader().feed(data[1:])),
        growing=_growingBoxes,
    )


def _data(
    kinds: Callable[[], Iterator[Example]], *recordings: str
) -> Callable[[], Sequence[bytes]]:
    """
    Examples, and some of what was recorded.
    """

    def seeds() -> Sequence[bytes]:
        found = [example.data for example in kinds()]
        for name in recordings:
            found += examples.recorded(name, 12)
        return found

    return seeds


def _ignore(found: object) -> None:
    """
    What a parser gives back.
    """


def _runOf(size: int, part: bytes) -> bytes:
    """
    A session of one part, again and again.
    """
    return parts.join([(1, part)] * (size // (len(part) + 3)))


# The ring's messages.


def _wire(data: bytes) -> None:
    message = wire.decode(data)
    if message.encode() != data:
        raise Wrong(f"{message} is {message.encode().hex()}")


def _growingRing(size: int) -> list[bytes]:
    big = [
        wire.makeRegular(1, 1, 1, examples.RING, 0, bytes(size)).frame,
        bytes(size),
    ]
    for count in (min(size // 8, 384),):
        nodeids = tuple(range(1 << 20, (1 << 20) + count))
        big.append(wire.Join(1, 1, nodeids, nodeids, 4).encode())
    return big


def _packedSeeds() -> list[bytes]:
    return [
        Packed(chunks, fragmented, continuation, order).encode()
        for order in examples.ORDERS
        for chunks in ([b"one"], [b"one", b"", b"three" * 30])
        for fragmented in (0, 7)
        for continuation in (0, 6)
    ]


def _packed(data: bytes) -> None:
    _inEitherOrder(_decodePacked, data)


def _inEitherOrder(decode: Callable[[bytes, str], None], data: bytes) -> None:
    """
    @raise WireError: when it is refused in both byte orders.
    """
    try:
        decode(data, "<")
    except WireError:
        decode(data, ">")
    else:
        with suppress(WireError):
            decode(data, ">")


def _decodePacked(data: bytes, order: str) -> None:
    frame = Packed.decode(data, order)
    if frame.encode() != data:
        raise Wrong(f"{frame} is {frame.encode().hex()}")
    if Packed.announced(data, order) != len(data):
        raise Wrong(f"announced as {Packed.announced(data, order)} bytes")


def _growingPacked(size: int) -> list[bytes]:
    count = size // 2
    return [
        Packed([b""] * min(count, 65535)).encode(),
        Packed([bytes(min(size, 65535))]).encode(),
        Packed([b"x"] * (size // 3)).encode(),
    ]


def _assembly() -> Run:
    """
    A tag says who sends, in which byte order, and what happens before.
    """
    assembly = Assembly()

    def received(data: bytes) -> None:
        for tag, payload in parts.split(data):
            if tag & 0x10:
                assembly.departed([tag & 3])
            if tag & 0x20:
                assembly.useTransitional(use=bool(tag & 0x40))
            order = ">" if tag & 4 else "<"
            try:
                messages = assembly.frameDelivered(tag & 3, payload, order)
            except WireError:
                messages = []
            if any(len(message) > REASSEMBLY_BYTES for message in messages):
                raise Wrong("a message larger than any")

    return received


def _assemblySeeds() -> list[bytes]:
    pieces = [b"a" * 90, b"b" * 90, b"c" * 90]
    whole = [
        Packed([b"w", pieces[0]], 1, 0).encode(),
        Packed([pieces[1]], 2, 1).encode(),
        Packed([pieces[2], b"next"], 0, 2).encode(),
    ]
    single = Packed([b"one", b"two"]).encode()
    return [
        parts.join([(1, frame) for frame in whole]),
        parts.join([(1, whole[0]), (2, single), (1, whole[1]), (0x11, whole[2])]),
        parts.join([(0x61, whole[0]), (0x21, single), (0x61, whole[1]), (1, single)]),
    ]


# What services say.


def _executive(data: bytes) -> None:
    _inEitherOrder(_decodeExecutive, data)


def _bodyAlone(data: bytes) -> None:
    groups, body = executive.addressed(data, "<")
    executive.decode(groups[0], body, "<")


def _decodeExecutive(data: bytes, order: str) -> None:
    groups, body = executive.addressed(data, order)
    for group in (SERVICES_GROUP, SYNC_GROUP):
        if group not in groups:
            continue
        message = executive.decode(group, body, order)
        again = type(message).decode(message.encode(order), order)
        if again != message:
            raise Wrong(f"{message} came back as {again}")


def _growingExecutive(size: int) -> list[bytes]:
    def services(message: executive.Executive) -> bytes:
        return executive.address(SERVICES_GROUP, executive.whole(message))

    entry = (77, b"g" * executive.LONGEST_NAME)
    item = executive.CmapItem(b"k" * 20, 8, bytes(8))
    count = min(size // 2, 255)
    return [
        services(executive.JoinList((entry,) * (size // 144))),
        services(executive.Mcast(b"g", 1, 2, 3, bytes(size))),
        services(executive.CmapMcast(0, (item,) * min(size // 288, 255))),
        pack("<H", count) + bytes(2 * count) + bytes(size),
    ]


def _compactSeeds() -> list[bytes]:
    start = len(examples.compactAddress())
    return [example.data[start:] for example in examples.compactMessages()]


def _compact(data: bytes) -> None:
    header = compact.Header.decode(data)
    if header.kind == compact.Kind.ANNOUNCEMENT:
        Announcement.decode(header, data)
        return
    body = data[compact.HEADER_BYTES :]
    if header.service == executive.CFG:
        _reload(body)
        return
    message = CompactMcast.decode(body)
    if message.encode() != body:
        raise Wrong(f"{message} is {message.encode().hex()}")
    if message.piece is Piece.BATCH and message.count > len(message.payload) // 4:
        raise Wrong(f"{len(message.payload)} bytes taken for {message.count} messages")


def _reload(body: bytes) -> None:
    message = ReloadMessage.decode(body)
    if message.encode() != body:
        raise Wrong(f"{message} is {message.encode().hex()}")
    if message.kind is Kind.REPORT:
        message.told()


def _batch(data: bytes) -> None:
    messages = batch.unpack(data)
    if batch.pack(messages) != data:
        raise Wrong(f"{messages} make something else")
    largest = max(map(len, messages), default=0)
    if batch.check(data, len(messages)) != largest:
        raise Wrong("checking and unpacking do not agree")
    offset = count = 0
    while offset < len(data):
        offset, some = batch.cut(data, offset, 64, 32)
        count += some
    if count != len(messages):
        raise Wrong(f"cut into {count}, not {len(messages)}")


def _view(data: bytes) -> None:
    view = cpg.decodeView(b"g", data)
    if cpg.encodeView(view) != data:
        raise Wrong(f"{view} is something else")


# Sealed.

# The first byte says whether what follows is sealed, or a key holder's message.
_SEAL_AS_IT_IS: Final = b"\1"


def seal(message: bytes) -> bytes:
    """
    By node 2.
    """
    return Sealer(KEY, 2, STAMP, bytes(8)).seal(message)


def _sealed(data: bytes) -> None:
    """
    What nobody sealed is never opened; what a member sealed may say anything.
    """
    opener = Opener([KEY], 1, [1, 2, 3])
    if data[:1] == _SEAL_AS_IT_IS:
        _, message = opener.open(data[1:], 0.0)
        if seal(message) != data[1:]:
            raise Wrong("nobody sealed this")
        return
    nodeid, message = opener.open(seal(data[1:]), 0.0)
    checkSender(nodeid, message)
    wire.decode(message)


# Knet.

KNET_KEYS: Final = knet.Keys(bytes(range(128)), "aes256", "sha256")


def _knet(data: bytes) -> None:
    packet = knet.decode(data)
    if packet.encode() != data:
        raise Wrong(f"{packet} is {packet.encode().hex()}")


def _defragmenting() -> Run:
    defragmenter = knet.Defragmenter()

    def received(data: bytes) -> None:
        for _, datagram in parts.split(data):
            try:
                packet = knet.decode(datagram)
                if isinstance(packet, knet.Data):
                    defragmenter.received(packet)
            except WireError:
                continue

    return received


def _fragmentSeeds() -> list[bytes]:
    run = [
        knet.Data(2, 7, b"piece", fragments=3, fragment=n).encode() for n in (1, 3, 2)
    ]
    other = knet.Data(3, 7, b"piece", fragments=2, fragment=2).encode()
    return [
        parts.join([(0, datagram) for datagram in run]),
        parts.join([(0, run[0]), (0, other), (0, run[0]), (0, run[1])]),
    ]


def _knetSealed(data: bytes) -> None:
    datagram = data[1:]
    if data[:1] == b"\0":
        datagram = KNET_KEYS.seal(datagram, bytes(16))
    knet.decode(KNET_KEYS.open(datagram))


# Boxes.


def _boxSeeds() -> list[bytes]:
    hello = {b"_command": b"hello", b"_ask": b"1", b"version": b"1", b"role": b"x"}
    one = b"".join(encode(hello))
    large = b"".join(encode({b"_command": b"x", b"batch": bytes(300)}))
    return [bytes([cutAt]) + one + large for cutAt in (0, 1, 3, 40)]


def _boxes(data: bytes) -> None:
    """
    The first byte says into what pieces the rest is cut: the same comes out.
    """
    size, stream = data[0] if data else 0, data[1:]
    whole = BoxReader().feed(stream)
    if size:
        size = max(size, len(stream) // MOST_PIECES)
        reader, found = BoxReader(), list[amp.AmpBox]()
        try:
            for at in range(0, len(stream), size):
                found += reader.feed(stream[at : at + size])
        except amp.MalformedAmpBox as error:
            raise Wrong(f"in pieces of {size}: {error}") from error
        if found != whole:
            raise Wrong(f"{len(found)} boxes in pieces of {size}, not {len(whole)}")


def _growingBoxes(size: int) -> list[bytes]:
    smallest = b"\0\1k\0\0\0\0"
    field = b"\0\1%c\0\0"
    many = b"".join(field % n for n in range(32)) + b"\0\0"
    value = b"\0\1k" + pack(">H", min(size, 60000)) + bytes(min(size, 60000)) + b"\0\0"
    unfinished = b"\0\1k\xff\xff" + bytes(min(size, BOX_BYTES // 2))
    return [
        b"\0" + smallest * (size // len(smallest)),
        b"\0" + many * (size // len(many)),
        b"\xff" + value,
        b"\1" + unfinished,
    ]
