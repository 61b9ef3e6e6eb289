"""
Clients, over sockets and without: the same tests for both.
"""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import IpcSettings
from corotwist.engines.batch import OVERHEAD
from corotwist.engines.interfaces import (
    Change,
    GroupView,
    Member,
    Reason,
    SlowReader,
)
from corotwist.errors import (
    AccessDenied,
    BadHandle,
    Busy,
    Disconnected,
    Exists,
    InvalidParameter,
    NameTooLong,
    NotExist,
    NotJoined,
    NotSupported,
    ServiceError,
    TimedOut,
    TooBig,
    TryAgain,
)
from corotwist.ipc import client, path
from corotwist.ipc.channel import encode
from corotwist.ipc.client import NodeClient, connect, embed
from corotwist.ipc.connection import Credentials
from corotwist.ipc.cpg import Join
from corotwist.ipc.events import Gap, Message
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.jsonparts import JsonText
from corotwist.ipc.outbox import UNDERWAY_BYTES, UNDERWAY_MESSAGES
from corotwist.ipc.remote import CONNECT_SECONDS, connectSocket
from corotwist.ipc.server import IpcServer
from corotwist.ipc.status import NodeStatus
from corotwist.ipc.wire import (
    DISPATCH_QUEUE_BYTES,
    DISPATCH_WINDOW_BYTES,
    PART_BYTES,
    Closing,
)
from corotwist.test.ipc.fakes import NODEID, VIEW, FakeGroups, FakeManager
from corotwist.test.ipc.pipes import FakeReactor, endCredentials
from corotwist.totem.membership import Guarantee, RingId

ME = Member(NODEID, 100)


class ClientCase(SynchronousTestCase):
    """
    A node, and clients of it.
    """

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.manager = FakeManager(self.reactor)
        self.patch(path, "admit", lambda *arguments: None)
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        self.path = str(directory / "s")
        self.startNode()
        self.client = self.connected(100)

    def startNode(self) -> None:
        """
        Begin to listen.
        """

    def connecting(self, pid: int) -> Deferred[NodeClient]:
        raise NotImplementedError

    def connected(self, pid: int) -> NodeClient:
        self.reactor.nextPid = pid
        attempt = self.connecting(pid)
        self.reactor.settle()
        return self.successResultOf(attempt)

    def joined(self, name: bytes = b"g", **callbacks: Any) -> ProcessGroup:
        joining = self.client.groups.join(name, **callbacks)
        self.reactor.settle()
        return self.successResultOf(joining)

    def events(self, group: ProcessGroup) -> list[Any]:
        """
        All events that wait.
        """
        found: list[Any] = []
        keep = found.append

        async def iterate() -> None:
            async for event in group:
                keep(event)

        iterating = Deferred.fromCoroutine(iterate())
        self.reactor.settle()
        iterating.addErrback(lambda _: None)
        iterating.cancel()
        return found


