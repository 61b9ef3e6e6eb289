"""
What C{corotwist doctor} looks at on this machine.
"""

import os
import re
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, Protocol

from corotwist.config.settings import TotemSettings
from corotwist.config.values import Value
from corotwist.errors import Problem
from corotwist.tools.findings import Finding, Grade

# The kernel charges a small datagram for the whole buffer that it is in.
CHARGED_PER_DATAGRAM: Final = 2304
# What a node writes: ring ids, dumps and what slow readers have not read.
LEAST_FREE_BYTES: Final = 64 << 20
SO_RCVBUFFORCE: Final = 33
# IP_MTU and IPV6_MTU of linux/in.h and linux/in6.h.
_MTU: Final[Mapping[int, tuple[int, int, int]]] = {
    4: (socket.AF_INET, socket.IPPROTO_IP, 14),
    6: (socket.AF_INET6, socket.IPPROTO_IPV6, 24),
}
# Every client takes two.
LEAST_DESCRIPTORS: Final = 1024

_ADDRESS: Final = re.compile(r"nodelist\.node\.\d+\.ring\d_addr")

Address = IPv4Address | IPv6Address


class Host(Protocol):
    """
    The machine.
    """

    def resolve(self, name: str) -> tuple[Address, ...]: ...
    def isLocal(self, address: Address) -> bool: ...


def configuration(
    problems: tuple[Problem, ...], warnings: tuple[Problem, ...]
) -> Iterator[Finding]:
    """
    What a node would say to its files: keys and their permissions included.
    """
    for problem in problems:
        remedy = f"see line {problem.line} of {problem.file}" if problem.line else ""
        yield Finding("configuration", Grade.WRONG, str(problem), remedy)
    for warning in warnings:
        yield Finding("configuration", Grade.ADVICE, str(warning))
    if not problems:
        yield Finding("configuration", Grade.FINE, "a node can use it")


def names(keys: Iterable[tuple[str, Value]], host: Host) -> Iterator[Finding]:
    """
    The addresses in the node list that are names: what they mean here.

    @param keys: what the file says, by corosync's key names.
    """
    for name, value in keys:
        if _ADDRESS.fullmatch(name):
            yield from _name(str(value.content), host)


def _name(text: str, host: Host) -> Iterator[Finding]:
    if _isAddress(text):
        return
    found = host.resolve(text)
    if not found:
        remedy = "write it into /etc/hosts of every node, or an address in its place"
        yield Finding("names", Grade.WRONG, f"{text} has no address", remedy)
    elif any(address.is_loopback for address in found):
        shown = ", ".join(map(str, found))
        remedy = "take the name out of the loopback line of /etc/hosts"
        text = f"{text} means {shown} here, where no other node can send to"
        yield Finding("names", Grade.WRONG, text, remedy)
    else:
        shown = ", ".join(map(str, found))
        yield Finding("names", Grade.FINE, f"{text} means {shown}")


