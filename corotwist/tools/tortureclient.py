"""
Clients of a tortured cluster, followed through the logs they write.
"""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from attrs import define

from corotwist.tools.lab import EXIT_SECONDS
from corotwist.tools.torturestory import Client as Story

# Commands on their way to a client that does not get to send.
MOST_UNDERWAY: Final = 64
_MESSAGE: Final = b'"event": "message"'

Name = tuple[int, int]


@define(eq=False)
class Client:
    """
    One process, in the group from when it can to its end.

    @ivar life: how manieth process of its node's daemon it was started for.
    @ivar view: the group, as it was last told.
    @ivar sent: messages that it was about to send; C{accepted} of them the
        node took.
    @ivar heard: messages it got.
    @ivar killed: by us; C{last}: it was there at the end.
    """

    node: int
    life: int
    process: subprocess.Popen[bytes]
    log: Path
    view: frozenset[Name] = frozenset()
    sent: int = 0
    accepted: int = 0
    heard: int = 0
    ready: bool = False
    leaving: bool = False
    killed: bool = False
    last: bool = False
    _commands: int = 0
    _offset: int = 0
    _rest: bytes = b""

    @property
    def name(self) -> Name:
        """
        As others see it.
        """
        return self.node, self.process.pid

    @property
    def running(self) -> bool:
        """
        Did it not end yet?
        """
        return self.process.poll() is None

    def say(self, command: str) -> bool:
        """
        A command of C{peer.c}; nothing is said to one who does not listen.
        """
        assert self.process.stdin is not None, "it was made with a pipe"
        try:
            self.process.stdin.write(f"{command}\n".encode())
            self.process.stdin.flush()
        except (BlockingIOError, BrokenPipeError):
            return False
        return True

    def send(self, size: int, count: int) -> None:
        """
        Have it send, unless it is behind.
        """
        if self._commands < MOST_UNDERWAY and self.say(f"send {size} {count}"):
            self._commands += 1

    def read(self) -> None:
        """
        Learn what it logged since.
        """
        with self.log.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if _MESSAGE in line:
                self.heard += 1
            else:
                self._told(json.loads(line))

    def _told(self, line: dict[str, Any]) -> None:
        match line["event"]:
            case "ready":
                self.ready = True
            case "view":
                self.view = frozenset((m[0], m[1]) for m in line["members"])
            case "sending":
                self.sent += line["count"]
            case "sent":
                self.accepted += line["count"]
                self._commands -= 1

    def end(self) -> None:
        """
        In whatever way, if it did not yet.
        """
        self.process.kill()
        self.process.wait(EXIT_SECONDS)
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                return  # A command that nobody was left to read.

    def story(self) -> Story:
        """
        For the judges.
        """
        ended = self.killed or self.leaving or not self.last
        return Story(*self.name, self.life, self.log.name, alive=not ended)
