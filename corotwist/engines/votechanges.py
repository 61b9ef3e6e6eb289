"""
Changes of whose votes count: nodes that are lost or leave for good, and what
follows for the next time.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred

from corotwist.engines.basis import Basis
from corotwist.engines.quoruminterfaces import IFencing
from corotwist.engines.votejudging import Judging
from corotwist.engines.votemessages import Accept, Shrink
from corotwist.engines.voters import Standing
from corotwist.errors import NotExist, TryAgain

# Changes that wait for their turn.
MOST_CHANGES: Final = 64

_SECOND: Final = 1_000_000_000
_WINDOW: Final = "the window of last_man_standing is over"

Change = Callable[[], Basis | None]
Formed = Callable[[Basis], None]


class Changing(Judging):
    """
    One change after the other, each agreed on by all members: see
    L{corotwist.engines.basis}.
    """

    _changes: deque[tuple[Change, Formed]]
    _leaving: list[Deferred[None]]
    _window: Any

    # Whose votes count.

    def _leaveDelivered(self, nodeid: int) -> None:
        """
        A member leaves for good.  Real corosync nodes expect exactly the
        nodes that remain.
        """
        cause = f"node {nodeid} leaves for good"
        if self.count.mixed:
            self.count.voters[nodeid].standing = Standing.LEAVING
            remain = len(self.count.voters.members())
            self._judge(cause, allowDecrease=True, exactly=remain)
            if nodeid == self.cluster.nodeid:
                self._leave()
        else:
            self._change(
                partial(self.count.without, nodeid), partial(self._left, nodeid)
            )
            idle = self.count.agreement.attempt is None and not self._changes
            if idle and nodeid == self.cluster.nodeid:
                self._leave()  # Nothing changes by it.

    def _left(self, nodeid: int, basis: Basis) -> None:
        self.count.voters[nodeid].standing = Standing.LEAVING
        cause = f"node {nodeid} leaves for good"
        self._judge(cause, allowDecrease=True, exactly=basis.expected)
        if nodeid == self.cluster.nodeid:
            self._leave()

    def _leave(self) -> None:
        """
        Whoever waits for our leave goes on, in a turn of its own: the other
        services stop behind us, and not in the middle of a delivery.
        """
        leaving, self._leaving = self._leaving, []
        for ending in leaving:
            self.cluster.callAfter(0, partial(ending.callback, None))

    def _shrinkDelivered(self, nodeid: int) -> None:
        """
        The window of last_man_standing is over at some node: it is at this
        place of the order that it is for all.
        """
        if not self._sureToBeGone():
            self._openWindow()
            return
        if not self.count.mixed:
            self._change(self.count.shrunk, self._shrunk)
        elif self.count.shrinks() and self.published.quorate:
            total = self.count.verdict.total
            self._judge(_WINDOW, allowDecrease=True, exactly=total)

    def _sureToBeGone(self) -> bool:
        """
        Is every lost node off?  Yes, where nobody makes sure of that.
        """
        try:
            fencing = IFencing(self.cluster.engine("fencing"))
        except NotExist:
            return True
        known, members = self.count.voters.items(), self.cluster.members()
        return fencing.confirmed(n for n, _ in known if n not in members)

    def _shrunk(self, basis: Basis) -> None:
        self._judge(_WINDOW, allowDecrease=True, exactly=basis.expected)

    def _change(self, change: Change, formed: Formed) -> None:
        if len(self._changes) < MOST_CHANGES:
            self._changes.append((change, formed))
        self._advance()

    def _advance(self) -> None:
        """
        One change after the other; and when there is none, whatever has become
        of the last ones.  In a round the members tell what they remember: until
        it is over nobody remembers anything else.
        """
        agreement = self.count.agreement
        if self._synchronizing:
            return
        while self._changes and agreement.attempt is None:
            change, formed = self._changes.popleft()
            self._propose(change(), formed)
        if agreement.attempt is None:
            self._propose(self.count.desired(), self._settled)

    def _propose(self, basis: Basis | None, formed: Formed) -> None:
        count = self.count
        if basis is not None and count.agreement.memory.permits(count.voters.present()):
            count.agreement.propose(basis, self.cluster.members(), formed)

    def _settled(self, basis: Basis) -> None:
        self._judge("all members wrote down whose votes count")

    def _accept(self, basis: Basis) -> None:
        """
        We wrote it down: the others hear it, unless the ring is over.
        """
        attempt = self.count.agreement.attempt
        if attempt is None or attempt.basis is not basis:
            return
        try:
            self._say(Accept(basis.epoch, basis.digest))
        except TryAgain:
            self.cluster.whenRoom(partial(self._accept, basis))

    # The window of last_man_standing.

    def _openWindow(self) -> None:
        self._closeWindow()
        if self.published.quorate and self.count.shrinks():
            window = int(self.count.settings.lastManStandingWindow * _SECOND)
            self._window = self.cluster.callAfter(window, self._windowEnded)

    def _closeWindow(self) -> None:
        if self._window is not None:
            self.cluster.cancel(self._window)
        self._window = None

    def _windowEnded(self) -> None:
        """
        Propose only: every member does, at about the same time.
        """
        self._window = None
        if self._synchronizing:
            return
        try:
            self._say(Shrink())
        except TryAgain:
            self.cluster.whenRoom(self._windowEnded)
