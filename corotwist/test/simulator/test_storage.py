"""
Disks.
"""

import os
import sys
from errno import EIO, EMFILE, ENOSPC, EROFS
from os import strerror
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.errors import StorageRefused
from corotwist.interfaces import IRingStorage
from corotwist.simulator.clock import Clock
from corotwist.simulator.storage import Disk, Files, Storage


class StorageTests(SynchronousTestCase):
    """
    One process on one disk.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.disk = Disk(Random(3), syncSeconds=0.5)
        self.ends: list[tuple[int, bool]] = []
        self.storage = Storage(
            self.clock, self.disk, lambda *end: self.ends.append(end)
        )

    def test_interface(self) -> None:
        """
        It is a ring storage.
        """
        verifyObject(IRingStorage, self.storage)

    def test_durable(self) -> None:
        """
        A number is durable some time after it was written, and then survives.
        """
        self.assertIs(self.storage.load(), None)
        result = self.storage.store(7)
        self.clock.advance(0.4)
        self.assertNoResult(result)
        self.clock.advance(0.7)
        self.successResultOf(result)
        self.assertEqual(self.ends, [(7, True)])
        self.storage.kill()
        self.assertEqual(Storage(self.clock, self.disk).load(), 7)
        self.assertEqual(self.disk.history, [7])

    def test_claimed(self) -> None:
        """
        Two processes do not use one file; the next one does.
        """
        self.storage.load()
        second = Storage(self.clock, self.disk)
        self.assertRaises(StorageRefused, second.load)
        self.storage.ended()
        self.assertIsNone(second.load())

    def test_refusing(self) -> None:
        """
        A disk that takes nothing keeps what it has.
        """
        for number in (ENOSPC, EIO, EROFS, EMFILE):
            self.setUp()
            self.disk.wrote(1)
            self.assertEqual(self.storage.load(), 1)
            self.disk.failure = number
            result = self.storage.store(2)
            self.clock.advance(2)
            refusal = self.failureResultOf(result, StorageRefused).value
            self.assertIn(strerror(number), str(refusal))
            self.assertEqual((self.disk.durable, self.ends), (1, [(2, False)]))
            self.disk.refusing = False
            result = self.storage.store(3)
            self.clock.advance(2)
            self.successResultOf(result)
            self.assertEqual(self.disk.durable, 3)

    def test_contents(self) -> None:
        """
        Whatever is in the file, the production code decides what it is: lost,
        a number, or nothing to start with.
        """
        number = (77).to_bytes(8, sys.byteorder)
        lost = (None, b"", *(number[:size] for size in range(1, 8)))
        for contents in lost:
            self.setUp()
            self.disk.contents = contents
            self.assertEqual((self.storage.load(), self.disk.durable), (None, None))
        self.setUp()
        self.disk.contents = number
        self.assertEqual((self.storage.load(), self.disk.durable), (77, 77))
        for contents in (number + b"x", number * 2, b"\xff" * 8):
            self.setUp()
            self.disk.contents = contents
            self.assertRaises(StorageRefused, self.storage.load)

    def test_synchronized(self) -> None:
        """
        A crash tears only what was not synchronized: storing a number does
        it, so that the old number is there afterwards, or the new one.
        """
        torn = 0
        for seed in range(300):
            disk = Disk(Random(seed), durable=1)
            storage = Storage(self.clock, disk)
            storage.load()
            storage.store((1 << 40) + 2)
            storage.kill()
            self.assertIn(disk.durable, (1, (1 << 40) + 2))
            torn += disk.torn
        self.assertTrue(torn, "nothing was ever torn")

    def test_torn(self) -> None:
        """
        A number that is written in its place may be torn: that is why it is
        not.
        """
        found = set()
        for seed in range(100):
            disk = Disk(Random(seed), durable=1)
            files = Files(disk)
            file = files.open("ringid_1", os.O_WRONLY | os.O_TRUNC)
            files.write(file, bytes(8))
            files.close(file)
            disk.crashed()
            found.add(disk.contents)
        self.assertTrue(len(found) >= 8, found)

    def test_unusable(self) -> None:
        """
        A disk may not even be readable.
        """
        self.disk.unusable = True
        self.assertRaises(StorageRefused, self.storage.load)

    def test_killed(self) -> None:
        """
        What was being written when the process died is there, or what was
        there before; nobody is told.
        """
        found = set()
        for number in range(20):
            disk = Disk(Random(number), durable=1)
            storage = Storage(self.clock, disk, lambda *end: self.ends.append(end))
            storage.store(2)
            storage.kill()
            found.add(disk.durable)
        self.clock.advance(2)
        self.assertEqual((found, self.ends), ({1, 2}, []))
