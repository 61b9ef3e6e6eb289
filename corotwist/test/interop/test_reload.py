"""
Reloads of rings of unmodified corosync nodes and ours.
"""

import sys
from collections.abc import Sequence
from typing import Final

from corotwist.test.interop.peers import Peer
from corotwist.test.interop.test_interop import RingCase
from corotwist.tools.lab import ROOT, Lab, configuration, until

RELOAD_SECONDS: Final = 15.0
# Added by corosync for the third node.
COEFFICIENT: Final = 650
OUR_TOOL: Final = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "corotwist")


def edit(lab: Lab, token: int) -> None:
    """
    Another token timeout in everybody's file.
    """
    text = configuration(lab.size, "udpu", {"totem": {"token": str(token)}})
    for nodeid in lab.nodeids:
        (lab.place(nodeid) / "etc" / "corosync.conf").write_text(text)


def inForce(lab: Lab, nodeid: int) -> int:
    """
    The token timeout that a real node goes by.
    """
    told = lab.run(nodeid, "corosync-cmapctl", "-g", "runtime.config.totem.token")
    return int(told.rpartition("=")[2])


def reloaded(lab: Lab, nodeid: int, times: int) -> None:
    """
    Wait until a node of ours has reloaded so many times.
    """
    until(
        lambda: lab.log(nodeid).count("Reloaded: 1 values applied") >= times,
        RELOAD_SECONDS,
        f"node {nodeid} reloaded {times} times: {lab.log(nodeid)[-2000:]}",
    )


class ReloadTests(RingCase):
    """
    Two real nodes, and one of ours.
    """

    def test_together(self) -> None:
        """
        C{corosync-cfgtool -R} on a real node makes ours reload, and
        C{corotwist cfg reload} on ours makes the real ones; everybody stays
        in the ring. (F7, A44)
        """
        self.tell(3, [2], "udpu", self.story)

    def story(self, lab: Lab, peers: dict[int, Peer]) -> None:
        views = [peer.views() for peer in peers.values()]
        edit(lab, 2000)
        lab.run(1, "corosync-cfgtool", "-R")
        reloaded(lab, 2, 1)
        self.everywhere(lab, (1, 3), 2000 + COEFFICIENT)
        edit(lab, 3000)
        told = lab.run(2, *OUR_TOOL, "cfg", "reload")
        self.assertIn("totem.token: 2000 -> 3000: applied", told)
        self.assertIn("node 3: a node of corosync", told)
        reloaded(lab, 2, 2)
        self.everywhere(lab, (1, 3), 3000 + COEFFICIENT)
        self.assertEqual([peer.views() for peer in peers.values()], views)

    def everywhere(self, lab: Lab, nodeids: Sequence[int], token: int) -> None:
        """
        Wait until real nodes go by this timeout.
        """
        for nodeid in nodeids:
            until(
                lambda nodeid=nodeid: inForce(lab, nodeid) == token,  # type: ignore[misc]
                RELOAD_SECONDS,
                f"node {nodeid} goes by {token}; {inForce(lab, nodeid)}",
            )
