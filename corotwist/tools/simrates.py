"""
C{corotwist sim --rates}: how fast the simulator is, beside how it must be.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from time import process_time
from typing import Any, Final

from attrs import asdict, frozen

from corotwist.simulator.cluster import Cluster
from corotwist.simulator.faults import Faults
from corotwist.simulator.judges.evs import EvsJudge
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.swarm.run import KEY, Swarm, outcome
from corotwist.tools.asking import envelope
from corotwist.tools.simruns import Tally, Task, perform
from corotwist.totem.membership import Configuration, RingId

# Of the seeds that are drawn to measure, how long each has faults; about five
# seconds of quiet follow.
SEEDS: Final = 12
FAULT_SECONDS: Final = 60.0
NODES: Final = 6
LOSS: Final = 0.05
LOADED_SECONDS: Final = 60.0
# Of so many seeds the runs are repeated, in another process and with another
# hash seed, and must leave the same trace.
REPEATED: Final = 6
JUDGED_RECORDS: Final = 200_000
JUDGED_NODES: Final = 5
CORES: Final = 2


@frozen
class Rate:
    """
    One line of the table.

    @ivar least: what must be.
    @ivar goal: what should be.
    """

    what: str
    value: float
    least: float
    goal: float

    @property
    def verdict(self) -> str:
        """
        In a word.
        """
        if self.value >= self.goal:
            return "goal"
        return "must" if self.value >= self.least else "too slow"


def run(*, asJson: bool = False) -> int:
    """
    Print the table, a line as soon as it is known.

    @return: 0, or 1 when something is not as it must be.
    """
    if not asJson:
        print("| | measured | must | goal | |\n|---|---|---|---|---|")
    good = True
    for rate in measure():
        good = good and rate.value >= rate.least
        if asJson:
            print(json.dumps(envelope("sim-rates", **asdict(rate))), flush=True)
        else:
            print(
                f"| {rate.what} | {rate.value:,.1f} | {rate.least:,g} | {rate.goal:,g}"
                f" | {rate.verdict} |",
                flush=True,
            )
    return 0 if good else 1


def measure() -> Iterator[Rate]:
    """
    The table.
    """
    events = "events a second and core"
    yield Rate(f"{events}, five nodes under load", _events(None), 25_000, 50_000)
    yield Rate(f"{events}, sealed", _events(KEY), 15_000, 30_000)
    yield Rate("three idle nodes, times real time", _speed(3, 0.0, 60.0), 500, 1_500)
    yield Rate("5 nodes, 100 messages/s each, times", _speed(5, 100.0, 10.0), 4, 10)
    yield from _swarm()
    yield Rate("records judged a second", judged(), 100_000, 200_000)
    yield Rate("repeated runs with an equal trace, %", _repeated(), 100, 100)


def _events(key: bytes | None) -> float:
    cluster = Cluster(5, 1, Faults(loss=LOSS), key=key)
    cluster.load(20.0, LOADED_SECONDS)
    cluster.run(2.0)
    began, before = process_time(), cluster.clock.events
    cluster.run(LOADED_SECONDS - 2.0)
    return (cluster.clock.events - before) / (process_time() - began)


def _speed(size: int, load: float, seconds: float) -> float:
    cluster = Cluster(size, 1)
    cluster.run(1.0)
    if load:
        cluster.load(load, seconds)
    began = process_time()
    cluster.run(seconds)
    return seconds / (process_time() - began)


def _swarm() -> Iterator[Rate]:
    """
    What the swarm does, of both kinds of runs, on one core.
    """
    tally = Tally()
    for seed in range(SEEDS):
        tally.add(perform(Task(seed, seed % 2 == 1, NODES, FAULT_SECONDS)))
    summary: dict[str, Any] = tally.summary()
    minutes = tally.busySeconds / 60 / CORES
    hours = summary["virtualHours"]
    yield Rate(
        "events a second and core, swarm", summary["eventsPerSecond"], 25_000, 50_000
    )
    yield Rate("cluster hours in a minute of two cores", hours / minutes, 1, 3)
    yield Rate("runs of 65 s in a minute of two cores", tally.runs / minutes, 60, 200)
    yield Rate("faults in an hour of faults", summary["faultsPerHour"], 600, 2_000)
    yield Rate(
        "configurations installed in an hour", summary["installsPerHour"], 1_000, 3_000
    )


def judged() -> float:
    """
    What the judge of virtual synchrony does alone: everybody delivers frames.
    """
    wrong: list[Any] = []
    judge = EvsJudge(wrong.append)
    lives = [Life(n) for n in range(1, JUDGED_NODES + 1)]
    members = tuple(life.nodeid for life in lives)
    ringId = RingId(4, 1)
    for life in lives:
        judge.booted(life)
        judge.configured(
            life, Configuration(ringId, members, transitional=False, joined=members)
        )
    frames = JUDGED_RECORDS // (JUDGED_NODES + 1)
    began = process_time()
    for sequence in range(1, frames + 1):
        sender = lives[sequence % JUDGED_NODES]
        judge.sent(sender, ringId, sequence, sequence, b"payload")
        for life in lives:
            judge.delivered(life, ringId, sequence, sender.nodeid, b"payload")
    seconds = process_time() - began
    assert not wrong, f"judged wrongly: {wrong[0]}"
    return frames * (JUDGED_NODES + 1) / seconds


_AGAIN: Final = """
import sys
from corotwist.tools.simrates import digestOf
print(digestOf(int(sys.argv[1])))
"""


def digestOf(seed: int) -> str:
    """
    Of the whole trace of a run.
    """
    return outcome(Swarm(seed, keepTrace=True, services=seed % 2 == 1)).digest


def _repeated() -> float:
    """
    How many of some runs leave the same trace in another process.
    """
    equal = 0
    for seed in range(REPEATED):
        here = digestOf(seed)
        there = subprocess.run(  # noqa: S603 - Ourselves.
            [sys.executable, "-c", _AGAIN, str(seed)],
            env={**os.environ, "PYTHONHASHSEED": str(seed + 1)},
            check=True,
            capture_output=True,
            text=True,
        )
        equal += here == there.stdout.strip()
    return 100 * equal / REPEATED
