"""
The executive messages: exact bytes, round trips, and what is refused.
"""

from random import Random
from struct import pack
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import executive
from corotwist.engines.executive import Executive
from corotwist.errors import (
    BadCount,
    OversizedFrame,
    TruncatedFrame,
    UnknownFrame,
    WireError,
)
from corotwist.test import strategies
from corotwist.test.strategies import BYTE_ORDERS, thorough
from corotwist.totem.membership import RingId

RING: Final = RingId(9, 1)
EXAMPLES: Final[tuple[Executive, ...]] = (
    executive.Barrier(RING),
    executive.ServiceList(RING, (0, 2, 3, 5)),
    executive.CmapMcast(
        0,
        (executive.CmapItem(b"totem.config_version", 8, bytes(8)),),
    ),
    executive.ProcJoin(b"grpA", 4711, 1),
    executive.ProcLeave(b"grpA", 4711, 5),
    executive.JoinList(((4711, b"grpA"), (4712, b"b"))),
    executive.Mcast(b"grpA", 4711, 2, 0xABCDEF, b"payload"),
    executive.OldDownlist((2, 3)),
    executive.Downlist(3, (2,)),
    executive.PartialMcast(
        b"grpA", 4711, 2, 0xABCDEF, 2000000, executive.Part.FIRST, b"piece"
    ),
    executive.NodeInfo(1, 1, 3, 8),
    executive.Reconfigure(1, 3, executive.Reconfigured.EXPECTED_VOTES),
    executive.QdeviceRegistration(True, b"QDEVICE"),
    executive.QdeviceRename(b"QDEVICE", b"OTHER"),
    executive.QdeviceExtra(2, b"extra"),
    executive.RingReenable(1, 0xABCDEF),
    executive.KillNode(2, b"go away"),
    executive.Shutdown(),
    executive.Reload(1, 0xABCDEF),
    executive.CryptoReconfigure(executive.CryptoPhase.ACTIVATE),
)
# Sizes of whole bodies, header included.
SIZES: Final = (
    *(32, 552, 336, 168, 168, 24 + 2 * 144, 184 + 7, 1560, 1568, 200 + 5),
    *(32, 32, 280, 528, 24 + 5, 32, 288, 16, 32, 24),
)


def example(kind: type[Executive]) -> Executive:
    """
    The example of one kind.
    """
    return next(message for message in EXAMPLES if type(message) is kind)


def changed(message: Executive, offset: int, field: bytes) -> bytes:
    """
    What follows the header, with a field replaced.
    """
    body = message.encode()
    return body[:offset] + field + body[offset + len(field) :]


class GroupTests(SynchronousTestCase):
    """
    The groups in front of every message.
    """

    def test_layout(self) -> None:
        """
        Services and synchronization have one group each.
        """
        services = executive.address(executive.SERVICES_GROUP, b"body")
        self.assertEqual(services, bytes.fromhex("0100 0100 61") + b"body")
        sync = executive.address(executive.SYNC_GROUP, b"body")
        self.assertEqual(sync, bytes.fromhex("0100 0400 73796e63") + b"body")

    def test_several(self) -> None:
        """
        A message may be for several groups, one of which may have no name.
        """
        data = bytes.fromhex("0300 0100 0000 0200 61 6262") + b"body"
        self.assertEqual(executive.addressed(data, "<"), ((b"a", b"", b"bb"), b"body"))

    def test_bigEndian(self) -> None:
        """
        Count and lengths are in the sender's byte order.
        """
        data = bytes.fromhex("0001 0001 61") + b"body"
        self.assertEqual(executive.addressed(data, ">"), ((b"a",), b"body"))

    def test_nothing(self) -> None:
        """
        A message need not have a body, but it has a group.
        """
        self.assertEqual(
            executive.addressed(bytes.fromhex("0100 0100 61"), "<"), ((b"a",), b"")
        )
        with self.assertRaises(BadCount):
            executive.addressed(bytes(8), "<")

    def test_most(self) -> None:
        """
        There is a bound to the number of groups.
        """
        for count in (executive.MOST_GROUPS, executive.MOST_GROUPS + 1):
            data = pack("<H", count) + bytes(2 * count)
            if count <= executive.MOST_GROUPS:
                groups, _ = executive.addressed(data, "<")
                self.assertEqual(groups, (b"",) * count)
            else:
                with self.assertRaises(BadCount):
                    executive.addressed(data, "<")

    def test_prefix(self) -> None:
        """
        Names and their lengths are all there.
        """
        data = bytes.fromhex("0200 0100 0200 61 6262")
        for size in range(len(data)):
            with self.assertRaises(TruncatedFrame):
                executive.addressed(data[:size], "<")

    def test_damage(self) -> None:
        """
        Nothing but a L{WireError} comes of damage.
        """
        valid = [bytes.fromhex("0200 0100 0200 61 6262") + b"body"]
        for data in [
            *strategies.hardened(valid[0]),
            *strategies.damaged(valid, Random(6)),
        ]:
            try:
                groups, body = executive.addressed(data, "<")
            except WireError:
                continue
            lengths = sum(map(len, groups)) + 2 * len(groups) + 2
            self.assertEqual(lengths + len(body), len(data))


