"""
The judge of extended virtual synchrony: who may deliver which frame, where.

It sees what every processor numbers, delivers and installs, at the level of
ring frames, and needs a constant effort for each: a ring's order is the order
of its sends, so a delivery is right or wrong by its index in that order.
The names of the promises are those of docs/testing.md.  [EVS]
"""

from collections import defaultdict, deque
from typing import Final

from attrs import define, field

from corotwist.simulator.judges.judge import Judge, Life, Summary
from corotwist.totem.membership import Configuration, RingId
from corotwist.totem.sequence import after

NOBODY: Final = frozenset[int]()
# Rings that nobody is in any more are forgotten after so many newer ones.
RINGS_REMEMBERED: Final = 256


@define(slots=True)
class Send:
    """
    One frame that got its place.

    @ivar seen: how much of the ring its sender had delivered then.
    """

    sequence: int
    sender: Life
    payload: bytes
    seen: int


@define(eq=False)
class RingStory:
    """
    A regular configuration: who installed it, and what was sent in it.

    @ivar present: how many processes are in it now.
    """

    ringId: RingId
    members: frozenset[int]
    sends: list[Send] = field(factory=list)
    places: dict[int, int] = field(factory=dict)
    installers: dict[int, Life] = field(factory=dict)
    present: int = 0


@define(eq=False)
class Transition:
    """
    A transitional configuration: from one ring to another.
    """

    old: RingStory
    newId: RingId
    members: frozenset[int]
    regularPart: tuple[int, int]
    transitionalPart: tuple[int, int] | None = None
    installers: dict[int, Life] = field(factory=dict)


@define(eq=False)
class Position:
    """
    How far one process is in one ring.

    @ivar next: the index it delivers next if there is no gap.
    @ivar gaps: indexes it went past.
    @ivar own: indexes of what it sent itself and has not delivered.
    """

    ring: RingStory
    next: int = 0
    gaps: list[int] = field(factory=list)
    own: dict[int, None] = field(factory=dict)
    regular: Summary = field(factory=Summary)
    transitional: Summary = field(factory=Summary)
    transition: Transition | None = None


