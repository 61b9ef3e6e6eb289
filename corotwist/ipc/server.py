"""
Listening for local clients, letting them in, and seeing them out.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Any, Final, Protocol

from attrs import asdict
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols import amp
from zope.interface import implementer

from corotwist.config.settings import IpcSettings, NodeSettings
from corotwist.engines.interfaces import LARGEST_MESSAGE_BYTES
from corotwist.errors import AccessDenied, InvalidParameter, NotSupported
from corotwist.interfaces import IReconfigurable
from corotwist.ipc import path
from corotwist.ipc.admission import Admission, randomSecret
from corotwist.ipc.backlog import Limits, MakeStore
from corotwist.ipc.channel import Responder
from corotwist.ipc.components import ComponentsLocator
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.locators import Locators
from corotwist.ipc.peer import peerCredentials, processName
from corotwist.ipc.serverchannel import Client, Counters, DispatchLocator, ServerChannel
from corotwist.ipc.spill import FileStore
from corotwist.ipc.status import StatusLocator
from corotwist.ipc.views import ViewsLocator
from corotwist.ipc.wire import (
    DISPATCH,
    DISPATCH_WINDOW_BYTES,
    PART_BYTES,
    REQUESTS,
    VERSION,
    Closing,
)
from corotwist.logs.tracing import CLIENT, trace

# From connecting to being paired.
PAIRING_SECONDS: Final = 10.0
UNPAIRED_CHANNELS: Final = 256
# Of the files that this process may open, not for clients: the ring needs some.
FILES_KEPT: Final = 64

_CLIENTS: Final = trace("QB", CLIENT)


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
        secret: Callable[[], bytes] = randomSecret,
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
        self._admission = Admission(settings, self.counters, secret, credentials)
        self._manager = manager
        self._place = place
        self._makeStore = store or self._makeFile
        self._permits = permits
        self._mostFiles = mostFiles
        self._port: IListeningPort | None = None
        # Ordered, unlike sets: what happens to all of them happens in the same
        # order every time.
        self._channels: dict[ServerChannel, None] = {}
        self._unpaired: dict[ServerChannel, None] = {}
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
        self._admission.settings = settings.ipc
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
        self._losePatience(channel)
        channel.patience = self.reactor.callLater(seconds, self._patienceEnded, channel)

    def helloReceived(
        self,
        channel: ServerChannel,
        version: int,
        role: bytes,
        secret: bytes | None = None,
    ) -> dict[str, Any]:
        who = self._admission.identify(channel)
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
            fresh = self._admission.newSecret(channel, len(self._clients))
            return {**answer, "secret": fresh}
        if role == DISPATCH:
            requests = self._admission.secretUsed(secret, channel, who)
            self._pair(requests, channel, who)
            return answer
        raise InvalidParameter("a role is 'request' or 'dispatch'")

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
            ViewsLocator(self._manager.views, connection),
            changed=requests.forgetResponders,
        )
        requests.paired(client, partial(self._located, who, found.locate))
        dispatch.paired(client, DispatchLocator(connection).locateResponder)

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
        self._channels.pop(channel, None)
        self._unpaired.pop(channel, None)
        self._losePatience(channel)
        self._admission.forget(channel)
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
