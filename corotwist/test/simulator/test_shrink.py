"""
Failing runs made smaller.
"""

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.faults import Faults
from corotwist.simulator.swarm.draw import draw
from corotwist.simulator.swarm.plan import DOWN, Deed, Plan, When
from corotwist.simulator.swarm.run import Outcome, Swarm, outcome
from corotwist.simulator.swarm.shrink import MOST_TRIES, Shrinker, without


class Superstitious(Swarm):
    """
    Takes it ill when node 2 was killed after node 1 had booted again.
    """

    def finish(self) -> None:
        nodes = self.cluster.nodes
        if 2 in nodes and nodes[1].lives > 1 and nodes[2].lives > 1:
            raise ValueError("this is bad luck")


def runIt(plan: Plan) -> Outcome:
    """
    And see what comes of it.
    """
    return outcome(Superstitious(plan.seed, plan=plan))


def deed(verb: str, at: float, **arguments: Any) -> Deed:
    """
    At a time.
    """
    return Deed(verb, When(at), arguments)


RESTARTS = (
    deed("restart", 0.4, nodeid=1, later=0.1),
    deed("restart", 0.7, nodeid=2, later=0.1),
)


class ShrinkTests(SynchronousTestCase):
    """
    What is not needed to break the promise is left out.
    """

    def test_shrinks(self) -> None:
        """
        Of a drawn run with much in it, little more than what matters is left.
        """
        plan = evolve(draw(11, 4, seconds=2.0), size=4, core=())
        deeds = tuple(sorted((*plan.deeds, *RESTARTS), key=lambda deed: deed.when.at))
        plan = evolve(plan, deeds=deeds)
        first = runIt(plan)
        self.assertEqual(first.promise, "ValueError")
        shrinker = Shrinker(runIt, plan, first, tries=150)
        best = shrinker.shrink()
        self.assertEqual(runIt(best).promise, "ValueError")
        self.assertEqual(best.size, 2)
        self.assertTrue(len(best.deeds) <= 4, best.toJson())
        self.assertEqual((best.work, best.faults, best.timing), ((), Faults(), {}))
        self.assertEqual(Plan.fromJson(best.toJson()).toJson(), best.toJson())

    def test_bounded(self) -> None:
        """
        No more runs are tried than was said, and each is told.
        """
        plan = Plan(1, 3, deeds=(*RESTARTS, *RESTARTS), seconds=1.0)
        told: list[int] = []
        shrinker = Shrinker(
            runIt, plan, runIt(plan), 3, tried=lambda s: told.append(s.tries)
        )
        shrinker.shrink()
        self.assertEqual(told, [2, 1, 0])

    def test_ends(self) -> None:
        """
        When nothing more can be left out it ends, and does not go on to gain
        ever less time.
        """
        plan = Plan(1, 2, deeds=RESTARTS, seconds=4.0)
        shrinker = Shrinker(runIt, plan, runIt(plan))
        self.assertTrue(shrinker.shrink().seconds < 1.3)
        self.assertTrue(shrinker.tries > MOST_TRIES - 60, shrinker.tries)

    def test_samePromise(self) -> None:
        """
        A run that breaks another promise is no smaller form of this one.
        """
        plan = Plan(1, 2, deeds=RESTARTS, seconds=1.0)
        first = runIt(plan)
        other = evolve(first, promise="P1.2")
        shrinker = Shrinker(lambda plan: other, plan, first, tries=20)
        self.assertEqual(shrinker.shrink(), plan)

    def test_withoutNode(self) -> None:
        """
        When a node is left out those behind it move up, wherever they are
        named; what was done to it alone is not done.
        """
        deeds = (
            deed("kill", 1.0, nodeid=2),
            deed("kill", 1.0, nodeid=3),
            deed("cut", 1.0, source=1, target=2),
            deed("partition", 1.0, sides=[[1, 3], [2]]),
            deed("swizzle", 1.0, out=[3, 2], back=[2, 3], pace=0.1),
            Deed("heal", When(1.0, state="gather", nodeid=3)),
        )
        plan = without(Plan(1, 3, core=(2, 3), outside=DOWN, deeds=deeds), 2)
        self.assertEqual((plan.size, plan.core), (2, (2,)))
        self.assertEqual(
            [str(deed) for deed in plan.deeds],
            [
                "1.000 kill nodeid 2",
                "1.000 partition sides [[1, 2]]",
                "1.000 swizzle out [2], back [2], pace 0.1",
                "1.000 heal",
            ],
        )
        self.assertEqual(plan.deeds[-1].when.nodeid, 2)
