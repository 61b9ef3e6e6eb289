"""
The network interface of one simulated process, and the UDP sockets on it, as
far as our transports use what a kernel offers.
"""

import errno
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from struct import Struct
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReadDescriptor

from corotwist.totem.sockets import SOL_UDP, UDP_GRO, UDP_SEGMENT, SocketAddress

# The largest payload that UDP over IPv4 carries.
LARGEST_DATAGRAM: Final = 65507
# Received datagrams of one size and sender come in one call, up to so many.
RUN_DATAGRAMS: Final = 64
RUN_BYTES: Final = 65000
# What a datagram costs in a receive buffer besides its bytes.
BOOKKEEPING_BYTES: Final = 768
# What a process may have for the buffer of one socket.
RECEIVE_BYTES: Final = 8 << 20
# Of an IP packet, with UDP's own.
HEADER_BYTES: Final = {socket.AF_INET: 28, socket.AF_INET6: 48}
INTERFACE_BYTES: Final = 1500
# Standard input, output and error are there already.
FIRST_FILE: Final = 3

_SEGMENT: Final = Struct("=H")
_RUN: Final = Struct("=i")


def failed(number: int) -> OSError:
    """
    What a system call raises.
    """
    return OSError(number, os.strerror(number))


@define(eq=False)
class Route:
    """
    From a socket to whoever has an address.

    @ivar targets: nodes; several for a multicast or broadcast.
    @ivar ways: the network's own notes on each of them.
    """

    source: SocketAddress
    destination: SocketAddress
    targets: tuple[int, ...]
    ways: tuple[Any, ...] = ()


class Carrier(Protocol):
    """
    The network, as an interface sees it.
    """

    random: Random

    def opened(self, port: "Port") -> None:
        """
        A process listens: it gets what is sent to its node from now on.

        @raise OSError: another one does.
        """

    def closed(self, port: "Port") -> None:
        """
        It listens no more.
        """

    def targets(self, port: "Port", host: str, *, back: bool) -> tuple[int, ...]:
        """
        The nodes that have an address; none when nobody has.

        @param back: does a multicast reach its sender?
        """

    def carry(self, port: "Port", route: Route, datagrams: Sequence[bytes]) -> None:
        """
        Take datagrams from a process to nodes.
        """

    def overflown(self, port: "Port", source: SocketAddress, datagram: bytes) -> None:
        """
        A process that does not read lost one.
        """

    def soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """
        Call in this very instant, after what is going on now.
        """


@define
class Refusal:
    """
    Sending fails, as the kernel says.

    @ivar number: of the error.
    @ivar share: probability for each call.
    """

    number: int
    share: float = 1.0


