"""
The syntax of corosync.conf: text to a L{Section}, with every mistake at once.

A section opens with C{name {} on a line of its own and closes with C{}} alone;
an option is C{key: value}; a line that begins with C{#} is a comment.
"""

import re
from typing import Final

from corotwist.config.document import (
    DEEPEST,
    Comment,
    Option,
    Place,
    Reading,
    Section,
)
from corotwist.errors import Problem

# Corosync reads no further, and tells nobody.
LONGEST_LINE_BYTES: Final = 511

# No dots: they are between the names in a path.
NAME: Final = re.compile(r"[A-Za-z0-9_/-]+")
BLANKS: Final = " \t\r"
# Signs that look like a blank, or like nothing, and are neither to us.
INVISIBLE: Final = {
    "\0": "a zero byte",
    "\u00a0": "a non-breaking space",
    "\u2007": "a figure space",
    "\u202f": "a narrow non-breaking space",
    "\u3000": "an ideographic space",
    "\u200b": "a zero width space",
    "\u00ad": "a soft hyphen",
    "\ufeff": "a byte order mark",
}


def parse(text: str | bytes, file: str) -> Reading:
    """
    The section without a name that holds everything in C{text}.

    @param file: the name for problems and places.
    """
    parser = _Parser(file)
    document = parser.parse(text.encode() if isinstance(text, str) else text)
    return Reading(document, tuple(parser.problems), parser.balanced)


class _Parser:
    """
    One file, line by line; a bad line is reported and left out.

    @ivar open: the sections we are in, outermost first.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.balanced = True
        self.open = [Section("", Place(file))]
        self.number = 0

    def parse(self, content: bytes) -> Section:
        for self.number, line in enumerate(content.split(b"\n"), 1):
            self._lineRead(line)
        for section in self.open[1:]:
            place, self.balanced = section.place, False
            text = "the section is never closed: add a line }"
            self.problems.append(place.problem(section.name, text))
        return self.open[0]

    def _lineRead(self, raw: bytes) -> None:
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            column = len(raw[: error.start].decode()) + 1
            text = f"not UTF-8 at byte {error.start + 1} of the line"
            self._wrong("syntax", text, column)
            return
        stripped = line.strip(BLANKS)
        column = line.find(stripped) + 1
        if not stripped or stripped.startswith("#"):
            self._add(Comment(stripped, self._place(column)))
        elif not self._unreadable(raw, line):
            self._statementRead(stripped, column)

    def _unreadable(self, raw: bytes, line: str) -> bool:
        if len(raw.rstrip(b"\r")) > LONGEST_LINE_BYTES:
            self._wrong(
                "syntax",
                f"the line has {len(raw)} bytes; corosync would cut it at"
                f" {LONGEST_LINE_BYTES}: shorten it",
                LONGEST_LINE_BYTES + 1,
            )
            return True
        for column, sign in enumerate(line, 1):
            if sign in INVISIBLE:
                self._wrong(
                    "syntax",
                    f"{INVISIBLE[sign]} (U+{ord(sign):04X}):"
                    " type an ordinary blank there, or nothing",
                    column,
                )
                return True
        return False

    def _statementRead(self, line: str, column: int) -> None:
        brace, colon = line.find("{"), line.find(":")
        if line == "}":
            self._closed(column)
        elif colon >= 0 and not 0 <= brace < colon:
            self._optionRead(line[:colon].strip(BLANKS), line, colon, column)
        elif brace >= 0:
            self._opened(line[:brace].strip(BLANKS), line[brace + 1 :], column)
        elif "}" in line:
            self.balanced = False
            text = "} closes a section on a line of its own"
            self._wrong("syntax", text, column + line.find("}"))
        else:
            text = f"{line!r} is neither 'name {{', nor 'key: value', nor }}"
            self._wrong("syntax", text, column)

    def _opened(self, name: str, rest: str, column: int) -> None:
        if rest.strip():
            text = f"{rest.strip()!r} after {{ needs its own line"
            self._wrong(name or "syntax", text, column)
            if rest.rstrip().endswith("}"):
                return
        if not NAME.fullmatch(name):
            self._wrong("syntax", f"{name!r} is no name for a section", column)
        section = Section(name, self._place(column))
        if len(self.open) > DEEPEST:
            self._wrong(name, f"more than {DEEPEST} levels", column)
        else:
            self._add(section)
        self.open.append(section)

    def _closed(self, column: int) -> None:
        if len(self.open) == 1:
            self.balanced = False
            self._wrong("syntax", "} without a section to close", column)
        else:
            self.open.pop().end = self._place(column)

    def _optionRead(self, name: str, line: str, colon: int, column: int) -> None:
        if not NAME.fullmatch(name):
            self._wrong("syntax", f"{name!r} is no name for an option", column)
            return
        rest = line[colon + 1 :]
        blanks = len(rest) - len(rest.lstrip(BLANKS))
        place = self._place(column)
        value = rest.strip(BLANKS)
        self._add(Option(name, value, place, column + colon + 1 + blanks))

    def _add(self, item: Section | Option | Comment) -> None:
        self.open[-1].content.append(item)

    def _place(self, column: int) -> Place:
        return Place(self.file, self.number, column)

    def _wrong(self, key: str, text: str, column: int) -> None:
        self.problems.append(self._place(column).problem(key, text))
