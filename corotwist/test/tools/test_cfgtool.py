"""
C{corotwist cfgtool}: what is printed, and with which status it ends.
"""

import io
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from attrs import Factory, define, evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.values import Value, string, u32
from corotwist.engines.operatorinterfaces import (
    Insistence,
    LinkStatus,
    NodeStatus,
    Objection,
)
from corotwist.errors import (
    AccessDenied,
    Busy,
    Disconnected,
    NotExist,
    ServiceError,
    Vetoed,
)
from corotwist.tools import cfgtool
from corotwist.tools.cfgtool import CfgOptions, perform

# Recorded from corosync-cfgtool 3.1.7, transport knet.
STATUS = """\
Local node ID 1, transport knet
LINK ID 0 udp
\taddr\t= 10.99.0.1
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\tconnected
\t\tnodeid:          3:\tdisconnected
"""
BRIEF = """\
Local node ID 1, transport knet
LINK ID 0 udp
\taddr\t= 10.99.0.1
\tstatus\t= n31
"""
NODES = """\
Local node ID 1, transport knet
nodeid: 2 reachable
   LINK: 0 udp (10.99.0.1->10.99.0.2) enabled connected mtu: 1397

"""
# Transport udpu.
UDPU_STATUS = """\
Local node ID 1, transport udpu
LINK ID 0 \n\taddr\t= 10.99.0.1
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\tconnected
\t\tnodeid:          3:\tdisconnected
"""
UDPU_NODES = """\
Local node ID 1, transport udpu
nodeid: 2 reachable
   LINK: 0  (10.99.0.2) enabled connected mtu: 1397

"""


def status(nodeid: int, *, there: bool = True) -> NodeStatus:
    """
    A node with one link.
    """
    link = LinkStatus(True, there, False, 1397, "10.99.0.1", f"10.99.0.{nodeid}")
    return NodeStatus(nodeid, there, False, False, 0, 0, 0, (link,))


@define
class FakeKeys:
    """
    Keys of a node.
    """

    values: dict[str, Value]

    def get(self, name: str) -> Deferred[Value]:
        if name not in self.values:
            return fail(NotExist(name))
        return succeed(self.values[name])

    async def iterate(self, prefix: str) -> AsyncIterator[tuple[str, Value]]:
        for name, value in self.values.items():
            if name.startswith(prefix):
                yield name, value


@define
class FakeNode:
    """
    Node 1 of three, and what it is asked.
    """

    nodeid: int = 1
    nodes: dict[int, NodeStatus] = Factory(
        lambda: {1: status(1), 2: status(2), 3: status(3, there=False)}
    )
    error: ServiceError | None = None
    report: dict[str, Any] = Factory(dict)
    asked: list[Any] = Factory(list)
    keys: dict[str, Value] = Factory(
        lambda: {
            "nodelist.node.0.nodeid": u32(3),
            "nodelist.node.0.ring0_addr": string("n3"),
            "nodelist.node.1.nodeid": u32(1),
            "nodelist.node.2.nodeid": u32(2),
            "totem.transport": string("knet"),
        }
    )

    @property
    def cfg(self) -> "FakeNode":
        return self

    @property
    def cmap(self) -> FakeKeys:
        return FakeKeys(self.keys)

    def _answer(self, *asked: Any, value: Any = None) -> Deferred[Any]:
        self.asked.append(asked)
        return succeed(value) if self.error is None else fail(self.error)

    def localGet(self) -> Deferred[int]:
        return succeed(1)

    def nodeStatus(self, nodeid: int) -> Deferred[NodeStatus]:
        if nodeid not in self.nodes:
            return fail(NotExist("no such node"))
        return succeed(self.nodes[nodeid])

    def nodeAddresses(self, nodeid: int) -> Deferred[tuple[str, ...]]:
        return self._answer(nodeid, value=(f"10.99.0.{nodeid}",))

    def reload(self, *, dryRun: bool) -> Deferred[Any]:
        return self._answer("reload", dryRun, value=self.report)

    def reopenLogs(self) -> Deferred[None]:
        return self._answer("reopen")

    def killNode(self, nodeid: int, reason: str) -> Deferred[None]:
        return self._answer("kill", nodeid, reason)

    def tryShutdown(self, how: Insistence) -> Deferred[Any]:
        return self._answer("stop", how, value=(Objection(5, "app", "says no"),))


