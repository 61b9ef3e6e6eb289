"""
What an engine does that has nothing special to do.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from corotwist.interfaces import (
    ICluster,
    IConnection,
    IServiceEngine,
    ISynchronized,
)
from corotwist.totem.membership import Configuration, RingId


@implementer(IServiceEngine)
class Engine:
    """
    A service engine to derive from: every method is there, and does nothing.

    A subclass has at least C{name} and C{serviceId}.
    """

    name: ClassVar[str]
    serviceId: ClassVar[int]
    version: ClassVar[int] = 1
    priority: ClassVar[int] = 1
    flowControl: ClassVar[bool] = False
    allowInquorate: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ()

    cluster: ICluster

    def configure(self, settings: Any) -> None:
        """
        Any configuration will do.
        """

    def initialize(self, cluster: ICluster, settings: Any) -> Any:
        self.cluster = cluster

    def shutdown(self) -> bool | Deferred[Any]:
        return True

    def dump(self) -> Mapping[str, Any]:
        return {}

    def privateData(self, connection: IConnection) -> Any:
        return None

    def connectionClosed(self, connection: IConnection) -> None:
        """
        Nothing was kept for it.
        """

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        Synchronization says what matters.
        """

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        """
        Nobody sends anything.
        """

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        """
        Nor in the short form.
        """

    def compactMissed(self, body: bytes) -> None:
        """
        Nothing was sent that could miss its ring.
        """


@implementer(ISynchronized)
class SynchronizedEngine(Engine):
    """
    One that takes part in synchronization, and has nothing to say there.
    """

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        """
        Nothing to prepare.
        """

    def synchronize(self) -> bool:
        return True

    def synchronizationCompleted(self) -> None:
        """
        Nothing was learned.
        """

    def synchronizationAborted(self) -> None:
        """
        Nothing to forget.
        """
