"""
Tests of what a node has for its engines: clients by number, the gate that
requests pass, visits of the token, quorum, memory.
"""

from ipaddress import ip_address
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer, verify

from corotwist.config.settings import EngineSettings, MemoryPolicy
from corotwist.engines import connections, gate, visits
from corotwist.engines.connections import Source
from corotwist.engines.interfaces import IQuorum
from corotwist.errors import (
    BadHandle,
    InvalidParameter,
    NoSpace,
    NotExist,
    NotQuorate,
    TryAgain,
    WireError,
)
from corotwist.interfaces import IConnection
from corotwist.test.engines.orderednet import Node
from corotwist.test.engines.probes import FakeClient, Probe, ProbeNet, probed
from corotwist.totem.membership import Guarantee


def alone() -> tuple[ProbeNet, Node, Any]:
    """
    A node alone on a ring, and what its first engine may ask of it.
    """
    net = probed(1)
    net.form(1)
    net.run()
    return net, net.nodes[1], net.probes[1, 1].cluster


class ClientTests(SynchronousTestCase):
    """
    Clients, as an engine refers to them.
    """

    def setUp(self) -> None:
        self.net, self.node, self.cluster = alone()
        self.client = FakeClient()
        self.node.manager.connectionOpened(self.client)

    def _closed(self, serviceId: int = 1) -> int:
        calls = self.net.calls[1]
        return calls.count((serviceId, "connectionClosed", self.client))

    def test_interface(self) -> None:
        """
        What these tests connect is a client.
        """
        verify.verifyObject(IConnection, self.client)

    def test_source(self) -> None:
        """
        A source names node and client; it travels in messages, and is local
        where it was made only. (A95)
        """
        source = self.cluster.source(self.client)
        self.assertEqual(Source.decode(source.encode() + b"and more"), source)
        self.assertEqual(source.nodeid, 1)
        self.assertTrue(self.cluster.isLocal(source))
        self.assertIs(self.cluster.connection(source), self.client)
        stranger = evolve(source, nodeid=2)
        self.assertFalse(self.cluster.isLocal(stranger))
        self.assertRaises(BadHandle, self.cluster.connection, stranger)
        self.assertRaises(WireError, Source.decode, source.encode()[:-1])

    def test_sourceOfSomebodyGone(self) -> None:
        """
        The source of a client that is gone never means another one. (A95)
        """
        source = self.cluster.source(self.client)
        self.node.manager.connectionClosed(self.client)
        self.node.manager.connectionOpened(FakeClient())
        self.assertRaises(BadHandle, self.cluster.connection, source)
        self.assertRaises(BadHandle, self.cluster.source, self.client)

    def test_private(self) -> None:
        """
        An engine finds what it made for the client. (A60, A96)
        """
        self.assertEqual(self.cluster.private(self.client), "data of probe1")

    def test_respond(self) -> None:
        """
        A request is answered when the engine knows the answer, for instance
        when its message came back; in the order of the requests. (A97)
        """
        first = self.cluster.request(self.client)
        second = self.cluster.request(self.client)
        self.assertFalse(self.cluster.respond(self.client, {"number": 1}))
        self.assertEqual(self.successResultOf(first), {"number": 1})
        self.assertNoResult(second)
        self.client.behind = True
        failure = Failure(TryAgain("later"))
        self.assertTrue(self.cluster.respond(self.client, failure))
        self.failureResultOf(second, TryAgain)
        self.assertRaises(BadHandle, self.cluster.respond, self.client, {})

    def test_dispatch(self) -> None:
        """
        An event goes to the client, and the engine hears whether it reads them
        too slowly. (A98)
        """
        self.assertFalse(self.cluster.dispatch(self.client, "news", number=1))
        self.client.behind = True
        self.assertTrue(self.cluster.dispatch(self.client, "news", number=2))
        self.assertEqual(
            self.client.told, [("news", {"number": 1}), ("news", {"number": 2})]
        )

    def test_references(self) -> None:
        """
        While an engine has references to a client it does not hear that it is
        gone; the others do. (A48, A99)
        """
        self.cluster.retain(self.client)
        self.cluster.retain(self.client)
        self.node.manager.connectionClosed(self.client)
        self.assertEqual((self._closed(1), self._closed(2)), (0, 1))
        self.cluster.release(self.client)
        self.assertEqual(self._closed(), 0)
        self.cluster.release(self.client)
        self.assertEqual(self._closed(), 1)
        self.assertRaises(BadHandle, self.cluster.release, self.client)
        self.assertEqual(self.node.manager.dump()["connections"], {})

    def test_releasedTooOften(self) -> None:
        """
        A reference that an engine does not have cannot be given back.
        """
        self.assertRaises(BadHandle, self.cluster.release, self.client)

    def test_requestsKeepIt(self) -> None:
        """
        While a reply is pending the engine keeps its data of the client, which
        may be gone: the answer is harmless then. (A99)
        """
        waits = self.cluster.request(self.client)
        self.node.manager.connectionClosed(self.client)
        self.assertEqual(self._closed(), 0)
        self.cluster.respond(self.client, {})
        self.assertEqual(self._closed(), 1)
        self.successResultOf(waits)

    def test_cancelledRequest(self) -> None:
        """
        Who gives up waiting takes the reference along.
        """
        waits = self.cluster.request(self.client)
        self.node.manager.connectionClosed(self.client)
        waits.cancel()
        self.failureResultOf(waits, CancelledError)
        self.assertEqual(self._closed(), 1)

    def test_manyRequests(self) -> None:
        """
        A client has only so many requests unanswered.
        """
        self.patch(connections, "MOST_UNANSWERED", 1)
        self.cluster.request(self.client)
        self.assertRaises(TryAgain, self.cluster.request, self.client)

    def test_engineStops(self) -> None:
        """
        Requests of an engine that stops fail.
        """
        waits = self.cluster.request(self.client)
        self.successResultOf(self.node.manager.stop())
        self.failureResultOf(waits, BadHandle)

    def test_engineFails(self) -> None:
        """
        So do those of one that is taken out of service; what it kept is let go
        of. (A75)
        """
        waits = self.cluster.request(self.client)
        hold = self.cluster.holdShutdown("nothing in particular")
        self.node.manager.roster.places[1].fail()
        self.failureResultOf(waits, BadHandle)
        self.node.manager.connectionClosed(self.client)
        status = self.node.manager.dump()
        self.assertEqual(status["connections"], {})
        self.assertEqual(status["shutdown"]["holding"], [])
        hold.release()

    def test_statistics(self) -> None:
        """
        For each client it can be seen what it had of each service. (A105)
        """
        number = f"{self.cluster.source(self.client).connection:016x}"
        self.cluster.request(self.client)
        self.cluster.request(self.client)
        self.cluster.respond(self.client, {})
        self.cluster.dispatch(self.client, "news")
        entry = self.node.manager.dump()["connections"][number]
        self.assertEqual(entry["pid"], 1)
        uses = entry["services"]["probe1"]
        self.assertEqual(
            (uses["responses"], uses["dispatches"], uses["unanswered"]), (1, 1, 1)
        )


