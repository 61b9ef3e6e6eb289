"""
What somebody typed at C{corotwist cmapctl}.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from getopt import GetoptError, gnu_getopt
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from corotwist.config.values import Value, ValueType
from corotwist.engines.keyspace import ICMAP, STATS
from corotwist.errors import ServiceError
from corotwist.tools.asking import PATIENCE_SECONDS, seconds

STDIN: Final = "-"
SHORT_OPTIONS: Final = "m:hqgsdDtTbp:C:"
NODE_OPTIONS: Final = ("socket=", "state-dir=", "timeout=")
LONG_OPTIONS: Final = ("help", "json", "file=", "export=", "expect=", *NODE_OPTIONS)
CLEARED: Final = ("knet", "ipc", "totem", "schedmiss", "all")

USAGE: Final = """\
Usage: corotwist cmapctl [-b] [-m MAP] [PREFIX...]     show keys
       corotwist cmapctl [-bq] -g KEY...               show these
       corotwist cmapctl -s KEY TYPE VALUE             write one
       corotwist cmapctl -d KEY... | -D PREFIX...      delete
       corotwist cmapctl -t KEY... | -T PREFIX...      follow
       corotwist cmapctl -p FILE                       do what the lines say
       corotwist cmapctl -C PART                       clear statistics
       corotwist cmapctl --export FILE                 write a configuration

  -b  show binary values
  -C  one of knet, ipc, totem, schedmiss, all
  -m  icmap (the default) or stats
  -p  lines are: KEY TYPE VALUE, ^KEY to delete, ^^PREFIX to delete all such
  -q  only the value
  TYPE is i8 u8 i16 u16 i32 u32 i64 u64 flt dbl str, or bin with the name of a
      file as VALUE, or - for standard input
  --expect TYPE=VALUE  with -s and -d: only if it has this value now;
                       "--expect absent": only if it is not there
  --export FILE        what is in force, as a file from which a node would start
                       like that; - for standard output
  --file FILE          work on this configuration file instead of a node; may be
                       given several times to read
  --json               JSON
  --socket PATH        the node's UNIX socket
  --state-dir DIR      where the node keeps its state
  --timeout SECONDS    for it to let us in
"""

_NUMBER: Final = re.compile(r"-[0-9.].*")


class WrongUse(Exception):
    """
    What was typed makes no sense.
    """


class Action(Enum):
    """
    What is to be done.
    """

    SHOW = ""
    GET = "-g"
    SET = "-s"
    DELETE = "-d"
    DELETE_PREFIX = "-D"
    TRACK = "-t"
    TRACK_PREFIX = "-T"


@define
class Wishes:
    """
    What was typed.

    @ivar expected: the value that a key must have; L{None} for absent.
    """

    action: Action = Action.SHOW
    arguments: list[str] = field(factory=list)
    mapName: str = ICMAP
    binary: bool = False
    quiet: bool = False
    script: str | None = None
    clear: str | None = None
    export: str | None = None
    files: list[str] = field(factory=list)
    json: bool = False
    socket: str | None = None
    stateDir: str | None = None
    timeout: float = PATIENCE_SECONDS
    help: bool = False
    conditions: dict[str, Any] = field(factory=dict)


def parse(argv: Sequence[str]) -> Wishes:
    """
    The command line.

    @raise WrongUse: it is none.
    """
    # Numbers below zero are values, not options.
    shielded = [f"\0{text}" if _NUMBER.fullmatch(text) else text for text in argv]
    try:
        options, rest = gnu_getopt(shielded, SHORT_OPTIONS, LONG_OPTIONS)
    except GetoptError as error:
        raise WrongUse(str(error)) from error
    wishes = Wishes(arguments=[text.removeprefix("\0") for text in rest])
    for name, value in options:
        _OPTIONS.get(name, _chosen)(wishes, name, value)
    _checkArguments(wishes)
    return wishes


def _chosen(wishes: Wishes, name: str, value: str) -> None:
    wishes.action = Action(name)


def _mapChosen(wishes: Wishes, name: str, value: str) -> None:
    names = {"default": ICMAP, ICMAP: ICMAP, STATS: STATS}
    if value not in names:
        raise WrongUse("invalid map name, must be 'default', 'icmap' or 'stats'")
    wishes.mapName = names[value]


def _clearChosen(wishes: Wishes, name: str, value: str) -> None:
    if value not in CLEARED:
        raise WrongUse(f"argument to -C should be one of {', '.join(CLEARED)}")
    wishes.clear = value


def _expected(wishes: Wishes, name: str, value: str) -> None:
    if value == "absent":
        wishes.conditions["expected"] = None
        return
    label, equals, text = value.partition("=")
    if not equals:
        raise WrongUse("--expect takes TYPE=VALUE, or absent")
    wishes.conditions["expected"] = typed(label, text)


def patience(text: str) -> float:
    """
    How long a node may take to let us in.

    @raise WrongUse: it is no time.
    """
    try:
        return seconds(text)
    except ValueError as error:
        raise WrongUse(f"--timeout {text!r}: {error}") from error


def _patient(wishes: Wishes, name: str, value: str) -> None:
    wishes.timeout = patience(value)


def _flag(attribute: str) -> Callable[[Wishes, str, str], None]:
    return lambda wishes, name, value: setattr(wishes, attribute, True)


def _text(attribute: str) -> Callable[[Wishes, str, str], None]:
    return lambda wishes, name, value: setattr(wishes, attribute, value)


_OPTIONS: Final[Mapping[str, Callable[[Wishes, str, str], None]]] = {
    "-h": _flag("help"),
    "--help": _flag("help"),
    "-b": _flag("binary"),
    "-q": _flag("quiet"),
    "--json": _flag("json"),
    "-p": _text("script"),
    "--socket": _text("socket"),
    "--state-dir": _text("stateDir"),
    "--timeout": _patient,
    "--export": _text("export"),
    "--file": lambda wishes, name, value: wishes.files.append(value),
    "-m": _mapChosen,
    "-C": _clearChosen,
    "--expect": _expected,
}


def _checkArguments(wishes: Wishes) -> None:
    if wishes.help or wishes.script or wishes.clear or wishes.export:
        return
    if wishes.action is Action.SET and len(wishes.arguments) != 3:  # noqa: PLR2004
        raise WrongUse("a key, a type and a value are expected")
    if wishes.action is not Action.SHOW and not wishes.arguments:
        raise WrongUse("Expected key after options")


def typed(label: str, text: str) -> Value:
    """
    A value as it was typed.

    @raise WrongUse: it is not of that type.
    """
    try:
        kind = ValueType.labelled(label)
        if kind is ValueType.BINARY:
            return Value(kind, _content(text))
        return Value.parse(kind, text)
    except (ServiceError, OSError) as error:
        raise WrongUse(str(error)) from error


def _content(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    return Path(name).read_bytes()
