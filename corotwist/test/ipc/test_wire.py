"""
What is common to all commands.
"""

from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist import errors
from corotwist.budget import Budget
from corotwist.engines.interfaces import ViewId
from corotwist.errors import InvalidParameter, ServiceError, TooBig, TryAgain
from corotwist.ipc.wire import (
    ERRORS,
    PART_BYTES,
    Hello,
    Numbers,
    Partials,
    Unsigned,
    ViewIdentity,
    parts,
    unsigned,
)
from corotwist.totem.membership import RingId


class ManyPartsTests(SynchronousTestCase):
    """
    L{Partials} against a client that says little in many words.
    """

    def test_emptyParts(self) -> None:
        """
        Parts without bytes, or of one byte each, take no more room than their
        bytes do.
        """
        partials = Partials()
        for number in range(10_000):
            partials.partReceived(1, number, b"", more=True)
        before = sum(map(getsizeof, partials._streams[1]))
        self.assertLess(before, 1000)
        for number in range(10_000, 20_000):
            partials.partReceived(1, number, b"x", more=True)
        self.assertLess(sum(map(getsizeof, partials._streams[1])), 20_000)
        whole = partials.partReceived(1, 20_000, b"y", more=False)
        self.assertEqual(whole, b"x" * 10_000 + b"y")


class UnsignedTests(SynchronousTestCase):
    """
    L{Unsigned} and L{unsigned}.
    """

    @given(st.integers(0, 2**64 - 1))
    def test_roundTrip(self, number: int) -> None:
        """
        Every number of its size survives.
        """
        argument = Unsigned(64)
        self.assertEqual(argument.fromString(argument.toString(number)), number)

    def test_refuses(self) -> None:
        """
        Signs, blanks, underscores, other digits, other bases, numbers too
        large and nothing at all are no numbers, though Python takes some.
        """
        for digits in (
            b"", b"-1", b"+1", b" 1", b"1_0", b"0x1", b"1.0", b"\xb2",
            b"4294967296", b"9" * 21, b"9" * 5000,
        ):  # fmt: skip
            self.assertRaises(InvalidParameter, unsigned, digits, 32)
        self.assertEqual(unsigned(b"4294967295", 32), 2**32 - 1)


class NumbersTests(SynchronousTestCase):
    """
    L{Numbers}.
    """

    @given(st.lists(st.integers(0, 2**32 - 1)))
    def test_roundTrip(self, numbers: list[int]) -> None:
        """
        Numbers survive; four bytes each, the lowest first.
        """
        data = Numbers().toString(tuple(numbers))
        self.assertEqual(Numbers().fromString(data), tuple(numbers))
        self.assertEqual(
            data[:4], b"".join(n.to_bytes(4, "little") for n in numbers[:1])
        )

    def test_cutShort(self) -> None:
        """
        A number cut in two is refused.
        """
        self.assertRaises(InvalidParameter, Numbers().fromString, b"12345")


class ViewIdentityTests(SynchronousTestCase):
    """
    L{ViewIdentity}.
    """

    @given(
        st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
    )
    def test_roundTrip(self, sequence: int, representative: int, number: int) -> None:
        """
        Every view's name survives; anything of another length is none.
        """
        viewId = ViewId(RingId(sequence, representative), number)
        data = ViewIdentity().toString(viewId)
        self.assertEqual(ViewIdentity().fromString(data), viewId)
        for wrong in (data[:-1], data + b"\0", b""):
            self.assertRaises(InvalidParameter, ViewIdentity().fromString, wrong)


class ErrorsTests(SynchronousTestCase):
    """
    L{ERRORS}.
    """

    def test_complete(self) -> None:
        """
        Every error of a service crosses, each under a code of its own.
        """
        kinds = [
            kind
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, ServiceError)
        ]
        self.assertEqual(set(ERRORS), set(kinds))
        self.assertEqual(len(set(ERRORS.values())), len(kinds))

    def test_order(self) -> None:
        """
        AMP takes the first class that fits, so none comes after its base.
        """
        kinds = list(ERRORS)
        for n, kind in enumerate(kinds):
            for later in kinds[n + 1 :]:
                self.assertFalse(issubclass(later, kind), (kind, later))

    def test_commandsCarryThem(self) -> None:
        """
        A command names them all.
        """
        self.assertEqual(Hello.errors, ERRORS)


