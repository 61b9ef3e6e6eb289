"""
Runs in sentences.
"""

from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator import Cluster, Faults
from corotwist.simulator.chronicle import (
    MOST_LINES,
    TOGETHER,
    Names,
    chronicle,
    letters,
    nodesOf,
    words,
)
from corotwist.simulator.trace import Record, Trace
from corotwist.totem.membership import RingId

RING = RingId(8, 1)


def told(*records: tuple[float, int, str, dict[str, Any]]) -> list[str]:
    """
    The story of some records.
    """
    trace = Trace()
    for time, node, event, fields in records:
        trace.record(time, node, 1, event, **fields)
    return [str(line) for line in chronicle(trace, Names())]


def configured(*members: int, kind: str = "R", ring: RingId = RING) -> dict[str, Any]:
    return {
        "kind": kind,
        "ring": ring,
        "members": members,
        "left": (),
        "joined": (),
        "cause": "why",
    }


class NamesTests(SynchronousTestCase):
    """
    What rings and nodes are called.
    """

    def test_letters(self) -> None:
        """
        After Z comes AA.
        """
        self.assertEqual([letters(i) for i in (0, 25, 26, 27)], ["A", "Z", "AA", "AB"])
        self.assertEqual(letters(26 * 27), "AAA")

    def test_rings(self) -> None:
        """
        A ring keeps the name that it was given first.
        """
        names = Names()
        other = RingId(12, 1)
        self.assertEqual([names.of(r) for r in (RING, other, RING)], ["A", "B", "A"])

    def test_nodes(self) -> None:
        """
        Three and more in a row are a range.
        """
        self.assertEqual(nodesOf((7, 1, 2, 3, 5, 6)), "1-3 5-7")
        self.assertEqual(nodesOf((2, 1, 9)), "1 2 9")
        self.assertEqual(nodesOf(()), "nobody")


class WordsTests(SynchronousTestCase):
    """
    Records in words.
    """

    def events(self) -> Iterable[Record]:
        cluster = Cluster(size=3, seed=1, keepTrace=True, faults=Faults(loss=0.01))
        cluster.run(1.0)
        cluster.multicast(1, b"x")
        cluster.pause(2, 0.1)
        cluster.slow(2, 0.001)
        cluster.slow(2, 0.0)
        cluster.run(1.0)
        cluster.kill(3)
        cluster.cut(1, 2)
        cluster.partition({1}, {2, 3})
        cluster.nodes[1].disk.refusing = True
        cluster.run(4.0)
        cluster.faults = Faults()
        cluster.heal()
        cluster.nodes[1].disk.refusing = False
        cluster.boot(3, fresh=True)
        cluster.run(3.0)
        cluster.stop(2)
        cluster.run(2.0)
        return cluster.trace

    def test_all(self) -> None:
        """
        Every kind of record that runs write has its own words.
        """
        names, seen = Names(), dict[str, str]()
        for *_, event, fields in self.events():
            seen[event] = words(event, fields, names)
        expected = {
            *("boot", "fail", "stop", "pause", "slow", "conf", "state", "store"),
            *("send", "deliver", "submit", "message"),
            *("partition", "cut", "heal", "faults"),
        }
        self.assertEqual(expected, set(seen))
        for event, text in seen.items():
            self.assertNotIn(f"{event}: ", text)

    def test_unknown(self) -> None:
        """
        A record of a kind that nobody foresaw tells its fields.
        """
        text = words("earthquake", {"strength": 7, "at": b"sea"}, Names())
        self.assertEqual(text.split(", ")[0], "earthquake: strength 7")
        self.assertEqual(words("silence", {}, Names()), "silence")

    def test_configurations(self) -> None:
        """
        A transitional configuration and a regular one are told apart.
        """
        names = Names()
        fields = configured(1, 2, kind="T") | {"left": (3,)}
        self.assertEqual(
            words("conf", fields, names),
            "goes on to ring A together with 1 2; without 3",
        )
        fields = configured(1, 2, 4) | {"joined": (4,)}
        self.assertEqual(words("conf", fields, names), "is in ring A of 1 2 4; new: 4")

    def test_mischief(self) -> None:
        """
        So has all that a story can do to links and machines.
        """
        cluster = Cluster(size=3, seed=1, keepTrace=True)
        cluster.run(0.1)
        cluster.clog(1, 2, 0.5)
        cluster.bridge(2, {1}, {3})
        cluster.interfaceDown(1)
        cluster.refuseSending(2, 105, 0.5)
        cluster.exhaustFiles(3)
        cluster.stepClock(1, -3.0)
        cluster.attack(10.0, 0.2)
        cluster.repair(1)
        cluster.repair(2)
        cluster.repair(3)
        told = [
            words(event, fields, Names())
            for *_, event, fields in cluster.trace
            if event in {"clog", "bridge", "interface", "refuse"}
            or event in {"files", "clock", "attack"}
        ]
        self.assertEqual(
            told[:6],
            [
                "the link from 1 to 2 stands still for 0.5 s",
                "{1} and {3} are parted, but for node 2",
                "has lost its interface",
                "fails to send, with error 105, 50% of times",
                "can open no file and no connection any more",
                "the clock of node 1 jumps by -3 s",
            ],
        )
        self.assertIn("10 times a second", told[6])
        self.assertEqual(told[7:9], ["has its interface again", "can send again"])
        self.assertRegex(told[9], "can open [0-9]+ files")

    def test_disk(self) -> None:
        """
        A write that failed is told as such.
        """
        text = words("store", {"ring": 8, "ok": False}, Names())
        self.assertIn("refuses", text)


