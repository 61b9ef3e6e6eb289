"""
Tests of the table of groups and its reconciliation.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.interfaces import Member, Reason
from corotwist.engines.joinlist import Entry, GroupTable, Round, reconcile

entries = st.tuples(
    st.sampled_from((b"a", b"b")),
    st.builds(Member, st.integers(1, 4), st.integers(1, 3)),
)


def tableOf(*there: Entry) -> GroupTable:
    table = GroupTable()
    for group, member in there:
        table.add(group, member)
    return table


class TableTests(SynchronousTestCase):
    """
    Who is in which group.
    """

    def test_members(self) -> None:
        """
        Members ascend; a member is there once; a group without any is none.
        """
        table = tableOf(
            (b"b", Member(2, 1)), (b"b", Member(1, 9)), (b"a", Member(1, 1))
        )
        self.assertFalse(table.add(b"b", Member(2, 1)))
        self.assertEqual(table.members(b"b"), (Member(1, 9), Member(2, 1)))
        self.assertEqual(table.groups(), (b"a", b"b"))
        self.assertTrue(table.remove(b"a", Member(1, 1)))
        self.assertFalse(table.remove(b"a", Member(1, 1)))
        self.assertEqual(table.groups(), (b"b",))
        self.assertEqual(table.find(b"b", 2, 1), Member(2, 1))
        self.assertIsNone(table.find(b"b", 3, 1))
        self.assertIsNone(table.find(b"a", 2, 1))


class ReconcileTests(SynchronousTestCase):
    """
    What has to change after a round, on node 1.
    """

    def _heard(self, *there: Entry) -> Round:
        heard = Round()
        for group, member in there:
            heard.listed(member.nodeid, [(member.pid, group)])
        return heard

    def test_nothing(self) -> None:
        """
        When all agree nothing changes.
        """
        entry = (b"g", Member(2, 1))
        self.assertEqual(reconcile(tableOf(entry), 1, (1, 2), self._heard(entry)), [])

    def test_order(self) -> None:
        """
        C9: those lost with their node, those gained, those who just went.
        """
        table = tableOf(
            (b"g", Member(2, 1)), (b"g", Member(3, 1)), (b"h", Member(3, 2))
        )
        heard = self._heard((b"g", Member(4, 1)), (b"g", Member(3, 1)))
        self.assertEqual(
            reconcile(table, 1, (1, 3), heard),
            [
                (Reason.NODEDOWN, {b"g": (Member(2, 1),)}),
                (Reason.NODEUP, {b"g": (Member(4, 1),)}),
                (Reason.PROCDOWN, {b"h": (Member(3, 2),)}),
            ],
        )

    def test_listsOfSeveralNodes(self) -> None:
        """
        I2: in whatever order the lists arrive, everybody listed is there.
        """
        heard = self._heard(*[(b"g", Member(n, n)) for n in (3, 1, 2)])
        self.assertEqual(
            reconcile(GroupTable(), 1, (1,), heard),
            [(Reason.NODEUP, {b"g": (Member(2, 2), Member(3, 3))})],
        )

    def test_restarted(self) -> None:
        """
        C10: the same number on a node that did not come along is another
        process, also if it joined in the middle of the round.
        """
        entry = (b"g", Member(2, 1))
        heard = self._heard(entry)
        down_up = [
            (Reason.NODEDOWN, {b"g": (Member(2, 1),)}),
            (Reason.NODEUP, {b"g": (Member(2, 1),)}),
        ]
        self.assertEqual(reconcile(tableOf(entry), 1, (1,), heard), down_up)
        joined = Round()
        joined.joined(*entry, known=True)
        self.assertEqual(reconcile(tableOf(entry), 1, (1,), joined), down_up)

    def test_joinedMeanwhile(self) -> None:
        """
        Who joined in the middle of the round is neither lost nor gained.
        """
        entry = (b"g", Member(2, 1))
        heard = Round()
        heard.joined(*entry, known=False)
        self.assertEqual(reconcile(tableOf(entry), 1, (1,), heard), [])

    def test_leftMeanwhile(self) -> None:
        """
        Who left in the middle of the round does not come back through the
        list that was on its way.
        """
        entry = (b"g", Member(2, 1))
        heard = Round()
        heard.joined(*entry, known=False)
        heard.left(*entry)
        heard.listed(2, [(1, b"g")])
        self.assertEqual(reconcile(GroupTable(), 1, (1, 2), heard), [])
        heard.joined(*entry, known=False)
        self.assertEqual(reconcile(tableOf(entry), 1, (1, 2), heard), [])

    @given(st.sets(entries), st.sets(entries), st.sets(st.integers(2, 4)))
    def test_outcome(
        self, before: set[Entry], listed: set[Entry], staying: set[int]
    ) -> None:
        """
        C11, C12: afterwards the table is what the nodes listed, with our own
        processes as they were; nobody is lost or gained twice.
        """
        table = tableOf(*before)
        own = {entry for entry in before if entry[1].nodeid == 1}
        for reason, changes in reconcile(table, 1, staying, self._heard(*listed)):
            for group, members in changes.items():
                for member in members:
                    change = table.add if reason is Reason.NODEUP else table.remove
                    self.assertTrue(change(group, member))
        expected = own | {entry for entry in listed if entry[1].nodeid != 1}
        self.assertEqual(set(table.entries()), expected)
