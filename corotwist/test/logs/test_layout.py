"""
Records as lines.
"""

import json
from enum import Enum

from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.layout import JsonLayout, TextLayout, readable
from corotwist.logs.levels import Priority
from corotwist.test.logs.factories import NOON, record


class Colour(Enum):
    RED = 1


def code() -> object:
    """
    Some line of a source.
    """
    return code.__code__


class TextTests(SynchronousTestCase):
    def line(self, layout: TextLayout | None = None, text: str = "text") -> str:
        """
        One record.
        """
        kept = record(text, "CPG")
        kept.code, kept.line = code.__code__, 7
        return (layout or TextLayout()).line(kept).decode()

    def test_line(self) -> None:
        """
        Time with milliseconds, subsystem, priority and text.
        """
        self.assertRegex(
            self.line(),
            r"^2026-08-0\dT\d\d:00:00\.250[+-]\d\d:\d\d \[CPG   \] info    text\n$",
        )

    def test_timestamp(self) -> None:
        """
        The time may be rougher, or missing.
        """
        rough = self.line(TextLayout("on"))
        self.assertRegex(rough, r"^2026-08-0\dT\d\d:00:00[+-]\d\d:\d\d \[")
        self.assertEqual(self.line(TextLayout("off")), "[CPG   ] info    text\n")

    def test_place(self) -> None:
        """
        Source line and function, on request.
        """
        layout = TextLayout("off", fileline=True, functionName=True)
        self.assertEqual(
            self.line(layout),
            "[CPG   ] info    corotwist/test/logs/test_layout.py:7 code() text\n",
        )
        self.assertEqual(
            layout.line(record()).decode(), "[CPG   ] info    text\n", "no place"
        )

    def test_trace(self) -> None:
        """
        A trace point tells its level.
        """
        kept = record(trace=3, priority=Priority.TRACE)
        self.assertIn(b"] trace3  text", TextLayout().line(kept))

    def test_nobodyMakesUpLines(self) -> None:
        """
        Text from elsewhere cannot look like a line of its own, nor move a
        terminal's cursor.
        """
        line = self.line(TextLayout("off"), "one\n[CPG   ] crit two\r\x1b[2J\x9b")
        self.assertEqual(
            line, "[CPG   ] info    one\n\t[CPG   ] crit two\\x0d\\x1b[2J\\x9b\n"
        )
        self.assertEqual(readable("käse\tx"), "käse\tx")
        self.assertEqual(readable("\udc80"), "\\udc80")

    def test_traceback(self) -> None:
        """
        A traceback stands behind the text, indented.
        """
        line = TextLayout("off").line(record("broke", traceback="File x\n  y\n"))
        self.assertEqual(line, b"[CPG   ] info    broke\n\tFile x\n\t  y\n")


class JsonTests(SynchronousTestCase):
    def test_line(self) -> None:
        """
        One object on one line, with the arguments as fields.  (A32)
        """
        kept = record(
            "{count} of\n{who}",
            fields={"count": 3, "who": b"\xff", "colour": Colour.RED, "pair": (1, "x")},
            traceback="File x\n",
        )
        kept.code, kept.line = code.__code__, 7
        line = JsonLayout({"nodeid": 5}).line(kept)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(
            json.loads(line),
            {
                "nodeid": 5,
                "time": NOON,
                "priority": "info",
                "subsystem": "CPG",
                "text": "3 of\nb'\\xff'",
                "fields": {
                    "count": 3,
                    "who": "\\xff",
                    "colour": "Colour.RED",
                    "pair": [1, "x"],
                },
                "traceback": "File x\n",
                "file": "corotwist/test/logs/test_layout.py",
                "line": 7,
                "function": "code",
            },
        )

    def test_trace(self) -> None:
        """
        A trace level has its name.
        """
        line = JsonLayout({}).line(record(trace=3, priority=Priority.TRACE))
        self.assertEqual(json.loads(line)["trace"], "sync")
