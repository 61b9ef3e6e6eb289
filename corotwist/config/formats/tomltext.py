"""
Writing TOML: tables for sections, their options first, as TOML wants them.

Where a file is changed lines that still say the same stay as they were.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import Factory, define

from corotwist.config.document import Comment, Option, Place, Section, Written
from corotwist.config.formats.nested import checkWritable, nested, scalar
from corotwist.config.formats.tomlconf import parse
from corotwist.config.schema import Schema

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_Named = Section | Option


def write(document: Section, original: bytes = b"") -> Written:
    """
    The text of a file.

    @raise ConfigurationError: some values are no text.
    """
    checkWritable(document)
    text = original.decode(errors="replace").replace("\r\n", "\n")
    lines = text.split("\n") if text else []
    writer = _Writer(document.place.file, lines, Schema())
    writer.tableWritten(document, ())
    return Written("\n".join(writer.lines).rstrip("\n") + "\n")


@define
class _Writer:
    """
    @ivar file: the one that C{original} are the lines of.
    """

    file: str
    original: list[str]
    schema: Schema
    lines: list[str] = Factory(list)

    def tableWritten(
        self, section: Section, path: tuple[str, ...], leading: Iterable[Comment] = ()
    ) -> None:
        """
        The options of a table, then the tables in it; comments stay before what
        they stood before.
        """
        named = _byName(section)
        tables: list[tuple[list[Comment], Section]] = []
        comments = list(leading)
        for item in section.content:
            if isinstance(item, Comment):
                comments.append(item)
                continue
            same = named[item.name]
            if isinstance(item, Section) and _areTables(same):
                tables.append((comments, item))
            elif item is same[0]:
                self._valueWritten(comments, same, (*path, item.name))
            else:
                continue  # Its comments stand before the next.
            comments = []
        for before, table in tables:
            isArray = len(named[table.name]) > 1
            inner = (*path, table.name)
            rest = self._headerWritten(before, table, inner, isArray=isArray)
            self.tableWritten(table, inner, rest)
        self._commentsWritten(comments)

    def _headerWritten(
        self,
        comments: list[Comment],
        table: Section,
        path: tuple[str, ...],
        *,
        isArray: bool,
    ) -> list[Comment]:
        """
        A table with nothing but tables in it needs none.

        @return: comments that have to stand before the first table in it.
        """
        name = ".".join(map(_key, path))
        line = f"[[{name}]]" if isArray else f"[{name}]"
        before = self._originally(table.place)
        isKept = before is not None and before.partition("#")[0].strip() == line
        if not (isKept or isArray) and _isPassage(table):
            return comments
        if isKept:  # With what stands behind it.
            comments = [one for one in comments if one.place.line != table.place.line]
        apart = comments and comments[0].text == ""
        if before is None and not apart and self.lines and self.lines[-1]:
            self.lines.append("")
        self._commentsWritten(comments)
        self.lines.append(before if before is not None and isKept else line)
        return []

    def _valueWritten(
        self, comments: list[Comment], items: Sequence[_Named], path: tuple[str, ...]
    ) -> None:
        values = [self._value(item, path) for item in items]
        value = values[0] if len(values) == 1 else f"[{', '.join(values)}]"
        line = f"{_key(path[-1])} = {value}"
        place = items[0].place
        before = self._originally(place)
        if before is not None and len(items) == 1 and _saysTheSame(before, line):
            comments = [one for one in comments if one.place.line != place.line]
            line = before
        self._commentsWritten(comments)
        self.lines.append(line)

    def _value(self, item: _Named, path: tuple[str, ...]) -> str:
        name = ".".join(path)
        if isinstance(item, Option):
            return _inline(scalar(item.value, self.schema.row(name)))
        return _inline(nested(item, name))

    def _commentsWritten(self, comments: Iterable[Comment]) -> None:
        self.lines.extend(_CONTROL.sub("?", comment.text) for comment in comments)

    def _originally(self, place: Place) -> str | None:
        known = place.file == self.file and 1 <= place.line <= len(self.original)
        return self.original[place.line - 1] if known else None


def _byName(section: Section) -> dict[str, list[_Named]]:
    found: dict[str, list[_Named]] = {}
    for item in section.content:
        if not isinstance(item, Comment):
            found.setdefault(item.name, []).append(item)
    return found


def _areTables(items: Sequence[Section | Option | Comment]) -> bool:
    return all(isinstance(item, Section) for item in items)


def _isPassage(section: Section) -> bool:
    named = [item for item in section.content if not isinstance(item, Comment)]
    return bool(named) and _areTables(named)


def _saysTheSame(before: str, line: str) -> bool:
    """
    Two statements of one line each, however they are written.
    """
    one, other = (parse(text.encode(), "") for text in (before, line))
    said = [[(o.name, o.value) for o in r.document.options()] for r in (one, other)]
    return not one.problems and bool(said[0]) and said[0] == said[1]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _inline(name)


def _inline(value: Any) -> str:
    """
    A value on one line.
    """
    if isinstance(value, dict):
        items = ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    # JSON escapes all that TOML does, but one sign.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
