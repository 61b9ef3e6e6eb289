"""
Quorum as a client has it, with the calls of corosync's C{quorum} library: made of
the views of the node, in their order.
"""

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from corotwist.engines.interfaces import NO_VIEW, NodeChange, TransitionalView, View
from corotwist.errors import Exists, NotExist, ServiceError
from corotwist.ipc.status import NodeInquiry, NodeStatus
from corotwist.ipc.views import Following, NodeView, NodeViews
from corotwist.totem.membership import RingId

Nodeids = tuple[int, ...]


@define(eq=False)
class QuorumFollower:
    """
    Who is told of quorum; each callback may be left out.

    @ivar nodesChanged: called with a ring id, its members, who joined and who
        left: once for each ring, before anything is said of quorum there.
    @ivar quorumChanged: called with the verdict, the ring id and its members:
        once for each ring, and for each other verdict on it.
    """

    nodesChanged: Callable[[RingId, Nodeids, Nodeids, Nodeids], object] | None = None
    quorumChanged: Callable[[bool, RingId, Nodeids], object] | None = None


class Quorum:
    """
    May the partition of our node act?
    """

    _log = Logger()

    def __init__(self, views: NodeViews, node: NodeInquiry) -> None:
        self._views = views
        self._node = node
        self._follower: QuorumFollower | None = None
        self._following: Following | None = None
        self._told = NO_VIEW.viewId

    def quorate(self) -> Deferred[bool]:
        """
        Ask the node.

        @return: fires with the verdict of the view in force; fails with
            L{Disconnected}.
        """
        return self._views.now().addCallback(lambda view: view.quorate)

    def validUntil(self) -> Deferred[int | None]:
        """
        So long our partition may act, and no other one, though nothing is heard
        of the others any more.

        @return: fires with nanoseconds of L{time.monotonic_ns} on the node's
            machine; 0 while we may not act, or cannot be sure; C{None} where
            nobody decides about quorum, so that the verdict does not end.
            Fails with L{Disconnected}.
        """
        return self._node.status().addCallback(_validUntil)

    def track(
        self, follower: QuorumFollower, *, current: bool = True, changes: bool = True
    ) -> Deferred[None]:
        """
        Be told of quorum.  After the node was gone, how it is then comes as a
        change.

        @param current: how it is now: without who joined and who left.
        @param changes: what happens from then on, until L{untrack}.
        @return: fires when it has been told how it is now.  Fails with
            L{Exists} when quorum is tracked already, L{Disconnected}.
        """
        if self._follower is not None:
            return fail(Exists("quorum is tracked already"))
        self._follower = follower
        return Deferred.fromCoroutine(self._track(follower, current, changes))

    async def _track(
        self, follower: QuorumFollower, current: bool, changes: bool
    ) -> None:
        try:
            view = await self._views.now()
        except ServiceError:
            self._follower = None
            raise
        if self._follower is not follower:
            return  # It was stopped meanwhile.
        self._told = view.viewId
        if current:
            self._tellNodes(view, (), ())
            self._tellQuorum(view)
        if changes:
            self._following = self._views.follow(self._heard)
        else:
            self._follower = None

    def untrack(self) -> None:
        """
        Be told no more.

        @raise NotExist: quorum is not tracked.
        """
        if self._follower is None:
            raise NotExist("quorum is not tracked")
        following, self._following = self._following, None
        self._follower = None
        if following is not None:
            following.stop()

    def _heard(self, event: NodeView) -> None:
        """
        A view: its nodes, unless it is another verdict on the same ring, and
        then the verdict.
        """
        if isinstance(event, TransitionalView) or event.viewId <= self._told:
            return
        before, self._told = self._told, event.viewId
        if before.ringId != event.viewId.ringId:
            self._tellNodes(event, _nodeids(event.joined), _nodeids(event.left))
        self._tellQuorum(event)

    def _tellNodes(self, view: View, joined: Nodeids, left: Nodeids) -> None:
        if self._follower is not None and self._follower.nodesChanged is not None:
            ring = view.viewId.ringId
            self._call(self._follower.nodesChanged, ring, view.members, joined, left)

    def _tellQuorum(self, view: View) -> None:
        if self._follower is not None and self._follower.quorumChanged is not None:
            ring = view.viewId.ringId
            self._call(self._follower.quorumChanged, view.quorate, ring, view.members)

    def _call(self, callback: Callable[..., object], *news: Any) -> None:
        try:
            callback(*news)
        except Exception:  # noqa: BLE001 - Whatever it is, it is his own.
            self._log.failure("An application failed at a change of quorum")


def _validUntil(status: NodeStatus) -> int | None:
    return status.explanation.get("validUntil")


def _nodeids(changes: tuple[NodeChange, ...]) -> Nodeids:
    return tuple(change.nodeid for change in changes)
