"""
The thread that writes, and its queue.
"""

import gc
import os
import threading
from collections.abc import Callable
from time import monotonic

from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.record import RECORD_BYTES, Record
from corotwist.logs.writer import MOST_REQUESTS, Writer
from corotwist.test.logs.factories import record, waitFor


class Scribe:
    """
    Notes what it is asked to do, and can be held up.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.threads: set[int] = set()
        self.dropped = 0
        self.idles = self.finishes = 0
        self.forks = 0
        self.free = threading.Event()
        self.free.set()
        self.stuck = threading.Event()

    def record(self, record: Record) -> None:
        self.threads.add(threading.get_ident())
        if not self.free.is_set():
            self.stuck.set()
            self.free.wait(30)
        if record.format == "bad":
            raise ValueError("bad")
        self.done.append(record.format)

    def idle(self, dropped: int) -> bool:
        self.idles += 1
        self.dropped = dropped
        return False

    def finish(self) -> None:
        self.finishes += 1

    def forked(self) -> None:
        self.forks += 1


class WriterBase(SynchronousTestCase):
    def setUp(self) -> None:
        self.scribe = Scribe()
        self.addCleanup(self.scribe.free.set)

    def writer(
        self, held: bool = False, events: int = 100, size: int = 1 << 20
    ) -> Writer:
        """
        One that is over with the test.
        """
        writer = Writer(self.scribe, held, events, size)
        self.addCleanup(writer.stop)
        self.addCleanup(self.scribe.free.set)
        return writer

    def block(self, writer: Writer) -> None:
        """
        Have the thread hang in a target.
        """
        self.scribe.free.clear()
        writer.put(record("stuck"))
        waitFor(self.scribe.stuck.is_set)


class OrderTests(WriterBase):
    def test_order(self) -> None:
        """
        All is done in the order in which it came, by one other thread.  (A22)
        """
        writer = self.writer()
        names = [str(number) for number in range(50)]
        for name in names:
            writer.put(record(name))
        writer.ask(lambda: self.scribe.done.append("asked"))
        self.assertTrue(writer.stop())
        self.assertEqual(self.scribe.done, [*names, "asked"])
        (thread,) = self.scribe.threads
        self.assertNotEqual(thread, threading.get_ident())

    def test_manyThreads(self) -> None:
        """
        Whoever logs, and from wherever: nothing is lost, and there is still
        one thread that writes.  (A22)
        """
        writer = self.writer(events=10_000)

        def talk() -> None:
            for _ in range(100):
                writer.put(record("x"))

        threads = [threading.Thread(target=talk) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(writer.stop())
        self.assertEqual(len(self.scribe.done), 800)
        self.assertEqual(len(self.scribe.threads), 1)
        self.assertEqual((writer.taken, writer.dropped), (800, 0))

    def test_error(self) -> None:
        """
        An error of our own does not end the log.
        """
        writer = self.writer()
        for name in ("bad", "good"):
            writer.put(record(name))
        self.assertTrue(writer.stop())
        self.assertEqual((self.scribe.done, writer.failures), (["good"], 1))

    def test_idle(self) -> None:
        """
        Targets are looked after when there is nothing to do.
        """
        writer = self.writer()
        writer.put(record("x"))
        waitFor(lambda: self.scribe.idles)


class BoundTests(WriterBase):
    def test_blocked(self) -> None:
        """
        A target that does not come back holds nobody up who logs; what there
        is no room for is counted, and told when there is room.  (A22)
        [pitfall M10]
        """
        writer = self.writer(events=10)
        self.block(writer)
        began = monotonic()
        for number in range(5000):
            writer.put(record(str(number)))
        self.assertLess(monotonic() - began, 5)
        self.assertEqual((writer.waiting(), writer.dropped), (10, 4990))
        self.scribe.free.set()
        waitFor(lambda: self.scribe.dropped == 4990)
        self.assertEqual(self.scribe.done, ["stuck", *(str(n) for n in range(10))])

    def test_bytes(self) -> None:
        """
        The queue is bounded in bytes, too.
        """
        writer = self.writer(size=10 * RECORD_BYTES)
        self.block(writer)
        for _ in range(20):
            writer.put(record("x"))
        self.assertEqual((writer.waiting(), writer.dropped), (10, 10))

    def test_requests(self) -> None:
        """
        A request finds room where a record does not, up to a bound.
        """
        writer = self.writer(events=3)
        self.block(writer)
        for _ in range(5):
            writer.put(record("x"))
        found = [writer.ask(lambda: None) for _ in range(MOST_REQUESTS + 5)]
        self.assertEqual(found, [True] * MOST_REQUESTS + [False] * 5)

    def test_destructor(self) -> None:
        """
        What logs while it is destroyed may be destroyed while we hold our
        lock.
        """
        writer = self.writer()

        class Loud:
            def __del__(self) -> None:
                writer.put(record("destroyed"))

        with writer._lock:
            loud = Loud()
            del loud
            gc.collect()
        self.assertTrue(writer.stop())
        self.assertEqual(self.scribe.done, ["destroyed"])


class EndTests(WriterBase):
    def test_flushed(self) -> None:
        """
        At the end all is written, and the targets are asked to write what
        waits.
        """
        writer = self.writer()
        for _ in range(50):
            writer.put(record("x"))
        self.assertTrue(writer.stop())
        self.assertEqual((len(self.scribe.done), self.scribe.finishes), (50, 1))

    def test_hanging(self) -> None:
        """
        A target that does not come back is not waited for very long.
        """
        writer = self.writer()
        self.block(writer)
        began = monotonic()
        self.assertFalse(writer.stop(0.05))
        self.assertLess(monotonic() - began, 5)

    def test_late(self) -> None:
        """
        What is logged after the end is written by whoever logs it.
        """
        writer = self.writer()
        writer.put(record("before"))
        writer.stop()
        writer.put(record("after"))
        self.assertTrue(writer.ask(lambda: self.scribe.done.append("asked")))
        self.assertEqual(self.scribe.done, ["before", "after", "asked"])
        self.assertIn(threading.get_ident(), self.scribe.threads)

    def test_never(self) -> None:
        """
        One that never had anything to do ends as well, without a thread.
        """
        writer = self.writer()
        self.assertTrue(writer.stop())
        self.assertEqual(self.scribe.threads, set())


class HeldTests(WriterBase):
    def test_held(self) -> None:
        """
        A process that is going to be another one writes nothing.
        """
        writer = self.writer(held=True)
        writer.put(record("x"))
        self.assertEqual((writer._thread, writer.waiting()), (None, 1))
        writer.begin()
        waitFor(lambda: self.scribe.done)

    def test_neverBegun(self) -> None:
        """
        When nothing comes of it, what was held is written at the end.
        """
        writer = self.writer(held=True)
        writer.put(record("x"))
        self.assertTrue(writer.stop())
        self.assertEqual(self.scribe.done, ["x"])


class ForkTests(WriterBase):
    """
    Real ones.
    """

    def inChild(self, child: Callable[[], bool]) -> bool:
        """
        What it says in a child process, which has to end.
        """
        pid = os.fork()
        if not pid:
            status = 3
            try:
                status = 0 if child() else 1
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) == 0

    def test_busy(self) -> None:
        """
        A child that is born while the writer writes can log, and writes what
        it logged itself, and nothing of its parent's.  (A29)
        """
        writer = self.writer()
        self.block(writer)
        writer.put(record("parent"))

        def child() -> bool:
            self.scribe.free = threading.Event()
            self.scribe.free.set()
            writer.put(record("child"))
            return writer.stop() and self.scribe.done == ["child"]

        self.assertTrue(self.inChild(child))
        self.scribe.free.set()
        self.assertTrue(writer.stop())
        self.assertEqual(self.scribe.done, ["stuck", "parent"])

    def test_manyForks(self) -> None:
        """
        No child finds a lock that nobody will give back, at whatever moment
        it is born.  (A29)
        """
        writer = self.writer(events=1_000)
        going = threading.Event()

        def talk() -> None:
            while not going.is_set():
                writer.put(record("x"))

        talkers = [threading.Thread(target=talk) for _ in range(2)]
        for talker in talkers:
            talker.start()

        def child() -> bool:
            self.scribe.done.clear()
            writer.put(record("child"))
            return writer.stop(10) and self.scribe.done == ["child"]

        try:
            results = [self.inChild(child) for _ in range(10)]
        finally:
            going.set()
            for talker in talkers:
                talker.join()
        self.assertEqual(results, [True] * 10)

    def test_grandchild(self) -> None:
        """
        A daemon is the grandchild of what was started: it writes what was held
        until then.  (A29)
        """
        writer = self.writer(held=True)
        writer.put(record("early"))

        def grandchild() -> bool:
            writer.begin()
            writer.put(record("late"))
            return writer.stop() and self.scribe.done == ["early", "late"]

        self.assertTrue(self.inChild(lambda: self.inChild(grandchild)))

    def test_forgotten(self) -> None:
        """
        A writer that is gone is in nobody's way.
        """
        Writer(self.scribe).stop()
        gc.collect()
        self.assertTrue(self.inChild(lambda: True))
