"""
The judge of synchronization: rounds that are out of step, told by name.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import sync
from corotwist.engines.executive import Barrier, ServiceList, whole
from corotwist.simulator import Cluster, PromiseBroken
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.judges.sync import RINGS_REMEMBERED, SyncJudge
from corotwist.totem.membership import NO_RING, Configuration, RingId
from corotwist.totem.states import In

R1, R2, R3 = RingId(4, 1), RingId(8, 1), RingId(12, 1)
CPG, QUORUM = 2, 4
BOTH = (1, 2)


class SyncTests(SynchronousTestCase):
    """
    Two nodes, with the services 2 and 4.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = SyncJudge(self.violations.append)
        self.lives = [Life(1), Life(2)]

    # The words of a history.

    def transition(self, *lives: Life, members: tuple[int, ...] = BOTH) -> None:
        for life in lives:
            change = Configuration(R2, members, transitional=True)
            self.judge.configured(life, change, 1.0)

    def ring(
        self,
        *lives: Life,
        ringId: RingId = R1,
        came: tuple[int, ...] = (),
        services: tuple[int, ...] = (CPG, QUORUM),
        members: tuple[int, ...] = BOTH,
    ) -> None:
        for life in lives:
            change = Configuration(ringId, members, transitional=False)
            self.judge.configured(life, change, 2.0)
            for service in services:
                self.judge.started(life, service, came, members, ringId)

    def lists(self, *lives: Life) -> None:
        for life in lives:
            for nodeid in BOTH:
                self.judge.listed(life, nodeid, (CPG, QUORUM))

    def barriers(self, *lives: Life, of: tuple[int, ...] = BOTH) -> None:
        for life in lives:
            for nodeid in of:
                self.judge.barrier(life, nodeid)

    def stage(self, service: int, *lives: Life) -> None:
        for life in lives:
            self.judge.processed(life, service, done=True)
        self.barriers(*lives)
        for life in lives:
            self.judge.completed(life, service)

    def whole(self, *lives: Life, ringId: RingId = R1) -> None:
        came = () if ringId == R1 else BOTH
        self.ring(*lives, ringId=ringId, came=came)
        self.lists(*lives)
        self.stage(CPG, *lives)
        self.stage(QUORUM, *lives)
        for life in lives:
            self.judge.finished(life)

    def abort(self, *lives: Life) -> None:
        for life in lives:
            for service in (CPG, QUORUM):
                self.judge.aborted(life, service)
            self.judge.changed(life, [])

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    # Histories.

    def test_good(self) -> None:
        """
        A round, one that is aborted, and another.
        """
        self.whole(*self.lives)
        self.transition(*self.lives)
        self.ring(*self.lives, ringId=R2, came=BOTH)
        self.lists(*self.lives)
        self.transition(*self.lives, members=(1,))
        self.abort(*self.lives)
        self.ring(*self.lives, ringId=R3, came=(1,))
        for life in self.lives:
            self.judge.changed(life, [CPG, QUORUM])
        self.assertFound()
        self.assertEqual(self.judge.rounds, 2)

    def test_notAll(self) -> None:
        """
        S1: a round begins for all services, each once, before the lists come.
        """
        a, b = self.lives
        self.ring(a, services=(CPG,))
        self.judge.changed(a, [CPG, QUORUM])
        self.assertFound("S1")
        self.ring(b, services=(CPG,))
        self.lists(b)
        self.judge.started(b, QUORUM, (), BOTH, R1)
        self.assertFound("S1", "S1")

    def test_whoCameAlong(self) -> None:
        """
        S2: who came along is told since the last whole round, not since the
        last change.
        """
        a = self.lives[0]
        self.whole(a)
        self.transition(a, members=(1,))
        self.ring(a, ringId=R2, came=(1,))
        self.transition(a)
        self.abort(a)
        self.assertFound()
        self.ring(a, ringId=R3, came=BOTH)
        self.assertFound("S2", "S2")

    def test_earlyStage(self) -> None:
        """
        S3: a stage begins when all members are past the one before.
        """
        a = self.lives[0]
        self.ring(a)
        self.lists(a)
        self.judge.processed(a, CPG, done=True)
        self.barriers(a, of=(1,))
        self.assertFound()
        self.judge.processed(a, QUORUM, done=True)
        self.assertFound("S3")

    def test_earlyCompletion(self) -> None:
        """
        S3: and completes when all members have told.
        """
        a = self.lives[0]
        self.ring(a)
        self.judge.listed(a, 1, (CPG, QUORUM))
        self.judge.processed(a, CPG, done=True)
        self.assertFound("S3")
        self.judge.listed(a, 2, (CPG, QUORUM))
        self.barriers(a, of=(2,))
        self.judge.completed(a, CPG)
        self.assertFound("S3", "S3")

    def test_fastMember(self) -> None:
        """
        S3: nobody sends a second barrier while others owe their first.
        """
        a = self.lives[0]
        self.ring(a)
        self.lists(a)
        self.barriers(a, of=(1, 1))
        self.assertFound("S3")

    def test_busy(self) -> None:
        """
        S4: a service that is not done is asked again after a rotation; one
        that is done is not.
        """
        a = self.lives[0]
        self.ring(a)
        self.lists(a)
        self.judge.processed(a, CPG, done=False)
        self.judge.tokenPassed(a)
        self.judge.processed(a, CPG, done=False)
        self.assertFound()
        self.judge.processed(a, CPG, done=True)
        self.assertFound("S4")
        self.judge.tokenPassed(a)
        self.judge.processed(a, CPG, done=True)
        self.assertFound("S4", "S4")

    def test_otherPlace(self) -> None:
        """
        S5: all members complete a stage at the same place of the order.
        """
        a, b = self.lives
        self.ring(a, b)
        self.lists(a, b)
        self.stage(CPG, a)
        self.judge.listed(b, 1, (CPG, QUORUM))
        self.stage(CPG, b)
        self.assertFound("S5")

    def test_notDone(self) -> None:
        """
        S5: a service completes after it was done, and a round after all its
        services have completed.
        """
        a = self.lives[0]
        self.ring(a)
        self.lists(a)
        self.barriers(a)
        self.judge.completed(a, CPG)
        self.assertFound("S5")
        self.judge.finished(a)
        self.assertFound("S5", "S5", "S3")

    def test_notAborted(self) -> None:
        """
        S6: each service that began hears of the end, once.
        """
        a, b = self.lives
        self.ring(a, b)
        self.transition(a, b)
        self.judge.aborted(a, CPG)
        self.judge.changed(a, [])
        self.assertFound("S6")
        self.judge.aborted(b, CPG)
        self.judge.aborted(b, CPG)
        self.assertFound("S6", "S6")

    def test_afterTheEnd(self) -> None:
        """
        S6: nothing is called between the end of a ring and the next round.
        """
        a = self.lives[0]
        self.whole(a)
        self.judge.processed(a, CPG, done=True)
        self.judge.completed(a, CPG)
        self.judge.finished(a)
        self.assertFound("S6", "S6", "S6")
        self.ring(a, ringId=R2)
        self.judge.aborted(a, CPG)
        self.assertEqual(self.violations[-1].text, "aborted while the ring lasts")

    def test_anew(self) -> None:
        """
        S6: a round does not begin before the one before has ended.
        """
        a = self.lives[0]
        self.ring(a)
        self.ring(a, ringId=R2)
        self.assertFound("S6", "S6")

    def test_otherRing(self) -> None:
        """
        S7: a round is of the ring that was installed.
        """
        a = self.lives[0]
        self.ring(a, services=())
        self.judge.started(a, CPG, (), BOTH, R2)
        self.assertFound("S7")

    def test_overtook(self) -> None:
        """
        S8: clients wait.
        """
        a = self.lives[0]
        self.ring(a)
        self.judge.overtook(a, 2)
        self.assertFound("S8")

    def test_messages(self) -> None:
        """
        What the members send is read; what names another ring, or comes from
        elsewhere, or is no message, counts for nothing.
        """
        a = self.lives[0]

        def hear(nodeid: int, message: ServiceList | Barrier) -> None:
            self.judge.heard(a, nodeid, whole(message), "<")

        self.ring(a)
        for nodeid in (1, 2, 3):
            hear(nodeid, ServiceList(R1, (CPG, QUORUM)))
            hear(nodeid, ServiceList(R2, (9,)))
        self.judge.processed(a, CPG, done=True)
        hear(1, Barrier(R1))
        hear(2, Barrier(R2))
        self.judge.heard(a, 2, b"x", "<")
        self.assertFound()
        self.judge.completed(a, CPG)
        self.assertFound("S3")

    def test_bounded(self) -> None:
        """
        Old rings are forgotten.
        """
        a = self.lives[0]
        self.whole(a)
        for number in range(2 * RINGS_REMEMBERED):
            self.transition(a)
            self.whole(a, ringId=RingId(number + 20, 1))
        self.assertFound()
        self.assertEqual(len(self.judge._places), RINGS_REMEMBERED)

    def test_dead(self) -> None:
        """
        A process that ended is forgotten.
        """
        self.whole(self.lives[0])
        self.judge.ended(self.lives[0])
        self.assertFalse(self.judge.synchronizing(self.lives[0]))


