"""
Rings in each state, and whatever datagrams they get.
"""

import pickle
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from struct import pack
from typing import Final

from attrs import define, field

from corotwist.errors import WireError
from corotwist.test.factories import TIMING, Harness, formed, makeRing
from corotwist.test.fuzz import examples, parts
from corotwist.test.fuzz.target import Run, Target, Wrong
from corotwist.test.totem.test_absurd import Liar, reached
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Effect,
    StoreRingId,
    Unicast,
)
from corotwist.totem.fragments import Assembly
from corotwist.totem.ring import Ring
from corotwist.totem.sequence import MASK
from corotwist.totem.states import In
from corotwist.totem.window import WINDOW
from corotwist.totem.wire import MOST_MEMBERS, Join

# Of one input, datagrams to a ring.
MOST_FRAMES: Final = 1024
# Of what others sent: so many before the moment, three times as many after it.
RUN: Final = 12
# Runs of messages that fit the moment, but for one thing or another.
LIES: Final = 4
LYING_RUNS: Final = 20
# What one datagram, or the passing of a deadline, may cause.
MOST_EFFECTS: Final = 1000
# Tokens to ourselves, after which a ring of one has to rest.
MOST_ROUNDS: Final = 200
# With bits of the tag: what happens before a datagram comes.
TAG_TIME, TAG_DEADLINE, TAG_DISK, TAG_LONG = 0x03, 0x04, 0x08, 0x10
# The longest time that any state waits, and the deadlines on the way.
LONG_SECONDS: Final = TIMING.consensus + TIMING.token
LONG_DEADLINES: Final = 60
_STEPS: Final = (0.0, 0.0002, 0.02, 0.4)


def targets() -> Iterator[Target]:
    """
    One for each state, and one for a processor that proposes rings.
    """
    worlds = {state.value: RingWorld(state) for state in In}
    worlds["first"] = RingWorld(In.GATHER, nodeid=1)
    for name, world in worlds.items():
        yield Target(
            f"ring.{name}",
            f"datagrams to a ring, {world.about}",
            world.begin,
            world.seeds,
            session=True,
            share=0.002,
            # Sets of as many processors as a ring can have, and commit tokens
            # with an entry for each: as they came, signed, and of two rounds.
            roomBytes=2 << 20,
            # A ring keeps what it gets, in objects with many numbers.
            growing=world.growing,
        )


@define(eq=False)
class Processor:
    """
    One ring, and a shell that does what it asks for.
    """

    ring: Ring
    now: float
    assembly: Assembly = field(factory=Assembly)
    refuses: bool = False

    def received(self, data: bytes) -> None:
        """
        A session: datagrams, each with what happens before it.
        """
        for tag, frame in parts.split(data)[:MOST_FRAMES]:
            self.now += _STEPS[tag & TAG_TIME]
            self.refuses = bool(tag & TAG_DISK)
            if tag & TAG_LONG:
                self._timePassed()
            elif tag & TAG_DEADLINE:
                self._deadlinePassed()
            self._perform(self.ring.framesReceived([frame], self.now))
        self.refuses = False
        self._check()
        self._timePassed()
        self._check()

    def _timePassed(self) -> None:
        """
        Every wait in every state is over.
        """
        end = self.now + LONG_SECONDS
        for _ in range(LONG_DEADLINES):
            if self.now < end:
                self._deadlinePassed()

    def _deadlinePassed(self) -> None:
        deadline = self.ring.deadline
        if deadline is not None:
            self.now = max(self.now, deadline)
            self._perform(self.ring.advance(self.now))

    def _perform(self, effects: list[Effect]) -> None:
        """
        Everything that one input causes at this processor.
        """
        caused = deque(effects)
        rounds = MOST_ROUNDS
        while caused and rounds:
            if len(caused) > MOST_EFFECTS:
                raise Wrong(f"{len(caused)} effects of one input")
            effect = caused.popleft()
            match effect:
                case StoreRingId():
                    caused += self._stored()
                case ConfigurationChanged(configuration):
                    if configuration.transitional:
                        self.assembly.departed(configuration.left)
                    else:
                        caused += self.ring.synchronized(self.now)
                case Deliver(sender, payload, byteOrder=order):
                    self._delivered(sender, payload, order)
                case Unicast(nodeid, frame) if nodeid == self.ring.nodeid:
                    rounds -= 1
                    caused += self.ring.framesReceived([frame], self.now)

    def _stored(self) -> list[Effect]:
        if self.refuses:
            return self.ring.ringIdRefused("no room", self.now)
        return self.ring.ringIdStored(self.now)

    def _delivered(self, sender: int, payload: bytes, order: str) -> None:
        try:
            self.assembly.frameDelivered(sender, payload, order)
        except WireError:
            return

    def _check(self) -> None:
        """
        It goes on, and keeps no more than it should.
        """
        ring = self.ring
        if ring.state not in (In.IDLE, In.STOPPED) and ring.deadline is None:
            raise Wrong(f"nothing will happen any more, {ring.state.value}")
        if len(ring.processors) > MOST_MEMBERS:
            raise Wrong(f"a set of {len(ring.processors)} processors")
        for window in (ring.window, ring.forming):
            for sequence in window._frames:
                if not 0 < (sequence - window.released) & MASK <= WINDOW:
                    raise Wrong(f"{sequence} is held, {window.released} released")
        others = (ring.failed, ring.consensus, ring.departures)
        most = max(map(len, others))
        if most > 2 * MOST_MEMBERS:
            raise Wrong(f"something about {most} processors")


