"""
Stories about numbers, names and disks.  [pitfalls E]
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)

from corotwist.errors import ConfigurationError, StorageRefused
from corotwist.ipc.cpg import ringBox
from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.simulator.clients import Client
from corotwist.simulator.sockets import Port
from corotwist.simulator.storage import Storage
from corotwist.test.scenarios.story import (
    FOREVER,
    A,
    B,
    C,
    D,
    Story,
    capture,
    changes,
    frameful,
    installs,
    ring,
    watchTokens,
    wrappers,
)
from corotwist.totem.effects import Multicast, StoreRingId, Unicast
from corotwist.totem.frame import Opener, Sealer
from corotwist.totem.membership import RingId
from corotwist.totem.ring import Ring
from corotwist.totem.sequence import MASK
from corotwist.totem.states import In
from corotwist.totem.storage import LARGEST_SEQUENCE, SEQUENCE_BYTES

KEY = b"k" * 32
UDP = {"totem": {"transport": "udp"}}
# How nodes of a cluster that has a twin are told to speak, and the sequence
# that the twin has stored.
TWINS: tuple[tuple[dict[str, Any], int], ...] = (
    ({}, 0),
    ({}, 1 << 40),
    (UDP, 1 << 40),
    ({"key": KEY}, 1 << 40),
    ({"key": KEY, **UDP}, 1 << 40),
)
FORGED, TAKEN = "dropped.ForgedFrame", "dropped.NodeidTaken"
STRANGER = 99
WRAPS = (0, 0x7FFFF000, 0x7FFFFFFE, 0xFFFFFE00, 0xFFFFFFFE)


class IdentityTests(Story):
    """
    Rings whose names and numbers are put to the test.
    """

    def test_sequenceWraps(self) -> None:
        """
        Message sequences that wrap change nothing: on a network that loses
        some, and with a node that dies, everything is exactly as it is with
        those that do not.  [pitfall E1]
        """
        logs = []
        for first in WRAPS:
            cluster = self.formed(seed=3, firstSequence=first)
            cluster.faults = Faults(loss=0.05)
            for number in range(300):
                self.send(cluster, 1 + number % 3, b"%d" % number * 200)
            cluster.run(0.05)
            cluster.kill(A)
            cluster.run(4)
            cluster.calm()
            cluster.settle()
            self.assertSame(cluster, (B, C))
            logs.append([cluster.nodes[n].events for n in (A, B, C)])
        self.assertTrue(len(logs[0][1]) > 200)
        self.assertTrue(all(log == logs[0] for log in logs))

    def test_sequenceWrapsInRecovery(self) -> None:
        """
        So it is when they wrap in the middle of a recovery.  [pitfall E3]
        """
        for first in (0, 0x7FFFFFCE, 0xFFFFFFCE, 0xFFFFFFFF):
            timing = timingFor(windowSize=300, maxMessages=100)
            cluster = self.formed(firstSequence=first, timing=timing)
            cluster.drop("data", target=C, count=FOREVER)
            self.send(cluster, A, *[frameful(cluster, b"x")] * 100)
            self.assertTrue(
                cluster.runUntil(lambda c=cluster: len(c.nodes[B].log) == 100, 1)  # type: ignore[misc]
            )
            data = capture(cluster, "data")
            cluster.kill(A)
            cluster.forget()
            cluster.settle()
            sequences = [frame.sequence for frame, _ in wrappers(data)]
            self.assertEqual(len(sequences), 100)
            self.assertEqual(sequences[0], (first + 1) & MASK)
            self.assertEqual(sequences[-1], (first + 100) & MASK)
            self.assertEqual(len(cluster.nodes[C].log), 100)
            self.send(cluster, C, b"after")
            cluster.settle()
            self.assertSame(cluster, (B, C))

    def test_tokenWraps(self) -> None:
        """
        Token sequences wrap as well; the next is newer.  [pitfall E2]
        """
        for first in (0xFFFFFFF0, 0xFFFFFFFF, 0x7FFFFFF0):
            cluster = self.formed(seed=3, firstTokenSequence=first)
            numbers: list[int] = []
            watchTokens(
                cluster,
                lambda nodeid, token, numbers=numbers: (  # type: ignore[misc]
                    numbers.append(token.tokenSequence)
                ),
            )
            cluster.load(rate=100, seconds=0.3)
            cluster.kill(C)
            cluster.boot(C)
            cluster.settle()
            cluster.duplicate("token", count=FOREVER, after=0.001)
            self.assertQuiet(cluster, 0.3)
            cluster.settle()
            self.assertIn(first, numbers)
            self.assertIn((first + 100) & MASK, numbers)
            self.assertSame(cluster, (A, B))

    def test_largeRingSequence(self) -> None:
        """
        Ring sequences have 64 bits, everywhere, and go on rising.
        [pitfall E4]
        """
        cluster = self.cluster(boot=False)
        cluster.nodes[A].disk.wrote((1 << 32) - 4)
        cluster.boot(A, B, C)
        cluster.settle()
        cluster.kill(C)
        cluster.settle()
        configuration = cluster.nodes[B].configuration
        assert configuration is not None
        self.assertTrue(configuration.ringId.sequence > 1 << 32)
        self.assertEqual(cluster.nodes[B].disk.durable, configuration.ringId.sequence)

    def test_largeRingSequenceForServices(self) -> None:
        """
        Services and their clients are told all of it.  [pitfall E4]
        """
        cluster = self.cluster(services=True, boot=False)
        cluster.nodes[A].disk.wrote((1 << 32) - 4)
        cluster.boot(A, B, C)
        cluster.settle()
        services = cluster.services(B)
        client = RingClient(1, 1, services.life, services.groups, cluster.jury.groups)
        cluster.jury.groups.opened(client)
        client.join(b"group")
        cluster.run(0.1)
        told = client.told
        for _ in range(3):
            cluster.kill(C)
            cluster.settle()
            cluster.boot(C)
            cluster.settle()
        ringId = cluster.services(B).manager.configuration.ringId
        self.assertTrue(ringId.sequence > 1 << 32)
        self.assertEqual(ringBox(ringId, (A,))[b"sequence"], b"%d" % ringId.sequence)
        self.assertTrue(len(told) >= 6 and told == sorted(set(told)), told)
        self.assertTrue(told[0] > 1 << 32)
        self.assertEqual(cluster.nodes[B].disk.durable, ringId.sequence)

    def test_fastRestart(self) -> None:
        """
        One who is back before anybody noticed is a stranger to its ring, and
        nobody sends that ring's messages again for it.  [pitfall E5]
        """
        for later in (0.0, 0.0001, 0.001, 0.05, 0.5):
            cluster = self.formed(seed=4)
            cluster.load(rate=100, seconds=0.2)
            cluster.run(0.1)
            held = max(len(ring(cluster, n).window) for n in (B, C))
            cluster.kill(A)
            cluster.run(later)
            data = capture(cluster, "data")
            cluster.boot(A)
            cluster.settle(within=2.5)
            transitional, regular = cluster.nodes[B].configurations[-2:]
            self.assertIn(A, transitional.left)
            self.assertIn(A, regular.joined)
            self.assertSame(cluster, (B, C))
            again = wrappers(data)
            self.assertNotIn(A, {frame.origin for frame, _ in again})
            self.assertTrue(len(again) <= 2 * held, len(again))

    def test_lostDisk(self) -> None:
        """
        A stored sequence that is gone is none: the node starts, and uses no
        name again.  [pitfall E6]
        """
        cluster = self.formed()
        for nodeid in (A, B, C):
            cluster.kill(nodeid)
            cluster.boot(nodeid, fresh=True)
            cluster.settle()

    def test_damagedDisk(self) -> None:
        """
        So it is when the file is empty or too short; one that is too long, or
        holds what can be no sequence, is a reason not to start.
        [pitfall E6]
        """
        cluster = self.formed()
        disk = cluster.nodes[B].disk
        for size in range(SEQUENCE_BYTES):
            cluster.kill(B)
            disk.contents = b"\x01" * size
            cluster.boot(B)
            cluster.settle()
            self.assertEqual(cluster.nodes[B].members, (A, B, C))
        cluster.kill(B)
        cluster.settle()
        beyond = (LARGEST_SEQUENCE + 1).to_bytes(SEQUENCE_BYTES, "little")
        for contents in (b"\x01" * 9, b"\xff" * SEQUENCE_BYTES, beyond):
            disk.contents = contents
            self.assertRaises(StorageRefused, cluster.boot, B)
            self.assertFalse(cluster.nodes[B].up)
        disk.erase()
        cluster.boot(B)
        cluster.settle()

    def test_unusableDisk(self) -> None:
        """
        A state directory that cannot be used is a reason not to start.
        [pitfall E6]
        """
        cluster = self.cluster(2, boot=False)
        cluster.nodes[A].disk.unusable = True
        self.assertRaises(StorageRefused, cluster.boot, A)
        self.assertFalse(cluster.nodes[A].up)
        cluster.boot(B)
        cluster.settle()
        cluster.nodes[A].disk.unusable = False
        cluster.boot(A)
        cluster.settle()

    def test_fullDisk(self) -> None:
        """
        One whose disk is full is in no new ring, and keeps the others from
        none; when there is room again it is back.  [pitfall E6]
        """
        cluster = self.formed()
        cluster.nodes[B].disk.refusing = True
        cluster.kill(C)
        cluster.run(10)
        self.assertEqual(cluster.nodes[B].members, (A, B, C))
        self.assertIsNot(cluster.nodes[B].state, In.OPERATIONAL)
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[A].members == (A,), within=10)
        )
        cluster.nodes[B].disk.refusing = False
        cluster.settle(within=12)
        self.assertEqual(cluster.nodes[A].members, (A, B))

    def test_representativeForgets(self) -> None:
        """
        A representative that loses its disk again and again, with the others
        coming and going, names no two rings alike.  [pitfall E7]
        """
        cluster = self.formed()
        for other in (B, C, B, C, B):
            cluster.kill(A)
            cluster.run(0.02)
            cluster.kill(other)
            cluster.boot(A, fresh=True)
            cluster.settle()
            cluster.boot(other)
            cluster.settle()
        names = [node.disk.history for node in cluster.nodes.values()]
        for history in names[1:]:
            self.assertEqual(history, sorted(set(history)))

    def test_heardOfHigher(self) -> None:
        """
        A ring sequence heard from another counts, even if no ring came of it.
        [pitfall E8]
        """
        cluster = self.formed(2)
        cluster.kill(B)
        cluster.settle()
        cluster.nodes[B].disk.wrote(1 << 40)
        cluster.drop("commit", count=FOREVER)
        cluster.boot(B)
        cluster.run(0.5)
        cluster.kill(B)
        cluster.forget()
        cluster.settle(within=10)
        self.assertTrue(ring(cluster, A).ringId.sequence > 1 << 40)

    def test_crashWhileStoring(self) -> None:
        """
        A crash between write and fsync leaves the old sequence or the new; no
        ring whose name is not stored was ever spoken of.  [pitfall E11]
        """
        kept = set()
        for seed in range(12):
            cluster = self.formed(seed=seed)
            before = cluster.nodes[B].disk.durable
            cluster.whenState(
                In.COMMIT,
                partial(cluster.clock.callLater, 0.0001, cluster.kill, B),
                B,
            )
            cluster.kill(C)
            cluster.run(3)
            self.assertFalse(cluster.nodes[B].up)
            kept.add(cluster.nodes[B].disk.durable == before)
            cluster.boot(B)
            cluster.settle(within=8)
        self.assertEqual(kept, {True, False})

    def test_twoOnOneMachine(self) -> None:
        """
        A second process of a node on its machine does not start, and says
        why.  [pitfall E9]
        """
        cluster = self.formed()
        node = cluster.nodes[B]
        second = Storage(cluster.clock, node.disk, nodeid=B)
        refusal = self.assertRaises(StorageRefused, second.load)
        self.assertIn("belongs to a node that runs", str(refusal))
        self.assertQuiet(cluster, 3)

    def test_twoOfOneName(self) -> None:
        """
        A machine whose list calls it by another node's nodeid, with and
        without a key, on both transports, is in nobody's ring and ends none;
        that node and the others say within a second who it is, and the node
        may come and go.  [pitfall E9]
        """
        errors = watchErrors(self)
        for options, stored in TWINS:
            cluster = self.formed(4, seed=5, **options)
            cluster.kill(D)
            cluster.settle(stay=False)
            cluster.load(rate=5, seconds=3)
            before = changes(cluster)
            del errors[:]
            double = Double(cluster, B, stored, at=D)
            cluster.run(1)
            said = "another machine, 10.0.0.4, uses our nodeid 2"
            self.assertTrue(any(said in text for text in errors), errors)
            for nodeid, name in ((A, FORGED), (B, TAKEN), (C, FORGED)):
                counts = cluster.running(nodeid).service.statistics()
                self.assertTrue(counts[name] > 0, (nodeid, counts))
            cluster.run(2 * cluster.timing.consensus)
            self.assertTrue(double.heard > 0)
            self.assertEqual(changes(cluster), before)
            cluster.kill(B)
            cluster.settle()
            self.assertEqual(cluster.nodes[A].members, (A, C))
            cluster.boot(B)
            cluster.settle()
            self.assertEqual(cluster.nodes[A].members, (A, B, C))
            double.gone = True
            cluster.boot(D)
            cluster.settle(within=8)
            self.assertEqual(cluster.nodes[A].members, (A, B, C, D))
            self.send(cluster, A, b"after")
            cluster.settle()
            logs = [node.log[-1] for node in cluster.nodes.values()]
            self.assertEqual(logs, [b"after"] * 4)

    def test_strangerOfOneName(self) -> None:
        """
        So it is with a machine that is in nobody's list.  [pitfall E9]
        """
        for transport in ("udp", "udpu"):
            cluster = self.formed(totem={"transport": transport})
            double = Double(cluster, B, 1 << 40, at=STRANGER)
            before = changes(cluster)
            cluster.load(rate=5, seconds=3)
            cluster.run(3 * cluster.timing.consensus)
            self.assertTrue(double.said > 0)
            self.assertEqual(changes(cluster), before)
            double.gone = True
            cluster.settle()

    def test_twoAtOneAddress(self) -> None:
        """
        One that cannot be told from a member by its address either: what the
        others have ordered stays ordered, the ring changes at a bounded rate,
        and when it is gone all is well.  [pitfall E9]
        """
        for stored in (0, 1 << 40):
            cluster = self.formed(seed=5)
            cluster.load(rate=20, seconds=6)
            double = Double(cluster, B, stored, at=B)
            before = changes(cluster)
            cluster.run(6 * cluster.timing.consensus)
            self.assertTrue(double.heard > 0)
            self.assertTrue(installs(cluster, before) <= 6, installs(cluster, before))
            self.assertEqual(installs(cluster, before) > 0, stored > 0)
            double.gone = True
            cluster.settle(within=8)
            self.assertEqual(cluster.nodes[A].members, (A, B, C))
            self.send(cluster, A, b"after")
            cluster.settle()
            logs = [node.log[-1] for node in cluster.nodes.values()]
            self.assertEqual(logs, [b"after"] * 3)

    def test_impossibleNames(self) -> None:
        """
        A nodeid that is nobody's, or negative to some, is refused at the
        start.  [pitfall E10]
        """
        good = configuration({A: 1, B: 2})
        self.cluster(config=good).settle()
        for nodeid in ("0", "-1", str(1 << 31), str((1 << 32) - 1), str(1 << 32), "x"):
            wrong = good.replace("nodeid: 2", f"nodeid: {nodeid}")
            refusal = self.assertRaises(ConfigurationError, self.cluster, config=wrong)
            self.assertIn("nodelist.node.nodeid", str(refusal))

    def test_swappedAddresses(self) -> None:
        """
        Two nodes that have swapped their addresses are whom they say they
        are; while a third has not been told, no order breaks, and once it is,
        all are one ring.  [pitfall E12]
        """
        cluster = self.cluster(config=configuration({A: 1, B: 2, C: 3}))
        cluster.settle()
        cluster.load(rate=20, seconds=20)
        for told in ((A, B), (C,)):
            cluster.kill(*told)
            self.rename(cluster, {A: 2, B: 1, C: 3})
            cluster.boot(*told)
            cluster.run(6)
        cluster.settle()
        for nodeid in (A, B, C):
            self.assertEqual(cluster.nodes[nodeid].members, (A, B, C))
        names = [node.disk.history for node in cluster.nodes.values()]
        for history in names:
            self.assertEqual(history, sorted(set(history)))

    def rename(self, cluster: Cluster, hosts: dict[int, int]) -> None:
        """
        What nodes that start from now on are told, and where they are.
        """
        cluster._workshop.rewrite(configuration(hosts))


def configuration(hosts: dict[int, int]) -> str:
    """
    Of a cluster, by the machines on which its nodes are.
    """
    entries = "".join(
        f"node {{\n nodeid: {n}\n name: n{n}\n ring0_addr: 10.0.0.{host}\n}}\n"
        for n, host in hosts.items()
    )
    totem = "version: 2\ntransport: udpu\ntoken: 1000\ntoken_coefficient: 0\n"
    crypto = "crypto_cipher: none\ncrypto_hash: none\n"
    return f"totem {{\n{totem}{crypto}}}\nnodelist {{\n{entries}}}\n"


class RingClient(Client):
    """
    Remembers which rings it was told of.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.told: list[int] = []

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self.told.append(ringId.sequence)
        super().ringChanged(ringId, members)


