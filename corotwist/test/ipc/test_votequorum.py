"""
Votes for clients, over a socket.
"""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.settings import IpcSettings
from corotwist.engines.interfaces import EngineNews, News
from corotwist.engines.quoruminterfaces import (
    Decision,
    IVoteQuorum,
    IVoteSubscriber,
    NodeState,
    NodeVotes,
    VoteFlag,
)
from corotwist.errors import (
    AccessDenied,
    Exists,
    InvalidParameter,
    NameNotFound,
    NotExist,
    NotSupported,
    OldRing,
)
from corotwist.ipc import path
from corotwist.ipc.client import NodeClient, connect
from corotwist.ipc.connection import Credentials
from corotwist.ipc.server import IpcServer
from corotwist.ipc.votequorum import (
    Track,
    VoteQuorumLocator,
    packNodes,
    unpackNodes,
)
from corotwist.ipc.votes import VoteFollower
from corotwist.test.directories import shortDirectory
from corotwist.test.ipc.fakes import FakeMaker, FakeManager
from corotwist.test.ipc.fakevotes import RING, FakeVotes
from corotwist.test.ipc.pipes import End, FakeReactor
from corotwist.totem.membership import RingId

NEXT = RingId(30, 1)


@define(eq=False)
class Follower:
    """
    Keeps what it is told.
    """

    heard: list[tuple[Any, ...]] = field(factory=list)

    def follow(self) -> VoteFollower:
        """
        For a client.
        """
        return VoteFollower(
            lambda ringId, members: self.heard.append(("nodes", ringId, members)),
            lambda quorate, nodes: self.heard.append(
                ("quorum", quorate, tuple((n.nodeid, int(n.state)) for n in nodes))
            ),
            lambda expected: self.heard.append(("expected", expected)),
            lambda reason: self.heard.append(("gap", reason)),
        )

    def taken(self) -> list[tuple[Any, ...]]:
        """
        Since the last time.
        """
        heard, self.heard = self.heard, []
        return heard


class VotesTestCase(SynchronousTestCase):
    """
    A node that counts votes, and a client.
    """

    uid = 0

    def setUp(self) -> None:
        self.patch(path, "admit", lambda *arguments: None)
        self.reactor = FakeReactor()
        self.path = str(shortDirectory(self) / "s")
        self.votes = FakeVotes()
        self.startNode()
        self.client = self.connect()
        self.follower = Follower()

    def startNode(self) -> None:
        """
        As a daemon that starts anew would.
        """
        self.manager = FakeManager(self.reactor)
        self.manager.engines["votequorum"] = self.votes
        maker = FakeMaker("votequorum", VoteQuorumLocator)
        makers: dict[str, Any] = {**self.manager.makers, "votequorum": maker}
        self.manager.makers = makers
        self.server = IpcServer(
            self.reactor,
            IpcSettings(self.path, uids=frozenset({self.uid})),
            self.manager,
            credentials=self._credentials,
        )
        self.server.startService()

    def _credentials(self, end: End) -> Credentials:
        return Credentials(end.pid, self.uid, self.uid, frozenset({self.uid}))

    def connect(self) -> NodeClient:
        connecting = connect(self.reactor, self.path, lambda failures: 1.0)
        client: NodeClient = self.got(connecting)
        self.addCleanup(client.stopService)
        return client

    def got(self, asked: Deferred[Any]) -> Any:
        self.reactor.settle()
        return self.successResultOf(asked)

    def refused(self, asked: Deferred[Any], *kinds: type[Exception]) -> None:
        self.reactor.settle()
        self.failureResultOf(asked, *kinds)

    def track(self, **wishes: bool) -> None:
        asked = self.client.votequorum.track(self.follower.follow(), **wishes)
        self.got(asked)


