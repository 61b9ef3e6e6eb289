"""
The node at the other end: of two connections, or of a few calls.
"""

from collections.abc import Callable
from errno import EACCES
from os import strerror
from sys import maxsize
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.errors import (
    AccessDenied,
    Disconnected,
    NotSupported,
    ServiceError,
    TimedOut,
)
from corotwist.ipc.backlog import Limits
from corotwist.ipc.channel import (
    Box,
    Channel,
    Responder,
    errorFor,
    respond,
)
from corotwist.ipc.components import ComponentsLocator
from corotwist.ipc.connection import Connection, Credentials
from corotwist.ipc.locators import Locators
from corotwist.ipc.status import StatusLocator
from corotwist.ipc.views import ViewsLocator
from corotwist.ipc.wire import (
    DISPATCH,
    DISPATCH_WINDOW_BYTES,
    PART_BYTES,
    REQUESTS,
    VERSION,
    Closing,
    Credit,
    Hello,
    Welcome,
)

# For the node to accept two connections and to answer hello twice.
CONNECT_SECONDS: Final = 10.0
# For the node to close the second connection, when it closed the first.
CLOSING_SECONDS: Final = 1.0
# Acknowledged at once: this part of the window.
CREDIT_SHARE: Final = 4


class Receiver(Protocol):
    """
    Whoever uses a remote.
    """

    def locate(self, name: bytes) -> Responder:
        """
        Who takes a notification, and says C{consumed} to the remote for it.
        """

    def remoteLost(self, reason: str) -> None:
        """
        The remote is of no use any more; called once.
        """


class Remote(Protocol):
    """
    The node, while it is connected.
    """

    welcome: Welcome
    partBytes: int

    def askBox(self, name: bytes, box: Box) -> Deferred[amp.AmpBox]:
        """
        Send a command; see L{Channel.askBox<corotwist.ipc.channel.Channel>}.
        """

    def tellBox(self, box: Box) -> None:
        """
        Send a command that wants no answer.
        """

    def consumed(self, cost: int) -> None:
        """
        Events of that cost are dealt with: others may come.
        """


def ask(
    remote: Remote, command: type[amp.Command], **arguments: Any
) -> Deferred[dict[str, Any]]:
    """
    Send a command.

    @return: a fresh L{Deferred}.  Fires with the values of the answer; fails
        with the L{ServiceError} that was answered, or L{Disconnected}.
    """
    box = command.makeArguments(arguments, None)
    return remote.askBox(command.commandName, box).addCallback(_understood, command)


