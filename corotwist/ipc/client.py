"""
Clients of a node: connected over its UNIX socket, or inside its process.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.engines.interfaces import News
from corotwist.errors import Disconnected
from corotwist.ipc.channel import Responder
from corotwist.ipc.components import Changed, NodeComponents
from corotwist.ipc.connection import Credentials
from corotwist.ipc.events import Event
from corotwist.ipc.groups import ProcessGroups
from corotwist.ipc.keys import ConfigurationMap
from corotwist.ipc.objects import ObjectDatabase
from corotwist.ipc.operator import Operator
from corotwist.ipc.quorum import Quorum
from corotwist.ipc.remote import Remote, ask, connectLocal, connectSocket
from corotwist.ipc.status import NodeInquiry
from corotwist.ipc.stream import Stream
from corotwist.ipc.views import Installed, NodeViews, Transition
from corotwist.ipc.votes import VoteQuorum
from corotwist.ipc.wire import NOTIFICATION_COST

# Between attempts to reach a node that is gone.
RETRY: Final = backoffPolicy(initialDelay=0.2, maxDelay=10.0)


Connect = Callable[[Any], Deferred[Any]]


class NodeClient(Service):
    """
    A node, whether it is connected at the moment or not.

    While running it stays connected, waiting longer and longer between
    attempts, and joins again whatever groups were joined.

    @ivar groups: the process groups.
    @ivar node: what may be asked about the node itself.
    @ivar views: who is here, and may we act.
    @ivar components: its replaceable parts.
    @ivar cmap: its configuration map.
    @ivar confdb: the same, as a tree of objects.
    @ivar cfg: what operators ask of it.
    @ivar quorum: its verdict and its nodes, in corosync's terms.
    @ivar votequorum: who counts votes there.
    @ivar connected: is it, now?
    """

    name = "node"
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        connect: Connect,
        retryPolicy: Callable[[int], float] = RETRY,
    ) -> None:
        """
        @param connect: makes one attempt.
        @param retryPolicy: seconds before the next after so many failures,
            like L{ClientService<twisted.application.internet.ClientService>}'s.
        """
        self.groups = ProcessGroups(clock)
        self.node = NodeInquiry(self.ask)
        self.views = NodeViews(self.ask)
        self.components = NodeComponents(self.ask)
        self.cmap = ConfigurationMap(self.ask)
        self.cfg = Operator(self.ask)
        self.confdb = ObjectDatabase(self.ask, self.cfg.reload)
        self.quorum = Quorum(self.views, self.node)
        self.votequorum = VoteQuorum(self.ask)
        self._clock = clock
        self._connect = connect
        self._retryPolicy = retryPolicy
        self._remote: Any = None
        self._attempt: Deferred[None] | None = None
        self._retry: IDelayedCall | None = None
        self._failures = 0
        self._waiting: list[tuple[Deferred[NodeClient], int | None]] = []
        self._stopped: Deferred[None] | None = None
        self._listeners: dict[bytes, Responder] = dict(self.groups.responders())
        for told in (Transition, Installed):
            self._listeners[told.commandName] = self._viewReceived
        self.listen(Changed, self._engineChanged)
        for followed in (self.cmap, self.confdb, self.cfg, self.votequorum):
            for command, notified in followed.responders().items():
                self.listen(command, notified)

    # For the application.

    @property
    def clock(self) -> IReactorTime:
        """
        The one that it goes by; of a daemon's client, the reactor.
        """
        return self._clock

    @property
    def connected(self) -> bool:
        """
        Is the node connected?
        """
        return self._remote is not None

    @property
    def nodeid(self) -> int:
        """
        The node's.

        @raise Disconnected: while we do not know.
        """
        return self._connectedRemote().welcome.nodeid

    @property
    def pid(self) -> int:
        """
        Our own, as other members see it.

        @raise Disconnected: while we do not know.
        """
        return self._connectedRemote().welcome.pid

    def _connectedRemote(self) -> Remote:
        if self._remote is None:
            raise Disconnected("not connected to the node")
        remote: Remote = self._remote
        return remote

    def whenConnected(
        self, failAfterFailures: int | None = None
    ) -> "Deferred[NodeClient]":
        """
        Wait for the node.

        @return: fires with this client, at once when it is connected.  Fails
            with the error of the last attempt after so many that failed in a
            row, if a number was given: L{Disconnected} when nobody is there,
            L{AccessDenied}, L{NotSupported}; and with L{Disconnected} when
            the client is stopped.
        """
        if self.connected:
            return succeed(self)
        if not self.running:
            return fail(Disconnected("the client is not running"))
        waiting: Deferred[NodeClient] = Deferred(self._forgetWaiting)
        self._waiting.append((waiting, failAfterFailures))
        return waiting

    def _forgetWaiting(self, waiting: "Deferred[NodeClient]") -> None:
        self._waiting = [w for w in self._waiting if w[0] is not waiting]

    def stream(self, heard: Callable[[Event], object] | None = None) -> Stream:
        """
        Views of the nodes and what happens in groups, in one order.

        @param heard: called with each event, the view in force before this
            returns; without it the stream waits to be iterated over.
        """
        return Stream(self.groups, heard)

    def ask(
        self, command: type[amp.Command], **arguments: Any
    ) -> Deferred[dict[str, Any]]:
        """
        Send a command of any service.

        @return: fires with the values of the answer.  Fails with the
            L{ServiceError} that was answered, and with L{Disconnected}.
        """
        if self._remote is None:
            return fail(Disconnected("not connected to the node"))
        return ask(self._remote, command, **arguments)

    def listen(
        self, command: type[amp.Command], notified: Callable[..., object]
    ) -> None:
        """
        Have the notifications of another service.

        @param notified: called with the command's arguments.
        """
        self._listeners[command.commandName] = partial(self._notify, command, notified)

    def _notify(
        self,
        command: type[amp.Command],
        notified: Callable[..., object],
        box: amp.AmpBox,
    ) -> None:
        arguments = command.parseArguments(box, None)
        try:
            notified(**arguments)
        except Exception:  # noqa: BLE001
            self._log.failure("An application failed at {name}", name=command)
        self._consumed()

    def _viewReceived(self, box: amp.AmpBox) -> None:
        event = self.views.received(box)
        if event is None:
            self._consumed()
        else:
            self.views.heard(event)
            self.groups.nodesViewed(event)

    def _consumed(self) -> None:
        if self._remote is not None:
            self._remote.consumed(NOTIFICATION_COST)

    def _engineChanged(self, **news: Any) -> None:
        """
        Something happened to an engine.  What the process groups knew of us is
        lost with theirs, unless another version took it over.
        """
        if news["name"] == "cpg" and self._remote is not None:
            if news["what"] in (News.FAILED, News.UNLOADED):
                self.groups.serviceLost(f"the engine is {news['what']}")
            elif news["what"] in (News.RESTARTED, News.LOADED):
                self.groups.connected(self._remote)
        elif news["name"] == "votequorum":
            self.votequorum.engineChanged(news["what"])
        self.components.heard(**news)

    # As a service.

    def startService(self) -> None:
        """
        Connect, and stay connected.
        """
        super().startService()
        self._try()

    def stopService(self) -> Deferred[None]:
        """
        Close the connection; other members of our groups see C{PROCDOWN}.

        @return: fires when it is closed.
        """
        super().stopService()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._attempt.cancel()
        self._failWaiting(Failure(Disconnected("the client was stopped")), None)
        self.groups.stopped()
        self.cmap.stopped()
        self.confdb.stopped()
        self.votequorum.stopped()
        if self._remote is None:
            return succeed(None)
        self._stopped = Deferred()
        stopped = self._stopped
        self._remote.close()
        return stopped

    def _try(self) -> None:
        self._retry = None
        attempt = self._attempt = maybeDeferred(self._connect, self)
        attempt.addCallbacks(self._succeeded, self._failed)

    def _succeeded(self, remote: Remote) -> None:
        self._attempt = None
        self._failures = 0
        self._remote = remote
        self.views.connected()
        self.groups.connected(remote)
        self.cmap.connected()
        self.confdb.connected()
        self.cfg.connected()
        self.votequorum.connected()
        waiting, self._waiting = self._waiting, []
        for one, _ in waiting:
            one.callback(self)

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        if self.running:
            self._failures += 1
            self._log.debug("No node: {error}", error=failure.value)
            self._failWaiting(failure, self._failures)
            self._tryLater()

    def _tryLater(self) -> None:
        if self.running:
            self._retry = self._clock.callLater(
                self._retryPolicy(self._failures), self._try
            )

    def _failWaiting(self, failure: Failure, failures: int | None) -> None:
        """
        @param failures: spare those who can bear more.
        """
        waiting, self._waiting = self._waiting, []
        for one, limit in waiting:
            if failures is None or (limit is not None and limit <= failures):
                one.errback(failure)
            else:
                self._waiting.append((one, limit))

    def remoteLost(self, reason: str) -> None:
        """
        From the remote.
        """
        self._remote = None
        self.views.connectionLost()
        self.groups.connectionLost(reason)
        self.cmap.connectionLost(reason)
        self.confdb.connectionLost(reason)
        self.votequorum.connectionLost(reason)
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)
        else:
            self._log.info("Lost the node: {reason}", reason=reason)
            self._tryLater()

    def locate(self, name: bytes) -> Responder:
        """
        From the remote: who takes a notification.
        """
        return self._listeners.get(name, self._unwanted)

    def _unwanted(self, box: amp.AmpBox) -> None:
        self._consumed()


def connect(
    reactor: Any, path: str, retryPolicy: Callable[[int], float] = RETRY
) -> Deferred[NodeClient]:
    """
    Be a client of the node that listens on a UNIX socket.

    @param reactor: C{IReactorTime} and C{IReactorUNIX}.
    @param retryPolicy: see L{NodeClient}.
    @return: fires with a running L{NodeClient} when it is connected; from then
        on it connects again by itself, until C{stopService}.  Fails with
        L{Disconnected} when nobody is there, L{AccessDenied} when the node
        does not want us, L{TimedOut}, L{NotSupported}; nothing is left
        running then.
    """
    connecting = partial(connectSocket, reactor, path)
    return _started(NodeClient(reactor, connecting, retryPolicy))


def embed(
    clock: IReactorTime, manager: Any, pid: int | None = None
) -> Deferred[NodeClient]:
    """
    Be a client of a node in this very process, without any socket.

    @param manager: the node's service manager.
    @param pid: the process id that others see; ours when not given.  Two
        clients with one are one process to the groups.
    @return: fires with a running L{NodeClient}.
    """
    who = Credentials(os.getpid() if pid is None else pid, os.getuid(), os.getgid())
    return _started(NodeClient(clock, partial(connectLocal, clock, manager, who)))


def _started(client: NodeClient) -> Deferred[NodeClient]:
    return Deferred.fromCoroutine(_start(client))


async def _start(client: NodeClient) -> NodeClient:
    client.startService()
    try:
        return await client.whenConnected(failAfterFailures=1)
    except Exception:
        # Not a GeneratorExit: who throws us away waits for nothing.
        await client.stopService()
        raise
