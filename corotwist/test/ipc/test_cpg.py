"""
Process groups for local clients.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from corotwist.budget import Budget
from corotwist.engines.batch import pack, unpack
from corotwist.engines.interfaces import (
    NO_RECEIPT,
    NOWHERE,
    ORDINARY,
    Change,
    GroupView,
    Level,
    Member,
    Position,
    Reason,
    Receipt,
    SlowReader,
    Terms,
    ViewId,
)
from corotwist.errors import InvalidParameter, NotJoined, TooBig, TryAgain
from corotwist.interfaces import IFlowGroup
from corotwist.ipc import cpg
from corotwist.ipc.cpg import (
    LISTED_GROUPS,
    LISTED_MEMBERS,
    Groups,
    GroupsLocator,
    Members,
    Send,
    decodeView,
    encodeView,
    ringBox,
    viewBoxes,
)
from corotwist.ipc.dispatch import DispatchQueue
from corotwist.ipc.wire import (
    BATCH_MESSAGES,
    NOTIFICATION_COST,
    PART_BYTES,
    PENDING_SENDS,
    Numbers,
    Partials,
    ViewIdentity,
)
from corotwist.test.ipc.fakes import FakeGroups
from corotwist.totem.membership import Guarantee, RingId

words = st.integers(0, 2**32 - 1)
members = st.builds(Member, words, words)
changes = st.builds(Change, members, st.sampled_from(Reason))
views = st.builds(
    GroupView,
    st.just(b"g"),
    st.lists(members).map(tuple),
    st.lists(changes).map(tuple),
    st.lists(changes).map(tuple),
)


class ViewTests(SynchronousTestCase):
    """
    L{encodeView}, L{decodeView} and L{viewBoxes}.
    """

    @given(views)
    def test_roundTrip(self, view: GroupView) -> None:
        """
        A view survives.
        """
        self.assertEqual(decodeView(b"g", encodeView(view)), view)

    @given(views.map(encodeView), st.data())
    def test_cutShort(self, data: bytes, draw: st.DataObject) -> None:
        """
        Any prefix, and anything appended, is refused.
        """
        size = draw.draw(st.integers(0, len(data) - 1))
        self.assertRaises(InvalidParameter, decodeView, b"g", data[:size])
        self.assertRaises(InvalidParameter, decodeView, b"g", data + b"\0")

    def test_hugeCounts(self) -> None:
        """
        Counts that the bytes do not hold are refused before anything is made
        of them, and so is a reason that is none.
        """
        self.assertRaises(InvalidParameter, decodeView, b"g", b"\xff" * 12)
        data = encodeView(GroupView(b"g", (), (Change(Member(1, 2), Reason.JOIN),), ()))
        self.assertRaises(InvalidParameter, decodeView, b"g", data[:-4] + b"\x09\0\0\0")

    def test_large(self) -> None:
        """
        A view too large for one value comes in parts.
        """
        view = GroupView(b"g", tuple(Member(1, n) for n in range(20_000)), (), ())
        partials = Partials()
        boxes = list(viewBoxes(view))
        for box in boxes:
            self.assertLessEqual(len(box[b"view"]), PART_BYTES)
            whole = partials.partReceived(
                1, int(box[b"part"]), box[b"view"], more=box[b"more"] == b"True"
            )
        self.assertEqual(len(boxes), 3)
        assert whole is not None
        self.assertEqual(decodeView(b"g", whole), view)


deliveries = st.tuples(
    st.sampled_from([b"g", b"h"]),
    st.sampled_from([Member(1, 1), Member(2, 1)]),
    st.lists(st.binary(max_size=20), min_size=1, max_size=3),
)


class DispatchQueueTests(SynchronousTestCase):
    """
    L{DispatchQueue}.
    """

    @given(st.lists(st.one_of(deliveries, st.none())), st.integers(1, 30))
    def test_keepsOrder(self, events: list[Any], partBytes: int) -> None:
        """
        What comes out is what went in, in the same order, whatever was put
        together or cut in parts; the counts fit, and the costs add up.
        """
        queue = DispatchQueue(partBytes=partBytes)
        expected: list[Any] = []
        for number, event in enumerate(events):
            if event is None:
                queue.notify({b"number": b"%d" % number})
                expected.append(b"%d" % number)
            else:
                group, sender, payloads = event
                queue.deliver(group, sender, pack(payloads), len(payloads))
                expected += [(group, sender, payload) for payload in payloads]
        held = queue.heldBytes
        self.assertEqual(queue.heldMessages, len(expected))
        found: list[Any] = []
        costs = 0
        partials = Partials()
        while (taken := queue.next()) is not None:
            box, cost = taken
            costs += cost + len(box.get(b"number", b""))
            self.assertEqual(queue.heldBytes, held - costs)
            if b"number" in box:
                self.assertEqual(cost, NOTIFICATION_COST)
                found.append(box[b"number"])
                continue
            self.assertLessEqual(len(box[b"batch"]), partBytes)
            self.assertEqual(len(box[b"batch"]), cost)
            whole = partials.partReceived(
                1,
                int(box.get(b"part", b"0")),
                box[b"batch"],
                more=box.get(b"more") == b"True",
            )
            if whole is not None:
                sender = Member(int(box[b"nodeid"]), int(box[b"pid"]))
                payloads = unpack(whole)
                self.assertEqual(int(box[b"count"]), len(payloads))
                found += [(box[b"group"], sender, payload) for payload in payloads]
        self.assertEqual(found, expected)
        self.assertEqual((queue.heldBytes, queue.heldMessages), (0, 0))

    def test_together(self) -> None:
        """
        Many small batches of one sender leave as few: as many bytes to each
        as a part has.
        """
        queue = DispatchQueue()
        batch = pack([b"x" * 60])
        for _ in range(2000):
            queue.deliver(b"g", Member(1, 1), batch, 1)
        boxes = []
        while (taken := queue.next()) is not None:
            boxes.append(taken[0])
        self.assertEqual([box[b"count"] for box in boxes], [b"960", b"960", b"80"])

    def test_clear(self) -> None:
        """
        After clearing nothing is held.
        """
        queue = DispatchQueue()
        queue.deliver(b"g", Member(1, 1), pack([b"x"]), 1)
        queue.notify({})
        queue.clear()
        self.assertEqual((queue.heldBytes, queue.heldMessages), (0, 0))
        self.assertIsNone(queue.next())


@implementer(cpg.Subscriber)
class Subscriber:
    """
    A client that counts.
    """

    def __init__(self, pid: int = 100) -> None:
        self.pid = pid
        self.events: list[Any] = []
        self.ending: Any = None
        self.inbound = Budget("client", 1 << 20)

    def atEnd(self, callback: Any) -> None:
        self.ending = callback

    def messagesDelivered(
        self,
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
        position: Position = NOWHERE,
    ) -> None:
        self.events.append((group, sender, batch, count))

    def viewChanged(self, view: GroupView) -> None:
        self.events.append(view)

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self.events.append(ringId)

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        self.events.append((flow, slow))

    def detach(self, flow: IFlowGroup) -> None:
        self.events.append(flow)

    def flowChanged(self, group: bytes, paused: bool) -> None:
        self.events.append((group, paused))


class GroupsLocatorTests(SynchronousTestCase):
    """
    L{GroupsLocator}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.groups = FakeGroups(self.clock)
        self.subscriber = Subscriber()
        self.locator = GroupsLocator(self.groups, self.subscriber)

    def call(self, name: bytes, **fields: bytes) -> Any:
        box = amp.AmpBox({key.encode(): value for key, value in fields.items()})
        responder = self.locator.locateResponder(name)
        assert responder is not None
        return responder(box)

    def joined(self) -> None:
        self.call(b"cpg.join", group=b"g")
        self.clock.advance(0)
        self.subscriber.events.clear()

    def test_join(self) -> None:
        """
        Joining is answered at once; the view comes when it is ordered.
        """
        self.assertEqual(self.successResultOf(self.call(b"cpg.join", group=b"g")), {})
        self.assertEqual(self.subscriber.events, [])
        self.clock.advance(0)
        self.assertEqual(len(self.subscriber.events), 1)

    def test_leave(self) -> None:
        """
        Leaving a group that we are not in is an error with its own code.
        """
        failure = self.failureResultOf(
            self.call(b"cpg.leave", group=b"g"), amp.RemoteAmpError
        )
        self.assertEqual(failure.value.errorCode, b"NOT_JOINED")

    def test_send(self) -> None:
        """
        A batch goes on unopened, and is answered when it is queued.
        """
        self.joined()
        batch = pack([b"one", b"two"])
        sent = self.call(b"cpg.send", group=b"g", count=b"2", batch=batch)
        self.assertNoResult(sent)
        self.clock.advance(0)
        self.assertIsNone(self.successResultOf(sent))
        self.assertEqual(self.subscriber.events, [(b"g", Member(7, 100), batch, 2)])

    def test_terms(self) -> None:
        """
        What a sender wants goes to the engine; what it is told comes back in
        the answer, and nothing does where nothing was asked for.  (D33, D34,
        D37, X2)
        """
        view = ViewId(RingId(5, 1), 2)
        receipt = Receipt((7 << 20) + 1, view, (1, 7), (Member(1, 9),))
        asked: list[Any] = []

        def send(*arguments: Any, **wishes: Any) -> Deferred[Receipt]:
            asked.append((*arguments[-2:], wishes["terms"]))
            return succeed(receipt if wishes["terms"] is not ORDINARY else NO_RECEIPT)

        self.patch(FakeGroups, "send", send)
        sending = {"group": b"g", "count": b"1", "batch": pack([b"x"])}
        plain = self.call(b"cpg.send", guarantee=b"3", **sending)
        self.assertIsNone(self.successResultOf(plain))
        special = self.call(
            b"cpg.send",
            level=b"2",
            to=Numbers().toString((1, 9, 7, 100)),
            groups=pack([b"h", b""]),
            view=ViewIdentity().toString(view),
            **sending,
        )
        answer = Send.parseResponse(self.successResultOf(special), None)
        self.assertEqual(
            answer,
            {
                "sequence": receipt.sequence,
                "view": view,
                "members": (1, 7),
                "targets": (1, 9),
            },
        )
        to = (Member(1, 9), Member(7, 100))
        terms = Terms(Level.SAFE, to, (b"h", b""), view)
        self.assertEqual(asked[0], (1, Guarantee.SAFE, ORDINARY))
        self.assertEqual(asked[1], (1, Guarantee.AGREED, terms))

    def test_badTerms(self) -> None:
        """
        Terms that are none are refused; so is every guarantee but 0 to 3.  (D9)
        """
        self.joined()
        good = {"group": b"g", "count": b"1", "batch": pack([b"x"])}
        for wrong in (
            {"level": b"3"},
            {"level": b"-1"},
            {"level": b""},
            {"to": b"12345678abcd"},
            {"to": b"123"},
            {"groups": b"\5\0\0\0abc"},
            {"view": b"short"},
            {"guarantee": b"4"},
            {"guarantee": b"+2"},
        ):
            with self.assertRaises(InvalidParameter, msg=str(wrong)):
                self.call(b"cpg.send", **{**good, **wrong})

    def test_wishes(self) -> None:
        """
        A join may be for a quorate group, and without what one sends oneself.
        (D22, X4)
        """
        wishes: list[Any] = []
        self.patch(FakeGroups, "join", lambda *_, **asked: wishes.append(asked))
        self.call(b"cpg.join", group=b"g")
        self.call(b"cpg.join", group=b"g", quorate=b"True", discard=b"True")
        usual = {"quorate": False, "discardOwn": False}
        self.assertEqual(wishes, [usual, dict.fromkeys(usual, True)])

    def test_sendManyAtOnce(self) -> None:
        """
        More messages in a batch than readers can be asked to take at once are
        refused.
        """
        self.joined()
        for count, refused in ((BATCH_MESSAGES, False), (BATCH_MESSAGES + 1, True)):
            arguments = {"count": b"%d" % count, "batch": bytes(4 * count)}
            if refused:
                with self.assertRaises(TooBig):
                    self.call(b"cpg.send", group=b"g", **arguments)
            else:
                self.call(b"cpg.send", group=b"g", **arguments)

    def test_largeNotification(self) -> None:
        """
        A view that waits counts with its size.
        """
        queue = DispatchQueue()
        queue.notify({b"view": bytes(60_000)})
        self.assertEqual(queue.heldBytes, 60_000 + NOTIFICATION_COST)
        taken = queue.next()
        assert taken is not None
        self.assertEqual((taken[1], queue.heldBytes), (NOTIFICATION_COST, 0))

    def test_sendParts(self) -> None:
        """
        A batch in parts is sent with its last part.
        """
        self.joined()
        batch = pack([b"x" * 100])
        common = {"group": b"g", "count": b"1", "stream": b"5", "guarantee": b"3"}
        first = self.call(
            b"cpg.send", batch=batch[:60], part=b"0", more=b"True", **common
        )
        self.assertIsNone(first)
        self.call(b"cpg.send", batch=batch[60:], part=b"1", more=b"False", **common)
        self.clock.advance(0)
        self.assertEqual(self.subscriber.events[0][2], batch)
        self.assertEqual(self.groups.asked[-1], ("send", 100, b"g", 1, 3))

    def test_sendRefuses(self) -> None:
        """
        What cannot be right is refused before it reaches the groups.
        """
        self.joined()
        good = {"group": b"g", "count": b"1", "batch": pack([b"x"])}
        before = len(self.groups.asked)
        for wrong in (
            {"guarantee": b"4"},
            {"guarantee": b"-1"},
            {"guarantee": b""},
            {"count": b"0"},
            {"count": b"2"},
            {"count": b"-1"},
            {"count": b"4294967296"},
            {"batch": b""},
            {"batch": b"\0\0\0"},
            {"stream": b"1", "part": b"1"},
            {"stream": b"x", "part": b"0"},
            {"stream": b"1", "part": b"-1"},
        ):
            with self.assertRaises(InvalidParameter, msg=str(wrong)):
                self.call(b"cpg.send", **{**good, **wrong})
        for missing in good:
            with self.assertRaises(KeyError):
                self.call(b"cpg.send", **{k: good[k] for k in good if k != missing})
        with self.assertRaises(NotJoined):
            self.call(b"cpg.send", **{**good, "group": b"other"})
        self.assertEqual(len(self.groups.asked), before + 1)

    def test_sendsBounded(self) -> None:
        """
        While too many batches of one client wait, another one is refused; when
        they are through it is taken.
        """
        self.joined()
        self.groups.busy = True
        good = {"group": b"g", "count": b"1", "batch": pack([b"x"])}
        waiting = [self.call(b"cpg.send", **good) for _ in range(PENDING_SENDS)]
        with self.assertRaises(TryAgain):
            self.call(b"cpg.send", **good)
        self.groups.released()
        for sent in waiting:
            self.successResultOf(sent)
        self.assertIsNotNone(self.call(b"cpg.send", **good))

    def test_members(self) -> None:
        """
        A long list of members comes in several answers.
        """
        count = LISTED_MEMBERS + 10
        self.groups.processes[b"g"] = {n: Subscriber(n) for n in range(count)}
        found: list[int] = []
        after = b""
        more = True
        answers = 0
        while more:
            called = self.call(b"cpg.members", group=b"g", after=after)
            answer = Members.parseResponse(self.successResultOf(called), None)
            found += answer["members"]
            more = answer["more"]
            after = Numbers().toString(answer["members"][-2:])
            answers += 1
        self.assertEqual(answers, 2)
        self.assertEqual(found[1::2], list(range(count)))
        self.assertEqual(set(found[::2]), {7})

    def test_groups(self) -> None:
        """
        So does a long list of groups, of which one has an empty name.
        """
        names = sorted([b"", *(b"%d" % n for n in range(LISTED_GROUPS))])
        self.groups.processes.update({n: {1: Subscriber(1)} for n in names})
        found: list[bytes] = []
        more = True
        while more:
            after = {"after": found[-1]} if found else {}
            called = self.call(b"cpg.groups", **after)
            answer = Groups.parseResponse(self.successResultOf(called), None)
            found += unpack(answer["groups"])
            more = answer["more"]
        self.assertEqual(found, names)

    def test_closed(self) -> None:
        """
        When the connection is gone the process is out of its groups.
        """
        self.joined()
        self.subscriber.ending()
        self.assertEqual(self.groups.groups(), ())

    def test_ring(self) -> None:
        """
        A ring's name has 64 and 32 bits.
        """
        box = ringBox(RingId(2**64 - 1, 2**32 - 1), (1, 2))
        self.assertEqual(box[b"sequence"], b"18446744073709551615")
        self.assertEqual(box[b"representative"], b"4294967295")
        self.assertEqual(box[b"members"], b"\1\0\0\0\2\0\0\0")
