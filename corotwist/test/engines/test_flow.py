"""
Flow-control groups: who is behind, who waits for it, and for how long.
"""

from contextlib import suppress as suppressed
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.engines import compact, flow
from corotwist.engines.compact import HEADER_BYTES, FlowStates, Header, Kind
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.executive import address
from corotwist.engines.interfaces import NO_RECEIPT, Receipt
from corotwist.errors import (
    Busy,
    ComponentFailed,
    Interrupted,
    NotJoined,
    ServiceError,
    TruncatedFrame,
)
from corotwist.interfaces import IFlowGroup
from corotwist.test.engines.newer import groups
from corotwist.test.engines.orderednet import (
    Listener,
    Node,
    OrderedNet,
    formed,
    send,
)
from corotwist.test.engines.test_changes import GROUP, ChangeCase
from corotwist.totem.membership import RingId

RED, GREEN = b"red", b"green"
RING = RingId(8, 1)
names = st.binary(max_size=255)
states = st.lists(st.tuples(names, st.booleans()), max_size=9).map(tuple)


class CodecTests(SynchronousTestCase):
    """
    L{FlowStates} on the wire.
    """

    @given(st.integers(0, 65535), states)
    def test_back(self, service: int, said: Any) -> None:
        """
        What was encoded is what is decoded.  (A51)
        """
        message = FlowStates(service, RING, said)
        body = message.encode()
        header = Header.decode(body)
        self.assertEqual(header.kind, Kind.FLOW)
        self.assertEqual(FlowStates.decode(header, body), message)

    @given(states, st.integers(1, 40))
    def test_cut(self, said: Any, missing: int) -> None:
        """
        A message that ends early says less, or is refused; it never says
        anything else.
        """
        body = FlowStates(2, RING, said).encode()
        cut = body[: max(HEADER_BYTES, len(body) - missing)]
        try:
            heard = FlowStates.decode(Header.decode(cut), cut).states
        except TruncatedFrame:
            return
        self.assertEqual(heard, said[: len(heard)])

    def test_exact(self) -> None:
        """
        The bytes are those of the documentation.
        """
        body = FlowStates(2, RingId(8, 1), ((b"ab", True), (b"", False))).encode()
        self.assertEqual(
            body.hex(), "03010200010000000800000000000000" + "010261620000"
        )


class NetTestCase(SynchronousTestCase):
    """
    A client in one group on each of three nodes.
    """

    def setUp(self) -> None:
        self.net = formed(1, 2, 3)
        self.clients = {n: self.member(n, RED) for n in (1, 2, 3)}

    def member(self, nodeid: int, *groups: bytes, pid: int = 10) -> Listener:
        client = Listener(pid)
        for group in groups:
            self.node(nodeid).cpg.join(client, group)
        self.net.run()
        return client

    def node(self, nodeid: int) -> Node:
        return self.net.nodes[nodeid]

    def send(
        self, nodeid: int, *messages: bytes, group: bytes = RED
    ) -> Deferred[Receipt]:
        return send(self.node(nodeid), self.clients[nodeid], group, *messages)

    def paused(self, group: bytes = RED) -> list[int]:
        """
        On which nodes senders wait.
        """
        text = group.decode()
        return [n for n, v in self.net.nodes.items() if text in v.cpg.dump()["paused"]]


