"""
Processes that only send and listen, each with a whole transport on simulated
sockets.
"""

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from corotwist.interfaces import IDatagramReceiver, ITransport
from corotwist.simulator.clock import Clock
from corotwist.simulator.machine import Blueprint, Wishes, addressOf
from corotwist.simulator.network import Network
from corotwist.simulator.reactor import Reactor, makeTransport
from corotwist.simulator.sockets import Port


@implementer(IDatagramReceiver)
class Ear:
    """
    Notes what it hears, and when.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.heard: list[bytes] = []
        self.times: list[float] = []
        self.bursts: list[int] = []
        self.addresses: set[object] = set()

    def datagramsReceived(self, datagrams: Sequence[bytes], address: object) -> None:
        self.heard += datagrams
        self.times += [self.clock.seconds()] * len(datagrams)
        self.bursts.append(len(datagrams))
        self.addresses.add(address)


class Station:
    """
    One of them.
    """

    def __init__(self, nodeid: int, network: Network, **totem: Any) -> None:
        entries = Blueprint(Wishes(totem).text(network.nodeids, sealed=False))
        nodes = entries.anybody().totem.nodes
        own = next(entry for entry in nodes if entry.nodeid == nodeid)
        settings = entries.settings(own).totem
        self.port = Port(nodeid, network, (str(addressOf(nodeid)),))
        self.reactor = Reactor(network.clock, port=self.port)
        self.transport: ITransport = makeTransport(
            self.reactor, settings, self.port, network
        )
        self.ear = Ear(network.clock)

    def start(self) -> None:
        """
        Listen.
        """
        self.transport.start(self.ear)

    def statistics(self) -> Any:
        """
        Of the transport.
        """
        return self.transport.statistics()
