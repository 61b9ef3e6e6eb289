"""
A network of directed links, each with faults of its own, under a clock.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from corotwist.interfaces import IDatagramReceiver, ITransport
from corotwist.simulator.clock import Clock
from corotwist.simulator.faults import CALM, Faults, Rule
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
from corotwist.simulator.machine import addressOf, nodeidAt

PORT_NUMBER: Final = 5405
# Datagrams on one link keep their order by arriving so much apart.
GAP: Final = 1e-9
# What waits in the socket of a process that does not read; more is lost.
SOCKET_DATAGRAMS: Final = 4096
# What is handed up at once, as a kernel with receive offload would.
BURST: Final = 64
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
    """

    cut: bool = False
    faults: Faults | None = None
    busyUntil: float = 0.0


@implementer(ITransport)
@define(eq=False)
class Port:
    """
    The socket of one process, and its transport.

    @ivar present: is the process being scheduled?  While not, datagrams wait.
    @ivar killed: the process was killed: it can send no more, and what it sent
        may not arrive.
    @ivar worked: called after each burst handed up.
    """

    nodeid: int
    network: "Network"
    present: bool = True
    killed: bool = False
    worked: Callable[[], None] = lambda: None
    counts: Counter[str] = field(factory=Counter)
    _receiver: IDatagramReceiver | None = None
    _waiting: deque[tuple[tuple[str, int], bytes]] = field(factory=deque)

    def start(self, receiver: IDatagramReceiver) -> None:
        self._receiver = receiver
        self.network.opened(self)

    def stop(self) -> Deferred[None]:
        self.close()
        return succeed(None)

    def close(self) -> None:
        """
        Nothing is handed up from now on.
        """
        self._receiver = None
        self._waiting.clear()
        self.network.closed(self)

    def unicast(self, nodeid: int, datagram: bytes) -> None:
        assert nodeid != self.nodeid, "the shell loops these back itself"
        self.counts["unicast"] += 1
        if not self.killed:
            self.network.carry(self, (nodeid,), (datagram,))

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        self.counts["multicast"] += len(datagrams)
        if not self.killed:
            self.network.carry(self, self.network.others(self.nodeid), datagrams)

    def drain(self) -> None:
        for _ in range(min(len(self._waiting), SOCKET_DATAGRAMS)):
            if not self._waiting:
                return
            self._handUp(*self._burst())

    def statistics(self) -> Mapping[str, int]:
        return dict(self.counts)

    def arrived(self, address: tuple[str, int], datagrams: Sequence[bytes]) -> None:
        """
        The network brings something.
        """
        if self.present and not self._waiting:
            self._handUp(address, datagrams)
            self.worked()
            return
        for datagram in datagrams:
            if len(self._waiting) >= SOCKET_DATAGRAMS:
                self.counts["overflow"] += 1
                self.network.overflown(self.nodeid, address, datagram)
            else:
                self._waiting.append((address, datagram))

    def readWaiting(self) -> bool:
        """
        Hand up the oldest burst that waits, if the process is present.

        @return: was there one?
        """
        if not self._waiting or not self.present:
            return False
        self._handUp(*self._burst())
        self.worked()
        return True

    def _burst(self) -> tuple[tuple[str, int], list[bytes]]:
        address = self._waiting[0][0]
        burst: list[bytes] = []
        while self._waiting and self._waiting[0][0] == address and len(burst) < BURST:
            burst.append(self._waiting.popleft()[1])
        return address, burst

    def _handUp(self, address: tuple[str, int], datagrams: Sequence[bytes]) -> None:
        if self._receiver is not None:
            self.counts["received"] += len(datagrams)
            self._receiver.datagramsReceived(datagrams, address)


Watcher = Callable[[Port, Iterable[int], Sequence[bytes]], None]


