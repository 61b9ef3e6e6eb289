"""
What can be typed at C{corotwist}: commands and their options, as the parsers of the
tools know them.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

from attrs import field, frozen
from twisted.python import usage

from corotwist.tools.main import COMMANDS


@frozen
class Option:
    """
    An option.

    @ivar names: all of them, with their dashes.
    @ivar value: does it take one?
    @ivar text: what it is for; may be empty.
    """

    names: tuple[str, ...]
    value: bool
    text: str = ""


@frozen
class Grammar:
    """
    A command, or a sub-command.

    @ivar commands: those below it, by name.
    @ivar words: what may stand in the place of its first argument.
    """

    text: str
    options: tuple[Option, ...] = ()
    commands: Mapping[str, "Grammar"] = field(factory=dict)
    words: tuple[str, ...] = ()


# Commands without a class of options, and the modules that parse for them.
_GETOPT: Final = {"cmapctl": "keywishes", "confdb": "confdb"}
HELP: Final = Option(("--help", "-h"), value=False, text="tell how it is used")
VERSION: Final = Option(("--version", "-V"), value=False, text="tell the version")


def whole() -> Grammar:
    """
    Of the program.
    """
    commands = {name: _command(name, text) for name, text in COMMANDS.items()}
    return Grammar("", (HELP, VERSION), commands)


def _command(name: str, text: str) -> Grammar:
    module = import_module(f"corotwist.tools.{name}")
    table = getattr(module, "COMMANDS", None)
    if name in _GETOPT:
        parser = import_module(f"corotwist.tools.{_GETOPT[name]}")
        found = _ofGetopt(parser.SHORT_OPTIONS, parser.LONG_OPTIONS)
        return Grammar(text, tuple(found))
    if isinstance(table, Mapping) and table is not COMMANDS:
        below = {
            n: _ofClass(module.completed(one.options, n), one.summary)
            for n, one in table.items()
        }
        return Grammar(text, (HELP,), below)
    return _ofClass(_optionsOf(module), text)


def _optionsOf(module: ModuleType) -> type[usage.Options]:
    """
    The options of a command: of several classes that a module has, the one that
    no other is derived from and that is nobody's sub-command.
    """
    found = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, usage.Options)
        and thing.__module__ == module.__name__
    ]
    below = {id(row[2]) for one in found for row in getattr(one, "subCommands", ())}
    bases = {id(base) for one in found for base in one.__mro__[1:]}
    (whole,) = [one for one in found if id(one) not in below | bases]
    return whole


def _ofClass(options: type[usage.Options], text: str) -> Grammar:
    parser: Any = options()
    names: dict[str, list[str]] = {}
    for alias, name in parser.synonyms.items():
        names.setdefault(name, []).append(alias)
    long, short = parser.longOpt, parser.shortOpt
    takers = {name[:-1] for name in long if name.endswith("=")}
    takers |= {parser.synonyms[a] for a, b in pairwise(short) if b == ":"}
    found = [
        Option(
            _dashed(names[name]),
            name in takers,
            parser.docs.get(name) or "",
        )
        for name in sorted(names)
    ]
    rows = getattr(parser, "subCommands", None) or ()
    below = {name: _ofClass(kind, doc) for name, _, kind, doc in rows}
    return Grammar(text, tuple(found), below, getattr(options, "words", ()))


def _ofGetopt(short: str, long: Iterable[str]) -> Iterator[Option]:
    for place, letter in enumerate(short):
        if letter != ":":
            yield Option((f"-{letter}",), short[place + 1 : place + 2] == ":")
    for name in long:
        yield Option((f"--{name.rstrip('=')}",), name.endswith("="))


def _dashed(names: Iterable[str]) -> tuple[str, ...]:
    """
    Long ones first.
    """
    shown = {f"--{n.replace('_', '-')}" if len(n) > 1 else f"-{n}" for n in names}
    return tuple(sorted(shown, key=lambda name: (-len(name), name)))