@define(eq=False)
class Port:
    """
    The interface of one process, and its table of sockets.

    @ivar hosts: the addresses that sockets can be bound to.
    @ivar present: is the process being scheduled?  While not, datagrams wait.
    @ivar killed: the process was killed: it can send no more, and what it sent
        may not arrive.
    @ivar worked: called after each piece of reading.
    @ivar down: the interface is gone.
    @ivar refusal: what happens to attempts to send.
    @ivar offload: does this kernel know of runs of datagrams?
    @ivar receiveBytes: the most that the buffer of a socket may have.
    @ivar interfaceBytes: of the largest packet that goes out whole.
    @ivar counts: what happened.
    """

    nodeid: int
    network: Carrier
    hosts: tuple[str, ...]
    present: bool = True
    killed: bool = False
    worked: Callable[[], None] = lambda: None
    down: bool = False
    refusal: Refusal | None = None
    offload: bool = True
    receiveBytes: int = RECEIVE_BYTES
    interfaceBytes: int = INTERFACE_BYTES
    counts: Counter[str] = field(factory=Counter)
    _sockets: dict[int, "Socket"] = field(factory=dict)
    _bound: dict[SocketAddress, "Socket"] = field(factory=dict)
    _readers: dict[int, IReadDescriptor] = field(factory=dict)
    _nextFile: int = FIRST_FILE

    # From the transports.

    def makeSocket(self, family: int, kind: int) -> Any:
        """
        As C{socket.socket}; it has what our transports use of one.
        """
        assert kind == socket.SOCK_DGRAM, "the simulated kernel speaks UDP only"
        made = Socket(self, self._nextFile, family)
        self._sockets[made.fileno()] = made
        self._nextFile += 1
        return made

    def bound(self, made: "Socket", address: SocketAddress) -> None:
        """
        A socket has an address from now on.
        """
        if address in self._bound:
            raise failed(errno.EADDRINUSE)
        if address[0] not in self.hosts and not made.joined(address[0]):
            raise failed(errno.EADDRNOTAVAIL)
        self.network.opened(self)
        self._bound[address] = made

    def closed(self, made: "Socket", address: SocketAddress) -> None:
        """
        A socket is no more.
        """
        self._sockets.pop(made.fileno(), None)
        self._readers.pop(made.fileno(), None)
        if self._bound.get(address) is made:
            del self._bound[address]
            if not self._bound:
                self.network.closed(self)

    def checkSending(self) -> None:
        """
        @raise OSError: as the kernel would, when it does not take a datagram.
        """
        if self.down:
            self.counts["unreachable"] += 1
            raise failed(errno.ENETUNREACH)
        refusal = self.refusal
        if refusal is not None and self.network.random.random() < refusal.share:
            self.counts["refused"] += 1
            raise failed(refusal.number)

    # From the reactor.

    def readers(self) -> list[IReadDescriptor]:
        """
        Who waits for datagrams.
        """
        return [*self._readers.values()]

    def addReader(self, reader: IReadDescriptor) -> None:
        """
        Have C{doRead} called while something waits.
        """
        made = self._sockets[reader.fileno()]
        self._readers[made.fileno()] = reader
        if made.waiting():
            self.network.soon(self._wake, made)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """
        Call it no more.
        """
        self._readers.pop(reader.fileno(), None)

    # From the network.

    def arrived(self, route: Route, datagrams: Sequence[bytes]) -> None:
        """
        The network brings something.
        """
        made = self._bound.get(route.destination)
        if made is None or self.down:
            self.counts["unheard"] += len(datagrams)
            return
        source = route.source
        for datagram in datagrams:
            if not made.received(datagram, source):
                self.counts["overflow"] += 1
                self.network.overflown(self, source, datagram)
        self._wake(made)

    def readWaiting(self) -> bool:
        """
        Do a piece of reading, if something waits and the process is present.

        @return: was there something?
        """
        for made in self._sockets.values():
            if self.present and made.waiting() and made.fileno() in self._readers:
                self._wake(made)
                return True
        return False

    def close(self) -> None:
        """
        The process is dead, and all its sockets are closed.
        """
        for made in [*self._sockets.values()]:
            made.close()

    def _wake(self, made: "Socket") -> None:
        reader = self._readers.get(made.number)
        if reader is None or made.beingRead or not self.present:
            return
        made.beingRead = True
        reader.doRead()
        made.beingRead = False
        self.worked()
        if made.queue and self.present:
            self.network.soon(self._wake, made)


