"""
C{corotwist arbiter}: run the arbiter that the quorum devices of clusters ask, or
show what a running one does.
"""

import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.protocols import amp
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.usage import UsageError

from corotwist.ipc.jsonparts import wholeJson
from corotwist.options import Options
from corotwist.quorumdevice.arbiter import (
    DEFAULT_MOST_SECONDS,
    Arbiter,
    ArbiterFactory,
)
from corotwist.quorumdevice.messages import DEFAULT_PORT, Show
from corotwist.quorumdevice.tls import Identity, TlsRefused
from corotwist.tools.asking import printJson, seconds

DONE, FAILED, WRONG_USE = range(3)
PATIENCE_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise ValueError("it is a number from 0 to 65535")
    return number


class ArbiterOptions(Options):
    """
    What can be said.
    """

    synopsis = "Usage: corotwist arbiter [options]"
    longdesc = (
        "Runs until it is stopped; or shows with --status what another one does."
        " With TLS it needs --cert, --key and --ca; so does --status."
    )
    optFlags = [
        ["status", None, "show a running arbiter"],
        ["json", None, "with --status: print JSON"],
        ["no-tls", None, "without TLS, on a network of its own"],
        ["verbose", "v", "log who comes and goes"],
    ]
    optParameters = [
        ["address", "a", "", "listen there, or ask there"],
        ["port", "p", DEFAULT_PORT, "TCP port", _port],
        ["cert", None, "", "our certificate in PEM"],
        ["key", None, "", "its key in PEM"],
        ["ca", None, "", "the certificate of the authority of the others"],
        ["name", None, "", "--status: what the certificate of the arbiter has"],
        [
            "most",
            None,
            DEFAULT_MOST_SECONDS,
            "the longest time, in seconds, that a vote is given for",
            seconds,
        ],
    ]
    opt_h = Options.opt_help

    def postOptions(self) -> None:
        files = [self["cert"], self["key"], self["ca"]]
        if self["no-tls"] and any(files):
            raise UsageError("--no-tls goes with neither --cert, --key nor --ca")
        if not self["no-tls"] and not all(files):
            raise UsageError("--cert, --key and --ca are needed, or --no-tls")

    @property
    def identity(self) -> Identity | None:
        """
        For TLS.
        """
        if self["no-tls"]:
            return None
        return Identity(self["cert"], self["key"], self["ca"])


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status.
    """
    options = ArbiterOptions()
    try:
        options.parseOptions(list(argv))
    except UsageError as error:
        sys.stderr.write(f"corotwist arbiter: {error}\n")
        return WRONG_USE
    work = show if options["status"] else serve
    try:
        react(partial(_finish, work, options))
    except SystemExit as end:
        return int(end.code or 0)
    return DONE


def _finish(work: Any, options: ArbiterOptions, reactor: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(_told(work, options, reactor))


async def _told(work: Any, options: ArbiterOptions, reactor: Any) -> None:
    """
    An error is a line, not a traceback.
    """
    try:
        await work(reactor, options)
    except (TlsRefused, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        sys.stderr.write(f"corotwist arbiter: {reason}\n")
        raise SystemExit(FAILED) from None
    except Exception as error:  # noqa: BLE001 - Twisted has many for connections.
        sys.stderr.write(f"corotwist arbiter: {error or type(error).__name__}\n")
        raise SystemExit(FAILED) from None


# The arbiter.


async def serve(reactor: Any, options: ArbiterOptions) -> None:
    """
    Until the reactor stops.
    """
    # What was given must end in time, whatever becomes of the time of day.
    reactor.seconds = time.monotonic
    _log(verbose=options["verbose"])
    factory: Any = ArbiterFactory(Arbiter(reactor, options["most"]))
    if options.identity is not None:
        tls = options.identity.server()
        factory = TLSMemoryBIOFactory(tls, isClient=False, wrappedFactory=factory)
    port = await listen(reactor, options["address"], options["port"], factory)
    host = port.getHost()
    sys.stdout.write(f"Arbiter at {host.host} port {host.port}\n")
    sys.stdout.flush()
    await Deferred()


def listen(reactor: Any, address: str, port: int, factory: Any) -> Deferred[Any]:
    """
    @return: fires with the listening port.
    """
    if address and ":" not in address:
        made: Any = TCP4ServerEndpoint(reactor, port, interface=address)
    else:
        made = TCP6ServerEndpoint(reactor, port, interface=address or "::")
    listening: Deferred[Any] = made.listen(factory)
    return listening


def _log(*, verbose: bool) -> None:
    level = LogLevel.info if verbose else LogLevel.warn
    observer = FilteringLogObserver(
        textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(level)]
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


# What it does.


async def show(reactor: Any, options: ArbiterOptions) -> None:
    """
    Ask a running one.
    """
    status = await state(reactor, options)
    if options["json"]:
        printJson("arbiter", **status)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(status)))
        sys.stdout.flush()


async def state(reactor: Any, options: ArbiterOptions) -> dict[str, Any]:
    """
    The state of an arbiter, as JSON values.
    """
    host = options["address"] or "localhost"
    endpoint: Any = HostnameEndpoint(
        reactor, host.encode(), options["port"], timeout=PATIENCE_SECONDS
    )
    if options.identity is not None:
        tls = options.identity.client(options["name"] or host)
        endpoint = wrapClientTLS(tls, endpoint)
    client = await connectProtocol(endpoint, amp.AMP())

    def ask(command: type[amp.Command], **arguments: Any) -> Deferred[dict[str, Any]]:
        asked: Deferred[dict[str, Any]] = client.callRemote(command, **arguments)
        return asked.addTimeout(PATIENCE_SECONDS, reactor)

    status: dict[str, Any] = await wholeJson(ask, Show)
    client.transport.loseConnection()
    return status


def lines(status: dict[str, Any]) -> list[str]:
    """
    The same for people.
    """
    up, most = round(status["upSeconds"]), f"{status['mostSeconds']:g}"
    told = [f"Up for {up} s, {status['connections']} connections, {most} s a vote"]
    for name, cluster in status["clusters"].items():
        told += ["", f"Cluster {name}", f"    Nodes:       {_list(cluster['nodes'])}"]
        told.append(
            f"    Algorithm:   {cluster['algorithm']}, tie breaker"
            f" {cluster['tieBreaker']}"
        )
        if cluster["quietSeconds"]:
            told.append(f"    Quiet for:   {cluster['quietSeconds']:.0f} s")
        for nodeid, node in cluster["connected"].items():
            vote = "has the vote" if node["vote"] else "has no vote"
            told.append(
                f"    Node {nodeid}: ring {node['ring']} of {_list(node['members'])},"
                f" heuristics {node['heuristics']}, {vote}"
            )
        for ring, given in cluster["given"].items():
            told.append(
                f"    Given to:    ring {ring} of {_list(given['members'])}, for"
                f" {given['seconds']:.0f} s more"
            )
    return told


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "nobody"
