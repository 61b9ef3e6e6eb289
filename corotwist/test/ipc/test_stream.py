"""
All events of a client in one order.
"""

from typing import Any

from twisted.internet.defer import Deferred

from corotwist.engines.interfaces import (
    Cause,
    GroupView,
    Level,
    Member,
    Receipt,
    TransitionalView,
    View,
)
from corotwist.errors import BadHandle, Busy, Exists
from corotwist.ipc.client import NodeClient
from corotwist.ipc.events import Event, Gap, Message
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.stream import Stream
from corotwist.ipc.wire import DISPATCH_WINDOW_BYTES, NOTIFICATION_COST
from corotwist.test.ipc.cluster import ClusterCase


def kinds(events: list[Any]) -> list[str]:
    """
    What came, in words.
    """
    return [type(event).__name__ for event in events]


class StreamCase(ClusterCase):
    """
    A process on node 1 with a stream, one on node 2 in the same groups.
    """

    def setUp(self) -> None:
        super().setUp()
        self.mine = self.client(1)
        self.other = self.client(2)
        self.stream = self.mine.stream()

    def events(self, stream: Stream | ProcessGroup) -> list[Event]:
        """
        Everything that waits in a stream.
        """
        found: list[Event] = []
        while True:
            asked = Deferred.fromCoroutine(stream.__anext__())
            self.turn()
            if not asked.called:
                asked.cancel()
                self.failureResultOf(asked)
                return found
            try:
                found.append(self.successResultOf(asked))
            except self.failureException:
                return found

    def connection(self) -> Any:
        """
        Of the process on node 1, at its node.
        """
        return self.mine._remote._connection


class OrderTests(StreamCase):
    """
    The order of events.
    """

    def test_viewFirst(self) -> None:
        """
        The first event is the view in force: who is here, and may we act.
        (D26, X3)
        """
        (view,) = self.events(self.stream)
        assert isinstance(view, View)
        self.assertEqual(view.members, (1, 2, 3))
        self.assertTrue(view.quorate)
        self.assertEqual(self.mine.views.current, view)

    def test_severalGroups(self) -> None:
        """
        Messages of all groups come in the order that they were sent in, each
        with the view it was ordered in, and a place that rises.  (D21)
        """
        for name in (b"a", b"b"):
            self.result(self.stream.join(name))
        (view, *_) = self.events(self.stream)
        assert isinstance(view, View)
        groups = [self.result(self.other.groups.join(name)) for name in (b"a", b"b")]
        for n in range(20):
            groups[n % 3 == 0].send(b"%d" % n)
        found = [e for e in self.events(self.stream) if isinstance(e, Message)]
        self.assertEqual([m.payload for m in found], [b"%d" % n for n in range(20)])
        self.assertEqual([m.group for m in found[:4]], [b"b", b"a", b"a", b"b"])
        self.assertEqual({m.view for m in found}, {view.viewId})
        places = [m.sequence for m in found]
        self.assertEqual(places, sorted({*places}))
        self.assertGreater(places[0], 0)

    def test_ringChange(self) -> None:
        """
        When a node is lost: who comes along, what is left of the ring, the view
        with its verdict, the views of groups, and then what comes after.  (D26,
        D27, X3)
        """
        self.result(self.stream.join(b"g"))
        third = self.client(3)
        dying = self.result(third.groups.join(b"g"))
        self.events(self.stream)
        # Ordered by the others, and not yet here when the ring ends.
        dying.send(b"last words")
        self.net.clock.advance(0)
        self.net.visit(3)
        self.net.receive(2, 99)
        self.net.form(1, 2)
        self.turn()
        found = self.events(self.stream)
        self.assertEqual(kinds(found)[-3:], ["TransitionalView", "View", "GroupView"])
        self.assertIn("Message", kinds(found)[:-2])
        transition, view, group = found[-3:]
        assert isinstance(transition, TransitionalView)
        assert isinstance(view, View)
        assert isinstance(group, GroupView)
        self.assertEqual(transition.members, (1, 2))
        self.assertEqual([change.nodeid for change in view.left], [3])
        self.assertEqual(view.left[0].cause, Cause.LOST)
        self.assertEqual([c.member for c in group.left], [Member(3, 100)])
        self.assertEqual(group.view, view)

    def test_sameForAll(self) -> None:
        """
        Two processes on two nodes see the same, event by event, with the same
        places.  (D21, X3)
        """
        their = self.other.stream()
        for stream in (self.stream, their):
            self.result(stream.join(b"g"))
        logs = [self.events(stream) for stream in (self.stream, their)]
        sender = self.result(self.client(3).groups.join(b"g"))
        for n in range(10):
            sender.send(b"%d" % n)
        self.turn()
        self.net.form(1, 2)
        self.turn()
        logs = [self.events(stream) for stream in (self.stream, their)]
        self.assertEqual(*logs)
        self.assertEqual(len(logs[0]), 14)
        places = [[e.sequence for e in log if isinstance(e, Message)] for log in logs]
        self.assertEqual(*places)

    def test_guarantee(self) -> None:
        """
        A message says whether it was safe when it came.  (D21)
        """
        group = self.result(self.stream.join(b"g"))
        for guarantee in (3, 2, 3):
            group.send(b"", guarantee)
        found = [e for e in self.events(self.stream) if isinstance(e, Message)]
        self.assertEqual([m.guarantee for m in found], [3, 2, 3])

    def test_receipt(self) -> None:
        """
        What a sender is told of its message is what others see at it.  (D21,
        D33)
        """
        self.result(self.stream.join(b"g"))
        sender = self.result(self.other.groups.join(b"g"))
        receipt = self.result(sender.send(b"x", level=Level.ORDERED))
        assert isinstance(receipt, Receipt)
        (message,) = (e for e in self.events(self.stream) if isinstance(e, Message))
        self.assertEqual(message.sequence, receipt.sequence)
        self.assertEqual(message.view, receipt.viewId)
        self.assertEqual(receipt.members, (1, 2, 3))


