"""
Virtual time: a heap of events, and what one node sees of it.

L{Clock} has the interface of C{twisted.internet.task.Clock}, which sorts all
calls whenever one is added and is too slow for a cluster full of datagrams.
"""

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from random import Random
from typing import Any, Final

from attrs import define, field
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

# Cancelled calls stay in the heap until it is full of them.
LITTER: Final = 1024
# So many events without time moving on are a loop, not a busy instant.
EVENTS_IN_ONE_INSTANT: Final = 200_000

_Event = tuple[float, float, int, Callable[..., Any], tuple[Any, ...]]


class TimeStandsStill(AssertionError):
    """
    Events beget events without end, all at the same instant.
    """


@implementer(IDelayedCall)
class Call:
    """
    One timer.

    The heap holds an entry for C{_scheduled}; C{time} may be later, and then
    the entry is moved when it comes up, which makes C{reset} cheap.
    """

    __slots__ = ("_arguments", "_clock", "_function", "_scheduled", "called", "time")

    def __init__(
        self,
        clock: "Clock | NodeClock",
        time: float,
        function: Callable[..., Any],
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
    ) -> None:
        self._clock = clock
        self._function: Callable[..., Any] | None = function
        self._arguments = arguments
        self._scheduled = time
        self.called = False
        self.time = time
        clock.place(time, self._due, time)

    def getTime(self) -> float:
        return self.time

    def active(self) -> bool:
        return self._function is not None

    def cancel(self) -> None:
        self._mustBeActive()
        self._function = None
        self._clock.callCancelled(self)

    def delay(self, secondsLater: float) -> None:
        self._mustBeActive()
        self._moveTo(self.time + secondsLater)

    def reset(self, secondsFromNow: float) -> None:
        self._mustBeActive()
        self._moveTo(self._clock.seconds() + secondsFromNow)

    def _mustBeActive(self) -> None:
        if self._function is None:
            raise AlreadyCalled if self.called else AlreadyCancelled

    def _moveTo(self, time: float) -> None:
        self.time = time
        if time < self._scheduled:
            self._scheduled = time
            self._clock.place(time, self._due, time)

    def _due(self, scheduled: float) -> None:
        if self._function is None or scheduled != self._scheduled:
            return
        if self.time > scheduled:
            self._scheduled = self.time
            self._clock.place(self.time, self._due, self.time)
        else:
            self._clock.callDue(self)

    def fire(self) -> None:
        """
        Call, unless something else did or cancelled it.
        """
        function = self._function
        if function is None:
            return
        self._function = None
        self.called = True
        positional, named = self._arguments
        function(*positional, **named)


