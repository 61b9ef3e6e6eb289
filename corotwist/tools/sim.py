"""
C{corotwist sim}: clusters that live through anything, thousands of them, until
one breaks a promise; and what can be done with that one then.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import IO, Any, Final

from attrs import define
from twisted.python.usage import UsageError

from corotwist.errors import CorotwistError
from corotwist.options import Options
from corotwist.simulator.diagram import page
from corotwist.simulator.swarm.draw import MOST_SIZE, draw
from corotwist.simulator.swarm.plan import Plan
from corotwist.simulator.swarm.run import Outcome, outcome, replayOf
from corotwist.simulator.swarm.shrink import MOST_TRIES, Shrinker
from corotwist.tools import simrates, simring
from corotwist.tools.asking import envelope
from corotwist.tools.simruns import Tally, Task, factoryOf, perform, performAll, swarmOf

FAILED: Final = 1
WRONG_USE: Final = 2
DEFAULT_SEEDS: Final = 200
DEFAULT_JOBS: Final = 2
MOST_JOBS: Final = 256
LARGEST_CLUSTER: Final = 128
# A terminal sees a bar that moves, anybody else a line now and then.
REDRAW_SECONDS: Final = 0.2
LINE_SECONDS: Final = 10.0
BAR_WIDTH: Final = 24


def _number(name: str, least: int, most: int) -> Any:
    """
    How to read a number.  Twisted would not say which option a L{ValueError}
    is about.
    """

    def number(text: str) -> int:
        if text.isdecimal() and least <= int(text) <= most:
            return int(text)
        raise UsageError(f"--{name} is a number from {least} to {most}")

    return number


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < float("inf"):
        raise UsageError("--minutes is a number above 0")
    return minutes


class SimOptions(Options):
    """
    What C{corotwist sim} understands.
    """

    synopsis = "Usage: corotwist sim [options]"
    longdesc = (
        "Run whole clusters on virtual time, each with faults drawn from a seed,"
        " and say which promise was broken, if any. The same seed is the same run."
        " Ends with 0 when all promises were kept, 1 when one was broken, and 2"
        " when the command line is wrong."
    )
    optFlags = [
        ["services", None, "only whole nodes, with clients of process groups"],
        ["rings", None, "only a small application on the ring"],
        ["keep-going", "k", "go on after a broken promise"],
        ["shrink", None, "make a failing run smaller, and save it"],
        ["rates", None, "measure how fast the simulator is, and say how it should be"],
        ["json", None, "print what was found as JSON"],
    ]
    optParameters = [
        ["seeds", "n", None, "how many seeds", _number("seeds", 1, 10**9)],
        ["first", None, 0, "the first seed", _number("first", 0, 2**63)],
        [
            "jobs",
            "j",
            DEFAULT_JOBS,
            "how many processes",
            _number("jobs", 1, MOST_JOBS),
        ],
        [
            *("nodes", None, MOST_SIZE, "how many nodes a cluster has at most"),
            _number("nodes", 1, LARGEST_CLUSTER),
        ],
        ["minutes", "m", None, "go on for so long", _minutes],
        ["seed", "s", None, "repeat the run of one seed", _number("seed", 0, 2**63)],
        ["story", None, None, "run a plan that was saved in a file"],
        ["save", None, None, "write the plan of --seed or --shrink to this file"],
        ["diagram", None, None, "draw the run that failed, or --seed, as a page"],
        [
            *("plan", None, None),
            "your own runs: module:name of a kind of Swarm; whole nodes unless --rings",
        ],
        [
            *("ring", None, None, "rings of 2, 4, 8 … so many nodes: time and traffic"),
            _number("ring", 2, LARGEST_CLUSTER),
        ],
    ]

    def postOptions(self) -> None:
        if self["services"] and self["rings"]:
            raise UsageError("--services and --rings are both kinds of runs: name one")
        if self["story"] and self["seed"] is not None:
            raise UsageError("--story and --seed both say which run: name one")
        one = self["story"] or self["seed"] is not None
        if one and (self["seeds"] or self["minutes"]):
            raise UsageError("--seeds and --minutes are for many runs, not for one")
        two = self["seed"] is not None and len(self.kinds) > 1
        if two and (self["save"] or self["diagram"]):
            raise UsageError(
                "--seed is a run of --rings and one of --services, and one of them can"
                " be written to a file: name it"
            )

    @property
    def kinds(self) -> tuple[bool, ...]:
        """
        Of whole nodes?
        """
        if self["rings"]:
            return (False,)
        # Who brings runs of his own has a service to test.
        return (True,) if self["services"] or self["plan"] else (False, True)

    def replay(self, seed: int, *, services: bool) -> str:
        """
        The command that repeats the run of a seed.
        """
        return replayOf(seed, self["nodes"], self["plan"] or "", services=services)

    def retell(self, path: str) -> str:
        """
        The command that repeats a run that was saved.
        """
        own = f" --plan {self['plan']}" if self["plan"] else ""
        return f"corotwist sim --story {quote(path)}{own}"


def run(argv: Sequence[str]) -> int:
    """
    Run clusters.

    @param argv: what follows C{sim} on the command line.
    @return: 0, 1 for a broken promise, 2 for a wrong command line.
    """
    options = SimOptions()
    try:
        options.parseOptions(list(argv))
        if options["plan"]:
            _lookHere()
            factoryOf(options["plan"])
        return _command(options)
    except (UsageError, CorotwistError) as error:
        print(f"corotwist sim: {error}", file=sys.stderr)
        return WRONG_USE
    except OSError as error:
        print(f"corotwist sim: {error.filename}: {error.strerror}", file=sys.stderr)
        return WRONG_USE


def _lookHere() -> None:
    """
    Runs of one's own are mostly in the directory where one is, and a command
    that is installed does not look there.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _command(options: SimOptions) -> int:
    if options["rates"]:
        return simrates.run(asJson=options["json"])
    if options["ring"]:
        return simring.run(options["ring"], asJson=options["json"])
    if options["story"]:
        plan = Plan.fromJson(Path(options["story"]).read_text("utf-8"))
        return _one(options, plan)
    if options["seed"] is not None:
        return max(
            _one(options, draw(options["seed"], options["nodes"], services=services))
            for services in options.kinds
        )
    return _many(options)