class GateTests(SynchronousTestCase):
    """
    Requests, before an engine sees them.
    """

    def setUp(self) -> None:
        self.net, self.node, _ = alone()
        self.engine = self.net.probes[1, 1]
        self.manager = self.node.manager
        self.client = FakeClient()
        self.manager.connectionOpened(self.client)
        self.verdict = True
        self.patch(self.manager.facilities, "quorate", lambda: self.verdict)

    def _ask(self, command: str = "ask") -> Deferred[None] | None:
        return self.manager.facilities.gate.admit(self.engine, command, self.client)

    def _fill(self, left: int) -> None:
        self.node.totem.ordinary = left

    def test_open(self) -> None:
        """
        Nothing waits without need.
        """
        self.engine.flowControl = True
        self.assertIsNone(self._ask())

    def test_quorum(self) -> None:
        """
        An engine that does not allow it is not asked in a partition without
        quorum; the error says so. (A72)
        """
        self.verdict = False
        self.assertIsNone(self._ask())
        self.engine.allowInquorate = False
        error = self.assertRaises(NotQuorate, self._ask)
        self.assertIn("probe1 needs quorum", str(error))
        self.verdict = True
        self.assertIsNone(self._ask())

    def test_fullQueue(self) -> None:
        """
        A request of an engine with flow control waits while the send queue has
        no room, and goes on as soon as it has; one that needs none does not
        wait. (A50, A61)
        """
        self._fill(gate.ROOM_BYTES - 1)
        self.assertIsNone(self._ask())
        self.engine.flowControl = True
        waits = self._ask()
        assert waits is not None
        self.net.run()
        self.assertNoResult(waits)
        self._fill(gate.ROOM_BYTES)
        self.net.run()
        self.assertIsNone(self.successResultOf(waits))

    def test_perCommand(self) -> None:
        """
        An engine names the commands that wait. (A66)
        """
        self.engine.flowControl = ("send",)  # type: ignore[assignment]
        self._fill(0)
        self.assertIsNone(self._ask("ask"))
        self.assertIsNotNone(self._ask("send"))

    def test_synchronizing(self) -> None:
        """
        Requests wait while the services synchronize.
        """
        self.engine.flowControl = True
        self.net.form(1)
        waits = self._ask()
        assert waits is not None
        self.assertNoResult(waits)
        self.net.run()
        self.successResultOf(waits)

    def test_order(self) -> None:
        """
        Those that wait go on in their order, each when there is room for it;
        nobody overtakes them.
        """
        self.engine.flowControl = True
        self._fill(gate.ROOM_BYTES)
        cluster, went = self.engine.cluster, []
        cluster.multicast(0, b"x")
        for number in range(3):
            waits = self._ask()
            assert waits is not None

            def goOn(_: None, number: int = number) -> None:
                went.append(number)
                cluster.multicast(0, b"%d" % number)

            waits.addCallback(goOn)
        self.net.rotate()
        self.assertEqual(went, [0])
        self.assertIsNotNone(self._ask())
        self.net.run()
        self.assertEqual(went, [0, 1, 2])

    def test_noOvertaking(self) -> None:
        """
        While somebody waits, who comes waits behind, also when there is room
        again.
        """
        self.engine.flowControl = True
        self._fill(0)
        first = self._ask()
        assert first is not None
        self._fill(1 << 20)
        second = self._ask()
        assert second is not None
        self.assertNoResult(first)
        self.net.run()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_bounded(self) -> None:
        """
        Only so many wait; who lost interest does not.
        """
        self.patch(gate, "MOST_WAITING", 1)
        self.engine.flowControl = True
        self._fill(0)
        waits = self._ask()
        assert waits is not None
        self.assertRaises(TryAgain, self._ask)
        waits.cancel()
        self.failureResultOf(waits, CancelledError)
        self.assertIsNotNone(self._ask())

    def test_stop(self) -> None:
        """
        When the node stops nobody waits any more.
        """
        self.engine.flowControl = True
        self._fill(0)
        waits = self._ask()
        assert waits is not None
        self.successResultOf(self.manager.stop())
        self.failureResultOf(waits, BadHandle)

    def test_counted(self) -> None:
        """
        What a client asked, and what became of it, is counted. (A105)
        """
        self.engine.flowControl = True
        self._ask()
        self._fill(0)
        self._ask()
        self.engine.allowInquorate = self.verdict = False
        self.assertRaises(NotQuorate, self._ask)
        use = self.manager.facilities.connections.use("probe1", self.client)
        assert use is not None
        self.assertEqual((use.requests, use.waited, use.refused), (3, 1, 1))

    def test_memoryShed(self) -> None:
        """
        After memory failed, what could wait is refused for some seconds; then
        everything is as before. (A104)
        """
        self.engine.flowControl = True
        self.engine.cluster.memoryFailed("a table")
        self.assertRaises(TryAgain, self._ask)
        self.assertTrue(self.manager.dump()["gate"]["shedding"])
        self.engine.flowControl = False
        self.assertIsNone(self._ask())
        self.engine.flowControl = True
        self.net.clock.advance(gate.SHEDDING_SECONDS)
        self.assertIsNone(self._ask())
        self.assertNoResult(self.manager.shutdown)

    def test_memoryStop(self) -> None:
        """
        Or the node stops in order, if it is configured so. (A104)
        """
        engines = EngineSettings(memoryPolicy=MemoryPolicy.STOP)
        self.manager.settings = evolve(self.manager.settings, engines=engines)
        self.engine.cluster.memoryFailed("a table")
        self.net.clock.advance(0)
        reason = self.successResultOf(self.manager.shutdown)
        self.assertEqual(str(reason), "no memory for a table")

    def test_memoryError(self) -> None:
        """
        An engine that runs out of memory need not say so itself. (A104)
        """

        def dump(probe: Probe) -> dict[str, Any]:
            raise MemoryError

        self.patch(Probe, "dump", dump)
        self.manager.dump()
        self.assertEqual(
            self.manager.dump()["memoryFailures"], {"probe1": 1, "probe2": 1}
        )
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 4)


