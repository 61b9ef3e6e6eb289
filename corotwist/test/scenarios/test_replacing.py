"""
Stories about engines that are replaced while their node runs, with clients
that go on, and every judge watching.
"""

from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.config.settings import ComponentSettings, NodeSettings
from corotwist.config.values import string
from corotwist.engines import manager as managers
from corotwist.engines.compact import Feature
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.interfaces import EngineNews, News
from corotwist.engines.place import FAILURES_TOLERATED
from corotwist.errors import ComponentFailed, Exists, NotSupported, ServiceError
from corotwist.interfaces import IEngineMaker
from corotwist.ipc.cpg import GroupsLocator
from corotwist.plugin import EngineMaker, discover
from corotwist.simulator import Cluster, Faults
from corotwist.simulator.clients import Client
from corotwist.simulator.connected import ConnectedClient
from corotwist.test.engines.newer import FAILING, NEWER, NewerGroups
from corotwist.test.scenarios.story import LONG, ROTATION, A, B, C, Story, changes

GROUP = b"group"
SIZES = (1, 10, 300, 5_000, 60_000)
LARGE = 2_500_000
SEEDS = 40 if LONG else 3
FEATURES = managers.FEATURES

Anybody = Client | ConnectedClient


def first(settings: NodeSettings) -> NodeSettings:
    """
    Begin with the first versions.
    """
    engines = tuple((m.name, 1) for m in discover() if m.wanted(settings))
    return evolve(settings, components=ComponentSettings(engines=engines))


class Poke(amp.Command):
    """
    What only one version understands.
    """

    commandName = b"cpg.poke"


class Poked(GroupsEngine):
    version = 4


class PokedLocator(GroupsLocator):
    @Poke.responder
    def _poke(self) -> dict[str, int]:
        return {}


def second(name: str) -> IEngineMaker:
    """
    Version 2 of a shipped engine, which is like version 1.
    """
    (shipped,) = (maker for maker in discover() if maker.name == name)

    def make() -> Any:
        engine = shipped.load()
        engine.version = 2
        return engine

    return EngineMaker(name, 2, make, shipped.responders())


