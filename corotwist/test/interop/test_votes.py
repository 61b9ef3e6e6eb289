"""
Votes, counted by real corosync nodes and ours in one ring.
"""

import signal
import sys
from collections.abc import Callable
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.test.interop.peers import VIEW_SECONDS
from corotwist.test.interop.test_interop import said
from corotwist.tools.lab import Lab, LabFailed, environment, missing, until

# What both tools print, and has to be the same on all nodes of a ring.
FACTS: Final = ("Nodes", "Quorate", "Expected votes", "Highest expected", "Total votes")
PROVIDER: Final = {"provider": "corosync_votequorum"}


def ours(lab: Lab, nodeid: int, *options: str) -> str:
    """
    What our own quorum tool prints; an error where it cannot.
    """
    path = f"PYTHONPATH={environment()['PYTHONPATH']}"
    tool = (sys.executable, "-m", "corotwist", "quorumtool", *options)
    return lab.run(nodeid, "env", path, *tool)


def facts(lab: Lab, nodeid: int) -> dict[str, str]:
    """
    What a node's own tool says, real or ours.
    """
    if nodeid not in lab.ours:
        return lab.quorum(nodeid)
    # It ends with 2 where the node may not act, as corosync's does.
    path = f"PYTHONPATH={environment()['PYTHONPATH']}"
    tool = f"{path} {sys.executable} -m corotwist quorumtool -s 2>&1 || true"
    lines = lab.run(nodeid, "sh", "-c", tool).splitlines()
    pairs = [line.partition(":") for line in lines if ":" in line]
    return {label.strip(): value.strip() for label, _, value in pairs}


class VotesTests(SynchronousTestCase):
    """
    Rings of both kinds.
    """

    def setUp(self) -> None:
        if problems := missing():
            raise SkipTest(f"no rings with real corosync: {', '.join(problems)}")

    def tell(
        self, size: int, mine: list[int], story: Callable[[Lab], None], **quorum: str
    ) -> None:
        options = {"quorum": {**PROVIDER, **quorum}}
        lab = Lab.build(size, mine, "udpu", options=options)
        try:
            lab.startAll()
            story(lab)
        except LabFailed as error:
            raise self.failureException(f"{error}\n{said(lab)}") from error
        finally:
            lab.down()

    def alike(self, lab: Lab, *nodeids: int, **wanted: str) -> None:
        """
        Wait until these nodes say the same, and that.
        """
        found: dict[int, dict[str, str]] = {}
        expected = {name.replace("_", " "): value for name, value in wanted.items()}

        def same() -> bool:
            for nodeid in nodeids:
                found[nodeid] = facts(lab, nodeid)
            said = [[f.get(name) for name in FACTS] for f in found.values()]
            alike = said.count(said[0]) == len(said) and None not in said[0]
            return alike and expected.items() <= found[nodeids[0]].items()

        try:
            until(same, VIEW_SECONDS, f"{expected} on nodes {nodeids}")
        except LabFailed as error:
            text = f"{error}: {found}\n{said(lab)}"
            raise self.failureException(text) from error

    def test_numbers(self) -> None:
        """
        Real nodes and ours count each other's votes, and what an operator
        changes on one kind changes on the other, both ways; their tools print
        the same facts.  (C2, C4, C20)
        """

        def story(lab: Lab) -> None:
            everybody = (1, 2, 3)
            self.alike(lab, *everybody, Quorate="Yes", Total_votes="3")
            lab.run(1, "corosync-quorumtool", "-e", "4")
            self.alike(lab, *everybody, Expected_votes="4", Quorum="3")
            ours(lab, 2, "-e", "3")
            self.alike(lab, *everybody, Expected_votes="3", Quorum="2")
            lab.run(1, "corosync-quorumtool", "-v", "2", "-n", "2")
            self.alike(lab, *everybody, Total_votes="4")
            ours(lab, 2, "-v", "3", "-n", "1")
            self.alike(lab, *everybody, Total_votes="6")

        self.tell(3, [2], story)

    def test_twoNodes(self) -> None:
        """
        A real node and ours with two_node wait for each other, and each goes on
        alone, with the same numbers.  (C5, C6)
        """

        def story(lab: Lab) -> None:
            self.alike(lab, 1, 2, Quorate="Yes", Total_votes="2")
            for gone, left in ((1, 2), (2, 1)):
                lab.kill(gone)
                self.alike(lab, left, Quorate="Yes", Total_votes="1")
                lab.kill(left)
                lab.start(left)
                self.alike(lab, left, Quorate="No", Total_votes="1")
                lab.start(gone)
                self.alike(lab, 1, 2, Quorate="Yes", Total_votes="2")

        self.tell(2, [2], story, two_node="1")

    def test_waitForAll(self) -> None:
        """
        With wait_for_all neither kind may act before all were there, and both
        take one in that comes late.  (C6)
        """

        def story(lab: Lab) -> None:
            self.alike(lab, 1, 2, 3, Quorate="Yes")
            for nodeid in (1, 2, 3):
                lab.kill(nodeid)
            for nodeid in (1, 2):
                lab.start(nodeid)
            self.alike(lab, 1, 2, Quorate="No", Total_votes="2")
            lab.start(3)
            self.alike(lab, 1, 2, 3, Quorate="Yes", Total_votes="3")
            for late in (3, 2):
                lab.kill(late)
                lab.start(late)
                self.alike(lab, 1, 2, 3, Quorate="Yes", Total_votes="3")

        self.tell(3, [2], story, wait_for_all="1")

    def test_warned(self) -> None:
        """
        With an option that is safe among our nodes only, ours says at once that
        it counts as a real member does.  (C7, C8)
        """

        def story(lab: Lab) -> None:
            self.alike(lab, 1, 2, 3, 4, Quorate="Yes")
            text = "two parts may act at once while they are here"
            until(lambda: text in lab.log(2), VIEW_SECONDS, "a warning")
            lab.partition((1, 2), (3, 4))
            self.alike(lab, 1, 2, Quorate="Yes", Total_votes="2")
            self.alike(lab, 3, 4, Quorate="No", Total_votes="2")

        self.tell(4, [2, 3], story, auto_tie_breaker="1")

    def test_leave(self) -> None:
        """
        With allow_downscale each kind of node is told by the other that it
        leaves for good, and expects fewer votes then; the quorum is a majority of
        what the file says, as the real ones have it.  (C10)
        """

        def story(lab: Lab) -> None:
            self.alike(lab, 1, 2, 3, 4, Quorate="Yes", Total_votes="4")
            lab.kill(3, signal.SIGTERM)
            self.alike(lab, 1, 2, 4, Expected_votes="3", Quorate="Yes")
            lab.kill(4, signal.SIGTERM)
            self.alike(lab, 1, 2, Expected_votes="2", Quorate="No")

        self.tell(4, [2, 3], story, allow_downscale="1")
