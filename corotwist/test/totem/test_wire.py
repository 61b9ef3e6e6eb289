"""
The messages of the ring: exact bytes, round trips, and what is refused.
"""

from random import Random
from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import (
    BadCount,
    OversizedFrame,
    TruncatedFrame,
    UnknownFrame,
    WireError,
)
from corotwist.test import strategies
from corotwist.test.strategies import thorough
from corotwist.totem import wire
from corotwist.totem.membership import RingId

RING = RingId(9, 1)
TOKEN = wire.Token(2, 32, 241, 21, 2, RING, 0, 5, 0, [(RING, 22), (RING, 31)])
JOIN = wire.Join(3, 3, (3, 1, 2), (2,), 13)
COMMIT = wire.CommitToken(
    1,
    4,
    RingId(13, 1),
    (1, 2),
    (wire.CommitEntry(RING, 15, 14, 1), wire.UNFILLED),
    1,
)
REGULAR = wire.makeRegular(1, 8, 7, RING, 0, b"payload")
ENCAPSULATED = wire.makeRegular(2, 1, 9, RingId(13, 2), 0, REGULAR.frame, True)
CLOSED = (TOKEN, JOIN, COMMIT, wire.MergeDetect(1, 1, RING), wire.HoldCancel(2, RING))
EXAMPLES = (*CLOSED, REGULAR, ENCAPSULATED)


class LayoutTests(SynchronousTestCase):
    """
    The bytes of each message, written down by hand.
    """

    def check(self, message: wire.Message, expected: str) -> None:
        data = bytes.fromhex(expected)
        self.assertEqual(message.encode(), data)
        self.assertEqual(wire.decode(data), message)

    def test_token(self) -> None:
        """
        A token with a retransmission request.
        """
        self.check(
            wire.Token(1, 15, 27, 14, 2, RING, 3, 4, 1, [(RING, 15)], 0x02000000),
            "70c0 03 00 00 01000000 00000002"
            "0f000000 1b000000 0e000000 02000000 01000000 0900000000000000"
            "03000000 04000000 01000000 01000000"
            "01000000 0900000000000000 0f000000",
        )

    def test_firstToken(self) -> None:
        """
        A new ring's token has received up to just before its first sequence.
        """
        self.check(
            wire.Token(1, 0, 0, 2**32 - 1, 1, RING),
            "70c0 03 00 00 01000000 00000000"
            "00000000 00000000 ffffffff 01000000 01000000 0900000000000000"
            "00000000 00000000 00000000 00000000",
        )

    def test_regular(self) -> None:
        """
        An ordinary message.
        """
        self.check(
            wire.makeRegular(1, 8, -2, RING, 1, b"ab"),
            "70c0 03 01 02 01000000 00000000"
            "01000000 08000000 feffffff 01000000 0900000000000000"
            "00000000 01000000 6162",
        )

    def test_encapsulated(self) -> None:
        """
        A message of an old ring within one of the new ring.
        """
        inner = wire.makeRegular(1, 8, 7, RING, 0, b"ab")
        self.check(
            wire.makeRegular(2, 1, 9, RingId(13, 2), 0, inner.frame, True),
            "70c0 03 01 01 02000000 00000000"
            "02000000 01000000 09000000 02000000 0d00000000000000"
            "00000000 00000000"
            "70c0 03 01 02 01000000 00000000"
            "01000000 08000000 07000000 01000000 0900000000000000"
            "00000000 00000000 6162",
        )

    def test_mergeDetect(self) -> None:
        """
        A merge detection.
        """
        self.check(
            wire.MergeDetect(1, 1, RING, 7),
            "70c0 03 02 00 01000000 07000000 01000000 01000000 0900000000000000",
        )

    def test_join(self) -> None:
        """
        A join; its lists keep their order.
        """
        self.check(
            wire.Join(3, 3, (3, 1), (2,), 13),
            "70c0 03 03 00 03000000 00000000"
            "03000000 02000000 01000000 0d00000000000000"
            "03000000 01000000 02000000",
        )

    def test_commitToken(self) -> None:
        """
        A commit token, one of two entries filled in.
        """
        self.check(
            COMMIT,
            "70c0 03 04 00 01000000 00000000"
            "04000000 01000000 0d00000000000000 00000000 01000000 02000000"
            "01000000 02000000"
            "01000000 0900000000000000 0f000000 0e000000 01000000"
            "00000000 0000000000000000 00000000 00000000 00000000",
        )

    def test_holdCancel(self) -> None:
        """
        A hold cancel.
        """
        self.check(
            wire.HoldCancel(2, RING),
            "70c0 03 05 00 02000000 00000000 01000000 0900000000000000",
        )

    def test_bigEndian(self) -> None:
        """
        A sender of the other byte order swaps each field, the magic included.
        """
        self.check(
            wire.MergeDetect(1, 2, RING, 7, ">"),
            "c070 03 02 00 00000001 00000007 00000002 00000001 0000000000000009",
        )


