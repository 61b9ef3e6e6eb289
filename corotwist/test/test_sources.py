"""
The sources that docstrings name can be looked up.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import corotwist

PACKAGE: Final = Path(corotwist.__file__).parent
DOCS: Final = PACKAGE.parent / "docs"
# A key, and what it refers to: [SRP 5.2, 5.3], [pitfalls B14, C9], [EVS L5].
REFERENCE: Final = re.compile(
    r"\[((?:SRP|PG|SVC|EVS|pitfalls?) [A-Z0-9.]+(?:, [A-Z0-9.]+)*)\]"
)
SECTION: Final = re.compile(r"^#+ (?:Part )?([A-Z]+:|[0-9.]+)", re.MULTILINE)
ROW: Final = re.compile(r"^\| ([A-Z0-9, ]+) \|", re.MULTILINE)


def references(text: str) -> Iterator[tuple[str, str]]:
    """
    Pairs of key and place; C{pitfalls} is C{pitfall}.
    """
    for found in REFERENCE.findall(text):
        key, _, places = found.partition(" ")
        for place in places.split(", "):
            yield key.removesuffix("s"), place


def sections(text: str) -> set[tuple[str, str]]:
    """
    The numbered sections of C{protocol.md}, each with the part it is in.
    """
    found = set()
    part = ""
    for heading in SECTION.findall(text):
        if heading.endswith(":"):
            part = heading[:-1]
        else:
            found.add((part, heading.rstrip(".")))
    return found


def rows(text: str) -> set[tuple[str, str]]:
    """
    The rows of C{pitfalls.md}, and the letters of its tables.
    """
    places = {place for row in ROW.findall(text) for place in row.split(", ")}
    return {("pitfall", place) for place in places | {name[0] for name in places}}


class SourcesTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not DOCS.is_dir():
            raise SkipTest("not a checkout: there is no docs directory")

    def test_parsing(self) -> None:
        """
        What is looked for is found.
        """
        text = "said so.  [SRP 5.2, 5.3], [pitfalls B14, C9] and no [list]"
        self.assertEqual(
            list(references(text)),
            [("SRP", "5.2"), ("SRP", "5.3"), ("pitfall", "B14"), ("pitfall", "C9")],
        )
        self.assertEqual(sections("# Part PG: x\n## 4. y\n"), {("PG", "4")})
        table = "| E1, E2 | numbers | results |\n"
        expected = {("pitfall", place) for place in ("E", "E1", "E2")}
        self.assertEqual(rows(table), expected)

    def test_everyReference(self) -> None:
        """
        Every section and row that a docstring names is there.
        """
        known = sections((DOCS / "protocol.md").read_text())
        known |= rows((DOCS / "pitfalls.md").read_text())
        promises = (DOCS / "testing.md").read_text()
        known |= {
            ("EVS", name) for name in re.findall(r"\b[PLI]\d+(?:\.\d+)?\b", promises)
        }
        self.assertIn(("SRP", "5.3"), known)
        missing = {
            f"{path.relative_to(PACKAGE)}: {key} {place}"
            for path in PACKAGE.rglob("*.py")
            for key, place in references(path.read_text())
            if (key, place) not in known and path != Path(__file__)
        }
        self.assertEqual(sorted(missing), [])
