"""
C{twistd corosync}: its command line, and the process that comes of it.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService, IServiceMaker
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver
from twisted.plugin import IPlugin
from twisted.plugins.corotwist_plugin import corosync
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import corotwist
from corotwist import lastrun, tap
from corotwist.config.settings import NodeSettings
from corotwist.ending import End, Ending
from corotwist.errors import StorageRefused
from corotwist.logs import choice
from corotwist.logs.tracing import SWITCHES
from corotwist.tap import Daemon, NotStarted, Options, alone, freePort, useRisingTime
from corotwist.test.directories import shortDirectory

CHECKOUT = str(Path(corotwist.__file__).parents[1])
PATIENCE = 60.0

GOOD = """\
totem {
    version: 2
    interface {
        mcastport: 7405
    }
}
nodelist {
    node {
        ring0_addr: 127.0.0.1
        nodeid: 1
    }
    node {
        ring0_addr: 127.0.0.2
        nodeid: 2
    }
}
corotwist {
    node: 1
}
"""


class TestBase(SynchronousTestCase):
    """
    A directory for configuration files, and what is written to the terminal.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.terminal = StringIO()
        self.patch(sys, "stderr", self.terminal)
        self.addCleanup(SWITCHES.choose, frozenset(), {})

    def write(self, text: str, name: str = "node.conf") -> str:
        """
        A configuration file.
        """
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def parse(self, *arguments: str) -> Options:
        """
        A command line that is right.
        """
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def exitOf(self, *arguments: str) -> Any:
        """
        With what a command line ends the process.
        """
        return self.assertRaises(SystemExit, self.parse, *arguments).code


