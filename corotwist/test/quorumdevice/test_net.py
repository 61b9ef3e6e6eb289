"""
Tests of the arbiter and of the device that asks it, over connections in memory.
"""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.deviceinterfaces import IQuorumDevice
from corotwist.errors import (
    AccessDenied,
    ConfigurationError,
    InvalidParameter,
    NotExist,
    NotSupported,
    OldRing,
    ServiceError,
)
from corotwist.quorumdevice import messages
from corotwist.quorumdevice.arbiter import IDLE_SECONDS, Arbiter, ArbiterFactory
from corotwist.quorumdevice.arbitration import Arbitration, Terms, Vote, Wish
from corotwist.quorumdevice.messages import Ask, Come, Show
from corotwist.quorumdevice.net import NetDevice
from corotwist.quorumdevice.parties import Rule
from corotwist.quorumdevice.values import DeviceAnswer, DeviceContext, Health
from corotwist.totem.membership import RingId

CAST, GRACE, MOST = 10.0, 6.0, 20.0


@implementer(IStreamClientEndpoint)
class Line:
    """
    The way from a node to the arbiter.

    @ivar cut: nothing gets through: C{"refused"} at once, C{"silent"} never.
    """

    def __init__(self, net: "Net") -> None:
        self.net = net
        self.cut = ""
        self.pump: Any = None

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.cut == "refused":
            return fail(ConnectError())
        if self.cut:
            return Deferred()
        client = factory.buildProtocol(None)
        server = self.net.factory.buildProtocol(None)
        self.pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True),
            client,
            iosim.FakeTransport(client, isServer=False),
        )
        return succeed(client)

    def flush(self) -> bool:
        return self.pump is not None and not self.cut and bool(self.pump.pump())


class Net:
    """
    An arbiter and nodes.
    """

    def __init__(self, case: SynchronousTestCase, count: int, **options: str) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.case = case
        self.options = {"host": "arbiter", "tls": "off", **options}
        self.count = count
        self.lines: dict[int, Line] = {}
        self.devices: dict[int, NetDevice] = {}
        self.answers: dict[int, list[DeviceAnswer]] = {}
        self.startArbiter()
        for nodeid in range(1, count + 1):
            self.startNode(nodeid)

    def startArbiter(self) -> None:
        self.arbiter = Arbiter(self.clock, MOST)
        self.factory = ArbiterFactory(self.arbiter)

    def startNode(self, nodeid: int, incarnation: int = 1) -> None:
        line = self.lines[nodeid] = Line(self)
        nodes = tuple(range(1, self.count + 1))
        context = DeviceContext(
            nodeid, incarnation, nodes, "c", CAST, GRACE, self.options
        )
        device = NetDevice(self.clock, context, endpoint=line)
        self.devices[nodeid] = device
        self.answers[nodeid] = []
        device.start(self.answers[nodeid].append)

    def restartArbiter(self) -> None:
        """
        All connections are lost with what it knew.
        """
        self.startArbiter()
        for line in self.lines.values():
            self.lose(line)

    def lose(self, line: Line) -> None:
        if line.pump is not None:
            line.pump.client.transport.abortConnection()
            line.pump.flush()
            line.pump = None

    def ring(self, sequence: int, *members: int) -> None:
        for nodeid in members:
            ringId = RingId(sequence, min(members))
            self.devices[nodeid].ask(ringId, members, Health.UNKNOWN)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            for _ in range(4):
                for line in self.lines.values():
                    line.flush()
            self.clock.advance(0.1)

    def voting(self) -> list[int]:
        """
        Who may cast the vote now.
        """
        now = self.clock.seconds()
        last = {n: answers[-1] for n, answers in self.answers.items() if answers}
        return [n for n, answer in last.items() if answer.vote and answer.until > now]


class NetCase(SynchronousTestCase):
    """
    A net that is over its quiet time.
    """

    def begin(self, count: int = 4, **options: str) -> Net:
        net = Net(self, count, **options)
        net.ring(4, *range(1, count + 1))
        net.run(MOST + 2.0)
        self.assertEqual(net.voting(), [*range(1, count + 1)])
        return net


