"""
Stories about clocks, pauses and restarts.  [pitfalls F]
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from attrs import evolve

from corotwist.engines.interfaces import Reason
from corotwist.errors import ConfigurationError
from corotwist.simulator import Faults, timingFor
from corotwist.simulator.faults import kindOf
from corotwist.simulator.sockets import Port
from corotwist.test.scenarios.story import (
    FOREVER,
    A,
    B,
    C,
    Story,
    capture,
    changes,
    eachTime,
    installs,
    ring,
    watchTokens,
)
from corotwist.totem.states import In


class TimeTests(Story):
    """
    Nodes that are not always there.
    """

    def test_longPause(self) -> None:
        """
        After a pause of five seconds there is one departure and one merge.
        [pitfall F1]
        """
        for seed in range(6):
            cluster = self.formed(seed=seed)
            before = changes(cluster)
            cluster.pause(A, 5)
            cluster.run(5)
            self.assertEqual(cluster.nodes[B].members, (B, C))
            cluster.settle(within=3)
            made = [n - b for n, b in zip(changes(cluster), before, strict=True)]
            # Each ring is a transitional and a regular configuration.
            self.assertEqual(made[1:], [4, 4])
            self.assertTrue(made[0] <= 6, made)

    def test_hundredsOfJoinsWait(self) -> None:
        """
        Nor is there a gather for each of the hundreds of joins that waited
        meanwhile.  [pitfall F1]
        """
        for seed in range(3):
            cluster = self.formed(4, seed=seed)
            gathers = ring(cluster, A).statistics.gathersEntered
            joins = capture(cluster, "join")
            cluster.pause(A, 30)
            for number in range(12):
                cluster.kill(C + number % 2)
                cluster.run(2.3)
                cluster.boot(C + number % 2)
                cluster.run(0.1)
            self.assertTrue(len(joins) > 200, len(joins))
            cluster.run(30 - cluster.seconds() + 0.2)
            cluster.settle(within=3)
            entered = ring(cluster, A).statistics.gathersEntered - gathers
            self.assertTrue(entered <= 12, entered)
            self.assertTrue(ring(cluster, A).statistics.joinsStale > 100)

    def test_shortPause(self) -> None:
        """
        A node whose time for the token is over when it wakes, but in whose
        socket the token waits, reads first: no loss is declared.
        [pitfall F2]
        """
        for seed in range(12):
            cluster = self.formed(seed=seed)
            passed: list[float] = []
            watchTokens(
                cluster,
                lambda nodeid, token, c=cluster, passed=passed: (  # type: ignore[misc]
                    passed.append(c.seconds()) if nodeid == B else None
                ),
            )
            core, patient = ring(cluster, B), cluster.timing
            core.timing = evolve(patient, token=0.6)
            cluster.run(1)
            # What waits came at the next visit, long before the deadline.
            until = passed[-1] + core.timing.token + 0.1
            self.assertTrue(passed[-1] + patient.hold > cluster.seconds())
            before = changes(cluster)
            cluster.pause(B, until - cluster.seconds())
            cluster.run(until - cluster.seconds() + 0.01)
            core.timing = patient
            cluster.run(3)
            self.assertEqual(changes(cluster), before)
            self.assertEqual(core.statistics.tokensLost, 0)
            self.assertEqual(core.statistics.pauses, 1)

    def test_pauseUnderLoad(self) -> None:
        """
        The same with messages on their way.  [pitfall F2]
        """
        for seed in range(4):
            cluster = self.formed(seed=seed)
            cluster.load(rate=100, seconds=2)
            cluster.run(0.2)
            cluster.pause(C, 0.4)
            self.assertQuiet(cluster, 1.8)
            cluster.settle()
            self.assertSame(cluster)

    def test_mediumPause(self) -> None:
        """
        A pause of a little more than the token timeout costs one new ring, of
        the same members.
        """
        cluster = self.formed()
        cluster.run(1)
        before = changes(cluster)
        cluster.pause(B, 1.3)
        cluster.run(1.3)
        cluster.settle()
        self.assertTrue(installs(cluster, before) <= 2, changes(cluster))
        self.assertEqual(cluster.nodes[B].members, (A, B, C))

    def test_timers(self) -> None:
        """
        Everything happens when the options say, to the millisecond: the hold,
        the second token, its loss, joins, consensus and the search for others.
        [pitfall F3]
        """
        cluster = self.formed(2, faults=Faults(spread=0.0))
        timing = cluster.timing
        cluster.run(10)
        at: dict[str, list[float]] = {}

        def note(kind: str) -> None:
            at.setdefault(kind, []).append(cluster.seconds())

        def watch(port: Port, targets: object, datagrams: Sequence[bytes]) -> None:
            if port.nodeid == A:
                for datagram in datagrams:
                    note(kindOf(datagram))

        cluster.network.watchers.append(watch)
        for state, cause in ((In.GATHER, "gather"), (In.COMMIT, "agreed")):
            eachTime(cluster, state, A, partial(note, cause))
        cluster.run(5)
        # Each visit of the token, two journeys away, is a hold time long.
        self.assertApart(at["token"], timing.hold + 2 * 0.0002)
        # A merge detection looks after the visit from which it counts.
        self.assertApart(at["merge"], timing.merge, more=timing.hold + 0.001)
        at.clear()
        cluster.whenSent(partial(cluster.kill, B), "token", A, B)
        cluster.run(5)
        first = at["token"][0]
        self.assertEqual(len(at["token"]), 4)
        self.assertApart(at["token"], timing.tokenRetransmit)
        # The loss is counted from when the token came, a hold time before.
        self.assertApart([first - timing.hold, at["gather"][0]], timing.token)
        self.assertApart([at["gather"][0], at["gather"][1]], timing.consensus)
        self.assertEqual(at["agreed"], [at["gather"][1]])
        joins = [time for time in at["join"] if time < at["gather"][1]]
        self.assertEqual(len(joins), round(timing.consensus / timing.join))
        self.assertApart(joins, timing.join)
        self.assertEqual(cluster.nodes[A].members, (A,))

    def assertApart(
        self, times: Sequence[float], seconds: float, more: float = 0.0
    ) -> None:
        """
        One after the other is so much later, to the millisecond.
        """
        self.assertTrue(len(times) > 1, times)
        for early, late in pairwise(times):
            apart = late - early
            self.assertTrue(
                seconds - 0.001 <= apart <= seconds + more + 0.001, (apart, seconds)
            )

    def test_restartBeforeAnybodyNoticed(self) -> None:
        """
        One that restarts within 200 ms left and joined.  [pitfall F4]
        """
        cluster = self.formed()
        cluster.kill(C)
        cluster.run(0.2)
        cluster.boot(C)
        cluster.settle(within=0.1)
        transitional, regular = cluster.nodes[A].configurations[-2:]
        self.assertEqual((transitional.members, transitional.left), ((A, B), (C,)))
        self.assertEqual((regular.members, regular.joined), ((A, B, C), (C,)))

    def test_drift(self) -> None:
        """
        Clocks that run up to a tenth too fast or too slow make no difference.
        """
        cluster = self.formed(5, seed=1, drift=0.1)
        cluster.load(rate=50, seconds=2)
        cluster.run(2)
        cluster.kill(A)
        cluster.settle()
        self.assertSame(cluster, (2, 3, 4, 5))

    def test_shortAndLongTimeouts(self) -> None:
        """
        A token timeout of 30 ms works, and so does one of an hour, or of
        twenty-four days.  [pitfall F6]
        """
        for token in (0.03, 3600.0, 2147483.648):
            cluster = self.formed(timing=timingFor(token))
            cluster.load(rate=100, seconds=0.2)
            cluster.run(0.2)
            cluster.settle(stay=False)
            self.assertSame(cluster)
            cluster.stop(C)
            cluster.settle(within=1, stay=False)

    def test_configuredTimeouts(self) -> None:
        """
        What is configured works, or is refused with the option's name.
        [pitfall F6]
        """
        for token in (
            0,
            1,
            30,
            300,
            3_600_000,
            (1 << 31) - 1,
            1 << 31,
            1 << 32,
            1 << 64,
        ):
            try:
                cluster = self.cluster(totem={"token": token})
            except ConfigurationError as error:
                self.assertFalse(300 <= token <= 3_600_000, error)
                self.assertIn("token", str(error))
            else:
                cluster.settle(stay=False)
                self.assertEqual(cluster.timing.token, token / 1000)

    def test_permuted(self) -> None:
        """
        Whatever the order of simultaneous events, all goes well.
        """
        for seed in range(5):
            cluster = self.formed(4, seed=seed, permute=True)
            cluster.load(rate=50, seconds=1)
            cluster.run(0.5)
            cluster.kill(B)
            cluster.settle()
            self.assertSame(cluster, (1, 3, 4))

    def test_clientsOfOneThatRestarted(self) -> None:
        """
        Members of process groups there are lost, and those of its next
        process gained, though they have the same names.  [pitfall F4]
        """
        cluster = self.formed(services=True)
        clients = [cluster.client(nodeid) for nodeid in (A, B, C)]
        for client in clients:
            client.join(b"group")
        cluster.run(0.1)
        restarted = clients[2].member
        cluster.kill(C)
        cluster.run(0.2)
        cluster.boot(C)
        again = cluster.client(C, restarted.pid)
        again.join(b"group")
        cluster.settle()
        view = clients[0].history[-1]
        self.assertEqual(
            [(c.member, c.reason) for c in view.left], [(restarted, Reason.NODEDOWN)]
        )
        self.assertEqual([c.member for c in view.joined], [restarted])

    def test_clockIsSet(self) -> None:
        """
        Clocks that are set an hour forward or back change nothing in a ring.
        [pitfall F5]
        """
        for key in (None, bytes(range(32))):
            for step in (3600.0, -3600.0, -1.0):
                cluster = self.formed(key=key, seed=2)
                cluster.load(rate=50, seconds=1)
                cluster.run(0.3)
                cluster.nodes[B].stepSeconds += step
                self.assertQuiet(cluster, 3)
                cluster.settle()
                self.assertSame(cluster)

    def test_clockIsSetBeforeARestart(self) -> None:
        """
        Nor do they keep a node from its ring that starts with such a clock:
        with a key, what it kept of its last start tells that this one is newer.
        [pitfall F5]
        """
        for key in (None, bytes(range(32))):
            for step in (3600.0, -3600.0):
                cluster = self.formed(key=key)
                cluster.kill(B)
                cluster.settle()
                cluster.nodes[B].stepSeconds += step
                cluster.boot(B)
                cluster.settle(within=3)
                self.assertEqual(cluster.nodes[B].members, (A, B, C))

    def test_timersOfOneTurn(self) -> None:
        """
        Of timers that are due in one turn of the reactor, one that another
        cancels does not fire, and one that is set anew in its own turn fires
        once, later.  [pitfall F7]
        """
        cluster = self.formed()
        clock = cluster.running(A).clock
        fired: list[str] = []

        def first() -> None:
            fired.append("first")
            if sibling.active():
                sibling.cancel()
            if fired.count("first") < 3:
                calls.append(clock.callLater(0.01, first))

        calls = [clock.callLater(0.01, first)]
        sibling = clock.callLater(0.01, fired.append, "sibling")
        clock.callLater(0.01, fired.append, "other")
        cluster.pause(A, 0.1)
        cluster.run(0.2)
        self.assertEqual(fired, ["first", "other", "first", "first"])

    def test_deadlinesOfOneTurn(self) -> None:
        """
        So it is in the ring: when the token's second sending and its loss are
        due at once, they come in their order, and nobody sends it who has
        given it up.  [pitfall F7]
        """
        cluster = self.formed()
        cluster.run(1)
        cluster.drop("token", count=FOREVER)
        cluster.run(0.5)
        lost: list[float] = []
        eachTime(cluster, In.GATHER, B, lambda: lost.append(cluster.seconds()))
        sent: list[float] = []
        watchTokens(
            cluster,
            lambda nodeid, token: (
                sent.append(cluster.seconds()) if nodeid == B else None
            ),
        )
        cluster.pause(B, 3)
        cluster.run(3.5)
        self.assertEqual(lost[0], max(sent))
        self.assertEqual(sent.count(lost[0]), 1)
        cluster.forget()
        cluster.settle()
