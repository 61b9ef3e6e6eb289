"""
Tests of the shipped fence agents.
"""

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.deviceinterfaces import IFenceAgent
from corotwist.errors import ConfigurationError
from corotwist.fenceagents import LAST_BYTES, CommandAgent, NotFenced, TestAgent


class FakeProcess:
    """
    A process that runs until a test ends it.
    """

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


class FakeReactor:
    """
    Notes what it is asked to run.
    """

    def __init__(self) -> None:
        self.runs: list[tuple[Any, list[str], dict[str, str]]] = []
        self.process = FakeProcess()
        self.error: OSError | None = None

    def spawnProcess(
        self, protocol: Any, path: str, arguments: list[str], environment: Any
    ) -> None:
        if self.error is not None:
            raise self.error
        self.runs.append((protocol, arguments, environment))
        protocol.transport = self.process


class CommandTests(SynchronousTestCase):
    """
    A command, and how it ends.
    """

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        options = {"command": "/sbin/off --node 'rack %n' -f"}
        self.agent = CommandAgent(self.reactor, options)

    def test_interface(self) -> None:
        """
        Both are fence agents.
        """
        verifyObject(IFenceAgent, self.agent)
        verifyObject(IFenceAgent, TestAgent(self.reactor, {}))

    def test_confirmed(self) -> None:
        """
        Status 0 means that the node is off; what was printed says how.  (A108)
        """
        asked = self.agent.fence(7, "it was lost")
        ((run, arguments, environment),) = self.reactor.runs
        self.assertEqual(arguments, ["/sbin/off", "--node", "rack 7", "-f"])
        self.assertEqual(environment["COROTWIST_REASON"], "it was lost")
        run.outReceived(b"outlet 7 off\n")
        run.processEnded(Failure(ProcessDone(0)))
        self.assertEqual(self.successResultOf(asked), "outlet 7 off")
        self.assertEqual(self.agent.status()["runs"], 1)

    def test_failed(self) -> None:
        """
        Any other end means that nothing is known.  (A108)
        """
        asked = self.agent.fence(7, "")
        run = self.reactor.runs[0][0]
        run.errReceived(b"x" * 5000 + b"no such outlet")
        run.processEnded(Failure(ProcessTerminated(3)))
        text = self.failureResultOf(asked, NotFenced).getErrorMessage()
        self.assertTrue(text.endswith("no such outlet"))
        self.assertLess(len(text), LAST_BYTES + 60)

    def test_killed(self) -> None:
        """
        A command that nobody waits for any more is killed.  (A108)
        """
        asked = self.agent.fence(7, "")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.reactor.process.signals, ["KILL"])
        self.reactor.runs[0][0].processEnded(Failure(ProcessTerminated(None, 9)))

    def test_notStarted(self) -> None:
        """
        What cannot be started confirms nothing.
        """
        self.reactor.error = OSError(2, "No such file or directory")
        asked = self.agent.fence(7, "")
        self.assertIn("No such file", str(self.failureResultOf(asked, NotFenced).value))

    def test_wrongCommands(self) -> None:
        """
        What cannot work is told before anything is lost.
        """
        for command in ("", "off %n", "/sbin/off", "/sbin/off '%n"):
            error = self.assertRaises(
                ConfigurationError, CommandAgent, self.reactor, {"command": command}
            )
            self.assertIn("fencing.command", str(error))
