"""
Several documents as one: what later ones say overrides what earlier ones said.

Sections come together by their names.  Entries of a list come together when they
are about the same node, link, subsystem or program; others are added.
"""

from collections.abc import Sequence
from typing import Final

from attrs import evolve

from corotwist.config.document import Comment, Option, Section
from corotwist.config.schema import REPEATED

# Which options tell that two entries of a list are about the same.
IDENTITY: Final = {
    "nodelist.node": ("nodeid", "name", "ring0_addr"),
    "totem.interface": ("linknumber", "ringnumber"),
    "logging.logger_subsys": ("subsys",),
    "logging.logging_daemon": ("name", "subsys"),
    "nozzle": ("name",),
}


def merged(documents: Sequence[Section]) -> Section:
    """
    One document; a single one is given back as it is.
    """
    first, *others = documents
    for other in others:
        first = _together(first, other, "")
    return first


def _together(base: Section, other: Section, path: str) -> Section:
    named = {option.name for option in other.options()}
    content: list[Section | Option | Comment] = [
        item
        for item in base.content
        if not (isinstance(item, Option) and item.name in named)
    ]
    for item in other.content:
        if not isinstance(item, Section):
            content.append(item)
            continue
        inner = f"{path}.{item.name}".lstrip(".")
        at = _same(content, item, inner)
        if at is None:
            content.append(item)
        else:
            found = content[at]
            assert isinstance(found, Section), "only sections are the same"
            content[at] = _together(found, item, inner)
    return evolve(base, content=content)


def _same(
    content: Sequence[Section | Option | Comment], wanted: Section, path: str
) -> int | None:
    """
    The place of the section that C{wanted} is about; the last one, if a section
    that is no list comes in several parts.
    """
    found = None
    for at, item in enumerate(content):
        if not isinstance(item, Section) or item.name != wanted.name:
            continue
        if path not in REPEATED or _isSameEntry(item, wanted, path):
            found = at
    return found


def _isSameEntry(one: Section, other: Section, path: str) -> bool:
    """
    The first option that both have decides.
    """
    for name in IDENTITY.get(path, ()):
        values = one.value(name), other.value(name)
        if None not in values:
            return values[0] == values[1]
    return False
