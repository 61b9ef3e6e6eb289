"""
The judge of safe delivery: who delivers a safe frame knows that all of its
configuration will.  [EVS]
"""

from collections import deque
from typing import Final

from attrs import define, field

from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import Configuration, RingId

# Rings that are remembered after all have left them.
RINGS_REMEMBERED: Final = 256
NOTHING: Final = -1


@define(eq=False)
class SafeRing:
    """
    One regular configuration, and how far its processes went in it.

    @ivar order: places of frames, by their sequence.
    @ivar safe: which of them are safe.
    @ivar regular: the highest safe place that anybody delivered in the regular
        configuration, and who.
    @ivar over: for each process that left, what it had delivered last.
    @ivar born: how many rings there had been before.
    """

    ringId: RingId
    members: frozenset[int]
    born: int
    order: dict[int, int] = field(factory=dict)
    safe: list[bool] = field(factory=list)
    installers: dict[int, Life] = field(factory=dict)
    regular: int = NOTHING
    regularBy: Life | None = None
    over: dict[Life, int] = field(factory=dict)


@define(eq=False)
class SafeTransition:
    """
    One transitional configuration: the highest safe place delivered in it.
    """

    members: frozenset[int]
    highest: int = NOTHING
    by: Life | None = None
    over: dict[Life, int] = field(factory=dict)


@define(eq=False)
class Reach:
    """
    How far one process is.
    """

    ring: SafeRing
    last: int = NOTHING
    transition: SafeTransition | None = None


@define(eq=False)
class SafeJudge(Judge):
    """
    P7.1 to P7.3.  Constant effort for a frame.
    """

    _rings: dict[RingId, SafeRing] = field(factory=dict)
    _transitions: dict[tuple[RingId, RingId], SafeTransition] = field(factory=dict)
    _reaches: dict[Life, Reach] = field(factory=dict)
    _births: dict[Life, int] = field(factory=dict)
    _recent: deque[RingId] = field(factory=deque)

    def booted(self, life: Life) -> None:
        """
        A process started.
        """
        self._births[life] = len(self._recent)

    def ended(self, life: Life) -> None:
        """
        It failed, or left: it owes nothing.
        """
        self._reaches.pop(life, None)
        self._births.pop(life, None)

    def sent(self, ringId: RingId, sequence: int, *, safe: bool) -> None:
        """
        A frame got its place.
        """
        ring = self._rings.get(ringId)
        if ring is not None:
            ring.order[sequence] = len(ring.safe)
            ring.safe.append(safe)

    def delivered(self, life: Life, ringId: RingId, sequence: int) -> None:
        """
        A frame was handed up.
        """
        reach = self._reaches.get(life)
        if reach is None or reach.ring.ringId != ringId:
            return
        ring = reach.ring
        place = ring.order.get(sequence, NOTHING)
        reach.last = max(reach.last, place)
        if place == NOTHING or not ring.safe[place]:
            return
        if reach.transition is None:
            if place > ring.regular:
                ring.regular, ring.regularBy = place, life
            self._inRegular(life, ring, place)
        elif place > reach.transition.highest:
            reach.transition.highest, reach.transition.by = place, life
            for other, last in reach.transition.over.items():
                self._covers("P7.3", other, last, place, life, ring)

    def _inRegular(self, life: Life, ring: SafeRing, place: int) -> None:
        """
        Who has left must have had it; who never came can have nothing.
        """
        for other, last in ring.over.items():
            self._covers("P7.1", other, last, place, life, ring)
        for other, reach in self._reaches.items():
            self._mustHaveInstalled(other, reach.ring, ring)

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        A configuration was installed.
        """
        reach = self._reaches.get(life)
        if configuration.transitional:
            if reach is not None:
                self._transitional(reach, configuration)
            return
        if reach is not None:
            self._left(life, reach)
        ring = self._ringOf(configuration)
        ring.installers[life.nodeid] = life
        for other in [*self._rings.values()]:
            if other.regular != NOTHING:
                self._mustHaveInstalled(life, ring, other)
        self._reaches[life] = Reach(ring)

    def _transitional(self, reach: Reach, configuration: Configuration) -> None:
        key = reach.ring.ringId, configuration.ringId
        transition = self._transitions.get(key)
        if transition is None:
            transition = SafeTransition(frozenset(configuration.members))
            self._transitions[key] = transition
        reach.transition = transition

    def _ringOf(self, configuration: Configuration) -> SafeRing:
        ringId = configuration.ringId
        ring = self._rings.get(ringId)
        if ring is None:
            members = frozenset(configuration.members)
            ring = SafeRing(ringId, members, len(self._recent))
            self._rings[ringId] = ring
            self._recent.append(ringId)
            if len(self._rings) > RINGS_REMEMBERED:
                self._forget(next(iter(self._rings)))
        return ring

    def _forget(self, ringId: RingId) -> None:
        del self._rings[ringId]
        for key in [key for key in self._transitions if key[0] == ringId]:
            del self._transitions[key]

    def _left(self, life: Life, reach: Reach) -> None:
        ring, transition = reach.ring, reach.transition
        ring.over[life] = reach.last
        if ring.regularBy is not None:
            by, place = ring.regularBy, ring.regular
            self._covers("P7.1", life, reach.last, place, by, ring)
        if transition is not None:
            transition.over[life] = reach.last
            if transition.by is not None:
                by, place = transition.by, transition.highest
                self._covers("P7.3", life, reach.last, place, by, ring)

    def _covers(  # noqa: PLR0917  What and who, in one breath.
        self, promise: str, life: Life, last: int, place: int, by: Life, ring: SafeRing
    ) -> None:
        if last < place:
            self.blame(
                promise,
                "did not deliver what another delivered as safe",
                life,
                by,
                ring=ring.ringId,
                delivered=last,
                safe=place,
            )

    def _mustHaveInstalled(self, life: Life, now: SafeRing, ring: SafeRing) -> None:
        """
        A process that goes on to a later ring cannot have passed by one in
        which something safe was delivered, unless it started since.
        """
        if (
            life.nodeid in ring.members
            and ring.ringId.sequence < now.ringId.sequence
            and self._births.get(life, 0) <= ring.born
            and ring.installers.get(life.nodeid) is None
            and ring.regularBy is not None
        ):
            self.blame(
                "P7.2",
                "never was in a configuration in which something safe was delivered",
                life,
                ring.regularBy,
                ring=ring.ringId,
                now=now.ringId,
            )

    def agreement(self, lives: list[Life]) -> None:
        """
        In quiet, all have delivered what anybody delivered as safe.
        """
        for life in lives:
            reach = self._reaches.get(life)
            if reach is None:
                continue
            ring = reach.ring
            if ring.regularBy is not None:
                by, place = ring.regularBy, ring.regular
                self._covers("P7.1", life, reach.last, place, by, ring)
