"""
Where the ring sequence survives a restart.
"""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, Self

from twisted.internet.defer import Deferred, DeferredLock, fail, succeed
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.errors import StorageRefused
from corotwist.interfaces import INotes, IRingStorage

SEQUENCE_BYTES: Final = 8
# Sequences only rise.  One so near the end of 64 bits was never reached by
# counting: the file is not ours, or a peer lied.
LARGEST_SEQUENCE: Final = (1 << 64) - (1 << 32)
# Nanoseconds of the year 2262: a stamp beyond it was no time of day.
LARGEST_STAMP: Final = 1 << 63
# One note of an engine.
LARGEST_NOTE_BYTES: Final = 1 << 20
# Stores that wait for the disk: a ring asks again only after it gave up.
MOST_STORES: Final = 16

InThread = Callable[..., Deferred[Any]]


class Files(Protocol):
    """
    What we use of module C{os}.
    """

    def open(self, path: Path, flags: int, mode: int = ...) -> int:
        """
        As C{os.open}.
        """

    def close(self, fd: int) -> None:
        """
        As C{os.close}.
        """

    def read(self, fd: int, length: int, /) -> bytes:
        """
        As C{os.read}.
        """

    def write(self, fd: int, data: bytes, /) -> int:
        """
        As C{os.write}.
        """

    def fsync(self, fd: int) -> None:
        """
        As C{os.fsync}.
        """

    def replace(self, src: Path, dst: Path) -> None:
        """
        As C{os.replace}.
        """

    def unlink(self, path: Path) -> None:
        """
        As C{os.unlink}.
        """

    def lockf(self, fd: int, command: int, length: int, /) -> None:
        """
        As C{os.lockf}.
        """


@implementer(IRingStorage, INotes)
class MemoryRingStorage:
    """
    Survives as long as this object: for tests, and for nodes that are alone.
    """

    def __init__(self, sequence: int | None = None) -> None:
        self.sequence = sequence
        self.notes: dict[str, bytes] = {}
        self._stamp = 0

    def loadNote(self, name: str) -> bytes | None:
        return self.notes.get(name)

    def storeNote(self, name: str, data: bytes) -> Deferred[None]:
        self.notes[name] = data
        return succeed(None)

    def load(self) -> int | None:
        return self.sequence

    def stamp(self, now: int) -> int:
        self._stamp = max(now, self._stamp + 1)
        return self._stamp

    def store(self, sequence: int) -> Deferred[None]:
        self.sequence = sequence
        return succeed(None)


