"""
Tests of quorum by votes, over rings that change.
"""

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.settings import QuorumSettings
from corotwist.engines.executive import (
    SERVICES_GROUP,
    NodeFlag,
    NodeInfo,
    QdeviceRegistration,
    Reconfigure,
    Reconfigured,
    address,
    whole,
)
from corotwist.engines.interfaces import IQuorum
from corotwist.engines.votequorum import VoteQuorumEngine
from corotwist.errors import TryAgain
from corotwist.test.engines.orderednet import (
    SHIPPED,
    OrderedNet,
    formed,
    nodeSettings,
)
from corotwist.totem.membership import RingId

PROVIDER = "corosync_votequorum"


def votes(count: int, **options: Any) -> QuorumSettings:
    return QuorumSettings(PROVIDER, count, **options)


class VotingCase(SynchronousTestCase):
    """
    Questions to a net.
    """

    net: OrderedNet

    def quorate(self, *nodeids: int) -> list[bool]:
        return [self.net.nodes[n].engine("quorum").quorate() for n in nodeids]

    def explained(self, nodeid: int, *names: str) -> tuple[Any, ...]:
        explanation = self.net.nodes[nodeid].engine("quorum").explanation()
        return tuple(explanation[name] for name in names)

    def form(self, *members: int) -> None:
        self.net.form(*members)
        self.net.run()

    def say(self, nodeid: int, message: Any) -> None:
        """
        A node says something of its own making.
        """
        ring = self.net.nodes[nodeid].totem.ring
        assert ring is not None
        ring.order.append((nodeid, address(SERVICES_GROUP, whole(message))))
        self.net.run()


class ExcessTests(VotingCase):
    """
    More votes than the field of a message holds.
    """

    def test_sum(self) -> None:
        """
        Members that claim too much do not stop us from saying what we expect.
        """
        self.net = formed(1, 2, 3)
        most = 0xFFFFFFFF
        for nodeid in (2, 3):
            self.say(nodeid, NodeInfo(nodeid, most, most, 0))
        self.assertEqual(self.explained(1, "votes"), (2 * most + 1,))
        self.form(1, 2, 3)
        places = self.net.nodes[1].manager.dump()["engines"]
        self.assertEqual(places["votequorum"]["failures"], 0)


