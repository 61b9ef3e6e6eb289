"""
The whole log of a program.
"""

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher

import corotwist
from corotwist.config.settings import LogPart, LogSettings
from corotwist.logs import scribe
from corotwist.logs.flight import read
from corotwist.logs.levels import RARE_TRACES
from corotwist.logs.record import Record
from corotwist.logs.recorder import dumps
from corotwist.logs.system import DUMP_SECONDS, LogSystem
from corotwist.logs.targets import FileTarget
from corotwist.logs.tracing import MESSAGE, STATE, SWITCHES, SYNC, trace
from corotwist.logs.writer import MOST_EVENTS, MOST_REQUESTS
from corotwist.test.logs.factories import PATIENCE, LogCase, waitFor

CHECKOUT = str(Path(corotwist.__file__).parents[1])

_PROGRAM = """\
import sys
from twisted.logger import Logger
from corotwist.config.settings import LogPart, LogSettings
from corotwist.logs.system import LogSystem

logs = LogSystem(LogSettings(LogPart(file=sys.argv[1])))
logs.install()
Logger("program.part").info("{count} things", count=3)
assert "twisted.internet.reactor" not in sys.modules
"""


class TargetTests(LogCase):
    def test_any(self) -> None:
        """
        Any mix of targets, each with its own threshold.  (A23)
        """
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        logs = self.system(
            evolve(
                self.part(filePriority="err"), toStderr=True, stderrPriority="debug"
            ),
            terminal=writer,
            timestamp="off",
        )
        log = self.logger(logs)
        log.debug("debug")
        log.error("error")
        logs.stop()
        os.close(writer)
        self.assertEqual(self.lines(), ["[CPG   ] err     error"])
        self.assertEqual(os.read(reader, 1000).count(b"\n"), 2)

    def test_parts(self) -> None:
        """
        Each subsystem has thresholds and files of its own; several may share
        a file.  (A24)
        """
        other = self.directory / "other"
        logs = self.system(
            parts=(
                ("CPG", self.part(file=str(other), filePriority="debug")),
                ("TOTEM", self.part(file=str(other))),
                ("SYNC", self.part(file=None)),
            ),
            timestamp="off",
        )
        for namespace in ("engines.cpg", "totem.ring", "engines.sync", "node"):
            log = self.logger(logs, f"corotwist.{namespace}")
            log.info("info")
            log.debug("debug")
        self.logger(logs, "counter.engine").info("info")
        logs.stop()
        self.assertEqual(
            self.lines(other),
            [
                "[CPG   ] info    info",
                "[CPG   ] debug   debug",
                "[TOTEM ] info    info",
            ],
        )
        self.assertEqual(
            self.lines(), ["[MAIN  ] info    info", "[COUNTER] info    info"]
        )

    def test_place(self) -> None:
        """
        The line that said it is known, through the logger.
        """
        logs = self.system(fileline=True, functionName=True, timestamp="off")
        self.logger(logs).info("here")
        logs.stop()
        self.assertRegex(
            self.lines()[0],
            r"corotwist/test/logs/test_system.py:\d+ TargetTests.test_place\(\) here$",
        )

    def test_json(self) -> None:
        """
        A file may have JSON lines, with who we are in each.  (A32)
        """
        logs = self.system(self.part(fileFormat="json"), nodeid=4)
        self.logger(logs).info("{group} has {count}", group="g", count=2)
        logs.stop()
        found = json.loads(self.lines()[0])
        self.assertEqual(found["text"], "g has 2")
        self.assertEqual((found["nodeid"], found["fields"]["count"]), (4, 2))

    def test_debug(self) -> None:
        """
        With C{debug} every target takes everything but trace points.
        """
        logs = self.system(self.part(filePriority="emerg", debug=True))
        self.logger(logs).debug("x")
        logs.stop()
        self.assertEqual(len(self.lines()), 1)

    def test_fileRefused(self) -> None:
        """
        A file that cannot be opened is told at once, and nothing stays open.
        """
        parts = (("CPG", self.part(file="/")),)
        before = len([*Path("/proc/self/fd").iterdir()])
        self.assertRaises(OSError, self.system, parts=parts)
        self.assertEqual(len([*Path("/proc/self/fd").iterdir()]), before)


