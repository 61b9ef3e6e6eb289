"""
What a client has not read, in a file: for readers that neither want to slow
others nor to be cut off.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from struct import Struct
from tempfile import TemporaryFile
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from corotwist.budget import Budget
from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    NOWHERE,
    Member,
    Position,
)
from corotwist.ipc.channel import Box
from corotwist.ipc.dispatch import DispatchQueue
from corotwist.totem.membership import Guarantee

# Written and read at once, at least, unless there is no more.
CHUNK_BYTES: Final = 256 << 10
# On their way to the disk; one message of the largest size is.
UNWRITTEN_BYTES: Final = LARGEST_MESSAGE_BYTES + (4 << 20)

_BATCH, _BOX = 0, 1
_MESSAGES: Final = Struct("<BBIIIIQB")
_FIELDS: Final = Struct("<BB")
_FIELD: Final = Struct("<BI")


class Store(Protocol):
    """
    Bytes at offsets; calls are carried out one after the other.
    """

    def write(self, offset: int, data: bytes) -> Deferred[None]:
        """
        Fires when it is written.  Fails with C{OSError}.
        """

    def read(self, offset: int, size: int) -> Deferred[bytes]:
        """
        Fires with what was written there.  Fails with C{OSError}.
        """

    def close(self) -> None:
        """
        Nothing of it is needed any more.
        """


class FileStore:
    """
    A file without a name, so that nothing is left of it whatever happens;
    threads of the reactor wait for the disk.
    """

    def __init__(self, directory: str, reactor: Any) -> None:
        """
        @param reactor: C{IReactorThreads}.
        @raise OSError: there can be no file in this directory.
        """
        self._file = TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115
        self._reactor = reactor
        self._lock = DeferredLock()

    def write(self, offset: int, data: bytes) -> Deferred[None]:
        return self._run(_writeAll, self._file.fileno(), data, offset)

    def read(self, offset: int, size: int) -> Deferred[bytes]:
        return self._run(os.pread, self._file.fileno(), size, offset)

    def close(self) -> None:
        self._lock.run(self._file.close)

    def _run(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        return self._lock.run(
            deferToThreadPool, self._reactor, pool, function, *arguments
        )


def _writeAll(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


@define(eq=False)
class _Chunk:
    """
    Some events, one behind the other.

    @ivar written: are they in the file?
    """

    offset: int
    size: int
    written: bool = False


@define(eq=False)
class Spill:
    """
    The events behind a queue: they go out as they came in.

    The file is used in circles, and is never longer than its limit.

    @ivar arrived: called when some came back into the queue.
    @ivar failed: called, at most once, with a reason: it cannot go on.
    """

    _store: Store
    _queue: DispatchQueue
    _budget: Budget
    _limit: int
    arrived: Callable[[], object]
    failed: Callable[[str], object]
    spilledBytes: int = field(default=0, init=False)
    _last: bytearray = field(factory=bytearray, init=False)
    _chunks: deque[_Chunk] = field(factory=deque, init=False)
    _unwritten: int = field(default=0, init=False)
    _wanted: bool = field(default=False, init=False)
    _reading: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)

    @property
    def empty(self) -> bool:
        """
        Is everything in the queue again?
        """
        return not self._chunks and not self._last

    @property
    def heldBytes(self) -> int:
        """
        In the file, and on the way to it.
        """
        return sum(chunk.size for chunk in self._chunks) + len(self._last)

    # In.

    def deliver(
        self,
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
        position: Position = NOWHERE,
    ) -> None:
        """
        Append messages.
        """
        head = _MESSAGES.pack(
            _BATCH,
            len(group),
            sender.nodeid,
            sender.pid,
            count,
            len(batch),
            position.sequence,
            position.guarantee,
        )
        self._append(head, group, batch)

    def notify(self, box: Box) -> None:
        """
        Append anything else.
        """
        self._append(_FIELDS.pack(_BOX, len(box)))
        for key, value in box.items():
            self._append(_FIELD.pack(len(key), len(value)), key, value)

    def _append(self, *pieces: bytes) -> None:
        if self._ended:
            return
        for piece in pieces:
            self._last += piece
            self._budget.charge(len(piece))

    def grown(self) -> None:
        """
        An event is complete: write, if that is worth while.
        """
        if len(self._last) >= CHUNK_BYTES and not self._ended:
            size = len(self._last)
            offset = self._place(size)
            if offset is None:
                self._fail(f"too slow: {self.heldBytes} bytes were waiting in its file")
            elif self._unwritten + size > UNWRITTEN_BYTES:
                self._fail("too slow, and so is the disk that would help it")
            else:
                self._write(_Chunk(offset, size))

    def _place(self, size: int) -> int | None:
        """
        Where there is room for so much; L{None} when there is nowhere.
        """
        if not self._chunks:
            return 0 if size <= self._limit else None
        begin, last = self._chunks[0].offset, self._chunks[-1]
        end = last.offset + last.size
        if last.offset < begin:  # Around the end of the file already.
            return end if end + size <= begin else None
        if end + size <= self._limit:
            return end
        return 0 if size <= begin else None

    def _write(self, chunk: _Chunk) -> None:
        data, self._last = bytes(self._last), bytearray()
        self._chunks.append(chunk)
        self._unwritten += chunk.size
        self.spilledBytes += chunk.size
        writing = self._store.write(chunk.offset, data)
        writing.addCallbacks(self._written, self._broken, callbackArgs=(chunk,))

    def _written(self, result: None, chunk: _Chunk) -> None:
        if not self._ended:
            chunk.written = True
            self._unwritten -= chunk.size
            self._budget.give(chunk.size)
            if self._wanted:
                self.refill()

    # Out.

    def refill(self) -> None:
        """
        The queue runs low: bring back what comes next.
        """
        if self._reading or self._ended:
            return
        self._wanted = True
        if not self._chunks:
            data, self._last = bytes(self._last), bytearray()
            self._budget.give(len(data))
            self._came(data)
        elif self._chunks[0].written:
            self._reading = True
            first = self._chunks[0]
            reading = self._store.read(first.offset, first.size)
            reading.addCallbacks(self._readBack, self._broken)

    def _readBack(self, data: bytes) -> None:
        self._reading = False
        if self._ended:
            return
        if len(data) != self._chunks.popleft().size:
            self._fail("too slow, and its file is not what it was")
        else:
            self._came(data)

    def _came(self, data: bytes) -> None:
        self._wanted = False
        for event in _events(data):
            if isinstance(event, dict):
                self._queue.notify(event)
            else:
                self._queue.deliver(*event)
        self.arrived()

    # The end.

    def _broken(self, failure: Failure) -> None:
        self._fail(f"too slow, and its file failed: {failure.getErrorMessage()}")

    def _fail(self, reason: str) -> None:
        if not self._ended:
            self.close()
            self.failed(reason)

    def close(self) -> None:
        """
        Nobody will read any of it.
        """
        if not self._ended:
            self._ended = True
            self._budget.give(self._unwritten + len(self._last))
            self._chunks.clear()
            self._last.clear()
            self._store.close()


Messages = tuple[bytes, Member, bytes, int, Position]


def _events(data: bytes) -> Iterator[Messages | dict[bytes, bytes]]:
    """
    What was appended, again.
    """
    offset = 0
    while offset < len(data):
        if data[offset] == _BATCH:
            head = _MESSAGES.unpack_from(data, offset)
            _, length, nodeid, pid, count, size, sequence, guarantee = head
            offset += _MESSAGES.size
            group = data[offset : offset + length]
            offset += length
            batch = data[offset : offset + size]
            offset += size
            position = Position(sequence, Guarantee(guarantee))
            yield group, Member(nodeid, pid), batch, count, position
        else:
            _, fields = _FIELDS.unpack_from(data, offset)
            offset += _FIELDS.size
            box = {}
            for _ in range(fields):
                keySize, size = _FIELD.unpack_from(data, offset)
                offset += _FIELD.size
                key = data[offset : offset + keySize]
                offset += keySize
                box[key] = data[offset : offset + size]
                offset += size
            yield box
