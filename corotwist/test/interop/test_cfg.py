"""
The cfg service in rings of unmodified corosync nodes and ours.
"""

import re
import subprocess
import sys
from typing import Final

from corotwist.test.interop.peers import Peer
from corotwist.test.interop.test_interop import RingCase
from corotwist.tools.lab import ROOT, Lab, until

SECONDS: Final = 15.0
REAL_TOOL: Final = ("corosync-cfgtool",)
OUR_TOOL: Final = (
    *("env", f"PYTHONPATH={ROOT}", sys.executable),
    *("-m", "corotwist", "cfgtool"),
)


def ended(lab: Lab, nodeid: int) -> int:
    """
    Wait until a daemon has ended; with which status.
    """
    until(lambda: not lab.running(nodeid), SECONDS, f"the end of node {nodeid}")
    pid = lab.daemons[nodeid]
    (status,) = [child.returncode for child in lab._children if child.pid == pid]
    return int(status)


def logged(lab: Lab, nodeid: int, words: str) -> None:
    """
    Wait until a daemon has logged so.
    """
    until(lambda: words in lab.log(nodeid), SECONDS, f"{words!r} at node {nodeid}")


class CfgTests(RingCase):
    """
    Nodes 1 and 3 are real, node 2 is ours.
    """

    def test_together(self) -> None:
        """
        Both tools tell the same of a node; each kind has the other one killed,
        with the reason in its log; and a shutdown there is no concern of ours.
        (F3, F4, F6, F9, H2)
        """
        self.tell(3, [2], "udpu", self.story)

    def story(self, lab: Lab, peers: dict[int, Peer]) -> None:
        self.same(lab)
        self.kills(lab)
        self.shutdown(lab)

    def tool(self, lab: Lab, nodeid: int, *arguments: str) -> tuple[int, str, str]:
        """
        Exit status, output and errors of the tool of that node's kind.
        """
        tool = OUR_TOOL if nodeid in lab.ours else REAL_TOOL
        done = subprocess.run(
            [*lab.inside(nodeid), *tool, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout, done.stderr

    def same(self, lab: Lab) -> None:
        """
        What nodes 1 and 2 say of node 3, and of what is wrong.
        """
        for arguments in (("-a", "3"), ("-a", "99"), ("-k", "77"), ("-k", "x")):
            real, ours = (self.tool(lab, nodeid, *arguments) for nodeid in (1, 2))
            self.assertEqual(ours, real)
        self.assertEqual(self.ofThree(lab, 2), self.ofThree(lab, 1))
        status = self.tool(lab, 2, "-s")[1]
        address = self.tool(lab, 2, "-a", "2")[1]
        self.assertIn(f"LINK ID 0 \n\taddr\t= {address}\tstatus:\n", status)

    def ofThree(self, lab: Lab, nodeid: int) -> list[str]:
        """
        What a tool says of node 3.  The largest datagram is each node's own
        affair.
        """
        texts = [self.tool(lab, nodeid, option)[1] for option in ("-s", "-n")]
        lines = texts[0].splitlines()[-1:]
        lines += texts[1].partition("nodeid: 3")[2].splitlines()
        return [re.sub(r"mtu: \d+", "mtu: n", line) for line in lines]

    def kills(self, lab: Lab) -> None:
        """
        Node 1 has node 2 killed; then, the other way round, node 3.
        """
        told = self.tool(lab, 1, "-k", "2")
        self.assertEqual(told, (0, "Killing node 2\n", ""))
        self.assertEqual(ended(lab, 2), 255)
        self.assertIn("killed by node 1: Killed by corosync-cfgtool", lab.log(2))
        before = lab.log(2).count("Services synchronized")
        lab.start(2)
        until(
            lambda: (
                lab.log(2).count(": nodes (1, 2, 3)") > 1
                and lab.log(2).count("Services synchronized") > before
            ),
            SECONDS,
            "a ring of all three again",
        )
        told = self.tool(lab, 2, "-k", "3", "--reason", "it lies")
        self.assertEqual(told, (0, "Killing node 3\n", ""))
        self.assertEqual(ended(lab, 3), 255)
        self.assertIn("Killed by node 2 : it lies", lab.log(3))
        logged(lab, 2, ": nodes (1, 2)")

    def shutdown(self, lab: Lab) -> None:
        """
        Node 1 stops, and then ours, each telling the other.
        """
        lab.start(3)
        until(lambda: lab.log(2).count(": nodes (1, 2, 3)") > 2, SECONDS, "all three")
        told = self.tool(lab, 1, "-H")
        self.assertEqual(told, (0, "Shutting down corosync\n", ""))
        self.assertEqual(ended(lab, 1), 0)
        logged(lab, 2, "Node 1 is going to stop")
        logged(lab, 2, ": nodes (2, 3)")
        self.assertTrue(lab.running(2))
        told = self.tool(lab, 2, "-H")
        self.assertEqual(told, (0, "Shutting down corosync\n", ""))
        self.assertEqual(ended(lab, 2), 0)
        logged(lab, 3, "Node 2 was shut down by sysadmin")
        self.assertNotIn(
            "Failed to receive the leave message. failed: 2", lab.log(3)[-3000:]
        )
