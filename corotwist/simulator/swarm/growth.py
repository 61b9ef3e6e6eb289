"""
Rings of growing size: how long they take to form, to order, and to form again
when a part of them is lost, and what they say meanwhile.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from time import process_time
from typing import Final

from attrs import define, field, frozen

from corotwist.simulator.cluster import Cluster
from corotwist.simulator.faults import kindOf
from corotwist.simulator.node import timingFor
from corotwist.simulator.sockets import Port

TOKEN_SECONDS: Final = 1.0
# From this size on joins are spread over a while, as corosync's manual advises.
MANY_NODES: Final = 32
SEND_JOIN_SECONDS: Final = 0.08
# The load: so many messages a second, of all nodes together, for so long.
LOAD_RATE: Final = 1000.0
LOAD_SECONDS: Final = 1.0
LOAD_BYTES: Final = 100
# The part of the nodes that is lost, and how long the rest may take.
LOST_PART: Final = 4
FORMING_TOKENS: Final = 6


@frozen
class Growth:
    """
    What a ring of some size did.

    @ivar forming: virtual seconds from the start until all are in one ring.
    @ivar rotation: virtual seconds for the token to go round, under load.
    @ivar ordering: virtual seconds from the end of the load until all is
        delivered everywhere.
    @ivar formingAgain: virtual seconds from the loss of nodes until the others
        are in one ring; most of it is the token timeout.
    @ivar datagrams: that one node sent until the ring had formed, on average;
        a multicast counts once for each receiver.
    @ivar amount: bytes of these.
    @ivar kind: which kind of datagram most of these bytes were.
    @ivar share: how much of them.
    @ivar busy: seconds of a core, for everything.
    """

    size: int
    forming: float
    rotation: float
    ordering: float
    formingAgain: float
    datagrams: float
    amount: float
    kind: str
    share: float
    busy: float


@define(eq=False)
class Meter:
    """
    Counts what is sent.
    """

    cluster: Cluster
    datagrams: Counter[str] = field(factory=Counter)
    amounts: Counter[str] = field(factory=Counter)

    def sending(
        self, port: Port, targets: Iterable[int], datagrams: Sequence[bytes]
    ) -> None:
        """
        See L{corotwist.simulator.network.Network.watchers}.
        """
        copies = len([*targets])
        for datagram in datagrams:
            kind = kindOf(datagram)
            self.datagrams[kind] += copies
            self.amounts[kind] += copies * len(datagram)


def grow(size: int, *, sendJoin: float | None = None, seed: int = 1) -> Growth:
    """
    Form a ring, load it, lose a quarter of it.

    @param sendJoin: joins are spread over so many seconds; by default only in
        large rings.
    @raise PromiseBroken: when a judge saw something.
    """
    began = process_time()
    if sendJoin is None:
        sendJoin = SEND_JOIN_SECONDS if size >= MANY_NODES else 0.0
    timing = timingFor(TOKEN_SECONDS, sendJoin=sendJoin)
    cluster = Cluster(size, seed, timing=timing)
    meter = Meter(cluster)
    cluster.network.watchers.append(meter.sending)
    patience = FORMING_TOKENS * TOKEN_SECONDS
    forming = _until(cluster, patience)
    datagrams, amount = meter.datagrams.total(), meter.amounts.total()
    kind, most = meter.amounts.most_common(1)[0] if meter.amounts else ("none", 0)
    rotation, ordering = _loaded(cluster)
    lost = [n for n in cluster.nodes if n % LOST_PART == 0] or [size]
    cluster.kill(*lost)
    formingAgain = _until(cluster, patience)
    cluster.settle()
    return Growth(
        size=size,
        forming=forming,
        rotation=rotation,
        ordering=ordering,
        formingAgain=formingAgain,
        datagrams=datagrams / size,
        amount=amount / size,
        kind=kind,
        share=most / amount if amount else 0.0,
        busy=process_time() - began,
    )


def _until(cluster: Cluster, patience: float) -> float:
    """
    How long it takes to form.
    """
    start = cluster.seconds()
    if not cluster.runUntil(cluster.formed, patience):
        cluster.settle(0.0)
    return cluster.seconds() - start


def _loaded(cluster: Cluster) -> tuple[float, float]:
    """
    How long the token takes to go round under load; and, when the load ends,
    how long until all has been delivered.
    """
    before = cluster.nodes[1].statistics.tokens
    size = len(cluster.nodes)
    cluster.load(LOAD_RATE / size, LOAD_SECONDS, (LOAD_BYTES,))
    cluster.run(LOAD_SECONDS)
    tokens = cluster.nodes[1].statistics.tokens - before
    start = cluster.seconds()
    cluster.settle(stay=False)
    return LOAD_SECONDS / max(tokens, 1), cluster.seconds() - start