class BlockedTests(LogCase):
    def test_pipe(self) -> None:
        """
        A pipe that nobody reads holds up neither who logs nor the other
        targets; what was lost is told in it when somebody reads again.  (A22)
        [pitfall M10]
        """
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        logs = self.system(evolve(self.part(), toStderr=True), terminal=writer)
        log = self.logger(logs)
        began = monotonic()
        for number in range(200):
            log.info("{number} {text}", number=number, text="x" * 10_000)
        self.assertLess(monotonic() - began, 5)
        waitFor(lambda: len(self.lines()) == 200)
        lost = logs.statistics()["lost"]
        self.assertGreater(lost, 50)
        os.set_blocking(reader, False)
        told = b""

        def isTold() -> bool:
            nonlocal told
            try:
                told = told[-10_000:] + os.read(reader, 1 << 20)
            except BlockingIOError:
                pass
            return b"were lost at stderr: nobody reads it" in told

        waitFor(isTold)
        self.assertIn(f"{lost} log events".encode(), told)

    def test_disk(self) -> None:
        """
        A disk that does not answer holds up nobody but the writer, not even at
        the end; what there is no room for is counted.  (A22) [pitfall M10]
        """
        answering, stuck = threading.Event(), threading.Event()
        self.addCleanup(answering.set)
        write = FileTarget.write

        def hang(target: FileTarget, record: Record) -> None:
            stuck.set()
            answering.wait(PATIENCE)
            write(target, record)

        self.patch(FileTarget, "write", hang)
        logs = self.system()
        log = self.logger(logs)
        log.info("one")
        waitFor(stuck.is_set)
        began = monotonic()
        for _ in range(MOST_EVENTS + 10):
            log.info("more")
        self.assertEqual(logs.statistics()["dropped"], 10)
        self.assertFalse(logs.stop(0.01))
        self.assertLess(monotonic() - began, 10)
        self.assertEqual(self.lines(), [])
        answering.set()
        self.assertTrue(logs.stop(PATIENCE))
        self.assertEqual(len(self.lines()), MOST_EVENTS + 2)
        self.assertIn("10 log events were lost at the queue", self.path.read_text())


class RotationTests(LogCase):
    def test_reopen(self) -> None:
        """
        On request the file of our name is opened again.  (A31)
        """
        logs = self.system()
        log = self.logger(logs)
        log.info("one")
        waitFor(self.path.read_text)
        aside = self.path.rename(self.directory / "aside")
        logs.reopen()
        log.info("two")
        logs.stop()
        self.assertEqual(len(self.lines(aside)), 1)
        self.assertIn("two", self.lines()[0])

    def test_moved(self) -> None:
        """
        A file that was moved or deleted is noticed without being told.  (A31)
        """
        self.patch(scribe, "MOVED_SECONDS", 0.01)
        logs = self.system()
        self.logger(logs).info("one")
        waitFor(self.path.read_text)
        self.path.unlink()
        waitFor(self.path.exists)
        self.logger(logs).info("two")
        logs.stop()
        self.assertIn("two", self.lines()[0])


