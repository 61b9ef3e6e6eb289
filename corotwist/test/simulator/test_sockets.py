"""
Simulated sockets: production transports on a kernel that fails as told.
"""

import errno
import socket
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.simulator.clock import Clock
from corotwist.simulator.faults import Faults
from corotwist.simulator.network import Network
from corotwist.simulator.sockets import Refusal
from corotwist.test.simulator.stations import Station
from corotwist.totem.sockets import SOL_UDP, UDP_GRO, UDP_SEGMENT
from corotwist.totem.udp import UdpTransport


class SocketsTests(SynchronousTestCase):
    """
    Two or three stations.
    """

    def stations(
        self, count: int = 2, *, offload: bool = True, **totem: Any
    ) -> list[Station]:
        self.clock = Clock()
        nodeids = tuple(range(1, count + 1))
        self.network = Network(self.clock, Random(7), nodeids)
        found = [Station(n, self.network, **totem) for n in nodeids]
        for station in found:
            station.port.offload = offload
            station.start()
        return found

    def test_reactor(self) -> None:
        """
        The reactor keeps who reads, as Twisted's.
        """
        reactor = self.stations()[0].reactor
        verifyObject(IReactorFDSet, reactor)
        (reader,) = reactor.getReaders()
        self.assertEqual(reactor.removeAll(), [reader])
        self.assertEqual((reactor.getReaders(), reactor.getWriters()), ([], []))

    def test_waits(self) -> None:
        """
        Who begins to read is told of what waits already.
        """
        one, two = self.stations()
        (reader,) = two.reactor.removeAll()
        one.transport.unicast(2, b"x")
        self.clock.advance(1)
        self.assertEqual(two.ear.heard, [])
        two.reactor.addReader(IReadDescriptor(reader))
        self.clock.advance(0)
        self.assertEqual(two.ear.heard, [b"x"])

    def test_runs(self) -> None:
        """
        Equal datagrams leave and come in one call, and are whole; a kernel
        that knows no runs carries them all the same.
        """
        datagrams = [b"%03d" % i * 300 for i in range(100)] + [b"end"]
        for offload in (True, False):
            one, two = self.stations(offload=offload)
            one.transport.multicast(datagrams)
            self.clock.advance(1)
            self.assertEqual(two.ear.heard, datagrams)
            self.assertEqual(one.statistics()["datagramsSent"], 101)

    def test_segments(self) -> None:
        """
        Segments that do not fit the interface are not sent as such; the
        transport notices, and sends them one by one.
        """
        one, two = self.stations()
        one.port.interfaceBytes = 500
        one.transport.multicast([b"x" * 900] * 3)
        self.clock.advance(1)
        self.assertEqual(two.ear.heard, [b"x" * 900] * 3)

    def test_limits(self) -> None:
        """
        The kernel takes no more than UDP carries, in one datagram or many.
        """
        one, _ = self.stations()
        made = one.port.makeSocket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("10.0.0.1", 9))
        there = ("10.0.0.2", 5405)
        control = [(SOL_UDP, UDP_SEGMENT, (1000).to_bytes(2, "little"))]
        for attempt, number in (
            (lambda: made.sendto(bytes(65508), there), errno.EMSGSIZE),
            (lambda: made.sendmsg([bytes(66000)], control, 0, there), errno.EINVAL),
        ):
            error = self.assertRaises(OSError, attempt)
            self.assertEqual(error.errno, number)
        self.assertEqual(made.sendto(bytes(65507), there), 65507)

    def test_addresses(self) -> None:
        """
        An address is had once, and only if it is the machine's own.
        """
        one, _ = self.stations()
        for address, number in (
            (("10.0.0.1", 5405), errno.EADDRINUSE),
            (("10.0.0.2", 5405), errno.EADDRNOTAVAIL),
        ):
            made = one.port.makeSocket(socket.AF_INET, socket.SOCK_DGRAM)
            error = self.assertRaises(OSError, made.bind, address)
            self.assertEqual(error.errno, number)

    def test_receiving(self) -> None:
        """
        Sockets hand up one datagram, or a run, and say when there is none.
        """
        one, two = self.stations()
        two.port.present = False
        one.transport.multicast([b"aa", b"bb", b"c"])
        self.clock.advance(1)
        made = next(iter(two.port._sockets.values()))
        made.setsockopt(SOL_UDP, UDP_GRO, 0)
        source = ("10.0.0.1", 5405)
        self.assertEqual(made.recvmsg(99, 9), (b"aa", [], 0, source))
        self.assertEqual(made.recvmsg(1, 9), (b"b", [], socket.MSG_TRUNC, source))
        self.assertEqual(made.recvmsg(99, 9), (b"c", [], 0, source))
        self.assertRaises(BlockingIOError, made.recvmsg, 99, 9)

    def test_overflow(self) -> None:
        """
        A socket holds only so much; what is too much is lost at the end.
        """
        one, two = self.stations()
        two.port.receiveBytes = 10_000
        two.port.present = False
        one.transport.multicast([b"%02d" % i for i in range(20)])
        self.clock.advance(1)
        two.port.present = True
        while two.port.readWaiting():
            pass
        self.assertEqual(two.ear.heard, [b"%02d" % i for i in range(12)])
        self.assertEqual(two.port.counts["overflow"], 8)

    def test_refusal(self) -> None:
        """
        What the kernel does not take is lost, and counted by the transport.
        """
        for number in (errno.ENOBUFS, errno.EAGAIN, errno.EPERM, errno.ECONNREFUSED):
            one, two = self.stations()
            one.port.refusal = Refusal(number, 0.5)
            for _ in range(100):
                one.transport.unicast(2, b"x")
            self.clock.advance(1)
            refused = one.port.counts["refused"]
            self.assertTrue(30 < refused < 70, refused)
            self.assertEqual(one.statistics()["datagramsRefused"], refused)
            self.assertEqual(len(two.ear.heard), 100 - refused)

    def test_interface(self) -> None:
        """
        While an interface is gone nothing is sent or heard; its sockets are
        good again when it is back.
        """
        one, two = self.stations()
        two.port.down = True
        one.transport.unicast(2, b"to")
        two.transport.unicast(1, b"from")
        self.clock.advance(1)
        self.assertEqual((one.ear.heard, two.ear.heard), ([], []))
        self.assertEqual(two.statistics()["datagramsRefused"], 1)
        two.port.down = False
        one.transport.unicast(2, b"to")
        two.transport.unicast(1, b"from")
        self.clock.advance(1)
        self.assertEqual((one.ear.heard, two.ear.heard), ([b"from"], [b"to"]))

    def test_multicast(self) -> None:
        """
        The transport for IP multicast runs too: everybody else hears a
        datagram that leaves once, and tokens come by another socket.
        """
        one, two, three = self.stations(3, transport="udp")
        self.assertIsInstance(one.transport._transport, UdpTransport)  # type: ignore[attr-defined]
        one.transport.multicast([b"all"])
        one.transport.unicast(3, b"token")
        self.clock.advance(1)
        heard = [station.ear.heard for station in (one, two, three)]
        self.assertEqual(heard, [[], [b"all"], [b"all", b"token"]])
        self.assertEqual(one.statistics()["datagramsSent"], 2)

    def test_broadcast(self) -> None:
        """
        A broadcast comes back to its sender, by a way with delays of its own,
        and is known for what it is.
        """
        one, two = self.stations(transport="udp", broadcast=True)
        self.network.reflection = Faults(delay=0.5, reorder=0.5, reorderBy=0.1)
        for _ in range(10):
            one.transport.multicast([b"all"])
        self.clock.advance(0.4)
        self.assertEqual(two.ear.heard, [b"all"] * 10)
        self.assertEqual(one.statistics()["datagramsReflected"], 0)
        self.clock.advance(0.3)
        self.assertEqual(
            (one.ear.heard, one.statistics()["datagramsReflected"]), ([], 10)
        )
        self.assertTrue(self.network.counts["reordered"])

    def test_unlisted(self) -> None:
        """
        Who is in no list is not heard.
        """
        _, two = self.stations()
        self.network.inject(77, 2, b"who?")
        self.network.inject(1, 2, b"me")
        self.assertEqual(two.ear.heard, [b"me"])
        self.assertEqual(two.statistics()["datagramsUnlisted"], 1)