class DeviceTests(NetCase):
    """
    Nodes, an arbiter, and what may be between them.
    """

    def test_interface(self) -> None:
        """
        It is a quorum device.
        """
        verifyObject(IQuorumDevice, Net(self, 1).devices[1])

    def test_quietAtFirst(self) -> None:
        """
        An arbiter that has only begun does not know who had the vote before.
        (C14)
        """
        net = Net(self, 2)
        net.ring(4, 1, 2)
        net.run(MOST - 1.0)
        self.assertEqual(net.voting(), [])
        net.run(2.0)
        self.assertEqual(net.voting(), [1, 2])

    def test_halves(self) -> None:
        """
        Exactly one of two halves has the vote, and the other one hears no.
        (C14)
        """
        net = self.begin()
        net.ring(8, 1, 2)
        net.ring(8, 3, 4)
        net.run(2.0)
        self.assertEqual(net.voting(), [1, 2])
        self.assertIn("votes for others", net.answers[3][-1].why)

    def test_halfIsLost(self) -> None:
        """
        When the half with the vote is lost the other one gets it, as soon as
        that of the first must have ended.  (C14)
        """
        net = self.begin()
        net.ring(8, 1, 2)
        net.ring(8, 3, 4)
        net.run(2.0)
        for nodeid in (1, 2):
            net.lines[nodeid].cut = "silent"
        net.run(CAST + 1.0)
        self.assertEqual(net.voting(), [])
        net.run(GRACE + 1.0)
        self.assertEqual(net.voting(), [3, 4])

    def test_arbiterRestarted(self) -> None:
        """
        Who has the vote keeps it over a restart of the arbiter, and nobody else
        gets it.  (C14)
        """
        net = self.begin()
        net.ring(8, 1, 2)
        net.ring(8, 3, 4)
        net.run(2.0)
        net.restartArbiter()
        for _ in range(30):
            net.run(1.0)
            self.assertEqual(net.voting(), [1, 2])

    def test_arbiterGone(self) -> None:
        """
        Without the arbiter the vote ends with its time; it comes back with the
        arbiter.  (C14)
        """
        net = self.begin(2)
        for line in net.lines.values():
            line.cut = "refused"
            net.lose(line)
        net.run(CAST - 3.0)
        self.assertEqual(net.voting(), [1, 2])
        net.run(4.0)
        self.assertEqual(net.voting(), [])
        for line in net.lines.values():
            line.cut = ""
        net.run(10.0)
        self.assertEqual(net.voting(), [1, 2])

    def test_oldRing(self) -> None:
        """
        A node that comes back and speaks of an earlier ring gets nothing for
        it.  (C14)
        """
        net = self.begin(2)
        net.ring(8, 1, 2)
        net.run(1.0)
        arbitration = net.arbiter._clusters["c"]
        old = Wish(RingId(4, 1), (1, 2))
        self.assertRaises(OldRing, arbitration.asked, 1, old, net.clock.seconds())

    def test_nodeRestarted(self) -> None:
        """
        A node that was restarted counts as another one: it may be on any ring,
        and its earlier connection counts no more.  (C14)
        """
        net = self.begin(2)
        net.startNode(1, 2)
        net.ring(2, 1)
        net.run(GRACE + CAST + 4.0)
        self.assertEqual(net.voting(), [2])
        net.ring(12, 1, 2)
        net.run(2.0)
        self.assertEqual(net.voting(), [1, 2])

    def test_lateAnswer(self) -> None:
        """
        An answer that does not come in time ends the connection: what comes
        later does not count.
        """
        net = self.begin(2)
        device = net.devices[1]
        connects = device.status()["connects"]
        net.lines[1].cut = "silent"
        net.run(3.0)
        net.lines[1].cut = ""
        net.run(3.0)
        self.assertGreater(device.status()["connects"], connects)
        self.assertEqual(net.voting(), [1, 2])

    def test_notAgreed(self) -> None:
        """
        A node that counts in another way than the others is told so, and
        nothing is lost for them.
        """
        net = self.begin(2)
        net.options["algorithm"] = "lms"
        net.startNode(2, 2)
        net.run(2.0)
        self.assertIn("ffsplit", net.devices[2].status()["trouble"])
        self.assertIn(1, net.voting())

    def test_tooLong(self) -> None:
        """
        Who wants the vote for longer than the arbiter waits after its start is
        refused.
        """
        net = Net(self, 1)
        net.arbiter.mostSeconds = 10.0
        net.run(1.0)
        self.assertIn("lower quorum.device.timeout", net.devices[1].status()["trouble"])

    def test_listed(self) -> None:
        """
        With another node list nodes come anew, and keep the vote.
        """
        net = self.begin(2)
        for device in net.devices.values():
            device.listed((1, 2, 3))
        net.run(3.0)
        self.assertEqual(net.voting(), [1, 2])
        self.assertEqual(net.arbiter.status()["clusters"]["c"]["nodes"], [1, 2, 3])

    def test_stopped(self) -> None:
        """
        A device that stops leaves nothing behind.
        """
        net = self.begin(1)
        self.successResultOf(net.devices[1].stop())
        net.run(1.0)
        self.assertEqual(net.clock.getDelayedCalls(), [])
        self.assertEqual(net.arbiter.connections, 0)

    def test_idle(self) -> None:
        """
        A connection on which nothing is said is ended.
        """
        net = self.begin(1)
        net.devices[1]._cancel()
        net.run(IDLE_SECONDS)
        self.assertEqual(net.devices[1].status()["connects"], 2)

    def test_wrongOptions(self) -> None:
        """
        What cannot be is told with the name of the option.
        """
        for options, name in (
            ({}, "host"),
            ({"host": "a", "port": "x"}, "port"),
            ({"host": "a", "port": "65536"}, "port"),
            ({"host": "a", "tls": "perhaps"}, "tls"),
            ({"host": "a"}, "cert"),
            ({"host": "a", "tls": "off", "algorithm": "test"}, "algorithm"),
            ({"host": "a", "cert": "/c", "key": "/k", "ca": "/nowhere"}, "tls"),
        ):
            context = DeviceContext(1, 1, (1, 2), "c", CAST, GRACE, options)
            error = self.assertRaises(ConfigurationError, NetDevice, Clock(), context)
            self.assertIn(f"quorum.device.net.{name}", str(error))

    def test_status(self) -> None:
        """
        The arbiter shows its clusters, as large as they are; the device shows
        what it hears.  (C17)
        """
        net = self.begin(2)
        shown = net.arbiter.status()["clusters"]["c"]
        self.assertEqual(list(shown["connected"]), ["1", "2"])
        self.assertTrue(shown["connected"]["1"]["vote"])
        self.assertEqual(shown["given"]["1.4"]["members"], [1, 2])
        status = net.devices[1].status()
        self.assertEqual((status["answer"], status["connected"]), ("yes", True))
        self.assertEqual(status["summary"], "arbiter:5403, connected")


