"""
A configuration file as it was written: sections, options and comments, each
with its place, in the order of the file.
"""

from collections.abc import Iterator

from attrs import Factory, define, frozen


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


@frozen
class Option:
    """
    C{name: value}.
    """

    name: str
    value: str
    place: Place


@frozen
class Comment:
    """
    A comment, C{#} included, or an empty line: kept to be written back.
    """

    text: str
    place: Place


@define
class Section:
    """
    C{name { … }}; the whole file is a section without a name.

    @ivar content: in the order of the file; sections may repeat.
    """

    name: str
    place: Place
    content: list["Section | Option | Comment"] = Factory(list)

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
