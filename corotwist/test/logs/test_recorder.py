"""
The flight recorder, its dumps, and how they are read again.
"""

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.flight import Filter, NotFlight, parseMoment, read, shown
from corotwist.logs.levels import Priority
from corotwist.logs.record import RECORD_BYTES
from corotwist.logs.recorder import MOST_DUMPS, Recorder, dumps, save
from corotwist.test.logs.factories import NOON, record


class RecorderTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """
        The latest records are kept, in so many bytes.
        """
        recorder = Recorder(10 * RECORD_BYTES)
        for number in range(25):
            recorder.add(record(str(number)))
        flight = recorder.flight(NOON, "test", {}, {})
        self.assertEqual(
            [r.format for r in flight.records], [str(n) for n in range(15, 25)]
        )
        self.assertEqual((recorder.bytes, flight.forgotten), (10 * RECORD_BYTES, 15))

    def test_oneTooLarge(self) -> None:
        """
        A record that is larger than all room leaves nothing.
        """
        recorder = Recorder(RECORD_BYTES)
        recorder.add(record("x", size=2 * RECORD_BYTES))
        self.assertEqual((len(recorder), recorder.bytes), (0, 0))

    def test_clear(self) -> None:
        """
        It can be emptied.
        """
        recorder = Recorder()
        recorder.add(record())
        recorder.clear()
        self.assertEqual((len(recorder), recorder.bytes), (0, 0))


class SaveBase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.recorder = Recorder()

    def save(self, moment: float = NOON, state: Any = None) -> Path:
        """
        A dump.
        """
        common = {"nodeid": 3, "pid": 99}
        flight = self.recorder.flight(moment, "test", common, state or {})
        return save(flight, self.directory)


class SaveTests(SaveBase):
    def test_lines(self) -> None:
        """
        A dump is lines of JSON: what it is, the events, the state.  (A32)
        """
        self.recorder.add(record("{x}", fields={"x": 1}))
        path = self.save(state={"cpg": {"groups": 2}})
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        self.assertEqual(
            lines[0],
            {
                "format": "corotwist flight recorder",
                "version": 1,
                "time": NOON,
                "reason": "test",
                "events": 1,
                "forgotten": 0,
                "nodeid": 3,
                "pid": 99,
            },
        )
        self.assertEqual((lines[1]["text"], lines[1]["fields"]), ("1", {"x": 1}))
        self.assertEqual(lines[2], {"state": "cpg", "value": {"groups": 2}})
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_strangeState(self) -> None:
        """
        An engine may tell what JSON cannot hold.
        """
        itself: dict[str, Any] = {}
        itself["self"] = itself
        path = self.save(state={"a": {(1, 2): 3}, "b": itself, "c": {4}})
        found = read(path.read_bytes().splitlines()).state
        self.assertEqual((found["a"], found["c"]), ("{(1, 2): 3}", "{4}"))
        self.assertIn("self", found["b"])

    def test_few(self) -> None:
        """
        The oldest dump goes when there are many; other files stay.
        """
        other = self.directory / "flight-plan.jsonl"
        other.write_text("mine")
        made = [self.save(NOON + number) for number in range(MOST_DUMPS + 3)]
        self.assertEqual(dumps(self.directory), made[3:])
        self.assertEqual(other.read_text(), "mine")

    def test_refused(self) -> None:
        """
        What cannot be written is told, and leaves nothing behind.
        """
        self.recorder.add(record())
        self.directory.rmdir()
        self.assertRaises(OSError, self.save)
        self.assertFalse(self.directory.exists())


