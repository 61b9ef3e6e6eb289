"""
Tests of stopping in order.
"""

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from corotwist.config.settings import EngineSettings
from corotwist.engines import holds, roster
from corotwist.errors import NoSpace
from corotwist.interfaces import IShutdownAware
from corotwist.test.engines.orderednet import OrderedNet
from corotwist.test.engines.probes import Probe, makers


@implementer(IShutdownAware)
class Mover(Probe):
    """
    An engine with work to move away.

    @ivar hold: what it holds the shutdown with.
    """

    hold: Any = None

    def shutdownProposed(self, reason: str) -> None:
        self._called("proposed", reason)
        self.hold = self.cluster.holdShutdown("2 jobs run here")


class Slow(Probe):
    """
    An engine that takes its time to stop.

    @ivar ending: what it returns then.
    """

    ending: Any = None

    def shutdown(self) -> Any:
        return self.ending


class StoppingTests(SynchronousTestCase):
    """
    Who holds a shutdown, and for how long.
    """

    def setUp(self) -> None:
        self.calls: list[Any] = []
        self.mover = Mover(1, self.calls, "mover")
        self.other = Slow(2, self.calls, "other")
        self.net = OrderedNet(makers(self.mover, self.other))
        self.net.boot(1)
        self.net.form(1)
        self.net.run()
        self.manager = self.net.nodes[1].manager
        self.told: list[Any] = []
        self.manager.facilities.holds.observers.append(
            lambda *details: self.told.append(details)
        )

    def _prepare(self) -> Deferred[None]:
        return self.manager.prepareStop("maintenance")

    def test_waits(self) -> None:
        """
        The node stops when the work has moved; everything still works until
        then, and it can be seen what is waited for. (A63, A73)
        """
        waits = self._prepare()
        self.assertNoResult(waits)
        self.assertEqual(self.calls[-1], (1, "proposed", "maintenance"))
        self.other.cluster.multicast(0, b"still here")
        self.net.run()
        self.assertIn((2, "message", 1, 0, b"still here"), self.calls)
        self.assertEqual(self.told, [("maintenance", ("mover: 2 jobs run here",))])
        self.assertEqual(
            self.manager.dump()["shutdown"],
            {"proposed": "maintenance", "holding": ["mover: 2 jobs run here"]},
        )
        self.mover.hold.release()
        self.successResultOf(waits)
        self.mover.hold.release()

    def test_reminders(self) -> None:
        """
        While it takes long, everybody is told again, with the reason of now.
        """
        self._prepare()
        self.mover.hold.reason = "1 job runs here"
        self.net.clock.advance(holds.REMINDER_SECONDS)
        self.assertEqual(self.told[1:], [("maintenance", ("mover: 1 job runs here",))])
        self.mover.hold.release()
        self.net.clock.advance(holds.REMINDER_SECONDS)
        self.assertEqual(len(self.told), 2)

    def test_limit(self) -> None:
        """
        Not for longer than the configuration allows. (A63)
        """
        engines = EngineSettings(shutdownSeconds=5.0)
        self.manager.settings = evolve(self.manager.settings, engines=engines)
        waits = self._prepare()
        self.net.clock.advance(4.9)
        self.assertNoResult(waits)
        self.net.clock.advance(0.1)
        self.successResultOf(waits)

    def test_forced(self) -> None:
        """
        Whoever asks a second time means it; engines are told once. (A63)
        """
        waits = self._prepare()
        self.successResultOf(self.manager.prepareStop("now"))
        self.successResultOf(waits)
        self.assertEqual([c[1] for c in self.calls].count("proposed"), 1)

    def test_nobody(self) -> None:
        """
        Without a reason nothing waits.
        """
        self.patch(Mover, "shutdownProposed", lambda *_: None)
        self.successResultOf(self._prepare())
        self.assertEqual(self.told, [])

    def test_bounded(self) -> None:
        """
        There are only so many reasons.
        """
        self.patch(holds, "MOST_HOLDS", 1)
        self.other.cluster.holdShutdown("one")
        self.assertRaises(NoSpace, self.other.cluster.holdShutdown, "two")

    def test_slowEngine(self) -> None:
        """
        An engine may return a Deferred when it is asked to stop; those below
        it wait for that. (A63)
        """
        ending: Deferred[None] = Deferred()
        self.other.ending = ending
        stopped = self.manager.stop()
        self.assertNotIn((1, "shutdown"), self.calls)
        ending.callback(None)
        self.assertIn((1, "shutdown"), self.calls)
        self.successResultOf(stopped)

    def test_tooSlowEngine(self) -> None:
        """
        For some seconds; then the others stop, also when it fails. (A63)
        """
        self.other.ending = Deferred()
        stopped = self.manager.stop()
        self.net.clock.advance(roster.SLOW_SHUTDOWN_SECONDS - 0.1)
        self.assertNoResult(stopped)
        self.net.clock.advance(0.1)
        self.successResultOf(stopped)
        self.assertIn((1, "shutdown"), self.calls)

    def test_failingEngine(self) -> None:
        """
        What its end fails with is logged.
        """
        failing: Deferred[None] = Deferred()
        failing.errback(RuntimeError())
        self.other.ending = failing
        self.successResultOf(self.manager.stop())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
