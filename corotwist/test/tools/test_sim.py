"""
C{corotwist sim}.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.swarm.plan import Deed, Plan, When
from corotwist.simulator.swarm.run import Outcome, Swarm
from corotwist.test.tools.schemas import differences
from corotwist.tools import main, simrates, simring
from corotwist.tools.sim import Bar
from corotwist.tools.simruns import Task, performAll

HERE = __name__


class Unlucky(Swarm):
    """
    Every run in which node 1 was killed is a bad one.
    """

    def finish(self) -> None:
        if self.cluster.nodes[1].lives > 1:
            raise ValueError("node 1 was killed")


class Demanding(Swarm):
    """
    Nobody may ever have been killed.
    """

    def finish(self) -> None:
        lives = {n: node.lives for n, node in self.cluster.nodes.items()}
        assert set(lives.values()) == {1}, f"lives: {lives}"


class Impatient(Swarm):
    """
    Somebody interrupts it.
    """

    def begin(self) -> None:
        raise KeyboardInterrupt


class Terminal(StringIO):
    """
    A terminal.
    """

    def isatty(self) -> bool:
        return True


def command(*argv: str) -> tuple[int, str, str]:
    """
    What a command line gives: the status, and what is printed.
    """
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main.run(["sim", *argv])
    return status, out.getvalue(), err.getvalue()


class WrongUseTests(SynchronousTestCase):
    """
    Wrong command lines end with 2, and a sentence.
    """

    def refused(self, *argv: str) -> str:
        """
        Why.
        """
        status, out, err = command(*argv)
        self.assertEqual((status, out), (2, ""))
        return err

    def test_numbers(self) -> None:
        """
        Numbers are numbers, within their bounds.
        """
        for option, text in (
            ("seeds", "0"),
            ("first", "-1"),
            ("jobs", "many"),
            ("nodes", "129"),
            ("ring", "1"),
            ("minutes", "nan"),
            ("minutes", "soon"),
        ):
            self.assertIn(f"--{option} is a number", self.refused(f"--{option}", text))

    def test_contradictions(self) -> None:
        """
        Nobody guesses which of two was meant.
        """
        self.assertIn("name one", self.refused("--services", "--rings"))
        self.assertIn("name one", self.refused("--seed", "1", "--story", "x"))
        self.assertIn("not for one", self.refused("--seed", "1", "--seeds", "3"))
        self.assertIn("name it", self.refused("--seed", "1", "--save", "x"))
        self.assertIn("name it", self.refused("--seed", "1", "--diagram", "x"))

    def test_files(self) -> None:
        """
        A story that is not there, or is none, is told.
        """
        missing = self.mktemp()
        self.assertIn(missing, self.refused("--story", missing))
        path = Path(self.mktemp())
        path.write_text("once upon a time")
        self.assertIn("no plan of a run", self.refused("--story", str(path)))

    def test_factory(self) -> None:
        """
        So are runs of one's own that are not there.
        """
        for name in ("corotwist", "nothing.here:Swarm", f"{HERE}:Nobody"):
            self.assertIn(name, self.refused("--plan", name))


class OneRunTests(SynchronousTestCase):
    """
    One run is repeated, saved, made smaller, and drawn.
    """

    def setUp(self) -> None:
        deeds = (
            Deed("heal", When(0.1)),
            Deed("restart", When(0.4), {"nodeid": 1, "later": 0.1}),
            Deed("pause", When(0.5), {"nodeid": 2, "seconds": 0.1}),
        )
        self.plan = Plan(3, 3, deeds=deeds, seconds=1.0)
        self.story = self.mktemp()
        Path(self.story).write_text(self.plan.toJson())

    def test_seed(self) -> None:
        """
        A seed is run, of one kind of run or of both.
        """
        status, out, _ = command("--seed", "3", "--rings", "--nodes", "3")
        self.assertEqual((status, out.count("all promises were kept")), (0, 1))
        self.assertIn("rings of", out)
        status, out, _ = command("--seed", "3", "--nodes", "2")
        self.assertEqual((status, out.count("all promises were kept")), (0, 2))
        self.assertIn("whole nodes of", out)

    def test_story(self) -> None:
        """
        A saved plan is run; as JSON, for machines.
        """
        status, out, _ = command("--story", self.story, "--json")
        found = json.loads(out)
        self.assertEqual((status, found["runs"], found["failures"]), (0, 1, []))
        self.assertEqual(differences(found), [])

    def test_save(self) -> None:
        """
        The plan of a seed can be had as a file.
        """
        path = self.mktemp()
        command("--seed", "3", "--rings", "--nodes", "2", "--save", path)
        self.assertEqual(Plan.fromJson(Path(path).read_text()).seed, 3)

    def test_broken(self) -> None:
        """
        A run of one's own that fails ends with 1, and says why.
        """
        plan = f"{HERE}:Unlucky"
        status, out, _ = command("--story", self.story, "--plan", plan)
        self.assertEqual(status, 1)
        self.assertIn("ValueError: node 1 was killed", out)
        self.assertIn(f"corotwist sim --story {self.story}", out)

    def test_shrink(self) -> None:
        """
        It is made smaller, in a file that fails again.
        """
        path, plan = self.mktemp(), f"{HERE}:Demanding"
        argv = ("--story", self.story, "--plan", plan)
        status, out, _ = command(*argv)
        self.assertIn("demand was not met: lives: {1: 2, 2: 1, 3: 1}", out)
        page = self.mktemp()
        status, out, _ = command(*argv, "--shrink", "--save", path, "--diagram", page)
        self.assertEqual(status, 1)
        self.assertIn(f"--story {path} --plan {plan}", Path(page).read_text())
        smaller = Plan.fromJson(Path(path).read_text())
        self.assertEqual([deed.verb for deed in smaller.deeds], ["restart"])
        _, told = out.split("smallest run that still breaks the test's own demand")
        again = f"corotwist sim --story {path} --plan {plan}"
        self.assertIn(f"run it again with: {again}\n", told)
        self.assertIn("demand was not met: lives: {1: 2}\n", told)
        self.assertNotIn("1: 2, ", told)
        self.assertTrue(told.endswith(f"replay: {again}\n"))
        status, told, _ = command("--story", path, "--plan", plan)
        self.assertEqual((status, told.count("lives: {1: 2}\n")), (1, 1))

    def test_diagram(self) -> None:
        """
        A run is drawn as a page.
        """
        path = Path(self.mktemp())
        status, out, _ = command("--story", self.story, "--diagram", str(path))
        self.assertEqual(status, 0)
        self.assertIn(str(path), out)
        self.assertIn("<html", path.read_text().lower())


class ManyRunsTests(SynchronousTestCase):
    """
    Seed after seed is run, until a promise is broken.
    """

    def few(self, *argv: str) -> tuple[int, str, str]:
        """
        Small runs, in this process.
        """
        return command("--nodes", "2", "--jobs", "1", *argv)

    def test_kept(self) -> None:
        """
        When all promises are kept, the figures are told.
        """
        status, out, _ = self.few("--seeds", "2")
        self.assertEqual(status, 0)
        self.assertIn("4 runs, ", out)
        self.assertIn("every promise was kept", out)

    def test_broken(self) -> None:
        """
        The first broken promise ends it, and how to repeat that run is told;
        going on is possible.
        """
        plan = f"{HERE}:Unlucky"
        argv = ("--plan", plan, "--rings", "--seeds", "8", "--json")
        status, out, _ = self.few(*argv)
        found = json.loads(out)
        self.assertEqual((status, len(found["failures"])), (1, 1))
        status, out, _ = self.few(*argv, "--keep-going")
        found = json.loads(out)
        self.assertEqual((status, found["runs"]), (1, 8))
        self.assertTrue(len(found["failures"]) > 1)
        seed = found["failures"][0]["seed"]
        status, out, _ = self.few("--plan", plan, "--rings", "--first", f"{seed}")
        again = f"corotwist sim --rings --seed {seed} --nodes 2 --plan {plan}"
        self.assertIn(f"replay: {again}\n", out)
        self.assertIn(f"with: {again} --shrink", out)

    def test_services(self) -> None:
        """
        Runs of one's own are of whole nodes, unless one says otherwise; what
        is made smaller is told when it is.
        """
        plan, path = f"{HERE}:Demanding", self.mktemp()
        argv = ("--plan", plan, "--seeds", "20", "--shrink", "--save", path)
        status, out, _ = self.few(*argv)
        self.assertEqual(status, 1)
        self.assertIn("corotwist sim --services --seed ", out)
        self.assertNotIn("rings", out)
        self.assertTrue(out.endswith(f"--story {path} --plan {plan}\n"), out)
        self.assertTrue(Plan.fromJson(Path(path).read_text()).services)

    def test_here(self) -> None:
        """
        They may be in the directory where one is.
        """
        self.patch(sys, "path", [p for p in sys.path if p != str(Path.cwd())])
        name = Path(self.mktemp()).name.replace(".", "_")
        Path(f"{name}.py").write_text(
            "from corotwist.simulator.swarm.run import Swarm\n"
            "class Runs(Swarm):\n"
            "    def finish(self):\n"
            "        assert not self.plan.services, 'whole nodes'\n"
        )
        self.addCleanup(sys.modules.pop, name, None)
        status, out, _ = self.few("--seeds", "1", "--plan", f"{name}:Runs")
        self.assertEqual(status, 1)
        self.assertIn(f"not met: whole nodes\n  {name}.py, line 4, in finish", out)
        status, _, _ = self.few("--seeds", "1", "--rings", "--plan", f"{name}:Runs")
        self.assertEqual(status, 0)

    def test_minutes(self) -> None:
        """
        It ends when the time is up.
        """
        status, out, _ = self.few("--minutes", "0.0001", "--rings")
        self.assertEqual(status, 0)
        self.assertIn("1 runs, ", out)

    def test_interrupted(self) -> None:
        """
        Who interrupts it is told what was seen so far.
        """
        status, out, _ = self.few("--plan", f"{HERE}:Impatient")
        self.assertEqual(status, 0)
        self.assertIn("interrupted; so far 0 runs", out)

    def test_processes(self) -> None:
        """
        Several processes do the same as one.
        """
        tasks = [Task(seed, services=False, mostNodes=2) for seed in range(2)]

        def seen(outcomes: Iterator[Outcome]) -> list[tuple[int, int]]:
            return [(came.seed, came.events) for came in outcomes]

        alone = seen(performAll(tasks, 1))
        self.assertEqual(seen(performAll(tasks, 2)), alone)


class TableTests(SynchronousTestCase):
    """
    Tables of sizes and of rates.
    """

    def test_ring(self) -> None:
        """
        Rings of growing size form, order, and form again without a quarter.
        """
        status, out, _ = command("--ring", "6", "--json")
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(status, 0)
        self.assertEqual([differences(row) for row in rows], [[], [], []])
        self.assertEqual([row["size"] for row in rows], [2, 4, 6])
        self.assertTrue(all(0 < row["forming"] < 1 for row in rows))
        self.assertTrue(all(1 < row["formingAgain"] < 4 for row in rows))
        self.assertEqual([*simring.sizes(128)], [2, 4, 8, 16, 32, 64, 128])

    def test_rates(self) -> None:
        """
        What is measured is held against what must be.
        """
        rates = [simrates.Rate("x", 5.0, 4.0, 6.0), simrates.Rate("y", 1.0, 4.0, 6.0)]
        self.patch(simrates, "measure", lambda: iter(rates))
        status, out, _ = command("--rates")
        self.assertEqual(status, 1)
        self.assertIn("| x | 5.0 | 4 | 6 | must |", out)
        self.assertIn("| y | 1.0 | 4 | 6 | too slow |", out)
        rates[1] = simrates.Rate("y", 7.0, 4.0, 6.0)
        status, out, _ = command("--rates", "--json")
        self.assertEqual(status, 0)
        found = json.loads(out.splitlines()[1])
        self.assertEqual((found["value"], differences(found)), (7.0, []))

    def test_judged(self) -> None:
        """
        The judge that is measured finds nothing wrong.
        """
        self.patch(simrates, "JUDGED_RECORDS", 600)
        self.assertTrue(simrates.judged() > 0)


class BarTests(SynchronousTestCase):
    """
    Progress is shown.
    """

    def test_terminal(self) -> None:
        """
        On a terminal a bar moves, and is gone in the end.
        """
        terminal = Terminal()
        bar = Bar(terminal)
        bar.show(0.5, "half")
        bar.end()
        shown = terminal.getvalue()
        self.assertIn("█" * 12 + "░" * 12 + " half", shown)
        self.assertTrue(shown.endswith("\r\x1b[K"))

    def test_lines(self) -> None:
        """
        Elsewhere there is a plain line now and then.
        """
        out = StringIO()
        bar: Any = Bar(out)
        bar.show(0.1, "first")
        bar.show(0.2, "too soon")
        bar.end()
        self.assertEqual(out.getvalue(), "first\n")
