"""
Stories about keys: of one node, and those that all nodes have alike.
"""

from random import Random
from typing import Any

from attrs import define, field
from twisted.python.failure import Failure

from corotwist.config.tracking import ALL
from corotwist.config.values import Value, string, u8, u32, u64
from corotwist.engines.keyspace import REPLICATED
from corotwist.errors import (
    Conflict,
    Disconnected,
    Interrupted,
    NotExist,
    NotQuorate,
    NotSupported,
    ServiceError,
    TryAgain,
)
from corotwist.ipc.client import NodeClient
from corotwist.simulator import Cluster, Faults
from corotwist.test.scenarios.story import LONG, A, B, C, D, E
from corotwist.test.scenarios.test_replacing import first, second
from corotwist.test.scenarios.whole import WholeStory

QUORUM = {"provider": "corosync_votequorum"}
NODES = (A, B, C, D, E)
SEEDS = 20 if LONG else 2
COUNT = "cluster.count"

Keys = dict[str, Value]


def keysOf(cluster: Cluster, nodeid: int) -> Keys:
    """
    What a node has of the keys that all have alike.
    """
    return dict(cluster.services(nodeid).node.database.map.items(REPLICATED))


@define(eq=False)
class KeyJudge:
    """
    Holds what became of writes against what nodes have.

    Each write makes a key of its own, and counts one up: so a write that was
    lost, or done twice, is seen in the end, whenever it was.

    @ivar orders: of each life of a node, the changes that it saw on each ring.
    """

    cluster: Cluster
    written: list[str] = field(factory=list)
    refused: list[str] = field(factory=list)
    unknown: list[str] = field(factory=list)
    asked: int = 0
    counted: int = 0
    notCounted: int = 0
    orders: dict[tuple[int, int], dict[Any, list[Any]]] = field(factory=dict)

    def watch(self, nodeid: int) -> None:
        """
        A node was started.
        """
        services = self.cluster.services(nodeid)
        life = (nodeid, services.life.number)
        orders = self.orders.setdefault(life, {})

        def changed(changes: Any) -> None:
            ring = services.manager.configuration.ringId
            if len(changes) == 1:  # Otherwise it is a whole state, in no order.
                orders.setdefault(ring, []).append((changes[0].name, changes[0].new))

        services.node.database.map.track(REPLICATED, ALL, changed, prefix=True)

    def write(self, client: NodeClient, name: str) -> None:
        """
        Make a key that nobody else makes.
        """
        done = client.cmap.set(name, u8(1), expected=None)
        done.addCallbacks(self._done, self._failed, (name,), {}, (name,), {})

    def _done(self, version: int, name: str) -> None:
        self.written.append(name)

    def _failed(self, failure: Failure, name: str) -> None:
        if failure.check(Interrupted, Disconnected):
            self.unknown.append(name)
        else:
            failure.trap(NotQuorate, TryAgain)
            self.refused.append(name)

    def count(self, client: NodeClient) -> None:
        """
        Count up.
        """
        self.asked += 1
        client.cmap.increment(COUNT).addCallbacks(self._counted, self._notCounted)

    def _counted(self, value: Value) -> None:
        self.counted += 1

    def _notCounted(self, failure: Failure) -> None:
        failure.trap(ServiceError)
        self.notCounted += not failure.check(Interrupted, Disconnected)

    def judge(self) -> None:
        """
        At the end, when all are together.
        """
        states = [keysOf(self.cluster, nodeid) for nodeid in NODES]
        assert all(state == states[0] for state in states), states
        lost = [name for name in self.written if name not in states[0]]
        assert not lost, f"answered, and lost: {lost}"
        made = [name for name in self.refused if name in states[0]]
        assert not made, f"refused, and done: {made}"
        total = states[0][COUNT].content
        assert isinstance(total, int), total
        most = self.asked - self.notCounted
        assert self.counted <= total <= most, (self.counted, total, most)
        self._judgeOrders()

    def _judgeOrders(self) -> None:
        """
        On one ring all see the same writes in one order: who was there for a
        shorter time a part of it.
        """
        byRing: dict[Any, list[list[Any]]] = {}
        for orders in self.orders.values():
            for ring, seen in orders.items():
                single = [one for one in seen if one[0] != COUNT]
                byRing.setdefault(ring, []).append([one[0] for one in single])
        for ring, sequences in byRing.items():
            longest = max(sequences, key=len)
            places = {name: at for at, name in enumerate(longest)}
            for sequence in sequences:
                at = [places[name] for name in sequence if name in places]
                assert at == sorted(at), ring


