"""
The decisions of an arbiter, for one cluster: which partition has its vote.

Two partitions never have it at once.  A node may cast the vote for the ring it
was given for, until a time that it counts from when it asked; the arbiter waits
longer, from when it answered.  Another ring gets the vote when all that was
given has ended, was given back, or is that of a ring which is over since one of
its members is in the other ring.  After a start nothing is known of what was
given before: then the vote stays where it is until that must have ended.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from attrs import define, evolve, field, frozen

from corotwist.errors import InvalidParameter, OldRing
from corotwist.quorumdevice.parties import MOST_NODES, Party, Rule
from corotwist.quorumdevice.values import Health
from corotwist.totem.membership import NO_RING, RingId

# Clocks of two machines differ by one second in so many, at worst.
_DRIFT: Final = 1 / 200


class Vote(Enum):
    """
    What a node is told.

    @cvar WAIT: ask again soon: not everybody said which ring he is on.
    """

    YES = "yes"
    NO = "no"
    WAIT = "wait"


@frozen
class Terms:
    """
    What the nodes of a cluster have to agree on, and say when they come.

    @ivar nodes: of the node list.
    @ivar castSeconds: how long a node casts a vote that it was given.
    @ivar graceSeconds: how long it takes until all members of its ring know
        that it does not any more.
    """

    nodes: tuple[int, ...]
    rule: Rule
    castSeconds: float
    graceSeconds: float

    def __attrs_post_init__(self) -> None:
        if not 0 < len(self.nodes) <= MOST_NODES:
            raise InvalidParameter(f"{len(self.nodes)} nodes in a cluster")
        if self.castSeconds <= 0 or self.graceSeconds < 0:
            raise InvalidParameter("a vote is cast for a time above 0")

    @property
    def heldSeconds(self) -> float:
        """
        How long nobody else gets the vote.
        """
        return (self.castSeconds + self.graceSeconds) * (1 + _DRIFT)


@frozen
class Wish:
    """
    What a node asks.

    @ivar casting: does it cast the vote for this ring already?
    """

    ringId: RingId
    members: tuple[int, ...]
    casting: bool = False
    health: Health = Health.UNKNOWN


@define
class _Seat:
    """
    A node that was here.

    @ivar incarnation: of the node: another one after each of its starts.
    @ivar connection: whom it is heard through; L{None} when it is not.
    @ivar since: when it said that it is on this ring.
    @ivar asked: when it asked last: far more often than votes end.
    """

    incarnation: int
    connection: Any
    wish: Wish = Wish(NO_RING, ())
    since: float = 0.0
    asked: float = 0.0


@define
class _Grant:
    """
    The vote, as far as one ring has it.

    @ivar until: by nodeid: how long we count on it being cast.
    """

    members: frozenset[int]
    until: dict[int, float] = field(factory=dict)


class Arbitration:
    """
    One cluster.

    @ivar terms: what its nodes agree on.
    """

    def __init__(self, terms: Terms, now: float, most: float) -> None:
        """
        @param now: of the arbiter's start, whenever the first node comes.
        @param most: so long a vote may have been given for before that, at most.
        """
        self.terms = terms
        self._quietUntil = now + most
        self._seats: dict[int, _Seat] = {}
        self._grants: dict[RingId, _Grant] = {}

    # Who is there.

    def came(
        self, nodeid: int, incarnation: int, connection: Any, terms: Terms
    ) -> None:
        """
        A node is heard through a new connection; an earlier one counts no more.

        @raise InvalidParameter: it does not agree with those that are here.
        """
        if nodeid not in terms.nodes:
            raise InvalidParameter(f"node {nodeid} is not in its own node list")
        if terms != self.terms:
            self._agree(terms)
        seat = self._seats.get(nodeid)
        if seat is None or seat.incarnation != incarnation:
            self._seats[nodeid] = _Seat(incarnation, connection)
        else:
            seat.connection = connection

    def _agree(self, terms: Terms) -> None:
        """
        Other terms are taken when nobody counts on those of now; what was given
        is held for as long as it was given for.
        """
        rule, mine = terms.rule, self.terms.rule
        if rule != mine and any(s.connection is not None for s in self._seats.values()):
            told = f"{mine.name} with tie breaker {mine.tieBreaker}"
            raise InvalidParameter(f"the other nodes of this cluster say {told}")
        self.terms = terms

    def went(self, nodeid: int, connection: Any) -> None:
        """
        A connection ended.  What the node was given it may cast on.
        """
        seat = self._seats.get(nodeid)
        if seat is not None and seat.connection is connection:
            seat.connection = None

    def serves(self, nodeid: int, connection: Any) -> bool:
        """
        Is the node heard through this connection?
        """
        seat = self._seats.get(nodeid)
        return seat is not None and seat.connection is connection

    def idle(self, now: float) -> bool:
        """
        Is nobody here, and nothing given?
        """
        self._forget(now)
        heard = any(seat.connection is not None for seat in self._seats.values())
        return not heard and not self._grants

    # The vote.

    def asked(self, nodeid: int, wish: Wish, now: float) -> Vote:
        """
        A node asks for the vote, or for more time with it.

        @raise InvalidParameter: it is not on the ring that it speaks of.
        @raise OldRing: it spoke of a later ring before.
        """
        seat = self._seats[nodeid]
        if nodeid not in wish.members:
            raise InvalidParameter(f"node {nodeid} is not a member of {wish.ringId}")
        if wish.ringId < seat.wish.ringId:
            raise OldRing(f"node {nodeid} was on {seat.wish.ringId} already")
        if wish.ringId != seat.wish.ringId:
            seat.since = now
        seat.wish, seat.asked = wish, now
        self._forget(now)
        self._giveBack(nodeid, wish, now)
        vote = self._decide(wish, now)
        if vote is Vote.YES:
            grant = self._grants.setdefault(
                wish.ringId, _Grant(frozenset(wish.members))
            )
            grant.until[nodeid] = now + self.terms.heldSeconds
        return vote

    def _forget(self, now: float) -> None:
        """
        What has ended.
        """
        for ringId, grant in list(self._grants.items()):
            grant.until = {n: until for n, until in grant.until.items() if until > now}
            if not grant.until:
                del self._grants[ringId]

    def _giveBack(self, nodeid: int, wish: Wish, now: float) -> None:
        """
        What a node has of another ring it casts no more; it takes a while until
        the members of that ring know.
        """
        soon = now + self.terms.graceSeconds * (1 + _DRIFT)
        for ringId, grant in self._grants.items():
            if nodeid in grant.until and (ringId != wish.ringId or not wish.casting):
                grant.until[nodeid] = min(grant.until[nodeid], soon)

    def _decide(self, wish: Wish, now: float) -> Vote:
        if now < self._quietUntil:
            claimed = wish.casting and self._free(wish, now)
            return Vote.YES if claimed else Vote.WAIT
        best = self.terms.rule.best(self._parties(now), len(self.terms.nodes))
        if best is None or best.ringId != wish.ringId:
            return Vote.NO
        if not self._free(wish, now):
            return Vote.WAIT
        held = wish.ringId in self._grants
        return Vote.YES if held or self._settled(wish, now) else Vote.WAIT

    def _free(self, wish: Wish, now: float) -> bool:
        """
        May this ring have the vote, for all that was given?
        """
        here = {n for n, seat in self._heard(now) if seat.wish.ringId == wish.ringId}
        return all(
            ringId == wish.ringId or (ringId < wish.ringId and here & grant.members)
            for ringId, grant in self._grants.items()
        )

    def _settled(self, wish: Wish, now: float) -> bool:
        """
        Does nobody speak of a ring any more that is over?  Whoever is slow to
        see that is waited for, but not for ever.
        """
        patience = now - self.terms.graceSeconds
        heard = [seat for _, seat in self._heard(now)]
        newest = [seat for seat in heard if seat.wish.ringId == wish.ringId]
        if all(seat.since <= patience for seat in newest):
            return True
        return not any(self._over(seat.wish, now) for seat in heard)

    def _over(self, wish: Wish, now: float) -> bool:
        """
        Is one of its members on a later ring?
        """
        return any(
            n in wish.members and wish.ringId < seat.wish.ringId
            for n, seat in self._heard(now)
        )

    def _heard(self, now: float) -> Iterator[tuple[int, _Seat]]:
        """
        Who asks; a connection that is silent may be one to nowhere.
        """
        lately = now - self.terms.castSeconds
        return (
            (nodeid, seat)
            for nodeid, seat in sorted(self._seats.items())
            if seat.connection is not None and seat.wish.members
            if seat.asked >= lately
        )

    def _parties(self, now: float) -> list[Party]:
        parties: dict[RingId, Party] = {}
        for nodeid, seat in self._heard(now):
            wish = seat.wish
            if self._over(wish, now):
                continue
            party = parties.get(wish.ringId) or Party(
                wish.ringId,
                wish.members,
                (),
                holder=wish.ringId in self._grants,
            )
            parties[wish.ringId] = evolve(
                party,
                present=(*party.present, nodeid),
                health=party.health + wish.health,
            )
        return list(parties.values())

    # For people.

    def status(self, now: float) -> dict[str, Any]:
        """
        As JSON values.
        """
        self._forget(now)
        return {
            "nodes": list(self.terms.nodes),
            "algorithm": self.terms.rule.name,
            "tieBreaker": self.terms.rule.tieBreaker,
            "quietSeconds": round(max(0.0, self._quietUntil - now), 3),
            "connected": {
                str(nodeid): {
                    "ring": str(seat.wish.ringId),
                    "members": list(seat.wish.members),
                    "heuristics": seat.wish.health.name.lower(),
                    "vote": nodeid in self._holders(seat.wish.ringId),
                }
                for nodeid, seat in sorted(self._seats.items())
                if seat.connection is not None
            },
            "given": {
                str(ringId): {
                    "members": sorted(grant.members),
                    "seconds": round(max(grant.until.values()) - now, 3),
                }
                for ringId, grant in sorted(self._grants.items())
            },
        }

    def _holders(self, ringId: RingId) -> frozenset[int]:
        grant = self._grants.get(ringId)
        return frozenset() if grant is None else frozenset(grant.until)
