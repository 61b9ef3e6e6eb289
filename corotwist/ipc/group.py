"""
One process group, as an application sees it.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    GroupView,
    Member,
    SlowReader,
)
from corotwist.errors import BadHandle, NotJoined, TooBig
from corotwist.ipc.events import Account, Audience, Event
from corotwist.ipc.iteration import Events
from corotwist.totem.membership import Guarantee


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
        self, group: "ProcessGroup", guarantee: Guarantee, payload: bytes
    ) -> Deferred[None]:
        """
        For L{ProcessGroup.send}.
        """

    def sendAll(
        self, group: "ProcessGroup", guarantee: Guarantee, payloads: list[bytes]
    ) -> Deferred[None]:
        """
        For L{ProcessGroup.sendAll}.
        """

    def leave(self, group: "ProcessGroup") -> Deferred[None]:
        """
        For L{ProcessGroup.leave}.
        """


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
        *,
        iterated: Events | None = None,
        slow: SlowReader | None = None,
    ) -> None:
        """
        @param audience: who takes what happens here.
        @param iterated: the same, if whoever iterates over the group shall have
            it.
        """
        self.name = name
        self.flowControlState = False
        self.flowChanged: Callable[[bool], object] | None = None
        self.slow = slow
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
        self, payload: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> Deferred[None]:
        """
        Multicast to every member, ourselves included.  All that is sent in
        one turn of the reactor travels together.

        @return: fires with L{None} when the node queued the message in the
            ring; from there it will be ordered unless the node dies.  Waits
            while the cluster synchronizes or is busy, while some member is
            behind (see L{flowControlState}), and while
            L{UNDERWAY_BYTES<corotwist.ipc.outbox.UNDERWAY_BYTES>} of ours did
            not come back to us: whoever sends much must read, too.  Fails with
            L{NotJoined} when we are not a member now, L{TooBig} beyond
            L{LARGEST_MESSAGE_BYTES}, L{TryAgain} when
            L{SEND_QUEUE_BYTES<corotwist.ipc.outbox.SEND_QUEUE_BYTES>} wait
            already, L{Interrupted} when the membership changed in the middle
            of a large message, and L{Disconnected} when the connection was
            lost before the answer: then it may be ordered, or not.  To cancel
            is to stop waiting; the message is on its way.
        """
        if self.standing is not Standing.MEMBER:
            return fail(self._notJoined())
        if len(payload) > LARGEST_MESSAGE_BYTES:
            return fail(TooBig(f"a message has at most {LARGEST_MESSAGE_BYTES} bytes"))
        return self._outlet.send(self, guarantee, payload)

    def sendAll(
        self, payloads: Iterable[bytes], guarantee: Guarantee = Guarantee.AGREED
    ) -> Deferred[None]:
        """
        Multicast messages one after the other, for less than sending each.

        @return: fires with L{None} when all of them are queued.  Fails as
            L{send}; with L{TryAgain} none was sent, with other errors the
            first ones may have been.
        """
        if self.standing is not Standing.MEMBER:
            return fail(self._notJoined())
        payloads = list(payloads)
        if payloads and len(max(payloads, key=len)) > LARGEST_MESSAGE_BYTES:
            return fail(TooBig(f"a message has at most {LARGEST_MESSAGE_BYTES} bytes"))
        return self._outlet.sendAll(self, guarantee, payloads)

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

    def connectionLost(self) -> None:
        """
        We are nobody's member for now.
        """
        self.members = ()
        self.flowReceived(False)

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