class MajorityTests(VotingCase):
    """
    Plain majority.
    """

    def setUp(self) -> None:
        self.net = formed(1, 2, 3)

    def test_interfaces(self) -> None:
        """
        Both engines answer for quorum.
        """
        for name in ("quorum", "votequorum"):
            verifyObject(IQuorum, self.net.nodes[1].engine(name))

    def test_together(self) -> None:
        """
        VQ2: all members report the same numbers.
        """
        names = ("quorate", "votes", "expected", "quorum")
        for nodeid in (1, 2, 3):
            self.assertEqual(self.explained(nodeid, *names), (True, 3, 3, 2))

    def test_partition(self) -> None:
        """
        VQ1: the majority goes on, the minority does not, and together again
        all do.
        """
        self.net.form(1)
        self.form(2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [False, True, True])
        self.form(1, 2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [True] * 3)

    def test_publishedAfterTheRound(self) -> None:
        """
        VQ9: during a round the last verdict holds; with its end the new one.
        """
        self.net.form(1)
        while self.net.nodes[1].manager.synchronizing():
            self.assertEqual(self.quorate(1), [True])
            self.net.rotate(1)
        self.assertEqual(self.quorate(1), [False])

    def test_notBeforeTheFirstRing(self) -> None:
        """
        A node that is on no ring yet may not act, even when its own votes
        would suffice.
        """
        net = OrderedNet(count=1)
        net.boot(1)
        quorum = net.nodes[1].engine("quorum")
        self.assertFalse(quorum.quorate())
        net.form(1)
        net.run()
        self.assertTrue(quorum.quorate())

    def test_noProvider(self) -> None:
        """
        Without a provider every partition is quorate, and says why; nobody
        counts votes.
        """
        net = OrderedNet(SHIPPED)
        net.boot(1, quorum=QuorumSettings())
        net.form(1)
        net.run()
        quorum = net.nodes[1].engine("quorum")
        self.assertTrue(quorum.quorate())
        self.assertIn("no quorum provider", quorum.explanation()["rule"])
        self.assertNotIn("votequorum", net.nodes[1].manager.engines)
        self.assertIn("rule", quorum.dump())

    def test_nobodyCounts(self) -> None:
        """
        When nobody counts votes any more, for the engine failed or was
        unloaded, nobody says that we may act. (A75)
        """
        node = self.net.nodes[1]
        self.assertTrue(node.manager.facilities.quorate())
        node.manager.roster.place("votequorum").fail()
        self.net.clock.advance(0)
        for name in ("quorum", "votequorum"):
            self.assertFalse(node.engine(name).quorate())
        self.assertFalse(node.manager.facilities.quorate())
        unloaded = node.manager.changes.unload("votequorum")
        for _ in range(4):
            self.net.clock.advance(0)
        self.successResultOf(unloaded)
        self.assertFalse(node.manager.facilities.quorate())
        rule = node.engine("quorum").explanation()["rule"]
        self.assertEqual(rule, "the quorum provider is not there")

    def test_dump(self) -> None:
        """
        The dump shows what every node said.
        """
        self.net.kill(3)
        self.form(1, 2)
        nodes = self.net.nodes[1].engine("votequorum").dump()["nodes"]
        self.assertEqual(nodes["2"]["votes"], 1)
        self.assertEqual(nodes["3"]["standing"], "dead")

    def test_hearsay(self) -> None:
        """
        VQ10, H12: what a node says about another one, about a device, or from
        outside of the ring counts for nothing.
        """
        self.net.kill(3)
        self.form(1, 2)
        before = self.net.nodes[1].engine("votequorum").dump()
        self.say(2, NodeInfo(3, 9, 9, NodeFlag.QUORATE))
        self.say(2, NodeInfo(0, 9, 9, 0))
        self.say(2, QdeviceRegistration(True, b"Qdevice"))
        ring = self.net.nodes[1].totem.ring
        assert ring is not None
        ring.order.append((9, address(SERVICES_GROUP, whole(NodeInfo(9, 9, 9, 0)))))
        self.net.run()
        self.assertEqual(self.net.nodes[1].engine("votequorum").dump(), before)

    def test_fullQueue(self) -> None:
        """
        Without room the votes go with a later token, each message once.
        """
        for node in self.net.nodes.values():
            node.totem.capacity = 1600
        self.net.form(1, 2, 3)
        engine = self.net.nodes[1].engine("votequorum")
        sent = []
        multicast = engine.cluster.multicast
        room = [False, False, True, False, True]

        def narrow(function: int, body: bytes) -> None:
            if not room.pop(0):
                raise TryAgain
            sent.append(function)
            multicast(function, body)

        engine.cluster.multicast = narrow
        self.net.run()
        self.assertEqual(sent, [NodeInfo.FUNCTION] * 2)
        self.assertEqual(self.quorate(1, 2, 3), [True] * 3)


