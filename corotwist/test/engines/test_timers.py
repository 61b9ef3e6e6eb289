"""
Tests of timers: integers, both kinds of time, and how late they are.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import timers
from corotwist.engines.timers import MOST_MISSES, SchedulerWatch, Timers
from corotwist.errors import NoSpace

SECOND = 10**9


class LateClock(Clock):
    """
    A clock whose owner is sometimes busy with something else.
    """

    def oversleep(self, seconds: float) -> None:
        """
        Everything that was due meanwhile is called at the end.
        """
        self.rightNow += seconds
        self.advance(0)


class TimersTests(SynchronousTestCase):
    """
    What an engine's timers do.
    """

    def setUp(self) -> None:
        self.clock = LateClock()
        self.wall = 1_700_000_000 * SECOND
        self.timers = Timers(self.clock, self._timeOfDay, lambda call: call())
        self.fired: list[int] = []

    def _timeOfDay(self) -> int:
        return self.wall + int(self.clock.seconds() * SECOND)

    def _fire(self) -> None:
        self.fired.append(self.timers.now())

    def test_integers(self) -> None:
        """
        Times are integers, whatever the clock has, and a timer fires at the
        nanosecond that was announced. (A33)
        """

        @given(st.integers(0, 10**14), st.floats(0, 1e6, allow_subnormal=False))
        def check(delay: int, start: float) -> None:
            clock = LateClock()
            clock.rightNow = start
            own = Timers(clock, lambda: 0, lambda call: call())
            fired: list[int] = []
            timer = own.after(delay, lambda: fired.append(own.now()))
            self.assertIs(type(own.now()), int)
            due = own.expiresAt(timer)
            self.assertIs(type(due), int)
            clock.advance(delay / SECOND)
            self.assertEqual(len(fired), 1)
            self.assertEqual(fired, [due])

        check()

    def test_cancelledInAnyOrder(self) -> None:
        """
        Handles that expired or were cancelled can be cancelled and read for
        ever; another timer is never meant. (A35, A36)
        """
        first = self.timers.after(1, self._fire)
        self.clock.advance(1)
        second = self.timers.after(1, self._fire)
        self.timers.cancel(first)
        self.assertEqual(self.timers.expiresAt(first), 0)
        self.clock.advance(1)
        self.assertEqual(len(self.fired), 2)
        self.timers.cancel(second)
        self.timers.cancel(None)
        self.assertEqual(self.timers.status()["pending"], 0)

    def test_stepForwards(self) -> None:
        """
        When the time of day is set forwards, a timer by time of day follows at
        once, or as good as; one by duration does not. (A34)
        """
        self.timers.at(self._timeOfDay() + 3600 * SECOND, self._fire)
        self.timers.after(3600 * SECOND, self._fire)
        self.wall += 3600 * SECOND
        self.clock.pump([0.5] * 3)
        self.assertEqual(len(self.fired), 1)

    def test_stepBackwards(self) -> None:
        """
        When it is set back, a timer by time of day waits for longer, and so it
        says. (A34, A36)
        """
        timer = self.timers.at(self._timeOfDay() + 2 * SECOND, self._fire)
        self.clock.advance(1)
        self.wall -= 10 * SECOND
        self.assertEqual(self.timers.expiresAt(timer), 12 * SECOND)
        self.clock.pump([0.5] * 21)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.5)
        self.assertEqual(self.fired, [12 * SECOND])

    def test_bounded(self) -> None:
        """
        An engine has only so many timers; those that fired do not count.
        """
        self.patch(timers, "MOST_TIMERS", 2)
        self.timers.after(1, self._fire)
        self.timers.at(0, self._fire)
        self.assertRaises(NoSpace, self.timers.after, 1, self._fire)
        self.clock.advance(1)
        self.timers.after(1, self._fire)
        self.assertEqual(len(self.fired), 2)

    def test_forgotten(self) -> None:
        """
        When an engine is gone, none of its timers fires.
        """
        self.timers.after(1, self._fire)
        self.timers.at(0, self._fire)
        self.timers.cancelAll()
        self.clock.advance(10)
        self.assertEqual((self.fired, self.clock.getDelayedCalls()), ([], []))

    def test_late(self) -> None:
        """
        How late timers fire is counted, and the worst is kept. (A38)
        """
        for late in (0.0, 0.005, 0.5):
            self.timers.after(SECOND, self._fire)
            self.clock.oversleep(1 + late)
        status = self.timers.status()
        late_ = {name: n for name, n in status["late"].items() if n}
        self.assertEqual(late_, {"under1ms": 1, "under10ms": 1, "under1000ms": 1})
        self.assertEqual(status["worstMs"], 500.0)


class WatchTests(SynchronousTestCase):
    """
    A process that does not run when it should.
    """

    def setUp(self) -> None:
        self.clock = LateClock()
        self.token = 3.0
        self.watch = SchedulerWatch(
            self.clock, lambda: int(self.clock.seconds() * SECOND), lambda: self.token
        )

    def test_inTime(self) -> None:
        """
        A process that runs in time misses nothing.
        """
        self.watch.start()
        self.clock.pump([0.5] * 20)
        self.assertEqual((self.watch.count, list(self.watch.misses)), (0, []))

    def test_miss(self) -> None:
        """
        When it does not run for more than four fifths of the token timeout,
        time and delay are kept, in corosync's units for people. (A38)
        """
        self.watch.start()
        self.clock.oversleep(2.4)
        self.assertEqual(self.watch.count, 0)
        self.clock.oversleep(2.5)
        self.assertEqual(list(self.watch.misses), [(4_900_000_000, 2_500_000_000)])
        status = self.watch.status()
        self.assertEqual(status["latest"], [{"timestamp": 4900, "delay": 2500.0}])

    def test_latest(self) -> None:
        """
        The newest is the first; there are ten at most. (A38)
        """
        self.watch.start()
        for number in range(MOST_MISSES + 2):
            self.clock.oversleep(10 + number)
        delays = [late // SECOND for _, late in self.watch.misses]
        self.assertEqual(delays, list(range(21, 11, -1)))
        self.assertEqual(self.watch.count, 12)
        self.watch.clear()
        self.assertEqual(self.watch.status()["misses"], 0)
        self.assertFalse(self.watch.misses)

    def test_otherToken(self) -> None:
        """
        The token timeout in force counts.
        """
        self.watch.start()
        self.token = 30.0
        self.clock.oversleep(20)
        self.assertEqual(self.watch.count, 0)

    def test_stop(self) -> None:
        """
        Who stopped looking has nothing planned; stopping again is harmless.
        """
        self.watch.start()
        self.watch.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.watch.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
