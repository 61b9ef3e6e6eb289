"""
A world of nodes on rings with a quorum device, and a judge: two nodes that cast
the device's vote for rings without a common member must never be.
"""

from collections.abc import Iterable
from random import Random
from typing import Any

from attrs import define, field

from corotwist.errors import OldRing
from corotwist.quorumdevice.arbitration import Arbitration, Terms, Vote, Wish
from corotwist.quorumdevice.claims import NOTHING, Claims
from corotwist.quorumdevice.parties import Rule
from corotwist.quorumdevice.slots import Slot
from corotwist.quorumdevice.values import Health
from corotwist.totem.membership import NO_RING, RingId

CAST, GRACE = 10.0, 6.0
# How long a member of a ring may be slow to see that it is over.
SLOW = 5.0
LEASE_MOST = 20.0


@define(eq=False)
class Being:
    """
    A node.

    @ivar until: it casts the vote for its ring until then.
    @ivar next: the ring that it goes to, and when.
    @ivar pausedUntil: it does not run.
    @ivar reachable: does the device hear it?
    """

    nodeid: int
    ringId: RingId = NO_RING
    members: tuple[int, ...] = ()
    until: float = NOTHING
    next: tuple[float, RingId, tuple[int, ...]] | None = None
    pausedUntil: float = 0.0
    reachable: bool = True
    incarnation: int = 1
    health: Health = Health.UNKNOWN
    claims: Any = None
    asked: Any = None
    connection: Any = None


@define(eq=False)
class World:
    """
    Nodes, time, and the device.

    @ivar casts: how often a node cast a vote, to see that somebody does.
    """

    random: Random
    count: int = 4
    rule: Rule = field(factory=Rule)
    now: float = 100.0
    beings: dict[int, Being] = field(init=False)
    terms: Terms = field(init=False)
    sequence: int = 4
    casts: int = 0
    lastCast: dict[RingId, float] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.beings = {n: Being(n) for n in range(1, self.count + 1)}
        self.terms = Terms(tuple(self.beings), self.rule, CAST, GRACE)

    # What happens.

    def ring(self, *members: int) -> None:
        """
        These form a ring: each sees it a little later.
        """
        self.sequence += 4
        ringId = RingId(self.sequence, min(members))
        for nodeid in members:
            at = self.now + self.random.uniform(0, SLOW)
            self.beings[nodeid].next = (at, ringId, tuple(sorted(members)))

    def split(self) -> None:
        """
        Rings of any partition of the nodes.
        """
        groups: dict[int, list[int]] = {}
        for nodeid in self.beings:
            groups.setdefault(self.random.randrange(3), []).append(nodeid)
        for group in groups.values():
            if self.beings[group[0]].members != tuple(group):
                self.ring(*group)

    def move(self, being: Being) -> None:
        """
        It sees its new ring, if there is one.
        """
        if being.next is not None and being.next[0] <= self.now:
            _, being.ringId, being.members = being.next
            being.next = None
            being.until = NOTHING

    def restart(self, being: Being) -> None:
        """
        It knows nothing any more, and forms a ring of its own.
        """
        being.incarnation += 1
        being.claims = being.asked = being.connection = None
        being.until = NOTHING
        being.ringId, being.members = NO_RING, ()
        self.ring(being.nodeid)

    # The judge.

    def believing(self) -> list[Being]:
        """
        Who casts a vote, or counts that of a member of its ring: until all
        members know that it ended, and while its ring is not known to be over.
        A node that is paused casts what it had.
        """
        for being in self.beings.values():
            if being.until > self.now:
                self.casts += 1
                self.lastCast[being.ringId] = self.now
        return [b for b in self.beings.values() if b.members and self._believes(b)]

    def _believes(self, being: Being) -> bool:
        if being.until > self.now:
            return True
        awake = being.pausedUntil <= self.now
        return awake and self.now < self.lastCast.get(being.ringId, NOTHING) + SLOW

    def judge(self) -> None:
        """
        The vote counts in one partition.
        """
        believing = self.believing()
        for one in believing:
            for other in believing:
                assert {*one.members} & {*other.members}, (self.now, believing)