class HeaderTests(SynchronousTestCase):
    """
    The header of a body.
    """

    def test_layout(self) -> None:
        """
        Service and function are one number; the size counts the header.
        """
        body = executive.header(5, 2, b"rest")
        self.assertEqual(
            body, bytes.fromhex("02000500 00000000 14000000 00000000") + b"rest"
        )
        self.assertEqual(executive.split(body, "<"), (5, 2, b"rest"))

    def test_bigEndian(self) -> None:
        """
        In the sender's byte order.
        """
        body = executive.header(5, 2, b"rest", ">")
        self.assertEqual(
            body, bytes.fromhex("00050002 00000000 00000014 00000000") + b"rest"
        )
        self.assertEqual(executive.split(body, ">"), (5, 2, b"rest"))

    def test_gaps(self) -> None:
        """
        What is in the gaps does not matter.
        """
        body = bytes.fromhex("02000500 ffffffff 14000000 ffffffff") + b"rest"
        self.assertEqual(executive.split(body, "<"), (5, 2, b"rest"))

    def test_size(self) -> None:
        """
        The announced size is the size.
        """
        body = executive.header(5, 2, b"rest")
        for size in range(len(body)):
            with self.assertRaises(TruncatedFrame):
                executive.split(body[:size], "<")
        with self.assertRaises(OversizedFrame):
            executive.split(body + b"x", "<")
        for size in (-1, 0, 2**31 - 1, -(2**31)):
            with self.assertRaises(WireError):
                executive.split(body[:8] + pack("<i", size) + body[12:], "<")

    def test_number(self) -> None:
        """
        A number is not negative.
        """
        for number in (-1, -65536, -(2**31)):
            body = pack("<i", number) + executive.header(0, 0, b"")[4:]
            with self.assertRaises(UnknownFrame):
                executive.split(body, "<")


