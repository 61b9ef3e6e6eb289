"""
The shell round one processor: datagrams in, effects out, one timer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.settings import TotemSettings
from corotwist.errors import ConfigurationError, NodeidTaken, Problem, WireError
from corotwist.interfaces import (
    IDatagramReceiver,
    IRingStorage,
    ITotemListener,
    ITransport,
)
from corotwist.logs.tracing import MEMBERSHIP, trace
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Dropped,
    Effect,
    Multicast,
    Stable,
    StateChanged,
    StoreRingId,
    TokenPassed,
    Unicast,
    Warned,
)
from corotwist.totem.fragments import Assembly
from corotwist.totem.frame import OVERHEAD, Opener, Sealer, checkSender
from corotwist.totem.membership import Configuration, Guarantee
from corotwist.totem.origin import Origins
from corotwist.totem.ring import Ring
from corotwist.totem.stability import Stability, WhenStable

# Of an IP packet without options, UDP's own 8 included.
IPV4_HEADER_BYTES: Final = 28
IPV6_HEADER_BYTES: Final = 48
# Of a data frame, and once more of the frame that carries it to a new ring.
DATA_HEADER_BYTES: Final = 45
# What UDP over IPv4 carries at most, however it is fragmented.
LARGEST_DATAGRAM: Final = 65507
# A payload below this would be mostly headers.
SMALLEST_FRAME_BYTES: Final = 128
# Drops of one kind are worth a line so often, in seconds.
DROP_LOG_INTERVAL: Final = 10.0

_CONFIGURATIONS: Final = trace("TOTEM", MEMBERSHIP)
# Effects that the listener hears of.
_LISTENED: Final = (Deliver, Stable, ConfigurationChanged, TokenPassed)


def frameBytes(settings: TotemSettings) -> int:
    """
    How large a packed payload may be, so that even a frame that is carried to
    a new ring inside another fits one unfragmented IP packet.

    @raise ConfigurationError: nothing of use would fit.
    """
    ip = IPV4_HEADER_BYTES if settings.bindAddress.version == 4 else IPV6_HEADER_BYTES  # noqa: PLR2004
    datagram = min(settings.netmtu - ip, LARGEST_DATAGRAM)
    sealed = OVERHEAD if settings.key is not None else 0
    payload = datagram - 2 * DATA_HEADER_BYTES - sealed
    if payload < SMALLEST_FRAME_BYTES:
        least = settings.netmtu + SMALLEST_FRAME_BYTES - payload
        text = f"{settings.netmtu} leaves no room for messages; at least {least}"
        raise ConfigurationError(Problem("totem", 0, "totem.netmtu", text))
    return payload


@define
class _Drops:
    """
    Drops of one kind.

    @ivar silentUntil: no further line before this time.
    @ivar unlogged: how many since the last line.
    """

    count: int = 0
    silentUntil: float = 0.0
    unlogged: int = 0


@implementer(IDatagramReceiver)
class TotemProtocol(DatagramProtocol):
    """
    Performs what the ring asks for, in order, and decides nothing.

    What an effect causes (a listener that multicasts, say) is queued behind
    the effects that are there already; nothing is performed inside anything
    else.

    @ivar network: where frames go; C{transport} is Twisted's own name for what
        connects a protocol, and not needed here.
    @ivar onBroken: called with a L{Failure} when the ring raised, which it
        never should: the node has stopped, without a word to the others, as
        if it had crashed.
    @ivar observer: called with each effect just before it is performed, for
        those who trace.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        ring: Ring,
        network: ITransport,
        storage: IRingStorage,
        listener: ITotemListener,
        *,
        sealer: Sealer | None = None,
        opener: Opener | None = None,
        origins: Origins | None = None,
        heard: dict[str, float] | None = None,
    ) -> None:
        self.ring = ring
        self.network = network
        self.onBroken: Callable[[Failure], None] = self._logBroken
        self.observer: Callable[[Effect], None] | None = None
        self._clock = clock
        self._storage = storage
        self._listener = listener
        self._sealer = sealer
        self._opener = opener
        self._origins = origins
        self._heard = heard or {}
        self._assembly = Assembly()
        self._stability = Stability()
        self._running = False
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._postponed: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._timerAt = 0.0
        self._loopback: list[bytes] = []
        self._loopbackCall: IDelayedCall | None = None
        self._drops: dict[str, _Drops] = {}

    # Beginning and end.

    def start(self, storedSequence: int | None) -> None:
        """
        Listen, and look for others.

        @raise OSError: when an address cannot be bound.
        """
        self.network.start(self)
        self._running = True
        self._tell(self.ring.start, storedSequence)

    def reform(self) -> None:
        """
        Form the ring anew.
        """
        if self._running:
            self._tell(self.ring.reform)

    def leave(self) -> Deferred[None]:
        """
        Tell the others that we go; fires when nothing of us is left.
        """
        if not self._running:
            return succeed(None)
        self._tell(self.ring.leave)
        if self._performing:
            # The leave is queued behind what we were called from.
            return deferLater(self._clock, 0).addCallback(lambda _: self._close())
        return self._close()

    def silence(self) -> None:
        """
        End without a farewell, as a process that is killed does.
        """
        self._close()

    def _close(self) -> Deferred[None]:
        self._running = False
        self._effects.clear()
        for call in (self._postponed, self._timer, self._loopbackCall):
            if call is not None and call.active():
                call.cancel()
        self._postponed = self._timer = self._loopbackCall = None
        return self.network.stop()

    # From the network.

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.datagramsReceived((datagram,), addr)

    def datagramsReceived(self, datagrams: Sequence[bytes], address: object) -> None:
        opener, origins = self._opener, self._origins
        now = self._clock.seconds()
        host = address[0] if isinstance(address, tuple) else ""
        frames = datagrams
        if opener is not None:
            frames = self._opened(opener, datagrams, host, now)
        elif origins is not None:
            frames = origins.admitted(datagrams, host, now, self._dropped)
        if frames and host in self._heard:
            self._heard[host] = now
        self._tell(self.ring.framesReceived, frames)

    def _opened(
        self, opener: Opener, datagrams: Iterable[bytes], host: str, now: float
    ) -> list[bytes]:
        check = None
        if self._origins is not None:
            check = self._origins.sealCheck(host, now)
        frames = []
        for datagram in datagrams:
            try:
                nodeid, frame = opener.open(datagram, now, check)
                checkSender(nodeid, frame)
            except WireError as error:
                self._dropped(error)
            else:
                frames.append(frame)
        return frames

    # From the services.

    def submit(self, message: bytes, guarantee: Guarantee) -> bool:
        """
        Queue a message; the listener is not called before we return.
        """
        submit = self.ring.submit
        if self._effects and self._listenerBehind():
            submit = partial(submit, later=True)
        effects = self._ask(submit, message, guarantee)
        if effects is None:
            return False
        if effects:
            self._performQuietly(effects)
        return True

    def whenStable(self, callback: WhenStable) -> None:
        """
        See L{ITotem.whenStable<corotwist.interfaces.ITotem>}; the listener is
        not called before we return.
        """
        self._stability.ask(callback, self.ring.window.delivered)
        if not self.ring.stabilityWanted or self.ring.idle:
            self._performQuietly(self._ask(self.ring.wantStability) or ())

    def synchronized(self) -> None:
        """
        The services are in step; the listener is not called before we return.
        """
        self._assembly.useTransitional(use=False)
        if not self._listenerBehind():
            self._performQuietly(self._ask(self.ring.synchronized) or ())

    def _listenerBehind(self) -> bool:
        """
        Is the ring on a new configuration that the listener has yet to hear
        of?  While the last messages of the old ring are handed up, what the
        listener says is about the old ring.
        """
        return any(
            isinstance(effect, ConfigurationChanged)
            and not effect.configuration.transitional
            for effect in self._effects
        )

    # What the ring asks for.

    def _ask(
        self, ringInput: Callable[..., list[Effect] | None], *arguments: object
    ) -> list[Effect] | None:
        """
        One input, now.
        """
        if not self._running:
            return None
        try:
            return ringInput(*arguments, self._clock.seconds())
        except Exception:  # noqa: BLE001 - Nothing we know; see onBroken.
            self._broken(Failure())
            return None

    def _tell(self, ringInput: Callable[..., list[Effect]], *arguments: object) -> None:
        """
        One input, and all that follows from it.
        """
        effects = self._ask(ringInput, *arguments)
        if effects is not None:
            self._effects.extend(effects)
            if not self._performing:
                self._performAll(quiet=False)

    def _performQuietly(self, effects: Iterable[Effect]) -> None:
        """
        Send what is to be sent, and leave the listener's part for later.
        """
        self._effects.extend(effects)
        if self._performing or self._postponed is not None:
            return
        self._performAll(quiet=True)
        if self._effects:
            self._postponed = self._clock.callLater(0, self._performPostponed)

    def _performAll(self, quiet: bool) -> None:
        effects = self._effects
        self._performing = True
        try:
            while effects and not (quiet and isinstance(effects[0], _LISTENED)):
                effect = effects.popleft()
                if self.observer is not None:
                    self.observer(effect)
                self._perform(effect)
        except Exception:  # noqa: BLE001 - Nothing we know; see onBroken.
            self._broken(Failure())
        finally:
            self._performing = False
        self._rearm()

    def _performPostponed(self) -> None:
        self._postponed = None
        self._tell(_nothing)

    def _perform(self, effect: Effect) -> None:
        match effect:
            # The most frequent first.
            case Deliver():
                self._deliver(effect)
            case Unicast():
                self._unicast(effect.nodeid, effect.frame)
            case TokenPassed():
                self._callListener(self._listener.tokenPassed)
            case Multicast():
                if not effect.quiet:
                    self._multicast(effect.frames)
            case Stable():
                self._stable(effect)
            case ConfigurationChanged():
                self._configurationChanged(effect.configuration)
            case StoreRingId():
                self._store(effect.sequence)
            case StateChanged():
                self._log.info(
                    "Ring state {before} becomes {after}: {cause}",
                    before=effect.before,
                    after=effect.after,
                    cause=effect.cause,
                )
            case Dropped():
                self._dropped(effect.error)
            case Warned():
                self._log.warn("{text}", text=effect.text)

    def _multicast(self, frames: Sequence[bytes]) -> None:
        sealer = self._sealer
        if sealer is not None:
            frames = [sealer.seal(frame) for frame in frames]
        self.network.multicast(frames)

    def _unicast(self, nodeid: int, frame: bytes) -> None:
        if nodeid == self.ring.nodeid:
            self._loopback.append(frame)
            if self._loopbackCall is None:
                self._loopbackCall = self._clock.callLater(0, self._loopBack)
        elif self._sealer is not None:
            self.network.unicast(nodeid, self._sealer.sealFor(nodeid, frame))
        else:
            self.network.unicast(nodeid, frame)

    def _loopBack(self) -> None:
        self._loopbackCall = None
        frames, self._loopback = self._loopback, []
        self._tell(self.ring.framesReceived, frames)

    def _deliver(self, effect: Deliver) -> None:
        try:
            messages = self._assembly.frameDelivered(
                effect.nodeid, effect.payload, effect.byteOrder
            )
        except WireError as error:
            self._dropped(error)
            return
        delivered = self._listener.messageDelivered
        nodeid, order = effect.nodeid, effect.byteOrder
        guarantee = Guarantee.SAFE if effect.safe else Guarantee.AGREED
        for message in messages:
            self._callListener(delivered, nodeid, message, order, guarantee)

    def _stable(self, effect: Stable) -> None:
        ready = self._stability.stable(effect.ringId, effect.sequence)
        self.ring.stabilityWanted = bool(self._stability)
        for callback, members in ready:
            self._callListener(callback, members)

    def _configurationChanged(self, configuration: Configuration) -> None:
        self._stability.configured(configuration)
        if configuration.transitional:
            self._assembly.departed(configuration.left)
        else:
            # The last frame of the old ring was delivered.
            self._assembly.useTransitional(use=True)
        self._logConfiguration(configuration)
        self._callListener(self._listener.configurationChanged, configuration)

    def _logConfiguration(self, configuration: Configuration) -> None:
        if _CONFIGURATIONS.on:
            _CONFIGURATIONS(
                "{kind} {ringId}: {members}, {left} left, {joined} joined",
                kind="transitional" if configuration.transitional else "regular",
                ringId=str(configuration.ringId),
                members=configuration.members,
                left=configuration.left,
                joined=configuration.joined,
            )
        if not configuration.transitional:
            self._log.info(
                "Ring {ringId} of nodes {members}, of whom {joined} joined; {cause}",
                ringId=configuration.ringId,
                members=configuration.members,
                joined=configuration.joined or "none",
                cause=configuration.cause,
            )
        elif configuration.left:
            self._log.info(
                "Nodes {left} are gone; {cause}",
                left=configuration.left,
                cause=configuration.cause,
            )

    def _callListener(self, method: Callable[..., None], *arguments: object) -> None:
        """
        An engine that fails does not stop the ring.
        """
        try:
            method(*arguments)
        except Exception:  # noqa: BLE001 - Whatever it is.
            self._log.failure("A listener of the total order failed")

    def _store(self, sequence: int) -> None:
        """
        The ring is told of each, in order.
        """
        self._storage.store(sequence).addCallbacks(self._stored, self._refused)

    def _stored(self, result: object) -> None:
        self._tell(self.ring.ringIdStored)

    def _refused(self, failure: Failure) -> None:
        reason = failure.getErrorMessage()
        self._log.error("The ring id is not stored: {reason}", reason=reason)
        self._tell(self.ring.ringIdRefused, reason)

    # What went wrong.

    def _dropped(self, error: WireError) -> None:
        kind = type(error).__name__
        drops = self._drops.setdefault(kind, _Drops())
        drops.count += 1
        now = self._clock.seconds()
        if now < drops.silentUntil:
            drops.unlogged += 1
            return
        # That of a twin is for people, and at once: only they can end it.
        log = self._log.error if isinstance(error, NodeidTaken) else self._log.warn
        log(
            "Dropped a datagram, {kind}: {reason}; {more} more like it unlogged",
            kind=kind,
            reason=str(error),
            more=drops.unlogged,
        )
        drops.silentUntil = now + DROP_LOG_INTERVAL
        drops.unlogged = 0

    def _broken(self, failure: Failure) -> None:
        self._close()
        self.onBroken(failure)

    def _logBroken(self, failure: Failure) -> None:
        self._log.failure("The ring broke; this node is deaf now", failure=failure)

    def dropped(self) -> dict[str, int]:
        """
        How many datagrams were dropped, by the name of the error.
        """
        return {kind: drops.count for kind, drops in self._drops.items()}

    # Time.

    def _rearm(self) -> None:
        """
        See that the timer fires no later than the ring needs.  One that fires
        earlier costs less than moving it with every token.
        """
        deadline = self.ring.deadline
        if deadline is None or not self._running:
            return
        timer = self._timer
        if timer is not None:
            if self._timerAt <= deadline:
                return
            timer.cancel()
        delay = max(0.0, deadline - self._clock.seconds())
        self._timerAt = deadline
        self._timer = self._clock.callLater(delay, self._timerFired)

    def _timerFired(self) -> None:
        """
        What waits in the sockets came before this moment: it may be the very
        token whose loss we are about to declare.
        """
        self._timer = None
        if self._isDue():
            self.network.drain()
        if self._isDue():
            self._tell(self.ring.advance)
        if self._timer is None:
            self._rearm()

    def _isDue(self) -> bool:
        deadline = self.ring.deadline
        return deadline is not None and deadline <= self._clock.seconds()


def _nothing(now: float) -> list[Effect]:
    """
    No input: only what is queued already.
    """
    return []
