"""
The cfg service as a client sees it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.engines.operatorinterfaces import (
    Insistence,
    LinkStatus,
    NodeStatus,
    Objection,
    RingStatus,
)
from corotwist.errors import ServiceError
from corotwist.ipc import cfgcommands as commands
from corotwist.ipc.jsonparts import Ask

# May the node stop?
Asked = Callable[[Insistence], bool | Deferred[bool]]


@define(eq=False)
class Operator:
    """
    What an operator may ask of the node, and through it of the cluster.
    """

    _ask: Ask
    _asked: Asked | None = field(default=None, init=False)
    _name: str = field(default="", init=False)
    _log = Logger()

    # Configuration and logs.

    def reload(
        self, *, dryRun: bool = False, force: bool = False, local: bool = False
    ) -> Deferred[dict[str, Any]]:
        """
        Have the configuration read again: see
        L{IOperator.reload<corotwist.engines.operatorinterfaces.IOperator.reload>}.

        @return: fires with the report.  Fails with L{AccessDenied}, L{Busy},
            L{TryAgain} and L{Disconnected}.
        """
        wishes = {"dryRun": dryRun, "force": force, "local": local}
        return Deferred.fromCoroutine(self._reload(**wishes))

    async def _reload(self, **wishes: bool) -> dict[str, Any]:
        answer = await self._ask(commands.Reload, **wishes)
        text, part = answer["json"], 0
        while answer["more"]:
            part += 1
            answer = await self._ask(commands.Report, part=part)
            text += answer["json"]
        report: dict[str, Any] = json.loads(text)
        return report

    def reopenLogs(self) -> Deferred[None]:
        """
        Have the node open its log files anew.

        @return: fires when it has.  Fails with L{AccessDenied} and
            L{Disconnected}.
        """
        return self._done(commands.ReopenLogs)

    def dump(self, reason: str = "asked for") -> Deferred[str]:
        """
        Have the node write its flight recorder to a file.

        @return: fires with its path, on the node's machine.  Fails with
            L{AccessDenied}, L{NotSupported} where there is none, and
            L{Disconnected}.
        """
        return self._value("path", commands.Dump, reason=reason)

    # The end of nodes.

    def killNode(self, nodeid: int, reason: str = "") -> Deferred[None]:
        """
        Have a member of the ring end at once, without a farewell.

        @param reason: at most 255 bytes; every node has it in its log, and in
            its views.
        @return: fires when that is on its way.  Fails with L{AccessDenied},
            L{NotExist} when there is no such member, L{InvalidParameter},
            L{TryAgain} and L{Disconnected}.
        """
        return self._done(commands.Kill, nodeid=nodeid, reason=reason)

    def tryShutdown(
        self, how: Insistence = Insistence.REQUEST
    ) -> Deferred[tuple[Objection, ...]]:
        """
        Stop the node.

        @return: fires as soon as it is certain, with those who objected in
            vain.  Fails with L{Vetoed} when somebody objects, L{Exists} when
            somebody else has asked already and answers are missing,
            L{AccessDenied}, L{InvalidParameter}, L{TryAgain} and
            L{Disconnected}.
        """
        told = self._value("objections", commands.TryShutdown, how=how)
        return told.addCallback(lambda all_: tuple(Objection(**one) for one in all_))

    def trackShutdown(self, asked: Asked, name: str | None = None) -> Deferred[None]:
        """
        Be asked before the node stops, until L{untrackShutdown}, through all
        connections.

        @param asked: called with how much somebody wants it; says whether we
            agree, or will.  Whatever it raises is a no.
        @param name: of this program, for whoever hears that it objects.
        @return: fires when the node knows.  Fails with L{Exists} and
            L{Disconnected}.
        """
        self._name = Path(sys.argv[0]).name if name is None else name
        tracked = self._done(commands.TrackShutdown, name=self._name)
        return tracked.addCallback(self._tracked, asked)

    def _tracked(self, _: None, asked: Asked) -> None:
        self._asked = asked

    def untrackShutdown(self) -> Deferred[None]:
        """
        Do not mind any more.

        @return: fires when the node knows.  Fails with L{NotExist} and
            L{Disconnected}.
        """
        self._asked = None
        return self._done(commands.UntrackShutdown)

    # How nodes are.

    def nodeStatus(self, nodeid: int = 0) -> Deferred[NodeStatus]:
        """
        How a node is, as ours sees it.

        @param nodeid: 0 for our own.
        @return: fails with L{NotExist} and L{Disconnected}.
        """
        told = self._value("status", commands.NodeStatusGet, nodeid=nodeid)
        return told.addCallback(_nodeStatus)

    def ringStatus(self) -> Deferred[tuple[RingStatus, ...]]:
        """
        The links of the node.

        @return: fails with L{Disconnected}.
        """
        told = self._value("links", commands.RingStatusGet)
        return told.addCallback(lambda all_: tuple(RingStatus(**one) for one in all_))

    def nodeAddresses(self, nodeid: int = 0) -> Deferred[tuple[str, ...]]:
        """
        The addresses that are configured for a node, by link.

        @param nodeid: 0 for our own.
        @return: fails with L{NotExist} and L{Disconnected}.
        """
        told = self._value("addresses", commands.NodeAddresses, nodeid=nodeid)
        return told.addCallback(tuple)

    def localGet(self) -> Deferred[int]:
        """
        The nodeid of the node.

        @return: fails with L{Disconnected}.
        """
        return self._value("nodeid", commands.LocalGet)

    # For the connection.

    def responders(self) -> dict[type[amp.Command], Callable[..., object]]:
        """
        The notifications that are ours.
        """
        return {
            commands.ShutdownProposed: self._shutdownProposed,
            commands.ShutdownWithdrawn: lambda: None,
        }

    def connected(self) -> None:
        """
        To a node that knows nothing of us.
        """
        if self._asked is not None:
            tracked = self._ask(commands.TrackShutdown, name=self._name)
            tracked.addErrback(self._notTold, "that we are to be asked")

    def _shutdownProposed(self, how: int) -> None:
        if self._asked is not None:
            agreed: Deferred[Any] = maybeDeferred(self._asked, Insistence(how))
            agreed.addErrback(self._failed).addCallback(self._reply)

    def _failed(self, failure: Failure) -> bool:
        self._log.failure("An application failed when asked", failure=failure)
        return False

    def _reply(self, yes: bool) -> None:
        said = self._ask(commands.ReplyToShutdown, yes=bool(yes))
        said.addErrback(self._notTold, "our answer")

    def _notTold(self, failure: Failure, what: str) -> None:
        failure.trap(ServiceError)
        self._log.info(
            "The node does not hear {what}: {error}", what=what, error=failure.value
        )

    # Asking.

    def _done(self, command: type[amp.Command], **arguments: Any) -> Deferred[None]:
        return self._ask(command, **arguments).addCallback(lambda _: None)

    def _value(
        self, name: str, command: type[amp.Command], **arguments: Any
    ) -> Deferred[Any]:
        return self._ask(command, **arguments).addCallback(lambda told: told[name])


def _nodeStatus(told: dict[str, Any]) -> NodeStatus:
    links = tuple(LinkStatus(**link) for link in told.pop("links"))
    return NodeStatus(links=links, **told)
