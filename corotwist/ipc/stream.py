"""
All that a client is told, in the one order of its node.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from corotwist.engines.interfaces import SlowReader
from corotwist.errors import BadHandle
from corotwist.ipc.callbacks import Callbacks
from corotwist.ipc.events import Audience, Event
from corotwist.ipc.group import ProcessGroup, Wishes
from corotwist.ipc.groups import ProcessGroups
from corotwist.ipc.iteration import Events


class Stream:
    """
    The views of the nodes, and what happens in all groups that are joined
    through this stream, one event after the other::

        View              who is here, why, and may we act
          GroupView       of each group that has other members
          Message         of all groups
        TransitionalView  a ring is over: who comes along with us
          Message         what is left of it
        View              ...

    so that whoever acts on an event knows what it was true for.  The first event
    is the view in force, if there is one.  When the connection is lost there is
    a L{Gap<corotwist.ipc.events.Gap>}, and behind it a view again.

    Iterate over it with C{async for}, or give a callback; what is not iterated
    over is not acknowledged, and after a while the node sends no more.
    """

    def __init__(
        self,
        groups: ProcessGroups,
        heard: Callable[[Event], object] | None = None,
    ) -> None:
        """
        For L{NodeClient.stream<corotwist.ipc.client.NodeClient.stream>}.
        """
        self._groups = groups
        self._events = Events() if heard is None else None
        self._audience: Audience = self._events or Callbacks(heard=heard)
        groups.watch(self._audience)

    def join(
        self,
        name: bytes,
        *,
        slow: SlowReader | None = None,
        quorate: bool = False,
        discardOwn: bool = False,
        timeout: float | None = None,
    ) -> Deferred[ProcessGroup]:
        """
        Have the events of a group in this stream from now on; again and again
        when the connection to the node is lost and found, until we leave.

        @return: see L{ProcessGroups.join}.
        """
        wishes = Wishes(slow, quorate, discardOwn)
        group = ProcessGroup(name, self._groups, self._audience, wishes)
        return self._groups.enter(group, timeout)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Event:
        """
        The next event.
        """
        if self._events is None:
            raise BadHandle("the events of this stream go to a callback")
        return await self._events.next()

    def close(self) -> Deferred[None]:
        """
        Leave its groups, and have no more views of nodes.  Iterating ends
        behind the last view of the last group.

        @return: fires when we are out.
        """
        return self._groups.unwatch(self._audience)