@define(eq=False)
class EvsJudge(Judge):
    """
    P1 to P6.
    """

    _rings: dict[RingId, RingStory] = field(factory=dict)
    _positions: dict[Life, Position] = field(factory=dict)
    _transitions: dict[tuple[RingStory, RingId], Transition] = field(factory=dict)
    _towards: defaultdict[RingId, list[Transition]] = field(
        factory=lambda: defaultdict(list)
    )
    _highest: dict[int, int] = field(factory=dict)
    _lastSent: dict[Life, int] = field(factory=dict)
    _forgetful: set[int] = field(factory=set)
    _recent: deque[RingStory] = field(factory=deque)

    def booted(self, life: Life) -> None:
        """
        A process started; without its disk it owes nothing to the ones before.
        """
        if life.fresh:
            self._highest.pop(life.nodeid, None)
            self._forgetful.add(life.nodeid)

    def ended(self, life: Life) -> None:
        """
        It was killed, or left.
        """
        life.alive = False
        position = self._positions.pop(life, None)
        if position is not None:
            position.ring.present -= 1
        self._lastSent.pop(life, None)

    # Sending.

    def sent(
        self, life: Life, ringId: RingId, sequence: int, number: int, payload: bytes
    ) -> None:
        """
        A frame got a place in the order.

        @param number: the sender's own, rising with each frame.
        """
        position = self._positions.get(life)
        if (
            position is None
            or position.ring.ringId != ringId
            or position.transition is not None
        ):
            self.blame("P1.3", "sent in a ring it is not in", life, ring=ringId)
            return
        if number <= self._lastSent.get(life, -1):
            self.blame("P1.3", "one frame sent twice", life, number=number)
        self._lastSent[life] = number
        ring = position.ring
        index = len(ring.sends)
        if sequence in ring.places or (
            index and not after(sequence, ring.sends[-1].sequence)
        ):
            other = ring.sends[ring.places.get(sequence, index - 1)].sender
            self.blame(
                "P6.4",
                "two frames share a place, or places go backwards",
                life,
                other,
                ring=ringId,
                sequence=sequence,
            )
            return
        ring.places[sequence] = index
        ring.sends.append(Send(sequence, life, payload, position.next))
        position.own[index] = None

    def overheard(
        self, life: Life, ringId: RingId, sequence: int, payload: bytes
    ) -> None:
        """
        A frame of a processor that tells nothing got its place before all
        that are told from now on.
        """
        ring = self._rings.get(ringId)
        if ring is None:
            return
        if ring.sends and not after(sequence, ring.sends[-1].sequence):
            self.blame(
                "P6.4", "two frames share a place", life, ring=ringId, sequence=sequence
            )
            return
        ring.places[sequence] = len(ring.sends)
        ring.sends.append(Send(sequence, life, payload, 0))

    # Delivering.

    def delivered(
        self, life: Life, ringId: RingId, sequence: int, sender: int, payload: bytes
    ) -> None:
        """
        A frame was handed up.
        """
        position = self._positions.get(life)
        if position is None or position.ring.ringId != ringId:
            self.blame("P2.3", "delivered in another ring", life, ring=ringId)
            return
        ring = position.ring
        index = ring.places.get(sequence)
        if index is None:
            self.blame(
                "P1.2",
                "delivered what nobody sent",
                life,
                ring=ringId,
                sequence=sequence,
            )
            return
        send = ring.sends[index]
        if send.payload != payload or send.sender.nodeid != sender:
            self.blame(
                "P1.5",
                "delivered something else than was sent",
                life,
                send.sender,
                ring=ringId,
                sequence=sequence,
            )
        if index < position.next:
            late = index in position.gaps
            self.blame(
                "P6.1" if late else "P1.4",
                "delivered out of order" if late else "delivered twice",
                life,
                ring=ringId,
                sequence=sequence,
            )
            return
        if position.transition is None:
            self._regularDelivery(life, position, index)
        else:
            self._transitionalDelivery(life, position, position.transition, index)
        position.next = index + 1
        position.own.pop(index, None)

    def _regularDelivery(self, life: Life, position: Position, index: int) -> None:
        if index != position.next:
            self.blame(
                "P6.2",
                "delivered beyond a gap in a regular configuration",
                life,
                position.ring.sends[position.next].sender,
                ring=position.ring.ringId,
                sequence=position.ring.sends[index].sequence,
                missing=position.ring.sends[position.next].sequence,
            )
        position.regular.add(index)

    def _transitionalDelivery(
        self, life: Life, position: Position, transition: Transition, index: int
    ) -> None:
        ring = position.ring
        for skipped in range(position.next, index):
            lost = ring.sends[skipped]
            position.gaps.append(skipped)
            if lost.sender.nodeid in transition.members:
                self.blame(
                    "P6.3",
                    "went past a frame of a member of the transitional configuration",
                    life,
                    lost.sender,
                    ring=ring.ringId,
                    sequence=lost.sequence,
                )
        send = ring.sends[index]
        if position.gaps and (
            send.seen > position.gaps[0]
            or any(ring.sends[gap].sender is send.sender for gap in position.gaps)
        ):
            self.blame(
                "P5.2",
                "delivered what may follow from a frame that it lacks",
                life,
                send.sender,
                ring=ring.ringId,
                sequence=send.sequence,
                missing=ring.sends[position.gaps[0]].sequence,
            )
        position.transitional.add(index)

    # Configurations.

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        A configuration was installed.
        """
        if configuration.transitional:
            self._transitional(life, configuration)
        else:
            self._regular(life, configuration)

    def _transitional(self, life: Life, configuration: Configuration) -> None:
        position = self._positions.get(life)
        members = frozenset(configuration.members)
        if position is None:
            if members - {life.nodeid}:
                self.blame(
                    "P2.4", "a transitional configuration came first", life, new=members
                )
            return
        old = position.ring
        self._includes(life, members)
        if position.transition is not None:
            self.blame("P2.4", "two transitional configurations in a row", life)
        if not members <= old.members:
            self.blame("P2.5", "came along from a ring it was not in", life)
        left = old.members - members
        if set(configuration.left) != left or configuration.joined:
            self.blame(
                "P2.10",
                "left is not who did not come along",
                life,
                left=configuration.left,
                right=sorted(left),
            )
        arrived = self._installersOf(configuration.ringId)
        transition = self._transitionOf(life, position, configuration, members)
        if transition.installers.get(life.nodeid) is life:
            self.blame("P2.2", "installed a configuration twice", life)
        transition.installers[life.nodeid] = life
        position.transition = transition
        for fellow in arrived:
            if fellow.nodeid in members:
                self._cameAlong(fellow, transition)

    def _transitionOf(
        self,
        life: Life,
        position: Position,
        configuration: Configuration,
        members: frozenset[int],
    ) -> Transition:
        old, newId = position.ring, configuration.ringId
        summary = position.regular.frozen()
        known = self._transitions.get((old, newId))
        if known is None:
            known = Transition(old, newId, members, summary)
            self._transitions[old, newId] = known
            self._towards[newId].append(known)
            return known
        others = tuple(known.installers.values())
        if known.members != members:
            self.blame(
                "P2.1",
                "one transitional configuration, two lists of members",
                life,
                *others,
                new=newId,
                here=sorted(members),
                there=sorted(known.members),
            )
        if known.regularPart != summary:
            self.blame(
                "P4",
                "went on together, but delivered different frames before",
                life,
                *others,
                ring=old.ringId,
                here=summary[0],
                there=known.regularPart[0],
            )
        return known

    def _regular(self, life: Life, configuration: Configuration) -> None:
        ringId = configuration.ringId
        members = frozenset(configuration.members)
        self._includes(life, members)
        position = self._positions.get(life)
        came = NOBODY
        if position is not None:
            came = self._succession(life, position, ringId, members)
        self._joined(life, configuration, members, came)
        ring = self._ringOf(life, ringId, members)
        before = ring.installers.get(life.nodeid)
        if before is life:
            self.blame("P2.2", "installed a configuration twice", life, ring=ringId)
        elif before is not None:
            self.blame(
                "P2.8", "two lives of a node in one ring", before, life, ring=ringId
            )
        if ringId.sequence <= self._highest.get(life.nodeid, -1):
            self.blame("P2.6", "a ring sequence did not rise", life, ring=ringId)
        self._highest[life.nodeid] = ringId.sequence
        ring.installers[life.nodeid] = life
        for transition in self._towards[ringId]:
            if life.nodeid in transition.members:
                self._cameAlong(life, transition)
        if position is not None:
            position.ring.present -= 1
        ring.present += 1
        self._positions[life] = Position(ring)

    def _succession(
        self,
        life: Life,
        position: Position,
        ringId: RingId,
        members: frozenset[int],
    ) -> frozenset[int]:
        """
        A ring that is not the first is reached through the transitional
        configuration towards it.

        @return: who came along.
        """
        transition = position.transition
        if transition is None or transition.newId != ringId:
            self.blame(
                "P2.4",
                "a ring did not follow a transitional configuration towards it",
                life,
                old=position.ring.ringId,
                new=ringId,
            )
            return NOBODY
        if not transition.members <= members:
            self.blame(
                "P2.5",
                "came along, but is not in the new ring",
                life,
                new=ringId,
                who=sorted(transition.members - members),
            )
        summary = position.transitional.frozen()
        if transition.transitionalPart is None:
            transition.transitionalPart = summary
        elif transition.transitionalPart != summary:
            self.blame(
                "P4",
                "went on together, but delivered different frames in transition",
                life,
                *transition.installers.values(),
                ring=position.ring.ringId,
                here=summary[0],
                there=transition.transitionalPart[0],
            )
        if position.own:
            lost = position.ring.sends[min(position.own)]
            self.blame(
                "P3",
                "did not deliver a frame of its own",
                life,
                ring=position.ring.ringId,
                sequence=lost.sequence,
            )
        return transition.members

    def _joined(
        self,
        life: Life,
        configuration: Configuration,
        members: frozenset[int],
        came: frozenset[int],
    ) -> None:
        joined = set(configuration.joined)
        right = members - came
        first = not came and joined == right - {life.nodeid}
        if (joined != right and not first) or configuration.left:
            self.blame(
                "P2.10",
                "joined is not who was not here before",
                life,
                joined=configuration.joined,
                right=sorted(right),
            )

    def _ringOf(self, life: Life, ringId: RingId, members: frozenset[int]) -> RingStory:
        ring = self._known(ringId)
        if ring is None:
            ring = self._rings[ringId] = RingStory(ringId, members)
            self._remember(ring)
        elif ring.members != members:
            self.blame(
                "P2.1",
                "one ring id, two lists of members",
                life,
                *ring.installers.values(),
                ring=ringId,
                here=sorted(members),
                there=sorted(ring.members),
            )
        if ringId.representative != min(members):
            self.blame("P2.1", "not named after its lowest member", life, ring=ringId)
        return ring

    def _remember(self, ring: RingStory) -> None:
        """
        Bound what is kept: of old rings, only the names and members.
        """
        self._recent.append(ring)
        if len(self._recent) <= RINGS_REMEMBERED:
            return
        old = self._recent.popleft()
        if old.present:
            self._recent.append(old)
            return
        old.sends.clear()
        old.places.clear()
        for transition in self._towards.pop(old.ringId, ()):
            self._transitions.pop((transition.old, old.ringId), None)

    def _known(self, ringId: RingId) -> RingStory | None:
        """
        A ring that was installed before.

        A representative that lost its disk may use the name again of a ring
        of which nobody lives; then it is another ring.
        """
        ring = self._rings.get(ringId)
        if (
            ring is None
            or ringId.representative not in self._forgetful
            or any(life.alive for life in ring.installers.values())
        ):
            return ring
        del self._rings[ringId]
        towards = self._towards.pop(ringId, [])
        for transition in towards:
            if any(life.alive for life in transition.installers.values()):
                self._towards[ringId].append(transition)
            else:
                del self._transitions[transition.old, ringId]
        return None

    def _includes(self, life: Life, members: frozenset[int]) -> None:
        if life.nodeid not in members:
            self.blame("P2.0", "is not in its own configuration", life, members=members)

    def _installersOf(self, ringId: RingId) -> list[Life]:
        ring = self._known(ringId)
        return list(ring.installers.values()) if ring else []

    def _cameAlong(self, life: Life, transition: Transition) -> None:
        """
        Who is said to have come along must be the one who did: not a process
        of that node that started since.
        """
        if transition.installers.get(life.nodeid) is not life:
            self.blame(
                "P2.7",
                "is in a ring, but did not come along as others say it did",
                life,
                *transition.installers.values(),
                old=transition.old.ringId,
                new=transition.newId,
            )

    def caughtUp(self, lives: list[Life]) -> bool:
        """
        Have they all delivered everything that was sent in their rings?
        """
        return all(
            position.next == len(position.ring.sends)
            for position in map(self._positions.get, lives)
            if position is not None
        )

    def agreement(self, lives: list[Life]) -> None:
        """
        In quiet, all of one ring have delivered all that was sent in it.
        """
        for life in lives:
            position = self._positions.get(life)
            if position is not None and position.next != len(position.ring.sends):
                lost = position.ring.sends[position.next]
                self.blame(
                    "L2",
                    "has not delivered what was sent in its ring",
                    life,
                    lost.sender,
                    ring=position.ring.ringId,
                    sequence=lost.sequence,
                )
