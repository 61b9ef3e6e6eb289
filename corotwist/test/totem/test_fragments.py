"""
Packing, splitting and reassembly.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from random import Random
from typing import Final

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
from corotwist.totem.fragments import (
    LAST_BREAK,
    NOTHING,
    REASSEMBLY_BYTES,
    Assembly,
    Outbox,
    Packed,
)
from corotwist.totem.membership import Guarantee
from corotwist.totem.wire import MOST_MEMBERS

# What a datagram of 1500 bytes leaves.
FRAME: Final = 1410
# The longest message in one such frame.
SINGLE: Final = 1400
LIMIT: Final = 1 << 30
HEADER: Final = 8
LENGTH: Final = 2
# Around the ends of one and of two frames.
BOUNDARIES: Final = [
    multiple * FRAME + offset for multiple in (1, 2) for offset in range(-24, 5)
]
AGREED: Final = Guarantee.AGREED


def outbox(messages: Iterable[bytes], frameBytes: int = FRAME) -> Outbox:
    """
    An outbox in which C{messages} wait.
    """
    box = Outbox(frameBytes, LIMIT)
    for message in messages:
        assert box.add(message, AGREED)
    return box


def frames(box: Outbox) -> Iterator[bytes]:
    """
    Everything that waits, frame by frame.
    """
    while box.frames():
        yield box.take()[0]


def packed(messages: Iterable[bytes], frameBytes: int = FRAME) -> list[bytes]:
    """
    The frames of some messages.
    """
    return list(frames(outbox(messages, frameBytes)))


def deliver(
    assembly: Assembly, payloads: Iterable[bytes], nodeid: int = 1
) -> list[bytes]:
    """
    What some frames of one sender complete.
    """
    return [
        message
        for payload in payloads
        for message in assembly.frameDelivered(nodeid, payload, "<")
    ]


def content(size: int, seed: int = 0) -> bytes:
    """
    A message in which no piece can be taken for another.
    """
    return Random(size * 1000 + seed).randbytes(size)


class PackedTests(SynchronousTestCase):
    """
    One packed frame.
    """

    def test_layout(self) -> None:
        """
        Header, lengths, chunks; nothing else.
        """
        frame = Packed([b"abc", b"", b"de"], 7, 3)
        data = bytes.fromhex("0000 0000 07 03 0300 0300 0000 0200 6162636465")
        self.assertEqual(frame.encode(), data)
        self.assertEqual(Packed.decode(data, "<"), frame)

    def test_bigEndian(self) -> None:
        """
        A sender of the other byte order swaps count and lengths.
        """
        frame = Packed([b"abc"], byteOrder=">")
        data = bytes.fromhex("0000 0000 00 00 0001 0003 616263")
        self.assertEqual(frame.encode(), data)
        self.assertEqual(Packed.decode(data, ">"), frame)

    @thorough
    @given(strategies.packedFrames)
    def test_roundTrip(self, frame: Packed) -> None:
        """
        Decoding what was encoded gives the same frame.
        """
        data = frame.encode()
        self.assertEqual(Packed.decode(data, frame.byteOrder), frame)
        self.assertEqual(Packed.announced(data, frame.byteOrder), len(data))

    @thorough
    @given(strategies.packedFrames, st.data())
    def test_prefix(self, frame: Packed, data: st.DataObject) -> None:
        """
        No prefix of a frame is a frame.
        """
        encoded = frame.encode()
        size = data.draw(st.integers(0, len(encoded) - 1))
        with self.assertRaises(TruncatedFrame):
            Packed.decode(encoded[:size], frame.byteOrder)

    @thorough
    @given(strategies.packedFrames, st.binary(min_size=1, max_size=20))
    def test_extension(self, frame: Packed, more: bytes) -> None:
        """
        Nothing may follow a frame; but it says where it would end.
        """
        encoded = frame.encode()
        with self.assertRaises(OversizedFrame):
            Packed.decode(encoded + more, frame.byteOrder)
        announced = Packed.announced(encoded + more, frame.byteOrder)
        self.assertEqual(announced, len(encoded))

    def test_noChunk(self) -> None:
        """
        A frame without a chunk, with breaks or without, is none.
        """
        for breaks in ("0000", "0100", "0001", "0101"):
            with self.assertRaises(BadCount):
                Packed.decode(bytes.fromhex(f"0000 0000 {breaks} 0000"), "<")

    def test_versionAndType(self) -> None:
        """
        Both are 0.
        """
        for start in ("0100 0000", "0000 0100", "ffff 0000", "0000 ffff"):
            with self.assertRaises(UnknownFrame):
                Packed.decode(bytes.fromhex(f"{start} 0000 0100 0000"), "<")

    def test_damage(self) -> None:
        """
        Nothing but a L{WireError} comes of damage, and what is taken is a
        frame like any other.
        """
        valid = [
            Packed([b"abc", b"", b"de"], 7, 3).encode(),
            Packed([bytes(300)], 255, 254).encode(),
        ]
        for data in [
            *strategies.hardened(valid[0]),
            *strategies.damaged(valid, Random(2)),
        ]:
            try:
                frame = Packed.decode(data, "<")
            except WireError:
                continue
            self.assertEqual(frame.encode(), data)


class OutboxTests(SynchronousTestCase):
    """
    What waits, and how it is packed.
    """

    def test_empty(self) -> None:
        """
        Nothing waits at first, and nothing can be taken.
        """
        box = Outbox(FRAME, LIMIT)
        self.assertEqual(box.frames(), 0)
        with self.assertRaises(LookupError):
            box.take()

    def test_smallMessagesShareFrame(self) -> None:
        """
        Messages that fit together travel together.
        """
        (frame,) = packed([b"one", b"two", b"three"])
        self.assertEqual(Packed.decode(frame, "<").chunks, [b"one", b"two", b"three"])

    def test_framesAreFull(self) -> None:
        """
        Every frame but the last is filled to the last byte, or leaves no more
        room than the length of one more chunk needs.
        """
        random = Random(3)
        messages = [content(random.choice([0, 40, 300, 5000])) for _ in range(200)]
        sent = packed(messages)
        for frame in sent[:-1]:
            self.assertLessEqual(len(frame), FRAME)
            self.assertGreaterEqual(len(frame), FRAME - LENGTH)

    def test_split(self) -> None:
        """
        A long message is broken; every break has a number, and the piece after
        it repeats that.
        """
        sent = [Packed.decode(frame, "<") for frame in packed([content(5189)])]
        self.assertEqual(
            [(f.continuation, f.fragmented, len(f.chunks[0])) for f in sent],
            [(0, 1, SINGLE), (1, 2, SINGLE), (2, 3, SINGLE), (3, 0, 989)],
        )

    def test_tailAndStartShareFrame(self) -> None:
        """
        The end of a message and the start of the next one are in one frame,
        and its two breaks have different numbers.
        """
        sent = [Packed.decode(f, "<") for f in packed([content(2000), content(2000)])]
        self.assertEqual(len(sent), 3)
        middle = sent[1]
        self.assertEqual(len(middle.chunks), 2)
        self.assertNotEqual(middle.continuation, middle.fragmented)

    def test_breaksWrap(self) -> None:
        """
        Breaks are numbered 1 to 255 and again from 1; 0 is none of them.
        """
        size = SINGLE * (2 * LAST_BREAK + 1)
        sent = [Packed.decode(frame, "<") for frame in packed([content(size)])]
        numbers = [frame.fragmented for frame in sent]
        once = list(range(1, LAST_BREAK + 1))
        self.assertEqual(numbers, [*once, *once, 0])
        self.assertEqual([f.continuation for f in sent], [0, *numbers[:-1]])

    def test_estimate(self) -> None:
        """
        The number of frames is right to within one for each two that go out,
        and is 0 exactly when nothing is left.
        """
        random = Random(4)
        for _ in range(50):
            messages = [content(random.randrange(3000)) for _ in range(20)]
            box = outbox(messages)
            estimate = box.frames()
            real = len(list(frames(box)))
            self.assertLessEqual(abs(estimate - real), real // 2)
            self.assertEqual((box.frames(), real > 0), (0, True))

    def test_emptyMessageWaits(self) -> None:
        """
        A message of no bytes is a message.
        """
        box = outbox([b""])
        self.assertEqual(box.frames(), 1)
        self.assertEqual(deliver(Assembly(), frames(box)), [b""])

    def test_room(self) -> None:
        """
        A message of as many bytes as there is room for is taken, and one of
        a byte more is not, in whole or in part.
        """
        for waiting in ([], [bytes(10)], [bytes(1000), b""]):
            box = Outbox(FRAME, 4000)
            for message in waiting:
                box.add(message, AGREED)
            room = box.room()
            self.assertFalse(box.add(bytes(room + 1), AGREED))
            self.assertEqual(box.room(), room)
            self.assertTrue(box.add(bytes(room), AGREED))
            self.assertLess(box.room(), 0)
            self.assertFalse(box.add(b"", AGREED))

    def test_roomComesBack(self) -> None:
        """
        What was taken no longer counts, be it part of a message only.
        """
        box = Outbox(FRAME, 6000)
        empty = box.room()
        box.add(bytes(5000), AGREED)
        before = box.room()
        box.take()
        self.assertEqual(box.room(), before + SINGLE)
        for _ in frames(box):
            pass
        self.assertEqual(box.room(), empty)

    def test_guarantee(self) -> None:
        """
        On the wire a frame is safe when anything in it is, and agreed
        otherwise.
        """
        box = Outbox(FRAME, LIMIT)
        for guarantee in (AGREED, Guarantee.FIFO):
            box.add(b"x", guarantee)
        self.assertEqual(box.take()[1], 0)
        box.add(b"x", AGREED)
        box.add(bytes(2000), Guarantee.SAFE)
        box.add(b"x", AGREED)
        self.assertEqual([box.take()[1], box.take()[1]], [1, 1])
        box.add(b"x", AGREED)
        self.assertEqual(box.take()[1], 0)

    def test_frameBytes(self) -> None:
        """
        Frames too small for any message, or larger than a datagram, are a
        mistake of ours.
        """
        for size in (0, HEADER + LENGTH, 65537):
            with self.assertRaises(ValueError):
                Outbox(size, LIMIT)


class RoundTripTests(SynchronousTestCase):
    """
    A reassembled message is what was sent, byte for byte.  [PG1]
    """

    def check(self, messages: list[bytes], frameBytes: int = FRAME) -> None:
        assembly = Assembly()
        box = outbox(messages, frameBytes)
        received = []
        for frame in frames(box):
            self.assertLessEqual(len(frame), frameBytes)
            received += deliver(assembly, [frame])
        self.assertEqual(received, messages)
        self.assertEqual((assembly.dropped, assembly.discarded), (0, 0))

    @thorough
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(BOUNDARIES),
                st.integers(0, 200),
                st.integers(0, 200_000),
            ),
            max_size=12,
        ),
        st.sampled_from([100, FRAME, 8900, 65446]),
    )
    def test_anySizes(self, sizes: list[int], frameBytes: int) -> None:
        """
        Any messages, in frames of any size.
        """
        self.check([content(n, i) for i, n in enumerate(sizes)], frameBytes)

    def test_boundaries(self) -> None:
        """
        Messages that end just before, at and after the end of a frame, all
        pairs.  [G3]
        """
        pieces = {size: content(size) for size in BOUNDARIES}
        for pair in product(BOUNDARIES, repeat=2):
            self.check([pieces[size] for size in pair])

    def test_triplesAtEnd(self) -> None:
        """
        Three messages that end at the end of a frame, all triples.  [G3]
        """
        sizes = [k * FRAME + d for k in (1, 2) for d in range(-14, -7)]
        pieces = {size: content(size) for size in sizes}
        for triple in product(sizes, repeat=3):
            self.check([pieces[size] for size in triple])

    def test_largest(self) -> None:
        """
        The largest message, then one that starts in its last frame, then a
        small one.  [G4]
        """
        self.check([content((1 << 20) - 1024), content(300_000), content(10)])

    def test_manySplit(self) -> None:
        """
        A thousand broken messages back to back: break numbers wrap many
        times.  [G7]
        """
        self.check([content(SINGLE + 100, n) for n in range(1000)])

    def test_addedLater(self) -> None:
        """
        Messages may be added between any two frames.
        """
        random = Random(5)
        messages = [content(random.choice([0, 10, 3000, 9000]), n) for n in range(99)]
        box = Outbox(FRAME, LIMIT)
        waiting = iter(messages)
        assembly = Assembly()
        received: list[bytes] = []
        for message in waiting:
            box.add(message, AGREED)
            if box.frames() and random.random() < 0.7:
                received += deliver(assembly, [box.take()[0]])
        received += deliver(assembly, frames(box))
        self.assertEqual(received, messages)


class OrderTests(SynchronousTestCase):
    """
    Several senders at once.
    """

    @thorough
    @given(st.randoms(use_true_random=False))
    def test_interleaved(self, random: Random) -> None:
        """
        Each sender's messages arrive in its order, whatever the others send
        in between.
        """
        sent = {
            nodeid: [
                content(random.choice([0, 50, 1400, 4000]), nodeid * 100 + n)
                for n in range(5)
            ]
            for nodeid in (1, 2, 3)
        }
        waiting = {nodeid: packed(messages) for nodeid, messages in sent.items()}
        received: dict[int, list[bytes]] = {nodeid: [] for nodeid in sent}
        assembly = Assembly()
        while waiting:
            nodeid = random.choice(sorted(waiting))
            frame = waiting[nodeid].pop(0)
            received[nodeid] += deliver(assembly, [frame], nodeid)
            waiting = {node: left for node, left in waiting.items() if left}
        self.assertEqual(received, sent)

    def test_orderOfCompletion(self) -> None:
        """
        Messages complete in the order of their last pieces.  [PG4]
        """
        long, short = content(3000), content(5)
        first, second, third = packed([long])
        (other,) = packed([short])
        assembly = Assembly()
        self.assertEqual(deliver(assembly, [first, second], 1), [])
        self.assertEqual(deliver(assembly, [other], 2), [short])
        self.assertEqual(deliver(assembly, [third], 1), [long])

    def test_byteOrders(self) -> None:
        """
        Each sender's byte order is its own.
        """
        assembly = Assembly()
        big = [
            Packed([b"left "], fragmented=1, byteOrder=">").encode(),
            Packed([b"right", b"x"], continuation=1, byteOrder=">").encode(),
        ]
        self.assertEqual(assembly.frameDelivered(1, big[0], ">"), [])
        self.assertEqual(deliver(assembly, packed([b"y"]), 2), [b"y"])
        self.assertEqual(assembly.frameDelivered(1, big[1], ">"), [b"left right", b"x"])


class LostStartTests(SynchronousTestCase):
    """
    Whoever comes in the middle of a message gets everything that starts
    later.
    """

    def test_joinMidChain(self) -> None:
        """
        Only the message whose start was missed is lost, whichever frame comes
        first.  [G1] [PG3]
        """
        messages = [content(4000, n) for n in range(4)]
        sent = packed(messages)
        starts = [0, 2, 5, 8]  # The frames in which the messages start.
        for missed in range(1, len(sent)):
            later = [m for m, at in zip(messages, starts, strict=True) if at >= missed]
            assembly = Assembly()
            self.assertEqual(deliver(assembly, sent[missed:]), later)
            self.assertEqual(assembly.dropped, 0)

    def test_discardIsPerSender(self) -> None:
        """
        A sender whose start was missed takes nothing from the others.  [G2]
        """
        theirs = packed([content(4000)])[1:]
        ours = [content(4000, n) for n in range(2)]
        assembly = Assembly()
        received = []
        for one, other in zip(theirs, packed(ours), strict=False):
            self.assertEqual(deliver(assembly, [one], 1), [])
            received += deliver(assembly, [other], 2)
        received += deliver(assembly, packed(ours)[len(theirs) :], 2)
        self.assertEqual(received, ours)
        self.assertEqual(assembly.discarded, len(theirs))

    def test_completeInSameFrame(self) -> None:
        """
        Complete messages behind the end of a missed one are delivered.
        """
        frame = Packed([b"tail", b"whole", b"more"], continuation=9).encode()
        assembly = Assembly()
        self.assertEqual(deliver(assembly, [frame]), [b"whole", b"more"])
        self.assertEqual(assembly.discarded, 1)

    def test_otherBreak(self) -> None:
        """
        A piece with another number than the last break is no continuation:
        never are pieces of two messages put together.
        """
        first = Packed([b"start"], fragmented=3).encode()
        wrong = Packed([b"end", b"whole"], continuation=4).encode()
        assembly = Assembly()
        self.assertEqual(deliver(assembly, [first, wrong]), [b"whole"])
        self.assertEqual((assembly.dropped, assembly.discarded), (1, 1))

    def test_lostInMiddle(self) -> None:
        """
        When a frame in the middle is missing, two messages at most are lost,
        and later ones are not.
        """
        messages = [content(4000, n) for n in range(5)]
        sent = packed(messages)
        for missing in range(1, len(sent) - 1):
            rest = sent[:missing] + sent[missing + 1 :]
            received = deliver(Assembly(), rest)
            self.assertGreaterEqual(len(received), 3)
            self.assertEqual(received, [m for m in messages if m in received])


class DepartedTests(SynchronousTestCase):
    """
    What a sender began dies with it.
    """

    def test_nextLife(self) -> None:
        """
        Nothing of an old life is put before what a sender sends after its
        return.  [G5] [PG2]
        """
        old, new = content(200_000, 1), content(200_000, 2)
        sent = packed([old])
        assembly = Assembly()
        deliver(assembly, sent[: len(sent) // 2])
        assembly.departed([1])
        self.assertEqual(assembly.dropped, 1)
        self.assertEqual(deliver(assembly, packed([new])), [new])
        self.assertEqual(assembly.dropped, 1)

    def test_rest(self) -> None:
        """
        The rest of what a departed sender began is nothing.
        """
        sent = packed([content(3000)])
        assembly = Assembly()
        deliver(assembly, sent[:1])
        assembly.departed([1])
        self.assertEqual(deliver(assembly, sent[1:]), [])

    def test_others(self) -> None:
        """
        Those who stay, and those who were never heard, lose nothing.
        """
        message = content(3000)
        sent = packed([message])
        assembly = Assembly()
        deliver(assembly, sent[:1], 1)
        assembly.departed([2, 3])
        self.assertEqual(deliver(assembly, sent[1:], 1), [message])

    def test_manySenders(self) -> None:
        """
        One who lies about who sends cannot have more open than a ring has
        senders; whoever began last is not the one given up.
        """
        start, rest = packed([content(2000)])
        assembly = Assembly()
        for nodeid in range(3 * MOST_MEMBERS):
            deliver(assembly, [start], nodeid)
        self.assertEqual(assembly.dropped, 2 * MOST_MEMBERS)
        self.assertEqual(deliver(assembly, [rest], 2 * MOST_MEMBERS - 1), [])
        whole = deliver(assembly, [rest], 3 * MOST_MEMBERS - 1)
        self.assertEqual(whole, [content(2000)])

    def test_bothSets(self) -> None:
        """
        Open messages of both sets are forgotten.
        """
        sent = packed([content(3000)])
        assembly = Assembly()
        deliver(assembly, sent[:1])
        assembly.useTransitional(True)
        deliver(assembly, sent[:1])
        assembly.departed([1])
        self.assertEqual(assembly.dropped, 2)
        self.assertEqual(deliver(assembly, sent[1:]), [])
        assembly.useTransitional(False)
        self.assertEqual(deliver(assembly, sent[1:]), [])


class TransitionalTests(SynchronousTestCase):
    """
    Two sets of open messages.
    """

    def test_apart(self) -> None:
        """
        What is open in one set waits there while the other is in use.
        """
        ordinary, between = content(3000, 1), content(3000, 2)
        first, *rest = packed([ordinary])
        assembly = Assembly()
        deliver(assembly, [first])
        assembly.useTransitional(True)
        self.assertEqual(deliver(assembly, packed([between])), [between])
        assembly.useTransitional(False)
        self.assertEqual(deliver(assembly, rest), [ordinary])
        self.assertEqual(assembly.dropped, 0)


class RestartTests(SynchronousTestCase):
    """
    A message cut by a membership change is sent again whole.
    """

    def test_again(self) -> None:
        """
        Who has the start, and who has nothing, both get the message once, and
        in one piece.  [G11]
        """
        message, later = content(5000), content(10)
        for taken in (1, 2, 3):
            box = outbox([message, later])
            before = [box.take()[0] for _ in range(taken)]
            box.restart()
            after = list(frames(box))
            for start in (before, []):
                assembly = Assembly()
                self.assertEqual(deliver(assembly, start), [])
                received = deliver(assembly, after)
                self.assertEqual(received, [NOTHING, message, later])
                self.assertEqual(assembly.dropped, len(start[:1]))

    def test_first(self) -> None:
        """
        A frame goes first that continues nothing and breaks nothing, and has
        nothing in it that anybody would miss.
        """
        box = outbox([content(5000)])
        box.take()
        box.restart()
        frame, guarantee = box.take()
        self.assertEqual(Packed.decode(frame, "<"), Packed([NOTHING]))
        self.assertEqual(guarantee, 0)
        self.assertEqual(Packed.decode(box.take()[0], "<").continuation, 0)

    def test_whole(self) -> None:
        """
        When no message was cut, nothing is sent again.
        """
        for sizes in ([], [10], [5000]):
            box = outbox([content(size) for size in sizes])
            waiting = box.frames()
            box.restart()
            self.assertEqual(box.frames(), waiting)
            self.assertEqual(
                deliver(Assembly(), frames(box)), [content(size) for size in sizes]
            )

    def test_completeStay(self) -> None:
        """
        Messages that were taken whole are not sent again, also when they were
        in one frame with the start of the cut one.
        """
        box = outbox([b"small", content(5000)])
        before = deliver(Assembly(), [box.take()[0]])
        box.restart()
        self.assertEqual(before, [b"small"])
        self.assertEqual(deliver(Assembly(), frames(box)), [NOTHING, content(5000)])

    def test_twice(self) -> None:
        """
        The ring may change again at any time.
        """
        box = outbox([content(5000)])
        box.take()
        box.restart()
        box.restart()
        box.take()
        box.take()
        box.restart()
        sent = list(frames(box))
        self.assertEqual(deliver(Assembly(), sent), [NOTHING, content(5000)])

    def test_room(self) -> None:
        """
        What has to be sent again takes room again, even where more was
        accepted in between.
        """
        box = Outbox(FRAME, 6000)
        box.add(content(5000), AGREED)
        before = box.room()
        box.take()
        box.add(content(1500), AGREED)
        box.restart()
        self.assertEqual(box.room(), before - 1500 - LENGTH)
        self.assertFalse(box.add(b"", AGREED))
        received = deliver(Assembly(), frames(box))
        self.assertEqual(received, [NOTHING, content(5000), content(1500)])
        self.assertEqual(box.room(), 6000 - LENGTH)


class MalformedTests(SynchronousTestCase):
    """
    Frames no correct sender sends.
    """

    def test_malformedDropsPartial(self) -> None:
        """
        A malformed frame costs its sender the open message, and nobody else
        anything.
        """
        message = content(3000)
        sent = packed([message])
        assembly = Assembly()
        deliver(assembly, sent[:1], 1)
        deliver(assembly, sent[:1], 2)
        with self.assertRaises(WireError):
            assembly.frameDelivered(1, sent[1][:-1], "<")
        self.assertEqual(assembly.dropped, 1)
        self.assertEqual(deliver(assembly, sent[1:], 1), [])
        self.assertEqual(deliver(assembly, sent[1:], 2), [message])

    def test_bound(self) -> None:
        """
        An open message may be as long as the bound, and not a byte longer.
        """
        for excess in (0, 1):
            assembly = Assembly()
            pieces = [bytes(65000)] * (REASSEMBLY_BYTES // 65000)
            pieces.append(bytes(REASSEMBLY_BYTES % 65000 + excess))
            sent = [
                Packed([piece], at % 255 + 1, (at - 1) % 255 + 1 if at else 0)
                for at, piece in enumerate(pieces)
            ]
            sent[-1].fragmented = 0
            payloads = [frame.encode() for frame in sent]
            self.assertEqual(deliver(assembly, payloads[:-1]), [])
            if excess:
                with self.assertRaises(OversizedFrame):
                    assembly.frameDelivered(1, payloads[-1], "<")
                self.assertEqual(assembly.dropped, 1)
            else:
                (message,) = deliver(assembly, payloads[-1:])
                self.assertEqual(len(message), REASSEMBLY_BYTES)

    def test_afterBound(self) -> None:
        """
        A sender that exceeded the bound is heard again with its next message.
        """
        assembly = Assembly()
        sent = packed([content(REASSEMBLY_BYTES + 1), b"next"])
        received = []
        refused = 0
        for frame in sent:
            try:
                received += assembly.frameDelivered(1, frame, "<")
            except OversizedFrame:
                refused += 1
        received += deliver(assembly, packed([b"later"]))
        self.assertEqual((refused, received[-1]), (1, b"later"))

    @thorough
    @given(st.randoms(use_true_random=False))
    def test_damage(self, random: Random) -> None:
        """
        Whatever comes, only L{WireError} is raised, open messages stay within
        the bound, and an undamaged message still gets through afterwards.
        """
        sent = packed([content(4000, n) for n in range(4)])
        assembly = Assembly()
        for _ in range(20):
            data = bytearray(random.choice(sent))
            data[random.randrange(12)] = random.randrange(256)
            try:
                assembly.frameDelivered(1, bytes(data), "<")
            except WireError:
                continue
        self.assertEqual(deliver(assembly, packed([b"fine"])), [b"fine"])
