"""
UDP ports that read and send many datagrams per call.

Linux hands up a run of equal datagrams as one buffer (UDP_GRO), and takes one
(UDP_SEGMENT); on the wire they are ordinary datagrams.  One call of each kind
costs about as much as a datagram does, so that a burst is nearly free.
"""

import errno
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    ILoggingContext,
    IReactorFDSet,
    IReadDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.settings import TotemSettings
from corotwist.interfaces import IDatagramReceiver, ITransport

# linux/udp.h and asm-generic/socket.h, where Python has no names for them.
SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33

# What one receive call may return: more than any datagram, or run of them.
RECEIVE_BYTES: Final = 1 << 16
# What is asked of the kernel for each socket's buffers.
BUFFER_BYTES: Final = 8 << 20
# Receive calls before the reactor gets a turn.
READS_PER_WAKE: Final = 16
# Receive calls when what waits has to be known now: enough for a full buffer
# of bursts, and not for ever under a flood.
READS_PER_DRAIN: Final = 1024
# Datagrams handed up together at most.
BATCH_DATAGRAMS: Final = 512
# What the kernel takes in one call.
SEGMENTS_PER_SEND: Final = 64
BYTES_PER_SEND: Final = 65000

_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(4)
_SEGMENT_SIZE: Final = Struct("=H")
_ALONE: Final = 1
# A plain number: what the kernel returns is one too, and this is asked for
# every datagram.
_TRUNCATED: Final = int(socket.MSG_TRUNC)
# The kernel's words for "not this size", and for "not on this path at all".
_TOO_LARGE: Final = frozenset({errno.EINVAL, errno.EMSGSIZE})

SocketMaker = Callable[[int, int], socket.socket]
# As the socket module makes them: host, port and, with IPv6, two numbers more.
SocketAddress = tuple[Any, ...]


def segmentRuns(datagrams: Sequence[bytes], largest: int) -> Iterator[Sequence[bytes]]:
    """
    Cut C{datagrams} into what one call each can send, in order: equal sizes,
    of which only the last may be smaller.

    @param largest: datagrams above this size go alone.
    """
    start, total = 0, len(datagrams)
    while start < total:
        size = len(datagrams[start])
        end = start + 1
        if 0 < size <= largest:
            limit = min(
                total, start + SEGMENTS_PER_SEND, start + BYTES_PER_SEND // size
            )
            while end < limit and len(datagrams[end]) == size:
                end += 1
            if end < limit and 0 < len(datagrams[end]) < size:
                end += 1
        yield datagrams[start:end]
        start = end