class ClientTests(ClientCase):
    """
    What is true of every client.
    """

    # Joining and leaving.

    def test_join(self) -> None:
        """
        Joining is done when the view with us in it is there, not before.
        """
        self.manager.groups.busy = True
        joining = self.client.groups.join(b"g")
        self.reactor.pass_(1)
        self.assertNoResult(joining)
        self.manager.groups.busy = False
        self.reactor.pass_(1)
        group = self.successResultOf(joining)
        self.assertEqual((group.name, group.members), (b"g", (ME,)))
        (view,) = self.events(group)
        self.assertEqual(view.joined, (Change(ME, Reason.JOIN),))
        self.assertEqual((view.members, view.view.viewId), ((ME,), VIEW.viewId))

    def test_joinTwice(self) -> None:
        """
        A client is in a group once, and so is a process with two clients: so
        nodeid and pid name a member without doubt.  (D17)
        """
        self.joined()
        self.failureResultOf(self.client.groups.join(b"g"), Exists)
        twin = self.connected(100)
        refused = twin.groups.join(b"g")
        self.reactor.settle()
        self.failureResultOf(refused, Exists)
        self.assertEqual(self.manager.groups.members(b"g"), (ME,))

    def test_names(self) -> None:
        """
        A name is any 128 bytes, or none.  (D16)
        """
        self.joined(bytes(range(128)))
        self.joined(b"")
        self.failureResultOf(self.client.groups.join(b"x" * 129), NameTooLong)

    def test_joinInTime(self) -> None:
        """
        While the services are not in step a join waits; who does not want to
        wait for ever says how long, and is out then.  (A56)
        """
        self.manager.groups.busy = True
        late = self.client.groups.join(b"late", timeout=2.0)
        patient = self.client.groups.join(b"patient", timeout=9.0)
        self.reactor.pass_(1.9)
        self.assertNoResult(late)
        self.reactor.pass_(0.2)
        self.failureResultOf(late, TimedOut)
        self.manager.groups.busy = False
        self.reactor.pass_(1.0)
        self.assertEqual(self.successResultOf(patient).name, b"patient")
        self.assertEqual(self.manager.groups.groups(), (b"patient",))
        self.reactor.pass_(20.0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_flowControlState(self) -> None:
        """
        A group says whether its senders wait, and calls back when that
        changes; a callback that raises is logged.  (D12)
        """
        group = self.joined()
        told: list[bool] = []
        group.flowChanged = told.append
        self.assertFalse(group.flowControlState)
        (connection,) = self.manager.connections
        for paused in (True, True, False, True):
            connection.flowChanged(b"g", paused)
            connection.flowChanged(b"not ours", paused)
            self.reactor.settle()
            self.assertEqual(group.flowControlState, paused)
        self.assertEqual(told, [True, False, True])

        def failing(paused: bool) -> None:
            raise RuntimeError("an application's own trouble")

        group.flowChanged = failing
        connection.flowChanged(b"g", False)
        self.reactor.settle()
        self.assertFalse(group.flowControlState)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        connection.flowChanged(b"g", True)
        self.reactor.settle()
        group.flowChanged = told.append
        group.leave()
        self.reactor.settle()
        self.assertEqual((group.flowControlState, told[-1]), (False, False))
        self.flushLoggedErrors(RuntimeError)

    def test_slow(self) -> None:
        """
        What is to happen when we are slow goes to the node with each join; one
        that it does not know is refused.  (A52)
        """
        wishes: list[Any] = []

        def join(groups: Any, client: Any, group: bytes, slow: Any, **_: Any) -> None:
            wishes.append(slow)

        self.patch(FakeGroups, "join", join)
        self.client.groups.join(b"one")
        self.client.groups.join(b"two", slow=SlowReader.SPILL)
        self.reactor.settle()
        self.assertEqual(wishes, [None, SlowReader.SPILL])
        asked = self.client.ask(Join, group=b"three", slow=b"whatever")
        self.reactor.settle()
        self.failureResultOf(asked, InvalidParameter)

    def test_leave(self) -> None:
        """
        Leaving is done with the view without us, which is the last event; the
        group can be joined again.
        """
        group = self.joined()
        leaving = group.leave()
        self.failureResultOf(group.send(b"too late"), NotJoined)
        self.reactor.settle()
        self.successResultOf(leaving)
        self.assertEqual(self.events(group)[-1].left, (Change(ME, Reason.LEAVE),))
        self.assertEqual(group.members, ())
        self.failureResultOf(group.leave(), NotJoined)
        self.failureResultOf(group.send(b"too late"), NotJoined)
        self.failureResultOf(group.sendAll([b"too late"]), NotJoined)
        self.joined()

    def test_leaveAfterSending(self) -> None:
        """
        What was sent before leaving arrives before we are out, though it did
        not fit the window; that nobody looks at our events is no obstacle.
        """
        log: list[Any] = []
        witness = self.connected(5)
        witness.groups.join(
            b"g", delivered=lambda _, m: log.append(len(m)), viewChanged=log.append
        )
        group = self.joined()
        sent = [group.send(bytes(50_000)) for _ in range(40)]
        leaving = group.leave()
        self.reactor.settle()
        for done in sent:
            self.successResultOf(done)
        self.successResultOf(leaving)
        self.assertEqual(log[2:-1], [50_000] * 40)
        self.assertEqual(log[-1].left, (Change(ME, Reason.LEAVE),))
        events = self.events(group)
        self.assertEqual(events[-1], log[-1])
        self.assertLess(len(events), 20)

    def test_leaveWaits(self) -> None:
        """
        Leaving waits until the node can, and can be asked for twice.
        """
        group = self.joined()
        self.manager.groups.busy = True
        leaving = [group.leave(), group.leave()]
        self.reactor.pass_(1)
        self.assertNoResult(leaving[0])
        self.manager.groups.busy = False
        self.reactor.pass_(1)
        for left in leaving:
            self.successResultOf(left)

    def test_cancelJoin(self) -> None:
        """
        Whoever does not wait for joining any more is out of the group.
        """
        self.manager.groups.busy = True
        joining = self.client.groups.join(b"g")
        self.reactor.settle()
        joining.cancel()
        self.failureResultOf(joining)
        self.manager.groups.busy = False
        self.reactor.pass_(1)
        self.assertEqual(self.manager.groups.groups(), ())
        joining = self.client.groups.join(b"g")
        joining.cancel()
        self.failureResultOf(joining)
        self.reactor.pass_(1)
        self.assertEqual(self.manager.groups.groups(), ())
        self.joined()

    # Sending and receiving.

    def test_send(self) -> None:
        """
        What we send comes back, with us as its sender, the empty message too.
        """
        group = self.joined()
        sent = [group.send(b"one"), group.send(b""), group.send(b"\0two")]
        self.assertNoResult(sent[0])
        self.reactor.settle()
        for done in sent:
            self.assertIsNone(self.successResultOf(done))
        self.assertEqual(
            self.events(group)[1:],
            [Message(b"g", ME, payload) for payload in (b"one", b"", b"\0two")],
        )

    def test_oneTurnOneBatch(self) -> None:
        """
        However many are sent in one turn, the node sees one batch.
        """
        group = self.joined()
        done = [group.send(b"x") for _ in range(1000)]
        self.reactor.settle()
        self.successResultOf(done[-1])
        sends = [asked for asked in self.manager.groups.asked if asked[0] == "send"]
        self.assertEqual(sends, [("send", 100, b"g", 1000, Guarantee.AGREED)])
        self.assertEqual(len(self.events(group)), 1001)

    def test_sendAll(self) -> None:
        """
        Many messages, one answer; nothing is an answer, too.
        """
        group = self.joined()
        payloads = [b"%d" % n * 20 for n in range(9_000)]
        done = group.sendAll(iter(payloads), Guarantee.SAFE)
        nothing = group.sendAll([])
        self.assertIsNone(self.successResultOf(nothing))
        self.reactor.settle()
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual([e.payload for e in self.events(group)[1:]], payloads)
        guarantees = {a[-1] for a in self.manager.groups.asked if a[0] == "send"}
        self.assertEqual(guarantees, {Guarantee.SAFE})

    def test_large(self) -> None:
        """
        Messages beyond one AMP value, and beyond the window, arrive whole;
        beyond the limit they are refused.  (A55)
        """
        group = self.joined()
        sizes = (PART_BYTES - 4, PART_BYTES - 3, 65_536, 200_000, 16 << 20)
        for size in sizes:
            payload = b"%9d" % size * (size // 9 + 1)
            done = group.send(payload[:size])
            self.reactor.settle()
            self.successResultOf(done)
        self.assertEqual([len(e.payload) for e in self.events(group)[1:]], list(sizes))
        self.failureResultOf(group.send(bytes((16 << 20) + 1)), TooBig)
        self.failureResultOf(group.sendAll([b"", bytes((16 << 20) + 1)]), TooBig)

    def test_orderAcrossGroups(self) -> None:
        """
        What was sent first is ordered first, whatever the group.
        """
        log: list[bytes] = []
        groups = [
            self.joined(name, delivered=lambda _, payload: log.append(payload))
            for name in (b"g", b"h")
        ]
        payloads = [b"%d" % n for n in range(100)]
        for n, payload in enumerate(payloads):
            groups[n % 3 == 0].send(payload)
        self.reactor.settle()
        self.assertEqual(log, payloads)

    def test_sameOrderForAll(self) -> None:
        """
        Two clients that send at once see one order.
        """
        other = self.connected(5)
        mine = self.joined()
        joining = other.groups.join(b"g")
        self.reactor.settle()
        theirs = self.successResultOf(joining)
        self.events(mine)
        self.events(theirs)
        for n in range(300):
            mine.send(b"m%d" % n)
            theirs.send(b"t%d" % n)
            if n % 7 == 0:
                self.reactor.advance(0)
        self.reactor.settle()
        log = self.events(mine)
        self.assertEqual(len(log), 600)
        self.assertEqual(self.events(theirs), log)
        self.assertEqual({m.sender for m in log}, {ME, Member(NODEID, 5)})

    def test_sendWaits(self) -> None:
        """
        While the node cannot take messages they wait, up to the bound; beyond
        that they are refused, and later taken again.  (A50)
        """
        group = self.joined(delivered=lambda *message: None)
        self.manager.groups.busy = True
        done = [group.send(bytes(1 << 20)) for _ in range(15)]
        self.reactor.settle()
        self.assertNoResult(done[0])
        self.failureResultOf(group.send(bytes(2 << 20)), TryAgain)
        self.failureResultOf(group.sendAll([bytes(2 << 20)]), TryAgain)
        self.manager.groups.released()
        self.reactor.settle()
        for sent in done:
            self.successResultOf(sent)
        again = group.send(bytes(2 << 20))
        self.reactor.settle()
        self.successResultOf(again)

    def test_sendsAsItReads(self) -> None:
        """
        Who sends more than it reads is slowed, not cut off: only so much of
        its own is under way, in bytes and in messages, and the rest follows as
        it reads.
        """
        sent: list[Deferred[None]] = []
        for size, count, most in (
            (100_000, 100, UNDERWAY_BYTES + 100_000 + PART_BYTES),
            (0, 400_000, (UNDERWAY_MESSAGES + PART_BYTES // OVERHEAD) * OVERHEAD),
        ):
            group = self.joined(b"%d" % size)
            sent = [group.sendAll([bytes(size)] * 100) for _ in range(count // 100)]
            self.reactor.settle()
            self.assertNoResult(sent[-1])
            waiting = self.manager.connections[0].waiting()
            onItsWay = waiting["queuedBytes"] + waiting["unacknowledgedBytes"]
            # A window of them came back, and nobody looks at it.
            self.assertLess(onItsWay, most + 2 * DISPATCH_WINDOW_BYTES)
            self.assertGreater(onItsWay, most // 2)
            self.assertEqual(len(self.events(group)), count + 1)
            for done in sent:
                self.successResultOf(done)

    def test_nothingReturns(self) -> None:
        """
        What was under way to a group that we left, or was refused, is not
        waited for.
        """
        for _ in range(10):
            group = self.joined()
            group.sendAll([bytes(PART_BYTES)] * (UNDERWAY_BYTES // PART_BYTES))
            self.reactor.settle()
            left = group.leave()
            self.reactor.settle()
            self.successResultOf(left)
        group = self.joined()
        del self.manager.groups.processes[b"g"]
        for _ in range(10):
            sent = group.sendAll([bytes(PART_BYTES)] * (UNDERWAY_BYTES // PART_BYTES))
            self.reactor.settle()
            self.failureResultOf(sent, NotJoined)

    def test_cancelSend(self) -> None:
        """
        Not to wait for a message any more does not take it back, nor disturb
        the others.
        """
        group = self.joined()
        first, second = group.send(b"1"), group.send(b"2")
        first.cancel()
        self.failureResultOf(first)
        self.reactor.settle()
        self.successResultOf(second)
        self.assertEqual([e.payload for e in self.events(group)[1:]], [b"1", b"2"])

    def test_sendRefused(self) -> None:
        """
        When the node refuses a batch, all whose message is in it learn why.
        """
        group = self.joined()
        del self.manager.groups.processes[b"g"]
        done = [group.send(b"1"), group.send(b"2"), group.sendAll([b"3"] * 20_000)]
        self.reactor.settle()
        for sent in done:
            self.failureResultOf(sent, NotJoined)

    # Looking at events.

    def test_callbacks(self) -> None:
        """
        With callbacks each kind of event goes to its own; there is nothing to
        iterate over then.
        """
        log: list[Any] = []
        group = self.joined(
            delivered=lambda *message: log.append(message), viewChanged=log.append
        )
        group.send(b"x")
        self.reactor.settle()
        self.assertEqual(log[0].members, (ME,))
        self.assertEqual(log[1:], [(ME, b"x")])
        async_ = Deferred.fromCoroutine(group.__anext__())
        self.failureResultOf(async_, BadHandle)

    def test_failingCallbacks(self) -> None:
        """
        A callback that raises is logged, and the next event comes all the
        same.
        """
        log: list[bytes] = []

        def delivered(sender: Member, payload: bytes) -> None:
            log.append(payload)
            raise ZeroDivisionError

        def viewChanged(view: GroupView) -> None:
            raise ArithmeticError

        group = self.joined(delivered=delivered, viewChanged=viewChanged)
        self.assertEqual(len(self.flushLoggedErrors(ArithmeticError)), 1)
        group.sendAll([b"1", b"2"])
        group.send(b"3")
        self.reactor.settle()
        self.assertEqual(log, [b"1", b"2", b"3"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_batches(self) -> None:
        """
        Who asks for batches gets the messages that came together in one call,
        and the next although a call failed.
        """
        log: list[list[bytes]] = []

        def batchDelivered(sender: Member, payloads: list[bytes]) -> None:
            self.assertEqual(sender, ME)
            log.append(payloads)
            raise ZeroDivisionError

        group = self.joined(batchDelivered=batchDelivered)
        group.sendAll([b"1", b"2"])
        self.reactor.settle()
        group.send(b"3")
        self.reactor.settle()
        self.assertEqual(log, [[b"1", b"2"], [b"3"]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_iterateAsItComes(self) -> None:
        """
        An iteration waits for the next event; two at a time are refused.
        """
        group = self.joined()
        self.events(group)
        waiting = Deferred.fromCoroutine(group.__anext__())
        self.assertNoResult(waiting)
        self.failureResultOf(Deferred.fromCoroutine(group.__anext__()), Busy)
        group.send(b"x")
        self.reactor.settle()
        self.assertEqual(self.successResultOf(waiting), Message(b"g", ME, b"x"))
        group.leave()
        self.reactor.settle()
        self.assertEqual(len(self.events(group)), 1)
        over = Deferred.fromCoroutine(group.__anext__())
        self.failureResultOf(over, StopAsyncIteration)

    def test_backPressure(self) -> None:
        """
        What nobody iterates over is not acknowledged: about one window is
        kept here, the rest waits at the node, and nothing is lost.
        """
        group = self.joined()
        count = 4 * DISPATCH_WINDOW_BYTES // 10_000
        for n in range(count):
            group.send(b"%4d" % n * 2500)
        self.reactor.settle()
        (connection,) = self.manager.connections
        waiting = connection.waiting()["queuedBytes"]
        self.assertGreater(waiting, 2 * DISPATCH_WINDOW_BYTES)
        payloads = [event.payload for event in self.events(group)[1:]]
        self.assertEqual([int(p[:4]) for p in payloads], list(range(count)))

    def test_garbage(self) -> None:
        """
        A batch that is none, from a broken member, is skipped by everybody.
        """
        group = self.joined()
        (connection,) = self.manager.connections
        connection.messagesDelivered(b"g", Member(1, 1), b"\xff" * 20, 1)
        group.send(b"good")
        self.reactor.settle()
        self.assertEqual([e.payload for e in self.events(group)[1:]], [b"good"])

    def test_strangeGroup(self) -> None:
        """
        Events of a group that is not ours any more go nowhere, and cost
        nothing.
        """
        group = self.joined()
        (connection,) = self.manager.connections
        for _ in range(8):
            connection.messagesDelivered(b"x", ME, bytes(DISPATCH_WINDOW_BYTES), 1)
            connection.viewChanged(GroupView(b"x", (), (), ()))
        group.send(b"good")
        self.reactor.settle()
        self.assertEqual([e.payload for e in self.events(group)[1:]], [b"good"])

    def test_ring(self) -> None:
        """
        Rings are told to whoever wants to know.
        """
        (connection,) = self.manager.connections
        connection.ringChanged(RingId(2**40, 3), (3, 7))
        self.reactor.settle()
        told: list[Any] = []
        self.client.groups.ringChanged = told.append
        assert self.client.groups.ring is not None
        self.assertEqual(self.client.groups.ring.ringId, RingId(2**40, 3))
        connection.ringChanged(RingId(2**40 + 4, 3), (3, 7))
        self.reactor.settle()
        self.assertEqual(
            [(r.ringId.sequence, r.members) for r in told], [(2**40 + 4, (3, 7))]
        )

    # Asking.

    def test_listing(self) -> None:
        """
        Members and groups can be asked for without being in any.
        """
        other = self.connected(5)
        self.joined(b"g")
        self.joined(b"h")
        members = other.groups.members(b"g")
        groups = other.groups.groups()
        nobody = other.groups.members(b"none")
        self.reactor.settle()
        self.assertEqual(self.successResultOf(members), (ME,))
        self.assertEqual(self.successResultOf(groups), (b"g", b"h"))
        self.assertEqual(self.successResultOf(nobody), ())

    def test_status(self) -> None:
        """
        The node tells how it is.
        """
        status = self.client.node.status()
        self.reactor.settle()
        self.assertEqual(
            self.successResultOf(status),
            NodeStatus(
                nodeid=NODEID,
                ringId=RingId(26, NODEID),
                members=(NODEID,),
                state="running",
                quorate=False,
                explanation={"votes": 1, "expected": 3},
            ),
        )
        self.assertEqual((self.client.nodeid, self.client.pid), (NODEID, 100))

    def test_statistics(self) -> None:
        """
        Counters come by section, long ones in parts.
        """
        sections = self.client.node.sections()
        totem = self.client.node.statistics("totem")
        long = self.client.node.statistics("quorum")
        none = self.client.node.statistics("nonsense")
        self.reactor.settle()
        self.assertEqual(
            self.successResultOf(sections),
            ["cpg", "ipc", "quorum", "services", "totem"],
        )
        self.assertEqual(self.successResultOf(totem), {"tokens": 5})
        self.assertEqual(len(self.successResultOf(long)["history"]), 100_000)
        self.failureResultOf(none, NotExist)

    def test_senselessAnswers(self) -> None:
        """
        Whoever asks a node that answers senselessly is told so, and is not left
        with what some parser raised.
        """
        for text in (b"[", b"[" * 50_000, b"\xff"):
            self.patch(JsonText, "toString", lambda _, value, text=text: text)
            asked = [self.client.node.status(), self.client.node.statistics("quorum")]
            self.reactor.settle()
            for answer in asked:
                self.failureResultOf(answer, ServiceError)

    def test_thirdParty(self) -> None:
        """
        Commands of other services can be asked and listened to; one that the
        node does not have is refused as such.
        """
        told: list[str] = []
        self.client.listen(Closing, lambda **box: told.append(box["reason"]))
        (connection,) = self.manager.connections
        connection.tell(Closing, reason="hé")
        self.manager.engines.pop("cpg")
        newcomer = self.connected(5)
        refused = newcomer.ask(Join, group=b"g")
        self.reactor.settle()
        self.assertEqual(told, ["hé"])
        self.failureResultOf(refused, NotSupported)

    # The end.

    def test_stop(self) -> None:
        """
        Stopping takes us out of all groups, fails what waits, ends iterations,
        and leaves nothing behind.
        """
        witness = self.connected(5)
        views: list[GroupView] = []
        witness.groups.join(b"g", viewChanged=views.append)
        group = self.joined()
        self.events(group)
        waiting = Deferred.fromCoroutine(group.__anext__())
        self.manager.groups.busy = True
        sent = group.send(b"x")
        joining = self.client.groups.join(b"h")
        self.reactor.settle()
        stopped = self.client.stopService()
        self.reactor.settle()
        self.successResultOf(stopped)
        self.failureResultOf(waiting, StopAsyncIteration)
        self.failureResultOf(sent, Disconnected)
        self.failureResultOf(joining, Disconnected)
        self.failureResultOf(group.send(b"x"), NotJoined)
        self.failureResultOf(self.client.groups.members(b"g"), Disconnected)
        self.failureResultOf(self.client.whenConnected(), Disconnected)
        self.assertFalse(self.client.connected)
        self.assertRaises(Disconnected, lambda: self.client.pid)
        self.assertEqual(views[-1].left, (Change(ME, Reason.PROCDOWN),))
        self.reactor.pass_(30)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(len(self.manager.connections), 1)

    def test_stalledIteration(self) -> None:
        """
        Who does not look at events for too long is cut off, finds a gap among
        what came before, and is a member again.
        """
        group = self.joined()
        other = self.connected(5)
        joining = other.groups.join(b"g", delivered=lambda *message: None)
        self.reactor.settle()
        flood = self.successResultOf(joining)
        self.reactor.nextPid = 100
        for _ in range(DISPATCH_QUEUE_BYTES // (8 << 20) + 2):
            flood.send(bytes(8 << 20))
            self.reactor.settle()
        self.reactor.pass_(5)
        flood.send(b"after")
        self.reactor.settle()
        events = self.events(group)
        (gap,) = [n for n, event in enumerate(events) if isinstance(event, Gap)]
        self.assertIn("too slow", events[gap].reason)
        self.assertEqual(events[gap + 1].joined, (Change(ME, Reason.JOIN),))
        self.assertEqual(events[gap + 2].payload, b"after")
        self.assertEqual(len(self.manager.groups.members(b"g")), 2)


class LocalClientTests(ClientTests):
    """
    Inside the node's process.
    """

    def connecting(self, pid: int) -> Deferred[NodeClient]:
        return embed(self.reactor, self.manager, pid)


class SocketClientTests(ClientTests):
    """
    Over the socket, which may also be lost.
    """

    def startNode(self) -> None:
        self.server = IpcServer(
            self.reactor,
            IpcSettings(self.path),
            self.manager,
            credentials=endCredentials,
        )
        self.server.startService()

    def connecting(self, pid: int) -> Deferred[NodeClient]:
        return connect(self.reactor, self.path)

    def crash(self) -> None:
        """
        The node is gone without a word.
        """
        self.server.stopService()
        for pair in self.reactor.ends:
            pair[0].abortConnection()
        self.reactor.settle()

    def test_again(self) -> None:
        """
        When the node is back we are a member again, after a gap; in between,
        sending is an error, and what was on its way has failed.  (A57)
        """
        group = self.joined()
        self.manager.groups.busy = True
        sent, queued = group.send(b"1"), [group.send(bytes(60_000)) for _ in range(9)]
        self.reactor.settle()
        self.crash()
        self.failureResultOf(sent, Disconnected)
        for done in queued:
            self.failureResultOf(done, Disconnected)
        self.failureResultOf(group.send(b"2"), NotJoined)
        self.assertEqual(group.members, ())
        self.reactor.pass_(60)
        self.manager = FakeManager(self.reactor)
        self.startNode()
        self.reactor.pass_(20)
        self.assertEqual(group.members, (ME,))
        done = group.send(b"3")
        self.reactor.settle()
        self.successResultOf(done)
        before, gap, *after = self.events(group)
        self.assertEqual(before.joined, (Change(ME, Reason.JOIN),))
        self.assertIsInstance(gap, Gap)
        self.assertEqual(after, [before, Message(b"g", ME, b"3")])

    def test_gapCallback(self) -> None:
        """
        With callbacks, a gap goes to its own.
        """
        gaps: list[Gap] = []
        self.joined(interrupted=gaps.append)
        self.joined(b"h", delivered=lambda *message: None)
        self.crash()
        self.assertEqual([gap.group for gap in gaps], [b"g"])

    def test_manyGaps(self) -> None:
        """
        Whoever looks at nothing while the node comes and goes finds one gap,
        not all that was between.
        """
        group = self.joined()
        for n in range(5):
            group.send(b"%d" % n)
            self.reactor.settle()
            self.crash()
            self.manager = FakeManager(self.reactor)
            self.startNode()
            self.reactor.pass_(20)
        kinds = [type(event) for event in self.events(group)]
        self.assertEqual(kinds, [GroupView, Message, Gap, GroupView])

    def test_joinWaitsForNode(self) -> None:
        """
        Joining waits for the node to be there, and survives its loss.
        """
        self.crash()
        joining = self.client.groups.join(b"g")
        self.reactor.pass_(1)
        self.manager = FakeManager(self.reactor)
        self.manager.groups.busy = True
        self.startNode()
        self.reactor.pass_(20)
        self.assertNoResult(joining)
        self.crash()
        self.manager = FakeManager(self.reactor)
        self.startNode()
        self.reactor.pass_(20)
        self.assertEqual(self.successResultOf(joining).members, (ME,))

    def test_leftWithTheNode(self) -> None:
        """
        When the node is lost while we leave, we are out, and stay out.
        """
        group = self.joined()
        self.manager.groups.busy = True
        leaving = group.leave()
        self.reactor.settle()
        self.crash()
        self.successResultOf(leaving)
        self.manager = FakeManager(self.reactor)
        self.startNode()
        self.reactor.pass_(20)
        self.assertTrue(self.client.connected)
        self.assertEqual(self.manager.groups.groups(), ())

    def test_leaveWhileAway(self) -> None:
        """
        A group can be left while the node is away.
        """
        group = self.joined()
        self.crash()
        self.successResultOf(group.leave())
        self.startNode()
        self.reactor.pass_(20)
        self.assertEqual(self.manager.groups.groups(), ())

    def test_oldSelfInTheWay(self) -> None:
        """
        As long as the node is not through with our last connection, we ask
        again.
        """
        group = self.joined()
        self.manager.groups.blind = True
        (old,) = self.manager.connections
        self.reactor.ends[0][0].loseConnection()
        self.reactor.pass_(5)
        self.assertTrue(self.client.connected)
        self.assertEqual(group.members, ())
        self.manager.groups.blind = False
        self.manager.groups.closed(old)
        self.reactor.pass_(1)
        self.assertEqual(group.members, (ME,))

    def test_backOff(self) -> None:
        """
        Attempts become rarer, and one that succeeds starts anew.
        """
        client = NodeClient(
            self.reactor,
            lambda receiver: connectSocket(self.reactor, self.path, receiver),
            retryPolicy=lambda failures: 10.0**failures,
        )
        client.startService()
        self.reactor.settle()
        self.crash()
        self.client.stopService()
        waits = []
        for _ in range(4):
            (call,) = self.reactor.getDelayedCalls()
            waits.append(call.getTime() - self.reactor.seconds())
            self.reactor.advance(waits[-1])
            self.reactor.settle()
        self.assertEqual(waits, [1, 10, 100, 1000])
        self.startNode()
        self.reactor.advance(10000)
        self.reactor.settle()
        self.assertTrue(client.connected)
        self.crash()
        (call,) = self.reactor.getDelayedCalls()
        self.assertEqual(call.getTime() - self.reactor.seconds(), 1)

    def test_nobody(self) -> None:
        """
        Connecting where nobody listens fails at once, saying where, and leaves
        nothing running.
        """
        self.client.stopService()
        self.reactor.settle()
        attempt = connect(self.reactor, "/nowhere")
        self.reactor.settle()
        failure = self.failureResultOf(attempt, Disconnected)
        self.assertIn("/nowhere", str(failure.value))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_forbidden(self) -> None:
        """
        So does connecting where we may not, with an error of its own, whether
        the file system says so or the node.
        """
        self.reactor.forbidden = True
        attempt = connect(self.reactor, self.path)
        self.reactor.settle()
        self.failureResultOf(attempt, AccessDenied)
        self.reactor.forbidden = False
        self.server._admission.settings = IpcSettings(self.path)
        self.server._admission._credentials = lambda end: Credentials(1, 99, 99)
        attempt = connect(self.reactor, self.path)
        self.reactor.settle()
        self.failureResultOf(attempt, AccessDenied)

    def test_silentNode(self) -> None:
        """
        A node that does not answer is given up after a while.
        """
        self.client.stopService()
        self.crash()
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        self.reactor.listening[self.path] = factory
        attempt = connect(self.reactor, self.path)
        self.reactor.pass_(CONNECT_SECONDS - 0.1)
        self.assertNoResult(attempt)
        self.reactor.pass_(0.2)
        self.failureResultOf(attempt, TimedOut)
        self.reactor.settle()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertTrue(all(end.closed for pair in self.reactor.ends for end in pair))

    def test_slowSystem(self) -> None:
        """
        So is one whose system does not even connect us.
        """
        self.client.stopService()
        self.reactor.settle()
        self.reactor.silent = True
        attempt = connect(self.reactor, self.path)
        self.reactor.pass_(CONNECT_SECONDS + 0.1)
        self.failureResultOf(attempt, TimedOut)
        attempt = connect(self.reactor, self.path)
        attempt.cancel()
        self.failureResultOf(attempt)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelConnect(self) -> None:
        """
        Not to wait for the connection any more is not to connect.
        """
        self.client.stopService()
        self.crash()
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        self.reactor.listening[self.path] = factory
        attempt = connect(self.reactor, self.path)
        self.reactor.settle()
        attempt.cancel()
        self.failureResultOf(attempt)
        self.reactor.settle()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertTrue(self.reactor.ends[-1][1].closed)

    def test_thrownAway(self) -> None:
        """
        An attempt that nobody holds any more, in a process that forgets all
        about it, ends without a word.
        """
        node = NodeClient(self.reactor, lambda receiver: Deferred())
        starting = client._start(node)
        starting.send(None)
        starting.close()
        self.assertTrue(node.running)

    def test_whenConnected(self) -> None:
        """
        One may wait for the node, for ever or for a number of attempts.
        """
        self.assertIs(self.successResultOf(self.client.whenConnected()), self.client)
        self.crash()
        ever = self.client.whenConnected()
        twice = self.client.whenConnected(failAfterFailures=2)
        never = self.client.whenConnected()
        never.cancel()
        self.failureResultOf(never)
        self.reactor.pass_(60)
        self.assertNoResult(ever)
        self.failureResultOf(twice, Disconnected)
        self.startNode()
        self.reactor.pass_(20)
        self.assertIs(self.successResultOf(ever), self.client)

    def test_strangeNode(self) -> None:
        """
        A node that talks nonsense is left, and tried again.
        """
        self.joined()
        view = {
            b"_command": b"cpg.view",
            b"group": b"g",
            b"view": b"x",
            b"part": b"0",
            b"more": b"False",
        }
        for wrong in (
            b"\xff" * 10,
            b"\0\x08_command\0\x0bcpg.deliver\0\0",
            b"".join(encode(view)),
            b"\0\x07_answer\0\x0299\0\0",
        ):
            before = len(self.reactor.ends)
            self.reactor.ends[-1][0].write(wrong)
            self.reactor.settle()
            self.assertFalse(self.client.connected, wrong)
            self.reactor.pass_(5)
            self.assertTrue(self.client.connected)
            self.assertEqual(len(self.reactor.ends), before + 2)


del ClientTests
