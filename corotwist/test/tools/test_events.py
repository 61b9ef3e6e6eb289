"""
C{corotwist events}, C{why} and C{watch}: what happens, why, and how it is.
"""

import io
import json
import sys
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from corotwist.config.tracking import Change
from corotwist.config.values import string, u32
from corotwist.engines.interfaces import (
    Cause,
    Member,
    NodeChange,
    View,
    ViewId,
    ViewRecord,
)
from corotwist.test.directories import shortDirectory
from corotwist.test.tools import schemas
from corotwist.tools import watch, why
from corotwist.tools.absence import moment
from corotwist.tools.accounts import about, account, standing
from corotwist.tools.happenings import Happening, Happenings, Subject
from corotwist.tools.notices import (
    MIB,
    MOST_WAITING,
    Given,
    Lines,
    Programs,
    SystemLog,
    Teller,
    Trap,
    signal,
)
from corotwist.tools.screen import Snapshot, frame, picture
from corotwist.tools.watch import Watch
from corotwist.totem.membership import RingId

TIME = "2026-11-22 10:00:00+00:00"
TELLER = Teller("here", 1)
LOST_2 = NodeChange(2, Cause.LOST)
STOPPED_2 = NodeChange(2, Cause.STOPPED, "maintenance")
STARTED_2 = NodeChange(2, Cause.STARTED)


def view(
    *members: int,
    number: int = 0,
    left: tuple[NodeChange, ...] = (),
    joined: tuple[NodeChange, ...] = (),
    quorate: bool = True,
) -> View:
    viewId = ViewId(RingId(8, 1), number)
    return View(viewId, members, left, joined, quorate, "majority")


def sentences(happenings: Any) -> list[str]:
    return [happening.sentence("here", 1) for happening in happenings]


class HappeningTests(SynchronousTestCase):
    """
    From what a node says to what happened.
    """

    def setUp(self) -> None:
        self.happenings = Happenings({2: "10.0.0.2"})

    def test_nodes(self) -> None:
        """
        Who left and who joined, in that order, in corosync's words, with the
        cause behind.  (F15)
        """
        list(self.happenings.viewed(view(1, 2), first=True))
        told = self.happenings.viewed(
            view(1, 2, left=(STOPPED_2,), joined=(STARTED_2,))
        )
        self.assertEqual(
            sentences(told),
            [
                "here[2] ip:10.0.0.2 left (stopped: maintenance)",
                "here[2] ip:10.0.0.2 joined (started)",
            ],
        )

    def test_quorum(self) -> None:
        """
        Quorum is told when it changes, and only then; what was when we began is
        no news.
        """
        self.assertEqual(list(self.happenings.viewed(view(1, 2), first=True)), [])
        self.assertEqual(list(self.happenings.viewed(view(1, 2))), [])
        lost = self.happenings.viewed(view(1, quorate=False, number=1))
        self.assertEqual(sentences(lost), ["here[1] has lost quorum (majority)"])
        won = self.happenings.viewed(view(1, number=2))
        self.assertEqual(sentences(won), ["here[1] is now quorate (majority)"])

    def test_clients(self) -> None:
        """
        Clients that come and go, once each, by the name of their program.
        """
        name = "stats.ipcs.service2.77.0x1."
        there, gone = string("backup"), None
        changes = [
            Change.between(f"{name}procname", None, there),
            Change.between(f"{name}requests", u32(1), u32(2)),
            Change.between(f"{name}procname", there, gone),
        ]
        self.assertEqual(
            sentences(self.happenings.counted(changes)),
            [
                "here[1] backup is now connected to corosync",
                "here[1] backup is now disconnected from corosync",
            ],
        )

    def test_links(self) -> None:
        """
        A link that goes down, and up again; not how it was in the beginning.
        """
        self.assertEqual(list(self.happenings.linked({(2, 0): True})), [])
        self.assertEqual(
            sentences(self.happenings.linked({(2, 0): False})),
            ["here[1] link 0 to node 2 is now disconnected"],
        )
        self.assertEqual(list(self.happenings.linked({(2, 0): False})), [])
        self.assertEqual(
            sentences(self.happenings.linked({(2, 0): True, (3, 0): True})),
            ["here[1] link 0 to node 2 is now operational"],
        )


LEFT_2 = Happening(Subject.NODE, "left", 2, "10.0.0.2", "lost", "", "1.8.0")


