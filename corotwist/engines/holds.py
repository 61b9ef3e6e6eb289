"""
Stopping in order: who still has work to move away holds the shutdown.
"""

from collections.abc import Callable
from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from corotwist.errors import NoSpace

# Of all engines of a node.
MOST_HOLDS: Final = 1024
# While the shutdown is held, the reasons are told again after so long.
REMINDER_SECONDS: Final = 10.0

# Told the reason of the shutdown, and what holds it.
Observer = Callable[[str, tuple[str, ...]], object]


@define(eq=False)
class Hold:
    """
    One reason not to stop yet.

    @ivar who: the engine.
    @ivar reason: for people; may be changed while the work gets less.
    """

    who: str
    reason: str
    _holds: "Holds"

    def release(self) -> None:
        """
        There is nothing left that keeps the node from stopping; again, it is
        harmless.
        """
        self._holds.released(self)


class Holds:
    """
    What keeps a node from stopping.

    @ivar observers: called when a shutdown is proposed and something holds it,
        and then every L{REMINDER_SECONDS}.
    @ivar proposed: why the node is to stop; empty while it is not.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float]) -> None:
        """
        @param seconds: after so long nothing holds a shutdown any more.
        """
        self.observers: list[Observer] = []
        self.proposed = ""
        self._clock = clock
        self._seconds = seconds
        self._holds: dict[Hold, None] = {}
        self._waiting: list[Deferred[None]] = []
        self._limit: IDelayedCall | None = None
        self._reminder: IDelayedCall | None = None

    def take(self, who: str, reason: str) -> Hold:
        """
        From now on something holds a shutdown.

        @raise NoSpace: there are too many.
        """
        if len(self._holds) >= MOST_HOLDS:
            raise NoSpace(f"{MOST_HOLDS} reasons hold the shutdown already")
        hold = Hold(who, reason, self)
        self._holds[hold] = None
        return hold

    def released(self, hold: Hold) -> None:
        """
        One less.
        """
        self._holds.pop(hold, None)
        if not self._holds:
            self._finish()

    def releaseAll(self, who: str) -> None:
        """
        That engine is gone, and what it wanted with it.
        """
        for hold in [hold for hold in self._holds if hold.who == who]:
            hold.release()

    def reasons(self) -> tuple[str, ...]:
        """
        What holds a shutdown, for people.
        """
        return tuple(f"{hold.who}: {hold.reason}" for hold in self._holds)

    def whenFree(self, reason: str) -> Deferred[None]:
        """
        The node is to stop.

        @return: fires when nothing holds that, or for too long already; and at
            once when it is asked a second time.
        """
        if self.proposed or not self._holds:
            self.proposed = self.proposed or reason
            self._force("a second request")
            return succeed(None)
        self.proposed = reason
        waits: Deferred[None] = Deferred()
        self._waiting.append(waits)
        self._limit = self._clock.callLater(
            self._seconds(), self._force, "the time is up"
        )
        self._remind()
        return waits

    def _remind(self) -> None:
        reasons = self.reasons()
        self._log.info(
            "The shutdown ({reason}) waits for {reasons}",
            reason=self.proposed,
            reasons="; ".join(reasons),
        )
        self._reminder = self._clock.callLater(REMINDER_SECONDS, self._remind)
        for observer in self.observers:
            observer(self.proposed, reasons)

    def _force(self, why: str) -> None:
        if self._holds:
            self._log.warn(
                "The shutdown waits no longer for {reasons}: {why}",
                reasons="; ".join(self.reasons()),
                why=why,
            )
        self._finish()

    def _finish(self) -> None:
        for call in (self._limit, self._reminder):
            if call is not None and call.active():
                call.cancel()
        self._limit = self._reminder = None
        waiting, self._waiting = self._waiting, []
        for waits in waiting:
            waits.callback(None)

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {"proposed": self.proposed, "holding": list(self.reasons())}
