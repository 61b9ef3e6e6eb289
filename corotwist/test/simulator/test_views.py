"""
The judge of views: bad views, one by one, and nodes that show them.
"""

from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.interfaces import (
    Cause,
    GroupView,
    Member,
    NodeChange,
    TransitionalView,
    View,
    ViewId,
)
from corotwist.engines.views import Views
from corotwist.simulator import Cluster, PromiseBroken
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.judges.views import VIEWS_REMEMBERED, ViewsJudge
from corotwist.totem.membership import Configuration, RingId

R1, R2, R3 = RingId(4, 1), RingId(8, 1), RingId(12, 1)


def view(ringId: RingId, *members: int, number: int = 0, **others: Any) -> View:
    values = {"left": (), "joined": (), "quorate": True, "rule": "all", **others}
    return View(ViewId(ringId, number), members, **values)


def changes(cause: Cause, *nodeids: int) -> tuple[NodeChange, ...]:
    return tuple(NodeChange(nodeid, cause) for nodeid in nodeids)


LOST_3 = changes(Cause.LOST, 3)
FIRST = view(R1, 1, 2, 3, joined=changes(Cause.STARTED, 1, 2, 3))
ENDED = TransitionalView(ViewId(R1, 0), (1, 2), LOST_3)
SECOND = view(R2, 1, 2, left=LOST_3)


