"""
corotwist beside corosync, in one run on one machine::

    python -m corotwist.test.interop.compare [--nodes 3] [--sizes 64,1024,16384]
        [--seconds 4] [--rounds 3] [--netmtu 1500] [--kinds real,ours]

Each kind gets the same network of namespaces, the same options and the same
load: all nodes send as fast as they are allowed to, everybody delivers
everything.  One JSON object; the ratios are the point, the figures are this
machine's.  Needs what the laboratory needs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from attrs import frozen

from corotwist.test.interop.peers import Peer, together
from corotwist.tools.bench import processorTime
from corotwist.tools.lab import Lab, environment, missing

SOURCE: Final = Path(__file__).with_name("load.c")
SOCKET: Final = "/run/corotwist/corotwist.sock"
# On top of how long a run sends.
PATIENCE_SECONDS: Final = 90.0
# Before the first run, and between runs: queues empty, rings idle.
REST_SECONDS: Final = 1.0


@frozen
class Case:
    """
    One load.
    """

    role: str
    size: int
    senders: int
    seconds: float


def run(lab: Lab, case: Case, group: str) -> dict[str, Any]:
    """
    A client at every node.
    """
    before = {nodeid: processorTime(lab.daemons[nodeid]) for nodeid in lab.nodeids}
    clients = [
        subprocess.Popen(
            [*lab.inside(nodeid), *command(lab, nodeid, case, group)],
            stdout=subprocess.PIPE,
            env=environment(),
            cwd="/",
        )
        for nodeid in lab.nodeids
    ]
    reports = []
    try:
        for client in clients:
            output, _ = client.communicate(timeout=case.seconds + PATIENCE_SECONDS)
            reports.append(json.loads(output))
    finally:
        for client in clients:
            client.kill()
    spent = sum(
        processorTime(lab.daemons[nodeid]) - before[nodeid] for nodeid in lab.nodeids
    )
    return _summary(reports, spent)


def command(lab: Lab, nodeid: int, case: Case, group: str) -> list[str]:
    """
    The program that makes this load at a node; those with the lowest nodeids
    send.
    """
    role = case.role if nodeid <= case.senders else "recv"
    members = lab.size
    if nodeid not in lab.ours:
        numbers = (case.size, case.seconds, members, case.senders)
        return [str(compiled(lab)), group, role, *map(str, numbers)]
    return [
        *(sys.executable, "-m", "corotwist.tools.load", "--socket", SOCKET),
        *("--group", group, "--role", role, "--size", str(case.size)),
        *("--seconds", str(case.seconds), "--members", str(members)),
        *("--senders", str(case.senders)),
    ]


def compiled(lab: Lab) -> Path:
    """
    C{load.c} as a program.
    """
    program = lab.directory / "load"
    if not program.exists():
        command = ["cc", "-O2", "-o", str(program), str(SOURCE), "-lcpg"]
        subprocess.run(command, check=True)
    return program


def _summary(reports: list[dict[str, Any]], spent: float) -> dict[str, Any]:
    delivered = max(1, sum(report["delivered"] for report in reports))
    slowest = min(reports, key=lambda report: report["delivered_per_s"])
    return {
        "msgs_per_s": slowest["delivered_per_s"],
        "MBps": slowest["MBps"],
        "p50_us": max(report["lat_us"]["p50"] for report in reports),
        "p99_us": max(report["lat_us"]["p99"] for report in reports),
        "cpu_us": round(spent / delivered * 1e6, 3),
        "client_cpu_us": round(
            sum(r["client_cpu_s"] for r in reports) / delivered * 1e6, 3
        ),
        "out_of_order": sum(report["seq_errors"] for report in reports),
    }


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: median(one[key] for one in runs) for key in runs[0]}


def _timed(act: Callable[[], None]) -> float:
    started = time.monotonic()
    act()
    return round(time.monotonic() - started, 3)


def measure(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """
    Everything about one kind of node.
    """
    size = arguments.nodes
    ours = range(1, size + 1) if kind == "ours" else ()
    totem = {"netmtu": str(arguments.netmtu)} if arguments.netmtu else {}
    name, options = f"cmp{os.getpid()}", {"totem": totem}
    lab = Lab.build(size, ours, "udpu", options=options, name=name)
    try:
        return _measure(lab, arguments)
    except BaseException:
        for nodeid in lab.nodeids:
            sys.stderr.write(lab.log(nodeid)[-2000:])
        raise
    finally:
        lab.down()


def _measure(lab: Lab, arguments: argparse.Namespace) -> dict[str, Any]:
    peers = [Peer.start(lab, nodeid, "watch") for nodeid in lab.nodeids]

    def form() -> None:
        lab.startAll()
        together(peers)

    try:
        report: dict[str, Any] = {"form_s": _timed(form)}
        time.sleep(REST_SECONDS)
        ping = Case("ping", 64, 1, min(2.0, arguments.seconds))
        pings = [run(lab, ping, f"ping{i}") for i in range(arguments.rounds)]
        report["one_in_flight"] = _middle(pings)
        for size in arguments.sizes:
            case = Case("send", size, lab.size, arguments.seconds)
            runs = []
            for number in range(arguments.rounds):
                time.sleep(REST_SECONDS)
                runs.append(run(lab, case, f"load{size}.{number}"))
            report[str(size)] = _middle(runs)
        if lab.size > 1:
            report["kill_to_view_s"] = _timed(lambda: _kill(lab, peers))
        return report
    finally:
        for peer in peers:
            peer.close()


def _kill(lab: Lab, peers: list[Peer]) -> None:
    lab.kill(lab.size)
    together(peers[:-1])


def ratios(ours: dict[str, Any], real: dict[str, Any]) -> dict[str, Any]:
    """
    Ours to corosync's, of every figure that both have.
    """
    return {
        key: ratios(value, real[key])
        if isinstance(value, dict)
        else round(value / real[key], 3)
        for key, value in ours.items()
        if real.get(key)
    }


def main() -> None:
    """
    The command.
    """
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--sizes", default="64,1024,16384")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--netmtu", type=int, default=1500)
    parser.add_argument("--kinds", default="real,ours")
    arguments = parser.parse_args()
    arguments.sizes = [int(size) for size in arguments.sizes.split(",")]
    lacking = missing()
    if lacking:
        raise SystemExit(f"compare needs {', '.join(lacking)}")
    report: dict[str, Any] = {"nodes": arguments.nodes, "netmtu": arguments.netmtu}
    for kind in arguments.kinds.split(","):
        report[kind] = measure(kind, arguments)
    if "ours" in report and "real" in report:
        report["ours_to_real"] = ratios(report["ours"], report["real"])
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
