"""
Virtual time.
"""

from random import Random
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock as TwistedClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.simulator import clock as time
from corotwist.simulator.clock import Call, Clock, NodeClock, TimeStandsStill


class ClockTests(SynchronousTestCase):
    """
    The clock of a cluster.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.seen: list[object] = []

    def test_interfaces(self) -> None:
        """
        It can stand in for a reactor's time.
        """
        verifyObject(IReactorTime, self.clock)
        verifyObject(IDelayedCall, self.clock.callLater(1, self.seen.append, 1))
        verifyObject(IReactorTime, NodeClock(self.clock))

    def test_order(self) -> None:
        """
        Calls are made in the order of their times, and simultaneous ones in
        the order in which they were asked for.
        """
        for delay, name in ((2, "d"), (1, "a"), (1, "b"), (1.5, "c")):
            self.clock.callLater(delay, self.seen.append, name)
        self.clock.advance(1)
        self.assertEqual(self.seen, ["a", "b"])
        self.clock.advance(1)
        self.assertEqual(self.seen, ["a", "b", "c", "d"])
        self.assertEqual(self.clock.seconds(), 2)

    def test_timeOfCall(self) -> None:
        """
        While a call is made it is the time of that call; what it asks for is
        counted from there, and happens in the same step if it is due.
        """

        def first() -> None:
            self.seen.append(self.clock.seconds())
            self.clock.callLater(0.25, second)

        def second() -> None:
            self.seen.append(self.clock.seconds())

        self.clock.callLater(0.5, first)
        self.clock.advance(10)
        self.assertEqual(self.seen, [0.5, 0.75])

    def test_cancel(self) -> None:
        """
        A cancelled call is not made, not even by one due at the same moment.
        """
        doomed = self.clock.callLater(1, self.seen.append, "doomed")
        self.clock.callLater(0.5, doomed.cancel)
        self.clock.advance(2)
        self.assertEqual(self.seen, [])
        self.assertRaises(AlreadyCancelled, doomed.cancel)

    def test_cancelSibling(self) -> None:
        """
        A call may cancel another that is due at the same instant.
        """
        calls: list[Call] = []
        calls.append(self.clock.callLater(1, lambda: calls[1].cancel()))  # noqa: PLW0108
        calls.append(self.clock.callLater(1, self.seen.append, "sibling"))
        self.clock.advance(1)
        self.assertEqual(self.seen, [])

    def test_called(self) -> None:
        """
        A call that was made cannot be moved or cancelled.
        """
        call = self.clock.callLater(1, self.seen.append, 1)
        self.clock.advance(1)
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCalled, call.cancel)
        self.assertRaises(AlreadyCalled, call.reset, 1)
        self.assertRaises(AlreadyCalled, call.delay, 1)

    def test_reset(self) -> None:
        """
        A call can be moved to an earlier and to a later time, and happens
        once.
        """
        call = self.clock.callLater(5, lambda: self.seen.append(self.clock.seconds()))
        call.reset(1)
        self.assertEqual(call.getTime(), 1)
        call.reset(3)
        call.delay(1)
        self.assertEqual(call.getTime(), 4)
        self.clock.advance(10)
        self.assertEqual(self.seen, [4])

    def test_pending(self) -> None:
        """
        Pending calls are listed in the order of their times.
        """
        late = self.clock.callLater(2, self.seen.append, 2)
        early = self.clock.callLater(1, self.seen.append, 1)
        gone = self.clock.callLater(1, self.seen.append, 1)
        gone.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [early, late])
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [late])

    def test_litter(self) -> None:
        """
        Cancelled calls do not fill the memory, and sweeping them away loses
        no other.
        """
        self.clock.callLater(9, self.seen.append, "kept")
        for _ in range(10 * time.LITTER):
            self.clock.callLater(5, self.seen.append, "litter").cancel()
        self.assertTrue(len(self.clock._heap) < 3 * time.LITTER)
        self.clock.advance(10)
        self.assertEqual(self.seen, ["kept"])

    def test_stopped(self) -> None:
        """
        An event can end a run early; the rest happens in the next.
        """
        self.clock.callLater(1, setattr, self.clock, "stopped", True)
        self.clock.callLater(1, self.seen.append, "rest")
        self.clock.advance(2)
        self.assertEqual((self.clock.seconds(), self.seen), (1, []))
        self.clock.advance(1)
        self.assertEqual(self.seen, ["rest"])

    def test_standstill(self) -> None:
        """
        Events that beget events at the same instant are not waited for.
        """
        self.patch(time, "EVENTS_IN_ONE_INSTANT", 100)

        def again() -> None:
            self.clock.callLater(0, again)

        again()
        self.assertRaises(TimeStandsStill, self.clock.advance, 1)

    def test_permutation(self) -> None:
        """
        With a source of chance simultaneous events happen in an order drawn
        from it, the same for the same seed.
        """

        def run(seed: int) -> list[int]:
            clock, seen = Clock(Random(seed)), list[int]()
            for number in range(20):
                clock.callLater(1, seen.append, number)
            clock.advance(1)
            return seen

        self.assertEqual(run(1), run(1))
        self.assertNotEqual(run(1), run(2))
        self.assertEqual(sorted(run(1)), list(range(20)))

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("call", "cancel", "reset", "delay", "advance")),
                st.integers(0, 20),
                st.integers(0, 5),
            )
        )
    )
    def test_likeTwisted(self, steps: list[tuple[str, int, int]]) -> None:
        """
        It makes the same calls in the same order as Twisted's clock for tests,
        each at its own time, when no two are due at one.
        """
        seen: list[list[tuple[int, float]]] = []
        for clock in (Clock(), TwistedClock()):
            calls: list[Any] = []
            mine: list[tuple[int, float]] = []
            seen.append(mine)
            for number, (what, which, amount) in enumerate(steps):
                call = calls[which % len(calls)] if calls else None
                if what == "call":
                    later = clock.callLater(
                        amount + number / 1024,
                        lambda n, c=clock, m=mine: m.append((n, c.seconds())),
                        number,
                    )
                    calls.append(later)
                elif what == "advance":
                    clock.advance(amount)
                elif call is not None and call.active():
                    if what == "cancel":
                        call.cancel()
                    else:
                        getattr(call, what)(amount + number / 1024)
            clock.advance(100)
        times = [moment for _, moment in seen[0]]
        assume(len(set(times)) == len(times))  # Ties after a delay are anybody's.
        made = [[number for number, _ in mine] for mine in seen]
        self.assertEqual(made[0], made[1])
        self.assertEqual(times, sorted(times))


class NodeClockTests(SynchronousTestCase):
    """
    The time of one process.
    """

    def setUp(self) -> None:
        self.cluster = Clock()
        self.seen: list[object] = []

    def test_rate(self) -> None:
        """
        A fast clock shows more seconds, and its calls come earlier.
        """
        clock = NodeClock(self.cluster, rate=2.0, offset=100.0)
        clock.callLater(1, lambda: self.seen.append(clock.seconds()))
        self.cluster.advance(0.25)
        self.assertEqual((clock.seconds(), self.seen), (100.5, []))
        self.cluster.advance(0.25)
        self.assertEqual(self.seen, [101.0])

    @given(st.floats(0.9, 1.1), st.floats(0, 1e6), st.floats(0, 1e3), st.floats(0, 10))
    def test_neverEarly(
        self, rate: float, offset: float, start: float, delay: float
    ) -> None:
        """
        Whatever the rate, a call is never made before its time.
        """
        cluster = Clock()
        cluster.advance(start)
        clock = NodeClock(cluster, rate, offset)
        early = []
        call = clock.callLater(
            delay, lambda: early.append(clock.seconds() < call.getTime())
        )
        cluster.advance(20)
        self.assertEqual(early, [False])

    def test_absent(self) -> None:
        """
        While the process is not scheduled its calls wait, in their order; one
        that is cancelled meanwhile is not made.
        """
        clock = NodeClock(self.cluster)
        clock.callLater(1, self.seen.append, 1)
        doomed = clock.callLater(2, self.seen.append, 2)
        clock.callLater(3, self.seen.append, 3)
        clock.present = False
        self.cluster.advance(5)
        self.assertEqual(self.seen, [])
        doomed.cancel()
        clock.present = True
        while clock.callWaiting():
            pass
        self.assertEqual(self.seen, [1, 3])

    def test_stop(self) -> None:
        """
        Nothing that a dead process asked for happens, before or after.
        """
        clock = NodeClock(self.cluster)
        clock.callLater(1, self.seen.append, 1)
        clock.stop()
        clock.callLater(2, self.seen.append, 2)
        self.cluster.advance(5)
        self.assertEqual(self.seen, [])