class ToolCase(SynchronousTestCase):
    """
    A node, and a terminal.
    """

    def setUp(self) -> None:
        self.node = FakeNode()

    def tool(self, *argv: str) -> tuple[int, str, str]:
        """
        Exit status, output and errors of a command line.
        """
        output, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        options = CfgOptions()
        client: Any = self.node
        try:
            options.parseOptions(list(argv))
            done = Deferred.fromCoroutine(perform(client, options))
            code = self.successResultOf(done)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, output.getvalue(), errors.getvalue()

    def json(self, *argv: str) -> tuple[int, Any]:
        """
        Likewise, what is printed for programs.
        """
        code, output, errors = self.tool("--json", *argv)
        self.assertEqual((output.count("\n"), errors), (1, ""))
        return code, json.loads(output)


class StatusTests(ToolCase):
    """
    Nodes and links.
    """

    def test_status(self) -> None:
        """
        Links are shown as by corosync-cfgtool, in short and in long form, with
        short and long options. (F9)
        """
        for argv in (("-s",), ("--status",), ("-s", "-i", "5"), ("-i", "0", "-s")):
            self.assertEqual(self.tool(*argv), (0, STATUS, ""))
        for short in (["-sb"], ["-bs"], ["--brief", "--status"]):
            self.assertEqual(self.tool(*short), (0, BRIEF, ""))

    def test_nodes(self) -> None:
        """
        Nodes that can be reached are shown as by corosync-cfgtool; of several
        actions the last counts. (F9)
        """
        for argv in (("-n",), ("--nodes",), ("-s", "-n")):
            self.assertEqual(self.tool(*argv), (0, NODES, ""))

    def test_udpu(self) -> None:
        """
        A transport without protocols of its own has none in the text. (F9)
        """
        del self.node.keys["totem.transport"]
        self.assertEqual(self.tool("-s"), (0, UDPU_STATUS, ""))
        self.assertEqual(self.tool("-n"), (0, UDPU_NODES, ""))

    def test_marks(self) -> None:
        """
        What is not known has a question mark; a link of unknown address and
        nodes of other kinds are told. (F9)
        """
        del self.node.nodes[3]
        other = status(2)
        link = evolve(other.links[0], dynconnected=True)
        self.node.nodes[2] = evolve(other, links=(link,), remote=True, external=True)
        self.assertIn("\tstatus\t= n7?\n", self.tool("-sb")[1])
        told = self.tool("-n")[1]
        self.assertIn("nodeid: 2 reachable remote external\n", told)
        self.assertIn(" enabled connected dynconnected mtu: 1397\n", told)

    def test_noNodelist(self) -> None:
        """
        Without a list of nodes there is nothing to show. (F9)
        """
        self.node.keys.clear()
        for option in ("-s", "-n"):
            told = self.tool(option)
            self.assertEqual(told, (1, "", "No nodes found in nodelist\n"))

    def test_check(self) -> None:
        """
        The exit status tells health only when it is asked to. (F9)
        """
        self.assertEqual(self.tool("-s", "--check")[0], 3)
        down = evolve(status(3).links[0], connected=False)
        self.node.nodes[3] = evolve(status(3), links=(down,))
        self.assertEqual(self.tool("-s", "--check")[0], 2)
        self.node.nodes[3] = status(3)
        self.assertEqual(self.tool("-s", "--check")[0], 0)

    def test_address(self) -> None:
        """
        The addresses of a node. (F9)
        """
        self.assertEqual(self.tool("-a", "2"), (0, "10.99.0.2\n", ""))
        self.node.error = NotExist("no node")
        told = (1, "", "Could not get node address for nodeid 99\n")
        self.assertEqual(self.tool("--address", "99"), told)

    def test_json(self) -> None:
        """
        Programs get the same with a schema. (F9, F21)
        """
        code, told = self.json("-s")
        self.assertEqual((code, told["schema"]), (0, "corotwist/cfgtool-status/1"))
        self.assertEqual((told["nodeid"], told["transport"]), (1, "knet"))
        self.assertEqual(told["links"], [{"link": 0, "address": "10.99.0.1"}])
        known = [(n["nodeid"], n["local"], n["reachable"]) for n in told["nodes"]]
        self.assertEqual(known, [(1, True, True), (2, False, True), (3, False, False)])
        code, told = self.json("-a", "2")
        self.assertEqual(told["addresses"], ["10.99.0.2"])


