"""
Faults: each really happens, and each time the cluster keeps its promise.
"""

import errno
from random import Random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import StorageRefused
from corotwist.simulator import Cluster, Faults
from corotwist.simulator.faults import CLOG_SECONDS, Spells
from corotwist.totem.effects import Deliver, Multicast, StoreRingId
from corotwist.totem.frame import FORGET
from corotwist.totem.states import In

KEY = b"k" * 32


class LinkFaultTests(SynchronousTestCase):
    """
    What links do.  The judges of every run see that nothing worse follows.
    """

    def bad(self, faults: Faults, key: bytes | None = None) -> Cluster:
        """
        A loaded cluster on such links; afterwards it settles in quiet.
        """
        seconds = 5.0
        cluster = Cluster(3, seed=11, key=key)
        cluster.settle(stay=False)
        cluster.faults = faults
        cluster.load(rate=30, seconds=seconds, sizes=(100, 1400, 4000))
        cluster.run(seconds)
        cluster.calm()
        cluster.run(2.0)
        cluster.settle(within=12)
        return cluster

    def counted(self, cluster: Cluster, name: str) -> int:
        """
        How often something happened to datagrams.
        """
        return cluster.network.counts[name]

    def test_spells(self) -> None:
        """
        Something is so for a while, again and again, at the given rate.
        """
        spells, random = Spells(), Random(5)
        ends = {spells.lasts(t / 100, 0.5, (0.1, 0.3), random) for t in range(100_000)}
        self.assertTrue(350 < len(ends) < 550, len(ends))
        self.assertIn(0.0, ends)

    def test_bursts(self) -> None:
        """
        Bursts of loss cost rings at worst.
        """
        cluster = self.bad(Faults(burst=0.3, burstLoss=0.9))
        self.assertTrue(self.counted(cluster, "burst") > 50)

    def test_clogs(self) -> None:
        """
        Links that stop and bring everything at once later cost rings at
        worst.
        """
        cluster = self.bad(Faults(clog=0.2))
        self.assertTrue(self.counted(cluster, "clogged") > 2)

    def test_clog(self) -> None:
        """
        A link that stops for less than the token timeout allows costs no
        ring, and everything comes, in order.
        """
        cluster = Cluster(3)
        cluster.settle()
        before = len(cluster.nodes[1].configurations)
        cluster.clog(1, 2, 0.5)
        cluster.multicast(1, b"a")
        cluster.multicast(1, b"b")
        cluster.run(0.4)
        self.assertEqual(cluster.nodes[2].log, [])
        cluster.run(0.4)
        self.assertEqual(cluster.nodes[2].log, [b"a", b"b"])
        self.assertTrue(self.counted(cluster, "clogged"))
        self.assertEqual(len(cluster.nodes[1].configurations), before)

    def test_replay(self) -> None:
        """
        Every message that comes again, seconds later, does nothing.
        """
        cluster = self.bad(Faults(replay=0.05, replayAfter=5.0))
        self.assertTrue(self.counted(cluster, "replayed") > 50)

    def test_oversize(self) -> None:
        """
        Sealed datagrams with something appended are dropped, as if lost.
        """
        cluster = self.bad(Faults(oversize=0.05), KEY)
        self.assertTrue(self.counted(cluster, "damaged") > 20)
        for nodeid in cluster.nodes:
            counters = cluster.running(nodeid).service.statistics()
            self.assertTrue(counters["dropped.ForgedFrame"], counters)

    def test_bridge(self) -> None:
        """
        One node sees both sides: the rings that form are right, nobody
        storms, and all are one again when the network is whole.
        """
        cluster = Cluster(5, seed=2)
        cluster.settle()
        cluster.bridge(3, (1, 2, 3), (3, 4, 5))
        cluster.load(rate=10, seconds=8)
        cluster.run(8)
        self.assertTrue(self.counted(cluster, "cut"))
        cluster.heal()
        cluster.run(1)
        cluster.settle(within=12)

    def test_swizzle(self) -> None:
        """
        Nodes whose links stop one after the other, and go on in another
        order, become one ring again.
        """
        cluster = Cluster(5, seed=4)
        cluster.settle()
        cluster.load(rate=10, seconds=6)
        for step in (0.05, 0.2, 0.6):
            cluster.swizzle((1, 3, 4), step)
            cluster.run(step * 6)
        self.assertTrue(self.counted(cluster, "clogged") > 20)
        cluster.run(3)
        cluster.settle(within=12)

    def test_reflection(self) -> None:
        """
        A cluster that broadcasts hears itself late, and in another order:
        nothing follows.
        """
        cluster = Cluster(3, totem={"transport": "udp", "broadcast": True})
        cluster.network.reflection = Faults(delay=0.02, reorder=0.3, reorderBy=0.1)
        cluster.settle()
        cluster.load(rate=50, seconds=2)
        cluster.run(3)
        cluster.settle()
        for nodeid in cluster.nodes:
            counters = cluster.running(nodeid).service.statistics()
            self.assertTrue(counters["datagramsReflected"] > 50)


