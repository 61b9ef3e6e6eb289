"""
Every option of corosync.conf, one row each, and our own.

A row that does not act in this release still belongs here: the file of a
running corosync cluster is taken as it is, a mistyped name is told from a name
that is merely of no use to us, and what cannot be left out safely is refused
with the thing to do about it.
"""

from difflib import get_close_matches
from enum import Enum
from typing import Final

from attrs import frozen

from corotwist.config.kinds import (
    Choice,
    Decimal,
    Directories,
    Engines,
    Kind,
    Numeric,
    Switch,
    Text,
    Traces,
    Value,
    Whole,
)
from corotwist.logs.levels import FACILITIES

# The largest of corosync's u32, and what clients may take for negative.
U32: Final = (1 << 32) - 1
LARGEST_NODEID: Final = (1 << 31) - 1
# Corosync's least time, and its least hold on a machine with 100 Hz.
LEAST_TIME: Final = 30
LEAST_HOLD: Final = 14
# A day: beyond that a number is a mistake.
LONGEST_TIME: Final = 86_400_000
# The window must fit the store of frames, twice.
LARGEST_WINDOW: Final = 8192
# What IPv4 demands of a path; what fits a UDP datagram, less our seal.
LEAST_MTU: Final = 576
LARGEST_MTU: Final = 65_400

LINKS: Final = 8
_OTHER_LINKS: Final = "this release has one link: keep ring0_addr and link 0 only"
_NO_DEVICE: Final = (
    "this release has no quorum device: remove the device section, and count"
    " votes without it on every node"
)
_OTHER_RULE: Final = (
    "this release does not know the rule, and other nodes would count"
    " differently: switch it off on every node"
)


class Change(Enum):
    """
    When a value that changed in the file takes effect.
    """

    RUNTIME = "at once"
    RESTART = "after a restart"
    IDENTITY = "never: it would be another node or link"
    NEVER = "never: it has no effect in this release"


@frozen
class Row:
    """
    One option.

    @ivar name: dotted; repeated sections count as one; a C{*} at the end
        stands for any rest.
    @ivar default: L{None} when there is none, or it follows from others.
    @ivar acts: does this release do anything with it?
    @ivar refused: what to do instead, where going on with another value than
        the default would not be safe.
    @ivar change: when a new value takes effect on a node that runs.
    """

    name: str
    kind: Kind
    default: Value | None
    meaning: str
    acts: bool = True
    refused: str = ""
    change: Change = Change.RESTART

    @property
    def section(self) -> str:
        """
        The dotted name of the section it belongs into.
        """
        return self.name.rpartition(".")[0]


def _time(name: str, default: int | None, meaning: str, low: int = LEAST_TIME) -> Row:
    kind = Whole(low, LONGEST_TIME, "ms")
    return _running(f"totem.{name}", kind, default, meaning)


def _count(name: str, default: int, meaning: str, low: int = 0, high: int = U32) -> Row:
    return _running(f"totem.{name}", Whole(low, high), default, meaning)


def _running(name: str, kind: Kind, default: Value | None, meaning: str) -> Row:
    return Row(name, kind, default, meaning, change=Change.RUNTIME)


def _idle(name: str, kind: Kind, default: Value | None, meaning: str) -> Row:
    return Row(name, kind, default, meaning, acts=False, change=Change.NEVER)


def _unsafe(
    name: str, kind: Kind, default: Value | None, meaning: str, refused: str
) -> Row:
    change = Change.NEVER
    return Row(name, kind, default, meaning, False, refused, change)


