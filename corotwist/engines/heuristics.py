"""
Commands that say whether a node is any good: whether it reaches the router, has
its disk, whatever its operator thinks of.  All of them have to succeed.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Final, Self

from attrs import define, frozen

from corotwist.engines.children import Child, Program, Respawn
from corotwist.errors import InvalidParameter, ServiceError
from corotwist.interfaces import ICluster
from corotwist.quorumdevice.values import Health

MOST_COMMANDS: Final = 64
# For a command that is asked to end, before it is killed.
PATIENCE_SECONDS: Final = 1.0
# Besides what commands say themselves, that is all they get to see.
ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_PREFIX: Final = "exec_"
_NS: Final = 1_000_000_000
_MS: Final = 1000


class Mode(StrEnum):
    """
    When the commands run.

    @cvar SYNC: when the ring changed.
    @cvar ON: regularly, too.
    """

    OFF = "off"
    SYNC = "sync"
    ON = "on"


@frozen
class HeuristicsSettings:
    """
    What the configuration says.

    @ivar seconds: for a command in a regular run.
    @ivar syncSeconds: for one after a change of the ring.
    @ivar interval: between two regular runs.
    @ivar commands: by name: program and arguments.
    """

    mode: Mode = Mode.OFF
    seconds: float = 5.0
    syncSeconds: float = 15.0
    interval: float = 30.0
    commands: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, str], timeout: float, syncTimeout: float) -> Self:
        """
        From the texts of C{quorum.device.heuristics}.

        @raise InvalidParameter: what is wrong.
        """

        def seconds(name: str, default: float) -> float:
            text = options.get(name, "")
            if text and not text.isdecimal():
                raise InvalidParameter(f"{name}: {text!r} is no number of milliseconds")
            return int(text) / _MS if text and int(text) else default

        mode = options.get("mode", Mode.OFF.value)
        if mode not in tuple(Mode):
            raise InvalidParameter(f"mode: {mode!r} is not off, sync or on")
        commands = tuple(_commands(options))
        if len(commands) > MOST_COMMANDS:
            raise InvalidParameter(f"{len(commands)} commands, {MOST_COMMANDS} at most")
        return cls(
            Mode(mode) if commands else Mode.OFF,
            seconds("timeout", timeout / 2),
            seconds("sync_timeout", syncTimeout / 2),
            seconds("interval", 3 * timeout),
            commands,
        )


def _commands(options: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for option, text in sorted(options.items()):
        if option.startswith(_PREFIX) and text:
            try:
                command = tuple(shlex.split(text))
            except ValueError as error:
                raise InvalidParameter(f"{option}: {error}") from error
            if not command or not command[0].startswith("/"):
                raise InvalidParameter(f"{option}: {text!r} has no whole path")
            yield option.removeprefix(_PREFIX), command


@define(eq=False)
class _Run:
    """
    All commands, once.
    """

    children: dict[str, Child]
    timer: Any = None


class Heuristics:
    """
    Runs the commands, and says what came of it.

    @ivar health: of the last run.
    @ivar reason: of the last failure, for people.
    """

    def __init__(
        self,
        cluster: ICluster,
        settings: HeuristicsSettings,
        told: Callable[[Health], object],
    ) -> None:
        """
        @param told: called at the end of each run.
        """
        self.settings = settings
        self.health = Health.UNKNOWN
        self.reason = ""
        self._cluster = cluster
        self._told = told
        self._run: _Run | None = None
        self._next: Any = None

    def ringChanged(self) -> None:
        """
        Run the commands, or say at once that there is nothing to run.
        """
        if self.settings.mode is Mode.OFF:
            self._told(Health.UNKNOWN)
        else:
            self._start(self.settings.syncSeconds)

    def stop(self) -> None:
        """
        No more; nobody is told.
        """
        self._cancel()
        self._told = _ignore

    def _start(self, seconds: float) -> None:
        self._cancel()
        run = self._run = _Run({})
        for name, command in self.settings.commands:
            child = self._spawn(name, command)
            if self._run is not run:
                return  # It failed at once.
            if child is None:
                self._over(run, Health.FAILED, f"{name} cannot be started")
                return
            run.children[name] = child
        run.timer = self._cluster.callAfter(
            int(seconds * _NS), partial(self._tooLate, run, seconds)
        )
        for name, child in list(run.children.items()):
            child.ended.addCallback(partial(self._ended, run, name, child))

    def _spawn(self, name: str, command: tuple[str, ...]) -> Child | None:
        program = Program(
            f"heuristics {name}",
            command,
            ENVIRONMENT,
            respawn=Respawn.NEVER,
            patience=PATIENCE_SECONDS,
        )
        try:
            child: Child = self._cluster.spawn(program)
        except ServiceError:
            return None
        return child

    def _ended(self, run: _Run, name: str, child: Child, _: object) -> None:
        if run is not self._run:
            return
        if not child.succeeded:
            self._over(run, Health.FAILED, f"{name}: {child.reason}")
            return
        del run.children[name]
        if not run.children:
            self._over(run, Health.PASSED, "")

    def _tooLate(self, run: _Run, seconds: float) -> None:
        names = ", ".join(run.children)
        self._over(run, Health.FAILED, f"{names}: longer than {seconds:g} s")

    def _over(self, run: _Run, health: Health, reason: str) -> None:
        if run is not self._run:
            return
        self._cancel()
        self.health, self.reason = health, reason
        if self.settings.mode is Mode.ON:
            delay = int(self.settings.interval * _NS)
            self._next = self._cluster.callAfter(delay, self._again)
        self._told(health)

    def _again(self) -> None:
        self._start(self.settings.seconds)

    def _cancel(self) -> None:
        """
        What runs, and what would run next.
        """
        run, self._run = self._run, None
        self._cluster.cancel(self._next)
        if run is not None:
            self._cluster.cancel(run.timer)
            for child in run.children.values():
                child.stop()

    def status(self) -> dict[str, Any]:
        """
        As JSON values.
        """
        return {
            "mode": self.settings.mode.value,
            "result": self.health.name.lower(),
            "reason": self.reason,
            "running": self._run is not None,
            "commands": {name: shlex.join(c) for name, c in self.settings.commands},
        }


def _ignore(_: Health) -> None:
    """
    It is over.
    """
