"""
A failing run made smaller: fewer faults, deeds, pieces of work and nodes, and
a shorter time, while the same promise is still broken.

What is left to chance falls otherwise when something is left out, so not
everything that could be missing is found to be: the smallest plan that was
seen to fail is what one gets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import define, evolve, field, fields

from corotwist.simulator.faults import Faults
from corotwist.simulator.swarm.plan import DOWN, Deed, Plan, When, ended
from corotwist.simulator.swarm.run import Outcome

# Runs that are tried at most.
MOST_TRIES: Final = 400
# Messages become so small.
SMALL_MESSAGE: Final = 10
# Faults that end before this are not made to end sooner.
SHORTEST: Final = 0.5
# Nor are they when that would gain less: halves of halves have no end.
LEAST_GAIN: Final = 0.1

# What names one node in a deed, and what names several.
_NAMES: Final = frozenset({"nodeid", "source", "target"})
_LISTS: Final = frozenset({"out", "back"})


@define(eq=False)
class Shrinker:
    """
    Looks for a smaller plan.

    @ivar run: runs a plan.
    @ivar promise: what must still be broken.
    @ivar best: the smallest plan that breaks it so far.
    @ivar outcome: what came of that.
    @ivar tries: how many runs are left.
    @ivar tried: called after each of them.
    """

    run: Callable[[Plan], Outcome]
    best: Plan
    outcome: Outcome
    tries: int = MOST_TRIES
    tried: Callable[["Shrinker"], None] = lambda shrinker: None
    promise: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.promise = self.outcome.promise

    def shrink(self) -> Plan:
        """
        Until nothing more can be left out, or the tries are used up.
        """
        self.best = ended(self.best, self.outcome.at)
        before: Plan | None = None
        while self.best != before and self.tries:
            before = self.best
            for step in _STEPS:
                step(self)
        return self.best

    def attempt(self, plan: Plan) -> bool:
        """
        Does this one fail too?  It is the best then.
        """
        if not self.tries or plan == self.best:
            return False
        self.tries -= 1
        outcome = self.run(plan)
        fails = outcome.promise == self.promise
        if fails:
            self.best, self.outcome = ended(plan, outcome.at), outcome
        self.tried(self)
        return fails

    # Steps.

    def fewerDeeds(self) -> None:
        """
        Leave deeds out, many at once first.
        """
        self._fewer("deeds")

    def fewerPieces(self) -> None:
        """
        Likewise, of the work.
        """
        self._fewer("work")
        self._fewer("gated")

    def _fewer(self, name: str) -> None:
        """
        Delta debugging: leave out ever smaller parts of a list.
        """
        size = len(getattr(self.best, name))
        while size and self.tries:
            at = 0
            while at < len(getattr(self.best, name)):
                items: Sequence[Deed] = getattr(self.best, name)
                fewer = (*items[:at], *items[at + size :])
                if not self.attempt(_with(self.best, name, fewer)):
                    at += size
            size //= 2

    def fewerNodes(self) -> None:
        """
        Leave nodes out; those behind them move up.
        """
        for nodeid in range(self.best.size, 0, -1):
            if self.best.size > 1 and nodeid <= self.best.size:
                self.attempt(without(self.best, nodeid))

    def fewerFaults(self) -> None:
        """
        Let the network be whole, or at least as whole as may be.
        """
        whole = Faults()
        if self.attempt(evolve(self.best, faults=whole)):
            return
        for each in fields(Faults):
            value = getattr(whole, each.name)
            if getattr(self.best.faults, each.name) != value:
                faults = evolve(self.best.faults, **{each.name: value})
                self.attempt(evolve(self.best, faults=faults))

    def fewerOptions(self) -> None:
        """
        Nothing special about the cluster.
        """
        for change in _SIMPLE:
            self.attempt(evolve(self.best, **change))

    def simplerMoments(self) -> None:
        """
        Deeds at a time instead of waiting for something; small messages.
        """
        for name, simpler in (("deeds", _untriggered), ("work", _small)):
            items: tuple[Deed, ...] = getattr(self.best, name)
            for at, item in enumerate(items):
                if at >= len(getattr(self.best, name)):
                    break
                simple = simpler(item)
                if simple != item:
                    now: tuple[Deed, ...] = getattr(self.best, name)
                    changed = (*now[:at], simple, *now[at + 1 :])
                    self.attempt(_with(self.best, name, changed))

    def shorter(self) -> None:
        """
        Let the faults end sooner.
        """
        last = max(
            (deed.when.at for deed in (*self.best.deeds, *self.best.work)), default=0.0
        )
        for seconds in (last + SHORTEST, (last + self.best.seconds) / 2):
            if SHORTEST < seconds < self.best.seconds - LEAST_GAIN:
                self.attempt(evolve(self.best, seconds=seconds))


_STEPS: Final[Sequence[Callable[[Shrinker], None]]] = (
    Shrinker.fewerPieces,
    Shrinker.fewerDeeds,
    Shrinker.fewerFaults,
    Shrinker.fewerOptions,
    Shrinker.fewerNodes,
    Shrinker.shorter,
    Shrinker.simplerMoments,
)

_SIMPLE: Final[Sequence[Mapping[str, Any]]] = (
    {"sealed": False},
    {"core": ()},
    {"outside": DOWN},
    {"timing": {}},
    {"quorum": {}},
    {"permute": False},
    {"drift": 0.0},
    {"syncSeconds": 0.0005},
    {"firstSequence": 0, "firstTokenSequence": 0},
)


def _with(plan: Plan, name: str, deeds: tuple[Deed, ...]) -> Plan:
    changed: dict[str, Any] = {name: deeds}
    return evolve(plan, **changed)


def without(plan: Plan, nodeid: int) -> Plan:
    """
    The plan for one node less: what was to be done to it is not, and nodes
    behind it move up.
    """
    core = tuple(_moved(n, nodeid) for n in plan.core if n != nodeid)
    return evolve(
        plan,
        size=plan.size - 1,
        deeds=tuple(_deedsWithout(plan.deeds, nodeid)),
        work=tuple(_deedsWithout(plan.work, nodeid)),
        gated=tuple(_deedsWithout(plan.gated, nodeid)),
        core=core,
    )


def _moved(n: int, nodeid: int) -> int:
    return n - 1 if n > nodeid else n


def _deedsWithout(deeds: Sequence[Deed], nodeid: int) -> Iterator[Deed]:
    for deed in deeds:
        arguments = dict(deed.arguments)
        if nodeid in {deed.when.nodeid, *(arguments.get(name) for name in _NAMES)}:
            continue
        for name in _NAMES & arguments.keys():
            arguments[name] = _moved(arguments[name], nodeid)
        for name in _LISTS & arguments.keys():
            arguments[name] = [
                _moved(n, nodeid) for n in arguments[name] if n != nodeid
            ]
        if "sides" in arguments:
            sides = [
                [_moved(n, nodeid) for n in side if n != nodeid]
                for side in arguments["sides"]
            ]
            arguments["sides"] = [side for side in sides if side]
        when = evolve(deed.when, nodeid=_moved(deed.when.nodeid, nodeid))
        yield Deed(deed.verb, when, arguments)


def _untriggered(deed: Deed) -> Deed:
    return evolve(deed, when=When(deed.when.at))


def _small(deed: Deed) -> Deed:
    arguments = dict(deed.arguments)
    if "size" in arguments:
        arguments["size"] = min(arguments["size"], SMALL_MESSAGE)
    if "sizes" in arguments:
        arguments["sizes"] = [min(size, SMALL_MESSAGE) for size in arguments["sizes"]][
            :1
        ]
    return evolve(deed, arguments=arguments)