class OptionsTests(TestBase):
    def test_settings(self) -> None:
        """
        The configuration is read with the command line.
        """
        settings = self.parse("--config", self.write(GOOD))["settings"]
        self.assertIsInstance(settings, NodeSettings)
        self.assertEqual(settings.totem.nodeid, 1)

    def test_several(self) -> None:
        """
        Of several files the later ones override the earlier ones; a file may
        say its format. (A41, H22)
        """
        first = self.write(GOOD)
        second = self.write("totem {\n  token: 4000\n}\n", "other")
        options = self.parse("--config", first, "-c", f"corosync:{second}")
        self.assertEqual(options["settings"].totem.timing.token, 4.0)
        self.assertEqual(options["settings"].totem.port, 7405)
        self.assertEqual(options["settings"].sources, tuple(options["config"]))
        self.assertEqual(options.read().settings, options["settings"])

    def test_unknownFormat(self) -> None:
        """
        A format that is none is told with those that there are.
        """
        self.assertIn("yaml", str(self.exitOf("--config", "yaml:/etc/node")))

    def test_columns(self) -> None:
        """
        What is wrong is told with file, line and column. (H20, H21)
        """
        path = self.write(GOOD + "totem {\n  token: soon\n}\n")
        self.assertEqual(self.exitOf("--test", "--config", path), 1)
        self.assertRegex(self.terminal.getvalue(), rf"{path}:\d+:10: totem.token: ")

    def test_node(self) -> None:
        """
        Which node we are can be said on the command line.
        """
        options = self.parse("-c", self.write(GOOD), "--node", "2")
        self.assertEqual(options["settings"].totem.nodeid, 2)

    def test_nothing(self) -> None:
        """
        Without a configuration there is nothing to read.
        """
        self.assertIsNone(self.parse()["settings"])

    def test_problems(self) -> None:
        """
        All problems go to the terminal, with file and line, and the process
        ends with status 1.
        """
        path = self.write(GOOD.replace("version: 2", "version: 3\ntokn: 1"))
        self.assertEqual(self.exitOf("--config", path), 1)
        self.assertEqual(
            self.terminal.getvalue().splitlines(),
            [
                f"{path}:2:14: totem.version: is 3, and must be 2",
                f"{path}:3:1: totem.tokn: no such option; did you mean token?",
            ],
        )

    def test_relativePath(self) -> None:
        """
        The path is made absolute before a daemon changes its directory.
        """
        path = self.write(GOOD + "system {\nstate_dir: state\n}\n")
        options = self.parse("-c", os.path.relpath(path))
        self.assertEqual(
            options["settings"].totem.stateDirectory, str(self.directory / "state")
        )

    def test_testGood(self) -> None:
        """
        C{--test} tells the warnings, and ends with 0 when the file can be
        used.
        """
        path = self.write(GOOD.replace("version: 2", "version: 2\nthreads: 1"))
        self.assertEqual(self.exitOf("--test", "--config", path), 0)
        self.assertEqual(
            self.terminal.getvalue().splitlines(),
            [
                f"warning: {path}:3:10: totem.threads: no effect in this release",
                "The configuration can be used.",
            ],
        )

    def test_testBad(self) -> None:
        """
        It ends with 1 when not.
        """
        self.assertEqual(self.exitOf("--test", "--config", self.write("")), 1)
        self.assertNotIn("can be used", self.terminal.getvalue())

    def test_testAll(self) -> None:
        """
        C{--test} tells all that is wrong, not the first of it only.  (F19)
        """
        path = self.write("totem {\n  token: soon\n  consensus: later\n}\n")
        self.assertEqual(self.exitOf("-t", "-c", path), 1)
        lines = self.terminal.getvalue().splitlines()
        for number, name in ((2, "token"), (3, "consensus")):
            where = f"{path}:{number}"
            self.assertTrue(any(where in line and name in line for line in lines))

    def test_asCorosync(self) -> None:
        """
        What corosync's command line says of the process twistd is told: to stay
        in the foreground, and where its number goes.  (F19)
        """
        options = Options()
        options.parent = twistd = _twistd(pidfile="twistd.pid")
        options.parseOptions(["-f", "-l", "corosync.pid"])
        self.assertIs(twistd["nodaemon"], True)
        self.assertEqual(twistd["pidfile"], str(Path("corosync.pid").absolute()))
        options = Options()
        options.parent = twistd = _twistd(pidfile="twistd.pid")
        options.parseOptions([])
        self.assertIs(twistd["nodaemon"], False)
        self.assertEqual(twistd["pidfile"], "twistd.pid")

    def test_version(self) -> None:
        """
        C{-v} says which version this is, and that is all.  (F19)
        """
        output = StringIO()
        self.patch(sys, "stdout", output)
        self.assertEqual(self.exitOf("-v"), 0)
        self.assertEqual(output.getvalue(), f"corotwist {corotwist.__version__}\n")

    def test_testNothing(self) -> None:
        """
        There must be something to test.
        """
        self.assertIn("--test needs --config", self.exitOf("--test"))

    def test_nodeOfNothing(self) -> None:
        """
        Who says which node to be means one of a cluster.
        """
        self.assertIn("--node needs --config", self.exitOf("--node", "2"))

    def test_wrongOption(self) -> None:
        """
        A wrong command line ends with a sentence, which Python turns into
        status 1.
        """
        self.assertIn("option --nonsense not recognized", self.exitOf("--nonsense"))

    def test_logfileRefused(self) -> None:
        """
        A log file that cannot be opened is told while there is a terminal.
        """
        path = self.write(GOOD + "logging {\nto_logfile: yes\nlogfile: /\n}\n")
        options = Options()
        options.parent = _twistd(nodaemon=True)
        error = self.assertRaises(SystemExit, options.parseOptions, ["--config", path])
        self.assertEqual(error.code, "corosync: /: Is a directory")


def _twistd(**chosen: object) -> usage.Options:
    """
    The command line of twistd, as far as we look at it.
    """
    options = usage.Options()
    options.update({"nodaemon": False, "logger": None, "logfile": None, **chosen})
    return options


