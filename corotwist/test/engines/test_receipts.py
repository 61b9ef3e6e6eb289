"""
Tests of what a sender hears of his messages, and of messages for some members,
for several groups and for one view.
"""

from typing import Any

from twisted.internet.defer import Deferred

from corotwist.engines import groupsrequests, groupssending
from corotwist.engines.compact import Feature
from corotwist.engines.interfaces import (
    MOST_FURTHER_GROUPS,
    MOST_TARGETS,
    NO_RECEIPT,
    SEQUENCE_BITS,
    Level,
    Member,
    Receipt,
    Terms,
    ViewId,
)
from corotwist.errors import (
    BadHandle,
    Interrupted,
    InvalidParameter,
    NotJoined,
    NotSupported,
    TryAgain,
)
from corotwist.test.engines.orderednet import Listener, send
from corotwist.test.engines.test_cpg import G, NetCase
from corotwist.totem.membership import Guarantee, RingId

ORDERED = Terms(Level.ORDERED)
SAFE = Terms(Level.SAFE)
H = b"another group"


class TermsCase(NetCase):
    """
    Three nodes, one client each in group G, all calm.
    """

    def ask(
        self, nodeid: int, *messages: bytes, terms: Terms = ORDERED, **others: Any
    ) -> Deferred[Receipt]:
        client = self.clients[nodeid]
        return send(self.node(nodeid), client, G, *messages, terms=terms, **others)

    def said(self, nodeid: int) -> list[bytes]:
        return self.clients[nodeid].messages()


