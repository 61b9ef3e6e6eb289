"""
A node's configuration while it runs: read again, asked of everybody, and applied
as a whole or not at all.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.build import Built
from corotwist.config.database import Database
from corotwist.config.keypaths import SECTIONS
from corotwist.config.reload import Outcome, Plan, Verdict, planChange, planReload
from corotwist.config.settings import NodeSettings
from corotwist.config.values import i32, string, u8
from corotwist.errors import (
    Busy,
    ConfigurationError,
    InvalidParameter,
    NotSupported,
    Problem,
    ServiceError,
)
from corotwist.interfaces import IOperations, IReconfigurable

# Of the problems in a report.
PROBLEMS_SHOWN: Final = 100
# For the files to be read, and names in them to be resolved.
READING_SECONDS: Final = 20.0
# Of the outcomes in a report: a longer one is no help.
OUTCOMES_SHOWN: Final = 200

# Clients write these through us.
FOLLOWED: Final = ("totem.", "quorum.", "logging.", "uidgid.")
# What settings follow from.
SETTLING: Final = (*SECTIONS, "uidgid.uid.", "uidgid.gid.")
# Orders to an engine, which are no options.
_ORDERS: Final = frozenset({"quorum.cancel_wait_for_all"})

_IN_PROGRESS: Final = (
    "config.reload_in_progress",
    "config.totemconfig_reload_in_progress",
)
_STATUS: Final = "config.reload_status"
_MESSAGE: Final = "config.reload_error_message"
_LONGEST_MESSAGE: Final = 4096
# Corosync's numbers.
_OK: Final = 1
_INVALID: Final = 7

Read = Callable[[], Built | Deferred[Built]]
Save = Callable[[tuple[tuple[str, Any], ...]], Deferred[str]]
Components = Callable[[], Iterable[IReconfigurable]]


class _Rehearsed(Exception):
    """
    Nobody minds.
    """


@define(eq=False)
class Proposal:
    """
    What a reload would do.
    """

    plan: Plan

    @property
    def refused(self) -> bool:
        """
        May it not be applied?
        """
        return bool(self.plan.problems)

    @property
    def report(self) -> dict[str, Any]:
        """
        For people, as JSON values.
        """
        outcomes, problems = self.plan.outcomes, self.plan.problems
        told = [str(problem) for problem in problems[:PROBLEMS_SHOWN]]
        if len(problems) > PROBLEMS_SHOWN:
            told.append(f"and {len(problems) - PROBLEMS_SHOWN} more")
        return {
            "refused": self.refused,
            "restart": self.plan.needsRestart(),
            "problems": told,
            "keys": [one.report() for one in outcomes[:OUTCOMES_SHOWN]],
            "more": max(0, len(outcomes) - OUTCOMES_SHOWN),
        }


@implementer(IOperations)
class Reloader:
    """
    The settings in force, and the one way in which they change.

    @ivar settings: in force.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: NodeSettings,
        database: Database,
        components: Components,
        *,
        read: Read | None = None,
        save: Save | None = None,
        logs: Any = None,
    ) -> None:
        """
        @param components: who has to agree, and to change.
        @param read: reads the files again; L{None} when there are none.
        @param save: writes keys to the file; L{None} when there is none.
        @param logs: has C{reopen} and C{dump}, or is L{None}.
        """
        self.settings = settings
        self._clock = clock
        self._database = database
        self._components = components
        self._read = read
        self._save = save
        self._logs = logs
        self._reading = False
        self._proposal: Proposal | None = None

    # Keys that are written.

    def follows(self, name: str) -> bool:
        return name.startswith(FOLLOWED) and name not in _ORDERS

    def changed(self, changes: Mapping[str, Any]) -> None:
        if self._busy():
            raise Busy("a reload is on its way")
        plan = self._asked(planChange(self.settings, self._keys(), changes))
        if plan.problems:
            raise InvalidParameter(
                "; ".join(f"{one.key}: {one.text}" for one in plan.problems)
            )
        self._write(changes)
        self._change(plan)

    # Files that are read again.

    def propose(self, *, force: bool = False) -> Deferred[Proposal]:
        if self._busy():
            return fail(Busy("a reload is on its way"))
        if self._read is None:
            return fail(NotSupported("this node was not started from a file"))
        self._reading = True
        built = maybeDeferred(self._read)
        built.addTimeout(READING_SECONDS, self._clock)
        planned = built.addCallbacks(
            self._planned, self._unread, callbackKeywords={"force": force}
        )
        return planned.addCallback(self._proposed).addBoth(self._readEnded)

    def _planned(self, built: Built, *, force: bool) -> Plan:
        plan = planReload(self.settings, self._keys(), built, force=force)
        return self._asked(plan)

    def _unread(self, failure: Failure) -> Plan:
        self._log.failure("The configuration was not read", failure=failure)
        text = f"not read: {failure.value!r}"
        file = next(iter(self.settings.sources), "the configuration")
        return Plan(self.settings, problems=(Problem(file, 0, "reload", text),))

    def _proposed(self, plan: Plan) -> Proposal:
        self._proposal = Proposal(plan)
        return self._proposal

    def _readEnded(self, result: Any) -> Any:
        """
        Whatever came of it.
        """
        self._reading = False
        return result

    def apply(self, proposal: Proposal) -> None:
        assert proposal is self._proposal, "the one that was proposed last"
        assert not proposal.refused, "somebody said no"
        self._proposal = None
        self._progress(1)
        self._write(proposal.plan.changes())
        self._change(proposal.plan)
        self._tell(proposal.plan.outcomes)
        self._ended(_OK, "")

    def abandon(self, proposal: Proposal, reason: str = "") -> None:
        assert proposal is self._proposal, "the one that was proposed last"
        self._proposal = None
        if reason:
            why = "; ".join([reason, *map(str, proposal.plan.problems)])
            self._log.error("Nothing was reloaded: {why}", why=why)
            self._progress(1)
            self._ended(_INVALID, why)

    def _ended(self, status: int, message: str) -> None:
        with self._database.map.transaction():
            self._database.map.set(_STATUS, i32(status))
            self._database.map.set(_MESSAGE, string(message[:_LONGEST_MESSAGE]))
        self._progress(0)

    def reload(self, *, dryRun: bool = False, force: bool = False) -> Deferred[Any]:
        return self.propose(force=force).addCallback(self._decided, dryRun=dryRun)

    def _decided(self, proposal: Proposal, *, dryRun: bool) -> dict[str, Any]:
        if proposal.refused or dryRun:
            self.abandon(proposal, "" if dryRun else "refused")
        else:
            self.apply(proposal)
        return proposal.report

    def save(self) -> Deferred[str]:
        if self._save is None:
            return fail(NotSupported("this node was not started from a file"))
        if self._busy():
            return fail(Busy("a reload is on its way"))
        return self._save(self._database.map.items())

    # Log files.

    def reopenLogs(self) -> None:
        if self._logs is not None:
            self._logs.reopen()

    def dumpLogs(self, reason: str) -> Deferred[str]:
        if self._logs is None:
            return fail(NotSupported("this node keeps no flight recorder"))
        path: Deferred[str] = self._logs.dump(reason)
        return path

    # The steps.

    def _busy(self) -> bool:
        return self._reading or self._proposal is not None

    def _keys(self) -> dict[str, Any]:
        """
        Those that may matter; clients can have any number of others.
        """
        items = self._database.map.items
        return {key: value for prefix in SETTLING for key, value in items(prefix)}

    def _asked(self, plan: Plan) -> Plan:
        """
        The plan, with everything that anybody has against it.
        """
        if plan.problems:
            return plan
        problems = self._rehearsed(plan.changes())
        for component in self._components():
            try:
                component.reconfigurationProposed(plan.settings)
            except ConfigurationError as error:
                problems += error.problems
            except Exception as error:  # noqa: BLE001 - Whatever it is, it objects.
                self._log.failure("{component} was asked", component=component)
                problems.append(Problem("", 0, "reload", f"{component}: {error!r}"))
        return plan.refusing(problems)

    def _rehearsed(self, changes: Mapping[str, Any]) -> list[Problem]:
        """
        Write everything, and take it back: who watches over a key may object.
        """
        try:
            with suppress(_Rehearsed), self._database.map.transaction():
                self._write(changes)
                raise _Rehearsed
        except ServiceError as error:
            return [Problem("", 0, "reload", str(error))]
        return []

    def _write(self, changes: Mapping[str, Any]) -> None:
        keys, present = self._database.map, self._keys()
        with keys.transaction():
            for name, value in changes.items():
                if value is not None:
                    keys.set(name, value)
                elif name in present:
                    keys.delete(name)

    def _change(self, plan: Plan) -> None:
        """
        Everybody agreed.
        """
        self.settings = plan.settings
        for component in self._components():
            try:
                component.reconfigured(plan.settings)
            except Exception:  # noqa: BLE001 - The others have to follow anyway.
                self._log.failure("{component} did not follow", component=component)

    def _progress(self, value: int) -> None:
        with self._database.map.transaction():
            for name in _IN_PROGRESS:
                self._database.map.set(name, u8(value))

    def _tell(self, outcomes: Iterable[Outcome]) -> None:
        counts = dict.fromkeys(Verdict, 0)
        for one in outcomes:
            counts[one.verdict] += 1
            if one.verdict is Verdict.RESTART:
                self._log.warn("{key} needs a restart", key=one.key)
        self._log.info(
            "Reloaded: {applied} values applied, {restart} need a restart",
            applied=counts[Verdict.APPLIED],
            restart=counts[Verdict.RESTART],
        )
