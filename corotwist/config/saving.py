"""
Keys written back to a file: what they do not change stays as it is, comments
included.
"""

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy

from attrs import evolve

from corotwist.config.document import Comment, Option, Place, Section
from corotwist.config.keypaths import documentOf, inOrder, isOfFiles
from corotwist.config.keys import Located, locate
from corotwist.config.localnode import IHost
from corotwist.config.merge import merged
from corotwist.config.values import Value

# Given by clients of a running node, and as good as what a file gives.
_GIVEN = ("uidgid.uid.", "uidgid.gid.")


def saved(items: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """
    Those of the keys of a node that a file can say, entry 2 before entry 10.
    """
    kept = [item for item in items if isOfFiles(item[0]) or item[0].startswith(_GIVEN)]
    return dict(sorted(kept, key=inOrder))


def exported(items: Iterable[tuple[str, Value]]) -> Section:
    """
    The state of a node as a file from which it would start like that.
    """
    return documentOf(saved(items).items())


def revised(
    document: Section, items: Iterable[tuple[str, Value]], host: IHost | None = None
) -> Section:
    """
    The document of a file, brought to say what the keys say.

    @param document: is not changed.
    @param host: knows the numbers of users and groups; without one, those that
        the file has by name stay.
    """
    document = deepcopy(document)
    keys = saved(items)
    found = {one.name: one for one in locate(document, host)}
    touched = [id(one.section) for one in found.values() if _revise(one, keys)]
    _prune(document, touched)
    new = {name: value for name, value in keys.items() if name not in found}
    sections = {one.prefix: one.section for one in found.values()}
    return _extended(document, new, sections)


def _revise(one: Located, keys: Mapping[str, Value]) -> bool:
    """
    @return: is the option gone?
    """
    content = one.section.content
    value = keys.get(one.name)
    at = next(n for n, item in enumerate(content) if item is one.option)
    if value is None:
        del content[at]
    elif value != one.value:
        content[at] = evolve(one.option, value=value.text())
    return value is None


def _prune(section: Section, touched: Collection[int]) -> None:
    """
    An entry from which the last option was taken is none any more.
    """
    for inner in tuple(section.sections()):
        _prune(inner, touched)
        if id(inner) in touched and all(map(_isBlank, inner.content)):
            section.content.remove(inner)


def _isBlank(item: Section | Option | Comment) -> bool:
    return isinstance(item, Comment) and not item.text.strip()


def _extended(
    document: Section, new: Mapping[str, Value], sections: Mapping[str, Section]
) -> Section:
    """
    With more keys, in the sections where they belong.
    """
    rest: dict[str, Value] = {}
    for name, value in new.items():
        prefix, _, option = name.rpartition(".")
        section = sections.get(prefix)
        if section is not None and section.content:
            place = Place(document.place.file)
            section.content.append(Option(option, value.text(), place))
        else:
            rest[name] = value
    if not rest:
        return document
    return merged([document, documentOf(rest.items(), document.place.file)])
