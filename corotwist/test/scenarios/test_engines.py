"""
Stories about engines and what their nodes do for them.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.protocols import amp
from zope.interface import implementer

from corotwist.engines.base import Engine
from corotwist.engines.children import Child, Program
from corotwist.engines.connections import SOURCE_BYTES, Source
from corotwist.engines.transfer import ReplicatedEngine
from corotwist.errors import NotQuorate
from corotwist.interfaces import IEngineMaker, IShutdownAware
from corotwist.ipc.client import NodeClient
from corotwist.ipc.wire import ERRORS, Stopping, Unsigned
from corotwist.simulator import Cluster, timingFor
from corotwist.simulator.programs import SimulatedProcess
from corotwist.test.engines.orderednet import Maker
from corotwist.test.scenarios.story import A, B, C
from corotwist.test.scenarios.whole import WholeStory, voting

QUICK = timingFor(0.2)
JOB = "/usr/bin/job"


class Number(amp.Command):
    """
    Which number is next, in the whole cluster?
    """

    commandName = b"numbers.next"
    response: ClassVar = [(b"number", Unsigned(64))]
    errors = ERRORS


class NumbersEngine(Engine):
    """
    Gives out numbers: a request is answered when its message is delivered.
    """

    name = "numbers"
    serviceId = 5001
    flowControl = True
    allowInquorate = False

    def __init__(self) -> None:
        self.last = 0

    def next(self, connection: Any) -> Deferred[Any]:
        waits = self.cluster.request(connection)
        self.cluster.multicast(0, self.cluster.source(connection).encode())
        return waits

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        self.last += 1
        source = Source.decode(body[:SOURCE_BYTES])
        if self.cluster.isLocal(source):
            connection = self.cluster.connection(source)
            self.cluster.respond(connection, {"number": self.last})


class NumbersLocator(amp.CommandLocator):
    """
    For one client.
    """

    def __init__(self, engine: Any, connection: Any) -> None:
        super().__init__()
        self._engine = engine
        self._connection = connection

    @Number.responder
    def next(self) -> Any:
        return self._engine.next(self._connection)


@implementer(IEngineMaker)
@frozen
class NumbersMaker:
    """
    An engine that clients talk to.
    """

    name: str = "numbers"
    version: int = 1

    def wanted(self, settings: Any) -> bool:
        return True

    def load(self) -> NumbersEngine:
        return NumbersEngine()

    def responders(self) -> type[NumbersLocator]:
        return NumbersLocator


@implementer(IShutdownAware)
class JobsEngine(Engine):
    """
    Runs a job, which has to end before the node does.
    """

    name = "jobs"
    serviceId = 5002

    job: Child | None = None
    hold: Any = None

    def run(self) -> None:
        self.job = self.cluster.spawn(Program("job", (JOB,)))
        self.hold = self.cluster.holdShutdown("a job runs here")

    def moved(self) -> None:
        assert self.job is not None
        self.job.stop()
        self.hold.release()

    def shutdownProposed(self, reason: str) -> None:
        """
        Its hold is there already.
        """


class LogEngine(ReplicatedEngine):
    """
    A list that all nodes have.
    """

    name = "list"
    serviceId = 5003

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[bytes] = []

    def snapshot(self) -> bytes:
        return b"\n".join(self.entries)

    def restore(self, state: bytes) -> None:
        self.entries = state.split(b"\n") if state else []

    def apply(self, nodeid: int, command: bytes) -> int:
        self.entries.append(command)
        return len(self.entries)


ENGINES = [
    NumbersMaker(),
    Maker("jobs", JobsEngine),
    Maker("list", LogEngine),
]


class EngineStories(WholeStory):
    """
    Engines of others on three nodes.
    """

    def engines(self, **options: Any) -> Cluster:
        return self.whole(timing=QUICK, engines=ENGINES, **options)

    def client(self, cluster: Cluster, nodeid: int) -> NodeClient:
        client: NodeClient = cluster.wait(cluster.process(nodeid).connect())
        return client

    def test_numbers(self) -> None:
        """
        Clients of all nodes ask at once; each gets its own answer, when the
        message came back to its node. (A66, A67, A95, A97)
        """
        cluster = self.engines()
        clients = [self.client(cluster, nodeid) for nodeid in (A, B, B, C)]
        asked = [c.ask(Number) for _ in range(5) for c in clients]
        answers = [cluster.wait(a)["number"] for a in asked]
        self.assertEqual(sorted(answers), list(range(1, 21)))

    def test_withoutQuorum(self) -> None:
        """
        An engine that needs quorum is not asked in a partition that has none;
        the client is told so, and served again when it is back. (A72)
        """
        cluster = self.engines(configure=voting(3))
        client = self.client(cluster, C)
        self.assertEqual(cluster.wait(client.ask(Number)), {"number": 1})
        cluster.partition({A, B}, {C})
        cluster.run(3.0)
        refused = client.ask(Number)
        cluster.run(0.1)
        error = self.failureResultOf(refused, NotQuorate).value
        self.assertIn("numbers needs quorum", str(error))
        cluster.heal()
        cluster.settle()
        self.assertEqual(cluster.wait(client.ask(Number))["number"], 2)

    def test_waitsForServices(self) -> None:
        """
        A request that comes while the services synchronize is answered after
        that. (A50, A61)
        """
        cluster = self.engines()
        client = self.client(cluster, A)
        cluster.kill(C)
        cluster.runUntil(cluster.services(A).manager.synchronizing, 3)
        self.assertTrue(cluster.services(A).manager.synchronizing())
        asked = client.ask(Number)
        self.assertEqual(cluster.wait(asked), {"number": 1})

    def test_heldShutdown(self) -> None:
        """
        A node does not stop before the job that runs there has moved; its
        clients are told, and served until then. (A63, A73, A76)
        """
        cluster = self.engines()
        running: list[SimulatedProcess] = []
        cluster.nodes[B].programs.installed[JOB] = running.append
        jobs = cluster.engine(B, "jobs")
        jobs.run()
        client = self.client(cluster, B)
        told: list[Mapping[str, Any]] = []
        client.listen(Stopping, lambda **event: told.append(event))
        cluster.stop(B)
        cluster.run(1.0)
        self.assertFalse(cluster.nodes[B].down)
        self.assertEqual(
            told,
            [
                {
                    "reason": "the node is asked to stop",
                    "holding": "jobs: a job runs here",
                }
            ],
        )
        self.assertEqual(cluster.wait(client.ask(Number)), {"number": 1})
        jobs.moved()
        self.assertTrue(cluster.runUntil(lambda: cluster.nodes[B].down, 1.0))
        self.assertEqual([process.pid for process in running], [None])
        cluster.settle()

    def test_forcedShutdown(self) -> None:
        """
        Unless somebody asks again; then the job is ended with its engine.
        (A63, A76)
        """
        cluster = self.engines()
        running: list[SimulatedProcess] = []
        cluster.nodes[B].programs.installed[JOB] = running.append
        cluster.engine(B, "jobs").run()
        node = cluster.services(B).node
        cluster.stop(B)
        cluster.run(1.0)
        self.assertFalse(cluster.nodes[B].down)
        node.manager.prepareStop("now")
        self.assertTrue(cluster.runUntil(lambda: cluster.nodes[B].down, 1.0))
        self.assertEqual([process.pid for process in running], [None])
        cluster.settle()

    def test_jobRunsAgain(self) -> None:
        """
        A job that dies on a node runs there again. (A76)
        """
        cluster = self.engines()
        running: list[SimulatedProcess] = []
        cluster.nodes[A].programs.installed[JOB] = running.append
        cluster.engine(A, "jobs").run()
        running[0].signalProcess("KILL")
        cluster.run(1.0)
        self.assertEqual(len(running), 2)
        self.assertIsNotNone(running[1].pid)

    def test_list(self) -> None:
        """
        A node that starts again gets the list, however long it is, while the
        others go on; sides of a partition agree again. (A83)
        """
        cluster = self.engines()
        engine = cluster.engine(A, "list")
        for number in range(200):
            engine.propose(b"entry %d of many " % number * 50)
        cluster.run(1.0)
        cluster.kill(C)
        cluster.settle()
        engine.propose(b"while it was away")
        cluster.boot(C)
        for number in range(20):
            engine.propose(b"meanwhile %d" % number)
            cluster.run(0.1)
        cluster.settle()
        cluster.run(1.0)
        self._alike(cluster, 221)
        cluster.partition({A}, {B, C})
        cluster.run(2.0)
        engine.propose(b"alone")
        cluster.engine(B, "list").propose(b"the larger side")
        cluster.run(0.5)
        cluster.heal()
        cluster.settle()
        cluster.run(1.0)
        entries = self._alike(cluster, 222)
        self.assertEqual(entries[-1], b"the larger side")

    def _alike(self, cluster: Cluster, count: int) -> list[bytes]:
        first, *others = (cluster.engine(n, "list").entries for n in (A, B, C))
        self.assertEqual(len(first), count)
        self.assertEqual(others, [first, first])
        entries: list[bytes] = first
        return entries