class LogTests(TestBase):
    """
    Who decides where log lines go.
    """

    def observed(self, text: str = "", **twistd: object) -> ILogObserver | None:
        """
        What an application is told about it.
        """
        options = Options()
        options.parent = _twistd(**twistd)
        options.parseOptions(["--config", self.write(GOOD + text)])
        application = Application("test")
        Daemon(options, Clock()).setServiceParent(application)
        found: ILogObserver | None = application.getComponent(ILogObserver, None)
        return found

    def test_foreground(self) -> None:
        """
        In the foreground the configuration does.
        """
        self.assertIsNotNone(self.observed(nodaemon=True))

    def test_twistd(self) -> None:
        """
        Whatever twistd is told is stronger.
        """
        self.assertIsNone(self.observed(nodaemon=True, logfile="-"))
        self.assertIsNone(self.observed(nodaemon=True, syslog=True))

    def test_daemon(self) -> None:
        """
        A daemon uses twistd's file unless there is one in the configuration, or
        a syslog on this machine.
        """
        self.patch(choice, "SYSLOG_SOCKET", str(self.directory / "none"))
        self.assertIsNone(self.observed())
        text = "logging {\nto_logfile: yes\nlogfile: log\n}\n"
        self.assertIsNotNone(self.observed(text))


class AloneTests(TestBase):
    def test_settings(self) -> None:
        """
        A node that nobody configured is on loopback, with all it has in one
        directory.
        """
        settings = alone("/tmp/somewhere", 7777)
        totem = settings.totem
        self.assertEqual((str(totem.bindAddress), totem.port), ("127.0.0.1", 7777))
        self.assertEqual(totem.stateDirectory, "/tmp/somewhere")
        self.assertEqual(settings.ipc.path, "/tmp/somewhere/corotwist.sock")

    def test_freePort(self) -> None:
        """
        Its port can be bound.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", freePort()))


class FakeReactor(Clock):
    """
    A clock that knows whether it runs.
    """

    running = True

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


class FakeManager:
    """
    Its services.
    """

    def dump(self) -> dict[str, str]:
        return {"state": "fake"}


class FakeNode:
    """
    What a daemon wants of a node.
    """

    manager = FakeManager()

    def __init__(self, settings: NodeSettings, reactor: object, **parts: Any) -> None:
        self.settings = settings
        self.parts = parts
        self.started: Deferred[None] = Deferred()
        self.ended: Deferred[End] = Deferred()
        self.onKilled: Any = None

    def setServiceParent(self, parent: Daemon) -> None:
        parent.node = self  # type: ignore[attr-defined]


class Immediate:
    """
    A thread pool whose threads are done at once.
    """

    def callInThreadWithCallback(self, done: Any, call: Any, *args: Any) -> None:
        done(True, call(*args))


def _call(function: Any, *arguments: Any) -> None:
    function(*arguments)


class DaemonTests(TestBase):
    """
    What becomes of the process.
    """

    def setUp(self) -> None:
        super().setUp()
        self.reactor = FakeReactor()
        self.last: list[object] = []
        self.patch(tap, "Node", FakeNode)
        self.patch(atexit, "register", self.last.append)
        here = {"STATE_DIRECTORY": str(self.directory)}
        self.patch(os, "environ", {**os.environ, **here})

    def daemon(self, *arguments: str) -> Any:
        """
        A daemon with this command line.
        """
        return Daemon(self.parse(*arguments), self.reactor)

    def test_started(self) -> None:
        """
        The node gets the settings of the configuration.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.node.started.callback(None)
        self.assertEqual(daemon.node.settings.totem.port, 7405)
        self.assertEqual(self.reactor.stops, 0)

    def test_reloads(self) -> None:
        """
        A node that was started from files can read them again, in a thread;
        one that was not cannot.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        self.write(GOOD + "totem {\n  token: 4000\n}\n")
        pool = Immediate()
        self.reactor.getThreadPool = lambda: pool  # type: ignore[attr-defined]
        self.reactor.callFromThread = _call  # type: ignore[attr-defined]
        built = self.successResultOf(daemon.node.parts["read"]())
        self.assertEqual(built.settings.totem.timing.token, 4.0)
        other = self.daemon()
        other.startService()
        self.assertNotIn("read", other.node.parts)
        self.successResultOf(other.stopService())

    def test_files(self) -> None:
        """
        A daemon may open as many files as it is allowed to at most.
        """
        given: list[Any] = []
        self.patch(tap, "getrlimit", lambda which: (1024, 9999))
        self.patch(tap, "setrlimit", lambda which, limits: given.append(limits))
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        self.assertEqual(given, [(9999, 9999)])

    def test_privateState(self) -> None:
        """
        Without a configuration there is a directory, until the node stops.
        """
        daemon = self.daemon()
        daemon.startService()
        directory = Path(daemon.node.settings.totem.stateDirectory)
        self.assertTrue(directory.is_dir())
        self.successResultOf(daemon.stopService())
        self.assertFalse(directory.exists())

    def test_startFailsLater(self) -> None:
        """
        A node that fails to start while the reactor runs stops the process,
        and the exit status tells.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.running = True
        daemon.node.started.errback(OSError(98, "Address already in use"))
        self.reactor.advance(0)
        self.assertEqual((self.reactor.stops, len(self.last)), (1, 1))

    def test_startFailsAtOnce(self) -> None:
        """
        Before the reactor runs there is nothing to stop but the process
        itself.
        """
        self.reactor.running = False

        class Refused(FakeNode):
            def setServiceParent(self, parent: Daemon) -> None:
                self.started.errback(OSError(98, "Address already in use"))

        self.patch(tap, "Node", Refused)
        daemon = self.daemon()
        error = self.assertRaises(SystemExit, daemon.startService)
        self.assertEqual((error.code, self.last), (1, []))

    def test_startFailsInBackground(self) -> None:
        """
        Twistd tells its parent of an exception, and of nothing else: a mere
        exit would have the command line wait for ever.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon._options.parent = _twistd(nodaemon=0)

        def refuse(settings: NodeSettings, reactor: object, **parts: Any) -> None:
            raise StorageRefused("no directory")

        self.patch(tap, "Node", refuse)
        self.assertRaises(NotStarted, daemon.startService)

    def test_noNode(self) -> None:
        """
        So it is when there can be no node at all.
        """

        def refuse(settings: NodeSettings, reactor: object, **parts: Any) -> None:
            raise StorageRefused("no directory")

        self.patch(tap, "Node", refuse)
        daemon = self.daemon("--config", self.write(GOOD))
        self.assertEqual(self.assertRaises(SystemExit, daemon.startService).code, 1)

    def test_bug(self) -> None:
        """
        What is no error of the operator is logged with its traceback.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.node.started.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_ended(self) -> None:
        """
        A node that has to stop stops the process, once, with a bad status.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.node.ended.callback(End(Ending.FAILED, "no memory"))
        self.reactor.advance(0)
        self.assertEqual((self.reactor.stops, len(self.last)), (1, 1))

    def record(self) -> tuple[str, str, int | None]:
        """
        What is said of the last run.
        """
        (run,) = lastrun.read(str(self.directory))
        self.assertEqual((run.nodeid, run.pid), (1, os.getpid()))
        return run.cause, run.reason, run.status

    def test_onRecord(self) -> None:
        """
        A run is on record from its start on, and then how it ended.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        self.assertEqual(lastrun.read(str(self.directory)), [])
        daemon.node.started.callback(None)
        self.assertEqual(self.record(), ("", "", None))
        self.successResultOf(daemon.stopService())
        asked = "the process was asked to end"
        self.assertEqual(self.record(), ("stopped", asked, 0))

    def test_endedInOrder(self) -> None:
        """
        A node that an operator stops stops the process, which is no failure.
        (F4, H2)
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.node.started.callback(None)
        daemon.node.ended.callback(End(Ending.STOPPED, "somebody asked for it"))
        self.reactor.advance(0)
        self.assertEqual((self.reactor.stops, self.last), (1, []))
        self.assertEqual(self.record(), ("", "", None))
        self.successResultOf(daemon.stopService())
        self.assertEqual(self.record(), ("stopped", "somebody asked for it", 0))

    def test_failedOnRecord(self) -> None:
        """
        A failure is on record before the process has ended; and so is one to
        start. (H2)
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.node.started.errback(StorageRefused("no disk"))
        self.assertEqual(self.record(), ("failed", "no disk", 1))

    def test_killed(self) -> None:
        """
        A process whose node is killed ends there and then. (F3, H2)
        """
        ended: list[int] = []
        self.patch(os, "_exit", ended.append)
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.node.started.callback(None)
        daemon.node.onKilled("killed by node 2: why")
        self.assertEqual(ended, [255])
        self.assertEqual(self.record(), ("killed", "killed by node 2: why", 255))

    def test_endedExplained(self) -> None:
        """
        Before it stops the flight recorder is written; and the process ends
        when the log is written.
        """
        done: list[str] = []

        class FakeKeeper:
            logs: "FakeKeeper"

            def dump(self, reason: str) -> Deferred[str]:
                done.append(reason)
                return succeed("path")

            def stop(self) -> None:
                done.append("written")

        keeper: Any = FakeKeeper()
        keeper.logs = keeper
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        daemon.keeper = keeper
        daemon.node.ended.callback(End(Ending.FAILED, "no memory"))
        self.patch(os, "_exit", lambda status: done.append(f"exit {status}"))
        (last,) = self.last
        last()  # type: ignore[operator]
        self.assertEqual(done, ["no memory", "written", "exit 1"])

    def test_endedWhileStopping(self) -> None:
        """
        One that was asked to stop has nothing more to say.
        """
        daemon = self.daemon("--config", self.write(GOOD))
        daemon.startService()
        self.successResultOf(daemon.stopService())
        daemon.node.ended.callback(End(Ending.FAILED, "the ring broke"))
        self.reactor.advance(0)
        self.assertEqual((self.reactor.stops, self.last), (0, []))


