"""
Processes that an engine starts and looks after.

A child that ends is started again, after a pause that doubles each time; one
that ends too often is given up.  What it prints becomes log lines.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessProtocol,
    IProcessTransport,
    IReactorProcess,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.errors import Exists, InvalidParameter, NoSpace, NotSupported

# Of all engines of a node.
MOST_CHILDREN: Final = 256
LONGEST_LINE: Final = 2048
# Log lines of one child in one second; the others are counted.
LINES_PER_SECOND: Final = 100
# After a child has ended: for what it printed to come, unless processes that it
# left behind keep its output open.
OUTPUT_SECONDS: Final = 0.5
# Kept of each child, to show why it ended.
LAST_LINES: Final = 20
_STDIN, _STDOUT, _STDERR = range(3)


class Respawn(Enum):
    """
    Which ends are followed by another start.
    """

    ALWAYS = "always"
    ON_FAILURE = "on failure"
    NEVER = "never"


class State(Enum):
    """
    Where a child is.

    @cvar PAUSING: it ended, and will be started again.
    @cvar ENDED: it ended, and that was all.
    @cvar GIVEN_UP: it ended too often.
    """

    RUNNING = "running"
    PAUSING = "waiting to be started again"
    STOPPING = "stopping"
    ENDED = "ended"
    GIVEN_UP = "given up"


OVER: Final = (State.ENDED, State.GIVEN_UP)


@frozen
class Program:
    """
    What to run, and how to look after it.

    @ivar name: shown to people; unique among the children of an engine.
    @ivar command: the path of the program and its arguments.
    @ivar environment: all of it; nothing is passed on from this process.
    @ivar firstPause: seconds until the first start after an end; each further
        pause is twice as long, at most C{longestPause}.
    @ivar steady: who ran for so long begins with the first pause again.
    @ivar mostRestarts: so many in C{within} seconds; then it is given up.
    @ivar patience: seconds to end by itself when asked to; then it is killed.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(factory=dict)
    directory: str | None = None
    respawn: Respawn = Respawn.ALWAYS
    firstPause: float = 0.1
    longestPause: float = 30.0
    steady: float = 60.0
    mostRestarts: int = 10
    within: float = 300.0
    patience: float = 5.0

    def __attrs_post_init__(self) -> None:
        if not self.name or not self.command or not self.command[0]:
            raise InvalidParameter("a program has a name and a path")
        times = (self.firstPause, self.longestPause, self.within, self.patience)
        if min(times) <= 0 or self.mostRestarts < 0 or self.steady < 0:
            raise InvalidParameter(f"{self.name}: times are above 0, counts not below")


@define(eq=False)
class Lines:
    """
    What a child prints, in lines of bounded length, and not too many.

    @ivar last: the latest, for people.
    """

    _write: Callable[[str], object]
    _clock: IReactorTime
    last: deque[str] = field(factory=lambda: deque(maxlen=LAST_LINES))
    _parts: dict[int, bytearray] = field(factory=dict)
    _second: int = -1
    _written: int = 0
    dropped: int = 0

    def received(self, descriptor: int, data: bytes) -> None:
        """
        The child printed something.
        """
        part = self._parts.setdefault(descriptor, bytearray())
        part += data
        *lines, rest = part.split(b"\n")
        for line in lines:
            self._line(line)
        if len(rest) > LONGEST_LINE:
            self._line(rest)
            rest = bytearray()
        self._parts[descriptor] = rest

    def ended(self) -> None:
        """
        No more will come; the last line may have had no end.
        """
        parts, self._parts = self._parts, {}
        for part in parts.values():
            if part:
                self._line(part)

    def _line(self, data: bytearray) -> None:
        text = bytes(data[:LONGEST_LINE]).decode("utf-8", "backslashreplace")
        text = text.rstrip("\r")
        self.last.append(text)
        second = int(self._clock.seconds())
        if second != self._second:
            dropped, self.dropped = self.dropped, 0
            self._second, self._written = second, 0
            if dropped:
                self._write(f"({dropped} lines more were not logged)")
        if self._written >= LINES_PER_SECOND:
            self.dropped += 1
            return
        self._written += 1
        self._write(text)


