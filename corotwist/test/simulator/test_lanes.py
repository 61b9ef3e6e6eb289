"""
What was when, lane by lane.
"""

from itertools import pairwise
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator import Cluster
from corotwist.simulator.chronicle import Names
from corotwist.simulator.lanes import MOST_SPANS, Lanes, Span
from corotwist.simulator.trace import Trace
from corotwist.totem.membership import RingId


class LanesTests(SynchronousTestCase):
    """
    Records by hand, and those of a cluster.
    """

    def lanes(
        self, *records: tuple[float, int, str, dict[str, Any]], end: float = 10.0
    ) -> Lanes:
        trace = Trace(None)
        for time, node, event, fields in records:
            trace.record(time, node, fields.get("life", 1), event, **fields)
        lanes = Lanes(Names())
        lanes.read(trace, end)
        return lanes

    def spans(self, spans: list[Span]) -> list[tuple[int, float, float, str | int]]:
        return [(s.node, s.start, s.end, s.what) for s in spans]

    def test_lives(self) -> None:
        """
        A process lives from its boot until it is killed, or the run ends; a
        state and a ring end with it.
        """
        ring = {
            "kind": "R",
            "ring": RingId(4, 1),
            "members": (1,),
            "left": (),
            "joined": (),
            "cause": "why",
        }
        lanes = self.lanes(
            (0.0, 1, "boot", {"stored": None}),
            (1.0, 1, "conf", ring),
            (1.0, 1, "state", {"before": "", "after": "operational", "cause": "w"}),
            (3.0, 1, "fail", {}),
            (5.0, 1, "boot", {"stored": 4, "life": 2}),
        )
        self.assertEqual(self.spans(lanes.lives), [(1, 0.0, 3.0, 1), (1, 5.0, 10.0, 2)])
        self.assertEqual(self.spans(lanes.installed), [(1, 1.0, 3.0, 0)])
        self.assertEqual(self.spans(lanes.states), [(1, 1.0, 3.0, "operational")])

    def test_stopped(self) -> None:
        """
        Who has stopped lives no more.
        """
        lanes = self.lanes(
            (0.0, 1, "boot", {"stored": None}),
            (2.0, 1, "state", {"before": "", "after": "stopped", "cause": "asked"}),
        )
        self.assertEqual(self.spans(lanes.lives), [(1, 0.0, 2.0, 1)])
        self.assertEqual(lanes.states, [])

    def test_pauseEnds(self) -> None:
        """
        A pause ends with the process at the latest.
        """
        lanes = self.lanes(
            (0.0, 1, "pause", {"seconds": 5.0}),
            (0.0, 2, "pause", {"seconds": 5.0}),
            (2.0, 1, "fail", {}),
        )
        self.assertEqual([(s.node, s.end) for s in lanes.pauses], [(1, 2.0), (2, 5.0)])

    def test_network(self) -> None:
        """
        What is cut adds up until all links are whole.
        """
        lanes = self.lanes(
            (1.0, 0, "partition", {"sides": [[1], [2, 3]]}),
            (2.0, 0, "cut", {"source": 2, "target": 3}),
            (4.0, 0, "heal", {}),
            (5.0, 0, "bridge", {"sides": [[1], [3]], "over": 2}),
        )
        self.assertEqual(
            [(s.start, s.end, s.text) for s in lanes.network],
            [
                (1.0, 2.0, "{1} | {2 3}"),
                (2.0, 4.0, "{1} | {2 3}, 2 to 3 cut"),
                (5.0, 10.0, "{1} | {3} but 2"),
            ],
        )

    def test_weather(self) -> None:
        """
        What links do to datagrams lasts until they do something else.
        """
        lanes = self.lanes(
            (1.0, 0, "faults", {"of": "loss 0.1"}),
            (2.0, 0, "faults", {"of": "calm"}),
            (4.0, 0, "faults", {"of": "loss 0.2"}),
        )
        self.assertEqual(
            [(s.start, s.end, s.text) for s in lanes.weather],
            [(1.0, 2.0, "loss 0.1"), (4.0, 10.0, "loss 0.2")],
        )

    def test_marks(self) -> None:
        """
        Whatever does not last is a mark, known or not; a disk that refuses is
        another than one that does not.
        """
        lanes = self.lanes(
            (1.0, 1, "store", {"ring": 4, "ok": True}),
            (2.0, 1, "store", {"ring": 4, "ok": False}),
            (3.0, 0, "earthquake", {"strength": 7}),
        )
        self.assertEqual(
            [(m.node, m.event) for m in lanes.marks],
            [(1, "store"), (1, "refused"), (0, "earthquake")],
        )
        self.assertEqual(lanes.marks[2].text, "earthquake: strength 7")

    def test_bounded(self) -> None:
        """
        Of each the newest are kept.
        """
        records = ((i, 0, "heal", dict[str, Any]()) for i in range(MOST_SPANS + 3))
        lanes = self.lanes(*records)
        self.assertEqual(len(lanes.marks), MOST_SPANS)
        self.assertEqual(lanes.marks[0].time, 3)

    def test_whole(self) -> None:
        """
        A node of a cluster is in one ring at a time, and always in a state.
        """
        cluster = Cluster(size=3, seed=1, keepTrace=True)
        cluster.run(1.0)
        cluster.kill(3)
        cluster.run(4.0)
        lanes = Lanes(Names())
        lanes.read(cluster.trace, cluster.seconds())
        for spans in (lanes.installed, lanes.states):
            mine = [span for span in spans if span.node == 1]
            self.assertEqual(mine[-1].end, 5.0)
            for first, second in pairwise(mine):
                self.assertEqual(first.end, second.start)
        self.assertEqual(max(s.end for s in lanes.installed if s.node == 3), 1.0)
        passages = [(p.node, p.what) for p in lanes.passages if p.start > 1.0]
        self.assertEqual([node for node, _ in passages], [2, 1])