# One run.


def _one(options: SimOptions, plan: Plan) -> int:
    """
    Repeat a run, and do with it what was asked for.
    """
    if not options["json"]:
        print(plan)
    if options["save"] and not options["shrink"]:
        Path(options["save"]).write_text(plan.toJson(), "utf-8")
    came = outcome(swarmOf(_taskOf(options, plan)))
    if came.promise and options["shrink"]:
        plan, came = _shrunk(options, plan, came)
    if options["diagram"]:
        _draw(options, plan)
    _tell(options, [came], plan)
    return FAILED if came.promise else 0


def _taskOf(options: SimOptions, plan: Plan, *, keepTrace: bool = False) -> Task:
    return Task(
        plan.seed,
        plan.services,
        options["nodes"],
        plan=plan,
        keepTrace=keepTrace,
        factory=options["plan"] or "",
        replay=options.retell(options["story"]) if options["story"] else "",
    )


def _draw(options: SimOptions, plan: Plan) -> None:
    swarm = swarmOf(_taskOf(options, plan, keepTrace=True))
    outcome(swarm)
    path = Path(options["diagram"])
    path.write_text(page(swarm.cluster, str(plan)), "utf-8")
    if not options["json"]:
        print(f"drawn in {path}")


def _shrunk(options: SimOptions, plan: Plan, came: Outcome) -> tuple[Plan, Outcome]:
    """
    A smaller plan that fails in the same way, in a file, and how it fails.
    """
    quiet = options["json"]
    bar = Bar(sys.stderr if quiet else sys.stdout)

    def tried(shrinker: Shrinker) -> None:
        best = shrinker.best
        bar.show(
            1 - shrinker.tries / MOST_TRIES,
            f"{best.size} nodes, {len(best.deeds)} deeds, {len(best.work)} pieces of"
            f" work, {best.seconds:.1f} s; {shrinker.tries} tries left",
        )

    def again(smaller: Plan) -> Outcome:
        return perform(_taskOf(options, smaller))

    shrinker = Shrinker(again, plan, came, tried=tried)
    with suppress(KeyboardInterrupt):
        shrinker.shrink()
    bar.end()
    kind = "services" if plan.services else "rings"
    path = Path(options["save"] or f"sim-{kind}-{plan.seed}.json")
    path.write_text(shrinker.best.toJson(), "utf-8")
    if not quiet:
        print(f"the smallest run that still breaks {came.promise}: {shrinker.best}")
        for deed in shrinker.best.deeds:
            print(f"  {deed}")
        print(f"saved; run it again with: {options.retell(str(path))}\n")
    options["story"] = str(path)  # From here on this is the run.
    return shrinker.best, perform(_taskOf(options, shrinker.best))


def _tell(options: SimOptions, outcomes: Sequence[Outcome], plan: Plan) -> None:
    if options["json"]:
        tally = Tally()
        for each in outcomes:
            tally.add(each)
        print(json.dumps(envelope("sim", **tally.summary())))
        return
    for came in outcomes:
        if came.promise:
            print(came.text)
        else:
            print(
                f"all promises were kept: {sum(came.done.values())} faults and"
                f" {came.installs} configurations in {came.at:.1f} s of virtual time,"
                f" {came.busySeconds:.2f} s of a core"
            )


# Many runs.


