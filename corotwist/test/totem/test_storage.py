"""
The ring sequence on disk.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import corotwist
from corotwist.errors import StorageRefused
from corotwist.interfaces import IRingStorage
from corotwist.totem.storage import (
    LARGEST_SEQUENCE,
    MOST_STORES,
    FileRingStorage,
    MemoryRingStorage,
)


class Disk:
    """
    A thread that works when a test lets it.
    """

    def __init__(self) -> None:
        self.work: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def inThread(
        self, function: Callable[..., Any], *arguments: object
    ) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.work.append((done, lambda: function(*arguments)))
        return done

    def step(self) -> None:
        """
        Do one piece of work.
        """
        done, function = self.work.pop(0)
        execute(function).chainDeferred(done)


HOLDER = """
import sys
from corotwist.totem.storage import FileRingStorage
FileRingStorage(sys.argv[1], 7, None).load()
print("here", flush=True)
sys.stdin.read()
"""


class FileRingStorageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "ringid_7"
        self.storage = self.makeStorage()

    def makeStorage(self) -> FileRingStorage:
        return FileRingStorage(str(self.directory), 7, execute)

    def test_stamp(self) -> None:
        """
        Each start has a higher stamp than all before: the time, or one more
        than the last where the clock went back.  [pitfall F5]
        """
        stamps = [self.makeStorage().stamp(now) for now in (1000, 500, 500, 2000)]
        self.assertEqual(stamps, [1000, 1001, 1002, 2000])
        self.assertIsNone(self.makeStorage().load())

    def test_stampDamaged(self) -> None:
        """
        What can be no stamp is not counted on from.
        """
        for damage in (b"", b"\xff" * 8, b"\xff" * 30):
            (self.directory / "start_7").write_bytes(damage)
            self.assertEqual(self.makeStorage().stamp(1000), 1000)

    def test_stampRefused(self) -> None:
        """
        A node that cannot keep it is told so.
        """
        (self.directory / "start_7").mkdir()
        error = self.assertRaises(StorageRefused, self.storage.stamp, 1000)
        self.assertIn("start_7", str(error))

    def test_anotherProcess(self) -> None:
        """
        While another process has the file, nobody else uses it; when that is
        gone, somebody does.
        """
        other = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(corotwist.__file__).parents[1])},
        )
        assert other.stdout is not None
        self.assertEqual(other.stdout.readline(), b"here\n")
        storage = self.makeStorage()
        refused = self.assertRaises(StorageRefused, storage.load)
        self.assertIn("belongs to a node that runs", str(refused))
        other.communicate()
        self.assertIsNone(self.makeStorage().load())

    def test_interface(self) -> None:
        """
        It is what the service loads from and stores to.
        """
        verifyObject(IRingStorage, self.storage)

    def test_nothingYet(self) -> None:
        """
        Where nothing was stored there is no number, and nothing appears.
        """
        self.assertIsNone(self.storage.load())
        left = [path.name for path in self.directory.iterdir()]
        self.assertEqual(left, ["ringid_7.lock"])

    def test_file(self) -> None:
        """
        The file is corosync's: its name, 8 bytes of the machine's order, for
        the owner alone, and nothing beside it.
        """
        self.successResultOf(self.storage.store(9))
        self.assertEqual(self.path.read_bytes(), (9).to_bytes(8, sys.byteorder))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(list(self.directory.iterdir()), [self.path])

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(0, LARGEST_SEQUENCE), min_size=1, max_size=5))
    def test_roundTrip(self, sequences: list[int]) -> None:
        """
        The next start loads what was stored last.
        """
        for sequence in sequences:
            self.successResultOf(self.storage.store(sequence))
        self.assertEqual(self.makeStorage().load(), sequences[-1])

    def test_short(self) -> None:
        """
        A file that is too short is as good as none.
        """
        for size in range(8):
            self.path.write_bytes(b"\x01" * size)
            self.assertIsNone(self.storage.load())

    def test_long(self) -> None:
        """
        A file with more in it is not ours, and is not overwritten.
        """
        self.path.write_bytes(bytes(9))
        error = self.assertRaises(StorageRefused, self.storage.load)
        self.assertIn(str(self.path), str(error))
        self.assertEqual(self.path.read_bytes(), bytes(9))

    def test_nearTheEnd(self) -> None:
        """
        A number after which hardly any can follow was never counted up to.
        """
        for sequence in (LARGEST_SEQUENCE + 1, (1 << 64) - 1):
            self.path.write_bytes(sequence.to_bytes(8, sys.byteorder))
            error = self.assertRaises(StorageRefused, self.storage.load)
            self.assertIn(str(sequence), str(error))

    def test_noDirectory(self) -> None:
        """
        Without its directory a node does not start.
        """
        self.directory.rmdir()
        error = self.assertRaises(StorageRefused, self.storage.load)
        self.assertIn("No such file or directory", str(error))

    def test_unwritable(self) -> None:
        """
        Where nothing can be written a node does not start, even if it could
        read an old number.
        """
        self.successResultOf(self.storage.store(9))
        obstacle = self.directory / "ringid_7.new"
        obstacle.mkdir()
        self.assertRaises(StorageRefused, self.storage.load)

    def test_unreadable(self) -> None:
        """
        What is there but cannot be read is not taken for nothing.
        """
        self.path.mkdir()
        self.assertRaises(StorageRefused, self.storage.load)

    def test_refused(self) -> None:
        """
        A store that the disk refuses fails, and leaves the old number.
        """
        self.successResultOf(self.storage.store(9))
        obstacle = self.directory / "ringid_7.new"
        obstacle.mkdir()
        self.failureResultOf(self.storage.store(13), StorageRefused)
        obstacle.rmdir()
        self.assertEqual(self.storage.load(), 9)

    def test_diskFull(self) -> None:
        """
        Not even a full disk leaves half a number.
        """
        self.successResultOf(self.storage.store(9))
        self.patch(os, "write", lambda descriptor, data: len(data) - 1)
        failure = self.failureResultOf(self.storage.store(13), StorageRefused)
        self.assertIn("No space left", failure.getErrorMessage())
        self.assertEqual(self.path.read_bytes(), (9).to_bytes(8, sys.byteorder))

    def test_durable(self) -> None:
        """
        The number reaches the disk before its name does, and the name before
        anybody is told.
        """
        steps: list[str] = []
        synchronize, rename = os.fsync, os.replace

        def fsync(descriptor: int) -> None:
            mode = os.fstat(descriptor).st_mode
            steps.append("directory" if stat.S_ISDIR(mode) else "file")
            synchronize(descriptor)

        def replace(*arguments: Any) -> None:
            steps.append("rename")
            rename(*arguments)

        self.patch(os, "fsync", fsync)
        self.patch(os, "replace", replace)
        stored = self.storage.store(9)
        stored.addCallback(lambda _: steps.append("told"))
        self.assertEqual(steps, ["file", "rename", "directory", "told"])

    def test_leftOver(self) -> None:
        """
        What a crash left of a store does not matter to the next one.
        """
        (self.directory / "ringid_7.new").write_bytes(b"\x05" * 30)
        self.assertIsNone(self.storage.load())
        self.successResultOf(self.storage.store(9))
        self.assertEqual(self.makeStorage().load(), 9)

    def test_noLink(self) -> None:
        """
        A link that somebody put in the way is not followed.
        """
        victim = Path(self.mktemp())
        victim.write_bytes(b"precious")
        (self.directory / "ringid_7.new").symlink_to(victim.absolute())
        self.failureResultOf(self.storage.store(9), StorageRefused)
        self.assertEqual(victim.read_bytes(), b"precious")

    def test_inOrder(self) -> None:
        """
        Stores that overlap reach the disk in the order they were asked for,
        one at a time.
        """
        disk = Disk()
        storage = FileRingStorage(str(self.directory), 7, disk.inThread)
        told: list[int] = []

        def tell(_: None, sequence: int) -> None:
            told.append(sequence)

        for sequence in (5, 9, 13):
            storage.store(sequence).addCallback(tell, sequence)
        for done in ([5], [5, 9], [5, 9, 13]):
            self.assertEqual(len(disk.work), 1)
            disk.step()
            self.assertEqual(told, done)
            self.assertEqual(self.makeStorage().load(), done[-1])

    def test_afterRefusal(self) -> None:
        """
        A store that fails does not hold up the next.
        """
        disk = Disk()
        storage = FileRingStorage(str(self.directory), 7, disk.inThread)
        obstacle = self.directory / "ringid_7.new"
        obstacle.mkdir()
        first, second = storage.store(5), storage.store(9)
        disk.step()
        self.failureResultOf(first, StorageRefused)
        obstacle.rmdir()
        disk.step()
        self.successResultOf(second)

    def test_deadDisk(self) -> None:
        """
        While a disk does not answer, only so many stores wait for it.
        """
        disk = Disk()
        storage = FileRingStorage(str(self.directory), 7, disk.inThread)
        waiting = [storage.store(number) for number in range(MOST_STORES)]
        self.failureResultOf(storage.store(99), StorageRefused)
        for _ in waiting:
            disk.step()
        again = storage.store(100)
        disk.step()
        self.successResultOf(again)


class ThreadedTests(SynchronousTestCase):
    def test_onReactor(self) -> None:
        """
        On a reactor, the disk is waited for in one of its threads.
        """
        calls: list[str] = []

        class Pool:
            def callInThreadWithCallback(
                self, onResult: Callable[..., None], function: Any, *arguments: Any
            ) -> None:
                calls.append("thread")
                onResult(True, function(*arguments))

        class Reactor:
            def getThreadPool(self) -> Pool:
                return Pool()

            def callFromThread(self, function: Any, *arguments: Any) -> None:
                calls.append("reactor")
                function(*arguments)

        directory = self.mktemp()
        Path(directory).mkdir()
        storage = FileRingStorage.onReactor(directory, 7, Reactor())  # type: ignore[arg-type]
        self.successResultOf(storage.store(9))
        self.assertEqual(calls, ["thread", "reactor"])
        self.assertEqual(storage.load(), 9)


class MemoryRingStorageTests(SynchronousTestCase):
    def test_remembers(self) -> None:
        """
        It gives what it was given last, at first what it was made with.
        """
        storage = MemoryRingStorage(5)
        verifyObject(IRingStorage, storage)
        self.assertEqual(storage.load(), 5)
        self.successResultOf(storage.store(9))
        self.assertEqual(storage.load(), 9)
        self.assertIsNone(MemoryRingStorage().load())
