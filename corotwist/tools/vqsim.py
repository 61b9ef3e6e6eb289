"""
C{corotwist vqsim}: try out what votes decide, with the commands of corosync-vqsim,
in simulated clusters of production code.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, ClassVar, Final, TextIO

from attrs import asdict, define
from twisted.python.usage import UsageError

from corotwist.errors import CorotwistError, ServiceError
from corotwist.options import Options
from corotwist.simulator import PromiseBroken
from corotwist.tools.asking import DONE, FAILED, envelope
from corotwist.tools.quorumfacts import flagWords
from corotwist.tools.vqcluster import MOST_PARTITIONS, Seen, Votes, configuration

NAME: Final = "vqsim"
PROMPT: Final = "#vqsim> "
DEFAULT_FILE: Final = "/etc/corosync/corosync.conf"
# For all nodes to agree, in virtual time.
TIMEOUT_MS: Final = 250
MOST_MS: Final = 86_400_000

HELP: Final = """\
up     [<partition>:][<nodeid>[,<nodeid>...]] [...]   start nodes
down   <nodeid>[,<nodeid>...]                         end nodes
move   [<partition>:]<nodeid>[,<nodeid>...] [...]     put nodes into partitions
split  the same
join   <partition> <partition> [...]                  make one partition of them
qdevice on|off <nodeid>[,<nodeid>...]                 a device votes, or does not
autofence on|off           end nodes that may not act while others may
timeout <ms>               virtual time for nodes to agree; 250
sync on|off                wait for that after each command
assert on|off              end with status 1 when they do not
wait <ms>                  let virtual time go by
show                       show all nodes
exit, quit
help
"""


class VqsimOptions(Options):
    """
    What C{corotwist vqsim} understands.
    """

    synopsis = "Usage: corotwist vqsim [-c FILE] [-o FILE] [-n] [--json]"
    longdesc = (
        "Reads commands from standard input; 'help' lists them.  The nodes are"
        " those of the configuration file, all up unless -n is given.  Nothing of"
        " the real network or the real time takes part."
    )
    optFlags = [
        ["no-sync", "n", "do not wait for the nodes to agree"],
        ["json", None, "print JSON"],
    ]
    optParameters = [
        ["config", "c", DEFAULT_FILE, "the configuration file"],
        ["output", "o", None, "write results to this file"],
    ]

    opt_h = Options.opt_help


class BadCommand(Exception):
    """
    A line makes no sense.
    """


class Disagreement(Exception):
    """
    Nodes did not agree in time, and that was asserted.
    """


@define(eq=False)
class Simulation:
    """
    What one run has.

    @ivar over: somebody said so.
    """

    votes: Votes
    output: TextIO
    asJson: bool = False
    sync: bool = True
    autofence: bool = False
    asserting: bool = False
    timeout: float = TIMEOUT_MS / 1000
    over: bool = False

    def start(self) -> None:
        """
        With all nodes up, in partition 0.
        """
        self.votes.up(self.votes.partitionOf, 0)
        self._changed()

    def obey(self, line: str) -> None:
        """
        Do what a line says.

        @raise BadCommand: it makes no sense.
        @raise Disagreement: see there.
        @raise PromiseBroken: two partitions may act, or worse.
        """
        words = line.split()
        if not words or words[0].startswith("#"):
            return
        name, *arguments = words
        command = self._COMMANDS.get(name)
        if command is None:
            raise BadCommand(f"no command {name!r}; try help")
        try:
            signature(command).bind(self, *arguments)
        except TypeError as error:
            raise BadCommand(f"{name}: {error}") from error
        command(self, *arguments)

    # Commands.

    def _up(self, *targets: str) -> None:
        down = set(self.votes.cluster.down)
        if not targets:
            raise BadCommand("up takes nodes")
        for partition, nodeids in _targets(targets, self.votes.partitionOf):
            up = [n for n in nodeids if n not in down]
            if up:
                raise BadCommand(f"node {up[0]} is up")
            self.votes.up(nodeids, partition)
            down -= set(nodeids)
        self._changed()

    def _down(self, *lists: str) -> None:
        nodeids = [n for text in lists for n in _nodeids(text, self.votes.partitionOf)]
        self._mustBeUp(nodeids)
        self.votes.down(nodeids)
        self._changed()

    def _move(self, *targets: str) -> None:
        for partition, nodeids in _targets(targets, self.votes.partitionOf):
            self.votes.move(nodeids, partition)
        self._changed()

    def _join(self, *partitions: str) -> None:
        numbers = [_partition(text) for text in partitions]
        if len(numbers) < 2:  # noqa: PLR2004 - One is joined already.
            raise BadCommand("join takes two partitions or more")
        self.votes.join(numbers)
        self._changed()

    def _qdevice(self, word: str = "", *lists: str) -> None:
        on = _switch("qdevice", word)
        nodeids = [n for text in lists for n in _nodeids(text, self.votes.partitionOf)]
        self._mustBeUp(nodeids)
        for nodeid in nodeids:
            (self.votes.deviceOn if on else self.votes.deviceOff)(nodeid)
        self._changed()

    def _mustBeUp(self, nodeids: Sequence[int]) -> None:
        if not nodeids:
            raise BadCommand("which nodes?")
        down = [n for n in nodeids if n in self.votes.cluster.down]
        if down:
            raise BadCommand(f"node {down[0]} is down")

    def _autofence(self, word: str = "") -> None:
        self.autofence = _switch("autofence", word)

    def _sync(self, word: str = "") -> None:
        self.sync = _switch("sync", word)

    def _assert(self, word: str = "") -> None:
        self.asserting = _switch("assert", word)

    def _timeout(self, text: str = "") -> None:
        self.timeout = _milliseconds(text)

    def _wait(self, text: str = "") -> None:
        self.votes.run(_milliseconds(text))
        self._show()

    def _show(self) -> None:
        """
        All nodes, whether something changed or not.
        """
        self._print(self.votes.seen())

    def _exit(self) -> None:
        self.over = True

    def _help(self) -> None:
        self.output.write(HELP)

    _COMMANDS: ClassVar[Mapping[str, Callable[..., None]]] = {
        "up": _up,
        "down": _down,
        "move": _move,
        "split": _move,
        "join": _join,
        "qdevice": _qdevice,
        "autofence": _autofence,
        "timeout": _timeout,
        "sync": _sync,
        "assert": _assert,
        "wait": _wait,
        "show": _show,
        "exit": _exit,
        "quit": _exit,
        "help": _help,
    }

    # What comes of it.

    def _changed(self) -> None:
        if not self.sync:
            return
        self._agree()
        fenced = self.votes.minority() if self.autofence else []
        if fenced:
            self.votes.down(fenced)
            self._agree()
        self._print(self.votes.seen())

    def _agree(self) -> None:
        if not self.votes.agree(self.timeout):
            text = f"the nodes do not agree after {self.timeout * 1000:g} ms"
            if self.asserting:
                raise Disagreement(text)
            self._told(text)

    def _told(self, text: str) -> None:
        if self.asJson:
            self._document(text=text)
        else:
            self.output.write(f"{text}\n")

    def _print(self, seen: Iterable[Seen]) -> None:
        if self.asJson:
            self._document(nodes=[_report(one) for one in seen])
        else:
            self.output.writelines(f"{one.line()}\n" for one in seen)
        self.output.flush()

    def _document(self, **content: Any) -> None:
        time = round(self.votes.cluster.seconds(), 6)
        self.output.write(json.dumps(envelope(NAME, time=time, **content)) + "\n")


def _report(seen: Seen) -> dict[str, Any]:
    info = seen.info
    return {
        "partition": seen.partition,
        "nodeid": seen.nodeid,
        "quorate": seen.quorate,
        "ringId": asdict(seen.ringId),
        "members": list(seen.members),
        "votes": info.totalVotes,
        "expected": info.expected,
        "quorum": info.quorum,
        "flags": flagWords(info.flags),
    }


# What is typed.


def _targets(
    texts: Iterable[str], partitionOf: Mapping[int, int]
) -> list[tuple[int, list[int]]]:
    """
    C{[PARTITION:]NODE,NODE}; of a partition without nodes, all that are in it.
    """
    found = []
    for text in texts:
        number, colon, nodes = text.rpartition(":")
        partition = _partition(number) if colon else 0
        if nodes:
            found.append((partition, _nodeids(nodes, partitionOf)))
        else:
            inside = [n for n, where in partitionOf.items() if where == partition]
            found.append((partition, inside))
    if not found:
        raise BadCommand("which nodes?")
    return found


def _nodeids(text: str, known: Iterable[int]) -> list[int]:
    nodeids = [int(word) if word.isdecimal() else -1 for word in text.split(",")]
    unknown = [n for n in nodeids if n not in {*known}]
    if unknown:
        raise BadCommand(f"{text}: there are the nodes {sorted(known)}")
    return list(dict.fromkeys(nodeids))


def _partition(text: str) -> int:
    if text.isdecimal() and int(text) < MOST_PARTITIONS:
        return int(text)
    raise BadCommand(f"{text!r} is no partition from 0 to {MOST_PARTITIONS - 1}")


def _switch(name: str, word: str) -> bool:
    if word not in {"on", "off"}:
        raise BadCommand(f"{name} is on or off")
    return word == "on"


def _milliseconds(text: str) -> float:
    if text.isdecimal() and 0 < int(text) <= MOST_MS:
        return int(text) / 1000
    raise BadCommand(f"{text!r} is no number of milliseconds up to {MOST_MS}")


# A whole run.


def run(argv: Sequence[str]) -> int:
    """
    Obey until the input ends.

    @return: the exit status: 1 for wrong use, for a file that cannot be used,
        for a disagreement that was asserted, and for a broken promise.
    """
    options = VqsimOptions()
    try:
        options.parseOptions(list(argv))
    except UsageError as error:
        sys.stderr.write(f"corotwist {NAME}: {error}\n{options.getSynopsis()}\n")
        return FAILED
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    try:
        if options["output"] is None:
            return _simulate(options, sys.stdin, sys.stdout)
        with open(options["output"], "w", encoding="utf-8") as output:  # noqa: PTH123
            return _simulate(options, sys.stdin, output)
    except (CorotwistError, OSError, Disagreement) as error:
        sys.stderr.write(f"corotwist {NAME}: {error}\n")
        return FAILED
    except PromiseBroken as error:
        # Which one; its records are for those who look for a mistake of ours.
        promise, _, _ = str(error).partition("\n\n")
        sys.stderr.write(f"corotwist {NAME}: {promise}\n")
        return FAILED


def _simulate(options: VqsimOptions, lines: Iterable[str], output: TextIO) -> int:
    votes = Votes.of(*configuration(options["config"]))
    simulation = Simulation(
        votes, output, bool(options["json"]), sync=not options["no-sync"]
    )
    simulation.start()
    _prompt(options)
    for line in lines:
        try:
            simulation.obey(line)
        except (BadCommand, ServiceError) as error:
            sys.stderr.write(f"corotwist {NAME}: {error}\n")
        if simulation.over:
            break
        _prompt(options)
    return DONE


def _prompt(options: VqsimOptions) -> None:
    if not options["json"]:
        sys.stdout.write(PROMPT)
        sys.stdout.flush()
