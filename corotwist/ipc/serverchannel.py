"""
One of the two connections of a local client, before and after they are paired.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.errors import BadHandle
from corotwist.ipc.channel import Channel, Responder
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.wire import Credit, Hello

# For a client to read why it is sent away.
CLOSING_SECONDS: Final = 1.0
# Commands of one client that are dealt with before others have their turn.
COMMANDS_PER_TURN: Final = 32


@define
class Counters:
    """
    What happened to connections since the start.
    """

    clients: int = 0
    refused: int = 0
    malformed: int = 0
    unknown: int = 0
    unpaired: int = 0
    cut: int = 0
    shed: int = 0


class Server(Protocol):
    """
    What a channel needs of its server.

    @ivar reactor: C{IReactorTime}.
    """

    reactor: Any
    counters: Counters

    def channelOpened(self, channel: "ServerChannel") -> None:
        """
        Somebody connected and said nothing so far.
        """

    def helloReceived(
        self,
        channel: "ServerChannel",
        version: int,
        role: bytes,
        secret: bytes | None = None,
    ) -> dict[str, Any]:
        """
        The first command of a connection; raises to have it closed.
        """

    def closeWithin(self, seconds: float, channel: "ServerChannel") -> None:
        """
        Its peer has so long to read what it is sent last.
        """

    def channelLost(self, channel: "ServerChannel") -> None:
        """
        A connection is closed, for whatever reason.
        """


@define(eq=False)
class Client:
    """
    A paired client: two connections, and what the engines see of it.
    """

    requests: "ServerChannel"
    dispatch: "ServerChannel"
    connection: Connection


@implementer(IPushProducer)
class ServerChannel(Channel):
    """
    One of a client's two connections.  While the client does not read what
    was written, nothing more is read from it, and what was read waits.

    @ivar congested: that is so now.
    @ivar client: from pairing on.
    @ivar patience: until then, and when it closes: when ours runs out.
    """

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._answering: Callable[[bytes], Responder | None] = _HelloLocator(
            server, self
        ).locateResponder
        self.congested = False
        self.credentials: Credentials | None = None
        self.client: Client | None = None
        self.patience: IDelayedCall | None = None
        # Of one reading, and less than the next: nothing is read meanwhile.
        self._boxes: deque[amp.AmpBox] = deque()
        self._nextTurn: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self._server.channelOpened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._boxes.clear()
        if self._nextTurn is not None:
            self._nextTurn.cancel()
            self._nextTurn = None
        self._server.channelLost(self)

    def boxesReceived(self, boxes: Iterable[amp.AmpBox]) -> None:
        self._boxes.extend(boxes)
        if self._nextTurn is None:
            self._takeTurn()

    def _takeTurn(self) -> None:
        """
        A few commands, as long as their answers are read; then the others.
        """
        for _ in range(min(len(self._boxes), COMMANDS_PER_TURN)):
            if self.ended or self.congested:
                break
            self.boxReceived(self._boxes.popleft())
        if self.ended:
            self._boxes.clear()
        elif self._boxes:
            self.transport.pauseProducing()
            if not self.congested:
                self._nextTurn = self._server.reactor.callLater(0, self._turnCame)

    def _turnCame(self) -> None:
        self._nextTurn = None
        self._goOn()

    def _goOn(self) -> None:
        """
        With what was read, then with reading.
        """
        try:
            self._takeTurn()
        except amp.AmpError as error:
            self.malformedReceived(str(error))
        if not self._boxes and not self.congested and not self.ended:
            self.transport.resumeProducing()

    def paired(
        self, client: Client, answering: Callable[[bytes], Responder | None]
    ) -> None:
        """
        This is one of the two connections of a client now.
        """
        self.client = client
        self._answering = answering
        self.forgetResponders()

    def locate(self, name: bytes) -> Responder | None:
        return self._answering(name)

    def unknownReceived(self, name: bytes) -> None:
        self._server.counters.unknown += 1

    def malformedReceived(self, reason: str) -> None:
        self._server.counters.malformed += 1
        self.log.warn(
            "Closing a connection of {who}: {reason}",
            who=self.credentials,
            reason=reason,
        )
        self.abort()

    # IPushProducer: our peer reads too slowly, or again.

    def pauseProducing(self) -> None:
        self.congested = True
        if self.transport is not None:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.congested = False
        if self.transport is not None and not self.ended:
            if self._nextTurn is None:
                self._goOn()
            if self.client is not None and self.client.dispatch is self:
                self.client.connection.flush()

    def stopProducing(self) -> None:
        self.ended = True

    def close(self) -> None:
        if self.transport is not None and not self.ended:
            # A registered producer would keep the connection open.
            self.transport.unregisterProducer()
            self._server.closeWithin(CLOSING_SECONDS, self)
            super().close()


class _HelloLocator(amp.CommandLocator):
    """
    All that may be said before pairing.
    """

    def __init__(self, server: Server, channel: ServerChannel) -> None:
        super().__init__()
        self._server = server
        self._channel = channel

    def locateResponder(self, name: bytes) -> Responder:
        return partial(self._respond, super().locateResponder(name))

    def _respond(self, responder: Responder | None, box: amp.AmpBox) -> Any:
        # Unless it goes well.
        self._channel.closeAfterAnswer = True
        if responder is None:
            raise BadHandle("hello comes first, on both connections")
        return responder(box)

    @Hello.responder
    def _hello(self, **arguments: Any) -> dict[str, Any]:
        answer = self._server.helloReceived(self._channel, **arguments)
        self._channel.closeAfterAnswer = False
        return answer


class DispatchLocator(amp.CommandLocator):
    """
    All that a client may say on the connection for dispatch.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    @Credit.responder
    def _credit(self, bytes: int) -> dict[str, Any]:  # noqa: A002
        self._connection.creditReceived(bytes)
        return {}
