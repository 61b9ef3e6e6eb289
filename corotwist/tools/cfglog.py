"""
C{corotwist cfg log}: what a running node logs.
"""

import json
import sys
from typing import Final

from corotwist.config.values import string
from corotwist.ipc.client import NodeClient
from corotwist.options import Options
from corotwist.tools.asking import envelope

PREFIX: Final = "logging."
# An option of ours, and what the configuration calls it.
CHANGEABLE: Final = {
    "debug": "off, on, or trace for everything",
    "trace": "trace levels: all, none, numbers and names: 1,3 or state,sync",
    "stderr_priority": "least urgent on the terminal",
    "logfile_priority": "least urgent in the file",
    "syslog_priority": "least urgent in the syslog",
    "journal_priority": "least urgent in the journal",
}


class LogOptions(Options):
    """
    Whose log, and what is to change.
    """

    arguments = "[SUBSYSTEM]"
    longdesc = (
        "Changes what is logged, of one subsystem (CPG, TOTEM) or of all, until the"
        " next restart; then prints what is said about the log.  Without a change it"
        " only prints.  Exit status 1, and nothing has changed, when it is refused."
    )
    optFlags = [["json", "j", "print as JSON"]]
    optParameters = [
        [name.replace("_", "-"), None, None, meaning]
        for name, meaning in CHANGEABLE.items()
    ]

    def parseArgs(self, subsystem: str = "") -> None:  # type: ignore[override]
        """
        What stands behind the options.
        """
        self["subsystem"] = subsystem.upper()


async def log(client: NodeClient, options: Options) -> int:
    """
    Change it, and print what is in force.
    """
    name = options["subsystem"]
    prefix = f"{PREFIX}logger_subsys.{name}." if name else PREFIX
    if name and not await client.cmap.items(prefix):
        await client.cmap.set(f"{prefix}subsys", string(name))
    for option in CHANGEABLE:
        value = options[option.replace("_", "-")]
        if value is not None:
            await client.cmap.set(f"{prefix}{option}", string(value))
    found = {key: value.text() for key, value in await client.cmap.items(prefix)}
    lines = [f"{key} = {value}" for key, value in found.items()]
    shown = json.dumps(envelope("cfg-log", options=found))
    text = shown if options["json"] else "\n".join(lines)
    sys.stdout.write(f"{text}\n" if text else "")
    return 0
