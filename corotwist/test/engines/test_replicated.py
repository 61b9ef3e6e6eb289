"""
Tests of the keys that all nodes have alike.
"""

from struct import pack
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import QuorumSettings
from corotwist.config.tracking import ALL
from corotwist.config.values import Value, string, u8, u32
from corotwist.engines.keyspace import Condition
from corotwist.engines.proposals import MOST_PROPOSALS
from corotwist.engines.replica import MOST_STATE_BYTES
from corotwist.engines.replicated import ReplicatedKeysEngine
from corotwist.engines.replication import Function
from corotwist.errors import (
    BadHandle,
    Conflict,
    Interrupted,
    InvalidParameter,
    NotExist,
    NotQuorate,
    ServiceError,
    TryAgain,
)
from corotwist.test.engines.orderednet import SHIPPED, Maker, Node, OrderedNet

# What may stand before the bytes of a message.
PREFIXES = ("nothing", "ring", "serial")
WITH_KEYS = (*SHIPPED, Maker("replicated", ReplicatedKeysEngine))


def keysOf(node: Node) -> dict[str, Value]:
    """
    What a node has, in its map.
    """
    return dict(node.manager.database.map.items("cluster."))


class ReplicatedTestCase(SynchronousTestCase):
    """
    Five nodes.
    """

    def setUp(self) -> None:
        self.net = OrderedNet(WITH_KEYS, 5)

    def boot(self, *nodeids: int, **settings: Any) -> None:
        """
        Start nodes, which are on no ring.
        """
        self.net.boot(*nodeids, **settings)

    def ring(self, *nodeids: int) -> None:
        """
        A ring of them, synchronized.
        """
        self.net.form(*nodeids)
        self.net.run()

    def engine(self, nodeid: int) -> Any:
        return self.net.nodes[nodeid].engine("replicated")

    def set(self, nodeid: int, name: str, value: Value | None, **wish: Any) -> Any:
        done: Deferred[int] = self.engine(nodeid).set(name, value, Condition(**wish))
        return done

    def assertAlike(self, expected: dict[str, Value], *nodeids: int) -> None:
        for nodeid in nodeids or sorted(self.net.nodes):
            self.assertEqual(keysOf(self.net.nodes[nodeid]), expected, nodeid)


class WritingTests(ReplicatedTestCase):
    """
    Three nodes of five on one ring.
    """

    def setUp(self) -> None:
        super().setUp()
        self.boot(1, 2, 3)
        self.ring(1, 2, 3)

    def test_everywhere(self) -> None:
        """
        What one node writes all have, and it hears of it when it is ordered
        and not before (E12).
        """
        done = self.set(1, "cluster.colour", string("red"))
        self.assertNoResult(done)
        self.assertAlike({})
        self.net.run()
        self.assertEqual(self.successResultOf(done), 1)
        self.assertAlike({"cluster.colour": string("red")})
        self.assertEqual(self.engine(3).versionOf("cluster.colour"), 1)

    def test_oneOrder(self) -> None:
        """
        Of two that write at once the later one in the order stays, everywhere
        (E12).
        """
        self.set(1, "cluster.who", u32(1))
        self.set(2, "cluster.who", u32(2))
        self.net.run()
        self.assertAlike({"cluster.who": u32(2)})

    def test_compareAndSet(self) -> None:
        """
        Of two that expect the same value only one writes; the other hears that
        it came too late (E12).
        """
        self.set(1, "cluster.lock", string("free"))
        self.net.run()
        free = Condition(checked=True, value=string("free"))
        first = self.engine(2).set("cluster.lock", string("two"), free)
        second = self.engine(3).set("cluster.lock", string("three"), free)
        self.net.run()
        self.successResultOf(first)
        self.failureResultOf(second, Conflict)
        self.assertAlike({"cluster.lock": string("two")})

    def test_byVersion(self) -> None:
        """
        A version stands for a value that was read; absent is version 0 (E12).
        """
        made = self.set(1, "cluster.job", u8(1), version=0)
        self.net.run()
        version = self.successResultOf(made)
        again = self.set(2, "cluster.job", u8(2), version=0)
        good = self.set(2, "cluster.job", u8(3), version=version)
        self.net.run()
        self.failureResultOf(again, Conflict)
        self.successResultOf(good)
        self.assertAlike({"cluster.job": u8(3)})

    def test_delete(self) -> None:
        """
        What is deleted is gone everywhere; what is not there cannot be.
        """
        self.set(1, "cluster.job", u8(1))
        self.net.run()
        gone = self.set(2, "cluster.job", None)
        again = self.set(2, "cluster.job", None)
        self.net.run()
        self.assertEqual(self.successResultOf(gone), 0)
        self.failureResultOf(again, NotExist)
        self.assertAlike({})

    def test_adjust(self) -> None:
        """
        Counting from several nodes loses none.
        """
        self.set(1, "cluster.count", u32(0))
        done = [
            self.engine(nodeid).adjust("cluster.count", 2)
            for nodeid in (1, 2, 3)
            for _ in range(5)
        ]
        self.net.run()
        last = max(self.successResultOf(one).content for one in done)
        self.assertEqual(last, 30)
        self.assertAlike({"cluster.count": u32(30)})

    def test_refused(self) -> None:
        """
        What is no such key, or no number, is refused when it is ordered.
        """
        self.set(1, "cluster.word", string("x"))
        wrong = self.set(1, "other.key", u8(1))
        text = self.engine(1).adjust("cluster.word", 1)
        self.net.run()
        self.failureResultOf(wrong, InvalidParameter)
        self.failureResultOf(text, InvalidParameter)
        self.assertAlike({"cluster.word": string("x")})

    def test_trackers(self) -> None:
        """
        A tracker on another node sees old and new value (E12, A18).
        """
        seen: list[Any] = []
        self.net.nodes[3].manager.database.map.track(
            "cluster.", ALL, seen.extend, prefix=True
        )
        self.set(1, "cluster.colour", string("red"))
        self.set(2, "cluster.colour", string("blue"))
        self.net.run()
        self.assertEqual(
            [(change.old, change.new) for change in seen],
            [(None, string("red")), (string("red"), string("blue"))],
        )

    def test_bounded(self) -> None:
        """
        So many writes wait at one node, and no more.
        """
        for _ in range(MOST_PROPOSALS):
            self.set(1, "cluster.x", u8(1))
        self.failureResultOf(self.set(1, "cluster.x", u8(1)), TryAgain)
        self.net.run()
        self.assertAlike({"cluster.x": u8(1)})

    def test_stopped(self) -> None:
        """
        Who still waits when the node stops hears that.
        """
        done = self.set(1, "cluster.x", u8(1))
        self.net.nodes[1].manager.stop()
        self.failureResultOf(done, BadHandle)


