"""
What real daemons recorded and their clients logged, before the judges.
"""

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.interfaces import Change, Member, Reason
from corotwist.simulator.judges.blackbox import (
    Accepted,
    Heard,
    Leaving,
    RingSeen,
    Sending,
    Viewed,
)
from corotwist.simulator.judges.judge import Violation
from corotwist.simulator.recorded import (
    Record,
    RecordJudge,
    Unreadable,
    entries,
    records,
)
from corotwist.totem.membership import RingId

RING = [1, 8]
NEXT = [1, 12]


def boot(node: int, stored: int | None = None) -> Record:
    return {"node": node, "ev": "boot", "stored": stored}


def store(node: int, sequence: int, ok: bool = True) -> Record:
    return {"node": node, "ev": "store", "sequence": sequence, "ok": ok}


def conf(
    node: int, kind: str, ring: list[int], members: list[int], **changes: list[int]
) -> Record:
    common = {"node": node, "ev": "conf", "kind": kind, "ring": ring, "cause": ""}
    return {**common, "members": members, "left": [], "joined": [], **changes}


def send(node: int, sequence: int, number: int) -> Record:
    digest = f"{node}.{sequence}"
    own = {"node": node, "ev": "send", "ring": RING, "seq": sequence}
    return {**own, "number": number, "digest": digest}


def deliver(node: int, sequence: int, sender: int) -> Record:
    digest = f"{sender}.{sequence}"
    own = {"node": node, "ev": "deliver", "ring": RING, "seq": sequence}
    return {**own, "sender": sender, "digest": digest}


def formed(*nodes: int, also: tuple[int, ...] = ()) -> list[Record]:
    """
    Some nodes form a ring, with others that keep no record.
    """
    members = sorted((*nodes, *also))
    story: list[Record] = []
    for node in nodes:
        story += [boot(node), store(node, 8)]
        story.append(conf(node, "R", RING, members, joined=members))
    return story


def good() -> list[Record]:
    """
    Two nodes order messages of both; one is killed, the other goes on.
    """
    return [
        *formed(1, 2),
        send(1, 1, 1),
        deliver(1, 1, 1),
        deliver(2, 1, 1),
        send(2, 2, 1),
        deliver(2, 2, 2),
        {"ev": "killed", "node": 2},
        deliver(1, 2, 2),
        store(1, 12),
        conf(1, "T", NEXT, [1], left=[2]),
        conf(1, "R", NEXT, [1]),
        {"ev": "quiet"},
    ]


