"""
UNIX sockets of simulated machines: connections between two processes, with
buffers that fill, readers that stop, and ends that die.
"""

from collections import Counter, deque
from collections.abc import Iterable
from errno import EAGAIN, ECONNREFUSED, ENOENT
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IListeningPort,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.ipc.connection import Credentials

# From writing until the other process is woken.
WAKE_SECONDS: Final = 0.00002
# What the kernel holds of one direction.
KERNEL_BYTES: Final = 212_992
# Twisted's: what it reads at once, and from where on producers have to pause.
TWISTED_BYTES: Final = 65536
# What one process may have open.
FILES: Final = 1024


class Doing(Protocol):
    """
    The reactor of a process, as a connection sees it.
    """

    who: Credentials
    ends: dict["End", None]
    mostFiles: int

    def callLater(self, delay: float, callable: Any, *args: Any) -> IDelayedCall:  # noqa: A002
        """
        As Twisted's.
        """


@define(eq=False)
class Paths:
    """
    The file system of one machine, as far as sockets are in it.

    @ivar counts: what happened to connections.
    """

    listening: dict[str, "Listening | None"] = field(factory=dict)
    counts: Counter[str] = field(factory=Counter)

    def connect(self, reactor: Doing, path: str, factory: Any) -> None:
        """
        Connect, or tell the factory why not.
        """
        if path not in self.listening:
            self._failed(factory, ENOENT)
            return
        listening = self.listening[path]
        if listening is None:
            self._failed(factory, ECONNREFUSED)
        elif len(listening.backlog) >= listening.room:
            self._failed(factory, EAGAIN)
        else:
            self.counts["connected"] += 1
            near, far = End(reactor, path), End(listening.reactor, path)
            near.peer, far.peer = far, near
            near.begin(factory.buildProtocol(UNIXAddress(path.encode())))
            listening.knocked(far)

    def _failed(self, factory: Any, number: int) -> None:
        self.counts["failed"] += 1
        factory.clientConnectionFailed(None, Failure(ConnectError(number)))


@implementer(IListeningPort)
@define(eq=False)
class Listening:
    """
    A process that lets others connect.

    @ivar backlog: who is connected and was not accepted yet.
    @ivar room: how many that may be.
    """

    reactor: Doing
    path: str
    factory: Any
    paths: Paths
    room: int
    backlog: deque["End"] = field(factory=deque)

    def startListening(self) -> None:
        """
        From now on.
        """
        self.paths.listening[self.path] = self
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """
        No more.
        """
        if self.paths.listening.pop(self.path, None) is self:
            self.factory.doStop()
        self.died()
        return succeed(None)

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(self.path.encode())

    def died(self) -> None:
        """
        The process is dead: its path is there, and nobody behind it.
        """
        if self.paths.listening.get(self.path) is self:
            self.paths.listening[self.path] = None
        for end in self.backlog:
            end.died()
        self.backlog.clear()

    def knocked(self, end: "End") -> None:
        """
        Somebody connected.
        """
        self.backlog.append(end)
        self.reactor.callLater(WAKE_SECONDS, self._accept)

    def _accept(self) -> None:
        """
        One of them.  Twisted keeps a file for when there are no more: it lets
        in, and out.
        """
        if not self.backlog:
            return
        end = self.backlog.popleft()
        if len(self.reactor.ends) >= self.reactor.mostFiles:
            self.paths.counts["files"] += 1
            end.died()
            return
        self.paths.counts["accepted"] += 1
        end.begin(self.factory.buildProtocol(end.getPeer()))


@implementer(IConnector)
@define(eq=False)
class Connecting:
    """
    A connection that is being made.
    """

    path: str
    call: IDelayedCall

    def getDestination(self) -> UNIXAddress:
        return UNIXAddress(self.path.encode())

    def stopConnecting(self) -> None:
        """
        Think better of it.
        """
        if self.call.active():
            self.call.cancel()

    disconnect = stopConnecting

    def connect(self) -> None:
        """
        It is under way.
        """


