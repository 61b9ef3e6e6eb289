"""
Views: who is here from a point of the order on, why, and may we act.

On every change of the ring, in this order and the same on all who come along::

    ringEnded            who comes along
      what is left of the old ring; another verdict, too, has a view
      rounds of synchronization; of those that are aborted nobody hears
    viewInstalled        one, when all services are in step
      messages
    viewInstalled        the same ring, one number higher, for another verdict
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import asdict, define, evolve
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.engines.interfaces import (
    NO_VIEW,
    Cause,
    IViews,
    IViewSubscriber,
    NodeChange,
    TransitionalView,
    View,
    ViewId,
    ViewRecord,
)
from corotwist.engines.standing import Side, Standing, Standings
from corotwist.totem.membership import NO_RING, Configuration, RingId

# Views that are remembered, with how each came about.
VIEWS_KEPT: Final = 256
# Rings between two views that are remembered: the latest.
RINGS_KEPT: Final = 16
# What a node says about its going, in characters.
LONGEST_REASON: Final = 256

VERDICT_CHANGED: Final = "the votes gave another verdict"


@define(eq=False)
class Following:
    """
    Somebody hears of views.
    """

    _subscriber: IViewSubscriber
    _followings: dict["Following", None]

    def stop(self) -> None:
        """
        Not any more.
        """
        self._followings.pop(self, None)


@implementer(IViews)
class Views:
    """
    Those of one node.  What decides comes from the order only: configurations,
    what nodes said about themselves, and a verdict that follows from messages.

    @ivar current: the view in force, or the last one when its ring is over.
    @ivar settled: is it in force?
    @ivar position: messages delivered on the ring so far.
    @ivar history: how the latest views came about.
    """

    def __init__(
        self,
        timeOfDay: Callable[[], int],
        judge: Callable[[], tuple[bool, Mapping[str, Any]]],
    ) -> None:
        """
        @param timeOfDay: nanoseconds since 1970.
        @param judge: tells whether this partition may act, and explains it.
        """
        self._log = Logger()
        self._timeOfDay = timeOfDay
        self._judge = judge
        self.current = NO_VIEW
        self.settled = False
        self.position = 0
        self.history: deque[ViewRecord] = deque(maxlen=VIEWS_KEPT)
        self._followings: dict[Following, None] = {}
        self._configuration = Configuration(NO_RING, (), transitional=False)
        # Of the last view, through every ring since.
        self._cameAlong: tuple[int, ...] = ()
        self._departing: dict[int, NodeChange] = {}
        self._standings = Standings()
        self._lastQuorate = NO_VIEW.viewId
        self._metOthers = False
        # From the end of a ring until another one is there.
        self._leftOver = False
        self._end = self._configuration
        self._between: deque[tuple[RingId, str]] = deque(maxlen=RINGS_KEPT)

    def follow(self, subscriber: IViewSubscriber) -> Following:
        following = Following(subscriber, self._followings)
        self._followings[following] = None
        if self.settled:
            self._tell([following], "viewInstalled", self.current)
        return following

    def stop(self) -> None:
        """
        Nobody is told anything any more.
        """
        self._followings.clear()

    # From the order.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        Before any engine hears of it.
        """
        if not configuration.transitional:
            self._configuration = configuration
            self.position = 0
            self._leftOver = False
            self._standings.forget()
        elif self.settled:
            self._ringEnded(configuration)
        else:
            came = configuration.members
            self._cameAlong = tuple(n for n in self._cameAlong if n in came)
            if self._configuration.members:
                ended = self._configuration.ringId, configuration.cause
                self._between.append(ended)

    def _ringEnded(self, configuration: Configuration) -> None:
        self.settled = False
        self._leftOver = True
        self._cameAlong = configuration.members
        self._end = configuration
        self._between.clear()
        view = self.current
        transition = TransitionalView(view.viewId, configuration.members, self._left())
        self._tell(list(self._followings), "ringEnded", transition)

    def standing(self) -> Standing:
        """
        Where we come from, for the others on this ring.
        """
        ringId = self._configuration.ringId
        return Standing(ringId, self._side(), not self._metOthers)

    def _side(self) -> Side:
        last = self._lastQuorate
        direct = self.current.viewId == last
        return Side.of(last, self._cameAlong, direct=direct)

    def announced(self, nodeid: int, standing: Standing) -> None:
        """
        A member of this ring said where it comes from.
        """
        self._standings.heard(nodeid, standing)

    def killed(self, nodeid: int, reason: str) -> None:
        """
        Somebody has a node ended, as everybody on this ring hears now.
        """
        self.departing(nodeid, Cause.KILLED, reason)

    def departing(self, nodeid: int, cause: Cause, reason: str) -> None:
        """
        A node goes, as everybody on this ring hears now: when it is gone, this
        is why.
        """
        if nodeid not in self.current.members:
            return
        known = self._departing.get(nodeid)
        if known is None or (known.cause is cause and not known.reason):
            change = NodeChange(nodeid, cause, reason[:LONGEST_REASON])
            self._departing[nodeid] = change

    def roundCompleted(self, ahead: Callable[[View], object]) -> None:
        """
        All services are in step.

        @param ahead: called with the view before anybody hears of it, and while
            the last one is still in force.
        """
        configuration = self._configuration
        quorate, explanation = self._judge()
        view = View(
            ViewId(configuration.ringId, 0),
            configuration.members,
            self._left(),
            self._joined(configuration.members),
            quorate,
            _rule(explanation),
            self._standings.goesOn(self._side()),
        )
        ahead(view)
        if len(view.members) > 1:
            self._metOthers = True
        # Who said that he goes and is still here says it again.
        self._departing.clear()
        self.settled = True
        end = self._end
        self._install(view, end.cause, asdict(end.evidence), explanation)

    def verdictChanged(self) -> None:
        """
        It may have, by what is being delivered: also by what a ring leaves, for
        others who come along had that before they heard of its end.
        """
        if not (self.settled or self._leftOver):
            return
        quorate, explanation = self._judge()
        before = self.current
        if quorate == before.quorate:
            return
        viewId = evolve(before.viewId, number=before.viewId.number + 1)
        rule, goesOn = _rule(explanation), before.goesOn
        view = View(viewId, before.members, (), (), quorate, rule, goesOn)
        self._between.clear()
        self._install(view, VERDICT_CHANGED, {}, explanation)

    # Small steps.

    def _left(self) -> tuple[NodeChange, ...]:
        return tuple(
            self._departing.get(n) or NodeChange(n, Cause.LOST)
            for n in self.current.members
            if n not in self._cameAlong
        )

    def _joined(self, members: Iterable[int]) -> tuple[NodeChange, ...]:
        started, merged = Cause.STARTED, Cause.MERGED
        return tuple(
            NodeChange(n, started if self._standings.isFresh(n) else merged)
            for n in members
            if n not in self._cameAlong
        )

    def _install(
        self,
        view: View,
        cause: str,
        evidence: Mapping[str, Any],
        explanation: Mapping[str, Any],
    ) -> None:
        before, self.current = self.current, view
        if view.quorate:
            self._lastQuorate = view.viewId
        self.history.append(
            ViewRecord(
                self._timeOfDay(),
                before,
                view,
                cause,
                dict(evidence),
                tuple(self._between),
                dict(explanation),
            )
        )
        self._log.info(
            "View {viewId}: nodes {members}, {word} ({rule})",
            viewId=str(view.viewId),
            members=view.members,
            word="quorate" if view.quorate else "NOT quorate",
            rule=view.rule,
        )
        self._tell(list(self._followings), "viewInstalled", view)

    def _tell(self, followings: Iterable[Following], what: str, event: object) -> None:
        for following in followings:
            if following not in self._followings:
                continue  # Not any more, by what another did.
            try:
                getattr(following._subscriber, what)(event)  # noqa: SLF001
            except Exception:  # noqa: BLE001 - Whatever it is, it is his own.
                self._log.failure("A subscriber of views raised")


def _rule(explanation: Mapping[str, Any]) -> str:
    return str(explanation.get("rule", ""))
