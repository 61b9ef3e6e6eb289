"""
Stories about configurations that change while a cluster runs.
"""

from typing import Any

from twisted.internet.defer import Deferred

from corotwist.simulator.machine import Wishes
from corotwist.test.scenarios.story import A, B, C
from corotwist.test.scenarios.whole import WholeStory

QUORUM = {"provider": "corosync_votequorum"}


class ReloadStories(WholeStory):
    """
    Three whole nodes, and their files.
    """

    def setUp(self) -> None:
        self.trio = self.whole(quorum=QUORUM)

    def text(self, **totem: Any) -> str:
        """
        The file of all three, with other options.
        """
        return Wishes(totem, QUORUM).text((A, B, C), sealed=False)

    def reload(self, nodeid: int = A, **how: bool) -> Deferred[dict[str, Any]]:
        """
        Ask a node, as an operator does.
        """
        asked: Deferred[dict[str, Any]] = self.trio.connect(nodeid).cfg.reload(**how)
        return asked

    def tokens(self) -> list[float]:
        """
        The token timeouts in force.
        """
        return [self.timing(nodeid).token for nodeid in self.trio.nodes]

    def timing(self, nodeid: int) -> Any:
        protocol = self.trio.services(nodeid).totem.protocol
        assert protocol is not None, "it runs"
        return protocol.ring.timing

    def key(self, nodeid: int, name: str) -> Any:
        return self.trio.services(nodeid).node.database.map.get(name).content

    def test_everywhere(self) -> None:
        """
        One node is asked, and all three have other timers, without a change
        of the membership; each key is told.  (A44, H16)
        """
        self.trio.edit(self.text(token=2000, config_version=2))
        ring = self.trio.nodes[A].configuration
        report = self.trio.wait(self.reload())
        self.assertEqual(report["status"], "applied")
        self.assertFalse(report["restart"])
        told = [
            (key["key"], key["old"], key["new"], key["verdict"])
            for key in report["nodes"]["3"]["keys"]
        ]
        self.assertEqual(
            told,
            [
                ("totem.config_version", None, "2", "applied"),
                ("totem.token", "1000", "2000", "applied"),
            ],
        )
        self.trio.run(0.1)
        self.assertEqual(self.tokens(), [2.0] * 3)
        for nodeid in self.trio.nodes:
            self.assertEqual(self.key(nodeid, "totem.token"), 2000)
            self.assertEqual(self.key(nodeid, "config.reload_status"), 1)
            self.assertEqual(self.key(nodeid, "config.reload_in_progress"), 0)
        self.trio.run(5.0)
        self.assertEqual(self.trio.nodes[A].configuration, ring)
