"""
UDP ports, and the two transports made of them.
"""

import errno
import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.config.settings import NodeEntry, TotemSettings
from corotwist.interfaces import IDatagramReceiver, ITransport
from corotwist.totem.sockets import (
    BATCH_DATAGRAMS,
    BUFFER_BYTES,
    BYTES_PER_SEND,
    READS_PER_DRAIN,
    READS_PER_WAKE,
    SEGMENTS_PER_SEND,
    SO_RCVBUFFORCE,
    SOL_UDP,
    UDP_GRO,
    UDP_SEGMENT,
    DatagramPort,
    segmentRuns,
    segments,
    socketAddress,
)
from corotwist.totem.udp import UdpTransport, derivedMulticastAddress, interfaceIndex
from corotwist.totem.udpu import UdpuTransport

PEER = ("127.0.0.9", 5405)
OTHER = ("127.0.0.8", 5405)
LARGEST_DATAGRAM = 65507


class FakeSocket:
    """
    Records what is sent, and returns or raises what a test puts into
    C{incoming} and C{refusals}.
    """

    def __init__(self, family: int = socket.AF_INET, kind: int = 0) -> None:
        self.family = family
        self.incoming: list[Any] = []
        self.refusals: list[int] = []
        self.unknownOptions: set[int] = set()
        self.options: list[tuple[int, int, Any]] = []
        self.sent: list[tuple[list[bytes], int | None, Any]] = []
        self.bound: Any = None
        self.bindError: int | None = None
        self.closed = False

    def setblocking(self, blocking: bool) -> None:
        self.blocking = blocking

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if option in self.unknownOptions:
            raise OSError(errno.ENOPROTOOPT, "no such option")
        self.options.append((level, option, value))

    def bind(self, address: Any) -> None:
        if self.bindError is not None:
            raise OSError(self.bindError, os.strerror(self.bindError))
        self.bound = address

    def fileno(self) -> int:
        return 77

    def close(self) -> None:
        self.closed = True

    def recvmsg(self, size: int, ancillarySize: int) -> Any:
        if not self.incoming:
            raise BlockingIOError
        result = self.incoming.pop(0)
        if isinstance(result, OSError):
            raise result
        return result

    def _refuse(self) -> None:
        if self.refusals:
            number = self.refusals.pop(0)
            raise OSError(number, os.strerror(number))

    def sendmsg(
        self, buffers: Sequence[bytes], control: Any, flags: int, address: Any
    ) -> int:
        ((level, kind, value),) = control
        assert (level, kind) == (SOL_UDP, UDP_SEGMENT)
        self._refuse()
        size = int.from_bytes(value, sys.byteorder)
        self.sent.append((list(buffers), size, address))
        return sum(map(len, buffers))

    def sendto(self, datagram: bytes, address: Any) -> int:
        self._refuse()
        self.sent.append(([datagram], None, address))
        return len(datagram)


@implementer(IReactorFDSet)
class FakeReactor:
    """
    Knows who wants to read.
    """

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers = [other for other in self.readers if other is not reader]

    def addWriter(self, writer: Any) -> None:
        raise AssertionError("we never wait to write")

    def removeWriter(self, writer: Any) -> None:
        raise AssertionError("we never wait to write")

    def removeAll(self) -> list[Any]:
        raise AssertionError("other readers are not our business")

    getReaders = getWriters = removeAll


