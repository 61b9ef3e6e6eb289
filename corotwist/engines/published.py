"""
What a node tells about itself in its configuration map, under corosync's names:
members, totem's values in force, and votes.

Each is written when it happens; nothing looks whether it did.
"""

from collections.abc import Iterator
from typing import Any, Final

from attrs import define, field
from twisted.logger import Logger

from corotwist.config.settings import NodeSettings, Timing, TotemSettings
from corotwist.config.values import Value, string, u8, u32, u64
from corotwist.errors import ServiceError
from corotwist.totem.membership import Configuration

MEMBERS: Final = "runtime.members."
IN_FORCE: Final = "runtime.config.totem."
VOTES: Final = "runtime.votequorum."

JOINED: Final = "joined"
LEFT: Final = "left"

# What a key holds; the sum of what nodes claim may be above it.
MOST_VOTES: Final = 0xFFFFFFFF

# Numbers of C{atb_type}.
TIE_BREAKERS: Final = ("", "lowest", "highest", "list")

_RETRANSMITS: Final = "totem.token_retransmits_before_loss_const"
_RETRANSMITS_DEFAULT: Final = 4

Item = tuple[str, Value]


def _milliseconds(seconds: float) -> Value:
    return u32(round(seconds * 1000))


def inForce(settings: NodeSettings) -> Iterator[Item]:
    """
    C{runtime.config.totem.}: the values that the ring goes by.
    """
    timing: Timing = settings.totem.timing
    given = dict(settings.keys).get(_RETRANSMITS)
    for name, seconds in (
        ("token", timing.token),
        ("token_retransmit", timing.tokenRetransmit),
        ("hold", timing.hold),
        ("join", timing.join),
        ("send_join", timing.sendJoin),
        ("consensus", timing.consensus),
        ("merge", timing.merge),
        ("downcheck", timing.downcheck),
        ("max_network_delay", timing.maxNetworkDelay),
    ):
        yield IN_FORCE + name, _milliseconds(seconds)
    for name, number in (
        ("token_warning", round(timing.tokenWarning * 100)),
        ("heartbeat_failures_allowed", timing.heartbeatFailuresAllowed),
        ("window_size", timing.windowSize),
        ("max_messages", timing.maxMessages),
        ("miss_count_const", timing.missCount),
        ("fail_recv_const", timing.failReceive),
        ("seqno_unchanged_const", timing.sequenceUnchanged),
        ("cancel_token_hold_on_retransmit", timing.cancelTokenHoldOnRetransmit),
        ("block_unlisted_ips", settings.totem.blockUnlistedIps),
    ):
        yield IN_FORCE + name, u32(int(number))
    retransmits = _RETRANSMITS_DEFAULT if given is None else given.content
    yield f"{IN_FORCE}token_retransmits_before_loss_const", u32(retransmits)


def addresses(settings: TotemSettings, nodeid: int) -> str:
    """
    A node's addresses as corosync writes them, with the blank at the end.
    """
    for node in settings.nodes:
        if node.nodeid == nodeid:
            return "".join(
                f"r({link}) ip({address}) "
                for link, address in enumerate(node.addresses)
            )
    return ""


@define(eq=False)
class Published:
    """
    Writes what happens into a node's map.

    @ivar settings: those in force.
    """

    _database: Any
    settings: NodeSettings
    _joins: dict[int, int] = field(factory=dict, init=False)
    _log: Logger = field(factory=Logger, init=False)

    def _write(self, *items: Item) -> None:
        """
        All at once, in this order.
        """
        try:
            with self._database.map.transaction():
                for name, value in items:
                    # Not as a client: whoever watches for writes does not care.
                    self._database.tree.write(name, value)
        except ServiceError:
            self._log.failure("The state of the node is not all shown in the map")

    def reconfigured(self, settings: NodeSettings) -> None:
        """
        Other settings are in force.
        """
        self.settings = settings
        self._write(*inForce(settings))

    # Members.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        Nodes are gone, or new.
        """
        for nodeid in configuration.left:
            self._write((f"{MEMBERS}{nodeid}.status", string(LEFT)))
        for nodeid in configuration.joined:
            joins = self._joins[nodeid] = self._joins.get(nodeid, 0) + 1
            prefix = f"{MEMBERS}{nodeid}."
            self._write(
                (f"{prefix}ip", string(addresses(self.settings.totem, nodeid))),
                (f"{prefix}join_count", u32(joins)),
                (f"{prefix}status", string(JOINED)),
            )

    def versionHeard(self, nodeid: int, version: int) -> None:
        """
        A member told the version of its configuration.
        """
        self._write((f"{MEMBERS}{nodeid}.config_version", u64(version)))

    # Votes.

    def votesChanged(self, nodeid: int, explanation: dict[str, Any]) -> None:
        """
        Who counts votes came to a verdict.

        @param nodeid: our own.
        @param explanation: of the verdict.
        """
        nodes = [node.nodeid for node in self.settings.totem.nodes] or [nodeid]
        quorum = self.settings.quorum
        items = [
            ("this_node_id", u32(nodeid)),
            ("highest_node_id", u32(max(nodes))),
            ("lowest_node_id", u32(min(nodes))),
            ("ev_barrier", u32(min(explanation["expected"], MOST_VOTES))),
        ]
        if quorum.twoNode:
            items.append(("two_node", u8(1)))
        if quorum.waitForAll:
            items.append(("wait_for_all_status", u8(explanation["waitingForAll"])))
        if quorum.tieBreaker:
            kind = TIE_BREAKERS.index(quorum.tieBreaker)
            items.append(("atb_type", u32(kind)))
        if quorum.tracking:
            tracked = min(explanation["tracked"], MOST_VOTES)
            items.append(("ev_tracking_barrier", u32(tracked)))
        if quorum.device is not None:
            items.append(("qdevice_can_operate", u8(1)))
            items.append(("qdevice_master_wins", u8(explanation["masterWins"])))
        self._write(*((VOTES + name, value) for name, value in items))

    # To another version of the engine.

    def handOver(self) -> dict[str, int]:
        """
        How often each node has joined.
        """
        return {str(nodeid): joins for nodeid, joins in self._joins.items()}

    def takeOver(self, joins: dict[str, int]) -> None:
        """
        Go on counting.
        """
        self._joins = {int(nodeid): count for nodeid, count in joins.items()}