class AskingTests(VotesTestCase):
    """
    Calls.
    """

    def test_interface(self) -> None:
        """
        The one that counts here has all calls.
        """
        verifyObject(IVoteQuorum, self.votes)

    def test_info(self) -> None:
        """
        Ten fields of a node, by number, with corosync's flags and states; of
        one that nobody heard of, error 12. (C20)
        """
        own = self.got(self.client.votequorum.info())
        self.assertEqual(own, self.votes.infos[1])
        self.assertEqual((own.state, own.flags), (NodeState.MEMBER, VoteFlag.QUORATE))
        gone = self.got(self.client.votequorum.info(3))
        self.assertEqual((gone.nodeid, gone.state, gone.votes), (3, NodeState.DEAD, 3))
        self.refused(self.client.votequorum.info(9), NotExist)
        self.assertEqual(NotExist.code, 12)
        bits = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
        self.assertEqual(tuple(int(flag) for flag in VoteFlag), bits)
        self.assertEqual([int(state) for state in NodeState], [1, 2, 3])

    def test_nodes(self) -> None:
        """
        All nodes with their votes; three numbers each, or it is a mistake.
        """
        nodes = self.got(self.client.votequorum.nodes())
        self.assertEqual(nodes, self.votes.nodes())
        self.assertEqual(nodes[2], NodeVotes(3, NodeState.DEAD, 3))
        self.assertEqual(unpackNodes(packNodes(nodes)), nodes)
        for wrong in ((1, 2), (1, 9, 1)):
            self.assertRaises(InvalidParameter, unpackNodes, wrong)

    def test_change(self) -> None:
        """
        Expected votes, votes and waiting are changed; what cannot be is refused
        with corosync's numbers.
        """
        votes = self.client.votequorum
        for asked in (votes.setExpected(7), votes.setVotes(5, 2), votes.setVotes(4)):
            self.got(asked)
        self.got(votes.cancelWaiting())
        done = [("expected", 7), ("votes", 2, 5), ("votes", 1, 4), ("cancel",)]
        self.assertEqual(self.votes.asked, done)
        self.refused(votes.setExpected(1), InvalidParameter)
        self.refused(votes.setVotes(1, 99), NameNotFound)
        self.assertEqual((InvalidParameter.code, NameNotFound.code), (7, 17))

    def test_history(self) -> None:
        """
        Decisions are told however many there are, each with its reason.
        """
        inputs = {"text": "x" * 4000}
        self.votes.decisions = [
            Decision(number, 5, RING, (1, 2), True, "counted", "majority", inputs)
            for number in range(40)
        ]
        told = self.got(self.client.votequorum.history())
        self.assertEqual([one["number"] for one in told], list(range(40)))
        self.assertEqual(told[3]["ringId"], {"sequence": 26, "representative": 1})
        self.assertEqual(told[3]["inputs"], inputs)

    def test_nobodyCounts(self) -> None:
        """
        Without who counts votes, nothing is supported.
        """
        del self.manager.engines["votequorum"]
        self.refused(self.connect().votequorum.info(), NotSupported)

    def test_device(self) -> None:
        """
        A quorum device registers, has another name, votes and is gone; each
        mistake has corosync's number.
        """
        votes = self.client.votequorum
        self.refused(votes.devicePoll("d", True, RING), NotExist)
        self.got(votes.deviceRegister("d"))
        self.got(votes.deviceRegister("d"))
        self.refused(votes.deviceRegister("other"), Exists)
        self.got(votes.devicePoll("d", True, RING))
        self.refused(votes.devicePoll("d", True, NEXT), OldRing)
        self.refused(votes.devicePoll("x", True, RING), InvalidParameter)
        self.got(votes.deviceMasterWins("d", True))
        self.assertEqual(self.votes.asked, [("poll", True), ("master wins", True)])
        self.refused(votes.deviceUpdate("x", "new"), InvalidParameter)
        self.got(votes.deviceUpdate("d", "new"))
        self.assertEqual(self.votes.device, "new")
        self.got(votes.deviceUnregister("new"))
        self.refused(votes.deviceUnregister("new"), NotExist)
        self.votes.usable = False
        self.refused(votes.deviceRegister("d"), AccessDenied)
        self.assertEqual((OldRing.code, Exists.code, AccessDenied.code), (22, 14, 11))


class RightsTests(VotesTestCase):
    """
    A client that does not administer the node.
    """

    uid = 4711

    def test_rights(self) -> None:
        """
        It may look and follow, and change nothing.
        """
        votes = self.client.votequorum
        self.got(votes.info())
        self.got(votes.nodes())
        self.got(votes.history())
        self.track()
        for asked in (
            *(votes.setExpected(7), votes.setVotes(1), votes.cancelWaiting()),
            *(votes.deviceRegister("d"), votes.deviceUnregister("d")),
            *(votes.deviceUpdate("d", "e"), votes.devicePoll("d", True, RING)),
            votes.deviceMasterWins("d", True),
        ):
            self.refused(asked, AccessDenied)
        self.assertEqual((self.votes.asked, self.votes.device), ([], ""))


