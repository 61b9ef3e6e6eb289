"""
Names of priorities, trace levels and subsystems.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.levels import ALL_TRACES, Priority, TraceLevel, parseTraces
from corotwist.logs.tags import LONGEST_TAG, TAGS, Tags, tagOf


class PriorityTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """
        They are syslog's.
        """
        self.assertEqual([p.value for p in Priority], list(range(9)))
        self.assertEqual(Priority.labelled("warning"), 4)
        self.assertEqual(Priority.DEBUG.label, "debug")

    def test_unknown(self) -> None:
        """
        A wrong label is told what there is.
        """
        error = self.assertRaises(ValueError, Priority.labelled, "loud")
        self.assertIn("emerg, alert", str(error))


class TraceLevelTests(SynchronousTestCase):
    def test_eight(self) -> None:
        """
        There are eight, each with a number and a name.  (A25)
        """
        self.assertEqual([level.value for level in TraceLevel], list(range(1, 9)))
        for level in TraceLevel:
            self.assertEqual(parseTraces(str(level.value)), {level})
            self.assertEqual(parseTraces(level.label), {level})

    def test_sets(self) -> None:
        """
        Several are written with blanks or commas.
        """
        self.assertEqual(parseTraces("1, sync  8"), {1, 3, 8})
        self.assertEqual(parseTraces("all"), ALL_TRACES)
        self.assertEqual(parseTraces("none"), frozenset())
        self.assertEqual(parseTraces(""), frozenset())

    def test_wrong(self) -> None:
        """
        Whatever else is written is told what there is.
        """
        for text in ("9", "0", "-1", "loud", "1;2"):
            error = self.assertRaises(ValueError, parseTraces, text)
            self.assertIn("1 state, 2 membership", str(error))


class TagTests(SynchronousTestCase):
    def test_ours(self) -> None:
        """
        The namespace that a logger takes of its module or class tells its
        subsystem, under corosync's names.  (A24, A27)
        """
        found = [
            tagOf(f"corotwist.{name}")
            for name in (
                *("engines.cpg.GroupsEngine", "engines.quorum", "engines.manager"),
                *("totem.transport", "ipc.server", "node", "totem.knet.links"),
            )
        ]
        self.assertEqual(
            found, ["CPG", "QUORUM", "SERV", "TOTEM", "QB", "MAIN", "KNET"]
        )
        self.assertLessEqual({*found}, {*TAGS})

    def test_others(self) -> None:
        """
        An engine of somebody else has the name of its package.  (A24)
        """
        self.assertEqual(tagOf("counter.engine.CounterEngine"), "COUNTER")
        self.assertEqual(tagOf("twisted.internet"), "TWISTED")
        self.assertEqual(tagOf("x" * 100), "X" * LONGEST_TAG)

    def test_strange(self) -> None:
        """
        What is no name is nobody's.
        """
        for namespace in ("", "<unknown>", "a b", "corotwistle.x"):
            self.assertIn(tagOf(namespace), ("MAIN", "COROTWISTLE"))

    def test_remembered(self) -> None:
        """
        Looked up once.
        """
        tags = Tags()
        self.assertEqual([tags.of("corotwist.ipc.x")] * 2, ["QB"] * 2)
        self.assertEqual(tags.of("corotwist.ipc.x"), "QB")