class TokenTests(SynchronousTestCase):
    """
    Work at the visits of the token.
    """

    def setUp(self) -> None:
        self.net, self.node, self.cluster = alone()
        self.visits = 0

    def _visit(self) -> bool:
        self.visits += 1
        return self.visits == 3

    def test_callback(self) -> None:
        """
        A callback is called at each visit, until it is stopped. (A105)
        """
        calls: list[int] = []
        work = self.cluster.onToken(lambda: calls.append(1))
        for _ in range(4):
            self.net.visit(1)
        work.stop()
        work.stop()
        self.net.visit(1)
        self.assertEqual(len(calls), 4)

    def test_scheduled(self) -> None:
        """
        Work goes on a little at each visit until it says that it is done.
        (A105)
        """
        done = self.cluster.schedule(self._visit)
        self.net.visit(1)
        self.net.visit(1)
        self.assertNoResult(done)
        self.net.visit(1)
        self.successResultOf(done)
        self.net.visit(1)
        self.assertEqual(self.visits, 3)

    def test_noRoom(self) -> None:
        """
        Work that finds no room goes on at the next visit.
        """
        answers: list[Any] = [TryAgain("no room"), True]

        def step() -> bool:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return bool(answer)

        done = self.cluster.schedule(step)
        self.net.visit(1)
        self.assertNoResult(done)
        self.net.visit(1)
        self.successResultOf(done)

    def test_fails(self) -> None:
        """
        Work that raises is over, and its owner hears why.
        """
        done = self.cluster.schedule(lambda: bool(1 / 0))
        self.net.visit(1)
        self.failureResultOf(done, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.node.manager.dump()["tokenCallbacks"], 0)

    def test_cancelled(self) -> None:
        """
        Work ends when its owner wants no more of it.
        """
        done = self.cluster.schedule(self._visit)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.net.visit(1)
        self.assertEqual(self.visits, 0)

    def test_outOfService(self) -> None:
        """
        Work of an engine that is out of service comes to no end, and whoever
        waits for it hears so; likewise when the node stops.
        """
        waits = self.cluster.schedule(self._visit)
        self.node.manager.roster.places[1].fail()
        self.net.visit(1)
        self.failureResultOf(waits, BadHandle)
        other = self.net.probes[1, 2].cluster.schedule(self._visit)
        self.node.manager.stop()
        self.failureResultOf(other, BadHandle)
        self.assertEqual(self.visits, 0)

    def test_bounded(self) -> None:
        """
        There is only so much of it; engines that are out of service leave
        their places to others.
        """
        self.patch(visits, "MOST_WORK", 1)
        self.cluster.onToken(self._visit)
        self.assertRaises(NoSpace, self.cluster.onToken, self._visit)
        self.node.manager.roster.places[1].fail()
        self.net.visit(1)
        self.net.probes[1, 2].cluster.onToken(self._visit)
        self.assertEqual(self.visits, 0)


