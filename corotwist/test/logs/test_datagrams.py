"""
Syslog and journal: sockets of our own stand for theirs.
"""

import fcntl
import os
import socket
import time
from errno import EMSGSIZE
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.datagrams import (
    AGAIN_SECONDS,
    LONGEST_MESSAGE,
    JournalTarget,
    SyslogTarget,
    Wire,
    entry,
    facilityNumber,
)
from corotwist.logs.levels import FACILITIES, Priority
from corotwist.test.directories import shortDirectory
from corotwist.test.logs.factories import record


class TargetBase(SynchronousTestCase):
    """
    Somebody who listens.
    """

    def setUp(self) -> None:
        self.path = shortDirectory(self) / "socket"
        self.clock = Clock()
        self.wire = Wire(str(self.path), self.clock.seconds)
        self.addCleanup(self.wire.close)

    def listen(self, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
        """
        At the path.
        """
        listener = socket.socket(socket.AF_UNIX, kind)
        self.addCleanup(listener.close)
        listener.bind(str(self.path))
        listener.settimeout(10)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        return listener


class SyslogTests(TargetBase):
    def setUp(self) -> None:
        super().setUp()
        self.target = SyslogTarget(self.wire, "local3")

    def test_message(self) -> None:
        """
        Facility, priority, time, who, and our subsystem before the text.
        (A23)
        """
        listener = self.listen()
        self.target.write(record("one\ntwo", priority=Priority.ERR))
        head, _, text = listener.recv(1000).decode().partition("]: ")
        self.assertRegex(head, rf"^<155>Aug +\d \d\d:00:00 corotwist\[{os.getpid()}$")
        self.assertEqual(text, "[CPG   ] one\n\ttwo")

    def test_stream(self) -> None:
        """
        Some syslogs want a stream, in which a message ends with a zero.
        """
        listener = self.listen(socket.SOCK_STREAM)
        self.target.write(record())
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        self.assertTrue(accepted.recv(1000).endswith(b"text\0"))

    def test_long(self) -> None:
        """
        No syslog is asked to take more than it can.
        """
        listener = self.listen()
        self.target.write(record("x" * 10_000))
        self.assertEqual(len(listener.recv(20_000)), LONGEST_MESSAGE)

    def test_away(self) -> None:
        """
        A syslog that is away loses lines, and is looked for again now and
        then.
        """
        self.target.write(record())
        self.assertIn("No such file", self.target.trouble)
        listener = self.listen()
        self.target.write(record())
        self.assertIn("No such file", self.target.trouble)
        self.clock.advance(AGAIN_SECONDS)
        self.target.write(record("back"))
        self.assertEqual(self.target.trouble, "")
        self.assertIn(b"back", listener.recv(1000))

    def test_restarted(self) -> None:
        """
        One that was started again is found again.
        """
        self.listen()
        self.target.write(record())
        self.path.unlink()
        self.listen().close()
        self.target.write(record())
        self.path.unlink()
        listener = self.listen()
        self.clock.advance(AGAIN_SECONDS)
        self.wire.close()
        self.target.write(record("again"))
        self.assertIn(b"again", listener.recv(1000))

    def test_busy(self) -> None:
        """
        One that does not read is waited for once, and then passed over.
        [pitfall M10]
        """
        naps: list[float] = []
        self.patch(time, "sleep", naps.append)
        self.listen()
        for _ in range(2000):
            self.target.write(record("x" * 1000))
        self.assertGreater(self.target.lost, 1000)
        self.assertEqual(len(naps), 1)

    def test_nobody(self) -> None:
        """
        A machine without a syslog loses nothing: there is nobody to tell.
        """
        self.target.write(record())
        self.assertEqual(self.target.lost, 0)

    def test_facilities(self) -> None:
        """
        Each has syslog's number.
        """
        numbers = [facilityNumber(name) for name in FACILITIES]
        self.assertEqual(numbers, [*range(12), *range(16, 24)])


class JournalTests(TargetBase):
    def setUp(self) -> None:
        super().setUp()
        self.target = JournalTarget(self.wire, {"nodeid": 7})

    def test_fields(self) -> None:
        """
        An entry has the fields that the journal knows, and ours.  (A23)
        """
        listener = self.listen()
        kept = record("{count} of them", fields={"count": 3}, priority=Priority.ERR)
        kept.code, kept.line = self.test_fields.__code__, 12
        self.target.write(kept)
        lines = listener.recv(1000).decode().splitlines()
        self.assertEqual(
            lines,
            [
                "MESSAGE=3 of them",
                "PRIORITY=3",
                "SYSLOG_IDENTIFIER=corotwist",
                "NODEID=7",
                "COROTWIST_SUBSYSTEM=CPG",
                "COROTWIST_LEVEL=err",
                "CODE_FILE=corotwist/test/logs/test_datagrams.py",
                "CODE_LINE=12",
                "CODE_FUNC=JournalTests.test_fields",
                "COROTWIST_COUNT=3",
            ],
        )

    def test_lines(self) -> None:
        """
        A value of several lines is told with its length.
        """
        self.assertEqual(entry("MESSAGE", "a\nb"), b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n")

    def test_names(self) -> None:
        """
        Names are what the journal takes for one.
        """
        self.assertEqual(entry("a.b-ü", 1), b"a_b__=1\n")

    def test_large(self) -> None:
        """
        What no datagram can hold goes as a file in memory, which nobody can
        change any more.
        """
        listener = self.listen()
        send = self.wire.send

        def small(message: bytes, handles: tuple[int, ...] = ()) -> None:
            if len(message) > 100:
                raise OSError(EMSGSIZE, "Message too long")
            send(message, handles)

        self.patch(self.wire, "send", small)
        self.target.write(record("x" * 1000))
        self.assertEqual((self.target.lost, self.target.trouble), (0, ""))
        message, handles, _, _ = socket.recv_fds(listener, 100, 1)
        self.assertEqual(message, b"")
        path = Path(f"/proc/self/fd/{handles[0]}")
        self.addCleanup(os.close, handles[0])
        self.assertEqual(fcntl.fcntl(handles[0], fcntl.F_GET_SEALS), 0b1111)
        self.assertTrue(path.read_bytes().startswith(b"MESSAGE=" + b"x" * 1000))
