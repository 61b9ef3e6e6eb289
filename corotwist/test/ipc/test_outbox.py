"""
Messages to batches.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.batch import OVERHEAD, pack
from corotwist.engines.interfaces import ORDINARY, Level, Terms
from corotwist.errors import TooBig, TryAgain
from corotwist.ipc.outbox import (
    PROMISES_IN_FLIGHT,
    SEND_QUEUE_BYTES,
    SENDS_IN_FLIGHT,
    SMALL_IN_FLIGHT,
    UNDERWAY_BYTES,
    Outbox,
)
from corotwist.ipc.wire import PART_BYTES
from corotwist.totem.membership import Guarantee

AGREED, SAFE = Guarantee.AGREED, Guarantee.SAFE
sends = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from([AGREED, SAFE]),
    st.sampled_from([ORDINARY, Terms(Level.ORDERED), Terms(groups=(b"h",))]),
    st.lists(st.integers(0, 70000), max_size=4),
    st.booleans(),
)


class OutboxTests(SynchronousTestCase):
    """
    L{Outbox}.
    """

    @given(st.lists(sends, max_size=12))
    def test_keepsOrder(
        self, sent: list[tuple[str, Guarantee, Terms, list[int], bool]]
    ) -> None:
        """
        However it is sent, what leaves is the same messages in the same order
        across all groups, each with its guarantee and terms, in batches that
        have either one message or fit one AMP value; and every waiting one is
        in a batch: alone, when there is more to be told of it than that the
        node has it.
        """
        outbox: Outbox[str] = Outbox()
        expected, waiting = [], []
        for owner, guarantee, terms, sizes, together in sent:
            payloads = [bytes(size) for size in sizes]
            expected += [(owner, guarantee, terms, payload) for payload in payloads]
            if together:
                waiting += outbox.addAll(owner, guarantee, payloads, terms)
            else:
                waiting += [outbox.add(owner, guarantee, p, terms) for p in payloads]
        held = sum(len(payload) + OVERHEAD for *_, payload in expected)
        self.assertEqual(outbox.heldBytes, held)
        found, fired = [], []
        while (batch := outbox.take()) is not None:
            self.assertEqual(len(pack(batch.payloads)), batch.size)
            self.assertTrue(batch.size <= PART_BYTES or len(batch.payloads) == 1)
            said = batch.owner, batch.guarantee, batch.terms
            found += [(*said, p) for p in batch.payloads]
            fired += batch.waiting
            if batch.promises:
                self.assertEqual(len(batch.waiting), 1)
            outbox.done(batch)
            outbox.returned(batch.owner, batch.size, len(batch.payloads))
        self.assertEqual(found, expected)
        self.assertEqual(len(fired), len(waiting))
        self.assertEqual(set(map(id, fired)), set(map(id, waiting)))
        self.assertEqual(outbox.heldBytes, 0)

    def test_grows(self) -> None:
        """
        While batches wait for their answers a small one waits to become
        larger, and a full one leaves unless many wait.
        """
        outbox: Outbox[str] = Outbox()
        taken = []
        for _ in range(SMALL_IN_FLIGHT):
            outbox.add("a", AGREED, b"x")
            taken.append(outbox.take())
        outbox.add("a", AGREED, b"y")
        self.assertIsNone(outbox.take())
        for _ in range(SENDS_IN_FLIGHT):
            outbox.add("a", AGREED, bytes(PART_BYTES - OVERHEAD))
        taken += [outbox.take() for _ in range(SENDS_IN_FLIGHT - SMALL_IN_FLIGHT)]
        self.assertNotIn(None, taken)
        self.assertIsNone(outbox.take())
        assert taken[0] is not None
        outbox.done(taken[0])
        self.assertIsNotNone(outbox.take())

    def test_promises(self) -> None:
        """
        Many may wait for more than the node's queue, and do not count against
        those that do not; but what is behind them waits for its turn.
        """
        outbox: Outbox[str] = Outbox()
        terms = Terms(Level.SAFE)
        for _ in range(PROMISES_IN_FLIGHT + 1):
            outbox.add("a", AGREED, b"x", terms)
        outbox.add("a", AGREED, b"y")
        taken = []
        while (batch := outbox.take()) is not None:
            taken.append(batch)
        self.assertEqual(len(taken), PROMISES_IN_FLIGHT)
        outbox.done(taken[0])
        rest = [outbox.take(), outbox.take(), outbox.take()]
        self.assertEqual([one and one.payloads for one in rest], [[b"x"], [b"y"], None])

    def test_bound(self) -> None:
        """
        Beyond the bound nothing is taken, and an answer makes room again.
        """
        outbox: Outbox[str] = Outbox()
        half = bytes(SEND_QUEUE_BYTES // 2 - OVERHEAD)
        outbox.add("a", AGREED, half)
        outbox.add("a", AGREED, half)
        self.assertRaises(TryAgain, outbox.add, "a", AGREED, b"")
        self.assertRaises(TryAgain, outbox.addAll, "a", AGREED, [b""])
        batch = outbox.take()
        assert batch is not None
        self.assertRaises(TryAgain, outbox.add, "a", AGREED, b"")
        outbox.done(batch)
        outbox.add("a", AGREED, b"")

    def test_allOrNone(self) -> None:
        """
        Of messages that do not fit together none is taken.
        """
        outbox: Outbox[str] = Outbox()
        half = bytes(SEND_QUEUE_BYTES // 2 - OVERHEAD)
        outbox.add("a", AGREED, b"x")
        self.assertRaises(TooBig, outbox.addAll, "a", AGREED, [half, half, b""])
        self.assertRaises(TryAgain, outbox.addAll, "a", AGREED, [half, half])
        self.assertEqual(outbox.heldBytes, 1 + OVERHEAD)

    def test_clear(self) -> None:
        """
        What was not taken can be had back; what was taken still counts.
        """
        outbox: Outbox[str] = Outbox()
        outbox.add("a", AGREED, b"1")
        taken = outbox.take()
        outbox.add("b", AGREED, b"2")
        self.assertTrue(outbox.holds("b"))
        self.assertFalse(outbox.holds("a"))
        (cleared,) = outbox.clear()
        self.assertEqual(cleared.payloads, [b"2"])
        self.assertEqual(outbox.heldBytes, 1 + OVERHEAD)
        assert taken is not None
        outbox.done(taken)
        self.assertEqual(outbox.heldBytes, 0)
        self.assertIsNone(outbox.take())

    def test_underway(self) -> None:
        """
        What came back makes room for as much, whatever batches it came in; no
        more counts than was under way.
        """
        outbox: Outbox[str] = Outbox()
        full = bytes(PART_BYTES - OVERHEAD)

        def takeAll() -> int:
            taken = 0
            while (batch := outbox.take()) is not None:
                taken += len(batch.payloads)
                outbox.done(batch)
            return taken

        for _ in range(SEND_QUEUE_BYTES // PART_BYTES):
            outbox.add("a", AGREED, full)
        first = takeAll()
        self.assertEqual(first, -(-UNDERWAY_BYTES // PART_BYTES))
        outbox.returned("b", 10 * PART_BYTES, 10)
        self.assertEqual(takeAll(), 0)
        outbox.returned("a", 3 * PART_BYTES, 3)
        self.assertEqual(takeAll(), 3)
        outbox.returned("a", 1000 * PART_BYTES, 1000)
        self.assertEqual(takeAll(), first)
        outbox.forget("a")
        self.assertEqual(takeAll(), first)
