"""
What one client has under way at a service: lists that it reads piece by piece,
and what it follows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from twisted.protocols import amp

from corotwist.config.tracking import ChangeKind
from corotwist.engines.entries import chunks, packChange
from corotwist.errors import Exists, InvalidParameter, NoSpace, NotExist
from corotwist.ipc.channel import Box
from corotwist.ipc.wire import PART_BYTES

# Of one client at one service.
ITERATIONS: Final = 16
TRACKERS: Final = 1024
# In the kinds of a tracker: of all names that begin so.
PREFIX: Final = 8

_KINDS: Final = ChangeKind.ADD | ChangeKind.MODIFY | ChangeKind.DELETE

Told = Sequence[Any]


def changeBoxes(command: type[amp.Command], tracker: int, told: Told) -> Iterator[Box]:
    """
    Changes as notifications.
    """
    pieces = list(chunks(map(packChange, told), PART_BYTES))
    for number, piece in enumerate(pieces, 1):
        yield {
            amp.COMMAND: command.commandName,
            b"tracker": b"%d" % tracker,
            b"changes": piece,
            b"more": b"True" if number < len(pieces) else b"False",
        }


class Pieces:
    """
    Something long, as much of it at a time as fits into one answer.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._chunks = chunks(pieces, PART_BYTES)
        self._next = next(self._chunks, b"")

    def take(self) -> tuple[bytes, bool]:
        """
        The next ones, and whether there are more.
        """
        taken, following = self._next, next(self._chunks, None)
        self._next = following or b""
        return taken, following is not None


class UnderWay:
    """
    The numbers are the client's own.
    """

    def __init__(
        self, connection: Any, service: str, changed: type[amp.Command]
    ) -> None:
        """
        @param service: whose private data keeps it, over its replacement.
        @param changed: the notification.
        """
        self._connection = connection
        self._service = service
        self._changed = changed

    @property
    def _holdings(self) -> Any:
        return self._connection.private[self._service]

    def begin(self, iteration: int, pieces: Iterable[bytes]) -> tuple[bytes, bool]:
        """
        Begin to read a list, as it is now.

        @return: the first of it, and whether there is more.
        """
        under = self._holdings.iterations
        if iteration in under:
            raise Exists(f"iteration {iteration} is under way")
        if len(under) >= ITERATIONS:
            raise NoSpace(f"{ITERATIONS} iterations are under way")
        under[iteration] = Pieces(pieces)
        return self.next(iteration)

    def next(self, iteration: int) -> tuple[bytes, bool]:
        """
        Go on reading.
        """
        under = self._holdings.iterations
        if iteration not in under:
            raise NotExist(f"no iteration {iteration}")
        entries, more = under[iteration].take()
        if not more:
            del under[iteration]
        return entries, more

    def end(self, iteration: int) -> None:
        """
        Read no more.
        """
        if self._holdings.iterations.pop(iteration, None) is None:
            raise NotExist(f"no iteration {iteration}")

    def follow(
        self, tracker: int, kinds: int, track: Callable[..., Any], target: Any
    ) -> None:
        """
        Be told of changes.

        @param track: called with the target, the kinds and who is to be told.
        """
        trackers = self._holdings.trackers
        if tracker in trackers:
            raise Exists(f"tracker {tracker} is in use")
        if len(trackers) >= TRACKERS:
            raise NoSpace(f"{TRACKERS} trackers are in use")
        if not kinds & _KINDS or kinds & ~(_KINDS | PREFIX):
            raise InvalidParameter("kinds are 1, 2 and 4, and 8 for a prefix")

        def told(changes: Iterable[Any]) -> None:
            for box in changeBoxes(self._changed, tracker, tuple(changes)):
                self._connection.notify(box)

        wanted = ChangeKind(kinds & _KINDS)
        trackers[tracker] = track(target, wanted, told, prefix=bool(kinds & PREFIX))

    def unfollow(self, tracker: int) -> None:
        """
        Be told no more.
        """
        following = self._holdings.trackers.pop(tracker, None)
        if following is None:
            raise NotExist(f"no tracker {tracker}")
        following.stop()