_TOTEM: Final = (
    Row("totem.version", Whole(2, 2), None, "format of the file; required"),
    Row(
        "totem.cluster_name",
        Text(),
        None,
        "label; `mcastaddr` and the sealing key derive from it",
    ),
    _running("totem.config_version", Whole(0, (1 << 64) - 1), 0, "number of this file"),
    Row(
        "totem.transport",
        Choice(("udpu", "udp", "knet")),
        "udpu",
        "`udpu`: a copy to each node; `udp`: multicast; `knet` is refused",
    ),
    _idle("totem.nodeid", Whole(0, U32), None, "obsolete: give it in the node list"),
    Row(
        "totem.clear_node_high_bit",
        Switch(),
        False,
        "clear bit 31 of nodeids that derive from addresses",
    ),
    Row(
        "totem.crypto_cipher",
        Choice(("none", "aes256", "aes192", "aes128")),
        None,
        "`none`: corosync's plain wire, said on purpose; the others are refused",
    ),
    Row(
        "totem.crypto_hash",
        Choice(("none", "md5", "sha1", "sha256", "sha384", "sha512")),
        None,
        "the seal of `keyfile` authenticates always; only `none` goes with"
        " `crypto_cipher: none`",
    ),
    _idle(
        "totem.crypto_model",
        Choice(("nacl", "nss", "openssl", "gcrypt")),
        "nacl",
        "the seal is always PyNaCl's",
    ),
    Row(
        "totem.secauth",
        Switch(),
        None,
        "`on` demands `keyfile` or `key`; `off` does not replace `crypto_cipher: none`",
    ),
    Row(
        "totem.keyfile",
        Text("path"),
        None,
        "shared key; every datagram is sealed with it",
    ),
    Row("totem.key", Text(), None, "the shared key itself; `keyfile` wins"),
    _unsafe(
        "totem.link_mode",
        Choice(("passive", "active", "rr")),
        "passive",
        "use of several links",
        _OTHER_LINKS,
    ),
    Row(
        "totem.netmtu",
        Whole(LEAST_MTU, LARGEST_MTU, "bytes"),
        1500,
        "frame size; the same on all nodes",
    ),
    Row(
        "totem.ip_version",
        Choice(("ipv4", "ipv6", "ipv6-4", "ipv4-6")),
        None,
        "family order when names are resolved; `ipv6-4`, with `udp` `ipv4`",
    ),
    _idle("totem.ip_dscp", Text(), None, "DSCP mark"),
    _idle("totem.threads", Whole(0, U32), None, "of Corosync 1"),
    _time("token", 3000, "base time of token loss"),
    _time("token_coefficient", 650, "added to `token` per node above two", 0),
    _running(
        "totem.token_warning",
        Whole(0, 100, "%"),
        75,
        "share of `token` after which a rotation is worth a line in the log; 0: never",
    ),
    _time(
        "token_retransmit",
        None,
        "repeat the token after this silence;"
        " token / (token_retransmits_before_loss_const + 0.2)",
    ),
    _count(
        "token_retransmits_before_loss_const", 4, "repetitions before loss", high=1000
    ),
    _time(
        "hold",
        None,
        "how long the representative keeps an idle token; 0.8 * token_retransmit - 10",
        LEAST_HOLD,
    ),
    _time("join", 50, "interval of joins while nodes gather"),
    _time("send_join", 0, "upper bound of a random delay before joins", 0),
    _time("consensus", None, "time to agree on a ring, at least join; 1.2 * token"),
    _time("merge", 200, "interval of merge detection on an idle ring"),
    _idle(
        "totem.downcheck",
        Whole(LEAST_TIME, LONGEST_TIME, "ms"),
        1000,
        "look again after an interface that is down",
    ),
    _count("fail_recv_const", 2500, "rotations without progress before we give up", 1),
    _count("seqno_unchanged_const", 30, "idle rotations before the token is held"),
    _count("heartbeat_failures_allowed", 0, "missed heartbeats; 0: no heartbeat"),
    _time("max_network_delay", 50, "estimate for the heartbeat"),
    _count("window_size", 50, "frames of all nodes per rotation", 1, LARGEST_WINDOW),
    _count("max_messages", 17, "frames of one node per token visit", 1, LARGEST_WINDOW),
    _count("miss_count_const", 5, "token visits before a frame is asked for", 1),
    _idle("totem.knet_pmtud_interval", Whole(0, U32, "s"), 30, "path MTU probes"),
    _idle("totem.knet_mtu", Whole(0, U32, "bytes"), 0, "fixed MTU of knet"),
    _idle("totem.knet_compression_model", Text(), "none", "compression"),
    _idle("totem.knet_compression_threshold", Whole(0, U32, "bytes"), 0, "compression"),
    _idle("totem.knet_compression_level", Whole(-1000, 1000), 0, "compression"),
    Row(
        "totem.block_unlisted_ips",
        Switch(),
        True,
        "drop what comes from addresses outside the node list",
    ),
    _running(
        "totem.cancel_token_hold_on_retransmit",
        Switch(),
        False,
        "do not hold the token while frames are missing",
    ),
    _idle("totem.rrp_*", Text(), None, "of Corosync 2"),
)