class AwakeTests(SynchronousTestCase):
    """
    Deliberate errors of the rounds, in whole clusters.
    """

    def caught(self, method: str, broken: Callable[..., Any]) -> str:
        self.patch(sync.Synchronization, method, broken)
        try:
            for seed in range(4):
                cluster = Cluster(3, seed, services=True)
                for nodeid in (1, 2, 3):
                    cluster.client(nodeid).join(b"g")
                cluster.run(2.0)
                cluster.partition({1, 2}, {3})
                cluster.run(4.0)
                cluster.whenState(In.OPERATIONAL, partial(cluster.kill, 3), 3)
                cluster.heal()
                cluster.run(5.0)
                cluster.boot(3)
                cluster.settle()
        except PromiseBroken as broken_:
            return broken_.violation.promise
        return "nothing"

    def test_oneBarrier(self) -> None:
        """
        S3: one member's barrier is enough.
        """

        def delivered(self: sync.Synchronization, nodeid: int, message: Any) -> None:
            phases = (sync.Phase.PROCESSING, sync.Phase.BARRIER)
            if self._expected(nodeid, message.ringId, *phases):
                self._completeStage()

        self.assertIn(self.caught("barrierDelivered", delivered), ("S3", "S5"))

    def test_noAbort(self) -> None:
        """
        S6: services do not hear that a round is over.
        """

        def abort(self: sync.Synchronization) -> None:
            self.phase = sync.Phase.WAITING
            self.ringId = NO_RING
            self._unsent = None
            self._unwatch()

        self.assertEqual(self.caught("_abort", abort), "S6")

    def test_beganTwice(self) -> None:
        """
        S6: services begin one round twice.
        """
        begin = sync.Synchronization._begin

        def again(self: sync.Synchronization, configuration: Any) -> None:
            begin(self, configuration)
            begin(self, configuration)

        self.assertEqual(self.caught("_begin", again), "S6")

    def test_lastOnly(self) -> None:
        """
        S2: only the last change of the ring counts.
        """

        def intersect(self: sync.Synchronization, members: tuple[int, ...]) -> None:
            for service in self._host.participants():
                self._cameAlong[service.serviceId] = (*members, 3)

        self.assertEqual(self.caught("_intersect", intersect), "S2")

    def test_busyLoop(self) -> None:
        """
        S4: a service is asked again and again.
        """

        def process(self: sync.Synchronization) -> None:
            service = self._started.get(self._plan[self._stage])
            if service is not None:
                service.process()
                service.process()
            self.phase = sync.Phase.BARRIER
            self._send(whole(Barrier(self.ringId)))

        self.assertEqual(self.caught("_process", process), "S4")

    def test_sound(self) -> None:
        """
        Nothing is found in rounds as they are.
        """
        sound = sync.Synchronization._process
        self.assertEqual(self.caught("_process", sound), "nothing")
