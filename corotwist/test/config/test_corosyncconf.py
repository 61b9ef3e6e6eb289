"""
The syntax of corosync.conf, and everything that can be wrong with it.
"""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.document import Comment, Option, Place, Reading, Section
from corotwist.config.formats.corosyncconf import LONGEST_LINE_BYTES, parse
from corotwist.config.loader import read


def told(reading: Reading) -> list[str]:
    """
    The problems as an operator reads them.
    """
    return [str(problem) for problem in reading.problems]


class ParseTests(SynchronousTestCase):
    def test_sectionsAndOptions(self) -> None:
        """
        Sections nest, options are split at the first colon and trimmed, and
        everything knows its place.
        """
        reading = parse("totem {\n  token : 10:00 \n\tinner{\n  }\n}\n", "f")
        self.assertEqual(told(reading), [])
        self.assertTrue(reading.balanced)
        (totem,) = reading.document.sections()
        self.assertEqual((totem.name, totem.place), ("totem", Place("f", 1, 1)))
        self.assertEqual(
            list(totem.options()), [Option("token", "10:00", Place("f", 2, 3))]
        )
        (inner,) = totem.sections()
        self.assertEqual((inner.name, inner.place), ("inner", Place("f", 3, 2)))

    def test_repeatedSections(self) -> None:
        """
        Sections of one name stay apart, in the order of the file.
        """
        text = "node {\nnodeid: 2\n}\nnode {\nnodeid: 1\n}\n"
        values = [
            option.value
            for section in parse(text, "f").document.sections()
            for option in section.options()
        ]
        self.assertEqual(values, ["2", "1"])

    def test_commentsAreKept(self) -> None:
        """
        Comments and empty lines stay where they are, to be written back.
        """
        reading = parse("# first\n\ntotem {\n  #a: b\n}", "f")
        self.assertEqual(
            reading.document.content[:2],
            [Comment("# first", Place("f", 1, 1)), Comment("", Place("f", 2, 1))],
        )
        (totem,) = reading.document.sections()
        self.assertEqual(totem.content, [Comment("#a: b", Place("f", 4, 3))])

    def test_braceInValue(self) -> None:
        """
        A brace behind the colon belongs to the value.
        """
        reading = parse("a {\ncommand: x {y}\n}", "f")
        (section,) = reading.document.sections()
        self.assertEqual([o.value for o in section.options()], ["x {y}"])

    def test_windowsLineEnds(self) -> None:
        """
        A carriage return is a blank.
        """
        reading = parse("a {\r\nb: c\r\n}\r\n", "f")
        self.assertEqual(told(reading), [])
        (section,) = reading.document.sections()
        self.assertEqual([o.value for o in section.options()], ["c"])

    def test_everyMistakeAtOnce(self) -> None:
        """
        One reading finds all the lines that are wrong.
        """
        text = "totem {\nversion 2\n: 3\n}\n}\nnode { nodeid: 1 }\nx y {\n}\n"
        self.assertEqual(
            told(parse(text, "f")),
            [
                (
                    "f:2:1: syntax: 'version 2' is neither 'name {', nor"
                    " 'key: value', nor }"
                ),
                "f:3:1: syntax: '' is no name for an option",
                "f:5:1: syntax: } without a section to close",
                "f:6:1: node: 'nodeid: 1 }' after { needs its own line",
                "f:7:1: syntax: 'x y' is no name for a section",
            ],
        )

    def test_neverClosed(self) -> None:
        """
        A section without an end is reported where it begins, and the file is
        known to be out of balance.
        """
        reading = parse("totem {\nversion: 2\n", "f")
        self.assertEqual(
            told(reading), ["f:1:1: totem: the section is never closed: add a line }"]
        )
        self.assertFalse(reading.balanced)

    def test_closedOnTheSameLine(self) -> None:
        """
        A brace behind something else closes nothing, and is reported.
        """
        reading = parse("totem {\nfoo }\n", "f")
        self.assertIn(
            "f:2:5: syntax: } closes a section on a line of its own", told(reading)
        )
        self.assertFalse(reading.balanced)

    def test_longLine(self) -> None:
        """
        A line that corosync would cut is an error that says so; one byte less
        is taken whole.
        """
        fits = "k: " + "x" * (LONGEST_LINE_BYTES - 3)
        self.assertEqual(told(parse(fits, "f")), [])
        self.assertEqual(
            told(parse(fits + "x", "f")),
            [
                (
                    "f:1:512: syntax: the line has 512 bytes; corosync would cut it"
                    " at 511: shorten it"
                )
            ],
        )

    def test_longComment(self) -> None:
        """
        A comment may be as long as it likes.
        """
        self.assertEqual(told(parse("#" * 1000, "f")), [])

    def test_nonBreakingSpace(self) -> None:
        """
        A sign that only looks like a blank is named, with its place.
        """
        reading = parse("totem {\n  token:\u00a03000\n}\n", "f")
        self.assertEqual(
            told(reading),
            [
                (
                    "f:2:9: syntax: a non-breaking space (U+00A0): type an"
                    " ordinary blank there, or nothing"
                )
            ],
        )
        self.assertTrue(reading.balanced)

    def test_zeroByte(self) -> None:
        """
        No system call takes a path or a name with a zero byte in it.
        """
        self.assertEqual(
            told(parse(b"totem {\n  keyfile: /a\0b\n}\n", "f")),
            [
                (
                    "f:2:14: syntax: a zero byte (U+0000): type an"
                    " ordinary blank there, or nothing"
                )
            ],
        )

    def test_byteOrderMark(self) -> None:
        """
        So is the mark that some editors put in front.
        """
        self.assertIn("U+FEFF", told(parse("\ufefftotem {\n}\n", "f"))[0])

    def test_notText(self) -> None:
        """
        Bytes that are not UTF-8 are reported by line.
        """
        self.assertEqual(
            told(parse(b"a {\nb: \xff\n}", "f")),
            ["f:2:4: syntax: not UTF-8 at byte 4 of the line"],
        )

    @given(st.binary(max_size=200))
    def test_anyBytes(self, content: bytes) -> None:
        """
        Whatever is in the file, there is an answer: it is understood or every
        problem names a line of it.
        """
        reading = parse(content, "f")
        lines = content.count(b"\n") + 1
        for problem in reading.problems:
            self.assertTrue(1 <= problem.line <= lines, problem)
        if not reading.balanced:
            self.assertTrue(reading.problems)

    @given(st.text("ab:{} #\n\u00a0", max_size=60))
    def test_nothingIsDropped(self, text: str) -> None:
        """
        Every line is an item of the document, closes one, or is a problem.
        """
        reading = parse(text, "f")
        closing = sum(line.strip(" \t\r") == "}" for line in text.split("\n"))
        unaccounted = len(text.split("\n")) - _items(reading.document) - closing
        self.assertLessEqual(unaccounted, len(reading.problems))


