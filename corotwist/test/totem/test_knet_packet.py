"""
Knet packets: exact bytes, round trips, fragments, and seals.
"""

import hashlib
import hmac
import sys
from random import Random
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import (
    BadCount,
    ForgedFrame,
    OversizedFrame,
    TruncatedFrame,
    UnknownFrame,
    WireError,
)
from corotwist.test import strategies
from corotwist.test.strategies import thorough
from corotwist.totem.knet import packet as knet
from corotwist.totem.wire import MOST_FRAME_BYTES, MOST_MEMBERS

TIME: Final = bytes(range(16))
EXAMPLES: Final[tuple[knet.Packet, ...]] = (
    knet.Data(1, 7, b"payload", True),
    knet.Data(1, 7, b"piece", fragments=3, fragment=2),
    knet.Ping(1, 0, TIME, 7, True),
    knet.Pong(2, 0, TIME, 7, False),
    knet.Probe(1, 0, 1500, bytes(20)),
    knet.ProbeReply(2, 0, 1500),
)
MATERIAL: Final = bytes(range(256))
SALT: Final = bytes(range(100, 116))


class LayoutTests(SynchronousTestCase):
    """
    The bytes of each packet, written down by hand.
    """

    def check(self, packet: knet.Packet, expected: str) -> None:
        data = bytes.fromhex(expected)
        self.assertEqual(packet.encode(), data)
        self.assertEqual(knet.decode(data), packet)

    def test_data(self) -> None:
        """
        A message to all nodes, and a fragment of one to one node.
        """
        self.check(
            knet.Data(1, 7, b"hi", True),
            "01 00 0001 00 00 0007 00 00 01 01 00 00 6869",
        )
        self.check(
            knet.Data(258, 7, b"hi", fragments=4, fragment=3, channel=-1),
            "01 00 0102 00 00 0007 00 00 00 04 03 ff 6869",
        )

    def test_pingAndPong(self) -> None:
        """
        A pong is a ping of another type.
        """
        time = TIME.hex()
        self.check(
            knet.Ping(1, 2, TIME, 7, True), f"01 81 0001 00 00 02 {time} 0007 01"
        )
        self.check(
            knet.Pong(1, 2, TIME, 7, False), f"01 82 0001 00 00 02 {time} 0007 00"
        )

    def test_probe(self) -> None:
        """
        The size that is probed is not in network byte order.
        """
        self.check(knet.Probe(1, 2, 1500, b"fill"), "01 83 0001 00 00 02 dc05 66696c6c")
        self.check(knet.ProbeReply(1, 2, 1500), "01 84 0001 00 00 02 dc05")

    def test_newerSender(self) -> None:
        """
        What newer senders say in spare bytes is kept.
        """
        self.check(
            knet.Data(1, 7, b"hi", highestVersion=2, reserved=(3, 4), compression=5),
            "01 00 0001 02 03 0007 05 04 00 01 00 00 6869",
        )
        self.check(
            knet.ProbeReply(1, 2, 1500, highestVersion=2, reserved=3),
            "01 84 0001 02 03 02 dc05",
        )


class RoundTripTests(SynchronousTestCase):
    """
    Whatever is sent arrives.
    """

    @thorough
    @given(strategies.knetPackets)
    def test_roundTrip(self, packet: knet.Packet) -> None:
        """
        Decoding what was encoded gives the same packet.
        """
        self.assertEqual(knet.decode(packet.encode()), packet)


class RefusedTests(SynchronousTestCase):
    """
    A packet is taken whole and valid, or not at all.
    """

    def refused(self, kind: type[WireError], data: bytes) -> None:
        with self.assertRaises(kind):
            knet.decode(data)

    def test_prefix(self) -> None:
        """
        Packets have at least their fixed part, data some payload too.
        """
        fixed = {knet.Data: 15, knet.Ping: 26, knet.Pong: 26}
        for packet in EXAMPLES:
            data = packet.encode()
            for size in range(fixed.get(type(packet), 9)):
                self.refused(TruncatedFrame, data[:size])

    def test_extension(self) -> None:
        """
        Nothing follows a packet of fixed size.
        """
        for packet in EXAMPLES[2:4] + EXAMPLES[5:]:
            self.refused(OversizedFrame, packet.encode() + b"x")

    def test_size(self) -> None:
        """
        No packet is larger than a datagram.
        """
        for packet in (EXAMPLES[0], EXAMPLES[4]):
            data = packet.encode()
            largest = data + bytes(MOST_FRAME_BYTES - len(data))
            self.assertEqual(knet.decode(largest).encode(), largest)
            self.refused(OversizedFrame, largest + b"x")

    def test_start(self) -> None:
        """
        Version and type are ones we know.
        """
        for start in ("0000", "0200", "ff00", "0101", "0180", "0185"):
            self.refused(UnknownFrame, bytes.fromhex(start) + EXAMPLES[0].encode()[2:])

    def test_fragment(self) -> None:
        """
        Fragments are numbered from 1; the only one has no number.
        """
        data = EXAMPLES[0].encode()
        for count, place in ((0, 0), (0, 1), (1, 2), (2, 0), (3, 4), (255, 0)):
            self.refused(BadCount, data[:11] + bytes([count, place]) + data[13:])

    def test_flags(self) -> None:
        """
        What is yes or no is nothing else.
        """
        data = EXAMPLES[0].encode()
        self.refused(BadCount, data[:10] + b"\2" + data[11:])
        self.refused(BadCount, EXAMPLES[2].encode()[:-1] + b"\2")

    @thorough
    @given(st.binary(max_size=60))
    def test_anything(self, data: bytes) -> None:
        """
        Nothing but a L{WireError} comes of random bytes.
        """
        for kind in (0x00, 0x81, 0x82, 0x83, 0x84):
            self.take(bytes([1, kind]) + data)

    def test_damage(self) -> None:
        """
        Nothing but a L{WireError} comes of damage, and what is taken is a
        packet like any other.
        """
        valid = [packet.encode() for packet in EXAMPLES]
        for data in valid:
            for hard in strategies.hardened(data):
                self.take(hard)
        for data in strategies.damaged(valid, Random(8)):
            self.take(data)

    def take(self, data: bytes) -> None:
        try:
            packet = knet.decode(data)
        except WireError:
            return
        self.assertEqual(packet.encode(), data)


