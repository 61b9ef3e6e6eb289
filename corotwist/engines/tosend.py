"""
Executive messages of an engine that wait until they can be sent.
"""

from collections import deque
from typing import Final

from twisted.internet.defer import Deferred, fail

from corotwist.errors import ServiceError, TryAgain
from corotwist.interfaces import ICluster

# Of one engine.
MOST_WAITING: Final = 256


class ToSend:
    """
    Messages that leave in the order in which they were given, each as soon as
    the services are in step and there is room.

    @ivar cluster: set when the engine is initialized.
    """

    cluster: ICluster

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes, Deferred[None]]] = deque()
        self._called = False

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, function: int, body: bytes) -> Deferred[None]:
        """
        Multicast it, now or later.

        @return: fires when it is in the send queue of the ring.  Fails with
            L{TryAgain} when too many wait, and when the engine stops.
        """
        if len(self._waiting) >= MOST_WAITING:
            return fail(TryAgain(f"{MOST_WAITING} messages wait already"))
        sent: Deferred[None] = Deferred()
        self._waiting.append((function, body, sent))
        if not self._called:
            self._flush()
        return sent

    def _flush(self) -> None:
        self._called = False
        while self._waiting and not self.cluster.synchronizing():
            function, body, sent = self._waiting[0]
            try:
                self.cluster.multicast(function, body)
            except TryAgain:
                break
            self._waiting.popleft()
            sent.callback(None)
        if self._waiting and not self._called:
            self._called = True
            self.cluster.whenRoom(self._flush)

    def stop(self, error: ServiceError) -> None:
        """
        Whatever waits is not sent any more.
        """
        waiting, self._waiting = self._waiting, deque()
        for _, _, sent in waiting:
            sent.errback(error)
