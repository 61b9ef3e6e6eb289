"""
Stories about what comes over the wire, and the key that says who may speak.
[pitfalls L]
"""

import base64
import json
from collections.abc import Iterable
from random import Random, SystemRandom
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from corotwist.config.settings import NodeSettings
from corotwist.errors import WireError
from corotwist.simulator import Cluster, PromiseBroken, timingFor
from corotwist.simulator.clients import Client
from corotwist.test.engines.orderednet import nodeSettings
from corotwist.test.scenarios.story import (
    LONG,
    A,
    B,
    C,
    capture,
    ring,
    shell,
)
from corotwist.test.scenarios.whole import WholeStory
from corotwist.totem import frame
from corotwist.totem.frame import MAGIC, OVERHEAD, Opener, Sealer, _mark
from corotwist.totem.service import TotemService
from corotwist.totem.storage import MemoryRingStorage
from corotwist.totem.wire import makeRegular

GROUP = b"group"
# One of its neighbours has the same mark.
KEY = bytes(range(2, 34))
QUICK = timingFor(0.2)
SETTINGS = evolve(nodeSettings().totem, key=KEY)
STARTS = 10_000
RECORDED_SECONDS = 600.0 if LONG else 10.0
# Offsets of counts and lengths, by kind of message.
COUNTS = {"token": (53,), "join": (17, 21), "commit": (33, 37)}
HOSTILE = (31, 385, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def ours(thing: object) -> bool:
    """
    Not a part of the simulator, which knows all keys.
    """
    return not type(thing).__module__.startswith("corotwist.simulator")


def neighbours(key: bytes) -> Iterable[bytes]:
    """
    All keys that differ in one bit.
    """
    for bit in range(8 * len(key)):
        other = bytearray(key)
        other[bit // 8] ^= 1 << bit % 8
        yield bytes(other)


class WireStories(WholeStory):
    """
    Datagrams that no node sent, on the plain wire.
    """

    def kinds(self, cluster: Cluster) -> dict[str, tuple[int, bytes]]:
        """
        A datagram of each kind with a fixed layout, and who sent it.
        """
        captured = {k: capture(cluster, k) for k in ("token", "join", "commit")}
        cluster.cut(C, A)
        cluster.run(1)
        cluster.heal()
        cluster.settle()
        return {kind: datagrams[-1] for kind, datagrams in captured.items()}

    def damaged(self, kind: str, datagram: bytes) -> Iterable[bytes]:
        """
        What cannot be a message any more.
        """
        yield from (datagram[:size] for size in range(len(datagram)))
        yield datagram + b"x"
        yield datagram + bytes(5000)
        for place in range(4):
            for value in (0, 1, 6, 0x7F, 0x80, 0xFF):
                other = bytearray(datagram)
                if other[place] != value and not (place == 3 and value < 6):
                    other[place] = value
                    yield bytes(other)
        for place in COUNTS[kind]:
            for number in HOSTILE:
                other = bytearray(datagram)
                other[place : place + 4] = number.to_bytes(4, "little")
                yield bytes(other)

    def test_malformed(self) -> None:
        """
        Cut short at every length, made longer, of no kind and no version, and
        with counts that cannot be: each is refused and counted, and the ring
        does not notice.  [pitfall L1]
        """
        cluster = self.formed(timing=QUICK)
        samples = self.kinds(cluster)
        before = sum(shell(cluster, B).dropped().values())
        injected = 0
        for kind, (source, datagram) in samples.items():
            for damaged in self.damaged(kind, datagram):
                cluster.inject(source if source != B else A, B, damaged)
                injected += 1
        dropped = sum(shell(cluster, B).dropped().values()) - before
        self.assertEqual(dropped, injected)
        self.assertGreater(injected, 300)
        self.assertQuiet(cluster, 1)
        self.send(cluster, A, b"heard")
        cluster.settle()
        self.assertEqual(cluster.nodes[B].log, [b"heard"])

    def test_nested(self) -> None:
        """
        A wrapper in a wrapper, to any depth, is refused as soon as it is read.
        [pitfall L10]
        """
        cluster = self.formed(timing=QUICK)
        window = ring(cluster, B).window
        inner = makeRegular(A, 1, 1, window.ringId, 2, b"inner")
        for _ in range(30):
            inner = makeRegular(
                A, 1, 1, window.ringId, 2, inner.frame, encapsulated=True
            )
            cluster.inject(A, B, inner.frame)
        self.assertEqual(shell(cluster, B).dropped(), {"UnknownFrame": 29})
        self.assertQuiet(cluster, 1)
        cluster.settle()


class SealedStories(WholeStory):
    """
    Nodes that share a key, and others.
    """

    def sealed(self, **options: Any) -> Cluster:
        """
        Three nodes with a key.
        """
        return self.formed(timing=QUICK, key=KEY, **options)

    def refusals(self, cluster: Cluster, nodeid: int) -> int:
        """
        Datagrams that a node did not accept.
        """
        return sum(shell(cluster, nodeid).dropped().values())

    def meet(self, cluster: Cluster, *nodeids: int) -> list[Client]:
        """
        A client in one group on each node.
        """
        clients = [cluster.client(nodeid) for nodeid in nodeids]
        for client in clients:
            client.join(GROUP)
        cluster.run(0.1)
        return clients

    def test_oneBit(self) -> None:
        """
        Keys differ in one bit, and not in their mark: nothing is accepted, in
        either direction.  [pitfall L2]
        """

        def configure(settings: NodeSettings) -> NodeSettings:
            own = settings.totem.key
            assert own is not None
            if settings.totem.nodeid == C:
                own = next(k for k in neighbours(own) if _mark(k) == _mark(own))
            return evolve(settings, totem=evolve(settings.totem, key=own))

        cluster = Cluster(3, services=True, timing=QUICK, key=KEY, configure=configure)
        cluster.run(2)
        clients = self.meet(cluster, A, C)
        clients[0].send(GROUP, b"secret")
        cluster.run(2)
        members = [cluster.nodes[n].members for n in cluster.nodes]
        self.assertEqual(members, [(A, B), (A, B), (C,)])
        self.assertEqual(clients[1].log, [])
        for nodeid in (A, C):
            dropped = shell(cluster, nodeid).dropped()
            self.assertGreater(dropped.pop("ForgedFrame"), 3)
            self.assertEqual(dropped, {})

    def test_sealingFails(self) -> None:
        """
        A node that cannot seal falls silent; nothing leaves it in the clear.
        [pitfall L3]
        """
        cluster = self.sealed()
        captured = capture(cluster)
        sealer: Any = shell(cluster, A)._sealer
        cluster.multicast(A, b"secret")
        self.patch(sealer._cipher, "_encrypt", lambda *arguments: 1)
        broken = self.assertRaises(PromiseBroken, cluster.run, 1)
        self.assertIn("libsodium does not encrypt", str(broken))
        self.assertEqual([d for n, d in captured if n == A], [])
        self.assertEqual({d[:2] for _, d in captured} - {MAGIC}, set())

    def test_short(self) -> None:
        """
        What is shorter than a seal is refused, at every length.  [pitfall L4]
        """
        cluster = self.sealed()
        random = Random(1)
        for size in range(65):
            noise = random.randbytes(size)
            cluster.inject(A, B, noise)
            cluster.inject(A, B, (MAGIC + b"\x01" + noise)[:size])
        self.assertEqual(self.refusals(cluster, B), 2 * 65)
        truncated = shell(cluster, B).dropped()["TruncatedFrame"]
        self.assertGreaterEqual(truncated, OVERHEAD - len(MAGIC))
        self.assertQuiet(cluster, 1)
        cluster.settle()

    def test_nonces(self) -> None:
        """
        Ten thousand starts with a wall clock that stands still, and as many
        with a chance that repeats itself: no nonce is used twice.
        [pitfall L6]
        """
        for random, step in ((SystemRandom(), 0), (None, 1)):
            nonces = set()
            for start in range(STARTS):
                sealer = self.startedAt(random or Random(1), 1_000 + step * start)
                nonces.add(sealer.seal(b"")[8:32])
                nonces.add(sealer.sealFor(2, b"")[8:32])
            self.assertEqual(len(nonces), 2 * STARTS)

    def startedAt(self, random: Random, nanoseconds: int) -> Sealer:
        """
        What a start at that time seals with.
        """
        transport: Any = None
        service = TotemService(
            Clock(),
            SETTINGS,
            transport,
            MemoryRingStorage(0),
            random,
            timeOfDay=lambda: nanoseconds,
        )
        sealer, _ = service._seals(KEY)
        assert sealer is not None
        return sealer

    def test_bits(self) -> None:
        """
        Whatever bit of a sealed datagram is flipped, the header's too, nothing
        is accepted, and the ring does not notice.  [pitfall L9]
        """
        cluster = self.sealed()
        captured = capture(cluster)
        cluster.multicast(A, b"m" * 20)
        cluster.run(0.01)
        sizes = {len(d): (n, d) for n, d in captured if n != B and len(d) < 300}
        self.assertGreaterEqual(len(sizes), 2)
        before = self.refusals(cluster, B)
        flipped = 0
        for source, datagram in sizes.values():
            opener = Opener((shell(cluster, B)._sealer._cipher._key,), B, (A, C))  # type: ignore[union-attr]
            for bit in range(8 * len(datagram)):
                damaged = bytearray(datagram)
                damaged[bit // 8] ^= 1 << bit % 8
                self.assertRaises(WireError, opener.open, bytes(damaged), 0.0)
                cluster.inject(source, B, bytes(damaged))
                flipped += 1
        self.assertEqual(self.refusals(cluster, B) - before, flipped)
        self.assertNotIn("ReplayedFrame", shell(cluster, B).dropped())
        self.assertQuiet(cluster, 1)
        cluster.settle()


class ReplayStories(WholeStory):
    """
    Everything that was said once, said again.
    """

    def eventful(self, **options: Any) -> tuple[Cluster, list[tuple[int, bytes]]]:
        """
        A cluster that has been through a lot, and all its datagrams.
        """
        cluster = self.formed(timing=QUICK, **options)
        captured = capture(cluster)
        cluster.load(10, RECORDED_SECONDS, (20, 3000))
        while cluster.seconds() < RECORDED_SECONDS:
            cluster.partition({A}, {B, C})
            cluster.run(1.5)
            cluster.heal()
            cluster.run(1.5)
            cluster.kill(C)
            cluster.run(1)
            cluster.boot(C)
            cluster.run(1)
        cluster.settle()
        self.assertGreater(len(captured), 2000)
        return cluster, [*captured]

    def replay(self, cluster: Cluster, captured: list[tuple[int, bytes]]) -> int:
        """
        Bring each to everybody but its sender, as fast as it can be read.
        """
        count = 0
        for number, (source, datagram) in enumerate(captured):
            for target in cluster.nodes:
                if target != source:
                    cluster.inject(source, target, datagram)
                    count += 1
            if number % 50 == 0:
                cluster.run(0.002)
        return count

    def test_sealed(self) -> None:
        """
        With a key, all that was said in earlier rings and earlier lives is
        refused, and nothing changes; what was lost then is late now, and heard
        at most once.  [pitfall L7]
        """
        cluster, captured = self.eventful(key=KEY)
        logs = {n: len(node.log) for n, node in cluster.nodes.items()}
        rings = [node.configuration for node in cluster.nodes.values()]
        states = dict(cluster.sometimes)
        for refused in (0.99, 1.0):
            before = self.dropped(cluster)
            count = self.replay(cluster, captured)
            self.assertGreaterEqual(self.dropped(cluster) - before, refused * count)
        self.assertEqual([n.configuration for n in cluster.nodes.values()], rings)
        self.assertEqual({n: len(x.log) for n, x in cluster.nodes.items()}, logs)
        self.assertEqual(dict(cluster.sometimes), states)
        cluster.settle()

    def dropped(self, cluster: Cluster) -> int:
        """
        Datagrams that were refused, by all together.
        """
        return sum(sum(shell(cluster, n).dropped().values()) for n in cluster.nodes)

    def test_plain(self) -> None:
        """
        Without a key the ring may be disturbed by what looks like other rings,
        but no token, message or ring counts again, there is no storm, and when
        it ends all is as before.  [pitfall L7]
        """
        cluster, captured = self.eventful()
        logs = {n: len(node.log) for n, node in cluster.nodes.items()}
        self.replay(cluster, captured)
        self.assertEqual({n: len(x.log) for n, x in cluster.nodes.items()}, logs)
        cluster.settle()
        self.assertEqual(cluster.nodes[A].members, (A, B, C))


class SecretStories(WholeStory):
    """
    What is written about a node that has a key.
    """

    def test_notShown(self) -> None:
        """
        The key is in no log line, trace, representation, statistics or error,
        in no spelling.  [pitfall L8]
        """
        shown: list[str] = []

        def observe(event: Any) -> None:
            shown.append(formatEvent(event))
            shown.append(repr([v for v in event.values() if ours(v)]))

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        cluster = self.whole(timing=QUICK, key=KEY, keepTrace=True)
        own = cluster.services(A).node.settings.totem.key
        assert own is not None
        captured = capture(cluster)
        cluster.run(0.1)
        cluster.inject(A, C, captured[-1][1][:-1] + b"?")
        cluster.kill(C)
        cluster.boot(C)
        cluster.settle()
        sealer: Any = shell(cluster, A)._sealer
        self.patch(sealer._cipher, "_encrypt", lambda *arguments: 1)
        cluster.services(A).totem.multicast(b"\x01\x00\x01\x00x")
        broken = self.assertRaises(PromiseBroken, cluster.run, 1)
        shown += [str(broken), *cluster.trace.lines()]
        services = cluster.services(B)
        protocol = shell(cluster, B)
        for thing in (services.node, services.totem, protocol, sealer):
            inside = [value for value in vars(thing).values() if ours(value)]
            shown += [repr(thing), str(thing), repr(inside)]
        shown += [repr(services.node.settings), repr(sealer._cipher)]
        shown.append(json.dumps(services.manager.dump(), default=repr))
        shown.append(json.dumps(services.totem.statistics()))
        self.assertRaises(ValueError, frame._Cipher, own + b"x")
        whole = "\n".join(shown)
        self.assertGreater(len(shown), 200)
        self.assertIn("libsodium does not encrypt", whole)
        for secret in (KEY, own):
            for spelling in self.spellings(secret):
                self.assertNotIn(spelling, whole)

    def spellings(self, secret: bytes) -> list[str]:
        """
        How a part of a key may be written.
        """
        part = secret[:12]
        return [
            part.hex(),
            part.hex().upper(),
            part.hex(" "),
            base64.b64encode(part).decode(),
            repr(part)[2:-1],
            str([*part])[1:-1],
            part.decode("latin-1"),
        ]
