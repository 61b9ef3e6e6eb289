"""
The judge of synchronization: after each change of the ring the services go
through the same stages in step, or are told that they do not.

It follows each process's rounds by the messages of the round, and compares
what the services are told with what those messages allow.
"""

from collections import Counter, deque
from typing import Final

from attrs import define, field

from corotwist.engines.executive import CPG, SYNC_GROUP, Barrier, ServiceList, decode
from corotwist.errors import WireError
from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import NO_RING, Configuration, RingId

# Rings whose places of completion are remembered.
RINGS_REMEMBERED: Final = 64


@define(eq=False)
class Round:
    """
    One round of one process, by the messages that it was shown.

    @ivar plan: the services of all members, in the order of their stages.
    @ivar listed: members whose lists are in.
    @ivar barriers: how many of each member are in.
    @ivar messages: of this round, so far.
    @ivar rotations: tokens passed since it began.
    """

    ringId: RingId
    members: tuple[int, ...]
    plan: list[int] = field(factory=list)
    listed: set[int] = field(factory=set)
    barriers: Counter[int] = field(factory=Counter)
    started: set[int] = field(factory=set)
    done: set[int] = field(factory=set)
    messages: int = 0
    rotations: int = 0

    def passed(self) -> int:
        """
        How many stages all members have finished.
        """
        return min(self.barriers[member] for member in self.members)

    def complete(self) -> bool:
        """
        Are the lists of all members in?
        """
        return self.listed.issuperset(self.members)


@define(eq=False)
class Process:
    """
    One process, through all its rounds.

    @ivar open: services that were started and have not heard the end of it.
    @ivar along: by service, who came along through every change since it last
        completed.
    @ivar told: by service, who came along by what it was told last.
    @ivar asked: by service, the rotation at which it was last asked to go on.
    @ivar lastRotations: how many rotations the last round took.
    """

    open: dict[int, RingId] = field(factory=dict)
    along: dict[int, frozenset[int]] = field(factory=dict)
    told: dict[int, frozenset[int]] = field(factory=dict)
    known: set[int] = field(factory=set)
    asked: dict[int, int] = field(factory=dict)
    round: Round | None = None
    lastRotations: int = 0
    lastBegan: float = 0.0


Places = dict[int | None, tuple[Life, int]]


