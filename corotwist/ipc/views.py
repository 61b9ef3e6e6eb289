"""
Views for local clients: the commands, the notifications, and the client's side.
docs/views.md tells the contract.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.protocols import amp
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
from corotwist.errors import InvalidParameter
from corotwist.ipc.channel import Box
from corotwist.ipc.jsonparts import Ask, Taken, wholeJson
from corotwist.ipc.wire import ERRORS, Unsigned, parts
from corotwist.totem.membership import RingId

Json = dict[str, Any]
NodeView = TransitionalView | View

# Of one notification, in parts: far more than any view has.
LARGEST_VIEW_BYTES: Final = 4 << 20

_PART: Final[list[tuple[bytes, amp.Argument]]] = [
    (b"json", amp.String()),
    (b"part", Unsigned(32)),
    (b"more", amp.Boolean()),
]

# From the client.


class Follow(amp.Command):
    """
    Be told of views, among all other events; of the one in force at once.
    """

    commandName = b"view.follow"
    errors = ERRORS


class Unfollow(amp.Command):
    """
    Be told no more.
    """

    commandName = b"view.unfollow"
    errors = ERRORS


class Now(amp.Command):
    """
    The view in force, or the last one, as a part of some JSON.
    """

    commandName = b"view.now"
    arguments = [(b"part", Unsigned(32, optional=True))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class History(amp.Command):
    """
    How the latest views came about, as a part of some JSON; the first part takes
    them.
    """

    commandName = b"view.history"
    arguments = [(b"part", Unsigned(32, optional=True))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


# To the client.


class Transition(amp.Command):
    """
    The ring is over; a transition as JSON, in parts.
    """

    commandName = b"view.transition"
    arguments = _PART
    requiresAnswer = False


class Installed(amp.Command):
    """
    A view, as JSON, in parts.
    """

    commandName = b"view.installed"
    arguments = _PART
    requiresAnswer = False


# As JSON values.


def _idJson(viewId: ViewId) -> Json:
    return {**_ringJson(viewId.ringId), "number": viewId.number}


def _ringJson(ringId: RingId) -> Json:
    return {"sequence": ringId.sequence, "representative": ringId.representative}


def _changesJson(changes: Iterable[NodeChange]) -> list[Json]:
    return [
        {"nodeid": one.nodeid, "cause": one.cause.value, "reason": one.reason}
        for one in changes
    ]


def transitionJson(transition: TransitionalView) -> Json:
    """
    A transition.
    """
    return {
        "id": _idJson(transition.viewId),
        "members": list(transition.members),
        "left": _changesJson(transition.left),
    }


def viewJson(view: View) -> Json:
    """
    A view.
    """
    return {
        "id": _idJson(view.viewId),
        "members": list(view.members),
        "left": _changesJson(view.left),
        "joined": _changesJson(view.joined),
        "quorate": view.quorate,
        "rule": view.rule,
        "goesOn": view.goesOn,
    }


def recordJson(record: ViewRecord) -> Json:
    """
    How a view came about.
    """
    return {
        "time": record.time,
        "before": viewJson(record.before),
        "view": viewJson(record.view),
        "cause": record.cause,
        "evidence": dict(record.evidence),
        "between": [
            {"ring": _ringJson(ringId), "cause": cause}
            for ringId, cause in record.between
        ],
        "explanation": dict(record.explanation),
    }


def _ringOf(found: Json) -> RingId:
    return RingId(found["sequence"], found["representative"])


def _idOf(found: Json) -> ViewId:
    return ViewId(_ringOf(found), found["number"])


def _changesOf(found: Iterable[Json]) -> tuple[NodeChange, ...]:
    return tuple(
        NodeChange(one["nodeid"], Cause(one["cause"]), one["reason"]) for one in found
    )


def transitionOf(found: Json) -> TransitionalView:
    """
    What L{transitionJson} made.
    """
    return TransitionalView(
        _idOf(found["id"]), tuple(found["members"]), _changesOf(found["left"])
    )


def viewOf(found: Json) -> View:
    """
    What L{viewJson} made.
    """
    return View(
        _idOf(found["id"]),
        tuple(found["members"]),
        _changesOf(found["left"]),
        _changesOf(found["joined"]),
        found["quorate"],
        found["rule"],
        found.get("goesOn", True),
    )


def recordOf(found: Json) -> ViewRecord:
    """
    What L{recordJson} made.
    """
    return ViewRecord(
        found["time"],
        viewOf(found["before"]),
        viewOf(found["view"]),
        found["cause"],
        found["evidence"],
        tuple((_ringOf(one["ring"]), one["cause"]) for one in found["between"]),
        found["explanation"],
    )


def _boxes(command: type[amp.Command], event: Json) -> Iterator[Box]:
    text = json.dumps(event, sort_keys=True).encode()
    for number, more, data in parts(text):
        yield {
            amp.COMMAND: command.commandName,
            b"json": data,
            b"part": b"%d" % number,
            b"more": b"True" if more else b"False",
        }


def transitionBoxes(transition: TransitionalView) -> Iterator[Box]:
    """
    A transition as notifications.
    """
    return _boxes(Transition, transitionJson(transition))


def installedBoxes(view: View) -> Iterator[Box]:
    """
    A view as notifications.
    """
    return _boxes(Installed, viewJson(view))


# The node's side.


@implementer(IViewSubscriber)
@define(eq=False)
class _Teller:
    """
    Tells one client.
    """

    _connection: Any

    def ringEnded(self, transition: TransitionalView) -> None:
        for box in transitionBoxes(transition):
            self._connection.notify(box)

    def viewInstalled(self, view: View) -> None:
        for box in installedBoxes(view):
            self._connection.notify(box)


class ViewsLocator(amp.CommandLocator):
    """
    What one client may ask about views.
    """

    def __init__(self, views: IViews, connection: Any) -> None:
        """
        @param connection: C{notify} takes events, C{atEnd} who wants to know
            when the client is gone.
        """
        super().__init__()
        self._views = views
        self._connection = connection
        self._following: Any = None
        self._now, self._history = Taken(), Taken()
        connection.atEnd(self._stop)

    @Follow.responder
    def _follow(self) -> Json:
        if self._following is None:
            self._following = self._views.follow(_Teller(self._connection))
        return {}

    @Unfollow.responder
    def _unfollow(self) -> Json:
        self._stop()
        return {}

    def _stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.stop()

    @Now.responder
    def _askedNow(self, part: int | None = None) -> Json:
        return self._now.part(part, lambda: viewJson(self._views.current))

    @History.responder
    def _askedHistory(self, part: int | None = None) -> Json:
        return self._history.part(part, self._records)

    def _records(self) -> list[Json]:
        return [recordJson(record) for record in self._views.history]


# The client's side.

_EVENTS: Final[Mapping[bytes, Callable[[Json], NodeView]]] = {
    Transition.commandName: transitionOf,
    Installed.commandName: viewOf,
}


@define
class Arriving:
    """
    Notifications of views on their way in, part by part.
    """

    _text: bytes = field(default=b"", init=False)

    def received(self, box: Box) -> NodeView | None:
        """
        Take the next one.

        @return: what it says, with its last part.
        @raise InvalidParameter: it is no view.
        """
        self._text += box[b"json"]
        if len(self._text) > LARGEST_VIEW_BYTES:
            self._text = b""
            raise InvalidParameter(f"a view of over {LARGEST_VIEW_BYTES} bytes")
        if box[b"more"] == b"True":
            return None
        text, self._text = self._text, b""
        try:
            return _EVENTS[box[amp.COMMAND]](json.loads(text))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidParameter(f"a view: {error}") from error


@define(eq=False)
class Following:
    """
    A callback that is told of views.
    """

    _callback: Callable[[NodeView], object]
    _followings: dict["Following", None]

    def stop(self) -> None:
        """
        Not any more.
        """
        self._followings.pop(self, None)


class NodeViews:
    """
    The views of a node, for a client: who is here, and may we act?

    @ivar current: the view in force, or the last one; while the node is not
        connected there is none, and who does not know may not act.
    """

    _log = Logger()

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._arriving = Arriving()
        self._followings: dict[Following, None] = {}
        self.current = _UNKNOWN

    def follow(self, callback: Callable[[NodeView], object]) -> Following:
        """
        Call with each transition and each view; at once with the one that is
        known.  After a lost connection the next view says anew who is here.

        @return: ends it with C{stop}.
        """
        following = Following(callback, self._followings)
        self._followings[following] = None
        if self.current.members:
            self._tell(following, self.current)
        return following

    def now(self) -> Deferred[View]:
        """
        Ask the node.

        @return: fires with its view; fails with L{Disconnected}.
        """
        return Deferred.fromCoroutine(wholeJson(self._ask, Now)).addCallback(viewOf)

    def history(self) -> Deferred[list[ViewRecord]]:
        """
        How the latest views came about, the oldest first.

        @return: fires with records; fails with L{Disconnected}.
        """
        asked = Deferred.fromCoroutine(wholeJson(self._ask, History))
        return asked.addCallback(lambda found: [recordOf(one) for one in found])

    # From the client.

    def connected(self) -> Deferred[Any]:
        """
        There is a node to be asked.

        @return: fires when it tells us of views; older ones do not, and that is
            no error.
        """
        self._arriving = Arriving()
        return self._ask(Follow).addErrback(self._unanswered)

    def _unanswered(self, failure: Any) -> None:
        self._log.debug("The node tells no views: {error}", error=failure.value)

    def connectionLost(self) -> None:
        """
        Nobody knows who is here.
        """
        self.current = _UNKNOWN

    def received(self, box: Box) -> NodeView | None:
        """
        A notification came: see L{Arriving.received}; what it says is heard
        when the client comes to it.
        """
        return self._arriving.received(box)

    def heard(self, event: NodeView) -> None:
        """
        It is its turn.
        """
        if isinstance(event, View):
            self.current = event
        for following in list(self._followings):
            if following in self._followings:
                self._tell(following, event)

    def _tell(self, following: Following, event: NodeView) -> None:
        try:
            following._callback(event)  # noqa: SLF001
        except Exception:  # noqa: BLE001 - Whatever it is, it is his own.
            self._log.failure("An application failed at a view")


_UNKNOWN: Final = evolve(NO_VIEW, rule="the node is not connected")
