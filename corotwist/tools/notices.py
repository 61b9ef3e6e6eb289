"""
Where happenings go: to a terminal, to syslog, to programs; as SNMP traps and D-Bus
signals with corosync's names, by the programs that every system has for that.
"""

import json
import os
import syslog
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TextIO

from attrs import define, field, frozen
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from corotwist.tools.asking import envelope
from corotwist.tools.happenings import Happening, Subject

# Happenings that wait for programs; of more the oldest are dropped.
MOST_WAITING: Final = 256
# For one program.
PROGRAM_SECONDS: Final = 10.0

# COROSYNC-MIB.
MIB: Final = "1.3.6.1.4.1.35488"
TRAPS: Final = {
    Subject.NODE: f"{MIB}.0.1",
    Subject.QUORUM: f"{MIB}.0.2",
    Subject.CLIENT: f"{MIB}.0.3",
    Subject.LINK: f"{MIB}.0.4",
}
_NAME, _ID, _STATUS, _ADDRESS, _LOCAL = (f"{MIB}.1.{n}" for n in range(1, 6))
_QUORUM: Final = f"{MIB}.1.21"
_APPLICATION, _CONNECTION = f"{MIB}.1.40", f"{MIB}.1.41"
_LINK, _LINK_STATUS = f"{MIB}.1.60", f"{MIB}.1.61"

SIGNALS: Final = {
    Subject.NODE: "NodeStateChange",
    Subject.QUORUM: "QuorumStateChange",
    Subject.CLIENT: "ConnectionStateChange",
    Subject.LINK: "LinkStateChange",
}


@frozen
class Teller:
    """
    Who tells.

    @ivar host: the name of this machine.
    @ivar nodeid: of the node that is asked.
    """

    host: str
    nodeid: int


class Outlet(Protocol):
    """
    Somewhere happenings go.
    """

    def tell(self, happening: Happening, teller: Teller, time: str) -> None:
        """
        One happened.

        @param time: of day, as ISO 8601 has it.
        """


# To people.


@frozen
class Lines:
    """
    Prints a line each.
    """

    out: TextIO
    asJson: bool

    def tell(self, happening: Happening, teller: Teller, time: str) -> None:
        """
        See L{Outlet}.
        """
        if self.asJson:
            content = {"time": time, "from": teller.nodeid, **happening.report()}
            line = json.dumps(envelope("events", **content))
        else:
            line = f"{time} {happening.sentence(teller.host, teller.nodeid)}"
        self.out.write(f"{line}\n")
        self.out.flush()


@frozen
class SystemLog:
    """
    Tells the syslog of this machine.
    """

    write: Callable[[int, str], object] = syslog.syslog

    def tell(self, happening: Happening, teller: Teller, time: str) -> None:
        """
        See L{Outlet}.
        """
        self.write(syslog.LOG_NOTICE, happening.sentence(teller.host, teller.nodeid))


# To programs.

Command = Callable[[Happening, Teller, str], Sequence[str]]


@frozen
class Trap:
    """
    C{snmptrap} of Net-SNMP.

    @ivar manager: who gets it: HOST or HOST:PORT.
    """

    manager: str
    community: str

    def __call__(self, what: Happening, teller: Teller, time: str) -> Sequence[str]:
        """
        The command.
        """
        version = ("-v", "2c", "-c", self.community)
        fields = _FIELDS[what.subject](what, teller)
        return ("snmptrap", *version, self.manager, "", TRAPS[what.subject], *fields)


def _nodeFields(what: Happening, teller: Teller) -> tuple[str, ...]:
    return (
        *(_NAME, "s", teller.host, _ID, "u", str(what.nodeid)),
        *(_ADDRESS, "s", what.detail, _STATUS, "s", what.state),
    )


def _quorumFields(what: Happening, teller: Teller) -> tuple[str, ...]:
    own = str(teller.nodeid)
    return (_NAME, "s", teller.host, _ID, "u", own, _QUORUM, "s", what.state)


