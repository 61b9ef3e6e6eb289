"""
What C{corotwist torture} understands, and what it draws from a seed.
"""

import sys
from io import StringIO
from itertools import islice
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist.tools import torture
from corotwist.tools.lab import LabFailed
from corotwist.tools.torture import TortureOptions, run
from corotwist.tools.tortureground import Loopback
from corotwist.tools.tortureplan import FAULTS, Deed, Storm, storms


class OptionTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """
        Ten minutes of everything for five nodes of ours.
        """
        options = TortureOptions()
        options.parseOptions([])
        self.assertEqual((options["minutes"], options["nodes"]), (10.0, 5))
        self.assertEqual(options["corosync"], 0)
        self.assertEqual(options["faults"], list(FAULTS))

    def wrong(self, *argv: str) -> str:
        """
        What is said to a command line that makes no sense.
        """
        errors = StringIO()
        self.patch(sys, "stderr", errors)
        self.patch(torture, "_torture", self.fail)
        self.assertEqual(run(argv), 2)
        return errors.getvalue()

    def test_wrong(self) -> None:
        """
        What makes no sense is refused before anything runs.
        """
        for argv, said in (
            (["--nodes", "17"], "--nodes is 1 to 16"),
            (["--minutes", "0"], "--minutes is 0.05 to 1440"),
            (["--nodes", "3", "--corosync", "3"], "--corosync is 0 to 2"),
            (["--faults", "kill,earthquake"], "no fault 'earthquake': kill, stop,"),
            (["--namespaces", "--loopback"], "--namespaces or --loopback, not both"),
            (["--corosync", "1", "--loopback"], "corosync nodes need namespaces"),
            (["--judge", "/nonexistent"], "No such file"),
        ):
            self.assertIn(said, self.wrong(*argv))

    def test_impossible(self) -> None:
        """
        What cannot be here is said, with what is missing; without the wish
        for namespaces there is loopback.
        """
        self.patch(torture, "missing", lambda real: ["not root"])
        said = "corotwist torture: no namespaces here: not root\n"
        report = str(Path(self.mktemp()))
        self.assertEqual(self.wrong("--namespaces", "--report", report), said)
        self.assertFalse(Path(report).exists())
        self.assertEqual(self.wrong("--corosync", "1"), said)
        built: list[int] = []
        self.patch(Loopback, "build", lambda size, *rest: built.append(size))
        self.patch(sys, "stdout", StringIO())
        options = TortureOptions()
        options.parseOptions(["--nodes", "3"])
        torture._ground(options, 1)
        self.assertEqual(built, [3])

    def test_oldReport(self) -> None:
        """
        An earlier report is not written over.
        """
        directory = self.mktemp()
        Path(directory).mkdir()
        self.assertIn("File exists", self.wrong("--report", directory))

    def test_failedLaboratory(self) -> None:
        """
        A laboratory that cannot be built is no verdict.
        """

        def refuse(*arguments: object) -> None:
            raise LabFailed("no room")

        self.patch(torture, "_ground", refuse)
        self.assertEqual(self.wrong(), "corotwist torture: no room\n")


class PlanTests(SynchronousTestCase):
    NODES = (1, 2, 3, 4, 5)

    def drawn(
        self, seed: int, faults: tuple[str, ...] = tuple(FAULTS), count: int = 200
    ) -> list[Storm]:
        """
        The first storms.
        """
        return list(islice(storms(seed, self.NODES, {1, 2}, faults), count))

    def test_seed(self) -> None:
        """
        The same seed is the same plan, another is another.
        """
        self.assertEqual(self.drawn(3), self.drawn(3))
        self.assertNotEqual(self.drawn(3), self.drawn(4))

    def test_everyKind(self) -> None:
        """
        Every kind is drawn that was asked for, and no other.
        """
        kinds = {deed.kind for storm in self.drawn(1) for deed in storm.deeds}
        self.assertEqual(kinds, set(FAULTS))
        only = self.drawn(1, faults=("kill", "cut"))
        kinds = {deed.kind for storm in only for deed in storm.deeds}
        self.assertEqual(kinds, {"kill", "cut"})
        self.assertEqual(self.drawn(1, faults=())[0].deeds, ())

    def test_sense(self) -> None:
        """
        Deeds are in order, within their storm, and each has what it needs.
        """
        for storm in self.drawn(2):
            times = [deed.at for deed in storm.deeds]
            self.assertEqual(times, sorted(times))
            for deed in storm.deeds:
                self.assertTrue(0 <= deed.at <= deed.until <= storm.length, deed)
                self.sensible(deed)

    def sensible(self, deed: Deed) -> None:
        """
        One of them.
        """
        match deed.kind:
            case "partition":
                members = [node for part in deed.parts for node in part]
                self.assertEqual(sorted(members), list(self.NODES))
                self.assertIn(len(deed.parts), (2, 3))
                self.assertTrue(all(deed.parts))
            case "cut":
                self.assertTrue(all(one != other for one, other in deed.pairs))
                self.assertIn(len(deed.pairs), range(1, 5))
            case "loss":
                self.assertGreater(deed.percent, 0)
            case "fresh":
                self.assertIn(deed.node, (1, 2))
            case _:
                self.assertIn(deed.node, self.NODES)

    def test_small(self) -> None:
        """
        One node has no network, and without disks to lose none is lost.
        """
        drawn = islice(storms(1, [1], (), FAULTS), 200)
        kinds = {deed.kind for storm in drawn for deed in storm.deeds}
        self.assertEqual(kinds, {"kill", "stop", "pause", "client"})

    def test_words(self) -> None:
        """
        A deed says what it does.
        """
        self.assertEqual(str(Deed("kill", 0, 1, 2)), "kill node 2")
        self.assertEqual(
            str(Deed("partition", 0, 1, parts=((1, 2), (3,)))), "partition 1,2|3"
        )
        self.assertEqual(str(Deed("cut", 0, 1, pairs=((1, 2), (3, 1)))), "cut 1>2 3>1")
        self.assertEqual(str(Deed("loss", 0, 1, percent=5.0)), "loss 5 %")
