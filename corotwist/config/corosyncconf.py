"""
The syntax of corosync.conf: text to a L{Section}, with every mistake at once.

A section opens with C{name {} on a line of its own and closes with C{}} alone;
an option is C{key: value}; a line that begins with C{#} is a comment.
"""

import re
from pathlib import Path
from typing import Final

from attrs import frozen

from corotwist.config.document import Comment, Option, Place, Section
from corotwist.errors import Problem

# Corosync reads no further, and tells nobody.
LONGEST_LINE_BYTES: Final = 511
# Beside the configuration file; every file in it may hold C{uidgid} sections.
EXTRA_DIRECTORY: Final = "uidgid.d"
_EXTRA_SECTION: Final = "uidgid"

_NAME: Final = re.compile(r"[A-Za-z0-9_./-]+")
# Signs that look like a blank, or like nothing, and are neither to us.
_INVISIBLE: Final = {
    "\0": "a zero byte",
    "\u00a0": "a non-breaking space",
    "\u2007": "a figure space",
    "\u202f": "a narrow non-breaking space",
    "\u3000": "an ideographic space",
    "\u200b": "a zero width space",
    "\u00ad": "a soft hyphen",
    "\ufeff": "a byte order mark",
}


@frozen
class Reading:
    """
    What was understood, and what was not.

    @ivar balanced: does every section close?  If not, options may stand in
        the wrong one, and only the syntax is worth talking about.
    """

    document: Section
    problems: tuple[Problem, ...]
    balanced: bool


def read(path: str) -> Reading:
    """
    Read a file and the C{uidgid.d} directory beside it.
    """
    main = _readOne(path)
    problems, balanced = list(main.problems), main.balanced
    for extra in _extraFiles(path):
        reading = _readOne(extra)
        problems.extend(reading.problems)
        balanced = balanced and reading.balanced
        for section in reading.document.sections():
            if section.name == _EXTRA_SECTION:
                main.document.content.append(section)
            else:
                text = f"files in {EXTRA_DIRECTORY} hold only uidgid sections"
                line = section.place.line
                problems.append(Problem(extra, line, section.name, text))
    return Reading(main.document, tuple(problems), balanced)


def _extraFiles(path: str) -> list[str]:
    directory = Path(path).parent / EXTRA_DIRECTORY
    if not directory.is_dir():
        return []
    return [str(extra) for extra in sorted(directory.iterdir()) if extra.is_file()]


def _readOne(path: str) -> Reading:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        text = f"cannot be read: {error.strerror or error}"
        return Reading(
            Section("", Place(path)),
            (Problem(path, 0, "file", text),),
            balanced=False,
        )
    return parse(content, path)


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
            self.number, self.balanced = section.place.line, False
            self._wrong(section.name, "the section is never closed: add a line }")
        return self.open[0]

    def _lineRead(self, raw: bytes) -> None:
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            self._wrong("syntax", f"not UTF-8 at byte {error.start + 1} of the line")
            return
        stripped = line.strip(" \t\r")
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
            )
            return True
        for column, sign in enumerate(line, 1):
            if sign in _INVISIBLE:
                self._wrong(
                    "syntax",
                    f"{_INVISIBLE[sign]} (U+{ord(sign):04X}) at column {column}:"
                    " type an ordinary blank there, or nothing",
                )
                return True
        return False

    def _statementRead(self, line: str, column: int) -> None:
        brace, colon = line.find("{"), line.find(":")
        if line == "}":
            self._closed()
        elif colon >= 0 and not 0 <= brace < colon:
            self._optionRead(line[:colon].strip(" \t"), line[colon + 1 :], column)
        elif brace >= 0:
            self._opened(line[:brace].strip(" \t"), line[brace + 1 :], column)
        elif "}" in line:
            self.balanced = False
            self._wrong("syntax", "} closes a section on a line of its own")
        else:
            self._wrong(
                "syntax", f"{line!r} is neither 'name {{', nor 'key: value', nor }}"
            )

    def _opened(self, name: str, rest: str, column: int) -> None:
        if rest.strip():
            self._wrong(
                name or "syntax", f"{rest.strip()!r} after {{ needs its own line"
            )
            if rest.rstrip().endswith("}"):
                return
        if not _NAME.fullmatch(name):
            self._wrong("syntax", f"{name!r} is no name for a section")
        section = Section(name, self._place(column))
        self._add(section)
        self.open.append(section)

    def _closed(self) -> None:
        if len(self.open) == 1:
            self.balanced = False
            self._wrong("syntax", "} without a section to close")
        else:
            self.open.pop()

    def _optionRead(self, name: str, value: str, column: int) -> None:
        if _NAME.fullmatch(name):
            self._add(Option(name, value.strip(" \t\r"), self._place(column)))
        else:
            self._wrong("syntax", f"{name!r} is no name for an option")

    def _add(self, item: Section | Option | Comment) -> None:
        self.open[-1].content.append(item)

    def _place(self, column: int) -> Place:
        return Place(self.file, self.number, column)

    def _wrong(self, key: str, text: str) -> None:
        self.problems.append(Problem(self.file, self.number, key, text))
