"""
C{corotwist bench}: what a cluster of real daemons on this machine does per
second, how long a message takes, and what that costs in processor time.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.task import deferLater, react
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.usage import UsageError

import corotwist
from corotwist.engines.interfaces import LARGEST_MESSAGE_BYTES
from corotwist.options import Options
from corotwist.tools import corebench, dbbench, pathbench
from corotwist.tools.asking import envelope
from corotwist.tools.daemons import (
    MOST_NODES,
    Daemon,
    Plan,
    addressOf,
    freePort,
    killAll,
)
from corotwist.tools.keygen import DEFAULT_BYTES, writeKey
from corotwist.tools.load import SMALLEST

FAILED: Final = 1
WRONG_USE: Final = 2
# How long the daemons may take to listen for clients.
START_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class BenchOptions(Options):
    """
    What to measure.
    """

    synopsis = "Usage: corotwist bench [options]"
    longdesc = "Measure, and print what was measured as JSON."

    optFlags = [
        [
            "core",
            None,
            "only the core, in this process: per frame, and per batch of messages",
        ],
        ["database", None, "only the configuration database and handles, per call"],
        ["sealed", None, "seal every datagram, as a cluster does by default"],
    ]
    optParameters = [
        ["nodes", "n", 3, "how many daemons", int],
        ["sizes", "s", "64,1024,16384", "bytes of the messages, with commas between"],
        ["senders", None, "all", "how many nodes send: all, or a number"],
        ["seconds", "t", 3.0, "how long each run sends", float],
        ["netmtu", None, 1500, "bytes of an IP packet", int],
    ]

    def postOptions(self) -> None:
        """
        Check ranges, and make numbers.
        """
        nodes = self["nodes"]
        if not 1 <= nodes <= MOST_NODES:
            raise UsageError(f"--nodes is 1 to {MOST_NODES}")
        try:
            self["sizes"] = [int(size) for size in self["sizes"].split(",")]
            senders = self["senders"]
            self["senders"] = nodes if senders == "all" else int(senders)
        except ValueError as error:
            raise UsageError(f"not a number: {error}") from None
        if not all(SMALLEST <= s <= LARGEST_MESSAGE_BYTES for s in self["sizes"]):
            raise UsageError(f"--sizes are {SMALLEST} to {LARGEST_MESSAGE_BYTES}")
        if not 1 <= self["senders"] <= nodes:
            raise UsageError(f"--senders is all, or 1 to {nodes}")
        if not 0 < self["seconds"] <= 600:  # noqa: PLR2004 - ten minutes.
            raise UsageError("--seconds is up to 600")


def run(argv: Sequence[str]) -> int:
    """
    Measure, and print one JSON object.

    @return: the exit status.
    """
    options = BenchOptions()
    try:
        options.parseOptions(argv)
    except UsageError as error:
        sys.stderr.write(f"corotwist bench: {error}\n")
        return WRONG_USE
    if options["core"]:
        return _printed(chain(corebench.measure(), pathbench.measure()))
    if options["database"]:
        return _printed(dbbench.measure())
    try:
        react(lambda reactor: Deferred.fromCoroutine(_bench(reactor, options)))
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return FAILED
        return int(end.code or 0)
    return 0


def _printed(costs: Iterable[corebench.Cost]) -> int:
    for cost in costs:
        spent = {"us": round(cost.microseconds, 2), "what": cost.what}
        print(json.dumps(envelope("bench-call", **spent)))
    return 0


async def _bench(reactor: Any, options: BenchOptions) -> None:
    with tempfile.TemporaryDirectory(prefix="corotwist-bench-") as directory:
        cluster = await _start(reactor, Path(directory), options)
        try:
            report = await _measureAll(reactor, cluster, options)
        finally:
            await killAll(cluster)
    print(json.dumps(envelope("bench", **report), indent=1))


async def _start(reactor: Any, directory: Path, options: BenchOptions) -> list[Daemon]:
    nodes = tuple(range(1, options["nodes"] + 1))
    port = freePort([addressOf(n) for n in nodes], SystemRandom())
    sealed = bool(options["sealed"])
    if sealed:
        writeKey(directory / "authkey", SystemRandom().randbytes(DEFAULT_BYTES))
    plan = Plan(
        directory,
        nodes,
        port,
        cluster="bench",
        sealed=sealed,
        netmtu=options["netmtu"],
    )
    daemons = [Daemon(plan, nodeid) for nodeid in nodes]
    for daemon in daemons:
        daemon.start(reactor)
    end = time.monotonic() + START_SECONDS
    while not all(daemon.listens() for daemon in daemons):
        if time.monotonic() > end or any(d.pid is None for d in daemons):
            words = "\n".join(daemon.lastWords() for daemon in daemons)
            await killAll(daemons)
            raise SystemExit(f"corotwist bench: the daemons do not start\n{words}")
        await deferLater(reactor, POLL_SECONDS)
    return daemons


async def _measureAll(
    reactor: Any, daemons: list[Daemon], options: BenchOptions
) -> dict[str, Any]:
    runs = []
    for size in options["sizes"]:
        case = Case(size, options["senders"], options["seconds"])
        runs.append(await case.measure(reactor, daemons))
    idle = await Case(64, 1, min(2.0, options["seconds"]), "ping").measure(
        reactor, daemons
    )
    return {
        "corotwist": corotwist.__version__,
        "python": sys.version.split()[0],
        "processors": os.cpu_count(),
        "nodes": len(daemons),
        "sealed": bool(options["sealed"]),
        "netmtu": options["netmtu"],
        "one_in_flight": idle,
        "runs": runs,
    }


@frozen
class Case:
    """
    One load on a running cluster.
    """

    size: int
    senders: int
    seconds: float
    role: str = "send"

    async def measure(self, reactor: Any, daemons: list[Daemon]) -> dict[str, Any]:
        """
        A client at every node; all of them deliver everything.
        """
        before = [processorTime(daemon.pid) for daemon in daemons]
        clients = [self._client(reactor, daemon, len(daemons)) for daemon in daemons]
        try:
            reports = await gatherResults(clients, consumeErrors=True)
        except FirstError as error:
            # What is wrong, without what waited for it.
            error.subFailure.raiseException()
        used = [
            processorTime(daemon.pid) - spent
            for daemon, spent in zip(daemons, before, strict=True)
        ]
        return self._summary(reports, used)

    def _client(
        self, reactor: Any, daemon: Daemon, members: int
    ) -> "Deferred[dict[str, Any]]":
        role = self.role if daemon.nodeid <= self.senders else "recv"
        arguments = [
            *("-m", "corotwist.tools.load", "--socket", daemon.socket),
            *("--role", role, "--size", str(self.size)),
            *("--seconds", str(self.seconds), "--members", str(members)),
            *("--senders", str(self.senders), "--group", f"bench{self.size}"),
        ]
        path = str(Path(corotwist.__file__).parents[1])
        done: Deferred[Any] = getProcessOutputAndValue(
            sys.executable, arguments, {**os.environ, "PYTHONPATH": path}
        )
        return done.addCallback(_parsed)

    def _summary(
        self, reports: list[dict[str, Any]], used: list[float]
    ) -> dict[str, Any]:
        delivered = sum(report["delivered"] for report in reports)
        slowest = min(reports, key=lambda report: report["delivered_per_s"])
        delays = [report["lat_us"] for report in reports]
        return {
            "role": self.role,
            "size": self.size,
            "senders": self.senders,
            "msgs_per_s": slowest["delivered_per_s"],
            "MBps": slowest["MBps"],
            "latency_us": {
                "p50": max(delay["p50"] for delay in delays),
                "p99": max(delay["p99"] for delay in delays),
            },
            "daemon_cpu_us_per_message": round(sum(used) / max(1, delivered) * 1e6, 3),
            "client_cpu_us_per_message": round(
                sum(r["client_cpu_s"] for r in reports) / max(1, delivered) * 1e6, 3
            ),
            "delivered": delivered,
            "out_of_order": sum(report["seq_errors"] for report in reports),
        }


def _parsed(result: tuple[bytes, bytes, int]) -> dict[str, Any]:
    output, errors, status = result
    if status:
        text = errors.decode(errors="replace")
        raise SystemExit(f"corotwist bench: a client ended with {status}\n{text}")
    report: dict[str, Any] = json.loads(output)
    return report


def processorTime(pid: int | None) -> float:
    """
    Seconds of processor time that a process has used, its threads included.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
