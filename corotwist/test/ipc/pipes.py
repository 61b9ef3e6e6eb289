"""
UNIX sockets in memory: buffers, producers, and peers that stop reading.
"""

from collections.abc import Callable
from errno import EACCES, ECONNREFUSED
from typing import Any

from attrs import define, field
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from corotwist.ipc.connection import Credentials

BUFFER_BYTES = 65536


@define(eq=False)
class End:
    """
    The transport of one end.

    @ivar stalled: its process does not read.
    """

    protocol: Any = None
    peer: Any = None
    pid: int = 100
    stalled: bool = False
    unsent: list[bytes] = field(factory=list)
    written: int = 0
    closing: bool = False
    closed: bool = False
    producer: Any = None
    producerPaused: bool = False
    reading: bool = True

    def write(self, data: bytes) -> None:
        if self.closed or not data:
            return
        self.unsent.append(data)
        self.written += len(data)
        tooMuch = sum(map(len, self.unsent)) > BUFFER_BYTES
        if tooMuch and self.producer and not self.producerPaused:
            self.producerPaused = True
            self.producer.pauseProducing()

    def writeSequence(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.closing = True
        self.unsent.clear()

    def getPeer(self) -> UNIXAddress:
        return UNIXAddress(b"peer")

    getHost = getPeer

    def pump(self) -> bool:
        """
        Move what was written to the peer; did anything happen?
        """
        peer = self.peer
        if self.unsent and peer.reading and not peer.stalled and not peer.closing:
            data = b"".join(self.unsent)
            self.unsent.clear()
            peer.protocol.dataReceived(data)
            if self.producerPaused and self.producer:
                self.producerPaused = False
                self.producer.resumeProducing()
            return True
        if self.closing and not self.closed and (not self.unsent or peer.closed):
            self._close(ConnectionDone())
            if not peer.closed:
                peer._close(ConnectionLost())
            return True
        return False

    def _close(self, reason: Exception) -> None:
        if not self.closed:
            self.closed = self.closing = True
            self.protocol.connectionLost(Failure(reason))


class FakeReactor(Clock):
    """
    Time and UNIX sockets.

    @ivar ends: server and client end of each connection so far.
    @ivar forbidden: connecting is not permitted.
    @ivar silent: connecting takes for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listening: dict[str, Any] = {}
        self.ends: list[tuple[End, End]] = []
        self.nextPid = 100
        self.forbidden = False
        self.silent = False

    def listenUNIX(
        self, path: str, factory: Any, backlog: int = 50, mode: int = 0o666
    ) -> "FakePort":
        self.listening[path] = factory
        factory.doStart()
        return FakePort(self, path)

    def connectUNIX(
        self, path: str, factory: Any, timeout: float = 30, checkPID: bool = False
    ) -> None:
        call = self.callLater(0, self._connect, path, factory)
        factory.startedConnecting(FakeConnector(path, call))

    def _connect(self, path: str, factory: Any) -> None:
        if self.silent:
            return
        if self.forbidden:
            factory.clientConnectionFailed(None, Failure(ConnectError(EACCES)))
        elif path in self.listening:
            self.join(self.listening[path], factory)
        else:
            factory.clientConnectionFailed(None, Failure(ConnectError(ECONNREFUSED)))

    def join(self, serverFactory: Any, clientFactory: Any) -> tuple[End, End]:
        """
        Connect two protocols.
        """
        server, client = End(pid=self.nextPid), End(pid=self.nextPid)
        server.peer, client.peer = client, server
        server.protocol = serverFactory.buildProtocol(UNIXAddress(b"client"))
        client.protocol = clientFactory.buildProtocol(UNIXAddress(b"server"))
        self.ends.append((server, client))
        server.protocol.makeConnection(server)
        client.protocol.makeConnection(client)
        return server, client

    def settle(self) -> None:
        """
        Turn until nothing happens any more without time passing.
        """
        for _ in range(10000):
            before = len(self.calls)
            due = any(call.getTime() <= self.seconds() for call in self.calls)
            self.advance(0)
            moved = [end.pump() for pair in self.ends for end in pair]
            if not due and not any(moved) and len(self.calls) == before:
                return
        raise AssertionError("it never ends")

    def pass_(self, seconds: float, step: float = 0.05) -> None:
        """
        Let time pass.
        """
        end = self.seconds() + seconds
        self.settle()
        while self.seconds() < end:
            self.advance(min(step, end - self.seconds()))
            self.settle()


@define(eq=False)
class FakeConnector:
    """
    A connection on its way.
    """

    path: str
    call: Any

    def getDestination(self) -> UNIXAddress:
        return UNIXAddress(self.path.encode())

    def stopConnecting(self) -> None:
        if self.call.active():
            self.call.cancel()


@define(eq=False)
class FakePort:
    """
    A listening socket.
    """

    reactor: FakeReactor
    path: str

    def stopListening(self) -> Deferred[None]:
        self.reactor.listening.pop(self.path).doStop()
        return succeed(None)


def endCredentials(end: End) -> Credentials:
    """
    As the kernel would: by the process that connected.
    """
    return Credentials(end.pid, 0, 0, frozenset({0}))


def collector(into: list[Any]) -> Callable[[Any], None]:
    """
    A callback that keeps what it got.
    """
    return into.append