@implementer(IReactorTime)
class Clock:
    """
    The time of the whole cluster.

    Simultaneous events happen in the order in which they were asked for, or,
    when given a source of chance, in an order drawn from it.

    @ivar now: the time.
    @ivar events: how many events have happened.
    @ivar stopped: set it from within an event and L{runUntil} returns.
    """

    def __init__(self, permutation: Random | None = None) -> None:
        self.now = 0.0
        self._heap: list[_Event] = []
        self._count = 0
        self._litter = 0
        self._calls: dict[Call, None] = {}
        self._permutation = permutation
        self.events = 0
        self.stopped = False

    def seconds(self) -> float:
        return self.now

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002
        *args: Any,
        **kw: Any,
    ) -> Call:
        assert delay >= 0, f"a call {delay} s from now"
        call = Call(self, self.now + delay, callable, (args, kw))
        self._calls[call] = None
        return call

    def getDelayedCalls(self) -> list[Call]:
        return sorted(self._calls, key=Call.getTime)

    def place(self, time: float, function: Callable[..., Any], *args: Any) -> None:
        """
        Call at a time, without the means to cancel it.
        """
        self._count = count = self._count + 1
        permutation = self._permutation
        tie = 0.0 if permutation is None else permutation.random()
        heappush(self._heap, (time, tie, count, function, args))

    def callDue(self, call: Call) -> None:
        self._calls.pop(call, None)
        call.fire()

    def callCancelled(self, call: Call) -> None:
        self._calls.pop(call, None)
        self.littered()

    def littered(self) -> None:
        """
        One more entry of the heap is of no use; sweep when most are.
        """
        self._litter += 1
        if self._litter > LITTER and self._litter * 2 > len(self._heap):
            self._heap = [event for event in self._heap if _useful(event[3])]
            heapify(self._heap)
            self._litter = 0

    def advance(self, seconds: float) -> None:
        """
        Let so much time go by, with everything that happens in it.
        """
        self.runUntil(self.now + seconds)

    def runUntil(self, end: float) -> None:
        """
        Let time go on to C{end}, or until C{stopped}.

        @raise TimeStandsStill: when it does not, for a loop of events.
        """
        self.stopped = False
        instant, patience = -1.0, 0
        while self._heap and self._heap[0][0] <= end:
            time, _, _, function, args = heappop(self._heap)
            if time > instant:
                self.now = max(self.now, time)
                instant, patience = time, EVENTS_IN_ONE_INSTANT
            patience -= 1
            if not patience:
                raise TimeStandsStill(f"at {time} s: {function}")
            self.events += 1
            function(*args)
            if self.stopped:
                return
        self.now = max(self.now, end)

    def nextEvent(self) -> float:
        """
        When something happens next.
        """
        return self._heap[0][0] if self._heap else inf


def _useful(function: Callable[..., Any]) -> bool:
    call = getattr(function, "__self__", None)
    return call.active() if isinstance(call, Call) else True


@implementer(IReactorTime)
@define(eq=False)
class NodeClock:
    """
    Time as one process of one node sees it.

    It may go a little slower or faster than that of the cluster.  While the
    process is not scheduled (paused, or busy) its calls wait, and when it is
    killed they never happen.

    @ivar rate: seconds here for a second of the cluster.
    @ivar offset: what this clock showed when that of the cluster showed 0.
    @ivar present: is the process being scheduled?
    @ivar worked: called after each call that was made.
    """

    clock: Clock
    rate: float = 1.0
    offset: float = 0.0
    present: bool = True
    worked: Callable[[], None] = lambda: None
    _waiting: deque[Call] = field(factory=deque, init=False)
    _calls: dict[Call, None] = field(factory=dict, init=False)
    _floor: float = field(default=-inf, init=False)
    _stopped: bool = field(default=False, init=False)

    def seconds(self) -> float:
        # Asked for at every input; so without calls.
        now = self.clock.now * self.rate + self.offset
        return max(self._floor, now)

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002
        *args: Any,
        **kw: Any,
    ) -> Call:
        assert delay >= 0, f"a call {delay} s from now"
        call = Call(self, self.seconds() + delay, callable, (args, kw))
        self._calls[call] = None
        return call

    def getDelayedCalls(self) -> list[Call]:
        return sorted(self._calls, key=Call.getTime)

    def place(self, time: float, function: Callable[..., Any], *args: Any) -> None:
        if not self._stopped:
            there = (time - self.offset) / self.rate
            self.clock.place(max(there, self.clock.seconds()), function, *args)

    def callDue(self, call: Call) -> None:
        if self._stopped:
            return
        if not self.present:
            self._waiting.append(call)
            return
        self._calls.pop(call, None)
        self._floor = max(self._floor, call.time)
        call.fire()
        self.worked()

    def callCancelled(self, call: Call) -> None:
        self._calls.pop(call, None)
        self.clock.littered()

    def callWaiting(self) -> bool:
        """
        Make the oldest call that was held up, if the process is present.

        @return: was there one?
        """
        while self._waiting and self.present:
            call = self._waiting.popleft()
            if call.active():
                self.callDue(call)
                return True
        return False

    def stop(self) -> None:
        """
        The process is dead: none of its calls will happen.
        """
        self._stopped = True
        self._calls.clear()
        self._waiting.clear()
