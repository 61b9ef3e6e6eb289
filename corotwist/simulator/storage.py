"""
A disk with one number on it: slow, full, or lost.
"""

from collections import deque
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
    One process's access to the disk of its node.  One write begins when the
    one before it has ended.

    @ivar stored: called when a write ended, with the number and its success.
    """

    clock: IReactorTime
    disk: Disk
    stored: Callable[[int, bool], None] = lambda sequence, success: None
    _pending: deque[tuple[int, Deferred[None]]] = field(factory=deque)
    _killed: bool = False

    def load(self) -> int | None:
        if self.disk.unusable:
            raise StorageRefused("the simulated directory cannot be used")
        return self.disk.durable

    def store(self, sequence: int) -> Deferred[None]:
        result: Deferred[None] = Deferred()
        self._pending.append((sequence, result))
        if len(self._pending) == 1:
            self._begin()
        return result

    def _begin(self) -> None:
        takes = self.disk.syncSeconds * (1 + self.disk.random.random())
        self.clock.callLater(takes, self._synced)

    def _synced(self) -> None:
        if self._killed:
            return
        sequence, result = self._pending.popleft()
        refused = self.disk.refusing or self.disk.unusable
        if not refused:
            self.disk.wrote(sequence)
        if self._pending:
            self._begin()
        self.stored(sequence, not refused)
        if refused:
            result.errback(StorageRefused("the simulated disk is full"))
        else:
            result.callback(None)

    def kill(self) -> None:
        """
        The process died; what it was writing may or may not be there.
        """
        self._killed = True
        disk = self.disk
        if self._pending and not (disk.refusing or disk.unusable):
            sequence, _ = self._pending[0]
            if disk.random.random() < KEPT_UNSYNCED:
                disk.wrote(sequence)
        self._pending.clear()
