"""
How views came about, in sentences.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from corotwist.engines.interfaces import Cause, NodeChange, View, ViewRecord
from corotwist.tools.absence import moment


def account(record: ViewRecord) -> list[str]:
    """
    One change: the view, who came and went, what ended the ring before, and what
    decided.
    """
    view = record.view
    word = "quorate" if view.quorate else "NOT quorate"
    nodes = " ".join(map(str, view.members))
    lines = [f"{moment(record.time / 1e9)}  view {view.viewId}: nodes {nodes}, {word}"]
    lines += [f"  {sentence(change, came=False)}" for change in view.left]
    lines += [f"  {sentence(change, came=True)}" for change in view.joined]
    lines += [f"  {line}" for line in _causes(record)]
    lines += [f"  {line}" for line in _verdict(view, record.explanation)]
    return lines


def sentence(change: NodeChange, *, came: bool) -> str:
    """
    What happened to a node.
    """
    text = _SENTENCES[change.cause] if not came else _COMINGS[change.cause]
    said = f": {change.reason}" if change.reason else ""
    return f"node {change.nodeid} {text}{said}"


def _causes(record: ViewRecord) -> Iterator[str]:
    if record.cause:
        yield f"because: {record.cause}"
    for name, value in record.evidence.items():
        if value:  # A node 0, and nobody, are no evidence.
            yield f"{_EVIDENCE.get(name, name)}: {_shown(value)}"
    for ringId, cause in record.between:
        yield f"ring {ringId} in between never came into step: {cause}"


def _verdict(view: View, explanation: Mapping[str, Any]) -> Iterator[str]:
    if view.rule:
        yield f"quorum: {view.rule}"
    numbers = [
        f"{explanation[name]} {text}"
        for name, text in _NUMBERS.items()
        if explanation.get(name) is not None
    ]
    if numbers:
        yield f"  {', '.join(numbers)}"
    for name, text in _REMARKS.items():
        if explanation.get(name):
            yield f"  {text}{explanation[name]}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_entry(one) for one in value)
    return str(value)


def _entry(value: Any) -> str:
    if isinstance(value, list | tuple):  # Such as a node, and what was seen of it.
        return " ".join(map(str, value))
    return _shown(value)


def about(nodeid: int, records: Iterable[ViewRecord]) -> list[ViewRecord]:
    """
    The changes that a node came or went with, the latest last.
    """
    return [record for record in records if _concerns(nodeid, record)]


def _concerns(nodeid: int, record: ViewRecord) -> bool:
    changes = (*record.view.left, *record.view.joined)
    return any(change.nodeid == nodeid for change in changes)


def standing(nodeid: int, records: Sequence[ViewRecord]) -> str:
    """
    Where a node is now, as far as the views tell.
    """
    if not records:
        return "there was no view yet"
    view = records[-1].view
    if nodeid in view.members:
        return f"node {nodeid} is in view {view.viewId}"
    known = about(nodeid, records)
    if not known:
        return f"nothing was ever heard of node {nodeid}"
    return f"node {nodeid} is not in view {view.viewId}"


_SENTENCES: Mapping[Cause, str] = {
    Cause.STOPPED: "stopped in order",
    Cause.KILLED: "was ended by an operator",
    Cause.LOST: "was lost: nothing was heard of it any more",
    Cause.STARTED: "went",
    Cause.MERGED: "went",
}
_COMINGS: Mapping[Cause, str] = {
    Cause.STARTED: "has started",
    Cause.MERGED: "came from another ring",
    Cause.STOPPED: "came",
    Cause.KILLED: "came",
    Cause.LOST: "came",
}
_EVIDENCE: Mapping[str, str] = {"noticedBy": "noticed first by node"}
_REMARKS: Mapping[str, str] = {"override": "set at run time: ", "notes": ""}
_NUMBERS: Mapping[str, str] = {
    "votes": "votes",
    "expected": "expected",
    "quorum": "needed",
}
