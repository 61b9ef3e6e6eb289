"""
The place of a UNIX socket: nobody else's, and nothing else in it.
"""

import os
import socket
import stat
from pathlib import Path
from struct import Struct
from typing import Final

from corotwist.errors import ConfigurationError, Problem

DIRECTORY_MODE: Final = 0o755
# sizeof(sun_path), with its final zero.
LONGEST_PATH: Final = 107


def claim(path: str) -> None:
    """
    Make sure that C{path} can be bound: its directory exists and only its
    owner writes there, and a socket left over from an earlier run is gone.

    @raise ConfigurationError: saying what is in the way.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise _refusal(path, f"a socket's path has at most {LONGEST_PATH} bytes")
    _checkDirectory(Path(path).absolute().parent)
    _removeStale(path)


def _refusal(path: str, text: str) -> ConfigurationError:
    return ConfigurationError(Problem(path, 0, "corotwist.ipc_socket", text))


def _checkDirectory(directory: Path) -> None:
    try:
        directory.mkdir(DIRECTORY_MODE, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise _refusal(str(directory), f"no directory for it: {error}") from error
    if found.st_mode & stat.S_IWOTH:
        # Sticky or not: whoever is first there would be the node.
        raise _refusal(
            str(directory), "anybody may write to this directory; chmod o-w, or move"
        )
    if found.st_uid not in {0, os.geteuid()}:
        raise _refusal(str(directory), f"this directory belongs to {found.st_uid}")


def _removeStale(path: str) -> None:
    """
    Links are not followed: bind() does not follow them, nor do we.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _refusal(path, "there is something that is no socket; remove it")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108
        except OSError as error:
            raise _refusal(path, f"cannot tell who is there: {error}") from error
        else:
            raise _refusal(path, "another node listens there")


# POSIX access control lists, as Linux keeps them in an extended attribute:
# u32 version, then per entry u16 tag, u16 permissions, u32 id.
_ACL: Final = "system.posix_acl_access"
_ACL_VERSION: Final = Struct("<I").pack(2)
_ACL_ENTRY: Final = Struct("<HHI")
_NOBODY: Final = 0xFFFFFFFF
_OWNER, _USER, _OWNING_GROUP, _GROUP, _MASK, _OTHERS = 1, 2, 4, 8, 16, 32
_READ_WRITE: Final = 6


def admit(path: str, uids: frozenset[int], gids: frozenset[int]) -> None:
    """
    Let these users and groups connect, and nobody else: mode 0600 when there
    are none; 0660 and an access control list otherwise, whose last word the
    kernel's credentials of each connection have anyway.

    @raise OSError: when the file system keeps no access control lists.
    """
    Path(path).chmod(0o660 if uids or gids else 0o600)
    if uids or gids:
        entries = [
            (_OWNER, _READ_WRITE, _NOBODY),
            *((_USER, _READ_WRITE, uid) for uid in sorted(uids)),
            (_OWNING_GROUP, 0, _NOBODY),
            *((_GROUP, _READ_WRITE, gid) for gid in sorted(gids)),
            (_MASK, _READ_WRITE, _NOBODY),
            (_OTHERS, 0, _NOBODY),
        ]
        value = _ACL_VERSION + b"".join(_ACL_ENTRY.pack(*entry) for entry in entries)
        os.setxattr(path, _ACL, value)