class LayoutTests(SynchronousTestCase):
    """
    Where fields are, written down by hand; offsets count from the header.
    """

    def check(self, message: Executive, fields: dict[int, str], size: int) -> None:
        expected = bytearray(size)
        for offset, digits in fields.items():
            field = bytes.fromhex(digits)
            expected[offset : offset + len(field)] = field
        self.assertEqual(message.encode(), bytes(expected))
        self.assertEqual(type(message).decode(bytes(expected), "<"), message)

    def test_sizes(self) -> None:
        """
        Whole bodies are as long as corosync's.
        """
        sizes = tuple(len(executive.whole(message)) for message in EXAMPLES)
        self.assertEqual(sizes, SIZES)

    def test_kinds(self) -> None:
        """
        There is an example of every kind, and their numbers and names differ.
        """
        kinds = {
            *executive.SERVICE_MESSAGES.values(),
            *executive.SYNC_MESSAGES.values(),
        }
        self.assertEqual({type(message) for message in EXAMPLES}, kinds)
        self.assertEqual({*strategies.EXECUTIVE_MESSAGES}, kinds)
        self.assertEqual(len({kind.NAME for kind in kinds}), len(EXAMPLES))

    def test_sync(self) -> None:
        """
        Barrier and service list.
        """
        ring = "01000000 0900000000000000"
        self.check(executive.Barrier(RING), {0: ring}, 16)
        self.check(
            executive.ServiceList(RING, (0, 2, 5)),
            {0: ring, 16: "03", 28: "02", 32: "05"},
            536,
        )

    def test_cmap(self) -> None:
        """
        A key that is absent, and one with a number of 64 bits.
        """
        absent = executive.CmapItem(b"ab", 0, b"")
        number = executive.CmapItem(b"c", 8, (7).to_bytes(8, "little"))
        self.check(
            executive.CmapMcast(1, (absent, number)),
            {
                0: "01",
                8: "02",
                32: "0200",
                40: "6162",
                312: "01",
                320: "63",
                576: "08",
                584: "08",
                592: "07",
            },
            600,
        )

    def test_cmapPadding(self) -> None:
        """
        Values fill multiples of 8 bytes.
        """
        items = (
            executive.CmapItem(b"ab", 11, b"text"),
            executive.CmapItem(b"c", 0, b""),
        )
        message = executive.CmapMcast(0, items)
        self.assertEqual(len(message.encode()), 32 + 280 + 8 + 280)
        self.assertEqual(executive.CmapMcast.decode(message.encode(), "<"), message)

    def test_cpg(self) -> None:
        """
        Processes that come and go, and their messages.
        """
        name = {0: "04", 8: "67727041"}
        self.check(
            executive.ProcJoin(b"grpA", 4711, 1),
            {**name, 136: "67120000", 144: "01"},
            152,
        )
        self.check(
            executive.Mcast(b"grpA", 4711, 2, 0xABCDEF, b"hi"),
            {**name, 136: "02", 144: "67120000", 152: "02", 160: "efcdab", 168: "6869"},
            170,
        )
        self.check(
            executive.PartialMcast(
                b"grpA", 4711, 2, 0xABCDEF, 300, executive.Part.LAST, b"hi"
            ),
            {
                **name,
                136: "2c01",
                144: "02",
                152: "67120000",
                160: "03",
                168: "02",
                176: "efcdab",
                184: "6869",
            },
            186,
        )
        self.check(
            executive.JoinList(((4711, b"grpA"), (1, b"b"))),
            {
                8: "67120000",
                16: "04",
                24: "67727041",
                152: "01",
                160: "01",
                168: "62",
            },
            296,
        )
        self.check(executive.OldDownlist((2, 3)), {0: "02", 8: "02", 12: "03"}, 1544)
        self.check(
            executive.Downlist(3, (2, 7)), {0: "03", 8: "02", 16: "02", 20: "07"}, 1552
        )

    def test_votequorum(self) -> None:
        """
        Votes and devices.
        """
        self.check(
            executive.NodeInfo(1, 2, 3, 9), {0: "01", 4: "02", 8: "03", 12: "09"}, 16
        )
        self.check(
            executive.Reconfigure(1, 3, executive.Reconfigured.NODE_VOTES),
            {0: "01", 4: "03", 8: "02"},
            16,
        )
        self.check(executive.QdeviceRegistration(True, b"Q"), {0: "01", 4: "51"}, 264)
        self.check(executive.QdeviceRename(b"Q", b"R"), {0: "51", 255: "52"}, 512)
        self.check(executive.QdeviceExtra(2, b"hi"), {0: "02", 4: "02", 8: "6869"}, 10)

    def test_cfg(self) -> None:
        """
        Orders to nodes.
        """
        self.check(executive.KillNode(2, b"go"), {0: "02", 8: "03", 16: "676f"}, 272)
        self.check(executive.Reload(1, 5), {0: "01", 8: "05"}, 16)
        self.check(executive.RingReenable(1, 5), {0: "01", 8: "05"}, 16)
        self.check(executive.Shutdown(), {}, 0)
        self.check(
            executive.CryptoReconfigure(executive.CryptoPhase.CLEANUP), {0: "02"}, 8
        )

    def test_bigEndian(self) -> None:
        """
        Every field is in the sender's byte order.
        """
        message = executive.NodeInfo(1, 2, 3, 9)
        expected = bytes.fromhex("00000001 00000002 00000003 00000009")
        self.assertEqual(message.encode(">"), expected)