@implementer(IProcessProtocol)
@define(eq=False)
class _Process:
    """
    One life of a child, as the reactor sees it.
    """

    _child: "Child"
    _clock: IReactorTime
    transport: IProcessTransport | None = None
    _output: IDelayedCall | None = None

    def makeConnection(self, process: IProcessTransport) -> None:
        self.transport = process

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._child.lines.received(childFD, data)

    def childConnectionLost(self, childFD: int) -> None:
        """
        It closed its output; it may go on without.
        """

    def processExited(self, reason: Failure) -> None:
        self._output = self._clock.callLater(OUTPUT_SECONDS, self._closeOutput)

    def _closeOutput(self) -> None:
        self._output = None
        if self.transport is not None:
            self.transport.closeStdout()
            self.transport.closeStderr()

    def processEnded(self, reason: Failure) -> None:
        self.transport = None
        if self._output is not None:
            self._output.cancel()
            self._output = None
        self._child.processEnded(reason)

    def signal(self, name: str) -> None:
        """
        If it still runs.
        """
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(name)


class Child:
    """
    A process that is looked after, through all its lives.

    @ivar state: where it is.
    @ivar starts: how often it was started.
    @ivar ended: fires with the L{State} of the end, when there will be no other
        start: it was stopped, it ended well, or it was given up.
    @ivar reason: why it ended last, for people.
    @ivar succeeded: did it end with exit status 0, the last time?
    @ivar call: calls into the engine, and contains what it raises; of another
        version of the engine from the moment on when it takes over.
    @ivar onStart: called after each start but the first.
    @ivar onEnd: called with a reason after each end, also those that are
        followed by another start.
    """

    def __init__(
        self,
        who: str,
        program: Program,
        clock: IReactorTime,
        processes: IReactorProcess,
        call: Callable[..., Any],
    ) -> None:
        self.program = program
        self.who = who
        self.state = State.PAUSING
        self.starts = 0
        self.reason = ""
        self.succeeded = False
        self.ended: Deferred[State] = Deferred()
        self.onStart: Callable[[], object] | None = None
        self.onEnd: Callable[[str], object] | None = None
        self.lines = Lines(self._logLine, clock)
        self._log = Logger()
        self._clock = clock
        self._processes = processes
        self.call = call
        self._process: _Process | None = None
        self._next: IDelayedCall | None = None
        self._startedAt = 0.0
        self._pause = program.firstPause
        self._restarts: deque[float] = deque(maxlen=program.mostRestarts + 1)
        self._stopping: list[Deferred[None]] = []

    @property
    def pid(self) -> int | None:
        """
        Of the process that runs now.
        """
        process = self._process
        if process is None or process.transport is None:
            return None
        pid: int | None = process.transport.pid
        return pid

    @property
    def over(self) -> bool:
        """
        Will it never run again?
        """
        return self.state in OVER

    # Starting.

    def start(self) -> None:
        """
        One more life.
        """
        self._next = None
        program = self.program
        self.state = State.RUNNING
        self.starts += 1
        self._startedAt = self._clock.seconds()
        process = self._process = _Process(self, self._clock)
        try:
            self._processes.spawnProcess(
                process,
                program.command[0],
                args=list(program.command),
                env=dict(program.environment),
                path=program.directory,
                childFDs={_STDIN: "w", _STDOUT: "r", _STDERR: "r"},
            )
        except Exception as error:  # noqa: BLE001 - A reactor refuses what is no program.
            why = getattr(error, "strerror", None) or error
            self._processEnded(f"cannot be started: {why}", False)
            return
        if process.transport is not None:
            process.transport.closeStdin()
        self._log.info(
            "{who}: {name} started, process {pid}",
            who=self.who,
            name=program.name,
            pid=self.pid,
        )
        if self.onStart is not None:
            self.call(self.onStart)

    # It ended.

    def processEnded(self, reason: Failure) -> None:
        """
        From the reactor.
        """
        self.lines.ended()
        value: Any = reason.value
        signal = getattr(value, "signal", None)
        code = getattr(value, "exitCode", None)
        text = f"signal {signal}" if signal else f"exit status {code}"
        self._processEnded(text, code == 0)

    def _processEnded(self, reason: str, good: bool) -> None:
        self._process = None
        self.reason = reason
        self.succeeded = good
        self._log.info(
            "{who}: {name} ended: {reason}",
            who=self.who,
            name=self.program.name,
            reason=reason,
        )
        if self.onEnd is not None:
            self.call(self.onEnd, reason)
        if self.over:
            return  # Whoever heard it has stopped us.
        if self.state is State.STOPPING or not self._wanted(good):
            self._finish(State.ENDED)
        else:
            self._again()

    def _wanted(self, good: bool) -> bool:
        respawn = self.program.respawn
        return respawn is Respawn.ALWAYS or (respawn is Respawn.ON_FAILURE and not good)

    def _again(self) -> None:
        """
        After a pause, unless that was too often.
        """
        now, program = self._clock.seconds(), self.program
        if now - self._startedAt >= program.steady:
            self._pause = program.firstPause
        self._restarts.append(now)
        recent = [at for at in self._restarts if at > now - program.within]
        if len(recent) > program.mostRestarts:
            self._log.critical(
                "{who}: {name} is given up after {starts} starts: {reason}",
                who=self.who,
                name=program.name,
                starts=self.starts,
                reason=self.reason,
            )
            self._finish(State.GIVEN_UP)
            return
        self.state = State.PAUSING
        self._next = self._clock.callLater(self._pause, self.start)
        self._pause = min(2 * self._pause, program.longestPause)

    def _finish(self, state: State) -> None:
        self.state = state
        if self._next is not None:
            self._next.cancel()
            self._next = None
        stopping, self._stopping = self._stopping, []
        if not self.ended.called:
            self.call(self.ended.callback, state)
        for waits in stopping:
            waits.callback(None)

    # Stopping.

    def signal(self, name: str) -> None:
        """
        Send a signal, C{"HUP"} or C{"USR1"}, if it runs.
        """
        if self._process is not None:
            self._process.signal(name)

    def stop(self) -> Deferred[None]:
        """
        Ask it to end, and make it when it does not.

        @return: fires when it has ended.
        """
        if self.over:
            return succeed(None)
        waits: Deferred[None] = Deferred()
        self._stopping.append(waits)
        if self._process is None:
            self._finish(State.ENDED)
        elif self.state is not State.STOPPING:
            self.state = State.STOPPING
            self._next = self._clock.callLater(self.program.patience, self._kill)
            self.signal("TERM")
        return waits

    def _kill(self) -> None:
        self._next = None
        self._log.warn(
            "{who}: {name} does not end, and is killed",
            who=self.who,
            name=self.program.name,
        )
        self.signal("KILL")

    def _logLine(self, text: str) -> None:
        self._log.info(
            "{who}: {name}: {line}", who=self.who, name=self.program.name, line=text
        )

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            "state": self.state.value,
            "pid": self.pid or 0,
            "starts": self.starts,
            "reason": self.reason,
            "lastLines": list(self.lines.last),
        }


