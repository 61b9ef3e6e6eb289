"""
Clients of both kinds, the same to a test: C{peer.c} on real nodes and
C{peer.py} on ours.  Each runs in a node and prints what it is told as one JSON
object per line.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from threading import Condition, Thread
from typing import Any, Final, Protocol

from attrs import define, field, frozen

from corotwist.tools.lab import (
    COMMAND_SECONDS,
    EXIT_SECONDS,
    OUR_PEER,
    Lab,
    LabFailed,
    compiledPeer,
    environment,
)

# How long a group may take to agree when nothing is wrong with the network.
VIEW_SECONDS: Final = 30.0
# Marks are longer by one each time: no test sends messages of such lengths.
MARK_BYTES: Final = 20_001

Event = dict[str, Any]


class Disturbed(LabFailed):
    """
    The group changed while nobody should have come or gone.
    """


@frozen(order=True)
class Heard:
    """
    One delivered message; equal on all nodes for the same message.
    """

    nodeid: int
    pid: int
    length: int
    digest: int


@frozen
class View:
    """
    A change of the group; nodeid, pid and reason of who left and who joined.
    """

    members: tuple[tuple[int, int], ...]
    left: tuple[tuple[int, ...], ...]
    joined: tuple[tuple[int, ...], ...]

    def steps(self) -> "tuple[View, ...]":
        """
        As real nodes show it: who left, and then who joined.
        """
        if not self.left or not self.joined:
            return (self,)
        came = {(nodeid, pid) for nodeid, pid, _ in self.joined}
        between = tuple(member for member in self.members if member not in came)
        return View(between, self.left, ()), View(self.members, (), self.joined)


def _entries(event: Event) -> tuple[Heard | View, ...]:
    match event["event"]:
        case "message":
            sender = event["nodeid"], event["pid"]
            return (Heard(*sender, event["length"], event["digest"]),)
        case "view":
            members = tuple((entry[0], entry[1]) for entry in event["members"])
            changes = (tuple(map(tuple, event[key])) for key in ("left", "joined"))
            return View(members, *changes).steps()
    return ()


@define
class Peer:
    """
    A client process in a node, in one group.

    @ivar events: everything it printed, in order.
    @ivar marks: how many barriers it took part in.
    @ivar origin: from which event on its history is compared with others'.
    """

    nodeid: int
    process: subprocess.Popen[str]
    events: list[Event] = field(factory=list)
    marks: int = 0
    origin: int = 0
    _changed: Condition = field(factory=Condition)
    _reader: Thread | None = None

    @classmethod
    def start(cls, lab: Lab, nodeid: int, group: str) -> "Peer":
        """
        Start a client of the node's kind; it connects as soon as it can.
        """
        ours = nodeid in lab.ours
        program = OUR_PEER if ours else (str(compiledPeer(lab.directory)),)
        with (lab.directory / f"peers{nodeid}.log").open("ab") as log:
            process = subprocess.Popen(
                [*lab.inside(nodeid), *program, group],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(),
                cwd="/",
                start_new_session=True,
            )
        peer = cls(nodeid, process)
        peer._reader = Thread(target=peer._read, daemon=True)
        peer._reader.start()
        return peer

    def _read(self) -> None:
        assert self.process.stdout is not None, "it was made with a pipe"
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def wait(self, condition: Callable[["Peer"], object], what: str) -> None:
        """
        Wait until what it printed makes C{condition} true.

        @raise LabFailed: when that takes longer than L{VIEW_SECONDS}.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), VIEW_SECONDS):
                tail = "\n".join(map(str, self.events[-5:]))
                raise LabFailed(f"peer on node {self.nodeid}: no {what}; {tail}")

    def say(self, command: str) -> None:
        """
        A command of C{peer.c} or C{peer.py}.
        """
        assert self.process.stdin is not None, "it was made with a pipe"
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def send(self, size: int, count: int = 1) -> None:
        """
        Have it send; it says C{sent} when the node has taken them.
        """
        self.say(f"send {size} {count}")

    def close(self) -> None:
        """
        End it, in whatever way.
        """
        self.process.kill()
        self.process.wait(EXIT_SECONDS)
        if self._reader is not None:
            self._reader.join(COMMAND_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                _closed(pipe)

    # What it was told.

    @property
    def name(self) -> tuple[int, int]:
        """
        Nodeid and process id, as others see them.
        """
        ready = (event for event in self.events if event["event"] == "ready")
        return self.nodeid, next(ready, {"pid": 0})["pid"]

    def views(self, since: int = 0) -> list[View]:
        """
        The views, in the order they were delivered.

        @param since: skip so many events.
        """
        return [entry for entry in self.history(since) if isinstance(entry, View)]

    def sees(self) -> set[tuple[int, int]]:
        """
        Who is in the group, according to the last view.
        """
        views = self.views()
        return set(views[-1].members) if views else set()

    def heard(self, since: int = 0) -> list[Heard]:
        """
        The messages, in the order they were delivered.

        @param since: skip so many events.
        """
        return [entry for entry in self.history(since) if isinstance(entry, Heard)]

    def history(self, since: int = 0) -> list[Heard | View]:
        """
        Messages and views, in the order they were delivered: the same for all
        who stayed together.
        """
        return [one for event in self.events[since:] for one in _entries(event)]

    @property
    def damaged(self) -> list[Event]:
        """
        Messages that do not say of themselves what they are.
        """
        return [event for event in self.events if event.get("intact") is False]


def _closed(pipe: Any) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # A command that nobody was left to read.


def together(peers: Sequence[Peer]) -> None:
    """
    Wait until each of them sees exactly these processes in the group.
    """
    for peer in peers:
        peer.wait(lambda p: p.name[1], "connection to its node")
    expected = {peer.name for peer in peers}
    for peer in peers:
        peer.wait(lambda p: p.sees() == expected, f"view of {sorted(expected)}")


def barrier(peers: Sequence[Peer]) -> None:
    """
    Wait until each of them has heard all that all of them sent so far.

    @raise Disturbed: when the group changed meanwhile.
    """
    starts = {peer.nodeid: len(peer.events) for peer in peers}
    for peer in peers:
        peer.marks = 1 + max(other.marks for other in peers)
    size = MARK_BYTES + peers[0].marks
    for peer in peers:
        peer.send(size)
    expected = {(*peer.name, size) for peer in peers}

    def passed(peer: Peer) -> bool:
        start = starts[peer.nodeid]
        heard = {(h.nodeid, h.pid, h.length) for h in peer.heard(start)}
        return expected <= heard or bool(peer.views(start))

    for peer in peers:
        peer.wait(passed, f"marks of {size} bytes from {sorted(expected)}")
    for peer in peers:
        if views := peer.views(starts[peer.nodeid]):
            raise Disturbed(f"node {peer.nodeid} saw {views}")


def exchange(peers: Sequence[Peer], sizes: Iterable[int]) -> list[Heard]:
    """
    Everybody sends a message of each size at the same time; wait until
    everybody has heard all of them.

    @return: the one order in which all of them heard them.
    @raise LabFailed: when the orders differ, or a message is damaged or twice.
    @raise Disturbed: when the group changed meanwhile.
    """
    barrier(peers)
    wanted = list(sizes)
    starts = [len(peer.events) for peer in peers]
    for peer in peers:
        for size in wanted:
            peer.send(size)
    barrier(peers)
    heard = [peer.heard(start) for peer, start in zip(peers, starts, strict=True)]
    order = [h for h in agree(peers, heard) if h.length != MARK_BYTES + peers[0].marks]
    expected = Counter((peer.nodeid, size) for peer in peers for size in wanted)
    if Counter((each.nodeid, each.length) for each in order) != expected:
        raise LabFailed(f"sent {expected}, heard {order}")
    return order


class Listener(Protocol):
    """
    What L{agree} asks of a peer.
    """

    nodeid: int

    @property
    def damaged(self) -> Sequence[object]:
        """
        Messages that do not say of themselves what they are.
        """


def agree(peers: Sequence[Listener], orders: Sequence[list[Any]]) -> list[Any]:
    """
    @return: the one order of all of them.
    @raise LabFailed: when the peers heard different things, in another order,
        or damaged.
    """
    first = orders[0]
    for peer, order in zip(peers, orders, strict=True):
        if peer.damaged:
            raise LabFailed(f"damaged on node {peer.nodeid}: {peer.damaged[0]}")
        if order != first:
            place = _parting(first, order)
            raise LabFailed(
                f"node {peer.nodeid} heard {order[place : place + 2]} where node "
                f"{peers[0].nodeid} heard {first[place : place + 2]} (place {place})"
            )
    return first


def _parting(one: Sequence[object], other: Sequence[object]) -> int:
    pairs = zip(one, other, strict=False)
    shorter = min(len(one), len(other))
    return next((n for n, (a, b) in enumerate(pairs) if a != b), shorter)
