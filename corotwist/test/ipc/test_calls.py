"""
Requests to the members of a group, and their answers.
"""

from collections.abc import Callable
from functools import partial
from struct import pack
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from corotwist.engines.interfaces import GroupView, Member
from corotwist.errors import (
    Disconnected,
    InvalidParameter,
    NotJoined,
    TimedOut,
    TryAgain,
)
from corotwist.ipc import calls as module
from corotwist.ipc.answers import Answers, Missing, Why
from corotwist.ipc.calls import Calls
from corotwist.ipc.client import NodeClient
from corotwist.ipc.events import Message
from corotwist.test.ipc.cluster import ClusterCase

ALL = (Member(1, 100), Member(2, 100), Member(3, 100))
ONE, TWO, THREE = ALL


def labelled(label: bytes, request: Message) -> bytes:
    """
    An answer that says whose it is, and to what.
    """
    return label + request.payload


class CallsCase(ClusterCase):
    """
    A process on each of three nodes, in one group; each remembers what it was
    asked, and answers when told.

    @ivar idle: what waits for time when nothing happens.
    @ivar asked: by nodeid, each request and where its answer goes.
    """

    def setUp(self) -> None:
        super().setUp()
        self.asked: dict[int, list[tuple[Message, Deferred[bytes]]]] = {}
        self.clients: dict[int, NodeClient] = {}
        self.calls: dict[int, Calls] = {}
        for nodeid in self.nodeids:
            self.clients[nodeid] = self.client(nodeid)
            self.asked[nodeid] = []
            self.calls[nodeid] = self.joined(nodeid, self.remembering(nodeid))
        self.idle = len(self.net.clock.getDelayedCalls())

    def remembering(self, nodeid: int) -> Callable[[Message], Deferred[bytes]]:
        def answer(request: Message) -> Deferred[bytes]:
            answered: Deferred[bytes] = Deferred()
            self.asked[nodeid].append((request, answered))
            return answered

        return answer

    def joined(self, nodeid: int, answer: Any, **wishes: Any) -> Calls:
        client = self.clients[nodeid]
        joining = Calls.join(client.groups, b"g", answer, **wishes)
        calls = self.result(joining)
        assert isinstance(calls, Calls)
        return calls

    def ask(self, payload: bytes = b"how?", **how: Any) -> Deferred[Answers]:
        """
        The process on node 1 asks.
        """
        asking = self.calls[1].request(payload, **{"timeout": 5.0, **how})
        self.turn()
        return asking

    def answer(self, nodeid: int, answer: Any) -> None:
        _, answered = self.asked[nodeid].pop(0)
        answered.callback(answer)
        self.turn()


