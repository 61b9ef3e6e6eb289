"""
Listening for local clients, letting them in, and seeing them out.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from os import geteuid
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from secrets import token_bytes
from socket import SO_PEERCRED, SOL_SOCKET, socket
from struct import Struct
from typing import Any, Final, Protocol

from attrs import asdict, define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.settings import IpcSettings, NodeSettings
from corotwist.engines.interfaces import LARGEST_MESSAGE_BYTES
from corotwist.errors import (
    AccessDenied,
    BadHandle,
    InvalidParameter,
    NotSupported,
    TryAgain,
)
from corotwist.interfaces import IReconfigurable
from corotwist.ipc import path
from corotwist.ipc.backlog import Limits, MakeStore
from corotwist.ipc.channel import Channel, Responder
from corotwist.ipc.components import ComponentsLocator
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.locators import Locators
from corotwist.ipc.spill import FileStore
from corotwist.ipc.status import StatusLocator
from corotwist.ipc.wire import (
    DISPATCH,
    DISPATCH_WINDOW_BYTES,
    PART_BYTES,
    REQUESTS,
    VERSION,
    Closing,
    Credit,
    Hello,
)
from corotwist.logs.tracing import CLIENT, trace

SECRET_BYTES: Final = 16
# From connecting to being paired.
PAIRING_SECONDS: Final = 10.0
# For a client to read why it is sent away.
CLOSING_SECONDS: Final = 1.0
UNPAIRED_CHANNELS: Final = 256
# Commands of one client that are dealt with before others have their turn.
COMMANDS_PER_TURN: Final = 32
CLIENTS: Final = 1024
# Of the files that this process may open, not for clients: the ring needs some.
FILES_KEPT: Final = 64

_CLIENTS: Final = trace("QB", CLIENT)
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


class Place(Protocol):
    """
    The place of a socket, in a file system: L{corotwist.ipc.path}.
    """

    def claim(self, path: str) -> None:
        """
        See L{path.claim}.
        """

    def admit(self, path: str, uids: frozenset[int], gids: frozenset[int]) -> None:
        """
        See L{path.admit}.
        """


def _mostFiles() -> float:
    most, _ = getrlimit(RLIMIT_NOFILE)
    return inf if most == RLIM_INFINITY else most


Permits = Callable[[Credentials, str], bool]


def _everything(who: Credentials, service: str) -> bool:
    """
    Whoever is let in may use every service.
    """
    return True


def _forbidden(box: amp.AmpBox) -> None:
    raise AccessDenied(f"{box[amp.COMMAND]!r} is not for this user")


def _randomSecret() -> bytes:
    return token_bytes(SECRET_BYTES)


@define
class Counters:
    """
    What happened to connections since the start.
    """

    clients: int = 0
    refused: int = 0
    malformed: int = 0
    unknown: int = 0
    unpaired: int = 0
    cut: int = 0
    shed: int = 0


@define(eq=False)
class Client:
    """
    A paired client: two connections, and what the engines see of it.
    """

    requests: "ServerChannel"
    dispatch: "ServerChannel"
    connection: Connection


@implementer(IPushProducer)
class ServerChannel(Channel):
    """
    One of a client's two connections.  While the client does not read what
    was written, nothing more is read from it, and what was read waits.

    @ivar congested: that is so now.
    @ivar client: from pairing on.
    @ivar patience: until then, and when it closes: when ours runs out.
    """

    def __init__(self, server: "IpcServer") -> None:
        super().__init__()
        self._server = server
        self._answering: Callable[[bytes], Responder | None] = _HelloLocator(
            server, self
        ).locateResponder
        self.congested = False
        self.credentials: Credentials | None = None
        self.client: Client | None = None
        self.patience: IDelayedCall | None = None
        # Of one reading, and less than the next: nothing is read meanwhile.
        self._boxes: deque[amp.AmpBox] = deque()
        self._nextTurn: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self._server.channelOpened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._boxes.clear()
        if self._nextTurn is not None:
            self._nextTurn.cancel()
            self._nextTurn = None
        self._server.channelLost(self)

    def boxesReceived(self, boxes: Iterable[amp.AmpBox]) -> None:
        self._boxes.extend(boxes)
        if self._nextTurn is None:
            self._takeTurn()

    def _takeTurn(self) -> None:
        """
        A few commands, as long as their answers are read; then the others.
        """
        for _ in range(min(len(self._boxes), COMMANDS_PER_TURN)):
            if self.ended or self.congested:
                break
            self.boxReceived(self._boxes.popleft())
        if self.ended:
            self._boxes.clear()
        elif self._boxes:
            self.transport.pauseProducing()
            if not self.congested:
                self._nextTurn = self._server.reactor.callLater(0, self._turnCame)

    def _turnCame(self) -> None:
        self._nextTurn = None
        self._goOn()

    def _goOn(self) -> None:
        """
        With what was read, then with reading.
        """
        try:
            self._takeTurn()
        except amp.AmpError as error:
            self.malformedReceived(str(error))
        if not self._boxes and not self.congested and not self.ended:
            self.transport.resumeProducing()

    def paired(
        self, client: Client, answering: Callable[[bytes], Responder | None]
    ) -> None:
        """
        This is one of the two connections of a client now.
        """
        self.client = client
        self._answering = answering
        self.forgetResponders()

    def locate(self, name: bytes) -> Responder | None:
        return self._answering(name)

    def unknownReceived(self, name: bytes) -> None:
        self._server.counters.unknown += 1

    def malformedReceived(self, reason: str) -> None:
        self._server.counters.malformed += 1
        self.log.warn(
            "Closing a connection of {who}: {reason}",
            who=self.credentials,
            reason=reason,
        )
        self.abort()

    # IPushProducer: our peer reads too slowly, or again.

    def pauseProducing(self) -> None:
        self.congested = True
        if self.transport is not None:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.congested = False
        if self.transport is not None and not self.ended:
            if self._nextTurn is None:
                self._goOn()
            if self.client is not None and self.client.dispatch is self:
                self.client.connection.flush()

    def stopProducing(self) -> None:
        self.ended = True

    def close(self) -> None:
        if self.transport is not None and not self.ended:
            # A registered producer would keep the connection open.
            self.transport.unregisterProducer()
            self._server.closeWithin(CLOSING_SECONDS, self)
            super().close()


class _HelloLocator(amp.CommandLocator):
    """
    All that may be said before pairing.
    """

    def __init__(self, server: "IpcServer", channel: ServerChannel) -> None:
        super().__init__()
        self._server = server
        self._channel = channel

    def locateResponder(self, name: bytes) -> Responder:
        return partial(self._respond, super().locateResponder(name))

    def _respond(self, responder: Responder | None, box: amp.AmpBox) -> Any:
        # Unless it goes well.
        self._channel.closeAfterAnswer = True
        if responder is None:
            raise BadHandle("hello comes first, on both connections")
        return responder(box)

    @Hello.responder
    def _hello(self, **arguments: Any) -> dict[str, Any]:
        answer = self._server.helloReceived(self._channel, **arguments)
        self._channel.closeAfterAnswer = False
        return answer


class _DispatchLocator(amp.CommandLocator):
    """
    All that a client may say on the connection for dispatch.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    @Credit.responder
    def _credit(self, bytes: int) -> dict[str, Any]:  # noqa: A002
        self._connection.creditReceived(bytes)
        return {}


