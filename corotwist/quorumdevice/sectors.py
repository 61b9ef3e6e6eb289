"""
The sectors of a quorum disk: a file or a block device, read and written past the
kernel's cache.  Called in a thread, since a disk may take its time.
"""

import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from stat import S_ISBLK, S_ISREG
from typing import Final

from corotwist.errors import CorotwistError, WireError
from corotwist.quorumdevice.slots import SECTOR_BYTES, OtherCluster, Slot

# The sector of a node is the one with the number of its nodeid.
LARGEST_NODEID: Final = 4095
FILE_MODE: Final = 0o600


class DiskRefused(CorotwistError):
    """
    The quorum disk cannot be used; the text says why.
    """


class Sectors:
    """
    An open quorum disk.

    @ivar direct: does it pass the kernel's cache?  Some file systems cannot.
    @ivar damaged: sectors that could not be understood when they were read
        last, by nodeid: why.
    """

    def __init__(self, path: str, cluster: str) -> None:
        self.path = path
        self.direct = True
        self.damaged: dict[int, str] = {}
        self._cluster = cluster
        self._descriptor = -1
        self._buffer: mmap.mmap | None = None

    # Opening.

    def open(self, nodeids: Iterable[int]) -> None:
        """
        Open it; a regular file is made, and grows as needed.

        @raise DiskRefused: it cannot be used.
        """
        try:
            self._descriptor = self._opened()
            # Of whole pages: what is written past the cache has to be aligned.
            self._buffer = mmap.mmap(-1, SECTOR_BYTES)
            self._grow((max(nodeids) + 1) * SECTOR_BYTES)
        except OSError as error:
            self.close()
            raise DiskRefused(f"{self.path}: {error.strerror or error}") from error
        except DiskRefused:
            self.close()
            raise

    def reopened(self, nodeids: Iterable[int]) -> None:
        """
        Open it, unless it is open.

        @raise DiskRefused: it cannot be used.
        """
        if self._descriptor < 0:
            self.open(nodeids)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_DSYNC | os.O_CLOEXEC
        try:
            return os.open(self.path, flags | os.O_DIRECT, FILE_MODE)
        except OSError:
            self.direct = False
            return os.open(self.path, flags, FILE_MODE)

    def _grow(self, size: int) -> None:
        mode = os.fstat(self._descriptor).st_mode
        there = os.lseek(self._descriptor, 0, os.SEEK_END)
        if there >= size:
            return
        if not S_ISREG(mode):
            kind = "block device" if S_ISBLK(mode) else "special file"
            raise DiskRefused(
                f"{self.path}: a {kind} of {there} bytes, {size} are needed"
            )
        os.posix_fallocate(self._descriptor, 0, size)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """
        Use it no more.
        """
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None

    # One time around.

    def write(self, slot: Slot) -> None:
        """
        Write a node's own sector; it is on the disk when this returns.

        @raise OSError: nobody knows whether it is.
        @raise DiskRefused: another node writes there, or another cluster.
        """
        sector = slot.encode(self._cluster)
        buffer = self._open()
        self._mustBeOurs(slot)
        buffer[:] = sector
        at = slot.nodeid * SECTOR_BYTES
        if os.pwritev(self._descriptor, [buffer], at) != SECTOR_BYTES:
            raise OSError(0, "a part of a sector was written")

    def _mustBeOurs(self, slot: Slot) -> None:
        """
        Two processes that write one sector would not see each other.
        """
        try:
            there = self._read(slot.nodeid)
        except WireError as error:
            if isinstance(error, OtherCluster):
                raise DiskRefused(f"{self.path}: {error}") from error
            return  # Damaged: we write it anew.
        if there is None:
            return
        if there.nodeid != slot.nodeid:
            raise DiskRefused(f"{self.path}: node {there.nodeid} writes our sector")
        if there.incarnation > slot.incarnation:
            raise DiskRefused(
                f"{self.path}: another start of node {slot.nodeid} writes our sector"
            )

    def read(self, nodeids: Iterable[int]) -> dict[int, Slot]:
        """
        What nodes wrote, as far as it can be understood.

        @raise OSError: the disk does not work.
        """
        slots: dict[int, Slot] = {}
        damaged: dict[int, str] = {}
        for nodeid in nodeids:
            try:
                slot = self._read(nodeid)
            except WireError as error:
                damaged[nodeid] = str(error)
                continue
            if slot is not None and slot.nodeid == nodeid:
                slots[nodeid] = slot
            elif slot is not None:
                damaged[nodeid] = f"the sector of node {slot.nodeid}"
        self.damaged = damaged
        return slots

    def _read(self, nodeid: int) -> Slot | None:
        buffer = self._open()
        count = os.preadv(self._descriptor, [buffer], nodeid * SECTOR_BYTES)
        return Slot.decode(buffer[:count], self._cluster) if count else None

    def _open(self) -> mmap.mmap:
        if self._buffer is None:
            raise OSError(0, "the disk is closed")
        return self._buffer
