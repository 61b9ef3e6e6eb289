"""
One process of a simulated node: production code from the socket up, and a
small application on top of it.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from struct import Struct, pack
from typing import Final, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from corotwist.interfaces import ITotemListener
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.reactor import Reactor
from corotwist.simulator.services import Services
from corotwist.simulator.sockets import Port
from corotwist.simulator.storage import Storage
from corotwist.totem.effects import Effect
from corotwist.totem.membership import Configuration, Guarantee, RingId
from corotwist.totem.service import TotemService

# Messages that wait in the application while the services synchronize.
MOST_HELD: Final = 1_000_000

_STORY_GROUP: Final = pack("<HH5s", 1, 5, b"story")
_BARRIER_GROUP: Final = pack("<HH7s", 1, 7, b"barrier")
_STORY: Final = Struct("<II")
_BARRIER: Final = Struct("<QI")


@frozen
class Delivered:
    """
    A message, as the application got it.
    """

    sender: int
    payload: bytes


class IWitness(Protocol):
    """
    Who wants to know what the application of a process sees.
    """

    def submitted(self, life: Life, number: int, message: bytes) -> None:
        """
        The total order accepted a message.
        """

    def delivered(
        self, life: Life, sender: int, incarnation: int, number: int, message: bytes
    ) -> None:
        """
        It handed one up.
        """

    def overtook(self, life: Life, sender: int) -> None:
        """
        It handed up a message of a ring whose services are not in step.
        """

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        It handed up a configuration.
        """