class OutletTests(SynchronousTestCase):
    """
    Where it goes.
    """

    def test_lines(self) -> None:
        """
        One line each: for people, or one JSON object with its schema.  (F15, F21)
        """
        out = io.StringIO()
        Lines(out, False).tell(LEFT_2, TELLER, TIME)
        self.assertEqual(out.getvalue(), f"{TIME} here[2] ip:10.0.0.2 left (lost)\n")
        out = io.StringIO()
        Lines(out, True).tell(LEFT_2, TELLER, TIME)
        self.assertEqual(
            json.loads(out.getvalue()),
            {
                "schema": "corotwist/events/1",
                "time": TIME,
                "from": 1,
                "subject": "node",
                "state": "left",
                "node": 2,
                "detail": "10.0.0.2",
                "cause": "lost",
                "reason": "",
                "view": "1.8.0",
            },
        )

    def test_syslog(self) -> None:
        """
        Syslog gets the sentence as a notice.
        """
        told: list[Any] = []
        SystemLog(lambda *what: told.append(what)).tell(LEFT_2, TELLER, TIME)
        self.assertEqual(told, [(5, "here[2] ip:10.0.0.2 left (lost)")])

    def test_traps(self) -> None:
        """
        Traps have the numbers of COROSYNC-MIB and a value of the right type for
        each object.
        """
        command = Trap("manager:162", "secret")(LEFT_2, TELLER, TIME)
        self.assertEqual(
            command[:8],
            (
                *("snmptrap", "-v", "2c", "-c", "secret", "manager:162", ""),
                f"{MIB}.0.1",
            ),
        )
        fields = {command[n]: command[n + 1 : n + 3] for n in range(8, len(command), 3)}
        self.assertEqual(fields[f"{MIB}.1.2"], ("u", "2"))
        self.assertEqual(fields[f"{MIB}.1.3"], ("s", "left"))
        self.assertEqual(fields[f"{MIB}.1.4"], ("s", "10.0.0.2"))
        for subject, number in (("quorum", 2), ("application", 3), ("link", 4)):
            what = Happening(Subject(subject), "state", 2, "0")
            trap = Trap("manager", "public")(what, TELLER, TIME)
            self.assertEqual(trap[7], f"{MIB}.0.{number}")
            self.assertEqual((len(trap) - 8) % 3, 0)

    def test_signals(self) -> None:
        """
        Signals are those of org.corosync, with its arguments.
        """
        self.assertEqual(
            signal(LEFT_2, TELLER, TIME),
            (
                *("dbus-send", "--system", "--type=signal", "/org/corosync"),
                *("org.corosync.NodeStateChange", "string:here", "uint32:2"),
                *("string:10.0.0.2", "string:left"),
            ),
        )
        link = Happening(Subject.LINK, "operational", 2, "1")
        self.assertEqual(
            signal(link, TELLER, TIME)[4:],
            (
                *("org.corosync.LinkStateChange", "string:here", "uint32:1"),
                *("uint32:2", "uint32:1", "string:operational"),
            ),
        )


class ProgramTests(TestCase):
    """
    Programs are real ones.
    """

    timeout = 60

    def setUp(self) -> None:
        self.complaints: list[str] = []
        self.path = shortDirectory(self) / "told"

    def programs(self, text: str) -> Programs:
        return Programs(reactor, Given(text), self.complaints.append)

    async def settled(self, programs: Programs, lines: int) -> list[str]:
        while not self.path.exists() or len(self.path.read_text().split("\n")) <= lines:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        return self.path.read_text().splitlines()

    async def test_environment(self) -> None:
        """
        A program learns what happened from its environment; one runs after the
        other, in order.
        """
        program = self.programs(
            f'echo "$COROTWIST_EVENT_NODE $COROTWIST_EVENT_STATE" >> {self.path}'
        )
        for nodeid in (2, 3, 4):
            what = Happening(Subject.NODE, "left", nodeid)
            program.tell(what, TELLER, TIME)
        self.assertEqual(await self.settled(program, 3), ["2 left", "3 left", "4 left"])

    async def test_failure(self) -> None:
        """
        A program that fails is told of, and counted, and the next one runs.
        """
        program = self.programs(f"echo ran >> {self.path}; exit 3")
        for _ in range(2):
            program.tell(LEFT_2, TELLER, TIME)
        await self.settled(program, 2)
        while program.failed < 2:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        self.assertIn("exit code 3", self.complaints[0])

    async def test_bounded(self) -> None:
        """
        Where programs are too slow, the oldest that wait are dropped, and
        counted.
        """
        program = self.programs(f"sleep 0.2; echo ran >> {self.path}")
        for _ in range(MOST_WAITING + 3):
            program.tell(LEFT_2, TELLER, TIME)
        self.assertEqual(program.dropped, 2)
        program.command = Given("true")  # Not for those that wait.
        program._waiting.clear()
        await self.settled(program, 1)


