"""
Tests of corotwist's own messages, and of pieces and batches.
"""

from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import batch
from corotwist.engines.assembly import Assembly
from corotwist.engines.compact import (
    HEADER_BYTES,
    Announcement,
    CompactMcast,
    Header,
    Kind,
    Piece,
    engineHeader,
)
from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    MOST_FURTHER_GROUPS,
    MOST_TARGETS,
    Member,
    Terms,
    ViewId,
)
from corotwist.errors import BadCount, InvalidParameter, WireError
from corotwist.totem.membership import RingId

ringIds = st.builds(RingId, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
numbers = st.integers(0, 2**32 - 1)


class WireTests(SynchronousTestCase):
    """
    The layouts of docs/protocol-compact.md.
    """

    def test_announcementBytes(self) -> None:
        """
        An announcement, byte by byte.
        """
        body = Announcement(RingId(0x0102, 7), 1).encode()
        self.assertEqual(
            body.hex(" "),
            "01 01 00 00 07 00 00 00 02 01 00 00 00 00 00 00 01 00 00 00 00 00 00 00",
        )

    def test_batchBytes(self) -> None:
        """
        A batch of two messages to a group, byte by byte.
        """
        mcast = CompactMcast(9, 2, Piece.BATCH, b"grp", batch.pack([b"a", b""]))
        self.assertEqual(
            (engineHeader(2, RingId(5, 1)) + mcast.encode()).hex(" "),
            "02 01 02 00 01 00 00 00 05 00 00 00 00 00 00 00 "
            "09 00 00 00 02 00 00 00 00 03 67 72 70 "
            "01 00 00 00 61 00 00 00 00",
        )

    @given(ringIds, st.integers(0, 2**64 - 1), st.binary(max_size=9))
    def test_announcement(self, ringId: RingId, features: int, more: bytes) -> None:
        """
        What was announced is read, whatever a later version appends.
        """
        body = Announcement(ringId, features).encode() + more
        header = Header.decode(body)
        self.assertEqual(header.kind, Kind.ANNOUNCEMENT)
        self.assertEqual(
            Announcement.decode(header, body), Announcement(ringId, features)
        )

    @given(ringIds, st.integers(0, 2**16 - 1))
    def test_header(self, ringId: RingId, service: int) -> None:
        """
        Service and ring of an engine's message.
        """
        header = Header.decode(engineHeader(service, ringId))
        self.assertEqual((header.service, header.ringId), (service, ringId))

    @given(
        numbers,
        st.integers(1, 2**32 - 1),
        st.sampled_from(Piece),
        st.binary(max_size=128),
        st.binary(max_size=64),
    )
    def test_mcast(
        self, pid: int, count: int, piece: Piece, group: bytes, payload: bytes
    ) -> None:
        """
        A process group message is read as it was written; what lacks a part
        of head or name is refused; so is a batch of more messages than its
        bytes can be.
        """
        mcast = CompactMcast(pid, count, piece, group, payload)
        body = mcast.encode()
        if piece is Piece.BATCH and count * batch.OVERHEAD > len(payload):
            self.assertRaises(WireError, CompactMcast.decode, body)
            return
        self.assertEqual(CompactMcast.decode(body), mcast)
        for end in range(len(body) - len(payload)):
            self.assertRaises(WireError, CompactMcast.decode, body[:end])

    def test_termsBytes(self) -> None:
        """
        A message with terms of each kind, byte by byte.
        """
        view = ViewId(RingId(5, 1), 2)
        terms = Terms(groups=(b"hi",), to=(Member(3, 4),), view=view)
        mcast = CompactMcast(9, 1, Piece.BATCH, b"grp", batch.pack([b"a"]), terms)
        self.assertEqual(
            mcast.encode().hex(" "),
            "09 00 00 00 01 00 00 00 10 03 67 72 70 "
            "01 01 01 00 "
            "05 00 00 00 00 00 00 00 01 00 00 00 02 00 00 00 "
            "02 68 69 "
            "03 00 00 00 04 00 00 00 "
            "01 00 00 00 61",
        )

    @given(
        st.builds(
            Terms,
            to=st.lists(st.builds(Member, numbers, numbers), max_size=5).map(tuple),
            groups=st.lists(
                st.binary(max_size=128).filter(lambda name: name != b"g"),
                max_size=4,
                unique=True,
            ).map(tuple),
            view=st.none() | st.builds(ViewId, ringIds, numbers),
        ),
        st.sampled_from(Piece),
        st.binary(max_size=20),
    )
    def test_terms(self, terms: Terms, piece: Piece, payload: bytes) -> None:
        """
        Terms are read as they were written, and nothing of what lacks a part
        of them.
        """
        batched = batch.pack([payload])
        mcast = CompactMcast(7, 1, piece, b"g", batched, terms)
        body = mcast.encode()
        self.assertEqual(CompactMcast.decode(body), mcast)
        self.assertEqual(mcast.groups, (b"g", *terms.groups))
        for end in range(len(body) - len(batched)):
            self.assertRaises(WireError, CompactMcast.decode, body[:end])

    def test_badTerms(self) -> None:
        """
        Bits that nobody knows, too many groups or processes, names too long,
        and a group that is named twice are refused: nobody does half of what is
        asked.
        """
        payload = batch.pack([b""])

        def body(terms: Terms) -> bytes:
            return CompactMcast(7, 1, Piece.BATCH, b"g", payload, terms).encode()

        many = tuple(b"%d" % n for n in range(MOST_FURTHER_GROUPS + 1))
        crowd = tuple(Member(1, n) for n in range(MOST_TARGETS + 1))
        CompactMcast.decode(body(Terms(groups=many[1:], to=crowd[1:])))
        for bad in (
            Terms(groups=many),
            Terms(to=crowd),
            Terms(groups=(b"x" * 129,)),
            Terms(groups=(b"a", b"b", b"a")),
            Terms(groups=(b"g",)),
        ):
            self.assertRaises(BadCount, CompactMcast.decode, body(bad))
        strange = bytearray(body(Terms()))
        strange[11] = 2
        self.assertRaises(BadCount, CompactMcast.decode, bytes(strange))

    def test_bounds(self) -> None:
        """
        A name over 128 bytes, no message, an unknown kind, and version 0 are
        refused; so is a header that is cut.
        """
        good = CompactMcast(1, 1, Piece.BATCH, b"g" * 128, batch.pack([b""])).encode()
        CompactMcast.decode(good)
        for offset, value in ((9, 129), (8, 4), (4, 0)):
            bad = bytearray(good + b"g")
            bad[offset] = value
            self.assertRaises(WireError, CompactMcast.decode, bytes(bad))
        ancient = bytearray(engineHeader(2, RingId(1, 1)))
        ancient[1] = 0
        self.assertRaises(WireError, Header.decode, bytes(ancient))
        for end in range(HEADER_BYTES):
            self.assertRaises(WireError, Header.decode, bytes(ancient)[:end])
        short = engineHeader(0, RingId(1, 1)) + bytes(7)
        self.assertRaises(WireError, Announcement.decode, Header.decode(short), short)


class TinyPiecesTests(SynchronousTestCase):
    """
    L{Assembly} against a sender of very many very small pieces.
    """

    def test_room(self) -> None:
        """
        Pieces take no more room than their bytes do.
        """
        assembly = Assembly()
        key = (b"g", Member(1, 1))
        assembly.begin(key, 10_000, (), bound=False)
        for number in range(20_000):
            assembly.add(key, b"x" * (number % 2))
        (partial,) = assembly._partials.values()
        self.assertLess(getsizeof(partial.data), 20_000)
        self.assertEqual(assembly.finish(key), (b"x" * 10_000, ()))


class BatchTests(SynchronousTestCase):
    """
    Messages as one run of bytes.
    """

    @given(st.lists(st.binary(max_size=20), min_size=1))
    def test_check(self, messages: list[bytes]) -> None:
        """
        A batch is as many messages as were packed, no other number, and no
        piece of it is a batch of as many.
        """
        packed = batch.pack(messages)
        largest = batch.check(packed, len(messages))
        self.assertEqual(largest, max(map(len, messages)))
        self.assertEqual(batch.unpack(packed), messages)
        for count in (len(messages) - 1, len(messages) + 1):
            self.assertRaises(InvalidParameter, batch.check, packed, count)
        for end in range(len(packed)):
            self.assertRaises(
                InvalidParameter, batch.check, packed[:end], len(messages)
            )

    @given(
        st.lists(st.binary(max_size=30), min_size=1, max_size=20),
        st.integers(1, 100),
        st.integers(5, 30),
    )
    def test_cut(self, messages: list[bytes], limit: int, largest: int) -> None:
        """
        Cutting loses nothing; each cut is within the limit or one message,
        and a message that is too large is the first of its cut.
        """
        packed = batch.pack(messages)
        offset, pieces = 0, []
        while offset < len(packed):
            end, count = batch.cut(packed, offset, limit, largest)
            piece = batch.unpack(packed[offset:end])
            self.assertEqual(len(piece), count)
            self.assertTrue(end - offset <= limit or count == 1)
            self.assertTrue(all(len(message) <= largest for message in piece[1:]))
            pieces += piece
            offset = end
        self.assertEqual(pieces, messages)


class AssemblyTests(SynchronousTestCase):
    """
    Messages in pieces.
    """

    KEY = (b"g", Member(1, 1))

    def setUp(self) -> None:
        self.assembly = Assembly()

    def begin(self, total: int, *, bound: bool = False) -> None:
        self.assembly.begin(self.KEY, total, (), bound=bound)

    def test_whole(self) -> None:
        """
        Pieces in order make the message.
        """
        self.begin(5)
        for piece in (b"ab", b"cde"):
            self.assembly.add(self.KEY, piece)
        self.assertEqual(self.assembly.sizeBytes(), 5)
        self.assertEqual(self.assembly.finish(self.KEY), (b"abcde", ()))
        self.assertEqual(self.assembly.sizeBytes(), 0)

    def test_withoutTheFirst(self) -> None:
        """
        Pieces of a message whose first one we did not get are nothing.
        """
        self.assembly.add(self.KEY, b"cde")
        self.assertIsNone(self.assembly.finish(self.KEY))
        self.assertEqual(self.assembly.sizeBytes(), 0)

    def test_wrongSize(self) -> None:
        """
        A message that is shorter or longer than announced is dropped; so is
        one that is too large altogether.
        """
        self.begin(5)
        self.assembly.add(self.KEY, b"abcd")
        self.assertIsNone(self.assembly.finish(self.KEY))
        self.begin(5)
        self.assembly.add(self.KEY, b"abcdef")
        self.assertIsNone(self.assembly.finish(self.KEY))
        for total in (0, LARGEST_MESSAGE_BYTES + 1):
            self.begin(total)
            self.assembly.add(self.KEY, b"x")
            self.assertEqual(self.assembly.sizeBytes(), 0)
        self.assertEqual(self.assembly.dropped, 4)

    def test_anew(self) -> None:
        """
        A first piece begins anew.
        """
        self.begin(5)
        self.assembly.add(self.KEY, b"ab")
        self.begin(2)
        self.assembly.add(self.KEY, b"xy")
        self.assertEqual(self.assembly.finish(self.KEY), (b"xy", ()))

    def test_bound(self) -> None:
        """
        A message that is bound to its ring is forgotten with it, others stay.
        """
        for bound in (True, False):
            self.begin(2, bound=bound)
            self.assembly.ringChanged()
            self.assembly.add(self.KEY, b"xy")
            found = self.assembly.finish(self.KEY)
            self.assertEqual(found, None if bound else (b"xy", ()))
