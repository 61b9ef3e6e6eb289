# ruff: noqa: SLF001  A judge looks inside what it judges; nobody else does.
"""
The judges who look inside a process: the invariants of the ring, and the
bounds of everything that could grow.

They look at sampled moments: at each change of state, each configuration,
every so many datagrams sent, and at the end of each stretch of a run.  [EVS]
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.engines.assembly import OPEN_BYTES, OPEN_MESSAGES
from corotwist.engines.context import LARGEST_TOTEM_MESSAGE
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.executive import MOST_SERVICES
from corotwist.engines.groupslocal import MOST_GROUPS
from corotwist.engines.groupssending import IN_FLIGHT_BYTES
from corotwist.engines.interfaces import (
    LARGEST_BATCH_BYTES,
    LARGEST_MESSAGE_BYTES,
    Change,
    GroupView,
    Member,
    NodeChange,
    View,
    ViewId,
    ViewRecord,
)
from corotwist.engines.joinlist import MOST_MEMBERSHIPS
from corotwist.engines.manager import ServiceManager
from corotwist.engines.outgoing import ENTRY_BYTES, WAITING_BYTES, WAITING_ENTRIES
from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.fragments import REASSEMBLY_BYTES
from corotwist.totem.membership import Configuration, Evidence, RingId
from corotwist.totem.ordering import HOLD, TOKEN_LOSS, TOKEN_RETRANSMIT
from corotwist.totem.ring import QUEUE_BYTES, SYNCHRONIZATION_QUEUE_BYTES, Ring
from corotwist.totem.sequence import after
from corotwist.totem.service import TotemService
from corotwist.totem.states import Because, In
from corotwist.totem.transport import TotemProtocol
from corotwist.totem.window import WINDOW, Window
from corotwist.totem.wire import MOST_MEMBERS

# Timers that a ring can have armed at once, by name.
MOST_DEADLINES: Final = 8
# Kinds of error that datagrams are dropped for.
MOST_DROP_KINDS: Final = 32
# What an effect leaves to be done later, at one moment: the frames of a window
# and what goes with each.
MOST_EFFECTS: Final = 4 * WINDOW
# Frames to ourselves that wait for the next turn.
MOST_LOOPBACK: Final = 64
# Callbacks of engines that wait for room, and clients' waits for the services.
MOST_CALLBACKS: Final = 1024
# The least that a message costs in a queue of bytes.
LEAST_MESSAGE_BYTES: Final = 2
# Ring ids on their way to the disk: one for each commit, which takes no less
# than the exchange of joins.
MOST_STORES: Final = 64
# So many events within one token timeout are a storm, but for work: each frame
# delivered, and each receiver of a multicast one, may take some.  Who multicasts
# what nobody needs is held to the joins that L5 allows, and by flow control.
STORM_EVENTS: Final = 50_000
EVENTS_PER_WORK: Final = 8
# Nodes up to which the bound is as it is; more of them make more events.
STORM_NODES: Final = 8

# What has to be armed in each state; one of each tuple.
TIMERS: Final = {
    In.OPERATIONAL: ((TOKEN_LOSS,), (TOKEN_RETRANSMIT, HOLD)),
    In.RECOVERY: ((TOKEN_LOSS,), (TOKEN_RETRANSMIT, HOLD)),
    In.GATHER: (("join",), ("consensus", TOKEN_LOSS)),
    In.COMMIT: ((TOKEN_LOSS,),),
}
_GROWTH: Final = frozenset(
    cause.value
    for cause in (
        Because.SETS_GREW,
        Because.LEAVE_HEARD,
        Because.FOREIGN_RING,
        Because.NO_CONSENSUS,
    )
)
# Modules of whose objects a long run must not have ever more.
_OURS: Final = ("corotwist.totem", "corotwist.engines", "corotwist.ipc")
_VALUES: Final = frozenset(
    {
        *(RingId, Configuration, Evidence, GroupView, Member, Change),
        *(View, ViewId, ViewRecord, NodeChange),
    }
)


@frozen
class Bound:
    """
    Something that could grow.

    @ivar measure: how large it is now.
    """

    name: str
    measure: Callable[[Any], int]
    most: int


@define(eq=False)
class Insides:
    """
    One process, as the judges see it.

    @ivar manager: its services, in whole nodes.
    @ivar marks: of each of its windows, how far it was when last seen.
    @ivar highest: the highest ring sequence that it knew.
    @ivar gathers: how often it gathered anew because its sets grew.
    """

    totem: TotemService
    manager: ServiceManager | None = None
    marks: dict[int, tuple[Window, int, int, int]] = field(factory=dict)
    highest: int = 0
    gathers: int = 0

    @property
    def ring(self) -> Ring | None:
        """
        Its ring, while it runs.
        """
        protocol = self.totem.protocol
        return None if protocol is None else protocol.ring


def _ringBounds() -> tuple[Bound, ...]:
    return (
        Bound("frames held", lambda r: len(r.window), WINDOW),
        Bound("frames held in recovery", lambda r: len(r.forming), WINDOW),
        Bound("frames missed", lambda r: len(r.forming._misses), WINDOW),
        Bound("frames to recover", lambda r: len(r.recovering.queue), WINDOW),
        Bound(
            "bytes to send",
            lambda r: r.ordinary._waiting,
            QUEUE_BYTES + LARGEST_TOTEM_MESSAGE,
        ),
        Bound(
            "bytes to send beyond some rotations",
            lambda r: max(0, r.ordinary._waiting - r.queueFrames * r.frameBytes),
            LARGEST_TOTEM_MESSAGE,
        ),
        Bound(
            "messages to send",
            lambda r: len(r.ordinary._queue),
            QUEUE_BYTES // LEAST_MESSAGE_BYTES,
        ),
        Bound(
            "bytes of synchronization to send",
            lambda r: r.synchronization._waiting,
            SYNCHRONIZATION_QUEUE_BYTES + LARGEST_TOTEM_MESSAGE,
        ),
        Bound(
            "messages of synchronization to send",
            lambda r: len(r.synchronization._queue),
            SYNCHRONIZATION_QUEUE_BYTES // LEAST_MESSAGE_BYTES,
        ),
        Bound("processors heard of", lambda r: len(r.processors), MOST_MEMBERS),
        Bound("processors given up", lambda r: len(r.failed), MOST_MEMBERS),
        Bound("processors in consensus", lambda r: len(r.consensus), MOST_MEMBERS),
        Bound("departures", lambda r: len(r.departures), MOST_MEMBERS),
        Bound("timers", lambda r: len(r._deadlines), MOST_DEADLINES),
        Bound("ring ids to store", lambda r: r.storesPending, MOST_STORES),
    )


def _shellBounds() -> tuple[Bound, ...]:
    return (
        Bound("effects to perform", lambda p: len(p._effects), MOST_EFFECTS),
        Bound("frames to ourselves", lambda p: len(p._loopback), MOST_LOOPBACK),
        Bound("kinds of drops", lambda p: len(p._drops), MOST_DROP_KINDS),
        Bound("open messages", lambda p: len(p._assembly._ordinary), MOST_MEMBERS),
        Bound(
            "open messages of synchronization",
            lambda p: len(p._assembly._transitional),
            MOST_MEMBERS,
        ),
        Bound(
            "bytes of an open message",
            lambda p: max(
                (
                    chain.size
                    for chains in (p._assembly._ordinary, p._assembly._transitional)
                    for chain in chains.values()
                ),
                default=0,
            ),
            REASSEMBLY_BYTES,
        ),
    )


def _managerBounds() -> tuple[Bound, ...]:
    return (
        Bound("callbacks for room", lambda m: len(m._waiting), MOST_CALLBACKS),
        Bound("waits for the services", lambda m: len(m._awaiting), MOST_CALLBACKS),
        Bound("announcements", lambda m: _size(m._announced), MOST_MEMBERS),
        Bound(
            "stages of a round",
            lambda m: len(m.synchronization._plan),
            MOST_SERVICES,
        ),
        Bound(
            "members at a barrier",
            lambda m: len(m.synchronization._reported),
            MOST_MEMBERS,
        ),
        Bound(
            "services that know who came along",
            lambda m: len(m.synchronization._cameAlong),
            MOST_SERVICES,
        ),
    )


def _groupsBounds() -> tuple[Bound, ...]:
    return (
        Bound(
            "entries of a client",
            lambda g: max((len(c.queue) for c in g._local.clients.values()), default=0),
            WAITING_ENTRIES,
        ),
        Bound(
            "bytes of a client",
            lambda g: max(
                (c.waitingBytes for c in g._local.clients.values()), default=0
            ),
            WAITING_BYTES + WAITING_ENTRIES * ENTRY_BYTES,
        ),
        Bound(
            "groups of a client",
            lambda g: max(
                (len(c.memberships) for c in g._local.clients.values()), default=0
            ),
            MOST_GROUPS,
        ),
        Bound(
            "bytes in flight",
            lambda g: g._sending.inFlight,
            IN_FLIGHT_BYTES + LARGEST_BATCH_BYTES + LARGEST_TOTEM_MESSAGE,
        ),
        Bound(
            "bytes to send again",
            lambda g: sum(len(b.data) for b in g._sending.again),
            IN_FLIGHT_BYTES + LARGEST_BATCH_BYTES + LARGEST_TOTEM_MESSAGE,
        ),
        Bound(
            "bytes of a message in pieces",
            lambda g: max(
                (len(p.data) for p in g._delivery.assembly._partials.values()),
                default=0,
            ),
            LARGEST_MESSAGE_BYTES,
        ),
        Bound(
            "messages in pieces of a node",
            lambda g: g._delivery.assembly.largestNode()[0],
            OPEN_MESSAGES,
        ),
        Bound(
            "bytes in pieces of a node",
            lambda g: g._delivery.assembly.largestNode()[1],
            OPEN_BYTES,
        ),
        Bound(
            "memberships of a node",
            lambda g: g._table.largestNode(),
            MOST_MEMBERSHIPS,
        ),
        Bound("own memberships", lambda g: g._local.count, MOST_MEMBERSHIPS),
        Bound(
            "messages in pieces without a sender",
            lambda g: sum(
                g._table.find(group, member.nodeid, member.pid) is None
                for group, member in g._delivery.assembly._partials
            ),
            0,
        ),
    )


def _size(announced: Any) -> int:
    return max((len(v) for v in vars(announced).values()), default=0)


RING: Final = _ringBounds()
SHELL: Final = _shellBounds()
MANAGER: Final = _managerBounds()
GROUPS: Final = _groupsBounds()


@define(eq=False)
class InsideJudge(Judge):
    """
    I2, I3, I6, I7, I8, C16, E8, and storms.

    @ivar token: the token timeout.
    @ivar size: how many nodes there are.
    @ivar busiest: the most events within one token timeout, but for what
        work explains.
    @ivar samples: how often a process was looked at.
    @ivar work: deliveries of frames, and receivers of multicast ones, since
        the last count of events.
    """

    token: float
    size: int
    busiest: int = 0
    samples: int = 0
    _insides: dict[Life, Insides] = field(factory=dict)
    work: int = 0
    _since: float = 0.0
    _events: int = 0

    def booted(
        self, life: Life, totem: TotemService, manager: ServiceManager | None = None
    ) -> None:
        """
        A process is about to start.
        """
        self._insides[life] = Insides(totem, manager)

    def ended(self, life: Life) -> None:
        """
        Nothing is left of it.
        """
        self._insides.pop(life, None)

    @property
    def lives(self) -> tuple[Life, ...]:
        """
        Whoever runs.
        """
        return tuple(self._insides)

    # The ring.

    def stateChanged(self, life: Life, before: str, after: str, cause: str) -> None:
        """
        I6: who gathers anew because he learned something learned more.  The
        sets only grow, so there is an end to it.
        """
        inside = self._insides.get(life)
        if inside is None:
            return
        if before != In.GATHER.value or after != In.GATHER.value:
            inside.gathers = 0
        elif cause in _GROWTH:
            inside.gathers += 1
            ring = inside.ring
            if ring is None:
                return
            known = len(ring.processors) + len(ring.failed)
            if inside.gathers >= known and ring.state is In.GATHER:
                self.blame(
                    "I6",
                    "gathered anew without having learned anything",
                    life,
                    times=inside.gathers,
                    known=known,
                    cause=cause,
                )

    def looked(self, life: Life) -> None:
        """
        Look at a process, between two of its inputs.
        """
        inside = self._insides.get(life)
        if inside is None or not life.alive:
            return
        protocol = inside.totem.protocol
        if protocol is None or not protocol._running:
            return
        self.samples += 1
        ring = protocol.ring
        self._timers(life, ring)
        self._windows(life, inside, ring)
        self._remembers(life, inside, ring)

    def weighed(self, life: Life) -> None:
        """
        Measure everything in a process that could grow.
        """
        inside = self._insides.get(life)
        protocol = None if inside is None else inside.totem.protocol
        if inside is None or protocol is None or not life.alive:
            return
        self._bounded(life, RING, protocol.ring)
        self._bounded(life, SHELL, protocol)
        if inside.manager is not None:
            self._services(life, inside.manager)

    def rested(self, life: Life) -> None:
        """
        Look at a process that does nothing at this moment: its shell, too, has
        to have a timer that is early enough.
        """
        inside = self._insides.get(life)
        if inside is None or not life.alive:
            return
        self.looked(life)
        self.weighed(life)
        protocol = inside.totem.protocol
        if protocol is not None and protocol._running:
            self._wakes(life, protocol)

    def _timers(self, life: Life, ring: Ring) -> None:
        """
        I7: there is always a deadline, and those that belong to the state.
        """
        state = ring.state
        if state in (In.IDLE, In.STOPPED):
            return
        armed = ring._deadlines
        lacking = [names for names in TIMERS.get(state, ()) if not _any(names, armed)]
        asleep = not armed and not ring.storesPending
        if lacking or asleep:
            self.blame(
                "I7",
                "could sleep for ever",
                life,
                state=state.value,
                armed=sorted(armed),
                lacking=lacking,
            )

    def _wakes(self, life: Life, protocol: TotemProtocol) -> None:
        deadline = protocol.ring.deadline
        if deadline is None:
            return
        timer = protocol._timer
        if timer is None or not timer.active() or protocol._timerAt > deadline:
            text = "the shell does not wake at the ring's deadline"
            self.blame("I7", text, life, deadline=deadline)

    def _windows(self, life: Life, inside: Insides, ring: Ring) -> None:
        """
        I2: what was received, delivered and released only grows.  I3: nothing
        is released that we have not delivered, or that a member lacks.
        """
        marks: dict[int, tuple[Window, int, int, int]] = {}
        for window in {id(w): w for w in (ring.window, ring.forming)}.values():
            now = window.aru, window.delivered, window.released
            before = inside.marks.get(id(window))
            if before is not None and before[0] is window:
                backwards = [
                    name
                    for name, old, new in zip(
                        ("received", "delivered", "released"),
                        before[1:],
                        now,
                        strict=True,
                    )
                    if after(old, new)
                ]
                if backwards:
                    self._blameWindow("I2", "went back", life, window, backwards)
            marks[id(window)] = (window, *now)
            if after(window.aru, window.high):
                self._blameWindow("I2", "has more than the last", life, window, [])
            if after(window.released, window.aru):
                text = "released what it has not received"
                self._blameWindow("I3", text, life, window, [])
            if window is ring.window and after(window.released, window.delivered):
                text = "released what it has not delivered"
                self._blameWindow("I3", text, life, window, [])
            self._othersHave(life, window)
        inside.marks = marks

    def _othersHave(self, life: Life, window: Window) -> None:
        if not window.released:
            return
        for other, inside in self._insides.items():
            ring = inside.ring
            if ring is None or other is life or not other.alive:
                continue
            there = _windowOf(ring, window.ringId)
            if there is not None and after(window.released, there.aru):
                self.blame(
                    "I3",
                    "released what a member lacks",
                    life,
                    other,
                    ring=window.ringId,
                    released=window.released,
                    received=there.aru,
                )

    def _blameWindow(
        self, promise: str, text: str, life: Life, window: Window, what: list[str]
    ) -> None:
        self.blame(
            promise,
            text,
            life,
            ring=window.ringId,
            what=what,
            received=window.aru,
            high=window.high,
            delivered=window.delivered,
            released=window.released,
        )

    def _remembers(self, life: Life, inside: Insides, ring: Ring) -> None:
        """
        E8: a ring sequence that was once heard of is not forgotten.
        """
        if ring.highestSequence < inside.highest:
            self.blame(
                "E8",
                "forgot the highest ring sequence",
                life,
                known=ring.highestSequence,
                before=inside.highest,
            )
        if ring.ringId.sequence > ring.highestSequence:
            text = "is on a ring above the highest it knows"
            self.blame("E8", text, life, ring=ring.ringId)
        inside.highest = max(inside.highest, ring.highestSequence)

    # What could grow.

    def _bounded(self, life: Life, bounds: Iterable[Bound], subject: object) -> None:
        for bound in bounds:
            size = bound.measure(subject)
            if size > bound.most:
                self.blame(
                    "I8",
                    f"has more {bound.name} than there may be",
                    life,
                    size=size,
                    most=bound.most,
                )

    def _services(self, life: Life, manager: ServiceManager) -> None:
        self._bounded(life, MANAGER, manager)
        groups = manager.engines.get("cpg")
        if isinstance(groups, GroupsEngine):
            self._bounded(life, GROUPS, groups)

    # Storms.

    def time(self, now: float, events: int, life: Life | None = None) -> None:
        """
        It is that late, and so much has happened since the beginning.

        @param events: of the clock, and multicasts and unicasts.
        """
        count = events - self._events
        count -= self.work * EVENTS_PER_WORK
        self.busiest = max(self.busiest, count)
        most = STORM_EVENTS * max(1.0, self.size / STORM_NODES) * max(1.0, self.token)
        if count > most:
            lives = self.lives[:1] if life is None else (life,)
            text = "a storm: events without end, and nothing comes of them"
            self.blame("L5", text, *lives, events=count, seconds=now - self._since)
        if now - self._since >= self.token or count > most:
            self._since, self._events, self.work = now, events, 0


def _any(names: tuple[str, ...], armed: dict[str, float]) -> bool:
    return any(name in armed for name in names)


def _windowOf(ring: Ring, ringId: RingId) -> Window | None:
    """
    What a processor has of a ring that it is on.
    """
    if ring.forming.ringId == ringId:
        return ring.forming
    return ring.window if ring.window.ringId == ringId else None


def census() -> Counter[str]:
    """
    The objects of the ring, the engines and their front ends that there are in
    this process, by class; but not the values that logs, judges and the bounded
    history of views keep.
    Between two calm moments of a long run they must not become more.
    """
    gc.collect()
    kinds = (type(thing) for thing in gc.get_objects())
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
        if str(kind.__module__).startswith(_OURS) and kind not in _VALUES
    )
