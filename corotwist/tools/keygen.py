"""
C{corotwist keygen}: make the key that the nodes of a cluster share.
"""

import json
import os
import stat
import sys
from collections.abc import Sequence
from enum import IntEnum
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import Any, Final

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
RANDOM: Final = "/dev/urandom"
SCHEMA: Final = "corotwist/keygen/1"
# Readable by its owner, and by nobody else.
MODE: Final = 0o400
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Ending(IntEnum):
    """
    Exit statuses, those of corosync-keygen.
    """

    DONE = 0
    WRONG_USE = 1
    NOT_CREATED = 2
    NOT_WRITTEN = 4


class Failed(Exception):
    """
    No key was made.
    """

    def __init__(self, status: Ending, text: str) -> None:
        super().__init__(text)
        self.status = status


def _keyBytes(text: str) -> int:
    """
    Of C{--size}.  Twisted would not say which option a L{ValueError} is about.
    """
    if text.isdecimal() and SMALLEST_KEY_FILE <= int(text) <= LARGEST_KEY_FILE:
        return int(text)
    raise usage.UsageError(
        f"Unsupported key size (supported <{SMALLEST_KEY_FILE},{LARGEST_KEY_FILE}>)"
    )


class KeygenOptions(Options):
    """
    What C{corotwist keygen} understands.
    """

    synopsis = "Usage: corotwist keygen [-k FILE] [-s SIZE] [-r FILE] [--force]"
    longdesc = (
        "Write a new random key to FILE, which must not be there yet."
        " Copy it to every node of the cluster, and name it in totem.keyfile."
        " With several -k each file gets a key of its own."
        " Exit status 0; 1 for wrong use and a source that cannot be read; 2 when"
        " the file cannot be made, 4 when it cannot be written."
    )
    optFlags = [
        ["force", None, "replace a key that is there"],
        ["less-secure", "l", "no effect; corosync-keygen has it, too"],
        ["json", None, "print JSON"],
    ]
    optParameters = [
        ["size", "s", DEFAULT_BYTES, "its size in bytes", _keyBytes],
        ["random-file", "r", RANDOM, "where randomness comes from"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["paths"] = []

    def opt_key_file(self, path: str) -> None:
        """
        The file to write, by default /etc/corosync/authkey; may be given several
        times.
        """
        self["paths"].append(path)

    opt_k = opt_key_file
    opt_h = Options.opt_help


def run(argv: Sequence[str]) -> int:
    """
    Write key files.

    @param argv: what follows C{keygen} on the command line.
    @return: the exit status.
    """
    options = KeygenOptions()
    try:
        options.parseOptions(list(argv))
    except usage.UsageError as error:
        print(f"corotwist keygen: {error}\n{options}", file=sys.stderr)
        return Ending.WRONG_USE
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    try:
        for path in options["paths"] or [DEFAULT_PATH]:
            _make(Path(path), options)
    except Failed as failed:
        _complain(failed, asJson=bool(options["json"]))
        return failed.status
    return Ending.DONE


def _make(path: Path, options: KeygenOptions) -> None:
    """
    One key.

    @raise Failed: what was there, if anything, is unharmed.
    """
    size, source, asJson = options["size"], options["random-file"], options["json"]
    if not asJson:
        print("Corosync Cluster Engine Authentication key generator.")
        print(f"Gathering {8 * size} bits for key from {source}.")
    material = _random(source, size)
    replace = bool(options["force"]) or _wantsReplaced(path)
    if not asJson:
        print(f"Writing corosync key to {path}.")
    try:
        (replaceKey if replace else writeKey)(path, material)
    except FileExistsError as error:
        raise Failed(
            Ending.NOT_CREATED,
            f"{path} is there already and is left as it is: a key that some nodes"
            " have is not replaced by accident; --force replaces it",
        ) from error
    except OSError as error:
        full = error.errno in (ENOSPC, EDQUOT, EFBIG, EIO)
        status = Ending.NOT_WRITTEN if full else Ending.NOT_CREATED
        raise Failed(status, f"{path}: {error.strerror}") from error
    mark = fingerprint(material)
    if asJson:
        content = {"path": str(path), "bytes": len(material), "fingerprint": mark}
        _printJson(**content)
    else:
        print(f"{path}: {len(material)} bytes, fingerprint {mark}")


def _random(source: str, size: int) -> bytes:
    """
    @raise Failed: there is not as much.
    """
    try:
        with Path(source).open("rb", buffering=0) as file:
            found = b""
            while len(found) < size:
                more = file.read(size - len(found))
                if not more:
                    text = f"{source} has only {len(found)} bytes"
                    raise Failed(Ending.WRONG_USE, text)
                found += more
    except OSError as error:
        text = f"Failed to open random source: {source}: {error.strerror}"
        raise Failed(Ending.WRONG_USE, text) from error
    return found


def _wantsReplaced(path: Path) -> bool:
    """
    Is there a key, and does somebody at a terminal say that it may go?
    """
    if not (os.path.lexists(path) and sys.stdin.isatty()):
        return False
    print(f"{path} is there already: replace it? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _complain(failed: Failed, *, asJson: bool) -> None:
    if asJson:
        _printJson(error=failed.status.name, code=None, text=str(failed))
    else:
        print(f"corotwist keygen: {failed}", file=sys.stderr)


def _printJson(**content: Any) -> None:
    print(json.dumps({"schema": SCHEMA, **content}), flush=True)


def replaceKey(path: Path, material: bytes) -> None:
    """
    Put a whole key in the place of whatever is there.

    @raise OSError: what was there is unharmed.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    writeKey(beside, material)
    try:
        beside.replace(path)
    except OSError:
        beside.unlink()
        raise


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
