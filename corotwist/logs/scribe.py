"""
What the writer's thread does: records to targets, and a look at them now and then.
"""

import time
from collections.abc import Callable
from typing import Final

from corotwist.logs.levels import Priority
from corotwist.logs.plan import Plan
from corotwist.logs.record import Record
from corotwist.logs.recorder import Recorder
from corotwist.logs.tags import MAIN
from corotwist.logs.targets import FileTarget, ITarget

# Files are looked for under their names so often.
MOVED_SECONDS: Final = 1.0
# At the end, streams that nobody reads are waited for so long.
FINISH_SECONDS: Final = 1.0
FINISH_STEP_SECONDS: Final = 0.01


class Scribe:
    """
    Writes, and tells in the log what the log has lost.
    """

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder,
        clock: Callable[[], float] = time.monotonic,
        timeOfDay: Callable[[], float] = time.time,
    ) -> None:
        self._plan = plan
        self._recorder = recorder
        self._clock = clock
        self._timeOfDay = timeOfDay
        self._looked = clock()
        self._told: dict[str, int] = {}
        self._why: dict[str, str] = {}

    # Of the writer.

    def record(self, record: Record) -> None:
        self._plan.route(record.tag).write(record)

    def idle(self, dropped: int) -> bool:
        now = self._clock()
        if now - self._looked >= MOVED_SECONDS:
            self._looked = now
            for target in self._targets():
                if isinstance(target, FileTarget) and target.moved():
                    target.reopen()
        before, left = self._waiting(), self._flush()
        for target in self._targets():
            self._watch(target)
        self._tell("the queue", dropped, "more came than could be written")
        return 0 < left < before

    def finish(self) -> None:
        until = self._clock() + FINISH_SECONDS
        while self._flush() and self._clock() < until:
            time.sleep(FINISH_STEP_SECONDS)

    def forked(self) -> None:
        self._recorder.forked()
        for target in self._targets():
            target.forked()

    # Asked for, in the writer's thread.

    def follow(self, plan: Plan) -> None:
        """
        Go on with other targets.
        """
        old, self._plan = self._plan, plan
        plan.adopt()
        old.close(keeping=plan.targets)

    def reopen(self) -> None:
        """
        Every target begins again.
        """
        for target in self._targets():
            target.reopen()

    def lost(self) -> int:
        """
        Records that did not get to their targets.
        """
        return sum(target.lost for target in self._targets())

    def _waiting(self) -> int:
        return sum(target.waiting for target in self._targets())

    def _flush(self) -> int:
        """
        @return: bytes that have to wait.
        """
        for target in self._targets():
            target.flush()
        return self._waiting()

    def _targets(self) -> list[ITarget]:
        return list(self._plan.targets.values())

    def _watch(self, target: ITarget) -> None:
        """
        Tell of losses when they are over.
        """
        if target.trouble:
            self._why[target.name] = target.trouble
        else:
            self._tell(target.name, target.lost, self._why.get(target.name, ""))

    def _tell(self, where: str, lost: int, why: str) -> None:
        news = lost - self._told.get(where, 0)
        if news <= 0:
            return
        self._told[where] = lost
        self.record(
            Record(
                self._timeOfDay(),
                Priority.WARNING,
                0,
                MAIN,
                __name__,
                "{count} log events were lost at {where}: {why}",
                {"count": news, "where": where, "why": why},
            )
        )
