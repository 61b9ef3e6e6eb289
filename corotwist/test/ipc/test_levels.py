"""
How far a message is when its sender is told, and what else a sender may ask for.
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from corotwist.engines.interfaces import (
    Level,
    Member,
    Receipt,
    ViewId,
)
from corotwist.errors import (
    Conflict,
    Disconnected,
    Interrupted,
    InvalidParameter,
    NotJoined,
    NotQuorate,
    NotSupported,
    TimedOut,
)
from corotwist.ipc.cpg import GroupsLocator
from corotwist.ipc.events import Message
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.outbox import PROMISES_IN_FLIGHT, UNDERWAY_BYTES
from corotwist.test.ipc.cluster import ClusterCase
from corotwist.totem.membership import NO_RING, Guarantee

SENDER, OTHER = Member(1, 100), Member(2, 100)


class LevelCase(ClusterCase):
    """
    A process on each of two of three nodes, in one group.

    @ivar heard: what each of them was delivered, by nodeid.
    """

    def setUp(self) -> None:
        super().setUp()
        self.heard: dict[int, list[Message]] = {}
        self.mine = self.joined(1)
        self.first = self.node
        self.other = self.joined(2)

    def joined(self, nodeid: int, name: bytes = b"g", **wishes: Any) -> ProcessGroup:
        """
        A new process on a node, as a member.
        """
        self.node = self.client(nodeid)
        heard = self.heard.setdefault(nodeid, [])

        def took(event: Any) -> None:
            if isinstance(event, Message):
                heard.append(event)

        group = self.result(self.node.groups.join(name, heard=took, **wishes))
        assert isinstance(group, ProcessGroup)
        return group

    def started(self, sent: Deferred[Any]) -> Deferred[Any]:
        """
        It left the client, and no token came yet.
        """
        self.net.clock.advance(0)
        return sent


class LevelTests(LevelCase):
    """
    Queued, ordered, safe.
    """

    def test_queued(self) -> None:
        """
        By default the sender is told when the node has it, with nothing more to
        know; no token need have come.  (X2)
        """
        sent = self.started(self.mine.send(b"x"))
        self.assertIsNone(self.successResultOf(sent))
        self.assertEqual(self.heard[1], [])

    def test_ordered(self) -> None:
        """
        One that wants to be told when the message is ordered is told when it is
        delivered here: where, in which view, and who is on the ring.  (D33, X2)
        """
        sent = self.started(self.mine.send(b"x", level=Level.ORDERED))
        self.assertNoResult(sent)
        self.net.visit(1)
        self.assertNoResult(sent)
        self.net.receive(1, 1)
        self.net.clock.advance(0)
        receipt = self.successResultOf(sent)
        (message,) = self.heard[1]
        self.assertEqual(receipt.sequence, message.sequence)
        view = self.net.nodes[1].manager.views.current
        self.assertEqual((receipt.viewId, receipt.members), (view.viewId, (1, 2, 3)))
        self.assertEqual(self.heard[2], [])

    def test_safe(self) -> None:
        """
        One that wants to be told when it is safe waits until every node has it,
        and is told who they are.  (D33, X2)
        """
        sent = self.started(self.mine.send(b"x", level=Level.SAFE))
        self.net.visit(1)
        for nodeid in (1, 2):
            self.net.receive(nodeid, 1)
        self.net.clock.advance(0)
        self.net.visit(1, 0)
        self.net.clock.advance(0)
        self.assertNoResult(sent)
        self.net.receive(3, 1)
        receipt = self.result(sent)
        self.assertEqual(receipt.members, (1, 2, 3))

    def test_each(self) -> None:
        """
        Of messages sent at once each has its own receipt; of those that are
        sent together it is of the last.  (D33)
        """
        sent = [self.mine.send(b"%d" % n, level=Level.ORDERED) for n in range(100)]
        together = self.mine.sendAll([b"a", b"b", b"c"], level=Level.ORDERED)
        self.turn()
        receipts = [self.successResultOf(one) for one in (*sent, together)]
        places = [message.sequence for message in self.heard[2]]
        self.assertEqual(len(places), 103)
        expected = [*places[:100], places[-1]]
        self.assertEqual([r.sequence for r in receipts], expected)
        self.assertGreater(len(sent), 2 * PROMISES_IN_FLIGHT)

    def test_mixed(self) -> None:
        """
        Messages of all levels come in the order of the calls.  (X2)
        """
        answers = [self.mine.send(b"%d" % n, level=Level(n % 3)) for n in range(60)]
        self.turn()
        for answer in answers:
            self.successResultOf(answer)
        payloads = [message.payload for message in self.heard[2]]
        self.assertEqual(payloads, [b"%d" % n for n in range(60)])

    def test_ringLost(self) -> None:
        """
        What was queued goes out on the next ring, and that is where it is
        ordered.  (D33)
        """
        sent = self.started(self.mine.send(b"x", level=Level.ORDERED))
        self.net.kill(3)
        self.net.form(1, 2)
        receipt = self.result(sent)
        self.assertEqual(receipt.members, (1, 2))
        self.assertEqual(receipt.viewId, self.heard[2][0].view)

    def test_connectionLost(self) -> None:
        """
        Who loses its node while it waits does not know.  (X2)
        """
        sent = self.started(self.mine.send(b"x", level=Level.SAFE))
        self.first._remote.close()
        self.net.clock.advance(0)
        self.failureResultOf(sent, Disconnected)


class PatienceTests(LevelCase):
    """
    Who does not want to wait.
    """

    def test_cancel(self) -> None:
        """
        To cancel is to stop waiting; the message is on its way.  (X2)
        """
        sent = self.started(self.mine.send(b"x", level=Level.SAFE))
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.turn()
        self.assertEqual([m.payload for m in self.heard[2]], [b"x"])

    def test_timeLimit(self) -> None:
        """
        So is a time limit, after which it is said that it passed.  (X2)
        """
        sent = self.mine.send(b"x", level=Level.ORDERED, timeout=2.0)
        together = self.mine.sendAll([b"y"], timeout=2.0)
        self.net.clock.advance(1.9)
        self.successResultOf(together)
        self.assertNoResult(sent)
        self.net.clock.advance(0.2)
        self.failureResultOf(sent, TimedOut)
        self.turn()
        self.assertEqual([m.payload for m in self.heard[2]], [b"x", b"y"])


class TermsTests(LevelCase):
    """
    For whom, where, and in which view.
    """

    def test_wrong(self) -> None:
        """
        A guarantee or a level that there is not, and a message for nobody, is
        error 7 at once, and nothing is sent.  (D9)
        """
        mine: Any = self.mine
        for wrong in (
            mine.send(b"", 4),
            mine.send(b"", -1),
            mine.sendAll([b""], 4),
            mine.send(b"", level=3),
            mine.sendAll([b""], level=-1),
            mine.send(b"", to=[]),
        ):
            error = self.failureResultOf(wrong, InvalidParameter).value
            self.assertEqual(error.code, 7)
        for guarantee in Guarantee:
            self.successResultOf(self.started(self.mine.send(b"", guarantee)))
        self.turn()
        self.assertEqual(len(self.heard[1]), 4)

    def test_to(self) -> None:
        """
        A message to some is shown to nobody else, at its place in the order; the
        receipt says who of them was there.  (D34)
        """
        stranger = Member(3, 1)
        self.mine.send(b"before")
        sent = self.mine.send(b"for you", to=[OTHER, stranger])
        self.mine.send(b"after")
        receipt = self.result(sent)
        self.assertEqual(receipt.targets, (OTHER,))
        mine = [m.payload for m in self.heard[1]]
        theirs = [m.payload for m in self.heard[2]]
        self.assertEqual(mine, [b"before", b"after"])
        self.assertEqual(theirs, [b"before", b"for you", b"after"])

    def test_also(self) -> None:
        """
        A message to several groups is at one place in the order of all of them.
        (D37)
        """
        second = self.result(self.node.groups.join(b"h"))
        refused = self.other.send(b"", also=[b"strange"])
        self.turn()
        self.failureResultOf(refused, NotJoined)
        receipt = self.result(self.other.send(b"both", also=[b"h"]))
        view, message = [
            self.result(Deferred.fromCoroutine(second.__anext__())) for _ in range(2)
        ]
        self.assertEqual(view.group, b"h")
        self.assertEqual((message.group, message.payload), (b"h", b"both"))
        self.assertEqual(message.sequence, receipt.sequence)
        self.assertEqual(self.heard[1][-1].sequence, receipt.sequence)

    def test_view(self) -> None:
        """
        A message for one view is not delivered in another one.  (X2)
        """
        now = self.net.nodes[1].manager.views.current.viewId
        receipt = self.result(self.mine.send(b"in time", view=now))
        self.assertEqual(receipt.viewId, now)
        late = self.started(self.mine.send(b"too late", view=now))
        self.net.form(1, 2)
        self.turn()
        self.failureResultOf(late, Interrupted)
        wrong = self.mine.send(b"nowhere", view=ViewId(NO_RING, 7))
        self.turn()
        self.failureResultOf(wrong, Interrupted)
        self.assertEqual([m.payload for m in self.heard[2]], [b"in time"])

    def test_flood(self) -> None:
        """
        What does not come back to its sender is not waited for: messages to
        others, or of one who does not want its own.  (D22)
        """
        quiet = self.joined(3, discardOwn=True)
        for n in range(3):
            size = UNDERWAY_BYTES
            sent = quiet.send(bytes([n]) * size)
            self.turn()
            self.successResultOf(sent)
            sent = self.mine.send(b"x" * size, to=[OTHER])
            self.turn()
            self.successResultOf(sent)
        self.assertEqual(self.heard[3], [])
        self.assertEqual(len(self.heard[2]), 6)


class QuorateTests(LevelCase):
    """
    Groups that are quorate, as applications have them.
    """

    def test_quorate(self) -> None:
        """
        What is sent where the nodes are quorate is answered with a token; where
        they are not it waits, or fails, and nobody gets it; other groups go on
        everywhere.  (X4)
        """
        one, two = [self.joined(n, b"q", quorate=True) for n in (1, 2)]
        receipt = self.result(one.send(b"first", level=Level.ORDERED))
        view = self.net.nodes[1].manager.views.current
        self.assertTrue(view.quorate)
        self.assertEqual(receipt.viewId, view.viewId)
        self.net.form(1)
        self.net.form(2, 3)
        self.turn()
        refused = one.send(b"nowhere")
        accepted = two.send(b"second", level=Level.ORDERED)
        plain = self.mine.send(b"plain")
        self.turn()
        self.failureResultOf(refused, NotQuorate)
        self.assertGreater(self.successResultOf(accepted).viewId, receipt.viewId)
        self.assertIsNone(self.successResultOf(plain))
        told = [m.payload for m in self.heard[1]], [m.payload for m in self.heard[2]]
        self.assertEqual(told, ([b"first", b"plain"], [b"first", b"second"]))

    def test_otherKind(self) -> None:
        """
        A group is of one kind.  (X4)
        """
        client = self.client(3)
        refused = client.groups.join(b"g", quorate=True)
        self.turn()
        self.failureResultOf(refused, Conflict)


class OlderNodeTests(LevelCase):
    """
    A node that does not know levels.
    """

    def test_older(self) -> None:
        """
        The message is sent, and its sender told that nobody knows how far it
        is.  (X2)
        """
        received = GroupsLocator._sendReceived

        def older(locator: GroupsLocator, box: Any) -> Any:
            return received(locator, type(box)({**box, b"level": b"0"}))

        self.patch(GroupsLocator, "_sendReceived", older)
        late = self.joined(3)
        sent = late.send(b"x", level=Level.ORDERED)
        self.turn()
        self.failureResultOf(sent, NotSupported)
        self.assertEqual([m.payload for m in self.heard[2]], [b"x"])


class ReceiptTests(LevelCase):
    """
    Values.
    """

    def test_comparable(self) -> None:
        """
        The later of two receipts of a ring has the larger place.  (D33)
        """
        receipts: list[Receipt] = [
            self.result(group.send(b"", level=Level.ORDERED))
            for group in (self.mine, self.other) * 3
        ]
        places = [receipt.sequence for receipt in receipts]
        self.assertEqual(places, sorted({*places}))
