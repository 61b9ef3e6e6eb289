"""
A client whose events wait in a file.
"""

from collections import deque
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from corotwist.budget import Budget
from corotwist.engines.batch import pack, unpack
from corotwist.engines.interfaces import Member, Position, SlowReader
from corotwist.ipc import spill
from corotwist.ipc.backlog import HIGH_SHARE, Limits
from corotwist.ipc.channel import Box
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.cpg import PLACE
from corotwist.ipc.spill import CHUNK_BYTES, FileStore
from corotwist.ipc.wire import PART_BYTES
from corotwist.test.ipc.test_backlog import Flow
from corotwist.totem.membership import Guarantee

LIMITS = Limits(
    bytes=2 << 20, messages=100_000, slow=SlowReader.SPILL, spillBytes=6 << 20
)
SENDERS = (Member(2, 3), Member(7, 1))
GUARANTEES = (Guarantee.AGREED, Guarantee.SAFE)


class Disk:
    """
    A store whose operations end when a test says so.

    @ivar most: the end of what was ever written.
    """

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.most = 0
        self.waiting: deque[Callable[[], None]] = deque()
        self.closed = False
        self.error: OSError | None = None

    def write(self, offset: int, data: bytes) -> Deferred[None]:
        if self.error is not None:
            return fail(self.error)
        self.most = max(self.most, offset + len(data))
        self.bytes.extend(bytes(max(0, self.most - len(self.bytes))))
        self.bytes[offset : offset + len(data)] = data
        return self._later(None)

    def read(self, offset: int, size: int) -> Deferred[bytes]:
        return self._later(bytes(self.bytes[offset : offset + size]))

    def close(self) -> None:
        self.closed = True

    def _later(self, result: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append(lambda: done.callback(result))
        return done

    def work(self) -> bool:
        """
        One operation ends.
        """
        if self.waiting:
            self.waiting.popleft()()
            return True
        return False


class SpillTests(SynchronousTestCase):
    """
    A connection of one who spills.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.disks: list[Disk] = []
        self.cuts: list[str] = []
        self.boxes: list[Box] = []
        self.congested = False
        self.whole = Budget("node", 1 << 40)
        self.flow = Flow()
        self.connect(LIMITS)
        self.sent: list[Any] = []
        self.places: list[Any] = []

    def connect(self, limits: Limits) -> None:
        self.connection = Connection(
            Credentials(10, 20, 30),
            self.clock,
            self,
            lambda connection, reason: self.cuts.append(reason),
            limits=limits,
            whole=self.whole,
            store=self.makeDisk,
        )
        self.connection.attach(self.flow, None)

    def makeDisk(self) -> Disk:
        self.disks.append(Disk())
        return self.disks[-1]

    # For the connection.

    def sendBox(self, box: Box) -> None:
        self.boxes.append(box)

    # For the tests.

    def deliver(self, size: int, sender: int = 0) -> None:
        message = (b"%d." % len(self.sent)).ljust(size, b"x")
        self.sent.append((b"%d" % SENDERS[sender].nodeid, message))
        place = len(self.sent)
        position = Position(place << 20, GUARANTEES[place % 2])
        self.places.append((place << 20, GUARANTEES[place % 2]))
        self.connection.messagesDelivered(
            b"g", SENDERS[sender], pack([message]), 1, position
        )
        self.clock.advance(0)

    def notify(self) -> None:
        self.sent.append(len(self.sent))
        self.connection.notify({b"_command": b"n", b"n": b"%d" % self.sent[-1]})
        self.clock.advance(0)

    def readAll(self) -> None:
        """
        The client reads until nothing comes.
        """
        before = -1
        while before != len(self.boxes) or any(disk.waiting for disk in self.disks):
            before = len(self.boxes)
            self.connection.creditReceived(PART_BYTES)
            for disk in self.disks:
                disk.work()
            self.clock.advance(0)

    def heardPlaces(self) -> list[Any]:
        """
        Where the client was told that messages are, and what they got.
        """
        return [
            (sequence, int(box.get(b"guarantee", b"2")))
            for box in self.boxes
            for sequence, _ in PLACE.iter_unpack(box.get(b"places", b""))
        ]

    def heard(self) -> list[Any]:
        """
        What the client was told, as it was C{sent}.
        """
        heard: list[Any] = []
        batch = b""
        for box in self.boxes:
            if b"n" in box:
                heard.append(int(box[b"n"]))
                continue
            batch += box[b"batch"]
            if box.get(b"more") != b"True":
                heard += [(box[b"nodeid"], message) for message in unpack(batch)]
                batch = b""
        return heard

    def test_nobodyWaits(self) -> None:
        """
        What a client does not read goes to its file, and comes back in order;
        nobody waits for it, and memory is bounded meanwhile.  (A52)
        """
        for number in range(100):
            self.deliver(50_000, number % 2)
            if number % 10 == 0:
                self.notify()
            for disk in self.disks:
                disk.work()
        waiting = self.connection.waiting()
        self.assertLess(waiting["queuedBytes"], LIMITS.bytes // HIGH_SHARE + 60_000)
        self.assertGreater(waiting["spilledBytes"], 3 << 20)
        self.assertLess(self.whole.most, LIMITS.bytes // HIGH_SHARE + 2 * CHUNK_BYTES)
        self.readAll()
        self.assertEqual(self.heard(), self.sent)
        self.assertEqual(self.heardPlaces(), self.places)
        self.assertEqual((self.flow.counts, self.cuts, self.whole.used), ([], [], 0))
        (disk,) = self.disks
        self.assertTrue(disk.closed)
        self.assertEqual(self.connection.waiting()["spilledBytes"], 0)

    def test_again(self) -> None:
        """
        A client that has caught up and falls behind again spills again.
        """
        for _ in range(3):
            for _ in range(40):
                self.deliver(50_000)
            self.readAll()
        self.assertEqual(self.heard(), self.sent)
        self.assertEqual(len(self.disks), 3)
        self.assertEqual(self.connection.waiting()["pauses"], 3)

    def test_goingOn(self) -> None:
        """
        While it reads back, more comes; the file is used in circles, within
        its bound.
        """
        for number in range(1000):
            self.deliver(20_000)
            if number > 100:
                self.connection.creditReceived(20_004)
            for disk in self.disks:
                disk.work()
        self.readAll()
        self.assertEqual(self.heard(), self.sent)
        self.assertEqual(self.cuts, [])
        (disk,) = self.disks
        self.assertLess(disk.most, LIMITS.spillBytes)

    def test_full(self) -> None:
        """
        When the file is full the client is cut off, and hears why.  (A52)
        """
        while not self.cuts:
            self.deliver(100_000)
            for disk in self.disks:
                disk.work()
        (reason,) = self.cuts
        self.assertIn("bytes were waiting in its file", reason)
        total = sum(len(message) for _, message in self.sent)
        self.assertGreater(total, LIMITS.spillBytes)
        self.assertLess(total, LIMITS.spillBytes + LIMITS.bytes)
        self.assertEqual((self.whole.used, self.disks[0].closed), (0, True))

    def test_slowDisk(self) -> None:
        """
        What the disk does not take is bounded, too.  (A109)
        """
        self.patch(spill, "UNWRITTEN_BYTES", 1 << 20)
        while not self.cuts:
            self.deliver(100_000)
        (reason,) = self.cuts
        self.assertIn("so is the disk", reason)
        self.assertLess(self.whole.most, LIMITS.bytes // HIGH_SHARE + (2 << 20))
        self.assertEqual(self.whole.used, 0)
        while self.disks[0].work():
            pass
        self.assertEqual(self.whole.used, 0)

    def test_broken(self) -> None:
        """
        A disk that fails ends the client, and nothing else; so does a
        directory where there can be no file.
        """
        for _ in range(40):
            self.deliver(50_000)
        self.disks[0].error = OSError(ENOSPC, "no space")
        for _ in range(40):
            self.deliver(50_000)
        (reason,) = self.cuts
        self.assertIn("its file failed", reason)

        def refuse() -> Disk:
            raise OSError(ENOSPC, "no space")

        self.makeDisk = refuse  # type: ignore[method-assign]
        self.connect(LIMITS)
        for _ in range(40):
            self.deliver(50_000)
        self.assertIn("there is no file for it", self.cuts[1])
        self.assertEqual(self.whole.used, 0)

    def test_truncated(self) -> None:
        """
        So does a disk that gives back less than it was given.
        """
        for _ in range(80):
            self.deliver(50_000)
        while self.disks[0].work():
            pass
        del self.disks[0].bytes[1000:]
        self.readAll()
        (reason,) = self.cuts
        self.assertIn("its file is not what it was", reason)
        self.assertEqual(self.whole.used, 0)

    def test_closed(self) -> None:
        """
        The file of a client that is gone is gone.
        """
        for _ in range(40):
            self.deliver(50_000)
        self.connection.closed()
        while self.disks[0].work():
            pass
        self.assertEqual((self.disks[0].closed, self.whole.used), (True, 0))

    def test_withOthers(self) -> None:
        """
        All that comes to a client is in one order: when one of its groups is
        to be spilled, nobody waits for any of them.
        """
        pausing = Flow()
        self.connection.attach(pausing, SlowReader.PAUSE)
        for _ in range(40):
            self.deliver(50_000)
        self.assertEqual(pausing.counts, [])
        self.assertEqual(len(self.disks), 1)

    @given(
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(1, 150_000)),
            min_size=20,
            max_size=80,
        )
    )
    def test_anyhow(self, steps: list[tuple[int, int]]) -> None:
        """
        Whatever comes, is read and is written when: the client is told all of
        it in order, once.  (A52)
        """
        self.setUp()
        self.connect(Limits(400_000, 100_000, SlowReader.SPILL, spillBytes=8 << 20))
        for kind, size in steps:
            if kind in (0, 1):
                self.deliver(size, kind)
            elif kind == 2:
                self.notify()
            elif kind == 3:
                self.connection.creditReceived(size)
                self.clock.advance(0)
            else:
                for disk in self.disks:
                    disk.work()
        self.readAll()
        self.assertEqual(self.cuts, [])
        self.assertEqual(self.heard(), self.sent)
        self.assertEqual(self.whole.used, 0)


class FileStoreTests(TestCase):
    """
    The real thing.
    """

    def test_file(self) -> Deferred[None]:
        """
        What is written is read back, from a file that nobody can see.
        """
        directory = Path(self.mktemp())
        directory.mkdir()

        async def story() -> None:
            store = FileStore(str(directory), reactor)
            writes = [store.write(n * 1000, b"%d" % n * 1000) for n in range(9)]
            self.assertEqual(await store.read(3000, 1000), b"3" * 1000)
            for write in writes:
                await write
            store.close()

        def look(_: None) -> None:
            self.assertEqual(list(directory.iterdir()), [])

        return Deferred.fromCoroutine(story()).addCallback(look)

    def test_nowhere(self) -> None:
        """
        Without a directory there is no store.
        """
        self.assertRaises(OSError, FileStore, "/nowhere/at/all", reactor)
