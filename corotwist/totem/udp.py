"""
The transport C{udp}: IP multicast, or broadcast, for all but tokens.
"""

import socket
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from corotwist.config.settings import Address, TotemSettings
from corotwist.totem.sockets import (
    SocketAddress,
    SocketMaker,
    SocketTransport,
    socketAddress,
)

BROADCAST: Final = IPv4Address("255.255.255.255")
# One line per address: the address in hexadecimal, the index of the
# interface likewise, and four fields more.
INTERFACES: Final = Path("/proc/net/if_inet6")


def derivedMulticastAddress(
    clusterName: str, ipv6: bool = False, link: int = 0
) -> Address:
    """
    The group address of a cluster that configures none; corosync's rule.

    @param link: number of the link: each has a group of its own.
    """
    number = link
    for place, value in enumerate(reversed(clusterName.encode())):
        number += value << place
    number &= 0xFFFF
    if ipv6:
        return IPv6Address(f"ff15::{number:x}")
    return IPv4Address(f"239.192.{number >> 8}.{number % 255}")


def interfaceIndex(address: IPv6Address, table: str) -> int:
    """
    Which interface has C{address}.

    @param table: the text of L{INTERFACES}.
    @raise OSError: none has it.
    """
    wanted = address.packed.hex()
    for line in table.splitlines():
        fields = line.split()
        if fields and fields[0] == wanted:
            return int(fields[1], 16)
    raise OSError(f"no interface has the address {address}")


class UdpTransport(SocketTransport):
    """
    Three sockets: tokens come to our own address, the rest to the group's,
    and all is sent from the port below.
    """

    def __init__(
        self,
        reactor: object,
        settings: TotemSettings,
        makeSocket: SocketMaker = socket.socket,
        interfaces: Path = INTERFACES,
    ) -> None:
        super().__init__(reactor, settings, makeSocket)
        self._interfaces = interfaces
        self._source = socketAddress(settings.bindAddress, settings.port - 1)
        self._group = socketAddress(self._groupAddress(), settings.port)
        self._counters["datagramsReflected"] = 0

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        self._ports[0].send(datagrams, (self._group,))

    def _groupAddress(self) -> Address:
        settings = self._settings
        ipv6 = isinstance(settings.bindAddress, IPv6Address)
        if settings.broadcast and not ipv6:
            return BROADCAST
        if settings.multicastAddress is not None:
            return settings.multicastAddress
        return derivedMulticastAddress(settings.clusterName, ipv6)

    def _bind(self) -> None:
        settings = self._settings
        own = socketAddress(settings.bindAddress, settings.port)
        self._group = self._scoped(self._group)
        self._port(self._source, self._ignore, self._prepareSender)
        self._multicasts = self._port(
            self._group, self._multicastsHeard, self._prepareReceiver
        )
        self._port(own, self._tokensHeard)

    def _scoped(self, group: SocketAddress) -> SocketAddress:
        """
        An IPv6 group means something on one interface only: ours.
        """
        address = self._settings.bindAddress
        if not isinstance(address, IPv6Address):
            return group
        return (*group[:3], interfaceIndex(address, self._interfaces.read_text()))

    def _prepareSender(self, bound: socket.socket) -> None:
        settings = self._settings
        if self._group[0] == str(BROADCAST):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        elif isinstance(settings.bindAddress, IPv6Address):
            level = socket.IPPROTO_IPV6
            bound.setsockopt(level, socket.IPV6_MULTICAST_IF, self._group[3])
            bound.setsockopt(level, socket.IPV6_MULTICAST_LOOP, 0)
            bound.setsockopt(level, socket.IPV6_MULTICAST_HOPS, settings.ttl)
        else:
            level = socket.IPPROTO_IP
            interface = settings.bindAddress.packed
            bound.setsockopt(level, socket.IP_MULTICAST_IF, interface)
            bound.setsockopt(level, socket.IP_MULTICAST_LOOP, 0)
            bound.setsockopt(level, socket.IP_MULTICAST_TTL, settings.ttl)

    def _prepareReceiver(self, bound: socket.socket) -> None:
        """
        Several nodes on one machine listen to the same group.
        """
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = self._settings.bindAddress
        if self._group[0] == str(BROADCAST):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        elif isinstance(address, IPv6Address):
            group = socket.inet_pton(socket.AF_INET6, self._group[0])
            member = group + self._group[3].to_bytes(4, sys.byteorder)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        else:
            member = socket.inet_aton(self._group[0]) + address.packed
            bound.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)

    def _ignore(self, datagrams: Sequence[bytes], address: SocketAddress) -> None:
        """
        Nobody has reason to write to the port that we send from.
        """

    def _multicastsHeard(
        self, datagrams: Sequence[bytes], address: SocketAddress
    ) -> None:
        """
        Broadcasts, and multicasts over a loopback device, come back to us.
        """
        if address[:2] == self._source[:2]:
            self._counters["datagramsReflected"] += len(datagrams)
        else:
            self._handUp(datagrams, address)

    def _tokensHeard(self, datagrams: Sequence[bytes], address: SocketAddress) -> None:
        """
        What was multicast before the token is heard before it, although it
        waits in another socket.
        """
        self._multicasts.drain()
        self._handUp(datagrams, address)