class RegularTests(SynchronousTestCase):
    """
    What a regular message offers beside its fields.
    """

    def test_payload(self) -> None:
        """
        The payload is what follows the fixed part.
        """
        self.assertEqual(REGULAR.payload, b"payload")

    def test_innerMessage(self) -> None:
        """
        The payload of an encapsulated message is a message.
        """
        self.assertTrue(ENCAPSULATED.encapsulated)
        self.assertEqual(wire.decode(ENCAPSULATED.payload), REGULAR)

    def test_innerByteOrder(self) -> None:
        """
        Who re-sends an old message may have another byte order than its
        originator.
        """
        inner = wire.makeRegular(1, 8, 7, RING, 0, b"x", byteOrder=">")
        outer = wire.makeRegular(2, 1, 1, RING, 0, inner.frame, True)
        self.assertEqual(wire.decode(wire.decode(outer.frame).payload), inner)  # type: ignore[union-attr]

    def test_frameIsKept(self) -> None:
        """
        What is retransmitted are the very bytes received, the target that
        nobody reads included.
        """
        frame = REGULAR.frame[:9] + b"junk" + REGULAR.frame[13:]
        message = wire.decode(frame)
        self.assertIs(message.encode(), frame)
        self.assertEqual(message.target, int.from_bytes(b"junk", "little"))

    def test_leave(self) -> None:
        """
        A join with no sender is a farewell.
        """
        self.assertTrue(wire.Join(0, 3, (1, 2), (3,), 13).leave)
        self.assertFalse(JOIN.leave)


class RoundTripTests(SynchronousTestCase):
    """
    Whatever is sent arrives.
    """

    @thorough
    @given(strategies.ringMessages)
    def test_roundTrip(self, message: wire.Message) -> None:
        """
        Decoding what was encoded gives the same message, in both byte orders.
        """
        self.assertEqual(wire.decode(message.encode()), message)

    def test_mostMembers(self) -> None:
        """
        Lists may be as long as a ring may be large.
        """
        nodeids = tuple(range(1, wire.MOST_MEMBERS + 1))
        entries = (wire.UNFILLED,) * wire.MOST_MEMBERS
        requests = [(RING, n) for n in range(wire.MOST_REQUESTS)]
        for message in (
            wire.Join(1, 1, nodeids, nodeids, 1),
            wire.CommitToken(1, 0, RING, nodeids, entries, wire.MOST_MEMBERS),
            wire.Token(1, 0, 0, 0, 0, RING, requests=requests),
        ):
            self.assertEqual(wire.decode(message.encode()), message)


