"""
C{corotwist why}: why a node left, why the view changed, from what the node that is
asked has on record.
"""

from collections.abc import Sequence
from typing import Any, Final

from twisted.python.usage import UsageError

from corotwist.engines.interfaces import ViewRecord
from corotwist.ipc.client import NodeClient
from corotwist.ipc.views import recordJson
from corotwist.tools import asking
from corotwist.tools.accounts import about, account, standing
from corotwist.tools.asking import DONE, FAILED, NodeOptions, Tool, amount, printJson

# Changes that are told when nobody says how many.
TOLD: Final = 5


class WhyOptions(NodeOptions):
    """
    What C{corotwist why} understands.
    """

    synopsis = "Usage: corotwist why [options] [NODE]"
    longdesc = (
        "Tells the changes that NODE came or went with, by its id, or the latest"
        " changes of all; the latest last. The exit status is 1 when nothing is known"
        " of NODE."
    )
    optParameters = [["last", "n", TOLD, "how many changes to tell", amount]]

    def parseArgs(self, node: str | None = None) -> None:  # type: ignore[override]
        """
        The one argument.
        """
        if node is not None and not node.isdecimal():
            raise UsageError(f"a node is named by its id, a number, not {node!r}")
        self["node"] = None if node is None else int(node)


async def _perform(client: NodeClient, options: Any) -> int:
    records: Sequence[ViewRecord] = await client.views.history()
    node = options["node"]
    told = records if node is None else about(node, records)
    told = told[-options["last"] :]
    if options["json"]:
        printJson("why", node=node, changes=[recordJson(record) for record in told])
    else:
        for record in told:
            print("\n".join(account(record)))
        if node is not None:
            print(standing(node, records))
        elif not records:
            print("there was no view yet")
    return FAILED if node is not None and not told else DONE


TOOL: Final = Tool("why", WhyOptions, _perform)


def run(argv: Sequence[str]) -> int:
    """
    Ask, and tell.

    @return: the exit status.
    """
    return asking.run(TOOL, argv)
