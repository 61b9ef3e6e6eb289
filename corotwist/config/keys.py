"""
A configuration as the keys that corosync's map has for it, and back.

The path of sections and the option, joined by dots, is the key; entries of lists
have an index, or their own name, in it: C{nodelist.node.0.name},
C{totem.interface.0.mcastport}, C{logging.logger_subsys.CPG.debug}.  Values are
stored as written, text where corosync has text; defaults are not stored.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from attrs import Factory, define, frozen

from corotwist.config.document import Option, Section
from corotwist.config.kinds import Switch, Whole, wholeOf
from corotwist.config.localnode import IHost
from corotwist.config.names import checkKey
from corotwist.config.row import Row
from corotwist.config.schema import Schema
from corotwist.config.values import Value, ValueType
from corotwist.errors import ServiceError

# Whole numbers are u32 but these, and switches text but those of quorum.
_TYPES: Final = {
    "totem.config_version": ValueType.UINT64,
    "totem.knet_compression_level": ValueType.INT32,
    "totem.interface.mcastport": ValueType.UINT16,
    "totem.interface.ttl": ValueType.UINT8,
    "totem.interface.knet_link_priority": ValueType.UINT8,
    "quorum.cancel_wait_for_all": ValueType.UINT8,
    "resources.system.memory_used.poll_period": ValueType.UINT64,
    "resources.system.load_15min.poll_period": ValueType.UINT64,
}
_TEXTS: Final = (
    *("quorum.device.net.", "quorum.device.disk.", "quorum.device.heuristics."),
    *("quorum.device.options.", "corotwist."),
)
_UIDGID: Final = "uidgid.config"
# Among the programs that log.
_OURSELVES: Final = "corosync"
_ALLOWED: Final = Value(ValueType.UINT8, 1)


def typeOf(row: Row | None) -> ValueType:
    """
    What the value of an option is in the map.
    """
    if row is None or row.name.startswith(_TEXTS):
        return ValueType.STRING
    if row.name in _TYPES:
        return _TYPES[row.name]
    if isinstance(row.kind, Whole):
        return ValueType.UINT32
    isNumber = isinstance(row.kind, Switch) and row.section.startswith("quorum")
    return ValueType.UINT8 if isNumber else ValueType.STRING


@frozen
class Located:
    """
    A key, and the option it is from.

    @ivar prefix: the key without what the option adds to it; one for each
        section, but one for each user and group.
    """

    name: str
    value: Value
    prefix: str
    section: Section
    option: Option


def keysOf(
    document: Section, host: IHost | None = None
) -> tuple[tuple[str, Value], ...]:
    """
    What corosync has in its map for a configuration; values that make no sense
    are left out.

    @param host: knows the numbers of users and groups; without one those that
        are given by name are left out.
    """
    return tuple({one.name: one.value for one in locate(document, host)}.items())


def locate(document: Section, host: IHost | None = None) -> Iterator[Located]:
    """
    Every key, in the order of the document; of several with one name the last
    one counts.
    """
    return _Walk(Schema(), host).keys(document, "", "")


@define
class _Walk:
    """
    @ivar counts: how many entries of each list have been seen.
    """

    schema: Schema
    host: IHost | None
    counts: Counter[str] = Factory(Counter)

    def keys(self, section: Section, path: str, prefix: str) -> Iterator[Located]:
        """
        @param path: the section's place in the schema.
        @param prefix: its place in the map.
        """
        for option in section.options():
            yield from self._optionKeys(section, option, path, prefix)
        for inner in section.sections():
            innerPath = f"{path}.{inner.name}".lstrip(".")
            plain = f"{prefix}.{inner.name}".lstrip(".")
            innerPrefix = self._prefix(inner, innerPath, plain)
            if innerPrefix is not None:
                yield from self.keys(inner, innerPath, innerPrefix)

    def _prefix(self, section: Section, path: str, plain: str) -> str | None:
        """
        L{None} for an entry that does not say whom it is about.
        """
        match path:
            case "nodelist.node" | "totem.interface.member" | "service":
                return f"{plain}.{self._count(plain)}"
            case "totem.interface":
                position = str(self._count(plain))
                given = section.value("linknumber") or section.value("ringnumber")
                return f"{plain}.{given or position}"
            case "logging.logger_subsys":
                subsystem = section.value("subsys")
                return f"{plain}.{subsystem}" if _isPart(subsystem) else None
            case "logging.logging_daemon":
                return _daemonPrefix(section, plain)
        return plain

    def _count(self, plain: str) -> int:
        self.counts[plain] += 1
        return self.counts[plain] - 1

    def _optionKeys(
        self, section: Section, option: Option, path: str, prefix: str
    ) -> Iterator[Located]:
        if "\0" in option.value:
            return
        row = self.schema.row(f"{path}.{option.name}")
        name: str | None = f"{prefix}.{option.name}".lstrip(".")
        value: Value | None
        match f"{path}.{option.name}":
            case "totem.interface.linknumber" | "totem.interface.ringnumber":
                return
            case "logging.logging_daemon.name" if option.value == _OURSELVES:
                return
            case "totem.interface.member.memberaddr":
                name, value = prefix, _value(row, option.value)
            case "uidgid.uid" | "uidgid.gid":
                name, value = self._identity(option), _ALLOWED
                prefix = name or ""
            case _:
                value = _value(row, option.value)
        if name is not None and value is not None and _isKey(name):
            yield Located(name, value, prefix, section, option)

    def _identity(self, option: Option) -> str | None:
        number = wholeOf(option.value)
        if number is None and self.host is not None:
            find = self.host.userId if option.name == "uid" else self.host.groupId
            number = find(option.value)
        return None if number is None else f"{_UIDGID}.{option.name}.{number}"


def _daemonPrefix(section: Section, plain: str) -> str | None:
    """
    Corosync itself is a daemon, too: its settings are those of logging.
    """
    name, subsystem = section.value("name"), section.value("subsys")
    if not _isPart(name) or not (subsystem is None or _isPart(subsystem)):
        return None
    if name == _OURSELVES:
        return f"logging.logger_subsys.{subsystem}" if subsystem else "logging"
    return f"{plain}.{name}.{subsystem}" if subsystem else f"{plain}.{name}"


def _isPart(name: str | None) -> bool:
    """
    Can it stand between two dots of a key, and be found there again?
    """
    return bool(name) and "." not in str(name)


def _isKey(name: str) -> bool:
    try:
        checkKey(name)
    except ServiceError:
        return False
    return True


def _value(row: Row | None, text: str) -> Value | None:
    kind = typeOf(row)
    try:
        if row is None or kind is ValueType.STRING:
            return Value(kind, text)
        parsed = row.kind.parse(text)
        assert isinstance(parsed, int), "only whole numbers and switches get here"
        return Value(kind, int(parsed))
    except (ValueError, ServiceError):
        return None
