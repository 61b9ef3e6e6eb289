"""
The options of the ring, its nodes and their votes, one row each.
"""

from typing import Final

from corotwist.config.deviceoptions import DEVICE
from corotwist.config.kinds import Choice, Numeric, Switch, Text, Whole
from corotwist.config.row import Change, Row, idle, running, unsafe

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


def _time(name: str, default: int | None, meaning: str, low: int = LEAST_TIME) -> Row:
    kind = Whole(low, LONGEST_TIME, "ms")
    return running(f"totem.{name}", kind, default, meaning)


def _count(name: str, default: int, meaning: str, low: int = 0, high: int = U32) -> Row:
    return running(f"totem.{name}", Whole(low, high), default, meaning)


_TOTEM: Final = (
    Row("totem.version", Whole(2, 2), None, "format of the file; required"),
    Row(
        "totem.cluster_name",
        Text(),
        None,
        "label; `mcastaddr` and the sealing key derive from it",
    ),
    running("totem.config_version", Whole(0, (1 << 64) - 1), 0, "number of this file"),
    Row(
        "totem.transport",
        Choice(("udpu", "udp", "knet")),
        "udpu",
        "`udpu`: a copy to each node; `udp`: multicast; `knet` is refused",
    ),
    idle("totem.nodeid", Whole(0, U32), None, "obsolete: give it in the node list"),
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
    idle(
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
        "shared key, to seal every datagram; in place of another one at once",
    ),
    Row("totem.key", Text(), None, "the shared key itself; `keyfile` wins"),
    unsafe(
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
    idle("totem.ip_dscp", Text(), None, "DSCP mark"),
    idle("totem.threads", Whole(0, U32), None, "of Corosync 1"),
    _time("token", 3000, "base time of token loss"),
    _time("token_coefficient", 650, "added to `token` per node above two", 0),
    running(
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
    idle(
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
    idle("totem.knet_pmtud_interval", Whole(0, U32, "s"), 30, "path MTU probes"),
    idle("totem.knet_mtu", Whole(0, U32, "bytes"), 0, "fixed MTU of knet"),
    idle("totem.knet_compression_model", Text(), "none", "compression"),
    idle("totem.knet_compression_threshold", Whole(0, U32, "bytes"), 0, "compression"),
    idle("totem.knet_compression_level", Whole(-1000, 1000), 0, "compression"),
    Row(
        "totem.block_unlisted_ips",
        Switch(),
        True,
        "drop what comes from addresses outside the node list",
    ),
    running(
        "totem.cancel_token_hold_on_retransmit",
        Switch(),
        False,
        "do not hold the token while frames are missing",
    ),
    idle("totem.rrp_*", Text(), None, "of Corosync 2"),
)

_INTERFACE: Final = (
    unsafe(
        "totem.interface.linknumber", Whole(0, 7), 0, "the link meant", _OTHER_LINKS
    ),
    unsafe(
        "totem.interface.ringnumber", Whole(0, 7), 0, "the link meant", _OTHER_LINKS
    ),
    idle("totem.interface.knet_link_priority", Whole(0, 255), 1, "choice of link"),
    idle("totem.interface.knet_ping_interval", Whole(0, U32, "ms"), None, "of knet"),
    idle("totem.interface.knet_ping_timeout", Whole(0, U32, "ms"), None, "of knet"),
    idle("totem.interface.knet_ping_precision", Whole(0, U32), 2048, "of knet"),
    idle("totem.interface.knet_pong_count", Whole(0, U32), 2, "of knet"),
    idle("totem.interface.knet_transport", Choice(("udp", "sctp")), "udp", "of knet"),
    idle(
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
    unsafe(
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
        unsafe(
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
    running("nodelist.node.quorum_votes", Whole(0, U32), 1, "votes of the node"),
)

_QUORUM: Final = (
    Row(
        "quorum.provider",
        Text("name"),
        None,
        "who decides: `corosync_votequorum`, `majority`, `external`, or an engine of"
        " another package; without one the node is always quorate",
    ),
    running(
        "quorum.expected_votes",
        Whole(1, U32),
        None,
        "votes planned; the sum of the node list",
    ),
    running("quorum.votes", Whole(0, U32), 1, "of this node where its entry has none"),
    running("quorum.two_node", Switch(), False, "one of two votes is enough"),
    Row(
        "quorum.wait_for_all",
        Switch(),
        None,
        "quorate only after all nodes were seen; yes with `two_node`",
    ),
    Row(
        "quorum.last_man_standing",
        Switch(),
        False,
        "expect only those who are left, a while after others are lost",
    ),
    Row(
        "quorum.last_man_standing_window",
        Whole(0, LONGEST_TIME, "ms"),
        10000,
        "that while",
    ),
    Row(
        "quorum.auto_tie_breaker",
        Switch(),
        False,
        "half of the votes suffices for the half with a certain node",
    ),
    Row(
        "quorum.auto_tie_breaker_node",
        Text("lowest, highest or nodeids"),
        "lowest",
        "which node that is: of a list, the first that is there",
    ),
    Row(
        "quorum.allow_downscale",
        Switch(),
        False,
        "expect fewer when nodes are stopped, but not fewer than `expected_votes`;"
        " switches `expected_votes_tracking` on",
    ),
    Row(
        "quorum.expected_votes_tracking",
        Switch(),
        None,
        "expect as many votes as ever were, after a restart, too",
    ),
    idle("quorum.leaving_timeout", Whole(0, U32, "ms"), None, "used by nobody"),
    idle("quorum.cancel_wait_for_all", Whole(0, 255), None, "a run time key"),
    *DEVICE,
)

RING: Final = (*_TOTEM, *_INTERFACE, *_NODES, *_QUORUM)
