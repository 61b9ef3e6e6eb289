"""
Stories about synchronization: services that agree on what they know, after
each change of the ring, and everything that comes in between.  [pitfalls H]
"""

from functools import partial
from typing import Any

from corotwist.engines.executive import (
    SERVICES_GROUP,
    SYNC_GROUP,
    Barrier,
    JoinList,
    NodeFlag,
    NodeInfo,
    QdeviceRegistration,
    ServiceList,
    address,
    whole,
)
from corotwist.engines.interfaces import Reason
from corotwist.engines.place import FAILURES_TOLERATED
from corotwist.simulator import Cluster, timingFor
from corotwist.simulator.clients import Client
from corotwist.test.engines.orderednet import OrderedNet, formed
from corotwist.test.engines.probes import probed
from corotwist.test.scenarios.story import FOREVER, A, B, C, D, E
from corotwist.test.scenarios.whole import Diary, WholeStory, voting
from corotwist.totem.membership import RingId

GROUP = b"group"
QUICK = timingFor(0.2)
# What a witness can be in the middle of.
STAGES = ("started", "sent", "done", "heard", "completed")


class RoundStories(WholeStory):
    """
    Three witnesses on each node, judged when the story is over.
    """

    def setUp(self) -> None:
        self.diary = Diary()

    def watched(self, size: int = 3, **options: Any) -> Cluster:
        """
        A ring whose rounds are written down.
        """
        makers = options.pop("makers", None) or self.diary.makers()
        return self.whole(size, makers=makers, timing=QUICK, **options)

    def once(self, nodeid: int, service: int, what: str, action: Any) -> list[bool]:
        """
        Do something the next time that this happens.

        @return: not empty when it has.
        """
        done: list[bool] = []

        def moment(*happened: Any) -> None:
            if happened == (nodeid, service, what) and not done:
                done.append(True)
                action()

        self.diary.moment = moment
        return done

    def finish(self, cluster: Cluster) -> None:
        """
        All quiet, and all promises kept.
        """
        cluster.calm()
        cluster.settle()
        self.diary.judge(cluster.live)

    def manager(self, cluster: Cluster, nodeid: int) -> Any:
        """
        The service manager of a node.
        """
        return cluster.services(nodeid).manager

    def test_exitInTheFirstStage(self) -> None:
        """
        A node goes in the middle of the first service's stage: nobody's later
        service hears a peer before it was started.  [pitfall H1]
        """
        for what in STAGES:
            self.diary = Diary()
            cluster = self.watched()
            gone = self.once(C, 1, what, partial(cluster.kill, C))
            cluster.pause(B, 0.5)
            cluster.run(3)
            self.assertTrue(gone, what)
            self.finish(cluster)
            started = self.diary.of(A, "started")
            self.assertEqual(len(started) % 3, 0)
            self.assertEqual(started[-1].members, (A, B))

    def test_exitAtAnyMoment(self) -> None:
        """
        A ring that changes at any moment of a round, also exactly between the
        completions of two services: each service that was started is completed
        or aborted, once.  [pitfall H9]
        """
        aborted = 0
        for what in STAGES:
            for service in (1, 2, 3):
                self.diary = Diary()
                cluster = self.watched()
                gone = self.once(A, service, what, partial(cluster.partition, {A}))
                cluster.stop(C)
                cluster.run(4)
                cluster.heal()
                cluster.run(2)
                self.assertTrue(gone, f"{what} {service}")
                self.finish(cluster)
                aborted += len(self.diary.of(A, "aborted"))
        self.assertGreater(aborted, len(STAGES))

    def test_serviceGoes(self) -> None:
        """
        A service that is taken out of service in the middle of its own stage
        is called no more; the round goes on, there and everywhere.
        [pitfall H4]
        """
        cluster = self.watched(5)
        engine = self.manager(cluster, B).engines["witness2"]
        failing = self.once(B, 2, "sent", engine.fail)
        cluster.kill(E)
        cluster.settle()
        self.assertTrue(failing)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), FAILURES_TOLERATED)
        place = self.manager(cluster, B).dump()["engines"]["witness2"]
        self.assertTrue(place["failed"])
        self.assertNotEqual(self.diary.of(B, "completed")[-2].serviceId, 2)
        rounds = len(self.diary.of(B, "started"))
        cluster.calm()
        cluster.boot(E)
        cluster.settle()
        self.assertEqual(len(self.diary.of(B, "started")), rounds + 2)
        for nodeid in cluster.nodes:
            last = self.diary.of(nodeid, "completed")[-1]
            self.assertEqual(last.serviceId, 3)

    def test_differentServices(self) -> None:
        """
        Nodes with different services go through all of them together; who has
        none of a kind only sends its barrier.  [pitfall H10]
        """
        makers = self.diary.makers(3, lacking=[(B, 2), (C, 1), (C, 3)])
        cluster = self.watched(makers=makers)
        cluster.kill(A)
        cluster.run(1)
        cluster.boot(A)
        self.finish(cluster)
        completed = {
            nodeid: {e.serviceId for e in self.diary.of(nodeid, "completed")}
            for nodeid in (A, B, C)
        }
        self.assertEqual(completed, {A: {1, 2, 3}, B: {1, 3}, C: {2}})

    def test_lateBarrier(self) -> None:
        """
        A barrier of an older ring comes in the middle of a stage, and brings
        nobody past the one of this ring.  [pitfall H8]
        """
        for service in (1, 2, 3):
            self.diary = Diary()
            cluster = self.watched()
            ring = cluster.nodes[A].configuration
            assert ring is not None
            late = address(SYNC_GROUP, whole(Barrier(ring.ringId)))
            totem = cluster.services(A).totem
            sent = self.once(A, service, "sent", partial(totem.multicast, late))
            cluster.kill(C)
            cluster.run(2)
            self.assertTrue(sent)
            for nodeid in (A, B):
                counters = self.manager(cluster, nodeid).synchronization.counters
                self.assertEqual(counters.ignored, 1)
            self.finish(cluster)

    def test_leftovers(self) -> None:
        """
        What a round that was broken off left in the queues leaves with the
        next ring, and is ignored there.  [pitfall H8]
        """
        for service in (1, 2, 3):
            self.diary = Diary()
            cluster = self.watched()
            apart = self.once(
                A, service, "done", partial(cluster.partition, {A}, {B, C})
            )
            cluster.pause(C, 0.5)
            cluster.run(3)
            self.assertTrue(apart)
            self.assertGreater(
                self.manager(cluster, A).synchronization.counters.ignored, 0
            )
            self.finish(cluster)

    def test_oneRoundForEachRing(self) -> None:
        """
        Nothing but a ring begins a round: not a quorum device that is
        registered in the middle of one.  [pitfall H7]
        """
        cluster = self.watched(configure=voting(3))
        registration = address(
            SERVICES_GROUP, whole(QdeviceRegistration(True, b"Qdevice"))
        )
        totem = cluster.services(A).totem
        sent = self.once(A, 1, "sent", lambda: totem.multicast(registration))
        cluster.kill(C)
        cluster.run(2)
        self.assertTrue(sent)
        self.finish(cluster)
        for nodeid in (A, B):
            rings = cluster.nodes[nodeid].configurations
            regular = [c for c in rings if not c.transitional]
            counters = self.manager(cluster, nodeid).synchronization.counters
            self.assertEqual(counters.begun, len(regular))
            self.assertEqual(counters.begun, counters.completed + counters.aborted)

    def test_storm(self) -> None:
        """
        Fifty changes in ten seconds: afterwards a round completes, each start
        has one end, and nothing of the others is kept.  [pitfall H11]
        """
        timing = timingFor(0.05)
        cluster = self.whole(makers=self.diary.makers(), timing=timing)
        before = self.kept(cluster)
        for number in range(100):
            if number % 2:
                cluster.heal()
            else:
                cluster.partition({A, B}, {C})
            cluster.run(0.1)
        self.assertGreater(len(self.diary.of(A, "started")), 50 * 3)
        self.finish(cluster)
        self.assertEqual(self.kept(cluster), before)

    def kept(self, cluster: Cluster) -> list[Any]:
        """
        How much the rounds of each node hold, counters aside.
        """
        return [
            [
                len(value)
                for value in vars(self.manager(cluster, n).synchronization).values()
                if hasattr(value, "__len__")
            ]
            + [len(self.manager(cluster, n)._waiting)]
            for n in cluster.nodes
        ]


