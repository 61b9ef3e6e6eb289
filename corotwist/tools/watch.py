"""
C{corotwist watch}: the cluster as a node sees it, on a terminal, as it changes.
"""

import os
import sys
import termios
import tty
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO

from corotwist.engines.interfaces import TransitionalView, View, ViewId
from corotwist.ipc.client import NodeClient
from corotwist.tools import asking
from corotwist.tools.absence import moment
from corotwist.tools.accounts import sentence
from corotwist.tools.asking import (
    DONE,
    NodeOptions,
    Tool,
    amount,
    printJson,
    seconds,
)
from corotwist.tools.screen import EVENTS_SHOWN, GROUPS_SHOWN, Snapshot, frame, picture

_NS: Final = 1_000_000_000
# Between two pictures, also when nothing changes.
INTERVAL_SECONDS: Final = 1.0
# The other screen of a terminal, without its cursor; and back.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"
LEAVE: Final = "\x1b[?25h\x1b[?1049l"


class WatchOptions(NodeOptions):
    """
    What C{corotwist watch} understands.
    """

    synopsis = "Usage: corotwist watch [options]"
    longdesc = (
        "Draws the view, its members, the verdict of quorum, process groups and rates,"
        " and again whenever something changes; q or Ctrl-C ends it. With --json, or"
        " where standard output is no terminal, it prints one picture after the other."
    )
    optParameters = [
        ["interval", "i", INTERVAL_SECONDS, "seconds between pictures", seconds],
        ["count", "n", None, "so many pictures, then end", amount],
    ]


class Watch:
    """
    What happened, and what there is to draw.
    """

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self._clock = client.clock
        self._before: Snapshot | None = None
        self._woken: Deferred[None] | None = None
        self._times: dict[ViewId, int] = {}
        self.events: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self.over = False

    async def begin(self) -> None:
        """
        Follow the views.  The first is from before us: its time is on record.
        """
        views = self._client.views
        self._times = {one.view.viewId: one.time for one in await views.history()}
        views.follow(self.viewed)

    # What wakes us.

    def viewed(self, event: View | TransitionalView) -> None:
        """
        Another view, or the end of one.
        """
        if isinstance(event, View):
            word = "quorate" if event.quorate else "NOT quorate"
            lines = [sentence(change, came=False) for change in event.left]
            lines += [sentence(change, came=True) for change in event.joined]
            lines.append(f"view {event.viewId}: {word} ({event.rule})")
            self.events.extend(f"{self._when(event)}  {line}" for line in lines)
        self.wake()

    def _when(self, view: View) -> str:
        time = self._times.get(view.viewId)
        return timeOfDay() if time is None else moment(time / _NS)

    def wake(self) -> None:
        """
        Draw now.
        """
        woken, self._woken = self._woken, None
        if woken is not None:
            woken.callback(None)

    def end(self) -> None:
        """
        Enough.
        """
        self.over = True
        self.wake()

    async def pause(self, duration: float) -> None:
        """
        Until something happens, but not for longer than that.
        """
        woken = self._woken = Deferred()
        later = self._clock.callLater(duration, self.wake)
        try:
            await woken
        finally:
            if later.active():
                later.cancel()

    # What there is.

    async def look(self) -> tuple[Snapshot, Snapshot | None]:
        """
        A picture, and the one before it.
        """
        client = self._client
        status = await client.node.status()
        nodes = await _names(client)
        groups = {}
        for group in (await client.groups.groups())[:GROUPS_SHOWN]:
            groups[group] = await client.groups.members(group)
        now = Snapshot(
            timeOfDay(),
            self._clock.seconds(),
            status.nodeid,
            str(client.views.current.viewId),
            status.members,
            {**dict.fromkeys(status.members, ""), **nodes},
            status.state,
            status.quorate,
            status.explanation,
            groups,
            await client.node.statistics("totem"),
        )
        before, self._before = self._before, now
        return now, before


async def _names(client: NodeClient) -> dict[int, str]:
    """
    Everybody in the node list.
    """
    found = dict(await client.cmap.items("nodelist.node."))
    nodes = {}
    for key, value in found.items():
        prefix, _, option = key.rpartition(".")
        if option == "nodeid":
            named = found.get(f"{prefix}.name") or found.get(f"{prefix}.ring0_addr")
            nodes[int(value.content)] = "" if named is None else str(named.content)
    return nodes


def timeOfDay() -> str:
    """
    Here and now.
    """
    return datetime.now().astimezone().isoformat(" ", "seconds")


# Drawing.


class _Keys(Protocol):  # type: ignore[misc]
    """
    What is typed.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def dataReceived(self, data: bytes) -> None:
        if b"q" in data or b"\x03" in data or b"\x04" in data:
            self._watch.end()


@asynccontextmanager
async def _terminal(watch: Watch) -> AsyncIterator[None]:
    """
    The other screen, and single keys.
    """
    descriptor = sys.stdin.fileno()
    isTyped = os.isatty(descriptor)
    saved = termios.tcgetattr(descriptor) if isTyped else None
    if saved is not None:
        tty.setcbreak(descriptor)
        StandardIO(_Keys(watch))
    sys.stdout.write(ENTER)
    try:
        yield
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        if saved is not None:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


async def _draw(watch: Watch, options: Any, *, onTerminal: bool) -> None:
    now, before = await watch.look()
    if options["json"]:
        printJson("watch", **now.report())
        return
    lines = frame(now, before, list(watch.events), colours=onTerminal)
    text = picture(lines) if onTerminal else "\n".join([*lines, "", ""])
    sys.stdout.write(text)
    sys.stdout.flush()


async def _perform(client: NodeClient, options: Any) -> int:
    watch = Watch(client)
    await watch.begin()
    onTerminal = sys.stdout.isatty() and not options["json"]
    left = options["count"]
    async with _terminal(watch) if onTerminal else _nowhere():
        while not watch.over:
            await _draw(watch, options, onTerminal=onTerminal)
            if left is not None:
                left -= 1
                if not left:
                    break
            await watch.pause(options["interval"])
    return DONE


@asynccontextmanager
async def _nowhere() -> AsyncIterator[None]:
    yield


TOOL: Final = Tool("watch", WatchOptions, _perform)


def run(argv: Sequence[str]) -> int:
    """
    Draw until it is enough.

    @return: the exit status.
    """
    return asking.run(TOOL, argv)