def _clientFields(what: Happening, teller: Teller) -> tuple[str, ...]:
    return (
        *(_NAME, "s", teller.host, _ID, "u", str(teller.nodeid)),
        *(_APPLICATION, "s", what.detail, _CONNECTION, "s", what.state),
    )


def _linkFields(what: Happening, teller: Teller) -> tuple[str, ...]:
    return (
        *(_NAME, "s", teller.host, _LOCAL, "u", str(teller.nodeid)),
        *(_ID, "u", str(what.nodeid), _LINK, "i", what.detail),
        *(_LINK_STATUS, "s", what.state),
    )


_FIELDS: Final[Mapping[Subject, Callable[[Happening, Teller], tuple[str, ...]]]] = {
    Subject.NODE: _nodeFields,
    Subject.QUORUM: _quorumFields,
    Subject.CLIENT: _clientFields,
    Subject.LINK: _linkFields,
}


def signal(what: Happening, teller: Teller, time: str) -> Sequence[str]:
    """
    C{dbus-send} of D-Bus.
    """
    name = f"org.corosync.{SIGNALS[what.subject]}"
    host, state = f"string:{teller.host}", f"string:{what.state}"
    own, other = f"uint32:{teller.nodeid}", f"uint32:{what.nodeid}"
    values = {
        Subject.NODE: (host, other, f"string:{what.detail}", state),
        Subject.QUORUM: (host, own, state),
        Subject.CLIENT: (host, own, f"string:{what.detail}", state),
        Subject.LINK: (host, own, other, f"uint32:{what.detail}", state),
    }[what.subject]
    return ("dbus-send", "--system", "--type=signal", "/org/corosync", name, *values)


@frozen
class Given:
    """
    A program of the operator's; what happened is in its environment.
    """

    program: str

    def __call__(self, what: Happening, teller: Teller, time: str) -> Sequence[str]:
        """
        The command.
        """
        return ("/bin/sh", "-c", self.program)


def environment(what: Happening, teller: Teller, time: str) -> dict[str, str]:
    """
    What a program is told.
    """
    told = {"time": time, "from": teller.nodeid, **what.report()}
    return {f"COROTWIST_EVENT_{name.upper()}": str(v) for name, v in told.items()}


@define(eq=False)
class Programs:
    """
    Runs a program for each happening, one after the other.

    @ivar dropped: happenings for which there was no time.
    @ivar failed: programs that could not be run, or said that they failed.
    """

    reactor: Any
    command: Command
    complain: Callable[[str], object]
    dropped: int = 0
    failed: int = 0
    _waiting: deque[tuple[Sequence[str], dict[str, str]]] = field(factory=deque)
    _running: bool = False

    def tell(self, happening: Happening, teller: Teller, time: str) -> None:
        """
        See L{Outlet}.
        """
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        around = {**os.environ, **environment(happening, teller, time)}
        self._waiting.append((self.command(happening, teller, time), around))
        self._next()

    def _next(self) -> None:
        if self._running or not self._waiting:
            return
        command, around = self._waiting.popleft()
        self._running = True
        run = _Run(self, command[0])
        try:
            process = self.reactor.spawnProcess(run, command[0], command, around)
        except OSError as error:
            self.ended(f"{command[0]}: {error.strerror}")
            return
        run.patience = self.reactor.callLater(PROGRAM_SECONDS, _kill, process)

    def ended(self, complaint: str) -> None:
        """
        From the program that ran.

        @param complaint: empty when all is well.
        """
        self._running = False
        if complaint:
            self.failed += 1
            self.complain(complaint)
        self._next()


@define(eq=False)
class _Run(ProcessProtocol):  # type: ignore[misc]
    """
    A program on its way; what it prints is not ours to show.
    """

    _programs: Programs
    _name: str
    patience: IDelayedCall | None = None

    def processEnded(self, reason: Failure) -> None:
        if self.patience is not None and self.patience.active():
            self.patience.cancel()
        well = reason.check(ProcessDone)
        self._programs.ended("" if well else f"{self._name}: {reason.value}")


def _kill(process: Any) -> None:
    """
    It took too long.
    """
    process.signalProcess("KILL")
