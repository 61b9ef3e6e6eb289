"""
Stories about clients that follow quorum and votes of whole nodes.
"""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.ipc.quorum import QuorumFollower
from corotwist.ipc.votes import VoteFollower
from corotwist.simulator import Cluster, timingFor


class FollowingStories(SynchronousTestCase):
    """
    Three nodes that count votes, and a client of the first.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(
            3,
            services=True,
            timing=timingFor(0.2),
            quorum={"provider": "corosync_votequorum"},
        )
        self.cluster.settle()
        self.client = self.cluster.embed(1)
        self.told: list[tuple[Any, ...]] = []

    def test_partition(self) -> None:
        """
        Cut off, a client is told who left, then that it may not act; and back,
        who joined, and that it may: each with the same ring.  (C19, C21)
        """
        follower = QuorumFollower(
            lambda ring, *nodes: self.told.append((ring, *nodes)),
            lambda quorate, ring, members: self.told.append((ring, members, quorate)),
        )
        self.cluster.wait(self.client.quorum.track(follower))
        self.assertEqual(self._news(), [((1, 2, 3), (), ()), ((1, 2, 3), True)])
        self.cluster.partition({1}, {2, 3})
        self.cluster.settle()
        self.assertEqual(self._news(), [((1,), (), (2, 3)), ((1,), False)])
        self.cluster.heal()
        self.cluster.settle()
        news = self._news()
        self.assertEqual(news[-2:], [((1, 2, 3), (2, 3), ()), ((1, 2, 3), True)])

    def _news(self) -> list[tuple[Any, ...]]:
        """
        What was told; nodes and verdict are of one ring.
        """
        told, self.told = self.told, []
        for nodes, verdict in zip(told[::2], told[1::2], strict=True):
            self.assertEqual(nodes[0], verdict[0])
        return [one[1:] for one in told]

    def test_votes(self) -> None:
        """
        Votes are followed, asked and changed on all nodes through one client,
        and each decision is on record.  (C19, C20)
        """
        heard: list[Any] = []
        follower = VoteFollower(
            nodesChanged=lambda ring, members: heard.append(members),
            quorumChanged=lambda quorate, nodes: heard.append(quorate),
            expectedChanged=heard.append,
        )
        votes = self.client.votequorum
        self.cluster.wait(votes.track(follower))
        self.cluster.run(0.1)
        self.assertEqual(heard, [(1, 2, 3), True])
        self.cluster.wait(votes.setExpected(4))
        self.cluster.run(1.0)
        self.assertIn(4, heard)
        other = self.cluster.embed(3).votequorum
        self.cluster.wait(other.setVotes(2, nodeid=2))
        self.cluster.run(1.0)
        info = self.cluster.wait(votes.info(2))
        self.assertEqual((info.votes, info.totalVotes, info.expected), (2, 4, 4))
        self.assertEqual((info.quorum, int(info.state)), (3, 1))
        history = self.cluster.wait(votes.history())
        self.assertEqual(history[-1]["members"], [1, 2, 3])
        self.assertTrue(history[-1]["rule"])
        self.cluster.kill(2)
        self.cluster.settle()
        nodes = self.cluster.wait(votes.nodes())
        self.assertEqual([(n.nodeid, int(n.state)) for n in nodes][1], (2, 2))
        self.assertIs(heard[-1], False)