class RoundTripTests(SynchronousTestCase):
    """
    Whatever is sent arrives.
    """

    @thorough
    @given(strategies.executiveMessages, strategies.byteOrders)
    def test_roundTrip(self, message: Executive, order: str) -> None:
        """
        Decoding what was encoded gives the same message, in both byte orders,
        also by its number alone.
        """
        body = message.encode(order)
        self.assertEqual(type(message).decode(body, order), message)
        group = executive.SYNC_GROUP
        if type(message) not in executive.SYNC_MESSAGES.values():
            group = executive.SERVICES_GROUP
        whole = executive.whole(message, order)
        self.assertEqual(executive.decode(group, whole, order), message)

    @thorough
    @given(strategies.executiveMessages, st.data())
    def test_prefix(self, message: Executive, data: st.DataObject) -> None:
        """
        No prefix of a message is that message; a list of processes may be a
        shorter list.
        """
        body = message.encode()
        if not body:
            return
        prefix = body[: data.draw(st.integers(0, len(body) - 1))]
        entry = executive.JoinList.ENTRIES["<"].size
        if isinstance(message, executive.JoinList) and len(prefix) % entry == 8:
            shorter = executive.JoinList.decode(prefix, "<")
            count = len(prefix) // entry
            self.assertEqual(shorter.entries, message.entries[:count])
            return
        with self.assertRaises(TruncatedFrame):
            type(message).decode(prefix, "<")

    @thorough
    @given(strategies.executiveMessages, st.binary(min_size=1, max_size=20))
    def test_extension(self, message: Executive, more: bytes) -> None:
        """
        Nothing may follow a message.
        """
        with self.assertRaises((OversizedFrame, TruncatedFrame)):
            type(message).decode(message.encode() + more, "<")


class RefusedTests(SynchronousTestCase):
    """
    A message is taken whole and valid, or not at all.
    """

    def refused(self, kind: type[Executive], offset: int, field: bytes) -> None:
        with self.assertRaises(WireError):
            kind.decode(changed(example(kind), offset, field), "<")

    def test_serviceCount(self) -> None:
        """
        A service list names from 0 to 64 services.
        """
        for count in (65, 128, 129, -1, 2**31 - 1, -(2**31)):
            self.refused(executive.ServiceList, 16, pack("<i", count))
        most = executive.ServiceList(RING, tuple(range(64)))
        self.assertEqual(executive.ServiceList.decode(most.encode(), "<"), most)

    def test_nameLength(self) -> None:
        """
        Names of groups have at most 128 bytes.
        """
        for length in (129, 255, 2**31, 2**32 - 1):
            field = pack("<I", length)
            for kind in (
                executive.ProcJoin,
                executive.ProcLeave,
                executive.Mcast,
                executive.PartialMcast,
            ):
                self.refused(kind, 0, field)
            self.refused(executive.JoinList, 16, field)
        longest = executive.ProcJoin(bytes(range(128)), 1, 1)
        self.assertEqual(executive.ProcJoin.decode(longest.encode(), "<"), longest)

    def test_payloadLength(self) -> None:
        """
        The announced length of a payload is its length.
        """
        for length in (0, 1, 2**31, 2**32 - 1):
            field = pack("<I", length)
            self.refused(executive.Mcast, 136, field)
            self.refused(executive.PartialMcast, 144, field)
            self.refused(executive.QdeviceExtra, 4, field)

    def test_left(self) -> None:
        """
        No more nodes leave than a ring can have.
        """
        for count in (385, 2**31, 2**32 - 1):
            self.refused(executive.OldDownlist, 0, pack("<I", count))
            self.refused(executive.Downlist, 8, pack("<I", count))
        everyone = executive.Downlist(384, tuple(range(384)))
        self.assertEqual(executive.Downlist.decode(everyone.encode(), "<"), everyone)

    def test_choices(self) -> None:
        """
        Where there are a few choices, there are no others.
        """
        for value in (4, 2**32 - 1):
            self.refused(executive.PartialMcast, 160, pack("<I", value))
            self.refused(executive.CryptoReconfigure, 0, pack("<I", value))
            self.refused(executive.QdeviceRegistration, 0, pack("<I", value))
        for value in (0, 4, 255):
            self.refused(executive.Reconfigure, 8, bytes([value]))
        self.refused(executive.PartialMcast, 160, bytes(4))
        self.refused(executive.CryptoReconfigure, 0, bytes(4))

    def test_terminated(self) -> None:
        """
        Names and reasons that end with a zero byte have one.
        """
        self.refused(executive.QdeviceRegistration, 4, b"x" * 255)
        self.refused(executive.QdeviceRename, 0, b"x" * 255)
        self.refused(executive.QdeviceRename, 255, b"x" * 255)
        self.refused(executive.KillNode, 16, b"x" * 256)
        for length in (0, 257, 2**16 - 1):
            self.refused(executive.KillNode, 8, pack("<H", length))

    def test_cmapKeys(self) -> None:
        """
        As many keys as announced, none longer than its place.
        """
        for count in (0, 2, 255):
            self.refused(executive.CmapMcast, 8, bytes([count]))
        self.refused(executive.CmapMcast, 32, pack("<H", 257))
        for length in (0, 9, 2**31, 2**63, 2**64 - 1):
            self.refused(executive.CmapMcast, 32 + 272, pack("<Q", length))

    def test_unknownFunction(self) -> None:
        """
        Services and functions that do not exist, and those of the other
        group.
        """
        for service, function in ((0, 1), (5, 5), (3, 0), (8, 0), (32767, 65535)):
            body = executive.header(service, function, bytes(16))
            with self.assertRaises(UnknownFrame):
                executive.decode(executive.SERVICES_GROUP, body, "<")
        with self.assertRaises(UnknownFrame):
            executive.decode(
                executive.SYNC_GROUP, executive.header(2, 0, bytes(152)), "<"
            )


