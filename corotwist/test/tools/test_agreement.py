"""
Did several members of a group see the same, in the same order?
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.interfaces import Change, GroupView, Member, Reason
from corotwist.tools.agreement import (
    Heard,
    Journal,
    Seen,
    difference,
    fromFirst,
    fromLast,
    killedDiffers,
    returnedDiffers,
    runs,
    survivorsDiffer,
)

ALL = Seen((Member(1, 9), Member(2, 9), Member(3, 9)))
TWO = Seen((Member(1, 9), Member(2, 9)))
THREE = Seen((Member(3, 9),))


def journal(nodeid: int, *story: object) -> Journal:
    """
    Texts are messages, beginning with the digit of their sender; L{None} is an
    interruption.
    """
    made = Journal(nodeid)
    for item in story:
        if isinstance(item, str):
            made.messageDelivered(Member(int(item[0]), 9), item.encode())
        elif isinstance(item, Seen):
            made.viewChanged(GroupView(b"g", item.members, (), ()))
        else:
            made.interrupted("gone")
    return made


class JournalTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """
        Messages are counted, views are not.
        """
        self.assertEqual(journal(1, ALL, "1a", "2a", TWO).messages, 2)

    def test_lives(self) -> None:
        """
        Interruptions part the lives of a member.
        """
        made = journal(3, ALL, "1a", None, THREE, "3a")
        self.assertEqual(
            made.lives(), [[ALL, Heard(1, b"1a")], [THREE, Heard(3, b"3a")]]
        )

    def test_lastView(self) -> None:
        """
        The newest view counts, if there is one.
        """
        self.assertEqual(journal(1, ALL, "1a", TWO, "1b").lastView(), TWO)
        self.assertIsNone(journal(1).lastView())

    def test_viewsAreTheirMembers(self) -> None:
        """
        What came and went does not make views differ: two parts that merge
        have each other join.
        """
        change = Change(Member(3, 9), Reason.NODEUP)
        self.assertEqual(Seen(ALL.members, (), (change,)), ALL)


class PlaceTests(SynchronousTestCase):
    def test_appearances(self) -> None:
        """
        A view may appear more than once.
        """
        entries = journal(1, "1x", ALL, "1a", TWO, ALL, "1b").entries
        self.assertEqual(len(fromFirst(entries, ALL)), 5)
        self.assertEqual(len(fromLast(entries, ALL)), 2)
        self.assertEqual((*fromFirst(entries, THREE), *fromLast(entries, THREE)), ())


class DifferenceTests(SynchronousTestCase):
    """
    Each kind of disagreement is found, and named.
    """

    def between(self, one: tuple[object, ...], other: tuple[object, ...]) -> str | None:
        """
        What there is to say about two members.
        """
        return difference(
            journal(1, *one).entries, journal(2, *other).entries, ("A", "B")
        )

    def test_none(self) -> None:
        """
        Equal sequences do not differ.
        """
        self.assertIsNone(self.between((ALL, "1a"), (ALL, "1a")))

    def test_order(self) -> None:
        """
        Messages in another order.
        """
        self.assertEqual(
            self.between((ALL, "1a", "2a"), (ALL, "2a", "1a")),
            "at entry 1, A has message b'1a' of node 1, B has message b'2a' of node 2",
        )

    def test_view(self) -> None:
        """
        A view at another place.
        """
        self.assertEqual(
            self.between((ALL, TWO, "2a"), (ALL, "2a", TWO)),
            "at entry 1, A has view of nodes 1, 2, B has message b'2a' of node 2",
        )

    def test_length(self) -> None:
        """
        A message that one of them lacks.
        """
        self.assertEqual(
            self.between((ALL,), (ALL, "1a", "1b")),
            "B has 2 entries more than A, the first message b'1a' of node 1",
        )
        self.assertEqual(
            self.between((ALL, None), (ALL,)),
            "A has 1 entries more than B, the first interruption: gone",
        )


class StoryTests(SynchronousTestCase):
    """
    Three members; the third is killed and comes back, alone for a moment.
    """

    def setUp(self) -> None:
        self.one = journal(1, "1x", ALL, "1a", "2a", TWO, "1b", ALL, "3b", "1c")
        self.two = journal(2, ALL, "1a", "2a", TWO, "1b", ALL, "3b", "1c")
        self.three = journal(
            3, ALL, "1a", "2a", "3lost", None, THREE, "3alone", ALL, "3b", "1c"
        )

    def test_agreed(self) -> None:
        """
        What a killed member alone has got is nobody's fault.
        """
        self.assertEqual(list(survivorsDiffer([self.one, self.two], ALL)), [])
        self.assertEqual(list(returnedDiffers(self.three, self.one, ALL)), [])
        self.assertEqual(list(killedDiffers(self.three, self.one, ALL)), [])

    def test_survivors(self) -> None:
        """
        Survivors that differ are found.
        """
        self.two.messageDelivered(Member(2, 9), b"2z")
        (found,) = survivorsDiffer([self.one, self.two], ALL)
        self.assertIn("node 2 has 1 entries more than node 1", found)

    def test_returned(self) -> None:
        """
        So is a member that differs since its return.
        """
        self.one.messageDelivered(Member(2, 9), b"2z")
        (found,) = returnedDiffers(self.three, self.one, ALL)
        self.assertIn("node 1 has 1 entries more than node 3", found)

    def test_neverReturned(self) -> None:
        """
        And one that did not come back.
        """
        away = journal(3, ALL, "1a", None, THREE)
        self.assertEqual(
            list(returnedDiffers(away, self.one, ALL)), ["node 3 did not come back"]
        )

    def test_killedOutOfOrder(self) -> None:
        """
        So is one that had seen another order before it was killed.
        """
        wrong = journal(3, ALL, "2a", "1a", None)
        (found,) = killedDiffers(wrong, self.one, ALL)
        self.assertIn("in another order than node 1 before it was killed", found)

    def test_killedWithHole(self) -> None:
        """
        And one that had skipped a message.
        """
        wrong = journal(3, ALL, "2a", None)
        self.assertEqual(len(list(killedDiffers(wrong, self.one, ALL))), 1)

    def test_killedWithInvention(self) -> None:
        """
        And one that had got in the middle what nobody else has.
        """
        wrong = journal(3, ALL, "1a", "3z", "2a", None)
        self.assertEqual(len(list(killedDiffers(wrong, self.one, ALL))), 1)


class RunsTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """
        Messages of one sender in a row become one word.
        """
        made = journal(1, ALL, "1.1", "1.2", "1.3", "2.1", TWO, "1.4")
        self.assertEqual(runs(made.entries), ["1.1..1.3", "2.1", "1.4"])
