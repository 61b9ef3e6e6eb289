"""
From a document to L{NodeSettings}, or to everything that keeps it from being
one.
"""

from collections.abc import Callable, Mapping, Sequence
from posixpath import dirname, join
from typing import Final, cast

from attrs import evolve, field, frozen

from corotwist.config.balance import balanced
from corotwist.config.check import Checked, Group, check
from corotwist.config.combinations import judge
from corotwist.config.document import Reading
from corotwist.config.fencingparts import fencingSettings
from corotwist.config.keys import keysOf
from corotwist.config.kinds import engines, wholeOf
from corotwist.config.loader import read
from corotwist.config.localnode import IHost
from corotwist.config.loglines import logSettings
from corotwist.config.nodelist import NodeList
from corotwist.config.places import (
    LONGEST_SOCKET_PATH_BYTES,
    socketPath,
    stateDirectory,
)
from corotwist.config.quorumparts import quorumSettings
from corotwist.config.ringoptions import LEAST_HOLD, LEAST_TIME
from corotwist.config.serviceparts import serviceSettings
from corotwist.config.settings import (
    Address,
    ComponentSettings,
    EngineSettings,
    IpcSettings,
    MemoryPolicy,
    NodeEntry,
    NodeSettings,
    QuorumSettings,
    TotemSettings,
)
from corotwist.config.timing import Derived, derive, timing
from corotwist.config.values import Value, u32
from corotwist.errors import ConfigurationError, Problem

# What corosync suggests, of the token time.
CONSENSUS_FACTOR: Final = 1.2
# In milliseconds: what a machine with other things to do may take to pass it on.
LEAST_TOKEN_PER_NODE: Final = 10
# Corosync's limits for a key.
SMALLEST_KEY_BYTES: Final = 128
# Of problems and warnings; who has more reads them when these are mended.
LINES_TOLD: Final = 200
# Of users and groups; the next one means nobody to the kernel.
_LARGEST_ID: Final = (1 << 32) - 2

_UNSEALED: Final = (
    "datagrams would be neither secret nor authentic. Either run 'corotwist keygen"
    " -k PATH', copy the file to every node and write 'keyfile: PATH'; or write"
    " 'crypto_cipher: none' for corosync's plain wire"
)


@frozen
class Environment:
    """
    All that is not in the file.

    @ivar loadKey: from the path of a key file and the name of the cluster to
        32 bytes.  Raises OSError or C{ConfigurationError}.
    @ivar deriveKey: likewise from the key itself.
    @ivar node: which entry of the node list we are, as C{corotwist.node};
        stronger than the file.
    """

    host: IHost
    environ: Mapping[str, str]
    uid: int
    loadKey: Callable[[str, str], bytes]
    deriveKey: Callable[[bytes, str], bytes]
    node: str | None = None


Keys = tuple[tuple[str, Value], ...]


@frozen
class Built:
    """
    What came out.

    @ivar settings: L{None} when there are problems.
    @ivar problems: all of them, in the order of the file.
    @ivar keys: what the file says, by corosync's key names, typed.
    """

    settings: NodeSettings | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    keys: Keys = field(default=(), repr=False)

    def report(self) -> list[str]:
        """
        What is to be said about it, line by line, as far as anybody reads.
        """
        lines = [
            *map(str, self.problems),
            *(f"warning: {warning}" for warning in self.warnings),
        ]
        if len(lines) > LINES_TOLD:
            left = len(lines) - LINES_TOLD
            lines[LINES_TOLD:] = [f"and {left} more lines of that kind"]
        if self.settings is not None:
            lines.append("The configuration can be used.")
        return lines

    def usable(self) -> NodeSettings:
        """
        The settings.

        @raise ConfigurationError: with all problems.
        """
        if self.settings is None:
            raise ConfigurationError(*self.problems)
        return self.settings


def load(paths: str | Sequence[str], environment: Environment) -> Built:
    """
    Read a file, or several of which later ones override earlier ones.

    @param paths: each C{PATH}, or C{FORMAT:PATH}.
    """
    sources = (paths,) if isinstance(paths, str) else tuple(paths)
    return fromReading(read(*sources), environment, sources)


