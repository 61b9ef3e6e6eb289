"""
C{corotwist quorumtool}: what corosync-quorumtool 3.1.7 prints, to the byte.
"""

import json
import sys
from io import StringIO
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.values import string
from corotwist.engines.quoruminterfaces import VoteFlag
from corotwist.errors import Disconnected, InvalidParameter, NameNotFound, NotSupported
from corotwist.test.tools.quorumfakes import (
    WHEN,
    FakeQuorumClient,
    nodelist,
    threeNodes,
)
from corotwist.test.tools.schemas import differences
from corotwist.tools import quorumtool
from corotwist.tools.asking import FAILED
from corotwist.tools.quorumtool import NOT_QUORATE, QuorumOptions, perform
from corotwist.totem.membership import RingId

STATUS = """\
Quorum information
------------------
Date:             Fri Nov 21 22:24:05 2025
Quorum provider:  corosync_votequorum
Nodes:            3
Node ID:          1
Ring ID:          1.d
Quorate:          Yes

Votequorum information
----------------------
Expected votes:   3
Highest expected: 3
Total votes:      3
Quorum:           2\x20\x20
Flags:            Quorate\x20
"""
LIST = """
Membership information
----------------------
    Nodeid      Votes Name
         1          1 n1 (local)
         2          1 n2
         3          1 n3
"""
DEVICE = """
Membership information
----------------------
    Nodeid      Votes    Qdevice Name
         2          1  NA,NV,NMW alpha (local)
        11          1         NR beta
         0          0            Disk7 (votes 1)
"""
REGISTERED = VoteFlag.QUORATE | VoteFlag.DEVICE_REGISTERED


def withDevice(flags: VoteFlag = REGISTERED) -> FakeQuorumClient:
    """
    Two nodes with two links each, and a device at the first.
    """
    client = threeNodes(2)
    client.cmap.keys = nodelist(
        (2, "alpha", ("10.88.0.1", "10.89.0.1")),
        (11, "beta", ("10.88.0.2", "10.89.0.2")),
    )
    client.cmap.keys["quorum.provider"] = string("corosync_votequorum")
    client.node.answer = evolve(client.node.answer, members=(2, 11))
    first, second = client.votequorum.infos[2], client.votequorum.infos[3]
    first = evolve(first, flags=flags, deviceVotes=1, deviceName="Disk7")
    client.votequorum.infos = {2: first, 11: evolve(second, nodeid=11)}
    return client


class ToolTestCase(SynchronousTestCase):
    """
    What is printed.
    """

    def setUp(self) -> None:
        self.client = threeNodes()
        self.output, self.errors = StringIO(), StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)

    def start(self, *arguments: str) -> Deferred[int]:
        options = QuorumOptions()
        options.parseOptions(list(arguments))
        client: Any = self.client
        return Deferred.fromCoroutine(perform(client, options, lambda: WHEN))

    def ask(self, *arguments: str) -> tuple[int, str]:
        self.output.truncate(0)
        self.output.seek(0)
        status = self.successResultOf(self.start(*arguments))
        return status, self.output.getvalue()

    def refused(self, kind: type[Exception], *arguments: str) -> str:
        return str(self.failureResultOf(self.start(*arguments), kind).value)


