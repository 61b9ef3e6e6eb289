"""
From the keys of corosync's map back to a document: a configuration of its own,
or the file that a node was started with, brought up to date, comments included.
"""

import re
from collections.abc import Iterable
from typing import Final

from attrs import Factory, define, evolve

from corotwist.config.document import Comment, Option, Section
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
_IDENTITY: Final = re.compile(r"uidgid\.(?:config\.)?(uid|gid)\.(\d+)")
_MEMBER: Final = re.compile(r"totem\.interface\.\d+\.member\.\d+")
# The prefixes of entries of lists: the section, and what tells them apart.
_ENTRIES: Final = (
    re.compile(r"(?P<path>nodelist\.node)\.\d+"),
    re.compile(r"(?P<path>totem\.interface)\.(?P<linknumber>\d+)"),
    re.compile(r"(?P<path>totem\.interface\.\d+\.member)\.\d+"),
    re.compile(r"(?P<path>logging\.logger_subsys)\.(?P<subsys>[^.]+)"),
    re.compile(
        r"(?P<path>logging\.logging_daemon)\.(?P<name>[^.]+)(?:\.(?P<subsys>[^.]+))?"
    ),
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
        _plain(name): value for name, value in items if not name.startswith(RUN_TIME)
    }
    update = _Update(_copied(original), wanted, host)
    update.run()
    return update.document


def _plain(name: str) -> str:
    """
    A user who was let in at run time is one that a configuration lets in.
    """
    found = _IDENTITY.fullmatch(name)
    return f"uidgid.config.{found[1]}.{found[2]}" if found else name


def _copied(section: Section) -> Section:
    content = [
        _copied(item) if isinstance(item, Section) else item for item in section.content
    ]
    return evolve(section, content=content)


@define
class _Update:
    """
    @ivar sections: by the prefix that their keys have.
    @ivar emptied: entries of lists that lost an option.
    """

    document: Section
    wanted: dict[str, Value]
    host: IHost | None
    schema: Schema = Factory(Schema)
    sections: dict[str, Section] = Factory(dict)
    emptied: list[Section] = Factory(list)

    def run(self) -> None:
        """
        Change what says something else, and add what is missing.
        """
        present: dict[str, list[Located]] = {}
        for one in locate(self.document, self.host):
            present.setdefault(one.name, []).append(one)
            self.sections.setdefault(one.prefix, one.section)
        for name, found in present.items():
            if not name.startswith(RUN_TIME):
                self._change(found, self.wanted.get(name))
        for name in sorted(self.wanted.keys() - present.keys(), key=_naturally):
            self._add(name, self.wanted[name])
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

    def _add(self, name: str, value: Value) -> None:
        identity = _IDENTITY.fullmatch(name)
        if identity is not None:
            option = Option(identity[1], identity[2])
            self.document.content.append(Section("uidgid", content=[option]))
            return
        prefix, _, last = name.rpartition(".")
        if _MEMBER.fullmatch(name):
            prefix, last = name, "memberaddr"
        if not prefix or self.schema.row(optionOf(name)) is None:
            return
        section = self._section(prefix)
        if section.value(last) is None:
            _append(section, Option(last, value.text()))

    def _section(self, prefix: str) -> Section:
        """
        The section whose keys begin so; made where there is none.
        """
        if not prefix:
            return self.document
        found = self.sections.get(prefix)
        if found is None:
            found = self.sections[prefix] = self._found(prefix) or self._made(prefix)
        return found

    def _found(self, prefix: str) -> Section | None:
        """
        One that has no options yet.
        """
        if _entry(prefix) is not None:
            return None
        parent, _, name = prefix.rpartition(".")
        found = [s for s in self._section(parent).sections() if s.name == name]
        return found[-1] if found else None

    def _made(self, prefix: str) -> Section:
        entry = _entry(prefix)
        path = prefix if entry is None else entry["path"]
        parent, _, name = path.rpartition(".")
        home = self._section(parent)
        about = {} if entry is None else entry.groupdict()
        isFirst = not any(section.name == name for section in home.sections())
        if isFirst and about.get("linknumber") == "0":
            about = {}
        options = [
            Option(option, text)
            for option, text in about.items()
            if option != "path" and text is not None
        ]
        made = Section(name, content=list(options))
        home.content.append(made)
        return made


def _entry(prefix: str) -> re.Match[str] | None:
    matches = (pattern.fullmatch(prefix) for pattern in _ENTRIES)
    return next((match for match in matches if match is not None), None)


def optionOf(key: str) -> str:
    """
    What the schema calls the option that a key is for; there may be none.
    """
    identity = _IDENTITY.fullmatch(key)
    if identity is not None:
        return f"uidgid.{identity[1]}"
    if _MEMBER.fullmatch(key):
        return "totem.interface.member.memberaddr"
    prefix, _, last = key.rpartition(".")
    entry = _entry(prefix)
    path = re.sub(r"\.\d+", "", prefix if entry is None else entry["path"])
    return f"{path}.{last}"


def _naturally(name: str) -> list[tuple[int, str]]:
    """
    Node 2 before node 10.
    """
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")
    ]


def _replace(section: Section, old: Option, new: Option | None) -> None:
    replaced = (new if item is old else item for item in section.content)
    section.content[:] = [item for item in replaced if item is not None]


def _append(section: Section, option: Option) -> None:
    """
    Behind the other options.
    """
    at = max(
        (at for at, one in enumerate(section.content, 1) if isinstance(one, Option)),
        default=0,
    )
    section.content.insert(at, option)


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
