"""
Tests of synchronization: the stages, their order, and every way to be
interrupted.
"""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.engines.executive import (
    SYNC_GROUP,
    Barrier,
    ServiceList,
    address,
    whole,
)
from corotwist.engines.place import Duty
from corotwist.engines.sync import Phase
from corotwist.errors import TryAgain
from corotwist.interfaces import IServiceEngine, ISynchronized
from corotwist.test.engines.orderednet import OrderedNet, Ring
from corotwist.test.engines.probes import Probe, ProbeNet, probed


def ordered(net: OrderedNet, ring: Ring, nodeid: int, message: Any) -> None:
    """
    A message of synchronization, as if that node had sent it.
    """
    ring.order.append((nodeid, address(SYNC_GROUP, whole(message))))


class RoundTests(SynchronousTestCase):
    """
    Rounds that nothing interrupts.
    """

    def test_probeIsAnEngine(self) -> None:
        """
        What these tests synchronize is a service engine.
        """
        probe = Probe(1, [])
        verifyObject(IServiceEngine, probe)
        verifyObject(ISynchronized, probe)

    def test_stages(self) -> None:
        """
        All services start, then each in the order of ids sends and completes
        before the next one sends. (A71, A77)
        """
        net = probed(1, 2)
        net.form(1, 2)
        net.run()
        for nodeid in (1, 2):
            self.assertEqual(
                net.names(nodeid),
                [
                    (1, "started"),
                    (2, "started"),
                    (1, "synchronize"),
                    (1, "completed"),
                    (2, "synchronize"),
                    (2, "completed"),
                ],
            )
            self.assertEqual(net.phase(nodeid), Phase.DONE)

    def test_barrierHolds(self) -> None:
        """
        While one member has not reached the barrier nobody goes past it. (A79)
        """
        net = probed(1, 2)
        net.probes[2, 1].rounds = 3
        net.form(1, 2)
        net.rotate()
        net.rotate()
        self.assertEqual(net.names(1)[-1], (1, "synchronize"))
        self.assertEqual(net.phase(1), Phase.BARRIER)
        net.run()
        self.assertIn((1, "completed"), net.names(1))
        self.assertEqual(net.phase(2), Phase.DONE)

    def test_againAtTheNextToken(self) -> None:
        """
        A service that is not done is asked again once for each token, not in
        a loop. (A78)
        """
        net = probed(1)
        net.probes[1, 1].rounds = 4
        net.form(1)
        net.rotate()
        asked = net.names(1).count((1, "synchronize"))
        net.visit(1)
        net.visit(1)
        self.assertEqual(net.names(1).count((1, "synchronize")), asked + 2)

    def test_fullQueue(self) -> None:
        """
        Without room for a single message of synchronization everything is
        tried again when the token has passed. (A78)
        """
        net = probed(1, 2)
        for node in net.nodes.values():
            node.totem.capacity = 0
        net.form(1, 2)
        net.rotate()
        net.rotate()
        self.assertEqual(net.phase(1), Phase.LISTING)
        self.assertGreater(net.nodes[1].totem.refused, 1)
        for node in net.nodes.values():
            node.totem.capacity = 600
        net.rotate()
        net.run()
        self.assertEqual(net.phase(1), Phase.DONE)

    def test_tryAgainMeansAgain(self) -> None:
        """
        An engine may let the full queue's error out of C{synchronize}.
        """
        net = probed(1)
        probe = net.probes[1, 1]
        full = [True, True, False]

        def synchronize() -> bool:
            if full.pop(0):
                raise TryAgain
            return True

        self.patch(Probe, "synchronize", lambda self: synchronize())
        self.patch(Probe, "synchronizationCompleted", lambda self: full.append(False))
        net.form(1)
        for _ in range(6):
            net.rotate()
        self.assertEqual(net.phase(1), Phase.DONE)
        self.assertFalse(net.nodes[1].manager.dump()["engines"][probe.name]["failures"])

    def test_differentServices(self) -> None:
        """
        H10: members with different services go through the merged list;
        a service that one of them does not have is a stage without work there.
        (A82)
        """
        net = ProbeNet()
        net.start(1, 1, 4, 9)
        net.start(2, 4, 7)
        net.form(1, 2)
        net.run()
        for nodeid in (1, 2):
            synchronization = net.nodes[nodeid].manager.synchronization
            self.assertEqual(synchronization._plan, [1, 4, 7, 9])
            self.assertEqual(synchronization.phase, Phase.DONE)
        self.assertEqual(
            [name for number, name in net.names(2) if number == 7],
            ["started", "synchronize", "completed"],
        )

    def test_noServices(self) -> None:
        """
        A node without any service is synchronized when all lists are there.
        """
        net = ProbeNet()
        net.boot(1)
        net.form(1)
        net.run()
        self.assertEqual(net.phase(1), Phase.DONE)

    def test_transitionalMembers(self) -> None:
        """
        Services learn who came along: nobody at first, then those who did.
        """
        net = probed(1, 2, 3)
        net.form(1, 2)
        net.run()
        net.form(1, 2, 3)
        net.run()
        started = [call for call in net.rounds(1) if call[1] == "started"]
        self.assertEqual(started[0][2:], ((), (1, 2)))
        self.assertEqual(started[-1][2:], ((1, 2), (1, 2, 3)))

    def test_whenSynchronized(self) -> None:
        """
        Whoever waits for the services hears when they are in step; who asks
        then hears at once; who gave up does not hear.
        """
        net = probed(1)
        manager = net.nodes[1].manager
        waits, gaveUp = manager.whenSynchronized(), manager.whenSynchronized()
        gaveUp.cancel()
        self.failureResultOf(gaveUp)
        self.assertNoResult(waits)
        net.form(1)
        net.run()
        self.assertIsNone(self.successResultOf(waits))
        self.assertIsNone(self.successResultOf(manager.whenSynchronized()))


