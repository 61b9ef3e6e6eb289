"""
C{corotwist demo}: a cluster on this machine, a node killed and back again, and
whether everybody agrees on the order.
"""

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.python import usage
from twisted.python.failure import Failure

from corotwist.engines.interfaces import GroupView, Member, Reason
from corotwist.errors import Disconnected
from corotwist.ipc.client import NodeClient
from corotwist.ipc.remote import connectSocket
from corotwist.options import Options
from corotwist.tools.agreement import (
    Journal,
    Seen,
    fromFirst,
    fromLast,
    killedDiffers,
    nodes,
    returnedDiffers,
    runs,
    survivorsDiffer,
)
from corotwist.tools.daemons import (
    MOST_NODES,
    Daemon,
    Plan,
    addressOf,
    freePort,
    killAll,
)
from corotwist.tools.keygen import DEFAULT_BYTES, writeKey

# The token time, and what each node adds to it: one machine has no network to
# wait for, but perhaps few processors.
TOKEN_MS: Final = 400
NODE_MS: Final = 50
GROUP: Final = b"demo"
FEWEST_NODES: Final = 2
MOST_MESSAGES: Final = 100_000
LONGEST_WAIT: Final = 600.0
# Between looking whether something has happened; only waits are that coarse,
# the times shown are those of the events.
LOOK_SECONDS: Final = 0.005
# Between messages of one node while the others carry on.
TRICKLE_SECONDS: Final = 0.01
# Of the trickle, before and after each event.
BREATH_SECONDS: Final = 0.3
# Between attempts of a client to reach its node.
RETRY_SECONDS: Final = 0.05
SHOWN_RUNS: Final = 5
# A socket's path is short, and a directory for temporary files may be deep.
LONGEST_DIRECTORY: Final = 80

_CAUSE: Final = re.compile(r"Nodes .* are gone; (.*)")


T = TypeVar("T", int, float)


class Disagreement(Exception):
    """
    The demonstration shows something that must not be.
    """


def _between(
    option: str, kind: Callable[[str], T], low: T, high: T
) -> Callable[[str], T]:
    """
    For a number in a range.  Twisted would not say which option a
    L{ValueError} is about.
    """

    def parse(text: str) -> T:
        with suppress(ValueError):
            number = kind(text)
            if low <= number <= high:
                return number
        raise usage.UsageError(f"{option} is {low} to {high}")

    return parse


class DemoOptions(Options):
    """
    What C{corotwist demo} understands.
    """

    synopsis = "Usage: corotwist demo [--nodes N] [--messages N] [--seconds S]"
    longdesc = (
        "Run a cluster of real daemons on loopback addresses: form a ring, order"
        " messages of all nodes, kill one, take it back, stop. Exits with 0 only if"
        " all agree on what was delivered, and in which order."
    )
    optParameters = [
        [
            "nodes",
            "n",
            3,
            "How many.",
            _between("--nodes", int, FEWEST_NODES, MOST_NODES),
        ],
        [
            "messages",
            "m",
            500,
            "How many of each node.",
            _between("--messages", int, 1, MOST_MESSAGES),
        ],
        [
            "seconds",
            "s",
            30.0,
            "How long a step may take.",
            _between("--seconds", float, 1.0, LONGEST_WAIT),
        ],
    ]
    optFlags = [["keep", "k", "Leave configuration files and logs behind."]]