class TrackingTests(VotesTestCase):
    """
    Notifications.
    """

    NOW = ("quorum", True, ((1, 1), (2, 1), (3, 2)))

    def setUp(self) -> None:
        super().setUp()
        self.votes.reformed(RING, 1, 2)

    def test_current(self) -> None:
        """
        Who wants to know how it is now is told, nodes first, and not again.
        (C19)
        """
        self.track(changes=False)
        self.assertEqual(self.follower.taken(), [("nodes", RING, (1, 2)), self.NOW])
        self.votes.reformed(NEXT, 1, 2, 3)
        self.reactor.settle()
        self.assertEqual(self.follower.taken(), [])
        self.refused(self.client.votequorum.untrack(), NotExist)
        self.track()

    def test_changes(self) -> None:
        """
        Each change of the ring is its nodes, then the verdict; expected votes
        have their own. (C19, C20)
        """
        self.track()
        self.follower.taken()
        self.votes.reformed(NEXT, 1, 2, 3)
        self.got(self.client.votequorum.setExpected(9))
        self.assertEqual(
            self.follower.taken(),
            [
                ("nodes", NEXT, (1, 2, 3)),
                ("quorum", True, ((1, 1), (2, 1), (3, 1))),
                ("expected", 9),
            ],
        )

    def test_changesOnly(self) -> None:
        """
        Who wants changes only is not told how it is now. (C19)
        """
        self.track(current=False)
        self.assertEqual(self.follower.taken(), [])
        self.votes.reformed(NEXT, 1)
        self.reactor.settle()
        self.assertEqual(len(self.follower.taken()), 2)

    def test_twice(self) -> None:
        """
        To track twice is error 14, in the client and at the node, which tells
        how it is all the same; others hear nothing of it. [pitfall J14] (C19)
        """
        self.track()
        self.follower.taken()
        self.refused(self.client.votequorum.track(self.follower.follow()), Exists)
        self.refused(self.client.ask(Track, wishes=2), Exists)
        self.assertEqual(len(self.follower.taken()), 2)
        self.assertEqual(len(self.votes.subscribers), 1)
        for wrong in (0, 8):
            self.refused(self.client.ask(Track, wishes=wrong), InvalidParameter)

    def test_untrack(self) -> None:
        """
        Who does not want to be told any more is not; a second time is error 12.
        (C19)
        """
        self.track()
        self.follower.taken()
        self.got(self.client.votequorum.untrack())
        self.assertEqual(self.votes.subscribers, [])
        self.votes.reformed(NEXT, 1)
        self.reactor.settle()
        self.assertEqual(self.follower.taken(), [])
        self.refused(self.client.votequorum.untrack(), NotExist)

    def test_clientGone(self) -> None:
        """
        A client that is gone is told nothing any more. [pitfall J14]
        """
        self.track()
        self.assertTrue(verifyObject(IVoteSubscriber, self.votes.subscribers[0]))
        self.got(self.client.stopService())
        self.assertEqual(self.votes.subscribers, [])

    def test_nodeGone(self) -> None:
        """
        When the node was gone, there is a gap, and then it is told how it is
        now, and what changes.
        """
        self.track()
        self.follower.taken()
        self.server.stopService()
        self.reactor.settle()
        self.votes.subscribers.clear()
        self.votes.reformed(NEXT, 1)
        self.startNode()
        self.reactor.pass_(2.0)
        gap, nodes, verdict = self.follower.taken()
        self.assertEqual(gap[0], "gap")
        self.assertEqual(nodes, ("nodes", NEXT, (1,)))
        self.assertEqual(verdict, ("quorum", True, ((1, 1), (2, 2), (3, 2))))
        self.assertEqual(len(self.votes.subscribers), 1)
        self.got(self.client.votequorum.untrack())

    def test_engineRestarted(self) -> None:
        """
        One that was started again is asked again.
        """
        self.track()
        self.follower.taken()
        (connection,) = self.manager.connections
        connection.engineChanged(EngineNews("votequorum", 1, News.RESTARTED, ""))
        self.reactor.settle()
        self.assertEqual([one[0] for one in self.follower.taken()], self.AGAIN)
        self.assertEqual(len(self.votes.subscribers), 1)

    AGAIN = ["gap", "nodes", "quorum"]

    def test_clumsy(self) -> None:
        """
        A follower that fails is on the record, and the others go on.
        """

        def fails(*_: Any) -> None:
            raise RuntimeError("no")

        follower = VoteFollower(nodesChanged=fails, quorumChanged=fails)
        self.got(self.client.votequorum.track(follower))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.got(self.client.votequorum.info())
