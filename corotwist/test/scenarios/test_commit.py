"""
Stories about agreeing on a ring.  [pitfalls C]
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

from corotwist.simulator import Cluster
from corotwist.simulator.faults import Rule
from corotwist.test.scenarios.story import (
    FOREVER,
    A,
    B,
    C,
    D,
    E,
    Story,
    capture,
    commitTokens,
    eachTime,
    ring,
    watchTokens,
)
from corotwist.totem.membership import RingId
from corotwist.totem.sequence import MASK
from corotwist.totem.states import In
from corotwist.totem.wire import CommitToken, Token, decode


class CommitTests(Story):
    """
    Rings being formed.
    """

    def test_otherRepresentative(self) -> None:
        """
        A commit token of the same sequence and another representative is
        another ring's.  [pitfall C1]
        """
        cluster = self.formed()
        cluster.kill(C)
        tokens = capture(cluster, "commit")

        def forge() -> None:
            token = decode(tokens[-1][1])
            assert isinstance(token, CommitToken)
            token.ringId = RingId(token.ringId.sequence, B)
            token.index = 2
            # When its own name is stored, and it waits for the second round.
            cluster.clock.callLater(0.0015, hear, token.encode())

        def hear(datagram: bytes) -> None:
            self.assertTrue(ring(cluster, B).tokenFrame)
            cluster.inject(A, B, datagram)
            heard.append(cluster.nodes[B].state)

        heard: list[In] = []
        cluster.delay("commit", B, A, by=0.01)
        cluster.whenState(In.COMMIT, forge, B)
        cluster.settle()
        self.assertEqual(heard, [In.COMMIT])
        self.assertEqual(ring(cluster, B).ringId.representative, A)
        self.assertEqual(ring(cluster, B).statistics.recoveriesEntered, 3)

    def test_copiedCommitTokens(self) -> None:
        """
        Copies of the commit token begin no second ring: the representative
        sends one first token for each, once.  [pitfall C2]
        """
        for late in (0.0, 0.0005, 0.002, 0.02):
            cluster = self.cluster(seed=1)
            first: Counter[RingId] = Counter()
            watchTokens(
                cluster,
                lambda nodeid, token, first=first: first.update(  # type: ignore[misc]
                    [token.ringId] * (token.tokenSequence == self.firstTokenSequence)
                ),
            )
            cluster.duplicate("commit", count=FOREVER, after=late)
            cluster.settle()
            cluster.kill(B)
            cluster.settle()
            self.assertTrue(len(first) >= 2)
            self.assertEqual(set(first.values()), {1})

    def test_wrongHop(self) -> None:
        """
        A commit token that comes out of turn is ignored: everybody signs
        once, in its place.  [pitfall C3]
        """
        cluster = self.formed(4)
        tokens = capture(cluster, "commit")
        cluster.kill(D)

        def replay() -> None:
            for sender, datagram in [*tokens]:
                for target in (A, B, C):
                    if target != sender:
                        cluster.clock.callLater(
                            0, cluster.inject, sender, target, datagram
                        )

        for state in (In.GATHER, In.COMMIT, In.RECOVERY, In.OPERATIONAL):
            for nodeid in (A, B, C):
                eachTime(cluster, state, nodeid, replay)
        cluster.settle()
        self.assertEqual(cluster.nodes[A].members, (A, B, C))
        indexes = [
            (sender, token.index)
            for sender, token in zip(dict(tokens), commitTokens(tokens), strict=False)
        ]
        self.assertEqual(indexes, [(A, 1), (B, 2), (C, 3)])
        self.assertTrue(all(token.index <= 3 for token in commitTokens(tokens)))
        for nodeid in (A, B, C):
            self.assertEqual(ring(cluster, nodeid).statistics.commitsEntered, 3)

    def test_lostAtAHop(self) -> None:
        """
        One commit token lost, at whatever hop of either round, is sent again.
        [pitfall C4]
        """
        for size in (2, 3, 4):
            for hop in range(2 * size):
                cluster = self.formed(size + 1)
                cluster.kill(size + 1)
                source = hop % size + 1
                target = source % size + 1
                rule = cluster.drop("commit", source, target, skip=hop // size)
                cluster.settle(within=1 + 1.2 + 0.6)
                self.assertEqual(rule.met, 1)
                self.assertEqual(ring(cluster, A).statistics.commitsEntered, 3)

    def test_lostForLong(self) -> None:
        """
        When it is lost there again and again, the nodes gather anew after a
        token timeout.  [pitfall C4]
        """
        for size in (2, 3, 4):
            for hop in range(2 * size):
                cluster = self.formed(size + 1)
                cluster.kill(size + 1)
                source = hop % size + 1
                target = source % size + 1
                rule = cluster.drop(
                    "commit", source, target, count=10, skip=hop // size
                )
                cluster.runUntil(lambda rule=rule: rule.met > 0, within=3)  # type: ignore[misc]
                gathers = ring(cluster, A).statistics.gathersEntered
                cluster.run(cluster.timing.token + 0.01)
                entered = ring(cluster, A).statistics.gathersEntered - gathers
                self.assertTrue(entered >= 1, (size, hop))
                cluster.settle(within=12)
                self.assertEqual(rule.met, 10)
                self.assertEqual(cluster.nodes[A].members, (*range(1, size + 1),))

    def test_severalAttempts(self) -> None:
        """
        What is recovered is the last ring that was installed, however many
        attempts at another fail in between.  [pitfall C5]
        """
        for seed in range(5):
            cluster = self.formed(5, seed=seed)
            cluster.drop("data", A, C, count=FOREVER, containing=b"kept")
            self.send(cluster, A, b"kept")
            cluster.run(0.02)
            cluster.whenState(In.RECOVERY, partial(cluster.kill, E), E)
            cluster.whenState(In.COMMIT, partial(cluster.kill, D), D, skip=1)
            cluster.kill(A)
            cluster.run(12)
            cluster.forget()
            cluster.settle()
            self.assertEqual(cluster.nodes[C].log, cluster.nodes[B].log)
            self.assertEqual(cluster.nodes[C].log, [b"kept"])

    def test_threeAttemptsWithNewcomers(self) -> None:
        """
        Three attempts fail because a newcomer dies in each.  Who comes along
        is told of the ring before all of them, whose frames are as they were.
        [pitfall C5]
        """
        newcomers = (D, E, 6)
        cluster = self.cluster(6, boot=False)
        cluster.boot(A, B, C)
        cluster.settle()
        rule = cluster.drop("data", A, C, count=FOREVER, containing=b"kept")
        self.send(cluster, A, b"kept")
        cluster.run(0.02)
        old = ring(cluster, C).window
        had = (old.ringId, old.aru, old.delivered)
        commits = ring(cluster, B).statistics.commitsEntered
        for nodeid in newcomers:
            cluster.boot(nodeid)
            cluster.whenState(In.COMMIT, partial(cluster.kill, nodeid), nodeid, skip=1)
        before = cluster.nodes[C].configurations
        while not set(newcomers) <= set(cluster.down):
            cluster.run(0.05)
            self.assertEqual(cluster.nodes[C].configurations, before)
            self.assertIs(ring(cluster, C).window, old)
            self.assertEqual((old.ringId, old.aru, old.delivered), had)
        rule.count = 0
        cluster.settle()
        self.assertTrue(ring(cluster, B).statistics.commitsEntered - commits >= 4)
        transitional, regular = cluster.nodes[C].configurations[len(before) :]
        self.assertEqual((transitional.members, transitional.left), ((A, B, C), ()))
        self.assertEqual((regular.members, regular.joined), ((A, B, C), ()))
        self.assertEqual(cluster.nodes[C].log, [b"kept"])

    def test_lateCommitToken(self) -> None:
        """
        The commit token of a ring that failed is of no use later; the next
        attempt has a higher sequence.  [pitfall C6]
        """
        cluster = self.formed(4)
        tokens = capture(cluster, "commit")
        cluster.kill(D)
        lost: list[Rule] = []
        cluster.whenState(
            In.RECOVERY,
            lambda: lost.append(cluster.drop("token", A, B, count=FOREVER)),
            A,
        )
        self.assertTrue(
            cluster.runUntil(lambda: bool(lost) and lost[0].met > 0, within=4)
        )
        late = [*tokens]
        self.assertTrue(len(late) >= 6)
        failed = ring(cluster, A).ringId
        heard: set[In] = set()

        def hear(target: int) -> None:
            for source, datagram in late:
                if source != target:
                    heard.add(cluster.nodes[target].state)
                    self.hearOfThePast(cluster, source, target, datagram)

        for state in (In.GATHER, In.COMMIT, In.OPERATIONAL):
            for target in (A, B, C):
                eachTime(
                    cluster,
                    state,
                    target,
                    partial(cluster.clock.callLater, 0, hear, target),
                )
        cluster.run(1.5)
        self.assertTrue({In.GATHER, In.COMMIT} <= heard, heard)
        self.assertTrue(ring(cluster, A).statistics.gathersEntered > 4)
        cluster.forget()
        cluster.settle()
        self.assertTrue(ring(cluster, A).ringId.sequence > failed.sequence)
        self.assertEqual(cluster.nodes[C].members, (A, B, C))

    def hearOfThePast(
        self, cluster: Cluster, source: int, target: int, datagram: bytes
    ) -> None:
        core = ring(cluster, target)
        before = (core.state, core.ringId, core.proposed)
        cluster.inject(source, target, datagram)
        self.assertEqual((core.state, core.ringId, core.proposed), before)

    def test_manyRestarts(self) -> None:
        """
        Tokens of a ring given up are no tokens of the next, with most nodes
        stopping and starting in the middle of forming it.  [pitfall C7]
        """
        for seed in range(6):
            cluster = self.formed(5, seed=seed)
            tokens = capture(cluster, "token")
            refused: list[bool] = []

            def replay(
                cluster: Cluster = cluster,
                tokens: list[tuple[int, bytes]] = tokens,
                refused: list[bool] = refused,
            ) -> None:
                """
                Node 5 hears a token of each ring there was, made to look new.
                """
                core = ring(cluster, E)
                newest = {}
                for _, datagram in tokens:
                    token = decode(datagram)
                    assert isinstance(token, Token)
                    newest[token.ringId] = token
                for token in newest.values():
                    token.tokenSequence = (core.lastTokenSequence + 1) & MASK
                    accepted = core.statistics.tokens
                    if core.state in (In.GATHER, In.COMMIT):
                        cluster.inject(A, E, token.encode())
                        refused.append(core.statistics.tokens == accepted)

            for state in (In.GATHER, In.COMMIT):
                eachTime(
                    cluster,
                    state,
                    E,
                    lambda c=cluster, replay=replay: c.clock.callLater(0, replay),  # type: ignore[misc]
                )

            stop: Callable[[], object]
            stop = partial(cluster.clock.callLater, 0, cluster.stop, A, B)
            if seed % 2:
                stop = partial(cluster.whenSent, stop, "token", B, E)
            cluster.run(0.05)
            cluster.stop(D)
            cluster.stop(C)
            cluster.whenState(In.RECOVERY, stop, E)
            cluster.runUntil(lambda c=cluster: c.live == [E], within=2)  # type: ignore[misc]
            self.assertEqual(cluster.live, [E])
            cluster.run(seed * 0.004)
            cluster.boot(A, B, C, D)
            cluster.settle()
            self.assertEqual(cluster.nodes[E].members, (A, B, C, D, E))
            self.assertTrue(len(refused) > 2 and all(refused), refused)

    def test_oneProposal(self) -> None:
        """
        Joins that complete the agreement twice, one right after the other or
        in one turn of the reactor, make one proposal.  [pitfall C8]
        """
        for wait in (0.0, 0.02):
            cluster = self.formed()
            cluster.duplicate("join", target=A, count=FOREVER)
            tokens = capture(cluster, "commit")
            cluster.stop(C)
            if wait:
                cluster.pause(A, wait)
            cluster.settle()
            proposals = [t for t in commitTokens(tokens) if t.index == 1]
            self.assertEqual(len({t.ringId for t in commitTokens(tokens)}), 1)
            self.assertEqual(len({t.encode() for t in proposals}), 1)
            self.assertEqual(ring(cluster, A).statistics.commitsEntered, 3)

    def test_slowCommit(self) -> None:
        """
        A commit token that takes several join intervals is not overtaken by
        joins of those who wait for it, nor by those they sent before.
        [pitfall C9]
        """
        cluster = self.formed()
        cluster.kill(C)
        joins = capture(cluster, "join")
        cluster.delay("commit", count=4, by=0.15)

        def again() -> None:
            for source, datagram in [*joins]:
                cluster.inject(source, B if source == A else A, datagram)

        for nodeid in (A, B):
            cluster.whenState(
                In.COMMIT, partial(cluster.clock.callLater, 0.05, again), nodeid
            )
        cluster.settle(within=3.5)
        self.assertEqual(ring(cluster, A).statistics.commitsEntered, 3)

    def test_slowDisk(self) -> None:
        """
        A disk that takes long delays the ring, and no name leaves before it
        is stored.
        """
        cluster = self.cluster(boot=False)
        for node in cluster.nodes.values():
            node.disk.syncSeconds = 0.1
        cluster.boot(A, B, C)
        cluster.settle()
        cluster.kill(B)
        cluster.settle()

    def test_verySlowDisk(self) -> None:
        """
        Even one that takes longer than the token timeout; it has its ring
        when it is fast again.
        """
        cluster = self.formed()
        cluster.nodes[B].disk.syncSeconds = 3.0
        cluster.kill(C)
        cluster.run(10)
        cluster.nodes[B].disk.syncSeconds = 0.001
        cluster.settle(within=12)