class RuntimeTests(LogCase):
    def test_reconfigured(self) -> None:
        """
        All of it changes while it is used, in the order of events.  (A28)
        """
        logs = self.system(timestamp="off")
        log = self.logger(logs)
        other = self.directory / "other"
        log.info("one")
        log.debug("no")
        logs.reconfigure(
            LogSettings(self.part(file=str(other), debug=True), timestamp="off")
        )
        log.debug("two")
        logs.reconfigure(
            LogSettings(self.part(), (("CPG", self.part(file=None)),), "off")
        )
        log.error("three")
        self.logger(logs, "corotwist.node").info("four")
        logs.stop()
        self.assertEqual(
            self.lines(), ["[CPG   ] info    one", "[MAIN  ] info    four"]
        )
        self.assertEqual(self.lines(other), ["[CPG   ] debug   two"])

    def test_layout(self) -> None:
        """
        A file that stays open may look different from then on.
        """
        logs = self.system(timestamp="off")
        log = self.logger(logs)
        log.info("one")
        waitFor(self.path.read_text)
        logs.reconfigure(LogSettings(self.part(fileFormat="json")))
        log.info("two")
        logs.stop()
        self.assertEqual(self.lines()[0], "[CPG   ] info    one")
        self.assertEqual(json.loads(self.lines()[1])["text"], "two")

    def test_refused(self) -> None:
        """
        Settings that cannot be used change nothing.
        """
        logs = self.system(timestamp="off")
        wrong = LogSettings(
            self.part(fileFormat="json", file=str(self.directory / "new")),
            (("CPG", self.part(file="/")),),
        )
        self.assertRaises(OSError, logs.check, wrong)
        self.assertRaises(OSError, logs.reconfigure, wrong)
        self.logger(logs).info("as before")
        logs.stop()
        self.assertEqual(self.lines(), ["[CPG   ] info    as before"])

    def test_check(self) -> None:
        """
        Whether settings could be used can be asked; nothing changes.
        """
        logs = self.system(timestamp="off")
        logs.check(LogSettings(self.part(fileFormat="json")))
        self.logger(logs).info("as before")
        logs.stop()
        self.assertEqual(self.lines(), ["[CPG   ] info    as before"])

    def test_hanging(self) -> None:
        """
        While the writer hangs, and many have asked for something already,
        nothing changes.
        """
        logs = self.system(held=True, timestamp="off")
        for _ in range(MOST_REQUESTS + MOST_EVENTS):
            logs.reopen()
        before = len([*Path("/proc/self/fd").iterdir()])
        other = LogSettings(self.part(file=str(self.directory / "other")))
        self.assertRaises(OSError, logs.reconfigure, other)
        self.assertRaises(OSError, logs.dump("x").result, PATIENCE)
        self.assertEqual(len([*Path("/proc/self/fd").iterdir()]), before)
        self.logger(logs).info("as before")
        self.assertEqual(logs.statistics()["dropped"], 1)


