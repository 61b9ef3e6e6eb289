"""
The cluster of C{corotwist vqsim}: whole nodes in the simulator, with what counts
votes in production, on virtual time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.config import loader
from corotwist.config.host import Machine
from corotwist.config.keys import keysOf
from corotwist.engines.quoruminterfaces import VoteInfo
from corotwist.errors import ConfigurationError, Problem
from corotwist.ipc.client import NodeClient
from corotwist.ipc.votes import VoteFollower
from corotwist.plugin import discover
from corotwist.simulator import Cluster, timingFor
from corotwist.simulator.machine import Wishes
from corotwist.totem.membership import NO_RING, RingId

PROVIDER: Final = "corosync_votequorum"
DEVICE: Final = "VQSIM"
# Of the simulated ring: real ones take longer to notice, and learn no more.
TIMING: Final = timingFor(0.02, join=0.01, merge=0.02)
# What was said when all were in step, of a device or of votes, is heard by then.
UNDERWAY_SECONDS: Final = 0.02
# Between two signs of life of the simulated device; below any timeout of it.
POLL_SECONDS: Final = 1.0
MOST_PARTITIONS: Final = 16
_ENTRY: Final = "nodelist.node."
_QUORUM: Final = "quorum."
# The device is ours to play.
_PLAYED: Final = ("qdevice",)


@frozen
class Seen:
    """
    A node, as it is.

    @ivar info: of the votes; L{None} when nobody counts them.
    """

    partition: int
    nodeid: int
    quorate: bool
    ringId: RingId
    members: tuple[int, ...]
    info: VoteInfo

    def line(self) -> str:
        """
        As corosync-vqsim shows it.
        """
        ring = f"{self.ringId.representative}.{self.ringId.sequence:x}"
        nodes = " ".join(map(str, self.members))
        return (
            f"{self.partition}:{self.nodeid}: q={int(self.quorate)} ring=[{ring}]"
            f" nodes=[{nodes}]"
        )


def configuration(path: str) -> tuple[str, tuple[int, ...]]:
    """
    What of a configuration file matters to votes, for simulated nodes.

    @return: the text of a corosync.conf, and nodeids.
    @raise ConfigurationError: the file cannot be used.
    """
    reading = loader.read(path)
    if reading.problems:
        raise ConfigurationError(*reading.problems)
    keys = {k: v.text() for k, v in keysOf(reading.document, Machine())}
    nodes = dict(_nodes(keys))
    if not nodes:
        text = "there are no nodes in this file, and votes need some"
        raise ConfigurationError(Problem(path, 0, "nodelist", text))
    quorum = _section(keys, _QUORUM)
    quorum["provider"] = PROVIDER
    return Wishes({}, quorum, nodes).text(sorted(nodes), False), tuple(sorted(nodes))


def _nodes(keys: dict[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Nodeids, and what is said of each that matters.
    """
    positions = {k.split(".")[2] for k in keys if k.startswith(_ENTRY)}
    for position in sorted(positions, key=int):
        prefix = f"{_ENTRY}{position}."
        nodeid = int(keys.get(prefix + "nodeid", int(position) + 1))
        votes = keys.get(prefix + "quorum_votes")
        yield nodeid, {} if votes is None else {"quorum_votes": votes}


def _section(keys: dict[str, str], prefix: str) -> dict[str, Any]:
    """
    Keys below a prefix, as sections in each other.
    """
    found: dict[str, Any] = {}
    for key, text in keys.items():
        if key.startswith(prefix):
            *path, last = key.removeprefix(prefix).split(".")
            inner = found
            for name in path:
                inner = inner.setdefault(name, {})
            inner[last] = text
    return found


