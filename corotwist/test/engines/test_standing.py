"""
Tests of who goes on with the last quorate view.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.compact import Header, Kind
from corotwist.engines.interfaces import ViewId
from corotwist.engines.standing import Side, Standing, Standings
from corotwist.errors import TruncatedFrame
from corotwist.totem.membership import RingId

OLD, NEW = ViewId(RingId(4, 1), 1), ViewId(RingId(8, 1), 0)
NUMBERS = st.integers(0, (1 << 32) - 1)
SIDES = st.builds(
    Side,
    st.builds(
        ViewId, st.builds(RingId, st.integers(0, (1 << 64) - 1), NUMBERS), NUMBERS
    ),
    st.booleans(),
    NUMBERS,
    NUMBERS.map(lambda lowest: -lowest),
)


class StandingTests(SynchronousTestCase):
    """
    What members of a ring say, and what follows.
    """

    def goesOn(self, *sides: Side) -> list[bool]:
        """
        Which of these do.
        """
        standings = Standings()
        for nodeid, side in enumerate(sides, 1):
            standings.heard(nodeid, Standing(RingId(12, 1), side, fresh=False))
        return [standings.goesOn(side) for side in sides]

    def test_layout(self) -> None:
        """
        The bytes, as protocol-compact.md has them.
        """
        side = Side.of(ViewId(RingId(0x0102, 7), 3), (5, 6), direct=True)
        body = Standing(RingId(1, 1), side, fresh=True).encode()
        self.assertEqual(
            body.hex(),
            "0701000001000000"
            "0100000000000000"
            "03"
            "0201000000000000"
            "07000000"
            "03000000"
            "02000000"
            "05000000",
        )

    @given(SIDES, st.booleans(), st.binary(max_size=3))
    def test_roundTrip(self, side: Side, fresh: bool, more: bytes) -> None:
        """
        What is said is understood; bytes behind it are a later version's, and
        fewer are an error.
        """
        standing = Standing(RingId(9, 9), side, fresh)
        body = standing.encode()
        header = Header.decode(body)
        self.assertEqual(header.kind, Kind.STANDING)
        self.assertEqual(Standing.decode(header, body + more), standing)
        self.assertRaises(TruncatedFrame, Standing.decode, header, body[:-1])

    def test_later(self) -> None:
        """
        Who was in a later quorate view goes on, however few they are.
        """
        few = Side.of(NEW, (9,), direct=False)
        many = Side.of(OLD, (1, 2, 3), direct=True)
        self.assertEqual(self.goesOn(few, many), [True, False])

    def test_direct(self) -> None:
        """
        Of parts of one view, that which was in no other since.
        """
        direct = Side.of(OLD, (9,), direct=True)
        other = Side.of(OLD, (1, 2, 3), direct=False)
        self.assertEqual(self.goesOn(direct, other), [True, False])

    def test_larger(self) -> None:
        """
        Of those, the larger one, or that with the lowest nodeid: never two.
        """
        pair = Side.of(OLD, (3, 4), direct=True)
        self.assertEqual(
            self.goesOn(Side.of(OLD, (1,), direct=True), pair), [False, True]
        )
        first = Side.of(OLD, (1, 9), direct=True)
        self.assertEqual(self.goesOn(first, pair, first), [True, False, True])

    def test_alone(self) -> None:
        """
        Where nobody says anything, as among nodes of older releases, we go on;
        what was said on another ring is forgotten.
        """
        standings = Standings()
        standings.heard(
            1, Standing(RingId(1, 1), Side.of(NEW, (1,), direct=True), True)
        )
        self.assertTrue(standings.isFresh(1))
        standings.forget()
        self.assertTrue(standings.goesOn(Side.of(OLD, (2,), direct=True)))
        self.assertFalse(standings.isFresh(1))
