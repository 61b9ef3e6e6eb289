"""
A member that joins, or begins messages, without end: what counts of it is
bounded, and everybody decides alike.  [pitfall I19]
"""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import assembly
from corotwist.engines.assembly import OPEN_BYTES, OPEN_MESSAGES, Assembly
from corotwist.engines.executive import (
    SERVICES_GROUP,
    Executive,
    JoinList,
    Mcast,
    Part,
    PartialMcast,
    ProcJoin,
    ProcLeave,
    address,
    whole,
)
from corotwist.engines.interfaces import LARGEST_MESSAGE_BYTES, Member, Reason
from corotwist.engines.joinlist import MOST_MEMBERSHIPS, GroupTable, Round
from corotwist.errors import TryAgain
from corotwist.test.engines.orderednet import Listener
from corotwist.test.engines.test_cpg import G, NetCase

MOST = 6


class RunawayTests(NetCase):
    """
    Three nodes; each may have few memberships.
    """

    def setUp(self) -> None:
        super().setUp()
        for node in self.net.nodes.values():
            node.cpg._table.most = MOST

    def say(self, nodeid: int, *messages: Executive) -> None:
        """
        Have a member say what no engine would.
        """
        ring = self.net.nodes[nodeid].totem.ring
        assert ring is not None
        ring.order.extend(
            (nodeid, address(SERVICES_GROUP, whole(message))) for message in messages
        )

    def of(self, nodeid: int, on: int) -> set[tuple[bytes, int]]:
        """
        The memberships of a node, as another knows them.
        """
        entries = self.node(on).cpg._table.entries()
        return {(group, m.pid) for group, m in entries if m.nodeid == nodeid}

    def beyond(self, nodeid: int) -> int:
        count = self.node(nodeid).cpg.dump()["beyond"]
        assert isinstance(count, int)
        return count

    def test_endlessJoins(self) -> None:
        """
        Joins beyond the bound are ignored on every node: nobody sees them, or
        what those processes say, until another one has left.
        """
        self.say(3, *[ProcJoin(G, pid, Reason.JOIN) for pid in range(100)])
        self.say(3, Mcast(G, 0, 3, 0, b"in"), Mcast(G, 99, 3, 0, b"out"))
        self.net.run()
        views = [len(self.clients[n].views()) for n in (1, 2, 3)]
        self.assertEqual(views, [MOST - 1] * 3)
        for nodeid in (1, 2, 3):
            self.assertEqual(len(self.of(3, on=nodeid)), MOST)
            self.assertEqual(self.clients[nodeid].messages(), [b"in"])
            self.assertEqual(self.beyond(nodeid), 100 - (MOST - 1))
        self.say(3, ProcLeave(G, 0, Reason.LEAVE), ProcJoin(G, 99, Reason.JOIN))
        self.net.run()
        for nodeid in (1, 2, 3):
            self.assertIn((G, 99), self.of(3, on=nodeid))
        self.assertEqual(self.of(1, on=2), {(G, 101)})

    def test_endlessLists(self) -> None:
        """
        Whatever a member lists and changes in a round, those who came with it
        and those who did not have the same table afterwards, and no more in
        it than may be.
        """
        full = 0
        for seed in range(40):
            self.setUp()
            random = Random(seed)
            self.say(3, *[ProcJoin(G, pid, Reason.JOIN) for pid in range(seed % MOST)])
            self.net.run()
            self.net.form(1, 3)
            self.net.form(2)
            self.net.run()
            self.net.form(1, 2, 3)
            for nodeid in (1, 2, 3):
                self.net.visit(nodeid)
            for _ in range(random.randrange(30)):
                self.say(3, self.anything(random))
            self.net.run()
            known = self.of(3, on=1)
            self.assertEqual(self.of(3, on=2), known)
            self.assertTrue(len(known) <= MOST)
            full += len(known) == MOST
        self.assertTrue(full > 10, full)

    def anything(self, random: Random) -> Executive:
        pids = [random.randrange(12) for _ in range(random.randrange(1, 9))]
        match random.randrange(4):
            case 0:
                return JoinList(tuple((pid, G) for pid in pids))
            case 1:
                return ProcLeave(G, pids[0], Reason.LEAVE)
            case _:
                return ProcJoin(G, pids[0], Reason.JOIN)

    def test_refusedAtOnce(self) -> None:
        """
        A node's own clients are told to try again before anything is sent, so
        that it never gets there; processes on their way count.
        """
        engine = self.node(1).cpg
        more = [Listener(pid) for pid in range(200, 200 + MOST)]
        for client in more[:-1]:
            engine.join(client, G)
        refusal = self.assertRaises(TryAgain, engine.join, more[-1], G)
        self.assertIn(f"{MOST} memberships on this node", str(refusal))
        self.net.run()
        self.assertRaises(TryAgain, engine.join, more[-1], b"other")
        engine.leave(more[0], G)
        engine.closed(more[1])
        self.assertRaises(TryAgain, engine.join, more[-1], G)
        self.net.run()
        engine.join(more[-1], G)
        engine.join(more[0], G)
        self.assertRaises(TryAgain, engine.join, Listener(999), G)
        self.net.run()
        for nodeid in (1, 2, 3):
            self.assertEqual(len(self.of(1, on=nodeid)), MOST)
            self.assertEqual(self.beyond(nodeid), 0)

    def test_usedUpByAnother(self) -> None:
        """
        Where somebody else's joins in our name took the last place, a join of
        ours that was on its way comes to nothing, as for everybody else; its
        client may try again.
        """
        late = Listener(700)
        self.say(1, *[ProcJoin(G, pid, Reason.JOIN) for pid in range(MOST)])
        self.node(1).cpg.join(late, G)
        self.net.run()
        self.assertEqual((late.views(), self.node(1).cpg._local.count), ([], 1))
        self.assertRaises(TryAgain, self.node(1).cpg.join, late, G)
        self.say(1, ProcLeave(G, 0, Reason.LEAVE))
        self.net.run()
        self.node(1).cpg.join(late, G)
        self.net.run()
        self.assertEqual(len(late.views()), 1)

    def test_endlessMessages(self) -> None:
        """
        Of messages that begin and never end, on every node those that began
        first are forgotten; the others arrive.
        """
        self.patch(assembly, "OPEN_MESSAGES", 2)
        pids = (1, 2, 3)
        self.say(3, *[ProcJoin(G, pid, Reason.JOIN) for pid in pids])
        for part in (Part.FIRST, Part.LAST):
            self.say(
                3, *[PartialMcast(G, pid, 3, 0, 4, part, b"%02d" % pid) for pid in pids]
            )
        self.net.run()
        for nodeid in (1, 2, 3):
            self.assertEqual(self.clients[nodeid].messages(), [b"0202", b"0303"])