class ActTests(ToolCase):
    """
    What is done.
    """

    REPORT: dict[str, Any] = {
        "status": "applied",
        "reason": "",
        "restart": False,
        "nodes": {},
    }

    def test_reload(self) -> None:
        """
        A reload is told in corosync's words, whether or not something needs a
        restart; the exit status tells that only when it is asked to. (F7, F9)
        """
        self.node.report = {**self.REPORT, "restart": True}
        told = (0, "Reloading corosync.conf...\nDone\n", "")
        self.assertEqual(self.tool("-R"), told)
        code, output, _ = self.tool("--reload", "--strict")
        self.assertEqual(code, 6)
        self.assertIn("some values need a restart", output)
        self.node.report = {**self.REPORT, "status": "checked"}
        code, output, _ = self.tool("-R", "--dry-run")
        self.assertEqual(code, 0)
        self.assertIn("Nothing was changed, as asked", output)
        asked = [("reload", False), ("reload", False), ("reload", True)]
        self.assertEqual(self.node.asked, asked)

    def test_refused(self) -> None:
        """
        A reload that is refused has the number of corosync's error, and the
        reason. (F7, F9)
        """
        self.node.report = {**self.REPORT, "status": "refused", "reason": "by node 2"}
        code, output, errors = self.tool("-R")
        self.assertEqual((code, output), (7, "Reloading corosync.conf...\n"))
        self.assertEqual(
            errors.splitlines(),
            [
                "Could not reload configuration. Error CS_ERR_INVALID_PARAM",
                "Refused; nothing was changed: by node 2",
            ],
        )
        self.node.error = Busy("another reload")
        code, _, errors = self.tool("-R")
        self.assertEqual(code, 10)
        self.assertIn("Error CS_ERR_BUSY\nanother reload\n", errors)
        code, told = self.json("-R")
        self.assertEqual((code, told["done"], told["error"]), (10, False, "Busy"))

    def test_reopen(self) -> None:
        """
        Logs are opened anew without a word. (F7, F9)
        """
        self.assertEqual(self.tool("-L"), (0, "", ""))
        self.assertEqual(self.tool("--reopen"), (0, "", ""))
        self.node.error = AccessDenied("you may not")
        what = "Could not reopen corosync logging files. Error CS_ERR_ACCESS\n"
        self.assertEqual(self.tool("-L"), (1, "", what))

    def test_kill(self) -> None:
        """
        A node is killed with a reason. (F3, F9)
        """
        self.assertEqual(self.tool("-k", "2"), (0, "Killing node 2\n", ""))
        self.tool("--kill", "3", "--reason", "it lies")
        asked = [("kill", 2, cfgtool.KILLED), ("kill", 3, "it lies")]
        self.assertEqual(self.node.asked, asked)
        self.node.error = NotExist("no member")
        told = "Could not kill node (error = CS_ERR_NOT_EXIST)\n"
        self.assertEqual(self.tool("-k", "77"), (1, "Killing node 77\n", told))

    def test_killOurselves(self) -> None:
        """
        Who kills the node that it asks may hear nothing any more. (F9)
        """
        self.node.error = Disconnected("gone")
        self.assertEqual(self.tool("-k", "1"), (0, "Killing node 1\n", ""))
        told = "Could not kill node (error = CS_ERR_LIBRARY)\n"
        self.assertEqual(self.tool("-k", "2"), (1, "Killing node 2\n", told))

    def test_shutdown(self) -> None:
        """
        This node is stopped; a veto is told, with whose it is. (F4, F9)
        """
        told = (0, "Shutting down corosync\n", "")
        self.assertEqual(self.tool("-H"), told)
        self.assertEqual(self.tool("--shutdown", "--force"), told)
        asked = [("stop", Insistence.REQUEST), ("stop", Insistence.REGARDLESS)]
        self.assertEqual(self.node.asked, asked)
        code, report = self.json("-H", "--force")
        self.assertEqual(report["objections"][0]["name"], "app")
        self.node.error = Vetoed("process 5 (app) says no")
        code, _, errors = self.tool("-H")
        self.assertEqual(code, 1)
        told_ = "Could not shutdown (error = 10)\nprocess 5 (app) says no\n"
        self.assertEqual(errors, told_)

    def test_nothing(self) -> None:
        """
        Who asks for nothing, or for help, is told what there is. (F9)
        """
        for argv in ((), ("-h",), ("--help",), ("-b",)):
            code, output, errors = self.tool(*argv)
            self.assertEqual((code, errors), (0, ""))
            self.assertTrue(output.startswith("corotwist cfgtool [[-i "), output)

    def test_badNodeid(self) -> None:
        """
        A nodeid that is none is refused before anybody is asked. (F9)
        """
        wrong = "The nodeid was not valid, try a positive number\n"
        for argv in (("-k", "abc"), ("-a", "0"), ("-k", str(1 << 32))):
            self.assertEqual(self.tool(*argv), (1, "", wrong))
        self.assertEqual(self.node.asked, [])

    def test_wrongUse(self) -> None:
        """
        Unknown options are told on one line; then what there is. (F9)
        """
        for argv in (["-x"], ["--bogus"], ["-k"]):
            errors = io.StringIO()
            self.patch(sys, "stderr", errors)
            self.assertEqual(cfgtool.run(argv), 1)
            self.assertTrue(errors.getvalue().startswith("corotwist cfgtool: "))
