"""
From the keys of corosync's map back to a document: a configuration of its own,
or the file that a node was started with, brought up to date, comments included.
"""

from collections.abc import Iterable
from typing import Final

from attrs import Factory, define, evolve

from corotwist.config.document import Comment, Option, Section
from corotwist.config.keypaths import KeyWriter, inOrder, pathOf, textOf
from corotwist.config.keys import Located, locate
from corotwist.config.localnode import IHost
from corotwist.config.schema import REPEATED, Schema
from corotwist.config.values import Value

# Of a node that runs, and not of its configuration.
RUN_TIME: Final = (
    *("runtime.", "stats.", "internal_configuration.", "config.", "cluster."),
    *("resources.process.", "pload.", "quorum.cancel_wait_for_all"),
    "nodelist.local_node_pos",
)
Items = Iterable[tuple[str, Value]]


def documentOf(items: Items) -> Section:
    """
    A configuration that says what these keys say; those of the run time, and
    those that no configuration knows, are left out.
    """
    return updated(Section(""), items)


def updated(original: Section, items: Items, host: IHost | None = None) -> Section:
    """
    C{original} so that it says what these keys say.  What says it already, and
    comments, stay; what C{original} has no key for, such as a value that makes
    no sense, stays as well.

    @param host: knows the numbers of users and groups that C{original} names.
    """
    wanted = {
        _plain(name): value
        for name, value in items
        if not name.startswith(RUN_TIME) and not _isShutOut(name, value)
    }
    update = _Update(_copied(original), wanted, host)
    update.run()
    return update.document


def _plain(name: str) -> str:
    """
    A user who was let in at run time is one that a configuration lets in.
    """
    for given in ("uidgid.uid.", "uidgid.gid."):
        if name.startswith(given):
            return name.replace("uidgid.", "uidgid.config.", 1)
    return name


def _isShutOut(name: str, value: Value) -> bool:
    """
    Is it a user or group that is not let in?
    """
    return name.startswith("uidgid.") and value.content != 1


def _copied(section: Section) -> Section:
    content = [
        _copied(item) if isinstance(item, Section) else item for item in section.content
    ]
    return evolve(section, content=content)


@define
class _Update:
    """
    @ivar emptied: entries of lists that lost an option.
    """

    document: Section
    wanted: dict[str, Value]
    host: IHost | None
    emptied: list[Section] = Factory(list)

    def run(self) -> None:
        """
        Change what says something else, and add what is missing.
        """
        present: dict[str, list[Located]] = {}
        writer = KeyWriter(self.document)
        for one in locate(self.document, self.host):
            present.setdefault(one.name, []).append(one)
            writer.sections.setdefault(pathOf(one.name).sections, one.section)
        for name, found in present.items():
            if not name.startswith(RUN_TIME):
                self._change(found, self.wanted.get(name))
        schema = Schema()
        for name, value in sorted(self.wanted.items(), key=inOrder):
            path = pathOf(name)
            if name not in present and schema.row(path.row) is not None:
                writer.write(path, textOf(name, value))
        _prune(self.document, {id(section) for section in self.emptied})

    def _change(self, found: list[Located], value: Value | None) -> None:
        """
        @param found: with one name; the last one counts.
        """
        if value is None:
            for one in found:
                _replace(one.section, one.option, None)
                self.emptied.append(one.section)
        elif found[-1].value != value:
            one = found[-1]
            _replace(one.section, one.option, evolve(one.option, value=value.text()))


def _replace(section: Section, old: Option, new: Option | None) -> None:
    replaced = (new if item is old else item for item in section.content)
    section.content[:] = [item for item in replaced if item is not None]


def _prune(section: Section, emptied: set[int], path: str = "") -> None:
    """
    Entries of lists that lost all that they said.
    """
    for item in tuple(section.sections()):
        inner = f"{path}.{item.name}".lstrip(".")
        _prune(item, emptied, inner)
        if id(item) in emptied and inner in REPEATED and _saysNothing(item):
            section.content[:] = [one for one in section.content if one is not item]


def _saysNothing(section: Section) -> bool:
    """
    Which link it would be about is not much.
    """
    return all(
        isinstance(item, Comment)
        or (isinstance(item, Option) and item.name in {"linknumber", "ringnumber"})
        for item in section.content
    )
