"""
The machine we run on, as far as a configuration asks.
"""

import array
import grp
import pwd
import socket
import struct
from collections.abc import Iterator
from fcntl import ioctl
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from zope.interface import implementer

from corotwist.config.localnode import IHost
from corotwist.config.settings import Address

# Linux: list the IPv4 addresses of all interfaces.
_SIOCGIFCONF: Final = 0x8912
_ENTRY_BYTES: Final = 40
_MOST_ENTRIES: Final = 1024
# An entry is a name of 16 bytes and a sockaddr_in.
_ADDRESS_AT: Final = slice(20, 24)
_IPV6_TABLE: Final = Path("/proc/net/if_inet6")


@implementer(IHost)
class Machine:
    """
    This one.
    """

    def hostName(self) -> str:
        return socket.gethostname()

    def addresses(self) -> tuple[Address, ...]:
        return (*_ipv4(), *_ipv6())

    def isLocal(self, address: Address) -> bool:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((str(address), 0))
        except OSError:
            return False
        return True

    def names(self, address: Address) -> tuple[str, ...]:
        try:
            name, others, _ = socket.gethostbyaddr(str(address))
        except OSError:
            return ()
        return (name, *others)

    def resolve(self, name: str) -> tuple[Address, ...]:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            return ()
        texts = dict.fromkeys(str(where[0]).partition("%")[0] for *_, where in found)
        return tuple(ip_address(text) for text in texts)

    def userId(self, name: str) -> int | None:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def groupId(self, name: str) -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None


def _ipv4() -> Iterator[IPv4Address]:
    table = array.array("B", bytes(_ENTRY_BYTES * _MOST_ENTRIES))
    address, size = table.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = ioctl(asking, _SIOCGIFCONF, struct.pack("iP", size, address))
    (used,) = struct.unpack_from("i", answer)
    raw = table.tobytes()
    for start in range(0, used, _ENTRY_BYTES):
        yield IPv4Address(raw[start : start + _ENTRY_BYTES][_ADDRESS_AT])


def _ipv6() -> Iterator[IPv6Address]:
    try:
        table = _IPV6_TABLE.read_text()
    except OSError:
        return
    for line in table.splitlines():
        yield IPv6Address(bytes.fromhex(line.split()[0]))
