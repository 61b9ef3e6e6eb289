"""
XML, as far as configurations need it: elements with attributes, each with its
place, and comments.

A document type is refused: nothing is fetched, and nothing expands.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final
from xml.parsers import expat

from attrs import Factory, define, frozen

from corotwist.config.document import DEEPEST, Place
from corotwist.errors import Problem

_NAME: Final = re.compile(rb"[^\s/>]+")
_ATTRIBUTE: Final = re.compile(rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
# What no XML document can have in it, however it is written.
FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Of text that means nothing.
_SHOWN: Final = 40
ELEMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@frozen
class Attribute:
    """
    C{name="value"}.

    @ivar column: where the value begins, on the line of the name; 0 when it
        is on another one.
    """

    name: str
    value: str
    place: Place
    column: int = 0


@frozen
class Remark:
    """
    A comment, without its signs.
    """

    text: str
    place: Place


@define
class Element:
    """
    @ivar content: elements and comments; in the root those around it, too.
    """

    name: str
    place: Place
    attributes: list[Attribute] = Factory(list)
    content: list["Element | Remark"] = Factory(list)

    def elements(self) -> Iterator["Element"]:
        """
        The elements directly in this one.
        """
        return (item for item in self.content if isinstance(item, Element))

    def get(self, name: str) -> str | None:
        """
        The value of an attribute.
        """
        return next((a.value for a in self.attributes if a.name == name), None)


@frozen
class Tree:
    """
    @ivar root: L{None} when there is none, or the text is no XML.
    """

    root: Element | None
    problems: tuple[Problem, ...]


class _Refused(Exception):
    """
    Right XML that is read no further.
    """


def treeOf(content: bytes, file: str) -> Tree:
    """
    Understand a file, which is UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Tree(None, (Place(file, line).problem("syntax", "not UTF-8"),))
    reader = _Reader(text, file)
    try:
        reader.read()
    except expat.ExpatError as error:
        reader.wrong(reader.stopped(), str(expat.ErrorString(error.code)))
    except _Refused as error:
        reader.wrong(reader.here(), str(error))
    else:
        return Tree(reader.root, tuple(reader.problems))
    return Tree(None, tuple(reader.problems))


class _Reader:
    """
    What the parser reports, as a tree.
    """

    def __init__(self, text: str, file: str) -> None:
        self.root: Element | None = None
        self.problems: list[Problem] = []
        self._file = file
        self._data = text.encode()
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        # So many bytes are so many characters.
        self._known = (0, 0)
        self._open: list[Element] = []
        self._before: list[Remark] = []
        self._textLine = 0
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.ordered_attributes = True
        parser.StartElementHandler = self._opened
        parser.EndElementHandler = self._closed
        parser.CharacterDataHandler = self._textFound
        parser.CommentHandler = self._commentFound
        parser.StartDoctypeDeclHandler = self._typeFound

    def read(self) -> None:
        """
        The whole text.
        """
        self._parser.Parse(self._data, True)

    def here(self) -> Place:
        """
        Where the parser is.
        """
        return self._placeOf(self._parser.CurrentByteIndex)

    def stopped(self) -> Place:
        """
        Where the parser saw that this is no XML.
        """
        return self._placeOf(self._parser.ErrorByteIndex)

    def wrong(self, place: Place, text: str, key: str = "syntax") -> None:
        """
        Note a problem.
        """
        self.problems.append(place.problem(key, text))

    def _placeOf(self, offset: int) -> Place:
        """
        @param offset: in bytes; each is decoded once, as the parser goes on.
        """
        offset = max(0, offset)
        data, characters = self._known if offset >= self._known[0] else (0, 0)
        characters += len(self._data[data:offset].decode(errors="replace"))
        self._known = offset, characters
        line = bisect_right(self._starts, characters)
        return Place(self._file, line, characters - self._starts[line - 1] + 1)

    def _opened(self, name: str, attributes: list[str]) -> None:
        if len(self._open) > DEEPEST:
            raise _Refused(f"more than {DEEPEST} levels")
        element = Element(name, self.here())
        places = self._attributePlaces()
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            place, column = places.get(key, (element.place, 0))
            element.attributes.append(Attribute(key, value, place, column))
        if self._open:
            self._open[-1].content.append(element)
        else:
            self.root = element
            element.content.extend(self._before)
        self._open.append(element)

    def _attributePlaces(self) -> Mapping[str, tuple[Place, int]]:
        """
        Of the element that the parser is at; its text is known to be right.
        """
        name = _NAME.match(self._data, self._parser.CurrentByteIndex + 1)
        assert name is not None, "an element has a name"
        places = {}
        at = name.end()
        while (match := _ATTRIBUTE.match(self._data, at)) is not None:
            key, value = self._placeOf(match.start(1)), self._placeOf(match.start(2))
            column = value.column + 1 if value.line == key.line else 0
            places[match[1].decode()] = (key, column)
            at = match.end()
        return places

    def _closed(self, name: str) -> None:
        self._open.pop()

    def _textFound(self, text: str) -> None:
        """
        Each line by itself; only the first piece of it is told.
        """
        blanks = len(text) - len(text.lstrip())
        place = self._placeOf(self._parser.CurrentByteIndex + blanks)
        if text.strip() and place.line != self._textLine:
            self._textLine = place.line
            shown = text.strip()[:_SHOWN]
            self.wrong(place, f"{shown!r} means nothing here: options are attributes")

    def _commentFound(self, text: str) -> None:
        remark = Remark(text, self.here())
        if self._open:
            self._open[-1].content.append(remark)
        elif self.root is None:
            self._before.append(remark)
        else:
            self.root.content.append(remark)

    def _typeFound(self, *about: object) -> None:
        raise _Refused("a document type (DOCTYPE) is not taken: remove it")
