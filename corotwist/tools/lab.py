"""
A laboratory: real corosync nodes and ours in one ring, on one machine.

Every node is a network namespace on a common bridge, with a host name and
private mounts of all that a daemon writes, so that unmodified daemons see each
other through the network only.  C{corotwist torture} and tests use L{Lab}; for
people there is C{python -m corotwist.test.interop}.

It needs root and the programs L{PROGRAMS}; L{missing} tells what is not there.
It touches only the namespaces, processes and the directory that it made.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, Self

from attrs import define, field

# What the laboratory runs, and the Debian package that brings it.
OUR_PROGRAMS: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
PROGRAMS: Final = {
    **OUR_PROGRAMS,
    "corosync": "corosync",
    "corosync-quorumtool": "corosync",
    "cc": "gcc",
}
CPG_HEADER: Final = "/usr/include/corosync/cpg.h"
ROOT: Final = Path(__file__).resolve().parents[2]
IPV4: Final = 4
# Private addresses, by the version of IP.
NETWORKS: Final = {IPV4: "10.78.0.{}", 6: "fd78::{}"}
PREFIXES: Final = {IPV4: 24, 6: 64}
LARGEST: Final = 16  # Nodes of one laboratory.
COMMAND_SECONDS: Final = 20.0
RECORD: Final = "record.jsonl"
HOLDER_SECONDS: Final = 3600  # A namespace forgotten by everybody ends then.
EXIT_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 0.02
# Timers short enough for a test, long enough for a busy machine, in ms.
TOKEN: Final = 1000
LOSS_STEPS: Final = 100_000

REAL_DAEMON: Final = ("corosync", "-f")
# The twistd of the Python that runs this, from this checkout.
OUR_DAEMON: Final = (
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
    "corosync",
    "--config",
    "/etc/corosync/corosync.conf",
)

# Clients of groups that tell what they see: for real nodes, and for ours.
PEER_SOURCE: Final = Path(__file__).with_name("peer.c")
COMPILER: Final = ("cc", "-Wall", "-Wextra", "-Wno-unused-parameter", "-O2", "-o")
OUR_PEER: Final = (sys.executable, "-m", "corotwist.tools.peer")

_HOLDER: Final = """set -e
mkdir -p /etc/corosync /var/lib/corosync /var/log/corosync
mount -t tmpfs -o mode=755 labrun /run
mount -t tmpfs -o mode=1777,size=1g labshm /dev/shm
mkdir -p /run/lock
mount --bind "$1/etc" /etc/corosync
mount --bind "$1/lib" /var/lib/corosync
mount --bind "$1/log" /var/log/corosync
hostname "$2"
echo $$ > "$1/holder.new"
mv "$1/holder.new" "$1/holder"
exec sleep "$3"
"""

# Replaces what was there in one step: no packet passes in between.
_FILTER: Final = """table inet lab
delete table inet lab
table inet lab {{
 chain arrive {{
  type filter hook prerouting priority -300;
{rules}
 }}
}}
"""
_LOSSY: Final = '  iifname "e0" numgen random mod {steps} < {share} drop'
_DEAF: Final = '  iifname "e0" {ip} saddr {source} drop'


class LabFailed(Exception):
    """
    The machine did not do what the laboratory needs; the text says what.
    """


def missing(real: bool = True) -> list[str]:
    """
    What keeps the laboratory from working here; empty when nothing does.

    @param real: are there to be real corosync nodes?
    """
    programs = PROGRAMS if real else OUR_PROGRAMS
    problems = [
        f"no {program} (package {package})"
        for program, package in programs.items()
        if shutil.which(program) is None
    ]
    if real and not Path(CPG_HEADER).exists():
        problems.append(f"no {CPG_HEADER} (package libcpg-dev)")
    if os.geteuid() != 0:
        problems.append("not root")
    elif not problems and not _namespacesAllowed():
        problems.append("network and mount namespaces are not allowed here")
    return problems


def _namespacesAllowed() -> bool:
    probe = ["unshare", "-n", "-m", "-u", "--propagation", "private"]
    probe += ["mount", "-t", "tmpfs", "none", "/mnt"]
    return _try(*probe).returncode == 0 and _try("ip", "netns").returncode == 0


def _try(*command: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def _do(*command: str, given: str = "") -> str:
    result = _try(*command, given=given)
    if result.returncode:
        raise LabFailed(f"{' '.join(command)}: {result.stdout.strip()}")
    return result.stdout


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """
    Ask again and again, until the answer is yes.

    @raise LabFailed: when it was not within C{seconds}.
    """
    end = monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if monotonic() > end:
            raise LabFailed(f"not within {seconds:g} s: {what}")
        pause.wait(PAUSE_SECONDS)


def configuration(
    size: int,
    transport: str,
    options: Mapping[str, Mapping[str, str]],
    family: int = 4,
) -> str:
    """
    The one C{corosync.conf} of all nodes.

    @param options: more keys by section, or other values.
    @param family: 4 or 6, of IP.
    """
    sections: dict[str, dict[str, str]] = {
        "totem": {
            "version": "2",
            "cluster_name": "laboratory",
            "transport": transport,
            "ip_version": f"ipv{family}",
            "crypto_cipher": "none",
            "crypto_hash": "none",
            "token": str(TOKEN),
        },
        "quorum": {"provider": "corosync_votequorum"},
        "logging": {"to_stderr": "yes", "to_syslog": "no", "timestamp": "hires"},
        "system": {"sched_rr": "no", "move_to_root_cgroup": "no"},
    }
    for section, keys in options.items():
        sections.setdefault(section, {}).update(keys)
    nodes = [
        _section("node", _nodeKeys(nodeid, family), indent="\t")
        for nodeid in range(1, size + 1)
    ]
    parts = [_section(name, keys) for name, keys in sections.items()]
    return "".join([*parts, "nodelist {\n", *nodes, "}\n"])


def _nodeKeys(nodeid: int, family: int) -> dict[str, str]:
    return {
        "nodeid": str(nodeid),
        "name": f"node{nodeid}",
        "ring0_addr": NETWORKS[family].format(nodeid),
    }


def _section(name: str, keys: Mapping[str, str], indent: str = "") -> str:
    lines = "".join(f"{indent}\t{key}: {value}\n" for key, value in keys.items())
    return f"{indent}{name} {{\n{lines}{indent}}}\n"


@define
class Lab:
    """
    Some nodes and the network between them.

    @ivar name: what the names of our namespaces begin with.
    @ivar directory: our files: one directory per node, and C{state.json}.
    @ivar ours: the nodeids where our daemon runs; real corosync elsewhere.
    @ivar holders: nodeid to the process that keeps the node's namespaces.
    @ivar daemons: nodeid to the process id of its daemon.
    @ivar recording: do our daemons record what their rings do?
    @ivar family: 4 or 6, of IP.
    @ivar seconds: how long it may be needed.
    @ivar cuts: which node does not hear which other: pairs of source and target.
    @ivar lossy: percent of the packets that every node loses.
    """

    name: str
    directory: Path
    size: int
    transport: str
    ours: frozenset[int]
    holders: dict[int, int] = field(factory=dict)
    daemons: dict[int, int] = field(factory=dict)
    bridges: int = 0
    recording: bool = False
    family: int = 4
    seconds: int = HOLDER_SECONDS
    cuts: frozenset[tuple[int, int]] = frozenset()
    lossy: float = 0.0
    _children: list[subprocess.Popen[bytes]] = field(factory=list)

    # Building up and tearing down.

    @classmethod
    def build(
        cls,
        size: int,
        ours: Iterable[int] = (),
        transport: str = "udpu",
        *,
        options: Mapping[str, Mapping[str, str]] | None = None,
        name: str = "",
        family: int = 4,
        recording: bool = False,
        seconds: int = HOLDER_SECONDS,
    ) -> Self:
        """
        Make the network and the nodes; start no daemon.  What was made is
        taken down again when something fails.

        @param seconds: how long it may be needed.
        """
        if not 1 <= size <= LARGEST:
            raise LabFailed(f"1 to {LARGEST} nodes, not {size}")
        name = name or f"lab{os.getpid()}"
        directory = _directory(name)
        try:
            directory.mkdir(mode=0o755)
        except FileExistsError:
            raise LabFailed(f"{directory} is there: a laboratory is up") from None
        lab = cls(name, directory, size, transport, frozenset(ours))
        lab.recording, lab.family, lab.seconds = recording, family, seconds
        try:
            lab._make(configuration(size, transport, options or {}, family))
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def load(cls, name: str) -> Self:
        """
        The laboratory that an earlier command built.
        """
        try:
            state = json.loads((_directory(name) / "state.json").read_text())
        except FileNotFoundError:
            raise LabFailed(f"no laboratory {name} is up") from None
        lab = cls(
            name,
            _directory(name),
            state["size"],
            state["transport"],
            frozenset(state["ours"]),
        )
        lab.holders = {int(key): pid for key, pid in state["holders"].items()}
        lab.daemons = {int(key): pid for key, pid in state["daemons"].items()}
        lab.bridges, lab.family = state["bridges"], state["family"]
        lab.recording, lab.lossy = state["recording"], state["lossy"]
        lab.cuts = frozenset((source, target) for source, target in state["cuts"])
        return lab

    def save(self) -> None:
        """
        Let a later command find this laboratory.
        """
        state = {
            "size": self.size,
            "transport": self.transport,
            "ours": sorted(self.ours),
            "holders": self.holders,
            "daemons": self.daemons,
            "bridges": self.bridges,
            "family": self.family,
            "recording": self.recording,
            "lossy": self.lossy,
            "cuts": sorted(self.cuts),
        }
        (self.directory / "state.json").write_text(json.dumps(state))

    def down(self) -> None:
        """
        End every process in our namespaces, and remove what we made.
        """
        ours = {self._namespace(nodeid) for nodeid in self.nodeids}
        ours.add(self._switch)
        listed = {line.split()[0] for line in _do("ip", "netns").splitlines() if line}
        for namespace in sorted(ours & listed):
            self._empty(namespace)
            _do("ip", "netns", "delete", namespace)
        for child in self._children:
            child.wait(EXIT_SECONDS)
        shutil.rmtree(self.directory)

    @property
    def nodeids(self) -> range:
        """
        Everybody.
        """
        return range(1, self.size + 1)

    @property
    def real(self) -> list[int]:
        """
        The nodes that run corosync itself.
        """
        return [nodeid for nodeid in self.nodeids if nodeid not in self.ours]

    def place(self, nodeid: int) -> Path:
        """
        The files of a node: C{etc}, C{lib} and C{log} are the daemon's.
        """
        return self.directory / f"n{nodeid}"

    def record(self, nodeid: int) -> Path:
        """
        What our daemon recorded, if it was told to.
        """
        return self.place(nodeid) / "log" / RECORD

    def _make(self, text: str) -> None:
        _do("ip", "netns", "add", self._switch)
        self._needBridges(1)
        for nodeid in self.nodeids:
            self._makeNode(nodeid, text)
        self.save()

    def _makeNode(self, nodeid: int, text: str) -> None:
        place, family = self.place(nodeid), self.family
        for part in ("etc", "lib", "log"):
            (place / part).mkdir(parents=True)
        (place / "etc" / "corosync.conf").write_text(text)
        space, port = self._namespace(nodeid), f"p{nodeid}"
        _do("ip", "netns", "add", space)
        link = ["ip", "link", "add", "e0", "netns", space, "type", "veth"]
        _do(*link, "peer", "name", port, "netns", self._switch)
        address = f"{NETWORKS[family].format(nodeid)}/{PREFIXES[family]}"
        options = ["brd", "+"] if family == IPV4 else ["nodad"]
        _do("ip", "-n", space, "link", "set", "lo", "up")
        _do("ip", "-n", space, "addr", "add", address, *options, "dev", "e0")
        _do("ip", "-n", space, "link", "set", "e0", "up")
        _do("ip", "-n", self._switch, "link", "set", port, "master", "br0", "up")
        self._hold(nodeid)

    def _hold(self, nodeid: int) -> None:
        place = self.place(nodeid)
        command = ["ip", "netns", "exec", self._namespace(nodeid)]
        command += ["unshare", "-m", "-u", "--propagation", "private"]
        command += ["sh", "-c", _HOLDER, "sh", str(place), f"node{nodeid}"]
        self._spawn([*command, str(self.seconds)], place / "holder.log")
        held = place / "holder"
        until(held.exists, COMMAND_SECONDS, f"mounts of node {nodeid} ready")
        self.holders[nodeid] = int(held.read_text())

    def _empty(self, namespace: str) -> None:
        def emptied() -> bool:
            pids = _namespacePids(namespace)
            for pid in pids:
                _kill(pid, signal.SIGKILL)
            return not pids

        until(emptied, EXIT_SECONDS, f"processes of {namespace} ended")

    # Daemons.

    def start(self, nodeid: int) -> None:
        """
        Start the node's daemon, with what it left on its disk.
        """
        if self.running(nodeid):
            raise LabFailed(f"node {nodeid} runs already")
        command = OUR_DAEMON if nodeid in self.ours else REAL_DAEMON
        if self.recording and nodeid in self.ours:
            command = (*command, "--record", f"/var/log/corosync/{RECORD}")
        log = self.place(nodeid) / "daemon.log"
        child = self._spawn([*self.inside(nodeid), *command], log)
        self.daemons[nodeid] = child.pid
        self.save()

    def startAll(self) -> None:
        """
        Start all daemons, one right after the other.
        """
        for nodeid in self.nodeids:
            self.start(nodeid)

    def running(self, nodeid: int) -> bool:
        """
        Is the node's daemon alive?
        """
        pid = self.daemons.get(nodeid, 0)
        for child in self._children:
            if child.pid == pid:
                return child.poll() is None
        return pid in _namespacePids(self._namespace(nodeid))

    def kill(self, nodeid: int, number: int = signal.SIGKILL) -> None:
        """
        Signal the node's daemon, and wait until a deadly signal has worked.
        """
        if not self.running(nodeid):
            raise LabFailed(f"node {nodeid} has no daemon")
        _kill(self.daemons[nodeid], number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            gone = f"the daemon of node {nodeid} ended"
            until(lambda: not self.running(nodeid), EXIT_SECONDS, gone)

    def log(self, nodeid: int) -> str:
        """
        What the daemon wrote since the node was made.
        """
        return (self.place(nodeid) / "daemon.log").read_text(errors="replace")

    def inside(self, nodeid: int) -> list[str]:
        """
        What to put before a command to run it in a node.
        """
        holder = str(self.holders[nodeid])
        return ["nsenter", "-t", holder, "-m", "-n", "-u", "--"]

    def run(self, nodeid: int, *command: str) -> str:
        """
        Run a command in a node, and return what it printed.

        @raise LabFailed: when it fails.
        """
        return _do(*self.inside(nodeid), *command)

    def quorum(self, nodeid: int) -> dict[str, str]:
        """
        What the node's own C{corosync-quorumtool} says, by its labels; empty
        while it cannot say anything.
        """
        tool = [*self.inside(nodeid), "corosync-quorumtool", "-s"]
        lines = _try(*tool).stdout.splitlines()
        pairs = [line.partition(":") for line in lines if ":" in line]
        return {label.strip(): value.strip() for label, _, value in pairs}

    # Faults.

    def partition(self, *groups: Iterable[int]) -> None:
        """
        Cut the network into these groups; who is in none is alone.
        """
        parts = [list(group) for group in groups]
        named = [nodeid for part in parts for nodeid in part]
        if len(set(named)) != len(named) or not set(named) <= set(self.nodeids):
            raise LabFailed(f"not a partition of {self.size} nodes: {parts}")
        parts += [[nodeid] for nodeid in self.nodeids if nodeid not in named]
        self._needBridges(len(parts))
        moves = [
            f"link set p{nodeid} master br{number}\n"
            for number, part in enumerate(parts)
            for nodeid in part
        ]
        _do("ip", "-n", self._switch, "-batch", "-", given="".join(moves))

    def heal(self) -> None:
        """
        Everybody hears everybody again, but for what is lost.
        """
        self.partition(self.nodeids)
        self.cut()

    def cut(self, *pairs: tuple[int, int]) -> None:
        """
        Of each pair, the second does not hear the first, from now on; who is
        in no pair hears everybody of its partition.
        """
        before, self.cuts = self.cuts, frozenset(pairs)
        for nodeid in sorted({target for _, target in before | self.cuts}):
            self._filter(nodeid)

    def loss(self, percent: float) -> None:
        """
        Every node loses so many of the packets that arrive; 0 for none.
        """
        self.lossy = percent
        for nodeid in self.nodeids:
            self._filter(nodeid)

    def _filter(self, nodeid: int) -> None:
        ip = "ip" if self.family == IPV4 else "ip6"
        rules = [
            _DEAF.format(ip=ip, source=NETWORKS[self.family].format(source))
            for source, target in sorted(self.cuts)
            if target == nodeid
        ]
        if share := round(self.lossy * LOSS_STEPS / 100):
            rules.append(_LOSSY.format(steps=LOSS_STEPS, share=share))
        text = _FILTER.format(rules="\n".join(rules))
        _do(*self.inside(nodeid), "nft", "-f", "-", given=text)

    # Names and processes.

    @property
    def _switch(self) -> str:
        return f"{self.name}sw"

    def _namespace(self, nodeid: int) -> str:
        return f"{self.name}n{nodeid}"

    def _needBridges(self, count: int) -> None:
        for number in range(self.bridges, count):
            add = ["ip", "-n", self._switch, "link", "add", f"br{number}", "up"]
            _do(*add, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        self.bridges = max(self.bridges, count)

    def _spawn(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                cwd="/",
                start_new_session=True,
            )
        self._children.append(child)
        return child


def compiledPeer(directory: Path) -> Path:
    """
    C{peer.c} as a program in a directory, where it stays.

    @raise LabFailed: when it does not compile.
    """
    program = directory / "peer"
    if not program.exists():
        _do(*COMPILER, str(program), str(PEER_SOURCE), "-lcpg")
    return program


def environment() -> dict[str, str]:
    """
    What programs in a node see: this checkout is what Python imports.
    """
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _directory(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"corotwist-lab.{name}"


def _namespacePids(namespace: str) -> list[int]:
    result = _try("ip", "netns", "pids", namespace)
    return (
        [int(word) for word in result.stdout.split()] if not result.returncode else []
    )


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # It ended by itself meanwhile.