def _many(options: SimOptions) -> int:
    """
    Run seed after seed.
    """
    tally = Tally()
    goal = _goal(options)
    bar = Bar(sys.stderr if options["json"] else sys.stdout)
    interrupted = False
    try:
        outcomes = performAll(_tasks(options), options["jobs"])
        for came in outcomes:
            tally.add(came)
            bar.show(_part(options, tally, goal), _progress(options, tally, goal))
            if came.promise:
                bar.end()
                print(f"{came.text}\n", file=bar.out, flush=True)
                if not options["keep-going"]:
                    break
        outcomes.close()
    except KeyboardInterrupt:
        interrupted = True
    bar.end()
    if options["json"]:
        shown = envelope("sim", **tally.summary(), interrupted=interrupted)
        print(json.dumps(shown))
    else:
        _report(options, tally, interrupted=interrupted)
    if tally.failures and (options["shrink"] or options["diagram"]):
        _afterwards(options, tally.failures[0])
    return FAILED if tally.failures else 0


def _goal(options: SimOptions) -> int:
    """
    How many runs there will be; 0 when the clock decides.
    """
    if options["minutes"] and not options["seeds"]:
        return 0
    return (options["seeds"] or DEFAULT_SEEDS) * len(options.kinds)


def _tasks(options: SimOptions) -> Iterator[Task]:
    seeds = _goal(options) // len(options.kinds)
    first = options["first"]
    end = perf_counter() + (options["minutes"] or float("inf")) * 60
    for seed in range(first, first + seeds) if seeds else count(first):
        for services in options.kinds:
            if perf_counter() > end:
                return
            yield Task(seed, services, options["nodes"], factory=options["plan"] or "")


def _part(options: SimOptions, tally: Tally, goal: int) -> float:
    parts = [tally.runs / goal] if goal else []
    if options["minutes"]:
        parts.append(tally.seconds / 60 / options["minutes"])
    return max(parts)


def _progress(options: SimOptions, tally: Tally, goal: int) -> str:
    part = _part(options, tally, goal)
    rest = tally.seconds * (1 - min(part, 1.0)) / part if part > 0 else 0.0
    rate = tally.runs / max(tally.seconds, 1e-9) * 60
    broken = len(tally.failures)
    return (
        f"{tally.runs}{f'/{goal}' if goal else ''} runs, {rate:.0f} a minute,"
        f" {tally.virtualSeconds / 60:.0f} min of clusters' lives,"
        f" {broken} broken promise{'' if broken == 1 else 's'},"
        f" {rest:.0f} s to go"
    )


def _report(options: SimOptions, tally: Tally, *, interrupted: bool) -> None:
    summary = tally.summary()
    seen = "interrupted; so far " if interrupted else ""
    verdict = (
        "every promise was kept"
        if not tally.failures
        else f"{len(tally.failures)} runs broke a promise"
    )
    print(
        f"{seen}{tally.runs} runs, {summary['virtualHours']:.2f} hours of clusters'"
        f" lives in {tally.seconds:.0f} s: {verdict}"
    )
    print(
        f"  an hour of faults: {summary['faultsPerHour']:.0f} faults;"
        f" an hour: {summary['installsPerHour']:.0f} configurations installed"
    )
    print(
        f"  {summary['eventsPerSecond']:.0f} events a second and process,"
        f" {summary['runsPerMinute']:.0f} runs a minute"
    )
    for came in tally.failures:
        kind = "services" if came.services else "rings"
        print(
            f"  seed {came.seed}, {kind}, broke {came.promise}: make it smaller and"
            f" draw it with: {options.replay(came.seed, services=came.services)}"
            f" --shrink --diagram run.html"
        )


def _afterwards(options: SimOptions, came: Outcome) -> None:
    """
    With the first run that failed.
    """
    plan = draw(came.seed, options["nodes"], services=came.services)
    if options["shrink"]:
        plan, came = _shrunk(options, plan, came)
    if options["diagram"]:
        _draw(options, plan)
    if options["shrink"] and not options["json"]:
        print(came.text)


@define(eq=False)
class Bar:
    """
    Progress: a bar on a terminal, lines elsewhere.
    """

    out: IO[str]
    _last: float = float("-inf")
    _drawn: bool = False

    def show(self, part: float, text: str) -> None:
        """
        So much is done.
        """
        terminal = self.out.isatty()
        now = perf_counter()
        if now - self._last < (REDRAW_SECONDS if terminal else LINE_SECONDS):
            return
        self._last = now
        if terminal:
            full = round(min(part, 1.0) * BAR_WIDTH)
            bar = "█" * full + "░" * (BAR_WIDTH - full)
            self.out.write(f"\r\x1b[K{bar} {text}")
            self._drawn = True
        else:
            self.out.write(f"{text}\n")
        self.out.flush()

    def end(self) -> None:
        """
        Nothing more to show.
        """
        if self._drawn:
            self.out.write("\r\x1b[K")
            self.out.flush()
            self._drawn = False
