"""
Every feature in C{docs/features.md} is proved by a test that names it.
"""

import re
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.test.docstrings import DOCS, TESTS, named, proved

TABLE: Final = DOCS / "features.md"
ROW: Final = re.compile(r"^\| ([A-Z]\d+) \| ", re.MULTILINE)
# In a docstring: (A6), (A13, A15).
KEY: Final = re.compile(r"\(([A-Z]\d+(?:,\s+[A-Z]\d+)*)\)")


class FeaturesTests(SynchronousTestCase):
    def test_parsing(self) -> None:
        """
        What is looked for is found.
        """
        table = "| id | what |\n|---|---|\n| A1 | handles |\n| E12 | keys |\n"
        self.assertEqual(ROW.findall(table), ["A1", "E12"])
        text = "It is so (A6).  [pitfall A1] And so, too.  (E2,\n        E13)"
        self.assertEqual([*named(KEY, text)], ["A6", "E2", "E13"])

    def test_everyRow(self) -> None:
        """
        Every row has a test, once, and no test names a row that is not there.
        """
        if not TABLE.exists():
            raise SkipTest("not a checkout: there is no docs directory")
        rows = ROW.findall(TABLE.read_text())
        tests = proved(KEY, TESTS.rglob("test_*.py"))
        self.assertIn("A1", rows)
        told = [f"two rows {row}" for row in {*rows} if rows.count(row) > 1]
        told += [f"no test proves {row}" for row in rows if row not in tests]
        told += [f"{', '.join(tests[n])}: no row {n}" for n in tests.keys() - {*rows}]
        self.assertEqual(sorted(told), [])