def fragments(nodeid: int, number: int, pieces: list[bytes]) -> list[knet.Data]:
    """
    A message in pieces.
    """
    return [
        knet.Data(nodeid, number, piece, fragments=len(pieces), fragment=place)
        for place, piece in enumerate(pieces, 1)
    ]


class DefragmenterTests(SynchronousTestCase):
    """
    Messages from fragments.
    """

    def setUp(self) -> None:
        self.defragmenter = knet.Defragmenter()

    def received(self, packets: list[knet.Data]) -> list[bytes]:
        """
        What is complete after each packet.
        """
        found = map(self.defragmenter.received, packets)
        return [message for message in found if message is not None]

    def test_single(self) -> None:
        """
        A message in one packet is complete.
        """
        self.assertEqual(self.received([knet.Data(1, 1, b"whole")]), [b"whole"])

    @thorough
    @given(st.permutations(range(4)), st.lists(st.integers(0, 3), max_size=3))
    def test_anyOrder(self, order: list[int], again: list[int]) -> None:
        """
        Fragments may come in any order, and more than once.
        """
        pieces = fragments(1, 7, [b"one", b"two", b"three", b"x"])
        first = [pieces[at] for at in order[:-1]]
        copies = [pieces[at] for at in again if pieces[at] in first]
        self.assertEqual(
            self.received([*first, *copies, pieces[order[-1]]]), [b"onetwothreex"]
        )

    def test_interleaved(self) -> None:
        """
        Senders and numbers are kept apart.
        """
        packets = [
            packet
            for group in zip(
                fragments(1, 7, [b"a", b"b"]),
                fragments(1, 8, [b"c", b"d"]),
                fragments(2, 7, [b"e", b"f"]),
                strict=True,
            )
            for packet in group
        ]
        self.assertEqual(self.received(packets), [b"ab", b"cd", b"ef"])
        self.assertEqual(self.defragmenter.dropped, 0)

    def test_numberReused(self) -> None:
        """
        A number comes again after 65536 packets: a message cut otherwise is
        another one.
        """
        old = fragments(1, 7, [b"a", b"b", b"c"])
        new = fragments(1, 7, [b"d", b"e"])
        self.assertEqual(self.received([old[0], *new]), [b"de"])
        self.assertEqual(self.defragmenter.dropped, 1)

    def test_tooManyOpen(self) -> None:
        """
        Of a sender's open messages the oldest gives way.
        """
        opened = [
            fragments(1, number, [b"a", b"b"]) for number in range(knet.MOST_OPEN + 1)
        ]
        self.received([first for first, _ in opened])
        self.assertEqual(self.defragmenter.dropped, 1)
        ends = [self.defragmenter.received(last) for _, last in opened[1:]]
        self.assertEqual(ends, [b"ab"] * knet.MOST_OPEN)

    def test_tooManySenders(self) -> None:
        """
        There are no more senders than a ring can have.
        """
        for nodeid in range(MOST_MEMBERS + 1):
            first, _ = fragments(nodeid, 1, [b"a", b"b"])
            self.received([first])
        self.assertEqual(self.defragmenter.dropped, 1)
        _, last = fragments(MOST_MEMBERS, 1, [b"a", b"b"])
        self.assertEqual(self.received([last]), [b"ab"])

    def test_size(self) -> None:
        """
        No message is larger than any of a ring.
        """
        half = bytes(MOST_FRAME_BYTES // 2)
        self.assertEqual(
            self.received(fragments(1, 1, [half, half])), [bytes(MOST_FRAME_BYTES)]
        )
        first, second = fragments(1, 2, [half, half + b"x"])
        self.received([first])
        with self.assertRaises(OversizedFrame):
            self.received([second])
        self.assertEqual(self.defragmenter.dropped, 1)


class KeysTests(SynchronousTestCase):
    """
    Sealed packets.
    """

    packet = EXAMPLES[0].encode()

    def test_sealed(self) -> None:
        """
        Salt, then whole cipher blocks, then the code of all that; nothing of
        the packet can be seen.
        """
        sealed = knet.Keys(MATERIAL).seal(self.packet, SALT)
        self.assertEqual(len(sealed), 16 + 32 + 32)
        self.assertEqual(sealed[:16], SALT)
        code = hmac.new(MATERIAL, sealed[:-32], hashlib.sha256).digest()
        self.assertEqual(sealed[-32:], code)
        self.assertNotIn(b"payload", sealed)

    def test_roundTrip(self) -> None:
        """
        What was sealed is opened, with every cipher and hash.
        """
        for cipher in knet.CIPHER_KEY_BYTES:
            for hashName in knet.HASHES:
                if cipher != "none" and hashName == "none":
                    continue
                keys = knet.Keys(MATERIAL, cipher, hashName)
                sealed = keys.seal(self.packet, SALT)
                self.assertEqual(keys.open(sealed), self.packet)

    def test_keyBits(self) -> None:
        """
        The first bytes of the file are the cipher's key: what follows them
        changes only the code.
        """
        one = knet.Keys(MATERIAL, "aes128").seal(self.packet, SALT)
        other = knet.Keys(MATERIAL[:16] + bytes(240), "aes128").seal(self.packet, SALT)
        self.assertEqual(one[:-32], other[:-32])
        self.assertNotEqual(one[-32:], other[-32:])

    def test_everyBit(self) -> None:
        """
        Whichever bit is changed, the packet is refused.
        """
        keys = knet.Keys(MATERIAL)
        sealed = keys.seal(self.packet, SALT)
        for at in range(len(sealed)):
            for bit in range(8):
                forged = bytearray(sealed)
                forged[at] ^= 1 << bit
                with self.assertRaises(ForgedFrame):
                    keys.open(bytes(forged))

    def test_otherKey(self) -> None:
        """
        A key that differs in its last bit opens nothing.
        """
        other = MATERIAL[:-1] + bytes([MATERIAL[-1] ^ 1])
        sealed = knet.Keys(MATERIAL).seal(self.packet, SALT)
        with self.assertRaises(ForgedFrame):
            knet.Keys(other).open(sealed)

    def test_short(self) -> None:
        """
        Less than salt, a block and a code is nothing, whatever it is.
        """
        keys = knet.Keys(MATERIAL)
        sealed = keys.seal(self.packet, SALT)
        for size in range(65):
            with self.assertRaises((TruncatedFrame, ForgedFrame)):
                keys.open(sealed[:size])
            with self.assertRaises((TruncatedFrame, ForgedFrame)):
                keys.open(bytes(size))

    def test_authenticRubbish(self) -> None:
        """
        A holder of the key who makes no whole blocks, or no padding, is
        refused in the same way.
        """
        keys = knet.Keys(MATERIAL)
        unpadded = knet.Keys(MATERIAL, "none").seal(SALT + bytes(16), b"")
        odd = knet.Keys(MATERIAL, "none").seal(SALT + bytes(17), b"")
        for sealed in (unpadded, odd):
            with self.assertRaises(ForgedFrame):
                keys.open(sealed)

    def test_settings(self) -> None:
        """
        Keys that no node has are a mistake of ours.
        """
        for material, cipher, hashName in (
            (bytes(127), "aes256", "sha256"),
            (bytes(4097), "aes256", "sha256"),
            (MATERIAL, "aes", "sha256"),
            (MATERIAL, "aes256", "crc"),
            (MATERIAL, "aes256", "none"),
        ):
            with self.assertRaises(ValueError):
                knet.Keys(material, cipher, hashName)

    def test_secret(self) -> None:
        """
        Keys do not show what they are.
        """
        self.assertNotIn(MATERIAL[65:70].decode(), repr(knet.Keys(MATERIAL)))
        self.assertNotIn("material", repr(knet.Keys(MATERIAL)))

    def test_withoutCipher(self) -> None:
        """
        Only ciphers need the C{cryptography} package.
        """
        hidden = {name: None for name in sys.modules if name.startswith("cryptography")}
        hidden["cryptography"] = None
        for name, module in hidden.items():
            self.patch_module(name, module)
        keys = knet.Keys(MATERIAL, "none", "sha256")
        self.assertEqual(keys.open(keys.seal(self.packet, b"")), self.packet)
        with self.assertRaises(ImportError):
            knet.Keys(MATERIAL).seal(self.packet, SALT)

    def patch_module(self, name: str, module: None) -> None:
        before = sys.modules.get(name)

        def restore() -> None:
            if before is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = before

        self.addCleanup(restore)
        sys.modules[name] = module  # type: ignore[assignment]
