"""
Tests of a node's farewell.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import compact
from corotwist.engines.cfg import OperatorEngine
from corotwist.engines.compact import Header, Kind
from corotwist.engines.executive import SERVICES_GROUP, Shutdown, address, whole
from corotwist.engines.interfaces import Cause, NodeChange
from corotwist.engines.parting import FAREWELL_TOKENS, LONGEST_FAREWELL, Farewell
from corotwist.test.engines.orderednet import SHIPPED, Maker, Node, formed
from corotwist.totem.membership import RingId


def left(node: Node) -> tuple[NodeChange, ...]:
    """
    Who was not in the last view any more.
    """
    return node.manager.views.current.left


class FarewellTests(SynchronousTestCase):
    """
    On the wire.
    """

    def test_layout(self) -> None:
        """
        The common header and the reason, cut off at a bound; whatever is not
        text is left out.
        """
        body = Farewell(RingId(0x0102, 7), "why").encode()
        self.assertEqual(body.hex(), "06010000070000000201000000000000776879")
        header = Header.decode(body)
        self.assertEqual(header.kind, Kind.FAREWELL)
        self.assertEqual(
            Farewell.decode(header, body), Farewell(RingId(0x0102, 7), "why")
        )
        long = Farewell(RingId(1, 1), "x" * 2 * LONGEST_FAREWELL).encode()
        self.assertEqual(len(long), compact.HEADER_BYTES + LONGEST_FAREWELL)
        self.assertEqual(Farewell.decode(header, body + b"\xff").reason, "why")


class PartingTests(SynchronousTestCase):
    """
    In the service manager.
    """

    def setUp(self) -> None:
        self.net = formed(1, 2, 3)
        self.three = self.net.nodes[3]

    def gone(self) -> None:
        """
        Node 3 leaves the ring.
        """
        self.net.kill(3)
        self.net.form(1, 2)
        self.net.run()

    def test_farewell(self) -> None:
        """
        Who stops is waited for until everybody has heard why; then the others
        know, all the same, that it is not lost.  (D23)
        """
        said = self.three.manager.parting.say("no power")
        self.assertNoResult(said)
        self.net.run()
        self.successResultOf(said)
        self.gone()
        for nodeid in (1, 2):
            change = NodeChange(3, Cause.STOPPED, "no power")
            self.assertEqual(left(self.net.nodes[nodeid]), (change,))

    def test_turn(self) -> None:
        """
        The node stops behind the delivery of its farewell, not in the middle of
        it; and who does not want to wait does not.
        """
        said = self.three.manager.parting.say("no power")
        self.net.visit(3)
        self.net.receive(3, 99)
        self.assertNoResult(said)
        self.net.clock.advance(0)
        self.successResultOf(said)
        hurried = self.net.nodes[1].manager.parting.say("")
        hurried.cancel()
        self.successResultOf(hurried)
        self.net.run()

    def test_lost(self) -> None:
        """
        Who says nothing is lost.
        """
        self.gone()
        self.assertEqual(left(self.net.nodes[1]), (NodeChange(3, Cause.LOST),))

    def test_safe(self) -> None:
        """
        It is delivered safe: when it has come back, nobody can miss it.
        """
        self.three.manager.parting.say("")
        ring = self.three.totem.ring
        assert ring is not None
        before = len(ring.order)
        self.net.visit(3)
        self.assertIn(before, ring.safe)

    def test_noRoom(self) -> None:
        """
        Without room it waits for the token.
        """
        self.three.totem.capacity = 0
        said = self.three.manager.parting.say("")
        self.net.run()
        self.assertNoResult(said)
        self.three.totem.capacity = 1000
        self.net.visit(3)
        self.net.run()
        self.successResultOf(said)

    def test_again(self) -> None:
        """
        Who is still there on the next ring says it there, too.
        """
        self.three.manager.parting.say("slow")
        self.net.run()
        self.net.boot(4)
        self.net.form(1, 2, 3, 4)
        self.net.run()
        self.net.kill(3)
        self.net.form(1, 2, 4)
        self.net.run()
        for nodeid in (1, 2, 4):
            change = NodeChange(3, Cause.STOPPED, "slow")
            self.assertEqual(left(self.net.nodes[nodeid]), (change,))

    def test_silence(self) -> None:
        """
        Nobody waits for ever for one who does not hear itself.
        """
        said = self.three.manager.parting.say("")
        token = self.three.manager.settings.totem.timing.token
        self.net.clock.advance(FAREWELL_TOKENS * token)
        self.successResultOf(said)
        self.net.run()

    def test_noRing(self) -> None:
        """
        Who is on no ring says nothing; a second time nothing is said either.
        """
        (lone,) = self.net.boot(5)
        self.successResultOf(lone.manager.parting.say(""))
        self.three.manager.parting.say("")
        self.successResultOf(self.three.manager.parting.say(""))

    def test_realNode(self) -> None:
        """
        A real corosync node says it in the shutdown message of its cfg service.
        (D23)
        """
        net = formed(1, 2, makers=[*SHIPPED, Maker("cfg", OperatorEngine)])
        net.nodes[2].totem.multicast(address(SERVICES_GROUP, whole(Shutdown())))
        net.run()
        net.kill(2)
        net.form(1)
        net.run()
        self.assertEqual(left(net.nodes[1]), (NodeChange(2, Cause.STOPPED),))
