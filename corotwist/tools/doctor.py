"""
C{corotwist doctor}: what keeps a node from running well, and what to do about it.

It looks at this machine; at the node, when one runs here; and, when other doctors
run elsewhere at the same time, at the ways between them.
"""

import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.python.usage import UsageError

from corotwist.config.build import Built, Environment, load
from corotwist.config.host import Machine
from corotwist.config.settings import NodeSettings, TotemSettings
from corotwist.errors import CorotwistError
from corotwist.options import Options
from corotwist.tools import checkups
from corotwist.tools.asking import NodeOptions, connected, printJson, seconds
from corotwist.tools.examination import ROUND_SECONDS, Examination, Peer, Seal
from corotwist.tools.findings import Finding, Grade, worst
from corotwist.tools.keygen import loadKey
from corotwist.totem.frame import deriveKey, fingerprint
from corotwist.totem.sockets import BUFFER_BYTES

DEFAULT_FILE: Final = "/etc/corosync/corosync.conf"
WRONG_USE: Final = 2
# For others to be started and to answer.
EXAMINATION_SECONDS: Final = 10.0
# IP_MTU_DISCOVER and IPV6_MTU_DISCOVER of linux/in.h, and their IP_PMTUDISC_PROBE:
# packets are not cut, whatever is known of the way.
DISCOVER: Final = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
PROBE: Final = 3


def _port(text: str) -> int:
    """
    @raise ValueError: it is none.
    """
    number = int(text)
    if not 0 < number < 1 << 16:
        raise ValueError("a port is 1 to 65535")
    return number


class DoctorOptions(NodeOptions):
    """
    What C{corotwist doctor} understands.
    """

    synopsis = "Usage: corotwist doctor [options]"
    longdesc = (
        "Looks at this machine, and at the node that runs here. To look at the ways"
        " between machines, run it on all of them at the same time: on the ring's own"
        " port while no node runs, or on another with --port."
    )
    optParameters = [
        ["config", "c", DEFAULT_FILE, "PATH or FORMAT:PATH"],
        ["node", None, None, "which entry of the node list we are"],
        ["port", None, None, "examine the others on this UDP port", _port],
        ["seconds", None, EXAMINATION_SECONDS, "for them to answer", seconds],
    ]


def run(argv: Sequence[str]) -> int:
    """
    Look, and tell.

    @param argv: what follows C{doctor} on the command line.
    @return: 0, 1 when something is wrong, or 2 for a wrong command line.
    """
    options = DoctorOptions()
    try:
        options.parseOptions(list(argv))
    except UsageError as error:
        sys.stderr.write(f"corotwist doctor: {error}\n{options.getUsage()}\n")
        return WRONG_USE
    findings: list[Finding] = []
    try:
        react(
            lambda reactor: Deferred.fromCoroutine(_visit(reactor, options, findings))
        )
    except SystemExit as end:
        if end.code:
            return int(end.code)
    if options["json"]:
        grade = worst(findings).value
        printJson("doctor", grade=grade, findings=[f.plain() for f in findings])
    else:
        for finding in findings:
            print("\n".join(finding.lines()))
    return int(worst(findings) is Grade.WRONG)


async def _visit(reactor: Any, options: Options, findings: list[Finding]) -> None:
    built = _read(options)
    findings += checkups.configuration(built.problems, built.warnings)
    findings += checkups.names(built.keys, Machine())
    if built.settings is None:
        return
    findings += here(built.settings, options["state-dir"])
    running = await _running(reactor, built.settings, options)
    findings += running
    port = options["port"] or (None if running else built.settings.totem.port)
    if port is None:
        remedy = "run 'corotwist doctor --port PORT' on all of them at the same time"
        text = "the ways between the machines are not measured while a node runs"
        findings.append(Finding("network", Grade.UNKNOWN, text, remedy))
    elif len(built.settings.totem.nodes) > 1:
        findings += await examine(
            reactor, built.settings, port, options["seconds"], time.time
        )


def _read(options: Options) -> Built:
    around = Environment(
        Machine(), dict(os.environ), os.geteuid(), loadKey, deriveKey, options["node"]
    )
    return load(options["config"], around)


# This machine.


def here(settings: NodeSettings, stateDir: str | None = None) -> Iterator[Finding]:
    """
    What can be seen without others.

    @param stateDir: instead of that of the configuration.
    """
    totem, machine = settings.totem, Machine()
    yield checkups.address(totem, machine)
    yield checkups.key(totem, _fingerprint(settings))
    isRoot = os.geteuid() == 0
    directory = stateDir or totem.stateDirectory
    yield from checkups.stateDirectory(directory, asRoot=isRoot)
    offered = checkups.offeredBytes(BUFFER_BYTES)
    yield checkups.buffers(totem, offered, checkups.receiveLimit())
    yield from checkups.mtu(totem, checkups.interfaceMtu)
    yield checkups.descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _fingerprint(settings: NodeSettings) -> str:
    """
    Of the key file, if it is one that we may read.
    """
    path = dict(settings.keys).get("totem.keyfile")
    if path is None:
        return ""
    try:
        return fingerprint(Path(str(path.content)).read_bytes())
    except OSError:
        return ""


