"""
A storm does what its plan says, undoes it, and tells what does not come.
"""

import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.tools.torturefakes import World
from corotwist.tools.tortureplan import FAULTS, Deed, Storm, storms
from corotwist.tools.torturerun import PATIENCE, Torture
from corotwist.tools.torturestory import Story

SECOND = 10**9


def plan(*deeds: Deed, length: float = 4.0) -> Iterator[Storm]:
    """
    One storm, and then only calm.
    """
    yield Storm(1, deeds, length, 1.0)
    for number in range(2, 1000):
        yield Storm(number, (), 1.0, 1.0)


class TortureTests(SynchronousTestCase):
    def torture(
        self, world: World, stormy: Iterable[Storm], seconds: float = 6.0
    ) -> Torture:
        """
        Have it done.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        self.told: list[str] = []
        torture = Torture(
            world,
            iter(stormy),
            1.0,
            directory,
            Random(1),
            world.clock,
            world.sleep,
            self.told.append,
        )
        torture.run(seconds)
        return torture

    def test_calm(self) -> None:
        """
        Without faults: everybody has a client, all of them send, and in the
        end it is quiet.
        """
        world = World()
        torture = self.torture(world, plan())
        self.assertEqual(torture.complaints, [])
        self.assertEqual([client.node for client in torture.clients], [1, 2, 3])
        for client in torture.clients:
            self.assertGreater(client.accepted, 0)
            self.assertEqual(client.heard, sum(c.sent for c in torture.clients))
        self.assertEqual(torture.marks, [{"t": torture.quiet, "ev": "quiet"}])
        story = torture.story(["title"])
        self.assertTrue(all(client.alive for client in story.clients))
        self.assertEqual(
            world.signals[-6:],
            [(n, s) for n in (1, 2, 3) for s in (signal.SIGCONT, signal.SIGTERM)],
        )

    def test_down(self) -> None:
        """
        A node that is killed comes back when its time has come, one that lost
        its disk without it, one that is stopped as soon as it is gone; each
        with a new client.
        """
        for kind, number in (
            ("kill", signal.SIGKILL),
            ("fresh", signal.SIGKILL),
            ("stop", signal.SIGTERM),
        ):
            world = World()
            torture = self.torture(world, plan(Deed(kind, 1.0, 2.5, 2)))
            self.assertEqual(world.signals[0], (2, number))
            self.assertEqual(world.forgotten, [2] if kind == "fresh" else [])
            self.assertEqual(torture.complaints, [])
            self.assertEqual([c.node for c in torture.clients], [1, 2, 3, 2])
            self.assertEqual([c.life for c in torture.clients], [1, 1, 1, 2])
            killed, _ = torture.marks
            self.assertEqual((killed["ev"], killed["node"]), ("killed", 2))
            noted = [what for _, what in torture.log]
            self.assertEqual(noted[3:6], [f"{kind} node 2", "start node 2", "healed"])
            down, again = torture.log[3][0], torture.log[4][0]
            self.assertAlmostEqual((again - down) / SECOND, 1.5, delta=0.1)

    def test_pause(self) -> None:
        """
        A paused daemon keeps its client, and nothing else is done to it.
        """
        world = World()
        deeds = (Deed("pause", 0.5, 2.0, 2), Deed("kill", 1.0, 1.5, 2))
        torture = self.torture(world, plan(*deeds))
        sent = [(2, signal.SIGSTOP), (2, signal.SIGCONT)]
        self.assertEqual(world.signals[:2], sent)
        self.assertEqual(torture.done, {"pause": 1})
        self.assertEqual(len(torture.clients), 3)

    def test_network(self) -> None:
        """
        Faults of the network add up, and the end of the storm ends them.
        """
        world = World()
        deeds = (
            Deed("cut", 0.1, 3.0, pairs=((1, 2),)),
            Deed("cut", 0.2, 1.0, pairs=((2, 3),)),
            Deed("loss", 0.3, 1.5, percent=5.0),
            Deed("loss", 0.4, 9.0, percent=1.0),
            Deed("partition", 0.5, 9.0, parts=((1,), (2, 3))),
        )
        self.torture(world, plan(*deeds))
        self.assertEqual(
            world.network,
            [
                ("cut", [(1, 2)]),
                ("cut", [(1, 2), (2, 3)]),
                ("loss", 5.0),
                ("loss", 5.0),
                ("partition", ((1,), (2, 3))),
                ("cut", [(1, 2)]),
                ("loss", 1.0),
                ("cut", []),
                ("loss", 0.0),
                ("partition", ()),
            ],
        )

    def test_clients(self) -> None:
        """
        A client that is killed, or leaves, is replaced.
        """
        for orderly in (False, True):
            deed = Deed("client", 1.0, 1.0, 3, orderly=orderly)
            torture = self.torture(World(), plan(deed))
            gone, new = torture.clients[2:]
            self.assertEqual((gone.leaving, gone.killed), (orderly, not orderly))
            self.assertEqual((gone.node, new.node), (3, 3))
            alive = [client.alive for client in torture.story([]).clients]
            self.assertEqual(alive, [True, True, False, True])
            self.assertEqual(torture.complaints, [])

    def test_clientEnds(self) -> None:
        """
        A client that ends although its daemon goes on is worth a complaint.
        """
        world = World(weak=101)
        torture = self.torture(world, plan())
        self.assertEqual(torture.complaints, ["the client of node 2 ended by itself"])

    def test_daemonEnds(self) -> None:
        """
        A daemon that ends by itself ends the run.
        """
        world = World(broken=(3, 2 * SECOND))
        torture = self.torture(world, plan())
        self.assertIn("the daemon of node 3 ended by itself", torture.complaints)
        self.assertIsNone(torture.quiet)
        self.assertEqual(world.up, set())

    def test_stubborn(self) -> None:
        """
        So does one that does not stop when asked to.
        """
        world = World(stubborn=frozenset((1,)))
        torture = self.torture(world, plan(Deed("stop", 1.0, 2.0, 1)))
        self.assertEqual(
            torture.complaints,
            [
                "node 1 did not stop within 15 s",
                "a daemon does not stop when asked to",
            ],
        )

    def test_apart(self) -> None:
        """
        When they do not come together, the complaint says who sees whom.
        """
        world = World(deaf=True)
        torture = self.torture(world, plan())
        (complaint,) = torture.complaints
        self.assertIn(f"the first ring did not come within {PATIENCE:g} s", complaint)
        self.assertIn("the client of node 2 sees nobody", complaint)

    def test_interrupted(self) -> None:
        """
        Ctrl-C ends a run, and its daemons.
        """

        def interrupt(line: str) -> None:
            raise KeyboardInterrupt

        world = World()
        directory = Path(self.mktemp())
        directory.mkdir()
        rest = (Random(1), world.clock, world.sleep, interrupt)
        torture = Torture(world, plan(), 1.0, directory, *rest)
        torture.run(60.0)
        self.assertEqual(torture.complaints, ["interrupted"])
        self.assertEqual(world.up, set())

    def test_everything(self) -> None:
        """
        A drawn run of all kinds comes to its end, and tells of its progress;
        what it was can be saved and loaded.
        """
        world = World()
        drawn = storms(7, world.nodes, world.ours, FAULTS)
        torture = self.torture(world, drawn, seconds=60.0)
        self.assertEqual(torture.complaints, [])
        self.assertEqual(torture.done.keys(), FAULTS.keys())
        self.assertEqual(len(self.told), 6)
        self.assertRegex(self.told[5], r"^  1:0\d  storm \d+, \d+ faults, ")
        story = torture.story(["a run"])
        story.save(torture.directory)
        self.assertEqual(Story.load(torture.directory), story)