_INTERFACE: Final = (
    _unsafe(
        "totem.interface.linknumber", Whole(0, 7), 0, "the link meant", _OTHER_LINKS
    ),
    _unsafe(
        "totem.interface.ringnumber", Whole(0, 7), 0, "the link meant", _OTHER_LINKS
    ),
    _idle("totem.interface.knet_link_priority", Whole(0, 255), 1, "choice of link"),
    _idle("totem.interface.knet_ping_interval", Whole(0, U32, "ms"), None, "of knet"),
    _idle("totem.interface.knet_ping_timeout", Whole(0, U32, "ms"), None, "of knet"),
    _idle("totem.interface.knet_ping_precision", Whole(0, U32), 2048, "of knet"),
    _idle("totem.interface.knet_pong_count", Whole(0, U32), 2, "of knet"),
    _idle("totem.interface.knet_transport", Choice(("udp", "sctp")), "udp", "of knet"),
    _idle(
        "totem.interface.bindnetaddr",
        Numeric(),
        None,
        "the node list says where to bind",
    ),
    Row(
        "totem.interface.mcastaddr",
        Numeric(),
        None,
        "multicast group of `udp`; derives from `cluster_name`",
    ),
    Row(
        "totem.interface.mcastport",
        Whole(2, 65535),
        5405,
        "UDP port; `udp` also uses the port below",
    ),
    Row(
        "totem.interface.broadcast",
        Switch(),
        False,
        "255.255.255.255 instead of multicast (`udp`, IPv4)",
    ),
    Row("totem.interface.ttl", Whole(0, 255), 1, "of multicasts; only with `udp`"),
    _unsafe(
        "totem.interface.member.memberaddr",
        Numeric(),
        None,
        "of Corosync 1",
        "list the nodes in nodelist { node { ring0_addr: … } } instead",
    ),
)

_NODES: Final = (
    Row("nodelist.node.ring0_addr", Text("address or name"), None, "required"),
    *(
        _unsafe(
            f"nodelist.node.ring{link}_addr",
            Text("address or name"),
            None,
            "another link",
            _OTHER_LINKS,
        )
        for link in range(1, LINKS)
    ),
    Row(
        "nodelist.node.nodeid",
        Whole(1, LARGEST_NODEID),
        None,
        "unique; derives from an IPv4 address",
        change=Change.IDENTITY,
    ),
    Row(
        "nodelist.node.name",
        Text("name"),
        None,
        "of the node; also finds our own entry",
    ),
    _running("nodelist.node.quorum_votes", Whole(0, U32), 1, "votes of the node"),
)

