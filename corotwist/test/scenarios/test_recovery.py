"""
Stories about what is left of old rings.  [pitfalls D]
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from corotwist.simulator import CALM, Cluster, Faults, timingFor
from corotwist.simulator.faults import Rule
from corotwist.simulator.process import Delivered
from corotwist.test.scenarios.story import (
    FOREVER,
    LONG,
    A,
    B,
    C,
    D,
    E,
    Listener,
    Story,
    capture,
    changes,
    eachTime,
    frameful,
    ring,
    wrappers,
)
from corotwist.totem.membership import Configuration
from corotwist.totem.sequence import MASK, distance
from corotwist.totem.states import In


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
        Of two without a gap one has more than the other; both deliver it
        before the ring changes.  [pitfall D1]
        """
        cluster = self.formed()
        rules = [
            cluster.drop("data", target=C, count=FOREVER, containing=b"m%d" % n)
            for n in (8, 9)
        ]
        self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(1, 10)))
        cluster.run(0.002)
        windows = [ring(cluster, n).window for n in (B, C)]
        self.assertTrue(all(window.aru == window.high for window in windows))
        self.assertEqual([len(cluster.nodes[n].log) for n in (B, C)], [9, 7])
        cluster.kill(A)
        for rule in rules:
            rule.count = 0
        cluster.settle()
        expected = [f"m{n}" for n in range(1, 10)] + ["T", "R"]
        self.assertEqual(words(cluster, C)[-11:], expected)
        self.assertEqual(words(cluster, B)[-11:], expected)

    def test_everybodyHasSomething(self) -> None:
        """
        Three who have thirty messages each that the others lack: nobody goes
        on before all have all, also when much of it is lost again.
        [pitfall D2]
        """
        for seed in range(8 if LONG else 4):
            cluster = self.formed(4, seed=seed, timing=timingFor(missCount=1000))
            lost = cluster.drop("data", count=FOREVER)
            frames = [frameful(cluster, b"%02d" % n) for n in range(30)]
            for nodeid in (A, B, C):
                self.send(cluster, nodeid, *frames)
            cluster.run(0.004)
            for nodeid in (A, B, C):
                self.assertEqual(len(ring(cluster, nodeid).window), 30)
            cluster.kill(D)
            lost.count = 0
            cluster.faults = Faults(lossOf={"data": 0.3}) if seed else CALM
            installed: list[list[int]] = []

            def install(
                cluster: Cluster = cluster, installed: list[list[int]] = installed
            ) -> None:
                cores = [ring(cluster, n) for n in (A, B, C)]
                installed.append([core.forming.aru for core in cores])

            cluster.whenState(In.OPERATIONAL, install)
            cluster.runUntil(lambda seen=installed: bool(seen), within=8)  # type: ignore[misc]
            cluster.calm()
            cluster.settle()
            wrapped = (self.firstSequence + 90) & MASK
            for aru in installed[0]:
                self.assertTrue(distance(wrapped, aru) >= 0, installed)
            self.assertSame(cluster, (A, B, C))
            self.assertEqual(len(cluster.nodes[A].log), 90)

    def test_severalResend(self) -> None:
        """
        What several have, and send again, is delivered once.
        [pitfall D13]
        """
        cluster = self.formed(4)
        rule = cluster.drop("data", target=C, count=FOREVER, containing=b"m7")
        self.send(cluster, D, b"m7")
        cluster.run(0.003)
        self.assertEqual(cluster.nodes[A].log, [b"m7"])
        data = capture(cluster, "data")
        cluster.kill(D)
        rule.count = 0
        cluster.settle()
        origins = [w.origin for w, inner in wrappers(data) if b"m7" in inner.payload]
        self.assertEqual(sorted(origins), [A, B])
        self.assertEqual(cluster.nodes[C].log, [b"m7"])

    def test_lossAtTheEnd(self) -> None:
        """
        Recovered messages lost on the way to one, the last ones too, hold all
        back.  [pitfall D3]
        """
        for skip in range(9):
            cluster = self.formed(4, seed=skip)
            cluster.drop("data", target=C, count=FOREVER, containing=b"m")
            self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(9)))
            cluster.run(0.003)
            cluster.kill(A)
            cluster.run(2.0)
            cluster.forget()
            rule = cluster.drop("data", B, C, count=min(3, 9 - skip), skip=skip)
            other = cluster.drop("data", D, C, count=min(3, 9 - skip), skip=skip)
            cluster.settle()
            self.assertTrue(rule.met > 0 and other.met > 0)
            self.assertEqual(words(cluster, C)[-11:], words(cluster, B)[-11:])
            self.assertEqual(len(cluster.nodes[C].log), 9)

    def test_muchToRecover(self) -> None:
        """
        A thousand messages that one lacks when their sender dies.
        [pitfall D4]
        """
        timing = timingFor(windowSize=300, maxMessages=100)
        cluster = self.formed(timing=timing)
        cluster.drop("data", target=C, count=FOREVER)
        self.send(cluster, A, *[frameful(cluster, b"x")] * 1000)
        self.assertTrue(
            cluster.runUntil(lambda: len(cluster.nodes[B].log) == 1000, within=1)
        )
        cluster.kill(A)
        cluster.forget()
        cluster.settle()
        self.assertEqual(len(cluster.nodes[C].log), 1000)
        self.assertTrue(ring(cluster, B).statistics.framesRecovered >= 1000)

    def test_holeNobodyCanFill(self) -> None:
        """
        A message that only its dead sender had leaves a hole; those who go on
        deliver what lies behind it in transition.  [pitfall D5]
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
        After two minutes of stops and starts a message gets through at once,
        and nobody asks for what is long gone.  [pitfall D6]
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
        A recovery that ends at any of its messages is followed by another
        that finds the same.  [pitfall D7]
        """
        for count in range(0, 40, 1 if LONG else 3):
            cluster = self.interrupted(count)
            cluster.settle()
            self.assertSame(cluster, (B, C, D))
            self.assertEqual(len(cluster.nodes[C].log), 8)

    def interrupted(self, count: int) -> Cluster:
        """
        Node 3 lacked some of eight messages when their sender died, and the
        recovery of the others ended after so many datagrams.
        """
        cluster = self.formed(4, seed=count)
        lost = [
            cluster.drop("data", target=C, count=FOREVER, containing=b"m%d" % n)
            for n in (2, 3, 6, 7)
        ]
        self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(8)))
        cluster.run(0.002)
        logs = [len(cluster.nodes[n].log) for n in (B, C)]
        self.assertEqual(logs, [8, 2])
        self.assertTrue(
            len([*ring(cluster, C).window.above(ring(cluster, C).window.aru)]) == 2
        )
        cluster.kill(A)
        for rule in lost:
            rule.count = 0
        over: list[Rule] = []

        def begun() -> None:
            over.append(cluster.drop(count=FOREVER, skip=count))

        cluster.whenState(In.RECOVERY, begun, B)
        self.assertTrue(cluster.runUntil(lambda: bool(over), within=4))
        cluster.run(1.5)
        cluster.forget()
        self.assertTrue(over[0].met > 0)
        return cluster

    def test_wrappersOfAFailedRing(self) -> None:
        """
        What was sent in a recovery that failed, and comes late, is no part of
        the next, whenever it comes.  [pitfall D11]
        """
        for state in (In.GATHER, In.COMMIT, In.RECOVERY, In.OPERATIONAL):
            cluster = self.formed(4)
            lost = cluster.drop("data", target=C, count=FOREVER, containing=b"m")
            self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(8)))
            cluster.run(0.002)
            cluster.kill(A)
            lost.count = 0
            data = capture(cluster, "data")
            cuts: list[Rule] = []

            def begun(cluster: Cluster = cluster, cuts: list[Rule] = cuts) -> None:
                cuts.append(cluster.drop("token", count=FOREVER, skip=6))

            cluster.whenState(In.RECOVERY, begun, B)
            self.assertTrue(cluster.runUntil(lambda cuts=cuts: bool(cuts), within=4))  # type: ignore[misc]
            cluster.run(0.1)
            self.assertTrue(cuts[0].met > 0)
            late = [(frame.origin, frame.frame) for frame, _ in wrappers(data)]
            self.assertTrue(len(late) >= 8)
            failed = ring(cluster, B).ringId

            def arrive(
                cluster: Cluster = cluster,
                late: list[tuple[int, bytes]] = late,
            ) -> None:
                core = ring(cluster, C)
                before = (core.window.aru, core.window.high, core.forming.high)
                for source, datagram in late:
                    if source != C:
                        cluster.inject(source, C, datagram)
                now = (core.window.aru, core.window.high, core.forming.high)
                self.assertEqual(now, before)

            eachTime(
                cluster,
                state,
                C,
                lambda c=cluster, arrive=arrive: c.clock.callLater(0, arrive),  # type: ignore[misc]
            )
            cluster.whenState(In.GATHER, partial(setattr, cuts[0], "count", 0), B)
            cluster.settle(within=8)
            self.assertNotEqual(ring(cluster, B).ringId, failed)
            self.assertSame(cluster, (B, C, D))
            self.assertEqual(len(cluster.nodes[C].log), 8)

    def test_returnedUnnoticed(self) -> None:
        """
        One who was alone meanwhile did not come along, though nobody had
        noticed that it was away.  [pitfall D8]
        """
        for size in (2, 3):
            cluster = self.formed(size, timing=timingFor(10.0))
            impatient, patient = ring(cluster, B), cluster.timing
            impatient.timing = timingFor(0.5)
            cluster.load(rate=200, seconds=0.2, nodeids=(A,))
            cluster.run(0.15)
            cluster.partition({A, C}, {B})
            self.assertTrue(
                cluster.runUntil(lambda c=cluster: c.nodes[B].members == (B,), 4)  # type: ignore[misc]
            )
            impatient.timing = patient
            everybody = tuple(cluster.nodes)
            self.assertEqual(cluster.nodes[A].members, everybody)
            cluster.heal()
            cluster.settle(within=1)
            transitional, regular = cluster.nodes[A].configurations[-2:]
            others = tuple(n for n in everybody if n != B)
            self.assertEqual((transitional.members, transitional.left), (others, (B,)))
            self.assertEqual((regular.members, regular.joined), (everybody, (B,)))

    def test_restartedUnnoticed(self) -> None:
        """
        Nor did one that restarted.  [pitfall D8]
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
        A full frame inside another, sealed or not, is as large as the network
        takes, and no larger.  [pitfall D9]
        """
        most = 1500 - 28
        for key in (None, bytes(range(32))):
            cluster = self.formed(key=key, faults=Faults(largest=most))
            sizes: list[int] = []
            cluster.network.watchers.append(
                lambda port, targets, datagrams, sizes=sizes: sizes.extend(  # type: ignore[misc]
                    map(len, datagrams)
                )
            )
            cluster.link(A, C).cut = cluster.link(B, C).cut = True
            self.send(cluster, A, b"x" * 20_000)
            cluster.run(0.003)
            self.assertEqual(cluster.nodes[B].log, [b"x" * 20_000])
            cluster.kill(A)
            cluster.heal()
            cluster.settle()
            self.assertEqual(cluster.nodes[C].log, [b"x" * 20_000])
            self.assertTrue(ring(cluster, B).statistics.framesRecovered >= 14)
            self.assertEqual(max(sizes), most)

    def test_submittedMeanwhile(self) -> None:
        """
        What is submitted in any state is sent once, in order, in the next
        ring.  [pitfall D10]
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
        Three rings merge, each with messages that not all of it have;
        everybody takes those of its own.  [pitfall D12]
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
        data = capture(cluster, "data")
        cluster.heal()
        cluster.run(0.3)
        cluster.forget()
        cluster.settle()
        wrapped = [frame for frame, _ in wrappers(data)]
        self.assertTrue(len({frame.origin for frame in wrapped}) >= 2)
        self.assertEqual(cluster.nodes[B].log, cluster.nodes[A].log)
        self.assertEqual(cluster.nodes[D].log, cluster.nodes[C].log)
        sizes = [len(cluster.nodes[n].log) for n in (B, D, E)]
        self.assertEqual(sizes, [7, 9, 5])

    def test_newcomer(self) -> None:
        """
        One who comes from no ring, or has lost its disk, joins one full of
        messages, and nobody comes along with it.  [pitfall D14]
        """
        for fresh in (False, True):
            cluster = self.cluster(boot=False)
            cluster.boot(A, B)
            if fresh:
                cluster.boot(C)
                cluster.settle()
                cluster.kill(C)
            cluster.settle()
            cluster.load(rate=300, seconds=0.5, nodeids=(A, B))
            cluster.run(0.2)
            cluster.boot(C, fresh=fresh)
            cluster.settle(stay=False)
            cluster.run(0.5)
            cluster.settle()
            self.assertEqual(cluster.nodes[C].members, (A, B, C))
            alone, transitional, regular = cluster.nodes[C].configurations
            self.assertEqual((alone.members, alone.joined), ((C,), (C,)))
            self.assertEqual((transitional.members, transitional.left), ((C,), ()))
            self.assertEqual(regular.joined, (A, B))
            self.assertEndsLike(cluster, C, A)
            self.assertTrue(len(cluster.nodes[C].log) > 100)

    def test_leaveFromWithinDelivery(self) -> None:
        """
        A service that leaves while it is being handed a message, or a
        configuration: what it asks comes after.  [pitfall D15]
        """
        cluster = self.formed()

        def delivered(message: bytes) -> None:
            if message.endswith(b"go") and cluster.nodes[B].up:
                cluster.stop(B)

        Listener(cluster, B).delivered = delivered
        self.send(cluster, A, b"1", b"2", b"go", b"3", b"4")
        cluster.run(0.1)
        cluster.settle(within=0)
        log = cluster.nodes[B].log
        self.assertIn(b"go", log)
        self.assertEqual(log, cluster.nodes[A].log[: len(log)])
        self.assertEqual(cluster.nodes[A].members, (A, C))
        self.assertSame(cluster, (A, C))

    def test_leaveFromWithinAChange(self) -> None:
        """
        The same from within either configuration of a change.
        [pitfall D15]
        """
        for transitional in (True, False):
            cluster = self.formed(4)

            def configured(
                changed: Configuration,
                cluster: Cluster = cluster,
                transitional: bool = transitional,
            ) -> None:
                if changed.transitional is transitional and cluster.nodes[B].up:
                    cluster.stop(B)

            Listener(cluster, B).configured = configured
            cluster.kill(D)
            cluster.run(3)
            self.assertTrue(cluster.nodes[B].down)
            cluster.settle(within=1)
            self.assertEqual(cluster.nodes[A].members, (A, C))

    def test_changesDuringSynchronization(self) -> None:
        """
        Ten changes, each before the services were in step on the ring before;
        then they are.  [pitfall D16]
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

    def test_changesAtEveryBarrier(self) -> None:
        """
        So it is with services: each round that the next change breaks is
        aborted once, and only then the next begins.  [pitfall D16]
        """
        cluster = self.formed(4, services=True, timing=timingFor(0.2))
        client = cluster.client(A)
        client.join(b"group")
        cluster.run(0.1)
        engine: Any = cluster.services(A).groups
        told: list[str] = []
        for name in (
            "synchronizationStarted",
            "synchronizationAborted",
            "synchronizationCompleted",
        ):
            self.patch(
                engine,
                name,
                partial(self.tell, told, name[15:], getattr(engine, name)),
            )
        for number in range(10):
            nodeid = C + number % 2
            rounds = told.count("Started")
            if cluster.nodes[nodeid].up:
                cluster.stop(nodeid)
            else:
                cluster.boot(nodeid)
            for _ in range(4000):
                if told.count("Started") > rounds:
                    break
                cluster.run(0.00025)
            self.assertEqual(told.count("Started"), rounds + 1)
        cluster.settle()
        story = "".join(word[0] for word in told)
        self.assertTrue(story.count("A") >= 5, story)
        self.assertTrue(story.endswith("SC"), story)
        self.assertEqual(story.replace("SA", "").replace("SC", ""), "")
        self.successResultOf(client.send(b"group", b"after all"))
        cluster.settle()

    def tell(
        self, told: list[str], word: str, method: Callable[..., Any], *args: Any
    ) -> Any:
        told.append(word)
        return method(*args)

    def test_inStepWithTheOldRing(self) -> None:
        """
        Where the last deliveries of the old ring put the services in step on
        it, they are not in step on the new one.  [pitfall D17]
        """
        cluster = self.formed()
        rule = cluster.drop("data", A, B, count=FOREVER)
        cluster.kill(C)
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[B].members == (A, B), within=4)
        )
        for number in range(5):
            cluster.multicast(B, b"%d" % number)
        core, told = ring(cluster, B), []
        listener = Listener(cluster, B)

        def configured(changed: Configuration) -> None:
            apart = core.outbox is core.synchronization
            told.append((changed.transitional, listener.application.held, apart))

        listener.configured = configured
        cluster.whenState(In.COMMIT, partial(setattr, rule, "count", 0), B)
        cluster.boot(C)
        cluster.settle()
        # By the second it had sent what waited for the first.
        self.assertEqual(told, [(True, 0, True), (False, 0, True)])
        self.assertEqual(cluster.nodes[A].log, [b"%d" % n for n in range(5)])
        self.assertSame(cluster)

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
