"""
A run in sentences: every record in words, and the few that tell the story.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.simulator.trace import Record, readable
from corotwist.totem.membership import RingId

# What happens to several nodes within so many seconds is one line.
TOGETHER: Final = 0.02
# So many of the newest lines are kept.
MOST_LINES: Final = 1000

# Told of every datagram and message; drawn, but not part of the story.
PLENTIFUL: Final = ("send", "deliver", "submit", "message")

Fields = Mapping[str, Any]


def nodesOf(nodeids: Iterable[int]) -> str:
    """
    Nodeids in words, ascending; three and more in a row as a range.
    """
    rows: list[list[int]] = []
    for nodeid in sorted(nodeids):
        if rows and nodeid == rows[-1][-1] + 1:
            rows[-1].append(nodeid)
        else:
            rows.append([nodeid])
    return " ".join(map(_row, rows)) or "nobody"


def _row(row: list[int]) -> str:
    if len(row) > 2:  # noqa: PLR2004
        return f"{row[0]}-{row[-1]}"
    return " ".join(map(str, row))


@define
class Names:
    """
    Short names of rings, in the order in which they are first asked for: A to
    Z, then AA.
    """

    ringIds: dict[RingId, int] = field(factory=dict)

    def index(self, ringId: RingId) -> int:
        """
        The place of a ring among all.
        """
        return self.ringIds.setdefault(ringId, len(self.ringIds))

    def of(self, ringId: RingId) -> str:
        """
        The name of a ring.
        """
        return letters(self.index(ringId))


def letters(index: int) -> str:
    """
    A number as columns of tables are counted.
    """
    name = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


# Every record in words.


def _configured(fields: Fields, names: Names) -> str:
    name, members = names.of(fields["ring"]), nodesOf(fields["members"])
    if fields["kind"] == "T":
        left = f"; without {nodesOf(fields['left'])}" if fields["left"] else ""
        return f"goes on to ring {name} together with {members}{left}"
    joined = f"; new: {nodesOf(fields['joined'])}" if fields["joined"] else ""
    return f"is in ring {name} of {members}{joined}"


def _stored(fields: Fields, names: Names) -> str:
    if fields["ok"]:
        return f"has ring sequence {fields['ring']} on its disk"
    return f"cannot store ring sequence {fields['ring']}: the disk refuses"


def _booted(fields: Fields, names: Names) -> str:
    stored = fields["stored"]
    if stored is None:
        return "starts, with nothing on its disk"
    return f"starts, with ring sequence {stored} on its disk"


def _partitioned(fields: Fields, names: Names) -> str:
    sides = (f"{{{nodesOf(side)}}}" for side in fields["sides"])
    return f"the network is parted: {' '.join(sides)}"


def _bridged(fields: Fields, names: Names) -> str:
    one, other = map(nodesOf, fields["sides"])
    return f"{{{one}}} and {{{other}}} are parted, but for node {fields['over']}"


def _clogged(fields: Fields, names: Names) -> str:
    link = f"from {fields['source']} to {fields['target']}"
    return f"the link {link} stands still for {fields['seconds']:.3g} s"


def _refused(fields: Fields, names: Names) -> str:
    if not fields["error"]:
        return "can send again"
    return (
        f"fails to send, with error {fields['error']}, {fields['share']:.0%} of times"
    )


def _interface(fields: Fields, names: Names) -> str:
    return "has lost its interface" if fields["down"] else "has its interface again"


def _files(fields: Fields, names: Names) -> str:
    if fields["left"]:
        return f"can open {fields['left']} files"
    return "can open no file and no connection any more"


def _attacked(fields: Fields, names: Names) -> str:
    what = f"{fields['rate']:.3g} times a second ({', '.join(fields['kinds'])})"
    return f"a stranger sends to the nodes for {fields['seconds']:.3g} s, {what}"


def _clockStepped(fields: Fields, names: Names) -> str:
    return f"the clock of node {fields['of']} jumps by {fields['seconds']:.6g} s"


def _slowed(seconds: float) -> str:
    if seconds:
        return f"needs {seconds:.6g} s for each piece of work"
    return "works at full speed"


_WORDS: Final[Mapping[str, Callable[[Fields, Names], str]]] = {
    "boot": _booted,
    "fail": lambda f, n: "is killed",
    "stop": lambda f, n: "is asked to leave",
    "pause": lambda f, n: f"is not scheduled for {f['seconds']:.6g} s",
    "slow": lambda f, n: _slowed(f["seconds"]),
    "replace": lambda f, n: (
        f"is to have engine {f['engine']} in version {f['version'] or 'newest'}"
    ),
    "conf": _configured,
    "state": lambda f, n: f"goes from {f['before']} to {f['after']}: {f['cause']}",
    "store": _stored,
    "send": lambda f, n: f"gives frame {f['seq']} of ring {n.of(f['ring'])} its place",
    "deliver": lambda f, n: (
        f"delivers frame {f['seq']} of ring {n.of(f['ring'])}, from {f['sender']}"
    ),
    "submit": lambda f, n: f"submits message {f['mid']} of {f['size']} bytes",
    "message": lambda f, n: f"hands up message {f['mid']} of {f['sender']}",
    "partition": _partitioned,
    "cut": lambda f, n: f"the link from {f['source']} to {f['target']} is cut",
    "heal": lambda f, n: "all links are whole",
    "faults": lambda f, n: f"the network: {f['of']}",
    "bridge": _bridged,
    "clog": _clogged,
    "clock": _clockStepped,
    "interface": _interface,
    "refuse": _refused,
    "files": _files,
    "attack": _attacked,
}


def words(event: str, fields: Fields, names: Names) -> str:
    """
    What a record says; the node is left out.
    """
    say = _WORDS.get(event)
    if say is not None:
        return say(fields, names)
    others = ", ".join(f"{key} {readable(value)}" for key, value in fields.items())
    return f"{event}: {others}" if others else event


# The story.


@frozen
class _Telling:
    """
    How one kind of record appears in the story.

    @ivar plot: what sort of line it is, for its looks.
    @ivar key: records with the same key, close together, are one line; L{None}
        for a line of its own.
    @ivar text: what follows the nodes.
    """

    plot: str
    key: object
    text: str


@define
class Line:
    """
    One line of the story.

    @ivar plot: what sort of line: fault, ring, state or end.
    @ivar nodes: whom it is about; nobody for the whole cluster.
    """

    time: float
    until: float
    plot: str
    nodes: list[int]
    text: str

    def __str__(self) -> str:
        return f"{nodesOf(self.nodes)}: {self.text}" if self.nodes else self.text


# What comes in crowds is told without its details.
_MANY: Final[Mapping[str, str]] = {
    "boot": "starts",
    "clog": "links stand still for a while",
}


def _tell(event: str, node: int, fields: Fields, names: Names) -> _Telling | None:
    """
    A record's part in the story, if it has one.
    """
    if event == "conf":
        return _tellRing(fields, names)
    if event == "state":
        return _tellState(fields)
    if event in PLENTIFUL or (event == "store" and fields["ok"]):
        return None
    if event in _MANY:
        return _Telling("fault", event, _MANY[event])
    key = (event, *map(str, fields.values())) if node else None
    return _Telling("fault", key, words(event, fields, names))


def _tellRing(fields: Fields, names: Names) -> _Telling | None:
    if fields["kind"] == "T":
        return None
    name, members = names.of(fields["ring"]), fields["members"]
    if len(members) == 1:
        return _Telling("ring", "alone", "alone in a ring of its own")
    return _Telling("ring", name, f"in ring {name} of {nodesOf(members)}")


def _tellState(fields: Fields) -> _Telling | None:
    """
    Only that a ring ends, or was given up: how the next is made is to be seen in
    the picture.
    """
    before, after, cause = fields["before"], fields["after"], fields["cause"]
    if before in {"idle", "gather"} or after not in {"gather", "mute", "stopped"}:
        return None
    return _Telling("state", (after, cause), f"{after}: {cause}")


def chronicle(records: Iterable[Record], names: Names) -> list[Line]:
    """
    The story of a run, in lines.
    """
    lines: list[Line] = []
    latest: dict[object, Line] = {}
    for _, time, node, _, event, fields in records:
        telling = _tell(event, node, fields, names)
        if telling is None:
            continue
        line = latest.get(telling.key)
        if line is None or time - line.until > TOGETHER:
            line = Line(time, time, telling.plot, [], telling.text)
            lines.append(line)
            if telling.key is not None:
                latest[telling.key] = line
        line.until = time
        if node and node not in line.nodes:
            line.nodes.append(node)
    return lines[-MOST_LINES:]
