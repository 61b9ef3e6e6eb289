"""
The log of a process.

C{LogSystem} is an observer for C{twisted.logger}: programs of any kind may have
one, no reactor is needed::

    log = LogSystem(LogSettings(LogPart(file="/var/log/program.log")))
    log.install()

To log costs the caller a copy of the event's arguments and a place in a queue;
the rest is done by the one thread of the writer.
"""

import atexit
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from errno import EBUSY, ENOENT
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer

from corotwist.config.settings import LogSettings
from corotwist.logs.levels import RARE_TRACES, Priority
from corotwist.logs.plan import Plan, Planner
from corotwist.logs.record import Record, priorityOf, tagOf, take
from corotwist.logs.recorder import Flight, Recorder, save
from corotwist.logs.scribe import Scribe
from corotwist.logs.tags import Tags
from corotwist.logs.tracing import SWITCHES, TRACE_KEY, Switches
from corotwist.logs.writer import FLUSH_SECONDS, Writer

# What goes wrong again and again is dumped once in a while.
DUMP_SECONDS: Final = 60.0


@implementer(ILogObserver)
class LogSystem:
    """
    Takes events from any thread and has them written.

    @ivar settings: in force.
    """

    def __init__(
        self,
        settings: LogSettings,
        *,
        terminal: int | None = None,
        nodeid: int | None = None,
        directory: str | None = None,
        held: bool = False,
        switches: Switches = SWITCHES,
        clock: Callable[[], float] = time.monotonic,
        timeOfDay: Callable[[], float] = time.time,
    ) -> None:
        """
        @param terminal: a descriptor for C{to_stderr}; L{None} for nowhere.
        @param directory: for dumps of the flight recorder; L{None} for no dumps.
        @param held: this process is going to fork: write nothing before
            L{begin}.
        @raise OSError: when a log file cannot be opened.
        """
        self._common: dict[str, Any] = {} if nodeid is None else {"nodeid": nodeid}
        self._directory = None if directory is None else Path(directory)
        self._switches = switches
        self._clock = clock
        self._timeOfDay = timeOfDay
        self._tags = Tags()
        self._recorder = Recorder()
        self._nextDump = clock()
        self._planner = Planner(terminal, self._common)
        plan = self._planner.plan(settings, {})
        plan.adopt()
        self._scribe = Scribe(plan, self._recorder, clock, timeOfDay)
        self._writer = Writer(self._scribe, held)
        self._apply(settings, plan)
        atexit.register(self.stop)

    def install(self) -> None:
        """
        Be the log of this program, once C{twisted.logger} has none yet.
        """
        globalLogBeginner.beginLoggingTo([self], redirectStandardIO=False)

    def begin(self) -> None:
        """
        We are the process that writes.
        """
        self._writer.begin()

    def stop(self, seconds: float = FLUSH_SECONDS) -> bool:
        """
        Write what waits, but not for ever; what comes later is written at once.

        @return: is everything written?
        """
        atexit.unregister(self.stop)
        return self._writer.stop(seconds)

    # Events.

    def __call__(self, event: LogEvent) -> None:
        """
        Take an event.
        """
        priority, tag = priorityOf(event), tagOf(event, self._tags)
        wanted = self._plan.route(tag).wants(priority, event.get(TRACE_KEY, 0))
        if wanted or self.settings.recorder:
            record = take(event, priority, tag)
            if wanted:
                self._writer.put(record)
            if self.settings.recorder:
                self._recorder.add(record)
            if record.traceback and priority <= Priority.CRIT:
                self._failureLogged(record)

    def _failureLogged(self, record: Record) -> None:
        """
        What has gone wrong is explained by what went before.
        """
        now = self._clock()
        if self._directory is not None and now >= self._nextDump:
            self._nextDump = now + DUMP_SECONDS
            self.dump(record.text())

    # At run time.

    def reconfigure(self, settings: LogSettings) -> None:
        """
        Go on with other settings, from the next event on.

        @raise OSError: when a log file cannot be opened, or the writer hangs;
            then nothing changes.
        """
        plan = self._planner.plan(settings, self._plan.targets)
        if not self._writer.ask(partial(self._scribe.follow, plan)):
            plan.close(keeping=self._plan.targets)
            raise _busy()
        self._apply(settings, plan)

    def check(self, settings: LogSettings) -> None:
        """
        Could we L{reconfigure}?

        @raise OSError: no: a log file cannot be opened.
        """
        targets = self._plan.targets
        self._planner.plan(settings, targets).close(keeping=targets)

    def _apply(self, settings: LogSettings, plan: Plan) -> None:
        self.settings, self._plan = settings, plan
        always = RARE_TRACES if settings.recorder else frozenset[int]()
        self._switches.choose(
            settings.rest.trace | always,
            {tag: part.trace | always for tag, part in settings.parts},
        )
        if not settings.recorder:
            self._recorder.clear()

    def reopen(self) -> None:
        """
        Have every log file opened again, under its name.
        """
        self._writer.ask(self._scribe.reopen)

    def dump(
        self, reason: str, state: Mapping[str, Any] | None = None
    ) -> "Future[str]":
        """
        Write what the flight recorder holds to a file of its own.

        @param state: to write behind it, by name.
        @return: the path, when it is written; or L{OSError}.
        """
        found: Future[str] = Future()
        common = {**self._common, "pid": os.getpid()}
        flight = self._recorder.flight(self._timeOfDay(), reason, common, state or {})
        if self._directory is None:
            found.set_exception(OSError(ENOENT, "there is no state directory"))
        elif not self._writer.ask(partial(_save, flight, self._directory, found)):
            found.set_exception(_busy())
        return found

    def statistics(self) -> dict[str, int]:
        """
        Counters, and what is in memory now.
        """
        return {
            "written": self._writer.taken,
            "dropped": self._writer.dropped,
            "lost": self._scribe.lost(),
            "failures": self._writer.failures,
            "waiting": self._writer.waiting(),
            "recorded": len(self._recorder),
            "recorded_bytes": self._recorder.bytes,
            "forgotten": self._recorder.forgotten,
        }


def _busy() -> OSError:
    return OSError(EBUSY, "the log does not keep up")


def _save(flight: Flight, directory: Path, found: "Future[str]") -> None:
    try:
        found.set_result(str(save(flight, directory)))
    except Exception as error:  # noqa: BLE001 - whoever asked is told.
        found.set_exception(error)
