"""
Where a node keeps its state and meets its clients, unless the file says.
"""

from collections.abc import Mapping
from posixpath import join
from typing import Final

ROOT: Final = 0
# The name of an environment variable for the place of a node's socket.
SOCKET_VARIABLE: Final = "COROTWIST_SOCKET"
# What a UNIX socket's address holds, less the terminating zero.
LONGEST_SOCKET_PATH_BYTES: Final = 107

# Corosync's own: a node that changes from one to the other, either way, finds
# the number of its last ring, and no ring id is used twice.
_STATE_OF_ROOT: Final = "/var/lib/corosync"
_SOCKET: Final = "corotwist.sock"


def stateDirectory(
    environ: Mapping[str, str], uid: int, configured: str | None = None
) -> str:
    """
    The directory for what must survive a restart.

    @param configured: C{system.state_dir}.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return given
    if configured:
        return configured
    if uid == ROOT:
        return _STATE_OF_ROOT
    home = environ.get("XDG_STATE_HOME") or join(
        environ.get("HOME", "/"), ".local", "state"
    )
    return join(home, "corotwist")


def socketPath(
    environ: Mapping[str, str], uid: int, configured: str | None = None
) -> str:
    """
    The UNIX socket where a node listens, and where a client looks for it.

    @param configured: C{corotwist.ipc_socket}, or what a client was told.
    """
    named = configured or environ.get(SOCKET_VARIABLE)
    if named:
        return named
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return join(given, _SOCKET)
    if uid == ROOT:
        return f"/run/corotwist/{_SOCKET}"
    own = environ.get("XDG_RUNTIME_DIR") or f"/tmp/corotwist-{uid}"  # noqa: S108
    return join(own, _SOCKET)
