"""
The laboratory's own arithmetic; its network is tried by the mixed rings.
"""

import os

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.interop.peers import Heard, View, agree
from corotwist.tools.lab import Lab, LabFailed, configuration, missing, until


class Told:
    """
    Stands for a peer where only its nodeid and damage are asked for.
    """

    def __init__(self, nodeid: int, damaged: tuple[object, ...] = ()) -> None:
        self.nodeid = nodeid
        self.damaged = damaged


class ConfigurationTests(SynchronousTestCase):
    def test_everyNode(self) -> None:
        """
        One file serves all nodes, and lists each of them.
        """
        text = configuration(3, "udp", {"totem": {"token": "700", "netmtu": "9000"}})
        self.assertEqual(text.count("\tnode {\n"), 3)
        for line in ("\tring0_addr: 10.78.0.3\n", "\ttransport: udp\n"):
            self.assertIn(line, text)
        for line in ("\ttoken: 700\n", "\tnetmtu: 9000\n"):
            self.assertEqual(text.count(line), 1)


class BoundTests(SynchronousTestCase):
    def test_untilGivesUp(self) -> None:
        """
        What does not come true fails, and says what it was.
        """
        error = self.assertRaises(LabFailed, until, lambda: False, 0.0, "rain")
        self.assertIn("rain", str(error))

    def test_tooManyNodes(self) -> None:
        """
        A laboratory has a largest size; nothing is made beyond it.
        """
        self.assertRaises(LabFailed, Lab.build, 17, name="never")
        self.assertRaises(LabFailed, Lab.load, "never")

    def test_missingSaysWhat(self) -> None:
        """
        A machine without the programs is told which packages bring them.
        """
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = "/nonexistent"
        problems = missing()
        self.assertIn("no corosync (package corosync)", problems)
        self.assertIn("no ip (package iproute2)", problems)


class AgreeTests(SynchronousTestCase):
    A = Heard(1, 10, 100, 7)
    B = Heard(2, 20, 100, 8)

    def test_sameOrder(self) -> None:
        """
        Equal orders agree.
        """
        orders = [[self.A, self.B], [self.A, self.B]]
        order = agree([Told(1), Told(2)], orders)
        self.assertEqual(order, [self.A, self.B])

    def test_otherOrder(self) -> None:
        """
        The first place where two orders part is named.
        """
        orders = [[self.A, self.A, self.B], [self.A, self.B, self.A]]
        error = self.assertRaises(LabFailed, agree, [Told(1), Told(2)], orders)
        self.assertIn("node 2", str(error))
        self.assertIn("place 1", str(error))

    def test_oneShort(self) -> None:
        """
        A message that one of them did not hear is no agreement.
        """
        orders = [[self.A, self.B], [self.A]]
        error = self.assertRaises(LabFailed, agree, [Told(1), Told(2)], orders)
        self.assertIn("place 1", str(error))

    def test_damage(self) -> None:
        """
        A damaged message is no agreement, even if all have the same damage.
        """
        peers = [Told(1), Told(2, damaged=({"sequence": 5},))]
        error = self.assertRaises(LabFailed, agree, peers, [[self.A], [self.A]])
        self.assertIn("damaged on node 2", str(error))


class StepsTests(SynchronousTestCase):
    def test_steps(self) -> None:
        """
        A view in which a process left and another joined is compared in two
        steps, as real nodes show it; one in which only one happened as it is.
        """
        members, left, joined = ((1, 1), (2, 2)), ((2, 2, 3),), ((2, 2, 4),)
        self.assertEqual(
            View(members, left, joined).steps(),
            (View(((1, 1),), left, ()), View(members, (), joined)),
        )
        for one in (View(members, left, ()), View(members, (), joined)):
            self.assertEqual(one.steps(), (one,))
