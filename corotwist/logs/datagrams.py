"""
Where lines go, one datagram each: the syslog and the journal of this machine.
All of it runs in the writer's thread; nothing of it blocks.
"""

import fcntl
import os
import socket
import time
from array import array
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from errno import EIO, EMSGSIZE, ENOBUFS, EPROTOTYPE
from typing import Any, Final

from corotwist.logs.layout import described, label, readable, source, whole
from corotwist.logs.levels import FACILITIES, Priority
from corotwist.logs.record import Record

SYSLOG_SOCKET: Final = "/dev/log"
JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
IDENTIFIER: Final = "corotwist"
# A logger that is away is looked for again after so long.
AGAIN_SECONDS: Final = 2.0
# A syslog that is busy gets so long, once, before we go on without it.
PATIENCE_SECONDS: Final = 0.05
# What every syslog takes.
LONGEST_MESSAGE: Final = 8192

_SEALS: Final = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
)
_TOO_LARGE: Final = (EMSGSIZE, ENOBUFS)
# Behind the first twelve, the numbers of four have no name.
_LOCAL: Final = 16


def facilityNumber(name: str) -> int:
    """
    Syslog's number of a facility.
    """
    if name.startswith("local"):
        return _LOCAL + int(name[-1])
    return FACILITIES.index(name)


class Wire:
    """
    A socket to somebody on this machine who may come and go.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._socket: socket.socket | None = None
        self._stream = False
        self._again = 0.0
        self._errno = 0

    def send(self, message: bytes, handles: tuple[int, ...] = ()) -> None:
        """
        One message, now or never.

        @raise OSError: when it cannot be sent.
        """
        line = self._connected()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", handles))]
        try:
            end = b"\0" if self._stream else b""
            line.sendmsg([message + end], rights if handles else [])
        except OSError as error:
            if not isinstance(error, BlockingIOError) and error.errno not in _TOO_LARGE:
                self.close()
            raise

    def _connected(self) -> socket.socket:
        if self._socket is None:
            now = self._clock()
            if now < self._again:
                raise OSError(self._errno, os.strerror(self._errno))
            self._again = now + AGAIN_SECONDS
            try:
                self._socket = self._connect()
            except OSError as error:
                self._errno = error.errno or EIO
                raise
        return self._socket

    def _connect(self) -> socket.socket:
        try:
            self._stream = False
            return self._connectAs(socket.SOCK_DGRAM)
        except OSError as error:
            if error.errno != EPROTOTYPE:
                raise
            self._stream = True
            return self._connectAs(socket.SOCK_STREAM)

    def _connectAs(self, kind: socket.SocketKind) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, kind)
        try:
            line.setblocking(False)
            line.connect(self.path)
        except OSError:
            line.close()
            raise
        return line

    def close(self) -> None:
        """
        Until the next message.
        """
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class DatagramTarget:
    """
    A message for each record.
    """

    def __init__(self, wire: Wire) -> None:
        self.name = wire.path
        self.lost = 0
        self.trouble = ""
        self.waiting = 0
        self.wire = wire

    def write(self, record: Record) -> None:
        try:
            self._send(record)
            self.trouble = ""
        except FileNotFoundError as error:
            # This machine has none, which is no loss.
            self.trouble = str(error.strerror)
        except OSError as error:
            self.lost += 1
            self.trouble = error.strerror or str(error)

    def _send(self, record: Record) -> None:
        message = self.message(record)
        try:
            self.wire.send(message)
        except BlockingIOError:
            if self.trouble:
                raise
            time.sleep(PATIENCE_SECONDS)
            self.wire.send(message)

    def message(self, record: Record) -> bytes:
        """
        What is sent.
        """
        raise NotImplementedError

    def flush(self) -> None:
        pass

    def reopen(self) -> None:
        self.wire.close()

    def forked(self) -> None:
        self.wire.close()

    def close(self) -> None:
        self.wire.close()


class SyslogTarget(DatagramTarget):
    """
    The traditional lines, with our subsystem before the text.
    """

    def __init__(self, wire: Wire, facility: str) -> None:
        super().__init__(wire)
        self._facility = facilityNumber(facility)

    def message(self, record: Record) -> bytes:
        priority = min(record.priority, Priority.DEBUG)
        moment = datetime.fromtimestamp(record.time, UTC).astimezone()
        head = (
            f"<{self._facility * 8 + priority}>{moment:%b} {moment.day:2}"
            f" {moment:%H:%M:%S} {IDENTIFIER}[{os.getpid()}]: [{record.tag:6}] "
        )
        text = readable(whole(record))
        return (head + text).encode(errors="backslashreplace")[:LONGEST_MESSAGE]


class JournalTarget(DatagramTarget):
    """
    The journal's own protocol: fields, to be searched by.
    """

    def __init__(self, wire: Wire, common: Mapping[str, Any]) -> None:
        """
        @param common: who we are, in each entry.
        """
        super().__init__(wire)
        self._common = {
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            **{name.upper(): value for name, value in common.items()},
        }

    def message(self, record: Record) -> bytes:
        fields: dict[str, object] = {
            "MESSAGE": whole(record),
            "PRIORITY": int(min(record.priority, Priority.DEBUG)),
            **self._common,
            "COROTWIST_SUBSYSTEM": record.tag,
            "COROTWIST_LEVEL": label(record),
        }
        if record.code is not None:
            fields["CODE_FILE"] = source(record)
            fields["CODE_LINE"] = record.line
            fields["CODE_FUNC"] = record.code.co_qualname
        for name, value in described(record).get("fields", {}).items():
            fields.setdefault(f"COROTWIST_{name.upper()}", value)
        return b"".join(entry(name, value) for name, value in fields.items())

    def _send(self, record: Record) -> None:
        try:
            super()._send(record)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._sendFile(self.message(record))

    def _sendFile(self, message: bytes) -> None:
        """
        What no datagram can hold goes in memory that both of us see.
        """
        handle = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(handle, message)
            # The journal reads nothing that might still change.
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)
            self.wire.send(b"", (handle,))
        finally:
            os.close(handle)


def entry(name: str, value: object) -> bytes:
    """
    One field of a journal entry.
    """
    data = value if isinstance(value, bytes) else str(value).encode(errors="replace")
    key = _fieldName(name).encode()
    if b"\n" not in data:
        return key + b"=" + data + b"\n"
    return key + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


def _fieldName(name: str) -> str:
    """
    The journal has capitals, digits and underscores, at most 64 of them.
    """
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)[:64]
