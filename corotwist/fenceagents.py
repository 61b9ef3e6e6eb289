"""
Agents that make sure that a node is off.
"""

import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.deviceinterfaces import IFenceAgent
from corotwist.errors import ConfigurationError, CorotwistError, Problem

# Of what a command prints, its last bytes are kept.
LAST_BYTES: Final = 300
ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
NODEID: Final = "%n"


class NotFenced(CorotwistError):
    """
    It is not known that the node is off; the text says why.
    """


class _Command(ProcessProtocol):
    """
    One run: fires with what it printed, or fails.
    """

    def __init__(self) -> None:
        self.ended: Deferred[str] = Deferred(self._cancelled)
        self._printed = bytearray()

    def _cancelled(self, _: Deferred[str]) -> None:
        """
        It took too long, or nobody wants to know any more.
        """
        transport: Any = self.transport
        if transport is not None:
            try:
                transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def outReceived(self, data: bytes) -> None:
        self._printed += data
        del self._printed[:-LAST_BYTES]

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        if self.ended.called:
            return
        value: Any = reason.value
        printed = bytes(self._printed).decode("utf-8", "replace").strip()
        if value.exitCode == 0:
            self.ended.callback(printed or "the command says so")
            return
        how = f"signal {value.signal}" if value.signal else f"status {value.exitCode}"
        self.ended.errback(NotFenced(f"the command ended with {how}: {printed}"))


@implementer(IFenceAgent)
class CommandAgent:
    """
    Runs a command, which ends with status 0 when it is sure that the node is
    off.  In its arguments C{%n} is the nodeid.
    """

    _log = Logger()

    def __init__(self, reactor: Any, options: Mapping[str, str]) -> None:
        text = options.get("command", "")
        try:
            self._command = shlex.split(text)
        except ValueError as error:
            raise _wrong(f"{text!r}: {error}") from error
        if not self._command or not self._command[0].startswith("/"):
            raise _wrong(f"{text!r} has no program with its whole path")
        if NODEID not in text:
            raise _wrong(f"{text!r} has no {NODEID}: which node is to be off?")
        self._reactor = reactor
        self._runs = 0

    def fence(self, nodeid: int, reason: str) -> Deferred[str]:
        command = [part.replace(NODEID, str(nodeid)) for part in self._command]
        self._runs += 1
        run = _Command()
        self._log.info("Fencing: {command}", command=shlex.join(command))
        environment = {**ENVIRONMENT, "COROTWIST_REASON": reason}
        try:
            self._reactor.spawnProcess(run, command[0], command, environment)
        except OSError as error:
            return fail(NotFenced(f"{command[0]}: {error.strerror or error}"))
        return run.ended

    def status(self) -> dict[str, Any]:
        return {"command": shlex.join(self._command), "runs": self._runs}


@implementer(IFenceAgent)
class TestAgent:
    """
    For tests: says what the option C{answer} says, C{off} or C{unknown}, or
    nothing at all for C{silent}; and remembers who was asked about.

    @ivar asked: nodeids.
    """

    def __init__(self, reactor: Any, options: Mapping[str, str]) -> None:
        self.answer = options.get("answer", "off")
        self.asked: list[int] = []

    def fence(self, nodeid: int, reason: str) -> Deferred[str]:
        self.asked.append(nodeid)
        answers = {
            "off": partial(succeed, "a test says so"),
            "unknown": partial(fail, NotFenced("a test does not say so")),
        }
        return answers.get(self.answer, Deferred)()

    def status(self) -> dict[str, Any]:
        return {"answer": self.answer, "asked": self.asked}


def _wrong(text: str) -> ConfigurationError:
    return ConfigurationError(Problem("configuration", 0, "fencing.command", text))
