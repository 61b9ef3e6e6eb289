"""
Tests of the engine between a quorum device and who counts votes, and of the
heuristics.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.config.settings import DeviceSettings, QuorumSettings
from corotwist.deviceinterfaces import IQuorumDevice
from corotwist.engines.children import Program
from corotwist.engines.heuristics import Heuristics, HeuristicsSettings, Mode
from corotwist.engines.qdevice import QuorumDeviceEngine
from corotwist.engines.quoruminterfaces import (
    IQuorumDeviceState,
    IVoteSubscriber,
    VoteFlag,
)
from corotwist.errors import ConfigurationError, InvalidParameter, NotSupported
from corotwist.plugin import QuorumDeviceMaker
from corotwist.quorumdevice.values import DeviceAnswer, DeviceContext, Health
from corotwist.test.engines.orderednet import (
    SHIPPED,
    Maker,
    OrderedNet,
    nodeSettings,
)
from corotwist.totem.membership import RingId


@implementer(IQuorumDevice)
class FakeDevice:
    """
    A device of a third party, which says what a test wants.

    @ivar asked: rings, members and health.
    """

    def __init__(
        self, made: dict[int, "FakeDevice"], clock: Any, context: DeviceContext
    ) -> None:
        self.clock = clock
        self.context = context
        self.asked: list[tuple[RingId, tuple[int, ...], Health]] = []
        self.told: Callable[[Any], object] | None = None
        self.stopped = 0
        self.nodes: tuple[int, ...] = ()
        made[context.nodeid] = self

    def start(self, told: Callable[[Any], object]) -> None:
        self.told = told

    def listed(self, nodes: tuple[int, ...]) -> None:
        self.nodes = nodes

    def ask(self, ringId: RingId, members: tuple[int, ...], health: Health) -> None:
        self.asked.append((ringId, members, health))

    def say(self, vote: bool, seconds: float = 10.0) -> None:
        """
        Answer the last question.
        """
        assert self.told is not None
        until = self.clock.seconds() + seconds if vote else 0.0
        self.told(DeviceAnswer(self.asked[-1][0], vote, until, "because"))

    def stop(self) -> Deferred[None]:
        self.stopped += 1
        return succeed(None)

    def status(self) -> dict[str, Any]:
        return {"summary": "fake"}


class EngineCase(SynchronousTestCase):
    """
    Two nodes with a device that has one vote.
    """

    def setUp(self) -> None:
        self.devices: dict[int, FakeDevice] = {}
        makers = (
            *SHIPPED,
            Maker("qdevice", QuorumDeviceEngine),
            QuorumDeviceMaker("fake", 1, partial(FakeDevice, self.devices)),
        )
        self.net = OrderedNet(makers, 2)
        device = DeviceSettings("fake", votes=1)
        quorum = QuorumSettings(
            "corosync_votequorum", 3, voters=((1, 1), (2, 1)), device=device
        )
        self.net.boot(1, 2, quorum=quorum)

    def form(self, *members: int) -> None:
        self.net.form(*members)
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        """
        A little time, and everything that follows; a round of synchronization
        may wait for a device.
        """
        self.net.clock.advance(seconds)
        for _ in range(30):
            self.net.rotate()
            self.net.clock.advance(0)

    def quorate(self, *nodeids: int) -> list[bool]:
        return [self.net.nodes[n].engine("quorum").quorate() for n in nodeids]

    def engine(self, nodeid: int) -> Any:
        return self.net.nodes[nodeid].engine("qdevice")

    def together(self) -> None:
        """
        Both on one ring, with the vote.
        """
        self.form(1, 2)
        for device in self.devices.values():
            device.say(True)
        self.turn()


class DeviceEngineTests(EngineCase):
    """
    What is asked, and what becomes of the answer.
    """

    def test_interfaces(self) -> None:
        """
        The engine hears of votes, and shows the device.
        """
        verifyObject(IVoteSubscriber, self.engine(1))
        verifyObject(IQuorumDeviceState, self.engine(1))
        verifyObject(IQuorumDevice, self.devices[1])

    def test_asked(self) -> None:
        """
        A device of another package is found by its model, told about its node,
        and asked at each change of the ring.  (C14)
        """
        self.assertEqual(self.devices[1].context.nodes, (1, 2))
        self.form(1, 2)
        ((ringId, members, health),) = self.devices[1].asked
        self.assertEqual((members, health), ((1, 2), Health.UNKNOWN))
        self.assertEqual(ringId, self.engine(1).cluster.ringId())

    def test_registered(self) -> None:
        """
        Who counts votes knows the device, and that it is alive.  (C13)
        """
        self.together()
        flags = self.net.nodes[1].engine("votequorum").info().flags
        wanted = VoteFlag.DEVICE_REGISTERED | VoteFlag.DEVICE_ALIVE
        self.assertEqual(flags & wanted, wanted)
        self.assertTrue(flags & VoteFlag.DEVICE_CAST_VOTE)

    def test_alone(self) -> None:
        """
        A node that is alone acts with the vote of the device, and does not
        without.  [pitfall J10] (C14)
        """
        self.together()
        self.assertEqual(self.quorate(1, 2), [True, True])
        self.net.form(1)
        self.net.form(2)
        self.turn()
        self.devices[1].say(True)
        self.devices[2].say(False)
        self.turn()
        self.assertEqual(self.quorate(1, 2), [True, False])

    def test_waitedFor(self) -> None:
        """
        A round waits for what the device says about the new ring.  (C16)
        """
        self.together()
        self.form(1)
        manager = self.net.nodes[1].manager
        self.assertTrue(manager.synchronizing())
        self.devices[1].say(False)
        self.turn()
        self.assertFalse(manager.synchronizing())
        self.assertEqual(self.quorate(1), [False])

    def test_ends(self) -> None:
        """
        A vote that is not renewed ends with its time.  (C14)
        """
        self.together()
        self.form(1)
        self.devices[1].say(True, 5.0)
        self.turn()
        self.assertEqual(self.quorate(1), [True])
        self.assertGreater(self.engine(1).validUntil(), 0)
        self.turn(4.9)
        self.assertEqual(self.quorate(1), [True])
        self.turn(0.2)
        self.assertEqual(self.quorate(1), [False])

    def test_renewed(self) -> None:
        """
        While it is renewed it is good, and the device counts as alive.  (C16)
        """
        self.together()
        self.form(1)
        for _ in range(20):
            self.devices[1].say(True, 5.0)
            self.turn(2.0)
            self.assertEqual(self.quorate(1), [True])

    def test_verdictEnds(self) -> None:
        """
        A verdict is good for no longer than the device votes for us, whatever
        the lease.  (C22)
        """
        self.together()
        quorum = self.net.nodes[1].engine("quorum")
        now = self.net.clock.seconds()
        for lease, ends in ((now + 2.0, now + 2.0), (now + 60.0, now + 10.0)):
            self.net.nodes[1].totem.lease = lease
            told = quorum.explanation()["validUntil"]
            self.assertAlmostEqual(told / 1e9, ends)

    def test_otherRing(self) -> None:
        """
        What is said about an earlier ring does not count.  [pitfall J11] (C14)
        """
        self.together()
        late = self.devices[1].asked[-1][0]
        self.form(1)
        assert self.devices[1].told is not None
        self.devices[1].told(DeviceAnswer(late, True, 1e9, "late"))
        self.turn()
        self.assertFalse(self.engine(1).status()["vote"])
        self.devices[1].say(False)
        self.turn()
        self.assertEqual(self.quorate(1), [False])

    def test_shown(self) -> None:
        """
        The state of the device is shown, and what the other nodes say of
        theirs.  (C17)
        """
        self.together()
        self.turn(1.0)
        status = self.engine(1).status()
        self.assertEqual((status["vote"], status["registered"]), (True, True))
        self.assertEqual(status["device"], {"summary": "fake"})
        self.assertEqual(status["nodes"]["2"], "fake: votes for us: because")

    def test_listed(self) -> None:
        """
        A device hears of another node list, and of nothing else.  (C14)
        """
        settings = self.net.nodes[1].manager.settings
        self.net.nodes[1].manager.reconfigured(settings)
        self.assertEqual(self.devices[1].nodes, ())
        more = nodeSettings(1, 5).totem
        self.net.nodes[1].manager.reconfigured(evolve(settings, totem=more))
        self.assertEqual(self.devices[1].nodes, (1, 2, 3, 4, 5))

    def test_stopped(self) -> None:
        """
        A node that stops takes its device along.
        """
        self.together()
        self.net.nodes[1].manager.stop()
        self.turn()
        self.assertEqual(self.devices[1].stopped, 1)

    def test_wrongModel(self) -> None:
        """
        A model that nobody has stops the node from starting, with the names of
        those that there are.
        """
        engine = QuorumDeviceEngine()
        settings = nodeSettings(
            quorum=QuorumSettings("corosync_votequorum", device=DeviceSettings("fax"))
        )
        error = self.assertRaises(
            ConfigurationError, engine.initialize, self.engine(1).cluster, settings
        )
        self.assertIn("fake", str(error))


class FakeCluster:
    """
    Starts nothing, and keeps time by hand.
    """

    def __init__(self) -> None:
        self.children: list[Any] = []
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.refused = False

    def spawn(self, program: Program) -> Any:
        if self.refused:
            raise NotSupported("no processes")
        child = FakeChild(program)
        self.children.append(child)
        return child

    def callAfter(self, delay: int, callback: Callable[[], None]) -> Any:
        timer = (delay, callback)
        self.timers.append(timer)
        return timer

    def cancel(self, timer: Any) -> None:
        if timer in self.timers:
            self.timers.remove(timer)

    def elapse(self) -> None:
        """
        The first timer is due.
        """
        _, callback = self.timers.pop(0)
        callback()


class FakeChild:
    """
    A process that ends when a test says so.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ended: Deferred[Any] = Deferred()
        self.succeeded = False
        self.reason = "exit status 1"
        self.stopped = 0

    def end(self, *, good: bool) -> None:
        self.succeeded = good
        self.ended.callback(None)

    def stop(self) -> None:
        self.stopped += 1


