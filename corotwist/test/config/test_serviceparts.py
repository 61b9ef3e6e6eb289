"""
Tests of what a file says to single engines.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.config.factories import built, settings

FILE = """\
totem {
    version: 2
    crypto_cipher: none
}
nodelist {
    node {
        ring0_addr: 127.0.0.1
        nodeid: 1
    }
}
%s
"""


class ServiceTests(SynchronousTestCase):
    def test_options(self) -> None:
        """
        An engine finds what its section says, whatever that is; one without a
        section finds nothing (A69).
        """
        text = "service {\n name: counter\n ver: 0\n most: 5\n deep {\n a: b\n }\n}"
        found = settings(FILE % text)
        counter = found.service("counter")
        self.assertEqual(counter.options, (("most", "5"), ("deep.a", "b")))
        self.assertEqual(counter.get("most"), "5")
        self.assertEqual(counter.get("least", "1"), "1")
        self.assertEqual(counter.place[1], 11)
        self.assertEqual(found.service("other").options, ())

    def test_several(self) -> None:
        """
        Several engines have a section each.
        """
        text = "".join(f"service {{\n name: {n}\n x: {n}{n}\n}}\n" for n in "ab")
        outcome = built(FILE % text)
        found = outcome.usable()
        self.assertEqual(found.service("b").get("x"), "bb")
        keys = {name: value.content for name, value in outcome.keys}
        self.assertEqual((keys["service.0.name"], keys["service.1.x"]), ("a", "bb"))

    def test_wrong(self) -> None:
        """
        A section must say whose it is, and each engine has one (A16).
        """
        text = "service {\n x: y\n}\nservice {\n name: a\n}\nservice {\n name: a\n}"
        first, second = built(FILE % text).problems
        self.assertEqual((first.line, second.line), (11, 18))
        self.assertIn("which engine", first.text)
        self.assertIn("already", second.text)