class ReplacingStories(Story):
    """
    On each node a client inside its process and one on a connection, all in
    one group.
    """

    def meet(
        self,
        *,
        compact: bool = True,
        others: tuple[IEngineMaker, ...] = (),
        **options: Any,
    ) -> Cluster:
        self.patch(managers, "FEATURES", FEATURES if compact else Feature(0))
        cluster = self.formed(
            services=True,
            configure=first,
            engines=[NEWER, FAILING, *others],
            **options,
        )
        self.clients: list[Anybody] = []
        for nodeid in cluster.nodes:
            self.clients += [cluster.client(nodeid), cluster.member(nodeid)]
        for client in self.clients:
            client.join(GROUP)
        cluster.run(0.5)
        for nodeid in cluster.nodes:
            engine = cluster.engine(nodeid, "cpg")
            self.assertIs(engine.cluster.compact(), compact)
        self.assertEqual(len(self.clients[0].views[GROUP].members), 6)
        return cluster

    def chat(
        self,
        cluster: Cluster,
        seconds: float,
        whim: Random,
        sizes: tuple[int, ...] = SIZES,
    ) -> None:
        """
        Let everybody say something now and then.
        """
        end = cluster.seconds() + seconds
        while cluster.seconds() < end:
            self.say(whim, sizes)
            cluster.run(whim.uniform(0.0001, 0.004))

    def say(self, whim: Random, sizes: tuple[int, ...] = SIZES) -> None:
        client = whim.choice(self.clients)
        if client.open and GROUP in client.views:
            payloads = [bytes(whim.choice(sizes)) for _ in range(whim.randrange(1, 4))]
            client.send(GROUP, *payloads).addErrback(_refused)

    def replaced(self, cluster: Cluster, nodeid: int, version: int) -> EngineNews:
        return cluster.wait(cluster.replace(nodeid, "cpg", version))

    def same(self, cluster: Cluster) -> int:
        """
        All that is said has come to all, alike.

        @return: how many messages.
        """
        cluster.settle()
        head, *others = [client.log for client in self.clients]
        for other in others:
            self.assertEqual(other, head)
        return len(head)

    def test_oneAfterTheOther(self) -> None:
        """
        Under load the process groups of each node go from version 1 to 2, one
        node after the other, and back: in either form of messages nobody
        misses one, gets one twice, or hears of anything; the ring stays.
        (A8, A11)
        """
        for compact in (True, False):
            with self.subTest(compact=compact):
                cluster = self.meet(compact=compact)
                rings = changes(cluster)
                views = [len(client.history) for client in self.clients]
                whim = Random(1)
                for version in (2, 1):
                    for nodeid in (A, B, C):
                        self.chat(cluster, 0.05, whim)
                        news = self.replaced(cluster, nodeid, version)
                        self.assertEqual(news.what, News.REPLACED)
                        engine = cluster.engine(nodeid, "cpg")
                        newer = isinstance(engine, NewerGroups)
                        self.assertEqual(newer, version == 2)
                self.chat(cluster, 0.05, whim)
                self.assertGreater(self.same(cluster), 100)
                self.assertEqual(changes(cluster), rings)
                self.assertEqual([len(c.history) for c in self.clients], views)

    def test_allAtOnce(self) -> None:
        """
        All nodes at once, again and again, every few milliseconds.  (A11)
        """
        cluster = self.meet()
        whim = Random(2)
        for round_ in range(20):
            changing = [
                cluster.replace(nodeid, "cpg", 2 - round_ % 2) for nodeid in (A, B, C)
            ]
            self.chat(cluster, 0.01, whim)
            for one in changing:
                self.successResultOf(one)
        self.assertGreater(self.same(cluster), 50)

    def test_large(self) -> None:
        """
        Messages that travel in pieces, half sent and half come, on a lossy
        network.  (A11)
        """
        for compact in (True, False):
            with self.subTest(compact=compact):
                cluster = self.meet(compact=compact)
                cluster.faults = Faults(loss=0.02)
                whim = Random(3)
                sent: list[Deferred[Any]] = []
                for turn in range(6):
                    client = self.clients[turn]
                    payload = bytes(LARGE + turn)
                    sent.append(client.send(GROUP, b"before", payload, b"after"))
                    for _ in range(3):
                        self.say(whim)
                        cluster.run(whim.uniform(0.001, 0.02))
                        nodeid = whim.choice((A, B, C))
                        version = 3 - cluster.engine(nodeid, "cpg").version
                        self.replaced(cluster, nodeid, version)
                for one in sent:
                    cluster.wait(one)
                self.same(cluster)
                large = [p for *_, p in self.clients[0].log if len(p) >= LARGE]
                self.assertEqual(len(large), 6)

    def test_drawn(self) -> None:
        """
        At any moment of partitions, merges, pauses, crashes and rounds of
        synchronization: the judges see nothing, and in quiet all agree.  (A11)
        """
        for seed in range(SEEDS):
            with self.subTest(seed=seed):
                whim = Random(seed)
                cluster = self.meet(seed=seed, compact=bool(seed % 2))
                outcomes: list[Any] = []
                for _ in range(60):
                    self.disturb(cluster, whim, outcomes)
                    self.chat(cluster, whim.uniform(0, 0.03), whim)
                cluster.heal()
                cluster.calm()
                cluster.boot(*cluster.down)
                cluster.settle(within=30, stay=False)
                self.assertIn(News.REPLACED, outcomes)

    def disturb(self, cluster: Cluster, whim: Random, outcomes: list[Any]) -> None:
        """
        Something happens.
        """
        nodeid = whim.choice((A, B, C))
        draw = whim.random()
        if draw < 0.7:
            if nodeid in cluster.live:
                version = whim.choice((1, 2, 3))
                changing = cluster.replace(nodeid, "cpg", version)
                changing.addCallbacks(lambda news: news.what, _refused)
                changing.addCallback(outcomes.append)
        elif draw < 0.8:
            cluster.partition({nodeid}, {A, B, C} - {nodeid})
        elif draw < 0.9:
            cluster.heal()
        elif draw < 0.95 and nodeid in cluster.live:
            cluster.pause(nodeid, whim.uniform(0.01, 1.5))
        elif nodeid in cluster.live and len(cluster.live) > 2:
            cluster.kill(nodeid)
        else:
            cluster.boot(*cluster.down)
        self.flushLoggedErrors(RuntimeError)

    def test_failing(self) -> None:
        """
        New versions that fail leave everything as it is, in the middle of the
        load.  (A11)
        """
        cluster = self.meet()
        rings = changes(cluster)
        whim = Random(4)
        for turn in range(9):
            nodeid = turn % 3 + 1
            changing = cluster.replace(nodeid, "cpg", 3)
            self.chat(cluster, 0.02, whim)
            failure = self.failureResultOf(changing, ComponentFailed)
            self.assertIn("a mistake of a programmer", str(failure.value))
            again = cluster.replace(nodeid, "cpg", 1)
            cluster.run(0.01)
            self.failureResultOf(again, Exists)
        self.flushLoggedErrors(RuntimeError)
        self.assertGreater(self.same(cluster), 50)
        self.assertEqual(changes(cluster), rings)

    def test_duringARound(self) -> None:
        """
        A replacement that is asked for while the services synchronize waits
        for the end of the round.  (A11)
        """
        cluster = self.meet()
        cluster.partition({A}, {B, C})
        cluster.run(3)
        cluster.heal()
        manager = cluster.services(B).manager
        while not manager.synchronizing():
            cluster.run(ROTATION / 4)
        changing = cluster.replace(B, "cpg", 2)
        cluster.run(ROTATION / 4)
        self.assertNoResult(changing)
        self.assertEqual(cluster.wait(changing).version, 2)
        self.assertFalse(manager.synchronizing())
        self.chat(cluster, 0.05, Random(5))
        cluster.settle()

    def test_commands(self) -> None:
        """
        A client on a connection reaches the commands of the version that
        serves, of whichever it used before.  (A8, A11)
        """
        own = EngineMaker("cpg", 4, Poked, PokedLocator)
        cluster = self.meet(others=(own,))
        client = cluster.connect(A)
        for _ in range(2):
            self.assertRaises(NotSupported, cluster.wait, client.ask(Poke))
            self.replaced(cluster, A, 4)
            self.assertEqual(cluster.wait(client.ask(Poke)), {})
            self.assertEqual(cluster.wait(client.groups.groups()), (GROUP,))
            self.replaced(cluster, A, 1)
        self.same(cluster)

    def test_everyEngine(self) -> None:
        """
        Each shipped engine that a node has when votes decide is replaced on
        each node; the cluster stays quorate, and its replicated keys stay the
        same everywhere.  (A11)
        """
        names = [maker.name for maker in discover() if maker.name != "cpg"]
        cluster = self.meet(
            quorum={"provider": "corosync_votequorum"}, others=tuple(map(second, names))
        )
        unused = {"external", "majority", "fencing", "qdevice"}
        names = [name for name in names if name not in unused]
        rings = changes(cluster)
        whim = Random(6)
        clients = [cluster.embed(nodeid) for nodeid in (A, B, C)]
        cluster.wait(clients[0].cmap.set("cluster.color", string("blue")))
        for nodeid in (A, B, C):
            for name in names:
                self.chat(cluster, 0.01, whim)
                before = cluster.engine(nodeid, name)
                cluster.wait(cluster.replace(nodeid, name, 2))
                after = cluster.engine(nodeid, name)
                self.assertIsNot(after, before)
                self.assertEqual(after.version, 2)
                self.assertTrue(cluster.engine(nodeid, "quorum").quorate())
        self.same(cluster)
        self.assertEqual(changes(cluster), rings)
        cluster.wait(clients[1].cmap.set("cluster.shape", string("round")))
        cluster.run(0.1)
        for client in clients:
            for key, value in (("color", "blue"), ("shape", "round")):
                found = cluster.wait(client.cmap.get(f"cluster.{key}"))
                self.assertEqual(found, string(value))
        cluster.kill(B, C)
        cluster.settle()
        self.assertFalse(cluster.engine(A, "quorum").quorate())


