"""
A process group from a terminal.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

import corotwist
from corotwist.config.settings import IpcSettings
from corotwist.engines.interfaces import Member
from corotwist.ipc import path
from corotwist.ipc.client import connect
from corotwist.ipc.server import IpcServer
from corotwist.test.ipc.fakes import NODEID, FakeManager
from corotwist.test.ipc.pipes import FakeReactor, endCredentials
from corotwist.test.tools.schemas import differences
from corotwist.tools import cpg
from corotwist.tools.cpg import TYPED_AHEAD, CpgOptions, Session, run, shown

ME = f"{NODEID}/100"


class Keyboard:
    """
    Standard input in memory.
    """

    disconnecting = False

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.reading = True
        self.closed = False
        protocol.makeConnection(self)

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseConnection(self) -> None:
        self.closed = True

    def type(self, text: bytes) -> None:
        self.protocol.dataReceived(text)

    def end(self) -> None:
        self.protocol.connectionLost()


class SessionTests(SynchronousTestCase):
    """
    L{Session}.
    """

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.manager = FakeManager(self.reactor)
        self.patch(path, "admit", lambda *arguments: None)
        self.errors = io.StringIO()
        self.patch(sys, "stderr", self.errors)
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        self.path = str(directory / "s")
        self.keyboards: list[Keyboard] = []
        self.output = io.StringIO()
        self.startNode()

    def startNode(self) -> None:
        self.server = IpcServer(
            self.reactor,
            IpcSettings(self.path),
            self.manager,
            credentials=endCredentials,
        )
        self.server.startService()

    def session(self, *arguments: str) -> Deferred[None]:
        options = CpgOptions()
        options.parseOptions(["g", "--socket", self.path, *arguments])
        self.sessionObject = Session(options, self.output)
        running = Deferred.fromCoroutine(
            self.sessionObject.run(self.reactor, self.keyboard)
        )
        self.reactor.settle()
        return running

    def keyboard(self, protocol: Any) -> Keyboard:
        self.keyboards.append(Keyboard(protocol))
        return self.keyboards[-1]

    def printed(self) -> list[str]:
        lines = self.output.getvalue().splitlines()
        self.output.truncate(0)
        self.output.seek(0)
        return lines

    def test_typed(self) -> None:
        """
        Lines that are typed come back from the group; at the end of the input
        the group is left and the connection closed.
        """
        running = self.session()
        self.assertEqual(self.printed(), [f"view: {ME}; {ME} joined (JOIN)"])
        self.keyboards[0].type(b"one\ntw")
        self.keyboards[0].type("o é\n".encode())
        self.reactor.settle()
        self.assertEqual(self.printed(), [f"{ME}: one", f"{ME}: two é"])
        self.assertNoResult(running)
        self.keyboards[0].end()
        self.reactor.settle()
        self.successResultOf(running)
        self.assertEqual(self.printed(), [f"view: nobody; {ME} left (LEAVE)"])
        self.assertTrue(self.keyboards[0].closed)
        self.assertEqual(self.manager.connections, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_piped(self) -> None:
        """
        What was typed before the end of the input is still seen, a last line
        without its end included.
        """
        running = self.session("--send", "zero")
        self.keyboards[0].type(b"one\ntwo")
        self.keyboards[0].end()
        self.reactor.settle()
        self.successResultOf(running)
        lines = self.printed()
        self.assertEqual(lines[1:-1], [f"{ME}: zero", f"{ME}: one", f"{ME}: two"])

    def test_count(self) -> None:
        """
        With a count the end of the input is not the end, but the last of so
        many messages is.
        """
        running = self.session("--count", "2", "--send", "one")
        self.keyboards[0].end()
        self.reactor.settle()
        self.assertNoResult(running)
        (connection,) = self.manager.connections
        connection.messagesDelivered(b"g", Member(3, 4), b"\3\0\0\0two", 1)
        self.reactor.settle()
        self.successResultOf(running)
        self.assertEqual(self.printed()[1:3], [f"{ME}: one", "3/4: two"])

    def test_json(self) -> None:
        """
        For programs each event is one line of JSON, with bytes that are no
        text in hexadecimal.
        """
        running = self.session("--json", "--send", "é")
        (connection,) = self.manager.connections
        connection.messagesDelivered(b"g", Member(3, 4), b"\2\0\0\0\xff\0", 1)
        self.keyboards[0].end()
        self.reactor.settle()
        self.successResultOf(running)
        us = {"nodeid": NODEID, "pid": 100}
        view = {"event": "view", "group": "g"}
        messages = [
            {"event": "message", **us, "text": "é"},
            {"event": "message", "nodeid": 3, "pid": 4, "hex": "ff00"},
        ]
        first, *found, last = [json.loads(line) for line in self.printed()]
        for one in (first, *found, last):
            self.assertEqual(differences(one), [])
            self.assertEqual(one.pop("schema"), "corotwist/cpg/1")
        joined = [{**us, "reason": "JOIN"}]
        left = [{**us, "reason": "LEAVE"}]
        self.assertEqual(first, {**view, "members": [us], "joined": joined, "left": []})
        self.assertEqual(last, {**view, "members": [], "joined": [], "left": left})
        self.assertCountEqual(found, messages)

    def test_typedAhead(self) -> None:
        """
        Typing is not listened to while the node takes nothing.
        """
        running = self.session()
        keyboard = self.keyboards[0]
        self.manager.groups.busy = True
        keyboard.type(b"x\n" * (TYPED_AHEAD - 1))
        self.assertTrue(keyboard.reading)
        keyboard.type(b"x\n")
        self.assertFalse(keyboard.reading)
        self.manager.groups.released()
        self.reactor.settle()
        self.assertTrue(keyboard.reading)
        keyboard.end()
        self.reactor.settle()
        self.successResultOf(running)
        self.assertEqual(len(self.printed()), TYPED_AHEAD + 2)

    def test_interrupted(self) -> None:
        """
        An interrupt leaves the group, or does not even join it, or does not
        even connect.
        """
        running = self.session()
        self.sessionObject.interrupt()
        self.reactor.settle()
        self.successResultOf(running)
        self.assertIn("LEAVE", self.printed()[-1])
        self.manager.groups.busy = True
        running = self.session()
        self.sessionObject.interrupt()
        self.reactor.settle()
        self.successResultOf(running)
        self.assertEqual(self.manager.groups.groups(), ())
        options = CpgOptions()
        options.parseOptions(["g", "--socket", self.path])
        session = Session(options, self.output)
        running = Deferred.fromCoroutine(session.run(self.reactor, self.keyboard))
        session.interrupt()
        self.reactor.settle()
        self.successResultOf(running)
        self.assertEqual(self.manager.connections, [])

    def test_gap(self) -> None:
        """
        A gap is shown; what was sent before it is not waited for.
        """
        running = self.session()
        self.manager.groups.busy = True
        self.keyboards[0].type(b"lost\n")
        self.reactor.settle()
        self.server.stopService()
        self.reactor.settle()
        self.assertIn("not sent", self.errors.getvalue())
        self.assertEqual(self.printed()[-1], "gap: the node stops")
        self.manager = FakeManager(self.reactor)
        self.startNode()
        self.reactor.pass_(20)
        self.assertIn("joined (JOIN)", self.printed()[-1])
        self.keyboards[0].end()
        self.reactor.settle()
        self.successResultOf(running)

    def test_nobodyReads(self) -> None:
        """
        When nobody reads what is printed any more, that is the end.
        """
        running = self.session()

        def broken(text: str) -> int:
            raise BrokenPipeError

        self.patch(self.output, "write", broken)
        self.keyboards[0].type(b"x\n")
        self.reactor.settle()
        self.successResultOf(running)

    def test_longLine(self) -> None:
        """
        A line beyond the limit ends the input, and is not sent.
        """
        self.patch(cpg.Lines, "MAX_LENGTH", 10)
        running = self.session()
        self.keyboards[0].type(b"x" * 50 + b"\n")
        self.reactor.settle()
        self.successResultOf(running)
        self.assertEqual(len(self.printed()), 2)
        self.assertIn("a line over", self.errors.getvalue())


class ShownTests(SynchronousTestCase):
    """
    L{shown}.
    """

    def test_tricks(self) -> None:
        """
        What would move a cursor, change a colour or end a line is spelled out.
        """
        self.assertEqual(shown(b"\x1b[2Jx\r\n\xff\0"), "\\x1b[2Jx\\r\\n\\xff\\x00")
        self.assertEqual(shown("\u202eabc \u2603".encode()), "\\u202eabc \u2603")


class RunTests(SynchronousTestCase):
    """
    L{run}.
    """

    def setUp(self) -> None:
        self.out, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.errors)

    def test_wrongUse(self) -> None:
        """
        Wrong arguments are told with how it goes.
        """
        for arguments in ([], ["g", "h"], ["g", "--count", "0"], ["g", "--nonsense"]):
            self.assertEqual(run(arguments), 2, arguments)
        self.assertIn("Usage: corotwist cpg GROUP", self.errors.getvalue())

    def test_help(self) -> None:
        """
        Help is no error.
        """
        self.assertEqual(run(["--help"]), 0)
        self.assertIn("--socket", self.out.getvalue())


class Process(ProcessProtocol):
    """
    The command as a process.
    """

    def __init__(self) -> None:
        self.lines: DeferredQueue[str] = DeferredQueue()
        self.ended: Deferred[int] = Deferred()
        self.complaints = b""
        self._line = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self.lines.put(line.decode())

    def errReceived(self, data: bytes) -> None:
        self.complaints += data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(getattr(reason.value, "exitCode", -1))


KEYBOARD = """
import os, sys
from twisted.internet.protocol import Protocol
from corotwist.tools.cpg import readKeyboard
readKeyboard(Protocol())
sys.stderr.write(f"{os.get_blocking(0)} {os.get_blocking(1)}")
"""


class KeyboardTests(SynchronousTestCase):
    """
    L{readKeyboard}.
    """

    def test_output(self) -> None:
        """
        Whoever prints may go on waiting for a slow reader: it is only the
        input that does not block.
        """
        result = subprocess.run(
            [sys.executable, "-c", KEYBOARD],
            input=b"",
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(corotwist.__file__).parents[1])},
        )
        self.assertEqual(result.stderr, b"False True")


class CommandTests(TestCase):
    """
    C{corotwist cpg} on a real terminal's place.
    """

    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = str(self.directory / "s")
        self.manager = FakeManager(reactor)  # type: ignore[arg-type]
        self.server = IpcServer(reactor, IpcSettings(self.path), self.manager)
        self.server.startService()
        self.addCleanup(self.server.stopService)

    def start(self, *arguments: str) -> Process:
        process = Process()
        command = "from corotwist.tools.main import main; main()"
        path = str(Path(corotwist.__file__).parents[1])
        reactor.spawnProcess(  # type: ignore[attr-defined]
            process,
            sys.executable,
            [sys.executable, "-c", command, "cpg", *arguments],
            {**os.environ, "PYTHONPATH": path},
        )
        return process

    def test_pipe(self) -> Deferred[None]:
        """
        Lines go in, events come out, and all ends well at the end of the input
        and at an interrupt.
        """
        return Deferred.fromCoroutine(self.pipeStory())

    async def pipeStory(self) -> None:
        client = await connect(reactor, self.path)
        self.addCleanup(client.stopService)
        heard: DeferredQueue[bytes] = DeferredQueue()
        await client.groups.join(b"g", delivered=lambda _, m: heard.put(m))
        for ending in ("end of input", "interrupt"):
            process = self.start("g", "--socket", self.path)
            view = await process.lines.get()
            assert process.transport is not None
            pid = process.transport.pid
            self.assertIn(f"{NODEID}/{pid} joined (JOIN)", view)
            process.transport.write(b"hello\n")
            self.assertEqual(await process.lines.get(), f"{NODEID}/{pid}: hello")
            self.assertEqual(await heard.get(), b"hello")
            if ending == "interrupt":
                process.transport.signalProcess(signal.SIGINT)
            else:
                process.transport.closeStdin()
            self.assertEqual(await process.ended, 0)
            self.assertEqual(process.complaints, b"")
            self.assertIn("left (LEAVE)", await process.lines.get())

    def test_noNode(self) -> Deferred[None]:
        """
        Without a node it says so in one line, with status 1.
        """
        return Deferred.fromCoroutine(self.noNodeStory())

    async def noNodeStory(self) -> None:
        where = str(self.directory / "nobody")
        process = self.start("g", "--socket", where)
        self.assertEqual(await process.ended, 1)
        told = process.complaints.decode().splitlines()
        self.assertIn("no node at", told[0])
        self.assertIn("start it with", told[-1])
        self.assertIn(where.encode(), process.complaints)
