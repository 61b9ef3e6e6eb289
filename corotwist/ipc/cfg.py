"""
The cfg service for one local client: who may ask what, and the answers.
"""

from collections.abc import Callable
from os import geteuid
from typing import Any, Protocol

from attrs import asdict, define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.protocols import amp
from zope.interface import implementer

from corotwist.engines.operatorinterfaces import (
    Insistence,
    IOperator,
    IShutdownTracker,
    Objection,
)
from corotwist.errors import Exists, InvalidParameter, NotExist
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.cfgcommands import (
    LONGEST_NAME,
    Dump,
    Kill,
    LocalGet,
    NodeAddresses,
    NodeStatusGet,
    Reload,
    ReopenLogs,
    ReplyToShutdown,
    Report,
    RingStatusGet,
    ShutdownProposed,
    ShutdownWithdrawn,
    TrackShutdown,
    TryShutdown,
    UntrackShutdown,
)
from corotwist.ipc.jsonparts import Taken


class Client(Protocol):
    """
    Who asks, as the kernel says.
    """

    pid: int
    uid: int

    def tell(self, command: type[amp.Command], **arguments: Any) -> None:
        """
        Send an event.
        """

    def atEnd(self, callback: Callable[[], object]) -> None:
        """
        Call when the client is gone.
        """


@implementer(IShutdownTracker)
@define(eq=False)
class Tracker:
    """
    A client that wants to be asked.
    """

    name: str
    _client: Client

    @property
    def pid(self) -> int:
        """
        The client's.
        """
        return self._client.pid

    def shutdownProposed(self, how: Insistence) -> None:
        self._client.tell(ShutdownProposed, how=how)

    def shutdownWithdrawn(self) -> None:
        self._client.tell(ShutdownWithdrawn)


class OperatorLocator(amp.CommandLocator):
    """
    Anybody may look, and may be asked about a shutdown.  What changes a node,
    only root and the daemon's own user may ask for.
    """

    _log = Logger()

    def __init__(
        self, operator: IOperator, client: Client, ours: Callable[[], int] = geteuid
    ) -> None:
        """
        @param ours: the daemon's user.
        """
        super().__init__()
        self._operator = operator
        self._client = client
        self._ours = ours
        self._told = Taken()
        self._tracker: Tracker | None = None

    def _check(self, what: str) -> None:
        """
        @raise AccessDenied: the client may not; otherwise it is on record.
        """
        client = self._client
        checkAdministrator(client, self._ours)
        self._log.info(
            "Process {pid} of user {uid} asks to {what}",
            pid=client.pid,
            uid=client.uid,
            what=what,
        )

    # Configuration and logs.

    @Reload.responder
    def _reload(
        self,
        dryRun: bool | None = None,
        force: bool | None = None,
        local: bool | None = None,
    ) -> Deferred[dict[str, Any]]:
        self._check("reload the configuration")
        report = self._operator.reload(
            dryRun=bool(dryRun), force=bool(force), local=bool(local)
        )
        return report.addCallback(self._told.first)

    @Report.responder
    def _report(self, part: int) -> dict[str, Any]:
        return self._told.later(part)

    @ReopenLogs.responder
    def _reopenLogs(self) -> dict[str, Any]:
        self._check("reopen the logs")
        self._operator.reopenLogs()
        return {}

    @Dump.responder
    def _dump(self, reason: str | None = None) -> Deferred[dict[str, Any]]:
        self._check("dump the flight recorder")
        written = self._operator.dumpLogs(reason or "asked for")
        return written.addCallback(lambda path: {"path": path})

    # The end of nodes.

    @Kill.responder
    def _kill(self, nodeid: int, reason: str | None = None) -> Deferred[dict[str, Any]]:
        self._check(f"kill node {nodeid}: {reason or 'no reason given'}")
        sent = self._operator.killNode(nodeid, reason or "")
        return sent.addCallback(lambda _: {})

    @TryShutdown.responder
    def _tryShutdown(self, how: int) -> Deferred[dict[str, Any]]:
        try:
            insistence = Insistence(how)
        except ValueError:
            raise InvalidParameter(f"a shutdown of kind {how}") from None
        self._check(f"stop this node ({insistence.name.lower()})")
        who = f"process {self._client.pid} of user {self._client.uid}"
        agreed = self._operator.tryShutdown(insistence, who)
        return agreed.addCallback(_objected)

    @TrackShutdown.responder
    def _trackShutdown(self, name: str | None = None) -> dict[str, Any]:
        if self._tracker is not None:
            raise Exists("this client is asked already")
        tracker = Tracker((name or "")[:LONGEST_NAME], self._client)
        self._operator.trackShutdown(tracker)
        self._tracker = tracker
        self._client.atEnd(self._gone)
        return {}

    def _gone(self) -> None:
        if self._tracker is not None:
            self._untrackShutdown()

    @UntrackShutdown.responder
    def _untrackShutdown(self) -> dict[str, Any]:
        if self._tracker is None:
            raise NotExist("this client is not asked about shutdowns")
        tracker, self._tracker = self._tracker, None
        self._operator.untrackShutdown(tracker)
        return {}

    @ReplyToShutdown.responder
    def _replyToShutdown(self, yes: bool) -> dict[str, Any]:
        if self._tracker is None:
            raise NotExist("this client is not asked about shutdowns")
        self._operator.replyToShutdown(self._tracker, yes=yes)
        return {}

    # How nodes are.

    @NodeStatusGet.responder
    def _nodeStatus(self, nodeid: int) -> dict[str, Any]:
        return {"status": asdict(self._operator.nodeStatus(nodeid))}

    @RingStatusGet.responder
    def _ringStatus(self) -> dict[str, Any]:
        return {"links": [asdict(link) for link in self._operator.ringStatus()]}

    @NodeAddresses.responder
    def _nodeAddresses(self, nodeid: int) -> dict[str, Any]:
        return {"addresses": list(self._operator.nodeAddresses(nodeid))}

    @LocalGet.responder
    def _localGet(self) -> dict[str, Any]:
        return {"nodeid": self._operator.localNodeid()}


def _objected(objections: tuple[Objection, ...]) -> dict[str, Any]:
    return {"objections": [asdict(one) for one in objections]}