@implementer(ITransport)
@define(eq=False)
class End:
    """
    One end: the transport of a protocol, with Twisted's habits.

    @ivar unsent: what this process keeps because the kernel is full.
    @ivar inbox: what the kernel has for it.
    """

    reactor: Doing
    _path: str
    peer: "End" = field(init=False)
    protocol: Any = None
    unsent: bytearray = field(factory=bytearray)
    disconnecting: bool = False
    lost: bool = False
    inbox: bytearray = field(factory=bytearray)
    _reading: bool = True
    _peerGone: bool = False
    _producer: Any = None
    _producerPaused: bool = False
    _read: IDelayedCall | None = None
    _write: IDelayedCall | None = None

    def begin(self, protocol: Any) -> None:
        """
        The process has it now.
        """
        self.reactor.ends[self] = None
        self.protocol = protocol
        protocol.makeConnection(self)
        self.wakeReader()

    def getPeer(self) -> UNIXAddress:
        return UNIXAddress(self._path.encode())

    getHost = getPeer

    # Writing.

    def write(self, data: bytes) -> None:
        if self.lost or not data:
            return
        self.unsent += data
        if (
            self._producer is not None
            and not self._producerPaused
            and len(self.unsent) > TWISTED_BYTES
        ):
            self._producerPaused = True
            self._producer.pauseProducing()
        self.wakeWriter()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        As in Twisted; only ever with C{streaming}.
        """
        assert streaming, "nobody here pulls"
        if self.lost:
            producer.stopProducing()
        else:
            self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def loseConnection(self) -> None:
        if not self.lost and not self.disconnecting:
            self._reading = False
            self.disconnecting = True
            self.wakeWriter()

    def abortConnection(self) -> None:
        if not self.lost:
            self._reading = False
            self.disconnecting = True
            self.unsent.clear()
            self.reactor.callLater(0, self._close, ConnectionAborted())

    def wakeWriter(self) -> None:
        """
        There is something to write, or room for it.
        """
        if self._write is None and not self.lost:
            self._write = self.reactor.callLater(0, self._doWrite)

    def _doWrite(self) -> None:
        self._write = None
        if self.lost:
            return
        if self.peer.lost and self.unsent:
            self._close(ConnectionLost())
            return
        room = KERNEL_BYTES - len(self.peer.inbox)
        if self.unsent and room > 0:
            self.peer.arrived(bytes(self.unsent[:room]))
            del self.unsent[:room]
        if not self.unsent:
            self._allWritten()

    def _allWritten(self) -> None:
        if self._producer is not None and self._producerPaused:
            self._producerPaused = False
            self._producer.resumeProducing()
        elif self.disconnecting:
            self._close(ConnectionDone())

    # Reading.

    def pauseProducing(self) -> None:
        self._reading = False

    def resumeProducing(self) -> None:
        if not self.lost and not self.disconnecting:
            self._reading = True
            self.wakeReader()

    def stopProducing(self) -> None:
        self.loseConnection()

    def arrived(self, data: bytes) -> None:
        """
        The kernel has something.
        """
        if not self.lost:
            self.inbox += data
            self.wakeReader()

    def wakeReader(self) -> None:
        """
        There may be something to read.
        """
        ready = self.protocol is not None and (self.inbox or self._peerGone)
        if ready and self._reading and self._read is None and not self.lost:
            self._read = self.reactor.callLater(WAKE_SECONDS, self._doRead)

    def _doRead(self) -> None:
        self._read = None
        if self.lost or not self._reading:
            return
        data = bytes(self.inbox[:TWISTED_BYTES])
        del self.inbox[:TWISTED_BYTES]
        if data:
            self.protocol.dataReceived(data)
            if self.peer.unsent:
                self.peer.wakeWriter()
            self.wakeReader()
        elif self._peerGone:
            self._close(ConnectionDone())

    # End.

    def _close(self, reason: Exception) -> None:
        if self.lost:
            return
        self._end()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))

    def died(self) -> None:
        """
        The process ended: what it had not given to the kernel is lost.
        """
        if not self.lost:
            self._end()

    def _end(self) -> None:
        self.lost = self.disconnecting = True
        self.reactor.ends.pop(self, None)
        self.unsent.clear()
        self.inbox.clear()
        self.peer.peerEnded()

    def peerEnded(self) -> None:
        """
        What it wrote is still to be read; what we write, nobody reads.
        """
        self._peerGone = True
        self.wakeReader()
        if self.unsent:
            self.wakeWriter()