class GhostStories(WholeStory):
    """
    What was learned in a round that was broken off.
    """

    def test_ghost(self) -> None:
        """
        A node comes, sends the list of its processes, and dies before the
        round is complete: no process of it is ever seen.  [pitfall H2]
        """
        heard = 0
        for seed in range(12):
            cluster = Cluster(4, seed, services=True, timing=QUICK)
            cluster.partition({A, B, C}, {D})
            cluster.settle()
            clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
            for client in clients:
                client.join(GROUP)
            cluster.run(0.1)
            before = [len(client.history) for client in clients]
            listed = JoinList(((clients[3].pid, GROUP),)).encode()
            dying = cluster.whenSent(
                partial(cluster.kill, D),
                "data",
                D,
                containing=listed,
            )
            cluster.heal()
            cluster.run(1)
            self.assertTrue(dying.met)
            self.assertTrue(cluster.nodes[D].down)
            cluster.settle()
            for client, count in zip(clients[:3], before[:3], strict=True):
                self.assertEqual(len(client.history), count)
                self.assertNotIn(clients[3].member, client.views[GROUP].members)
            aborted = cluster.services(A).manager.synchronization.counters.aborted
            heard += aborted
        self.assertGreater(heard, 6)


class WaitingStories(WholeStory):
    """
    Clients who are active while the services are not in step.
    """

    def meet(self, **options: Any) -> tuple[Cluster, list[Client]]:
        cluster = self.whole(timing=QUICK, **options)
        clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
        for client in clients:
            client.join(GROUP)
            cluster.run(0.05)
        return cluster, clients

    def test_messagesOfAPausedNode(self) -> None:
        """
        A node was away, and its clients sent meanwhile: their messages come
        behind the views that tell of its return.  [pitfall H3]
        """
        cluster, clients = self.meet()
        # With a token in its socket it would order them in its old ring, alone.
        cluster.drop("token", target=A, count=FOREVER)
        cluster.run(0.01)
        cluster.pause(A, 1.0)
        for number in range(20):
            clients[0].send(GROUP, b"%d" % number)
        cluster.run(0.8)
        self.assertNotIn(clients[0].member, clients[1].views[GROUP].members)
        self.assertEqual(clients[1].log, [])
        cluster.forget()
        cluster.run(0.2)
        cluster.settle()
        other = clients[1]
        self.assertEqual(len(other.log), 20)
        returned = other.history[-1]
        self.assertEqual(
            [(c.member, c.reason) for c in returned.joined],
            [(clients[0].member, Reason.NODEUP)],
        )

    def test_requestsInARound(self) -> None:
        """
        Whatever clients ask again and again while a round runs, nothing of it
        is ordered before the round is over.  [pitfall H5]
        """
        cluster, clients = self.meet(makers=Diary(messages=4).makers())
        services = cluster.services(A)
        early: list[int] = []
        asked = 0
        counters = services.groups._counters  # type: ignore[attr-defined]
        cluster.kill(C)
        cluster.runUntil(lambda: services.synchronizing, 2)
        delivered = counters["delivered"]
        late: list[Client] = []
        while services.synchronizing:
            clients[0].send(GROUP, b"early?")
            late.append(cluster.client(A))
            late[-1].join(GROUP)
            asked += 1
            cluster.run(0.0003)
            if services.synchronizing:
                early.append(counters["delivered"] - delivered)
                self.assertEqual(late[-1].history, [])
        self.assertGreater(asked, 10)
        self.assertEqual(set(early), {0})
        cluster.settle()
        self.assertEqual(len(clients[1].log), asked)
        self.assertEqual(len(clients[1].views[GROUP].members), 2 + asked)


