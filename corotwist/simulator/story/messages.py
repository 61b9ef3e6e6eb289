"""
What the small applications of a story's nodes send.
"""

from collections.abc import Iterable, Sequence
from random import Random

from corotwist.simulator.story.stage import Stage
from corotwist.totem.membership import Guarantee


class Messages(Stage):
    """
    A part of L{Cluster<corotwist.simulator.cluster.Cluster>}.
    """

    _workload: Random

    def multicast(
        self, nodeid: int, payload: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        """
        Send a message from a node that is up.

        @return: C{False} when it has no room.
        """
        return self.running(nodeid).application.multicast(payload, guarantee)

    def load(
        self,
        rate: float,
        seconds: float,
        sizes: Sequence[int] = (100,),
        nodeids: Iterable[int] | None = None,
    ) -> None:
        """
        Let nodes send messages for so long, at random times.

        @param rate: messages in a second, of each node.
        @param sizes: one is drawn for each message.
        """
        end = self.clock.seconds() + seconds
        for nodeid in nodeids or tuple(self.nodes):
            self._nextLoad(nodeid, rate, end, sizes)

    def _nextLoad(
        self, nodeid: int, rate: float, end: float, sizes: Sequence[int]
    ) -> None:
        time = self.clock.seconds() + self._workload.expovariate(rate)
        if time < end:
            self.clock.place(time, self._loadDue, nodeid, rate, end, sizes)

    def _loadDue(
        self, nodeid: int, rate: float, end: float, sizes: Sequence[int]
    ) -> None:
        if self.nodes[nodeid].up:
            payload = drawPayload(self._workload, self._workload.choice(sizes))
            self.multicast(nodeid, payload)
        self._nextLoad(nodeid, rate, end, sizes)


def drawPayload(random: Random, size: int) -> bytes:
    """
    Contents that are hardly ever the same twice.
    """
    start = random.getrandbits(64).to_bytes(8, "big")
    return (start * (size // len(start) + 1))[:size]
