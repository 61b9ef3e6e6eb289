"""
C{corotwist cpgtool}: process groups and their members, with the options and the
output of corosync-cpgtool.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.task import deferLater

from corotwist.engines.interfaces import Member
from corotwist.ipc.client import NodeClient
from corotwist.tools import asking
from corotwist.tools.asking import DONE, NodeOptions, Tool, printJson, seconds
from corotwist.tools.keyprinter import shownBytes
from corotwist.tools.nodenames import NodeNames, nodeNames

NAME: Final = "cpgtool"
WIDTH: Final = 10
# Between two looks, with --watch.
WATCH_SECONDS: Final = 1.0


class CpgToolOptions(NodeOptions):
    """
    What C{corotwist cpgtool} understands.
    """

    synopsis = "Usage: corotwist cpgtool [-d delimiter] [-e] [-n] [options]"
    longdesc = "Displays process groups and their members."
    optFlags = [
        ["names", "n", "display the names of the groups only"],
        ["raw", "e", "do not escape unprintable characters in names"],
        ["watch", "w", "display them again at each change, until interrupted"],
        ["statistics", "s", "display the node's counters of the service, too"],
    ]
    optParameters = [
        ["delimiter", "d", None, "between fields, each group and member on a line"],
        ["interval", None, WATCH_SECONDS, "seconds between looks, with -w", seconds],
    ]


@frozen
class Group:
    """
    One group at one time.
    """

    name: bytes
    members: tuple[Member, ...]


@frozen
class Style:
    """
    How groups are shown.

    @ivar delimiter: L{None} for the layout that people read.
    @ivar raw: names as they are, whatever that does to a terminal.
    @ivar names: and nothing else.
    """

    delimiter: str | None = None
    raw: bool = False
    names: bool = False

    def name(self, name: bytes) -> str:
        """
        Of a group.
        """
        # What is no text comes out as the bytes that it was.
        return name.decode("utf-8", "surrogateescape") if self.raw else shownBytes(name)


# Showing.


def text(groups: Iterable[Group], names: NodeNames, style: Style) -> str:
    """
    What corosync-cpgtool prints.
    """
    if style.names:
        shown = [style.name(group.name) for group in groups]
        if style.delimiter is None:
            return "".join(f"{name}\n" for name in shown)
        return "".join(name + style.delimiter for name in shown) + "\n"
    if style.delimiter is None:
        return "".join(f"{line}\n" for line in _layout(groups, names, style))
    return "".join(f"{style.delimiter.join(row)}\n" for row in _rows(groups, style))


def _layout(groups: Iterable[Group], names: NodeNames, style: Style) -> Iterator[str]:
    yield f"Group Name\t{'PID':>{WIDTH}}\t{'Node ID':>{WIDTH}}"
    for group in groups:
        yield style.name(group.name)
        for member in group.members:
            where = " ".join(names.addresses(member.nodeid))
            yield f"\t\t{member.pid:>{WIDTH}}\t{member.nodeid:>{WIDTH}} ({where})"


def _rows(groups: Iterable[Group], style: Style) -> Iterator[tuple[str, ...]]:
    yield "GRP_NAME", "PID", "NODEID"
    for group in groups:
        for member in group.members:
            yield style.name(group.name), str(member.pid), str(member.nodeid)


def counters(statistics: Mapping[str, Any]) -> str:
    """
    Those that are numbers, a line each.
    """
    numbers = ((k, v) for k, v in statistics.items() if isinstance(v, int | float))
    return "".join(f"{name} = {value}\n" for name, value in sorted(numbers))


def report(groups: Iterable[Group], names: NodeNames) -> dict[str, Any]:
    """
    For programs.
    """
    return {
        "groups": [
            {
                "name": shownBytes(group.name),
                "hex": group.name.hex(),
                "members": [
                    {
                        "nodeid": member.nodeid,
                        "pid": member.pid,
                        "addresses": list(names.addresses(member.nodeid)),
                    }
                    for member in group.members
                ],
            }
            for group in groups
        ]
    }


# Asking.


async def gather(client: NodeClient) -> tuple[Group, ...]:
    """
    All groups with members.  One that is empty when its members are asked for
    was left meanwhile.
    """
    found = [
        Group(name, await client.groups.members(name))
        for name in await client.groups.groups()
    ]
    return tuple(group for group in found if group.members)


async def perform(client: NodeClient, options: CpgToolOptions) -> int:
    """
    Print them, once or at each change.
    """
    groups = await _shown(client, options)
    while options["watch"]:
        await deferLater(options.clock, options["interval"])
        if await gather(client) != groups:
            sys.stdout.write("" if options["json"] else "\n")
            groups = await _shown(client, options)
    return DONE


async def _shown(client: NodeClient, options: CpgToolOptions) -> tuple[Group, ...]:
    names, groups = await nodeNames(client), await gather(client)
    style = Style(options["delimiter"], bool(options["raw"]), bool(options["names"]))
    wanted = bool(options["statistics"])
    statistics = await client.node.statistics("cpg") if wanted else {}
    if options["json"]:
        more = {"statistics": statistics} if wanted else {}
        printJson(NAME, **report(groups, names), **more)
    else:
        _write(text(groups, names, style) + counters(statistics))
    return groups


def _write(shown: str) -> None:
    """
    Names may hold any bytes.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(shown)
    else:
        sys.stdout.flush()
        buffer.write(shown.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status.
    """
    return asking.run(Tool(NAME, CpgToolOptions, perform), argv)
