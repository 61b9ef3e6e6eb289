"""
The judge who sees only what clients of process groups saw, each in a log of
its own: for real processes, ours and others.

It knows neither clocks nor places in the order.  What clients who stayed
together saw must be the same; what others saw must fit into one order for
each ring, which is found by sorting: a message that one client got before
another is before it for all.  Its effort is nearly linear in the length of
the logs.  The names of the promises are those of docs/testing.md.  [EVS]
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import Final

from attrs import define, field, frozen

from corotwist.engines.interfaces import Change, Member, Reason
from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import RingId

_RING_REASONS: Final = frozenset((Reason.NODEDOWN, Reason.NODEUP))
# In which order several reasons at once are taken apart.
_STEPS: Final = (
    *(Reason.NODEDOWN, Reason.NODEUP, Reason.PROCDOWN),
    *(Reason.LEAVE, Reason.JOIN),
)
# Stands for the ring after the last one, when a run ended in quiet.
_QUIET: Final = RingId(1 << 64, 0)
SHOWN: Final = 5

Number = tuple[Member, int]


@frozen
class Sending:
    """
    The client is about to send messages, numbered from C{first}.
    """

    first: int
    count: int
    size: int


@frozen
class Accepted:
    """
    Its node took them.
    """

    count: int


@frozen
class Heard:
    """
    A message came.

    @ivar number: its sender's; the first is 0.
    @ivar intact: it is, byte for byte, what a message of this sender, number
        and size looks like.
    """

    sender: Member
    number: int
    size: int
    intact: bool = True


@frozen
class Viewed:
    """
    The group changed.
    """

    members: frozenset[Member]
    left: tuple[Change, ...] = ()
    joined: tuple[Change, ...] = ()

    @property
    def reasons(self) -> frozenset[Reason]:
        """
        Why it changed.
        """
        return frozenset(change.reason for change in self.left + self.joined)

    def pieces(self) -> "Iterator[Viewed]":
        """
        The same in steps, one for each reason, as real corosync nodes show a
        change of the ring.
        """
        if len(self.reasons) == 1:
            yield self
            return
        joined = {change.member for change in self.joined}
        members = (self.members - joined) | {change.member for change in self.left}
        for reason in sorted(self.reasons, key=_STEPS.index):
            left = tuple(c for c in self.left if c.reason is reason)
            came = tuple(c for c in self.joined if c.reason is reason)
            members -= {change.member for change in left}
            members |= {change.member for change in came}
            yield Viewed(members, left, came)


@frozen
class RingSeen:
    """
    The services of its node are in step on a ring.
    """

    ringId: RingId
    members: tuple[int, ...]


@frozen
class Leaving:
    """
    The client asked to leave the group.
    """


Entry = Sending | Accepted | Heard | Viewed | RingSeen | Leaving


@define(eq=False)
class History:
    """
    What one client logged, from its start to its end.

    @ivar member: how others see it.
    @ivar life: the process of the node where it was.
    @ivar alive: it was there when the run ended.
    """

    member: Member
    life: Life
    entries: list[Entry]
    alive: bool = False

    def __str__(self) -> str:
        return f"{self.member.nodeid}/{self.member.pid}"


@define(eq=False)
class Stretch:
    """
    What a client saw on one ring, from its beginning or its own join on.

    @ivar before: the ring; L{None} when it was not told.
    @ivar after: the next; L{None} when it came to none.
    @ivar survivors: the members of the group who went on with it.
    """

    history: History
    before: RingId | None
    start: int
    joined: bool = False
    stop: int = 0
    after: RingId | None = None
    survivors: frozenset[Member] = frozenset()

    def entries(self, since: int | None = None) -> Iterator[tuple[int, Heard | Viewed]]:
        """
        Messages and views, and where they are in the log.
        """
        first = self.start if since is None else since
        for place in range(first, self.stop):
            entry = self.history.entries[place]
            if isinstance(entry, Heard | Viewed):
                yield place, entry


# By what two compare: the first of our clients, and the first of others', each
# with the entry where the comparison begins.
Known = dict[object, list[tuple[Stretch, int] | None]]
_PARTED: Final = "went on together, but saw other messages or views"


@define(eq=False)
class Reading:
    """
    How far one log was read, and what its client must think by now.

    @ivar heard: by sender, the number that came last, as long as none may be
        missing since.
    @ivar stages: reasons of the views that the change of the ring brought.
    """

    history: History
    stretch: Stretch
    view: frozenset[Member] | None = None
    heard: dict[Member, int] = field(factory=dict)
    stages: list[Reason] = field(factory=list)
    gained: set[Member] = field(factory=set)
    leaving: bool = False
    gone: bool = False
    accepted: int = 0
    own: int = 0


@define(eq=False)
class BlackBoxJudge(Judge):
    """
    C1 to C9, C11 and C12 from logs; P1.2, P2.0, P2.1 and P6 as far as clients
    can see.

    Three things are known of real corosync nodes.  They pack messages tight,
    also small ones across the border of two frames, and go on in the middle of
    one when the ring changes: who comes new to the ring lacks its beginning, and
    may miss it.  When they are new themselves they discard the whole frame, or
    frames, and all that is in them.  And they take for survivors who came along
    in the last change of the ring, whatever came before.  Where their clients
    lack what was discarded, or see other views than ours, they alone are blamed.

    @ivar foreign: nodeids of real corosync nodes.
    @ivar torn: messages that may be missing, by the rings that cut them.
    """

    foreign: frozenset[int] = frozenset()
    torn: dict[RingId, set[Number]] = field(factory=lambda: defaultdict(set))
    _histories: dict[Member, list[History]] = field(factory=lambda: defaultdict(list))
    _sizes: dict[Member, list[list[int]]] = field(factory=lambda: defaultdict(list))
    _rings: dict[RingId, tuple[tuple[int, ...], History]] = field(factory=dict)
    _stretches: list[Stretch] = field(factory=list)
    _told: set[tuple[History, int]] = field(factory=set)
    _joins: dict[Member, RingId | None] = field(factory=dict)

    def judge(self, histories: Sequence[History], *, quiet: bool) -> None:
        """
        Read all logs.

        @param quiet: the run ended in quiet: who is alive has seen everything.
        """
        for history in histories:
            self._histories[history.member].append(history)
            self._sizes[history.member].append(self._attempts(history))
        readings = [self._read(history, quiet) for history in histories]
        if quiet:
            self._ending([reading for reading in readings if reading.history.alive])
        for stretch in self._stretches:
            self._tearing(stretch)
        self._together()
        self._symmetry()
        self._orders()

    def _attempts(self, history: History) -> list[int]:
        """
        The sizes of all that a client was about to send, by number.
        """
        sizes: list[int] = []
        for place, entry in enumerate(history.entries):
            if isinstance(entry, Sending):
                if entry.first != len(sizes):
                    self._blame("C4", "counts its own messages wrongly", history, place)
                sizes += [entry.size] * entry.count
        return sizes

    # One log.

    def _read(self, history: History, quiet: bool) -> Reading:
        reading = Reading(history, Stretch(history, None, 0))
        for place, entry in enumerate(history.entries):
            if reading.gone and isinstance(entry, Heard | Viewed):
                self._blame("C8", "told something after its own leave", history, place)
                break
            match entry:
                case Heard():
                    self._message(reading, place, entry)
                case Viewed():
                    self._view(reading, place, entry)
                case RingSeen():
                    self._ring(reading, place, entry)
                case Accepted():
                    reading.accepted += entry.count
                case Leaving():
                    reading.leaving = True
        end = len(history.entries)
        self._close(reading, end, _QUIET if quiet and history.alive else None)
        return reading

    def _message(self, reading: Reading, place: int, entry: Heard) -> None:
        history, sender = reading.history, entry.sender
        if reading.view is None:
            self._blame("C7", "got a message before it had joined", history, place)
            return
        if not entry.intact:
            self._blame("C4", "got a damaged message", history, place, of=sender)
        if sender not in reading.view:
            self._blame(
                "C3",
                "got a message of one who is not in its view",
                history,
                place,
                who=sender,
            )
        if reading.stages:
            self._blame(
                "C9",
                "got a message in the middle of a change of the ring",
                history,
                place,
            )
        if not any(
            entry.number < len(sizes) and sizes[entry.number] == entry.size
            for sizes in self._sizes.get(sender, ())
        ):
            self._blame("C4", "got what was not sent so", history, place, of=sender)
        self._inTurn(reading, place, entry)
        if sender == history.member:
            reading.own = entry.number + 1

    def _inTurn(self, reading: Reading, place: int, entry: Heard) -> None:
        last = reading.heard.get(entry.sender)
        reading.heard[entry.sender] = entry.number
        if last is None or entry.number == last + 1:
            return
        late = entry.number <= last
        self._blame(
            "C4" if late else "C5",
            "got a message twice, or in the wrong order"
            if late
            else "missed messages of one who was with it all the time",
            reading.history,
            place,
            of=entry.sender,
            number=entry.number,
            expected=last + 1,
        )

    # Views.

    def _view(self, reading: Reading, place: int, entry: Viewed) -> None:
        history, me = reading.history, reading.history.member
        joined = {change.member: change.reason for change in entry.joined}
        if reading.view is None:
            if joined.get(me) is not Reason.JOIN or me not in entry.members:
                self._blame(
                    "C1", "a first view that is not of its own join", history, place
                )
            reading.stretch.joined = True
            reading.stretch.start = place
        else:
            self._arithmetic(reading, place, entry)
            self._stage(reading, place, entry)
        reading.view = entry.members
        for change in entry.left:
            reading.heard.pop(change.member, None)
            self._departure(reading, place, change)
        for member, reason in joined.items():
            reading.heard.pop(member, None)
            if reason is Reason.JOIN:
                reading.heard[member] = -1
                self._joinSeen(member, reading.stretch.before)
            else:
                reading.gained.add(member)
        self._strangers(reading, place, joined)

    def _joinSeen(self, member: Member, ring: RingId | None) -> None:
        """
        Learn from others on which ring a client joined.  A second join under
        one name is of another process, later: then nothing is known.
        """
        if ring is not None and self._joins.setdefault(member, ring) != ring:
            self._joins[member] = None

    def _arithmetic(self, reading: Reading, place: int, entry: Viewed) -> None:
        old = reading.view or frozenset()
        left = {change.member for change in entry.left}
        joined = {change.member for change in entry.joined}
        if (
            entry.members != (old - left) | joined
            or not left <= old
            or joined & (old - left)
        ):
            self._blame(
                "C1",
                "a view is not the one before, without who left, with who joined",
                reading.history,
                place,
            )

    def _stage(self, reading: Reading, place: int, entry: Viewed) -> None:
        """
        A change of the ring: at most one view of who is lost with his node and
        who is gained; real corosync nodes show the two one after the other.
        """
        if not entry.reasons & _RING_REASONS:
            return
        stage, stages = max(entry.reasons), reading.stages
        if self._isForeign(reading.history):
            wrong = len(entry.reasons) > 1 or any(was >= stage for was in stages)
        else:
            wrong = bool(stages)
        if wrong:
            text = "views of a change of the ring in pieces, or out of order"
            self._blame("C9", text, reading.history, place)
        stages.append(stage)

    def _departure(self, reading: Reading, place: int, change: Change) -> None:
        history, who, reason = reading.history, change.member, change.reason
        if who == history.member:
            reading.gone = True
            if reason is not Reason.LEAVE:
                self._blame("C12", "its own node took it out", history, place)
            elif reading.own < reading.accepted:
                self._blame("C6", "left before what was accepted", history, place)
        if reason is Reason.NODEDOWN:
            return
        others = self._histories.get(who, [])
        if reason is Reason.LEAVE and not any(_asked(other) for other in others):
            self._blame("C8", "left without having asked", history, place, who=who)
        if reason is Reason.PROCDOWN and others and all(o.alive for o in others):
            self._blame("C8", "said to have ended, but lives", history, place, who=who)

    def _strangers(
        self, reading: Reading, place: int, joined: Iterable[Member]
    ) -> None:
        for member in joined:
            if member not in self._histories:
                self._blame(
                    "C11",
                    "sees a member that never was",
                    reading.history,
                    place,
                    who=member,
                )

    # Rings.

    def _ring(self, reading: Reading, place: int, entry: RingSeen) -> None:
        history, ringId = reading.history, entry.ringId
        if history.life.nodeid not in entry.members:
            self._blame("P2.0", "its node is not on its ring", history, place)
        members, other = self._rings.setdefault(ringId, (entry.members, history))
        if members != entry.members:
            self._blame(
                "P2.1", "one ring id, two lists of members", history, place, other
            )
        before = reading.stretch.before
        if before is not None and ringId.sequence <= before.sequence:
            self._blame("P2.6", "a ring sequence did not rise", history, place)
        self._close(reading, place, ringId)
        reading.stretch = Stretch(history, ringId, place)

    def _close(self, reading: Reading, place: int, after: RingId | None) -> None:
        stretch = reading.stretch
        stretch.stop, stretch.after = place, after
        stretch.survivors = (reading.view or frozenset()) - reading.gained
        reading.stages.clear()
        reading.gained.clear()
        if reading.view is not None:
            self._stretches.append(stretch)

    # In quiet.

    def _ending(self, readings: list[Reading]) -> None:
        """
        Everything accepted came back, and everybody sees who is there.
        """
        here = frozenset(reading.history.member for reading in readings)
        for reading in readings:
            place = len(reading.history.entries) - 1
            if reading.own < reading.accepted:
                self._blame(
                    "C6",
                    "never got back what was accepted",
                    reading.history,
                    place,
                    accepted=reading.accepted,
                    got=reading.own,
                )
            if reading.view != here:
                view = reading.view or frozenset()
                self._blame(
                    "C11",
                    "knows other members of the group than there are",
                    reading.history,
                    place,
                    missing=sorted(here - view),
                    ghosts=sorted(view - here),
                )

    # All logs.

    def _tearing(self, stretch: Stretch) -> None:
        """
        The first message of a foreign sender on a ring may have begun on the
        ring before.
        """
        ring = stretch.before
        if ring is None or stretch.joined:
            return
        seen: set[Member] = set()
        for _, entry in stretch.entries():
            if isinstance(entry, Heard) and entry.sender not in seen:
                seen.add(entry.sender)
                if entry.sender.nodeid in self.foreign:
                    self.torn[ring].add((entry.sender, entry.number))

    def _together(self) -> None:
        """
        Who went from one ring to the next together saw the same on the way;
        who joined on the way, the same from there on.
        """
        known: Known = {}
        for stretch in self._stretches:
            if stretch.after is None:
                continue
            end = (stretch.after, stretch.survivors)
            if stretch.before is not None and not stretch.joined:
                self._same(known, (stretch.before, *end), stretch, stretch.start)
            for place, entry in stretch.entries():
                for change in getattr(entry, "joined", ()):
                    if change.reason is Reason.JOIN:
                        self._same(known, (change.member, *end), stretch, place)
        for ours, theirs in known.values():
            if ours is not None and theirs is not None:
                self._compare(*ours, *theirs)

    def _same(self, known: Known, key: object, stretch: Stretch, since: int) -> None:
        """
        Compare with the first of its kind who was there.
        """
        kind = stretch.history.life.nodeid in self.foreign
        both = known.setdefault(key, [None, None])
        first = both[kind]
        if first is None:
            both[kind] = stretch, since
        elif first[0] is not stretch:
            self._compare(stretch, since, *first)

    def _compare(self, one: Stretch, since: int, other: Stretch, start: int) -> None:
        lost = self._discarded(one, other, start)
        lost |= self._discarded(other, one, since)
        for mine, theirs in zip_longest(
            self._whole(one, since, lost), self._whole(other, start, lost)
        ):
            if mine is None:
                self._parted(other, one, theirs, None)
            elif theirs is None or mine[1] != theirs[1]:
                self._parted(one, other, mine, theirs)
            else:
                continue
            return

    def _discarded(self, stretch: Stretch, other: Stretch, start: int) -> set[Number]:
        """
        What a foreign client lacks of foreign senders before the first message
        of each; another got it.
        """
        if not self._isForeign(stretch.history):
            return set()
        firsts: dict[Member, int] = {}
        for _, entry in stretch.entries():
            if isinstance(entry, Heard):
                firsts.setdefault(entry.sender, entry.number)
        torn = self.torn.get(self._ringOf(stretch) or _QUIET, ())
        lost = {
            (entry.sender, entry.number)
            for _, entry in other.entries(start)
            if isinstance(entry, Heard)
            and entry.sender.nodeid in self.foreign
            and entry.number < firsts.get(entry.sender, entry.number + 1)
        }
        lost -= set(torn)
        if lost:
            text = "discarded messages at the beginning of a ring"
            shown = [f"{m.nodeid}/{m.pid}:{n}" for m, n in sorted(lost)[:SHOWN]]
            details = {"count": len(lost), "lost": shown}
            self._once("C2", text, stretch.history, stretch.start, **details)
        return lost

    def _whole(
        self, stretch: Stretch, since: int, lost: set[Number]
    ) -> Iterator[tuple[int, Heard | Viewed]]:
        """
        What it saw, one reason after the other, but for what may be missing, or
        is known to be lost.
        """
        ring = self._ringOf(stretch)
        without = lost if ring is None else lost | self.torn.get(ring, set())
        for place, entry in stretch.entries(since):
            if isinstance(entry, Viewed):
                for piece in entry.pieces():
                    yield place, piece
            elif not without or _numberOf(entry) not in without:
                yield place, entry

    def _ringOf(self, stretch: Stretch) -> RingId | None:
        """
        Its ring, if anybody knows it.
        """
        ring = stretch.before
        return self._joins.get(stretch.history.member) if ring is None else ring

    def _parted(
        self,
        one: Stretch,
        other: Stretch,
        mine: tuple[int, Heard | Viewed],
        theirs: tuple[int, Heard | Viewed] | None,
    ) -> None:
        there = None if theirs is None else theirs[1]
        missed = _lacks(one, there) or _lacks(other, mine[1])
        details: dict[str, object] = {"before": one.before, "after": one.after}
        details |= {"here": mine[1], "there": there or "nothing"}
        pairs = [(one.history, mine[0])]
        pairs.append((other.history, other.stop if theirs is None else theirs[0]))
        strange = [pair for pair in pairs if self._isForeign(pair[0])]
        if not missed and len(strange) == 1:
            pairs = strange
        (history, place), *others = pairs
        them = [other for other, _ in others]
        self._once("C2", _PARTED, history, place, *them, **details)

    def _once(
        self,
        promise: str,
        text: str,
        history: History,
        place: int,
        *others: History,
        **details: object,
    ) -> None:
        """
        One difference may show in comparisons with several others.
        """
        if (history, place) not in self._told:
            self._told.add((history, place))
            self._blame(promise, text, history, place, *others, **details)

    def _isForeign(self, history: History) -> bool:
        return history.life.nodeid in self.foreign

    def _symmetry(self) -> None:
        """
        Who went on with me thinks that I went on with it.
        """
        ways: dict[tuple[Member, RingId, RingId], Stretch] = {}
        for stretch in self._stretches:
            if stretch.before is not None and stretch.after is not None:
                ways[stretch.history.member, stretch.before, stretch.after] = stretch
        for (member, before, after), stretch in ways.items():
            for other in sorted(stretch.survivors - {member}):
                theirs = ways.get((other, before, after))
                if theirs is None or member in theirs.survivors:
                    continue
                text = "thinks another went on with it, and that one does not"
                history, others = stretch.history, [theirs.history]
                if self._isForeign(history) != self._isForeign(theirs.history):
                    others = []
                    if self._isForeign(theirs.history):
                        history = theirs.history
                self._blame("C2", text, history, stretch.stop, *others)

    def _orders(self) -> None:
        """
        All orders of a ring fit into one.
        """
        rings: dict[RingId, list[Stretch]] = defaultdict(list)
        where: dict[Number, RingId] = {}
        for stretch in self._stretches:
            ring = self._ringOf(stretch)
            if ring is None:
                continue
            rings[ring].append(stretch)
            for place, entry in stretch.entries():
                if not isinstance(entry, Heard):
                    continue
                number = entry.sender, entry.number
                if where.setdefault(number, ring) != ring:
                    self._blame(
                        "P1.2",
                        "got a message on another ring than others",
                        stretch.history,
                        place,
                        here=ring,
                        there=where[number],
                    )
        for ring, stretches in rings.items():
            self._oneOrder(ring, stretches)

    def _oneOrder(self, ring: RingId, stretches: list[Stretch]) -> None:
        orders = [_numbers(stretch) for stretch in stretches]
        longest = max(orders, key=len)
        edges: dict[Number, set[Number]] = defaultdict(set)
        for order in orders:
            if order is longest or order != longest[: len(order)]:
                for one, next_ in pairwise(order):
                    edges[one].add(next_)
        stuck = _cycle(edges)
        if stuck:
            guilty = [
                stretch
                for stretch, order in zip(stretches, orders, strict=True)
                if stuck.intersection(order)
            ]
            first, *others = guilty
            place = next(
                place
                for place, entry in first.entries()
                if isinstance(entry, Heard) and (entry.sender, entry.number) in stuck
            )
            self._blame(
                "P6.1",
                "there is no one order of what they got",
                first.history,
                place,
                *(stretch.history for stretch in others),
                ring=ring,
                among=[f"{m.nodeid}/{m.pid}:{n}" for m, n in sorted(stuck)[:SHOWN]],
            )

    def _blame(
        self,
        promise: str,
        text: str,
        history: History,
        place: int,
        *others: History,
        **details: object,
    ) -> None:
        """
        @param place: the entry of C{history} where it shows.
        """
        lives = [history.life, *(other.life for other in others)]
        clients = [str(history), *map(str, others)]
        self.blame(promise, text, *lives, clients=clients, entry=place, **details)


def _asked(history: History) -> bool:
    return any(isinstance(entry, Leaving) for entry in history.entries)


def _lacks(stretch: Stretch, entry: Heard | Viewed | None) -> bool:
    """
    Is it a message that did not come at all?
    """
    if not isinstance(entry, Heard):
        return False
    return all(other != entry for _, other in stretch.entries())


def _numberOf(entry: Heard | Viewed) -> Number | None:
    return (entry.sender, entry.number) if isinstance(entry, Heard) else None


def _numbers(stretch: Stretch) -> list[Number]:
    return [
        (entry.sender, entry.number)
        for _, entry in stretch.entries()
        if isinstance(entry, Heard)
    ]


def _cycle(edges: dict[Number, set[Number]]) -> set[Number]:
    """
    What no sorting can bring into order: all that is on a cycle, or between
    two.
    """
    behind = _unsorted(edges)
    back: dict[Number, set[Number]] = defaultdict(set)
    for number in behind:
        for target in edges.get(number, ()):
            if target in behind:
                back[target].add(number)
    return _unsorted(back)


def _unsorted(edges: dict[Number, set[Number]]) -> set[Number]:
    """
    What is left when, again and again, all are taken away that nothing leads
    to.
    """
    waiting: dict[Number, int] = defaultdict(int)
    for targets in edges.values():
        for target in targets:
            waiting[target] += 1
    ready = [number for number in edges if not waiting[number]]
    while ready:
        for target in edges.get(ready.pop(), ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return {number for number, count in waiting.items() if count}
