"""
JSON: what it means, where things stand, and what is no configuration.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.document import DEEPEST, Option, Reading, Section
from corotwist.config.formats.jsonconf import parse, write
from corotwist.test.config.factories import FILE


def read(text: str) -> Reading:
    """
    A file with this text.
    """
    return parse(text.encode(), FILE)


def told(text: str) -> list[str]:
    """
    What is wrong with it.
    """
    return [str(problem) for problem in read(text).problems]


class ParseTests(SynchronousTestCase):
    def test_meaning(self) -> None:
        """
        Objects are sections, arrays are repetitions, and numbers stay as they
        are written.  (A39)
        """
        document = read(
            '{"totem": {"token": 1000, "x": 1.50, "secauth": true, "y": false},\n'
            ' "uidgid": [{"uid": "a"}, {"uid": "b"}], "z": ["1", "2"]}'
        ).document
        totem, *users = document.sections()
        self.assertEqual(
            [(option.name, option.value) for option in totem.options()],
            [("token", "1000"), ("x", "1.50"), ("secauth", "yes"), ("y", "no")],
        )
        self.assertEqual([user.value("uid") for user in users], ["a", "b"])
        self.assertEqual(document.value("z"), "2")

    def test_places(self) -> None:
        """
        Every name and value is known by line and column.
        """
        document = read('{\n  "totem": {\n    "token":  1,\n "a":\n  2}\n}').document
        (totem,) = document.sections()
        self.assertEqual((totem.place.line, totem.place.column), (2, 3))
        first, second = totem.options()
        self.assertEqual((first.place.line, first.place.column), (3, 5))
        self.assertEqual((first.valuePlace.line, first.valuePlace.column), (3, 15))
        self.assertEqual((second.valuePlace.line, second.valuePlace.column), (5, 3))

    def test_problems(self) -> None:
        """
        What is no JSON is told with its place; so is what means nothing here.
        """
        for text, expected in (
            ('{"a": 1,\n"b" 2}', "node.conf:2:5: syntax: Expecting ':' delimiter"),
            ("", "node.conf:1:1: syntax: Expecting value"),
            ("[1]", "node.conf:1:1: syntax: an object belongs here"),
            ('{"a": null}', "node.conf:1:7: a: null is no value: leave it out"),
            ('{"a": [1, [2]]}', "node.conf:1:11: a: lists of lists mean nothing here"),
            ('{"a": "\\ud800"}', "node.conf:1:7: a: is not text"),
            ('{"\\ud800": 1}', "node.conf:1:2: syntax: is not text"),
        ):
            self.assertEqual(told(text), [expected])

    def test_notUtf8(self) -> None:
        """
        So are bytes that are no text.
        """
        (problem,) = parse(b'{\n"a": "\xff"}', FILE).problems
        self.assertEqual(str(problem), "node.conf:2:1: syntax: not UTF-8")

    def test_mark(self) -> None:
        """
        The mark that some editors put in front is no harm here.
        """
        self.assertEqual(parse(b'\xef\xbb\xbf{"a": 1}', FILE).problems, ())

    def test_severalProblems(self) -> None:
        """
        What is right JSON is read to its end, whatever it says.
        """
        self.assertEqual(len(told('{"a": null, "b": [[{"c": []}], null]}')), 3)

    def test_depth(self) -> None:
        """
        Nobody nests without end, or gets at our stack.
        """
        deep = '{"a": ' * (DEEPEST + 2) + "1" + "}" * (DEEPEST + 2)
        (problem,) = told(deep)
        self.assertIn(f"more than {DEEPEST} levels", problem)
        self.assertEqual(told(deep.replace('{"a": ', "", 1)[:-1]), [])
        (problem,) = told('{"a": ' * 10000)
        self.assertIn("levels", problem)

    def test_numbers(self) -> None:
        """
        Whole numbers are written as such where the schema has them, and JSON
        can hold them.
        """
        totem = Section(
            "totem",
            content=[
                Option("token", "1000"),
                Option("join", "007"),
                Option("cluster_name", "12"),
                Option("config_version", str((1 << 64) - 1)),
            ],
        )
        text = write(Section("", content=[totem])).text
        for line in (
            '"token": 1000,',
            '"join": "007",',
            '"cluster_name": "12",',
            '"config_version": "18446744073709551615"',
        ):
            self.assertIn(line, text)