@define(eq=False, init=False)
class Socket:
    """
    One UDP socket.

    @ivar number: its file descriptor.
    @ivar beingRead: its reader is at work.
    @ivar queue: what waits to be read, and where it came from.
    """

    _port: Port
    number: int
    _family: int
    beingRead: bool
    _address: SocketAddress
    _joined: bool
    _back: bool
    _offload: bool
    _waitingBytes: int
    queue: deque[tuple[bytes, SocketAddress]]
    _routes: dict[SocketAddress, Route]

    def __init__(self, port: Port, file: int, family: int) -> None:
        self._port = port
        self.number = file
        self._family = family
        self.beingRead = False
        self._address = ()
        self._joined = False
        self._back = True
        self._offload = False
        self._waitingBytes = 0
        self.queue = deque()
        self._routes = {}

    def fileno(self) -> int:
        return self.number

    def setblocking(self, flag: bool) -> None:
        """
        Nothing here ever waits.
        """

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        if level == SOL_UDP and not self._port.offload:
            raise failed(errno.ENOPROTOOPT)
        if level == SOL_UDP and option == UDP_GRO:
            self._offload = bool(value)
        elif level == socket.IPPROTO_IP:
            if option == socket.IP_MULTICAST_LOOP:
                self._back = bool(value)
            elif option == socket.IP_ADD_MEMBERSHIP:
                self._joined = True
        elif level == socket.SOL_SOCKET and option == socket.SO_BROADCAST:
            self._joined = True

    def joined(self, group: str) -> bool:
        """
        Does it hear of groups, as this may be?
        """
        return self._joined

    def bind(self, address: SocketAddress) -> None:
        self._port.bound(self, address)
        self._address = address

    def close(self) -> None:
        self._port.closed(self, self._address)
        self.queue.clear()

    # Receiving.

    def waiting(self) -> bool:
        """
        Is there something to read?
        """
        return bool(self.queue)

    def received(self, datagram: bytes, source: SocketAddress) -> bool:
        """
        From the network.

        @return: was there room?
        """
        size = len(datagram) + BOOKKEEPING_BYTES
        if self._waitingBytes + size > self._port.receiveBytes:
            return False
        self._waitingBytes += size
        self.queue.append((datagram, source))
        return True

    def recvmsg(self, size: int, ancillarySize: int) -> Any:
        if not self.queue:
            raise BlockingIOError
        datagram, source = self.queue.popleft()
        self._waitingBytes -= len(datagram) + BOOKKEEPING_BYTES
        if len(datagram) > size:
            return datagram[:size], [], socket.MSG_TRUNC, source
        if not self.queue or not self._offload:
            return datagram, [], 0, source
        run = [datagram, *self._run(len(datagram), source)]
        if len(run) == 1:
            return datagram, [], 0, source
        ancillary = [(SOL_UDP, UDP_GRO, _RUN.pack(len(datagram)))]
        return b"".join(run), ancillary, 0, source

    def _run(self, size: int, source: SocketAddress) -> Iterator[bytes]:
        """
        What the kernel hands up together with a datagram: others of its size,
        and one that is smaller at the end.
        """
        if not size:
            return
        most = min(RUN_DATAGRAMS, RUN_BYTES // size)
        for _ in range(1, most):
            if not self.queue:
                return
            following, its = self.queue[0]
            if its != source or not 0 < len(following) <= size:
                return
            self.queue.popleft()
            self._waitingBytes -= len(following) + BOOKKEEPING_BYTES
            yield following
            if len(following) < size:
                return

    # Sending.

    def sendto(self, datagram: bytes, address: SocketAddress) -> int:
        self._send((datagram,), address)
        return len(datagram)

    def sendmsg(
        self,
        buffers: Sequence[bytes],
        control: Sequence[tuple[int, int, bytes]],
        flags: int,
        address: SocketAddress,
    ) -> int:
        data = b"".join(buffers)
        datagrams = [data]
        for level, option, value in control:
            if (level, option) == (SOL_UDP, UDP_SEGMENT):
                datagrams = self._segments(data, *_SEGMENT.unpack(value))
        self._send(datagrams, address)
        return len(data)

    def _segments(self, data: bytes, size: int) -> list[bytes]:
        whole = (
            self._port.interfaceBytes - HEADER_BYTES[socket.AddressFamily(self._family)]
        )
        if size > whole or len(data) > size * RUN_DATAGRAMS:
            raise failed(errno.EINVAL)
        if len(data) > LARGEST_DATAGRAM:
            raise failed(errno.EMSGSIZE)
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _send(self, datagrams: Sequence[bytes], address: SocketAddress) -> None:
        port = self._port
        if port.killed:
            return
        if port.down or port.refusal is not None:
            port.checkSending()
        if len(datagrams[0]) > LARGEST_DATAGRAM:
            raise failed(errno.EMSGSIZE)
        route = self._routes.get(address) or self._route(address)
        port.network.carry(port, route, datagrams)

    def _route(self, address: SocketAddress) -> Route:
        port = self._port
        targets = port.network.targets(port, address[0], back=self._back)
        if not targets and address[0] in port.hosts:
            targets = (port.nodeid,)
        route = self._routes[address] = Route(self._address, address, targets)
        return route
