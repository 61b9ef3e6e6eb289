"""
A network of directed links, each with faults of its own, under a clock.
"""

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from random import Random
from typing import Any, Final

from attrs import define, field

from corotwist.simulator.clock import Clock
from corotwist.simulator.faults import (
    BURST_SECONDS,
    CALM,
    CLOG_SECONDS,
    Faults,
    Rule,
    Spells,
)
from corotwist.simulator.journeys import (
    COPY,
    CUT,
    DAMAGED,
    DROPPED,
    FORGED,
    LATE,
    LOST,
    ON_TIME,
    ORPHANED,
    OVERFLOWN,
    SCRIPTED,
    UNHEARD,
    Journeys,
)
from corotwist.simulator.machine import addressOf
from corotwist.simulator.sockets import Port, Route, failed
from corotwist.totem.sockets import SocketAddress, socketAddress
from corotwist.totem.udp import BROADCAST

PORT_NUMBER: Final = 5405
# Datagrams on one link keep their order by arriving so much apart.
GAP: Final = 1e-9
# A datagram on its way from a process that was killed still arrives with this
# probability, drawn for each receiver.
OUTLIVES_SENDER: Final = 0.5


@define(eq=False)
class Link:
    """
    One direction between two nodes.

    @ivar cut: nothing gets through.
    @ivar faults: its own, or L{None} for those of the whole network.
    @ivar busyUntil: when the last datagram that keeps its order arrives.
    @ivar cloggedUntil: what is sent before arrives then, or later.
    @ivar bursts: when it loses more than usual.
    @ivar clogs: when it stops.
    @ivar batch: the last that left and nothing happened to: what follows in
        the same instant on the same route travels with it.
    @ivar batchLeft: when that was.
    """

    cut: bool = False
    faults: Faults | None = None
    busyUntil: float = 0.0
    cloggedUntil: float = 0.0
    bursts: Spells = field(factory=Spells)
    clogs: Spells = field(factory=Spells)
    batch: list[bytes] = field(factory=list)
    batchRoute: Route | None = None
    batchLeft: float = -1.0


@define(eq=False)
class _Way:
    """
    What datagrams of one socket take to one node.
    """

    port: Port
    route: Route
    target: int
    link: Link


Watcher = Callable[[Port, Iterable[int], Sequence[bytes]], None]


