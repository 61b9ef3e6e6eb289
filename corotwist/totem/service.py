"""
The total order as a Twisted service.
"""

import time
from collections import Counter
from collections.abc import Callable
from math import inf
from random import Random
from typing import Final

from attrs import asdict, evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.settings import NodeSettings, TotemSettings
from corotwist.errors import TryAgain
from corotwist.interfaces import (
    IReconfigurable,
    IRingStorage,
    ITotem,
    ITotemListener,
    ITransport,
)
from corotwist.totem.effects import Effect
from corotwist.totem.frame import SALT_BYTES, Opener, Sealer
from corotwist.totem.membership import Guarantee, NodeStatus
from corotwist.totem.neighbours import Neighbours
from corotwist.totem.origin import Origins
from corotwist.totem.ring import Ring
from corotwist.totem.sockets import socketAddress
from corotwist.totem.stability import WhenStable
from corotwist.totem.states import In
from corotwist.totem.transport import TotemProtocol, frameBytes

_STAMP_BITS: Final = 64


@implementer(ITotem, IReconfigurable)
class TotemService(Service):
    """
    One processor from start to stop.

    @param clock: timers, and a time that only rises.
    @param random: for the delay of joins, the first ring sequence and the
        salt of seals.
    @param timeOfDay: nanoseconds since 1970, asked once per start; a seal
        tells by them which of two starts is the later.
    @ivar listener: to be set before the start.
    @ivar onBroken: called with a L{Failure} when the ring found an error of
        its own and this node fell silent; the process should end.
    @ivar observer: called with each effect of the ring just before it is
        performed, for those who trace.
    @ivar protocol: the shell of the present start; L{None} while stopped.
    """

    name = "totem"
    listener: ITotemListener

    def __init__(
        self,
        clock: IReactorTime,
        settings: TotemSettings,
        transport: ITransport,
        storage: IRingStorage,
        random: Random,
        *,
        timeOfDay: Callable[[], int] = time.time_ns,
        makeRing: Callable[..., Ring] = Ring,
    ) -> None:
        self.nodeid = settings.nodeid
        self.protocol: TotemProtocol | None = None
        self.onBroken: Callable[[Failure], None] | None = None
        self.observer: Callable[[Effect], None] | None = None
        self._clock = clock
        self._settings = settings
        self._frameBytes = frameBytes(settings)
        self._transport = transport
        self._storage = storage
        self._random = random
        self._timeOfDay = timeOfDay
        self._makeRing = makeRing
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._neighbours = Neighbours(settings, _hosts(settings))

    # Beginning and end.

    def startService(self) -> None:
        """
        Load the last ring sequence, listen, and look for others.

        @raise StorageRefused: when the state directory is of no use.
        @raise OSError: when an address cannot be bound.
        """
        sequence = self._storage.load()
        protocol = self._makeProtocol()
        protocol.start(sequence)
        self.protocol = protocol
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Leave the ring; fires when nothing is left behind.
        """
        super().stopService()
        protocol, self.protocol = self.protocol, None
        return succeed(None) if protocol is None else protocol.leave()

    def silence(self) -> None:
        """
        End at once, without a word, in the middle of whatever it is.
        """
        if self.protocol is not None:
            self.protocol.silence()

    def _makeProtocol(self) -> TotemProtocol:
        settings = self._settings
        ring = self._makeRing(
            self.nodeid, settings.timing, self._frameBytes, self._random
        )
        sealer, opener = self._seals(settings.key)
        protocol = TotemProtocol(
            self._clock,
            ring,
            self._transport,
            self._storage,
            self.listener,
            sealer=sealer,
            opener=opener,
            origins=_origins(settings),
            heard=self._neighbours.heard,
        )
        if self.onBroken is not None:
            protocol.onBroken = self.onBroken
        protocol.observer = self.observer
        return protocol

    def _seals(self, key: bytes | None) -> tuple[Sealer | None, Opener | None]:
        if key is None:
            return None, None
        nodes = [node.nodeid for node in self._settings.nodes]
        stamp = self._storage.stamp(self._timeOfDay()) % (1 << _STAMP_BITS)
        salt = self._random.randbytes(SALT_BYTES)
        others = [nodeid for nodeid in nodes if nodeid != self.nodeid]
        self._sealer = Sealer(key, self.nodeid, stamp, salt)
        self._opener = Opener((key,), self.nodeid, others, self._sealer.start)
        return self._sealer, self._opener

    # From an operator.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        The ring lives with any timers that a configuration can have.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        """
        Other timers, for this start and later ones, and another key: what it
        sealed is opened from here on, and what earlier ones did.  All else
        waits for a restart of the process.
        """
        timing, key = settings.totem.timing, settings.totem.key
        changed = key != self._settings.key
        self._settings = evolve(self._settings, timing=timing, key=key)
        if self.protocol is not None:
            self.protocol.ring.retime(timing)
        if changed and key is not None and self._opener is not None:
            self._opener.accept(key)

    def activateKey(self) -> None:
        if self._settings.key is not None and self._sealer is not None:
            self._sealer.use(self._settings.key)

    def dropOldKeys(self) -> None:
        if self._settings.key is not None and self._opener is not None:
            self._opener.use((self._settings.key,))

    # From the service manager.

    def multicast(
        self, message: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        protocol = self.protocol
        return protocol is not None and protocol.submit(message, guarantee)

    def room(self) -> int:
        protocol = self.protocol
        return 0 if protocol is None else protocol.ring.room()

    def whenStable(self, callback: WhenStable) -> None:
        if self.protocol is None:
            raise TryAgain("this node is on no ring")
        self.protocol.whenStable(callback)

    def leaseEnds(self) -> float:
        protocol = self.protocol
        return -inf if protocol is None else protocol.ring.leaseEnds()

    def synchronized(self) -> None:
        if self.protocol is not None:
            self.protocol.synchronized()

    def reform(self) -> None:
        if self.protocol is not None:
            self.protocol.reform()

    def reenable(self) -> None:
        if self.protocol is not None:
            self.protocol.ring.reenable(self._clock.seconds())

    def nodeStatus(self, nodeid: int) -> NodeStatus:
        members: tuple[int, ...] = ()
        if self.protocol is not None and self.protocol.ring.state is In.OPERATIONAL:
            members = self.protocol.ring.members
        now, patience = self._clock.seconds(), self._settings.timing.token
        return self._neighbours.status(nodeid, members, now, patience)

    def statistics(self) -> dict[str, int]:
        """
        Counters by name: the ring's, the network's, and C{dropped.} with the
        name of an error for what nobody should have sent.
        """
        counters = dict(self._transport.statistics())
        if self.protocol is not None:
            counters |= asdict(self.protocol.ring.statistics)
            for kind, count in self.protocol.dropped().items():
                counters[f"dropped.{kind}"] = count
        return counters


def _hosts(settings: TotemSettings) -> dict[str, int]:
    """
    The nodes by their first addresses, without those that share one.
    """
    nodes = settings.nodes
    hosts = [socketAddress(node.addresses[0], settings.port)[0] for node in nodes]
    times = Counter(hosts)
    return {
        host: node.nodeid
        for host, node in zip(hosts, nodes, strict=True)
        if times[host] == 1
    }


def _origins(settings: TotemSettings) -> Origins:
    """
    Whose each address is, as far as the node list leaves no doubt: a node with
    several may speak from any of them.

    With udpu, whether addresses outside the list count is C{block_unlisted_ips},
    and the transport's affair; with udp nobody has any other.
    """
    several = {node.nodeid for node in settings.nodes if len(node.addresses) != 1}
    hosts = _hosts(settings)
    known = {host: nodeid for host, nodeid in hosts.items() if nodeid not in several}
    complete = settings.transport == "udp" and len(known) == len(settings.nodes)
    return Origins(settings.nodeid, known, complete=complete)
