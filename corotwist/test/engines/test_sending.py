"""
Tests of the ways in which an engine says that it has sent everything.
"""

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.sync import Phase
from corotwist.errors import TryAgain
from corotwist.test.engines.probes import Probe, probed


class SendingTests(SynchronousTestCase):
    """
    Generators and Deferreds instead of L{True} and L{False}.
    """

    def _synchronizeWith(self, synchronize: Any) -> Any:
        self.patch(Probe, "synchronize", synchronize)
        net = probed(1, serviceIds=(1,))
        net.form(1)
        return net

    def test_generator(self) -> None:
        """
        A generator goes on at each visit of the token, to its end. (A78)
        """
        steps: list[int] = []

        def synchronize(probe: Probe) -> Generator[None, None, None]:
            for number in range(5):
                steps.append(number)
                yield

        net = self._synchronizeWith(synchronize)
        while not steps:
            net.rotate()
        for seen in range(len(steps), 5):
            net.visit(1)
            self.assertEqual(len(steps), seen + 1)
        self.assertEqual(net.phase(1), Phase.PROCESSING)
        net.run()
        self.assertEqual(net.phase(1), Phase.DONE)
        self.assertEqual(steps, [0, 1, 2, 3, 4])

    def test_generatorAborted(self) -> None:
        """
        When the round is aborted the generator is closed, and the next round
        begins with another one. (A78, A80)
        """
        ends: list[str] = []

        def synchronize(probe: Probe) -> Generator[None, None, None]:
            try:
                for _ in range(4):
                    yield
                ends.append("to its end")
            finally:
                ends.append("over")

        net = self._synchronizeWith(synchronize)
        while net.phase(1) is not Phase.PROCESSING:
            net.visit(1)
            net.receive(1)
        net.form(1)
        self.assertEqual(ends, ["over"])
        net.run()
        self.assertEqual(ends, ["over", "to its end", "over"])
        self.assertEqual(net.phase(1), Phase.DONE)

    def test_generatorWithoutRoom(self) -> None:
        """
        One that lets the full queue's error out begins again. (A78)
        """
        begun: list[int] = []

        def synchronize(probe: Probe) -> Generator[None, None, None]:
            begun.append(1)
            yield
            if len(begun) < 3:
                raise TryAgain("no room")

        net = self._synchronizeWith(synchronize)
        net.run()
        self.assertEqual(len(begun), 3)
        self.assertEqual(net.phase(1), Phase.DONE)

    def test_deferred(self) -> None:
        """
        A Deferred is waited for; C{synchronize} is called once. (A78)
        """
        sent: list[Deferred[None]] = []

        def synchronize(probe: Probe) -> Deferred[None]:
            sent.append(Deferred())
            return sent[-1]

        net = self._synchronizeWith(synchronize)
        for _ in range(6):
            net.rotate()
        self.assertEqual((len(sent), net.phase(1)), (1, Phase.PROCESSING))
        sent[0].callback(None)
        net.run()
        self.assertEqual(net.phase(1), Phase.DONE)

    def test_deferredWithoutRoom(self) -> None:
        """
        A Deferred that fails with the full queue's error is made anew. (A78)
        """
        begun: list[int] = []

        def synchronize(probe: Probe) -> Deferred[None]:
            begun.append(1)
            return succeed(None) if len(begun) == 3 else fail(TryAgain("no room"))

        net = self._synchronizeWith(synchronize)
        net.run()
        self.assertEqual(len(begun), 3)
        self.assertEqual(net.phase(1), Phase.DONE)

    def test_stubborn(self) -> None:
        """
        A generator that does not want to end, and a Deferred that cannot be
        cancelled, are the trouble of their engine: the others hear that the
        round is aborted. (A75, A80)
        """

        def generator(probe: Probe) -> Generator[None, None, None]:
            try:
                yield
            except GeneratorExit:
                yield

        def deferred(probe: Probe) -> Deferred[None]:
            return Deferred(refuse)

        def refuse(waits: Deferred[None]) -> None:
            raise RuntimeError("not now")

        for synchronize in (generator, deferred):
            self.patch(Probe, "synchronize", synchronize)
            net = probed(1, serviceIds=(1, 2))
            net.form(1)
            while net.phase(1) is not Phase.PROCESSING:
                net.visit(1)
                net.receive(1)
            net.form(1)
            self.assertEqual(net.phase(1), Phase.LISTING)
            for number in (1, 2):
                self.assertIn((number, "aborted"), net.calls[1])
        self.flushLoggedErrors()

    def test_deferredAborted(self) -> None:
        """
        It is cancelled when the round is aborted. (A78, A80)
        """
        ends: list[Any] = []
        sent: list[Deferred[None]] = []

        def synchronize(probe: Probe) -> Deferred[None]:
            sent.append(Deferred())
            return sent[-1].addErrback(ends.append)

        net = self._synchronizeWith(synchronize)
        for _ in range(3):
            net.rotate()
        net.form(1)
        self.assertEqual([f.type for f in ends], [CancelledError])
        for _ in range(3):
            net.rotate()
        sent[1].callback(None)
        net.run()
        self.assertEqual(net.phase(1), Phase.DONE)

    def test_failures(self) -> None:
        """
        A generator that raises, or a Deferred that fails, is logged, and the
        round goes on. (A75)
        """

        def generator(probe: Probe) -> Generator[None, None, None]:
            yield
            raise RuntimeError

        sent: Deferred[None] = Deferred()
        sent.errback(RuntimeError())
        for synchronize in (generator, lambda probe: sent):
            net = self._synchronizeWith(synchronize)
            net.run()
            self.assertEqual(net.phase(1), Phase.DONE)
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