def fromReading(
    reading: Reading, environment: Environment, sources: tuple[str, ...] = ()
) -> Built:
    """
    What was understood of a file to settings, with all that is wrong.

    Where lines could not be read, what is missing may be in them: then only
    what the others say is judged.
    """
    document = reading.document
    if not reading.balanced:
        document = balanced(document)
    checked = check(document, names=reading.balanced)
    judge(checked, complete=not reading.problems)
    keys = keysOf(document, environment.host)
    settings = None
    if not reading.problems:
        builder = Builder(checked, environment)
        settings = builder.build()
        if settings is not None:
            keys = _withOwn(keys, settings)
            settings = evolve(settings, keys=keys, sources=sources)
    problems = _sorted([*reading.problems, *checked.problems])
    return Built(settings, problems, _sorted([*reading.notes, *checked.warnings]), keys)


def _withOwn(keys: Keys, settings: NodeSettings) -> Keys:
    """
    What corosync adds: nodeids that derive from addresses, and which of the
    entries is ours.
    """
    totem = settings.totem
    nodeids = {
        f"nodelist.node.{at}.nodeid": u32(entry.nodeid)
        for at, entry in enumerate(totem.nodes)
    }
    own = next(at for at, e in enumerate(totem.nodes) if e.nodeid == totem.nodeid)
    added = {**dict(keys), **nodeids, "nodelist.local_node_pos": u32(own)}
    return tuple(added.items())


def _sorted(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))


