"""
C{corotwist}: one command, and what it can do.
"""

import os
import sys
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Final

import corotwist

WRONG_USE: Final = 2

# Each is a module here, imported when it is asked for, with run(argv) -> int.
COMMANDS: Final = {
    "demo": "run a cluster on this machine, kill a node, and check the order",
    "cmapctl": "read, write and follow the keys of a node, or of a file",
    "confdb": "show and change the objects of a node's configuration, or a file's",
    "cpg": "join a process group, print what comes, send what is typed",
    "cpgtool": "show process groups and their members, as corosync-cpgtool",
    "vqsim": "try out what votes decide, on simulated nodes",
    "quorumtool": "show and change quorum, as corosync-quorumtool",
    "cfgtool": "show links, reload, kill and stop nodes, as corosync-cfgtool",
    "cfg": "ask running nodes to reload, to open their logs anew, and more",
    "config": "read, check, convert and change configurations, without a node",
    "why": "tell why a node left, and why the view changed",
    "watch": "draw the cluster as a node sees it, as it changes",
    "events": "tell what happens: to a terminal, syslog, SNMP, D-Bus, programs",
    "arbiter": "run the arbiter that quorum devices ask, or show what it does",
    "fence": "show the nodes that have to be off, and confirm that one is",
    "doctor": "say what keeps a node from running well, and what to do about it",
    "decode": "print recorded traffic as JSON",
    "sim": "run simulated clusters until one breaks a promise",
    "bench": "measure messages per second, latency and CPU time",
    "torture": "run real daemons, kill and cut them off, and judge what they did",
    "blackbox": "print what the flight recorder of a node holds",
    "completion": "print what shells need to complete these commands",
    "keygen": "write the key that a cluster seals its datagrams with",
}


def usage() -> str:
    """
    What to type.
    """
    commands = "\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())
    return (
        "Usage: corotwist COMMAND [options]\n"
        "       corotwist COMMAND --help\n"
        "       corotwist --version\n\n"
        f"Commands:\n{commands}\n\n"
        "A node runs with: twistd -n corosync --config FILE\n"
    )


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @param argv: without the name of the program.
    @return: the exit status.
    """
    if not argv:
        sys.stderr.write(usage())
        return WRONG_USE
    name, *rest = argv
    if name in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0
    if name in {"-V", "--version"} or (name in COMMANDS and rest == ["--version"]):
        sys.stdout.write(f"corotwist {corotwist.__version__}\n")
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"corotwist: {unknown(name, COMMANDS)}\n\n{usage()}")
        return WRONG_USE
    command = import_module(f"corotwist.tools.{name}")
    status: int = command.run(rest)
    return status


def unknown(name: str, commands: Collection[str]) -> str:
    """
    A sentence about a command that is none.
    """
    close = get_close_matches(name, commands, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no command {name!r}{hint}"


def main() -> None:
    """
    The console script.
    """
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads us has seen enough; nor should the interpreter complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)