@implementer(IQuorum)
class Judge(Probe):
    """
    An engine that says whether we are quorate.
    """

    verdict = False

    def quorate(self) -> bool:
        return self.verdict

    def counting(self) -> bool:
        return True

    def explanation(self) -> dict[str, int | bool | str]:
        return {}


class NodeTests(SynchronousTestCase):
    """
    The node, and the cluster around it.
    """

    def setUp(self) -> None:
        self.net, self.node, self.cluster = alone()

    def test_quorum(self) -> None:
        """
        An engine asks whether the partition may act, and hears when that
        changes; not when nothing changed, and not for ever. (A105)
        """
        self.assertTrue(self.cluster.quorate())
        judge = Judge(7, [], "judge")
        self.node.manager.roster.engines["judge"] = judge  # type: ignore[index]
        heard: list[bool] = []
        follower = self.cluster.followQuorum(heard.append)
        self.assertFalse(self.cluster.quorate())
        judge.verdict = True
        for _ in range(2):
            self.cluster.quorumChanged()
        judge.verdict = False
        self.cluster.quorumChanged()
        self.assertEqual(heard, [False, True, False])
        follower.stop()
        judge.verdict = True
        self.cluster.quorumChanged()
        self.assertEqual(len(heard), 3)

    def test_quorumOfTheFailed(self) -> None:
        """
        An engine that is out of service is not called.
        """
        heard: list[bool] = []
        self.cluster.followQuorum(heard.append)
        judge = Judge(7, [], "judge")
        self.node.manager.roster.engines["judge"] = judge  # type: ignore[index]
        self.node.manager.roster.places[1].fail()
        self.cluster.quorumChanged()
        self.assertEqual(heard, [True])

    def test_guarantee(self) -> None:
        """
        A message is agreed, or safe if that is asked for; a weaker guarantee
        is the same as agreed, and one that does not exist is an error. (A103)
        """
        asked: list[Guarantee] = []

        def multicast(message: bytes, guarantee: Guarantee) -> bool:
            asked.append(guarantee)
            return True

        self.patch(self.node.manager, "totem", _Totem(1, multicast))
        for guarantee in Guarantee:
            self.cluster.multicast(0, b"", guarantee)
        agreed, safe = Guarantee.AGREED, Guarantee.SAFE
        self.assertEqual(asked, [agreed, agreed, agreed, safe])
        self.assertRaises(InvalidParameter, self.cluster.multicast, 0, b"", 4)
        self.assertEqual(len(asked), 4)

    def test_nodeid(self) -> None:
        """
        An engine knows its node. (A101)
        """
        self.assertEqual(self.cluster.nodeid, 1)

    def test_addresses(self) -> None:
        """
        It knows the addresses of all nodes, one for each link. (A105)
        """
        self.assertEqual(self.cluster.addresses(2), (ip_address("127.0.0.2"),))
        self.assertRaises(NotExist, self.cluster.addresses, 99)

    def test_reenable(self) -> None:
        """
        It can have what was given up tried again at once. (A102)
        """
        self.cluster.reenableLinks()
        self.assertEqual(self.node.totem.reenabled, 1)

    def test_dump(self) -> None:
        """
        It can have the state of everything. (A105)
        """
        self.assertIn("probe2", self.cluster.dumpState()["engines"])

    def test_misses(self) -> None:
        """
        It hears when the process did not run in time. (A38)
        """
        self.net.clock.rightNow += 100
        self.net.clock.advance(0)
        ((_, late),) = self.cluster.misses()
        self.assertGreater(late, 90 * 10**9)

    def test_nothingRemains(self) -> None:
        """
        A node that has stopped has nothing planned.
        """
        self.successResultOf(self.node.manager.stop())
        self.assertEqual(self.net.clock.getDelayedCalls(), [])


@define
class _Totem:
    nodeid: int
    multicast: Any
