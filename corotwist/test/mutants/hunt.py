"""
Looking for one error: drawn runs first, then a story.

A hunt happens in a process of its own, which imports the code with the error
in it; see L{hunt}.
"""

import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Final
from unittest import TestResult

from attrs import asdict, frozen

from corotwist.test.mutants.mutant import Mutant, install

# A run that takes so many seconds of a processor goes round in circles.
STUCK_SECONDS: Final = 20


@frozen
class Find:
    """
    How an error was found.

    @ivar by: C{rings}, C{services}, or the name of a test.
    @ivar seed: of the drawn run that showed it; L{None} for a story.
    @ivar runs: how many it took.
    @ivar promise: which was broken; what kind of failure, if it was none.
    @ivar seconds: of a processor, that the hunt took.
    """

    by: str
    seed: int | None
    runs: int
    promise: str
    seconds: float

    def again(self, mutant: Mutant) -> "Task":
        """
        The shortest way to find it again.
        """
        if self.seed is None:
            return Task(mutant, range(0), (self.by,))
        return Task(mutant, range(self.seed, self.seed + 1), kind=self.by)


class Stuck(BaseException):
    """
    A run does not end.
    """


@frozen
class Task:
    """
    What to try.

    @ivar seeds: the drawn runs, of each kind.
    @ivar stories: the tests to run when they are through.
    @ivar kind: C{rings} or C{services} only.
    """

    mutant: Mutant
    seeds: range
    stories: Sequence[str] = ()
    kind: str = ""


def hunt(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Mutant, Find | None]]:
    """
    In processes of their own, run the code with each error in it until it
    shows.  They fork from this one, which must not have imported what the
    errors are in.

    @param jobs: how many at a time.
    """
    waiting = deque(tasks)
    with DefaultSelector() as selector:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < jobs:
                task = waiting.popleft()
                pid, pipe = _fork(task)
                selector.register(pipe, EVENT_READ, (task.mutant, pid))
            for key, _ in selector.select():
                mutant, pid = key.data
                selector.unregister(key.fileobj)
                with os.fdopen(key.fd) as report:
                    text = report.read()
                os.waitpid(pid, 0)
                yield mutant, Find(**json.loads(text)) if text else None


def _fork(task: Task) -> tuple[int, int]:
    """
    @return: the child, and where it tells what it found when it ends.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _childMain(writer, task)
    os.close(writer)
    return child, reader


def _childMain(writer: int, task: Task) -> None:
    try:
        install(task.mutant.edits)
        found = _search(task)
        if found is not None:
            os.write(writer, json.dumps(asdict(found)).encode())
    except BaseException:  # noqa: BLE001 - Nothing of ours may go on in the child.
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(0)


def _search(task: Task) -> Find | None:
    began = time.process_time()
    runs = 0
    for seed in task.seeds:
        for services in _kinds(task):
            runs += 1
            promise = _verdict(lambda: _run(seed, services=services))  # noqa: B023
            if promise:
                by = "services" if services else "rings"
                return Find(by, seed, runs, promise, time.process_time() - began)
    for story in task.stories:
        failures: list[Failure] = []
        promise = _verdict(lambda: _tell(story, failures))  # noqa: B023
        if promise:
            by = failures[0].test if failures else story
            return Find(by, None, runs, promise, time.process_time() - began)
    return None


def _kinds(task: Task) -> tuple[bool, ...]:
    """
    Of whole nodes?
    """
    if task.kind:
        return (task.kind == "services",)
    return (True,) if task.mutant.services else (False, True)


def _run(seed: int, *, services: bool) -> None:
    # Imported here, with the error in it.
    from corotwist.simulator.swarm.run import Swarm  # noqa: PLC0415

    Swarm(seed, services=services).run()


@frozen
class Failure:
    """
    What a test found.
    """

    test: str
    text: str


def _tell(story: str, failures: list[Failure]) -> None:
    from twisted.trial.runner import TestLoader  # noqa: PLC0415

    result = TestResult()
    result.failfast = True
    TestLoader().loadByName(story, recurse=True).run(result)
    for test, text in (*result.failures, *result.errors):
        failures.append(Failure(test.id(), text))
        raise AssertionError(text)


def _verdict(run: Callable[[], None]) -> str:
    """
    Which promise a run broke, if any.
    """
    try:
        with _patience():
            run()
    except Stuck:
        return "does not end"
    except Exception as error:  # noqa: BLE001 - Whatever it is, it was seen.
        violation: Any = getattr(error, "violation", None)
        return _named(error) if violation is None else str(violation.promise)
    return ""


def _named(error: Exception) -> str:
    text = str(error)
    for line in text.splitlines():
        if "PromiseBroken: " in line:
            return line.split("PromiseBroken: ", 1)[1].split(":", 1)[0]
    return "the story" if isinstance(error, AssertionError) else type(error).__name__


@contextmanager
def _patience() -> Iterator[None]:
    def stuck(number: int, frame: object) -> None:
        raise Stuck

    before = signal.signal(signal.SIGVTALRM, stuck)
    signal.setitimer(signal.ITIMER_VIRTUAL, STUCK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