def _items(section: Section) -> int:
    return sum(
        1 + (_items(item) if isinstance(item, Section) else 0)
        for item in section.content
    )


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        self.path = self.directory / "corosync.conf"
        self.path.write_text("totem {\nversion: 2\n}\n")

    def test_absent(self) -> None:
        """
        A file that is not there is a problem like any other.
        """
        reading = read(str(self.directory / "other"))
        self.assertEqual(
            told(reading),
            [f"{self.directory}/other: file: cannot be read: {os.strerror(2)}"],
        )

    def test_extraFiles(self) -> None:
        """
        The C{uidgid.d} directory adds users and groups, each with its place.
        """
        extra = self.directory / "uidgid.d"
        extra.mkdir()
        (extra / "b").write_text("uidgid {\nuid: 2\n}\n")
        (extra / "a").write_text("# mine\nuidgid {\nuid: 1\n}\n")
        (extra / "sub").mkdir()
        reading = read(str(self.path))
        self.assertEqual(told(reading), [])
        found = list(reading.document.sections())
        self.assertEqual([s.name for s in found], ["totem", "uidgid", "uidgid"])
        self.assertEqual(found[1].place, Place(str(extra / "a"), 2, 1))

    def test_extraFilesHoldNothingElse(self) -> None:
        """
        Anything else in there is refused.
        """
        extra = self.directory / "uidgid.d"
        extra.mkdir()
        (extra / "a").write_text("totem {\n}\nuidgid {\n")
        self.assertEqual(
            told(read(str(self.path))),
            [
                f"{extra}/a:3:1: uidgid: the section is never closed: add a line }}",
                f"{extra}/a:1:1: totem: files in uidgid.d hold only uidgid sections",
            ],
        )
