"""
Rings in a wanted state, and a network without any faults to get them there.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import TypeVar

from attrs import Factory, define

from corotwist.config.settings import Timing
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Effect,
    Multicast,
    StoreRingId,
    Unicast,
)
from corotwist.totem.fragments import Assembly
from corotwist.totem.membership import Configuration, Guarantee
from corotwist.totem.ring import Ring

TIMING = Timing(
    token=1.0, tokenRetransmit=0.238, hold=0.18, join=0.05, consensus=1.2, merge=0.2
)
LATENCY = 0.0002
FRAME_BYTES = 1382

T = TypeVar("T")


def of(kind: type[T], effects: list[Effect]) -> list[T]:
    """
    The effects of one kind.
    """
    return [effect for effect in effects if isinstance(effect, kind)]


@define
class Harness:
    """
    Rings joined by a network that loses what C{lost} says; nothing else.

    @ivar lost: asked with sender, receiver and frame.
    """

    rings: dict[int, Ring]
    now: float = 0.0
    lost: Callable[[int, int, bytes], bool] = lambda a, b, frame: False
    silent: set[int] = Factory(set)
    delivered: dict[int, list[bytes]] = Factory(dict)
    configurations: dict[int, list[Configuration]] = Factory(dict)
    sent: list[tuple[int, bytes]] = Factory(list)
    _assemblies: dict[int, Assembly] = Factory(dict)
    _events: list[tuple[float, int, Callable[[], None]]] = Factory(list)
    _count: int = 0

    def add(self, ring: Ring, stored: int | None = 0) -> None:
        """
        Start one more processor, or another life of one.
        """
        nodeid = ring.nodeid
        self.rings[nodeid] = ring
        self.delivered[nodeid] = []
        self.configurations[nodeid] = []
        self._assemblies[nodeid] = Assembly()
        self.silent.discard(nodeid)
        self.perform(nodeid, ring.start(stored, self.now))

    def multicast(self, nodeid: int, message: bytes) -> None:
        """
        Submit a message at one processor.
        """
        effects = self.rings[nodeid].submit(message, Guarantee.AGREED, self.now)
        assert effects is not None, "no room"
        self.perform(nodeid, effects)

    def perform(self, nodeid: int, effects: list[Effect]) -> None:
        """
        Do what a ring asks for.
        """
        for effect in effects:
            match effect:
                case Multicast(frames, quiet=False):
                    for other in self.rings:
                        if other != nodeid:
                            for frame in frames:
                                self._send(nodeid, other, frame)
                case Unicast(to, frame):
                    self._send(nodeid, to, frame)
                case StoreRingId():
                    self._store(nodeid)
                case Deliver(sender, payload, byteOrder=order):
                    self.delivered[nodeid] += self._assemblies[nodeid].frameDelivered(
                        sender, payload, order
                    )
                case ConfigurationChanged(configuration):
                    self.configurations[nodeid].append(configuration)
                    if configuration.transitional:
                        self._assemblies[nodeid].departed(configuration.left)
                    else:
                        self.perform(nodeid, self.rings[nodeid].synchronized(self.now))

    def run(self, seconds: float) -> None:
        """
        Let time pass.
        """
        end = self.now + seconds
        while True:
            timers = [
                (ring.deadline, nodeid)
                for nodeid, ring in self.rings.items()
                if ring.deadline is not None and nodeid not in self.silent
            ]
            deadline, nodeid = min(timers, default=(end + 1, 0))
            event = self._events[0][0] if self._events else end + 1
            if min(deadline, event) > end:
                self.now = end
                return
            self.now = max(self.now, min(deadline, event))
            if event <= deadline:
                heappop(self._events)[2]()
            else:
                self.perform(nodeid, self.rings[nodeid].advance(self.now))

    def _store(self, nodeid: int) -> None:
        ring = self.rings[nodeid]
        self._later(0.0, lambda: ring.ringIdStored(self.now), nodeid)

    def _send(self, sender: int, to: int, frame: bytes) -> None:
        self.sent.append((sender, frame))
        if to in self.rings and (sender == to or not self.lost(sender, to, frame)):
            ring = self.rings[to]
            self._later(LATENCY, lambda: ring.framesReceived([frame], self.now), to)

    def _later(
        self, delay: float, act: Callable[[], list[Effect]], nodeid: int
    ) -> None:
        ring = self.rings[nodeid]

        def happen() -> None:
            if nodeid not in self.silent and self.rings[nodeid] is ring:
                self.perform(nodeid, act())

        self._count += 1
        heappush(self._events, (self.now + delay, self._count, happen))


def makeRing(nodeid: int, timing: Timing = TIMING, **start: int) -> Ring:
    """
    A processor that has not been started.
    """
    return Ring(nodeid, timing, FRAME_BYTES, Random(nodeid), **start)


def formed(size: int, timing: Timing = TIMING, **start: int) -> Harness:
    """
    An operational ring of processors 1 to C{size}.
    """
    harness = Harness({})
    for nodeid in range(1, size + 1):
        harness.add(makeRing(nodeid, timing, **start))
    harness.run(3.0)
    return harness
