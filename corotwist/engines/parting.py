"""
A node that stops says so in the total order before it leaves the ring, so that
all others know, at the same place, that it is not lost.
"""

from collections.abc import Callable
from typing import Final, Protocol, Self

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from corotwist.engines.compact import GROUP, HEADER_BYTES, Header, Kind, header
from corotwist.engines.executive import address
from corotwist.interfaces import ITotem
from corotwist.totem.membership import Configuration, Guarantee, RingId

# What is said, in bytes; the rest of it is cut off.
LONGEST_FAREWELL: Final = 1024
# Token timeouts for which a node that stops waits until everybody has heard it:
# so long a ring takes to notice that something is wrong with it.
FAREWELL_TOKENS: Final = 2


@frozen
class Farewell:
    """
    The sender stops, after the common header::

        offset  size  field
             0        why, UTF-8, up to the end
    """

    ringId: RingId
    reason: str

    def encode(self) -> bytes:
        """
        The whole body.
        """
        reason = self.reason.encode()[:LONGEST_FAREWELL]
        return header(Kind.FAREWELL, 0, self.ringId) + reason

    @classmethod
    def decode(cls, common: Header, body: bytes) -> Self:
        """
        Parse what follows the common header; whatever it is, it is a farewell.
        """
        reason = body[HEADER_BYTES : HEADER_BYTES + LONGEST_FAREWELL]
        return cls(common.ringId, reason.decode(errors="ignore"))


class Home(Protocol):
    """
    The service manager.
    """

    clock: IReactorTime
    totem: ITotem
    configuration: Configuration


class Parting:
    """
    Says farewell, on each ring anew until the node is gone.
    """

    def __init__(self, home: Home, patience: Callable[[], float]) -> None:
        """
        @param patience: seconds to wait until everybody has heard it.
        """
        self._log = Logger()
        self._home = home
        self._patience = patience
        self._reason: str | None = None
        self._unsaid = False
        self._waiting: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def say(self, reason: str) -> Deferred[None]:
        """
        This node stops.

        @param reason: for people, on the other nodes.
        @return: fires when everybody has heard it, or has not for so long that
            nobody may.
        """
        if self._reason is not None or not self._home.configuration.members:
            return succeed(None)
        self._reason = reason
        self._unsaid = True
        waiting = self._waiting = Deferred(self._unwanted)
        self._timer = self._home.clock.callLater(self._patience(), self._unheard)
        self.tokenPassed()
        return waiting

    def tokenPassed(self) -> None:
        """
        There may be room now.
        """
        if self._unsaid and self._reason is not None:
            farewell = Farewell(self._home.configuration.ringId, self._reason)
            message = address(GROUP, farewell.encode())
            # Safe: when we have delivered it, nobody can miss it any more.
            self._unsaid = not self._home.totem.multicast(message, Guarantee.SAFE)

    def roundCompleted(self) -> None:
        """
        A new ring: those who came to it have not heard it.
        """
        self._unsaid = self._reason is not None
        self.tokenPassed()

    def delivered(self, nodeid: int) -> None:
        """
        A node's farewell is there.
        """
        if nodeid == self._home.totem.nodeid:
            self._done()

    def _unheard(self) -> None:
        self._log.warn("Nobody knows whether our farewell was heard")
        self._done()

    def _done(self) -> None:
        """
        In a turn of its own: a node does not stop in the middle of a delivery,
        between two configurations.
        """
        waiting = self._over()
        if waiting is not None:
            self._home.clock.callLater(0, _fire, waiting)

    def _unwanted(self, waiting: Deferred[None]) -> None:
        """
        Nobody waits for it any more.
        """
        self._over()
        waiting.callback(None)

    def _over(self) -> Deferred[None] | None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        waiting, self._waiting = self._waiting, None
        return waiting


def _fire(waiting: Deferred[None]) -> None:
    if not waiting.called:  # Or nobody waits any more.
        waiting.callback(None)
