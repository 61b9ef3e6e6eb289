"""
Tests of the state of a node in a file.
"""

import json
import os
import stat
from pathlib import Path
from random import Random

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.dumps import writeDump
from corotwist.node import Node
from corotwist.test.engines.orderednet import SHIPPED, nodeSettings
from corotwist.test.test_node import FakeTransport
from corotwist.totem.storage import MemoryRingStorage


class WritingTests(SynchronousTestCase):
    """
    The file.
    """

    def test_replaced(self) -> None:
        """
        There is one file, for the owner only, and nothing else is left.
        """
        directory = self.mktemp()
        os.mkdir(directory)  # noqa: PTH102
        for number in (1, 2):
            path = Path(writeDump(directory, 7, {"number": number}))
        self.assertEqual(json.loads(path.read_text()), {"number": 2})
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(directory), [path.name])  # noqa: PTH208

    def test_noDirectory(self) -> None:
        """
        What cannot be written is an error of the operating system.
        """
        self.assertRaises(OSError, writeDump, self.mktemp(), 7, {})


class NodeTests(SynchronousTestCase):
    """
    The state.
    """

    def test_dump(self) -> None:
        """
        Everything that a node and its engines know of themselves is in the
        state directory, as JSON, when somebody asks for it. (A64)
        """
        settings = nodeSettings(count=1)
        directory = self.mktemp()
        os.mkdir(directory)  # noqa: PTH102
        totem = evolve(settings.totem, stateDirectory=directory)
        node = Node(
            evolve(settings, totem=totem),
            Clock(),
            transport=FakeTransport([]),
            storage=MemoryRingStorage(),
            random=Random(1),
            ipc=None,
            makers=SHIPPED,
        )
        node.startService()
        state = json.loads(Path(node.writeDump()).read_text())
        self.assertEqual(state["node"]["nodeid"], 1)
        engines = state["services"]["engines"]
        self.assertEqual(sorted(engines), ["cmap", "cpg", "quorum", "votequorum"])
        self.assertIn("quorate", engines["quorum"]["state"])
        self.assertIn("misses", state["services"]["schedule"])
        self.successResultOf(node.stopService())
