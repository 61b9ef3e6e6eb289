"""
One process group, as an application sees it.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    ORDINARY,
    GroupView,
    Level,
    Member,
    SlowReader,
    Terms,
    ViewId,
)
from corotwist.errors import (
    BadHandle,
    InvalidParameter,
    NotJoined,
    ServiceError,
    TooBig,
)
from corotwist.ipc.events import Account, Audience, Event
from corotwist.ipc.iteration import Events
from corotwist.totem.membership import Guarantee

_GUARANTEES: Final = frozenset(Guarantee)
_LEVELS: Final = frozenset(Level)


class Standing(Enum):
    """
    How far we are with a group.
    """

    WAITING = "will ask to join when we can"
    ASKED = "asked to join"
    MEMBER = "a member"
    LEAVING = "asked to leave, or about to"
    GONE = "not a member any more"


class Outlet(Protocol):
    """
    All groups of the client: where messages leave.
    """

    def send(
        self,
        group: "ProcessGroup",
        guarantee: Guarantee,
        payload: bytes,
        terms: Terms = ORDINARY,
    ) -> Deferred[Any]:
        """
        For L{ProcessGroup.send}.
        """

    def sendAll(
        self,
        group: "ProcessGroup",
        guarantee: Guarantee,
        payloads: list[bytes],
        terms: Terms = ORDINARY,
    ) -> Deferred[Any]:
        """
        For L{ProcessGroup.sendAll}.
        """

    def inTime(self, waiting: Deferred[Any], seconds: float) -> Deferred[Any]:
        """
        Have it fail with L{TimedOut<corotwist.errors.TimedOut>} after so long.
        """

    def leave(self, group: "ProcessGroup") -> Deferred[None]:
        """
        For L{ProcessGroup.leave}.
        """


@frozen
class Wishes:
    """
    As what somebody wants to be a member.

    @ivar slow: what is to happen when we read more slowly than others send; by
        default what is configured for the node.
    @ivar quorate: of the quorate group of that name.
    @ivar discardOwn: without what we send ourselves.
    """

    slow: SlowReader | None = None
    quorate: bool = False
    discardOwn: bool = False


AS_EVERYBODY: Final = Wishes()


class ProcessGroup:
    """
    A group that this process joined.  Iterating over it with C{async for}
    gives a L{Message}, L{GroupView} or L{Gap} at a time, in the order that
    all members agree on, until we left; not when callbacks were given.

    @ivar name: the group's.
    @ivar members: of the last view; nobody while we are not a member.
    @ivar flowControlState: do senders wait, because some member, on whatever
        node, is behind?  What is sent meanwhile waits, and nothing is lost.
    @ivar flowChanged: called with each new C{flowControlState}, when set; by
        then, what came before is delivered.
    """

    _log = Logger()

    def __init__(
        self,
        name: bytes,
        outlet: Outlet,
        audience: Audience,
        wishes: Wishes = AS_EVERYBODY,
        *,
        iterated: Events | None = None,
    ) -> None:
        """
        @param audience: who takes what happens here.
        @param iterated: the same, if whoever iterates over the group shall have
            it.
        """
        self.name = name
        self.flowControlState = False
        self.flowChanged: Callable[[bool], object] | None = None
        self.wishes = wishes
        self.members: tuple[Member, ...] = ()
        self.audience = audience
        self._outlet = outlet
        self._iterated = iterated
        # For ProcessGroups.
        self.standing = Standing.WAITING
        self.joining: Deferred[ProcessGroup] | None = None
        self.leaving: list[Deferred[None]] = []
        self.unanswered = 0
        self.everJoined = False

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.name!r}: {self.standing.value}>"

    # For the application.

    def send(
        self,
        payload: bytes,
        guarantee: Guarantee = Guarantee.AGREED,
        *,
        level: Level = Level.QUEUED,
        to: Iterable[Member] | None = None,
        also: Iterable[bytes] = (),
        view: ViewId | None = None,
        timeout: float | None = None,
    ) -> Deferred[Any]:
        """
        Multicast to every member, ourselves included.  All that is sent in
        one turn of the reactor travels together.

        @param level: how far the message is to be when we are told.
        @param to: show it to these members only, at its place in the order.
        @param also: deliver it in these groups, too, at the same place.
        @param view: only if it is ordered in this view of nodes.
        @param timeout: how long to wait at most, in seconds.
        @return: fires with L{None} when the node queued the message in the
            ring; from there it will be ordered unless the node dies.  Waits
            while the cluster synchronizes or is busy, while some member is
            behind (see L{flowControlState}), and while
            L{UNDERWAY_BYTES<corotwist.ipc.outbox.UNDERWAY_BYTES>} of ours did
            not come back to us: whoever sends much must read, too.

            With another C{level}, or C{to}, C{also} or C{view}, fires with a
            L{Receipt}: with L{Level.ORDERED} when it was delivered here, with
            L{Level.SAFE} when every member has it.

            Fails with L{NotJoined} when we are not a member now,
            L{InvalidParameter} when there is no such guarantee or level or
            nobody is named in C{to}, L{TooBig} beyond
            L{LARGEST_MESSAGE_BYTES}, L{TryAgain} when
            L{SEND_QUEUE_BYTES<corotwist.ipc.outbox.SEND_QUEUE_BYTES>} wait
            already, L{Interrupted} when the membership changed in the middle
            of a large message or the view is another one, L{NotQuorate} in a
            quorate group, L{NotSupported} when there are nodes that do not know
            what was asked for, L{Disconnected} when the connection was lost
            before the answer: then it may be ordered, or not.  So it is with
            L{TimedOut}, and with who cancels: that is to stop waiting, and the
            message is on its way.
        """
        # Once for each message: no calls to spare.
        if (
            self.standing is not Standing.MEMBER
            or guarantee not in _GUARANTEES
            or len(payload) > LARGEST_MESSAGE_BYTES
        ):
            return fail(self._trouble(guarantee))
        terms = ORDINARY
        if level or also or to is not None or view is not None:
            try:
                terms = _terms(level, to, also, view)
            except InvalidParameter as error:
                return fail(error)
        sent = self._outlet.send(self, guarantee, payload, terms)
        return sent if timeout is None else self._outlet.inTime(sent, timeout)

    def sendAll(
        self,
        payloads: Iterable[bytes],
        guarantee: Guarantee = Guarantee.AGREED,
        *,
        level: Level = Level.QUEUED,
        to: Iterable[Member] | None = None,
        also: Iterable[bytes] = (),
        view: ViewId | None = None,
        timeout: float | None = None,
    ) -> Deferred[Any]:
        """
        Multicast messages one after the other, for less than sending each.

        @return: fires as L{send} when all of them are that far; a L{Receipt} is
            of the last.  Fails as L{send}; with L{TryAgain} none was sent, with
            other errors the first ones may have been.
        """
        payloads = list(payloads)
        largest = max(map(len, payloads), default=0)
        if (
            self.standing is not Standing.MEMBER
            or guarantee not in _GUARANTEES
            or largest > LARGEST_MESSAGE_BYTES
        ):
            return fail(self._trouble(guarantee))
        try:
            terms = _terms(level, to, also, view)
        except InvalidParameter as error:
            return fail(error)
        sent = self._outlet.sendAll(self, guarantee, payloads, terms)
        return sent if timeout is None else self._outlet.inTime(sent, timeout)

    def _trouble(self, guarantee: int) -> ServiceError:
        """
        Why nothing is sent.
        """
        if self.standing is not Standing.MEMBER:
            return self._notJoined()
        if guarantee not in _GUARANTEES:
            return InvalidParameter(f"there is no guarantee {guarantee}")
        return TooBig(f"a message has at most {LARGEST_MESSAGE_BYTES} bytes")

    def leave(self) -> Deferred[None]:
        """
        Be a member no more, after what was sent so far.  Events go on until
        the view without us; those that nobody waits for may be lost now.

        @return: fires with L{None} when the view without us arrived, or the
            connection was lost.  Fails with L{NotJoined} when we left before.
        """
        if self.standing is Standing.GONE:
            return fail(self._notJoined())
        return self._outlet.leave(self)

    def __aiter__(self) -> "ProcessGroup":
        return self

    async def __anext__(self) -> Event:
        """
        The next event.  Nothing is lost while nobody iterates, but after
        L{DISPATCH_WINDOW_BYTES<corotwist.ipc.wire.DISPATCH_WINDOW_BYTES>} of
        all groups together the node stops sending, and when too much waits
        there we are a slow reader: see L{SlowReader}.
        """
        if self._iterated is None:
            raise BadHandle("the events of this group go elsewhere")
        return await self._iterated.next()

    def _notJoined(self) -> NotJoined:
        return NotJoined(f"group {self.name!r}: {self.standing.value}")

    # From ProcessGroups.

    def viewReceived(self, view: GroupView, account: Account) -> None:
        """
        Other members.
        """
        self.members = view.members
        self.audience.shown(view, account)

    def flowReceived(self, paused: bool) -> None:
        """
        Senders wait, or go on.
        """
        if paused is self.flowControlState:
            return
        self.flowControlState = paused
        if self.flowChanged is not None:
            try:
                self.flowChanged(paused)
            except Exception:  # noqa: BLE001
                self._log.failure("An application failed at flow control")

    def connectionLost(self) -> bool:
        """
        We are not a member for now.

        @return: were we?
        """
        member = self.standing is Standing.MEMBER
        self.standing = Standing.WAITING
        self.members = ()
        self.flowReceived(False)
        return member

    def leavingBegan(self) -> None:
        """
        We are on our way out.
        """
        self.standing = Standing.LEAVING
        self.audience.leaving(self.name)

    def ended(self) -> None:
        """
        We left, or never got in.
        """
        self.standing = Standing.GONE
        self.members = ()
        self.flowReceived(False)
        self.audience.left(self.name)
        if self._iterated is not None:
            self._iterated.end()


def _terms(
    level: int,
    to: Iterable[Member] | None,
    groups: Iterable[bytes],
    view: ViewId | None,
) -> Terms:
    """
    @raise InvalidParameter: there is no such level, or nobody it is for.
    """
    if level not in _LEVELS:
        raise InvalidParameter(f"there is no level {level}")
    members = () if to is None else tuple(to)
    if to is not None and not members:
        raise InvalidParameter("a message for nobody")
    terms = Terms(Level(level), members, tuple(groups), view)
    return ORDINARY if terms == ORDINARY else terms