@define(eq=False)
class Votes:
    """
    The cluster, and which node is in which partition.

    @ivar partitionOf: of every node, up or down.
    """

    cluster: Cluster
    partitionOf: dict[int, int]
    _devices: dict[int, NodeClient] = field(factory=dict, init=False)

    @classmethod
    def of(cls, text: str, nodeids: Sequence[int]) -> "Votes":
        """
        All nodes down, in partition 0.
        """
        makers = [maker for maker in discover() if maker.name not in _PLAYED]
        cluster = Cluster(
            services=True,
            config=text,
            timing=TIMING,
            boot=False,
            makers=makers,
        )
        return cls(cluster, dict.fromkeys(nodeids, 0))

    # Nodes and partitions.

    def up(self, nodeids: Iterable[int], partition: int) -> None:
        """
        Start nodes there.
        """
        chosen = tuple(nodeids)
        self.move(chosen, partition)
        self.cluster.boot(*chosen)

    def down(self, nodeids: Iterable[int]) -> None:
        """
        End nodes, without a farewell.
        """
        chosen = tuple(nodeids)
        for nodeid in chosen:
            self._devices.pop(nodeid, None)
        self.cluster.kill(*chosen)

    def move(self, nodeids: Iterable[int], partition: int) -> None:
        """
        Have nodes in another partition.
        """
        for nodeid in nodeids:
            self.partitionOf[nodeid] = partition
        self._cut()

    def join(self, partitions: Sequence[int]) -> None:
        """
        Make one of several, the first.
        """
        for nodeid, partition in self.partitionOf.items():
            if partition in partitions:
                self.partitionOf[nodeid] = partitions[0]
        self._cut()

    def _cut(self) -> None:
        sides: dict[int, set[int]] = {}
        for nodeid, partition in self.partitionOf.items():
            sides.setdefault(partition, set()).add(nodeid)
        self.cluster.heal()
        if len(sides) > 1:
            self.cluster.partition(*sides.values())

    # Time.

    def agree(self, seconds: float) -> bool:
        """
        Let time go by until every partition is one ring in step.

        @return: whether it is, in so many seconds.
        """
        agreed = self.cluster.runUntil(self.cluster.formed, seconds)
        self.cluster.run(UNDERWAY_SECONDS)
        return agreed

    def run(self, seconds: float) -> None:
        """
        Let time go by.
        """
        self.cluster.run(seconds)

    # Votes.

    def seen(self) -> list[Seen]:
        """
        Every node that is up, by partition and nodeid.
        """
        found = [self._seen(nodeid) for nodeid in self.cluster.live]
        return sorted(found, key=lambda one: (one.partition, one.nodeid))

    def _seen(self, nodeid: int) -> Seen:
        configuration = self.cluster.services(nodeid).configuration
        ring = NO_RING if configuration is None else configuration.ringId
        members = () if configuration is None else configuration.members
        voting = self.cluster.engine(nodeid, "votequorum")
        partition, quorate = self.partitionOf[nodeid], voting.quorate()
        return Seen(partition, nodeid, quorate, ring, members, voting.info())

    def minority(self) -> list[int]:
        """
        Nodes that may not act, while others may.
        """
        seen = self.seen()
        if not any(one.quorate for one in seen):
            return []
        return [one.nodeid for one in seen if not one.quorate]

    # The device.

    def deviceOn(self, nodeid: int) -> None:
        """
        Have a device vote for the partition of a node, until it is off.

        @raise ServiceError: the node does not take one.
        """
        if nodeid in self._devices:
            return
        client = self.cluster.embed(nodeid)
        self.cluster.wait(client.votequorum.deviceRegister(DEVICE))
        self._devices[nodeid] = client
        # Who judges votes counts those of nodes only.
        self.cluster.jury.votes.operator()
        follower = VoteFollower(nodesChanged=lambda ring, _: self._vote(client, ring))
        self.cluster.wait(client.votequorum.track(follower))
        self._poll(nodeid, client)

    def _poll(self, nodeid: int, client: NodeClient) -> None:
        """
        Now, and again and again while it is on.
        """
        if self._devices.get(nodeid) is client:
            configuration = self.cluster.services(nodeid).configuration
            if configuration is not None:
                self._vote(client, configuration.ringId)
            self.cluster.clock.callLater(POLL_SECONDS, self._poll, nodeid, client)

    def _vote(self, client: NodeClient, ringId: RingId) -> None:
        # What comes too late for a ring is no vote for the next.
        client.votequorum.devicePoll(DEVICE, True, ringId).addErrback(lambda _: None)

    def deviceOff(self, nodeid: int) -> None:
        """
        Have no device there.

        @raise ServiceError: the node keeps it.
        """
        client = self._devices.pop(nodeid, None)
        if client is not None:
            self.cluster.wait(client.votequorum.deviceUnregister(DEVICE))
            self.cluster.wait(client.stopService())
