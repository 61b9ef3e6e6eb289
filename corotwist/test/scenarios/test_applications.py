"""
Stories about what applications build on: answers of all members, one stream of
events, and messages whose end is known.
"""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from corotwist.engines.interfaces import (
    GroupView,
    Level,
    Member,
    Receipt,
    View,
)
from corotwist.errors import Disconnected, ServiceError
from corotwist.ipc.answers import Answers, Missing, Why
from corotwist.ipc.calls import Calls
from corotwist.ipc.client import NodeClient
from corotwist.ipc.events import Event, Gap, Message
from corotwist.simulator import Cluster, timingFor
from corotwist.test.scenarios.story import A, B, C
from corotwist.test.scenarios.whole import WholeStory

GROUP = b"group"
QUICK = timingFor(0.2)


def member(client: NodeClient) -> Member:
    """
    How others see it.
    """
    return Member(client.nodeid, client.pid)


class RequestStories(WholeStory):
    """
    Requests to all members, whatever becomes of them.
    """

    def joined(self, cluster: Cluster, client: NodeClient, answer: Any) -> Calls:
        """
        A client that answers.
        """
        return cluster.wait(Calls.join(client.groups, GROUP, answer))

    def test_memberDies(self) -> None:
        """
        A node crashes before its process has answered: whoever asked has all
        other answers, knows who is missing and why, and waits for nobody.
        (D35)
        """
        cluster = self.whole(timing=QUICK)
        clients = {n: cluster.connect(n) for n in (A, B, C)}
        self.joined(cluster, clients[C], lambda _: Deferred())
        self.joined(cluster, clients[B], lambda request: b"B: " + request.payload)
        asker = self.joined(cluster, clients[A], lambda _: b"A")
        dead = member(clients[C])
        asking = asker.request(b"ready?", timeout=60.0)
        cluster.run(0.05)
        cluster.kill(C)
        answers = cluster.wait(asking)
        self.assertEqual(
            answers.answers,
            {member(clients[A]): b"A", member(clients[B]): b"B: ready?"},
        )
        self.assertEqual(answers.missing, {dead: Missing(Why.LEFT, "NODEDOWN")})
        again = cluster.wait(asker.request(b"and now?", timeout=60.0))
        self.assertTrue(again.complete)
        self.assertEqual(len(again.answers), 2)

    def test_partition(self) -> None:
        """
        Requests go on while the nodes part and meet again: each ends, with an
        answer or a reason for every member of its view.  (D35)
        """
        cluster = self.whole(timing=QUICK)
        clients = {n: cluster.connect(n) for n in (A, B, C)}
        calls = {
            n: self.joined(cluster, client, partial(_echo, b"%d" % n))
            for n, client in clients.items()
        }
        asked: list[tuple[int, Deferred[Answers]]] = []
        for moment in range(60):
            if moment == 20:
                cluster.partition((A, B), (C,))
            if moment == 40:
                cluster.heal()
            for nodeid, one in calls.items():
                asked.append((nodeid, one.request(b"%d" % moment, timeout=20.0)))
            cluster.run(0.05)
        cluster.run(25.0)
        sizes = set()
        for nodeid, asking in asked:
            answers = self.successResultOf(asking)
            self.assertIn(member(clients[nodeid]), answers.answers)
            self.assertEqual({*answers.answers, *answers.missing}, {*answers.members})
            for who, answer in answers.answers.items():
                self.assertEqual(answer[:1], b"%d" % who.nodeid)
            whys = {missing.why for missing in answers.missing.values()}
            self.assertLessEqual(whys, {Why.LEFT})
            sizes.add(len(answers.answers))
        self.assertEqual(sizes, {1, 2, 3})
        cluster.settle()

    def test_askersNodeDies(self) -> None:
        """
        Who loses its node while it asks is told that the answers are lost, and
        asks again when the node is back.  (D35, A57)
        """
        cluster = self.whole(timing=QUICK)
        clients = {n: cluster.connect(n) for n in (A, B)}
        asker = self.joined(cluster, clients[A], lambda _: b"A")
        self.joined(cluster, clients[B], lambda _: Deferred())
        asking = asker.request(b"?", timeout=60.0)
        cluster.run(0.05)
        cluster.kill(A)
        cluster.run(1.0)
        self.failureResultOf(asking, Disconnected)
        cluster.boot(A)
        cluster.settle()
        cluster.runUntil(lambda: len(asker.group.members) == 2, 30)
        to = [member(clients[A])]
        answers = cluster.wait(asker.request(b"?", timeout=5.0, to=to))
        self.assertEqual(answers.answers, {to[0]: b"A"})


