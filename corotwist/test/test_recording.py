"""
What a ring does is on file when it should be.
"""

import json
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist import recording
from corotwist.errors import StorageRefused
from corotwist.interfaces import IRingStorage
from corotwist.recording import RecordedStorage, Recorder, RecordFull, digestOf
from corotwist.tap import Daemon, NotStarted, Options, alone
from corotwist.test.directories import shortDirectory
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Multicast,
    StateChanged,
    TokenPassed,
    Unicast,
)
from corotwist.totem.membership import Configuration, RingId
from corotwist.totem.storage import MemoryRingStorage
from corotwist.totem.wire import makeRegular

RING = RingId(0x10, 1)


def frame(
    sequence: int, number: int, payload: bytes, sender: int = 1, carrier: bool = False
) -> bytes:
    """
    A frame of the ring.
    """
    return makeRegular(sender, sequence, number, RING, 2, payload, carrier).frame


class RecorderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.recorder = Recorder(self.path, 1, count(100).__next__)

    def records(self) -> list[dict[str, Any]]:
        """
        What is on file.
        """
        return [json.loads(line) for line in Path(self.path).read_text().splitlines()]

    def events(self) -> list[tuple[Any, ...]]:
        """
        Without what all records have.
        """
        common = {"t", "node", "life"}
        return [
            tuple(value for key, value in record.items() if key not in common)
            for record in self.records()
        ]

    def test_common(self) -> None:
        """
        Every record tells when, where, and in which life of the node.
        """
        self.recorder.record("boot", stored=None)
        self.recorder.close()
        self.assertEqual(
            self.records(),
            [
                {"t": 101, "node": 1, "life": 100, "ev": "boot", "stored": None},
                {"t": 102, "node": 1, "life": 100, "ev": "stop"},
            ],
        )

    def test_sendsOnce(self) -> None:
        """
        A frame of ours is recorded when it gets its place; not when it is sent
        again, nor frames of others, nor those that carry a frame of an old ring.
        """
        first, second = frame(7, 1, b"a"), frame(8, 2, b"b")
        carrier = frame(1, 3, frame(5, 9, b"old"), carrier=True)
        self.recorder.observed(Multicast([first, frame(6, 4, b"c", sender=2)]))
        self.recorder.observed(Multicast([first, second, carrier, b"short"]))
        self.assertEqual(
            self.events(),
            [
                ("send", [1, 0x10], 7, 1, digestOf(b"a")),
                ("send", [1, 0x10], 8, 2, digestOf(b"b")),
            ],
        )

    def test_beforeTheDatagram(self) -> None:
        """
        What was delivered is on file before anything leaves.
        """
        for leaving in (Multicast([]), Unicast(2, b"token"), TokenPassed()):
            before = len(self.events())
            self.recorder.observed(Deliver(2, b"x", RING, 9, "<"))
            self.assertEqual(len(self.events()), before)
            self.recorder.observed(leaving)
            self.assertEqual(
                self.events()[before:],
                [("deliver", [1, 0x10], 9, 2, digestOf(b"x"))],
            )

    def test_configurations(self) -> None:
        """
        Configurations are on file before anybody is told; states keep their
        reasons.
        """
        went = Configuration(RING, (1,), transitional=True, left=(2,), cause='a "b"')
        came = Configuration(RING, (1, 3), transitional=False, joined=(3,))
        self.recorder.observed(StateChanged("gather", "commit", "all agreed"))
        self.recorder.observed(ConfigurationChanged(went))
        self.recorder.observed(ConfigurationChanged(came))
        self.assertEqual(
            self.events(),
            [
                ("state", "gather", "commit", "all agreed"),
                ("conf", "T", [1, 0x10], [1], [2], [], 'a "b"'),
                ("conf", "R", [1, 0x10], [1, 3], [], [3], ""),
            ],
        )

    def test_full(self) -> None:
        """
        A recording does not grow without end, also over several lives.
        """
        self.patch(recording, "MOST_BYTES", 300)
        self.recorder.observed(Deliver(2, b"x", RING, 9, "<"))
        self.recorder.flush()
        again = Recorder(self.path, 1, count(200).__next__)
        again.observed(Deliver(2, b"x", RING, 10, "<"))
        again.observed(Deliver(2, b"x", RING, 11, "<"))
        self.assertRaises(RecordFull, again.flush)

    def test_storage(self) -> None:
        """
        The disk is asked as ever, and what it answers is recorded.
        """
        storage = RecordedStorage(MemoryRingStorage(3), self.recorder)
        verifyObject(IRingStorage, storage)
        self.assertEqual(storage.load(), 3)
        self.assertIsNone(self.successResultOf(storage.store(4)))
        self.assertEqual(storage.load(), 4)
        self.assertEqual(self.events(), [("boot", 3), ("store", 4, True), ("boot", 4)])

    def test_storageRefuses(self) -> None:
        """
        A refusal is recorded, and goes on to who asked.
        """
        asked: list[Deferred[None]] = []
        memory = MemoryRingStorage()

        def store(sequence: int) -> Deferred[None]:
            asked.append(Deferred())
            return asked[-1]

        self.patch(memory, "store", store)
        answer = RecordedStorage(memory, self.recorder).store(5)
        asked[0].errback(StorageRefused("full"))
        self.failureResultOf(answer, StorageRefused)
        self.assertEqual(self.events(), [("store", 5, False)])


class OptionTests(SynchronousTestCase):
    def daemon(self, path: str) -> Daemon:
        """
        A node on its own, which would record.
        """
        options = Options()
        options.parseOptions(["--record", path])
        self.assertEqual(options["record"], str(Path(path).absolute()))
        options["observer"] = None
        return Daemon(options, Clock())

    def test_records(self) -> None:
        """
        With C{--record}, the ring and its storage have somebody watching; when
        the node has left, so has he.
        """
        path = self.mktemp()
        daemon = self.daemon(path)
        node = daemon._makeNode(alone(str(shortDirectory(self)), 5405))
        self.assertIsNotNone(node.totem.observer)
        self.assertIsInstance(node.totem._storage, RecordedStorage)
        daemon._stopped(None)
        self.assertEqual(json.loads(Path(path).read_text())["ev"], "stop")

    def test_off(self) -> None:
        """
        Nobody watches when nobody asked.
        """
        options = Options()
        options.parseOptions([])
        daemon = Daemon(options, Clock())
        node = daemon._makeNode(alone(str(shortDirectory(self)), 5405))
        self.assertIsNone(node.totem.observer)

    def test_refused(self) -> None:
        """
        A recording that cannot be made is told, and the node does not start.
        """
        daemon = self.daemon(str(Path(self.mktemp(), "nowhere", "x")))
        error = self.assertRaises(
            NotStarted, daemon._makeNode, alone(str(shortDirectory(self)), 5405)
        )
        self.assertIn("No such file", str(error))
