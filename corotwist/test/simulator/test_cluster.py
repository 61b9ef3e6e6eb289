"""
A cluster in one process: what a user's test can do with it.
"""

import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.simulator import Cluster, Faults, PromiseBroken, Violation, timingFor
from corotwist.simulator.process import Delivered
from corotwist.simulator.swarm.run import Swarm
from corotwist.totem.membership import Configuration
from corotwist.totem.states import In

RUN = """
import sys
from corotwist.simulator.swarm.run import Swarm
services = sys.argv[2] == "services"
cluster = Swarm(int(sys.argv[1]), keepTrace=True, services=services).run()
for line in cluster.trace.lines():
    print(line)
"""


def inAnotherProcess(seed: int, hashSeed: str, what: str) -> Popen[bytes]:
    """
    Begin a run whose trace comes out.
    """
    root = str(Path(corotwist.__file__).parent.parent)
    environment = os.environ | {"PYTHONHASHSEED": hashSeed, "PYTHONPATH": root}
    arguments = [sys.executable, "-c", RUN, str(seed), what]
    return Popen(arguments, stdout=PIPE, env=environment)


class ClusterTests(SynchronousTestCase):
    """
    Stories.
    """

    def test_story(self) -> None:
        """
        A story is told in few words: a partition, messages on both sides, and
        one ring again.
        """
        cluster = Cluster(size=5, seed=7, faults=Faults(loss=0.1))
        cluster.run(seconds=2.0)
        cluster.partition({1, 2}, {3, 4, 5})
        cluster.run(seconds=6.0)
        self.assertTrue(cluster.multicast(1, b"x"))
        self.assertTrue(cluster.multicast(3, b"y"))
        cluster.run(seconds=3.0)
        self.assertEqual(
            [n.log for n in cluster.nodes.values()], [[b"x"]] * 2 + [[b"y"]] * 3
        )
        cluster.faults = Faults()
        cluster.heal()
        cluster.settle()
        self.assertEqual({n.members for n in cluster.nodes.values()}, {(1, 2, 3, 4, 5)})

    def test_nodes(self) -> None:
        """
        A node tells what it saw, and starts with nothing after a restart.
        """
        cluster = Cluster(2)
        cluster.settle()
        node = cluster.nodes[2]
        cluster.multicast(1, b"m")
        cluster.run(0.1)
        self.assertEqual(node.events[-1], Delivered(1, b"m"))
        self.assertIsInstance(node.events[0], Configuration)
        self.assertIs(node.configurations[-1], node.configuration)
        self.assertEqual((node.state, node.up), (In.OPERATIONAL, True))
        self.assertTrue(node.statistics.framesDelivered >= 1)
        cluster.kill(2)
        self.assertEqual((node.state, node.up), (In.STOPPED, False))
        self.assertEqual((node.log, cluster.live), ([b"m"], [1]))
        cluster.boot(2)
        self.assertEqual(node.log, [])
        cluster.settle()
        self.assertEqual(node.members, (1, 2))

    def test_downOrUp(self) -> None:
        """
        What cannot be done to a node is a mistake of the story.
        """
        cluster = Cluster(2, boot=False)
        self.assertRaises(AssertionError, cluster.kill, 1)
        self.assertRaises(AssertionError, cluster.multicast, 1, b"")
        cluster.boot(1)
        self.assertRaises(AssertionError, cluster.boot, 1)
        self.assertRaises(AssertionError, cluster.drop, "tokens")

    def test_runUntil(self) -> None:
        """
        Time goes on until something holds, or for so long.
        """
        cluster = Cluster(2)
        self.assertTrue(cluster.runUntil(lambda: cluster.nodes[1].members == (1, 2), 1))
        before = cluster.seconds()
        self.assertFalse(cluster.runUntil(lambda: False, 0.5))
        self.assertAlmostEqual(cluster.seconds(), before + 0.5, places=2)

    def test_notSettled(self) -> None:
        """
        When what must come does not, the run fails and tells where everybody
        is.
        """
        cluster = Cluster(2, seed=99, replay="some command")
        cluster.settle()
        cluster.drop("commit", count=float("inf"))
        cluster.kill(2)
        cluster.boot(2)
        broken = self.assertRaises(PromiseBroken, cluster.settle)
        self.assertEqual(broken.violation.promise, "L1")
        for part in ("seed 99", "some command", "commit (1, 2)", '"ev":"boot"'):
            self.assertIn(part, str(broken))

    def test_brokenPromise(self) -> None:
        """
        A run ends at the first violation, and says which, when and who.
        """
        cluster = Cluster(3, seed=5)
        cluster.settle()
        life = cluster.running(2).life
        configuration = cluster.nodes[2].configuration
        assert configuration is not None
        cluster.clock.callLater(
            0.25, cluster.jury.evs.delivered, life, configuration.ringId, 77, 1, b""
        )
        broken = self.assertRaises(PromiseBroken, cluster.run, 2)
        self.assertEqual(broken.violation.promise, "P1.2")
        self.assertAlmostEqual(cluster.seconds(), 1.25, places=1)
        self.assertRaises(PromiseBroken, cluster.run, 1)

    def test_brokenBetween(self) -> None:
        """
        What is broken between two runs is told before time goes on.
        """
        cluster = Cluster(size=1)
        cluster.run(0.5)
        cluster.jury.violated(Violation("P1.2", "out of nothing", ()))
        self.assertRaises(PromiseBroken, cluster.run, 1.0)
        self.assertEqual(cluster.seconds(), 0.5)

    def test_brokenCore(self) -> None:
        """
        A core that raises is a violation, too.
        """
        cluster = Cluster(2)
        cluster.settle()
        protocol = cluster.running(2).service.protocol
        assert protocol is not None
        protocol.ring.window = None  # type: ignore[assignment]
        broken = self.assertRaises(PromiseBroken, cluster.run, 2)
        self.assertEqual(broken.violation.promise, "I4")

    def test_triggers(self) -> None:
        """
        Something can be done when a node enters a state or a datagram leaves.
        """
        cluster = Cluster(3)
        cluster.settle()
        done = []
        cluster.whenState(In.GATHER, lambda: done.append("gather"), 2)
        cluster.whenState(In.GATHER, lambda: done.append("second"), 2, skip=1)
        cluster.whenSent(lambda: done.append("join"), "join", source=2)
        cluster.kill(3)
        cluster.run(1.2)
        self.assertEqual(done, ["gather", "join"])
        cluster.run(2)
        self.assertEqual(done, ["gather", "join", "second"])
        cluster.whenState(In.GATHER, lambda: done.append("never"))
        cluster.forget()
        cluster.kill(2)
        cluster.settle()
        self.assertNotIn("never", done)

    def test_killWithinAnEffect(self) -> None:
        """
        A process killed in the middle of something does nothing more.
        """
        cluster = Cluster(3)
        cluster.settle()
        cluster.whenState(In.RECOVERY, lambda: cluster.kill(2), 2)
        cluster.kill(3)
        cluster.run(3)
        life = cluster.nodes[2].lives
        lines = [*cluster.trace.lines(2)]
        self.assertIn('"ev":"fail"', lines[-1])
        self.assertEqual(life, 1)
        cluster.settle()
        self.assertEqual(cluster.nodes[1].members, (1,))

    def test_parts(self) -> None:
        """
        Who can hear each other, directly or through others, is one part.
        """
        cluster = Cluster(4, boot=False)
        self.assertEqual(cluster.parts(), [{1, 2, 3, 4}])
        cluster.partition({1, 3}, {2})
        self.assertEqual(cluster.parts(), [{1, 3}, {2}, {4}])
        cluster.heal()
        cluster.cut(1, 2)
        self.assertEqual(cluster.parts(), [{1, 2, 3, 4}])

    def test_timing(self) -> None:
        """
        Timers follow from the token timeout, unless said otherwise.
        """
        timing = timingFor(3.0, join=0.1)
        self.assertAlmostEqual(timing.tokenRetransmit, 0.714, places=3)
        self.assertAlmostEqual(timing.hold, 0.561, places=3)
        self.assertAlmostEqual(timing.consensus, 3.6)
        self.assertEqual(timing.join, 0.1)


class DeterminismTests(SynchronousTestCase):
    """
    One seed, one run.
    """

    def test_acrossProcesses(self) -> None:
        """
        The same seed gives the same trace, byte for byte, in every process,
        whatever its hash seed.
        """
        for seed, what in ((3, "rings"), (41, "services")):
            runs = [inAnotherProcess(seed, h, what) for h in ("0", "4242")]
            one, other = [run.communicate()[0] for run in runs]
            self.assertEqual([run.returncode for run in runs], [0, 0])
            self.assertTrue(len(one.splitlines()) > 300)
            self.assertTrue(one == other, "two runs of one seed differ")

    def test_withinOneProcess(self) -> None:
        """
        A run does not depend on those before it.
        """

        def trace(seed: int) -> list[str]:
            return [*Swarm(seed, keepTrace=True).run().trace.lines()]

        first = trace(12)
        self.assertNotEqual(trace(13), first)
        self.assertEqual(trace(12), first)
