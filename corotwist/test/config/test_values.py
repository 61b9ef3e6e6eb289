"""
L{corotwist.config.values}.
"""

from math import inf, nan

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.values import (
    LARGEST_VALUE,
    Content,
    Value,
    ValueType,
    binary,
    dbl,
    flt,
    i32,
    string,
    u8,
    u16,
    u32,
    u64,
)
from corotwist.errors import InvalidParameter
from corotwist.test.config.strategies import values
from corotwist.test.strategies import thorough

WHOLE = [kind for kind in ValueType if kind.bits]


class ValueTypeTests(SynchronousTestCase):
    def test_labels(self) -> None:
        """
        Types have corosync's numbers and short names.  (A14)
        """
        self.assertEqual(
            " ".join(kind.label for kind in ValueType),
            "i8 u8 i16 u16 i32 u32 i64 u64 flt dbl str bin",
        )
        self.assertEqual([kind.value for kind in ValueType], list(range(1, 13)))
        for kind in ValueType:
            self.assertIs(ValueType.labelled(kind.label), kind)

    def test_unknownLabel(self) -> None:
        """
        What is no type is refused, with what would be one.
        """
        error = self.assertRaises(InvalidParameter, ValueType.labelled, "int")
        self.assertEqual(
            str(error),
            "'int' is no type; types are"
            " i8, u8, i16, u16, i32, u32, i64, u64, flt, dbl, str, bin",
        )

    def test_widths(self) -> None:
        """
        Whole numbers are 8 to 64 bits wide, with and without a sign; others are
        no whole numbers.
        """
        widths = [(kind.bits, kind.signed) for kind in ValueType]
        numbers = [(bits, sign) for bits in (8, 16, 32, 64) for sign in (True, False)]
        self.assertEqual(widths, numbers + [(0, False)] * 4)


