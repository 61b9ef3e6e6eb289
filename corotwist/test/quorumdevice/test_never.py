"""
Two partitions never have the vote at once, whatever happens.
"""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.quorumdevice.parties import Rule
from corotwist.quorumdevice.values import Health
from corotwist.test.quorumdevice.world import ArbiterWorld, DiskWorld, run

SEEDS = 8
STEPS = 1500
EVENTS = ("split", "split", "lose", "pause", "restart", "ill")


def world(kind: Any, seed: int) -> Any:
    """
    Nodes, and how the device decides.
    """
    random = Random(seed)
    name, tie = random.choice(("ffsplit", "lms")), random.choice(("lowest", "2"))
    return kind(random, random.choice((2, 3, 4, 5)), Rule(name, tie))


class NeverTests(SynchronousTestCase):
    """
    Drawn histories.  In each somebody gets the vote: otherwise nothing would be
    shown.
    """

    def judge(self, kind: Any, *events: str) -> None:
        for seed in range(SEEDS):
            drawn = world(kind, seed)
            run(drawn, STEPS, (*EVENTS, *events))
            self.assertGreater(drawn.casts, 0, f"seed {seed}")

    def test_arbiter(self) -> None:
        """
        Rings split and meet, nodes are cut off, paused, restarted, and so is
        the arbiter: its vote counts in one partition at most.  (C14)
        """
        self.judge(ArbiterWorld, "arbiter")

    def test_disk(self) -> None:
        """
        The same at a disk that is slow, and read one sector after the other.
        (C14)
        """
        self.judge(DiskWorld)

    @settings(max_examples=10)
    @given(st.integers(26, 1 << 32), st.sampled_from((ArbiterWorld, DiskWorld)))
    def test_drawn(self, seed: int, kind: Any) -> None:
        """
        Other histories each time.
        """
        run(world(kind, seed), STEPS // 10, EVENTS)


class LivenessTests(SynchronousTestCase):
    """
    When nothing more happens somebody gets the vote, and keeps it.
    """

    def settle(self, drawn: Any, seconds: float) -> list[int]:
        """
        Everybody runs, and nothing happens.
        """
        until = drawn.now + seconds
        while drawn.now < until:
            drawn.now += 0.1
            for being in drawn.beings.values():
                drawn.turn(being)
            drawn.judge()
        return sorted(b.nodeid for b in drawn.beings.values() if b.until > drawn.now)

    def halves(self, kind: Any, rule: Rule) -> list[int]:
        """
        Four nodes in two halves, and who has the vote in the end.
        """
        drawn = kind(Random(1), 4, rule)
        drawn.ring(1, 2, 3, 4)
        self.assertEqual(self.settle(drawn, 60.0), [1, 2, 3, 4])
        drawn.ring(1, 2)
        drawn.ring(3, 4)
        return self.settle(drawn, 60.0)

    def test_evenSplit(self) -> None:
        """
        Of two halves exactly the one of the tie breaker has the vote.  (C14)
        """
        for kind in (ArbiterWorld, DiskWorld):
            for tie, winners in (
                ("lowest", [1, 2]),
                ("highest", [3, 4]),
                ("3", [3, 4]),
            ):
                rule = Rule("ffsplit", tie)
                self.assertEqual(self.halves(kind, rule), winners, (kind, tie))

    def test_lastMan(self) -> None:
        """
        The last man standing has the vote, a while after the others were lost
        who had it; and keeps it when they are back somewhere else.  (C14)
        """
        for kind in (ArbiterWorld, DiskWorld):
            drawn = kind(Random(2), 3, Rule("lms"))
            drawn.ring(1, 2, 3)
            self.settle(drawn, 60.0)
            for nodeid in (1, 2):
                drawn.beings[nodeid].reachable = False
            drawn.ring(3)
            self.assertEqual(self.settle(drawn, 60.0), [3], kind)
            drawn.ring(1, 2)
            for nodeid in (1, 2):
                drawn.beings[nodeid].reachable = True
            self.assertEqual(self.settle(drawn, 60.0), [3], kind)

    def test_ffsplitNotBelowHalf(self) -> None:
        """
        With ffsplit a partition below half of the nodes gets no vote, whether
        others want it or not.  (C14)
        """
        for kind in (ArbiterWorld, DiskWorld):
            drawn = kind(Random(3), 4, Rule("ffsplit"))
            drawn.ring(4)
            for nodeid in (1, 2, 3):
                drawn.beings[nodeid].reachable = False
            self.assertEqual(self.settle(drawn, 60.0), [], kind)

    def test_heuristics(self) -> None:
        """
        The half whose heuristics fail loses the vote to one whose do not.
        (C15)
        """
        for kind in (ArbiterWorld, DiskWorld):
            drawn = kind(Random(4), 4, Rule("ffsplit"))
            drawn.ring(1, 2, 3, 4)
            self.settle(drawn, 60.0)
            drawn.ring(1, 2)
            drawn.ring(3, 4)
            self.assertEqual(self.settle(drawn, 60.0), [1, 2], kind)
            for nodeid in (1, 2):
                drawn.beings[nodeid].health = Health.FAILED
            self.assertEqual(self.settle(drawn, 60.0), [3, 4], kind)