@implementer(IRingStorage, INotes)
class FileRingStorage:
    """
    The file C{ringid_<nodeid>}, as corosync has it: the sequence in 8 bytes of
    the machine's own order; and beside it, for the seals of this start, the
    stamp of the last one in a file of its own.  Notes of engines are files of
    their names.  A crash leaves what was there before, or what is new.

    @param inThread: runs a function that waits for the disk, given with its
        arguments, and returns a Deferred of its result.
    @param files: what is done with files.
    """

    _log = Logger()

    def __init__(
        self,
        directory: str,
        nodeid: int,
        inThread: InThread,
        files: Files = os,
    ) -> None:
        self._directory = Path(directory)
        self._path = self._directory / f"ringid_{nodeid}"
        self._stampPath = self._directory / f"start_{nodeid}"
        self._claim: int | None = None
        self._inThread = inThread
        self._files = files
        self._lock = DeferredLock()
        self._waiting = 0

    @classmethod
    def onReactor(cls, directory: str, nodeid: int, reactor: IReactorThreads) -> Self:
        """
        A storage that writes in the reactor's threads.
        """

        def inThread(function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
            pool = reactor.getThreadPool()
            return deferToThreadPool(reactor, pool, function, *arguments)

        return cls(directory, nodeid, inThread)

    def _claimFile(self) -> None:
        """
        Two nodes with one file would give out one ring id twice.  The claim
        is the process's and ends with it.
        """
        if self._claim is not None:
            return
        path = self._path.with_suffix(".lock")
        try:
            claim = self._files.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refusal(self._path, "cannot be claimed", error) from error
        try:
            self._files.lockf(claim, os.F_TLOCK, 0)
        except OSError as error:
            self._files.close(claim)
            what = f"{self._path} belongs to a node that runs: two nodes need two"
            raise StorageRefused(f"{what} state directories") from error
        self._claim = claim

    def load(self) -> int | None:
        self._claimFile()
        self._probe()
        try:
            data = self._read(self._path)
        except FileNotFoundError:
            self._log.info("No ring id is stored yet in {path}", path=self._path)
            return None
        except OSError as error:
            raise _refusal(self._path, "cannot be read", error) from error
        if len(data) < SEQUENCE_BYTES:
            self._log.warn(
                "The ring id in {path} is damaged, {size} bytes, and is ignored",
                path=self._path,
                size=len(data),
            )
            return None
        return self._checked(data)

    def stamp(self, now: int) -> int:
        self._claimFile()
        try:
            last = int.from_bytes(self._read(self._stampPath), sys.byteorder)
        except FileNotFoundError:
            last = 0
        except OSError as error:
            raise _refusal(self._stampPath, "cannot be read", error) from error
        # One that is damaged may say anything: beyond the largest it is
        # no stamp of ours.
        stamp = max(now, last + 1 if last < LARGEST_STAMP else 0)
        self._write(stamp, self._stampPath)
        return stamp

    def loadNote(self, name: str) -> bytes | None:
        path = self._directory / name
        try:
            return self._read(path, LARGEST_NOTE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._log.error(
                "{path} cannot be read, and what it says is not known: {error}",
                path=path,
                error=error.strerror,
            )
            return None

    def storeNote(self, name: str, data: bytes) -> Deferred[None]:
        return self._store(self._writeBytes, data, self._directory / name)

    def _read(self, path: Path, most: int = SEQUENCE_BYTES + 1) -> bytes:
        descriptor = self._files.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self._files.read(descriptor, most)
        finally:
            self._files.close(descriptor)

    def store(self, sequence: int) -> Deferred[None]:
        return self._store(self._write, sequence, self._path)

    def _store(
        self, write: Callable[[Any, Path], None], what: object, path: Path
    ) -> Deferred[None]:
        if self._waiting >= MOST_STORES:
            return fail(StorageRefused(f"{path}: the disk does not answer"))
        self._waiting += 1
        stored = self._lock.run(self._inThread, write, what, path)
        return stored.addBoth(self._answered)

    def _answered(self, result: Any) -> Any:
        self._waiting -= 1
        return result

    def _checked(self, data: bytes) -> int:
        sequence = int.from_bytes(data, sys.byteorder)
        if len(data) > SEQUENCE_BYTES:
            what = f"is longer than {SEQUENCE_BYTES} bytes"
        elif sequence > LARGEST_SEQUENCE:
            what = f"holds {sequence}, so near the end that no ring can follow"
        else:
            return sequence
        raise StorageRefused(
            f"{self._path} {what}: it is no ring id file of ours;"
            " move it away and start again"
        )

    def _probe(self) -> None:
        """
        Find out now, and not at the first ring, that nothing can be stored.
        """
        try:
            self._files.unlink(self._writeTemporary(self._path, b""))
        except OSError as error:
            raise _refusal(self._path, "cannot be written", error) from error

    def _write(self, number: int, path: Path) -> None:
        """
        Returns when the number is on the disk: in a thread, or at the start.
        """
        self._writeBytes(number.to_bytes(SEQUENCE_BYTES, sys.byteorder), path)

    def _writeBytes(self, data: bytes, path: Path) -> None:
        try:
            self._files.replace(self._writeTemporary(path, data), path)
            self._synchronize()
        except OSError as error:
            raise _refusal(path, "cannot be written", error) from error

    def _writeTemporary(self, path: Path, data: bytes) -> Path:
        """
        @return: where it is now.
        """
        temporary = path.with_name(f"{path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = self._files.open(temporary, flags, 0o600)
        try:
            if self._files.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._files.fsync(descriptor)
        finally:
            self._files.close(descriptor)
        return temporary

    def _synchronize(self) -> None:
        """
        A new name is durable only when its directory is.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        descriptor = self._files.open(self._directory, flags)
        try:
            self._files.fsync(descriptor)
        finally:
            self._files.close(descriptor)


def _refusal(path: Path, what: str, error: OSError) -> StorageRefused:
    return StorageRefused(f"{path} {what}: {error.strerror}")
