"""
Quorum for clients, in corosync's terms.
"""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import QuorumSettings
from corotwist.engines.interfaces import (
    Cause,
    NodeChange,
    TransitionalView,
    View,
    ViewId,
)
from corotwist.errors import Disconnected, Exists, NotExist
from corotwist.ipc.quorum import Quorum, QuorumFollower
from corotwist.ipc.status import NodeInquiry
from corotwist.ipc.views import NodeViews
from corotwist.test.engines.orderednet import SHIPPED, OrderedNet
from corotwist.test.ipc.cluster import ClusterCase
from corotwist.totem.membership import RingId

FIRST, NEXT = RingId(4, 1), RingId(8, 1)


def _nobody(command: Any, **arguments: Any) -> Deferred[dict[str, Any]]:
    return fail(Disconnected("nobody is asked here"))


def view(ring: RingId, *members: int, number: int = 0, **more: Any) -> View:
    """
    A quorate one, unless told otherwise.
    """
    wishes = {"left": (), "joined": (), "quorate": True, "rule": "", **more}
    return View(ViewId(ring, number), members, **wishes)


class Views(NodeViews):
    """
    A node whose present view is known to the test.
    """

    def __init__(self) -> None:
        super().__init__(lambda command, **arguments: succeed({}))
        self.answer: Deferred[View] = succeed(view(FIRST, 1, 2))

    def now(self) -> Deferred[View]:
        return self.answer


@define(eq=False)
class Heard:
    """
    What a follower was told.
    """

    told: list[tuple[Any, ...]] = field(factory=list)

    def follower(self) -> QuorumFollower:
        """
        For a client.
        """
        return QuorumFollower(
            lambda *news: self.told.append(("nodes", *news)),
            lambda *news: self.told.append(("quorum", *news)),
        )


class TrackingTests(SynchronousTestCase):
    """
    L{Quorum.track}.
    """

    def setUp(self) -> None:
        self.views = Views()
        self.quorum = Quorum(self.views, NodeInquiry(_nobody))
        self.heard = Heard()

    def track(self, **wishes: bool) -> None:
        self.successResultOf(self.quorum.track(self.heard.follower(), **wishes))

    def test_quorate(self) -> None:
        """
        Whether we may act is asked.
        """
        self.assertIs(self.successResultOf(self.quorum.quorate()), True)

    def test_order(self) -> None:
        """
        How it is now is told first; then each ring: nodes with who joined and
        who left, and after them the verdict, with the same ring. (C19, C21)
        """
        self.views.heard(view(FIRST, 1, 2))
        self.track()
        left = (NodeChange(2, Cause.LOST),)
        joined = (NodeChange(3, Cause.MERGED), NodeChange(4, Cause.STARTED))
        self.views.heard(TransitionalView(ViewId(FIRST, 0), (1,), left))
        self.views.heard(view(NEXT, 1, 3, 4, left=left, joined=joined, quorate=False))
        self.assertEqual(
            self.heard.told,
            [
                ("nodes", FIRST, (1, 2), (), ()),
                ("quorum", True, FIRST, (1, 2)),
                ("nodes", NEXT, (1, 3, 4), (3, 4), (2,)),
                ("quorum", False, NEXT, (1, 3, 4)),
            ],
        )

    def test_otherVerdict(self) -> None:
        """
        Another verdict on the same ring says nothing of its nodes. (C19)
        """
        self.track()
        self.views.heard(view(FIRST, 1, 2, number=1, quorate=False))
        self.assertEqual(self.heard.told[2:], [("quorum", False, FIRST, (1, 2))])

    def test_changesOnly(self) -> None:
        """
        Who knows how it is need not be told. (C19)
        """
        self.views.heard(view(FIRST, 1, 2))
        self.track(current=False)
        self.assertEqual(self.heard.told, [])
        self.views.heard(view(NEXT, 1))
        self.assertEqual([one[0] for one in self.heard.told], ["nodes", "quorum"])

    def test_currentOnly(self) -> None:
        """
        Or is told once. (C19)
        """
        self.track(changes=False)
        self.assertEqual(len(self.heard.told), 2)
        self.views.heard(view(NEXT, 1))
        self.assertEqual(len(self.heard.told), 2)
        self.track()

    def test_again(self) -> None:
        """
        Once at a time: a second one is error 14, to end what there is not is
        error 12. [pitfall J14] (C19)
        """
        self.track()
        self.failureResultOf(self.quorum.track(self.heard.follower()), Exists)
        self.quorum.untrack()
        self.views.heard(view(NEXT, 1))
        self.assertEqual(len(self.heard.told), 2)
        self.assertRaises(NotExist, self.quorum.untrack)
        self.track()

    def test_gone(self) -> None:
        """
        Without a node nobody is told, and it may be tried again.
        """
        self.views.answer = fail(Disconnected("not connected"))
        self.failureResultOf(self.quorum.track(self.heard.follower()), Disconnected)
        self.views.answer = succeed(view(FIRST, 1))
        self.track()

    def test_stoppedEarly(self) -> None:
        """
        Who does not want to know any more before the node answers is not told.
        """
        waiting: Deferred[View] = Deferred()
        self.views.answer = waiting
        tracking = self.quorum.track(self.heard.follower())
        self.quorum.untrack()
        waiting.callback(view(FIRST, 1))
        self.successResultOf(tracking)
        self.views.heard(view(NEXT, 1))
        self.assertEqual(self.heard.told, [])

    def test_clumsy(self) -> None:
        """
        A follower that fails is on the record; the others are told.
        """

        def fails(*news: Any) -> None:
            raise RuntimeError("no")

        follower = QuorumFollower(fails, self.heard.follower().quorumChanged)
        self.successResultOf(self.quorum.track(follower))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(self.heard.told), 1)


class LeaseTests(ClusterCase):
    """
    L{Quorum.validUntil}.
    """

    def boot(self, **quorum: Any) -> None:
        self.net = OrderedNet(SHIPPED, 3)
        self.net.boot(1, 2, 3, quorum=QuorumSettings(**quorum))
        self.net.form(1, 2, 3)
        self.net.run()

    def test_lease(self) -> None:
        """
        A client is told until when its partition may act, and no other one, if
        nothing is heard any more; 0 when that is not certain.  (C22)
        """
        self.boot(provider="corosync_votequorum", expectedVotes=3)
        client = self.client(1)
        totem = self.net.nodes[1].totem
        self.assertEqual(self.result(client.quorum.validUntil()), 0)
        totem.lease = 2.5
        self.assertEqual(self.result(client.quorum.validUntil()), 2_500_000_000)
        self.net.form(1)
        self.net.run()
        self.assertEqual(self.result(client.quorum.validUntil()), 0)

    def test_noProvider(self) -> None:
        """
        Where nobody decides about quorum the verdict does not end.  (C22)
        """
        self.boot()
        self.assertIsNone(self.result(self.client(1).quorum.validUntil()))
