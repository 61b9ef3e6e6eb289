"""
What happens to a node and its cluster, one thing after the other, in the words of
corosync-notifyd: nodes, quorum, clients and links.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.config.tracking import Change, ChangeKind
from corotwist.engines.interfaces import NodeChange, View

# The keys whose coming and going tells of clients, and the one of each that names
# the program.
CLIENTS: Final = "stats.ipcs."
_PROGRAM: Final = ".procname"


class Subject(StrEnum):
    """
    What it happened to.
    """

    NODE = "node"
    QUORUM = "quorum"
    CLIENT = "application"
    LINK = "link"


@frozen
class Happening:
    """
    One thing that happened.

    @ivar state: C{joined}, C{left}; C{quorate}, C{not quorate}; C{connected},
        C{disconnected}; C{operational}, C{disconnected}.
    @ivar nodeid: of the node that it happened to; of a link, the other end.
    @ivar detail: a node's addresses, a program's name, a link's number.
    @ivar cause: of a node's coming or going, one word; of a verdict, the rule.
    @ivar reason: what a node that went had said.
    @ivar view: the view from which on it is so; may be empty.
    """

    subject: Subject
    state: str
    nodeid: int
    detail: str = ""
    cause: str = ""
    reason: str = ""
    view: str = ""

    def sentence(self, here: str, nodeid: int) -> str:
        """
        As corosync-notifyd logs it, with what it does not know behind.

        @param here: the name of this machine.
        @param nodeid: of the node that is asked.
        """
        text = _SENTENCES[self.subject, self.state].format(
            here=here, own=nodeid, nodeid=self.nodeid, detail=self.detail
        )
        more = ": ".join(part for part in (self.cause, self.reason) if part)
        return f"{text} ({more})" if more else text

    def report(self) -> dict[str, Any]:
        """
        For programs.
        """
        return {
            "subject": self.subject.value,
            "state": self.state,
            "node": self.nodeid,
            "detail": self.detail,
            "cause": self.cause,
            "reason": self.reason,
            "view": self.view,
        }


JOINED: Final = "joined"
LEFT: Final = "left"
QUORATE: Final = "quorate"
NOT_QUORATE: Final = "not quorate"
CONNECTED: Final = "connected"
DISCONNECTED: Final = "disconnected"
OPERATIONAL: Final = "operational"

_SENTENCES: Final[Mapping[tuple[Subject, str], str]] = {
    (Subject.NODE, JOINED): "{here}[{nodeid}] ip:{detail} joined",
    (Subject.NODE, LEFT): "{here}[{nodeid}] ip:{detail} left",
    (Subject.QUORUM, QUORATE): "{here}[{own}] is now quorate",
    (Subject.QUORUM, NOT_QUORATE): "{here}[{own}] has lost quorum",
    (Subject.CLIENT, CONNECTED): "{here}[{own}] {detail} is now connected to corosync",
    (Subject.CLIENT, DISCONNECTED): (
        "{here}[{own}] {detail} is now disconnected from corosync"
    ),
    (Subject.LINK, OPERATIONAL): (
        "{here}[{own}] link {detail} to node {nodeid} is now operational"
    ),
    (Subject.LINK, DISCONNECTED): (
        "{here}[{own}] link {detail} to node {nodeid} is now disconnected"
    ),
}


@define
class Happenings:
    """
    Tells what is new in what it is shown.

    @ivar addresses: of nodes, as far as they are known.
    """

    addresses: dict[int, str] = field(factory=dict)
    _quorate: bool | None = None
    _links: dict[tuple[int, int], bool] = field(factory=dict)

    def viewed(self, view: View, *, first: bool = False) -> Iterator[Happening]:
        """
        The view in force: who came and went, and may we act.

        @param first: it was in force before we began to look; it is not news.
        """
        viewId = str(view.viewId)
        if not first:
            for state, changes in ((LEFT, view.left), (JOINED, view.joined)):
                yield from (self._node(state, change, viewId) for change in changes)
        before, self._quorate = self._quorate, view.quorate
        if before is not view.quorate and not first:
            state = QUORATE if view.quorate else NOT_QUORATE
            subject = Subject.QUORUM
            yield Happening(subject, state, 0, cause=view.rule, view=viewId)

    def _node(self, state: str, change: NodeChange, viewId: str) -> Happening:
        return Happening(
            Subject.NODE,
            state,
            change.nodeid,
            self.addresses.get(change.nodeid, ""),
            change.cause.value,
            change.reason,
            viewId,
        )

    def counted(self, changes: Iterable[Change]) -> Iterator[Happening]:
        """
        Changes of the keys below L{CLIENTS}.
        """
        for change in changes:
            state = _CLIENT.get(change.kind)
            if state is None or not change.name.endswith(_PROGRAM):
                continue
            value = change.new if change.new is not None else change.old
            program = "" if value is None else str(value.content)
            yield Happening(Subject.CLIENT, state, 0, program)

    def linked(self, links: Mapping[tuple[int, int], bool]) -> Iterator[Happening]:
        """
        Which links are connected now, by node and number; what it was before we
        began to look is no news.
        """
        before, self._links = self._links, dict(links)
        for (nodeid, number), connected in sorted(links.items()):
            if before.get((nodeid, number), connected) is not connected:
                state = OPERATIONAL if connected else DISCONNECTED
                yield Happening(Subject.LINK, state, nodeid, str(number))


_CLIENT: Final = {ChangeKind.ADD: CONNECTED, ChangeKind.DELETE: DISCONNECTED}
