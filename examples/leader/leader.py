"""
Who leads: in each quorate view of the nodes the lowest member of a group, and
nobody else.  The id of the view is a token: whatever the leader writes to, a disk
or a database, takes it along and refuses smaller ones, so that a leader of before,
who does not know yet, does no harm.

    python leader.py /run/corotwist/corotwist.sock
"""

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.task import react

from corotwist.engines.interfaces import (
    GroupView,
    Member,
    TransitionalView,
    View,
    ViewId,
)
from corotwist.errors import ServiceError
from corotwist.ipc.client import connect
from corotwist.ipc.events import Event, Gap, Message
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.stream import Stream

GROUP = b"leader"


class Leadership:
    """
    Follows one stream, and says when we lead.

    Views of groups that changed follow the view of the nodes, and nothing says
    that none follows any more: but a message does that was sent in the new view.
    So in each view everybody sends an empty one, and decides from the first that
    comes on.

    @ivar token: of our leadership; L{None} while we do not lead.
    """

    def __init__(
        self,
        group: ProcessGroup,
        own: Member,
        changed: Callable[[ViewId | None], object],
    ) -> None:
        """
        @param own: how others see us.
        """
        self.token: ViewId | None = None
        self._group = group
        self._own = own
        self._changed = changed
        self._view: View | None = None
        self._settled = False
        self._members: tuple[Member, ...] = ()

    async def follow(self, stream: Stream) -> None:
        """
        As long as the stream goes on.
        """
        async for event in stream:
            self.heard(event)
        self._view = None
        self._decide()

    def heard(self, event: Event) -> None:
        """
        What happens next.
        """
        match event:
            case View():
                self._view, self._settled = event, False
                self._sound(event)
            case GroupView():
                self._members = event.members
                if not self._settled and self._view is not None:
                    self._sound(self._view)
            case Message():
                self._settled = event.view == (self._view and self._view.viewId)
            case TransitionalView():
                self._view = None
            case Gap():
                self._view, self._members = None, ()
        self._decide()

    def _sound(self, view: View) -> None:
        # Not delivered in another view; and then there is another one to act on.
        sent = self._group.send(b"", view=view.viewId)
        sent.addErrback(lambda failure: failure.trap(ServiceError))

    def _decide(self) -> None:
        token = None
        if self._view is not None and self._view.quorate and self._settled:
            leads = self._members and self._own == min(self._members)
            token = self._view.viewId if leads else None
        if token != self.token:
            self.token = token
            self._changed(token)


def told(token: ViewId | None) -> None:
    """
    For a terminal.
    """
    text = f"we lead, with token {token}" if token else "we do not lead"
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(reactor: Any, path: str) -> None:
    """
    Until the process ends.
    """
    client = await connect(reactor, path)
    stream = client.stream()
    group = await stream.join(GROUP)
    await Leadership(group, client.groups.own, told).follow(stream)


if __name__ == "__main__":
    react(main, sys.argv[1:])