@implementer(IDatagramReceiver)
class Receiver:
    """
    Keeps what it is handed.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[list[bytes], Any]] = []
        self.hook: Callable[[], None] = lambda: None

    def datagramsReceived(self, datagrams: Sequence[bytes], address: Any) -> None:
        self.batches.append((list(datagrams), address))
        self.hook()

    def datagrams(self) -> list[bytes]:
        return [datagram for batch, _ in self.batches for datagram in batch]


def came(
    data: bytes, address: Any = PEER, size: int | None = None, flags: int = 0
) -> Any:
    """
    What C{recvmsg} returns.
    """
    ancillary = []
    if size is not None:
        ancillary.append((SOL_UDP, UDP_GRO, size.to_bytes(4, sys.byteorder)))
    return data, ancillary, flags, address


class SegmentTests(SynchronousTestCase):
    @given(
        st.lists(st.sampled_from((0, 1, 2, 700, 1400, 9000, 60000)), max_size=200),
        st.sampled_from((0, 1400, BYTES_PER_SEND)),
    )
    def test_runs(self, sizes: list[int], largest: int) -> None:
        """
        Runs are what the kernel takes, and together they are what was given.
        """
        datagrams = [bytes(size) for size in sizes]
        runs = list(segmentRuns(datagrams, largest))
        self.assertEqual([each for run in runs for each in run], datagrams)
        for run in runs:
            if len(run) > 1:
                self.assertLessEqual(len(run), SEGMENTS_PER_SEND)
                self.assertLessEqual(sum(map(len, run)), BYTES_PER_SEND)
                self.assertLessEqual(len(run[0]), largest)
                self.assertEqual({len(each) for each in run[:-1]}, {len(run[0])})
                self.assertTrue(0 < len(run[-1]) <= len(run[0]))

    def test_fewCalls(self) -> None:
        """
        A burst of full frames with a shorter last one is one call, and a long
        one as few as can be.
        """
        burst = [bytes(1400)] * 16 + [bytes(20)]
        self.assertEqual(len(list(segmentRuns(burst, BYTES_PER_SEND))), 1)
        longer = [bytes(1400)] * 93
        self.assertEqual(
            [len(run) for run in segmentRuns(longer, BYTES_PER_SEND)], [46, 46, 1]
        )

    @given(st.binary(min_size=1, max_size=3000), st.integers(1, 1500))
    def test_segments(self, data: bytes, size: int) -> None:
        """
        What the kernel joined is taken apart again.
        """
        parts = segments(data, [(SOL_UDP, UDP_GRO, size.to_bytes(4, sys.byteorder))])
        self.assertEqual(b"".join(parts), data)
        self.assertEqual({len(part) for part in parts[:-1]} - {size}, set())
        self.assertLessEqual(len(parts[-1]), size)

    def test_nothingJoined(self) -> None:
        """
        Other ancillary data, or a senseless size, change nothing.
        """
        zero = bytes(4)
        for ancillary in ([], [(0, 8, b"x")], [(SOL_UDP, UDP_GRO, zero)]):
            self.assertEqual(segments(b"whole", ancillary), [b"whole"])
        self.assertEqual(segments(b"", []), [b""])


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.socket = FakeSocket()
        self.reactor = FakeReactor()
        self.receiver = Receiver()
        self.port = self.makePort()

    def makePort(self, reactor: object = None) -> DatagramPort:
        return DatagramPort(
            self.reactor if reactor is None else reactor,
            cast(socket.socket, self.socket),
            self.receiver.datagramsReceived,
        )

    def test_interface(self) -> None:
        """
        A port is what the reactor reads from, with the number of its socket.
        """
        verifyObject(IReadDescriptor, self.port)
        self.port.startReading()
        self.assertEqual(self.reactor.readers, [self.port])
        self.assertEqual(self.port.fileno(), 77)
        self.assertFalse(self.socket.blocking)

    def test_noDescriptors(self) -> None:
        """
        With a reactor that knows no descriptors, draining still reads.
        """
        port = self.makePort(reactor=object())
        port.startReading()
        self.socket.incoming.append(came(b"a"))
        port.drain()
        port.close()
        self.assertEqual(self.receiver.datagrams(), [b"a"])

    def test_largeBuffers(self) -> None:
        """
        Large buffers are asked for; without privilege, the ordinary way.
        """
        asked = (socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self.assertIn(asked, self.socket.options)
        self.socket.unknownOptions.add(SO_RCVBUFFORCE)
        self.makePort()
        asked = (socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.assertIn(asked, self.socket.options)

    def test_together(self) -> None:
        """
        What came one after the other from one address is handed up together.
        """
        self.socket.incoming = [
            came(b"a"),
            came(b"bbbbcccc", size=4),
            came(b"x", OTHER),
            came(b"d"),
        ]
        self.port.doRead()
        self.assertEqual(
            self.receiver.batches,
            [([b"a", b"bbbb", b"cccc"], PEER), ([b"x"], OTHER), ([b"d"], PEER)],
        )
        self.assertEqual(self.port.counters["datagramsReceived"], 5)
        self.assertEqual(self.port.counters["bytesReceived"], 11)

    def test_nothingToRead(self) -> None:
        """
        Nobody is called for nothing.
        """
        self.port.doRead()
        self.assertEqual(self.receiver.batches, [])

    def test_readsBounded(self) -> None:
        """
        A flood leaves the reactor its turn, and a drain has an end.
        """
        self.socket.incoming = [came(b"a")] * (READS_PER_DRAIN * 2)
        self.port.doRead()
        self.assertEqual(len(self.receiver.datagrams()), READS_PER_WAKE)
        self.port.drain()
        self.assertEqual(
            len(self.receiver.datagrams()), READS_PER_WAKE + READS_PER_DRAIN
        )

    def test_batchesBounded(self) -> None:
        """
        However much waits, one batch has a bounded number of datagrams.
        """
        self.socket.incoming = [came(bytes(64), size=1)] * 64
        self.port.drain()
        self.assertEqual(len(self.receiver.datagrams()), 64 * 64)
        for batch, _ in self.receiver.batches:
            self.assertLess(len(batch), BATCH_DATAGRAMS + 64)

    def test_truncated(self) -> None:
        """
        A datagram that the buffer cuts is dropped.
        """
        self.socket.incoming = [came(b"a", flags=socket.MSG_TRUNC), came(b"b")]
        self.port.doRead()
        self.assertEqual(self.receiver.datagrams(), [b"b"])
        self.assertEqual(self.port.counters["datagramsTruncated"], 1)

    def test_receiveError(self) -> None:
        """
        An error that an earlier datagram met does not stop the reading.
        """
        self.socket.incoming = [OSError(errno.ECONNREFUSED, "refused"), came(b"b")]
        self.port.doRead()
        self.assertEqual(self.receiver.datagrams(), [b"b"])
        self.assertEqual(self.port.counters["receiveErrors"], 1)

    def test_closedWhileReading(self) -> None:
        """
        Whoever closes the port from a batch gets no other one.
        """
        self.receiver.hook = self.port.close
        self.socket.incoming = [came(b"a"), came(b"b", OTHER), came(b"c")]
        self.port.drain()
        self.assertEqual(self.receiver.datagrams(), [b"a"])
        self.assertTrue(self.socket.closed)

    def test_close(self) -> None:
        """
        A closed port is not read, sends nothing, and can be closed again.
        """
        self.port.startReading()
        self.port.close()
        self.port.close()
        self.port.send([b"x"], [PEER])
        self.assertEqual(self.reactor.readers, [])
        self.assertEqual(self.socket.sent, [])

    def test_connectionLost(self) -> None:
        """
        A bug that made the reactor give us up is logged, not swallowed.
        """
        self.port.startReading()
        self.port.connectionLost(Failure(ValueError("bug")))
        self.assertTrue(self.socket.closed)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_reactorEnds(self) -> None:
        """
        That the reactor ends is no news.
        """
        self.port.startReading()
        self.port.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(self.socket.closed)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_sendBurst(self) -> None:
        """
        A burst is one call per destination, in order.
        """
        burst = [b"aaaa", b"bbbb", b"c"]
        self.port.send(burst, [PEER, OTHER])
        self.assertEqual(self.socket.sent, [(burst, 4, PEER), (burst, 4, OTHER)])
        self.assertEqual(self.port.counters["datagramsSent"], 6)
        self.assertEqual(self.port.counters["bytesSent"], 18)

    def test_sendOne(self) -> None:
        """
        A datagram alone needs no offload.
        """
        self.port.send([b"token"], [PEER])
        self.assertEqual(self.socket.sent, [([b"token"], None, PEER)])

    def test_oldKernel(self) -> None:
        """
        A kernel without the option gets one datagram per call.
        """
        self.socket.unknownOptions.add(UDP_SEGMENT)
        port = self.makePort()
        port.send([b"aaaa", b"bbbb"], [PEER])
        self.assertEqual(
            self.socket.sent, [([b"aaaa"], None, PEER), ([b"bbbb"], None, PEER)]
        )

    def test_offloadRefused(self) -> None:
        """
        Where the path cannot do it, nothing is lost, and it is not tried again.
        """
        self.socket.refusals = [errno.EIO]
        self.port.send([b"aa", b"bb"], [PEER])
        self.port.send([b"c", b"d"], [PEER])
        singly = [([each], None, PEER) for each in (b"aa", b"bb", b"c", b"d")]
        self.assertEqual(self.socket.sent, singly)
        self.assertEqual(self.port.counters["datagramsRefused"], 0)

    def test_segmentsTooLarge(self) -> None:
        """
        Where segments are larger than the path's packets, nothing is lost, and
        smaller ones are still sent together.
        """
        for number in (errno.EINVAL, errno.EMSGSIZE):
            self.socket.sent.clear()
            port = self.makePort()
            self.socket.refusals = [number]
            port.send([b"aaaa", b"bbbb"], [PEER])
            port.send([b"cccc", b"dddd"], [PEER])
            port.send([b"ee", b"ff"], [PEER])
            self.assertEqual(
                [size for _, size, _ in self.socket.sent], [None] * 4 + [2]
            )

    def test_loss(self) -> None:
        """
        What the kernel refuses is lost and counted, and stops nothing.
        """
        numbers = (
            errno.EAGAIN,
            errno.ENOBUFS,
            errno.ECONNREFUSED,
            errno.ENETUNREACH,
            errno.EPERM,
            errno.EMSGSIZE,
        )
        for number in numbers:
            self.socket.refusals = [number]
            self.port.send([b"x"], [PEER, OTHER])
        self.assertEqual(self.port.counters["datagramsRefused"], len(numbers))
        self.assertEqual(self.socket.sent, [([b"x"], None, OTHER)] * len(numbers))

    def test_burstLost(self) -> None:
        """
        A burst that finds no buffer is lost as a whole.
        """
        self.socket.refusals = [errno.EAGAIN]
        self.port.send([b"aa", b"bb"], [PEER])
        self.assertEqual(self.socket.sent, [])
        self.assertEqual(self.port.counters["datagramsRefused"], 2)
        self.port.send([b"aa", b"bb"], [PEER])
        self.assertEqual(self.socket.sent, [([b"aa", b"bb"], 2, PEER)])


class AddressTests(SynchronousTestCase):
    def test_spelling(self) -> None:
        """
        Addresses are spelled as the kernel spells those it reports.
        """
        for text, spelled in (
            ("192.0.2.1", ("192.0.2.1", 5)),
            ("2001:db8:0:0::1", ("2001:db8::1", 5, 0, 0)),
            ("::ffff:c000:201", ("::ffff:192.0.2.1", 5, 0, 0)),
            ("fe80::1%7", ("fe80::1", 5, 0, 7)),
            ("fe80::1%lo", ("fe80::1", 5, 0, 1)),
        ):
            self.assertEqual(socketAddress(ip_address(text), 5), spelled)

    def test_derived(self) -> None:
        """
        A cluster without a group address gets corosync's.  [recorded]
        """
        self.assertEqual(
            derivedMulticastAddress("heldring"), IPv4Address("239.192.103.222")
        )
        self.assertEqual(
            derivedMulticastAddress("heldring", ipv6=True), IPv6Address("ff15::6777")
        )
        self.assertEqual(
            derivedMulticastAddress("heldring", ipv6=True, link=1),
            IPv6Address("ff15::6778"),
        )

    @given(st.text(max_size=400), st.booleans(), st.integers(0, 7))
    def test_derivedGroup(self, name: str, ipv6: bool, link: int) -> None:
        """
        Every name gives the address of a group.
        """
        address = derivedMulticastAddress(name, ipv6, link)
        self.assertTrue(address.is_multicast)

    def test_interfaceIndex(self) -> None:
        """
        The interface of an IPv6 address is found by the system's table.
        """
        table = (
            "00000000000000000000000000000001 01 80 10 80       lo\n"
            "20010db8000000000000000000000001 0b 40 00 80     eth0\n"
        )
        self.assertEqual(interfaceIndex(IPv6Address("2001:db8::1"), table), 11)
        self.assertRaises(OSError, interfaceIndex, IPv6Address("2001:db8::2"), table)


def settings(nodeid: int, count: int = 3, **changes: Any) -> TotemSettings:
    """
    Node C{nodeid} of some on 127.0.0.1 and so on.
    """
    nodes = tuple(
        NodeEntry(number, f"node{number}", (IPv4Address(f"127.0.0.{number}"),))
        for number in range(1, count + 1)
    )
    values: dict[str, Any] = {
        "nodeid": nodeid,
        "nodes": nodes,
        "bindAddress": nodes[nodeid - 1].addresses[0],
        "stateDirectory": "/nowhere",
        "clusterName": "heldring",
    }
    return TotemSettings(**(values | changes))


class FakeSockets:
    """
    Makes fake sockets, and keeps them.
    """

    def __init__(self) -> None:
        self.made: list[FakeSocket] = []
        self.bindErrors: list[int | None] = []

    def __call__(self, family: int, kind: int) -> socket.socket:
        fake = FakeSocket(family, kind)
        if self.bindErrors:
            fake.bindError = self.bindErrors.pop(0)
        self.made.append(fake)
        return cast(socket.socket, fake)


class UdpuTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.sockets = FakeSockets()
        self.receiver = Receiver()

    def started(self, **changes: Any) -> UdpuTransport:
        transport = UdpuTransport(self.reactor, settings(2, **changes), self.sockets)
        transport.start(self.receiver)
        return transport

    def test_interface(self) -> None:
        """
        It binds our own address and the totem port, and listens.
        """
        transport = self.started()
        verifyObject(ITransport, transport)
        self.assertEqual(self.sockets.made[0].bound, ("127.0.0.2", 5405))
        self.assertEqual(len(self.reactor.readers), 1)

    def test_sends(self) -> None:
        """
        A token goes to one node, all else to every node but ourselves.
        """
        transport = self.started(port=6000)
        transport.unicast(3, b"token")
        transport.multicast([b"aa", b"bb"])
        self.assertEqual(
            self.sockets.made[0].sent,
            [
                ([b"token"], None, ("127.0.0.3", 6000)),
                ([b"aa", b"bb"], 2, ("127.0.0.1", 6000)),
                ([b"aa", b"bb"], 2, ("127.0.0.3", 6000)),
            ],
        )

    def test_unknownNode(self) -> None:
        """
        A token for a node that is not configured is counted, and lost.
        """
        transport = self.started()
        transport.unicast(9, b"token")
        self.assertEqual(self.sockets.made[0].sent, [])
        self.assertEqual(transport.statistics()["unknownNode"], 1)

    def test_unlisted(self) -> None:
        """
        By default, addresses that are not in the node list are not heard;
        ports do not matter.
        """
        listed, unlisted = ("127.0.0.3", 40000), ("127.0.0.7", 5405)
        for block, heard in ((True, [b"a"]), (False, [b"a", b"bb"])):
            self.receiver.batches.clear()
            transport = self.started(blockUnlistedIps=block)
            fake = self.sockets.made[-1]
            fake.incoming = [came(b"a", listed), came(b"bb", unlisted)]
            transport.drain()
            self.assertEqual(self.receiver.datagrams(), heard)
            self.assertEqual(transport.statistics()["datagramsUnlisted"], int(block))

    def test_stop(self) -> None:
        """
        A stopped transport has no socket and no reader, and says so at once.
        """
        transport = self.started()
        self.successResultOf(transport.stop())
        self.assertTrue(self.sockets.made[0].closed)
        self.assertEqual(self.reactor.readers, [])
        transport.unicast(3, b"late")
        transport.multicast([b"late"])
        transport.drain()

    def test_cannotBind(self) -> None:
        """
        An address that is taken is named, and nothing stays open.
        """
        self.sockets.bindErrors = [errno.EADDRINUSE]
        error = self.assertRaises(OSError, self.started)
        self.assertIn("127.0.0.2 port 5405", str(error))
        self.assertEqual(error.errno, errno.EADDRINUSE)
        self.assertTrue(self.sockets.made[0].closed)

    def test_ipv6(self) -> None:
        """
        IPv6 addresses get IPv6 sockets.
        """
        nodes = tuple(
            NodeEntry(number, "", (IPv6Address(f"2001:db8::{number}"),))
            for number in (1, 2)
        )
        transport = self.started(nodes=nodes, bindAddress=nodes[1].addresses[0])
        fake = self.sockets.made[0]
        self.assertEqual(fake.family, socket.AF_INET6)
        self.assertEqual(fake.bound, ("2001:db8::2", 5405, 0, 0))
        transport.multicast([b"x"])
        self.assertEqual(fake.sent, [([b"x"], None, ("2001:db8::1", 5405, 0, 0))])


class UdpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.sockets = FakeSockets()
        self.receiver = Receiver()

    def started(self, **changes: Any) -> UdpTransport:
        table = Path(self.mktemp())
        table.write_text("20010db8000000000000000000000002 07 40 00 80 eth0\n")
        transport = UdpTransport(
            self.reactor, settings(2, **changes), self.sockets, table
        )
        transport.start(self.receiver)
        return transport

    def test_sockets(self) -> None:
        """
        It sends from the port below the totem port, and listens on its own
        address and on the group's.
        """
        transport = self.started()
        verifyObject(ITransport, transport)
        sender, multicasts, tokens = self.sockets.made
        self.assertEqual(sender.bound, ("127.0.0.2", 5404))
        self.assertEqual(multicasts.bound, ("239.192.103.222", 5405))
        self.assertEqual(tokens.bound, ("127.0.0.2", 5405))

    def test_sends(self) -> None:
        """
        Tokens go to a node, all else once to the group.
        """
        transport = self.started(multicastAddress=IPv4Address("239.1.2.3"))
        transport.unicast(1, b"token")
        transport.multicast([b"aa", b"bb"])
        self.assertEqual(
            self.sockets.made[0].sent,
            [
                ([b"token"], None, ("127.0.0.1", 5405)),
                ([b"aa", b"bb"], 2, ("239.1.2.3", 5405)),
            ],
        )

    def test_options(self) -> None:
        """
        Multicasts leave by the interface of our address, live as long as
        configured, and are not looped back.
        """
        self.started(ttl=3)
        sender, multicasts, _ = self.sockets.made
        own = socket.inet_aton("127.0.0.2")
        for option, value in (
            (socket.IP_MULTICAST_IF, own),
            (socket.IP_MULTICAST_TTL, 3),
            (socket.IP_MULTICAST_LOOP, 0),
        ):
            self.assertIn((socket.IPPROTO_IP, option, value), sender.options)
        member = socket.inet_aton("239.192.103.222") + own
        self.assertIn(
            (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member), multicasts.options
        )

    def test_broadcast(self) -> None:
        """
        Instead of a group, everybody.
        """
        transport = self.started(broadcast=True)
        transport.multicast([b"x"])
        sender, multicasts, _ = self.sockets.made
        self.assertEqual(sender.sent, [([b"x"], None, ("255.255.255.255", 5405))])
        self.assertEqual(multicasts.bound, ("255.255.255.255", 5405))
        self.assertIn((socket.SOL_SOCKET, socket.SO_BROADCAST, 1), sender.options)

    def test_ipv6(self) -> None:
        """
        An IPv6 group is bound to the interface of our own address.
        """
        nodes = tuple(
            NodeEntry(number, "", (IPv6Address(f"2001:db8::{number}"),))
            for number in (1, 2)
        )
        self.started(nodes=nodes, bindAddress=nodes[1].addresses[0])
        sender, multicasts, _ = self.sockets.made
        self.assertEqual(multicasts.bound, ("ff15::6777", 5405, 0, 7))
        self.assertIn(
            (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, 7), sender.options
        )
        group = socket.inet_pton(socket.AF_INET6, "ff15::6777")
        member = group + (7).to_bytes(4, sys.byteorder)
        self.assertIn(
            (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member), multicasts.options
        )

    def test_dataBeforeToken(self) -> None:
        """
        What was multicast before a token arrived is handed up before it.
        """
        self.started()
        _, multicasts, tokens = self.sockets.made
        peer = ("127.0.0.3", 5404)
        multicasts.incoming = [came(b"data", peer)]
        tokens.incoming = [came(b"token", peer)]
        self.reactor.readers[2].doRead()
        self.assertEqual(self.receiver.datagrams(), [b"data", b"token"])

    def test_reflected(self) -> None:
        """
        Our own multicasts are not heard, where a device returns them.
        """
        transport = self.started()
        self.sockets.made[1].incoming = [came(b"own", ("127.0.0.2", 5404))]
        transport.drain()
        self.assertEqual(self.receiver.batches, [])
        self.assertEqual(transport.statistics()["datagramsReflected"], 1)

    def test_noReader(self) -> None:
        """
        What comes to the port that we send from is thrown away.
        """
        transport = self.started()
        self.sockets.made[0].incoming = [came(b"x")]
        transport.drain()
        self.assertEqual(self.receiver.batches, [])
        self.assertEqual(self.sockets.made[0].incoming, [])

    def test_cannotBind(self) -> None:
        """
        When one address is taken, none stays bound.
        """
        self.sockets.bindErrors = [None, None, errno.EADDRINUSE]
        self.assertRaises(OSError, self.started)
        self.assertEqual([fake.closed for fake in self.sockets.made], [True] * 3)
        self.assertEqual(self.reactor.readers, [])


class LoopbackTests(SynchronousTestCase):
    """
    The kernel's part: real sockets, several nodes on one machine.
    """

    def setUp(self) -> None:
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.bind(("127.0.0.1", 0))
        self.portNumber = probe.getsockname()[1]
        probe.close()

    def nodes(
        self, make: Callable[..., Any], **changes: Any
    ) -> list[tuple[Any, Receiver]]:
        made = []
        for nodeid in (1, 2, 3):
            transport = make(
                FakeReactor(), settings(nodeid, port=self.portNumber, **changes)
            )
            receiver = Receiver()
            transport.start(receiver)
            self.addCleanup(transport.stop)
            made.append((transport, receiver))
        return made

    def awaited(self, transport: Any, receiver: Receiver, count: int) -> list[bytes]:
        """
        What was heard, once it is C{count} datagrams, or nothing comes.
        """
        readable = list(transport._ports)
        while len(receiver.datagrams()) < count:
            ready, _, _ = select.select(readable, (), (), 2.0)
            if not ready:
                break
            transport.drain()
        return receiver.datagrams()

    def burst(self, make: Callable[..., Any]) -> None:
        (one, heardByOne), (two, heardByTwo), (three, heardByThree) = self.nodes(make)
        frames = [bytes([number]) * 1400 for number in range(100)] + [b"last"]
        one.multicast(frames)
        one.unicast(2, b"token")
        self.assertEqual(
            sorted(self.awaited(two, heardByTwo, 102)), sorted([*frames, b"token"])
        )
        self.assertEqual(self.awaited(three, heardByThree, 101), frames)
        one.drain()
        self.assertEqual(heardByOne.datagrams(), [])
        senders = {address[0] for _, address in heardByThree.batches}
        self.assertEqual(senders, {"127.0.0.1"})

    def test_udpu(self) -> None:
        """
        A burst of node 1 reaches nodes 2 and 3 whole, in order and once, and
        does not come back.
        """
        self.burst(UdpuTransport)

    def test_udp(self) -> None:
        """
        So it does by multicast.
        """
        self.burst(UdpTransport)

    def test_large(self) -> None:
        """
        The largest datagram passes; one byte more is lost, and counted.
        """
        (one, _), (two, heard), _ = self.nodes(UdpuTransport)
        one.unicast(2, bytes(LARGEST_DATAGRAM))
        one.unicast(2, bytes(LARGEST_DATAGRAM + 1))
        one.unicast(2, b"end")
        self.assertEqual(
            [len(each) for each in self.awaited(two, heard, 2)], [LARGEST_DATAGRAM, 3]
        )
        self.assertEqual(one.statistics()["datagramsRefused"], 1)

    def test_taken(self) -> None:
        """
        Two daemons do not share an address: the second is refused.
        """
        self.nodes(UdpuTransport)
        second = UdpuTransport(FakeReactor(), settings(1, port=self.portNumber))
        error = self.assertRaises(OSError, second.start, Receiver())
        self.assertEqual(error.errno, errno.EADDRINUSE)

    def test_ipv6(self) -> None:
        """
        Over IPv6 the node list admits those who are in it.
        """
        nodes = (NodeEntry(1, "", (IPv6Address("::1"),)),)
        changes: dict[str, Any] = {"nodes": nodes, "bindAddress": IPv6Address("::1")}
        one = UdpuTransport(FakeReactor(), settings(1, port=self.portNumber, **changes))
        receiver = Receiver()
        try:
            one.start(receiver)
        except OSError as error:
            raise SkipTest(f"no IPv6 here: {error}") from error
        self.addCleanup(one.stop)
        peer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.addCleanup(peer.close)
        peer.sendto(b"x", ("::1", self.portNumber))
        self.assertEqual(self.awaited(one, receiver, 1), [b"x"])