class RisingTimeTests(SynchronousTestCase):
    def test_monotonic(self) -> None:
        """
        The reactor's clock is one that nobody sets.
        """
        reactor = Clock()
        useRisingTime(reactor)
        self.assertIs(reactor.seconds, time.monotonic)

    def test_tooLate(self) -> None:
        """
        Calls that wait were given times of the old clock: then it stays.
        """
        reactor = Clock()
        reactor.callLater(1, succeed, None)
        useRisingTime(reactor)
        self.assertEqual(reactor.seconds(), 0.0)


class PluginTests(SynchronousTestCase):
    def test_maker(self) -> None:
        """
        Twistd finds us by our plug-in.
        """
        self.assertTrue(verifyObject(IServiceMaker, corosync))
        self.assertTrue(verifyObject(IPlugin, corosync))
        self.assertEqual(corosync.tapname, "corosync")
        self.assertIs(corosync.options, Options)

    def test_service(self) -> None:
        """
        What it makes is a service.
        """
        options = Options()
        options.parseOptions([])
        self.assertTrue(verifyObject(IService, corosync.makeService(options)))

    def test_noReactor(self) -> None:
        """
        To import us does not install a reactor.
        """
        code = "import sys, corotwist.tap as t; sys.exit('%s' in sys.modules)"
        command = [sys.executable, "-c", code % "twisted.internet.reactor"]
        subprocess.run(command, cwd=CHECKOUT, check=True)


