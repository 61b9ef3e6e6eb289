"""
Closed process groups: named sets of processes that see each other's messages
and each other's coming and going in one order.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines import batch as batches
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.compact import CompactMcast, Piece
from corotwist.engines.executive import (
    CPG,
    Downlist,
    JoinList,
    Mcast,
    OldDownlist,
    PartialMcast,
    ProcJoin,
    ProcLeave,
)
from corotwist.engines.groupsdelivery import GroupsDelivery
from corotwist.engines.groupslocal import LocalProcesses, departures
from corotwist.engines.groupsrequests import (
    checkedBatch,
    checkedTerms,
    membershipToSend,
    nameToJoin,
    otherKind,
)
from corotwist.engines.groupssending import PARTS, GroupsSending
from corotwist.engines.groupsstate import GroupsState
from corotwist.engines.groupssync import GroupsSynchronization, Unshown
from corotwist.engines.interfaces import (
    ORDINARY,
    Change,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    IRoundAware,
    Member,
    Reason,
    Receipt,
    SlowReader,
    Terms,
    View,
)
from corotwist.engines.joinlist import ByGroup, GroupTable
from corotwist.engines.outgoing import (
    Acceptance,
    Join,
    Leave,
    LocalMember,
    Membership,
)
from corotwist.engines.quorate import shown, wireName
from corotwist.errors import (
    BadHandle,
    Busy,
    Conflict,
    NotJoined,
    NotQuorate,
    ServiceError,
    TryAgain,
)
from corotwist.interfaces import ICluster, IReplaceable
from corotwist.logs.tracing import MEMBERSHIP, trace
from corotwist.totem.membership import Configuration, Guarantee, RingId

_CHANGES: Final = trace("CPG", MEMBERSHIP)
_COUNTERS: Final = (
    *("sent", "delivered", "strangers", "beyond", "unknown", "missed"),
    *("interrupted", "raised", "refused"),
)
_PIECES: Final = {part: piece for piece, part in PARTS.items()}


@implementer(IProcessGroups, IReplaceable, IRoundAware)
class GroupsEngine(SynchronizedEngine):
    """
    A library method only checks and queues; what it asks for happens when the
    message comes back, at the same place of the order on every node.

    It has four parts: the local processes, who are told what is delivered;
    sending what they ask for; delivery of what is ordered; and synchronization
    with the nodes of a new ring.  The table of all members is its own.
    """

    name = "cpg"
    serviceId = CPG
    flowControl = False  # It has its own, by client and in turn.

    def __init__(self) -> None:
        self._here = 0
        self._stopping = False
        self._counters = dict.fromkeys(_COUNTERS, 0)
        self._local = LocalProcesses(self._counters, self._flowChanged)
        self._sending = GroupsSending(self._local, self._counters)
        self._delivery = GroupsDelivery(self._local, self._counters, GroupTable())
        self._synchronization = GroupsSynchronization()
        # From a regular configuration until the view of a ring is installed.
        self._between = False
        self._unshown = Unshown()
        self._afterwards: list[Callable[[], None]] = []

    @property
    def _table(self) -> GroupTable:
        """
        Who is in which group; delivery asks for each message.
        """
        return self._delivery.table

    @_table.setter
    def _table(self, table: GroupTable) -> None:
        self._delivery.table = table

    # The engine.

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._here = cluster.nodeid
        self._local.begin(cluster)
        self._sending.begin(cluster)
        self._delivery.begin(cluster)

    def shutdown(self) -> bool:
        if not self._stopping:
            self._stopping = True
            for client in list(self._local.clients.values()):
                self.closed(client.subscriber)
        self._sending.pump()
        if self._local.members:
            return False
        self._sending.receipts.abandoned()
        return True

    # Another version.

    def handOver(self) -> Mapping[str, Any]:
        local, sending = self._local, self._sending
        state = GroupsState(
            self._table,
            self._synchronization.knownNodes,
            local.clients,
            local.members,
            sending.turns,
            sending.again,
            sending.serials,
            sending.aheadSerials,
            sending.aheadRing,
            sending.inFlight,
            sending.receipts,
            self._delivery.assembly,
            self._counters,
        )
        packed = state.packed()
        state.discharge()
        self._adopt(GroupsState(counters=self._counters))
        return packed

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        """
        In any format that L{GroupsState} reads, of whatever version.
        """
        found = GroupsState.unpacked(state, self.cluster.budget)
        found.charge()
        self._adopt(found)
        self._sending.askForRoom()

    def _adopt(self, state: GroupsState) -> None:
        """
        Go on from here.
        """
        self._table = state.table
        self._counters |= state.counters
        self._local.adopt(state)
        self._sending.adopt(state)
        self._delivery.assembly = state.assembly
        self._synchronization.knownNodes = state.knownNodes

    def dump(self) -> Mapping[str, Any]:
        return {
            "groups": {
                group.decode("latin-1"): [
                    [member.nodeid, member.pid] for member in self.members(group)
                ]
                for group in self.groups()
            },
            **self._local.dump(),
            **self._sending.dump(),
            "assemblyBytes": self._delivery.assembly.sizeBytes(),
            "assembliesDropped": self._delivery.assembly.dropped,
            **self._counters,
        }

    # From local clients.

    def join(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        slow: SlowReader | None = None,
        *,
        quorate: bool = False,
        discardOwn: bool = False,
    ) -> None:
        self._checkRunning()
        name = nameToJoin(group, gated=quorate)
        self._local.checkAbsent(name, subscriber.pid)
        other = otherKind(name, group)
        if self._table.members(other) or self._local.members.get(other):
            kind = "no quorate group" if quorate else "a quorate group"
            raise Conflict(f"{group!r} is {kind}")
        if self._local.count >= self._table.most or self._table.isFull(self._here):
            raise TryAgain(f"{self._table.most} memberships on this node already")
        member = self._local.entering(subscriber, name, slow, discardOwn=discardOwn)
        self._sending.enqueue(member.client, Join(member))

    def leave(self, subscriber: IGroupSubscriber, group: bytes) -> None:
        self._checkRunning()
        member = self._local.membership(subscriber, group)
        if member is None or member.state is Membership.LEAVING:
            raise NotJoined(f"not in {group!r}")
        if member.state is Membership.JOINING:
            raise Busy("the join is not through yet")
        member.client.admit(0)
        member.state = Membership.LEAVING
        self._sending.enqueue(member.client, Leave(member, Reason.LEAVE))

    def send(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        batch: bytes,
        count: int,
        guarantee: Guarantee,
        *,
        terms: Terms = ORDINARY,
    ) -> Deferred[Receipt]:
        try:
            self._checkRunning()
            member = membershipToSend(self._local, subscriber, group)
            if terms is not ORDINARY or member.quorate:
                terms = checkedTerms(self._local, subscriber, member, terms)
                self._checkQuorate(member)
            entry = checkedBatch(member, batch, count, guarantee, terms)
            member.client.admit(entry.size)
        except ServiceError as error:
            return fail(error)
        accepted = entry.accepted = Acceptance()
        self._sending.enqueue(member.client, entry)
        return accepted.deferred

    def members(self, group: bytes) -> tuple[Member, ...]:
        return self._table.members(group) or self._table.members(wireName(group))

    def groups(self) -> tuple[bytes, ...]:
        return tuple(sorted(set(map(shown, self._table.groups()))))

    def closed(self, subscriber: IGroupSubscriber) -> None:
        client = self._local.clients.pop(id(subscriber), None)
        if client is not None:
            self._sending.closed(client, departures(client))

    def _checkRunning(self) -> None:
        if self._stopping:
            raise BadHandle("the node is stopping")

    def _checkQuorate(self, member: LocalMember) -> None:
        """
        @raise NotQuorate: it is known already that nobody would deliver it.
        """
        view = self.cluster.view()
        if member.quorate and not (view.quorate or self.cluster.synchronizing()):
            raise NotQuorate(f"view {view.viewId} is not quorate")

    def _flowChanged(self, group: bytes, paused: bool) -> None:
        """
        Who sends to a group is to wait, or to go on.
        """
        self._local.showFlow(group, paused=paused)
        if not paused:
            members = self._local.members.get(group, {}).values()
            self._sending.resumed([member.client for member in members])

    # From the ring: on every node, in the same order.

    def configurationChanged(self, configuration: Configuration) -> None:
        self._sending.receipts.configured(configuration)
        if configuration.transitional:
            self._delivery.ringEnded()
        else:
            self._between = True
            self._delivery.assembly.ringChanged()

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        handler = self._EXECUTIVE.get(function)
        try:
            if handler is None:
                self._counters["unknown"] += 1
            else:
                handler(self, nodeid, body, byteOrder)
        finally:
            if nodeid == self._here:
                self._sending.cameBack(body)

    def _joinDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = ProcJoin.decode(body, byteOrder)
        joiner = Member(nodeid, message.pid)
        added = self._added(message.group, joiner)
        there = self._table.find(message.group, nodeid, message.pid) is not None
        member = None
        if nodeid == self._here:
            member = self._local.members.get(message.group, {}).get(message.pid)
        entered = member is not None and member.state is Membership.JOINING
        if member is not None and entered:
            if there:
                member.state = Membership.JOINED
            else:
                self._local.forget(member)  # Somebody used up what is ours.
        if added:
            self._show(message.group, joined=(Change(joiner, Reason.JOIN),))
        if member is not None and entered and there:
            self._afterViews(partial(self._local.entered, member))

    def _added(self, group: bytes, joiner: Member) -> bool:
        """
        Add him, if he is not there, and his node does not have too many.
        """
        nodeid = joiner.nodeid
        known = self._table.find(group, nodeid, joiner.pid) is not None
        fits = known or not self._table.isFull(nodeid)
        # It counts for the round even where the table is full: of those whom
        # nobody has heard of in this round some may have gone.
        fits = self._synchronization.joined(group, joiner, known=known) and fits
        if not fits:
            self._counters["beyond"] += 1
            return False
        return self._table.add(group, joiner)

    def _leaveDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = ProcLeave.decode(body, byteOrder)
        leaver = Member(nodeid, message.pid)
        counts = self._synchronization.left(message.group, leaver)
        if not counts:
            self._counters["beyond"] += 1
            if nodeid != self._here:
                return  # Our own are never taken from a round.
        self._delivery.assembly.drop((message.group, leaver))
        if self._table.remove(message.group, leaver):
            change = Change(leaver, _reason(message.reason))
            self._show(message.group, left=(change,))
        if nodeid == self._here:
            member = self._local.members.get(message.group, {}).get(message.pid)
            if member is not None:
                self._afterViews(partial(self._local.forget, member))

    def _mcastDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = Mcast.decode(body, byteOrder)
        batch = batches.pack([message.payload])
        self._plainDelivered(
            nodeid, CompactMcast(message.pid, 1, Piece.BATCH, message.group, batch)
        )

    def _partialDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = PartialMcast.decode(body, byteOrder)
        piece, total = _PIECES[message.part], message.total
        self._plainDelivered(
            nodeid,
            CompactMcast(message.pid, total, piece, message.group, message.payload),
        )

    def _plainDelivered(self, nodeid: int, message: CompactMcast) -> None:
        """
        What came in corosync's form.
        """
        fate = self._delivery.ordered(nodeid, message, bound=False)
        if nodeid == self._here:
            self._sending.plainCameBack(fate)

    def _joinListDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = JoinList.decode(body, byteOrder)
        self._synchronization.listed(nodeid, message.entries)

    def _downListDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        """
        What another node has lost is its own affair: each judges for itself.
        """
        Downlist.decode(body, byteOrder)

    def _oldDownListDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        OldDownlist.decode(body, byteOrder)

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        message = CompactMcast.decode(body)
        fate = self._delivery.ordered(nodeid, message)
        if nodeid == self._here:
            targets = () if message.terms is None else self._delivery.present(message)
            self._sending.compactCameBack(
                message, missed=False, fate=fate, targets=targets
            )
            self._sending.cameBack(body)

    def compactMissed(self, body: bytes) -> None:
        self._counters["missed"] += 1
        self._sending.compactCameBack(CompactMcast.decode(body), missed=True)
        self._sending.cameBack(body)

    # The table changes.

    def _show(
        self,
        group: bytes,
        *,
        left: tuple[Change, ...] = (),
        joined: tuple[Change, ...] = (),
    ) -> None:
        """
        The table has changed: a view for every local member, one that is out
        by this change included.  In the middle of a change of the ring it waits
        until the view of nodes is there.
        """
        if self._between:
            self._unshown.left(group, left)
            self._unshown.joined(group, joined)
            return
        if _CHANGES.on:
            _CHANGES(
                "{group}: {left} left, {joined} joined",
                group=group,
                left=_named(left),
                joined=_named(joined),
            )
        recipients = self._local.recipients(group)
        if not recipients:
            return
        members = self._table.members(group)
        view = GroupView(shown(group), members, left, joined, self.cluster.view())
        self._delivery.show(recipients, view)

    def _afterViews(self, step: Callable[[], None]) -> None:
        """
        Do something after what has changed is shown.
        """
        if self._between:
            self._afterwards.append(step)
        else:
            step()

    def viewAhead(self, view: View) -> None:
        """
        What the last ring left for quorate groups is decided: of several parts
        of a view that meet again, one only may show it.
        """
        self._delivery.viewAhead(goesOn=view.quorate and view.goesOn)

    def roundCompleted(self) -> None:
        """
        Show each group's change once, all of it together.
        """
        self._between = False
        for group, left, joined in self._unshown.taken():
            self._show(group, left=left, joined=joined)
        afterwards, self._afterwards = self._afterwards, []
        for step in afterwards:
            step()
        synchronization = self._synchronization
        self._local.showRing(synchronization.ringId, synchronization.knownNodes)

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._synchronization.started(
            self._table, self._here, transitional, members, ringId
        )

    def synchronize(self) -> bool:
        return self._synchronization.goOn(self._sending.send)

    def synchronizationCompleted(self) -> None:
        changes = self._synchronization.completed(self._table, self._here)
        for reason, members in changes:
            self._apply(reason, members)

    def synchronizationAborted(self) -> None:
        self._synchronization.aborted()

    def _apply(self, reason: Reason, changes: ByGroup) -> None:
        """
        Change the table; it is shown when all services are in step.
        """
        change = self._table.add if reason is Reason.NODEUP else self._table.remove
        for group, members in changes.items():
            for member in members:
                change(group, member)
                if reason is not Reason.NODEUP:
                    self._delivery.assembly.drop((group, member))
            shown = tuple(Change(member, reason) for member in members)
            if reason is Reason.NODEUP:
                self._show(group, joined=shown)
            else:
                self._show(group, left=shown)

    _EXECUTIVE: ClassVar[Mapping[int, Callable[..., None]]] = {
        ProcJoin.FUNCTION: _joinDelivered,
        ProcLeave.FUNCTION: _leaveDelivered,
        JoinList.FUNCTION: _joinListDelivered,
        Mcast.FUNCTION: _mcastDelivered,
        OldDownlist.FUNCTION: _oldDownListDelivered,
        Downlist.FUNCTION: _downListDelivered,
        PartialMcast.FUNCTION: _partialDelivered,
    }


def _reason(number: int) -> Reason:
    """
    As a leave says it; anything unknown is an end.
    """
    return Reason.LEAVE if number == Reason.LEAVE else Reason.PROCDOWN


def _named(changes: Iterable[Change]) -> str:
    """
    For people.
    """
    names = (f"{one.member.nodeid}/{one.member.pid}" for one in changes)
    return ", ".join(names) or "nobody"
