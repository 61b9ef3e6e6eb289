"""
Timers of engines, and how late they are.

Engines know integer nanoseconds only; the clock, which is in seconds as every
reactor's, is asked and told here.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from corotwist.errors import NoSpace

# Of one engine, pending.
MOST_TIMERS: Final = 4096
# A timer by time of day looks again at least so often, so that it follows a
# clock that is set.
TIME_OF_DAY_NS: Final = 1_000_000_000
# Upper ends of the ranges in which late timers are counted; the last is open.
LATENESS_NS: Final = (10**6, 10**7, 10**8, 10**9)
# As corosync: every third of the token timeout, and what is worth a record.
WATCHES_PER_TOKEN: Final = 3
MISS_SHARE: Final = 0.8
MOST_MISSES: Final = 10

_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000


def nanoseconds(seconds: float) -> int:
    """
    From the clock.
    """
    return round(seconds * _SECOND)


def seconds(ns: int) -> float:
    """
    For the clock.
    """
    return max(0, ns) / _SECOND


@define
class Lateness:
    """
    By how much timers were late.

    @ivar counts: how many were late by less than each of L{LATENESS_NS}, and
        by more.
    """

    counts: list[int] = field(factory=lambda: [0] * (len(LATENESS_NS) + 1))
    worstNs: int = 0

    def add(self, lateNs: int) -> None:
        """
        One more.
        """
        self.counts[bisect_right(LATENESS_NS, lateNs)] += 1
        self.worstNs = max(self.worstNs, lateNs)

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        names = [f"under{end // _MILLISECOND}ms" for end in LATENESS_NS]
        return {
            "late": dict(zip([*names, "more"], self.counts, strict=True)),
            "worstMs": self.worstNs / _MILLISECOND,
        }


@define(eq=False)
class Timer:
    """
    A handle.

    @ivar delayed: the call that is due next; L{None} when none is.
    @ivar timeNs: for a timer by time of day: when.
    """

    callback: Callable[[], None]
    timeNs: int | None = None
    delayed: IDelayedCall | None = None


class Timers:
    """
    The timers of one engine.
    """

    def __init__(
        self,
        clock: IReactorTime,
        timeOfDay: Callable[[], int],
        call: Callable[[Callable[[], None]], Any],
    ) -> None:
        """
        @param call: calls back into the engine, and contains what it raises.
        """
        self.lateness = Lateness()
        self._clock = clock
        self._timeOfDay = timeOfDay
        self._call = call
        self._pending: dict[Timer, None] = {}
        self._latest = 0

    def now(self) -> int:
        """
        Nanoseconds of the clock, made to only rise.
        """
        self._latest = max(self._latest, nanoseconds(self._clock.seconds()))
        return self._latest

    def after(self, delayNs: int, callback: Callable[[], None]) -> Timer:
        """
        A timer by duration.

        @raise NoSpace: L{MOST_TIMERS} are pending.
        """
        timer = self._made(Timer(callback))
        self._sleep(timer, int(delayNs))
        return timer

    def at(self, timeNs: int, callback: Callable[[], None]) -> Timer:
        """
        A timer by time of day: it follows the clock when that is set, forwards
        and backwards.

        @raise NoSpace: L{MOST_TIMERS} are pending.
        """
        timer = self._made(Timer(callback, int(timeNs)))
        self._sleepTowards(timer, int(timeNs))
        return timer

    def _made(self, timer: Timer) -> Timer:
        if len(self._pending) >= MOST_TIMERS:
            raise NoSpace(f"{MOST_TIMERS} timers are pending")
        self._pending[timer] = None
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """
        Forget it; harmless when it expired or was cancelled already.
        """
        if timer is not None and timer.delayed is not None:
            timer.delayed.cancel()
            self._end(timer)

    def cancelAll(self) -> None:
        """
        The engine is gone.
        """
        for timer in list(self._pending):
            self.cancel(timer)

    def expiresAt(self, timer: Timer) -> int:
        """
        When it fires, on the clock of L{now}; 0 when it does not.
        """
        if timer.delayed is None:
            return 0
        if timer.timeNs is not None:
            return self.now() + max(0, timer.timeNs - self._timeOfDay())
        return nanoseconds(timer.delayed.getTime())

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {"pending": len(self._pending), **self.lateness.status()}

    # On the clock.

    def _sleep(self, timer: Timer, delayNs: int) -> None:
        timer.delayed = self._clock.callLater(seconds(delayNs), self._woke, timer)

    def _sleepTowards(self, timer: Timer, timeNs: int) -> None:
        """
        In steps.
        """
        self._sleep(timer, min(timeNs - self._timeOfDay(), TIME_OF_DAY_NS))

    def _woke(self, timer: Timer) -> None:
        assert timer.delayed is not None, "who is called was waiting"
        late = nanoseconds(self._clock.seconds() - timer.delayed.getTime())
        self.lateness.add(max(0, late))
        if timer.timeNs is not None and self._timeOfDay() < timer.timeNs:
            self._sleepTowards(timer, timer.timeNs)
            return
        self._end(timer)
        self._call(timer.callback)

    def _end(self, timer: Timer) -> None:
        timer.delayed = None
        self._pending.pop(timer, None)


class SchedulerWatch:
    """
    Notices when the process did not run when it should have: the machine is
    overloaded, was suspended, or something here takes too long.

    @ivar misses: the latest, newest first: nanoseconds since 1970, and by how
        many it was late.
    @ivar count: how many there were.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        timeOfDay: Callable[[], int],
        token: Callable[[], float],
    ) -> None:
        """
        @param token: the token timeout in force, in seconds.
        """
        self.misses: deque[tuple[int, int]] = deque(maxlen=MOST_MISSES)
        self.count = 0
        self.lateness = Lateness()
        self._clock = clock
        self._timeOfDay = timeOfDay
        self._token = token
        self._next: IDelayedCall | None = None
        self._last = 0.0

    def start(self) -> None:
        """
        Begin to look.
        """
        self.stop()
        self._last = self._clock.seconds()
        delay = self._token() / WATCHES_PER_TOKEN
        self._next = self._clock.callLater(delay, self._look, delay)

    def stop(self) -> None:
        """
        Look no more.
        """
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def clear(self) -> None:
        """
        Forget what was missed so far.
        """
        self.misses.clear()
        self.count = 0
        self.lateness = Lateness()

    def _look(self, planned: float) -> None:
        self._next = None
        passed = self._clock.seconds() - self._last
        self.lateness.add(max(0, nanoseconds(passed - planned)))
        most = MISS_SHARE * self._token()
        if passed > most:
            self._missed(passed, most)
        self.start()

    def _missed(self, passed: float, most: float) -> None:
        self.count += 1
        self.misses.appendleft((self._timeOfDay(), nanoseconds(passed)))
        self._log.warn(
            "This process did not run for {passed} ms, {most} ms are too long for "
            "the token timeout",
            passed=round(passed * 1000, 1),
            most=round(most * 1000, 1),
        )

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        records = [
            {"timestamp": at // _MILLISECOND, "delay": late / _MILLISECOND}
            for at, late in self.misses
        ]
        return {"misses": self.count, "latest": records, **self.lateness.status()}
