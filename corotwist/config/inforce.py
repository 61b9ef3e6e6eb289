"""
The settings that follow from the keys of a running node: by what is in the
database, whoever wrote it there, and not by what is in the files.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen
from zope.interface import implementer

from corotwist.config.build import Built, Environment, fromReading
from corotwist.config.document import Option, Place, Reading, Section
from corotwist.config.localnode import IHost
from corotwist.config.schema import REPEATED, Schema
from corotwist.config.settings import Address, NodeSettings

# What a file says is below these, and no other keys are.
SECTIONS: Final = (
    *("totem.", "nodelist.", "quorum.", "logging.", "uidgid.config."),
    *("system.", "corotwist.", "nozzle."),
)
# Below these, but not from a file: what the node found out.
FOUND_OUT: Final = frozenset({"nodelist.local_node_pos"})

_USERS: Final = ("uidgid.config.uid.", "uidgid.uid.")
_GROUPS: Final = ("uidgid.config.gid.", "uidgid.gid.")
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
    for prefixes, option in ((_USERS, "uid"), (_GROUPS, "gid")):
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


@implementer(IHost)
@frozen
class _Settled:
    """
    A machine of which everything is known that a running node has asked.

    @ivar table: what the addresses of the node list were found to be.
    """

    table: Mapping[str, tuple[Address, ...]] = field(factory=dict)

    def hostName(self) -> str:
        return ""

    def addresses(self) -> Sequence[Address]:
        return ()

    def isLocal(self, address: Address) -> bool:
        return False

    def names(self, address: Address) -> Sequence[str]:
        return ()

    def resolve(self, name: str) -> Sequence[Address]:
        return self.table.get(name, ())

    def userId(self, name: str) -> int | None:
        return None

    def groupId(self, name: str) -> int | None:
        return None


def builtFrom(keys: Keys, running: NodeSettings) -> Built:
    """
    What a node would be that was started with these keys, where C{running}
    runs: who we are, what names resolve to, and the secret key stay.
    """
    known = Schema()
    said = [
        (key, value)
        for key, value in sorted(keys.items(), key=inOrder)
        if isOfFiles(key) and known.row(pathOf(key).row) is not None
    ]
    texts = [value.text() for key, value in said if key.endswith(".ring0_addr")]
    nodes = running.totem.nodes
    table = {text: node.addresses for text, node in zip(texts, nodes, strict=False)}
    secret = running.totem.key or b""
    around = Environment(
        _Settled(table),
        {},
        0,
        lambda path, cluster: secret,
        lambda key, cluster: secret,
        str(running.totem.nodeid),
    )
    file = running.sources[0] if running.sources else ""
    return fromReading(Reading(documentOf(said, file)), around)


def inOrder(item: tuple[str, Any]) -> list[tuple[int, str]]:
    """
    Entry 2 before entry 10.
    """
    parts = item[0].split(".")
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def inForce(
    keys: Keys, running: NodeSettings, built: NodeSettings, changed: Iterable[str]
) -> NodeSettings:
    """
    What can change while a node runs, as in C{built}; all else as it is.

    @param keys: all that are in the database, those of clients too.
    @param changed: those that did: what no key of it is about stays, and may
        have been given to the node in another way.
    """
    parts = {key.partition(".")[0] for key in changed}
    totem, quorum, ipc = running.totem, running.quorum, running.ipc
    if "totem" in parts:
        totem = evolve(totem, timing=built.totem.timing)
    if parts & {"quorum", "nodelist"}:
        quorum = evolve(
            quorum,
            expectedVotes=built.quorum.expectedVotes,
            votes=built.quorum.votes,
            twoNode=built.quorum.twoNode,
        )
    if "uidgid" in parts:
        ipc = evolve(ipc, uids=_numbered(keys, _USERS), gids=_numbered(keys, _GROUPS))
    return evolve(
        running,
        totem=totem,
        ipc=ipc,
        quorum=quorum,
        log=built.log if "logging" in parts else running.log,
        configVersion=built.configVersion
        if "totem" in parts
        else running.configVersion,
        keys=tuple((key, value) for key, value in keys.items() if isOfFiles(key)),
    )


def _numbered(keys: Keys, prefixes: tuple[str, ...]) -> frozenset[int]:
    """
    The users or groups that are let in: by the file, or by a client.
    """
    return frozenset(
        int(number)
        for key, value in keys.items()
        for number in (key.rpartition(".")[2],)
        if key.startswith(prefixes) and number.isdecimal() and value.content == 1
    )
