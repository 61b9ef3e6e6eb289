"""
Stories about process groups on whole nodes.  [pitfalls I]
"""

from collections.abc import Callable
from contextlib import suppress as suppressed
from functools import partial
from itertools import permutations
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from corotwist.budget import Budget
from corotwist.engines.batch import pack
from corotwist.engines.compact import GROUP as OURS
from corotwist.engines.compact import CompactMcast, Piece, engineHeader
from corotwist.engines.executive import (
    CPG,
    SERVICES_GROUP,
    Mcast,
    Part,
    PartialMcast,
    address,
)
from corotwist.engines.executive import whole as executive
from corotwist.engines.interfaces import GroupView, Member, Reason, Receipt
from corotwist.errors import Busy, Exists, Interrupted, NotJoined, TryAgain
from corotwist.ipc import cpg as locators
from corotwist.ipc.cpg import GroupsLocator
from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.simulator.clients import Client
from corotwist.test.engines.orderednet import Listener, formed
from corotwist.test.scenarios.story import A, B, C, D, Story
from corotwist.test.scenarios.whole import Diary

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


def last(members: list[Member]) -> tuple[int, ...] | None:
    """
    Where the next part of a list begins.
    """
    return (members[-1].nodeid, members[-1].pid) if members else None


class Curious(Listener):
    """
    A connection of somebody who only asks.
    """

    inbound = Budget("client", 0)

    def atEnd(self, callback: Callable[[], object]) -> None:
        """
        It never ends.
        """


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

    def accepted(self, cluster: Cluster, sent: Deferred[Receipt]) -> None:
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
        A node that was away for long tells its client that the others left and
        joined; the others are told the same of it.  [pitfall I1]
        """
        cluster, clients = self.meet()
        cluster.pause(A, 3)
        cluster.run(3)
        cluster.settle(within=4)
        one, two, three = [client.member for client in clients]
        self.assertEqual(
            reasons(clients[0].history[-1]),
            ([two, three], [two, three], {Reason.NODEDOWN, Reason.NODEUP}),
        )
        lost, gained = clients[1].history[-2:]
        self.assertEqual(reasons(lost), ([one], [], {Reason.NODEDOWN}))
        self.assertEqual(reasons(gained), ([], [one], {Reason.NODEUP}))

    def test_manyAtOnce(self) -> None:
        """
        Nodes that start all at once know each other's clients, and none loses
        its own.  [pitfall I3]
        """
        cluster = Cluster(10, services=True)
        clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
        for client in clients:
            client.join(GROUP)
        cluster.settle()
        views = {client.views[GROUP].members for client in clients}
        self.assertEqual(views, {tuple(client.member for client in clients)})

    def test_leftWhileAway(self) -> None:
        """
        Who left while a node was away is not there when it is back.
        [pitfall I4]
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
        A change of the ring is one view, however many are lost.  [pitfall I5]
        """
        cluster, clients = self.meet(4)
        before = len(clients[3].history)
        cluster.partition({A, B, C}, {D})
        cluster.settle()
        self.assertEqual(len(clients[3].history), before + 1)
        lone = clients[3].history[-1]
        gone = [client.member for client in clients[:3]]
        self.assertEqual(reasons(lone), (gone, [], {Reason.NODEDOWN}))
        cluster.heal()
        cluster.settle()
        self.assertEqual(reasons(clients[3].history[-1]), ([], gone, {Reason.NODEUP}))

    def test_leaveThenClose(self) -> None:
        """
        Leaving and dying at once is one departure, with the reason LEAVE;
        dying alone has another.  [pitfalls I6, I7]
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
        Who joins while the ring changes sees its own join first, and who left
        or died meanwhile is out everywhere.  [pitfall I8]
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

    def test_atEveryStep(self) -> None:
        """
        Who joins, leaves or dies at any step of a round is in, or out,
        everywhere when it is over, with one view.  [pitfall I9]
        """
        for service in (1, 2):
            for what in ("started", "sent", "done", "heard", "completed"):
                diary = Diary()
                cluster, clients = self.meet(
                    timing=timingFor(0.2), makers=diary.makers(2)
                )
                dying = cluster.client(A)
                dying.join(GROUP)
                late = cluster.client(A)
                cluster.run(0.05)
                done: list[bool] = []

                def moment(
                    *happened: object,
                    step: tuple[int, int, str] = (A, service, what),
                    done: list[bool] = done,
                    acts: tuple[Callable[[], None], ...] = (
                        partial(late.join, GROUP),
                        partial(clients[0].leave, GROUP),
                        dying.close,
                    ),
                ) -> None:
                    if happened == step and not done:
                        done.append(True)
                        for act in acts:
                            act()

                diary.moment = moment
                cluster.kill(C)
                cluster.run(1)
                self.assertTrue(done)
                cluster.settle()
                expected = (late.member, clients[1].member)
                for client in (late, clients[1]):
                    members = client.views[GROUP].members
                    self.assertEqual(members, tuple(sorted(expected)))
                departures = [
                    (c.member, c.reason)
                    for view in clients[1].history
                    for c in view.left
                ]
                self.assertEqual(
                    sorted(departures),
                    [
                        (clients[0].member, Reason.LEAVE),
                        (dying.member, Reason.PROCDOWN),
                        (clients[2].member, Reason.NODEDOWN),
                    ],
                )

    def test_forgedSender(self) -> None:
        """
        A process that is not in a group sends to it in its own name or in none
        that is known, past the engine's own check, on a node that has another
        member: nobody gets it.  [pitfall I12]
        """
        cluster, clients = self.meet()
        outsider = cluster.client(A)
        self.failureResultOf(outsider.send(GROUP, b"forged"), NotJoined)
        totem = cluster.services(A).totem
        ring = cluster.nodes[A].configuration
        assert ring is not None
        for pid in (outsider.pid, 4711):
            plain = Mcast(GROUP, pid, A, 0, b"forged")
            part = PartialMcast(GROUP, pid, A, 0, 6, Part.LAST, b"forged")
            for message in (plain, part):
                totem.multicast(address(SERVICES_GROUP, executive(message)))
            batch = CompactMcast(pid, 1, Piece.BATCH, GROUP, pack([b"forged"]))
            header = engineHeader(CPG, ring.ringId)
            totem.multicast(address(OURS, header + batch.encode()))
        cluster.settle()
        self.assertEqual([client.log for client in clients], [[], [], []])
        engines = [cluster.services(n).manager.engines["cpg"] for n in cluster.nodes]
        strangers = [engine.dump()["strangers"] for engine in engines]
        self.assertEqual(strangers, [6, 6, 6])

    def test_listedWhileChanging(self) -> None:
        """
        Members that are listed while the list changes are those of one moment;
        asked for in parts, who was there all the time is in exactly one.
        [pitfall I16]
        """
        self.patch(locators, "LISTED_MEMBERS", 4)
        cluster, clients = self.meet()
        stays = {client.member for client in clients}
        asking: Any = Curious(9)
        locator = GroupsLocator(cluster.services(A).groups, asking)
        random = Random(1)
        coming: list[Client] = []
        for _ in range(30):
            snapshot = cluster.services(A).groups.members(GROUP)
            self.assertEqual(snapshot, clients[0].views[GROUP].members)
            listed: list[Member] = []
            more = True
            while more:
                answer = locator._members(GROUP, last(listed))
                numbers = answer["members"]
                listed += map(Member, numbers[::2], numbers[1::2])
                more = answer["more"]
                self.churn(cluster, coming, random)
            self.assertEqual(listed, sorted(set(listed)))
            self.assertLessEqual(stays, set(listed))
        cluster.settle()

    def churn(self, cluster: Cluster, coming: list[Client], random: Random) -> None:
        """
        Somebody comes, somebody goes.
        """
        if len(coming) > 12:
            coming.pop(random.randrange(len(coming))).close()
        coming.append(cluster.client(random.choice((A, B, C))))
        coming[-1].join(GROUP)
        cluster.run(0.01)

    def test_onTheWay(self) -> None:
        """
        Clients who come and go, again and again, while others do and the ring
        changes: each sees views from its own join to its own leave.
        [pitfall I17]
        """
        cluster, clients = self.meet(timing=timingFor(0.2))
        random = Random(2)
        busy = [cluster.client(nodeid) for nodeid in (A, A, B, B, C, C)]
        for step in range(200):
            client = random.choice(busy)
            if client.life.alive:
                with suppressed(Busy, Exists, NotJoined):
                    random.choice((client.join, client.leave))(GROUP)
            clients[0].send(GROUP, b"%d" % step)
            if step % 50 == 20:
                cluster.cut(C, A)
            if step % 50 == 45:
                cluster.heal()
            cluster.run(0.01)
        cluster.heal()
        cluster.settle()
        for client in busy:
            self.checkLives(client)

    def checkLives(self, client: Client) -> None:
        """
        In, views, out; and so on.
        """
        inside = False
        for view in client.history:
            joined = client.member in [c.member for c in view.joined]
            left = client.member in [c.member for c in view.left]
            self.assertEqual(inside, not joined)
            self.assertEqual(client.member in view.members, not left)
            inside = not left
        self.assertGreater(len(client.history), 10)

    def test_listsInAnyOrder(self) -> None:
        """
        Two nodes say that a third was lost, between its own list and theirs,
        in any order: its process is a member for all.  [pitfall I2]
        """
        for order in permutations((1, 2, 3)):
            net = formed(1, 2, 3)
            clients = {nodeid: Listener(100 + nodeid) for nodeid in (1, 2, 3)}
            for nodeid, client in clients.items():
                net.nodes[nodeid].cpg.join(client, GROUP)
            net.run()
            net.form(1, 2, 3, together=[(1, 3), (2,)])
            for _ in range(30):
                for nodeid in order:
                    net.visit(nodeid)
                for nodeid in order:
                    net.receive(nodeid, 99)
            net.run()
            expected = tuple(Member(nodeid, 100 + nodeid) for nodeid in (1, 2, 3))
            for nodeid, client in clients.items():
                self.assertEqual(client.views()[-1].members, expected)
                self.assertEqual(net.nodes[nodeid].cpg.members(GROUP), expected)
            again = [expected[1]]
            self.assertEqual(
                reasons(clients[1].views()[-1]),
                (again, again, {Reason.NODEDOWN, Reason.NODEUP}),
            )

    def test_ringChanged(self) -> None:
        """
        A client hears of each ring once, behind the views that it brought.
        [pitfall I18]
        """
        net = formed(1, 2, 3)
        client, other = Listener(101), Listener(102)
        net.nodes[1].cpg.join(client, GROUP)
        net.nodes[2].cpg.join(other, GROUP)
        net.run()
        self.assertEqual(client.rings(), [])
        for members in ((1, 3), (1, 2, 3)):
            client.events.clear()
            if 2 not in members:
                net.form(2)
            net.form(*members)
            net.run()
            self.assertEqual([event[0] for event in client.events], ["view", "ring"])
            self.assertEqual(client.rings(), [members])

    def test_states(self) -> None:
        """
        What can be asked depends on what is on its way; after the own leave
        one can join again, that group or another.  [pitfalls I10, I11]
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
        client.join(b"another")
        cluster.run(0.1)
        self.accepted(cluster, client.send(GROUP, b"again"))
        self.assertEqual(client.log, [(GROUP, client.member, b"again")])
        self.assertEqual(client.views[b"another"].members, (client.member,))
        cluster.settle()

    def test_largeMessages(self) -> None:
        """
        Messages of several megabytes of two clients of each node arrive whole,
        each in its sender's order.  [pitfall I13]
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

    def test_largeMessagesAndAChange(self) -> None:
        """
        The ring changes in the middle of them: each is delivered whole or not
        at all, and the sender knows which.  [pitfall I13]
        """
        outcomes: set[bool] = set()
        for moment in range(6):
            cluster = self.formed(
                services=True,
                timing=timingFor(0.2, windowSize=200, maxMessages=100),
            )
            clients = [cluster.client(nodeid) for nodeid in (A, A, B, B)]
            for client in clients:
                client.join(GROUP)
            cluster.run(0.1)
            cluster.slow(C, 0.002)
            ends: dict[int, bool] = {}
            for client in clients:
                sent = client.send(GROUP, b"%d" % client.pid * 2_500_000)
                sent.addCallbacks(
                    partial(self.ended, ends, client.pid, True),
                    partial(self.ended, ends, client.pid, False),
                )
            cluster.run(0.1 + 0.1 * moment)
            cluster.kill(C)
            cluster.settle()
            whole = {c.pid for c in clients if ends[c.pid]}
            for client in clients:
                self.assertEqual({m.pid for _, m, _ in client.log}, whole)
                sizes = {len(payload) for *_, payload in client.log}
                self.assertLessEqual(sizes, {2_500_000})
            outcomes |= set(ends.values())
            engine = cluster.services(A).manager.engines["cpg"]
            self.assertEqual(engine.dump()["assemblyBytes"], 0)
        self.assertEqual(outcomes, {True, False})

    def ended(
        self, ends: dict[int, bool], pid: int, accepted: bool, result: object
    ) -> None:
        """
        A message was accepted, or interrupted.
        """
        if isinstance(result, Failure):
            result.trap(Interrupted)
        ends[pid] = accepted

    def test_manyGroups(self) -> None:
        """
        Two hundred groups, of every name, lose a node at once, and each member
        hears of it.  [pitfall I14]
        """
        cluster = self.formed(2, services=True)
        names = [b"%d" % n for n in range(196)] + [b"\0", b"", b"x" * 128, b"a\0b"]
        here, there = cluster.client(A), cluster.client(B)
        for name in names:
            here.join(name)
            there.join(name)
        cluster.settle()
        cluster.kill(B)
        cluster.settle()
        lost = [v.group for v in here.history if v.left]
        self.assertEqual(sorted(lost), sorted(names))

    def test_fullNodes(self) -> None:
        """
        Nodes whose clients ask for more memberships than there may be refuse
        them in time: through a partition, nothing they send is ever ignored
        for want of a place.  [pitfall I19]
        """
        for seed in range(2):
            cluster = self.formed(seed=seed, services=True)
            engines = [cluster.services(n).manager.engines["cpg"] for n in (A, B, C)]
            for engine in engines:
                engine._table.most = 6
            clients = [cluster.client(n) for n in (A, B, C) for _ in range(4)]
            whim, refused = Random(seed), 0
            for step in range(120):
                if step == 30:
                    cluster.partition((A, B), (C,))
                elif step == 75:
                    cluster.heal()
                client, group = whim.choice(clients), b"%d" % whim.randrange(4)
                leaves = whim.random() < 0.3
                with suppressed(Busy, Exists, NotJoined):
                    try:
                        (client.leave if leaves else client.join)(group)
                    except TryAgain as error:
                        self.assertIn("6 memberships", str(error))
                        refused += 1
                cluster.run(0.05)
            cluster.settle(within=8)
            self.assertTrue(refused > 0)
            self.assertEqual([engine.dump()["beyond"] for engine in engines], [0] * 3)

    def test_flood(self) -> None:
        """
        Forty who send as fast as they can get everything they were promised,
        and so do all others.  [pitfall I15]
        """
        cluster = self.formed(2, services=True)
        clients = [cluster.client(1 + n % 2) for n in range(40)]
        for client in clients:
            client.join(GROUP)
        cluster.run(0.2)
        refused: list[object] = []
        for round_ in range(25):
            for client in clients:
                sent = client.send(GROUP, b"%02d" % round_ * 1000)
                sent.addErrback(refused.append)
        cluster.settle()
        first = clients[0].log
        self.assertEqual(len(first), 1000)
        self.assertEqual(refused, [])
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
