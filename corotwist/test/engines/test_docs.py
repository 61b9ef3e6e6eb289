"""
The engine of docs/writing-an-engine.md, run from the page.
"""

import re
from pathlib import Path
from textwrap import indent
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

import corotwist
from corotwist.errors import TryAgain
from corotwist.interfaces import IServiceEngine, ISynchronized
from corotwist.plugin import EngineMaker
from corotwist.test.engines.orderednet import SHIPPED, Maker, OrderedNet

PAGE = Path(corotwist.__file__).parent.parent / "docs" / "writing-an-engine.md"


EXAMPLE = PAGE.parents[1] / "examples" / "counter"
EXCERPT = re.compile(r"<!-- (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)


def page() -> str:
    """
    The whole page.
    """
    if not PAGE.exists():
        raise SkipTest("docs are not installed with the package")
    return PAGE.read_text()


def blocks() -> list[str]:
    """
    The Python on the page that is nowhere else.
    """
    own = EXCERPT.sub("", page())
    return re.findall(r"```python\n(.*?)```", own, re.DOTALL)


class ExcerptTests(SynchronousTestCase):
    def test_same(self) -> None:
        """
        What the page shows of the example is in its files, word by word, there
        perhaps further to the right.
        """
        excerpts = EXCERPT.findall(page())
        self.assertGreater(len(excerpts), 5)
        for name, text in excerpts:
            source = (EXAMPLE / name).read_text()
            shown = [indent(text, " " * depth) in source for depth in (0, 4, 8)]
            self.assertIn(True, shown, f"{name} has no\n{text}")


class TallyTests(SynchronousTestCase):
    """
    What the page promises.
    """

    def setUp(self) -> None:
        engine, plugin = blocks()
        module: dict[str, Any] = {"__name__": "tally"}
        exec(engine, module)  # noqa: S102 - Our own page.
        self.make = module["TallyEngine"]
        self.plugin: dict[str, Any] = {}
        exec(plugin, self.plugin)  # noqa: S102
        self.net = OrderedNet((*SHIPPED, Maker("tally", self.make)))
        self.net.boot(1, 2, 3)
        self.net.form(1, 2, 3)
        self.net.run()

    def _counts(self) -> list[dict[str, int]]:
        return [self._tally(nodeid).dump() for nodeid in self.net.nodes]

    def _tally(self, nodeid: int) -> Any:
        return self.net.nodes[nodeid].engine("tally")

    def test_complete(self) -> None:
        """
        The class is a service engine, and its maker names it.
        """
        engine = self.make()
        verifyObject(IServiceEngine, engine)
        verifyObject(ISynchronized, engine)
        maker = self.plugin["tally"]
        self.assertIsInstance(maker, EngineMaker)
        self.assertEqual((maker.name, maker.version), (engine.name, engine.version))
        self.assertEqual(maker.engine, "tally.TallyEngine")

    def test_counts(self) -> None:
        """
        Every node counts the events of all.
        """
        self._tally(1).count()
        self._tally(3).count(5)
        self.net.run()
        self.assertEqual(self._counts(), [{"1": 1, "2": 0, "3": 5}] * 3)

    def test_restart(self) -> None:
        """
        A node that comes back knows what the others counted, and they forget
        what it had.
        """
        for nodeid in (1, 2):
            self._tally(nodeid).count(nodeid)
        self.net.run()
        self.net.kill(2)
        self.net.boot(2)
        self.net.form(1, 2, 3)
        self.assertRaises(TryAgain, self._tally(1).count)
        self.net.run()
        self.assertEqual(self._counts(), [{"1": 1, "2": 0, "3": 0}] * 3)

    def test_fullQueue(self) -> None:
        """
        Without room it is asked again.
        """
        for node in self.net.nodes.values():
            node.totem.capacity = 1700
        self._tally(1).count(7)
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self._counts(), [{"1": 7, "2": 0, "3": 0}] * 3)
