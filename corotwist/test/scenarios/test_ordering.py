"""
Stories about the token and the order of messages.  [pitfalls A]
"""

import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.simulator.faults import Rule, kindOf
from corotwist.simulator.sockets import Port
from corotwist.test.scenarios.story import (
    FOREVER,
    A,
    B,
    C,
    Listener,
    Story,
    capture,
    changes,
    frameful,
    installs,
    ring,
    watchTokens,
)
from corotwist.totem.membership import RingId
from corotwist.totem.sequence import MASK, distance
from corotwist.totem.states import In
from corotwist.totem.wire import Token, decode


class FlowBook:
    """
    Keeps account, beside the nodes, of what each sent at its last visit.

    @ivar wrong: tokens that told something else, with what they should have.
    @ivar counts: all that tokens told.
    @ivar rings: how many rings there were.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.wrong: list[tuple[Token, int]] = []
        self.counts: list[int] = []
        self.rings = 0
        self._ringId: RingId | None = None
        self._seen = 0
        self._frames: Counter[int] = Counter()
        self._last: dict[int, int] = {}
        cluster.network.watchers.append(self._watch)

    def _watch(
        self, port: Port, targets: Iterable[int], datagrams: Sequence[bytes]
    ) -> None:
        for datagram in datagrams:
            kind = kindOf(datagram)
            if kind == "data":
                self._frames[port.nodeid] += 1
            elif kind == "token":
                token = decode(datagram)
                assert isinstance(token, Token)
                self._passed(port.nodeid, token)

    def _passed(self, nodeid: int, token: Token) -> None:
        if token.ringId != self._ringId:
            self.rings += 1
            self._ringId, self._last = token.ringId, {}
            self._frames.clear()
        elif distance(self._seen, token.tokenSequence) <= 0:
            return
        self._seen = token.tokenSequence
        self._last[nodeid] = self._frames.pop(nodeid, 0)
        self.counts.append(token.flowCount)
        if token.flowCount != sum(self._last.values()):
            self.wrong.append((token, sum(self._last.values())))


class OrderingTests(Story):
    """
    Three nodes in one ring.
    """

    def test_copiedTokens(self) -> None:
        """
        A copy of the token, at once or later, changes nothing at all: with a
        thousand of them everybody sends the same as without, and counts the
        same.  [pitfall A1]
        """
        plain = self.toldWith(None)
        for late in (0.0, 0.001, 0.03):
            copied = self.toldWith(late)
            self.assertEqual(copied[1:], plain[1:])
            self.assertTrue(copied == plain)

    def toldWith(self, late: float | None) -> tuple[object, ...]:
        """
        All that is sent, and the state at the end, with tokens copied or not.
        """
        cluster = self.formed(seed=1, faults=Faults(spread=0.0))
        sent = capture(cluster)
        rule = (
            cluster.delay("token", B, C, count=1000)
            if late is None
            else cluster.duplicate("token", B, C, count=1000, after=late)
        )
        cluster.load(rate=500, seconds=0.7, sizes=(100, 2000))
        cluster.run(1)
        self.assertEqual(rule.met, 1000)
        rings = [ring(cluster, n) for n in (A, B, C)]
        counters = [
            (
                *(r.lastTokenSequence, r.lastSequence, r.lastAru, r.aruUnchanged),
                *(r.sequenceUnchanged, r.flow, r.window.released),
                r.statistics.tokens,
            )
            for r in rings
        ]
        return (sent, *counters)

    def test_retransmittedTokenIsNoSignOfLife(self) -> None:
        """
        While the token goes no further, copies of it keep nobody from seeing
        its loss: all gather within 1.1 token timeouts, each by itself.
        [pitfall A2]
        """
        for rate in (1, 300):
            cluster = self.formed()
            cluster.load(rate=rate, seconds=3)
            cluster.run(0.1)
            cluster.cut(C, A)
            cluster.drop("join", count=FOREVER)
            lost: list[float] = []
            watchTokens(
                cluster,
                lambda n, token, c=cluster, lost=lost: (  # type: ignore[misc]
                    lost.append(c.seconds()) if n == C else None
                ),
            )
            cluster.runUntil(lambda lost=lost: bool(lost), within=1)  # type: ignore[misc]
            cluster.run(lost[0] + 1.1 - cluster.seconds())
            for nodeid in (A, B, C):
                self.assertIs(cluster.nodes[nodeid].state, In.GATHER)
                self.assertEqual(ring(cluster, nodeid).statistics.tokensLost, 1)
            copies = ring(cluster, B).statistics.tokensRetransmitted
            self.assertTrue(copies >= 3, copies)

    def test_onlyItsSetterRaisesTheAru(self) -> None:
        """
        With different gaps at two nodes, the token tells of the lower, then
        of the higher, and nobody forgets a message before all have it.
        [pitfall A3]
        """
        cluster = self.formed()
        base = ring(cluster, A).window.high
        cluster.drop("data", target=C, count=2, containing=b"m5")
        cluster.drop("data", target=B, count=1, containing=b"m3")
        told: list[int] = []
        checked: list[bool] = []

        def check(nodeid: int, token: Token) -> None:
            windows = [ring(cluster, n).window for n in (A, B, C)]
            checked.extend(
                distance(window.released, other.aru) >= 0
                for window in windows
                for other in windows
            )
            if nodeid == C:
                told.append(distance(base, token.allReceivedUpTo))

        watchTokens(cluster, check)
        self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(1, 10)))
        cluster.settle(stay=False)
        self.assertTrue(all(checked))
        self.assertEqual(list(dict.fromkeys(told)), [0, 2, 4, 9])
        self.assertSame(cluster)
        self.assertEqual(len(cluster.nodes[C].log), 9)

    def test_originatorDies(self) -> None:
        """
        The only other node that has a message still has it when its sender
        dies, or nobody needs it any more, at whatever visit of the token that
        is.  [pitfall A4]
        """
        forgot = set()
        for visit in range(2, 14):
            cluster = self.formed(seed=visit)
            fifth = (ring(cluster, A).window.high + 5) & MASK
            rule = cluster.drop("data", target=C, containing=b"m5")
            self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(1, 9)))
            cluster.whenSent(partial(cluster.kill, A), "token", B, skip=visit)
            self.assertTrue(
                cluster.runUntil(lambda c=cluster: not c.nodes[A].up, within=1)  # type: ignore[misc]
            )
            self.assertEqual(rule.met, 1)
            forgot.add(ring(cluster, B).window.get(fifth) is None)
            cluster.settle()
            self.assertEqual(len(cluster.nodes[C].log), 8)
            self.assertSame(cluster, (B, C))
        self.assertEqual(forgot, {True, False})

    def test_originatorNeverReachedOne(self) -> None:
        """
        Nor does it matter how long the other waits for it in vain.
        [pitfall A4]
        """
        cluster = self.formed()
        rule = cluster.drop("data", target=C, count=FOREVER, containing=b"m5")
        self.send(cluster, A, b"m5")
        cluster.run(0.1)
        self.assertEqual(cluster.nodes[B].log, [b"m5"])
        self.assertEqual(cluster.nodes[C].log, [])
        cluster.kill(A)
        rule.count = 0
        cluster.settle()
        self.assertEqual(cluster.nodes[C].log, [b"m5"])

    def test_lastMessageLost(self) -> None:
        """
        The last message of a burst is missed though nothing follows it, and
        is there within two visits more than one waits for slow messages.
        [pitfall A5]
        """
        cluster = self.formed()
        rule = cluster.drop("data", target=C, containing=b"m9")
        behind: list[int] = []
        watchTokens(
            cluster,
            lambda nodeid, token: (
                behind.append(distance(ring(cluster, C).window.aru, token.sequence))
                if nodeid == C
                else None
            ),
        )
        self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(10)))
        cluster.run(0.1)
        self.assertEqual(rule.met, 1)
        self.assertEqual(len(cluster.nodes[C].log), 10)
        visits = sum(lag > 0 for lag in behind)
        self.assertTrue(0 < visits <= cluster.timing.missCount + 2, visits)

    def test_slowMulticasts(self) -> None:
        """
        Messages slower than the token are waited for before they are asked
        for; asked for in vain, they come twice and are delivered once.
        [pitfall A6]
        """
        rotation = 3 * 0.00022
        for rotations, each in ((3, 0), (10, 1)):
            cluster = self.formed()
            rule = cluster.delay("data", A, count=FOREVER, by=rotations * rotation)
            frames = [frameful(cluster, b"m%02d" % n) for n in range(15)]
            self.send(cluster, A, *frames)
            cluster.run(0.001)
            rule.count = 0
            self.assertEqual(rule.met, 2 * len(frames))
            cluster.settle(stay=False)
            cluster.run(0.05)
            counted = [ring(cluster, n).statistics for n in (A, B, C)]
            total = sum(statistics.framesRetransmitted for statistics in counted)
            self.assertEqual(total, each * len(frames), rotations)
            duplicates = [statistics.framesDuplicate for statistics in counted[1:]]
            self.assertEqual(duplicates, [each * len(frames)] * 2)
            self.assertEqual(cluster.nodes[C].log, frames)
            self.assertSame(cluster)

    def test_longGap(self) -> None:
        """
        When the one missing message comes, the node has all that waited for
        it at once, however much it is.  [pitfall A7]
        """
        timing = timingFor(windowSize=300, maxMessages=100)
        cluster = self.formed(timing=timing)
        base = ring(cluster, A).window.high
        rule = cluster.drop("data", target=C, count=FOREVER, containing=b"first")
        frames = [frameful(cluster, b"first")]
        frames += [frameful(cluster, b"%d" % n) for n in range(1100)]
        arus: set[int] = set()
        watchTokens(
            cluster,
            lambda nodeid, token: arus.add(distance(base, ring(cluster, C).window.aru)),
        )
        self.send(cluster, A, *frames)
        self.assertTrue(
            cluster.runUntil(lambda: len(cluster.nodes[B].log) == 1101, within=2)
        )
        self.assertEqual(cluster.nodes[C].log, [])
        rule.count = 0
        cluster.settle(stay=False)
        self.assertEqual(arus, {0, 1101})
        self.assertTrue(cluster.nodes[C].log == frames)
        self.assertSame(cluster)

    def test_deafNodeStopsTheWindow(self) -> None:
        """
        One who gets tokens but no data, while the others have 20 000 messages
        to send, stops them at the end of the window, and is out when it
        notices.  [pitfall A8]
        """
        cluster = self.formed(timing=timingFor(windowSize=200, maxMessages=100))
        cluster.drop("data", target=C, count=FOREVER)
        ahead = []
        watchTokens(
            cluster,
            lambda nodeid, token: ahead.append(
                distance(token.allReceivedUpTo, token.sequence)
            ),
        )
        frames = [frameful(cluster, b"%d" % n) for n in range(20_000)]
        out = cluster.runUntil
        for number, frame in enumerate(frames):
            self.send(cluster, (A, B)[number % 2], frame)
        self.assertTrue(out(lambda: len(cluster.nodes[B].log) == 20_000, within=5))
        self.assertTrue(16_000 < max(ahead) <= 16_384, max(ahead))
        self.assertIn((A, B), [c.members for c in cluster.nodes[A].configurations])
        cluster.forget()
        cluster.settle()
        self.assertSame(cluster, (A, B))

    def test_flowCount(self) -> None:
        """
        Through two hundred changes of the ring under load, with copied tokens,
        the flow count stays what the members sent in a rotation, and begins
        anew with each ring.  [pitfall A9]
        """
        cluster = self.formed(seed=3, timing=timingFor(0.2))
        most = cluster.timing.windowSize + cluster.timing.maxMessages
        book = FlowBook(cluster)
        cluster.duplicate("token", count=FOREVER, after=0.0003)
        before = changes(cluster)[0]
        while changes(cluster)[0] < before + 400:
            (cluster.stop if cluster.nodes[C].up else cluster.boot)(C)
            cluster.load(rate=300, seconds=0.03, sizes=(10, 5000), nodeids=(A, B))
            self.assertTrue(cluster.runUntil(cluster.formed, within=2))
            cluster.run(0.01)
        cluster.settle()
        self.assertEqual(book.wrong, [])
        self.assertTrue(5 < max(book.counts) <= most, max(book.counts))
        self.assertEqual(book.counts[-1], 0)
        self.assertTrue(book.rings > 200, book.rings)

    def test_emptyQueues(self) -> None:
        """
        With nothing to send anywhere each may send as much as the options
        say, and the first who has work does, at its first visit.
        [pitfall A10]
        """
        cluster = self.formed()
        cluster.run(1)
        allowed: set[int] = set()
        bursts: list[int] = []
        watchTokens(
            cluster,
            lambda nodeid, token: allowed.add(
                ring(cluster, nodeid).flow.allowance(token, 0)
            ),
        )
        cluster.network.watchers.append(
            lambda port, targets, datagrams: bursts.append(len(datagrams))
        )
        cluster.run(10)
        most = cluster.timing.maxMessages
        self.assertEqual((allowed, set(bursts)), ({most}, {1}))
        self.send(cluster, B, *(frameful(cluster, b"%d" % n) for n in range(40)))
        cluster.run(0.01)
        self.assertEqual(max(bursts), most)
        cluster.settle()
        self.assertSame(cluster)

    def test_workEndsTheHold(self) -> None:
        """
        On a ring that was idle for a minute a message of anybody, at any
        moment, is everywhere within 20 ms.  [pitfall A11]
        """
        cluster = self.formed()
        cluster.run(60)
        tokens: list[int] = []
        watchTokens(cluster, lambda nodeid, token: tokens.append(nodeid))
        cluster.run(10)
        self.assertTrue(len(tokens) < 10 * 3 / cluster.timing.hold + 3, len(tokens))
        for moment in range(12):
            cluster.run(5 + moment * 0.0171)
            self.send(cluster, 1 + moment % 3, b"work %d" % moment)
            cluster.run(0.02)
            for node in cluster.nodes.values():
                self.assertEqual(node.log[moment:], [b"work %d" % moment])

    def test_lostHoldCancel(self) -> None:
        """
        When nobody hears that there is work, it waits for the held token, and
        no longer.  [pitfall A11]
        """
        cluster = self.formed()
        rule = cluster.drop("cancel", count=FOREVER)
        for moment in range(8):
            cluster.run(5 + moment * 0.0171)
            met = rule.met
            self.send(cluster, B, b"work %d" % moment)
            cluster.run(cluster.timing.hold + 0.01)
            for node in cluster.nodes.values():
                self.assertEqual(node.log[moment:], [b"work %d" % moment])
            self.assertTrue(rule.met > met)

    def test_failureToReceive(self) -> None:
        """
        One who never receives data leaves the others alone and is alone
        itself.  [pitfall A13]
        """
        cluster = self.formed()
        cluster.drop("data", target=C, count=FOREVER)
        self.send(cluster, A, b"m1")
        cluster.load(rate=50, seconds=2, nodeids=(A,))
        self.assertTrue(
            cluster.runUntil(
                lambda: (
                    cluster.nodes[A].members == cluster.nodes[B].members == (A, B)
                    and cluster.nodes[C].members == (C,)
                ),
                within=5,
            )
        )
        self.assertEqual(cluster.nodes[B].log[0], b"m1")
        self.assertEqual(cluster.nodes[C].log, [])
        before = changes(cluster)
        cluster.run(5 * cluster.timing.consensus)
        self.assertTrue(installs(cluster, before) <= 8, installs(cluster, before))
        cluster.forget()
        cluster.settle()
        self.assertSame(cluster, (A, B))

    def test_notIdleWhileSomebodyIsBehind(self) -> None:
        """
        On a ring without other work, one message that a node can never
        receive costs it its place soon, and neither after so many held tokens
        nor with a token that runs at full speed for long.  [pitfall A12]
        """
        cluster = self.formed()
        cluster.run(10)
        cluster.drop("data", target=C, count=FOREVER, containing=b"never")
        tokens = ring(cluster, A).statistics.tokens
        self.send(cluster, A, b"never")
        self.assertTrue(
            cluster.runUntil(
                lambda: (A, B) in [c.members for c in cluster.nodes[A].configurations],
                within=5,
            )
        )
        self.assertEqual(cluster.nodes[B].log, [b"never"])
        cluster.run(60)
        self.assertEqual(cluster.nodes[C].members, (A, B, C))
        spent = ring(cluster, A).statistics.tokens - tokens
        self.assertTrue(spent * 3 * 0.00022 < 0.2 * 60, spent)

    def test_lateCopy(self) -> None:
        """
        A copy of a message that comes when twenty thousand have followed is
        ignored, as is any that comes a little late.  [pitfall A14]
        """
        cluster = self.formed(timing=timingFor(windowSize=300, maxMessages=200))
        sent = capture(cluster, "data")
        self.send(cluster, A, *(frameful(cluster, b"m%d" % n) for n in range(6)))
        cluster.run(0.1)
        third = next(datagram for _, datagram in sent if b"m3" in datagram)
        self.send(cluster, B, *[frameful(cluster, b"later")] * 20_000)
        cluster.settle(stay=False)
        for nodeid in (A, B, C):
            window = ring(cluster, nodeid).window
            before = (window.aru, window.high, window.delivered, len(window))
            duplicates = ring(cluster, nodeid).statistics.framesDuplicate
            cluster.inject(A if nodeid == B else B, nodeid, third)
            now = ring(cluster, nodeid).statistics.framesDuplicate
            self.assertEqual(now, duplicates + 1)
            self.assertEqual(
                (window.aru, window.high, window.delivered, len(window)), before
            )
        cluster.duplicate("data", count=FOREVER, after=0.1)
        cluster.load(rate=500, seconds=0.5)
        cluster.run(1)
        cluster.settle()
        self.assertSame(cluster)
        self.assertTrue(ring(cluster, C).statistics.framesDuplicate > 100)

    def test_tokenLostAfterSending(self) -> None:
        """
        The token lost by one who has just sent is sent again with the places
        it gave away.  [pitfall A15]
        """
        cluster = self.formed()
        cluster.run(0.05)
        high = ring(cluster, C).window.high
        lost: list[Rule] = []
        cluster.whenSent(
            lambda: lost.append(cluster.drop("token", C, A)),
            "data",
            C,
            A,
            containing=b"m8",
        )
        copies: list[Token] = []
        watchTokens(
            cluster,
            lambda nodeid, token: (
                copies.append(token) if lost and nodeid == C else None
            ),
        )
        self.send(cluster, C, frameful(cluster, b"m7"), frameful(cluster, b"m8"))
        before = changes(cluster)
        cluster.run(0.5)
        self.assertEqual((lost[0].met, changes(cluster)), (1, before))
        self.assertEqual(copies[0], copies[1])
        self.assertEqual(distance(high, copies[1].sequence), 2)
        self.send(cluster, A, b"a")
        cluster.settle()
        self.assertSame(cluster)
        self.assertEqual(len(cluster.nodes[B].log), 3)

    def test_tokenLostWithItsHolder(self) -> None:
        """
        The token lost with one who has just sent: the others agree on what
        they got of it.  [pitfall A15]
        """
        for skip in range(6):
            cluster = self.formed(seed=skip)
            self.send(cluster, C, *(b"c%d" % n * 400 for n in range(40)))
            self.send(cluster, A, *(b"a%d" % n * 400 for n in range(40)))
            cluster.whenSent(partial(cluster.kill, C), "data", C, skip=2 * skip)
            cluster.run(4)
            self.assertFalse(cluster.nodes[C].up)
            cluster.settle()
            self.assertSame(cluster, (A, B))

    def test_alone(self) -> None:
        """
        A ring of one orders ten thousand messages without keeping its timers
        waiting, and does not call itself deeper and deeper.  [pitfall A16]
        """
        cluster = self.formed(1)
        cluster.slow(A, 0.0001)
        listener = Listener(cluster, A)
        turns: Counter[float] = Counter()
        depths: set[int] = set()

        def delivered(message: bytes) -> None:
            turns[cluster.seconds()] += 1
            depths.add(len(traceback.StackSummary.extract(walk(), lookup_lines=False)))

        walk = partial(traceback.walk_stack, None)
        listener.delivered = delivered
        late: list[float] = []
        clock = cluster.running(A).clock
        start = clock.seconds()
        for number in range(100):
            due = 0.01 * number
            clock.callLater(
                due, lambda at=start + due: late.append(clock.seconds() - at)
            )
        for number in range(10_000):
            self.send(cluster, A, b"%d" % number)
        cluster.settle(stay=False)
        cluster.run(1)
        self.assertEqual(cluster.nodes[A].log, [b"%d" % n for n in range(10_000)])
        self.assertEqual(len(late), 100)
        self.assertTrue(max(late) < 0.01, max(late))
        # A frame holds some 60 of these, a visit sends 17 frames.
        self.assertTrue(max(turns.values()) <= 17 * 70, max(turns.values()))
        self.assertTrue(max(depths) - min(depths) < 5, depths)

    def test_aloneWithClients(self) -> None:
        """
        Nor does one with services, whose clients send as much as they can.
        [pitfall A16]
        """
        cluster = self.formed(1, services=True)
        one, other = cluster.client(A), cluster.client(A)
        for client in (one, other):
            client.join(b"group")
        cluster.run(0.1)
        cluster.slow(A, 0.0001)
        for number in range(100):
            one.send(b"group", *(b"%d" % (100 * number + n) for n in range(100)))
        asked = cluster.seconds()
        answer = other.send(b"group", b"other")
        clock = cluster.running(A).clock
        late: list[float] = []
        for number in range(100):
            due = 0.001 * number
            clock.callLater(
                due, lambda at=asked + due: late.append(clock.seconds() - at)
            )
        cluster.run(1)
        self.successResultOf(answer)
        self.assertEqual(len(one.log), 10_001)
        self.assertEqual(one.log, other.log)
        self.assertTrue(len(late) == 100 and max(late) < 0.01, max(late))
        cluster.settle()

    def test_lossyNetwork(self) -> None:
        """
        One datagram in ten lost changes when messages are delivered, not
        which, nor in what order.
        """
        cluster = self.formed(seed=7)
        cluster.faults = Faults(loss=0.1)
        for number in range(60):
            self.send(cluster, 1 + number % 3, b"%d" % number)
        cluster.run(5)
        self.assertSame(cluster)
        self.assertEqual(len(cluster.nodes[A].log), 60)

    def test_reordered(self) -> None:
        """
        Datagrams that overtake each other and come twice make no difference
        either.
        """
        cluster = self.formed(seed=8)
        cluster.faults = Faults(reorder=0.2, reorderBy=0.005, duplication=0.2)
        cluster.load(rate=100, seconds=1, sizes=(10, 1000, 4000))
        cluster.run(3)
        self.assertSame(cluster)
        self.assertTrue(len(cluster.nodes[A].log) > 200)

    def test_slowNode(self) -> None:
        """
        A node that takes 2 ms for everything slows the others down, and
        breaks nothing.
        """
        cluster = self.formed(seed=9)
        cluster.slow(B, 0.002)
        cluster.load(rate=30, seconds=1)
        self.assertQuiet(cluster, 1)
        cluster.calm()
        cluster.settle()
        self.assertSame(cluster)

    def test_eightNodes(self) -> None:
        """
        Rings of every size from 1 to 8 order what all of them send.
        """
        for size in range(1, 9):
            cluster = self.formed(size, seed=size)
            cluster.load(rate=20, seconds=0.5)
            cluster.run(0.5)
            cluster.settle(stay=False)
            self.assertSame(cluster)
            self.assertTrue(len(cluster.nodes[A].log) >= 3 * size)
            self.assertEqual(
                {node.state for node in cluster.nodes.values()}, {In.OPERATIONAL}
            )
