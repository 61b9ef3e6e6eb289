"""
Every row of C{docs/pitfalls.md} is played by a test that names it.
"""

import re
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.test.docstrings import DOCS, TESTS, named, proved

TABLE: Final = DOCS / "pitfalls.md"
ROW: Final = re.compile(
    r"^\| ([A-Z]\d+(?:, [A-Z]\d+)*) \|[^|]*\| ([^|]*) \|$", re.MULTILINE
)
KEY: Final = re.compile(r"\[pitfalls? ([A-Z]\d+(?:,\s+[A-Z]\d+)*)\]")
# How the last cell of a row begins that nothing can play yet.
UNBUILT: Final = "not built yet: "


def rows(table: str) -> dict[str, bool]:
    """
    The rows of a table, and whether each can be played.
    """
    return {
        name: not cell.startswith(UNBUILT)
        for names, cell in ROW.findall(table)
        for name in names.split(", ")
    }


class PitfallsTests(SynchronousTestCase):
    def test_parsing(self) -> None:
        """
        What is looked for is found.
        """
        table = """
| | what goes wrong | what has to happen |
|---|---|---|
| A1 | this | that |
| E1, E2 | numbers wrap | the same |
| K2 | a link | not built yet: links |
"""
        expected = {"A1": True, "E1": True, "E2": True, "K2": False}
        self.assertEqual(rows(table), expected)
        text = "It is so.  [pitfall A1] [EVS P1.2], [pitfalls B2,\n        C13]"
        self.assertEqual([*named(KEY, text)], ["A1", "B2", "C13"])

    def test_everyRow(self) -> None:
        """
        Every row has a test, unless it says what is missing, and then it has
        none; and no test names a row that is not there.
        """
        if not TABLE.exists():
            raise SkipTest("not a checkout: there is no docs directory")
        table = rows(TABLE.read_text())
        tests = proved(KEY, TESTS.rglob("test_*.py"))
        self.assertIn("A1", table)
        told = [f"no test plays {n}" for n, can in table.items() if can > (n in tests)]
        told += [
            f"{', '.join(tests[name])}: {name} is said to be impossible yet"
            for name, can in table.items()
            if not can and name in tests
        ]
        told += [
            f"{', '.join(tests[name])}: no row {name}" for name in tests.keys() - table
        ]
        self.assertEqual(sorted(told), [])