class ProtocolTests(NetCase):
    """
    What comes over a connection.
    """

    def setUp(self) -> None:
        self.net = Net(self, 0)
        self.client = amp.AMP()
        self.server = self.net.factory.buildProtocol(None)
        self.pump = iosim.connect(
            self.server,
            iosim.FakeTransport(self.server, isServer=True),
            self.client,
            iosim.FakeTransport(self.client, isServer=False),
        )

    def call(self, command: Any, **given: Any) -> Deferred[Any]:
        asked: Deferred[Any] = Deferred()
        answer = self.client.callRemote(command, **given)
        answer.addCallbacks(asked.callback, asked.errback)
        self.pump.flush()
        return asked

    def come(self, **given: Any) -> Deferred[Any]:
        terms = Terms((1, 2), Rule(), CAST, GRACE)
        usual = {"version": 1, "cluster": "c", "nodeid": 1, "incarnation": 1}
        return self.call(Come, **{**usual, **messages.packTerms(terms), **given})

    def test_refused(self) -> None:
        """
        Terms that make no sense are refused, and nothing is kept of them.
        """
        for wrong, error in (
            ({"version": 2}, NotSupported),
            ({"cluster": ""}, InvalidParameter),
            ({"cluster": "c" * 256}, InvalidParameter),
            ({"nodeid": 9}, InvalidParameter),
            ({"nodes": ()}, InvalidParameter),
            ({"nodes": tuple(range(2000))}, InvalidParameter),
            ({"algorithm": "best"}, InvalidParameter),
            ({"tieBreaker": "-1"}, InvalidParameter),
            ({"cast": 0}, InvalidParameter),
        ):
            self.failureResultOf(self.come(**wrong), error)
        self.successResultOf(self.come())
        self.failureResultOf(self.come(), InvalidParameter)

    def test_whoDidNotCome(self) -> None:
        """
        Only a node that came is answered; and not on a connection that counts
        no more.
        """
        wish = messages.packWish(Wish(RingId(4, 1), (1, 2)))
        self.failureResultOf(self.call(Ask, **wish), AccessDenied)
        self.successResultOf(self.come())
        self.successResultOf(self.call(Ask, **wish))
        terms = Terms((1, 2), Rule(), CAST, GRACE)
        self.net.arbiter.came("c", 1, 1, object(), terms)
        self.failureResultOf(self.call(Ask, **wish), AccessDenied)

    def test_notAMember(self) -> None:
        """
        A node speaks of rings that it is on.
        """
        self.successResultOf(self.come())
        wish = messages.packWish(Wish(RingId(4, 1), (2,)))
        self.failureResultOf(self.call(Ask, **wish), InvalidParameter)

    def test_unknownHeuristics(self) -> None:
        """
        Heuristics that a later version knows say nothing here.
        """
        self.successResultOf(self.come())
        wish = messages.packWish(Wish(RingId(4, 1), (1, 2)))
        answer = self.successResultOf(self.call(Ask, **{**wish, "heuristics": 7}))
        self.assertEqual(answer, {"vote": "wait"})

    def test_show(self) -> None:
        """
        The state comes in parts.
        """
        answer = self.successResultOf(self.call(Show))
        self.assertFalse(answer["more"])
        self.assertEqual(json.loads(answer["json"])["clusters"], {})
        self.failureResultOf(self.call(Show, part=1), NotExist)

    def test_manyClusters(self) -> None:
        """
        So many clusters have room; one that is gone makes room for another.
        """
        terms = Terms((1, 2), Rule(), CAST, GRACE)
        arbiter = self.net.arbiter
        for number in range(256):
            arbiter.came(f"c{number}", 1, 1, number, terms)
        full = InvalidParameter
        self.assertRaises(full, arbiter.came, "more", 1, 1, 300, terms)
        arbiter._clusters["c7"].went(1, 7)
        arbiter.came("more", 1, 1, 300, terms)
        self.assertNotIn("c7", arbiter._clusters)

    def test_endlessQuestion(self) -> None:
        """
        A question without an end ends the connection before it fills the
        memory; any number of short ones does not.
        """
        for _ in range(300):
            self.successResultOf(self.call(Show))
        transport: Any = self.client.transport
        for number in range(300):
            transport.write(b"\0\x04%04d\x03\xe8" % number + bytes(1000))
            self.pump.flush()
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.net.arbiter.connections, 0)

    @given(st.binary(max_size=200))
    def test_anyBytes(self, data: bytes) -> None:
        """
        Whatever comes ends the connection at worst.
        """
        net = Net(self, 0)
        server = net.factory.buildProtocol(None)
        client = amp.AMP()
        pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True),
            client,
            iosim.FakeTransport(client, isServer=False),
        )
        transport: Any = client.transport
        transport.write(data)
        pump.flush()
        self.flushLoggedErrors()
        self.assertEqual(net.arbiter.status()["clusters"], {})

    @given(
        st.integers(0, 9),
        st.lists(st.integers(0, 5), max_size=4).map(tuple),
        st.booleans(),
        st.integers(-3, 3),
    )
    def test_anyQuestion(
        self, sequence: int, members: tuple[int, ...], casting: bool, health: int
    ) -> None:
        """
        Every question is answered, or refused as a fault of who asks.
        """
        terms = Terms((1, 2), Rule(), CAST, GRACE)
        arbitration = Arbitration(terms, 0.0, MOST)
        arbitration.came(1, 1, self, terms)
        wish = messages.wish(sequence, 1, members, casting, health)
        try:
            vote = arbitration.asked(1, wish, 1.0)
        except ServiceError:
            return
        self.assertIn(1, wish.members)
        self.assertIs(vote is Vote.YES, casting)