class TraceTests(LogCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(SWITCHES.choose, frozenset(), {})

    def system(self, *args: Any, **options: Any) -> LogSystem:
        """
        One with the switches of this process, on which trace points are heard.
        """
        logs = super().system(*args, switches=SWITCHES, timestamp="off", **options)
        globalLogPublisher.addObserver(logs)
        self.addCleanup(globalLogPublisher.removeObserver, logs)
        return logs

    def test_switched(self) -> None:
        """
        Each level of a subsystem is switched on and off at run time; targets
        take what is on, whatever their thresholds.  (A25, A28)
        """
        logs = self.system(self.part(filePriority="emerg"))
        cpg, totem = trace("CPG", MESSAGE), trace("TOTEM", MESSAGE)

        def tell(text: str) -> None:
            cpg(text)
            totem(text)
            trace("CPG", SYNC)(text)

        tell("one")
        part = self.part(filePriority="emerg", trace=frozenset({MESSAGE}))
        logs.reconfigure(LogSettings(self.part(), (("CPG", part),), "off"))
        tell("two")
        logs.reconfigure(LogSettings(part, (("CPG", self.part()),), "off"))
        tell("three")
        logs.reconfigure(LogSettings(self.part(), (), "off"))
        tell("four")
        logs.stop()
        self.assertEqual(
            self.lines(), ["[CPG   ] trace6  two", "[TOTEM ] trace6  three"]
        )

    def test_recorded(self) -> None:
        """
        The flight recorder has what happens with each change switched on, and
        leaves the rest alone.
        """
        logs = self.system()
        self.assertEqual((trace("X", STATE).on, trace("X", MESSAGE).on), (True, False))
        logs.reconfigure(LogSettings(self.part(), recorder=False))
        self.assertFalse(any(trace("X", level).on for level in RARE_TRACES))


class RecorderTests(LogCase):
    def dumping(self, **options: Any) -> LogSystem:
        """
        One that may write dumps.
        """
        return self.system(directory=str(self.directory), nodeid=2, **options)

    def test_everything(self) -> None:
        """
        The recorder has what no target takes; a dump is read again, with the
        state that was given.
        """
        logs = self.dumping()
        self.logger(logs).debug("{x}", x="quiet")
        path = logs.dump("test", {"cpg": 5}).result(PATIENCE)
        dump = read(Path(path).read_bytes().splitlines())
        self.assertEqual([entry["text"] for entry in dump.events], ["quiet"])
        self.assertEqual(dump.state, {"cpg": 5})
        self.assertEqual((dump.header["nodeid"], dump.header["pid"]), (2, os.getpid()))
        self.assertEqual(self.lines(), [])

    def test_off(self) -> None:
        """
        Without a recorder nothing is kept.
        """
        logs = self.dumping(recorder=False)
        self.logger(logs).error("x")
        self.assertEqual(logs.statistics()["recorded"], 0)

    def test_failure(self) -> None:
        """
        A failure that nobody handled has the recorder written, but not again
        and again.
        """
        clock = Clock()
        logs = self.dumping(clock=clock.seconds)
        log = self.logger(logs)
        log.info("before")

        def fail() -> None:
            try:
                dict[str, int]()["x"]
            except KeyError:
                log.failure("it broke")

        fail()
        fail()
        waitFor(lambda: len(dumps(self.directory)) == 1)
        (path,) = dumps(self.directory)
        events = read(path.read_bytes().splitlines()).events
        self.assertEqual([entry["text"] for entry in events], ["before", "it broke"])
        self.assertIn("KeyError", events[1]["traceback"])
        clock.advance(DUMP_SECONDS)
        fail()
        waitFor(lambda: len(dumps(self.directory)) == 2)

    def test_nowhere(self) -> None:
        """
        A dump that cannot be written is told to whoever asked.
        """
        future = self.system().dump("test")
        self.assertRaises(OSError, future.result, PATIENCE)
        logs = self.system(directory="/nowhere")
        self.assertRaises(FileNotFoundError, logs.dump("x").result, PATIENCE)

    def test_statistics(self) -> None:
        """
        There are counters.
        """
        logs = self.dumping()
        self.logger(logs).info("x")
        self.logger(logs).debug("y")
        logs.stop()
        found = logs.statistics()
        self.assertEqual((found["written"], found["recorded"]), (1, 2))
        self.assertEqual(
            (found["dropped"], found["lost"], found["failures"]), (0, 0, 0)
        )


class ForkTests(LogCase):
    def test_child(self) -> None:
        """
        A child that is born while the parent logs can log, to the same files,
        and dump.  (A29)
        """
        logs = self.system(directory=str(self.directory), timestamp="off")
        log = self.logger(logs)
        going = threading.Event()

        def talk() -> None:
            while not going.is_set():
                log.info("parent")

        talker = threading.Thread(target=talk)
        talker.start()
        waitFor(self.path.read_text)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                log.info("child")
                path = logs.dump("child").result(PATIENCE)
                status = 0 if logs.stop() and Path(path).exists() else 2
            finally:
                os._exit(status)
        found = os.waitpid(pid, 0)[1]
        going.set()
        talker.join()
        logs.stop()
        self.assertEqual(os.waitstatus_to_exitcode(found), 0)
        self.assertEqual(self.lines().count("[CPG   ] info    child"), 1)
        told = [line for line in self.lines() if "were lost at" not in line]
        self.assertEqual({*told}, {"[CPG   ] info    parent", "[CPG   ] info    child"})


class ProgramTests(LogCase):
    def test_library(self) -> None:
        """
        A program of its own, without a reactor, logs with us; all is written
        when it ends.  (A30)
        """
        subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(self.path)],
            env={**os.environ, "PYTHONPATH": CHECKOUT},
            check=True,
        )
        (line,) = self.lines()
        self.assertTrue(line.endswith("[PROGRAM] info    3 things"), line)

    def test_declared(self) -> None:
        """
        A logger that was made before there was a log is heard.  (A27)
        """
        log = Logger("corotwist.engines.cpg")
        logs = self.system(LogPart(toStderr=False, file=str(self.path)))
        globalLogPublisher.addObserver(logs)
        self.addCleanup(globalLogPublisher.removeObserver, logs)
        log.info("heard")
        logs.stop()
        self.assertIn("heard", self.lines()[0])
