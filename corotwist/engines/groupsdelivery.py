"""
From the order to the local processes: may they see it, and when.

What is decided here follows from the order alone, so that all members decide
alike: from the view in force, and from what a message says.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from corotwist.engines import batch as batches
from corotwist.engines.assembly import Assembly
from corotwist.engines.compact import CompactMcast, Piece
from corotwist.engines.groupslocal import LocalProcesses
from corotwist.engines.groupsreceipts import Fate, Held
from corotwist.engines.interfaces import (
    SEQUENCE_BITS,
    GroupView,
    Member,
    Position,
)
from corotwist.engines.joinlist import GroupTable
from corotwist.engines.outgoing import LocalMember
from corotwist.engines.quorate import isQuorate
from corotwist.errors import (
    Interrupted,
    InvalidParameter,
    NotJoined,
    NotQuorate,
    ServiceError,
)
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Guarantee

# Asked for each message: enums are slow to look up.
_WHOLE: Final = Piece.BATCH


class GroupsDelivery:
    """
    Quorate groups get messages of quorate views.  Those that were ordered in a
    view which is not are refused by everybody.  Those that a quorate ring leaves
    when it is over are held until it is known whether we go on to a quorate
    view, too, and that nobody is there who went on before or otherwise; who does
    not drops them.  And they have to be safe: an agreed
    message is delivered as soon as we have it, when we may be alone with it.

    @ivar table: who is in which group.
    @ivar assembly: messages in pieces.
    """

    def __init__(
        self, local: LocalProcesses, counters: dict[str, int], table: GroupTable
    ) -> None:
        """
        @param counters: the engine's.
        """
        self._local = local
        self._counters = counters
        self.table = table
        self.assembly = Assembly()
        # From a transitional configuration to the next view of nodes.
        self._held: Held | None = None

    def begin(self, cluster: ICluster) -> None:
        """
        The engine is initialized.
        """
        self._cluster = cluster

    # From the order.

    def ordered(
        self, nodeid: int, message: CompactMcast, *, bound: bool = True
    ) -> Fate:
        """
        A message in its place, in whatever form it came.

        @param bound: does it count on its ring only?
        @return: what becomes of it, on every node; L{None} when it is
            delivered.
        """
        group = message.group
        sender = self.table.find(group, nodeid, message.pid)
        if sender is None:
            self._counters["strangers"] += 1
            return NotJoined("not in the group any more when it was ordered")
        whole = message.piece is _WHOLE
        if whole and message.terms is None and not isQuorate(group):
            # Nearly all: nothing is to be judged.
            recipients = self._local.recipients(group)
            if recipients:
                batch, count = message.payload, message.count
                self._local.deliver(recipients, sender, batch, count, self._place())
            return None
        recipients = self._recipients(sender, message)
        if not whole:
            return self._pieceOrdered(sender, message, recipients, bound=bound)
        return self._batchOrdered(
            sender, message, recipients, message.payload, message.count
        )

    def present(self, message: CompactMcast) -> tuple[Member, ...]:
        """
        Those it is for that are there, if it is for some.
        """
        there = self.table.find
        to = () if message.terms is None else message.terms.to
        return tuple([m for m in to if there(message.group, m.nodeid, m.pid)])

    def _recipients(
        self, sender: Member, message: CompactMcast
    ) -> tuple[LocalMember, ...]:
        """
        Whom of ours a message is for: in each of its groups that he who sent it
        is in, in their order.
        """
        recipients = self._local.recipients(message.group)
        terms = message.terms
        if terms is None:
            return recipients
        for group in terms.groups:
            if self.table.find(group, sender.nodeid, sender.pid) is not None:
                recipients += self._local.recipients(group)
        if not terms.to:
            return recipients
        here = self._cluster.nodeid
        pids = {target.pid for target in terms.to if target.nodeid == here}
        return tuple([member for member in recipients if member.pid in pids])

    def _pieceOrdered(
        self,
        sender: Member,
        message: CompactMcast,
        recipients: tuple[LocalMember, ...],
        *,
        bound: bool,
    ) -> Fate:
        """
        A message in pieces is where its last one is, for those who were there at
        the first one.
        """
        key = (message.group, sender)
        if message.piece is Piece.FIRST:
            self.assembly.begin(key, message.count, recipients, bound=bound)
        self.assembly.add(key, message.payload)
        if message.piece is not Piece.LAST:
            return None
        finished = self.assembly.finish(key)
        if finished is None:
            return None
        whole, first = finished
        still = [member for member in first if member in recipients]
        return self._batchOrdered(sender, message, still, batches.pack([whole]), 1)

    def _batchOrdered(
        self,
        sender: Member,
        message: CompactMcast,
        recipients: Sequence[LocalMember],
        batch: bytes,
        count: int,
    ) -> Fate:
        fate = self._judge(message)
        if isinstance(fate, ServiceError):
            self._counters["refused"] += 1
            return fate
        position = self._place()
        if fate is None:
            self._local.deliver(recipients, sender, batch, count, position)
        else:
            deliver = self._local.deliver
            fate.message(partial(deliver, recipients, sender, batch, count, position))
        return fate

    def _place(self) -> Position:
        """
        Of the message that is being delivered.
        """
        cluster = self._cluster
        return Position(cluster.position() << SEQUENCE_BITS, cluster.guarantee())

    def _judge(self, message: CompactMcast) -> Fate:
        """
        What becomes of the message that is being delivered, on every node.
        """
        terms = message.terms
        if terms is None and not isQuorate(message.group):
            return None
        view = self._cluster.view()
        if terms is not None and terms.view not in {None, view.viewId}:
            return Interrupted(f"ordered in view {view.viewId}")
        gated = [isQuorate(group) for group in message.groups]
        if not any(gated):
            return None
        if not all(gated):
            return InvalidParameter("quorate groups and others at once")
        if not view.quorate or self._cluster.guarantee() is not Guarantee.SAFE:
            return NotQuorate(f"ordered in view {view.viewId}")
        return self._held

    # The table changes.

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
