"""
Tests of process groups: the state table of a client, views, both forms of
messages, pieces, turns, and what a changing ring does to all of them.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.engines import (
    batch,
    groupslocal,
    groupsrequests,
    groupssending,
    groupssync,
    outgoing,
)
from corotwist.engines.compact import CompactMcast, Piece, engineHeader
from corotwist.engines.executive import (
    CPG,
    SERVICES_GROUP,
    JoinList,
    Mcast,
    Part,
    PartialMcast,
    ProcJoin,
    ProcLeave,
    address,
    addressed,
    decode,
    whole,
)
from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    NO_RECEIPT,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    Member,
    Reason,
    Receipt,
)
from corotwist.engines.place import Duty
from corotwist.errors import (
    BadHandle,
    Busy,
    Exists,
    Interrupted,
    InvalidParameter,
    NameTooLong,
    NotJoined,
    NotSupported,
    TooBig,
    TryAgain,
)
from corotwist.test.engines.orderednet import (
    OURS,
    Listener,
    Node,
    formed,
    send,
)
from corotwist.totem.membership import Guarantee

G = b"group"


def shown(view: GroupView) -> tuple[list[int], list[tuple[int, str]]]:
    """
    A view in short: nodeids of its members, and who changed why.
    """
    changes = [
        (sign * change.member.nodeid, change.reason.name)
        for sign, side in ((-1, view.left), (1, view.joined))
        for change in side
    ]
    return [member.nodeid for member in view.members], changes


class NetCase(SynchronousTestCase):
    """
    Three nodes, one client each in group G, all calm.
    """

    nodeids: tuple[int, ...] = (1, 2, 3)

    def setUp(self) -> None:
        self.net = formed(*self.nodeids)
        self.clients = {n: self.joined(n, 100 + n) for n in self.nodeids}
        for client in self.clients.values():
            client.events.clear()

    def node(self, nodeid: int) -> Node:
        return self.net.nodes[nodeid]

    def joined(self, nodeid: int, pid: int, group: bytes = G) -> Listener:
        client = Listener(pid)
        self.node(nodeid).cpg.join(client, group)
        self.net.run()
        return client

    def send(self, nodeid: int, *messages: bytes) -> Deferred[Receipt]:
        return send(self.node(nodeid), self.clients[nodeid], G, *messages)

    def restart(self, nodeid: int, **settings: Any) -> None:
        self.net.kill(nodeid)
        self.net.boot(nodeid, **settings)


class StateTests(NetCase):
    """
    C0: what a client may ask, in every state.
    """

    nodeids = (1,)

    def setUp(self) -> None:
        super().setUp()
        self.groups = self.node(1).cpg
        self.client = Listener(7)

    def _checkRefused(
        self, join: Any = None, leave: Any = None, sending: Any = None
    ) -> None:
        """
        @param join: and the others: the error, L{None} when it is not tried.
        """
        if join is not None:
            self.assertRaises(join, self.groups.join, self.client, G)
        if leave is not None:
            self.assertRaises(leave, self.groups.leave, self.client, G)
        if sending is not None:
            self.failureResultOf(send(self.node(1), self.client, G, b"x"), sending)

    def test_interfaces(self) -> None:
        """
        The engine serves process groups; the listener is a subscriber.
        """
        verifyObject(IProcessGroups, self.groups)
        verifyObject(IGroupSubscriber, self.client)

    def test_outside(self) -> None:
        """
        Who is in no group can neither leave nor send.
        """
        self._checkRefused(leave=NotJoined, sending=NotJoined)

    def test_joining(self) -> None:
        """
        D9: between asking and the first view, joining again, leaving and
        sending are errors, not lost messages.
        """
        self.groups.join(self.client, G)
        self._checkRefused(Exists, Busy, NotJoined)
        self.assertEqual(self.client.events, [])

    def test_joined(self) -> None:
        """
        I8: the first event is the view with ourselves in it.
        """
        self.groups.join(self.client, G)
        self.net.run()
        self._checkRefused(join=Exists)
        (view,) = self.client.views()
        self.assertEqual(view.members, (Member(1, 7), Member(1, 101)))
        self.assertEqual([change.reason for change in view.joined], [Reason.JOIN])
        accepted = send(self.node(1), self.client, G, b"x")
        self.assertIs(self.successResultOf(accepted), NO_RECEIPT)

    def test_leaving(self) -> None:
        """
        C8: messages go on until the view without us; then nothing.
        """
        self.groups.join(self.client, G)
        self.net.run()
        self.send(1, b"before")
        self.groups.leave(self.client, G)
        self._checkRefused(Busy, NotJoined, NotJoined)
        self.send(1, b"after")
        self.net.run()
        last = self.client.events[-1][1]
        self.assertEqual(shown(last), ([1], [(-1, "LEAVE")]))
        self.assertEqual(self.client.messages(), [b"before"])

    def test_again(self) -> None:
        """
        I11: after the leave is through, the same connection may join the
        same group, and another one.
        """
        for group in (G, b"other", G):
            self.groups.join(self.client, group)
            self.net.run()
            self.groups.leave(self.client, group)
            self.net.run()
        self.assertEqual(len(self.client.views()), 6)

    def test_severalGroups(self) -> None:
        """
        D7: one connection may be in many groups, with any names.
        """
        names = [b"", b"\0", b"x" * 128, *[b"%d" % n for n in range(200)]]
        for name in names:
            self.groups.join(self.client, name)
        self.net.run()
        self.assertEqual(len(self.client.views()), len(names))
        self.assertEqual(set(self.groups.groups()), {G, *names})
        self.assertEqual(self.groups.members(b"7"), (Member(1, 7),))
        self.assertEqual(self.groups.members(b"nobody's"), ())

    def test_longName(self) -> None:
        """
        A name of 129 bytes is refused.
        """
        self.assertRaises(NameTooLong, self.groups.join, self.client, b"x" * 129)

    def test_twoConnections(self) -> None:
        """
        D17: a process is in a group once, through one of its connections.
        """
        self.groups.join(self.client, G)
        other = Listener(7)
        self.assertRaises(Exists, self.groups.join, other, G)
        self.net.run()
        self.assertRaises(Exists, self.groups.join, other, G)
        self.assertRaises(NotJoined, self.groups.leave, other, G)
        self.groups.join(other, b"another group")

    def test_wayOut(self) -> None:
        """
        I10: another connection of the process may join when the departure of
        the first is through, a leave or an end.
        """
        self.groups.join(self.client, G)
        self.net.run()
        self.groups.leave(self.client, G)
        second = Listener(7)
        self.assertRaises(Busy, self.groups.join, second, G)
        self.net.run()
        self.groups.join(second, G)
        self.net.run()
        self.groups.closed(second)
        third = Listener(7)
        self.assertRaises(Busy, self.groups.join, third, G)
        self.net.run()
        self.groups.join(third, G)
        self.net.run()
        self.assertEqual(len(third.views()), 1)

    def test_badBatches(self) -> None:
        """
        A batch that is not what it says, a strange guarantee, and a message
        over the limit are refused, and nothing is sent.
        """
        client, groups = self.clients[1], self.groups
        good = batch.pack([b"abc", b""])
        for data, count in ((good, 1), (good, 3), (good[:-1], 2), (b"", 0), (b"x", 1)):
            deferred = groups.send(client, G, data, count, Guarantee.AGREED)
            self.failureResultOf(deferred, InvalidParameter)
        strange: Any = 4
        self.failureResultOf(groups.send(client, G, good, 2, strange), InvalidParameter)
        large = batch.pack([bytes(LARGEST_MESSAGE_BYTES + 1)])
        self.failureResultOf(groups.send(client, G, large, 1, Guarantee.SAFE), TooBig)
        self.net.run()
        self.assertEqual(client.events, [])

    def test_emptyMessage(self) -> None:
        """
        D18: a message without bytes is a message.
        """
        self.send(1, b"", b"x", b"")
        self.net.run()
        self.assertEqual(self.clients[1].messages(), [b"", b"x", b""])


class ViewTests(NetCase):
    """
    Views, and their place in the order.
    """

    def test_oneOrder(self) -> None:
        """
        C2: messages, joins and leaves of all nodes come in one order.
        """
        self.node(1).cpg.join(Listener(50), G)
        self.send(2, b"two")
        self.node(3).cpg.leave(self.clients[3], G)
        self.send(1, b"one")
        self.net.run()
        first, second = self.clients[1].events, self.clients[2].events
        self.assertEqual(first, second)
        self.assertEqual(len(first), 4)

    def test_crash(self) -> None:
        """
        I7: a client that goes without leaving is gone with PROCDOWN.
        """
        self.node(2).cpg.closed(self.clients[2])
        self.net.run()
        (view,) = self.clients[1].views()
        self.assertEqual(shown(view), ([1, 3], [(-2, "PROCDOWN")]))
        self.assertEqual(self.clients[2].events, [])

    def test_leaveThenClose(self) -> None:
        """
        I6: a leave followed by a close is one departure, a leave.
        """
        self.node(2).cpg.leave(self.clients[2], G)
        self.node(2).cpg.closed(self.clients[2])
        self.node(2).cpg.closed(self.clients[2])
        self.net.run()
        (view,) = self.clients[1].views()
        self.assertEqual(shown(view), ([1, 3], [(-2, "LEAVE")]))

    def test_closedWhileJoining(self) -> None:
        """
        A client that goes before its join came back was there for a moment;
        one whose join had not even left was never there.
        """
        early, late = Listener(1), Listener(2)
        self.node(1).cpg.join(early, G)
        self.node(1).cpg.closed(early)
        self.net.form(1, 2, 3)
        self.node(1).cpg.join(late, G)
        self.node(1).cpg.closed(late)
        self.net.run()
        changes = [shown(view)[1] for view in self.clients[3].views()]
        self.assertEqual(changes, [[(1, "JOIN")], [(-1, "PROCDOWN")]])
        self.assertEqual(early.events + late.events, [])

    def test_stranger(self) -> None:
        """
        I12, C3: a message in the name of a process that is not in the group
        is not delivered, although its node has another member.
        """
        ring = self.net.nodes[1].totem.ring
        assert ring is not None
        forged = Mcast(G, 666, 2, 0, b"forged")
        ring.order.append((2, address(SERVICES_GROUP, whole(forged))))
        self.net.run()
        self.assertEqual(self.clients[1].events, [])

    def test_raisingClient(self) -> None:
        """
        C16: a client that raises keeps nothing from the others.
        """
        self.clients[1].failing = True
        other = self.joined(1, 5)
        self.send(2, b"x")
        self.net.run()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(other.messages(), [b"x"])
        self.assertEqual(self.node(1).cpg.dump()["raised"], 1)

    def test_closedByAnother(self) -> None:
        """
        A client that is closed in the middle of a delivery, by the one before
        it, gets nothing any more.
        """
        victim = self.joined(1, 500)
        groups = self.node(1).cpg
        self.patch(
            self.clients[1], "messagesDelivered", lambda *_: groups.closed(victim)
        )
        self.send(2, b"x")
        self.net.run()
        self.assertEqual(victim.messages(), [])

    def test_sendFromACallback(self) -> None:
        """
        A client may send, and leave, from within its callbacks.
        """
        groups, client = self.node(1).cpg, self.clients[1]

        def answer(group: bytes, sender: Member, *_: Any) -> None:
            if sender.nodeid == 2:
                send(self.node(1), client, G, b"answer")
                groups.leave(client, G)

        self.patch(client, "messagesDelivered", answer)
        self.send(2, b"question")
        self.net.run()
        self.assertEqual(self.clients[3].messages(), [b"question", b"answer"])
        self.assertEqual(groups.members(G), (Member(2, 102), Member(3, 103)))


class RingTests(NetCase):
    """
    What a change of the ring does to groups.
    """

    def _changes(self, nodeid: int) -> list[Any]:
        return [shown(view) for view in self.clients[nodeid].views()]

    def test_nodeDown(self) -> None:
        """
        C9, I5: all who are lost with a change are in one view, and the ring
        is announced after it.
        """
        self.net.kill(2, 3)
        self.net.form(1)
        self.net.run()
        self.assertEqual(
            self._changes(1), [([1], [(-2, "NODEDOWN"), (-3, "NODEDOWN")])]
        )
        self.assertEqual(self.clients[1].events[-1][0], "ring")
        self.assertEqual(self.clients[1].rings(), [(1,)])

    def test_partitionAndMerge(self) -> None:
        """
        C9: each side loses the other, and gains it again, in one view each.
        """
        self.net.form(1)
        self.net.form(2, 3)
        self.net.run()
        self.net.form(1, 2, 3)
        self.net.run()
        lost = [(-2, "NODEDOWN"), (-3, "NODEDOWN")]
        self.assertEqual(
            self._changes(1),
            [([1], lost), ([1, 2, 3], [(2, "NODEUP"), (3, "NODEUP")])],
        )
        for nodeid in (2, 3):
            self.assertEqual(
                self._changes(nodeid),
                [([2, 3], [(-1, "NODEDOWN")]), ([1, 2, 3], [(1, "NODEUP")])],
            )

    def test_pausedNode(self) -> None:
        """
        I1, C13: node 1 missed that it was excluded; its client is told that
        the others went and came, theirs that it did.
        """
        self.net.form(2, 3)
        self.net.run()
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(
            self._changes(1),
            [
                (
                    [1, 2, 3],
                    [
                        *[(-2, "NODEDOWN"), (-3, "NODEDOWN")],
                        *[(2, "NODEUP"), (3, "NODEUP")],
                    ],
                ),
            ],
        )
        self.assertEqual(
            self._changes(2),
            [([2, 3], [(-1, "NODEDOWN")]), ([1, 2, 3], [(1, "NODEUP")])],
        )

    def test_restart(self) -> None:
        """
        C10: a process of a restarted node with the same number is another
        one: it went down, and somebody came up.
        """
        self.restart(2)
        self.net.form(2)
        self.net.run()
        self.joined(2, 102)
        self.clients[1].events.clear()
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(
            self._changes(1),
            [([1, 2, 3], [(-2, "NODEDOWN"), (2, "NODEUP")])],
        )

    def test_hiddenRestart(self) -> None:
        """
        C10, S2: the same, where the round after the restart is aborted and
        the restarted node comes along to the next ring.
        """
        self.restart(2)
        self.net.form(2)
        self.net.run()
        self.joined(2, 102)
        self.clients[1].events.clear()
        self.net.form(1, 2, 3)
        self.net.visit(2)
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(
            self._changes(1),
            [([1, 2, 3], [(-2, "NODEDOWN"), (2, "NODEUP")])],
        )

    def test_leftWhileApart(self) -> None:
        """
        I4: a process that left while we could not hear it is gone, and one
        that came is there.
        """
        self.net.form(1)
        self.net.form(2, 3)
        self.net.run()
        self.node(2).cpg.leave(self.clients[2], G)
        self.node(3).cpg.join(Listener(900), G)
        self.net.run()
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self._changes(1)[-1][0], [1, 3, 3])
        self.assertEqual(self.node(1).cpg.members(G), self.node(2).cpg.members(G))

    def test_ghost(self) -> None:
        """
        H2: node 3 sends its joinlist and dies before the round is complete;
        none of its clients ever appears.
        """
        self.net.form(1, 2)
        self.net.form(3)
        self.net.run()
        self.clients[1].events.clear()
        for most in range(1, 12):
            self.net.form(1, 2, 3)
            for _ in range(most):
                self.net.rotate(1)
                if not self.node(1).manager.synchronizing():
                    break
            self.net.form(1, 2)
            self.net.form(3)
            self.net.run()
        self.assertEqual(self.node(1).cpg.members(G), (Member(1, 101), Member(2, 102)))

    def test_vanishedProcess(self) -> None:
        """
        C11: a process that its node does not list any more, although the node
        came along, is gone with PROCDOWN.
        """
        ring = self.node(1).totem.ring
        assert ring is not None
        ghost = ProcJoin(G, 77, Reason.JOIN)
        ring.order.append((2, address(SERVICES_GROUP, whole(ghost))))
        self.net.run()
        self.node(2).cpg._table.remove(G, Member(2, 77))
        self.clients[1].events.clear()
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self._changes(1), [([1, 2, 3], [(-2, "PROCDOWN")])])

    def test_duringARound(self) -> None:
        """
        I9: a join, a leave, an end and a message at every step of a round:
        afterwards all nodes agree, and nothing is lost or told twice.
        """
        for step in range(40):
            self.setUp()
            self.net.form(1, 2, 3)
            for number in range(step):
                self.net.visit(1 + number % 3, 1)
                for nodeid in (1, 2, 3):
                    self.net.receive(nodeid, 1)
            joiner = Listener(9)
            self.node(1).cpg.join(joiner, G)
            accepted = self.send(1, b"message")
            self.node(2).cpg.leave(self.clients[2], G)
            self.node(3).cpg.closed(self.clients[3])
            self.net.run()
            self.assertIs(self.successResultOf(accepted), NO_RECEIPT)
            for nodeid in (1, 2, 3):
                self.assertEqual(
                    self.node(nodeid).cpg.members(G), (Member(1, 9), Member(1, 101))
                )
            self.assertEqual(self.clients[1].messages(), [b"message"])
            departures = [c for _, changes in self._changes(1) for c in changes]
            self.assertEqual(
                sorted(departures), [(-3, "PROCDOWN"), (-2, "LEAVE"), (1, "JOIN")]
            )

    def test_messagesWaitForTheRound(self) -> None:
        """
        H3, S8: what clients send during a round goes behind it.
        """
        self.net.form(1)
        self.net.form(2, 3)
        self.net.run()
        self.net.form(1, 2, 3)
        accepted = self.send(1, b"early")
        self.net.rotate()
        self.assertNoResult(accepted)
        self.net.run()
        self.successResultOf(accepted)
        events = [event[0] for event in self.clients[2].events]
        self.assertEqual(events[-2:], ["ring", "message"])

    def test_joinInTheMiddleOfARound(self) -> None:
        """
        A real corosync node may let a join or a leave out during a round: it
        counts at its place, also when its node's list says otherwise.
        """
        ring = self.net.form(1, 2, 3)
        for nodeid in (1, 2, 3):
            self.net.visit(nodeid)
        joins = (ProcJoin(G, 7, Reason.JOIN), ProcJoin(G, 8, Reason.JOIN))
        listed = JoinList(((8, G), (103, G)))
        for message in (*joins, listed, ProcLeave(G, 8, Reason.LEAVE)):
            ring.order.append((3, address(SERVICES_GROUP, whole(message))))
        self.net.run()
        for nodeid in (1, 2):
            self.assertIn(Member(3, 7), self.node(nodeid).cpg.members(G))
            self.assertNotIn(Member(3, 8), self.node(nodeid).cpg.members(G))

    def test_manyProcesses(self) -> None:
        """
        A node with more processes than one joinlist holds sends several, and
        goes on where the full queue stopped it.
        """
        self.patch(groupssync, "LISTED_PROCESSES", 3)
        for pid in range(200, 211):
            self.node(1).cpg.join(Listener(pid), G)
        self.net.run()
        self.clients[2].events.clear()
        self.net.form(1)
        self.net.form(2, 3)
        self.net.run()
        for node in self.net.nodes.values():
            node.totem.capacity = 1700
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertGreater(self.node(1).totem.refused, 0)
        self.assertEqual(len(self.node(2).cpg.members(G)), 14)
        self.assertEqual(len(self.clients[2].views()), 2)


class StopTests(NetCase):
    """
    A node that stops in order.
    """

    def test_everybodyLeaves(self) -> None:
        """
        D23: each local process leaves with reason 5, as real corosync says
        it, before the engine has stopped.
        """
        groups = self.node(2).cpg
        self.joined(2, 400, b"other")
        stopped = self.node(2).manager.stop()
        self.assertNoResult(stopped)
        self.assertRaises(BadHandle, groups.join, Listener(1), G)
        self.net.run()
        self.net.clock.advance(0.01)
        self.successResultOf(stopped)
        (view,) = self.clients[1].views(G)
        self.assertEqual(shown(view), ([1, 3], [(-2, "PROCDOWN")]))
        self.assertEqual(self.node(1).cpg.groups(), (G,))

    def test_waitingMessages(self) -> None:
        """
        What was not accepted yet is refused, with an error.
        """
        self.net.form(1, 2, 3)
        waiting = self.send(2, b"x")
        self.node(2).cpg.shutdown()
        self.failureResultOf(waiting, BadHandle)

    def test_nobodyThere(self) -> None:
        """
        Without local processes there is nothing to wait for.
        """
        net = formed(1)
        self.successResultOf(net.nodes[1].manager.stop())


class SendingTests(NetCase):
    """
    Queues, turns and bounds.
    """

    def _forms(self) -> tuple[int, int]:
        """
        How many messages of ours, and of corosync's, were ordered.
        """
        ring = self.node(1).totem.ring
        assert ring is not None
        short = OURS + engineHeader(CPG, ring.ringId)
        ours = sum(message.startswith(short) for _, message in ring.order)
        mcasts = 0
        for _, message in ring.order:
            groups, body = addressed(message, "<")
            if groups == (SERVICES_GROUP,):
                mcasts += isinstance(decode(SERVICES_GROUP, body, "<"), Mcast)
        return ours, mcasts

    def test_oneBatch(self) -> None:
        """
        Where everybody understands it a batch is one message.
        """
        self.send(1, *[b"%d" % n for n in range(100)])
        self.net.run()
        self.assertEqual(self._forms(), (1, 0))
        self.assertEqual(len(self.clients[3].messages()), 100)

    def test_largeBatch(self) -> None:
        """
        A batch over the limit is cut between messages.
        """
        self.patch(groupssending, "LARGEST_BATCH_BYTES", 100)
        self.send(1, *[b"x" * 30] * 7)
        self.net.run()
        self.assertEqual(self._forms(), (4, 0))
        self.assertEqual(self.clients[2].messages(), [b"x" * 30] * 7)

    def test_mixedRing(self) -> None:
        """
        With a real corosync node in the ring every message travels by itself.
        """
        self.restart(3, foreign=True)
        self.net.form(1, 2, 3)
        self.net.run()
        theirs = self.joined(3, 103)
        self.send(1, b"a", b"b", b"c")
        self.net.run()
        ours, mcasts = self._forms()
        self.assertEqual((ours, mcasts), (0, 3))
        self.assertEqual(theirs.messages(), [b"a", b"b", b"c"])

    def test_waitsForRoom(self) -> None:
        """
        C15: a batch is accepted when all of it is in the queue, and waits
        while there is no room.
        """
        self.node(1).totem.capacity = 100
        accepted = [self.send(1, b"x" * 50) for _ in range(5)]
        self.successResultOf(accepted[0])
        self.assertNoResult(accepted[1])
        self.net.run()
        for deferred in accepted[1:]:
            self.successResultOf(deferred)
        self.assertEqual(len(self.clients[2].messages()), 5)

    def test_inFlight(self) -> None:
        """
        Only so much is in the ring's queue; the rest follows as ours comes
        back.
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 100)
        accepted = [self.send(1, b"x" * 60) for _ in range(4)]
        self.assertEqual(len(self.node(1).totem.queue), 2)
        self.assertNoResult(accepted[2])
        self.net.run()
        self.assertEqual(len(self.clients[1].messages()), 4)
        self.assertEqual(self.node(1).cpg.dump()["inFlightBytes"], 0)

    def test_turns(self) -> None:
        """
        D39: one client that floods does not keep another waiting; batches of
        one client stay in order.
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 1)
        quiet = self.joined(1, 900)
        self.clients[2].events.clear()
        for number in range(10):
            self.send(1, b"flood %d" % number)
        send(self.node(1), quiet, G, b"quiet 0")
        send(self.node(1), quiet, G, b"quiet 1")
        self.net.run()
        messages = self.clients[2].messages()
        self.assertLess(messages.index(b"quiet 0"), 3)
        self.assertLess(messages.index(b"quiet 1"), 5)
        floods = [m for m in messages if m.startswith(b"flood")]
        self.assertEqual(floods, [b"flood %d" % n for n in range(10)])

    def test_tooMuchWaits(self) -> None:
        """
        A client has a bounded queue; beyond it the answer is to try again,
        for joins and leaves as well.
        """
        self.patch(outgoing, "WAITING_ENTRIES", 3)
        self.patch(outgoing, "WAITING_BYTES", 10_000)
        self.net.form(1, 2, 3)
        self.failureResultOf(self.send(1, b"x" * 20_000), TooBig)
        waiting = [self.send(1, b"x" * 5000) for _ in range(1)]
        self.failureResultOf(self.send(1, b"x" * 5000), TryAgain)
        waiting += [self.send(1, b"x") for _ in range(2)]
        self.failureResultOf(self.send(1, b"x"), TryAgain)
        groups, client = self.node(1).cpg, self.clients[1]
        self.assertRaises(TryAgain, groups.join, client, b"other")
        self.assertRaises(TryAgain, groups.leave, client, G)
        self.net.run()
        for deferred in waiting:
            self.successResultOf(deferred)
        self.assertEqual(groups.groups(), (G,))

    def test_mostGroups(self) -> None:
        """
        A client is in a bounded number of groups.
        """
        self.patch(groupslocal, "MOST_GROUPS", 2)
        groups, client = self.node(1).cpg, self.clients[1]
        groups.join(client, b"second")
        self.assertRaises(TryAgain, groups.join, client, b"third")

    def test_cancel(self) -> None:
        """
        A batch that has not begun can be withdrawn.
        """
        self.net.form(1, 2, 3)
        self.send(1, b"kept")
        withdrawn = self.send(1, b"withdrawn")
        withdrawn.cancel()
        self.failureResultOf(withdrawn)
        self.net.run()
        self.assertEqual(self.clients[2].messages(), [b"kept"])

    def test_leaveGoesBehind(self) -> None:
        """
        What was sent before a leave is delivered before it, in both forms and
        while much is on its way.
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 100)
        for number in range(5):
            self.send(1, b"%d" % number + b"x" * 60)
        self.node(1).cpg.leave(self.clients[1], G)
        self.net.run()
        kinds = [event[0] for event in self.clients[2].events]
        self.assertEqual(kinds, ["message"] * 5 + ["view"])

    def test_closedWithAMessageOnItsWay(self) -> None:
        """
        An accepted message is delivered although its client has gone since;
        one that waits is not.
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 1)
        accepted, waiting = self.send(1, b"accepted"), self.send(1, b"waiting")
        self.successResultOf(accepted)
        self.node(1).cpg.closed(self.clients[1])
        self.failureResultOf(waiting, BadHandle)
        self.net.run()
        self.assertEqual(self.clients[2].messages(), [b"accepted"])

    def test_failedEngine(self) -> None:
        """
        Of an engine that is out of service a client gets an error, not
        silence.
        """
        self.node(1).manager.roster.places[2].duty = Duty.FAILED
        self.failureResultOf(self.send(1, b"x"), NotSupported)

    def test_manyClients(self) -> None:
        """
        I15: forty clients flood a small queue; everything accepted comes.
        """
        self.node(1).totem.capacity = 500
        clients = [self.joined(1, 1000 + n) for n in range(40)]
        for client in clients:
            for _ in range(5):
                send(self.node(1), client, G, b"x" * 20, b"y" * 20)
        self.net.run(4000)
        self.assertEqual(len(self.clients[2].messages()), 40 * 5 * 2)


class ChangedRingTests(NetCase):
    """
    Messages in the short form that are in the queue when the ring changes.
    """

    def _queue(self, *messages: bytes) -> None:
        for message in messages:
            self.successResultOf(self.send(1, message))

    def test_toTheNextRing(self) -> None:
        """
        They are delivered on the next ring, once, in order, before newer ones.
        """
        self._queue(b"1", b"2")
        self.net.kill(3)
        self.net.form(1, 2)
        self.send(1, b"3")
        self.net.run()
        for nodeid in (1, 2):
            self.assertEqual(self.clients[nodeid].messages(), [b"1", b"2", b"3"])
        self.assertEqual(self.node(1).cpg.dump()["missed"], 2)

    def test_atTheEndOfTheOldRing(self) -> None:
        """
        What was ordered on the old ring still counts when it is delivered
        between the transitional configuration and the regular one.
        """
        self._queue(b"1")
        self.net.visit(1)
        self.net.kill(3)
        self.net.form(1, 2)
        for nodeid in (1, 2):
            self.assertEqual(self.clients[nodeid].messages(), [b"1"])
        self.net.run()
        self.assertEqual(self.node(1).cpg.dump()["missed"], 0)
        self.assertEqual(self.clients[2].messages(), [b"1"])

    def test_toAMixedRing(self) -> None:
        """
        When a real corosync node has come in between, it gets them too, in
        its form, at the same place of the order as everybody.
        """
        self.net.kill(3)
        self.net.boot(3, foreign=True)
        self.net.form(1, 2)
        self.net.form(3)
        self.net.run()
        theirs = self.joined(3, 103)
        self.clients[2].events.clear()
        self._queue(b"1", b"2")
        self.send(2, b"other")
        self.net.form(1, 2, 3)
        self.send(1, b"3")
        self.net.run()
        self.assertEqual(sorted(theirs.messages()), [b"1", b"2", b"3", b"other"])
        self.assertEqual(theirs.messages(), self.clients[2].messages())
        ours = [m for m in theirs.messages() if m != b"other"]
        self.assertEqual(ours, [b"1", b"2", b"3"])

    def test_throughSeveralRings(self) -> None:
        """
        Rings, mixed and not, that change again before the messages came out
        neither lose nor reorder them.
        """
        self._queue(b"1", b"2", b"3")
        self.restart(3, foreign=True)
        self.net.form(1, 2, 3)
        while self.node(1).manager.synchronizing():
            self.net.rotate(1)
        self.net.visit(1, 1)  # The first comes out, and counts for nothing.
        self.net.receive(1, 9)
        self.net.kill(3)
        self.net.form(1, 2)
        self.net.run()
        self.send(1, b"4")
        self.net.run()
        for nodeid in (1, 2):
            self.assertEqual(self.clients[nodeid].messages(), [b"1", b"2", b"3", b"4"])

    def test_missedTwice(self) -> None:
        """
        What is missed again while younger messages still wait to be sent once
        more stays before them.
        """
        self._queue(b"1", b"2")
        self.net.kill(3)
        self.net.form(1, 2)
        while self.node(1).manager.synchronizing():
            self.net.rotate(1)
        totem, cpg = self.node(1).totem, self.node(1).cpg
        capacity, totem.capacity = totem.capacity, 1
        while cpg.dump()["missed"] < 2:
            self.net.rotate(1)
        self.assertEqual(cpg.dump()["sendingAgain"], 2)
        totem.capacity = 50  # Of the two, the first fits.
        self.net.rotate(1)
        self.net.form(1, 2)
        self.net.run()
        self.assertEqual(cpg.dump()["sendingAgain"], 1)
        totem.capacity = capacity
        self.net.run()
        for nodeid in (1, 2):
            self.assertEqual(self.clients[nodeid].messages(), [b"1", b"2"])

    def test_leaveBehindThem(self) -> None:
        """
        A leave does not overtake a message that has to be sent again.
        """
        self._queue(b"1")
        self.node(1).cpg.leave(self.clients[1], G)
        self.restart(3, foreign=True)
        self.net.form(1, 2, 3)
        self.net.run()
        kinds = [event[0] for event in self.clients[2].events]
        self.assertEqual(kinds, ["view", "ring", "message", "view"])

    def test_closedBehindThem(self) -> None:
        """
        Nor does the end of the client.
        """
        self._queue(b"1")
        self.node(1).cpg.closed(self.clients[1])
        self.net.form(1, 2, 3)
        self.net.run()
        kinds = [event[0] for event in self.clients[2].events]
        self.assertEqual(kinds, ["ring", "message", "view"])

    def test_aLeaveDoesNotStopOthers(self) -> None:
        """
        While one client's leave waits for its own messages, others send.
        """
        self._queue(b"1")
        self.node(1).cpg.leave(self.clients[1], G)
        other = self.node(1).cpg
        busy = Listener(800)
        other.join(busy, b"elsewhere")
        self.assertEqual(len(self.node(1).totem.queue), 2)


class PieceTests(NetCase):
    """
    C14: messages longer than what travels in one.
    """

    def setUp(self) -> None:
        for module in (groupsrequests, groupssending):
            self.patch(module, "ATOMIC_MESSAGE_BYTES", 100)
        self.patch(groupssending, "LARGEST_BATCH_BYTES", 100)
        super().setUp()
        self.large = bytes(range(250)) + b"end"

    def _mixed(self) -> Listener:
        self.restart(3, foreign=True)
        self.net.form(1, 2, 3)
        self.net.run()
        return self.joined(3, 103)

    def test_whole(self) -> None:
        """
        They arrive whole, in order with the short ones around them.
        """
        accepted = self.send(1, b"before", self.large, b"after", self.large)
        self.net.run()
        self.successResultOf(accepted)
        self.assertEqual(
            self.clients[2].messages(), [b"before", self.large, b"after", self.large]
        )

    def test_mixedWhole(self) -> None:
        """
        With real corosync nodes they travel in its pieces.
        """
        theirs = self._mixed()
        self.clients[2].events.clear()
        accepted = self.send(1, b"before", self.large, b"after")
        self.net.run()
        self.successResultOf(accepted)
        for client in (theirs, self.clients[2]):
            self.assertEqual(client.messages(), [b"before", self.large, b"after"])
        ring = self.node(1).totem.ring
        assert ring is not None
        parts = []
        for _, message in ring.order:
            groups, body = addressed(message, "<")
            if groups == (SERVICES_GROUP,):
                found = decode(SERVICES_GROUP, body, "<")
                if isinstance(found, PartialMcast):
                    parts.append((found.part, len(found.payload), found.total))
        self.assertEqual(
            parts,
            [(Part.FIRST, 100, 253), (Part.MIDDLE, 100, 253), (Part.LAST, 53, 253)],
        )

    def test_twoSenders(self) -> None:
        """
        I13: pieces of several senders are not mixed up.
        """
        second = self.joined(1, 700)
        self.send(1, self.large + b"1")
        send(self.node(1), second, G, self.large + b"1b")
        self.send(2, self.large + b"2")
        self.net.run()
        self.assertEqual(
            sorted(self.clients[3].messages()),
            sorted([self.large + b"1", self.large + b"1b", self.large + b"2"]),
        )

    def test_interrupted(self) -> None:
        """
        A ring change between the pieces: the sender is told, wherever it
        happened, and nobody gets anything; or everybody gets it and the
        sender's deferred fires.
        """
        results = set()
        for ordered in range(5):
            self.setUp()
            accepted = self.send(1, self.large)
            for _ in range(ordered):
                self.net.rotate(1)
            self.net.form(1, 2, 3)
            self.net.run()
            came = self.clients[2].messages()
            results.add(bool(came))
            if came:
                self.assertEqual(came, [self.large])
                self.assertIs(self.successResultOf(accepted), NO_RECEIPT)
            else:
                self.failureResultOf(accepted, Interrupted)
            self.assertEqual(self.node(2).cpg.dump()["assemblyBytes"], 0)
            again = self.send(1, b"next", self.large)
            self.net.run()
            self.successResultOf(again)
            self.assertEqual(self.clients[2].messages(), [*came, b"next", self.large])
        self.assertEqual(results, {True, False})

    def test_interruptedInAMixedRing(self) -> None:
        """
        With real corosync nodes: a change before all pieces are queued
        interrupts; after that the message is on its way, and complete.
        """
        self._mixed()
        self.patch(groupssending, "IN_FLIGHT_BYTES", 1)
        accepted = self.send(1, self.large)
        self.assertNoResult(accepted)
        self.net.form(1, 2, 3)
        self.net.run()
        self.failureResultOf(accepted, Interrupted)
        self.assertEqual(self.clients[2].messages(), [])
        self.patch(groupssending, "IN_FLIGHT_BYTES", 1 << 20)
        accepted = self.send(1, self.large)
        self.net.rotate(1)
        self.net.form(1, 2, 3)
        self.net.run()
        self.successResultOf(accepted)
        self.assertEqual(self.clients[2].messages(), [self.large])

    def test_joinedInBetween(self) -> None:
        """
        Who joins between the pieces does not get the message, on no node.
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 1)
        self.send(1, self.large)
        self.net.rotate(1)
        late = Listener(1)
        self.node(2).cpg.join(late, G)
        self.net.run()
        self.assertEqual(len(late.views()), 1)
        self.assertEqual(late.messages(), [])
        self.assertEqual(self.clients[2].messages(), [self.large])

    def test_senderGone(self) -> None:
        """
        I13: the pieces of a sender that goes are forgotten.
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 1)
        waiting = self.send(1, self.large)
        self.net.rotate(1)
        self.assertGreater(self.node(2).cpg.dump()["assemblyBytes"], 0)
        self.node(1).cpg.closed(self.clients[1])
        self.failureResultOf(waiting, BadHandle)
        self.net.run()
        self.assertEqual(self.node(2).cpg.dump()["assemblyBytes"], 0)
        self.assertEqual(self.clients[2].messages(), [])

    def test_nodeGone(self) -> None:
        """
        So are those of a node that goes.
        """
        self._mixed()
        self.send(1, self.large)
        self.net.rotate(1)
        self.assertGreater(self.node(2).cpg.dump()["assemblyBytes"], 0)
        self.net.kill(1)
        self.net.form(2, 3)
        self.net.run()
        self.assertEqual(self.node(2).cpg.dump()["assemblyBytes"], 0)

    def test_oneMebibyte(self) -> None:
        """
        D19, D30: with the real limits messages of 1 MiB and around, and of 3
        MiB, arrive in rings of both kinds.
        """
        for module in (groupsrequests, groupssending):
            self.patch(module, "ATOMIC_MESSAGE_BYTES", (1 << 20) - 1024)
        self.patch(groupssending, "LARGEST_BATCH_BYTES", (1 << 20) - 1024)
        sizes = [(1 << 20) + delta for delta in (-1025, -1024, -1023, 0)] + [3 << 20]
        for _ in range(2):
            for size in sizes:
                message = bytes(size - 1) + b"!"
                accepted = self.send(1, message)
                self.net.run()
                self.successResultOf(accepted)
                came = self.clients[2].messages()
                self.assertEqual([len(m) for m in came], [size])
                self.assertEqual(came, [message])
                self.clients[2].events.clear()
            self._mixed()
            self.clients[2].events.clear()


class ForgeryTests(NetCase):
    """
    Messages in our name that we never sent.
    """

    def test_compactInOurName(self) -> None:
        """
        One does no harm: what is really ours is still counted, and no client
        is kept waiting.
        """
        engine = self.node(1).cpg
        forged = CompactMcast(101, 1, Piece.BATCH, G, batch.pack([b"?"])).encode()
        for _ in range(20):
            engine.compactDelivered(1, forged)
        place = self.node(1).manager.dump()["engines"]["cpg"]
        self.assertEqual((place["failures"], engine._sending._ahead), (0, 0))
        self.net.form(1, 2, 3)
        self.net.run()
        self.successResultOf(self.send(1, b"real"))
