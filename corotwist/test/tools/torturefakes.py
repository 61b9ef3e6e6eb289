"""
A cluster that is no more than its clients' logs, on a clock that stands still
until somebody sleeps.
"""

import json
import signal
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field


class Commands(BytesIO):
    """
    The standard input of a client.
    """

    def __init__(self, process: "FakeProcess") -> None:
        super().__init__()
        self.process = process

    def write(self, data: Any) -> int:
        for line in bytes(data).decode().splitlines():
            self.process.world.obey(self.process, line.split())
        return len(data)


@define(eq=False)
class FakeProcess:
    """
    A client, as far as it is a process.
    """

    world: "World"
    node: int
    pid: int
    log: Path
    sequence: int = 0
    ended: bool = False
    stdin: Commands = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stdin = Commands(self)

    def poll(self) -> int | None:
        return 0 if self.ended else None

    def kill(self) -> None:
        if not self.ended:
            self.world.leave(self, 5)

    def wait(self, timeout: float) -> int:
        return 0

    def tell(self, event: str, **fields: Any) -> None:
        line = json.dumps({"t": self.world.now, "event": event, **fields})
        with self.log.open("a") as file:
            file.write(line + "\n")


@define(eq=False)
class World:
    """
    For L{corotwist.tools.torturerun.Torture}: a ground, its clock, and a
    perfect cluster.

    @ivar signals: what daemons were sent.
    @ivar network: what was done to the network.
    @ivar broken: a node that ends by itself at this time.
    @ivar weak: the client of this process id ends when it is to send.
    @ivar deaf: nobody sees anybody in the group.
    @ivar stubborn: nodes that do not heed SIGTERM.
    """

    nodes: Sequence[int] = (1, 2, 3)
    ours: frozenset[int] = frozenset((1, 2, 3))
    now: int = 1
    up: set[int] = field(factory=set)
    signals: list[tuple[int, int]] = field(factory=list)
    network: list[tuple[str, Any]] = field(factory=list)
    forgotten: list[int] = field(factory=list)
    group: list[FakeProcess] = field(factory=list)
    broken: tuple[int, int] = (0, 0)
    weak: int = 0
    deaf: bool = False
    stubborn: frozenset[int] = frozenset()
    pids: Any = field(factory=lambda: count(100))

    def clock(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 10**9)
        node, at = self.broken
        if node and self.now > at:
            self.up.discard(node)

    # Daemons.

    def start(self, node: int) -> None:
        assert node not in self.up, "started twice"
        self.up.add(node)

    def signal(self, node: int, number: int) -> None:
        assert node in self.up, "nobody there"
        self.signals.append((node, number))
        deadly = {signal.SIGKILL, signal.SIGTERM} - (
            {signal.SIGTERM} if node in self.stubborn else set()
        )
        if number in deadly:
            self.up.discard(node)
            for process in [p for p in self.group if p.node == node]:
                self.leave(process, 3)

    def running(self, node: int) -> bool:
        return node in self.up

    def forget(self, node: int) -> None:
        assert node not in self.up, "its disk is in use"
        self.forgotten.append(node)

    # Network.

    def partition(self, parts: Iterable[Iterable[int]]) -> None:
        self.network.append(("partition", tuple(parts)))

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.network.append(("cut", sorted(pairs)))

    def loss(self, percent: float) -> None:
        self.network.append(("loss", percent))

    # Clients.

    def client(self, node: int, log: Path) -> Any:
        process = FakeProcess(self, node, next(self.pids), log)
        log.touch()
        process.tell("ready", nodeid=node, pid=process.pid)
        if not self.deaf:
            self.group.append(process)
            self._view(joined=[[node, process.pid, 1]])
        return process

    def leave(self, process: FakeProcess, reason: int) -> None:
        process.ended = True
        if process in self.group:
            self.group.remove(process)
            self._view(left=[[process.node, process.pid, reason]])

    def _view(
        self, left: Sequence[list[int]] = (), joined: Sequence[list[int]] = ()
    ) -> None:
        members = [[process.node, process.pid, 0] for process in self.group]
        for process in self.group:
            process.tell("view", members=members, left=left, joined=joined)

    def obey(self, process: FakeProcess, words: list[str]) -> None:
        match words:
            case ["send", *_] if process.pid == self.weak:
                self.leave(process, 5)
            case ["send", size, number]:
                first, process.sequence = (
                    process.sequence,
                    process.sequence + int(number),
                )
                process.tell("sending", first=first, size=int(size), count=int(number))
                for sequence in range(first, process.sequence):
                    self._message(process, sequence, int(size))
                process.tell("sent", size=int(size), count=int(number))
            case ["leave"]:
                process.tell("leaving")
                self.leave(process, 2)
            case ["quit"]:
                process.ended = True

    def _message(self, sender: FakeProcess, sequence: int, size: int) -> None:
        common = {"nodeid": sender.node, "pid": sender.pid, "digest": 0}
        for process in self.group:
            process.tell(
                "message", **common, sequence=sequence, length=size, intact=True
            )

    # What nobody asks for here.

    def record(self, node: int) -> Path:
        raise NotImplementedError

    def log(self, node: int) -> str:
        raise NotImplementedError

    def down(self) -> None:
        raise NotImplementedError