_QUORUM: Final = (
    Row(
        "quorum.provider",
        Choice(("corosync_votequorum", "corosync_quorum_ykd")),
        None,
        "`corosync_votequorum`; without one the node is always quorate;"
        " `corosync_quorum_ykd` is refused",
    ),
    _running(
        "quorum.expected_votes",
        Whole(1, U32),
        None,
        "votes planned; the sum of the node list",
    ),
    _running("quorum.votes", Whole(0, U32), 1, "of this node where its entry has none"),
    _running("quorum.two_node", Switch(), False, "one of two votes is enough"),
    Row(
        "quorum.wait_for_all",
        Switch(),
        None,
        "quorate only after all nodes were seen; yes with `two_node`",
    ),
    _unsafe("quorum.last_man_standing", Switch(), False, "follow losses", _OTHER_RULE),
    _idle(
        "quorum.last_man_standing_window",
        Whole(0, U32, "ms"),
        10000,
        "of `last_man_standing`",
    ),
    _unsafe("quorum.auto_tie_breaker", Switch(), False, "half suffices", _OTHER_RULE),
    _idle("quorum.auto_tie_breaker_node", Text(), "lowest", "of `auto_tie_breaker`"),
    _idle("quorum.allow_downscale", Switch(), False, "expect fewer after clean leaves"),
    _unsafe(
        "quorum.expected_votes_tracking",
        Switch(),
        False,
        "remember the highest expected votes",
        _OTHER_RULE,
    ),
    _idle("quorum.leaving_timeout", Whole(0, U32, "ms"), None, "used by nobody"),
    _idle("quorum.cancel_wait_for_all", Whole(0, 255), None, "a run time key"),
    _unsafe("quorum.device.model", Text(), None, "kind of device", _NO_DEVICE),
    _idle("quorum.device.timeout", Whole(0, U32, "ms"), 10000, "of the device"),
    _idle("quorum.device.sync_timeout", Whole(0, U32, "ms"), 30000, "of the device"),
    _idle("quorum.device.votes", Whole(0, U32), None, "of the device"),
    _idle("quorum.device.master_wins", Switch(), None, "of the device"),
    _idle(
        "quorum.device.heuristics.mode",
        Choice(("off", "sync", "on")),
        "off",
        "of the device",
    ),
    *(
        _idle(
            f"quorum.device.heuristics.{name}",
            Whole(0, U32, "ms"),
            None,
            "of the device",
        )
        for name in ("timeout", "sync_timeout", "interval")
    ),
    _idle("quorum.device.heuristics.exec_*", Text("command"), None, "of the device"),
    _idle("quorum.device.net.host", Text("name or address"), None, "of the device"),
    _idle("quorum.device.net.port", Whole(1, 65535), 5403, "of the device"),
    _idle(
        "quorum.device.net.tls", Choice(("on", "off", "required")), "on", "the device's"
    ),
    _idle(
        "quorum.device.net.algorithm",
        Choice(("ffsplit", "lms", "test", "2nodelms")),
        "ffsplit",
        "of the device",
    ),
    _idle("quorum.device.net.tie_breaker", Text(), "lowest", "of the device"),
    _idle(
        "quorum.device.net.connect_timeout", Whole(0, U32, "ms"), None, "of the device"
    ),
    _idle("quorum.device.net.force_ip_version", Whole(0, 6), 0, "of the device"),
    _idle(
        "quorum.device.net.keep_active_partition_tie_breaker",
        Switch(),
        True,
        "of the device",
    ),
)

_PRIORITIES: Final = Choice(
    ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
)
_DEBUG: Final = Choice(("off", "on", "trace", "no", "yes"))
_FORMATS: Final = Choice(("text", "json"))


def _logging(section: str, *, whole: bool = False) -> tuple[Row, ...]:
    """
    What may be said of the whole log and of a part of it.  A part has no
    defaults: what it does not say it has from the whole.
    """

    def row(option: str, kind: Kind, default: Value, meaning: str) -> Row:
        given = default if whole else None
        return _running(f"{section}.{option}", kind, given, meaning)

    return (
        row("to_stderr", Switch(), True, "write lines to the terminal (`-n`)"),
        row("stderr_priority", _PRIORITIES, "info", "least urgent on the terminal"),
        row("to_logfile", Switch(), False, "write lines to `logfile`"),
        _running(f"{section}.logfile", Text("path"), None, "the file of `to_logfile`"),
        row("logfile_priority", _PRIORITIES, "info", "least urgent in the file"),
        row("logfile_format", _FORMATS, "text", "`json`: one object a line"),
        row("to_syslog", Switch(), True, "tell the syslog of this machine"),
        row("syslog_priority", _PRIORITIES, "info", "least urgent in the syslog"),
        row("syslog_facility", Choice(FACILITIES), "daemon", "of syslog"),
        row("to_journal", Switch(), False, "tell systemd's journal, with fields"),
        row("journal_priority", _PRIORITIES, "info", "least urgent in the journal"),
        row(
            "debug",
            _DEBUG,
            "off",
            "everything, whatever the priorities; `trace`: and all trace levels",
        ),
        row("trace", Traces(), "none", "trace levels to switch on"),
    )


