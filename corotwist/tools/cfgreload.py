"""
C{corotwist cfg reload}, C{reopen} and C{dump}.
"""

import json
import sys
from typing import Any, Final

from corotwist.ipc.client import NodeClient
from corotwist.options import Options
from corotwist.tools.asking import envelope

# Exit statuses; 2 is wrong use.
APPLIED: Final = 0
REFUSED: Final = 1
RESTART: Final = 3


class PlainOptions(Options):
    """
    None.
    """


class ReloadOptions(Options):
    """
    How to reload.
    """

    longdesc = (
        "Every node reads its files and says what it would do; then all of them do"
        " it, or none.  Exit status: 0 when everything that changed is in force, 1"
        " when it was refused and nothing changed, 3 when something needs a restart."
    )
    optFlags = [
        ["dry-run", "n", "only tell what would be"],
        ["local", "l", "on this node only"],
        ["force", "f", "take an older config_version, too"],
        ["json", "j", "print the report as JSON"],
    ]


async def reload(client: NodeClient, options: Options) -> int:
    """
    Read the configuration again, and print what became of it.
    """
    report = await client.cfg.reload(
        dryRun=bool(options["dry-run"]),
        force=bool(options["force"]),
        local=bool(options["local"]),
    )
    text = json.dumps(envelope("cfg-reload", **report), indent=2)
    sys.stdout.write((text if options["json"] else told(report)) + "\n")
    if report["status"] == "refused":
        return REFUSED
    return RESTART if report["restart"] else APPLIED


def told(report: dict[str, Any]) -> str:
    """
    A report for people.
    """
    lines = []
    wouldBe = "" if report["status"] == "applied" else "would be "
    for nodeid, node in report["nodes"].items():
        lines += _nodeTold(nodeid, node, {"applied": f"{wouldBe}applied"})
    reason = f": {report['reason']}" if report["reason"] else ""
    restart = "; some values need a restart" if report["restart"] else ""
    return "\n".join([*lines, f"{_STATUS[report['status']]}{reason}{restart}"])


_STATUS: Final = {
    "applied": "Applied",
    "checked": "Nothing was changed, as asked",
    "refused": "Refused; nothing was changed",
}


def _nodeTold(nodeid: str, node: dict[str, Any], verdicts: dict[str, str]) -> list[str]:
    if "unknown" in node:
        return [f"node {nodeid}: {node['unknown']}"]
    lines = [f"node {nodeid}: {_summary(node)}"]
    lines += [f"  {problem}" for problem in node["problems"]]
    for key in node["keys"]:
        old, new = ("(none)" if key[at] is None else key[at] for at in ("old", "new"))
        why = f" ({key['reason']})" if key["reason"] else ""
        verdict = verdicts.get(key["verdict"], key["verdict"])
        lines.append(f"  {key['key']}: {old} -> {new}: {verdict}{why}")
    if node["more"]:
        lines.append(f"  and {node['more']} more")
    return lines


def _summary(node: dict[str, Any]) -> str:
    if node["refused"]:
        return "refuses"
    changed = len(node["keys"]) + node["more"]
    if changed == 1:
        return "1 value differs"
    return f"{changed} values differ" if changed else "nothing differs"


async def reopen(client: NodeClient, options: Options) -> int:
    """
    Open the log files of the node anew.
    """
    await client.cfg.reopenLogs()
    return APPLIED


async def dump(client: NodeClient, options: Options) -> int:
    """
    Write the flight recorder of the node, and print where it is.
    """
    path = await client.cfg.dump()
    sys.stdout.write(f"{path}\n")
    return APPLIED
