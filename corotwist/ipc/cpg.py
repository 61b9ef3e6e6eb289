"""
Process groups for local clients: the commands, the answers, the notifications.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from struct import Struct
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.protocols import amp
from zope.interface import Attribute

from corotwist.engines import batch as batches
from corotwist.engines.interfaces import (
    NO_RECEIPT,
    ORDINARY,
    Change,
    GroupView,
    IGroupSubscriber,
    IProcessGroups,
    Level,
    Member,
    Reason,
    Receipt,
    SlowReader,
    Terms,
)
from corotwist.errors import InvalidParameter, TooBig, TryAgain
from corotwist.ipc.channel import Box, Responder
from corotwist.ipc.wire import (
    BATCH_MESSAGES,
    ERRORS,
    PENDING_BYTES,
    PENDING_SENDS,
    Numbers,
    Partials,
    Unsigned,
    ViewIdentity,
    parts,
    unsigned,
)
from corotwist.totem.membership import Guarantee, RingId

# In one answer; more are asked for with C{after}.
LISTED_MEMBERS: Final = 4096
LISTED_GROUPS: Final = 256

# From the client.


class Join(amp.Command):
    """
    Ask to be a member.  Answered when asked; done when a view with us in
    C{joined} arrives.  C{slow} is a L{SlowReader}: what is to happen when we
    read too slowly.  With C{quorate} it is the quorate group of that name; with
    C{discard} what we send does not come back to us.
    """

    commandName = b"cpg.join"
    arguments = [
        (b"group", amp.String()),
        (b"slow", amp.String(optional=True)),
        (b"quorate", amp.Boolean(optional=True)),
        (b"discard", amp.Boolean(optional=True)),
    ]
    errors = ERRORS


class Leave(amp.Command):
    """
    Ask to be out.  Done when a view with us in C{left} arrives.
    """

    commandName = b"cpg.leave"
    arguments = [(b"group", amp.String())]
    errors = ERRORS


class Send(amp.Command):
    """
    Multicast a batch.  Answered when it is as far as C{level} says: without
    one, when it is queued in the ring, with an empty answer.  A batch in parts
    names its stream; only the last part needs an answer, and only there is
    asked what the L{Terms} are: the processes C{to} which it is shown by nodeid
    and pid, further C{groups}, packed like the messages of a batch, and the
    C{view} it has to be ordered in.  Of the L{Receipt}, C{targets} are only
    there if it was shown to somebody it was for.
    """

    commandName = b"cpg.send"
    arguments = [
        (b"group", amp.String()),
        (b"count", Unsigned(32)),
        (b"batch", amp.String()),
        (b"guarantee", Unsigned(8, optional=True)),
        (b"stream", Unsigned(64, optional=True)),
        (b"part", Unsigned(32, optional=True)),
        (b"more", amp.Boolean(optional=True)),
        (b"level", Unsigned(8, optional=True)),
        (b"to", Numbers(optional=True)),
        (b"groups", amp.String(optional=True)),
        (b"view", ViewIdentity(optional=True)),
    ]
    response = [
        (b"sequence", Unsigned(64, optional=True)),
        (b"view", ViewIdentity(optional=True)),
        (b"members", Numbers(optional=True)),
        (b"targets", Numbers(optional=True)),
    ]
    errors = ERRORS


class Members(amp.Command):
    """
    Who is in a group: nodeid, pid, nodeid, pid and so on, ascending, those
    behind the member C{after}.
    """

    commandName = b"cpg.members"
    arguments = [(b"group", amp.String()), (b"after", Numbers(optional=True))]
    response = [(b"members", Numbers()), (b"more", amp.Boolean())]
    errors = ERRORS


class Groups(amp.Command):
    """
    The groups behind the name C{after} that have members, in byte order;
    names packed like the messages of a batch.
    """

    commandName = b"cpg.groups"
    arguments = [(b"after", amp.String(optional=True))]
    response = [(b"groups", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


# To the client.


class Deliver(amp.Command):
    """
    Messages of one sender.  A batch in parts comes without anything else in
    between.  C{places}, with the first part, are L{PLACE}s of runs of messages,
    one behind the other: the sequence of its first message, and how many they
    are.  C{guarantee} is said unless it is agreed.
    """

    commandName = b"cpg.deliver"
    arguments = [
        (b"group", amp.String()),
        (b"nodeid", Unsigned(32)),
        (b"pid", Unsigned(32)),
        (b"count", Unsigned(32)),
        (b"batch", amp.String()),
        (b"part", Unsigned(32, optional=True)),
        (b"more", amp.Boolean(optional=True)),
        (b"places", amp.String(optional=True)),
        (b"guarantee", Unsigned(8, optional=True)),
    ]
    requiresAnswer = False


class View(amp.Command):
    """
    A group has other members now; C{view} is what L{encodeView} makes,
    C{viewid} and C{quorate} tell of the view of nodes in force.
    """

    commandName = b"cpg.view"
    arguments = [
        (b"group", amp.String()),
        (b"view", amp.String()),
        (b"part", Unsigned(32)),
        (b"more", amp.Boolean()),
        (b"viewid", ViewIdentity(optional=True)),
        (b"quorate", amp.Boolean(optional=True)),
    ]
    requiresAnswer = False


class RingChanged(amp.Command):
    """
    The ring changed, and the services are in step again.
    """

    commandName = b"cpg.ring"
    arguments = [
        (b"sequence", Unsigned(64)),
        (b"representative", Unsigned(32)),
        (b"members", Numbers()),
    ]
    requiresAnswer = False


PLACE: Final = Struct("<QI")
_COUNTS: Final = Struct("<III")
_MEMBER: Final = Struct("<II")
_CHANGE: Final = Struct("<III")


class Flow(amp.Command):
    """
    Who sends to a group waits from here on, or does not any more.
    """

    commandName = b"cpg.flow"
    arguments = [(b"group", amp.String()), (b"paused", amp.Boolean())]
    requiresAnswer = False


def encodeView(view: GroupView) -> bytes:
    """
    A view without its group's name, all numbers u32 little endian::

        number of members, number that left, number that joined
        per member:             nodeid, pid
        per process that left:  nodeid, pid, reason
        per process that joined: nodeid, pid, reason
    """
    pieces = [_COUNTS.pack(len(view.members), len(view.left), len(view.joined))]
    pieces += (_MEMBER.pack(m.nodeid, m.pid) for m in view.members)
    for change in (*view.left, *view.joined):
        member = change.member
        pieces.append(_CHANGE.pack(member.nodeid, member.pid, change.reason))
    return b"".join(pieces)


def decodeView(group: bytes, data: bytes) -> GroupView:
    """
    What L{encodeView} made.

    @raise InvalidParameter: when it is something else.
    """
    if len(data) < _COUNTS.size:
        raise InvalidParameter("a view without its counts")
    members, left, joined = _COUNTS.unpack_from(data)
    border = _COUNTS.size + members * _MEMBER.size
    if len(data) != border + (left + joined) * _CHANGE.size:
        raise InvalidParameter("a view whose counts do not fit its size")
    try:
        changes = [
            Change(Member(nodeid, pid), Reason(reason))
            for nodeid, pid, reason in _CHANGE.iter_unpack(data[border:])
        ]
    except ValueError as error:
        raise InvalidParameter(f"a view: {error}") from error
    return GroupView(
        group,
        tuple(Member(*m) for m in _MEMBER.iter_unpack(data[_COUNTS.size : border])),
        tuple(changes[:left]),
        tuple(changes[left:]),
    )


def viewBoxes(view: GroupView) -> Iterator[Box]:
    """
    A view as notifications.
    """
    viewId = ViewIdentity().toString(view.view.viewId)
    for number, more, data in parts(encodeView(view)):
        yield {
            amp.COMMAND: View.commandName,
            b"group": view.group,
            b"view": data,
            b"part": b"%d" % number,
            b"more": _boolean(more),
            b"viewid": viewId,
            b"quorate": _boolean(view.view.quorate),
        }


def _boolean(value: bool) -> bytes:
    return b"True" if value else b"False"


def ringBox(ringId: RingId, members: tuple[int, ...]) -> Box:
    """
    A ring as notification.
    """
    return {
        amp.COMMAND: RingChanged.commandName,
        b"sequence": b"%d" % ringId.sequence,
        b"representative": b"%d" % ringId.representative,
        b"members": Numbers().toString(members),
    }


def flowBox(group: bytes, *, paused: bool) -> Box:
    """
    Who waits, as notification.
    """
    return {
        amp.COMMAND: Flow.commandName,
        b"group": group,
        b"paused": _boolean(paused),
    }


# The answers.


def _slowReader(name: bytes | None) -> SlowReader | None:
    """
    What is to happen, if a client says.

    @raise InvalidParameter: it is nothing that we can do.
    """
    if name is None:
        return None
    try:
        return SlowReader(name.decode("ascii", "replace"))
    except ValueError:
        known = ", ".join(SlowReader)
        raise InvalidParameter(f"a slow reader may ask for {known}") from None


_PAIR: Final = 2
_SPECIAL: Final = frozenset({b"level", b"to", b"groups", b"view"})
_LEVELS: Final[Mapping[bytes, Level]] = {b"%d" % n: n for n in Level}
_GUARANTEES: Final[Mapping[bytes, Guarantee]] = {b"%d" % g: g for g in Guarantee}


def _termsOf(box: amp.AmpBox) -> Terms:
    """
    What a sender wants.

    @raise InvalidParameter: it is nothing that we can do.
    """
    level = _LEVELS.get(box.get(b"level", b"0"))
    if level is None:
        raise InvalidParameter("a level is 0, 1 or 2")
    numbers = Numbers().fromString(box.get(b"to", b""))
    if len(numbers) % _PAIR:
        raise InvalidParameter("a process is a nodeid and a pid")
    view = box.get(b"view")
    return Terms(
        level,
        tuple(map(Member, numbers[::_PAIR], numbers[1::_PAIR])),
        tuple(batches.unpack(box.get(b"groups", b""))),
        None if view is None else ViewIdentity().fromString(view),
    )


def _receiptBox(receipt: Receipt) -> Box:
    box = {
        b"sequence": b"%d" % receipt.sequence,
        b"view": ViewIdentity().toString(receipt.viewId),
        b"members": Numbers().toString(receipt.members),
    }
    if receipt.targets:
        box[b"targets"] = _numbered(receipt.targets)
    return box


def _numbered(members: Iterable[Member]) -> bytes:
    return Numbers().toString(tuple([n for m in members for n in (m.nodeid, m.pid)]))


class Subscriber(IGroupSubscriber):
    """
    A subscriber whose end can be heard of: a connection.
    """

    inbound = Attribute("Bytes that are kept of what it has not said to the end.")

    def atEnd(callback: Callable[[], object]) -> None:
        """
        Call when the client is gone.
        """


class GroupsLocator(amp.CommandLocator):
    """
    What one client may ask of the process groups.
    """

    def __init__(self, groups: IProcessGroups, connection: Subscriber) -> None:
        super().__init__()
        self._groups = groups
        self._subscriber = connection
        connection.atEnd(self._closed)
        self._partials = Partials(budget=connection.inbound)
        self._pendingSends = 0
        self._pendingBytes = 0

    def locateResponder(self, name: bytes) -> Responder | None:
        if name == Send.commandName:
            return self._sendReceived
        responder: Responder | None = super().locateResponder(name)
        return responder

    @Join.responder
    def _join(
        self,
        group: bytes,
        slow: bytes | None = None,
        quorate: bool | None = None,
        discard: bool | None = None,
    ) -> dict[str, Any]:
        self._groups.join(
            self._subscriber,
            group,
            _slowReader(slow),
            quorate=bool(quorate),
            discardOwn=bool(discard),
        )
        return {}

    @Leave.responder
    def _leave(self, group: bytes) -> dict[str, Any]:
        self._groups.leave(self._subscriber, group)
        return {}

    @Members.responder
    def _members(
        self, group: bytes, after: tuple[int, ...] | None = None
    ) -> dict[str, Any]:
        behind = Member(*after) if after and len(after) == _PAIR else Member(-1, -1)
        found = [m for m in self._groups.members(group) if m > behind]
        listed = found[:LISTED_MEMBERS]
        return {
            "members": tuple(n for m in listed for n in (m.nodeid, m.pid)),
            "more": len(found) > len(listed),
        }

    @Groups.responder
    def _listGroups(self, after: bytes | None = None) -> dict[str, Any]:
        behind = (g for g in self._groups.groups() if after is None or g > after)
        listed = list(islice(behind, LISTED_GROUPS))
        return {
            "groups": batches.pack(listed),
            "more": next(behind, None) is not None,
        }

    def _sendReceived(self, box: amp.AmpBox) -> Deferred[Box | None] | None:
        """
        The one frequent command: taken apart here, with as few steps as it
        takes.
        """
        batch = self._wholeBatch(box)
        if batch is None:
            return None
        group = box[b"group"]
        count = unsigned(box[b"count"], 32)
        guarantee = _GUARANTEES.get(box.get(b"guarantee", b"2"))
        if guarantee is None:
            raise InvalidParameter("a guarantee is 0, 1, 2 or 3")
        size = len(batch)
        if count > BATCH_MESSAGES:
            raise TooBig(f"{count} messages in a batch, at most {BATCH_MESSAGES}")
        if not 0 < count * batches.OVERHEAD <= size:
            raise InvalidParameter(f"{size} bytes cannot be {count} messages")
        if self._pendingSends and (
            self._pendingSends >= PENDING_SENDS
            or self._pendingBytes + size > PENDING_BYTES
        ):
            raise TryAgain(f"{self._pendingSends} batches wait already")
        terms = ORDINARY if _SPECIAL.isdisjoint(box) else _termsOf(box)
        sent = self._groups.send(
            self._subscriber, group, batch, count, guarantee, terms=terms
        )
        self._pendingSends += 1
        self._pendingBytes += size
        return sent.addBoth(self._sendEnded, size)

    def _wholeBatch(self, box: amp.AmpBox) -> bytes | None:
        batch: bytes = box[b"batch"]
        stream: bytes | None = box.get(b"stream")
        if stream is None:
            return batch
        return self._partials.partReceived(
            unsigned(stream, 64),
            unsigned(box[b"part"], 32),
            batch,
            more=box.get(b"more") == b"True",
        )

    def _closed(self) -> None:
        self._partials.clear()
        self._groups.closed(self._subscriber)

    def _sendEnded(self, result: Any, size: int) -> Any:
        self._pendingSends -= 1
        self._pendingBytes -= size
        if result is NO_RECEIPT:
            return None
        return _receiptBox(result) if isinstance(result, Receipt) else result
