"""
Where the keys of the map belong in a document, and a document that says what they
say.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from corotwist.config.document import Option, Place, Section
from corotwist.config.schema import REPEATED

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
        sections.append((name, which))
    return Path(tuple(sections), option)


def documentOf(keys: Iterable[tuple[str, Any]], file: str = "") -> Section:
    """
    Keys as the sections of a file that says so.

    @param file: whose directory relative paths count from.
    """
    writer = _Writer(Place(file))
    for key, value in keys:
        path = pathOf(key)
        text = key.rpartition(".")[2] if path.sections[0][0] == "uidgid" else None
        writer.write(path, value.text() if text is None else text)
    return writer.document


class _Writer:
    def __init__(self, place: Place) -> None:
        self._place = place
        self.document = Section("", place)
        self._sections: dict[tuple[tuple[str, str], ...], Section] = {(): self.document}

    def write(self, path: Path, text: str) -> None:
        section = self._section(path.sections)
        if section.value(path.option) != text:  # Not the name of an entry, again.
            section.content.append(Option(path.option, text, self._place))

    def _section(self, path: tuple[tuple[str, str], ...]) -> Section:
        """
        The section, made where it is missing.
        """
        found = self._sections.get(path)
        if found is None:
            found = self._sections[path] = Section(path[-1][0], self._place)
            self._section(path[:-1]).content.append(found)
            names = _NAMES.get(".".join(name for name, _ in path), ())
            found.content += [
                Option(name, value, self._place)
                for name, value in zip(names, path[-1][1].split("."), strict=False)
            ]
        return found


def inOrder(item: tuple[str, Any]) -> list[tuple[int, str]]:
    """
    Entry 2 before entry 10.
    """
    parts = item[0].split(".")
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
