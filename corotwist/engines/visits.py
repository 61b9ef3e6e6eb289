"""
Work at the visits of the token: a little each time, until it is done.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from corotwist.errors import BadHandle, NoSpace, TryAgain

# Of all engines of a node.
MOST_WORK: Final = 1024


class Guard(Protocol):
    """
    The place of an engine.
    """

    @property
    def over(self) -> bool: ...
    def call(self, function: Callable[..., Any], *arguments: Any) -> Any: ...


@define(eq=False)
class Work:
    """
    Something to be called at each visit.

    @ivar step: says L{True} when it is done; for work, or L{None} for ever.
    """

    step: Callable[[], object]
    _guard: Guard
    _visits: "Visits"
    done: Deferred[None] | None = None

    def stop(self) -> None:
        """
        Call it no more; harmless when it is over.
        """
        self._visits.forget(self)

    def visit(self) -> None:
        """
        The token is here.
        """
        if self._guard.over:
            self.abandon("the service is not there any more")
        elif self._guard.call(self._stepped) is True:
            self._visits.forget(self)
            done, self.done = self.done, None
            if done is not None:
                done.callback(None)

    def _stepped(self) -> object:
        """
        Without room it is not done.
        """
        try:
            return self.step()
        except TryAgain:
            return False
        except Exception:
            self._fail(Failure())
            raise

    def abandon(self, why: str) -> None:
        """
        Nothing will come of it.
        """
        self._fail(Failure(BadHandle(why)))

    def _fail(self, failure: Failure) -> None:
        self._visits.forget(self)
        done, self.done = self.done, None
        if done is not None:
            done.errback(failure)


class Visits:
    """
    Who is called when the token leaves this node.
    """

    def __init__(self) -> None:
        self._work: dict[Work, None] = {}

    def __len__(self) -> int:
        return len(self._work)

    def each(self, callback: Callable[[], object], guard: Guard) -> Work:
        """
        Call at each visit, until it says L{True} or is stopped.

        @param guard: the place of the engine that is called.
        @raise NoSpace: there is too much of it.
        """
        if len(self._work) >= MOST_WORK:
            raise NoSpace(f"{MOST_WORK} callbacks wait for the token already")
        work = Work(callback, guard, self)
        self._work[work] = None
        return work

    def until(self, step: Callable[[], bool], guard: Guard) -> Deferred[None]:
        """
        As L{each}.

        @return: fires when C{step} has said L{True}; fails with what it raised,
            and with L{BadHandle} when the engine or the node is no more.
            Cancelling it ends the work.
        """
        work = self.each(step, guard)

        def cancelled(_: Deferred[None]) -> None:
            self.forget(work)

        work.done = Deferred(cancelled)
        return work.done

    def forget(self, work: Work) -> None:
        """
        It is over.
        """
        self._work.pop(work, None)

    def tokenPassed(self) -> None:
        """
        A visit ends.
        """
        for work in list(self._work):
            if work in self._work:
                work.visit()

    def clear(self) -> None:
        """
        There will be no more visits.
        """
        for work in list(self._work):
            work.abandon("the node stops")