def watchErrors(case: Story) -> list[str]:
    """
    What nodes log as errors from now on, until the end of the test.
    """
    errors: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.error:
            errors.append(formatEvent(event))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return errors


class Double:
    """
    A processor with the name of a node, on the same network: it hears what is
    sent to its address, and speaks as if it were that node.

    @param at: the node whose address it has, that of its name or another.
    @ivar heard: how many datagrams it has heard.
    @ivar said: how many it has sent, to each.
    @ivar gone: it is there no more.
    """

    def __init__(self, cluster: Cluster, nodeid: int, stored: int, at: int) -> None:
        self.heard = 0
        self.said = 0
        self.gone = False
        self._cluster = cluster
        self._at = at
        frameBytes = ring(cluster, nodeid).frameBytes
        self._core = Ring(nodeid, cluster.timing, frameBytes, cluster.whim)
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        key = cluster.running(nodeid).service._settings.key
        if key is not None:
            others = [n for n in cluster.nodes if n != nodeid]
            self._sealer = Sealer(key, nodeid, 1 << 62, b"twintwin")
            self._opener = Opener((key,), nodeid, others)
        cluster.network.watchers.append(self._watch)
        self._do(self._core.start(stored, cluster.seconds()))
        self._tick()

    def _tick(self) -> None:
        if not self.gone:
            self._do(self._core.advance(self._cluster.seconds()))
            self._cluster.clock.callLater(0.005, self._tick)

    def _watch(self, port: Port, targets: Iterable[int], datagrams: Any) -> None:
        if port.nodeid != self._core.nodeid and self._at in targets:
            self._cluster.clock.callLater(0.0002, self._hear, [*datagrams])

    def _hear(self, datagrams: list[bytes]) -> None:
        if not self.gone:
            self.heard += len(datagrams)
            now = self._cluster.seconds()
            if self._opener is not None:
                datagrams = [self._opener.open(d, now)[1] for d in datagrams]
            self._do(self._core.framesReceived(datagrams, now))

    def _do(self, effects: Iterable[object]) -> None:
        cluster = self._cluster
        for effect in effects:
            if isinstance(effect, Multicast):
                for frame in effect.frames:
                    for target in cluster.nodes:
                        self._tell(target, frame)
            elif isinstance(effect, Unicast) and effect.nodeid == self._core.nodeid:
                cluster.clock.callLater(0, self._loopBack, effect.frame)
            elif isinstance(effect, Unicast):
                self._tell(effect.nodeid, effect.frame)
            elif isinstance(effect, StoreRingId):
                cluster.clock.callLater(0.001, self._stored)

    def _tell(self, target: int, frame: bytes) -> None:
        sealed = frame if self._sealer is None else self._sealer.seal(frame)
        self.said += 1
        self._cluster.inject(self._at, target, sealed)

    def _loopBack(self, frame: bytes) -> None:
        if not self.gone:
            self._do(self._core.framesReceived([frame], self._cluster.seconds()))

    def _stored(self) -> None:
        if not self.gone:
            self._do(self._core.ringIdStored(self._cluster.seconds()))
