"""
Configurations in JSON: a section is an object, an option a string, a number or a
boolean, and what comes several times is an array.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from attrs import Factory, define, frozen

from corotwist.config.document import (
    DEEPEST,
    Option,
    Place,
    Reading,
    Section,
    Written,
)
from corotwist.config.formats.nested import checkWritable, comments, isText, nested
from corotwist.errors import Problem

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_WORDS: Final = {"true": "yes", "false": "no"}


def parse(content: bytes, file: str) -> Reading:
    """
    Understand a file.  JSON that is wrong somewhere is not read further.
    """
    root = Section("", Place(file))
    try:
        text = content.decode("utf-8-sig")
        json.loads(text, parse_int=str, parse_float=str)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _unread(root, Place(file, line), "not UTF-8")
    except json.JSONDecodeError as error:
        return _unread(root, Place(file, error.lineno, error.colno), error.msg)
    except RecursionError:
        return _unread(root, Place(file), f"more than {DEEPEST} levels")
    reader = _Reader(Tokens(text, file))
    reader.read(root)
    return Reading(root, tuple(reader.problems))


def _unread(root: Section, place: Place, text: str) -> Reading:
    return Reading(root, (place.problem("syntax", text),))


@frozen
class Token:
    """
    A sign, a word or a string, as it is written.
    """

    text: str
    place: Place


class Tokens:
    """
    The parts of a text that is known to be right.
    """

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self._found = _TOKEN.finditer(text)
        self.next = self._following()

    def take(self) -> Token:
        """
        The next part.
        """
        token = self.next
        assert token is not None, "the text is right, and so does not end here"
        self.next = self._following()
        return token

    def _following(self) -> Token | None:
        match = next(self._found, None)
        if match is None:
            return None
        line = bisect_right(self._starts, match.start())
        column = match.start() - self._starts[line - 1] + 1
        return Token(match[0], Place(self._file, line, column))


@define
class _Reader:
    """
    From tokens to sections.
    """

    tokens: Tokens
    problems: list[Problem] = Factory(list)

    def read(self, root: Section) -> None:
        """
        The whole text.
        """
        token = self.tokens.next
        if token is None or token.text != "{":
            place = root.place if token is None else token.place
            self.problems.append(place.problem("syntax", "an object belongs here"))
            return
        self._objectRead(root, 1)

    def _objectRead(self, section: Section, depth: int) -> None:
        self.tokens.take()
        for _ in self._items("}"):
            name = self.tokens.take()
            self.tokens.take()  # The colon.
            key = json.loads(name.text)
            if not isText(key):
                self.problems.append(name.place.problem("syntax", "is not text"))
                key = "?"
            self._valueRead(section, key, name.place, depth, isItem=False)

    def _items(self, end: str) -> Iterator[None]:
        while self.tokens.next is not None and self.tokens.next.text != end:
            if self.tokens.next.text == ",":
                self.tokens.take()
            yield
        self.tokens.take()

    def _valueRead(
        self, section: Section, name: str, place: Place, depth: int, *, isItem: bool
    ) -> None:
        token = self.tokens.next
        assert token is not None, "a value follows each name"
        if token.text == "{" and depth <= DEEPEST:
            inner = Section(name, token.place if isItem else place)
            section.content.append(inner)
            self._objectRead(inner, depth + 1)
        elif token.text == "[" and not isItem:
            self.tokens.take()
            for _ in self._items("]"):
                self._valueRead(section, name, place, depth, isItem=True)
        else:
            self._scalarRead(section, name, place, isItem=isItem)

    def _scalarRead(
        self, section: Section, name: str, place: Place, *, isItem: bool
    ) -> None:
        token = self.tokens.take()
        at = token.place
        if token.text in "{[":
            text = "lists of lists mean nothing here"
            if token.text == "{":
                text = f"more than {DEEPEST} levels"
            self.problems.append(at.problem(name, text))
            self._skip()
            return
        if token.text == "null":
            self.problems.append(at.problem(name, "null is no value: leave it out"))
            return
        value = _WORDS.get(token.text, token.text)
        if token.text.startswith('"'):
            value = json.loads(token.text)
        if not isText(value):
            self.problems.append(at.problem(name, "is not text"))
            return
        if isItem or at.line != place.line:
            place = at
        section.content.append(Option(name, value, place, at.column))

    def _skip(self) -> None:
        """
        To the end of what has just begun.
        """
        depth = 1
        while depth:
            text = self.tokens.take().text
            depth += (text in "{[") - (text in "}]")


def write(document: Section, original: bytes = b"") -> Written:
    """
    The text of a file.  It has no comments, and what they are about is told.

    @raise ConfigurationError: some values are no text.
    """
    checkWritable(document)
    text = json.dumps(nested(document), indent=2, ensure_ascii=False)
    count = comments(document)
    if not count:
        return Written(text + "\n")
    note = document.place.problem("comments", f"{count} left out: JSON has none")
    return Written(text + "\n", (note,))
