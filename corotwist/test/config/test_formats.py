"""
Formats: how one is found and chosen, and that none of them loses anything.
"""

import sys
from pathlib import Path

import twisted.plugins
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config import loader
from corotwist.config.build import load
from corotwist.config.document import Option, Reading, Section
from corotwist.config.formats import registry
from corotwist.config.formats.registry import (
    BUILT_IN,
    ConfigurationEngine,
    choose,
    discover,
    newest,
)
from corotwist.config.keys import keysOf
from corotwist.config.values import u32
from corotwist.errors import ConfigurationError, PluginClash
from corotwist.interfaces import IConfigurationEngine
from corotwist.test.config.documents import ODD_DOCUMENTS, VALID
from corotwist.test.config.factories import FakeHost, environment

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


PLUGIN = """
from corotwist.config.formats import registry
from corotwist.config.formats.registry import ConfigurationEngine

pairs = ConfigurationEngine(
    "pairs", 3, (".pairs",), "a line for each option", "pairs.read", "pairs.write"
)
"""
MODULE = """
from corotwist.config import loader
from corotwist.config.build import load
from corotwist.config.document import Option, Place, Reading, Section, Written


def read(content, file):
    sections = {}
    for line, text in enumerate(content.decode().splitlines(), 1):
        path, value = text.split("=")
        section, name = path.split(".")
        place = Place(file, line)
        home = sections.setdefault(section, Section(section, place))
        home.content.append(Option(name, value, place))
    return Reading(Section("", Place(file), list(sections.values())))


def write(document, original=b""):
    lines = [
        f"{section.name}.{option.name}={option.value}\\n"
        for section in document.sections()
        for option in section.options()
    ]
    return Written("".join(lines))
"""


class ThirdPartyTests(SynchronousTestCase):
    def test_plugin(self) -> None:
        """
        A package that is installed beside us brings a format of its own: it is
        found, listed, chosen by suffix, read, judged, overridden and written.
        (A39, A41)
        """
        directory = Path(self.mktemp()).absolute()
        plugins = directory / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "pairs_plugin.py").write_text(PLUGIN)
        (directory / "pairs.py").write_text(MODULE)
        file, other = directory / "a.pairs", directory / "b.json"
        file.write_text("totem.version=2\ntotem.token=5\n")
        other.write_text('{"totem": {"join": 60}}')
        self.patch(sys, "path", [*sys.path, str(directory)])
        here = [*twisted.plugins.__path__, str(plugins)]
        self.patch(twisted.plugins, "__path__", here)
        for name in ("pairs", "twisted.plugins.pairs_plugin"):
            self.addCleanup(sys.modules.pop, name, None)
        self.assertEqual(discover()["pairs"].version, 3)
        built = load([str(file), str(other)], environment())
        told = [str(problem) for problem in built.problems]
        self.assertIn(
            f"{file}:2:1: totem.token: is 5, and must be 30 to 86400000 ms", told
        )
        self.assertIn(("totem.join", u32(60)), built.keys)
        reading = loader.read(str(file), str(other))
        target = directory / "c.pairs"
        loader.write(str(target), reading.document)
        self.assertEqual(
            target.read_text(), "totem.version=2\ntotem.token=5\ntotem.join=60\n"
        )


class BrokenTests(SynchronousTestCase):
    def given(self, *engines: ConfigurationEngine) -> None:
        """
        Plug-ins that are found.
        """
        self.patch(registry, "getPlugins", lambda interface: engines)

    def test_clash(self) -> None:
        """
        Two plug-ins that claim the same are a problem that names both, and not
        the end of the process.
        """
        self.given(other(7), other(7))
        built = load("a.conf", environment())
        (problem,) = built.problems
        self.assertIn("two plug-ins offer version 7", problem.text)
        self.assertRaises(ConfigurationError, loader.absolute, "a.conf")

    def test_failure(self) -> None:
        """
        A format that fails is a problem of the file.
        """
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        self.given(ConfigurationEngine("bad", 1, (), "", "no.such.module", "x"))
        (problem,) = load(f"bad:{path}", environment()).problems
        self.assertEqual(problem.file, str(path))
        self.assertIn("format bad failed: ", problem.text)


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