class PartialsTests(SynchronousTestCase):
    """
    L{parts} and L{Partials}.
    """

    @given(st.binary(max_size=100), st.integers(1, 30))
    def test_roundTrip(self, data: bytes, limit: int) -> None:
        """
        Cut and put together again is the same, at any size of the parts.
        """
        partials = Partials()
        wholes = []
        for number, more, part in parts(data, limit):
            self.assertLessEqual(len(part), limit)
            wholes.append(partials.partReceived(1, number, part, more=more))
        self.assertEqual(wholes, [None] * (len(wholes) - 1) + [data])

    def test_partsFitAmp(self) -> None:
        """
        Of a large value every part but the last is as large as we allow.
        """
        sizes = [len(part) for _, _, part in parts(b"x" * (2 * PART_BYTES + 1))]
        self.assertEqual(sizes, [PART_BYTES, PART_BYTES, 1])

    def test_interleaved(self) -> None:
        """
        Streams do not disturb each other.
        """
        partials = Partials()
        partials.partReceived(1, 0, b"a", more=True)
        partials.partReceived(2, 0, b"x", more=True)
        self.assertEqual(partials.partReceived(1, 1, b"b", more=False), b"ab")
        self.assertEqual(partials.partReceived(2, 1, b"y", more=False), b"xy")

    def test_outOfTurn(self) -> None:
        """
        A part missing, twice, or of a stream not begun: refused, and the
        stream is forgotten with what it held.
        """
        for numbers in ((0, 2), (0, 0), (1,), (0, 1, 1)):
            partials = Partials()
            for number in numbers[:-1]:
                partials.partReceived(1, number, b"abc", more=True)
            with self.assertRaises(InvalidParameter):
                partials.partReceived(1, numbers[-1], b"abc", more=True)
            with self.assertRaises(InvalidParameter):
                partials.partReceived(1, len(numbers), b"abc", more=True)
            self.assertEqual(partials._bytes, 0)

    def test_tooMany(self) -> None:
        """
        The number of streams is bounded; those begun can be finished.
        """
        partials = Partials(limitStreams=2)
        partials.partReceived(1, 0, b"a", more=True)
        partials.partReceived(2, 0, b"b", more=True)
        with self.assertRaises(InvalidParameter):
            partials.partReceived(3, 0, b"c", more=True)
        self.assertEqual(partials.partReceived(1, 1, b"", more=False), b"a")
        partials.partReceived(3, 0, b"c", more=True)

    def test_budget(self) -> None:
        """
        What is kept of parts is taken from a budget, and given back.  (A109)
        """
        whole = Budget("node", 100)
        partials = Partials(budget=Budget("client", 1000, whole))
        partials.partReceived(1, 0, bytes(60), more=True)
        partials.partReceived(2, 0, bytes(30), more=True)
        self.assertRaises(TryAgain, partials.partReceived, 2, 1, bytes(20), more=True)
        self.assertEqual(whole.used, 60)
        self.assertEqual(partials.partReceived(1, 1, b"", more=False), bytes(60))
        self.assertEqual(whole.used, 0)
        partials.partReceived(3, 0, bytes(90), more=True)
        partials.clear()
        self.assertEqual(whole.used, 0)

    def test_tooLarge(self) -> None:
        """
        The bytes of all streams together are bounded; a stream that goes
        beyond gives back what it held.
        """
        partials = Partials(limitBytes=10)
        partials.partReceived(1, 0, b"a" * 6, more=True)
        partials.partReceived(2, 0, b"b" * 4, more=True)
        with self.assertRaises(TooBig):
            partials.partReceived(1, 1, b"a", more=False)
        self.assertEqual(partials._bytes, 4)
        partials.partReceived(2, 1, b"b" * 6, more=True)
        partials.clear()
        self.assertEqual(partials._bytes, 0)
