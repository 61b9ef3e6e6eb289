"""
C{corotwist cfgtool}: nodes and links, reloads and ends of nodes, with the options
and the output of corosync-cfgtool.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from attrs import asdict

from corotwist.engines.operatorinterfaces import Insistence
from corotwist.errors import Disconnected, ServiceError, Vetoed
from corotwist.ipc.client import NodeClient
from corotwist.tools import asking, cfgreload
from corotwist.tools.asking import DONE, FAILED, NodeOptions, Tool, printJson, problem
from corotwist.tools.keyprinter import errorName
from corotwist.tools.linkfacts import LinkFacts, NoNodelist, gather

NAME: Final = "cfgtool"
# Exit statuses of --check and --strict.
LINK_DOWN: Final = 2
UNREACHABLE: Final = 3
RESTART: Final = 6
MOST_NODEID: Final = 0xFFFFFFFF
BAD_NODEID: Final = "The nodeid was not valid, try a positive number"
KILLED: Final = "Killed by corotwist cfgtool"

_USAGE: Final = """\
corotwist cfgtool [[-i <interface ip>] [-b] -s [--check]] [-n] [-R [--dry-run]
        [--strict]] [-L] [-k nodeid [--reason text]] [-a nodeid] [-h] [-H [--force]]

A tool for displaying and configuring active parameters within a running node.
options:
\t-i\tFinds only information about the specified interface IP address or link\
 id when used with -s.
\t-s\tDisplays the status of the current links on this node.
\t\t--check makes the exit status tell: 2 when a link is down, 3 when a node\
 is not reachable.
\t-n\tDisplays the status of the connected nodes and their links.
\t-b\tDisplays the brief status of the current links on this node when used\
 with -s.
\t-R\tTell all nodes of this cluster to read their configuration again.
\t\t--dry-run only tells what would be, --strict makes the exit status 6\
 when something needs a restart; both tell what becomes of each key.
\t-L\tTell the node to open its log files anew.
\t-k\tKill a node identified by node id.
\t\t--reason says why, for the logs and views of all nodes.
\t-a\tDisplay the IP address(es) of a node
\t-h\tPrint basic usage.
\t-H\tShutdown this node cleanly.
\t\t--force will shut it down regardless of vetos.
\t--json\tPrint JSON.
\t--socket PATH, --state-dir PATH, --timeout SECONDS: which node, and how long\
 to wait for it.
"""


class CfgOptions(NodeOptions):
    """
    What C{corotwist cfgtool} understands.  Of several actions the last counts,
    as in the original.

    @ivar action: what to do.
    """

    synopsis = _USAGE
    optFlags = [
        ["brief", "b", "one mark for each node"],
        ["check", None, "have the exit status tell health"],
        ["dry-run", None, "only tell what would be"],
        ["strict", None, "exit status 6 when something needs a restart"],
        ["force", None, "regardless of vetos"],
    ]
    optParameters = [
        ["if", "i", None, "a link or its address"],
        ["reason", None, KILLED, "why to kill"],
    ]
    action = ""

    def getUsage(self, width: int | None = None) -> str:
        """
        The original's, and what we have besides.
        """
        return _USAGE

    def opt_status(self) -> None:
        """
        Links.
        """
        self.action = "status"

    def opt_nodes(self) -> None:
        """
        Nodes.
        """
        self.action = "nodes"

    def opt_reload(self) -> None:
        """
        Configuration.
        """
        self.action = "reload"

    def opt_reopen(self) -> None:
        """
        Logs.
        """
        self.action = "reopen"

    def opt_kill(self, nodeid: str) -> None:
        """
        End a node.
        """
        self.action, self["nodeid"] = "kill", _nodeid(nodeid)

    def opt_address(self, nodeid: str) -> None:
        """
        Addresses of a node.
        """
        self.action, self["nodeid"] = "address", _nodeid(nodeid)

    def opt_shutdown(self) -> None:
        """
        End this node.
        """
        self.action = "shutdown"

    def opt_help(self) -> None:
        """
        Usage.
        """
        sys.stdout.write(_USAGE)
        raise SystemExit(DONE)

    opt_s = opt_status
    opt_n = opt_nodes
    opt_R = opt_reload
    opt_L = opt_reopen
    opt_k = opt_kill
    opt_a = opt_address
    opt_H = opt_shutdown
    opt_h = opt_help

    def postOptions(self) -> None:
        """
        Who asks for nothing is told what there is.
        """
        if not self.action:
            self.opt_help()


def _nodeid(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) <= MOST_NODEID):
        sys.stderr.write(f"{BAD_NODEID}\n")
        raise SystemExit(FAILED)
    return int(text)


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status: 0, or 1 for whatever went wrong; a reload that is
        refused has the number of the error; 2, 3 and 6 when they are asked for.
    """
    return asking.run(Tool(NAME, CfgOptions, perform), argv)


