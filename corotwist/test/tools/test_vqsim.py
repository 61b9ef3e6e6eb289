"""
C{corotwist vqsim}: votes tried out on simulated nodes.
"""

import json
import re
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.tools.schemas import differences
from corotwist.tools import vqsim
from corotwist.tools.vqcluster import configuration

NODE = "    node {{\n        nodeid: {}\n        ring0_addr: host{}.example\n{}    }}\n"


class VqsimTests(SynchronousTestCase):
    """
    Whole runs.
    """

    def setUp(self) -> None:
        # A long way from the seven letters that corosync-vqsim takes.
        self.file = Path(self.mktemp()).absolute()
        self.configure()

    def configure(self, quorum: str = "", votes: str = "", nodes: int = 3) -> None:
        entries = "".join(
            NODE.format(number, number, votes if number == 1 else "")
            for number in range(1, nodes + 1)
        )
        self.file.write_text(
            "totem {\n    version: 2\n    transport: knet\n}\n"
            f"quorum {{\n    provider: corosync_votequorum\n{quorum}}}\n"
            f"nodelist {{\n{entries}}}\n"
        )

    def run_(self, *lines: str, options: tuple[str, ...] = ()) -> tuple[int, list[str]]:
        """
        @return: exit status, and the lines of standard output.
        """
        output, self.errors = StringIO(), StringIO()
        self.patch(sys, "stdin", StringIO("".join(f"{line}\n" for line in lines)))
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", self.errors)
        status = vqsim.run(["-c", str(self.file), *options])
        return status, output.getvalue().splitlines()

    def results(self, *lines: str) -> list[str]:
        """
        What is told after the start, without the ids of rings.
        """
        status, told = self.run_(*lines)
        self.assertEqual(status, 0, self.errors.getvalue())
        lines = tuple(line.replace("#vqsim> ", "") for line in told)
        return [_short(line) for line in lines if line][3:]

    def test_line(self) -> None:
        """
        The nodes of a file of any name are up; each is a line, behind the
        prompt. (C25, F17)
        """
        status, told = self.run_("show", "exit", "show")
        self.assertEqual((status, len(told)), (0, 7))
        pattern = r"0:1: q=1 ring=\[1\.[0-9a-f]+\] nodes=\[1 2 3\]$"
        self.assertRegex(told[0], "^" + pattern)
        self.assertRegex(told[3], "^#vqsim> " + pattern)
        self.assertEqual(told[6], "#vqsim> ")

    def test_partitions(self) -> None:
        """
        Nodes are moved into partitions, and these joined. (C25, F17)
        """
        self.assertEqual(
            self.results("split 1:3", "join 0 1", "move 2:1,2"),
            [
                *("0:1: q=1 [1 2]", "0:2: q=1 [1 2]", "1:3: q=0 [3]"),
                *("0:1: q=1 [1 2 3]", "0:2: q=1 [1 2 3]", "0:3: q=1 [1 2 3]"),
                *("0:3: q=0 [3]", "2:1: q=1 [1 2]", "2:2: q=1 [1 2]"),
            ],
        )

    def test_upAndDown(self) -> None:
        """
        Nodes end and start. (C25, F17)
        """
        self.assertEqual(
            self.results("down 1,2", "up 2", "up 1:1"),
            [
                "0:3: q=0 [3]",
                *("0:2: q=1 [2 3]", "0:3: q=1 [2 3]"),
                *("0:2: q=1 [2 3]", "0:3: q=1 [2 3]", "1:1: q=0 [1]"),
            ],
        )

    def test_votes(self) -> None:
        """
        Votes and options are those of the file. (C25, F17)
        """
        self.configure("    wait_for_all: 1\n", "        quorum_votes: 3\n")
        self.assertEqual(
            self.results("split 1:1", "down 2,3", "down 1", "up 1"),
            [
                *("0:2: q=0 [2 3]", "0:3: q=0 [2 3]", "1:1: q=1 [1]"),
                "1:1: q=1 [1]",
                "0:1: q=0 [1]",
            ],
        )

    def test_autofence(self) -> None:
        """
        Nodes that may not act are ended while others may. (C25, F17)
        """
        self.assertEqual(
            self.results("autofence on", "split 1:3", "show"),
            ["0:1: q=1 [1 2]", "0:2: q=1 [1 2]"] * 2,
        )

    def test_sync(self) -> None:
        """
        Without waiting nothing is told until somebody looks; time goes by when
        that is wanted. (C25, F17)
        """
        told = self.results("sync off", "split 1:3", "wait 500")
        self.assertEqual(told, ["0:1: q=1 [1 2]", "0:2: q=1 [1 2]", "1:3: q=0 [3]"])
        status, lines = self.run_("wait 500", options=("-n",))
        self.assertEqual((status, len(lines)), (0, 4))

    def test_timeout(self) -> None:
        """
        When nodes do not agree in time that is told, and when that is asserted
        it is the end. (C25, F17)
        """
        told = self.results("timeout 1", "split 1:3")
        self.assertEqual(told[0], "the nodes do not agree after 1 ms")
        status, _ = self.run_("timeout 1", "assert on", "split 1:3", "show")
        self.assertEqual(status, 1)
        self.assertIn("do not agree after 1 ms", self.errors.getvalue())

    def test_device(self) -> None:
        """
        A device is registered where the file has one. (C25, F17)
        """
        self.run_("qdevice on 1", "show")
        self.assertIn("no quorum.device", self.errors.getvalue())
        disk = "        disk {\n            path: /dev/quorum\n        }\n"
        device = f"    device {{\n        model: disk\n        votes: 1\n{disk}    }}\n"
        self.configure(device, nodes=2)
        status, lines = self.run_("qdevice on 1,2", options=("--json",))
        self.assertEqual(status, 0, self.errors.getvalue())
        nodes = json.loads(lines[1])["nodes"]
        self.assertEqual([n["flags"][-1] for n in nodes], ["Qdevice", "Qdevice"])
        self.assertEqual([n["votes"] for n in nodes], [3, 3])

    def test_json(self) -> None:
        """
        For programs each result is a document, as documented. (C25, F17, F21)
        """
        status, lines = self.run_("timeout 1", "split 1:3", options=("--json",))
        told = [json.loads(line) for line in lines]
        self.assertEqual([differences(one) for one in told], [[], [], []])
        self.assertEqual((status, told[0]["nodes"][0]["members"]), (0, [1, 2, 3]))
        self.assertIn("do not agree", told[1]["text"])

    def test_output(self) -> None:
        """
        Results go to a file, the prompt does not. (C25, F17)
        """
        target = Path(self.mktemp())
        status, lines = self.run_("help", "quit", options=("-o", str(target)))
        self.assertEqual((status, lines), (0, ["#vqsim> #vqsim> "]))
        text = target.read_text()
        self.assertEqual(len(text.splitlines()), 3 + len(vqsim.HELP.splitlines()))

    def test_wrongCommands(self) -> None:
        """
        What makes no sense is told, and the next command done. (C25, F17)
        """
        wrong = (
            *("nonsense", "up", "up 1", "up 9", "down", "down 8", "move", "move 99:1"),
            *("join 0", "join a b", "qdevice maybe 1", "autofence", "timeout 0"),
            *("show 1", "wait x", "qdevice on"),
        )
        status, told = self.run_(*wrong, "# comment", "", "show")
        self.assertEqual((status, len(told)), (0, 7))
        complaints = self.errors.getvalue().splitlines()
        self.assertEqual(len(complaints), len(wrong), complaints)

    def test_wrongFiles(self) -> None:
        """
        A file that is no use is told, with status 1. (C25, F17)
        """
        self.file.write_text("totem {\n    version: 2\n}\n")
        self.assertEqual(self.run_("show")[0], 1)
        self.assertIn("nodelist", self.errors.getvalue())
        self.file.unlink()
        self.assertEqual(self.run_("show")[0], 1)
        self.assertEqual(self.run_("show", options=("-x",))[0], 1)

    def test_configuration(self) -> None:
        """
        Of a file what matters to votes is taken, and nothing of the network.
        """
        self.configure("    two_node: 1\n", "        quorum_votes: 2\n", nodes=2)
        text, nodeids = configuration(str(self.file))
        self.assertEqual(nodeids, (1, 2))
        self.assertIn("two_node: 1", text)
        self.assertIn("quorum_votes: 2", text)
        self.assertNotIn("example", text)


def _short(line: str) -> str:
    """
    A result without the id of its ring.
    """
    return re.sub(r"ring=\[.*\] nodes=", "", line)
