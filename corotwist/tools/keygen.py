"""
C{corotwist keygen}: make the key that the nodes of a cluster share.
"""

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.python import usage

from corotwist.errors import ConfigurationError, Problem
from corotwist.options import Options
from corotwist.totem.frame import (
    LARGEST_KEY_FILE,
    SMALLEST_KEY_FILE,
    deriveKey,
    fingerprint,
)

# Where real corosync nodes look, too.
DEFAULT_PATH: Final = "/etc/corosync/authkey"
DEFAULT_BYTES: Final = 256
# Readable by its owner, and by nobody else.
MODE: Final = 0o400
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def _keyBytes(text: str) -> int:
    """
    Of C{--bytes}.  Twisted would not say which option a L{ValueError} is about.
    """
    if text.isdecimal() and SMALLEST_KEY_FILE <= int(text) <= LARGEST_KEY_FILE:
        return int(text)
    raise usage.UsageError(f"--bytes is {SMALLEST_KEY_FILE} to {LARGEST_KEY_FILE}")


class KeygenOptions(Options):
    """
    What C{corotwist keygen} understands.
    """

    synopsis = "Usage: corotwist keygen [-k FILE] [--bytes N]"
    longdesc = (
        "Write a new random key to FILE, which must not be there yet."
        " Copy it to every node of the cluster, and name it in totem.keyfile."
    )
    optParameters = [
        ["key-file", "k", DEFAULT_PATH, "The file to write."],
        ["bytes", None, DEFAULT_BYTES, "Its size.", _keyBytes],
    ]


def run(argv: Sequence[str]) -> int:
    """
    Write a key file.

    @param argv: what follows C{keygen} on the command line.
    @return: 0, 1 when the file cannot be written, or 2 for a wrong command
        line.
    """
    options = KeygenOptions()
    try:
        options.parseOptions(list(argv))
    except usage.UsageError as error:
        print(f"corotwist keygen: {error}\n{options}", file=sys.stderr)
        return 2
    path = Path(options["key-file"])
    material = os.urandom(options["bytes"])
    try:
        writeKey(path, material)
    except FileExistsError:
        print(
            f"corotwist keygen: {path} is there already and is left as it is:"
            " a key that some nodes have is not replaced by accident",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(f"corotwist keygen: {path}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{path}: {len(material)} bytes, fingerprint {fingerprint(material)}")
    return 0


def writeKey(path: Path, material: bytes) -> None:
    """
    Create C{path} with nothing but the whole key in it.

    @raise OSError: and nothing is left, or what was there is unharmed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(material)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise


def loadKey(path: str, clusterName: str) -> bytes:
    """
    The key of a cluster, from an operator's key file.

    @raise ConfigurationError: the file cannot be read, has the wrong size, or
        can be read by others than its owner.
    """
    try:
        material, mode = _read(path)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise _unusable(path, "is not a file")
    if mode & OTHERS:
        raise _unusable(
            path,
            f"has mode {stat.S_IMODE(mode):04o}, so that others than its owner"
            f" have a share in it; use chmod {MODE:04o}",
        )
    if not SMALLEST_KEY_FILE <= len(material) <= LARGEST_KEY_FILE:
        raise _unusable(
            path,
            f"must have {SMALLEST_KEY_FILE} to {LARGEST_KEY_FILE} bytes",
        )
    return deriveKey(material, clusterName)


def _read(path: str) -> tuple[bytes, int]:
    """
    At most one byte too many, and the mode of the very file that was read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        isFile = stat.S_ISREG(mode)
        return os.read(descriptor, LARGEST_KEY_FILE + 1) if isFile else b"", mode
    finally:
        os.close(descriptor)


def _unusable(path: str, text: str) -> ConfigurationError:
    return ConfigurationError(Problem(path, 0, "totem.keyfile", f"{path} {text}"))