class CmapNumberTests(SynchronousTestCase):
    """
    The one kind of value that nodes exchange.
    """

    def test_number(self) -> None:
        """
        64 bits in the sender's byte order.
        """
        for order in BYTE_ORDERS:
            item = executive.CmapItem(b"k", executive.CMAP_U64, pack(f"{order}Q", 7))
            self.assertEqual(item.number(order), 7)

    def test_absent(self) -> None:
        """
        An absent key counts as 0.
        """
        self.assertEqual(executive.CmapItem(b"k", 0, b"").number("<"), 0)

    def test_other(self) -> None:
        """
        Other types, and numbers of another length, are no such number.
        """
        for valueType, value in ((8, b"1234"), (4, bytes(8)), (11, b"text")):
            with self.assertRaises(UnknownFrame):
                executive.CmapItem(b"k", valueType, value).number("<")


class DamageTests(SynchronousTestCase):
    """
    Nothing but a L{WireError} comes of damaged input, and what is taken in
    spite of the damage is a message like any other.
    """

    def take(self, kind: type[Executive], body: bytes) -> None:
        try:
            message = kind.decode(body, "<")
        except WireError:
            return
        self.assertEqual(len(message.encode()), len(body))
        self.assertEqual(kind.decode(message.encode(), "<"), message)

    @thorough
    @given(st.binary(max_size=300))
    def test_anything(self, body: bytes) -> None:
        """
        Random bytes, as each kind.
        """
        for message in EXAMPLES:
            self.take(type(message), body)

    def test_hardValues(self) -> None:
        """
        The first fields of each kind with each value that once broke a parser.
        """
        for message in EXAMPLES:
            body = message.encode()
            for start in strategies.hardened(body[:48]):
                self.take(type(message), start + body[48:])

    def test_damaged(self) -> None:
        """
        Whole bodies with bits, fields and pieces changed.
        """
        wholes = [executive.whole(message) for message in EXAMPLES]
        for body in strategies.damaged(wholes, Random(7)):
            for group in (executive.SERVICES_GROUP, executive.SYNC_GROUP):
                try:
                    message = executive.decode(group, body, "<")
                except WireError:
                    continue
                self.assertEqual(len(executive.whole(message)), len(body))
