"""
What stories have in common.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator import Cluster
from corotwist.simulator.faults import kindOf
from corotwist.simulator.network import Port
from corotwist.totem.ring import Ring
from corotwist.totem.wire import Token, decode

A, B, C, D, E = 1, 2, 3, 4, 5
# One rotation of the token through three nodes takes less.
ROTATION = 0.001
FOREVER = float("inf")


class Story(SynchronousTestCase):
    """
    Told on a cluster whose judges watch all the time.  The token timeout is
    1 s, the consensus timeout 1.2 s and a journey takes 0.2 ms, unless said
    otherwise.
    """

    def formed(self, size: int = 3, **options: Any) -> Cluster:
        """
        All nodes up, in one ring, in step.
        """
        cluster = Cluster(size, **options)
        cluster.settle(stay=False)
        return cluster

    def send(self, cluster: Cluster, nodeid: int, *payloads: bytes) -> None:
        """
        Send messages, waiting for room where there is none.
        """
        for payload in payloads:
            while not cluster.multicast(nodeid, payload):
                cluster.run(ROTATION)

    def assertSame(self, cluster: Cluster, nodeids: Iterable[int] = ()) -> None:
        """
        These nodes, or all, delivered the same messages in the same order.
        """
        first, *others = [short(cluster, n) for n in nodeids or cluster.nodes]
        for other in others:
            self.assertEqual(other, first)

    def assertEndsLike(self, cluster: Cluster, late: int, early: int) -> None:
        """
        One delivered the same as another from some point on.
        """
        log, whole = short(cluster, late), short(cluster, early)
        self.assertEqual(log, whole[len(whole) - len(log) :])

    def assertQuiet(self, cluster: Cluster, seconds: float) -> None:
        """
        No configuration changes for so long.
        """
        before = changes(cluster)
        cluster.run(seconds)
        self.assertEqual(changes(cluster), before)


def short(cluster: Cluster, nodeid: int) -> list[tuple[bytes, int]]:
    """
    What a node delivered, fit to be shown: beginnings and sizes.
    """
    return [(payload[:12], len(payload)) for payload in cluster.nodes[nodeid].log]


def changes(cluster: Cluster) -> list[int]:
    """
    How many configurations each node has seen.
    """
    return [len(node.configurations) for node in cluster.nodes.values()]


def installs(cluster: Cluster, before: Sequence[int]) -> float:
    """
    The most rings that any node installed since C{changes} said C{before}.
    """
    now = changes(cluster)
    return max((n - b) / 2 for n, b in zip(now, before, strict=True))


def ring(cluster: Cluster, nodeid: int) -> Ring:
    """
    The protocol core of a node.
    """
    protocol = cluster.running(nodeid).service.protocol
    assert protocol is not None
    return protocol.ring


def watchTokens(cluster: Cluster, watcher: Callable[[int, Token], None]) -> None:
    """
    Show every token that is sent, with its sender.
    """

    def watch(port: Port, targets: Iterable[int], datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            if kindOf(datagram) == "token":
                token = decode(datagram)
                assert isinstance(token, Token)
                watcher(port.nodeid, token)

    cluster.network.watchers.append(watch)


def capture(cluster: Cluster, kind: str) -> list[tuple[int, bytes]]:
    """
    Everything of a kind that is sent from now on, with its sender.
    """
    captured: list[tuple[int, bytes]] = []

    def watch(port: Port, targets: Iterable[int], datagrams: Sequence[bytes]) -> None:
        captured.extend((port.nodeid, d) for d in datagrams if kindOf(d) == kind)

    cluster.network.watchers.append(watch)
    return captured
