"""
What applications and clients do in a run, as planned.
"""

from collections import Counter
from collections.abc import Sequence
from struct import Struct
from typing import Final

from attrs import define, field
from twisted.python.failure import Failure

from corotwist.errors import ServiceError
from corotwist.simulator.clients import Client
from corotwist.simulator.cluster import Cluster
from corotwist.simulator.gated import GatedClient
from corotwist.simulator.swarm.plan import GATED, Deed
from corotwist.totem.membership import Guarantee

_STAMP: Final = Struct(">d")


def payload(at: float, size: int) -> bytes:
    """
    Contents that follow from the moment, and are hardly ever the same twice.
    """
    start = _STAMP.pack(at)
    return (start * (size // len(start) + 1))[:size]


@define(eq=False)
class Crowd:
    """
    Applications that multicast, and clients of process groups who come, talk,
    and go.  Each method is a verb of L{Deed}.

    @ivar clients: by the number that the plan gives them.
    @ivar gated: those of quorate groups, likewise.
    @ivar over: the plan has ended.
    @ivar counts: of each verb, how often it was heard; and of what was
        refused, why.
    """

    cluster: Cluster
    clients: dict[int, Client] = field(factory=dict)
    gated: dict[int, GatedClient] = field(factory=dict)
    over: bool = False
    counts: Counter[str] = field(factory=Counter)

    def arm(self, work: Sequence[Deed]) -> None:
        """
        Be busy when the moments come.
        """
        start = self.cluster.seconds()
        for deed in work:
            self.cluster.clock.place(start + deed.when.at, self._act, deed)

    def _act(self, deed: Deed) -> None:
        if self.over:
            return
        try:
            getattr(self, deed.verb)(deed.when.at, **deed.arguments)
            self.counts[deed.verb] += 1
        except ServiceError as error:
            self.counts[f"refused: {type(error).__name__}"] += 1
        except Exception:
            # A process may die of the datagram that this made it send; what
            # its code does then, without its state, does not happen.
            if self._lives(deed):
                raise

    def _lives(self, deed: Deed) -> bool:
        """
        Is the process there that did it?
        """
        number = deed.arguments.get("client", 0)
        clients = self.gated if deed.verb in GATED else self.clients
        client = clients.get(number)
        if client is not None:
            return client.life.alive
        return self.cluster.nodes[deed.arguments["nodeid"]].up

    def multicast(self, at: float, nodeid: int, size: int, safe: bool) -> None:
        """
        A message of the small application.
        """
        if nodeid in self.cluster.nodes and self.cluster.nodes[nodeid].up:
            guarantee = Guarantee.SAFE if safe else Guarantee.AGREED
            self.cluster.multicast(nodeid, payload(at, size), guarantee)

    def open(self, at: float, client: int, nodeid: int, group: str) -> None:
        """
        A client comes, and joins a group.
        """
        if self._there(client) is None and self.cluster.nodes[nodeid].up:
            self.clients[client] = self.cluster.client(nodeid)
            self.join(at, client, group)

    def join(self, at: float, client: int, group: str) -> None:
        """
        It joins another.
        """
        there = self._there(client)
        if there is not None:
            there.join(group.encode())

    def leave(self, at: float, client: int, group: str) -> None:
        """
        It leaves one.
        """
        there = self._there(client)
        if there is not None:
            there.leave(group.encode())

    def send(self, at: float, client: int, group: str, sizes: Sequence[int]) -> None:
        """
        It sends messages, in one batch.
        """
        there = self._there(client)
        if there is not None:
            payloads = [payload(at, size) for size in sizes]
            there.send(group.encode(), *payloads).addErrback(self._refused)

    def close(self, at: float, client: int) -> None:
        """
        It dies.
        """
        there = self._there(client)
        if there is not None:
            there.close()

    def openGated(self, at: float, client: int, nodeid: int) -> None:
        """
        A client comes, to be in a quorate group.
        """
        if self._thereGated(client) is None and self.cluster.nodes[nodeid].up:
            self.gated[client] = self.cluster.gatedClient(nodeid)
            self.gated[client].join()

    def sendGated(self, at: float, client: int, count: int) -> None:
        """
        It sends messages, each by itself.
        """
        there = self._thereGated(client)
        if there is not None:
            there.send(*(payload(at, number + 8) for number in range(count)))

    def closeGated(self, at: float, client: int) -> None:
        """
        It dies.
        """
        there = self._thereGated(client)
        if there is not None:
            there.close()

    def _thereGated(self, number: int) -> GatedClient | None:
        client = self.gated.get(number)
        if client is None or not client.open or not client.life.alive:
            return None
        return client if self.cluster.nodes[client.life.nodeid].up else None

    def _there(self, number: int) -> Client | None:
        """
        The client, if it lives, and its node.
        """
        client = self.clients.get(number)
        if client is None or not client.open or not client.life.alive:
            return None
        return client if self.cluster.nodes[client.life.nodeid].up else None

    def _refused(self, failure: Failure) -> None:
        failure.trap(ServiceError)
        assert failure.type is not None, "a failure of some class"
        self.counts[f"refused: {failure.type.__name__}"] += 1
