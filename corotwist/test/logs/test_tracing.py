"""
Trace points.
"""

from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.levels import ALL_TRACES
from corotwist.logs.tracing import (
    MESSAGE,
    STATE,
    SWITCHES,
    SYNC,
    TAG_KEY,
    TRACE_KEY,
    Switches,
    trace,
)


class SwitchesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.switches = Switches()

    def test_off(self) -> None:
        """
        At first all are off.
        """
        self.assertFalse(self.switches.point("CPG", STATE).on)

    def test_each(self) -> None:
        """
        Each level of each subsystem is switched by itself.  (A25)
        """
        points = {
            (tag, level): self.switches.point(tag, level)
            for tag in ("CPG", "TOTEM")
            for level in ALL_TRACES
        }
        for wanted in points:
            tag, level = wanted
            self.switches.choose(frozenset(), {tag: {level}})
            self.assertEqual([key for key in points if points[key].on], [wanted])

    def test_rest(self) -> None:
        """
        Subsystems of which nothing is said are as the rest.
        """
        points = [self.switches.point(tag, SYNC) for tag in ("A", "B")]
        self.switches.choose({SYNC}, {"A": frozenset()})
        self.assertEqual([point.on for point in points], [False, True])

    def test_later(self) -> None:
        """
        A point that is made after the choice has it.
        """
        self.switches.choose(frozenset(), {"LATE": {SYNC}})
        self.assertTrue(self.switches.point("LATE", SYNC).on)
        self.assertFalse(self.switches.point("LATE", STATE).on)

    def test_same(self) -> None:
        """
        There is one for each level of a subsystem, wherever it is asked for.
        """
        self.assertIs(
            self.switches.point("CPG", STATE), self.switches.point("CPG", STATE)
        )


class TraceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard: list[dict[str, Any]] = []
        observer: Any = self.heard.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.point = trace("TESTS", MESSAGE)
        self.addCleanup(SWITCHES.choose, frozenset(), {})

    def test_silent(self) -> None:
        """
        A point that is off says nothing, asked or not.
        """
        self.point("text")
        self.assertEqual(self.heard, [])

    def test_told(self) -> None:
        """
        A point that is on tells its level and its subsystem.
        """
        SWITCHES.choose(frozenset(), {"TESTS": {MESSAGE}})
        self.point("{count} of them", count=3)
        (event,) = self.heard
        self.assertEqual((event[TAG_KEY], event[TRACE_KEY]), ("TESTS", 6))
        self.assertEqual(event["count"], 3)
