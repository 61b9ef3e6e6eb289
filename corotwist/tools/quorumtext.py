"""
Quorum for people: byte for byte as corosync-quorumtool 3.1.7 prints it, blanks at
the ends of lines included, for there are scripts that read it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from corotwist.engines.quoruminterfaces import VoteFlag, VoteInfo
from corotwist.errors import InvalidParameter
from corotwist.tools.quorumfacts import Node, QuorumFacts, castVotes, flagWords

WIDTH: Final = 10
UNREGISTERED: Final = "NR"


@frozen
class Wishes:
    """
    How nodes are shown.

    @ivar order: C{a} as they come, C{n} by name, C{i} by nodeid.
    @ivar addresses: instead of names.
    @ivar every: all names or addresses of a node.
    @ivar column: show the one of the device, even if there is none.
    """

    order: str = "a"
    hexadecimal: bool = False
    addresses: bool = False
    every: bool = False
    column: bool = False

    def number(self, nodeid: int) -> str:
        """
        A nodeid.
        """
        return f"0x{nodeid:08x}" if self.hexadecimal else str(nodeid)


def status(facts: QuorumFacts, wishes: Wishes) -> str:
    """
    All that is known, as for C{-s}.
    """
    return "\n".join(
        [*_quorum(facts, wishes), *_votes(facts.own), members(facts, wishes)]
    )


def _quorum(facts: QuorumFacts, wishes: Wishes) -> Iterator[str]:
    yield from _title("Quorum information")
    yield f"Date:             {facts.when.strftime('%a %b %e %H:%M:%S %Y')}"
    yield f"Quorum provider:  {facts.provider}"
    yield f"Nodes:            {len(facts.nodes)}"
    yield f"Node ID:          {wishes.number(facts.status.nodeid)}"
    yield f"Ring ID:          {facts.ring}"
    yield f"Quorate:          {'Yes' if facts.status.quorate else 'No'}"


def _votes(own: VoteInfo | None) -> Iterator[str]:
    if own is None:
        return
    yield ""
    blocked = " " if own.flags & VoteFlag.QUORATE else "Activity blocked"
    yield from _title("Votequorum information")
    yield f"Expected votes:   {own.expected}"
    yield f"Highest expected: {own.highestExpected}"
    yield f"Total votes:      {own.totalVotes}"
    yield f"Quorum:           {own.quorum} {blocked}"
    yield "Flags:            " + "".join(f"{word} " for word in flagWords(own.flags))


def _title(text: str) -> tuple[str, str]:
    return text, "-" * len(text)


def members(facts: QuorumFacts, wishes: Wishes) -> str:
    """
    The nodes, as for C{-l}.
    """
    voting = facts.own is not None
    column = voting and (wishes.column or facts.device is not None)
    lines = ["", *_title("Membership information")]
    heads = ["Nodeid", *["Votes"] * voting, *["Qdevice"] * column]
    lines.append(_row(heads, "Name"))
    for node in _sorted(facts.nodes, wishes):
        cells = [wishes.number(node.nodeid)]
        if voting:
            cells.append(str(0 if node.votes is None else node.votes.votes))
        if column:
            cells.append(_marks(node.votes))
        lines.append(_row(cells, _called(node, wishes)))
    if facts.device is not None:
        lines.append(_device(facts.device, wishes))
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str], last: str) -> str:
    return "".join(f"{cell:>{WIDTH}} " for cell in cells) + last


def _sorted(nodes: Iterable[Node], wishes: Wishes) -> list[Node]:
    """
    @raise InvalidParameter: there is no such order.
    """
    match wishes.order:
        case "a":
            return list(nodes)
        case "n":
            return sorted(nodes, key=lambda node: node.name)
        case "i":
            return sorted(nodes, key=lambda node: node.nodeid)
    raise InvalidParameter(f"no order {wishes.order!r}")


def _called(node: Node, wishes: Wishes) -> str:
    return _name(node, wishes) + (" (local)" if node.local else "")


def _name(node: Node, wishes: Wishes) -> str:
    if wishes.addresses:
        many = len(node.addresses) if wishes.every else 1
        return ", ".join(node.addresses[:many])
    # A node has one name, however many links: corosync-quorumtool shows nothing
    # for the others, and the commas between.
    return node.name + ", " * (max(len(node.addresses), 1) - 1) * wishes.every


def _marks(info: VoteInfo | None) -> str:
    if info is None or not info.flags & VoteFlag.DEVICE_REGISTERED:
        return UNREGISTERED
    flags = info.flags
    return ",".join(
        mark if flags & flag else f"N{mark}"
        for flag, mark in (
            (VoteFlag.DEVICE_ALIVE, "A"),
            (VoteFlag.DEVICE_CAST_VOTE, "V"),
            (VoteFlag.DEVICE_MASTER_WINS, "MW"),
        )
    )


def _device(info: VoteInfo, wishes: Wishes) -> str:
    """
    The device has a line of its own, and the nodeid 0.
    """
    cast = castVotes(info)
    idle = f" (votes {info.deviceVotes})" if cast != info.deviceVotes else ""
    cells = [wishes.number(0), str(cast), ""]
    return _row(cells, info.deviceName + idle)
