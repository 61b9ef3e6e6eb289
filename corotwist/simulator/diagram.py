"""
A finished run as a space-time diagram: one HTML page that needs nothing else.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from json import dumps
from typing import Any, Final

from attrs import define, field

from corotwist.errors import WireError
from corotwist.simulator.chronicle import Line, Names, chronicle, nodesOf
from corotwist.simulator.cluster import Cluster
from corotwist.simulator.faults import KINDS, OTHER, kindOf
from corotwist.simulator.journeys import LOSSES, REMARKS, Journey
from corotwist.simulator.judges.judge import Violation
from corotwist.simulator.lanes import Lanes, Span
from corotwist.simulator.trace import Record
from corotwist.totem import wire
from corotwist.totem.frame import Opener
from corotwist.totem.membership import RingId

# So many of the newest deliveries and the like are drawn.
MOST_SEEN: Final = 200_000
# The page's clock ticks in microseconds.
TICKS: Final = 1_000_000
# Where the parts are.
PARTS: Final = "page"
SCRIPTS: Final = (
    *("run.js", "words.js", "looks.js", "space.js", "lanes.js", "traffic.js"),
    *("draw.js", "hands.js"),
)

_ALL_KINDS: Final = (*KINDS, OTHER)
_FATES: Final = (*LOSSES, *REMARKS)
# What nodes do with frames, and with messages.
_FRAMES: Final = ("send", "deliver")
_SEEN: Final = (*_FRAMES, "submit", "message")
_PLACE: Final = re.compile(r"<!--(\w+)-->|/\*(\w+)\*/")


def page(cluster: Cluster, title: str = "", violation: Violation | None = None) -> str:
    """
    The diagram of a run, as a page.

    @param cluster: made with C{keepTrace=True}.
    @param violation: what was wrong; by default what the judges saw first.
    """
    assert cluster.network.journeys is not None, "made without keepTrace"
    violations = cluster.jury.violations
    violation = violation or (violations[0] if violations else None)
    title = title or cluster.jury.title
    run = dumps(_run(cluster, title, violation), separators=(",", ":"))
    return _filled(
        "page.html",
        TITLE=escape(title),
        STYLE=_part("style.css"),
        # Nothing that a browser could take for the end of the script.
        RUN=run.replace("<", "\\u003c"),
        SCRIPT="".join(map(_part, SCRIPTS)),
    )


def _part(name: str) -> str:
    return files("corotwist.simulator").joinpath(PARTS, name).read_text("utf-8")


def _filled(name: str, **parts: str) -> str:
    """
    A template, with its places filled in one go: what is filled in is not
    looked at.
    """
    return _PLACE.sub(lambda found: parts[found[1] or found[2]], _part(name))


def _run(cluster: Cluster, title: str, violation: Violation | None) -> dict[str, Any]:
    """
    All that the page's script is told.
    """
    names = Names()
    lanes = Lanes(names)
    lanes.read(cluster.trace, cluster.seconds())
    journeys = cluster.network.journeys
    assert journeys is not None
    datagrams = Datagrams(names, journeys.key, tuple(cluster.nodes))
    datagrams.read(journeys)
    return {
        "title": title,
        "seed": cluster.seed,
        "replay": cluster.replay,
        **_verdict(violation, _ticks(cluster.seconds()), names),
        "end": _ticks(cluster.seconds()),
        "nodes": list(cluster.nodes),
        **_drawn(lanes),
        "story": [_line(line) for line in chronicle(cluster.trace, names)],
        "kinds": _ALL_KINDS,
        "fates": _FATES,
        "losses": len(LOSSES),
        "forgotten": journeys.forgotten,
        **datagrams.columns(),
        **_seen(cluster.trace, names),
        # Last: all rings have been named.
        "rings": _rings(cluster.trace, names),
    }


def _verdict(violation: Violation | None, end: int, names: Names) -> dict[str, Any]:
    """
    What was wrong, with the names that rings have in the picture, and where to
    look.
    """
    if violation is None:
        return {"verdict": "", "promise": "", "at": -1, "blamed": [], "evidence": None}
    text, details = str(violation), violation.details
    for ringId in names.ringIds:
        text = text.replace(f"{ringId}", f"{names.of(ringId)} ({ringId})")
    evidence = None
    if isinstance(details.get("ring"), RingId) and "sequence" in details:
        evidence = [names.index(details["ring"]), details["sequence"]]
    return {
        "verdict": text,
        "promise": f"{violation.promise} broken",
        "at": end,
        "blamed": sorted({life.nodeid for life in violation.lives}),
        "evidence": evidence,
    }


def _ticks(seconds: float) -> int:
    return round(seconds * TICKS)


def _drawn(lanes: Lanes) -> dict[str, Any]:
    spans = {
        name: [_span(span) for span in getattr(lanes, name)]
        for name in (
            *("lives", "installed", "states", "pauses", "passages"),
            *("network", "weather"),
        )
    }
    marks = [[_ticks(m.time), m.node, m.event, m.text] for m in lanes.marks]
    return {**spans, "marks": marks}


def _span(span: Span) -> list[Any]:
    return [span.node, _ticks(span.start), _ticks(span.end), span.what, span.text]


def _line(line: Line) -> list[Any]:
    return [_ticks(line.time), _ticks(line.until), line.plot, str(line)]


def _rings(records: Iterable[Record], names: Names) -> list[list[str]]:
    """
    Name, id and members; who the members of a ring would have been that nobody
    installed is not known.
    """
    members: dict[RingId, str] = {}
    for _, _, _, _, event, fields in records:
        if event == "conf" and fields["kind"] == "R":
            members[fields["ring"]] = nodesOf(fields["members"])
    return [
        [names.of(ringId), str(ringId), members.get(ringId, "")]
        for ringId in names.ringIds
    ]


# Numbers, many: columns of differences, which are short, with [n] for a row of n
# times 0.
Packed = list[int | list[int]]


def _columns(
    names: str, rows: Sequence[Sequence[int]], kind: str = ""
) -> dict[str, Packed]:
    """
    Rows of numbers, packed by columns.

    @param kind: the column that says what a row is about; numbers after it have
        nothing to do with those of rows of other kinds.
    """
    titles = names.split()
    columns = [*zip(*rows, strict=True)] if rows else [()] * len(titles)
    by = titles.index(kind) if kind else len(titles)
    alike = (0,) * len(rows)
    return {
        title: _packed(column, columns[by] if place > by else alike)
        for place, (title, column) in enumerate(zip(titles, columns, strict=True))
    }


def _packed(column: Iterable[int], kinds: Iterable[int]) -> Packed:
    before: dict[int, int] = {}
    packed: Packed = []
    same = 0
    for number, kind in zip(column, kinds, strict=True):
        difference = number - before.get(kind, 0)
        before[kind] = number
        if difference == 0:
            same += 1
            continue
        packed += _zeros(same)
        packed.append(difference)
        same = 0
    return packed + _zeros(same)


def _zeros(count: int) -> Packed:
    return [[count]] if count > 1 else [0] * count


# Messages and frames, at the nodes.


def _seen(records: Iterable[Record], names: Names) -> dict[str, Any]:
    """
    Who gave a frame its place, delivered it, submitted a message or handed it
    up; with a message comes the frame that completed it.
    """
    rows: list[tuple[int, ...]] = []
    frames: dict[int, tuple[int, int]] = {}
    for _, time, node, incarnation, event, fields in records:
        if event not in _SEEN:
            continue
        sender, of = fields.get("sender", node), fields.get("of", incarnation)
        if event in _FRAMES:
            frames[node] = (names.index(fields["ring"]), fields["seq"])
        frame = frames.get(node, (-1, 0)) if event != "submit" else (-1, 0)
        number = fields.get("mid", 0)
        rows.append(
            (_ticks(time), node, _SEEN.index(event), *frame, sender, of, number)
        )
    kept = rows[-MOST_SEEN:]
    columns = _columns("t node what ring seq sender life number", kept, "what")
    return {"seen": columns, "unseen": len(rows) - len(kept)}


# Datagrams.


@define(eq=False)
class Datagrams:
    """
    What was sent, and how it went to each node.

    @ivar key: what datagrams are sealed with, if they are.
    """

    names: Names
    key: bytes | None
    nodeids: tuple[int, ...]
    _sent: list[tuple[int, ...]] = field(factory=list)
    _ways: list[tuple[int, ...]] = field(factory=list)
    _fates: dict[int, int] = field(factory=dict)
    _notes: dict[str, int] = field(factory=lambda: {"": 0})
    _inner: dict[int, tuple[int, int]] = field(factory=dict)
    _known: set[tuple[int, ...]] = field(factory=set)

    def read(self, journeys: Iterable[Journey]) -> None:
        """
        Sort journeys by what was sent.
        """
        moment = (-1.0, 0)
        places: dict[bytes, int] = {}
        for journey in journeys:
            if (journey.sent, journey.source) != moment:
                moment = (journey.sent, journey.source)
                places.clear()
            place = places.get(journey.datagram)
            if place is None:
                place = places[journey.datagram] = len(self._sent)
                self._sent.append(self._described(journey))
            self._went(journey, place)

    def _went(self, journey: Journey, place: int) -> None:
        if journey.fate:
            self._fates[len(self._ways)] = _FATES.index(journey.fate)
        takes = -1
        if journey.arrives is not None:
            takes = _ticks(journey.arrives) - _ticks(journey.sent)
        self._ways.append((place, journey.target, takes))

    def _described(self, journey: Journey) -> tuple[int, ...]:
        datagram = self._opened(journey)
        kind = kindOf(datagram)
        ring, a, b, c, note = -1, len(datagram), 0, 0, ""
        try:
            message = wire.decode(datagram)
        except WireError as error:
            kind, note = OTHER, str(error)
        else:
            ring, a, b, c, note = self._numbers(message)
        code = _ALL_KINDS.index(kind)
        again = self._again(journey.source, code, ring, a)
        number = self._notes.setdefault(note, len(self._notes))
        start = _ticks(journey.sent)
        return (start, journey.source, code, ring, a, b, c, again, number)

    def _again(self, source: int, kind: int, ring: int, number: int) -> int:
        """
        Was the same frame, or token, sent before?
        """
        if _ALL_KINDS[kind] not in {"token", "data", "commit"}:
            return 0
        identity = (kind, ring, number)
        if identity in self._known:
            return 1
        self._known.add(identity)
        return 0

    def _opened(self, journey: Journey) -> bytes:
        if self.key is None:
            return journey.datagram
        opener = Opener((self.key,), journey.target, self.nodeids)
        try:
            return opener.open(journey.datagram, 0.0)[1]
        except WireError:
            return journey.datagram

    def _numbers(self, message: wire.Message) -> tuple[int, int, int, int, str]:
        """
        Ring, three numbers that depend on the kind, and more in words.
        """
        match message:
            case wire.Regular():
                return self._regular(message)
            case wire.Token():
                return self._token(message)
            case wire.CommitToken():
                return self._commit(message)
            case wire.Join():
                return (-1, 0, 0, 0, _joinWords(message))
            case _:
                return (self.names.index(message.ringId), 0, 0, 0, "")

    def _regular(self, message: wire.Regular) -> tuple[int, int, int, int, str]:
        ring = self.names.index(message.ringId)
        if message.encapsulated:
            old = wire.decode(message.payload)
            assert isinstance(old, wire.Regular), "decode checks what is inside"
            self._inner[len(self._sent)] = (
                self.names.index(old.ringId),
                old.sequence,
            )
        return (ring, message.sequence, message.origin, len(message.frame), "")

    def _token(self, token: wire.Token) -> tuple[int, int, int, int, str]:
        wanted = " ".join(
            f"{self.names.of(ringId)}/{sequence}" for ringId, sequence in token.requests
        )
        return (
            self.names.index(token.ringId),
            token.tokenSequence,
            token.sequence,
            token.allReceivedUpTo,
            f"asks for {wanted}" if wanted else "",
        )

    def _commit(self, token: wire.CommitToken) -> tuple[int, int, int, int, str]:
        return (
            self.names.index(token.ringId),
            token.tokenSequence,
            token.index,
            len(token.members),
            f"members {nodesOf(token.members)}",
        )

    def columns(self) -> dict[str, Any]:
        """
        For the page.
        """
        return {
            "sent": _columns("t node kind ring a b c again note", self._sent, "kind"),
            "ways": _columns("of target takes", self._ways),
            "unusual": self._fates,
            "notes": [*self._notes],
            "inner": self._inner,
        }


def _joinWords(join: wire.Join) -> str:
    if join.leave:
        return f"{join.origin} leaves"
    failed = f"; given up: {nodesOf(join.failed)}" if join.failed else ""
    return f"hears {nodesOf(join.processors)}{failed}"
