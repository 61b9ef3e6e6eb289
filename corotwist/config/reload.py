"""
What becomes of a running node when its configuration changes: key by key, before
anything is done.

A value that takes effect at once is applied.  One that needs a restart is kept
as it is, in the database too: what is there is in force.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from attrs import evolve, field, frozen

from corotwist.config.build import Built
from corotwist.config.inforce import builtFrom, inForce
from corotwist.config.keypaths import Keys, isOfFiles, pathOf
from corotwist.config.row import Change
from corotwist.config.schema import Schema
from corotwist.config.settings import NodeSettings
from corotwist.errors import Problem

# Of a value in a report.
LONGEST_SHOWN: Final = 200

_VERSION: Final = "totem.config_version"
_SECRET: Final = "totem.key"
# Where the key comes from.
_KEYS: Final = ("totem.keyfile", _SECRET)
_NODES: Final = "nodelist."
_OTHER_NODES: Final = "the node list has other nodes"
_OTHER_NODE: Final = "it would be another node or link"


class Verdict(Enum):
    """
    What becomes of a value that changed.
    """

    APPLIED = "applied"
    IGNORED = "no effect"
    RESTART = "needs restart"
    REFUSED = "refused"


@frozen
class Outcome:
    """
    One key that changed.

    @ivar old: in force until now; L{None} for none.
    @ivar new: L{None} for none.
    @ivar reason: why it is not simply applied.
    """

    key: str
    verdict: Verdict
    old: Any = None
    new: Any = None
    reason: str = ""

    def report(self) -> dict[str, Any]:
        """
        For people, as JSON values.
        """
        return {
            "key": self.key,
            "verdict": self.verdict.value,
            "old": self._shown(self.old),
            "new": self._shown(self.new),
            "reason": self.reason,
        }

    def _shown(self, value: Any) -> str | None:
        if value is None:
            return None
        return "(secret)" if self.key == _SECRET else value.text()[:LONGEST_SHOWN]


@frozen
class Plan:
    """
    All of it.

    @ivar settings: in force afterwards; as before, when something is wrong.
    @ivar outcomes: of the keys that changed, in their order.
    @ivar problems: why nothing at all is done.
    """

    settings: NodeSettings = field(repr=False)
    outcomes: tuple[Outcome, ...] = ()
    problems: tuple[Problem, ...] = ()

    def changes(self) -> dict[str, Any]:
        """
        For the database: values by key, L{None} for those that go.
        """
        return _taken(self.outcomes)

    def needsRestart(self) -> bool:
        """
        Does something wait for a restart?
        """
        return any(one.verdict is Verdict.RESTART for one in self.outcomes)

    def refusing(self, problems: Iterable[Problem]) -> "Plan":
        """
        The same, but somebody said no.
        """
        return evolve(self, problems=(*self.problems, *problems))


def planReload(
    running: NodeSettings, present: Keys, built: Built, *, force: bool = False
) -> Plan:
    """
    The files were read again.

    @param running: the settings in force.
    @param present: all keys of the database.
    @param built: what the files say now.
    @param force: take an older C{config_version}, too.
    """
    if built.settings is None:
        return Plan(running, problems=built.problems)
    old = {key: value for key, value in present.items() if isOfFiles(key)}
    outcomes = _compared(old, {k: v for k, v in built.keys if isOfFiles(k)})
    outcomes += _hidden(running, built.settings, outcomes)
    outcomes = _keyChanges(running, built.settings, outcomes)
    outcomes = _nodesTogether(outcomes)
    problems = [] if force else _older(running, built.settings)
    plan = _concluded(running, present, outcomes, problems)
    if plan.problems:
        return plan
    # Its relative paths count from the files they stand in.
    log = built.settings.log if _about("logging.", plan) else running.log
    sources = built.settings.sources
    settings = evolve(plan.settings, log=log, sources=sources)
    if _rekeyed(running, built.settings):
        key = built.settings.totem.key
        settings = evolve(settings, totem=evolve(settings.totem, key=key))
    return evolve(plan, settings=settings)


def _rekeyed(running: NodeSettings, wanted: NodeSettings) -> bool:
    """
    Is it one key instead of another?
    """
    return None not in (running.totem.key, wanted.totem.key)


def _keyChanges(
    running: NodeSettings, wanted: NodeSettings, outcomes: list[Outcome]
) -> list[Outcome]:
    """
    One key instead of another is no reason to restart; to begin to seal, or to
    end it, is.
    """
    if not _rekeyed(running, wanted):
        return outcomes
    return [
        evolve(one, verdict=Verdict.APPLIED) if one.key in _KEYS else one
        for one in outcomes
    ]


def _about(prefix: str, plan: Plan) -> bool:
    return any(one.key.startswith(prefix) for one in plan.outcomes)


def planChange(running: NodeSettings, present: Keys, changes: Keys) -> Plan:
    """
    Somebody writes keys.  What needs a restart is refused: nothing would
    remember it until then.

    @param changes: values by key, L{None} for those that go; they may be in
        C{present} already.
    """
    settled = dict(running.keys)
    old = {key: settled.get(key, present.get(key)) for key in changes}
    outcomes = _compared(old, changes)
    problems = [
        Problem("", 0, one.key, "takes effect after a restart: change it in the file")
        for one in outcomes
        if one.verdict is Verdict.RESTART
    ]
    return _concluded(running, present, outcomes, problems)


# Key by key.


def _compared(old: Keys, new: Keys) -> list[Outcome]:
    schema = Schema()
    return [
        _judged(schema, key, old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def _judged(schema: Schema, key: str, old: Any, new: Any) -> Outcome:
    row = schema.row(pathOf(key).row)
    if row is None:
        return Outcome(key, Verdict.IGNORED, old, new, "nobody knows this option")
    if row.change is Change.RUNTIME:
        return Outcome(key, Verdict.APPLIED, old, new)
    if row.change is Change.NEVER:
        return Outcome(key, Verdict.IGNORED, old, new)
    reason = _OTHER_NODE if row.change is Change.IDENTITY else ""
    return Outcome(key, Verdict.RESTART, old, new, reason)


def _nodesTogether(outcomes: list[Outcome]) -> list[Outcome]:
    """
    Keys of the node list count its entries: where others come or go, what is
    said of the second is not about the same node any more.
    """
    ofNodes = [one for one in outcomes if one.key.startswith(_NODES)]
    if not any(one.verdict is Verdict.RESTART for one in ofNodes):
        return outcomes
    return [
        evolve(one, verdict=Verdict.RESTART, reason=_OTHER_NODES)
        if one in ofNodes and one.verdict is Verdict.APPLIED
        else one
        for one in outcomes
    ]


def _hidden(
    running: NodeSettings, wanted: NodeSettings, outcomes: Iterable[Outcome]
) -> list[Outcome]:
    """
    What changed although the files say the same of it.
    """
    told = {one.key for one in outcomes}
    found = []
    if running.totem.key != wanted.totem.key and not told & {*_KEYS}:
        found.append(("totem.keyfile", "its content changed"))
    for at, (old, new) in enumerate(
        zip(running.totem.nodes, wanted.totem.nodes, strict=False)
    ):
        key = f"nodelist.node.{at}.ring0_addr"
        if old.addresses != new.addresses and key not in told:
            found.append((key, f"it means {new.addresses[0]} now"))
    return [Outcome(key, Verdict.RESTART, reason=why) for key, why in found]


def _older(running: NodeSettings, wanted: NodeSettings) -> list[Problem]:
    if wanted.configVersion >= running.configVersion:
        return []
    text = f"{wanted.configVersion} is older than {running.configVersion}, in force"
    file = wanted.sources[0] if wanted.sources else ""
    return [Problem(file, 0, _VERSION, text)]


# All together.


def _taken(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    return {
        one.key: one.new
        for one in outcomes
        if one.verdict in (Verdict.APPLIED, Verdict.IGNORED)
        and (one.old, one.new) != (None, None)  # Only its meaning changed.
    }


def _concluded(
    running: NodeSettings,
    present: Keys,
    outcomes: list[Outcome],
    problems: list[Problem],
) -> Plan:
    """
    The keys that would be in force make sense together, or nothing changes.
    """
    if not problems:
        taken = _taken(outcomes)
        keys = merged(present, taken)
        built = builtFrom(keys, running)
        if built.settings is not None:
            settings = inForce(keys, running, built.settings, taken)
            return Plan(settings, tuple(outcomes))
        problems = list(built.problems)
    return Plan(running, tuple(outcomes), tuple(problems))


def merged(present: Keys, changes: Mapping[str, Any]) -> dict[str, Any]:
    """
    What is there after the changes.
    """
    together = {**present, **changes}
    return {key: value for key, value in together.items() if value is not None}
