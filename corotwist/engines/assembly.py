"""
Messages that travel in pieces, put together again.
"""

from collections.abc import Iterator
from typing import Final

from attrs import define, field

from corotwist.engines.interfaces import LARGEST_MESSAGE_BYTES, Member
from corotwist.engines.outgoing import LocalMember

Key = tuple[bytes, Member]

# Messages of one node that have begun and not ended, and their bytes.  Our own
# nodes send one at a time; every process of a corosync node may have one.
OPEN_MESSAGES: Final = 1024
OPEN_BYTES: Final = 8 * LARGEST_MESSAGE_BYTES


@define(eq=False)
class Partial:
    """
    What has come of one message.

    @ivar recipients: who was a member when the first piece came.
    @ivar bound: to the ring it began on.
    """

    total: int
    recipients: tuple[LocalMember, ...]
    bound: bool
    data: bytearray = field(factory=bytearray)


class Assembly:
    """
    One message in pieces for each process and group.

    Its place in the order is that of the last piece, but it is for those who
    were members when the first one came: nobody else can have all of it.

    When a node has more open than there may be, those that began first are
    dropped.  Whether one is then follows from what began after it, so that
    all who saw it begin decide alike, however long they have been there.
    """

    def __init__(self) -> None:
        self._partials: dict[Key, Partial] = {}
        # By node: what is open, in the order in which it began, and its bytes
        # in the end.
        self._open: dict[int, dict[Key, int]] = {}
        self._bytes: dict[int, int] = {}
        self.dropped = 0

    def begin(
        self, key: Key, total: int, recipients: tuple[LocalMember, ...], *, bound: bool
    ) -> None:
        """
        A first piece; what came before from the same sender is forgotten.

        @param bound: forget it when the ring changes.
        """
        self.drop(key)
        if 0 < total <= LARGEST_MESSAGE_BYTES:
            self._partials[key] = Partial(total, recipients, bound)
            self._opened(key, total)
        else:
            self.dropped += 1

    def add(self, key: Key, piece: bytes) -> None:
        """
        The next piece.  A message that gets longer than announced is dropped.
        """
        partial = self._partials.get(key)
        if partial is None:
            return
        if len(partial.data) + len(piece) > partial.total:
            self.drop(key)
        else:
            partial.data += piece

    def finish(self, key: Key) -> tuple[bytes, tuple[LocalMember, ...]] | None:
        """
        The last piece was added.

        @return: the message and its recipients, or L{None} when it is not
            whole.
        """
        partial = self._taken(key)
        if partial is None:
            return None
        if len(partial.data) != partial.total:
            self.dropped += 1
            return None
        return bytes(partial.data), partial.recipients

    def drop(self, key: Key) -> None:
        """
        Forget what came, if anything: the sender left, or began anew.
        """
        if self._taken(key) is not None:
            self.dropped += 1

    def ringChanged(self) -> None:
        """
        Forget the messages that are bound to the old ring.
        """
        for key in [key for key, p in self._partials.items() if p.bound]:
            self.drop(key)

    def open(self) -> Iterator[tuple[Key, Partial]]:
        """
        What has begun and not ended, in the order in which it began.
        """
        return iter(self._partials.items())

    def sizeBytes(self) -> int:
        """
        How much is held.
        """
        return sum(len(partial.data) for partial in self._partials.values())

    def largestNode(self) -> tuple[int, int]:
        """
        The most that one node has open: messages, and bytes in the end.
        """
        messages = max(map(len, self._open.values()), default=0)
        return messages, max(self._bytes.values(), default=0)

    def _opened(self, key: Key, total: int) -> None:
        nodeid = key[1].nodeid
        here = self._open.setdefault(nodeid, {})
        here[key] = total
        self._bytes[nodeid] = self._bytes.get(nodeid, 0) + total
        while len(here) > OPEN_MESSAGES or self._bytes[nodeid] > OPEN_BYTES:
            self.drop(next(iter(here)))

    def _taken(self, key: Key) -> Partial | None:
        partial = self._partials.pop(key, None)
        if partial is None:
            return None
        nodeid = key[1].nodeid
        here = self._open[nodeid]
        self._bytes[nodeid] -= here.pop(key)
        if not here:
            del self._open[nodeid], self._bytes[nodeid]
        return partial
