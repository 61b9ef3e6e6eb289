"""
Stories about keys that change while a cluster runs.
"""

from itertools import permutations
from typing import Any

from corotwist.engines.rekeying import FINGERPRINT_BYTES, KeyStep, Rekeying, Step
from corotwist.errors import BadCount, Busy, TruncatedFrame, TryAgain
from corotwist.simulator import Cluster
from corotwist.test.scenarios.story import A, B, C, changes, shell
from corotwist.test.scenarios.whole import WholeStory
from corotwist.totem.frame import Sealer

OLD, NEW, NEWER = (bytes([number]) * 32 for number in (1, 2, 3))


class RekeyingStories(WholeStory):
    """
    Three whole nodes whose datagrams are sealed.
    """

    def setUp(self) -> None:
        self.trio: Cluster = self.whole(key=OLD)
        self.before = changes(self.trio)

    def reload(self, *nodeids: int, local: bool = True) -> None:
        for nodeid in nodeids:
            client = self.trio.connect(nodeid)
            report: Any = self.trio.wait(client.cfg.reload(local=local))
            self.assertEqual(report["status"], "applied")
            self.assertFalse(report["restart"])

    def step(self, nodeid: int) -> Step:
        step: Step = self.trio.engine(nodeid, "cfg")._rekeying.step
        return step

    def marks(self, nodeid: int) -> tuple[bytes, set[int]]:
        """
        By their marks: with which key a node seals, and what it opens.
        """
        protocol: Any = shell(self.trio, nodeid)
        sealed = protocol._sealer._header[3:4]
        return sealed, set(protocol._opener._ciphers)

    def assertChanged(self, key: bytes, *nodeids: int) -> None:
        """
        These nodes seal with one key, and open no other.
        """
        self.trio.run(1.0)
        mark = Sealer(key, 1, 1, bytes(8))._header[3]
        for nodeid in nodeids or self.trio.nodes:
            self.assertEqual(self.step(nodeid), Step.DONE)
            self.assertEqual(self.marks(nodeid), (bytes([mark]), {mark}))

    def assertQuietly(self) -> None:
        """
        No node has seen another ring.
        """
        self.assertEqual(changes(self.trio), self.before)

    def test_together(self) -> None:
        """
        One node is asked, and all three go from one key to the other, and do
        not know the old one any more; the ring stays. (F8)
        """
        self.trio.rekey(NEW)
        self.reload(A, local=False)
        self.assertChanged(NEW)
        self.assertQuietly()
        self.trio.rekey(NEWER)
        self.reload(B, local=False)
        self.assertChanged(NEWER)
        self.assertQuietly()

    def test_oneAfterTheOther(self) -> None:
        """
        Nodes read the new key one after the other, within five seconds, in
        whatever order: the ring stays. (F8) [pitfall L5]
        """
        keys = [bytes([number]) * 32 for number in range(10, 17)]
        for key, order in zip(keys, permutations((A, B, C)), strict=False):
            self.trio.rekey(key)
            for nodeid in order[:-1]:
                self.reload(nodeid)
                self.trio.run(2.0)
                self.assertEqual(self.step(nodeid), Step.ACTIVATE)
            self.reload(order[-1])
            self.assertChanged(key)
        self.assertQuietly()

    def test_oneLacksIt(self) -> None:
        """
        As long as one node has another key in its file, all go on with the old
        one; and when it has the new one, all change. (F8)
        """
        self.trio.rekey(NEW, A, B)
        self.reload(A, local=False)
        self.trio.run(5.0)
        self.assertEqual([self.step(n) for n in (A, B, C)], [1, 1, 3])
        self.assertRaises(Busy, self.trio.engine(A, "cfg").handOver)
        self.trio.rekey(NEW, C)
        self.reload(C)
        self.assertChanged(NEW)
        self.assertQuietly()

    def test_takenBack(self) -> None:
        """
        A change that waits for somebody can be taken back. (F8)
        """
        self.trio.rekey(NEW, A)
        self.reload(A)
        self.trio.rekey(OLD, A)
        self.reload(A)
        self.assertChanged(OLD)
        self.assertQuietly()

    def test_crash(self) -> None:
        """
        A node that crashes in the middle does not keep the others from
        changing; it comes back with what is in its file. (F8)
        """
        self.trio.rekey(NEW)
        self.reload(A, B)
        self.trio.kill(C)
        self.trio.run(5.0)
        self.assertChanged(NEW, A, B)
        self.trio.boot(C)
        self.trio.settle(stay=False)
        self.assertChanged(NEW)

    def test_partition(self) -> None:
        """
        Each part of a cluster that is cut in two in the middle changes by
        itself, and they find together again. (F8)
        """
        self.trio.rekey(NEW)
        self.reload(A, C)
        self.trio.partition({A}, {B, C})
        self.trio.run(5.0)
        self.assertChanged(NEW, A)
        self.assertEqual(self.step(C), Step.ACTIVATE)
        self.reload(B)
        self.assertChanged(NEW, B, C)
        self.trio.heal()
        self.trio.settle(stay=False)
        self.assertChanged(NEW)

    def test_meetsOnesThatAreDone(self) -> None:
        """
        Nodes that have changed answer one that still waits, because the ring
        changed before it heard them. (F8)
        """
        self.trio.rekey(NEW)
        self.reload(A, local=False)
        self.assertChanged(NEW)
        waiting = self.trio.engine(B, "cfg")._rekeying
        waiting.step = Step.CLEANUP
        waiting.membershipChanged()
        self.assertChanged(NEW)

    def test_noRoom(self) -> None:
        """
        What cannot be said now is said later.
        """
        engine = self.trio.engine(A, "cfg")
        multicast, tried = engine.cluster.multicastCompact, []

        def full(body: bytes) -> None:
            tried.append(body)
            if len(tried) < 3:
                raise TryAgain("no room")
            multicast(body)

        engine.cluster.multicastCompact = full
        self.trio.rekey(NEW)
        self.reload(B, C, A)
        self.assertChanged(NEW)
        self.assertQuietly()

    def test_nonsense(self) -> None:
        """
        What is no step of a change is refused.
        """
        step = KeyStep(Step.CLEANUP, bytes(FINGERPRINT_BYTES))
        self.assertEqual(KeyStep.decode(step.encode()), step)
        for size in range(len(step.encode())):
            self.assertRaises(TruncatedFrame, KeyStep.decode, step.encode()[:size])
        wrong = step.encode()[:1] + b"\x04" + step.encode()[2:]
        self.assertRaises(BadCount, Rekeying().delivered, A, wrong)
