"""
Events as they are kept.
"""

import gc
import weakref
from enum import Enum
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.levels import Priority
from corotwist.logs.record import (
    LONGEST_FIELD,
    LONGEST_TEXT,
    MOST_FIELDS,
    PRIORITY_KEY,
    RECORD_BYTES,
    Record,
    priorityOf,
    tagOf,
    take,
)
from corotwist.logs.tags import Tags
from corotwist.logs.tracing import TAG_KEY, TRACE_KEY
from corotwist.test.logs.factories import NOON, event


def taken(given: Any) -> Record:
    """
    An event, kept.
    """
    return take(given, priorityOf(given), tagOf(given, Tags()))


class Colour(Enum):
    RED = 1


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


class PriorityTests(SynchronousTestCase):
    def test_levels(self) -> None:
        """
        Twisted's levels are the priorities of the same meaning.
        """
        found = [
            priorityOf(event(log_level=level)).label
            for level in (
                *(LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error),
                LogLevel.critical,
            )
        ]
        self.assertEqual(found, ["debug", "info", "warning", "err", "crit"])

    def test_own(self) -> None:
        """
        An event may name a priority that Twisted has no level for.
        """
        self.assertEqual(priorityOf({**event(), PRIORITY_KEY: Priority.NOTICE}), 5)

    def test_trace(self) -> None:
        """
        Trace points are below all of them, and name their subsystem.
        """
        kept = taken({**event(), TRACE_KEY: 3, TAG_KEY: "SYNC"})
        self.assertEqual((kept.priority, kept.trace, kept.tag), (8, 3, "SYNC"))


class TakeTests(SynchronousTestCase):
    def test_deferred(self) -> None:
        """
        What cannot change is kept as it is, and turned into words later.  (A26)
        """
        kept = taken(event("{a} {b:>4} {c!r} {d[1]}", a=1, b="x", c=b"y", d=(1, 2)))
        self.assertIsNone(kept.words)
        self.assertEqual(kept.text(), "1    x b'y' 2")
        self.assertEqual((kept.time, kept.tag), (NOON, "CPG"))

    @given(
        st.dictionaries(
            st.sampled_from("abc"),
            st.one_of(
                *(st.integers(), st.text(max_size=50), st.floats(), st.binary()),
                *(st.none(), st.lists(st.integers()), st.tuples(st.text())),
            ),
            min_size=3,
        )
    )
    def test_asFormatted(self, fields: dict[str, Any]) -> None:
        """
        Now or later, the words are the same.
        """
        given = event("{a} {b!r} {c}", **fields)
        self.assertEqual(taken(given).text(), formatEvent(given))

    def test_changing(self) -> None:
        """
        A list is told as it was at the moment of the call.  (A22)
        """
        members = [1, 2]
        kept = taken(event("{members}", members=members))
        members.append(3)
        self.assertEqual(kept.text(), "[1, 2]")
        self.assertEqual(kept.fields["members"], "[1, 2]")

    def test_attributes(self) -> None:
        """
        So is what a format asks an object for.
        """
        kept = taken(event("{x.name} {y()}", x=Colour.RED, y=lambda: "called"))
        self.assertEqual(kept.text(), "RED called")
        self.assertIs(kept.fields["x"], Colour.RED)

    def test_nothingAlive(self) -> None:
        """
        A record keeps no object alive that it tells of.
        """
        kept: list[Record] = []
        observer: Any = lambda event: kept.append(taken(event))  # noqa: E731

        class Big:
            log = Logger(observer=observer)

        big = Big()
        big.log.info("{big}", big=big)
        reference = weakref.ref(big)
        del big
        gc.collect()
        self.assertIsNone(reference())
        self.assertIn("Big object", kept[0].text())

    def test_bounded(self) -> None:
        """
        Long arguments, long texts and many arguments are cut.
        """
        kept = taken(event("{x}", x="y" * 100_000))
        self.assertEqual(len(str(kept.fields["x"])), LONGEST_FIELD)
        self.assertLess(len(kept.text()), LONGEST_TEXT + 100)
        self.assertIn("more)", kept.text())
        kept = taken(event("{x}", x=["y" * 1000] * 1000))
        self.assertLess(kept.size, RECORD_BYTES + 2 * LONGEST_TEXT)
        many: dict[str, Any] = {f"x{number}": number for number in range(200)}
        kept = taken(event("{x199}", **many))
        self.assertEqual((len(kept.fields), kept.text()), (MOST_FIELDS, "199"))

    def test_nobodyCanTell(self) -> None:
        """
        An argument without words does no harm.
        """
        self.assertIn("Mute", taken(event("{x}", x=Mute())).text())

    def test_wrongFormat(self) -> None:
        """
        Nor does a text with a field that is not there.
        """
        self.assertIn("Unable to format", taken(event("{y}")).text())

    def test_failure(self) -> None:
        """
        A failure leaves its traceback, and nothing of its frames.
        """
        try:
            dict[str, int]()["nothing"]
        except KeyError:
            kept = taken(event("it broke", log_failure=Failure()))
        self.assertIn("KeyError", kept.traceback)
        self.assertIn("test_failure", kept.traceback)

    def test_legacy(self) -> None:
        """
        What is said in Twisted's old way is heard as well.
        """
        heard: list[Record] = []
        observe: Any = lambda event: heard.append(taken(event))  # noqa: E731
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        legacy.msg("as of old")
        self.assertEqual(heard[0].text(), "as of old")
