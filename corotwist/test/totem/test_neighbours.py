"""
What is known of other nodes below the ring.
"""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import NotExist
from corotwist.test.totem.test_service import settings
from corotwist.totem.membership import LinkStatus, NodeStatus
from corotwist.totem.neighbours import Neighbours

HOSTS = {"10.0.0.1": 1, "10.0.0.2": 2, "10.0.0.3": 3}


class NeighboursTests(SynchronousTestCase):
    """
    Status from what was heard.
    """

    def setUp(self) -> None:
        self.settings = evolve(settings(1, 3), netmtu=1400)
        self.neighbours = Neighbours(self.settings, HOSTS)

    def link(self, nodeid: int, *, connected: bool, ago: float | None) -> LinkStatus:
        source = str(self.settings.bindAddress)
        destination = str(self.settings.nodes[nodeid - 1].addresses[0])
        return LinkStatus(0, True, connected, 1400, source, destination, ago)

    def status(self, nodeid: int, *members: int, now: float = 20.0) -> NodeStatus:
        return self.neighbours.status(nodeid, members, now, 2.0)

    def test_never(self) -> None:
        """
        Who was never heard and is no member is not there.
        """
        link = self.link(2, connected=False, ago=None)
        self.assertEqual(self.status(2), NodeStatus(2, False, (link,), None))

    def test_heard(self) -> None:
        """
        Who was heard lately is there, and a while later not any more.
        """
        self.neighbours.heard["10.0.0.2"] = 18.5
        link = self.link(2, connected=True, ago=1.5)
        self.assertEqual(self.status(2), NodeStatus(2, True, (link,), 1.5))
        late = self.status(2, now=21.0)
        self.assertFalse(late.reachable)
        self.assertEqual(late.lastHeard, 2.5)
        self.assertFalse(self.status(3).reachable)

    def test_member(self) -> None:
        """
        A member of our ring is there, heard or not.
        """
        status = self.status(3, 1, 3)
        self.assertEqual(status.links, (self.link(3, connected=True, ago=None),))
        self.assertTrue(status.reachable)

    def test_ourselves(self) -> None:
        """
        We always hear ourselves.
        """
        status = self.status(1)
        self.assertEqual((status.reachable, status.lastHeard), (True, 0.0))

    def test_unlisted(self) -> None:
        """
        Nothing is known of who is not in the node list.
        """
        self.assertRaises(NotExist, self.status, 9)

    def test_bounded(self) -> None:
        """
        Only addresses of the list are remembered, without our own.
        """
        self.assertEqual(set(self.neighbours.heard), {"10.0.0.2", "10.0.0.3"})