class MeetingTests(ReplicatedTestCase):
    """
    Nodes that come, and rings that part.
    """

    def setUp(self) -> None:
        super().setUp()
        self.boot(1, 2, 3)
        self.ring(1, 2, 3)
        self.set(1, "cluster.old", u8(1))
        self.net.run()

    def test_newcomer(self) -> None:
        """
        A node that comes later has what was written before, with versions
        (E12).
        """
        self.boot(4, 5)
        self.ring(1, 2, 3, 4, 5)
        self.assertAlike({"cluster.old": u8(1)})
        self.assertEqual(self.engine(5).versionOf("cluster.old"), 1)

    def test_onTheirWay(self) -> None:
        """
        Until a newcomer has the keys it says so to whoever reads one; then all
        of them are there at once, for trackers too (E12, A18).
        """
        self.set(2, "cluster.other", u8(2))
        self.net.run()
        self.boot(4)
        seen: list[Any] = []
        database = self.net.nodes[4].manager.database
        database.map.track("cluster.", ALL, seen.append, prefix=True)
        self.net.form(1, 2, 3, 4)
        while self.net.nodes[4].manager.synchronizing():
            self.net.rotate(1)
        cmap = self.net.nodes[4].engine("cmap")
        for name in ("cluster.old", "cluster.none"):
            self.assertRaises(TryAgain, cmap.get, "icmap", name)
        late = self.set(4, "cluster.late", u8(3))
        self.net.run()
        self.assertEqual(self.successResultOf(late), 3)
        self.assertEqual(cmap.get("icmap", "cluster.old"), (u8(1), 1))
        self.assertRaises(NotExist, cmap.get, "icmap", "cluster.none")
        self.assertEqual(
            [[one.name for one in changes] for changes in seen],
            [["cluster.old", "cluster.other"], ["cluster.late"]],
        )

    def test_restart(self) -> None:
        """
        Nodes that are started again, one after the other, lose nothing (E12).
        """
        for nodeid in (1, 2, 3):
            rest = {1, 2, 3} - {nodeid}
            self.net.kill(nodeid)
            self.ring(*rest)
            self.boot(nodeid)
            self.ring(1, 2, 3)
        self.assertAlike({"cluster.old": u8(1)})

    def test_minority(self) -> None:
        """
        A partition without quorum keeps what it has, and takes no writes; when
        it comes back it has what the others wrote (E12).
        """
        self.boot(4, 5)
        self.ring(1, 2, 3, 4, 5)
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        self.net.run()
        self.failureResultOf(self.set(1, "cluster.bad", u8(1)), NotQuorate)
        good = self.set(3, "cluster.good", u8(1))
        self.net.run()
        self.successResultOf(good)
        self.assertAlike({"cluster.old": u8(1)}, 1, 2)
        self.ring(1, 2, 3, 4, 5)
        self.assertAlike({"cluster.good": u8(1), "cluster.old": u8(1)})

    def test_nobodyCounts(self) -> None:
        """
        Without a provider of quorum every partition writes, and the state with
        more writes goes on (E12).
        """
        self.net.kill(1, 2, 3)
        self.boot(1, 2, 3, quorum=QuorumSettings())
        self.ring(1)
        self.ring(2, 3)
        for number in range(3):
            self.set(1, f"cluster.one{number}", u8(1))
        self.set(2, "cluster.two", u8(2))
        self.net.run()
        self.net.form(2, 3)
        self.set(3, "cluster.two", u8(3))
        self.net.run()
        self.ring(1, 2, 3)
        self.assertAlike({f"cluster.one{number}": u8(1) for number in range(3)})

    def test_waitsForSynchronization(self) -> None:
        """
        What is asked for while the services synchronize is written afterwards.
        """
        self.net.form(1, 2, 3)
        done = self.set(2, "cluster.new", u8(2))
        self.net.run()
        self.successResultOf(done)
        self.assertAlike({"cluster.new": u8(2), "cluster.old": u8(1)})

    def test_leftInQueue(self) -> None:
        """
        A write that waited while the ring changed is written once, on the new
        ring.
        """
        done = self.engine(1).adjust("cluster.old", 1)
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self.successResultOf(done), u8(2))
        self.assertAlike({"cluster.old": u8(2)})

    def test_brokenRounds(self) -> None:
        """
        However often the round breaks, at whatever message, all members have
        the same in the end, and nothing that was answered is lost (E12).
        """
        for broken in range(12):
            self.boot(*{4, 5} - {*self.net.nodes})
            self.net.form(1, 2, 3, 4, 5)
            for _ in range(broken):
                for nodeid in (1, 2, 3, 4, 5):
                    self.net.visit(nodeid, 1)
                self.net.receive(1 + broken % 5, 3)
                self.net.receive(3, 2)
            self.net.form(1, 2, 3)
            self.net.form(4, 5)
            self.net.rotate(1)
            self.net.kill(5)
            self.ring(1, 2, 3, 4)
            done = self.set(1 + broken % 4, "cluster.round", u32(broken))
            self.net.run()
            self.successResultOf(done)
            self.assertAlike({"cluster.old": u8(1), "cluster.round": u32(broken)})

    def test_strangers(self) -> None:
        """
        A node that knows nothing of these keys changes nothing for the others,
        whoever comes later, and whichever is the lowest (E12).
        """
        self.net.kill(1)
        self.ring(2, 3)
        self.net.makers = SHIPPED
        self.boot(1, foreign=True)
        self.net.makers = WITH_KEYS
        self.ring(1, 2, 3)
        self.set(2, "cluster.new", u8(2))
        self.net.run()
        self.boot(4)
        self.ring(1, 2, 3, 4)
        self.assertAlike({"cluster.new": u8(2), "cluster.old": u8(1)}, 2, 3, 4)

    def test_malformed(self) -> None:
        """
        A message that is none is counted, and nothing else happens.
        """
        manager = self.net.nodes[1].manager
        for function, body in (
            (Function.OFFER, b""),
            (Function.COMMAND, bytes(7)),
            (Function.COMMAND, bytes(12)),  # No operation: refused.
            (7, b""),
        ):
            self.engine(2).cluster.multicast(function, body)
        self.net.run()
        status: Any = manager.dump()["engines"]
        self.assertEqual(status["replicated"]["malformed"], 3)
        self.assertEqual(status["replicated"]["failures"], 0)
        self.assertAlike({"cluster.old": u8(1)})


