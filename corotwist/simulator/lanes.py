"""
What was when: for each node its processes, configurations, states and pauses,
and what the network did meanwhile.
"""

from collections.abc import Iterable
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.simulator.chronicle import PLENTIFUL, Names, nodesOf, words
from corotwist.simulator.trace import Record

# Records that become spans of time, or belong to datagrams; the others become
# marks.
_SPANS: Final = ("conf", "state", *PLENTIFUL)
# So many of the newest of each are kept.
MOST_SPANS: Final = 20_000


@frozen
class Span:
    """
    Something that lasted.

    @ivar what: its name: a state, the number of a process, the index of a
        ring.
    @ivar text: more about it, in words.
    """

    node: int
    start: float
    end: float
    what: str | int
    text: str


@frozen
class Mark:
    """
    Something that happened at a moment, on a node or (node 0) to all.
    """

    time: float
    node: int
    event: str
    text: str


@define
class _Open:
    """
    What lasts on one node at present.
    """

    start: float
    what: str | int
    text: str


@define(eq=False)
class Lanes:
    """
    The lanes of all nodes, from the records of a run.

    @ivar lives: processes, by their number.
    @ivar installed: regular configurations, by the index of their ring.
    @ivar states: membership states.
    @ivar pauses: when a process was not scheduled.
    @ivar passages: transitional configurations, by the index of the ring that
        they lead to; they hardly last.
    @ivar network: links that are cut.
    @ivar weather: what links do to datagrams.
    """

    names: Names
    lives: list[Span] = field(factory=list)
    installed: list[Span] = field(factory=list)
    states: list[Span] = field(factory=list)
    pauses: list[Span] = field(factory=list)
    passages: list[Span] = field(factory=list)
    network: list[Span] = field(factory=list)
    weather: list[Span] = field(factory=list)
    marks: list[Mark] = field(factory=list)
    _open: dict[tuple[int, str], _Open] = field(factory=dict)
    _cuts: list[str] = field(factory=list)

    def read(self, records: Iterable[Record], end: float) -> None:
        """
        Sort records into the lanes.

        @param end: of the run.
        """
        for _, time, node, incarnation, event, fields in records:
            handler = _HANDLERS.get(event)
            if handler is not None:
                handler(self, time, node, fields | {"number": incarnation})
            if event not in _SPANS:
                text = words(event, fields, self.names)
                self.marks.append(Mark(time, node, _named(event, fields), text))
        for node, lane in [*self._open]:
            self._close(end, node, lane)
        self._bound()

    def _bound(self) -> None:
        lasting = (self.lives, self.installed, self.states, self.pauses)
        for spans in lasting:
            spans.sort(key=lambda span: (span.start, span.node))
        for spans in (*lasting, self.passages, self.network, self.weather):
            del spans[:-MOST_SPANS]
        del self.marks[:-MOST_SPANS]

    def _begin(
        self, time: float, node: int, lane: str, what: str | int, text: str
    ) -> None:
        self._close(time, node, lane)
        self._open[node, lane] = _Open(time, what, text)

    def _close(self, time: float, node: int, lane: str) -> None:
        was = self._open.pop((node, lane), None)
        if was is not None:
            spans: list[Span] = getattr(self, lane)
            spans.append(Span(node, was.start, time, was.what, was.text))

    def _booted(self, time: float, node: int, fields: dict[str, Any]) -> None:
        self._begin(time, node, "lives", fields["number"], "")

    def _ended(self, time: float, node: int, fields: dict[str, Any]) -> None:
        for lane in ("lives", "installed", "states"):
            self._close(time, node, lane)
        for i, pause in enumerate(self.pauses):
            if pause.node == node and pause.end > time:
                self.pauses[i] = Span(node, pause.start, time, "pause", pause.text)

    def _configured(self, time: float, node: int, fields: dict[str, Any]) -> None:
        ring = self.names.index(fields["ring"])
        text = words("conf", fields, self.names)
        if fields["kind"] == "T":
            self.passages.append(Span(node, time, time, ring, text))
        else:
            cause = fields["cause"]
            self._begin(time, node, "installed", ring, f"{text}; {cause}")

    def _stateChanged(self, time: float, node: int, fields: dict[str, Any]) -> None:
        after = str(fields["after"])
        if after == "stopped":
            self._ended(time, node, fields)
        else:
            self._begin(time, node, "states", after, str(fields["cause"]))

    def _paused(self, time: float, node: int, fields: dict[str, Any]) -> None:
        end = time + fields["seconds"]
        text = words("pause", fields, self.names)
        self.pauses.append(Span(node, time, end, "pause", text))

    def _partitioned(self, time: float, node: int, fields: dict[str, Any]) -> None:
        self._cuts = [" | ".join(f"{{{nodesOf(side)}}}" for side in fields["sides"])]
        self._linksChanged(time)

    def _cut(self, time: float, node: int, fields: dict[str, Any]) -> None:
        self._cuts.append(f"{fields['source']} to {fields['target']} cut")
        self._linksChanged(time)

    def _bridged(self, time: float, node: int, fields: dict[str, Any]) -> None:
        one, other = map(nodesOf, fields["sides"])
        self._cuts.append(f"{{{one}}} | {{{other}}} but {fields['over']}")
        self._linksChanged(time)

    def _linksChanged(self, time: float) -> None:
        self._begin(time, 0, "network", "links", ", ".join(self._cuts))

    def _healed(self, time: float, node: int, fields: dict[str, Any]) -> None:
        self._cuts = []
        self._close(time, 0, "network")

    def _changed(self, time: float, node: int, fields: dict[str, Any]) -> None:
        self._close(time, 0, "weather")
        if fields["of"] != "calm":
            self._begin(time, 0, "weather", "faults", str(fields["of"]))


def _named(event: str, fields: dict[str, Any]) -> str:
    """
    A write that failed is another mark than one that did not.
    """
    return "refused" if event == "store" and not fields["ok"] else event


_HANDLERS: Final = {
    "boot": Lanes._booted,  # noqa: SLF001
    "fail": Lanes._ended,  # noqa: SLF001
    "conf": Lanes._configured,  # noqa: SLF001
    "state": Lanes._stateChanged,  # noqa: SLF001
    "pause": Lanes._paused,  # noqa: SLF001
    "partition": Lanes._partitioned,  # noqa: SLF001
    "cut": Lanes._cut,  # noqa: SLF001
    "bridge": Lanes._bridged,  # noqa: SLF001
    "heal": Lanes._healed,  # noqa: SLF001
    "faults": Lanes._changed,  # noqa: SLF001
}
