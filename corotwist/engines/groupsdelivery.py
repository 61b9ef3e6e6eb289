"""
From the order to the local processes: may they see it, and when.

What is decided here follows from the order alone, so that all members decide
alike: from the view in force, and from what a message says.
"""

from collections.abc import Iterable
from functools import partial

from corotwist.engines.groupslocal import LocalProcesses
from corotwist.engines.groupsreceipts import Fate, Held
from corotwist.engines.interfaces import (
    SEQUENCE_BITS,
    GroupView,
    Member,
    Position,
    Terms,
    ViewId,
)
from corotwist.engines.outgoing import LocalMember
from corotwist.engines.quorate import isQuorate
from corotwist.errors import Interrupted, InvalidParameter, NotQuorate, ServiceError
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Guarantee


class GroupsDelivery:
    """
    Quorate groups get messages of quorate views.  Those that were ordered in a
    view which is not are refused by everybody.  Those that a quorate ring leaves
    when it is over are held until it is known whether we go on to a quorate
    view, too, and that nobody is there who went on before or otherwise; who does
    not drops them.  And they have to be safe: an agreed
    message is delivered as soon as we have it, when we may be alone with it.
    """

    def __init__(self, local: LocalProcesses, counters: dict[str, int]) -> None:
        """
        @param counters: the engine's.
        """
        self._local = local
        self._counters = counters
        # From a transitional configuration to the next view of nodes.
        self._held: Held | None = None

    def begin(self, cluster: ICluster) -> None:
        """
        The engine is initialized.
        """
        self._cluster = cluster

    # From the order.

    def deliver(
        self,
        recipients: Iterable[LocalMember],
        sender: Member,
        batch: bytes,
        count: int,
        fate: Fate,
    ) -> None:
        """
        Messages in their place.

        @param fate: as L{judge} said.
        """
        if isinstance(fate, ServiceError):
            self._counters["refused"] += 1
            return
        cluster = self._cluster
        position = Position(cluster.position() << SEQUENCE_BITS, cluster.guarantee())
        deliver = self._local.deliver
        if fate is None:
            deliver(recipients, sender, batch, count, position)
        else:
            them = tuple(recipients)
            fate.message(partial(deliver, them, sender, batch, count, position))

    def judge(self, group: bytes, terms: Terms | None = None) -> Fate:
        """
        What becomes of the message that is being delivered, on every node.

        @param group: the first that it is for, as it is called on the wire.
        """
        if terms is None:
            return self._judge((group,), None) if isQuorate(group) else None
        return self._judge((group, *terms.groups), terms.view)

    def _judge(self, groups: tuple[bytes, ...], wanted: ViewId | None) -> Fate:
        view = self._cluster.view()
        if wanted is not None and wanted != view.viewId:
            return Interrupted(f"ordered in view {view.viewId}")
        if not any(map(isQuorate, groups)):
            return None
        if not all(map(isQuorate, groups)):
            return InvalidParameter("quorate groups and others at once")
        if not view.quorate or self._cluster.guarantee() is not Guarantee.SAFE:
            return NotQuorate(f"ordered in view {view.viewId}")
        return self._held

    def show(self, recipients: Iterable[LocalMember], view: GroupView) -> None:
        """
        Who is in a group, after a change.
        """
        them = tuple(recipients)
        quorate = bool(them) and them[0].quorate
        if quorate and self._held is not None:
            self._held.change(partial(self._local.show, them, view))
        else:
            self._local.show(them, view)

    def ringEnded(self) -> None:
        """
        A transitional configuration: what follows is left over.
        """
        if self._held is None:
            self._held = Held()

    def viewAhead(self, *, goesOn: bool) -> None:
        """
        The next view is decided and will be shown.

        @param goesOn: it is quorate, and we are those who go on there.
        """
        held, self._held = self._held, None
        if held is not None:
            self._counters["refused"] += held.decide(quorate=goesOn)