# The node that runs here.


async def _running(
    reactor: Any, settings: NodeSettings, options: Options
) -> list[Finding]:
    path = options["socket"] or settings.ipc.path
    where = path, options["state-dir"], options["timeout"]
    try:
        client = await connected(reactor, *where)
    except CorotwistError:
        return []
    try:
        status = await client.node.status()
    except CorotwistError as error:
        return [Finding("node", Grade.WRONG, f"it runs, and says: {error}")]
    finally:
        await client.stopService()
    return list(ring(settings.totem, status))


def ring(totem: TotemSettings, status: Any) -> Iterator[Finding]:
    """
    Members of a ring hear each other in both directions.
    """
    if status.nodeid != totem.nodeid:
        text = f"node {status.nodeid} runs here, and by the file we are {totem.nodeid}"
        remedy = "restart it with this file, or name its own with --config"
        yield Finding("node", Grade.WRONG, text, remedy)
    for entry in totem.nodes:
        subject = f"node {entry.nodeid}"
        if entry.nodeid in status.members:
            text = f"{entry.name or 'it'} is on our ring: heard, and hears us"
            yield Finding(subject, Grade.FINE, text)
        else:
            text = f"{entry.name or 'it'} is not on our ring"
            remedy = f"corotwist why {entry.nodeid}; is a node started there?"
            yield Finding(subject, Grade.WRONG, text, remedy)
    rule = status.explanation.get("rule", "")
    if status.quorate:
        yield Finding("quorum", Grade.FINE, f"this partition may act ({rule})")
    else:
        remedy = "start the nodes that are missing; see corotwist quorumtool -s"
        text = f"this partition may not act ({rule})"
        yield Finding("quorum", Grade.WRONG, text, remedy)


# The ways between the machines.


@define
class _Wire(DatagramProtocol):  # type: ignore[misc]
    """
    Hands datagrams to the examination.
    """

    timeOfDay: Callable[[], float]
    examination: Examination = field(init=False)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.examination.datagramReceived(datagram, addr[0], self.timeOfDay())


async def examine(
    reactor: Any,
    settings: NodeSettings,
    port: int,
    duration: float,
    timeOfDay: Callable[[], float],
) -> list[Finding]:
    """
    Ask the other nodes, and answer them, for some seconds.

    @param timeOfDay: seconds since 1970.
    """
    totem = settings.totem
    wire = _Wire(timeOfDay)
    try:
        listening = reactor.listenUDP(
            port, wire, str(totem.bindAddress), maxPacketSize=1 << 16
        )
    except CannotListenError as error:
        reason = error.socketError
        remedy = "stop what holds it, or take another with --port, on all machines"
        text = f"port {port} of {totem.bindAddress} cannot be had: {reason}"
        return [Finding("network", Grade.UNKNOWN, text, remedy)]
    _neverCut(listening, totem.bindAddress.version)

    def send(datagram: bytes, peer: Peer) -> None:
        try:
            listening.write(datagram, (peer.address, port))
        except OSError:
            return  # Larger than an interface: it does not arrive.

    examination = wire.examination = Examination(
        totem.nodeid,
        _others(totem),
        Seal(totem.key),
        send,
        ipVersion=totem.bindAddress.version,
        netmtu=totem.netmtu,
        facts=factsOf(settings),
    )
    asking = LoopingCall(lambda: examination.ask(timeOfDay()))
    asking.clock = reactor
    asked = asking.start(ROUND_SECONDS)
    await deferLater(reactor, duration, lambda: None)
    asking.stop()
    await asked
    await listening.stopListening()
    return examination.findings(timeOfDay())


def factsOf(settings: NodeSettings) -> dict[str, Any]:
    """
    What all nodes must have alike.
    """
    totem, timing = settings.totem, settings.totem.timing
    return {
        "totem.transport": totem.transport,
        "totem.token": round(timing.token * 1000),
        "totem.consensus": round(timing.consensus * 1000),
        "totem.netmtu": totem.netmtu,
        "totem.config_version": settings.configVersion,
        "nodelist": [n.nodeid for n in totem.nodes],
        "quorum.expected_votes": settings.quorum.expectedVotes,
    }


def _others(totem: TotemSettings) -> list[Peer]:
    """
    Whom to ask.
    """
    return [
        Peer(entry.nodeid, entry.name or "it", str(entry.addresses[0]))
        for entry in totem.nodes
        if entry.nodeid != totem.nodeid and entry.addresses
    ]


def _neverCut(listening: Any, version: int) -> None:
    """
    A packet that is too large is to be lost, not cut.
    """
    level, name = DISCOVER[version]
    listening.socket.setsockopt(level, name, PROBE)
