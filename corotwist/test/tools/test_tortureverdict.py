"""
What a run left behind is judged, and told in words and figures.
"""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.tools.torture import run
from corotwist.tools.torturestory import NANO, Calm, Client, Story
from corotwist.tools.tortureverdict import Verdict, judge

RING, NEXT = [1, 8], [1, 12]
START = 1000 * NANO

Line = dict[str, Any]


def at(seconds: float, **fields: Any) -> Line:
    """
    A record of so many seconds after the beginning.
    """
    return {"t": START + round(seconds * NANO), **fields}


def conf(seconds: float, node: int, kind: str, ring: list[int], *members: int) -> Line:
    """
    A configuration of two nodes that lose and gain none but node 2.
    """
    left = [2] if kind == "T" else []
    joined = [1, 2] if kind == "R" and ring == RING else []
    who = {"ring": ring, "members": members, "left": left, "joined": joined}
    return at(seconds, node=node, ev="conf", kind=kind, cause="because", **who)


def frame(seconds: float, node: int, event: str, sequence: int, origin: int) -> Line:
    """
    Sent, or delivered.
    """
    extra = {"number": sequence} if event == "send" else {"sender": origin}
    common = {"ring": RING, "seq": sequence, "digest": f"{sequence}"}
    return at(seconds, node=node, ev=event, **common, **extra)


def recorded(node: int) -> list[Line]:
    """
    Two nodes on a ring, of which the second is killed after two seconds.
    """
    story = [
        at(0.1, node=node, ev="boot", stored=None),
        at(0.2, node=node, ev="store", sequence=8, ok=True),
        conf(0.3, node, "R", RING, 1, 2),
    ]
    if node == 1:
        story += [frame(0.4, 1, "send", 1, 1), frame(0.5, 1, "send", 2, 1)]
    story += [frame(0.6, node, "deliver", 1, 1), frame(0.7, node, "deliver", 2, 1)]
    if node == 1:
        story += [
            at(4.0, node=1, ev="store", sequence=12, ok=True),
            conf(4.5, 1, "T", NEXT, 1),
            conf(4.5, 1, "R", NEXT, 1),
        ]
    return story


def logged(node: int) -> list[Line]:
    """
    Of the client of each.
    """
    both = [[1, 11, 0], [2, 22, 0]]
    entries = []
    if node == 1:
        own = [[1, 11, 0]]
        entries += [at(0.4, event="view", members=own, left=[], joined=[[1, 11, 1]])]
    entries += [at(0.5, event="view", members=both, left=[], joined=[[2, 22, 1]])]
    if node == 1:
        entries += [at(0.5, event="sending", first=0, count=2, size=50)]
    for number, seconds in enumerate((0.6, 1.7)):
        common = {"nodeid": 1, "pid": 11, "length": 50, "digest": 0, "intact": True}
        entries += [at(seconds, event="message", sequence=number, **common)]
    if node == 1:
        entries += [at(1.8, event="sent", count=2, size=50)]
        alone = {"members": [[1, 11, 0]], "left": [[2, 22, 3]], "joined": []}
        entries += [at(4.6, event="view", **alone)]
        entries += [at(4.6, event="ring", representative=1, sequence=12, members=[1])]
    # Not part of the run any more.
    return [*entries, at(99, event="view", members=[], left=[], joined=[])]


def story() -> Story:
    """
    Of that run.
    """
    return Story(
        ["two nodes"],
        [1, 2],
        [1, 2],
        2.0,
        START,
        START + 10 * NANO,
        True,
        [[START, "start node 1"]],
        {"kill": 1},
        [at(2.0, ev="killed", node=2), at(10.0, ev="quiet")],
        [],
        [Calm(1, START + 3 * NANO, START + 9 * NANO)],
        [
            Client(1, 11, 1, "client1.1.jsonl", True),
            Client(2, 22, 1, "client2.1.jsonl", False),
        ],
    )


class VerdictTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.story = story()
        for node in (1, 2):
            self.write(f"node{node}.jsonl", recorded(node))
            self.write(f"client{node}.1.jsonl", logged(node))

    def write(self, name: str, lines: list[Line]) -> None:
        """
        One of the files.
        """
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.directory / name).write_text(text)

    def verdict(self) -> Verdict:
        """
        About what is there.
        """
        self.story.save(self.directory)
        return judge(self.directory)

    def test_good(self) -> None:
        """
        A run that kept all promises: status 0, and every figure.
        """
        verdict = self.verdict()
        self.assertEqual(
            str(verdict),
            "two nodes\n"
            "\n"
            "storms             1\n"
            "faults             1: 1 kill\n"
            "rings              2\n"
            "clients            2\n"
            "messages           2 sent, 4 delivered\n"
            "frames of ours     2 sent, 4 delivered\n"
            "longest silence    1.10 s (0.6 token timeouts) of a client,"
            " until 0:01.70\n"
            "heal to one ring   median 0.75, 95 % 0.75, most 0.75 token timeouts"
            " (1 times)\n"
            "crash to new ring  median 1.25, 95 % 1.25, most 1.25 token timeouts"
            " (1 times)\n"
            "late changes       0\n"
            "\n"
            "VERDICT: every promise was kept.\n",
        )
        self.assertEqual(verdict.status, 0)

    def test_recordsSwapped(self) -> None:
        """
        Two records of one node in the wrong order: status 1, the promise, and
        the records that led there.
        """
        lines = recorded(2)
        lines[3]["t"], lines[4]["t"] = lines[4]["t"], lines[3]["t"]
        lines[3], lines[4] = lines[4], lines[3]
        self.write("node2.jsonl", lines)
        verdict = self.verdict()
        self.assertEqual(verdict.status, 1)
        self.assertIn("VERDICT: not kept: P6.2 (1 times), P1.4 (1 times)", str(verdict))
        self.assertIn(f"    {json.dumps(lines[3])}\n", str(verdict))

    def test_logSwapped(self) -> None:
        """
        Two entries of one client likewise, with what is around.
        """
        lines = logged(2)
        lines[1], lines[2] = lines[2], lines[1]
        self.write("client2.1.jsonl", lines)
        verdict = self.verdict()
        self.assertEqual(verdict.status, 1)
        self.assertIn("C4: got a message twice, or in the wrong order", str(verdict))
        self.assertIn("\n    > 2/22 2: Heard(", str(verdict))
        self.assertIn("\n      2/22 0: Viewed(", str(verdict))

    def test_foreign(self) -> None:
        """
        What only corosync nodes are to blame for is told, and is no failure.
        """
        self.story = evolve(self.story, ours=[1])
        lines = logged(2)
        lines[1]["intact"] = False
        self.write("client2.1.jsonl", lines)
        verdict = self.verdict()
        self.assertEqual(verdict.status, 0)
        self.assertIn("VERDICT: every promise was kept.", str(verdict))
        self.assertIn("By corosync nodes alone, not kept: C4 (1 times).", str(verdict))

    def test_late(self) -> None:
        """
        One ring, but too late, breaks a promise; and what changed long after
        the last fault is shown.
        """
        self.story = evolve(self.story, token=0.2)
        text = str(self.verdict())
        self.assertIn("VERDICT: not kept: L1 (1 times)", text)
        self.assertIn("tokens [7.5], most 6.0", text)
        self.assertIn("late changes       1\n    0:04.50 after storm 1, node 1:", text)

    def test_complaint(self) -> None:
        """
        Neither is a run good that did not come to its end.
        """
        self.story = evolve(self.story, complaints=["no end"], quiet=False)
        verdict = self.verdict()
        self.assertEqual(verdict.status, 1)
        self.assertIn("COMPLAINT: no end", str(verdict))
        self.assertNotIn("VERDICT", str(verdict))

    def test_command(self) -> None:
        """
        The command judges again what is in a directory.
        """
        self.verdict()
        output, errors = StringIO(), StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        self.assertEqual(run(["--judge", str(self.directory)]), 0)
        self.assertIn("every promise was kept", output.getvalue())
        (self.directory / "node1.jsonl").write_text("nonsense\n")
        self.assertEqual(run(["--judge", str(self.directory)]), 2)
        self.assertIn("node1.jsonl:1: ", errors.getvalue())
        (self.directory / "run.json").write_text('{"title": []}')
        self.assertEqual(run(["--judge", str(self.directory)]), 2)
        self.assertIn("run.json: ", errors.getvalue())
