"""
The judges who look inside: what is broken by hand there is told by name.
"""

from collections.abc import Callable
from gc import collect
from typing import Any
from weakref import ref

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.cpg import GroupsEngine
from corotwist.simulator import Cluster, Faults, PromiseBroken
from corotwist.simulator.judges import inside
from corotwist.simulator.judges.inside import (
    EVENTS_PER_WORK,
    GROUPS,
    MANAGER,
    RING,
    SHELL,
    STORM_EVENTS,
    Bound,
    InsideJudge,
    census,
)
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.totem import gather, joining, onring, ordering
from corotwist.totem.ring import Ring
from corotwist.totem.sequence import earlier
from corotwist.totem.states import Because, In
from corotwist.totem.window import Window
from corotwist.totem.wire import Token


class InsideTests(SynchronousTestCase):
    """
    Two nodes on a ring, the first of which is tampered with.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(2, 1, services=True)
        self.cluster.client(1).join(b"g")
        self.cluster.run(1.0)
        self.cluster.settle()
        self.violations: list[Violation] = []
        self.judge = self.cluster.jury.inside
        self.judge.report = self.violations.append
        process = self.cluster.running(1)
        self.life = process.life
        protocol = process.service.protocol
        assert protocol is not None
        self.protocol, self.ring = protocol, protocol.ring

    def assertFound(self, *promises: str) -> None:
        self.judge.rested(self.life)
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def test_sound(self) -> None:
        """
        Nothing is wrong with a ring as it is, nor with one that is gone.
        """
        self.assertFound()
        self.assertGreater(self.judge.samples, 10)
        self.judge.rested(Life(9))
        self.ring._deadlines.clear()
        self.cluster.kill(1)
        self.assertFound()

    def test_asleep(self) -> None:
        """
        I7: no deadline at all, or not those of the state; and a shell that
        does not wake at it.
        """
        self.ring.disarm(ordering.TOKEN_LOSS)
        self.assertFound("I7")
        self.ring._deadlines.clear()
        self.assertFound("I7", "I7")
        self.ring.arm(ordering.TOKEN_LOSS, 1.0)
        self.ring.arm(ordering.HOLD, 0.0)
        assert self.protocol._timer is not None
        self.protocol._timer.cancel()
        self.assertFound("I7", "I7", "I7")

    def test_waitingForTheDisk(self) -> None:
        """
        A mute processor that waits for its disk needs no deadline.
        """
        self.ring._stateName = In.MUTE
        self.ring._deadlines.clear()
        self.ring.storesPending = 1
        self.judge.looked(self.life)
        self.assertEqual(self.violations, [])
        self.ring.storesPending = 0
        self.judge.looked(self.life)
        self.assertEqual([v.promise for v in self.violations], ["I7"])

    def test_backwards(self) -> None:
        """
        I2: what was received stays received; and is not beyond the last.
        """
        self.assertFound()
        window = self.ring.window
        window.released -= 1
        window.aru -= 1
        self.assertFound("I2")
        self.assertEqual(self.violations[0].details["what"], ["received", "released"])
        self.violations.clear()
        window.aru = window.high + 1
        self.assertFound("I2")

    def test_released(self) -> None:
        """
        I3: nothing is released that was not delivered here, or that a member
        lacks.
        """
        window = self.ring.window
        window.aru = window.high = window.released = window.high + 5
        self.assertFound("I3", "I3")
        self.assertIn("lacks", self.violations[1].text)

    def test_forgot(self) -> None:
        """
        E8: the highest ring sequence is remembered.
        """
        self.ring.highestSequence += 100
        self.assertFound()
        self.ring.highestSequence -= 1
        self.assertFound("E8")
        self.violations.clear()
        self.ring.highestSequence = 1
        self.assertFound("E8", "E8")

    def test_gathering(self) -> None:
        """
        I6: so many new gathers, with nothing new in them.
        """
        self.ring._stateName = In.GATHER
        grew = Because.SETS_GREW.value
        for _ in range(1):
            self.judge.stateChanged(self.life, "gather", "gather", grew)
        self.assertEqual(self.violations, [])
        for cause in (grew, Because.ROUND_FAILED.value):
            self.judge.stateChanged(self.life, "gather", "gather", cause)
        self.assertEqual([v.promise for v in self.violations], ["I6"])
        self.judge.stateChanged(self.life, "gather", "commit", "x")
        self.judge.stateChanged(self.life, "gather", "gather", grew)
        self.assertEqual([v.promise for v in self.violations], ["I6"])

    def test_bounds(self) -> None:
        """
        I8: each bound is told by the name of what outgrew it.
        """
        groups = self.cluster.services(1).groups
        subjects = {
            RING: self.ring,
            SHELL: self.protocol,
            MANAGER: self.cluster.services(1).manager,
            GROUPS: groups,
        }
        for bounds, subject in subjects.items():
            for bound in bounds:
                self.assertLessEqual(bound.measure(subject), bound.most, bound.name)
                tight = Bound(bound.name, bound.measure, bound.measure(subject) - 1)
                self.violations.clear()
                self.judge._bounded(self.life, [tight], subject)
                (violation,) = self.violations
                self.assertEqual(violation.promise, "I8")
                self.assertIn(bound.name, violation.text)

    def test_outgrown(self) -> None:
        """
        I8: of the ring, the shell and the engines.
        """
        self.ring.departures = dict.fromkeys(range(1000), "x")
        self.protocol._loopback = [b""] * 1000
        manager = self.cluster.services(1).manager
        manager._waiting.extend([lambda: None] * 5000)
        groups: Any = self.cluster.services(1).groups
        assert isinstance(groups, GroupsEngine)
        groups._sending.inFlight = 1 << 30
        self.assertFound("I8", "I8", "I8", "I8")

    def test_storm(self) -> None:
        """
        More events within a token time than its work explains.
        """
        judge = InsideJudge(self.violations.append, 1.0, 2)
        judge.time(0.5, STORM_EVENTS)
        judge.time(1.5, STORM_EVENTS)
        judge.time(2.0, STORM_EVENTS * 2)
        judge.work += 10
        judge.time(2.4, STORM_EVENTS * 2 + 10 * EVENTS_PER_WORK)
        self.assertEqual(self.violations, [])
        judge.time(2.4, STORM_EVENTS * 2 + 10 * EVENTS_PER_WORK + 1, self.life)
        self.assertEqual([v.promise for v in self.violations], ["L5"])


class AwakeTests(SynchronousTestCase):
    """
    Deliberate errors of the ring, in runs.
    """

    def caught(self, *, loss: float = 0.0) -> str:
        try:
            for seed in range(4):
                cluster = Cluster(4, seed, Faults(loss=loss))
                cluster.load(100.0, 6.0)
                cluster.run(2.0)
                cluster.partition({1, 2}, {3, 4})
                cluster.run(4.0)
                cluster.heal()
                cluster.run(4.0)
                cluster.faults = Faults()
                cluster.settle()
        except PromiseBroken as broken:
            return broken.violation.promise
        return "nothing"

    def test_sound(self) -> None:
        """
        Nothing is wrong with the ring as it is.
        """
        self.assertEqual(self.caught(loss=0.05), "nothing")

    def test_noTimer(self) -> None:
        """
        I7: nobody waits for the consensus.
        """
        arm = Ring.arm

        def forgetful(ring: Ring, name: str, delay: float) -> None:
            if name != joining.CONSENSUS:
                arm(ring, name, delay)

        self.patch(Ring, "arm", forgetful)
        self.assertEqual(self.caught(), "I7")

    def test_releasedEarly(self) -> None:
        """
        I3: frames are forgotten as soon as they are delivered here.
        """
        release = Window.release

        def early(window: Window, upTo: int) -> None:
            release(window, window.delivered)

        self.patch(Window, "release", early)
        self.assertEqual(self.caught(loss=0.05), "I3")

    def test_releasedByOneVisit(self) -> None:
        """
        I3: the token's count of this visit alone is taken.
        """
        hold = ordering.holdToken

        def once(ring: Ring, token: Token, state: Any) -> None:
            window = ring.forming
            window.release(earlier(token.sequence, window.delivered))
            hold(ring, token, state)

        self.patch(ordering, "holdToken", once)
        self.patch(onring, "holdToken", once)
        self.assertEqual(self.caught(loss=0.05), "I3")

    def test_forgotSequence(self) -> None:
        """
        E8: who gathers anew forgets what it heard of.
        """
        entered = gather.Gather.entered

        def forgets(state: gather.Gather, ring: Ring) -> None:
            ring.highestSequence = ring.ringId.sequence - 1
            entered(state, ring)

        self.patch(gather.Gather, "entered", forgets)
        self.assertIn(self.caught(), ("E8",))

    def test_gathersAlways(self) -> None:
        """
        I6: every join is a reason to gather anew.
        """
        self.patchAbsorb(lambda ring, join: True)
        self.assertIn(self.caught(), ("I6", "L5", "I4"))

    def patchAbsorb(self, absorb: Callable[..., bool]) -> None:
        self.patch(gather, "absorb", absorb)

    def test_hoards(self) -> None:
        """
        I8: whoever departed is remembered for ever.
        """
        entered = gather.Gather.entered

        def hoards(state: gather.Gather, ring: Ring) -> None:
            entered(state, ring)
            for number in range(400):
                ring.departures[1000 + number] = "long ago"

        self.patch(gather.Gather, "entered", hoards)
        self.assertEqual(self.caught(), "I8")

    def test_tokenStorm(self) -> None:
        """
        The token is passed on many times at each visit.
        """
        self.patch(inside, "STORM_EVENTS", STORM_EVENTS // 10)
        passToken = ordering.passToken

        def often(ring: Ring, token: Token) -> None:
            passToken(ring, token)
            for _ in range(20 if ring.tokenTo != ring.nodeid else 0):
                ordering.sendTokenAgain(ring)

        self.patch(onring, "passToken", often)
        self.assertEqual(self.caught(), "L5")


class LeakTests(SynchronousTestCase):
    """
    Long runs.
    """

    def test_noMoreObjects(self) -> None:
        """
        Between two calm moments of a long run, with rings that come and go,
        messages and clients, the ring and the engines do not hold more.
        """
        # Trial keeps log events, and with them whoever logged.
        self.patch(globalLogPublisher, "_observers", [])
        cluster = Cluster(3, 3, services=True)
        cluster.settle()
        counts = []
        for _ in range(3):
            for _ in range(3):
                self._busy(cluster)
            cluster.settle()
            counts.append(census())
        first, *_, last = counts
        grown = [
            f"{name} {first[name]} to {count}"
            for name, count in last.items()
            if count > first[name] + max(8, first[name] // 4)
        ]
        self.assertEqual(grown, [])
        self.assertGreater(sum(last.values()), 100)

    def test_clientsForgotten(self) -> None:
        """
        Nobody keeps a client that is gone, nor the engine it was at, whoever
        still remembers what it sent.
        """
        self.patch(globalLogPublisher, "_observers", [])
        cluster = Cluster(2, 3, services=True)
        cluster.settle()
        clients = [cluster.client(nodeid) for nodeid in (1, 2)]
        for client in clients:
            client.join(b"g")
        cluster.run(0.5)
        clients[0].send(b"g", b"x").addErrback(lambda failure: None)
        cluster.run(0.5)
        kept = [ref(thing) for thing in (clients[0], clients[0].engine)]
        del client, clients[0]
        cluster.kill(1)
        cluster.boot(1)
        cluster.run(100.0)  # Until none of its timers is left.
        collect()
        self.assertEqual([each() for each in kept], [None, None])

    def _busy(self, cluster: Cluster) -> None:
        clients = [cluster.client(nodeid) for nodeid in (1, 2)]
        for client in clients:
            client.join(b"g")
        cluster.run(0.5)
        for client in clients:
            client.send(b"g", b"x" * 100, b"y" * 5000).addErrback(lambda f: None)
        cluster.run(0.5)
        cluster.partition({1}, {2, 3})
        cluster.run(3.0)
        cluster.heal()
        cluster.run(3.0)
        cluster.kill(3)
        cluster.boot(3)
        cluster.run(4.0)
        for client in clients:
            if client.open:
                client.close()
