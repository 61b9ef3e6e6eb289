"""
The log of a daemon: whose it is, signals, crashes, and the keys of the map.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.database import Database
from corotwist.config.settings import LogSettings, NodeSettings
from corotwist.config.values import string, u64
from corotwist.errors import ConfigurationError, NotSupported
from corotwist.logs import choice
from corotwist.logs.choice import choose
from corotwist.logs.flight import read
from corotwist.logs.keeper import Crashes, Keeper
from corotwist.logs.keys import ERROR, FILE, TRIGGERS, LogKeys
from corotwist.logs.recorder import dumps
from corotwist.logs.system import LogSystem
from corotwist.tap import alone
from corotwist.test.logs.factories import LogCase, waitFor


class Reactor(Clock):
    """
    A clock to which threads and signals hand calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.handed: list[Callable[[], object]] = []
        self.triggers: list[tuple[str, str, Callable[..., object]]] = []

    def callFromThread(self, function: Callable[..., object], *args: Any) -> None:
        self.handed.append(lambda: function(*args))

    def addSystemEventTrigger(
        self, phase: str, event: str, function: Callable[..., object]
    ) -> None:
        self.triggers.append((phase, event, function))

    def turn(self) -> None:
        """
        What threads and signals have asked for.
        """
        waitFor(lambda: self.handed)
        while self.handed:
            self.handed.pop(0)()


