"""
A client that reads too slowly: whom it slows, and until when.
"""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer

import corotwist
from corotwist.budget import Budget
from corotwist.config.settings import IpcSettings
from corotwist.engines.assembly import OPEN_BYTES, OPEN_MESSAGES
from corotwist.engines.batch import pack
from corotwist.engines.context import ENGINE_BYTES
from corotwist.engines.groupssending import IN_FLIGHT_BYTES
from corotwist.engines.interfaces import Member, SlowReader
from corotwist.engines.outgoing import WAITING_BYTES, WAITING_ENTRIES
from corotwist.errors import TryAgain
from corotwist.interfaces import IFlowGroup
from corotwist.ipc.admission import CLIENTS
from corotwist.ipc.backlog import HIGH_SHARE, LOW_SHARE, NOTICE_SECONDS, Limits
from corotwist.ipc.channel import Box
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.server import FILES_KEPT
from corotwist.ipc.spill import UNWRITTEN_BYTES
from corotwist.ipc.wire import (
    DISPATCH_QUEUE_BYTES,
    DISPATCH_WINDOW_BYTES,
    PART_BYTES,
)

SENDER = Member(2, 3)
PAUSE, DISCONNECT, SPILL = SlowReader
LIMITS = Limits(bytes=8 << 20, messages=10_000, pauseSeconds=5.0)


@implementer(IFlowGroup)
class Flow:
    """
    A flow-control group that only counts.
    """

    paused = False

    def __init__(self) -> None:
        self.count = 0
        self.counts: list[int] = []

    def increment(self) -> None:
        self.count += 1
        self.counts.append(self.count)

    def decrement(self) -> None:
        self.count -= 1
        self.counts.append(self.count)

    def destroy(self) -> None:
        raise AssertionError("that is the engine's business")


class Sink:
    """
    A client that takes what its window allows, until it acknowledges.
    """

    congested = False

    def __init__(self) -> None:
        self.bytes = 0
        self.boxes: list[Box] = []

    def sendBox(self, box: Box) -> None:
        self.boxes.append(box)
        self.bytes += len(box.get(b"batch", b""))


