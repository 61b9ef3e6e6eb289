"""
A node that tells about quorum what a test wants.
"""

from datetime import UTC, datetime
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed

from corotwist.config.values import Value, string, u32
from corotwist.engines.quoruminterfaces import NodeState, VoteFlag, VoteInfo
from corotwist.errors import InvalidParameter, NameNotFound, NotExist, NotSupported
from corotwist.ipc.quorum import QuorumFollower
from corotwist.ipc.status import NodeStatus
from corotwist.totem.membership import RingId

WHEN = datetime(2025, 11, 21, 22, 24, 5, tzinfo=UTC)


def member(nodeid: int, votes: int = 1, **changes: Any) -> VoteInfo:
    """
    One of three, each with one vote.
    """
    info = VoteInfo(nodeid, NodeState.MEMBER, votes, 3, 3, 3, 2, VoteFlag.QUORATE)
    return evolve(info, **changes)


def nodelist(*nodes: tuple[int, str, tuple[str, ...]]) -> dict[str, Value]:
    """
    Keys of a configuration.

    @param nodes: nodeid, name and addresses of each.
    """
    found: dict[str, Value] = {}
    for position, (nodeid, name, addresses) in enumerate(nodes):
        entry = f"nodelist.node.{position}"
        found[f"{entry}.nodeid"] = u32(nodeid)
        if name:
            found[f"{entry}.name"] = string(name)
        for link, address in enumerate(addresses):
            found[f"{entry}.ring{link}_addr"] = string(address)
    return found


@define(eq=False)
class FakeVotesClient:
    """
    L{VoteQuorum<corotwist.ipc.votes.VoteQuorum>}.
    """

    infos: dict[int, VoteInfo]
    own: int
    asked: list[tuple[Any, ...]] = field(factory=list)
    counting: bool = True

    def info(self, nodeid: int = 0) -> Deferred[VoteInfo]:
        if not self.counting:
            return fail(NotSupported("this node has no votequorum.info"))
        if (nodeid or self.own) not in self.infos:
            return fail(NotExist(f"nobody heard of {nodeid}"))
        return succeed(self.infos[nodeid or self.own])

    def setExpected(self, expected: int) -> Deferred[None]:
        if not self.counting:
            return fail(NotSupported("this node has no votequorum.setExpected"))
        if expected < self.infos[self.own].totalVotes:
            return fail(InvalidParameter("3 votes are here"))
        self.asked.append(("expected", expected))
        return succeed(None)

    def setVotes(self, votes: int, nodeid: int = 0) -> Deferred[None]:
        if nodeid not in self.infos:
            return fail(NameNotFound("nobody heard of it"))
        self.asked.append(("votes", nodeid, votes))
        return succeed(None)

    def deviceUnregister(self, name: str) -> Deferred[None]:
        self.asked.append(("unregister", name))
        return succeed(None)


@define(eq=False)
class FakeQuorum:
    """
    L{Quorum<corotwist.ipc.quorum.Quorum>}.
    """

    follower: QuorumFollower | None = None

    def track(self, follower: QuorumFollower) -> Deferred[None]:
        self.follower = follower
        return succeed(None)


@define(eq=False)
class FakeNode:
    """
    L{NodeInquiry<corotwist.ipc.status.NodeInquiry>}.
    """

    answer: NodeStatus
    failing: Exception | None = None

    def status(self) -> Deferred[NodeStatus]:
        return succeed(self.answer) if self.failing is None else fail(self.failing)


@define(eq=False)
class FakeMap:
    """
    L{ConfigurationMap<corotwist.ipc.keys.ConfigurationMap>}.
    """

    keys: dict[str, Value]

    def get(self, name: str) -> Deferred[Value]:
        return succeed(self.keys[name]) if name in self.keys else fail(NotExist(name))

    def items(self, prefix: str = "") -> Deferred[tuple[tuple[str, Value], ...]]:
        found = [
            item for item in sorted(self.keys.items()) if item[0].startswith(prefix)
        ]
        return succeed(tuple(found))


@define(eq=False)
class FakeQuorumClient:
    """
    As much of a L{NodeClient<corotwist.ipc.client.NodeClient>} as the tool asks.
    """

    votequorum: FakeVotesClient
    node: FakeNode
    cmap: FakeMap
    quorum: FakeQuorum = field(factory=FakeQuorum)

    @property
    def nodeid(self) -> int:
        return self.node.answer.nodeid


def threeNodes(
    own: int = 1, provider: str = "corosync_votequorum", sequence: int = 13
) -> FakeQuorumClient:
    """
    The cluster of the recorded output.
    """
    members = (1, 2, 3)
    keys = nodelist(*((n, f"n{n}", (f"10.99.0.{n}",)) for n in members))
    if provider:
        keys["quorum.provider"] = string(provider)
    ring = RingId(sequence, 1)
    status = NodeStatus(own, ring, members, "running", True, {"rule": "majority"})
    votes = FakeVotesClient({nodeid: member(nodeid) for nodeid in members}, own)
    votes.counting = provider == "corosync_votequorum"
    return FakeQuorumClient(votes, FakeNode(status), FakeMap(keys))