@define(eq=False)
class Network:
    """
    All links.

    @ivar faults: of every link that has none of its own.
    @ivar rules: scripted faults; the first that applies to a datagram decides.
    @ivar watchers: called with everything that is sent, before it leaves.
    @ivar counts: what happened to datagrams.
    @ivar journeys: writes the way of each down, when somebody wants it.
    """

    clock: Clock
    random: Random
    nodeids: tuple[int, ...]
    faults: Faults = CALM
    rules: list[Rule] = field(factory=list)
    watchers: list[Watcher] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    journeys: Journeys | None = None
    _ports: dict[int, Port] = field(factory=dict)
    _links: dict[tuple[int, int], Link] = field(factory=dict)
    _others: dict[int, tuple[int, ...]] = field(factory=dict)

    def opened(self, port: Port) -> None:
        """
        A process listens: it gets what is sent to its node from now on.
        """
        self._ports[port.nodeid] = port

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

    def carry(
        self, port: Port, targets: Sequence[int], datagrams: Sequence[bytes]
    ) -> None:
        """
        Take datagrams from a process to nodes.
        """
        for watcher in self.watchers:
            watcher(port, targets, datagrams)
            if port.killed:
                return
        for target in targets:
            link = self.link(port.nodeid, target)
            faults = link.faults or self.faults
            if link.cut:
                self.counts["cut"] += len(datagrams)
                self._note(port, target, datagrams, None, CUT)
            elif faults.harmless and not self.rules:
                takes = faults.draw(self.random)
                time = self._inOrder(port, target, link, takes, datagrams)
                if self.journeys is not None:
                    self._note(port, target, datagrams, time)
            else:
                for datagram in datagrams:
                    self._perhaps(port, target, link, faults, datagram)

    def inject(self, source: int, target: int, datagram: bytes) -> None:
        """
        Bring a datagram to a node as if another had sent it.
        """
        receiver = self._ports.get(target)
        if self.journeys is not None:
            now = self.clock.seconds()
            self.journeys.left((source, target), now, now, (datagram,), FORGED)
        if receiver is not None:
            receiver.arrived((str(addressOf(source)), PORT_NUMBER), (datagram,))

    def _inOrder(
        self,
        port: Port,
        target: int,
        link: Link,
        takes: float,
        datagrams: Sequence[bytes],
    ) -> float:
        """
        @return: when they arrive.
        """
        time = max(self.clock.seconds() + takes, link.busyUntil + GAP)
        link.busyUntil = time
        self.clock.place(time, self._arrived, port, target, datagrams)
        return time

    def _perhaps(
        self, port: Port, target: int, link: Link, faults: Faults, datagram: bytes
    ) -> None:
        for rule in self.rules:
            if rule.applies(port.nodeid, target, datagram):
                self.counts["scripted"] += 1
                copies = rule.fate(datagram)
                if not copies:
                    self._note(port, target, (datagram,), None, DROPPED)
                for later, copy in copies:
                    takes = faults.draw(self.random) + later
                    time = self._outOfOrder(port, target, takes, copy)
                    self._note(port, target, (datagram,), time, SCRIPTED)
                return
        random = self.random
        if faults.lost(datagram, random):
            self.counts["lost"] += 1
            self._note(port, target, (datagram,), None, LOST)
            return
        takes = faults.draw(random)
        if faults.duplication and random.random() < faults.duplication:
            self.counts["duplicated"] += 1
            later = takes + random.random() * faults.duplicateAfter
            time = self._outOfOrder(port, target, later, datagram)
            self._note(port, target, (datagram,), time, COPY)
        remark = ON_TIME
        damaged = faults.damaged(datagram, random)
        if damaged is not datagram:
            self.counts["damaged"] += 1
            remark = DAMAGED
        if faults.reorder and random.random() < faults.reorder:
            self.counts["reordered"] += 1
            takes += random.random() * faults.reorderBy
            time = self._outOfOrder(port, target, takes, damaged)
            remark = remark or LATE
        else:
            time = self._inOrder(port, target, link, takes, (damaged,))
        if self.journeys is not None:
            self._note(port, target, (datagram,), time, remark)

    def _outOfOrder(
        self, port: Port, target: int, takes: float, datagram: bytes
    ) -> float:
        time = self.clock.seconds() + takes
        self.clock.place(time, self._arrived, port, target, (datagram,))
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

    def overflown(self, nodeid: int, address: tuple[str, int], datagram: bytes) -> None:
        """
        A process that does not read lost one.
        """
        source = nodeidAt(address[0])
        self._noteEnd(source, nodeid, (datagram,), OVERFLOWN)

    def _arrived(self, port: Port, target: int, datagrams: Sequence[bytes]) -> None:
        if port.killed:
            datagrams = self._orphans(port.nodeid, target, datagrams)
        receiver = self._ports.get(target)
        if receiver is None or not datagrams:
            self.counts["unheard"] += len(datagrams)
            self._noteEnd(port.nodeid, target, datagrams, UNHEARD)
            return
        self.counts["arrived"] += len(datagrams)
        receiver.arrived((str(addressOf(port.nodeid)), PORT_NUMBER), datagrams)

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