class BacklogTests(SynchronousTestCase):
    """
    A connection with a flow-control group or two.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.sink = Sink()
        self.cuts: list[str] = []
        self.whole = Budget("node", 1 << 40)
        self.connection = self.connect(LIMITS)
        self.flow = Flow()

    def connect(self, limits: Limits, **options: Any) -> Connection:
        return Connection(
            Credentials(10, 20, 30),
            self.clock,
            self.sink,
            lambda connection, reason: self.cuts.append(reason),
            limits=limits,
            whole=self.whole,
            **options,
        )

    def deliver(self, size: int, count: int = 1) -> None:
        batch = pack([bytes(size // count)] * count)
        self.connection.messagesDelivered(b"g", SENDER, batch, count)

    def read(self, size: int) -> None:
        """
        The client acknowledges, which lets the next leave.
        """
        while size > 0:
            self.connection.creditReceived(PART_BYTES)
            size -= PART_BYTES

    def test_marks(self) -> None:
        """
        Above its high mark a connection counts itself into its groups, once;
        below the low one out of them; in between nothing changes.  (A51, A52)
        """
        self.connection.attach(self.flow, None)
        high, low = LIMITS.bytes // HIGH_SHARE, LIMITS.bytes // LOW_SHARE
        self.deliver(high - 100)
        self.assertEqual(self.flow.count, 0)
        self.deliver(200)
        self.deliver(high)
        self.clock.advance(0)
        self.assertEqual(self.flow.counts, [1])
        while self.connection.waiting()["queuedBytes"] > low:
            self.assertEqual(self.flow.counts, [1])
            self.read(PART_BYTES)
        self.assertEqual(self.flow.counts, [1, 0])
        self.clock.advance(LIMITS.pauseSeconds)
        self.assertEqual(self.cuts, [])
        waiting = self.connection.waiting()
        self.assertEqual((waiting["behind"], waiting["pauses"]), (False, 1))

    def test_messages(self) -> None:
        """
        Many small messages count as well as many bytes.
        """
        self.connection.attach(self.flow, PAUSE)
        for _ in range(LIMITS.messages // HIGH_SHARE // 100 + 1):
            self.deliver(100, count=100)
        self.assertEqual(self.flow.count, 1)

    def test_patience(self) -> None:
        """
        Who has not caught up in time is cut off with the reason, and nobody
        waits for it any more: one stuck process does not stop a cluster.
        (A51, A52)
        """
        self.connection.attach(self.flow, PAUSE)
        self.deliver(LIMITS.bytes // 2)
        self.clock.advance(LIMITS.pauseSeconds - 0.1)
        self.assertEqual((self.flow.count, self.cuts), (1, []))
        self.clock.advance(0.2)
        self.clock.advance(0)
        self.assertEqual(self.flow.count, 0)
        self.assertEqual(self.cuts, ["too slow: senders waited for it for 5.0 s"])
        self.assertEqual(self.whole.used, 0)

    def test_noticed(self) -> None:
        """
        The operator is told for whom senders wait, if it is not for a moment
        only.
        """
        told: list[str] = []

        @implementer(ILogObserver)
        def observe(event: Any) -> None:
            told.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.connection.attach(self.flow, PAUSE)
        self.deliver(LIMITS.bytes // 2)
        self.clock.advance(NOTICE_SECONDS / 2)
        self.read(LIMITS.bytes)
        self.assertEqual(told, [])
        self.deliver(LIMITS.bytes // 2)
        self.clock.advance(NOTICE_SECONDS)
        (line,) = told
        self.assertRegex(line, "^Senders wait for client 10: 1 messages, [0-9]+ bytes")

    def test_again(self) -> None:
        """
        Patience begins anew with each pause.
        """
        self.connection.attach(self.flow, PAUSE)
        for _ in range(3):
            self.deliver(LIMITS.bytes // 2)
            self.clock.advance(LIMITS.pauseSeconds - 0.1)
            self.read(LIMITS.bytes)
        self.assertEqual((self.flow.counts, self.cuts), ([1, 0] * 3, []))

    def test_hardBound(self) -> None:
        """
        What comes although senders wait is bounded, too: then it is cut off.
        """
        self.connection.attach(self.flow, PAUSE)
        for _ in range(10):
            self.deliver(1 << 20)
        self.clock.advance(0)
        self.clock.advance(0)
        (reason,) = self.cuts
        self.assertIn("bytes were waiting", reason)
        self.assertEqual((self.flow.count, self.whole.used), (0, 0))

    def test_disconnect(self) -> None:
        """
        Who wants to be cut off lets nobody wait, up to the bound.  (A52)
        """
        self.connection.attach(self.flow, DISCONNECT)
        self.deliver(LIMITS.bytes - 100)
        self.assertEqual((self.flow.counts, self.cuts), ([], []))
        self.deliver(200)
        self.clock.advance(0)
        self.assertEqual((self.flow.counts, len(self.cuts)), ([], 1))

    def test_default(self) -> None:
        """
        Who has no wish gets what is configured.
        """
        settings = IpcSettings("/s", slowReader="disconnect", clientBytes=4 << 20)
        self.connection = self.connect(Limits.of(settings))
        self.connection.attach(self.flow, None)
        self.deliver(3 << 20)
        self.assertEqual((self.flow.counts, self.cuts), ([], []))
        self.assertEqual(Limits.of(IpcSettings("/s")), Limits())
        self.assertEqual(Limits().bytes, DISPATCH_QUEUE_BYTES)

    def test_severalGroups(self) -> None:
        """
        Only the groups that want it are slowed; one that is joined while the
        client is behind is slowed at once, and one that is left no more.
        """
        late, other = Flow(), Flow()
        self.connection.attach(self.flow, PAUSE)
        self.connection.attach(other, DISCONNECT)
        self.deliver(LIMITS.bytes // 2)
        self.connection.attach(late, PAUSE)
        self.assertEqual((self.flow.count, late.count, other.counts), (1, 1, []))
        self.connection.detach(self.flow)
        self.assertEqual((self.flow.count, late.count), (0, 1))
        self.assertTrue(self.connection.waiting()["behind"])
        self.connection.detach(late)
        self.connection.detach(other)
        self.assertFalse(self.connection.waiting()["behind"])
        self.assertEqual(self.clock.getDelayedCalls()[1:], [])
        self.assertEqual(other.counts, [])

    def test_behindBefore(self) -> None:
        """
        A group that is joined when much waits already is slowed at once.
        """
        self.deliver(LIMITS.bytes // 2)
        self.connection.attach(self.flow, PAUSE)
        self.assertEqual(self.flow.count, 1)

    def test_closed(self) -> None:
        """
        A client that is gone holds nobody up, and nothing of it is held.
        """
        self.connection.attach(self.flow, PAUSE)
        self.deliver(LIMITS.bytes // 2)
        self.connection.closed()
        self.assertEqual((self.flow.count, self.whole.used), (0, 0))
        self.connection.detach(self.flow)
        self.connection.attach(self.flow, PAUSE)
        self.deliver(LIMITS.bytes // 2)
        self.assertEqual(self.flow.counts, [1, 0])
        self.clock.advance(60)
        self.assertEqual(self.cuts, [])

    def test_told(self) -> None:
        """
        The client is told, in the order of all else.  (D12)
        """
        self.deliver(100)
        self.connection.flowChanged(b"g", True)
        self.connection.flowChanged(b"g", False)
        self.clock.advance(0)
        _, held, freed = self.sink.boxes
        self.assertEqual((held[b"_command"], held[b"group"]), (b"cpg.flow", b"g"))
        self.assertEqual((held[b"paused"], freed[b"paused"]), (b"True", b"False"))

    def test_whole(self) -> None:
        """
        When all clients together let too much wait somebody is asked to go;
        by default it is the one who got more.  (A109)
        """
        self.whole.limit = 1 << 20
        self.deliver(2 << 20)
        self.clock.advance(0)
        self.assertEqual(len(self.cuts), 1)
        self.assertEqual(self.whole.used, 0)
        shed: list[int] = []
        self.connection = self.connect(LIMITS, shed=lambda: shed.append(1))
        self.deliver(2 << 20)
        self.assertEqual((shed, len(self.cuts)), ([1], 1))

    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 300_000)), max_size=60))
    def test_accounts(self, steps: list[tuple[int, int]]) -> None:
        """
        Whatever comes and is read: the budget is what waits, a group is slowed
        exactly while the client is behind, and more than a window and a part is
        never on its way.  (A109)
        """
        self.setUp()
        self.connection.attach(self.flow, PAUSE)
        delivered = read = 0
        for kind, size in steps:
            if kind:
                self.deliver(size)
                delivered += size + 4
            else:
                allowed = min(size, self.sink.bytes - read)
                self.connection.creditReceived(allowed)
                read += allowed
            self.clock.advance(0)
            waiting = self.connection.waiting()
            self.assertEqual(self.whole.used, waiting["queuedBytes"])
            self.assertEqual(self.flow.count, int(waiting["behind"]))
            ahead = self.sink.bytes - read
            self.assertLess(ahead, DISPATCH_WINDOW_BYTES + PART_BYTES)
            self.assertEqual(self.sink.bytes + waiting["queuedBytes"], delivered)
        self.connection.closed()
        self.assertEqual((self.whole.used, self.flow.count), (0, 0))


class BudgetTests(SynchronousTestCase):
    """
    L{Budget}.
    """

    def test_whole(self) -> None:
        """
        An owner has no more room than all owners together.  (A109)
        """
        whole = Budget("node", 100)
        one, two = Budget("one", 80, whole), Budget("two", 80, whole)
        one.take(60)
        error = self.assertRaises(TryAgain, two.take, 50)
        self.assertIn("two: no room for 50 bytes", str(error))
        two.take(40)
        self.assertFalse(two.exceeded())
        self.assertRaises(TryAgain, one.take, 1)
        one.charge(1)
        self.assertTrue(two.exceeded())
        one.give(61)
        two.give(40)
        self.assertEqual((whole.used, one.used, two.used), (0, 0, 0))
        self.assertEqual(
            whole.dump(), {"limit": 100, "used": 0, "most": 101, "refused": 0}
        )
        self.assertEqual((one.refused, two.refused), (1, 1))


class PageTests(SynchronousTestCase):
    """
    What docs/flow-control.md says is so.
    """

    def test_bounds(self) -> None:
        """
        The bounds there are the bounds.  (A109)
        """
        page = Path(corotwist.__file__).parent.parent / "docs" / "flow-control.md"
        if not page.exists():
            raise SkipTest(f"{page} is not here")
        text = page.read_text()
        settings = IpcSettings("/s")
        for row in (
            f"unacknowledged | {DISPATCH_WINDOW_BYTES >> 10} KiB and one part",
            f"`client_queue`, {settings.clientBytes >> 20} MiB",
            f"`spill_limit`, {settings.spillBytes >> 20} MiB;",
            f"{UNWRITTEN_BYTES >> 20} MiB on their way",
            f"wait to be sent | {WAITING_BYTES >> 20} MiB, {WAITING_ENTRIES} batches",
            f"of all clients of a service | {ENGINE_BYTES >> 20} MiB",
            f"`memory_limit`, {settings.memoryBytes >> 20} MiB",
            f"ring's queue | {IN_FLIGHT_BYTES >> 10} KiB of a node",
            f"of messages of one node | {OPEN_BYTES >> 20} MiB, {OPEN_MESSAGES} m",
            f"clients | {CLIENTS}, and {FILES_KEPT} files",
            f"`pause_limit` ({settings.pauseSeconds:g} s)",
            f"8 of 32 MiB; or {Limits().messages // HIGH_SHARE:,}".replace(",", " "),
        ):
            self.assertIn(row, text)
        self.assertEqual((HIGH_SHARE, LOW_SHARE), (4, 8))
        self.assertIn("When a quarter of what the queue may hold is full", text)
        self.assertIn("no more than an eighth is left", text)
        self.assertEqual(settings.slowReader, SlowReader.PAUSE)
        for policy in SlowReader:
            self.assertIn(f"| `{policy}`", text)
