"""
A story of process groups on an L{OrderedNet}, with every predicate of closed
process groups checked while it goes on.

Each message of the order has a place: its ring and its position there, and,
for what is left of a ring that broke, who goes on together.  What a client is
told is written down with the place whose delivery caused it, so that what two
clients saw can be compared place by place.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import StrEnum
from random import Random
from typing import Any, Final

from attrs import define, evolve, field

from corotwist.engines import batch
from corotwist.engines.interfaces import NO_VIEW, GroupView, Member, Reason
from corotwist.errors import (
    BadHandle,
    Busy,
    Exists,
    Interrupted,
    NotJoined,
    ServiceError,
)
from corotwist.test.engines.orderednet import Listener, Node, OrderedNet
from corotwist.totem.membership import Guarantee, RingId

Place = tuple[RingId, int, tuple[int, ...]]


class State(StrEnum):
    """
    A client and a group, as the client may see it.
    """

    OUT = "out"
    JOINING = "joining"
    IN = "in"
    LEAVING = "leaving"


@define(eq=False)
class Sent:
    """
    A message that was handed over.

    @ivar together: the numbers of its batch.
    """

    number: int
    client: "Client"
    group: bytes
    payload: bytes
    large: bool
    membership: int
    together: range
    outcome: Any = "waiting"


@define(eq=False)
class Client:
    """
    A local client under observation.

    @ivar states: per group.
    @ivar members: per group, the members by the views so far.
    @ivar incarnations: which start of its node a member belongs to.
    @ivar memberships: per group, how often it was joined.
    @ivar seen: per group and place, what was told there while inside.
    @ivar joinedAt: per group, the number of the first message sent after the
        join view.
    """

    story: "Story"
    node: Node
    listener: Listener
    open: bool = True
    states: dict[bytes, State] = field(factory=lambda: defaultdict(lambda: State.OUT))
    members: dict[bytes, tuple[Member, ...]] = field(factory=dict)
    incarnations: dict[tuple[bytes, Member], Node] = field(factory=dict)
    memberships: dict[bytes, int] = field(factory=lambda: defaultdict(int))
    seen: dict[tuple[bytes, Place], list[Any]] = field(factory=dict)
    joinedAt: dict[bytes, int] = field(factory=dict)
    received: dict[int, int] = field(factory=dict)
    latest: dict[tuple[Member, bytes], int] = field(factory=dict)
    read: int = 0

    @property
    def pid(self) -> int:
        return self.listener.pid

    @property
    def member(self) -> Member:
        return Member(self.node.nodeid, self.pid)

    # What the client is told.

    def digest(self, place: Place) -> None:
        """
        Look at what came with the delivery at C{place}.
        """
        events = self.listener.events[self.read :]
        self.read = len(self.listener.events)
        inside = {group for group, state in self.states.items() if self._inside(state)}
        news: dict[bytes, list[Any]] = {group: [] for group in inside}
        for event in events:
            if event[0] == "ring":
                continue
            group = event[1].group if event[0] == "view" else event[1]
            news.setdefault(group, []).append(self._digested(event))
        for group, told in news.items():
            self.seen[group, place] = told
        self._checkRound([event for event in events if event[0] == "view"])

    def _inside(self, state: State) -> bool:
        return state in (State.IN, State.LEAVING)

    def _digested(self, event: tuple[Any, ...]) -> Any:
        if event[0] == "view":
            view = event[1]
            self._viewSeen(view)
            # Who came to the ring from elsewhere comes from another view.
            return ("view", evolve(view, view=NO_VIEW), view.view.viewId)
        _, group, sender, payload = event
        self._messageSeen(group, sender, payload)
        return ("message", sender, payload)

    def _viewSeen(self, view: GroupView) -> None:
        """
        C0, C1, C8, C12.
        """
        group, state = view.group, self.states[view.group]
        left = {change.member for change in view.left}
        joined = {change.member for change in view.joined}
        if state is State.JOINING:
            assert self.member in joined, f"first view without us: {view}"
            assert view.joined[0].reason is Reason.JOIN, view
            self.states[group] = State.IN
            self.memberships[group] += 1
            self.joinedAt[group] = self.story.counter
        else:
            assert self._inside(state), f"{state}, but told {view}"
            before = set(self.members[group])
            assert left <= before, f"left without being there: {view}"
            assert not joined & (before - left), f"joined twice: {view}"
            assert set(view.members) == (before - left) | joined, view
        assert list(view.members) == sorted(view.members), view
        ring = self.node.totem.ring
        assert ring is not None
        for change in view.left:
            self.incarnations.pop((group, change.member), None)
            if change.reason is Reason.NODEDOWN:
                along = self.story.cameAlong(self.node)
                assert change.member.nodeid not in along, f"it came along: {view}"
            if change.member.nodeid not in ring.members:
                assert change.reason is Reason.NODEDOWN, view
            if change.member == self.member:
                assert state is State.LEAVING, view
                assert change.reason is Reason.LEAVE, view
                self.states[group] = State.OUT
        self.members[group] = view.members
        for member in joined:
            self.incarnations[group, member] = self._incarnation(member)
        for member in set(view.members) - joined:
            self.incarnations.setdefault((group, member), self._incarnation(member))

    def _incarnation(self, member: Member) -> Node:
        ring = self.node.totem.ring
        assert ring is not None
        return ring.incarnations[member.nodeid]

    def checkIncarnations(self) -> None:
        """
        C10: after a round nobody is in a view who came with an earlier start
        of its node.
        """
        ring = self.node.totem.ring
        assert ring is not None
        for group, state in self.states.items():
            if self._inside(state):
                for member in self.members[group]:
                    known = self.incarnations[group, member]
                    now = ring.incarnations.get(member.nodeid)
                    assert known is now, f"{member} of {group!r} is a ghost"

    def _messageSeen(self, group: bytes, sender: Member, payload: bytes) -> None:
        """
        C3, C4, C7.
        """
        assert self._inside(self.states[group]), f"outside, but told {payload!r}"
        assert sender in self.members[group], f"{sender} is not in the view"
        number = int(payload.split(b".")[0])
        sent = self.story.sent[number]
        assert (sent.group, sent.client.member) == (group, sender)
        assert sent.payload == payload, "another payload"
        assert number not in self.received, f"{number} delivered twice"
        before = self.latest.get((sender, group), -1)
        assert number > before, f"{number} after {before}"
        self.received[number] = self.memberships[group]
        self.latest[sender, group] = number

    def _checkRound(self, events: list[tuple[Any, ...]]) -> None:
        """
        C9, C12: one view of each group, in a view of nodes that all its
        members are in, and never about us.
        """
        assert self.node.totem.ring is not None
        groups = [view.group for _, view in events]
        assert len(groups) == len(set(groups)), events
        for _, view in events:
            lost = {c.member for c in (*view.left, *view.joined) if c.reason in _RING}
            assert self.member not in lost, view
            assert view.view.viewId.ringId == self.node.totem.ring.ringId, view
            assert {m.nodeid for m in view.members} <= {*view.view.members}, view


GROUPS: Final = (b"", b"red", b"green\0")
_RING: Final = (Reason.NODEDOWN, Reason.NODEUP)


class Wanderer:
    """
    Acts at random, often at the worst moment.
    """

    def __init__(self, story: "Story", random: Random, atomic: int) -> None:
        self.story = story
        self.net = story.net
        self.random = random
        self.atomic = atomic
        self.foreign = random.choice((0.0, 0.0, 0.3))
        self.capacity = random.choice((5000, 1 << 20))
        self.ordinary = random.choice((400, 1000, 1 << 20))
        self.actions: list[tuple[Callable[[], None], float]] = [
            (self._send, 10.0),
            (self._visit, 12.0),
            (self._receive, 12.0),
            (self._join, 3.0),
            (self._leave, 1.0),
            (self._close, 0.4),
            (self._connect, 0.7),
            (self._form, random.choice((0.3, 1.0, 2.0))),
            (self._kill, random.choice((0.0, 0.3))),
            (self._boot, 1.0),
            (self._run, random.choice((0.1, 0.5))),
            (self._settle, random.choice((0.5, 2.0))),
            (self._shake, random.choice((0.3, 1.0))),
        ]

    def wander(self, nodeids: Sequence[int], steps: int) -> None:
        """
        From a calm ring, through trouble, to a calm ring.
        """
        for nodeid in nodeids:
            self._bootNode(nodeid)
        self.net.form(*nodeids)
        self.net.run()
        for nodeid in nodeids:
            client = self.story.connect(nodeid, 100)
            self.story.join(client, GROUPS[1])
        self.net.run()
        actions, weights = zip(*self.actions, strict=True)
        for _ in range(steps):
            self.random.choices(actions, weights)[0]()
        self.net.form(*self.net.nodes)
        self.net.run()
        self.story.checkEnd()

    def _node(self) -> Node | None:
        nodes = [n for _, n in sorted(self.net.nodes.items()) if n.totem.ring]
        return self.random.choice(nodes) if nodes else None

    def _client(self) -> Client | None:
        clients = [client for client in self.story.clients if client.open]
        return self.random.choice(clients) if clients else None

    def _bootNode(self, nodeid: int) -> None:
        foreign = self.random.random() < self.foreign
        self.story.boot(nodeid, foreign=foreign, capacity=self.capacity)
        self.net.nodes[nodeid].totem.ordinary = self.ordinary

    def _boot(self) -> None:
        down = [n for n in range(1, self.net.count + 1) if n not in self.net.nodes]
        if down:
            self._bootNode(self.random.choice(down))

    def _kill(self) -> None:
        if len(self.net.nodes) > 1:
            self.story.kill(self.random.choice(sorted(self.net.nodes)))

    def _form(self) -> None:
        """
        One ring or two; perhaps one node does not come along with the others.
        """
        sides: tuple[list[int], list[int]] = ([], [])
        split = self.random.random() < 0.5
        for nodeid in sorted(self.net.nodes):
            sides[self.random.randrange(2) if split else 0].append(nodeid)
        for members in sides:
            if members:
                alone = self.random.sample(members, self.random.random() < 0.3)
                self.net.form(*members, together=[(n,) for n in alone])

    def _visit(self) -> None:
        if node := self._node():
            self.net.visit(node.nodeid, self.random.randint(1, 3))

    def _receive(self) -> None:
        if node := self._node():
            self.net.receive(node.nodeid, self.random.randint(1, 12))

    def _run(self) -> None:
        self.net.run()

    def _settle(self) -> None:
        """
        Until the services are in step, and no further.
        """
        for _ in range(100):
            nodes = [n for n in self.net.nodes.values() if n.totem.ring]
            if not any(node.manager.synchronizing() for node in nodes):
                break
            self.net.rotate(1)

    def _shake(self) -> None:
        """
        Much to send, and two changes, the second soon after the first is
        through.
        """
        for _ in range(self.random.randint(0, 12)):
            self.random.choice((self._send, self._send, self._visit))()
        self._form()
        self._settle()
        for _ in range(self.random.randint(0, 8)):
            self.random.choice((self._visit, self._receive))()
        self._form()
        self._settle()

    def _connect(self) -> None:
        node = self._node()
        if node and sum(client.open for client in self.story.clients) < 10:
            self.story.connect(node.nodeid, self.random.choice((100, 101)))

    def _join(self) -> None:
        if client := self._client():
            self.story.join(client, self.random.choice(GROUPS))

    def _leave(self) -> None:
        if client := self._client():
            self.story.leave(client, self.random.choice(GROUPS))

    def _close(self) -> None:
        if client := self._client():
            self.story.close(client)

    def _send(self) -> None:
        client = self._client()
        if client is None:
            return
        inside = [g for g, state in client.states.items() if state is State.IN]
        group = self.random.choice(inside or GROUPS)
        sizes = [
            self.random.choice((0, 5, 20, 20, 3 * self.atomic))
            for _ in range(self.random.randint(1, 4))
        ]
        self.story.send(client, group, sizes, self.atomic)


class Story:
    """
    What happens, and what has been promised.
    """

    def __init__(self, net: OrderedNet) -> None:
        self.net = net
        self.clients: list[Client] = []
        self.sent: dict[int, Sent] = {}
        self.counter = 0
        self.mixed = False
        self._tables: dict[Place, Any] = {}
        self._completed: dict[int, int] = {}
        self._marks: dict[Node, list[int]] = {}

    # Nodes.

    def boot(self, nodeid: int, *, foreign: bool, capacity: int) -> None:
        """
        A node starts; every delivery to it is watched.
        """
        (node,) = self.net.boot(nodeid, foreign=foreign)
        node.totem.capacity = capacity
        self.mixed = self.mixed or foreign
        self._completed[nodeid] = 0
        self._mark(node)
        totem = node.totem

        def watch(isMessage: bool) -> None:
            if totem.ring is not None and totem.alive:
                place = (totem.ring.ringId, totem.position, totem.together)
                self._delivered(node, place, isMessage)

        totem.watcher = watch

    def _mark(self, node: Node) -> None:
        """
        Write down when the groups of a node complete their stage.
        """
        marks = self._marks[node] = [0]
        completed = node.cpg.synchronizationCompleted

        def marked() -> None:
            completed()
            marks.append(len(node.configurations))

        node.cpg.synchronizationCompleted = marked  # type: ignore[method-assign]

    def cameAlong(self, node: Node) -> set[int]:
        """
        Who came along through every change before the last completed stage,
        since the one before it.
        """
        begin, end = self._marks[node][-2:]
        changes = [c for c in node.configurations[begin:end] if c.transitional]
        return (
            set.intersection(*(set(c.members) for c in changes)) if changes else set()
        )

    def _delivered(self, node: Node, place: Place, isMessage: bool) -> None:
        for client in self.clients:
            if client.node is not node or not client.open:
                continue
            if isMessage:
                client.digest(place)
            else:
                assert client.read == len(client.listener.events), "told out of order"
        self._checkTable(node, place)

    def _checkTable(self, node: Node, place: Place) -> None:
        """
        C11: who completes a round at one place has the same table.
        """
        completed = node.manager.synchronization.counters.completed
        if completed == self._completed[node.nodeid]:
            return
        self._completed[node.nodeid] = completed
        table = {group: node.cpg.members(group) for group in node.cpg.groups()}
        assert self._tables.setdefault(place, table) == table, "different tables"
        for client in self.clients:
            if client.node is node and client.open:
                client.checkIncarnations()

    def kill(self, nodeid: int) -> None:
        """
        A node is gone, and its clients with it.
        """
        node = self.net.nodes[nodeid]
        for client in self.clients:
            if client.node is node:
                client.open = False
        self.net.kill(nodeid)

    # Clients.

    def connect(self, nodeid: int, pid: int) -> Client:
        """
        A new client.
        """
        client = Client(self, self.net.nodes[nodeid], Listener(pid))
        self.clients.append(client)
        return client

    def _rival(self, client: Client, group: bytes) -> bool:
        """
        Is another connection of the same process in the way?
        """
        return any(
            other is not client
            and other.node is client.node
            and other.pid == client.pid
            and group in other.node.cpg._local.members
            and other.pid in other.node.cpg._local.members[group]
            and other.states[group] is not State.OUT
            for other in self.clients
        )

    def join(self, client: Client, group: bytes) -> None:
        """
        C0: joining.
        """
        rival = self._rival(client, group)
        expected: tuple[type[ServiceError], ...] = {
            State.OUT: (Exists, Busy) if rival else (),
            State.JOINING: (Exists,),
            State.IN: (Exists,),
            State.LEAVING: (Busy,),
        }[client.states[group]]
        if self._raises(expected, client.node.cpg.join, client.listener, group):
            return
        client.states[group] = State.JOINING

    def leave(self, client: Client, group: bytes) -> None:
        """
        C0: leaving.
        """
        expected: tuple[type[ServiceError], ...] = {
            State.OUT: (NotJoined,),
            State.JOINING: (Busy,),
            State.IN: (),
            State.LEAVING: (NotJoined,),
        }[client.states[group]]
        if self._raises(expected, client.node.cpg.leave, client.listener, group):
            return
        client.states[group] = State.LEAVING

    def _raises(
        self, expected: tuple[type[ServiceError], ...], call: Any, *arguments: Any
    ) -> bool:
        try:
            call(*arguments)
        except ServiceError as error:
            assert isinstance(error, expected), f"{error!r}, not {expected}"
            return True
        assert not expected, f"nothing raised, not {expected}"
        return False

    def send(self, client: Client, group: bytes, sizes: list[int], atomic: int) -> None:
        """
        C0: sending; a batch of unique messages.
        """
        first = self.counter
        payloads = []
        for size in sizes:
            head = b"%d." % self.counter
            payload = head + b"x" * max(0, size - len(head))
            payloads.append(payload)
            self.sent[self.counter] = Sent(
                self.counter,
                client,
                group,
                payload,
                len(payload) > atomic,
                client.memberships[group],
                range(first, first + len(sizes)),
            )
            self.counter += 1
        inside = client.states[group] is State.IN
        deferred = client.node.cpg.send(
            client.listener,
            group,
            batch.pack(payloads),
            len(payloads),
            Guarantee.AGREED,
        )
        for number in range(first, self.counter):
            self.sent[number].outcome = "waiting"

        def done(result: Any) -> None:
            for number in range(first, first + len(sizes)):
                self.sent[number].outcome = result

        deferred.addBoth(lambda result: done(getattr(result, "value", None)))
        if not inside:
            assert isinstance(self.sent[first].outcome, NotJoined)

    def close(self, client: Client) -> None:
        """
        The client is gone.
        """
        client.open = False
        client.node.cpg.closed(client.listener)

    # What must hold.

    def checkSamePlaces(self) -> None:
        """
        C2, C5: at every place that two clients of a group both saw from
        inside, they were told the same, but for the changes of a round.
        """
        told: dict[tuple[bytes, Place], tuple[Client, list[Any]]] = {}
        for client in self.clients:
            for key, events in client.seen.items():
                if key not in told:
                    told[key] = (client, events)
                    continue
                other, others = told[key]
                mine = self._comparable(events)
                theirs = self._comparable(others)
                if mine == theirs:
                    continue
                assert self._excused(client, other, mine, theirs), (
                    f"at {key}: {client.member} {mine}, {other.member} {theirs}"
                )

    def _comparable(self, events: list[Any]) -> list[Any]:
        """
        Without the changes of rounds, which tell what each node missed.
        """
        return [
            event
            for event in events
            if event[0] == "message"
            or any(
                change.reason in (Reason.JOIN, Reason.LEAVE)
                for change in (*event[1].left, *event[1].joined)
            )
        ]

    def _excused(
        self, client: Client, other: Client, mine: list[Any], theirs: list[Any]
    ) -> bool:
        """
        A message in pieces is for those who were there at its first piece.
        """
        for has, lacks, lacking in ((mine, theirs, other), (theirs, mine, client)):
            for event in has:
                if event in lacks:
                    continue
                if event[0] != "message":
                    return False
                sent = self.sent[int(event[2].split(b".")[0])]
                if not sent.large:
                    return False
                late = lacking.joinedAt[sent.group] > sent.number
                if not late and not self.mixed:
                    return False
        return True

    def checkEnd(self) -> None:
        """
        All is calm on one ring: C6, C11, C15, and nobody waits any more.
        """
        self.checkSamePlaces()
        nodes = list(self.net.nodes.values())
        expected = self._everybodyInside()
        for node in nodes:
            table = {group: node.cpg.members(group) for group in node.cpg.groups()}
            assert table == expected, f"{node.nodeid}: {table}, not {expected}"
            dump = node.cpg.dump()
            for name in ("waitingEntries", "sendingAgain", "inFlightBytes"):
                assert dump[name] == 0, f"{node.nodeid}: {name} {dump[name]}"
            assert node.cpg._sending._ahead == 0
        for client in self.clients:
            if client.open:
                for group, state in client.states.items():
                    assert state in (State.IN, State.OUT), f"{group!r}: {state}"
        for sent in self.sent.values():
            self._checkSent(sent)

    def _everybodyInside(self) -> dict[bytes, tuple[Member, ...]]:
        expected: dict[bytes, set[Member]] = defaultdict(set)
        for client in self.clients:
            if client.open:
                for group, state in client.states.items():
                    if state is State.IN:
                        expected[group].add(client.member)
        return {group: tuple(sorted(m)) for group, m in expected.items()}

    def _checkSent(self, sent: Sent) -> None:
        client = sent.client
        if not client.node.totem.alive:
            return
        assert sent.outcome != "waiting", f"{sent.number} waits for ever"
        if not client.open:
            return
        delivered = client.received.get(sent.number) is not None
        if sent.outcome is None:
            assert delivered, f"{sent.number} was accepted and never delivered"
            assert client.received[sent.number] == sent.membership
        elif isinstance(sent.outcome, (NotJoined, BadHandle)):
            assert not delivered, f"{sent.number} was refused and delivered"
        elif isinstance(sent.outcome, Interrupted) and not self.mixed:
            came = [number in client.received for number in sent.together]
            assert came == sorted(came, reverse=True), "a gap in a batch"
            assert not all(came), "interrupted, but all is delivered"
