"""
Documents as names with values, which is what JSON and TOML have.

A section is a table, an option a value; what comes several times under one name
is a list of them.  Comments and the order of different names are no part of it.
"""

from collections.abc import Mapping
from typing import Any, Final

from corotwist.config.document import Comment, Option, Section
from corotwist.config.kinds import Whole, wholeOf
from corotwist.config.row import Row
from corotwist.config.schema import Schema
from corotwist.errors import ConfigurationError, Problem

# What every reader of JSON and TOML takes as a whole number.
_LARGEST_NUMBER: Final = (1 << 53) - 1

Nested = Mapping[str, Any]


def nested(section: Section, path: str = "") -> dict[str, Any]:
    """
    A section as a table.
    """
    schema = Schema()
    return _table(section, path, schema)


def _table(section: Section, path: str, schema: Schema) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for item in section.content:
        if isinstance(item, Comment):
            continue
        name = f"{path}.{item.name}".lstrip(".")
        if isinstance(item, Option):
            value: Any = scalar(item.value, schema.row(name))
        else:
            value = _table(item, name, schema)
        found.setdefault(item.name, []).append(value)
    return {name: all_ if len(all_) > 1 else all_[0] for name, all_ in found.items()}


def scalar(text: str, row: Row | None) -> int | str:
    """
    A value; a number where the schema has one and it comes back as it was.
    """
    if row is not None and isinstance(row.kind, Whole):
        number = wholeOf(text)
        if number is not None and str(number) == text and number <= _LARGEST_NUMBER:
            return number
    return text


def comments(section: Section) -> int:
    """
    How many there are, empty lines not counted.
    """
    own = sum(isinstance(item, Comment) and item.text != "" for item in section.content)
    return own + sum(map(comments, section.sections()))


def unlike(section: Section) -> list[Problem]:
    """
    Values that are no text: UTF-8 has no half of a sign.
    """
    found = [
        option.valuePlace.problem(option.name, "the value is not text")
        for option in section.options()
        if not isText(option.value)
    ]
    for inner in section.sections():
        found.extend(unlike(inner))
    return found


def isText(text: str) -> bool:
    """
    Can it be written in UTF-8?
    """
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def checkWritable(section: Section) -> None:
    """
    @raise ConfigurationError: some values are no text.
    """
    problems = unlike(section)
    if problems:
        raise ConfigurationError(*problems)
