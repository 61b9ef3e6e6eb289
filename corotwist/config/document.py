"""
A configuration as it was written: sections, options and comments, each with its
place, in the order of the file.  Every format is read to this, and written from
it.
"""

from collections.abc import Iterator
from typing import Final

from attrs import Factory, define, field, frozen

from corotwist.errors import Problem


@frozen
class Place:
    """
    Where something stands.

    @ivar file: the path as the operator named it.
    @ivar line: counted from 1; 0 for the whole file.
    @ivar column: in characters, counted from 1.
    """

    file: str
    line: int = 0
    column: int = 1

    def problem(self, key: str, text: str) -> Problem:
        """
        Something to say about what stands here.
        """
        return Problem(self.file, self.line, key, text, self.line and self.column)


# Levels of sections; no configuration goes that deep.
DEEPEST: Final = 16
# Of what stands in no file.
NOWHERE = Place("")


@frozen
class Option:
    """
    C{name: value}.

    @ivar place: of the name.
    @ivar column: where the value begins, on the line of the name.
    """

    name: str
    value: str
    place: Place = NOWHERE
    column: int = field(default=0, eq=False)

    @property
    def valuePlace(self) -> Place:
        """
        Where the value is, as far as the format tells.
        """
        place = self.place
        return Place(place.file, place.line, self.column or place.column)


@frozen
class Comment:
    """
    A comment, C{#} included, or an empty line: kept to be written back.
    """

    text: str
    place: Place = NOWHERE


@define
class Section:
    """
    C{name { … }}; the whole file is a section without a name.

    @ivar content: in the order of the file; sections may repeat.
    @ivar end: where it closes, in a format that has a line for it.
    """

    name: str
    place: Place = NOWHERE
    content: list["Section | Option | Comment"] = Factory(list)
    end: Place = field(default=NOWHERE, eq=False, repr=False)

    def options(self) -> Iterator[Option]:
        """
        The options directly in this section.
        """
        return (item for item in self.content if isinstance(item, Option))

    def sections(self) -> Iterator["Section"]:
        """
        The sections directly in this section.
        """
        return (item for item in self.content if isinstance(item, Section))

    def value(self, name: str) -> str | None:
        """
        What an option directly in this section says; the last one counts.
        """
        found = None
        for option in self.options():
            if option.name == name:
                found = option.value
        return found


@frozen
class Reading:
    """
    What was understood of a file, and what was not.

    @ivar balanced: does every section close?  If not, options may stand in
        the wrong one.
    @ivar notes: what is not wrong, but means nothing here, and was left out.
    """

    document: Section
    problems: tuple[Problem, ...] = ()
    balanced: bool = True
    notes: tuple[Problem, ...] = ()


@frozen
class Written:
    """
    A document as the text of a file.

    @ivar notes: what the format has no place for, and was left out.
    """

    text: str
    notes: tuple[Problem, ...] = ()