class ReplicatedStories(WholeStory):
    """
    Five whole nodes that count votes.
    """

    def setUp(self) -> None:
        self.five = self.whole(5, quorum=QUORUM)

    def test_everywhere(self) -> None:
        """
        What a client of one node writes, clients of all others see, and
        follow (E7, E12).
        """
        cluster = self.five
        clients = {nodeid: cluster.connect(nodeid) for nodeid in NODES}
        seen: list[Any] = []
        cluster.wait(clients[E].cmap.track(REPLICATED, seen.extend, prefix=True))
        version = cluster.wait(clients[A].cmap.set("cluster.x", string("one")))
        cluster.wait(clients[B].cmap.set("cluster.x", string("two"), version=version))
        late = clients[C].cmap.set("cluster.x", string("three"), version=version)
        with self.assertRaises(Conflict):
            cluster.wait(late)
        for client in clients.values():
            value = cluster.wait(client.cmap.get("cluster.x"))
            self.assertEqual(value, string("two"))
        self.assertEqual([one.new for one in seen], [string("one"), string("two")])

    def test_restarts(self) -> None:
        """
        Keys survive while some node is up, and are gone when none was (E12).
        """
        cluster = self.five
        cluster.wait(cluster.connect(A).cmap.set("cluster.x", u8(1)))
        for nodeid in NODES:
            cluster.kill(nodeid)
            cluster.run(seconds=5.0)
            cluster.boot(nodeid)
            cluster.settle()
            self.assertEqual(keysOf(cluster, nodeid), {"cluster.x": u8(1)})
        cluster.kill(*NODES)
        cluster.boot(*NODES)
        cluster.settle()
        self.assertEqual(keysOf(cluster, A), {})

    def test_minority(self) -> None:
        """
        Without quorum keys are read and not written; what was written
        elsewhere is there when the partition is over (E12).
        """
        cluster = self.five
        few, many = cluster.connect(A), cluster.connect(C)
        cluster.wait(few.cmap.set("cluster.x", u32(1)))
        cluster.partition((A, B), (C, D, E))
        cluster.run(seconds=10.0)
        with self.assertRaises(NotQuorate):
            cluster.wait(few.cmap.set("cluster.x", u32(2)))
        cluster.wait(many.cmap.set("cluster.x", u32(3)))
        self.assertEqual(cluster.wait(few.cmap.get("cluster.x")), u32(1))
        cluster.heal()
        cluster.settle()
        self.assertEqual(cluster.wait(few.cmap.get("cluster.x")), u32(3))

    def test_anyFaults(self) -> None:
        """
        Whatever parts and ends while clients write: nothing that was answered
        is lost or done twice, nothing refused is done, and all members of a
        ring see one order (E12).
        """
        for seed in range(SEEDS):
            self._wander(seed)

    def _wander(self, seed: int) -> None:
        faults = Faults(loss=0.02)
        cluster = self.whole(5, quorum=QUORUM, seed=seed, faults=faults)
        random = Random(seed)
        judge = KeyJudge(cluster)
        for nodeid in NODES:
            judge.watch(nodeid)
        cluster.wait(cluster.embed(A).cmap.set(COUNT, u32(0)))
        for turn in range(12):
            for nodeid in cluster.live:
                client = cluster.embed(nodeid)
                for number in range(3):
                    judge.write(client, f"cluster.k{turn}.n{nodeid}.w{number}")
                    judge.count(client)
            cluster.run(seconds=random.uniform(0.0, 0.01))
            self._disturb(cluster, random, judge)
            cluster.run(seconds=random.uniform(0.5, 8.0))
        cluster.heal()
        for nodeid in cluster.down:
            cluster.boot(nodeid)
            judge.watch(nodeid)
        cluster.faults = Faults()
        cluster.settle()
        cluster.run(seconds=5.0)
        self.assertTrue(judge.written)
        judge.judge()

    def _disturb(self, cluster: Cluster, random: Random, judge: KeyJudge) -> None:
        """
        Part the ring, end a node, start one, or let everybody meet.
        """
        down = cluster.down
        deed = random.randrange(4)
        if deed == 0:
            side = tuple(sorted(random.sample(NODES, random.choice((1, 2)))))
            cluster.partition(side, tuple(n for n in NODES if n not in side))
        elif deed == 1 and not down:
            cluster.kill(random.choice(NODES))
        elif down:
            cluster.boot(down[0])
            judge.watch(down[0])
        else:
            cluster.heal()


