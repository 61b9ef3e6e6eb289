"""
Tests of one promise: what an engine hears, every engine and every node hears in
the same order.
"""

from itertools import product
from struct import pack, unpack
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from corotwist.engines.clashes import MOST_NAMES, ServiceNames
from corotwist.engines.compact import HEADER_BYTES, Header
from corotwist.engines.executive import SERVICES_GROUP, address, header
from corotwist.engines.sync import Phase
from corotwist.errors import TryAgain, WireError
from corotwist.interfaces import IConverting
from corotwist.test.engines.orderednet import OrderedNet, Ring
from corotwist.test.engines.probes import Probe, ProbeNet, makers, probed
from corotwist.totem.membership import RingId

NODES = (1, 2, 3)
ENGINES = (1, 2)

Story = list[tuple[str, int, int]]


def happens(net: ProbeNet, deed: str, which: int, much: int, number: int) -> None:
    """
    A step of a story.
    """
    if deed == "visit":
        net.visit(which, much)
    elif deed == "receive":
        net.receive(which, much)
    elif deed == "send":
        engine = net.probes[which, ENGINES[much % len(ENGINES)]]
        if not engine.cluster.synchronizing():
            engine.cluster.multicast(number % 7, pack("<I", number))
    else:
        one = [n for n in NODES if which >> n - 1 & 1]
        other = [n for n in NODES if n not in one and much >> n - 1 & 1]
        for members in (one, other):
            if members:
                net.form(*members)


class SequenceTests(SynchronousTestCase):
    """
    Messages and configurations.
    """

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("visit"), st.integers(1, 3), st.integers(1, 3)),
                st.tuples(st.just("receive"), st.integers(1, 3), st.integers(1, 9)),
                st.tuples(st.just("send"), st.integers(1, 3), st.integers(0, 1)),
                st.tuples(st.just("form"), st.integers(1, 7), st.integers(0, 7)),
            ),
            max_size=50,
        )
    )
    def test_configurationsAmongMessages(self, story: Story) -> None:
        """
        Whatever happens, every engine of a node hears of a configuration
        between the same two messages; and nodes that go from one ring to the
        next together have heard the same, in one order. (A74)
        """
        net = probed(*NODES, serviceIds=ENGINES)
        net.form(*NODES)
        net.run()
        for number, step in enumerate(story):
            happens(net, *step, number)
        net.form(*NODES)
        net.run()
        for nodeid in NODES:
            self._checkEngines(net.calls[nodeid])
        spans = [self._spans(net, nodeid) for nodeid in NODES]
        for one, other in product(spans, spans):
            for span in one.keys() & other.keys():
                self.assertEqual(one[span], other[span], span)

    def _checkEngines(self, calls: list[Any]) -> None:
        """
        All messages of one node have one order, and each configuration is told
        to all engines one after the other.
        """
        told = [call for call in calls if call[1] in ("message", "configuration")]
        while told:
            call = told.pop(0)
            if call[1] == "configuration":
                self.assertEqual(call[0], ENGINES[0])
                self.assertEqual(told.pop(0), (ENGINES[1], *call[1:]))

    def _spans(self, net: ProbeNet, nodeid: int) -> dict[Any, list[Any]]:
        """
        What was delivered between two configurations, by these two: for those
        who went through both together that is the same.
        """
        configurations = iter(net.nodes[nodeid].configurations)
        spans: dict[Any, list[Any]] = {}
        last: Any = None
        span: list[Any] = []
        for number, name, *details in net.calls[nodeid]:
            if name == "message":
                span.append((number, *details))
            elif name == "configuration" and number == ENGINES[0]:
                here = next(configurations)
                if last is not None and nodeid in last.members:
                    key = (last.ringId, last.members, here.ringId, here.members)
                    spans[key] = span
                last, span = here, []
        return spans


class ServicesTests(SynchronousTestCase):
    """
    Nodes that do not have the same services.
    """

    def test_changeAtEveryMessage(self) -> None:
        """
        Wherever in their round the ring changes, nodes with different services
        agree on the common list anew, and complete. (A80, A82)
        """
        for visits in range(40):
            net = ProbeNet()
            net.start(1, 1, 4, 9)
            net.start(2, 4, 7)
            net.start(3, 1, 7)
            net.form(1, 2, 3)
            for number in range(visits):
                net.visit(1 + number % 3, 1)
                for nodeid in NODES:
                    net.receive(nodeid, 1)
            net.kill(3)
            net.form(1, 2)
            net.run()
            for nodeid in (1, 2):
                synchronization = net.nodes[nodeid].manager.synchronization
                self.assertEqual(synchronization.phase, Phase.DONE)
                self.assertEqual(synchronization._plan, [1, 4, 7, 9])
                ends = [c for c in net.names(nodeid) if c[1] == "completed"]
                own = [1, 4, 9] if nodeid == 1 else [4, 7]
                self.assertEqual([n for n, _ in ends][-len(own) :], own)

    def test_activatedTogether(self) -> None:
        """
        Nobody uses what a round brought before every member has sent all of
        its part. (A81)
        """
        net = probed(*NODES, serviceIds=(1,))
        for nodeid in NODES:
            net.probes[nodeid, 1].rounds = nodeid
        net.form(*NODES)
        while net.phase(1) is not Phase.DONE:
            net.rotate(1)
            sent = [net.probes[n, 1].again > n for n in NODES]
            completed = [(1, "completed") in net.names(n) for n in NODES]
            self.assertTrue(all(sent) or not any(completed))
        self.assertEqual(completed, [True] * 3)