RECORD = ViewRecord(
    1_700_000_000_000_000_000,
    view(1, 2, 3),
    view(1, 3, left=(LOST_2,)),
    "no token came for 1000 ms",
    {"noticed by": 3},
    ((RingId(12, 1), "node 3 was not heard"),),
    {"votes": 2, "expected": 3, "quorum": 2, "rule": "majority"},
)
ARRIVAL = ViewRecord(
    1_600_000_000_000_000_000,
    view(1, 3),
    view(1, 2, 3, joined=(STARTED_2,)),
    "a node was heard",
    {},
    (),
    {},
)


class AccountTests(SynchronousTestCase):
    """
    How a view came about.
    """

    def test_account(self) -> None:
        """
        Everything on record is told: who, why, who noticed, rings in between,
        and what decided about quorum.  (F23)
        """
        lines = account(RECORD)
        self.assertIn("view 1.8.0: nodes 1 3, quorate", lines[0])
        self.assertEqual(
            lines[1:],
            [
                "  node 2 was lost: nothing was heard of it any more",
                "  because: no token came for 1000 ms",
                "  noticed by: 3",
                "  ring 1.c in between never came into step: node 3 was not heard",
                "  quorum: majority",
                "    2 votes, 3 expected, 2 needed",
            ],
        )

    def test_evidence(self) -> None:
        """
        What is on record as nobody is left out; nodes are named, and what was
        set at run time is said where the numbers are.  (F23)
        """
        evidence = {
            "noticedBy": 3,
            "accused": (),
            "missing": ((2, "left"), (4, "did not answer")),
        }
        remarks = {"override": "expected_votes: 5", "notes": ""}
        record = evolve(RECORD, evidence=evidence, explanation=remarks)
        lines = account(record)
        self.assertIn("  noticed first by node: 3", lines)
        self.assertIn("  missing: 2 left, 4 did not answer", lines)
        self.assertEqual(lines[-1], "    set at run time: expected_votes: 5")
        self.assertNotIn("accused", "".join(lines))

    def test_nothingNoticed(self) -> None:
        """
        Of a node's first view nobody noticed anything.
        """
        lines = account(evolve(ARRIVAL, evidence={"noticedBy": 0}))
        self.assertNotIn("noticed", "".join(lines))

    def test_about(self) -> None:
        """
        Of a node: when it came and went, and where it is now.
        """
        records = [ARRIVAL, RECORD]
        self.assertEqual(about(2, records), records)
        self.assertEqual(about(3, records), [])
        self.assertEqual(standing(2, records), "node 2 is not in view 1.8.0")
        self.assertEqual(standing(3, records), "node 3 is in view 1.8.0")
        self.assertEqual(standing(9, records), "nothing was ever heard of node 9")
        self.assertEqual(standing(9, []), "there was no view yet")


@define
class FakeViews:
    """
    A node with a past.

    @ivar told: calls who follows.
    """

    records: list[ViewRecord] = field(factory=lambda: [ARRIVAL, RECORD])
    told: Callable[[View], object] = field(init=False)

    def follow(self, callback: Callable[[View], object]) -> None:
        self.told = callback
        callback(self.records[-1].view)

    def history(self) -> Deferred[list[ViewRecord]]:
        return succeed(self.records)


@define
class FakeClient:
    """
    Connected to it.
    """

    views: FakeViews = field(factory=FakeViews)
    clock: None = None


