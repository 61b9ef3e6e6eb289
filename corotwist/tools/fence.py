"""
C{corotwist fence}: which lost nodes have to be off, and to confirm that one is.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

from twisted.python.usage import UsageError

from corotwist.errors import NotSupported
from corotwist.ipc.client import NodeClient
from corotwist.ipc.fencing import NodeFencing
from corotwist.tools import asking
from corotwist.tools.asking import DONE, NodeOptions, Tool, printJson

NAME: Final = "fence"
ACTIONS: Final = ("status", "confirm")
_USAGE: Final = (
    "Usage: corotwist fence [options] status\n"
    "       corotwist fence [options] confirm NODE [--reason TEXT]"
)


class FenceOptions(NodeOptions):
    """
    What can be said.
    """

    synopsis = _USAGE
    longdesc = (
        "confirm says that a lost node is off, in the place of the fence agent: what"
        " it had is given to others from then on. Look before you say it."
    )
    optParameters = [
        ["reason", "r", "", "how you know, for the logs of all nodes"],
    ]

    words = ACTIONS

    def parseArgs(self, action: str = "status", nodeid: str = "") -> None:
        if action not in ACTIONS:
            raise UsageError(f"{action!r} is neither status nor confirm")
        if (action == "confirm") != bool(nodeid):
            raise UsageError("confirm needs a nodeid, status does not")
        if nodeid and not nodeid.isdecimal():
            raise UsageError(f"{nodeid!r} is no nodeid")
        self["action"], self["nodeid"] = action, int(nodeid or 0)


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status.
    """
    return asking.run(Tool(NAME, FenceOptions, _perform), argv)


async def _perform(client: NodeClient, options: Any) -> int:
    try:
        return await _done(client, options)
    except NotSupported as error:
        raise NotSupported(
            "this node fences nobody: it has no fencing.agent"
        ) from error


async def _done(client: NodeClient, options: Any) -> int:
    fencing = NodeFencing(client.ask)
    if options["action"] == "confirm":
        nodeid = options["nodeid"]
        await fencing.confirm(nodeid, options["reason"] or "no reason given")
        if options["json"]:
            printJson("fence-confirm", nodeid=nodeid)
        else:
            sys.stdout.write(f"Node {nodeid} counts as off\n")
        return DONE
    status = await fencing.status()
    if options["json"]:
        printJson("fence-status", **status)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(status)))
    return DONE


def lines(status: dict[str, Any]) -> list[str]:
    """
    What is known, for people.
    """
    armed = ", ".join(map(str, status["armed"])) or "none"
    told = [f"Agent {status['agent']}; nodes with an agent: {armed}"]
    for nodeid, case in status["cases"].items():
        state = "off" if case["off"] else f"not confirmed off, {case['attempts']} tries"
        told.append(f"Node {nodeid}: {state}: {case['text']}")
    return told if status["cases"] else [*told, "No node is lost"]
