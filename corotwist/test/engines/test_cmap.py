"""
Tests of configuration versions among nodes.
"""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import QuorumSettings
from corotwist.config.tracking import ALL
from corotwist.config.values import Value, string, u8
from corotwist.engines.cmap import ConfigurationMapEngine
from corotwist.engines.executive import (
    SERVICES_GROUP,
    CmapItem,
    CmapMcast,
    CmapReason,
    address,
    header,
    whole,
)
from corotwist.engines.keyspace import ICMAP
from corotwist.errors import InvalidParameter
from corotwist.test.engines.orderednet import OrderedNet


class VersionTests(SynchronousTestCase):
    """
    Who knows which version, and who has to stop.
    """

    def setUp(self) -> None:
        self.net = OrderedNet()

    def _boot(self, **versions: int) -> None:
        for name, version in versions.items():
            self.net.boot(int(name[1:]), configVersion=version)

    def _known(self, nodeid: int) -> dict[str, int]:
        dump: Any = self.net.nodes[nodeid].engine("cmap").dump()
        members: dict[str, int] = dump["members"]
        return members

    def _stopped(self) -> dict[int, str]:
        """
        Which nodes have been asked to stop, and why.
        """
        self.net.clock.advance(0)
        return {
            nodeid: str(self.successResultOf(node.manager.shutdown))
            for nodeid, node in self.net.nodes.items()
            if node.manager.shutdown.called
        }

    def _apartThenTogether(self) -> None:
        for nodeid in self.net.nodes:
            self.net.form(nodeid)
        self.net.run()
        self.net.form(*self.net.nodes)
        self.net.run()

    def test_everybodyKnows(self) -> None:
        """
        Each node tells its version; none counts as 0.
        """
        self._boot(n1=7, n2=7, n3=0)
        self.net.form(1, 2, 3)
        self.net.run()
        for nodeid in (1, 2, 3):
            self.assertEqual(self._known(nodeid), {"1": 7, "2": 7, "3": 0})

    def test_goneWithItsNode(self) -> None:
        """
        A node that is gone is not listed.
        """
        self._boot(n1=7, n2=7)
        self.net.form(1, 2)
        self.net.run()
        self.net.kill(2)
        self.net.form(1)
        self.net.run()
        self.assertEqual(self._known(1), {"1": 7})

    def test_olderStops(self) -> None:
        """
        M6: of two nodes that meet, the one with the older configuration stops,
        and only that one.
        """
        self._boot(n1=2, n2=1)
        self._apartThenTogether()
        stopped = self._stopped()
        self.assertEqual(set(stopped), {2})
        self.assertIn("version 1", stopped[2])

    def test_sameVersion(self) -> None:
        """
        The same version, or none, stops nobody.
        """
        for versions in ({"n1": 5, "n2": 5}, {"n1": 0, "n2": 9}):
            self.net = OrderedNet()
            self._boot(**versions)
            self._apartThenTogether()
            self.assertEqual(self._stopped(), {})

    def test_onlyTheFirstMeeting(self) -> None:
        """
        A newer version that comes later is an operator's reload in progress.
        """
        self._boot(n1=1, n2=1)
        self._apartThenTogether()
        self._boot(n3=2)
        self.net.form(3)
        self.net.run()
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self._stopped(), {})

    def test_abortedMeeting(self) -> None:
        """
        A meeting that was interrupted does not count as the first.
        """
        self._boot(n1=2, n2=1)
        self.net.form(1)
        self.net.form(2)
        self.net.run()
        self.net.form(1, 2)
        self.net.rotate(1)
        self.net.form(1, 2)
        self.net.run()
        self.assertEqual(set(self._stopped()), {2})

    def test_newVersion(self) -> None:
        """
        A node that reloaded tells its new version, among other keys or in
        another byte order.
        """
        self._boot(n1=1)
        ring = self.net.form(1)
        self.net.run()
        items = (
            CmapItem(b"something.else", 0, b""),
            CmapItem(b"totem.config_version", 8, (9).to_bytes(8, "big")),
        )
        message = CmapMcast(CmapReason.NEW_VERSION, items)
        manager = self.net.nodes[1].manager
        manager.messageDelivered(1, b"\0\1\0\1a" + whole(message, ">"), ">")
        self.assertEqual(self._known(1), {"1": 9})
        ring.order.append((1, address(SERVICES_GROUP, header(0, 44, b""))))
        self.net.run()
        self.assertEqual(self._known(1), {"1": 9})


class CancelTests(SynchronousTestCase):
    """
    Two of three nodes, which wait for the third.
    """

    def setUp(self) -> None:
        self.net = OrderedNet()
        quorum = QuorumSettings("corosync_votequorum", 3, waitForAll=True)
        self.net.boot(1, 2, quorum=quorum)
        self.net.form(1, 2)
        self.net.run()

    def status(self, nodeid: int) -> Value:
        keys: Any = self.net.nodes[nodeid].manager.database.map
        value: Value = keys.get("runtime.votequorum.wait_for_all_status")
        return value

    def cancel(self, value: Value) -> Any:
        cmap: Any = self.net.nodes[1].engine("cmap")
        return cmap.set(ICMAP, "quorum.cancel_wait_for_all", value)

    def test_cancelled(self) -> None:
        """
        They act without it as soon as somebody says so on one of them, and
        show it (E2).
        """
        self.assertEqual((self.status(1), self.status(2)), (u8(1), u8(1)))
        self.assertFalse(self.net.nodes[2].engine("quorum").quorate())
        self.successResultOf(self.cancel(u8(1)))
        self.net.run()
        self.assertTrue(self.net.nodes[2].engine("quorum").quorate())
        self.assertEqual((self.status(1), self.status(2)), (u8(0), u8(0)))

    def test_wrong(self) -> None:
        """
        Anything but yes is a mistake.
        """
        self.failureResultOf(self.cancel(u8(0)), InvalidParameter)
        self.failureResultOf(self.cancel(string("yes")), InvalidParameter)


class HandOverTests(SynchronousTestCase):
    """
    Another engine in the place of the first.
    """

    def test_goesOn(self) -> None:
        """
        It knows the versions, counts joins on, and tells the trackers of
        clients what changes (A10).
        """
        net = OrderedNet()
        net.boot(1, 2, configVersion=4)
        net.form(1, 2)
        net.run()
        first: Any = net.nodes[1].engine("cmap")
        seen: list[Any] = []
        tracker = first.track(ICMAP, "my.key", ALL, seen.extend)
        other = ConfigurationMapEngine()
        other.initialize(first.cluster, net.nodes[1].manager.settings)
        other.takeOver(first.handOver(), 1)
        self.assertEqual(other.dump()["members"], {"1": 4, "2": 4})
        other.set(ICMAP, "my.key", u8(1))
        self.assertEqual(len(seen), 1)
        self.assertEqual(other.dump()["followed"], {"icmap": 1, "stats": 0})
        tracker.stop()
        self.assertEqual(other.dump()["followed"], {"icmap": 0, "stats": 0})