class TextTests(ToolTestCase):
    """
    For people, and for scripts that read what is for people.
    """

    def test_status(self) -> None:
        """
        The status, blanks at the ends of lines included, is what is shown
        unless something else is asked for. (F10)
        """
        for arguments in ((), ("-s",), ("-s", "-l"), ("-a",), ("-n", "2"), ("-s", "x")):
            self.assertEqual(self.ask(*arguments), (0, STATUS + LIST), arguments)

    def test_list(self) -> None:
        """
        Nodes alone, however they are to be ordered. (F10)
        """
        for order in ("a", "n", "i"):
            self.assertEqual(self.ask("-l", "-o", order), (0, LIST))

    def test_order(self) -> None:
        """
        By name and by number are not the same. (F10)
        """
        self.client.cmap.keys["nodelist.node.0.name"] = string("z")
        rows = self.ask("-lon")[1].splitlines()[4:]
        self.assertEqual([row.split()[0] for row in rows], ["2", "3", "1"])
        rows = self.ask("-loi")[1].splitlines()[4:]
        self.assertEqual([row.split()[0] for row in rows], ["1", "2", "3"])

    def test_notQuorate(self) -> None:
        """
        Without quorum that is told, and is status 2; not for a list. (F10)
        """
        self.client.node.answer = evolve(
            self.client.node.answer, quorate=False, members=(1,), ringId=RingId(22, 1)
        )
        own = self.client.votequorum.infos[1]
        own = evolve(own, totalVotes=1, flags=VoteFlag(0))
        self.client.votequorum.infos = {1: own}
        status, text = self.ask("-s")
        self.assertEqual(status, NOT_QUORATE)
        for line in (
            "Nodes:            1\n",
            "Ring ID:          1.16\n",
            "Quorate:          No\n",
            "Quorum:           2 Activity blocked\n",
            "Flags:            \n",
        ):
            self.assertIn(line, text)
        self.assertEqual(self.ask("-l")[0], 0)

    def test_flags(self) -> None:
        """
        Flags are words in a certain order, each with a blank behind it. (F10)
        """
        every = VoteFlag(sum(VoteFlag))
        own = self.client.votequorum.infos[1]
        self.client.votequorum.infos[1] = evolve(own, flags=every, deviceName="d")
        self.assertIn(
            "Flags:            2Node Quorate WaitForAll LastManStanding"
            " AutoTieBreaker AllowDownscale Qdevice \n",
            self.ask()[1],
        )

    def test_hexadecimal(self) -> None:
        """
        Nodeids in hexadecimal; never the ring's id. (F10)
        """
        text = self.ask("-sH")[1]
        self.assertIn("Node ID:          0x00000001\nRing ID:          1.d\n", text)
        self.assertIn("\n0x00000003          1 n3\n", text)

    def test_addresses(self) -> None:
        """
        Addresses instead of names: the first, or all; of several names of a
        node the commas. (F10)
        """
        self.client = withDevice()
        for arguments, first, second in (
            ("-li", "10.88.0.1 (local)", "10.88.0.2"),
            ("-lia", "10.88.0.1, 10.89.0.1 (local)", "10.88.0.2, 10.89.0.2"),
            ("-la", "alpha,  (local)", "beta, "),
        ):
            rows = self.ask(arguments)[1].splitlines()
            self.assertEqual((rows[4][33:], rows[5][33:]), (first, second))

    def test_nameless(self) -> None:
        """
        A node without a name is called as it was configured; one that was not
        configured, as it was met.
        """
        keys = nodelist((1, "", ("db1.example",)))
        met = string("r(0) ip(10.99.0.2) r(1) ip(10.98.0.2) ")
        keys["runtime.members.2.ip"] = met
        keys["quorum.provider"] = string("corosync_votequorum")
        self.client.cmap.keys = keys
        rows = self.ask("-l")[1].splitlines()[4:]
        names = [row[22:] for row in rows]
        self.assertEqual(names, ["db1.example (local)", "10.99.0.2", ""])

    def test_device(self) -> None:
        """
        A device has a column and a line of its own; -p shows the column without
        one. (F10)
        """
        self.client = withDevice()
        self.assertEqual(self.ask("-l")[1], DEVICE)
        flags = REGISTERED | VoteFlag.DEVICE_ALIVE | VoteFlag.DEVICE_CAST_VOTE
        self.client = withDevice(flags)
        rows = self.ask("-lH")[1].splitlines()
        self.assertEqual(rows[4], "0x00000002          1    A,V,NMW alpha (local)")
        self.assertEqual(rows[6], "0x00000000          1            Disk7")
        self.client = withDevice(flags | VoteFlag.DEVICE_MASTER_WINS)
        self.assertIn("     A,V,MW alpha", self.ask("-l")[1])
        self.client = threeNodes()
        self.assertIn("         1          1         NR n1", self.ask("-p")[1])

    def test_noProvider(self) -> None:
        """
        Without a provider there is no status, as in corosync, and the list has
        no votes. (F10)
        """
        self.client = threeNodes(provider="")
        text = self.refused(NotSupported, "-s")
        start = "Unable to start votequorum status tracking: CS_ERR_BAD_HANDLE"
        self.assertTrue(text.startswith(start))
        status, text = self.ask("-lp")
        self.assertEqual((status, text.splitlines()[3]), (0, "    Nodeid Name"))

    def test_otherProvider(self) -> None:
        """
        A provider that counts no votes has a status without them.
        """
        self.client = threeNodes(provider="majority")
        status, text = self.ask("-s")
        self.assertEqual(status, 0)
        head, tail = text.split("\n\n")
        self.assertTrue(head.endswith("Quorate:          Yes"))
        self.assertTrue(tail.startswith("Membership information\n"))


