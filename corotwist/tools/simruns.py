"""
Many simulated runs, in several processes: the engine of C{corotwist sim}.
"""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Generator, Iterable
from importlib import import_module
from time import perf_counter
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.errors import CorotwistError
from corotwist.simulator.swarm.plan import Plan
from corotwist.simulator.swarm.run import Outcome, Swarm, outcome, replayOf

# One run takes seconds; a process that says nothing for so long has died.
MOST_SECONDS: Final = 1800.0
# Work is handed out so many runs ahead of each process.
AHEAD: Final = 2


class NoFactory(CorotwistError):
    """
    C{--plan} names nothing that makes runs.
    """


@frozen
class Task:
    """
    One run to be made.

    @ivar plan: L{None} to draw one.
    @ivar factory: what makes it, as C{module:name}; L{Swarm} by default.
    @ivar replay: the command that repeats it, when it is not the seed's.
    """

    seed: int
    services: bool
    mostNodes: int
    seconds: float | None = None
    plan: Plan | None = None
    keepTrace: bool = False
    factory: str = ""
    replay: str = ""


def factoryOf(name: str) -> Any:
    """
    What C{module:name} is.

    @raise NoFactory: nothing.
    """
    if not name:
        return Swarm
    module, _, what = name.partition(":")
    try:
        return getattr(import_module(module), what)
    except (ImportError, AttributeError, ValueError) as error:
        raise NoFactory(
            f"{name!r} is not module:name of what makes runs: {error}"
        ) from error


def swarmOf(task: Task) -> Swarm:
    """
    The run, ready to begin.
    """
    swarm: Swarm = factoryOf(task.factory)(
        task.seed,
        task.replay
        or replayOf(task.seed, task.mostNodes, task.factory, services=task.services),
        mostNodes=task.mostNodes,
        keepTrace=task.keepTrace,
        services=task.services,
        seconds=task.seconds,
        plan=task.plan,
    )
    return swarm


def perform(task: Task) -> Outcome:
    """
    Make one run.
    """
    return outcome(swarmOf(task))


def _deaf() -> None:
    """
    It is for the first process to react when somebody interrupts.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def performAll(tasks: Iterable[Task], jobs: int) -> Generator[Outcome, None, None]:
    """
    Make runs, so many at a time, and tell what came of each as it ends.  When
    the caller stops listening, those under way are given up.
    """
    if jobs == 1:
        yield from map(perform, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _deaf) as pool:
        waiting: list[Any] = []
        for task in tasks:
            waiting.append(pool.apply_async(perform, (task,)))
            while len(waiting) >= jobs * AHEAD:
                yield _oldest(waiting)
        while waiting:
            yield _oldest(waiting)


def _oldest(waiting: list[Any]) -> Outcome:
    result: Outcome = waiting.pop(0).get(MOST_SECONDS)
    return result


@define(eq=False)
class Tally:
    """
    What came of all runs so far.

    @ivar failures: the runs in which a promise was broken.
    """

    runs: int = 0
    virtualSeconds: float = 0.0
    faultSeconds: float = 0.0
    events: int = 0
    records: int = 0
    installs: int = 0
    faults: int = 0
    busySeconds: float = 0.0
    failures: list[Outcome] = field(factory=list)
    sometimes: Counter[str] = field(factory=Counter)
    began: float = field(factory=perf_counter)

    def add(self, outcome: Outcome) -> None:
        """
        One more.
        """
        self.runs += 1
        self.virtualSeconds += outcome.at
        self.faultSeconds += outcome.faultSeconds
        self.events += outcome.events
        self.records += outcome.records
        self.installs += outcome.installs
        self.faults += sum(outcome.done.values())
        self.busySeconds += outcome.busySeconds
        self.sometimes += outcome.sometimes
        if outcome.promise:
            self.failures.append(outcome)

    @property
    def seconds(self) -> float:
        """
        Of real time since the beginning.
        """
        return perf_counter() - self.began

    def summary(self) -> dict[str, Any]:
        """
        For machines.
        """
        hours = max(self.virtualSeconds, 1e-9) / 3600
        return {
            "runs": self.runs,
            "failures": [
                {
                    "seed": o.seed,
                    "services": o.services,
                    "nodes": o.size,
                    "promise": o.promise,
                    "text": o.text,
                    "at": o.at,
                }
                for o in self.failures
            ],
            "seconds": self.seconds,
            "virtualHours": hours,
            "events": self.events,
            "eventsPerSecond": self.events / max(self.busySeconds, 1e-9),
            "faultsPerHour": self.faults / max(self.faultSeconds, 1e-9) * 3600,
            "installsPerHour": self.installs / hours,
            "runsPerMinute": self.runs / max(self.seconds, 1e-9) * 60,
            "sometimes": dict(sorted(self.sometimes.items())),
        }
