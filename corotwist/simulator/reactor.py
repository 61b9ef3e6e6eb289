"""
The reactor of one simulated process: its clock, and what its sockets wait for.
"""

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReadDescriptor,
    IWriteDescriptor,
)
from zope.interface import implementer

from corotwist.config.settings import TotemSettings
from corotwist.interfaces import IDatagramReceiver, ITransport
from corotwist.node import TRANSPORTS
from corotwist.simulator.clock import NodeClock
from corotwist.simulator.network import Network
from corotwist.simulator.sockets import Port


@implementer(IReactorFDSet)
@define(eq=False)
class Reactor(NodeClock):
    """
    What production code takes for Twisted's reactor.

    @ivar port: where its sockets are; L{None} for a process that has none.
    """

    port: Port | None = field(default=None, kw_only=True)

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
    transport = TRANSPORTS[settings.transport](reactor, settings, port.makeSocket)
    return Tapped(transport, port, network)
