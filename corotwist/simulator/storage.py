"""
A disk with one number on it: slow, full, or lost.
"""

from collections.abc import Callable
from random import Random
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from corotwist.errors import StorageRefused
from corotwist.interfaces import IRingStorage

# A write that was not made durable before the process died is there anyway
# with this probability.
KEPT_UNSYNCED: Final = 0.5
SYNC_SECONDS: Final = 0.0005


@define(eq=False)
class Disk:
    """
    What survives a restart of one node.

    @ivar durable: the stored number; L{None} when there is none, or damaged.
    @ivar refusing: writes fail.
    @ivar unusable: reading fails too: the directory cannot be used at all.
    @ivar syncSeconds: how long a write takes at least; up to twice that.
    @ivar history: all numbers that became durable on this disk.
    """

    random: Random
    durable: int | None = None
    refusing: bool = False
    unusable: bool = False
    syncSeconds: float = SYNC_SECONDS
    history: list[int] = field(factory=list)

    def erase(self) -> None:
        """
        Lose everything.
        """
        self.durable = None

    def wrote(self, sequence: int) -> None:
        """
        A number is durable.
        """
        self.durable = sequence
        self.history.append(sequence)


@implementer(IRingStorage)
@define(eq=False)
class Storage:
    """
    One process's access to the disk of its node.  Writes end in the order in
    which they began.

    @ivar stored: called when a write ended, with the number and its success.
    """

    clock: IReactorTime
    disk: Disk
    stored: Callable[[int, bool], None] = lambda sequence, success: None
    _pending: list[int] = field(factory=list)
    _busyUntil: float = 0.0
    _killed: bool = False

    def load(self) -> int | None:
        if self.disk.unusable:
            raise StorageRefused("the simulated directory cannot be used")
        return self.disk.durable

    def store(self, sequence: int) -> Deferred[None]:
        result: Deferred[None] = Deferred()
        disk = self.disk
        self._pending.append(sequence)
        takes = disk.syncSeconds * (1 + disk.random.random())
        self._busyUntil = max(self._busyUntil, self.clock.seconds()) + takes
        delay = self._busyUntil - self.clock.seconds()
        self.clock.callLater(delay, self._synced, sequence, result)
        return result

    def _synced(self, sequence: int, result: Deferred[None]) -> None:
        if self._killed:
            return
        self._pending.remove(sequence)
        if self.disk.refusing or self.disk.unusable:
            self.stored(sequence, False)
            result.errback(StorageRefused("the simulated disk is full"))
        else:
            self.disk.wrote(sequence)
            self.stored(sequence, True)
            result.callback(None)

    def kill(self) -> None:
        """
        The process died; what it was writing may or may not be there.
        """
        self._killed = True
        disk = self.disk
        for sequence in self._pending:
            writable = not (disk.refusing or disk.unusable)
            if writable and disk.random.random() < KEPT_UNSYNCED:
                disk.wrote(sequence)
        self._pending.clear()
