"""
Everybody who watches a run: the judges, the trace, and the counters.

What nodes do is told here once, and goes to all who want to know.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, Final

from attrs import define, field
from twisted.python.failure import Failure

from corotwist.config.settings import Timing
from corotwist.simulator.clock import Clock
from corotwist.simulator.faults import KINDS
from corotwist.simulator.judges.evs import EvsJudge
from corotwist.simulator.judges.flow import FlowJudge
from corotwist.simulator.judges.gated import GatedJudge
from corotwist.simulator.judges.groups import GroupsJudge, Path
from corotwist.simulator.judges.inside import InsideJudge
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.judges.lease import LeaseJudge
from corotwist.simulator.judges.messages import MessageJudge
from corotwist.simulator.judges.safe import SafeJudge
from corotwist.simulator.judges.stability import StabilityJudge
from corotwist.simulator.judges.sync import SyncJudge
from corotwist.simulator.judges.traffic import TrafficJudge
from corotwist.simulator.judges.views import ViewsJudge
from corotwist.simulator.judges.votes import VotesJudge
from corotwist.simulator.sockets import Port
from corotwist.simulator.trace import Trace
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Effect,
    Multicast,
    StateChanged,
    Unicast,
)
from corotwist.totem.membership import Configuration, RingId

# The last records that a failure shows.
RECORDS_SHOWN: Final = 60
# The judge of what is inside looks at every so manieth sender, and between
# events after such a share of the token timeout.
LOOK_EVERY: Final = 128
REST_SHARE: Final = 0.25
# An application asks who has what at every so manieth message of a sender.
WONDER_EVERY: Final = 4

_DATA: Final = bytes((KINDS.index("data"), 2))
_REGULAR: Final = Struct("<IIiIQ")
_REGULAR_AT: Final = 13
_GUARANTEE_AT: Final = 41
_PAYLOAD_AT: Final = 45
_SAFE: Final = 1


class PromiseBroken(AssertionError):
    """
    A run violated the specification.

    @ivar violation: what, and by whom.
    """

    def __init__(self, violation: Violation, story: str) -> None:
        super().__init__(story)
        self.violation = violation


@define(eq=False)
class Jury:
    """
    The judges of one run, and its records.

    @ivar title: the run, in words; for failures.
    @ivar replay: the command that repeats it.
    @ivar path: the configurations that a process went through since it was
        last asked.
    @ivar entered: called when a process is about to tell that it entered a
        state.
    @ivar trace: the newest records, or all.
    @ivar sometimes: how often interesting things happened.
    """

    clock: Clock
    timing: Timing
    size: int
    title: str
    replay: str
    path: Callable[[Life], Path]
    entered: Callable[[Life, str], None]
    trace: Trace = field(factory=Trace)
    sometimes: Counter[str] = field(factory=Counter)
    violations: list[Violation] = field(factory=list)
    evs: EvsJudge = field(init=False)
    messages: MessageJudge = field(init=False)
    traffic: TrafficJudge = field(init=False)
    flow: FlowJudge = field(init=False)
    groups: GroupsJudge = field(init=False)
    sync: SyncJudge = field(init=False)
    votes: VotesJudge = field(init=False)
    inside: InsideJudge = field(init=False)
    safe: SafeJudge = field(init=False)
    views: ViewsJudge = field(init=False)
    gated: GatedJudge = field(init=False)
    lease: LeaseJudge = field(init=False)
    stability: StabilityJudge = field(init=False)
    _sendings: int = 0
    _rested: float = 0.0
    _lastSent: dict[Life, int] = field(factory=dict)
    _lives: dict[Port, Life] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.evs = EvsJudge(self.violated)
        self.messages = MessageJudge(self.violated)
        self.traffic = TrafficJudge(self.violated, self.timing, self.size)
        self.flow = FlowJudge(self.violated, self.timing.windowSize)
        self.sync = SyncJudge(self.violated)
        self.groups = GroupsJudge(self.violated, self.path, self.sync.cameAlong)
        self.votes = VotesJudge(self.violated)
        self.safe = SafeJudge(self.violated)
        self.gated = GatedJudge(self.violated)
        self.views = ViewsJudge(self.violated, self.gated.installed)
        self.lease = LeaseJudge(self.violated)
        self.stability = StabilityJudge(
            self.violated, self.clock.seconds, self.timing.token
        )
        self.inside = InsideJudge(self.violated, self.timing.token, self.size)

    # The lives of processes.

    def booted(self, life: Life, port: Port, durable: Callable[[], int | None]) -> None:
        """
        A process is about to start.

        @param durable: tells the ring sequence on its disk.
        """
        self._lives[port] = life
        self.record(life, "boot", stored=durable())
        self.evs.booted(life)
        self.safe.booted(life)
        self.messages.booted(life)
        self.traffic.booted(life, durable)

    def ended(self, life: Life) -> None:
        """
        It runs no more.
        """
        self.evs.ended(life)
        self.safe.ended(life)
        self.lease.ended(life)
        self.stability.ended(life)
        self.messages.ended(life)
        self.groups.ended(life)
        self.traffic.ended(life)
        self.sync.ended(life)
        self.views.ended(life)
        self.gated.ended(life)
        self.votes.ended(life, self.clock.seconds())
        self.inside.ended(life)
        for port in [port for port, of in self._lives.items() if of is life]:
            del self._lives[port]
        self._lastSent.pop(life, None)

    def stopping(self, life: Life) -> None:
        """
        It was asked to leave in order.
        """
        self.record(life, "stop")
        self.views.stopping(life)
        self.gated.stopping(life)

    # What they do.

    def inStep(self, life: Life, ringId: RingId) -> None:
        """
        The services of a process are in step on a ring.
        """
        self.groups.inStep(life, ringId)
        self.views.inStep(life, ringId)

    def record(self, life: Life, event: str, **fields: Any) -> None:
        """
        Note something in the trace.
        """
        self.trace.add(self.clock.now, life.nodeid, life.number, event, fields)

    def note(self, event: str, **fields: Any) -> None:
        """
        Note something that is no node's doing.
        """
        self.trace.add(self.clock.now, 0, 0, event, fields)

    def sending(
        self, port: Port, targets: Iterable[int], datagrams: Sequence[bytes]
    ) -> None:
        """
        A process sends datagrams.
        """
        life = self._lives.get(port)
        if life is None:
            return
        now = self.clock.seconds()
        for datagram in datagrams:
            self.traffic.sent(life, datagram, now)
        self._sendings += 1
        if not self._sendings % LOOK_EVERY:
            self.inside.looked(life)
            self.inside.weighed(life)
            self.inside.time(now, self.clock.events + self._sendings, life)

    def rested(self) -> None:
        """
        Nothing happens at this moment: a stretch of the run is over.
        """
        now = self.clock.seconds()
        if now - self._rested < self.timing.token * REST_SHARE:
            return
        self._rested = now
        self.inside.time(now, self.clock.events + self._sendings)
        for life in self.inside.lives:
            self.inside.rested(life)

    def observed(self, life: Life, effect: Effect) -> None:
        """
        The ring of a process asked for something.
        """
        if not life.alive:
            return
        handler = _HANDLERS.get(type(effect))
        if handler is not None:
            handler(self, life, effect)

    def _multicast(self, life: Life, effect: Multicast) -> None:
        """
        The first transmission of a frame of its own is when a processor gives
        it its place.
        """
        last = self._lastSent.get(life, 0)
        self.flow.multicast(life, effect.frames)
        self.inside.work += self.size * len(effect.frames)
        for frame in effect.frames:
            if frame[3:5] != _DATA:
                continue
            origin, sequence, number, representative, ring = _REGULAR.unpack_from(
                frame, _REGULAR_AT
            )
            if origin != life.nodeid or number <= last:
                continue
            self._lastSent[life] = last = number
            payload = frame[_PAYLOAD_AT:]
            ringId = RingId(ring, representative)
            self.record(life, "send", ring=ringId, seq=sequence, digest=payload)
            self.evs.sent(life, ringId, sequence, number, payload)
            self.safe.sent(ringId, sequence, safe=frame[_GUARANTEE_AT] == _SAFE)

    def _unicast(self, life: Life, effect: Unicast) -> None:
        self.flow.unicast(life, effect.frame)

    def _deliver(self, life: Life, effect: Deliver) -> None:
        self.record(
            life,
            "deliver",
            ring=effect.ringId,
            seq=effect.sequence,
            sender=effect.nodeid,
            digest=effect.payload,
        )
        self.inside.work += 1
        self.evs.delivered(
            life, effect.ringId, effect.sequence, effect.nodeid, effect.payload
        )
        self.safe.delivered(life, effect.ringId, effect.sequence)
        self.stability.delivered(life, effect.ringId, effect.sequence)

    def _configured(self, life: Life, effect: ConfigurationChanged) -> None:
        configuration = effect.configuration
        self.record(
            life,
            "conf",
            kind="T" if configuration.transitional else "R",
            ring=configuration.ringId,
            members=configuration.members,
            left=configuration.left,
            joined=configuration.joined,
            cause=configuration.cause,
        )
        self.evs.configured(life, configuration)
        self.safe.configured(life, configuration)
        self.lease.configured(life, configuration)
        self.stability.configured(life, configuration)
        if not configuration.transitional:
            self.inside.weighed(life)

    def _stateChanged(self, life: Life, effect: StateChanged) -> None:
        self.sometimes[f"{effect.before} to {effect.after}: {effect.cause}"] += 1
        self.record(
            life, "state", before=effect.before, after=effect.after, cause=effect.cause
        )
        self.inside.stateChanged(life, effect.before, effect.after, effect.cause)
        self.inside.looked(life)
        self.entered(life, effect.after)

    def submitted(self, life: Life, number: int, message: bytes) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.record(life, "submit", mid=number, size=len(message))
        self.messages.submitted(life, number, message)

    def delivered(
        self, life: Life, sender: int, incarnation: int, number: int, message: bytes
    ) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.record(
            life,
            "message",
            sender=sender,
            of=incarnation,
            mid=number,
            digest=message,
        )
        self.messages.delivered(life, sender, incarnation, number, message)
        if not number % WONDER_EVERY:
            self.stability.wondered(life)

    def overtook(self, life: Life, sender: int) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.messages.overtook(life, sender)

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        See L{corotwist.simulator.process.IWitness}.
        """
        self.messages.configured(life, configuration)

    def broken(self, life: Life, failure: Failure) -> None:
        """
        The ring of a process raised.
        """
        self.violated(
            Violation(
                "I4",
                f"raised {failure.getTraceback()}",
                (life,),
                {"at": self.clock.seconds()},
            )
        )

    # Verdicts.

    def violated(self, violation: Violation) -> None:
        """
        A judge saw something; the run stops.
        """
        self.violations.append(violation)
        self.clock.stopped = True

    def sentence(self) -> None:
        """
        @raise PromiseBroken: when a judge saw something.
        """
        if self.violations:
            first = self.violations[0]
            raise PromiseBroken(first, self._story(first))

    def _story(self, violation: Violation) -> str:
        nodes = {life.nodeid for life in violation.lives}
        records = [*self.trace.lines(*nodes, 0)][-RECORDS_SHOWN:]
        return "\n".join(
            [
                str(violation),
                f"at {self.clock.seconds():.6f} s, {self.title}",
                f"replay: {self.replay}" if self.replay else "",
                "the last records of the nodes involved:",
                *records,
            ]
        )


_HANDLERS: Final[dict[type, Callable[[Jury, Life, Any], None]]] = {
    Multicast: Jury._multicast,  # noqa: SLF001
    Unicast: Jury._unicast,  # noqa: SLF001
    Deliver: Jury._deliver,  # noqa: SLF001
    ConfigurationChanged: Jury._configured,  # noqa: SLF001
    StateChanged: Jury._stateChanged,  # noqa: SLF001
}
