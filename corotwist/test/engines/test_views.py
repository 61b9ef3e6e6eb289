"""
Views: one for each ring whose services came into step, with causes and a
verdict.
"""

from collections.abc import Iterable
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.engines.executive import Reconfigure, Reconfigured
from corotwist.engines.interfaces import (
    NO_VIEW,
    Cause,
    IViews,
    IViewSubscriber,
    NodeChange,
    TransitionalView,
    View,
    ViewId,
)
from corotwist.engines.standing import Side, Standing
from corotwist.engines.views import LONGEST_REASON, RINGS_KEPT, VIEWS_KEPT, Views
from corotwist.test.engines.orderednet import Listener, Node, formed, send
from corotwist.totem.membership import Configuration, RingId

GROUP = b"group"
NOWHERE = Side.of(NO_VIEW.viewId, (), direct=True)
BEGINNING = Standing(RingId(8, 1), NOWHERE, fresh=True)


@implementer(IViewSubscriber)
@define(eq=False)
class Watcher:
    """
    Writes down what it hears.

    @ivar places: where in the order of C{of} views were installed.
    """

    events: list[Any] = field(factory=list)
    failing: bool = False
    of: Views | None = None
    places: list[int] = field(factory=list)

    def ringEnded(self, transition: TransitionalView) -> None:
        self.events.append(transition)
        if self.failing:
            raise RuntimeError("his own trouble")

    def viewInstalled(self, view: View) -> None:
        self.events.append(view)
        if self.of is not None:
            self.places.append(self.of.position)
        if self.failing:
            raise RuntimeError("his own trouble")

    @property
    def views(self) -> list[View]:
        return [event for event in self.events if isinstance(event, View)]


def ring(sequence: int, *members: int, cause: str = "") -> Configuration:
    return Configuration(RingId(sequence, members[0]), members, False, cause=cause)


def along(sequence: int, *members: int, cause: str = "") -> Configuration:
    return Configuration(RingId(sequence, members[0]), members, True, cause=cause)


def causes(changes: Iterable[NodeChange]) -> dict[int, Cause]:
    return {change.nodeid: change.cause for change in changes}


