"""
corosync.xml: what it means, what is refused, and that nothing is lost.
"""

import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.config.document import DEEPEST, Comment, Option, Section
from corotwist.config.formats import corosyncconf
from corotwist.config.formats.xmlconf import parse, write
from corotwist.config.keys import keysOf
from corotwist.errors import ConfigurationError
from corotwist.test.config.factories import conf

TEXT = """\
<?xml version="1.0"?>
<!-- ours -->
<corosync>
  <totem version="2"
      cluster_name='a &amp; "b"'>
    <!-- two
         lines -->
    <interface mcastport="5405"/>
  </totem>
  <nodelist><node nodeid="1"/><node nodeid="2"/></nodelist>
</corosync>
"""
LAUGHS = """\
<!DOCTYPE corosync [
  <!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">
  <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
]>
<corosync a="&b;"/>
"""


def told(text: str) -> list[str]:
    """
    What is wrong with a file.
    """
    return [str(problem) for problem in parse(text.encode(), "f").problems]


class ParseTests(SynchronousTestCase):
    def test_meaning(self) -> None:
        """
        Elements are sections, attributes options; comments stay.  (A39)
        """
        document = parse(TEXT.encode(), "f").document
        totem, nodelist = document.sections()
        self.assertEqual(totem.value("cluster_name"), 'a & "b"')
        self.assertEqual(
            [item.text for item in totem.content if isinstance(item, Comment)],
            ["# two", "# lines"],
        )
        self.assertEqual([n.value("nodeid") for n in nodelist.sections()], ["1", "2"])
        self.assertIn("<!-- ours -->", write(document).text)

    def test_places(self) -> None:
        """
        Elements, attributes and values are known by line and column.
        """
        totem, nodelist = parse(TEXT.encode(), "f").document.sections()
        self.assertEqual((totem.place.line, totem.place.column), (4, 3))
        version, name = totem.options()
        self.assertEqual((version.place.line, version.place.column), (4, 10))
        self.assertEqual((version.valuePlace.line, version.valuePlace.column), (4, 19))
        self.assertEqual((name.place.line, name.place.column), (5, 7))
        columns = [node.place.column for node in nodelist.sections()]
        self.assertEqual(columns, [13, 31])

    def test_placesInCharacters(self) -> None:
        """
        Columns count characters, not bytes.
        """
        text = '<corosync é="ü" a="1"/>'
        *_, last = parse(text.encode(), "f").document.options()
        self.assertEqual((last.place.column, last.valuePlace.column), (17, 20))

    def test_problems(self) -> None:
        """
        What is no XML is told with its place; so is text, which
        corosync-xmlproc drops without a word.
        """
        for text, expected in (
            ("<corosync>\n <a>\n</corosync>", "f:3:3: syntax: mismatched tag"),
            ("", "f:1:1: syntax: no element found"),
            ('<corosync a="1" a="2"/>', "f:1:17: syntax: duplicate attribute"),
            (
                "<x/>",
                "f:1:1: syntax: the root element is <x>, and has to be <corosync>",
            ),
            (
                "<corosync>\n token: 5 </corosync>",
                "f:2:2: syntax: 'token: 5' means nothing here: options are attributes",
            ),
        ):
            self.assertIn(expected, told(text)[0])
        (problem,) = parse(b"<corosync>\n\xff</corosync>", "f").problems
        self.assertEqual(str(problem), "f:2:1: syntax: not UTF-8")

    def test_documentType(self) -> None:
        """
        There are no entities: none that grow, and none that are fetched.
        """
        expected = "a document type (DOCTYPE) is not taken: remove it"
        (problem,) = told(LAUGHS)
        self.assertIn(expected, problem)
        outside = '<!DOCTYPE c SYSTEM "file:///etc/passwd"><corosync/>'
        self.assertIn(expected, told(outside)[0])

    def test_depth(self) -> None:
        """
        Nobody nests without end, or gets at our stack.
        """
        (problem,) = told("<corosync>" * 10000)
        self.assertIn(f"more than {DEEPEST} levels", problem)


class WriteTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """
        What XML has no way to write is refused, and told with its place.
        """
        for item in (Option("1a", "x"), Option("a", "\x01"), Section("a/b")):
            document = Section("", content=[item])
            error = self.assertRaises(ConfigurationError, write, document)
            self.assertIn("XML", str(error))

    def test_comment(self) -> None:
        """
        A comment cannot end where it should not.
        """
        remark = Comment("# a ---> <b/> --")
        document = Section("", content=[remark, Option("c", "1")])
        text = write(document).text
        self.assertEqual(parse(text.encode(), "f").problems, ())
        self.assertEqual(list(parse(text.encode(), "f").document.sections()), [])

    def test_corosyncReadsIt(self) -> None:
        """
        Corosync's own program makes the same corosync.conf of it.
        """
        if shutil.which("corosync-xmlproc") is None or not shutil.which("xsltproc"):
            raise SkipTest("corosync-xmlproc is not installed")
        document = corosyncconf.parse(conf("cluster_name: a & <b>"), "f").document
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write(document).text)
        made = subprocess.run(
            ["corosync-xmlproc", str(path)], capture_output=True, check=True
        )
        reading = corosyncconf.parse(made.stdout, "g")
        self.assertEqual(reading.problems, ())
        self.assertEqual(keysOf(reading.document), keysOf(document))