class AttackTests(SynchronousTestCase):
    """
    Somebody without a key.
    """

    def test_sealed(self) -> None:
        """
        Whatever he sends, from whatever address, a sealed cluster does not
        even notice: not by traffic of earlier rings and lives, nor of another
        cluster.
        """
        cluster = Cluster(3, seed=6, key=KEY)
        cluster.attacker.listen()
        cluster.settle()
        cluster.kill(2)
        cluster.settle()
        cluster.boot(2)
        cluster.settle()
        before = [node.configurations[-1] for node in cluster.nodes.values()]
        cluster.attack(rate=1000, seconds=3)
        cluster.load(rate=20, seconds=3)
        cluster.run(4)
        after = [node.configurations[-1] for node in cluster.nodes.values()]
        self.assertEqual(after, before)
        counts = cluster.attacker.counts
        self.assertTrue(all(counts[kind] > 300 for kind in counts), counts)
        counters = cluster.running(1).service.statistics()
        for kind in ("ForgedFrame", "ReplayedFrame", "UnknownFrame"):
            self.assertTrue(counters[f"dropped.{kind}"] > 20, counters)
        self.assertTrue(counters["datagramsUnlisted"] > 20)
        cluster.settle()

    def test_fresh(self) -> None:
        """
        Nodes that come back and have forgotten whom they heard are not led
        astray by the traffic of their former life.
        """
        cluster = Cluster(3, seed=7, key=KEY)
        cluster.attacker.listen()
        cluster.settle()
        cluster.load(rate=50, seconds=2)
        cluster.run(3)
        cluster.kill(1, 2, 3)
        cluster.attack(rate=500, seconds=20, kinds=("old", "changed"))
        cluster.run(0.2)
        cluster.boot(1, 2, 3)
        cluster.run(10)
        self.assertTrue(cluster.attacker.counts["old"] > 1000)
        cluster.settle(within=12)

    def test_plain(self) -> None:
        """
        Without seals, strangers are not heard, and noise is noise.
        """
        cluster = Cluster(3, seed=8)
        cluster.settle()
        before = [len(node.configurations) for node in cluster.nodes.values()]
        cluster.attack(rate=500, seconds=3)
        cluster.run(4)
        after = [len(node.configurations) for node in cluster.nodes.values()]
        self.assertEqual(after, before)
        self.assertEqual(len(cluster.attacker.counts), 4)