async def perform(client: NodeClient, options: Any) -> int:
    """
    What the command line says, with a connected client.
    """
    return await _ACTIONS[options.action](client, options)


def _say(text: str, options: Any) -> None:
    """
    For people only.
    """
    if not options["json"]:
        sys.stdout.write(text)
        sys.stdout.flush()


def _complain(text: str, error: ServiceError, options: Any) -> None:
    if options["json"]:
        printJson(f"{NAME}-{options.action}", done=False, **problem(error))
    else:
        sys.stderr.write(f"{text}\n")


def _done(options: Any, **content: Any) -> int:
    if options["json"]:
        printJson(f"{NAME}-{options.action}", done=True, **content)
    return DONE


# Nodes and links.


async def _status(client: NodeClient, options: Any) -> int:
    try:
        facts = await gather(client)
    except NoNodelist as error:
        _complain(str(error), error, options)
        return FAILED
    if options["json"]:
        printJson(f"{NAME}-{options.action}", **facts.json())
    elif options.action == "nodes":
        sys.stdout.write(facts.reachable())
    else:
        sys.stdout.write(facts.links(brief=bool(options["brief"]), which=options["if"]))
    return _health(facts) if options["check"] else DONE


def _health(facts: LinkFacts) -> int:
    if facts.unreachable():
        return UNREACHABLE
    return LINK_DOWN if facts.linkDown() else DONE


async def _address(client: NodeClient, options: Any) -> int:
    nodeid = options["nodeid"]
    try:
        addresses = await client.cfg.nodeAddresses(nodeid)
    except ServiceError as error:
        _complain(f"Could not get node address for nodeid {nodeid}", error, options)
        return FAILED
    _say(" ".join(addresses) + "\n", options)
    return _done(options, nodeid=nodeid, addresses=list(addresses))


# Configuration and logs.


async def _reload(client: NodeClient, options: Any) -> int:
    dryRun, strict = bool(options["dry-run"]), bool(options["strict"])
    _say("" if dryRun else "Reloading corosync.conf...\n", options)
    try:
        report = await client.cfg.reload(dryRun=dryRun)
    except ServiceError as error:
        _complain(_notReloaded(errorName(error), str(error)), error, options)
        return error.code
    refused = report["status"] == "refused"
    if options["json"]:
        printJson(f"{NAME}-reload", done=not refused, **report)
    elif dryRun or strict:
        sys.stdout.write(cfgreload.told(report) + "\n")
    elif refused:
        told = _notReloaded("CS_ERR_INVALID_PARAM", cfgreload.told(report))
        sys.stderr.write(f"{told}\n")
    else:
        sys.stdout.write("Done\n")
    if refused:
        return _INVALID
    return RESTART if strict and report["restart"] else DONE


# CS_ERR_INVALID_PARAM.
_INVALID: Final = 7


def _notReloaded(name: str, why: str) -> str:
    return f"Could not reload configuration. Error {name}\n{why}"


async def _reopen(client: NodeClient, options: Any) -> int:
    try:
        await client.cfg.reopenLogs()
    except ServiceError as error:
        what = f"Could not reopen corosync logging files. Error {errorName(error)}"
        _complain(what, error, options)
        return FAILED
    return _done(options)


# The end of nodes.


async def _kill(client: NodeClient, options: Any) -> int:
    nodeid, reason = options["nodeid"], options["reason"]
    ours = client.nodeid
    _say(f"Killing node {nodeid}\n", options)
    try:
        await client.cfg.killNode(nodeid, reason)
    except ServiceError as error:
        # Who kills the node that it asks may have no answer.
        if not (isinstance(error, Disconnected) and nodeid == ours):
            what = f"Could not kill node (error = {errorName(error)})"
            _complain(what, error, options)
            return FAILED
    return _done(options, nodeid=nodeid, reason=reason)


async def _shutdown(client: NodeClient, options: Any) -> int:
    _say("Shutting down corosync\n", options)
    how = Insistence.REGARDLESS if options["force"] else Insistence.REQUEST
    try:
        objections = await client.cfg.tryShutdown(how)
    except ServiceError as error:
        what = f"Could not shutdown (error = {error.code})"
        who = f"\n{error}" if isinstance(error, Vetoed) else ""
        _complain(what + who, error, options)
        return FAILED
    return _done(options, objections=[asdict(one) for one in objections])


_ACTIONS: Final[Mapping[str, Callable[[NodeClient, Any], Awaitable[int]]]] = {
    "status": _status,
    "nodes": _status,
    "reload": _reload,
    "reopen": _reopen,
    "kill": _kill,
    "address": _address,
    "shutdown": _shutdown,
}
