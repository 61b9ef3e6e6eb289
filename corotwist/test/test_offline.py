"""
Tests of configurations that are opened without a node.
"""

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.values import string, u8, u32, u64
from corotwist.errors import (
    ConfigurationError,
    InvalidParameter,
    NotExist,
    NotSupported,
)
from corotwist.ipc.client import NodeClient
from corotwist.offline import offline
from corotwist.test.config.factories import FakeHost

FILE = """\
# Ours.
totem {
    version: 2
    cluster_name: one
    token:   1000
}
nodelist {
    node {
        nodeid: 1
        ring0_addr: 10.0.0.1
    }
}
"""


class OfflineTests(SynchronousTestCase):
    """
    One file.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.path.write_text(FILE)
        self.client = self.open(str(self.path))

    def open(self, *sources: str) -> NodeClient:
        client = self.successResultOf(offline(self.clock, *sources, host=FakeHost()))
        self.addCleanup(client.stopService)
        return client

    def got(self, deferred: Any) -> Any:
        for _ in range(10):
            self.clock.advance(0)
        return self.successResultOf(deferred)

    def test_read(self) -> None:
        """
        The keys are those of the file and no others, typed, in the map as in
        the tree (A20, E11).
        """
        found = dict(self.got(self.client.cmap.items()))
        self.assertEqual(
            found,
            {
                "nodelist.node.0.nodeid": u32(1),
                "nodelist.node.0.ring0_addr": string("10.0.0.1"),
                "totem.cluster_name": string("one"),
                "totem.token": u32(1000),
                "totem.version": u32(2),
            },
        )
        node = self.got(self.client.confdb.at("nodelist.node.0")).handle
        self.assertEqual(self.got(self.client.confdb.getKey(node, "nodeid")), u32(1))

    def test_write(self) -> None:
        """
        What is changed is in the file when it is written, and not before; the
        rest of the file stays (A20, E11).
        """
        self.got(self.client.cmap.set("totem.token", u32(5000)))
        totem = self.got(self.client.confdb.at("totem")).handle
        self.got(self.client.confdb.createKey(totem, "config_version", u64(3)))
        self.assertEqual(self.path.read_text(), FILE)
        self.assertEqual(self.got(self.client.confdb.write()), str(self.path))
        text = FILE.replace("1000", "5000")
        lines = self.path.read_text().splitlines()
        self.assertIn("    config_version: 3", lines)
        lines.remove("    config_version: 3")
        self.assertEqual(
            [x.rstrip() for x in lines], [x.rstrip() for x in text.splitlines()]
        )

    def test_refused(self) -> None:
        """
        What would make the file wrong is not written, and the reason told
        (A16, E11).
        """
        self.got(self.client.cmap.set("totem.tokn", string("5")))
        refused = self.client.confdb.write()
        self.clock.advance(0)
        failure = self.failureResultOf(refused, InvalidParameter)
        self.assertIn("token", str(failure.value))
        self.assertEqual(self.path.read_text(), FILE)

    def test_reload(self) -> None:
        """
        To read again is to forget what was not written.
        """
        seen: list[Any] = []
        self.got(self.client.cmap.track("totem.token", seen.extend))
        self.path.write_text(FILE.replace("1000", "2000"))
        report = self.got(self.client.confdb.reload())
        self.assertFalse(report["refused"])
        self.assertEqual([change.new for change in seen], [u32(2000)])
        self.path.write_text("totem {")
        report = self.got(self.client.confdb.reload())
        self.assertTrue(report["refused"])
        self.assertEqual(self.got(self.client.cmap.get("totem.token")), u32(2000))

    def test_several(self) -> None:
        """
        Later files override earlier ones; nobody knows where to write.
        """
        other = Path(self.mktemp() + ".json")
        other.write_text('{"totem": {"token": 7000}}')
        client = self.open(str(self.path), str(other))
        self.assertEqual(self.got(client.cmap.get("totem.token")), u32(7000))
        refused = client.confdb.write()
        self.clock.advance(0)
        self.failureResultOf(refused, InvalidParameter)

    def test_noNode(self) -> None:
        """
        What only a node can do is refused; but everything that is in a file can
        be changed.
        """
        cmap = self.client.cmap
        for wrong, kind in (
            (cmap.set("cluster.key", u8(1)), NotSupported),
            (cmap.get("runtime.members.1.ip"), NotExist),
            (self.client.node.statistics("totem"), NotExist),
        ):
            for _ in range(10):
                self.clock.advance(0)
            self.failureResultOf(wrong, kind)
        self.got(cmap.set("nodelist.node.0.ring0_addr", string("10.0.0.9")))
        self.got(self.client.confdb.write())
        self.assertIn("10.0.0.9", self.path.read_text())

    def test_unreadable(self) -> None:
        """
        A file that is not there, or not to be understood, is not opened.
        """
        self.failureResultOf(offline(self.clock, "/nowhere/x"), ConfigurationError)
        self.path.write_text("totem {")
        failed = offline(self.clock, str(self.path))
        self.failureResultOf(failed, ConfigurationError)