class ValueTests(SynchronousTestCase):
    """
    L{Value}.
    """

    def test_ranges(self) -> None:
        """
        A whole number has its ends, and nothing beyond them can be made.  (A14)
        """
        for kind in WHOLE:
            low = -(1 << kind.bits - 1) if kind.signed else 0
            high = (1 << kind.bits - kind.signed) - 1
            for end in (low, high):
                self.assertEqual(Value(kind, end).content, end)
            for beyond in (low - 1, high + 1):
                self.assertRaises(InvalidParameter, Value, kind, beyond)
        error = self.assertRaises(InvalidParameter, u8, 256)
        self.assertEqual(str(error), "256 is no u8: 0 to 255")

    def test_otherContents(self) -> None:
        """
        What is not of the type cannot be made: text for a number, bytes for text,
        a NUL in text, what is no Unicode, more than a float holds.  (A14)
        """
        wrong: list[tuple[ValueType, Content]] = [
            (ValueType.UINT8, "1"),
            (ValueType.UINT8, 1.0),
            (ValueType.FLOAT, "1"),
            (ValueType.FLOAT, 1e39),
            (ValueType.DOUBLE, 10**400),
            (ValueType.STRING, b"x"),
            (ValueType.STRING, "a\0b"),
            (ValueType.STRING, "\ud800"),
            (ValueType.BINARY, "x"),
        ]
        for kind, content in wrong:
            error = self.assertRaises(InvalidParameter, Value, kind, content)
            self.assertIn(repr(content)[:20], str(error))

    def test_largest(self) -> None:
        """
        16 384 bytes are the most, of text in UTF-8.  (A21)
        """
        for most in (b"x" * LARGEST_VALUE, b"\xc3\xa4" * (LARGEST_VALUE // 2)):
            self.assertEqual(binary(most).raw(), most)
            self.assertEqual(string(most.decode()).raw(), most)
            self.assertRaises(InvalidParameter, binary, most + b"x")
            self.assertRaises(InvalidParameter, string, most.decode() + "x")
        self.assertEqual(LARGEST_VALUE, 16384)

    def test_raw(self) -> None:
        """
        The raw form is little endian, and text without a NUL at its end.  (A14)
        """
        for value, raw in (
            (i32(-2), b"\xfe\xff\xff\xff"),
            (u8(1), b"\x01"),
            (u16(0x102), b"\x02\x01"),
            (u32(0x1020304), b"\x04\x03\x02\x01"),
            (u64(1), b"\x01" + bytes(7)),
            (flt(1.5), b"\x00\x00\xc0\x3f"),
            (dbl(1.5), bytes(6) + b"\xf8\x3f"),
            (string("ä"), b"\xc3\xa4"),
            (binary(b"\x00a"), b"\x00a"),
        ):
            self.assertEqual(value.raw(), raw)
            self.assertEqual(Value.fromRaw(value.kind, raw), value)

    def test_rawOfOtherSize(self) -> None:
        """
        Raw numbers are as long as their types are wide.
        """
        for kind, raw in (
            (ValueType.UINT32, b"123"),
            (ValueType.UINT8, b""),
            (ValueType.FLOAT, b"12345678"),
        ):
            self.assertRaises(InvalidParameter, Value.fromRaw, kind, raw)

    def test_rawString(self) -> None:
        """
        A string ends at its first NUL, and what is no UTF-8 in it survives.
        """
        value = Value.fromRaw(ValueType.STRING, b"a\xff\0b")
        self.assertEqual(value.raw(), b"a\xff")

    @thorough
    @given(values())
    def test_roundTrips(self, value: Value) -> None:
        """
        The raw form and the text of any value make the same value again.  (A14)
        """
        self.assertEqual(Value.fromRaw(value.kind, value.raw()), value)
        self.assertEqual(Value.parse(value.kind, value.text()), value)

    def test_parse(self) -> None:
        """
        What people write: decimal numbers, bytes in hexadecimal.
        """
        self.assertEqual(Value.parse(ValueType.INT32, "-5"), i32(-5))
        self.assertEqual(Value.parse(ValueType.FLOAT, "1.5"), flt(1.5))
        self.assertEqual(Value.parse(ValueType.STRING, ""), string(""))
        self.assertEqual(Value.parse(ValueType.BINARY, "00ff"), binary(b"\x00\xff"))

    def test_unparsable(self) -> None:
        """
        Text that is not of the type is refused, however long it is.
        """
        for kind, text in (
            (ValueType.UINT32, "five"),
            (ValueType.UINT32, "1_0"),
            (ValueType.UINT32, " 1"),
            (ValueType.UINT32, "9" * 10000),
            (ValueType.UINT8, "256"),
            (ValueType.DOUBLE, "1,5"),
            (ValueType.BINARY, "0"),
        ):
            error = self.assertRaises(InvalidParameter, Value.parse, kind, text)
            self.assertLess(len(str(error)), 80)

    def test_same(self) -> None:
        """
        Values are equal when type and content are, to the last bit.
        """
        self.assertEqual(u8(1), Value(ValueType.UINT8, True))
        self.assertNotEqual(u8(1), u16(1))
        self.assertEqual(dbl(nan), dbl(float("nan")))
        self.assertEqual(dbl(-nan), dbl(nan))
        self.assertNotEqual(dbl(0.0), dbl(-0.0))
        self.assertEqual(hash(flt(0.1)), hash(flt(0.1)))

    def test_rounded(self) -> None:
        """
        A float holds what 32 bits hold.
        """
        self.assertEqual(flt(0.1).content, 0.10000000149011612)
        self.assertEqual(flt(inf).content, inf)

    def test_wraps(self) -> None:
        """
        Counting beyond one end of a type goes on at the other, as in C.  (E5)
        """
        for kind in WHOLE:
            low = -(1 << kind.bits - 1) if kind.signed else 0
            high = (1 << kind.bits - kind.signed) - 1
            self.assertEqual(Value(kind, high).adjusted(1), Value(kind, low))
            self.assertEqual(Value(kind, low).adjusted(-1), Value(kind, high))
            self.assertEqual(Value(kind, 5).adjusted(-2), Value(kind, 3))

    def test_notCounted(self) -> None:
        """
        Reals, text and bytes are not counted.  (E5)
        """
        for value in (flt(1), dbl(1), string("1"), binary(b"1")):
            self.assertRaises(InvalidParameter, value.adjusted, 1)

    @thorough
    @given(st.binary(max_size=40), st.sampled_from(list(ValueType)))
    def test_anyRaw(self, raw: bytes, kind: ValueType) -> None:
        """
        Raw bytes make a value with that raw form, or none.
        """
        try:
            value = Value.fromRaw(kind, raw)
        except InvalidParameter:
            return
        if kind is ValueType.STRING:
            raw = raw.partition(b"\0")[0]
        self.assertEqual(value.raw(), raw)
