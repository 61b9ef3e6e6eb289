"""
One valid message of each kind, and where its numbers are.
"""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, calcsize, pack
from typing import Final, Literal

from attrs import frozen

import corotwist.test
from corotwist.engines import batch, compact, executive
from corotwist.engines.compact import Announcement, CompactMcast, Feature, Piece
from corotwist.engines.executive import (
    SERVICES_GROUP,
    SYNC_GROUP,
    Executive,
    address,
)
from corotwist.engines.interfaces import Member, Terms, ViewId
from corotwist.engines.reloadwire import ReloadMessage, Wish
from corotwist.test.fuzz.mutate import edges
from corotwist.totem import wire
from corotwist.totem.fragments import Packed
from corotwist.totem.knet import packet as knet
from corotwist.totem.membership import RingId

VECTORS: Final = Path(corotwist.test.__file__).with_name("vectors")
ORDERS: Final = ("<", ">")
# Of the ring that worlds are on.
RING: Final = RingId(4, 1)
GROUP: Final = b"group"
FIRST_OF_MANY: Final = 3
_ITEM: Final = re.compile(r"(\d*)([a-zA-Z])")


@frozen
class Field:
    """
    A number within a message.
    """

    offset: int
    width: int
    order: str


@frozen
class Example:
    """
    A message.

    @ivar fields: every number in it.
    """

    name: str
    data: bytes
    fields: tuple[Field, ...]

    def substituted(self) -> Iterator[tuple[str, bytes]]:
        """
        The message with each hard value in each field, and what was changed.
        """
        for field in self.fields:
            end = field.offset + field.width
            order: Literal["little", "big"] = "little" if field.order == "<" else "big"
            said = int.from_bytes(self.data[field.offset : end], order)
            limit = 1 << 8 * field.width
            near = ((said + change) % limit for change in (-1, 1))
            for value in sorted({*edges(field.width), *near}):
                data = value.to_bytes(field.width, order)
                where = f"{self.name}, {value} at {field.offset}"
                yield where, self.data[: field.offset] + data + self.data[end:]


def numbers(*layouts: Struct) -> tuple[Field, ...]:
    """
    Every number of layouts that follow each other; of a long list the first
    few, and the last.
    """
    found = []
    offset = 0
    for layout in layouts:
        order = layout.format[0]
        for repeat, kind in _ITEM.findall(layout.format[1:]):
            width = calcsize(f"{order}{kind}")
            count = int(repeat or 1)
            if kind in "sx":
                offset += count
                continue
            found += [
                Field(offset + width * place, width, order)
                for place in range(count)
                if place < FIRST_OF_MANY or place == count - 1
            ]
            offset += count * width
    return tuple(found)


def _counted(name: str, data: bytes, *layouts: Struct) -> Example:
    return Example(name, data, numbers(*layouts))


# The ring.


def ringMessages() -> Iterator[Example]:
    """
    All six, and one inside another, in both byte orders.
    """
    for order in ORDERS:
        yield from _plain(order)
        yield from _regulars(order)


def _plain(order: str) -> Iterator[Example]:
    requests = [(RING, 7), (RING, 9)]
    entries = tuple(wire.CommitEntry(RING, 8, 8, 1) for _ in range(3))
    token = wire.Token(
        1, 10, 40, 8, 2, RING, 3, 2, 1, requests, target=0, byteOrder=order
    )
    join = wire.Join(2, 2, (1, 2, 3), (3,), 4, byteOrder=order)
    commit = wire.CommitToken(
        1, 5, RingId(8, 1), (1, 2, 3), entries, 1, byteOrder=order
    )
    for message, tail in (
        (token, [wire.Token.REQUESTS[order]] * 2),
        (wire.MergeDetect(4, 4, RingId(16, 4), byteOrder=order), []),
        (join, [Struct(f"{order}4I")]),
        (commit, [Struct(f"{order}3I"), *[wire.CommitToken.ENTRIES[order]] * 3]),
        (wire.HoldCancel(2, RING, byteOrder=order), []),
    ):
        kind = type(message)
        name = f"{kind.__name__} {order}"
        yield _counted(name, message.encode(), kind.LAYOUTS[order], *tail)


def _regulars(order: str) -> Iterator[Example]:
    message = address(SERVICES_GROUP, b"anything")
    if order == ">":
        message = pack(">HH", 1, 1) + SERVICES_GROUP + b"anything"
    # As the fragment of a long message has it: breaks at both ends.
    chunks = [b"the rest of one", message, b"the start of one"]
    payload = Packed(chunks, 3, 2, order).encode()
    inner = wire.makeRegular(2, 9, 5, RING, 0, payload, byteOrder=order)
    outer = wire.makeRegular(2, 3, 6, RingId(8, 1), 0, inner.frame, True, order)
    head = wire.Regular.LAYOUTS[order]
    packed = Struct(f"{order}hhBBH3H")
    yield _counted(f"Regular {order}", inner.frame, head, packed)
    yield _counted(f"Regular in Regular {order}", outer.frame, head, head, packed)


# Executive messages.

