"""
A quorum device across the network: asks an arbiter for the vote, over and over.
"""

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.deviceinterfaces import IQuorumDevice
from corotwist.errors import ConfigurationError, InvalidParameter, Problem
from corotwist.quorumdevice import messages
from corotwist.quorumdevice.arbitration import Terms, Vote, Wish
from corotwist.quorumdevice.messages import DEFAULT_PORT, VERSION, Ask, Come
from corotwist.quorumdevice.parties import LOWEST, Rule
from corotwist.quorumdevice.tls import Identity, TlsRefused
from corotwist.quorumdevice.values import DeviceAnswer, DeviceContext, Health
from corotwist.totem.membership import NO_RING, RingId

# A vote is asked for again so often while it is good.
_RENEWALS: Final = 5
# While the arbiter waits for others, and after it could not be reached.
WAIT_SECONDS: Final = 0.2
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 5.0
CONNECT_SHARE: Final = 0.8
_MS: Final = 1000
_DONE: Final = Failure(ConnectionDone())


@frozen
class NetOptions:
    """
    What C{quorum.device.net} says.

    @ivar identity: for TLS; L{None} without.
    @ivar name: that the certificate of the arbiter has to have.
    """

    host: str
    port: int
    rule: Rule
    connectSeconds: float
    identity: Identity | None
    name: str

    @classmethod
    def of(cls, context: DeviceContext) -> "NetOptions":
        """
        @raise ConfigurationError: it cannot be used.
        """
        given = context.options
        host = given.get("host", "")
        if not host:
            raise _wrong("host", "missing: the machine that the arbiter runs on")
        try:
            rule = Rule(
                given.get("algorithm", "ffsplit"), given.get("tie_breaker", LOWEST)
            )
        except InvalidParameter as error:
            raise _wrong("algorithm", str(error)) from error
        connect = _number(given, "connect_timeout", 86_400_000)
        return cls(
            host,
            _number(given, "port", 65535) or DEFAULT_PORT,
            rule,
            connect / _MS or context.castSeconds * CONNECT_SHARE,
            _identity(given),
            given.get("name", host),
        )


def _number(given: Any, name: str, most: int) -> int:
    text = given.get(name, "") or "0"
    if not text.isdecimal() or int(text) > most:
        raise _wrong(name, f"{text!r} is no number from 1 to {most}")
    return int(text)


def _identity(given: Any) -> Identity | None:
    tls = given.get("tls", "on")
    if tls not in ("on", "required", "off"):
        raise _wrong("tls", f"{tls!r} is not on, off or required")
    if tls == "off":
        return None
    files = [given.get(name, "") for name in ("cert", "key", "ca")]
    for name, file in zip(("cert", "key", "ca"), files, strict=True):
        if not file.startswith("/"):
            text = f"{file!r} is no whole path of a file in PEM, which TLS needs"
            raise _wrong(name, f"{text}; or write 'tls: off' on a network of its own")
    return Identity(*files)


class _Talk(amp.AMP):
    """
    One connection to the arbiter.
    """

    def __init__(self, lost: Callable[[Any], object]) -> None:
        super().__init__()
        self._lost = lost

    def connectionLost(self, reason: Failure = _DONE) -> None:
        super().connectionLost(reason)
        self._lost(self)


