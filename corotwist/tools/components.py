"""
C{corotwist cfg components}, C{replace}, C{load} and C{unload}.
"""

import json
import sys
from typing import Final

from attrs import asdict
from twisted.python.usage import UsageError

from corotwist.engines.interfaces import EngineNews
from corotwist.ipc.client import NodeClient
from corotwist.ipc.components import ComponentInfo, ComponentList
from corotwist.options import Options
from corotwist.tools.asking import envelope

DONE: Final = 0
# Some files of the configured directories could not be used.
PROBLEMS: Final = 1


class ListOptions(Options):
    """
    How to list.
    """

    longdesc = (
        "Everything replaceable that the node finds, in all versions, and which of"
        " it is in use.  Exit status 1 when something cannot be looked at."
    )
    optFlags = [["json", "j", "print the list as JSON"]]


class EngineOptions(Options):
    """
    An engine, and which version of it.
    """

    arguments = "ENGINE [VERSION]"
    longdesc = (
        "Without a version it is the newest that the node finds.  Exit status 1,"
        " and nothing has changed, when it cannot be done."
    )

    def parseArgs(  # type: ignore[override]
        self, engine: str, version: str | None = None
    ) -> None:
        """
        What stands behind the options.
        """
        if version is not None and not version.isdecimal():
            raise UsageError(f"{version!r} is not the number of a version")
        self["engine"] = engine
        self["version"] = None if version is None else int(version)


class UnloadOptions(Options):
    """
    An engine.
    """

    arguments = "ENGINE"

    def parseArgs(self, engine: str) -> None:  # type: ignore[override]
        """
        What stands behind the options.
        """
        self["engine"] = engine


async def components(client: NodeClient, options: Options) -> int:
    """
    Print all components.
    """
    found = await client.components.known()
    shown = json.dumps(envelope("cfg-components", **asdict(found)), indent=2)
    text = shown if options["json"] else told(found)
    sys.stdout.write(text + "\n")
    for problem in found.problems:
        sys.stderr.write(f"corotwist cfg components: {problem}\n")
    return PROBLEMS if found.problems else DONE


def told(found: ComponentList) -> str:
    """
    A list for people.
    """
    rows = [
        ("KIND", "NAME", "VERSION", "STATE", "ORIGIN"),
        *map(_row, found.components),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            word.ljust(width) for word, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _row(one: ComponentInfo) -> tuple[str, ...]:
    return one.kind, one.name, str(one.version), one.state or "-", one.origin


async def replace(client: NodeClient, options: Options) -> int:
    """
    Let another version of an engine take over.
    """
    return _done(await client.components.replace(options["engine"], options["version"]))


async def load(client: NodeClient, options: Options) -> int:
    """
    Start an engine.
    """
    return _done(await client.components.load(options["engine"], options["version"]))


async def unload(client: NodeClient, options: Options) -> int:
    """
    Stop an engine.
    """
    return _done(await client.components.unload(options["engine"]))


def _done(news: EngineNews) -> int:
    sys.stdout.write(f"{news}\n")
    return DONE