@define(eq=False)
class SyncJudge(Judge):
    """
    S1 to S8.

    @ivar completed: how many rounds came to their end.
    @ivar mostRotations: that the longest of them took.
    """

    rounds: int = 0
    mostRotations: int = 0
    _processes: dict[Life, Process] = field(factory=dict)
    _places: dict[tuple[RingId, tuple[int, ...]], Places] = field(factory=dict)
    _recent: deque[tuple[RingId, tuple[int, ...]]] = field(factory=deque)

    def ended(self, life: Life) -> None:
        """
        Nobody is called there any more.
        """
        self._processes.pop(life, None)

    def _process(self, life: Life) -> Process:
        process = self._processes.get(life)
        if process is None:
            process = self._processes[life] = Process()
        return process

    def lastRound(self, life: Life) -> tuple[float, int]:
        """
        When the last complete round of a process began, and how many token
        rotations it took.
        """
        process = self._process(life)
        return process.lastBegan, process.lastRotations

    def cameAlong(self, life: Life, service: int = CPG) -> frozenset[int] | None:
        """
        What a service was told last, by default that of process groups.
        """
        return self._process(life).told.get(service)

    def synchronizing(self, life: Life) -> bool:
        """
        Is a round of a process on its way, by what the judge saw?
        """
        return self._process(life).round is not None

    # The ring.

    def configured(self, life: Life, configuration: Configuration, now: float) -> None:
        """
        The services are about to hear of a configuration.
        """
        process = self._process(life)
        if not configuration.transitional:
            process.round = Round(configuration.ringId, configuration.members)
            process.lastBegan = now
            return
        process.round = None
        came = frozenset(configuration.members)
        for service in process.known:
            process.along[service] = process.along.get(service, came) & came

    def changed(self, life: Life, services: list[int]) -> None:
        """
        They have heard of it.

        @param services: the ids of those that take part in a round.
        """
        process = self._process(life)
        round_ = process.round
        if round_ is None:
            for service, ringId in process.open.items():
                self.blame(
                    "S6",
                    "a service did not hear that its round is over",
                    life,
                    service=service,
                    ring=ringId,
                )
            process.open.clear()
        elif round_.started != set(services):
            self.blame(
                "S1",
                "a round began without all the services",
                life,
                began=sorted(round_.started),
                right=sorted(services),
            )

    def joined(self, life: Life, service: int) -> None:
        """
        A service begins without a past, while the ring lasts.
        """
        self._process(life).along[service] = frozenset((life.nodeid,))

    # What services are told.

    def started(
        self,
        life: Life,
        service: int,
        transitional: tuple[int, ...],
        members: tuple[int, ...],
        ringId: RingId,
    ) -> None:
        """
        A round begins for a service.
        """
        process = self._process(life)
        round_ = process.round
        if round_ is None or (round_.ringId, round_.members) != (ringId, members):
            self.blame("S7", "a round of another ring began", life, ring=ringId)
            return
        if service in process.open:
            text = "began a round without having heard the end of the one before"
            self.blame("S6", text, life, service=service, ring=ringId)
        if service in round_.started or round_.listed:
            text = "began twice in one round, or after the lists came"
            self.blame("S1", text, life, service=service, ring=ringId)
        along = process.along.get(service, frozenset())
        right = tuple(n for n in members if n in along)
        if tuple(sorted(transitional)) != right:
            self.blame(
                "S2",
                "was told wrongly who came along since its last whole round",
                life,
                service=service,
                told=transitional,
                right=right,
            )
        round_.started.add(service)
        process.known.add(service)
        process.told[service] = frozenset(transitional)
        process.open[service] = ringId
        process.asked.pop(service, None)

    def processed(self, life: Life, service: int, *, done: bool) -> None:
        """
        A service was asked to send what the others need.
        """
        process = self._process(life)
        round_ = process.round
        if not self._isOpen(life, process, service) or round_ is None:
            return
        if service in round_.done:
            text = "was asked to go on after it was done"
            self.blame("S4", text, life, service=service, ring=round_.ringId)
        before = process.asked.get(service, -1)
        if round_.rotations <= before:
            text = "was asked again before the token had passed"
            self.blame("S4", text, life, service=service, ring=round_.ringId)
        process.asked[service] = round_.rotations
        if done:
            round_.done.add(service)
        self._reached(life, round_, service, 0, "began its stage")

    def completed(self, life: Life, service: int) -> None:
        """
        All members finished a service's stage.
        """
        process = self._process(life)
        round_ = process.round
        if not self._isOpen(life, process, service) or round_ is None:
            return
        if service not in round_.done:
            text = "completed without having been done"
            self.blame("S5", text, life, service=service, ring=round_.ringId)
        self._reached(life, round_, service, 1, "completed its stage")
        self._samePlace(life, round_, service)
        del process.open[service]
        process.along.pop(service, None)

    def aborted(self, life: Life, service: int) -> None:
        """
        A round ends early for a service.
        """
        process = self._process(life)
        if process.open.pop(service, None) is None:
            text = "heard twice of the end of a round, or of one that never began"
            self.blame("S6", text, life, service=service)
        elif process.round is not None:
            text = "aborted while the ring lasts"
            self.blame("S6", text, life, service=service, ring=process.round.ringId)

    def finished(self, life: Life) -> None:
        """
        The round is over, by what the services' manager says.
        """
        process = self._process(life)
        round_, process.round = process.round, None
        if round_ is None:
            self.blame("S6", "a round ended that never began", life)
            return
        if process.open:
            text = "a round ended before all of its services had completed"
            self.blame("S5", text, life, services=sorted(process.open))
            process.open.clear()
        if not round_.complete() or round_.passed() < len(round_.plan):
            text = "a round ended before all members had finished it"
            self.blame("S3", text, life, ring=round_.ringId)
        self._samePlace(life, round_, None)
        self.rounds += 1
        process.lastRotations = round_.rotations
        self.mostRotations = max(self.mostRotations, round_.rotations)

    def _isOpen(self, life: Life, process: Process, service: int) -> bool:
        if service in process.open and process.round is not None:
            return True
        text = "was called outside of its round"
        self.blame("S6", text, life, service=service)
        return False

    def _reached(
        self, life: Life, round_: Round, service: int, more: int, what: str
    ) -> None:
        """
        All members must have passed the stages before, and with C{more} this
        one too.
        """
        stage = round_.plan.index(service) if service in round_.plan else -1
        if not round_.complete() or stage < 0 or round_.passed() < stage + more:
            self.blame(
                "S3",
                f"{what} before all members had passed the barrier",
                life,
                service=service,
                ring=round_.ringId,
                stage=stage,
                barriers=dict(round_.barriers),
            )

    def _samePlace(self, life: Life, round_: Round, service: int | None) -> None:
        """
        Everybody completes a stage at the same place of the total order.
        """
        key = round_.ringId, round_.members
        places = self._places.get(key)
        if places is None or not any(who.alive for who, _ in places.values()):
            places = self._places[key] = {}
            self._recent.append(key)
            if len(self._recent) > RINGS_REMEMBERED:
                self._places.pop(self._recent.popleft(), None)
        other, place = places.setdefault(service, (life, round_.messages))
        if place != round_.messages:
            self.blame(
                "S5",
                "members of a ring completed a stage at different places",
                life,
                other,
                ring=round_.ringId,
                service=service,
                here=round_.messages,
                there=place,
            )

    # What they could know.

    def heard(self, life: Life, nodeid: int, body: bytes, byteOrder: str) -> None:
        """
        A message of synchronization was delivered.
        """
        round_ = self._process(life).round
        if round_ is None:
            return
        try:
            message = decode(SYNC_GROUP, body, byteOrder)
        except WireError:
            return
        if nodeid not in round_.members:
            return
        if isinstance(message, ServiceList):
            if message.ringId == round_.ringId:
                self.listed(life, nodeid, message.services)
        elif isinstance(message, Barrier) and message.ringId == round_.ringId:
            self.barrier(life, nodeid)

    def listed(self, life: Life, nodeid: int, services: tuple[int, ...]) -> None:
        """
        A member's list of services came.
        """
        round_ = self._process(life).round
        assert round_ is not None, "a list of no round"
        round_.messages += 1
        round_.listed.add(nodeid)
        round_.plan = sorted({*round_.plan, *services})

    def barrier(self, life: Life, nodeid: int) -> None:
        """
        A member's barrier came.
        """
        round_ = self._process(life).round
        assert round_ is not None, "a barrier of no round"
        round_.messages += 1
        if not round_.complete() or round_.barriers[nodeid] > round_.passed():
            text = "a member went past a barrier that others had not reached"
            self.blame("S3", text, life, ring=round_.ringId, member=nodeid)
        round_.barriers[nodeid] += 1

    def tokenPassed(self, life: Life) -> None:
        """
        A rotation of a process whose services are not in step.
        """
        round_ = self._process(life).round
        if round_ is not None:
            round_.rotations += 1

    def overtook(self, life: Life, sender: int) -> None:
        """
        A client's message was delivered in the middle of a round.
        """
        round_ = self._process(life).round
        self.blame(
            "S8",
            "a client's message in the middle of synchronization",
            life,
            of=sender,
            ring=round_.ringId if round_ else NO_RING,
        )
