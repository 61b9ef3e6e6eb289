"""
What the protocol's core costs, per frame: C{corotwist bench --core}.
"""

from collections.abc import Callable, Iterator
from random import Random
from time import perf_counter
from typing import Final

from attrs import evolve, frozen

from corotwist.config.settings import Timing
from corotwist.totem.effects import Effect, Multicast, StoreRingId, Unicast
from corotwist.totem.fragments import Assembly, Outbox
from corotwist.totem.frame import SALT_BYTES, Opener, Sealer
from corotwist.totem.membership import Guarantee
from corotwist.totem.ring import Ring
from corotwist.totem.sequence import MASK
from corotwist.totem.wire import Join, Token, decode, makeRegular

# The packed payload of a full frame on a path of 1500 bytes, IPv4, in clear.
FRAME_BYTES: Final = 1382
ROUNDS: Final = 5
FRAMES: Final = 4600
BURST: Final = 46
_STEP: Final = 1e-4
_FORMATION_STEPS: Final = 2000


@frozen
class Cost:
    """
    One line of the table.

    @ivar microseconds: the best of several rounds, per frame or batch.
    """

    what: str
    microseconds: float


class _Pair:
    """
    Two processors on a perfect network.
    """

    def __init__(self) -> None:
        timing = evolve(Timing(), merge=1e6)
        self.rings = {n: _ring(n, timing) for n in (1, 2)}
        self.now = 0.0
        self._waiting: list[tuple[int, bytes]] = []
        for nodeid, ring in self.rings.items():
            self._perform(nodeid, ring.start(0, self.now))
        for _ in range(_FORMATION_STEPS):
            self._step()
            if all(len(ring.members) > 1 for ring in self.rings.values()):
                break

    def _step(self) -> None:
        self.now += _STEP
        waiting, self._waiting = self._waiting, []
        for nodeid, frame in waiting:
            ring = self.rings[nodeid]
            self._perform(nodeid, ring.framesReceived([frame], self.now))
        for nodeid, ring in self.rings.items():
            self._perform(nodeid, ring.advance(self.now))

    def _perform(self, nodeid: int, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Multicast(frames):
                    self._waiting += [(3 - nodeid, frame) for frame in frames]
                case Unicast(to, frame):
                    self._waiting.append((to, frame))
                case StoreRingId():
                    stored = self.rings[nodeid].ringIdStored(self.now)
                    self._perform(nodeid, stored)
        for ring in self.rings.values():
            if ring.configuration is not None:
                ring.synchronized(self.now)


def _ring(nodeid: int, timing: Timing) -> Ring:
    return Ring(nodeid, timing, FRAME_BYTES, Random(nodeid))  # noqa: S311 - not secret.


def measure() -> Iterator[Cost]:
    """
    The table, line by line.
    """
    for what, prepare in _CASES.items():
        yield Cost(what, min(prepare() for _ in range(ROUNDS)))


def _timed(act: Callable[[], object], frames: int) -> float:
    started = perf_counter()
    act()
    return (perf_counter() - started) / frames * 1e6


def _frames(ring: Ring) -> list[bytes]:
    first = ring.window.high + 1
    payload = b"x" * FRAME_BYTES
    return [
        makeRegular(1, (first + i) & MASK, i, ring.ringId, 0, payload).frame
        for i in range(FRAMES)
    ]


def _receiving() -> float:
    pair = _Pair()
    ring = pair.rings[2]
    frames = _frames(ring)

    def act() -> None:
        for i in range(0, FRAMES, BURST):
            ring.framesReceived(frames[i : i + BURST], pair.now)

    return _timed(act, FRAMES)


def _decoding() -> float:
    ring = _Pair().rings[2]
    frames = _frames(ring)
    return _timed(lambda: [decode(frame, ring.ringId) for frame in frames], FRAMES)


def _visit(ring: Ring, now: float) -> list[Effect]:
    high = ring.window.high
    following = (ring.lastTokenSequence + 1) & MASK
    token = Token(2, high, following, high, 0, ring.ringId)
    return ring.framesReceived([token.encode()], now)


def _idleToken() -> float:
    pair = _Pair()
    ring, visits = pair.rings[2], 2000
    return _timed(lambda: [_visit(ring, pair.now) for _ in range(visits)], visits)


def _sending() -> float:
    pair = _Pair()
    ring = pair.rings[1]
    message = b"x" * (FRAME_BYTES * ring.timing.maxMessages)
    sent, spent = 0, 0.0
    while sent < FRAMES:
        ring.submit(message, Guarantee.AGREED, pair.now)
        started = perf_counter()
        effects = _visit(ring, pair.now)
        spent += perf_counter() - started
        sent += sum(len(e.frames) for e in effects if isinstance(e, Multicast))
    return spent / sent * 1e6


def _joining() -> float:
    pair = _Pair()
    ring = pair.rings[1]
    ring.framesReceived([Join(9, 9, (1, 2, 9), (2,), 900).encode()], pair.now)
    join = Join(9, 9, (1, 2, 9), (2,), 900).encode()
    count = 2000
    return _timed(
        lambda: [ring.framesReceived([join], pair.now) for _ in range(count)], count
    )


def _reassembling() -> float:
    outbox, assembly = Outbox(FRAME_BYTES, 1 << 30), Assembly()
    while outbox.frames() < FRAMES:
        outbox.add(b"x" * 65536, Guarantee.AGREED)
    payloads = [outbox.take()[0] for _ in range(FRAMES)]
    return _timed(
        lambda: [assembly.frameDelivered(1, p, "<") for p in payloads], FRAMES
    )


def _packing(size: int) -> float:
    outbox = Outbox(FRAME_BYTES, 1 << 30)
    message = b"x" * size
    count = FRAMES * FRAME_BYTES // (size + 2)

    def act() -> None:
        for _ in range(count):
            outbox.add(message, Guarantee.AGREED)
        while outbox.frames():
            outbox.take()

    return _timed(act, FRAMES)


def _sealing(size: int, opened: bool) -> float:
    key, salt = b"k" * 32, b"s" * SALT_BYTES
    sealer, opener = Sealer(key, 1, 1, salt), Opener((key,), 2, [1])
    message = b"x" * size
    count = 2000
    if not opened:
        return _timed(lambda: [sealer.seal(message) for _ in range(count)], count)
    sealed = [sealer.seal(message) for _ in range(count)]
    return _timed(lambda: [opener.open(datagram, 0.0) for datagram in sealed], count)


_CASES: Final[dict[str, Callable[[], float]]] = {
    "decode a full data frame": _decoding,
    "receive, order and deliver a full data frame (bursts of 46)": _receiving,
    "pack, order and deliver a full data frame of our own": _sending,
    "pack 64-byte messages into a full frame": lambda: _packing(64),
    "pack a 64 KiB message, per frame": lambda: _packing(65536),
    "reassemble a 64 KiB message, per frame": _reassembling,
    "visit of a token without work": _idleToken,
    "a join that tells nothing new": _joining,
    "seal 64 bytes": lambda: _sealing(64, opened=False),
    "seal 1400 bytes": lambda: _sealing(1400, opened=False),
    "open 64 bytes": lambda: _sealing(64, opened=True),
    "open 1400 bytes": lambda: _sealing(1400, opened=True),
}