@implementer(IReconfigurable)
class IpcServer(Service):
    """
    Lets local clients in, two connections each.

    @ivar counters: of what happened since the start.
    """

    name = "ipc"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: IpcSettings,
        manager: Any,
        secret: Callable[[], bytes] = _randomSecret,
        credentials: Callable[[Any], Credentials] = peerCredentials,
        *,
        place: Place = path,
        store: MakeStore | None = None,
        permits: Permits = _everything,
        mostFiles: Callable[[], float] = _mostFiles,
        processName: Callable[[int], str] = processName,
    ) -> None:
        """
        @param reactor: C{IReactorTime} and C{IReactorUNIX}.
        @param manager: the service manager.
        @param secret: makes the secrets; any two must differ.
        @param credentials: tells who is at the other end of a transport.
        @param place: looks after the place of the socket.
        @param store: makes a file for what a client does not read; by default
            in the state directory.
        @param permits: may this client use the service of that name?
        @param mostFiles: tells how many files this process may open.
        @param processName: tells what a process calls itself.
        """
        self._processName = processName
        self.reactor = reactor
        self.counters = Counters()
        self._settings = settings
        self._manager = manager
        self._makeSecret = secret
        self._credentials = credentials
        self._place = place
        self._makeStore = store or self._makeFile
        self._permits = permits
        self._mostFiles = mostFiles
        self._port: IListeningPort | None = None
        # Ordered, unlike sets: what happens to all of them happens in the same
        # order every time.
        self._channels: dict[ServerChannel, None] = {}
        self._unpaired: dict[ServerChannel, None] = {}
        self._secrets: dict[bytes, ServerChannel] = {}
        self._clients: dict[Client, None] = {}
        self._allGone: Deferred[None] | None = None

    # As a service.

    def startService(self) -> None:
        """
        Listen.

        @raise ConfigurationError: when the path cannot be ours.
        """
        where = self._settings.path
        self._place.claim(where)
        factory = Factory.forProtocol(partial(ServerChannel, self))
        factory.noisy = False
        self._port = self.reactor.listenUNIX(where, factory, mode=0o600)
        self._admit(where)
        super().startService()

    def _makeFile(self) -> FileStore:
        return FileStore(self._manager.settings.totem.stateDirectory, self.reactor)

    def _admit(self, where: str) -> None:
        try:
            self._place.admit(where, self._settings.uids, self._settings.gids)
        except OSError as error:
            self._log.warn(
                "Users {uids} and groups {gids} cannot connect to {path}: "
                "no access control list there: {error}",
                path=where,
                uids=sorted(self._settings.uids),
                gids=sorted(self._settings.gids),
                error=error,
            )

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        Whoever is connected stays, whatever they say.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        """
        Let others in from now on.
        """
        before, self._settings = self._settings, settings.ipc
        admitted = settings.ipc.uids, settings.ipc.gids
        if self._port is not None and admitted != (before.uids, before.gids):
            self._admit(before.path)

    def stopService(self) -> Deferred[None]:
        """
        Send everybody away.

        @return: fires when the socket and all connections are closed.
        """
        super().stopService()
        port, self._port = self._port, None
        closed = maybeDeferred(port.stopListening) if port else succeed(None)
        for client in list(self._clients):
            self._seeOut(client, "the node stops")
        for channel in list(self._unpaired):
            channel.abort()
        gone: Deferred[None] = succeed(None)
        if self._channels:
            gone = self._allGone = Deferred()
        return closed.addCallback(lambda _: gone)

    def statistics(self) -> Mapping[str, Any]:
        """
        Counters, and how far behind each client is.
        """
        return {
            **asdict(self.counters),
            "connected": len(self._clients),
            "waiting": [client.connection.waiting() for client in self._clients],
        }

    # Letting in.

    def channelOpened(self, channel: ServerChannel) -> None:
        """
        Somebody connected and said nothing so far.
        """
        self._channels[channel] = None
        if len(self._unpaired) >= UNPAIRED_CHANNELS or self._filesAreScarce():
            self.counters.refused += 1
            channel.abort()
            return
        self._unpaired[channel] = None
        channel.patience = self.reactor.callLater(
            PAIRING_SECONDS, self._patienceEnded, channel
        )

    def _filesAreScarce(self) -> bool:
        """
        Would one client more be at the cost of the ring?
        """
        return len(self._channels) > self._mostFiles() - FILES_KEPT

    def _patienceEnded(self, channel: ServerChannel) -> None:
        channel.patience = None
        self.counters.unpaired += channel in self._unpaired
        channel.abort()

    def closeWithin(self, seconds: float, channel: ServerChannel) -> None:
        """
        Its peer has so long to read what it is sent last.
        """
        self._losePatience(channel)
        channel.patience = self.reactor.callLater(seconds, self._patienceEnded, channel)

    def helloReceived(
        self,
        channel: ServerChannel,
        version: int,
        role: bytes,
        secret: bytes | None = None,
    ) -> dict[str, Any]:
        """
        The first command of a connection; raises to have it closed.
        """
        who = self._identify(channel)
        if version != VERSION:
            raise NotSupported(f"we speak version {VERSION}, not {version}")
        answer = {
            "version": VERSION,
            "nodeid": self._manager.totem.nodeid,
            "pid": who.pid,
            "window": DISPATCH_WINDOW_BYTES,
            "part": PART_BYTES,
            "largest": LARGEST_MESSAGE_BYTES,
        }
        if role == REQUESTS:
            return {**answer, "secret": self._newSecret(channel)}
        if role == DISPATCH:
            self._pair(self._secretUsed(secret, channel, who), channel, who)
            return answer
        raise InvalidParameter("a role is 'request' or 'dispatch'")

    def _identify(self, channel: ServerChannel) -> Credentials:
        who = channel.credentials = self._credentials(channel.transport)
        allowed = self._settings
        if (
            who.uid in {0, geteuid()}
            or who.uid in allowed.uids
            or not allowed.gids.isdisjoint({who.gid, *who.groups})
        ):
            return who
        self.counters.refused += 1
        self._log.warn("Refused a client: {who}", who=who)
        raise AccessDenied(f"user {who.uid}, group {who.gid} may not connect")

    def _newSecret(self, channel: ServerChannel) -> bytes:
        if channel in self._secrets.values():
            raise BadHandle("said hello already")
        if len(self._clients) >= CLIENTS:
            self.counters.refused += 1
            raise TryAgain(f"{CLIENTS} clients are connected already")
        secret = self._makeSecret()
        self._secrets[secret] = channel
        return secret

    def _secretUsed(
        self, secret: bytes | None, channel: ServerChannel, who: Credentials
    ) -> ServerChannel:
        """
        Whose secret it was, and was for the last time.
        """
        requests = self._secrets.pop(secret or b"", None)
        if requests is None or requests is channel:
            raise AccessDenied("no such secret, or not any more, or on one connection")
        first = requests.credentials
        assert first is not None, "a secret without hello"
        if (first.pid, first.uid) != (who.pid, who.uid):
            requests.abort()
            raise AccessDenied("the secret belongs to another process")
        return requests

    def _pair(
        self, requests: ServerChannel, dispatch: ServerChannel, who: Credentials
    ) -> None:
        connection = Connection(
            who,
            self.reactor,
            dispatch,
            self._tooSlow,
            limits=Limits.of(self._settings),
            whole=self._manager.budget,
            shed=self._shed,
            store=self._makeStore,
        )
        client = Client(requests, dispatch, connection)
        for channel in (requests, dispatch):
            self._unpaired.pop(channel, None)
            self._losePatience(channel)
        self._clients[client] = None
        self.counters.clients += 1
        if _CLIENTS.on:
            _CLIENTS("process {pid} of user {uid} is here", pid=who.pid, uid=who.uid)
        connection.usage.processName = self._processName(who.pid)
        self._manager.connectionOpened(connection)
        found = connection.locators = Locators(
            self._manager,
            connection,
            StatusLocator(self._manager, self.statistics),
            ComponentsLocator(self._manager, connection),
            changed=requests.forgetResponders,
        )
        requests.paired(client, partial(self._located, who, found.locate))
        dispatch.paired(client, _DispatchLocator(connection).locateResponder)

    def _located(
        self, who: Credentials, locate: Callable[[bytes], Responder | None], name: bytes
    ) -> Responder | None:
        """
        Who answers a command, if that is for this client.
        """
        service = name.partition(b".")[0].decode("ascii", "replace")
        return locate(name) if self._permits(who, service) else _forbidden

    def _losePatience(self, channel: ServerChannel) -> None:
        if channel.patience is not None:
            channel.patience.cancel()
            channel.patience = None

    # Seeing out.

    def _shed(self) -> None:
        """
        All clients together let too much wait: the one that lets most is the
        first to go.
        """
        most = max(
            self._clients,
            key=lambda client: client.connection.waitingBytes,
            default=None,
        )
        if most is not None:
            self.counters.shed += 1
            budget = self._manager.budget
            most.connection.overflowed(
                f"too slow: {most.connection.waitingBytes} bytes of the"
                f" {budget.limit} that may wait for all clients were waiting for it"
            )

    def _tooSlow(self, connection: Connection, reason: str) -> None:
        for client in list(self._clients):
            if client.connection is connection:
                self.counters.cut += 1
                self._log.warn(
                    "Cutting off process {pid}: {reason}",
                    pid=connection.pid,
                    reason=reason,
                )
                self._seeOut(client, reason)

    def _seeOut(self, client: Client, reason: str) -> None:
        client.requests.tell(Closing, reason=reason)
        client.requests.close()
        client.dispatch.abort()
        self._clientGone(client)

    def channelLost(self, channel: ServerChannel) -> None:
        """
        A connection is closed, for whatever reason.
        """
        self._channels.pop(channel, None)
        self._unpaired.pop(channel, None)
        self._losePatience(channel)
        for secret in [s for s, c in self._secrets.items() if c is channel]:
            del self._secrets[secret]
        if channel.client is not None:
            channel.client.requests.close()
            channel.client.dispatch.abort()
            self._clientGone(channel.client)
        if self._allGone is not None and not self._channels:
            gone, self._allGone = self._allGone, None
            gone.callback(None)

    def _clientGone(self, client: Client) -> None:
        """
        Once per client, however its end begins.
        """
        if client in self._clients:
            self._clients.pop(client, None)
            if _CLIENTS.on:
                _CLIENTS("process {pid} is gone", pid=client.connection.pid)
            client.connection.closed()
            self._manager.connectionClosed(client.connection)