def _echo(label: bytes, request: Message) -> bytes:
    return label + request.payload


class StreamStories(WholeStory):
    """
    One order of everything.
    """

    def followed(self, cluster: Cluster, nodeid: int) -> list[Event]:
        """
        Everything that a client of a node with two groups is told.
        """
        events: list[Event] = []
        stream = cluster.connect(nodeid).stream(events.append)
        for name in (b"one", b"two"):
            cluster.wait(stream.join(name))
        return events

    def test_nodeLost(self) -> None:
        """
        While one node sends to two groups and crashes, the clients of the
        others see the same from their last join on, event by event: messages,
        who comes along, the rest of the ring, the view, views of groups.  (D21,
        D26, X3)
        """
        cluster = self.whole(timing=QUICK)
        logs = [self.followed(cluster, n) for n in (A, B)]
        sender = cluster.connect(C)
        groups = [cluster.wait(sender.groups.join(name)) for name in (b"one", b"two")]
        cluster.run(0.5)
        for n in range(200):
            groups[n % 2].send(b"%d" % n).addErrback(_lost)
            cluster.run(0.002)
            if n == 150:
                cluster.kill(C)
        cluster.settle()
        cluster.run(0.5)
        tails = [_behindLastJoin(log) for log in logs]
        self.assertEqual(*tails)
        words = [type(event).__name__ for event in tails[0]]
        self.assertGreater(words.count("Message"), 100)
        change = words.index("TransitionalView")
        self.assertEqual(words[-3:], ["View", "GroupView", "GroupView"])
        self.assertEqual({*words[change + 1 : -3]} - {"Message"}, set())
        places = [
            [event.sequence for event in tail if isinstance(event, Message)]
            for tail in tails
        ]
        self.assertEqual(*places)
        self.assertEqual(places[0], sorted({*places[0]}))

    def test_restart(self) -> None:
        """
        A client whose node is started anew has a gap, then the view of the new
        node, then its groups again.  (A57, D26)
        """
        cluster = self.whole(timing=QUICK)
        log = self.followed(cluster, A)
        cluster.kill(A)
        cluster.run(1.0)
        self.assertIsInstance(log[-1], Gap)
        del log[:]
        cluster.boot(A)
        cluster.settle()
        cluster.runUntil(
            lambda: sum(isinstance(event, GroupView) for event in log) >= 2, 30
        )
        first = log[0]
        assert isinstance(first, View)
        self.assertIn(A, first.members)
        last = [event for event in log if isinstance(event, View)][-1]
        self.assertEqual(last.members, (A, B, C))


def _behindLastJoin(log: list[Event]) -> list[Event]:
    joins = [
        number
        for number, event in enumerate(log)
        if isinstance(event, GroupView) and event.joined
    ]
    return log[joins[-1] + 1 :]


class CertaintyStories(WholeStory):
    """
    What a receipt is worth.
    """

    def test_safe(self) -> None:
        """
        Whatever a sender was told to be safe has been delivered, or is, at every
        node that goes on, whoever dies: even the sender's own node with
        everything that only it had.  (D33, X2)
        """
        cluster = self.whole(timing=QUICK)
        logs: dict[int, list[Message]] = {}
        for nodeid in (B, C):
            log = logs[nodeid] = []
            joining = cluster.connect(nodeid).groups.join(
                GROUP, heard=partial(_kept, log)
            )
            cluster.wait(joining)
        sender = cluster.wait(cluster.connect(A).groups.join(GROUP))
        sure: dict[bytes, Receipt] = {}
        for n in range(200):
            payload = b"%d" % n
            sent = sender.send(payload, level=Level.SAFE)
            sent.addCallbacks(partial(sure.__setitem__, payload), _lost)
            cluster.run(0.001)
        cluster.kill(A)
        cluster.settle()
        cluster.run(0.5)
        self.assertGreater(len(sure), 20)
        for log in logs.values():
            places = {message.payload: message.sequence for message in log}
            for payload, receipt in sure.items():
                self.assertEqual(places[payload], receipt.sequence)
                self.assertEqual(receipt.members, (A, B, C))


def _kept(log: list[Message], event: Event) -> None:
    if isinstance(event, Message):
        log.append(event)


def _lost(failure: Any) -> None:
    failure.trap(ServiceError)