@implementer(ITotemListener)
@define(eq=False)
class Application:
    """
    Uses the total order as services do: after each change of the ring it
    synchronizes, by a barrier message from every member, and sends nothing
    else until that is done.

    @ivar log: payloads in the order of their delivery.
    @ivar events: payloads with their senders, and configurations.
    """

    life: Life
    witness: IWitness
    totem: TotemService
    log: list[bytes] = field(factory=list)
    events: list[Delivered | Configuration] = field(factory=list)
    configuration: Configuration | None = None
    synchronizing: bool = True
    _number: int = 0
    _held: deque[tuple[bytes, Guarantee]] = field(factory=deque)
    _missing: set[int] = field(factory=set)
    _owesBarrier: bool = False

    def multicast(
        self, payload: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        """
        Send a message, or hold it until synchronized.

        @return: C{False} when there is no room.
        """
        if self.synchronizing or self._held:
            if len(self._held) >= MOST_HELD:
                return False
            self._held.append((payload, guarantee))
            return True
        return self._submit(payload, guarantee)

    @property
    def held(self) -> int:
        """
        How many messages wait here.
        """
        return len(self._held)

    def _submit(self, payload: bytes, guarantee: Guarantee) -> bool:
        number = self._number + 1
        header = _STORY_GROUP + _STORY.pack(self.life.number, number)
        if not self.totem.multicast(header + payload, guarantee):
            return False
        self._number = number
        self.witness.submitted(self.life, number, payload)
        return True

    def configurationChanged(self, configuration: Configuration) -> None:
        if not self.life.alive:
            return
        self.witness.configured(self.life, configuration)
        self.events.append(configuration)
        self.synchronizing = True
        self._missing.clear()
        if configuration.transitional:
            return
        self.configuration = configuration
        self._missing = set(configuration.members)
        self._owesBarrier = True
        self._sendBarrier()

    def _sendBarrier(self) -> None:
        assert self.configuration is not None, "no ring to be in step on"
        ringId = self.configuration.ringId
        barrier = _BARRIER.pack(ringId.sequence, ringId.representative)
        if self.totem.multicast(_BARRIER_GROUP + barrier):
            self._owesBarrier = False

    def messageDelivered(
        self,
        nodeid: int,
        message: bytes,
        byteOrder: str,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> None:
        if not self.life.alive:
            return
        if message.startswith(_STORY_GROUP):
            incarnation, number = _STORY.unpack_from(message, len(_STORY_GROUP))
            payload = message[len(_STORY_GROUP) + _STORY.size :]
            self.witness.delivered(self.life, nodeid, incarnation, number, payload)
            if self._missing:
                self.witness.overtook(self.life, nodeid)
            self.log.append(payload)
            self.events.append(Delivered(nodeid, payload))
        elif message.startswith(_BARRIER_GROUP):
            sequence, representative = _BARRIER.unpack_from(
                message, len(_BARRIER_GROUP)
            )
            self._barrierReached(nodeid, RingId(sequence, representative))

    def _barrierReached(self, nodeid: int, ringId: RingId) -> None:
        current = self.configuration
        if current is None or not self.synchronizing or ringId != current.ringId:
            return
        self._missing.discard(nodeid)
        if not self._missing:
            self.synchronizing = False
            self.totem.synchronized()
            self._flush()

    def tokenPassed(self) -> None:
        if not self.life.alive:
            return
        if self._owesBarrier:
            self._sendBarrier()
        if not self.synchronizing:
            self._flush()

    def start(self) -> None:
        """
        Begin.

        @raise CorotwistError: the ring cannot start.
        """
        self.totem.startService()

    def stop(self) -> Deferred[None]:
        """
        Leave in order.
        """
        return self.totem.stopService()

    def _flush(self) -> None:
        while self._held and self._submit(*self._held[0]):
            self._held.popleft()


@define
class Fuse:
    """
    Ends a process between two effects.

    @ivar left: so many effects are still performed.
    @ivar kind: only these count; L{None} for all.
    """

    left: int
    kind: type | None = None

    def burns(self, effect: Effect) -> bool:
        """
        An effect is about to be performed: is it the end?
        """
        if self.kind is not None and not isinstance(effect, self.kind):
            return False
        self.left -= 1
        return self.left < 0


@define(eq=False)
class Process:
    """
    A running process, and how it is scheduled.

    @ivar slowness: seconds that each piece of work takes it.
    @ivar fuse: ends it between two effects.
    @ivar chance: decides whether sockets or timers come first after a pause.
    """

    life: Life
    clock: Reactor
    port: Port
    storage: Storage
    application: Application | Services
    chance: Random
    slowness: float = 0.0
    fuse: Fuse | None = None
    _awayUntil: float = 0.0

    @property
    def service(self) -> TotemService:
        """
        The total order.
        """
        return self.application.totem

    def pause(self, seconds: float) -> None:
        """
        Do nothing for a while; datagrams wait in the socket, timers are late.
        """
        cluster = self.clock.clock
        until = cluster.seconds() + seconds
        self._awayUntil = max(self._awayUntil, until)
        self.clock.present = self.port.present = False
        cluster.place(until, self._back)

    def resume(self) -> None:
        """
        A pause ends now.
        """
        self._awayUntil = self.clock.clock.seconds()
        self._back()

    def worked(self) -> None:
        """
        A piece of work is done; it took a while on a slow machine.
        """
        if self.slowness and self.life.alive:
            self.pause(self.slowness)

    def _back(self) -> None:
        if not self.life.alive or self.clock.clock.seconds() < self._awayUntil:
            return
        self.clock.present = self.port.present = True
        first: Callable[[], bool] = self.port.readWaiting
        second: Callable[[], bool] = self.clock.callWaiting
        if self.chance.random() < 0.5:  # noqa: PLR2004  A fair coin.
            first, second = second, first
        while first() or second():
            pass

    def kill(self) -> None:
        """
        End at once, wherever it is.
        """
        self.life.alive = False
        self.port.killed = True
        self.port.close()
        self.storage.kill()
        self.clock.stop()

    def stopped(self) -> None:
        """
        It ended of its own accord.
        """
        self.life.alive = False
        self.port.close()
        self.storage.ended()
        self.clock.stop()