class GroupTests(NetTestCase):
    """
    Counting, and what other nodes hear of it.
    """

    def create(self, nodeid: int, name: bytes = b"g") -> tuple[Any, list[bool]]:
        changes: list[bool] = []
        group = self.node(nodeid).cpg.cluster.flowCreate(name, changes.append)
        return group, changes

    def test_interface(self) -> None:
        """
        An engine makes one, counts receivers in and out, and destroys it.
        (A100)
        """
        group, changes = self.create(1)
        verifyObject(IFlowGroup, group)
        self.assertEqual((group.count, group.paused), (0, False))
        for _ in range(2):
            group.increment()
        self.assertEqual((group.count, group.paused, changes), (2, True, [True]))
        group.decrement()
        self.assertEqual((group.paused, changes), (True, [True]))
        group.decrement()
        self.assertEqual((group.paused, changes), (False, [True, False]))
        group.increment()
        group.destroy()
        self.assertEqual(self.node(1).manager.flow.dump()["groups"], 1)

    def test_everywhere(self) -> None:
        """
        While it counts on one node it is paused on all; two nodes hold it
        until both are through; groups of other names do not notice.  (A51)
        """
        groups = [self.create(n) for n in (1, 2, 3)]
        other, changes = self.create(2, b"other")
        groups[0][0].increment()
        self.net.run()
        self.assertEqual([g.paused for g, _ in groups], [True] * 3)
        groups[2][0].increment()
        self.net.run()
        groups[0][0].decrement()
        self.net.run()
        self.assertEqual([g.paused for g, _ in groups], [True] * 3)
        groups[2][0].decrement()
        self.net.run()
        self.assertEqual([told for _, told in groups], [[True, False]] * 3)
        self.assertEqual((other.paused, changes), (False, []))

    def test_saidOnce(self) -> None:
        """
        Receivers that come and go while nothing can be sent cost no message;
        without room the news waits for it.
        """
        group, _ = self.create(1)
        totem = self.node(1).totem
        totem.capacity = 0
        for _ in range(5):
            group.increment()
            group.decrement()
        group.increment()
        totem.capacity = 1 << 20
        said = self.node(1).manager.flow.dump()["said"]
        self.net.run()
        self.net.rotate()
        self.assertEqual(self.node(1).manager.flow.dump()["said"], said + 1)
        self.assertIn("2:g", self.node(2).manager.flow.dump()["heldElsewhere"])

    def test_destroyed(self) -> None:
        """
        A group that is destroyed with receivers behind holds nobody up.
        """
        one, (two, _) = self.create(1)[0], self.create(2)
        one.increment()
        self.net.run()
        self.assertTrue(two.paused)
        one.destroy()
        self.net.run()
        self.assertFalse(two.paused)

    def test_later(self) -> None:
        """
        A group that is made while another node holds it is paused at once.
        """
        self.create(1)[0].increment()
        self.net.run()
        late, changes = self.create(3)
        self.assertEqual((late.paused, changes), (True, []))

    def test_bounded(self) -> None:
        """
        A node that says that it holds too many groups is not heard further;
        what it says of others is.
        """
        self.patch(flow, "MOST_HELD", 3)
        control = self.node(1).manager.flow
        ringId = self.node(1).manager.configuration.ringId
        said = tuple((b"%d" % n, True) for n in range(5))
        control.statesDelivered(2, FlowStates(2, ringId, said))
        control.statesDelivered(3, FlowStates(2, ringId, said[:1]))
        dump = control.dump()
        self.assertEqual(len(dump["heldElsewhere"]), 3)
        self.assertEqual(dump["beyond"], 2)
        self.assertEqual(dump["heldElsewhere"]["2:0"], [2, 3])
        control.statesDelivered(2, FlowStates(2, ringId, ((b"0", False),)))
        control.statesDelivered(2, FlowStates(2, ringId, ((b"0", False),)))
        self.assertEqual(control.dump()["heldElsewhere"]["2:0"], [3])

    def test_manyAtOnce(self) -> None:
        """
        What does not go into one message goes into several.
        """
        count = 3 * flow.STATES_PER_MESSAGE + 1
        for number in range(count):
            self.create(1, b"%d" % number)[0].increment()
        self.net.run()
        self.net.form(1, 2, 3)
        self.net.run()
        held = self.node(2).manager.flow.dump()["heldElsewhere"]
        self.assertEqual(len(held), count)

    def test_announced(self) -> None:
        """
        Nodes tell each other that they know of flow control; where one does
        not, the others say so.
        """
        self.assertTrue(self.node(1).manager.dump()["flow"]["everywhere"])
        self.net.boot(4, foreign=True)
        self.net.form(1, 2, 3, 4)
        self.net.run()
        self.assertFalse(self.node(1).manager.dump()["flow"]["everywhere"])


