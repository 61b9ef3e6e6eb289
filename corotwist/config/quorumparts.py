"""
Who may act, and how votes are counted: sections C{quorum} and
C{quorum.device}.
"""

from collections.abc import Sequence
from typing import Final

from corotwist.config.check import Checked
from corotwist.config.commands import shippedOnly
from corotwist.config.deviceparts import deviceSettings
from corotwist.config.settings import NodeEntry, QuorumSettings

_PROVIDERS: Final = ("corosync_votequorum", "majority", "external")
_DECIDERS: Final = ("lowest", "highest")


def quorumSettings(
    checked: Checked, own: NodeEntry | None, entries: Sequence[NodeEntry]
) -> QuorumSettings:
    """
    @param own: our entry in the node list, if it was found.
    @param entries: the node list.
    """
    top = checked.top
    shippedOnly(checked, "quorum.provider", _PROVIDERS)
    twoNode = _on(checked, "two_node")
    waitForAll = top.value("quorum.wait_for_all")
    given = _number(checked, "quorum.expected_votes")
    votes = sum(entry.votes for entry in entries)
    device = deviceSettings(checked, votes)
    listed = votes + (0 if device is None else device.votes)
    tieBreaker, tieNodes = _tieBreaker(checked, entries)
    downscale = _on(checked, "allow_downscale")
    return QuorumSettings(
        provider=top.text("quorum.provider"),
        expectedVotes=listed if given is None else given,
        votes=top.number("quorum.votes") if own is None else own.votes,
        twoNode=twoNode,
        waitForAll=twoNode if waitForAll is None else bool(waitForAll),
        lastManStanding=_on(checked, "last_man_standing"),
        lastManStandingWindow=top.number("quorum.last_man_standing_window") / 1000,
        tieBreaker=tieBreaker,
        tieBreakerNodes=tieNodes,
        allowDownscale=downscale,
        tracking=downscale or _on(checked, "expected_votes_tracking"),
        barrier=given or 0,
        voters=tuple(sorted((entry.nodeid, entry.votes) for entry in entries)),
        device=device,
        notes=_notes(checked, given, votes),
    )


def _on(checked: Checked, option: str) -> bool:
    name = f"quorum.{option}"
    return checked.top.flag(name) and name not in checked.withoutEffect


def _number(checked: Checked, name: str) -> int | None:
    value = checked.top.value(name)
    return value if isinstance(value, int) else None


def _tieBreaker(
    checked: Checked, entries: Sequence[NodeEntry]
) -> tuple[str, tuple[int, ...]]:
    if not _on(checked, "auto_tie_breaker"):
        return "", ()
    name = "quorum.auto_tie_breaker_node"
    text = checked.top.text(name) or _DECIDERS[0]
    if text in _DECIDERS:
        return text, ()
    known = {entry.nodeid for entry in entries}
    words = text.split()
    if not words or not all(word.isdecimal() for word in words):
        problem = f"{text!r} is neither lowest nor highest nor a list of nodeids"
        checked.wrongIn(checked.top, name, problem)
        return "", ()
    nodeids = tuple(int(word) for word in words)
    unknown = [n for n in nodeids if known and n not in known]
    if unknown:
        problem = f"node {unknown[0]} is not in the node list"
        checked.wrongIn(checked.top, name, problem)
    return "list", nodeids


def _notes(checked: Checked, given: int | None, votes: int) -> tuple[str, ...]:
    """
    What an operator should see in the status, too.
    """
    notes = [f"{name}: {text}" for name, text in checked.withoutEffect.items()]
    if checked.top.has("quorum.leaving_timeout"):
        notes.append("quorum.leaving_timeout: no effect, here or in corosync")
    if given is not None and given < votes and checked.top.has("quorum.provider"):
        text = f"fewer than the {votes} votes of the node list: two parts may act at"
        notes.append(f"quorum.expected_votes: {text} once before all have met")
    return tuple(notes)
