"""
The judge of views: what each process is told of who is here, and in which
order with everything else.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final

from attrs import define, field
from zope.interface import implementer

from corotwist.engines.interfaces import (
    NO_VIEW,
    Cause,
    GroupView,
    IViewSubscriber,
    NodeChange,
    TransitionalView,
    View,
    ViewId,
)
from corotwist.engines.views import Views
from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import Configuration, RingId

# Views that are remembered, to compare what others are told.
VIEWS_REMEMBERED: Final = 256


class Phase(Enum):
    """
    Where a process is between two views.

    @cvar SETTLED: a view is in force.
    @cvar ENDING: the ring is over, and it has to be told.
    @cvar ENDED: it was; what is left of the ring comes.
    @cvar BETWEEN: on a ring that has no view yet, nothing comes.
    """

    SETTLED = "in a view"
    ENDING = "at the end of a ring"
    ENDED = "behind the end of a ring"
    BETWEEN = "between two views"


@define(eq=False)
class Watched:
    """
    One process.

    @ivar view: its last one.
    @ivar along: who came along with it since, through every change.
    @ivar ringId, members: of the regular configuration.
    @ivar inStep: the services came into step on that ring.
    """

    view: View = NO_VIEW
    phase: Phase = Phase.BETWEEN
    along: frozenset[int] = frozenset()
    ringId: RingId | None = None
    members: tuple[int, ...] = ()
    inStep: bool = False


# What all who are told of a view are told alike: members, verdict, rule, and
# the place in the order.
Told = tuple[tuple[int, ...], bool, str, int]
# What those are told alike who come from one view together: who left; of a view,
# who joined, and whether they go on.
Differences = tuple[tuple[NodeChange, ...], object]


@define(eq=False)
class ViewsJudge(Judge):
    """
    V1 to V6.

    @ivar onInstalled: called with each view that a process was told of.
    """

    onInstalled: Callable[[Life, View], None] = lambda life, view: None
    _watched: dict[Life, Watched] = field(factory=dict)
    _told: dict[ViewId, tuple[Life, Told]] = field(factory=dict)
    _differences: dict[object, tuple[Life, Differences]] = field(factory=dict)
    _stopping: set[int] = field(factory=set)

    def _of(self, life: Life) -> Watched:
        watched = self._watched.get(life)
        if watched is None:
            watched = self._watched[life] = Watched()
        return watched

    def ended(self, life: Life) -> None:
        """
        It is told nothing any more.
        """
        self._watched.pop(life, None)

    def stopping(self, life: Life) -> None:
        """
        It was asked to leave in order.
        """
        self._stopping.add(life.nodeid)

    # From the ring.

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        A configuration is about to be handed to the services.
        """
        watched = self._of(life)
        if watched.phase is Phase.ENDING:
            self.blame("V2", "was not told that its ring is over", life)
        if configuration.transitional:
            self._ends(life, watched, frozenset(configuration.members))
        else:
            watched.phase = Phase.BETWEEN
            watched.ringId, watched.members = (
                configuration.ringId,
                configuration.members,
            )
            watched.inStep = False

    def _ends(self, life: Life, watched: Watched, along: frozenset[int]) -> None:
        if watched.phase is not Phase.SETTLED:
            watched.along &= along
            return
        if not watched.inStep:
            self.blame(
                "V1",
                "was told of a view though the services were not in step",
                life,
                view=watched.view.viewId,
            )
        watched.along = along
        watched.phase = Phase.ENDING

    def inStep(self, life: Life, ringId: RingId) -> None:
        """
        The services of a process are in step on a ring.
        """
        watched = self._of(life)
        watched.inStep = True
        if watched.phase is not Phase.SETTLED or watched.view.viewId.ringId != ringId:
            self.blame("V1", "came into step and was told no view", life, ring=ringId)

    def agrees(self, life: Life, *, quorate: bool) -> None:
        """
        Between two events: what does the node say of itself?
        """
        watched = self._of(life)
        if watched.phase is Phase.SETTLED and watched.view.quorate != quorate:
            text = "has another verdict than its view"
            self.blame("V4", text, life, view=watched.view.viewId, quorate=quorate)

    # What it is told.

    def ringEnded(self, life: Life, transition: TransitionalView) -> None:
        """
        That its ring is over.
        """
        watched = self._of(life)
        if watched.phase is not Phase.ENDING:
            text = "was told of the end of a ring"
            self.blame("V2", f"{text} {watched.phase.value}", life)
            return
        watched.phase = Phase.ENDED
        right = (
            watched.view.viewId,
            tuple(sorted(watched.along)),
            self._lost(watched),
        )
        left = _nodes(transition.left)
        if (transition.viewId, transition.members, left) != right:
            text = "was told wrongly who comes along"
            self.blame("V3", text, life, told=transition, right=right)
        self._compare(life, (transition.viewId, transition.members), transition.left)

    def installed(self, life: Life, view: View, position: int) -> None:
        """
        That there is a view, after so many messages of its ring.
        """
        watched = self._of(life)
        before = watched.view
        if watched.phase is Phase.BETWEEN:
            self._first(life, watched, view)
        elif watched.phase is Phase.SETTLED:
            self._next(life, before, view)
        else:
            text = f"was told of a view {watched.phase.value}"
            self.blame("V2", text, life, view=view.viewId)
        if view.viewId <= before.viewId:
            text = "was told of views that do not rise"
            self.blame("V5", text, life, view=view.viewId, before=before.viewId)
        watched.view = view
        watched.phase = Phase.SETTLED
        self._isTheSame(life, view, position)
        self.onInstalled(life, view)

    def _first(self, life: Life, watched: Watched, view: View) -> None:
        """
        Of a ring.
        """
        right = watched.ringId, 0, watched.members
        if (view.viewId.ringId, view.viewId.number, view.members) != right:
            text = "was told of another view than that of its ring"
            self.blame("V1", text, life, view=view, right=right)
        joined = tuple(n for n in watched.members if n not in watched.along)
        lost = self._lost(watched)
        if (_nodes(view.left), _nodes(view.joined)) != (lost, joined):
            self.blame(
                "V3",
                "was told wrongly who left and joined",
                life,
                view=view,
                left=lost,
                joined=joined,
            )
        way = watched.view.viewId, view.viewId, watched.along
        # Of a view that was not quorate some may have been in a later quorate
        # one than others.
        goesOn = view.goesOn if watched.view.quorate else None
        self._compare(life, way, view.left, (view.joined, goesOn))

    def _next(self, life: Life, before: View, view: View) -> None:
        """
        Of the same ring, with another verdict.
        """
        if (
            view.viewId != ViewId(before.viewId.ringId, before.viewId.number + 1)
            or view.members != before.members
            or view.left
            or view.joined
            or view.quorate == before.quorate
        ):
            text = "was told of a second view that is no other verdict"
            self.blame("V1", text, life, view=view, before=before)

    def _lost(self, watched: Watched) -> tuple[int, ...]:
        return tuple(n for n in watched.view.members if n not in watched.along)

    def _isTheSame(self, life: Life, view: View, position: int) -> None:
        """
        As on all other members.
        """
        here: Told = view.members, view.quorate, view.rule, position
        other, there = self._told.setdefault(view.viewId, (life, here))
        _forget(self._told)
        if here != there:
            self.blame(
                "V4",
                "two members are told of different views",
                life,
                other,
                view=view.viewId,
                here=here,
                there=there,
            )

    def _compare(
        self,
        life: Life,
        way: object,
        left: tuple[NodeChange, ...],
        more: object = (),
    ) -> None:
        """
        Who goes a way together is told the same, causes included; and who is
        said to have stopped was asked to.
        """
        here: Differences = left, more
        other, there = self._differences.setdefault(way, (life, here))
        _forget(self._differences)
        if here != there:
            self.blame(
                "V3",
                "two who come along together are told differently of the others",
                life,
                other,
                here=here,
                there=there,
            )
        for change in left:
            if change.cause is Cause.STOPPED and change.nodeid not in self._stopping:
                text = "thinks that a node stopped which did not"
                self.blame("V3", text, life, nodeid=change.nodeid)

    # What its clients are told.

    def groupViewed(self, life: Life, view: GroupView, *, held: bool = False) -> None:
        """
        Of the members of a group.

        @param held: the group is one whose events at the end of a ring are held
            until its next view is decided.
        """
        watched = self._of(life)
        if not self._mayHear(life, watched, "a view of a group", held=held):
            return
        if view.view != watched.view:
            self.blame(
                "V6",
                "a view of a group names another view than that in force",
                life,
                named=view.view.viewId,
                right=watched.view.viewId,
            )
        ghosts = [m for m in view.members if m.nodeid not in watched.view.members]
        if ghosts:
            text = "a group has members whose nodes are not here"
            self.blame("V6", text, life, ghosts=ghosts, view=watched.view.viewId)

    def messageShown(self, life: Life, *, held: bool = False) -> None:
        """
        A message of a group.
        """
        self._mayHear(life, self._of(life), "a message", held=held)

    def _mayHear(self, life: Life, watched: Watched, what: str, *, held: bool) -> bool:
        if held or watched.phase in (Phase.SETTLED, Phase.ENDED):
            return True
        self.blame("V2", f"a client was told {what} {watched.phase.value}", life)
        return False


def _nodes(changes: Iterable[NodeChange]) -> tuple[int, ...]:
    return tuple(change.nodeid for change in changes)


def _forget(remembered: dict[Any, Any]) -> None:
    if len(remembered) > VIEWS_REMEMBERED:
        del remembered[next(iter(remembered))]


@implementer(IViewSubscriber)
@define(eq=False)
class Sight:
    """
    Tells the judge what one process is told.

    @ivar views: of the process.
    @ivar quorate: tells what it says of itself.
    """

    life: Life
    judge: ViewsJudge
    views: Views
    quorate: Callable[[], bool]

    def looked(self) -> None:
        """
        Between two events.
        """
        if self.life.alive:
            self.judge.agrees(self.life, quorate=self.quorate())

    def ringEnded(self, transition: TransitionalView) -> None:
        if self.life.alive:
            self.judge.ringEnded(self.life, transition)

    def viewInstalled(self, view: View) -> None:
        if self.life.alive:
            self.judge.installed(self.life, view, self.views.position)
