"""
Clients of process groups, as drawn.
"""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import ClassVar, Final

from attrs import define, field
from twisted.python.failure import Failure

from corotwist.errors import ServiceError
from corotwist.simulator.clients import Client
from corotwist.simulator.cluster import Cluster, drawPayload

GROUPS: Final = (b"red", b"green", b"blue")
MOST_CLIENTS: Final = 20
SENT_SIZES: Final = (0, 10, 10, 100, 1000, 3000, 50_000)


@define(eq=False)
class Crowd:
    """
    Clients of process groups who come, talk, and go.

    @ivar rate: what they do in a second, all together.
    """

    cluster: Cluster
    random: Random
    rate: float
    until: float
    clients: list[Client] = field(factory=list)

    def begin(self) -> None:
        """
        Be busy from now on.
        """
        time = self.cluster.seconds() + self.random.expovariate(self.rate)
        if time < self.until:
            self.cluster.clock.place(time, self._act)

    def _act(self) -> None:
        self.clients = [client for client in self.clients if client.open]
        deed = self.random.choice(self._DEEDS)
        with suppress(ServiceError):
            deed(self)
        self.begin()

    def _open(self) -> None:
        if self.cluster.live and len(self.clients) < MOST_CLIENTS:
            nodeid = self.random.choice(self.cluster.live)
            client = self.cluster.client(nodeid)
            self.clients.append(client)
            client.join(self.random.choice(GROUPS))

    def _join(self) -> None:
        if self.clients:
            self.random.choice(self.clients).join(self.random.choice(GROUPS))

    def _leave(self) -> None:
        if self.clients:
            self.random.choice(self.clients).leave(self.random.choice(GROUPS))

    def _send(self) -> None:
        if self.clients:
            client = self.random.choice(self.clients)
            group = self.random.choice([*client.views, *GROUPS[:1]])
            sizes = self.random.choices(SENT_SIZES, k=self.random.randint(1, 5))
            payloads = [drawPayload(self.random, size) for size in sizes]
            client.send(group, *payloads).addErrback(_refused)

    def _close(self) -> None:
        if self.clients:
            self.random.choice(self.clients).close()

    _DEEDS: ClassVar[tuple[Callable[["Crowd"], None], ...]] = (
        *(_open, _open, _join, _leave, _close),
        *([_send] * 8),
    )


def _refused(failure: Failure) -> None:
    failure.trap(ServiceError)