class HeuristicsTests(SynchronousTestCase):
    """
    Commands, and what is made of how they end.
    """

    def begin(self, **options: str) -> Heuristics:
        given = {"mode": "on", "exec_a": "/bin/a -x", "exec_b": "/bin/b", **options}
        cluster: Any = FakeCluster()
        self.cluster = cluster
        self.told: list[Health] = []
        settings = HeuristicsSettings.of(given, 10.0, 30.0)
        return Heuristics(cluster, settings, self.told.append)

    def test_settings(self) -> None:
        """
        Times follow from those of the device unless they are given; without a
        command nothing runs.  (C15)
        """
        settings = self.begin().settings
        self.assertEqual(settings.commands[0], ("a", ("/bin/a", "-x")))
        times = (settings.seconds, settings.syncSeconds, settings.interval)
        self.assertEqual(times, (5.0, 15.0, 30.0))
        given = {"mode": "sync", "timeout": "100", "exec_a": "/bin/a"}
        settings = HeuristicsSettings.of(given, 10.0, 30.0)
        self.assertEqual((settings.seconds, settings.mode), (0.1, Mode.SYNC))
        self.assertIs(HeuristicsSettings.of({"mode": "on"}, 1, 1).mode, Mode.OFF)

    def test_wrong(self) -> None:
        """
        What cannot be run is refused before anything runs.
        """
        for options in (
            {"mode": "often"},
            {"exec_a": "ping router"},
            {"exec_a": "/bin/ping 'router"},
            {"timeout": "soon"},
        ):
            self.assertRaises(InvalidParameter, HeuristicsSettings.of, options, 1, 1)

    def test_allSucceed(self) -> None:
        """
        All commands have to succeed.  (C15)
        """
        heuristics = self.begin()
        heuristics.ringChanged()
        first, second = self.cluster.children
        first.end(good=True)
        self.assertEqual(self.told, [])
        second.end(good=True)
        self.assertEqual(self.told, [Health.PASSED])

    def test_oneFails(self) -> None:
        """
        The first that fails decides, and the others are stopped.  (C15)
        """
        heuristics = self.begin()
        heuristics.ringChanged()
        first, second = self.cluster.children
        first.end(good=False)
        self.assertEqual((self.told, second.stopped), ([Health.FAILED], 1))
        second.end(good=True)
        self.assertEqual(len(self.told), 1)
        self.assertEqual(heuristics.status()["reason"], "a: exit status 1")

    def test_tooLong(self) -> None:
        """
        A command that takes too long has failed, and is stopped.  (C15, C16)
        """
        heuristics = self.begin()
        heuristics.ringChanged()
        self.assertEqual(self.cluster.timers[0][0], 15_000_000_000)
        self.cluster.elapse()
        self.assertEqual(self.told, [Health.FAILED])
        self.assertEqual([c.stopped for c in self.cluster.children], [1, 1])

    def test_regularly(self) -> None:
        """
        With mode on they run again after the interval, with the shorter limit;
        with sync they do not.  (C15)
        """
        for mode, times in (("on", [30_000_000_000]), ("sync", [])):
            heuristics = self.begin(mode=mode)
            heuristics.ringChanged()
            for child in self.cluster.children:
                child.end(good=True)
            self.assertEqual([delay for delay, _ in self.cluster.timers], times)
        heuristics = self.begin()
        heuristics.ringChanged()
        for child in self.cluster.children:
            child.end(good=True)
        self.cluster.elapse()
        self.assertEqual(self.cluster.timers[0][0], 5_000_000_000)

    def test_off(self) -> None:
        """
        Without heuristics nothing is known, and said at once.  (C15)
        """
        heuristics = self.begin(mode="off")
        heuristics.ringChanged()
        self.assertEqual((self.told, self.cluster.children), ([Health.UNKNOWN], []))

    def test_changedAgain(self) -> None:
        """
        When the ring changes again the commands begin anew.
        """
        heuristics = self.begin()
        heuristics.ringChanged()
        before = list(self.cluster.children)
        heuristics.ringChanged()
        for child in before:
            child.end(good=False)
        self.assertEqual((self.told, before[0].stopped), ([], 1))
        heuristics.stop()
        self.assertEqual(self.cluster.timers, [])

    def test_notStarted(self) -> None:
        """
        What cannot be started has failed.
        """
        heuristics = self.begin()
        self.cluster.refused = True
        heuristics.ringChanged()
        self.assertEqual(self.told, [Health.FAILED])
