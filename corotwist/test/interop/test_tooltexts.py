"""
Tools of ours and of corosync, each at a node of its kind in one ring: what they
print is the same.
"""

import re
import sys
from collections.abc import Callable

from corotwist.test.interop.peers import VIEW_SECONDS, Peer
from corotwist.test.interop.test_interop import RingCase, quorate
from corotwist.tools.lab import ROOT, Lab, until

OURS = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "corotwist")


def ask(lab: Lab, nodeid: int, tool: str, *arguments: str) -> tuple[int, str]:
    """
    @return: the exit status, and what the node's own tool prints, without what
        cannot be alike: the time, and which node it is.
    """
    ours = nodeid in lab.ours
    program = (*OURS, tool) if ours else (f"corosync-{tool}",)
    shell = ("sh", "-c", '"$@" 2>&1; echo "status $?"', "sh")
    told = lab.run(nodeid, *shell, *program, *arguments)
    text, _, status = told.rstrip().rpartition("status ")
    text = re.sub(r"^(Date|Node ID): .*$", r"\1:", text, flags=re.MULTILINE)
    return int(status), text.replace(" (local)", "")


class ToolTests(RingCase):
    """
    Nodes 1 and 3 are ours, node 2 is a real one.
    """

    def alike(
        self,
        lab: Lab,
        tool: str,
        *arguments: str,
        arranged: Callable[[str], str] = str,
    ) -> tuple[int, str]:
        """
        Soon both kinds of nodes tell the same.

        @param arranged: of the text.
        """

        def told() -> list[tuple[int, str]]:
            found = [ask(lab, n, tool, *arguments) for n in (1, 2)]
            return [(status, arranged(text)) for status, text in found]

        last = told()

        def agreed() -> bool:
            last[:] = told()
            return last[0] == last[1]

        until(agreed, VIEW_SECONDS, f"{tool} {arguments} to be alike: {last}")
        return last[0]

    def test_quorumtool(self) -> None:
        """
        corosync-quorumtool at the real node and ours at ours print the same
        facts in the same bytes, with the same exit status: of all options, after
        changes from both sides, and without quorum. (F10)
        """

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            quorate(lab, 2)
            for options in ("-s", "-l", "-i", "-a", "-lp", "-sH", "-o n", "-l -o i"):
                status, text = self.alike(lab, "quorumtool", *options.split())
                self.assertEqual(status, 0)
                self.assertIn("Membership information", text)
            self.assertEqual(ask(lab, 1, "quorumtool", "-v", "2")[0], 0)
            _, text = self.alike(lab, "quorumtool")
            self.assertIn("Total votes:      4\n", text)
            self.assertEqual(ask(lab, 2, "quorumtool", "-e", "5"), (0, ""))
            _, text = self.alike(lab, "quorumtool")
            self.assertIn("Expected votes:   5\n", text)
            for wrong in (("-e", "2"), ("-v", "1", "-n", "77")):
                found = [ask(lab, n, "quorumtool", *wrong) for n in (1, 2)]
                self.assertEqual([status for status, _ in found], [1, 1])
                words = re.findall("CS_ERR_[A-Z_]+", found[0][1] + found[1][1])
                self.assertEqual(words[0], words[1])
            lab.kill(1)
            lab.kill(3)
            quorate(lab, 2, "No")
            lab.start(1)
            quorate(lab, 2, "No")

        self.tell(3, (1, 3), "udpu", story)

    def test_cpgtool(self) -> None:
        """
        Both list the same groups and members, each in an order of its own.
        (F12)
        """

        def arranged(text: str) -> str:
            return "\n".join(sorted(text.splitlines()))

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            for options in ((), ("-n",), ("-d", ";")):
                status, text = self.alike(lab, "cpgtool", *options, arranged=arranged)
                self.assertEqual(status, 0)
                self.assertTrue(text)

        self.tell(3, (1, 3), "udpu", story)
