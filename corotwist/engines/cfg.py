"""
What operators ask of nodes: to read their configuration again, together, to open
their log files anew, to end, and how they are.
"""

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.base import Engine
from corotwist.engines.executive import (
    CFG,
    LONGEST_REASON,
    CryptoReconfigure,
    KillNode,
    Reload,
    RingReenable,
    Shutdown,
)
from corotwist.engines.nodestatus import Statuses
from corotwist.engines.operatorinterfaces import (
    Insistence,
    IOperator,
    IShutdownTracker,
    NodeStatus,
    Objection,
    RingStatus,
)
from corotwist.engines.rekeying import KIND as REKEYING
from corotwist.engines.rekeying import Rekeying
from corotwist.engines.reloads import Reloads, Report
from corotwist.engines.shutdown import ShutdownTalks
from corotwist.engines.tosend import ToSend
from corotwist.errors import Busy, InvalidParameter, NotExist, TryAgain, UnknownFrame
from corotwist.interfaces import IReconfigurable, IReplaceable
from corotwist.totem.membership import Configuration

_STOPS: Final = "the node stops"


@implementer(IOperator, IReplaceable, IReconfigurable)
class OperatorEngine(Engine):
    """
    The cfg service, with corosync's messages: each of them is understood from
    real nodes, and by them.  What takes more than a message has a module of its
    own.
    """

    name = "cfg"
    serviceId = CFG

    _statuses: Statuses

    def __init__(self) -> None:
        self._log = Logger()
        self._toSend = ToSend()
        self._reloads = Reloads()
        self._rekeying = Rekeying()
        self._shutdown = ShutdownTalks(self._announceShutdown)

    def initialize(self, cluster: Any, settings: Any) -> None:
        super().initialize(cluster, settings)
        for part in (self._toSend, self._reloads, self._rekeying, self._shutdown):
            part.cluster = cluster
        self._rekeying.begin(settings.totem.key)
        self._statuses = Statuses(cluster)

    def shutdown(self) -> bool:
        self._shutdown.stop()
        self._reloads.stop()
        self._toSend.stop(TryAgain(_STOPS))
        return True

    def dump(self) -> Mapping[str, Any]:
        return {
            **self._reloads.status(),
            **self._shutdown.status(),
            "key": self._rekeying.step.name.lower(),
        }

    # Live replacement.

    def handOver(self) -> Any:
        if self._reloads.busy:
            raise Busy("a reload is on its way")
        if self._shutdown.busy:
            raise Busy("a shutdown is on its way")
        if self._toSend:
            raise Busy("a request waits to be sent")
        if self._rekeying.busy:
            raise Busy("the key is being changed")
        return {
            "number": self._reloads.number,
            "trackers": tuple(self._shutdown.trackers),
        }

    def takeOver(self, state: Any, version: int) -> None:
        self._reloads.number = state["number"]
        for tracker in state.get("trackers", ()):
            self._shutdown.track(tracker)

    # From local clients: configuration and logs.

    def reload(
        self, *, dryRun: bool = False, force: bool = False, local: bool = False
    ) -> Deferred[Report]:
        return self._reloads.reload(dryRun=dryRun, force=force, local=local)

    def reopenLogs(self) -> None:
        self.cluster.operations.reopenLogs()

    def dumpLogs(self, reason: str) -> Deferred[str]:
        path: Deferred[str] = self.cluster.operations.dumpLogs(reason)
        return path

    # The end of nodes.

    def killNode(self, nodeid: int, reason: str) -> Deferred[None]:
        text = reason.encode()
        if len(text) >= LONGEST_REASON or b"\0" in text:
            longest = LONGEST_REASON - 1
            return fail(
                InvalidParameter(f"a reason has at most {longest} bytes, and no zeros")
            )
        if nodeid not in self.cluster.members():
            return fail(NotExist(f"node {nodeid} is no member of this ring"))
        return self._toSend.send(KillNode.FUNCTION, KillNode(nodeid, text).encode())

    def tryShutdown(self, how: Insistence, who: str) -> Deferred[tuple[Objection, ...]]:
        return self._shutdown.propose(how, who)

    def _announceShutdown(self) -> None:
        # Without it, whoever talks about the shutdown knows when to give up.
        sent = self._toSend.send(Shutdown.FUNCTION, Shutdown().encode())
        sent.addErrback(lambda _: None)

    def trackShutdown(self, tracker: IShutdownTracker) -> None:
        self._shutdown.track(tracker)

    def untrackShutdown(self, tracker: IShutdownTracker) -> None:
        self._shutdown.untrack(tracker)

    def replyToShutdown(self, tracker: IShutdownTracker, *, yes: bool) -> None:
        self._shutdown.reply(tracker, yes=yes)

    # Other settings.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        Any will do.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        self._rekeying.keyChanged(settings.totem.key)

    # How nodes are.

    def nodeStatus(self, nodeid: int) -> NodeStatus:
        return self._statuses.node(nodeid)

    def ringStatus(self) -> tuple[RingStatus, ...]:
        return self._statuses.ring()

    def nodeAddresses(self, nodeid: int) -> tuple[str, ...]:
        return self._statuses.addresses(nodeid)

    def localNodeid(self) -> int:
        nodeid: int = self.cluster.nodeid
        return nodeid

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        if not configuration.transitional:
            self._reloads.membershipChanged()
            self._rekeying.membershipChanged()

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        match function:
            case KillNode.FUNCTION:
                self._killDelivered(nodeid, KillNode.decode(body, byteOrder))
            case Shutdown.FUNCTION:
                Shutdown.decode(body, byteOrder)
                self.cluster.nodeStops(nodeid)
                self._shutdown.shutdownDelivered(nodeid)
            case Reload.FUNCTION:
                self._reloads.reloadDelivered(nodeid, Reload.decode(body, byteOrder))
            case RingReenable.FUNCTION | CryptoReconfigure.FUNCTION:
                # The first means nothing; with the second its sender talks to
                # itself.  Among ourselves it is L{Rekeying}.
                pass
            case _:
                raise UnknownFrame(f"cfg has no function {function}")

    def _killDelivered(self, by: int, message: KillNode) -> None:
        reason = message.reason.decode(errors="replace")
        self._log.warn(
            "Node {by} has node {nodeid} killed: {reason}",
            by=by,
            nodeid=message.nodeid,
            reason=reason or "no reason given",
        )
        self.cluster.nodeKilled(message.nodeid, by, reason)

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        if body[:1] == bytes([REKEYING]):
            self._rekeying.delivered(nodeid, body)
        else:
            self._reloads.compactDelivered(nodeid, body)

    def compactMissed(self, body: bytes) -> None:
        """
        The ring changed: whoever waited for it was told so.
        """
