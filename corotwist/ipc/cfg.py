"""
What operators ask of nodes, for local clients: reading the configuration again,
opening log files anew, writing down the flight recorder.
"""

import json
from collections.abc import Callable
from os import geteuid
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.protocols import amp

from corotwist.engines.interfaces import IOperator
from corotwist.errors import NotExist
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.wire import ERRORS, Unsigned, parts

Ask = Callable[..., Deferred[dict[str, Any]]]


class Reload(amp.Command):
    """
    Have the cluster read its configuration again; answered when it is over,
    with the beginning of a report in JSON.
    """

    commandName = b"cfg.reload"
    arguments = [
        (b"dryRun", amp.Boolean(optional=True)),
        (b"force", amp.Boolean(optional=True)),
        (b"local", amp.Boolean(optional=True)),
    ]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Report(amp.Command):
    """
    A further part of the report of our last reload; the first is part 0.
    """

    commandName = b"cfg.report"
    arguments = [(b"part", Unsigned(32))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class ReopenLogs(amp.Command):
    """
    Have this node open its log files anew.
    """

    commandName = b"cfg.reopenLogs"
    errors = ERRORS


class Dump(amp.Command):
    """
    Have this node write its flight recorder to a file.
    """

    commandName = b"cfg.dump"
    arguments = [(b"reason", amp.Unicode(optional=True))]
    response = [(b"path", amp.Unicode())]
    errors = ERRORS


class Client(Protocol):
    """
    Who asks, as the kernel says.
    """

    pid: int
    uid: int


class OperatorLocator(amp.CommandLocator):
    """
    What a client of root or of the daemon's own user may ask; others may not.
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
        self._told: list[tuple[bytes, bool]] = []

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
        return report.addCallback(self._reported)

    def _reported(self, report: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(report, sort_keys=True).encode()
        self._told = [(data, more) for _, more, data in parts(text)]
        return self._report(0)

    @Report.responder
    def _report(self, part: int) -> dict[str, Any]:
        if part >= len(self._told):
            raise NotExist(f"there is no part {part}")
        data, more = self._told[part]
        return {"json": data, "more": more}

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


@frozen
class Operator:
    """
    What an operator may ask of the node, and through it of the cluster.
    """

    _ask: Ask

    async def _reload(self, **wishes: bool) -> dict[str, Any]:
        answer = await self._ask(Reload, **wishes)
        text, part = answer["json"], 0
        while answer["more"]:
            part += 1
            answer = await self._ask(Report, part=part)
            text += answer["json"]
        report: dict[str, Any] = json.loads(text)
        return report

    def reload(
        self, *, dryRun: bool = False, force: bool = False, local: bool = False
    ) -> Deferred[dict[str, Any]]:
        """
        Have the configuration read again: see L{IOperator.reload}.

        @return: fires with the report.  Fails with L{AccessDenied}, L{Busy},
            L{TryAgain} and L{Disconnected}.
        """
        wishes = {"dryRun": dryRun, "force": force, "local": local}
        return Deferred.fromCoroutine(self._reload(**wishes))

    async def _reopenLogs(self) -> None:
        await self._ask(ReopenLogs)

    def reopenLogs(self) -> Deferred[None]:
        """
        Have the node open its log files anew.

        @return: fires when it has.  Fails with L{AccessDenied} and
            L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._reopenLogs())

    async def _dump(self, reason: str) -> str:
        answer = await self._ask(Dump, reason=reason)
        path: str = answer["path"]
        return path

    def dump(self, reason: str = "asked for") -> Deferred[str]:
        """
        Have the node write its flight recorder to a file.

        @return: fires with its path, on the node's machine.  Fails with
            L{AccessDenied}, L{NotSupported} where there is none, and
            L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._dump(reason))
