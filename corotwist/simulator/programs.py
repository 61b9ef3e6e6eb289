"""
Programs on simulated machines: what an engine takes for processes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import (
    IProcessProtocol,
    IProcessTransport,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

FIRST_PID: Final = 1000
_STDOUT: Final = 1
_SIGNALS: Final = {"HUP": 1, "INT": 2, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15}
_NO_SUCH_FILE: Final = 1


@implementer(IProcessTransport)
@define(eq=False)
class SimulatedProcess:
    """
    One running program.

    @ivar clock: of its machine.
    @ivar onSignal: told the names of signals, but for C{"KILL"}; without it
        every signal ends the process.
    """

    pid: int | None
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    clock: IReactorTime
    _protocol: IProcessProtocol
    onSignal: Callable[[str], object] | None = None

    # For the program.

    def print(self, text: str) -> None:
        """
        Write something; lines are what ends with a newline.
        """
        if self.pid is not None:
            self._protocol.childDataReceived(_STDOUT, text.encode())

    def exit(self, status: int = 0) -> None:
        """
        End.
        """
        self._end(ProcessTerminated(status) if status else ProcessDone(0))

    def _end(self, reason: Exception) -> None:
        """
        The parent hears it a turn later.
        """
        if self.pid is not None:
            self.pid = None
            self.clock.callLater(0, self._ended, Failure(reason))

    def _ended(self, reason: Failure) -> None:
        self._protocol.processExited(reason)
        self._protocol.processEnded(reason)

    # For the parent.

    def signalProcess(self, signalID: str | int) -> None:
        if self.pid is None:
            raise ProcessExitedAlready
        name = str(signalID)
        if name == "KILL" or self.onSignal is None:
            self._end(ProcessTerminated(signal=_SIGNALS[name]))
        else:
            self.onSignal(name)

    def closeStdin(self) -> None:
        """
        No simulated program reads.
        """

    closeStdout = closeStderr = loseConnection = closeStdin

    def closeChildFD(self, descriptor: int) -> None:
        """
        Nor does it care.
        """

    def writeToChild(self, childFD: int, data: bytes) -> None:
        raise NotImplementedError("no simulated program reads")

    def write(self, data: bytes) -> None:
        raise NotImplementedError("no simulated program reads")

    def writeSequence(self, data: Iterable[bytes]) -> None:
        raise NotImplementedError("no simulated program reads")

    def getPeer(self) -> Any:
        return None

    getHost = getPeer


Behaviour = Callable[[SimulatedProcess], object]


@define(eq=False)
class Programs:
    """
    The programs of one machine, and those that run.

    @ivar installed: what each program does when it is started, by its path.
    @ivar started: every process there was, in the order of their starts.
    """

    installed: dict[str, Behaviour] = field(factory=dict)
    started: list[SimulatedProcess] = field(factory=list)

    def spawn(
        self,
        clock: IReactorTime,
        protocol: IProcessProtocol,
        executable: str,
        args: Sequence[str],
        environment: Mapping[str, str],
    ) -> SimulatedProcess:
        """
        Start one; what is not installed ends at once, as with a real reactor.
        """
        pid = FIRST_PID + len(self.started)
        process = SimulatedProcess(pid, tuple(args), dict(environment), clock, protocol)
        self.started.append(process)
        protocol.makeConnection(process)
        behaviour = self.installed.get(executable)
        if behaviour is None:
            process.exit(_NO_SUCH_FILE)
        else:
            behaviour(process)
        return process
