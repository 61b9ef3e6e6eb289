"""
The reactor of one simulated process: its clock, and what its sockets wait for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProcessProtocol,
    IReactorFDSet,
    IReactorProcess,
    IReactorUNIX,
    IReadDescriptor,
    IWriteDescriptor,
)
from zope.interface import implementer

from corotwist.config.settings import TotemSettings
from corotwist.interfaces import IDatagramReceiver, ITransport
from corotwist.ipc.connection import Credentials
from corotwist.plugin import TRANSPORTS
from corotwist.simulator.clock import NodeClock
from corotwist.simulator.network import Network
from corotwist.simulator.programs import Programs, SimulatedProcess
from corotwist.simulator.sockets import Port
from corotwist.simulator.streams import FILES, Connecting, End, Listening, Paths


@implementer(IReactorFDSet, IReactorProcess, IReactorUNIX)
@define(eq=False)
class Reactor(NodeClock):
    """
    What production code takes for Twisted's reactor.

    @ivar who: the process, as the kernel knows it.
    @ivar paths: the file system of its machine.
    @ivar programs: what can be started there.
    @ivar port: where its UDP sockets are; L{None} for a process that has none.
    @ivar ends: its connections.
    @ivar mostFiles: how many of those it may have.
    """

    who: Credentials = field(default=Credentials(1, 0, 0), kw_only=True)
    paths: Paths = field(factory=Paths, kw_only=True)
    programs: Programs = field(factory=Programs, kw_only=True)
    port: Port | None = field(default=None, kw_only=True)
    ends: dict[End, None] = field(factory=dict, init=False)
    mostFiles: int = field(default=FILES, kw_only=True)
    _listening: list[Listening] = field(factory=list, init=False)

    def addReader(self, reader: IReadDescriptor) -> None:
        self._sockets().addReader(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        self._sockets().removeReader(reader)

    def getReaders(self) -> list[IReadDescriptor]:
        return self._sockets().readers()

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        removed = self.getReaders()
        for reader in removed:
            self.removeReader(reader)
        return [*removed]

    def addWriter(self, writer: IWriteDescriptor) -> None:
        raise NotImplementedError("nothing simulated waits for room to write")

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """
        There are none.
        """

    def getWriters(self) -> list[IWriteDescriptor]:
        return []

    def listenUNIX(
        self,
        address: str,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> Listening:
        listening = Listening(self, address, factory, self.paths, backlog)
        self._listening.append(listening)
        listening.startListening()
        return listening

    def connectUNIX(
        self,
        address: str,
        factory: Any,
        timeout: float = 30,
        checkPID: bool = False,
    ) -> Connecting:
        call = self.callLater(0, self.paths.connect, self, address, factory)
        connecting = Connecting(address, call)
        factory.startedConnecting(connecting)
        return connecting

    def spawnProcess(  # noqa: PLR0917 - As Twisted has it.
        self,
        processProtocol: IProcessProtocol,
        executable: bytes | str,
        args: Sequence[bytes | str] = (),
        env: Mapping[Any, Any] | None = None,
        path: bytes | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        usePTY: Any = False,
        childFDs: Any = None,
    ) -> SimulatedProcess:
        arguments = [str(argument) for argument in args]
        return self.programs.spawn(
            self, processProtocol, str(executable), arguments, env or {}
        )

    def stop(self) -> None:
        super().stop()
        for listening in self._listening:
            listening.died()
        for end in [*self.ends]:
            end.died()

    def _sockets(self) -> Port:
        assert self.port is not None, "this process has no network"
        return self.port


@implementer(ITransport)
@define(eq=False)
class Tapped:
    """
    The transport of a process, with somebody who looks at what it is given to
    send.
    """

    _transport: ITransport
    _port: Port
    _network: Network

    def start(self, receiver: IDatagramReceiver) -> None:
        self._transport.start(receiver)

    def stop(self) -> Deferred[None]:
        stopped: Deferred[None] = self._transport.stop()
        return stopped

    def unicast(self, nodeid: int, datagram: bytes) -> None:
        self._network.sending(self._port, (nodeid,), (datagram,))
        self._transport.unicast(nodeid, datagram)

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        others = self._network.others(self._port.nodeid)
        self._network.sending(self._port, others, datagrams)
        self._transport.multicast(datagrams)

    def drain(self) -> None:
        self._transport.drain()

    def statistics(self) -> Any:
        return self._transport.statistics()


def makeTransport(
    reactor: Reactor, settings: TotemSettings, port: Port, network: Network
) -> ITransport:
    """
    The transport that the configuration names, on simulated sockets.
    """
    (maker,) = (made for made in TRANSPORTS if made.name == settings.transport)
    transport = maker.load()(reactor, settings, port.makeSocket)
    return Tapped(transport, port, network)
