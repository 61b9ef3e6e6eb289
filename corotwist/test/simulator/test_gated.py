"""
The judge of quorate groups: bad histories, one by one, and whole nodes.
"""

from typing import Any
from unittest.mock import patch

from attrs import define, evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import NodeSettings, QuorumSettings
from corotwist.engines import groupssending
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.groupsdelivery import GroupsDelivery
from corotwist.engines.groupsreceipts import LEFT_OVER
from corotwist.engines.interfaces import Receipt, View, ViewId
from corotwist.errors import NotQuorate
from corotwist.simulator import Cluster, PromiseBroken
from corotwist.simulator.gated import GatedClient
from corotwist.simulator.judges.gated import GatedJudge
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.swarm.draw import draw
from corotwist.simulator.swarm.gate import drawGated
from corotwist.simulator.swarm.plan import Plan
from corotwist.totem.membership import RingId

A, B, C = 1, 2, 3
ONE, TWO = ViewId(RingId(4, 1), 0), ViewId(RingId(8, 1), 0)


def view(viewId: ViewId, *, quorate: bool = True, goesOn: bool = True) -> View:
    return View(viewId, (1, 2), (), (), quorate, "all", goesOn)


@define(eq=False)
class Client:
    identity: int
    life: Life


class GatedTests(SynchronousTestCase):
    """
    Two clients in one quorate group.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = GatedJudge(self.violations.append, honest=True)
        self.a, self.b = Client(1, Life(1)), Client(2, Life(2))
        for client in (self.a, self.b):
            self.judge.installed(client.life, view(ONE))
            self.judge.joined(client, 10)
        for number in range(1, 5):
            self.judge.sent((1, number))

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def both(self, place: int, number: int) -> None:
        for client in (self.a, self.b):
            self.judge.delivered(client, place, (1, number))

    def on(self, *clients: Client, **others: Any) -> None:
        for client in clients or (self.a, self.b):
            self.judge.installed(client.life, view(TWO, **others))

    def test_stopping(self) -> None:
        """
        A client of a node that stops may be sent away before it got what the
        ring left.
        """
        self.both(11, 1)
        self.judge.delivered(self.a, 12, (1, 2))
        self.judge.stopping(self.b.life)
        self.on()
        self.judge.agreement()
        self.assertFound()

    def test_otherPlace(self) -> None:
        """
        What a sender is told of a place is what members see there.
        """
        self.judge.delivered(self.b, 11, (1, 1))
        self.judge.answered(self.a, (1, 1), Receipt(12, ONE, (1, 2)))
        self.assertFound("G2")
        self.judge.answered(self.a, (1, 2), Receipt(13, ONE, (1, 2)))
        self.judge.delivered(self.b, 14, (1, 2))
        self.assertFound("G2", "G2")

    def test_lateAnswer(self) -> None:
        """
        What a client sent that has died is answered, in a quorate view in which
        nobody else is in the group.
        """
        self.judge.left(self.a)
        self.judge.left(self.b)
        self.on()
        self.judge.answered(self.a, (1, 1), Receipt(11, TWO, (1, 2)))
        self.assertFound()

    def test_good(self) -> None:
        """
        Both get all of it and go on; one who is cut off has less.
        """
        self.both(11, 1)
        self.judge.answered(self.a, (1, 1), Receipt(11, ONE, (1, 2)))
        self.judge.delivered(self.a, 12, (1, 2))
        self.judge.delivered(self.b, 12, (1, 2))
        self.judge.delivered(self.a, 13, (1, 3))
        self.on(self.a)
        self.judge.installed(self.b.life, view(TWO, quorate=False))
        self.judge.answered(self.a, (1, 4), NotQuorate("in an inquorate view"))
        self.judge.agreement()
        self.assertFound()
        self.assertEqual(self.judge.unanswered(), 2)

    def test_inquorate(self) -> None:
        """
        G1: nothing is delivered without quorum.
        """
        self.on(quorate=False)
        self.judge.delivered(self.a, 11, (1, 1))
        self.assertFound("G1")

    def test_differently(self) -> None:
        """
        G2: one place is one message, in its order, and sent by somebody.
        """
        self.judge.delivered(self.a, 11, (1, 1))
        self.judge.delivered(self.b, 11, (1, 2))
        self.judge.delivered(self.b, 11, (1, 2))
        self.judge.delivered(self.a, 12, (9, 9))
        self.assertFound("G2", "G2", "G2", "G2")

    def test_missed(self) -> None:
        """
        G2: nobody lacks anything in the middle.
        """
        self.both(11, 1)
        self.judge.delivered(self.a, 12, (1, 2))
        self.both(13, 3)
        self.judge.agreement()
        self.assertFound("G2")

    def test_wentOn(self) -> None:
        """
        G3: who goes on lacks nothing that anybody got.
        """
        self.judge.delivered(self.a, 11, (1, 1))
        self.judge.ended(self.a.life)
        self.on(self.b)
        self.judge.agreement()
        self.assertFound("G3")

    def test_fork(self) -> None:
        """
        G4: one view is followed by one.
        """
        self.on(self.a)
        self.judge.installed(self.b.life, view(ViewId(RingId(12, 2), 0)))
        self.assertFound("G4")

    def test_answers(self) -> None:
        """
        G5: what is refused is not delivered, but for what a ring left over,
        and a receipt is of a quorate view.
        """
        judge, a, b = self.judge, self.a, self.b
        judge.delivered(b, 11, (1, 1))
        judge.answered(a, (1, 1), NotQuorate(LEFT_OVER))
        self.assertFound()
        judge.delivered(b, 12, (1, 2))
        judge.answered(a, (1, 2), NotQuorate("not in time"))
        judge.answered(a, (1, 3), NotQuorate(LEFT_OVER))
        judge.delivered(a, 13, (1, 3))
        judge.answered(a, (1, 4), Receipt(14, TWO, ()))
        judge.answered(a, (1, 4), None)
        self.assertFound("G5", "G5", "G5", "G5")


def counting(settings: NodeSettings) -> NodeSettings:
    """
    With votes.
    """
    return evolve(settings, quorum=QuorumSettings("corosync_votequorum", 3))


class RunTests(SynchronousTestCase):
    """
    Whole nodes.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(3, services=True, configure=counting)
        self.cluster.jury.gated.honest = True
        self.cluster.settle()
        self.clients = [self.cluster.gatedClient(n) for n in (A, B, C)]
        for client in self.clients:
            client.join()
        self.cluster.settle()

    def answers(self, client: GatedClient, *payloads: bytes) -> list[object]:
        answers: list[object] = []
        for sent in client.send(*payloads):
            sent.addCallback(answers.append)
        self.cluster.run(0.5)
        return answers

    def story(self) -> None:
        """
        One is cut off in the middle of a conversation, and comes back.
        """
        for client in self.clients:
            client.send(b"together")
        self.cluster.run(0.002)
        self.cluster.partition({A}, {B, C})
        for _ in range(20):
            for client in self.clients:
                client.send(b"apart")
            self.cluster.run(0.2)
        self.cluster.heal()
        self.cluster.settle()

    def test_gate(self) -> None:
        """
        While all are here everything is delivered, with the view in the
        receipt; who is cut off is refused, and nobody gets what it sent; the
        others go on, in a later view.  (X4, C23)
        """
        (first,) = self.answers(self.clients[0], b"one")
        assert isinstance(first, Receipt), first
        self.cluster.partition({A}, {B, C})
        self.cluster.settle()
        (refused,) = self.answers(self.clients[0], b"two")
        self.assertIsInstance(refused, NotQuorate)
        (second,) = self.answers(self.clients[1], b"three")
        assert isinstance(second, Receipt), second
        self.assertLess(first.viewId, second.viewId)
        self.assertEqual(self.clients[0].log, [b"one"])
        self.assertEqual(self.clients[2].log, [b"one", b"three"])

    def test_story(self) -> None:
        """
        A partition in the middle of a conversation breaks no promise.  (X4, C23)
        """
        self.story()
        self.assertIn(b"apart", self.clients[1].log)

    def test_open(self) -> None:
        """
        G1: a node that delivers without quorum is seen.
        """
        self.cluster.partition({A}, {B, C})
        self.cluster.settle()
        with (
            patch.object(GroupsDelivery, "_judge", lambda *args: None),
            patch.object(groupssending, "checkNow", lambda *args: None),
            patch.object(GroupsEngine, "_checkQuorate", lambda *args: None),
        ):
            broken = self.assertRaises(
                PromiseBroken, self.answers, self.clients[0], b"late"
            )
        self.assertEqual(broken.violation.promise, "G1")


class DrawnTests(SynchronousTestCase):
    """
    In swarms.
    """

    def test_drawn(self) -> None:
        """
        Runs with votes have quorate groups now and then; all else of them is
        as it was; plans are saved with them.
        """
        plans = [draw(seed, 5, services=True) for seed in range(40)]
        gated = [plan for plan in plans if plan.gated]
        self.assertGreater(len(gated), 2)
        for plan in gated:
            self.assertTrue(plan.quorum)
            self.assertEqual(Plan.fromJson(plan.toJson()), plan)
        for plan in plans:
            self.assertEqual(drawGated(evolve(plan, quorum={})), ())
