"""
The simplest provider of quorum: more than half of the nodes of the node list.
"""

from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.provider import Judgement, QuorumProvider
from corotwist.errors import BadCount, TruncatedFrame, TryAgain
from corotwist.interfaces import ICluster, IReconfigurable
from corotwist.totem.membership import RingId

# A number of our own that real corosync nodes have room for.
MAJORITY_SERVICE: Final = 34
EXPECTING: Final = 0
_COUNT: Final = Struct("<I")


def majority(members: Mapping[int, int]) -> Judgement:
    """
    Judge a partition.

    @param members: how many nodes each member expects the cluster to have.
    """
    present, expected = len(members), max(members.values(), default=0)
    needed = expected // 2 + 1
    quorate = expected > 0 and present >= needed
    rule = f"{present} of {expected} nodes are here, {needed} are needed"
    inputs = {"votes": present, "expected": expected, "quorum": needed}
    return Judgement(quorate, rule, inputs)


@implementer(IReconfigurable)
class MajorityEngine(QuorumProvider):
    """
    Every member says how many nodes its node list has, and the largest number
    counts.  A smaller one, after nodes were taken off the list, is believed in
    a partition that may act only: others may be out there who know better.
    """

    name = "majority"
    serviceId = MAJORITY_SERVICE
    _ownLog = Logger()

    def __init__(self) -> None:
        super().__init__()
        self._members: dict[int, int] = {}
        self._heard: dict[int, int] = {}
        self._round = False
        self._untold = False
        self._count = self._own = 0

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._count = self._own = len(settings.totem.nodes)

    # Other settings.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        Any node list will do.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        count = len(settings.totem.nodes)
        if count != self._count:
            self._count = count
            self._untold = True
            self._tell()

    def _tell(self) -> None:
        """
        As soon as there is room and no round runs.
        """
        if not self._untold:
            return
        try:
            if not self.cluster.synchronizing():
                self._say(self._count)
                self._untold = False
                return
        except TryAgain:
            self._ownLog.debug("No room yet for the length of the node list")
        self.cluster.whenRoom(self._tell)

    def _say(self, count: int) -> None:
        self.cluster.multicast(EXPECTING, _COUNT.pack(count))

    # From the ring.

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if nodeid not in self.cluster.members() or function != EXPECTING:
            return
        count = _decode(body, byteOrder)
        if self._round:
            self._heard[nodeid] = count
        else:
            before = 0 if self.quorate() else self._members.get(nodeid, 0)
            self._members[nodeid] = max(count, before)
            self._judge()

    def _judge(self) -> None:
        self._own = self._members.get(self.cluster.nodeid, self._own)
        self.judged(majority(self._members))

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._round, self._heard = True, {}

    def synchronize(self) -> bool:
        self._say(self._own)
        return True

    def synchronizationCompleted(self) -> None:
        self._round = False
        self._members = self._heard
        self._judge()

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        Besides what every provider has::

            members  by nodeid: how many nodes each expects
            count    how long our node list is
            own      what we last said that we expect

        @raise TryAgain: the others do not know yet how long our list is.
        """
        if self._untold:
            raise TryAgain("the node list changed, and the others do not know yet")
        return {
            **super().handOver(),
            "members": self._members,
            "count": self._count,
            "own": self._own,
        }

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        super().takeOver(state, version)
        self._members = dict(state["members"])
        self._count, self._own = state["count"], state["own"]


def _decode(body: bytes, byteOrder: str) -> int:
    """
    How many nodes somebody expects.
    """
    if len(body) < _COUNT.size:
        raise TruncatedFrame("how many nodes are expected")
    count = int.from_bytes(body[:4], "little" if byteOrder == "<" else "big")
    if not count:
        raise BadCount("a cluster of no nodes is expected")
    return count
