"""
TOML: what it means, where things stand, and that comments and lines survive.
"""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.document import Comment, Option, Section
from corotwist.config.export import updated
from corotwist.config.formats.tomlconf import parse
from corotwist.config.formats.tomltext import write
from corotwist.config.keys import keysOf
from corotwist.config.values import u32

TEXT = """\
# The first comment.

[totem]   # behind a table
version = 2
token = "1000"  # behind a value
interface.mcastport = 5405

# About nodes.
[[nodelist.node]]
ring0_addr = '10.0.0.1'
nodeid = 0x1
[[nodelist.node]]
ring0_addr = "10.0.0.2"
nodeid = 2

[quorum]
two_node = true
uidgid = [
  { uid = "a" },  # inside
  { uid = "b" },
]
# The last.
"""


def said(section: Section) -> list[tuple[str, str]]:
    """
    The options of a section.
    """
    return [(option.name, option.value) for option in section.options()]


class ParseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = parse(TEXT.encode(), "f").document

    def test_meaning(self) -> None:
        """
        Tables are sections, arrays are repetitions.  (A39)
        """
        totem, nodelist, quorum = self.document.sections()
        self.assertEqual(said(totem), [("version", "2"), ("token", "1000")])
        (interface,) = totem.sections()
        self.assertEqual(said(interface), [("mcastport", "5405")])
        nodes = [node.value("nodeid") for node in nodelist.sections()]
        self.assertEqual(nodes, ["1", "2"])
        self.assertEqual(said(quorum), [("two_node", "yes")])
        self.assertEqual([s.value("uid") for s in quorum.sections()], ["a", "b"])

    def test_places(self) -> None:
        """
        Names and values are known by line and column; what is within a value,
        by the line of its name.
        """
        totem, nodelist, quorum = self.document.sections()
        version, token = totem.options()
        self.assertEqual((version.place.line, version.place.column), (4, 1))
        self.assertEqual((token.valuePlace.line, token.valuePlace.column), (5, 9))
        self.assertEqual([node.place.line for node in nodelist.sections()], [9, 12])
        self.assertEqual([user.place.line for user in quorum.sections()], [18, 18])

    def test_comments(self) -> None:
        """
        No comment is lost, wherever it stands.  (A40)
        """
        found = write(self.document).text
        for line in TEXT.splitlines():
            if "#" in line:
                self.assertIn(line[line.index("#") :], found)

    def test_problems(self) -> None:
        """
        What is no TOML is told with its place, and so is what means nothing.
        """
        for text, expected in (
            ("[a]\nb 1", "f:2:3: syntax: Expected '=' after a key in a key/value pair"),
            ("a = [[1]]", "f:1:1: a: lists of lists, or too many levels, mean nothing"),
            ("a = 1\na = 2", "f:2:1: syntax: Cannot overwrite a value"),
        ):
            (problem,) = parse(text.encode(), "f").problems
            self.assertIn(expected, str(problem))
        (problem,) = parse(b"a = 1\nb = '\xff'", "f").problems
        self.assertEqual(str(problem), "f:2:1: syntax: not UTF-8")

    def test_beyondPython(self) -> None:
        """
        What Python's own reader gives up is told in our words.
        """
        for text, problem in (
            (f"a = {'[' * 9000}{']' * 9000}", "f: syntax: more than 16 levels"),
            (
                f"[totem]\ntoken = {'9' * 5000}",
                "f: syntax: a number or a time that cannot be",
            ),
        ):
            (found,) = parse(text.encode(), "f").problems
            self.assertEqual(str(found), problem)

    def test_depth(self) -> None:
        """
        Nobody nests without end, or gets at our stack.
        """
        for text in ("a." * 100 + "b = 1", "a = " + "[" * 10000, "a = " + "{b=" * 5000):
            self.assertEqual(len(parse(text.encode(), "f").problems), 1, text[:20])


class WriteTests(SynchronousTestCase):
    def changed(self, text: str, **values: int) -> str:
        """
        A file after some options of totem changed.
        """
        document = parse(text.encode(), "f").document
        keys = dict(keysOf(document))
        keys.update({f"totem.{name}": u32(value) for name, value in values.items()})
        return write(updated(document, keys.items()), text.encode()).text

    def test_changedLineOnly(self) -> None:
        """
        A line that changed is written anew; those that say the same stay as
        they were, with what stands behind them.  (A40)
        """
        text = TEXT[: TEXT.index("[quorum]")].replace(
            "interface.mcastport = 5405\n", ""
        )
        found = self.changed(text, version=2)
        self.assertEqual(found, text.rstrip("\n") + "\n")
        found = self.changed(text, token=5000)
        expected = text.replace(
            'token = "1000"  # behind a value', "# behind a value\ntoken = 5000"
        )
        self.assertEqual(found, expected.rstrip("\n") + "\n")

    def test_quoting(self) -> None:
        """
        Names and values are quoted where they have to be.
        """
        content: list[Section | Option | Comment] = [
            Option("a b", 'x"\n\x7f\t'),
            Option("c", "1"),
            Comment("# a\x01b"),
        ]
        document = Section("", content=[Section("d e", content=list(content))])
        text = write(document).text
        self.assertIn('["d e"]\n"a b" = "x\\"\\n\\u007f\\t"\nc = "1"\n# a?b\n', text)
        again = parse(text.encode(), "f").document
        self.assertEqual(
            said(next(again.sections())), [("a b", 'x"\n\x7f\t'), ("c", "1")]
        )

    def test_sameName(self) -> None:
        """
        An option and a section of one name are a list of both.
        """
        inner = Section("a", content=[Option("b", "1")])
        document = Section("", content=[Option("a", "x"), inner, Option("a", "y")])
        text = write(document).text
        self.assertEqual(text, 'a = ["x", { b = "1" }, "y"]\n')
        again = parse(text.encode(), "f").document
        self.assertEqual(keysOf(again), keysOf(document))

    def test_order(self) -> None:
        """
        Options come before tables, which TOML would take for parts of them.
        """
        late = evolve(Option("b", "1"))
        document = Section("", content=[Section("a", content=[]), late])
        self.assertEqual(write(document).text, 'b = "1"\n\n[a]\n')