class RingWorld:
    """
    One of three nodes, at the moment when the second comes to a state.
    """

    def __init__(self, state: In, nodeid: int = 2) -> None:
        self.about = f"node {nodeid} of three, {state.value}"
        self._nodeid = nodeid
        self._state = state
        self._frozen = b""
        self._now = 0.0
        self._sent: list[bytes] = []
        self._lies: list[bytes] = []

    def begin(self) -> Run:
        """
        A processor of its own for each input.
        """
        self._prepare()
        ring = pickle.loads(self._frozen)  # noqa: S301 - We wrote it.
        return Processor(ring, self._now).received

    def seeds(self) -> list[bytes]:
        """
        What was sent on the way there and afterwards, and one of each kind.
        """
        self._prepare()
        runs = [self._sent[at:] for at in range(0, len(self._sent), RUN)]
        runs += [[example.data] for example in examples.ringMessages()]
        runs.append([_crowd(1), _crowd(1000)])
        runs += [self._lies[at : at + LIES] for at in range(0, len(self._lies), LIES)]
        return [parts.join([(1, frame) for frame in run]) for run in runs]

    def growing(self, size: int) -> list[bytes]:
        """
        Many frames, each with a place of its own in the window, or none.
        """
        frame = next(e.data for e in examples.ringMessages() if e.name == "Regular <")
        count = min(size // (len(frame) + 3), MOST_FRAMES)
        return [
            parts.join(
                [
                    (0, frame[:17] + pack("<I", n * step) + frame[21:])
                    for n in range(count)
                ]
            )
            for step in (1, 500)
        ]

    def _prepare(self) -> None:
        if self._frozen:
            return
        harness = self._reached()
        ring = harness.rings[self._nodeid]
        self._now = harness.now
        self._frozen = pickle.dumps(ring)
        liar = Liar(ring, Random(1))
        self._lies = [liar.message().encode() for _ in range(LIES * LYING_RUNS)]
        moment = len(harness.sent)
        if self._state is not In.STOPPED:
            harness.run(TIMING.token)
        around = harness.sent[max(0, moment - RUN) : moment + 3 * RUN]
        self._sent = [frame for sender, frame in around if sender != self._nodeid]

    def _reached(self) -> Harness:
        ways: dict[In, Callable[[], Harness]] = {
            In.IDLE: _idle,
            In.MUTE: _mute,
            In.STOPPED: _stopped,
        }
        way = ways.get(self._state)
        return reached(self._state, Random(1)) if way is None else way()


def _crowd(start: int) -> bytes:
    """
    Node 1 has heard of as many as a ring can have.
    """
    return Join(1, 1, tuple(range(start, start + MOST_MEMBERS)), (), 4).encode()


def _idle() -> Harness:
    harness = formed(1)
    harness.rings[2] = makeRing(2)
    return harness


def _mute() -> Harness:
    """
    The disk refused the name of a ring.
    """
    harness = reached(In.COMMIT, Random(1))
    ring = harness.rings[2]
    while ring.state is not In.MUTE:
        ring.storesPending = max(1, ring.storesPending)
        ring.ringIdRefused("no room", harness.now)
    return harness


def _stopped() -> Harness:
    harness = formed(3)
    harness.perform(2, harness.rings[2].leave(harness.now))
    return harness
