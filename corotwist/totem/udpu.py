"""
The transport C{udpu}: a copy of everything to each node of the list.
"""

import socket
from collections.abc import Sequence

from corotwist.config.settings import TotemSettings
from corotwist.totem.sockets import (
    SocketAddress,
    SocketMaker,
    SocketTransport,
    socketAddress,
)


class UdpuTransport(SocketTransport):
    """
    One socket for all, on our own address and the totem port.

    Real corosync nodes send data from ephemeral ports, but judge what they
    receive by its address alone.
    """

    def __init__(
        self,
        reactor: object,
        settings: TotemSettings,
        makeSocket: SocketMaker = socket.socket,
    ) -> None:
        super().__init__(reactor, settings, makeSocket)
        self._own = socketAddress(settings.bindAddress, settings.port)
        self._others = [
            address
            for nodeid, address in self._addresses.items()
            if nodeid != settings.nodeid
        ]
        self._listed = {address[0] for address in self._addresses.values()}
        self._blockUnlisted = settings.blockUnlistedIps
        self._counters["datagramsUnlisted"] = 0

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        self._ports[0].send(datagrams, self._others)

    def _bind(self) -> None:
        self._port(self._own, self._datagramsHeard)

    def _datagramsHeard(
        self, datagrams: Sequence[bytes], address: SocketAddress
    ) -> None:
        if self._blockUnlisted and address[0] not in self._listed:
            self._counters["datagramsUnlisted"] += len(datagrams)
        else:
            self._handUp(datagrams, address)