class ChronicleTests(SynchronousTestCase):
    """
    The story.
    """

    def test_together(self) -> None:
        """
        What several nodes do at about the same time is one line; what comes
        later is another.
        """
        later = 10 * TOGETHER
        lines = told(
            (0.0, 2, "conf", configured(1, 2, 3)),
            (TOGETHER / 2, 1, "conf", configured(1, 2, 3)),
            (later, 3, "conf", configured(1, 2, 3)),
        )
        self.assertEqual(lines, ["1 2: in ring A of 1-3", "3: in ring A of 1-3"])

    def test_alone(self) -> None:
        """
        Nodes that start are alone at first, all in one line.
        """
        lines = told(
            *((0.0, n, "conf", configured(n, ring=RingId(4, n))) for n in (1, 2))
        )
        self.assertEqual(lines, ["1 2: alone in a ring of its own"])

    def test_cluster(self) -> None:
        """
        What happens to all names nobody, and is never put together.
        """
        lines = told((0.0, 0, "heal", {}), (0.0, 0, "heal", {}))
        self.assertEqual(lines, ["all links are whole"] * 2)

    def test_crowds(self) -> None:
        """
        Many links that stand still are one line.
        """
        link = {"source": 1, "target": 2, "seconds": 0.5}
        lines = told((0.0, 0, "clog", link), (0.0, 0, "clog", link | {"target": 3}))
        self.assertEqual(lines, ["links stand still for a while"])

    def test_states(self) -> None:
        """
        That a ring ended is told, and why; not every step to the next one.
        """

        def state(before: str, after: str) -> tuple[float, int, str, dict[str, Any]]:
            fields = {"before": before, "after": after, "cause": f"after {before}"}
            return (0.0, 1, "state", fields)

        lines = told(
            state("idle", "gather"),
            state("operational", "gather"),
            state("gather", "commit"),
            state("commit", "recovery"),
            state("recovery", "gather"),
        )
        expected = ["1: gather: after operational", "1: gather: after recovery"]
        self.assertEqual(lines, expected)

    def test_plenty(self) -> None:
        """
        Messages, frames and successful writes are no part of it.
        """
        lines = told(
            (0.0, 1, "store", {"ring": 8, "ok": True}),
            (0.0, 1, "deliver", {"ring": RING, "seq": 1, "sender": 1}),
            (0.0, 1, "submit", {"mid": 1, "size": 1}),
        )
        self.assertEqual(lines, [])

    def test_bounded(self) -> None:
        """
        A story has an end: the newest lines are kept.
        """
        trace = Trace(None)
        for i in range(MOST_LINES + 5):
            trace.record(i, 0, 0, "heal")
        lines = chronicle(trace, Names())
        self.assertEqual(len(lines), MOST_LINES)
        self.assertEqual(lines[-1].time, MOST_LINES + 4)
