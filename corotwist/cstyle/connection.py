"""
The paper's connection calls: two channels to a node, one to ask and one where
events come.  Everything waits; nothing needs a reactor.
"""

import os
import selectors
import socket
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock
from typing import Any, Final

from twisted.protocols import amp

from corotwist.config.places import socketPath
from corotwist.errors import (
    AccessDenied,
    BadHandle,
    Disconnected,
    ServiceError,
    TimedOut,
)
from corotwist.ipc.channel import Box, BoxReader, encode, errorFor
from corotwist.ipc.wire import (
    DISPATCH,
    REQUESTS,
    VERSION,
    Closing,
    Credit,
    Hello,
    Welcome,
)

CONNECT_SECONDS: Final = 10.0
READ_BYTES: Final = 1 << 16
# Acknowledged at once: this part of the window.
CREDIT_SHARE: Final = 4


class Stream:
    """
    One of the two channels.
    """

    def __init__(self, path: str) -> None:
        """
        @raise Disconnected: nobody is there.
        @raise AccessDenied: we may not even ask.
        """
        self._reader = BoxReader()
        self._boxes: deque[amp.AmpBox] = deque()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(CONNECT_SECONDS)
        try:
            self.socket.connect(path)
        except PermissionError as error:
            self.socket.close()
            raise AccessDenied(f"{path}: {error.strerror}") from error
        except OSError as error:
            self.socket.close()
            raise Disconnected(f"{path}: {error.strerror or error}") from error

    def fileno(self) -> int:
        """
        For a selector.
        """
        return self.socket.fileno()

    def close(self) -> None:
        """
        Close, also under somebody who waits for it.
        """
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def send(self, box: Box) -> None:
        """
        Write a whole box.

        @raise Disconnected: the node is gone.
        """
        try:
            self.socket.sendall(b"".join(encode(box)))
        except TimeoutError as error:
            raise TimedOut("the node does not read") from error
        except OSError as error:
            raise Disconnected(f"the node is gone: {error.strerror}") from error

    def receive(self, timeout: float | None) -> amp.AmpBox | None:
        """
        Wait for the next box.

        @param timeout: seconds; L{None} for ever; 0 only looks.
        @return: L{None} when there is none by then.
        @raise Disconnected: the node is gone.
        """
        while not self._boxes:
            try:
                self.socket.settimeout(timeout)
                data = self.socket.recv(READ_BYTES)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError as error:
                raise Disconnected(f"the node is gone: {error.strerror}") from error
            if not data:
                raise Disconnected("the node closed the connection")
            try:
                self._boxes.extend(self._reader.feed(data))
            except amp.AmpError as error:
                raise ServiceError(f"the node is not to be understood: {error}") from (
                    error
                )
        return self._boxes.popleft()

    def holds(self) -> bool:
        """
        Was more read than was received?
        """
        return bool(self._boxes)