class Builder:
    """
    The parts, each of which notes its own problems in C{checked}.
    """

    def __init__(self, checked: Checked, environment: Environment) -> None:
        self.checked = checked
        self.environment = environment
        self._top = checked.top
        self._nodes = checked.entries["nodelist.node"]
        self._transport = str(self._top.value("totem.transport"))

    def build(self) -> NodeSettings | None:
        """
        The settings; L{None} where they cannot even be put together.
        """
        self._required()
        derived = self._times()
        around = self.environment
        nodes = NodeList(self.checked, around.host, around.node)
        own, entries = nodes.own, nodes.entries
        key = self._key(entries)
        quorum = self._quorum(own, entries)
        ipc = self._ipc()
        log = logSettings(self.checked)
        services = serviceSettings(self.checked)
        fencing = fencingSettings(self.checked)
        if own is None or self.checked.problems:
            return None
        totem = self._totem(own, entries, key, derived)
        version = self._top.number("totem.config_version")
        components, engines = self._components(), self._engines()
        return NodeSettings(
            totem,
            ipc,
            quorum,
            log,
            version,
            components,
            engines,
            services,
            fencing,
        )

    # Totem.

    def _required(self) -> None:
        if not self._top.has("totem.version"):
            self._wrong(self._top, "totem.version", "missing: write 'version: 2'")
        if self._transport == "knet":
            self._wrong(
                self._top,
                "totem.transport",
                "this release has no knet: write 'transport: udpu' on every node",
            )
        self._cipher()
        self._interfaces()

    def _cipher(self) -> None:
        cipher = self._top.value("totem.crypto_cipher")
        if cipher not in (None, "none"):
            self._wrong(
                self._top,
                "totem.crypto_cipher",
                "with udp and udpu datagrams are sealed by PyNaCl or not at all:"
                " write 'keyfile: PATH' without crypto_cipher, or 'crypto_cipher:"
                " none'",
            )
        crypto = self._top.value("totem.crypto_hash")
        if cipher == "none" and crypto not in (None, "none"):
            self._wrong(
                self._top,
                "totem.crypto_hash",
                "'crypto_cipher: none' is a wire without authentication: remove one"
                " of the two",
            )

    def _interfaces(self) -> None:
        interfaces = self.checked.entries["totem.interface"]
        for second in interfaces[1:]:
            if not second.has("totem.interface.linknumber"):
                self._wrong(
                    second, "totem.interface", "this release has one link: keep one"
                )
        for interface in interfaces:
            self._multicastOnly(interface)

    def _multicastOnly(self, interface: Group) -> None:
        """
        What makes no sense without multicast.
        """
        if self._transport == "udp":
            return
        if interface.has("totem.interface.ttl"):
            self._wrong(
                interface,
                "totem.interface.ttl",
                "only with 'transport: udp': remove it",
            )
        for name in ("totem.interface.mcastaddr", "totem.interface.broadcast"):
            if interface.has(name) and interface.value(name):
                self._warn(interface, name, "no effect without 'transport: udp'")

    def _interface(self) -> Group:
        found = self.checked.entries["totem.interface"]
        return found[0] if found else Group(self._top.schema, self._top.place)

    def _times(self) -> Derived:
        top = self._top
        derived = derive(
            len(self._nodes),
            token=top.number("totem.token"),
            coefficient=top.number("totem.token_coefficient"),
            retransmits=top.number("totem.token_retransmits_before_loss_const"),
            tokenRetransmit=cast("int | None", top.value("totem.token_retransmit")),
            hold=cast("int | None", top.value("totem.hold")),
            consensus=cast("int | None", top.value("totem.consensus")),
        )
        self._derivedTooShort("token_retransmit", derived.tokenRetransmit, LEAST_TIME)
        self._derivedTooShort("hold", derived.hold, LEAST_HOLD)
        join = top.number("totem.join")
        if derived.consensus < join:
            self._wrong(
                top,
                "totem.consensus",
                f"{derived.consensus} ms is shorter than join, {join} ms",
            )
        elif derived.consensus < int(CONSENSUS_FACTOR * derived.token):
            self._warn(
                top,
                "totem.consensus",
                f"{derived.consensus} ms is shorter than 1.2 times the token time of"
                f" {derived.token} ms: rings may form twice",
            )
        least = len(self._nodes) * LEAST_TOKEN_PER_NODE
        if derived.token < least:
            self._warn(
                top,
                "totem.token",
                f"{derived.token} ms are short for {len(self._nodes)} nodes: with less"
                f" than {least} ms a busy machine loses the token",
            )
        return derived

    def _derivedTooShort(self, name: str, value: int, least: int) -> None:
        if not self._top.has(f"totem.{name}") and value < least:
            self._wrong(
                self._top,
                f"totem.{name}",
                f"follows from token as {value} ms, less than {least} ms: raise token"
                " or lower token_retransmits_before_loss_const",
            )

    def _totem(
        self,
        own: NodeEntry,
        entries: list[NodeEntry],
        key: bytes | None,
        derived: Derived,
    ) -> TotemSettings:
        top, interface = self._top, self._interface()
        address = cast("Address | None", interface.value("totem.interface.mcastaddr"))
        return TotemSettings(
            nodeid=own.nodeid,
            nodes=tuple(entries),
            bindAddress=own.addresses[0],
            stateDirectory=stateDirectory(
                self.environment.environ,
                self.environment.uid,
                self._path("system.state_dir"),
            ),
            clusterName=top.text("totem.cluster_name") or "",
            transport=self._transport,
            port=interface.number("totem.interface.mcastport"),
            multicastAddress=address if self._transport == "udp" else None,
            broadcast=interface.flag("totem.interface.broadcast"),
            ttl=interface.number("totem.interface.ttl"),
            netmtu=top.number("totem.netmtu"),
            blockUnlistedIps=top.flag("totem.block_unlisted_ips"),
            key=key,
            timing=timing(
                derived,
                lambda name: top.number(f"totem.{name}"),
                lambda name: top.flag(f"totem.{name}"),
            ),
        )

    # Who may listen, and speak.

    def _key(self, entries: list[NodeEntry]) -> bytes | None:
        """
        The key, or L{None} for corosync's plain wire.
        """
        top = self._top
        cipher, secauth = top.value("totem.crypto_cipher"), top.value("totem.secauth")
        names = ("totem.keyfile", "totem.key")
        if any(map(top.isWrong, (*names, "totem.crypto_cipher", "totem.secauth"))):
            return None  # Who knows what was meant.
        source = next(filter(top.has, names), None)
        if cipher == "none":
            if secauth:
                self._wrong(
                    top, "totem.secauth", "'crypto_cipher: none' says the contrary"
                )
            if source:
                self._warn(top, source, "no effect with 'crypto_cipher: none'")
            return None
        if source is not None:
            if secauth is False:
                self._warn(top, "totem.secauth", f"no effect: {source} is given")
            return self._loadKey(source)
        if secauth:
            self._wrong(top, "totem.secauth", "needs a key: write 'keyfile: PATH'")
        elif not all(a.is_loopback for entry in entries for a in entry.addresses):
            self._wrong(top, "totem.keyfile", f"missing: {_UNSEALED}")
        return None

    def _loadKey(self, source: str) -> bytes | None:
        cluster = self._top.text("totem.cluster_name") or ""
        if source == "totem.key":
            key = (self._top.text(source) or "").encode()
            if len(key) < SMALLEST_KEY_BYTES:
                text = f"has {len(key)} bytes, {SMALLEST_KEY_BYTES} are needed"
                self._wrong(self._top, source, text)
            return self.environment.deriveKey(key, cluster)
        path = self._path(source)
        assert path is not None, "only called for a key file that is given"
        try:
            return self.environment.loadKey(path, cluster)
        except OSError as error:
            self._wrong(self._top, source, f"{path}: {error.strerror or error}")
        except ConfigurationError as error:
            for problem in error.problems:
                self._wrong(self._top, source, problem.text)
        return None

    # Services and clients.

    def _quorum(
        self, own: NodeEntry | None, entries: list[NodeEntry]
    ) -> QuorumSettings:
        self._tie(len(entries))
        return quorumSettings(self.checked, own, entries)

    def _tie(self, nodes: int) -> None:
        """
        Worth a word where nobody wins.
        """
        top = self._top
        rules = ("quorum.two_node", "quorum.auto_tie_breaker")
        decided = top.has("quorum.device.model") or any(map(top.flag, rules))
        if top.has("quorum.provider") and nodes and nodes % 2 == 0 and not decided:
            self._warn(
                self._top,
                "quorum.provider",
                f"{nodes} nodes: halves that do not see each other both stop",
            )

    def _ipc(self) -> IpcSettings:
        path = socketPath(
            self.environment.environ,
            self.environment.uid,
            self._path("corotwist.ipc_socket"),
        )
        if len(path.encode()) > LONGEST_SOCKET_PATH_BYTES:
            self._wrong(
                self._top,
                "corotwist.ipc_socket",
                f"{path} is longer than {LONGEST_SOCKET_PATH_BYTES} bytes",
            )
        host = self.environment.host
        return IpcSettings(
            path,
            uids=self._identities("uidgid.uid", "user", host.userId),
            gids=self._identities("uidgid.gid", "group", host.groupId),
            slowReader=self._top.text("corotwist.slow_reader") or "",
            pauseSeconds=self._top.number("corotwist.pause_limit") / 1000,
            clientBytes=self._top.number("corotwist.client_queue"),
            spillBytes=self._top.number("corotwist.spill_limit"),
            memoryBytes=self._top.number("corotwist.memory_limit"),
        )

    def _components(self) -> ComponentSettings:
        directories = self._top.text("corotwist.plugin_dir")
        return ComponentSettings(
            tuple(directories.split(":")) if directories else (),
            engines(self._top.text("corotwist.engines") or ""),
            self._top.number("corotwist.engine_restarts"),
        )

    def _engines(self) -> EngineSettings:
        return EngineSettings(
            MemoryPolicy(self._top.text("corotwist.memory_failure")),
            self._top.number("corotwist.shutdown_timeout") / 1000,
        )

    def _identities(
        self, option: str, what: str, find: Callable[[str], int | None]
    ) -> frozenset[int]:
        numbers = set()
        for entry in self.checked.entries["uidgid"]:
            text = entry.text(option)
            if text is None:
                continue
            number = wholeOf(text)
            if number is None:
                number = find(text)
            if number is None or number > _LARGEST_ID:
                self._wrong(entry, option, f"there is no {what} {text!r}")
            else:
                numbers.add(number)
        return frozenset(numbers)

    def _path(self, option: str) -> str | None:
        """
        A path; a relative one counts from the directory of the file that
        names it, wherever the daemon is started.
        """
        text = self._top.text(option)
        if text is None:
            return None
        return join(dirname(self._top.placeOf(option).file), text)

    def _wrong(self, group: Group, key: str, text: str) -> None:
        self.checked.wrongIn(group, key, text)

    def _warn(self, group: Group, key: str, text: str) -> None:
        self.checked.warnIn(group, key, text)