class ViewsTests(SynchronousTestCase):
    """
    Three nodes on a ring, of which two go on.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = ViewsJudge(self.violations.append)
        self.one, self.two, self.three = (Life(n) for n in (1, 2, 3))

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def along(self, *lives: Life, ringId: RingId = R2, members: Any = (1, 2)) -> None:
        for life in lives or (self.one, self.two):
            self.judge.configured(life, Configuration(ringId, members, True))

    def ring(self, *lives: Life, ringId: RingId = R2, members: Any = (1, 2)) -> None:
        for life in lives or (self.one, self.two):
            self.judge.configured(life, Configuration(ringId, members, False))

    def install(self, view: View, *lives: Life, position: int = 7) -> None:
        for life in lives or (self.one, self.two):
            self.judge.installed(life, view, position)

    def begin(self) -> None:
        """
        All three are in their first view.
        """
        lives = self.one, self.two, self.three
        self.ring(*lives, ringId=R1, members=(1, 2, 3))
        self.install(FIRST, *lives)
        for life in lives:
            self.judge.inStep(life, R1)

    def over(self) -> None:
        """
        Two go on and are told so.
        """
        self.begin()
        self.along()
        for life in (self.one, self.two):
            self.judge.ringEnded(life, ENDED)

    def test_good(self) -> None:
        """
        Two go on, and see each other, groups and messages in the right order.
        """
        self.over()
        group = GroupView(b"g", (Member(1, 1), Member(3, 1)), (), (), FIRST)
        self.judge.groupViewed(self.one, group)
        self.judge.messageShown(self.one)
        self.ring()
        self.install(SECOND)
        self.judge.inStep(self.one, R2)
        self.judge.agrees(self.one, quorate=True)
        group = GroupView(b"g", (Member(1, 1),), (), (), SECOND)
        self.judge.groupViewed(self.one, group)
        self.install(view(R2, 1, 2, number=1, quorate=False))
        self.assertFound()

    def test_noView(self) -> None:
        """
        V1: services in step are a view.
        """
        self.over()
        self.ring()
        self.judge.inStep(self.one, R2)
        self.assertFound("V1")

    def test_viewOfAborted(self) -> None:
        """
        V1: a ring whose services never came into step has no view.
        """
        self.over()
        self.ring()
        self.install(SECOND, self.one)
        self.along(self.one, ringId=R3)
        self.assertFound("V1")

    def test_otherRing(self) -> None:
        """
        V1: a view is that of its ring.
        """
        self.over()
        self.ring()
        self.install(evolve(SECOND, members=(1, 2, 3)), self.one)
        self.install(evolve(SECOND, viewId=ViewId(R3, 0)), self.two)
        self.assertFound("V1", "V1")

    def test_second(self) -> None:
        """
        V1, V5: a second view of a ring is another verdict.
        """
        self.begin()
        self.install(view(R1, 1, 2, 3, number=1), self.one)
        self.install(FIRST, self.one)
        self.assertFound("V1", "V1", "V5")

    def test_untold(self) -> None:
        """
        V2: who is in a view is told that its ring is over.
        """
        self.begin()
        self.along()
        self.ring()
        self.assertFound("V2", "V2")

    def test_toldTwice(self) -> None:
        """
        V2: once.
        """
        self.over()
        self.judge.ringEnded(self.one, ENDED)
        self.assertFound("V2")

    def test_tooEarly(self) -> None:
        """
        V2: no view comes before the new ring.
        """
        self.over()
        self.install(SECOND, self.one)
        self.assertFound("V2")

    def test_between(self) -> None:
        """
        V2: clients are told nothing between a new ring and its view.
        """
        self.over()
        self.ring()
        self.judge.messageShown(self.one)
        self.judge.groupViewed(self.one, GroupView(b"g", (), (), (), FIRST))
        self.assertFound("V2", "V2")

    def test_companions(self) -> None:
        """
        V3: who comes along is who came along.
        """
        self.begin()
        self.along()
        self.judge.ringEnded(self.one, evolve(ENDED, members=(1, 2, 3), left=()))
        self.assertFound("V3")

    def test_differences(self) -> None:
        """
        V3: left and joined are the difference to the last view, through every
        change of the ring.
        """
        self.over()
        self.ring(ringId=R2, members=(1, 2, 4))
        self.along(ringId=R3, members=(1, 4))
        self.ring(ringId=R3, members=(1, 2, 4))
        joined = changes(Cause.MERGED, 2, 4)
        right = view(R3, 1, 2, 4, left=changes(Cause.LOST, 2, 3), joined=joined)
        self.install(right, self.one)
        self.assertFound()
        self.install(evolve(right, left=LOST_3), self.two)
        self.assertFound("V3", "V3")

    def test_causes(self) -> None:
        """
        V3: who comes along together gives the same causes; who stopped was
        asked to.
        """
        self.over()
        self.ring()
        self.install(SECOND, self.one)
        self.install(evolve(SECOND, left=changes(Cause.KILLED, 3)), self.two)
        self.assertFound("V3")
        self.judge.stopping(self.three)
        self.setUp()
        self.over()
        self.ring()
        stopped = evolve(SECOND, left=changes(Cause.STOPPED, 3))
        self.install(stopped)
        self.assertFound("V3", "V3")

    def test_stopped(self) -> None:
        """
        Who was asked to stop has stopped.
        """
        self.over()
        self.judge.stopping(self.three)
        self.ring()
        self.install(evolve(SECOND, left=changes(Cause.STOPPED, 3)))
        self.assertFound()

    def test_different(self) -> None:
        """
        V4: members are told the same, at the same place.
        """
        self.over()
        self.ring()
        self.install(SECOND, self.one)
        self.install(SECOND, self.two, position=8)
        self.install(view(R2, 1, 2, number=1, quorate=False), self.one)
        another = view(R2, 1, 2, number=1, quorate=False, rule="another")
        self.install(another, self.two)
        self.assertFound("V4", "V4")

    def test_itsOwnWord(self) -> None:
        """
        V4: a node says of itself what its view says.
        """
        self.begin()
        self.judge.agrees(self.one, quorate=False)
        self.assertFound("V4")

    def test_ghosts(self) -> None:
        """
        V6: members of groups are on nodes of the view in force, which the view
        of the group names.
        """
        self.over()
        self.ring()
        self.install(SECOND)
        ghost = GroupView(b"g", (Member(3, 1),), (), (), SECOND)
        self.judge.groupViewed(self.one, ghost)
        self.judge.groupViewed(self.two, GroupView(b"g", (), (), (), FIRST))
        self.assertFound("V6", "V6")

    def test_forgets(self) -> None:
        """
        It remembers so many views.
        """
        for number in range(1, VIEWS_REMEMBERED + 9):
            ringId = RingId(4 * number, 1)
            self.ring(self.one, ringId=ringId, members=(1,))
            joined = changes(Cause.STARTED, 1)
            self.install(view(ringId, 1, joined=joined), self.one)
            self.judge.inStep(self.one, ringId)
            self.judge.ended(self.one)
        self.assertLessEqual(len(self.judge._told), VIEWS_REMEMBERED)
        self.assertLessEqual(len(self.judge._differences), VIEWS_REMEMBERED)
        self.assertFound()


class RunTests(SynchronousTestCase):
    """
    Whole nodes.
    """

    def story(self) -> Cluster:
        """
        Nodes meet, part, stop and come back.
        """
        cluster = Cluster(3, services=True)
        clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
        for client in clients:
            client.join(b"group")
        cluster.settle()
        cluster.partition({1, 2}, {3})
        cluster.settle()
        cluster.heal()
        cluster.settle()
        cluster.stop(3)
        cluster.settle()
        return cluster

    def test_causes(self) -> None:
        """
        Nodes that have begun, that were apart, that were lost, and that stopped
        are told apart, on every node that comes along.  (X3, D23)
        """
        cluster = self.story()
        for nodeid in (1, 2):
            history = cluster.services(nodeid).manager.views.history
            told = [
                (change.cause, change.reason)
                for record in history
                for change in (*record.view.left, *record.view.joined)
                if change.nodeid == 3
            ]
            self.assertEqual(
                told[-4:],
                [
                    (Cause.STARTED, ""),
                    (Cause.LOST, ""),
                    (Cause.MERGED, ""),
                    (Cause.STOPPED, "the node was asked to stop"),
                ],
            )

    def test_pieces(self) -> None:
        """
        V1, V2: a node that shows a view before all services are in step is
        seen.
        """

        def hasty(views: Views, configuration: Configuration) -> None:
            changed(views, configuration)
            if not configuration.transitional:
                views.roundCompleted(lambda view: None)

        changed = Views.configurationChanged
        with patch.object(Views, "configurationChanged", hasty):
            self.assertRaises(PromiseBroken, self.story)

    def test_forgetful(self) -> None:
        """
        V3: a node that forgets who came along in between is seen.
        """

        def forgetful(views: Views, configuration: Configuration) -> None:
            changed(views, configuration)
            if configuration.transitional and len(configuration.members) > 1:
                views._cameAlong = configuration.members[:1]

        changed = Views.configurationChanged
        with patch.object(Views, "configurationChanged", forgetful):
            broken = self.assertRaises(PromiseBroken, self.story)
        self.assertEqual(broken.violation.promise, "V3")