@define(eq=False)
class Network:
    """
    All links.

    @ivar hosts: whose an address is.
    @ivar faults: of every link that has none of its own.
    @ivar reflection: of the way of a broadcast back to its sender; what it
        would lose arrives.
    @ivar rules: scripted faults; the first that applies to a datagram decides.
    @ivar watchers: called with everything that is sent, before it leaves.
    @ivar counts: what happened to datagrams.
    @ivar journeys: writes the way of each down, when somebody wants it.
    """

    clock: Clock
    random: Random
    nodeids: tuple[int, ...]
    faults: Faults = CALM
    hosts: Mapping[str, int] = field()
    reflection: Faults = CALM
    rules: list[Rule] = field(factory=list)
    watchers: list[Watcher] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    journeys: Journeys | None = None
    _ports: dict[int, Port] = field(factory=dict)
    _links: dict[tuple[int, int], Link] = field(factory=dict)
    _others: dict[int, tuple[int, ...]] = field(factory=dict)
    _addressesOf: dict[int, SocketAddress] = field(init=False)
    # What was found out of the faults of the last datagram; the next one's are
    # hardly ever others.
    _lastFaults: Faults | None = None
    _harmless: bool = False

    def __attrs_post_init__(self) -> None:
        self._addressesOf = {
            nodeid: socketAddress(ip_address(host), PORT_NUMBER)
            for host, nodeid in self.hosts.items()
        }

    @hosts.default
    def _ordinaryHosts(self) -> Mapping[str, int]:
        return {str(addressOf(nodeid)): nodeid for nodeid in self.nodeids}

    def opened(self, port: Port) -> None:
        """
        A process listens: it gets what is sent to its node from now on.
        """
        if self._ports.setdefault(port.nodeid, port) is not port:
            raise failed(errno.EADDRINUSE)

    def closed(self, port: Port) -> None:
        """
        It listens no more.
        """
        if self._ports.get(port.nodeid) is port:
            del self._ports[port.nodeid]

    def others(self, nodeid: int) -> tuple[int, ...]:
        """
        Everybody but this node.
        """
        if nodeid not in self._others:
            self._others[nodeid] = tuple(n for n in self.nodeids if n != nodeid)
        return self._others[nodeid]

    def link(self, source: int, target: int) -> Link:
        """
        The link in this direction.
        """
        try:
            return self._links[source, target]
        except KeyError:
            return self._links.setdefault((source, target), Link())

    def links(self) -> Iterable[Link]:
        """
        All links between two different nodes.
        """
        return [self.link(a, b) for a in self.nodeids for b in self.nodeids if a != b]

    def targets(self, port: Port, host: str, *, back: bool) -> tuple[int, ...]:
        """
        See L{Carrier<corotwist.simulator.sockets.Carrier>}.
        """
        if host in self.hosts:
            return (self.hosts[host],)
        if not _isGroup(host):
            return ()
        others = self.others(port.nodeid)
        return (*others, port.nodeid) if back else others

    def soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """
        See L{Carrier<corotwist.simulator.sockets.Carrier>}.
        """
        self.clock.place(self.clock.seconds(), function, *arguments)

    def sending(
        self, port: Port, targets: Sequence[int], datagrams: Sequence[bytes]
    ) -> None:
        """
        A process is about to send, each datagram once however many copies
        leave.
        """
        for watcher in self.watchers:
            watcher(port, targets, datagrams)
            if port.killed:
                return

    def carry(self, port: Port, route: Route, datagrams: Sequence[bytes]) -> None:
        """
        See L{Carrier<corotwist.simulator.sockets.Carrier>}.
        """
        for way in route.ways or self._findWays(port, route):
            link = way.link
            if link.cut:
                self.counts["cut"] += len(datagrams)
                self._note(port, way.target, datagrams, None, CUT)
                continue
            faults = link.faults or self.faults
            if way.target == port.nodeid:
                faults = self.reflection
            if faults is not self._lastFaults:
                self._lastFaults, self._harmless = faults, faults.harmless
            if self._harmless and not self.rules:
                self._undisturbed(way, faults, datagrams)
            else:
                for datagram in datagrams:
                    self._perhaps(way, faults, datagram)

    def _findWays(self, port: Port, route: Route) -> tuple["_Way", ...]:
        ways = route.ways = tuple(
            _Way(port, route, target, self.link(port.nodeid, target))
            for target in route.targets
        )
        return ways

    def _undisturbed(
        self, way: "_Way", faults: Faults, datagrams: Sequence[bytes]
    ) -> None:
        link, now = way.link, self.clock.now
        time = link.busyUntil
        if link.batchLeft == now and link.batchRoute is way.route and time > now:
            link.batch += datagrams
        else:
            batch = [*datagrams]
            time = self._inOrder(way, faults.draw(self.random), batch)
            link.batch, link.batchRoute, link.batchLeft = batch, way.route, now
        if self.journeys is not None:
            self._note(way.port, way.target, datagrams, time)

    def inject(self, source: int, target: int, datagram: bytes) -> None:
        """
        Bring a datagram to a node as if another had sent it.
        """
        if self.journeys is not None:
            now = self.clock.seconds()
            self.journeys.left((source, target), now, now, (datagram,), FORGED)
        self.forge(self.addressOf(source), target, datagram)

    def addressOf(self, nodeid: int) -> SocketAddress:
        """
        Of a node, or what a stranger of that nodeid would have.
        """
        known = self._addressesOf.get(nodeid)
        return known or socketAddress(addressOf(nodeid), PORT_NUMBER)

    def forge(self, address: SocketAddress, target: int, datagram: bytes) -> None:
        """
        Bring a datagram to a node from whatever address.
        """
        receiver = self._ports.get(target)
        self.counts["forged"] += 1
        if receiver is not None:
            route = Route(address, self._addressesOf[target], (target,))
            receiver.arrived(route, (datagram,))

    def _inOrder(self, way: "_Way", takes: float, datagrams: Sequence[bytes]) -> float:
        """
        @return: when they arrive.
        """
        link = way.link
        time = self.clock.now + takes
        time = max(time, link.busyUntil + GAP)
        if time < link.cloggedUntil:
            self.counts["clogged"] += len(datagrams)
            time = link.cloggedUntil
        link.busyUntil = time
        link.batchRoute = None
        self.clock.place(time, self._arrived, way, datagrams)
        return time

    def _perhaps(self, way: "_Way", faults: Faults, datagram: bytes) -> None:
        port, target, random = way.port, way.target, self.random
        for rule in self.rules:
            if rule.applies(port.nodeid, target, datagram):
                if rule.count <= 0:
                    # One that is used up would only hold up all others.
                    self.rules.remove(rule)
                self._scripted(way, faults, rule, datagram)
                return
        if faults.clog:
            self._spell(way.link, faults.clog)
        if faults.lost(datagram, random) or self._inBurst(way.link, faults):
            self.counts["lost"] += 1
            self._note(port, target, (datagram,), None, LOST)
            return
        takes = faults.draw(random)
        if faults.replay and random.random() < faults.replay:
            self.counts["replayed"] += 1
            later = takes + random.random() * faults.replayAfter
            time = self._outOfOrder(way, later, datagram)
            self._note(port, target, (datagram,), time, COPY)
        if faults.duplication and random.random() < faults.duplication:
            self.counts["duplicated"] += 1
            later = takes + random.random() * faults.duplicateAfter
            time = self._outOfOrder(way, later, datagram)
            self._note(port, target, (datagram,), time, COPY)
        remark = ON_TIME
        damaged = faults.damaged(datagram, random)
        if damaged is not datagram:
            self.counts["damaged"] += 1
            remark = DAMAGED
        if faults.reorder and random.random() < faults.reorder:
            self.counts["reordered"] += 1
            takes += random.random() * faults.reorderBy
            time = self._outOfOrder(way, takes, damaged)
            remark = remark or LATE
        else:
            time = self._inOrder(way, takes, (damaged,))
        if self.journeys is not None:
            self._note(port, target, (datagram,), time, remark)

    def _spell(self, link: Link, clog: float) -> None:
        """
        See whether the link stops now.
        """
        now = self.clock.seconds()
        until = link.clogs.lasts(now, clog, CLOG_SECONDS, self.random)
        link.cloggedUntil = max(link.cloggedUntil, until)

    def _inBurst(self, link: Link, faults: Faults) -> bool:
        """
        Is this one lost because many are?
        """
        if not faults.burst:
            return False
        now, random = self.clock.seconds(), self.random
        if not link.bursts.lasts(now, faults.burst, BURST_SECONDS, random):
            return False
        lost = random.random() < faults.burstLoss
        self.counts["burst"] += lost
        return lost

    def _scripted(
        self, way: "_Way", faults: Faults, rule: Rule, datagram: bytes
    ) -> None:
        self.counts["scripted"] += 1
        copies = rule.fate(datagram)
        if not copies:
            self._note(way.port, way.target, (datagram,), None, DROPPED)
        for later, copy in copies:
            takes = faults.draw(self.random) + later
            time = self._outOfOrder(way, takes, copy)
            self._note(way.port, way.target, (datagram,), time, SCRIPTED)

    def _outOfOrder(self, way: "_Way", takes: float, datagram: bytes) -> float:
        time = max(self.clock.seconds() + takes, way.link.cloggedUntil)
        self.clock.place(time, self._arrived, way, (datagram,))
        return time

    def _note(
        self,
        port: Port,
        target: int,
        datagrams: Sequence[bytes],
        arrives: float | None,
        fate: str = ON_TIME,
    ) -> None:
        if self.journeys is not None:
            now = self.clock.seconds()
            self.journeys.left((port.nodeid, target), now, arrives, datagrams, fate)

    def _noteEnd(
        self, source: int, target: int, datagrams: Sequence[bytes], why: str
    ) -> None:
        if self.journeys is not None:
            now = self.clock.seconds()
            self.journeys.ended((source, target), now, datagrams, why)

    def overflown(self, port: Port, source: SocketAddress, datagram: bytes) -> None:
        """
        See L{Carrier<corotwist.simulator.sockets.Carrier>}.
        """
        origin = self.hosts.get(source[0], 0)
        self._noteEnd(origin, port.nodeid, (datagram,), OVERFLOWN)

    def _arrived(self, way: "_Way", datagrams: Sequence[bytes]) -> None:
        port, target = way.port, way.target
        if port.killed:
            datagrams = self._orphans(port.nodeid, target, datagrams)
        receiver = self._ports.get(target)
        if receiver is None or not datagrams:
            self.counts["unheard"] += len(datagrams)
            self._noteEnd(port.nodeid, target, datagrams, UNHEARD)
            return
        self.counts["arrived"] += len(datagrams)
        receiver.arrived(way.route, datagrams)

    def _orphans(
        self, source: int, target: int, datagrams: Sequence[bytes]
    ) -> list[bytes]:
        """
        What is left of datagrams whose sender was killed meanwhile.
        """
        random = self.random
        kept, lost = list[bytes](), list[bytes]()
        for datagram in datagrams:
            outlives = random.random() < OUTLIVES_SENDER
            (kept if outlives else lost).append(datagram)
        self._noteEnd(source, target, lost, ORPHANED)
        return kept


def _isGroup(host: str) -> bool:
    address = ip_address(host)
    return address.is_multicast or address == BROADCAST
