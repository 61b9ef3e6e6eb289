"""
Between a node's services and the judges of synchronization and of votes: sees
what goes through, and changes nothing.
"""

from collections.abc import Callable
from typing import Final

from attrs import define, field

from corotwist.engines import compact
from corotwist.engines.compact import Header, Kind
from corotwist.engines.executive import (
    CPG,
    FUNCTIONS,
    SERVICES_GROUP,
    SYNC_GROUP,
    VOTEQUORUM,
    Downlist,
    JoinList,
    OldDownlist,
    Reconfigure,
    address,
)
from corotwist.engines.manager import ServiceManager
from corotwist.engines.place import Place
from corotwist.simulator.clock import Clock
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.judges.sync import SyncJudge
from corotwist.simulator.judges.votes import Tally, VotesJudge
from corotwist.totem.membership import Configuration, RingId

_SYNC: Final = address(SYNC_GROUP, b"")
_SERVICES: Final = address(SERVICES_GROUP, b"")
_COMPACT: Final = address(compact.GROUP, b"")
_FUNCTION_BYTES: Final = 4
# What process groups send in the middle of a round.
_ROUND_FUNCTIONS: Final = {
    CPG * FUNCTIONS + message.FUNCTION for message in (JoinList, Downlist, OldDownlist)
}
_RECONFIGURE: Final = VOTEQUORUM * FUNCTIONS + Reconfigure.FUNCTION


@define(eq=False)
class Rounds:
    """
    What the judges see of one process's services.

    @ivar running: a round is on its way, by what was seen.
    """

    life: Life
    manager: ServiceManager
    clock: Clock
    sync: SyncJudge
    votes: VotesJudge
    running: bool = False
    _voting: bool = False
    _configuration: Configuration | None = None
    _places: list[Place] = field(factory=list)

    def _watch(self) -> None:
        """
        Stand in front of the place of every engine, also of those that came
        since the last round.
        """
        places = self.manager.roster.places.values()
        synchronized = [place for place in places if place.synchronized]
        for place in synchronized:
            if place not in self._places:
                _stand(place, self)
                if place.waiting:
                    self.sync.joined(self.life, place.serviceId)
        self._places = synchronized
        if not self._voting and "votequorum" in self.manager.engines:
            self._voting = True
            self.votes.booted(self.life, self.manager.settings.quorum)

    def configurationChanged(
        self, configuration: Configuration, tell: Callable[[Configuration], None]
    ) -> None:
        """
        A configuration on its way to the services.
        """
        self._watch()
        life, now = self.life, self.clock.seconds()
        if configuration.transitional:
            self.votes.left(life, now)
        self.running = not configuration.transitional
        self._configuration = configuration
        services = [place.serviceId for place in self._places if not place.failed]
        self.sync.configured(life, configuration, now)
        tell(configuration)
        if life.alive:
            self.sync.changed(life, services)

    def messageDelivered(
        self,
        nodeid: int,
        message: bytes,
        byteOrder: str,
        tell: Callable[[int, bytes, str], None],
    ) -> None:
        """
        A message on its way to the services.
        """
        if not self.running:
            tell(nodeid, message, byteOrder)
            if self._voting and self.life.alive:
                self._perhapsVotes(message)
            return
        if message.startswith(_SYNC):
            self.sync.heard(self.life, nodeid, message[len(_SYNC) :], byteOrder)
        elif _ofClient(message):
            self.sync.overtook(self.life, nodeid)
        tell(nodeid, message, byteOrder)
        if not self.manager.synchronizing() and self.life.alive:
            self.running = False
            self.sync.finished(self.life)
            self._count()

    def tokenPassed(self) -> None:
        """
        A rotation.
        """
        if self.running:
            self.sync.tokenPassed(self.life)

    def _perhapsVotes(self, message: bytes) -> None:
        if message.startswith(_COMPACT):
            if _service(message) == VOTEQUORUM:
                self._count()
        elif message.startswith(_SERVICES):
            number = _number(message)
            if number == _RECONFIGURE:
                self.votes.operator()
            if number // FUNCTIONS == VOTEQUORUM:
                self._count()

    def voted(self) -> None:
        """
        There is a verdict, although the round may still be aborted.
        """
        if self._voting:
            explanation = self.manager.engines["votequorum"].explanation()
            self.votes.met(self.life, Tally.of(explanation))

    def _count(self) -> None:
        ring = self._configuration
        if not self._voting or ring is None or ring.transitional:
            return
        if self.manager.roster.stopping:
            return  # Who counts votes may have stopped already.
        tally = Tally.of(self.manager.engines["votequorum"].explanation())
        now = self.clock.seconds()
        self.votes.counted(self.life, ring.ringId, ring.members, tally, now)


def _number(message: bytes) -> int:
    """
    Service and function of a message for the services.
    """
    at = len(_SERVICES)
    return int.from_bytes(message[at : at + _FUNCTION_BYTES], "little")


def _service(message: bytes) -> int | None:
    """
    Whose message it is, in the short form.
    """
    header = Header.decode(message[len(_COMPACT) :])
    return header.service if header.kind == Kind.ENGINE else None


def _ofClient(message: bytes) -> bool:
    """
    Is it something that must wait until the services are in step?
    """
    if message.startswith(_COMPACT):
        return _service(message) not in (None, VOTEQUORUM)
    if not message.startswith(_SERVICES):
        return False
    number = _number(message)
    return number // FUNCTIONS == CPG and number not in _ROUND_FUNCTIONS


def _stand(place: Place, rounds: Rounds) -> None:
    """
    See what synchronization tells a service.
    """
    life, judge, service = rounds.life, rounds.sync, place.serviceId
    started, process = place.started, place.process
    completed, aborted = place.completed, place.aborted

    def seenStarted(
        transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        if life.alive:
            judge.started(life, service, transitional, members, ringId)
        started(transitional, members, ringId)

    def seenProcess() -> bool:
        done = process()
        if life.alive:
            judge.processed(life, service, done=done)
        return done

    def seenCompleted() -> None:
        if life.alive:
            judge.completed(life, service)
        completed()
        if life.alive and service == VOTEQUORUM:
            rounds.voted()

    def seenAborted() -> None:
        if life.alive:
            judge.aborted(life, service)
        aborted()

    place.__dict__.update(
        started=seenStarted,
        process=seenProcess,
        completed=seenCompleted,
        aborted=seenAborted,
    )