class LifeTests(StreamCase):
    """
    From the beginning of a stream to its end.
    """

    def test_callback(self) -> None:
        """
        With a callback each event goes there, in the same order; one that
        raises is logged, and gets the next.  (D26)
        """
        heard: list[Event] = []

        def failing(event: Event) -> None:
            heard.append(event)
            raise ZeroDivisionError

        stream = self.mine.stream(failing)
        group = self.result(stream.join(b"g"))
        group.send(b"x")
        self.turn()
        self.assertEqual(kinds(heard), ["View", "GroupView", "Message"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        iterated = Deferred.fromCoroutine(stream.__anext__())
        self.failureResultOf(iterated, BadHandle)
        self.failureResultOf(Deferred.fromCoroutine(group.__anext__()), BadHandle)

    def test_oneIteration(self) -> None:
        """
        Two cannot iterate at once; a group is joined once.
        """
        self.events(self.stream)
        waiting = Deferred.fromCoroutine(self.stream.__anext__())
        second = Deferred.fromCoroutine(self.stream.__anext__())
        self.failureResultOf(second, Busy)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.result(self.stream.join(b"g"))
        self.failureResultOf(self.mine.groups.join(b"g"), Exists)

    def test_again(self) -> None:
        """
        When the connection is lost there is one gap for all groups; after it is
        found the view, and the groups again.  (A57)
        """
        for name in (b"a", b"b"):
            self.result(self.stream.join(name))
        self.events(self.stream)
        self.mine._remote.close()
        self.turn()
        (gap,) = self.events(self.stream)
        assert isinstance(gap, Gap)
        self.assertIsNone(gap.group)
        self.assertFalse(self.mine.views.current.quorate)
        self.pass_(1.0)
        self.assertEqual(
            kinds(self.events(self.stream)), ["View", "GroupView", "GroupView"]
        )

    def test_backPressure(self) -> None:
        """
        What nobody iterates over waits at the node: a window is kept here,
        and nothing is lost.
        """
        self.result(self.stream.join(b"g"))
        reading = self.other.groups.join(b"g", delivered=lambda *message: None)
        sender = self.result(reading)
        count = 4 * DISPATCH_WINDOW_BYTES // 10_000
        for n in range(count):
            sender.send(b"%4d" % n * 2500)
            self.turn()
        waiting = self.connection().waiting()
        self.assertGreater(waiting["queuedBytes"], 2 * DISPATCH_WINDOW_BYTES)
        found = [e for e in self.events(self.stream) if isinstance(e, Message)]
        self.assertEqual([int(m.payload[:4]) for m in found], [*range(count)])

    def test_viewsWait(self) -> None:
        """
        So it is with views of nodes: the slowest stream acknowledges them, and
        one that is closed keeps nobody.
        """
        quick = self.mine.stream()
        before = self.connection().waiting()["unacknowledgedBytes"]
        for members in ((1, 2), (1, 2, 3)) * 5:
            self.net.form(*members)
            self.turn()
        views = [e for e in self.events(quick) if isinstance(e, View)]
        self.assertEqual(len(views), 11)
        after = self.connection().waiting()["unacknowledgedBytes"]
        self.assertGreaterEqual(after - before, 20 * NOTIFICATION_COST)
        given = self.mine._remote._credits
        owed = given._consumed
        self.result(self.stream.close())
        self.assertGreaterEqual(given._consumed - owed, 20 * NOTIFICATION_COST)
        self.assertEqual(self.events(quick), [])

    def test_leave(self) -> None:
        """
        A group of a stream is left like any other; the others go on.
        """
        group = self.result(self.stream.join(b"a"))
        self.result(self.stream.join(b"b"))
        self.result(group.leave())
        found = self.events(self.stream)
        last = found[-1]
        assert isinstance(last, GroupView)
        self.assertEqual((last.group, last.members), (b"a", ()))
        self.result(self.stream.join(b"a"))
        self.assertEqual(kinds(self.events(self.stream)), ["GroupView"])

    def test_close(self) -> None:
        """
        Who closes a stream is out of its groups; iterating ends behind the last
        view.
        """
        self.result(self.stream.join(b"g"))
        self.result(self.stream.close())
        self.net.form(1, 2)
        found = self.events(self.stream)
        self.assertEqual(kinds(found), ["View", "GroupView", "GroupView"])
        over = Deferred.fromCoroutine(self.stream.__anext__())
        self.failureResultOf(over, StopAsyncIteration)
        self.assertEqual(self.result(self.mine.groups.groups()), ())

    def test_stopped(self) -> None:
        """
        When the client is stopped the stream ends.
        """
        self.result(self.stream.join(b"g"))
        self.result(self.mine.stopService())
        self.events(self.stream)
        over = Deferred.fromCoroutine(self.stream.__anext__())
        self.failureResultOf(over, StopAsyncIteration)


class GroupTests(StreamCase):
    """
    A single group with views of nodes.
    """

    def test_nodes(self) -> None:
        """
        Who asks for them has the views of nodes among the events of a group; who
        does not, has not.  (D26)
        """
        joining = [
            self.mine.groups.join(b"with", nodes=True),
            self.mine.groups.join(b"without"),
        ]
        given, plain = [self.result(joined) for joined in joining]
        self.net.form(1, 2)
        self.turn()
        expected = ["View", "GroupView", "TransitionalView", "View"]
        self.assertEqual(kinds(self.events(given)), expected)
        self.assertEqual(kinds(self.events(plain)), ["GroupView"])
        self.result(given.leave())
        self.net.form(1, 2, 3)
        self.turn()
        self.assertEqual(kinds(self.events(given)), ["GroupView"])

    def test_without(self) -> None:
        """
        A client that does not follow the nodes knows the verdict of each view
        of a group, and its name.  (D21)
        """
        views: list[GroupView] = []
        messages: list[Message] = []

        def heard(event: Event) -> None:
            if isinstance(event, GroupView):
                views.append(event)
            elif isinstance(event, Message):
                messages.append(event)

        self.patch(NodeClient, "_viewReceived", lambda client, box: client._consumed())
        blind = self.client(2, pid=7)
        group = self.result(blind.groups.join(b"g", heard=heard))
        group.send(b"x")
        self.turn()
        node = self.net.nodes[2].manager.views.current
        self.assertEqual(views[0].view.viewId, node.viewId)
        self.assertTrue(views[0].view.quorate)
        self.assertEqual(messages[0].view, node.viewId)
