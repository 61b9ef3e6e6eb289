"""
Configurations in corosync.xml, as corosync-xmlproc reads it: within C{<corosync>}
an element is a section, and its attributes are its options.
"""

import re
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import quoteattr

from attrs import Factory, define

from corotwist.config.document import (
    Comment,
    Option,
    Place,
    Reading,
    Section,
    Written,
)
from corotwist.config.formats.xmltree import (
    ELEMENT_NAME,
    FORBIDDEN,
    Attribute,
    Element,
    Remark,
    treeOf,
)
from corotwist.errors import ConfigurationError, Problem

ROOT: Final = "corosync"
_STEP: Final = "  "
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>'
# Two in a row would end a comment.
_DASHES: Final = re.compile("-(?=-)")
# Attributes that fit are on the line of their element.
_LONGEST_LINE: Final = 88
# Read back these would be blanks.
_ESCAPES: Final = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def parse(content: bytes, file: str) -> Reading:
    """
    Understand a file.  XML that is wrong somewhere is not read further.
    """
    document = Section("", Place(file))
    tree = treeOf(content, file)
    problems = list(tree.problems)
    if tree.root is None:
        return Reading(document, tree.problems)
    if tree.root.name != ROOT:
        text = f"the root element is <{tree.root.name}>, and has to be <{ROOT}>"
        problems.append(tree.root.place.problem("syntax", text))
        return Reading(document, tuple(problems))
    sectionRead(document, tree.root)
    return Reading(document, tuple(problems))


def sectionRead(section: Section, element: Element) -> None:
    """
    Everything in an element.
    """
    for attribute in element.attributes:
        section.content.append(
            Option(attribute.name, attribute.value, attribute.place, attribute.column)
        )
    for item in element.content:
        if isinstance(item, Remark):
            section.content.extend(commentRead(item))
        else:
            inner = Section(item.name, item.place)
            section.content.append(inner)
            sectionRead(inner, item)


def commentRead(remark: Remark) -> Iterator[Comment]:
    """
    Each line by itself.
    """
    for number, line in enumerate(remark.text.strip().split("\n")):
        place = remark.place
        yield Comment(
            f"# {line.strip()}".rstrip(), Place(place.file, place.line + number)
        )


def write(document: Section, original: bytes = b"") -> Written:
    """
    The text of a file; of an option that is given twice the last one is written.

    @raise ConfigurationError: it has names or values that XML cannot have.
    """
    writer = Writer()
    element = elementOf(document, ROOT)
    writer.written(element, "")
    if writer.problems:
        raise ConfigurationError(*writer.problems)
    return Written("\n".join([_HEAD, *writer.lines]) + "\n")


def elementOf(section: Section, name: str) -> Element:
    """
    A section as an element.
    """
    element = Element(name, section.place)
    values: dict[str, Option] = {}
    for item in section.content:
        if isinstance(item, Option):
            values[item.name] = item
        elif isinstance(item, Section):
            element.content.append(elementOf(item, item.name))
        elif item.text:
            element.content.append(Remark(item.text.lstrip("# "), item.place))
    element.attributes.extend(map(attributeOf, values.values()))
    return element


def attributeOf(option: Option) -> Attribute:
    """
    An option as an attribute.
    """
    return Attribute(option.name, option.value, option.place, option.column)


@define
class Writer:
    """
    Elements as lines.
    """

    lines: list[str] = Factory(list)
    problems: list[Problem] = Factory(list)

    def written(self, element: Element, margin: str) -> None:
        """
        An element, and all that is in it.
        """
        self._named(element.name, element.place, "section")
        start = self._start(element, margin)
        if not element.content:
            self.lines.append(f"{start}/>")
            return
        self.lines.append(f"{start}>")
        for item in element.content:
            if isinstance(item, Element):
                self.written(item, margin + _STEP)
            else:
                text = FORBIDDEN.sub("?", _DASHES.sub("- ", item.text))
                self.lines.append(f"{margin}{_STEP}<!-- {text} -->")
        self.lines.append(f"{margin}</{element.name}>")

    def _start(self, element: Element, margin: str) -> str:
        """
        The element up to its closing sign.
        """
        parts = [self._attribute(attribute) for attribute in element.attributes]
        start = " ".join([f"{margin}<{element.name}", *parts])
        if len(start) <= _LONGEST_LINE:
            return start
        return f"\n{margin}{_STEP * 2}".join([f"{margin}<{element.name}", *parts])

    def _attribute(self, attribute: Attribute) -> str:
        self._named(attribute.name, attribute.place, "option")
        if FORBIDDEN.search(attribute.value):
            text = "the value has a sign that XML has no way to write"
            self.problems.append(attribute.place.problem(attribute.name, text))
        return f"{attribute.name}={quoteattr(attribute.value, _ESCAPES)}"

    def _named(self, name: str, place: Place, what: str) -> None:
        if not ELEMENT_NAME.fullmatch(name):
            text = f"{name!r} cannot be the name of an {what} in XML"
            self.problems.append(place.problem(name, text))