class TableTests(SynchronousTestCase):
    """
    The bound itself.
    """

    def test_full(self) -> None:
        """
        It is each node's own.
        """
        table = GroupTable()
        for number in range(MOST_MEMBERSHIPS):
            self.assertFalse(table.isFull(2))
            table.add(b"%d" % (number % 9), Member(2, number))
        self.assertTrue(table.isFull(2))
        self.assertFalse(table.isFull(1))
        self.assertEqual(table.largestNode(), MOST_MEMBERSHIPS)
        table.remove(b"0", Member(2, 0))
        self.assertFalse(table.isFull(2))

    def test_round(self) -> None:
        """
        A round keeps no more of one node, however often it lists and changes
        others, and takes nothing from another node.
        """
        heard = Round(3)
        heard.listed(1, [(7, G)])
        for pid in range(50):
            heard.listed(2, [(pid, G)])
            heard.joined(G, Member(2, 100 + pid), known=False)
            heard.left(G, Member(2, 200 + pid))
        self.assertEqual(
            sorted(heard.present()),
            [(G, Member(1, 7)), *[(G, Member(2, n)) for n in range(3)]],
        )
        self.assertTrue(len(heard._fresh) <= 3)


class OpenMessageTests(SynchronousTestCase):
    """
    Messages in pieces.
    """

    def test_bytes(self) -> None:
        """
        What one node has open is no more than so many bytes in the end, and
        the newest message always has a place.
        """
        held = Assembly()
        for pid in range(100):
            held.begin((G, Member(2, pid)), LARGEST_MESSAGE_BYTES, (), bound=False)
            held.begin((G, Member(3, pid)), 1, (), bound=False)
        whole_ = OPEN_BYTES // LARGEST_MESSAGE_BYTES
        self.assertEqual(held.largestNode(), (100, OPEN_BYTES))
        self.assertEqual(held.dropped, 100 - whole_)
        self.assertIn((G, Member(2, 99)), held._partials)

    def test_count(self) -> None:
        """
        Nor more than so many messages.
        """
        held = Assembly()
        for pid in range(OPEN_MESSAGES + 10):
            held.begin((G, Member(2, pid)), 1, (), bound=False)
        self.assertEqual(held.largestNode()[0], OPEN_MESSAGES)
        for key in [*held._partials]:
            held.drop(key)
        self.assertEqual(
            (held.largestNode(), held._open, held._bytes), ((0, 0), {}, {})
        )

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("begin", "begin", "end", "drop")),
                st.builds(Member, st.integers(1, 2), st.integers(1, 5)),
                st.integers(1, 60),
            ),
            max_size=60,
        ),
        st.integers(0, 30),
    )
    def test_newcomer(self, story: list[tuple[str, Member, int]], came: int) -> None:
        """
        Who came later has the same of every message that began since.
        """
        self.patch(assembly, "OPEN_MESSAGES", 3)
        self.patch(assembly, "OPEN_BYTES", 100)
        old, new = Assembly(), Assembly()
        since: set[Member] = set()
        for number, (what, member, size) in enumerate(story):
            if number >= came and what == "begin":
                since.add(member)
            for held in (old, new) if number >= came else (old,):
                if what == "begin":
                    held.begin((G, member), size, (), bound=False)
                elif what == "drop":
                    held.drop((G, member))
            open_ = [(G, member) in held._partials for held in (old, new)]
            if member in since:
                self.assertEqual(*open_)
            if what == "end":
                for held in (old, new):
                    held.finish((G, member))
