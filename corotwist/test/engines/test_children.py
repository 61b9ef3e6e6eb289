"""
Tests of the processes that engines look after, on a simulated machine.
"""

from typing import Any

from twisted.internet.interfaces import IProcessTransport
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider, verify

from corotwist.engines import children
from corotwist.engines.children import Child, Children, Program, Respawn, State
from corotwist.engines.manager import ServiceManager
from corotwist.engines.place import FAILURES_TOLERATED
from corotwist.errors import Exists, InvalidParameter, NoSpace, NotSupported
from corotwist.simulator.programs import Programs, SimulatedProcess
from corotwist.test.engines.orderednet import MemoryTotem, nodeSettings
from corotwist.test.engines.probes import Probe, makers

PATH = "/usr/bin/job"


class Machine:
    """
    A reactor as far as children need one.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.programs = Programs({PATH: lambda process: None})

    def spawnProcess(
        self,
        protocol: Any,
        executable: str,
        args: Any,
        env: Any,
        **others: Any,
    ) -> SimulatedProcess:
        return self.programs.spawn(self.clock, protocol, executable, args, env)

    @property
    def last(self) -> SimulatedProcess:
        return self.programs.started[-1]


class ChildrenTests(SynchronousTestCase):
    """
    What becomes of a child.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.machine = Machine(self.clock)
        self.children = Children(self.clock, self.machine)

    def _spawn(self, name: str = "job", **options: Any) -> Child:
        return self.children.spawn("probe", _program(name, **options), _call)

    def _starts(self) -> int:
        return len(self.machine.programs.started)

    def test_started(self) -> None:
        """
        A child runs with its arguments and its environment, and no other.
        (A76)
        """
        child = self._spawn(environment={"MODE": "fast"})
        self.assertEqual(child.state, State.RUNNING)
        self.assertEqual(child.pid, self.machine.last.pid)
        self.assertEqual(self.machine.last.arguments, (PATH, "--once"))
        self.assertEqual(self.machine.last.environment, {"MODE": "fast"})

    def test_respawn(self) -> None:
        """
        One that ends is started again after a pause, which doubles, up to a
        limit. (A76)
        """
        reasons: list[str] = []
        child = self._spawn(longestPause=0.3, mostRestarts=10)
        child.onEnd = reasons.append
        for pause in (0.1, 0.2, 0.3, 0.3):
            before = self._starts()
            self.machine.last.signalProcess("KILL")
            self.clock.advance(0)
            self.assertEqual(child.state, State.PAUSING)
            self.clock.advance(pause - 0.01)
            self.assertEqual(self._starts(), before)
            self.clock.advance(0.01)
            self.assertEqual(self._starts(), before + 1)
        self.assertEqual(reasons, ["signal 9"] * 4)
        self.assertEqual(child.starts, 5)

    def test_steady(self) -> None:
        """
        Who ran for long begins with the shortest pause again. (A76)
        """
        self._spawn(steady=10.0)
        for ran in (0, 0, 10):
            self.clock.advance(ran)
            self.machine.last.exit(1)
            self.clock.advance(0)
            self.clock.advance(0.2 if not ran else 0.1)
        self.assertEqual(self._starts(), 4)

    def test_givenUp(self) -> None:
        """
        One that ends too often is given up, its owner hears of it, and the
        last it said can be seen. (A76)
        """
        self.machine.programs.installed[PATH] = _failing
        child = self._spawn(mostRestarts=3, within=60.0)
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.successResultOf(child.ended), State.GIVEN_UP)
        self.assertEqual(child.starts, 4)
        status = self.children.status()["probe/job"]
        self.assertEqual(status["reason"], "exit status 3")
        self.assertEqual(status["lastLines"], ["no such file"] * 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oftenButSlowly(self) -> None:
        """
        Ends that are far apart are not too many. (A76)
        """
        child = self._spawn(mostRestarts=2, within=10.0, longestPause=0.5)
        for _ in range(8):
            self.clock.advance(6)
            self.machine.last.exit(1)
            self.clock.pump([0, 0.5, 0.5])
        self.assertEqual(child.state, State.RUNNING)

    def test_policies(self) -> None:
        """
        One is started again always, or when it failed, or never. (A76)
        """
        for respawn, status, over in [
            (Respawn.ALWAYS, 0, False),
            (Respawn.ON_FAILURE, 0, True),
            (Respawn.ON_FAILURE, 1, False),
            (Respawn.NEVER, 1, True),
        ]:
            child = self._spawn(f"{respawn}{status}", respawn=respawn)
            self.machine.last.exit(status)
            self.clock.advance(0)
            self.assertEqual(child.over, over, (respawn, status))

    def test_notInstalled(self) -> None:
        """
        A program that is not there fails like one that ends badly. (A76)
        """
        child = self._spawn(command=("/no/such/program",), mostRestarts=0)
        self.clock.advance(0)
        self.assertEqual(child.state, State.GIVEN_UP)

    def test_cannotBeStarted(self) -> None:
        """
        Nor does the lack of processes raise. (A76)
        """

        def spawnProcess(*_: Any, **others: Any) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        self.patch(self.machine, "spawnProcess", spawnProcess)
        child = self._spawn()
        self.assertEqual(
            child.reason, "cannot be started: Resource temporarily unavailable"
        )
        self.assertEqual(child.state, State.PAUSING)

    def test_refusedByTheReactor(self) -> None:
        """
        Nor does a program that no system could run, and it can be stopped.
        (A76)
        """

        def spawnProcess(*_: Any, **others: Any) -> None:
            raise TypeError("Arguments contain a non-string value")

        self.patch(self.machine, "spawnProcess", spawnProcess)
        child = self._spawn()
        self.assertIn("non-string value", child.reason)
        self.successResultOf(child.stop())
        self.assertEqual(child.state, State.ENDED)

    def test_stopAtItsEnd(self) -> None:
        """
        One whose owner stops it when he hears that it ended is not started
        again. (A76)
        """
        child = self._spawn()
        child.onEnd = lambda reason: child.stop()
        self.machine.last.exit(1)
        self.clock.advance(60)
        self.assertEqual(self._starts(), 1)
        self.assertEqual(child.state, State.ENDED)

    def test_stop(self) -> None:
        """
        A child is asked to end, and is not started again. (A76)
        """
        child = self._spawn()
        stopped = [child.stop(), child.stop()]
        self.clock.advance(0)
        for waits in stopped:
            self.successResultOf(waits)
        self.assertEqual(child.reason, "signal 15")
        self.assertEqual(self.successResultOf(child.ended), State.ENDED)
        self.successResultOf(child.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stubborn(self) -> None:
        """
        One that does not want to end is killed after a while. (A76)
        """
        heard: list[str] = []
        child = self._spawn(patience=5.0)
        self.machine.last.onSignal = heard.append
        stopped = child.stop()
        self.clock.advance(4.9)
        self.assertEqual(heard, ["TERM"])
        self.assertNoResult(stopped)
        self.clock.pump([0.1, 0])
        self.successResultOf(stopped)
        self.assertEqual(child.reason, "signal 9")

    def test_stopWhilePausing(self) -> None:
        """
        One that waits to be started again need not be asked.
        """
        child = self._spawn()
        self.machine.last.exit(1)
        self.clock.advance(0)
        self.successResultOf(child.stop())
        self.clock.advance(60)
        self.assertEqual(self._starts(), 1)

    def test_signal(self) -> None:
        """
        A signal goes to the process, if there is one.
        """
        heard: list[str] = []
        child = self._spawn()
        self.machine.last.onSignal = heard.append
        child.signal("HUP")
        self.machine.last.exit()
        self.clock.advance(0)
        child.signal("HUP")
        self.assertEqual(heard, ["HUP"])

    def test_bounds(self) -> None:
        """
        Names are unique among the children of an engine, and there are only so
        many; those that are over make room.
        """
        self.patch(children, "MOST_CHILDREN", 2)
        first = self._spawn("one")
        self._spawn("two")
        self.assertRaises(Exists, self._spawn, "one")
        self.assertRaises(NoSpace, self._spawn, "three")
        first.stop()
        self.clock.advance(0)
        self._spawn("three")

    def test_successor(self) -> None:
        """
        One that is about to end has a successor already, of its name; it is
        the one that is shown. (A76)
        """
        first = self._spawn()
        self.machine.last.onSignal = lambda name: None
        stopped = first.stop()
        second = self._spawn()
        self.assertEqual(self.children.status()["probe/job"]["pid"], second.pid)
        self.clock.pump([5.0, 0])
        self.successResultOf(stopped)
        self.assertEqual(second.state, State.RUNNING)
        self.assertEqual([*self.children.of("probe")], [first, second])

    def test_noProcesses(self) -> None:
        """
        Where there are no processes an engine is told so.
        """
        lone = Children(self.clock, None)
        self.assertRaises(NotSupported, lone.spawn, "probe", _program(), _call)

    def test_programs(self) -> None:
        """
        What cannot be run, or not be looked after, is refused.
        """
        for wrong in (
            {"name": ""},
            {"command": ()},
            {"firstPause": 0.0},
            {"patience": -1.0},
            {"mostRestarts": -1},
        ):
            with self.assertRaises(InvalidParameter):
                _program(**wrong)  # type: ignore[arg-type]

    def test_processInterface(self) -> None:
        """
        A simulated process is what a reactor gives.
        """
        self._spawn()
        verify.verifyObject(IProcessTransport, self.machine.last)


class OutputTests(SynchronousTestCase):
    """
    What children print.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.machine = Machine(self.clock)
        self.child = Children(self.clock, self.machine).spawn(
            "probe", _program(), _call
        )
        self.lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if "line" in event:
                self.lines.append(event["line"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_lines(self) -> None:
        """
        It becomes log lines, however it came in pieces; the last one may have
        no end. (A76)
        """
        for piece in ("one\ntw", "o\r\n", "\nlast"):
            self.machine.last.print(piece)
        self.assertEqual(self.lines, ["one", "two", ""])
        self.machine.last.exit()
        self.clock.advance(0)
        self.assertEqual(self.lines[3:], ["last"])

    def test_long(self) -> None:
        """
        A line that never ends is cut into pieces. (A76)
        """
        self.machine.last.print("x" * (children.LONGEST_LINE + 1))
        self.machine.last.print("rest\n")
        self.assertEqual([len(line) for line in self.lines], [children.LONGEST_LINE, 4])

    def test_flood(self) -> None:
        """
        Of too many lines some are dropped, and counted. (A76)
        """
        self.machine.last.print("x\n" * (children.LINES_PER_SECOND + 5))
        self.assertEqual(len(self.lines), children.LINES_PER_SECOND)
        self.clock.advance(1)
        self.machine.last.print("again\n")
        self.assertEqual(self.lines[-2:], ["(5 lines more were not logged)", "again"])

    def test_noText(self) -> None:
        """
        Whatever it prints can be shown.
        """
        self.machine.last._protocol.childDataReceived(2, b"\xff\n")
        self.assertEqual(self.lines, ["\\xff"])


class EngineTests(SynchronousTestCase):
    """
    Children of an engine at its node.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.machine = Machine(self.clock)
        self.probe = Probe(1, [], "probe")
        self.manager = ServiceManager(
            self.clock,
            MemoryTotem(1),
            nodeSettings(),
            makers(self.probe),
            processes=self.machine,
        )
        self.successResultOf(self.manager.start())

    def test_stopsWithItsEngine(self) -> None:
        """
        When the node stops, the children end after their engine, and before
        it is over. (A76)
        """
        child = self.probe.cluster.spawn(_program())
        self.assertEqual(self.probe.cluster.children(), (child,))
        self.assertIn("probe/job", self.manager.dump()["children"])
        stopped = self.manager.stop()
        self.assertEqual(self.probe.calls[-1], (1, "shutdown"))
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(child.over)

    def test_engineOutOfService(self) -> None:
        """
        So they do when it is taken out of service. (A75, A76)
        """
        child = self.probe.cluster.spawn(_program())
        self.manager.roster.places[1].fail()
        self.clock.advance(0)
        self.assertEqual(child.state, State.ENDED)

    def test_lastStraw(self) -> None:
        """
        An engine that is taken out of service because of what it raises when a
        child ends does not get the child back. (A75, A76)
        """
        child = self.probe.cluster.spawn(_program())
        child.onEnd = lambda reason: 1 / 0
        self.manager.roster.places[1].failures = FAILURES_TOLERATED - 1
        self.machine.last.exit(1)
        self.clock.advance(60)
        self.assertEqual(child.state, State.ENDED)
        self.assertEqual(len(self.machine.programs.started), 1)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_trouble(self) -> None:
        """
        What the engine raises when a child ends is its own trouble. (A75)
        """
        child = self.probe.cluster.spawn(_program())
        child.onEnd = lambda reason: 1 / 0
        self.machine.last.exit(1)
        self.clock.advance(0)
        self.assertEqual(child.state, State.PAUSING)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


def _program(name: str = "job", **options: Any) -> Program:
    return Program(name, **{"command": (PATH, "--once"), **options})


def _call(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


def _failing(process: SimulatedProcess) -> None:
    process.print("no such file\n")
    process.exit(3)