class Children:
    """
    All children of a node, in the order of their first starts.
    """

    def __init__(self, clock: IReactorTime, processes: Any) -> None:
        """
        @param processes: an C{IReactorProcess}; L{None} where there are no
            processes.
        """
        self._clock = clock
        self._processes = processes
        self._children: list[Child] = []

    def spawn(self, who: str, program: Program, call: Callable[..., Any]) -> Child:
        """
        Start a child.

        @raise Exists: the engine has one of this name, which is not about to
            end.
        @raise NoSpace: there are too many.
        @raise NotSupported: this node starts no processes.
        """
        if self._processes is None:
            raise NotSupported("this node starts no processes")
        for other in self.of(who):
            stays = not other.over and other.state is not State.STOPPING
            if stays and other.program.name == program.name:
                raise Exists(f"{who} has a child {program.name!r}")
        self._forgetEnded(who, program.name)
        if len(self._children) >= MOST_CHILDREN:
            raise NoSpace(f"{MOST_CHILDREN} children are there already")
        child = Child(who, program, self._clock, self._processes, call)
        self._children.append(child)
        child.start()
        return child

    def _forgetEnded(self, who: str, name: str) -> None:
        """
        One that has a successor; all of them, when the place is needed.
        """
        full = len(self._children) >= MOST_CHILDREN
        self._children = [
            child
            for child in self._children
            if not child.over
            or not (full or (child.who, child.program.name) == (who, name))
        ]

    def of(self, who: str) -> Iterator[Child]:
        """
        Those of one engine.
        """
        return iter([child for child in self._children if child.who == who])

    def passOn(self, old: Callable[..., Any], new: Callable[..., Any]) -> None:
        """
        Another version of their engine takes over.
        """
        for child in self._children:
            if child.call == old:
                child.call = new

    def discard(self, call: Callable[..., Any]) -> None:
        """
        Stop those of a version of an engine that never served.
        """
        for child in self._children:
            if child.call == call:
                child.stop()

    def stop(self, who: str) -> Deferred[Any]:
        """
        Stop those of one engine.

        @return: fires when all have ended.
        """
        return DeferredList([child.stop() for child in reversed([*self.of(who)])])

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            f"{child.who}/{child.program.name}": child.status()
            for child in self._children
        }
