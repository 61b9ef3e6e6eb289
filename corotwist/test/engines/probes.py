"""
Engines that write down what they are called with, and nets of them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import define, field
from zope.interface import implementer

from corotwist.engines.sync import Phase
from corotwist.errors import ConfigurationError, Problem
from corotwist.interfaces import (
    ICluster,
    IConnection,
    IServiceEngine,
    ISynchronized,
)
from corotwist.test.engines.orderednet import Maker, OrderedNet
from corotwist.totem.membership import Configuration, RingId

STAGES = ("started", "synchronize", "completed", "aborted")


@implementer(IServiceEngine, ISynchronized)
@define(eq=False)
class Probe:
    """
    An engine that writes down what it is called with.

    @ivar rounds: how often C{synchronize} says that it is not done.
    @ivar raising: names of methods that raise.
    @ivar busy: what C{shutdown} answers, from the end.
    @ivar starting: what C{initialize} returns.
    """

    serviceId: int
    calls: list[Any]
    name: str = ""
    priority: int = 1
    version: int = 1
    rounds: int = 0
    raising: set[str] = field(factory=set)
    flowControl: bool = False
    allowInquorate: bool = True
    requires: tuple[str, ...] = ()
    cluster: Any = None
    again: int = 0
    busy: list[bool] = field(factory=list)
    starting: Any = None

    def _called(self, name: str, *details: Any) -> None:
        self.calls.append((self.serviceId, name, *details))
        if name in self.raising:
            raise RuntimeError(f"{name} of {self.serviceId}")

    def configure(self, settings: Any) -> None:
        if "configure" in self.raising:
            problem = Problem("node.conf", 0, self.name, "not for me")
            raise ConfigurationError(problem)

    def initialize(self, cluster: ICluster, settings: Any) -> Any:
        self.cluster = cluster
        self._called("initialize")
        return self.starting

    def shutdown(self) -> bool:
        self._called("shutdown")
        return not self.busy.pop() if self.busy else True

    def dump(self) -> dict[str, Any]:
        return {"calls": len(self.calls)}

    def privateData(self, connection: Any) -> Any:
        return f"data of {self.name}"

    def connectionClosed(self, connection: Any) -> None:
        self._called("connectionClosed", connection)

    def configurationChanged(self, configuration: Configuration) -> None:
        self._called("configuration", configuration.transitional)

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        self._called("message", nodeid, function, body)

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        self._called("compact", nodeid, body)

    def compactMissed(self, body: bytes) -> None:
        self._called("missed", body)

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self.again = 0
        self._called("started", transitional, members)

    def synchronize(self) -> bool:
        self._called("synchronize")
        self.again += 1
        return self.again > self.rounds

    def synchronizationCompleted(self) -> None:
        self._called("completed")

    def synchronizationAborted(self) -> None:
        self._called("aborted")


def makers(*probes: Probe) -> list[Maker]:
    """
    A maker for each.
    """
    return [Maker(probe.name, partial(_same, probe)) for probe in probes]


@implementer(IConnection)
@define(eq=False)
class FakeClient:
    """
    A local client.
    """

    pid: int = 1
    uid: int = 1
    gid: int = 1
    private: Any = None
    behind: bool = False
    usage: Any = None
    told: list[Any] = field(factory=list)

    def engineChanged(self, news: Any) -> None:
        self.told.append(news)

    def shutdownAhead(self, reason: str, holding: Sequence[str]) -> None:
        self.told.append((reason, *holding))

    def tell(self, command: Any, **arguments: Any) -> None:
        self.told.append((command, arguments))


def _same(probe: Probe) -> Probe:
    return probe


class ProbeNet(OrderedNet):
    """
    Nodes whose engines are probes.

    @ivar probes: by node and service id.
    """

    def __init__(self, *serviceIds: int) -> None:
        super().__init__()
        self.serviceIds = serviceIds
        self.probes: dict[tuple[int, int], Probe] = {}
        self.calls: dict[int, list[Any]] = {}

    def start(self, nodeid: int, *serviceIds: int) -> None:
        """
        Boot a node with these services, or with the usual ones.
        """
        calls: list[Any] = []
        self.calls[nodeid] = calls
        probes = {
            number: Probe(number, calls, f"probe{number}")
            for number in serviceIds or self.serviceIds
        }
        for number, probe in probes.items():
            self.probes[nodeid, number] = probe
        self.makers = makers(*probes.values())
        self.boot(nodeid)

    def names(self, nodeid: int) -> list[tuple[int, str]]:
        """
        What a node's engines were called in rounds, without details.
        """
        return [(number, name) for number, name, *_ in self.rounds(nodeid)]

    def rounds(self, nodeid: int) -> list[Any]:
        """
        What a node's engines were called in rounds.
        """
        return [call for call in self.calls[nodeid] if call[1] in STAGES]

    def phase(self, nodeid: int) -> Phase:
        """
        Where a node's round is.
        """
        return self.nodes[nodeid].manager.synchronization.phase


def probed(*nodeids: int, serviceIds: tuple[int, ...] = (1, 2)) -> ProbeNet:
    net = ProbeNet(*serviceIds)
    for nodeid in nodeids:
        net.start(nodeid)
    return net
