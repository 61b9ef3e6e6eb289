"""
A cluster of real daemons on this machine, each a process of its own.
"""

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import corotwist

MOST_NODES: Final = 16
# A port that is free on every address is found in a few attempts.
PORT_ATTEMPTS: Final = 100
PORTS: Final = range(20000, 32000)
# Of a log, to show when something went wrong.
TAIL_LINES: Final = 12

_RUN_TWISTD: Final = "from twisted.scripts.twistd import run; run()"

_CONFIGURATION: Final = """\
totem {{
    version: 2
    cluster_name: {cluster}
    transport: udpu
    {wire}
    netmtu: {netmtu}
    token: {tokenMs}
    token_coefficient: 0
    interface {{
        mcastport: {port}
    }}
}}
nodelist {{
{nodes}}}
logging {{
    to_syslog: no
}}
system {{
    state_dir: state{nodeid}
}}
corotwist {{
    node: {nodeid}
    ipc_socket: node{nodeid}.sock
{options}}}
"""
_NODE: Final = """\
    node {{
        ring0_addr: {address}
        nodeid: {nodeid}
        name: node{nodeid}
    }}
"""


def addressOf(nodeid: int) -> str:
    """
    Every node has a loopback address of its own.
    """
    return f"127.0.0.{nodeid}"


def freePort(addresses: Sequence[str], random: Random) -> int:
    """
    A UDP port that nobody uses on any of C{addresses}.

    @raise OSError: when none was found, or an address is not there at all.
    """
    for port in random.sample(PORTS, PORT_ATTEMPTS):
        if all(_isFree(address, port) for address in addresses):
            return port
    raise OSError(errno.EADDRINUSE, "no UDP port is free on all loopback addresses")


def _isFree(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


@frozen
class Plan:
    """
    What all configuration files of a cluster have in common.

    @ivar directory: for files, state, sockets and logs.
    @ivar address: where a node, the first, reaches another, or itself.
    @ivar options: of our own section, besides those that every node needs.
    """

    directory: Path
    nodes: tuple[int, ...]
    port: int
    tokenMs: int = 1000
    cluster: str = "demo"
    sealed: bool = True
    netmtu: int = 1500
    address: Callable[[int, int], str] = lambda _, nodeid: addressOf(nodeid)
    options: tuple[tuple[str, str], ...] = ()

    def configuration(self, nodeid: int) -> str:
        """
        The file of one node.
        """
        nodes = "".join(
            _NODE.format(address=self.address(nodeid, n), nodeid=n) for n in self.nodes
        )
        return _CONFIGURATION.format(
            cluster=self.cluster,
            tokenMs=self.tokenMs,
            wire="keyfile: authkey" if self.sealed else "crypto_cipher: none",
            netmtu=self.netmtu,
            port=self.port,
            nodes=nodes,
            nodeid=nodeid,
            options="".join(f"    {name}: {value}\n" for name, value in self.options),
        )

    def write(self, nodeid: int) -> Path:
        """
        Write it.
        """
        path = self.directory / f"node{nodeid}.conf"
        path.write_text(self.configuration(nodeid))
        return path


class Daemon(ProcessProtocol):
    """
    One node's process, which may be started again after its end.

    @ivar pid: of the running process; L{None} when there is none.
    @ivar status: a sentence about how the last process ended.
    @ivar orderly: did it end because it was asked to, and without a fault?
    """

    def __init__(self, plan: Plan, nodeid: int, python: str | None = None) -> None:
        """
        @param python: an interpreter with corotwist installed; by default the
            one that runs this very package.
        """
        self.nodeid = nodeid
        self._python = python or sys.executable
        self._environment = _bare() if python else _environment()
        self.socket = str(plan.directory / f"node{nodeid}.sock")
        self.pid: int | None = None
        self.status = "was never started"
        self.orderly = False
        self._configuration = str(plan.write(nodeid))
        self._log = plan.directory / f"node{nodeid}.log"
        self._waiting: list[Deferred[None]] = []

    def start(self, reactor: Any) -> None:
        """
        Run C{twistd corosync} on the node's file.

        @param reactor: C{IReactorProcess}.
        """
        assert self.pid is None, "one process at a time"
        arguments = [
            *(self._python, "-c", _RUN_TWISTD, "-n", "--pidfile="),
            *("corosync", "--config", self._configuration),
        ]
        with Path(os.devnull).open("rb") as nothing, self._log.open("ab") as log:
            descriptors = {0: nothing.fileno(), 1: log.fileno(), 2: log.fileno()}
            process = reactor.spawnProcess(
                self,
                self._python,
                arguments,
                self._environment,
                childFDs=descriptors,
            )
        self.pid = process.pid
        self._process = process

    def listens(self) -> bool:
        """
        Is its socket there?
        """
        return Path(self.socket).exists()

    def send(self, name: str) -> None:
        """
        Send a signal, if there is anybody to get it.

        @param name: without C{SIG}.
        """
        if self.pid is not None:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess(name)

    def end(self) -> Deferred[None]:
        """
        @return: fires when no process is left.
        """
        if self.pid is None:
            return succeed(None)
        ended: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(ended)
        return ended

    def processEnded(self, reason: Failure) -> None:
        ended: Any = reason.value
        self.pid = None
        # When it has shut down twistd lets the signal take its usual course.
        self.orderly = ended.exitCode == 0 or ended.signal == signal.SIGTERM
        self.status = _sentence(ended)
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    # Its log.

    def logged(self) -> list[str]:
        """
        All lines so far.
        """
        try:
            return self._log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def saidFarewell(self) -> bool:
        """
        Did the last process shut down to the end?
        """
        farewell = f"Node {self.nodeid} stopped"
        return any(farewell in line for line in self.logged()[-TAIL_LINES:])

    def lastWords(self) -> str:
        """
        The end of its log.
        """
        lines = self.logged()[-TAIL_LINES:]
        return "\n".join(f"    node {self.nodeid}| {line}" for line in lines)


def _bare() -> dict[str, str]:
    """
    Nothing but what is installed can be imported.
    """
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


def _environment() -> dict[str, str]:
    """
    The child finds this very package, and Twisted's plug-ins beside it.
    """
    own = str(Path(corotwist.__file__).parents[1])
    paths = [own, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _sentence(ended: Any) -> str:
    if ended.signal is not None:
        return f"was ended by {signal.Signals(ended.signal).name}"
    return f"ended with status {ended.exitCode}"


def killAll(daemons: Iterable[Daemon]) -> Deferred[None]:
    """
    Kill what still runs, and wait for it.

    @return: fires when nothing is left.
    """
    for daemon in daemons:
        daemon.send("KILL")
    return Deferred.fromCoroutine(_allEnded(daemons))


async def _allEnded(daemons: Iterable[Daemon]) -> None:
    for daemon in daemons:
        await daemon.end()
