"""
One whole node: the ring, the services on it, and the door for local clients.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IReactorProcess
from twisted.logger import Logger
from twisted.python.failure import Failure

from corotwist.components import Components
from corotwist.config.database import Database
from corotwist.config.settings import IpcSettings, NodeSettings, TotemSettings
from corotwist.ending import End, Ending
from corotwist.engines.manager import ServiceManager
from corotwist.errors import StorageRefused
from corotwist.interfaces import (
    IEngineMaker,
    INotes,
    IReconfigurable,
    IRingStorage,
    ITransport,
    ITransportMaker,
)
from corotwist.ipc.server import IpcServer
from corotwist.reloading import Read, Reloader, Save
from corotwist.totem.service import TotemService
from corotwist.totem.storage import FileRingStorage

# For the state directory, when we make it: nobody else needs to look.
STATE_MODE: Final = 0o700

MakeIpc = Callable[[Any, IpcSettings, ServiceManager], IService]


def makeTransport(
    settings: TotemSettings, reactor: Any, components: Components
) -> ITransport:
    """
    The sockets that the configuration names, in their newest version.

    @raise NotExist: there is no such transport.
    """
    component = components.reference(ITransportMaker, settings.transport)
    transport: ITransport = component.provider.load()(reactor, settings)
    return transport


def makeStorage(settings: TotemSettings, reactor: Any) -> IRingStorage:
    """
    The file of the ring id, in a directory that exists.

    @raise StorageRefused: when there can be no such directory.
    """
    directory = Path(settings.stateDirectory)
    try:
        directory.mkdir(STATE_MODE, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise StorageRefused(f"{directory} cannot be made: {reason}") from error
    return FileRingStorage.onReactor(str(directory), settings.nodeid, reactor)


class Node(MultiService):
    """
    Starts the services, then the ring, then listens for clients; stops in the
    opposite order, so that services can say farewell on a ring that runs.

    @ivar database: its configuration and statistics.
    @ivar reloader: the settings in force, and how they change.
    @ivar totem: the total order.
    @ivar manager: the services, by name.
    @ivar ipc: the door for local clients, or L{None}.
    @ivar started: fires when all of it runs.  Fails when it cannot; what had
        started is stopped then.
    @ivar ended: fires with an L{End} when the node should be stopped: a service
        or an operator asked for it, the ring found an error of its own, or the
        node was killed.
    @ivar onKilled: called with the reason when the node has to end at once; the
        process should do that before it returns.
    """

    name = "node"
    _log = Logger()

    def __init__(
        self,
        settings: NodeSettings,
        clock: Any,
        *,
        transport: ITransport | None = None,
        storage: IRingStorage | None = None,
        random: Random | None = None,
        ipc: MakeIpc | None = IpcServer,
        makers: Iterable[IEngineMaker] | None = None,
        timeOfDay: Callable[[], int] = time.time_ns,
        read: Read | None = None,
        save: Save | None = None,
        logs: Any = None,
    ) -> None:
        """
        @param clock: the reactor.  With a transport and a storage of its own,
            and without C{ipc}, a node asks nothing of it but the time.
        @param ipc: makes the door for local clients.
        @param makers: the engines to choose from; by default all that are
            installed.
        @param timeOfDay: nanoseconds since 1970.
        @param read: reads the configuration again; without it there is none to
            reload.
        @param save: writes keys to the configuration file, if there is one.
        @param logs: where log lines go, if that can change: L{IReconfigurable},
            with C{reopen} and C{dump}.
        @raise StorageRefused: when there can be no state directory.
        """
        super().__init__()
        # Handles are nobody's secret, and a simulated node's are always the same.
        handles = None if random is None else Random(settings.totem.nodeid)  # noqa: S311
        self.database = Database.of(settings.keys, handles)
        self.reloader = Reloader(
            clock,
            settings,
            self.database,
            self._reconfigurable,
            read=read,
            save=save,
            logs=logs,
        )
        self._logs = logs
        components = Components.installed(settings.components.directories)
        totem = settings.totem
        storage = storage or makeStorage(totem, clock)
        self.totem = TotemService(
            clock,
            totem,
            transport or makeTransport(totem, clock, components),
            storage,
            random or SystemRandom(),
            timeOfDay=timeOfDay,
        )
        self.manager = ServiceManager(
            clock,
            self.totem,
            settings,
            components if makers is None else makers,
            timeOfDay,
            database=self.database,
            operations=self.reloader,
            processes=clock if IReactorProcess.providedBy(clock) else None,
            notes=storage if INotes.providedBy(storage) else None,
        )
        self.totem.listener = self.manager
        self.totem.onBroken = self._broken
        self.totem.setServiceParent(self)
        self.ipc = None if ipc is None else ipc(clock, settings.ipc, self.manager)
        if self.ipc is not None:
            self.ipc.setServiceParent(self)
        # To the other nodes, when this one stops.
        self._farewell = "the node was asked to stop"
        self.started: Deferred[None] = Deferred()
        self.ended: Deferred[End] = Deferred()
        self.manager.shutdown.addCallback(self._end)
        self.manager.onKilled = self._killed
        self.onKilled: Callable[[str], object] = lambda reason: None

    @property
    def settings(self) -> NodeSettings:
        """
        In force.
        """
        return self.reloader.settings

    def _reconfigurable(self) -> Iterator[IReconfigurable]:
        """
        Who has to agree to other settings.
        """
        for part in (self.totem, self.manager, self.ipc, self._logs):
            if IReconfigurable.providedBy(part):
                yield part

    # Beginning.

    def startService(self) -> None:
        """
        Begin; L{started} tells how it went.
        """
        Service.startService(self)
        self._log.info(
            "Node {nodeid} of {nodes} at {address} port {port}, {transport}, {wire}",
            nodeid=self.totem.nodeid,
            nodes=len(self.settings.totem.nodes),
            address=self.settings.totem.bindAddress,
            port=self.settings.totem.port,
            transport=self.settings.totem.transport,
            wire="plain" if self.settings.totem.key is None else "sealed",
        )
        self._startAll().chainDeferred(self.started)

    @inlineCallbacks
    def _startAll(self) -> Generator[Any, Any, None]:
        yield self.manager.start()
        if not self.running:
            return  # Stopped while a service took its time.
        try:
            self.totem.startService()
            if self.ipc is not None:
                self.ipc.startService()
                self._log.info("Clients meet us at {path}", path=self.settings.ipc.path)
        except Exception:
            yield self.stopService()
            raise

    # End.

    @inlineCallbacks
    def stopService(self) -> Generator[Any, Any, None]:
        """
        Wait for what holds the shutdown, then send clients away, say farewell,
        stop the services, leave the ring.  A second call does not let the first
        one wait.

        @return: fires when nothing of it is left.
        """
        Service.stopService(self)
        yield self.manager.prepareStop("the node is asked to stop")
        if self.ipc is not None and self.ipc.running:
            yield maybeDeferred(self.ipc.stopService)
        if self._farewell:
            yield self.manager.parting.say(self._farewell)
        yield self.manager.stop()
        if self.totem.running:
            yield self.totem.stopService()
        self._log.info("Node {nodeid} stopped", nodeid=self.totem.nodeid)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("The ring broke, and this node fell silent", failure=failure)
        reason = f"the ring broke: {failure.getErrorMessage()}"
        # Nothing can move away any more.
        self._end(End(Ending.FAILED, reason, hasty=True))

    def _killed(self, reason: str) -> None:
        """
        Whoever has a process to end does; otherwise we fall silent.
        """
        self._log.critical("This node is {reason}", reason=reason)
        self.onKilled(reason)
        self.totem.silence()
        self._end(End(Ending.KILLED, reason, hasty=True))

    def _end(self, end: End) -> None:
        self._farewell = "" if end.hasty else end.reason
        if end.hasty:
            # The stop that follows does not wait.
            self.manager.prepareStop(end.reason)
        if not self.ended.called:
            self.ended.callback(end)

    # For people.

    def dump(self) -> dict[str, Any]:
        """
        The state of everything, as JSON values.
        """
        configuration = self.manager.configuration
        return {
            "node": {
                "nodeid": self.totem.nodeid,
                "running": bool(self.running),
                "ring": str(configuration.ringId),
                "members": list(configuration.members),
            },
            "totem": self.totem.statistics(),
            "ipc": dict(getattr(self.ipc, "statistics", dict)()),
            "services": dict(self.manager.dump()),
        }
