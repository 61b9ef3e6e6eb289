"""
One processor of a Totem ring: inputs, deadlines and the current state.

A function of its inputs: it reads no clock and no network.  Every input takes
the time, and returns what must be done about it, in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf
from random import Random
from typing import Any, Final

from attrs import define

from corotwist.config.settings import Timing
from corotwist.errors import WireError
from corotwist.totem.commit import Commit
from corotwist.totem.effects import (
    Deliver,
    Dropped,
    Effect,
    Multicast,
    Stable,
    StateChanged,
)
from corotwist.totem.flow import Flow
from corotwist.totem.fragments import Outbox
from corotwist.totem.gather import Gather
from corotwist.totem.joining import FRESH_SEQUENCES
from corotwist.totem.lease import Lease
from corotwist.totem.membership import Configuration, Guarantee, RingId
from corotwist.totem.mute import Mute
from corotwist.totem.operational import Operational
from corotwist.totem.ordering import SETTLING, cancelHold
from corotwist.totem.recovery import Recovering, Recovery
from corotwist.totem.sequence import MASK, after
from corotwist.totem.solitude import Solitude
from corotwist.totem.states import TRANSITIONS, Because, Idle, In, State, Stopped
from corotwist.totem.window import Window
from corotwist.totem.wire import (
    CommitToken,
    HoldCancel,
    Join,
    MergeDetect,
    Message,
    Regular,
    Token,
    decode,
)

# What may wait for the token: a message is taken while less than so many full
# rotations wait, and once taken it may be of any size.  Short, so that a message
# is not old when it leaves; more waits where it can still be refused.
QUEUE_ROTATIONS: Final = 2
QUEUE_BYTES: Final = 1 << 22
# Room for the services to synchronize in, apart from everything else.
SYNCHRONIZATION_QUEUE_BYTES: Final = 1 << 22
# Joins that arrive so soon after we were not scheduled were waiting in the
# socket: they speak of the past.  A share of the join interval.
STALE_JOIN_SHARE: Final = 0.2


@define
class Statistics:
    """
    What has happened so far.
    """

    tokens: int = 0
    tokensDropped: int = 0
    tokensRetransmitted: int = 0
    tokensLost: int = 0
    framesSent: int = 0
    framesReceived: int = 0
    framesDuplicate: int = 0
    framesForeign: int = 0
    framesRetransmitted: int = 0
    framesRequested: int = 0
    framesRecovered: int = 0
    framesDelivered: int = 0
    framesDropped: int = 0
    joinsSent: int = 0
    joinsReceived: int = 0
    joinsStale: int = 0
    mergeDetectsSent: int = 0
    mergeDetectsReceived: int = 0
    commitTokensSent: int = 0
    commitTokensReceived: int = 0
    holdsCancelled: int = 0
    holdCancelsReceived: int = 0
    gathersEntered: int = 0
    commitsEntered: int = 0
    recoveriesEntered: int = 0
    operationalEntered: int = 0
    consensusTimeouts: int = 0
    pauses: int = 0
    tokensLostOperational: int = 0
    tokensLostCommit: int = 0
    tokensLostRecovery: int = 0

    def tokenLost(self, where: In) -> None:
        """
        One more, in that state.
        """
        self.tokensLost += 1
        if where is In.OPERATIONAL:
            self.tokensLostOperational += 1
        elif where is In.COMMIT:
            self.tokensLostCommit += 1
        else:
            self.tokensLostRecovery += 1

    def heard(self, message: Message) -> None:
        """
        One more of the rare messages.
        """
        if isinstance(message, MergeDetect):
            self.mergeDetectsReceived += 1
        elif isinstance(message, CommitToken):
            self.commitTokensReceived += 1
        elif isinstance(message, HoldCancel):
            self.holdCancelsReceived += 1


class Ring:
    """
    One processor.

    @ivar state: where it is.
    @ivar configuration: the last regular configuration, L{None} before the
        first.
    @ivar ringId: the ring we are on, or were last committed to.
    @ivar window: frames of the last ring that became operational.
    @ivar forming: frames of the ring being recovered to.
    @ivar processors: whom we have heard of, ourselves included, while
        gathering; the members while operational.
    @ivar failed: those of them who we, or others, gave up.
    @ivar audible: of whom we ourselves heard a join in this round of gather.
    @ivar waits: how often we waited for each of them since our last ring.
    @ivar solitude: whether we keep to ourselves.
    @ivar highestSequence: of any ring we have heard of.
    @ivar proposed: the commit token we have signed.
    @ivar noticed: who was the first to say that the ring has to end, and whom
        that one calls failed; L{None} while nobody does.
    @ivar progressAt: the last visit at which nobody held the ring back.
    @ivar lease: how long nobody can be on a ring without us.
    @ivar allOperational: has the token come round since we became that?
    @ivar stabilityWanted: does somebody want to know what all have?
    @ivar answered: at how many visits in a row, the last included, we sent a
        frame again that is still asked for.
    """

    def __init__(
        self,
        nodeid: int,
        timing: Timing,
        frameBytes: int,
        random: Random,
        *,
        firstSequence: int = 0,
        firstTokenSequence: int = 0,
    ) -> None:
        """
        @param frameBytes: the largest packed payload of one frame.
        @param random: for the delay of joins, and the first ring sequence of
            a processor that has none stored.
        @param firstSequence: where message sequences of every ring start; the
            same on all processors, and 0 but in tests of wrapping.
        @param firstTokenSequence: likewise, for tokens.
        """
        self.nodeid = nodeid
        self.frameBytes = frameBytes
        self.random = random
        self.firstSequence = firstSequence
        self.firstTokenSequence = firstTokenSequence
        self.statistics = Statistics()
        self.configuration: Configuration | None = None
        self.members: tuple[int, ...] = ()
        self.ringId = RingId(0, nodeid)
        self.highestSequence = 0
        self.window = Window(self.ringId, firstSequence)
        self.forming = self.window
        self.ordinary = Outbox(frameBytes, QUEUE_BYTES)
        self.synchronization = Outbox(frameBytes, SYNCHRONIZATION_QUEUE_BYTES)
        self.outbox = self.synchronization
        self.flow = Flow(timing.windowSize, timing.maxMessages)
        self.lease = Lease()
        self.allOperational = self.stabilityWanted = False
        self.retime(timing)
        self.senderSequence = 0
        # Gathering.
        self.processors: set[int] = {nodeid}
        self.failed: set[int] = set()
        self.consensus, self.audible = set[int](), set[int]()
        self.failedToReceive = self.forgetful = False
        self.solitude = Solitude()
        self.waits: Counter[int] = Counter()
        self.lastingGathers = 0
        self.cause = Because.STARTED
        self.noticed: tuple[int, tuple[int, ...]] | None = None
        self.departures: dict[int, str] = {}
        # Committing and recovering.
        self.proposed: CommitToken | None = None
        self.storesPending = 0
        self.storeRefused = False
        self.recovering = Recovering(firstSequence)
        # The token.
        self.lastTokenSequence = (firstTokenSequence - 1) & MASK
        self.lastSequence = firstSequence
        self.lastAru = firstSequence
        self.aruUnchanged = self.sequenceUnchanged = self.miscounts = 0
        self.progressAt = -inf
        self.answered: dict[int, int] = {}
        self.tokenFrame = b""
        self.tokenTo = nodeid
        self.idle = self.holding = False
        # Inputs.
        self._stateName = In.IDLE
        self._state: State = STATES[In.IDLE]
        self._receivers = _RECEIVERS[In.IDLE]
        self._deadlines: dict[str, float] = {}
        self._effects: list[Effect] = []
        self._lastInput = self._deafUntil = self.now = 0.0

    def retime(self, timing: Timing) -> None:
        """
        Use other timers and counters from now on.  Deadlines that are set
        already stay as they are: each visit of the token sets them anew.
        """
        self.timing = timing
        self.queueFrames = timing.windowSize * QUEUE_ROTATIONS
        self.flow.windowSize = timing.windowSize
        self.flow.maxMessages = timing.maxMessages
        self.lease.shorten(timing.consensus)

    # What a shell asks.

    @property
    def state(self) -> In:
        """
        The membership state.
        """
        return self._stateName

    @property
    def deadline(self) -> float | None:
        """
        When C{advance} is due; L{None} only before the start and after the end.
        """
        deadlines = self._deadlines
        return min(deadlines.values()) if deadlines else None

    def room(self) -> int:
        """
        How large a message C{submit} would take now, in bytes.
        """
        return self._roomIn(self.outbox)

    def _roomIn(self, outbox: Outbox) -> int:
        if outbox is self.ordinary and outbox.frames() >= self.queueFrames:
            return 0
        return outbox.room()

    def leaseEnds(self) -> float:
        """
        Until when nobody can be on a ring without us; minus infinity when that
        is not known.
        """
        return self.lease.ends if self._stateName is In.OPERATIONAL else -inf

    def backlog(self) -> int:
        """
        Frames that wait for the token.
        """
        return self.ordinary.frames() + self.synchronization.frames()

    # Inputs.

    def start(self, storedSequence: int | None, now: float) -> list[Effect]:
        """
        Begin to gather.

        @param storedSequence: of the last ring, from the disk; L{None} when
            there is none.
        """
        self.forgetful = storedSequence is None
        if storedSequence is None:
            storedSequence = self.random.randrange(FRESH_SEQUENCES)
        self._lastInput = self.now = now
        self.ringId = RingId(storedSequence + 1, self.nodeid)
        self.highestSequence = self.ringId.sequence
        self.window = Window(self.ringId, self.firstSequence)
        self.become(Because.STARTED)
        return self._collect()

    def framesReceived(self, frames: Iterable[bytes], now: float) -> list[Effect]:
        """
        Datagrams came, in this order.  One that nobody should have sent makes
        a L{Dropped} effect and changes nothing.
        """
        self._noticePause(now)
        for data in frames:
            try:
                message = decode(data, self.ringId)
            except WireError as error:
                self.statistics.framesDropped += 1
                self.emit(Dropped(error))
            else:
                if type(message) not in _FREQUENT:
                    self.statistics.heard(message)
                if now < self.solitude.until and message.sender != self.nodeid:
                    self._overhear(message)
                else:
                    self._receivers[type(message)](self, message)
        self._deliver()
        return self._collect()

    def _overhear(self, message: Message) -> None:
        """
        We keep to ourselves, and wait to hear that we can receive again.
        """
        if isinstance(message, Regular):
            self.solitude.heard(message, self.now)

    def advance(self, now: float) -> list[Effect]:
        """
        Time has passed: act on the deadlines before C{now}, earliest first.
        """
        self._noticePause(now)
        deadlines = self._deadlines
        due = sorted((at, name) for name, at in deadlines.items() if at <= now)
        for at, name in due:
            if deadlines.get(name) == at:
                del deadlines[name]
                self._state.timeoutExpired(self, name)
        self._deliver()
        return self._collect()

    def submit(
        self, message: bytes, guarantee: Guarantee, now: float, *, later: bool = False
    ) -> list[Effect] | None:
        """
        Queue a whole message for the next token.

        @param later: not before the services are in step on this ring: the
            sender does not know of it yet.
        @return: L{None}, and nothing is queued, when there is no room.
        """
        self.now = now
        outbox = self.ordinary if later else self.outbox
        if self._roomIn(outbox) < len(message) or not outbox.add(message, guarantee):
            return None
        if self.idle and self._stateName is In.OPERATIONAL:
            cancelHold(self)
        return self._collect()

    def synchronized(self, now: float) -> list[Effect]:
        """
        The services are in step on this ring: the ordinary queue again.
        """
        self.now = now
        self.outbox = self.ordinary
        self.disarm(SETTLING)
        if self.idle and self._stateName is In.OPERATIONAL and self.outbox.frames():
            cancelHold(self)
        return self._collect()

    def ringIdStored(self, now: float) -> list[Effect]:
        """
        One C{StoreRingId} is durable.
        """
        return self._storeAnswered(now)

    def ringIdRefused(self, reason: str, now: float) -> list[Effect]:
        """
        One C{StoreRingId} failed.
        """
        self.storeRefused = True
        return self._storeAnswered(now)

    def _storeAnswered(self, now: float) -> list[Effect]:
        """
        The last answer tells; but a disk that does not keep up refuses the
        newest name while it is still busy with older ones.
        """
        self.now = now
        self.storesPending -= 1
        if not self.storesPending:
            refused, self.storeRefused = self.storeRefused, False
            if refused:
                self._state.ringIdRefused(self)
            else:
                self._state.ringIdStored(self)
        return self._collect()

    def reform(self, now: float) -> list[Effect]:
        """
        Form the ring anew, of the same processors; it does by itself when it
        is being formed anyway.
        """
        self.now = now
        if self._stateName is In.OPERATIONAL:
            self.become(Because.ASKED)
        return self._collect()

    def reenable(self, now: float) -> None:
        """
        An operator says that we can receive again: look for others at once.
        """
        self.solitude.end(now)

    def wantStability(self, now: float) -> list[Effect]:
        """
        Tell from now on, at each visit of the token, what all members have;
        and at once if that is all that we delivered.
        """
        self.now = now
        self.stabilityWanted = True
        if self._stateName is In.OPERATIONAL:
            window = self.window
            if self.allOperational and not after(window.delivered, window.stable):
                self.emit(Stable(self.ringId, window.stable))
            elif self.idle:
                cancelHold(self)
        return self._collect()

    def leave(self, now: float) -> list[Effect]:
        """
        Tell the others that we go, and hear nothing any more.
        """
        self.now = now
        if self._stateName is In.STOPPED:
            return []
        if self._stateName is not In.IDLE:
            others = tuple(sorted(self.processors - {self.nodeid}))
            failed = (*sorted(self.failed - {self.nodeid}), self.nodeid)
            farewell = Join(0, self.nodeid, others, failed, self.ringId.sequence)
            self.emit(Multicast([farewell.encode()]))
        self.become(Because.STOPPED)
        return self._collect()

    # What the states do to us.

    def emit(self, effect: Effect) -> None:
        """
        Add to what the shell has to do.
        """
        if type(effect) is Multicast and self.now < self.solitude.until:
            effect.quiet = True
        self._effects.append(effect)

    def become(self, cause: Because) -> None:
        """
        Go where C{cause} leads from here.
        """
        before = self._stateName
        state = TRANSITIONS[before, cause]
        if cause is Because.TOKEN_LOST:
            self.statistics.tokenLost(before)
        if before is In.OPERATIONAL:
            self._deliver()
            self.cause = cause
            self.noticed = self.noticed or (self.nodeid, ())
        self._deadlines.clear()
        self._stateName = state
        self._state = STATES[state]
        self._receivers = _RECEIVERS[state]
        self.emit(StateChanged(before.value, state.value, cause.value))
        self._state.entered(self)

    def dispatch(self, message: Join) -> None:
        """
        Hand a message that made us change our state to the new one.
        """
        self._state.joinReceived(self, message)

    def arm(self, name: str, delay: float) -> None:
        """
        Set a deadline C{delay} seconds from now; an earlier one of that name
        is forgotten.
        """
        self._deadlines[name] = self.now + delay

    def disarm(self, name: str) -> None:
        """
        Forget a deadline.
        """
        self._deadlines.pop(name, None)

    def armed(self, name: str) -> bool:
        """
        Is there such a deadline?
        """
        return name in self._deadlines

    def joinIsStale(self, join: Join) -> bool:
        """
        Did it wait in the socket while we were not scheduled?
        """
        if self.now < self._deafUntil and not join.leave:
            self.statistics.joinsStale += 1
            return True
        return False

    def deliverFrames(self, window: Window, frames: Iterable[Regular]) -> None:
        """
        Hand frames up; wrappers of old frames are ours alone.
        """
        ringId = window.ringId
        for frame in frames:
            if not frame.encapsulated:
                self.statistics.framesDelivered += 1
                self._effects.append(
                    Deliver(
                        frame.sender,
                        frame.payload,
                        ringId,
                        frame.sequence,
                        frame.byteOrder,
                        frame.guarantee,
                    )
                )

    def _deliver(self) -> None:
        window = self.window
        if window.aru != window.delivered and self._stateName is In.OPERATIONAL:
            self.deliverFrames(window, window.inOrder())

    def _collect(self) -> list[Effect]:
        effects = self._effects
        self._effects = []
        return effects

    def _noticePause(self, now: float) -> None:
        """
        Some deadline is always nearer than half the token timeout: if we hear
        nothing for longer, we were not running.  [SRP 5.2]
        """
        if now - self._lastInput > self.timing.token / 2:
            self.statistics.pauses += 1
            self._deafUntil = now + self.timing.join * STALE_JOIN_SHARE
        self._lastInput = self.now = now


STATES: Final[dict[In, State]] = {
    In.IDLE: Idle(),
    In.OPERATIONAL: Operational(),
    In.GATHER: Gather(),
    In.COMMIT: Commit(),
    In.RECOVERY: Recovery(),
    In.MUTE: Mute(),
    In.STOPPED: Stopped(),
}

# Not counted by their types: each visit of the token is.
_FREQUENT: Final = frozenset({Regular, Token})

Receiver = Callable[["Ring", Any], None]


def _receivers(state: State) -> dict[type, Receiver]:
    return {
        Regular: state.regularReceived,
        Token: state.tokenReceived,
        MergeDetect: state.mergeDetectReceived,
        Join: state.joinReceived,
        CommitToken: state.commitTokenReceived,
        HoldCancel: state.holdCancelReceived,
    }


_RECEIVERS: Final = {name: _receivers(state) for name, state in STATES.items()}