def _isAddress(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def key(settings: TotemSettings, fingerprint: str) -> Finding:
    """
    Is there one?  That it can be read by its owner only, the configuration's
    check has seen.

    @param fingerprint: of the key file; may be empty.
    """
    if settings.key is None:
        remedy = "run 'corotwist keygen', or keep everybody else off this network"
        return Finding("key", Grade.ADVICE, "datagrams are not sealed", remedy)
    text = "the key is readable by its owner only"
    shown = f"{text}; fingerprint {fingerprint}: compare it" if fingerprint else text
    return Finding("key", Grade.FINE, shown)


def stateDirectory(path: str, *, asRoot: bool) -> Iterator[Finding]:
    """
    May we write, is there room, and can others read?

    @param asRoot: we may do everything, whatever the mode says.
    """
    there = Path(path)
    if not there.exists():
        text = f"{path} is not there yet; a node makes it"
        yield Finding("state", Grade.FINE, text)
        return
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        remedy = f"give it to the user that the node runs as: chown USER {path}"
        yield Finding("state", Grade.WRONG, f"{path} cannot be written", remedy)
        return
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE_BYTES:
        text = f"{path} has room for {free >> 20} MiB more"
        remedy = f"make room: a node wants {LEAST_FREE_BYTES >> 20} MiB"
        yield Finding("state", Grade.WRONG, text, remedy)
        return
    whose = there.stat()
    if whose.st_mode & stat.S_IWOTH:
        remedy = f"chmod 0700 {path}"
        yield Finding("state", Grade.WRONG, f"everybody may write {path}", remedy)
    elif asRoot and whose.st_uid:
        text = (
            f"{path} belongs to user {whose.st_uid}; its node should run as that user"
        )
        yield Finding("state", Grade.FINE, text)
    else:
        yield Finding("state", Grade.FINE, f"{path} can be written")


def address(settings: TotemSettings, host: Host) -> Finding:
    """
    Is the node list right about who we are?
    """
    bound = settings.bindAddress
    if host.isLocal(bound):
        return Finding("address", Grade.FINE, f"{bound} is on this machine")
    text = f"{bound} of node {settings.nodeid} is not on this machine"
    remedy = "bring the interface up, or mend the node list"
    return Finding("address", Grade.WRONG, text, remedy)


def neededBytes(settings: TotemSettings) -> int:
    """
    Of a receive buffer: a whole window may arrive while we do something else.
    """
    charged = settings.netmtu + CHARGED_PER_DATAGRAM
    return 2 * settings.timing.windowSize * charged


def buffers(settings: TotemSettings, offered: int, limit: int | None) -> Finding:
    """
    Does a burst fit in the socket?

    @param offered: bytes that the kernel gave when asked for enough.
    @param limit: C{net.core.rmem_max}, where there is such a thing.
    """
    needed = neededBytes(settings)
    if offered >= needed:
        return Finding("buffers", Grade.FINE, f"sockets receive {offered >> 10} KiB")
    text = (
        f"sockets receive {offered >> 10} KiB, and a window of"
        f" {settings.timing.windowSize} frames may need {needed >> 10}"
    )
    known = "" if limit is None else f" (it is {limit})"
    remedy = f"sysctl -w net.core.rmem_max={needed}{known}, or a smaller window_size"
    return Finding("buffers", Grade.ADVICE, text, remedy)


def offeredBytes(wanted: int) -> int:
    """
    What the kernel gives a socket of ours.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, wanted)
        except OSError:  # For that one needs a privilege.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def receiveLimit() -> int | None:
    """
    The system's, where it says.
    """
    try:
        return int(Path("/proc/sys/net/core/rmem_max").read_text())
    except (OSError, ValueError):
        return None


def interfaceMtu(address: Address) -> int | None:
    """
    What the interface of that address carries, as far as the kernel tells: it
    knows when a socket is connected.
    """
    family, level, name = _MTU[address.version]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
            return probe.getsockopt(level, name)
        except OSError:
            return None


def mtu(
    totem: TotemSettings, known: Callable[[Address], int | None]
) -> Iterator[Finding]:
    """
    Do our packets fit the interfaces that they leave by?

    @param known: bytes of a packet on the way to an address.
    """
    for node in totem.nodes:
        if node.nodeid == totem.nodeid or not node.addresses:
            continue
        size = known(node.addresses[0])
        if size is not None and size < totem.netmtu:
            text = (
                f"the way to node {node.nodeid} carries packets of {size} bytes,"
                f" and netmtu is {totem.netmtu}"
            )
            remedy = f"write 'netmtu: {size}' in totem, on every node"
            yield Finding("mtu", Grade.WRONG, text, remedy)


def descriptors(limit: int) -> Finding:
    """
    Every client takes two.
    """
    if limit >= LEAST_DESCRIPTORS:
        return Finding("limits", Grade.FINE, f"{limit} files may be open")
    text = f"only {limit} files may be open; every client takes two"
    return Finding("limits", Grade.ADVICE, text, f"ulimit -n {LEAST_DESCRIPTORS}")