class StrangeBytesTests(ReplicatedTestCase):
    """
    What a member of the ring should not have sent.
    """

    @settings(deadline=None, max_examples=25)
    @given(st.integers(0, 5), st.sampled_from(PREFIXES), st.binary(max_size=60))
    def test_anything(self, function: int, prefix: str, data: bytes) -> None:
        """
        It is refused as a peer's mistake, or means nothing; all members stay
        alike, also those who come afterwards.
        """
        self.setUp()
        self.boot(1, 2, 3)
        self.ring(1, 2, 3)
        ringId = self.engine(1).cluster.ringId()
        before = {
            "nothing": b"",
            "ring": pack("<QI", ringId.sequence, ringId.representative),
            "serial": pack("<Q", 77),
        }
        self.set(1, "cluster.x", u8(1))
        for nodeid in (1, 2, 3):
            cluster = self.engine(nodeid).cluster
            cluster.multicast(function, before[prefix] + data)
        self.net.run()
        self.boot(4)
        self.ring(1, 2, 3, 4)
        self.assertAlike(keysOf(self.net.nodes[1]))
        for node in self.net.nodes.values():
            status: Any = node.manager.dump()["engines"]
            self.assertEqual(status["replicated"]["failures"], 0)

    def test_noState(self) -> None:
        """
        A state that is none, or too large, does not become anybody's.
        """
        self.boot(1, 2, 3)
        self.ring(1, 2, 3)
        self.set(1, "cluster.x", u8(1))
        self.net.run()
        engine = self.engine(1)
        state = engine.snapshot()
        junk = (bytes(3), state[:-1], state + b"x", bytes(MOST_STATE_BYTES + 1))
        for bad in junk:
            self.assertRaises(ServiceError, engine.restore, bad)
        self.assertEqual(engine.snapshot(), state)
        self.assertAlike({"cluster.x": u8(1)})


