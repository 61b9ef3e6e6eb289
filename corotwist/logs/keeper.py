"""
What a daemon does with its log: signals, the end of the process, and crashes.
"""

import faulthandler
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.reflect import safe_repr
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.errors import ConfigurationError, CorotwistError, Problem
from corotwist.interfaces import IReconfigurable
from corotwist.logs.system import LogSystem

# In the state directory: what Python tells when it dies of a signal.
FAULT_FILE: Final = "fault-{nodeid}.txt"


@implementer(IReconfigurable)
class Keeper:
    """
    The log of one daemon, for its reactor.

    @ivar state: of the node, to be dumped with the flight recorder.
    @ivar observing: do lines go where the configuration says?  If not, twistd
        was told where, and a reload does not change that.
    """

    _log = Logger()

    def __init__(
        self, logs: LogSystem, reactor: Any, *, observing: bool = True
    ) -> None:
        self.logs = logs
        self.observing = observing
        self.state: Callable[[], Mapping[str, Any]] = dict
        self._reactor = reactor

    def start(self) -> None:
        """
        We are the process that runs the node.
        """
        self.logs.begin()
        self._reactor.addSystemEventTrigger("after", "shutdown", self.logs.stop)
        self._onSignal(signal.SIGHUP, self.reopen)
        self._onSignal(signal.SIGUSR2, self._dumpUnasked)

    def _onSignal(self, number: int, action: Callable[[], object]) -> None:
        """
        The reactor does it: a signal comes at any moment.
        """
        signal.signal(number, lambda *_: self._reactor.callFromThread(action))

    def _dumpUnasked(self) -> None:
        """
        Nobody waits for the answer; it is in the log.
        """
        self.dump("SIGUSR2").addErrback(lambda _: None)

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        if not self.observing:
            return
        try:
            self.logs.check(settings.log)
        except OSError as error:
            raise ConfigurationError(
                Problem(
                    str(error.filename),
                    0,
                    "logging.logfile",
                    error.strerror or str(error),
                )
            ) from error

    def reconfigured(self, settings: NodeSettings) -> None:
        if not self.observing:
            return
        try:
            self.logs.reconfigure(settings.log)
        except OSError as error:
            self._log.error("The log stays as it was: {error}", error=str(error))

    def reopen(self) -> None:
        """
        Open the log files again, after somebody moved them.
        """
        self.logs.reopen()
        self._log.info("Log files are opened again")

    def dump(self, reason: str) -> Deferred[str]:
        """
        Write the flight recorder and the state of the node to a file.

        @return: fires with its path, or L{OSError}.
        """
        result: Deferred[str] = Deferred()

        def written(future: "Future[str]") -> None:
            self._reactor.callFromThread(self._written, future, reason, result)

        self.logs.dump(reason, self._stateNow()).add_done_callback(written)
        return result

    def _stateNow(self) -> Mapping[str, Any]:
        """
        A node that cannot tell its state has the more to be dumped.
        """
        try:
            return self.state()
        except Exception as error:  # noqa: BLE001
            return {"unknown": safe_repr(error)}

    def _written(
        self, future: "Future[str]", reason: str, result: Deferred[str]
    ) -> None:
        error = future.exception()
        if error is None:
            path = future.result()
            self._log.info(
                "Flight recorder written to {path}: {reason}", path=path, reason=reason
            )
            result.callback(path)
        else:
            self._log.error(
                "The flight recorder cannot be written: {error}", error=str(error)
            )
            result.errback(Failure(error))


class Crashes:
    """
    Has what nobody caught logged, which dumps the flight recorder; and has
    Python tell where it was when a signal killed it.
    """

    _log = Logger()

    def __init__(self, directory: str, nodeid: int) -> None:
        self._path = Path(directory) / FAULT_FILE.format(nodeid=nodeid)
        self._file: IO[str] | None = None

    def watch(self) -> None:
        """
        From now on.
        """
        before = sys.excepthook

        def uncaught(
            kind: type[BaseException],
            error: BaseException,
            traceback: TracebackType | None,
        ) -> None:
            self.uncaught(error)
            before(kind, error, traceback)

        sys.excepthook = uncaught
        threading.excepthook = lambda args: self.uncaught(args.exc_value)
        self._watchFaults()

    def _watchFaults(self) -> None:
        try:
            self._file = self._path.open("a")
        except OSError as error:
            self._log.warn("No file for faults: {error}", error=str(error))
            return
        faulthandler.enable(self._file)

    def unwatch(self) -> None:
        """
        Let Python's own faults go unnoticed.
        """
        faulthandler.disable()
        if self._file is not None:
            self._file.close()

    def uncaught(self, error: BaseException | None) -> None:
        """
        An exception that ends the process or a thread.
        """
        if isinstance(error, Exception) and not isinstance(error, CorotwistError):
            self._log.failure("Nobody caught an error", Failure(error))
