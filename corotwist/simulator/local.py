"""
Applications on the machines of simulated nodes: production clients, over
simulated UNIX sockets or inside the node, and processes that misbehave.
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any, Final, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from corotwist.config.settings import IpcSettings
from corotwist.ipc import client
from corotwist.ipc.admission import SECRET_BYTES
from corotwist.ipc.client import NodeClient
from corotwist.ipc.connection import Credentials
from corotwist.ipc.server import IpcServer
from corotwist.simulator.chance import source
from corotwist.simulator.clock import Clock
from corotwist.simulator.judges.groups import FIRST_APPLICATION
from corotwist.simulator.reactor import Reactor
from corotwist.simulator.streams import End, Paths

# Before the next attempt to reach a node that is gone, at least and at most.
RETRY_SECONDS: Final = (0.1, 2.0)

# For a node to let a client in, or to say that it does not.
CONNECT_SECONDS: Final = 15.0
# For a disk to write or read something.
DISK_SECONDS: Final = 0.002

T = TypeVar("T")


class Nowhere:
    """
    The place of a simulated socket: there is nothing to look after.
    """

    def claim(self, path: str) -> None:
        """
        It is free.
        """

    def admit(self, path: str, uids: frozenset[int], gids: frozenset[int]) -> None:
        """
        The server asks for credentials anyway.
        """


def credentialsOf(end: End) -> Credentials:
    """
    Who is at the other end, says the simulated kernel.
    """
    who: Credentials = end.peer.reactor.who
    return who


@define(eq=False)
class MemoryStore:
    """
    A file of a simulated machine, without a name.
    """

    _reactor: Reactor
    _bytes: bytearray = field(factory=bytearray)

    def write(self, offset: int, data: bytes) -> Deferred[None]:
        """
        See L{Store<corotwist.ipc.spill.Store>}.
        """
        if len(self._bytes) < offset:
            self._bytes.extend(bytes(offset - len(self._bytes)))
        self._bytes[offset : offset + len(data)] = data
        return self._soon(None)

    def read(self, offset: int, size: int) -> Deferred[bytes]:
        """
        See L{Store<corotwist.ipc.spill.Store>}.
        """
        return self._soon(bytes(self._bytes[offset : offset + size]))

    def close(self) -> None:
        """
        It is gone.
        """
        self._bytes.clear()

    def _soon(self, result: T) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self._reactor.callLater(DISK_SECONDS, done.callback, result)
        return done


def makeDoor(
    random: Random, reactor: Reactor, settings: IpcSettings, manager: Any
) -> IpcServer:
    """
    What lets clients in, on a simulated machine.

    @param random: draws secrets.
    """
    return IpcServer(
        reactor,
        settings,
        manager,
        partial(random.randbytes, SECRET_BYTES),
        credentialsOf,
        place=Nowhere(),
        store=partial(MemoryStore, reactor),
        mostFiles=lambda: reactor.mostFiles,
    )


class RawProtocol(Protocol):
    """
    A connection that speaks whatever it is told.

    @ivar received: what came back.
    @ivar closed: the other side closed it.
    """

    def __init__(self) -> None:
        self.received = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = True

    def write(self, data: bytes) -> None:
        """
        Say something.
        """
        assert self.transport is not None, "not connected"
        self.transport.write(data)


@define(eq=False)
class LocalProcess:
    """
    A process on the machine of a node.

    @ivar path: where that node listens.
    """

    reactor: Reactor
    path: str
    _random: Random
    _cluster: Clock
    _awayUntil: float = field(default=0.0, init=False)

    @property
    def pid(self) -> int:
        """
        Its process id.
        """
        return self.reactor.who.pid

    def connect(self) -> Deferred[NodeClient]:
        """
        As L{client.connect}.
        """
        return client.connect(self.reactor, self.path, self._pause)

    def connectedTo(self, reactor: Reactor) -> bool:
        """
        Does that process, and no other, have our connections?
        """
        ends = [*self.reactor.ends]
        return bool(ends) and all(end.peer.reactor is reactor for end in ends)

    def _pause(self, failures: int) -> float:
        return self._random.uniform(*RETRY_SECONDS)

    def dial(self) -> RawProtocol:
        """
        Connect without knowing the protocol.
        """
        protocol = RawProtocol()
        factory = ClientFactory.forProtocol(lambda: protocol)
        factory.noisy = False
        self.reactor.paths.connect(self.reactor, self.path, factory)
        return protocol

    def stall(self, seconds: float) -> None:
        """
        Do nothing for a while: read nothing, above all.
        """
        until = self._cluster.seconds() + seconds
        self._awayUntil = max(self._awayUntil, until)
        self.reactor.present = False
        self._cluster.place(until, self._back)

    def _back(self) -> None:
        if self._cluster.seconds() >= self._awayUntil:
            self.reactor.present = True
            while self.reactor.callWaiting():
                pass

    def kill(self) -> None:
        """
        End at once.
        """
        self.reactor.stop()


Waiting = Callable[[Callable[[], bool], float], bool]


@define(eq=False)
class Applications:
    """
    All processes that are no nodes.

    @ivar path: where the node on a machine listens.
    @ivar runUntil: lets time go by.
    """

    seed: int
    clock: Clock
    paths: Mapping[int, Paths]
    path: Callable[[int], str]
    runUntil: Waiting
    _processes: dict[NodeClient, LocalProcess] = field(factory=dict)
    _count: int = 0

    def process(
        self, nodeid: int, uid: int = 0, pid: int | None = None
    ) -> LocalProcess:
        """
        A process that has just started on the machine of a node.
        """
        self._count += 1
        pid = pid or FIRST_APPLICATION + self._count
        who = Credentials(pid, uid, uid, frozenset({uid}))
        reactor = Reactor(self.clock, who=who, paths=self.paths[nodeid])
        random = source(self.seed, "application", self._count)
        return LocalProcess(reactor, self.path(nodeid), random, self.clock)

    def connect(self, nodeid: int, uid: int = 0) -> NodeClient:
        """
        A client of a node, in a process of its own.

        @raise ServiceError: as L{client.connect} fails.
        """
        process = self.process(nodeid, uid)
        connected = self.wait(process.connect(), CONNECT_SECONDS)
        self._processes[connected] = process
        return connected

    def processOf(self, connected: NodeClient) -> LocalProcess:
        """
        Where a client lives that L{connect} made.
        """
        return self._processes[connected]

    def wait(self, deferred: Deferred[T], within: float) -> T:
        """
        Let time go by until a L{Deferred} has fired.

        @return: with what.
        @raise Exception: with which failure.
        @raise TimeoutError: it has not, within so many seconds.
        """
        fired: list[Any] = []
        deferred.addBoth(fired.append)
        if not self.runUntil(lambda: bool(fired), within):
            raise TimeoutError(f"nothing came within {within} s")
        (value,) = fired
        if isinstance(value, Failure):
            value.raiseException()
        result: T = value
        return result
