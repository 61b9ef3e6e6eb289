"""
Stories about the networks under a ring: interfaces that go, buffers that are
full, strangers, and numbers that wrap.  [pitfalls K]
"""

import errno
from collections.abc import Iterable
from typing import Any

from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.test.scenarios.story import (
    LONG,
    A,
    B,
    C,
    D,
    Story,
    changes,
    shell,
)
from corotwist.totem.knet import packet as knet
from corotwist.totem.wire import Join, MergeDetect

KEY = bytes(range(32))
QUICK = timingFor(0.2)
# Heal to one ring, under load.  [EVS L1]
MERGED_SECONDS = 2.0
FLOOD_SECONDS = 10.0 if LONG else 0.3
STRANGER = ("10.0.9.9", 5405)


class NetworkStories(Story):
    """
    Sockets, and what they meet.
    """

    def alone(self, cluster: Cluster, nodeids: Iterable[int]) -> None:
        """
        These are each on a ring of one, and hear themselves.
        """
        for nodeid in nodeids:
            self.assertEqual(cluster.nodes[nodeid].members, (nodeid,))
            self.send(cluster, nodeid, b"alone %d" % nodeid)
        cluster.run(0.5)
        for nodeid in nodeids:
            self.assertEqual(cluster.nodes[nodeid].log[-1], b"alone %d" % nodeid)

    def test_countersWrap(self) -> None:
        """
        The numbers of datagrams pass 2**31 and 2**32: nobody is shut out.
        [pitfall K1]
        """
        cluster = self.formed(key=KEY, timing=QUICK)
        for number in (1 << 31, 1 << 32):
            for nodeid in cluster.nodes:
                sealer: Any = shell(cluster, nodeid)._sealer
                sealer._counter = number - 200
            before = changes(cluster)
            cluster.load(200, 1, (500,))
            cluster.run(1.5)
            self.assertEqual(changes(cluster), before)
            for nodeid in cluster.nodes:
                sealer = shell(cluster, nodeid)._sealer
                self.assertGreater(sealer._counter, number)
        cluster.settle()
        self.assertSame(cluster)

    def test_allDown(self) -> None:
        """
        No interface is left anywhere: each node is a ring of one that hears
        itself, and nobody is in a hurry; later all are one ring again.
        [pitfall K2]
        """
        cluster = self.formed(timing=QUICK)
        for nodeid in cluster.nodes:
            cluster.interfaceDown(nodeid)
        cluster.run(2)
        self.alone(cluster, cluster.nodes)
        tokens = [cluster.nodes[n].statistics.tokens for n in cluster.nodes]
        cluster.run(10)
        after = [cluster.nodes[n].statistics.tokens for n in cluster.nodes]
        self.assertLess(max(b - a for a, b in zip(tokens, after, strict=True)), 1000)
        for nodeid in cluster.nodes:
            cluster.interfaceUp(nodeid)
        cluster.settle()

    def test_oneWayFlood(self) -> None:
        """
        One node sends ten thousand messages a second: nobody suspects anybody.
        [pitfall K4]
        """
        cluster = self.formed()
        before = changes(cluster)
        cluster.load(10_000, FLOOD_SECONDS, (100,), nodeids=[A])
        cluster.run(FLOOD_SECONDS + 1)
        self.assertEqual(changes(cluster), before)
        cluster.settle()
        self.assertGreater(len(cluster.nodes[C].log), 8_000 * FLOOD_SECONDS)
        self.assertSame(cluster)

    def test_returningUnderLoad(self) -> None:
        """
        A node that was alone comes back while the others are busy, and each
        sends to nodes one by one: they hear of each other soon.
        [pitfall K6]
        """
        cluster = self.formed(4)
        cluster.partition({A, B, C}, {D})
        cluster.settle()
        cluster.load(500, MERGED_SECONDS + 1, (200,))
        cluster.run(0.5)
        cluster.heal()
        merged = cluster.runUntil(
            lambda: all(n.members == (A, B, C, D) for n in cluster.nodes.values()),
            MERGED_SECONDS,
        )
        self.assertTrue(merged)
        cluster.settle()

    def test_unlisted(self) -> None:
        """
        Somebody who is in no node list goes on talking: it is not heard, and
        counted.  [pitfall K8]
        """
        for blocked in (True, False):
            options: dict[str, Any] = {}
            if not blocked:
                options["totem"] = {"block_unlisted_ips": False}
            cluster = self.formed(**options)
            ringId = cluster.nodes[A].configuration
            assert ringId is not None
            highest = ringId.ringId.sequence
            before = changes(cluster)
            for _ in range(20):
                join = Join(9, 9, (A, B, C, 9), (), highest)
                merge = MergeDetect(9, 9, ringId.ringId)
                for message in (join, merge):
                    cluster.network.forge(STRANGER, A, message.encode())
                cluster.run(0.1)
            cluster.run(4)
            counted = cluster.running(A).service.statistics()["datagramsUnlisted"]
            self.assertEqual(changes(cluster) == before, blocked)
            self.assertEqual(counted, 40 if blocked else 0)
            cluster.settle(within=20)

    def test_fullBuffers(self) -> None:
        """
        The kernel takes one datagram in three no more, and keeps few: that is
        loss, and no more than that.  [pitfall K9]
        """
        cluster = self.formed()
        for nodeid in cluster.nodes:
            cluster.refuseSending(nodeid, errno.ENOBUFS, 0.3)
            cluster.running(nodeid).port.receiveBytes = 20_000
        cluster.load(50, 2, (100, 3000))
        cluster.run(3)
        refused = [cluster.running(n).port.counts["refused"] for n in cluster.nodes]
        self.assertGreater(min(refused), 5)
        for nodeid in cluster.nodes:
            cluster.refuseSending(nodeid, 0)
        cluster.settle()
        self.assertGreater(len(cluster.nodes[A].log), 100)

    def test_interfaceGoes(self) -> None:
        """
        The interface of a node is gone for a while: the node is alone, goes on
        for itself, and is one of them again when it is back.  [pitfall K10]
        """
        cluster = self.formed()
        life = cluster.running(A).life
        cluster.interfaceDown(A)
        cluster.run(4)
        self.alone(cluster, [A])
        self.assertEqual(cluster.nodes[B].members, (B, C))
        cluster.interfaceUp(A)
        cluster.settle()
        self.assertIs(cluster.running(A).life, life)
        self.assertEqual(cluster.nodes[B].members, (A, B, C))

    def test_brokenPath(self) -> None:
        """
        Large datagrams of one node do not reach another, but those of a third
        do: it sends them again, and everybody stays.  [pitfall K11]
        """
        cluster = self.formed(timing=timingFor(0.2, failReceive=50))
        before = cluster.nodes[C].configurations[-1]
        cluster.link(A, C).faults = Faults(largest=1000)
        for number in range(500):
            self.assertTrue(cluster.multicast(A, b"%03d" % number * 700))
            cluster.run(0.02)
        cluster.settle()
        self.assertEqual(len(cluster.nodes[C].log), 500)
        self.assertEqual(cluster.nodes[C].configurations[-1], before)

    def test_blackHole(self) -> None:
        """
        No large datagrams reach a node, small ones do: it is out as soon as it
        cannot keep up, and comes back ever more rarely; the others lose
        nothing, and when the paths are whole it is one of them.  [pitfall K11]
        """
        timing = timingFor(0.2, failReceive=50)
        cluster = self.formed(timing=timing)
        for sender in (A, B):
            cluster.link(sender, C).faults = Faults(largest=1000)
        left: list[float] = []
        inside = True
        accepted = 0
        for number in range(1000):
            accepted += cluster.multicast(A, b"%03d" % number * 700)
            cluster.run(0.02)
            if inside and C not in cluster.nodes[A].members:
                left.append(cluster.seconds())
            inside = C in cluster.nodes[A].members
        self.assertTrue(left)
        self.assertLess(left[0], 0.5)
        self.assertLess(len([t for t in left if t > left[0] + 10]), 4)
        cluster.calm()
        cluster.settle(within=10)
        self.assertEqual(accepted, 1000)
        self.assertEqual(len(cluster.nodes[B].log), accepted)
        self.assertSame(cluster, (A, B))
        self.assertEqual(cluster.nodes[A].members, (A, B, C))

    def test_firstDatagrams(self) -> None:
        """
        A node starts while the others flood it, on a network that reorders:
        what came before the first that it accepts is refused, not all that
        follows.  [pitfall K12]
        """
        cluster = self.formed(key=KEY, timing=QUICK)
        for seed in range(5):
            cluster.faults = Faults(reorder=0.3, reorderBy=0.005)
            cluster.load(300, 2, (500,))
            cluster.kill(C)
            cluster.run(0.1 + 0.01 * seed)
            cluster.boot(C)
            joined = cluster.runUntil(
                lambda: all(n.members == (A, B, C) for n in cluster.nodes.values()), 2
            )
            self.assertTrue(joined)
            cluster.run(1)
        refused = shell(cluster, C).dropped().get("ReplayedFrame", 0)
        heard = cluster.running(C).service.statistics()["datagramsReceived"]
        self.assertLess(refused, heard / 20)
        cluster.calm()
        cluster.settle()

    def test_reusedNumbers(self) -> None:
        """
        Of a message in pieces one is lost; 65 536 packets later its number
        comes again, with as many pieces, of which another one is lost: nothing
        is made of the halves.  [pitfall K13]
        """
        defragmenter = knet.Defragmenter()
        first, _ = self.pieces(7, b"old ", b"lost")
        _, last = self.pieces(7, b"lost", b"new")
        self.assertIsNone(defragmenter.received(first))
        for number in range(8, 7 + (1 << 16)):
            whole = knet.Data(A, number % (1 << 16), b"whole")
            self.assertEqual(defragmenter.received(whole), b"whole")
        self.assertIsNone(defragmenter.received(last))
        self.assertEqual(defragmenter.dropped, 1)

    def pieces(self, number: int, *parts: bytes) -> list[knet.Data]:
        """
        Packets of one message.
        """
        return [
            knet.Data(A, number, part, fragments=len(parts), fragment=place)
            for place, part in enumerate(parts, 1)
        ]
