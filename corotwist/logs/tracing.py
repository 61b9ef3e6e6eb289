"""
Trace points: what happens inside, for whoever asks to see it::

    _states = trace("CPG", STATE)
    ...
    if _states.on:
        _states("{group} has {count} members", group=name, count=len(members))

A point that is off costs the test of an attribute.  Like the publisher of
C{twisted.logger}, the switches are one for a process: a module has its points
from its first line on, before anybody has configured anything.
"""

from collections.abc import Collection, Mapping
from time import time
from typing import Final

from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from corotwist.logs.levels import TraceLevel

STATE: Final = TraceLevel.STATE
MEMBERSHIP: Final = TraceLevel.MEMBERSHIP
SYNC: Final = TraceLevel.SYNC
CLIENT: Final = TraceLevel.CLIENT
REQUEST: Final = TraceLevel.REQUEST
MESSAGE: Final = TraceLevel.MESSAGE
FRAME: Final = TraceLevel.FRAME
TIMER: Final = TraceLevel.TIMER

# In the events of trace points.
TAG_KEY: Final = "corotwist_tag"
TRACE_KEY: Final = "corotwist_trace"
# Tags are names in sources: more are a mistake.
MOST_TAGS: Final = 1024


class Trace:
    """
    One trace level of one tag.

    @ivar on: does anybody want to know?
    """

    __slots__ = ("level", "on", "tag")

    def __init__(self, tag: str, level: TraceLevel) -> None:
        self.tag = tag
        self.level = level
        self.on = False

    def __call__(self, text: str, **fields: object) -> None:
        """
        Tell it, when anybody wants to know.

        @param text: as for a C{Logger}, with C{fields} in braces.
        """
        if self.on:
            event: LogEvent = fields
            event["log_level"] = LogLevel.debug
            event["log_namespace"] = f"corotwist.trace.{self.tag}"
            event["log_format"] = text
            event["log_time"] = time()
            event[TAG_KEY] = self.tag
            event[TRACE_KEY] = int(self.level)
            globalLogPublisher(event)


class Switches:
    """
    All trace points, and which are on.
    """

    def __init__(self) -> None:
        self._points: dict[tuple[str, int], Trace] = {}
        self._rest: Collection[int] = frozenset()
        self._chosen: Mapping[str, Collection[int]] = {}

    def point(self, tag: str, level: TraceLevel) -> Trace:
        """
        The one object for this tag and level.
        """
        found = self._points.get((tag, level))
        if found is None:
            assert len(self._points) < MOST_TAGS * len(TraceLevel), "too many tags"
            found = self._points[tag, level] = Trace(tag, level)
            self._decide(found)
        return found

    def choose(
        self, rest: Collection[int], chosen: Mapping[str, Collection[int]]
    ) -> None:
        """
        Switch all points.

        @param chosen: levels by tag.
        @param rest: levels of every other tag.
        """
        self._rest, self._chosen = rest, dict(chosen)
        for point in self._points.values():
            self._decide(point)

    def _decide(self, point: Trace) -> None:
        point.on = point.level in self._chosen.get(point.tag, self._rest)


SWITCHES: Final = Switches()


def trace(tag: str, level: TraceLevel) -> Trace:
    """
    A trace point of a subsystem.
    """
    return SWITCHES.point(tag, level)
