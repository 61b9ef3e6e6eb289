"""
Where lines go: files and streams.  All of it runs in the writer's thread.
"""

import os
import select
from collections import deque
from typing import Final, Protocol

from corotwist.logs.layout import JsonLayout, TextLayout
from corotwist.logs.record import Record

# For a stream that nobody reads: kept until it is read again, then lost.
STREAM_BYTES: Final = 1 << 20
# A pipe that can be written takes so much without blocking.
PIECE: Final = 4096
FILE_MODE: Final = 0o640

Layout = TextLayout | JsonLayout


class ITarget(Protocol):
    """
    A place for lines.

    @ivar name: for people.
    @ivar lost: records that did not get there.
    @ivar trouble: why, as long as that lasts; or nothing.
    @ivar waiting: bytes that could not be written yet.
    """

    name: str
    lost: int
    trouble: str
    waiting: int

    def write(self, record: Record) -> None:
        """
        Take a record.  What goes wrong is noted, not raised.
        """

    def flush(self) -> None:
        """
        Write what waits, as far as it goes without waiting.
        """

    def reopen(self) -> None:
        """
        Begin again with a file of the same name.
        """

    def forked(self) -> None:
        """
        We are the child of a process that wrote here: what waits is its.
        """

    def close(self) -> None:
        """
        No more.
        """


class FileTarget:
    """
    Lines at the end of a file, which may be moved away.

    A file on a disk that does not answer blocks the writer, and nobody else.
    """

    def __init__(self, path: str, layout: Layout) -> None:
        """
        @raise OSError: when it cannot be opened.
        """
        self.name = path
        self.lost = 0
        self.trouble = ""
        self.waiting = 0
        self.layout = layout
        self._file = self._open()

    def write(self, record: Record) -> None:
        line = self.layout.line(record)
        try:
            while line:
                line = line[os.write(self._file, line) :]
            self.trouble = ""
        except OSError as error:
            self.lost += 1
            self.trouble = error.strerror or str(error)

    def flush(self) -> None:
        pass

    def moved(self) -> bool:
        """
        Is the file of our name another one, or none?
        """
        ours = os.fstat(self._file)
        try:
            there = os.stat(self.name)  # noqa: PTH116
        except OSError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)

    def reopen(self) -> None:
        """
        Begin again; when that fails, go on where we are.
        """
        try:
            fresh = self._open()
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return
        os.close(self._file)
        self._file = fresh

    def forked(self) -> None:
        pass

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        # With O_NONBLOCK a pipe without a reader is refused, and not waited for.
        return os.open(self.name, flags | os.O_NONBLOCK, FILE_MODE)


class StreamTarget:
    """
    Lines to a descriptor that somebody else reads, or does not.

    It may be shared with other programs, so it stays as blocking as it was;
    we ask before each write whether there is room.
    """

    def __init__(self, descriptor: int, layout: Layout, name: str = "stderr") -> None:
        self.name = name
        self.lost = 0
        self.trouble = ""
        self.waiting = 0
        self.layout = layout
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, record: Record) -> None:
        line = self.layout.line(record)
        if self.waiting + len(line) > STREAM_BYTES:
            self.lost += 1
            self.trouble = "nobody reads it"
            return
        self._lines.append(line)
        self.waiting += len(line)
        self.flush()

    def flush(self) -> None:
        try:
            while self._lines and self._hasRoom():
                self._writeSome(self._lines[0])
        except OSError as error:
            self._broken(error)

    def _writeSome(self, line: bytes) -> None:
        done = os.write(self._descriptor, line[:PIECE])
        self.waiting -= done
        if done < len(line):
            self._lines[0] = line[done:]
        else:
            self._lines.popleft()
            self.trouble = ""

    def _hasRoom(self) -> bool:
        return bool(self._poll.poll(0))

    def _broken(self, error: OSError) -> None:
        self.lost += len(self._lines)
        self.trouble = error.strerror or str(error)
        self.forked()

    def reopen(self) -> None:
        pass

    def forked(self) -> None:
        self._lines.clear()
        self.waiting = 0

    def close(self) -> None:
        self.flush()
