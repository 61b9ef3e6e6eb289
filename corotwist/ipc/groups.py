"""
The process groups of one client.
"""

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.engines import batch as batches
from corotwist.engines.interfaces import (
    LONGEST_GROUP_NAME,
    NO_VIEW,
    GroupView,
    Member,
    SlowReader,
    View,
)
from corotwist.errors import (
    Busy,
    Disconnected,
    Exists,
    NameTooLong,
    NotExist,
    TimedOut,
    TryAgain,
)
from corotwist.ipc.arrivals import Arrivals
from corotwist.ipc.callbacks import Callbacks
from corotwist.ipc.cpg import Groups, Join, Leave, Members
from corotwist.ipc.events import Account, Audience, Event, Gap, Settled
from corotwist.ipc.group import ProcessGroup, Standing, Wishes
from corotwist.ipc.iteration import Events
from corotwist.ipc.posting import Posting
from corotwist.ipc.remote import Remote, ask
from corotwist.ipc.views import NodeView
from corotwist.totem.membership import RingId

# Between asking again whether we may join or leave now.
RETRY_SECONDS: Final = 0.1


@frozen
class Ring:
    """
    The ring that the node is on.
    """

    ringId: RingId
    members: tuple[int, ...]


class ProcessGroups:
    """
    The groups of one client.

    @ivar clock: of the client.
    @ivar ring: as last notified; L{None} before that.
    @ivar ringChanged: called with each new one, when set.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.ring: Ring | None = None
        self.ringChanged: Callable[[Ring], object] | None = None
        self.clock = clock
        self._remote: Remote | None = None
        self._groups: dict[bytes, ProcessGroup] = {}
        self._posting = Posting(clock, self._askToLeave)
        self._arrivals = Arrivals(self._groups, self)
        self.send = self._posting.send
        self.sendAll = self._posting.sendAll
        self.returned = self._posting.returned
        self._retries: dict[ProcessGroup, IDelayedCall] = {}
        # Who hears of the nodes, too: of a group, or of all of a stream.
        self._watching: dict[Audience, bytes | None] = {}

    # For the application.

    @property
    def own(self) -> Member:
        """
        Ourselves, as other members see us; (0, 0) before we were connected.
        """
        return self._arrivals.own

    @property
    def view(self) -> View:
        """
        The nodes' view that is in force at the last event;
        L{NO_VIEW<corotwist.engines.interfaces.NO_VIEW>} while we do not know.
        """
        return self._arrivals.view

    def join(
        self,
        name: bytes,
        delivered: Callable[[Member, bytes], object] | None = None,
        viewChanged: Callable[[GroupView], object] | None = None,
        interrupted: Callable[[Gap], object] | None = None,
        *,
        batchDelivered: Callable[[Member, list[bytes]], object] | None = None,
        heard: Callable[[Event], object] | None = None,
        nodes: bool = False,
        slow: SlowReader | None = None,
        quorate: bool = False,
        discardOwn: bool = False,
        timeout: float | None = None,
    ) -> Deferred[ProcessGroup]:
        """
        Be a member of a group, again and again when the connection to the
        node is lost and found, until we leave.

        Without any callback, events wait for L{ProcessGroup} to be iterated
        over.  With one or more, events go to the callback for their kind, and
        those without a callback go nowhere; a callback that raises is logged.

        @param delivered: called with sender and payload of each message.
        @param viewChanged: called with each view, the first before the
            L{Deferred} fires.
        @param interrupted: called with each L{Gap}.
        @param batchDelivered: called with a sender and the messages of it that
            came together, at least one, in order: for less than a call each.
        @param heard: called with every event, as iterating gives it.
        @param nodes: give views of the nodes, too, in their places.
        @param slow: what is to happen when we read more slowly than others
            send; by default what is configured for the node.
        @param quorate: be in the quorate group of that name: its messages are
            taken and delivered in quorate views of the nodes only.
        @param discardOwn: do not get what we send ourselves.
        @param timeout: how long to wait at most, in seconds.
        @return: fires with the group at the first view with us in it; waits
            for the node to be connected and in step.  Fails with
            L{TimedOut} when that is not so in time, and we are out; with
            L{NameTooLong}, with L{Exists} when this process joined it already,
            L{Conflict} when it has members of the other kind (C{quorate}),
            L{Disconnected} when the client is stopped.  To cancel is to leave.
        """
        called = Callbacks(delivered, batchDelivered, viewChanged, interrupted, heard)
        wishes = Wishes(slow, quorate, discardOwn)
        if called.wanted():
            group = ProcessGroup(name, self, called, wishes)
        else:
            events = Events()
            group = ProcessGroup(name, self, events, wishes, iterated=events)
        return self.enter(group, timeout, nodes=nodes)

    def enter(
        self,
        group: ProcessGroup,
        timeout: float | None = None,
        *,
        nodes: bool = False,
    ) -> Deferred[ProcessGroup]:
        """
        Join, as L{join} does, a group whose audience is set up.
        """
        name = group.name
        if len(name) > LONGEST_GROUP_NAME:
            text = f"a group's name has at most {LONGEST_GROUP_NAME} bytes"
            return fail(NameTooLong(text))
        if name in self._groups:
            return fail(Exists(f"this client joined {name!r} already"))
        self._groups[name] = group
        joining: Deferred[ProcessGroup] = Deferred(lambda _: self._withdraw(group))
        group.joining = joining
        if nodes:
            self.watch(group.audience, name)
        self._askToJoin(group)
        return joining if timeout is None else self.inTime(joining, timeout)

    def members(self, name: bytes) -> Deferred[tuple[Member, ...]]:
        """
        Who is in a group, which need not be one of ours.

        @return: fires with the members, ascending; nobody when there is no
            such group.  Fails with L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._listMembers(name))

    async def _listMembers(self, name: bytes) -> tuple[Member, ...]:
        found: list[Member] = []
        more = True
        after: tuple[int, ...] = ()
        while more:
            answer = await self._ask(Members, group=name, after=after)
            numbers = answer["members"]
            found += map(Member, numbers[::2], numbers[1::2])
            after = numbers[-2:]
            more = answer["more"] and bool(numbers)
        return tuple(found)

    def groups(self) -> Deferred[tuple[bytes, ...]]:
        """
        Which groups have members, anywhere in the cluster.

        @return: fires with their names in byte order.  Fails with
            L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._listGroups())

    async def _listGroups(self) -> tuple[bytes, ...]:
        found: list[bytes] = []
        more = True
        while more:
            after = {"after": found[-1]} if found else {}
            answer = await self._ask(Groups, **after)
            names = batches.unpack(answer["groups"])
            found += names
            more = answer["more"] and bool(names)
        return tuple(found)

    def _ask(
        self, command: type[amp.Command], **arguments: Any
    ) -> Deferred[dict[str, Any]]:
        if self._remote is None:
            return fail(Disconnected("not connected to the node"))
        return ask(self._remote, command, **arguments)

    # From streams.

    def watch(self, audience: Audience, name: bytes | None = None) -> None:
        """
        Give an audience the views of the nodes, the one in force at once.

        @param name: of the group that it has; otherwise it may have several.
        """
        self._watching[audience] = name
        if self.view is not NO_VIEW:
            audience.shown(self.view, Settled())

    def unwatch(self, audience: Audience) -> Deferred[None]:
        """
        Leave all groups of an audience, and end it.

        @return: fires when that is so.
        """
        self._watching.pop(audience, None)
        theirs = [g for g in self._groups.values() if g.audience is audience]
        left = gatherResults([self.leave(group) for group in theirs])
        return left.addCallback(lambda _: audience.end())

    # From a group; what it sends goes the way of L{Posting}.

    def inTime(self, waiting: Deferred[Any], seconds: float) -> Deferred[Any]:
        """
        See L{Outlet<corotwist.ipc.group.Outlet>}.
        """
        return waiting.addTimeout(seconds, self.clock, _timedOut)

    def leave(self, group: ProcessGroup) -> Deferred[None]:
        """
        For L{ProcessGroup.leave}.
        """
        left: Deferred[None] = Deferred()
        group.leaving.append(left)
        self._withdraw(group)
        return left

    # Joining and leaving.

    def _askToJoin(self, group: ProcessGroup) -> None:
        if self._remote is not None and group.standing is Standing.WAITING:
            group.standing = Standing.ASKED
            asked = ask(self._remote, Join, group=group.name, **_said(group.wishes))
            asked.addErrback(self._joinRefused, group)

    def _joinRefused(self, failure: Failure, group: ProcessGroup) -> None:
        if group.standing is not Standing.ASKED:
            return
        again: tuple[type[Exception], ...] = (TryAgain, Busy)
        if group.everJoined:
            # The node may still be busy with the end of our last connection.
            again = (TryAgain, Busy, Exists)
        if failure.check(Disconnected):
            return
        group.standing = Standing.WAITING
        if failure.check(*again):
            self._retry(group, self._askToJoin)
        else:
            self._end(group, failure)

    def _withdraw(self, group: ProcessGroup) -> None:
        group.joining = None
        if group.standing is Standing.WAITING:
            self._end(group, None)
        elif group.standing is not Standing.LEAVING:
            group.leavingBegan()
            self._posting.flush()
            self._askToLeave(group)

    def _askToLeave(self, group: ProcessGroup) -> None:
        if (
            self._remote is not None
            and group.standing is Standing.LEAVING
            and not group.unanswered
            and not self._posting.holds(group)
        ):
            asked = ask(self._remote, Leave, group=group.name)
            asked.addErrback(self._leaveRefused, group)

    def _leaveRefused(self, failure: Failure, group: ProcessGroup) -> None:
        if failure.check(Disconnected) or group.standing is not Standing.LEAVING:
            return
        if failure.check(TryAgain, Busy):
            self._retry(group, self._askToLeave)
        else:
            if not failure.check(NotExist):
                self._log.failure("Leaving {group!r}", failure, group=group.name)
            self._end(group, None)

    def _retry(
        self, group: ProcessGroup, request: Callable[[ProcessGroup], None]
    ) -> None:
        self._forgetRetry(group)
        self._retries[group] = self.clock.callLater(
            RETRY_SECONDS, self._retryNow, group, request
        )

    def _retryNow(
        self, group: ProcessGroup, request: Callable[[ProcessGroup], None]
    ) -> None:
        del self._retries[group]
        request(group)

    def _forgetRetry(self, group: ProcessGroup) -> None:
        retry = self._retries.pop(group, None)
        if retry is not None:
            retry.cancel()

    def _end(self, group: ProcessGroup, failure: Failure | None) -> None:
        """
        The group is not ours any more.
        """
        self._groups.pop(group.name, None)
        self._posting.forget(group)
        self._forgetRetry(group)
        group.ended()
        if self._watching.get(group.audience) is not None:
            del self._watching[group.audience]
        joining, group.joining = group.joining, None
        if joining is not None and failure is not None:
            joining.errback(failure)
        leaving, group.leaving = group.leaving, []
        for left in leaving:
            left.callback(None)

    # From the client.

    def connected(self, remote: Remote) -> None:
        """
        The node is there, perhaps again.
        """
        self._remote = remote
        own = Member(remote.welcome.nodeid, remote.welcome.pid)
        self._posting.connected(remote, own)
        self._arrivals.connected(remote, own)
        for group in list(self._groups.values()):
            self._askToJoin(group)

    def connectionLost(self, reason: str) -> None:
        """
        It is gone, for now.
        """
        self._arrivals.nodesForgotten()
        self.serviceLost(reason)

    def serviceLost(self, reason: str) -> None:
        """
        It does not serve groups, for now; what it says of nodes holds.
        """
        self._remote = None
        self._posting.connectionLost(reason)
        self._arrivals.connectionLost()
        interrupted: dict[Audience, Gap] = {}
        for group in list(self._groups.values()):
            self._forgetRetry(group)
            self._posting.forget(group)
            if group.standing is Standing.LEAVING:
                self._end(group, None)
            elif group.connectionLost():
                # One gap for each audience: that of its only group, or of all.
                name = self._watching.get(group.audience, group.name)
                interrupted[group.audience] = Gap(name, reason)
        for audience, name in self._watching.items():
            interrupted[audience] = Gap(name, reason)
        for audience, gap in interrupted.items():
            audience.interrupted(gap)

    def stopped(self) -> None:
        """
        The client is stopped for good.
        """
        failure = Failure(Disconnected("the client was stopped"))
        for group in list(self._groups.values()):
            self._end(group, failure)
        watching, self._watching = self._watching, {}
        for audience in watching:
            audience.end()

    def nodesViewed(self, view: NodeView) -> None:
        """
        Views of the nodes, in their places of the order.
        """
        self._arrivals.nodesViewed(view, tuple(self._watching))

    def responders(self) -> dict[bytes, Callable[[amp.AmpBox], None]]:
        """
        Who takes which notification.
        """
        return self._arrivals.responders()

    # From what arrives.

    def viewReceived(
        self, group: ProcessGroup, view: GroupView, own: Member, account: Account
    ) -> None:
        """
        See L{Receiver<corotwist.ipc.arrivals.Receiver>}.
        """
        entered = group.standing is Standing.ASKED and own in view.members
        if entered:
            group.standing = Standing.MEMBER
            group.everJoined = True
        group.viewReceived(view, account)
        joining = group.joining
        if entered and joining is not None:
            group.joining = None
            joining.callback(group)
        if own in (change.member for change in view.left):
            self._end(group, None)

    def ringReceived(self, ringId: RingId, members: tuple[int, ...]) -> None:
        """
        See L{Receiver<corotwist.ipc.arrivals.Receiver>}.
        """
        self.ring = Ring(ringId, members)
        if self.ringChanged is not None:
            try:
                self.ringChanged(self.ring)
            except Exception:  # noqa: BLE001
                self._log.failure("An application failed at a ring")


def _said(wishes: Wishes) -> dict[str, Any]:
    """
    Wishes as arguments of L{Join}.
    """
    said: dict[str, Any] = {}
    if wishes.slow is not None:
        said["slow"] = wishes.slow.encode()
    if wishes.quorate:
        said["quorate"] = True
    if wishes.discardOwn:
        said["discard"] = True
    return said


def _timedOut(result: object, timeout: float) -> object:
    if isinstance(result, Failure) and result.check(CancelledError):
        raise TimedOut(f"not within {timeout} s")
    return result
