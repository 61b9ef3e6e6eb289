"""
What a node is told, checked and in seconds: frozen values, no defaults decided
twice.  L{corotwist.config.schema} builds them from a configuration file.
"""

from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from attrs import field, frozen

Address = IPv4Address | IPv6Address


@frozen
class Timing:
    """
    Timers and counters of the ring, with corosync's names; times in seconds.

    @ivar token: without a token for so long, it is lost (already grown by the
        token coefficient).
    @ivar tokenWarning: share of C{token} after which a rotation is worth a
        warning, 0 for never.
    @ivar sendJoin: upper bound of a random delay before joins.
    @ivar windowSize: frames of all processors in one rotation.
    @ivar maxMessages: frames of one processor at one token visit.
    @ivar missCount: token visits before a missing frame is asked for.
    @ivar failReceive: rotations without progress before we give up receiving.
    @ivar sequenceUnchanged: idle rotations before the token is held.
    """

    token: float = 3.0
    tokenWarning: float = 0.75
    tokenRetransmit: float = 0.714
    hold: float = 0.561
    join: float = 0.05
    sendJoin: float = 0.0
    consensus: float = 3.6
    merge: float = 0.2
    downcheck: float = 1.0
    heartbeatFailuresAllowed: int = 0
    maxNetworkDelay: float = 0.05
    windowSize: int = 50
    maxMessages: int = 17
    missCount: int = 5
    failReceive: int = 2500
    sequenceUnchanged: int = 30
    cancelTokenHoldOnRetransmit: bool = False


@frozen
class NodeEntry:
    """
    One node of the node list.

    @ivar addresses: one per link; a name is resolved before it gets here.
    """

    nodeid: int
    name: str
    addresses: tuple[Address, ...]
    votes: int = 1


@frozen
class TotemSettings:
    """
    Everything below the services.

    @ivar transport: C{"udpu"} or C{"udp"}.
    @ivar nodes: everybody, ourselves included, in node list order.
    @ivar netmtu: bytes of an IP packet that the path carries whole.
    @ivar key: 32 bytes to seal datagrams with, or L{None} for corosync's
        plain wire.
    @ivar bindAddress: where our sockets are.
    @ivar multicastAddress: only with transport C{"udp"}.
    @ivar stateDirectory: where the ring id file is.
    """

    nodeid: int
    nodes: tuple[NodeEntry, ...]
    bindAddress: Address
    stateDirectory: str
    clusterName: str = ""
    transport: str = "udpu"
    port: int = 5405
    multicastAddress: Address | None = None
    broadcast: bool = False
    ttl: int = 1
    netmtu: int = 1500
    blockUnlistedIps: bool = True
    key: bytes | None = field(default=None, repr=False)
    timing: Timing = Timing()


@frozen
class DeviceSettings:
    """
    The quorum device, section C{quorum.device}.

    @ivar model: which kind.
    @ivar timeout: it has to renew its vote in so many seconds.
    @ivar syncTimeout: the same after a change of the membership.
    @ivar votes: what its vote is worth.
    @ivar masterWins: is its vote enough?  L{None} for what the device says.
    @ivar options: everything else in the section and below, by the rest of the
        name and as texts: for the device.
    """

    model: str
    timeout: float = 10.0
    syncTimeout: float = 30.0
    votes: int = 1
    masterWins: bool | None = None
    options: tuple[tuple[str, str], ...] = ()


@frozen
class QuorumSettings:
    """
    Who may act, and how votes are counted.

    @ivar provider: L{None} for none: always quorate.
    @ivar expectedVotes: the sum of the node list's votes unless given, and the
        device's.
    @ivar lastManStandingWindow: seconds.
    @ivar tieBreaker: C{"lowest"}, C{"highest"}, C{"list"}, or nothing.
    @ivar tieBreakerNodes: the list.
    @ivar barrier: clean leaves do not lower what is expected below this: the
        number of C{quorum.expected_votes}, 0 if that is not given.
    @ivar voters: nodeid and votes of each in the node list, ascending.
    @ivar notes: what the file says and has no effect, with the reason.
    """

    provider: str | None = None
    expectedVotes: int = 1
    votes: int = 1
    twoNode: bool = False
    waitForAll: bool = False
    lastManStanding: bool = False
    lastManStandingWindow: float = 10.0
    tieBreaker: str = ""
    tieBreakerNodes: tuple[int, ...] = ()
    allowDownscale: bool = False
    tracking: bool = False
    barrier: int = 0
    voters: tuple[tuple[int, int], ...] = ()
    device: DeviceSettings | None = None
    notes: tuple[str, ...] = ()


