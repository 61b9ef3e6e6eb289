"""
L{corotwist.config.names} and L{corotwist.config.order}.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config import names
from corotwist.config.order import FEW, SortedNames
from corotwist.errors import InvalidParameter, NameTooLong
from corotwist.test.config.strategies import keyNames
from corotwist.test.strategies import thorough


class NameTests(SynchronousTestCase):
    def test_allowed(self) -> None:
        """
        Names of keys have 3 to 255 letters, digits and C{. _ - / :}.  (A21)
        """
        alphabet = "".join(map(chr, range(256)))
        allowed = [c for c in alphabet if _isKey(f"ab{c}")]
        self.assertEqual(
            "".join(allowed),
            "-./0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
        )
        for length, allowable in ((2, False), (3, True), (255, True), (256, False)):
            self.assertEqual(_isKey("x" * length), allowable)

    def test_refusal(self) -> None:
        """
        The refusal says what would be right, and not more than a line.
        """
        error = self.assertRaises(NameTooLong, names.checkKey, "ä" * 1000)
        self.assertIn("3 to 255 letters, digits and . _ - / :", str(error))
        self.assertLess(len(str(error)), 120)

    def test_components(self) -> None:
        """
        The name of an object is one component.
        """
        names.checkComponent("ring0_addr")
        for wrong in ("a.b", "a b", "ä", "a\n"):
            self.assertRaises(InvalidParameter, names.checkComponent, wrong)

    def test_objects(self) -> None:
        """
        A number after an object's name is its index; what could not be one, and
        what comes first or after an index, is a name.  (A13)
        """
        for prefix, objects in (
            ("", []),
            ("totem.", [("totem", None)]),
            ("nodelist.node.0.", [("nodelist", None), ("node", 0)]),
            ("a.1.2.3.", [("a", 1), ("2", 3)]),
            ("1.2.", [("1", 2)]),
            ("a.01.", [("a", None), ("01", None)]),
            ("a.4294967295.", [("a", 4294967295)]),
            ("a.12345678901.", [("a", None), ("12345678901", None)]),
            ("a..", [("a", None), ("", None)]),
            (".0.", [("", 0)]),
        ):
            found = [(name, index) for name, index, _ in names.objects(prefix)]
            self.assertEqual(found, objects, prefix)

    @thorough
    @given(keyNames())
    def test_onePlace(self, name: str) -> None:
        """
        A name makes one place, and the place makes the name again.  (A13)
        """
        prefix, key = names.split(name)
        written = ""
        for own, index, here in names.objects(prefix):
            written += f"{own}." if index is None else f"{own}.{index}."
            self.assertEqual(here, written)
        self.assertEqual(written + key, name)

    def test_unindexed(self) -> None:
        """
        What names have in common that differ in their numbers only.
        """
        for name, unindexed in (
            ("totem.interface.0.member.12", "totem.interface.member"),
            ("a.1.2.b3.01", "a.b3.01"),
            ("1.a", "1.a"),
        ):
            self.assertEqual(names.unindexed(name), unindexed)


def _isKey(name: str) -> bool:
    try:
        names.checkKey(name)
    except NameTooLong:
        return False
    return True


class SortedNamesTests(SynchronousTestCase):
    """
    L{SortedNames}.
    """

    def test_order(self) -> None:
        """
        The order is that of the bytes.
        """
        order = SortedNames()
        alphabet = "zZ_:9a0A/.-"
        for character in alphabet:
            order.add(character)
        self.assertEqual("".join(order.startingWith("")), "-./09:AZ_az")

    @thorough
    @given(
        st.lists(
            st.tuples(st.booleans(), st.text("ab.", max_size=3)),
            max_size=3 * FEW,
        ),
        st.lists(st.integers(0, 3 * FEW), max_size=4),
        st.text("ab.", max_size=2),
    )
    def test_anyHistory(
        self, history: list[tuple[bool, str]], asked: list[int], prefix: str
    ) -> None:
        """
        Whatever came and went, few or many between two questions: it is what a
        sorted set would say.
        """
        order = SortedNames()
        model: set[str] = set()
        for number, (adding, name) in enumerate([*history, (True, "end")]):
            if adding and name not in model:
                order.add(name)
                model.add(name)
            elif not adding and name in model:
                order.remove(name)
                model.remove(name)
            if number in asked or number == len(history):
                expected = sorted(each for each in model if each.startswith(prefix))
                self.assertEqual(order.startingWith(prefix), expected)

    def test_many(self) -> None:
        """
        Many at once are sorted at once: in and out.
        """
        order = SortedNames()
        for number in range(3 * FEW):
            order.add(f"{number:04}")
        self.assertEqual(len(order.startingWith("")), 3 * FEW)
        for number in range(2 * FEW):
            order.remove(f"{number:04}")
        order.add("0000")
        self.assertEqual(len(order.startingWith("")), FEW + 1)
        self.assertEqual(order.startingWith("0000"), ["0000"])
