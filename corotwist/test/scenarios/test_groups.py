"""
Stories about process groups on whole nodes.  [pitfalls I]
"""

from twisted.internet.defer import Deferred

from corotwist.engines.interfaces import GroupView, Member, Reason
from corotwist.errors import Busy, Exists, NotJoined
from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.simulator.clients import Client
from corotwist.test.scenarios.story import A, B, C, D, Story

GROUP = b"group"


def reasons(view: GroupView) -> tuple[list[Member], list[Member], set[Reason]]:
    """
    Who left, who joined, and why.
    """
    changes = (*view.left, *view.joined)
    return (
        [change.member for change in view.left],
        [change.member for change in view.joined],
        {change.reason for change in changes},
    )


class GroupStories(Story):
    """
    A client in one group on each of three nodes.
    """

    def meet(self, size: int = 3, **options: object) -> tuple[Cluster, list[Client]]:
        cluster = self.formed(size, services=True, **options)
        clients = []
        for nodeid in cluster.nodes:
            clients.append(cluster.client(nodeid))
            clients[-1].join(GROUP)
            cluster.run(0.05)
        self.assertEqual(len(clients[0].views[GROUP].members), size)
        return cluster, clients

    def accepted(self, cluster: Cluster, sent: Deferred[None]) -> None:
        cluster.run(0.1)
        self.successResultOf(sent)

    def test_oneOrder(self) -> None:
        """
        Messages of all come to all in one order, also on a lossy network.
        """
        cluster, clients = self.meet()
        cluster.faults = Faults(loss=0.05)
        for number in range(40):
            clients[number % 3].send(GROUP, b"%d" % number, b"%d+" % number)
            cluster.run(0.01)
        cluster.run(3)
        first, *others = [client.log for client in clients]
        self.assertEqual(len(first), 80)
        self.assertEqual(others, [first, first])
        cluster.calm()
        cluster.settle()

    def test_pausedNode(self) -> None:
        """
        I1: a node that was away for long tells its client that the others
        left and joined; the others are told the same of it.
        """
        cluster, clients = self.meet()
        cluster.pause(A, 3)
        cluster.run(3)
        cluster.settle(within=4)
        one, two, three = [client.member for client in clients]
        lost, gained = clients[0].history[-2:]
        self.assertEqual(reasons(lost), ([two, three], [], {Reason.NODEDOWN}))
        self.assertEqual(reasons(gained), ([], [two, three], {Reason.NODEUP}))
        lost, gained = clients[1].history[-2:]
        self.assertEqual(reasons(lost), ([one], [], {Reason.NODEDOWN}))
        self.assertEqual(reasons(gained), ([], [one], {Reason.NODEUP}))

    def test_manyAtOnce(self) -> None:
        """
        I3: nodes that start all at once know each other's clients, and none
        loses its own.
        """
        cluster = Cluster(8, services=True)
        clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
        for client in clients:
            client.join(GROUP)
        cluster.settle()
        views = {client.views[GROUP].members for client in clients}
        self.assertEqual(views, {tuple(client.member for client in clients)})

    def test_leftWhileAway(self) -> None:
        """
        I4: who left while a node was away is not there when it is back.
        """
        cluster, clients = self.meet()
        cluster.pause(A, 4)
        cluster.run(3)
        clients[1].leave(GROUP)
        cluster.run(3)
        cluster.settle()
        self.assertEqual(
            clients[0].views[GROUP].members, (clients[0].member, clients[2].member)
        )

    def test_oneViewForAll(self) -> None:
        """
        I5: a change of the ring is one view, however many are lost.
        """
        cluster, clients = self.meet(4)
        cluster.partition({A, B, C}, {D})
        cluster.settle()
        lone = clients[3].history[-1]
        gone = [client.member for client in clients[:3]]
        self.assertEqual(reasons(lone), (gone, [], {Reason.NODEDOWN}))
        cluster.heal()
        cluster.settle()
        self.assertEqual(reasons(clients[3].history[-1]), ([], gone, {Reason.NODEUP}))

    def test_leaveThenClose(self) -> None:
        """
        I6, I7: leaving and dying at once is one departure, with the reason
        LEAVE; dying alone has another.
        """
        cluster, clients = self.meet()
        clients[1].leave(GROUP)
        clients[1].close()
        cluster.settle()
        clients[2].close()
        cluster.settle()
        left = [view.left for view in clients[0].history if view.left]
        self.assertEqual(
            [[(c.member, c.reason) for c in changes] for changes in left],
            [
                [(clients[1].member, Reason.LEAVE)],
                [(clients[2].member, Reason.PROCDOWN)],
            ],
        )

    def test_joinWhileTheRingChanges(self) -> None:
        """
        I8, I9: who joins, leaves or dies while the ring changes or the
        services synchronize is in, or out, everywhere when that is over.
        """
        for moment in range(0, 60, 4):
            cluster, clients = self.meet(timing=timingFor(0.2))
            cluster.kill(C)
            cluster.run(0.43 + moment * 0.0005)
            late = cluster.client(A)
            late.join(GROUP)
            clients[1].leave(GROUP)
            gone = cluster.client(B)
            gone.join(GROUP)
            cluster.run(0.0005)
            gone.close()
            cluster.settle()
            self.assertEqual(
                late.views[GROUP].members, (clients[0].member, late.member)
            )
            self.assertEqual(late.history[0].joined[0].reason, Reason.JOIN)

    def test_states(self) -> None:
        """
        I10, I11: what can be asked depends on what is on its way; after the
        own leave one can join again.
        """
        cluster = self.formed(services=True)
        client = cluster.client(A)
        self.failureResultOf(client.send(GROUP, b""), NotJoined)
        self.assertRaises(NotJoined, client.leave, GROUP)
        client.join(GROUP)
        self.assertRaises(Exists, client.join, GROUP)
        self.assertRaises(Busy, client.leave, GROUP)
        cluster.run(0.1)
        client.leave(GROUP)
        self.assertRaises(NotJoined, client.leave, GROUP)
        self.assertRaises(Busy, client.join, GROUP)
        cluster.run(0.1)
        client.join(GROUP)
        cluster.run(0.1)
        self.accepted(cluster, client.send(GROUP, b"again"))
        self.assertEqual(client.log, [(GROUP, client.member, b"again")])

    def test_largeMessages(self) -> None:
        """
        I13: messages of several megabytes of two clients of each node arrive
        whole, each in its sender's order.
        """
        cluster = self.formed(
            2, services=True, timing=timingFor(windowSize=400, maxMessages=200)
        )
        clients = [cluster.client(nodeid) for nodeid in (A, A, B, B)]
        for client in clients:
            client.join(GROUP)
        cluster.run(0.1)
        for client in clients:
            client.send(GROUP, b"%d" % client.pid * 2_500_000)
            client.send(GROUP, b"small")
        cluster.settle()
        for client in clients:
            sizes = [(m.pid, len(payload)) for _, m, payload in client.log]
            self.assertEqual(
                sorted(sizes),
                sorted((c.pid, size) for c in clients for size in (2_500_000, 5)),
            )

    def test_manyGroups(self) -> None:
        """
        I14: groups of every name lose a node at once, and each member hears
        of it.
        """
        cluster = self.formed(2, services=True)
        names = [b"%d" % n for n in range(60)] + [b"\0", b"", b"x" * 128, b"a\0b"]
        here, there = cluster.client(A), cluster.client(B)
        for name in names:
            here.join(name)
            there.join(name)
        cluster.settle()
        cluster.kill(B)
        cluster.settle()
        lost = [v.group for v in here.history if v.left]
        self.assertEqual(sorted(lost), sorted(names))

    def test_flood(self) -> None:
        """
        I15: many who send as fast as they can get everything they were
        promised, and so do all others.
        """
        cluster = self.formed(2, services=True)
        clients = [cluster.client(1 + n % 2) for n in range(12)]
        for client in clients:
            client.join(GROUP)
        cluster.run(0.1)
        for round_ in range(25):
            for client in clients:
                client.send(GROUP, b"%d" % round_ * 300)
        cluster.settle()
        first = clients[0].log
        self.assertEqual(len(first), 300)
        self.assertTrue(all(client.log == first for client in clients))

    def test_nodeStops(self) -> None:
        """
        The clients of a node that stops in order leave before it does.
        """
        cluster, clients = self.meet()
        cluster.stop(B)
        cluster.run(0.5)
        self.assertTrue(cluster.nodes[B].down)
        cluster.settle()
        left = [change for view in clients[0].history for change in view.left]
        self.assertEqual(
            [(c.member, c.reason) for c in left],
            [(clients[1].member, Reason.PROCDOWN)],
        )

    def test_nodeRestarts(self) -> None:
        """
        A process with the same number on a node that restarted is another
        process.
        """
        cluster, clients = self.meet()
        member = clients[1].member
        cluster.kill(B)
        cluster.boot(B)
        again = cluster.client(B, member.pid)
        again.join(GROUP)
        cluster.settle()
        last = clients[0].history
        self.assertIn(member, [c.member for view in last for c in view.left])
        self.assertEqual(len(again.views[GROUP].members), 3)
