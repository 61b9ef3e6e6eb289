"""
The shell round the ring.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.config.settings import NodeEntry, TotemSettings
from corotwist.errors import (
    BadCount,
    ConfigurationError,
    ForgedFrame,
    StorageRefused,
    TruncatedFrame,
)
from corotwist.interfaces import (
    IDatagramReceiver,
    IRingStorage,
    ITotemListener,
    ITransport,
)
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Dropped,
    Effect,
    Multicast,
    Stable,
    StateChanged,
    StoreRingId,
    TokenPassed,
    Unicast,
    Warned,
)
from corotwist.totem.fragments import Outbox
from corotwist.totem.frame import OVERHEAD, Opener, Sealer, deriveKey
from corotwist.totem.membership import Configuration, Guarantee, RingId
from corotwist.totem.ring import Ring
from corotwist.totem.transport import (
    DATA_HEADER_BYTES,
    DROP_LOG_INTERVAL,
    LARGEST_DATAGRAM,
    TotemProtocol,
    frameBytes,
)
from corotwist.totem.window import Window

ME, PEER, THIRD = 1, 2, 3
RING = RingId(8, 1)
ADDRESS = ("127.0.0.2", 5405)
KEY = deriveKey(b"k" * 128, "storage")
SALT = b"saltsalt"


class FakeRing:
    """
    Answers each input with effects that a test has prepared, and keeps what
    it was told.
    """

    def __init__(self) -> None:
        self.nodeid = ME
        self.deadline: float | None = None
        self.inputs: list[tuple[Any, ...]] = []
        self.answers: dict[str, list[list[Effect] | None]] = {}
        self.bug: Exception | None = None
        self.window = Window(RING)
        self.stabilityWanted = self.idle = False

    def answer(self, name: str, *effects: Effect) -> None:
        """
        What the next input of that name gives.
        """
        self.answers.setdefault(name, []).append(list(effects))

    def _told(self, name: str, *arguments: object) -> list[Effect] | None:
        self.inputs.append((name, *arguments))
        if self.bug is not None:
            raise self.bug
        answers = self.answers.get(name)
        return answers.pop(0) if answers else []

    def start(self, stored: int | None, now: float) -> list[Effect] | None:
        return self._told("start", stored, now)

    def framesReceived(self, frames: Iterable[bytes], now: float) -> object:
        return self._told("frames", list(frames), now)

    def advance(self, now: float) -> object:
        self.deadline = None
        return self._told("advance", now)

    def submit(
        self, message: bytes, guarantee: Guarantee, now: float, *, later: bool = False
    ) -> object:
        return self._told("later" if later else "submit", message, guarantee, now)

    def ringIdStored(self, now: float) -> object:
        return self._told("stored", now)

    def ringIdRefused(self, reason: str, now: float) -> object:
        return self._told("refused", reason, now)

    def synchronized(self, now: float) -> object:
        return self._told("synchronized", now)

    def wantStability(self, now: float) -> object:
        self.stabilityWanted = True
        return self._told("stability", now)

    def leave(self, now: float) -> object:
        return self._told("leave", now)

    def names(self) -> list[str]:
        return [told[0] for told in self.inputs]


@implementer(ITransport)
class FakeNetwork:
    """
    Keeps what is sent.
    """

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.receiver: Any = None
        self.waiting: list[bytes] = []
        self.drained = 0

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def stop(self) -> Deferred[None]:
        self.stopped: Deferred[None] = Deferred()
        self.sent.append(("stop",))
        return self.stopped

    def unicast(self, nodeid: int, datagram: bytes) -> None:
        self.sent.append((nodeid, datagram))

    def multicast(self, datagrams: Sequence[bytes]) -> None:
        self.sent.append(("all", *datagrams))

    def drain(self) -> None:
        self.drained += 1
        waiting, self.waiting = self.waiting, []
        if waiting:
            self.receiver.datagramsReceived(waiting, ADDRESS)

    def statistics(self) -> Mapping[str, int]:
        return {}


@implementer(IRingStorage)
class FakeStorage:
    """
    Stores when a test says so.
    """

    def __init__(self) -> None:
        self.stores: list[tuple[int, Deferred[None]]] = []

    def load(self) -> int | None:
        return None

    def store(self, sequence: int) -> Deferred[None]:
        stored: Deferred[None] = Deferred()
        self.stores.append((sequence, stored))
        return stored

    def stamp(self, now: int) -> int:
        return now


@implementer(ITotemListener)
class Listener:
    """
    Keeps what it hears; C{hooks} are called before it returns.
    """

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.guarantees: list[Guarantee] = []
        self.hooks: dict[str, Callable[[], Any]] = {}

    def _hook(self, name: str) -> None:
        if name in self.hooks:
            self.hooks[name]()

    def configurationChanged(self, configuration: Configuration) -> None:
        self.heard.append(configuration)
        self._hook("configuration")

    def messageDelivered(
        self,
        nodeid: int,
        message: bytes,
        byteOrder: str,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> None:
        self.heard.append((nodeid, message, byteOrder))
        self.guarantees.append(guarantee)
        self._hook("message")

    def tokenPassed(self) -> None:
        self.heard.append("token")
        self._hook("token")


def packed(*messages: bytes, frameBytes: int = 1000) -> list[bytes]:
    """
    Payloads that carry these messages.
    """
    outbox = Outbox(frameBytes, 1 << 20)
    for message in messages:
        assert outbox.add(message, Guarantee.AGREED)
    payloads = []
    while outbox.frames():
        payloads.append(outbox.take()[0])
    return payloads


def deliver(
    payload: bytes, nodeid: int = PEER, sequence: int = 1, safe: int = 0
) -> Deliver:
    return Deliver(nodeid, payload, RING, sequence, "<", safe)


def ring(*members: int, joined: tuple[int, ...] = ()) -> ConfigurationChanged:
    return ConfigurationChanged(Configuration(RING, members, False, joined=joined))


def transition(*members: int, left: tuple[int, ...] = ()) -> ConfigurationChanged:
    return ConfigurationChanged(Configuration(RING, members, True, left=left))


@define
class Shell:
    """
    A protocol with everything around it faked.
    """

    clock: Clock
    ring: FakeRing
    network: FakeNetwork
    storage: FakeStorage
    listener: Listener
    protocol: TotemProtocol

    @classmethod
    def make(
        cls, sealer: Sealer | None = None, opener: Opener | None = None
    ) -> "Shell":
        clock, fake, network = Clock(), FakeRing(), FakeNetwork()
        storage, listener = FakeStorage(), Listener()
        protocol = TotemProtocol(
            clock,
            cast(Ring, fake),
            network,
            storage,
            listener,
            sealer=sealer,
            opener=opener,
        )
        return cls(clock, fake, network, storage, listener, protocol)

    def hear(self, *effects: Effect) -> None:
        """
        Have a datagram cause these effects.
        """
        self.ring.answer("frames", *effects)
        self.protocol.datagramsReceived([b"datagram"], ADDRESS)


class ShellTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.shell = Shell.make()
        self.shell.protocol.start(7)
        self.events: list[LogEvent] = []
        keep = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)

    def logged(self, part: str) -> list[LogEvent]:
        """
        Log events whose format contains C{part}.
        """
        return [
            event for event in self.events if part in (event.get("log_format") or "")
        ]


class InputTests(ShellTestCase):
    def test_interface(self) -> None:
        """
        The shell is what a transport hands datagrams to.
        """
        verifyObject(IDatagramReceiver, self.shell.protocol)
        self.assertIs(self.shell.network.receiver, self.shell.protocol)

    def test_start(self) -> None:
        """
        The network listens before the ring says its first word.
        """
        shell = Shell.make()
        shell.ring.answer("start", Multicast([b"join"]))
        shell.protocol.start(41)
        self.assertIs(shell.network.receiver, shell.protocol)
        self.assertEqual(shell.ring.inputs, [("start", 41, 0.0)])
        self.assertEqual(shell.network.sent, [("all", b"join")])

    def test_batch(self) -> None:
        """
        Datagrams that came together are told together, with one time.
        """
        self.shell.clock.advance(2.5)
        self.shell.protocol.datagramsReceived([b"a", b"b"], ADDRESS)
        self.assertEqual(self.shell.ring.inputs[-1], ("frames", [b"a", b"b"], 2.5))

    def test_twistedPort(self) -> None:
        """
        It is a protocol for Twisted's own UDP ports, too.
        """
        self.shell.protocol.makeConnection(cast(Any, object()))
        self.shell.protocol.datagramReceived(b"a", ADDRESS)
        self.assertEqual(self.shell.ring.inputs[-1], ("frames", [b"a"], 0.0))

    def test_submit(self) -> None:
        """
        A message goes to the ring as it is, or is refused for want of room.
        """
        protocol = self.shell.protocol
        self.assertTrue(protocol.submit(b"m", Guarantee.SAFE))
        self.assertEqual(
            self.shell.ring.inputs[-1], ("submit", b"m", Guarantee.SAFE, 0.0)
        )
        self.shell.ring.answers["submit"] = [None]
        self.assertFalse(protocol.submit(b"m", Guarantee.SAFE))


class EffectTests(ShellTestCase):
    def test_order(self) -> None:
        """
        Effects are performed in the order that the ring gave them.
        """
        shell = self.shell
        shell.listener.hooks["message"] = lambda: shell.network.sent.append("heard")
        (payload,) = packed(b"m")
        shell.hear(Multicast([b"a", b"b"]), deliver(payload), Unicast(PEER, b"token"))
        self.assertEqual(
            shell.network.sent, [("all", b"a", b"b"), "heard", (PEER, b"token")]
        )

    def test_nested(self) -> None:
        """
        What a listener causes comes after what is there, and not inside it.
        """
        shell = self.shell
        depth: list[int] = []

        def multicast() -> None:
            depth.append(len(depth))
            if len(depth) == 1:
                shell.ring.answer("submit", Multicast([b"cancel"]), TokenPassed())
                shell.protocol.submit(b"x", Guarantee.AGREED)
                shell.network.sent.append("submitted")
                self.assertEqual(shell.listener.heard, [(PEER, b"m", "<")])

        shell.listener.hooks["message"] = multicast
        first, second = packed(b"m")[0], packed(b"n")[0]
        shell.hear(deliver(first), deliver(second), Unicast(PEER, b"token"))
        self.assertEqual(
            shell.network.sent, ["submitted", (PEER, b"token"), ("all", b"cancel")]
        )
        self.assertEqual(
            shell.listener.heard, [(PEER, b"m", "<"), (PEER, b"n", "<"), "token"]
        )

    def test_quietSubmit(self) -> None:
        """
        A submit sends at once, but the listener is called only after it
        returned; nothing overtakes.
        """
        shell = self.shell
        shell.ring.answer(
            "submit", Multicast([b"cancel"]), TokenPassed(), Unicast(PEER, b"token")
        )
        shell.protocol.submit(b"x", Guarantee.AGREED)
        self.assertEqual(shell.network.sent, [("all", b"cancel")])
        self.assertEqual(shell.listener.heard, [])
        shell.ring.answer("submit", Multicast([b"later"]))
        shell.protocol.submit(b"y", Guarantee.AGREED)
        self.assertEqual(len(shell.clock.getDelayedCalls()), 1)
        shell.clock.advance(0)
        self.assertEqual(shell.listener.heard, ["token"])
        self.assertEqual(
            shell.network.sent,
            [("all", b"cancel"), (PEER, b"token"), ("all", b"later")],
        )
        self.assertEqual(shell.clock.getDelayedCalls(), [])

    def test_quietThenInput(self) -> None:
        """
        What waits for the listener is performed before what an input causes.
        """
        shell = self.shell
        shell.ring.answer("submit", TokenPassed())
        shell.protocol.submit(b"x", Guarantee.AGREED)
        shell.hear(deliver(packed(b"m")[0]))
        self.assertEqual(shell.listener.heard, ["token", (PEER, b"m", "<")])
        shell.clock.advance(0)
        self.assertEqual(len(shell.listener.heard), 2)

    def test_tokenToOurselves(self) -> None:
        """
        On a ring of one the token comes back in the reactor's next turn.
        """
        shell = self.shell
        shell.hear(Unicast(ME, b"token"), Unicast(ME, b"again"))
        self.assertEqual(shell.network.sent, [])
        self.assertEqual(shell.ring.names(), ["start", "frames"])
        shell.clock.advance(0)
        self.assertEqual(shell.ring.inputs[-1], ("frames", [b"token", b"again"], 0.0))
        self.assertEqual(shell.clock.getDelayedCalls(), [])

    def test_listenerFails(self) -> None:
        """
        A listener that raises is logged, and does not stop the ring.
        """
        shell = self.shell

        def fail() -> None:
            raise ValueError("engine")

        shell.listener.hooks = {"message": fail, "configuration": fail, "token": fail}
        shell.hear(
            deliver(packed(b"m")[0]), ring(ME), TokenPassed(), Unicast(PEER, b"token")
        )
        self.assertEqual(shell.network.sent, [(PEER, b"token")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)

    def test_ringFails(self) -> None:
        """
        A ring that raises is a bug of ours: the node falls silent, without a
        leave, and says so.
        """
        shell = self.shell
        failures: list[Failure] = []
        shell.protocol.onBroken = failures.append
        shell.ring.deadline = 1.0
        shell.hear()
        shell.ring.bug = AssertionError("broken")
        shell.hear()
        self.assertEqual([each.type for each in failures], [AssertionError])
        self.assertEqual(shell.network.sent, [("stop",)])
        self.assertEqual(shell.clock.getDelayedCalls(), [])
        told = len(shell.ring.inputs)
        shell.hear()
        self.assertFalse(shell.protocol.submit(b"m", Guarantee.AGREED))
        self.assertEqual(len(shell.ring.inputs), told)

    def test_brokenIsLogged(self) -> None:
        """
        Where nobody else takes care of it, a broken ring is in the log.
        """
        self.shell.ring.bug = AssertionError("broken")
        self.shell.hear()
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)

    def test_told(self) -> None:
        """
        State changes, new rings and warnings are for people to read.
        """
        self.shell.hear(
            StateChanged("gather", "commit", "all agreed"), Warned("hm"), ring(ME)
        )
        (event,) = self.logged("Ring state")
        self.assertEqual(
            (event["before"], event["after"], event["cause"]),
            ("gather", "commit", "all agreed"),
        )
        self.assertEqual(self.logged("{text}")[0]["text"], "hm")
        (event,) = self.logged("Ring {ringId}")
        self.assertEqual((event["ringId"], event["members"]), (RING, (ME,)))

    def test_observer(self) -> None:
        """
        An observer sees each effect before it is performed.
        """
        shell = self.shell
        seen: list[tuple[Effect, int]] = []
        shell.protocol.observer = lambda effect: seen.append(
            (effect, len(shell.network.sent))
        )
        effects = Multicast([b"a"]), Unicast(PEER, b"b")
        shell.hear(*effects)
        self.assertEqual(seen, [(effects[0], 0), (effects[1], 1)])


class StorageTests(ShellTestCase):
    def test_stored(self) -> None:
        """
        The ring learns of each stored ring id, when it is stored.
        """
        shell = self.shell
        shell.hear(StoreRingId(9), StoreRingId(13))
        self.assertEqual([each for each, _ in shell.storage.stores], [9, 13])
        self.assertNotIn("stored", shell.ring.names())
        shell.clock.advance(1.0)
        shell.ring.answer("stored", Unicast(PEER, b"commit"))
        shell.storage.stores[0][1].callback(None)
        self.assertEqual(shell.ring.inputs[-1], ("stored", 1.0))
        self.assertEqual(shell.network.sent, [(PEER, b"commit")])
        shell.storage.stores[1][1].callback(None)
        self.assertEqual(shell.ring.names()[-2:], ["stored", "stored"])

    def test_refused(self) -> None:
        """
        The ring learns why its id is not stored, and so do people.
        """
        shell = self.shell
        shell.hear(StoreRingId(9))
        shell.storage.stores[0][1].errback(StorageRefused("disk full"))
        self.assertEqual(shell.ring.inputs[-1], ("refused", "disk full", 0.0))
        self.assertEqual(self.logged("not stored")[0]["reason"], "disk full")

    def test_storedTooLate(self) -> None:
        """
        A disk that answers after the end concerns nobody.
        """
        shell = self.shell
        shell.hear(StoreRingId(9))
        shell.protocol.leave()
        shell.storage.stores[0][1].callback(None)
        self.assertNotIn("stored", shell.ring.names())


class DeliveryTests(ShellTestCase):
    def delivered(self) -> list[bytes]:
        return [each[1] for each in self.shell.listener.heard if type(each) is tuple]

    def test_messages(self) -> None:
        """
        Each whole message is handed on, with its sender and byte order.
        """
        (payload,) = packed(b"m", b"n")
        self.shell.hear(deliver(payload))
        self.assertEqual(
            self.shell.listener.heard, [(PEER, b"m", "<"), (PEER, b"n", "<")]
        )

    def test_guarantees(self) -> None:
        """
        All messages in a frame have its guarantee; one of several frames has
        that of the last one.
        """
        (payload,) = packed(b"m", b"n")
        first, last = packed(b"m" * 1500)
        self.shell.hear(deliver(payload, safe=1), deliver(payload))
        self.shell.hear(deliver(first), deliver(last, safe=1))
        agreed, safe = Guarantee.AGREED, Guarantee.SAFE
        self.assertEqual(
            self.shell.listener.guarantees, [safe, safe, agreed, agreed, safe]
        )

    def test_whenStable(self) -> None:
        """
        Who waits is called between messages, never at once, and only while
        somebody waits the ring is to tell what all have.
        """
        shell, heard = self.shell, self.shell.listener.heard
        shell.hear(ring(ME, PEER))
        shell.ring.answer("stability", Stable(RING, 0))
        shell.protocol.whenStable(heard.append)
        self.assertTrue(shell.ring.stabilityWanted)
        self.assertEqual(len(heard), 1)
        shell.clock.advance(0)
        self.assertEqual(heard[1:], [(ME, PEER)])
        self.assertFalse(shell.ring.stabilityWanted)

    def test_whenStableRaises(self) -> None:
        """
        One that raises does not keep the others from being called.
        """
        shell, heard = self.shell, self.shell.listener.heard
        shell.hear(ring(ME, PEER))
        shell.protocol.whenStable(lambda members: heard.append(1 // 0))
        shell.protocol.whenStable(heard.append)
        shell.hear(Stable(RING, 0))
        self.assertEqual(heard[1:], [(ME, PEER)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_fragments(self) -> None:
        """
        A message of many frames is handed on once, when it is whole.
        """
        message = bytes(range(256)) * 20
        for payload in packed(message):
            self.assertEqual(self.delivered(), [])
            self.shell.hear(deliver(payload))
        self.assertEqual(self.delivered(), [message])

    def test_malformed(self) -> None:
        """
        A payload that is none is counted, and what follows is delivered.
        """
        self.shell.hear(deliver(b"junk"), deliver(packed(b"m")[0]))
        self.assertEqual(self.delivered(), [b"m"])
        self.assertEqual(sum(self.shell.protocol.dropped().values()), 1)

    def test_departed(self) -> None:
        """
        What a node began before it left is not continued by its next life.
        """
        first, second, *_ = packed(b"m" * 1500)
        self.shell.hear(deliver(first), deliver(first, nodeid=THIRD))
        self.shell.hear(transition(ME, THIRD, left=(PEER,)), ring(ME, THIRD))
        self.shell.protocol.synchronized()
        self.shell.hear(deliver(second), deliver(second, nodeid=THIRD))
        self.assertEqual(self.shell.listener.heard[2:], [(THIRD, b"m" * 1500, "<")])

    def test_synchronizing(self) -> None:
        """
        A message that a change cut in two is completed after synchronization;
        what is sent in between is whole in itself.
        """
        first, second, *_ = packed(b"m" * 1500)
        (between,) = packed(b"sync")
        self.shell.hear(deliver(first), transition(ME, PEER), ring(ME, PEER))
        self.shell.hear(deliver(between))
        self.assertEqual(self.delivered(), [b"sync"])
        self.shell.protocol.synchronized()
        self.assertEqual(self.shell.ring.names()[-1], "synchronized")
        self.shell.hear(deliver(second))
        self.assertEqual(self.delivered(), [b"sync", b"m" * 1500])

    def test_restOfOldRing(self) -> None:
        """
        The rest of the old ring, after the transitional configuration, still
        completes what began before.
        """
        first, second, *_ = packed(b"m" * 1500)
        self.shell.hear(
            deliver(first), transition(ME, PEER), deliver(second), ring(ME, PEER)
        )
        self.assertEqual(self.delivered(), [b"m" * 1500])
        self.assertEqual(
            [type(each) for each in self.shell.listener.heard],
            [Configuration, tuple, Configuration],
        )

    def test_behindTheRing(self) -> None:
        """
        While the last messages of an old ring are handed up, the ring is on
        the new one already: that the services are in step, on the old one, is
        not for it, and what is sent waits until they are in step again.
        """
        (last,) = packed(b"last barrier")
        protocol = self.shell.protocol

        def inStep() -> None:
            protocol.synchronized()
            protocol.submit(b"late join", Guarantee.AGREED)

        self.shell.listener.hooks["message"] = inStep
        self.shell.hear(deliver(last), transition(ME, PEER), ring(ME, PEER))
        self.assertEqual(self.shell.ring.names()[-1], "later")
        self.assertNotIn("synchronized", self.shell.ring.names())

    def test_notBehindTheRing(self) -> None:
        """
        Once the new configuration was handed up, both are for its ring, with
        messages still to come or not.
        """
        (next_,) = packed(b"first message")
        protocol = self.shell.protocol

        def inStep() -> None:
            protocol.submit(b"service list", Guarantee.AGREED)
            protocol.synchronized()

        self.shell.listener.hooks["message"] = inStep
        self.shell.hear(ring(ME, PEER), deliver(next_), deliver(next_))
        self.assertEqual(self.shell.ring.names()[-4:], ["submit", "synchronized"] * 2)


class DropTests(ShellTestCase):
    def test_counted(self) -> None:
        """
        Drops are counted by what was wrong.
        """
        self.shell.hear(
            Dropped(TruncatedFrame("short")),
            Dropped(BadCount("31")),
            Dropped(BadCount("32")),
        )
        self.assertEqual(
            self.shell.protocol.dropped(), {"TruncatedFrame": 1, "BadCount": 2}
        )

    def test_noLogFlood(self) -> None:
        """
        A flood of one kind is one line per interval, with the number of those
        that had none; another kind is news.
        """
        for _ in range(1000):
            self.shell.hear(Dropped(BadCount("31")))
        self.shell.hear(Dropped(TruncatedFrame("short")))
        self.assertEqual(
            [event["kind"] for event in self.logged("Dropped")],
            ["BadCount", "TruncatedFrame"],
        )
        self.shell.clock.advance(DROP_LOG_INTERVAL)
        self.shell.hear(Dropped(BadCount("31")))
        self.assertEqual(self.logged("Dropped")[-1]["more"], 999)
        self.shell.clock.advance(DROP_LOG_INTERVAL)
        self.shell.hear(Dropped(BadCount("31")))
        self.assertEqual(self.logged("Dropped")[-1]["more"], 0)


class TimerTests(ShellTestCase):
    def arm(self, deadline: float | None) -> None:
        self.shell.ring.deadline = deadline
        self.shell.hear()

    def times(self) -> list[float]:
        return [call.getTime() for call in self.shell.clock.getDelayedCalls()]

    def test_fires(self) -> None:
        """
        The ring is told when its deadline has come.
        """
        self.arm(3.0)
        self.shell.clock.advance(2.9)
        self.assertNotIn("advance", self.shell.ring.names())
        self.shell.clock.advance(0.1)
        self.assertEqual(self.shell.ring.inputs[-1], ("advance", 3.0))

    def test_lazy(self) -> None:
        """
        A deadline that moves back leaves the timer alone: it finds nothing to
        do, and is set again.
        """
        self.arm(3.0)
        self.arm(4.0)
        self.assertEqual(self.times(), [3.0])
        self.shell.clock.advance(3.0)
        self.assertNotIn("advance", self.shell.ring.names())
        self.assertEqual(self.shell.network.drained, 0)
        self.assertEqual(self.times(), [4.0])
        self.shell.clock.advance(1.0)
        self.assertEqual(self.shell.ring.inputs[-1], ("advance", 4.0))

    def test_sooner(self) -> None:
        """
        A deadline that moves forward moves the timer.
        """
        self.arm(3.0)
        self.arm(1.0)
        self.assertEqual(self.times(), [1.0])

    def test_past(self) -> None:
        """
        A deadline that has passed already is due in the next turn.
        """
        self.shell.clock.advance(5.0)
        self.arm(3.0)
        self.shell.clock.advance(0)
        self.assertEqual(self.shell.ring.inputs[-1], ("advance", 5.0))

    def test_none(self) -> None:
        """
        Without a deadline there is no timer, and one that is left over does
        nothing.
        """
        self.arm(None)
        self.assertEqual(self.times(), [])
        self.arm(3.0)
        self.arm(None)
        self.shell.clock.advance(3.0)
        self.assertNotIn("advance", self.shell.ring.names())
        self.assertEqual(self.times(), [])

    def test_readsFirst(self) -> None:
        """
        A token that waits in the socket when its timeout comes is read first,
        and then nothing is lost.
        """
        shell = self.shell
        self.arm(3.0)
        shell.network.waiting = [b"token"]
        received = shell.ring.framesReceived

        def tokenArrives(frames: Iterable[bytes], now: float) -> object:
            shell.ring.deadline = now + 3.0
            return received(frames, now)

        shell.ring.framesReceived = tokenArrives  # type: ignore[method-assign]
        shell.clock.advance(3.0)
        self.assertEqual(shell.ring.inputs[-1], ("frames", [b"token"], 3.0))
        self.assertEqual(self.times(), [6.0])

    def test_advanceWhileDue(self) -> None:
        """
        Datagrams that change nothing about the deadline do not hide it.
        """
        self.arm(3.0)
        self.shell.network.waiting = [b"noise"]
        self.shell.clock.advance(3.0)
        self.assertEqual(self.shell.ring.names()[-2:], ["frames", "advance"])


class LeaveTests(ShellTestCase):
    def test_leave(self) -> None:
        """
        The leave is sent, then the network is closed; nothing stays behind.
        """
        shell = self.shell
        shell.ring.deadline = 3.0
        shell.hear(Unicast(ME, b"token"))
        shell.ring.answer("submit", TokenPassed())
        shell.protocol.submit(b"m", Guarantee.AGREED)
        shell.ring.answer("leave", Multicast([b"leave"]))
        done = shell.protocol.leave()
        self.assertEqual(shell.network.sent, [("all", b"leave"), ("stop",)])
        self.assertEqual(shell.clock.getDelayedCalls(), [])
        self.assertNoResult(done)
        shell.network.stopped.callback(None)
        self.successResultOf(done)

    def test_deafAfterwards(self) -> None:
        """
        After the end neither the network nor the services reach the ring.
        """
        shell = self.shell
        shell.protocol.leave()
        told = len(shell.ring.inputs)
        shell.hear()
        shell.protocol.synchronized()
        self.assertFalse(shell.protocol.submit(b"m", Guarantee.AGREED))
        self.assertEqual(len(shell.ring.inputs), told)

    def test_twice(self) -> None:
        """
        Leaving again says nothing.
        """
        shell = self.shell
        shell.protocol.leave()
        self.successResultOf(shell.protocol.leave())
        self.assertEqual(shell.network.sent, [("stop",)])
        self.assertEqual(shell.ring.names().count("leave"), 1)

    def test_fromListener(self) -> None:
        """
        A listener may stop the node: what is there is performed, the leave
        goes out, and then the network is closed.
        """
        shell = self.shell
        shell.ring.answer("leave", Multicast([b"leave"]))
        shell.listener.hooks["message"] = shell.protocol.leave
        shell.hear(deliver(packed(b"m")[0]), Unicast(PEER, b"token"))
        self.assertEqual(shell.network.sent, [(PEER, b"token"), ("all", b"leave")])
        shell.clock.advance(0)
        self.assertEqual(shell.network.sent[-1], ("stop",))
        self.assertEqual(shell.clock.getDelayedCalls(), [])


class SealedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shell = Shell.make(
            Sealer(KEY, ME, 1, SALT), Opener((KEY,), ME, (PEER, THIRD))
        )
        self.shell.protocol.start(None)
        self.peer = Opener((KEY,), PEER, (ME, THIRD))

    def test_sends(self) -> None:
        """
        Nothing leaves unsealed.
        """
        self.shell.hear(Multicast([b"a", b"b"]), Unicast(PEER, b"token"))
        (_, *multicast), (nodeid, unicast) = self.shell.network.sent
        self.assertEqual(nodeid, PEER)
        third = Opener((KEY,), THIRD, (ME, PEER))
        self.assertRaises(ForgedFrame, third.open, unicast, 0.0)
        opened = [self.peer.open(each, 0.0) for each in (*multicast, unicast)]
        self.assertEqual(opened, [(ME, b"a"), (ME, b"b"), (ME, b"token")])

    def test_receives(self) -> None:
        """
        What others sealed is opened; what is forged, plain, or here for the
        second time is dropped, and counted.
        """
        theirs = Sealer(KEY, PEER, 1, SALT)
        good, other = theirs.seal(b"good"), theirs.seal(b"other")
        batch = [good, good, b"plain", other[:-1] + b"?", other]
        self.shell.protocol.datagramsReceived(batch, ADDRESS)
        self.assertEqual(
            self.shell.ring.inputs[-1], ("frames", [b"good", b"other"], 0.0)
        )
        self.assertEqual(
            self.shell.protocol.dropped(),
            {"ReplayedFrame": 1, "UnknownFrame": 1, "ForgedFrame": 1},
        )

    def test_borrowedName(self) -> None:
        """
        A node does not send another's token, even with the key.
        """
        token = b"\x70\xc0\x03\x00\x00" + THIRD.to_bytes(4, "little") + bytes(48)
        sealed = Sealer(KEY, PEER, 1, SALT).seal(token)
        self.shell.protocol.datagramsReceived([sealed], ADDRESS)
        self.assertEqual(self.shell.protocol.dropped(), {"ForgedFrame": 1})

    def test_sealFails(self) -> None:
        """
        When sealing fails, nothing is sent in the clear.
        """
        broken: list[Failure] = []
        self.shell.protocol.onBroken = broken.append
        sealer = self.shell.protocol._sealer
        assert sealer is not None
        self.patch(sealer._cipher, "_encrypt", lambda *arguments: -1)
        self.shell.hear(Multicast([b"secret"]), Unicast(PEER, b"secret"))
        self.assertEqual(self.shell.network.sent, [("stop",)])
        self.assertEqual(len(broken), 1)

    def test_loopback(self) -> None:
        """
        The token of a ring of one never leaves, and needs no seal.
        """
        self.shell.hear(Unicast(ME, b"token"))
        self.shell.clock.advance(0)
        self.assertEqual(self.shell.ring.inputs[-1], ("frames", [b"token"], 0.0))


class FrameBytesTests(SynchronousTestCase):
    def settings(self, **changes: Any) -> TotemSettings:
        address = changes.pop("address", IPv4Address("192.0.2.1"))
        return TotemSettings(
            1, (NodeEntry(1, "", (address,)),), address, "/nowhere", **changes
        )

    def test_unfragmented(self) -> None:
        """
        A frame inside another, sealed, is one IP packet.
        """
        self.assertEqual(frameBytes(self.settings()), 1500 - 28 - 90)
        self.assertEqual(frameBytes(self.settings(key=KEY)), 1500 - 28 - 90 - 48)
        self.assertEqual(
            frameBytes(self.settings(address=IPv6Address("2001:db8::1"))),
            1500 - 48 - 90,
        )

    def test_largestDatagram(self) -> None:
        """
        However large the network's packets, UDP has its limit.
        """
        for netmtu in (60000, 65535, 1 << 20):
            payload = frameBytes(self.settings(netmtu=netmtu, key=KEY))
            whole = payload + 2 * DATA_HEADER_BYTES + OVERHEAD
            self.assertLessEqual(whole, LARGEST_DATAGRAM)

    def test_tooSmall(self) -> None:
        """
        An impossible netmtu is the operator's to mend: the least is named,
        and it works.
        """
        error = self.assertRaises(
            ConfigurationError, frameBytes, self.settings(netmtu=100)
        )
        (problem,) = error.problems
        self.assertEqual(problem.key, "totem.netmtu")
        least = int(problem.text.split()[-1])
        self.assertEqual(frameBytes(self.settings(netmtu=least)), 128)
        with self.assertRaises(ConfigurationError):
            frameBytes(self.settings(netmtu=least - 1))
