"""
Votes, modelled naively: whole clusters that part and meet, and nothing of the
production code.

The rules of corosync 3.1.7 are here in two forms: plain, as it has them, and
safe, with what nodes remember of who could act.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from random import Random
from typing import Final

from attrs import define, evolve, field, frozen

Part = tuple[int, ...]

# In a random story, of what usually happens.
PROBABLE: Final = 0.6


@frozen
class Options:
    """
    How all nodes are configured.

    @ivar tie: C{""}, C{"lowest"} or C{"highest"}.
    @ivar safe: do they remember?
    """

    wait: bool = False
    tie: str = ""
    lastMan: bool = False
    safe: bool = True

    @property
    def dynamic(self) -> bool:
        return self.lastMan or bool(self.tie)

    def decider(self, nodes: Iterable[int]) -> int:
        found = list(nodes)
        if not self.tie or not found:
            return 0
        return min(found) if self.tie == "lowest" else max(found)


@frozen
class Electorate:
    """
    Who decides: everybody's votes, how many there are, whose half wins.
    """

    epoch: int
    expected: int
    votes: tuple[tuple[int, int], ...]
    tie: int

    def agrees(self, part: Part) -> bool:
        whole = max(self.expected, sum(v for _, v in self.votes))
        there = sum(v for n, v in self.votes if n in part)
        return there > whole - there or (there == whole - there and self.tie in part)


@frozen
class State:
    """
    One node between two meetings.

    @ivar last: who could act without a tie breaker when it last could.
    """

    expected: int
    waits: bool
    quorate: bool = False
    formed: Electorate | None = None
    open: frozenset[Electorate] = frozenset()
    last: Part = ()


World = tuple[State, ...]


@define
class Model:
    """
    A cluster of nodes 1 to n.

    @ivar votes: by nodeid.
    """

    votes: Mapping[int, int]
    options: Options
    expected: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.expected = sum(self.votes.values())

    def start(self) -> World:
        """
        Everybody has just started, alone.
        """
        return tuple(self.fresh() for _ in self.votes)

    def fresh(self) -> State:
        """
        A node whose disk is empty.
        """
        return State(self.expected, self.options.wait)

    def restarted(self, world: World, nodeid: int) -> World:
        """
        One crashed: what it wrote down is all it knows.
        """
        old = world[nodeid - 1]
        new = evolve(self.fresh(), formed=old.formed, open=old.open)
        return (*world[: nodeid - 1], new, *world[nodeid:])

    # Meeting.

    def meet(
        self,
        world: World,
        parts: Iterable[Part],
        *,
        shrink: bool = False,
        wrote: frozenset[int] | None = None,
        heard: frozenset[int] | None = None,
    ) -> World:
        """
        Each part becomes a ring, and stays long enough for everything.

        @param shrink: longer than the window of last_man_standing.
        @param wrote: who gets to write another electorate down; else all.
        @param heard: who hears that all have, if they have; else all.
        """
        states = dict(enumerate(world, 1))
        for part in parts:
            self._judge(states, part)
            self._settle(states, part, wrote, heard)
            if shrink and self.options.lastMan:
                self._shrink(states, part, wrote, heard)
        return _ranked(tuple(states[n] for n in sorted(states)))

    def _judge(self, states: dict[int, State], part: Part) -> None:
        there = [states[n] for n in part]
        acting = [s.expected for s in there if s.quorate]
        expected = max(acting or [s.expected for s in there])
        total = sum(self.votes[n] for n in part)
        expected = max(expected, total)
        waits = self.options.wait and not acting
        quorate = total > expected - total
        plain = quorate
        if not quorate and total and total == expected - total:
            quorate = any(self._decider(states[n], n) in part for n in part)
        if waits and total != expected:
            quorate = False
        known = self._together(there)
        if self.options.safe:
            quorate = quorate and all(e.agrees(part) for e in self._judges(known))
        for n in part:
            states[n] = evolve(
                known if self.options.safe else states[n],
                expected=expected,
                quorate=quorate,
                waits=self.options.wait and not quorate,
                last=part if quorate and plain else states[n].last,
            )

    def _decider(self, state: State, nodeid: int) -> int:
        if self.options.safe:
            tie = None if state.formed is None else state.formed.tie
            return self.options.decider(self.votes) if tie is None else tie
        return self.options.decider(state.last or self.votes)

    def _together(self, states: Iterable[State]) -> State:
        """
        What they all know.
        """
        found = list(states)
        formed = [s.formed for s in found if s.formed is not None]
        newest = max(formed, key=lambda e: e.epoch, default=None)
        after = 0 if newest is None else newest.epoch
        open_ = {e for s in found for e in s.open if e.epoch > after}
        return State(0, False, False, newest, frozenset(open_))

    def _judges(self, state: State) -> list[Electorate]:
        formed = [] if state.formed is None else [state.formed]
        return [*formed, *state.open]

    # Another electorate.

    def _settle(
        self,
        states: dict[int, State],
        part: Part,
        wrote: frozenset[int] | None,
        heard: frozenset[int] | None,
    ) -> None:
        one = states[part[0]]
        if self.options.safe and self.options.dynamic and one.quorate:
            self._form(states, part, one.expected, wrote, heard)

    def _shrink(
        self,
        states: dict[int, State],
        part: Part,
        wrote: frozenset[int] | None,
        heard: frozenset[int] | None,
    ) -> None:
        one, total = states[part[0]], sum(self.votes[n] for n in part)
        single = all(self.votes[n] <= 1 for n in part)
        if not one.quorate or not single or total >= one.expected:
            return
        if not self.options.safe or self._form(states, part, total, wrote, heard):
            for n in part:
                if heard is None or n in heard or not self.options.safe:
                    states[n] = evolve(states[n], expected=total)

    def _form(
        self,
        states: dict[int, State],
        part: Part,
        expected: int,
        wrote: frozenset[int] | None,
        heard: frozenset[int] | None,
    ) -> bool:
        """
        @return: has everybody written it down?
        """
        one = states[part[0]]
        there = {n: self.votes[n] for n in part}
        total = sum(there.values())
        if total < expected:
            there = {**(dict(one.formed.votes) if one.formed else self.votes), **there}
        tie = self._decider(one, part[0])
        if total > expected - total or tie not in there:
            tie = self.options.decider(part)
        known = self._together([states[n] for n in part])
        epoch = max([0, *(e.epoch for e in self._judges(known))]) + 1
        new = Electorate(epoch, expected, tuple(sorted(there.items())), tie)
        writers = set(part) if wrote is None else wrote & set(part)
        for n in writers:
            states[n] = evolve(states[n], open=states[n].open | {new})
        if writers != set(part):
            return False
        for n in part:
            if heard is None or n in heard:
                states[n] = evolve(states[n], formed=new, open=frozenset())
        return True

    # Who may act.

    def acting(self, world: World, parts: Iterable[Part]) -> list[Part]:
        """
        The parts whose members may.
        """
        return [part for part in parts if any(world[n - 1].quorate for n in part)]


def _ranked(world: World) -> World:
    """
    The same with the smallest epochs: only their order matters.
    """
    formed = {s.formed.epoch for s in world if s.formed is not None}
    epochs = formed | {one.epoch for s in world for one in s.open}
    rank = {epoch: n for n, epoch in enumerate(sorted(epochs), 1)}
    if all(epoch == n for epoch, n in rank.items()):
        return world

    def ranked(one: Electorate) -> Electorate:
        return evolve(one, epoch=rank[one.epoch])

    return tuple(
        evolve(
            s,
            formed=ranked(s.formed) if s.formed else None,
            open=frozenset(map(ranked, s.open)),
        )
        for s in world
    )


def partitions(nodes: Part) -> Iterator[tuple[Part, ...]]:
    """
    All ways to part them.
    """
    if not nodes:
        yield ()
        return
    first, *rest = nodes
    for smaller in partitions(tuple(rest)):
        yield ((first,), *smaller)
        for at, part in enumerate(smaller):
            yield (*smaller[:at], (first, *part), *smaller[at + 1 :])


def everyOptions(*, safe: bool) -> list[Options]:
    """
    Every combination.
    """
    return [
        Options(wait, tie, lastMan, safe)
        for wait, tie, lastMan in product(
            (False, True), ("", "lowest", "highest"), (False, True)
        )
    ]


def walk(model: Model, random: Random, steps: int) -> tuple[tuple[Part, ...], ...]:
    """
    A random story, with rings that end before everybody has written down, or
    heard, what was agreed on, and with nodes that crash.

    @return: the partitions up to one with two parts that may act, if there is
        one; else nothing.
    """
    nodes = tuple(model.votes)
    world, path = model.start(), []
    for _ in range(steps):
        sides = [random.randrange(len(nodes)) for _ in nodes]
        parts = tuple(
            tuple(n for n, s in zip(nodes, sides, strict=True) if s == side)
            for side in sorted(set(sides))
        )
        some = [
            frozenset(n for n in nodes if random.random() < PROBABLE) for _ in range(2)
        ]
        wrote, heard = (None if random.random() < PROBABLE else who for who in some)
        shrink = model.options.lastMan and random.random() < PROBABLE
        world = model.meet(world, parts, shrink=shrink, wrote=wrote, heard=heard)
        path.append(parts)
        if len(model.acting(world, parts)) > 1:
            return tuple(path)
        if random.random() > PROBABLE:
            world = model.restarted(world, random.choice(nodes))
    return ()


def violations(model: Model, length: int) -> list[tuple[tuple[Part, ...], ...]]:
    """
    Sequences of partitions, up to C{length}, after which two parts may act: the
    first one that is found for each world.
    """
    ways = [tuple(tuple(sorted(p)) for p in w) for w in partitions(tuple(model.votes))]
    shrinks = (False, True) if model.options.lastMan else (False,)
    found = []
    worlds: dict[World, tuple[tuple[Part, ...], ...]] = {model.start(): ()}
    seen = set(worlds)
    for _ in range(length):
        after: dict[World, tuple[tuple[Part, ...], ...]] = {}
        for world, path in worlds.items():
            for parts in ways:
                for shrink in shrinks:
                    next_ = model.meet(world, parts, shrink=shrink)
                    if len(model.acting(next_, parts)) > 1:
                        found.append((*path, parts))
                    if next_ not in seen:
                        seen.add(next_)
                        after[next_] = (*path, parts)
        worlds = after
    return found
