"""
The formats of configuration files, and how one is chosen: by name, C{toml:PATH},
or by the end of the path.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

from attrs import frozen
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from corotwist.config.document import Reading, Section, Written
from corotwist.errors import ConfigurationError, PluginClash, Problem
from corotwist.interfaces import IConfigurationEngine

DEFAULT: Final = "corosync"
_EXPLICIT: Final = re.compile(r"([a-z][a-z0-9]+):(.+)", re.DOTALL)


@implementer(IPlugin, IConfigurationEngine)
@frozen
class ConfigurationEngine:
    """
    A format by the dotted names of its two functions, imported when it is used.

    @ivar reader: called as C{IConfigurationEngine.read} is.
    @ivar writer: called as C{IConfigurationEngine.write} is.
    """

    name: str
    version: int
    suffixes: tuple[str, ...]
    summary: str
    reader: str
    writer: str

    def read(self, content: bytes, file: str) -> Reading:
        return cast("Reading", namedAny(self.reader)(content, file))

    def write(self, document: Section, original: bytes = b"") -> Written:
        return cast("Written", namedAny(self.writer)(document, original))


BUILT_IN: Final = (
    ConfigurationEngine(
        DEFAULT,
        1,
        (".conf",),
        "corosync.conf; comments and layout survive",
        "corotwist.config.formats.corosyncconf.parse",
        "corotwist.config.formats.corosynctext.write",
    ),
    ConfigurationEngine(
        "xml",
        1,
        (".xml",),
        "corosync.xml, as corosync-xmlproc reads it; comments survive",
        "corotwist.config.formats.xmlconf.parse",
        "corotwist.config.formats.xmlconf.write",
    ),
    ConfigurationEngine(
        "cluster",
        1,
        ("/cluster.conf",),
        "Red Hat's cluster.conf of cman; options without a counterpart are told",
        "corotwist.config.formats.clusterconf.parse",
        "corotwist.config.formats.clustertext.write",
    ),
    ConfigurationEngine(
        "toml",
        1,
        (".toml",),
        "TOML; comments survive",
        "corotwist.config.formats.tomlconf.parse",
        "corotwist.config.formats.tomltext.write",
    ),
    ConfigurationEngine(
        "json",
        1,
        (".json",),
        "JSON; has no comments",
        "corotwist.config.formats.jsonconf.parse",
        "corotwist.config.formats.jsonconf.write",
    ),
)


def discover() -> dict[str, IConfigurationEngine]:
    """
    The formats by name: our own, and those of Twisted plug-ins.

    @raise ConfigurationError: two of them are the same.
    """
    try:
        return newest([*BUILT_IN, *getPlugins(IConfigurationEngine)])
    except PluginClash as error:
        raise ConfigurationError(
            Problem("plug-ins", 0, "format", str(error))
        ) from error


def newest(found: Iterable[IConfigurationEngine]) -> dict[str, IConfigurationEngine]:
    """
    One engine for each name, the one with the highest version.

    @raise PluginClash: two have the same name and version.
    """
    chosen: dict[str, IConfigurationEngine] = {}
    for engine in found:
        other = chosen.get(engine.name)
        if other is not None and other.version == engine.version:
            raise PluginClash(
                f"two plug-ins offer version {engine.version} of configuration"
                f" format {engine.name!r}: {other!r} and {engine!r}"
            )
        if other is None or other.version < engine.version:
            chosen[engine.name] = engine
    return chosen


def choose(
    source: str, engines: Mapping[str, IConfigurationEngine]
) -> tuple[IConfigurationEngine, str]:
    """
    The format of a file, and its path.

    @param source: C{PATH}, or C{FORMAT:PATH}.
    @raise ConfigurationError: there is no such format.
    """
    explicit = _EXPLICIT.fullmatch(source)
    if explicit is None:
        return _byEnd(source, engines), source
    name, path = explicit.groups()
    if name not in engines:
        known = ", ".join(sorted(engines))
        text = f"there is no format {name!r}, only {known}; a path that begins"
        text += f" like this one is written ./{source}"
        raise ConfigurationError(Problem(path, 0, "file", text))
    return engines[name], path


def _byEnd(
    path: str, engines: Mapping[str, IConfigurationEngine]
) -> IConfigurationEngine:
    """
    The longest end that fits; what has no known one is corosync.conf's.
    """
    fitting = [
        (len(suffix), name)
        for name, engine in engines.items()
        for suffix in engine.suffixes
        if f"/{path}".endswith(suffix)
    ]
    return engines[max(fitting)[1] if fitting else DEFAULT]
