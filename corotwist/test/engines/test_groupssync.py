"""
Tests of what is shown of several changes of the table at once.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.groupssync import Unshown
from corotwist.engines.interfaces import Change, Member, Reason

GROUP, OTHER = b"group", b"another"
A, B = Member(1, 10), Member(2, 20)


def down(*members: Member) -> tuple[Change, ...]:
    return tuple(Change(member, Reason.NODEDOWN) for member in members)


def up(*members: Member) -> tuple[Change, ...]:
    return tuple(Change(member, Reason.NODEUP) for member in members)


class UnshownTests(SynchronousTestCase):
    """
    One view of each group shows them.
    """

    def setUp(self) -> None:
        self.unshown = Unshown()

    def test_both(self) -> None:
        """
        Who left and who joined are shown together, each group once, in the
        order of their names.  (D24)
        """
        self.unshown.left(GROUP, down(B, A))
        self.unshown.joined(OTHER, up(A))
        self.unshown.joined(GROUP, up(Member(3, 30)))
        self.assertEqual(
            self.unshown.taken(),
            [(OTHER, (), up(A)), (GROUP, down(A, B), up(Member(3, 30)))],
        )
        self.assertEqual(self.unshown.taken(), [])

    def test_back(self) -> None:
        """
        Who went and came again is another one: it is in both.  (D24)
        """
        self.unshown.left(GROUP, down(A))
        self.unshown.joined(GROUP, up(A))
        self.assertEqual(self.unshown.taken(), [(GROUP, down(A), up(A))])

    def test_between(self) -> None:
        """
        Of who came and went again, while nothing was shown, nothing is; who was
        there before, went, came and went has gone, for the first reason.  (D24)
        """
        self.unshown.joined(GROUP, up(A))
        self.unshown.left(GROUP, down(A))
        self.assertEqual(self.unshown.taken(), [])
        self.unshown.left(GROUP, (Change(B, Reason.LEAVE),))
        self.unshown.joined(GROUP, up(B))
        self.unshown.left(GROUP, down(B))
        self.assertEqual(
            self.unshown.taken(), [(GROUP, (Change(B, Reason.LEAVE),), ())]
        )