def run(argv: Sequence[str]) -> int:
    """
    Show it.

    @param argv: what follows C{demo} on the command line.
    @return: 0 when all agree, 1 when not, 2 for a wrong command line.
    """
    options = DemoOptions()
    try:
        options.parseOptions(list(argv))
    except usage.UsageError as error:
        print(f"corotwist demo: {error}\n{options}", file=sys.stderr)
        return 2
    directory = _makeDirectory()
    outcome = Outcome()
    try:
        react(partial(_main, options, directory, outcome))
    except SystemExit:
        pass  # The outcome says more.
    finally:
        if options["keep"]:
            print(f"Files and logs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return outcome.status


class Outcome:
    """
    How it ended; unless it came to its end, badly.
    """

    status = 1


def _makeDirectory() -> Path:
    directory = tempfile.mkdtemp(prefix="corotwist-demo-")
    if len(directory) > LONGEST_DIRECTORY:
        shutil.rmtree(directory)
        directory = tempfile.mkdtemp(prefix="corotwist-demo-", dir="/tmp")
    return Path(directory)


async def _main(
    options: DemoOptions, directory: Path, outcome: Outcome, reactor: Any
) -> None:
    nodeids = tuple(range(1, options["nodes"] + 1))
    port = freePort([addressOf(nodeid) for nodeid in nodeids], SystemRandom())
    writeKey(directory / "authkey", SystemRandom().randbytes(DEFAULT_BYTES))
    plan = Plan(directory, nodeids, port, tokenMs=TOKEN_MS + NODE_MS * len(nodeids))
    demo = Demo(reactor, plan, options["messages"], options["seconds"])
    reactor.addSystemEventTrigger("before", "shutdown", demo.kill)
    # While it starts the reactor does not handle signals yet, and logs away the
    # KeyboardInterrupt that they make instead.
    await deferLater(reactor, 0)
    try:
        await demo.run()
    except Disagreement as error:
        demo.tell(f"FAILED: {error}")
        for daemon in demo.daemons.values():
            print(daemon.lastWords())
    else:
        outcome.status = 0
    finally:
        await demo.kill()


class Participant:
    """
    A node's process and a client of that node.

    @ivar journal: all that the client got.
    @ivar times: when each entry of the journal came.
    @ivar joined: is the client in the group?
    @ivar refusals: why messages were not sent that should have been.
    """

    def __init__(self, reactor: Any, daemon: Daemon) -> None:
        self.daemon = daemon
        self.nodeid = daemon.nodeid
        self.journal = Journal(daemon.nodeid)
        self.times: list[float] = []
        self.joined = False
        self.refusals: list[str] = []
        self._group: Any = None
        self._client = NodeClient(
            reactor,
            partial(connectSocket, reactor, daemon.socket),
            retryPolicy=lambda failures: RETRY_SECONDS,
        )

    def start(self) -> None:
        """
        Connect, join, and do both again whenever the node was gone.
        """
        self._client.startService()
        joining = self._client.groups.join(
            GROUP, self._delivered, self._viewChanged, self._interrupted
        )
        joining.addCallbacks(self._groupJoined, lambda _: None)

    def stop(self) -> Deferred[None]:
        """
        Close the connection.
        """
        return self._client.stopService()

    def send(self, payload: bytes) -> None:
        """
        Multicast.  What a killed node did not take is lost; that is told to
        the sender, and expected here.
        """
        self._group.send(payload).addErrback(self._notSent)

    def _notSent(self, failure: Failure) -> None:
        if not failure.check(Disconnected):
            self.refusals.append(failure.getErrorMessage())

    def ring(self) -> str:
        """
        The ring that the node is on, for people.
        """
        view = self._client.views.current
        return f"ring {view.viewId.ringId}" if view.members else "no ring"

    def _groupJoined(self, group: Any) -> None:
        self._group = group

    def _delivered(self, sender: Member, payload: bytes) -> None:
        self.journal.messageDelivered(sender, payload)
        self.times.append(time.monotonic())

    def _viewChanged(self, view: GroupView) -> None:
        self.journal.viewChanged(view)
        self.times.append(time.monotonic())
        self.joined = True

    def _interrupted(self, gap: Any) -> None:
        self.journal.interrupted(gap.reason)
        self.times.append(time.monotonic())
        self.joined = False


class Demo:
    """
    The story, step by step.

    @ivar daemons: by nodeid.
    """

    def __init__(
        self, reactor: Any, plan: Plan, messages: int, patience: float
    ) -> None:
        """
        @param messages: of each node, in each round.
        @param patience: seconds that a step may take.
        """
        self._reactor = reactor
        self._plan = plan
        self._messages = messages
        self._patience = patience
        self._began = time.monotonic()
        self._numbers = dict.fromkeys(plan.nodes, 0)
        self._expected: set[int] = set()
        self.daemons = {nodeid: Daemon(plan, nodeid) for nodeid in plan.nodes}
        self._all = [Participant(reactor, daemon) for daemon in self.daemons.values()]

    async def run(self) -> None:
        """
        From the first process to the last.

        @raise Disagreement: something is not as it must be.
        """
        self._introduce()
        start = await self._form()
        await self._orderMessages()
        *survivors, victim = self._all
        trickle = self._trickle()
        await self._lose(victim, survivors)
        await self._takeBack(victim, survivors)
        trickle.stop()
        await self._orderMessages()
        self._judge(survivors, victim, start)
        await self._stopInOrder()
        self.tell("All agree.")

    def tell(self, text: str) -> None:
        """
        A line of the story, now.
        """
        print(f"{time.monotonic() - self._began:8.3f} s  {text}", flush=True)

    def kill(self) -> Deferred[None]:
        """
        Leave nothing behind.
        """
        return Deferred.fromCoroutine(self._kill())

    async def _kill(self) -> None:
        for participant in self._all:
            participant.stop()
        await killAll(list(self.daemons.values()))

    # Steps.

    def _introduce(self) -> None:
        self.tell(
            f"{len(self._all)} nodes on this machine, UDP port {self._plan.port},"
            " datagrams sealed with a fresh key"
        )

    async def _form(self) -> Seen:
        """
        @return: the first view with everybody in it.
        """
        for participant in self._all:
            self._start(participant)
        await self._until(
            lambda: self._everybodySees(self._all),
            "all nodes in one ring and all clients in one group",
        )
        start = self._all[0].journal.lastView()
        assert start is not None, "everybody sees one"
        self.tell(
            f"{self._all[0].ring()}; a client of each node joined the group"
            f" {GROUP.decode()!r}: {_view(start)}"
        )
        return start

    def _start(self, participant: Participant) -> None:
        daemon = participant.daemon
        daemon.start(self._reactor)
        self._expected.add(daemon.nodeid)
        address = addressOf(daemon.nodeid)
        self.tell(f"node {daemon.nodeid} starts at {address}, process {daemon.pid}")
        if not participant.times:
            participant.start()

    async def _orderMessages(self) -> None:
        """
        Everybody sends at once.
        """
        before = self._all[0].journal.messages
        began = time.monotonic()
        sent = {self._send(p) for _ in range(self._messages) for p in self._all}
        await self._until(
            lambda: all(sent <= p.journal.heard for p in self._all),
            "all messages on all nodes",
        )
        taken = time.monotonic() - began
        count = self._all[0].journal.messages - before
        self.tell(
            f"{count} messages, sent by all nodes at once, were delivered on every"
            f" node within {taken:.3f} s; the order, at its end:"
        )
        for participant in self._all:
            order = " ".join(runs(participant.journal.entries)[-SHOWN_RUNS:])
            self.tell(f"    on node {participant.nodeid}: ... {order}")

    async def _lose(self, victim: Participant, survivors: list[Participant]) -> None:
        """
        While everybody sends.
        """
        await self._pause(BREATH_SECONDS)
        daemon = victim.daemon
        known = {p.nodeid: len(p.daemon.logged()) for p in survivors}
        self._expected.discard(daemon.nodeid)
        self.tell(f"SIGKILL to node {daemon.nodeid}, process {daemon.pid}")
        killed = time.monotonic()
        daemon.send("KILL")
        await self._until(
            lambda: not victim.joined and self._everybodySees(survivors),
            "the survivors' view without the killed node",
        )
        for survivor in survivors:
            view, at = _viewSince(survivor, killed)
            cause = self._cause(survivor, known[survivor.nodeid])
            self.tell(
                f"    node {survivor.nodeid}: new view after {at - killed:.3f} s,"
                f" {_view(view)}; {survivor.ring()}, because {cause}"
            )
        await self._pause(BREATH_SECONDS)

    def _cause(self, participant: Participant, known: int) -> str:
        """
        Why the ring ended, as the node's own log has it.
        """
        for line in participant.daemon.logged()[known:]:
            found = _CAUSE.search(line)
            if found:
                return found[1]
        return "not in the log"

    async def _takeBack(
        self, victim: Participant, survivors: list[Participant]
    ) -> None:
        self.tell(f"node {victim.nodeid} comes back, on the same files")
        began = time.monotonic()
        self._start(victim)
        await self._until(
            lambda: self._everybodySees(self._all), "everybody in one group again"
        )
        view, at = _viewSince(survivors[0], began)
        self.tell(
            f"    everybody has a new view {at - began:.3f} s after its start,"
            f" {_view(view)}; {victim.ring()}"
        )
        await self._pause(BREATH_SECONDS)

    def _judge(
        self, survivors: list[Participant], victim: Participant, start: Seen
    ) -> None:
        journals = [survivor.journal for survivor in survivors]
        problems = [
            *survivorsDiffer(journals, start),
            *returnedDiffers(victim.journal, journals[0], start),
            *killedDiffers(victim.journal, journals[0], start),
        ]
        if problems:
            raise Disagreement("; ".join(problems))
        shared = len(fromFirst(journals[0].entries, start))
        returned = len(fromLast(victim.journal.entries, start))
        self.tell(
            f"{_nodes(survivors)} delivered one and the same sequence of {shared}"
            f" messages and views; node {victim.nodeid} agrees with the last"
            f" {returned} of them, since its return, and with all that it got before"
        )

    async def _stopInOrder(self) -> None:
        """
        One after the other, so that the others notice.
        """
        for participant in reversed(self._all):
            rest = [p for p in self._all if p.nodeid < participant.nodeid]
            daemon = participant.daemon
            self._expected.discard(daemon.nodeid)
            began = time.monotonic()
            daemon.send("TERM")
            await self._until(
                partial(self._isGone, daemon, rest),
                f"node {daemon.nodeid} to leave in order",
            )
            self._tellLeft(daemon, rest, began)

    def _isGone(self, daemon: Daemon, rest: list[Participant]) -> bool:
        return daemon.pid is None and self._everybodySees(rest)

    def _tellLeft(self, daemon: Daemon, rest: list[Participant], began: float) -> None:
        if not (daemon.orderly and daemon.saidFarewell()):
            raise Disagreement(f"node {daemon.nodeid} {daemon.status} at SIGTERM")
        text = f"SIGTERM to node {daemon.nodeid}: it leaves in order"
        if rest:
            view, at = _viewSince(rest[0], began)
            text += f"; new view after {at - began:.3f} s: {_view(view)}"
        self.tell(text)

    # Sending and waiting.

    def _send(self, participant: Participant) -> bytes:
        """
        The next message of a node; no two messages are the same.
        """
        self._numbers[participant.nodeid] += 1
        number = self._numbers[participant.nodeid]
        payload = b"%d.%d" % (participant.nodeid, number)
        participant.send(payload)
        return payload

    def _trickle(self) -> LoopingCall:
        """
        Messages all the time, from everybody who is there.
        """
        trickle = LoopingCall(self._sendSome)
        trickle.clock = self._reactor
        trickle.start(TRICKLE_SECONDS)
        return trickle

    def _sendSome(self) -> None:
        for participant in self._all:
            if participant.joined:
                self._send(participant)

    def _everybodySees(self, participants: list[Participant]) -> bool:
        """
        Do all have a view of exactly all?
        """
        wanted = [participant.nodeid for participant in participants]
        views = [participant.journal.lastView() for participant in participants]
        return all(
            participant.joined
            and view is not None
            and [member.nodeid for member in view.members] == wanted
            for participant, view in zip(participants, views, strict=True)
        )

    async def _until(self, happened: Callable[[], bool], what: str) -> None:
        """
        @raise Disagreement: when it takes too long, or a process ends that
            should not.
        """
        patience = time.monotonic() + self._patience
        while not happened():
            self._missed()
            if time.monotonic() > patience:
                text = f"waited {self._patience:g} s in vain for {what}"
                raise Disagreement(text)
            await self._pause(LOOK_SECONDS)

    def _missed(self) -> None:
        """
        @raise Disagreement: something went wrong meanwhile.
        """
        for participant in self._all:
            if participant.refusals:
                text = f"node {participant.nodeid}: {participant.refusals[0]}"
                raise Disagreement(text)
        for nodeid in self._expected:
            daemon = self.daemons[nodeid]
            if daemon.pid is None:
                raise Disagreement(f"node {nodeid} {daemon.status}, unasked")

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor, seconds)


# For people.


def _view(view: Seen) -> str:
    changes = [
        *(f"node {c.member.nodeid} left, {_reason(c.reason)}" for c in view.left),
        *(f"node {c.member.nodeid} joined" for c in view.joined),
    ]
    text = nodes(view.members)
    return f"{text} ({'; '.join(changes)})" if changes else text


def _reason(reason: Reason) -> str:
    return Reason(reason).name


def _viewSince(participant: Participant, since: float) -> tuple[Seen, float]:
    """
    The newest view after a time, and when it came.
    """
    for entry, at in _backwards(participant):
        if isinstance(entry, Seen) and at >= since:
            return entry, at
    raise Disagreement(f"node {participant.nodeid} has no new view")


def _backwards(participant: Participant) -> Iterator[tuple[object, float]]:
    journal, times = participant.journal.entries, participant.times
    return zip(reversed(journal), reversed(times), strict=True)


def _nodes(participants: list[Participant]) -> str:
    return nodes([Member(participant.nodeid, 0) for participant in participants])