class ReadTests(SaveBase):
    def test_again(self) -> None:
        """
        What was recorded is read again.
        """
        self.recorder.add(record("one"))
        self.recorder.add(record("two", trace=3, priority=Priority.TRACE))
        dump = read(self.save(state={"cpg": 1}).read_bytes().splitlines())
        self.assertEqual([e["text"] for e in dump.events], ["one", "two"])
        self.assertEqual(dump.events[1]["trace"], "sync")
        self.assertEqual((dump.state, dump.damaged), ({"cpg": 1}, 0))
        self.assertEqual(dump.header["reason"], "test")

    def test_damaged(self) -> None:
        """
        Lines that nobody can read are counted, and the others read.
        """
        self.recorder.add(record("one"))
        lines = self.save().read_bytes().splitlines()
        dump = read([*lines, b"{", b"[]", b'{"time":"x"}', b"\xff"])
        self.assertEqual((len(dump.events), dump.damaged), (1, 4))

    def test_other(self) -> None:
        """
        A file of something else is refused, and so is one of the future.
        """
        for lines in ([], [b"text"], [b'{"format":"x"}']):
            self.assertRaises(NotFlight, read, lines)
        header = b'{"format":"corotwist flight recorder","version":2}'
        error = self.assertRaises(NotFlight, read, [header])
        self.assertIn("format 2; we know 1", str(error))


class FilterTests(SynchronousTestCase):
    ENTRIES: Any = (
        {"time": 1.0, "subsystem": "CPG", "priority": "info"},
        {"time": 2.0, "subsystem": "TOTEM", "priority": "err"},
        {"time": 3.0, "subsystem": "SYNC", "priority": "trace", "trace": "sync"},
        {"time": 4.0, "subsystem": "CPG", "priority": "trace", "trace": "message"},
    )

    def times(self, **wanted: Any) -> list[float]:
        """
        Of the events that are chosen.
        """
        return [entry["time"] for entry in Filter(**wanted).chosen(self.ENTRIES)]

    def test_filters(self) -> None:
        """
        By time, subsystem, priority and trace level.
        """
        self.assertEqual(self.times(), [1, 2, 3, 4])
        self.assertEqual(self.times(since=2.0, until=3.0), [2, 3])
        self.assertEqual(self.times(subsystems=frozenset({"CPG"})), [1, 4])
        self.assertEqual(self.times(priority=Priority.ERR), [2])
        self.assertEqual(self.times(priority=Priority.DEBUG), [1, 2])
        self.assertEqual(self.times(traces=frozenset({3})), [1, 2, 3])

    def test_unknown(self) -> None:
        """
        What a later release calls otherwise is shown.
        """
        entry = {"time": 1.0, "priority": "quiet", "trace": "deep"}
        self.assertTrue(Filter(priority=Priority.ERR).wants(entry))

    def test_shown(self) -> None:
        """
        An event for people, on lines of its own.
        """
        entry = {
            "time": NOON,
            "subsystem": "CPG",
            "priority": "crit",
            "text": "a\nb\x1b",
            "file": "x.py",
            "line": 3,
            "traceback": "T\n",
        }
        self.assertRegex(
            shown(entry), r"^2026-08-0\S+ \[CPG   \] crit    x.py:3 a\n\tb\\x1b\n\tT$"
        )
        entry = {"time": NOON, "priority": "trace", "trace": "sync"}
        self.assertIn("trace:sync", shown(entry))


class MomentTests(SynchronousTestCase):
    def test_ago(self) -> None:
        """
        So long ago.
        """
        found = [parseMoment(text, 1e6) for text in ("30s", "1.5m", "2h", "1d")]
        self.assertEqual(found, [1e6 - 30, 1e6 - 90, 1e6 - 7200, 1e6 - 86400])

    def test_moment(self) -> None:
        """
        A date and a time, or a time of today.
        """
        self.assertEqual(parseMoment("2026-08-01T12:00:00.25+00:00", 0), NOON)
        clock = parseMoment("12:00", NOON)
        self.assertLess(abs(clock - NOON), 86400)
        self.assertEqual(clock % 60, 0)

    def test_wrong(self) -> None:
        """
        Anything else is told what would be right.
        """
        error = self.assertRaises(ValueError, parseMoment, "soon", 0)
        self.assertIn("10m for ten minutes ago", str(error))