class RefusedTests(SynchronousTestCase):
    """
    A message is taken whole and valid, or not at all.
    """

    def refused(self, kind: type[WireError], data: bytes) -> None:
        with self.assertRaises(kind):
            wire.decode(data)

    def changed(self, message: wire.Message, offset: int, field: bytes) -> bytes:
        data = message.encode()
        return data[:offset] + field + data[offset + len(field) :]

    @thorough
    @given(strategies.closedMessages, st.data())
    def test_prefix(self, message: wire.Message, data: st.DataObject) -> None:
        """
        No prefix of a message that announces its length is a message.
        """
        encoded = message.encode()
        size = data.draw(st.integers(0, len(encoded) - 1))
        self.refused(TruncatedFrame, encoded[:size])

    @thorough
    @given(strategies.closedMessages, st.binary(min_size=1, max_size=20))
    def test_extension(self, message: wire.Message, more: bytes) -> None:
        """
        Nothing may follow a message that announces its length.
        """
        self.refused(OversizedFrame, message.encode() + more)

    def test_regularPrefix(self) -> None:
        """
        A regular message has at least its fixed part, and an encapsulated one
        that of the message inside too.
        """
        for size in range(wire.Regular.FIXED_BYTES):
            self.refused(TruncatedFrame, REGULAR.frame[:size])
        for size in range(2 * wire.Regular.FIXED_BYTES):
            self.refused(TruncatedFrame, ENCAPSULATED.frame[:size])

    def test_regularSize(self) -> None:
        """
        A regular message has a largest size.
        """
        room = wire.MOST_FRAME_BYTES - wire.Regular.FIXED_BYTES
        largest = wire.makeRegular(1, 1, 1, RING, 0, bytes(room)).frame
        self.assertEqual(wire.decode(largest).encode(), largest)
        self.refused(OversizedFrame, largest + b"x")

    def test_start(self) -> None:
        """
        Magic, version and type are ours, in one byte order throughout.
        """
        frame = REGULAR.frame
        for start in (
            "00000000",
            "70c00200",
            "70c00400",
            "70c00306",
            "70c003ff",
            "c0c00301",
            "70700301",
            "70c00103",
        ):
            self.refused(UnknownFrame, bytes.fromhex(start) + frame[4:])

    def test_mark(self) -> None:
        """
        Regular messages are marked 1 or 2, all others 0.
        """
        for mark in (0, 3, 255):
            self.refused(UnknownFrame, self.changed(REGULAR, 4, bytes([mark])))
        for message in CLOSED:
            for mark in (1, 2, 255):
                self.refused(UnknownFrame, self.changed(message, 4, bytes([mark])))

    def test_nestedEncapsulation(self) -> None:
        """
        An encapsulated message is not encapsulated again.
        """
        nested = wire.makeRegular(1, 1, 1, RING, 0, ENCAPSULATED.frame, True)
        self.refused(UnknownFrame, nested.frame)

    def test_encapsulatedToken(self) -> None:
        """
        Only regular messages are encapsulated.
        """
        outer = wire.makeRegular(1, 1, 1, RING, 0, TOKEN.encode(), True)
        self.refused(UnknownFrame, outer.frame)
        outer = wire.makeRegular(1, 1, 1, RING, 0, bytes(60), True)
        self.refused(UnknownFrame, outer.frame)

    def test_requestCount(self) -> None:
        """
        Requests are counted from 0 to 30, and the count is signed.
        """
        request = pack("<IQI", 1, 9, 1)
        for count in (31, 384, 2**31 - 1):
            data = self.changed(TOKEN, 53, pack("<i", count))
            self.refused(BadCount, data + request * 29)
        for count in (-1, -(2**31)):
            self.refused(BadCount, self.changed(TOKEN, 53, pack("<i", count)))

    def test_requestsAnnounced(self) -> None:
        """
        There are as many requests as announced.
        """
        self.refused(TruncatedFrame, self.changed(TOKEN, 53, pack("<i", 3)))
        self.refused(OversizedFrame, self.changed(TOKEN, 53, pack("<i", 1)))

    def test_tokenFarAhead(self) -> None:
        """
        No correct ring runs further ahead of its slowest member than the
        window, also where sequences wrap.
        """
        for aru in (0, 100, 2**32 - 5):
            sequence = (aru + 16384) % 2**32
            token = wire.Token(1, sequence, 0, aru, 0, RING)
            self.assertEqual(wire.decode(token.encode()), token)
            token.sequence = (sequence + 1) % 2**32
            self.refused(BadCount, token.encode())

    def test_joinCounts(self) -> None:
        """
        Each list of a join has its own bound, so that no sum of counts wraps.
        """
        for counts in ((385, 0), (0, 385), (2**31, 2**31), (2**32 - 1, 2)):
            data = self.changed(JOIN, 17, pack("<II", *counts))
            self.refused(BadCount, data)

    def test_memberCount(self) -> None:
        """
        A ring has at least one member and no more than 384.
        """
        for count in (0, -1, 385, 2**31 - 1, -(2**31)):
            self.refused(BadCount, self.changed(COMMIT, 37, pack("<i", count)))

    def test_memberCountAndLength(self) -> None:
        """
        A commit token has as many entries as members, and ends there.
        """
        self.refused(TruncatedFrame, self.changed(COMMIT, 37, pack("<i", 3)))
        self.refused(OversizedFrame, self.changed(COMMIT, 37, pack("<i", 1)))

    def test_index(self) -> None:
        """
        No more entries are filled in than there are, and no fewer than none.
        """
        for index in (-1, 3, 2**31 - 1, -(2**31)):
            self.refused(BadCount, self.changed(COMMIT, 33, pack("<i", index)))

    def test_memberOrder(self) -> None:
        """
        Members ascend, so that every node sees the same ring: nobody is in it
        twice.
        """
        for members in ((2, 1), (1, 1)):
            self.refused(BadCount, self.changed(COMMIT, 41, pack("<II", *members)))


class DamageTests(SynchronousTestCase):
    """
    Nothing but a L{WireError} comes of damaged input, and what is taken in
    spite of the damage is a message like any other.
    """

    def take(self, data: bytes) -> None:
        try:
            message = wire.decode(data)
        except WireError:
            return
        self.assertEqual(message.encode(), data)

    @thorough
    @given(st.binary(max_size=100))
    def test_anything(self, data: bytes) -> None:
        """
        Random bytes, as they are and after each start of a message.
        """
        self.take(data)
        for example in EXAMPLES:
            self.take(example.encode()[:5] + data)

    def test_hardValues(self) -> None:
        """
        Each field in turn with each value that once broke a parser.
        """
        for example in EXAMPLES:
            for data in strategies.hardened(example.encode()):
                self.take(data)

    def test_damaged(self) -> None:
        """
        Messages with bits, fields and pieces changed.
        """
        encoded = [example.encode() for example in EXAMPLES]
        for data in strategies.damaged(encoded, Random(1)):
            self.take(data)