@implementer(IQuorumDevice)
class NetDevice:
    """
    One connection at a time, and one question at a time on it: an answer that
    came too late, to a question that we have given up, does not count.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        context: DeviceContext,
        *,
        endpoint: IStreamClientEndpoint | None = None,
    ) -> None:
        """
        @param endpoint: how the arbiter is reached; by default as the options
            say.
        """
        self.options = NetOptions.of(context)
        self._reactor = reactor
        self._context = context
        rule = self.options.rule
        self.terms = Terms(
            context.nodes, rule, context.castSeconds, context.graceSeconds
        )
        self._endpoint = endpoint or self._reach()
        self._told: Callable[[Any], object] | None = None
        self._wish = Wish(NO_RING, ())
        self._until = 0.0
        self._vote: Vote | None = None
        self._talk: _Talk | None = None
        self._come = False
        self._asking = False
        self._connecting: Deferred[Any] | None = None
        self._next: Any = None
        self._pause = FIRST_PAUSE_SECONDS
        self._trouble = "not connected yet"
        self._asked = self._connects = 0

    def _reach(self) -> IStreamClientEndpoint:
        options = self.options
        try:
            literal = str(ip_address(options.host))
        except ValueError:
            literal = options.host
        plain = HostnameEndpoint(
            self._reactor,
            literal.encode(),
            options.port,
            timeout=options.connectSeconds,
        )
        if options.identity is None:
            self._log.warn("The arbiter {host} is asked without TLS", host=literal)
            return plain
        try:
            tls = options.identity.client(options.name)
        except TlsRefused as error:
            raise _wrong("tls", str(error)) from error
        return wrapClientTLS(tls, plain)

    # From the node.

    def start(self, told: Callable[[Any], object]) -> None:
        self._told = told
        self._connect()

    def listed(self, nodes: tuple[int, ...]) -> None:
        self._context = evolve(self._context, nodes=nodes)
        self.terms = evolve(self.terms, nodes=nodes)
        if self._talk is not None and self._talk.transport is not None:
            self._talk.transport.loseConnection()  # To come with other terms.

    def ask(self, ringId: RingId, members: tuple[int, ...], health: Health) -> None:
        if ringId != self._wish.ringId:
            self._until, self._vote = 0.0, None
        self._wish = Wish(ringId, tuple(sorted(members)), False, health)
        if self._come:
            self._askSoon(0.0)
        else:
            self._tellTrouble()

    def stop(self) -> Deferred[None]:
        """
        The arbiter hears that we are gone; the vote is free when what we were
        given has ended.
        """
        self._told = None
        self._cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._talk is not None and self._talk.transport is not None:
            self._talk.transport.loseConnection()
        return succeed(None)

    # The connection.

    def _connect(self) -> None:
        self._next = None
        factory = Factory.forProtocol(partial(_Talk, self._disconnected))
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addTimeout(self.options.connectSeconds, self._reactor)
        self._connecting.addCallbacks(self._connected, self._notConnected)

    def _connected(self, talk: _Talk) -> None:
        self._connecting, self._talk = None, talk
        self._connects += 1
        coming = talk.callRemote(
            Come,
            version=VERSION,
            cluster=self._context.cluster,
            nodeid=self._context.nodeid,
            incarnation=self._context.incarnation,
            **messages.packTerms(self.terms),
        )
        coming.addTimeout(self._patience, self._reactor)
        coming.addCallbacks(self._isHere, partial(self._hangUp, talk))

    @property
    def _patience(self) -> float:
        return self._context.castSeconds / _RENEWALS

    def _isHere(self, answer: dict[str, Any]) -> None:
        self._come, self._pause = True, FIRST_PAUSE_SECONDS
        self._trouble = ""
        where = f"{self.options.host}:{self.options.port}"
        quiet = answer["quiet"] / _MS
        self._log.info(
            "The arbiter {where} hears us, and gives nothing new for {quiet} s",
            where=where,
            quiet=quiet,
        )
        if self._wish.ringId != NO_RING:
            self._askSoon(0.0)

    def _notConnected(self, failure: Failure) -> None:
        self._connecting = None
        self._retry(_why(failure))

    def _hangUp(self, talk: _Talk, failure: Failure) -> None:
        """
        Something went wrong in the middle of a conversation: begin another.
        """
        if talk is self._talk:
            self._trouble = _why(failure)
        transport: Any = talk.transport
        if transport is not None:
            transport.abortConnection()

    def _disconnected(self, talk: _Talk) -> None:
        if talk is not self._talk:
            return
        self._talk = None
        self._come = self._asking = False
        self._retry(self._trouble or "the connection was lost")

    def _retry(self, why: str) -> None:
        if self._told is None:
            return
        before, self._trouble = self._trouble, why
        if before != why:
            self._log.warn(
                "The arbiter {host} is not there: {why}",
                host=self.options.host,
                why=why,
            )
        self._cancel()
        self._next = self._reactor.callLater(self._pause, self._connect)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._tellTrouble()

    def _cancel(self) -> None:
        call, self._next = self._next, None
        if call is not None and call.active():
            call.cancel()

    # Questions.

    def _askSoon(self, delay: float) -> None:
        if self._told is not None and not self._asking:
            self._cancel()
            self._next = self._reactor.callLater(delay, self._ask)

    def _ask(self) -> None:
        self._next = None
        talk, now = self._talk, self._reactor.seconds()
        if talk is None:
            return
        ours = self._wish
        casting = self._until > now
        wish = Wish(ours.ringId, ours.members, casting, ours.health)
        self._asking = True
        self._asked += 1
        asking = talk.callRemote(Ask, **messages.packWish(wish))
        asking.addTimeout(self._patience, self._reactor)
        asking.addCallback(partial(self._answered, talk, wish, now))
        asking.addErrback(partial(self._hangUp, talk))

    def _answered(
        self, talk: _Talk, wish: Wish, asked: float, answer: dict[str, Any]
    ) -> None:
        if talk is not self._talk:
            return
        self._asking = False
        if wish.ringId != self._wish.ringId:
            self._askSoon(0.0)
            return
        vote = self._vote = Vote(answer["vote"])
        if vote is Vote.YES:
            self._until = asked + self._context.castSeconds
        elif vote is Vote.NO:
            self._until = 0.0
        if vote is not Vote.WAIT:
            why = "votes for us" if vote is Vote.YES else "votes for others"
            self._tell(f"the arbiter {self.options.host} {why}")
        changed = wish.health != self._wish.health
        self._askSoon(0.0 if changed else self._interval(vote))

    def _interval(self, vote: Vote) -> float:
        waits = vote is Vote.WAIT and self._until <= self._reactor.seconds()
        return WAIT_SECONDS if waits else self._patience

    def _tell(self, why: str) -> None:
        if self._told is not None and self._wish.ringId != NO_RING:
            until = self._until
            self._told(DeviceAnswer(self._wish.ringId, until > 0, until, why))

    def _tellTrouble(self) -> None:
        """
        A vote that is good is good until its end, whether we are connected or
        not; without one there is none.
        """
        if self._until <= self._reactor.seconds():
            self._until = 0.0
            self._tell(f"the arbiter {self.options.host}: {self._trouble}")

    # For people.

    def status(self) -> dict[str, Any]:
        options = self.options
        vote = "" if self._vote is None else self._vote.value
        where = f"{options.host}:{options.port}"
        connected = "connected" if self._come else self._trouble
        return {
            "summary": f"{where}, {connected}",
            "host": options.host,
            "port": options.port,
            "tls": options.identity is not None,
            "connected": self._come,
            "trouble": self._trouble,
            "algorithm": options.rule.name,
            "tieBreaker": options.rule.tieBreaker,
            "answer": vote,
            "asked": self._asked,
            "connects": self._connects,
        }


def _why(failure: Failure) -> str:
    return failure.getErrorMessage() or type(failure.value).__name__


def _wrong(option: str, text: str) -> ConfigurationError:
    key = f"quorum.device.net.{option}"
    return ConfigurationError(Problem("configuration", 0, key, text))
