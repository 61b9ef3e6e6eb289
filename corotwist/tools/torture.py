"""
C{corotwist torture}: real daemons under kills, pauses and a network that
fails, and the judges of simulated runs over what they and their clients wrote
down.
"""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

from twisted.python import usage

from corotwist.options import Options
from corotwist.tools.lab import LARGEST, LabFailed, missing
from corotwist.tools.tortureground import Ground, Loopback, Namespaces
from corotwist.tools.tortureplan import FAULTS, storms
from corotwist.tools.torturerun import Torture
from corotwist.tools.torturestory import Story
from corotwist.tools.tortureverdict import judge

WRONG: Final = 2
TOKEN_MS: Final = 1000
MOST_MINUTES: Final = 24 * 60.0
FEWEST_MINUTES: Final = 0.05
# Beyond the time asked for: to come up, to settle, to stop.
EXTRA_SECONDS: Final = 600.0
SEEDS: Final = 1_000_000


class TortureOptions(Options):
    """
    What C{corotwist torture} understands.
    """

    synopsis = "Usage: corotwist torture [--minutes 10] [--nodes 5] [--corosync 0]"
    longdesc = (
        "Run real daemons with clients on every node; kill, stop, pause and restart"
        " them, lose their disks, cut their network; then judge what all of them"
        " wrote down. As root in namespaces of its own making, else on loopback"
        " behind relays. Exits with 0 when every promise was kept, 1 when not, 2"
        " when it cannot run."
    )
    optParameters = [
        ["minutes", "m", 10.0, "For how long.", float],
        ["nodes", "n", 5, "How many, real corosync nodes included.", int],
        ["corosync", "c", 0, "How many of them run corosync itself.", int],
        ["seed", "s", None, "Of the schedule of faults; drawn when not given.", int],
        ["faults", "f", ",".join(FAULTS), "Which kinds, with commas in between."],
        ["token", "t", TOKEN_MS, "The token timeout in milliseconds.", int],
        ["report", "r", None, "Keep report, records and logs in this new directory."],
        ["judge", "j", None, "Run nothing: judge what is in this directory again."],
    ]
    optFlags = [
        ["namespaces", None, "In namespaces, or not at all."],
        ["loopback", None, "On loopback, also as root."],
    ]

    def postOptions(self) -> None:
        """
        Refuse what makes no sense before anything runs.
        """
        self._between("minutes", FEWEST_MINUTES, MOST_MINUTES)
        self._between("nodes", 1, LARGEST)
        self._between("corosync", 0, self["nodes"] - 1)
        self._between("token", 100, 60_000)
        self["faults"] = [kind for kind in self["faults"].split(",") if kind]
        for kind in self["faults"]:
            if kind not in FAULTS:
                raise usage.UsageError(f"no fault {kind!r}: {', '.join(FAULTS)}")
        if self["namespaces"] and self["loopback"]:
            raise usage.UsageError("--namespaces or --loopback, not both")
        if self["corosync"] and self["loopback"]:
            raise usage.UsageError("corosync nodes need namespaces, and root")

    def _between(self, option: str, low: float, high: float) -> None:
        if not low <= self[option] <= high:
            raise usage.UsageError(f"--{option} is {low:g} to {high:g}")


def run(argv: Sequence[str]) -> int:
    """
    Torture, and judge.

    @param argv: what follows C{torture} on the command line.
    @return: 0 when every promise was kept, 1 when not, 2 when it cannot run.
    """
    options = TortureOptions()
    try:
        options.parseOptions(list(argv))
        if options["judge"] is not None:
            return _judgeAgain(options["judge"])
        directory = _directory(options["report"])
    except (usage.UsageError, OSError) as error:
        print(f"corotwist torture: {error}", file=sys.stderr)
        return WRONG
    seed = options["seed"]
    if seed is None:
        seed = SystemRandom().randrange(SEEDS)
    try:
        ground = _ground(options, seed)
    except (LabFailed, OSError) as error:
        directory.rmdir()
        print(f"corotwist torture: {error}", file=sys.stderr)
        return WRONG
    return _torture(ground, options, seed, directory)


def _directory(asked: str | None) -> Path:
    if asked is None:
        return Path(tempfile.mkdtemp(prefix="corotwist-torture-"))
    directory = Path(asked)
    directory.mkdir(parents=True)
    return directory.resolve()


def _ground(options: TortureOptions, seed: int) -> Ground:
    """
    In namespaces when that can be.

    @raise LabFailed: when it was asked for, and cannot be.
    """
    size, real = options["nodes"], options["corosync"]
    problems = [] if options["loopback"] else missing(real > 0)
    must = options["namespaces"] or real
    if must and problems:
        raise LabFailed(f"no namespaces here: {'; '.join(problems)}")
    if options["loopback"] or problems:
        for problem in problems:
            print(f"On loopback: {problem}")
        return Loopback.build(size, options["token"], Random(seed))
    seconds = options["minutes"] * 60 + EXTRA_SECONDS
    foreign = range(size - real + 1, size + 1)
    return Namespaces.build(size, foreign, options["token"], seconds)


def _torture(
    ground: Ground, options: TortureOptions, seed: int, directory: Path
) -> int:
    title = _title(ground, options, seed)
    print("\n".join(title), flush=True)
    faults = options["faults"]
    torture = Torture(
        ground,
        storms(seed, ground.nodes, ground.ours, faults),
        options["token"] / 1000,
        directory,
        Random(f"load {seed}"),
        time.monotonic_ns,
        time.sleep,
        lambda line: print(line, flush=True),
    )
    # Who is terminated cleans up, too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        torture.run(options["minutes"] * 60)
        story = torture.story(title)
        _collect(ground, story, directory)
    finally:
        signal.signal(signal.SIGTERM, before)
        ground.down()
    story.save(directory)
    verdict = judge(directory)
    (directory / "report.txt").write_text(str(verdict))
    print(f"\n{verdict}")
    if verdict.status or options["report"]:
        print(f"Records and logs are in {directory}")
    else:
        shutil.rmtree(directory)
    return verdict.status


def _title(ground: Ground, options: TortureOptions, seed: int) -> list[str]:
    size, real = options["nodes"], options["corosync"]
    kind = type(ground).__name__.lower()
    who = f"{size - real} corotwist nodes" + (f", {real} corosync" if real else "")
    again = f"corotwist torture --seed {seed} --nodes {size} --corosync {real}"
    how = f"{kind}; {options['minutes']:g} minutes; token {options['token']} ms"
    return [
        f"{who}; {how}; seed {seed}",
        f"The same faults at the same times, not the same run: {again}",
    ]


def _collect(ground: Ground, story: Story, directory: Path) -> None:
    """
    Save records and logs from what is about to be removed.
    """
    for node in ground.nodes:
        (directory / f"node{node}.log").write_text(ground.log(node))
        if node in ground.ours:
            shutil.move(ground.record(node), directory / story.record(node))


def _judgeAgain(directory: str) -> int:
    try:
        verdict = judge(Path(directory))
    except (OSError, ValueError) as error:
        print(f"corotwist torture: {error}", file=sys.stderr)
        return WRONG
    print(verdict)
    return verdict.status
