"""
Files and streams.
"""

import fcntl
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs import targets
from corotwist.logs.layout import TextLayout
from corotwist.logs.targets import FileTarget, StreamTarget
from corotwist.test.logs.factories import record

LAYOUT = TextLayout("off")
LINE = "[CPG   ] info    text"


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def target(self, path: Path | None = None) -> FileTarget:
        """
        To a file.
        """
        target = FileTarget(str(path or self.path), LAYOUT)
        self.addCleanup(target.close)
        return target

    def test_appended(self) -> None:
        """
        Lines come behind what is in the file.
        """
        self.path.write_text("before\n")
        self.target().write(record())
        self.assertEqual(self.path.read_text(), f"before\n{LINE}\n")

    def test_refused(self) -> None:
        """
        A file that cannot be opened is told to whoever asked.
        """
        self.assertRaises(IsADirectoryError, FileTarget, "/", LAYOUT)
        os.mkfifo(self.path)
        self.assertRaises(OSError, FileTarget, str(self.path), LAYOUT)

    def test_moved(self) -> None:
        """
        A file that was moved, deleted or replaced is noticed; after it is
        opened again, lines go to the one of our name.  (A31)
        """
        target = self.target()
        target.write(record("one"))
        self.assertFalse(target.moved())
        aside = self.path.rename(self.path.with_suffix(".1"))
        self.assertTrue(target.moved())
        self.path.write_text("")
        self.assertTrue(target.moved())
        target.reopen()
        self.assertFalse(target.moved())
        target.write(record("two"))
        self.assertIn("one", aside.read_text())
        self.assertNotIn("two", aside.read_text())
        self.assertIn("two", self.path.read_text())

    def test_cannotReopen(self) -> None:
        """
        When there can be no new file, lines go on to the old one.
        """
        directory = self.path
        directory.mkdir()
        target = self.target(directory / "log")
        aside = directory.rename(directory.with_suffix(".1"))
        target.reopen()
        self.assertEqual(target.trouble, "No such file or directory")
        target.write(record())
        self.assertEqual((aside / "log").read_text(), f"{LINE}\n")
        self.assertEqual(target.lost, 0)

    def test_full(self) -> None:
        """
        A full disk loses lines, says why, and harms nobody.  [pitfall M10]
        """
        target = self.target(Path("/dev/full"))
        target.write(record())
        target.write(record())
        self.assertEqual((target.lost, target.trouble), (2, "No space left on device"))


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reader, self.writer = os.pipe()
        self.addCleanup(os.close, self.writer)
        self.addCleanup(self.closeReader)
        self.target = StreamTarget(self.writer, LAYOUT)

    def closeReader(self) -> None:
        """
        Nobody can read any more.
        """
        if self.reader is not None:
            os.close(self.reader)
            self.reader = None  # type: ignore[assignment]

    def read(self) -> bytes:
        """
        All there is in the pipe.
        """
        os.set_blocking(self.reader, False)
        try:
            return os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return b""

    def readAll(self) -> bytes:
        """
        All there is, and all that waits.
        """
        found = self.read()
        while self.target.waiting:
            self.target.flush()
            found += self.read()
        return found

    def fill(self) -> None:
        """
        Have no room in the pipe.
        """
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(self.writer, b"x" * 4096)

    def test_written(self) -> None:
        """
        Somebody reads: a line is there at once.
        """
        self.target.write(record())
        self.assertEqual(self.read(), f"{LINE}\n".encode())

    def test_blocked(self) -> None:
        """
        Nobody reads: lines wait, in order, and nobody else does; the
        descriptor stays what it was, for it is shared.  (A22) [pitfall M10]
        """
        self.fill()
        self.target.write(record("one"))
        self.target.write(record("two"))
        self.assertGreater(self.target.waiting, 0)
        self.assertEqual(self.read(), b"x" * 4096)
        found = self.readAll()
        self.assertEqual(found, b"[CPG   ] info    one\n[CPG   ] info    two\n")
        self.assertTrue(os.get_blocking(self.writer))

    def test_long(self) -> None:
        """
        A long line goes piece by piece.
        """
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self.target.write(record("y" * 10_000))
        found = self.readAll()
        self.assertEqual(found.decode(), f"[CPG   ] info    {'y' * 10_000}\n")

    def test_bounded(self) -> None:
        """
        So much waits; more is lost, and counted.
        """
        self.patch(targets, "STREAM_BYTES", 100)
        self.fill()
        for _ in range(10):
            self.target.write(record())
        self.assertEqual(self.target.lost, 10 - 100 // (len(LINE) + 1))
        self.assertEqual(self.target.trouble, "nobody reads it")
        self.read()
        self.target.flush()
        self.assertEqual(self.target.trouble, "")

    def test_closed(self) -> None:
        """
        A pipe without a reader loses lines, and no more.
        """
        self.closeReader()
        self.target.write(record())
        self.target.write(record())
        self.assertEqual((self.target.lost, self.target.trouble), (2, "Broken pipe"))

    def test_child(self) -> None:
        """
        What waits is the parent's to write.
        """
        self.fill()
        self.target.write(record())
        self.target.forked()
        self.read()
        self.target.flush()
        self.assertEqual(self.read(), b"")