class PauseTests(NetTestCase):
    """
    Process groups with a reader that is behind.
    """

    def test_sendersWait(self) -> None:
        """
        A slow reader on one node lets senders on all nodes wait: what they
        send stays pending, and comes when the reader has caught up, in order,
        once.  (A50, A51, A52, D38)
        """
        self.clients[1].fallBehind()
        self.net.run()
        self.assertEqual(self.paused(), [1, 2, 3])
        sent = [self.send(n, b"%d.%d" % (n, k)) for k in range(3) for n in (1, 2, 3)]
        self.net.run()
        for one in sent:
            self.assertNoResult(one)
        self.assertEqual(self.clients[2].messages(), [])
        self.clients[1].catchUp()
        self.net.run()
        for one in sent:
            self.successResultOf(one)
        expected = self.clients[1].messages()
        self.assertEqual(len(expected), 9)
        for n in (1, 2, 3):
            self.assertEqual(self.clients[n].messages(), expected)
            mine = [m for m in expected if m.startswith(b"%d." % n)]
            self.assertEqual(mine, [b"%d.%d" % (n, k) for k in range(3)])

    def test_told(self) -> None:
        """
        Members on all nodes are told that senders wait, and that they do not
        any more; who joins meanwhile is told after its first view.  (D12)
        """
        self.clients[1].fallBehind()
        self.net.run()
        late = self.member(2, RED, pid=20)
        self.clients[1].catchUp()
        self.net.run()
        for client in (*self.clients.values(), late):
            self.assertEqual(client.pauses, [(RED, True), (RED, False)])
        self.assertEqual(len(late.views()), 1)

    def test_othersGoOn(self) -> None:
        """
        Other groups, on the same nodes, do not wait.
        """
        green = {n: self.member(n, GREEN, pid=20) for n in (1, 2, 3)}
        self.clients[1].fallBehind()
        self.net.run()
        self.assertEqual((self.paused(), self.paused(GREEN)), ([1, 2, 3], []))
        self.send(2, b"waits")
        sent = send(self.node(2), green[2], GREEN, b"goes")
        self.net.run()
        self.successResultOf(sent)
        self.assertEqual(green[1].messages(), [b"goes"])
        self.assertEqual(self.clients[1].messages(), [])

    def test_membershipGoesOn(self) -> None:
        """
        While senders wait, processes join, leave and die, also those that
        wait; of a group that it has messages for, one leaves behind them.
        """
        self.node(2).cpg.join(self.clients[2], GREEN)
        self.net.run()
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(2, b"waits")
        self.node(2).cpg.join(self.clients[2], b"blue")
        self.node(2).cpg.leave(self.clients[2], GREEN)
        self.node(2).cpg.leave(self.clients[2], RED)
        self.node(3).cpg.leave(self.clients[3], RED)
        self.net.run()
        engine = self.node(1).cpg
        nodeids = [m.nodeid for m in engine.members(RED)]
        self.assertEqual(nodeids, [1, 2])
        self.assertEqual([m.nodeid for m in engine.members(b"blue")], [2])
        self.assertEqual(engine.members(GREEN), ())
        self.assertNoResult(waits)
        self.clients[1].catchUp()
        self.net.run()
        self.successResultOf(waits)
        self.assertEqual(self.clients[1].messages(), [b"waits"])
        self.assertEqual([m.nodeid for m in engine.members(RED)], [1])

    def test_senderDies(self) -> None:
        """
        A sender that ends while it waits is gone at once, with what it wanted
        to send.
        """
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(2, b"waits")
        self.node(2).cpg.closed(self.clients[2])
        self.net.run()
        self.failureResultOf(waits, ServiceError)
        self.assertEqual([m.nodeid for m in self.node(1).cpg.members(RED)], [1, 3])
        self.assertEqual(self.node(2).cpg.cluster.budget.used, 0)

    def test_receiverLeaves(self) -> None:
        """
        A reader that leaves the group holds nobody up.
        """
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(2, b"waits")
        self.node(1).cpg.leave(self.clients[1], RED)
        self.net.run()
        self.successResultOf(waits)
        self.assertEqual(self.paused(), [])
        self.assertEqual(self.clients[3].messages(), [b"waits"])

    def test_receiverDies(self) -> None:
        """
        Nor does one that dies, whoever else holds the group at its node.
        """
        second = self.member(1, RED, pid=20)
        for client in (self.clients[1], second):
            client.fallBehind()
        self.net.run()
        waits = self.send(2, b"waits")
        self.clients[1].catchUp()  # As its connection does at the end.
        self.node(1).cpg.closed(self.clients[1])
        self.net.run()
        self.assertNoResult(waits)
        second.catchUp()
        self.node(1).cpg.closed(second)
        self.net.run()
        self.successResultOf(waits)

    def test_nodeDies(self) -> None:
        """
        A node that is lost frees what it held.
        """
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(2, b"waits")
        self.net.kill(1)
        self.net.form(2, 3)
        self.net.run()
        self.successResultOf(waits)
        self.assertEqual(self.paused(), [])
        self.assertEqual(self.clients[3].messages(), [b"waits"])
        self.assertEqual(self.clients[3].pauses, [(RED, True), (RED, False)])

    def test_partition(self) -> None:
        """
        A ring that breaks in two frees the part without the slow reader; when
        they merge, all wait for it again, before anything is sent.
        """
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(2, b"waits")
        self.net.form(1)
        self.net.form(2, 3)
        self.net.run()
        self.successResultOf(waits)
        self.assertEqual(self.paused(), [1])
        again = self.send(3, b"again")
        self.net.form(1, 2, 3)
        self.net.run()
        self.successResultOf(again)
        waits = self.send(2, b"after")
        self.net.run()
        self.assertNoResult(waits)
        self.assertEqual(self.paused(), [1, 2, 3])
        self.clients[1].catchUp()
        self.net.run()
        self.successResultOf(waits)

    def test_caughtUpMeanwhile(self) -> None:
        """
        A reader that catches up in the middle of a round holds nobody up
        after it, whatever was said before.
        """
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(2, b"waits")
        self.net.form(1, 2, 3)
        self.net.visit(1)
        self.clients[1].catchUp()
        self.net.run()
        self.successResultOf(waits)
        self.assertEqual(self.paused(), [])

    def test_cancelled(self) -> None:
        """
        Who lost interest while waiting sends nothing, and is in nobody's way.
        """
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(2, b"never")
        waits.cancel()
        self.failureResultOf(waits)
        behind = self.send(2, b"then")
        self.clients[1].catchUp()
        self.net.run()
        self.successResultOf(behind)
        self.assertEqual(self.clients[1].messages(), [b"then"])

    def test_begunIsFinished(self) -> None:
        """
        A message in pieces that has begun goes on: half of it on every node is
        no help to anybody.
        """
        for node in self.net.nodes.values():
            node.totem.ordinary = 1_200_000
        large = self.send(2, bytes(3 << 20))
        self.net.rotate(1)
        self.clients[1].fallBehind()
        self.net.run()
        self.successResultOf(large)
        self.assertEqual(list(map(len, self.clients[1].messages())), [3 << 20])
        after = self.send(2, b"after")
        self.net.run()
        self.assertNoResult(after)

    def test_othersOfTheNode(self) -> None:
        """
        While it is not known that a real corosync node cannot be asked to wait,
        ours wait; what the other sends goes on.
        """
        net = OrderedNet()
        net.boot(1, 2)
        (foreign,) = net.boot(3, foreign=True)
        net.form(1, 2, 3)
        net.run()
        clients = {n: Listener(10) for n in (1, 2, 3)}
        for n, client in clients.items():
            net.nodes[n].cpg.join(client, RED)
            net.run()
        clients[1].fallBehind()
        net.run()
        ours = send(net.nodes[2], clients[2], RED, b"ours")
        theirs = send(foreign, clients[3], RED, b"theirs")
        net.run()
        self.assertNoResult(ours)
        self.successResultOf(theirs)
        self.assertEqual(clients[1].messages(), [b"theirs"])
        clients[1].catchUp()
        net.run()
        self.assertEqual(clients[1].messages(), [b"theirs", b"ours"])

    def test_anotherRing(self) -> None:
        """
        What was said on another ring counts for nothing.
        """
        said = FlowStates(2, RingId(4000, 1), ((RED, True),)).encode()
        node = self.node(1)
        message = address(compact.GROUP, said)
        node.totem.call(node.manager.messageDelivered, 2, message, "<")
        self.assertEqual(self.paused(), [])

    def test_budget(self) -> None:
        """
        What waits of all clients of a node together is bounded: beyond it one
        is told to try again, and nothing of what was accepted is lost.  (A109)
        """
        self.clients[1].fallBehind()
        self.net.run()
        budget = self.node(2).cpg.cluster.budget
        budget.limit = 1000
        first = self.send(2, bytes(500))
        refused = self.send(2, bytes(500))
        self.failureResultOf(refused, ServiceError)
        self.assertEqual(budget.refused, 1)
        self.clients[1].catchUp()
        self.net.run()
        self.successResultOf(first)
        self.assertEqual(budget.used, 0)
        self.successResultOf(self.send(2, bytes(500)))