_LOGGING: Final = (
    *_logging("logging", whole=True),
    _running("logging.stderr_format", _FORMATS, "text", "of the terminal's lines"),
    _running(
        "logging.timestamp",
        Choice(("hires", "on", "off")),
        "hires",
        "time in lines for people; `hires` has milliseconds",
    ),
    _running("logging.fileline", Switch(), False, "source file and line"),
    _running("logging.function_name", Switch(), False, "the function"),
    _running("logging.blackbox", Switch(), True, "keep a flight recorder"),
    _idle("logging.to_file", Switch(), None, "obsolete"),
    _idle("logging.syslog_level", Text(), None, "obsolete"),
    *_logging("logging.logger_subsys"),
    _running("logging.logger_subsys.subsys", Text("subsystem"), None, "the part meant"),
    *_logging("logging.logging_daemon"),
    _running(
        "logging.logging_daemon.subsys", Text("subsystem"), None, "the part meant"
    ),
    _running(
        "logging.logging_daemon.name",
        Text("program"),
        None,
        "whose settings these are; ours with `corosync`",
    ),
)

_SYSTEM: Final = (
    Row(
        "system.state_dir",
        Text("path"),
        None,
        "where the ring id survives; `STATE_DIRECTORY` of the environment wins",
    ),
    _idle(
        "system.qb_ipc_type", Choice(("native", "shm", "socket")), "native", "C clients"
    ),
    _idle("system.sched_rr", Switch(), True, "real-time scheduling: not needed"),
    _idle("system.priority", Text(), "0", "nice value"),
    _idle(
        "system.move_to_root_cgroup", Choice(("auto", "yes", "no")), "auto", "cgroup"
    ),
    _idle("system.allow_knet_handle_fallback", Switch(), False, "of knet"),
)

_RESOURCES: Final = (
    _idle("resources.watchdog_device", Text("path or off"), "off", "watchdog"),
    _idle("resources.watchdog_timeout", Whole(2, 120, "s"), 6, "watchdog"),
    _idle("resources.system.memory_used.max", Decimal("%"), None, "limit"),
    _idle("resources.system.load_15min.max", Decimal(), None, "limit"),
    *(
        _idle(f"resources.system.{what}.{name}", kind, default, "of a limit")
        for what in ("memory_used", "load_15min")
        for name, kind, default in (
            ("poll_period", Whole(0, (1 << 64) - 1, "ms"), 3000),
            (
                "recovery",
                Choice(("watchdog", "quit", "reboot", "shutdown", "none")),
                None,
            ),
        )
    ),
    _idle("resources.process.*", Text(), None, "written at run time"),
)

_OTHERS: Final = (
    _running("uidgid.uid", Text("number or name"), None, "this user may be a client"),
    _running("uidgid.gid", Text("number or name"), None, "this group may be a client"),
    _idle("nozzle.name", Text(), None, "of knet"),
    _idle("nozzle.ipaddr", Text(), None, "of knet"),
    _idle("nozzle.ipprefix", Text(), None, "of knet"),
    _idle("nozzle.macaddr", Text(), None, "of knet"),
    _idle("pload.count", Whole(0, U32), None, "a run time key"),
    _idle("pload.size", Whole(0, U32), None, "a run time key"),
    _idle("cfg.shutdown_timeout", Whole(0, U32, "ms"), 5000, "a run time key"),
    _idle("runtime.*", Text(), None, "run time keys"),
    _idle("stats.*", Text(), None, "run time keys"),
)

