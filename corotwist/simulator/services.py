"""
A whole node inside the simulator: the ring, the service manager, the engines.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.interfaces import IProcessGroups
from corotwist.engines.manager import ServiceManager
from corotwist.interfaces import IEngineMaker, ITotemListener
from corotwist.node import Node
from corotwist.simulator.judges.groups import Path
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.judges.views import Sight
from corotwist.simulator.rounds import Rounds
from corotwist.totem.membership import Configuration, Guarantee, RingId
from corotwist.totem.service import TotemService


@implementer(ITotemListener)
@define(eq=False)
class Services:
    """
    What a test sees of a node's services, in the place of an application.

    It stands between the ring and the service manager, and lets everything
    through.

    @ivar events: the configurations.
    @ivar inStep: called when they are in step again, with the ring.
    @ivar path: those since the services were last in step.
    @ivar rounds: sees what goes through, for the judges.
    @ivar sight: sees what is told of views, for their judge.
    """

    life: Life
    node: Node
    log: list[bytes] = field(factory=list)
    events: list[Any] = field(factory=list)
    configuration: Configuration | None = None
    path: list[Configuration] = field(factory=list)
    inStep: Callable[[Life, RingId], None] | None = None
    _waiting: bool = True
    rounds: Rounds | None = None
    sight: Sight | None = None

    @property
    def totem(self) -> TotemService:
        """
        The total order.
        """
        return self.node.totem

    @property
    def manager(self) -> ServiceManager:
        """
        The services.
        """
        return self.node.manager

    @property
    def groups(self) -> IProcessGroups:
        """
        The engine of process groups.
        """
        groups: IProcessGroups = self.node.manager.engines["cpg"]
        return groups

    @property
    def synchronizing(self) -> bool:
        """
        Are the services not in step yet?
        """
        return self.manager.synchronizing()

    @property
    def held(self) -> int:
        """
        Messages that wait above the ring: the judge of groups counts them.
        """
        return 0

    def multicast(
        self, payload: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> bool:
        """
        Not to be used: what is sent here would be no service's.
        """
        raise NotImplementedError("with services, send through a client of a group")

    def takePath(self) -> Path:
        """
        The configurations since this was last asked.
        """
        path = tuple((c.ringId, c.members, c.transitional) for c in self.path)
        self.path.clear()
        return path

    def start(self) -> None:
        """
        Begin.

        @raise Exception: whatever made the node refuse.
        """
        failures: list[Any] = []
        self.node.started.addErrback(failures.append)
        self.node.startService()
        if failures:
            failures[0].raiseException()

    def stop(self) -> Deferred[None]:
        """
        Leave in order.
        """
        return self.node.stopService()

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        if not self.life.alive:
            return
        self.events.append(configuration)
        self.path.append(configuration)
        self._waiting = True
        if not configuration.transitional:
            self.configuration = configuration
        if self.sight is not None:
            self.sight.judge.configured(self.life, configuration)
        tell = self.manager.configurationChanged
        if self.rounds is None:
            tell(configuration)
        else:
            self.rounds.configurationChanged(configuration, tell)

    def messageDelivered(
        self,
        nodeid: int,
        message: bytes,
        byteOrder: str,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> None:
        if not self.life.alive:
            return
        tell = self.manager.messageDelivered
        if self.rounds is None:
            tell(nodeid, message, byteOrder, guarantee)
        else:
            whole = partial(tell, guarantee=guarantee)
            self.rounds.messageDelivered(nodeid, message, byteOrder, whole)
        if self._waiting and not self.manager.synchronizing():
            self._waiting = False
            if self.inStep is not None and self.configuration is not None:
                self.inStep(self.life, self.configuration.ringId)
        if self.sight is not None and not self.manager.roster.stopping:
            self.sight.looked()

    def tokenPassed(self) -> None:
        if self.life.alive:
            if self.rounds is not None:
                self.rounds.tokenPassed()
            self.manager.tokenPassed()


Configure = Callable[[NodeSettings], NodeSettings]


def unchanged(settings: NodeSettings) -> NodeSettings:
    """
    What a node is told when nobody has a wish.
    """
    return settings


def makeServices(
    life: Life,
    settings: NodeSettings,
    clock: Any,
    timeOfDay: Callable[[], int],
    *,
    makers: Iterable[IEngineMaker] | None = None,
    **parts: Any,
) -> Services:
    """
    A node on simulated sockets.

    @param makers: the engines to choose from; by default all that are
        installed.
    """
    node = Node(settings, clock, makers=makers, timeOfDay=timeOfDay, **parts)
    services = Services(life, node)
    node.totem.listener = services
    return services
