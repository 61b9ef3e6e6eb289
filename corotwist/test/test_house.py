"""
The rules of the house hold, and each of them can be broken.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.house import (
    PACKAGE,
    Module,
    arrows,
    kept,
    openings,
    parse,
    purity,
    reactors,
    room,
    siblings,
    sources,
)


class HouseTests(SynchronousTestCase):
    """
    The rules hold for the package as it is.
    """

    def setUp(self) -> None:
        self.modules = sources(PACKAGE)

    def test_arrows(self) -> None:
        """
        Every module imports only what its room may import.
        """
        self.assertEqual(list(arrows(self.modules)), [])

    def test_purity(self) -> None:
        """
        The protocol, the engines and the configuration read no clock, draw no
        random number and touch no socket or reactor.
        """
        self.assertEqual(list(purity(self.modules)), [])

    def test_siblings(self) -> None:
        """
        States and engines meet through others.
        """
        self.assertEqual(list(siblings(self.modules)), [])

    def test_reactor(self) -> None:
        """
        The global reactor is fetched in one place.
        """
        self.assertEqual(list(reactors(self.modules)), [])

    def test_moduleState(self) -> None:
        """
        No module keeps state.
        """
        self.assertEqual(list(kept(self.modules)), [])

    def test_openings(self) -> None:
        """
        Packages open with a docstring, and re-export nothing.
        """
        inits = PACKAGE.rglob("__init__.py")
        parents = [path.parent.relative_to(PACKAGE) for path in inits]
        names = [".".join(path.parts) for path in parents]
        shipped = [name for name in names if room(name) != "test"]
        self.assertIn("totem", shipped)
        self.assertEqual(list(openings(self.modules, shipped)), [])

    def test_pluginDirectory(self) -> None:
        """
        C{twisted/plugins} is no package of its own: it must not hide Twisted's.
        """
        root = PACKAGE.parent / "twisted"
        if not (PACKAGE.parent / "pyproject.toml").exists():
            self.assertFalse((PACKAGE / "twisted").exists())
            return
        self.assertTrue((root / "plugins").is_dir())
        self.assertEqual(list(root.rglob("__init__.py")), [])


def house(**modules: str) -> dict[str, Module]:
    """
    A small house from sources; C{__} in a name stands for a dot.
    """
    named = {name.replace("__", "."): text for name, text in modules.items()}
    return {name: parse(name, text) for name, text in named.items()}


class BrokenRuleTests(SynchronousTestCase):
    """
    Each rule, broken once.
    """

    def test_arrowUp(self) -> None:
        """
        A room below imports one above, also inside a function.
        """
        bad = house(
            totem__wire="def late():\n    from corotwist.engines.cpg import X\n",
            engines__cpg="from corotwist import node\n",
            node="import corotwist.test.factories\n",
            totem__udp="import corotwist.totem.wire\n",
        )
        self.assertEqual(
            list(arrows(bad)),
            [
                "totem.wire imports engines.cpg",
                "engines.cpg imports node",
                "node imports test",
            ],
        )

    def test_coreImportsShell(self) -> None:
        """
        The pure part of totem does not know its shell.
        """
        bad = house(
            totem__ring="from corotwist.totem.udp import Udp\n", totem__udp="X = 1\n"
        )
        self.assertEqual(list(arrows(bad)), ["totem.ring imports totem.udp"])

    def test_unknownRoom(self) -> None:
        """
        A module outside every room must be given one.
        """
        self.assertEqual(list(arrows(house(attic=""))), ["attic is in no room"])

    def test_relativeImport(self) -> None:
        """
        Relative imports do not hide an arrow.
        """
        bad = house(totem__wire="from ..engines import cpg\n")
        self.assertEqual(list(arrows(bad)), ["totem.wire imports ..engines.cpg"])

    def test_impure(self) -> None:
        """
        Clocks and reactors are found by whatever name they are imported; a
        type to be handed over is not.
        """
        bad = house(
            totem__ring="from random import Random, random\nfrom time import time\n",
            engines__cpg="from twisted.internet import defer, task\n",
            totem__service="import os\n",
        )
        self.assertEqual(
            list(purity(bad)),
            [
                "totem.ring imports random.random",
                "totem.ring imports time.time",
                "engines.cpg imports twisted.internet.task",
            ],
        )

    def test_stateImportsState(self) -> None:
        """
        The sentence of the rule.
        """
        bad = house(
            totem__gather="from corotwist.totem.recovery import Recovery\n",
            totem__recovery="",
        )
        self.assertEqual(list(siblings(bad)), ["totem.gather imports totem.recovery"])

    def test_engineImportsEngine(self) -> None:
        """
        An engine is where C{IServiceEngine} is implemented; helpers are free.
        """
        engine = "@implementer(IServiceEngine, IOther)\nclass Engine:\n    pass\n"
        bad = house(
            engines__cpg=engine + "from corotwist.engines import cmap, joinlist\n",
            engines__cmap=engine,
            engines__joinlist="",
        )
        self.assertEqual(list(siblings(bad)), ["engines.cpg imports engines.cmap"])

    def test_engineImportsDerivedEngine(self) -> None:
        """
        So is a class derived from the one that is there to derive from.
        """
        engine = "class Groups(SynchronizedEngine):\n    pass\n"
        bad = house(
            engines__cpg=engine + "from corotwist.engines import cmap, base\n",
            engines__cmap=engine,
            engines__base="@implementer(IServiceEngine)\nclass Engine:\n    pass\n",
        )
        self.assertEqual(list(siblings(bad)), ["engines.cpg imports engines.cmap"])

    def test_reactorFetched(self) -> None:
        """
        Only C{tap} may.
        """
        fetch = "from twisted.internet import reactor\n"
        self.assertEqual(
            list(reactors(house(tap=fetch, node=fetch))),
            ["node imports twisted.internet.reactor"],
        )

    def test_stateKept(self) -> None:
        """
        Containers that are no constants, constants that are changed, and
        globals are all reported.
        """
        bad = house(
            node="cache = {}\nLIMITS: Final = [1]\n_table: Final = dict(a=1)\n"
            "def f():\n    global g\n    LIMITS.append(2)\n    _table['b'] = 2\n"
        )
        self.assertEqual(
            sorted(kept(bad)),
            [
                "node changes LIMITS",
                "node changes _table",
                "node declares g global",
                "node keeps cache",
            ],
        )

    def test_fullOpening(self) -> None:
        """
        Code and re-exports in a package's opening are reported, and so is a
        package that does not say what it is.
        """
        bad = house(totem='"""T."""\nfrom corotwist.errors import WireError\n', ipc="")
        self.assertEqual(
            list(openings(bad, bad)),
            [
                "totem.__init__ has from corotwist.errors import WireError",
                "ipc.__init__ has no docstring",
            ],
        )
