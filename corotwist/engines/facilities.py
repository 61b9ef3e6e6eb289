"""
What a node has for its engines, besides the total order.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from corotwist.config.settings import MemoryPolicy, NodeSettings
from corotwist.engines.children import Children
from corotwist.engines.connections import Connections
from corotwist.engines.gate import Gate
from corotwist.engines.holds import Holds
from corotwist.engines.interfaces import IQuorum
from corotwist.engines.quoruminterfaces import IQuorumProvider
from corotwist.engines.timers import SchedulerWatch
from corotwist.engines.visits import Visits
from corotwist.errors import NotExist
from corotwist.interfaces import IConnection, IShutdownAware, ITotem


class Home(Protocol):
    """
    The service manager.
    """

    clock: IReactorTime
    timeOfDay: Callable[[], int]
    totem: ITotem
    settings: NodeSettings
    roster: Any

    def synchronizing(self) -> bool: ...
    def whenRoom(self, callback: Callable[[], None]) -> None: ...
    def shutdownRequested(self, who: str, reason: str) -> None: ...


class Guard(Protocol):
    """
    The place of an engine.
    """

    @property
    def over(self) -> bool: ...
    def call(self, function: Callable[..., Any], *arguments: Any) -> Any: ...


@define(eq=False)
class Follower:
    """
    An engine that wants to know about quorum.
    """

    _changed: Callable[[bool], None]
    _guard: Guard
    _followers: dict["Follower", None]

    def tell(self, *, quorate: bool) -> None:
        """
        It has changed.
        """
        if self._guard.over:
            self.stop()
        else:
            self._guard.call(self._changed, quorate)

    def stop(self) -> None:
        """
        It wants to know no more.
        """
        self._followers.pop(self, None)


class Facilities:
    """
    For all engines of one node.

    @ivar connections: the local clients.
    @ivar gate: what their requests pass.
    @ivar visits: who is called at the visits of the token.
    @ivar holds: what keeps the node from stopping.
    @ivar children: processes that engines look after.
    @ivar schedule: does this process run when it should?
    """

    def __init__(self, home: Home, processes: Any) -> None:
        """
        @param processes: an C{IReactorProcess}, or L{None}.
        """
        self._log = Logger()
        self._home = home
        clock = self.clock = home.clock
        self.totem = home.totem
        # Not to be guessed by nobody: to differ from those of an earlier start.
        random = Random(home.timeOfDay())  # noqa: S311
        self.connections = Connections(random, self._closed)
        self.gate = Gate(self)
        self.visits = Visits()
        self.holds = Holds(clock, lambda: home.settings.engines.shutdownSeconds)
        self.children = Children(clock, processes)
        self.schedule = SchedulerWatch(
            clock, home.timeOfDay, lambda: home.settings.totem.timing.token
        )
        self._followers: dict[Follower, None] = {}
        self._quorate = True
        self._memoryFailures: dict[str, int] = {}

    def start(self) -> None:
        """
        The engines start.
        """
        self.schedule.start()

    def stop(self) -> None:
        """
        They have stopped.
        """
        self.schedule.stop()
        self.gate.stop()
        self.visits.clear()
        self._followers.clear()

    def engineGone(self, name: str) -> Deferred[Any]:
        """
        An engine has stopped for good, and so have all it had here.

        @return: fires when its children have ended.
        """
        self.connections.engineGone(name)
        self.holds.releaseAll(name)
        return self.children.stop(name)

    # Clients.

    def connectionClosed(self, connection: IConnection) -> None:
        """
        A client is gone: each engine hears it when it has answered.
        """
        places = self._home.roster.places.values()
        self.connections.closed(connection, [place.name for place in places])

    def _closed(self, engine: str, connection: IConnection) -> None:
        try:
            place = self._home.roster.place(engine)
        except NotExist:
            return
        place.call(place.engine.connectionClosed, connection)

    # For the gate.

    def synchronizing(self) -> bool:
        """
        See C{ICluster.synchronizing}.
        """
        return self._home.synchronizing()

    def whenRoom(self, callback: Callable[[], None]) -> None:
        """
        See C{ICluster.whenRoom}.
        """
        self._home.whenRoom(callback)

    # Quorum.

    def quorate(self) -> bool:
        """
        May this partition act?  Without a service that says no, it may.
        """
        judge = self._judge()
        return True if judge is None else bool(judge.quorate())

    def quorumKnown(self) -> bool:
        """
        Is the verdict that of the whole partition?
        """
        judge = self._judge()
        return True if judge is None else bool(judge.counting())

    def verdict(self) -> tuple[bool, Mapping[str, Any]]:
        """
        May this partition act, and why?
        """
        judge = self._judge()
        return self.quorate(), {} if judge is None else judge.explanation()

    def _judge(self) -> Any:
        """
        The service that says whether we may act: who asks the provider, or the
        provider itself.
        """
        engines = self._home.roster.engines.values()
        judges = [e for e in engines if IQuorum.providedBy(e)]
        return min(judges, key=IQuorumProvider.providedBy, default=None)

    def follow(self, changed: Callable[[bool], None], guard: Guard) -> Follower:
        """
        Tell an engine, now and whenever it changes, whether we are quorate.
        """
        if not self._followers:
            self._quorate = self.quorate()
        follower = Follower(changed, guard, self._followers)
        self._followers[follower] = None
        follower.tell(quorate=self._quorate)
        return follower

    def quorumChanged(self) -> None:
        """
        It may have.
        """
        if not self._followers:
            return
        before, self._quorate = self._quorate, self.quorate()
        if before != self._quorate:
            for follower in list(self._followers):
                follower.tell(quorate=self._quorate)

    # Components.

    def make(self, interface: Any, name: str, *given: Any) -> Any:
        """
        See C{ICluster.make}.
        """
        component = self._home.roster.components.reference(interface, name)
        return component.provider.load()(self.clock, *given)

    # Trouble.

    def memoryFailed(self, who: str, what: str) -> None:
        """
        Count it, show it, and do what the configuration says.
        """
        self._memoryFailures[who] = self._memoryFailures.get(who, 0) + 1
        policy = self._home.settings.engines.memoryPolicy
        self._log.critical(
            "Service {who}: no memory for {what}; policy: {policy}",
            who=who,
            what=what,
            policy=policy.value,
        )
        if policy is MemoryPolicy.STOP:
            self._home.shutdownRequested(who, f"no memory for {what}")
        else:
            self.gate.shed()

    # Stopping.

    def prepareStop(self, reason: str) -> Deferred[None]:
        """
        Tell the engines that the node is to stop.

        @return: fires when nothing holds that any more: see L{Holds.whenFree}.
        """
        if not self.holds.proposed:
            for place in self._home.roster.places.values():
                if IShutdownAware.providedBy(place.engine):
                    place.call(place.engine.shutdownProposed, reason)
        return self.holds.whenFree(reason)

    # For people.

    def status(self) -> dict[str, Any]:
        """
        All of it, as JSON values.
        """
        return {
            "gate": self.gate.status(),
            "connections": self.connections.status(),
            "children": self.children.status(),
            "shutdown": self.holds.status(),
            "schedule": self.schedule.status(),
            "tokenCallbacks": len(self.visits),
            "memoryFailures": dict(sorted(self._memoryFailures.items())),
        }
