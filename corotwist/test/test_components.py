"""
Tests of components: found by interface, name and version, referenced and
released.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import skipIf

from attrs import frozen
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from corotwist import components
from corotwist.components import Components, Given
from corotwist.directory import PREFIX, Directory
from corotwist.errors import BadHandle, Busy, NotExist, PluginClash
from corotwist.interfaces import IConfigurationEngine, IEngineMaker, ITransportMaker
from corotwist.plugin import EngineMaker
from corotwist.test.directories import shortDirectory

VERSION = """
from corotwist.engines.base import Engine
from corotwist.plugin import EngineMaker

class Counter(Engine):
    name = "counter"
    serviceId = 4096
    version = {version}

counter = EngineMaker("counter", {version}, Counter)
"""
PACKAGE = """
from corotwist.plugin import EngineMaker
from .inside import Counter
counter = EngineMaker("counter", Counter.version, Counter)
"""


@implementer(IEngineMaker)
@frozen
class Maker:
    name: str
    version: int

    def wanted(self, settings: Any) -> bool:
        return True

    def load(self) -> Any:
        return object()

    def responders(self) -> None:
        return None


def makers(*versions: tuple[str, int]) -> list[Maker]:
    return [Maker(name, version) for name, version in versions]


class FindTests(SynchronousTestCase):
    """
    What is there, and which of it one gets.
    """

    def test_installed(self) -> None:
        """
        Engines, formats of configurations and transports are found by the name
        of their interface, the built-in ones without any plug-in.  (A7, A9)
        """
        components = Components.installed()
        for interface, names in (
            (IEngineMaker, {"cpg", "quorum", "votequorum", "cmap"}),
            (IConfigurationEngine, {"corosync", "toml", "json"}),
            (ITransportMaker, {"udp", "udpu"}),
        ):
            found = {c.name: c for c in components.known(interface)}
            self.assertLessEqual(names, set(found))
            self.assertEqual({found[name].origin for name in names}, {"built in"})
        self.assertEqual(components.problems(), ())

    def test_versions(self) -> None:
        """
        Several versions of a name are there side by side; without a version
        one gets the newest.  (A8)
        """
        components = Components.of(makers(("a", 1), ("a", 3), ("a", 2), ("b", 9)))
        find = components.find
        self.assertEqual(find(IEngineMaker, "a", 1).provider.version, 1)
        self.assertEqual(find(IEngineMaker, "a", 2).provider.version, 2)
        self.assertEqual(find(IEngineMaker, "a").version, 3)

    def test_noSuchName(self) -> None:
        """
        A name that there is not is an error, with the one that was meant.
        """
        components = Components.of(makers(("votequorum", 1), ("cpg", 1)))
        error = self.assertRaises(NotExist, components.find, IEngineMaker, "votequrum")
        self.assertIn("did you mean 'votequorum'?", str(error))
        error = self.assertRaises(NotExist, components.find, IEngineMaker, "zzz")
        self.assertIn("['cpg', 'votequorum']", str(error))

    def test_noSuchVersion(self) -> None:
        """
        A version that there is not is an error, with those that there are.
        """
        components = Components.of(makers(("cpg", 1), ("cpg", 3)))
        error = self.assertRaises(NotExist, components.find, IEngineMaker, "cpg", 2)
        self.assertEqual(str(error), "no version 2 of engine 'cpg'; there is: 1, 3")

    def test_firstSource(self) -> None:
        """
        Of the same name and version the first source's counts.  (A9)
        """
        first, second = makers(("a", 1)), makers(("a", 1), ("a", 2))
        components = Components([Given(first), Given(second)])
        found = components.known(IEngineMaker)
        self.assertEqual([c.version for c in found], [1, 2])
        self.assertIs(found[0].provider, first[0])

    def test_clash(self) -> None:
        """
        The same name and version twice in one source is nobody's order.
        """
        one = EngineMaker("a", 1, "x.y")
        other = EngineMaker("a", 1, "x.z")
        self.assertRaises(PluginClash, Components.of([one, other]).known)


class PluginTests(SynchronousTestCase):
    """
    Twisted plug-ins of installed packages.
    """

    def setUp(self) -> None:
        self.found: dict[str, Any] = {}
        self.patch(components, "getCache", lambda package: self.found)

    def plugin(self, load: Callable[[], Any]) -> None:
        """
        Have a package with one plug-in.
        """
        dropin = SimpleNamespace(moduleName="twisted.plugins.tally_plugin")
        one = SimpleNamespace(provided=[IEngineMaker], dropin=dropin, load=load)
        dropin.plugins = [one]
        self.found["tally_plugin"] = dropin

    def test_afterOurs(self) -> None:
        """
        They come after what is built in, which they do not hide.  (A7, A9)
        """
        self.plugin(lambda: Maker("cpg", 1))
        installed = Components.installed()
        self.assertEqual(installed.find(IEngineMaker, "cpg", 1).origin, "built in")
        self.plugin(lambda: Maker("cpg", 2))
        self.assertEqual(
            installed.find(IEngineMaker, "cpg").origin,
            "plug-in twisted.plugins.tally_plugin",
        )

    def test_broken(self) -> None:
        """
        One that cannot be loaded is told of, and all others are there.
        """
        self.plugin(lambda: namedAny("nothing.of.that.name"))
        installed = Components.installed()
        self.assertTrue(installed.known(IEngineMaker))
        (problem,) = installed.problems()
        self.assertIn("twisted.plugins.tally_plugin: ObjectNotFound", problem)


class ReferenceTests(SynchronousTestCase):
    """
    Who uses what.
    """

    def test_counts(self) -> None:
        """
        What is referenced is not unloaded, until it was released as often.
        (A10)
        """
        components = Components.of(makers(("a", 1)))
        component = components.reference(IEngineMaker, "a", 1)
        self.assertIs(components.reference(IEngineMaker, "a"), component)
        self.assertEqual(component.references, 2)
        components.release(component)
        error = self.assertRaises(Busy, components.unload, component)
        self.assertIn("engine 'a' version 1 is referenced 1 times", str(error))
        components.release(component)
        components.unload(component)
        self.assertRaises(BadHandle, components.release, component)

    def test_gone(self) -> None:
        """
        What is used stays known though its source has it no more.
        """
        made = makers(("a", 1), ("a", 2))
        components = Components([Given(made)])
        component = components.reference(IEngineMaker, "a", 1)
        del made[0]
        self.assertIs(components.find(IEngineMaker, "a", 1), component)
        components.release(component)
        self.assertRaises(NotExist, components.find, IEngineMaker, "a", 1)


class DirectoryTests(SynchronousTestCase):
    """
    Components in a directory.
    """

    def setUp(self) -> None:
        self.path = shortDirectory(self)
        self.components = Components([Directory(str(self.path))])
        self.addCleanup(self._forget)

    def _forget(self) -> None:
        for name in [name for name in sys.modules if name.startswith(PREFIX)]:
            del sys.modules[name]

    def put(self, name: str, version: int) -> Path:
        file = self.path / name
        file.write_text(VERSION.format(version=version))
        return file

    def version(self, wanted: int | None = None) -> Any:
        component = self.components.find(IEngineMaker, "counter", wanted)
        return component.provider.load().version

    def test_sideBySide(self) -> None:
        """
        Two files with two versions are two modules, both in use.  (A8, A9)
        """
        self.put("one.py", 1)
        self.put("two.py", 2)
        self.assertEqual((self.version(1), self.version(2)), (1, 2))

    def test_changed(self) -> None:
        """
        A file that was changed on disk is loaded anew next to the old module,
        which stays whose it is as long as it is referenced.  (A8, A10)
        """
        self.put("counter.py", 1)
        old = self.components.reference(IEngineMaker, "counter")
        before = {n: m for n, m in sys.modules.items() if n.startswith(PREFIX)}
        self.put("counter.py", 2)
        self.assertEqual(self.version(), 2)
        self.assertIs(self.components.find(IEngineMaker, "counter", 1), old)
        self.assertEqual(old.provider.load().version, 1)
        self.assertLess(before.items(), sys.modules.items())

    def test_unchanged(self) -> None:
        """
        A file that did not change is the same component as before.
        """
        self.put("counter.py", 1)
        first = self.components.find(IEngineMaker, "counter")
        self.assertIs(self.components.find(IEngineMaker, "counter"), first)

    def test_unload(self) -> None:
        """
        What nobody uses is forgotten with its module, and found again.
        """
        self.put("counter.py", 1)
        first = self.components.find(IEngineMaker, "counter")
        self.components.unload(first)
        self.assertEqual([n for n in sys.modules if n.startswith(PREFIX)], [])
        self.assertIsNot(self.components.find(IEngineMaker, "counter"), first)

    def test_package(self) -> None:
        """
        A package is one component, whichever of its files changes.
        """
        package = self.path / "counting"
        package.mkdir(0o755)
        (package / "__init__.py").write_text(PACKAGE)
        (package / "inside.py").write_text(VERSION.format(version=1))
        self.assertEqual(self.version(), 1)
        (package / "inside.py").write_text(VERSION.format(version=22))
        self.assertEqual(self.version(), 22)

    def test_broken(self) -> None:
        """
        A file that cannot be imported is told of, and the others are there.
        """
        self.put("good.py", 1)
        (self.path / "bad.py").write_text("import nothing_of_that_name\n")
        self.assertEqual(self.version(), 1)
        (problem,) = self.components.problems()
        self.assertIn("bad.py: ModuleNotFoundError", problem)
        error = self.assertRaises(NotExist, self.version, 2)
        self.assertIn("bad.py", str(error))
        left = [n for n in sys.modules if n.startswith(f"{PREFIX}bad")]
        self.assertEqual(left, [])

    def test_noDirectory(self) -> None:
        """
        A directory that is not there is told of.
        """
        components = Components.installed([str(self.path / "nowhere")])
        self.assertTrue(components.known(IEngineMaker))
        (problem,) = components.problems()
        self.assertIn("nowhere: No such file or directory", problem)

    def test_writable(self) -> None:
        """
        What others can write is not run with the daemon's rights.
        """
        file = self.put("counter.py", 1)
        file.chmod(0o666)
        self.assertRaises(NotExist, self.version)
        self.assertIn("others than its owner", self.components.problems()[0])
        file.chmod(0o644)
        self.path.chmod(0o777)
        self.assertRaises(NotExist, self.version)

    def test_writablePackage(self) -> None:
        """
        That holds for every directory of a package.
        """
        package = self.path / "counting"
        inner = package / "inner"
        inner.mkdir(parents=True)
        package.chmod(0o755)
        (package / "__init__.py").write_text(VERSION.format(version=1))
        inner.chmod(0o777)
        self.assertRaises(NotExist, self.version)
        self.assertIn("inner: others than its owner", self.components.problems()[0])
        inner.chmod(0o755)
        self.assertEqual(self.version(), 1)

    @skipIf(os.geteuid(), "only root gives files away")
    def test_foreign(self) -> None:
        """
        Nor what belongs to another user.
        """
        os.chown(self.put("counter.py", 1), 12345, 12345)
        self.assertRaises(NotExist, self.version)
        self.assertIn("belongs to user 12345", self.components.problems()[0])
