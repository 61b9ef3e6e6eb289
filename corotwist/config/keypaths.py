"""
Where the keys of the map belong in a document, and a document that says what they
say.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from corotwist.config.document import Option, Place, Section
from corotwist.config.schema import REPEATED
from corotwist.config.values import Value

# What a file says is below these, and no other keys are.
SECTIONS: Final = (
    *("totem.", "nodelist.", "quorum.", "logging.", "uidgid.config."),
    *("system.", "corotwist.", "nozzle."),
)
# Below these, but not from a file: what the node found out.
FOUND_OUT: Final = frozenset({"nodelist.local_node_pos"})

USERS: Final = ("uidgid.config.uid.", "uidgid.uid.")
GROUPS: Final = ("uidgid.config.gid.", "uidgid.gid.")
# The options that name an entry, whose values are parts of its keys.
_NAMES: Final = {
    "totem.interface": ("linknumber",),
    "logging.logger_subsys": ("subsys",),
    "logging.logging_daemon": ("name", "subsys"),
}

_MEMBER: Final = "totem.interface.member"

Keys = Mapping[str, Any]


def isOfFiles(key: str) -> bool:
    """
    May a file say it?
    """
    return key.startswith(SECTIONS) and key not in FOUND_OUT


@frozen
class Path:
    """
    Where a key belongs in a document.

    @ivar sections: the name of each, and which of several of one name.
    @ivar option: in the innermost one.
    """

    sections: tuple[tuple[str, str], ...]
    option: str

    @property
    def row(self) -> str:
        """
        What the schema calls it.
        """
        return ".".join([*(name for name, _ in self.sections), self.option])


def pathOf(key: str) -> Path:
    """
    The way back from a dotted key: C{nodelist.node.0.nodeid} is C{nodeid} in
    the first C{node} of C{nodelist}.
    """
    for prefixes, option in ((USERS, "uid"), (GROUPS, "gid")):
        if key.startswith(prefixes):
            return Path((("uidgid", key),), option)
    *parts, option = key.split(".")
    sections: list[tuple[str, str]] = []
    while parts:
        name = parts.pop(0)
        dotted = ".".join([*(one for one, _ in sections), name])
        which = ""
        if dotted in REPEATED and parts:
            # A daemon and its subsystem are one entry.
            count = len(_NAMES.get(dotted, ("one",)))
            which = ".".join(parts[:count])
            del parts[:count]
        elif dotted == _MEMBER:
            which, option = option, "memberaddr"
        sections.append((name, which))
    return Path(tuple(sections), option)


def textOf(key: str, value: Value) -> str:
    """
    What stands behind the option; users and groups are in their keys.
    """
    return key.rpartition(".")[2] if key.startswith("uidgid.") else value.text()


def documentOf(keys: Iterable[tuple[str, Any]], file: str = "") -> Section:
    """
    Keys as the sections of a file that says so.

    @param file: whose directory relative paths count from.
    """
    writer = KeyWriter(Section("", Place(file)))
    for key, value in keys:
        writer.write(pathOf(key), textOf(key, value))
    return writer.document


class KeyWriter:
    """
    Puts keys into a document, each into the section where it belongs.

    @ivar sections: those that are known; of others, those are taken that are no
        lists, and have the right name.
    """

    def __init__(self, document: Section) -> None:
        self.document = document
        self.sections: dict[tuple[tuple[str, str], ...], Section] = {(): document}
        self._place = Place(document.place.file)

    def write(self, path: Path, text: str) -> None:
        """
        An option, behind those that are there.
        """
        content = self._section(path.sections).content
        options = [item for item in content if isinstance(item, Option)]
        if any((item.name, item.value) == (path.option, text) for item in options):
            return  # The name of an entry, which it has.
        at = content.index(options[-1]) + 1 if options else 0
        content.insert(at, Option(path.option, text, self._place))

    def _section(self, path: tuple[tuple[str, str], ...]) -> Section:
        """
        The section, made where it is missing.
        """
        found = self.sections.get(path)
        if found is None:
            found = self.sections[path] = self._found(path) or self._made(path)
        return found

    def _found(self, path: tuple[tuple[str, str], ...]) -> Section | None:
        name, which = path[-1]
        same = [s for s in self._section(path[:-1]).sections() if s.name == name]
        return same[-1] if same and not which else None

    def _made(self, path: tuple[tuple[str, str], ...]) -> Section:
        name, which = path[-1]
        made = Section(name, self._place)
        names = _NAMES.get(".".join(name for name, _ in path), ())
        made.content += [
            Option(option, value, self._place)
            for option, value in zip(names, which.split("."), strict=False)
        ]
        self._section(path[:-1]).content.append(made)
        return made


def inOrder(item: tuple[str, Any]) -> list[tuple[int, str]]:
    """
    Entry 2 before entry 10.
    """
    parts = item[0].split(".")
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
