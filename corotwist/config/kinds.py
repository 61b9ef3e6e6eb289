"""
What the value of an option may be: from text to a Python value.
"""

import re
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Final, Protocol

from attrs import frozen

from corotwist.config.settings import Address
from corotwist.logs.levels import parseTraces

Value = int | float | str | bool | Address

# More digits than any option takes; Python counts no further than a few thousand.
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}")
_DIGITS: Final = re.compile(r"[0-9]{1,40}")
_SHOWN: Final = 60
YES: Final = ("yes", "on", "1")
NO: Final = ("no", "off", "0")


class Kind(Protocol):
    """
    One type of option.
    """

    def parse(self, text: str) -> Value:
        """
        The value that C{text} stands for.

        @raise ValueError: with a sentence that says what would be right.
        """

    def describe(self) -> str:
        """
        The type and the range, for people.
        """


def wholeOf(text: str) -> int | None:
    """
    The number, if there are digits only, and not too many.
    """
    return int(text) if _DIGITS.fullmatch(text) else None


@frozen
class Whole:
    """
    A whole number.
    """

    low: int
    high: int
    unit: str = ""

    def parse(self, text: str) -> int:
        if not _WHOLE.fullmatch(text):
            shown = repr(text[:_SHOWN])
            raise ValueError(f"{shown} is not a whole number, {self.describe()}")
        number = int(text)
        if not self.low <= number <= self.high:
            raise ValueError(f"is {number}, and must be {self.describe()}")
        return number

    def describe(self) -> str:
        words = f"{self.low} to {self.high}" if self.low < self.high else f"{self.low}"
        return f"{words} {self.unit}" if self.unit else words


@frozen
class Decimal:
    """
    A number that may have a fraction.
    """

    unit: str = ""

    def parse(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None

    def describe(self) -> str:
        return f"number {self.unit}".strip()


@frozen
class Choice:
    """
    One of some words.
    """

    words: tuple[str, ...]

    def parse(self, text: str) -> str:
        if text in self.words:
            return text
        close = get_close_matches(text, self.words, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{text!r} is none of {', '.join(self.words)}{hint}")

    def describe(self) -> str:
        return ", ".join(self.words)


@frozen
class Switch:
    """
    Yes or no.
    """

    def parse(self, text: str) -> bool:
        if text in YES:
            return True
        if text in NO:
            return False
        raise ValueError(f"{text!r} is neither yes nor no")

    def describe(self) -> str:
        return "yes, no"


@frozen
class Traces:
    """
    A set of trace levels.
    """

    def parse(self, text: str) -> str:
        parseTraces(text)
        return text

    def describe(self) -> str:
        return "all, none, numbers and names of levels"


@frozen
class Text:
    """
    Any text but none.

    @ivar what: a word for people.
    """

    what: str = "text"

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError(f"is empty; a {self.what} belongs here")
        return text

    def describe(self) -> str:
        return self.what


@frozen
class Directories:
    """
    Absolute paths of directories, with colons between.
    """

    def parse(self, text: str) -> str:
        for path in text.split(":"):
            if not path.startswith("/"):
                raise ValueError(f"{path!r} is not an absolute path; {self.describe()}")
        return text

    def describe(self) -> str:
        return "absolute paths with colons between"


@frozen
class Engines:
    """
    Names of service engines with blanks between, each perhaps with a version.
    """

    def parse(self, text: str) -> str:
        names = [name for name, _ in engines(text)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"names {twice!r} twice")
        return text

    def describe(self) -> str:
        return "names with blanks between, each perhaps with /VERSION"


def engines(text: str) -> tuple[tuple[str, int | None], ...]:
    """
    What L{Engines} understands: names, with versions where they have one.

    @raise ValueError: with a sentence that says what would be right.
    """
    return tuple(map(_engine, text.split()))


def _engine(word: str) -> tuple[str, int | None]:
    name, slash, version = word.partition("/")
    if not name or (slash and not _WHOLE.fullmatch(version)):
        raise ValueError(f"{word!r} is not NAME or NAME/VERSION")
    return name, int(version) if slash else None


@frozen
class Numeric:
    """
    An IP address in numbers.
    """

    def parse(self, text: str) -> Address:
        try:
            return ip_address(text)
        except ValueError:
            raise ValueError(f"{text!r} is not an IP address") from None

    def describe(self) -> str:
        return "IP address"
