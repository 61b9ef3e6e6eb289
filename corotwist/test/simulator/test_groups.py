"""
The judge of process groups.
"""

from collections.abc import Iterable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.engines import batch
from corotwist.engines.interfaces import (
    Change,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    Member,
    Reason,
)
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
    Takes everything and does nothing.
    """

    table: dict[bytes, tuple[Member, ...]] = field(factory=dict)

    def join(self, subscriber: IGroupSubscriber, group: bytes) -> None:
        pass

    def leave(self, subscriber: IGroupSubscriber, group: bytes) -> None:
        pass

    def send(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        batch: bytes,
        count: int,
        guarantee: Guarantee,
    ) -> Deferred[None]:
        return succeed(None)

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
        self.judge = GroupsJudge(self.violations.append, lambda life: self.path)
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
        self.assertFound("C3")

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
        self.assertFound("C4", "C4", "C4")

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
        self.assertFound("C7", "C6", "C7")

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
        C9: a change of the ring is at most one view of the lost and then one
        of the gained, and nothing between them and the news of the ring.
        """
        a, b = self.a, self.b
        self.both()
        b.send(GROUP, b"m")
        self.view(a, [a], left={b: Reason.NODEDOWN})
        self.view(a, [a, b], {b: Reason.NODEUP})
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
