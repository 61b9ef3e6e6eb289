"""
The judge of process groups: what their clients see.
"""

from collections.abc import Callable, Collection, Mapping
from struct import Struct
from typing import Any, Final, Protocol

from attrs import define, field, frozen

from corotwist.engines import batch
from corotwist.engines.interfaces import (
    GroupView,
    IProcessGroups,
    Member,
    Reason,
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
from corotwist.simulator.judges.judge import Judge, Life, Summary
from corotwist.totem.membership import RingId

# Before each payload: which client sent it, and as its how manieth.
HEADER: Final = Struct("<QQ")
_RING_REASONS: Final = (Reason.NODEDOWN, Reason.NODEUP)

# Processes with this number, or a higher one, are applications of the story:
# the judge does not see what they see, only that nodes agree who is there.
FIRST_APPLICATION: Final = 10_000

SHOWN: Final = 5

# What the engine answers, by what is asked and where the client stands.
_ANSWERS: Final[Mapping[str, Mapping[str, type[ServiceError] | None]]] = {
    "join": {"out": None, "joining": Exists, "in": Exists, "leaving": Busy},
    "leave": {"out": NotJoined, "joining": Busy, "in": None, "leaving": NotJoined},
    "send": {
        "out": NotJoined,
        "joining": NotJoined,
        "in": None,
        "leaving": NotJoined,
    },
}
# Answers that are right whenever there is too much to do, the node stops, or
# what is asked for cannot be.
_ANY_TIME: Final = (TryAgain, BadHandle, NameTooLong, TooBig, InvalidParameter)
# Answers after which nothing was sent.
_NOT_SENT: Final = (NotJoined, TryAgain, TooBig, InvalidParameter)

Tables = dict[Life, IProcessGroups]
Path = tuple[tuple[RingId, tuple[int, ...], bool], ...]


class Party(Protocol):
    """
    One client of process groups: one process, from its start to its end.

    @ivar identity: unlike that of any other client of the run.
    @ivar life: the process of the node it is at.
    @ivar log: what was delivered: group, sender and payload.
    """

    identity: int
    life: Life
    open: bool
    log: list[tuple[bytes, Member, bytes]]

    @property
    def member(self) -> Member:
        """
        How others see it.
        """


@define(eq=False)
class Belonging:
    """
    One client in one group, from its first view to its last.

    @ivar whole: it was in the group when the present ring began for it.
    @ivar stages: reasons of views that this change of the ring brought so far.
    @ivar lost: who was told to be lost with his node, in this change.
    @ivar constant: who has been in the view since the change before.
    """

    view: frozenset[Member]
    heard: dict[int, int] = field(factory=dict)
    seen: Summary = field(factory=Summary)
    whole: bool = False
    leaving: bool = False
    stages: list[Reason] = field(factory=list)
    lost: set[Member] = field(factory=set)
    constant: set[Member] = field(factory=set)


@frozen
class Origin:
    """
    What is remembered of a client that may be gone, while others may still
    hear of it.
    """

    member: Member
    life: Life
    name: str

    def __str__(self) -> str:
        return self.name


def nobodyKnows(life: Life) -> frozenset[int] | None:
    """
    Who came along, where nobody watches the rounds.
    """
    return None


@define(eq=False)
class GroupsJudge(Judge):
    """
    C0 to C15.

    @ivar path: the configurations that a process went through since it was
        last asked.
    @ivar came: the nodes that came along with a process through every change
        since its groups were last in step.
    """

    path: Callable[[Life], Path]
    came: Callable[[Life], frozenset[int] | None] = nobodyKnows
    _members: dict[tuple[Party, bytes], Belonging] = field(factory=dict)
    _origins: dict[int, Origin] = field(factory=dict)
    _sent: dict[tuple[int, int], tuple[bytes, bytes]] = field(factory=dict)
    _outstanding: dict[Party, dict[int, bytes]] = field(factory=dict)
    _rings: dict[Party, RingId | None] = field(factory=dict)
    _paths: dict[tuple[Life, RingId], Path] = field(factory=dict)
    _intervals: dict[tuple[bytes, RingId, Path], tuple[Origin, tuple[int, int]]] = (
        field(factory=dict)
    )
    _fellows: dict[tuple[Life, RingId], frozenset[int] | None] = field(factory=dict)
    _joining: set[tuple[Party, bytes]] = field(factory=set)
    _users: dict[tuple[Life, int], int] = field(factory=dict)
    _shared: set[tuple[Life, int]] = field(factory=set)
    _void: dict[tuple[int, int], str] = field(factory=dict)

    # Clients.

    def opened(self, client: Party) -> None:
        """
        There is a new client.
        """
        identity = client.identity
        self._origins[identity] = Origin(client.member, client.life, str(client))
        user = client.life, client.member.pid
        if self._users.setdefault(user, identity) != identity:
            self._shared.add(user)
        self._rings[client] = None
        self._outstanding[client] = {}

    def closed(self, client: Party) -> None:
        """
        It is gone; nothing is owed to it.
        """
        self._rings.pop(client, None)
        self._outstanding.pop(client, None)
        for key in [key for key in self._members if key[0] is client]:
            del self._members[key]
        self._joining = {key for key in self._joining if key[0] is not client}

    def ended(self, life: Life) -> None:
        """
        A node's process ended, and its clients with it.
        """
        for client in [c for c in self._rings if c.life is life]:
            client.open = False
            self.closed(client)
        self._shared = {user for user in self._shared if user[0] is not life}
        tables: tuple[dict[Any, Any], ...] = self._users, self._paths, self._fellows
        for table in tables:
            for key in [key for key in table if key[0] is life]:
                del table[key]

    def answered(
        self, client: Party, asked: str, group: bytes, error: BaseException | None
    ) -> None:
        """
        The engine answered at once: C{join}, C{leave} or C{send}.

        Nothing is known of one of several clients with one number: what the
        others do counts for it too.
        """
        user = client.life, client.member.pid
        if client not in self._rings or user in self._shared:
            return
        where = self._standing(client, group)
        right = _ANSWERS[asked][where]
        answer = None if error is None else type(error)
        if answer is not right and answer not in _ANY_TIME:
            self._blame(
                "C0",
                f"{asked} while {where} was answered wrongly",
                client,
                group=group,
                answer=answer and answer.__name__,
                right=right and right.__name__,
            )
        if asked == "join" and error is None:
            self._joining.add((client, group))

    def _standing(self, client: Party, group: bytes) -> str:
        belonging = self._members.get((client, group))
        if belonging is not None:
            return "leaving" if belonging.leaving else "in"
        return "joining" if (client, group) in self._joining else "out"

    def leaveAsked(self, client: Party, group: bytes) -> None:
        """
        The engine took a leave.
        """
        belonging = self._members.get((client, group))
        if belonging is not None:
            belonging.leaving = True

    # Messages.

    def sent(
        self, client: Party, group: bytes, numbers: range, payloads: tuple[bytes, ...]
    ) -> None:
        """
        Messages are about to be given to the engine.
        """
        for number, payload in zip(numbers, payloads, strict=True):
            self._sent[client.identity, number] = group, payload

    def accepted(self, client: Party, group: bytes, numbers: range) -> None:
        """
        They will be delivered.
        """
        outstanding = self._outstanding.get(client)
        if outstanding is None:
            return
        belonging = self._members.get((client, group))
        heard = belonging.heard.get(client.identity, 0) if belonging else 0
        for number in numbers:
            if number > heard:
                outstanding[number] = group

    def refused(
        self, client: Party, group: bytes, numbers: range, error: BaseException
    ) -> None:
        """
        They will not be delivered: an error is an answer.  Of messages that
        the ring's change interrupted, the last is not; those before it may be.
        """
        if not isinstance(error, (*_NOT_SENT, Interrupted)):
            return
        promise = "C14" if isinstance(error, Interrupted) else "C15"
        for number in numbers[-1:] if promise == "C14" else numbers:
            self._void[client.identity, number] = promise
            for (who, _), belonging in self._members.items():
                if belonging.heard.get(client.identity, 0) >= number:
                    text = "was refused what another had got already"
                    self._blame(promise, text, client, who, number=number)

    def batchDelivered(
        self, client: Party, group: bytes, sender: Member, packed: bytes, count: int
    ) -> None:
        """
        A client got messages.
        """
        messages = batch.unpack(packed)
        if len(messages) != count:
            self._blame("C4", "got another number of messages than told", client)
        for message in messages:
            self._delivered(client, group, sender, message)

    def _delivered(
        self, client: Party, group: bytes, sender: Member, message: bytes
    ) -> None:
        identity, number = HEADER.unpack_from(message)
        payload = message[HEADER.size :]
        belonging = self._members.get((client, group))
        if belonging is None:
            self._blame("C7", "got a message of a group it is not in", client, of=group)
            return
        origin = self._origins.get(identity)
        if self._sent.get((identity, number)) != (group, payload) or origin is None:
            self._blame("C4", "got what was not sent so", client, number=number)
            return
        if sender not in belonging.view or sender != origin.member:
            self._blame(
                "C3", "got a message of one who is not in its view", client, who=sender
            )
        void = self._void.get((identity, number))
        if void is not None:
            self._blame(void, "got what was refused", client, origin, number=number)
        heard = belonging.heard.get(identity, 0)
        if number <= heard:
            self._blame(
                "C4",
                "got a message twice, or in the wrong order",
                client,
                origin,
                number=number,
            )
        if belonging.stages:
            self._blame(
                "C9", "got a message in the middle of a change of the ring", client
            )
        belonging.heard[identity] = max(number, heard)
        belonging.seen.add(identity, number)
        client.log.append((group, sender, payload))
        if identity == client.identity:
            self._outstanding[client].pop(number, None)

    # Views.

    def viewed(self, client: Party, view: GroupView) -> None:
        """
        A client got a view.
        """
        key = client, view.group
        members = frozenset(view.members)
        left = {change.member: change.reason for change in view.left}
        joined = {change.member: change.reason for change in view.joined}
        belonging = self._members.get(key)
        if belonging is None:
            if joined.get(client.member) is not Reason.JOIN:
                self._blame("C1", "a first view that is not of its own join", client)
            belonging = self._members[key] = Belonging(members)
            self._joining.discard(key)
            if client.member not in members:
                self._blame("C1", "is not in its first view", client)
            return
        old = belonging.view
        right = (old - left.keys()) | joined.keys()
        if (
            members != right
            or not left.keys() <= old
            or joined.keys() & (old - left.keys())
        ):
            self._blame(
                "C1",
                "a view is not the one before, without who left, with who joined",
                client,
                group=view.group,
                members=sorted(members),
                right=sorted(right),
            )
        belonging.view = members
        belonging.constant.difference_update(left)
        belonging.lost.update(m for m, why in left.items() if why is Reason.NODEDOWN)
        self._stage(client, belonging, {*left.values(), *joined.values()})
        for member in sorted(members):
            belonging.seen.add(member.nodeid, member.pid)
        for reason in sorted({*left.values()} | {*joined.values()}):
            belonging.seen.add(-reason)
        if client.member in left:
            self._ownDeparture(client, view.group, left[client.member])
            del self._members[key]

    def _stage(self, client: Party, belonging: Belonging, reasons: set[Reason]) -> None:
        """
        A change of the ring: at most one view, of who is lost with his node and
        of who is gained.
        """
        if not reasons.intersection(_RING_REASONS):
            return
        if belonging.stages:
            self._blame(
                "C9",
                "a change of the ring came in pieces",
                client,
                reasons=sorted(reasons),
                before=belonging.stages,
            )
        belonging.stages.append(max(reasons))

    def _ownDeparture(self, client: Party, group: bytes, reason: Reason) -> None:
        belonging = self._members[client, group]
        if reason is not Reason.LEAVE:
            self._blame(
                "C12", "its own node took it out of a group", client, reason=reason
            )
        elif not belonging.leaving:
            self._blame("C8", "left without having asked", client)
        outstanding = self._outstanding.get(client, {})
        lost = [n for n, of in outstanding.items() if of == group]
        if lost:
            self._blame(
                "C6", "left before what was accepted", client, numbers=lost[:SHOWN]
            )

    def ringChanged(self, client: Party, ringId: RingId) -> None:
        """
        The services of its node are in step on a ring.
        """
        self.inStep(client.life, ringId)
        self.ringHeard(client, ringId)

    def inStep(self, life: Life, ringId: RingId) -> None:
        """
        The services of a node are in step on a ring; this is how it came
        there.
        """
        if (life, ringId) not in self._paths:
            self._paths[life, ringId] = self.path(life)
            self._fellows[life, ringId] = self.came(life)

    def ringHeard(self, client: Party, ringId: RingId) -> None:
        """
        A client heard, perhaps later, that its node's services were in step.
        Where nobody knows how the node came there, nothing is compared.
        """
        before = self._rings.get(client)
        self._rings[client] = ringId
        path = self._paths.get((client.life, ringId))
        fellows = self._fellows.get((client.life, ringId))
        for (who, group), belonging in self._members.items():
            if who is not client:
                continue
            if belonging.whole and before is not None and path is not None:
                self._compare(client, (group, before, path), belonging.seen)
            if belonging.whole and fellows is not None:
                self._rightlyLost(client, group, belonging, fellows)
            belonging.whole = True
            belonging.seen = Summary()
            belonging.stages.clear()
            belonging.lost.clear()
            belonging.constant = set(belonging.view)

    def _rightlyLost(
        self,
        client: Party,
        group: bytes,
        belonging: Belonging,
        fellows: frozenset[int],
    ) -> None:
        """
        Lost with their nodes are those whose nodes did not come along through
        every change, and no others; our own node is always here.
        """
        fellows |= {client.member.nodeid}
        wrongly = [m for m in belonging.lost if m.nodeid in fellows]
        silently = [m for m in belonging.constant if m.nodeid not in fellows]
        if wrongly or silently:
            self._blame(
                "C10",
                "told of other losses than there were",
                client,
                group=group,
                lost=sorted(wrongly),
                untold=sorted(silently),
                came=sorted(fellows),
            )

    def _compare(
        self, client: Party, interval: tuple[bytes, RingId, Path], seen: Summary
    ) -> None:
        here = seen.frozen()
        other, there = self._intervals.setdefault(
            interval, (self._origins[client.identity], here)
        )
        if here != there:
            self._blame(
                "C2",
                "went on together, but saw other messages or views",
                client,
                other,
                group=interval[0],
                here=here[0],
                there=there[0],
            )

    # In quiet.

    def outstanding(self, lives: Collection[Life] | None = None) -> int:
        """
        Accepted messages that their senders, on these nodes or anywhere, have not
        got back.
        """
        return sum(
            1
            for client, numbers in self._outstanding.items()
            if lives is None or client.life in lives
            for group in numbers.values()
            if (client, group) in self._members
        )

    def agreed(self, tables: Tables, rings: list[set[Life]]) -> bool:
        """
        Does every node of a ring know exactly the members there are on it?
        """
        return not any(
            self._table(tables[life]) != right
            for lives, right in self._rightTables(rings)
            for life in lives
        ) and all(
            len({_applications(tables[life]) for life in lives}) <= 1 for lives in rings
        )

    def agreement(
        self,
        tables: Tables,
        rings: list[set[Life]],
        lives: Collection[Life] | None = None,
    ) -> None:
        """
        Everything accepted, on these nodes or anywhere, was delivered, and the
        nodes agree.
        """
        for client, numbers in self._outstanding.items():
            if lives is not None and client.life not in lives:
                continue
            lost = [
                n for n, group in numbers.items() if (client, group) in self._members
            ]
            if lost:
                self._blame(
                    "C6",
                    "never got back what was accepted",
                    client,
                    numbers=lost[:SHOWN],
                )
        for ring in rings:
            known = {life.nodeid: _applications(tables[life]) for life in ring}
            if len({*known.values()}) > 1:
                text = "nodes know different applications"
                self.blame("C11", text, *ring, known=known)
        for ring, right in self._rightTables(rings):
            for life in sorted(ring, key=lambda life: life.nodeid):
                here = self._table(tables[life])
                if here != right:
                    self.blame(
                        "C11",
                        "knows other members of groups than there are",
                        life,
                        here=here,
                        right=right,
                    )

    def _rightTables(
        self, rings: list[set[Life]]
    ) -> list[tuple[set[Life], dict[bytes, set[Member]]]]:
        tables = []
        for lives in rings:
            right: dict[bytes, set[Member]] = {}
            for client, group in self._members:
                if client.life in lives:
                    right.setdefault(group, set()).add(client.member)
            tables.append((lives, right))
        return tables

    def _table(self, engine: IProcessGroups) -> dict[bytes, set[Member]]:
        found: dict[bytes, set[Member]] = {}
        for group in engine.groups():
            members = {m for m in engine.members(group) if m.pid < FIRST_APPLICATION}
            if members:
                found[group] = members
        return found

    def _blame(
        self,
        promise: str,
        text: str,
        client: Party,
        *others: Party | Origin,
        **details: object,
    ) -> None:
        lives = [client.life, *(other.life for other in others)]
        clients = [str(client), *map(str, others)]
        self.blame(promise, text, *lives, clients=clients, **details)


def _applications(engine: IProcessGroups) -> frozenset[tuple[bytes, Member]]:
    return frozenset(
        (group, member)
        for group in engine.groups()
        for member in engine.members(group)
        if member.pid >= FIRST_APPLICATION
    )
