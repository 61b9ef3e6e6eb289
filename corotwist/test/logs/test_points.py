"""
What trace points tell of a node.
"""

from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from corotwist.logs.levels import ALL_TRACES
from corotwist.logs.tracing import SWITCHES, TAG_KEY
from corotwist.simulator import Cluster


class PointsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard: list[dict[str, Any]] = []
        observer: Any = self.heard.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(SWITCHES.choose, frozenset(), {})

    def told(self) -> set[str]:
        """
        The subsystems that have traced, over a change of membership and a
        join.
        """
        self.heard.clear()
        cluster = Cluster(2, services=True)
        cluster.settle()
        cluster.client(1).join(b"group")
        cluster.settle()
        return {event[TAG_KEY] for event in self.heard if TAG_KEY in event}

    def test_on(self) -> None:
        """
        Changes of the ring, stages of synchronization and changes of groups
        are told, each when it is switched on.  (A25)
        """
        SWITCHES.choose(ALL_TRACES, {})
        self.assertEqual(self.told(), {"TOTEM", "SYNC", "CPG"})
        SWITCHES.choose(frozenset(), {"SYNC": ALL_TRACES})
        self.assertEqual(self.told(), {"SYNC"})

    def test_off(self) -> None:
        """
        And not otherwise.
        """
        self.assertEqual(self.told(), set())
