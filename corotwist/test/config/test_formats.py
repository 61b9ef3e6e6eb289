"""
Formats: how one is found and chosen, and that none of them loses anything.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.document import Option, Reading, Section
from corotwist.config.formats import BUILT_IN, ConfigurationEngine, choose, newest
from corotwist.config.keys import keysOf
from corotwist.errors import ConfigurationError, PluginClash
from corotwist.interfaces import IConfigurationEngine
from corotwist.test.config.documents import ODD_DOCUMENTS, VALID
from corotwist.test.config.factories import FakeHost

ENGINES = {engine.name: engine for engine in BUILT_IN}
# Those that can hold whatever corosync.conf can.
FULL = ("corosync", "xml", "toml", "json")
EXAMPLES = settings(max_examples=25, deadline=None)


def other(version: int, name: str = "toml") -> ConfigurationEngine:
    """
    Somebody else's engine.
    """
    return ConfigurationEngine(name, version, (".toml",), "theirs", "a.b", "c.d")


class ChoiceTests(SynchronousTestCase):
    def test_interface(self) -> None:
        """
        Every format is an engine of the same kind.  (A39)
        """
        for engine in BUILT_IN:
            self.assertTrue(verifyObject(IConfigurationEngine, engine))
            self.assertTrue(engine.summary and engine.version == 1)

    def test_bySuffix(self) -> None:
        """
        The end of the path chooses; what has no known one is corosync.conf's.
        """
        for path, name in (
            ("/etc/corosync/corosync.conf", "corosync"),
            ("corosync.xml", "xml"),
            ("/etc/cluster/cluster.conf", "cluster"),
            ("cluster.conf", "cluster"),
            ("mycluster.conf", "corosync"),
            ("a.toml", "toml"),
            ("a.json", "json"),
            ("a.yaml", "corosync"),
            ("a", "corosync"),
        ):
            engine, found = choose(path, ENGINES)
            self.assertEqual((engine.name, found), (name, path))

    def test_explicit(self) -> None:
        """
        A format by name is stronger than the end of the path.
        """
        engine, path = choose("json:/etc/a.conf", ENGINES)
        self.assertEqual((engine.name, path), ("json", "/etc/a.conf"))

    def test_unknown(self) -> None:
        """
        A format that nobody has is told, with those that there are, and with
        the way to write a path that looks like one.
        """
        error = self.assertRaises(ConfigurationError, choose, "yaml:/a", ENGINES)
        (problem,) = error.problems
        self.assertIn("no format 'yaml', only cluster, corosync, json", problem.text)
        self.assertIn("./yaml:/a", problem.text)
        self.assertEqual(choose("./yaml:/a", ENGINES)[1], "./yaml:/a")

    def test_newest(self) -> None:
        """
        Of engines with one name the highest version is taken, whoever made it;
        two of the same version are one too many.
        """
        found = newest([*BUILT_IN, other(7), other(3), other(1, "ini")])
        self.assertEqual(found["toml"].version, 7)
        self.assertEqual(found["ini"].version, 1)
        self.assertRaises(PluginClash, newest, [*BUILT_IN, other(1)])


def keys(document: Section) -> dict[str, object]:
    """
    What a document means.
    """
    return dict(keysOf(document, FakeHost()))


def again(name: str, document: Section) -> Reading:
    """
    A document, written in a format and read from it.
    """
    engine = ENGINES[name]
    text = engine.write(document).text
    return engine.read(text.encode(), f"file.{name}")


class LosslessTests(SynchronousTestCase):
    @given(VALID, st.sampled_from(FULL))
    @EXAMPLES
    def test_valid(self, document: Section, name: str) -> None:
        """
        Whatever the schema knows means the same in every format.  (A39, A40)
        """
        reading = again(name, document)
        self.assertEqual(reading.problems, ())
        self.assertEqual(keys(reading.document), keys(document))

    @given(ODD_DOCUMENTS, st.sampled_from(FULL))
    @EXAMPLES
    def test_odd(self, document: Section, name: str) -> None:
        """
        So does whatever else corosync.conf can hold: signs that have to be
        quoted, names that are there as option and as section, repetitions.
        (A40)
        """
        reading = again(name, document)
        self.assertEqual(reading.problems, ())
        self.assertEqual(keys(reading.document), keys(document))

    @given(VALID, st.permutations(FULL))
    @EXAMPLES
    def test_chain(self, document: Section, names: list[str]) -> None:
        """
        It survives all of them, one after the other, in any order.
        """
        meant = keys(document)
        for name in names:
            document = again(name, document).document
        self.assertEqual(keys(document), meant)

    @given(st.one_of(VALID, ODD_DOCUMENTS), st.sampled_from(FULL))
    @EXAMPLES
    def test_settles(self, document: Section, name: str) -> None:
        """
        Written once more, the text is the same; also where the writer is told
        what is in the file.
        """
        engine = ENGINES[name]
        text = engine.write(again(name, document).document).text
        reading = engine.read(text.encode(), "f")
        self.assertEqual(engine.write(reading.document).text, text)
        self.assertEqual(engine.write(reading.document, text.encode()).text, text)

    @given(st.text(max_size=8), st.sampled_from(("toml", "json")))
    @EXAMPLES
    def test_anyValue(self, value: str, name: str) -> None:
        """
        TOML and JSON hold any text; what is none is refused.
        """
        document = Section("", content=[Section("a", content=[Option("b", value)])])
        try:
            reading = again(name, document)
        except ConfigurationError:
            self.assertRaises(UnicodeEncodeError, value.encode)
            return
        (section,) = reading.document.sections()
        self.assertEqual(section.value("b"), value)