class RequestTests(CallsCase):
    """
    L{Calls.request}.
    """

    def test_everybodyAnswers(self) -> None:
        """
        A request comes to every member, the asker too, at one place of the
        order; when all have answered, in whatever order, the asker has all
        answers.  (D35)
        """
        asking = self.ask()
        requests = [asked[0][0] for asked in self.asked.values()]
        self.assertEqual([r.payload for r in requests], [b"how?"] * 3)
        self.assertEqual({r.sender for r in requests}, {ONE})
        for nodeid in (3, 1):
            self.answer(nodeid, b"like %d" % nodeid)
            self.assertNoResult(asking)
        self.answer(2, b"")
        answers = self.successResultOf(asking)
        self.assertTrue(answers.complete)
        self.assertEqual(answers.members, ALL)
        expected = {ONE: b"like 1", TWO: b"", THREE: b"like 3"}
        self.assertEqual(answers.answers, expected)
        self.assertEqual({r.sequence for r in requests}, {answers.sequence})

    def test_memberDies(self) -> None:
        """
        A member whose node is lost before it answered is missing, and why is
        said; nobody waits for it.  (D35)
        """
        asking = self.ask()
        self.answer(1, b"one")
        self.answer(2, b"two")
        self.net.kill(3)
        self.net.form(1, 2)
        self.turn()
        answers = self.successResultOf(asking)
        self.assertFalse(answers.complete)
        self.assertEqual(answers.answers, {ONE: b"one", TWO: b"two"})
        self.assertEqual(answers.missing, {THREE: Missing(Why.LEFT, "NODEDOWN")})

    def test_answeredAndDied(self) -> None:
        """
        What a member answered before it died is its answer.  (D35)
        """
        asking = self.ask()
        for nodeid in (3, 2):
            self.answer(nodeid, b"last words")
        self.net.kill(3)
        self.net.form(1, 2)
        self.turn()
        self.answer(1, b"one")
        answers = self.successResultOf(asking)
        self.assertEqual(answers.answers[THREE], b"last words")
        self.assertTrue(answers.complete)

    def test_memberLeaves(self) -> None:
        """
        So it is with one that leaves the group; one that comes later is not
        asked.  (D35)
        """
        asking = self.ask()
        late = self.client(2, pid=200)
        joining = Calls.join(late.groups, b"g", lambda _: b"late")
        self.result(joining)
        self.result(self.calls[3].group.leave())
        self.answer(1, b"1")
        self.answer(2, b"2")
        answers = self.successResultOf(asking)
        self.assertEqual(answers.members, ALL)
        self.assertEqual(answers.missing, {THREE: Missing(Why.LEFT, "LEAVE")})

    def test_inTime(self) -> None:
        """
        Who has not answered in time is missing; an answer that comes later goes
        nowhere.  (D35)
        """
        asking = self.ask(timeout=2.0)
        self.answer(1, b"1")
        self.pass_(1.9)
        self.assertNoResult(asking)
        self.pass_(0.2)
        answers = self.successResultOf(asking)
        self.assertEqual({m.why for m in answers.missing.values()}, {Why.TIMED_OUT})
        self.assertEqual([*answers.missing], [TWO, THREE])
        self.answer(2, b"too late")
        self.assertEqual(len(self.net.clock.getDelayedCalls()), self.idle)

    def test_failures(self) -> None:
        """
        A member that cannot answer says why: what its application raised, or
        that it answered with no bytes.  (D35)
        """
        asking = self.ask()
        _, answered = self.asked[2].pop()
        answered.errback(Failure(ZeroDivisionError("nothing to share")))
        self.answer(1, "text")
        self.answer(3, b"3")
        missing = self.successResultOf(asking).missing
        self.assertEqual(missing[TWO], Missing(Why.FAILED, "nothing to share"))
        self.assertEqual(missing[ONE].text, "an answer is bytes, and not str")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_some(self) -> None:
        """
        Only who is named is asked, and is to answer; who is not a member is
        missing.  (D35)
        """
        stranger = Member(2, 999)
        asking = self.ask(to=[THREE, stranger])
        self.answer(3, b"3")
        answers = self.successResultOf(asking)
        self.assertEqual(answers.answers, {THREE: b"3"})
        self.assertEqual(answers.missing, {stranger: Missing(Why.LEFT, "not a member")})
        self.assertEqual([*map(len, self.asked.values())], [0, 0, 0])
        self.failureResultOf(self.ask(to=[]), InvalidParameter)

    def test_many(self) -> None:
        """
        Requests of several members at once each get their own answers; and
        there are so many at most.  (D35)
        """
        for nodeid in self.nodeids:
            self.calls[nodeid]._answer = partial(labelled, b"%d:" % nodeid)
        asking = {
            (nodeid, n): self.calls[nodeid].request(b"%d" % n, timeout=5.0)
            for nodeid in self.nodeids
            for n in range(40)
        }
        self.turn()
        for (_, n), asked in asking.items():
            answers = self.successResultOf(asked).answers
            self.assertEqual({a.split(b":")[1] for a in answers.values()}, {b"%d" % n})
        self.patch(module, "MOST_REQUESTS", 2)
        for calls in self.calls.values():
            calls._answer = lambda _: Deferred()
        self.ask()
        self.ask()
        self.failureResultOf(self.ask(), TryAgain)

    def test_tooManyAtOnce(self) -> None:
        """
        A member answers so many at once, and refuses others.  (D35)
        """
        self.patch(module, "MOST_ANSWERING", 1)
        self.ask()
        asking = self.ask()
        missing = self.successResultOf(asking).missing
        self.assertEqual({m.why for m in missing.values()}, {Why.FAILED})
        self.assertEqual(len(missing), 3)

    def test_tooMuch(self) -> None:
        """
        Of all that is answered so many bytes are kept, until they are looked
        at.  (D35)
        """
        room = self.calls[1]._room
        room.limit = 2500
        for _ in range(2):
            asking = self.ask()
            for nodeid in self.nodeids:
                self.answer(nodeid, bytes(1000))
            answers = self.successResultOf(asking)
            self.assertEqual(answers.missing[THREE].why, Why.TOO_MUCH)
            self.assertEqual([*answers.answers], [ONE, TWO])
            self.assertEqual(room.used, 0)

    def test_cancel(self) -> None:
        """
        Who cancels waits no longer, and keeps nothing.  (D35, X2)
        """
        asking = self.ask()
        self.answer(1, b"1")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.answer(2, b"2")
        self.assertEqual(self.calls[1]._room.used, 0)
        self.assertEqual(len(self.net.clock.getDelayedCalls()), self.idle)

    def test_notOrdered(self) -> None:
        """
        A request that gets no place in time fails; one of who is not in the
        group does, too.  (D35)
        """
        asking = self.calls[1].request(b"?", timeout=1.0)
        self.net.clock.advance(1.0)
        self.failureResultOf(asking, TimedOut)
        asking = self.ask()
        self.result(self.calls[1].group.leave())
        self.failureResultOf(asking, NotJoined)
        self.failureResultOf(self.ask(), NotJoined)

    def test_connectionLost(self) -> None:
        """
        Who loses its node does not know the answers.  (D35)
        """
        asking = self.ask()
        self.clients[1]._remote.close()
        self.net.clock.advance(0)
        self.failureResultOf(asking, Disconnected)