@implementer(IConverting)
class Converting(Probe):
    """
    An engine that wants everything in little endian.
    """

    def littleEndian(self, function: int, body: bytes) -> bytes:
        return pack("<H", *unpack(">H", body))


class ByteOrderTests(SynchronousTestCase):
    """
    Messages of big-endian nodes.
    """

    def _deliver(self, probe: Probe) -> Any:
        net = OrderedNet(makers(probe))
        (node,) = net.boot(1)
        net.form(1)
        net.run()
        body = header(1, 3, pack(">H", 0x1234), ">")
        group = pack(">HH", 1, len(SERVICES_GROUP)) + SERVICES_GROUP
        node.manager.messageDelivered(1, group + body, ">")
        node.manager.messageDelivered(
            1, address(SERVICES_GROUP, header(1, 3, pack("<H", 0x1234))), "<"
        )
        return [call for call in probe.calls if call[1] == "message"]

    def test_converted(self) -> None:
        """
        An engine that converts gets each message as a little-endian node would
        have sent it. (A68)
        """
        messages = self._deliver(Converting(1, [], "converting"))
        self.assertEqual(messages, [(1, "message", 1, 3, b"\x34\x12")] * 2)

    def test_asItIs(self) -> None:
        """
        Others get it as it is, and are told the byte order. (A68)
        """
        first, second = self._deliver(Probe(1, [], "probe"))
        self.assertEqual((first[-1], second[-1]), (b"\x12\x34", b"\x34\x12"))


class RoomTests(SynchronousTestCase):
    """
    A stage that does not fit into the queue at once.
    """

    def test_goesOn(self) -> None:
        """
        A stage that sends more than there is room for goes on at the next
        visits, in its order, and nothing is sent twice. (A78)
        """
        net = probed(1, 2, serviceIds=(1,))
        left = [pack("<I", number) for number in range(40)]

        def synchronize(probe: Probe) -> bool:
            while left and probe.cluster.nodeid == 1:
                try:
                    probe.cluster.multicast(1, left[0])
                except TryAgain:
                    return False
                left.pop(0)
            return True

        self.patch(Probe, "synchronize", synchronize)
        net.nodes[1].totem.capacity = 700
        ring: Ring = net.form(1, 2)
        net.run()
        self.assertEqual(net.phase(2), Phase.DONE)
        bodies = [call[-1] for call in net.calls[2] if call[1] == "message"]
        self.assertEqual(bodies, [pack("<I", number) for number in range(40)])
        self.assertGreater(net.nodes[1].totem.refused, 0)
        self.assertGreater(len(ring.order), 40)


class ClashTests(SynchronousTestCase):
    """
    Nodes that mean different services by one number.
    """

    def _net(self, *, name: str, number: int) -> ProbeNet:
        net = ProbeNet(2)
        net.start(1, 2, 7)
        net.start(2, 2)
        stranger = Probe(number, net.calls[2], name)
        net.makers = makers(net.probes[2, 2], stranger)
        net.boot(2)
        net.form(1, 2)
        net.run()
        return net

    def _clashes(self, net: ProbeNet, nodeid: int) -> Any:
        return net.nodes[nodeid].manager.dump()["clashes"]

    def test_number(self) -> None:
        """
        Two services under one number are told on both nodes, until the ring is
        another one. (A59)
        """
        net = self._net(name="other", number=7)
        self.assertEqual(
            self._clashes(net, 1), ["service 7 is probe7 here and other on node 2"]
        )
        self.assertEqual(
            self._clashes(net, 2), ["service 7 is other here and probe7 on node 1"]
        )
        net.form(1)
        net.run()
        self.assertEqual(self._clashes(net, 1), [])

    def test_name(self) -> None:
        """
        So is one name with two numbers. (A59)
        """
        net = self._net(name="probe7", number=8)
        self.assertEqual(
            self._clashes(net, 1), ["probe7 is service 7 here and 8 on node 2"]
        )

    def test_none(self) -> None:
        """
        A service that only some nodes have is no clash. (A59, A82)
        """
        net = self._net(name="other", number=9)
        self.assertEqual((self._clashes(net, 1), self._clashes(net, 2)), ([], []))

    def test_encoded(self) -> None:
        """
        What was encoded comes out; no prefix within a name does.
        """
        names = ServiceNames(RingId(4, 1), ((7, "seven"), (65535, "\xfcml")))
        body = names.encode()
        self.assertEqual(ServiceNames.decode(Header.decode(body), body), names)
        for end in range(HEADER_BYTES + 1, HEADER_BYTES + 8):
            part = body[:end]
            self.assertRaises(WireError, ServiceNames.decode, Header.decode(part), part)
        many = body[:HEADER_BYTES] + pack("<HB", 1, 0) * (MOST_NAMES + 1)
        self.assertRaises(WireError, ServiceNames.decode, Header.decode(many), many)
