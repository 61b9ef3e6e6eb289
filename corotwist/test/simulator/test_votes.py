"""
The judge of quorum: bad verdicts, one by one, and whole clusters that count.
"""

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import QuorumSettings
from corotwist.engines.votequorum import VoteQuorumEngine
from corotwist.simulator import Cluster, PromiseBroken
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.judges.votes import RINGS_REMEMBERED, Tally, VotesJudge
from corotwist.totem.membership import RingId

PROVIDER = "corosync_votequorum"
R1, R2, R3 = RingId(4, 1), RingId(8, 1), RingId(8, 4)


class VotesTests(SynchronousTestCase):
    """
    Five nodes with a vote each.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = VotesJudge(self.violations.append)

    def boot(self, size: int = 5, **rules: Any) -> list[Life]:
        expected = rules.pop("expectedVotes", size)
        lives = [Life(n) for n in range(1, size + 1)]
        for life in lives:
            self.judge.booted(life, QuorumSettings(PROVIDER, expected, **rules))
        return lives

    def count(
        self,
        *lives: Life,
        ringId: RingId = R1,
        quorate: bool | None = None,
        expected: int = 5,
        quorum: int = 3,
        votes: int | None = None,
        members: tuple[int, ...] = (),
        now: float = 0.0,
    ) -> None:
        there = members or tuple(life.nodeid for life in lives)
        total = len(there) if votes is None else votes
        may = total >= quorum if quorate is None else quorate
        for life in lives:
            tally = Tally(total, expected, quorum, may)
            self.judge.counted(life, ringId, there, tally, now)

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def test_good(self) -> None:
        """
        All meet, two are cut off, and are no quorum.
        """
        lives = self.boot()
        self.count(*lives)
        for life in lives:
            self.judge.left(life, 1.0)
        self.count(*lives[:3], ringId=R2, now=1.0)
        self.count(*lives[3:], ringId=R3, now=1.0)
        self.assertFound()

    def test_two(self) -> None:
        """
        VQ1: two parts with a quorum each, at the same time; P8: as a quorum
        follows another that shares nobody with it.
        """
        lives = self.boot()
        self.count(*lives[:3], ringId=R2)
        self.count(*lives[3:4], ringId=R3, quorate=True, quorum=1, expected=1)
        self.assertFound("VQ6", "VQ1", "VQ1", "VQ1", "P8")

    def test_oneAfterTheOther(self) -> None:
        """
        P8 alone, when the first is over.
        """
        lives = self.boot()
        self.count(*lives[:3], ringId=R2)
        for life in lives[:3]:
            self.judge.left(life, 1.0)
        self.count(*lives[3:], ringId=R3, quorate=True, quorum=2, now=2.0, expected=3)
        self.assertFound("VQ6", "P8", "VQ6")

    def test_stale(self) -> None:
        """
        VQ1t: one who does not know yet that the others went on is measured.
        """
        lives = self.boot()
        self.count(*lives)
        for life in lives[:4]:
            self.judge.left(life, 1.0)
        self.count(*lives[:4], ringId=R2, now=2.0)
        self.judge.left(lives[4], 5.5)
        self.assertFound()
        self.assertEqual(self.judge.stalest, 3.5)

    def test_different(self) -> None:
        """
        VQ2: two members of a ring with different verdicts.
        """
        a, b, *_ = self.boot()
        self.count(a, members=(1, 2, 3))
        self.count(b, members=(1, 2, 3), quorate=False)
        self.assertFound("VQ2")

    def test_laterVerdicts(self) -> None:
        """
        VQ2: a ring's second verdicts are compared with each other, not with
        its first.
        """
        lives = self.boot()
        self.judge.operator()
        self.count(*lives)
        self.count(*lives, expected=7, quorum=4)
        self.assertFound()
        self.count(lives[0], expected=9, quorum=5, members=(1, 2, 3, 4, 5))
        self.count(lives[1], expected=9, quorum=6, members=(1, 2, 3, 4, 5))
        self.assertFound("VQ2")

    def test_miscounted(self) -> None:
        """
        VQ0: votes are all counted, a majority is more than half, and it has to
        be there.
        """
        lives = self.boot()
        self.count(lives[0], members=(1, 2, 3), votes=4)
        self.assertFound("VQ0")
        self.count(lives[0], members=(1, 2, 3), quorum=2, ringId=R2)
        self.assertEqual(self.violations[1].promise, "VQ0")
        self.count(lives[1], members=(1, 2), quorate=True, quorum=3, ringId=R3)
        self.assertIn("fewer votes", self.violations[-1].text)

    def test_lowered(self) -> None:
        """
        VQ8: the quorum does not sink by itself; an operator may lower it.
        """
        lives = self.boot()
        self.count(*lives, quorum=4)
        self.count(*lives, quorum=3, ringId=R2)
        self.assertFound(*["VQ8"] * 5)
        self.judge.operator()
        self.count(*lives, quorum=1, ringId=RingId(12, 1))
        self.assertFound(*["VQ8"] * 5)

    def test_didNotWait(self) -> None:
        """
        VQ4: who waits for all acts only after it saw all, or was taken in.
        """
        lives = self.boot(waitForAll=True)
        self.count(*lives[:3])
        self.assertFound("VQ4", "VQ4", "VQ4")
        self.violations.clear()
        self.count(*lives, ringId=R2)
        again = Life(5, 2)
        self.judge.ended(lives[4], 2.0)
        self.judge.booted(again, QuorumSettings(PROVIDER, 5, waitForAll=True))
        self.count(*lives[1:4], again, ringId=RingId(12, 2), now=3.0)
        self.assertFound()

    def test_sawAll(self) -> None:
        """
        VQ4: all votes were there in a round that was aborted behind the
        verdict: that is enough.
        """
        lives = self.boot(waitForAll=True)
        for life in lives:
            self.judge.met(life, Tally(5, 5, 3, quorate=True))
        self.count(*lives[:3])
        self.assertFound()

    def test_twoNodes(self) -> None:
        """
        VQ3: one of two suffices, but only after both had met.
        """
        a, b = self.boot(2, twoNode=True, waitForAll=True)
        self.count(a, quorum=1, expected=2)
        self.assertFound("VQ3")
        self.violations.clear()
        self.count(a, b, quorum=1, expected=2, ringId=R2)
        self.count(a, quorum=1, expected=2, ringId=RingId(12, 1))
        self.count(b, quorum=1, expected=2, ringId=RingId(12, 2))
        self.assertFound()

    def test_half(self) -> None:
        """
        VQ5: with a tie breaker half of the votes may act, and no fewer, and
        never both halves.
        """
        lives = self.boot(4, tieBreaker="lowest")
        self.count(*lives[:2], quorate=True, expected=4)
        self.assertFound()
        self.count(*lives[2:], ringId=R2, quorate=True, expected=4)
        self.assertEqual({v.promise for v in self.violations}, {"VQ1", "P8"})

    def test_shrinks(self) -> None:
        """
        VQ6, VQ7: fewer votes are expected with last_man_standing, and after
        clean leaves with allow_downscale, but not below the barrier.
        """
        lives = self.boot(5, lastManStanding=True)
        self.count(*lives[:3], expected=3, quorum=2)
        self.assertFound()
        lives = self.boot(5, allowDownscale=True, barrier=3)
        self.count(*lives[:3], ringId=R2, expected=3, quorum=2)
        self.assertFound()
        self.count(*lives[:2], ringId=R3, expected=2, quorum=2)
        self.assertFound("VQ7", "VQ7")

    def test_bounded(self) -> None:
        """
        Old rings are forgotten.
        """
        lives = self.boot()
        for number in range(2 * RINGS_REMEMBERED):
            self.count(*lives, ringId=RingId(number, 1))
        self.assertFound()
        self.assertEqual(len(self.judge._verdicts), RINGS_REMEMBERED)


def nodes(votes: Mapping[int, int]) -> dict[int, dict[str, int]]:
    return {nodeid: {"quorum_votes": number} for nodeid, number in votes.items()}


class CountingTests(SynchronousTestCase):
    """
    Whole clusters with the quorum provider.
    """

    def cluster(self, size: int, seed: int = 1, **options: Any) -> Cluster:
        nodelist = options.pop("nodelist", None)
        quorum = {"provider": PROVIDER, **options}
        return Cluster(
            size, seed, services=True, quorum=quorum, nodelist=nodelist or {}
        )

    def explained(self, cluster: Cluster, nodeid: int) -> Tally:
        engine = cluster.services(nodeid).manager.engines["votequorum"]
        return Tally.of(engine.explanation())

    def test_manyVotes(self) -> None:
        """
        VQ0: totals beyond 255 and beyond 65 535 are numbers like others.
        """
        for each in (100, 30_000, 1_000_000):
            cluster = self.cluster(3, nodelist=nodes(dict.fromkeys((1, 2, 3), each)))
            cluster.settle()
            tally = Tally(3 * each, 3 * each, 3 * each // 2 + 1, quorate=True)
            self.assertEqual(self.explained(cluster, 2), tally)
            cluster.partition({1}, {2, 3})
            cluster.run(6.0)
            self.assertTrue(self.explained(cluster, 2).quorate)
            self.assertFalse(self.explained(cluster, 1).quorate)

    def test_takenIn(self) -> None:
        """
        VQ2: a part that may act takes in a node that waits for all, though it
        needs that node's vote to stay quorate: it heard its own members first.
        """
        for seed in range(2):
            cluster = self.cluster(6, seed, wait_for_all=True)
            cluster.settle()
            cluster.partition({1, 2, 3, 4, 6}, {5})
            cluster.run(6.0)
            self.assertEqual(
                [self.explained(cluster, n).quorate for n in (1, 5)], [True, False]
            )
            cluster.kill(3, 6)
            cluster.heal()
            cluster.settle()
            for nodeid in (1, 2, 4, 5):
                self.assertTrue(self.explained(cluster, nodeid).quorate)

    def test_stale(self) -> None:
        """
        VQ1t: a paused node calls itself quorate until it hears of the new ring.
        """
        cluster = self.cluster(3)
        cluster.settle()
        cluster.pause(3, 5.0)
        cluster.run(8.0)
        cluster.settle()
        self.assertGreater(cluster.jury.votes.stalest, 1.0)

    def test_twoNodes(self) -> None:
        """
        VQ3: each of two nodes goes on alone, once they had met.
        """
        cluster = self.cluster(2, two_node=True, expected_votes=2)
        cluster.settle()
        cluster.partition({1}, {2})
        cluster.settle()
        self.assertTrue(self.explained(cluster, 1).quorate)
        self.assertTrue(self.explained(cluster, 2).quorate)

    def test_awake(self) -> None:
        """
        An engine that lets half of the votes decide is caught.
        """

        def explained(engine: VoteQuorumEngine) -> dict[str, int | bool | str]:
            votes = engine.published.total
            numbers = {"votes": votes, "expected": 4, "quorum": 2}
            return {**numbers, "quorate": votes >= 2, "rule": "half will do"}

        self.patch(VoteQuorumEngine, "explanation", explained)
        cluster = self.cluster(4)
        cluster.partition({1, 2}, {3, 4})
        with self.assertRaises(PromiseBroken) as raised:
            cluster.settle()
        self.assertIn(raised.exception.violation.promise, ("VQ0", "VQ1", "P8"))
