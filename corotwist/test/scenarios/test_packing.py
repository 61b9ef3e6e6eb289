"""
Stories about large messages, small ones, and half ones.  [pitfalls G]
"""

from itertools import product
from random import Random
from struct import pack

from corotwist.engines.compact import GROUP
from corotwist.engines.executive import SERVICES_GROUP, SYNC_GROUP
from corotwist.simulator import Faults, timingFor
from corotwist.test.scenarios.story import (
    FOREVER,
    LONG,
    A,
    B,
    C,
    Story,
    after,
    frameful,
    ring,
)

# A frame's worth of message is about this much.
FRAME = 1360


class PackingTests(Story):
    """
    Messages of every size.
    """

    def test_joiningInTheMiddle(self) -> None:
        """
        One who joins while others send large messages gets all that begin
        after it, whoever they are from, and nothing broken.
        [pitfalls G1, G2]
        """
        for senders in ((A,), (A, C)):
            for moment in (3, 10, 11, 30):
                cluster = self.cluster(boot=False, seed=moment)
                cluster.boot(A, C)
                cluster.settle()
                for number in range(50 // len(senders)):
                    for nodeid in senders:
                        self.send(
                            cluster, nodeid, b"%d%02d" % (nodeid, number) * 10_000
                        )
                    if number == moment // len(senders):
                        cluster.boot(B)
                        cluster.run(0.001 * moment / 4)
                cluster.settle()
                self.assertSame(cluster, (A, C))
                joined = next(
                    c
                    for c in cluster.nodes[A].configurations
                    if B in c.members and not c.transitional
                )
                since = after(cluster, A, joined)
                self.assertTrue(after(cluster, B, joined) == since)
                self.assertTrue(len(since) > 5, len(since))

    def test_brokenStream(self) -> None:
        """
        A message that is never finished takes no piece of another sender's,
        and nothing of the same one's next.  [pitfall G2]
        """
        cluster = self.formed(seed=1)
        outbox = ring(cluster, A).ordinary
        self.send(cluster, A, b"1" * 100_000)
        cluster.run(0.0015)
        self.assertTrue(0 < outbox._taken < 100_000)
        # The sender forgets what it has begun.
        outbox._queue.popleft()
        outbox._waiting = outbox._taken = outbox._break = 0
        self.send(cluster, C, b"3" * 30_000, b"short")
        self.send(cluster, A, b"2" * 30_000)
        cluster.run(0.1)
        sizes = [(m[:1], len(m)) for m in cluster.nodes[B].log]
        expected = [(b"2", 30_000), (b"3", 30_000), (b"s", 5)]
        self.assertEqual(sorted(sizes), expected)
        self.assertSame(cluster)

    def test_boundaries(self) -> None:
        """
        Messages that end at the end of a frame or a few bytes before or after
        it, in all pairs and many triples, arrive as they were sent.
        [pitfall G3]
        """
        cluster = self.formed(2)
        whole = len(frameful(cluster, b""))
        header = 17 + 8 + 2
        around = [whole + d for d in range(-4, 5)]
        around += [2 * whole + header - 17 + d for d in range(-4, 5)]
        random = Random(7)
        packs: list[tuple[int, ...]] = [*product(around, repeat=2)]
        triples = [*product((0, 1, *around), repeat=3)]
        packs += triples if LONG else random.sample(triples, 250)
        sent = []
        for number, sizes in enumerate(packs):
            messages = [
                bytes([(number + at) % 251]) * size for at, size in enumerate(sizes)
            ]
            self.send(cluster, A, *messages)
            cluster.run(0.005)
            sent += messages
        cluster.settle()
        self.assertTrue(cluster.nodes[B].log == sent)

    def test_largestThenMore(self) -> None:
        """
        The largest message, and others right behind it.  [pitfall G4]
        """
        cluster = self.formed(2, timing=timingFor(windowSize=200, maxMessages=100))
        random = Random(4)
        sent = [random.randbytes(n) for n in ((1 << 20) - 1024, 300_000, 10)]
        self.send(cluster, A, *sent)
        cluster.settle()
        self.assertTrue(cluster.nodes[B].log == sent)

    def test_twoLivesOfASender(self) -> None:
        """
        Half a message of a node that died is not glued to one of its next
        process.  [pitfall G5]
        """
        for moment in (0.002, 0.003, 0.004):
            cluster = self.formed(seed=1)
            self.send(cluster, A, b"1" * 200_000)
            cluster.run(moment)
            self.assertEqual(cluster.nodes[B].log, [])
            cluster.kill(A)
            cluster.run(0.1)
            cluster.boot(A)
            cluster.settle(stay=False)
            self.send(cluster, A, b"2" * 200_000)
            cluster.settle()
            self.assertEqual(cluster.nodes[B].log, [b"2" * 200_000])
            self.assertSame(cluster)

    def test_restartsWhileSending(self) -> None:
        """
        One node restarts again and again while another sends large messages
        on a slow and lossy network; all are whole, and services always get in
        step.  [pitfall G6]
        """
        every = 20 if LONG else 2
        cluster = self.formed(seed=2, timing=timingFor(0.3))
        cluster.faults = Faults(loss=0.01, delay=0.002)
        cluster.load(rate=5, seconds=5 * every, sizes=(100_000,), nodeids=(A,))
        for _ in range(4):
            cluster.run(0.6 * every)
            cluster.kill(B)
            cluster.run(0.4 * every)
            cluster.boot(B)
            self.assertTrue(cluster.runUntil(cluster.formed, within=3))
        cluster.run(every)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster, (A, C))
        self.assertEndsLike(cluster, B, A)
        self.assertEqual({len(m) for m in cluster.nodes[A].log}, {100_000})
        self.assertTrue(len(cluster.nodes[A].log) > 15, len(cluster.nodes[A].log))

    def test_manyBreaks(self) -> None:
        """
        Break numbers wrap, a thousand times broken; a receiver that loses its
        ring in between has whole messages only.  [pitfall G7]
        """
        cluster = self.formed(seed=3)
        random = Random(3)
        sent = [random.randbytes(2_500) for _ in range(1000)]
        for number, message in enumerate(sent):
            self.send(cluster, A, message)
            if number == 350:
                cluster.partition({A, C}, {B})
                cluster.run(3)
                cluster.heal()
        cluster.settle()
        self.assertTrue(cluster.nodes[C].log == sent)
        self.assertTrue(set(cluster.nodes[B].log) <= set(sent))
        self.assertTrue(len(cluster.nodes[B].log) > 700)
        self.assertEqual(cluster.nodes[B].log[-1], sent[-1])

    def test_noRoom(self) -> None:
        """
        A message is queued whole or not at all.  [pitfall G8]
        """
        cluster = self.formed()
        accepted = []
        for number in range(100_000):
            if not cluster.multicast(A, b"%d" % number * 1000):
                break
            accepted.append(number)
        else:
            self.fail("there is always room")
        self.assertEqual(len(cluster.nodes[A].log), 0)
        cluster.settle(stay=False)
        self.assertEqual(len(cluster.nodes[B].log), len(accepted))
        self.send(cluster, A, b"again")
        cluster.settle()
        self.assertEqual(cluster.nodes[B].log[-1], b"again")

    def test_lastRoom(self) -> None:
        """
        One that is a byte too large for the room is refused, and one that
        fits is taken, while another is sent in part.  [pitfall G8]
        """
        header = 17
        cluster = self.formed()
        core = ring(cluster, A)
        self.send(cluster, A, b"1" * 100_000)
        cluster.run(0.0015)
        self.assertTrue(0 < core.ordinary._taken < 100_000)
        # Let its bytes be what limits the queue, not what waits.
        core.queueFrames = 1 << 20
        self.send(cluster, A, *[b"2" * 900_000] * 4)
        room = core.room() - header
        waiting = core.ordinary.frames()
        self.assertFalse(cluster.multicast(A, b"3" * (room + 1)))
        now = (core.ordinary.frames(), core.room())
        self.assertEqual(now, (waiting, room + header))
        self.assertTrue(cluster.multicast(A, b"3" * room))
        self.assertFalse(cluster.multicast(A, b""))
        cluster.settle(stay=False)
        sizes = [len(message) for message in cluster.nodes[B].log]
        self.assertEqual(sizes, [100_000, *[900_000] * 4, room])

    def test_synchronizationHasItsOwnRoom(self) -> None:
        """
        With a full queue, services synchronize all the same.  [pitfall G9]
        """
        cluster = self.formed()
        cluster.drop("token", count=FOREVER)
        while cluster.multicast(A, b"x" * 1000):
            pass
        cluster.run(1.5)
        cluster.forget()
        cluster.kill(C)
        cluster.settle(within=5)
        self.assertEqual(ring(cluster, A).outbox, ring(cluster, A).ordinary)
        self.assertSame(cluster, (A, B))

    def test_empty(self) -> None:
        """
        Empty messages are delivered as such, between others and hundreds in
        one frame.  [pitfall G10]
        """
        cluster = self.formed()
        sent = [b"", b"1", b"", b"", b"2" * 3000, b"", *[b""] * 300]
        self.send(cluster, A, *sent)
        cluster.settle()
        self.assertEqual(cluster.nodes[C].log, sent)

    def test_emptyInGroups(self) -> None:
        """
        In process groups too, alone and as parts of a batch of hundreds.
        [pitfall G10]
        """
        cluster = self.formed(services=True)
        client = cluster.client(A)
        client.join(b"group")
        cluster.run(0.1)
        client.send(b"group", b"")
        client.send(b"group", *[b""] * 200, b"1", b"")
        cluster.settle()
        payloads = [payload for _, _, payload in client.log]
        self.assertEqual(payloads, [b""] * 201 + [b"1", b""])

    def test_chainAcrossRings(self) -> None:
        """
        A message that a change of the ring cuts in two is delivered whole,
        once, by all who go on, the newcomer included if it is sent again.
        [pitfall G11]
        """
        for moment in range(1, 8):
            cluster = self.formed(seed=moment)
            self.send(cluster, A, b"1" * 150_000, b"2" * 150_000, b"3" * 10)
            cluster.run(moment * 0.0015)
            cluster.kill(C)
            cluster.boot(C)
            cluster.settle()
            self.assertEqual(
                [len(m) for m in cluster.nodes[B].log], [150_000, 150_000, 10]
            )
            self.assertSame(cluster, (A, B))
            self.assertEndsLike(cluster, C, A)

    def test_groupsOfAMessage(self) -> None:
        """
        A message is for exactly the groups that it names: none that begins
        like one of them or goes on, and for nobody when there are none, or
        more than there can be.  [pitfall G12]
        """
        cluster = self.formed(2, services=True)
        manager = cluster.services(B).manager
        heard: list[str] = []
        for name in ("_serviceDelivered", "_syncDelivered", "_compactDelivered"):
            self.patch(manager, name, lambda *args, name=name: heard.append(name))
        mine, x = SERVICES_GROUP, b"x"
        for groups, expected in (
            ([mine], ["_serviceDelivered"]),
            ([SYNC_GROUP], ["_syncDelivered"]),
            ([GROUP], ["_compactDelivered"]),
            ([x, mine, x], ["_serviceDelivered"]),
            ([mine + x], []),
            ([mine + b"\0"], []),
            ([SYNC_GROUP[:-1]], []),
            ([b""], []),
            ([SYNC_GROUP, mine], ["_serviceDelivered", "_syncDelivered"]),
            ([*[x] * 254, mine], ["_serviceDelivered"]),
            ([*[x] * 255, mine], []),
            ([], []),
        ):
            heard.clear()
            counters = sum(manager._counters.values())
            lengths = pack(f"<{len(groups)}H", *map(len, groups))
            message = pack("<H", len(groups)) + lengths + b"".join(groups) + bytes(16)
            self.assertTrue(cluster.services(A).totem.multicast(message))
            cluster.run(0.01)
            self.assertEqual(heard, expected, groups)
            told = sum(manager._counters.values()) - counters
            self.assertEqual(told, 1 if expected else 2)

    def test_lostPieces(self) -> None:
        """
        Pieces lost, doubled and out of order make whole messages.
        """
        cluster = self.formed(seed=5)
        cluster.faults = Faults(loss=0.05, duplication=0.05, reorder=0.05)
        cluster.load(rate=20, seconds=2, sizes=(1, 500, FRAME, 2 * FRAME, 50_000))
        cluster.run(4)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster)

    def test_sealed(self) -> None:
        """
        With a key, datagrams that were damaged, copied or cut short change
        nothing.
        """
        cluster = self.formed(seed=6, key=bytes(range(32)))
        cluster.faults = Faults(
            corruption=0.05, truncation=0.05, duplication=0.1, reorder=0.05
        )
        cluster.load(rate=50, seconds=1, sizes=(10, 3000))
        cluster.run(3)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster)
        statistics = cluster.running(A).service.statistics()
        dropped = [k for k in statistics if k.startswith("dropped.")]
        self.assertTrue(dropped, statistics)
