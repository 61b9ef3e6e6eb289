"""
Stories about what is left of old rings.  [pitfalls D]
"""

from functools import partial

from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.simulator.process import Delivered
from corotwist.test.scenarios.story import (
    FOREVER,
    A,
    B,
    C,
    D,
    E,
    Story,
    capture,
    changes,
    ring,
)
from corotwist.totem.membership import Configuration
from corotwist.totem.states import In
from corotwist.totem.wire import Regular, decode


def words(cluster: Cluster, nodeid: int) -> list[str]:
    """
    The last things a node saw, in short: T and R are configurations.
    """
    said = []
    for event in cluster.nodes[nodeid].events:
        if isinstance(event, Delivered):
            said.append(event.payload[:2].decode())
        elif isinstance(event, Configuration):
            said.append("T" if event.transitional else "R")
    return said


class RecoveryTests(Story):
    """
    Rings that end with messages under way.
    """

    def test_oneHasMore(self) -> None:
        """
        D1: of two without a gap one has more than the other; both deliver it
        before the ring changes.
        """
        cluster = self.formed()
        rules = [
            cluster.drop("data", target=C, count=FOREVER, containing=b"m%d" % n)
            for n in (8, 9)
        ]
        self.send(cluster, A, *(b"m%d" % n * 600 for n in range(10)))
        cluster.run(0.003)
        self.assertEqual(len(cluster.nodes[B].log), 10)
        self.assertTrue(len(cluster.nodes[C].log) < 10)
        cluster.kill(A)
        for rule in rules:
            rule.count = 0
        cluster.settle()
        self.assertEqual(
            words(cluster, C)[-12:], [f"m{n}" for n in range(10)] + ["T", "R"]
        )
        self.assertEqual(words(cluster, C)[-12:], words(cluster, B)[-12:])

    def test_everybodyHasSomething(self) -> None:
        """
        D2, D13: three who lack different messages each send what they have;
        nobody goes on before all have all.
        """
        for seed in range(8):
            cluster = self.formed(4, seed=seed)
            cluster.faults = Faults(lossOf={"data": 0.5})
            for nodeid in (A, B, C, D):
                self.send(cluster, nodeid, *(b"%d" % n * 500 for n in range(30)))
            cluster.run(0.004)
            cluster.kill(D)
            cluster.run(1.5)
            cluster.faults = Faults(lossOf={"data": 0.2})
            cluster.run(5)
            cluster.calm()
            cluster.settle()
            self.assertSame(cluster, (A, B, C))
            self.assertTrue(len(cluster.nodes[A].log) >= 90)

    def test_lossAtTheEnd(self) -> None:
        """
        D3: recovered messages lost on the way to one hold all back.
        """
        cluster = self.formed()
        cluster.drop("data", target=C, count=FOREVER, containing=b"m")
        self.send(cluster, A, *(b"m%d" % n * 600 for n in range(10)))
        cluster.run(0.003)
        cluster.kill(A)
        cluster.run(2.0)
        cluster.forget()
        rule = cluster.drop("data", B, C, count=3)
        cluster.settle()
        self.assertEqual(rule.met, 3)
        self.assertEqual(len(cluster.nodes[C].log), 10)

    def test_muchToRecover(self) -> None:
        """
        D4: a thousand messages that one lacks when their sender dies.
        """
        timing = timingFor(windowSize=300, maxMessages=100)
        cluster = self.formed(timing=timing)
        cluster.drop("data", target=C, count=FOREVER)
        self.send(cluster, A, *[b"x" * 1300] * 1000)
        cluster.runUntil(lambda: len(cluster.nodes[B].log) == 1000, within=1)
        cluster.kill(A)
        cluster.forget()
        cluster.settle()
        self.assertEqual(len(cluster.nodes[C].log), 1000)
        self.assertTrue(ring(cluster, B).statistics.framesRecovered >= 900)

    def test_holeNobodyCanFill(self) -> None:
        """
        D5: a message that only its dead sender had leaves a hole; those who
        go on deliver what lies behind it in transition.
        """
        cluster = self.formed()
        cluster.drop("data", A, count=FOREVER, containing=b"m1")
        self.send(cluster, A, b"m1")
        self.send(cluster, B, b"m2")
        self.assertTrue(cluster.runUntil(lambda: b"m1" in cluster.nodes[A].log, 0.1))
        cluster.run(0.01)
        cluster.kill(A)
        cluster.settle()
        for nodeid in (B, C):
            self.assertEqual(words(cluster, nodeid)[-3:], ["T", "m2", "R"])

    def test_afterManyChanges(self) -> None:
        """
        D6: after two minutes of stops and starts a message gets through at
        once, and nobody asks for what is long gone.
        """
        cluster = self.formed(5, seed=6)
        chance = cluster.running(A).chance
        while cluster.seconds() < 120:
            nodeid = chance.randint(1, 5)
            if not cluster.nodes[nodeid].up:
                cluster.boot(nodeid)
            elif len(cluster.live) > 1:
                chance.choice((cluster.stop, cluster.kill))(nodeid)
            for live in cluster.live:
                cluster.multicast(live, b"m%d" % live)
            cluster.run(chance.uniform(0.1, 4))
        for nodeid in cluster.nodes:
            if not cluster.nodes[nodeid].up:
                cluster.boot(nodeid)
        cluster.settle()
        resent = [
            ring(cluster, n).statistics.framesRetransmitted for n in cluster.nodes
        ]
        self.send(cluster, C, b"m!")
        cluster.run(0.1)
        self.assertTrue(all(n.log[-1] == b"m!" for n in cluster.nodes.values()))
        now = [ring(cluster, n).statistics.framesRetransmitted for n in cluster.nodes]
        self.assertEqual(now, resent)

    def test_interrupted(self) -> None:
        """
        D7, D11: a recovery that ends at any of its messages is followed by
        another that finds the same.
        """
        for skip in range(0, 12, 2):
            cluster = self.formed(4, seed=skip)
            rule = cluster.drop("data", target=C, count=FOREVER, containing=b"m")
            self.send(cluster, A, *(b"m%d" % n * 600 for n in range(8)))
            cluster.run(0.003)
            cluster.kill(A)
            rule.count = 0
            cluster.whenState(
                In.RECOVERY,
                partial(cluster.drop, "token", B, count=60, skip=skip),
                B,
            )
            cluster.run(8)
            self.assertTrue(ring(cluster, B).statistics.recoveriesEntered > 3)
            cluster.forget()
            cluster.settle()
            self.assertSame(cluster, (B, C, D))
            self.assertEqual(len(cluster.nodes[C].log), 8)

    def test_returnedUnnoticed(self) -> None:
        """
        D8: one who was alone meanwhile did not come along, though nobody had
        noticed that it was away.
        """
        cluster = self.formed(timing=timingFor(10.0))
        cluster.kill(B)
        cluster.boot(B)
        cluster.settle(within=1)
        transitional, regular = cluster.nodes[A].configurations[-2:]
        self.assertNotIn(B, transitional.members)
        self.assertIn(B, transitional.left)
        self.assertIn(B, regular.joined)

    def test_fullFrames(self) -> None:
        """
        D9: even a full frame inside another fits the MTU.
        """
        cluster = self.formed()
        sizes: list[int] = []
        cluster.network.watchers.append(
            lambda port, targets, datagrams: sizes.extend(map(len, datagrams))
        )
        cluster.drop("data", target=C, count=FOREVER, containing=b"x")
        self.send(cluster, A, b"x" * 20_000)
        cluster.run(0.003)
        cluster.kill(A)
        cluster.run(2)
        cluster.forget()
        cluster.settle()
        self.assertEqual(cluster.nodes[C].log, [b"x" * 20_000])
        self.assertTrue(1440 <= max(sizes) <= 1500 - 28, max(sizes))

    def test_submittedMeanwhile(self) -> None:
        """
        D10: what is submitted in any state is sent once, in order, in the
        next ring.
        """
        cluster = self.formed()
        sent = []

        def submit(state: In) -> None:
            for number in range(3):
                sent.append(b"%s %d" % (state.value.encode(), number))
                self.assertTrue(cluster.multicast(B, sent[-1]))

        for state in (In.GATHER, In.COMMIT, In.RECOVERY):
            cluster.whenState(state, partial(submit, state), B)
        cluster.kill(C)
        cluster.settle()
        self.assertEqual(len(sent), 9)
        self.assertEqual(cluster.nodes[A].log, sent)
        self.assertEqual(cluster.nodes[B].log, sent)

    def test_threeRingsWithUnfinished(self) -> None:
        """
        D12: three rings merge, each with messages that not all of it have;
        everybody takes those of its own.
        """
        cluster = self.formed(5)
        cluster.partition({A, B}, {C, D}, {E})
        cluster.settle()
        cluster.drop("data", A, B, count=FOREVER, containing=b"ab")
        cluster.drop("data", C, D, count=FOREVER, containing=b"cd")
        self.send(cluster, A, *(b"ab%d" % n * 300 for n in range(7)))
        self.send(cluster, C, *(b"cd%d" % n * 300 for n in range(9)))
        self.send(cluster, E, *(b"e%d" % n * 300 for n in range(5)))
        cluster.run(0.003)
        self.assertEqual([cluster.nodes[B].log, cluster.nodes[D].log], [[], []])
        wrapped: list[Regular] = []
        data = capture(cluster, "data")
        cluster.heal()
        cluster.run(0.3)
        cluster.forget()
        cluster.settle()
        for _, datagram in data:
            frame = decode(datagram)
            assert isinstance(frame, Regular)
            if frame.encapsulated:
                wrapped.append(frame)
        self.assertTrue(len({frame.origin for frame in wrapped}) >= 2)
        self.assertEqual(cluster.nodes[B].log, cluster.nodes[A].log)
        self.assertEqual(cluster.nodes[D].log, cluster.nodes[C].log)
        sizes = [len(cluster.nodes[n].log) for n in (B, D, E)]
        self.assertEqual(sizes, [7, 9, 5])

    def test_newcomer(self) -> None:
        """
        D14: one who comes from no ring joins one full of messages.
        """
        cluster = Cluster(3, boot=False)
        cluster.boot(A, B)
        cluster.settle()
        cluster.load(rate=300, seconds=0.5, nodeids=(A, B))
        cluster.run(0.2)
        cluster.boot(C)
        cluster.settle(stay=False)
        cluster.run(0.5)
        cluster.settle()
        self.assertEqual(cluster.nodes[C].members, (A, B, C))
        self.assertEndsLike(cluster, C, A)
        self.assertTrue(len(cluster.nodes[C].log) > 100)

    def test_leaveFromWithinDelivery(self) -> None:
        """
        D15: a service that leaves while it is being handed a message.
        """
        cluster = self.formed()
        application = cluster.running(B).application
        deliver = application.messageDelivered

        def delivered(nodeid: int, message: bytes, byteOrder: str) -> None:
            deliver(nodeid, message, byteOrder)
            if message.endswith(b"go") and cluster.nodes[B].up:
                cluster.stop(B)

        listener = type("Listener", (), {})()
        listener.messageDelivered = delivered
        listener.configurationChanged = application.configurationChanged
        listener.tokenPassed = application.tokenPassed
        protocol = cluster.running(B).service.protocol
        assert protocol is not None
        protocol._listener = listener
        self.send(cluster, A, b"1", b"2", b"go", b"3", b"4")
        cluster.run(0.1)
        cluster.settle(within=0)
        log = cluster.nodes[B].log
        self.assertIn(b"go", log)
        self.assertEqual(log, cluster.nodes[A].log[: len(log)])
        self.assertEqual(cluster.nodes[A].members, (A, C))
        self.assertSame(cluster, (A, C))

    def test_changesDuringSynchronization(self) -> None:
        """
        D16: ten changes, each before the services were in step on the ring
        before; then they are.
        """
        cluster = self.formed(4, seed=2, timing=timingFor(0.2))
        cluster.load(rate=50, seconds=5, nodeids=(A, B))
        for number in range(10):
            nodeid = C + number % 2
            if cluster.nodes[nodeid].up:
                cluster.kill(nodeid)
            else:
                cluster.boot(nodeid)
            before = changes(cluster)[0]
            cluster.runUntil(lambda b=before: changes(cluster)[0] > b, within=2)  # type: ignore[misc]
        for nodeid in (C, D):
            if not cluster.nodes[nodeid].up:
                cluster.boot(nodeid)
        cluster.settle()
        self.assertSame(cluster, (A, B))

    def test_partitionUnderLoad(self) -> None:
        """
        Two sides of a partition go on for themselves, each with the messages
        of its own, and together again afterwards.
        """
        cluster = self.formed(5, seed=11)
        cluster.load(rate=100, seconds=4)
        cluster.run(0.5)
        cluster.partition({A, B}, {C, D, E})
        cluster.run(3.5)
        self.assertEqual(cluster.nodes[A].members, (A, B))
        self.assertEqual(cluster.nodes[E].members, (C, D, E))
        self.assertSame(cluster, (A, B))
        self.assertSame(cluster, (C, D, E))
        cluster.heal()
        cluster.settle()
        for node in cluster.nodes.values():
            self.assertEqual(node.members, (A, B, C, D, E))
            self.assertTrue(len(node.log) > 300)
