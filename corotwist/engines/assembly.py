"""
Messages that travel in pieces, put together again.
"""

from attrs import define, field

from corotwist.engines.interfaces import LARGEST_MESSAGE_BYTES, Member
from corotwist.engines.outgoing import LocalMember

Key = tuple[bytes, Member]


@define(eq=False)
class _Partial:
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
    """

    def __init__(self) -> None:
        self._partials: dict[Key, _Partial] = {}
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
            self._partials[key] = _Partial(total, recipients, bound)
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
        partial = self._partials.pop(key, None)
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
        if self._partials.pop(key, None) is not None:
            self.dropped += 1

    def ringChanged(self) -> None:
        """
        Forget the messages that are bound to the old ring.
        """
        for key in [key for key, p in self._partials.items() if p.bound]:
            self.drop(key)

    def sizeBytes(self) -> int:
        """
        How much is held.
        """
        return sum(len(partial.data) for partial in self._partials.values())