class ChangeTests(ToolTestCase):
    """
    Writing.
    """

    def test_done(self) -> None:
        """
        What was changed is not told; our own node is meant unless another one
        is named. (F10)
        """
        for arguments in (("-e", "5"), ("-v", "0", "-n", "3"), ("-v", "2"), ("-f",)):
            self.assertEqual(self.ask(*arguments), (0, ""))
        done = [("expected", 5), ("votes", 3, 0), ("votes", 1, 2)]
        self.assertEqual(self.client.votequorum.asked, done)
        self.client = withDevice()
        self.assertEqual(self.ask("-f"), (0, ""))
        self.assertEqual(self.client.votequorum.asked, [("unregister", "Disk7")])

    def test_refused(self) -> None:
        """
        What cannot be changed is an error with corosync's name for it. (F10)
        """
        self.assertEqual(
            self.refused(InvalidParameter, "-e", "2"),
            "Unable to set expected votes: CS_ERR_INVALID_PARAM: 3 votes are here",
        )
        self.assertEqual(
            self.refused(NameNotFound, "-v", "2", "-n", "77"),
            "Unable to set votes 2 for nodeid: 77: CS_ERR_NAME_NOT_FOUND: nobody"
            " heard of it",
        )
        self.client.votequorum.counting = False
        text = self.refused(NotSupported, "-e", "5")
        self.assertIn("You cannot change expected votes, nobody counts votes", text)

    def test_numbers(self) -> None:
        """
        What is no number is told in corosync's words, and is status 1. (F10)
        """
        for arguments, words in (
            (["-e", "0"], "New expected votes value was not valid, try a positive"),
            (["-e", "abc"], "New expected votes value was not valid"),
            (["-v", "-1"], "New votes value was not valid, try a positive number or"),
            (["-n", "0"], "The nodeid was not valid"),
            (["-o", "z"], "Invalid ordering option. valid orders are a(address), i("),
            (["-x"], "option -x not recognized"),
            (["-v"], "option -v requires argument"),
        ):
            self.errors.truncate(0)
            self.assertEqual(quorumtool.run(arguments), FAILED)
            self.assertIn(words, self.errors.getvalue())

    def test_version(self) -> None:
        """
        The version, and help. (F10)
        """
        for option in ("-V", "-h", "--help", "--version"):
            self.assertEqual(quorumtool.run([option]), 0)
        self.assertIn("corosync-quorumtool version: ", self.output.getvalue())
        for option in ("-s", "-m", "-l", "-a", "-p", "-v", "-n", "-e", "-H", "-i"):
            self.assertIn(f"\n  {option}, ", self.output.getvalue())


class MonitorTests(ToolTestCase):
    """
    Following.
    """

    def test_blocks(self) -> None:
        """
        A block at each verdict, with an empty line behind it. (F10)
        """
        running = self.start("-m")
        follower = self.client.quorum.follower
        assert follower is not None
        assert follower.quorumChanged is not None
        for number in (1, 2):
            follower.quorumChanged(True, RingId(13, 1), (1, 2, 3))
            self.assertEqual(self.output.getvalue(), (STATUS + LIST + "\n") * number)
        self.assertNoResult(running)

    def test_nodeGone(self) -> None:
        """
        While the node is gone that is told; a question that has no answer at
        all ends it. (F10)
        """
        running = self.start("-m", "--json")
        follower = self.client.quorum.follower
        assert follower is not None
        assert follower.quorumChanged is not None
        self.client.node.failing = Disconnected("not connected")
        follower.quorumChanged(True, RingId(13, 1), (1,))
        self.assertEqual(json.loads(self.output.getvalue())["error"], "Disconnected")
        self.assertNoResult(running)
        self.client.node.failing = NotSupported("no command node.status")
        follower.quorumChanged(True, RingId(13, 1), (1,))
        self.failureResultOf(running, NotSupported)

    def test_notConfigured(self) -> None:
        """
        Where nobody counts votes there is nothing to follow. (F10)
        """
        self.client = threeNodes(provider="")
        text = self.refused(NotSupported, "-m")
        self.assertIn("Quorum is not configured - cannot monitor", text)


class JsonTests(ToolTestCase):
    """
    For programs.
    """

    def document(self, *arguments: str) -> Any:
        found = json.loads(self.ask("--json", *arguments)[1])
        self.assertEqual(differences(found), [])
        return found

    def test_status(self) -> None:
        """
        The same facts, as documented. (F10, F21)
        """
        found = self.document()
        self.assertEqual(found["schema"], "corotwist/quorumtool/1")
        self.assertEqual(found["ringId"], {"representative": 1, "sequence": 13})
        self.assertEqual(found["votes"]["flags"], ["Quorate"])
        names = [
            (node["name"], node["local"], node["votes"]) for node in found["nodes"]
        ]
        self.assertEqual(names, [("n1", True, 1), ("n2", False, 1), ("n3", False, 1)])
        self.client = withDevice()
        found = self.document("-l")
        self.assertEqual(found["device"], {"name": "Disk7", "votes": 1, "casting": 0})
        self.assertEqual([bool(n["device"]) for n in found["nodes"]], [True, False])

    def test_noProvider(self) -> None:
        """
        Programs are told that there is no provider; it is no error.
        """
        self.client = threeNodes(provider="")
        found = self.document()
        self.assertEqual((found["provider"], found["votes"]), (None, None))

    def test_changed(self) -> None:
        """
        What was changed is told. (F21)
        """
        self.assertEqual(self.document("-e", "5")["changed"], {"expectedVotes": 5})
        self.assertEqual(self.document("-f")["changed"], {"device": ""})
        changed = {"nodeid": 3, "votes": 0}
        self.assertEqual(self.document("-v", "0", "-n", "3")["changed"], changed)