@define(eq=False)
class DiskWorld(World):
    """
    With a disk, that is slow at times.
    """

    disk: dict[int, Slot] = field(factory=dict)

    def turn(self, being: Being) -> None:
        """
        A step of a node: what it began is through, or it begins.
        """
        if being.claims is None:
            being.claims = Claims(being.nodeid, being.incarnation, self.terms, self.now)
        self.move(being)
        if not being.members:
            return
        being.claims.wish(being.ringId, being.members, being.health, self.now)
        stage = being.asked
        if stage is None:
            being.asked = ("write", being.claims.sector(), self.now)
        elif stage[0] == "write" and being.reachable:
            self.disk[being.nodeid] = stage[1]
            being.asked = ("read", (*stage[1:], self.now), {}, list(self.beings))
        elif stage[0] == "read" and being.reachable:
            self._read(being, *stage[1:])
        if being.until != being.claims.castUntil:
            being.until = being.claims.castUntil

    def _read(
        self, being: Being, round_: Any, slots: dict[int, Slot], left: list[int]
    ) -> None:
        """
        A sector or more; others may write in between.
        """
        for _ in range(self.random.randint(1, len(left))):
            nodeid = left.pop()
            if nodeid in self.disk:
                slots[nodeid] = self.disk[nodeid]
        if not left:
            being.asked = None
            slot, began, wrote = round_
            being.claims.exchanged(slot, slots, began, wrote, self.now)


@define(eq=False)
class ArbiterWorld(World):
    """
    With an arbiter, that starts anew at times.
    """

    arbiter: Any = None
    starts: int = 0

    def restartArbiter(self) -> None:
        """
        It forgets everything.
        """
        self.arbiter = Arbitration(self.terms, self.now, LEASE_MOST)
        for being in self.beings.values():
            being.connection = being.asked = None

    def turn(self, being: Being) -> None:
        """
        A step of a node: a question or an answer arrives.
        """
        if self.arbiter is None:
            self.restartArbiter()
        self.move(being)
        if not being.reachable or not being.members:
            if being.connection is not None:
                self.arbiter.went(being.nodeid, being.connection)
            being.connection = being.asked = None
            return
        if being.connection is None:
            being.connection = object()
            self.arbiter.came(
                being.nodeid, being.incarnation, being.connection, self.terms
            )
        if being.asked is None:
            casting = being.until > self.now
            wish = Wish(being.ringId, being.members, casting, being.health)
            being.asked = ("question", self.now, wish)
        elif being.asked[0] == "question":
            _, sent, wish = being.asked
            try:
                vote = self.arbiter.asked(being.nodeid, wish, self.now)
            except OldRing:
                vote = Vote.NO
            being.asked = ("answer", sent, wish, vote)
        else:
            self._answered(being, *being.asked[1:])

    def _answered(self, being: Being, sent: float, wish: Wish, vote: Vote) -> None:
        being.asked = None
        if wish.ringId != being.ringId:
            return
        if vote is Vote.YES and self.now < sent + CAST:
            being.until = sent + CAST
        elif vote is Vote.NO:
            being.until = NOTHING


def run(world: Any, steps: int, events: Iterable[str]) -> None:
    """
    Drawn events and turns, judged after each.
    """
    random, kinds = world.random, tuple(events)
    world.ring(*world.beings)
    for _ in range(steps):
        world.now += random.choice((0.01, 0.1, 0.5))
        if random.random() < 0.02:
            _happen(world, random.choice(kinds))
        being = random.choice(list(world.beings.values()))
        if being.pausedUntil <= world.now:
            world.turn(being)
        world.judge()


def _happen(world: Any, what: str) -> None:
    being = world.random.choice(list(world.beings.values()))
    if what == "split":
        world.split()
    elif what == "lose":
        being.reachable = not being.reachable
    elif what == "pause":
        # Its ring is over by then, and it was told so by nobody.
        being.pausedUntil = world.now + world.random.choice((1.0, 4.0))
    elif what == "restart":
        world.restart(being)
    elif what == "ill":
        being.health = world.random.choice(list(Health))
    elif what == "arbiter":
        world.restartArbiter()
