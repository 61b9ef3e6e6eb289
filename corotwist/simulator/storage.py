"""
Disks of simulated machines, as far as the ring id file needs one: files that
are durable once they are synchronized, and operations that fail as told.
"""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.errors import StorageRefused
from corotwist.interfaces import INotes, IRingStorage
from corotwist.simulator.machine import STATE_DIRECTORY
from corotwist.simulator.sockets import failed
from corotwist.totem.storage import SEQUENCE_BYTES, FileRingStorage

SYNC_SECONDS: Final = 0.0005
# What was not synchronized when the machine went down is there anyway with
# this probability; otherwise it is not, or a part of it is.
KEPT_UNSYNCED: Final = 0.5
TORN_UNSYNCED: Final = 0.5
# To write the ring id file takes so many operations.
OPERATIONS: Final = 8

_CHANGING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@define(eq=False)
class File:
    """
    What is in a file, as programs see it and as it is on the disk.
    """

    seen: bytes = b""
    durable: bytes = b""


@define(eq=False)
class Disk:
    """
    What survives a restart of one node.

    @ivar name: of the ring id file.
    @ivar failure: of every change, as an error number: C{ENOSPC}, C{EIO},
        C{EROFS}, C{EMFILE}.
    @ivar unusable: reading fails too: the directory cannot be used at all.
    @ivar syncSeconds: how long a write takes at least; up to twice that.
    @ivar history: all numbers that became durable on this disk.
    @ivar torn: how often a crash left a file that is neither old nor new.
    """

    random: Random
    durable: int | None = field(default=None, kw_only=True)
    name: str = "ringid_1"
    failure: int | None = None
    unusable: bool = False
    syncSeconds: float = SYNC_SECONDS
    history: list[int] = field(factory=list)
    torn: int = 0
    claims: dict[str, "Files"] = field(factory=dict)
    _seen: dict[str, File] = field(factory=dict)
    _names: dict[str, File] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.durable is not None:
            self.wrote(self.durable)

    @property
    def refusing(self) -> bool:
        """
        Do writes fail?  When set, the disk is full.
        """
        return self.failure is not None

    @refusing.setter
    def refusing(self, refusing: bool) -> None:
        self.failure = errno.ENOSPC if refusing else None

    @property
    def contents(self) -> bytes | None:
        """
        Of the ring id file; L{None} when there is none.
        """
        found = self._names.get(self.name)
        return None if found is None else found.durable

    @contents.setter
    def contents(self, data: bytes | None) -> None:
        """
        Whatever somebody left there.
        """
        self._names.pop(self.name, None)
        if data is not None:
            self._names[self.name] = File(data, data)
        self._seen = dict(self._names)
        self._noteDurable()

    def erase(self) -> None:
        """
        Lose everything.
        """
        self._names.clear()
        self._seen.clear()
        self.durable = None

    def wrote(self, sequence: int) -> None:
        """
        A number is durable.
        """
        self.contents = sequence.to_bytes(SEQUENCE_BYTES, sys.byteorder)

    def crashed(self) -> None:
        """
        The machine went down: of what was not synchronized, anything may be
        there.
        """
        for file in dict.fromkeys([*self._seen.values(), *self._names.values()]):
            if file.seen != file.durable:
                file.durable = self._leftOf(file)
        if self.random.random() < KEPT_UNSYNCED:
            self._names = dict(self._seen)
        for file in self._names.values():
            file.seen = file.durable
        self._seen = dict(self._names)
        self._noteDurable()

    def _leftOf(self, file: File) -> bytes:
        if self.random.random() < KEPT_UNSYNCED:
            return file.seen
        if self.random.random() < TORN_UNSYNCED:
            self.torn += 1
            return file.seen[: self.random.randrange(len(file.seen) + 1)]
        return file.durable

    def _noteDurable(self) -> None:
        data = self.contents
        number = None
        if data is not None and len(data) == SEQUENCE_BYTES:
            number = int.from_bytes(data, sys.byteorder)
        if number is not None and number != self.durable:
            self.history.append(number)
        self.durable = number

    # For the open files of a process.

    def find(self, name: str, flags: int) -> File:
        """
        Open a file, or make one.
        """
        if flags & _CHANGING:
            self.checkChange()
        elif self.unusable:
            raise failed(errno.EIO)
        found = self._seen.get(name)
        if found is None:
            if not flags & os.O_CREAT:
                raise failed(errno.ENOENT)
            found = self._seen[name] = File()
        if flags & os.O_TRUNC:
            found.seen = b""
        return found

    def rename(self, old: str, new: str) -> None:
        """
        A file takes the place of another.
        """
        self.checkChange()
        self._seen[new] = self._seen.pop(old)

    def remove(self, name: str) -> None:
        """
        A file has no name any more.
        """
        self.checkChange()
        del self._seen[name]

    def nameOf(self, file: File | None) -> str:
        """
        Of a file that has one.
        """
        return next(name for name, its in self._seen.items() if its is file)

    def synchronize(self, file: File | None) -> None:
        """
        Make a file durable, or the names of all.
        """
        self.checkChange()
        if file is not None:
            file.durable = file.seen
        else:
            self._names = dict(self._seen)
        self._noteDurable()

    def checkChange(self) -> None:
        """
        @raise OSError: nothing can be changed.
        """
        if self.unusable:
            raise failed(errno.EIO)
        if self.failure is not None:
            raise failed(self.failure)


