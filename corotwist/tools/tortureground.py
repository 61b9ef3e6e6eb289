"""
Where C{corotwist torture} runs its daemons: in namespaces, with a network that
can be cut, or on loopback addresses, behind relays that can.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Final, Protocol

from attrs import define, field

from corotwist.tools.daemons import Plan, addressOf, freePort
from corotwist.tools.keygen import DEFAULT_BYTES, writeKey
from corotwist.tools.lab import (
    EXIT_SECONDS,
    OUR_PEER,
    RECORD,
    Lab,
    compiledPeer,
    environment,
)
from corotwist.tools.relay import Relay

GROUP: Final = "torture"
# In the third byte of the addresses of relays, plus the node whose they are.
RELAYS: Final = 100
OUR_DAEMON: Final = (
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
    "corosync",
)


class Ground(Protocol):
    """
    Some nodes, their daemons, and the network between them.
    """

    @property
    def nodes(self) -> Sequence[int]:
        """
        Everybody's nodeid.
        """

    @property
    def ours(self) -> frozenset[int]:
        """
        Those that run our daemon, and record.
        """

    def start(self, node: int) -> None:
        """
        Start its daemon, with what is on its disk.
        """

    def signal(self, node: int, number: int) -> None:
        """
        To its daemon, which is there.
        """

    def running(self, node: int) -> bool:
        """
        Is its daemon there?  Also when it is stopped.
        """

    def forget(self, node: int) -> None:
        """
        Its disk is lost.
        """

    def client(self, node: int, log: Path) -> subprocess.Popen[bytes]:
        """
        A client of the group on a node, with a pipe for commands.
        """

    def partition(self, parts: Iterable[Iterable[int]]) -> None:
        """
        Cut the network into parts; no parts is none.
        """

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """
        Of each pair the second does not hear the first; others do.
        """

    def loss(self, percent: float) -> None:
        """
        Everybody loses so many of the packets that arrive.
        """

    def record(self, node: int) -> Path:
        """
        What our daemon recorded.
        """

    def log(self, node: int) -> str:
        """
        What its daemon said.
        """

    def down(self) -> None:
        """
        End what was started, and remove what was made.
        """


def _openClient(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    errors = log.with_suffix(".err")
    with log.open("ab") as output, errors.open("ab") as complaints:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=complaints,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
    assert process.stdin is not None, "it was made with a pipe"
    # A client that does not read must not keep us waiting.
    os.set_blocking(process.stdin.fileno(), False)
    return process


@define(eq=False)
class Namespaces:
    """
    A laboratory.  Needs root.
    """

    lab: Lab

    @classmethod
    def build(
        cls, size: int, real: Iterable[int], tokenMs: int, seconds: float
    ) -> "Namespaces":
        """
        @param real: the nodes that run corosync itself.
        @raise LabFailed: when the machine does not do what is needed.
        """
        ours = set(range(1, size + 1)) - set(real)
        options = {"totem": {"token": str(tokenMs), "token_coefficient": "0"}}
        lab = Lab.build(
            size, ours, options=options, recording=True, seconds=int(seconds)
        )
        return cls(lab)

    @property
    def nodes(self) -> Sequence[int]:
        return self.lab.nodeids

    @property
    def ours(self) -> frozenset[int]:
        return self.lab.ours

    def start(self, node: int) -> None:
        self.lab.start(node)

    def signal(self, node: int, number: int) -> None:
        os.kill(self.lab.daemons[node], number)

    def running(self, node: int) -> bool:
        return self.lab.running(node)

    def forget(self, node: int) -> None:
        _emptied(self.lab.place(node) / "lib")

    def client(self, node: int, log: Path) -> subprocess.Popen[bytes]:
        program = (
            OUR_PEER if node in self.ours else (str(compiledPeer(self.lab.directory)),)
        )
        return _openClient([*self.lab.inside(node), *program, GROUP], log)

    def partition(self, parts: Iterable[Iterable[int]]) -> None:
        self.lab.partition(*parts or [self.nodes])

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.lab.cut(*pairs)

    def loss(self, percent: float) -> None:
        self.lab.loss(percent)

    def record(self, node: int) -> Path:
        return self.lab.record(node)

    def log(self, node: int) -> str:
        return self.lab.log(node)

    def down(self) -> None:
        self.lab.down()


def _emptied(directory: Path) -> None:
    """
    The directory stays: somebody may have mounted it.
    """
    for path in directory.iterdir():
        path.unlink()


def relayed(node: int, other: int) -> str:
    """
    Where a node of loopback thinks that another is: there a relay listens.
    """
    return addressOf(other) if node == other else f"127.0.{RELAYS + node}.{other}"


@define(eq=False)
class Loopback:
    """
    Daemons of ours on loopback addresses.  Each knows the others by addresses
    of a relay, which passes on, or does not, what is sent there.
    """

    nodes: Sequence[int]
    plan: Plan
    relay: Relay
    _daemons: dict[int, subprocess.Popen[bytes]] = field(factory=dict)

    @classmethod
    def build(cls, size: int, tokenMs: int, random: Random) -> "Loopback":
        """
        @raise OSError: when the addresses are not there, or taken.
        """
        nodes = tuple(range(1, size + 1))
        port = freePort([addressOf(node) for node in nodes], random)
        directory = Path(tempfile.mkdtemp(prefix="ct-"))
        targets = {node: (addressOf(node), port) for node in nodes}
        relay = Relay(targets, random.random)
        try:
            for node in nodes:
                for other in nodes:
                    if node != other:
                        relay.listen(node, other, (relayed(node, other), port))
            writeKey(directory / "authkey", random.randbytes(DEFAULT_BYTES))
        except BaseException:
            relay.close()
            shutil.rmtree(directory)
            raise
        relay.start()
        plan = Plan(directory, nodes, port, tokenMs, "torture", address=relayed)
        return cls(nodes, plan, relay)

    @property
    def ours(self) -> frozenset[int]:
        return frozenset(self.nodes)

    @property
    def directory(self) -> Path:
        return self.plan.directory

    def start(self, node: int) -> None:
        configuration = str(self.plan.write(node))
        command = [*OUR_DAEMON, "--config", configuration]
        command += ["--record", str(self.record(node))]
        with self._log(node).open("ab") as log:
            self._daemons[node] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )

    def signal(self, node: int, number: int) -> None:
        self._daemons[node].send_signal(number)

    def running(self, node: int) -> bool:
        daemon = self._daemons.get(node)
        return daemon is not None and daemon.poll() is None

    def forget(self, node: int) -> None:
        _emptied(self.directory / f"state{node}")

    def client(self, node: int, log: Path) -> subprocess.Popen[bytes]:
        path = str(self.directory / f"node{node}.sock")
        return _openClient([*OUR_PEER, GROUP, path], log)

    def partition(self, parts: Iterable[Iterable[int]]) -> None:
        self.relay.parts = [frozenset(part) for part in parts]

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.relay.cuts = frozenset(pairs)

    def loss(self, percent: float) -> None:
        self.relay.lost = percent / 100

    def record(self, node: int) -> Path:
        return self.directory / f"node{node}.{RECORD}"

    def _log(self, node: int) -> Path:
        return self.directory / f"node{node}.log"

    def log(self, node: int) -> str:
        return self._log(node).read_text(errors="replace")

    def down(self) -> None:
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait(EXIT_SECONDS)
        self.relay.close()
        shutil.rmtree(self.directory)