class ViewsTests(SynchronousTestCase):
    """
    Alone: what is said of configurations.
    """

    def setUp(self) -> None:
        self.quorate = True
        self.views = Views(lambda: 7, lambda: (self.quorate, {"rule": "all", "n": 3}))
        self.watcher = Watcher()
        self.views.follow(self.watcher)

    def begin(self, *members: int, sequence: int = 4) -> None:
        """
        The first view.
        """
        self.views.configurationChanged(ring(sequence, *members))
        self.completed()
        self.watcher.events.clear()

    def completed(self) -> View:
        """
        The services are in step.
        """
        self.views.roundCompleted(lambda view: None)
        return self.views.current

    def test_interfaces(self) -> None:
        """
        They provide what they say.
        """
        verifyObject(IViews, self.views)
        verifyObject(IViewSubscriber, self.watcher)

    def test_first(self) -> None:
        """
        Before the first ring there is no view; then everybody on it has
        joined, we as well.
        """
        self.assertEqual(self.views.current, NO_VIEW)
        self.views.configurationChanged(along(4, 1))
        self.views.configurationChanged(ring(4, 1, 2))
        self.views.announced(1, BEGINNING)
        self.assertEqual(self.watcher.events, [])
        view = self.completed()
        joined = (NodeChange(1, Cause.STARTED), NodeChange(2, Cause.MERGED))
        right = View(ViewId(RingId(4, 1), 0), (1, 2), (), joined, True, "all")
        self.assertEqual(view, right)
        self.assertEqual(self.watcher.events, [right])

    def test_order(self) -> None:
        """
        The ring ends with who comes along; then comes one view of the next.
        (D27)
        """
        self.begin(1, 2, 3)
        self.views.configurationChanged(along(8, 1, 2))
        ended = TransitionalView(
            ViewId(RingId(4, 1), 0), (1, 2), (NodeChange(3, Cause.LOST),)
        )
        self.assertEqual(self.watcher.events, [ended])
        self.views.configurationChanged(ring(8, 1, 2, 4))
        self.assertEqual(len(self.watcher.events), 1)
        view = self.completed()
        self.assertEqual(self.watcher.events, [ended, view])
        self.assertEqual(view.left, (NodeChange(3, Cause.LOST),))
        self.assertEqual(view.joined, (NodeChange(4, Cause.MERGED),))

    def test_aborted(self) -> None:
        """
        Of rings whose services never came into step nobody hears; the view is
        the difference to the last one.  (D24)
        """
        self.begin(1, 2, 3)
        self.views.configurationChanged(along(8, 1, 2))
        self.views.configurationChanged(ring(8, 1, 2, 4))
        self.views.configurationChanged(along(12, 1, 4))
        self.views.configurationChanged(ring(12, 1, 2, 4))
        view = self.completed()
        self.assertEqual(len(self.watcher.events), 2)
        self.assertEqual(causes(view.left), {2: Cause.LOST, 3: Cause.LOST})
        self.assertEqual(causes(view.joined), {2: Cause.MERGED, 4: Cause.MERGED})

    def test_restarted(self) -> None:
        """
        Who is back as another process has left and joined.  (D24)
        """
        self.begin(1, 2)
        self.views.configurationChanged(along(8, 1))
        self.views.configurationChanged(ring(8, 1, 2))
        self.views.announced(2, BEGINNING)
        view = self.completed()
        self.assertEqual(view.members, (1, 2))
        self.assertEqual(causes(view.left), {2: Cause.LOST})
        self.assertEqual(causes(view.joined), {2: Cause.STARTED})

    def test_announcedElsewhere(self) -> None:
        """
        What was announced on an aborted ring does not count on the next.
        """
        self.begin(1)
        self.views.configurationChanged(along(8, 1))
        self.views.configurationChanged(ring(8, 1, 2))
        self.views.announced(2, BEGINNING)
        self.views.configurationChanged(along(12, 1))
        self.views.configurationChanged(ring(12, 1, 2))
        self.assertEqual(causes(self.completed().joined), {2: Cause.MERGED})

    def test_fresh(self) -> None:
        """
        A process has only begun until it is in a view with another node.
        """
        self.assertTrue(self.views.standing().fresh)
        self.begin(1)
        self.assertTrue(self.views.standing().fresh)
        self.views.configurationChanged(along(8, 1))
        self.views.configurationChanged(ring(8, 1, 2))
        self.completed()
        self.assertFalse(self.views.standing().fresh)

    def test_farewell(self) -> None:
        """
        Who says that he goes has stopped; who is killed was killed, whatever
        he still says.  (D23)
        """
        self.begin(1, 2, 3, 4)
        self.views.departing(2, Cause.STOPPED, "asked to stop")
        self.views.killed(3, "by node 1: no reason")
        self.views.departing(3, Cause.STOPPED, "killed")
        self.views.configurationChanged(along(8, 1))
        left = (
            NodeChange(2, Cause.STOPPED, "asked to stop"),
            NodeChange(3, Cause.KILLED, "by node 1: no reason"),
            NodeChange(4, Cause.LOST),
        )
        self.assertEqual(self.watcher.events[-1].left, left)
        self.views.configurationChanged(ring(8, 1))
        self.assertEqual(self.completed().left, left)

    def test_lateFarewell(self) -> None:
        """
        A farewell counts that comes with what is left of the ring, too; a
        second one only adds the reason that the first did not give.
        """
        self.begin(1, 2)
        self.views.configurationChanged(along(8, 1))
        self.views.departing(2, Cause.STOPPED, "")
        self.views.departing(2, Cause.STOPPED, "x" * 2 * LONGEST_REASON)
        self.views.departing(2, Cause.STOPPED, "y")
        self.views.configurationChanged(ring(8, 1))
        left = self.completed().left
        self.assertEqual(left, (NodeChange(2, Cause.STOPPED, "x" * LONGEST_REASON),))

    def test_stayed(self) -> None:
        """
        Who said farewell and is in the next view has to say it again.
        """
        self.begin(1, 2, 3)
        self.views.departing(2, Cause.STOPPED, "")
        self.views.configurationChanged(along(8, 1, 2))
        self.views.configurationChanged(ring(8, 1, 2))
        self.completed()
        self.views.configurationChanged(along(12, 1))
        self.views.configurationChanged(ring(12, 1))
        self.assertEqual(causes(self.completed().left), {2: Cause.LOST})

    def test_verdict(self) -> None:
        """
        Another verdict in a ring is another view, with a higher number; the
        same verdict is none.  (C21)
        """
        self.begin(1, 2)
        self.views.verdictChanged()
        self.assertEqual(self.watcher.events, [])
        self.quorate = False
        self.views.verdictChanged()
        view = View(ViewId(RingId(4, 1), 1), (1, 2), (), (), False, "all")
        self.assertEqual(self.watcher.events, [view])
        self.assertLess(ViewId(RingId(4, 1), 0), view.viewId)
        self.assertLess(view.viewId, ViewId(RingId(8, 1), 0))

    def test_verdictInBetween(self) -> None:
        """
        From one ring to the next a verdict waits for the view; one by what the
        last ring left belongs to that.
        """
        self.begin(1, 2)
        self.views.configurationChanged(along(8, 1))
        self.watcher.events.clear()
        self.quorate = False
        self.views.verdictChanged()
        view = View(ViewId(RingId(4, 1), 1), (1, 2), (), (), False, "all")
        self.assertEqual(self.watcher.events, [view])
        self.views.configurationChanged(ring(8, 1))
        self.quorate = True
        self.views.verdictChanged()
        self.views.configurationChanged(along(12, 1))
        self.views.verdictChanged()
        self.views.configurationChanged(ring(12, 1))
        self.assertEqual(self.watcher.events, [view])
        self.assertTrue(self.completed().quorate)

    def test_ahead(self) -> None:
        """
        Who has to know first is told first, while the last view is in force.
        """
        self.begin(1)
        seen: list[Any] = []
        before = self.views.current
        self.views.configurationChanged(along(8, 1))
        self.views.configurationChanged(ring(8, 1, 2))
        self.views.roundCompleted(
            lambda view: seen.append((view.members, self.views.current))
        )
        self.assertEqual(seen, [((1, 2), before)])

    def test_followers(self) -> None:
        """
        Who comes later is told of the view in force at once, and of nothing
        while there is none; who stops hears no more; one who fails does not
        touch the others.
        """
        failing = Watcher(failing=True)
        self.views.follow(failing)
        self.begin(1)
        late = Watcher()
        following = self.views.follow(late)
        self.assertEqual(late.events, [self.views.current])
        self.views.configurationChanged(along(8, 1))
        between = Watcher()
        self.views.follow(between)
        following.stop()
        self.views.configurationChanged(ring(8, 1, 2))
        view = self.completed()
        self.assertEqual(between.events, [view])
        self.assertEqual(len(late.events), 2)
        self.assertEqual(len(failing.events), 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)
        self.views.stop()
        self.views.verdictChanged()
        self.assertEqual(between.events, [view])

    def test_stoppedByAnother(self) -> None:
        """
        Who is stopped by what another does when he hears is not told.
        """
        late = Watcher()

        class Impatient(Watcher):
            def viewInstalled(self, view: View) -> None:
                following.stop()

        self.views.follow(Impatient())
        following = self.views.follow(late)
        self.begin(1)
        self.assertEqual(late.events, [])

    def test_history(self) -> None:
        """
        What is kept: when, from which view, why the ring ended, the rings that
        came to nothing, and the inputs of the verdict.
        """
        self.begin(1, 2, 3)
        before = self.views.current
        lost = along(8, 1, 2, cause="node 3 is silent")
        self.views.configurationChanged(lost)
        self.views.configurationChanged(ring(8, 1, 2))
        self.views.configurationChanged(along(12, 1, 2, cause="the token was lost"))
        self.views.configurationChanged(ring(12, 1, 2))
        view = self.completed()
        record = self.views.history[-1]
        self.assertEqual((record.time, record.before, record.view), (7, before, view))
        self.assertEqual(record.cause, "node 3 is silent")
        self.assertEqual(record.between, ((RingId(8, 1), "the token was lost"),))
        self.assertEqual(record.explanation, {"rule": "all", "n": 3})

    def test_bounds(self) -> None:
        """
        Neither views nor rings in between are kept without end.
        """
        self.begin(1)
        for number in range(2, VIEWS_KEPT + 2 * RINGS_KEPT):
            self.views.configurationChanged(along(4 * number, 1))
            self.views.configurationChanged(ring(4 * number, 1))
            if number < VIEWS_KEPT + RINGS_KEPT:
                self.completed()
        self.completed()
        self.assertEqual(len(self.views.history), VIEWS_KEPT)
        self.assertLessEqual(len(self.views.history[-1].between), RINGS_KEPT)
        self.assertEqual(self.views.history[-1].view, self.views.current)