class OptionTests(VotingCase):
    """
    Other numbers of votes, two nodes, waiting for all.
    """

    def _boot(self, quorum: dict[int, QuorumSettings]) -> None:
        self.net = OrderedNet()
        for nodeid, settings in quorum.items():
            self.net.boot(nodeid, quorum=settings)

    def test_unequalVotes(self) -> None:
        """
        VQ0: votes count, not nodes, also beyond 255.
        """
        self._boot({1: votes(702, votes=500), 2: votes(702), 3: votes(702, votes=201)})
        self.form(2, 3)
        self.assertEqual(self.quorate(2, 3), [False, False])
        self.form(1, 2, 3)
        self.net.form(1)
        self.form(2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [True, False, False])

    def test_twoNodes(self) -> None:
        """
        VQ3: with two_node and waiting for all a node that starts alone
        waits; both together are quorate, and each of them goes on alone.
        """
        settings = votes(2, twoNode=True, waitForAll=True)
        self._boot({1: settings, 2: settings})
        self.form(1)
        self.assertEqual(self.quorate(1), [False])
        self.assertEqual(self.explained(1, "waitingForAll"), (True,))
        self.form(1, 2)
        self.assertEqual(self.quorate(1, 2), [True, True])
        self.net.form(1)
        self.form(2)
        self.assertEqual(self.quorate(1, 2), [True, True])

    def test_joiningAQuoratePartition(self) -> None:
        """
        J13: who waits for all is done waiting when a quorate partition takes
        him in.
        """
        settings = votes(3, waitForAll=True)
        self._boot({1: settings, 2: settings, 3: settings})
        self.form(1, 2)
        self.assertEqual(self.quorate(1, 2), [False, False])
        self.form(1, 2, 3)
        self.net.kill(3)
        self.form(1, 2)
        self.net.kill(2)
        self.net.boot(2, quorum=settings)
        self.form(2)
        self.assertEqual(self.quorate(1, 2), [True, False])
        self.form(1, 2)
        self.assertEqual(self.quorate(1, 2), [True, True])

    def test_takingIn(self) -> None:
        """
        VQ2: a part that may act takes in one who waits for all, also when it
        needs that one's vote itself: until the round ends it loses nothing.
        """
        nodeids = (1, 2, 3, 4, 5, 6)
        for order in ((1, 2, 4, 5), (5, 1, 2, 4)):
            self._boot(dict.fromkeys(nodeids, votes(6, waitForAll=True)))
            self.form(*nodeids)
            self.net.form(5)
            self.form(1, 2, 3, 4, 6)
            self.assertEqual(self.quorate(1, 5), [True, False])
            self.net.form(3, 6)
            self.form(*order)
            self.assertEqual(self.quorate(*order), [True] * 4)

    def test_adoptingExpectations(self) -> None:
        """
        J6: a node that comes to a quorate partition takes over what it
        expects; a minority's number does not spread.
        """
        self._boot({1: votes(3), 2: votes(3), 3: votes(3)})
        self.form(1, 2, 3)
        self.say(1, Reconfigure(0, 5, Reconfigured.EXPECTED_VOTES))
        self.assertEqual(self.explained(3, "expected", "quorum"), (5, 3))
        self.net.kill(3)
        self.net.boot(3, quorum=votes(3))
        self.form(1, 2)
        self.form(1, 2, 3)
        for nodeid in (1, 2, 3):
            self.assertEqual(self.explained(nodeid, "expected", "votes"), (5, 3))

    def test_expectingTooMuch(self) -> None:
        """
        A node that expects more than the quorate partition it joins takes
        over its number, and the lower quorum with it.
        """
        self._boot({1: votes(3), 2: votes(3), 3: votes(9)})
        self.form(1, 2)
        self.form(3)
        self.assertEqual(self.quorate(3), [False])
        self.form(1, 2, 3)
        for nodeid in (1, 2, 3):
            numbers = self.explained(nodeid, "quorate", "expected", "quorum")
            self.assertEqual(numbers, (True, 3, 2), f"node {nodeid}")

    def test_reconfigured(self) -> None:
        """
        What an operator changes on one node changes on all.
        """
        self._boot({1: votes(3), 2: votes(3), 3: votes(3, waitForAll=True)})
        self.form(1, 2)
        self.say(1, Reconfigure(2, 4, Reconfigured.NODE_VOTES))
        for nodeid in (1, 2):
            self.assertEqual(self.explained(nodeid, "votes"), (5,))
        self.say(1, Reconfigure(77, 4, Reconfigured.NODE_VOTES))
        self.assertEqual(self.explained(1, "votes"), (5,))

    def reload(self, nodeid: int, quorum: QuorumSettings) -> None:
        """
        The configuration of a running node says something else.
        """
        manager = self.net.nodes[nodeid].manager
        settings = evolve(manager.settings, quorum=quorum)
        manager.reconfigurationProposed(settings)
        manager.reconfigured(settings)

    def test_reloaded(self) -> None:
        """
        Votes that change in the file of one node are told to all, also when
        there is no room at first; expected ones too. (C4, H15)
        """
        self._boot(dict.fromkeys((1, 2), votes(3)))
        self.form(1, 2)
        engine = self.net.nodes[1].manager.engines["votequorum"]
        multicast, room = engine.cluster.multicast, [True, False, True, True]

        def narrow(function: int, body: bytes) -> None:
            if not room.pop(0):
                raise TryAgain
            multicast(function, body)

        engine.cluster.multicast = narrow
        self.reload(1, votes(9, votes=5))
        self.assertRaises(TryAgain, engine.handOver)
        self.net.run()
        self.assertEqual(room, [])
        for nodeid in (1, 2):
            numbers = self.explained(nodeid, "votes", "expected", "quorum")
            self.assertEqual(numbers, (6, 9, 5), f"node {nodeid}")
        self.reload(1, votes(9, votes=5))
        self.assertEqual(engine.handOver()["format"], 2)

    def test_reloadedAtOnePlace(self) -> None:
        """
        All members come to what follows at the same message: the node whose file
        it is, too. (C4, C21)
        """
        self._boot(dict.fromkeys((1, 2), votes(3)))
        self.form(1, 2)
        told: dict[int, list[tuple[int, bool]]] = {}
        for nodeid in (1, 2):
            engine = self.net.nodes[nodeid].engine("votequorum")
            heard = told[nodeid] = []

            def changed(engine: Any = engine, heard: Any = heard) -> None:
                if not heard or heard[-1][1] != engine.quorate():
                    heard.append((engine.cluster.position(), engine.quorate()))

            engine.follow(changed)
        self.reload(1, votes(5))
        self.net.run()
        self.assertEqual([quorate for _, quorate in told[1]], [True, False])
        self.assertEqual(told[1], told[2])

    def test_reloadedTwoNodes(self) -> None:
        """
        That one of two votes is enough can be switched on while they run. (H15)
        """
        self._boot(dict.fromkeys((1, 2), votes(2)))
        self.form(1, 2)
        for nodeid in (1, 2):
            self.reload(nodeid, votes(2, twoNode=True))
        self.net.run()
        self.form(1)
        self.assertEqual(self.quorate(1), [True])

    def test_waitingCancelled(self) -> None:
        """
        An operator may end the waiting for all.
        """
        settings = votes(3, waitForAll=True)
        self._boot({1: settings, 2: settings})
        self.form(1, 2)
        self.assertEqual(self.quorate(1), [False])
        self.say(2, Reconfigure(0, 0, Reconfigured.CANCEL_WAIT_FOR_ALL))
        self.assertEqual(self.quorate(1, 2), [True, True])

    def test_leavingForGood(self) -> None:
        """
        A peer that announces its leave is not expected any more.
        """
        self._boot({1: votes(3), 2: votes(3), 3: votes(3)})
        self.form(1, 2, 3)
        self.say(3, NodeInfo(3, 1, 3, NodeFlag.QUORATE | NodeFlag.LEAVING))
        self.assertEqual(self.explained(1, "expected", "votes", "quorum"), (2, 2, 2))

    def test_firstFlag(self) -> None:
        """
        The flag of a node that has never seen another goes when it meets one:
        at once if it was on a ring before, else behind its first round.
        """
        self._boot({1: votes(2), 2: votes(2)})
        own = self.net.nodes[1].engine("votequorum").count.own
        other = self.net.nodes[2].engine("votequorum").count.own
        self.form(1)
        self.assertTrue(own.flags & NodeFlag.FIRST)
        self.net.form(1, 2)
        self.assertFalse(own.flags & NodeFlag.FIRST)
        self.assertTrue(other.flags & NodeFlag.FIRST)
        self.net.run()
        self.assertFalse(other.flags & NodeFlag.FIRST)

    def test_noRoomAtStart(self) -> None:
        """
        Without room for the first word at start, synchronization says it.
        """

        class Narrow:
            nodeid = 1
            notes = None

            def multicast(self, function: int, body: bytes) -> None:
                raise TryAgain

            def members(self) -> tuple[int, ...]:
                return (1,)

            def timeOfDay(self) -> int:
                return 0

        engine = VoteQuorumEngine()
        cluster: Any = Narrow()
        engine.initialize(cluster, nodeSettings())
        engine.synchronizationStarted((), (1,), RingId(4, 1))
        self.assertFalse(engine.synchronize())
