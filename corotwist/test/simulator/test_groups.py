"""
The judge of process groups.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.engines import batch, groupssync
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.interfaces import (
    NO_RECEIPT,
    ORDINARY,
    Change,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    Member,
    Reason,
    Receipt,
    SlowReader,
    Terms,
)
from corotwist.errors import (
    Busy,
    Exists,
    Interrupted,
    NotJoined,
    ServiceError,
    TryAgain,
)
from corotwist.simulator import Cluster, PromiseBroken
from corotwist.simulator.clients import Client
from corotwist.simulator.judges.groups import HEADER, GroupsJudge, Path
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.totem.membership import Guarantee, RingId

R1, R2, R3 = RingId(4, 1), RingId(8, 1), RingId(12, 1)
GROUP = b"g"


@implementer(IProcessGroups)
@define(eq=False)
class Engine:
    """
    Takes everything and does nothing, unless it has an answer to everything.
    """

    table: dict[bytes, tuple[Member, ...]] = field(factory=dict)
    answer: ServiceError | None = None

    def join(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        slow: SlowReader | None = None,
        *,
        quorate: bool = False,
        discardOwn: bool = False,
    ) -> None:
        if self.answer is not None:
            raise self.answer

    def leave(self, subscriber: IGroupSubscriber, group: bytes) -> None:
        if self.answer is not None:
            raise self.answer

    def send(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        batch: bytes,
        count: int,
        guarantee: Guarantee,
        *,
        terms: Terms = ORDINARY,
    ) -> Deferred[Receipt]:
        return succeed(NO_RECEIPT) if self.answer is None else fail(self.answer)

    def members(self, group: bytes) -> tuple[Member, ...]:
        return self.table.get(group, ())

    def groups(self) -> tuple[bytes, ...]:
        return tuple(sorted(self.table))

    def closed(self, subscriber: IGroupSubscriber) -> None:
        pass


class GroupsTests(SynchronousTestCase):
    """
    Client 1 on node 1 and client 2 on node 2.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.path: Path = ()
        self.came: frozenset[int] | None = None
        self.judge = GroupsJudge(
            self.violations.append, lambda life: self.path, lambda life: self.came
        )
        self.engine = Engine()
        self.a, self.b = [
            Client(n, n, Life(n), self.engine, self.judge) for n in (1, 2)
        ]
        for client in (self.a, self.b):
            self.judge.opened(client)

    def view(
        self,
        client: Client,
        members: Iterable[Client],
        joined: dict[Client, Reason] | None = None,
        left: dict[Client, Reason] | None = None,
    ) -> None:
        client.viewChanged(
            GroupView(
                GROUP,
                tuple(sorted(c.member for c in members)),
                tuple(Change(c.member, r) for c, r in (left or {}).items()),
                tuple(Change(c.member, r) for c, r in (joined or {}).items()),
            )
        )

    def asks(self, client: Client, answer: ServiceError | None, asked: str) -> None:
        """
        A client asks for something and gets this answer.
        """
        self.engine.answer = answer
        if asked == "send":
            client.send(GROUP, b"m").addErrback(lambda failure: None)
        elif answer is None:
            getattr(client, asked)(GROUP)
        else:
            self.assertRaises(type(answer), getattr(client, asked), GROUP)
        self.engine.answer = None

    def both(self) -> None:
        """
        1 joins, then 2, on a ring that both know.
        """
        a, b = self.a, self.b
        for client in (a, b):
            client.ringChanged(R1, (1, 2))
        self.view(a, [a], {a: Reason.JOIN})
        self.view(a, [a, b], {b: Reason.JOIN})
        self.view(b, [a, b], {b: Reason.JOIN})

    def ring(self, *clients: Client, ringId: RingId = R2) -> None:
        for client in clients:
            client.ringChanged(ringId, (1, 2))

    def deliver(
        self,
        client: Client,
        sender: Client,
        number: int,
        payload: bytes = b"m",
        group: bytes = GROUP,
    ) -> None:
        message = HEADER.pack(sender.identity, number) + payload
        packed = batch.pack([message])
        client.messagesDelivered(group, sender.member, packed, 1)

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def test_interface(self) -> None:
        """
        A client is a subscriber.
        """
        verifyObject(IGroupSubscriber, self.a)

    def test_good(self) -> None:
        """
        Two talk, one leaves, and everything is as promised.
        """
        self.both()
        self.ring(self.a, self.b)
        self.successResultOf(self.a.send(GROUP, b"m", b"m"))
        self.assertEqual(self.judge.outstanding(), 2)
        for client in (self.a, self.b):
            self.deliver(client, self.a, 1)
            self.deliver(client, self.a, 2)
        self.ring(self.a, self.b, ringId=R3)
        self.b.leave(GROUP)
        self.view(self.a, [self.a], left={self.b: Reason.LEAVE})
        self.view(self.b, [self.a], left={self.b: Reason.LEAVE})
        self.assertEqual((self.judge.outstanding(), [*self.b.views]), (0, []))
        self.engine.table[GROUP] = (self.a.member,)
        lives = {self.a.life, self.b.life}
        tables: dict[Life, IProcessGroups] = dict.fromkeys(lives, self.engine)
        self.assertTrue(self.judge.agreed(tables, [lives]))
        self.judge.agreement(tables, [lives])
        self.assertFound()

    def test_firstView(self) -> None:
        """
        C1: a first view is of the own join.
        """
        self.view(self.a, [self.a], {self.a: Reason.NODEUP})
        self.view(self.b, [self.a], {self.b: Reason.JOIN})
        self.assertFound("C1", "C1")

    def test_arithmetic(self) -> None:
        """
        C1: a view is the one before, without who left, with who joined.
        """
        a, b = self.a, self.b
        self.both()
        self.view(a, [a], {})
        self.view(b, [a, b], {a: Reason.JOIN})
        self.assertFound("C1", "C1")

    def test_stranger(self) -> None:
        """
        C3: a message comes from a member of the view, under its own name.
        """
        a, b = self.a, self.b
        self.view(a, [a], {a: Reason.JOIN})
        b.send(GROUP, b"m")
        self.deliver(a, b, 1)
        self.assertFound("C0", "C3")

    def test_invented(self) -> None:
        """
        C4: a message that was not sent, or not so, or to another group.
        """
        self.both()
        self.a.send(b"other", b"m")
        self.a.send(GROUP, b"m")
        self.deliver(self.b, self.a, 9)
        self.deliver(self.b, self.a, 2, b"changed")
        self.deliver(self.b, self.a, 1)
        self.assertFound("C0", "C4", "C4", "C4")

    def test_twice(self) -> None:
        """
        C4: a message again, or messages in another order.
        """
        self.both()
        self.a.send(GROUP, b"m", b"m")
        for number in (2, 1, 2):
            self.deliver(self.b, self.a, number)
        self.assertFound("C4", "C4")

    def test_count(self) -> None:
        """
        C4: a batch holds as many messages as is said.
        """
        self.both()
        self.b.messagesDelivered(GROUP, self.a.member, b"", 1)
        self.assertFound("C4")

    def test_notIn(self) -> None:
        """
        C7, C8: nothing comes before the own join or after the own leave, and
        C6: nothing that was accepted is left for then.
        """
        a = self.a
        a.send(GROUP, b"m", b"m")
        self.deliver(a, a, 1)
        self.view(a, [a], {a: Reason.JOIN})
        a.leave(GROUP)
        self.view(a, [], left={a: Reason.LEAVE})
        self.deliver(a, a, 2)
        self.assertFound("C0", "C7", "C6", "C7")

    def test_lost(self) -> None:
        """
        C6: who sends and stays gets it back.
        """
        self.both()
        self.a.send(GROUP, b"m")
        self.judge.agreement({}, [])
        self.assertFound("C6")

    def test_lostBeforeLeaving(self) -> None:
        """
        C6: nor is it forgotten for a leave that was asked later.
        """
        self.both()
        self.a.send(GROUP, b"m")
        self.a.leave(GROUP)
        self.view(self.a, [self.b], left={self.a: Reason.LEAVE})
        self.assertFound("C6")

    def test_expelled(self) -> None:
        """
        C8, C12: nobody is out who did not ask, least of all for a change of
        the ring.
        """
        self.both()
        self.view(self.a, [self.b], left={self.a: Reason.LEAVE})
        self.view(self.b, [self.a], left={self.b: Reason.NODEDOWN})
        self.assertFound("C8", "C12")

    def test_stages(self) -> None:
        """
        C9: a change of the ring is at most one view of the lost and the
        gained, and nothing comes between it and the news of the ring.
        """
        a, b = self.a, self.b
        self.both()
        b.send(GROUP, b"m")
        self.view(a, [a, b], {b: Reason.NODEUP}, {b: Reason.NODEDOWN})
        self.assertFound()
        self.deliver(a, b, 1)
        self.assertFound("C9")
        self.view(a, [a], left={b: Reason.NODEDOWN})
        self.assertFound("C9", "C9")

    def test_differentMessages(self) -> None:
        """
        C2: two who go on together saw the same messages.
        """
        self.both()
        self.ring(self.a, self.b)
        self.a.send(GROUP, b"m")
        self.deliver(self.a, self.a, 1)
        self.ring(self.a, self.b, ringId=R3)
        self.assertFound("C2")

    def test_differentViews(self) -> None:
        """
        C2: and the same views.
        """
        a, b = self.a, self.b
        third = Client(3, 3, Life(3), self.engine, self.judge)
        self.both()
        self.ring(a, b)
        self.view(a, [a, b, third], {third: Reason.JOIN})
        self.ring(a, b, ringId=R3)
        self.assertFound("C2")

    def test_differentPaths(self) -> None:
        """
        Who went another way may have seen something else.
        """
        self.both()
        self.ring(self.a, self.b)
        self.a.send(GROUP, b"m")
        self.deliver(self.a, self.a, 1)
        self.ring(self.a, ringId=R3)
        self.path = ((R2, (2,), True),)
        self.ring(self.b, ringId=R3)
        self.assertFound()

    def test_tables(self) -> None:
        """
        C11: every node knows exactly who is there.
        """
        self.both()
        self.engine.table[GROUP] = (self.a.member,)
        tables: dict[Life, IProcessGroups] = {self.a.life: self.engine}
        self.assertTrue(self.judge.agreed(tables, [{self.a.life}]))
        self.judge.agreement(tables, [{self.a.life}])
        self.assertFound()
        self.engine.table[GROUP] = (self.a.member, self.b.member)
        self.assertFalse(self.judge.agreed(tables, [{self.a.life}]))
        self.judge.agreement(tables, [{self.a.life}])
        self.assertFound("C11")

    def test_dead(self) -> None:
        """
        Nothing is owed to clients that died, alone or with their nodes.
        """
        self.both()
        self.a.send(GROUP, b"m")
        self.b.send(GROUP, b"m")
        self.a.close()
        self.b.life.alive = False
        self.judge.ended(self.b.life)
        self.deliver(self.b, self.b, 7)
        self.assertEqual(self.judge.outstanding(), 0)
        self.assertFalse(self.b.open)
        self.judge.agreement({}, [])
        self.assertFound()

    def test_answers(self) -> None:
        """
        C0: what the engine answers follows from where a client stands; to try
        again is always right.
        """
        a = self.a
        self.asks(a, NotJoined("x"), "leave")
        self.asks(a, NotJoined("x"), "send")
        self.asks(a, TryAgain("x"), "join")
        self.asks(a, None, "join")
        self.asks(a, Exists("x"), "join")
        self.asks(a, Busy("x"), "leave")
        self.view(a, [a], {a: Reason.JOIN})
        self.asks(a, Exists("x"), "join")
        self.asks(a, TryAgain("x"), "send")
        self.asks(a, None, "leave")
        self.asks(a, Busy("x"), "join")
        self.asks(a, NotJoined("x"), "leave")
        self.view(a, [], left={a: Reason.LEAVE})
        self.assertFound()

    def test_wrongAnswers(self) -> None:
        """
        C0: each other answer is wrong.
        """
        a = self.a
        self.asks(a, None, "send")
        self.asks(a, Exists("x"), "join")
        self.asks(a, None, "join")
        self.asks(a, None, "join")
        self.asks(a, NotJoined("x"), "leave")
        self.view(a, [a], {a: Reason.JOIN})
        self.asks(a, NotJoined("x"), "send")
        self.asks(a, Busy("x"), "leave")
        self.assertFound(*["C0"] * 6)

    def test_oneNumberForTwo(self) -> None:
        """
        Of two clients with one number on a node nothing is said.
        """
        other = Client(3, self.a.pid, self.a.life, self.engine, self.judge)
        self.judge.opened(other)
        self.asks(self.a, Exists("x"), "join")
        self.asks(other, Busy("x"), "join")
        self.assertFound()

    def test_lostWithItsNode(self) -> None:
        """
        C10: lost are those whose nodes did not come along, and they only.
        """
        self.both()
        self.ring(self.a)
        self.came = frozenset({1})
        self.view(self.a, [self.a], left={self.b: Reason.NODEDOWN})
        self.ring(self.a, ringId=R3)
        self.assertFound()

    def test_wronglyLost(self) -> None:
        """
        C10: told to be lost, but came along.
        """
        self.both()
        self.ring(self.a)
        self.came = frozenset({1, 2})
        self.view(self.a, [self.a], left={self.b: Reason.NODEDOWN})
        self.ring(self.a, ringId=R3)
        self.assertFound("C10")

    def test_silentlyLost(self) -> None:
        """
        C10: did not come along, and is in the view as if nothing had been.
        """
        self.both()
        self.ring(self.a)
        self.came = frozenset()
        self.ring(self.a, ringId=R3)
        self.assertFound("C10")

    def test_refused(self) -> None:
        """
        C15: what was refused nobody gets.
        """
        self.both()
        self.asks(self.a, TryAgain("x"), "send")
        self.deliver(self.b, self.a, 1)
        self.assertFound("C15")

    def test_interrupted(self) -> None:
        """
        C14: nor what was interrupted, before or after.
        """
        self.both()
        self.asks(self.a, Interrupted("x"), "send")
        self.violations.clear()
        self.deliver(self.b, self.a, 1)
        self.assertFound("C14")
        self.violations.clear()
        self.deliver(self.b, self.a, 2)
        self.judge.sent(self.a, GROUP, range(3, 4), (b"m",))
        self.deliver(self.b, self.a, 3)
        self.violations.clear()
        self.judge.refused(self.a, GROUP, range(2, 4), Interrupted("x"))
        self.assertFound("C14")