class WireTests(CallsCase):
    """
    Other clients can take part.
    """

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[Message] = []
        self.other = self.client(3, pid=300)
        joining = self.other.groups.join(b"g", heard=self._heard)
        self.raw = self.result(joining)
        for calls in self.calls.values():
            calls._answer = lambda _: b"fine"

    def _heard(self, event: Any) -> None:
        if isinstance(event, Message):
            self.heard.append(event)

    def test_answers(self) -> None:
        """
        A client of whatever language gets a request as described, and answers
        with the bytes described.  (D35)
        """
        asking = self.ask()
        (request,) = (m for m in self.heard if m.payload[:1] == b"\1")
        number = request.payload[1:9]
        self.assertEqual(request.payload, b"\1" + number + b"how?")
        address = pack("<II", 1, 100)
        self.raw.send(b"\2" + number + address + b"raw")
        self.turn()
        answers = self.successResultOf(asking).answers
        self.assertEqual(answers[Member(3, 300)], b"raw")
        asking = self.ask()
        number = self.heard[-1].payload[1:9]
        self.raw.send(b"\3" + number + address + "n\u00f6".encode())
        self.turn()
        missing = self.successResultOf(asking).missing
        self.assertEqual(missing, {Member(3, 300): Missing(Why.FAILED, "n\u00f6")})

    def test_asks(self) -> None:
        """
        It asks with the bytes described, and everybody answers with them.
        (D35)
        """
        self.raw.send(b"\1" + pack("<Q", 77) + b"?")
        self.turn()
        expected = b"\2" + pack("<QII", 77, 3, 300) + b"fine"
        got = {m.sender: m.payload for m in self.heard if m.sender.pid == 100}
        self.assertEqual(got, dict.fromkeys(ALL, expected))

    def test_nonsense(self) -> None:
        """
        What is neither of the three, too short, for others, or an answer to
        nothing changes nothing.  (D35)
        """
        asking = self.ask()
        number = self.heard[0].payload[1:9]
        ours, others = pack("<II", 1, 100), pack("<II", 2, 100)
        for payload in (
            b"", b"\1", b"\2" + number, b"\4" + number + ours + b"later",
            b"\2" + number + others + b"?", b"\2" + pack("<Q", 99) + ours + b"?",
        ):  # fmt: skip
            self.raw.send(payload)
        self.turn()
        self.assertNoResult(asking)
        self.raw.send(b"\2" + number + ours + b"at last")
        self.raw.send(b"\2" + number + ours + b"again")
        self.turn()
        answers = self.successResultOf(asking).answers
        self.assertEqual(answers[Member(3, 300)], b"at last")


class MixedTests(CallsCase):
    """
    With a node of real corosync on the ring.
    """

    def test_everybodyHears(self) -> None:
        """
        Where nodes cannot show a message to one member alone answers go to all,
        and only the asker takes them; they go to it alone again when that node
        is gone.  (D35)
        """
        heard: list[Message] = []

        def listening(event: Any) -> None:
            if isinstance(event, Message) and event.payload[:1] == b"\2":
                heard.append(event)

        witness = self.client(2, pid=500)
        self.result(witness.groups.join(b"g", heard=listening))
        for calls in self.calls.values():
            calls._answer = lambda _: b"fine"
        self.net.boot(4, foreign=True)
        for members, overheard in (((1, 2, 3, 4), 2), ((1, 2, 3), 0)):
            self.net.form(*members)
            self.turn()
            asking = self.ask(timeout=1.0)
            self.pass_(1.1)
            answers = self.successResultOf(asking)
            self.assertEqual(answers.answers, dict.fromkeys(ALL, b"fine"))
            self.assertEqual([*answers.missing], [Member(2, 500)])
            self.assertEqual(len(heard), overheard)
            del heard[:]


class ViewTests(CallsCase):
    """
    The application sees the group.
    """

    def test_views(self) -> None:
        """
        Whoever wants is told of the group's views, in their places.
        """
        views: list[GroupView] = []
        self.clients[4] = self.client(2, pid=400)
        calls = self.joined(4, lambda _: b"", viewChanged=views.append)
        self.result(self.calls[3].group.leave())
        newcomer = Member(2, 400)
        self.assertEqual(
            [view.members for view in views],
            [(ONE, TWO, newcomer, THREE), (ONE, TWO, newcomer)],
        )
        self.result(calls.group.leave())
