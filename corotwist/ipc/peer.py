"""
Who is at the other end of a socket, as the kernel says it.
"""

from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET, socket
from struct import Struct
from typing import Any, Final

from corotwist.ipc.connection import Credentials

_UCRED: Final = Struct("3i")
# Linux; not named by Python's socket module.
_SO_PEERGROUPS: Final = 59
# Python's limit; 256 groups.
_PEER_GROUPS_BYTES: Final = 1024


def peerCredentials(transport: Any) -> Credentials:
    """
    Who is at the other end of a connected UNIX socket, says the kernel.
    """
    handle: socket = transport.getHandle()
    pid, uid, gid = _UCRED.unpack(
        handle.getsockopt(SOL_SOCKET, SO_PEERCRED, _UCRED.size)
    )
    try:
        raw = handle.getsockopt(SOL_SOCKET, _SO_PEERGROUPS, _PEER_GROUPS_BYTES)
    except OSError:
        raw = b""  # More groups than Python has room for.
    groups = Struct(f"{len(raw) // 4}I").unpack(raw)
    return Credentials(pid, uid, gid, frozenset((gid, *groups)))


def processName(pid: int) -> str:
    """
    What a process calls itself; nothing when it is not to be found here.
    """
    try:
        name = Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return ""
    return name.strip().decode(errors="replace")