class RestartStories(Story):
    """
    Engines that begin anew on a ring that runs.
    """

    def meet(self) -> tuple[Cluster, list[ConnectedClient]]:
        cluster = self.formed(services=True, configure=first, engines=[NEWER])
        clients = [cluster.member(nodeid) for nodeid in (A, B, C)]
        for client in clients:
            client.join(GROUP)
        cluster.run(0.5)
        return cluster, clients

    def again(self, cluster: Cluster, clients: list[ConnectedClient]) -> None:
        """
        All three are members, and hear each other.
        """
        cluster.settle(within=10)
        for client in clients:
            self.assertEqual(len(client.views[GROUP].members), 3)
            client.log.clear()
        for client in clients:
            client.send(GROUP, b"here")
        cluster.run(0.2)
        self.assertEqual([len(client.log) for client in clients], [3, 3, 3])

    def test_failedAndStartedAgain(self) -> None:
        """
        Process groups that failed on one node are started again: its client,
        still connected, sees a gap and is a member again; the others see it go
        and come.  (A75)
        """
        for version in (1, 2):
            with self.subTest(version=version):
                cluster, clients = self.meet()
                place = cluster.services(A).manager.roster.place("cpg")
                for _ in range(FAILURES_TOLERATED):
                    place.call(_fail)
                self.flushLoggedErrors(RuntimeError)
                cluster.run(0.1)
                self.assertNotIn(GROUP, clients[0].views)
                news = cluster.wait(cluster.replace(A, "cpg", version))
                self.assertEqual(news.what, News.RESTARTED)
                cluster.run(3)
                self.again(cluster, clients)

    def test_unloadedAndLoaded(self) -> None:
        """
        Process groups are unloaded on one node, and loaded again: their
        clients stay connected, and are members again.  (A12)
        """
        cluster, clients = self.meet()
        manager = cluster.services(A).manager
        news = cluster.wait(manager.changes.unload("cpg"))
        self.assertEqual(news.what, News.UNLOADED)
        cluster.run(0.5)
        self.assertEqual(len(clients[1].views[GROUP].members), 2)
        news = cluster.wait(manager.changes.load("cpg", 2))
        self.assertEqual(news.what, News.LOADED)
        cluster.run(3)
        self.again(cluster, clients)


def _refused(failure: Any) -> type[BaseException] | None:
    return failure.trap(ServiceError)  # type: ignore[no-any-return]


def _fail() -> Deferred[None]:
    raise RuntimeError("again and again")
