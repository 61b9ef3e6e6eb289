"""
Tests of quorate groups: whatever the ring does, their members get messages of
quorate views only, and who sends hears when nobody does.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import groupsrequests, groupssending
from corotwist.engines.batch import pack
from corotwist.engines.compact import GROUP as OURS
from corotwist.engines.compact import CompactMcast, Piece, engineHeader
from corotwist.engines.executive import CPG, Reconfigure, Reconfigured, address
from corotwist.engines.interfaces import (
    LONGEST_QUORATE_NAME,
    Level,
    Member,
    Reason,
    Receipt,
    Terms,
    ViewId,
)
from corotwist.engines.quorate import MARK, wireName
from corotwist.errors import (
    Conflict,
    InvalidParameter,
    NameTooLong,
    NotQuorate,
)
from corotwist.test.engines.orderednet import Listener, OrderedNet, formed, send
from corotwist.totem.membership import Guarantee

G = b"group"
# Processes of the clients, by node.
PIDS = {nodeid: 100 + nodeid for nodeid in range(1, 6)}


class QuorateCase(SynchronousTestCase):
    """
    Five nodes, three of which are quorate; one client each in the quorate group
    G.
    """

    def setUp(self) -> None:
        self.net: OrderedNet = formed(1, 2, 3, 4, 5, count=5)
        self.clients = {n: self.joined(n, PIDS[n]) for n in self.net.nodes}
        for client in self.clients.values():
            client.events.clear()

    def joined(self, nodeid: int, pid: int) -> Listener:
        client = Listener(pid)
        self.net.nodes[nodeid].cpg.join(client, G, quorate=True)
        self.net.run()
        return client

    def ask(self, nodeid: int, *messages: bytes, **others: Any) -> Deferred[Receipt]:
        node, client = self.net.nodes[nodeid], self.clients[nodeid]
        return send(node, client, G, *messages, **others)

    def said(self, *nodeids: int) -> list[list[bytes]]:
        return [self.clients[n].messages() for n in nodeids]

    def viewId(self, nodeid: int) -> ViewId:
        return self.net.nodes[nodeid].manager.views.current.viewId

    def part(self) -> None:
        """
        Two nodes here, three there.
        """
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        self.net.run()

    def judge(self, *, quorate: bool) -> None:
        """
        The votes give another verdict, at the same place for all.
        """
        for node in self.net.nodes.values():
            node.manager.views._judge = lambda: (quorate, {"rule": "test"})
            node.manager.views.verdictChanged()


class NameTests(QuorateCase):
    """
    Two kinds of groups.
    """

    def test_names(self) -> None:
        """
        Its members call a quorate group by its name; one that is not quorate
        cannot have that name, nor one that looks like it.  (X4)
        """
        cpg = self.net.nodes[1].cpg
        self.assertEqual(cpg.groups(), (G,))
        self.assertEqual(cpg.members(G)[0], Member(1, PIDS[1]))
        late = Listener(7)
        self.assertRaises(Conflict, cpg.join, late, G)
        self.assertRaises(InvalidParameter, cpg.join, late, MARK + b"x")
        cpg.join(late, b"plain")
        self.net.run()
        other = self.net.nodes[2].cpg
        self.assertRaises(Conflict, other.join, late, b"plain", quorate=True)
        longest = b"x" * LONGEST_QUORATE_NAME
        self.assertRaises(NameTooLong, cpg.join, late, longest + b"x", quorate=True)
        cpg.join(late, longest, quorate=True)
        self.net.run()
        self.assertEqual(late.views()[-1].group, longest)

    def test_bothKinds(self) -> None:
        """
        Two partitions may have a group of each kind under one name; when they
        merge these are two groups, and nobody hears of the other.  (X4)
        """
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        self.net.run()
        ordinary = Listener(60)
        for nodeid in (1, 2):
            self.net.nodes[nodeid].cpg.leave(self.clients[nodeid], G)
        self.net.run()
        self.net.nodes[1].cpg.join(ordinary, G)
        self.net.run()
        self.net.form(1, 2, 3, 4, 5)
        self.net.run()
        self.ask(3, b"quorate")
        send(self.net.nodes[1], ordinary, G, b"ordinary")
        self.net.run()
        self.assertEqual(ordinary.messages(), [b"ordinary"])
        self.assertEqual(self.said(4), [[b"quorate"]])
        self.assertEqual(ordinary.views()[-1].members, (Member(1, 60),))

    def test_notBoth(self) -> None:
        """
        One send is for groups of one kind.  (X4, D37)
        """
        client = self.clients[1]
        self.net.nodes[1].cpg.join(client, b"plain")
        self.net.run()
        both = Terms(groups=(b"plain",))
        self.failureResultOf(self.ask(1, b"x", terms=both), InvalidParameter)

    def test_paused(self) -> None:
        """
        Members hear by its name that it is paused, and that it is not.  (D12)
        """
        self.clients[2].fallBehind()
        self.net.run()
        self.clients[2].catchUp()
        self.net.run()
        self.assertEqual(self.clients[1].pauses, [(G, True), (G, False)])


class GateTests(QuorateCase):
    """
    When messages are delivered.
    """

    def test_quorate(self) -> None:
        """
        In a quorate view a message travels safe, and the answer is its place,
        with the view as a token to fence with.  (X4, C23)
        """
        sent = self.ask(1, b"x", guarantee=Guarantee.UNORDERED)
        self.assertNoResult(sent)
        self.net.run()
        receipt = self.successResultOf(sent)
        self.assertEqual(receipt.viewId, self.viewId(5))
        self.assertEqual(self.clients[5].places, [receipt.sequence])
        self.assertEqual(self.clients[5].guarantees, [Guarantee.SAFE])

    def test_inquorate(self) -> None:
        """
        Without quorum a send is refused at once; joining and leaving go on, and
        views say that they are not quorate.  (X4, C23)
        """
        self.part()
        self.failureResultOf(self.ask(1, b"x"), NotQuorate)
        late = self.joined(2, 50)
        self.assertFalse(late.views()[-1].view.quorate)
        self.assertEqual(late.views()[-1].view.viewId, self.viewId(1))
        sent = self.ask(3, b"y")
        self.net.run()
        self.assertEqual(self.successResultOf(sent).viewId, self.viewId(3))
        self.assertEqual(self.said(1, 2, 3, 4, 5), [[], [], *[[b"y"]] * 3])

    def test_merge(self) -> None:
        """
        Back in the majority it goes on, with a larger token.  (X4)
        """
        self.part()
        first = self.ask(3, b"y")
        self.net.run()
        self.net.form(1, 2, 3, 4, 5)
        self.net.run()
        second = self.ask(1, b"z")
        self.net.run()
        before = self.successResultOf(first).viewId
        self.assertLess(before, self.successResultOf(second).viewId)
        self.assertEqual(self.said(1, 3), [[b"z"], [b"y", b"z"]])

    def test_queued(self) -> None:
        """
        What was accepted while there was quorum, and has no place yet when the
        ring breaks, is refused to those who lose it and goes out again for
        those who keep it.  (X4, C23)
        """
        lost, kept = self.ask(1, b"lost"), self.ask(3, b"kept")
        self.part()
        self.failureResultOf(lost, NotQuorate)
        self.assertEqual(self.successResultOf(kept).viewId, self.viewId(4))
        self.assertEqual(self.said(1, 2, 3, 4, 5), [[], [], *[[b"kept"]] * 3])

    def test_duringARound(self) -> None:
        """
        What is asked for while the services synchronize waits for the verdict.
        (X4)
        """
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        lost, kept = self.ask(1, b"lost"), self.ask(3, b"kept")
        self.assertNoResult(lost)
        self.net.run()
        self.failureResultOf(lost, NotQuorate)
        self.successResultOf(kept)
        self.assertEqual(self.said(1, 3), [[], [b"kept"]])

    def test_verdictChanges(self) -> None:
        """
        When the verdict changes between the sending and the place of a message
        nobody delivers it, and the sender hears.  (X4, C23)
        """
        sent = self.ask(1, b"x")
        self.net.visit(1)
        self.judge(quorate=False)
        self.net.run()
        self.failureResultOf(sent, NotQuorate)
        self.assertEqual(self.said(1, 2, 3, 4, 5), [[]] * 5)
        self.assertEqual(self.net.nodes[4].cpg.dump()["refused"], 1)
        self.judge(quorate=True)
        again = self.ask(1, b"y")
        self.net.run()
        self.assertEqual(self.successResultOf(again).viewId.number, 2)

    def test_agreed(self) -> None:
        """
        A message to a quorate group that does not travel safe is delivered by
        nobody: a node that is alone with it would not know.  (X4)
        """
        node = self.net.nodes[1]
        mcast = CompactMcast(PIDS[1], 1, Piece.BATCH, wireName(G), pack([b"x"]))
        ringId = node.manager.configuration.ringId
        body = address(OURS, engineHeader(CPG, ringId) + mcast.encode())
        for guarantee in (Guarantee.AGREED, Guarantee.SAFE):
            node.totem.multicast(body, guarantee)
        self.net.run()
        self.assertEqual(self.said(1, 2, 3), [[b"x"]] * 3)

    def test_corosyncsForm(self) -> None:
        """
        With a real corosync node in the ring the same holds among ours.  (X4)
        """
        self.net.kill(5)
        self.net.boot(5, foreign=True)
        self.net.form(1, 2, 3, 4, 5)
        self.net.run()
        good = self.ask(1, b"good")
        self.net.run()
        bad = self.ask(1, b"bad")
        self.net.visit(1)
        self.judge(quorate=False)
        self.net.run()
        self.successResultOf(good)
        self.failureResultOf(bad, NotQuorate)
        self.assertEqual(self.said(1, 2, 3, 4), [[b"good"]] * 4)

    def test_replaced(self) -> None:
        """
        Another version of the engine goes on gating, and answers what was under
        way; one from before quorate groups is refused.  (X4, A11)
        """
        sent = self.ask(1, b"x")
        node = self.net.nodes[1]
        state = node.cpg.handOver()
        self.assertEqual(state["format"], 2)
        node.cpg.takeOver(state, 1)
        self.net.run()
        self.successResultOf(sent)
        self.part()
        self.failureResultOf(self.ask(1, b"y"), NotQuorate)


class LeftOverTests(QuorateCase):
    """
    What a quorate ring leaves when it is over.
    """

    def test_parted(self) -> None:
        """
        A message that was ordered, and that not everybody was known to have: who
        goes on to a quorate view gets it before that view, who does not never
        sees it.  (X4, C23)
        """
        views = {n: self.viewId(n) for n in (1, 3)}
        theirs, ours = self.ask(1, b"of the minority"), self.ask(3, b"of the majority")
        self.net.visit(1)
        self.net.visit(3)
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        self.net.run()
        self.failureResultOf(theirs, NotQuorate)
        self.assertEqual(self.said(1, 2), [[], []])
        self.assertEqual(self.successResultOf(ours).viewId, views[3])
        self.assertEqual(self.said(3, 4, 5), [[b"of the majority"]] * 3)
        kinds = [event[0] for event in self.clients[4].events]
        self.assertEqual(kinds, ["message", "view", "ring"])

    def test_verdictLeftOver(self) -> None:
        """
        Where one member heard of another verdict while the ring went on, and
        others among what it left, all of them judge the messages behind it by
        that verdict.  (X4, C23)
        """
        self.expect(11)
        bad = self.ask(1, b"bad")
        self.hear(1)
        self.expect(5)
        self.hear(1)
        good = self.ask(1, b"good")
        self.hear(1)
        before = self.viewId(1)
        self.net.end(*self.net.nodes)
        self.assertEqual({self.viewId(n) for n in self.net.nodes}, {before})
        self.net.form(*self.net.nodes)
        self.net.run()
        self.failureResultOf(bad, NotQuorate)
        self.assertEqual(self.successResultOf(good).viewId, before)
        self.assertEqual(self.said(1, 2, 3, 4, 5), [[b"good"]] * 5)

    def expect(self, votes: int) -> None:
        """
        Somebody at node 1 has everybody expect so many votes.
        """
        message = Reconfigure(1, votes, Reconfigured.EXPECTED_VOTES)
        cluster = self.net.nodes[1].engine("votequorum").cluster
        cluster.multicast(message.FUNCTION, message.encode())

    def hear(self, nodeid: int) -> None:
        """
        A node sends what it has, and hears all there is.
        """
        self.net.visit(nodeid)
        self.net.receive(nodeid, 99)

    def test_metAgain(self) -> None:
        """
        Parts that meet again before any of them had a view go on to a quorate
        one, all of them; but there is one history, that of the part that goes on
        with the last view.  (X4, C23)
        """
        theirs, ours = self.ask(1, b"of the few"), self.ask(3, b"of the many")
        self.net.visit(1)
        self.net.visit(3)
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        self.net.form(1, 2, 3, 4, 5)
        self.net.run()
        self.failureResultOf(theirs, NotQuorate)
        self.successResultOf(ours)
        self.assertEqual(self.said(1, 2), [[], []])
        self.assertEqual(self.said(3, 4, 5), [[b"of the many"]] * 3)

    def test_notYet(self) -> None:
        """
        Until it is known where we go nothing is shown, whatever rings come and
        go in between.  (X4)
        """
        sent = self.ask(3, b"x")
        self.net.visit(3)
        self.net.form(3, 4, 5)
        self.net.rotate(1)
        self.assertEqual(self.said(3, 4, 5), [[]] * 3)
        self.assertNoResult(sent)
        self.net.form(3, 4)
        self.net.run()
        self.assertEqual(self.said(3, 4, 5), [[]] * 3)
        self.failureResultOf(sent, NotQuorate)

    def test_throughMore(self) -> None:
        """
        Also when the quorate view comes after more than one ring.  (X4)
        """
        sent = self.ask(3, b"x")
        self.net.visit(3)
        self.net.form(3, 4, 5)
        self.net.rotate(1)
        self.net.form(3, 4, 5)
        self.net.run()
        self.successResultOf(sent)
        self.assertEqual(self.said(3, 4, 5), [[b"x"]] * 3)

    def test_inquorateRing(self) -> None:
        """
        What an inquorate ring leaves stays refused, though a quorate view
        follows.  (X4)
        """
        self.judge(quorate=True)
        sent = self.ask(3, b"x")
        self.net.visit(3)
        self.judge(quorate=False)
        self.net.form(3, 4, 5)
        self.judge(quorate=True)
        self.net.run()
        self.failureResultOf(sent, NotQuorate)
        self.assertEqual(self.said(3, 4, 5), [[]] * 3)

    def test_placesOfViews(self) -> None:
        """
        Comings and goings keep their places among the messages that wait, and
        are shown also where these are dropped.  (X4)
        """
        leavers = {n: self.joined(n, 60 + n) for n in (1, 3)}
        for client in self.clients.values():
            client.events.clear()
        for nodeid, leaver in leavers.items():
            cpg = self.net.nodes[nodeid].cpg
            cpg.join(Listener(70 + nodeid), G, quorate=True)
            self.ask(nodeid, b"x").addErrback(lambda failure: failure.trap(NotQuorate))
            cpg.leave(leaver, G)
            self.net.visit(nodeid)
        self.part()
        kinds = {n: [e[0] for e in self.clients[n].events] for n in (2, 4)}
        self.assertEqual(kinds[2], ["view", "view", "view", "ring"])
        self.assertEqual(kinds[4], ["view", "message", "view", "view", "ring"])
        join, leave, lost = self.clients[4].views()
        self.assertEqual([c.member for c in join.joined], [Member(3, 73)])
        self.assertEqual([c.member for c in leave.left], [Member(3, 63)])
        self.assertEqual({c.reason for c in lost.left}, {Reason.NODEDOWN})

    def test_ordinary(self) -> None:
        """
        Groups that are not quorate get what is left of a ring at once.  (D32)
        """
        plain = {n: Listener(80 + n) for n in self.net.nodes}
        for nodeid, client in plain.items():
            self.net.nodes[nodeid].cpg.join(client, b"plain")
        self.net.run()
        send(self.net.nodes[1], plain[1], b"plain", b"x")
        self.net.visit(1)
        self.net.form(1, 2)
        self.assertEqual([plain[n].messages() for n in (1, 2)], [[b"x"], [b"x"]])
        self.net.run()
        send(self.net.nodes[1], plain[1], b"plain", b"y")
        self.net.run()
        self.assertEqual(plain[2].messages(), [b"x", b"y"])

    def test_pieces(self) -> None:
        """
        A message in pieces is where its last one is: in what is left of the
        ring it waits as a whole.  (X4, D19)
        """
        for module in (groupsrequests, groupssending):
            self.patch(module, "ATOMIC_MESSAGE_BYTES", 100)
        lost = self.ask(1, bytes(250))
        kept = self.ask(3, bytes(350), terms=Terms(Level.SAFE))
        for nodeid in (1, 3):
            self.net.visit(nodeid, 2)
        for node in self.net.nodes.values():
            self.net.receive(node.nodeid, 4)
        self.net.visit(1)
        self.net.visit(3)
        self.part()
        self.failureResultOf(lost, NotQuorate)
        self.successResultOf(kept)
        self.assertEqual(self.said(1, 2, 3, 5), [[], [], *[[bytes(350)]] * 2])

    def test_severalGroups(self) -> None:
        """
        A message for several quorate groups waits for all of them.  (X4, D37)
        """
        for nodeid, client in self.clients.items():
            self.net.nodes[nodeid].cpg.join(client, b"second", quorate=True)
        self.net.run()
        terms = Terms(groups=(b"second",))
        lost, kept = self.ask(1, b"a", terms=terms), self.ask(3, b"b", terms=terms)
        self.net.visit(1)
        self.net.visit(3)
        self.part()
        self.failureResultOf(lost, NotQuorate)
        self.successResultOf(kept)
        self.assertEqual(self.said(1, 2), [[], []])
        self.assertEqual(self.said(3, 4), [[b"b", b"b"]] * 2)