_OURS: Final = (
    Row(
        "corotwist.node",
        Text("name or nodeid"),
        None,
        "which entry of the node list we are, instead of looking for it",
        change=Change.IDENTITY,
    ),
    Row("corotwist.ipc_socket", Text("path"), None, "UNIX socket for clients"),
    Row(
        "corotwist.slow_reader",
        Choice(("pause-senders", "disconnect", "spill")),
        "pause-senders",
        "what happens when a client reads more slowly than others send to it",
    ),
    Row(
        "corotwist.pause_limit",
        Whole(100, 3_600_000, "ms"),
        10_000,
        "how long senders wait for one slow client, which is then cut off",
    ),
    Row(
        "corotwist.client_queue",
        Whole(1 << 20, 1 << 40, "bytes"),
        32 << 20,
        "what waits for one client in memory at most",
    ),
    Row(
        "corotwist.spill_limit",
        Whole(0, 1 << 40, "bytes"),
        256 << 20,
        "what waits for one client in a file at most, with `spill`",
    ),
    Row(
        "corotwist.memory_limit",
        Whole(16 << 20, 1 << 40, "bytes"),
        512 << 20,
        "what waits from and for all clients together at most",
    ),
    Row(
        "corotwist.plugin_dir",
        Directories(),
        None,
        "directories with components besides those installed",
    ),
    Row(
        "corotwist.engines",
        Engines(),
        None,
        "service engines to load, instead of the newest of all that are needed",
    ),
    Row(
        "corotwist.engine_restarts",
        Whole(0, 100),
        0,
        "how often an engine that failed is started again",
    ),
    _running(
        "corotwist.memory_failure",
        Choice(("shed", "stop")),
        "shed",
        "what a node does that is out of memory: `shed`, take less work from clients"
        " for some seconds; `stop`, in order",
    ),
    _running(
        "corotwist.shutdown_timeout",
        Whole(0, 3_600_000, "ms"),
        60_000,
        "how long services may hold the shutdown of the node",
    ),
    _running(
        "corotwist.strict",
        Switch(),
        True,
        "`no`: options that nobody knows are warnings, as with corosync",
    ),
)

ROWS: Final = (
    *_TOTEM,
    *_INTERFACE,
    *_NODES,
    *_QUORUM,
    *_LOGGING,
    *_SYSTEM,
    *_RESOURCES,
    *_OTHERS,
    *_OURS,
)

# Sections of which each occurrence is an entry of its own.
REPEATED: Final = frozenset(
    (
        "totem.interface",
        "totem.interface.member",
        "nodelist.node",
        "logging.logger_subsys",
        "logging.logging_daemon",
        "uidgid",
        "nozzle",
    )
)


class Schema:
    """
    The rows, to be asked.
    """

    def __init__(self, rows: tuple[Row, ...] = ROWS) -> None:
        self._byName = {row.name: row for row in rows if not row.name.endswith("*")}
        self._prefixes = [
            (row.name[:-1], row) for row in rows if row.name.endswith("*")
        ]
        self.sections = frozenset(
            ".".join(parts[:depth])
            for row in rows
            for parts in (row.name.split("."),)
            for depth in range(1, len(parts))
        )

    def row(self, name: str) -> Row | None:
        """
        The row of a dotted name.
        """
        exact = self._byName.get(name)
        if exact is not None:
            return exact
        return next(
            (row for prefix, row in self._prefixes if name.startswith(prefix)), None
        )

    def isSection(self, name: str) -> bool:
        """
        May there be a section of this dotted name?
        """
        return name in self.sections or any(
            name.startswith(prefix)
            for prefix, _ in self._prefixes
            if prefix.endswith(".")
        )

    def suggestion(self, name: str) -> str:
        """
        What may have been meant by a name that we do not know: a clause to
        put behind a sentence, or nothing.
        """
        section, _, last = name.rpartition(".")
        elsewhere = [
            row.section
            for row in self._byName.values()
            if row.name.endswith(f".{last}")
        ]
        siblings = [
            known.rpartition(".")[2]
            for known in (*self._byName, *self.sections)
            if known.rpartition(".")[0] == section
        ]
        if elsewhere and elsewhere[0] != section:
            return f"; it belongs into section {elsewhere[0]}"
        close = get_close_matches(last, siblings, 1)
        if close:
            return f"; did you mean {close[0]}?"
        anywhere = {known.rpartition(".")[2]: known for known in self._byName}
        close = get_close_matches(last, list(anywhere), 1)
        return f"; did you mean {anywhere[close[0]]}?" if close else ""