class WhyTests(SynchronousTestCase):
    """
    The command.
    """

    def why(self, *arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        options = why.WhyOptions()
        options.parseOptions(list(arguments))
        client: Any = FakeClient()
        performing: Any = why.TOOL.perform(client, options)
        done: Deferred[int] = Deferred.fromCoroutine(performing)
        return self.successResultOf(done), out.getvalue()

    def test_node(self) -> None:
        """
        The changes that concern a node, the latest last; 1 when there is none.
        (F23)
        """
        status, text = self.why("2")
        self.assertEqual(status, 0)
        self.assertLess(text.index("has started"), text.index("was lost"))
        self.assertTrue(text.endswith("node 2 is not in view 1.8.0\n"))
        self.assertEqual(self.why("9"), (1, "nothing was ever heard of node 9\n"))

    def test_all(self) -> None:
        """
        Without a node, the latest changes of all; as many as wanted.
        """
        status, text = self.why("--last", "1")
        self.assertEqual(status, 0)
        self.assertNotIn("has started", text)
        self.assertIn("was lost", text)

    def test_json(self) -> None:
        """
        As JSON, with everything that is on record, as documented.  (F21, F23)
        """
        status, text = self.why("2", "--json")
        report = json.loads(text)
        self.assertEqual((status, report["schema"]), (0, "corotwist/why/1"))
        self.assertEqual(schemas.differences(report), [])
        self.assertEqual(report["node"], 2)
        self.assertEqual(report["changes"][1]["cause"], RECORD.cause)
        self.assertEqual(report["changes"][1]["view"]["left"][0]["cause"], "lost")


class WatchTests(SynchronousTestCase):
    """
    What happened lately.
    """

    def test_times(self) -> None:
        """
        What was before we watched has the time that is on record, what comes
        later the time when it came.  (F24)
        """
        client: Any = FakeClient()
        following = Watch(client)
        self.patch(watch, "timeOfDay", lambda: TIME)
        self.successResultOf(Deferred.fromCoroutine(following.begin()))
        before = [*following.events]
        self.assertIn("node 2 was lost", before[0])
        for line in before:
            self.assertTrue(line.startswith(f"{moment(RECORD.time / 1e9)}  "), line)
        following.events.clear()
        client.views.told(view(1, 2, number=1, joined=(STARTED_2,)))
        self.assertEqual(following.events[0], f"{TIME}  node 2 has started")


def snapshot(**changes: Any) -> Snapshot:
    values: dict[str, Any] = {
        "time": TIME,
        "seconds": 10.0,
        "nodeid": 1,
        "view": "1.8.0",
        "members": (1, 3),
        "nodes": {1: "one", 2: "two", 3: "three"},
        "state": "running",
        "quorate": True,
        "explanation": {"votes": 2, "quorum": 2, "rule": "majority"},
        "groups": {b"work": (Member(1, 100), Member(3, 300))},
        "counters": {"framesDelivered": 100},
    }
    return Snapshot(**{**values, **changes})


class ScreenTests(SynchronousTestCase):
    """
    What is drawn.
    """

    def test_frame(self) -> None:
        """
        View, verdict, every configured node, groups with members, what happened
        lately.  (F24)
        """
        self.assertEqual(
            frame(snapshot(), None, ["a thing"]),
            [
                f" corotwist watch   node 1   {TIME} ",
                "view 1.8.0, running, quorate: 2 votes, 2 needed (majority)",
                "",
                "  NODE  NAME",
                "     1  one (this one)",
                "     2  two  not here",
                "     3  three",
                "",
                "1 process groups",
                "  work: 1/100 3/300",
                "",
                "lately",
                "a thing",
            ],
        )

    def test_rates(self) -> None:
        """
        Counters of two pictures make rates.
        """
        later = snapshot(seconds=12.0, counters={"framesDelivered": 300})
        self.assertIn("per second: 100 frames", frame(later, snapshot(), []))

    def test_bounded(self) -> None:
        """
        Many groups with many members are shown in part, and it is said how many
        are left out.
        """
        crowd = tuple(Member(1, pid) for pid in range(100))
        groups = {b"%03d" % n: crowd for n in range(50)}
        lines = frame(snapshot(groups=groups), None, [])
        self.assertIn("  and 30 more", lines)
        self.assertTrue(any(line.endswith("and 88 more") for line in lines))
        self.assertLess(len(lines), 40)

    def test_terminal(self) -> None:
        """
        A picture is drawn over the one before, line by line; what is wrong is
        red.
        """
        drawn = picture(frame(snapshot(quorate=False), None, [], colours=True))
        self.assertTrue(drawn.startswith("\x1b[H"))
        self.assertTrue(drawn.endswith("\x1b[J"))
        self.assertIn("\x1b[31mNOT quorate\x1b[0m", drawn)
        self.assertNotIn("\x1b[", "".join(frame(snapshot(), None, [])))
