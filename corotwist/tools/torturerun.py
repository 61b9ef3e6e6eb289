"""
Torturing a cluster: storms of faults under load, and calm in between.
"""

import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from attrs import define, field

from corotwist.tools.tortureclient import Client, Name
from corotwist.tools.tortureground import Ground
from corotwist.tools.tortureplan import Deed, Storm
from corotwist.tools.torturestory import NANO, Calm, Story

TICK_SECONDS: Final = 0.02
# How long the first ring may take, or the last one after a storm.
PATIENCE: Final = 60.0
# How long a daemon that was asked to stop may take.
STOP_SECONDS: Final = 15.0
# Nothing new for so long, and everything that was sent has arrived.
QUIET_SECONDS: Final = 1.5
PROGRESS_SECONDS: Final = 10.0
# A client that ended is replaced after this.
RESPAWN_SECONDS: Final = 0.1

# What clients send: of which sizes, and how many at once.  The larger ones take
# several frames, or hundreds.
SIZES: Final = (16, 100, 100, 300, 300, 300, 1000, 1400, 5000)
LARGE: Final = (20_000, 70_000, 200_000)
MOST_AT_ONCE: Final = 8
SEND_SHARE: Final = 0.2  # Of ticks, for each client.
LARGE_SHARE: Final = 0.01  # Of sends.

_DOWN: Final = {"kill": "KILL", "fresh": "KILL", "stop": "TERM"}

Record = dict[str, Any]


class Stuck(Exception):
    """
    Something that must come did not; the text says what.
    """


