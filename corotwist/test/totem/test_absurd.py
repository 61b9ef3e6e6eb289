"""
Tests with valid messages whose contents nobody honest would send: nothing
raises, and when they are over there is a ring again.
"""

import os
from collections.abc import Callable
from random import Random
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.factories import TIMING, Harness, formed
from corotwist.test.strategies import HARD_VALUES
from corotwist.totem.fragments import Packed
from corotwist.totem.membership import NO_RING, RingId
from corotwist.totem.ring import Ring
from corotwist.totem.sequence import MASK, distance
from corotwist.totem.states import In
from corotwist.totem.wire import (
    MOST_AHEAD,
    CommitEntry,
    CommitToken,
    HoldCancel,
    Join,
    MergeDetect,
    Message,
    Token,
    makeRegular,
)

# Rings that are disturbed; a nightly run asks for more.
RINGS: Final = int(os.environ.get("COROTWIST_ABSURD_RINGS", "40"))
DISTURBANCES: Final = 12
# Long enough for every timer, and for giving up on a frame nobody has.
SETTLING: Final = 40.0
STATES: Final = (In.OPERATIONAL, In.GATHER, In.COMMIT, In.RECOVERY)


class Liar:
    """
    Makes messages for one processor: partly fitting, partly absurd.
    """

    def __init__(self, ring: Ring, random: Random) -> None:
        self.ring = ring
        self.random = random

    def message(self) -> Message:
        """
        One of any type.
        """
        kinds: tuple[Callable[[], Message], ...] = (
            self.token,
            self.token,
            self.regular,
            self.join,
            self.commitToken,
            self.mergeDetect,
            self.holdCancel,
        )
        return self.random.choice(kinds)()

    def token(self) -> Token:
        ring, random = self.ring, self.random
        sequence = self._near(ring.forming.high)
        aru = self._near(ring.forming.aru)
        if distance(aru, sequence) > MOST_AHEAD:
            aru = sequence
        return Token(
            self._nodeid(),
            sequence,
            self._near(ring.lastTokenSequence + 1),
            aru,
            random.choice((0, 0, self._nodeid())),
            self._ringId(),
            self._number(),
            self._number(),
            random.choice((0, 1, 7, -1)),
            [(self._ringId(), self._near(sequence)) for _ in range(self._few(30))],
        )

    def regular(self) -> Message:
        ring, random = self.ring, self.random
        ringId = self._ringId()
        sequence = self._near(random.choice((ring.window, ring.forming)).high)
        breaks = random.choice((0, 0, 1, 255)), random.choice((0, 0, 1, 255))
        payload = Packed([b"a lie"] * random.choice((1, 2)), *breaks).encode()
        if random.random() < 0.5:
            inner = makeRegular(
                self._nodeid(),
                self._near(ring.window.high),
                1,
                ring.window.ringId,
                0,
                payload,
            )
            return makeRegular(
                self._nodeid(), sequence, 1, ringId, 0, inner.frame, encapsulated=True
            )
        return makeRegular(self._nodeid(), sequence, 1, ringId, 0, payload)

    def join(self) -> Join:
        origin = self._nodeid()
        return Join(
            self.random.choice((0, origin, origin)),
            origin,
            tuple(self._nodeid() for _ in range(self._few(384))),
            tuple(self._nodeid() for _ in range(self._few(384))),
            self._ringId().sequence,
        )

    def commitToken(self) -> CommitToken:
        ring, random = self.ring, self.random
        members = {self._nodeid() for _ in range(self._few(384) + 1)}
        if random.random() < 0.8:
            members = ring.processors - ring.failed or {ring.nodeid}
            if ring.proposed is not None:
                members = set(ring.proposed.members)
        entries = tuple(
            CommitEntry(
                random.choice((ring.window.ringId, NO_RING, self._ringId())),
                self._near(ring.window.aru),
                self._near(ring.window.delivered),
                random.choice((0, 1, 7)),
            )
            for _ in members
        )
        return CommitToken(
            self._nodeid(),
            self._number(),
            self._ringId(),
            tuple(sorted(members)),
            entries,
            random.choice((len(members), random.randrange(len(members) + 1))),
        )

    def mergeDetect(self) -> MergeDetect:
        origin = self._nodeid()
        return MergeDetect(origin, origin, self._ringId())

    def holdCancel(self) -> HoldCancel:
        return HoldCancel(self._nodeid(), self._ringId())

    def _few(self, most: int) -> int:
        return self.random.choice((0, 1, 2, 3, 3, most))

    def _nodeid(self) -> int:
        return self.random.choice((1, 2, 3, 1, 2, 3, 0, 7, self._number()))

    def _number(self) -> int:
        return self.random.choice((0, 0, *HARD_VALUES)) & MASK

    def _near(self, number: int) -> int:
        random = self.random
        offset = random.choice((0, 0, 1, 5, -1, 100, 16384, -16384, self._number()))
        return (number + offset) & MASK

    def _ringId(self) -> RingId:
        ring, random = self.ring, self.random
        wide = random.choice(HARD_VALUES)
        later = RingId(ring.ringId.sequence + random.choice((1, 4, 1000)), 1)
        return random.choice(
            (ring.ringId, ring.ringId, ring.window.ringId, later, RingId(wide, 1))
        )


def reached(state: In, random: Random) -> Harness:
    """
    A ring of three, of which the second is in C{state} just now.
    """
    harness = formed(3)
    for i in range(random.randrange(30)):
        harness.multicast(random.choice((1, 2, 3)), b"%d" % i * 100)
    if state is not In.OPERATIONAL:
        harness.silent.add(3)
        harness.run(TIMING.token * 0.9)
    while harness.rings[2].state is not state:
        harness.run(0.0001)
        harness.silent.discard(3 if harness.now > 6 else 0)
    return harness


def disturbed(state: In, seed: int) -> Harness:
    """
    A ring that was lied to while the second was in C{state}, and went on.
    """
    random = Random(seed)
    harness = reached(state, random)
    for _ in range(DISTURBANCES):
        nodeid = random.choice((2, 2, 2, 1))
        ring = harness.rings[nodeid]
        frame = Liar(ring, random).message().encode()
        harness.perform(nodeid, ring.framesReceived([frame], harness.now))
        harness.run(random.choice((0.0, 0.0002, 0.002, 0.1)))
    if 3 in harness.silent:
        harness.silent.discard(3)
    harness.run(SETTLING)
    return harness


class AbsurdTests(SynchronousTestCase):
    """
    A ring, and what it makes of lies.
    """

    def test_everyState(self) -> None:
        """
        Whatever a processor is told, in whatever state, all are on one ring
        again in the end, and what they say is heard by all.
        """
        for seed in range(RINGS):
            state = STATES[seed % len(STATES)]
            harness = disturbed(state, seed)
            for nodeid, ring in harness.rings.items():
                at = f"seed {seed}, {state}, node {nodeid}"
                self.assertEqual(ring.state, In.OPERATIONAL, at)
                self.assertEqual(ring.members, (1, 2, 3), at)
            for nodeid in (1, 2, 3):
                harness.multicast(nodeid, b"heard by all, from %d" % nodeid)
            harness.run(2.0)
            for nodeid, delivered in harness.delivered.items():
                for sender in (1, 2, 3):
                    self.assertIn(
                        b"heard by all, from %d" % sender,
                        delivered[-9:],
                        f"seed {seed}, {state}, node {nodeid}",
                    )
