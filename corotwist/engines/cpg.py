"""
Closed process groups: named sets of processes that see each other's messages
and each other's coming and going in one order.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines import batch as batches
from corotwist.engines.assembly import Assembly
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.compact import CompactMcast, Piece
from corotwist.engines.executive import (
    CPG,
    Downlist,
    Executive,
    JoinList,
    Mcast,
    OldDownlist,
    Part,
    PartialMcast,
    ProcJoin,
    ProcLeave,
)
from corotwist.engines.executive import MOST_MEMBERS as MOST_LISTED_NODES
from corotwist.engines.groupsstate import GroupsState
from corotwist.engines.interfaces import (
    ATOMIC_MESSAGE_BYTES,
    LARGEST_BATCH_BYTES,
    LARGEST_MESSAGE_BYTES,
    LONGEST_GROUP_NAME,
    Change,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    Member,
    Reason,
    SlowReader,
)
from corotwist.engines.joinlist import ByGroup, GroupTable, Round, reconcile
from corotwist.engines.outgoing import (
    Acceptance,
    Batch,
    Client,
    Entry,
    Join,
    Leave,
    LocalMember,
    Membership,
    Turns,
)
from corotwist.errors import (
    BadHandle,
    Busy,
    Exists,
    Interrupted,
    InvalidParameter,
    NameTooLong,
    NotJoined,
    ServiceError,
    TooBig,
    TryAgain,
)
from corotwist.interfaces import ICluster, IFlowGroup, IReplaceable
from corotwist.logs.tracing import MEMBERSHIP, trace
from corotwist.totem.membership import NO_RING, Configuration, Guarantee, RingId

# Bytes of ours in the ring's queue above which the rest waits here, where a
# change of the ring does not touch it and clients take turns.
IN_FLIGHT_BYTES: Final = 512 << 10
# Groups of one client.
MOST_GROUPS: Final = 4096
# Processes in one joinlist; a node with more sends several.
LISTED_PROCESSES: Final = 1024

_CHANGES: Final = trace("CPG", MEMBERSHIP)
_PARTS: Final = {
    Piece.FIRST: Part.FIRST,
    Piece.MIDDLE: Part.MIDDLE,
    Piece.LAST: Part.LAST,
}
_PIECES: Final = {part: piece for piece, part in _PARTS.items()}


class _Blocked(Exception):
    """
    Nobody can send now.
    """


class _Parked(Exception):
    """
    This client has to wait, for its own messages or for a slow reader; the
    others go on.
    """


@implementer(IProcessGroups, IReplaceable)
class GroupsEngine(SynchronizedEngine):
    """
    A library method only checks and queues; what it asks for happens when the
    message comes back, at the same place of the order on every node.

    Messages travel in one of two forms.  In a ring with real corosync nodes
    each is an C{Mcast} of theirs.  In a ring where every node announced that
    it understands it, a whole batch is one L{CompactMcast}.  A compact message
    counts only on the ring that it names: when the ring changes while one is
    in the queue, all nodes ignore it alike, and we send it again in the form
    that is right by then.  So that nothing overtakes it, nothing else of ours
    goes into the queue until all of these have come back, and a process's
    leave waits for the process's own messages always.

    Each group with local members is a flow-control group.  While it is paused,
    what its members send waits in their queues; only joins, and the leaves of
    those who sent nothing, pass.
    """

    name = "cpg"
    serviceId = CPG
    flowControl = False  # It has its own, by client and in turn.

    def __init__(self) -> None:
        self._log = Logger()
        self._here = 0
        self._table = GroupTable()
        self._assembly = Assembly()
        self._stopping = False
        # Local processes.
        self._clients: dict[int, Client] = {}  # By identity.
        self._locals: dict[bytes, dict[int, LocalMember]] = {}
        self._memberships = 0  # In C{_locals}.
        self._flows: dict[bytes, IFlowGroup] = {}  # Those of its groups.
        # Sending.
        self._turns = Turns()
        # What was missed, by its serial: the order of first sending.
        self._again: deque[Batch] = deque()
        self._aheadSerials: deque[int] = deque()
        self._serials = 0
        self._pumping = False
        self._roomAsked = False
        self._inFlight = 0
        self._ahead = 0
        self._aheadRing = NO_RING
        # Synchronization.
        self._round: Round | None = None
        self._roundOf: tuple[tuple[int, ...], tuple[int, ...], RingId]
        self._knownNodes: tuple[int, ...] = ()
        self._steps: list[Executive] = []
        self._counters = dict.fromkeys(
            (
                "sent",
                "delivered",
                "strangers",
                "beyond",
                "unknown",
                "missed",
                "interrupted",
                "raised",
            ),
            0,
        )

    # The engine.

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._here = cluster.nodeid

    def shutdown(self) -> bool:
        if not self._stopping:
            self._stopping = True
            for client in list(self._clients.values()):
                self.closed(client.subscriber)
        self._pump()
        return not self._locals

    # Another version.

    def handOver(self) -> Mapping[str, Any]:
        state = GroupsState(
            self._table,
            self._knownNodes,
            self._clients,
            self._locals,
            self._turns,
            self._again,
            self._serials,
            self._aheadSerials,
            self._aheadRing,
            self._inFlight,
            self._assembly,
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
        self._askForRoom()

    def _adopt(self, state: GroupsState) -> None:
        """
        Go on from here.
        """
        self._table = state.table
        self._knownNodes = state.knownNodes
        self._clients = state.clients
        self._locals = state.members
        self._memberships = sum(map(len, state.members.values()))
        self._flows = {group: self._flowOf(group) for group in state.members}
        self._turns = state.turns
        self._again = state.again
        self._serials = state.serials
        self._aheadSerials = state.aheadSerials
        self._ahead = len(state.aheadSerials)
        self._aheadRing = state.aheadRing
        self._inFlight = state.inFlight
        self._assembly = state.assembly
        self._counters |= state.counters
        self._roomAsked = False

    def _flowOf(self, group: bytes) -> IFlowGroup:
        return self.cluster.flowCreate(group, partial(self._flowChanged, group))

    def dump(self) -> Mapping[str, Any]:
        return {
            "groups": {
                group.decode("latin-1"): [
                    [member.nodeid, member.pid] for member in self.members(group)
                ]
                for group in self.groups()
            },
            "clients": len(self._clients),
            "waitingEntries": sum(len(c.queue) for c in self._turns),
            "waitingBytes": sum(c.waitingBytes for c in self._turns),
            "paused": [
                group.decode("latin-1")
                for group, flow in sorted(self._flows.items())
                if flow.paused
            ],
            "parked": sum(c.parked for c in self._clients.values()),
            "sendingAgain": len(self._again),
            "inFlightBytes": self._inFlight,
            "assemblyBytes": self._assembly.sizeBytes(),
            "assembliesDropped": self._assembly.dropped,
            **self._counters,
        }

    # From local clients.

    def join(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        slow: SlowReader | None = None,
    ) -> None:
        self._checkRunning()
        if len(group) > LONGEST_GROUP_NAME:
            raise NameTooLong(f"{len(group)} bytes, at most {LONGEST_GROUP_NAME}")
        locals_ = self._locals.get(group, {})
        there = locals_.get(subscriber.pid)
        if there is not None:
            if there.state is Membership.LEAVING or there.subscriber is None:
                raise Busy("the process is still on its way out of the group")
            raise Exists("the process is in the group, or on its way in")
        client = self._clients.get(id(subscriber)) or Client(
            subscriber, subscriber.pid, self.cluster.budget
        )
        if len(client.memberships) >= MOST_GROUPS:
            raise TryAgain(f"in {MOST_GROUPS} groups already")
        if self._memberships >= self._table.most or self._table.isFull(self._here):
            raise TryAgain(f"{self._table.most} memberships on this node already")
        client.admit(0)
        member = LocalMember(group, client.pid, client, subscriber, slow)
        if group not in self._flows:
            self._flows[group] = self._flowOf(group)
        self._clients[id(subscriber)] = client
        client.memberships[group] = member
        self._locals.setdefault(group, {})[client.pid] = member
        self._memberships += 1
        self._enqueue(client, Join(member))

    def leave(self, subscriber: IGroupSubscriber, group: bytes) -> None:
        self._checkRunning()
        member = self._membership(subscriber, group)
        if member is None or member.state is Membership.LEAVING:
            raise NotJoined(f"not in {group!r}")
        if member.state is Membership.JOINING:
            raise Busy("the join is not through yet")
        member.client.admit(0)
        member.state = Membership.LEAVING
        self._enqueue(member.client, Leave(member, Reason.LEAVE))

    def send(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        batch: bytes,
        count: int,
        guarantee: Guarantee,
    ) -> Deferred[None]:
        try:
            self._checkRunning()
            member = self._membership(subscriber, group)
            if member is None or member.state is not Membership.JOINED:
                raise NotJoined(f"not in {group!r}, or not yet, or not any more")
            entry = self._checked(member, batch, count, guarantee)
            member.client.admit(entry.size)
        except ServiceError as error:
            return fail(error)
        accepted = entry.accepted = Acceptance()
        self._enqueue(member.client, entry)
        return accepted.deferred

    def members(self, group: bytes) -> tuple[Member, ...]:
        return self._table.members(group)

    def groups(self) -> tuple[bytes, ...]:
        return self._table.groups()

    def closed(self, subscriber: IGroupSubscriber) -> None:
        client = self._clients.pop(id(subscriber), None)
        if client is None:
            return
        # One pass over the queue, which may be long, as the memberships may be many.
        unheard = {e.member for e in client.queue if isinstance(e, Join)}
        leaves: list[Entry] = [e for e in client.queue if isinstance(e, Leave)]
        for member in client.memberships.values():
            member.subscriber = None
            member.large = None
            # Of a join that did not go yet nobody has heard; and a departure
            # has one reason: that of the leave, if there was one.
            if member not in unheard and member.state is not Membership.LEAVING:
                member.state = Membership.LEAVING
                leaves.append(Leave(member, Reason.PROCDOWN))
        unsent = client.replaceQueue(leaves)
        client.parked = False
        for entry in unsent:
            if isinstance(entry, Batch):
                self._refuse(entry, BadHandle("the client closed"))
            elif isinstance(entry, Join):
                self._forget(entry.member)
        self._turns.add(client)
        self._pump()

    def _checkRunning(self) -> None:
        if self._stopping:
            raise BadHandle("the node is stopping")

    def _membership(
        self, subscriber: IGroupSubscriber, group: bytes
    ) -> LocalMember | None:
        client = self._clients.get(id(subscriber))
        return None if client is None else client.memberships.get(group)

    def _checked(
        self, member: LocalMember, batch: bytes, count: int, guarantee: Guarantee
    ) -> Batch:
        largest = batches.check(batch, count)
        if largest > LARGEST_MESSAGE_BYTES:
            raise TooBig(f"{largest} bytes, at most {LARGEST_MESSAGE_BYTES}")
        try:
            asked = Guarantee(guarantee)
        except ValueError:
            raise InvalidParameter(f"there is no guarantee {guarantee}") from None
        atomic = largest <= ATOMIC_MESSAGE_BYTES
        return Batch(member, batch, count, asked, atomic, None)

    def _forget(self, member: LocalMember) -> None:
        """
        The process is out, for everybody.
        """
        group = member.group
        member.client.memberships.pop(group, None)
        here = self._locals.get(group, {})
        if here.get(member.pid) is member:
            del here[member.pid]
            self._memberships -= 1
            if member.inside and member.subscriber is not None:
                self._tell(member.subscriber.detach, self._flows[group])
            if not here:
                del self._locals[group]
                self._flows.pop(group).destroy()

    # Sending: in turns, in the form that is right, and no more than fits.

    def _enqueue(self, client: Client, entry: Entry) -> None:
        client.append(entry)
        if client.parked and not isinstance(entry, Batch):
            client.parked = False  # It may go before what waits.
        self._turns.add(client)
        self._pump()

    def _flowChanged(self, group: bytes, paused: bool) -> None:
        """
        Who sends to a group is to wait, or to go on.
        """
        members = self._locals.get(group, {})
        for member in list(members.values()):
            if member.inside and member.subscriber is not None:
                self._tell(member.subscriber.flowChanged, group, paused)
        if not paused:
            for member in list(members.values()):
                self._unpark(member.client)
            self._pump()

    def _unpark(self, client: Client) -> None:
        client.parked = False
        self._turns.add(client)

    def _isPaused(self, entry: Entry) -> bool:
        """
        Is it for a group that is to be spared?  What has begun is finished:
        what lies half sent on other nodes costs them as much.
        """
        flow = self._flows.get(entry.member.group)
        if flow is None or not flow.paused:
            return False
        return isinstance(entry, Batch) and not (entry.begun or entry.cancelled)

    def _pump(self) -> None:
        """
        Send until nothing is left, or nobody can.
        """
        if self._pumping:
            return  # Called from a callback of what we send.
        self._pumping = True
        try:
            self._sendAgain()
            while self._turns:
                self._takeTurn(self._turns.first())
        except _Blocked:
            pass
        finally:
            self._pumping = False

    def _sendAgain(self) -> None:
        while self._again:
            self._checkWindow()
            self._sendBatch(self._again[0])
            self._again.popleft()

    def _takeTurn(self, client: Client) -> None:
        if not client.queue:
            self._turns.done()
            return
        self._checkWindow()
        entry = client.queue[0]
        if self._isPaused(entry):
            ahead = client.ahead()
            if ahead is None:
                self._park(client)
                return
            entry = ahead
        try:
            self._SEND[type(entry)](self, entry)
        except _Parked:
            self._park(client)
        except ServiceError as error:
            client.remove(entry)
            self._turns.done()
            self._failed(entry, error)
        else:
            client.remove(entry)
            self._turns.done()
            if isinstance(entry, Batch):
                _fire(entry)

    def _park(self, client: Client) -> None:
        client.parked = True
        self._turns.park()

    def _failed(self, entry: Entry, error: ServiceError) -> None:
        if isinstance(entry, Batch):
            self._refuse(entry, error)
        elif isinstance(entry, Join):
            self._forget(entry.member)

    def _refuse(self, entry: Batch, error: ServiceError) -> None:
        if isinstance(error, Interrupted):
            self._counters["interrupted"] += 1
        accepted, entry.accepted = entry.accepted, None
        if accepted is not None and not accepted.deferred.called:
            accepted.deferred.errback(error)

    def _checkWindow(self) -> None:
        """
        @raise _Blocked: the services synchronize, enough is on its way, or
            something is that must not be overtaken.
        """
        if self.cluster.synchronizing():
            self._askForRoom()
            raise _Blocked
        overtaking = self._ahead and (
            self._aheadRing != self.cluster.ringId() or not self.cluster.compact()
        )
        if overtaking or self._inFlight >= IN_FLIGHT_BYTES:
            raise _Blocked  # Our own deliveries wake us.

    def _askForRoom(self) -> None:
        if not self._roomAsked:
            self._roomAsked = True
            self.cluster.whenRoom(self._roomCame)

    def _roomCame(self) -> None:
        self._roomAsked = False
        self._pump()

    def _sendJoin(self, entry: Join) -> None:
        member = entry.member
        self._multicast(ProcJoin(member.group, member.pid, Reason.JOIN))

    def _sendLeave(self, entry: Leave) -> None:
        member = entry.member
        if member.ahead:
            raise _Parked
        self._multicast(ProcLeave(member.group, member.pid, entry.reason))

    def _sendBatch(self, entry: Batch) -> None:
        """
        Go on with a batch.
        """
        if entry.cancelled and not entry.begun:
            return
        while entry.remaining:
            self._checkWindow()
            start, end = batches.first(entry.data, entry.offset)
            if not entry.atomic and end - start > ATOMIC_MESSAGE_BYTES:
                self._sendPieces(entry, start, end)
            elif self.cluster.compact():
                self._sendCompact(entry)
            else:
                self._sendPlain(entry, start, end)

    def _sendCompact(self, entry: Batch) -> None:
        """
        As many messages as go into one, unopened.
        """
        data, offset = entry.data, entry.offset
        if entry.atomic and not offset and len(data) <= LARGEST_BATCH_BYTES:
            end, count = len(data), entry.remaining
        else:
            end, count = batches.cut(
                data, offset, LARGEST_BATCH_BYTES, ATOMIC_MESSAGE_BYTES
            )
        payload = data[offset:end]
        self._multicastCompact(entry.member, Piece.BATCH, count, payload, entry.serial)
        entry.offset = end
        entry.remaining -= count

    def _sendPlain(self, entry: Batch, start: int, end: int) -> None:
        """
        One message in corosync's form.
        """
        member = entry.member
        payload = entry.data[start:end]
        self._multicast(
            Mcast(member.group, member.pid, self._here, 0, payload), entry.guarantee
        )
        entry.offset = end
        entry.remaining -= 1

    # Messages in pieces.

    def _sendPieces(self, entry: Batch, start: int, end: int) -> None:
        """
        The next piece of a long message; behind the last one in the compact
        form we wait until it has come back on the ring that all of them name.
        """
        total = end - start
        if entry.sent == total and not entry.interrupted:
            if entry.member.large is entry:
                raise _Parked
            entry.sent = 0
            entry.offset = end
            entry.remaining -= 1
            return
        if entry.interrupted or (entry.sent and entry.ringId != self.cluster.ringId()):
            entry.member.large = None
            raise Interrupted("the ring changed in the middle of a message")
        length = min(ATOMIC_MESSAGE_BYTES, total - entry.sent)
        piece = _piece(entry.sent, length, total)
        begin = start + entry.sent
        self._multicastPiece(entry, piece, total, entry.data[begin : begin + length])
        entry.sent += length
        entry.ringId = self.cluster.ringId()

    def _multicastPiece(
        self, entry: Batch, piece: Piece, total: int, payload: bytes
    ) -> None:
        member = entry.member
        if self.cluster.compact():
            self._multicastCompact(member, piece, total, payload)
            member.large = entry
        else:
            self._multicast(
                PartialMcast(
                    member.group,
                    member.pid,
                    self._here,
                    0,
                    total,
                    _PARTS[piece],
                    payload,
                ),
                entry.guarantee,
            )

    # Into the ring.

    def _multicast(
        self, message: Executive, guarantee: Guarantee = Guarantee.AGREED
    ) -> None:
        body = message.encode()
        try:
            self.cluster.multicast(message.FUNCTION, body, guarantee)
        except TryAgain:
            self._askForRoom()
            raise _Blocked from None
        self._inFlight += len(body)
        self._counters["sent"] += 1

    def _multicastCompact(
        self,
        member: LocalMember,
        piece: Piece,
        count: int,
        payload: bytes,
        serial: int | None = None,
    ) -> None:
        body = CompactMcast(member.pid, count, piece, member.group, payload).encode()
        try:
            self.cluster.multicastCompact(body)
        except TryAgain:
            self._askForRoom()
            raise _Blocked from None
        self._inFlight += len(body)
        if serial is None:
            self._serials += 1
            serial = self._serials
        self._aheadSerials.append(serial)
        self._ahead += 1
        self._aheadRing = self.cluster.ringId()
        member.ahead += 1
        self._counters["sent"] += 1

    def _cameBack(self, body: bytes) -> None:
        """
        A message of ours has its place in the order.
        """
        self._inFlight = max(0, self._inFlight - len(body))
        if self._again or self._turns:
            self._pump()

    def _compactCameBack(self, message: CompactMcast, *, missed: bool) -> None:
        if not self._aheadSerials:
            return  # In our name, but not from us.
        self._ahead -= 1
        serial = self._aheadSerials.popleft()
        member = self._locals.get(message.group, {}).get(message.pid)
        if member is None:
            return
        member.ahead -= 1
        if missed and message.piece is Piece.BATCH:
            self._sendOnceMore(member, message, serial)
        elif member.large is not None:
            if missed:
                member.large.interrupted = True
            if missed or message.piece is Piece.LAST:
                member.large = None
        if member.client.parked:
            self._unpark(member.client)

    def _sendOnceMore(
        self, member: LocalMember, message: CompactMcast, serial: int
    ) -> None:
        """
        What is missed a second time is older than what still waits to be sent
        again for the first.
        """
        missed = Batch(
            member,
            message.payload,
            message.count,
            Guarantee.AGREED,
            atomic=True,
            accepted=None,
            serial=serial,
        )
        insort(self._again, missed, key=_serial)

    # From the ring: on every node, in the same order.

    def configurationChanged(self, configuration: Configuration) -> None:
        if not configuration.transitional:
            self._assembly.ringChanged()

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
                self._cameBack(body)

    def _joinDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = ProcJoin.decode(body, byteOrder)
        joiner = Member(nodeid, message.pid)
        added = self._added(message.group, joiner)
        there = self._table.find(message.group, nodeid, message.pid) is not None
        member = None
        if nodeid == self._here:
            member = self._locals.get(message.group, {}).get(message.pid)
        entered = member is not None and member.state is Membership.JOINING
        if member is not None and entered:
            if there:
                member.state = Membership.JOINED
            else:
                self._forget(member)  # Somebody used up what is ours.
        if added:
            self._show(message.group, joined=(Change(joiner, Reason.JOIN),))
        if member is not None and entered and there:
            self._attach(member)

    def _attach(self, member: LocalMember) -> None:
        """
        A local process gets what is sent to its group, and may be too slow.
        """
        flow = self._flows[member.group]
        if member.subscriber is not None and flow.paused:
            self._tell(member.subscriber.flowChanged, member.group, True)
        if member.subscriber is not None:
            self._tell(member.subscriber.attach, flow, member.slow)

    def _added(self, group: bytes, joiner: Member) -> bool:
        """
        Add him, if he is not there, and his node does not have too many.
        """
        nodeid = joiner.nodeid
        known = self._table.find(group, nodeid, joiner.pid) is not None
        fits = known or not self._table.isFull(nodeid)
        # It counts for the round even where the table is full: of those whom
        # nobody has heard of in this round some may have gone.
        if self._round is not None:
            fits = self._round.joined(group, joiner, known=known) and fits
        if not fits:
            self._counters["beyond"] += 1
            return False
        return self._table.add(group, joiner)

    def _leaveDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = ProcLeave.decode(body, byteOrder)
        leaver = Member(nodeid, message.pid)
        counts = self._round is None or self._round.left(message.group, leaver)
        if not counts:
            self._counters["beyond"] += 1
            if nodeid != self._here:
                return  # Our own are never taken from a round.
        self._assembly.drop((message.group, leaver))
        if self._table.remove(message.group, leaver):
            change = Change(leaver, _reason(message.reason))
            self._show(message.group, left=(change,))
        if nodeid == self._here:
            member = self._locals.get(message.group, {}).get(message.pid)
            if member is not None:
                self._forget(member)

    def _mcastDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = Mcast.decode(body, byteOrder)
        sender = self._sender(message.group, nodeid, message.pid)
        if sender is not None:
            self._deliver(message.group, sender, batches.pack([message.payload]), 1)

    def _partialDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = PartialMcast.decode(body, byteOrder)
        self._pieceDelivered(
            self._sender(message.group, nodeid, message.pid),
            message.group,
            _PIECES[message.part],
            message.total,
            message.payload,
            bound=False,
        )

    def _joinListDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        message = JoinList.decode(body, byteOrder)
        if self._round is not None:
            self._round.listed(nodeid, message.entries)

    def _downListDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        """
        What another node has lost is its own affair: each judges for itself.
        """
        Downlist.decode(body, byteOrder)

    def _oldDownListDelivered(self, nodeid: int, body: bytes, byteOrder: str) -> None:
        OldDownlist.decode(body, byteOrder)

    def compactDelivered(self, nodeid: int, body: bytes) -> None:
        message = CompactMcast.decode(body)
        sender = self._sender(message.group, nodeid, message.pid)
        if message.piece is not Piece.BATCH:
            self._pieceDelivered(
                sender,
                message.group,
                message.piece,
                message.count,
                message.payload,
                bound=True,
            )
        elif sender is not None:
            group = message.group
            self._deliver(group, sender, message.payload, message.count)
        if nodeid == self._here:
            self._compactCameBack(message, missed=False)
            self._cameBack(body)

    def compactMissed(self, body: bytes) -> None:
        self._counters["missed"] += 1
        self._compactCameBack(CompactMcast.decode(body), missed=True)
        self._cameBack(body)

    def _sender(self, group: bytes, nodeid: int, pid: int) -> Member | None:
        """
        Who sent it, if he is in the group.
        """
        sender = self._table.find(group, nodeid, pid)
        if sender is None:
            self._counters["strangers"] += 1
        return sender

    def _pieceDelivered(
        self,
        sender: Member | None,
        group: bytes,
        piece: Piece,
        total: int,
        payload: bytes,
        *,
        bound: bool,
    ) -> None:
        if sender is None:
            return
        key = (group, sender)
        if piece is Piece.FIRST:
            self._assembly.begin(key, total, self._recipients(group), bound=bound)
        self._assembly.add(key, payload)
        if piece is Piece.LAST:
            finished = self._assembly.finish(key)
            if finished is not None:
                message, recipients = finished
                now = self._recipients(group)
                still = [member for member in recipients if member in now]
                self._deliverTo(still, group, sender, batches.pack([message]), 1)

    # To local clients.

    def _recipients(self, group: bytes) -> tuple[LocalMember, ...]:
        """
        The local members of a group that have had their first view.
        """
        members = self._locals.get(group)
        if members is None:
            return ()
        return tuple([m for m in members.values() if m.inside])

    def _deliver(self, group: bytes, sender: Member, batch: bytes, count: int) -> None:
        self._deliverTo(self._recipients(group), group, sender, batch, count)

    def _deliverTo(
        self,
        members: Iterable[LocalMember],
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
    ) -> None:
        for member in members:
            subscriber = member.subscriber
            if subscriber is not None:  # Gone since, perhaps through the one before.
                self._counters["delivered"] += 1
                self._tell(subscriber.messagesDelivered, group, sender, batch, count)

    def _show(
        self,
        group: bytes,
        *,
        left: tuple[Change, ...] = (),
        joined: tuple[Change, ...] = (),
    ) -> None:
        """
        The table has changed: a view for every local member, one that is out
        by this change included.
        """
        if _CHANGES.on:
            _CHANGES(
                "{group}: {left} left, {joined} joined",
                group=group,
                left=_named(left),
                joined=_named(joined),
            )
        recipients = self._recipients(group)
        if not recipients:
            return
        view = GroupView(group, self._table.members(group), left, joined)
        for member in recipients:
            if member.subscriber is not None:
                self._tell(member.subscriber.viewChanged, view)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """
        A client that raises does not touch the others.
        """
        try:
            callback(*arguments)
        except Exception:  # noqa: BLE001 - Whatever it is, it is the client's.
            self._counters["raised"] += 1
            self._log.failure("A subscriber of process groups raised")

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._round = Round(self._table.most)
        self._roundOf = (transitional, members, ringId)
        lost = [n for n in self._knownNodes if n not in transitional]
        self._steps = [
            Downlist(len(self._knownNodes), tuple(lost[:MOST_LISTED_NODES])),
        ]
        mine = [
            (member.pid, group)
            for group, member in self._table.entries()
            if member.nodeid == self._here
        ]
        mine.sort()
        self._steps += [
            JoinList(tuple(mine[start : start + LISTED_PROCESSES]))
            for start in range(0, len(mine), LISTED_PROCESSES)
        ]

    def synchronize(self) -> bool:
        while self._steps:
            try:
                self._multicast(self._steps[0])
            except _Blocked:
                return False
            self._steps.pop(0)
        return True

    def synchronizationCompleted(self) -> None:
        assert self._round is not None, "a round is completed that was started"
        heard, self._round = self._round, None
        transitional, members, ringId = self._roundOf
        self._knownNodes = members
        for reason, changes in reconcile(self._table, self._here, transitional, heard):
            self._apply(reason, changes)
        for client in list(self._clients.values()):
            self._tell(client.subscriber.ringChanged, ringId, members)

    def synchronizationAborted(self) -> None:
        self._round = None
        self._steps = []

    def _apply(self, reason: Reason, changes: ByGroup) -> None:
        """
        Change the table, and show each group's change once.
        """
        change = self._table.add if reason is Reason.NODEUP else self._table.remove
        for group, members in changes.items():
            for member in members:
                change(group, member)
                if reason is not Reason.NODEUP:
                    self._assembly.drop((group, member))
            shown = tuple(Change(member, reason) for member in members)
            if reason is Reason.NODEUP:
                self._show(group, joined=shown)
            else:
                self._show(group, left=shown)

    _SEND: ClassVar[Mapping[type[Entry], Callable[..., None]]] = {
        Join: _sendJoin,
        Leave: _sendLeave,
        Batch: _sendBatch,
    }
    _EXECUTIVE: ClassVar[Mapping[int, Callable[..., None]]] = {
        ProcJoin.FUNCTION: _joinDelivered,
        ProcLeave.FUNCTION: _leaveDelivered,
        JoinList.FUNCTION: _joinListDelivered,
        Mcast.FUNCTION: _mcastDelivered,
        OldDownlist.FUNCTION: _oldDownListDelivered,
        Downlist.FUNCTION: _downListDelivered,
        PartialMcast.FUNCTION: _partialDelivered,
    }


def _piece(sent: int, length: int, total: int) -> Piece:
    if not sent:
        return Piece.FIRST
    return Piece.LAST if sent + length == total else Piece.MIDDLE


def _fire(entry: Batch) -> None:
    accepted, entry.accepted = entry.accepted, None
    if accepted is not None and not accepted.deferred.called:
        accepted.deferred.callback(None)


def _reason(number: int) -> Reason:
    """
    As a leave says it; anything unknown is an end.
    """
    return Reason.LEAVE if number == Reason.LEAVE else Reason.PROCDOWN


def _serial(batch: Batch) -> int:
    assert batch.serial is not None, "it was sent before"
    return batch.serial


def _named(changes: Iterable[Change]) -> str:
    """
    For people.
    """
    names = (f"{one.member.nodeid}/{one.member.pid}" for one in changes)
    return ", ".join(names) or "nobody"
