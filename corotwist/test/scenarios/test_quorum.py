"""
Stories about votes: which part of a cluster may act.  [pitfalls J]
"""

from typing import Any

from corotwist.engines.executive import (
    SERVICES_GROUP,
    NodeFlag,
    NodeInfo,
    Reconfigure,
    Reconfigured,
    address,
    whole,
)
from corotwist.ipc.status import RUNNING, SYNCHRONIZING, StatusLocator
from corotwist.simulator import Cluster, timingFor
from corotwist.test.config.factories import conf, settings
from corotwist.test.engines.orderednet import formed
from corotwist.test.scenarios.story import A, B, C, D, E
from corotwist.test.scenarios.whole import WholeStory, voting

QUICK = timingFor(0.2)
PROVIDER = "provider: corosync_votequorum\n"
# In a node's flags; of a later version, perhaps.
UNKNOWN_FLAGS = 0xFFFFFF80


class QuorumStories(WholeStory):
    """
    Nodes that count votes.
    """

    def counted(
        self, size: int = 3, votes: dict[int, int] | None = None, **options: Any
    ) -> Cluster:
        """
        Nodes of so many votes, or of one.
        """
        expected = sum((votes or {}).get(n, 1) for n in range(1, size + 1))
        boot = options.pop("boot", True)
        configure = voting(expected, votes, **options)
        cluster = Cluster(
            size, services=True, timing=QUICK, configure=configure, boot=boot
        )
        if boot:
            cluster.settle(stay=False)
        return cluster

    def quorate(self, cluster: Cluster, *nodeids: int) -> list[bool]:
        """
        Whether each of these may act, or all.
        """
        return [
            self.engine(cluster, n, "quorum").quorate()
            for n in nodeids or cluster.nodes
        ]

    def explained(self, cluster: Cluster, nodeid: int, *names: str) -> tuple[Any, ...]:
        """
        Numbers behind a verdict.
        """
        explanation = self.engine(cluster, nodeid, "quorum").explanation()
        return tuple(explanation[name] for name in names)

    def engine(self, cluster: Cluster, nodeid: int, name: str) -> Any:
        """
        A service of a node.
        """
        return cluster.services(nodeid).manager.engines[name]

    def say(self, cluster: Cluster, nodeid: int, message: Any) -> None:
        """
        A node says something of its own making.
        """
        body = address(SERVICES_GROUP, whole(message))
        self.assertTrue(cluster.services(nodeid).totem.multicast(body))
        cluster.run(0.05)

    def test_oddSplit(self) -> None:
        """
        Of five nodes three may act, and two may not, however low their
        nodeids; of four nodes no half may.  [pitfall J1]
        """
        cluster = self.counted(5)
        cluster.partition({A, B}, {C, D, E})
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [False, False, True, True, True])
        cluster.heal()
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [True] * 5)
        cluster = self.counted(4)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [False] * 4)

    def test_twoNodesRestart(self) -> None:
        """
        Two nodes part, each goes on, and both restart before they meet again:
        neither may act until they have.  [pitfall J4]
        """
        told = settings(conf(nodes=2, quorum=f"{PROVIDER}two_node: 1")).quorum
        cluster = self.counted(2, twoNode=told.twoNode, waitForAll=told.waitForAll)
        cluster.partition({A}, {B})
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [True, True])
        cluster.kill(A, B)
        cluster.boot(A, B)
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [False, False])
        cluster.heal()
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [True, True])
        self.assertEqual(told.expectedVotes, 2)

    def test_expectingLess(self) -> None:
        """
        Five nodes are told to expect from one vote to nine: never fewer than
        are there, on all of them or none, and they may go on.  [pitfall J5]
        """
        for expected in range(1, 10):
            cluster = self.counted(5)
            change = Reconfigure(0, expected, Reconfigured.EXPECTED_VOTES)
            self.say(cluster, B, change)
            cluster.settle()
            numbers = {
                self.explained(cluster, n, "quorate", "votes", "expected", "quorum")
                for n in cluster.nodes
            }
            most = max(5, expected)
            self.assertEqual(numbers, {(True, 5, most, (most + 2) // 2)})

    def test_minorityExpectsLess(self) -> None:
        """
        Two of five are told to expect two votes, and may act then; together
        again, what the majority expects holds, on all nodes.  [pitfall J6]
        """
        cluster = self.counted(5)
        cluster.partition({A, B, C}, {D, E})
        cluster.settle()
        self.assertEqual(self.quorate(cluster, D, E), [False, False])
        self.say(cluster, D, Reconfigure(0, 2, Reconfigured.EXPECTED_VOTES))
        self.assertEqual(self.quorate(cluster, D, E), [True, True])
        cluster.heal()
        cluster.settle()
        for nodeid in cluster.nodes:
            self.assertEqual(
                self.explained(cluster, nodeid, "expected", "quorum", "quorate"),
                (5, 3, True),
            )

    def test_deviceOfOthers(self) -> None:
        """
        Two of four say that a quorum device votes for them: nobody here sees
        it, so it does not count, and no half may act.  [pitfall J10]
        """
        cluster = self.counted(4)
        cluster.partition({A, B}, {C, D})
        cluster.settle()
        for nodeid in (A, B):
            self.say(cluster, nodeid, NodeInfo(0, 1, 5, NodeFlag.QUORATE))
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [False] * 4)
        self.assertEqual(self.explained(cluster, A, "votes"), (2,))

    def test_leavesAndComesBack(self) -> None:
        """
        A node says that it leaves for good, with flags that nobody knows, and
        is back at once: its vote counts again.  [pitfall J12]
        """
        net = formed(A, B, C)
        ring = net.nodes[A].totem.ring
        assert ring is not None
        leaves = NodeInfo(C, 1, 3, NodeFlag.LEAVING | UNKNOWN_FLAGS)
        ring.order.append((C, address(SERVICES_GROUP, whole(leaves))))
        net.run()
        self.assertEqual(net.nodes[A].engine("quorum").explanation()["votes"], 2)
        net.kill(C)
        net.boot(C)
        net.form(A, B, C)
        net.run()
        for node in net.nodes.values():
            explanation = node.engine("quorum").explanation()
            self.assertEqual((explanation["votes"], explanation["quorate"]), (3, True))
            known = node.engine("votequorum").dump()["nodes"]
            self.assertEqual(known["3"]["standing"], "member")

    def test_lateToAMajority(self) -> None:
        """
        All wait for all.  Who starts late, and meets a majority that has seen
        all, may act with it at once, although somebody else is away.
        [pitfall J13]
        """
        cluster = self.counted(5, waitForAll=True, boot=False)
        cluster.boot(A, B, C, D)
        cluster.settle()
        self.assertEqual(self.quorate(cluster, A, B, C, D), [False] * 4)
        cluster.boot(E)
        cluster.settle()
        self.assertEqual(self.quorate(cluster), [True] * 5)
        cluster.kill(D, E)
        cluster.settle()
        self.assertEqual(self.quorate(cluster, A, B, C), [True] * 3)
        cluster.boot(E)
        cluster.settle()
        self.assertEqual(self.quorate(cluster, A, B, C, E), [True] * 4)

    def test_whatClientsSee(self) -> None:
        """
        Three part from two, and a client of the two asks all the time: once the
        node is on the smaller ring, it says that it is synchronizing until it
        says that it may not act.  [pitfall J15]
        """
        cluster = self.counted(5)
        locator = StatusLocator(cluster.services(E).manager)
        answers: list[tuple[int, bool, str]] = []
        cluster.partition({A, B, C}, {D, E})
        for _ in range(2500):
            cluster.run(0.0002)
            status = locator._status()
            answers.append((len(status["members"]), status["quorate"], status["state"]))
        self.assertNotIn((2, True, RUNNING), answers)
        self.assertEqual(answers[0], (5, True, RUNNING))
        self.assertIn((2, True, SYNCHRONIZING), answers)
        self.assertEqual(answers[-1], (2, False, RUNNING))

    def test_votesNotNodes(self) -> None:
        """
        One node has three votes and three have one: votes decide, never the
        number of nodes.  [pitfall J16]
        """
        cluster = self.counted(4, votes={A: 3})
        for sides, expected in (
            (({A}, {B, C, D}), [False] * 4),
            (({A, B}, {C, D}), [True, True, False, False]),
            (({A, D}, {B, C}), [True, False, False, True]),
        ):
            cluster.partition(*sides)
            cluster.settle()
            self.assertEqual(self.quorate(cluster), expected, sides)
            cluster.heal()
            cluster.settle()

    def test_manyVotes(self) -> None:
        """
        Sums beyond 255, 65 535 and what a message's field holds are sums like
        any other.  [pitfall J16]
        """
        for each in (100, 30_000, 2_000_000_000):
            cluster = self.counted(3, votes={A: each, B: each, C: each})
            self.assertEqual(
                self.explained(cluster, C, "votes", "expected", "quorum"),
                (3 * each, 3 * each, (3 * each + 2) // 2),
            )
            cluster.partition({A}, {B, C})
            cluster.settle()
            self.assertEqual(self.quorate(cluster), [False, True, True])