def segments(data: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
    """
    Take apart what one receive call returned.
    """
    for level, kind, value in ancillary:
        if level == SOL_UDP and kind == UDP_GRO:
            size = int.from_bytes(value, sys.byteorder)
            if 0 < size < len(data):
                return [data[at : at + size] for at in range(0, len(data), size)]
    return [data]


@implementer(IReadDescriptor, ILoggingContext)
class DatagramPort:
    """
    One bound UDP socket.

    @param reactor: where we wait for datagrams; one that cannot wait for file
        descriptors leaves reading to L{drain}.
    @param heard: called with datagrams that came one after the other from one
        address, and that address.
    @ivar counters: what happened, by name.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: object,
        bound: socket.socket,
        heard: Callable[[Sequence[bytes], SocketAddress], None],
    ) -> None:
        self._reactor = IReactorFDSet(reactor, None)
        self._socket = bound
        self._heard = heard
        self._open = True
        self._refusals: set[int] = set()
        self.counters = {
            "datagramsReceived": 0,
            "bytesReceived": 0,
            "datagramsTruncated": 0,
            "datagramsSent": 0,
            "bytesSent": 0,
            "datagramsRefused": 0,
            "receiveErrors": 0,
        }
        bound.setblocking(False)
        _enlarge(bound, socket.SO_RCVBUF, SO_RCVBUFFORCE)
        _enlarge(bound, socket.SO_SNDBUF, SO_SNDBUFFORCE)
        _offered(bound, UDP_GRO, 1)
        self._largestSegment = BYTES_PER_SEND if _offered(bound, UDP_SEGMENT, 0) else 0

    # Reading.

    def startReading(self) -> None:
        """
        Have the reactor tell us what comes.
        """
        if self._reactor is not None:
            self._reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "totem"

    def doRead(self) -> None:
        self._read(READS_PER_WAKE)

    def drain(self) -> None:
        """
        Hand up what waits now.
        """
        self._read(READS_PER_DRAIN)

    def _read(self, reads: int) -> None:
        batch: list[bytes] = []
        sender: SocketAddress = ()
        receive = self._socket.recvmsg
        for _ in range(reads):
            if not self._open:
                return
            try:
                data, ancillary, flags, address = receive(
                    RECEIVE_BYTES, _ANCILLARY_BYTES
                )
            except BlockingIOError:
                break
            except OSError:
                # Something that an earlier datagram met; it is told once.
                self.counters["receiveErrors"] += 1
                continue
            if flags & _TRUNCATED:
                self.counters["datagramsTruncated"] += 1
                continue
            if batch and (address != sender or len(batch) >= BATCH_DATAGRAMS):
                self._handUp(batch, sender)
                batch = []
            sender = address
            self.counters["bytesReceived"] += len(data)
            if ancillary:
                batch += segments(data, ancillary)
            else:
                batch.append(data)
        if batch:
            self._handUp(batch, sender)

    def _handUp(self, batch: list[bytes], sender: SocketAddress) -> None:
        if self._open:
            self.counters["datagramsReceived"] += len(batch)
            self._heard(batch, sender)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor ends, or gave us up because of an exception, a bug of ours.
        """
        if not reason.check(ConnectionLost, ConnectionDone):
            self._log.failure("A totem socket stops working", failure=reason)
        self.close()

    def close(self) -> None:
        """
        Hear nothing more.
        """
        if self._open:
            self._open = False
            if self._reactor is not None:
                self._reactor.removeReader(self)
            self._socket.close()

    # Sending.

    def send(
        self, datagrams: Sequence[bytes], addresses: Sequence[SocketAddress]
    ) -> None:
        """
        Send all to each of C{addresses}, in order.  What the kernel does not
        take is lost, and counted.
        """
        if not self._open:
            return
        if len(datagrams) == _ALONE:
            # A token, most often: the shortest way.
            for address in addresses:
                self._sendOne(datagrams[0], address)
            return
        runs = list(segmentRuns(datagrams, self._largestSegment))
        for address in addresses:
            for run in runs:
                self._sendRun(run, address)

    def _sendRun(self, run: Sequence[bytes], address: SocketAddress) -> None:
        if len(run) > _ALONE and len(run[0]) <= self._largestSegment:
            size = _SEGMENT_SIZE.pack(len(run[0]))
            control = [(SOL_UDP, UDP_SEGMENT, size)]
            try:
                sent = self._socket.sendmsg(run, control, 0, address)
            except OSError as error:
                if not self._isOffloadRefused(error, len(run[0])):
                    self._refused(error, len(run), address)
                    return
            else:
                self.counters["datagramsSent"] += len(run)
                self.counters["bytesSent"] += sent
                return
        for datagram in run:
            self._sendOne(datagram, address)

    def _sendOne(self, datagram: bytes, address: SocketAddress) -> None:
        try:
            sent = self._socket.sendto(datagram, address)
        except OSError as error:
            self._refused(error, 1, address)
        else:
            self.counters["datagramsSent"] += 1
            self.counters["bytesSent"] += sent

    def _isOffloadRefused(self, error: OSError, size: int) -> bool:
        """
        Remember, for good, what cannot be sent in one call: segments beyond
        what the path carries whole, or any, where a device cannot checksum.
        """
        if error.errno in _TOO_LARGE:
            self._largestSegment = size - 1
        elif error.errno in {errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT}:
            self._largestSegment = 0
        else:
            return False
        return True

    def _refused(self, error: OSError, count: int, address: SocketAddress) -> None:
        """
        To the protocol this is a loss like any other; to people it is news
        once per kind.
        """
        self.counters["datagramsRefused"] += count
        number = error.errno or 0
        if number != errno.EAGAIN and number not in self._refusals:
            self._refusals.add(number)
            self._log.warn(
                "The kernel refuses to send to {address}: {reason}",
                address=address,
                reason=error.strerror,
            )


def _enlarge(bound: socket.socket, option: int, forced: int) -> None:
    """
    Ask for large buffers; without the privilege the system's limit applies.
    """
    try:
        bound.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
    except OSError:
        bound.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)


