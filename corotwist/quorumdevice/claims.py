"""
Who has the vote of a quorum disk: one node's part in it, without the disk.

The shell does the same over and over: write our sector, read all others, tell
when it began and when it was through.  Two nodes that want the vote for
different rings never both get it: each writes that it wants it before it looks
at the others, so at least one sees the other; whoever sees another one that
wants it, or has it, casts nothing.

A node that is silent is no more in the way when it cannot cast a vote any more.
It may cast for some time from the I{beginning} of its last write, and writes in
time or must begin anew; the others count a longer time from when they I{saw}
that write.  A node that was paused finds its time over before it acts.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Any, Final

from attrs import define, evolve, field

from corotwist.quorumdevice.arbitration import Terms
from corotwist.quorumdevice.parties import Party
from corotwist.quorumdevice.slots import Slot, Slots, State
from corotwist.quorumdevice.values import Health
from corotwist.totem.membership import NO_RING, RingId

NOTHING: Final = -inf


@define
class _Other:
    """
    Another node, as far as its sector tells.

    @ivar seen: when its sector was written last, as far as we saw.
    @ivar leaving: claims that it does not make any more, and until when they
        count.
    """

    slot: Slot
    seen: float
    leaving: list[tuple[Slot, float]] = field(factory=list)


class Claims:
    """
    Our claim, and those of others.

    @ivar castUntil: when our vote ends unless a write is through before.
    """

    def __init__(self, nodeid: int, incarnation: int, terms: Terms, now: float) -> None:
        self.terms = terms
        self.castUntil = NOTHING
        self._own = Slot(nodeid, incarnation, 0)
        self._ringSince = now
        # What others claimed before may count for so long.
        self._blindUntil = now + terms.graceSeconds
        self._holdUntil = NOTHING
        self._writing: Slot | None = None
        self._others: dict[int, _Other] = {}

    @property
    def state(self) -> State:
        """
        What our next sector says.
        """
        return self._own.state

    @property
    def ringId(self) -> RingId:
        """
        What our vote is for.
        """
        return self._own.ringId

    # What we want.

    def wish(
        self, ringId: RingId, members: Iterable[int], health: Health, now: float
    ) -> None:
        """
        We are on this ring.
        """
        own = evolve(self._own, health=health)
        if ringId != own.ringId:
            own = evolve(
                own,
                ringId=ringId,
                members=tuple(sorted(members)),
                state=State.IDLE,
            )
            self._ringSince = now
            self._writing = None
            self.castUntil = self._holdUntil = NOTHING
        self._own = own

    def decided(self, now: float) -> bool:
        """
        Does somebody else have the vote, or is it sure by now that we do not get
        it?
        """
        return now >= self._ringSince + self.terms.graceSeconds or any(
            slot.state is State.HOLDING for slot in self._inTheWay(now)
        )

    # One time around.

    def sector(self) -> Slot:
        """
        What to write now.
        """
        self._own = evolve(self._own, counter=self._own.counter + 1)
        self._writing = self._own
        return self._own

    def unreadable(self, nodeids: Iterable[int], now: float) -> None:
        """
        What these nodes wrote cannot be understood: they may have anything, for
        as long as that is so.
        """
        for nodeid in nodeids:
            if nodeid != self._own.nodeid:
                unknown = Slot(nodeid, 0, 0, State.HOLDING, members=(nodeid,))
                other = self._others.setdefault(nodeid, _Other(unknown, now))
                other.slot, other.seen = unknown, now

    def exchanged(
        self, written: Slot, slots: Slots, began: float, wrote: float, now: float
    ) -> None:
        """
        Our sector was written, then all were read.

        @param began: before the write.
        @param wrote: after it, before the first sector was read.
        @param now: after the last one.
        """
        for nodeid, slot in slots.items():
            if nodeid != self._own.nodeid:
                self._saw(nodeid, slot, now)
        if written is not self._writing:
            return  # Of another ring than we are on now.
        self._writing = None
        if written.state is State.HOLDING:
            self._renewed(began, wrote)
        elif written.state is State.WANTING and not self._inTheWay(wrote):
            self._got(began, now)
        self._next(now)

    def failed(self) -> None:
        """
        The disk did not answer, and whether our sector is written is unknown.
        """
        self._writing = None

    def _saw(self, nodeid: int, slot: Slot, now: float) -> None:
        other = self._others.get(nodeid)
        if other is None:
            self._others[nodeid] = _Other(slot, now)
            return
        other.leaving = [(s, until) for s, until in other.leaving if until > now]
        if slot == other.slot:
            return
        before, other.slot, other.seen = other.slot, slot, now
        other.leaving += [
            (claim, now + self.terms.graceSeconds) for claim in _ended(before, slot)
        ]

    # What is ours.

    def _got(self, began: float, now: float) -> None:
        if now < began + self._ownSeconds:
            self._own = evolve(self._own, state=State.HOLDING)
            self._lasts(began)

    def _renewed(self, began: float, wrote: float) -> None:
        """
        In time, or the others may have counted on our end.
        """
        if wrote < self._holdUntil:
            self._lasts(began)
        else:
            self._drop()

    def _lasts(self, began: float) -> None:
        self._holdUntil = began + self._ownSeconds
        self.castUntil = began + self.terms.castSeconds

    @property
    def _ownSeconds(self) -> float:
        return self.terms.castSeconds + self.terms.graceSeconds

    def _drop(self) -> None:
        self.castUntil = self._holdUntil = NOTHING
        self._own = evolve(self._own, state=State.IDLE)

    def _next(self, now: float) -> None:
        """
        What to want now.
        """
        own = self._own
        parties = self._parties(now)
        best = self.terms.rule.best(parties, len(self.terms.nodes))
        ours = best is not None and best.ringId == own.ringId
        if own.state is State.HOLDING:
            ill = any(p.health < 0 for p in parties if p.ringId == own.ringId)
            if now >= self._holdUntil or (ill and not ours):
                self._drop()
            return
        wants = ours and now >= self._blindUntil and self._settled(now)
        if own.state is State.WANTING and not ours:
            self._drop()
        elif own.state is State.IDLE and wants:
            self._own = evolve(own, state=State.WANTING, claim=own.claim + 1)

    # What others have.

    def _inTheWay(self, now: float) -> list[Slot]:
        """
        Claims that keep us from casting.
        """
        return [slot for slot in self._claims(now) if not self._superseded(slot)]

    def _claims(self, now: float) -> Iterator[Slot]:
        for other in self._others.values():
            if other.slot.state is not State.IDLE and self._mayCast(other, now):
                yield other.slot
            yield from (slot for slot, until in other.leaving if until > now)

    def _mayCast(self, other: _Other, now: float) -> bool:
        return now < other.seen + self.terms.heldSeconds

    def _superseded(self, slot: Slot) -> bool:
        """
        Is it about our ring; or about an earlier one that is over, since one of
        its members is on ours?
        """
        own = self._own
        if slot.ringId == own.ringId:
            return True
        here = {own.nodeid, *self._here()}
        return slot.ringId < own.ringId and bool(here & {*slot.members})

    def _here(self) -> Iterator[int]:
        ringId = self._own.ringId
        return (n for n, o in self._others.items() if o.slot.ringId == ringId)

    # Which partition is better.

    def _alive(self, now: float) -> list[Slot]:
        others = (o.slot for o in self._others.values() if self._mayCast(o, now))
        return [self._own, *(slot for slot in others if slot.ringId != NO_RING)]

    def _settled(self, now: float) -> bool:
        """
        Does nobody speak of a ring any more that is over?
        """
        if now >= self._ringSince + self.terms.graceSeconds:
            return True
        alive = self._alive(now)
        return not any(_over(slot, alive) for slot in alive)

    def _parties(self, now: float) -> list[Party]:
        alive = self._alive(now)
        parties: dict[RingId, Party] = {}
        for slot in alive:
            if not slot.members or _over(slot, alive):
                continue
            party = parties.get(slot.ringId) or Party(slot.ringId, slot.members, ())
            parties[slot.ringId] = evolve(
                party,
                present=(*party.present, slot.nodeid),
                health=party.health + slot.health,
                holder=party.holder or slot.state is State.HOLDING,
            )
        return list(parties.values())

    # For people.

    def status(self, now: float) -> dict[str, Any]:
        """
        As JSON values.
        """
        return {
            "state": self._own.state.name.lower(),
            "voteSeconds": round(max(0.0, self.castUntil - now), 3),
            "nodes": {
                str(slot.nodeid): {
                    "state": slot.state.name.lower(),
                    "ring": str(slot.ringId),
                    "members": list(slot.members),
                    "heuristics": slot.health.name.lower(),
                    "seenSeconds": round(now - other.seen, 3),
                }
                for other in self._others.values()
                for slot in (other.slot,)
            },
            "inTheWay": [slot.nodeid for slot in self._inTheWay(now)],
        }


def _ended(before: Slot, after: Slot) -> Iterator[Slot]:
    """
    Claims that a node made until it wrote C{after}; of those that we never saw
    we know only whose they were.
    """
    known = before.claim if before.incarnation == after.incarnation else 0
    active = after.state is not State.IDLE
    goesOn = active and known == after.claim
    if before.state is not State.IDLE and not goesOn:
        yield before
    if after.claim - int(active) > known:
        yield evolve(before, members=(before.nodeid,))


def _over(slot: Slot, alive: Iterable[Slot]) -> bool:
    """
    Is a member of that ring on a later one?
    """
    return any(
        other.nodeid in slot.members and slot.ringId < other.ringId for other in alive
    )