class WanderTests(SynchronousTestCase):
    """
    Readers that fall behind and catch up at any time, while rings break.
    """

    def wander(self, seed: int) -> None:
        random = Random(seed)
        net = formed(1, 2, 3)
        clients: dict[int, list[Listener]] = {1: [], 2: [], 3: []}
        sent: list[tuple[int, Listener, bytes, bytes, Deferred[Receipt]]] = []

        def connect(nodeid: int) -> None:
            if len(clients[nodeid]) < 3:
                client = Listener(10 + random.randrange(1000))
                for group in random.sample((RED, GREEN), random.choice((1, 2))):
                    with suppressed(ServiceError):
                        net.nodes[nodeid].cpg.join(client, group)
                clients[nodeid].append(client)

        def close(nodeid: int, client: Listener) -> None:
            clients[nodeid].remove(client)
            if client.behind:
                client.catchUp()
            net.nodes[nodeid].cpg.closed(client)

        for nodeid in (1, 2, 3):
            connect(nodeid)
        net.run()
        for _ in range(120):
            nodeid = random.choice((1, 2, 3))
            mine = clients[nodeid]
            client = random.choice(mine) if mine else None
            what = random.random()
            if what < 0.1 or client is None:
                connect(nodeid)
            elif what < 0.15:
                close(nodeid, client)
            elif what < 0.3:
                (client.catchUp if client.behind else client.fallBehind)()
            elif what < 0.75:
                group = random.choice((RED, GREEN))
                message = b"%d" % len(sent)
                result = send(net.nodes[nodeid], client, group, message)
                sent.append((nodeid, client, group, message, result))
            elif what < 0.8:
                parts = random.choice(([(1, 2, 3)], [(1,), (2, 3)], [(1, 2), (3,)]))
                for part in parts:
                    net.form(*part)
            elif what < 0.9:
                net.rotate(random.randrange(1, 5))
            else:
                net.run()
        net.form(1, 2, 3)
        for client in [c for some in clients.values() for c in some if c.behind]:
            client.catchUp()
        net.run()
        self.judge(net, clients, sent)

    def judge(
        self,
        net: OrderedNet,
        clients: dict[int, list[Listener]],
        sent: list[tuple[int, Listener, bytes, bytes, Deferred[Receipt]]],
    ) -> None:
        for nodeid, node in net.nodes.items():
            dump = node.manager.flow.dump()
            self.assertEqual((dump["heldHere"], dump["heldElsewhere"]), ({}, {}))
            engine = node.cpg.dump()
            self.assertEqual((engine["paused"], engine["parked"]), ([], 0), nodeid)
            self.assertEqual(node.cpg.cluster.budget.used, 0)
        for nodeid, client, _, message, result in sent:
            outcomes: list[Any] = []
            result.addBoth(outcomes.append)
            (outcome,) = outcomes  # Nothing is pending for ever.
            if outcome is NO_RECEIPT and client in clients[nodeid]:
                self.assertEqual(client.messages().count(message), 1)
            elif outcome is not NO_RECEIPT:
                self.assertTrue(
                    outcome.check(NotJoined, Interrupted, Busy, ServiceError)
                )
        for client in [c for some in clients.values() for c in some]:
            for group in (RED, GREEN):
                told = [paused for name, paused in client.pauses if name == group]
                self.assertEqual(told, [n % 2 == 0 for n in range(len(told))])
                self.assertFalse(told and told[-1])

    def test_wander(self) -> None:
        """
        Whatever happens: once everybody has caught up nothing waits, nothing
        is held, and every message that was accepted was delivered, once.
        (A51, A52)
        """
        for seed in range(40):
            self.wander(seed)