class AwakeTests(SynchronousTestCase):
    """
    Deliberate errors of the engine, in whole clusters.
    """

    def caught(self) -> str:
        try:
            cluster = Cluster(3, 2, services=True)
            cluster.settle()
            clients = [cluster.client(nodeid) for nodeid in (1, 2, 3)]
            for client in clients:
                client.join(b"g")
            cluster.run(0.5)
            for client in clients:
                client.send(b"g", b"m")
            cluster.partition({1, 2}, {3})
            cluster.run(5.0)
            cluster.heal()
            cluster.run(5.0)
            cluster.settle()
            clients[0].leave(b"g")
            cluster.run(1.0)
            with contextlib.suppress(ServiceError):
                clients[0].leave(b"g")
        except PromiseBroken as broken:
            return broken.violation.promise
        return "nothing"

    def test_sound(self) -> None:
        """
        Nothing is wrong with the engine.
        """
        self.assertEqual(self.caught(), "nothing")

    def test_nobodyLost(self) -> None:
        """
        C10: members whose nodes are gone stay in the view.
        """
        self.patch(groupssync, "reconcile", lambda *arguments: [])
        self.assertEqual(self.caught(), "C10")

    def test_everybodyLost(self) -> None:
        """
        C10: members of other nodes are lost and gained with each ring.
        """
        started = GroupsEngine.synchronizationStarted

        def none(engine: GroupsEngine, came: Any, members: Any, ringId: RingId) -> None:
            started(engine, (), members, ringId)

        self.patch(GroupsEngine, "synchronizationStarted", none)
        self.assertEqual(self.caught(), "C10")

    def test_acceptsAll(self) -> None:
        """
        C0: joining again is fine.
        """
        join = GroupsEngine.join

        def lax(engine: GroupsEngine, subscriber: Any, group: bytes) -> None:
            join(engine, subscriber, group)
            with contextlib.suppress(ServiceError):
                join(engine, subscriber, group)
                return
            raise Busy("always")

        self.patch(GroupsEngine, "join", lax)
        with self.assertRaises(PromiseBroken) as raised:
            cluster = Cluster(1, 2, services=True)
            cluster.settle()
            self.assertRaises(Busy, cluster.client(1).join, b"g")
            cluster.run(0.1)
        self.assertEqual(raised.exception.violation.promise, "C0")

    def test_sendsRefused(self) -> None:
        """
        C15: a message is refused, and goes all the same.
        """
        send = GroupsEngine.send

        def both(engine: GroupsEngine, *arguments: Any) -> Deferred[None]:
            send(engine, *arguments)
            return fail(TryAgain("no room, perhaps"))

        self.patch(GroupsEngine, "send", both)
        with self.assertRaises(PromiseBroken) as raised:
            cluster = Cluster(1, 2, services=True)
            cluster.settle()
            client = cluster.client(1)
            client.join(b"g")
            cluster.run(0.5)
            client.send(b"g", b"m").addErrback(lambda failure: None)
            cluster.run(0.5)
        self.assertEqual(raised.exception.violation.promise, "C15")