class ProcessTests(SynchronousTestCase):
    """
    Real processes, each under twistd.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.output = self.directory / "output"

    def start(
        self, *arguments: str, twistd: tuple[str, ...] = ("-n", "--pidfile=")
    ) -> "subprocess.Popen[bytes]":
        """
        Run C{twistd -n corosync}.
        """
        code = "from twisted.scripts.twistd import run; run()"
        command = [sys.executable, "-c", code, *twistd, "corosync"]
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": CHECKOUT},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.addCleanup(self._end, process)
        return process

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait(PATIENCE)

    def waitFor(self, words: str, process: "subprocess.Popen[bytes]") -> None:
        """
        Until the process has said so.
        """
        patience = time.monotonic() + PATIENCE
        while words not in self.said():
            self.assertIsNone(process.poll(), self.said())
            self.assertLess(time.monotonic(), patience, self.said())
            time.sleep(0.02)

    def said(self) -> str:
        """
        All its output.
        """
        return self.output.read_text(errors="replace")

    def test_aloneUntilTerminated(self) -> None:
        """
        Without a configuration a node forms a ring of one; SIGTERM makes it
        leave in order, and nothing of it stays on the disk.
        """
        process = self.start()
        self.waitFor("Services synchronized", process)
        (line,) = (x for x in self.said().splitlines() if "its state in" in x)
        private = Path(line.rpartition(" ")[2])
        self.assertTrue(private.is_dir())
        process.send_signal(signal.SIGTERM)
        self.assertIn(process.wait(PATIENCE), (0, -signal.SIGTERM))
        self.assertIn("Node 1 stopped", self.said())
        self.assertFalse(private.exists())

    def test_portTaken(self) -> None:
        """
        A node that cannot have its port says so and ends with status 1.
        """
        with self.takenPort():
            process = self.start("--config", "node.conf")
            self.assertEqual(process.wait(PATIENCE), 1)
        self.assertIn("The node cannot start", self.said())
        self.assertIn("in use", self.said())

    def test_portTakenInBackground(self) -> None:
        """
        So does one in the background, to whoever started it; its pid file goes.
        """
        with self.takenPort():
            process = self.start("--config", "node.conf", twistd=("--pidfile=pid",))
            self.assertEqual(process.wait(PATIENCE), 1)
        self.assertIn("An error has occurred", self.said())
        self.assertIn("already in use", self.said())
        # Twistd tells first, and cleans up then.
        patience = time.monotonic() + PATIENCE
        while (self.directory / "pid").exists():
            self.assertLess(time.monotonic(), patience)
            time.sleep(0.02)
        log = (self.directory / "twistd.log").read_text()
        self.assertIn("The node cannot start", log)

    def takenPort(self) -> socket.socket:
        """
        A node's configuration, and what holds its port until it is closed.
        """
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(holder.close)
        holder.bind(("127.0.0.1", 0))
        text = GOOD.replace("7405", str(holder.getsockname()[1]))
        text += "system {\nstate_dir: state\n}\nlogging {\nto_syslog: no\n}\n"
        text = text.replace("node: 1\n", "node: 1\nipc_socket: socket\n")
        (self.directory / "node.conf").write_text(text)
        return holder

    def test_background(self) -> None:
        """
        A node in the background is there when the command line returns, and
        can be stopped by its pid file.
        """
        with self.takenPort():
            pass
        process = self.start("--config", "node.conf", twistd=("--pidfile=pid",))
        self.assertEqual(process.wait(PATIENCE), 0, self.said())
        pidFile = self.directory / "pid"
        pid = int(pidFile.read_text())
        os.kill(pid, signal.SIGTERM)
        patience = time.monotonic() + PATIENCE
        while pidFile.exists():
            self.assertLess(time.monotonic(), patience)
            time.sleep(0.02)
        log = (self.directory / "twistd.log").read_text()
        self.assertIn("Node 1 stopped", log)
