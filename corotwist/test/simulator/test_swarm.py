"""
Plans of runs: drawn, printed, saved, and executed.
"""

from json import loads
from random import Random
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.faults import Faults
from corotwist.simulator.jury import PromiseBroken
from corotwist.simulator.swarm.crowd import Crowd
from corotwist.simulator.swarm.deeds import Deeds
from corotwist.simulator.swarm.draw import CLIENT_DEEDS, VERBS, Drawn, draw
from corotwist.simulator.swarm.plan import (
    APART,
    BROKEN,
    DEEDS,
    DOWN,
    WORK,
    Deed,
    NoPlan,
    Plan,
    When,
    before,
    ended,
)
from corotwist.simulator.swarm.run import DEMAND, Swarm, outcome, replayOf
from corotwist.simulator.swarm.sometimes import EVERYWHERE, INSTALLED, RINGS, SERVICES


def deed(verb: str, at: float = 0.5, **arguments: Any) -> Deed:
    """
    At a time.
    """
    return Deed(verb, When(at), arguments)


def carriedOut(plan: Plan) -> Swarm:
    """
    After the run.
    """
    swarm = Swarm(plan.seed, plan=plan)
    swarm.run()
    return swarm


class PlanTests(SynchronousTestCase):
    """
    A plan is a value.
    """

    def test_drawn(self) -> None:
        """
        Seeds draw different plans, of all sizes, with and without each kind
        of deed and of fault, and with every fate of those outside the core.
        """
        plans = [draw(seed) for seed in range(600)]
        self.assertEqual(draw(7), plans[7])
        self.assertEqual({plan.size for plan in plans}, set(range(1, 17)))
        verbs = [{deed.verb for deed in plan.deeds} for plan in plans]
        self.assertEqual(set.union(*verbs), set(VERBS))
        for verb in VERBS:
            self.assertTrue(any(verb not in some for some in verbs if some), verb)
        smaller = {p.outside for p in plans if len(p.core) < p.size}
        self.assertEqual(smaller, {DOWN, APART, BROKEN})
        self.assertTrue(any(plan.faults.harmless for plan in plans))
        self.assertTrue(any(plan.sealed and plan.faults.corruption for plan in plans))
        self.assertFalse(any(p.faults.corruption for p in plans if not p.sealed))

    def test_bounds(self) -> None:
        """
        Nobody is drawn that there is not, nor anything after the end.
        """
        for seed in range(60):
            for services in (False, True):
                plan = draw(seed, 5, services=services, seconds=3.0)
                self.assertTrue(1 <= plan.size <= 5)
                nodeids = set(range(1, plan.size + 1))
                self.assertTrue(set(plan.core) <= nodeids and plan.core)
                for each in (*plan.deeds, *plan.work):
                    self.assertTrue(0 <= each.when.at < 3.0)
                    self.assertIn(each.arguments.get("nodeid", 1), nodeids)

    def test_triggers(self) -> None:
        """
        Deeds happen at times, when nodes enter states, and when they send.
        """
        deeds = [deed for seed in range(40) for deed in draw(seed).deeds]
        self.assertTrue(any(d.when.state and d.when.later for d in deeds))
        self.assertTrue(any(d.when.kind and d.when.nodeid for d in deeds))
        self.assertTrue(any(not (d.when.state or d.when.kind) for d in deeds))

    def test_json(self) -> None:
        """
        A plan that was saved is the same one, with all its faults.
        """
        for seed in range(30):
            plan = draw(seed, services=seed % 2 == 0)
            again = Plan.fromJson(plan.toJson())
            self.assertEqual(again.toJson(), plan.toJson())
            self.assertEqual(again.deeds, plan.deeds)
            self.assertEqual(again.faults, plan.faults)
            loads(plan.toJson())

    def test_noPlan(self) -> None:
        """
        Files that are no plans are refused, whatever they are.
        """
        whole = draw(1).toJson()
        for text in ("", "[]", "{}", "7", whole[:-5], '{"seed": 1, "x": 2}'):
            self.assertRaises(NoPlan, Plan.fromJson, text)

    def test_unknownVerb(self) -> None:
        """
        So is one that tells to do what nobody can.
        """
        text = evolve(draw(1), deeds=(deed("dance"),)).toJson()
        self.assertRaises(NoPlan, Plan.fromJson, text)

    def test_ended(self) -> None:
        """
        What was planned for later than the end of a run made no difference.
        """
        plan = Plan(1, 2, deeds=(deed("heal", 0.5), deed("heal", 2.0)), seconds=3.0)
        self.assertEqual(len(ended(plan, 1.0).deeds), 1)
        self.assertEqual(ended(plan, 1.0).seconds, 1.0)
        self.assertEqual(ended(plan, 9.0), plan)
        self.assertEqual(before(plan.deeds, 0.1), ())

    def test_verbs(self) -> None:
        """
        Everything that can be drawn can be done.
        """
        self.assertEqual(set(VERBS), DEEDS)
        self.assertEqual({*CLIENT_DEEDS, "multicast"}, WORK)
        for verb in DEEDS:
            self.assertTrue(callable(getattr(Deeds, verb)))
        for verb in WORK:
            self.assertTrue(callable(getattr(Crowd, verb)))

    def test_words(self) -> None:
        """
        A plan and its deeds say what they are.
        """
        plan = Plan(7, 2, deeds=(deed("kill", nodeid=2),), seconds=3.0)
        self.assertEqual(str(plan.deeds[0]), "0.500 kill nodeid 2")
        self.assertIn("2 nodes, seed 7: 1 deeds", str(plan))
        self.assertEqual(replayOf(7, services=False), "corotwist sim --rings --seed 7")
        self.assertEqual(
            replayOf(7, 4, "mine:Runs", services=True),
            "corotwist sim --services --seed 7 --nodes 4 --plan mine:Runs",
        )