class ReplacedTests(ChangeCase):
    """
    Another version of the process groups, in the middle of a pause.
    """

    def test_replaced(self) -> None:
        """
        Who waits goes on waiting, and who is behind holds up as before; when it
        has caught up nothing is missing.  (A51)
        """
        self.clients[1].fallBehind()
        self.net.run()
        waits = self.send(1, b"waits")
        others = self.send(2, b"waits too")
        self.net.run()
        self.replaced(2)
        self.net.run()
        self.assertNoResult(waits)
        self.assertEqual(self.node.cpg.dump()["paused"], [GROUP.decode()])
        self.clients[1].catchUp()
        self.net.run()
        self.successResultOf(waits)
        self.successResultOf(others)
        for client in self.clients.values():
            self.assertEqual(sorted(client.messages()), [b"waits", b"waits too"])
            self.assertEqual(client.pauses, [(GROUP, True), (GROUP, False)])
        self.clients[2].fallBehind()
        self.net.run()
        late = self.send(1, b"late")
        self.replaced(1)
        self.net.run()
        self.assertNoResult(late)
        self.clients[2].catchUp()
        self.net.run()
        self.successResultOf(late)

    def test_newOneFails(self) -> None:
        """
        A version that makes the groups when it initializes itself, and then
        fails, leaves the one that serves all it had: that hears who waits, and
        goes on.  (A11, A51)
        """

        class Early(GroupsEngine):
            version = 5

            def initialize(self, cluster: Any, settings: Any) -> None:
                super().initialize(cluster, settings)
                cluster.flowCreate(GROUP, lambda paused: None)
                cluster.flowCreate(b"of its own", lambda paused: None)
                raise OSError(98, "address in use")

        self.offers(groups(5, Early))
        before = self.node.manager.flow.dump()["groups"]
        self.failureResultOf(self.change("replace", "cpg", 5), ComponentFailed)
        self.flushLoggedErrors(OSError)
        self.assertEqual(self.node.manager.flow.dump()["groups"], before)
        self.clients[2].fallBehind()
        self.net.run()
        waits = self.send(1, b"waits")
        self.net.run()
        self.assertNoResult(waits)
        self.clients[2].catchUp()
        self.net.run()
        self.successResultOf(waits)