class Killed(BaseException):
    """
    The process ends here.
    """


@define(eq=False)
class Files:
    """
    The open files of one process: what our storage uses of module C{os}.

    @ivar left: after so many operations the process ends; L{None} for never.
    @ivar exhausted: no more can be opened.
    """

    disk: Disk
    left: int | None = None
    exhausted: bool = False
    _open: dict[int, File | None] = field(factory=dict)
    _last: int = 2

    def _operation(self) -> None:
        if self.left is not None:
            if not self.left:
                raise Killed
            self.left -= 1

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        self._operation()
        if self.exhausted:
            raise failed(errno.EMFILE)
        directory = bool(flags & os.O_DIRECTORY)
        file = None if directory else self.disk.find(Path(path).name, flags)
        self._last += 1
        self._open[self._last] = file
        return self._last

    def close(self, descriptor: int) -> None:
        """
        Done with it.
        """
        del self._open[descriptor]

    def read(self, descriptor: int, size: int) -> bytes:
        return self._file(descriptor).seen[:size]

    def write(self, descriptor: int, data: bytes) -> int:
        self._operation()
        self.disk.checkChange()
        self._file(descriptor).seen += data
        return len(data)

    def fsync(self, descriptor: int) -> None:
        self._operation()
        self.disk.synchronize(self._open[descriptor])

    def replace(self, old: str | Path, new: str | Path) -> None:
        self._operation()
        self.disk.rename(Path(old).name, Path(new).name)

    def unlink(self, path: str | Path) -> None:
        self._operation()
        self.disk.remove(Path(path).name)

    def lockf(self, descriptor: int, command: int, size: int) -> None:
        name = self.disk.nameOf(self._open[descriptor])
        if self.disk.claims.setdefault(name, self) is not self:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def release(self) -> None:
        """
        The process ended, and its claims with it.
        """
        for name in [n for n, owner in self.disk.claims.items() if owner is self]:
            del self.disk.claims[name]

    def _file(self, descriptor: int) -> File:
        file = self._open[descriptor]
        assert file is not None, "a directory"
        return file


@implementer(IRingStorage, INotes)
@define(eq=False)
class Storage:
    """
    One process's access to the disk of its node: production code, on
    simulated files.  One write begins when the one before it has ended.

    @ivar stored: called when a write ended, with the number and its success.
    """

    clock: IReactorTime
    disk: Disk
    stored: Callable[[int, bool], None] = lambda sequence, success: None
    nodeid: int = 1
    _files: Files = field(init=False)
    _storage: FileRingStorage = field(init=False)
    _pending: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
    _killed: bool = False

    def __attrs_post_init__(self) -> None:
        self._files = Files(self.disk)
        self._storage = FileRingStorage(
            STATE_DIRECTORY, self.nodeid, self._inThread, self._files
        )

    def load(self) -> int | None:
        return self._storage.load()

    def store(self, sequence: int) -> Deferred[None]:
        return self._storage.store(sequence)

    def stamp(self, now: int) -> int:
        return self._storage.stamp(now)

    def loadNote(self, name: str) -> bytes | None:
        return self._storage.loadNote(name)

    def storeNote(self, name: str, data: bytes) -> Deferred[None]:
        return self._storage.storeNote(name, data)

    def _inThread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self._pending = function, arguments
        takes = self.disk.syncSeconds * (1 + self.disk.random.random())
        self.clock.callLater(takes, self._done, result)
        return result

    def _done(self, result: Deferred[Any]) -> None:
        """
        The thread has what it waited for.  All it does happens in one moment,
        unless the process is killed before.
        """
        if self._killed or self._pending is None:
            return
        (function, arguments), self._pending = self._pending, None
        try:
            value = function(*arguments)
        except StorageRefused:
            self._ended(arguments[0], success=False)
            result.errback(Failure())
        else:
            self._ended(arguments[0], success=True)
            result.callback(value)

    def _ended(self, what: object, *, success: bool) -> None:
        """
        Notes of engines are nobody's business but theirs.
        """
        if isinstance(what, int):
            self.stored(what, success)

    @property
    def exhausted(self) -> bool:
        """
        Has the process no files left to open?
        """
        return self._files.exhausted

    @exhausted.setter
    def exhausted(self, exhausted: bool) -> None:
        self._files.exhausted = exhausted

    def kill(self) -> None:
        """
        The machine went down; what it was writing is there, or not, or torn.
        """
        if not self._killed and self._pending is not None:
            function, arguments = self._pending
            self._files.left = self.disk.random.randrange(OPERATIONS + 1)
            with suppress(Killed, StorageRefused):
                function(*arguments)
        self._killed = True
        self.disk.crashed()
        self.ended()

    def ended(self) -> None:
        """
        The process is over.
        """
        self._files.release()
