"""
Writing corosync.conf: what did not change stays as it was written, sign by sign,
comments and blanks included.
"""

from collections.abc import Iterator
from typing import Final

from attrs import Factory, define

from corotwist.config.document import Comment, Option, Place, Section, Written
from corotwist.config.formats.corosyncconf import (
    BLANKS,
    INVISIBLE,
    LONGEST_LINE_BYTES,
    NAME,
)
from corotwist.errors import ConfigurationError, Problem

_STEP: Final = "    "


def write(document: Section, original: bytes = b"") -> Written:
    """
    The text of a file.

    @param original: what is in the file now, when C{document} was read from
        it and changed: lines that still say the same are taken as they are.
    @raise ConfigurationError: it has names or values that this format has no
        way to write.
    """
    lines = original.decode(errors="replace").split("\n") if original else []
    writer = _Writer(document.place.file, lines)
    writer.written(document.content, "")
    if writer.problems:
        raise ConfigurationError(*writer.problems)
    if writer.lines[-1:] != [""]:
        writer.lines.append("")
    ending = "\r\n" if lines and lines[0].endswith("\r") else "\n"
    return Written(ending.join(line.removesuffix("\r") for line in writer.lines))


@define
class _Writer:
    """
    @ivar file: the one that C{original} are the lines of.
    """

    file: str
    original: list[str]
    lines: list[str] = Factory(list)
    problems: list[Problem] = Factory(list)

    def written(self, content: list[Section | Option | Comment], margin: str) -> None:
        """
        Everything in one section.
        """
        for item in content:
            if not isinstance(item, Comment):
                self.problems.extend(unwritable(item))
            if isinstance(item, Section):
                self._sectionWritten(item, margin)
            else:
                self.lines.append(self._line(item, margin))

    def _sectionWritten(self, section: Section, margin: str) -> None:
        before = self._originally(section.place)
        if before is None or before.partition("{")[0].strip(BLANKS) != section.name:
            before = f"{margin}{section.name} {{"
        outer = _margin(before)
        self.lines.append(before)
        self.written(section.content, self._innerMargin(section, outer))
        end = self._originally(section.end)
        isKept = end is not None and end.strip(BLANKS) == "}"
        self.lines.append(end if end and isKept else f"{outer}}}")

    def _innerMargin(self, section: Section, outer: str) -> str:
        """
        New lines stand where their neighbours do.
        """
        for item in section.content:
            before = self._originally(item.place)
            if before is not None and before.strip(BLANKS):
                return _margin(before)
        return outer + _STEP

    def _line(self, item: Option | Comment, margin: str) -> str:
        before = self._originally(item.place)
        if isinstance(item, Comment):
            kept = before is not None and before.strip(BLANKS) == item.text
            return before or "" if kept else f"{margin}{item.text}".rstrip(BLANKS)
        line = f"{margin}{item.name}: {item.value}".rstrip(BLANKS)
        if before is not None:
            name, colon, value = before.partition(":")
            if colon and name.strip(BLANKS) == item.name:
                if value.strip(BLANKS) == item.value:
                    return before
                line = f"{name}:{_margin(value) or ' '}{item.value}"
        fits = len(_bytes(line)) <= LONGEST_LINE_BYTES
        return line if fits else f"{item.name}:{item.value}"

    def _originally(self, place: Place) -> str | None:
        known = place.file == self.file and 1 <= place.line <= len(self.original)
        return self.original[place.line - 1] if known else None


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip(BLANKS))]


def unwritable(item: Section | Option) -> Iterator[Problem]:
    """
    What keeps a name or a value out of a file of this format.
    """
    if not NAME.fullmatch(item.name):
        what = "section" if isinstance(item, Section) else "option"
        yield item.place.problem(item.name, f"is no name for a {what}")
    if isinstance(item, Option):
        for reason in _reasons(item.value):
            text = f"cannot be written as corosync.conf: the value {reason}"
            yield item.valuePlace.problem(item.name, text)
        if len(_bytes(f"{item.name}:{item.value}")) > LONGEST_LINE_BYTES:
            text = f"is longer than a line of {LONGEST_LINE_BYTES} bytes"
            yield item.valuePlace.problem(item.name, text)


def _reasons(value: str) -> Iterator[str]:
    if "\n" in value:
        yield "has several lines"
    if value != value.strip(BLANKS):
        yield "begins or ends with a blank"
    for sign, name in INVISIBLE.items():
        if sign in value:
            yield f"contains {name}"
    if b"\xff" in _bytes(value):
        yield "is not text"


def _bytes(text: str) -> bytes:
    """
    A sign that UTF-8 does not have becomes a byte that it does not have.
    """
    return b"".join(
        b"\xff" if "\ud800" <= sign <= "\udfff" else sign.encode() for sign in text
    )
