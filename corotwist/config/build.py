"""
From a document to L{NodeSettings}, or to everything that keeps it from being
one.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from posixpath import dirname, join
from typing import Any, Final, cast

from attrs import field, frozen

from corotwist.config.check import Checked, Group, check
from corotwist.config.document import Reading
from corotwist.config.loader import read
from corotwist.config.localnode import Candidate, IHost, find
from corotwist.config.places import (
    LONGEST_SOCKET_PATH_BYTES,
    socketPath,
    stateDirectory,
)
from corotwist.config.schema import LARGEST_NODEID, LEAST_HOLD, LEAST_TIME
from corotwist.config.settings import (
    Address,
    IpcSettings,
    LogSettings,
    NodeEntry,
    NodeSettings,
    QuorumSettings,
    TotemSettings,
)
from corotwist.config.timing import Derived, derive, timing
from corotwist.errors import ConfigurationError, Problem

# Corosync's limits for a key.
SMALLEST_KEY_BYTES: Final = 128
# More nodes than that have not been on one ring.
MOST_NODES: Final = 384
_HIGH_BIT: Final = 1 << 31
# Of users and groups; the next one means nobody to the kernel.
_LARGEST_ID: Final = (1 << 32) - 2

_FAMILIES: Final = {
    "ipv4": (4,),
    "ipv6": (6,),
    "ipv6-4": (6, 4),
    "ipv4-6": (4, 6),
}
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
    keys: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

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
    if reading.problems:
        checked = check(reading.document)
        found = checked.problems if reading.balanced else []
        return Built(None, _sorted([*reading.problems, *found]), ())
    builder = Builder(check(reading.document), environment)
    settings = builder.build()
    checked = builder.checked
    return Built(settings, _sorted(checked.problems), _sorted(checked.warnings))


def _sorted(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.file, problem.line)))


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
        candidates = [self._candidate(node) for node in self._nodes]
        entries = self._entries(candidates)
        own = self._ownEntry(candidates, entries)
        key = self._key(entries)
        quorum = self._quorum(own, entries)
        ipc = self._ipc()
        log = self._log()
        if own is None or self.checked.problems:
            return None
        totem = self._totem(own, entries, key, derived)
        version = self._top.number("totem.config_version")
        return NodeSettings(totem, ipc, quorum, log, version)

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
        elif derived.consensus < int(1.2 * derived.token):
            self._warn(
                top,
                "totem.consensus",
                f"{derived.consensus} ms is shorter than 1.2 times the token time of"
                f" {derived.token} ms: rings may form twice",
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

    # The node list.

    def _candidate(self, node: Group) -> Candidate:
        text = node.text("nodelist.node.ring0_addr") or ""
        name = node.text("nodelist.node.name") or ""
        if not text:
            if not node.has("nodelist.node.ring0_addr"):
                text = "missing: write 'ring0_addr: ADDRESS'"
                self._wrong(node, "nodelist.node.ring0_addr", text)
            return Candidate(name, "", ())
        addresses = self._resolved(node, text)
        return Candidate(name, text, addresses)

    def _resolved(self, node: Group, text: str) -> tuple[Address, ...]:
        """
        The addresses of the family that is liked best.
        """
        preference = self._top.value("totem.ip_version")
        if preference is None:
            preference = "ipv4" if self._transport == "udp" else "ipv6-4"
        found = self.environment.host.resolve(text)
        for version in _FAMILIES[str(preference)]:
            suitable = tuple(a for a in found if a.version == version)
            if suitable:
                return suitable
        if not found:
            text = f"{text!r} is neither an address nor a name that resolves"
        else:
            text = f"{found[0]} is not of the family 'ip_version: {preference}'"
        self._wrong(node, "nodelist.node.ring0_addr", text)
        return ()

    def _entries(self, candidates: list[Candidate]) -> list[NodeEntry]:
        if not candidates:
            self._wrong(
                self._top,
                "nodelist",
                "missing: list every node, nodelist { node { ring0_addr: …, nodeid:"
                " … } }",
            )
        if len(candidates) > MOST_NODES:
            self._wrong(self._nodes[-1], "nodelist", f"more than {MOST_NODES} nodes")
        entries = [
            NodeEntry(
                self._nodeid(group, candidate),
                candidate.name,
                candidate.addresses[:1],
                group.number("nodelist.node.quorum_votes"),
            )
            for group, candidate in zip(self._nodes, candidates, strict=True)
        ]
        self._repeated("nodeid", [entry.nodeid or None for entry in entries])
        self._repeated("name", [entry.name or None for entry in entries])
        self._repeated("ring0_addr", [(*e.addresses, None)[0] for e in entries])
        self._families(entries)
        self._reachable(entries)
        return entries

    def _nodeid(self, node: Group, candidate: Candidate) -> int:
        """
        As given, or as corosync derives it; 0 when there is none.
        """
        given = node.value("nodelist.node.nodeid")
        if given is not None:
            return cast("int", given)
        address = (*candidate.addresses, None)[0]
        if address is None or node.isWrong("nodelist.node.nodeid"):
            return 0
        if not isinstance(address, IPv4Address):
            self._wrong(
                node,
                "nodelist.node.nodeid",
                "missing, and derives from IPv4 addresses only: write 'nodeid: NUMBER'",
            )
            return 0
        return self._nodeidOf(node, address)

    def _nodeidOf(self, node: Group, address: IPv4Address) -> int:
        nodeid = int(address)
        if self._top.flag("totem.clear_node_high_bit"):
            return nodeid & ~_HIGH_BIT
        if nodeid > LARGEST_NODEID:
            self._warn(
                node,
                "nodelist.node.nodeid",
                f"derives from {address} as {nodeid}, which some clients take for"
                " negative: write 'nodeid: NUMBER', or 'clear_node_high_bit: yes'",
            )
        return nodeid

    def _repeated(self, option: str, values: list[object]) -> None:
        counts = Counter(values)
        for node, value in zip(self._nodes, values, strict=True):
            if value is not None and counts[value] > 1:
                name = f"nodelist.node.{option}"
                self._wrong(node, name, f"{value} is in the node list twice")

    def _families(self, entries: list[NodeEntry]) -> None:
        versions = {a.version for entry in entries for a in entry.addresses}
        if len(versions) > 1:
            self._wrong(
                self._nodes[0],
                "nodelist.node.ring0_addr",
                "some nodes have IPv4, some IPv6 addresses: use one family, or choose"
                " with totem.ip_version",
            )

    def _reachable(self, entries: list[NodeEntry]) -> None:
        """
        On Debian a host's own name is 127.0.1.1: node 1 would listen there,
        and node 2 would ask at the real address.
        """
        loopback = [any(a.is_loopback for a in entry.addresses) for entry in entries]
        if all(loopback):
            return
        for node, entry, isLoopback in zip(self._nodes, entries, loopback, strict=True):
            if isLoopback:
                self._wrong(
                    node,
                    "nodelist.node.ring0_addr",
                    f"stands for {entry.addresses[0]} here, where other machines do"
                    " not reach it: write the address itself",
                )

    def _ownEntry(
        self, candidates: list[Candidate], entries: list[NodeEntry]
    ) -> NodeEntry | None:
        wanted = self.environment.node or self._top.text("corotwist.node")
        if wanted is not None:
            return self._wantedEntry(wanted, candidates, entries)
        if not all(candidate.addresses for candidate in candidates) or not entries:
            return None
        at = find(candidates, self.environment.host)
        if at is not None:
            return entries[at]
        self._wrong(
            self._top,
            "nodelist",
            f"none of the nodes is this machine ({self.environment.host.hostName()}):"
            " give its entry one of its addresses or its host name as name, or say"
            " which it is with corotwist { node: NAME }",
        )
        return None

    def _wantedEntry(
        self, wanted: str, candidates: list[Candidate], entries: list[NodeEntry]
    ) -> NodeEntry | None:
        for candidate, entry in zip(candidates, entries, strict=True):
            if wanted in (*candidate.labels, str(entry.nodeid)):
                return entry if entry.addresses else None
        self._wrong(
            self._top, "corotwist.node", f"there is no node {wanted!r} in the node list"
        )
        return None

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
        top = self._top
        provider = top.text("quorum.provider")
        if provider == "corosync_quorum_ykd":
            self._wrong(
                top,
                "quorum.provider",
                "not here: write 'provider: corosync_votequorum'",
            )
        twoNode = top.flag("quorum.two_node")
        if twoNode and len(entries) > 2:  # noqa: PLR2004
            self._wrong(top, "quorum.two_node", f"the node list has {len(entries)}")
        waitForAll = top.value("quorum.wait_for_all")
        expected = top.value("quorum.expected_votes")
        votes = sum(entry.votes for entry in entries)
        self._tie(len(entries), twoNode=twoNode)
        return QuorumSettings(
            provider=provider,
            expectedVotes=votes if expected is None else cast("int", expected),
            votes=top.number("quorum.votes") if own is None else own.votes,
            twoNode=twoNode,
            waitForAll=twoNode if waitForAll is None else bool(waitForAll),
        )

    def _tie(self, nodes: int, *, twoNode: bool) -> None:
        if (
            self._top.has("quorum.provider")
            and nodes
            and nodes % 2 == 0
            and not twoNode
        ):
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
        )

    def _identities(
        self, option: str, what: str, find: Callable[[str], int | None]
    ) -> frozenset[int]:
        numbers = set()
        for entry in self.checked.entries["uidgid"]:
            text = entry.text(option)
            if text is None:
                continue
            number = int(text) if text.isdecimal() else find(text)
            if number is None or number > _LARGEST_ID:
                self._wrong(entry, option, f"there is no {what} {text!r}")
            else:
                numbers.add(number)
        return frozenset(numbers)

    def _log(self) -> LogSettings:
        top = self._top
        toFile, file = top.flag("logging.to_logfile"), self._path("logging.logfile")
        if toFile and file is None:
            self._wrong(top, "logging.to_logfile", "needs 'logfile: PATH'")
        return LogSettings(
            toStderr=top.flag("logging.to_stderr"),
            file=file if toFile else None,
            debug=top.value("logging.debug") not in ("off", "no"),
        )

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
        self.checked.wrong(group.placeOf(key), key, text)

    def _warn(self, group: Group, key: str, text: str) -> None:
        self.checked.warn(group.placeOf(key), key, text)
