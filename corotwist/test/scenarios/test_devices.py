"""
Stories about quorum devices on whole nodes: halves, and who may act.  The judges
of votes watch that two never do.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.test import iosim
from zope.interface import implementer

from corotwist.plugin import QuorumDeviceMaker
from corotwist.quorumdevice.arbiter import Arbiter, ArbiterFactory
from corotwist.quorumdevice.disk import DiskDevice
from corotwist.quorumdevice.net import NetDevice
from corotwist.quorumdevice.slots import Slot
from corotwist.quorumdevice.values import DeviceContext
from corotwist.simulator import Cluster, timingFor
from corotwist.test.quorumdevice.test_disk import MemorySectors
from corotwist.test.scenarios.whole import WholeStory

QUICK = timingFor(0.2)
TIMEOUT_MS = 1000
# A disk, and a datagram to the arbiter.
DISK_SECONDS = 0.02
LINE_SECONDS = 0.01
# For a vote to end, and for another one to be given, with the arbiter's start.
LONG = 10.0


def sharedDisk(slots: dict[int, Slot], clock: Any, context: DeviceContext) -> Any:
    """
    A disk that all nodes share, and that takes its time.
    """

    def inThread(work: Callable[..., Any], *given: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        clock.callLater(DISK_SECONDS, lambda: done.callback(work(*given)))
        return done

    return DiskDevice(clock, context, inThread=inThread, sectors=MemorySectors(slots))


@implementer(IStreamClientEndpoint)
class Line:
    """
    The way of one node to the arbiter.
    """

    def __init__(self, clock: Any, factory: ArbiterFactory) -> None:
        self._clock = clock
        self._factory = factory

    def connect(self, factory: Any) -> Deferred[Any]:
        client = factory.buildProtocol(None)
        server: Any = self._factory.buildProtocol(None)
        pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True),
            client,
            iosim.FakeTransport(client, isServer=False),
        )
        self._carry(pump)
        return succeed(client)

    def _carry(self, pump: Any) -> None:
        pump.pump()
        if not pump.clientIO.disconnected:
            self._clock.callLater(LINE_SECONDS, self._carry, pump)


def askingArbiter(lines: list[Any], clock: Any, context: DeviceContext) -> Any:
    """
    An arbiter that all nodes ask; it lives on the clock of the first of them.
    """
    if not lines:
        lines.append(ArbiterFactory(Arbiter(clock, 3.0)))
    return NetDevice(clock, context, endpoint=Line(clock, lines[0]))


class DeviceStories(WholeStory):
    """
    Four nodes, five votes.
    """

    def begin(self, model: str, size: int = 4, **options: Any) -> Cluster:
        makers: Any = [
            QuorumDeviceMaker("disk", 9, partial(sharedDisk, {})),
            QuorumDeviceMaker("net", 9, partial(askingArbiter, [])),
        ]
        own = {
            "disk": {"path": "/dev/shared", "interval": 100, **options},
            "net": {"host": "arbiter", "tls": "off", **options},
        }
        device = {"model": model, "timeout": TIMEOUT_MS, model: own[model]}
        quorum = {"provider": "corosync_votequorum", "device": device}
        cluster = Cluster(
            size, services=True, timing=QUICK, quorum=quorum, engines=makers
        )
        cluster.settle(stay=False)
        cluster.run(LONG)
        self.assertEqual(self.quorate(cluster), [True] * size)
        return cluster

    def quorate(self, cluster: Cluster) -> list[bool]:
        return [cluster.engine(n, "quorum").quorate() for n in cluster.nodes]

    def halves(self, model: str) -> None:
        cluster = self.begin(model)
        cluster.partition((1, 2), (3, 4))
        cluster.run(LONG)
        self.assertEqual(self.quorate(cluster), [True, True, False, False])
        cluster.heal()
        cluster.run(LONG)
        self.assertEqual(self.quorate(cluster), [True] * 4)
        cluster.partition((1, 3), (2, 4))
        cluster.run(LONG)
        self.assertEqual(self.quorate(cluster), [True, False, True, False])

    def test_halvesAndADisk(self) -> None:
        """
        Of two halves the one acts that has the disk's vote, and only that one,
        partition after partition.  (C14)
        """
        self.halves("disk")

    def test_halvesAndAnArbiter(self) -> None:
        """
        The same with an arbiter.  (C14)
        """
        self.halves("net")

    def test_lastMan(self) -> None:
        """
        One node after the other is lost; the last one acts alone.  (C14)
        """
        for model in ("disk", "net"):
            cluster = self.begin(model, 3, algorithm="lms")
            for nodeid in (1, 2):
                cluster.kill(nodeid)
                cluster.run(LONG)
            self.assertTrue(cluster.engine(3, "quorum").quorate(), model)
