"""
A reader that stalls under a flood, at a corosync node and at ours, in one run
on one machine::

    python -m corotwist.test.interop.stall [--seconds 6] [--size 4096]
        [--kinds real,pause-senders,disconnect,spill]

Two nodes; a process on the first joins a group and is then stopped, while one on
the second sends to it as fast as it may.  For each kind one JSON object: memory
of the first daemon before, at most, and after the reader went on.  Needs what
the laboratory needs.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from corotwist.test.interop.compare import Case, command
from corotwist.test.interop.peers import Peer, together
from corotwist.tools.lab import Lab, environment, missing

MIB: Final = 1 << 20
POLICIES: Final = ("pause-senders", "disconnect", "spill")
# From the start of both processes to the middle of the flood.
WARM_SECONDS: Final = 2.5
# For what waits to be read, and for memory to be given back.
REST_SECONDS: Final = 4.0
STEP_SECONDS: Final = 0.05


def residentBytes(pid: int) -> int:
    """
    How much memory a process has.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(lab: Lab, nodeid: int, words: Sequence[str]) -> Iterator[Any]:
    """
    A process at a node.
    """
    process = subprocess.Popen(
        [*lab.inside(nodeid), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        cwd="/",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def watched(pid: int, seconds: float) -> int:
    """
    The most memory that a process has for so long.
    """
    most, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, residentBytes(pid))
        time.sleep(STEP_SECONDS)
    return most


def flood(lab: Lab, size: int, seconds: float) -> dict[str, float]:
    """
    Two processes at two nodes, one of which is stopped in the middle.
    """
    daemon = lab.daemons[1]
    sends = WARM_SECONDS + seconds
    receiving = command(lab, 1, Case("recv", size, lab.size, sends), "stall")
    sending = command(lab, 2, Case("send", size, lab.size, sends), "stall")
    with (
        running(lab, 1, receiving) as reader,
        running(lab, 2, sending),
    ):
        time.sleep(WARM_SECONDS)
        os.kill(reader.pid, signal.SIGSTOP)
        before = residentBytes(daemon)
        most = watched(daemon, seconds)
        os.kill(reader.pid, signal.SIGCONT)
        time.sleep(REST_SECONDS)
        after = residentBytes(daemon)
    return {
        "before_MiB": round(before / MIB, 1),
        "most_MiB": round(most / MIB, 1),
        "grown_MiB": round((most - before) / MIB, 1),
        "after_MiB": round(after / MIB, 1),
    }


def measure(kind: str, size: int, seconds: float) -> dict[str, float]:
    """
    One kind of node: C{real}, or ours with a policy.
    """
    options: dict[str, dict[str, str]] = {"totem": {"netmtu": "1500"}}
    if kind != "real":
        options["corotwist"] = {"slow_reader": kind}
    ours = () if kind == "real" else (1, 2)
    lab = Lab.build(2, ours, "udpu", options=options, name=f"stall{os.getpid()}")
    peers = [Peer.start(lab, nodeid, "watch") for nodeid in lab.nodeids]
    try:
        lab.startAll()
        together(peers)
        return flood(lab, size, seconds)
    finally:
        for peer in peers:
            peer.close()
        lab.down()


def main() -> None:
    """
    The command.
    """
    parser = argparse.ArgumentParser(prog="stall", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--kinds", default=",".join(("real", *POLICIES)))
    arguments = parser.parse_args()
    lacking = missing()
    if lacking:
        raise SystemExit(f"stall needs {', '.join(lacking)}")
    report = {
        kind: measure(kind, arguments.size, arguments.seconds)
        for kind in arguments.kinds.split(",")
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