class NetTests(SynchronousTestCase):
    """
    In the service manager, with the engines.
    """

    def watch(self, node: Node) -> Watcher:
        """
        Follow the views of a node.
        """
        watcher = Watcher(of=node.manager.views)
        node.manager.views.follow(watcher)
        return watcher

    def test_agreement(self) -> None:
        """
        All members have the same view, with the verdict of the votes: those of
        a partition that may not act, too.  (X3, C21)
        """
        net = formed(1, 2, 3)
        watchers = {n: self.watch(node) for n, node in net.nodes.items()}
        net.form(1)
        net.form(2, 3)
        net.run()
        (lone,) = watchers[1].views[1:]
        (two,), (three,) = watchers[2].views[1:], watchers[3].views[1:]
        self.assertEqual(two, three)
        self.assertTrue(two.quorate)
        self.assertFalse(lone.quorate)
        self.assertEqual(causes(two.left), {1: Cause.LOST})
        self.assertEqual(lone.rule, net.nodes[1].engine("quorum").explanation()["rule"])
        net.form(1, 2, 3)
        net.run()
        views = [watchers[n].views[-1] for n in (1, 2, 3)]
        self.assertEqual(len({view.viewId for view in views}), 1)
        self.assertEqual({view.members for view in views}, {(1, 2, 3)})
        self.assertEqual(causes(views[0].joined), {2: Cause.MERGED, 3: Cause.MERGED})
        self.assertEqual(causes(views[1].joined), {1: Cause.MERGED})

    def test_stream(self) -> None:
        """
        The transition comes before what is left of the ring, then the view
        with its verdict, then the views of groups, then the ring, then
        messages.  (D26, X3)
        """
        net = formed(1, 2, 3)
        client, other = Listener(101), Listener(102)
        net.nodes[1].cpg.join(client, GROUP)
        net.nodes[2].cpg.join(other, GROUP)
        net.run()
        watcher = Watcher(events=client.events)
        net.nodes[1].manager.views.follow(watcher)
        client.events.clear()
        send(net.nodes[1], client, GROUP, b"old")
        net.visit(1)
        net.kill(2)
        net.form(1, 3)
        send(net.nodes[1], client, GROUP, b"new")
        net.run()
        events = client.events
        client.events = [event for event in events if isinstance(event, tuple)]
        self.assertEqual(
            [e[0] if isinstance(e, tuple) else type(e).__name__ for e in events],
            ["TransitionalView", "message", "View", "view", "ring", "message"],
        )
        self.assertEqual(client.views()[-1].view, net.nodes[1].manager.views.current)

    def test_flip(self) -> None:
        """
        Another verdict at an ordered message is another view, on all members
        at that message.  (C21)
        """
        net = formed(1, 2, 3)
        net.form(1, 2)
        net.run()
        watchers = {n: self.watch(net.nodes[n]) for n in (1, 2)}
        for watcher in watchers.values():
            watcher.events.clear()
            watcher.places.clear()
        node = net.nodes[1]
        message = Reconfigure(1, 5, Reconfigured.EXPECTED_VOTES)
        node.engine("votequorum").cluster.multicast(message.FUNCTION, message.encode())
        net.run()
        one, two = watchers[1].views, watchers[2].views
        self.assertEqual(one, two)
        self.assertEqual([view.quorate for view in one], [False])
        self.assertEqual(one[0].viewId.number, 1)
        self.assertEqual(watchers[1].places, watchers[2].places)
        self.assertGreater(watchers[1].places, [0])

    def forked(self, *together: int) -> dict[int, Listener]:
        """
        Node 3 is alone with a message that it sent to a quorate group, and comes
        back before it was in another view; the others are in one, if they
        are named.
        """
        net = formed(1, 2, 3)
        clients = {n: Listener(100 + n) for n in (1, 2, 3)}
        for nodeid, client in clients.items():
            net.nodes[nodeid].cpg.join(client, GROUP, quorate=True)
        net.run()
        send(net.nodes[3], clients[3], GROUP, b"left over").addErrback(lambda _: None)
        net.visit(3)
        net.form(3)
        if together:
            net.form(*together)
            for _ in range(9):
                for nodeid in together:
                    net.visit(nodeid)
                for nodeid in together:
                    net.receive(nodeid, 99)
        net.form(1, 2, 3, together=[(1, 2), (3,)])
        net.run()
        self.views = {n: node.manager.views.current for n, node in net.nodes.items()}
        return clients

    def test_left(self) -> None:
        """
        What is left of a quorate ring counts for who goes on: not for one who
        comes back to others that went on without it, or that are more.  (X4)
        """
        for others in ((1, 2), ()):
            clients = self.forked(*others)
            for client in clients.values():
                self.assertEqual(client.messages(), [], others)
            on = [n for n, view in self.views.items() if view.goesOn]
            self.assertEqual(on, [1, 2], others)