class OwnStories(WholeStory):
    """
    Keys that each node has for itself.
    """

    def test_members(self) -> None:
        """
        A node that goes and comes back is followed by whoever wants to know
        (E7, A18).
        """
        cluster = self.whole(quorum=QUORUM)
        client = cluster.connect(A)
        seen: list[Any] = []
        tracking = client.cmap.track("runtime.members.3.", seen.extend, prefix=True)
        cluster.wait(tracking)
        cluster.kill(C)
        cluster.run(seconds=10.0)
        cluster.boot(C)
        cluster.settle()
        told = [(one.name.rpartition(".")[2], one.new.content) for one in seen]
        self.assertEqual(
            told, [("status", "left"), ("join_count", 2), ("status", "joined")]
        )

    def test_version(self) -> None:
        """
        A version of the configuration that is written on one node is known on
        all.
        """
        cluster = self.whole(quorum=QUORUM)
        client, other = cluster.connect(A), cluster.connect(B)
        cluster.wait(client.cmap.set("totem.config_version", u64(7)))
        cluster.run(seconds=1.0)
        name = "runtime.members.1.config_version"
        self.assertEqual(cluster.wait(other.cmap.get(name)), u64(7))

    def test_gather(self) -> None:
        """
        A ring is formed anew when somebody wants it (E2).
        """
        cluster = self.whole(quorum=QUORUM)
        before = cluster.nodes[B].configuration
        client = cluster.connect(A)
        cluster.wait(client.cmap.set("runtime.force_gather", string("yes")))
        cluster.settle()
        after = cluster.nodes[B].configuration
        assert before is not None, "it was on a ring"
        assert after is not None, "it is again"
        self.assertNotEqual(before.ringId, after.ringId)
        value = cluster.wait(client.cmap.get("runtime.force_gather"))
        self.assertEqual(value, string("no"))


class ReplacingStories(WholeStory):
    """
    The engines of keys are replaced while clients use them.
    """

    def test_replaced(self) -> None:
        """
        Trackers and keys outlive the engines that serve them (A10).
        """
        names = ("cmap", "confdb", "replicated")
        cluster = self.whole(
            quorum=QUORUM, configure=first, engines=[second(name) for name in names]
        )
        client = cluster.connect(A)
        seen: list[Any] = []
        cluster.wait(client.cmap.track("cluster.", seen.extend, prefix=True))
        cluster.wait(client.cmap.set("cluster.one", u8(1)))
        for name in names:
            news = cluster.wait(cluster.replace(A, name, 2))
            self.assertEqual((news.name, news.version), (name, 2))
        cluster.wait(client.cmap.set("cluster.two", u8(2)))
        self.assertEqual([one.name for one in seen], ["cluster.one", "cluster.two"])
        root = cluster.wait(client.confdb.root())
        self.assertTrue(cluster.wait(client.confdb.children(root)))
        with self.assertRaises(NotExist):
            cluster.wait(client.cmap.get("cluster.three"))

    def test_votes(self) -> None:
        """
        Who shows votes goes on when another version counts them (A10).
        """
        cluster = self.whole(
            quorum={**QUORUM, "wait_for_all": 1},
            configure=first,
            engines=[second("votequorum")],
        )
        cluster.wait(cluster.replace(A, "votequorum", 2))
        client = cluster.connect(A)
        seen: list[Any] = []
        name = "runtime.votequorum.wait_for_all_status"
        cluster.wait(client.cmap.track(name, seen.extend))
        cluster.kill(B, C)
        cluster.run(seconds=10.0)
        self.assertEqual([one.new for one in seen], [u8(1)])

    def test_unloaded(self) -> None:
        """
        With the engine that served them, trackers are gone; loaded again, it
        serves anybody (A10).
        """
        cluster = self.whole(quorum=QUORUM)
        client = cluster.connect(A)
        seen: list[Any] = []
        cluster.wait(client.confdb.track("my.", seen.extend, prefix=True))
        changes = cluster.services(A).manager.changes
        cluster.wait(changes.unload("confdb"))
        cluster.wait(client.cmap.set("my.key", u8(1)))
        cluster.run(seconds=1.0)
        self.assertEqual(seen, [])
        with self.assertRaises(NotSupported):
            cluster.wait(client.confdb.root())
        cluster.wait(changes.load("confdb"))
        cluster.wait(client.confdb.track("my.", seen.extend, prefix=True))
        cluster.wait(client.cmap.set("my.key", u8(2)))
        cluster.run(seconds=1.0)
        self.assertEqual([one.new for one in seen], [u8(2)])