def _offered(bound: socket.socket, option: int, value: int) -> bool:
    """
    Does this kernel know a UDP option?
    """
    try:
        bound.setsockopt(SOL_UDP, option, value)
    except OSError:
        return False
    return True


def socketAddress(address: IPv4Address | IPv6Address, port: int) -> SocketAddress:
    """
    As the socket calls want it, in the kernel's spelling.
    """
    if isinstance(address, IPv4Address):
        return (str(address), port)
    text = socket.inet_ntop(socket.AF_INET6, address.packed)
    scope = address.scope_id
    if scope is None:
        return (text, port, 0, 0)
    number = int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
    return (text, port, 0, number)


@implementer(ITransport)
class SocketTransport:
    """
    What the transports over UDP sockets have in common.

    @param makeSocket: called with family and kind, as C{socket.socket} is.
    @ivar _ports: the first one is the one that sends.
    """

    def __init__(
        self,
        reactor: object,
        settings: TotemSettings,
        makeSocket: SocketMaker = socket.socket,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._makeSocket = makeSocket
        self._ports: list[DatagramPort] = []
        self._receiver: IDatagramReceiver | None = None
        self._addresses = {
            node.nodeid: socketAddress(node.addresses[0], settings.port)
            for node in settings.nodes
        }
        self._counters = {"unknownNode": 0}

    def start(self, receiver: IDatagramReceiver) -> None:
        self._receiver = receiver
        try:
            self._bind()
        except OSError:
            self._close()
            raise
        for port in self._ports:
            port.startReading()

    def stop(self) -> Deferred[None]:
        self._close()
        return succeed(None)

    def unicast(self, nodeid: int, datagram: bytes) -> None:
        address = self._addresses.get(nodeid)
        if address is None:
            self._counters["unknownNode"] += 1
        else:
            self._ports[0].send((datagram,), (address,))

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        raise NotImplementedError

    def drain(self) -> None:
        for port in self._ports:
            port.drain()

    def statistics(self) -> Mapping[str, int]:
        total = dict(self._counters)
        for port in self._ports:
            for name, count in port.counters.items():
                total[name] = total.get(name, 0) + count
        return total

    def _bind(self) -> None:
        """
        Make the ports.
        """
        raise NotImplementedError

    def _port(
        self,
        at: SocketAddress,
        heard: Callable[[Sequence[bytes], SocketAddress], None],
        prepare: Callable[[socket.socket], None] = lambda bound: None,
    ) -> DatagramPort:
        """
        One more port, bound to C{at}.

        @param prepare: sets options before the socket is bound.
        """
        family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
        bound = self._makeSocket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            prepare(bound)
            bound.bind(at)
        except OSError as error:
            bound.close()
            what = f"cannot bind {at[0]} port {at[1]}: {error.strerror}"
            raise OSError(error.errno, what) from error
        port = DatagramPort(self._reactor, bound, heard)
        self._ports.append(port)
        return port

    def _handUp(self, datagrams: Sequence[bytes], address: SocketAddress) -> None:
        if self._receiver is not None:
            self._receiver.datagramsReceived(datagrams, address)

    def _close(self) -> None:
        for port in self._ports:
            port.close()
