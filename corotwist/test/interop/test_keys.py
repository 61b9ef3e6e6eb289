"""
Keys of nodes of ours and of unmodified corosync nodes in one ring.
"""

import sys
from collections.abc import Sequence

from corotwist.test.interop.peers import VIEW_SECONDS, Peer
from corotwist.test.interop.test_interop import RingCase, quorate
from corotwist.tools.lab import ROOT, Lab, LabFailed, until

OURS = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "corotwist", "cmapctl")
REAL = ("corosync-cmapctl",)


def ask(lab: Lab, nodeid: int, *arguments: str) -> str:
    """
    What the node's own tool prints; what it complains of, if it fails.
    """
    program = OURS if nodeid in lab.ours else REAL
    try:
        return lab.run(nodeid, *program, *arguments)
    except LabFailed as error:
        return str(error)


def shows(lab: Lab, nodeid: int, name: str, expected: str) -> None:
    """
    Wait until a node shows a key like that.
    """
    line = f"{name} {expected}"
    until(
        lambda: ask(lab, nodeid, "-g", name).strip() == line,
        VIEW_SECONDS,
        f"node {nodeid} to show {line}; it shows {ask(lab, nodeid, '-g', name)}",
    )


class KeyTests(RingCase):
    """
    Two nodes of ours with a real one between them.
    """

    def test_mixed(self) -> None:
        """
        Versions of the configuration are heard in both directions, when nodes
        meet and when one changes; members are shown alike; and keys that all of
        our nodes have alike are none of the real node's business (E12).
        """

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            self._versions(lab)
            self._members(lab)
            self._replicated(lab)
            lab.kill(2)
            lab.start(2)
            quorate(lab, 2)
            shows(lab, 1, "runtime.members.2.join_count", "(u32) = 2")
            shows(lab, 3, "cluster.colour", "(str) = blue")

        self.tell(3, (1, 3), "udpu", story)

    def _versions(self, lab: Lab) -> None:
        self._set(lab, 1, ("totem.config_version", "u64", "8"))
        self._set(lab, 2, ("totem.config_version", "u64", "9"))
        shows(lab, 2, "runtime.members.1.config_version", "(u64) = 8")
        shows(lab, 3, "runtime.members.2.config_version", "(u64) = 9")

    def _members(self, lab: Lab) -> None:
        """
        What is alike on nodes of both kinds.
        """
        prefixes = ("runtime.members.1.", "runtime.members.2.ip", "nodelist.node.")
        self.assertEqual(ask(lab, 1, *prefixes), ask(lab, 2, *prefixes))

    def _replicated(self, lab: Lab) -> None:
        self._set(lab, 1, ("cluster.colour", "str", "red"))
        shows(lab, 3, "cluster.colour", "(str) = red")
        self._set(lab, 3, ("cluster.colour", "str", "blue"))
        shows(lab, 1, "cluster.colour", "(str) = blue")
        self.assertIn("CS_ERR_NOT_EXIST", ask(lab, 2, "-g", "cluster.colour"))
        self.assertTrue(lab.running(2))

    def _set(self, lab: Lab, nodeid: int, words: Sequence[str]) -> None:
        self.assertEqual(ask(lab, nodeid, "-s", *words), "")
