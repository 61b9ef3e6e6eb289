"""
The laboratory from the command line::

    python -m corotwist.test.interop up 3 --ours 2 --transport udp
    python -m corotwist.test.interop exec 1 corosync-quorumtool -s
    python -m corotwist.test.interop kill 2 [TERM]
    python -m corotwist.test.interop start 2
    python -m corotwist.test.interop partition "1,2|3"
    python -m corotwist.test.interop heal
    python -m corotwist.test.interop loss 5
    python -m corotwist.test.interop log 2
    python -m corotwist.test.interop status
    python -m corotwist.test.interop down
"""

import argparse
import json
import signal
import subprocess
import sys

from corotwist.tools.lab import Lab, LabFailed, environment, missing


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--name", default="lab", help="several can be up at once")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="make the nodes and start the daemons")
    up.add_argument("size", type=int)
    up.add_argument("--ours", default="", help="nodeids of our daemons: 1,3")
    up.add_argument("--transport", choices=("udpu", "udp"), default="udpu")
    up.add_argument("--family", type=int, choices=(4, 6), default=4, help="of IP")
    up.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    for name in ("exec", "kill", "start", "log"):
        actions.add_parser(name).add_argument("nodeid", type=int)
    actions.choices["exec"].add_argument("command", nargs=argparse.REMAINDER)
    actions.choices["kill"].add_argument("signal", nargs="?", default="KILL")
    actions.add_parser("partition").add_argument("groups", help='"1,2|3"')
    actions.add_parser("loss").add_argument("percent", type=float)
    for name in ("heal", "status", "down"):
        actions.add_parser(name)
    return parser


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word.strip()]


def _up(arguments: argparse.Namespace) -> None:
    options: dict[str, dict[str, str]] = {}
    for setting in arguments.set:
        path, _, value = setting.partition("=")
        section, _, key = path.partition(".")
        options.setdefault(section, {})[key] = value
    ours = _numbers(arguments.ours)
    transport, name = arguments.transport, arguments.name
    lab = Lab.build(
        arguments.size,
        ours,
        transport,
        options=options,
        name=name,
        family=arguments.family,
    )
    lab.startAll()


def _status(lab: Lab) -> str:
    nodes = {
        nodeid: {
            "program": "corotwist" if nodeid in lab.ours else "corosync",
            "pid": lab.daemons.get(nodeid) if lab.running(nodeid) else None,
        }
        for nodeid in lab.nodeids
    }
    state = {"directory": str(lab.directory), "transport": lab.transport}
    return json.dumps({**state, "nodes": nodes}, indent=1) + "\n"


def _act(lab: Lab, arguments: argparse.Namespace) -> None:
    match arguments.action:
        case "exec":
            command = [*lab.inside(arguments.nodeid), *arguments.command]
            result = subprocess.run(command, env=environment(), check=False)
            sys.exit(result.returncode)
        case "kill":
            lab.kill(arguments.nodeid, getattr(signal, f"SIG{arguments.signal}"))
        case "start":
            lab.start(arguments.nodeid)
        case "log":
            sys.stdout.write(lab.log(arguments.nodeid))
        case "partition":
            lab.partition(*map(_numbers, arguments.groups.split("|")))
        case "heal":
            lab.heal()
        case "loss":
            lab.loss(arguments.percent)
        case "status":
            sys.stdout.write(_status(lab))
        case "down":
            lab.down()


def main() -> None:
    """
    One action, from the command line.
    """
    arguments = _arguments().parse_args()
    if problems := missing():
        sys.exit(f"lab: {'; '.join(problems)}")
    try:
        if arguments.action == "up":
            _up(arguments)
        else:
            _act(Lab.load(arguments.name), arguments)
    except LabFailed as error:
        sys.exit(f"lab: {error}")


if __name__ == "__main__":
    main()
