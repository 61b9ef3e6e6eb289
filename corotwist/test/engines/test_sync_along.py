"""
Tests of who came along, service by service.
"""

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.executive import Barrier, ServiceList
from corotwist.engines.sync import Synchronization
from corotwist.totem.membership import Configuration, RingId

PATIENCE = 9.0


@define(eq=False)
class Service:
    """
    A participant that has nothing to say.
    """

    serviceId: int
    name: str = "quiet"
    came: list[tuple[int, ...]] = field(factory=list)

    def started(
        self, came: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self.came.append(came)

    def process(self) -> bool:
        return True

    def completed(self) -> None:
        pass

    def aborted(self) -> None:
        pass


@define(eq=False)
class Host:
    """
    A node whose messages go nowhere.
    """

    services: list[Service]

    def participants(self) -> list[Service]:
        return self.services

    def sendSync(self, body: bytes) -> bool:
        return True

    def roundCompleted(self) -> None:
        pass

    def roundStalled(self, what: str, missing: tuple[int, ...]) -> None:
        pass


class AlongTests(SynchronousTestCase):
    """
    A ring that changes between the stages of two services.
    """

    def test_eachService(self) -> None:
        """
        Who joined before a service completed has come along for it at the next
        change, although another service had not completed then.
        """
        first, second = Service(1), Service(2)
        rounds = Synchronization(Host([first, second]), Clock(), PATIENCE)
        rings = [RingId(number, 1) for number in (5, 9, 13)]
        rounds.configurationChanged(Configuration(rings[0], (1,), transitional=False))
        rounds.serviceListDelivered(1, ServiceList(rings[0], (1, 2)))
        for _ in (first, second):
            rounds.barrierDelivered(1, Barrier(rings[0]))
        rounds.configurationChanged(Configuration(rings[1], (1,), transitional=True))
        rounds.configurationChanged(Configuration(rings[1], (1, 2), transitional=False))
        for nodeid in (1, 2):
            rounds.serviceListDelivered(nodeid, ServiceList(rings[1], (1, 2)))
        for nodeid in (1, 2):
            rounds.barrierDelivered(nodeid, Barrier(rings[1]))
        rounds.configurationChanged(Configuration(rings[2], (1, 2), transitional=True))
        rounds.configurationChanged(Configuration(rings[2], (1, 2), transitional=False))
        self.assertEqual(first.came, [(), (1,), (1, 2)])
        self.assertEqual(second.came, [(), (1,), (1,)])
        rounds.stop()
