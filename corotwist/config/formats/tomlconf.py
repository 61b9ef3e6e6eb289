"""
Configurations in TOML: a section is a table, an option a value, and what comes
several times is an array.

The library reads; where things stand, and the comments, are looked up in the
text, which is right by then.
"""

import re
import tomllib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from attrs import Factory, define, frozen

from corotwist.config.document import (
    DEEPEST,
    Comment,
    Option,
    Place,
    Reading,
    Section,
)
from corotwist.errors import Problem

_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*|\n|[\[\]{}=]|[^\s\#\"'\[\]{}=]+",
    re.DOTALL,
)
_WHERE: Final = re.compile(r"(.*) \(at line (\d+), column (\d+)\)", re.DOTALL)
_AT_END: Final = " (at end of document)"

Path = tuple[str | int, ...]


def parse(content: bytes, file: str) -> Reading:
    """
    Understand a file.  TOML that is wrong somewhere is not read further.
    """
    root = Section("", Place(file))
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        found = tomllib.loads(text, parse_float=str)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _unread(root, Place(file, line), "not UTF-8")
    except tomllib.TOMLDecodeError as error:
        where = _WHERE.fullmatch(str(error))
        if where is not None:
            place = Place(file, int(where[2]), int(where[3]))
            return _unread(root, place, where[1])
        place = Place(file, text.count("\n") + 1)
        return _unread(root, place, str(error).removesuffix(_AT_END))
    except RecursionError:
        return _unread(root, Place(file), f"more than {DEEPEST} levels")
    except ValueError:
        # Python says no more, nor where.
        return _unread(root, Place(file), "a number or a time that cannot be")
    index = _Index(text, file)
    builder = _Builder(index.places)
    builder.tableRead(root, found, ())
    _placeComments(root, index.comments)
    return Reading(root, tuple(builder.problems))


def _unread(root: Section, place: Place, text: str) -> Reading:
    return Reading(root, (place.problem("syntax", text),))


@define
class _Builder:
    """
    From tables to sections.

    @ivar places: of names and of their values.
    """

    places: dict[Path, "_Named"]
    problems: list[Problem] = Factory(list)

    def tableRead(self, section: Section, table: dict[str, Any], path: Path) -> None:
        """
        Everything in a table.
        """
        for name, value in table.items():
            self._valueRead(section, name, value, (*path, name))

    def _valueRead(self, section: Section, name: str, value: Any, path: Path) -> None:
        place, column = self._place(path, section)
        if isinstance(value, list) and isinstance(path[-1], str):
            for at, one in enumerate(value):
                self._valueRead(section, name, one, (*path, at))
        elif isinstance(value, dict) and len(path) <= 2 * DEEPEST:
            inner = Section(name, place)
            section.content.append(inner)
            self.tableRead(inner, value, path)
        elif isinstance(value, list | dict):
            text = "lists of lists, or too many levels, mean nothing here"
            self.problems.append(place.problem(name, text))
        else:
            section.content.append(Option(name, _text(value), place, column))

    def _place(self, path: Path, section: Section) -> tuple[Place, int]:
        """
        As far as the text tells; what is inside a value is where the value is.
        """
        while path:
            named = self.places.get(path)
            if named is not None:
                return named.place, named.column
            path = path[:-1]
        return section.place, 0


def _text(value: object) -> str:
    """
    A value as other formats have it.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


# Where things stand.


@frozen
class _Named:
    """
    @ivar column: of the value; 0 for tables.
    """

    place: Place
    column: int = 0


class _Index:
    """
    The statements of a text that is known to be right.

    @ivar comments: those behind a value or inside of one, too, and empty lines.
    """

    def __init__(self, text: str, file: str) -> None:
        self.places: dict[Path, _Named] = {}
        self.comments: list[Comment] = []
        self._file = file
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._counts: Counter[Path] = Counter()
        self._table: Path = ()
        for statement in self._statements(text):
            self._statementFound(text, statement)

    def _statements(self, text: str) -> Iterator[list[re.Match[str]]]:
        """
        The tokens of each statement; comments and empty lines are noted.
        """
        statement: list[re.Match[str]] = []
        depth = 0
        blank = True
        for token in _TOKEN.finditer(text):
            sign = token[0]
            if sign == "\n":
                if blank:
                    self.comments.append(Comment("", self._place(token.start())))
                blank = True
                if depth == 0 and statement:
                    yield statement
                    statement = []
                continue
            blank = False
            if sign.startswith("#"):
                self.comments.append(Comment(sign, self._place(token.start())))
                continue
            depth += (sign in ("[", "{")) - (sign in ("]", "}"))
            statement.append(token)
        if statement:
            yield statement

    def _statementFound(self, text: str, tokens: list[re.Match[str]]) -> None:
        first = tokens[0].start()
        if text[first] == "[":
            isArray = text.startswith("[[", first)
            inner = text[first : tokens[-1].end()].strip("[]")
            self._tableBegun(_keys(inner), self._place(first), isArray=isArray)
            return
        equals = next(at for at, token in enumerate(tokens) if token[0] == "=")
        named = _keys(text[first : tokens[equals].start()])
        value = self._place(tokens[equals + 1].start())
        place = self._place(first)
        column = value.column if value.line == place.line else 0
        for depth in range(1, len(named)):
            self.places.setdefault((*self._table, *named[:depth]), _Named(place))
        self.places[(*self._table, *named)] = _Named(place, column)

    def _tableBegun(self, names: list[str], place: Place, *, isArray: bool) -> None:
        """
        A name on the way that is an array means the last table in it.
        """
        path: Path = ()
        for at, name in enumerate(names):
            path = (*path, name)
            isLast = at == len(names) - 1
            if isLast and isArray:
                self._counts[path] += 1
            self.places.setdefault(path, _Named(place))
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self.places.setdefault(path, _Named(place))
        self._table = path

    def _place(self, offset: int) -> Place:
        line = bisect_right(self._starts, offset)
        return Place(self._file, line, offset - self._starts[line - 1] + 1)


def _keys(dotted: str) -> list[str]:
    """
    The names in a dotted one, some of which may be quoted.
    """
    found: Any = tomllib.loads(f"{dotted} = 0")
    names = []
    while isinstance(found, dict):
        ((name, found),) = found.items()
        names.append(name)
    return names


def _placeComments(root: Section, comments: list[Comment]) -> None:
    """
    Each before what follows it, or what it stands behind.
    """
    items = sorted(_items(root), key=lambda item: item.place.line)
    lines = [item.place.line for item in items]
    before: dict[int, list[Comment]] = {}
    for comment in comments:
        at = bisect_left(lines, comment.place.line)
        if at < len(items):
            before.setdefault(id(items[at]), []).append(comment)
        else:
            root.content.append(comment)
    _insert(root, before)


def _items(section: Section) -> Iterator[Section | Option]:
    for item in section.content:
        if not isinstance(item, Comment):
            yield item
        if isinstance(item, Section):
            yield from _items(item)


def _insert(section: Section, before: dict[int, list[Comment]]) -> None:
    for item in tuple(section.sections()):
        _insert(item, before)
    section.content[:] = [
        one for item in section.content for one in (*before.get(id(item), ()), item)
    ]