class HandOverTests(ReplicatedTestCase):
    """
    Another version of the engine.
    """

    def test_takesOver(self) -> None:
        """
        It has the keys, and answers what clients asked the one before it (A10).
        """
        self.boot(1, 2, 3)
        self.ring(1, 2, 3)
        node = self.net.nodes[1]
        first = self.engine(1)
        done = first.set("cluster.colour", string("red"))
        other = ReplicatedKeysEngine()
        other.initialize(first.cluster, node.manager.settings)
        other.takeOver(first.handOver(), 1)
        node.manager.roster.places[33].engine = other
        self.net.run()
        self.successResultOf(done)
        self.assertAlike({"cluster.colour": string("red")})

    def test_nothingChanges(self) -> None:
        """
        Trackers hear nothing of it, and versions stay (A10).
        """
        self.boot(1, 2, 3)
        self.ring(1, 2, 3)
        self.set(2, "cluster.colour", string("red"))
        self.net.run()
        node, first, seen = self.net.nodes[1], self.engine(1), list[Any]()
        node.manager.database.map.track("cluster.", ALL, seen.append, prefix=True)
        other = ReplicatedKeysEngine()
        other.initialize(first.cluster, node.manager.settings)
        other.takeOver(first.handOver(), 1)
        self.assertEqual(other.versionOf("cluster.colour"), 1)
        self.assertEqual(seen, [])


class PartingTests(ReplicatedTestCase):
    """
    A ring of five that breaks at a bad moment.
    """

    def setUp(self) -> None:
        super().setUp()
        self.boot(1, 2, 3, 4, 5)
        self.ring(1, 2, 3, 4, 5)
        self.set(1, "cluster.old", u8(1))
        self.net.run()

    def test_moreIsNotBetter(self) -> None:
        """
        What the smaller side got out of the queue while the ring broke may be
        lost, and its client knows; what the larger side was told afterwards
        stays, however much less it is (E12).
        """
        doubtful = [self.set(1, f"cluster.w{n}", u8(n)) for n in range(5)]
        self.net.visit(1)
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        self.net.run()
        for done in doubtful:
            self.failureResultOf(done, Interrupted)
        self.assertIn("cluster.w4", keysOf(self.net.nodes[2]))
        good = self.set(3, "cluster.good", u8(1))
        self.net.run()
        self.successResultOf(good)
        self.ring(1, 2, 3, 4, 5)
        self.assertAlike({"cluster.good": u8(1), "cluster.old": u8(1)})

    def test_halfSynchronized(self) -> None:
        """
        Whoever completed a round and wrote, and whoever did not see it end,
        are not taken for the same, wherever it broke (E12).
        """
        for steps in range(1, 40, 3):
            with self.subTest(steps=steps):
                self._break(steps)

    def _break(self, steps: int) -> None:
        self.net.form(1, 2)
        self.net.form(3, 4, 5)
        self.net.run()
        before = keysOf(self.net.nodes[3])
        self.set(3, "cluster.step", u32(steps))
        self.net.run()
        self.net.form(1, 2, 3, 4, 5)
        for _ in range(steps):
            for nodeid in (5, 4, 3, 2, 1):
                self.net.visit(nodeid, 1)
            for nodeid in (3, 4, 5):
                self.net.receive(nodeid, 7)
            self.net.receive(1, 3)
        done = self.set(4, "cluster.late", u32(steps))
        self.net.visit(4)
        self.net.receive(4, 9)
        self.net.form(1, 4, 5)
        self.net.run()
        after = keysOf(self.net.nodes[1])
        self.assertAlike(after, 1, 4, 5)
        self.assertEqual(after["cluster.step"], u32(steps))
        self.assertNotEqual(after, before)
        if isinstance(getattr(done, "result", None), int):
            self.assertEqual(after["cluster.late"], u32(steps))
        done.addErrback(lambda failure: failure.trap(Interrupted))
        self.ring(1, 2, 3, 4, 5)
        self.assertAlike(after)
