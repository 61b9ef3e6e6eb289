"""
Sending what local processes ask for to their groups: in turns, in the form that
is right, no more than fits, and again what a change of the ring sent back.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from corotwist.engines import batch as batches
from corotwist.engines.compact import CompactMcast, Piece, plainMcast
from corotwist.engines.executive import (
    Executive,
    Mcast,
    Part,
    PartialMcast,
    ProcJoin,
    ProcLeave,
)
from corotwist.engines.groupslocal import LocalProcesses
from corotwist.engines.groupsreceipts import Expected, Fate, Receipts
from corotwist.engines.groupsrequests import checkNow, partRefused
from corotwist.engines.groupsstate import GroupsState
from corotwist.engines.interfaces import (
    ATOMIC_MESSAGE_BYTES,
    LARGEST_BATCH_BYTES,
    NO_RECEIPT,
    ORDINARY,
    Level,
    Member,
    Reason,
    Terms,
)
from corotwist.engines.outgoing import (
    Batch,
    Client,
    Entry,
    Join,
    Leave,
    LocalMember,
    Turns,
)
from corotwist.errors import (
    BadHandle,
    Interrupted,
    ServiceError,
    TryAgain,
)
from corotwist.interfaces import ICluster
from corotwist.totem.membership import NO_RING, Guarantee

# Bytes of ours in the ring's queue above which the rest waits here, where a
# change of the ring does not touch it and clients take turns.
IN_FLIGHT_BYTES: Final = 512 << 10

# What corosync calls the pieces of a message.
PARTS: Final = {
    Piece.FIRST: Part.FIRST,
    Piece.MIDDLE: Part.MIDDLE,
    Piece.LAST: Part.LAST,
}

# Once for each batch: enums are slow to look up.
_WHOLE: Final = Piece.BATCH
_QUEUED: Final = Level.QUEUED


class _Blocked(Exception):
    """
    Nobody can send now.
    """


class _Parked(Exception):
    """
    This client has to wait, for its own messages or for a slow reader; the
    others go on.
    """


class GroupsSending:
    """
    The queues of local clients, from the request to its place in the order.

    Messages travel in one of two forms.  In a ring with real corosync nodes
    each is an C{Mcast} of theirs.  In a ring where every node announced that
    it understands it, a whole batch is one L{CompactMcast}.  A compact message
    counts only on the ring that it names: when the ring changes while one is
    in the queue, all nodes ignore it alike, and we send it again in the form
    that is right by then.  So that nothing overtakes it, nothing else of ours
    goes into the queue until all of these have come back, and a process's
    leave waits for the process's own messages always.

    While a group is paused, what its members send waits in their queues; only
    joins, and the leaves of those who sent nothing, pass.

    @ivar turns: the clients that have something to send.
    @ivar again: what was missed, by its serial: the order of first sending.
    @ivar serials: the last number of a compact message.
    @ivar aheadSerials: of those in the ring's queue.
    @ivar aheadRing: the ring that they name.
    @ivar inFlight: bytes of ours in the ring's queue.
    @ivar receipts: who waits for the places of what is there.
    """

    def __init__(self, local: LocalProcesses, counters: dict[str, int]) -> None:
        """
        @param counters: the engine's.
        """
        self._local = local
        self._counters = counters
        self._here = 0
        self._pumping = False
        self._roomAsked = False
        self._ahead = 0
        self.turns = Turns()
        self.again: deque[Batch] = deque()
        self.serials = 0
        self.aheadSerials: deque[int] = deque()
        self.aheadRing = NO_RING
        self.inFlight = 0
        self.receipts = Receipts()

    def begin(self, cluster: ICluster) -> None:
        """
        The engine is initialized.
        """
        self._cluster = cluster
        self.receipts.begin(cluster)
        self._here = cluster.nodeid

    def adopt(self, state: GroupsState) -> None:
        """
        Go on from what another version had.
        """
        self.turns = state.turns
        self.again = state.again
        self.serials = state.serials
        self.aheadSerials = state.aheadSerials
        self._ahead = len(state.aheadSerials)
        self.aheadRing = state.aheadRing
        self.inFlight = state.inFlight
        self.receipts = state.receipts
        self.receipts.begin(self._cluster)
        self._roomAsked = False

    def dump(self) -> Mapping[str, Any]:
        """
        For people.
        """
        return {
            "waitingEntries": sum(len(client.queue) for client in self.turns),
            "waitingBytes": sum(client.waitingBytes for client in self.turns),
            "sendingAgain": len(self.again),
            "inFlightBytes": self.inFlight,
            **self.receipts.dump(),
        }

    # In turns.

    def enqueue(self, client: Client, entry: Entry) -> None:
        """
        A client asks for something.
        """
        client.append(entry)
        if client.parked and not isinstance(entry, Batch):
            client.parked = False  # It may go before what waits.
        self.turns.add(client)
        self.pump()

    def closed(self, client: Client, leaves: list[Entry]) -> None:
        """
        A client is gone: of what waits nothing is sent but its leaves.
        """
        for entry in client.replaceQueue(leaves):
            self._failed(entry, BadHandle("the client closed"))
        self.resumed((client,))

    def resumed(self, clients: Iterable[Client]) -> None:
        """
        Nothing that these waited for is in their way any more.
        """
        for client in clients:
            self._unpark(client)
        self.pump()

    def _unpark(self, client: Client) -> None:
        client.parked = False
        self.turns.add(client)

    def _isPaused(self, entry: Entry) -> bool:
        """
        Is it for a group that is to be spared?  What has begun is finished:
        what lies half sent on other nodes costs them as much.
        """
        flows = self._local.flows
        flow = flows.get(entry.member.group)
        paused = flow is not None and flow.paused
        if not paused and (not isinstance(entry, Batch) or entry.terms is ORDINARY):
            return False  # Nearly always.
        if not isinstance(entry, Batch) or entry.begun or entry.cancelled:
            return False
        if paused:
            return True
        further = entry.terms.groups
        return any(group in flows and flows[group].paused for group in further)

    def pump(self) -> None:
        """
        Send until nothing is left, or nobody can.
        """
        if self._pumping:
            return  # Called from a callback of what we send.
        self._pumping = True
        try:
            self._sendAgain()
            while self.turns:
                self._takeTurn(self.turns.first())
        except _Blocked:
            pass
        finally:
            self._pumping = False

    def _sendAgain(self) -> None:
        while self.again:
            self._checkWindow()
            entry = self.again[0]
            try:
                self._sendBatch(entry)
            except ServiceError as error:
                self._refuse(entry, error)
            self.again.popleft()

    def _takeTurn(self, client: Client) -> None:
        if not client.queue:
            self.turns.done()
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
            self.turns.done()
            self._failed(entry, error)
        else:
            client.remove(entry)
            self.turns.done()
            if isinstance(entry, Batch):
                _fire(entry)

    def _park(self, client: Client) -> None:
        client.parked = True
        self.turns.park()

    def _failed(self, entry: Entry, error: ServiceError) -> None:
        if isinstance(entry, Batch):
            self._refuse(entry, error)
        elif isinstance(entry, Join):
            self._local.forget(entry.member)

    def _refuse(self, entry: Batch, error: ServiceError) -> None:
        if isinstance(error, Interrupted):
            self._counters["interrupted"] += 1
        if entry.member.large is entry:
            entry.member.large = None
        accepted, entry.accepted = entry.accepted, None
        if accepted is not None:
            accepted.refuse(error)

    def _checkWindow(self) -> None:
        """
        @raise _Blocked: the services synchronize, enough is on its way, or
            something is that must not be overtaken.
        """
        if self._cluster.synchronizing():
            self.askForRoom()
            raise _Blocked
        overtaking = self._ahead and (
            self.aheadRing != self._cluster.ringId() or not self._cluster.compact()
        )
        if overtaking or self.inFlight >= IN_FLIGHT_BYTES:
            raise _Blocked  # Our own deliveries wake us.

    def askForRoom(self) -> None:
        """
        To be woken when there is room in the ring's queue.
        """
        if not self._roomAsked:
            self._roomAsked = True
            self._cluster.whenRoom(self._roomCame)

    def _roomCame(self) -> None:
        self._roomAsked = False
        self.pump()

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
        Go on with a batch, now that something may be sent.
        """
        if entry.cancelled and not entry.begun:
            return
        while entry.remaining:
            if entry.terms is not ORDINARY or entry.member.quorate:
                if partRefused(entry):
                    return
                checkNow(self._cluster, entry)
            if entry.atomic and self._cluster.compact():
                self._sendCompact(entry)
            else:
                self._sendFirst(entry)
            if entry.remaining:
                self._checkWindow()

    def _sendFirst(self, entry: Batch) -> None:
        """
        Its next message, or a piece of that.
        """
        start, end = batches.first(entry.data, entry.offset)
        if end - start > ATOMIC_MESSAGE_BYTES:
            self._sendPieces(entry, start, end)
        elif self._cluster.compact():
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
        last = count == entry.remaining
        self._multicastCompact(entry, _WHOLE, count, payload, last=last)
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
        self.receipts.plainSent(entry, last=entry.remaining == 1)
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
        if entry.interrupted or (entry.sent and entry.ringId != self._cluster.ringId()):
            entry.member.large = None
            raise Interrupted("the ring changed in the middle of a message")
        length = min(ATOMIC_MESSAGE_BYTES, total - entry.sent)
        piece = _piece(entry.sent, length, total)
        begin = start + entry.sent
        self._multicastPiece(entry, piece, total, entry.data[begin : begin + length])
        entry.sent += length
        entry.ringId = self._cluster.ringId()

    def _multicastPiece(
        self, entry: Batch, piece: Piece, total: int, payload: bytes
    ) -> None:
        member = entry.member
        last = piece is Piece.LAST and entry.remaining == 1
        if self._cluster.compact():
            self._multicastCompact(entry, piece, total, payload, last=last)
            member.large = entry
        else:
            self._multicast(
                PartialMcast(
                    member.group,
                    member.pid,
                    self._here,
                    0,
                    total,
                    PARTS[piece],
                    payload,
                ),
                entry.guarantee,
            )
            self.receipts.plainSent(entry, last=last)

    # Into the ring.

    def send(self, message: Executive) -> bool:
        """
        Out of turn: for synchronization.

        @return: L{False} when there is no room.
        """
        try:
            self._multicast(message)
        except _Blocked:
            return False
        return True

    def _multicast(
        self, message: Executive, guarantee: Guarantee = Guarantee.AGREED
    ) -> None:
        body = message.encode()
        try:
            self._cluster.multicast(message.FUNCTION, body, guarantee)
        except TryAgain:
            self.askForRoom()
            raise _Blocked from None
        self.inFlight += len(body)
        self._counters["sent"] += 1

    def _multicastCompact(
        self, entry: Batch, piece: Piece, count: int, payload: bytes, *, last: bool
    ) -> None:
        member, terms = entry.member, entry.terms
        usual = terms is ORDINARY
        if usual or not terms.special:
            body = plainMcast(member.pid, count, piece, member.group, payload)
        else:
            body = CompactMcast(
                member.pid, count, piece, member.group, payload, terms
            ).encode()
        try:
            self._cluster.multicastCompact(body, entry.guarantee)
        except TryAgain:
            self.askForRoom()
            raise _Blocked from None
        self.inFlight += len(body)
        serial = entry.serial
        if serial is None:
            self.serials += 1
            serial = self.serials
        self.aheadSerials.append(serial)
        self._ahead += 1
        self.aheadRing = self._cluster.ringId()
        member.ahead += 1
        self._counters["sent"] += 1
        if usual:
            return
        for further in self._members(terms.groups, member.pid):
            further.ahead += 1
        self.receipts.compactSent(serial, entry, last=last)

    def _members(self, groups: Iterable[bytes], pid: int) -> list[LocalMember]:
        """
        A process, in each of some groups that it is in.
        """
        members = self._local.members
        found = (members.get(group, {}).get(pid) for group in groups)
        return [member for member in found if member is not None]

    def cameBack(self, body: bytes) -> None:
        """
        A message of ours has its place in the order.
        """
        self.inFlight = max(0, self.inFlight - len(body))
        if self.again or self.turns:
            self.pump()

    def plainCameBack(self, fate: Fate) -> None:
        """
        A message of a client of ours, or a piece of one, in corosync's form.
        """
        expected = self.receipts.plainBack()
        if expected is not None:
            self.receipts.ordered(expected, fate, 1, ())

    def compactCameBack(
        self,
        message: CompactMcast,
        *,
        missed: bool,
        fate: Fate = None,
        targets: tuple[Member, ...] = (),
    ) -> None:
        """
        One of ours in the compact form, on the ring that it names or on another.

        @param targets: to whom it was shown, if not to everybody.
        """
        if not self.aheadSerials:
            return  # In our name, but not from us.
        self._ahead -= 1
        serial = self.aheadSerials.popleft()
        expected = self.receipts.compactBack(serial)
        if expected is not None and not missed:
            count = message.count if message.piece is _WHOLE else 1
            self.receipts.ordered(expected, fate, count, targets)
        member = self._local.members.get(message.group, {}).get(message.pid)
        if member is not None:
            self._isBack(member)
            if missed or member.large is not None:
                self._backOf(member, message, serial, expected, missed=missed)
        if message.terms is not None:
            for further in self._members(message.terms.groups, message.pid):
                self._isBack(further)

    def _isBack(self, member: LocalMember) -> None:
        """
        One message less of his is under way.
        """
        member.ahead -= 1
        if member.client.parked:
            self._unpark(member.client)

    def _backOf(
        self,
        member: LocalMember,
        message: CompactMcast,
        serial: int,
        expected: Expected | None,
        *,
        missed: bool,
    ) -> None:
        if missed and message.piece is Piece.BATCH:
            self._sendOnceMore(member, message, serial, expected)
        elif member.large is not None:
            if missed:
                member.large.interrupted = True
            if missed or message.piece is Piece.LAST:
                member.large = None

    def _sendOnceMore(
        self,
        member: LocalMember,
        message: CompactMcast,
        serial: int,
        expected: Expected | None,
    ) -> None:
        """
        What is missed a second time is older than what still waits to be sent
        again for the first.
        """
        terms = message.terms or ORDINARY
        if expected is not None:
            terms = Terms(expected.level, terms.to, terms.groups, terms.view)
        missed = Batch(
            member,
            message.payload,
            message.count,
            self._cluster.guarantee(),
            atomic=True,
            accepted=None if expected is None else expected.acceptance,
            serial=serial,
            terms=terms,
            final=expected is None or expected.last,
        )
        insort(self.again, missed, key=_serial)

    _SEND: ClassVar[Mapping[type[Entry], Callable[..., None]]] = {
        Join: _sendJoin,
        Leave: _sendLeave,
        Batch: _sendBatch,
    }


def _piece(sent: int, length: int, total: int) -> Piece:
    if not sent:
        return Piece.FIRST
    return Piece.LAST if sent + length == total else Piece.MIDDLE


def _fire(entry: Batch) -> None:
    """
    All of it is in the ring's queue.
    """
    accepted, entry.accepted = entry.accepted, None
    if accepted is not None and entry.terms.level is _QUEUED:
        accepted.answer(NO_RECEIPT)


def _serial(batch: Batch) -> int:
    assert batch.serial is not None, "it was sent before"
    return batch.serial
