"""
After every change of membership the services agree on what they know.

The order is the same on every node, driven by ordered messages only::

    regular configuration
      every node multicasts the list of its services
      the lists of all members are in: the merged, sorted list is the plan
        for each service of the plan:
          synchronize, again and again until it says done; then a barrier
          the barriers of all members are in: completed
    done

A barrier names no service: the count is right because everybody follows the
same plan in lock step.  A service of the plan that we do not have is a stage
without work.  A change of membership aborts a round; what the round left in the
queues names an older ring and is ignored.  Sources: [ARCH Synchronization],
corosync 3.1.7's recorded rings.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from corotwist.engines.executive import Barrier, ServiceList, whole
from corotwist.logs.tracing import SYNC, trace
from corotwist.totem.membership import NO_RING, Configuration, RingId

_STAGES: Final = trace("SYNC", SYNC)


class Phase(StrEnum):
    """
    Where a round is.
    """

    WAITING = "waiting for a ring"
    LISTING = "exchanging the lists of services"
    PROCESSING = "sending what the others need"
    BARRIER = "waiting for the others at the barrier"
    DONE = "synchronized"


class Participant(Protocol):
    """
    One service's part in a round.  Nothing here raises: a service that fails
    counts as done.
    """

    serviceId: int
    name: str

    def started(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        """
        See C{ISynchronized.synchronizationStarted}; so on for the others.
        """

    def process(self) -> bool: ...
    def completed(self) -> None: ...
    def aborted(self) -> None: ...


class Host(Protocol):
    """
    What a round asks of the service manager.
    """

    def participants(self) -> Sequence[Participant]:
        """
        The services that take part, for a round that begins now.
        """

    def sendSync(self, body: bytes) -> bool:
        """
        Multicast in the group of synchronization; C{False} without room.
        """

    def roundCompleted(self) -> None:
        """
        Every member finished every service.
        """

    def roundStalled(self, what: str, missing: tuple[int, ...]) -> None:
        """
        A stage takes longer than it should.

        @param what: the stage, with the service's name.
        @param missing: members that have not reported.
        """


@define
class Counters:
    """
    Rounds begun, completed and aborted; messages of other rings ignored.
    """

    begun: int = 0
    completed: int = 0
    aborted: int = 0
    ignored: int = 0


class Synchronization:
    """
    The rounds of one node.

    @ivar phase: where the round is; L{Phase.DONE} between rounds.
    @ivar ringId: the ring of the running round, L{NO_RING} when none runs.
    """

    def __init__(self, host: Host, clock: IReactorTime, patience: float) -> None:
        """
        @param patience: seconds after which a stage is reported, and again
            after as many.
        """
        self._host = host
        self._clock = clock
        self.patience = patience
        self.phase = Phase.WAITING
        self.ringId = NO_RING
        self.counters = Counters()
        self._members: tuple[int, ...] = ()
        # By service id, who came along through every change since the last
        # round in which that service completed; nothing while there was none.
        self._cameAlong: dict[int, tuple[int, ...]] = {}
        self._plan: list[int] = []
        self._stage = 0
        self._reported: set[int] = set()
        self._unsent: bytes | None = None
        # Started in this round, neither completed nor aborted; by service id.
        self._started: dict[int, Participant] = {}
        self._watch: IDelayedCall | None = None
        self._since = 0.0

    def synchronizing(self) -> bool:
        """
        Is a round running, or a membership change on its way to one?
        """
        return self.phase is not Phase.DONE

    def progress(self) -> dict[str, Any]:
        """
        For people: the stage, since when, and who is missing.
        """
        return {
            "phase": str(self.phase),
            "ring": str(self.ringId),
            "service": self._serviceName(),
            "stage": self._stage,
            "stages": len(self._plan),
            "seconds": self._clock.seconds() - self._since,
            "missing": list(self._missing()),
            "begun": self.counters.begun,
            "completed": self.counters.completed,
            "aborted": self.counters.aborted,
            "ignored": self.counters.ignored,
        }

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        A transitional one ends the round that runs, a regular one begins the
        next.
        """
        self._abort()
        if configuration.transitional:
            self._intersect(configuration.members)
        else:
            self._begin(configuration)

    def serviceListDelivered(self, nodeid: int, message: ServiceList) -> None:
        """
        A member's list of services.
        """
        if not self._expected(nodeid, message.ringId, Phase.LISTING):
            return
        self._plan = sorted({*self._plan, *message.services})
        self._reported.add(nodeid)
        if not self._missing():
            self._enter(0)

    def barrierDelivered(self, nodeid: int, message: Barrier) -> None:
        """
        A member finished the service that is being processed.
        """
        if not self._expected(nodeid, message.ringId, Phase.PROCESSING, Phase.BARRIER):
            return
        self._reported.add(nodeid)
        if not self._missing():
            self._completeStage()

    def tokenPassed(self) -> None:
        """
        There may be room now for what did not fit before.
        """
        if self._unsent is not None:
            self._send(self._unsent)
        elif self.phase is Phase.PROCESSING:
            self._process()

    def begins(self, serviceId: int, nodeid: int) -> None:
        """
        A service without a past takes part from the next round on: nobody but
        this node came along with it.
        """
        self._cameAlong[serviceId] = (nodeid,)

    def stop(self) -> None:
        """
        Forget the timer; nothing is called any more.
        """
        self._unwatch()

    # A round.

    def _begin(self, configuration: Configuration) -> None:
        self.counters.begun += 1
        self.ringId = configuration.ringId
        self._members = configuration.members
        participants = sorted(
            self._host.participants(), key=lambda service: service.serviceId
        )
        self._plan = [service.serviceId for service in participants]
        self._started = {service.serviceId: service for service in participants}
        self._stage = 0
        self._in(Phase.LISTING)
        members = configuration.members
        for service in participants:
            along = self._cameAlong.get(service.serviceId, ())
            came = tuple(n for n in along if n in members)
            service.started(came, members, configuration.ringId)
        self._send(whole(ServiceList(self.ringId, tuple(self._plan))))

    def _enter(self, stage: int) -> None:
        self._stage = stage
        if stage == len(self._plan):
            self._finish()
        else:
            self._in(Phase.PROCESSING)
            self._process()

    def _process(self) -> None:
        service = self._started.get(self._plan[self._stage])
        if service is not None and not service.process():
            return  # Asked again when the token has passed.
        self.phase = Phase.BARRIER
        self._send(whole(Barrier(self.ringId)))

    def _completeStage(self) -> None:
        service = self._started.pop(self._plan[self._stage], None)
        if service is not None:
            self._cameAlong.pop(service.serviceId, None)
            service.completed()
        self._enter(self._stage + 1)

    def _finish(self) -> None:
        self.phase = Phase.DONE
        self.ringId = NO_RING
        self.counters.completed += 1
        self._unwatch()
        self._host.roundCompleted()

    def _abort(self) -> None:
        """
        Late messages of the round find no ring to match, and every service
        that was started and not completed hears of it once.
        """
        if self.ringId != NO_RING:
            self.counters.aborted += 1
            _STAGES("aborted, in {phase}", phase=str(self.phase))
        self.phase = Phase.WAITING
        self.ringId = NO_RING
        self._unsent = None
        self._unwatch()
        started, self._started = self._started, {}
        for service in started.values():
            service.aborted()

    def _intersect(self, members: Iterable[int]) -> None:
        """
        A node that restarted while rounds were being aborted is in the last
        transitional configuration, but it is not the one that a service knew
        when it last completed; services complete one after the other.
        """
        come = tuple(members)
        for service in self._host.participants():
            before = self._cameAlong.get(service.serviceId, come)
            self._cameAlong[service.serviceId] = tuple(n for n in come if n in before)

    # Small steps.

    def _in(self, phase: Phase) -> None:
        self.phase = phase
        self._reported.clear()
        self._since = self._clock.seconds()
        self._rearm()
        if _STAGES.on:
            _STAGES(
                "{phase} {service} on ring {ring}",
                phase=str(phase),
                service=self._serviceName(),
                ring=str(self.ringId),
            )

    def _send(self, body: bytes) -> None:
        self._unsent = None if self._host.sendSync(body) else body

    def _expected(self, nodeid: int, ringId: RingId, *phases: Phase) -> bool:
        if (
            self.phase in phases
            and ringId == self.ringId
            and nodeid in self._members
            and nodeid not in self._reported
        ):
            return True
        self.counters.ignored += 1
        return False

    def _missing(self) -> tuple[int, ...]:
        if self.phase in (Phase.WAITING, Phase.DONE):
            return ()
        return tuple(n for n in self._members if n not in self._reported)

    def _serviceName(self) -> str:
        if self.phase not in (Phase.PROCESSING, Phase.BARRIER):
            return ""
        serviceId = self._plan[self._stage]
        service = self._started.get(serviceId)
        return f"number {serviceId}" if service is None else service.name

    # Nobody waits in silence.

    def _rearm(self) -> None:
        self._unwatch()
        self._watch = self._clock.callLater(self.patience, self._stalled)

    def _unwatch(self) -> None:
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        self._watch = None

    def _stalled(self) -> None:
        self._rearm()
        name = self._serviceName()
        what = f"{self.phase}, service {name}" if name else str(self.phase)
        self._host.roundStalled(what, self._missing())