class NarrowStories(WholeStory):
    """
    On an order in memory, where queues are as narrow as a story wants.
    """

    def test_oneSlot(self) -> None:
        """
        The queue has room for a single message: a service with five is asked
        again when the token has passed, once each time, and goes on where it
        stopped.  [pitfall H6]
        """
        net = probed(1, 2)
        for nodeid in (1, 2):
            net.probes[nodeid, 1].rounds = 5
            net.nodes[nodeid].totem.capacity = 600
        net.form(1, 2)
        asked = 0
        for _ in range(40):
            before = net.names(1).count((1, "synchronize"))
            net.rotate(1)
            asked = net.names(1).count((1, "synchronize"))
            self.assertLessEqual(asked - before, 2)
        self.assertEqual(asked, 6)
        self.assertIn((2, "completed"), net.names(1))

    def test_notYetKnown(self) -> None:
        """
        What a node says that is not in the ring, or whose own round has not
        begun, counts for nothing and harms nothing.  [pitfall H12]
        """
        net = formed(1, 2)
        ring = net.form(1, 2)
        for message in (
            NodeInfo(9, 5, 5, NodeFlag.QUORATE),
            JoinList(((77, GROUP),)),
            ServiceList(ring.ringId, (77,)),
            Barrier(ring.ringId),
            Barrier(RingId(9999, 9)),
        ):
            ofSync = isinstance(message, (Barrier, ServiceList))
            group = SYNC_GROUP if ofSync else SERVICES_GROUP
            ring.order.append((9, address(group, whole(message))))
        net.run()
        synchronization = net.nodes[1].manager.synchronization
        self.assertNotIn(77, synchronization._plan)
        self.assertFalse(synchronization.synchronizing())
        votes = net.nodes[1].engine("votequorum").dump()
        self.assertEqual((votes["votes"], sorted(votes["nodes"])), (2, ["1", "2"]))
        self.assertEqual(net.nodes[1].cpg.groups(), ())
        self.assertEqual(self.failures(net), 0)

    def failures(self, net: OrderedNet) -> int:
        """
        Exceptions of engines so far.
        """
        engines = net.nodes[1].manager.dump()["engines"].values()
        return sum(engine["failures"] for engine in engines)