class ReceiptTests(TermsCase):
    """
    Where a message is when its sender hears of it.
    """

    def test_queued(self) -> None:
        """
        Without other terms the answer comes when the messages are in the ring's
        queue, and says nothing of their places.  (D38)
        """
        sent = self.send(1, b"x")
        self.assertIs(self.successResultOf(sent), NO_RECEIPT)
        self.assertEqual(self.said(1), [])

    def test_ordered(self) -> None:
        """
        With level ordered the answer comes with the message and names its place,
        which is the same for all who get it, and rises.  (D21, D33, X2)
        """
        self.send(2, b"before", b"too")
        sent = self.ask(1, b"one", b"two")
        self.assertNoResult(sent)
        self.net.run()
        receipt = self.successResultOf(sent)
        self.assertEqual(receipt.members, (1, 2, 3))
        self.assertEqual(receipt.viewId, self.node(2).manager.views.current.viewId)
        for client in self.clients.values():
            places = dict(zip(client.messages(), client.places, strict=True))
            self.assertEqual(places[b"two"], receipt.sequence)
            self.assertEqual(places[b"one"], receipt.sequence - 1)
            self.assertEqual(client.places, sorted(set(client.places)))

    def test_safe(self) -> None:
        """
        With level safe it comes when every member has the message, which they
        are shown before.  (D33, X2)
        """
        sent = self.ask(1, b"x", terms=SAFE)
        self.net.visit(1)
        self.net.receive(1)
        self.net.receive(2)
        self.assertEqual(self.said(2), [b"x"])
        self.assertNoResult(sent)
        self.net.run()
        self.net.rotate()
        receipt = self.successResultOf(sent)
        self.assertEqual(receipt.members, (1, 2, 3))
        self.assertEqual(receipt.sequence, self.clients[3].places[0])

    def test_safeAfterTheRing(self) -> None:
        """
        When the ring ends before, those who came along have it.  (D33)
        """
        sent = self.ask(1, b"x", terms=SAFE)
        self.net.visit(1)
        self.net.receive(1)
        self.net.receive(2)
        self.net.form(1, 2)
        self.net.run()
        self.assertEqual(self.successResultOf(sent).members, (1, 2))

    def test_safeReplaced(self) -> None:
        """
        Whoever waits until all have it is answered by another version of the
        engine, also if the ring changes meanwhile.  (D33, A11)
        """
        sent = self.ask(1, b"x", terms=SAFE)
        self.net.visit(1)
        self.net.receive(1)
        node = self.node(1)
        state = node.cpg.handOver()
        self.assertEqual(state["format"], 2)
        # Nobody is called any more who has handed over.
        node.totem.unstable.clear()
        node.cpg.takeOver(state, 1)
        self.assertNoResult(sent)
        self.net.form(1, 2)
        self.net.run()
        self.assertEqual(self.successResultOf(sent).members, (1, 2))
        self.assertEqual(node.cpg.dump()["unsafe"], 0)

    def test_safeTooMany(self) -> None:
        """
        When too many wait until all have something, who waits for that waits
        longer, and does not hear that nothing was sent.  (D33)
        """
        totem = self.node(1).totem
        whenStable = totem.whenStable

        def refuse(callback: object) -> None:
            raise TryAgain("too many wait for stability already")

        self.patch(type(totem), "whenStable", lambda self, callback: refuse(callback))
        sent = [self.ask(1, b"%d" % n, terms=SAFE) for n in range(3)]
        self.net.run()
        self.assertEqual(self.said(3), [b"0", b"1", b"2"])
        for one in sent:
            self.assertNoResult(one)
        self.patch(type(totem), "whenStable", lambda _, called: whenStable(called))
        self.net.run()
        self.net.rotate()
        self.net.rotate()
        places = [self.successResultOf(one).sequence for one in sent]
        self.assertEqual(places, self.clients[3].places)

    def test_guarantee(self) -> None:
        """
        Who gets messages is told what they got: what was asked to be safe is
        safe, everything else agreed.  (D28, D29, D30, D31)
        """
        for guarantee in Guarantee:
            sent = self.ask(1, b"%d" % guarantee, guarantee=guarantee)
            self.net.run()
            self.successResultOf(sent)
        got = dict(zip(self.said(3), self.clients[3].guarantees, strict=True))
        agreed, safe = Guarantee.AGREED, Guarantee.SAFE
        self.assertEqual(got, {b"0": agreed, b"1": agreed, b"2": agreed, b"3": safe})

    def test_safeOnceMore(self) -> None:
        """
        What was asked to be safe is safe also when it has to be sent again.
        (D31)
        """
        self.ask(1, b"x", guarantee=Guarantee.SAFE)
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self.node(1).cpg.dump()["missed"], 1)
        self.assertEqual(self.clients[2].guarantees, [Guarantee.SAFE])

    def test_onceMore(self) -> None:
        """
        What had to be sent again on another ring has its place there.  (D33)
        """
        waiting = [self.ask(1, b"%d" % n) for n in range(3)]
        self.net.form(1, 2, 3)
        self.net.run()
        receipts = [self.successResultOf(sent) for sent in waiting]
        self.assertEqual(self.node(1).cpg.dump()["missed"], 3)
        self.assertEqual(self.said(3), [b"0", b"1", b"2"])
        self.assertEqual([r.sequence for r in receipts], self.clients[3].places)
        viewId = self.node(3).manager.views.current.viewId
        self.assertEqual({r.viewId for r in receipts}, {viewId})

    def test_leftOver(self) -> None:
        """
        What its ring leaves is named by that ring, and who came along has it.
        (D33)
        """
        viewId = self.node(1).manager.views.current.viewId
        sent = self.ask(1, b"x")
        self.net.visit(1)
        self.net.form(1, 2)
        receipt = self.successResultOf(sent)
        self.assertEqual((receipt.viewId, receipt.members), (viewId, (1, 2)))
        self.assertEqual(receipt.sequence, self.clients[2].places[0])

    def test_corosyncsForm(self) -> None:
        """
        In a ring with a real corosync node messages are ordered one by one; each
        sender hears of his own last one, whatever is said around it.  (D33)
        """
        self.net.kill(3)
        self.net.boot(3, foreign=True)
        self.net.form(1, 2, 3)
        self.net.run()
        other = self.joined(1, 50)
        self.send(1, b"same")
        sent = self.ask(1, b"same", b"same")
        late = send(self.node(1), other, G, b"same", terms=ORDERED)
        self.send(1, b"same")
        self.net.run()
        places = self.clients[2].places
        self.assertEqual(len(places), 5)
        self.assertEqual(self.successResultOf(sent).sequence, places[2])
        self.assertEqual(self.successResultOf(late).sequence, places[3])
        self.assertEqual(self.node(1).cpg.dump()["awaited"], 0)

    def test_fallsBack(self) -> None:
        """
        Also one that went out in the short form, and again in corosync's, one
        message after the other.  (D33)
        """
        self.net.kill(3)
        sent = self.ask(1, b"one", b"two")
        self.net.boot(3, foreign=True)
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self.said(2), [b"one", b"two"])
        self.assertEqual(self.successResultOf(sent).sequence, self.clients[2].places[1])

    def test_clientGone(self) -> None:
        """
        A client that goes does not keep what it sent from being delivered; of
        what had not gone it hears that it closed.
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 1)
        early, late = self.ask(1, b"early"), self.ask(1, b"late")
        self.node(1).cpg.closed(self.clients[1])
        self.failureResultOf(late, BadHandle)
        self.net.run()
        self.successResultOf(early)
        self.assertEqual(self.said(2), [b"early"])

    def test_nodeStops(self) -> None:
        """
        When the node stops nobody waits for ever.
        """
        engine = self.node(1).cpg
        sent = self.ask(1, b"x")
        stopping = self.node(1).manager.stop()
        self.net.run()
        self.net.clock.pump([0.1] * 10)
        self.successResultOf(stopping)
        self.assertEqual(engine.dump()["awaited"], 0)
        self.assertIsNotNone(self.successResultOf(sent))

    def test_cancelled(self) -> None:
        """
        Who does not care any more what becomes of his message keeps nothing from
        being delivered.
        """
        sent = self.ask(1, b"x")
        sent.addErrback(lambda failure: None)
        sent.cancel()
        self.net.run()
        self.assertEqual(self.said(2), [b"x"])

    def test_badTerms(self) -> None:
        """
        Levels and guarantees that there are not, too many processes or groups,
        and what contradicts itself, are refused.  (D9)
        """
        strange: Any = 3
        targets = tuple(Member(1, n) for n in range(MOST_TARGETS + 1))
        names = tuple(b"%d" % n for n in range(MOST_FURTHER_GROUPS + 1))
        for terms in (
            Terms(strange),
            Terms(to=targets),
            Terms(groups=names),
            Terms(groups=(G,)),
            Terms(to=targets[:1], groups=(H,)),
        ):
            self.failureResultOf(self.ask(1, b"x", terms=terms), InvalidParameter)
        for bad in (-1, 4, 255):
            wrong: Any = bad
            refused = self.ask(1, b"x", guarantee=wrong)
            self.failureResultOf(refused, InvalidParameter)
        self.net.run()
        self.assertEqual(self.clients[1].events, [])


class PieceTests(TermsCase):
    """
    Messages in pieces.
    """

    def setUp(self) -> None:
        super().setUp()
        for module in (groupsrequests, groupssending):
            self.patch(module, "ATOMIC_MESSAGE_BYTES", 100)

    def test_ordered(self) -> None:
        """
        The place of a message in pieces is that of its last one.  (D19, D33)
        """
        sent = self.ask(1, b"small", bytes(250))
        self.net.run()
        receipt = self.successResultOf(sent)
        self.assertEqual(receipt.sequence, self.clients[2].places[1])
        self.assertGreater(
            receipt.sequence >> SEQUENCE_BITS,
            (self.clients[2].places[0] >> SEQUENCE_BITS) + 2,
        )

    def test_corosyncsForm(self) -> None:
        """
        Also in a ring with a real corosync node.  (D33)
        """
        self.net.kill(3)
        self.net.boot(3, foreign=True)
        self.net.form(1, 2, 3)
        self.net.run()
        sent = self.ask(1, bytes(250), bytes(350))
        self.net.run()
        self.assertEqual(self.successResultOf(sent).sequence, self.clients[2].places[1])

    def test_interrupted(self) -> None:
        """
        A change of the ring between the pieces is told in place of a receipt.
        """
        sent = self.ask(1, bytes(250))
        self.net.visit(1, 1)
        self.net.form(1, 2, 3)
        self.net.run()
        self.failureResultOf(sent, Interrupted)
        self.assertEqual(self.said(2), [])
        self.assertEqual(self.node(1).cpg.dump()["awaited"], 0)

    def test_to(self) -> None:
        """
        A long message for some members is for nobody else.  (D34, D19)
        """
        target = Member(2, 102)
        sent = self.ask(1, bytes(250), terms=Terms(to=(target,)))
        self.net.run()
        self.assertEqual(self.successResultOf(sent).targets, (target,))
        self.assertEqual([self.said(n) for n in (1, 2, 3)], [[], [bytes(250)], []])

    def test_groups(self) -> None:
        """
        A long message comes in all its groups.  (D37, D19)
        """
        for nodeid in (1, 2):
            self.node(nodeid).cpg.join(self.clients[nodeid], H)
        self.net.run()
        sent = self.ask(1, bytes(250), terms=Terms(groups=(H,)))
        self.net.run()
        self.successResultOf(sent)
        self.assertEqual([len(self.said(n)) for n in (1, 2, 3)], [2, 2, 1])


class TargetTests(TermsCase):
    """
    Messages for some members of a group.
    """

    def test_to(self) -> None:
        """
        A message for some members is shown to these only, at its place among
        all others.  (D34)
        """
        self.send(3, b"first")
        targets = (Member(2, 102), Member(3, 103))
        sent = self.ask(1, b"for two", terms=Terms(to=targets))
        self.send(2, b"last")
        self.net.run()
        order = [m for m in self.said(2) if m != b"for two"]
        self.assertEqual(self.said(1), order)
        self.assertEqual(self.said(2), self.said(3))
        self.assertEqual(self.clients[2].places, self.clients[3].places)
        receipt = self.successResultOf(sent)
        self.assertEqual(receipt.targets, targets)
        at = self.said(2).index(b"for two")
        self.assertEqual(receipt.sequence, self.clients[2].places[at])

    def test_gone(self) -> None:
        """
        The receipt says who of them was there.  (D34)
        """
        self.node(3).cpg.leave(self.clients[3], G)
        self.net.visit(3)
        targets = (Member(2, 102), Member(3, 103), Member(2, 7))
        sent = self.ask(1, b"x", terms=Terms(to=targets))
        self.net.run()
        self.assertEqual(self.successResultOf(sent).targets, targets[:1])
        self.assertEqual(self.said(3), [])

    def test_answeredWhenOrdered(self) -> None:
        """
        What may be refused in its place is answered there, though nothing more
        was asked for.  (D34)
        """
        sent = self.ask(1, b"x", terms=Terms(to=(Member(1, 101),)))
        self.assertNoResult(sent)
        self.net.run()
        self.assertEqual(self.successResultOf(sent).members, (1, 2, 3))
        self.assertEqual(self.said(1), [b"x"])

    def test_onceMore(self) -> None:
        """
        It stays for some when it has to be sent again.  (D34)
        """
        sent = self.ask(1, b"x", terms=Terms(to=(Member(2, 102),)))
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self.node(1).cpg.dump()["missed"], 1)
        self.assertEqual([self.said(n) for n in (1, 2, 3)], [[], [b"x"], []])
        self.successResultOf(sent)

    def test_notUnderstood(self) -> None:
        """
        In a ring with nodes that would show it to everybody it is refused, and
        shown to nobody, also if they came when it was under way.  (D34)
        """
        terms = Terms(to=(Member(2, 102),))
        self.net.kill(3)
        early = self.ask(1, b"early", terms=terms)
        self.net.boot(3, foreign=True)
        self.net.form(1, 2, 3)
        self.net.run()
        late = self.ask(1, b"late", terms=terms)
        plain = self.ask(1, b"plain")
        self.net.run()
        self.failureResultOf(early, NotSupported)
        self.failureResultOf(late, NotSupported)
        self.successResultOf(plain)
        self.assertEqual(self.said(2), [b"plain"])

    def test_olderNode(self) -> None:
        """
        A node of ours that does not know such terms yet is one of these.
        (D34)
        """
        self.net.kill(3)
        self.patch(
            __import__("corotwist.engines.manager").engines.manager,
            "FEATURES",
            Feature.COMPACT_CPG | Feature.FLOW,
        )
        self.net.boot(3)
        self.net.form(1, 2, 3)
        self.net.run()
        sent = self.ask(1, b"x", terms=Terms(to=(Member(2, 102),)))
        self.net.run()
        self.failureResultOf(sent, NotSupported)


class GroupsTests(TermsCase):
    """
    One message for several groups.
    """

    def setUp(self) -> None:
        super().setUp()
        for nodeid in (1, 2):
            self.node(nodeid).cpg.join(self.clients[nodeid], H)
        self.net.run()
        for client in self.clients.values():
            client.events.clear()

    def _heard(self, nodeid: int) -> list[tuple[bytes, bytes]]:
        events = self.clients[nodeid].events
        return [(e[1], e[3]) for e in events if e[0] == "message"]

    def test_samePlace(self) -> None:
        """
        It has one place in the order of all its groups, and comes once for each
        of them that a member is in, in the order in which they are named.
        (D37)
        """
        self.send(3, b"before")
        sent = self.ask(1, b"both", terms=Terms(groups=(H,)))
        send(self.node(2), self.clients[2], H, b"after")
        self.net.run()
        receipt = self.successResultOf(sent)
        both = [(G, b"both"), (H, b"both")]
        self.assertEqual(self._heard(1), self._heard(2))
        at = self._heard(1).index(both[0])
        self.assertEqual(self._heard(1)[at : at + 2], both)
        self.assertEqual([e for e in self._heard(3) if e in both], both[:1])
        places = self.clients[1].places
        self.assertEqual({*places[at : at + 2]}, {receipt.sequence})
        other = self._heard(3).index(both[0])
        self.assertEqual(self.clients[3].places[other], receipt.sequence)

    def test_closed(self) -> None:
        """
        Groups are closed: who sends has to be in each of them.  (D37)
        """
        sent = self.ask(3, b"x", terms=Terms(groups=(H,)))
        self.failureResultOf(sent, NotJoined)
        self.node(1).cpg.leave(self.clients[1], H)
        self.failureResultOf(self.ask(1, b"x", terms=Terms(groups=(H,))), NotJoined)
        self.net.run()
        self.assertEqual(self.said(2), [])

    def test_leaveBehind(self) -> None:
        """
        A leave of any of its groups goes behind the message.  (D37)
        """
        sent = self.ask(1, b"x", terms=Terms(groups=(H,)))
        self.node(1).cpg.leave(self.clients[1], H)
        self.net.form(1, 2, 3)
        self.net.run()
        self.successResultOf(sent)
        kinds = [e[0] if e[0] != "view" else e[1].group for e in self.clients[2].events]
        self.assertEqual(kinds, ["ring", "message", "message", H])

    def test_paused(self) -> None:
        """
        It waits while a member of any of its groups is to be waited for, and
        what the client says after it does, too.  (D12, D37, D38)
        """
        self.clients[2].fallBehind()
        self.net.run()
        self.assertIn((H, True), self.clients[1].pauses)
        sent = self.ask(1, b"both", terms=Terms(groups=(H,)))
        self.net.run()
        self.assertNoResult(sent)
        self.assertEqual(self.said(3), [])
        self.clients[2].catchUp()
        self.net.run()
        self.successResultOf(sent)
        self.assertEqual(self.said(3), [b"both"])

    def test_onlyFurtherPaused(self) -> None:
        """
        Also if it is not the first group that is paused; a join, and a leave of
        another group, need not wait behind it.  (D12, D37, D39)
        """
        slow = self.joined(2, 50, H)
        slow.fallBehind()
        self.net.run()
        sent = self.ask(1, b"both", terms=Terms(groups=(H,)))
        self.node(1).cpg.join(self.clients[1], b"third")
        self.net.run()
        self.assertNoResult(sent)
        self.assertEqual(self.node(1).cpg.members(b"third"), (Member(1, 101),))
        self.node(1).cpg.leave(self.clients[1], H)
        self.node(1).cpg.leave(self.clients[1], b"third")
        self.net.run()
        self.assertEqual(self.node(1).cpg.members(b"third"), ())
        self.assertIn(Member(1, 101), self.node(1).cpg.members(H))
        slow.catchUp()
        self.net.run()
        self.successResultOf(sent)
        self.assertNotIn(Member(1, 101), self.node(1).cpg.members(H))


class ViewTermTests(TermsCase):
    """
    Messages for one view.
    """

    def _view(self) -> ViewId:
        return self.node(1).manager.views.current.viewId

    def test_there(self) -> None:
        """
        A message for the view in force is delivered in it.  (X2)
        """
        sent = self.ask(1, b"x", terms=Terms(view=self._view()))
        self.net.run()
        self.assertEqual(self.successResultOf(sent).viewId, self._view())
        self.assertEqual(self.said(3), [b"x"])

    def test_over(self) -> None:
        """
        Where another view is in force it is refused, also if the ring changed
        when it was under way.  (X2)
        """
        view = self._view()
        early = self.ask(1, b"early", terms=Terms(view=view))
        self.net.form(1, 2, 3)
        self.net.run()
        late = self.ask(1, b"late", terms=Terms(view=view))
        never = self.ask(1, b"never", terms=Terms(view=ViewId(RingId(1, 1), 0)))
        self.net.run()
        for sent in (early, late, never):
            self.failureResultOf(sent, Interrupted)
        self.assertEqual([self.said(n) for n in (1, 2, 3)], [[], [], []])

    def test_otherVerdict(self) -> None:
        """
        Another verdict on the same ring is another view, for all alike.  (X2)
        """
        sent = self.ask(1, b"x", terms=Terms(view=self._view()))
        for node in self.net.nodes.values():
            node.manager.views._judge = lambda: (False, {"rule": "test"})
            node.manager.views.verdictChanged()
        self.net.run()
        self.failureResultOf(sent, Interrupted)
        self.assertEqual([self.said(n) for n in (1, 2, 3)], [[], [], []])


class TurnsTests(TermsCase):
    """
    Clients of one node.
    """

    def test_turns(self) -> None:
        """
        One that floods with messages for some, for several groups and with
        answers keeps another one waiting for a turn only.  (D39)
        """
        self.patch(groupssending, "IN_FLIGHT_BYTES", 50)
        self.node(1).cpg.join(self.clients[1], H)
        quiet = self.joined(1, 50)
        kinds = (ORDERED, Terms(to=(Member(2, 102),)), Terms(groups=(H,)))
        flood = [self.ask(1, b"flood", terms=kinds[n % 3]) for n in range(300)]
        sent = send(self.node(1), quiet, G, b"quiet", terms=ORDERED)
        while not sent.called:
            self.net.rotate()
        self.assertLess(sum(one.called for one in flood), 10)
        self.assertEqual(self.said(3).count(b"quiet"), 1)
        self.net.run()
        self.assertTrue(all(one.called for one in flood))


class DiscardTests(TermsCase):
    """
    Own messages.
    """

    def test_discarded(self) -> None:
        """
        A member that does not want what it sends gets everything else, also
        from other clients of its node; it hears of its message all the same.
        (D22)
        """
        quiet, other = Listener(50), Listener(51)
        self.node(1).cpg.join(quiet, G, discardOwn=True)
        self.node(1).cpg.join(other, G)
        self.net.run()
        sent = send(self.node(1), quiet, G, b"own", terms=ORDERED)
        self.send(1, b"neighbour's")
        self.send(2, b"another's")
        self.net.run()
        self.successResultOf(sent)
        self.assertEqual(set(quiet.messages()), {b"neighbour's", b"another's"})
        self.assertIn(b"own", other.messages())

    def test_samePidElsewhere(self) -> None:
        """
        A process of the same number on another node is another one.  (D22)
        """
        quiet, namesake = Listener(60), Listener(60)
        self.node(1).cpg.join(quiet, G, discardOwn=True)
        self.node(2).cpg.join(namesake, G)
        self.net.run()
        send(self.node(2), namesake, G, b"x")
        self.net.run()
        self.assertEqual(quiet.messages(), [b"x"])