@define(eq=False)
class Torture:
    """
    One run.

    @ivar token: seconds of the token timeout.
    @ivar clock: nanoseconds, as those of records and logs.
    @ivar done: deeds by kind; those that had no victim are not counted.
    @ivar log: every deed, as it was done: when, and what.
    @ivar clients: all there were.
    @ivar marks: for the judge of records.
    @ivar quiet: when everything was at rest, in nanoseconds; L{None} if it
        never was.
    @ivar complaints: what did not happen in time.
    """

    ground: Ground
    storms: Iterator[Storm]
    token: float
    directory: Path
    random: Random
    clock: Callable[[], int]
    sleep: Callable[[float], None]
    tell: Callable[[str], None]
    done: Counter[str] = field(factory=Counter)
    log: list[tuple[int, str]] = field(factory=list)
    calms: list[Calm] = field(factory=list)
    clients: list[Client] = field(factory=list)
    marks: list[Record] = field(factory=list)
    quiet: int | None = None
    complaints: list[str] = field(factory=list)
    _here: dict[int, Client] = field(factory=dict)
    _lives: Counter[int] = field(factory=Counter)
    _paused: set[int] = field(factory=set)
    _stopping: dict[int, int] = field(factory=dict)
    _active: list[Deed] = field(factory=list)
    _load: bool = True
    _begun: int = 0
    _toldAt: int = 0
    _storm: int = 0
    _ended: int = 0

    # From beginning to end.

    def run(self, seconds: float) -> None:
        """
        Form a ring, and let it storm for so long.

        A run that gets stuck, or is interrupted, ends there, with a complaint.
        """
        self._begun = self._toldAt = self.clock()
        try:
            self._form()
            end = self._begun + round(seconds * NANO)
            while self.clock() < end:
                self._oneStorm(next(self.storms))
            self._settle()
        except Stuck as error:
            self.complaints.append(str(error))
        except KeyboardInterrupt:
            self.complaints.append("interrupted")
        finally:
            self._end()

    def _form(self) -> None:
        for node in self.ground.nodes:
            self._start(node)
        self._comeTogether("the first ring")

    def _settle(self) -> None:
        """
        Without load, until everything that was accepted has arrived.
        """
        self._load = False
        limit = self.clock() + round(PATIENCE * NANO)
        last, since = -1, self.clock()
        while self.clock() - since < QUIET_SECONDS * NANO:
            self._tick()
            amount = sum(client.heard for client in self._here.values())
            busy = any(c.accepted < c.sent for c in self._here.values())
            if amount != last or busy:
                last, since = amount, self.clock()
            if self.clock() > limit:
                raise Stuck(f"no quiet within {PATIENCE:g} s after the last storm")
        self.quiet = self.clock()
        self.marks.append({"t": self.quiet, "ev": "quiet"})

    def _end(self) -> None:
        self._ended = self.clock()
        for client in self._here.values():
            client.last = client.running
            client.end()
        running = [node for node in self.ground.nodes if self.ground.running(node)]
        for node in running:
            self.ground.signal(node, signal.SIGCONT)
            self.ground.signal(node, signal.SIGTERM)
        limit = self.clock() + round(STOP_SECONDS * NANO)
        while any(self.ground.running(node) for node in running):
            if self.clock() > limit:
                self.complaints.append("a daemon does not stop when asked to")
                return
            self.sleep(TICK_SECONDS)

    # Storm and calm.

    def _oneStorm(self, storm: Storm) -> None:
        self._storm = storm.number
        begin = self.clock()
        pending = list(storm.deeds)
        while (passed := self._tokens(begin)) < storm.length:
            while pending and pending[0].at <= passed:
                self._do(pending.pop(0))
            for deed in [deed for deed in self._active if deed.until <= passed]:
                self._undo(deed)
            self._tick()
        self._heal()
        healed = self.clock()
        self._comeTogether(f"one ring after storm {storm.number}")
        begin = self.clock()
        while self._tokens(begin) < storm.calm:
            self._tick()
        self.calms.append(Calm(storm.number, healed, self.clock()))

    def _tokens(self, since: int) -> float:
        return (self.clock() - since) / NANO / self.token

    def _comeTogether(self, what: str) -> None:
        """
        Wait until every client sees exactly the others.
        """
        limit = self.clock() + round(PATIENCE * NANO)
        while not self._together():
            if self.clock() > limit:
                raise Stuck(f"{what} did not come within {PATIENCE:g} s: {self._who()}")
            self._tick()

    def _together(self) -> bool:
        if len(self._here) < len(self.ground.nodes) or self._stopping:
            return False
        everybody = {client.name for client in self._here.values()}
        return all(
            client.view == everybody and client.running and not client.leaving
            for client in self._here.values()
        )

    def _who(self) -> str:
        return "; ".join(
            f"the client of node {node} sees {_nodes(client.view)}"
            for node, client in sorted(self._here.items())
        )

    # Faults.

    def _do(self, deed: Deed) -> None:
        if deed.kind in _DOWN:
            done = self._takeDown(deed.node, deed.kind)
        elif deed.kind == "pause":
            done = self._pause(deed.node)
        elif deed.kind == "client":
            done = self._endClient(deed.node, deed.orderly)
        else:
            done = True
        if not done:
            return
        self._active.append(deed)
        self._note(str(deed))
        self.done[deed.kind] += 1
        self._network(deed.kind)

    def _undo(self, deed: Deed) -> None:
        self._active.remove(deed)
        if deed.kind in _DOWN:
            self._start(deed.node)
        elif deed.kind == "pause":
            self._resume(deed.node)
        self._network(deed.kind)

    def _heal(self) -> None:
        for deed in list(self._active):
            self._undo(deed)
        self._note("healed")

    def _network(self, kind: str) -> None:
        """
        Let the network be what the active deeds of a kind make of it.
        """
        active = [deed for deed in self._active if deed.kind == kind]
        match kind:
            case "partition":
                self.ground.partition(active[-1].parts if active else ())
            case "cut":
                self.ground.cut({pair for deed in active for pair in deed.pairs})
            case "loss":
                self.ground.loss(max((d.percent for d in active), default=0.0))

    def _takeDown(self, node: int, kind: str) -> bool:
        if not self._healthy(node):
            return False
        if kind == "stop":
            self.ground.signal(node, signal.SIGTERM)
            self._stopping[node] = self.clock()
            return True
        self.ground.signal(node, signal.SIGKILL)
        while self.ground.running(node):
            self.sleep(TICK_SECONDS / 10)
        self._gone(node)
        if kind == "fresh":
            self.ground.forget(node)
        return True

    def _healthy(self, node: int) -> bool:
        busy = node in self._paused or node in self._stopping
        return self.ground.running(node) and not busy

    def _gone(self, node: int) -> None:
        self.marks.append({"t": self.clock(), "ev": "killed", "node": node})

    def _start(self, node: int) -> None:
        if not self.ground.running(node):
            if self._stopping.pop(node, None) is not None:
                self._gone(node)
            self.ground.start(node)
            self._lives[node] += 1
            self._note(f"start node {node}")

    def _pause(self, node: int) -> bool:
        if not self._healthy(node):
            return False
        self.ground.signal(node, signal.SIGSTOP)
        self._paused.add(node)
        return True

    def _resume(self, node: int) -> None:
        self._paused.discard(node)
        if self.ground.running(node):
            self.ground.signal(node, signal.SIGCONT)

    def _endClient(self, node: int, orderly: bool) -> bool:
        client = self._here.get(node)
        if client is None or not client.view or client.leaving:
            return False
        if orderly:
            client.leaving = client.say("leave\nquit")
            return client.leaving
        client.killed = True
        client.process.kill()
        return True

    # Meanwhile.

    def _tick(self) -> None:
        self.sleep(TICK_SECONDS)
        self._watchDaemons()
        for node in self.ground.nodes:
            client = self._here.get(node)
            if client is not None:
                client.read()
            if client is None or not client.running:
                self._replace(node, client)
            elif self._load and client.ready and not client.leaving:
                self._pump(client)
        if self.clock() - self._toldAt > PROGRESS_SECONDS * NANO:
            self._toldAt = self.clock()
            self.tell(self.progress())

    def _watchDaemons(self) -> None:
        """
        Those asked to stop come back when they are gone; nobody else goes.
        """
        for node, since in list(self._stopping.items()):
            if not self.ground.running(node):
                if any(deed.node == node for deed in self._active):
                    del self._stopping[node]
                    self._gone(node)
                else:
                    self._start(node)
            elif self.clock() - since > STOP_SECONDS * NANO:
                raise Stuck(f"node {node} did not stop within {STOP_SECONDS:g} s")
        for node in self.ground.nodes:
            up = self.ground.running(node) or self._down(node)
            if self._lives[node] and not up:
                raise Stuck(f"the daemon of node {node} ended by itself")

    def _down(self, node: int) -> bool:
        """
        Is it meant to be?
        """
        deeds = [deed for deed in self._active if deed.kind in _DOWN]
        return node in self._stopping or any(deed.node == node for deed in deeds)

    def _replace(self, node: int, old: Client | None) -> None:
        """
        A daemon has a client, unless it cannot answer.
        """
        if old is not None:
            old.read()
            old.end()
            del self._here[node]
            asked = old.leaving or old.killed or self._down(node)
            if not asked and old.life == self._lives[node]:
                self.complaints.append(f"the client of node {node} ended by itself")
        if self._healthy(node):
            number = 1 + sum(client.node == node for client in self.clients)
            log = self.directory / f"client{node}.{number}.jsonl"
            process = self.ground.client(node, log)
            client = Client(node, self._lives[node], process, log)
            self._here[node] = client
            self.clients.append(client)

    def _pump(self, client: Client) -> None:
        random = self.random
        if random.random() < SEND_SHARE:
            if random.random() < LARGE_SHARE:
                client.send(random.choice(LARGE), 1)
            else:
                client.send(random.choice(SIZES), random.randint(1, MOST_AT_ONCE))

    def _note(self, what: str) -> None:
        self.log.append((self.clock(), what))

    # Afterwards.

    def story(self, title: list[str]) -> Story:
        """
        For the judges.
        """
        return Story(
            title,
            list(self.ground.nodes),
            sorted(self.ground.ours),
            self.token,
            self._begun,
            self._ended,
            self.quiet is not None,
            [list(deed) for deed in self.log],
            dict(self.done),
            self.marks,
            self.complaints,
            self.calms,
            [client.story() for client in self.clients],
        )

    # For people.

    def progress(self) -> str:
        """
        One line about now.
        """
        seconds = (self.clock() - self._begun) // NANO
        sent = sum(client.sent for client in self.clients)
        heard = sum(client.heard for client in self.clients)
        return (
            f"{seconds // 60:3}:{seconds % 60:02}  storm {self._storm},"
            f" {self.done.total()} faults, {sent} messages sent, {heard} delivered;"
            f" {self._state()}"
        )

    def _state(self) -> str:
        if not self._active:
            return "calm"
        return ", ".join(map(str, self._active))


def _nodes(view: Iterable[Name]) -> str:
    return " ".join(str(node) for node, _ in sorted(view)) or "nobody"