class ServiceConnection:
    """
    A node, from L{service_connect} to L{ServiceConnection.close}.  Threads may
    share it: one asks at a time, one receives at a time, and asking does not
    wait for receiving.

    @ivar welcome: what the node told us about itself and us.
    """

    def __init__(self, path: str) -> None:
        self._asking = Lock()
        self._receiving = Lock()
        self._tags = 0
        self._owed = 0
        self.closed = False
        self._requests = Stream(path)
        try:
            secret, self.welcome = self._hello(self._requests, REQUESTS, None)
            self._events = Stream(path)
        except Exception:
            self._requests.close()
            raise
        try:
            self._hello(self._events, DISPATCH, secret)
        except Exception:
            self._requests.close()
            self._events.close()
            raise
        # What a caller may poll: the events, and those that were read already.
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = selectors.EpollSelector()
        self._poll.register(self._events, selectors.EVENT_READ)
        self._poll.register(self._ready, selectors.EVENT_READ)

    def _hello(
        self, stream: Stream, role: bytes, secret: bytes | None
    ) -> tuple[bytes | None, Welcome]:
        said: dict[str, Any] = {"version": VERSION, "role": role}
        if secret is not None:
            said["secret"] = secret
        answer = self._ask(stream, Hello, said, CONNECT_SECONDS)
        welcome = Welcome(answer["nodeid"], answer["pid"], answer["window"])
        return answer.get("secret"), welcome

    # Asking.

    def send_recv(
        self, command: type[amp.Command], **arguments: Any
    ) -> Mapping[str, Any]:
        """
        Send a command and wait for its answer, as long as the node lives.

        @raise ServiceError: what was answered, L{Disconnected}, L{BadHandle}
            after L{close}.
        """
        with self._asking:
            self.checkOpen()
            return self._ask(self._requests, command, arguments, None)

    def _ask(
        self,
        stream: Stream,
        command: type[amp.Command],
        arguments: Mapping[str, Any],
        timeout: float | None,
    ) -> Mapping[str, Any]:
        self._tags += 1
        tag = b"%x" % self._tags
        fields = command.makeArguments(dict(arguments), None)
        stream.send({amp.COMMAND: command.commandName, amp.ASK: tag, **fields})
        while True:
            box = stream.receive(timeout)
            if box is None:
                raise TimedOut(f"no answer within {timeout} seconds")
            if box.get(amp.COMMAND) == Closing.commandName:
                reason = box.get(b"reason", b"").decode("utf-8", "replace")
                raise Disconnected(f"the node closed the connection: {reason}")
            if box.get(amp.ERROR) == tag:
                text = box.get(amp.ERROR_DESCRIPTION, b"").decode("utf-8", "replace")
                raise errorFor(box.get(amp.ERROR_CODE, b""), text)
            if box.get(amp.ANSWER) == tag:
                return _understood(command, box)

    def send(self, command: type[amp.Command], **arguments: Any) -> None:
        """
        Send a command that wants no answer.
        """
        fields = command.makeArguments(arguments, None)
        with self._asking:
            self.checkOpen()
            self._requests.send({amp.COMMAND: command.commandName, **fields})

    # Events.

    def dispatch_recv(self, timeout: float | None) -> amp.AmpBox | None:
        """
        Wait for the next event.

        @param timeout: as of L{Stream.receive}.
        @return: L{None} when there is none by then.
        @raise ServiceError: L{Disconnected}; L{BadHandle} when this is closed
            meanwhile.
        """
        with self._receiving:
            self.checkOpen()
            try:
                return self._events.receive(timeout)
            except Disconnected:
                self.checkOpen()
                raise

    def consumed(self, cost: int) -> None:
        """
        An event of that cost was dealt with: others may come.
        """
        self._owed += cost
        if self._owed >= self.welcome.window // CREDIT_SHARE:
            owed, self._owed = self._owed, 0
            fields = Credit.makeArguments({"bytes": owed}, None)
            self._events.send({amp.COMMAND: Credit.commandName, **fields})

    def fd_get(self) -> int:
        """
        A descriptor that can be read from whenever there is an event.
        """
        self.checkOpen()
        return self._poll.fileno()

    def more(self, waiting: bool) -> None:
        """
        Say whether there are events that were received and not dealt with, so
        that the descriptor tells the truth.
        """
        if waiting or self._events.holds():
            os.eventfd_write(self._ready, 1)
        else:
            with suppress(BlockingIOError):
                os.eventfd_read(self._ready)

    # End.

    def checkOpen(self) -> None:
        """
        @raise BadHandle: this was closed.
        """
        if self.closed:
            raise BadHandle("the handle is finalized")

    def close(self) -> None:
        """
        The end, for other threads as well.
        """
        if self.closed:
            return
        self.closed = True
        self._requests.close()
        self._events.close()
        with self._receiving:
            self._poll.close()
            os.close(self._ready)


def _understood(command: type[amp.Command], box: amp.AmpBox) -> Mapping[str, Any]:
    """
    The values of an answer.

    @raise ServiceError: it is none to this command.
    """
    try:
        answer: Mapping[str, Any] = command.parseResponse(box, None)
    except (KeyError, ValueError, TypeError) as error:
        raise ServiceError(f"the node's answer makes no sense: {error}") from error
    return answer


def service_connect(path: str | None = None) -> ServiceConnection:
    """
    Connect to the node on this machine.

    @param path: its socket; by default what C{COROTWIST_SOCKET} names, or
        where a node of this user listens.
    @raise ServiceError: L{Disconnected}, L{AccessDenied}, L{TimedOut}.
    """
    return ServiceConnection(socketPath(os.environ, os.geteuid(), path))
