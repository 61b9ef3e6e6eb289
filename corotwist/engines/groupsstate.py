"""
What one version of the process groups hands to another: all that
L{GroupsEngine<corotwist.engines.cpg.GroupsEngine>} knows between two deliveries,
as plain values that releases of other versions can read.

Outside of a round of synchronization that is a dictionary::

    format       1, or 2 where there is something that a version from before
                 quorate groups and receipts would do wrongly; a version adds
                 keys, and does not change what these mean
    table        (group, nodeid, pid) of every member of every group
    knownNodes   nodeids of the last round
    clients      by index: the subscriber (which lives on), its pid, whether it
                 is open, whether it is parked, and its queue of entries
    members      by index: the local processes in groups, in the order in which
                 they are told: group, pid, index of the client, state, ahead,
                 whether the client is gone, whether it is known to be a member
                 here, what is to happen when it is slow, and whether it wants
                 what it sends itself not to be shown
    turns        indexes of the clients that have something to send, in turn
    again        batches that a change of the ring sent back
    serials      the number of the last compact message
    aheadSerials numbers of those in the ring's queue
    aheadRing    (sequence, representative) that they name
    inFlight     bytes of ours in the ring's queue
    awaited      those who wait to hear where a message in the ring's queue is
                 ordered: serial, acceptance, level, whether it is the last of
                 his batch
    plain        messages in corosync's form that went into the ring's queue and
                 came back, and C{awaited} for their numbers
    unsafe       those who wait until everybody has what was delivered here:
                 number, acceptance, and the receipt: sequence, view, nodeids,
                 and the processes it was for
    assembly     messages in pieces: group, nodeid, pid, total, bound, data and
                 the indexes of the members they are for
    counters     by name

An entry is C{("join", member)}, C{("leave", member, reason)}, or C{("batch",
member, ...)} with a dictionary of the fields of L{Batch} by their names;
C{large} tells that the member waits for its last piece; C{terms} and C{final}
are there only if they are not the usual ones.  Who waits for a batch lives on,
like subscribers.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import define, field

from corotwist.budget import Budget
from corotwist.engines.assembly import Assembly
from corotwist.engines.groupsreceipts import Expected, Receipts
from corotwist.engines.interfaces import (
    ORDINARY,
    Level,
    Member,
    Reason,
    Receipt,
    SlowReader,
    Terms,
    ViewId,
)
from corotwist.engines.joinlist import GroupTable
from corotwist.engines.outgoing import (
    Batch,
    Client,
    Entry,
    Join,
    Leave,
    LocalMember,
    Membership,
    Turns,
)
from corotwist.errors import NotSupported
from corotwist.totem.membership import NO_RING, Guarantee, RingId

FORMAT: Final = 1
# What versions that know the first one only must not take for it.
EXTENDED: Final = 2

Plain = dict[str, Any]
Locals = dict[bytes, dict[int, LocalMember]]


@define(eq=False)
class GroupsState:
    """
    What of the engine and its parts is handed over; names and meanings are
    theirs.
    """

    table: GroupTable = field(factory=GroupTable)
    knownNodes: tuple[int, ...] = ()
    clients: dict[int, Client] = field(factory=dict)
    members: Locals = field(factory=dict)
    turns: Turns = field(factory=Turns)
    again: deque[Batch] = field(factory=deque)
    serials: int = 0
    aheadSerials: deque[int] = field(factory=deque)
    aheadRing: RingId = NO_RING
    inFlight: int = 0
    receipts: Receipts = field(factory=Receipts)
    assembly: Assembly = field(factory=Assembly)
    counters: dict[str, int] = field(factory=dict)

    def packed(self) -> Plain:
        """
        As plain values.
        """
        return _Packer(self).packed()

    @classmethod
    def unpacked(cls, plain: Mapping[str, Any], budget: Budget) -> "GroupsState":
        """
        What L{packed} made, of new objects; what waits is charged to the budget
        with L{charge}.

        @raise NotSupported: in a format that we do not know.
        """
        if plain.get("format") not in {FORMAT, EXTENDED}:
            raise NotSupported(
                f"process groups in format {plain.get('format')}, not {FORMAT}"
                f" or {EXTENDED}"
            )
        return _unpacked(plain, budget)

    def everyClient(self) -> list[Client]:
        """
        Those with subscribers, and those who only have something left to say.
        """
        gone = (m.client for here in self.members.values() for m in here.values())
        known = [*self.clients.values(), *gone, *self.turns]
        return list({id(client): client for client in known}.values())

    def charge(self) -> None:
        """
        What waits takes room here from now on.
        """
        for client in self.everyClient():
            client.budget.charge(client.waitingBytes)

    def discharge(self) -> None:
        """
        And here it does not any more.
        """
        for client in self.everyClient():
            client.budget.charge(-client.waitingBytes)


class _Packer:
    """
    Objects to numbers.
    """

    def __init__(self, state: GroupsState) -> None:
        self._state = state
        self._clients = state.everyClient()
        self._members: list[LocalMember] = [
            member for here in state.members.values() for member in here.values()
        ]
        self._known = len(self._members)
        # A process that is out may still have messages in its client's queue.
        queued = [entry for client in self._clients for entry in client.queue]
        known = {id(member) for member in self._members}
        out = {id(e.member): e.member for e in (*queued, *state.again)}
        self._members += [member for at, member in out.items() if at not in known]
        self._memberAt = {id(m): n for n, m in enumerate(self._members)}
        self._clientAt = {id(c): n for n, c in enumerate(self._clients)}

    def packed(self) -> Plain:
        state = self._state
        return {
            "format": EXTENDED if self._isExtended() else FORMAT,
            "table": tuple((g, m.nodeid, m.pid) for g, m in state.table.entries()),
            "knownNodes": state.knownNodes,
            "clients": tuple(map(self._client, self._clients)),
            "members": tuple(
                self._member(member, known=number < self._known)
                for number, member in enumerate(self._members)
            ),
            "turns": tuple(self._clientAt[id(client)] for client in state.turns),
            "again": tuple(map(self._entry, state.again)),
            "serials": state.serials,
            "aheadSerials": tuple(state.aheadSerials),
            "aheadRing": _ring(state.aheadRing),
            "inFlight": state.inFlight,
            "awaited": _awaited(state.receipts.compact),
            "plain": (
                state.receipts.sent,
                state.receipts.back,
                _awaited(state.receipts.plain),
            ),
            "unsafe": tuple(map(_unsafe, state.receipts.unsafe)),
            "assembly": tuple(self._assembly()),
            "counters": dict(state.counters),
        }

    def _isExtended(self) -> bool:
        receipts = self._state.receipts
        queued = [entry for client in self._clients for entry in client.queue]
        batches = [e for e in (*queued, *self._state.again) if isinstance(e, Batch)]
        return bool(
            receipts.compact
            or receipts.plain
            or receipts.unsafe
            or any(member.quorate or member.discardOwn for member in self._members)
            or any(e.terms is not ORDINARY or not e.final for e in batches)
        )

    def _client(self, client: Client) -> Plain:
        return {
            "subscriber": client.subscriber,
            "pid": client.pid,
            "open": id(client.subscriber) in self._state.clients,
            "parked": client.parked,
            "queue": tuple(map(self._entry, client.queue)),
        }

    def _member(self, member: LocalMember, *, known: bool) -> Plain:
        return {
            "group": member.group,
            "pid": member.pid,
            "client": self._clientAt[id(member.client)],
            "gone": member.subscriber is None,
            "known": known,
            "state": member.state.value,
            "ahead": member.ahead,
            "slow": None if member.slow is None else member.slow.value,
            "discardOwn": member.discardOwn,
        }

    def _entry(self, entry: Entry) -> tuple[Any, ...]:
        at = self._memberAt[id(entry.member)]
        if isinstance(entry, Join):
            return ("join", at)
        if isinstance(entry, Leave):
            return ("leave", at, int(entry.reason))
        return (
            "batch",
            at,
            {
                "data": entry.data,
                "remaining": entry.remaining,
                "guarantee": int(entry.guarantee),
                "atomic": entry.atomic,
                "accepted": entry.accepted,
                "offset": entry.offset,
                "sent": entry.sent,
                "ringId": _ring(entry.ringId),
                "interrupted": entry.interrupted,
                "serial": entry.serial,
                "large": entry.member.large is entry,
                **_unusual(entry),
            },
        )

    def _assembly(self) -> Iterable[Plain]:
        for (group, sender), partial in self._state.assembly.open():
            yield {
                "group": group,
                "nodeid": sender.nodeid,
                "pid": sender.pid,
                "total": partial.total,
                "bound": partial.bound,
                "data": bytes(partial.data),
                "recipients": tuple(
                    self._memberAt[id(member)]
                    for member in partial.recipients
                    if id(member) in self._memberAt
                ),
            }


def _unpacked(plain: Mapping[str, Any], budget: Budget) -> GroupsState:
    clients = [
        Client(one["subscriber"], one["pid"], budget, parked=one["parked"])
        for one in plain["clients"]
    ]
    members = [_member(one, clients) for one in plain["members"]]
    for one, client in zip(plain["clients"], clients, strict=True):
        for entry in one["queue"]:
            client.restore(_entry(entry, members))
    state = GroupsState(
        table=_table(plain["table"]),
        knownNodes=tuple(plain["knownNodes"]),
        again=deque(_batch(entry, members) for entry in plain["again"]),
        serials=plain["serials"],
        aheadSerials=deque(plain["aheadSerials"]),
        aheadRing=RingId(*plain["aheadRing"]),
        inFlight=plain["inFlight"],
        receipts=_receipts(plain),
        counters=dict(plain["counters"]),
    )
    for one, client in zip(plain["clients"], clients, strict=True):
        if one["open"]:
            state.clients[id(client.subscriber)] = client
    for one, member in zip(plain["members"], members, strict=True):
        if one["known"]:
            state.members.setdefault(member.group, {})[member.pid] = member
            member.client.memberships[member.group] = member
    for at in plain["turns"]:
        state.turns.add(clients[at])
    for one in plain["assembly"]:
        _resume(state.assembly, one, members)
    return state


def _table(entries: Iterable[tuple[bytes, int, int]]) -> GroupTable:
    table = GroupTable()
    for group, nodeid, pid in entries:
        table.add(group, Member(nodeid, pid))
    return table


def _member(one: Plain, clients: list[Client]) -> LocalMember:
    client = clients[one["client"]]
    slow = one.get("slow")
    return LocalMember(
        one["group"],
        one["pid"],
        client,
        None if one["gone"] else client.subscriber,
        None if slow is None else SlowReader(slow),
        Membership(one["state"]),
        one["ahead"],
        discardOwn=one.get("discardOwn", False),
    )


def _join(member: LocalMember) -> Join:
    return Join(member)


def _leave(member: LocalMember, reason: int) -> Leave:
    return Leave(member, Reason(reason))


def _queued(member: LocalMember, fields: Plain) -> Batch:
    fields = dict(fields)
    large = fields.pop("large")
    guarantee = Guarantee(fields.pop("guarantee"))
    ringId = RingId(*fields.pop("ringId"))
    terms = _terms(fields.pop("terms")) if "terms" in fields else ORDINARY
    batch = Batch(
        member=member, guarantee=guarantee, ringId=ringId, terms=terms, **fields
    )
    if large:
        member.large = batch
    return batch


_KINDS: Final[Mapping[str, Callable[..., Entry]]] = {
    "join": _join,
    "leave": _leave,
    "batch": _queued,
}


def _entry(plain: tuple[Any, ...], members: list[LocalMember]) -> Entry:
    kind, at, *details = plain
    return _KINDS[kind](members[at], *details)


def _batch(plain: tuple[Any, ...], members: list[LocalMember]) -> Batch:
    entry = _entry(plain, members)
    assert isinstance(entry, Batch), "joins and leaves are not sent again"
    return entry


def _resume(assembly: Assembly, one: Plain, members: list[LocalMember]) -> None:
    key = one["group"], Member(one["nodeid"], one["pid"])
    recipients = tuple(members[at] for at in one["recipients"])
    assembly.begin(key, one["total"], recipients, bound=one["bound"])
    assembly.add(key, one["data"])


def _unusual(batch: Batch) -> Plain:
    terms = batch.terms
    if terms is ORDINARY and batch.final:
        return {}
    view = terms.view
    said = {
        "level": int(terms.level),
        "to": tuple((member.nodeid, member.pid) for member in terms.to),
        "groups": terms.groups,
        "view": None if view is None else (*_ring(view.ringId), view.number),
    }
    return {"terms": said, "final": batch.final}


def _terms(said: Plain) -> Terms:
    view = said["view"]
    return Terms(
        Level(said["level"]),
        tuple(Member(*one) for one in said["to"]),
        tuple(said["groups"]),
        None if view is None else ViewId(RingId(*view[:2]), view[2]),
    )


def _awaited(expected: Mapping[int, Expected]) -> tuple[tuple[Any, ...], ...]:
    return tuple(
        (number, one.acceptance, int(one.level), one.last)
        for number, one in expected.items()
    )


def _receipts(plain: Mapping[str, Any]) -> Receipts:
    receipts = Receipts()
    receipts.sent, receipts.back, counted = plain.get("plain", (0, 0, ()))
    for these, found in (
        (receipts.compact, plain.get("awaited", ())),
        (receipts.plain, counted),
    ):
        for number, acceptance, level, last in found:
            these[number] = Expected(acceptance, Level(level), last)
    for number, acceptance, (sequence, view, nodeids, targets) in plain.get(
        "unsafe", ()
    ):
        viewId = ViewId(RingId(*view[:2]), view[2])
        members = tuple(Member(*one) for one in targets)
        receipt = Receipt(sequence, viewId, tuple(nodeids), members)
        receipts.unsafe.append((number, acceptance, receipt))
    return receipts


def _unsafe(waiting: tuple[int, Any, Receipt]) -> tuple[Any, ...]:
    number, acceptance, receipt = waiting
    viewId = receipt.viewId
    targets = tuple((member.nodeid, member.pid) for member in receipt.targets)
    view = (*_ring(viewId.ringId), viewId.number)
    return number, acceptance, (receipt.sequence, view, receipt.members, targets)


def _ring(ringId: RingId) -> tuple[int, int]:
    return ringId.sequence, ringId.representative
