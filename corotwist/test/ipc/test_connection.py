"""
One client: what waits for it, and until when.
"""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.engines.batch import pack
from corotwist.engines.interfaces import (
    GroupView,
    IGroupSubscriber,
    Member,
    Position,
)
from corotwist.interfaces import IConnection
from corotwist.ipc.channel import Box
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.cpg import PLACE
from corotwist.ipc.dispatch import MOST_PLACES
from corotwist.ipc.wire import (
    DISPATCH_QUEUE_BYTES,
    DISPATCH_QUEUE_MESSAGES,
    DISPATCH_WINDOW_BYTES,
    NOTIFICATION_COST,
    PART_BYTES,
    Closing,
)
from corotwist.totem.membership import Guarantee, RingId

SENDER = Member(2, 3)


class Sink:
    """
    An outlet that keeps what it got.
    """

    def __init__(self) -> None:
        self.congested = False
        self.boxes: list[Box] = []

    def sendBox(self, box: Box) -> None:
        self.boxes.append(box)

    def sentBytes(self) -> int:
        return sum(len(box[b"batch"]) for box in self.boxes)


class ConnectionTests(SynchronousTestCase):
    """
    L{Connection}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.sink = Sink()
        self.cuts: list[Any] = []
        self.connection = Connection(
            Credentials(10, 20, 30),
            self.clock,
            self.sink,
            lambda connection, reason: self.cuts.append((connection, reason)),
        )

    def deliver(self, size: int = 100, count: int = 1, group: bytes = b"g") -> None:
        batch = pack([bytes(size)] * count)
        self.connection.messagesDelivered(group, SENDER, batch, count)

    def test_interfaces(self) -> None:
        """
        It is what engines expect.
        """
        verifyObject(IConnection, self.connection)
        verifyObject(IGroupSubscriber, self.connection)
        who = self.connection
        self.assertEqual((who.pid, who.uid, who.gid), (10, 20, 30))

    def test_oneTurnOneBox(self) -> None:
        """
        What is delivered in one turn leaves together, on the next.
        """
        for _ in range(5):
            self.deliver()
        self.assertEqual(self.sink.boxes, [])
        self.clock.advance(0)
        (box,) = self.sink.boxes
        self.assertEqual(box[b"count"], b"5")

    def test_places(self) -> None:
        """
        With the first part of messages come the places of all batches in it;
        batches that are safe do not travel with those that are not.  (D21)
        """
        for guarantee in (Guarantee.AGREED, Guarantee.SAFE):
            for place in (1, 2):
                position = Position(place << 20, guarantee)
                self.connection.messagesDelivered(
                    b"g", SENDER, pack([b"x"] * place), place, position
                )
        large = pack([bytes(PART_BYTES)])
        last = Position(9 << 20, Guarantee.AGREED)
        self.connection.messagesDelivered(b"g", SENDER, large, 1, last)
        self.clock.advance(0)
        told = [
            (box.get(b"guarantee"), [*PLACE.iter_unpack(box.get(b"places", b""))])
            for box in self.sink.boxes
        ]
        both = [(1 << 20, 1), (2 << 20, 2)]
        self.assertEqual(
            told, [(None, both), (b"3", both), (None, [(9 << 20, 1)]), (None, [])]
        )

    def test_tiny(self) -> None:
        """
        However small batches are, their places fit into the box.
        """
        for _ in range(3 * MOST_PLACES // 2):
            self.connection.messagesDelivered(b"g", SENDER, pack([b""]), 1)
        self.clock.advance(0)
        sizes = [len(box[b"places"]) for box in self.sink.boxes]
        self.assertEqual(sizes, [12 * MOST_PLACES, 12 * (MOST_PLACES // 2)])
        self.assertLess(max(sizes), 1 << 16)

    def test_order(self) -> None:
        """
        Views, rings, notifications and messages keep their order.
        """
        self.deliver()
        self.connection.viewChanged(GroupView(b"g", (), (), ()))
        self.deliver()
        self.connection.ringChanged(RingId(1, 2), (2,))
        self.connection.tell(Closing, reason="a third party")
        self.clock.advance(0)
        self.assertEqual(
            [box[b"_command"] for box in self.sink.boxes],
            [b"cpg.deliver", b"cpg.view", b"cpg.deliver", b"cpg.ring", b"closing"],
        )

    def test_window(self) -> None:
        """
        No more than the window and one part leave before the client
        acknowledges; each acknowledgement lets as much follow.
        """
        total = 2 * DISPATCH_WINDOW_BYTES
        self.deliver(total)
        self.clock.advance(0)
        sent = self.sink.sentBytes()
        self.assertGreaterEqual(sent, DISPATCH_WINDOW_BYTES)
        self.assertLess(sent, DISPATCH_WINDOW_BYTES + PART_BYTES)
        self.connection.creditReceived(PART_BYTES)
        self.assertEqual(self.sink.sentBytes(), sent + PART_BYTES)
        self.connection.creditReceived(total)
        self.connection.creditReceived(total)
        self.assertEqual(self.sink.sentBytes(), total + 4)

    def test_creditIsNotSaved(self) -> None:
        """
        Acknowledging more than was sent gains nothing.
        """
        self.connection.creditReceived(2**32 - 1)
        self.deliver(2 * DISPATCH_WINDOW_BYTES)
        self.clock.advance(0)
        self.assertLess(self.sink.sentBytes(), DISPATCH_WINDOW_BYTES + PART_BYTES)

    def test_notificationsCost(self) -> None:
        """
        Views count, too: their number ahead of the client is bounded.
        """
        most = DISPATCH_WINDOW_BYTES // NOTIFICATION_COST
        for _ in range(most + 10):
            self.connection.viewChanged(GroupView(b"g", (), (), ()))
        self.clock.advance(0)
        self.assertEqual(len(self.sink.boxes), most)

    def test_congested(self) -> None:
        """
        Nothing is written to a congested connection; it goes on after.
        """
        self.sink.congested = True
        self.deliver()
        self.clock.advance(0)
        self.assertEqual(self.sink.boxes, [])
        self.sink.congested = False
        self.connection.flush()
        self.assertEqual(len(self.sink.boxes), 1)

    def test_tooManyBytes(self) -> None:
        """
        A client behind which too many bytes wait is cut off, once, and not
        from within the engine's call; nothing is kept for it any more.
        """
        for _ in range(2 * DISPATCH_QUEUE_BYTES // (1 << 20)):
            self.deliver(1 << 20)
        self.assertEqual(self.cuts, [])
        self.assertEqual(self.connection.waiting()["queuedBytes"], 0)
        self.clock.advance(0)
        self.clock.advance(0)
        ((connection, reason),) = self.cuts
        self.assertIs(connection, self.connection)
        self.assertIn("too slow", reason)
        self.assertEqual(self.sink.boxes, [])

    def test_justNotTooMany(self) -> None:
        """
        Up to the bound nothing happens.
        """
        self.deliver(DISPATCH_QUEUE_BYTES - 4)
        self.clock.advance(0)
        self.assertEqual(self.cuts, [])
        self.assertGreater(self.sink.sentBytes(), 0)

    def test_tooManyMessages(self) -> None:
        """
        Messages are counted, too, however small.
        """
        for _ in range(DISPATCH_QUEUE_MESSAGES // 1000 + 1):
            self.deliver(0, count=1000)
        self.clock.advance(0)
        self.assertEqual(len(self.cuts), 1)

    def test_closed(self) -> None:
        """
        When it is closed those who want to know are told, once, and what comes
        then goes nowhere.
        """
        told: list[int] = []
        self.connection.atEnd(lambda: told.append(1))
        self.deliver()
        self.connection.closed()
        self.connection.closed()
        self.deliver()
        self.connection.viewChanged(GroupView(b"g", (), (), ()))
        self.clock.advance(0)
        self.assertEqual(told, [1])
        self.assertEqual(self.sink.boxes, [])
        self.assertEqual(self.connection.waiting()["queuedMessages"], 0)