class MachineFaultTests(SynchronousTestCase):
    """
    What machines do.
    """

    def formed(self, size: int = 3, **options: object) -> Cluster:
        cluster = Cluster(size, **options)  # type: ignore[arg-type]
        cluster.settle(stay=False)
        return cluster

    def test_interface(self) -> None:
        """
        A node without interface is alone within a token and a consensus
        timeout, does not end, and is back when the interface is.
        """
        cluster = self.formed()
        cluster.interfaceDown(2)
        self.assertTrue(
            cluster.runUntil(lambda: cluster.nodes[2].members == (2,), within=2.5)
        )
        cluster.run(3)
        self.assertEqual(cluster.nodes[1].members, (1, 3))
        refused = cluster.running(2).service.statistics()["datagramsRefused"]
        self.assertTrue(refused > 10, refused)
        cluster.interfaceUp(2)
        cluster.settle()

    def test_refusals(self) -> None:
        """
        A kernel that does not take every datagram is like a network that
        loses some.
        """
        for number in (errno.ENOBUFS, errno.EAGAIN, errno.EPERM, errno.ECONNREFUSED):
            cluster = self.formed(seed=3)
            cluster.refuseSending(2, number, 0.1)
            cluster.load(rate=50, seconds=3)
            cluster.run(4)
            counters = cluster.running(2).service.statistics()
            self.assertTrue(counters["datagramsRefused"] > 10, counters)
            cluster.calm()
            cluster.settle(within=12)

    def test_smallBuffer(self) -> None:
        """
        A node whose receive buffer is small loses what comes while it is not
        scheduled, and has it sent again.
        """
        cluster = self.formed()
        cluster.running(2).port.receiveBytes = 20_000
        cluster.load(rate=200, seconds=3, sizes=(1000,), nodeids=(1, 3))
        for _ in range(6):
            cluster.run(0.5)
            cluster.pause(2, 0.3)
        cluster.run(2)
        self.assertTrue(cluster.running(2).port.counts["overflow"] > 10)
        cluster.settle(within=12)

    def test_clockSteps(self) -> None:
        """
        The time of day jumps, forward and back, under running nodes and
        between two lives: only the clock that rises counts.
        """
        for services in (False, True):
            cluster = self.formed(3, key=KEY, services=services)
            before = cluster.nodes[2].configurations[-1]
            for step in (3600.0, -7200.0, 1.0, -1.0):
                cluster.stepClock(2, step)
                cluster.run(1.5)
            self.assertEqual(cluster.nodes[2].configurations[-1], before)
            for step in (86_400.0, 1.0, 3600.0):
                cluster.kill(2)
                cluster.stepClock(2, step)
                cluster.settle()
                cluster.boot(2)
                cluster.settle()

    def test_clockBetweenLives(self) -> None:
        """
        A node whose time of day went back while it was down, and who lost its
        disk too, may be taken for a recording of its former self, until that
        one has been silent for L{FORGET}.  With its disk it is heard at once.
        """
        cluster = self.formed(3, key=KEY)
        cluster.kill(2)
        cluster.stepClock(2, -3600.0)
        cluster.run(1)
        cluster.boot(2)
        cluster.settle()
        cluster.kill(2)
        cluster.stepClock(2, -3600.0)
        cluster.boot(2, fresh=True)
        cluster.run(FORGET - 10)
        self.assertEqual(cluster.nodes[1].members, (1, 3))
        cluster.run(15)
        cluster.settle()

    def test_drift(self) -> None:
        """
        Clocks a tenth too fast or too slow harm nothing.
        """
        cluster = self.formed(4, drift=0.1, seed=9)
        rates = {cluster.running(n).clock.rate for n in cluster.nodes}
        self.assertEqual(len(rates), 4)
        cluster.load(rate=20, seconds=5)
        cluster.run(6)
        cluster.settle()

    def test_slow(self) -> None:
        """
        One whose every piece of work takes 5 ms slows the token down, and
        stays.
        """
        cluster = self.formed()
        before = cluster.nodes[2].configurations[-1]
        cluster.slow(2, 0.005)
        cluster.load(rate=10, seconds=3)
        cluster.run(5)
        self.assertEqual(cluster.nodes[2].configurations[-1], before)
        cluster.settle()

    def test_disks(self) -> None:
        """
        A disk that takes no ring id keeps its node out of rings, and nothing
        else: it goes on trying, and is in when the disk works again.
        """
        for number in (errno.ENOSPC, errno.EIO, errno.EROFS):
            cluster = self.formed()
            cluster.kill(3)
            cluster.settle()
            cluster.nodes[2].disk.failure = number
            stored = cluster.nodes[2].disk.durable
            cluster.boot(3)
            cluster.run(6)
            self.assertEqual(cluster.nodes[2].disk.durable, stored)
            self.assertNotEqual(cluster.nodes[2].members, (1, 2, 3))
            cluster.nodes[2].disk.failure = None
            cluster.run(2)
            cluster.settle(within=12)

    def test_slowDisk(self) -> None:
        """
        A disk that takes two seconds and more for a write delays rings, and
        blocks nobody: messages go on where there is a ring.
        """
        cluster = self.formed()
        cluster.kill(3)
        cluster.settle()
        cluster.nodes[2].disk.syncSeconds = 2.0
        cluster.boot(3)
        cluster.run(0.5)
        cluster.nodes[2].disk.syncSeconds = 0.001
        cluster.run(8)
        cluster.settle(within=12)

    def test_unwritable(self) -> None:
        """
        A node that cannot write its directory refuses to start, with a
        sentence.
        """
        cluster = self.formed()
        cluster.kill(2)
        cluster.nodes[2].disk.failure = errno.EROFS
        refusal = self.assertRaises(StorageRefused, cluster.boot, 2)
        self.assertIn("Read-only file system", str(refusal))
        self.assertTrue(cluster.nodes[2].down)
        cluster.nodes[2].disk.failure = None
        cluster.boot(2)
        cluster.settle()

    def test_damagedFile(self) -> None:
        """
        A ring id file that is short is as good as lost, one that cannot be
        ours keeps the node from starting.
        """
        cluster = self.formed()
        for size in range(8):
            cluster.kill(2)
            cluster.nodes[2].disk.contents = bytes(size)
            cluster.boot(2)
            cluster.settle(stay=False)
        cluster.kill(2)
        for contents in (bytes(9), b"\xff" * 8):
            cluster.nodes[2].disk.contents = contents
            self.assertRaises(StorageRefused, cluster.boot, 2)

    def test_tornWrites(self) -> None:
        """
        A machine that goes down in the middle of storing a ring id has the
        old one or the new one afterwards, and never uses one twice.
        """
        torn = 0
        for seed in range(12):
            cluster = self.formed(3, seed=seed)
            cluster.nodes[2].disk.syncSeconds = 0.02
            for _ in range(4):
                cluster.crashAfter(2, kind=StoreRingId)
                cluster.kill(3)
                cluster.runUntil(lambda: cluster.nodes[2].down, within=5)  # noqa: B023
                if cluster.nodes[2].up:
                    cluster.kill(2)
                cluster.boot(2, 3)
                cluster.run(0.1)
            torn += cluster.nodes[2].disk.torn
            cluster.settle(within=12)
        self.assertTrue(cluster.jury.trace.count)

    def test_files(self) -> None:
        """
        A process that can open nothing stays in its ring; it cannot be in
        another one before it can store its name.
        """
        cluster = self.formed(3)
        before = cluster.nodes[2].configuration
        cluster.exhaustFiles(2)
        cluster.load(rate=10, seconds=2)
        cluster.run(3)
        self.assertIs(cluster.nodes[2].configuration, before)
        cluster.kill(3)
        cluster.run(5)
        self.assertIs(cluster.nodes[2].configuration, before)
        cluster.freeFiles(2)
        cluster.settle(within=12)
        self.assertEqual(cluster.nodes[2].members, (1, 2))

    def test_crashBetweenEffects(self) -> None:
        """
        A process may end between any two effects of its ring: what it asked
        for before happened, what it asked for after did not, and the others
        keep their promises.
        """
        for effects in range(0, 40, 3):
            cluster = self.formed(3, seed=effects)
            for number in range(30):
                cluster.multicast(1 + number % 3, b"%d" % number)
            cluster.crashAfter(2, effects)
            self.assertTrue(
                cluster.runUntil(lambda: cluster.nodes[2].down, within=2)  # noqa: B023
            )
            cluster.settle()
            self.assertEqual(cluster.nodes[1].members, (1, 3))
            cluster.boot(2)
            cluster.settle()

    def test_crashAtKind(self) -> None:
        """
        Also at an effect of a kind: while it sends, while it delivers.
        """
        for kind in (Multicast, Deliver):
            cluster = self.formed()
            for number in range(60):
                cluster.multicast(2, b"%d" % number + bytes(1000))
            cluster.crashAfter(2, 1, kind)
            cluster.run(0.1)
            self.assertTrue(cluster.nodes[2].down)
            cluster.settle()

    def test_twice(self) -> None:
        """
        A second process of a node refuses to start, with a sentence, and the
        first one and its ring do not notice.
        """
        for services in (False, True):
            cluster = self.formed(services=services)
            before = [node.configuration for node in cluster.nodes.values()]
            refusal = self.assertRaises(StorageRefused, cluster.double, 2)
            self.assertIn("belongs to a node that runs", str(refusal))
            inUse = self.assertRaises(OSError, cluster.double, 2, ownDisk=True)
            self.assertEqual(inUse.errno, errno.EADDRINUSE)
            self.assertIn("cannot bind 10.0.0.2 port 5405", str(inUse))
            cluster.run(3)
            after = [node.configuration for node in cluster.nodes.values()]
            self.assertEqual(after, before)
            cluster.kill(2)
            cluster.boot(2)
            cluster.settle()

    def test_pause(self) -> None:
        """
        A pause shorter than the token timeout costs nothing; a longer one a
        new ring, in which all are again.
        """
        cluster = self.formed()
        before = len(cluster.nodes[1].configurations)
        cluster.pause(2, 0.5)
        cluster.run(2)
        self.assertEqual(len(cluster.nodes[1].configurations), before)
        cluster.pause(2, 4.0)
        cluster.run(5)
        self.assertTrue(len(cluster.nodes[1].configurations) > before)
        cluster.settle(within=12)
        self.assertEqual(cluster.nodes[1].state, In.OPERATIONAL)

    def test_calm(self) -> None:
        """
        When a story calms down, none of this is left.
        """
        cluster = self.formed(2, services=True)
        cluster.interfaceDown(1)
        cluster.refuseSending(1, errno.EPERM)
        cluster.exhaustFiles(1)
        cluster.crashAfter(1, 1_000_000)
        cluster.clog(1, 2, 100.0)
        cluster.attack(10, 100)
        cluster.calm()
        process = cluster.running(1)
        self.assertEqual((process.port.down, process.port.refusal), (False, None))
        self.assertEqual((process.fuse, process.storage.exhausted), (None, False))
        cluster.run(1)
        self.assertTrue(cluster.attacker.counts.total() <= 1)
        cluster.settle(within=12)
        waiting: Deferred[None] = Deferred()
        cluster.clock.callLater(CLOG_SECONDS[0], waiting.callback, None)
        cluster.wait(waiting)
