"""
Tests of what nodes remember of whose votes count, on the wire and in a file.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.basis import MOST_ATTEMPTS, Basis, Memory
from corotwist.engines.votemessages import (
    Accept,
    NewRules,
    Remembered,
    Shrink,
    decode,
    encode,
)
from corotwist.errors import WireError

NODEIDS = st.integers(1, 6)
VOTES = st.integers(0, 5)


@st.composite
def bases(draw: st.DrawFn) -> Basis:
    voters = draw(st.dictionaries(NODEIDS, VOTES, min_size=1))
    return Basis(
        draw(st.integers(1, 9)),
        draw(st.integers(0, 30)),
        tuple(sorted(voters.items())),
        draw(st.sampled_from([0, *voters])),
    )


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    memory = Memory(draw(st.none() | bases()))
    for basis in draw(st.lists(bases(), max_size=4)):
        memory = memory.attempted(basis)
    return memory


class BasisTests(SynchronousTestCase):
    """
    Whose votes count.
    """

    @given(bases(), st.sets(NODEIDS), st.dictionaries(NODEIDS, VOTES, min_size=6))
    def test_share(self, basis: Basis, side: set[int], votes: dict[int, int]) -> None:
        """
        VQ1: of two parts without a node in common one basis permits at most
        one, if those that it has not heard of do not have more votes than it
        leaves for them.
        """
        voters = dict(basis.voters)
        left = basis.total - sum(voters.values())
        others = sum(v for n, v in votes.items() if n not in voters)
        if others > left:
            votes = {n: v for n, v in votes.items() if n in voters}
        one = {n: v for n, v in votes.items() if n in side}
        other = {n: v for n, v in votes.items() if n not in side}
        self.assertFalse(basis.permits(one) and basis.permits(other) and basis.total)

    def test_half(self) -> None:
        """
        Half is enough with the node that breaks ties.
        """
        basis = Basis(1, 4, ((1, 1), (2, 1), (3, 1), (4, 1)), 2)
        self.assertTrue(basis.permits({2: 1, 4: 1}))
        self.assertFalse(basis.permits({1: 1, 4: 1}))
        self.assertTrue(basis.permits({1: 1, 3: 1, 4: 1}))

    @given(memories(), memories())
    def test_merged(self, one: Memory, other: Memory) -> None:
        """
        What two know together is the newest answer that one knows to hold,
        and the later ones that may.
        """
        whole = Memory.merged([one, other])
        epochs = [m.formed.epoch for m in (one, other) if m.formed is not None]
        self.assertEqual(whole.formed and whole.formed.epoch, max(epochs, default=None))
        self.assertLessEqual(whole.epoch, max(one.epoch, other.epoch))
        if whole.formed is not None:
            after = whole.formed.epoch
            self.assertTrue(all(a.epoch > after for a in whole.attempts))

    def test_agreed(self) -> None:
        """
        What is formed ends what came before it, and nothing that came after.
        """
        first, second, third = (Basis(n, 3, ((n, 3),)) for n in (1, 2, 3))
        memory = Memory().attempted(first).attempted(third).attempted(second)
        self.assertEqual(memory.attempts, (first, second, third))
        self.assertEqual(memory.agreed(second), Memory(second, (third,)))

    def test_likened(self) -> None:
        """
        Of attempts that permit the same the last one stands for all; of others
        there is a bounded number.
        """
        memory = Memory()
        for epoch in range(1, 9):
            memory = memory.attempted(Basis(epoch, 3, ((1, 3),)))
        self.assertEqual([one.epoch for one in memory.attempts], [8])
        for epoch in range(9, 9 + MOST_ATTEMPTS):
            self.assertFalse(memory.full)
            memory = memory.attempted(Basis(epoch, epoch, ((1, 3),)))
            if memory.full:
                break
        self.assertTrue(memory.full)


class WireTests(SynchronousTestCase):
    """
    As bytes.
    """

    @given(memories())
    def test_memory(self, memory: Memory) -> None:
        """
        What is encoded is decoded, and no prefix of it is.
        """
        data = memory.encode()
        self.assertEqual(Memory.decode(data), memory)
        for length in range(len(data)):
            self.assertRaises(WireError, Memory.decode, data[:length])

    def test_many(self) -> None:
        """
        What several nodes know together may be more than one of them would
        attempt: it is told all the same, for who tells nothing counts as one
        who remembers nothing.  An epoch that nobody can have reached is refused.
        """
        halves = [
            Memory(None, tuple(Basis(n, n, ((1, 1),)) for n in range(start, 120, 2)))
            for start in (1, 2)
        ]
        whole = Memory.merged(halves)
        self.assertGreater(len(whole.attempts), MOST_ATTEMPTS)
        self.assertEqual(Memory.decode(whole.encode()), whole)
        self.assertTrue(whole.full)
        absurd = Memory(Basis((1 << 64) - 1, 1, ((1, 1),)))
        self.assertRaises(WireError, Memory.decode, absurd.encode())

    def test_messages(self) -> None:
        """
        So are messages; what is none is refused.
        """
        for message in (
            Remembered(Memory(Basis(1, 2, ((1, 2),)))),
            Shrink(),
            Accept(7, b"12345678"),
            NewRules(),
        ):
            self.assertEqual(decode(encode(message)), message)
        for wrong in (b"", b"\0", b"\x05", b"\x03123", b"\x01\x02\0", b"\x01\0\xff"):
            self.assertRaises(WireError, decode, wrong)

    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """
        Whatever comes is decoded or refused.
        """
        try:
            decode(data)
        except WireError:
            return
