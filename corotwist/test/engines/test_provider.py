"""
Tests of providers of quorum that are not votequorum, over rings that change.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.settings import QuorumSettings
from corotwist.engines.external import ExternalQuorumEngine, Says, Word, listen
from corotwist.engines.interfaces import IQuorum
from corotwist.engines.majority import MajorityEngine, majority
from corotwist.engines.provider import Judgement, QuorumProvider
from corotwist.engines.quorum import QuorumEngine
from corotwist.engines.quoruminterfaces import IExternalQuorum, IQuorumProvider
from corotwist.errors import (
    ConfigurationError,
    Exists,
    InvalidParameter,
    OldRing,
    TryAgain,
    WireError,
)
from corotwist.interfaces import IReconfigurable
from corotwist.plugin import EngineMaker, providesQuorum
from corotwist.test.engines.orderednet import (
    SHIPPED,
    OrderedNet,
    nodeSettings,
)
from corotwist.test.engines.probes import FakeClient
from corotwist.totem.membership import RingId


class OddNodes(QuorumProvider):
    """
    A third party's provider: the partition of node 1 may act.
    """

    name = "oddnodes"
    serviceId = 5001

    def synchronizationCompleted(self) -> None:
        here = 1 in self.cluster.members()
        self.judged(Judgement(here, "node 1 is here" if here else "without node 1"))


class NewerMajority(MajorityEngine):
    """
    The next version.
    """

    version = 2


class NewerExternal(ExternalQuorumEngine):
    """
    The next version.
    """

    version = 2


MAKERS = (
    *(maker for maker in SHIPPED if maker.name != "votequorum"),
    EngineMaker("majority", 1, MajorityEngine, condition=providesQuorum("majority")),
    EngineMaker("majority", 2, NewerMajority, condition=providesQuorum("majority")),
    EngineMaker(
        "external", 1, ExternalQuorumEngine, condition=providesQuorum("external")
    ),
    EngineMaker("external", 2, NewerExternal, condition=providesQuorum("external")),
    EngineMaker("oddnodes", 1, OddNodes, condition=providesQuorum("oddnodes")),
)


class ProviderCase(SynchronousTestCase):
    """
    Questions to a net with one provider.
    """

    provider: str
    count = 3

    def setUp(self) -> None:
        self.net = self.booted(*range(1, self.count + 1))

    def booted(self, *nodeids: int) -> OrderedNet:
        net = OrderedNet(MAKERS, self.count)
        net.boot(*nodeids, quorum=QuorumSettings(self.provider))
        net.form(*nodeids)
        net.run()
        return net

    def form(self, *members: int) -> None:
        self.net.form(*members)
        self.net.run()

    def engine(self, nodeid: int) -> Any:
        return self.net.nodes[nodeid].engine(self.provider)

    def quorate(self, *nodeids: int) -> list[bool]:
        return [self.net.nodes[n].engine("quorum").quorate() for n in nodeids]

    def rule(self, nodeid: int) -> Any:
        return self.net.nodes[nodeid].engine("quorum").explanation()["rule"]


class ThirdPartyTests(ProviderCase):
    """
    A provider of another package.
    """

    provider = "oddnodes"

    def test_asked(self) -> None:
        """
        The provider that the configuration names decides, whoever made it.
        (A107, C18)
        """
        verifyObject(IQuorumProvider, self.engine(1))
        self.net.form(1)
        self.form(2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [True, False, False])
        self.assertEqual(self.rule(2), "without node 1")
        self.assertTrue(self.net.nodes[1].manager.facilities.quorate())

    def test_lease(self) -> None:
        """
        Whoever decides, a verdict is good as long as nobody can be on a ring
        without us; nothing is known of one that says no, or without a lease.
        (C22)
        """
        quorum = self.net.nodes[1].engine("quorum")
        self.assertEqual(quorum.explanation()["validUntil"], 0)
        self.net.nodes[1].totem.lease = 2.5
        self.assertEqual(quorum.explanation()["validUntil"], 2_500_000_000)
        self.net.nodes[2].totem.lease = 2.5
        self.form(2, 3)
        refused = self.net.nodes[2].engine("quorum").explanation()
        self.assertEqual(refused["validUntil"], 0)

    def test_followers(self) -> None:
        """
        Who follows the verdict hears of it at once and at each change, until
        he has enough.
        """
        heard: list[bool] = []
        quorum = self.net.nodes[2].engine("quorum")
        stop = quorum.follow(lambda: heard.append(quorum.quorate()))
        self.form(2, 3)
        self.form(1, 2, 3)
        stop()
        self.form(2, 3)
        self.assertEqual(heard, [True, False, True])

    def test_notThere(self) -> None:
        """
        A name that no engine answers to stops the node from starting, with a
        word on what was meant.
        """
        engine = QuorumEngine()
        cluster = self.engine(1).cluster
        settings = nodeSettings(quorum=QuorumSettings("majorty"))
        failure = self.assertRaises(
            ConfigurationError, engine.initialize, cluster, settings
        )
        self.assertIn("did you mean 'majority'?", str(failure))
        settings = nodeSettings(quorum=QuorumSettings("zz"))
        failure = self.assertRaises(
            ConfigurationError, engine.initialize, cluster, settings
        )
        self.assertIn("we have corosync_votequorum, majority", str(failure))
        self.assertIn("quorum.provider", str(failure))

    def test_noProvider(self) -> None:
        """
        Without a provider every partition may act.
        """
        net = OrderedNet(MAKERS)
        net.boot(1, quorum=QuorumSettings())
        quorum = net.nodes[1].engine("quorum")
        heard: list[bool] = []
        quorum.follow(lambda: heard.append(quorum.quorate()))()
        self.assertEqual(heard, [True])

    def test_stopped(self) -> None:
        """
        Whoever asks when the provider has stopped may not act.
        """
        engine = self.engine(1)
        self.net.nodes[1].manager.stop()
        self.assertEqual((engine.quorate(), engine.counting()), (False, False))


class MajorityTests(ProviderCase):
    """
    More than half of the node list.
    """

    provider = "majority"

    def listed(self, count: int, *nodeids: int) -> None:
        """
        These nodes read a node list of another length.
        """
        for nodeid in nodeids:
            settings = nodeSettings(nodeid, count, 0, QuorumSettings("majority"))
            self.net.nodes[nodeid].manager.reconfigured(settings)
        self.net.run()

    def test_interfaces(self) -> None:
        """
        It offers what a provider does, and follows settings.
        """
        verifyObject(IQuorumProvider, self.engine(1))
        verifyObject(IReconfigurable, self.engine(1))
        verifyObject(IQuorum, self.net.nodes[1].engine("quorum"))

    def test_partition(self) -> None:
        """
        The majority goes on and the minority does not; together again all do.
        (C18)
        """
        self.net.form(1)
        self.form(2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [False, True, True])
        self.assertEqual(self.rule(1), "1 of 3 nodes are here, 2 are needed")
        self.form(1, 2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [True] * 3)

    def test_notInARound(self) -> None:
        """
        The last verdict holds until all services are in step.
        """
        self.net.form(1)
        while self.net.nodes[1].manager.synchronizing():
            self.assertEqual(self.quorate(1), [True])
            self.net.rotate(1)
        self.assertEqual(self.quorate(1), [False])

    def test_longerList(self) -> None:
        """
        The longest list that a member has counts, on all of them.
        """
        self.listed(7, 2)
        self.assertEqual(self.quorate(1, 2, 3), [False] * 3)

    def test_shorterListWithoutQuorum(self) -> None:
        """
        Who may not act does not come to act by forgetting nodes.
        """
        self.net.form(1)
        self.form(2, 3)
        self.listed(1, 1)
        self.assertEqual(self.quorate(1), [False])
        self.form(1)
        self.assertEqual(self.quorate(1), [False])

    def test_shorterList(self) -> None:
        """
        Who may act forgets nodes when all members have.
        """
        self.listed(2, 1, 2)
        self.assertIn("of 3 nodes", self.rule(1))
        self.listed(2, 3)
        self.assertIn("of 2 nodes", self.rule(1))

    def test_toldWhenThereIsRoom(self) -> None:
        """
        A list that changes in a round, or while there is no room, is told
        afterwards; until then no other version can take over.
        """
        totem = self.net.nodes[1].totem
        totem.ordinary = 0
        self.listed(7, 1)
        self.assertRaises(TryAgain, self.engine(1).handOver)
        totem.ordinary = 1 << 20
        self.net.run()
        self.assertIn("of 7 nodes", self.rule(3))

    def test_rubbish(self) -> None:
        """
        What cannot be read is refused, and what nobody says is not heard.
        """
        engine = self.engine(1)
        for body in (b"", b"\0\0\0", b"\0\0\0\0"):
            self.assertRaises(WireError, engine.messageDelivered, 1, 0, body, "<")
        engine.messageDelivered(1, 1, b"", "<")
        engine.messageDelivered(9, 0, b"\x09\0\0\0", "<")
        self.assertEqual(self.quorate(1), [True])

    def test_otherByteOrder(self) -> None:
        """
        A node of the other byte order is understood.
        """
        self.engine(1).messageDelivered(2, 0, b"\0\0\0\x09", ">")
        self.assertIn("of 9 nodes", self.rule(1))

    def test_replaced(self) -> None:
        """
        Another version takes over with its verdict and its followers.  (C18)
        """
        manager = self.net.nodes[1].manager
        heard: list[bool] = []
        self.engine(1).follow(lambda: heard.append(True))
        self.assertEqual(self.engine(1).version, 2)
        changed = manager.changes.replace("majority", 1)
        self.net.run()
        self.successResultOf(changed)
        self.assertEqual(self.engine(1).version, 1)
        self.assertEqual(self.quorate(1), [True])
        self.form(1)
        self.assertEqual((self.quorate(1), len(heard)), ([False], 2))

    @given(st.sets(st.integers(1, 9)), st.integers(1, 9))
    def test_never(self, some: set[int], expected: int) -> None:
        """
        Of two partitions at most one may act.
        """
        others = {*range(1, expected + 1)} - some
        sides = [dict.fromkeys(side, expected) for side in (some - others, others)]
        present = [{n: e for n, e in side.items() if n <= expected} for side in sides]
        self.assertLessEqual(sum(majority(side).quorate for side in present), 1)


class ExternalTests(ProviderCase):
    """
    A program says who may act.
    """

    provider = "external"

    def setUp(self) -> None:
        super().setUp()
        self.program = FakeClient()

    def say(self, nodeid: int, quorate: bool, **more: Any) -> None:
        given = {"seconds": 10.0, **more}
        self.engine(nodeid).say(self.program, quorate=quorate, **given)
        self.net.run()

    def test_interface(self) -> None:
        """
        It offers what a provider does, and a call for programs.
        """
        verifyObject(IExternalQuorum, self.engine(1))

    def test_yes(self) -> None:
        """
        Nobody may act until a program of a member says so; then all members
        may.  (C18)
        """
        self.assertEqual(self.quorate(1, 2, 3), [False] * 3)
        self.say(2, True, reason="the witness answers")
        self.assertEqual(self.quorate(1, 2, 3), [True] * 3)
        rule = "the program at node 2 says yes: the witness answers"
        self.assertEqual(self.rule(3), rule)

    def test_no(self) -> None:
        """
        One no is enough to forbid it.
        """
        self.say(2, True)
        self.say(3, False)
        self.assertEqual(self.quorate(1, 2, 3), [False] * 3)
        self.assertEqual(self.rule(1), "the program at node 3 says no")

    def test_expires(self) -> None:
        """
        A word ends with its time, at one place of the order: not before its
        node said so.
        """
        self.say(2, True)
        self.net.clock.advance(10.0)
        self.assertEqual(self.quorate(1, 2), [True, True])
        self.net.run()
        self.assertEqual(self.quorate(1, 2, 3), [False] * 3)

    def test_repeated(self) -> None:
        """
        A word that is said again lasts on.
        """
        self.say(2, True)
        self.net.clock.advance(9.0)
        self.say(2, True)
        self.net.clock.advance(9.0)
        self.net.run()
        self.assertEqual(self.quorate(1), [True])

    def test_programGone(self) -> None:
        """
        With the connection of the program its word is over; until then nobody
        else speaks for the node.
        """
        self.say(2, True)
        other = FakeClient()
        self.assertRaises(Exists, self.engine(2).say, other, quorate=True, seconds=1.0)
        self.engine(2).connectionClosed(other)
        self.net.run()
        self.assertEqual(self.quorate(1), [True])
        self.engine(2).connectionClosed(self.program)
        self.net.run()
        self.assertEqual(self.quorate(1), [False])

    def test_memberLost(self) -> None:
        """
        A word was said of certain members: when one is lost it is over, on
        both sides.
        """
        self.say(2, True)
        self.net.form(1)
        self.form(2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [False] * 3)

    def test_memberComes(self) -> None:
        """
        Who comes changes nothing, and hears of the word.
        """
        self.net.form(1)
        self.form(2, 3)
        self.say(2, True)
        self.form(1, 2, 3)
        self.assertEqual(self.quorate(1, 2, 3), [True] * 3)

    def test_otherRing(self) -> None:
        """
        What is said about a ring that is over is refused, or overheard where
        it comes out late.
        """
        old = self.engine(1).cluster.ringId()
        self.form(1, 2)
        self.assertRaises(OldRing, self.say, 1, True, ringId=old)
        late = Word(Says.YES, old).encode()
        self.engine(1).messageDelivered(1, 0, late, "<")
        self.assertEqual(self.quorate(1), [False])

    def test_wrongTime(self) -> None:
        """
        A word is good for a time, and not for ever.
        """
        for seconds in (0.0, -1.0, 3600.1):
            self.assertRaises(InvalidParameter, self.say, 1, True, seconds=seconds)

    def test_duringARound(self) -> None:
        """
        While the ring changes nothing is said; a word that ended meanwhile is
        taken back afterwards.
        """
        self.say(2, True)
        self.net.form(1, 2, 3)
        self.assertRaises(
            TryAgain, self.engine(2).say, self.program, quorate=True, seconds=1.0
        )
        self.engine(2).connectionClosed(self.program)
        self.net.run()
        self.assertEqual(self.quorate(1), [False])

    def test_handedOver(self) -> None:
        """
        Another version goes on with the words, and ends them in time.
        """
        self.say(1, True, reason="so far")
        changed = self.net.nodes[1].manager.changes.replace("external", 1)
        self.net.run()
        self.successResultOf(changed)
        self.assertEqual(self.engine(1).version, 1)
        self.assertEqual(self.quorate(1), [True])
        self.assertEqual(self.engine(1).words()["words"]["1"]["reason"], "so far")
        self.net.clock.advance(10.0)
        self.net.run()
        self.assertEqual(self.quorate(1, 2, 3), [False] * 3)

    @given(st.binary(max_size=40))
    def test_anyBytes(self, body: bytes) -> None:
        """
        Whatever is sent is a word, or refused as a fault of its sender.
        """
        try:
            word = Word.decode(body)
        except WireError:
            return
        self.assertEqual(Word.decode(word.encode()).says, word.says)

    @given(st.dictionaries(st.integers(1, 5), st.sampled_from(Says)))
    def test_listen(self, said: dict[int, Says]) -> None:
        """
        May we act?  If somebody says yes, and nobody no.
        """
        words = {n: Word(says, RingId(4, 1)) for n, says in said.items()}
        expected = Says.YES in said.values() and Says.NO not in said.values()
        self.assertEqual(listen(words).quorate, expected)
