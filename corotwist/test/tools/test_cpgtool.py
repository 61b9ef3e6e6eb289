"""
C{corotwist cpgtool}: what corosync-cpgtool 3.1.7 prints.
"""

import json
import sys
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.interfaces import Member
from corotwist.test.tools.quorumfakes import FakeMap, nodelist
from corotwist.test.tools.schemas import differences
from corotwist.tools import cpgtool
from corotwist.tools.cpgtool import CpgToolOptions, perform

ODD = b"a\tb\x01\xff\\x"
LAYOUT = """\
Group Name\t       PID\t   Node ID
a\\x09b\\x01\\xFF\\\\x
\t\t     14401\t         1 (10.88.0.1)
demo
\t\t     14401\t         1 (10.88.0.1)
\t\t     14402\t         2 (10.88.0.2 10.89.0.2)
"""


@define(eq=False)
class FakeGroups:
    """
    L{ProcessGroups<corotwist.ipc.groups.ProcessGroups>}.
    """

    known: dict[bytes, tuple[Member, ...]] = field(factory=dict)

    def groups(self) -> Deferred[tuple[bytes, ...]]:
        return succeed(tuple(sorted(self.known)))

    def members(self, name: bytes) -> Deferred[tuple[Member, ...]]:
        return succeed(self.known[name])


class FakeNode:
    """
    L{NodeInquiry<corotwist.ipc.status.NodeInquiry>}.
    """

    def statistics(self, section: str) -> Deferred[dict[str, Any]]:
        return succeed({"section": section, "sent": 7, "batches": 3, "local": {}})


@define(eq=False)
class FakeClient:
    """
    Two groups on two nodes.
    """

    groups: FakeGroups
    cmap: FakeMap
    node: FakeNode = field(factory=FakeNode)


class ToolTestCase(SynchronousTestCase):
    """
    What is printed.
    """

    def setUp(self) -> None:
        first, second = Member(1, 14401), Member(2, 14402)
        keys = nodelist(
            (1, "one", ("10.88.0.1",)), (2, "two", ("10.88.0.2", "10.89.0.2"))
        )
        known = {b"demo": (first, second), ODD: (first,), b"left": ()}
        self.client = FakeClient(FakeGroups(known), FakeMap(keys))
        self.clock = Clock()
        self.bytes = BytesIO()
        self.patch(sys, "stdout", TextIOWrapper(self.bytes, encoding="utf-8"))

    def start(self, *arguments: str) -> Deferred[int]:
        options = CpgToolOptions()
        options.parseOptions(list(arguments))
        options.clock = self.clock
        client: Any = self.client
        return Deferred.fromCoroutine(perform(client, options))

    def printed(self) -> bytes:
        text = self.bytes.getvalue()
        self.bytes.truncate(0)
        self.bytes.seek(0)
        return text

    def ask(self, *arguments: str) -> bytes:
        self.assertEqual(self.successResultOf(self.start(*arguments)), 0)
        return self.printed()

    def test_layout(self) -> None:
        """
        Groups with their members and where these are. (F12)
        """
        self.assertEqual(self.ask().decode(), LAYOUT)

    def test_delimiter(self) -> None:
        """
        A line for each member, for programs of old. (F12)
        """
        self.assertEqual(
            self.ask("-d", ",").decode(),
            "GRP_NAME,PID,NODEID\n"
            "a\\x09b\\x01\\xFF\\\\x,14401,1\n"
            "demo,14401,1\n"
            "demo,14402,2\n",
        )

    def test_names(self) -> None:
        """
        Names only; with a delimiter on one line. (F12)
        """
        self.assertEqual(self.ask("-n"), b"a\\x09b\\x01\\xFF\\\\x\ndemo\n")
        self.assertEqual(self.ask("-nd", ","), b"a\\x09b\\x01\\xFF\\\\x,demo,\n")

    def test_raw(self) -> None:
        """
        Names are their bytes when that is wanted. (F12)
        """
        self.assertEqual(self.ask("-ne"), ODD + b"\ndemo\n")
        self.assertIn(b"\n" + ODD + b"\n\t\t", self.ask("-e"))

    def test_json(self) -> None:
        """
        The same for programs, as documented. (F12, F21)
        """
        found = json.loads(self.ask("--json"))
        self.assertEqual(differences(found), [])
        self.assertEqual(found["schema"], "corotwist/cpgtool/1")
        self.assertEqual(bytes.fromhex(found["groups"][0]["hex"]), ODD)
        members = found["groups"][1]["members"]
        self.assertEqual(members[1]["addresses"], ["10.88.0.2", "10.89.0.2"])
        counted = json.loads(self.ask("--json", "-s"))
        self.assertEqual(differences(counted), [])
        self.assertEqual(counted["statistics"]["section"], "cpg")

    def test_statistics(self) -> None:
        """
        Counters of the service. (F12)
        """
        self.assertTrue(self.ask("-s").decode().endswith("batches = 3\nsent = 7\n"))

    def test_watch(self) -> None:
        """
        Shown again when something changed, and only then. (F12)
        """
        running = self.start("-w", "--interval", "0.5", "-n")
        self.assertEqual(self.printed(), b"a\\x09b\\x01\\xFF\\\\x\ndemo\n")
        self.clock.advance(0.5)
        self.assertEqual(self.printed(), b"")
        del self.client.groups.known[ODD]
        self.clock.advance(0.5)
        self.assertEqual(self.printed(), b"\ndemo\n")
        self.assertNoResult(running)

    def test_wrongUse(self) -> None:
        """
        Wrong use is status 1. (F12)
        """
        self.patch(sys, "stderr", StringIO())
        for wrong in (["-x"], ["-d"], ["--interval", "0"]):
            self.assertEqual(cpgtool.run(wrong), 1)
