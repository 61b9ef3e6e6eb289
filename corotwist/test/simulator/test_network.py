"""
Links, their faults, and sockets.
"""

from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.interfaces import ITransport
from corotwist.simulator.clock import Clock
from corotwist.simulator.faults import Faults, Rule, kindOf
from corotwist.simulator.network import Network
from corotwist.test.simulator.stations import Station
from corotwist.totem.membership import RingId
from corotwist.totem.wire import HoldCancel, MergeDetect

MANY = 2000


class NetworkTests(SynchronousTestCase):
    """
    Three nodes with an ear each.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, Random(7), (1, 2, 3))
        self.stations = {n: Station(n, self.network) for n in (1, 2, 3)}
        self.ears = {n: station.ear for n, station in self.stations.items()}
        self.ports = {n: station.port for n, station in self.stations.items()}
        for station in self.stations.values():
            station.start()

    def send(self, count: int, source: int = 1) -> list[bytes]:
        datagrams = [b"%d" % i for i in range(count)]
        for datagram in datagrams:
            self.stations[source].transport.multicast([datagram])
            self.clock.advance(0.00001)
        self.clock.advance(1)
        return datagrams

    def test_interface(self) -> None:
        """
        What a process sends is looked at, and goes through its transport.
        """
        verifyObject(ITransport, self.stations[1].transport)

    def test_multicast(self) -> None:
        """
        Everybody but the sender gets everything, in order, after the delay.
        """
        self.network.faults = Faults(delay=0.5, spread=0.0)
        self.stations[1].transport.multicast([b"a", b"b"])
        self.clock.advance(0.49)
        self.assertEqual(self.ears[2].heard, [])
        self.clock.advance(0.02)
        heard = [ear.heard for ear in self.ears.values()]
        self.assertEqual(heard, [[], [b"a", b"b"], [b"a", b"b"]])
        self.assertEqual(self.ears[2].addresses, {("10.0.0.1", 5405)})

    def test_unicast(self) -> None:
        """
        One node gets it, and no other.
        """
        self.stations[1].transport.unicast(3, b"token")
        self.clock.advance(1)
        heard = [ear.heard for ear in self.ears.values()]
        self.assertEqual(heard, [[], [], [b"token"]])

    def test_order(self) -> None:
        """
        However much delays differ, one link keeps the order.
        """
        self.network.faults = Faults(delay=0.0, spread=0.1)
        sent = self.send(200)
        self.clock.advance(5)
        self.assertEqual(self.ears[2].heard, sent)

    def test_loss(self) -> None:
        """
        The given share is lost, on each link for itself; the rest is in order.
        """
        self.network.faults = Faults(loss=0.2)
        sent = self.send(MANY)
        heard = self.ears[2].heard
        self.assertTrue(0.15 < 1 - len(heard) / MANY < 0.25, len(heard))
        self.assertNotEqual(heard, self.ears[3].heard)
        self.assertEqual(heard, [d for d in sent if d in set(heard)])

    def test_lossOfKind(self) -> None:
        """
        Only the named kind is lost.
        """
        self.network.faults = Faults(lossOf={"merge": 1.0})
        merge = MergeDetect(1, 1, RingId(1, 1)).encode()
        cancel = HoldCancel(1, RingId(1, 1)).encode()
        self.stations[1].transport.multicast([merge, cancel, b"\x17\x03"])
        self.clock.advance(1)
        self.assertEqual(self.ears[2].heard, [cancel, b"\x17\x03"])

    def test_duplication(self) -> None:
        """
        Some arrive twice, and none is lost.
        """
        self.network.faults = Faults(duplication=0.1)
        sent = self.send(MANY)
        heard = self.ears[2].heard
        self.assertEqual(set(heard), set(sent))
        self.assertTrue(1.05 < len(heard) / MANY < 1.15, len(heard))

    def test_reorder(self) -> None:
        """
        Some are overtaken; all arrive.
        """
        self.network.faults = Faults(reorder=0.1, reorderBy=0.01)
        sent = self.send(200)
        heard = self.ears[2].heard
        self.assertNotEqual(heard, sent)
        self.assertEqual(sorted(heard), sorted(sent))

    def test_corruption(self) -> None:
        """
        Bits flip and ends are cut off; what arrives is never longer.
        """
        self.network.faults = Faults(corruption=0.5, truncation=0.5)
        for _ in range(100):
            self.stations[1].transport.multicast([b"0123456789"])
        self.clock.advance(1)
        heard = self.ears[2].heard
        whole = [d for d in heard if d == b"0123456789"]
        short = [d for d in heard if len(d) < 10]
        self.assertEqual(len(heard), 100)
        self.assertTrue(10 < len(whole) < 40, len(whole))
        self.assertTrue(30 < len(short) < 70, len(short))

    def test_largest(self) -> None:
        """
        A path can be too narrow for large datagrams.
        """
        self.network.faults = Faults(largest=4)
        self.stations[1].transport.multicast([b"four", b"fives"])
        self.clock.advance(1)
        self.assertEqual(self.ears[2].heard, [b"four"])

    def test_oneWay(self) -> None:
        """
        One direction of a link can be cut.
        """
        self.network.link(1, 2).cut = True
        self.stations[1].transport.multicast([b"from 1"])
        self.stations[2].transport.multicast([b"from 2"])
        self.clock.advance(1)
        heard = [sorted(ear.heard) for ear in self.ears.values()]
        self.assertEqual(heard, [[b"from 2"], [], [b"from 1", b"from 2"]])

    def test_ownFaults(self) -> None:
        """
        A link can be worse than the others.
        """
        self.network.link(1, 2).faults = Faults(loss=1.0)
        self.stations[1].transport.multicast([b"x"])
        self.clock.advance(1)
        self.assertEqual([self.ears[2].heard, self.ears[3].heard], [[], [b"x"]])

    def test_rules(self) -> None:
        """
        A rule treats so many that match, after those it skips, and leaves
        everything else alone.
        """
        rule = Rule(lambda data: [], source=1, target=2, count=2, skip=1)
        self.network.rules.append(rule)
        self.send(5)
        self.assertEqual(self.ears[2].heard, [b"0", b"3", b"4"])
        self.assertEqual(self.ears[3].heard, [b"0", b"1", b"2", b"3", b"4"])
        self.assertEqual(rule.met, 2)

    def test_ruleContaining(self) -> None:
        """
        A rule can look for bytes, and let a datagram come late and twice.
        """
        rule = Rule(lambda data: [(0.5, data), (0.6, data)], target=2, containing=b"b")
        self.network.rules.append(rule)
        self.stations[1].transport.multicast([b"abc", b"xyz"])
        self.clock.advance(1)
        self.assertEqual(self.ears[2].heard, [b"xyz", b"abc", b"abc"])

    def test_killed(self) -> None:
        """
        Of what a killed process had on its way about half arrives, drawn for
        each receiver; it can send nothing more.
        """
        for number in range(400):
            self.stations[1].transport.multicast([b"%d" % number])
        self.ports[1].killed = True
        self.ports[1].close()
        self.stations[1].transport.multicast([b"from the dead"])
        self.stations[1].transport.unicast(2, b"from the dead")
        self.clock.advance(1)
        heard = self.ears[2].heard
        self.assertTrue(150 < len(heard) < 250, len(heard))
        self.assertNotEqual(heard, self.ears[3].heard)
        self.assertNotIn(b"from the dead", heard)

    def test_closed(self) -> None:
        """
        A closed port hears nothing; the next process of its node does.
        """
        self.stations[1].transport.multicast([b"late"])
        self.successResultOf(self.stations[2].transport.stop())
        self.clock.advance(1)
        self.assertEqual(self.ears[2].heard, [])
        again = Station(2, self.network)
        again.start()
        self.stations[1].transport.multicast([b"x"])
        self.clock.advance(1)
        self.assertEqual((self.ears[2].heard, again.ear.heard), ([], [b"x"]))

    def test_absent(self) -> None:
        """
        What comes while a process is not scheduled waits in its socket, and
        is handed up in order.
        """
        self.ports[2].present = False
        sent = self.send(70)
        self.assertEqual(self.ears[2].heard, [])
        self.ports[2].present = True
        while self.ports[2].readWaiting():
            pass
        self.assertEqual(self.ears[2].heard, sent)
        self.assertTrue(len(self.ears[2].bursts) < 10, self.ears[2].bursts)

    def test_drain(self) -> None:
        """
        A process can ask for all that waits.
        """
        self.ports[2].present = False
        sent = self.send(3)
        self.stations[2].transport.drain()
        self.assertEqual(self.ears[2].heard, sent)

    def test_batch(self) -> None:
        """
        On a calm link, what leaves in one instant comes in one.
        """
        for size in (5, 7, 3):
            self.stations[1].transport.multicast([b"x" * size])
        self.clock.advance(1)
        self.assertEqual(self.ears[2].bursts, [3])
        self.assertEqual([*map(len, self.ears[2].heard)], [5, 7, 3])

    def test_words(self) -> None:
        """
        Faults are told in words: what is not as usual.
        """
        faults = Faults(loss=1 / 3, lossOf={"token": 0.2}, tail=0.01)
        self.assertEqual(faults.words, "loss 0.333, lossOf token 0.2, tail 0.01")
        self.assertEqual(Faults().words, "calm")

    def test_kinds(self) -> None:
        """
        Plain datagrams are known by their type, in either byte order; others
        are not.
        """
        message = MergeDetect(1, 1, RingId(1, 1))
        self.assertEqual(kindOf(message.encode()), "merge")
        message.byteOrder = ">"
        self.assertEqual(kindOf(message.encode()), "merge")
        for other in (b"", b"\x70\xc0\x03", b"\x70\xc0\x03\x07", b"sealed!"):
            self.assertEqual(kindOf(other), "other")