def _understood(box: Box, command: type[amp.Command]) -> dict[str, Any]:
    """
    The values of an answer.

    @raise ServiceError: it is none to this command.
    """
    try:
        answer: dict[str, Any] = command.parseResponse(box, None)
    except KeyError as error:
        raise ServiceError(f"the node's answer lacks {error}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ServiceError(f"the node's answer makes no sense: {error}") from error
    return answer


@define(eq=False)
class _Credits:
    """
    What was consumed, until it is worth a command.
    """

    give: Callable[[int], object]
    step: int = DISPATCH_WINDOW_BYTES // CREDIT_SHARE
    _consumed: int = 0

    def consumed(self, cost: int) -> None:
        """
        Count.
        """
        self._consumed += cost
        if self._consumed >= self.step:
            given, self._consumed = self._consumed, 0
            self.give(given)


# Over the socket.


class _ClientChannel(Channel):
    """
    One of our two connections.
    """

    def __init__(
        self, locate: Callable[[bytes], Responder | None], ending: Callable[[], None]
    ) -> None:
        super().__init__()
        self._locate = locate
        self._ending = ending

    def locate(self, name: bytes) -> Responder | None:
        return self._locate(name)

    def malformedReceived(self, reason: str) -> None:
        self.log.warn("The node is not to be understood: {reason}", reason=reason)
        self.abort()

    def commandFailed(self, failure: Failure) -> None:
        self.malformedReceived(str(failure.value))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._ending()


class SocketRemote:
    """
    A node at the other end of two connections.
    """

    partBytes = PART_BYTES
    welcome = Welcome(0, 0)

    def __init__(self, reactor: Any, receiver: Receiver) -> None:
        self._reactor = reactor
        self._patience: IDelayedCall | None = None
        self._receiver = receiver
        self._requests = _ClientChannel(self._locate, self._lost)
        self._dispatch = _ClientChannel(receiver.locate, self._lost)
        self._open = 0
        self._established = False
        self._reason = "the node closed the connection"
        self._credits = _Credits(self._giveCredit)
        self.consumed = self._credits.consumed
        self.askBox = self._requests.askBox
        self.tellBox = self._requests.sendBox

    async def establish(self, path: str) -> "SocketRemote":
        """
        Open both connections.
        """
        endpoint = UNIXClientEndpoint(self._reactor, path)
        try:
            answer = await self._hello(endpoint, self._requests, REQUESTS)
            secret = answer["secret"] or b""  # Which no node accepts.
            await self._hello(endpoint, self._dispatch, DISPATCH, secret=secret)
        except ConnectError as error:
            self.close()
            raise _unreachable(path, error) from error
        except Exception:
            self.close()
            raise
        self._established = True
        self.welcome = Welcome(answer["nodeid"], answer["pid"], answer["window"])
        self._credits.step = answer["window"] // CREDIT_SHARE
        return self

    async def _hello(
        self,
        endpoint: UNIXClientEndpoint,
        channel: Channel,
        role: bytes,
        **secret: bytes,
    ) -> dict[str, Any]:
        factory = Factory.forProtocol(lambda: channel)
        factory.noisy = False
        await endpoint.connect(factory)
        self._open += 1
        arguments = {"version": VERSION, "role": role, **secret}
        box = Hello.makeArguments(arguments, None)
        return _understood(await channel.askBox(Hello.commandName, box), Hello)

    def _locate(self, name: bytes) -> Responder | None:
        return self._closing if name == Closing.commandName else None

    def _closing(self, box: Box) -> None:
        self._reason = box[b"reason"].decode("utf-8", "replace")

    def _giveCredit(self, credit: int) -> None:
        self._dispatch.tell(Credit, bytes=credit)

    def close(self) -> None:
        """
        Close both; the receiver is told when they are.
        """
        self._reason = "we closed the connection"
        self._requests.close()
        self._dispatch.abort()

    def _lost(self) -> None:
        self._open -= 1
        if self._open and self._established and self._patience is None:
            # The node closes both, and on one it may still say why.
            self._patience = self._reactor.callLater(CLOSING_SECONDS, self._abort)
        else:
            self._abort()
        if self._open == 0 and self._established:
            self._receiver.remoteLost(self._reason)

    def _abort(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None and patience.active():
            patience.cancel()
        self._requests.abort()
        self._dispatch.abort()


def _unreachable(path: str, error: ConnectError) -> ServiceError:
    if error.osError == EACCES:
        return AccessDenied(f"we may not open {path}")
    reason = error if error.osError is None else strerror(error.osError)
    return Disconnected(f"no node at {path}: {reason}; is it running?")


def connectSocket(reactor: Any, path: str, receiver: Receiver) -> Deferred[Any]:
    """
    One attempt to reach the node that listens at a path.

    @return: fires with a L{SocketRemote}.  Fails with L{Disconnected},
        L{TimedOut}, L{AccessDenied} or L{NotSupported}.
    """
    attempt = Deferred.fromCoroutine(SocketRemote(reactor, receiver).establish(path))
    return attempt.addTimeout(CONNECT_SECONDS, reactor, _timedOut)


def _timedOut(result: Any, timeout: float) -> Any:
    if isinstance(result, Failure):
        raise TimedOut(f"the node did not answer for {timeout} s")
    return result


# In the same process.


class LocalRemote:
    """
    A node in this process: the same boxes, which nobody turns into bytes.
    """

    partBytes = maxsize
    congested = False

    def __init__(
        self, clock: IReactorTime, manager: Any, who: Credentials, receiver: Receiver
    ) -> None:
        self._clock = clock
        self._manager = manager
        self._receiver = receiver
        self._asked: dict[Deferred[amp.AmpBox], None] = {}
        self._credits = _Credits(self._giveCredit)
        self.consumed = self._credits.consumed
        self.welcome = Welcome(manager.totem.nodeid, who.pid)
        self._connection: Connection | None = Connection(
            who,
            clock,
            self,
            self._cut,
            limits=Limits.of(manager.settings.ipc),
            whole=manager.budget,
            partBytes=maxsize,
        )
        manager.connectionOpened(self._connection)
        self._locators = self._connection.locators = Locators(
            manager,
            self._connection,
            StatusLocator(manager),
            ComponentsLocator(manager, self._connection),
            ViewsLocator(manager.views, self._connection),
        )

    def askBox(self, name: bytes, box: Box) -> Deferred[amp.AmpBox]:
        """
        See L{Remote}.
        """
        if self._connection is None:
            return fail(Disconnected("not connected"))
        responder = self._locators.locate(name)
        if responder is None:
            return fail(NotSupported(f"no command {name!r}"))
        fresh: Deferred[amp.AmpBox] = Deferred()
        self._asked[fresh] = None
        answer = respond(responder, amp.AmpBox(box))
        if not isinstance(answer, Deferred):
            answer = succeed(answer)
        answer.addErrback(_localError).addBoth(self._answered, fresh)
        return fresh

    def _answered(self, answer: Any, fresh: Deferred[amp.AmpBox]) -> None:
        if fresh in self._asked:
            del self._asked[fresh]
            fresh.callback(answer)  # A Failure does what it should.

    def tellBox(self, box: Box) -> None:
        """
        See L{Remote}.
        """
        self.askBox(box[amp.COMMAND], box).addErrback(lambda _: None)

    def sendBox(self, box: Box) -> None:
        """
        From the connection: an event.
        """
        self._receiver.locate(box[amp.COMMAND])(amp.AmpBox(box))

    def _giveCredit(self, credit: int) -> None:
        # Later, for an event is being sent.
        self._clock.callLater(0, self._creditGiven, credit)

    def _creditGiven(self, credit: int) -> None:
        if self._connection is not None:
            self._connection.creditReceived(credit)

    def _cut(self, connection: Connection, reason: str) -> None:
        self._end(reason)

    def close(self) -> None:
        """
        Be a client no more; the receiver is told soon.
        """
        self._end("we closed the connection")

    def _end(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.closed()
            self._manager.connectionClosed(connection)
            asked, self._asked = self._asked, {}
            for fresh in asked:
                fresh.errback(Disconnected("closed before the answer"))
            self._clock.callLater(0, self._receiver.remoteLost, reason)


def _localError(failure: Failure) -> Failure:
    """
    What would cross a socket as a code.
    """
    error = failure.value
    if isinstance(error, amp.RemoteAmpError):
        return Failure(errorFor(error.errorCode, str(error.description)))
    return failure


def connectLocal(
    clock: IReactorTime, manager: Any, who: Credentials, receiver: Receiver
) -> Deferred[Any]:
    """
    Be a client of the node in this process.

    @return: fires with a L{LocalRemote}.
    """
    return succeed(LocalRemote(clock, manager, who, receiver))
