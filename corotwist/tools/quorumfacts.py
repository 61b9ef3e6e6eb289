"""
What a node knows about quorum, gathered for a tool.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from corotwist.engines.quoruminterfaces import NodeState, VoteFlag, VoteInfo
from corotwist.errors import NotExist, NotSupported
from corotwist.ipc.client import NodeClient
from corotwist.ipc.status import NodeStatus
from corotwist.tools.nodenames import NodeNames, nodeNames

# As corosync-quorumtool calls them, in its order.
FLAGS: Final = {
    VoteFlag.TWO_NODE: "2Node",
    VoteFlag.QUORATE: "Quorate",
    VoteFlag.WAIT_FOR_ALL: "WaitForAll",
    VoteFlag.LAST_MAN_STANDING: "LastManStanding",
    VoteFlag.AUTO_TIE_BREAKER: "AutoTieBreaker",
    VoteFlag.ALLOW_DOWNSCALE: "AllowDownscale",
    VoteFlag.DEVICE_REGISTERED: "Qdevice",
}
PROVIDER: Final = "quorum.provider"


def flagWords(flags: VoteFlag) -> list[str]:
    """
    The flags that hold.
    """
    return [word for flag, word in FLAGS.items() if flags & flag]


@frozen
class Node:
    """
    A member.

    @ivar votes: L{None} when nobody counts votes.
    """

    nodeid: int
    local: bool
    name: str
    addresses: tuple[str, ...]
    votes: VoteInfo | None

    def report(self) -> dict[str, Any]:
        """
        For programs.
        """
        known = self.votes
        return {
            "nodeid": self.nodeid,
            "local": self.local,
            "name": self.name,
            "addresses": list(self.addresses),
            "votes": None if known is None else known.votes,
            "state": None if known is None else NodeState(known.state).name.lower(),
            "device": None if known is None else _marks(known.flags),
        }


def _marks(flags: VoteFlag) -> dict[str, bool] | None:
    """
    What a node thinks of its quorum device; nothing without one.
    """
    if not flags & VoteFlag.DEVICE_REGISTERED:
        return None
    return {
        "alive": bool(flags & VoteFlag.DEVICE_ALIVE),
        "castsVote": bool(flags & VoteFlag.DEVICE_CAST_VOTE),
        "masterWins": bool(flags & VoteFlag.DEVICE_MASTER_WINS),
    }


@frozen
class QuorumFacts:
    """
    All of it, at one time.

    @ivar provider: of quorum; empty when none is configured.
    @ivar own: of our node and the votes; L{None} when nobody counts votes.
    @ivar device: what is known of the quorum device, if there is one.
    """

    when: datetime
    provider: str
    status: NodeStatus
    nodes: tuple[Node, ...]
    own: VoteInfo | None
    device: VoteInfo | None

    @property
    def ring(self) -> str:
        """
        The ring's id, as corosync-quorumtool shows it.
        """
        ring = self.status.ringId
        return f"{ring.representative}.{ring.sequence:x}"

    def report(self) -> dict[str, Any]:
        """
        For programs.
        """
        status = self.status
        return {
            "date": self.when.astimezone().isoformat(timespec="seconds"),
            "provider": self.provider or None,
            "nodeid": status.nodeid,
            "ringId": {
                "representative": status.ringId.representative,
                "sequence": status.ringId.sequence,
            },
            "state": status.state,
            "quorate": status.quorate,
            "rule": str(status.explanation.get("rule", "")),
            "votes": None if self.own is None else _votes(self.own),
            "device": None if self.device is None else _device(self.device),
            "nodes": [node.report() for node in self.nodes],
        }


def _votes(own: VoteInfo) -> dict[str, Any]:
    return {
        "expected": own.expected,
        "highestExpected": own.highestExpected,
        "total": own.totalVotes,
        "quorum": own.quorum,
        "flags": flagWords(own.flags),
    }


def _device(info: VoteInfo) -> dict[str, Any]:
    return {
        "name": info.deviceName,
        "votes": info.deviceVotes,
        "casting": castVotes(info),
    }


def castVotes(info: VoteInfo) -> int:
    """
    The votes of the device that count.
    """
    return info.deviceVotes if info.flags & VoteFlag.DEVICE_CAST_VOTE else 0


async def gather(client: NodeClient, when: datetime) -> QuorumFacts:
    """
    Ask a node.
    """
    status = await client.node.status()
    provider = await _provider(client)
    names = await nodeNames(client)
    own = await _info(client, 0) if provider else None
    nodes = [
        await _node(client, status, nodeid, names, own) for nodeid in status.members
    ]
    infos = [node.votes for node in nodes if node.votes is not None]
    return QuorumFacts(when, provider, status, tuple(nodes), own, _seen(infos))


async def _provider(client: NodeClient) -> str:
    try:
        return str((await client.cmap.get(PROVIDER)).content)
    except NotExist:
        return ""


async def _info(client: NodeClient, nodeid: int) -> VoteInfo | None:
    """
    Nothing of a node that nobody heard of, or when nobody counts votes.
    """
    try:
        return await client.votequorum.info(nodeid)
    except (NotExist, NotSupported):
        return None


async def _node(
    client: NodeClient,
    status: NodeStatus,
    nodeid: int,
    names: NodeNames,
    own: VoteInfo | None,
) -> Node:
    votes = None if own is None else await _info(client, nodeid)
    name, addresses = names.name(nodeid), names.addresses(nodeid)
    return Node(nodeid, nodeid == status.nodeid, name, addresses, votes)


def _seen(infos: Iterable[VoteInfo]) -> VoteInfo | None:
    """
    The first who has a quorum device.
    """
    registered = VoteFlag.DEVICE_REGISTERED
    return next((info for info in infos if info.flags & registered), None)