class KeeperBase(LogCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.logs = self.system(
            directory=str(self.directory), held=True, timestamp="off"
        )
        globalLogPublisher.addObserver(self.logs)
        self.addCleanup(globalLogPublisher.removeObserver, self.logs)
        self.keeper = Keeper(self.logs, self.reactor)

    def start(self) -> None:
        """
        As a daemon does.
        """
        for number in (signal.SIGHUP, signal.SIGUSR2):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.keeper.start()


class SignalTests(KeeperBase):
    def test_hangup(self) -> None:
        """
        SIGHUP has the log files opened again.  (A31)
        """
        self.start()
        self.logger(self.logs).info("one")
        waitFor(self.path.read_text)
        aside = self.path.rename(self.directory / "aside")
        os.kill(os.getpid(), signal.SIGHUP)
        self.reactor.turn()
        self.logs.stop()
        self.assertEqual(self.lines(aside), ["[CPG   ] info    one"])
        self.assertEqual(self.lines(), ["[MAIN  ] info    Log files are opened again"])

    def test_dump(self) -> None:
        """
        SIGUSR2 has the flight recorder and the state of the node written.  (A64)
        """
        self.keeper.state = lambda: {"engines": {"cpg": {"state": 1}}}
        self.start()
        os.kill(os.getpid(), signal.SIGUSR2)
        self.reactor.turn()
        self.reactor.turn()
        (path,) = dumps(self.directory)
        dump = read(path.read_bytes().splitlines())
        self.assertEqual(dump.state, {"engines": {"cpg": {"state": 1}}})
        self.assertEqual(dump.header["reason"], "SIGUSR2")
        self.logs.stop()
        self.assertIn(f"written to {path}: SIGUSR2", self.lines()[-1])

    def test_stateUnknown(self) -> None:
        """
        A node that cannot tell its state has the recorder written all the same.
        """
        self.keeper.state = lambda: dict[str, Any]()["x"]
        dumped = self.keeper.dump("x")
        self.start()
        self.reactor.turn()
        path = Path(self.successResultOf(dumped))
        found = read(path.read_bytes().splitlines())
        self.assertEqual(found.state, {"unknown": "KeyError('x')"})

    def test_dumpRefused(self) -> None:
        """
        When it cannot be written, the log says why, and so does the answer.
        """
        self.start()
        directory = self.directory.rename(self.directory.with_suffix(".away"))
        dumped = self.keeper.dump("x")
        self.reactor.turn()
        self.failureResultOf(dumped, FileNotFoundError)
        self.logs.stop()
        (line,) = self.lines(directory / "log")
        self.assertIn("cannot be written: [Errno 2] No such file", line)

    def test_shutdown(self) -> None:
        """
        With the reactor the thread ends, when all is written.
        """
        self.start()
        self.logger(self.logs).info("one")
        ((phase, event, stop),) = self.reactor.triggers
        self.assertEqual((phase, event), ("after", "shutdown"))
        stop()
        self.assertEqual(len(self.lines()), 1)


class ReloadTests(KeeperBase):
    def settings(self, log: LogSettings) -> NodeSettings:
        """
        Of a node.
        """
        return evolve(alone("/tmp", 5405), log=log)

    def test_twistds(self) -> None:
        """
        Where twistd was told to write, a reload changes nothing.
        """
        self.keeper.observing = False
        wrong = LogSettings(self.part(file="/nowhere/there.log"))
        self.keeper.reconfigurationProposed(self.settings(wrong))
        settings = self.settings(LogSettings(self.part(debug=True), timestamp="off"))
        self.keeper.reconfigured(settings)
        self.logger(self.logs).debug("x")
        self.logs.begin()
        self.logs.stop()
        self.assertEqual(self.lines(), [])

    def test_applied(self) -> None:
        """
        A reload changes the log.  (A28)
        """
        settings = self.settings(LogSettings(self.part(debug=True), timestamp="off"))
        self.keeper.reconfigurationProposed(settings)
        self.keeper.reconfigured(settings)
        self.logger(self.logs).debug("x")
        self.logs.stop()
        self.assertEqual(self.lines(), ["[CPG   ] debug   x"])

    def test_refused(self) -> None:
        """
        A log file that cannot be opened speaks against it; when it comes to
        that only later, the log stays as it was.
        """
        settings = self.settings(LogSettings(self.part(file="/")))
        error = self.assertRaises(
            ConfigurationError, self.keeper.reconfigurationProposed, settings
        )
        self.assertEqual(str(error), "/: logging.logfile: Is a directory")
        self.keeper.reconfigured(settings)
        self.logs.stop()
        self.assertIn("The log stays as it was", self.lines()[0])


class CrashTests(KeeperBase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(sys, "excepthook", lambda *_: None)
        self.patch(threading, "excepthook", lambda *_: None)
        self.crashes = Crashes(str(self.directory), 3)

    def test_uncaught(self) -> None:
        """
        What ends the process is logged, and the flight recorder written.
        """
        self.crashes.watch()
        self.addCleanup(self.crashes.unwatch)
        sys.excepthook(KeyError, KeyError("lost"), None)
        self.logs.stop()
        self.assertIn("Nobody caught an error", self.lines()[0])
        self.assertEqual(len(dumps(self.directory)), 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertTrue((self.directory / "fault-3.txt").exists())

    def test_thread(self) -> None:
        """
        So is what ends a thread.
        """
        self.crashes.watch()
        self.addCleanup(self.crashes.unwatch)
        thread = threading.Thread(target=lambda: dict[str, int]()["x"])
        thread.start()
        thread.join()
        self.logs.stop()
        self.assertIn("Nobody caught an error", self.lines()[0])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_expected(self) -> None:
        """
        An operator's mistake, or an exit, is no crash.
        """
        for error in (NotSupported("x"), SystemExit(1), None):
            self.crashes.uncaught(error)
        self.logs.stop()
        self.assertEqual(self.lines(), [])


class ChoiceTests(LogCase):
    def chosen(self, log: LogSettings, **twistd: object) -> tuple[LogSystem, bool]:
        """
        For a node with these options of twistd.
        """
        options = {"nodaemon": False, "logger": None, "logfile": None, **twistd}
        settings = evolve(alone(str(self.directory), 5405), log=log)
        found = choose(settings, options)
        self.addCleanup(found.logs.stop)
        return found.logs, found.observing

    def test_configured(self) -> None:
        """
        The configuration decides, in the foreground and in the background.
        """
        log = LogSettings(self.part())
        for nodaemon in (True, False):
            logs, observing = self.chosen(log, nodaemon=nodaemon)
            self.assertTrue(observing)
            self.assertEqual(logs.settings, log)

    def test_twistd(self) -> None:
        """
        Twistd's own options are stronger; the flight recorder is there all
        the same.
        """
        for twistd in ({"logfile": "-"}, {"syslog": True}, {"logger": "x"}):
            logs, observing = self.chosen(LogSettings(self.part()), **twistd)
            self.assertFalse(observing)
            self.logger(logs).debug("x")
            self.assertEqual(logs.statistics()["recorded"], 1)
        self.assertFalse(self.path.exists())

    def test_background(self) -> None:
        """
        A daemon for which the configuration has no target here has twistd's
        file.
        """
        self.patch(choice, "SYSLOG_SOCKET", str(self.path))
        log = LogSettings(self.part(file=None, toSyslog=True))
        self.assertFalse(self.chosen(log)[1])
        self.path.write_text("")
        self.assertTrue(self.chosen(log)[1])

    def test_part(self) -> None:
        """
        A file of one subsystem is a target.
        """
        log = LogSettings(self.part(file=None), (("CPG", self.part()),))
        self.assertTrue(self.chosen(log)[1])

    def test_noTerminal(self) -> None:
        """
        A process without standard error is in nobody's way.
        """
        self.patch(sys, "stderr", None)
        logs, observing = self.chosen(LogSettings(), nodaemon=True)
        self.logger(logs).info("x")
        self.assertTrue(observing and logs.stop())


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = Database()
        self.map = self.database.map
        self.asked: list[str] = []
        self.answer: Deferred[str] = Deferred()

        def dump(reason: str) -> Deferred[str]:
            self.asked.append(reason)
            return self.answer

        self.keys = LogKeys(self.database, dump, lambda: {"dropped": 3})

    def test_present(self) -> None:
        """
        The keys are there, as corosync's.
        """
        self.assertEqual(
            self.map.items("runtime.blackbox."),
            (
                ("runtime.blackbox.dump_flight_data", string("no")),
                ("runtime.blackbox.dump_state", string("no")),
            ),
        )

    def test_written(self) -> None:
        """
        Whoever writes one has a dump written, and learns where it is.
        """
        self.map.forClients().set(TRIGGERS[0], string("yes"))
        self.assertEqual(self.asked, [TRIGGERS[0]])
        self.answer.callback("/a/file")
        self.assertEqual(self.map.get(FILE), string("/a/file"))
        self.assertEqual(self.map.get(ERROR), string(""))
        self.assertEqual(self.map.get(TRIGGERS[0]), string("no"))
        self.assertEqual(len(self.asked), 1)

    def test_refused(self) -> None:
        """
        Or why there is none.
        """
        self.answer = fail(OSError(28, "No space left on device"))
        self.map.set(TRIGGERS[1], string("1"))
        self.assertIn("No space left", str(self.map.get(ERROR).content))
        self.assertEqual(self.map.get(TRIGGERS[1]), string("no"))

    def test_stopped(self) -> None:
        """
        After the end nobody follows them.
        """
        self.keys.stop()
        self.answer = succeed("")
        self.map.set(TRIGGERS[0], string("yes"))
        self.assertEqual(self.asked, [])

    def test_statistics(self) -> None:
        """
        The counters of the log are in the statistics.
        """
        self.assertEqual(self.database.statistics.get("stats.log.dropped"), u64(3))