class InterruptedTests(SynchronousTestCase):
    """
    Changes of membership in the middle of a round.
    """

    def _finish(self, net: ProbeNet) -> None:
        net.run()
        for nodeid in net.nodes:
            self.assertEqual(net.phase(nodeid), Phase.DONE, f"node {nodeid}")

    def _checkEveryStartEnds(self, calls: list[Any]) -> None:
        """
        S6: each start is followed by exactly one completion or abortion
        before the next start.
        """
        running: set[int] = set()
        for number, name, *_ in calls:
            if name == "started":
                self.assertNotIn(number, running)
                running.add(number)
            elif name in ("completed", "aborted"):
                self.assertIn(number, running, f"{name} of {number} too often")
                running.remove(number)
            else:
                self.assertIn(number, running, f"{name} of {number} outside")
        self.assertEqual(running, set())

    def test_interruptedAtEveryMessage(self) -> None:
        """
        H2, H9, S6: wherever in the round the membership changes, also between
        two completions and at the barrier, every service that was started is
        completed or aborted once, and the next round completes. (A80)
        """
        for visits in range(60):
            net = probed(1, 2, 3, serviceIds=(1, 2, 3))
            net.form(1, 2, 3)
            for number in range(visits):
                net.visit(1 + number % 3, 1)
                for nodeid in (1, 2, 3):
                    net.receive(nodeid, 1)
            net.kill(3)
            net.form(1, 2)
            self._finish(net)
            for nodeid in (1, 2):
                self._checkEveryStartEnds(net.rounds(nodeid))

    def test_unevenReception(self) -> None:
        """
        S5: nodes that part in the middle of the barrier may have completed or
        aborted the stage; whoever goes on together did the same. (A80, A81)
        """
        for seen in range(1, 30):
            net = probed(1, 2, 3, serviceIds=(1, 2))
            net.form(1, 2, 3)
            for _ in range(4):
                for nodeid in (1, 2, 3):
                    net.visit(nodeid)
                net.receive(1, seen)
                net.receive(2, 1)
            net.form(1, 2)
            net.form(3)
            self._finish(net)
            self.assertEqual(net.rounds(1), net.rounds(2))

    def test_lateBarrier(self) -> None:
        """
        H8, S7: a barrier and a list of an older ring count for nothing.
        """
        net = probed(1, 2)
        old = net.form(1, 2)
        net.kill(2)
        new = net.form(1)
        ordered(net, new, 1, Barrier(old.ringId))
        ordered(net, new, 1, ServiceList(old.ringId, (1, 2, 77)))
        net.receive(1, 2)
        synchronization = net.nodes[1].manager.synchronization
        self.assertEqual(synchronization.counters.ignored, 2)
        self._finish(net)
        self.assertNotIn(77, synchronization._plan)

    def test_leftoversOfAnAbortedRound(self) -> None:
        """
        What an aborted round left in the queue goes out on the next ring and
        does not disturb it.
        """
        net = probed(1, 2)
        net.form(1, 2)
        net.form(1, 2)
        self.assertEqual(len(net.nodes[1].totem.syncQueue), 2)
        self._finish(net)
        self.assertEqual(net.nodes[1].manager.synchronization.counters.ignored, 2)

    def test_strangersDoNotCount(self) -> None:
        """
        A barrier of a node that is not in the ring, or a second one of a
        member, brings nobody past it.
        """
        net = probed(1, 2)
        ring = net.form(1, 2)
        net.probes[2, 1].rounds = 99
        net.rotate()
        net.rotate()
        for nodeid in (1, 1, 9):
            ordered(net, ring, nodeid, Barrier(ring.ringId))
        net.rotate()
        self.assertEqual(net.phase(1), Phase.BARRIER)

    def test_strangersServices(self) -> None:
        """
        Nor does such a node add services to the plan.
        """
        net = probed(1)
        ring = net.form(1)
        ordered(net, ring, 9, ServiceList(ring.ringId, (77,)))
        ring.order.reverse()
        self._finish(net)
        self.assertEqual(net.nodes[1].manager.synchronization._plan, [1, 2])

    def test_cameAfterARestart(self) -> None:
        """
        S2: a node that restarted comes along again like anybody, once a round
        with it has completed.
        """
        net = probed(1, 2)
        net.form(1, 2)
        net.run()
        net.kill(2)
        net.start(2)
        for _ in range(2):
            net.form(1, 2)
            self._finish(net)
        started = [call[2] for call in net.rounds(1) if call[:2] == (1, "started")]
        self.assertEqual(started, [(), (1,), (1, 2)])

    def test_hiddenRestart(self) -> None:
        """
        S2: node 2 restarts, the round after it is aborted, and in the next
        change it comes along: it is not one who was always there.
        """
        net = probed(1, 2, 3)
        net.form(1, 2, 3)
        net.run()
        net.kill(2)
        net.start(2)
        net.form(1, 2, 3)
        net.visit(1)
        net.form(1, 2, 3)
        self._finish(net)
        last = [call for call in net.rounds(1) if call[1] == "started"][-1]
        self.assertEqual(last[2:], ((1, 3), (1, 2, 3)))
        own = [call for call in net.rounds(2) if call[1] == "started"][-1]
        self.assertEqual(own[2:], ((1, 2, 3), (1, 2, 3)))

    def test_storm(self) -> None:
        """
        H11: fifty changes without a completed round; then one completes. (A80)
        """
        net = probed(1, 2, 3)
        for number in range(50):
            net.form(*((1, 2, 3) if number % 2 else (1, 2)))
            net.visit(1, 1)
        net.form(1, 2, 3)
        self._finish(net)
        self._checkEveryStartEnds(net.rounds(1))
        counters = net.nodes[1].manager.synchronization.counters
        self.assertEqual((counters.completed, counters.begun), (1, 51))

    def test_sameMembersAgain(self) -> None:
        """
        H7: nothing but a configuration begins a round.
        """
        net = probed(1)
        net.form(1)
        net.run()
        net.rotate()
        net.rotate()
        self.assertEqual(net.nodes[1].manager.synchronization.counters.begun, 1)


