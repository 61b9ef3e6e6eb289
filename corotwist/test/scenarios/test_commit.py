"""
Stories about agreeing on a ring.  [pitfalls C]
"""

from functools import partial

from corotwist.simulator import Cluster
from corotwist.test.scenarios.story import (
    FOREVER,
    A,
    B,
    C,
    D,
    E,
    Story,
    capture,
    ring,
)
from corotwist.totem.membership import RingId
from corotwist.totem.states import In
from corotwist.totem.wire import CommitToken, decode


class CommitTests(Story):
    """
    Rings being formed.
    """

    def test_otherRepresentative(self) -> None:
        """
        C1: a commit token of the same sequence and another representative is
        another ring's.
        """
        cluster = self.formed()
        cluster.kill(C)
        tokens = capture(cluster, "commit")

        def forge() -> None:
            token = decode(tokens[-1][1])
            assert isinstance(token, CommitToken)
            token.ringId = RingId(token.ringId.sequence, B)
            token.index = 2
            cluster.clock.callLater(0, cluster.inject, A, B, token.encode())

        cluster.whenState(In.COMMIT, forge, B)
        cluster.settle()
        self.assertEqual(ring(cluster, B).ringId.representative, A)
        self.assertEqual(ring(cluster, B).statistics.recoveriesEntered, 3)

    def test_copiedCommitTokens(self) -> None:
        """
        C2: copies of the commit token begin no second ring: each ring has one
        token.
        """
        for after in (0.0, 0.0005, 0.002, 0.02):
            cluster = Cluster(3, seed=1)
            cluster.duplicate("commit", count=FOREVER, after=after)
            cluster.settle()
            cluster.kill(B)
            cluster.settle()

    def test_wrongHop(self) -> None:
        """
        C3: a commit token that comes out of turn is ignored.
        """
        cluster = self.formed(4)
        tokens = capture(cluster, "commit")
        cluster.kill(D)

        def replay() -> None:
            for _, datagram in [*tokens]:
                cluster.clock.callLater(0, cluster.inject, A, C, datagram)
                cluster.clock.callLater(0, cluster.inject, C, A, datagram)

        for state in (In.GATHER, In.COMMIT, In.RECOVERY, In.OPERATIONAL):
            for nodeid in (A, B, C):
                cluster.whenState(state, replay, nodeid)
        cluster.settle()
        self.assertEqual(cluster.nodes[A].members, (A, B, C))
        self.assertTrue(len(tokens) >= 6)

    def test_lostAtAHop(self) -> None:
        """
        C4: one commit token lost, wherever it is, is sent again.
        """
        for skip in range(6):
            cluster = self.formed(4)
            cluster.kill(D)
            rule = cluster.drop("commit", skip=skip)
            cluster.settle(within=1 + 1.2 + 0.6)
            self.assertEqual(rule.met, 1)
            self.assertEqual(ring(cluster, A).statistics.commitsEntered, 3)

    def test_lostForLong(self) -> None:
        """
        C4: when it is lost again and again the nodes gather anew.
        """
        for skip in range(6):
            cluster = self.formed(4)
            cluster.kill(D)
            cluster.run(2.15)
            rule = cluster.drop("commit", skip=skip, count=10)
            cluster.settle(within=8)
            self.assertEqual(rule.met, 10)
            self.assertEqual(cluster.nodes[A].members, (A, B, C))

    def test_severalAttempts(self) -> None:
        """
        C5: what is recovered is the last ring that was installed, however
        many attempts at another fail in between.
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

    def test_lateCommitToken(self) -> None:
        """
        C6: the commit token of a ring that failed is of no use later; the
        next attempt has a higher sequence.
        """
        cluster = self.formed(4)
        tokens = capture(cluster, "commit")
        cluster.kill(D)
        rule = cluster.drop("token", A, B, count=FOREVER)
        cluster.whenState(In.RECOVERY, lambda: None, A)
        cluster.run(3.4)
        self.assertTrue(rule.met > 0)
        self.assertIn(
            cluster.nodes[A].state, (In.GATHER, In.COMMIT, In.RECOVERY), rule.met
        )
        cluster.forget()
        for source, datagram in [*tokens]:
            for target in (A, B, C):
                cluster.inject(source, target, datagram)
        cluster.settle()
        first, *_, last = (decode(datagram) for _, datagram in tokens)
        assert isinstance(first, CommitToken)
        assert isinstance(last, CommitToken)
        self.assertTrue(last.ringId.sequence > first.ringId.sequence)

    def test_manyRestarts(self) -> None:
        """
        C7: tokens of a ring given up are no tokens of the next, with most
        nodes stopping and starting in the middle of forming it.
        """
        cluster = self.formed(5)
        cluster.stop(D)
        cluster.stop(C)
        cluster.whenState(In.RECOVERY, lambda: cluster.stop(A, B), E)
        cluster.run(2)
        self.assertEqual(cluster.live, [E])
        cluster.boot(A, B, C, D)
        cluster.settle()
        self.assertEqual(cluster.nodes[E].members, (A, B, C, D, E))

    def test_oneProposal(self) -> None:
        """
        C8: joins that complete the agreement twice make one proposal.
        """
        cluster = self.formed()
        cluster.duplicate("join", target=A, count=FOREVER)
        tokens = capture(cluster, "commit")
        cluster.stop(C)
        cluster.settle()
        rings = {decode(datagram).ringId for _, datagram in tokens}  # type: ignore[union-attr]
        self.assertEqual(len(rings), 1)

    def test_slowCommit(self) -> None:
        """
        C9: a commit token that takes several join intervals is not overtaken
        by joins of those who wait for it.
        """
        cluster = self.formed()
        cluster.kill(C)
        cluster.delay("commit", count=4, by=0.15)
        cluster.settle(within=3.5)
        self.assertEqual(ring(cluster, A).statistics.commitsEntered, 3)

    def test_slowDisk(self) -> None:
        """
        A disk that takes long delays the ring, and no name leaves before it
        is stored.
        """
        cluster = Cluster(3, boot=False)
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
