"""
Disks.
"""

from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.errors import StorageRefused
from corotwist.interfaces import IRingStorage
from corotwist.simulator.clock import Clock
from corotwist.simulator.storage import Disk, Storage


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
        self.assertEqual(Storage(self.clock, self.disk).load(), 7)

    def test_refusing(self) -> None:
        """
        A full disk takes nothing, and keeps what it has.
        """
        self.disk.wrote(1)
        self.disk.refusing = True
        result = self.storage.store(2)
        self.clock.advance(2)
        self.failureResultOf(result, StorageRefused)
        self.assertEqual((self.storage.load(), self.ends), (1, [(2, False)]))

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
