"""
What C{corotwist watch} shows: a node's view of the cluster, on a few lines.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from corotwist.engines.interfaces import Member

# Of groups, and of members of one.
GROUPS_SHOWN: Final = 20
MEMBERS_SHOWN: Final = 12
# Of what happened lately.
EVENTS_SHOWN: Final = 10

# What is worth a rate: a counter's name, and what people call it.
RATES: Final[Mapping[str, str]] = {
    "datagramsReceived": "datagrams in",
    "datagramsSent": "datagrams out",
    "framesDelivered": "frames",
    "framesRetransmitted": "sent again",
    "tokens": "tokens",
}

REVERSE: Final = "\x1b[7m"
BOLD: Final = "\x1b[1m"
RED: Final = "\x1b[31m"
PLAIN: Final = "\x1b[0m"
# To the upper left corner, and away with the rest of a line, and of the screen.
HOME: Final = "\x1b[H"
END_OF_LINE: Final = "\x1b[K"
END_OF_SCREEN: Final = "\x1b[J"


@frozen
class Snapshot:
    """
    A node at one moment.

    @ivar time: of day, for people.
    @ivar nodes: everybody who is configured or here, by id: a name, or nothing.
    @ivar state: C{running}, or C{synchronizing}.
    @ivar explanation: the verdict's inputs.
    @ivar groups: members by group.
    @ivar counters: of the ring.
    """

    time: str
    seconds: float
    nodeid: int
    view: str
    members: tuple[int, ...]
    nodes: Mapping[int, str]
    state: str
    quorate: bool
    explanation: Mapping[str, Any]
    groups: Mapping[bytes, Sequence[Member]]
    counters: Mapping[str, int] = field(repr=False)

    def report(self) -> dict[str, Any]:
        """
        For programs.
        """
        return {
            "time": self.time,
            "node": self.nodeid,
            "view": self.view,
            "members": list(self.members),
            "state": self.state,
            "quorate": self.quorate,
            "explanation": dict(self.explanation),
            "groups": {
                shown(group): [[m.nodeid, m.pid] for m in members]
                for group, members in self.groups.items()
            },
        }


def shown(group: bytes) -> str:
    """
    A group's name as text.
    """
    return group.decode("utf-8", "backslashreplace")


def frame(
    now: Snapshot,
    before: Snapshot | None,
    events: Sequence[str],
    *,
    colours: bool = False,
) -> list[str]:
    """
    The lines of one picture.

    @param before: the one before it, for rates.
    @param events: what happened lately, the latest last.
    @param colours: may lines be emphasized?
    """
    pen = _Pen(colours)
    lines = [
        pen.reverse(f" corotwist watch   node {now.nodeid}   {now.time} "),
        f"view {now.view}, {now.state}, {_verdict(now, pen)}",
        "",
        pen.bold(f"{'NODE':>6}  NAME"),
        *(_node(nodeid, name, now, pen) for nodeid, name in sorted(now.nodes.items())),
        "",
        *_groups(now, pen),
    ]
    rates = _rates(now, before)
    if rates:
        lines += ["", f"per second: {rates}"]
    if events:
        lines += ["", pen.bold("lately"), *events[-EVENTS_SHOWN:]]
    return lines


def picture(lines: Sequence[str]) -> str:
    """
    Lines to draw over those before.
    """
    body = "".join(f"{line}{END_OF_LINE}\r\n" for line in lines)
    return f"{HOME}{body}{END_OF_SCREEN}"


@frozen
class _Pen:
    _colours: bool

    def bold(self, text: str) -> str:
        return f"{BOLD}{text}{PLAIN}" if self._colours else text

    def reverse(self, text: str) -> str:
        return f"{REVERSE}{text}{PLAIN}" if self._colours else text

    def red(self, text: str) -> str:
        return f"{RED}{text}{PLAIN}" if self._colours else text


def _verdict(now: Snapshot, pen: _Pen) -> str:
    word = "quorate" if now.quorate else pen.red("NOT quorate")
    votes, quorum = now.explanation.get("votes"), now.explanation.get("quorum")
    counted = "" if votes is None else f": {votes} votes, {quorum} needed"
    rule = now.explanation.get("rule")
    return f"{word}{counted}" + (f" ({rule})" if rule else "")


def _node(nodeid: int, name: str, now: Snapshot, pen: _Pen) -> str:
    own = " (this one)" if nodeid == now.nodeid else ""
    line = f"{nodeid:6}  {name}{own}"
    return line if nodeid in now.members else pen.red(f"{line}  not here")


def _groups(now: Snapshot, pen: _Pen) -> list[str]:
    groups = sorted(now.groups.items())
    lines = [pen.bold(f"{len(groups)} process groups")]
    for group, members in groups[:GROUPS_SHOWN]:
        listed = " ".join(f"{m.nodeid}/{m.pid}" for m in members[:MEMBERS_SHOWN])
        more = len(members) - MEMBERS_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"  {shown(group)}: {listed}{rest}")
    if len(groups) > GROUPS_SHOWN:
        lines.append(f"  and {len(groups) - GROUPS_SHOWN} more")
    return lines


def _rates(now: Snapshot, before: Snapshot | None) -> str:
    if before is None or now.seconds <= before.seconds:
        return ""
    passed = now.seconds - before.seconds
    return ", ".join(
        f"{(now.counters[name] - before.counters[name]) / passed:.0f} {text}"
        for name, text in RATES.items()
        if name in now.counters and name in before.counters
    )