_EXECUTIVE: Final[tuple[Executive, ...]] = (
    executive.Barrier(RING),
    executive.ServiceList(RING, (0, 2, 3, 5)),
    executive.CmapMcast(
        0, (executive.CmapItem(b"totem.config_version", 8, pack("<Q", 3)),)
    ),
    executive.ProcJoin(GROUP, 77, 1),
    executive.ProcLeave(GROUP, 77, 2),
    executive.JoinList(((77, GROUP), (78, b"other"))),
    executive.Mcast(GROUP, 77, 2, 5, b"payload"),
    executive.OldDownlist((3, 4)),
    executive.Downlist(3, (3, 4)),
    *(
        executive.PartialMcast(GROUP, 77, 2, 5, 30, part, b"ten bytes.")
        for part in executive.Part
    ),
    executive.NodeInfo(2, 1, 3, 9),
    executive.NodeInfo(0, 0, 0, 0),
    *(executive.Reconfigure(2, 1, what) for what in executive.Reconfigured),
    executive.QdeviceRegistration(registered=True, device=b"disk"),
    executive.QdeviceRename(b"disk", b"net"),
    executive.QdeviceExtra(2, b"more"),
    executive.RingReenable(2, 5),
    executive.KillNode(3, b"told so"),
    executive.Shutdown(),
    executive.Reload(2, 5),
    executive.CryptoReconfigure(executive.CryptoPhase.ACTIVATE),
)
_EXECUTIVE_HEADER: Final = "i4xi4x"


def executiveMessages() -> Iterator[Example]:
    """
    Every kind with its groups and header, in both byte orders.
    """
    for order in ORDERS:
        for message in _EXECUTIVE:
            group = SYNC_GROUP if message.NAME.startswith("sync") else SERVICES_GROUP
            head = pack(f"{order}HH", 1, len(group)) + group
            layouts = [
                Struct(f"{order}HH{len(group)}s"),
                Struct(f"{order}{_EXECUTIVE_HEADER}"),
                *_bodyLayouts(message, order),
            ]
            whole = head + executive.whole(message, order)
            yield _counted(f"{message.NAME} {order}", whole, *layouts)


def _bodyLayouts(message: Executive, order: str) -> list[Struct]:
    layouts = [type(message).LAYOUTS[order]]  # type: ignore[attr-defined]
    match message:
        case executive.CmapMcast(items=items):
            layouts += [item.LAYOUTS[order] for item in items]
        case executive.JoinList(entries=entries):
            layouts += [executive.JoinList.ENTRIES[order]] * len(entries)
    return layouts


def compactMessages() -> Iterator[Example]:
    """
    What corotwist nodes say in their own group.
    """
    head = [Struct(f"<HH{len(compact.GROUP)}s"), Struct("<BBHIQ")]
    announced = Announcement(RING, Feature.COMPACT_CPG).encode()
    yield _counted(
        "announcement", address(compact.GROUP, announced), *head, Struct("<Q")
    )
    packed = batch.pack([b"one", b"", b"three"])
    messages = [CompactMcast(77, 3, Piece.BATCH, GROUP, packed)]
    messages += [
        CompactMcast(77, 30, piece, GROUP, b"ten bytes.")
        for piece in (Piece.FIRST, Piece.MIDDLE, Piece.LAST)
    ]
    for message in messages:
        body = compact.engineHeader(executive.CPG, RING) + message.encode()
        layouts = [*head, Struct("<IIBB")]
        name = f"compact {message.piece.name}"
        yield _counted(name, address(compact.GROUP, body), *layouts)
    some = (Member(1, 77), Member(2, 78))
    for name, terms, behind in (
        ("view", Terms(view=ViewId(RING, 1)), [Struct("<QII")]),
        ("groups", Terms(groups=(b"", b"other")), [Struct("<B")]),
        ("to", Terms(to=some), [Struct("<II")] * len(some)),
    ):
        message = CompactMcast(77, 3, Piece.BATCH, GROUP, packed, terms)
        body = compact.engineHeader(executive.CPG, RING) + message.encode()
        layouts = [*head, Struct(f"<IIBB{len(GROUP)}s"), Struct("<BBH"), *behind]
        yield _counted(f"terms {name}", address(compact.GROUP, body), *layouts)
    report = {"refused": True, "keys": [], "problems": ["node.conf:3: no"]}
    for about in (
        ReloadMessage.proposal((1, 2), Wish.DRY_RUN | Wish.FORCE),
        ReloadMessage.report((1, 2), report),
        ReloadMessage.end((1, 2), "node 2 does not report"),
    ):
        body = compact.engineHeader(executive.CFG, RING) + about.encode()
        name = f"reload {about.kind.name}"
        layouts = [*head, Struct("<BIIB")]
        yield _counted(name, address(compact.GROUP, body), *layouts)


def compactAddress() -> bytes:
    """
    What is in front of them.
    """
    return address(compact.GROUP, b"")


# Knet.


def knetPackets() -> Iterator[Example]:
    """
    All kinds, and a fragment.
    """
    time = bytes(range(knet.TIME_BYTES))
    packets: tuple[knet.Packet, ...] = (
        knet.Data(2, 7, b"payload"),
        knet.Data(2, 8, b"first", fragments=2, fragment=1),
        knet.Ping(2, 1, time, 9, periodic=True),
        knet.Pong(2, 1, time, 9, periodic=False),
        knet.Probe(2, 0, 1500, bytes(20)),
        knet.ProbeReply(2, 0, 1500),
    )
    for packet in packets:
        kind = type(packet)
        layouts = [kind.LAYOUT]
        if isinstance(packet, knet.Probe):
            layouts.append(knet.Probe.SIZE)
        yield _counted(kind.__name__, packet.encode(), *layouts)


# Recorded.


def recorded(name: str, most: int, longest: int = 1 << 11) -> list[bytes]:
    """
    Some datagrams of a recording: of each size the first.
    """
    found: dict[int, bytes] = {}
    with gzip.open(VECTORS / f"{name}.jsonl.gz", "rt") as lines:
        for line in lines:
            data = bytes.fromhex(json.loads(line)["hex"])
            if len(data) <= longest:
                found.setdefault(len(data), data)
    return [data for _, data in sorted(found.items())][:most]