class TroubleTests(SynchronousTestCase):
    """
    Services and members that do not do their part.
    """

    def test_failingServiceIsDone(self) -> None:
        """
        S11: an engine that raises in its stage is logged, and the round goes
        on for everybody. (A75)
        """
        for method in ("started", "synchronize", "completed"):
            net = probed(1, 2)
            net.probes[1, 1].raising.add(method)
            net.form(1, 2)
            net.run()
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
            self.assertEqual(net.phase(1), Phase.DONE)
            self.assertEqual(net.phase(2), Phase.DONE)
            self.assertIn((2, "completed"), net.names(1))

    def test_failedServiceIsSkipped(self) -> None:
        """
        H4, S10: an engine that is out of service in the middle of a round is
        not called any more, and the round goes on.
        """
        net = probed(1, 2)
        net.probes[1, 2].rounds = 50
        net.form(1, 2)
        for _ in range(4):
            net.rotate()
        self.assertEqual(net.phase(2), Phase.BARRIER)
        net.nodes[1].manager.roster.places[2].duty = Duty.FAILED
        net.run()
        self.assertEqual(net.phase(2), Phase.DONE)
        self.assertNotIn((2, "completed"), net.names(1))

    def test_stallIsReported(self) -> None:
        """
        S9: a stage that does not end is named, with those who are missing,
        again and again; a finished one is not. (A84)
        """
        stalls: list[Any] = []
        net = probed(1, 2)
        manager = net.nodes[1].manager
        self.patch(manager, "roundStalled", lambda *details: stalls.append(details))
        net.probes[2, 1].rounds = 99
        net.form(1, 2)
        net.rotate()
        net.rotate()
        patience = 10 * manager.settings.totem.timing.token
        net.clock.advance(patience - 1)
        self.assertEqual(stalls, [])
        net.clock.advance(1)
        net.clock.advance(patience)
        self.assertEqual(len(stalls), 2)
        self.assertIn("probe1", stalls[0][0])
        self.assertEqual(stalls[0][1], (2,))
        self.assertEqual(manager.synchronization.progress()["missing"], [2])
        net.probes[2, 1].rounds = 0
        net.run()
        net.clock.advance(patience * 2)
        self.assertEqual(len(stalls), 2)