class RecordTests(SynchronousTestCase):
    def verdict(
        self, story: list[Record], recording: tuple[int, ...] = (1, 2)
    ) -> list[Violation]:
        """
        Have a story on files, one of each node, and judged.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        files: dict[int, list[str]] = {node: [] for node in recording}
        marks = []
        for time, record in enumerate(story):
            timed = {"t": time, "life": 1, **record}
            if record["ev"] in ("killed", "quiet"):
                marks.append(timed)
            else:
                files[record["node"]].append(json.dumps(timed) + "\n")
        found: list[Violation] = []
        paths = [directory / f"{node}" for node in files]
        for path, lines in zip(paths, files.values(), strict=True):
            path.write_text("".join(lines))
        judge = RecordJudge(found.append, frozenset(recording))
        judge.judge(paths, marks)
        self.assertEqual(sum(judge.counts.values()), len(story))
        return found

    def promises(self, *arguments: Any) -> list[str]:
        """
        The names of those that were broken.
        """
        return [violation.promise for violation in self.verdict(*arguments)]

    def test_good(self) -> None:
        """
        Nothing is held against a run that keeps its promises.
        """
        self.assertEqual(self.verdict(good()), [])

    def test_swapped(self) -> None:
        """
        A delivery before its send, and another out of place, are seen.
        """
        story = good()
        story[8], story[10] = story[10], story[8]
        self.assertIn("P1.2", self.promises(story))

    def test_restart(self) -> None:
        """
        A node that boots again is another process; what the one before left
        undone is not held against it, but its ring sequence is.
        """
        again = [boot(2, 8), store(2, 12), conf(2, "R", [2, 12], [2], joined=[2])]
        self.assertEqual(self.promises([*good()[:-1], *again]), [])
        lost = [boot(2), store(2, 4), conf(2, "R", [2, 4], [2], joined=[2])]
        self.assertEqual(self.promises([*good()[:-1], *lost]), [])
        low = [boot(2, 8), conf(2, "R", [2, 8], [2], joined=[2])]
        self.assertEqual(self.promises([*good()[:-1], *low]), ["P2.6"])

    def test_beforeDisk(self) -> None:
        """
        I5: a ring's id is stored before the ring is installed.
        """
        story = good()
        story[1] = store(1, 8, ok=False)
        self.assertEqual(self.promises(story), ["I5"])

    def test_quiet(self) -> None:
        """
        L2: in quiet, what was sent is delivered.
        """
        story = [*formed(1, 2), send(1, 1, 1), deliver(1, 1, 1), {"ev": "quiet"}]
        self.assertEqual(self.promises(story), ["L2"])

    def test_strangers(self) -> None:
        """
        Frames of a node without records have the places at which others
        delivered them, however late that was told.
        """
        story = [
            *formed(1, 2, also=(3,)),
            send(1, 2, 1),
            deliver(2, 1, 3),
            deliver(2, 2, 1),
            deliver(1, 1, 3),
            deliver(1, 2, 1),
            deliver(1, 3, 3),
            deliver(2, 3, 3),
            {"ev": "quiet"},
        ]
        self.assertEqual(self.verdict(story), [])
        story[-2] = {**deliver(2, 3, 3), "digest": "other"}
        self.assertEqual(self.promises(story), ["P1.5"])

    def test_strangersPlace(self) -> None:
        """
        P6.4: a frame without a record cannot be where another is.
        """
        story = [*formed(1, 2, also=(3,)), send(1, 1, 1), deliver(2, 1, 3)]
        self.assertEqual(self.promises(story)[0], "P6.4")

    def test_strangersGap(self) -> None:
        """
        P6.2: a gap is seen also where the missing frame is in no record.
        """
        story = [*formed(1, 2, also=(3,)), deliver(1, 1, 3), deliver(1, 3, 3)]
        self.assertEqual(self.promises(story), ["P6.2"])

    def test_noBoot(self) -> None:
        """
        Records of a node that did not boot are no history.
        """
        self.assertRaises(Unreadable, self.verdict, [send(1, 1, 1)])


class FileTests(SynchronousTestCase):
    def test_tornLine(self) -> None:
        """
        The last line of a client that was killed may be cut off; any other
        line must be whole.
        """
        path = Path(self.mktemp())
        path.write_text('{"a": 1}\n{"a": 2')
        self.assertEqual(list(records(path)), [{"a": 1}])
        path.write_text('{"a": 1\n{"a": 2}\n')
        error = self.assertRaises(Unreadable, list, records(path))
        self.assertIn(f"{path}:1: ", str(error))


class EntryTests(SynchronousTestCase):
    def test_everyKind(self) -> None:
        """
        Each line of a client's log is what the judge reads; lines that say
        nothing about the group are skipped.
        """
        lines: list[dict[str, Any]] = [
            {"event": "ready", "nodeid": 1, "pid": 11},
            {
                "event": "view",
                "members": [[1, 11, 0], [2, 22, 0]],
                "left": [[4, 44, 3], [3, 33, 3]],
                "joined": [],
            },
            {"event": "ring", "representative": 1, "sequence": 8, "members": [1, 2]},
            {"event": "sending", "first": 0, "count": 2, "size": 50},
            {
                "event": "message",
                "nodeid": 2,
                "pid": 22,
                "sequence": 7,
                "length": 50,
                "digest": 1,
                "intact": True,
            },
            {"event": "sent", "size": 50, "count": 2},
            {"event": "leaving"},
        ]
        left = (
            Change(Member(3, 33), Reason.NODEDOWN),
            Change(Member(4, 44), Reason.NODEDOWN),
        )
        self.assertEqual(
            list(entries(lines)),
            [
                Viewed(frozenset((Member(1, 11), Member(2, 22))), left),
                RingSeen(RingId(8, 1), (1, 2)),
                Sending(0, 2, 50),
                Heard(Member(2, 22), 7, 50),
                Accepted(2),
                Leaving(),
            ],
        )