@frozen
class IpcSettings:
    """
    Who may be a client, and where.

    @ivar path: the UNIX socket.
    @ivar uids: users besides root and the daemon's own.
    @ivar gids: groups whose members may connect.
    @ivar slowReader: what happens when a client reads too slowly and did not
        say what is to happen: C{"pause-senders"}, C{"disconnect"} or
        C{"spill"}.
    @ivar pauseSeconds: how long senders wait for one reader at most.
    @ivar clientBytes: what waits for one client at most.
    @ivar spillBytes: what waits for one client in a file, at most.
    @ivar memoryBytes: what waits from and for all clients together, at most.
    """

    path: str
    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()
    slowReader: str = "pause-senders"
    pauseSeconds: float = 10.0
    clientBytes: int = 32 << 20
    spillBytes: int = 256 << 20
    memoryBytes: int = 512 << 20


@frozen
class LogPart:
    """
    What one subsystem logs, and where to.

    Priorities are corosync's words; each target takes what is as urgent or more.

    @ivar file: a path, or L{None}.
    @ivar fileFormat: C{"text"} or C{"json"}.
    @ivar debug: every target takes everything but trace points.
    @ivar trace: trace levels that are on, and that every target takes.
    """

    toStderr: bool = True
    toSyslog: bool = False
    toJournal: bool = False
    file: str | None = None
    fileFormat: str = "text"
    stderrPriority: str = "info"
    filePriority: str = "info"
    syslogPriority: str = "info"
    journalPriority: str = "info"
    facility: str = "daemon"
    debug: bool = False
    trace: frozenset[int] = frozenset()


@frozen
class LogSettings:
    """
    Where log lines go.

    @ivar rest: of every subsystem that is not in C{parts}.
    @ivar parts: of subsystems, by their names.
    @ivar timestamp: of lines for people: C{"hires"}, C{"on"} or C{"off"}.
    @ivar recorder: is there a flight recorder?
    """

    rest: LogPart = LogPart()
    parts: tuple[tuple[str, LogPart], ...] = ()
    timestamp: str = "hires"
    fileline: bool = False
    functionName: bool = False
    stderrFormat: str = "text"
    recorder: bool = True


@frozen
class ComponentSettings:
    """
    Which components a node has.

    @ivar directories: where to look for some, besides those installed.
    @ivar engines: names of the service engines to load, each with a version if
        it shall not be the newest; nothing for all that the configuration
        needs.
    @ivar restarts: how often an engine that failed is started again.
    """

    directories: tuple[str, ...] = ()
    engines: tuple[tuple[str, int | None], ...] = ()
    restarts: int = 0


@frozen
class ServiceSettings:
    """
    What the file says to one service engine, in a C{service} section.

    @ivar options: names and texts, in the order of the file; what they mean is
        for the engine to judge, in its C{configure}.
    @ivar place: of the section, for problems: file and line.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()
    place: tuple[str, int] = ("configuration", 0)

    def get(self, option: str, default: str = "") -> str:
        """
        The text of an option.
        """
        return dict(self.options).get(option, default)


class MemoryPolicy(Enum):
    """
    What a node does when a service could not get memory.

    @cvar SHED: takes no more work from clients for some seconds.
    @cvar STOP: stops, in order.
    """

    SHED = "shed"
    STOP = "stop"


@frozen
class EngineSettings:
    """
    How a node treats its engines.

    @ivar shutdownSeconds: for so long work that has to move away may hold the
        shutdown of the node.
    """

    memoryPolicy: MemoryPolicy = MemoryPolicy.SHED
    shutdownSeconds: float = 60.0


@frozen
class FencingSettings:
    """
    How lost nodes are made sure to be off.

    @ivar agent: who does it; L{None} for nobody.
    @ivar options: for the agent.
    @ivar timeout: seconds for one attempt.
    @ivar delay: seconds before the first one.
    """

    agent: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    timeout: float = 30.0
    attempts: int = 10
    delay: float = 0.0


@frozen
class NodeSettings:
    """
    One whole node.

    @ivar configVersion: C{totem.config_version}, 0 when absent.
    @ivar services: what it says to single engines.
    @ivar keys: what the file says, by corosync's key names, typed.
    @ivar sources: the files, in the order in which they were read.
    """

    totem: TotemSettings
    ipc: IpcSettings
    quorum: QuorumSettings = QuorumSettings()
    log: LogSettings = LogSettings()
    configVersion: int = 0
    components: ComponentSettings = ComponentSettings()
    engines: EngineSettings = EngineSettings()
    services: tuple[ServiceSettings, ...] = ()
    fencing: FencingSettings = FencingSettings()
    keys: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    sources: tuple[str, ...] = ()

    def service(self, name: str) -> ServiceSettings:
        """
        What the file says to the engine of that name; maybe nothing.
        """
        found = (service for service in self.services if service.name == name)
        return next(found, ServiceSettings(name))
