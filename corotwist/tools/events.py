"""
C{corotwist events}: tells what happens to the cluster, as corosync-notifyd does; to
a terminal, syslog, SNMP managers, the system's D-Bus, and programs.
"""

import socket
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.usage import UsageError

from corotwist.engines.interfaces import TransitionalView, View
from corotwist.errors import CorotwistError
from corotwist.ipc.client import NodeClient
from corotwist.tools import asking
from corotwist.tools.asking import DONE, NodeOptions, Tool, amount
from corotwist.tools.happenings import CLIENTS, Happening, Happenings
from corotwist.tools.notices import (
    Given,
    Lines,
    Outlet,
    Programs,
    SystemLog,
    Teller,
    Trap,
    signal,
)

# Between two looks at the links.
LINKS_SECONDS: Final = 1.0
# What corosync-notifyd takes.
COMMUNITY: Final = "public"


class EventsOptions(NodeOptions):
    """
    What C{corotwist events} understands.
    """

    synopsis = "Usage: corotwist events [options]"
    longdesc = (
        "Tells who joins and leaves, quorum won and lost, clients that connect and"
        " disconnect, and links, as they happen; Ctrl-C ends it. Without any option it"
        " prints them."
    )
    optFlags = [
        ["foreground", "f", "accepted: it always stays in the foreground"],
        ["log", "l", "tell syslog"],
        ["output", "o", "print"],
        ["snmp", "s", "send SNMP traps (with Net-SNMP's snmptrap)"],
        ["no-reverse-lookup", "n", "accepted: no name is ever looked up"],
        ["dbus", "d", "send D-Bus signals (with dbus-send)"],
        ["no-clients", None, "nothing about clients that come and go"],
    ]
    optParameters = [
        ["manager", "m", None, "who gets the traps: HOST or HOST:PORT"],
        ["community", "c", COMMUNITY, "of the traps"],
        ["exec", "e", None, "run this command for each, told in its environment"],
        ["count", None, None, "so many, then end", amount],
    ]

    def postOptions(self) -> None:
        """
        Check.
        """
        if self["snmp"] and self["manager"] is None:
            raise UsageError("-s needs -m HOST: who gets the traps")


class Events:
    """
    From what the node says to the outlets.
    """

    def __init__(
        self, client: NodeClient, outlets: Sequence[Outlet], *, most: int | None
    ) -> None:
        """
        @param most: after so many it is over.
        """
        self._client = client
        self._outlets = outlets
        self._left = most
        self._happenings = Happenings()
        self._teller = Teller(socket.gethostname(), client.nodeid)
        self._nodes: tuple[int, ...] = ()
        self._started = False
        self.over: Deferred[None] = Deferred()

    async def begin(self, *, clients: bool) -> LoopingCall:
        """
        Ask to be told.
        """
        client = self._client
        self._nodes = await _nodes(client)
        for nodeid in self._nodes:
            addresses = await client.cfg.nodeAddresses(nodeid)
            self._happenings.addresses[nodeid] = " ".join(addresses)
        client.views.follow(self._viewed)
        self._started = True
        if clients:
            statistics = client.cmap.statistics
            await statistics.track(CLIENTS, self._counted, prefix=True)
        looking = LoopingCall(self._look)
        looking.clock = client.clock
        looking.start(LINKS_SECONDS)
        return looking

    def _viewed(self, event: View | TransitionalView) -> None:
        if isinstance(event, View):
            self._tell(self._happenings.viewed(event, first=not self._started))

    def _counted(self, changes: Iterable[Any]) -> None:
        self._tell(self._happenings.counted(changes))

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._links())

    async def _links(self) -> None:
        links = {}
        for nodeid in self._nodes:
            try:
                status = await self._client.cfg.nodeStatus(nodeid)
            except CorotwistError:
                return  # Gone for the moment; the client goes on trying.
            for number, link in enumerate(status.links):
                links[nodeid, number] = link.connected
        self._tell(self._happenings.linked(links))

    def _tell(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            if self._left == 0:
                return
            time = datetime.now().astimezone().isoformat(" ", "seconds")
            for outlet in self._outlets:
                outlet.tell(happening, self._teller, time)
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    self.over.callback(None)


async def _nodes(client: NodeClient) -> tuple[int, ...]:
    """
    The others in the node list.
    """
    found = await client.cmap.items("nodelist.node.")
    nodeids = [int(v.content) for name, v in found if name.endswith(".nodeid")]
    return tuple(sorted(n for n in nodeids if n != client.nodeid))


def outletsOf(options: Any, reactor: Any) -> list[Outlet]:
    """
    What the command line names; the terminal when it names nothing.
    """

    def complain(text: str) -> None:
        sys.stderr.write(f"corotwist events: {text}\n")

    outlets: list[Outlet] = []
    if options["log"]:
        outlets.append(SystemLog())
    if options["snmp"]:
        trap = Trap(options["manager"], options["community"])
        outlets.append(Programs(reactor, trap, complain))
    if options["dbus"]:
        outlets.append(Programs(reactor, signal, complain))
    if options["exec"] is not None:
        outlets.append(Programs(reactor, Given(options["exec"]), complain))
    if options["output"] or options["json"] or not outlets:
        outlets.append(Lines(sys.stdout, bool(options["json"])))
    return outlets


async def _perform(client: NodeClient, options: Any) -> int:
    events = Events(client, outletsOf(options, client.clock), most=options["count"])
    looking = await events.begin(clients=not options["no-clients"])
    try:
        await events.over
    finally:
        looking.stop()
    return DONE


TOOL: Final = Tool("events", EventsOptions, _perform)


def run(argv: Sequence[str]) -> int:
    """
    Tell until it is enough.

    @return: the exit status.
    """
    return asking.run(TOOL, argv)
