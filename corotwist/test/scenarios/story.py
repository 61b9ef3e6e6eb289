"""
What stories have in common.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from struct import pack
from typing import Any, Final, TypeVar

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from corotwist.interfaces import ITotemListener
from corotwist.simulator import Cluster
from corotwist.simulator.faults import kindOf
from corotwist.simulator.process import Application
from corotwist.simulator.sockets import Port
from corotwist.totem.effects import Effect
from corotwist.totem.membership import Configuration, Guarantee
from corotwist.totem.ring import Ring
from corotwist.totem.service import TotemService
from corotwist.totem.states import In
from corotwist.totem.transport import TotemProtocol
from corotwist.totem.wire import CommitToken, Regular, Token, decode

A, B, C, D, E = 1, 2, 3, 4, 5
# Tell the stories in full: more seeds, more starts, longer runs.
LONG: Final = "COROTWIST_LONG" in os.environ
# Where all sequences of rings start: the stories are the same from anywhere.
FIRST: Final = int(os.environ.get("COROTWIST_FIRST_SEQUENCE", "0"), 0)
# One rotation of the token through three nodes takes less.
ROTATION = 0.001
FOREVER = float("inf")

T = TypeVar("T")


class Story(SynchronousTestCase):
    """
    Told on a cluster whose judges watch all the time.  The token timeout is
    1 s, the consensus timeout 1.2 s and a journey takes 0.2 ms, unless said
    otherwise.

    @cvar firstSequence: where the message sequences of all rings start.
    @cvar firstTokenSequence: likewise, of tokens.
    """

    firstSequence = FIRST
    firstTokenSequence = FIRST

    def cluster(self, size: int = 3, **options: Any) -> Cluster:
        """
        Nodes that have just been started.
        """
        starts: dict[str, Any] = {}
        if not options.get("services"):
            starts["firstSequence"] = self.firstSequence
            starts["firstTokenSequence"] = self.firstTokenSequence
        return Cluster(size, **(starts | options))

    def formed(self, size: int = 3, **options: Any) -> Cluster:
        """
        All nodes up, in one ring, in step.
        """
        cluster = self.cluster(size, **options)
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


def shell(cluster: Cluster, nodeid: int) -> TotemProtocol:
    """
    What surrounds the protocol core of a node.
    """
    protocol = cluster.running(nodeid).service.protocol
    assert protocol is not None
    return protocol


def ring(cluster: Cluster, nodeid: int) -> Ring:
    """
    The protocol core of a node.
    """
    return shell(cluster, nodeid).ring


def frameful(cluster: Cluster, beginning: bytes) -> bytes:
    """
    A message of which one fills a frame.
    """
    header = len(pack("<HH5sII", 1, 5, b"story", 0, 0))
    packing = len(pack("<hhBBHH", 0, 0, 0, 0, 0, 0))
    nodeid = cluster.live[0]
    size = ring(cluster, nodeid).frameBytes - packing - header
    return beginning + bytes(size - len(beginning))


def eachTime(
    cluster: Cluster, state: In, nodeid: int, do: Callable[[], object]
) -> None:
    """
    Do something whenever a node enters a state.
    """

    def entered() -> None:
        cluster.whenState(state, entered, nodeid)
        do()

    cluster.whenState(state, entered, nodeid)


def after(
    cluster: Cluster, nodeid: int, configuration: Configuration
) -> Sequence[object]:
    """
    What a node saw after it installed the regular configuration of that name.
    """
    events = cluster.nodes[nodeid].events
    for at, event in enumerate(events):
        if (
            isinstance(event, Configuration)
            and not event.transitional
            and event.ringId == configuration.ringId
        ):
            return events[at + 1 :]
    raise LookupError(f"node {nodeid} never was on {configuration.ringId}")


def effects(cluster: Cluster, nodeid: int, kind: type[T]) -> list[T]:
    """
    Everything of a kind that the core of a node asks for from now on.
    """
    seen: list[T] = []
    protocol = shell(cluster, nodeid)
    observer = protocol.observer

    def observe(effect: Effect) -> None:
        if isinstance(effect, kind):
            seen.append(effect)
        if observer is not None:
            observer(effect)

    protocol.observer = observe
    return seen


@implementer(ITotemListener)
class Listener:
    """
    Between the ring and the application of a node: does what C{delivered} and
    C{configured} say after the application heard of something.
    """

    def __init__(self, cluster: Cluster, nodeid: int) -> None:
        application = cluster.running(nodeid).application
        assert isinstance(application, Application)
        self.application = application
        self.totem: TotemService = application.totem
        self.tokenPassed = application.tokenPassed
        self.delivered: Callable[[bytes], object] = lambda message: None
        self.configured: Callable[[Configuration], object] = lambda changed: None
        shell(cluster, nodeid)._listener = self

    def messageDelivered(
        self,
        nodeid: int,
        message: bytes,
        byteOrder: str,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> None:
        self.application.messageDelivered(nodeid, message, byteOrder, guarantee)
        self.delivered(message)

    def configurationChanged(self, configuration: Configuration) -> None:
        self.application.configurationChanged(configuration)
        self.configured(configuration)


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


def capture(cluster: Cluster, kind: str | None = None) -> list[tuple[int, bytes]]:
    """
    Everything of a kind, or all, that is sent from now on, with its sender.
    """
    captured: list[tuple[int, bytes]] = []

    def watch(port: Port, targets: Iterable[int], datagrams: Sequence[bytes]) -> None:
        captured.extend(
            (port.nodeid, d) for d in datagrams if kind in (None, kindOf(d))
        )

    cluster.network.watchers.append(watch)
    return captured


def wrappers(captured: Iterable[tuple[int, bytes]]) -> list[tuple[Regular, Regular]]:
    """
    Of captured data, the frames that carry frames of old rings, and those.
    """
    found = []
    for _, datagram in captured:
        frame = decode(datagram)
        if isinstance(frame, Regular) and frame.encapsulated:
            inner = decode(frame.payload)
            assert isinstance(inner, Regular)
            found.append((frame, inner))
    return found


def commitTokens(captured: Iterable[tuple[int, bytes]]) -> list[CommitToken]:
    """
    Captured commit tokens.
    """
    found = []
    for _, datagram in captured:
        token = decode(datagram)
        assert isinstance(token, CommitToken)
        found.append(token)
    return found
