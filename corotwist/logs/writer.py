"""
The thread that writes, and the bounded queue before it.

Whoever logs puts an item into the queue and goes on: there is room, or the item
is counted as dropped.  Nothing that a target does can hold the caller up.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from corotwist.logs.record import Record

MOST_EVENTS: Final = 16384
MOST_BYTES: Final = 16 << 20
# A request, to dump or to reopen, finds room where a record does not.
MOST_REQUESTS: Final = 64
# The writer looks after its targets at least so often.
IDLE_SECONDS: Final = 0.5
# And so often while somebody reads what had to wait.
SOON_SECONDS: Final = 0.005
# Python runs one thread at a time: after so many records the writer rests, or
# the reactor would wait five milliseconds for each of its turns.
TURN: Final = 16
REST_SECONDS: Final = 0.0005
# At the end: so long for what is still to be written.
FLUSH_SECONDS: Final = 2.0

Request = Callable[[], None]


class IScribe(Protocol):
    """
    What the writer does its work with; called by its thread alone.
    """

    def record(self, record: Record) -> None:
        """
        Write it to wherever it belongs.
        """

    def idle(self, dropped: int) -> bool:
        """
        There is nothing to do, or there has long been too much.

        @param dropped: records that there was no room for, up to now.
        @return: is it worth coming back soon?
        """

    def finish(self) -> None:
        """
        Write what waits; this was all.
        """

    def forked(self) -> None:
        """
        We are a child, and what the parent has not written is none of ours.
        """


class Writer:
    """
    Does what is put into its queue, in order, in a thread of its own that starts
    with the first item.

    A child of this process begins with an empty queue and without a thread; its
    first item starts one again.

    @ivar taken: records that there was room for.
    @ivar dropped: records that there was none for.
    @ivar failures: errors of our own, in the thread.
    """

    def __init__(
        self,
        scribe: IScribe,
        held: bool = False,
        events: int = MOST_EVENTS,
        size: int = MOST_BYTES,
    ) -> None:
        """
        @param held: wait for L{begin} before a thread is started.
        """
        self._scribe = scribe
        self._held = held
        self._events = events
        self._bytes = size
        self.taken = 0
        self.dropped = 0
        self.failures = 0
        self._queue: deque[tuple[Record | Request, int]] = deque()
        self._size = 0
        self._thread: threading.Thread | None = None
        self._soon = False
        self._over = False
        self._ended = False
        self._unlock()
        _followForks(self)

    def _unlock(self) -> None:
        # Reentrant: a destructor that logs may run while we hold it.
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._sleeping = False

    # From any thread.

    def put(self, record: Record) -> None:
        """
        Have it written, if there is room.
        """
        with self._lock:
            if self._ended:
                self._late(record)
            elif (
                len(self._queue) >= self._events
                or self._size + record.size > self._bytes
            ):
                self.dropped += 1
            else:
                self.taken += 1
                self._append(record, record.size)

    def ask(self, request: Request) -> bool:
        """
        Have something done behind all that was put before.

        @return: was there room?
        """
        with self._lock:
            room = len(self._queue) < self._events + MOST_REQUESTS
            if self._ended:
                self._late(request)
            elif room:
                self._append(request, 0)
            return self._ended or room

    def waiting(self) -> int:
        """
        Items in the queue.
        """
        return len(self._queue)

    def begin(self) -> None:
        """
        We are the process that writes.
        """
        with self._lock:
            self._held = False
            if self._queue:
                self._wake()

    def stop(self, seconds: float = FLUSH_SECONDS) -> bool:
        """
        Write what waits, but not for ever.  What is logged later is written at
        once, by whoever logs it.

        @return: is everything written?
        """
        with self._lock:
            self._over = True
            self._held = False
            if self._queue:
                self._wake()
            self._work.notify()
            thread = self._thread
        if thread is None:
            self._run()
        else:
            thread.join(seconds)
        return self._ended

    def _append(self, item: Record | Request, size: int) -> None:
        self._queue.append((item, size))
        self._size += size
        self._wake()

    def _wake(self) -> None:
        if self._sleeping:
            self._sleeping = False
            self._work.notify()
        elif self._thread is None and not self._held:
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # No more threads: at the end of the process, stop() writes.
        self._thread = thread

    def _late(self, item: Record | Request) -> None:
        """
        The thread has ended.
        """
        self._do(item)
        self._guarded(self._scribe.finish)

    # In the thread.

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._ended:
            self._wait()
            self._turn()
            now = time.monotonic()
            if self._over and not self._queue:
                self._end()
            elif not self._queue or now - looked >= IDLE_SECONDS:
                looked = now
                self._guarded(self._idle)
            elif not self._over:
                time.sleep(REST_SECONDS)

    def _wait(self) -> None:
        with self._lock:
            if not self._queue and not self._over:
                self._sleeping = True
                self._work.wait(SOON_SECONDS if self._soon else IDLE_SECONDS)
                self._sleeping = False

    def _turn(self) -> None:
        for _ in range(TURN):
            with self._lock:
                if not self._queue:
                    return
                item, size = self._queue.popleft()
                self._size -= size
            self._do(item)

    def _idle(self) -> None:
        self._soon = self._scribe.idle(self.dropped)

    def _end(self) -> None:
        self._guarded(self._idle)
        self._guarded(self._scribe.finish)
        with self._lock:
            self._ended = not self._queue

    def _do(self, item: Record | Request) -> None:
        if isinstance(item, Record):
            self._guarded(lambda: self._scribe.record(item))
        else:
            self._guarded(item)

    def _guarded(self, action: Request) -> None:
        """
        An error here is ours, and must not end the log.
        """
        try:
            action()
        except Exception:  # noqa: BLE001
            self.failures += 1

    # Around a fork.

    def beforeFork(self) -> None:
        """
        Have nobody in the middle of the queue.
        """
        self._lock.acquire()

    def forkedInParent(self) -> None:
        """
        Go on.
        """
        self._lock.release()

    def forkedInChild(self) -> None:
        """
        Forget the thread, which is not here, and what it will write.
        """
        self._unlock()
        if self._thread is not None:
            self._thread = None
            self._queue.clear()
            self._size = 0
        self._scribe.forked()


def _followForks(writer: Writer) -> None:
    """
    For as long as there is the writer; hooks cannot be taken back.
    """
    reference = weakref.ref(writer)

    def call(name: str) -> None:
        found = reference()
        if found is not None:
            getattr(found, name)()

    os.register_at_fork(
        before=lambda: call("beforeFork"),
        after_in_parent=lambda: call("forkedInParent"),
        after_in_child=lambda: call("forkedInChild"),
    )
