"""
Sections that do not close: where the brace is missing, as far as names tell.

Node 1's file lacks the brace behind C{totem}, and all that follows seems to be in
it: C{nodelist} is no section of C{totem}, but one of the file.
"""

from attrs import evolve

from corotwist.config.document import Section
from corotwist.config.schema import Schema


def balanced(document: Section) -> Section:
    """
    The document with every section in the nearest one that it belongs into.
    """
    whole = evolve(document, content=[])
    _settle(document, [("", whole)], Schema())
    return whole


def _settle(
    section: Section, around: list[tuple[str, Section]], schema: Schema
) -> None:
    """
    @param around: paths and sections that C{section} is in, outermost first;
        the last is what becomes of it.
    """
    for item in section.content:
        if not isinstance(item, Section):
            around[-1][1].content.append(item)
            continue
        depth = _depth(item.name, around, schema)
        path, home = around[depth]
        settled = evolve(item, content=[])
        home.content.append(settled)
        inner = f"{path}.{item.name}".lstrip(".")
        _settle(item, [*around[: depth + 1], (inner, settled)], schema)


def _depth(name: str, around: list[tuple[str, Section]], schema: Schema) -> int:
    """
    Of the innermost section that knows one of this name; unknown ones stay.
    """
    for depth in range(len(around) - 1, -1, -1):
        if schema.isSection(f"{around[depth][0]}.{name}".lstrip(".")):
            return depth
    return len(around) - 1
