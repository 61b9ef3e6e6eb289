"""
Reloads of the configuration, of one node or of all together.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from corotwist.engines.executive import Reload
from corotwist.engines.reloadwire import (
    LARGEST_REPORT_BYTES,
    Id,
    Kind,
    ReloadMessage,
    Wish,
)
from corotwist.errors import Busy, ServiceError, TryAgain
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Guarantee

# For every node to read its files and report.
REPORTING_NS: Final = 30_000_000_000
# After so long anybody ends a reload that whoever asked did not end.
ABANDONED_NS: Final = 2 * REPORTING_NS

# Clients of ours that may wait for the end of a reload.
MOST_ASKED: Final = 16

_STOPS: Final = "the node stops"
_CHANGED: Final = "the membership changed in the middle"
_NO_REPORT: Final = "a node of corosync: it reads its own file, and does not report"

Report = dict[str, Any]


@define(eq=False)
class Round:
    """
    One reload of the cluster, as every member sees it.

    @ivar proposal: what we would do, when we know it.
    @ivar reports: what each node would do.
    @ivar patience: our timer, in case that whoever asked is not there any more.
    """

    reload: Id
    wish: Wish
    proposal: Any = None
    reports: dict[int, Report] = field(factory=dict)
    refused: bool = False
    patience: Any = None


@define(eq=False)
class Asked:
    """
    A client of ours that waits for the end of a reload.

    @ivar patience: our timer, from the beginning on.
    """

    wish: Wish
    answer: Deferred[Report]
    patience: Any = None


class Reloads:
    """
    Among corotwist nodes a reload has two steps.  A proposal makes every member
    read its files, ask whoever would have to change, and report.  The last of
    the reports decides, at the same place in the order on every member: all of
    them apply what they proposed, or none.  A change of the membership before
    that means none.

    With real corosync nodes in the ring it is corosync's message, and everybody
    for himself.

    @ivar cluster: set when the engine is initialized.
    @ivar number: of the last reload that was asked for here.
    """

    cluster: ICluster

    def __init__(self) -> None:
        self._log = Logger()
        self.number = 0
        self._round: Round | None = None
        self._asked: dict[Id, Asked] = {}

    def stop(self) -> None:
        """
        The engine stops.
        """
        self._giveUp(_STOPS)
        for reload in tuple(self._asked):
            self._fail(reload, TryAgain(_STOPS))

    def status(self) -> Mapping[str, Any]:
        """
        For people.
        """
        running = self._round
        return {
            "reloads": self.number,
            "reload": running
            and {"of": list(running.reload), "reported": sorted(running.reports)},
        }

    @property
    def busy(self) -> bool:
        """
        Is one on its way?
        """
        return self._round is not None or bool(self._asked)

    # From local clients.

    def reload(
        self, *, dryRun: bool = False, force: bool = False, local: bool = False
    ) -> Deferred[Report]:
        """
        See L{corotwist.engines.operatorinterfaces.IOperator.reload}.
        """
        if local:
            return self._alone(dryRun=dryRun, force=force)
        if len(self._asked) >= MOST_ASKED:
            return fail(TryAgain(f"{MOST_ASKED} reloads are asked for already"))
        self.number += 1
        reload = (self.cluster.nodeid, self.number)
        wish = Wish.DRY_RUN * dryRun | Wish.FORCE * force
        asked = self._asked[reload] = Asked(Wish(wish), Deferred())
        self._begin(reload, asked)
        return asked.answer

    def _begin(self, reload: Id, asked: Asked) -> None:
        """
        When the services are in step, and there is room.
        """
        if reload not in self._asked:
            return  # The node stops.
        try:
            begun = not self.cluster.synchronizing()
            if begun:
                self._propose(reload, asked)
        except TryAgain:
            begun = False
        if not begun:
            self.cluster.whenRoom(lambda: self._begin(reload, asked))

    def _propose(self, reload: Id, asked: Asked) -> None:
        if self.cluster.compact():
            self._multicast(ReloadMessage.proposal(reload, asked.wish))
        elif Wish.DRY_RUN in asked.wish:
            del self._asked[reload]
            force = Wish.FORCE in asked.wish
            self._alone(dryRun=True, force=force).chainDeferred(asked.answer)
            return
        else:
            self.cluster.multicast(Reload.FUNCTION, Reload(*reload).encode())
        asked.patience = self.cluster.callAfter(
            REPORTING_NS, lambda: self._patienceEnded(reload)
        )

    def _alone(self, *, dryRun: bool, force: bool) -> Deferred[Report]:
        """
        This node and no other.
        """
        own: Deferred[Report] = self.cluster.operations.reload(
            dryRun=dryRun, force=force
        )
        return own.addCallback(
            lambda report: _concluded({self.cluster.nodeid: report}, dryRun=dryRun)
        )

    # From the ring, among corosync nodes.

    def reloadDelivered(self, nodeid: int, message: Reload) -> None:
        """
        Everybody for himself.
        """
        self._log.info("Node {nodeid} has every node reload", nodeid=nodeid)
        ours = nodeid == self.cluster.nodeid
        reload = (nodeid, message.connection) if ours else None
        self.cluster.operations.reload().addBoth(self._reloadedAlone, reload)

    def _reloadedAlone(self, result: Report | Failure, reload: Id | None) -> None:
        if isinstance(result, Failure):
            result = _failed(result)
        if reload in self._asked and reload is not None:
            others: dict[int, Report] = {
                nodeid: {"unknown": _NO_REPORT} for nodeid in self.cluster.members()
            }
            others[self.cluster.nodeid] = result
            self._answer(reload, _concluded(others, dryRun=False))

    # From the ring, among ourselves.

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        """
        A step of a reload together.
        """
        message = ReloadMessage.decode(body)
        if message.kind is Kind.PROPOSAL:
            self._proposalDelivered(nodeid, message)
        elif self._round is None or self._round.reload != message.reload:
            return  # It is over.
        elif message.kind is Kind.REPORT:
            self._reportDelivered(self._round, nodeid, message)
        else:
            self._end(self._round, message.text.decode(errors="replace"))

    def _proposalDelivered(self, nodeid: int, message: ReloadMessage) -> None:
        if self._round is not None or nodeid != message.reload[0]:
            self._fail(message.reload, Busy("another reload is on its way"))
            return
        self._log.info("Node {nodeid} has all nodes reload", nodeid=nodeid)
        running = self._round = Round(message.reload, message.wish)
        running.patience = self.cluster.callAfter(
            ABANDONED_NS, lambda: self._sayEnd(running)
        )
        force = Wish.FORCE in message.wish
        self.cluster.operations.propose(force=force).addBoth(self._proposed, running)

    def _proposed(self, result: Any, running: Round) -> None:
        """
        We know what we would do.
        """
        failed = isinstance(result, Failure)
        if running is not self._round:
            if not failed:
                self.cluster.operations.abandon(result, _CHANGED)
            return
        running.proposal = None if failed else result
        report = _failed(result) if failed else result.report
        self._report(running, ReloadMessage.report(running.reload, _fitting(report)))

    def _report(self, running: Round, message: ReloadMessage) -> None:
        """
        As soon as there is room.  Safe: who decides by it knows that all have
        it, and will decide the same.
        """
        self._send(message, lambda: running is self._round)

    def _reportDelivered(
        self, running: Round, nodeid: int, message: ReloadMessage
    ) -> None:
        running.reports[nodeid] = {**message.told(), "refused": message.refused}
        running.refused = running.refused or message.refused
        if running.reports.keys() >= {*self.cluster.members()}:
            self._decide(running)

    def _decide(self, running: Round) -> None:
        """
        Every member is here now, and has heard the same.
        """
        self._over(running)
        dryRun = Wish.DRY_RUN in running.wish
        told = _concluded(running.reports, dryRun=dryRun)
        if running.refused or dryRun:
            self._abandon(running, "" if dryRun else told["reason"])
        else:
            self.cluster.operations.apply(running.proposal)
        self._answer(running.reload, told)

    # Ends of another kind.

    def membershipChanged(self) -> None:
        """
        There is another regular configuration.
        """
        self._giveUp(_CHANGED)

    def _patienceEnded(self, reload: Id) -> None:
        """
        The reload that a client of ours asked for takes too long.
        """
        running = self._round
        if running is None or running.reload != reload:
            self._fail(reload, TryAgain("the ring does not deliver"))
        else:
            self._sayEnd(running)

    def _sayEnd(self, running: Round) -> None:
        """
        Somebody does not report: tell everybody, at one place in the order.
        """
        missing = sorted({*self.cluster.members()} - running.reports.keys())
        why = f"nodes {', '.join(map(str, missing))} do not report"
        end = ReloadMessage.end(running.reload, why)
        self._send(end, lambda: running is self._round)

    def _end(self, running: Round, why: str) -> None:
        """
        Nothing changes, anywhere.
        """
        self._over(running)
        self._abandon(running, why)
        dryRun = Wish.DRY_RUN in running.wish
        told = _concluded(running.reports, dryRun=dryRun)
        self._answer(running.reload, {**told, "status": REFUSED, "reason": why})

    def _over(self, running: Round) -> None:
        self._round = None
        self.cluster.cancel(running.patience)

    def _abandon(self, running: Round, why: str) -> None:
        if running.proposal is not None:
            self.cluster.operations.abandon(running.proposal, why)

    def _giveUp(self, why: str) -> None:
        """
        Of all reloads that are on their way, ours and others'.
        """
        if self._round is not None:
            running = self._round
            self._over(running)
            self._abandon(running, why)
        for reload, asked in tuple(self._asked.items()):
            if asked.patience is not None:
                self._fail(reload, TryAgain(why))

    # To clients, and to the others.

    def _answer(self, reload: Id, report: Report) -> None:
        asked = self._asked.pop(reload, None)
        if asked is not None:
            self.cluster.cancel(asked.patience)
            asked.answer.callback(report)

    def _fail(self, reload: Id, error: ServiceError) -> None:
        asked = self._asked.pop(reload, None)
        if asked is not None:
            self.cluster.cancel(asked.patience)
            asked.answer.errback(error)

    def _send(self, message: ReloadMessage, wanted: Callable[[], bool]) -> None:
        """
        Now, or when there is room, if it is still wanted then.
        """
        if not wanted():
            return
        try:
            self._multicast(message)
        except TryAgain:
            self.cluster.whenRoom(lambda: self._send(message, wanted))

    def _multicast(self, message: ReloadMessage) -> None:
        self.cluster.multicastCompact(message.encode(), Guarantee.SAFE)


# What a reload came to.

APPLIED: Final = "applied"
CHECKED: Final = "checked"
REFUSED: Final = "refused"


def _concluded(reports: Mapping[int, Report], *, dryRun: bool) -> Report:
    """
    The reports of all nodes as one.
    """
    refusing = [n for n, report in sorted(reports.items()) if report.get("refused")]
    status = REFUSED if refusing else CHECKED if dryRun else APPLIED
    by = ", ".join(map(str, refusing))
    reason = f"refused by node{'s' if len(refusing) > 1 else ''} {by}"
    return {
        "status": status,
        "reason": reason if refusing else "",
        "restart": any(report.get("restart") for report in reports.values()),
        "nodes": {str(nodeid): report for nodeid, report in sorted(reports.items())},
    }


def _failed(failure: Failure) -> Report:
    """
    A node that cannot even look.
    """
    why = failure.getErrorMessage()
    return {"refused": True, "restart": False, "problems": [why], "keys": [], "more": 0}


def _fitting(report: Report) -> Report:
    """
    A report that others take: fewer keys if it is too long.
    """
    keys = report["keys"]
    while keys and len(json.dumps(report)) > LARGEST_REPORT_BYTES:
        report = {**report, "keys": keys[: len(keys) // 2]}
        report["more"] += len(keys) - len(report["keys"])
        keys = report["keys"]
    return report
