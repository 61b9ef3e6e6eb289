"""
What an engine sends in its stage of synchronization, however it says so.
"""

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from corotwist.errors import TryAgain


class Sending:
    """
    One stage, which may take several visits of the token.

    C{synchronize} answers with L{True} or L{False}, and is called again in the
    latter case; or once with a generator, which goes on at each visit until its
    end, or with a L{Deferred}, which is waited for.  Whoever lets a L{TryAgain}
    out is called again from the beginning.
    """

    def __init__(self) -> None:
        self._steps: Generator[Any, Any, Any] | None = None
        self._waits: Deferred[Any] | None = None
        self._done = False
        self._failure: Failure | None = None

    def goOn(self, synchronize: Callable[[], Any]) -> bool:
        """
        The token is here.

        @return: is everything sent?
        @raise Exception: whatever the engine raised, or its Deferred failed
            with; this is the end of the stage then.
        """
        try:
            return self._goOn(synchronize)
        except TryAgain:
            self._steps = self._waits = None
            return False
        except Exception:
            self.stop()
            raise

    def _goOn(self, synchronize: Callable[[], Any]) -> bool:
        if self._steps is None and self._waits is None:
            answer = synchronize()
            if isinstance(answer, Deferred):
                self._waits = answer.addCallbacks(self._fired, self._failed)
            elif isinstance(answer, Generator):
                self._steps = answer
            else:
                return bool(answer)
        if self._steps is not None:
            return self._stepped(self._steps)
        failure, self._failure = self._failure, None
        if failure is not None:
            failure.raiseException()
        return self._done

    def _stepped(self, steps: Generator[Any, Any, Any]) -> bool:
        try:
            next(steps)
        except StopIteration:
            return True
        return False

    def _fired(self, _: object) -> None:
        self._done = True

    def _failed(self, failure: Failure) -> None:
        self._failure = failure

    def stop(self) -> None:
        """
        The stage is over, or the round is: nothing of it goes on.
        """
        steps, waits = self._steps, self._waits
        self._steps = self._waits = self._failure = None
        self._done = False
        if steps is not None:
            steps.close()
        if waits is not None:
            waits.addErrback(lambda _: None)
            waits.cancel()