class RunTests(SynchronousTestCase):
    """
    A run does what its plan says, and nothing else.
    """

    def test_deeds(self) -> None:
        """
        Deeds happen at their times; those that cannot be done are skipped.
        """
        deeds = (
            deed("kill", 0.5, nodeid=2),
            deed("kill", 0.6, nodeid=2),
            deed("boot", 0.7, nodeid=2),
            deed("pause", 0.8, nodeid=9, seconds=1.0),
        )
        swarm = carriedOut(Plan(1, 3, deeds=deeds, seconds=1.0))
        self.assertEqual(swarm.deeds.done, {"kill": 1, "boot": 1})
        self.assertEqual(swarm.deeds.skipped, {"kill": 1, "pause": 1})
        self.assertEqual(swarm.cluster.nodes[2].lives, 2)

    def test_stateTrigger(self) -> None:
        """
        A deed can wait for a node to enter a state, and a while more.
        """
        when = When(0.0, state="operational", nodeid=2, skip=1, later=0.001)
        plan = Plan(1, 3, deeds=(Deed("kill", when, {"nodeid": 2}),), seconds=2.0)
        swarm = carriedOut(plan)
        self.assertEqual(swarm.deeds.done, {"kill": 1})

    def test_messageTrigger(self) -> None:
        """
        Or for somebody to send something.
        """
        when = When(0.5, kind="token", nodeid=3)
        plan = Plan(1, 3, deeds=(Deed("stop", when, {"nodeid": 1}),), seconds=2.0)
        self.assertEqual(carriedOut(plan).deeds.done, {"stop": 1})

    def test_diesOfIt(self) -> None:
        """
        A process can die of what a client made it send: nobody complains. One
        that is told to leave then does so when it has sent it.
        """
        work = tuple(
            deed("open", 1.0 + i / 10, client=i + 1, nodeid=1, group="red")
            for i in range(8)
        )
        for verb in ("kill", "stop"):
            when = When(1.0, kind="cancel", nodeid=1)
            deeds = (Deed(verb, when, {"nodeid": 1}),)
            plan = Plan(1, 2, services=True, work=work, deeds=deeds, seconds=2.0)
            self.assertEqual(carriedOut(plan).deeds.done, {verb: 1})

    def test_every(self) -> None:
        """
        Each verb can be done, to clusters of every size, and the run goes on
        to a quiet end.
        """
        for size in (1, 3):
            some = draw(3, size)
            drawn = Drawn(Random(3), size)
            deeds = tuple(drawn.deed(v, 0.3 + i / 20) for i, v in enumerate(VERBS))
            plan = evolve(some, size=size, core=(), deeds=deeds, seconds=3.0)
            swarm = carriedOut(plan)
            self.assertTrue(swarm.deeds.done)

    def test_work(self) -> None:
        """
        Messages are sent by whoever is up, and delivered by all.
        """
        work = tuple(
            deed("multicast", 0.5, nodeid=n, size=size, safe=False)
            for n, size in ((1, 10), (2, 0), (3, 3000))
        )
        swarm = carriedOut(Plan(1, 3, work=work, seconds=1.0))
        sizes = [len(message) for message in swarm.cluster.nodes[2].log]
        self.assertEqual(sorted(sizes)[:2], [0, 10])
        self.assertIn(3000, sizes)

    def test_clients(self) -> None:
        """
        Clients come, talk and go; who is gone says nothing.
        """
        work = (
            deed("open", 0.5, client=1, nodeid=1, group="red"),
            deed("open", 0.5, client=2, nodeid=2, group="red"),
            deed("send", 1.0, client=1, group="red", sizes=[3, 4]),
            deed("send", 1.0, client=3, group="red", sizes=[3]),
            deed("send", 1.0, client=1, group="blue", sizes=[3]),
            deed("leave", 1.5, client=2, group="red"),
            deed("close", 1.6, client=1),
            deed("join", 1.7, client=1, group="red"),
        )
        swarm = carriedOut(Plan(1, 2, services=True, work=work, seconds=2.0))
        heard = [len(p) for _, _, p in swarm.crowd.clients[2].log]
        self.assertEqual(sum(heard) > 0, True)
        self.assertEqual(swarm.crowd.counts["refused: NotJoined"], 1)

    def test_cores(self) -> None:
        """
        A part of the cluster makes progress while the others are down, apart,
        or broken.
        """
        for outside in (DOWN, APART, BROKEN):
            deeds = (deed("disk", 0.6, nodeid=3, error="ENOSPC"),)
            plan = Plan(1, 3, core=(1, 2), outside=outside, seconds=1.0, deeds=deeds)
            nodes = carriedOut(plan).cluster.nodes
            self.assertEqual(nodes[1].members, (1, 2))
            self.assertEqual(nodes[3].up, outside != DOWN)
            self.assertEqual(nodes[3].disk.refusing, outside == BROKEN)

    def test_outcome(self) -> None:
        """
        What came of a run is told in numbers.
        """
        plan = Plan(5, 3, deeds=(deed("kill", nodeid=1),), seconds=1.0)
        told = outcome(Swarm(5, plan=plan, keepTrace=True))
        self.assertEqual((told.promise, told.text), ("", ""))
        self.assertEqual((told.faultSeconds, told.done["kill"]), (1.0, 1))
        self.assertTrue(told.events > told.installs > 3)
        self.assertTrue(told.at > 1.0)
        again = outcome(Swarm(5, plan=plan, keepTrace=True))
        self.assertEqual(again.digest, told.digest)

    def test_violation(self) -> None:
        """
        So is a broken promise: a cluster that is to settle with all links
        dead does not.
        """

        class Hopeless(Swarm):
            def finish(self) -> None:
                self.cluster.faults = Faults(loss=1.0)
                self.cluster.run(5.0)
                self.cluster.settle()

        told = outcome(Hopeless(5, plan=Plan(5, 3, seconds=1.0)))
        self.assertEqual(told.promise, "L1")
        self.assertIn("no common ring formed", told.text)
        self.assertIn("corotwist sim --rings --seed 5", told.text)

    def test_raises(self) -> None:
        """
        Whatever is raised is reported like a broken promise.
        """

        class Wrong(Swarm):
            def begin(self) -> None:
                raise ZeroDivisionError("by nothing")

        told = outcome(Wrong(5, plan=Plan(5, 1)))
        self.assertEqual(told.promise, "ZeroDivisionError")

    def test_demand(self) -> None:
        """
        What the run's own class asserts is a demand of its own; what ours
        asserts when it is called from there is not.
        """

        class Picky(Swarm):
            def finish(self) -> None:
                assert self.seed == 4, "only four will do"

        class Clumsy(Swarm):
            def finish(self) -> None:
                self.cluster.clock.callLater(-1.0, print)

        told = outcome(Picky(5, plan=Plan(5, 1, seconds=1.0)))
        self.assertEqual(told.promise, DEMAND)
        first, where, *_ = told.text.splitlines()
        self.assertEqual(first, f"{DEMAND} was not met: only four will do")
        self.assertIn("test_swarm.py, line ", where)
        self.assertIn("in finish: assert self.seed == 4", where)
        self.assertIn(f"--plan {__name__}:", told.text)
        told = outcome(Clumsy(5, plan=Plan(5, 1, seconds=1.0)))
        self.assertEqual(told.promise, "AssertionError")

    def test_storm(self) -> None:
        """
        A run in which far too much happens is stopped.
        """

        class Busy(Swarm):
            def begin(self) -> None:
                self.again()

            def again(self) -> None:
                self.cluster.clock.callLater(1e-6, self.again)

        with self.assertRaises(PromiseBroken) as caught:
            Busy(5, plan=Plan(5, 1)).run()
        self.assertEqual(caught.exception.violation.promise, "L5")

    def test_sometimes(self) -> None:
        """
        Interesting situations are counted, and each is on a list once.
        """
        counts = carriedOut(Plan(5, 3, seconds=1.0)).cluster.sometimes
        self.assertTrue(counts[INSTALLED] >= 3)
        self.assertTrue(len(EVERYWHERE) >= 25)
        for each in (RINGS, SERVICES):
            self.assertEqual(len(set(each)), len(each))
