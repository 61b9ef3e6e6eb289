"""
The ways of datagrams, written down.
"""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator import Cluster
from corotwist.simulator.clock import Clock
from corotwist.simulator.faults import Faults, Rule
from corotwist.simulator.journeys import (
    COPY,
    CUT,
    DAMAGED,
    DROPPED,
    FORGED,
    LATE,
    LOST,
    ON_TIME,
    ORPHANED,
    OVERFLOWN,
    SCRIPTED,
    UNHEARD,
    Journeys,
)
from corotwist.simulator.network import Network
from corotwist.simulator.trace import LAST_RECORDS
from corotwist.test.simulator.stations import Station


class JourneysTests(SynchronousTestCase):
    """
    Nodes 1 and 2.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, Random(7), (1, 2))
        self.network.journeys = self.journeys = Journeys()
        self.stations = [Station(n, self.network) for n in (1, 2)]
        self.ports = [station.port for station in self.stations]
        for station in self.stations:
            station.start()

    def fates(self, *datagrams: bytes) -> list[str]:
        """
        Send some from node 1; what became of them.
        """
        self.stations[0].transport.multicast(datagrams or [b"x"])
        self.clock.advance(1.0)
        return [journey.fate for journey in self.journeys]

    def test_whole(self) -> None:
        """
        A journey tells who sent what, when it left, and when it came.
        """
        self.clock.advance(1.0)
        self.assertEqual(self.fates(b"a", b"b"), [ON_TIME, ON_TIME])
        first, second = self.journeys
        self.assertEqual((first.source, first.target), (1, 2))
        self.assertEqual((first.datagram, second.datagram), (b"a", b"b"))
        self.assertEqual(first.sent, 1.0)
        assert first.arrives is not None
        self.assertGreaterEqual(first.arrives, 1.0 + Faults().delay)

    def test_cut(self) -> None:
        """
        A cut link carries nothing.
        """
        self.network.link(1, 2).cut = True
        self.assertEqual(self.fates(), [CUT])
        self.assertIsNone(next(iter(self.journeys)).arrives)

    def test_lost(self) -> None:
        """
        A datagram that the link lost never arrives.
        """
        self.network.faults = Faults(loss=1.0)
        self.assertEqual(self.fates(), [LOST])

    def test_copy(self) -> None:
        """
        A copy has a journey of its own.
        """
        self.network.faults = Faults(duplication=1.0)
        self.assertEqual(sorted(self.fates()), [ON_TIME, COPY])

    def test_late(self) -> None:
        """
        Who may be overtaken is told.
        """
        self.network.faults = Faults(reorder=1.0)
        self.assertEqual(self.fates(), [LATE])

    def test_damaged(self) -> None:
        """
        A damaged datagram is kept as it was sent.
        """
        self.network.faults = Faults(corruption=1.0, reorder=1.0)
        self.assertEqual(self.fates(b"whole"), [DAMAGED])
        self.assertEqual(next(iter(self.journeys)).datagram, b"whole")

    def test_story(self) -> None:
        """
        What a rule lost, and what it treated otherwise, is told apart from
        chance.
        """
        self.network.rules.append(Rule(lambda data: [], count=1))
        self.network.rules.append(Rule(lambda data: [(0.1, data)], count=1))
        self.assertEqual(self.fates(b"a", b"b", b"c"), [DROPPED, SCRIPTED, ON_TIME])

    def test_unheard(self) -> None:
        """
        A datagram reaches a node where nobody listens.
        """
        self.ports[1].close()
        self.assertEqual(self.fates(), [UNHEARD])
        self.assertIsNotNone(next(iter(self.journeys)).arrives)

    def test_orphaned(self) -> None:
        """
        Of what a killed process had on its way, some is lost.
        """
        self.stations[0].transport.multicast([b"%d" % i for i in range(100)])
        self.ports[0].killed = True
        self.clock.advance(1.0)
        fates = {journey.fate for journey in self.journeys}
        self.assertEqual(fates, {ORPHANED, ON_TIME})

    def test_overflown(self) -> None:
        """
        A socket that nobody reads is full at some time.
        """
        self.ports[1].present = False
        datagrams = [b"%06d" % i + bytes(60_000) for i in range(140)]
        fates = self.fates(*datagrams)
        self.assertEqual({*fates}, {ON_TIME, OVERFLOWN})
        self.assertEqual(fates, sorted(fates, key=[ON_TIME, OVERFLOWN].index))

    def test_forged(self) -> None:
        """
        What nobody sent is there too.
        """
        self.network.inject(2, 1, b"?")
        self.assertEqual([journey.fate for journey in self.journeys], [FORGED])

    def test_bounded(self) -> None:
        """
        The newest are kept, and the others counted.
        """
        self.network.journeys = self.journeys = Journeys(keep=3)
        self.fates(*(b"%d" % i for i in range(10)))
        self.assertEqual([j.datagram for j in self.journeys], [b"7", b"8", b"9"])
        self.assertEqual(self.journeys.forgotten, 7)


class UnnoticedTests(SynchronousTestCase):
    """
    A run that is written down.
    """

    def records(self, *, keepTrace: bool) -> list[str]:
        cluster = Cluster(3, seed=7, faults=Faults(loss=0.1), keepTrace=keepTrace)
        cluster.load(60.0, 4.0)
        cluster.run(1.0)
        cluster.kill(3)
        cluster.run(3.0)
        return [*cluster.trace.lines()][-LAST_RECORDS:]

    def test_same(self) -> None:
        """
        It goes the same way as one that is not.
        """
        expected = self.records(keepTrace=False)
        self.assertEqual(len(expected), LAST_RECORDS)
        self.assertEqual(self.records(keepTrace=True), expected)
